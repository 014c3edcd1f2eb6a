"""Datasets with a time axis: all dates of a place as one item."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from geodata.bands import Bands
from geodata.catalog import Catalog
from geodata.catalog.overlap import in_time
from geodata.composite import JoinedDataset
from geodata.dataset import Dataset
from geodata.errors import CatalogError, GridError, NoOverlapError, QueryError
from geodata.interval import Interval
from geodata.spot import Buffers, Slots, Spot

__all__ = ["SeriesDataset", "series", "stack"]


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

    dated = True

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
            return _chosen([np.array([r]) for r in self.groups[spot.row]], spot)
        if spot.items is not None:
            return _chosen(self._by_date(np.concatenate([self.groups[i] for i in spot.items])), spot)
        return _chosen(self._by_date(self._under(spot)), spot)

    def _by_date(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        dates, which = np.unique(self.base.catalog.time[rows], axis=0, return_inverse=True)
        return [rows[which == i] for i in range(len(dates))]

    def _under(self, spot: Spot) -> NDArray[np.int64]:
        """Rows of the base, of the series only, under a query by place."""
        found = self.base.catalog.search(spot.grid, time=spot.time)
        return found[np.isin(found, np.concatenate(self.groups))] if self.groups else found[:0]

    def _items_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        owner = np.repeat(np.arange(len(self.groups)), [len(g) for g in self.groups])
        flat = np.concatenate(self.groups)
        order = np.argsort(flat)
        return np.unique(owner[order[np.searchsorted(flat[order], rows)]])

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
        return self._fill_each(spot, out)

    def _fill_on(self, spot: Spot, out: Buffers, rows: NDArray[np.int64] | None = None) -> dict[str, Any]:
        return self._fill_each(Spot(spot.grid, spot.time, inside=spot.inside, items=spot.items, dates=spot.dates), out)

    def _fill_each(self, spot: Spot, out: Buffers) -> dict[str, Any]:
        rest: dict[str, Any] = {}
        times = []
        if spot.row is not None:
            group = np.concatenate(self._dates(spot))
            at_once = self.base._fill_dates(group, spot, out)
            if at_once is not None:
                return at_once | {"key": self.base.catalog.key[group[0]], **self._time(self.base.catalog.time[group])}
        for t, rows in enumerate(self._dates(spot)):
            part = {k: v[t] for k, v in out.items() if k in self.base._slots(Spot(spot.grid, spot.time))}
            if spot.row is not None:
                rest |= self.base._fill(Spot(spot.grid, spot.time, int(rows[0]), spot.window, spot.inside), part)
            else:
                rest |= self.base._fill_on(spot, part, rows)
            times.append(self.base.catalog.time[rows[0]])
        if not times:
            one = {k: np.empty(v.shape[1:], v.dtype) for k, v in out.items() if k in self.base._slots(spot)}
            rest = self.base._fill_on(Spot(spot.grid, spot.time), one, np.empty(0, dtype=np.int64))
            rest.pop("key", None)
        else:
            rest.setdefault("key", self.base.catalog.key[self._dates(spot)[0][0]])
        return rest | self._time(np.array(times).reshape(-1, 2))

    def _time(self, times: NDArray[np.float64]) -> dict[str, Any]:
        return {f"time_{self.name}" if self.name else "time": torch.from_numpy(times)}


def _chosen(dates: list[NDArray[np.int64]], spot: Spot) -> list[NDArray[np.int64]]:
    """Return the dates that a query asks for."""
    if spot.dates is None:
        return dates
    if not spot.dates or not all(0 <= t < len(dates) for t in spot.dates):
        raise QueryError(f"the query asks for dates {spot.dates} of a series with {len(dates)}, numbered from 0")
    return [dates[t] for t in spot.dates]


def stack(dataset: Dataset) -> Dataset:
    """Return one item of all rows, whatever their grids, to be read by place: one layer per date."""
    if isinstance(dataset, SeriesDataset):
        raise QueryError("a series has a time axis already; read it without stack=")
    if isinstance(dataset, JoinedDataset):
        lead = stack(dataset.lead)
        _refuse_pairs(dataset)
        return JoinedDataset(lead, dataset.links).transformed(dataset.transforms)
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
        return JoinedDataset(lead, dataset.links).transformed(dataset.transforms)
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
