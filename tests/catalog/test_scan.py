"""Scanning: from files on disk to rows; what is wrong is named and counted."""

from __future__ import annotations

import json
import math
import os
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from affine import Affine
from brute import lonlat, outline
from makers import north_up, write_tif
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp

from geodata.bands import Band, Bands
from geodata.catalog import Catalog
from geodata.catalog import journal as journals
from geodata.catalog.agree import Kinds
from geodata.errors import (
    BandsError,
    CatalogError,
    CRSError,
    DtypeError,
    GeodataError,
    GridError,
    NoFilesError,
    QueryError,
    ReadError,
)
from geodata.grid import Grid
from geodata.interval import Interval
from geodata.readers.base import Header
from geodata.readers.raster import describe, read

UTM = "EPSG:32633"
EIGHT = np.zeros((8, 8), np.uint8)
FOUR = np.zeros((4, 4), np.uint8)


class Opened(list):
    """Files whose headers were read, in order; it also says which file stands in for URLs."""

    instead = None


@pytest.fixture(name="opened")
def _opened(monkeypatch):
    names = Opened()
    really = rasterio.open

    def stand_in(name, mode="r", *args, **options):
        remote = names.instead is not None and "://" in str(name)
        return really(names.instead if remote else name, mode, *args, **options)

    def watch(href):
        names.append(href)
        return describe(href)

    monkeypatch.setattr(rasterio, "open", stand_in)
    monkeypatch.setattr(journals, "describe", watch)
    return names


def files(catalog):
    return [[catalog.href(a, r) for a in catalog.assets] for r in range(len(catalog))]


# ---------------------------------------------------------------------- where files are looked for


@pytest.fixture
def tree(tmp_path):
    for i, name in enumerate(
        ["a/1.tif", "a/b/2.TIF", "a/b/c/3.tiff", "4.tif", "a/notes.txt", "a/1.tif.aux.xml", "a/5.asc"]
    ):
        if name.lower().endswith((".tif", ".tiff")):
            write_tif(tmp_path / name, transform=north_up(500000 + 1000 * i))
        else:
            (tmp_path / name).write_text("text")
    return tmp_path


def test_a_folder_is_searched_to_any_depth(tree):
    for paths in (tree, str(tree), [tree], str(tree) + "/"):
        catalog = Catalog.scan(paths)
        assert catalog.key.tolist() == ["4", "a/1", "a/b/2", "a/b/c/3"]
        assert catalog.root == str(tree)
        assert files(catalog) == [[str(tree / n)] for n in ("4.tif", "a/1.tif", "a/b/2.TIF", "a/b/c/3.tiff")]
        assert catalog.skipped == catalog.dropped == ()


def test_globs_lists_and_single_files(tree, monkeypatch):
    for other in ("5.asc", "notes.txt"):
        (tree / "a" / other).unlink()
    cases = {
        (str(tree / "a" / "*.tif"),): ["a/1.tif"],
        (str(tree / "a" / "**" / "*.ti*"),): ["a/1.tif", "a/b/c/3.tiff"],
        (str(tree / "**" / "[0-9].*"),): ["4.tif", "a/1.tif", "a/b/2.TIF", "a/b/c/3.tiff"],
        (str(tree / "4.tif"),): ["4.tif"],
        (str(tree / "4.tif"), str(tree / "a" / "b")): ["4.tif", "a/b/2.TIF", "a/b/c/3.tiff"],
        (str(tree / "a"), str(tree / "a" / "1.tif")): ["a/1.tif", "a/b/2.TIF", "a/b/c/3.tiff"],
    }
    for paths, wanted in cases.items():
        found = Catalog.scan(list(paths) if len(paths) > 1 else paths[0])
        assert sorted(os.path.relpath(f, tree) for (f,) in files(found)) == wanted, paths
        assert len(set(found.key)) == len(wanted)
    monkeypatch.chdir(tree)
    assert files(Catalog.scan("a/*.tif")) == [[str(tree / "a" / "1.tif")]]
    assert Catalog.scan(p for p in [tree / "4.tif"]).key.tolist() == ["4"]


def test_any_format_may_be_named(tmp_path):
    (tmp_path / "dem.asc").write_text("ncols 2\nnrows 2\nxllcorner 0\nyllcorner 0\ncellsize 10\n1 2\n3 4\n")
    assert Catalog.scan(tmp_path / "dem.asc", crs=UTM).shape.tolist() == [[2, 2]]
    assert Catalog.scan(str(tmp_path / "*.asc"), crs=UTM).shape.tolist() == [[2, 2]]
    with pytest.raises(NoFilesError):
        Catalog.scan(tmp_path)


def test_a_name_with_the_signs_of_a_glob(tmp_path):
    write_tif(tmp_path / "a[1].tif")
    write_tif(tmp_path / "b*" / "1.tif")
    assert Catalog.scan(tmp_path / "a[1].tif").key.tolist() == ["a[1]"]
    assert Catalog.scan(tmp_path / "b*").key.tolist() == ["1"]


def test_links(tmp_path):
    write_tif(tmp_path / "data" / "1.tif")
    os.symlink(tmp_path / "data", tmp_path / "data" / "loop")
    os.symlink(tmp_path / "nowhere.tif", tmp_path / "data" / "broken.tif")
    os.symlink(tmp_path / "data", tmp_path / "alias")
    assert Catalog.scan(tmp_path / "data").key.tolist() == ["1"]
    assert Catalog.scan(tmp_path / "alias").key.tolist() == ["1"]
    write_tif(tmp_path / "elsewhere" / "2.tif", transform=north_up(6e5))
    os.symlink(tmp_path / "elsewhere" / "2.tif", tmp_path / "data" / "2.tif")
    assert Catalog.scan(tmp_path / "data").key.tolist() == ["1", "2"]


