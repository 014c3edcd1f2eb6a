"""Datasets made of datasets: joins by place and by column."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from geodata.bands import Bands
from geodata.catalog import Catalog
from geodata.catalog.search import joined_rows, nearest_miss
from geodata.dataset import Dataset
from geodata.errors import CatalogError, GridError, NoOverlapError, QueryError
from geodata.spot import Buffers, Slots, Spot

__all__ = ["JoinedDataset", "Link", "join"]


@dataclass(frozen=True)
class Link:
    """A dataset that follows the leading one.

    Parameters
    ----------
    dataset : Dataset
    rows : (N,) its row for each leading row, or None to look by place
    """

    dataset: Dataset
    rows: NDArray[np.int64] | None = None

    def follow(self, spot: Spot) -> Spot:
        """Return where this dataset is read for a spot of the leading one."""
        row = spot.row if spot.items is None else int(spot.items[0])
        items = None if self.rows is None or row is None else self.rows[[row]]
        return Spot(spot.grid, spot.time, inside=spot.inside, items=items)

    def taken(self, parents: NDArray[np.int64]) -> Link:
        """Follow a leading dataset whose rows were taken or tiled."""
        return self if self.rows is None else replace(self, rows=self.rows[parents])


class JoinedDataset(Dataset):
    """Rows, grids, keys and times of a leading dataset; samples of it and of all that follow.

    Made by ``a & b`` or `Dataset.join`.
    """

    def __init__(self, lead: Dataset, links: Sequence[Link]) -> None:
        super().__init__(lead.catalog, transforms=None)
        self.lead = lead
        self.links = tuple(links)
        self.step = math.lcm(lead.step, *(link.dataset.step for link in self.links))
        self.dated = lead.dated
        self._view = lead._view

    @property
    def bands(self) -> Bands | None:
        """Bands of the first image."""
        return next((d.bands for d in self._parts if d.bands is not None), None)

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Class names of the first mask that has any."""
        return next((d.classes for d in self._parts if d.classes is not None), None)

    @property
    def keys(self) -> tuple[str, ...]:
        """Sample keys of all parts."""
        return tuple(k for d in self._parts for k in d.keys)

    @property
    def _parts(self) -> list[Dataset]:
        return [self.lead, *(link.dataset for link in self.links)]

    def _taken(self, catalog: Catalog, parents: NDArray[np.int64]) -> Self:
        new = copy(self)
        new.catalog = catalog
        new.lead = self.lead._taken(catalog, parents)
        new.links = tuple(link.taken(parents) for link in self.links)
        return new

    def named(self, name: str) -> Self:
        """Refuse: a join has several images, and each needs a name of its own."""
        raise QueryError(f"name the parts before joining them: a.named({name!r}) & b")

    def _under(self, spot: Spot) -> NDArray[np.int64]:
        return self.lead._under(spot)

    @property
    def _slots_by_shape(self) -> bool:
        return all(d._slots_by_shape for d in self._parts)

    def _slots(self, spot: Spot) -> Slots:
        slots: Slots = dict(self.lead._slots(spot))
        for link in self.links:
            slots |= link.dataset._slots(link.follow(spot))
        return slots

    def _fill(self, spot: Spot, out: Buffers) -> dict[str, Any]:
        rest: dict[str, Any] = {}
        if spot.inside is None:
            spot.inside = self.catalog.grid(spot.row)  # type: ignore[arg-type]
        for link in self.links:
            if link.rows is None:
                rest |= link.dataset._fill_on(link.follow(spot), out)
            else:
                rest |= _fill_paired(link.dataset, int(link.rows[spot.row]), self.catalog, spot, out)
        return rest | self.lead._fill(spot, out)

    def _fill_on(self, spot: Spot, out: Buffers, rows: NDArray[np.int64] | None = None) -> dict[str, Any]:
        found = self._under(spot) if rows is None else rows
        items = spot.items if spot.items is not None else np.unique(self.lead._items_of(found))
        rest: dict[str, Any] = {}
        for link in self.links:
            if link.rows is not None and len(items) > 1:
                raise QueryError(
                    f"{len(items)} items lie under this query, and the other side is paired with each by column: which pair "
                    "shows where cannot be said; read items or windows of them, or join by place"
                )
            paired = None if link.rows is None else link.rows[items]
            own = Spot(spot.grid, spot.time, inside=spot.inside, items=paired)
            rest |= link.dataset._fill_on(own, out, paired)
        return rest | self.lead._fill_on(spot, out, found)

    def union(self, other: Dataset, *, reindex: bool = False) -> Dataset:
        """Return the rows of both; parts are put together in order."""
        if not isinstance(other, JoinedDataset) or len(self.links) != len(other.links):
            return super().union(other, reindex=reindex)
        if self.transforms != other.transforms:
            raise CatalogError(
                "the two joins have different transforms; give them to the union: (a | b).transformed(t)"
            )
        n = len(self.catalog)
        lead = self.lead.union(other.lead, reindex=reindex)
        links = []
        for mine, theirs in zip(self.links, other.links, strict=True):
            if (mine.rows is None) != (theirs.rows is None):
                raise CatalogError("one side is joined by place and the other by column; join both the same way")
            # Parts of one join follow the same dataset, which is not put together with itself.
            same = mine.dataset is theirs.dataset
            rows = None
            if mine.rows is not None and theirs.rows is not None:
                rows = np.concatenate([mine.rows, theirs.rows + (0 if same else len(mine.dataset))])
            both = mine.dataset if same else mine.dataset.union(theirs.dataset, reindex=reindex)
            links.append(Link(both, rows))
        if len(lead) != n + len(other.catalog):
            raise CatalogError("rows were lost in the union")
        return JoinedDataset(lead, links).transformed(self.transforms)

    def __repr__(self) -> str:
        return " & ".join(repr(d) for d in self._parts)


