"""Headers told by example: the same as GDAL's, for files that differ only in size and place and for no others."""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from makers import north_up, rotated, write_tif
from rasterio.enums import ColorInterp
from tiffs import GEO, tiff

from geodata.errors import GeodataError
from geodata.readers import gdal, kinds, raster
from geodata.readers.base import Header

IMAGE = np.random.default_rng(0).integers(0, 99, (2, 24, 30)).astype(np.uint16)


@pytest.fixture(autouse=True)
def _afresh() -> None:
    kinds._kinds.clear()
    kinds._form = None
    kinds._folders.clear()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that GDAL was asked to explain."""
    calls: list[str] = []

    def describe(href: str) -> Header:
        calls.append(Path(href).name)
        return gdal.describe(href)

    monkeypatch.setattr(kinds, "describe_by_gdal", describe)
    return calls


def text(header: Header) -> str:
    """All that a header says; NaN is NaN."""
    grid, crs = header.grid, header.grid.crs
    place = grid.shape, tuple(grid.transform), crs and crs.to_wkt()
    said = header.indexes, header.dtype, header.nodata, header.validity, header.named
    return repr((place, header.bands.to_dict(), said))


def like_gdal(*paths: Any) -> list[Header]:
    """Describe files in this order and compare each with what GDAL says."""
    found = []
    for path in paths:
        header = raster.describe(str(path))
        assert text(header) == text(gdal.describe(str(path))), path
        found.append(header)
    return found


# ---------------------------------------------------------------------- told


def test_files_of_one_kind_are_told_by_the_first(tmp_path: Path, asked: list[str]) -> None:
    paths = []
    rng = np.random.default_rng(0)
    for i in range(40):
        shape = 2, int(rng.integers(1, 60)), int(rng.integers(1, 60))
        place = north_up(*rng.uniform(-1e6, 1e6, 2), res=float(rng.uniform(0.1, 99)), yres=float(rng.uniform(0.1, 99)))
        array = rng.integers(0, 9, shape).astype(np.int16)
        paths.append(write_tif(tmp_path / f"{i}.tif", array, place, nodata=-1, descriptions=["red", "nir"]))
    headers = like_gdal(*paths)
    assert asked == ["0.tif"]
    assert len({h.grid.transform for h in headers}) == len({h.grid.transform for h in headers}) == 40
    with rasterio.open(paths[7]) as src:
        assert headers[7].grid.transform == src.transform and headers[7].grid.shape == src.shape


def test_turned_grids_have_a_matrix(tmp_path: Path, asked: list[str]) -> None:
    places = [rotated(5e5 + i / 3, 5.6e6, 10 + i / 7, 30 + i) for i in range(5)]
    like_gdal(*(write_tif(tmp_path / f"{i}.tif", IMAGE, place) for i, place in enumerate(places)))
    assert asked == ["0.tif"]


@pytest.mark.parametrize("turned", [False, True])
def test_a_pixel_that_is_a_point_moves_by_half_a_pixel(tmp_path: Path, asked: list[str], turned: bool) -> None:
    paths = []
    for i in range(4):
        place = rotated(5e5 + i / 3, 5.6e6, 10, 30 + i) if turned else north_up(5e5 + i / 7, res=10 + i / 3, yres=7)
        paths.append(write_tif(tmp_path / f"{i}.tif", IMAGE, place))
        with rasterio.open(paths[-1], "r+") as dst:
            dst.update_tags(AREA_OR_POINT="Point")
    area = write_tif(tmp_path / "area.tif", IMAGE, rotated(5e5, 5.6e6, 10, 30) if turned else north_up(5e5, yres=7))
    headers = like_gdal(*paths, area)
    assert asked == ["0.tif", "area.tif"]
    assert headers[0].grid.transform == headers[-1].grid.transform, "GDAL writes a point as it reads it"
    by_hand = [
        put(
            tmp_path / f"hand{kind}.tif",
            GEO | {34735: (3, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, kind, 3072, 0, 1, 32633))},
        )
        for kind in (1, 2)
    ]
    shift = [raster.describe(str(p)).grid.transform for p in by_hand]
    assert (shift[1].c, shift[1].f) == (shift[0].c - 5, shift[0].f + 5)
    like_gdal(*by_hand)


def put(path: Path, tags: dict[int, Any], **how: Any) -> Path:
    path.write_bytes(tiff(IMAGE, tags=tags, **how))
    return path


def test_an_archive_with_overviews_is_told(tmp_path: Path, asked: list[str]) -> None:
    paths = []
    for i in range(3):
        paths.append(write_tif(tmp_path / f"{i}.tif", np.tile(IMAGE, (1, 4, 4)), north_up(i * 100.0), tiled=True))
        with rasterio.open(paths[-1], "r+") as dst:
            dst.build_overviews([2])
    like_gdal(*paths)
    assert asked == ["0.tif"]


# ---------------------------------------------------------------------- kinds


def _written(folder: Path, name: str, **how: Any) -> Path:
    return write_tif(folder / name, how.pop("array", IMAGE), how.pop("transform", None), **how)


DIFFERENT: dict[str, list[dict[str, Any]]] = {
    "nodata": [{}, {"nodata": 0}, {"nodata": 1}, {"nodata": 99}],
    "crs": [
        {},
        {"crs": "EPSG:32634"},
        {"crs": "EPSG:4326"},
        {"crs": "EPSG:3035"},
        {"crs": None, "transform": north_up()},
    ],
    "custom crs": [
        {"crs": f"+proj=laea +lat_0={lat} +lon_0={lon} +datum=WGS84 +units=m"}
        for lat, lon in ((50, 10), (50, 11), (51, 10))
    ],
    "descriptions": [{}, {"descriptions": ["a", "b"]}, {"descriptions": ["b", "a"]}],
    "scale": [{}, {"scales": [0.1, 1]}, {"scales": [1, 0.1]}, {"offsets": [5, 0]}],
    "dtype": [{"array": IMAGE.astype(d)} for d in ("uint8", "int8", "uint16", "int16", "float32", "float64", "uint32")],
    "bands": [{"array": IMAGE[:1]}, {}, {"array": np.concatenate([IMAGE, IMAGE])}],
    "alpha": [{}, {"colorinterp": [ColorInterp.gray, ColorInterp.alpha]}],
    "wavelengths": [{"band_tags": [{"wavelength": str(w)}]} for w in (500, 600)],
    "layout": [{}, {"tiled": True, "blockxsize": 16, "blockysize": 16}, {"interleave": "band"}, {"compress": "lzw"}],
    "byte order": [{}, {"ENDIANNESS": "BIG"}],
    "photometric": [{"photometric": "MINISWHITE"}, {"photometric": "MINISBLACK"}],
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_what_gdal_explains_differently_is_another_kind(tmp_path: Path, asked: list[str], what: str) -> None:
    first = [_written(tmp_path, f"{i}.tif", **dict(how)) for i, how in enumerate(DIFFERENT[what])]
    again = []
    for i, how in enumerate(DIFFERENT[what]):
        place = how.get("transform", north_up(0, 0, 1 if how.get("crs") == "EPSG:4326" else 20))
        again.append(_written(tmp_path, f"again{i}.tif", **(how | {"transform": place})))
    headers = like_gdal(*first, *again)
    assert asked == [p.name for p in first], "each kind is explained once"
    if what not in ("layout", "byte order", "photometric"):
        assert len({text(replace(h, grid=headers[0].grid)) + str(h.grid.crs) for h in headers[: len(first)]}) == len(
            first
        )


def test_images_without_a_place_are_left_to_gdal(tmp_path: Path, asked: list[str]) -> None:
    paths = [write_tif(tmp_path / f"{i}.tif", IMAGE, crs=None) for i in range(2)]
    like_gdal(*paths)
    assert asked == ["0.tif", "1.tif"]


ODD_PLACES: dict[str, dict[int, Any]] = {
    "points": {33550: None, 33922: (12, (0.0, 0, 0, 5e5, 5.6e6, 0, 9.0, 0, 0, 5.1e5, 5.6e6, 0, 0, 9.0, 0, 5e5, 5.5e6, 0))},
    "a scale alone": {33922: None},
    "a scale of nothing": {33550: (12, (0.0, 0.0, 0.0))},
    "a scale from the south": {33550: (12, (10.0, -10.0, 0.0))},
    "a scale of one number": {33550: (12, (10.0,))},
    "a scale of two numbers": {33550: (12, (10.0, 10.0))},
    "a scale that is no number": {33550: (12, (float("nan"), 10.0, 0.0))},
    "a place that is no number": {33922: (12, (0.0, 0, 0, float("nan"), 5.6e6, 0))},
    "a place without end": {33922: (12, (0.0, 0, 0, float("inf"), 5.6e6, 0))},
    "scale and matrix": {34264: (12, (10.0, 0, 0, 5e5, 0, -10, 0, 5.6e6, 0, 0, 0, 0, 0, 0, 0, 1))},
    "half a matrix": {33550: None, 33922: None, 34264: (12, (10.0, 0, 0, 5e5, 0, -10, 0, 5.6e6))},
    "the matrix that changes nothing": {
        33550: None, 33922: None, 34264: (12, (1.0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1))
    },
    "a flat matrix": {33550: None, 33922: None, 34264: (12, (1.0, 1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1))},
    "scales as whole numbers": {33550: (4, (10, 10, 0))},
    "single precision": {33550: (11, (10.1, 10.1, 0.0))},
    "a matrix of whole numbers beside a scale": {34264: (4, (10, 0, 0, 5, 0, 10, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1))},
    "tied in the middle": {33922: (12, (3.3, 7.7, 0, 5e5, 5.6e6, 0))},
}  # fmt: skip


@pytest.mark.parametrize("name", ODD_PLACES)
def test_odd_places_are_gdals(tmp_path: Path, name: str) -> None:
    """Each after a good one, and after another of its own kind."""
    good = put(tmp_path / "good.tif", GEO)
    raster.describe(str(good))
    for i in range(2):
        path = put(tmp_path / f"{i}.tif", GEO | ODD_PLACES[name])
        try:
            wanted = text(gdal.describe(str(path)))
        except GeodataError as error:
            with pytest.raises(type(error)):
                raster.describe(str(path))
        else:
            assert text(raster.describe(str(path))) == wanted


UNOPENABLE: dict[str, dict[int, Any]] = {
    "no rows in a strip": {278: (4, (0,))},
    "rows as a text": {278: (2, "30")},
    "too many rows in a strip": {278: (16, (2**40,))},
    "a height as a fraction": {257: (12, (24.0,))},
    "two widths": {256: (4, (30, 30))},
}


@pytest.mark.parametrize("name", UNOPENABLE)
def test_a_file_that_gdal_does_not_open_is_not_told(tmp_path: Path, name: str) -> None:
    raster.describe(str(put(tmp_path / "good.tif", GEO)))
    path = str(put(tmp_path / "bad.tif", GEO | UNOPENABLE[name]))
    for describe in (gdal.describe, raster.describe):
        with pytest.raises(GeodataError):
            describe(path)


@pytest.mark.parametrize("tags", [{273: (12, (400.0,))}, {279: (2, "2880")}, {273: (13, (400,))}])
def test_tables_of_an_odd_type_are_not_told(tmp_path: Path, asked: list[str], tags: dict[int, Any]) -> None:
    """Some releases of GDAL mind them when a file is opened."""
    raster.describe(str(put(tmp_path / "good.tif", GEO)))
    with contextlib.suppress(GeodataError):
        raster.describe(str(put(tmp_path / "bad.tif", GEO | tags)))
    assert asked == ["good.tif", "bad.tif"]


# ---------------------------------------------------------------------- further images


def with_page(path: Path, first: dict[int, Any], second: dict[int, Any], shape: tuple[int, int] = (24, 30)) -> Path:
    """Write a TIFF of two images, of which the second may be a mask."""
    data = bytearray(tiff(IMAGE, tags=GEO | first))
    (count,) = struct.unpack_from("<H", data, 8)
    pixels = np.zeros((1, *shape), np.uint8)
    pixels[0, 3:9] = 255
    start = len(data)
    struct.pack_into("<I", data, 10 + 12 * count, start)
    places = [start + 2 + 12 * (11 - sum(v is None for v in second.values())) + 4]
    entries: dict[int, Any] = {
        254: (4, 4), 256: (4, shape[1]), 257: (4, shape[0]), 258: (3, 8), 259: (3, 1), 262: (3, 4),
        273: (4, places[0]), 277: (3, 1), 278: (4, shape[0]), 279: (4, pixels.nbytes), 284: (3, 1),
    } | second  # fmt: skip
    entries = {t: e for t, e in entries.items() if e is not None}
    order = second.get(-1, sorted(t for t in entries if t > 0))
    body = b"".join(
        struct.pack("<HHI", t, entries[t][0], 1) + struct.pack("<H2x" if entries[t][0] == 3 else "<I", entries[t][1])
        for t in order
    )
    data += struct.pack("<H", len(order)) + body + bytes(4)
    path.write_bytes(bytes(data).ljust(places[0], b"\0") + pixels.tobytes())
    return path


def test_masks_and_pages_are_gdals(tmp_path: Path, asked: list[str]) -> None:
    """Whether a further image is a mask is a matter of its size too."""
    mask = with_page(tmp_path / "mask.tif", {}, {})
    other_size = with_page(tmp_path / "other.tif", {}, {}, (12, 15))
    unsorted = with_page(tmp_path / "unsorted.tif", {}, {-1: [256, 254, 257, 258, 259, 262, 273, 277, 278, 279, 284]})
    page = with_page(tmp_path / "page.tif", {}, {254: (4, 2), 262: (3, 1)}, (12, 15))
    plain = put(tmp_path / "plain.tif", GEO)
    every = (mask, other_size, unsorted, page, plain)
    headers = like_gdal(*every, *every[::-1])
    assert headers[0].validity == "mask" and headers[-1].validity == "mask"
    assert headers[1].validity == headers[4].validity == "all"
    assert asked.count("plain.tif") == 1 and asked.count("mask.tif") == 2


# ---------------------------------------------------------------------- sidecars

PAM = '<PAMDataset><PAMRasterBand band="1"><NoDataValue>42</NoDataValue></PAMRasterBand><PAMRasterBand band="2"><NoDataValue>42</NoDataValue></PAMRasterBand></PAMDataset>'


def pam(folder: Path, name: str) -> None:
    (folder / name).write_text(PAM)


def mask(folder: Path, name: str) -> None:
    beside = write_tif(folder / "elsewhere" / "m.tif", IMAGE)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(beside, "r+") as dst:
        dst.write_mask(np.eye(*IMAGE.shape[1:], dtype=bool))
    os.replace(beside.with_name("m.tif.msk"), folder / name)


SIDECARS: list[tuple[str, Callable[[Path, str], None], str]] = [
    ("b.tif.aux.xml", pam, "nodata"),
    ("B.TIF.AUX.XML", pam, ""),
    ("b.tif.msk", mask, "mask"),
    ("b.tif.MSK", mask, ""),
]


@pytest.mark.parametrize("settled", [False, True])
@pytest.mark.parametrize(("name", "make", "validity"), SIDECARS)
def test_a_file_that_appears_beside_another_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settled: bool, name: str, make: Any, validity: str
) -> None:
    """In a folder that is being written, and in one whose names are remembered."""
    monkeypatch.setattr(kinds, "RECENT", 0 if settled else 10**12)
    paths = [put(tmp_path / f"{n}.tif", GEO) for n in "abc"]
    assert [h.validity for h in like_gdal(*paths)] == ["all"] * 3
    assert bool(kinds._folders) == settled
    make(tmp_path, name)
    headers = like_gdal(*paths)
    assert [h.validity for h in headers][::2] == ["all", "all"]
    assert not validity or headers[1].validity == validity
    (tmp_path / name).unlink()
    assert [h.validity for h in like_gdal(*paths)] == ["all"] * 3


def test_a_sidecar_of_the_first_file_is_no_kind(tmp_path: Path) -> None:
    a, b = (put(tmp_path / f"{n}.tif", GEO) for n in "ab")
    pam(tmp_path, "a.tif.aux.xml")
    assert [h.validity for h in like_gdal(a, b)] == ["nodata", "all"]


def test_a_folder_that_was_put_back_in_time_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "RECENT", 0)
    folder = tmp_path / "in"
    folder.mkdir()
    put(folder / "a.tif", GEO)
    os.utime(folder, ns=(10**18, 10**18))
    assert like_gdal(folder / "a.tif")[0].validity == "all"
    pam(folder, "a.tif.aux.xml")
    os.utime(folder, ns=(10**18, 10**18))
    assert like_gdal(folder / "a.tif")[0].validity == "nodata"
    shutil.rmtree(folder)
    folder.mkdir()
    put(folder / "a.tif", GEO)
    os.utime(folder, ns=(10**18, 10**18))
    assert like_gdal(folder / "a.tif")[0].validity == "all"


def test_the_same_relative_folder_of_two_working_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "RECENT", 0)
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        put(tmp_path / name / "a.tif", GEO)
    pam(tmp_path / "y", "a.tif.aux.xml")
    for name, validity in (("x", "all"), ("y", "nodata"), ("x", "all")):
        os.utime(tmp_path / name, ns=(10**18, 10**18))
        monkeypatch.chdir(tmp_path / name)
        assert like_gdal("a.tif")[0].validity == validity


def test_links_are_described_where_they_stand(tmp_path: Path) -> None:
    """Files beside a link count, those beside what it leads to do not; so does GDAL."""
    for name in ("real", "links"):
        (tmp_path / name).mkdir()
    put(tmp_path / "real" / "a.tif", GEO)
    plain = put(tmp_path / "links" / "plain.tif", GEO)
    (tmp_path / "links" / "a.tif").symlink_to(tmp_path / "real" / "a.tif")
    like_gdal(plain, tmp_path / "links" / "a.tif")
    pam(tmp_path / "real", "a.tif.aux.xml")
    like_gdal(tmp_path / "links" / "a.tif", tmp_path / "real" / "a.tif")
    pam(tmp_path / "links", "a.tif.aux.xml")
    assert like_gdal(tmp_path / "links" / "a.tif")[0].validity == "nodata"


# ---------------------------------------------------------------------- headers of one form


def test_headers_that_agree_byte_for_byte_are_not_taken_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but what files of a kind may differ in: anything else that differs is seen."""
    good = tiff(IMAGE, tags=GEO | {42113: (2, "12345"), 306: (2, "2020:01:01 00:00:00")})
    (tmp_path / "a.tif").write_bytes(good)
    like_gdal(tmp_path / "a.tif")
    assert kinds._form is not None
    taken: list[int] = []
    read_tags = kinds.read_tags

    def counted(*args: Any, **kwargs: Any) -> Any:
        taken.append(1)
        return read_tags(*args, **kwargs)

    monkeypatch.setattr(kinds, "read_tags", counted)
    same = {
        "scale": (33550, "<d", 20.0),
        "place": (33922, "<d", 7.0),
        "width": (256, "<I", 29),
        "date": (306, "<B", 50),
    }
    for name, (tag, form, value) in same.items():
        path = tmp_path / f"{name}.tif"
        path.write_bytes(patched(good, tag, form, value))
        like_gdal(path)
    assert not taken
    for at in range(kinds._form.size):
        data = bytearray(good)
        data[at] ^= 1 << at % 8
        path = tmp_path / f"{at}.tif"
        path.write_bytes(data)
        try:
            wanted = text(gdal.describe(str(path)))
        except GeodataError:
            with pytest.raises(GeodataError):
                raster.describe(str(path))
        else:
            assert text(raster.describe(str(path))) == wanted, at
        path.unlink()
        raster.describe(str(tmp_path / "a.tif"))
    assert taken


