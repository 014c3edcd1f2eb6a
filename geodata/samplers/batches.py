"""Batches of one kind: queries that may be stacked, or warped, together."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.crs import crs_text
from geodata.errors import SamplerError
from geodata.grid import Grid
from geodata.query import Query
from geodata.samplers.arguments import MOST, flag, whole
from geodata.samplers.base import CHUNK, QuerySampler
from geodata.samplers.windows import catalog_of

__all__ = ["GroupedBatchSampler"]

Formed = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""Numbers of samples in the order of their groups, and where in them each batch begins and ends."""


class GroupedBatchSampler(QuerySampler):
    """Make a batch of queries that are all of one group.

    The samples of an epoch, over all ranks, go each to the batch of its group; a batch comes when it is full, and those
    left short come at the end. So the batches of an epoch are one sequence, of which rank r of w takes every w-th batch.
    Use it as ``batch_sampler=`` of a `DataLoader` or `gd.Loader`, and call `set_epoch` here or on the sampler.

    Parameters
    ----------
    sampler : QuerySampler
        Its seed, epoch, ranks and ``uneven`` hold for the batches too; a repeated batch consists of marked queries.
    batch_size : int >= 1
        Samples in a batch; fewer in the last one of a group.
    by : {"crs", "resolution", "size", "source"}, name of a column, or callable (what the sampler yields) -> hashable
        Pixels of one resolution have equal sizes to 6 digits, in the units of their CRS; degrees never match metres.
        Sizes are those of the windows. All views of a sample count; of a mixture's sources the first does.
    drop_last : bool
        Leave out the short batches.
    data : Dataset, Mixture, Catalog or None
        What the sampler draws from; needed for ``"crs"``, ``"resolution"``, a column, and sizes of whole items.

    Notes
    -----
    Forming the batches draws every query of an epoch once, without I/O: some microseconds each, remembered per epoch.

    Raises
    ------
    SamplerError
        If there is no such column, ``data`` is needed, or no group fills a batch with ``drop_last``.

    Examples
    --------
    ``GroupedBatchSampler(sampler, 32, by="crs", data=ds)``
    """

    def __init__(
        self,
        sampler: QuerySampler,
        batch_size: int,
        *,
        by: str | Callable[[Any], Hashable],
        drop_last: bool = False,
        data: Any = None,
    ) -> None:
        if not isinstance(sampler, QuerySampler) or isinstance(sampler, GroupedBatchSampler):
            raise SamplerError(
                f"batches are made of a sampler of queries from geodata.samplers, got {type(sampler).__name__}"
            )
        if not isinstance(by, str) and not callable(by):
            raise SamplerError(
                f"by={by!r} must be 'crs', 'resolution', 'size', 'source', a column, or a function of the query"
            )
        self.sampler, self.batch_size, self.by = sampler, whole("batch_size", batch_size, 1, MOST), by
        epoch = sampler.epoch
        super().__init__(seed=sampler.seed, uneven=sampler.uneven, rank=0, world=1)
        sampler.epoch = self._at = epoch
        self.data_digest = sampler.data_digest
        # Not `drop_last`: trainers take what has that name for a batch sampler that they may make anew.
        self._drop = flag("drop_last", drop_last)
        self._catalogs = _catalogs(data)
        self._values = _values(self._catalogs, by)
        self._formed: tuple[int, Formed] | None = None

    @property
    def epoch(self) -> int:
        """That of the sampler."""
        return self.sampler.epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self.sampler.epoch = epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, of the sampler too."""
        self.sampler.set_epoch(epoch)
        self._formed = None
        self._follow()
        super().set_epoch(epoch)

    @property
    def rank(self) -> int:  # type: ignore[override]
        """That of the sampler."""
        return self.sampler.rank

    @property
    def world(self) -> int:
        """That of the sampler."""
        return self.sampler.world

    @property
    def total(self) -> int:
        """Batches of this epoch over all ranks; epochs may differ."""
        return len(self._batches()[1])

    @cached_property
    def plan(self) -> str:
        """Text that is equal for two samplers exactly when they yield the same batches."""
        name = self.by if isinstance(self.by, str) else getattr(self.by, "__qualname__", type(self.by).__qualname__)
        return f"{self.sampler.digest} {self.batch_size} {name} {self._drop}"

    def draw(self, indexes: NDArray[np.int64]) -> Iterator[Any]:
        """Yield the batches with the given numbers, each a list of queries."""
        order, begins, ends = self._batches()
        for index in indexes.tolist():
            batch = list(self.sampler.draw(order[begins[index] : ends[index]]))
            if len({self._group(asked) for asked in batch}) > 1:
                raise SamplerError(
                    "draws or groups changed since the batches of this epoch were formed; call set_epoch of the batch sampler"
                )
            yield batch

    @property
    def position(self) -> int:
        """Number of the batch, over all ranks, at which the next iteration starts."""
        self._follow()
        return super().position

    def state_dict(self, consumed: int | None = None) -> dict[str, Any]:
        """Return what a later run needs to go on; ``consumed`` counts batches, over all ranks."""
        self._follow()
        return super().state_dict(consumed) | {"sampler": self.sampler.state_dict(0)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a run stopped, also with another number of ranks; SamplerError if it is of another plan."""
        if not isinstance(state, Mapping) or "sampler" not in state:
            raise SamplerError("this is no state of batches; give what state_dict of a GroupedBatchSampler returned")
        super().load_state_dict(state)
        self.sampler.load_state_dict(state["sampler"])
        self._at, self._formed = self.epoch, None

    def __len__(self) -> int:
        """Batches that this rank yields in the next iteration."""
        self._follow()
        return super().__len__()

    def __iter__(self) -> Iterator[Any]:
        self._follow()
        yield from super().__iter__()

    def _follow(self) -> None:
        """Forget the place in an epoch that the sampler has left: some trainers set its epoch, not that of the batches."""
        if self.sampler.position:
            raise SamplerError(
                f"the sampler stands at sample {self.sampler.position} of its epoch, but batches count their own place; "
                "load the state of the batch sampler"
            )
        if self._at != self.epoch:
            self._at = self.epoch
            self._go_to(0)

    def _batches(self) -> Formed:
        if self._formed is None or self._formed[0] != self.epoch:
            self._formed = self.epoch, self._form()
        return self._formed[1]

    def _form(self) -> Formed:
        known: dict[Hashable, int] = {}
        codes = np.empty(self.sampler.total, dtype=np.int64)
        for at in range(0, len(codes), CHUNK):
            part = np.arange(at, min(at + CHUNK, len(codes)))
            codes[part] = [known.setdefault(self._group(q), len(known)) for q in self.sampler.draw(part)]
        order = np.argsort(codes, kind="stable")
        within = np.arange(len(codes)) - np.searchsorted(codes[order], np.arange(len(known)))[codes[order]]
        begins = np.flatnonzero(within % self.batch_size == 0)
        ends = np.append(begins[1:], len(codes))
        full = ends - begins == self.batch_size
        turn = np.lexsort((order[ends - 1], ~full))
        turn = turn[full[turn]] if self._drop else turn
        if not len(turn):
            raise SamplerError(
                f"none of {len(known)} groups has the {self.batch_size} samples of a batch, and drop_last leaves out the rest"
            )
        return order, begins[turn], ends[turn]

    def _group(self, asked: Any) -> Hashable:
        """Return the group of what the sampler yields: a query, or a tuple of them."""
        if not isinstance(self.by, str):
            return self.by(asked)
        views = asked if isinstance(asked, tuple) else (asked,)
        if self.by == "source":
            return int(views[0].source)
        return tuple(self._size(q) if self.by == "size" else self._value(q) for q in views)

    def _size(self, query: Query) -> tuple[int, ...]:
        if query.window is not None:
            return query.window[2:]
        if query.grid is not None:
            return query.grid.shape
        if not self._catalogs:
            raise SamplerError("the sizes of whole items are needed; give data=, what the sampler draws from")
        return tuple(self._catalogs[self._known(query.source)].shape[query.row].tolist())

    def _value(self, query: Query) -> Hashable:
        if query.grid is not None and self.by in _OF_GRIDS:
            return _OF_GRIDS[str(self.by)](query.grid)
        if query.row is None:
            raise SamplerError(
                f"a query by place has no {self.by!r}; group by 'crs', 'size' or a function of the query"
            )
        return self._values[self._known(query.source)][query.row]

    def _known(self, source: int) -> int:
        if source >= len(self._catalogs):
            raise SamplerError(
                f"a query is of source {source}, but data has {len(self._catalogs)}; give the mixture as data="
            )
        return source


