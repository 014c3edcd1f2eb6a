"""Two looks at one place: pairs of dates."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from functools import cached_property
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.catalog.columns import rows_digest
from geodata.errors import SamplerError
from geodata.interval import DAY, YEAR, length_of_time
from geodata.query import Window, queries_of_rows
from geodata.samplers.arguments import flag, one_of
from geodata.samplers.draws import DrawSampler, below, place_in
from geodata.samplers.windows import catalog_of, step_of, window_sizes, windows_at

__all__ = ["TemporalPairSampler"]

SEASON = 45 * DAY
"""How far apart two moments of one season are at most, whole years apart."""

_PLACE, _PAIR, _ORDER, _FIRST, _SECOND = 16, 17, 18, 19, 20
"""Streams of random numbers: which place, which pair there, in which order, and the two windows."""

Ranges = list[tuple[NDArray[np.int64], NDArray[np.int64]]]


class TemporalPairSampler(DrawSampler):
    """Draw pairs of rows of the same place at two different times, as tuples of two queries.

    Places are equally likely, and so are all admissible pairs of a place; which of the two comes first is random. The
    time of a row is the middle of its interval; where no row has a time and none is asked for, any two rows of a place are a
    pair. Both queries have the same draw numbers, so that transforms treat them alike.

    Parameters
    ----------
    data : Dataset or Catalog, one row per date
    size : None, int, (height, width), or ground size such as ``"2560m"``
        The same random window in both; None for whole items. Rows smaller than the window are padded.
    length : int >= 1
        Pairs per epoch over all ranks.
    by : "location", or a column
        Rows with the same grid, or with the same value; the latter must share a grid too if there is a size.
    gap : None or (least, most)
        How far apart in time: days, or text such as ``"12h"``, ``"30d"``, ``"2w"``, ``"1y"``; None for any.
    same_season : None or bool
        True: whole years apart, up to 45 days; False: not so. A year has 365.2425 days.
    seed : int
    single : {"drop", "duplicate", "crops"}
        Places without an admissible pair (`single_places` of them): never drawn; a row of theirs twice, in the same
        window; or in two random windows.
    rank, world : as in `QuerySampler`

    Raises
    ------
    SamplerError
        If rows have no time, grids of a place differ, or there is nothing to draw.

    Examples
    --------
    ``TemporalPairSampler(ds, size=128, length=10_000, gap=("30d", "1y"))``

    References
    ----------
    .. [1] Braham et al., SpectralEarth, 2024: two dates of a location, else the same twice (``single="duplicate"``).
    """

    def __init__(
        self,
        data: Any,
        *,
        size: Any = None,
        length: int,
        by: str = "location",
        gap: Any = None,
        same_season: bool | None = None,
        seed: int = 0,
        single: str = "drop",
        rank: int | None = None,
        world: int | None = None,
    ) -> None:
        super().__init__(length=length, seed=seed, rank=rank, world=world)
        self.single = one_of("single", single, "drop", "duplicate", "crops")
        if single == "crops" and size is None:
            raise SamplerError("single='crops' takes two windows of one row and needs a size; or use 'duplicate'")
        if hasattr(data, "groups"):
            raise SamplerError("an item of a series holds all its dates; give the dataset itself, one row per date")
        catalog, self._step = catalog_of(data), step_of(data)
        if same_season is not None:
            same_season = flag("same_season", same_season)
        place = _places(catalog, by, one_grid=size is not None)
        moment = _moments(catalog, needed=gap is not None or same_season is not None)
        order = np.lexsort((moment, place))
        self._rows, self._time = order, moment[order]
        self._first = np.flatnonzero(np.diff(place[order], prepend=-1))
        self._last = np.append(self._first[1:], len(order))
        self._apart = _allowed(_gap(gap), same_season, float(np.ptp(moment)))
        self._count_pairs(gap)
        self.size = None if size is None else window_sizes(catalog, size, self._step)[1]
        self._room = None if self.size is None else np.maximum((catalog.shape - self.size) // self._step + 1, 1)
        small = np.zeros(0, bool) if self.size is None else (catalog.shape < self.size).any(axis=1)
        self.small_rows = int(small.sum())
        self.data_digest = rows_digest(catalog)

    def _count_pairs(self, gap: Any) -> None:
        """Count the pairs of every row with later ones, and choose the places that are drawn."""
        n = len(self._rows)
        later = np.zeros(n, dtype=np.int64)
        for low, high in self._ranges(np.arange(n)):
            later += high - low
        self._ends = np.concatenate([[0], np.cumsum(later)])
        self._pairs = self._ends[self._last] - self._ends[self._first]
        self.single_places = int((self._pairs == 0).sum())
        self._drawn = np.flatnonzero(self._pairs) if self.single == "drop" else np.arange(len(self._pairs))
        if not len(self._drawn):
            raise SamplerError(
                f"none of {self.single_places} places has two dates with gap={gap!r} and this season; "
                "widen them, group by another column, or use single='duplicate'"
            )

    def _ranges(self, at: NDArray[np.int64]) -> Ranges:
        """Return, for sorted positions, the ranges of positions that each may be paired with: later ones of its place."""
        place = np.searchsorted(self._first, at, side="right") - 1
        first, last, time = at + 1, self._last[place], self._time[at]
        return [
            (
                _bisect(self._time, first, last, time, low, after=low_open),
                _bisect(self._time, first, last, time, high, after=not high_open),
            )
            for low, high, low_open, high_open in self._apart
        ]

    @property
    def drawn_places(self) -> int:
        """How many places are drawn from."""
        return len(self._drawn)

    @property
    def pairs(self) -> int:
        """How many admissible pairs of rows there are."""
        return int(self._ends[-1])

    @cached_property
    def plan(self) -> str:
        """Text that is equal for two samplers exactly when they yield the same samples."""
        h = hashlib.sha256(repr((self._apart, self.size, self._step, self.length, self.single)).encode())
        for held in (self._rows, self._time, self._first):
            h.update(np.ascontiguousarray(held).data)
        return f"{self.data_digest} {h.hexdigest()[:16]}"

    def draw(self, indexes: NDArray[np.int64]) -> Iterator[Any]:
        """Yield the pairs of queries with the given numbers."""
        one, other, alone = self._drawn_rows(indexes)
        windows = self._windows(one, indexes, _FIRST)
        again = windows
        if self.single == "crops" and self._room is not None:
            again = np.where(alone[:, None], self._windows(one, indexes, _SECOND), windows)
        numbers = indexes.tolist()
        yield from zip(
            queries_of_rows(one.tolist(), self._shown(windows), self.epoch, numbers),
            queries_of_rows(other.tolist(), self._shown(again), self.epoch, numbers),
            strict=True,
        )

    def _drawn_rows(self, indexes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Return the catalog rows of both views, and where they are one row for want of a pair."""
        place = self._drawn[below(len(self._drawn), self._numbers(indexes, _PLACE))]
        alone = self._pairs[place] == 0
        first, last = self._first[place], self._last[place]
        pick = below(np.where(alone, last - first, self._pairs[place]), self._numbers(indexes, _PAIR))
        one = np.where(alone, first + pick, np.searchsorted(self._ends, self._ends[first] + pick, side="right") - 1)
        other, left = one.copy(), self._ends[first] + pick - self._ends[one]
        for low, high in self._ranges(one):
            here = ~alone & (left >= 0) & (left < high - low)
            other[here] = (low + left)[here]
            left = left - (high - low)
        swap = below(2, self._numbers(indexes, _ORDER)) == 1
        one, other = np.where(swap, other, one), np.where(swap, one, other)
        return self._rows[one], self._rows[other], alone

    def _windows(self, rows: NDArray[np.int64], indexes: NDArray[np.int64], stream: int) -> NDArray[np.int64]:
        """Return (n, 2) start rows and columns, every window of a row equally likely."""
        if self._room is None:
            return np.zeros((len(rows), 2), dtype=np.int64)
        return place_in(self._room[rows], self._numbers(indexes, stream)) * self._step

    def _shown(self, at: NDArray[np.int64]) -> Iterator[Window | None]:
        return repeat(None, len(at)) if self.size is None else windows_at(at, self.size)