def entry_of(data: bytes, tag: int) -> int:
    """Return where the entry of a tag begins."""
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    places = [start + 2 + 12 * i for i in range(count)]
    return next(at for at in places if struct.unpack_from("<H", data, at) == (tag,))


def patched(data: bytes, tag: int, form: str, value: float, at: int = 0) -> bytes:
    """Set a number among the values of a tag."""
    found = bytearray(data)
    entry = entry_of(data, tag)
    kind, count = struct.unpack_from("<HI", data, entry + 2)
    place = entry + 8
    if {2: 1, 3: 2, 4: 4, 12: 8}[kind] * count > 4:
        (place,) = struct.unpack_from("<I", data, place)
    struct.pack_into(form, found, place + at, value)
    return bytes(found)


@pytest.mark.parametrize("own", [306, 33550, 33922])
def test_values_that_lie_upon_each_other_make_no_form(tmp_path: Path, own: int) -> None:
    """What may differ must not hide what may not: here a nodata value lies in a date, a scale or a place."""
    values = struct.pack("<6d", 10, 10, 10, 500000, 5600000, 0)
    good = bytearray(tiff(IMAGE, tags=GEO | {42113: (2, "12345"), 306: (2, "2020:01:01 00:00:00")}))
    (hidden,) = struct.unpack_from("<I", good, entry_of(good, 42113) + 8)
    place = len(good)
    good += values + bytes(64)
    if own == 306:
        struct.pack_into("<II", good, entry_of(good, own) + 4, 8, hidden)
    else:
        struct.pack_into("<I", good, entry_of(good, own) + 8, place)
        struct.pack_into("<I", good, entry_of(good, 42113) + 8, place + 16)
        hidden = place + 16
        good[hidden : hidden + 6] = b"12345\0"
    for name, nodata in (("a", b"12345"), ("b", b"99999"), ("c", b"12345"), ("d", b"1\0\0\0\0")):
        good[hidden : hidden + 5] = nodata
        (tmp_path / f"{name}.tif").write_bytes(good)
    headers = like_gdal(*(tmp_path / f"{name}.tif" for name in "abcd"))
    assert len({h.nodata for h in headers}) == 3 and headers[0].nodata == headers[2].nodata


