"""Random numbers by index, and samplers whose epoch is a number of draws."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.samplers.arguments import MOST, whole
from geodata.samplers.base import QuerySampler

__all__ = ["DrawSampler", "below", "place_in", "share", "uniform64"]

_GAP = 1024
"""To skip numbers costs about as much as to make so many of them."""


class DrawSampler(QuerySampler):
    """Draw samples with replacement: where ranks do not divide an epoch, the extra ones are new draws.

    Parameters
    ----------
    length : int >= 1
        Draws per epoch over all ranks.
    seed, rank, world : as in `QuerySampler`
    """

    def __init__(self, *, length: int, seed: int = 0, rank: int | None = None, world: int | None = None) -> None:
        super().__init__(seed=seed, uneven="pad", rank=rank, world=world)
        self.length = whole("length", length, 1, MOST)

    @property
    def total(self) -> int:
        """Draws per epoch over all ranks."""
        return self.length

    def _extended(self, indexes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        return indexes, np.zeros(len(indexes), dtype=bool)

    def _numbers(self, indexes: NDArray[np.int64], stream: int) -> NDArray[np.uint64]:
        """Return one random number per draw of this epoch."""
        return uniform64(self.seed, self.epoch, indexes, stream)


def below(most: Any, numbers: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return random whole numbers from 0 to below `most`, one number or one for each, from random ones of 64 bits."""
    return (numbers % np.asarray(most).astype(np.uint64)).astype(np.int64)


def place_in(rooms: NDArray[np.int64], numbers: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return (n, 2) places, uniform in (n, 2) rooms, from random numbers of 64 bits."""
    pick = below(rooms.prod(axis=1), numbers)
    return np.column_stack([pick // rooms[:, 1], pick % rooms[:, 1]])


def share(numbers: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return random numbers of 64 bits as shares in [0, 1)."""
    return np.asarray((numbers >> np.uint64(11)) * 2.0**-53)


def uniform64(seed: int, epoch: int, indexes: NDArray[np.int64], stream: int = 0) -> NDArray[np.uint64]:
    """Return one uniform 64-bit number per index: block ``index`` of a Philox stream keyed by seed and epoch.

    References
    ----------
    .. [1] Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC'11.
    """
    if not len(indexes):
        return np.empty(0, dtype=np.uint64)
    low, high = int(indexes.min()), int(indexes.max())
    if high - low > _GAP * len(indexes):
        return _scattered(seed, epoch, indexes, stream)
    source = np.random.Philox(key=[seed, epoch], counter=[low, stream, 0, 0])
    blocks: NDArray[np.uint64] = source.random_raw(4 * (high - low + 1)).reshape(-1, 4)[:, 0]
    return blocks[indexes - low]


def _scattered(seed: int, epoch: int, indexes: NDArray[np.int64], stream: int) -> NDArray[np.uint64]:
    """Return the numbers of indexes that lie far apart, run by run."""
    order = np.argsort(indexes, kind="stable")
    runs = np.split(order, np.flatnonzero(np.diff(indexes[order]) > _GAP) + 1)
    numbers = np.empty(len(indexes), dtype=np.uint64)
    for run in runs:
        numbers[run] = uniform64(seed, epoch, indexes[run], stream)
    return numbers
