"""Plain TIFFs read without GDAL: the pixels that were written, the pixels that GDAL reads, or a step aside."""

from __future__ import annotations

import os
import struct
import threading
import time
import tracemalloc
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from makers import write_tif
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from tiffs import GEO, tiff

from geodata.errors import GeodataError, ReadError, StaleCatalogError
from geodata.readers import blocks, files, gdal, raster
from geodata.readers import tiff as plain_tiff
from geodata.readers.tiff import read_pixels

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64", "complex64")
CODECS = ("none", "deflate", "zstd", "lzw", "packbits", "lzma", "lerc")
PLAIN_CODECS = ("none", "deflate", "zstd", "lzw")


def noise(dtype: str, *shape: int, seed: int = 0) -> np.ndarray:
    """Numbers over all of a dtype's range, NaN and infinities among them, in runs that codecs like."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind in "fc":
        found = (rng.normal(size=shape) * 1e3).astype(kind)
        found[rng.random(shape) < 0.05] = np.nan
        found[rng.random(shape) < 0.02] = -np.inf
    else:
        info = np.iinfo(kind)
        found = rng.integers(info.min, info.max, shape, dtype=kind, endpoint=True)
    found[..., : shape[-1] // 3] = found[..., :1]
    return found


def windows(shape: tuple[int, ...], n: int, seed: int) -> list[tuple[int, int, int, int]]:
    """The whole image, its last pixel, and random windows inside."""
    rng = np.random.default_rng(seed)
    height, width = shape[-2:]
    found = [(0, 0, height, width), (height - 1, width - 1, 1, 1)]
    for _ in range(n):
        row, col = int(rng.integers(height)), int(rng.integers(width))
        found.append((row, col, int(rng.integers(1, height - row + 1)), int(rng.integers(1, width - col + 1))))
    return found


def cut(array: np.ndarray, window: tuple[int, int, int, int], bands: Any) -> np.ndarray:
    row, col, height, width = window
    return array[[b - 1 for b in bands], row : row + height, col : col + width]


def same(got: np.ndarray, wanted: np.ndarray) -> bool:
    return got.dtype == wanted.dtype and got.shape == wanted.shape and got.tobytes() == wanted.tobytes()


def answered(path: Any, wanted: np.ndarray, n: int = 4) -> bool:
    """Whether the plain reader answers, always or never; what it and GDAL answer is what was written."""
    said = set()
    for window in windows(wanted.shape, n, seed=wanted.size):
        rng = np.random.default_rng(window)
        every = range(1, len(wanted) + 1)
        for bands in (list(every), [int(b) for b in rng.integers(1, len(wanted) + 1, 3)]):
            part = cut(wanted, window, bands)
            got = read_pixels(str(path), window, bands, None, None)
            said.add(got is not None)
            assert got is None or same(got, part), (window, bands)
            assert same(raster.read(str(path), window, bands, validity="all").data, part), (window, bands)
    assert len(said) == 1, "it answers some windows and not others"
    return said.pop()


def put(folder: Path, data: bytes, name: str = "a.tif") -> str:
    """Write a file anew, under another inode or the same."""
    (folder / name).write_bytes(data)
    return str(folder / name)


# ---------------------------------------------------------------------- layouts


@pytest.mark.parametrize("compress", CODECS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_layouts_written_by_gdal(tmp_path: Path, dtype: str, compress: str) -> None:
    if compress == "lerc" and dtype in ("int64", "uint64", "float32", "float64", "complex64"):
        pytest.skip("LERC has no such numbers, or no NaN")
    rng = np.random.default_rng([DTYPES.index(dtype), CODECS.index(compress)])
    for case in range(6 if compress in PLAIN_CODECS else 2):
        count = int(rng.integers(1, 6))
        predictor = int(rng.choice([1, 2, 3] if dtype in ("float32", "float64") else [1, 2]))
        if compress in ("none", "packbits", "lerc") or (predictor == 2 and dtype == "complex64"):
            predictor = 1
        tiled = bool(rng.integers(2))
        block = {"blockysize": int(rng.choice([1, 3, 7, 64]))}
        if tiled:
            block = {"blockxsize": int(rng.choice([16, 32, 96])), "blockysize": int(rng.choice([16, 48, 64]))}
        array = noise(dtype, count, 53, 67, seed=case)
        profile = {"compress": compress, "tiled": tiled, "interleave": str(rng.choice(["pixel", "band"])), **block}
        profile |= {"BIGTIFF": str(rng.choice(["YES", "NO"])), "ENDIANNESS": str(rng.choice(["BIG", "LITTLE"]))}
        if predictor > 1:
            profile["predictor"] = predictor
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # GDAL clips complex numbers for some statistics
            path = write_tif(tmp_path / f"{case}.tif", array, **profile)
        plain = compress in PLAIN_CODECS and predictor < 3 and dtype != "complex64"
        if plain and predictor == 2 and dtype.startswith("float"):
            plain = False
        assert answered(path, array) == plain, profile


@pytest.mark.parametrize("compression", [1, 5, 8, 32946, 50000])
@pytest.mark.parametrize("order", ["<", ">"])
def test_layouts_written_by_hand(tmp_path: Path, compression: int, order: str) -> None:
    rng = np.random.default_rng([compression, ord(order)])
    layouts: tuple[dict[str, Any], ...] = ({"tile": (5, 7)}, {"tile": (64, 128)}, {"rows": 9}, {}, {"tile": (16, 16)})
    for i, dtype in enumerate(DTYPES[:10]):
        array = noise(dtype, int(rng.integers(1, 6)), 33, 41, seed=i)
        predictor = 1 if array.dtype.kind == "f" else int(rng.integers(1, 3))
        how = layouts[i % len(layouts)] | {"planar": bool(rng.integers(2)), "big": bool(rng.integers(2))}
        data = tiff(array, compression=compression, predictor=predictor, order=order, tags=GEO, **how)
        assert answered(put(tmp_path, data, f"{i}.tif"), array), (dtype, how)


def test_blocks_large_enough_to_stop_early(tmp_path: Path) -> None:
    """From 64 KB on a deflated block is decoded as far as rows are needed; windows in any order."""
    for dtype, order in (("uint16", "<"), ("float32", ">"), ("int64", ">")):
        array = noise(dtype, 2, 300, 260)
        for how in ({"tile": (256, 256)}, {}, {"rows": 299, "planar": True}):
            predictor = 1 if dtype == "float32" else 2
            data = tiff(array, compression=8, predictor=predictor, order=order, tags=GEO, **how)
            path = put(tmp_path, data, f"{dtype}{len(how)}.tif")
            assert answered(path, array, n=20)


def test_tags_of_one_value_take_any_width(tmp_path: Path) -> None:
    array = noise("uint16", 1, 20, 30)
    for kind in (3, 4, 16):
        tags = GEO | {256: (kind, (30,)), 257: (kind, (20,)), 278: (kind, (20,)), 259: (kind, (1,))}
        assert answered(put(tmp_path, tiff(array, tags=tags, big=kind == 16), f"{kind}.tif"), array)


@pytest.mark.parametrize(
    ("profile", "plain"),
    [
        ({"photometric": "MINISBLACK"}, True),
        ({"photometric": "MINISWHITE"}, True),
        ({"photometric": "RGB"}, True),
        ({"photometric": "CIELAB"}, False),
        ({"photometric": "RGB", "compress": "jpeg"}, False),
        ({"photometric": "YCBCR", "compress": "jpeg", "tiled": True, "blockxsize": 16, "blockysize": 16}, False),
        ({"compress": "webp"}, False),
        ({"compress": "lerc_zstd"}, False),
        ({"nbits": 4}, False),
        ({"nbits": 7, "compress": "deflate"}, False),
    ],
)
def test_colours_and_bits(tmp_path: Path, profile: dict[str, Any], plain: bool) -> None:
    array = noise("uint8", 3, 40, 50) // (32 if "nbits" in profile else 1)
    path = str(write_tif(tmp_path / "a.tif", array, **profile))
    window, bands = (3, 5, 30, 40), [3, 1]
    got = read_pixels(path, window, bands, None, None)
    with rasterio.open(path) as src:
        wanted = src.read(bands, window=rasterio.windows.Window(5, 3, 40, 30))
    assert (got is not None) == plain
    assert got is None or same(got, wanted)
    assert same(raster.read(path, window, bands, validity="all").data, wanted)


def test_a_palette_gives_its_numbers(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", noise("uint8", 1, 20, 30), photometric="PALETTE")
    with rasterio.open(path, "r+") as dst:
        dst.write_colormap(1, {i: (i, 0, 255 - i, 255) for i in range(256)})
    assert answered(path, noise("uint8", 1, 20, 30))


def test_sparse_blocks_are_left_to_gdal_which_fills_them(tmp_path: Path) -> None:
    profile = {"count": 1, "height": 64, "width": 64, "dtype": "uint16", "nodata": 7, "SPARSE_OK": True, "crs": None}
    path = str(tmp_path / "a.tif")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", tiled=True, blockxsize=32, blockysize=32, **profile) as dst:
            dst.write(np.full((1, 32, 32), 9, np.uint16), window=rasterio.windows.Window(32, 0, 32, 32))
    assert read_pixels(path, (0, 0, 64, 64), [1], None, None) is None
    part = read_pixels(path, (0, 32, 32, 32), [1], None, None)
    assert part is not None and (part == 9).all()
    whole = raster.read(path, (0, 0, 64, 64), [1], validity="nodata", nodata=7)
    assert (whole.data[0, :32, 32:] == 9).all() and (whole.data[0, 32:] == 7).all()
    assert whole.valid.sum() == 32 * 32


def test_overviews_and_masks_do_not_hide_the_image(tmp_path: Path) -> None:
    array = noise("uint8", 2, 100, 90)
    mask = np.zeros((100, 90), bool)
    mask[10:50] = True
    path = write_tif(tmp_path / "a.tif", array, mask=mask, tiled=True, blockxsize=16, blockysize=16, compress="deflate")
    with rasterio.open(path, "r+") as dst:
        dst.build_overviews([2, 4])
    assert answered(path, array)
    valid = raster.read(str(path), (0, 0, 100, 90), [1, 2], validity="mask").valid
    assert np.array_equal(valid, mask)


def test_every_real_raster_is_read_like_gdal(realdata: Path) -> None:
    found = sorted(p for p in realdata.rglob("*") if p.suffix.lower() in (".tif", ".tiff"))
    plain = 0
    for path in found:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as src:
                shape, count, dtype = src.shape, src.count, src.dtypes[0]
        rng = np.random.default_rng(len(path.name))
        for window in windows(shape, 6, seed=shape[0]):
            if window[2] * window[3] * count > 1 << 24:
                continue
            bands = [int(b) for b in rng.integers(1, count + 1, min(count, 5))]
            got = read_pixels(str(path), window, bands, dtype, None)
            plain += got is not None
            if got is not None:
                wanted = gdal.read(str(path), window, bands, validity="all", dtype=dtype)
                assert same(got, wanted.data), (path, window, bands)
    assert plain > 2 * len(found), f"{plain} windows of {len(found)} files"


# ---------------------------------------------------------------------- not plain

STRIP = noise("uint16", 2, 24, 30)

ODD_TAGS: dict[str, dict[int, Any]] = {
    "numbers that are not said to be any": {339: (3, (4, 4))},
    "a kind of numbers for each sample": {339: (3, (1, 2))},
    "numbers whose kind is said by a signed number": {339: (8, (2, 2))},
    "numbers whose kind is said in the old way": {339: None, 32996: (3, (2,))},
    "bits as fractions": {258: (12, (16.0, 16.0))},
    "bits for each sample": {258: (3, (16, 8))},
    "fractions as places": {273: (12, (400.0,))},
    "bytes as places": {273: (1, (200,))},
    "strips as tiles": {322: (4, (16,)), 323: (4, (16,))},
    "a width of tiles": {322: (4, (30,))},
    "both strips and tiles": {324: (4, (300,)), 325: (4, (100,))},
    "no rows in a strip": {278: (4, (0,))},
    "two rows of strips, one place": {278: (4, (12,))},
    "bits from the other end": {266: (3, (2,))},
    "more than two dimensions": {32997: (4, (2,))},
    "more samples beyond the colours than samples": {338: (3, (0, 0, 0))},
    "samples beyond the colours of no kind": {338: (3, (7,))},
    "no colours": {262: None},
    "colours in another space": {262: (3, (8,))},
    "no width": {256: (4, (0,))},
    "a width that is no number": {256: (2, "30")},
    "a codec from nowhere": {259: (3, (4711,))},
    "no bits": {258: None},
    "two heights": {257: (4, (24, 24))},
    "a block that is not there": {279: (4, (0,))},
    "bits that run the other way": {317: (3, (3,)), 259: (3, (8,))},
}


@pytest.mark.parametrize("name", ODD_TAGS)
def test_what_is_odd_is_left_to_gdal(tmp_path: Path, name: str) -> None:
    path = put(tmp_path, tiff(STRIP, tags=GEO | ODD_TAGS[name]))
    assert read_pixels(path, (0, 0, 4, 5), [1], None, None) is None


def test_what_is_odd_of_three_bands_or_packed_is_left_to_gdal(tmp_path: Path) -> None:
    three = np.concatenate([STRIP, STRIP[:1]])
    few = put(tmp_path, tiff(three, tags=GEO | {339: (3, (1, 1))}))
    assert read_pixels(few, (0, 0, 4, 5), [1], None, None) is None
    # GDAL passes over a predictor whose type it does not know.
    how: dict[str, Any] = {"compression": 8, "predictor": 2}
    path = put(tmp_path, tiff(STRIP, tags=GEO | {317: (13, (2,))}, **how), "b.tif")
    assert read_pixels(path, (0, 0, 4, 5), [1], None, None) is None
    assert same(
        raster.read(path, (0, 0, 4, 5), [1], validity="all").data,
        gdal.read(path, (0, 0, 4, 5), [1], validity="all").data,
    )


def test_the_odd_file_is_plain_without_its_oddity(tmp_path: Path) -> None:
    assert answered(put(tmp_path, tiff(STRIP, tags=GEO)), STRIP)


def test_directories_out_of_order_are_left_to_gdal(tmp_path: Path) -> None:
    good = tiff(STRIP, tags=GEO)
    first, second = good[10:22], good[22:34]
    assert read_pixels(put(tmp_path, good[:10] + second + first + good[34:]), (0, 0, 4, 5), [1], None, None) is None
    twice = good[:10] + first + first + good[34:]
    assert read_pixels(put(tmp_path, twice, "b.tif"), (0, 0, 4, 5), [1], None, None) is None


def test_a_ring_of_images_is_left_to_gdal(tmp_path: Path) -> None:
    good = bytearray(tiff(STRIP, tags=GEO))
    (count,) = struct.unpack_from("<H", good, 8)
    struct.pack_into("<I", good, 10 + 12 * count, 8)
    assert read_pixels(put(tmp_path, bytes(good)), (0, 0, 4, 5), [1], None, None) is None


@pytest.mark.parametrize(
    "data", [b"", b"II", b"II*\0", b"II*\0\x08\0\0\0", b"MM\0*" + b"\0" * 20, b"text" * 9, b"II+\0" + b"\xff" * 40]
)
def test_what_is_no_tiff_is_left_to_gdal(tmp_path: Path, data: bytes) -> None:
    path = put(tmp_path, data)
    assert read_pixels(path, (0, 0, 1, 1), [1], None, None) is None
    with pytest.raises(ReadError):
        raster.read(path, (0, 0, 1, 1), [1], validity="all")


def test_what_is_no_file_is_left_to_gdal(tmp_path: Path) -> None:
    for href in (
        "https://example.org/a.tif",
        "/vsizip/a.zip/a.tif",
        "a\0b.tif",
        str(tmp_path),
        str(tmp_path / "gone.tif"),
    ):
        assert read_pixels(href, (0, 0, 1, 1), [1], None, None) is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = str(tmp_path / "a.tif")
    os.mkfifo(path)
    got: list[Any] = []
    waiting = threading.Thread(target=lambda: got.append(read_pixels(path, (0, 0, 1, 1), [1], None, None)), daemon=True)
    waiting.start()
    waiting.join(10)
    if waiting.is_alive():
        os.close(os.open(path, os.O_WRONLY))
    assert got == [None]


def test_windows_and_bands_that_are_not_there(tmp_path: Path) -> None:
    path = put(tmp_path, tiff(STRIP, tags=GEO))
    for window, bands, dtype in (
        ((0, 0, 25, 1), [1], None),
        ((-1, 0, 2, 2), [1], None),
        ((0, 29, 1, 2), [1], None),
        ((0, 0, 1, 1), [3], None),
        ((0, 0, 1, 1), [1], "int16"),
    ):
        assert read_pixels(path, window, bands, dtype, None) is None
        with pytest.raises(StaleCatalogError):
            raster.read(path, window, bands, validity="all", dtype=dtype)
    assert read_pixels(path, (0, 0, 1, 1), [0], None, None) is None
    assert read_pixels(path, (0, 0, 0, 1), [1], None, None) is None


# ---------------------------------------------------------------------- into a buffer


def buffers(shape: tuple[int, ...], dtype: Any) -> dict[str, np.ndarray]:
    """Arrays of a shape that lie in memory in many ways, filled with 77."""
    count, height, width = shape
    every = {
        "contiguous": np.empty(shape, dtype),
        "channels last": np.empty((height, width, count), dtype).transpose(2, 0, 1),
        "part of a batch": np.empty((3, count + 2, height + 4, width + 6), dtype)[1, 1:-1, 2:-2, 3:-3],
        "every other": np.empty((count, height * 2, width * 2), dtype)[:, ::2, ::2],
        "upside down": np.empty(shape, dtype)[:, ::-1, ::-1],
    }
    for array in every.values():
        array[...] = 77
    return every


@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_into_any_buffer(tmp_path: Path, compression: int, planar: bool, order: str) -> None:
    array = noise("uint16", 3, 40, 50)
    path = put(tmp_path, tiff(array, tile=(16, 16), compression=compression, planar=planar, order=order, tags=GEO))
    for window in windows(array.shape, 3, seed=1):
        for bands in ([1, 2, 3], [3, 1], [2, 2]):
            wanted = cut(array, window, bands)
            for dtype in (np.uint16, np.int32, np.float32, np.float64):
                for name, out in buffers(wanted.shape, dtype).items():
                    around = out.base if out.base is not None else out
                    others = int((around == 77).sum()) - int((out == 77).sum())
                    got = read_pixels(path, window, bands, "uint16", out)
                    assert got is out and same(np.ascontiguousarray(out), wanted.astype(dtype)), name
                    assert int((around == 77).sum()) - int((out == 77).sum()) == others, "it wrote beside the buffer"


@pytest.mark.parametrize(
    ("dtype", "into"),
    [
        ("uint16", "int16"),
        ("int16", "uint8"),
        ("float32", "uint8"),
        ("float64", "float32"),
        ("int32", "uint32"),
        ("uint8", "int8"),
    ],
)
def test_a_cast_that_loses_values_is_gdals(tmp_path: Path, dtype: str, into: str) -> None:
    """GDAL rounds and clips; numpy would wrap around."""
    array = noise(dtype, 1, 20, 30)
    path = put(tmp_path, tiff(array, tags=GEO))
    outs = [np.zeros((1, 20, 30), into) for _ in range(2)]
    assert read_pixels(path, (0, 0, 20, 30), [1], None, outs[0]) is None
    raster.read(path, (0, 0, 20, 30), [1], validity="all", out=outs[0])
    gdal.read(path, (0, 0, 20, 30), [1], validity="all", out=outs[1])
    assert same(outs[0], outs[1]) and outs[0].any()


def test_a_buffer_of_another_shape_is_not_half_filled(tmp_path: Path) -> None:
    path = put(tmp_path, tiff(STRIP, tags=GEO))
    for shape in ((2, 5, 5), (1, 4, 4), (1, 8, 8), (2, 4, 5)):
        assert read_pixels(path, (0, 0, 4, 5), [1], None, np.zeros(shape, np.uint16)) is None


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float32", "float64"])
@pytest.mark.parametrize("validity", ["all", "nodata", "nan"])
def test_what_is_observed_is_what_gdals_side_says(tmp_path: Path, dtype: str, validity: str) -> None:
    array = noise(dtype, 3, 30, 40)
    array[:, 5:9, 5:20] = 42
    array[1, 20:25] = 42
    path = put(tmp_path, tiff(array, tile=(16, 16), compression=8, tags=GEO))
    for nodata in (42.0, -1.5, float("nan"), None):
        for out_dtype in (None, "float64"):
            answers = []
            for read in (raster.read, gdal.read):
                out = None if out_dtype is None else np.empty((2, 20, 33), out_dtype)
                answers.append(
                    read(path, (3, 4, 20, 33), [2, 3], validity=validity, nodata=nodata, dtype=dtype, out=out)
                )
            assert same(answers[0].data, answers[1].data) and np.array_equal(answers[0].valid, answers[1].valid)
    seen = raster.read(path, (0, 0, 30, 40), [1, 2, 3], validity="nodata", nodata=42, dtype=dtype).valid
    wanted = (array != 42).all(axis=0) & ~np.isnan(array.astype(float)).any(axis=0)
    assert np.array_equal(seen, wanted) and not seen.all()


def test_files_with_alpha_or_mask_are_gdals(tmp_path: Path) -> None:
    array = noise("uint8", 4, 20, 30)
    array[3] = np.where(array[0] > 100, 255, 0)
    kinds = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    path = str(write_tif(tmp_path / "a.tif", array, photometric="RGB", colorinterp=kinds))
    got = raster.read(path, (0, 0, 20, 30), [1, 2, 3], validity="alpha")
    assert np.array_equal(got.valid, array[3] != 0) and same(got.data, array[:3])


# ---------------------------------------------------------------------- damage


def test_cut_off_files_answer_what_is_still_there(tmp_path: Path) -> None:
    array = noise("uint16", 1, 64, 64)
    for compression in (1, 5, 8, 50000):
        good = tiff(array, tile=(16, 16), compression=compression, tags=GEO)
        answers = 0
        for length in range(len(good) - 2, 0, -61):
            path = put(tmp_path, good[:length], f"{compression}-{length}.tif")
            for window in ((0, 0, 16, 64), (48, 48, 16, 16), (0, 0, 64, 64)):
                got = read_pixels(path, window, [1], None, None)
                assert got is None or same(got, cut(array, window, [1]))
                answers += got is not None
                if window == (48, 48, 16, 16):
                    assert got is None
        assert answers, "no cut left the first tiles whole"


def test_a_raw_block_that_is_not_all_there_is_gdals_who_refuses_it(tmp_path: Path) -> None:
    good = tiff(STRIP, tags=GEO)
    path = put(tmp_path, good[:-20])
    assert read_pixels(path, (0, 0, 4, 5), [1], None, None) is None
    with pytest.raises(ReadError):
        raster.read(path, (0, 0, 4, 5), [1], validity="all")
    short = put(tmp_path, tiff(STRIP, tags=GEO | {279: (4, (STRIP.nbytes - 1,))}), "b.tif")
    assert read_pixels(short, (0, 0, 4, 5), [1], None, None) is None


def flipped(data: bytes, rng: np.random.Generator, start: int, stop: int) -> bytes:
    found = bytearray(data)
    found[int(rng.integers(start, stop))] ^= 1 << int(rng.integers(8))
    return bytes(found)


@pytest.mark.parametrize("compression", [5, 8, 50000])
@pytest.mark.parametrize("side", [64, 256])
def test_flipped_bits_in_whole_blocks_never_give_what_gdal_refuses(tmp_path: Path, compression: int, side: int) -> None:
    """Read to its end a deflated block shows its checksum. LZW and zstd have none: GDAL answers the same wrong pixels."""
    array = (np.cumsum(noise("uint16", 1, side, side) % 5, axis=2)).astype(np.uint16)
    good = tiff(array, tile=(side, side), compression=compression, predictor=2, tags=GEO)
    rng = np.random.default_rng([compression, side])
    ends = {"aside": 0, "equal": 0}
    window = (0, 0, side, side)
    for i in range(60):
        path = put(tmp_path, flipped(good, rng, 400, len(good)), f"{i}.tif")
        got = read_pixels(path, window, [1], None, None)
        if got is None:
            ends["aside"] += 1
        else:
            assert same(got, gdal.read(path, window, [1], validity="all").data)
            ends["equal"] += 1
    assert ends["aside"] and (compression != 8 or not ends["equal"])


def test_rows_above_a_flipped_bit_are_right_and_those_below_show_it(tmp_path: Path) -> None:
    """A read that stops above the damage sees nothing of it, as with a file cut off there."""
    array = np.cumsum(noise("uint16", 1, 512, 256) % 7, axis=2).astype(np.uint16)
    good = tiff(array, tile=(512, 256), compression=8, predictor=2, tags=GEO)
    rng = np.random.default_rng(0)
    unnoticed = 0
    for i in range(40):
        path = put(tmp_path, flipped(good, rng, len(good) * 4 // 5, len(good)), f"{i}.tif")
        for window in ((0, 0, 100, 256), (20, 30, 230, 9)):
            got = read_pixels(path, window, [1], None, None)
            assert got is not None and same(got, cut(array, window, [1]))
        for row in (500, 400, 300):
            got = read_pixels(path, (row, 0, 512 - row, 256), [1], None, None)
            unnoticed += got is not None
            assert got is None or same(got, array[:, row:]), "a stream that failed went on"
        got = read_pixels(path, (0, 0, 90, 256), [1], None, None)
        assert got is not None and same(got, array[:, :90])
    assert unnoticed < 10, "few bits of a stream mean nothing"


def test_strips_padded_to_their_full_rows(tmp_path: Path) -> None:
    """Some writers fill the last strip: GDAL takes the rows of the image, and so does a read that stops early."""
    array = noise("uint16", 1, 300, 200)
    rows = [array[0, i : i + 256] for i in (0, 256)]
    rows[1] = np.vstack([rows[1], np.zeros((212, 200), np.uint16)])
    parts = [zlib.compress(r.tobytes()) for r in rows]
    good = tiff(array, rows=256, compression=8, tags=GEO)
    start = len(good)
    places = (start, start + len(parts[0]))
    tags = GEO | {273: (4, places), 279: (4, tuple(map(len, parts)))}
    head = tiff(array, rows=256, compression=8, tags=tags)
    path = put(tmp_path, head[:start].ljust(start, b"\0") + b"".join(parts))
    for window in windows(array.shape, 5, seed=3):
        got = read_pixels(path, window, [1], None, None)
        assert got is None or same(got, cut(array, window, [1]))
        assert same(raster.read(path, window, [1], validity="all").data, cut(array, window, [1]))


# ---------------------------------------------------------------------- files that change


def change_by_rename(path: str, data: bytes) -> None:
    Path(path + ".new").write_bytes(data)
    os.replace(path + ".new", path)


def change_in_place(path: str, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.write(data)
        file.truncate()


def change_anew(path: str, data: bytes) -> None:
    os.unlink(path)
    Path(path).write_bytes(data)


@pytest.mark.parametrize("change", [change_by_rename, change_in_place, change_anew])
def test_a_file_written_anew_is_another_file(tmp_path: Path, change: Any) -> None:
    """Same length, same times, even the same inode: what was remembered of the file before is not served."""
    path = put(tmp_path, b"")
    for step in range(12):
        array = noise("uint16", 1, 32, 32, seed=step)
        array[0, :, 20:] = step
        tile, compression = ((32, 32), (16, 16))[step % 2], (8, 50000)[step // 2 % 2]
        change(path, tiff(array, tile=tile, compression=compression, tags=GEO).ljust(6000, b"\0"))
        os.utime(path, ns=(10**18, 10**18))
        time.sleep(2e-9 * files.TICK)
        for window in ((0, 0, 32, 32), (3, 2, 20, 28)):
            got = read_pixels(path, window, [1], None, None)
            assert got is not None and same(got, cut(array, window, [1])), step
        file = files.LocalFile(path)
        file.close()
        assert plain_tiff.layouts.find(file.stamp) is not None and blocks.cached.find((file.stamp, 0)) is not None


def test_within_one_tick_of_the_clock_nothing_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system whose clock stands still gives two files one time of change."""
    frozen: dict[str, Any] = {}
    real = os.fstat

    def fstat(fd: int) -> os.stat_result:
        found = real(fd)
        frozen.setdefault("time", found)
        fields = list(found)
        old = frozen["time"]
        extra = {name: getattr(found, name) for name in ("st_blksize", "st_blocks", "st_rdev") if hasattr(found, name)}
        extra |= {name: getattr(old, name) for name in ("st_mtime_ns", "st_ctime_ns", "st_atime_ns")}
        return os.stat_result(fields, extra)

    monkeypatch.setattr(files.os, "fstat", fstat)
    monkeypatch.setattr(files, "TICK", 10**12)
    monkeypatch.setattr(files.unsettled, "__defaults__", (10**12,))
    for step in range(4):
        array = noise("uint16", 1, 256, 256, seed=step)
        path = put(tmp_path, tiff(array, tile=(256, 256), compression=8, tags=GEO).ljust(200_000, b"\0"))
        got = read_pixels(path, (0, 0, 200, 256), [1], None, None)
        assert got is not None and same(got, array[:, :200])
    monkeypatch.setattr(files.unsettled, "__defaults__", (0,))
    before = blocks.cached.decoded
    for _ in range(3):
        read_pixels(path, (0, 0, 200, 256), [1], None, None)
    assert blocks.cached.decoded == before + 1, "files that are settled are remembered"


