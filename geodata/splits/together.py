"""Rows that must not be parted: groups of a column, and footprints that lie upon each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.catalog.overlaps import overlaps
from geodata.errors import CatalogError, SplitError

__all__ = ["OVERLAPS", "Rows", "column_of", "components", "linked", "overlapping"]

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
        If there is no such column, or a value is missing.
    """
    if (
        isinstance(group, (list, tuple))
        and group
        and all(isinstance(g, str) for g in group)
        and len(group) != len(catalog)
    ):
        parts = [column_of(catalog, g, what) for g in group]
        return np.array(["\t".join(values) for values in zip(*parts, strict=True)], dtype=object)
    if isinstance(group, str):
        try:
            values = catalog.column(group)
        except CatalogError as error:
            raise SplitError(f"{what}={group!r}: {error}") from None
    else:
        values = np.asarray(group)
        if values.shape != (len(catalog),):
            raise SplitError(
                f"{what} has shape {values.shape}, wanted a column name or one value for each of {len(catalog)} rows"
            )
    none = [k for k, v in enumerate(values.tolist()) if v is None or v != v]
    if none:
        raise SplitError(f"{what} is missing in {len(none)} of {len(catalog)} rows, first {catalog.key[none[0]]!r}")
    return np.array([str(v) for v in values.tolist()], dtype=object)


def overlapping(catalog: Catalog, how: str, shares: Mapping[str, float]) -> tuple[Rows, Rows, Rows]:
    """Return clusters (N,) of rows that overlap, and the pairs that do; nothing of either with ``"allow"``.

    Raises
    ------
    SplitError
        With ``"together"``, if a cluster holds more than half of what the smallest part wants.
    """
    if how not in OVERLAPS:
        raise SplitError(f"overlap={how!r} must be 'together', 'drop' or 'allow'")
    alone, nothing = np.arange(len(catalog)), np.empty(0, dtype=np.int64)
    if how == "allow":
        return alone, nothing, nothing
    i, j, _ = overlaps(catalog)
    if how == "drop":
        return alone, i, j
    clusters = components(len(catalog), i, j)
    size = np.bincount(clusters, minlength=1)
    wanted = min(shares.values()) * len(catalog)
    if size.max(initial=0) > wanted / 2 and size.max() > 1:
        members = np.flatnonzero(clusters == int(np.argmax(size)))
        raise SplitError(
            f"{len(members)} of {len(catalog)} rows overlap each other in a chain, from {catalog.key[members[0]]!r} to "
            f"{catalog.key[members[-1]]!r}, and the smallest part wants {wanted:.0f}: together they cannot be shared out. Cut "
            "scenes first with catalog.tile(), or take overlap='drop', which drops rows that overlap another part"
        )
    return clusters, i, j
