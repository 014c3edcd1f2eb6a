"""NetCDF and Zarr cubes: against what xarray wrote and reads itself."""

from __future__ import annotations

import json
import os

import h5py
import numpy as np
import pytest
import xarray as xr
from pyproj import CRS

from geodata.errors import CatalogError, CRSError, GridError, ReadError, StaleCatalogError
from geodata.readers import arrays
from geodata.readers.cube import describe_cube

FORMATS = ["nc", "zarr2", "zarr3"]
DATES = np.array(["1969-12-31T12", "2020-02-29", "2020-03-01T06:30:15", "2021-01-01"], "datetime64[ns]")
PIXELS = np.random.default_rng(0).integers(0, 9000, (4, 3, 6, 5)).astype(np.int16)


def cube(x=None, y=None, crs="EPSG:32633", **attrs):
    """A cube of 4 dates, 3 bands, 6 x 5 pixels of 10 m, its upper left corner at 500000, 5600000."""
    return xr.Dataset(
        {
            "refl": (("time", "band", "y", "x"), PIXELS, {"grid_mapping": "spatial_ref", "units": "1", **attrs}),
            "mask": (("time", "y", "x"), (PIXELS[:, 0] > 4000).astype(np.uint8), {"grid_mapping": "spatial_ref"}),
            "spatial_ref": ((), 0, {} if crs is None else {"crs_wkt": CRS(crs).to_wkt()}),
            "cloud": (("time",), np.arange(4.0)),
        },
        {
            "time": DATES,
            "band": np.array(["B02", "B03", "B08"], object),
            "y": 5600000 - 5 - 10.0 * np.arange(6) if y is None else y,
            "x": 500000 + 5 + 10.0 * np.arange(5) if x is None else x,
            "wavelength": ("band", [490.0, 560.0, 842.0], {"units": "nm"}),
        },
    )


def write(data, folder, form, **encoding):
    if form == "nc":
        data.to_netcdf(folder / "a.nc", engine="h5netcdf", encoding=encoding)
        return str(folder / "a.nc")
    data.to_zarr(folder / "a.zarr", mode="w", zarr_format=int(form[4:]), consolidated=False, encoding=encoding)
    return str(folder / "a.zarr")


@pytest.mark.parametrize("form", FORMATS)
def test_a_cube_is_described(tmp_path, form):
    packed = {"scale_factor": 1e-4, "add_offset": -0.1, "_FillValue": -9999, "dtype": "int16"}
    data = cube()
    data["refl"] = data["refl"].copy(data=PIXELS * 1e-4 - 0.1)
    found = describe_cube(write(data, tmp_path, form, refl=packed))
    assert [(v.name, v.dims, v.shape, v.dtype) for v in found.variables] == [
        ("mask", ("time", "y", "x"), (4, 6, 5), "uint8"),
        ("refl", ("time", "band", "y", "x"), (4, 3, 6, 5), "int16"),
    ]
    refl = found.variables[1]
    assert (refl.nodata, refl.scale, refl.offset, refl.unit) == (-9999, 1e-4, -0.1, "1")
    assert (found.time, found.band, found.y, found.x) == ("time", "band", "y", "x")
    assert found.times.dtype == np.float64
    assert np.array_equal(found.times, (DATES - np.datetime64(0, "s")) / np.timedelta64(1, "s"))
    assert found.times[0] == -12 * 3600
    assert found.names == ("B02", "B03", "B08") and found.wavelengths.tolist() == [490, 560, 842]
    assert found.grid.bounds == (500000, 5599940, 500050, 5600000) and found.grid.shape == (6, 5)
    assert found.grid.transform.e == -10 and found.grid.crs.to_epsg() == 32633
    stored = arrays.read(
        str(tmp_path / ("a.nc" if form == "nc" else "a.zarr")),
        "refl",
        "t=2 c h w",
        (1, 2, 4, 3),
        (3, 1),
        validity="nodata",
        nodata=-9999,
        dtype="int16",
        format="cube",
    )
    assert np.array_equal(stored.data, PIXELS[2, [2, 0], 1:5, 2:5])