def test_names_that_only_look_like_rasters(tmp_path):
    """A hidden file without an ending, a folder, a link to itself, an ending of another case, a dot before the ending."""
    for name in ("1.tif", "2.TIF", "x..tif", "..y.tiff"):
        write_tif(tmp_path / name)
    (tmp_path / ".tif").write_bytes((tmp_path / "1.tif").read_bytes())
    (tmp_path / "..tif").write_bytes(b"")
    (tmp_path / "folder.tif").mkdir()
    os.symlink(tmp_path / "ring.tif", tmp_path / "ring.tif")
    found = Catalog.scan(tmp_path)
    assert found.column("path").tolist() == ["..y.tiff", "1.tif", "2.TIF", "x..tif"]
    assert found.key.tolist() == [os.path.splitext(p)[0] for p in found.column("path")]
    bare = [
        write_tif(tmp_path / name, transform=north_up(6e5)) for name in ("v1.2/scene", "v1.2/.hidden", "v1.2/b.c.d")
    ]
    assert Catalog.scan(bare).key.tolist() == [".hidden", "b.c", "scene"]
    assert Catalog.scan([*bare, tmp_path / "1.tif"]).key.tolist() == ["1", "v1.2/.hidden", "v1.2/b.c", "v1.2/scene"]


OTHERWISE = {
    "bands": Bands(["1"]),
    "indexes": (2,),
    "dtype": "int16",
    "nodata": 1.0,
    "validity": "nodata",
    "named": True,
    "grid": Grid((4, 4), north_up(), "EPSG:32634"),
}


@pytest.mark.parametrize("name", OTHERWISE)
def test_headers_of_one_kind_differ_in_shape_and_transform_alone(name):
    header = Header(Grid((4, 4), north_up(), UTM), Bands(["1"]), (1,), "uint8", None, "all", False)
    moved = replace(header, grid=Grid((2, 3), north_up(6e5, 5e6, 2.5, -7.0), UTM))
    kinds = Kinds()
    kinds.parted(header)
    assert kinds.parted(moved) == (header, (2, 3, 2.5, 0, 6e5, 0, 7, 5e6))
    other = replace(header, **{name: OTHERWISE[name]})
    assert kinds.parted(other)[0] is other
    assert kinds.parted(header)[0] is header


def test_a_linked_folder_of_files_is_found(tmp_path):
    """Data folders are made of links to other disks."""
    write_tif(tmp_path / "disk" / "2.tif")
    (tmp_path / "data").mkdir()
    os.symlink(tmp_path / "disk", tmp_path / "data" / "more")
    assert Catalog.scan(tmp_path / "data").key.tolist() == ["more/2"]


def test_nothing_found_is_counted(tree):
    with pytest.raises(NoFilesError, match=r"nope does not exist"):
        Catalog.scan(tree / "nope")
    with pytest.raises(NoFilesError, match=r"0 files seen"):
        Catalog.scan(str(tree / "*.jp2"))
    with pytest.raises(NoFilesError, match=r"4 files seen, 0 matched the pattern 'B.*d', 0 opened"):
        Catalog.scan(tree, pattern=r"B\d")
    with pytest.raises(NoFilesError, match="0 files seen"):
        Catalog.scan([])
    with pytest.raises(FileNotFoundError):
        Catalog.scan(tree / "nope")
    (tree / "empty").mkdir()
    with pytest.raises(NoFilesError, match=r"empty.*0 files seen, 0 matched"):
        Catalog.scan(tree / "empty")


def test_files_in_an_archive(tmp_path):
    for name in ("1.tif", "2.tif"):
        write_tif(tmp_path / name, transform=north_up(5e5 + 1000 * int(name[0])))
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as z:
        for name in ("1.tif", "2.tif"):
            z.write(tmp_path / name, f"in/{name}")
    inside = [f"/vsizip/{tmp_path}/z.zip/in/{n}.tif" for n in (1, 2)]
    catalog = Catalog.scan(inside)
    assert catalog.key.tolist() == ["1", "2"] and files(catalog) == [[f] for f in inside]
    assert files(Catalog.scan(inside[0])) == [[inside[0]]]
    loaded = Catalog.load(catalog.save(tmp_path / "c.parquet"))
    assert files(loaded) == files(catalog)
    loaded.check_files()
    with rasterio.open(files(loaded)[1][0]) as src:
        assert src.transform.c == 502000
    mixed = Catalog.scan([inside[0], tmp_path / "2.tif"])
    assert sorted(f for (f,) in files(mixed)) == sorted([inside[0], str(tmp_path / "2.tif")])
    assert sorted(files(Catalog.load(mixed.save(tmp_path / "m.parquet")))) == sorted(files(mixed))


@pytest.mark.parametrize(
    "urls",
    [
        ["https://h.org/d/a.tif"],
        ["https://h.org/d/a.tif", "https://h.org/d/b.tif"],
        ["https://h.org/d/aa1.tif", "https://h.org/d/aa2.tif"],
        ["https://h.org/d/a.tif", "https://h.org/e/f/a.tif"],
        ["https://h1.org/d/a.tif", "https://h2.org/d/b.tif"],
        ["s3://bucket/a.tif", "https://h.org/b.tif"],
        ["s3://one/a.tif", "s3://two/b.tif"],
        ["https://h.org/d/a.tif?sig=1%2F2&x=//y"],
        ["gs://bucket/d/a.tif"],
        ["/vsicurl/https://h.org/d/a.tif", "/vsicurl/https://h.org/d/b.tif"],
    ],
    ids=lambda u: u[-1][:28],
)
def test_urls(tmp_path, opened, urls):
    local = write_tif(tmp_path / "answer.tif")
    opened.instead = local
    catalog = Catalog.scan(urls)
    assert sorted(opened) == sorted(urls)
    assert sorted(f for (f,) in files(catalog)) == sorted(urls)
    back = Catalog.load(catalog.save(tmp_path / "c.parquet"))
    assert files(back) == files(catalog)
    back.check_files()


