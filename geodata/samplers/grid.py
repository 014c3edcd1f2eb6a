"""Windows in rows and columns over every item, and whole items."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.catalog.columns import rows_digest
from geodata.catalog.tiles import starts
from geodata.errors import SamplerError
from geodata.query import Query, queries_of_rows
from geodata.samplers.arguments import one_of
from geodata.samplers.base import QuerySampler
from geodata.samplers.windows import catalog_of, sizes_text, step_of, window_sizes, windows_at

__all__ = ["GridPatchSampler"]


class GridPatchSampler(QuerySampler):
    """Visit one window at a time, in order: row by row over each item, item by item.

    Parameters
    ----------
    data : Dataset or Catalog
    size, stride : int, (height, width), or ground size such as ``"2560m"``
        The stride is the size unless given, and at most the size.
    edge : {"shift", "pad", "drop"}
        The last window of a row or column is moved inside, reaches out (``valid`` False there), or is left out. With
        ``shift`` and ``pad`` every pixel is covered. Items smaller than the window are padded (``drop``: left out).
    mixed : bool
        Whether rows may differ in resolution, and so in the size of a window on the ground or in pixels. Then `size` is None
        if sizes in pixels differ; batch such windows with `GroupedBatchSampler`.
    uneven, rank, world : as in `QuerySampler`

    Raises
    ------
    SamplerError
        If no window fits, the stride leaves gaps, or rows of different resolution would share a batch.

    Examples
    --------
    ``GridPatchSampler(ds, size=256, stride=192)``
    """

    def __init__(
        self,
        data: Any,
        *,
        size: Any,
        stride: Any = None,
        edge: str = "shift",
        mixed: bool = False,
        uneven: str = "pad",
        rank: int | None = None,
        world: int | None = None,
    ) -> None:
        super().__init__(seed=0, uneven=uneven, rank=rank, world=world)
        self.edge = one_of("edge", edge, "shift", "pad", "drop")
        catalog, step = catalog_of(data), step_of(data)
        sizes, self.size = window_sizes(catalog, size, step, mixed=mixed)
        strides, self.stride = sizes, self.size
        if stride is not None:
            strides, self.stride = window_sizes(catalog, stride, step, mixed=mixed)
        gaps = np.flatnonzero((strides > sizes).any(axis=1))
        if len(gaps):
            too_far, wanted = tuple(strides[gaps[0]].tolist()), tuple(sizes[gaps[0]].tolist())
            raise SamplerError(
                f"stride {too_far} is larger than size {wanted} and would leave gaps; use a stride up to the size"
            )
        self._sizes, self._strides = sizes, strides
        self._shape = catalog.shape
        how = "drop" if edge == "drop" else "keep"
        down, self._across = (starts(catalog.shape[:, k], sizes[:, k], strides[:, k], how) for k in (0, 1))
        self._ends = np.cumsum(down * self._across)
        self.data_digest = rows_digest(catalog)
        if not self._ends[-1]:
            raise SamplerError(f"no window of {self.size or size} fits into any of {len(catalog)} rows; use edge='pad'")

    @property
    def total(self) -> int:
        """Windows over all ranks."""
        return int(self._ends[-1])

    @cached_property
    def plan(self) -> str:
        """Text that is equal for two samplers exactly when they yield the same samples."""
        return f"{self.data_digest} {sizes_text(self.size, self._sizes)} {sizes_text(self.stride, self._strides)} {self.edge}"

    def draw(self, indexes: NDArray[np.int64]) -> Iterator[Query]:
        """Yield the windows with the given numbers."""
        rows = np.searchsorted(self._ends, indexes, side="right")
        within = indexes - np.where(rows > 0, self._ends[rows - 1], 0)
        across = self._across[rows]
        at = np.stack([within // across, within % across], axis=1) * self._strides[rows]
        if self.edge == "shift":
            at = np.minimum(at, np.maximum(self._shape[rows] - self._sizes[rows], 0))
        windows = windows_at(at, self.size or self._sizes[rows])
        return queries_of_rows(rows.tolist(), windows, self.epoch, indexes.tolist())