@pytest.mark.parametrize("form", FORMATS)
def test_blocks_are_those_of_xarray(tmp_path, form):
    chunks = {"chunksizes" if form == "nc" else "chunks": (2, 1, 4, 3)}
    href = write(cube(), tmp_path, form, refl=chunks)
    for dates, rows, columns in ((slice(0, 4), slice(1, 6), slice(2, 5)), (slice(1, 2), slice(0, 1), slice(0, 5))):
        got = arrays.read_block(href, "refl", (dates, 1, rows, columns), format="cube")
        assert np.array_equal(got, PIXELS[dates, 1, rows, columns]) and got.dtype == np.int16
        every = arrays.read(
            href,
            "refl",
            "c band=1 h w",
            (rows.start, columns.start, got.shape[1], got.shape[2]),
            range(1, 5),
            validity="all",
        )
        assert np.array_equal(every.data, PIXELS[:, 1, rows, columns])
    assert arrays.names_in(href)["mask"] == ((4, 6, 5), "uint8")
    assert arrays.load_texts(href, "band") == ["B02", "B03", "B08"]
    with pytest.raises(ReadError, match=r"holds no array 'ndvi'; it holds .*refl \(4, 3, 6, 5\) int16"):
        arrays.load(href, "ndvi")
    with pytest.raises(StaleCatalogError, match="position 4 of an axis of length 4"):
        arrays.read(href, "refl", "t=4 c h w", (0, 0, 1, 1), (1,), validity="all")


@pytest.mark.parametrize("form", FORMATS)
def test_a_south_up_cube_keeps_its_order(tmp_path, form):
    grid = describe_cube(write(cube(y=5599945 + 10.0 * np.arange(6)), tmp_path, form)).grid
    assert grid.transform.e == 10 and grid.bounds == (500000, 5599940, 500050, 5600000)


@pytest.mark.parametrize(
    ("coordinate", "why"),
    [
        ({"x": [5.0, 15, 25, 35.02, 45]}, "positions along 'x' are off an even spacing of 10 by up to 0.02"),
        ({"x": [5.0, 5, 5, 5, 5]}, "off an even spacing of 0"),
        ({"y": [np.nan, 2, 3, 4, 5, 6]}, "'y' must hold two finite positions"),
        ({"x": xr.Variable("x", np.arange(5.0), {"units": "km"})}, "'x' is in 'km'; metres or degrees"),
        ({"x": xr.Variable("x", np.arange(5.0), {"units": "rad"})}, "'x' is in 'rad'"),
    ],
)
def test_pixels_off_a_lattice_are_refused(tmp_path, coordinate, why):
    with pytest.raises(GridError, match=why):
        describe_cube(write(cube(**coordinate), tmp_path, "zarr3"))


def test_a_thousandth_of_a_pixel_is_let_pass(tmp_path):
    grid = describe_cube(write(cube(x=[5.0, 15, 25, 35.009, 45]), tmp_path, "nc")).grid
    assert grid.bounds[0] == 0 and grid.bounds[2] == 50


def crs_of(data, folder, form):
    return describe_cube(write(data, folder, form)).grid.crs


@pytest.mark.parametrize("form", FORMATS)
def test_the_crs_of_a_grid_mapping(tmp_path, form):
    data = cube()
    data["spatial_ref"].attrs = {"spatial_ref": CRS("EPSG:25832").to_wkt()}
    assert crs_of(data, tmp_path, form).to_epsg() == 25832
    parameters = {name: value for name, value in CRS("EPSG:32633").to_cf().items() if name != "crs_wkt"}
    data["spatial_ref"].attrs = {
        name: value for name, value in parameters.items() if "name" not in name or "grid" in name
    }
    found = crs_of(data, tmp_path, form)
    there = {param.name: param.value for param in found.coordinate_operation.params}
    assert found.coordinate_operation.method_name == "Transverse Mercator"
    assert there["Longitude of natural origin"] == 15 and there["False easting"] == 500000


