"""What stands between the brackets of ``ds[...]``, as a query, and how many queries are read at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from geodata.catalog.columns import rows_digest
from geodata.errors import GridError, QueryError
from geodata.grid import Grid
from geodata.place import grid_of_slices
from geodata.query import Query
from geodata.sample import asked_back, collate, rooms, tensor_over
from geodata.spot import Buffers, Slots, Spot, room

if TYPE_CHECKING:
    from geodata.dataset import Dataset

__all__ = ["queries_of", "read", "spot_of"]


def queries_of(dataset: Dataset, index: Any) -> tuple[Query, ...]:
    """Return the queries of one index: one, or one per view where the index is a tuple of queries.

    Raises
    ------
    IndexError
        If there is no such item.
    QueryError
        If it is no index.
    """
    if isinstance(index, Query):
        return (index,)
    if isinstance(index, (int, np.integer)) or (isinstance(index, torch.Tensor) and index.ndim == 0):
        row, n = int(index), len(dataset)
        if not -n <= row < n:
            raise IndexError(f"item {row} of a dataset with {n} items")
        return (Query(row=row % n, index=row % n),)
    if isinstance(index, Grid):
        return (Query(grid=index),)
    if isinstance(index, tuple) and 2 <= len(index) <= 3 and all(isinstance(s, slice) for s in index):
        x, y, *t = index
        res = dataset._view[1] if dataset._view is not None else None
        grid, when = grid_of_slices(dataset.catalog, dataset.crs, x, y, t[0] if t else slice(None), res)
        return (Query(grid=grid, time=when),)
    if isinstance(index, tuple) and index and all(isinstance(q, Query) for q in index):
        return index
    raise QueryError(
        f"{index!r} is no index; use an integer, a Query, a tuple of queries (views), a Grid, or ds[x0:x1, y0:y1, t0:t1]"
    )


def spot_of(dataset: Dataset, query: Query) -> Spot:
    """Return where a query of this dataset is read.

    Raises
    ------
    QueryError
        If it names a row that is not there, or dates of what has none.
    GridError
        If rows have no pixels, or a window is no multiple of the native ratio.
    """
    if query.dates is not None and not dataset.dated:
        raise QueryError(
            f"the query names dates {query.dates}, but these items have one each; make a series: ds.series()"
        )
    row, window, catalog = query.row, query.window, dataset.catalog
    if query.data and query.data != rows_digest(catalog):
        raise QueryError(
            f"this query was drawn from other rows than the {len(dataset)} of this dataset, so it would read what it does not mean, "
            "perhaps of another part of a split; make the sampler from the dataset that reads it"
        )
    if row is None:
        if query.grid is None:
            raise QueryError("a query names a row or a grid, got neither")
        return Spot(query.grid, query.time, dates=query.dates)
    if not 0 <= row < len(dataset):
        raise QueryError(f"query asks for row {row} of a dataset with {len(dataset)} rows")
    dataset._need_lattice()
    if query.grid is not None:
        inside = catalog.grid(row)
        return Spot(query.grid, catalog.interval(row), inside=inside, items=np.array([row]), dates=query.dates)
    if window is None:
        height, width = catalog.shape[row].tolist()
        window = (0, 0, height, width)
    if any(n % dataset.step for n in window):
        raise GridError(
            f"window (row, column, height, width) = {window} must be multiples of {dataset.step}, the native ratio of the bands; "
            f"use size {window[2] // dataset.step * dataset.step or dataset.step}"
        )
    return Spot(catalog.grid(row, window), catalog.interval(row), row, window, dates=query.dates)


def read(dataset: Dataset, queries: Sequence[Query], batch: int) -> list[dict[str, Any]]:
    """Read queries; the samples of each `batch` of them share buffers where their shapes agree."""
    spots = [spot_of(dataset, q) for q in queries]
    slots = _slots(dataset, spots)
    each: list[Buffers] = []
    samples: list[dict[str, Any]] = []
    rests: list[Mapping[str, Any] | None] = []
    for at in range(0, len(queries), batch):
        whole, arrays, tensors = rooms(slots[at : at + batch])
        each += arrays
        samples += tensors
        rests += _filled(dataset, spots[at : at + batch], whole)
    # Neighbours in a file are read one after the other: what is decoded for one serves the next.
    for i in sorted((i for i, rest in enumerate(rests) if rest is None), key=lambda i: spots[i].place):
        spot = spots[i]
        if spot.row is not None:
            rests[i] = dataset._fill(spot, each[i])
        elif spot.items is not None:
            rests[i] = dataset._fill_on(spot, each[i], spot.items)
        else:
            rests[i] = dataset._fill_found(spot, each[i])
    for sample, rest in zip(samples, rests, strict=True):
        sample |= rest or {}
    _finish(dataset, samples, queries, spots)
    return samples


def read_batch(dataset: Dataset, queries: Sequence[Query]) -> dict[str, Any] | None:
    """Read windows of rows as one batch: what `collate` makes of their samples, without making them.

    None where they are not read at once: other queries, windows of different size, datasets that read one by one.
    """
    if len(queries) < 2 or any(q.row is None or q.grid is not None for q in queries):
        return None
    spots = [spot_of(dataset, q) for q in queries]
    slots = _slots(dataset, spots)
    if any(own is not slots[0] and own != slots[0] for own in slots):
        return None
    whole = {k: room((len(slots), *shape), dtype) for k, (shape, dtype) in slots[0].items()}
    rests = dataset._fill_many(spots, whole)
    if rests is None:
        return None
    samples: list[dict[str, Any]] = [dict(rest) for rest in rests]
    _finish(dataset, samples, queries, spots)
    return {k: tensor_over(v) for k, v in whole.items()} | collate(samples)


def _finish(
    dataset: Dataset, samples: Sequence[dict[str, Any]], queries: Sequence[Query], spots: Sequence[Spot]
) -> None:
    """Add what samples say of themselves."""
    draws = room((len(queries), 2), np.int64)
    draws[...] = [(q.epoch, q.index) for q in queries]
    for sample, query, draw, spot in zip(samples, queries, tensor_over(draws).unbind(), spots, strict=True):
        sample["query"], sample["draw"] = query, draw
        sample |= asked_back(query, spot)
        dataset._label(sample, spot)


def _slots(dataset: Dataset, spots: Sequence[Spot]) -> list[Slots]:
    if not dataset._slots_by_shape:
        return [dataset._slots(spot) for spot in spots]
    known: dict[tuple[int, int], Slots] = {}
    for spot in spots:
        if spot.grid.shape not in known:
            known[spot.grid.shape] = dataset._slots(spot)
    return [known[spot.grid.shape] for spot in spots]


def _filled(dataset: Dataset, spots: Sequence[Spot], whole: Buffers | None) -> Sequence[Mapping[str, Any] | None]:
    """Read a batch at once, if it is of windows of rows: the rests of its samples, or None for each that is left to read."""
    rests = None
    if whole is not None and all(s.row is not None and s.window is not None for s in spots):
        rests = dataset._fill_many(spots, whole)
    return [None] * len(spots) if rests is None else rests