def test_urls_beside_local_files(tmp_path, opened):
    opened.instead = write_tif(tmp_path / "a.tif")
    catalog = Catalog.scan(["https://h.org/d/b.tif", tmp_path / "a.tif"])
    assert sorted(f for (f,) in files(catalog)) == [str(tmp_path / "a.tif"), "https://h.org/d/b.tif"]


# ---------------------------------------------------------------------- patterns


def test_one_file_per_band_at_several_resolutions_is_one_item(tmp_path):
    for scene in ("S2_20200501", "S2_20200511"):
        for band, n in (("B02", 120), ("B05", 60), ("B01", 20)):
            write_tif(tmp_path / f"{scene}_{band}.tif", np.zeros((n, n), np.uint16), north_up(res=1200 / n))
    catalog = Catalog.scan(tmp_path, pattern=r"S2_(?P<date>\d{8})_(?P<band>B\d\d)\.tif$")
    assert catalog.key.tolist() == ["S2_20200501", "S2_20200511"]
    assert {a.bands.names: a.ratio for a in catalog.assets} == {("B01",): 6, ("B02",): 1, ("B05",): 2}
    assert catalog.shape.tolist() == [[120, 120]] * 2
    assert catalog.grid(0).res == (10, 10)
    assert [catalog.interval(r) for r in (0, 1)] == [Interval.parse("2020-05-01"), Interval.parse("2020-05-11")]
    for asset in catalog.assets:
        name = f"S2_20200511_{asset.bands.names[0]}.tif"
        assert catalog.href(asset, 1) == str(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("LC08_B2.tif", "LC08"),
        ("LC08_B2_clip.tif", "LC08_clip"),
        ("B2_LC08.tif", "LC08"),
        ("LC08-B2.tif", "LC08"),
        ("x/LC08.B2.tif", "x/LC08"),
        ("B2/LC08.tif", "LC08"),
        ("x/B2/LC08.tif", "x/LC08"),
    ],
)
def test_the_key_is_the_path_without_the_band(tmp_path, name, key):
    write_tif(tmp_path / "d" / name)
    write_tif(tmp_path / "d" / name.replace("B2", "B3"))
    catalog = Catalog.scan(tmp_path / "d", pattern=r"(?P<band>B\d)")
    assert catalog.key.tolist() == [key]
    assert [a.bands.names for a in catalog.assets] == [("B2",), ("B3",)]


def test_groups_become_columns(tmp_path):
    for name in ("AT_0001_20200501.tif", "DE_0002_20200502.tif", "CH_0003.tif", "other.tif"):
        write_tif(tmp_path / name)
    catalog = Catalog.scan(tmp_path, pattern=r"(?P<country>[A-Z]{2})_(?P<number>\d{4})(_(?P<date>\d{8}))?\.tif")
    assert catalog.key.tolist() == ["AT_0001_20200501", "CH_0003", "DE_0002_20200502"]
    assert catalog.column("country").tolist() == ["AT", "CH", "DE"]
    assert catalog.column("number").tolist() == ["0001", "0003", "0002"]
    assert catalog.where(country="DE").key.tolist() == ["DE_0002_20200502"]
    assert catalog.interval(0) == Interval.parse("2020-05-01")
    assert catalog.interval(1) == Interval()


def test_a_group_that_did_not_match_says_nothing(tmp_path):
    for name in ("AT_x.tif", "y.tif"):
        write_tif(tmp_path / name)
    catalog = Catalog.scan(tmp_path, pattern=r"^(?:(?P<item>AT)_)?(?P<letter>\w)(?:_(?P<date>\d{8}))?\.tif")
    assert catalog.key.tolist() == ["AT", "y"]
    assert catalog.time.tolist() == [[-math.inf, math.inf]] * 2


def test_item_groups_start_and_stop(tmp_path):
    for name in ("x_2020-05-01_2020-05-16_ndvi.tif", "x_2020-05-17_2020-05-31_ndvi.tif"):
        write_tif(tmp_path / name)
    catalog = Catalog.scan(tmp_path, pattern=r"(?P<item>x_(?P<start>[\d-]{10}))_(?P<stop>[\d-]{10})_(?P<band>\w+)\.tif")
    assert catalog.key.tolist() == ["x_2020-05-01", "x_2020-05-17"]
    assert catalog.interval(0) == Interval.parse(("2020-05-01", "2020-05-16"))
    assert [a.bands.names for a in catalog.assets] == [("ndvi",)]


def test_start_alone_and_times_of_day(tmp_path):
    write_tif(tmp_path / "S1A_20200501T053010.tif")
    catalog = Catalog.scan(tmp_path, pattern=r"S1A_(?P<start>\w+)\.tif")
    assert catalog.interval(0) == Interval.parse("2020-05-01T05:30:10")


def test_patterns_match_on_the_path_below_the_root(tmp_path):
    write_tif(tmp_path / "B9" / "x" / "B2.tif")
    catalog = Catalog.scan(tmp_path / "B9", pattern=r"(?P<folder>\w)/(?P<band>B\d)\.tif")
    assert catalog.column("folder").tolist() == ["x"]
    assert catalog.assets[0].bands.names == ("B2",)


