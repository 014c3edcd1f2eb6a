"""Random windows that spread evenly: scrambled Sobol points over rows and start positions."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geodata.samplers.arguments import whole
from geodata.samplers.draws import share, uniform64
from geodata.samplers.windows import WindowSampler

__all__ = ["LowDiscrepancySampler"]

_SCRAMBLE, _REST = 40, 41
"""Streams of random numbers: how an epoch is scrambled, and the digits below those of a Sobol point."""

_DIGITS = 30
"""Binary digits of torch's Sobol points."""


class LowDiscrepancySampler(WindowSampler):
    """Draw a random window, many of which fill the archive more evenly than independent ones.

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

    Examples
    --------
    ``LowDiscrepancySampler(ds, size=256, length=8192)``

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
        whole("length", length, 1, 2**_DIGITS + 1)
        super().__init__(data, size=size, length=length, seed=seed, small=small, mixed=mixed, rank=rank, world=world)
        self._ends = np.cumsum(self._rooms.prod(axis=1))
        self._sequence: tuple[tuple[int, int], NDArray[np.int64], NDArray[np.int64]] | None = None

    @property
    def windows(self) -> int:
        """How many different windows there are."""
        return int(self._ends[-1])

    @cached_property
    def plan(self) -> str:
        """Text that is equal for two samplers exactly when they yield the same samples."""
        return f"{self._said} {self.windows}"

    def places(self, indexes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (n,) catalog rows and (n, 2) start rows and columns of draws, without making queries."""
        points = self._points(indexes)
        pick = np.minimum((points[:, 0] * self._ends[-1]).astype(np.int64), self._ends[-1] - 1)
        rows = np.searchsorted(self._ends, pick, side="right")
        at = np.minimum((points[:, 1:] * self._rooms[rows]).astype(np.int64), self._rooms[rows] - 1)
        return rows, at * self._step

    def _points(self, indexes: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (n, 3) points in [0, 1)."""
        of = (self.seed, self.epoch)
        shift, directions = self._scrambled()
        # Point i is what the binary digits of the Gray code of i switch: any points at once, in any order.
        gray, points = indexes ^ (indexes >> 1), np.tile(shift, (len(indexes), 1))
        for digit in range(_DIGITS):
            points ^= np.where((gray >> digit & 1)[:, None] == 1, directions[:, digit], 0)
        # Below the digits of a point everything is open: without them, archives of 2**30 windows had some never drawn.
        rest = [share(uniform64(*of, indexes, _REST + k)) for k in range(3)]
        return np.asarray((points + np.stack(rest, axis=1)) * 2.0**-_DIGITS)

    def _scrambled(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (3,) the first point of this epoch and (3, 30) what each digit of a number switches, as whole numbers."""
        of = (self.seed, self.epoch)
        if self._sequence is None or self._sequence[0] != of:
            scramble = int(uniform64(*of, np.zeros(1, dtype=np.int64), _SCRAMBLE)[0] >> np.uint64(1))
            make: Any = torch.quasirandom.SobolEngine
            engine = make(3, scramble=True, seed=scramble)
            self._sequence = of, engine.shift.numpy(), engine.sobolstate.numpy()
        return self._sequence[1:]
