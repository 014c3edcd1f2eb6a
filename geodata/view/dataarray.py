"""From a sample to an xarray.DataArray that knows where it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geodata.bands import Bands
from geodata.errors import QueryError
from geodata.grid import Grid
from geodata.interval import Interval
from geodata.view.picture import IGNORE, to_numpy

if TYPE_CHECKING:
    from xarray import DataArray

__all__ = ["to_xarray"]

KINDS = ("image", "mask", "valid")


def to_xarray(sample: Mapping[str, Any], key: str = "image") -> DataArray:
    """Wrap one array of a sample as a DataArray with coordinates and CRS, without changing the sample.

    Coordinates follow the CF conventions as rioxarray reads them: a scalar ``spatial_ref`` holds the CRS and the
    exact GeoTransform, so ``.rio.crs`` and ``.rio.transform()`` equal the sample's grid to the last bit.

    Parameters
    ----------
    sample : dict
        One sample or one time series, not a batch.
    key : str
        ``image``, ``mask`` or ``valid``, with or without a suffix (``image_s1``); its companions ``valid``,
        ``bands`` and ``grid`` of the same suffix are used.

    Returns
    -------
    xarray.DataArray
        Dimensions ``(band, y, x)``, ``(time, band, y, x)`` or, for masks, ``(y, x)``. ``x`` and ``y`` are pixel
        centres in units of the CRS; a rotated grid has two-dimensional ``xc`` and ``yc`` instead. Float images are
        NaN where not observed; integers are kept, and the coordinate ``valid`` says which pixels were observed. Masks
        carry ``_FillValue`` -100. ``wavelength`` and ``fwhm`` are nm, ``time`` is the start of the acquisition, UTC.

    Raises
    ------
    QueryError
        If the key is not in the sample, is no image or mask, has no grid, or the sample is a batch.
    """
    from xarray import DataArray

    kind = next((k for k in KINDS if key == k or key.startswith(k + "_")), None)
    if key not in sample or kind is None:
        raise QueryError(f"to_xarray needs an image or mask, got {key!r}; the sample has {sorted(sample)}")
    suffix = key.removeprefix(kind)
    grid = sample.get("grid" + suffix, sample.get("grid") if kind == "mask" else None)
    if not isinstance(grid, Grid):
        got = "none" if grid is None else f"a {type(grid).__name__} (is this a batch? pass one sample)"
        raise QueryError(f"to_xarray needs a Grid under {'grid' + suffix!r}, got {got}")
    values = to_numpy(sample[key])
    dims = _dims(kind, values, grid)
    valid = sample.get("valid" + suffix) if kind == "image" else None
    coords = _space(grid) | _time(sample.get("time"), dims, len(values))
    if kind == "image":
        coords |= _spectrum(sample.get("bands" + suffix), values.shape[dims.index("band")])
    if valid is not None:
        seen = to_numpy(valid).astype(bool)
        values = _masked(values, seen)
        coords["valid"] = (tuple(d for d in dims if d != "band"), seen)
    array = DataArray(values, dims=dims, coords=coords, name=key)
    if kind == "mask":
        array.attrs["_FillValue"] = IGNORE
    array.encoding["grid_mapping"] = "spatial_ref"
    return array


def _dims(kind: str, values: NDArray[Any], grid: Grid) -> tuple[str, ...]:
    full = ("time", "band", "y", "x") if kind == "image" else ("time", "y", "x")
    fewest = 3 if kind == "image" else 2
    if not fewest <= values.ndim <= len(full) or values.shape[-2:] != grid.shape:
        raise QueryError(f"{kind} of shape {values.shape} does not lie on its grid of {grid.shape} pixels")
    return full[len(full) - values.ndim :]


def _masked(values: NDArray[Any], seen: NDArray[np.bool_]) -> NDArray[Any]:
    """Floats become NaN where not observed; integers have no such value and stay."""
    if not np.issubdtype(values.dtype, np.floating):
        return values
    return np.where(seen[..., None, :, :], values, np.array(math.nan, dtype=values.dtype))


def _space(grid: Grid) -> dict[str, Any]:
    """x, y at pixel centres, and the CF grid mapping variable."""
    h, w = grid.shape
    t = grid.transform
    reference = _reference(grid)
    if t.b == 0 and t.d == 0:
        x = grid.xy(np.stack([np.arange(w) + 0.5, np.zeros(w)], axis=-1))[:, 0]
        y = grid.xy(np.stack([np.zeros(h), np.arange(h) + 0.5], axis=-1))[:, 1]
        return {"x": ("x", x, _axis(grid, 0)), "y": ("y", y, _axis(grid, 1)), "spatial_ref": reference}
    col, row = np.meshgrid(np.arange(w) + 0.5, np.arange(h) + 0.5)
    xy = grid.xy(np.stack([col, row], axis=-1))
    names = ("xc", "yc")
    return {n: (("y", "x"), xy[..., i], _axis(grid, i)) for i, n in enumerate(names)} | {"spatial_ref": reference}


def _reference(grid: Grid) -> tuple[tuple[()], int, dict[str, Any]]:
    t = grid.transform
    attrs = dict(grid.crs.to_cf()) if grid.crs is not None else {}
    if grid.crs is not None:
        attrs["spatial_ref"] = attrs["crs_wkt"]
    attrs["GeoTransform"] = " ".join(repr(float(v)) for v in (t.c, t.a, t.b, t.f, t.d, t.e))
    return (), 0, attrs


def _axis(grid: Grid, which: int) -> dict[str, str]:
    if grid.crs is None:
        return {}
    name = "XY"[which]
    return next((dict(a) for a in grid.crs.cs_to_cf() if a.get("axis") == name), {"axis": name})


def _spectrum(bands: Any, channels: int) -> dict[str, Any]:
    if not isinstance(bands, Bands) or len(bands) != channels:
        return {"band": np.arange(1, channels + 1)}
    coords: dict[str, Any] = {"band": list(bands.names)}
    for name in ("wavelength", "fwhm"):
        numbers = np.array([math.nan if (v := getattr(b, name)) is None else v for b in bands])
        if not np.isnan(numbers).all():
            coords[name] = ("band", numbers, {"units": "nm"})
    return coords


def _time(time: Any, dims: Sequence[str], count: int) -> dict[str, Any]:
    """Start of the acquisition as datetime64[ns]; left out where it is not known."""
    if "time" in dims:
        starts = [t.start if isinstance(t, Interval) else float(t[0]) for t in time] if time is not None else []
        return {"time": _moments(starts)} if len(starts) == count else {}
    if not isinstance(time, Interval) or math.isinf(time.start):
        return {}
    return {"time": ((), _moments([time.start])[0])}


def _moments(seconds: Sequence[float]) -> NDArray[np.datetime64]:
    known = [s if math.isfinite(s) else None for s in seconds]
    whole = [None if s is None else round(s * 1e6) for s in known]
    return np.array(["NaT" if s is None else np.datetime64(s, "us") for s in whole], dtype="datetime64[ns]")