@pytest.mark.parametrize("band", ["10.8", "VV-gamma", "B[1]", "B:2", "B!r", "{x}", "band 1", "ü", "class"])
def test_bands_of_any_name(tmp_path, band):
    write_tif(tmp_path / f"x_{band}.tif")
    catalog = Catalog.scan(tmp_path, pattern=r"(?P<item>x)_(?P<band>.+)\.tif")
    assert catalog.assets[0].bands.names == (band,)
    assert files(catalog) == [[str(tmp_path / f"x_{band}.tif")]]
    assert files(Catalog.load(catalog.save(tmp_path / "c.parquet"))) == files(catalog)
    catalog.check_files()


def test_bands_whose_names_differ_in_signs_alone_are_not_mixed_up(tmp_path):
    for i, band in enumerate(("10.8", "10-8")):
        write_tif(tmp_path / f"x_{band}.tif", EIGHT + i)
    try:
        catalog = Catalog.scan(tmp_path, pattern=r"(?P<item>x)_(?P<band>.+)\.tif")
    except BandsError as error:
        assert "10.8" in str(error) and "10-8" in str(error)  # noqa: PT017  (refusing is as good as telling apart)
    else:
        assert {a.bands.names[0]: catalog.href(a, 0)[-8:] for a in catalog.assets} == {
            "10.8": "10.8.tif",
            "10-8": "10-8.tif",
        }


@pytest.mark.parametrize(
    "group", ["key", "path", "size", "mtime", "crs", "affine", "geometry", "height", "tile_of", "end"]
)
def test_groups_with_names_that_are_taken_are_refused(tmp_path, group):
    write_tif(tmp_path / "a_1.tif")
    with pytest.raises(CatalogError, match=group):
        Catalog.scan(tmp_path, pattern=rf"a_(?P<{group}>\d)").save(tmp_path / "c.parquet")


def test_a_pattern_that_is_none(tmp_path):
    write_tif(tmp_path / "a.tif")
    with pytest.raises(GeodataError, match="pattern"):
        Catalog.scan(tmp_path, pattern="(?P<band")


def test_files_of_one_item_that_say_different_dates(tmp_path):
    write_tif(tmp_path / "T_20200101_B1.tif")
    write_tif(tmp_path / "T_20200202_B2.tif")
    with pytest.raises(CatalogError, match=r"20200(101|202).*20200(101|202)"):
        Catalog.scan(tmp_path, pattern=r"(?P<item>T)_(?P<date>\d+)_(?P<band>B\d)")


def test_a_date_that_is_none_names_the_file(tmp_path):
    write_tif(tmp_path / "T_20209999.tif")
    with pytest.raises(QueryError, match=r"T_20209999\.tif.*20209999"):
        Catalog.scan(tmp_path, pattern=r"T_(?P<date>\d+)")


def test_two_files_of_one_key_are_both_named(tmp_path):
    for name in ("a_v1.tif", "a_v2.tif"):
        write_tif(tmp_path / name)
    with pytest.raises(CatalogError, match=r"a_v2\.tif and a_v1\.tif are the same item 'a'"):
        Catalog.scan(tmp_path, pattern=r"(?P<item>a)")
    write_tif(tmp_path / "b" / "x.tif")
    write_tif(tmp_path / "b" / "x.png", crs=None, driver="PNG")
    with pytest.raises(CatalogError, match=r"x\.tif and b/x\.png are the same item 'b/x'|x\.png and b/x\.tif"):
        Catalog.scan(tmp_path)


# ---------------------------------------------------------------------- bands


def test_band_names_from_the_file_the_caller_or_the_number(tmp_path):
    two = np.zeros((2, 8, 8), np.uint8)
    write_tif(tmp_path / "a.tif", two, descriptions=["red", "nir"])
    write_tif(tmp_path / "b.tif", two)
    write_tif(tmp_path / "c.tif", two, descriptions=["red", None])
    write_tif(tmp_path / "d.tif", two, descriptions=["same", "same"])
    names = {n: Catalog.scan(tmp_path / f"{n}.tif").assets[0].bands.names for n in "abcd"}
    assert names == {"a": ("red", "nir"), "b": ("1", "2"), "c": ("1", "2"), "d": ("1", "2")}
    given = Catalog.scan(tmp_path / "b.tif", band_names=["R", "N"], bands=Bands([Band("N", "nir", 842.0)]))
    assert given.assets[0].bands == Bands(["R", Band("N", "nir", 842.0)])
    with pytest.raises(BandsError, match="3 names, the files have 2 bands"):
        Catalog.scan(tmp_path / "b.tif", band_names=["R", "G", "B"])
    several = Catalog.scan(tmp_path / "a.tif", pattern=r"(?P<band>a)")
    assert several.assets[0].bands.names == ("a_red", "a_nir")


def test_scale_offset_unit_are_kept(tmp_path):
    write_tif(tmp_path / "a.tif", EIGHT, scales=[0.1], offsets=[3.0])
    band = Catalog.scan(tmp_path / "a.tif").assets[0].bands[0]
    assert (band.scale, band.offset) == (0.1, 3.0)
    known = Catalog.scan(tmp_path / "a.tif", bands=Bands([Band("1", "red", scale=0.5)])).assets[0].bands[0]
    assert (known.scale, known.offset, known.common_name) == (0.1, 3.0, "red")


@pytest.mark.parametrize(
    ("tags", "ns", "wanted"),
    [
        ({"wavelength": "665.1", "fwhm": "31", "wavelength_units": "Nanometers"}, None, (665.1, 31.0)),
        ({"wavelength": "0.6651", "fwhm": "0.031", "wavelength_units": "Micrometers"}, None, (665.1, 31.0)),
        ({"CENTRAL_WAVELENGTH_UM": "0.6651", "FWHM_UM": "0.031"}, "IMAGERY", (665.1, 31.0)),
        ({"wavelength": "665.1"}, None, (665.1, None)),
        ({"wavelength": "red"}, None, (None, None)),
        ({"wavelength": "-5"}, None, (None, None)),
        ({"wavelength": "nan"}, None, (None, None)),
        ({"wavelength": "inf"}, None, (None, None)),
        ({"wavelength": "15", "wavelength_units": "Wavenumber"}, None, (None, None)),
        ({}, None, (None, None)),
    ],
)
def test_wavelengths_from_tags(tmp_path, tags, ns, wanted):
    write_tif(tmp_path / "a.tif", EIGHT, band_tags=[tags], ns=ns)
    band = Catalog.scan(tmp_path / "a.tif").assets[0].bands[0]
    assert (band.wavelength, band.fwhm) == (pytest.approx(wanted[0]), pytest.approx(wanted[1]))


