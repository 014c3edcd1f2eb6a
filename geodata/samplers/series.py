"""Windows of series: where, and which of the dates."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.errors import SamplerError
from geodata.query import Query, queries_of_rows
from geodata.samplers.base import catalog_of, window_sizes, windows_at
from geodata.samplers.draws import WindowSampler

__all__ = ["SeriesPatchSampler"]

_DATES = 32
"""First stream of random numbers for dates; each date takes one."""


class SeriesPatchSampler(WindowSampler):
    """Draw random windows of series, with the same number of dates in each.

    Windows are drawn as by `RandomPatchSampler`, and dates apart from them. Dates are in time order.

    Parameters
    ----------
    data : what `Dataset.series` makes, also joined to other datasets
    size : int, (height, width), or ground size such as ``"2560m"``
    dates : int >= 1
        Dates of every sample.
    how : {"random", "run", "spread"}
        Every choice of so many dates equally likely; every run of consecutive dates equally likely; or always those evenly
        spread from the first to the last, by position (a single one is the middle).
    length : int >= 1
        Draws per epoch over all ranks.
    short : {"raise", "drop"}
        Items with fewer dates: refused, or left out (`short_rows` of them).
    seed, rank, world : as in `QuerySampler`
    options : further ones of `RandomPatchSampler`: ``small``, ``order``, ``within``...
        Those of one value per row are for the items that are left.

    Raises
    ------
    SamplerError
        If these items are no series, or have too few dates.
    """

    def __init__(
        self,
        data: Any,
        *,
        size: Any,
        dates: int,
        how: str = "random",
        length: int,
        seed: int = 0,
        short: str = "raise",
        rank: int | None = None,
        world: int | None = None,
        **options: Any,
    ) -> None:
        if dates < 1:
            raise SamplerError(f"dates {dates} must be at least 1")
        if how not in ("random", "run", "spread"):
            raise SamplerError(f"how={how!r} must be 'random', 'run' or 'spread'")
        if short not in ("raise", "drop"):
            raise SamplerError(f"short={short!r} must be 'raise' or 'drop'")
        catalog = catalog_of(data)
        self._there = _dates_of(data)
        enough = self._there >= dates
        self.short_rows = int((~enough).sum())
        if self.short_rows and (short == "raise" or not enough.any()):
            row = int(np.flatnonzero(~enough)[0])
            raise SamplerError(
                f"{self.short_rows} of {len(enough)} items have fewer than {dates} dates, first {catalog.key[row]!r} with "
                f"{self._there[row]}; ask for fewer, or leave such items out with short='drop'"
            )
        self.dates, self.how = dates, how
        self._kept = np.flatnonzero(enough)
        part = SimpleNamespace(catalog=catalog.take(self._kept), step=int(getattr(data, "step", 1)))
        super().__init__(part, size=size, length=length, seed=seed, rank=rank, world=world, **options)
        self.size = window_sizes(part.catalog, size, part.step)[1]

    @cached_property
    def plan(self) -> str:
        """Text that is equal for two samplers exactly when they yield the same samples."""
        there = hashlib.sha256(self._kept.data)
        there.update(self._there.data)
        return f"{super().plan} {self.dates} {self.how} {there.hexdigest()[:16]}"

    def places(self, indexes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (n,) catalog rows and (n, 2) start rows and columns of draws, without making queries."""
        rows, at = super().places(indexes)
        return self._kept[rows], at

    def draw(self, indexes: NDArray[np.int64]) -> Iterator[Query]:
        """Yield the draws with the given numbers."""
        rows, at = self.places(indexes)
        chosen = self._chosen(self._there[rows], indexes)
        plain = queries_of_rows(rows.tolist(), windows_at(at, self.size), self.epoch, indexes.tolist())
        for query, dates in zip(plain, chosen.tolist(), strict=True):
            yield replace(query, dates=tuple(dates))

    def _chosen(self, there: NDArray[np.int64], indexes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return (n, dates) positions of dates, ascending."""
        k = np.arange(self.dates)
        if self.how == "spread":
            share = k / (self.dates - 1) if self.dates > 1 else np.array([0.5])
            return np.rint((there[:, None] - 1) * share).astype(np.int64)
        if self.how == "run":
            first = self._below(there - self.dates + 1, indexes, _DATES)
            return first[:, None] + k
        # Floyd's way to choose k of n: one number for each date chosen, however many there are.
        chosen = np.full((len(there), self.dates), -1, dtype=np.int64)
        for j in range(self.dates):
            most = there - self.dates + j
            pick = self._below(most + 1, indexes, _DATES + j)
            taken = (chosen == pick[:, None]).any(axis=1)
            chosen[:, j] = np.where(taken, most, pick)
        return np.sort(chosen, axis=1)


def _dates_of(data: Any) -> NDArray[np.int64]:
    """Return (N,) how many dates each item has."""
    while not hasattr(data, "groups") and hasattr(data, "lead"):
        data = data.lead
    groups = getattr(data, "groups", None)
    if groups is None:
        raise SamplerError(f"{type(data).__name__} has one date per item; make a series of it first: ds.series()")
    return np.array([len(group) for group in groups], dtype=np.int64)
