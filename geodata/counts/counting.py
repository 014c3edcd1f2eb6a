"""Counting pixels: one pass over a dataset, block by block."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.counts.pixels import PixelCounts
from geodata.errors import SamplerError
from geodata.query import Query

__all__ = ["count_pixels"]

BLOCK = 1024
"""Pixels: about the side of the blocks that are read at a time."""


def count_pixels(dataset: Any, *, cell: int = 16, classes: int | None = None, progress: bool = False) -> PixelCounts:
    """Count valid pixels and pixels of each class per cell, in one pass over a dataset.

    Blocks of about 1024 pixels are read at a time. A pixel is valid where the first ``valid`` of the sample says so: of
    several resolutions the finest, of a series any date. Negative values of a mask are of no class, and a class counts
    whether or not the image is valid there. Counts of a part come from `PixelCounts.take`, or from counting the part.

    Parameters
    ----------
    dataset : Dataset, without transforms
    cell : int >= 1
        Side of a cell in pixels. The counts take 4 (K + 1) bytes per cell.
    classes : int or None
        How many classes the mask has; None takes ``dataset.classes``, which a mask then must have.
    progress : bool
        Show a bar on a terminal's error stream.

    Raises
    ------
    SamplerError
        If the dataset has transforms or no pixels, makes neither ``valid`` nor ``mask``, or the number of classes is not
        known or too small.
    """
    catalog, names = _countable(dataset, cell, classes)
    number = len(names) or classes
    shape = np.array(catalog.shape, dtype=np.int64)
    grid = -(-shape // cell)
    first = np.concatenate([[0], np.cumsum(grid.prod(axis=1))])
    valid = np.zeros(first[-1], dtype=np.int32)
    of_class: NDArray[np.int32] | None = None
    step = int(getattr(dataset, "step", 1))
    for row in _shown(range(len(catalog)), progress):
        across = int(grid[row, 1])
        for window in _blocks(shape[row].tolist(), math.lcm(cell, step), step):
            seen, mask = _read(dataset, row, window, shape[row].tolist())
            r, c = window[0] // cell, window[1] // cell
            down, wide = -(-seen.shape[0] // cell), -(-seen.shape[1] // cell)
            cells = first[row] + (r + np.arange(down))[:, None] * across + c + np.arange(wide)
            valid[cells] = _per_cell(seen, cell)
            if mask is None:
                continue
            number = _checked(mask, number, catalog.key[row])
            of_class = np.zeros((len(valid), number), dtype=np.int32) if of_class is None else of_class
            of_class[cells.ravel()] = _per_class(mask, cell, number)
    if of_class is None:
        of_class, names = np.zeros((len(valid), 0), dtype=np.int32), ()
    return PixelCounts(cell, catalog.key, shape, valid, of_class, names)


def _countable(dataset: Any, cell: int, classes: int | None) -> tuple[Catalog, tuple[str, ...]]:
    catalog = getattr(dataset, "catalog", None)
    if not isinstance(catalog, Catalog) or not catalog.lattice or not len(catalog):
        raise SamplerError(f"counting needs a dataset with rows of pixels, got {type(dataset).__name__}")
    if getattr(dataset, "transforms", None) is not None:
        raise SamplerError("transforms may move or change pixels: count ds.transformed(None) instead")
    if not _whole(cell):
        raise SamplerError(f"cell={cell!r} must be a whole number of at least 1 pixel")
    if classes is not None and not _whole(classes):
        raise SamplerError(f"classes={classes!r} must be a whole number of at least 1, or None")
    names = tuple(getattr(dataset, "classes", None) or ())
    if names and classes is not None and classes != len(names):
        raise SamplerError(f"classes={classes}, but the dataset names {len(names)}: {', '.join(names[:4])}...")
    return catalog, names


def _whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


def _shown(rows: range, progress: bool) -> Iterable[int]:
    if progress and sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track

        return track(rows, "Counting pixels", console=Console(stderr=True))
    return rows


def _blocks(shape: list[int], unit: int, step: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield windows over a row, of whole cells and native pixels; the last ones may reach out by less than a native pixel."""
    side = max(BLOCK // unit, 1) * unit
    height, width = shape
    for r in range(0, height, side):
        for c in range(0, width, side):
            h, w = (-(-min(side, n - at) // step) * step for n, at in ((height, r), (width, c)))
            yield r, c, h, w


def _read(
    dataset: Any, row: int, window: tuple[int, int, int, int], shape: list[int]
) -> tuple[NDArray[np.bool_], NDArray[np.int64] | None]:
    """Return which pixels of a block are valid, and their classes; without what lies outside of the row."""
    sample = dataset[Query(row=row, window=window)]
    keys = [k for k in sample if k.startswith("valid")]
    masks = [k for k in sample if k.startswith("mask") and not k.startswith("mask_time")]
    if not keys and not masks:
        raise SamplerError(f"samples of {dataset!r} have neither 'valid' nor 'mask': there is nothing to count")
    r, c, h, w = window
    inside = min(h, shape[0] - r), min(w, shape[1] - c)
    mask = None if not masks else _enlarged(np.asarray(sample[masks[0]]), (h, w))[: inside[0], : inside[1]]
    if not keys and mask is not None:
        return mask >= 0, mask
    dates = np.asarray(sample[keys[0]])
    seen = np.logical_or.reduce(dates.reshape(-1, *dates.shape[-2:]), axis=0)
    return _enlarged(seen, (h, w))[: inside[0], : inside[1]], mask


def _enlarged(array: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Return an array of coarser native pixels on the pixels of the window."""
    if array.ndim != 2 or size[0] % array.shape[0] or size[1] % array.shape[1]:
        raise SamplerError(
            f"an array of {array.shape} pixels in a sample of a window of {size}; counting needs one plane"
        )
    return array.repeat(size[0] // array.shape[0], axis=0).repeat(size[1] // array.shape[1], axis=1)


def _checked(mask: NDArray[np.int64], classes: int | None, key: str) -> int:
    if classes is None:
        raise SamplerError("the mask's classes have no names; say how many there are: count_pixels(ds, classes=...)")
    if mask.max(initial=-1) >= classes:
        raise SamplerError(
            f"the mask of {key!r} holds class {int(mask.max())}, but there are {classes}, 0 to {classes - 1}; "
            "give classes=, or let the dataset ignore that value"
        )
    return classes


def _per_cell(seen: NDArray[np.bool_], cell: int) -> NDArray[np.int64]:
    """Sum a block over its cells."""
    lines = np.add.reduceat(seen, np.arange(0, seen.shape[0], cell), axis=0, dtype=np.int64)
    return np.asarray(np.add.reduceat(lines, np.arange(0, seen.shape[1], cell), axis=1))


def _per_class(mask: NDArray[np.int64], cell: int, classes: int) -> NDArray[np.int64]:
    """Count the classes of a block, (cells, K)."""
    across = -(-mask.shape[1] // cell)
    place = (np.arange(mask.shape[0]) // cell)[:, None] * across + np.arange(mask.shape[1]) // cell
    cells = int(place[-1, -1]) + 1
    flat = (place * classes + mask)[mask >= 0]
    return np.bincount(flat, minlength=cells * classes).reshape(cells, classes)
