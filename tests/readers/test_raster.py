"""Headers and windows of single rasters: what a file says about itself, and what is refused."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import rasterio
from makers import north_up, rotated, write_tif
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning

from geodata.errors import CRSError, DtypeError, ReadError, StaleCatalogError
from geodata.readers.raster import describe, read


def noise(*shape, dtype="uint16"):
    return np.random.default_rng(0).integers(1, 200, shape).astype(dtype)


@pytest.mark.parametrize(
    ("dtype", "options", "validity", "nodata"),
    [
        ("uint8", {}, "all", None),
        ("uint16", {"nodata": 0}, "nodata", 0.0),
        ("int16", {"nodata": -9999}, "nodata", -9999.0),
        ("float32", {}, "nan", None),
        ("float32", {"nodata": float("nan")}, "nan", None),
        ("float32", {"nodata": -1.5}, "nodata", -1.5),
        ("uint8", {"mask": np.eye(6, dtype=bool)}, "mask", None),
    ],
)
def test_how_a_file_says_what_was_observed(tmp_path, dtype, options, validity, nodata):
    header = describe(str(write_tif(tmp_path / "a.tif", noise(2, 6, 6, dtype=dtype), **options)))
    assert header.validity == validity and header.dtype == dtype
    assert header.nodata is None or np.isnan(header.nodata) if nodata is None else header.nodata == nodata


def test_the_grid_of_a_header_is_exact(tmp_path):
    place = rotated(499999.123456789, 5600000.1, 10.000000001, 30)
    header = describe(str(write_tif(tmp_path / "a.tif", noise(3, 5), place)))
    with rasterio.open(tmp_path / "a.tif") as src:
        assert header.grid.transform == src.transform and header.grid.shape == (3, 5)
    assert header.grid.crs is not None and header.grid.crs.to_epsg() == 32633


def test_alpha_is_no_band_unless_it_is_the_only_one(tmp_path):
    kinds = [ColorInterp.gray, ColorInterp.alpha]
    header = describe(str(write_tif(tmp_path / "a.tif", noise(2, 4, 4, dtype="uint8"), colorinterp=kinds)))
    assert header.indexes == (1,) and header.validity == "alpha"
    only = describe(str(write_tif(tmp_path / "b.tif", noise(1, 4, 4, dtype="uint8"), colorinterp=[ColorInterp.alpha])))
    assert only.indexes == (1,)


@pytest.mark.parametrize(
    ("descriptions", "names", "named"),
    [
        (["red", "nir"], ("red", "nir"), True),
        (["B1 (485.0 nanometers)", "B2 (0.56 um)"], ("B1", "B2"), True),
        (["red", None], ("1", "2"), False),
        (["red", "red"], ("1", "2"), False),
        (None, ("1", "2"), False),
    ],
)
def test_band_names_are_the_descriptions_if_they_tell_bands_apart(tmp_path, descriptions, names, named):
    header = describe(str(write_tif(tmp_path / "a.tif", noise(2, 4, 4), descriptions=descriptions)))
    assert header.bands.names == names and header.named == named


@pytest.mark.parametrize(
    ("tags", "ns", "wanted"),
    [
        ({"CENTRAL_WAVELENGTH_UM": "0.865", "FWHM_UM": "0.02"}, "IMAGERY", (865.0, 20.0)),
        ({"wavelength": "865", "wavelength_units": "Nanometers", "fwhm": "20"}, None, (865.0, 20.0)),
        ({"wavelength": "0.865", "wavelength_units": "micrometers"}, None, (865.0, None)),
        ({"wavelength": "865"}, None, (865.0, None)),
        ({"wavelength": "865", "wavelength_units": "cm-1"}, None, (None, None)),
        ({"wavelength": "red"}, None, (None, None)),
        ({"wavelength": "0"}, None, (None, None)),
    ],
)
def test_wavelengths_come_from_tags_in_nanometres(tmp_path, tags, ns, wanted):
    header = describe(str(write_tif(tmp_path / "a.tif", noise(1, 4, 4), band_tags=[tags], ns=ns)))
    band = header.bands[0]
    for got, want in zip((band.wavelength, band.fwhm), wanted, strict=True):
        assert got == (None if want is None else pytest.approx(want))


def test_scale_and_offset_are_kept_and_not_applied(tmp_path):
    pixels = noise(2, 4, 4)
    path = str(write_tif(tmp_path / "a.tif", pixels, scales=[0.1, 1.0], offsets=[-3.0, 0.0]))
    header = describe(path)
    assert [(b.scale, b.offset) for b in header.bands] == [(0.1, -3.0), (1.0, 0.0)]
    assert np.array_equal(read(path, (0, 0, 4, 4), (1, 2), validity="all").data, pixels)


def test_bands_with_unequal_nodata_are_left_to_gdal(tmp_path):
    first, second = (
        write_tif(tmp_path / f"{n}.tif", np.arange(16, dtype=np.uint8).reshape(4, 4), nodata=n) for n in (3, 7)
    )
    vrt = tmp_path / "both.vrt"
    band = '<VRTRasterBand dataType="Byte" band="{0}"><NoDataValue>{1}</NoDataValue><SimpleSource><SourceFilename>{2}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>'
    bands = band.format(1, 3, first) + band.format(2, 7, second)
    vrt.write_text(
        f'<VRTDataset rasterXSize="4" rasterYSize="4"><GeoTransform>0,1,0,4,0,-1</GeoTransform>{bands}</VRTDataset>'
    )
    header = describe(str(vrt))
    assert header.validity == "mask"
    valid = read(str(vrt), (0, 0, 4, 4), (1, 2), validity="mask").valid
    assert (~valid).nonzero()[0].tolist() == [0, 1] and (~valid).nonzero()[1].tolist() == [3, 3]


def test_windows_are_what_rasterio_reads(tmp_path):
    pixels = noise(5, 30, 40)
    path = str(write_tif(tmp_path / "a.tif", pixels, tiled=True, blockxsize=16, blockysize=16, compress="deflate"))
    for window, indexes in (((0, 0, 30, 40), (1, 2, 3, 4, 5)), ((29, 39, 1, 1), (3,)), ((7, 5, 11, 30), (5, 1, 3))):
        r, c, h, w = window
        wanted = pixels[[i - 1 for i in indexes], r : r + h, c : c + w]
        assert np.array_equal(read(path, window, indexes, validity="all").data, wanted)
        out = np.empty(wanted.shape, np.float32)
        got = read(path, window, indexes, validity="all", out=out)
        assert got.data is out and np.array_equal(out, wanted.astype(np.float32))


@pytest.mark.parametrize("window", [(0, 0, 31, 1), (-1, 0, 2, 2), (0, 39, 1, 2), (30, 0, 1, 1)])
def test_windows_outside_the_file_are_not_stretched(tmp_path, window):
    path = str(write_tif(tmp_path / "a.tif", noise(1, 30, 40)))
    with pytest.raises(StaleCatalogError, match=r"a\.tif is 30 x 40 pixels, 1 bands, uint16; wanted"):
        read(path, window, (1,), validity="all")


def test_points_and_polynomials_are_no_lattice(tmp_path):
    points = [GroundControlPoint(r, c, 500000 + 10 * c, 5600000 - 10 * r) for r, c in ((0, 0), (0, 8), (8, 0), (8, 8))]
    path = write_tif(tmp_path / "gcp.tif", noise(1, 8, 8), crs=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        dst = rasterio.open(path, "r+")
    with dst:
        dst.gcps = (points, rasterio.crs.CRS.from_epsg(32633))
    with pytest.raises(
        CRSError, match=r"gcp\.tif is georeferenced only by 4 ground control points; warp it to a grid first"
    ):
        describe(str(path))


def test_a_local_crs_is_no_place_on_earth(tmp_path):
    local = 'LOCAL_CS["site plan",UNIT["metre",1],AXIS["X",EAST],AXIS["Y",NORTH]]'
    with pytest.raises(CRSError, match=r"local CRS .* no place on earth; assign a real CRS or none"):
        describe(str(write_tif(tmp_path / "a.tif", noise(1, 4, 4), north_up(0, 0, 1), local)))


def test_complex_numbers_are_refused(tmp_path):
    with pytest.raises(DtypeError, match="bands of dtype complex64; one real dtype per file is supported"):
        describe(str(write_tif(tmp_path / "a.tif", np.ones((1, 4, 4), np.complex64))))


def test_files_that_cannot_be_opened(tmp_path):
    (tmp_path / "empty.tif").touch()
    (tmp_path / "text.tif").write_text("this is not a raster")
    full = write_tif(tmp_path / "full.tif", noise(1, 64, 64))
    (tmp_path / "cut.tif").write_bytes(full.read_bytes()[:40])
    for name, said in (
        ("empty", r"empty\.tif \(the file is empty\)"),
        ("text", r"text\.tif"),
        ("cut", r"cut\.tif"),
        ("gone", r"gone\.tif"),
    ):
        with pytest.raises(ReadError, match=f"cannot open .*{said}"):
            describe(str(tmp_path / f"{name}.tif"))


def test_pixels_that_cannot_be_decoded(tmp_path):
    path = write_tif(tmp_path / "a.tif", noise(1, 64, 64), tiled=True, blockxsize=16, blockysize=16, compress="deflate")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(ReadError, match=r"cannot read 64 x 64 pixels at row 0, column 0 of .*a\.tif"):
        read(str(path), (0, 0, 64, 64), (1,), validity="all")


@pytest.mark.parametrize("driver", ["PNG", "JPEG", "BMP", "GIF"])
def test_images_without_a_crs(tmp_path, driver):
    pixels = np.repeat(np.arange(0, 160, 10, dtype=np.uint8), 16).reshape(1, 16, 16)
    path = write_tif(tmp_path / f"a.{driver.lower()}", pixels, crs=None, driver=driver)
    header = describe(str(path))
    assert header.grid.crs is None and header.grid.shape == (16, 16)
    got = read(str(path), (2, 3, 4, 5), header.indexes, validity=header.validity).data
    assert np.abs(got[0].astype(int) - pixels[0, 2:6, 3:8]).max() <= (4 if driver == "JPEG" else 0)
