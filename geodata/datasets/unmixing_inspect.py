"""What a copy of an unmixing scene holds: the cube, the endmembers and the abundances, however its files call them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from geodata.bands import Band, Bands
from geodata.datasets.unmixing_files import CUBES, Look, MatFile, Published, find_files
from geodata.errors import BandsError, CatalogError, ReadError
from geodata.readers import arrays

__all__ = ["Held", "Scene", "check_order", "inspect"]

ENDMEMBERS = ("M", "E", "GT")
ABUNDANCES = ("A", "A_true", "S_GT")
KEPT = ("SlectBands", "slctBnds")
WAVELENGTHS = ("waveLength", "wavelength", "wavelengths")
SIZES = (("nRow", "nCol", "columns"), ("H", "W", "rows"), ("lines", "cols", "rows"))
"""Names of height and width, and in which order those who write them so put pixels into a matrix."""


_Fit = TypeVar("_Fit", bound="tuple[Held, *tuple[int, ...]]")


@dataclass(frozen=True)
class Held:
    """An array: path of its file below the root, name in the file, layout of the axes."""

    path: str
    name: str
    layout: str = ""


@dataclass(frozen=True)
class Scene:
    """What was found.

    Parameters
    ----------
    shape : rows, columns
    bands : channels in the order of the file, called by their number in the sensor, 1-based
    indexes : 1-based, where they are in the cube
    cube, abundance, endmembers : where they are; endmembers have the layout ``"c p"`` or ``"p c"``
    places : of each channel among those of the endmembers, from 0, or -1
    names : endmembers in the order of the file
    files : all that were opened, below the root
    other : layouts of cube that put pixels in the other order, if only the cube is a matrix; to be told apart by its pixels
    """

    shape: tuple[int, int]
    bands: Bands
    indexes: tuple[int, ...]
    cube: Held
    abundance: Held | None
    endmembers: Held | None
    places: tuple[int, ...]
    names: tuple[str, ...]
    files: tuple[str, ...]
    other: str = ""


def inspect(root: Path, known: Published, look: Look, title: str, tree: str) -> Scene:
    """Find the files of a scene, and in them what is needed.

    Raises
    ------
    NoFilesError, CatalogError
        As in `find_files`; and CatalogError if arrays are missing or do not fit together: it lists those there are.
    BandsError
        If wavelengths are not one for each channel.
    """
    data, truth = find_files(root, known, look, title, tree)
    found = data.find(CUBES, (2, 3))
    if found is None:
        raise CatalogError(f"no cube, called {', '.join(CUBES)}, in {data}")
    name, shape = found
    size, order = _size(data, shape, look)
    layout = _layout(shape, size, order, f"{name} of {data}")
    sources = [data, *truth]
    named = bool(known.truth or look.truth)
    channels = _channels(data, sources if named else [data], _depth(shape, layout), known, look)
    ends = _endmembers(sources, {channels.total, len(channels.kept)}) if look.needs_truth else None
    shares = _abundances(sources, size, order, ends, name) if look.needs_truth else None
    _check_truth(sources, ends, shares, known, look)
    if not named:  # what other files beside them say is of other scenes
        used = {data.path, *(found[0].path for found in (ends, shares) if found)}
        sources = [file for file in sources if file.path in used]
    names = _names(sources, ends, shares, known, look)
    mixed = len(shape) == 2 and shares is not None and "(" not in shares[0].layout
    bands = _bands(sources, channels, data.number("maxValue"), known, look)
    if set(names) & set(bands.names):
        raise CatalogError(f"endmembers are called {', '.join(names)}, and channels by their numbers: {data}")
    return Scene(
        size,
        bands,
        channels.indexes,
        Held(data.path, name, layout),
        shares[0] if shares else None,
        ends[0] if ends else None,
        _places(channels, ends),
        names,
        tuple(dict.fromkeys(file.path for file in sources)),
        _layout(shape, size, "columns" if order == "rows" else "rows", "") if mixed else "",
    )


def _size(data: MatFile, shape: tuple[int, ...], look: Look) -> tuple[tuple[int, int], str]:
    """Return rows and columns, and in which order pixels stand in a matrix."""
    for rows, columns, order in SIZES:
        height, width = data.number(rows), data.number(columns)
        if height and width:
            return look.size or (int(height), int(width)), look.order or order
    if len(shape) == 3:
        return look.size or (shape[0], shape[1]), look.order or "rows"
    if look.size is None or look.order is None:
        raise CatalogError(f"no height and width; say size=(rows, columns) and order='columns' or 'rows' for {data}")
    return look.size, look.order


def _layout(shape: tuple[int, ...], size: tuple[int, int], order: str, what: str) -> str:
    height, width = size
    if len(shape) == 3:
        if shape[:2] == size:
            return "h w c"
        if shape[1:] == size:
            return "c h w"
    else:
        pixels = f"(w h={height})" if order == "columns" else f"(h w={width})"
        if shape[1] == height * width:
            return f"c {pixels}"
        if shape[0] == height * width:
            return f"{pixels} c"
    raise CatalogError(
        f"an array of {shape} is no image of {height} x {width} pixels: {what}; say size=(rows, columns)"
    )


def _depth(shape: tuple[int, ...], layout: str) -> int:
    """Return how many channels an array has."""
    return shape[0 if layout.startswith("c") else -1]


@dataclass(frozen=True)
class _Channels:
    """Numbers in the sensor of the channels to read and of those kept, places in the cube (1-based), size of the sensor."""

    numbers: tuple[int, ...]
    kept: tuple[int, ...]
    indexes: tuple[int, ...]
    total: int


def _channels(data: MatFile, sources: list[MatFile], count: int, known: Published, look: Look) -> _Channels:
    every = tuple(range(1, count + 1))
    total = max(int(data.number("nBand") or 0), known.total, count)
    kept = _kept(sources, total)
    if kept is None:
        kept = tuple(c for c in range(1, known.total + 1) if c not in known.removed) or every
    if not look.kept and count < total:
        raise CatalogError(f"{count} of {total} channels are in {data}; kept=False needs a file with all of them")
    if len(kept) == count:
        return _Channels(kept, kept, every, total)
    if count < max(kept):
        raise CatalogError(f"{count} channels, where {len(kept)} of {total} are said to be kept: {data}")
    return _Channels(kept, kept, kept, count) if look.kept else _Channels(every, kept, every, count)


def _kept(sources: list[MatFile], total: int) -> tuple[int, ...] | None:
    """Return the numbers of the channels that a file says were kept, None if none says it."""
    for file in sources:
        found = file.find(KEPT, (1, 2))
        if found is None:
            continue
        numbers = file.load(found[0]).ravel().tolist()
        if not set(numbers) <= set(range(1, total + 1)) or len(set(numbers)) < len(numbers):
            raise CatalogError(f"{found[0]} must be different numbers from 1 to {total}, not {numbers[:8]}...: {file}")
        return tuple(map(int, numbers))
    return None


def _endmembers(sources: list[MatFile], channels: set[int]) -> tuple[Held, int, int] | None:
    """Return where the endmembers are, how many, and of how many channels."""
    fits, others = [], []
    for file in sources:
        for name, shape in file.all(ENDMEMBERS, (2,)):
            axis = next((axis for axis in ((1, 0) if name == "GT" else (0, 1)) if shape[axis] in channels), None)
            if axis is None:
                others.append(f"{name} {shape} of {file.path}")
            else:
                fits.append((Held(file.path, name, "p c" if axis else "c p"), shape[1 - axis], shape[axis]))
                break
    if others and not fits:
        raise CatalogError(f"no endmembers of {' or '.join(map(str, sorted(channels)))} channels: there are {others}")
    return _only(fits, sources[0].path)


def _abundances(
    sources: list[MatFile], size: tuple[int, int], order: str, ends: tuple[Held, int, int] | None, cube: str
) -> tuple[Held, int] | None:
    """Return where the abundances are, and of how many endmembers."""
    fits, wrong = [], None
    for file in sources:
        for name, shape in file.all([name for name in ABUNDANCES if name != cube], (2, 3)):
            try:
                layout = _layout(shape, size, order, f"{name} of {file}")
            except CatalogError as error:
                wrong = error
                continue
            fits.append((Held(file.path, name, layout), _depth(shape, layout)))
            break
    if wrong and not fits:
        raise wrong
    found = _only(fits, sources[0].path)
    if found and ends and ends[1] != found[1]:
        raise CatalogError(f"abundances of {found[1]} and spectra of {ends[1]} endmembers: {found[0]}, {ends[0]}")
    return found


def _only(fits: list[_Fit], data: str) -> _Fit | None:
    """Return what is in the file of the cube, or else the only one."""
    if len(fits) > 1 and fits[0][0].path != data:
        shown = ", ".join(f"{fit[0].name} of {fit[0].path}" for fit in fits)
        raise CatalogError(f"several arrays may be meant, {shown}; say which files with truth=")
    return fits[0] if fits else None


def _check_truth(sources: list[MatFile], ends: object, shares: object, known: Published, look: Look) -> None:
    """Refuse files of ground truth without what they should hold."""
    if not look.needs_truth or not (known.truth or look.truth):
        return
    shown = "; ".join(map(str, sources[1:] or sources))
    if ends is None and (known.truth or shares is None):
        raise CatalogError(f"no endmembers, called {', '.join(ENDMEMBERS)}, in {shown}")
    if shares is None and known.truth and known.abundance:
        raise CatalogError(f"no abundances, called {', '.join(ABUNDANCES)}, in {shown}")


def _bands(sources: list[MatFile], channels: _Channels, most: float | None, known: Published, look: Look) -> Bands:
    waves, numbers = look.wavelengths, channels.numbers
    if waves is not None and len(waves) != len(numbers):
        raise BandsError(f"{len(waves)} wavelengths for {len(numbers)} channels; give one each, in nm")
    if waves is None:
        table = _wavelengths(sources) or known.wavelengths
        if len(table) == channels.total:
            waves = tuple(table[number - 1] for number in numbers)
        elif len(table) == len(numbers):
            waves = tuple(table)
    scale = 1 / most if most else 1.0
    return Bands(
        Band(str(number), wavelength=waves[i] if waves else None, scale=scale) for i, number in enumerate(numbers)
    )


def _wavelengths(sources: list[MatFile]) -> tuple[float, ...]:
    """Return centres in nm; files give micrometres or nm."""
    for file in sources:
        found = file.find(WAVELENGTHS, (1, 2))
        if found:
            values = np.asarray(file.load(found[0]), dtype=np.float64).ravel()
            return tuple((values * 1000 if values.max() < 100 else values).tolist())
    return ()


def _names(
    sources: list[MatFile],
    ends: tuple[Held, int, int] | None,
    shares: tuple[Held, int] | None,
    known: Published,
    look: Look,
) -> tuple[str, ...]:
    """Return the names of the endmembers, as written in the file but for the number before each."""
    count = ends[1] if ends else shares[1] if shares else 0
    written = next((arrays.load_texts(f.href, "cood", format="array") for f in sources if "cood" in f.held), None)
    if look.count and count and look.count != count:
        raise CatalogError(f"{look.count} endmembers were asked for, and there are {count} in {sources[-1]}")
    if not count:
        return ()
    if written is None:
        return known.names if len(known.names) == count else tuple(f"endmember {i}" for i in range(1, count + 1))
    if len(written) != count:
        raise ReadError(f"{len(written)} names for {count} endmembers: {sources[-1]}")
    return tuple(re.sub(r"^#?\d+\s*[-. ]\s*", "", name) for name in written)


def _places(channels: _Channels, ends: tuple[Held, int, int] | None) -> tuple[int, ...]:
    """Return the place of each channel among those of the endmembers, -1 for none."""
    if ends is not None and ends[2] == len(channels.kept):
        there = {number: i for i, number in enumerate(channels.kept)}
        return tuple(there.get(number, -1) for number in channels.numbers)
    return tuple(number - 1 for number in channels.numbers)


def check_order(root: Path, scene: Scene) -> None:
    """Look whether a matrix and abundances on a grid of their own fit pixel by pixel.

    Raises
    ------
    CatalogError
        If they fit better when the pixels of the matrix stand in the other order.
    """
    if not scene.other or scene.abundance is None:
        return
    shares = _pixels(root, scene.abundance, scene.abundance.layout, range(1, len(scene.names) + 1))
    left = {}
    for layout in (scene.cube.layout, scene.other):
        values = _pixels(root, scene.cube, layout, scene.indexes)
        mixed = np.linalg.lstsq(shares, values, rcond=None)[0]
        left[layout] = float(np.linalg.norm(values - shares @ mixed))
    if left[scene.other] < 0.8 * left[scene.cube.layout]:
        other = "columns" if "(h w" in scene.cube.layout else "rows"
        raise CatalogError(
            f"{scene.cube.name} of {scene.cube.path} does not fit its abundances pixel by pixel, and does so better if its pixels "
            f"stand by {other}; say order={other!r}"
        )


def _pixels(root: Path, held: Held, layout: str, indexes: Sequence[int]) -> NDArray[np.float64]:
    """Return (pixels, channels), row by row."""
    href = os.path.join(root, held.path)
    (_, height, width), _ = arrays.extent_of(href, held.name, layout, format="array")
    window = (0, 0, height, width)
    data = arrays.read(href, held.name, layout, window, indexes, validity="all", format="array").data
    return data.reshape(len(data), -1).T.astype(np.float64)
