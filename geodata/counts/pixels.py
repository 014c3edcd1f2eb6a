"""Counts of pixels per cell: what they are, parts of them, and their file."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.catalog.columns import row_numbers
from geodata.errors import ReadError, SamplerError

__all__ = ["PixelCounts"]

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
        """Return (down, across) valid pixels and (down, across, K) pixels of each class in the cells of a row.

        Raises
        ------
        CatalogError
            If there is no such row.
        """
        row = int(row_numbers([row], len(self))[0])
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
