"""A dataset: a catalog, and how its items become samples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from geodata.bands import Bands
from geodata.catalog import Catalog
from geodata.catalog.columns import row_numbers
from geodata.catalog.search import nearest_miss
from geodata.catalog.tiles import tile
from geodata.crs import CRS, as_crs
from geodata.errors import CatalogError, CRSError, GridError, KeyClashError, QueryError
from geodata.grid import Grid, check_res
from geodata.indexing import queries_of, read, read_batch
from geodata.interval import Interval
from geodata.place import bounds_in, common_crs, grid_over
from geodata.query import Query
from geodata.sample import Sample, collate
from geodata.spot import Buffers, Slots, Spot

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

    dated: bool = False
    """Whether an item has several dates, of which a query may ask for some."""

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

    @property
    def _slots_by_shape(self) -> bool:
        """Whether the slots of two spots are equal as soon as their grids have one shape."""
        return False

    def _fill_many(self, spots: Sequence[Spot], whole: Buffers) -> Sequence[Mapping[str, Any]] | None:
        """Read windows of rows, two or more with equal slots, into ``whole`` with a leading batch axis.

        Returns the rest of each sample in order; None to have them filled one by one.
        """
        return None

    @property
    def reads_batches(self) -> bool:
        """Whether windows of many rows are read at once."""
        return False

    def batch(self, indexes: Sequence[Any]) -> dict[str, Any] | tuple[dict[str, Any], ...]:
        """Read many samples as one batch: ``gd.collate(ds.__getitems__(indexes))``, and quicker where that is possible."""
        if self.reads_batches and self.transforms is None and not any(isinstance(i, tuple) for i in indexes):
            found = read_batch(self, [query for i in indexes for query in queries_of(self, i)])
            if found is not None:
                return found
        batch: dict[str, Any] | tuple[dict[str, Any], ...] = collate(self.__getitems__(indexes))
        return batch

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

    def __getitem__(self, index: Any) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indexes: Sequence[Any]) -> list[Any]:
        """Read many samples; where shapes agree they are views of one fresh buffer per key.

        A tuple of queries gives a tuple of samples: the views of one.
        """
        asked = [queries_of(self, i) for i in indexes]
        views = {len(queries) for queries in asked}
        if len(views) > 1:
            raise QueryError(f"samples of one batch have {sorted(views)} views; a sampler gives each the same number")
        # View by view: each becomes a batch of its own.
        queries = [q for view in zip(*asked, strict=True) for q in view]
        samples: list[Any] = read(self, queries, len(asked))
        if self.transforms is not None:
            samples = [self.transforms(s) for s in samples]
        several = [isinstance(i, tuple) and isinstance(i[0], Query) for i in indexes]
        n = len(asked)
        return [tuple(samples[k::n]) if many else samples[k] for k, many in enumerate(several)]

    def _label(self, sample: dict[str, Any], spot: Spot) -> None:
        sample["grid"] = spot.grid
        sample.setdefault("time", spot.time)
        row = spot.row if spot.items is None else int(spot.items[0])
        if row is not None:
            sample["key"] = self.catalog.key[row]

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
            one: Sample = self[Query(grid=grid, time=when)]
            return one
        if stack != "time":
            raise QueryError(f"stack={stack!r} must be None or 'time'")
        from geodata.series import stack as stacked

        stack_of: Sample = stacked(self)[Query(grid=grid, time=when)]
        return stack_of

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
        """Return one dataset per part of a split; the dead zone ``"dropped"`` is left out.

        Parameters
        ----------
        split : `geodata.splits.Split`, or a plain mapping of part name to keys

        Raises
        ------
        SplitError
            If it is of another dataset, or a key is unknown, in two parts, or missing: never a silent partial split.
        """
        from geodata.splits import Split, predefined

        whole = split if isinstance(split, Split) else predefined(self.catalog, split)
        codes = whole.codes(self.catalog)
        return {name: self.take(codes == position) for position, name in enumerate(whole.parts)}

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
