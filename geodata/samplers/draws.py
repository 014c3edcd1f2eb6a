"""Samplers that draw with replacement, and those that start from a random window."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.errors import SamplerError
from geodata.samplers.base import QuerySampler, uniform64
from geodata.samplers.random import RandomPatchSampler

__all__ = ["DrawSampler", "WindowSampler"]


class DrawSampler(QuerySampler):
    """Base of samplers whose epoch is a number of draws: where ranks do not divide it, the extra ones are new draws.

    Parameters
    ----------
    length : int >= 1
        Draws per epoch over all ranks.
    seed, rank, world : as in `QuerySampler`
    """

    def __init__(self, *, length: int, seed: int = 0, rank: int | None = None, world: int | None = None) -> None:
        super().__init__(seed=seed, uneven="pad", rank=rank, world=world)
        if length < 1:
            raise SamplerError(f"length {length} must be at least 1")
        self.length = length

    @property
    def total(self) -> int:
        """Draws per epoch over all ranks."""
        return self.length

    def _extend(self, indexes: NDArray[np.int64], beyond: NDArray[np.bool_]) -> NDArray[np.int64]:
        return indexes

    def _repeats(self, beyond: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return np.zeros_like(beyond)

    def _below(self, most: NDArray[np.int64], indexes: NDArray[np.int64], stream: int) -> NDArray[np.int64]:
        """Return a random whole number from 0 to below `most` (n,) for each of n draws."""
        numbers = uniform64(self.seed, self.epoch, indexes, stream) % most.astype(np.uint64)
        return numbers.astype(np.int64)


class WindowSampler(DrawSampler):
    """Base of samplers that draw a window as `RandomPatchSampler` does, and make something of it.

    Parameters
    ----------
    data, size, length, seed, rank, world : as in `RandomPatchSampler`
    options : further ones of `RandomPatchSampler`
    """

    def __init__(
        self,
        data: Any,
        *,
        size: Any,
        length: int,
        seed: int = 0,
        rank: int | None = None,
        world: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(length=length, seed=seed, rank=rank, world=world)
        self._windows = RandomPatchSampler(data, size=size, length=length, seed=seed, rank=0, world=1, **options)
        self.small_rows = self._windows.small_rows

    @cached_property
    def plan(self) -> str:
        """Text that is equal for two samplers exactly when they yield the same samples."""
        return self._windows.plan

    def places(self, indexes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (n,) catalog rows and (n, 2) start rows and columns of the windows of draws."""
        self._windows.set_epoch(self.epoch)
        return self._windows.places(indexes)
