"""to_xarray: rioxarray and xarray are the judges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import rioxarray  # noqa: F401  (registers .rio)
import torch
import xarray as xr
from affine import Affine
from pyproj import CRS

from geodata.bands import Bands
from geodata.errors import QueryError
from geodata.grid import Grid
from geodata.interval import Interval
from geodata.view.dataarray import to_xarray

# rioxarray 0.19 multiplies Affine objects the old way
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

ODD = Grid((4, 5), (10.0, 0, 500000.1, 0, -10.000000001, 5600000.7), "EPSG:32633")
ROTATED = Grid((4, 5), Affine.translation(5e5, 5.6e6) @ Affine.rotation(31.7) @ Affine.scale(10, -12.5), "EPSG:32611")


def sample_on(grid: Grid, *, dtype: torch.dtype = torch.float32, frames: int = 0) -> dict[str, Any]:
    lead = (frames,) if frames else ()
    image = torch.arange(int(np.prod((*lead, 3, *grid.shape)))).reshape(*lead, 3, *grid.shape).to(dtype)
    valid = torch.ones(*lead, *grid.shape, dtype=torch.bool)
    valid[..., 0, 1] = False
    bands = Bands.of_sensor("sentinel-2").select(["B04", "B03", "B02"])
    mask = torch.full(grid.shape, 3)
    mask[0, 0] = -100
    return {"image": image, "valid": valid, "bands": bands, "grid": grid, "mask": mask, "key": "a",
            "time": Interval.parse("2020-05-03")}  # fmt: skip


@pytest.mark.parametrize("grid", [ODD, ROTATED, Grid((2, 3), (0.1, 0, 7.3, 0, 0.3, -51.7), "OGC:CRS84")])
def test_rioxarray_reads_crs_and_transform_exactly(grid: Grid) -> None:
    array = to_xarray(sample_on(grid))
    assert tuple(array.rio.transform()) == tuple(grid.transform)
    assert CRS.from_user_input(array.rio.crs).equals(grid.crs)
    assert array.rio.shape == grid.shape


def test_coordinates_are_pixel_centres() -> None:
    array = to_xarray(sample_on(ODD))
    assert array.dims == ("band", "y", "x")
    np.testing.assert_array_equal(array.x, 500000.1 + 10.0 * (np.arange(5) + 0.5))
    np.testing.assert_array_equal(array.y, 5600000.7 - 10.000000001 * (np.arange(4) + 0.5))
    assert array.x.attrs["standard_name"] == "projection_x_coordinate"
    assert float(array.sel(band="B03").sel(x=500025, y=5599985, method="nearest")) == 1 * 20 + 1 * 5 + 2


def test_rotated_grid_has_two_dimensional_coordinates() -> None:
    array = to_xarray(sample_on(ROTATED))
    assert "x" not in array.coords
    assert array.xc.dims == ("y", "x")
    x, y = ROTATED.transform @ (2.5, 1.5)
    assert (float(array.xc[1, 2]), float(array.yc[1, 2])) == pytest.approx((x, y), abs=1e-9)


def test_not_observed_is_nan_in_floats_and_a_coordinate_in_integers() -> None:
    floats = to_xarray(sample_on(ODD))
    assert int(floats.isnull().sum()) == 3
    assert bool(floats[:, 0, 1].isnull().all())
    sample = sample_on(ODD, dtype=torch.int16)
    ints = to_xarray(sample)
    np.testing.assert_array_equal(ints.values, sample["image"].numpy())
    assert ints.dtype == np.int16
    assert not bool(ints.valid[0, 1])
    assert int(ints.valid.sum()) == 19
    assert torch.isfinite(sample_on(ODD)["image"]).all(), "the sample itself is not changed"


def test_bands_wavelengths_and_time() -> None:
    array = to_xarray(sample_on(ODD))
    assert list(array.band.values) == ["B04", "B03", "B02"]
    np.testing.assert_array_equal(array.wavelength, [664.6, 559.8, 492.7])
    assert array.wavelength.attrs["units"] == "nm"
    assert array.time.values == np.datetime64("2020-05-03")


def test_time_series() -> None:
    sample = sample_on(ODD, frames=2)
    sample["time"] = torch.tensor([[0.0, 1.0], [86400.5, 86401.0]], dtype=torch.float64)
    array = to_xarray(sample)
    assert array.dims == ("time", "band", "y", "x")
    assert array.valid.dims == ("time", "y", "x")
    moments = np.array(["1970-01-01", "1970-01-02T00:00:00.5"], dtype="datetime64[ns]")
    np.testing.assert_array_equal(array.time.values, moments)


def test_mask_and_suffix() -> None:
    sample = sample_on(ODD)
    mask = to_xarray(sample, "mask")
    assert mask.dims == ("y", "x")
    assert mask.rio.nodata == -100
    assert mask.rio.transform() == ODD.transform
    named = {f"{k}_s1": v for k, v in sample_on(ROTATED).items() if k in ("image", "valid", "bands", "grid")}
    assert to_xarray(sample | named, "image_s1").rio.transform() == ROTATED.transform


def test_without_a_crs_or_known_time() -> None:
    sample = sample_on(Grid((4, 5), (1, 0, 0, 0, 1, 0)))
    del sample["bands"], sample["time"]
    array = to_xarray(sample)
    assert array.rio.crs is None
    assert list(array.x.values) == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert list(array.band.values) == [1, 2, 3]
    assert "time" not in array.coords


def test_netcdf_attributes_round_trip() -> None:
    array = to_xarray(sample_on(ODD))
    restored = xr.Dataset.from_dict(array.to_dataset().to_dict(encoding=True))["image"]
    assert restored.rio.transform() == ODD.transform
    assert restored.rio.crs == array.rio.crs


def test_errors_say_what_was_got() -> None:
    sample = sample_on(ODD)
    with pytest.raises(QueryError, match=r"'nothing'.*'image'"):
        to_xarray(sample, "nothing")
    with pytest.raises(QueryError, match="pass one sample"):
        to_xarray(sample | {"grid": [ODD]})
    with pytest.raises(QueryError, match="does not lie on its grid"):
        to_xarray(sample | {"image": torch.zeros(3, 7, 5)})


def test_import_is_light() -> None:
    import subprocess
    import sys

    code = "import sys, geodata.view.dataarray; print([m for m in ('xarray', 'pandas', 'dask') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
