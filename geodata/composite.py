"""Datasets made of datasets: joins, and series of dates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from geodata.bands import Bands
from geodata.catalog import Catalog
from geodata.catalog.overlap import in_time
from geodata.catalog.search import joined_rows, nearest_miss
from geodata.dataset import Dataset
from geodata.errors import CatalogError, GridError, NoOverlapError, QueryError
from geodata.interval import Interval
from geodata.spot import Buffers, Slots, Spot

__all__ = ["JoinedDataset", "SeriesDataset", "join", "series"]


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

    def _slots(self, spot: Spot) -> Slots:
        slots: Slots = {}
        for part in self._parts:
            slots |= part._slots(spot if part is self.lead else Spot(spot.grid, spot.time))
        return slots

    def _fill(self, spot: Spot, out: Buffers) -> dict[str, Any]:
        rest: dict[str, Any] = {}
        if spot.inside is None:
            spot.inside = self.catalog.grid(spot.row)  # type: ignore[arg-type]
        for link in self.links:
            if link.rows is None:
                rest |= link.dataset._fill_on(Spot(spot.grid, spot.time, inside=spot.inside), out)
            else:
                rest |= _fill_paired(link.dataset, int(link.rows[spot.row]), self.catalog, spot, out)
        return rest | self.lead._fill(spot, out)

    def _fill_on(self, spot: Spot, out: Buffers, rows: NDArray[np.int64] | None = None) -> dict[str, Any]:
        found = self._under(spot) if rows is None else rows
        rest: dict[str, Any] = {}
        for link in self.links:
            if link.rows is not None and len(found) > 1:
                raise QueryError(
                    f"{len(found)} items lie under this query, and the other side is paired with each by column: which pair "
                    "shows where cannot be said; read items or windows of them, or join by place"
                )
            rest |= link.dataset._fill_on(spot, out, None if link.rows is None else link.rows[found])
        return rest | self.lead._fill_on(spot, out, found)

    def union(self, other: Dataset, *, reindex: bool = False) -> Dataset:
        """Return the rows of both; parts are put together in order."""
        if not isinstance(other, JoinedDataset) or len(self.links) != len(other.links):
            return super().union(other, reindex=reindex)
        n = len(self.catalog)
        lead = self.lead.union(other.lead, reindex=reindex)
        links = []
        for mine, theirs in zip(self.links, other.links, strict=True):
            if (mine.rows is None) != (theirs.rows is None):
                raise CatalogError("one side is joined by place and the other by column; join both the same way")
            rows = None
            if mine.rows is not None and theirs.rows is not None:
                rows = np.concatenate([mine.rows, theirs.rows + len(mine.dataset)])
            links.append(Link(mine.dataset.union(theirs.dataset, reindex=reindex), rows))
        if len(lead) != n + len(other.catalog):
            raise CatalogError("rows were lost in the union")
        return JoinedDataset(lead, links)

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
    return dataset._fill_on(spot, out, np.array([row]))


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
    if how == "within" and len(joined_rows(lead, other, "intersects")):
        return NoOverlapError(
            f"none of {len(lead)} items is wholly covered by the other's {len(other)}; how='intersects' asks less"
        )
    miss = nearest_miss(other, lead.grid(0), lead.interval(0)) if len(lead) else "the leading dataset is empty"
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


class SeriesDataset(Dataset):
    """Items with all their dates. Made by `Dataset.series`.

    Parameters
    ----------
    base : Dataset over one row per date
    groups : rows of ``base`` for each item, in time order
    catalog : one row per item
    """

    def __init__(self, base: Dataset, groups: Sequence[NDArray[np.int64]], catalog: Catalog) -> None:
        super().__init__(catalog, name=base.name, transforms=base.transforms)
        self.base, self.groups, self.step = base, list(groups), base.step
        self._view = base._view

    @property
    def bands(self) -> Bands | None:
        """Bands of every date."""
        return self.base.bands

    @property
    def keys(self) -> tuple[str, ...]:
        """Sample keys, as of one date."""
        return self.base.keys

    def _taken(self, catalog: Catalog, parents: NDArray[np.int64]) -> Self:
        new = copy(self)
        groups = [self.groups[p] for p in parents]
        flat = np.concatenate(groups) if groups else np.empty(0, dtype=np.int64)
        owner = np.repeat(np.arange(len(groups)), [len(g) for g in groups])
        moved = catalog.origin[owner] - self.catalog.origin[parents[owner]]
        rows = self.base.catalog.take(flat)
        rows = replace(rows, footprints=catalog.footprints.take(owner), origin=rows.origin + moved)
        new.base = self.base._taken(rows, flat)
        new.groups = np.split(np.arange(len(flat)), np.cumsum([len(g) for g in groups])[:-1]) if groups else []
        new.catalog = catalog
        return new

    def _dates(self, spot: Spot) -> list[NDArray[np.int64]]:
        """Rows of the base per date."""
        if spot.row is not None:
            return [np.array([r]) for r in self.groups[spot.row]]
        return self._by_date(self._under(spot))

    def _by_date(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        dates, which = np.unique(self.base.catalog.time[rows], axis=0, return_inverse=True)
        return [rows[which == i] for i in range(len(dates))]

    def _under(self, spot: Spot) -> NDArray[np.int64]:
        """Rows of the base, of the series only, under a query by place."""
        found = self.base.catalog.search(spot.grid, time=spot.time)
        return found[np.isin(found, np.concatenate(self.groups))] if self.groups else found[:0]

    def named(self, name: str) -> Self:
        """Return the series with ``_<name>`` at the end of all its keys."""
        new = copy(self)
        new.base = self.base.named(name)
        new.name = name
        return new

    def _slots(self, spot: Spot) -> Slots:
        n = len(self._dates(spot))
        return {k: ((n, *shape), d) for k, (shape, d) in self.base._slots(Spot(spot.grid, spot.time)).items()}

    def _fill(self, spot: Spot, out: Buffers) -> dict[str, Any]:
        return self._fill_dates(spot, out)

    def _fill_on(self, spot: Spot, out: Buffers, rows: NDArray[np.int64] | None = None) -> dict[str, Any]:
        return self._fill_dates(Spot(spot.grid, spot.time, inside=spot.inside), out)

    def _fill_dates(self, spot: Spot, out: Buffers) -> dict[str, Any]:
        rest: dict[str, Any] = {}
        times = []
        for t, rows in enumerate(self._dates(spot)):
            part = {k: v[t] for k, v in out.items() if k in self.base._slots(Spot(spot.grid, spot.time))}
            if spot.row is not None:
                rest |= self.base._fill(Spot(spot.grid, spot.time, int(rows[0]), spot.window, spot.inside), part)
            else:
                rest |= self.base._fill_on(spot, part, rows)
            times.append(self.base.catalog.time[rows[0]])
        if times:
            rest.setdefault("key", self.base.catalog.key[self._dates(spot)[0][0]])
        rest["time" if not self.name else f"time_{self.name}"] = torch.from_numpy(np.array(times).reshape(-1, 2))
        return rest


def stack(dataset: Dataset) -> Dataset:
    """Return one item of all rows, whatever their grids, to be read by place: one layer per date."""
    if isinstance(dataset, JoinedDataset):
        lead = stack(dataset.lead)
        _refuse_pairs(dataset)
        return JoinedDataset(lead, dataset.links)
    rows = np.arange(len(dataset))
    return SeriesDataset(dataset, [rows], dataset.catalog.take(rows[:1]))


def _refuse_pairs(dataset: JoinedDataset) -> None:
    if any(link.rows is not None for link in dataset.links):
        raise QueryError(
            "these rows are paired one by one; make a series of each side first: a.series() & b.series().named('b')"
        )


def series(dataset: Dataset, by: str, *, max_len: int | None, time: Any) -> Dataset:
    """Group rows into series; see `Dataset.series`."""
    if isinstance(dataset, SeriesDataset):
        raise QueryError("this is a series already")
    if max_len is not None and max_len < 1:
        raise QueryError(f"max_len {max_len} must be at least 1")
    if isinstance(dataset, JoinedDataset):
        lead = series(dataset.lead, by, max_len=max_len, time=time)
        if not isinstance(lead, SeriesDataset):
            raise CatalogError("the leading dataset of a join makes no series")
        _refuse_pairs(dataset)
        return JoinedDataset(lead, dataset.links)
    catalog = dataset.catalog
    rows = np.flatnonzero(in_time(catalog.time, Interval.parse(time)))
    rows = rows[np.lexsort((catalog.time[rows, 1], catalog.time[rows, 0]))]
    groups = [_thinned(g, max_len) for g in _grouped(catalog, rows, by)]
    if not groups:
        raise NoOverlapError(f"no item lies in time {Interval.parse(time)!r}")
    firsts = np.array([g[0] for g in groups], dtype=np.int64)
    spans = np.array([[catalog.time[g, 0].min(), catalog.time[g, 1].max()] for g in groups])
    return SeriesDataset(dataset, groups, replace(catalog.take(firsts), time=spans))


def _grouped(catalog: Catalog, rows: NDArray[np.int64], by: str) -> list[NDArray[np.int64]]:
    fp = catalog.footprints
    lattice = [(fp.affine[r].tobytes(), fp.shape[r].tobytes(), int(fp.code[r])) for r in rows]
    labels = lattice if by == "location" else catalog.column(by)[rows].tolist()
    found: dict[Any, list[int]] = {}
    for i, label in enumerate(labels):
        found.setdefault(label, []).append(i)
    for label, members in found.items():
        if len({lattice[i] for i in members}) > 1:
            keys = [catalog.key[rows[i]] for i in members[:2]]
            raise GridError(
                f"rows with {by} = {label!r} lie on different grids ({keys[0]!r}, {keys[1]!r}); a series needs one grid"
            )
    order = sorted(found.values(), key=lambda members: int(rows[members].min()))
    return [rows[members] for members in order]


def _thinned(rows: NDArray[np.int64], most: int | None) -> NDArray[np.int64]:
    if most is None or len(rows) <= most:
        return rows
    kept: NDArray[np.int64] = rows[np.unique(np.rint(np.linspace(0, len(rows) - 1, most)).astype(int))]
    return kept
