"""A dataset: a catalog, and how its items become samples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geodata.bands import Bands
from geodata.catalog import Catalog
from geodata.catalog.columns import row_numbers, rows_of_parts
from geodata.catalog.search import nearest_miss
from geodata.catalog.tiles import tile
from geodata.crs import CRS, as_crs
from geodata.errors import CatalogError, CRSError, GridError, KeyClashError, QueryError
from geodata.grid import Grid, check_res
from geodata.interval import Interval
from geodata.place import bounds_in, common_crs, grid_of_slices, grid_over
from geodata.query import Query
from geodata.sample import Sample
from geodata.spot import Buffers, Slots, Spot, room

__all__ = ["Dataset"]


class Dataset(torch.utils.data.Dataset[Sample], ABC):
    """Items of a catalog, read as samples.

    ``ds[i]`` is the whole item i, ``ds[query]`` what a sampler asked for, ``ds[x0:x1, y0:y1, t0:t1]`` a box in ``ds.crs``,
    ``ds.read(bounds, crs=..., res=...)`` a box anywhere. ``a & b`` joins by place, ``a | b`` puts rows together. No
    method changes the dataset.

    Parameters
    ----------
    catalog : Catalog
    name : str, suffix of all keys, for joins of several images: ``image_<name>``
    transforms : callable or None
        Applied to every sample.
    """

    def __init__(
        self, catalog: Catalog, *, name: str = "", transforms: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    ) -> None:
        if name and not name.isidentifier():
            raise QueryError(f"name {name!r} becomes part of sample keys; use letters, digits and underscores")
        self.catalog = catalog
        self.name = name
        self.transforms = transforms
        self._view: tuple[CRS, tuple[float, float] | None] | None = None

    step: int = 1
    """Windows and tiles must be multiples of it, in pixels (above 1 only with native resolutions)."""

    @property
    def bands(self) -> Bands | None:
        """Bands of the (leading) image, None if there is no image."""
        return None

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes of the mask, by value; None if there is no mask or its values have no names."""
        return None

    @property
    @abstractmethod
    def keys(self) -> tuple[str, ...]:
        """Sample keys that this dataset makes, without ``grid``, ``time``, ``key``, ``query`` and ``draw``."""

    @abstractmethod
    def _slots(self, spot: Spot) -> Slots:
        """Arrays of fixed shape that one sample needs."""

    @abstractmethod
    def _fill(self, spot: Spot, out: Buffers) -> dict[str, Any]:
        """Read a spot of this dataset's own rows into ``out``; return the rest of the sample."""

    @abstractmethod
    def _fill_on(self, spot: Spot, out: Buffers, rows: NDArray[np.int64] | None = None) -> dict[str, Any]:
        """Read whatever rows lie under ``spot.grid`` into ``out``; pixels under none stay unobserved."""

    def _fill_dates(self, rows: NDArray[np.int64], spot: Spot, out: Buffers) -> dict[str, Any] | None:
        """Read a window of many rows on one grid into ``out`` with a leading time axis; None to have them one by one."""
        return None

    def _taken(self, catalog: Catalog, parents: NDArray[np.int64]) -> Self:
        """Return this dataset over other rows; ``parents`` says which old row each new one is of."""
        new = copy(self)
        new.catalog = catalog
        return new

    def __len__(self) -> int:
        return len(self.catalog)

    def __getitem__(self, index: Any) -> Sample:
        return self.__getitems__([index])[0]

    def __getitems__(self, indexes: Sequence[Any]) -> list[Sample]:
        """Read many samples; where shapes agree they are views of one fresh buffer per key."""
        queries = [self._query(i) for i in indexes]
        spots = [self._spot(q) for q in queries]
        slots = [self._slots(s) for s in spots]
        shared = len(queries) > 1 and all(s == slots[0] for s in slots)
        whole: Buffers = {}
        if shared:
            whole = {k: room((len(queries), *shape), dtype) for k, (shape, dtype) in slots[0].items()}
        tensors = {k: torch.from_numpy(v).unbind() for k, v in whole.items()}
        draws = torch.tensor([(q.epoch, q.index) for q in queries]).unbind()
        samples: list[Any] = [None] * len(queries)
        # Neighbours in a file are read one after the other: what is decoded for one serves the next.
        for i in sorted(range(len(spots)), key=lambda i: spots[i].place):
            spot = spots[i]
            out = {k: v[i] for k, v in whole.items()} if shared else {k: room(s, d) for k, (s, d) in slots[i].items()}
            rest = self._fill(spot, out) if spot.row is not None else self._fill_found(spot, out)
            sample: dict[str, Any] = {k: tensors[k][i] if shared else torch.from_numpy(v) for k, v in out.items()}
            samples[i] = sample | rest | {"query": queries[i], "draw": draws[i]}
            self._label(samples[i], spot)
        return samples if self.transforms is None else [self.transforms(s) for s in samples]  # type: ignore[misc]  # what it gives back is a sample

    def _label(self, sample: dict[str, Any], spot: Spot) -> None:
        sample["grid"] = spot.grid
        sample.setdefault("time", spot.time)
        if spot.row is not None:
            sample["key"] = self.catalog.key[spot.row]

    def _under(self, spot: Spot) -> NDArray[np.int64]:
        """Rows of the catalog that lie under a query by place."""
        return self.catalog.search(spot.grid, time=spot.time)

    def _items_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the items that what `_under` gives belongs to."""
        return rows

    def _fill_found(self, spot: Spot, out: Buffers) -> dict[str, Any]:
        rows = self._under(spot)
        if not len(rows):
            raise nearest_miss(self.catalog, spot.grid, spot.time)
        rest = self._fill_on(spot, out, rows)
        if "key" not in rest:
            rest["key"] = self.catalog.key[rows[0]]
        return rest

    def _query(self, index: Any) -> Query:
        if isinstance(index, Query):
            return index
        if isinstance(index, (int, np.integer)) or (isinstance(index, Tensor) and index.ndim == 0):
            row = int(index)
            if not -len(self) <= row < len(self):
                raise IndexError(f"item {row} of a dataset with {len(self)} items")
            return Query(row=row % len(self), index=row % len(self))
        if isinstance(index, Grid):
            return Query(grid=index)
        if isinstance(index, tuple) and 2 <= len(index) <= 3 and all(isinstance(s, slice) for s in index):
            return self._query_of_slices(*index)
        raise QueryError(f"{index!r} is no index; use an integer, a Query, a Grid, or ds[x0:x1, y0:y1, t0:t1]")

    def _query_of_slices(self, x: slice, y: slice, t: slice = slice(None)) -> Query:
        res = self._view[1] if self._view is not None else None
        grid, when = grid_of_slices(self.catalog, self.crs, x, y, t, res)
        return Query(grid=grid, time=when)

    def _spot(self, query: Query) -> Spot:
        if query.grid is not None:
            return Spot(query.grid, query.time)
        row, window = query.row, query.window
        if row is None or not 0 <= row < len(self):
            raise QueryError(f"query asks for row {row} of a dataset with {len(self)} rows")
        self._need_lattice()
        if window is None:
            height, width = self.catalog.shape[row].tolist()
            window = (0, 0, height, width)
        if any(n % self.step for n in window):
            raise GridError(
                f"window (row, column, height, width) = {window} must be multiples of {self.step}, the native ratio of the bands; "
                f"use size {window[2] // self.step * self.step or self.step}"
            )
        return Spot(self.catalog.grid(row, window), self.catalog.interval(row), row, window)

    def _need_lattice(self) -> None:
        if not self.catalog.lattice:
            raise GridError(
                "these items have a footprint but no pixels, so they cannot be indexed, tiled or sampled alone; "
                "join them to a raster (raster & vector), or give the dataset res="
            )

    def read(
        self, bounds: Any, *, crs: Any = None, res: Any = None, time: Any = None, stack: str | None = None
    ) -> Sample:
        """Read a box in any CRS, mosaicked from the items that lie under it.

        Parameters
        ----------
        bounds : (left, bottom, right, top) in ``crs``, or a Grid
        crs : anything that names a CRS; no default
        res : float or (x, y), units of ``crs`` per pixel, or None
            None takes the lattice of the first item in ``crs``, extended to whole pixels; there must be one.
        time : as in `Interval.parse`
        stack : None or "time"
            ``"time"`` gives one layer per start time: image (T, C, H, W), valid (T, H, W), time (T, 2) seconds.

        Raises
        ------
        NoOverlapError, CRSError, GridError
            If no item lies there (it names the nearest), the CRS is missing, or the box is empty or not finite.
        """
        when = Interval.parse(time)
        if isinstance(bounds, Grid):
            grid = bounds
        else:
            if as_crs(crs) is None:
                raise CRSError("the query has no CRS; say in which CRS the bounds are, for example crs='EPSG:4326'")
            grid = grid_over(self.catalog, bounds, as_crs(crs), res, when)
        if stack is None:
            return self[Query(grid=grid, time=when)]
        if stack != "time":
            raise QueryError(f"stack={stack!r} must be None or 'time'")
        from geodata.series import stack as stacked

        return stacked(self)[Query(grid=grid, time=when)]

    @property
    def crs(self) -> CRS:
        """The CRS of slices: that of all rows, or what `to` chose. Several, or none, raise CRSError, which lists them."""
        return self._view[0] if self._view is not None else common_crs(self.catalog)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top of all rows in `crs`."""
        return bounds_in(self.catalog, self.crs)

    def to(self, crs: Any, res: Any = None) -> Self:
        """Return the dataset with a CRS (and resolution) for slices; no row is touched."""
        system = as_crs(crs)
        if system is None:
            raise CRSError("ds.to needs a CRS, got none")
        new = copy(self)
        new._view = (system, None if res is None else check_res(res))
        return new

    def take(self, rows: Any) -> Self:
        """Return some rows (integers in order, or a boolean mask)."""
        rows = row_numbers(rows, len(self))
        return self._taken(self.catalog.take(rows), rows)

    def where(self, condition: Callable[[Catalog], Any] | None = None, **values: Any) -> Self:
        """Return the rows with the given values of columns (or one of a list), or that a function of the catalog marks."""
        return self.take(self.catalog.matching(condition, **values))

    def tile(self, size: Any, stride: Any = None, *, edge: str = "keep") -> Self:
        """Return the items cut into blocks, each of which is then read in isolation; see `Catalog.tile`."""
        self._need_lattice()
        return self._taken(*tile(self.catalog, size, stride, edge=edge, multiple=self.step))

    def split(self, split: Mapping[str, Any]) -> dict[str, Self]:
        """Return one dataset per part of a split.

        Parameters
        ----------
        split : mapping of part name to keys
            A part called ``dropped`` (the dead zone) is left out.

        Raises
        ------
        CatalogError
            If a key is unknown, in two parts, or missing from all parts: never a silent partial split.
        """
        rows = rows_of_parts(self.catalog, split)
        return {name: self.take(r) for name, r in rows.items() if name != "dropped"}

    def named(self, name: str) -> Self:
        """Return the dataset with ``_<name>`` at the end of all its keys."""
        new = copy(self)
        if name and not name.isidentifier():
            raise QueryError(f"name {name!r} becomes part of sample keys; use letters, digits and underscores")
        new.name = name
        return new

    def series(self, by: str = "location", *, max_len: int | None = None, time: Any = None) -> Dataset:
        """Return one item per place with all its dates: image (T, C, H, W), valid (T, H, W), time (T, 2) seconds.

        Parameters
        ----------
        by : "location", or a column
            Rows with the same grid, or with the same value; the latter must share a grid too.
        max_len : int or None
            At most so many dates, evenly spread over those there are.
        time : as in `Interval.parse`
            Only rows of this time.
        """
        from geodata.series import series

        return series(self, by, max_len=max_len, time=time)

    def join(self, other: Dataset, *, how: str = "intersects", on: str | None = None) -> Dataset:
        """Return the rows of this dataset that another one meets, with the samples of both.

        Parameters
        ----------
        other : Dataset
            Read on this dataset's grid; never decides it.
        how : {"intersects", "within"}
            ``within`` wants each row covered wholly.
        on : None, "key" or a column
            Pair rows by equal values instead of by place.

        Raises
        ------
        KeyClashError
            If both make the same sample key.
        QueryError
            If a side has transforms of its own.
        NoOverlapError
            If no row is left.
        """
        from geodata.composite import join

        if self.transforms is not None or other.transforms is not None:
            raise QueryError("a join reads both sides first: give transforms to the join, a.join(b).transformed(t)")
        clash = sorted(set(self.keys) & set(other.keys))
        if clash:
            raise KeyClashError(
                f"both sides make {', '.join(clash)}; give one a name: a & b.named('s1') makes {clash[0]}_s1"
            )
        return join(self, other, how=how, on=on)

    def __and__(self, other: Dataset) -> Dataset:
        return self.join(other)

    def __or__(self, other: Dataset) -> Dataset:
        return self.union(other)

    def transformed(self, transforms: Callable[[dict[str, Any]], dict[str, Any]] | None) -> Self:
        """Return the dataset with another function for every sample."""
        new = copy(self)
        new.transforms = transforms
        return new

    def union(self, other: Dataset, *, reindex: bool = False) -> Dataset:
        """Return the rows of both, these first; ``reindex`` adds bands that one side lacks as never observed."""
        raise CatalogError(
            f"{type(self).__name__} | {type(other).__name__}: only datasets of one kind can be put together"
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.catalog!r}, makes {', '.join(self.keys)})"
