"""How many footprints of two parts lie upon each other: counted by place, so that series need no list of their pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.catalog.arrow import values_of
from geodata.catalog.footprint import Footprints
from geodata.catalog.overlaps import equal_rows, places
from geodata.errors import SplitError
from geodata.splits.together import components

__all__ = ["Meeting", "numbered"]

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Meeting:
    """Which of some rows lie upon each other.

    Parameters
    ----------
    rows : (n,) rows of the catalog, ascending
    place : (n,) which of P distinct footprints each has
    i, j : pairs of places that overlap
    same : (n,) equal numbers for equal footprints, to a thousandth of a pixel
    twin : (n,) equal numbers for rows of one footprint and time, -1 for rows of which that is not known
    """

    rows: Rows
    place: Rows
    i: Rows
    j: Rows
    same: Rows
    twin: Rows

    @classmethod
    def of(cls, catalog: Catalog, rows: Rows, footprints: Footprints, ids: Sequence[str]) -> Meeting:
        """Compare some rows of a catalog; where no time is known, the columns ``ids`` tell rows of one place apart."""
        some = catalog if len(rows) == len(catalog) else catalog.take(rows)
        place, i, j = places(some)
        first = np.zeros(int(place.max(initial=-1)) + 1, dtype=np.int64)
        first[place[::-1]] = np.arange(len(place))[::-1]
        alike = _same_place(footprints, rows[first[i]], rows[first[j]])
        same = components(len(first), i[alike], j[alike])[place]
        return cls(rows, place, i, j, same, _twins(some, same, ids))

    def counts(self, first: Rows, second: Rows) -> tuple[int, int, int, int]:
        """Return pairs that overlap, that are of one footprint, that are duplicates; and rows of second that overlap."""
        a, b = np.searchsorted(self.rows, first), np.searchsorted(self.rows, second)
        size = int(self.place.max(initial=-1)) + 1
        mine, theirs = (np.bincount(self.place[rows], minlength=size) for rows in (a, b))
        upon = int(mine @ theirs + mine[self.i] @ theirs[self.j] + mine[self.j] @ theirs[self.i])
        met = mine > 0
        met[self.i[mine[self.j] > 0]] = True
        met[self.j[mine[self.i] > 0]] = True
        return upon, _common(self.same[a], self.same[b]), _common(self.twin[a], self.twin[b]), int(theirs[met].sum())


def _common(a: Rows, b: Rows) -> int:
    """Return how many pairs of equal numbers there are; those below 0 equal none."""
    size = 1 + max(int(a.max(initial=-1)), int(b.max(initial=-1)))
    mine, theirs = (np.bincount(numbers[numbers >= 0], minlength=size) for numbers in (a, b))
    return int(mine @ theirs)


def _twins(catalog: Catalog, same: Rows, ids: Sequence[str]) -> Rows:
    known = np.isfinite(catalog.time).all(axis=1)
    names = np.column_stack([np.empty((len(same), 0), dtype=np.int64), *(numbered(catalog, n)[0] for n in ids)])
    told = known | (names >= 0).any(axis=1)
    names[known] = -1
    times = np.ascontiguousarray(catalog.time + 0.0).view(np.int64)
    return np.where(told, equal_rows(np.column_stack([same, times, names]))[0], -1)


def _same_place(fp: Footprints, i: Rows, j: Rows) -> NDArray[np.bool_]:
    """Return which pairs are the same pixels: one CRS, one shape, one transform to a thousandth of a pixel."""
    a, b = fp.affine[i], fp.affine[j]
    size = np.abs(a[:, [0, 1, 3, 4]]).max(axis=1, initial=0)[:, None]
    corners = [np.abs(a[:, k] - b[:, k]) for k in range(6)]
    steps = np.stack([corners[k] * fp.shape[i].max(axis=1, initial=1) for k in (0, 1, 3, 4)], axis=1)
    alike = (fp.code[i] == fp.code[j]) & (fp.shape[i] == fp.shape[j]).all(axis=1)
    same: NDArray[np.bool_] = alike & (np.column_stack([steps, corners[2], corners[5]]) <= 1e-3 * size).all(axis=1)
    return same


def numbered(catalog: Catalog, name: str) -> tuple[Rows, int]:
    """Return (N,) equal numbers for equal values of a column, -1 for null, and how many values there are.

    Raises
    ------
    CatalogError
        If there is no such column.
    SplitError
        If its values are lists or records.
    """
    if name not in catalog.table.column_names:
        catalog.column(name)  # says which there are
    column = catalog.table[name]
    if pa.types.is_nested(column.type):
        raise SplitError(f"column {name!r} holds {column.type}; ids must be single values")
    if pa.types.is_null(column.type):
        return np.full(len(catalog), -1), 0
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    chunks = coded.unify_dictionaries().chunks
    numbers = [values_of(chunk.indices, null=-1).astype(np.int64) for chunk in chunks]
    return np.concatenate([*numbers, np.empty(0, dtype=np.int64)]), len(chunks[0].dictionary) if chunks else 0
