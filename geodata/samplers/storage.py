"""Random windows in the order of storage: several draws from each region that is decoded anyway."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from geodata.errors import SamplerError
from geodata.samplers.arguments import MOST, whole
from geodata.samplers.draws import below, place_in, uniform64

__all__ = ["CELL", "VISIT", "StorageOrder"]

CELL = 512
"""Side of a region in pixels: windows of one visit start within a square of so many pixels, on the usual sizes of tiles."""

VISIT = 32
"""Draws from a region in one visit."""

_WHERE, _WHEN, _START, _PLACE = 1, 2, 3, 4
"""Streams of random numbers: where the epoch starts, order of visits, place in a region, order within the buffer."""


class StorageOrder:
    """Draws that stay together in storage, each of them still uniform over all windows.

    An epoch is a number of visits to regions, `VISIT` draws each. The visits lie evenly over all windows, from a random
    start, and are made in random order; the draws of ``buffer // VISIT`` visits are shuffled among each other.

    Parameters
    ----------
    rooms : (N, 2) int, start positions along rows and columns of each item, in steps
    step : int, pixels between start positions
    length : int, draws of an epoch
    buffer : int, draws shuffled among each other
    seed : int
    name : callable (row) -> str, for errors

    Raises
    ------
    SamplerError
        If the buffer holds no visit, or items have fewer windows than a visit has draws.

    Attributes
    ----------
    plan : text that is equal for two of them, over the same windows, exactly when they draw the same
    """

    def __init__(
        self,
        rooms: NDArray[np.int64],
        *,
        step: int,
        length: int,
        buffer: int,
        seed: int,
        name: Callable[[int], str],
    ) -> None:
        if whole("buffer", buffer, VISIT, MOST) % VISIT:
            raise SamplerError(f"buffer {buffer} must be a multiple of {VISIT} draws, for example {8 * VISIT}")
        windows = rooms.prod(axis=1)
        few = np.flatnonzero((windows > 0) & (windows < VISIT))
        if len(few):
            raise SamplerError(
                f"{len(few)} of {len(rooms)} rows have fewer windows than the {VISIT} draws of a visit, first {name(int(few[0]))!r} "
                f"with {windows[few[0]]}; order='random' reads such items just as well, or leave them out with small='drop'"
            )
        self._side = max(CELL // step, 1)
        self._rooms, self._seed = rooms, seed
        self._cells = np.maximum((rooms + self._side // 2) // self._side, 1)
        self._cells[windows == 0] = 0
        self._first = np.concatenate([[0], np.cumsum(self._cells.prod(axis=1))])
        self._ends = np.cumsum(self._sizes(np.arange(self._first[-1])).prod(axis=1))
        self._visits = -(-length // VISIT)
        # A buffer longer than the epoch is the epoch.
        self._buffer = min(buffer, self._visits * VISIT)
        self.plan = f"storage {buffer}"
        self._order: tuple[int, NDArray[np.int64]] | None = None

    def places(self, epoch: int, indexes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (n,) rows and (n, 2) start positions in steps of the draws with the given numbers."""
        blocks, which = np.unique(indexes // self._buffer, return_inverse=True)
        draws = blocks[:, None] * self._buffer + np.arange(self._buffer)
        numbers = self._numbers(epoch, draws, _PLACE)
        numbers[draws >= self._visits * VISIT] = np.iinfo(
            np.uint64
        ).max  # the last visits are not spread over a full buffer
        # Positions of a block are dealt out to its draws, VISIT to each visit.
        dealt = np.argsort(numbers, axis=1, kind="stable")
        visit = (blocks[:, None] * (self._buffer // VISIT) + dealt // VISIT)[which, indexes % self._buffer]
        cells = self._visited(epoch, visit % self._visits)
        sizes, (rows, low) = self._sizes(cells), self._where(cells)
        return rows, low + place_in(sizes, self._numbers(epoch, indexes, _START))

    def _numbers(self, epoch: int, indexes: NDArray[np.int64], stream: int) -> NDArray[np.uint64]:
        return uniform64(self._seed, epoch, indexes.ravel(), stream).reshape(indexes.shape)

    def _visited(self, epoch: int, visits: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the region of each visit."""
        if self._order is None or self._order[0] != epoch:
            numbers = self._numbers(epoch, np.arange(self._visits), _WHEN)
            self._order = epoch, np.argsort(numbers, kind="stable")
        total = int(self._ends[-1])
        start = int(below(total, self._numbers(epoch, np.zeros(1, dtype=np.int64), _WHERE))[0])
        turn = self._order[1][visits]
        # Whole numbers all the way: turn * total may pass 2**63 for very large archives.
        evenly = turn * (total // self._visits) + turn * (total % self._visits) // self._visits
        found: NDArray[np.int64] = np.searchsorted(self._ends, (start + evenly) % total, side="right")
        return found

    def _where(self, cells: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the row of each region, and (n, 2) where its start positions begin."""
        rows = np.searchsorted(self._first, cells, side="right") - 1
        within, across = cells - self._first[rows], self._cells[rows, 1]
        return rows, np.stack([within // across, within % across], axis=1) * self._side

    def _sizes(self, cells: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return (n, 2) start positions of each region; what is left at the end goes to the last one."""
        rows, low = self._where(cells)
        last = low // self._side == self._cells[rows] - 1
        return np.where(last, self._rooms[rows] - low, self._side)