def test_a_grid_mapping_that_says_nothing_or_nonsense(tmp_path):
    assert crs_of(cube(crs=None), tmp_path, "zarr3") is None
    data = cube()
    data["spatial_ref"].attrs = {"grid_mapping_name": "flat_earth"}
    with pytest.raises(CRSError, match="grid mapping 'flat_earth' is not understood"):
        crs_of(data, tmp_path, "zarr3")


@pytest.mark.parametrize(
    ("attrs", "code"),
    [({}, None), ({"proj:code": "EPSG:32631"}, 32631), ({"proj:epsg": 32630}, 32630), ({"epsg": 32629}, 32629)],
)
def test_the_crs_in_the_words_of_stac(tmp_path, attrs, code):
    found = crs_of(cube().drop_vars("spatial_ref").assign_attrs(attrs), tmp_path, "zarr3")
    assert (found and found.to_epsg()) == code


def test_the_crs_in_a_coordinate_of_stac(tmp_path):
    data = cube().drop_vars("spatial_ref").assign_coords({"proj:epsg": 32628})
    assert crs_of(data, tmp_path, "nc").to_epsg() == 32628


def test_variables_of_several_crs_are_refused(tmp_path):
    data = cube()
    data["other"] = ((), 0, {"crs_wkt": CRS("EPSG:32634").to_wkt()})
    data["mask"].attrs["grid_mapping"] = "other"
    with pytest.raises(CRSError, match="several CRSs: EPSG:32634, EPSG:32633"):
        describe_cube(write(data, tmp_path, "nc"))


@pytest.mark.parametrize(
    ("units", "values", "calendar", "seconds"),
    [
        ("days since 2000-01-01", [0, 60], "standard", [946684800, 946684800 + 60 * 86400]),
        ("hours since 1970-01-01T00:00:00Z", [0.5, 1], "gregorian", [1800, 3600]),
        ("hours since 1970-01-01 00:00:00 +02:00", [2, 3], "proleptic_gregorian", [0, 3600]),
    ],
)
def test_dates_are_seconds_of_utc(tmp_path, units, values, calendar, seconds):
    data = cube().isel(time=slice(0, 2)).drop_vars("time")
    data["time"] = ("time", values, {"units": units, "calendar": calendar})
    assert describe_cube(write(data, tmp_path, "nc")).times.tolist() == seconds


@pytest.mark.parametrize(
    ("units", "values", "calendar", "why"),
    [
        ("days since 2000-01-01", [0, 60], "noleap", "calendar 'noleap', whose days are no days of the real one"),
        ("days since 2000-01-01", [0, 60], "360_day", "calendar '360_day'"),
        ("days since 2000-01-01", [0.0, np.nan], "standard", "some dates in .* are missing"),
        ("days since yesterday", [0, 60], "standard", "dates in 'days since yesterday' are not understood"),
        ("moons since 2000-01-01", [0, 60], "standard", "dates in 'moons since 2000-01-01' are not understood"),
    ],
)
def test_other_dates_are_refused(tmp_path, units, values, calendar, why):
    data = cube().isel(time=slice(0, 2)).drop_vars("time")
    data["time"] = ("time", values, {"units": units, "calendar": calendar})
    with pytest.raises(CatalogError, match=why):
        describe_cube(write(data, tmp_path, "nc"))


def test_axes_are_known_by_what_they_say(tmp_path):
    data = xr.Dataset(
        {"t2m": (("t", "row", "col"), np.zeros((1, 2, 3), np.float32))},
        {
            "t": ("t", [5], {"units": "seconds since 1970-01-01"}),
            "row": ("row", [1.0, 0], {"standard_name": "latitude", "units": "degrees_north"}),
            "col": ("col", [5.0, 6, 7], {"axis": "X", "units": "degrees_east"}),
        },
    )
    found = describe_cube(write(data, tmp_path, "nc"))
    assert (found.time, found.band, found.y, found.x) == ("t", None, "row", "col") and found.times.tolist() == [5]
    assert found.grid.bounds == (4.5, -0.5, 7.5, 1.5) and found.grid.crs is None and found.names is None