def test_wavelengths_of_real_enmap_tiles(realdata):
    folder = realdata / "enmap_potsdam"
    wanted = np.loadtxt(folder / "enmap.csv", delimiter=",", skiprows=1)
    catalog = Catalog.scan(folder / "images")
    assert len(catalog) == 5
    bands = catalog.assets[0].bands
    assert len(bands) == 224
    assert bands.names[:2] == ("band 1", "band 2")
    with rasterio.open(files(catalog)[0][0]) as src:
        tags = [src.tags(i) for i in src.indexes]
    assert bands.wavelengths.tolist() == [float(t["wavelength"]) for t in tags]
    assert [b.fwhm for b in bands] == [float(t["fwhm"]) for t in tags]
    assert {round(w, 2) for w in bands.wavelengths} <= {round(w, 2) for w in wanted[:, 0]}
    assert bands.nearest(665).wavelength == pytest.approx(665, abs=4)
    assert catalog.assets[0].nodata == -32768
    assert np.allclose(bands[0].scale, 1e-4)


def test_validity_as_the_file_says(tmp_path):
    rgba = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    write_tif(tmp_path / "alpha.tif", np.zeros((4, 8, 8), np.uint8), colorinterp=rgba)
    write_tif(tmp_path / "nodata.tif", EIGHT, nodata=0)
    write_tif(tmp_path / "mask.tif", EIGHT, mask=np.ones((8, 8), bool))
    write_tif(tmp_path / "all.tif", EIGHT)
    write_tif(tmp_path / "float.tif", EIGHT.astype(np.float32))
    write_tif(tmp_path / "nan.tif", EIGHT.astype(np.float32), nodata=math.nan)
    kinds = {}
    for name in ("alpha", "nodata", "mask", "all", "float", "nan"):
        asset = Catalog.scan(tmp_path / f"{name}.tif").assets[0]
        kinds[name] = asset.validity
        assert asset.indexes == tuple(range(1, 4 if name == "alpha" else 2))
    assert kinds == {"alpha": "alpha", "nodata": "nodata", "mask": "mask", "all": "all", "float": "nan", "nan": "nan"}


@pytest.mark.parametrize("second", [{"nodata": 255}, {}, {"mask": np.ones((8, 8), bool)}])
def test_files_with_different_validity_are_asked_one_by_one(tmp_path, second):
    write_tif(tmp_path / "a.tif", EIGHT, nodata=0)
    write_tif(tmp_path / "b.tif", EIGHT, north_up(6e5), **second)
    asset = Catalog.scan(tmp_path).assets[0]
    assert (asset.validity, asset.nodata) == ("mask", None)


def test_real_landsat_bands_are_one_item(realdata):
    folder = realdata / "rasters" / "landsat_greenland_utm24n"
    pattern = r"(?P<item>LC08_L2SP_\d{6}_(?P<date>\d{8}))_\d{8}_02_T2_SR_(?P<band>B\d)\.TIF$"
    catalog = Catalog.scan(folder, pattern=pattern)
    assert catalog.key.tolist() == ["LC08_L2SP_005009_20150710"]
    assert [a.bands.names[0] for a in catalog.assets] == ["B2", "B3", "B4", "B5"]
    assert catalog.interval(0) == Interval.parse("2015-07-10")
    with rasterio.open(catalog.href(catalog.assets[0], 0)) as src:
        assert catalog.grid(0).transform == src.transform
        assert catalog.grid(0).shape == src.shape


def test_every_real_raster_with_a_place_is_catalogued_where_it_lies(realdata):
    names = sorted(p for p in (realdata / "rasters").glob("*.tif"))
    skipped = 0
    for name in names:
        try:
            catalog = Catalog.scan(name)
        except CRSError:
            assert "rpc" in name.name or "gcp" in name.name
            skipped += 1
            continue
        with rasterio.open(name) as src:
            assert catalog.grid(0).transform == src.transform
            assert len(catalog.assets[0].bands) == src.count - (ColorInterp.alpha in src.colorinterp)
            assert catalog.assets[0].dtype == src.dtypes[0]
            if src.crs is None:
                continue
            item = Affine(*src.transform[:6]), src.shape, src.crs.to_wkt()
        middle = catalog.grid(0).xy(np.array([src.width / 2, src.height / 2]))
        lon, lat = lonlat(item, middle[None])[0]
        assert catalog.search((lon - 1e-6, lat - 1e-6, lon + 1e-6, lat + 1e-6), crs=4326).tolist() == [0], name.name
        assert np.isfinite(lonlat(item, outline(item, 10))).all()
    assert skipped == 1 and len(names) > 20


# ---------------------------------------------------------------------- files that cannot be used


@pytest.fixture
def broken(tmp_path):
    """Two good files, and one of each kind of bad one."""
    write_tif(tmp_path / "good1.tif")
    write_tif(tmp_path / "good2.tif", transform=north_up(6e5))
    whole = write_tif(tmp_path / "x.tif", np.zeros((64, 64), np.uint16)).read_bytes()
    (tmp_path / "x.tif").unlink()
    (tmp_path / "bad_truncated.tif").write_bytes(whole[:60])
    (tmp_path / "bad_empty.tif").write_bytes(b"")
    (tmp_path / "bad_text.tif").write_text("I am no raster, whatever my name says")
    (tmp_path / "bad_bands.vrt").write_text('<VRTDataset rasterXSize="5" rasterYSize="5"></VRTDataset>')
    return tmp_path


