"""Windows of series: where, and which of the dates."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.errors import SamplerError
from geodata.query import Query
from geodata.samplers.arguments import one_of, whole
from geodata.samplers.draws import below
from geodata.samplers.random import RandomPatchSampler
from geodata.samplers.windows import catalog_of

__all__ = ["SeriesPatchSampler"]

_DATES = 32
"""First stream of random numbers for dates; each date takes one."""


class SeriesPatchSampler(RandomPatchSampler):
    """Draw a random window of a series and some of its dates, as many in each sample.

    Windows are drawn as by `RandomPatchSampler`, and dates apart from them. Dates are in time order.

    Parameters
    ----------
    data : what `Dataset.series` makes, also joined to other datasets
    size : int, (height, width), or ground size such as ``"2560m"``
    length : int >= 1
        Draws per epoch over all ranks.
    dates : int >= 1
        Dates of every sample.
    how : {"random", "run", "spread"}
        Every choice of so many dates equally likely; every run of consecutive dates equally likely; or always those evenly
        spread from the first to the last, by position (a single one is the middle).
    short : {"raise", "drop"}
        Items with fewer dates: refused, or left out. `short_rows` says how many there are.
    seed, rank, world : as in `QuerySampler`
    options : further ones of `RandomPatchSampler`: ``small``, ``order``, ``within``...

    Raises
    ------
    SamplerError
        If these items are no series, or have too few dates.

    Examples
    --------
    ``SeriesPatchSampler(ds.series(), size=128, length=10_000, dates=4, how="run")``
    """

    def __init__(
        self,
        data: Any,
        *,
        size: Any,
        length: int,
        dates: int,
        how: str = "random",
        seed: int = 0,
        short: str = "raise",
        rank: int | None = None,
        world: int | None = None,
        **options: Any,
    ) -> None:
        self.dates = whole("dates", dates)
        self.how = one_of("how", how, "random", "run", "spread")
        one_of("short", short, "raise", "drop")
        catalog = catalog_of(data)
        self._there = _dates_of(data)
        too_few = np.flatnonzero(self._there < dates)
        self.short_rows = len(too_few)
        if self.short_rows and (short == "raise" or self.short_rows == len(catalog)):
            row = int(too_few[0])
            raise SamplerError(
                f"{self.short_rows} of {len(catalog)} items have fewer than {dates} dates, first {catalog.key[row]!r} with "
                f"{self._there[row]}; ask for fewer, or leave such items out with short='drop'"
            )
        super().__init__(data, size=size, length=length, seed=seed, rank=rank, world=world, **options)

    def _drawable(self, catalog: Catalog) -> NDArray[np.bool_]:
        return np.asarray(self._there >= self.dates)

    @cached_property
    def plan(self) -> str:
        """Text that is equal for two samplers exactly when they yield the same samples."""
        there = hashlib.sha256(self._there.data).hexdigest()[:16]
        return f"{super().plan} {self.dates} {self.how} {there}"

    def draw(self, indexes: NDArray[np.int64]) -> Iterator[Query]:
        """Yield the draws with the given numbers."""
        rows, at = self.places(indexes)
        chosen = self._chosen_dates(self._there[rows], indexes)
        for query, dates in zip(self._queries(rows, at, indexes), chosen.tolist(), strict=True):
            yield replace(query, dates=tuple(dates))

    def _chosen_dates(self, there: NDArray[np.int64], indexes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return (n, dates) positions of dates, ascending."""
        k = np.arange(self.dates)
        if self.how == "spread":
            share = k / (self.dates - 1) if self.dates > 1 else np.array([0.5])
            return np.rint((there[:, None] - 1) * share).astype(np.int64)
        if self.how == "run":
            first = below(there - self.dates + 1, self._numbers(indexes, _DATES))
            return first[:, None] + k
        # Floyd's way to choose k of n: one number for each date chosen, however many there are.
        chosen = np.full((len(there), self.dates), -1, dtype=np.int64)
        for j in range(self.dates):
            most = there - self.dates + j
            pick = below(most + 1, self._numbers(indexes, _DATES + j))
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
