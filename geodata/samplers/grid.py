"""Windows in rows and columns over every item, and whole items."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.catalog.tiles import starts
from geodata.errors import SamplerError
from geodata.query import Query, queries_of_rows
from geodata.samplers.base import QuerySampler, catalog_digest, catalog_of, uniform64, window_sizes, windows_at

__all__ = ["GridPatchSampler", "ItemSampler"]


class GridPatchSampler(QuerySampler):
    """Visit windows in order: row by row over each item, item by item.

    Parameters
    ----------
    data : Dataset or Catalog
    size, stride : int, (height, width), or ground size such as ``"2560m"``
        The stride is the size unless given, and at most the size.
    edge : {"shift", "pad", "drop"}
        The last window of a row or column is moved inside, reaches out (``valid`` False there), or is left out. With
        ``shift`` and ``pad`` every pixel is covered. Items smaller than the window are padded (``drop``: left out).
    uneven, rank, world : as in `QuerySampler`

    Raises
    ------
    SamplerError
        If no window fits, the stride leaves gaps, or rows of different resolution would share a batch.
    """

    def __init__(
        self,
        data: Any,
        *,
        size: Any,
        stride: Any = None,
        edge: str = "shift",
        uneven: str = "pad",
        rank: int | None = None,
        world: int | None = None,
    ) -> None:
        super().__init__(seed=0, uneven=uneven, rank=rank, world=world)
        if edge not in ("shift", "pad", "drop"):
            raise SamplerError(f"edge={edge!r} must be 'shift', 'pad' or 'drop'")
        catalog = catalog_of(data)
        step = int(getattr(data, "step", 1))
        sizes, self.size = window_sizes(catalog, size, step)
        strides, self.stride = (sizes, self.size) if stride is None else window_sizes(catalog, stride, step)
        if self.stride[0] > self.size[0] or self.stride[1] > self.size[1]:
            raise SamplerError(
                f"stride {self.stride} is larger than size {self.size} and would leave gaps; use a stride up to the size"
            )
        self.edge = edge
        self._shape = catalog.shape
        how = "drop" if edge == "drop" else "keep"
        down, self._across = (starts(catalog.shape[:, k], sizes[:, k], strides[:, k], how) for k in (0, 1))
        self._ends = np.cumsum(down * self._across)
        self._digest = catalog_digest(catalog)
        if not self._ends[-1]:
            raise SamplerError(f"no window of {self.size} fits into any of {len(catalog)} rows; use edge='pad'")

    @property
    def total(self) -> int:
        """Windows over all ranks."""
        return int(self._ends[-1])

    @cached_property
    def plan(self) -> str:
        """Text that is equal for two samplers exactly when they yield the same samples."""
        return f"{self._digest} {self.size} {self.stride} {self.edge}"

    def draw(self, indexes: NDArray[np.int64]) -> Iterator[Query]:
        """Yield the windows with the given numbers."""
        rows = np.searchsorted(self._ends, indexes, side="right")
        within = indexes - np.where(rows > 0, self._ends[rows - 1], 0)
        across = self._across[rows]
        at = np.stack([within // across, within % across], axis=1) * np.array(self.stride)
        if self.edge == "shift":
            at = np.minimum(at, np.maximum(self._shape[rows] - self.size, 0))
        yield from queries_of_rows(rows.tolist(), windows_at(at, self.size), self.epoch, indexes.tolist())


class ItemSampler(QuerySampler):
    """Visit whole items, in catalog order or shuffled anew each epoch.

    Parameters
    ----------
    data : Dataset or Catalog
    shuffle : bool
    seed : int
        The order of epoch e is a pure function of (seed, e).
    uneven, rank, world : as in `QuerySampler`
    """

    def __init__(
        self,
        data: Any,
        *,
        shuffle: bool = False,
        seed: int = 0,
        uneven: str = "pad",
        rank: int | None = None,
        world: int | None = None,
    ) -> None:
        super().__init__(seed=seed, uneven=uneven, rank=rank, world=world)
        catalog = catalog_of(data)
        self.shuffle = shuffle
        self._count = len(catalog)
        self._shuffled: tuple[tuple[int, int], NDArray[np.int64]] | None = None
        self._digest = catalog_digest(catalog)

    @property
    def total(self) -> int:
        """Items over all ranks."""
        return self._count

    @cached_property
    def plan(self) -> str:
        """Text that is equal for two samplers exactly when they yield the same samples."""
        return f"{self._digest} {self.shuffle}"

    def draw(self, indexes: NDArray[np.int64]) -> Iterator[Query]:
        """Yield the items with the given numbers."""
        rows = self._order()[indexes] if self.shuffle else indexes
        yield from queries_of_rows(rows.tolist(), repeat(None, len(rows)), self.epoch, indexes.tolist())

    def _order(self) -> NDArray[np.int64]:
        of = (self.seed, self.epoch)
        if self._shuffled is None or self._shuffled[0] != of:
            self._shuffled = of, np.argsort(uniform64(*of, np.arange(self._count)), kind="stable")
        return self._shuffled[1]