def test_files_that_cannot_be_read_are_named_and_counted(broken):
    with pytest.raises(ReadError, match=r"4 of 6 files cannot be .*bad_bands\.vrt.*on_error='skip'"):
        Catalog.scan(broken)
    with pytest.raises(ReadError, match=r"bad_empty\.tif.*the file is empty"):
        Catalog.scan(broken / "bad_empty.tif")
    for name in ("bad_truncated.tif", "bad_text.tif"):
        with pytest.raises(ReadError, match=rf"1 of 1 files.*{name}"):
            Catalog.scan(broken / name)


def test_skipping_lists_what_was_skipped(broken):
    catalog = Catalog.scan(broken, on_error="skip")
    assert catalog.key.tolist() == ["good1", "good2"]
    assert sorted(catalog.skipped) == ["bad_bands.vrt", "bad_empty.tif", "bad_text.tif", "bad_truncated.tif"]
    assert catalog.dropped == ()
    with pytest.raises(NoFilesError, match=r"2 files seen, 2 matched.*0 opened"):
        Catalog.scan([broken / "bad_empty.tif", broken / "bad_text.tif"], on_error="skip")
    with pytest.raises(CatalogError, match="'raise' or 'skip'"):
        Catalog.scan(broken, on_error="ignore")


def test_what_lies_nowhere_is_refused_or_skipped(tmp_path):
    write_tif(tmp_path / "good.tif")
    points = [GroundControlPoint(r, c, 15 + c / 100, 50 - r / 100) for r in (0, 8) for c in (0, 8)]
    gcp = write_tif(tmp_path / "gcp.tif", crs="EPSG:4326", transform=Affine.identity(), gcps=points)
    (tmp_path / "flat.vrt").write_text(
        '<VRTDataset rasterXSize="8" rasterYSize="8"><SRS>EPSG:32633</SRS><GeoTransform>0, 0, 0, 0, 0, 0</GeoTransform>'
        '<VRTRasterBand dataType="Byte" band="1"/></VRTDataset>'
    )
    with pytest.raises(CRSError, match=r"gcp\.tif.*4 ground control points.*gdalwarp"):
        Catalog.scan(gcp)
    with pytest.raises(GridError, match=r"flat\.vrt.*without area"):
        Catalog.scan(tmp_path / "flat.vrt")
    with pytest.raises(GeodataError, match="2 of 3 files"):
        Catalog.scan(tmp_path)
    catalog = Catalog.scan(tmp_path, on_error="skip")
    assert catalog.key.tolist() == ["good"] and sorted(catalog.skipped) == ["flat.vrt", "gcp.tif"]


def test_a_sensor_model_alone_is_no_lattice(realdata):
    with pytest.raises(CRSError, match=r"rpcs_only\.tif.*rational polynomial coefficients.*gdalwarp"):
        Catalog.scan(realdata / "rasters" / "rpcs_only.tif")


def test_local_and_complex_rasters_are_refused(tmp_path):
    write_tif(tmp_path / "local.tif", crs='LOCAL_CS["lab bench",UNIT["metre",1]]')
    with pytest.raises(CRSError, match=r"local\.tif.*local CRS"):
        Catalog.scan(tmp_path / "local.tif")
    write_tif(tmp_path / "complex.tif", np.zeros((8, 8), np.complex64))
    with pytest.raises((DtypeError, ReadError), match=r"complex\.tif.*complex64"):
        Catalog.scan(tmp_path / "complex.tif")


def test_items_that_lack_a_band(tmp_path):
    for name in ("a_B1", "a_B2", "b_B1", "c_B2", "d_B1", "d_B2"):
        write_tif(tmp_path / f"{name}.tif")
    pattern = r"(?P<item>\w)_(?P<band>B\d)"
    with pytest.raises(BandsError, match=r"2 of 4 items lack a file, first 'b' lacks B2; on_error='skip'"):
        Catalog.scan(tmp_path, pattern=pattern)
    catalog = Catalog.scan(tmp_path, pattern=pattern, on_error="skip")
    assert catalog.key.tolist() == ["a", "d"]
    assert catalog.dropped == ("b", "c")
    (tmp_path / "a_B2.tif").write_bytes(b"")
    catalog = Catalog.scan(tmp_path, pattern=pattern, on_error="skip")
    assert (catalog.key.tolist(), catalog.dropped, catalog.skipped) == (["d"], ("a", "b", "c"), ("a_B2.tif",))


def test_no_item_with_every_band(tmp_path):
    for name in ("a_B1", "b_B2"):
        write_tif(tmp_path / f"{name}.tif")
    with pytest.raises(NoFilesError, match=r"2 files opened.*no item has all.*B1.*B2"):
        Catalog.scan(tmp_path, pattern=r"(?P<item>\w)_(?P<band>B\d)", on_error="skip")


