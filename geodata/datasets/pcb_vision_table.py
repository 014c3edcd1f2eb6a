"""The files of PCB-Vision: what they are called, how large they are, and which board is in which part."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from geodata.bands import Band, Bands
from geodata.catalog import Catalog
from geodata.datasets.lists import RGB
from geodata.datasets.roots import named
from geodata.datasets.tables import classes
from geodata.errors import BandsError, DtypeError, GeodataError, GridError, NoFilesError
from geodata.readers import envi, raster
from geodata.readers.base import Asset, Header
from geodata.spec import Classes, Content, DatasetSpec, Image, Mask

__all__ = ["CUBE", "FOLDERS", "SPLIT", "TRAPS", "TREE", "catalog", "contents_of"]

TREE = """\
HSI/pcb<N>/pcb<N>.hdr and pcb<N>             N = 1 ... 53
HSI/General_masks/<N>.HDR and <N>
HSI/Monoseg_masks/mono<N>.hdr and mono<N>
HSI/PCB_Masks/<N>.jpg
RGB/<N>.jpg
RGB/General/<N>.png
RGB/Monoseg/<N>.png"""

TRAPS = (
    "Reflectance lies slightly outside [0, 1] in places; it is given as stored, and out_of_range() counts it.",
    "Cube and photograph are on different pixel grids, each with a mask of its own.",
    "Boards 4 and 35 are in no part of the published split.",
    "The published split is that of the cubes; the authors' code splits the photographs by chance in another way.",
    "The mask of the board is a JPEG: around its edge are values between 0 and 255; above 127 is board.",
    "Names are spelled large and small: General_masks/1.HDR beside Monoseg_masks/mono1.hdr.",
)

SPLIT = {
    "train": (1, 3, 8, 11, 17, 22, 23, 24, 25, 32, 34, 44, 45, 47, 49, 50, 52, 53),
    "val": (18, 37, 42),
    "test": (
        2, 5, 6, 7, 9, 10, 12, 13, 14, 15, 16, 19, 20, 21, 26, 27, 28, 29, 30, 31, 33, 36, 38, 39, 40, 41, 43, 46, 48, 51,
    ),
}  # fmt: skip
_PART = {board: part for part, boards in SPLIT.items() for board in boards}

CUBE = Bands(Band(str(i)) for i in range(1, 225))
"""Bands of the cubes; their wavelengths are taken from the headers."""


@dataclass(frozen=True)
class _File:
    """One file of a board: where it is, how it is read, and the bands it holds."""

    path: str
    format: str
    bands: Bands
    on: str  # "hsi", "rgb": whose grid it is on


FILES = {
    "hsi": _File("HSI/pcb{}/pcb{}.hdr", "envi", CUBE, "hsi"),
    "general": _File("HSI/General_masks/{}.hdr", "envi", Bands(["general"]), "hsi"),
    "monoseg": _File("HSI/Monoseg_masks/mono{}.hdr", "envi", Bands(["monoseg"]), "hsi"),
    "board": _File("HSI/PCB_Masks/{}.jpg", "raster", Bands(["board"]), "hsi"),
    "rgb": _File("RGB/{}.jpg", "raster", RGB, "rgb"),
    "rgb_general": _File("RGB/General/{}.png", "raster", Bands(["rgb_general"]), "rgb"),
    "rgb_monoseg": _File("RGB/Monoseg/{}.png", "raster", Bands(["rgb_monoseg"]), "rgb"),
}


@dataclass(frozen=True)
class _Board:
    """Where the files of a board are, or should be, and the headers of those that are there."""

    number: int
    paths: dict[str, str]
    headers: dict[str, Header]


def catalog(root: Path, spec: DatasetSpec, *, on_error: str) -> Catalog:
    """Make the catalog from the headers of all boards.

    Raises
    ------
    NoFilesError
        If there is no cube.
    ReadError, BandsError, GridError
        If a file is broken, a cube has not 224 bands, or a mask another size than its image (``on_error="raise"``).
    BandsError, DtypeError
        If boards disagree in wavelengths or in how numbers are stored.
    """
    boards: list[_Board] = []
    skipped: list[str] = []
    for number in _numbers(root):
        try:
            boards.append(_board(root, number))
        except (GeodataError, OSError):
            if on_error == "raise":
                raise
            skipped.append(f"pcb{number}")
    boards = _alike(boards, on_error, skipped)
    if not boards:
        raise NoFilesError(f"{spec.title}: no cube can be read below {root}. Expected:\n{spec.tree}")
    assets = [_asset(name, [b.headers[name] for b in boards if name in b.headers]) for name in FILES]
    columns = {f"path_{name}": [b.paths[name] for b in boards] for name in FILES}
    rgb = [b.headers["rgb"].grid.shape if "rgb" in b.headers else (1, 1) for b in boards]
    found = Catalog.from_columns(
        key=[f"pcb{b.number}" for b in boards],
        affine=np.tile([1.0, 0, 0, 0, 1, 0], (len(boards), 1)),
        shape=[b.headers["hsi"].grid.shape for b in boards],
        crs=None,
        columns={
            "board": [b.number for b in boards],
            "split": [_PART.get(b.number) for b in boards],
            **columns,
            "rgb_height": [height for height, _ in rgb],
            "rgb_width": [width for _, width in rgb],
        },
        assets=assets,
    )
    return replace(found, dropped=tuple(skipped))


def _numbers(root: Path) -> Iterator[int]:
    matches = (re.fullmatch(r"pcb(\d+)", path.name, re.IGNORECASE) for path in named(root, "HSI/pcb*"))
    yield from sorted(int(match[1]) for match in matches if match)


def _board(root: Path, number: int) -> _Board:
    """Look for the files of a board."""
    paths: dict[str, str] = {}
    headers: dict[str, Header] = {}
    for name, file in FILES.items():
        wanted = file.path.format(number, number)
        there = named(root, wanted)
        if not there and name != "hsi":
            paths[name] = wanted.removesuffix(".hdr")
            continue
        path = envi.data_file(str(there[0] if there else root / wanted)) if file.format == "envi" else str(there[0])
        paths[name] = Path(os.path.relpath(path, root)).as_posix()
        headers[name] = _header(path, file)
        whole = headers.get(file.on)
        if whole is not None and headers[name].grid.shape != whole.grid.shape:
            sizes = ["{} x {}".format(*h.grid.shape) for h in (headers[name], whole)]
            raise GridError(f"{path} has {sizes[0]} pixels, {paths[file.on]} has {sizes[1]}; they must agree")
    return _Board(number, paths, headers)


def _header(path: str, file: _File) -> Header:
    header = envi.describe(path) if file.format == "envi" else raster.describe(path)
    wanted = len(file.bands)
    # A mask may be stored as a grey picture of three equal bands.
    if len(header.bands) != wanted and (wanted > 1 or file.format == "envi"):
        raise BandsError(f"{path} has {len(header.bands)} bands, wanted {wanted}")
    return header


def _alike(boards: list[_Board], on_error: str, skipped: list[str]) -> list[_Board]:
    """Return the boards whose files are stored as most are: a catalog holds one way for each kind of file."""
    for name in FILES:
        kinds = {b.number: _kind(b.headers[name]) for b in boards if name in b.headers}
        usual = Counter(kinds.values()).most_common(1)[0][0] if kinds else ""
        odd = [b for b in boards if kinds.get(b.number, usual) != usual]
        if odd and on_error == "raise":
            raise DtypeError(
                f"{odd[0].paths[name]} is stored as {kinds[odd[0].number]}, most boards as {usual}; "
                f"on_error='skip' leaves out {len(odd)} of {len(boards)} boards"
            )
        skipped += [f"pcb{b.number}" for b in odd]
        left = {b.number for b in odd}
        boards = [b for b in boards if b.number not in left]
    return boards


def _kind(header: Header) -> str:
    return header.dtype if header.nodata is None else f"{header.dtype} with nodata {header.nodata}"


def _asset(name: str, headers: list[Header]) -> Asset:
    file = FILES[name]
    if not headers:
        return Asset(
            f"{{path_{name}}}", file.bands, tuple(range(1, len(file.bands) + 1)), 1, "uint8", format=file.format
        )
    first = headers[0]
    bands = _wavelengths(headers) if name == "hsi" else file.bands
    indexes = tuple(range(1, len(bands) + 1))
    validity, nodata = (first.validity, first.nodata) if name == "hsi" else ("all", None)
    return Asset(f"{{path_{name}}}", bands, indexes, 1, first.dtype, nodata, validity, file.format)


def _wavelengths(headers: list[Header]) -> Bands:
    """Return the bands with the wavelengths of the boards that state them, which must be the same."""
    stated = [h.bands for h in headers if not np.isnan(h.bands.wavelengths).any()]
    if not stated:
        return CUBE
    if any(np.abs(bands.wavelengths - stated[0].wavelengths).max() > _NEAR for bands in stated):
        raise BandsError("PCB-Vision: the headers of its boards state different wavelengths; read them by themselves")
    return Bands(replace(band, name=name) for band, name in zip(stated[0], CUBE.names, strict=True))


_NEAR = 0.1
"""Wavelengths that differ by less are the same, nm."""


PARTS = classes("pcb")
BOARD = Classes(("background", "board"), codes={value: int(value > 127) for value in range(256)})
FOLDERS = {"general": "General", "monoseg": "Monoseg"}
SIZE = ("rgb_height", "rgb_width")


def contents_of(masks: str) -> tuple[Content, ...]:
    """Return what a sample holds with one of the two kinds of masks."""
    folder = FOLDERS[masks]
    return (
        Image("image", "HSI/pcb*", about="reflectance, 400 to 1000 nm", bands=CUBE),
        Image("image_rgb", "RGB", about="photograph on a grid of its own", bands=RGB, size=SIZE),
        Mask("mask", f"HSI/{folder}_masks", "", f"{masks} mask on the grid of the cube", masks, PARTS),
        Mask(
            "mask_rgb", f"RGB/{folder}", "", f"{masks} mask on the grid of the photograph", f"rgb_{masks}", PARTS, SIZE
        ),
        Mask("mask_board", "HSI/PCB_Masks", "", "where the board is, on the grid of the cube", "board", BOARD),
    )