def test_without_coordinates_there_is_no_grid(tmp_path):
    data = xr.Dataset({"v": (("time", "y", "x"), np.zeros((2, 3, 4), ">f4")), "lat": (("y", "x"), np.zeros((3, 4)))})
    data["v"].attrs["coordinates"] = "lat"
    found = describe_cube(write(data, tmp_path, "zarr2"))
    assert found.grid is None and found.times is None and [v.name for v in found.variables] == ["v"]


# ---------------------------------------------------------------------- what is refused


def test_what_is_no_cube_is_said(tmp_path):
    (tmp_path / "bad.nc").write_bytes(b"\x89HDF\r\n\x1a\n" + b"x" * 100)
    (tmp_path / "classic.nc").write_bytes(b"CDF\x01" + b"\0" * 100)
    (tmp_path / "empty.zarr").mkdir()
    (tmp_path / "file.zarr").touch()
    xr.Dataset({"a": ("x", np.zeros(3))}).to_netcdf(tmp_path / "flat.nc", engine="h5netcdf")
    for name, why in (
        ("bad.nc", "cannot open"),
        ("classic.nc", "it is classic NetCDF; write it as NetCDF-4"),
        ("empty.zarr", "cannot open"),
        ("file.zarr", "it is no folder"),
        ("absent.nc", "cannot open"),
        ("absent.zarr", "cannot open"),
        ("flat.nc", "holds no variable with two axes or more; it holds a"),
    ):
        with pytest.raises(ReadError, match=why):
            describe_cube(str(tmp_path / name))
        if name != "flat.nc":
            with pytest.raises(ReadError, match="cannot open"):
                arrays.load(str(tmp_path / name), "a", format="cube")


@pytest.mark.parametrize("change", [{"filters": [{"id": "pickle"}]}, {"compressor": {"id": "pickle"}}])
def test_pickles_in_zarr_are_not_opened(tmp_path, change, monkeypatch):
    import numcodecs

    href = write(cube(), tmp_path, "zarr2")
    about = os.path.join(href, "refl", ".zarray")
    with open(about) as file:
        described = json.load(file)
    with open(about, "w") as file:
        json.dump({**described, **change}, file)
    monkeypatch.setattr(numcodecs.Pickle, "decode", lambda *_: pytest.fail("a pickle was opened"))
    for reader in (describe_cube, lambda path: arrays.load(path, "refl"), lambda path: arrays.load(path, "mask")):
        with pytest.raises(ReadError, match="pickle"):
            reader(href)


def test_a_netcdf_file_does_not_reach_out_of_its_folder(tmp_path):
    (tmp_path / "in").mkdir()
    write(cube(), tmp_path, "nc")
    href = write(cube(), tmp_path / "in", "nc")
    with h5py.File(href, "r+") as file:
        file["away"] = h5py.ExternalLink(str(tmp_path / "a.nc"), "/refl")
    with pytest.raises(ReadError, match="refers to"):
        describe_cube(href)


def test_a_zarr_folder_that_is_one_array(tmp_path):
    import zarr

    zarr.save_array(str(tmp_path / "a.zarr"), PIXELS[0])
    assert arrays.shape_of(str(tmp_path / "a.zarr"), "") == ((3, 6, 5), "int16")
    assert np.array_equal(arrays.load(str(tmp_path / "a.zarr"), ""), PIXELS[0])


@pytest.mark.parametrize("form", FORMATS)
def test_a_forked_child_reads_too(tmp_path, form):
    href = write(cube(), tmp_path, form)
    before = arrays.load(href, "refl", format="cube")
    child = os.fork()
    if not child:
        good = np.array_equal(arrays.load(href, "refl", format="cube"), before)
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