@pytest.mark.parametrize(
    ("second", "error", "says"),
    [
        pytest.param({"array": np.zeros((2, 8, 8), np.uint8)}, BandsError, "2 bands but .*a.tif has 1", id="count"),
        pytest.param({"array": EIGHT.astype(np.uint16)}, DtypeError, "uint16 but .*a.tif is uint8", id="dtype"),
        pytest.param({"descriptions": ["nir"]}, BandsError, "nir.*red", id="name"),
        pytest.param({"scales": [0.5]}, BandsError, "0.5", id="scale"),
        pytest.param({"offsets": [-1000.0]}, BandsError, "1000", id="offset"),
        pytest.param({"band_tags": [{"wavelength": "842"}]}, BandsError, "842", id="wavelength"),
    ],
)
def test_files_that_differ_are_not_one_catalog(tmp_path, second, error, says):
    write_tif(tmp_path / "a.tif", EIGHT, descriptions=["red"], scales=[0.1], band_tags=[{"wavelength": "665"}])
    options = {"array": EIGHT, "descriptions": ["red"], "scales": [0.1], "band_tags": [{"wavelength": "665"}]} | second
    if options["array"].ndim == 3:
        options |= {"descriptions": None, "scales": None, "band_tags": None}
    write_tif(tmp_path / "b.tif", transform=north_up(6e5), **options)
    with pytest.raises(error, match=rf"b\.tif.*{says}"):
        Catalog.scan(tmp_path)


def test_an_alpha_band_at_another_place_is_not_read_as_data(tmp_path):
    two = np.zeros((2, 8, 8), np.uint8)
    write_tif(tmp_path / "a.tif", two, colorinterp=[ColorInterp.alpha, ColorInterp.gray])
    write_tif(tmp_path / "b.tif", two, north_up(6e5), colorinterp=[ColorInterp.gray, ColorInterp.alpha])
    with pytest.raises(BandsError, match=r"a\.tif"):
        Catalog.scan(tmp_path)


def test_some_files_with_and_some_without_crs(tmp_path):
    write_tif(tmp_path / "a.tif")
    write_tif(tmp_path / "b.tif", crs=None)
    with pytest.raises(CRSError, match=r"'b' has no CRS but item 'a' has one"):
        Catalog.scan(tmp_path)
    assert Catalog.scan(tmp_path, crs=UTM).crs.tolist() == [UTM, UTM]
    assert Catalog.scan(tmp_path / "b.tif").crs.tolist() == [""]
    assert Catalog.scan(tmp_path / "a.tif", crs="EPSG:32634").crs.tolist() == [UTM]


@pytest.mark.parametrize(
    ("array", "transform", "crs"),
    [
        (FOUR, north_up(500040, res=20), UTM),
        (FOUR, north_up(res=30), UTM),
        (np.zeros((8, 4), np.uint8), north_up(res=20, yres=10), UTM),
        (FOUR, north_up(res=20), "EPSG:32634"),
        (np.zeros((3, 3), np.uint8), north_up(res=20), UTM),
        (np.zeros((5, 5), np.uint8), north_up(res=16), UTM),
        (FOUR, north_up(5e5, 5599920, 20, -20), UTM),
    ],
)
def test_files_of_an_item_share_a_lattice(tmp_path, array, transform, crs):
    write_tif(tmp_path / "x_B1.tif", EIGHT)
    write_tif(tmp_path / "x_B2.tif", array, transform, crs)
    with pytest.raises(GridError, match=r"x_B2\.tif.*not on the lattice of x_B1\.tif.*join them with &"):
        Catalog.scan(tmp_path, pattern=r"x_(?P<band>B\d)")


def test_a_band_with_one_ratio_here_and_another_there(tmp_path):
    for item, n in (("x", 4), ("y", 2)):
        write_tif(tmp_path / f"{item}_B1.tif", EIGHT)
        write_tif(tmp_path / f"{item}_B2.tif", np.zeros((n, n), np.uint8), north_up(res=80 / n))
    with pytest.raises(GridError, match=r"'B2' has \[2, 4\]"):
        Catalog.scan(tmp_path, pattern=r"(?P<item>\w)_(?P<band>B\d)")


# ---------------------------------------------------------------------- interrupted scans


def ten(folder):
    for i in range(10):
        write_tif(
            folder / f"{i}.tif",
            np.full((8, 8), i, np.float32),
            north_up(5e5 + 0.1 * i),
            nodata=math.nan,
            descriptions=["b"],
        )
    return folder


def interrupt_after(n):
    def progress(paths):
        for i, path in enumerate(paths):
            if i == n:
                raise KeyboardInterrupt
            yield path

    return progress


def test_an_interrupted_scan_reads_only_the_rest(tmp_path, opened):
    folder, journal = ten(tmp_path / "data"), tmp_path / "journal"
    whole = Catalog.scan(folder)
    del opened[:]
    with pytest.raises(KeyboardInterrupt):
        Catalog.scan(folder, resume=journal, progress=interrupt_after(4))
    assert len(opened) == 4 and journal.is_file()
    with pytest.raises(KeyboardInterrupt):
        Catalog.scan(folder, resume=journal, progress=interrupt_after(7))
    assert len(opened) == 7
    catalog = Catalog.scan(folder, resume=journal)
    assert [os.path.basename(n) for n in opened] == [f"{i}.tif" for i in range(10)]
    assert not journal.exists()
    assert catalog.key.tolist() == whole.key.tolist()
    assert np.array_equal(catalog.affine, whole.affine)
    assert [a.to_dict() for a in catalog.assets] == [a.to_dict() for a in whole.assets]
    assert catalog.table.equals(whole.table)


def test_changed_files_are_read_again(tmp_path, opened):
    folder, journal = ten(tmp_path / "data"), tmp_path / "journal"
    with pytest.raises(KeyboardInterrupt):
        Catalog.scan(folder, resume=journal, progress=interrupt_after(4))
    write_tif(folder / "1.tif", np.zeros((5, 6), np.float32), nodata=math.nan, descriptions=["b"])
    os.utime(folder / "2.tif", ns=(5, 5))
    (folder / "3.tif").unlink()
    del opened[:]
    catalog = Catalog.scan(folder, resume=journal)
    assert [os.path.basename(n) for n in opened] == [
        "1.tif",
        "2.tif",
        "4.tif",
        "5.tif",
        "6.tif",
        "7.tif",
        "8.tif",
        "9.tif",
    ]
    assert catalog.shape[1].tolist() == [5, 6]
    assert catalog.key.tolist() == [str(i) for i in (0, 1, 2, 4, 5, 6, 7, 8, 9)]
    catalog.check_files()


