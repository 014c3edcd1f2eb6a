"""Random windows that spread evenly: scrambled Sobol points over rows and start positions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geodata.errors import SamplerError
from geodata.query import Query, queries_of_rows
from geodata.samplers.base import (
    QuerySampler,
    catalog_digest,
    catalog_of,
    rooms_of,
    sizes_of,
    sizes_text,
    uniform64,
    windows_at,
)

__all__ = ["LowDiscrepancySampler"]

_SCRAMBLE, _REST = 40, 41
"""Streams of random numbers: how an epoch is scrambled, and the digits below those of a Sobol point."""

_DIGITS = 30
"""Binary digits of torch's Sobol points."""


class LowDiscrepancySampler(QuerySampler):
    """Draw windows that fill the archive more evenly than independent ones.

    Draw i of an epoch is point i of a Sobol sequence in three dimensions, scrambled anew each epoch: row (by its number of
    windows), start row and start column. Each draw alone is uniform over all windows; many together leave fewer
    gaps and clusters than `RandomPatchSampler`. Lengths that are powers of two are the most even.

    Parameters
    ----------
    data : Dataset or Catalog
    size : int, (height, width), or ground size such as ``"2560m"``
    length : int, 1 to 2**30
        Draws per epoch over all ranks.
    seed : int
        Draw i of epoch e is a pure function of (seed, e, i).
    small : {"pad", "drop", "raise"}
        What to do with rows smaller than the window, as in `RandomPatchSampler`.
    mixed : bool
        Whether rows may differ in resolution, as in `RandomPatchSampler`.
    rank, world : as in `QuerySampler`

    Raises
    ------
    SamplerError
        If nothing can be drawn, or rows of different resolution would share a batch.

    References
    ----------
    .. [1] Sobol, 1967; Matousek, On the L2-discrepancy for anchored boxes, 1998 (the scrambling of
       ``torch.quasirandom.SobolEngine``).
    """

    def __init__(
        self,
        data: Any,
        *,
        size: Any,
        length: int,
        seed: int = 0,
        small: str = "pad",
        mixed: bool = False,
        rank: int | None = None,
        world: int | None = None,
    ) -> None:
        super().__init__(seed=seed, uneven="pad", rank=rank, world=world)
        if not 1 <= length <= 2**_DIGITS:
            raise SamplerError(f"length {length} must be 1 to 2**{_DIGITS}, the points of a sequence")
        catalog = catalog_of(data)
        self._step = int(getattr(data, "step", 1))
        self._sizes, self.size = sizes_of(catalog, size, self._step, mixed)
        self._rooms, smaller = rooms_of(catalog, self._sizes, self._step, small)
        self.small_rows, self.length = int(smaller.sum()), length
        self._ends = np.cumsum(self._rooms.prod(axis=1))
        self._digest = catalog_digest(catalog)
        self._engine: tuple[tuple[int, int], Any] | None = None

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
        return f"{self._digest} {sizes_text(self.size, self._sizes)} {self._step} {self.length} {self.windows}"

    def _extend(self, indexes: NDArray[np.int64], beyond: NDArray[np.bool_]) -> NDArray[np.int64]:
        return indexes

    def _repeats(self, beyond: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return np.zeros_like(beyond)

    def draw(self, indexes: NDArray[np.int64]) -> Iterator[Query]:
        """Yield the draws with the given numbers."""
        rows, at = self.places(indexes)
        yield from queries_of_rows(
            rows.tolist(), windows_at(at, self.size or self._sizes[rows]), self.epoch, indexes.tolist()
        )

    def places(self, indexes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (n,) catalog rows and (n, 2) start rows and columns of draws, without making queries."""
        points = self._points(indexes)
        pick = np.minimum((points[:, 0] * self._ends[-1]).astype(np.int64), self._ends[-1] - 1)
        rows = np.searchsorted(self._ends, pick, side="right")
        at = np.minimum((points[:, 1:] * self._rooms[rows]).astype(np.int64), self._rooms[rows] - 1)
        return rows, at * self._step

    def _points(self, indexes: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (n, 3) points in [0, 1)."""
        if not len(indexes):
            return np.empty((0, 3))
        low, high = int(indexes.min()), int(indexes.max())
        of = (self.seed, self.epoch)
        if self._engine is None or self._engine[0] != of:
            scramble = int(uniform64(*of, np.zeros(1, dtype=np.int64), _SCRAMBLE)[0] >> np.uint64(1))
            make: Any = torch.quasirandom.SobolEngine
            self._engine = of, make(3, scramble=True, seed=scramble)
        engine = self._engine[1]
        if engine.num_generated > low:
            engine.reset()
        if engine.num_generated < low:
            engine.fast_forward(low - engine.num_generated)
        points = engine.draw(high - low + 1, dtype=torch.float64).numpy()[indexes - low]
        # Below the digits of a point everything is open: without them, archives of 2**30 windows had some never drawn.
        rest = [uniform64(*of, indexes, _REST + k) >> np.uint64(11) for k in range(3)]
        return np.asarray(points + np.stack(rest, axis=1) * 2.0 ** -(53 + _DIGITS))
