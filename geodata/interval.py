"""When: half-open time intervals in seconds since 1970, UTC."""

from __future__ import annotations

import datetime as dt
import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from geodata.errors import QueryError

__all__ = ["ALWAYS", "DAY", "YEAR", "Interval", "length_of_time"]

DAY = 86400.0
"""Seconds."""

YEAR = 365.2425 * DAY
"""Mean year of the calendar, seconds."""

_SPAN = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([hdwy])\s*$")
_UNITS = {"h": 3600.0, "d": DAY, "w": 7 * DAY, "y": YEAR}
_PARTIAL = re.compile(r"^(\d{4})(?:-?(\d{2})(?:-?(\d{2}))?)?$")
_WHOLE = {"Y": 4, "M": 7, "D": 10}
"""Letters of ISO text that a numpy unit of years, months or days stands for."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A half-open interval [start, end); with start == end it is a point in time.

    Parameters
    ----------
    start, end : float, seconds since 1970-01-01 UTC; -inf and inf are allowed, NaN is not

    Examples
    --------
    >>> Interval.parse(("2020-05", "2020-06"))
    Interval('2020-05-01', '2020-07-01')
    >>> Interval.parse("2020-05-03").overlaps(Interval.parse("2020-05"))
    True
    """

    start: float = -math.inf
    end: float = math.inf

    def __post_init__(self) -> None:
        if math.isnan(self.start) or math.isnan(self.end):
            raise QueryError("a time is NaN; an unknown time is the interval (-inf, inf)")
        if self.start > self.end:
            raise QueryError(f"time interval ends before it starts: {_text(self.start)} > {_text(self.end)}")

    @classmethod
    def parse(cls, value: Any) -> Interval:
        """Read an interval from what people write.

        Parameters
        ----------
        value : None, Interval, one time, or a pair (first, last)
            A time is ISO text, ``datetime``, ``date``, ``numpy.datetime64`` or seconds since 1970. Times
            without a zone are UTC. ``"2020"``, ``"2020-05"`` and ``"2020-05-03"`` stand for the whole year,
            month or day, also as the last of a pair. ``None`` in a pair leaves that side open.

        Raises
        ------
        QueryError
            If a text is not a time or the interval is reversed.
        """
        if value is None:
            return ALWAYS
        if isinstance(value, Interval):
            return value
        if isinstance(value, slice):
            value = (value.start, value.stop)
        if isinstance(value, (tuple, list)):
            if len(value) != 2:
                raise QueryError(f"time {value!r} must be one time or a pair (first, last)")
            first, last = value
            low = (-math.inf, -math.inf) if first is None else _span(first)
            high = (math.inf, math.inf) if last is None else _span(last)
            if low[0] > high[1] or low[0] == high[1] > high[0]:
                raise QueryError(f"time {value!r} ends before it starts; give (first, last)")
            return cls(low[0], high[1])
        return cls(*_span(value))

    def overlaps(self, other: Interval) -> bool:
        """Whether the two share a moment; touching ends do not count, a point inside does."""
        if self.start == self.end or other.start == other.end:
            return (
                self.start <= other.start < self.end
                or other.start <= self.start < other.end
                or (self.start == other.start and self.end == other.end)
            )
        return max(self.start, other.start) < min(self.end, other.end)

    def __repr__(self) -> str:
        return f"Interval({_text(self.start)!r}, {_text(self.end)!r})"


def length_of_time(value: Any) -> float | None:
    """Return seconds of a number of days, or of text such as ``"12h"``, ``"30d"``, ``"2w"``, ``"1y"``; None if it is neither."""
    match = _SPAN.match(value) if isinstance(value, str) else None
    if match is not None:
        return float(match[1]) * _UNITS[match[2]]
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value) * DAY
    return None


def _span(value: Any) -> tuple[float, float]:
    """Start and end of what one time text stands for, in seconds."""
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        return float(value), float(value)
    if isinstance(value, np.datetime64):
        if np.isnat(value):
            raise QueryError("a time is NaT; leave the time out instead")
        letters = _WHOLE.get(np.datetime_data(value.dtype)[0])
        if letters is not None:
            return _span_of_text(str(value)[:letters])
        at = float(value.astype("datetime64[us]").astype(np.int64)) / 1e6
        return at, at
    if isinstance(value, dt.datetime):
        at = _seconds(value)
        return at, at
    if isinstance(value, dt.date):
        at = _seconds(dt.datetime(value.year, value.month, value.day))
        return at, at + 86400.0
    if not isinstance(value, str):
        raise QueryError(f"{value!r} is not a time; give ISO text such as '2020-05-03', or a datetime")
    return _span_of_text(value)


def _span_of_text(text: str) -> tuple[float, float]:
    partial = _PARTIAL.match(text.strip())
    try:
        if "W" in text:
            raise ValueError("week dates are not supported")
        if partial is None:
            at = _seconds(dt.datetime.fromisoformat(text.strip()))
            return at, at
        year, month, day = (int(g) if g else None for g in partial.groups())
        start = dt.datetime(year, 1 if month is None else month, 1 if day is None else day)  # type: ignore[arg-type]
        if day is not None:
            end = start + dt.timedelta(days=1)
        elif month is not None:
            end = dt.datetime(start.year + start.month // 12, start.month % 12 + 1, 1)
        else:
            end = dt.datetime(start.year + 1, 1, 1)
        return _seconds(start), _seconds(end)
    except (ValueError, OverflowError) as error:
        raise QueryError(f"{text!r} is not a time ({error}); give ISO text such as '2020-05-03'") from None


def _seconds(moment: dt.datetime) -> float:
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    delta = zoned - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return delta / dt.timedelta(microseconds=1) / 1e6


def _text(seconds: float) -> str:
    if math.isinf(seconds):
        return ".." if seconds > 0 else "-.."
    try:
        moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)
    except OverflowError:
        return f"{seconds:.17g} s since 1970"
    text = moment.replace(tzinfo=None).isoformat()
    return text.removesuffix("T00:00:00")


ALWAYS = Interval()
"""No time known or asked for: (-inf, inf)."""