def test_a_file_cut_off_or_gone_between_two_reads(tmp_path: Path) -> None:
    array = noise("uint16", 1, 64, 64)
    good = tiff(array, tile=(16, 16), compression=8, tags=GEO)
    path = put(tmp_path, good)
    assert answered(path, array)
    change_in_place(path, good[:-50])
    assert read_pixels(path, (0, 0, 64, 64), [1], None, None) is None
    with pytest.raises(ReadError):
        raster.read(path, (0, 0, 64, 64), [1], validity="all")
    change_in_place(path, good)
    assert answered(path, array)
    os.unlink(path)
    with pytest.raises(GeodataError):
        raster.read(path, (0, 0, 64, 64), [1], validity="all")


def test_a_link_that_leads_elsewhere_is_another_file(tmp_path: Path) -> None:
    arrays = [noise("uint16", 1, 20, 20, seed=i) for i in range(2)]
    for i, array in enumerate(arrays):
        put(tmp_path, tiff(array, tags=GEO), f"{i}.tif")
    link = tmp_path / "link.tif"
    for i in (0, 1, 0):
        link.unlink(missing_ok=True)
        link.symlink_to(tmp_path / f"{i}.tif")
        assert answered(link, arrays[i])


# ---------------------------------------------------------------------- memory

HUGE: dict[str, bytes] = {
    "one strip of many rows": tiff(STRIP, compression=8, tags=GEO | {257: (4, (2**31 - 1,)), 278: (4, (2**31 - 1,))}),
    "strips of 2**32 - 1 rows": tiff(STRIP, compression=50000, tags=GEO | {278: (4, (2**32 - 1,)), 256: (4, (2**28,))}),
    "a tile of 65536 x 65536": tiff(
        STRIP, tile=(32, 32), compression=8, tags=GEO | {322: (4, (65536,)), 323: (4, (65536,))}
    ),
    "a raw tile of 65536 x 65536": tiff(
        STRIP, tile=(32, 32), tags=GEO | {322: (4, (65536,)), 323: (4, (65536,)), 325: (4, (2**32 - 1,))}
    ),
    "a strip of 4 GB": tiff(STRIP, compression=8, tags=GEO | {279: (4, (2**32 - 1,))}),
    "a strip of 2**63 bytes": tiff(STRIP, compression=8, big=True, tags=GEO | {279: (16, (2**63,))}),
    "a strip at 2**63": tiff(STRIP, compression=5, big=True, tags=GEO | {273: (16, (2**63,))}),
    "a raw strip at 2**64 - 1": tiff(STRIP, big=True, tags=GEO | {273: (16, (2**64 - 1,))}),
    "a wide image": tiff(STRIP, rows=1, compression=8, tags=GEO | {256: (4, (2**31 - 1,))}),
    "many samples": tiff(
        STRIP[:1], compression=8, tags=GEO | {277: (3, (65535,)), 258: (3, (16,)), 256: (4, (2**20,))}
    ),
}


