"""Labels of rows, however they are written: one class, several, or an amount of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.catalog.arrow import values_of
from geodata.errors import SplitError

__all__ = ["MOST", "Labels", "labels_of"]

MOST = 4096
"""Classes; a column with more distinct values is hardly one of labels."""


@dataclass(frozen=True, eq=False)
class Labels:
    """What N rows carry.

    Parameters
    ----------
    names : K class names
    row, code : (M,) int64, one entry for each class that a row carries: the row, ascending, and the position in ``names``
    amount : (M,) float64 above 0, or None: how much of the class, as in a histogram of pixels; None is 1 throughout
    rows : N
    """

    names: tuple[str, ...]
    row: NDArray[np.int64]
    code: NDArray[np.int64]
    amount: NDArray[np.float64] | None
    rows: int

    @property
    def graded(self) -> bool:
        """Whether there are amounts, not only classes that are there or not."""
        return self.amount is not None

    def totals(self, group: NDArray[np.int64], groups: int) -> NDArray[np.float64]:
        """Return (groups, K) the sum of each class over the rows of each group; -1 is no group.

        Rows in another order have the same sums, to the last bit.
        """
        mine = group[self.row]
        kept = mine >= 0
        cell = mine[kept].astype(np.int64) * len(self.names) + self.code[kept]
        weights = None if self.amount is None else self.amount[kept]
        if weights is not None and (weights != np.rint(weights)).any():
            order = np.lexsort((weights, cell))
            cell, weights = cell[order], weights[order]
        size = groups * len(self.names)
        return np.bincount(cell, weights, minlength=size).astype(np.float64).reshape(groups, len(self.names))

    def dense(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return (n, K) what some rows carry; rows may repeat."""
        wanted, place = np.unique(rows, return_inverse=True)
        position = np.full(self.rows, -1)
        position[wanted] = np.arange(len(wanted))
        kept = np.flatnonzero(position[self.row] >= 0)
        table = np.zeros((len(wanted), len(self.names)), dtype=np.float32)
        table[position[self.row[kept]], self.code[kept]] = 1 if self.amount is None else self.amount[kept]
        dense: NDArray[np.float32] = table[place]
        return dense


def labels_of(catalog: Catalog, labels: Any) -> Labels:
    """Return the labels of every row.

    Parameters
    ----------
    labels : name of a column, (N, K) array of amounts, at least 0, or what `geodata.count_pixels` counted
        A column holds one class per row (text, whole numbers or booleans) or a list of classes. Null and an empty list
        are rows without label.

    Raises
    ------
    CatalogError
        If there is no such column.
    SplitError
        If a column holds something else or more than 4,096 classes, or the array is not (N, K), finite and >= 0.
    """
    if isinstance(labels, str):
        if labels not in catalog.table.column_names:
            catalog.column(labels)  # says which there are
        return _of_column(labels, catalog.table[labels])
    counts = labels if hasattr(labels, "per_row") else None
    if counts is not None:
        counts = counts.take(catalog)
    amounts = np.asarray(labels if counts is None else counts.per_row)
    if amounts.ndim != 2 or len(amounts) != len(catalog) or amounts.dtype.kind not in "biuf":
        raise SplitError(
            f"labels of shape {amounts.shape} and type {amounts.dtype}; give the name of a column, or numbers of shape "
            f"({len(catalog)}, classes), one row for each of the catalog"
        )
    if not np.isfinite(amounts).all() or (amounts < 0).any():
        raise SplitError("labels hold amounts that are below 0 or not finite; give counts or shares of each class")
    row, code = np.nonzero(amounts)
    names = tuple(counts.names if counts is not None and counts.names else map(str, range(amounts.shape[1])))
    return Labels(names, row, code, amounts[row, code].astype(np.float64), len(amounts))


def _of_column(name: str, column: pa.ChunkedArray) -> Labels:
    n, kind = len(column), column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        lengths = [values_of(pc.list_value_length(chunk), 0).astype(np.int64) for chunk in column.chunks]
        row = np.repeat(np.arange(n), np.concatenate([*lengths, np.empty(0, dtype=np.int64)]))
        column = pa.chunked_array([pc.list_flatten(chunk) for chunk in column.chunks], kind.value_type)
    else:
        row = np.arange(n)
    codes, names = _encoded(name, column)
    known = codes >= 0
    entry = np.sort(row[known] * max(len(names), 1) + codes[known])
    entry = entry[np.diff(entry, prepend=-1) > 0]
    return Labels(names, entry // max(len(names), 1), entry % max(len(names), 1), None, n)


def _encoded(name: str, column: pa.ChunkedArray) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return (M,) positions in the names, which are sorted, -1 for null; and the names."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not (text or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        raise SplitError(
            f"column {name!r} holds {column.type}, not labels; give a column of text, whole numbers or lists of them, "
            "or an array with the amount of each class"
        )
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    chunks = coded.unify_dictionaries().chunks
    held = chunks[0].dictionary.to_pylist() if chunks else []
    positions = [values_of(chunk.indices, null=-1).astype(np.int64) for chunk in chunks]
    indices = np.concatenate([*positions, np.empty(0, dtype=np.int64)])
    used = np.flatnonzero(np.bincount(indices[indices >= 0], minlength=len(held)))
    used = np.array([k for k in used.tolist() if held[k] is not None], dtype=np.int64)  # a dictionary may hold null
    if len(used) > MOST:
        raise SplitError(f"column {name!r} has {len(used)} distinct values, more than {MOST}; is it one of labels?")
    order = sorted(used.tolist(), key=lambda k: held[k])
    place = np.full(len(held) + 1, -1)
    place[order] = np.arange(len(order))
    return place[indices], tuple(str(held[k]) for k in order)