def test_a_table_of_blocks_beyond_the_end_is_seen_in_headers_of_one_form(tmp_path: Path) -> None:
    """The place of a table may differ, but it must be in the file."""
    good = tiff(IMAGE, rows=4, tags=GEO)
    entry = entry_of(good, 273)
    (tmp_path / "a.tif").write_bytes(good)
    like_gdal(tmp_path / "a.tif")
    assert kinds._form is not None and kinds._form.tables
    for i, place in enumerate((len(good), len(good) - 4, 2**31, 2**32 - 1)):
        data = bytearray(good)
        struct.pack_into("<I", data, entry + 8, place)
        path = tmp_path / f"{i}.tif"
        path.write_bytes(data)
        before = kinds._form
        assert before is not None and before.read(bytes(data)[:4096], len(data)) is None
        with contextlib.suppress(GeodataError):
            like_gdal(path)
        raster.describe(str(tmp_path / "a.tif"))


# ---------------------------------------------------------------------- change


def test_a_file_changed_while_it_is_explained_makes_no_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at its tags and GDAL's, another file takes the place, or one appears beside it."""
    put(tmp_path / "a.tif", GEO)
    other = tiff(IMAGE, tags=GEO | {42113: (2, "7")})

    def replaced(href: str) -> Header:
        (tmp_path / "a.tif").write_bytes(other)
        return gdal.describe(href)

    def beside(href: str) -> Header:
        pam(tmp_path, "c.tif.aux.xml")
        return gdal.describe(href)

    monkeypatch.setattr(kinds, "describe_by_gdal", replaced)
    assert raster.describe(str(tmp_path / "a.tif")).validity == "nodata"
    monkeypatch.setattr(kinds, "describe_by_gdal", beside)
    put(tmp_path / "c.tif", GEO)
    assert raster.describe(str(tmp_path / "c.tif")).validity == "nodata"
    monkeypatch.setattr(kinds, "describe_by_gdal", gdal.describe)
    assert like_gdal(put(tmp_path / "b.tif", GEO))[0].validity == "all"