def _bisect(
    values: NDArray[np.float64],
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    time: NDArray[np.float64],
    apart: float,
    *,
    after: bool,
) -> NDArray[np.int64]:
    """Return, for many sorted runs at once, where in ``values[first:last]`` differences to a time reach `apart`.

    Differences and not sums are compared, so that a gap holds for the numbers that a reader would compute.

    Parameters
    ----------
    after : bool
        Behind differences that are equal to it, instead of before them.
    """
    low, high = np.minimum(first, last), last.copy()
    while (low < high).any():
        middle = (low + high) // 2
        inside = low < high
        value = values[np.minimum(middle, len(values) - 1)] - time
        right = inside & ((value <= apart) if after else (value < apart))
        low = np.where(right, middle + 1, low)
        high = np.where(inside & ~right, middle, high)
    return low


def _moments(catalog: Catalog, *, needed: bool) -> NDArray[np.float64]:
    """Return (N,) the middle of each row's interval, seconds since 1970 UTC; numbers in turn where no row has a time."""
    start, end = catalog.time.T
    unknown = np.flatnonzero(~(np.isfinite(start) & np.isfinite(end)))
    if len(unknown) == len(catalog) and not needed:
        return np.arange(len(catalog), dtype=np.float64)
    if len(unknown):
        raise SamplerError(
            f"{len(unknown)} of {len(catalog)} rows have no time, first {catalog.key[unknown[0]]!r}; pairs of dates need one "
            "in every row: leave such rows out with dataset.where"
        )
    middle: NDArray[np.float64] = start + (end - start) / 2
    return middle


