"""Random windows: every admissible window equally likely, every draw a pure function of three integers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.errors import SamplerError
from geodata.query import Query, queries_of_rows
from geodata.samplers.base import QuerySampler, catalog_digest, catalog_of, uniform64, window_sizes, windows_at
from geodata.samplers.storage import StorageOrder

__all__ = ["RandomPatchSampler"]


class RandomPatchSampler(QuerySampler):
    """Draw windows at random from the items' own lattices.

    Parameters
    ----------
    data : Dataset or Catalog
    size : int, (height, width), or ground size such as ``"2560m"``
        Pixels of each row's lattice.
    length : int >= 1
        Draws per epoch over all ranks; each of w ranks makes ceil(length / w), the extra ones being new draws.
    seed : int
        Draw i of epoch e is a pure function of (seed, e, i), whatever the workers, ranks and platform.
    small : {"pad", "drop", "raise"}
        Rows smaller than the window: one window from the upper left corner, padded with ``valid`` False; left out; refused.
        `small_rows` says how many there are.
    order : {"random", "storage"}
        ``"storage"`` makes `VISIT` draws (32) from each region (512 pixels square, for the starts) that it visits, so that a
        strip or tile is decoded for many windows and not for one. Each draw is still uniform over all windows and an epoch
        covers the items evenly, but draws of one visit are neighbours: batches are less varied.
    buffer : int, a multiple of 32
        With ``order="storage"``: draws that are shuffled among each other, from ``buffer // 32`` regions. So many regions
        are decoded at a time, each with a margin of one window: 8 regions of 768 pixels square by default. Worker
        processes and ranks decode each for themselves.
    rank, world : as in `QuerySampler`

    Notes
    -----
    A window is a start row and column of one item, so an item's chance is its number of windows. Corners are as likely
    as any other place; pixels near an edge lie in fewer windows. Starts are multiples of the dataset's native ratio.

    Raises
    ------
    SamplerError
        If nothing can be drawn, or rows of different resolution would share a batch.
    """

    def __init__(
        self,
        data: Any,
        *,
        size: Any,
        length: int,
        seed: int = 0,
        small: str = "pad",
        order: str = "random",
        buffer: int = 256,
        rank: int | None = None,
        world: int | None = None,
    ) -> None:
        super().__init__(seed=seed, uneven="pad", rank=rank, world=world)
        if length < 1:
            raise SamplerError(f"length {length} must be at least 1")
        if small not in ("pad", "drop", "raise"):
            raise SamplerError(f"small={small!r} must be 'pad', 'drop' or 'raise'")
        if order not in ("random", "storage"):
            raise SamplerError(f"order={order!r} must be 'random' or 'storage'")
        catalog = catalog_of(data)
        step = int(getattr(data, "step", 1))
        _, self.size = window_sizes(catalog, size, step)
        self.length = length
        self._step = step
        room = (catalog.shape - self.size) // step + 1
        fits = (catalog.shape >= self.size).all(axis=1)
        self.small_rows = int((~fits).sum())
        if self.small_rows and small == "raise":
            row = int(np.flatnonzero(~fits)[0])
            raise SamplerError(
                f"{self.small_rows} of {len(catalog)} rows are smaller than {self.size}, first {catalog.key[row]!r}; small='pad' pads them"
            )
        self._across = np.maximum(room[:, 1], 1)
        count = np.maximum(room, 1).prod(axis=1)
        count[~fits] = 1 if small == "pad" else 0
        partly = (catalog.shape > self.size).any(axis=1) & ~fits & (small == "pad")
        count[partly] = np.maximum(room[partly], 1).prod(axis=1)
        self._ends = np.cumsum(count)
        self._digest = catalog_digest(catalog)
        if not self._ends[-1]:
            raise SamplerError(
                f"all {len(catalog)} rows are smaller than {self.size}, and small='drop' leaves them out"
            )
        self._storage: StorageOrder | None = None
        if order == "storage":
            rooms = np.where(count[:, None] > 0, np.maximum(room, 1), 0)
            self._storage = StorageOrder(
                rooms, step=step, length=length, buffer=buffer, seed=seed, name=lambda row: catalog.key[row]
            )
        self._ordered = f" storage {buffer}" if order == "storage" else ""

    @property
    def total(self) -> int:
        """Draws per epoch over all ranks."""
        return self.length

    @property
    def windows(self) -> int:
        """How many different windows there are."""
        return int(self._ends[-1])

    @cached_property
    def plan(self) -> str:
        """Text that is equal for two samplers exactly when they yield the same samples."""
        return f"{self._digest} {self.size} {self._step} {self.length} {self.windows}{self._ordered}"

    def _extend(self, indexes: NDArray[np.int64], beyond: NDArray[np.bool_]) -> NDArray[np.int64]:
        return indexes

    def _repeats(self, beyond: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return np.zeros_like(beyond)

    def draw(self, indexes: NDArray[np.int64]) -> Iterator[Query]:
        """Yield the draws with the given numbers."""
        rows, at = self.places(indexes)
        yield from queries_of_rows(rows.tolist(), windows_at(at, self.size), self.epoch, indexes.tolist())

    def places(self, indexes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (n,) catalog rows and (n, 2) start rows and columns of draws, without making queries."""
        if self._storage is not None:
            rows, at = self._storage.places(self.epoch, indexes)
            return rows, at * self._step
        pick = (uniform64(self.seed, self.epoch, indexes) % np.uint64(self._ends[-1])).astype(np.int64)
        rows = np.searchsorted(self._ends, pick, side="right")
        within = pick - np.where(rows > 0, self._ends[rows - 1], 0)
        across = self._across[rows]
        return rows, np.stack([within // across, within % across], axis=1) * self._step