def test_a_file_rewritten_is_told_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    for tags in (GEO, GEO | {33922: (12, (0.0, 0, 0, 1.0, 2.0, 0))}, GEO | {42113: (2, "7")}, GEO):
        put(path, tags)
        os.utime(path, ns=(10**18, 10**18))
        like_gdal(path)


def test_a_first_file_whose_grid_is_not_as_its_tags_say_tells_of_no_other(
    tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kinds, "_is_point", lambda tags: True)
    like_gdal(*(put(tmp_path / f"{i}.tif", GEO) for i in range(3)))
    assert asked == ["0.tif", "1.tif", "2.tif"]


def test_kinds_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "MOST_KINDS", 5)
    like_gdal(*(put(tmp_path / f"{i}.tif", GEO | {42113: (2, str(i))}) for i in range(12)))
    assert len(kinds._kinds) <= 5


def test_errors_are_told_every_time(tmp_path: Path) -> None:
    for i in range(2):
        path = write_tif(tmp_path / f"{i}.tif", np.ones((1, 4, 4), np.complex64))
        with pytest.raises(GeodataError, match="complex64"):
            raster.describe(str(path))
    for name in ("gone.tif", "https://example.invalid\0/a.tif"):
        with pytest.raises(GeodataError):
            raster.describe(str(tmp_path / name))


