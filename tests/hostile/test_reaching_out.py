"""Files that refer to other files: only to those in their own folder and below, unless everything is trusted."""

from __future__ import annotations

import json
import os
import sqlite3
import zipfile
from pathlib import Path

import fiona
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
from makers import write_tif
from rasterio.shutil import copy
from rasterio.vrt import WarpedVRT

from geodata.catalog import Catalog
from geodata.datasets import RasterDataset, VectorDataset
from geodata.errors import CatalogError, ReadError
from geodata.readers import gdal, ogr, vrt
from geodata.readers.raster import describe, read

SECRET = 201


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Make inside/, with rasters of small numbers, and files of one large number beside it."""
    rng = np.random.default_rng(0)
    inside = tmp_path / "inside"
    write_tif(inside / "a.tif", rng.integers(0, 100, (1, 32, 32)).astype(np.uint8), nodata=0)
    write_tif(inside / "below" / "b.tif", rng.integers(0, 100, (1, 32, 32)).astype(np.uint8))
    for name, size in (("outside.tif", 32), ("half.tif", 16)):
        write_tif(tmp_path / name, np.full((1, size, size), SECRET, np.uint8))
    (tmp_path / "outside.bin").write_bytes(bytes([SECRET]) * 1024)
    (inside / "raw.bin").write_bytes(bytes(range(64)) * 16)
    (inside / "link.tif").symlink_to(tmp_path / "outside.tif")
    (inside / "linked").symlink_to(tmp_path, target_is_directory=True)
    return inside


def mosaic(name: str, relative: str = "1", more: str = "") -> str:
    return (
        '<VRTDataset rasterXSize="32" rasterYSize="32"><SRS>EPSG:32633</SRS>'
        "<GeoTransform>500000, 10, 0, 5600000, 0, -10</GeoTransform>"
        f'<VRTRasterBand dataType="Byte" band="1"><SimpleSource><SourceFilename relativeToVRT="{relative}">{name}</SourceFilename>'
        f"<SourceBand>1</SourceBand></SimpleSource>{more}</VRTRasterBand></VRTDataset>"
    )


def raw(name: str) -> str:
    return mosaic("").split("<VRTRasterBand")[0] + (
        '<VRTRasterBand dataType="Byte" band="1" subClass="VRTRawRasterBand">'
        f'<SourceFilename relativeToVRT="1">{name}</SourceFilename></VRTRasterBand></VRTDataset>'
    )


def pixels_of(path: Path) -> np.ndarray:
    h = describe(str(path))
    return read(str(path), (0, 0, *h.grid.shape), h.indexes, validity=h.validity, nodata=h.nodata, dtype=h.dtype).data


def by_rasterio(path: Path) -> np.ndarray:
    with rasterio.open(path) as src:
        return src.read()


# ---------------------------------------------------------------------- what may be


@pytest.mark.parametrize("name", ["a.tif", "./a.tif", "below/b.tif", "below/../a.tif"])
def test_files_in_the_folder_and_below(place, name):
    (place / "x.vrt").write_text(mosaic(name))
    assert np.array_equal(pixels_of(place / "x.vrt"), by_rasterio(place / name))


def test_absolute_and_relative_to_the_working_directory(place, monkeypatch):
    (place / "x.vrt").write_text(mosaic(f"{place}/a.tif", "0"))
    assert np.array_equal(pixels_of(place / "x.vrt"), by_rasterio(place / "a.tif"))
    (place / "y.vrt").write_text(mosaic("a.tif", "0"))
    monkeypatch.chdir(place)
    assert np.array_equal(pixels_of(place / "y.vrt"), by_rasterio(place / "a.tif"))
    monkeypatch.chdir(place.parent)  # there the same words mean another file
    with pytest.raises(ReadError, match=r"y\.vrt refers to 'a\.tif', outside of its folder"):
        describe(str(place / "y.vrt"))


def test_a_vrt_by_another_name_and_one_behind_a_link(place):
    (place / "x.tif").write_text(mosaic("a.tif"))
    assert np.array_equal(pixels_of(place / "x.tif"), by_rasterio(place / "a.tif"))
    (place.parent / "elsewhere.vrt").symlink_to(place / "x.tif")  # GDAL starts from where the link leads
    assert np.array_equal(pixels_of(place.parent / "elsewhere.vrt"), by_rasterio(place / "a.tif"))


def test_vrts_that_gdal_writes(place):
    with rasterio.open(place / "a.tif") as src, WarpedVRT(src, crs="EPSG:3857", add_alpha=True) as warped:
        copy(warped, str(place / "warped.vrt"), driver="VRT")
    copy(str(place / "a.tif"), str(place / "copy.vrt"), driver="VRT")
    (place / "raw.vrt").write_text(raw("raw.bin"))
    (place / "derived.vrt").write_text(
        mosaic("a.tif").replace(
            'band="1">', 'band="1" subClass="VRTDerivedRasterBand"><PixelFunctionType>inv</PixelFunctionType>'
        )
    )
    for name in ("warped", "copy", "raw", "derived"):
        assert np.array_equal(pixels_of(place / f"{name}.vrt")[:1], by_rasterio(place / f"{name}.vrt")[:1]), name


def test_vrts_in_vrts_to_a_depth(place):
    (place / "0.vrt").write_text(mosaic("a.tif"))
    for depth in range(1, 12):
        (place / f"{depth}.vrt").write_text(mosaic(f"{depth - 1}.vrt"))
    assert np.array_equal(pixels_of(place / "7.vrt"), by_rasterio(place / "a.tif"))
    for depth in (8, 11):
        with pytest.raises(ReadError, match="VRTs stand 8 deep in each other, or in a circle"):
            describe(str(place / f"{depth}.vrt"))
    (place / "self.vrt").write_text(mosaic("self.vrt"))
    with pytest.raises(ReadError, match="in a circle"):
        describe(str(place / "self.vrt"))


def test_vrts_that_multiply(place):
    (place / "0.vrt").write_text(mosaic("a.tif"))
    for depth in range(1, 8):
        text = mosaic(f"{depth - 1}.vrt")
        start, end = text.index("<SimpleSource>"), text.index("</SimpleSource>") + 15
        (place / f"{depth}.vrt").write_text(text[:start] + text[start:end] * 12 + text[end:])
    describe(str(place / "4.vrt"))
    with pytest.raises(ReadError, match="read more than 1000000 files"):
        describe(str(place / "7.vrt"))


def test_a_vrt_that_changes_is_looked_at_again(place):
    (place / "x.vrt").write_text(mosaic("a.tif"))
    describe(str(place / "x.vrt"))
    (place / "x.vrt").write_text(mosaic("../outside.tif"))
    with pytest.raises(ReadError, match="outside of its folder"):
        describe(str(place / "x.vrt"))


# ---------------------------------------------------------------------- what may not

OUTSIDE = {
    "step up": (mosaic("../outside.tif"), "'../outside.tif', outside of its folder"),
    "down and up": (mosaic("below/../../outside.tif"), "outside of its folder"),
    "absolute": (mosaic("{up}/outside.tif", "0"), "outside of its folder"),
    "absolute, said to be relative": (mosaic("{up}/outside.tif"), "outside of its folder"),
    "a link": (mosaic("link.tif"), "outside of its folder"),
    "a linked folder": (mosaic("linked/outside.tif"), "outside of its folder"),
    "virtual": (mosaic("/vsisubfile/0,{up}/outside.tif"), "no plain path"),
    "a URL": (mosaic("http://127.0.0.1:9/outside.tif"), "no plain path"),
    "a URL of GDAL": (mosaic("/vsicurl/http://127.0.0.1:9/outside.tif"), "no plain path"),
    "a nested name": (mosaic("vrt://{up}/outside.tif"), "no plain path"),
    "a page": (mosaic("GTIFF_DIR:1:{up}/outside.tif", "0"), "no plain path"),
    "a service": (mosaic("WMS:http://127.0.0.1:9/"), "no plain path"),
    "inline": (mosaic("&lt;VRTDataset rasterXSize='1' rasterYSize='1'/&gt;", "0"), "no plain path"),
    "blanks": (mosaic(" ../outside.tif"), "no clean path"),
    "nothing": (mosaic(""), "no clean path"),
    "relative or not": (mosaic("../outside.tif", "yes"), "neither 0 nor 1"),
    "an attribute": (mosaic("a.tif").replace("<SimpleSource>", '<SimpleSource SourceFilename="{up}/outside.tif">'), "name a file"),
    "an element in the name": (mosaic("a.tif<x/>"), "element <x>"),
    "small letters": (mosaic("../outside.tif").replace("SourceFilename", "sourcefilename"), "outside of its folder"),
    "a mask": (mosaic("a.tif", more="<MaskBand>" + mosaic("../outside.tif").partition("</GeoTransform>")[2][:-13] + "</MaskBand>"), "outside of its folder"),
    "an overview": (mosaic("a.tif", more="<Overview><SourceFilename>{up}/half.tif</SourceFilename><SourceBand>1</SourceBand></Overview>"), "outside of its folder"),
    "overviews of all": (mosaic("a.tif").replace("<SRS>", '<Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{up}/half.tif</MDI></Metadata><SRS>'), "outside of its folder"),
    "raw bytes": (raw("../outside.bin"), "outside of its folder"),
    "raw bytes of the system": (raw("/etc/passwd"), "outside of its folder"),
    "python": (mosaic("a.tif", more="<PixelFunctionLanguage>Python</PixelFunctionLanguage>"), "element <PixelFunctionLanguage>"),
    "a processed VRT": (mosaic("a.tif").replace("<SRS>", "<ProcessingSteps/><SRS>"), "element <ProcessingSteps>"),
    "a large filter": (mosaic("a.tif").replace("SimpleSource", "KernelFilteredSource"), "element <KernelFilteredSource>"),
    "open options": (mosaic("a.tif").replace("</SourceFilename>", '</SourceFilename><OpenOptions><OOI key="X">y</OOI></OpenOptions>'), "open option 'X'"),
    "a document type": ("<!DOCTYPE x [<!ENTITY e 'x'>]>" + mosaic("a.tif"), "document type"),
    "words before it": ("junk " + mosaic("../outside.tif"), "no proper XML"),
    "warped and not": (mosaic("a.tif").replace("<VRTDataset", '<VRTDataset subClass="VRTWarpedDataset"'), "some bands are warped"),
    "cut off": (mosaic("a.tif")[:-9], "no proper XML"),
}  # fmt: skip


@pytest.mark.parametrize("how", OUTSIDE)
@pytest.mark.parametrize("name", ["x.vrt", "x.tif"])
def test_what_leads_out_is_refused_and_named(place, monkeypatch, how, name):
    text, said = OUTSIDE[how]
    (place / name).write_text(text.replace("{up}", str(place.parent)))
    with pytest.raises(ReadError, match=said) as caught:
        describe(str(place / name))
    assert name in str(caught.value)
    with pytest.raises(ReadError, match=r"1 of 3 files cannot be used|1 of 2 files cannot be used"):
        RasterDataset([place / name, place / "a.tif"])
    # A handle is opened anew in each process: reading asks again.
    with pytest.raises(ReadError, match=said):
        read(str(place / name), (0, 0, 8, 8), (1,), validity="all")


def test_the_switch_is_named_and_works(place, monkeypatch):
    (place / "x.vrt").write_text(mosaic("../outside.tif"))
    with pytest.raises(ReadError, match="GEODATA_VRT_OUTSIDE=1"):
        describe(str(place / "x.vrt"))
    monkeypatch.setenv("GEODATA_VRT_OUTSIDE", "1")
    assert (pixels_of(place / "x.vrt") == SECRET).all()
    monkeypatch.setenv("GEODATA_VRT_OUTSIDE", "0")
    with pytest.raises(ReadError, match="outside of its folder"):
        describe(str(place / "x.vrt"))


def test_a_nested_vrt_is_held_to_its_own_folder(place):
    (place / "below" / "inner.vrt").write_text(mosaic("../../outside.tif"))
    (place / "outer.vrt").write_text(mosaic("below/inner.vrt"))
    with pytest.raises(ReadError, match=r"inner\.vrt refers to '../../outside\.tif', outside of its folder"):
        describe(str(place / "outer.vrt"))


def test_a_source_is_looked_at_like_any_other_raster(place):
    (place / "list.tif").write_text("<GDALTileIndexDataset><IndexDataset>x.gpkg</IndexDataset></GDALTileIndexDataset>")
    (place / "x.vrt").write_text(mosaic("list.tif"))
    with pytest.raises(ReadError, match=r"list\.tif: it is XML or JSON"):
        describe(str(place / "x.vrt"))


SERVICES = {
    "tile index": "<GDALTileIndexDataset><IndexDataset>/etc/x.gpkg</IndexDataset></GDALTileIndexDataset>",
    "web map": '<GDAL_WMS><Service name="TMS"><ServerUrl>http://127.0.0.1:9/${z}/${x}/${y}.png</ServerUrl></Service></GDAL_WMS>',
    "web tiles": "<GDAL_WMTS><GetCapabilitiesUrl>http://127.0.0.1:9/</GetCapabilitiesUrl></GDAL_WMTS>",
    "coverage": "<WCS_GDAL><ServiceURL>http://127.0.0.1:9/</ServiceURL></WCS_GDAL>",
    "meta raster": "<MRF_META><CachedSource><Source>http://127.0.0.1:9/x.tif</Source></CachedSource></MRF_META>",
    "catalog of items": '{"type": "FeatureCollection", "stac_version": "1.0.0", "features": []}',
    "with a mark of the byte order": "\ufeff<GDAL_WMS></GDAL_WMS>",
}


@pytest.mark.parametrize("kind", SERVICES)
def test_descriptions_of_rasters_elsewhere(place, kind):
    (place / "x.tif").write_text(SERVICES[kind])
    with pytest.raises(
        ReadError, match=r"x\.tif: it is XML or JSON that describes a raster elsewhere.*GEODATA_VRT_OUTSIDE"
    ):
        describe(str(place / "x.tif"))


def test_what_is_in_an_archive_may_be_a_raster_and_no_list(place):
    with zipfile.ZipFile(place / "x.zip", "w") as packed:
        packed.writestr("x.vrt", mosaic(f"{place.parent}/outside.tif", "0"))
        packed.write(place / "a.tif", "a.tif")
    assert np.array_equal(pixels_of(f"/vsizip/{place}/x.zip/a.tif"), by_rasterio(place / "a.tif"))
    with pytest.raises(
        ReadError, match=r"GDAL reads it as VRT, which takes its pixels from other files.*GEODATA_VRT_OUTSIDE"
    ):
        describe(f"/vsizip/{place}/x.zip/x.vrt")


def test_plain_formats_are_read_as_ever(place):
    pixels = by_rasterio(place / "a.tif")
    for name, driver in (
        ("e.img", "HFA"),
        ("e.dat", "ENVI"),
        ("e.bil", "EHdr"),
        ("e.png", "PNG"),
        ("e.gpkg", "GPKG"),
        ("e.pix", "PCIDSK"),
    ):
        copy(str(place / "a.tif"), str(place / name), driver=driver)
        assert np.array_equal(pixels_of(place / name)[:1], pixels), driver
    text = "ncols 2\nnrows 2\nxllcorner 0\nyllcorner 0\ncellsize 1\n1 2\n3 4\n"
    (place / "e.asc").write_text(text)
    assert pixels_of(place / "e.asc").tolist() == [[[1, 2], [3, 4]]]


# ---------------------------------------------------------------------- beside a raster


@pytest.mark.parametrize("name", ["a.tif.msk", "a.tif.ovr", "A.TIF.Msk", "a.tif.OVR"])
def test_masks_and_overviews_are_tiffs(place, name):
    (place / name).write_text(mosaic("a.tif"))
    with pytest.raises(ReadError, match=rf"{name} beside it is no TIFF"):
        gdal.describe(str(place / "a.tif"))


def test_masks_and_overviews_in_a_folder_of_many_files(place):
    for i in range(1001):
        (place / f"{i}.txt").touch()
    describe(str(place / "a.tif"))
    (place / "a.tif.MSK").write_text(mosaic("a.tif"))
    with pytest.raises(ReadError, match="beside it is no TIFF"):
        describe(str(place / "a.tif"))


@pytest.mark.parametrize("where", ["tag", ".aux.xml", "mask"])
def test_overviews_that_are_another_file(place, where):
    said = {"OVERVIEW_FILE": str(place.parent / "half.tif")}
    path = place / "a.tif"
    if where == "tag":
        with rasterio.open(path, "r+") as dst:
            dst.update_tags(ns="OVERVIEWS", **said)
    elif where == ".aux.xml":
        text = f'<Metadata domain="OVERVIEWS"><MDI key="OVERVIEW&#95;FILE">{said["OVERVIEW_FILE"]}</MDI></Metadata>'
        (place / "a.tif.aux.xml").write_text(f"<PAMDataset>{text}</PAMDataset>")
    else:
        write_tif(place / "a.tif.msk", np.full((1, 32, 32), 255, np.uint8))
        with rasterio.open(place / "a.tif.msk", "r+") as dst:
            dst.update_tags(ns="OVERVIEWS", **said)
    with rasterio.open(path) as src:  # it is true: GDAL takes pixels from there
        if where != "mask":
            assert (src.read(1, out_shape=(16, 16)) == SECRET).all()
    with pytest.raises(ReadError, match=r"refers to '.*half\.tif', outside of its folder"):
        describe(str(path))


@pytest.mark.parametrize("where", ["tag", ".aux.xml"])
def test_overviews_of_a_source_that_are_another_file(place, where):
    said = {"OVERVIEW_FILE": str(place.parent / "half.tif")}
    (place / "x.vrt").write_text(mosaic("a.tif"))
    if where == "tag":
        with rasterio.open(place / "a.tif", "r+") as dst:
            dst.update_tags(ns="OVERVIEWS", **said)
    else:
        text = f'<Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{said["OVERVIEW_FILE"]}</MDI></Metadata>'
        (place / "a.tif.aux.xml").write_text(f"<PAMDataset>{text}</PAMDataset>")
    with pytest.raises(ReadError, match=r"a\.tif refers to '.*half\.tif', outside of its folder"):
        describe(str(place / "x.vrt"))


def test_overviews_in_the_folder(place):
    write_tif(place / "half.tif", np.full((1, 16, 16), 50, np.uint8))
    with rasterio.open(place / "a.tif", "r+") as dst:
        dst.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=":::BASE:::half.tif")
    assert pixels_of(place / "a.tif").shape == (1, 32, 32)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
def test_pipes_and_devices_are_no_files(place):
    os.mkfifo(place / "pipe.tif")
    for path in (place / "pipe.tif", "/dev/zero"):
        with pytest.raises(ReadError, match="is a pipe, socket or device"):
            describe(str(path))
    with pytest.raises(ReadError, match="is a pipe, socket or device"):
        ogr.describe_layer(place / "pipe.tif")


def test_few_bytes_of_a_plain_tiff_are_looked_at(place, monkeypatch):
    monkeypatch.setattr(vrt, "_references", lambda path: pytest.fail("a TIFF was parsed"))
    assert vrt.admit(str(place / "a.tif")) == "GTiff"


# ---------------------------------------------------------------------- vector layers


def write_layer(path: Path, value: str = "wheat", driver: str = "GPKG") -> Path:
    schema = {"geometry": "Polygon", "properties": {"crop": "str"}}
    with fiona.open(path, "w", driver=driver, crs="EPSG:32633", schema=schema) as layer:
        for x in (0, 20):
            ring = [(5e5 + x, 5.6e6), (5e5 + x + 10, 5.6e6), (5e5 + x + 10, 5.6e6 - 10), (5e5 + x, 5.6e6)]
            layer.write({"geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {"crop": value}})
    return path


LISTS = {
    "alone": "{list}",
    "in JSON": '{{"type": "FeatureCollection", "name": "{list}", "features": []}}',
    "after blanks": "\n\n   {list}",
    "a web service": "<OGRWFSDataSource><URL>http://127.0.0.1:9/</URL></OGRWFSDataSource>",
    "a raster": "<VRTDataset rasterXSize='1' rasterYSize='1'/>",
    "a command": '{{"type": "gdal_streamed_alg", "command_line": "gdal vector pipeline read x"}}',
}


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("name", ["x.geojson", "x.shp.zip"])
def test_layers_that_are_elsewhere(place, kind, name):
    write_layer(place.parent / "secret.gpkg", "secret")
    source = f"<SrcDataSource>{place.parent}/secret.gpkg</SrcDataSource>"
    text = LISTS[kind].format(
        list=f"<OGRVRTDataSource><OGRVRTLayer name='secret'>{source}</OGRVRTLayer></OGRVRTDataSource>"
    )
    if name.endswith(".zip"):
        with zipfile.ZipFile(place / name, "w") as packed:
            packed.writestr("x.geojson", text)
    else:
        (place / name).write_text(text)
    for ask in (ogr.list_layers, ogr.describe_layer, VectorDataset):
        with pytest.raises(ReadError, match=r"from other files or from the network.*GEODATA_VRT_OUTSIDE"):
            ask(place / name)


def test_lists_of_layers_with_the_switch(place, monkeypatch):
    write_layer(place.parent / "other.gpkg", "rye")
    source = f"<SrcDataSource>{place.parent}/other.gpkg</SrcDataSource>"
    (place / "x.vrt").write_text(
        f"<OGRVRTDataSource><OGRVRTLayer name='other'>{source}</OGRVRTLayer></OGRVRTDataSource>"
    )
    monkeypatch.setenv("GEODATA_VRT_OUTSIDE", "1")
    assert ogr.label_codes(place / "x.vrt", column="crop") == ("rye",)


RECURSE = "WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r)"
MANY = "under, " * 40 + "under"
COMPUTED = {
    "an endless view": f"ALTER TABLE layer RENAME TO under; CREATE VIEW layer AS {RECURSE} SELECT x AS fid, geom, crop FROM r, under",
    "an endless table of contents": f"ALTER TABLE gpkg_contents RENAME TO c; CREATE VIEW gpkg_contents AS {RECURSE} SELECT c.* FROM c, r",
    "a view of very many rows": f"ALTER TABLE layer RENAME TO under; CREATE VIEW layer AS SELECT a.* FROM under a, {MANY}",
    "a large column": "ALTER TABLE layer ADD COLUMN big TEXT AS (hex(zeroblob(900000000)))",
    "an endless view beside": f"CREATE VIEW beside AS {RECURSE} SELECT x FROM r",
}


@pytest.mark.parametrize("kind", COMPUTED)
def test_tables_that_are_computed(place, kind):
    path = write_layer(place / "layer.gpkg")
    with sqlite3.connect(path) as database:
        for statement in COMPUTED[kind].split("; "):
            database.execute(statement)
    database.close()
    with pytest.raises(ReadError, match=r"layer\.gpkg: '\w+' is no plain table.*ogr2ogr.*GEODATA_VRT_OUTSIDE"):
        ogr.describe_layer(path)


def test_views_beside_the_layer_do_no_harm_and_triggers_never_run(place):
    path = write_layer(place / "layer.gpkg")
    with sqlite3.connect(path) as database:
        database.execute("CREATE VIEW beside AS SELECT * FROM layer")
        database.execute("CREATE TRIGGER t AFTER INSERT ON layer BEGIN DELETE FROM layer; END")
    database.close()
    before = path.read_bytes()
    assert ogr.label_codes(path, "layer", column="crop") == ("wheat",)
    assert path.read_bytes() == before and sorted(p.name for p in place.glob("layer*")) == ["layer.gpkg"]
    with sqlite3.connect(path) as database:
        database.execute(
            "INSERT INTO gpkg_contents (table_name, identifier, data_type, srs_id) VALUES ('beside', 'b', 'features', 32633)"
        )
        database.execute("INSERT INTO gpkg_geometry_columns VALUES ('beside', 'geom', 'POLYGON', 32633, 0, 0)")
    database.close()
    assert ogr.label_codes(path, "layer", column="crop") == ("wheat",)
    with pytest.raises(ReadError, match="'beside' is no plain table"):
        ogr.describe_layer(path, "beside")


@pytest.mark.parametrize(
    "driver", ["GML", "KML", "GPX", "GeoJSON", "FlatGeobuf", "ESRI Shapefile", "MapInfo File", "GPKG", "SQLite"]
)
def test_reading_leaves_nothing_behind(place, driver):
    folder = place / "layer"
    folder.mkdir()
    if driver == "GPX":
        with fiona.open(
            folder / "x.gpx",
            "w",
            driver="GPX",
            crs="EPSG:4326",
            schema={"geometry": "Point", "properties": {"name": "str"}},
        ) as layer:
            layer.write({"geometry": {"type": "Point", "coordinates": (15, 50)}, "properties": {"name": "a"}})
    else:
        end = {"ESRI Shapefile": "shp", "MapInfo File": "tab", "FlatGeobuf": "fgb"}.get(driver, driver.lower())
        if driver == "KML":
            fiona.supported_drivers["KML"] = "rw"
        write_layer(folder / f"x.{end}", driver=driver)
    for extra in folder.glob("*.gfs"):
        extra.unlink()
    if driver == "GML":
        (folder / "x.xsd").unlink()
    path = next(
        p for p in sorted(folder.iterdir()) if p.suffix not in (".dbf", ".shx", ".prj", ".cpg", ".dat", ".id", ".map")
    )
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    info = ogr.describe_layer(path, None if driver != "GPX" else "waypoints")
    geometries, _ = ogr.read_layer(info, [])
    assert len(geometries) == info.count > 0
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_a_database_whose_words_are_no_text(place):
    path = write_layer(place / "layer.gpkg")
    path.write_bytes(path.read_bytes().replace(b"layer", b"\xe0\xe0\xe0\xe0\xe0"))
    with pytest.raises(ReadError, match=r"layer\.gpkg: its table of contents is no text"):
        ogr.describe_layer(path)


def test_a_table_that_contradicts_itself(place):
    path = write_layer(place / "layer.shp", driver="ESRI Shapefile")
    whole = path.with_suffix(".dbf").read_bytes()
    for at, number in ((10, 7), (8, 32), (32 + 16, 250)):
        broken = bytearray(whole)
        broken[at] = number
        path.with_suffix(".dbf").write_bytes(broken)
        with pytest.raises(ReadError, match=r"layer\.dbf is damaged: records of"):
            ogr.describe_layer(path)
    path.with_suffix(".dbf").write_bytes(b"")
    with pytest.raises(ReadError, match=r"layer\.dbf is damaged"):
        ogr.describe_layer(path)
    path.with_suffix(".dbf").write_bytes(whole)
    assert ogr.label_codes(path, column="crop") == ("wheat",)


# ---------------------------------------------------------------------- catalogs that others made


def rewritten(path: Path, **about: object) -> Path:
    """Change what a catalog says about itself."""
    table = pq.read_table(path)
    said = json.loads(table.schema.metadata[b"geodata"]) | about
    pq.write_table(table.replace_schema_metadata(table.schema.metadata | {b"geodata": json.dumps(said).encode()}), path)
    return path


@pytest.mark.parametrize(
    "root",
    ["..", "../inside", "a/../..", "vrt://x", "WMS:http://127.0.0.1:9/?", "<VRTDataset>://", "file:///etc", "/vsistdin/", "/vsimem/x",
     "/vsisubfile/0,/etc", "a\0b", "//server/x", "C:/x", "a\\..\\..", "\ud800"],
)  # fmt: skip
def test_roots_that_are_no_folder(place, root):
    path = Catalog.scan(place / "a.tif").save(place / "c.parquet")
    with pytest.raises(CatalogError, match=r"c\.parquet says that its files lie below .*make the catalog again"):
        Catalog.load(rewritten(path, root=root))


@pytest.mark.parametrize(
    "root", [".", "below/..x", "", "http://127.0.0.1:9", "s3://bucket/x", "/vsizip/{up}/x.zip", "{up}/inside"]
)
def test_roots_that_may_be(place, root):
    path = Catalog.scan(place / "a.tif").save(place / "c.parquet")
    catalog = Catalog.load(rewritten(path, root=root.replace("{up}", str(place.parent))))
    href = catalog.href(catalog.assets[0], 0)
    assert href is not None and href.endswith("/a.tif") and href.startswith((str(place), "http:", "s3:", "/vsizip/"))


@pytest.mark.parametrize(
    "changes",
    [{"ratio": 0}, {"ratio": "2"}, {"ratio": 1.5}, {"ratio": True}, {"indexes": [0]}, {"indexes": [1, 1]}, {"indexes": []}, {"dtype": "object"},
     {"dtype": 5}, {"validity": "often"}, {"indexes": ["1"]}, {"href": None}, {"nodata": [1]}],
)  # fmt: skip
def test_assets_that_cannot_be(place, changes):
    path = Catalog.scan(place / "a.tif").save(place / "c.parquet")
    asset = json.loads(pq.read_schema(path).metadata[b"geodata"])["assets"][0]
    with pytest.raises(CatalogError):
        Catalog.load(rewritten(path, assets=[asset | changes]))


def test_a_catalog_of_more_rows_than_bytes(place):
    path = Catalog.scan(place / "a.tif").save(place / "c.parquet")
    table = pq.read_table(path)
    many = pa.concat_tables([table.take([0] * 1000)] * 500)
    pq.write_table(many.select(["key", "crs"]), path, compression="zstd")
    assert path.stat().st_size < 100_000
    with pytest.raises(CatalogError, match=r"c\.parquet says that it has 500000 rows in \d+ bytes"):
        Catalog.load(path)


def test_a_catalog_that_nests_without_end(place):
    path = Catalog.scan(place / "a.tif").save(place / "c.parquet")
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata(table.schema.metadata | {b"geodata": b"[" * 100_000}), path)
    with pytest.raises(CatalogError, match=r"c\.parquet is damaged"):
        Catalog.load(path)


def test_links_below_the_root_are_followed_on_purpose(place):
    """Archives are often folders of links; what a scan found through one, a catalog finds again."""
    path = Catalog.scan(place / "link.tif").save(place / "c.parquet")
    assert (RasterDataset(path)[0]["image"] == SECRET).all()