def peak(call: Any) -> int:
    """Bytes in use at most while a call runs, beyond those before it."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", HUGE)
def test_sizes_that_are_only_said_take_no_memory(tmp_path: Path, name: str) -> None:
    path = put(tmp_path, HUGE[name])

    def read() -> None:
        assert read_pixels(path, (0, 0, 20, 30), [1], None, None) is None

    assert peak(read) < 1 << 22


@pytest.mark.parametrize("compression", [8, 50000])
def test_a_few_bytes_do_not_swell_to_gigabytes(tmp_path: Path, compression: int) -> None:
    """A tile of 2 GB of zeros in as few bytes as the codec makes of it."""
    if compression == 8:
        packer = zlib.compressobj(9)
        data = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    else:
        data = blocks.imagecodecs.zstd_encode(bytes(1 << 26))
    side = 1 << 15
    tags = GEO | {322: (4, (side,)), 323: (4, (side,)), 324: (4, (1000,)), 325: (4, (len(data),))}
    head = tiff(STRIP, tile=(32, 32), compression=compression, tags=tags)
    path = put(tmp_path, head[:1000].ljust(1000, b"\0") + data)
    assert peak(lambda: read_pixels(path, (0, 0, 20, 30), [1, 2], None, None)) < 1 << 22


def test_values_that_lie_upon_each_other_are_not_read_again_and_again(tmp_path: Path) -> None:
    """Four thousand tags, each of which says that its value is the whole file."""
    entries = b"".join(struct.pack("<HHII", tag, 1, 200_000, 60_000) for tag in range(1000, 5000))
    data = b"II*\0" + struct.pack("<IH", 8, 4000) + entries + bytes(4)
    path = put(tmp_path, data.ljust(300_000, b"\0"))
    assert peak(lambda: read_pixels(path, (0, 0, 1, 1), [1], None, None)) < 1 << 23


def test_remembered_layouts_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """2,304 strips: 18 KB of numbers a file, 20 bytes a strip if they were Python's."""
    monkeypatch.setattr(plain_tiff.layouts, "limit", 100_000)
    plain_tiff.layouts.clear()
    array = noise("uint8", 1, 2304, 4)
    data = tiff(array, rows=1, compression=8, tags=GEO)
    paths = [put(tmp_path, data, f"{i}.tif") for i in range(12)]
    monkeypatch.setattr(files.unsettled, "__defaults__", (0,))
    for path in paths * 2:
        assert same(read_pixels(path, (7, 0, 3, 4), [1], None, None), array[:, 7:10])  # type: ignore[arg-type]
    assert 2 <= len(plain_tiff.layouts) <= 5 and plain_tiff.layouts.nbytes <= 100_000
    layout = plain_tiff.layouts.find(plain_tiff.LocalFile(paths[-1]).stamp)
    assert layout is not None and layout.nbytes < 1024 + 2 * 8 * 2304 + 1


def test_one_band_of_many_does_not_bring_in_all_strips_at_once(tmp_path: Path) -> None:
    array = np.tile(noise("uint8", 1, 500, 500), (120, 1, 1))
    path = put(tmp_path, tiff(array, rows=10, compression=50000, tags=GEO))
    got: list[Any] = []
    assert peak(lambda: got.append(read_pixels(path, (0, 0, 500, 500), [7], None, None))) < 8 << 20 < array.nbytes
    assert same(got[0], array[6:7])


@pytest.mark.parametrize("rows", [1, 7, 17, 100])
def test_strips_stored_one_after_the_other_are_read_as_one(tmp_path: Path, rows: int) -> None:
    array = noise("uint16", 2, 50, 31)
    path = put(tmp_path, tiff(array, rows=rows, tags=GEO))
    file = plain_tiff.LocalFile(path)
    layout, _ = plain_tiff._layout(file)
    file.close()
    assert layout is not None and layout.block == (50, 31) and len(layout.offsets) == (2 if layout.planar else 1)
    for window in ((0, 0, 50, 31), (3, 2, 20, 11), (49, 30, 1, 1)):
        r, c, h, w = window
        assert same(read_pixels(path, window, [2, 1], None, None), array[::-1, r : r + h, c : c + w])