def test_every_real_raster_is_told_like_gdal(realdata: Path, asked: list[str]) -> None:
    """Twice, so that the second time is by example wherever that is possible; and a copy of each at another place."""
    found = sorted(p for p in realdata.rglob("*") if p.suffix.lower() in (".tif", ".tiff"))
    outcomes = {"told": 0, "asked": 0, "error": 0}
    for path in found * 2:
        before = len(asked)
        try:
            wanted = text(gdal.describe(str(path)))
        except GeodataError as error:
            with pytest.raises(type(error)):
                raster.describe(str(path))
            outcomes["error"] += 1
        else:
            assert text(raster.describe(str(path))) == wanted, path
            outcomes["told" if len(asked) == before else "asked"] += 1
    assert outcomes["told"] > len(found) / 2, outcomes


def test_the_transform_is_that_of_gdal_to_the_last_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for i in range(60):
        scale = (*(10.0 ** rng.uniform(-6, 6, 2)), 0.0)
        tie = (*rng.uniform(-50, 50, 2), 0.0, *rng.uniform(-1e7, 1e7, 2), 0.0)
        point = {34735: (3, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1 + i % 2, 3072, 0, 1, 32633))}
        path = put(tmp_path / f"{i}.tif", {33550: (12, scale), 33922: (12, tie)} | point)
        with rasterio.open(path) as src:
            assert tuple(raster.describe(str(path)).grid.transform) == tuple(src.transform) != tuple(Affine.identity())
