"""How many pixels are valid, and how many of each class, in small cells of every item: read once, sampled from for ever."""

from __future__ import annotations

import hashlib
import math
import os
import sys
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.catalog.columns import row_numbers
from geodata.errors import ReadError, SamplerError
from geodata.query import Query

__all__ = ["PixelCounts", "count_pixels"]

BLOCK = 1024
"""Pixels: about the side of the blocks that are read at a time."""

_FORMAT = "geodata pixel counts 1"


@dataclass(frozen=True, eq=False)
class PixelCounts:
    """Pixels per cell of every row of a catalog; make it with `count_pixels`.

    Cells are squares of ``cell`` pixels from the upper left corner of a row; those at the right and lower edge may be
    smaller. The cells of a row follow each other line by line, row after row: M in all.

    Parameters
    ----------
    cell : int >= 1, pixels
    key : (N,) object, keys of the rows
    shape : (N, 2) int64, height and width of the rows, pixels
    valid : (M,) int32, valid pixels of each cell
    classes : (M, K) int32, pixels of each class in each cell; K is 0 without a mask
    names : names of the classes by value, or () if they have none

    Raises
    ------
    SamplerError
        If the arrays do not belong together.
    """

    cell: int
    key: NDArray[np.object_]
    shape: NDArray[np.int64]
    valid: NDArray[np.int32]
    classes: NDArray[np.int32]
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        cells = int(self.first[-1]) if self.cell >= 1 else -1
        wanted = (len(self.key), 2), (cells,), (cells, len(self.names) or self.classes.shape[-1])
        if (self.shape.shape, self.valid.shape, self.classes.shape) != wanted:
            raise SamplerError(
                f"counts of cells of {self.cell} pixels for {len(self.key)} rows have arrays of {self.shape.shape}, "
                f"{self.valid.shape} and {self.classes.shape}; make them with count_pixels"
            )

    @cached_property
    def grid(self) -> NDArray[np.int64]:
        """(N, 2) cells down and across each row."""
        return np.asarray(-(-self.shape // self.cell))

    @cached_property
    def first(self) -> NDArray[np.int64]:
        """(N + 1,) number of the first cell of each row, and M."""
        return np.concatenate([[0], np.cumsum(self.grid.prod(axis=1))])

    @cached_property
    def digest(self) -> str:
        """Fingerprint of the keys and shapes of the rows: what counts and a catalog must share."""
        return _digest(self.key, self.shape)

    @cached_property
    def content(self) -> str:
        """Fingerprint of all that is counted."""
        h = hashlib.sha256(f"{self.digest} {self.cell} {self.names}".encode())
        h.update(np.ascontiguousarray(self.valid).data)
        h.update(np.ascontiguousarray(self.classes).ravel().data)
        return h.hexdigest()[:16]

    @property
    def totals(self) -> NDArray[np.int64]:
        """(K,) pixels of each class."""
        return np.asarray(self.classes.sum(axis=0, dtype=np.int64))

    @property
    def per_row(self) -> NDArray[np.int64]:
        """(N, K) pixels of each class in each row."""
        return np.asarray(np.add.reduceat(self.classes, self.first[:-1], axis=0, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.key)

    def of(self, row: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return (down, across) valid pixels and (down, across, K) pixels of each class in the cells of a row."""
        cells = slice(int(self.first[row]), int(self.first[row + 1]))
        down, across = self.grid[row].tolist()
        return self.valid[cells].reshape(down, across), self.classes[cells].reshape(down, across, -1)

    def take(self, rows: Any) -> PixelCounts:
        """Return the counts of some rows, as ``dataset.take`` and ``dataset.split`` make them.

        Parameters
        ----------
        rows : whole numbers, (N,) bool, or a dataset or catalog
            A dataset's or catalog's rows are found by key: ``counts.take(ds.split(split)["train"])``. Of tiles made
            later nothing is known: count those anew.

        Raises
        ------
        CatalogError
            If there is no such row.
        SamplerError
            If the dataset or catalog has a key that was not counted.
        """
        catalog = rows if isinstance(rows, Catalog) else getattr(rows, "catalog", None)
        rows = row_numbers(rows, len(self)) if catalog is None else self._rows_of(catalog)
        sizes = self.grid[rows].prod(axis=1)
        cells = np.repeat(self.first[rows] - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
        return PixelCounts(
            self.cell, self.key[rows], self.shape[rows], self.valid[cells], self.classes[cells], self.names
        )

    def _rows_of(self, catalog: Catalog) -> NDArray[np.int64]:
        place = {key: i for i, key in enumerate(self.key)}
        missing = [key for key in catalog.key if key not in place]
        if missing:
            raise SamplerError(
                f"{len(missing)} of {len(catalog)} rows were not counted, first {missing[0]!r}; count this dataset anew"
            )
        return np.array([place[key] for key in catalog.key], dtype=np.int64)

    def check(self, catalog: Catalog) -> None:
        """Refuse a catalog that was not counted.

        Raises
        ------
        SamplerError
            If keys, shapes or the order of rows differ.
        """
        if _digest(catalog.key, catalog.shape) != self.digest:
            raise SamplerError(
                f"these counts are of other rows ({len(self)}) than the catalog ({len(catalog)}): counts.take(dataset) follows "
                "a part or another order of the rows that were counted; count other rows anew"
            )

    def save(self, path: str | Path) -> Path:
        """Write a ``.npz`` file that `load` opens; written beside and then moved into place."""
        path = Path(path)
        if path.suffix != ".npz":
            raise SamplerError(f"counts are written as .npz, got {str(path)!r}")
        text = "\n".join([*self.key, *self.names]).encode()
        beside = path.with_name(f"{path.name}.{os.getpid()}.new")
        arrays: dict[str, Any] = {"shape": self.shape, "valid": self.valid, "classes": self.classes}
        try:
            with open(beside, "wb") as file:
                np.savez_compressed(
                    file,
                    format=_FORMAT,
                    cell=self.cell,
                    names=len(self.names),
                    text=np.frombuffer(text, np.uint8),
                    **arrays,
                )
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
        return path

    @classmethod
    def load(cls, path: str | Path) -> PixelCounts:
        """Read what `save` wrote.

        Raises
        ------
        ReadError
            If the file is missing, damaged, or something else.
        SamplerError
            If its arrays do not belong together.
        """
        try:
            with open(path, "rb") as held, np.load(held, allow_pickle=False) as file:
                if str(file["format"]) != _FORMAT:
                    raise ReadError(f"{path} is of format {str(file['format'])!r}, not {_FORMAT!r}")
                texts = file["text"].tobytes().decode().split("\n")
                rest = {name: file[name] for name in ("shape", "valid", "classes")}
                cell, names = int(file["cell"]), int(file["names"])
        except (OSError, KeyError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise ReadError(f"{path} holds no counts of pixels: {error}; write it with counts.save") from None
        count = len(texts) - names
        return cls(cell, np.array(texts[:count], dtype=object), names=tuple(texts[count:]), **rest)

    def __repr__(self) -> str:
        cells, classes = self.classes.shape
        return f"PixelCounts({len(self)} rows, {cells} cells of {self.cell} pixels, {classes} classes)"


def _digest(key: NDArray[np.object_], shape: NDArray[np.int64]) -> str:
    h = hashlib.sha256("\n".join(key).encode())
    h.update(np.ascontiguousarray(shape).ravel().data)
    return h.hexdigest()[:16]


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
    if cell < 1:
        raise SamplerError(f"cell {cell} must be at least 1 pixel")
    names = tuple(getattr(dataset, "classes", None) or ())
    if names and classes is not None and classes != len(names):
        raise SamplerError(f"classes={classes}, but the dataset names {len(names)}: {', '.join(names[:4])}...")
    return catalog, names


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