def _fill_paired(dataset: Dataset, row: int, lead: Catalog, spot: Spot, out: Buffers) -> dict[str, Any]:
    """Read the paired row: the same window where it shares the lattice, else by place."""
    mine, theirs = lead.grid(spot.row), dataset.catalog.grid(row)  # type: ignore[arg-type]
    offset = mine.offset_in(theirs)
    if offset is not None and spot.window is not None and dataset.catalog.lattice:
        r, c, height, width = spot.window
        window = (r + offset[0], c + offset[1], height, width)
        return dataset._fill(Spot(spot.grid, spot.time, row, window, spot.inside), out)
    if mine.crs is None or theirs.crs is None:
        raise GridError(
            f"rows paired by column have {mine.height}x{mine.width} and {theirs.height}x{theirs.width} pixels and no CRS to "
            "bring one onto the other; read them as two datasets, or bring them to one shape first"
        )
    own = Spot(spot.grid, spot.time, inside=spot.inside, items=np.array([row]))
    return dataset._fill_on(own, out, own.items)


def join(lead: Dataset, other: Dataset, *, how: str, on: str | None) -> Dataset:
    """Join two datasets; see `Dataset.join`."""
    if on is not None and how != "intersects":
        raise QueryError(f"how={how!r} is for joins by place; with on={on!r} rows are paired by value")
    if on is None:
        rows = joined_rows(lead.catalog, other.catalog, how)
        if not len(rows):
            raise _apart(lead.catalog, other.catalog, how)
        link = Link(other)
    else:
        rows, pairs = _paired(lead.catalog, other.catalog, on)
        link = Link(other, pairs)
    kept = lead if len(rows) == len(lead) else lead.take(rows)
    if isinstance(kept, JoinedDataset):
        return JoinedDataset(kept.lead, [*kept.links, link])
    return JoinedDataset(kept, [link])


def _apart(lead: Catalog, other: Catalog, how: str) -> NoOverlapError:
    if not len(lead):
        return NoOverlapError("the leading dataset is empty; nothing can be joined to it")
    if how == "within" and len(joined_rows(lead, other, "intersects")):
        return NoOverlapError(
            f"none of {len(lead)} items is wholly covered by the other's {len(other)}; how='intersects' asks less"
        )
    miss = nearest_miss(other, lead.grid(0), lead.interval(0))
    return NoOverlapError(f"no item meets the other dataset; for the first, {lead.key[0]!r}: {miss}")


def _paired(lead: Catalog, other: Catalog, on: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    mine, theirs = lead.column(on).tolist(), other.column(on).tolist()
    position = {value: i for i, value in enumerate(theirs)}
    if len(position) != len(theirs):
        raise CatalogError(f"column {on!r} of the second dataset repeats values, so rows cannot be paired by it")
    rows = np.array([i for i, value in enumerate(mine) if value in position], dtype=np.int64)
    if not len(rows):
        raise NoOverlapError(f"no value of {on!r} is in both: first {mine[:1]} and {theirs[:1]}")
    pairs = np.array([position[mine[i]] for i in rows], dtype=np.int64)
    if not (lead.has_crs and other.has_crs):
        unequal = (lead.shape[rows] != other.shape[pairs]).any(axis=1) | (lead.affine[rows] != other.affine[pairs]).any(
            axis=1
        )
        if unequal.any():
            i = int(np.argmax(unequal))
            raise GridError(
                f"item {lead.key[rows[i]]!r} has {lead.shape[rows[i]].tolist()} pixels and its pair {other.shape[pairs[i]].tolist()}, and no CRS "
                "says how one lies on the other; read them as two datasets, or bring them to one shape first"
            )
    return rows, pairs
