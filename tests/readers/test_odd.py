"""Every row of docs/odd-rasters.md: what an odd file is read as, or why it is refused. Oracles: rasterio, tifffile, pyproj."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile
import torch
from makers import north_up, rotated, write_tif
from pyproj import Transformer
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp, Resampling
from rasterio.vrt import WarpedVRT

import geodata as gd
from geodata.catalog import Catalog
from geodata.datasets import RasterDataset
from geodata.errors import CRSError, DtypeError, GridError, ReadError
from geodata.readers import gdal, raster
from geodata.readers.base import stored_nodata
from geodata.readers.raster import describe
from geodata.samplers import GridPatchSampler
from geodata.stitch import Stitcher

PAGE = Path(__file__).resolve().parents[2] / "docs" / "odd-rasters.md"
UTM = "EPSG:32633"
ROWS: set[str] = set()

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def row(*names: str):
    """Say which rows of the page a test is for."""
    ROWS.update(names)
    return lambda function: function


def read_whole(path: Path, reader=raster):
    """Header, pixels and validity of a whole file."""
    header = reader.describe(str(path))
    h = header
    window = (0, 0, *h.grid.shape)
    got = reader.read(str(path), window, h.indexes, validity=h.validity, nodata=h.nodata, dtype=h.dtype)
    return header, got.data, got.valid


def masked_by_rasterio(path: Path, bands: list[int] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Pixels, and where GDAL's mask is set in all bands; alpha bands are no bands."""
    with rasterio.open(path) as src:
        bands = bands or [i for i, c in enumerate(src.colorinterp, 1) if c != ColorInterp.alpha]
        return src.read(bands), src.read_masks(bands).all(axis=0)


def as_rasterio(path: Path) -> gd.Bands:
    """Check a file that GDAL understands rightly: both ways of reading it give rasterio's pixels and mask."""
    data, valid = masked_by_rasterio(path)
    for reader in (raster, gdal):
        header, got, seen = read_whole(path, reader)
        assert got.dtype == data.dtype and np.array_equal(got, data, equal_nan=data.dtype.kind == "f")
        assert np.array_equal(seen, valid & ~np.isnan(data).any(axis=0) if data.dtype.kind == "f" else valid)
    with rasterio.open(path) as src:
        assert header.grid.transform == src.transform and header.grid.shape == src.shape
    return header


def noise(*shape, dtype="uint8", high=200):
    return np.random.default_rng(len(shape)).integers(0, high, shape).astype(dtype)


# ---------------------------------------------------------------------- where pixels are


@row("georeferenced by ground control points only", "georeferenced by rational polynomial coefficients (RPC) only")
@pytest.mark.parametrize(
    ("name", "by"), [("RGB.byte.gcp.vrt", "4 ground control points"), ("rpcs_only.tif", "rational")]
)
def test_points_and_polynomials(realdata, name, by):
    with pytest.raises(CRSError, match=rf"{name} is georeferenced only by {by}.*gdalwarp"):
        describe(str(realdata / "rasters" / name))


@row("georeferenced by ground control points only")
def test_what_it_tells_to_do_works(realdata, tmp_path):
    with rasterio.open(realdata / "rasters" / "RGB.byte.gcp.vrt") as src, WarpedVRT(src, crs="EPSG:4326") as warped:
        pixels, transform = warped.read(), warped.transform
    path = write_tif(tmp_path / "warped.tif", pixels, transform, "EPSG:4326", nodata=0)
    as_rasterio(path)
    assert RasterDataset(path)[0]["valid"].any()


@row("georeferenced by ground control points only")
def test_points_are_counted(tmp_path):
    points = [
        GroundControlPoint(r, c, 5e5 + 10 * c, 5.6e6 - 10 * r) for r, c in ((0, 0), (0, 8), (8, 0), (8, 8), (4, 4))
    ]
    path = write_tif(tmp_path / "a.tif", crs=None)
    with rasterio.open(path, "r+") as dst:
        dst.gcps = (points, rasterio.crs.CRS.from_epsg(32633))
    with pytest.raises(CRSError, match="only by 5 ground control points"):
        describe(str(path))


