"""ENVI cubes: against GDAL's ENVI driver over interleaves, dtypes and byte orders; headers as people write them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import rasterio
from makers import north_up, rotated

from geodata.crs import as_crs, same_crs
from geodata.errors import CRSError, DtypeError, ReadError, StaleCatalogError
from geodata.readers import arrays, envi
from geodata.readers.envi_header import EXTENSIONS, parse_header

CODES = {
    "uint8": 1,
    "int16": 2,
    "int32": 3,
    "float32": 4,
    "float64": 5,
    "uint16": 12,
    "uint32": 13,
    "int64": 14,
    "uint64": 15,
}
AXES = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (1, 2, 0)}
CUBE = np.random.default_rng(0).integers(1, 250, (4, 6, 5))


def write(path, cube=CUBE, dtype="uint16", interleave="bsq", order=0, offset=0, header=None, code=None, **fields):
    """Write a cube and its header, and return the path of the data; a field of None is left out."""
    path.write_bytes(
        b"\0" * offset + cube.transpose(AXES[interleave]).astype(np.dtype(dtype).newbyteorder("<>"[order])).tobytes()
    )
    bands, lines, samples = cube.shape
    lines_of_text = {
        "samples": samples,
        "lines": lines,
        "bands": bands,
        "header offset": offset,
        "file type": "ENVI Standard",
        "data type": code or CODES[dtype],
        "interleave": interleave,
        "byte order": order,
        **{name.replace("_", " "): value for name, value in fields.items()},
    }
    text = "ENVI\n" + "".join(f"{name} = {value}\n" for name, value in lines_of_text.items() if value is not None)
    (header or path.with_name(path.name + ".hdr")).write_text(text, encoding="utf-8")
    return path


def read(path, window=(1, 2, 4, 3), indexes=(1, 2, 3, 4), **options):
    return arrays.read(str(path), "", "", window, indexes, **{"validity": "all", "format": "envi", **options})


# ---------------------------------------------------------------------- against GDAL


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("interleave", AXES)
def test_pixels_are_those_of_gdal(tmp_path, interleave, dtype, order):
    if (interleave, order) == ("bsq", 1) and dtype.startswith("float"):
        cube = CUBE * 0.37 - 20
    else:
        cube = CUBE
    path = write(
        tmp_path / "a.img",
        cube,
        dtype,
        interleave,
        order,
        offset=7 * order,
        map_info="{UTM, 1, 1, 5e5, 5e6, 30, 30, 33, North, WGS-84, units=Meters}",
    )
    with rasterio.open(path) as src:
        expected = src.read([4, 1, 2])
        grid = src.transform, src.crs
    got = read(path, (0, 0, 6, 5), (4, 1, 2), dtype=dtype)
    assert got.data.dtype == dtype and got.data.dtype.isnative and np.array_equal(got.data, expected)
    part = read(path, (2, 1, 3, 2), (4, 1, 2))
    assert np.array_equal(part.data, expected[:, 2:5, 1:3])
    header = envi.describe(str(path))
    assert (header.dtype, header.format, header.indexes) == (dtype, "envi", (1, 2, 3, 4))
    assert header.grid.transform == grid[0] and header.grid.crs.to_epsg() == grid[1].to_epsg() == 32633


@pytest.mark.parametrize("interleave", ["BSQ", "BIL", "BIP"])
@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326", "EPSG:3035", "EPSG:25832", None])
@pytest.mark.parametrize("turned", [0, 17])
def test_what_gdal_writes_is_described_as_gdal_does(tmp_path, interleave, crs, turned):
    path = tmp_path / "a.dat"
    transform = (
        rotated(5e5, 5.6e6, 10, turned)
        if turned
        else north_up(12.5, 51.5, 0.25, 0.5)
        if crs == "EPSG:4326"
        else north_up()
    )
    size = {"height": 6, "width": 5, "count": 4, "dtype": "float32"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(
            path, "w", "ENVI", crs=crs, transform=transform, nodata=-99, INTERLEAVE=interleave, **size
        ) as dst:
            dst.write(CUBE.astype(np.float32))
            dst.descriptions = ["blue", "green", "red", "nir"]
        with rasterio.open(path) as src:
            there, there_crs = src.transform, src.crs
    header = envi.describe(str(path))
    assert header.grid.transform.almost_equals(there, 1e-6)
    assert header.bands.names == ("blue", "green", "red", "nir") and header.named
    assert (header.nodata, header.validity) == (-99.0, "nodata")
    assert header.grid.crs is None if crs is None else same_crs(header.grid.crs, as_crs(there_crs))
    assert np.array_equal(read(path, (0, 0, 6, 5)).data, CUBE)


# ---------------------------------------------------------------------- headers


def test_spectra_and_scales(tmp_path):
    def bands(**fields):
        return envi.describe(str(write(tmp_path / "a.img", **fields))).bands

    two = {"wavelength": "{450.5, 550,\n 650 , 750}", "fwhm": "{10, 10, 10, 12.5}"}
    got = bands(**two, wavelength_units="Nanometers")
    assert got.wavelengths.tolist() == [450.5, 550, 650, 750] and got[3].fwhm == 12.5
    got = bands(wavelength="{0.4505, 0.55, 0.65, 0.75}", wavelength_units="Micrometers")
    assert got.wavelengths == pytest.approx([450.5, 550, 650, 750])
    for unit in (None, "Unknown", "Wavenumber", "Index"):
        assert np.isnan(bands(**two, wavelength_units=unit).wavelengths).all()
    got = bands(reflectance_scale_factor="10000")
    assert got[0].scale == 1e-4 and got[0].unit == "reflectance"
    got = bands(data_gain_values="{1, 2, 3, 4}", data_offset_values="{0, 0, 0, -1}")
    assert [b.scale for b in got] == [1, 2, 3, 4] and got[3].offset == -1
    assert bands().names == ("1", "2", "3", "4") and bands(band_names="{a, a, b, c}").names == ("1", "2", "3", "4")
    assert bands(band_names="{a,\n b, c ,d}").names == ("a", "b", "c", "d")


def test_headers_as_people_write_them():
    text = "ENVI\n; by hand\nSamples=5\n  BAND   Names = {a,\n; not this\n b}\ndescription = {one, two = 3}\nno value\nx = {}\n"
    assert parse_header(text, "a.hdr") == {
        "samples": "5",
        "band names": ["a", "b"],
        "description": "one, two = 3",
        "x": [""],
    }


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"samples": None}, "'samples' is 'missing', a whole number of at least 1"),
        ({"lines": 0}, "'lines' is '0', a whole number of at least 1"),
        ({"bands": "-4"}, "'bands' is '-4'"),
        ({"bands": "{4}"}, "'bands' is"),
        ({"data_type": "u2"}, "'data type' is 'u2'"),
        ({"byte_order": None}, "'byte order' is 'missing'"),
        ({"byte_order": 2}, "byte order 2 must be 0 or 1"),
        ({"interleave": "tile"}, "interleave 'tile' one of bsq, bil, bip"),
        ({"interleave": None}, "interleave '' one of"),
        ({"file_compression": 1}, "unpack them"),
        ({"major_frame_offsets": "{0, 8}"}, "frames with offsets"),
        ({"lines": 7}, r"a\.img has 240 bytes, its header tells of 280: it is cut short"),
        ({"header_offset": 1}, r"has 240 bytes, its header tells of 241"),
        ({"samples": 10**17}, "its header tells of"),
        ({"wavelength": "{1, 2, 3}"}, "3 numbers in 'wavelength' for 4 bands"),
        ({"fwhm": "{1, 2, 3, x}"}, "'fwhm' holds what is no number"),
        ({"band_names": "{a, b"}, "the list of 'band names' does not end"),
        ({"map_info": "{UTM, 1, 1}"}, "must begin with a projection and six numbers"),
        ({"map_info": "UTM"}, "must begin with a projection and six numbers"),
    ],
)
def test_headers_that_are_wrong_are_refused(tmp_path, fields, why):
    path = write(tmp_path / "a.img")
    text = path.with_name("a.img.hdr").read_text()
    for name, value in fields.items():
        name = name.replace("_", " ")
        lines = [line for line in text.splitlines() if not line.startswith(name + " =")]
        text = "\n".join([*lines, *([f"{name} = {value}"] if value is not None else [])])
    path.with_name("a.img.hdr").write_text(text)
    with pytest.raises(ReadError, match=why):
        envi.describe(str(path))


@pytest.mark.parametrize(("code", "why"), [(6, "is complex"), (9, "is complex"), (7, "data type 7; read are")])
def test_other_types_are_refused(tmp_path, code, why):
    path = write(tmp_path / "a.img", code=code)
    for opener in (envi.describe, read):
        with pytest.raises(DtypeError, match=why):
            opener(str(path))


def test_nodata(tmp_path):
    path = write(tmp_path / "a.img", dtype="float32", data_ignore_value="-9999")
    assert (envi.describe(str(path)).validity, envi.describe(str(path)).nodata) == ("nodata", -9999.0)
    assert envi.describe(str(write(path, dtype="float32"))).validity == "nan"
    assert envi.describe(str(write(path, data_ignore_value="-9999"))).validity == "all"  # no pixel of uint16 can be it
    cube = CUBE.copy()
    cube[2, 3, 4] = 0
    path = write(tmp_path / "b.img", cube, data_ignore_value="0")
    got = read(path, (3, 3, 2, 2), validity="nodata", nodata=0.0)
    assert got.valid.tolist() == [[True, False], [True, True]]


# ---------------------------------------------------------------------- places


@pytest.mark.parametrize("first", [(1, 1, 500000, 5600000), (1.5, 1.5, 500005, 5599995), (3, 2, 500020, 5599990)])
def test_positions_count_from_the_upper_left_edge(tmp_path, first):
    info = ", ".join(map(str, first))
    path = write(tmp_path / "a.img", map_info=f"{{UTM, {info}, 10, 10, 33, South, WGS-84, units=Meters}}")
    grid = envi.describe(str(path)).grid
    assert grid.bounds == (500000, 5599940, 500050, 5600000) and grid.crs.to_epsg() == 32733


def test_a_grid_turns_about_its_reference_pixel(tmp_path):
    info = "{UTM, 3, 2, 500020, 5599990, 10, 10, 33, North, WGS-84, units=Meters, rotation=30}"
    grid = envi.describe(str(write(tmp_path / "a.img", map_info=info))).grid
    assert grid.xy(np.array([2.0, 1.0])) == pytest.approx([500020, 5599990])
    step = grid.xy(np.array([3.0, 1.0])) - [500020, 5599990]
    assert step == pytest.approx([10 * np.cos(np.pi / 6), 10 * np.sin(np.pi / 6)])
    plain = info.replace("3, 2, 500020, 5599990", "1, 1, 500000, 5600000")
    path = write(tmp_path / "b.img", map_info=plain)
    with rasterio.open(path) as src:
        assert envi.describe(str(path)).grid.transform.almost_equals(src.transform, 1e-9)


@pytest.mark.parametrize(
    ("info", "epsg"),
    [
        ("{UTM, 1, 1, 0, 0, 1, 1, 11, North, NAD-83, units=Meters}", 26911),
        ("{UTM, 1, 1, 0, 0, 1, 1, 11, North, North America 1927, units=Meters}", None),
        ("{Geographic Lat/Lon, 1, 1, 0, 0, 1, 1, WGS-84, units=Degrees}", 4326),
        ("{UTM, 1, 1, 0, 0, 1, 1, 61, North, WGS-84}", None),
        ("{UTM, 1, 1, 0, 0, 1, 1, 11, North, WGS-84, units=Feet}", None),
        ("{Lambert, 1, 1, 0, 0, 1, 1, WGS-84}", None),
    ],
)
def test_the_crs_of_map_info(tmp_path, info, epsg):
    path = str(write(tmp_path / "a.img", map_info=info))
    if epsg:
        assert envi.describe(path).grid.crs.to_epsg() == epsg
    else:
        with pytest.raises(CRSError, match="names no known CRS; write its WKT"):
            envi.describe(path)


def test_without_map_info_there_is_no_place(tmp_path):
    assert envi.describe(str(write(tmp_path / "a.img"))).grid.crs is None
    info = "{Arbitrary, 1, 1, 0, 0, 2, 2, units=Pixels}"
    grid = envi.describe(str(write(tmp_path / "b.img", map_info=info))).grid
    assert grid.crs is None and grid.res == (2, 2)


# ---------------------------------------------------------------------- files


@pytest.mark.parametrize("data", ["", *EXTENSIONS, ".IMG", ".Raw"])
@pytest.mark.parametrize("header", [".hdr", ".HDR", ".Hdr"])
def test_header_and_data_find_each_other(tmp_path, data, header):
    path = write(tmp_path / f"pcb1{data}", header=tmp_path / f"pcb1{header}")
    for given in (path, tmp_path / f"pcb1{header}"):
        assert np.array_equal(read(given).data, CUBE[:, 1:5, 2:5])
    if header == ".hdr":
        assert np.array_equal(read(tmp_path / "pcb1").data, CUBE[:, 1:5, 2:5])


def test_the_header_named_after_the_whole_file_comes_first(tmp_path):
    write(tmp_path / "a.img", CUBE[:2], header=tmp_path / "a.hdr")
    write(tmp_path / "a.img")
    assert envi.describe(str(tmp_path / "a.img")).indexes == (1, 2, 3, 4)


def test_a_header_written_anew_is_read_anew(tmp_path):
    path = write(tmp_path / "a.img")
    assert np.array_equal(read(path).data, CUBE[:, 1:5, 2:5])
    header = tmp_path / "a.img.hdr"
    header.write_text(header.read_text().replace("interleave = bsq", "interleave = bip "))
    expected = CUBE.reshape(6, 5, 4).transpose(2, 0, 1)
    assert np.array_equal(read(path).data, expected[:, 1:5, 2:5])
    (tmp_path / "b.img").symlink_to(path)  # the same numbers by another header
    (tmp_path / "b.hdr").write_text(header.read_text().replace("interleave = bip ", "interleave = bsq"))
    assert np.array_equal(read(tmp_path / "b.img").data, CUBE[:, 1:5, 2:5])


def test_missing_and_ambiguous_files_are_named(tmp_path):
    path = write(tmp_path / "a.img", header=tmp_path / "a.hdr")
    write(tmp_path / "a.dat", header=tmp_path / "a.hdr")
    with pytest.raises(ReadError, match=r"several data files: .*a\.img, .*a\.dat; give the one you mean"):
        read(tmp_path / "a.hdr")
    (tmp_path / "a.dat").unlink()
    assert read(tmp_path / "a.hdr").data.shape == (4, 4, 3)
    path.unlink()
    for opener in (read, envi.describe):
        with pytest.raises(ReadError, match="no data file beside it"):
            opener(str(tmp_path / "a.hdr"))
        with pytest.raises(ReadError, match=r"cannot open .*b\.img"):
            opener(str(tmp_path / "b.img"))
    (tmp_path / "c.img").write_bytes(b"abc")
    with pytest.raises(ReadError, match=r"there is no ENVI header \(\.hdr\) beside it"):
        read(tmp_path / "c.img")
    (tmp_path / "c.hdr").write_bytes(b"\xff\xfe\0no")
    with pytest.raises(ReadError, match="is no ENVI header"):
        read(tmp_path / "c.img")


def test_a_window_outside_is_stale(tmp_path):
    path = write(tmp_path / "a.img")
    for changed in ({"window": (3, 0, 4, 1)}, {"indexes": (5,)}, {"dtype": "int16"}):
        with pytest.raises(StaleCatalogError, match="is 6 x 5 pixels, 4 bands, uint16"):
            read(path, **changed)