def _places(catalog: Catalog, by: str, *, one_grid: bool) -> NDArray[np.int64]:
    """Return (N,) the number of each row's place."""
    if not isinstance(by, str):
        raise SamplerError(f"by={by!r} must be 'location' or the name of a column")
    if by == "location":
        return _grids(catalog)
    values = catalog.column(by).tolist()
    known: dict[Any, int] = {}
    try:
        places = np.array([known.setdefault(v, len(known)) for v in values], dtype=np.int64)
    except TypeError:
        raise SamplerError(f"column {by!r} holds lists, not single values; a place needs a name or number") from None
    unknown = sum(v is None or v != v for v in values)
    if unknown:
        raise SamplerError(f"column {by!r} is null in {unknown} rows; pairs need to know the place of each")
    if one_grid:
        grids = _grids(catalog)
        _, first = np.unique(places, return_index=True)
        other = np.flatnonzero(grids != grids[first][places])
        if len(other):
            raise SamplerError(
                f"rows with {by} = {values[other[0]]!r} lie on different grids, for example {catalog.key[other[0]]!r}; "
                "one window is not the same place in both: use by='location', or size=None for whole items"
            )
    return places


def _grids(catalog: Catalog) -> NDArray[np.int64]:
    """Return (N,) the number of each row's grid: equal affine, shape and CRS."""
    fp = catalog.footprints
    numbers = np.column_stack([fp.affine, fp.shape, fp.code])
    order = np.lexsort(numbers.T)
    new = (np.diff(numbers[order], axis=0) != 0).any(axis=1)
    grids = np.empty(len(catalog), dtype=np.int64)
    grids[order] = np.concatenate([[0], np.cumsum(new)])
    return grids


def _gap(gap: Any) -> tuple[float, float]:
    """Return the least and most seconds apart."""
    if gap is None:
        return 0.0, math.inf
    if not isinstance(gap, (tuple, list)) or len(gap) != 2:
        raise SamplerError(f"gap={gap!r} must be (least, most): days, or text such as '30d' or '1y'; None for any")
    low = 0.0 if gap[0] is None else _seconds(gap[0])
    high = math.inf if gap[1] is None else _seconds(gap[1])
    if low > high:
        raise SamplerError(f"gap={gap!r} ends before it starts; give (least, most)")
    return low, high


def _seconds(span: Any) -> float:
    found = length_of_time(span)
    if found is None:
        raise SamplerError(f"{span!r} is no span of time; give days, or text with h, d, w or y such as '30d' or '1y'")
    return found


def _allowed(
    gap: tuple[float, float], same_season: bool | None, longest: float
) -> list[tuple[float, float, bool, bool]]:
    """Return disjoint ranges of seconds apart: low, high, and whether each end is left out. A season repeats each year."""
    least, most = gap
    most = min(most, longest)
    bands = [(0.0, most, False, False)]
    if same_season is not None:
        years = range(int(longest // YEAR) + 2)
        bands = [
            (k * YEAR - SEASON, k * YEAR + SEASON, False, False)
            if same_season
            else (k * YEAR + SEASON, (k + 1) * YEAR - SEASON, True, True)
            for k in years
        ]
    kept = []
    for low, high, low_open, high_open in bands:
        start, start_open = (low, low_open) if low >= least else (least, False)
        stop, stop_open = (high, high_open) if high <= most else (most, False)
        if start <= 0:
            start, start_open = 0.0, True  # two different times
        if start < stop or (start == stop and not start_open and not stop_open):
            kept.append((start, stop, start_open, stop_open))
    return kept