def _catalogs(data: Any) -> list[Catalog]:
    if data is None:
        return []
    return [catalog_of(one) for one in getattr(data, "datasets", [data])]


def _values(catalogs: list[Catalog], by: Any) -> list[list[Hashable]]:
    """Return the group of each row, catalog by catalog, where rows decide it."""
    if not isinstance(by, str) or by in ("size", "source"):
        return []
    if not catalogs:
        raise SamplerError(f"by={by!r} needs data=, the dataset that the sampler draws from")
    if by == "crs":
        return [catalog.crs.tolist() for catalog in catalogs]
    if by == "resolution":
        return [_resolutions(catalog) for catalog in catalogs]
    missing = [c for c in catalogs if by not in c.table.column_names]
    if missing:
        names = ", ".join(missing[0].table.column_names)
        raise SamplerError(f"by={by!r} is neither 'crs', 'resolution', 'size', 'source' nor a column: {names}")
    return [_told(catalog.column(by).tolist(), by) for catalog in catalogs]


def _told(values: Iterable[Any], name: str) -> list[Hashable]:
    told = list(values)
    odd = next((value for value in told if not isinstance(value, Hashable)), None)
    if odd is not None:
        raise SamplerError(
            f"column {name!r} holds {type(odd).__name__}, not single values; group by a function of the query"
        )
    # Not-a-number differs from itself: rows without a value are one group.
    return [None if value != value else value for value in told]


def _resolutions(catalog: Catalog) -> list[Hashable]:
    degrees = np.array([c is not None and c.is_geographic for c in catalog.footprints.crs])[catalog.footprints.code]
    m = catalog.affine
    pairs = zip(np.hypot(m[:, 1], m[:, 4]).tolist(), np.hypot(m[:, 0], m[:, 3]).tolist(), degrees.tolist(), strict=True)
    known: dict[Any, Hashable] = {}
    return [known.setdefault(pair, _resolution(*pair)) for pair in pairs]


def _resolution(down: float, across: float, degrees: bool) -> Hashable:
    return f"{down:.6g} {across:.6g}{' degrees' if degrees else ''}"


def _resolution_of(grid: Grid) -> Hashable:
    a, b, _, d, e, _ = tuple(grid.transform)[:6]
    geographic = grid.crs is not None and grid.crs.is_geographic
    return _resolution(float(np.hypot(b, e)), float(np.hypot(a, d)), geographic)


def _crs_of(grid: Grid) -> Hashable:
    return crs_text(grid.crs)


_OF_GRIDS: dict[str, Callable[[Grid], Hashable]] = {"crs": _crs_of, "resolution": _resolution_of}
"""What a grid says of itself, where a query has one."""