@pytest.mark.parametrize(
    "rubbish",
    [
        "\n",
        "not json\n",
        "12\n",
        "[]\n",
        "null\n",
        '{"path": "x"}\n',
        '{"size": 5}\n',
        '{"path": "DATA/0.tif", "size": SIZE, "mtime": MTIME}\n',
        "\x00\x01\n",
    ],
)
def test_a_journal_that_is_damaged_is_worth_what_can_be_read(tmp_path, opened, rubbish):
    folder, journal = ten(tmp_path / "data"), tmp_path / "journal"
    with pytest.raises(KeyboardInterrupt):
        Catalog.scan(folder, resume=journal, progress=interrupt_after(4))
    stat = os.stat(folder / "0.tif")
    rubbish = (
        rubbish.replace("DATA", str(folder)).replace("SIZE", str(stat.st_size)).replace("MTIME", str(stat.st_mtime_ns))
    )
    journal.write_text(journal.read_text() + rubbish)
    del opened[:]
    assert len(Catalog.scan(folder, resume=journal)) == 10
    assert len(opened) in (6, 7)


def test_a_journal_cut_in_the_middle_of_a_line(tmp_path, opened):
    folder, journal = ten(tmp_path / "data"), tmp_path / "journal"
    with pytest.raises(KeyboardInterrupt):
        Catalog.scan(folder, resume=journal, progress=interrupt_after(4))
    journal.write_bytes(journal.read_bytes()[:-20])
    with pytest.raises(KeyboardInterrupt):
        Catalog.scan(folder, resume=journal, progress=interrupt_after(8))
    del opened[:]
    assert len(Catalog.scan(folder, resume=journal)) == 10
    assert [os.path.basename(n) for n in opened] == ["8.tif", "9.tif"]


def test_a_journal_holds_what_was_read_before_the_process_is_killed(tmp_path):
    folder, journal = ten(tmp_path / "data"), tmp_path / "journal"
    lines = []

    def progress(paths):
        for path in paths:
            lines.append(len(journal.read_text().splitlines()))
            yield path

    Catalog.scan(folder, resume=journal, progress=progress)
    assert lines == list(range(10))


def test_a_continued_scan_still_knows_what_the_files_said(tmp_path):
    write_tif(tmp_path / "data" / "a.tif", EIGHT, descriptions=["red"])
    write_tif(tmp_path / "data" / "b.tif", EIGHT, north_up(6e5), descriptions=["nir"])
    with pytest.raises(KeyboardInterrupt):
        Catalog.scan(tmp_path / "data", resume=tmp_path / "journal", progress=interrupt_after(1))
    with pytest.raises(BandsError, match=r"nir.*red"):
        Catalog.scan(tmp_path / "data", resume=tmp_path / "journal")


def test_a_scan_that_fails_keeps_its_journal(tmp_path, opened):
    folder, journal = ten(tmp_path / "data"), tmp_path / "journal"
    (folder / "x.tif").write_bytes(b"")
    with pytest.raises(ReadError):
        Catalog.scan(folder, resume=journal)
    write_tif(folder / "x.tif", np.zeros((8, 8), np.float32), nodata=math.nan, descriptions=["b"])
    del opened[:]
    assert len(Catalog.scan(folder, resume=journal)) == 11
    assert [os.path.basename(n) for n in opened] == ["x.tif"]


def test_a_journal_where_none_can_be_written(tmp_path):
    with pytest.raises((GeodataError, OSError)):
        Catalog.scan(ten(tmp_path / "data"), resume=tmp_path / "nowhere" / "journal")


def test_a_journal_is_plain_lines(tmp_path):
    folder, journal = ten(tmp_path / "data"), tmp_path / "journal"
    with pytest.raises(KeyboardInterrupt):
        Catalog.scan(folder, resume=journal, progress=interrupt_after(2))
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [os.path.basename(line["path"]) for line in lines] == ["0.tif", "1.tif"]


def test_progress_sees_every_file(tmp_path):
    seen = []
    Catalog.scan(ten(tmp_path), progress=lambda paths: (seen.append(p) or p for p in paths))
    assert seen == [f"{i}.tif" for i in range(10)]
    assert len(Catalog.scan(tmp_path, progress=False)) == 10


def test_a_scan_reads_each_header_once_and_no_pixels(tmp_path, opened):
    Catalog.scan(ten(tmp_path))
    assert len(opened) == len(set(opened)) == 10
    # A file that is cut off after its header still has one.
    big = write_tif(
        tmp_path / "big" / "b.tif", np.zeros((512, 512), np.uint16), tiled=True, blockxsize=256, blockysize=256
    )
    data = big.read_bytes()
    big.write_bytes(data[: len(data) // 2])
    assert Catalog.scan(big).shape.tolist() == [[512, 512]]


def test_pixels_that_are_cut_off_are_a_read_error(tmp_path):
    noise = np.random.default_rng(0).integers(0, 60000, (512, 512), dtype=np.uint16)
    path = write_tif(tmp_path / "b.tif", noise, tiled=True, blockxsize=256, blockysize=256)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    catalog = Catalog.scan(path)
    first = read(catalog.href(catalog.assets[0], 0), (0, 0, 256, 256), (1,), validity="all")
    assert np.array_equal(first.data[0], noise[:256, :256])
    with pytest.raises(ReadError, match=r"cannot read 256 x 256 pixels at row 256, column 256 of .*b\.tif"):
        read(catalog.href(catalog.assets[0], 0), (256, 256, 256, 256), (1,), validity="all")