@row("georeferenced by arrays of longitudes and latitudes only")
def test_arrays_of_longitudes(tmp_path):
    path = write_tif(tmp_path / "a.tif", crs=None)
    with rasterio.open(path, "r+") as dst:
        dst.update_tags(ns="GEOLOCATION", X_DATASET="lon.tif", Y_DATASET="lat.tif", X_BAND="1", Y_BAND="1")
    with pytest.raises(CRSError, match=r"only by arrays of longitudes and latitudes.*gdalwarp"):
        describe(str(path))


TURNED = ["au-3577-rotated.tif", "geomatrix_rotated_utm11n.tif", "inverted_lat_southup_4326.tif"]


@row("rotated or sheared", "south-up")
@pytest.mark.parametrize("name", TURNED)
def test_turned_rasters_by_window(realdata, name):
    path = realdata / "rasters" / name
    as_rasterio(path)
    ds = RasterDataset(path, dtype=None)
    data, valid = masked_by_rasterio(path)
    height, width = valid.shape
    window = (height // 3, width // 4, height // 2, width // 3)
    sample = ds[gd.Query(row=0, window=window)]
    part = (slice(None), slice(window[0], window[0] + window[2]), slice(window[1], window[1] + window[3]))
    seen = valid[part[1:]] & ~np.isnan(data[part].astype(np.float64)).any(axis=0)
    assert np.array_equal(sample["valid"].numpy(), seen)
    assert np.array_equal(sample["image"].numpy()[:, seen], data[part][:, seen])
    with rasterio.open(path) as src:
        wanted = src.window_transform(rasterio.windows.Window(window[1], window[0], window[3], window[2]))
    assert sample["grid"].transform.almost_equals(wanted, precision=1e-9)


@row("rotated or sheared", "south-up")
@pytest.mark.parametrize("name", TURNED)
def test_turned_rasters_by_place(realdata, name):
    """A north-up box in another CRS: each pixel is the one whose centre pyproj finds there."""
    path = realdata / "rasters" / name
    ds = RasterDataset(path, dtype=None, resampling="nearest")
    data, valid = masked_by_rasterio(path)
    crs = "EPSG:4326" if ds.catalog.crs[0] != "EPSG:4326" else "EPSG:3857"
    source = ds.catalog.grid(0)
    way = Transformer.from_crs(source.crs, crs, always_xy=True)
    x, y = way.transform(*source.xy(np.array([[source.width * 0.5, source.height * 0.5]]))[0])
    size = np.ptp(np.column_stack(way.transform(*source.corners.T)), axis=0) * 0.3
    sample = ds.read((x - size[0], y - size[1], x + size[0], y + size[1]), crs=crs, res=tuple(2 * size / 50))
    grid = sample["grid"]
    centres = np.stack(np.meshgrid(np.arange(grid.width) + 0.5, np.arange(grid.height) + 0.5), -1).reshape(-1, 2)
    back = Transformer.from_crs(crs, source.crs, always_xy=True)
    col, line = source.colrow(np.column_stack(back.transform(*grid.xy(centres).T))).T
    clear = (np.abs(col % 1 - 0.5) < 0.375) & (np.abs(line % 1 - 0.5) < 0.375)  # elsewhere GDAL may take the neighbour
    c, r = np.floor(col).astype(int), np.floor(line).astype(int)
    clear &= (c >= 0) & (c < source.width) & (r >= 0) & (r < source.height)
    assert clear.mean() > 0.1
    seen = sample["valid"].numpy().ravel()[clear]
    assert np.array_equal(seen, valid[r[clear], c[clear]] & ~np.isnan(data[0, r[clear], c[clear]].astype(float)))
    got = sample["image"].numpy().reshape(len(data), -1)[:, clear][:, seen]
    assert np.array_equal(got, data[:, r[clear], c[clear]][:, seen])


@row("rotated or sheared", "south-up")
@pytest.mark.parametrize("name", TURNED)
def test_turned_rasters_tiled_joined_and_stitched(realdata, tmp_path, name):
    path = realdata / "rasters" / name
    data, valid = masked_by_rasterio(path)
    data = data.astype(np.float32)
    valid = valid & ~np.isnan(data).any(axis=0)
    height, width = valid.shape
    with rasterio.open(path) as src:
        numbers = (np.indices(src.shape).sum(axis=0) % 7).astype(np.uint8)
        write_tif(tmp_path / "classes.tif", numbers, src.transform, src.crs)
    ds = RasterDataset(path) & RasterDataset(tmp_path / "classes.tif", categorical=True)
    size = max(2, min(height, width) // 3)
    tiles = ds.tile(size)
    assert len(tiles) == -(-height // size) * -(-width // size)
    for k in (0, len(tiles) // 2, len(tiles) - 1):
        r, c = tiles.catalog.origin[k]
        h, w = tiles.catalog.shape[k]
        sample = tiles[k]
        assert np.array_equal(sample["mask"].numpy(), numbers[r : r + h, c : c + w])
        assert np.array_equal(sample["valid"].numpy(), valid[r : r + h, c : c + w])
        wanted = np.where(valid, data, 0)[:, r : r + h, c : c + w]
        assert np.array_equal(sample["image"].numpy(), wanted)
    stitcher = Stitcher(ds.catalog.grid(0), channels=len(data))
    for query in GridPatchSampler(ds, size=size, stride=max(1, size * 2 // 3)):
        batch = gd.collate([ds[query]])
        stitcher.add(batch, batch["image"])
    with rasterio.open(stitcher.write(tmp_path / "map.tif")) as out, rasterio.open(path) as src:
        assert out.transform == src.transform and out.shape == src.shape and out.crs == src.crs
        back = out.read()
    assert np.array_equal(back[:, valid], data[:, valid]) and np.isnan(back[:, ~valid]).all()


@row("pixels are points (AREA_OR_POINT=Point)")
@pytest.mark.parametrize("name", ["cog_int16_nodata_utm21n.tif", "cog_utm21n_uint16.tif"])
def test_pixels_that_are_points(realdata, name):
    path = realdata / "rasters" / name
    grid = as_rasterio(path).grid
    with tifffile.TiffFile(path) as file:
        tags = file.pages[0].geotiff_tags
    assert tags["GTRasterTypeGeoKey"] == 2
    # The tie point is the centre of the first pixel.
    centre = grid.xy(np.array([[0.5, 0.5]]))[0]
    assert tuple(centre) == pytest.approx(tags["ModelTiepoint"][3:5], abs=1e-6)


@row("placed by a world file")
def test_world_files(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise(8, 8))
    (tmp_path / "a.tfw").write_text("10\n0\n0\n-10\n500005\n5599995\n")
    write_tif(tmp_path / "b.png", noise(8, 8), crs=None, driver="PNG")
    (tmp_path / "b.pgw").write_text("10\n0\n0\n-10\n500005\n5599995\n")
    for name in ("a.tif", "b.png"):
        header = as_rasterio(tmp_path / name)
        assert header.grid.transform == north_up() and header.grid.crs is None
    catalog = Catalog.scan(tmp_path / "a.tif", crs=UTM)
    assert list(catalog.crs) == [UTM]
    own = write_tif(tmp_path / "c.tif", noise(8, 8))
    (tmp_path / "c.tfw").write_text("20\n0\n0\n-20\n0\n0\n")
    assert describe(str(own)).grid.transform == north_up()  # what stands in the file goes first


@row("no georeference at all")
def test_nowhere(tmp_path):
    header = as_rasterio(write_tif(tmp_path / "a.tif", noise(8, 8), crs=None))
    assert header.grid.crs is None and header.grid.transform == rasterio.Affine.identity()


@row("a transform without area")
def test_flat_pixels(tmp_path):
    text = '<VRTDataset rasterXSize="8" rasterYSize="8"><GeoTransform>0,0,0,0,0,-1</GeoTransform>'
    (tmp_path / "a.vrt").write_text(f'{text}<VRTRasterBand dataType="Byte" band="1"/></VRTDataset>')
    with pytest.raises(GridError, match="without area"):
        describe(str(tmp_path / "a.vrt"))


@row("a local CRS, or heights alone", "geocentric CRS")
@pytest.mark.parametrize(
    ("crs", "kind"),
    [
        ('LOCAL_CS["plan",UNIT["metre",1],AXIS["X",EAST],AXIS["Y",NORTH]]', "local"),
        ("EPSG:5773", "local"),
        ("EPSG:4978", "geocentric"),
    ],
)
def test_systems_that_are_no_place(tmp_path, crs, kind):
    with pytest.raises(CRSError, match=rf"has the {kind} CRS .*no place on earth; assign a real CRS or none"):
        describe(str(write_tif(tmp_path / "a.tif", crs=crs)))


@row("a CRS with heights (compound, or three axes)")
@pytest.mark.parametrize(
    ("crs", "flat"), [("EPSG:7415", "EPSG:28992"), ("EPSG:4326+5773", "EPSG:4326"), ("EPSG:4979", "EPSG:4326")]
)
def test_heights_have_no_say_in_where_pixels_are(tmp_path, crs, flat):
    place = north_up(5, 52, 0.01) if flat == "EPSG:4326" else north_up(1e5, 4e5)
    path = write_tif(tmp_path / "a.tif", noise(8, 8), place, crs)
    with rasterio.open(path) as src:
        assert src.crs != rasterio.crs.CRS.from_string(flat)
    assert as_rasterio(path).grid.crs.equals(flat)
    catalog = Catalog.scan(path)
    assert list(catalog.crs) == [flat] and list(catalog.search(catalog.grid(0).bounds, crs=flat)) == [0]


@row("a CRS of another celestial body")
def test_the_moon(tmp_path):
    pixels = noise(1, 16, 16)
    path = write_tif(tmp_path / "a.tif", pixels, north_up(10, 10, 0.1), "IAU_2015:30100")
    ds = RasterDataset(path, dtype=None)
    assert ds.catalog.crs[0] == "IAU_2015:30100" and np.array_equal(ds[0]["image"].numpy(), pixels)
    assert np.array_equal(ds[gd.Query(row=0, window=(2, 3, 4, 5))]["image"].numpy(), pixels[:, 2:6, 3:8])
    for ask in (
        lambda: ds.read((10, 9, 11, 10), crs="EPSG:4326", res=0.1),
        lambda: ds.catalog.save(tmp_path / "c.parquet"),
    ):
        with pytest.raises(CRSError, match="same celestial body"):
            ask()


# ---------------------------------------------------------------------- what pixels hold


@row("scale and offset")
def test_scale_and_offset(realdata):
    path = realdata / "rasters" / "cog_scale_offset_int16.tif"
    header = as_rasterio(path)
    with rasterio.open(path) as src:
        assert [b.scale for b in header.bands] == list(src.scales) == [0.0001, 0.001]
        assert [b.offset for b in header.bands] == list(src.offsets)
        stored = src.read()
    ds = RasterDataset(path)
    assert ds.bands is not None and ds.bands[0].scale == 0.0001
    assert np.array_equal(ds[0]["image"].numpy()[:, ds[0]["valid"]], stored[:, ds[0]["valid"].numpy()])


@row("complex numbers", "bands of unequal dtype")
def test_dtypes_that_are_refused(tmp_path):
    for dtype in ("complex64", "complex128"):
        with pytest.raises(DtypeError, match=f"{dtype}; one real dtype"):
            describe(str(write_tif(tmp_path / "a.tif", np.ones((1, 4, 4), dtype))))
    text = '<VRTDataset rasterXSize="8" rasterYSize="8"><GeoTransform>0,1,0,0,0,-1</GeoTransform>'
    bands = "".join(f'<VRTRasterBand dataType="{kind}" band="{i}"/>' for i, kind in ((1, "Byte"), (2, "Float32")))
    (tmp_path / "a.vrt").write_text(f"{text}{bands}</VRTDataset>")
    with pytest.raises(DtypeError, match="bands of dtype float32, uint8"):
        describe(str(tmp_path / "a.vrt"))


@row("colour table (palette)")
def test_colour_tables_are_not_applied(realdata):
    header = as_rasterio(realdata / "rasters" / "nlcd_lc_epsg5070.tif")
    assert len(header.bands) == 1 and header.dtype == "uint8"
    sample = RasterDataset(realdata / "rasters" / "nlcd_lc_epsg5070.tif", categorical=True)[0]
    with rasterio.open(realdata / "rasters" / "nlcd_lc_epsg5070.tif") as src:
        assert np.array_equal(sample["mask"].numpy(), src.read(1)) and src.colorinterp[0] == ColorInterp.palette


@row("1, 2, 4 or 12 bits")
@pytest.mark.parametrize(
    ("bits", "dtype", "options"),
    [(1, "uint8", {}), (1, "uint8", {"compress": "ccittfax4"}), (2, "uint8", {}), (4, "uint8", {}), (12, "uint16", {})],
)
def test_few_bits(tmp_path, bits, dtype, options):
    pixels = noise(1, 33, 45, dtype=dtype, high=2**bits)
    path = write_tif(tmp_path / "a.tif", pixels, nbits=bits, **options)
    assert as_rasterio(path).dtype == dtype
    assert np.array_equal(read_whole(path)[1], pixels)


@row("white is zero")
def test_white_is_zero(tmp_path):
    for pixels in (noise(30, 40), noise(30, 40, high=2).astype(bool)):
        tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="miniswhite")
        as_rasterio(tmp_path / "a.tif")
        assert np.array_equal(read_whole(tmp_path / "a.tif")[1][0], pixels)


@row("half floats", "int8, 64-bit integers")
def test_numbers_of_every_size(tmp_path):
    for dtype in ("float16", "int8", "int64", "uint64", "uint32", "float64"):
        pixels = np.linspace(-100 if dtype[0] != "u" else 0, 100, 600).reshape(20, 30).astype(dtype)
        tifffile.imwrite(tmp_path / f"{dtype}.tif", pixels)
        header = as_rasterio(tmp_path / f"{dtype}.tif")
        assert header.dtype == ("float32" if dtype == "float16" else dtype)
        assert np.array_equal(read_whole(tmp_path / f"{dtype}.tif")[1][0], pixels)


@row("big-endian, BigTIFF")
def test_byte_orders(tmp_path):
    pixels = noise(20, 30, dtype="uint16")
    for name, options in (
        ("be", {"byteorder": ">"}),
        ("big", {"bigtiff": True}),
        ("both", {"byteorder": ">", "bigtiff": True}),
    ):
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels, **options)
        as_rasterio(tmp_path / f"{name}.tif")
        assert np.array_equal(read_whole(tmp_path / f"{name}.tif")[1][0], pixels)


@row("JPEG in YCbCr")
def test_jpeg_in_a_tiff(realdata):
    header = as_rasterio(realdata / "rasters" / "cogeo_epsg3857_overviews.tif")
    assert len(header.bands) == 3
    with rasterio.open(realdata / "rasters" / "cogeo_epsg3857_overviews.tif") as src:
        assert src.photometric.value == "YCbCr" and src.colorinterp[0] == ColorInterp.red


@row("LERC, WebP, LZMA and other compressions")
@pytest.mark.parametrize(
    "how", ["lerc", "lerc_zstd", "lerc_deflate", "lzma", "packbits", "webp", "lzw", "zstd", "deflate", "jpeg"]
)
def test_compressions(tmp_path, how):
    shape = (3, 40, 50) if how == "webp" else (1, 40, 50)
    path = write_tif(tmp_path / "a.tif", noise(*shape), compress=how)
    with rasterio.open(path) as src:
        assert src.profile["compress"].startswith(how.partition("_")[0])
    as_rasterio(path)


@row("sparse tiles")
def test_sparse_tiles(tmp_path):
    shape = {"width": 64, "height": 64, "count": 1, "dtype": "uint8", "tiled": True, "blockxsize": 16, "blockysize": 16}
    for name, nodata in (("with", 9), ("without", None)):
        path = tmp_path / f"{name}.tif"
        with rasterio.open(
            path, "w", driver="GTiff", sparse_ok=True, nodata=nodata, crs=UTM, transform=north_up(), **shape
        ) as dst:
            dst.write(noise(1, 16, 16, high=8), window=rasterio.windows.Window(16, 16, 16, 16))
        as_rasterio(path)
        seen = read_whole(path)[2]
        assert seen.sum() == (256 if nodata else 4096)


@row("pages of one size (a stack)", "pages of other sizes (a thumbnail)")
def test_pages(tmp_path):
    tifffile.imwrite(tmp_path / "stack.tif", noise(3, 20, 30), photometric="minisblack")
    for reader in (raster, gdal):
        with pytest.raises(ReadError, match=r"stack\.tif is a stack of 3 pages.*gdal_translate GTIFF_DIR:2:"):
            reader.describe(str(tmp_path / "stack.tif"))
    with tifffile.TiffWriter(tmp_path / "thumb.tif") as writer:
        writer.write(noise(20, 30))
        writer.write(noise(5, 7))
    as_rasterio(tmp_path / "thumb.tif")


@row("several datasets in one file or folder (netCDF, HDF5, Zarr)")
def test_containers(tmp_path):
    import zarr

    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    for name in ("red", "nir"):
        group.create_array(name, data=noise(20, 30))
    with pytest.raises(ReadError, match=r"holds no bands but 2 datasets \(ZARR:.*red.*gdal_translate"):
        describe(str(tmp_path / "a.zarr"))


@row("overviews")
def test_overviews_are_not_mistaken_for_pixels(realdata):
    path = realdata / "rasters" / "cogeo_epsg3857_overviews.tif"
    with rasterio.open(path) as src:
        assert src.overviews(1)
        assert as_rasterio(path).grid.shape == src.shape


# ---------------------------------------------------------------------- which pixels were observed


@row("a nodata value", "nothing but nodata")
@pytest.mark.parametrize(
    "name", ["all-nodata_utm28n.tif", "float_raster_with_nodata_laea.tif", "cog_int16_nodata_utm21n.tif"]
)
def test_nodata_values(realdata, name):
    path = realdata / "rasters" / name
    header = as_rasterio(path)
    with rasterio.open(path) as src:
        assert header.validity == "nodata" and header.nodata == src.nodata
    if name.startswith("all"):
        sample = RasterDataset(path)[0]
        assert not sample["valid"].any() and (sample["image"] == 0).all()


@row("NaN, as nodata or not")
def test_nan(realdata, tmp_path):
    pixels = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 8, 8)
    pixels[0, 2, 3] = np.nan
    for name, nodata, kind in (("a", None, "nan"), ("b", np.nan, "nan"), ("c", 0.0, "nodata")):
        path = write_tif(tmp_path / f"{name}.tif", pixels, nodata=nodata)
        header, _, seen = read_whole(path)
        assert header.validity == kind and not seen[2, 3] and seen.sum() == (62 if kind == "nodata" else 63)
        assert not torch.isnan(RasterDataset(path)[0]["image"]).any()
    as_rasterio(realdata / "rasters" / "cog_nodata_nan_utm10n.tif")
    as_rasterio(realdata / "rasters" / "s2a_l2a_fishbourne_utm30n.tif")


@row("nodata that pixels cannot hold")
@pytest.mark.parametrize(
    ("dtype", "nodata"), [("uint8", "-9999"), ("uint8", "300"), ("int16", "-9999.5"), ("uint8", "nan")]
)
def test_nodata_that_no_pixel_can_be(tmp_path, dtype, nodata):
    tifffile.imwrite(tmp_path / "a.tif", noise(20, 30, dtype=dtype), extratags=[(42113, "s", 0, nodata, True)])
    assert as_rasterio(tmp_path / "a.tif").validity == "all"
    assert read_whole(tmp_path / "a.tif")[2].all()


@row("nodata that pixels cannot hold")
def test_nodata_beyond_all_floats():
    for value in (-1.7976931348623157e308, 1e39):
        assert stored_nodata(value, "float32") is None
    for value in (-np.inf, -9999.1, float(np.finfo(np.float32).min)):
        assert stored_nodata(value, "float32") == np.float32(value)


@row("nodata of 64 bits")
@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("int64", 2**63 - 1), ("int64", -(2**63)), ("int64", 2**53 + 1), ("uint64", 2**64 - 1), ("int64", -9999)],
)
def test_nodata_that_a_float_cannot_be(tmp_path, dtype, nodata):
    pixels = np.array([[nodata, nodata - 1 if nodata > 0 else nodata + 1], [7, nodata]], dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels, extratags=[(42113, "s", 0, str(nodata), True)])
    as_rasterio(tmp_path / "a.tif")
    _, got, seen = read_whole(tmp_path / "a.tif")
    assert np.array_equal(got[0], pixels) and np.array_equal(seen, pixels != np.array(nodata, dtype))


@row("nodata that differs from band to band", "nodata in a .aux.xml")
def test_nodata_beside_the_file(tmp_path):
    pixels = noise(2, 30, 30, high=9)
    for name, lines, wanted in (
        ("one", [(2, 7)], pixels[1] != 7),
        ("each", [(1, 3), (2, 7)], (pixels[0] != 3) & (pixels[1] != 7)),
        ("same", [(1, 5), (2, 5)], (pixels != 5).all(axis=0)),
    ):
        path = write_tif(tmp_path / f"{name}.tif", pixels, nodata=0)
        bands = "".join(f'<PAMRasterBand band="{b}"><NoDataValue>{v}</NoDataValue></PAMRasterBand>' for b, v in lines)
        (tmp_path / f"{name}.tif.aux.xml").write_text(f"<PAMDataset>{bands}</PAMDataset>")
        as_rasterio(path)
        if name != "one":  # there the first band keeps the value of the file
            assert np.array_equal(read_whole(path)[2], wanted)


@row("NODATA_VALUES of the whole file")
def test_pixels_that_hold_nodata_in_all_bands(tmp_path):
    pixels = noise(3, 30, 30, high=3)
    for nodata in (None, 2):  # GDAL forgets the value of the bands beside those of the file
        path = write_tif(tmp_path / f"{nodata}.tif", pixels, nodata=nodata)
        with rasterio.open(path, "r+") as dst:
            dst.update_tags(NODATA_VALUES="1 1 1")
        as_rasterio(path)
        assert np.array_equal(read_whole(path)[2], (pixels != 1).any(axis=0))


@row("a mask inside the file", "a mask beside it (.msk)")
def test_masks(realdata, tmp_path):
    assert as_rasterio(realdata / "rasters" / "cog_rgb_mask_epsg26913.tif").validity == "mask"
    assert as_rasterio(realdata / "rasters" / "cogeo_epsg3857_overviews.tif").validity == "mask"
    keep = noise(30, 30) > 90
    path = write_tif(tmp_path / "a.tif", noise(1, 30, 30))
    assert as_rasterio(path).validity == "all"
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as dst:
        dst.write_mask(keep)
    assert (tmp_path / "a.tif.msk").is_file()
    assert as_rasterio(path).validity == "mask" and np.array_equal(read_whole(path)[2], keep)


@row("a mask and a nodata value")
def test_a_mask_and_a_value(tmp_path):
    pixels, keep = noise(1, 30, 30, high=5), noise(30, 30) > 90
    _, got, seen = read_whole(write_tif(tmp_path / "a.tif", pixels, nodata=3, mask=keep))
    assert np.array_equal(got, pixels) and np.array_equal(seen, keep & (pixels[0] != 3))


@row("alpha")
def test_alpha(realdata, tmp_path):
    header = as_rasterio(realdata / "rasters" / "RGBA.uint16.tif")
    assert header.validity == "alpha" and header.indexes == (1, 2, 3)
    for dtype in ("uint8", "uint16"):  # hardly opaque is observed as well
        pixels = noise(2, 30, 30, dtype=dtype, high=4)
        path = write_tif(tmp_path / f"{dtype}.tif", pixels, colorinterp=[ColorInterp.gray, ColorInterp.alpha])
        as_rasterio(path)
        assert np.array_equal(read_whole(path)[2], pixels[1] > 0)


@row("alpha that GDAL does not use: floats, or beside a nodata value")
@pytest.mark.parametrize(("dtype", "nodata"), [("float32", None), ("int16", None), ("uint8", 2)])
def test_alpha_that_gdal_does_not_use(tmp_path, dtype, nodata):
    pixels = noise(2, 30, 30, dtype=dtype, high=4)
    path = write_tif(tmp_path / "a.tif", pixels, nodata=nodata, colorinterp=[ColorInterp.gray, ColorInterp.alpha])
    assert masked_by_rasterio(path)[1].sum() > (pixels[1] > 0).sum() or nodata is not None
    for reader in (raster, gdal):
        header, got, seen = read_whole(path, reader)
        assert header.indexes == (1,) and np.array_equal(got, pixels[:1])
        assert np.array_equal(seen, (pixels[1] != 0) & (pixels[0] != (-1 if nodata is None else nodata)))


@row("alpha alone")
def test_alpha_alone(tmp_path):
    pixels = noise(1, 8, 8)
    header, got, seen = read_whole(write_tif(tmp_path / "a.tif", pixels, colorinterp=[ColorInterp.alpha]))
    assert header.indexes == (1,) and np.array_equal(got, pixels) and seen.all()


@row("a transparent colour (PNG, GIF)")
@pytest.mark.parametrize("driver", ["PNG", "GIF"])
def test_transparent_colours(tmp_path, driver):
    pixels = noise(1, 20, 20, high=9)
    path = write_tif(tmp_path / f"a.{driver.lower()}", pixels, crs=None, driver=driver, nodata=4)
    as_rasterio(path)
    assert np.array_equal(read_whole(path)[2], pixels[0] != 4)


# ---------------------------------------------------------------------- through a dataset


@row("files that differ in how they say what was observed")
def test_files_that_differ(tmp_path):
    pixels, keep = noise(1, 30, 30, high=5), noise(30, 30) > 90
    write_tif(tmp_path / "a.tif", pixels, nodata=3)
    write_tif(tmp_path / "b.tif", pixels, north_up(6e5), mask=keep)
    write_tif(tmp_path / "c.tif", pixels, north_up(7e5))
    ds = RasterDataset(tmp_path, dtype=None)
    assert ds.catalog.assets[0].validity == "mask"
    for k, wanted in enumerate((pixels[0] != 3, keep, np.ones((30, 30), bool))):
        assert np.array_equal(ds[k]["valid"].numpy(), wanted)


def rows_of_the_page() -> list[str]:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    cells = [re.split(r"(?<!\\)\|", line)[1].strip() for line in lines if line.startswith("| ")]
    return [cell.replace("`", "") for cell in cells if cell != "what the file is"]


def test_every_row_of_the_page_has_a_test():
    rows = rows_of_the_page()
    assert len(rows) == len(set(rows)) and set(rows) == ROWS


def test_resampling_of_a_rotated_raster_by_gdal(tmp_path):
    """The whole of a rotated raster on its north-up box, against GDAL's own warp."""
    pixels = noise(1, 60, 60, high=250).astype(np.float32)
    path = write_tif(tmp_path / "a.tif", pixels, rotated(5e5, 5.6e6, 10, 30))
    ds = RasterDataset(path, resampling="bilinear")
    grid = gd.Grid.from_bounds(ds.catalog.grid(0).bounds, UTM, 10)
    sample = ds.read(grid)
    with (
        rasterio.open(path) as src,
        WarpedVRT(
            src,
            crs=UTM,
            transform=grid.transform,
            height=grid.height,
            width=grid.width,
            resampling=Resampling.bilinear,
            add_alpha=True,
        ) as warped,
    ):
        wanted, seen = warped.read(1), warped.read(2) > 0
    both = seen & sample["valid"].numpy()
    assert both.sum() > 0.98 * seen.sum() > 3000
    assert np.abs(sample["image"].numpy()[0] - wanted)[both].max() < 1.5
