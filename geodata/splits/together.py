"""Rows that must not be parted: groups of a column, and footprints that lie upon each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.catalog.overlaps import places
from geodata.errors import CatalogError, SplitError

__all__ = [
    "OVERLAPS",
    "Rows",
    "chains",
    "column_of",
    "components",
    "linked",
    "overlapping",
    "refuse_long",
    "too_long",
    "without_overlaps",
]

OVERLAPS = ("together", "drop", "allow")

Rows = NDArray[np.int64]


def components(n: int, i: Rows, j: Rows) -> Rows:
    """Return (n,) for each of n things the smallest of those that pairs i, j link it with, itself included."""
    label = np.arange(n)
    while True:
        low = np.minimum(label[i], label[j])
        new = label.copy()
        np.minimum.at(new, label[i], low)
        np.minimum.at(new, label[j], low)
        while ((shorter := new[new]) != new).any():
            new = shorter
        if (new == label).all():
            return label
        label = new


def linked(code: Rows, names: Sequence[str], *clusters: Rows) -> tuple[Rows, list[str]]:
    """Put labels into units: two are one unit if a cluster has rows of both.

    Parameters
    ----------
    code : (N,) position of each row's label in ``names``
    clusters : (N,) numbers that are equal within a cluster

    Returns
    -------
    unit : (N,) numbers 0..U-1
    names : U texts, the smallest name of each unit: it does not depend on the order of rows
    """
    m = len(names)
    found = np.arange(m)
    for numbers in clusters:
        _, cluster = np.unique(numbers, return_inverse=True)
        found = components(m + int(cluster.max(initial=-1)) + 1, found[code], cluster + m)[:m][found]
    order = np.array(sorted(range(m), key=names.__getitem__), dtype=np.int64)
    rank = np.empty(m, dtype=np.int64)
    rank[order] = np.arange(m)
    least = np.full(m, m)
    np.minimum.at(least, found, rank)
    kept, unit = np.unique(least[found[code]], return_inverse=True)
    return unit, [names[order[k]] for k in kept.tolist()]


def column_of(catalog: Catalog, group: Any, what: str = "group") -> NDArray[np.object_]:
    """Return (N,) texts of a column, of several columns together, or of values given one per row.

    Raises
    ------
    SplitError
        If there is no such column, it holds lists, or a value is missing.
    """
    if _columns(catalog, group):
        parts = [column_of(catalog, g, what) for g in group]
        return np.array([", ".join(values) for values in zip(*parts, strict=True)], dtype=object)
    if isinstance(group, str):
        try:
            found = catalog.column(group).tolist()
        except CatalogError as error:
            raise SplitError(f"{what}={group!r}: {error}") from None
    else:
        values = np.asarray(group)
        if values.shape != (len(catalog),):
            raise SplitError(
                f"{what} has shape {values.shape}, wanted a column name or one value for each of {len(catalog)} rows"
            )
        found = values.tolist()
    return _texts(catalog, found, what)


def _columns(catalog: Catalog, group: Any) -> bool:
    """Whether these are names of columns, not a value for each row."""
    if not isinstance(group, (list, tuple)) or not group or not all(isinstance(g, str) for g in group):
        return False
    return len(group) != len(catalog) or set(group) <= set(catalog.table.column_names)


def _texts(catalog: Catalog, values: list[Any], what: str) -> NDArray[np.object_]:
    lists = next((k for k, v in enumerate(values) if isinstance(v, (list, tuple, dict, set, np.ndarray))), None)
    if lists is not None:
        raise SplitError(
            f"{what} holds {values[lists]!r} in row {catalog.key[lists]!r}, wanted one value, such as text or a number"
        )
    none = [k for k, v in enumerate(values) if v is None or v != v]
    if none:
        raise SplitError(f"{what} is missing in {len(none)} of {len(catalog)} rows, first {catalog.key[none[0]]!r}")
    return np.array([str(v) for v in values], dtype=object)


def overlapping(catalog: Catalog, how: str) -> tuple[Rows, Rows, Rows]:
    """Return the place (N,) of each row, and the pairs of places that overlap; nothing of either with ``"allow"``."""
    if how not in OVERLAPS:
        raise SplitError(f"overlap={how!r} must be 'together', 'drop' or 'allow'")
    if how == "allow":
        nothing = np.empty(0, dtype=np.int64)
        return np.arange(len(catalog)), nothing, nothing
    return places(catalog)


def chains(place: Rows, i: Rows, j: Rows) -> Rows:
    """Return (N,) numbers that are equal for rows that pairs of places link."""
    linked_places: Rows = components(int(place.max(initial=-1)) + 1, i, j)[place]
    return linked_places


def refuse_long(catalog: Catalog, chain: Rows, smallest: float) -> None:
    """Refuse rows that overlap in a chain of more than half of the smallest part.

    Raises
    ------
    SplitError
        Naming the ends of the chain.
    """
    size = np.bincount(chain, minlength=1)
    if size.max() > max(smallest / 2, 1):
        raise too_long(catalog, np.flatnonzero(chain == int(np.argmax(size))), smallest)


def too_long(catalog: Catalog, rows: Rows, smallest: float) -> SplitError:
    """Return the error for rows that overlap in a chain that parts have no room for."""
    keys = sorted(catalog.key[rows].tolist())
    return SplitError(
        f"{len(keys)} of {len(catalog)} rows overlap each other in a chain, from {keys[0]!r} to {keys[-1]!r}, and the smallest "
        f"part is of {smallest:.0f}: together they cannot be shared out. Cut scenes first with catalog.tile(), or take "
        "overlap='drop', which drops rows that overlap another part"
    )


def without_overlaps(part: Rows, place: Rows, i: Rows, j: Rows) -> Rows:
    """Drop the rows that overlap one of a smaller part; of two parts of one size the later one counts as smaller."""
    order = np.argsort(-np.bincount(part[part >= 0]), kind="stable")
    rank = np.append(np.argsort(order), -1)[part]  # -1 of dropped rows is the last
    smallest = np.full(int(place.max(initial=-1)) + 1, -1)
    np.maximum.at(smallest, place, rank)
    around = smallest.copy()
    np.maximum.at(around, i, smallest[j])
    np.maximum.at(around, j, smallest[i])
    return np.where(rank < around[place], -1, part)
