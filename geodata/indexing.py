"""What stands between the brackets of ``ds[...]``, as a query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from geodata.catalog.columns import rows_digest
from geodata.errors import GridError, QueryError
from geodata.grid import Grid
from geodata.place import grid_of_slices
from geodata.query import Query
from geodata.spot import Spot

if TYPE_CHECKING:
    from geodata.dataset import Dataset

__all__ = ["queries_of", "spot_of"]


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
