"""Interval: what people write, against the calendar; and half-open overlap, against listed moments."""

from __future__ import annotations

import calendar
import datetime as dt
import math
import pickle
import time
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodata.errors import GeodataError, QueryError
from geodata.interval import ALWAYS, Interval

DAY = 86400
CET = dt.timezone(dt.timedelta(hours=2))


def utc(*when):
    """Seconds since 1970 by the calendar module, which knows no time zones."""
    year, month, day, hour, minute, second = (*when, *(1, 1, 0, 0, 0)[len(when) - 1 :])
    return calendar.timegm((year, month, day, hour, minute, second))


CASES = [
    ("2020", utc(2020), utc(2021)),
    ("1969", -365 * DAY, 0),
    ("2020-02", utc(2020, 2), utc(2020, 3)),
    ("2020-12", utc(2020, 12), utc(2021)),
    ("2020-02-29", utc(2020, 2, 29), utc(2020, 3)),
    ("2020-12-31", utc(2020, 12, 31), utc(2021)),
    ("20200503", utc(2020, 5, 3), utc(2020, 5, 4)),
    (" 2020-05 ", utc(2020, 5), utc(2020, 6)),
    ("2020-05-03T10:20:30", utc(2020, 5, 3, 10, 20, 30), utc(2020, 5, 3, 10, 20, 30)),
    ("2020-05-03 10:20:30", utc(2020, 5, 3, 10, 20, 30), utc(2020, 5, 3, 10, 20, 30)),
    ("20200503T102030", utc(2020, 5, 3, 10, 20, 30), utc(2020, 5, 3, 10, 20, 30)),
    ("2020-05-03T10:20:30Z", utc(2020, 5, 3, 10, 20, 30), utc(2020, 5, 3, 10, 20, 30)),
    ("2020-05-03T10:20:30.25Z", utc(2020, 5, 3, 10, 20, 30) + 0.25, utc(2020, 5, 3, 10, 20, 30) + 0.25),
    ("2020-05-03T01:00+02:00", utc(2020, 5, 2, 23), utc(2020, 5, 2, 23)),
    (dt.datetime(2020, 5, 3, 10), utc(2020, 5, 3, 10), utc(2020, 5, 3, 10)),
    (dt.datetime(2020, 5, 3, 1, tzinfo=CET), utc(2020, 5, 2, 23), utc(2020, 5, 2, 23)),
    (dt.date(2020, 5, 3), utc(2020, 5, 3), utc(2020, 5, 4)),
    (np.datetime64("2020-05-03T10:20:30"), utc(2020, 5, 3, 10, 20, 30), utc(2020, 5, 3, 10, 20, 30)),
    (0, 0, 0),
    (-1.5, -1.5, -1.5),
    (np.float64(12.5), 12.5, 12.5),
    (np.int64(12), 12, 12),
    (np.float32(12.5), 12.5, 12.5),
    (("2020-05", "2020-06"), utc(2020, 5), utc(2020, 7)),
    (["2020", "2020"], utc(2020), utc(2021)),
    (("2020-05-03", "2020"), utc(2020, 5, 3), utc(2021)),
    (("2020-06-15", "2020-06"), utc(2020, 6, 15), utc(2020, 7)),
    (("2020-06-15T12:00", "2020-06-15"), utc(2020, 6, 15, 12), utc(2020, 6, 16)),
    ((5, 5), 5, 5),
    (("2020-05-03", None), utc(2020, 5, 3), math.inf),
    ((None, "2020-05-03"), -math.inf, utc(2020, 5, 4)),
    ((None, None), -math.inf, math.inf),
    ((0, 10), 0, 10),
    (slice("2020-05", "2020-06"), utc(2020, 5), utc(2020, 7)),
    (slice(None), -math.inf, math.inf),
    (None, -math.inf, math.inf),
    (Interval(1, 2), 1, 2),
]


@pytest.mark.parametrize(("written", "start", "end"), CASES, ids=lambda v: str(v)[:40])
def test_parse(written, start, end):
    assert Interval.parse(written) == Interval(start, end)


@pytest.mark.parametrize("written", ["2020-05-03", np.datetime64("2020-05-03"), dt.date(2020, 5, 3)])
def test_a_day_is_a_whole_day_however_it_is_written(written):
    assert Interval.parse(written) == Interval(utc(2020, 5, 3), utc(2020, 5, 4))


@pytest.mark.parametrize("text", ["2020", "2020-05", "2020-12"])
def test_numpy_months_and_years_are_whole_ones(text):
    assert Interval.parse(np.datetime64(text)) == Interval.parse(text)


@given(st.dates(min_value=dt.date(1, 1, 1), max_value=dt.date(9998, 12, 31)))
def test_every_day_month_and_year_of_the_calendar(day):
    first = dt.datetime(1970, 1, 1)

    def seconds(y, m, d):
        return (dt.datetime(y, m, d) - first).total_seconds()

    after = day + dt.timedelta(days=1)
    month = (day.year + day.month // 12, day.month % 12 + 1, 1)
    assert Interval.parse(day.isoformat()) == Interval(
        seconds(day.year, day.month, day.day), seconds(after.year, after.month, after.day)
    )
    assert Interval.parse(day.isoformat()[:7]) == Interval(seconds(day.year, day.month, 1), seconds(*month))
    assert Interval.parse(day.isoformat()[:4]) == Interval(seconds(day.year, 1, 1), seconds(day.year + 1, 1, 1))


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the platform cannot change its time zone")
@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "America/New_York", "UTC+11"])
def test_the_zone_of_the_machine_has_no_effect(monkeypatch, zone):
    before = [Interval.parse(written) for written, _, _ in CASES]
    texts = [repr(i) for i in before]
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert time.localtime(utc(2020, 7)).tm_hour != 0
        assert [Interval.parse(written) for written, _, _ in CASES] == before
        assert [repr(i) for i in before] == texts
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "written",
    [
        *("", "may", "2020-13", "2020-00", "2020-05-00", "2020-02-30", "2019-02-29", "0000", "0000-05", "20", "2020-5"),
        *("99999", "2020-05-03T25:00", True, b"2020", object(), np.datetime64("NaT"), {"year": 2020}),
    ],
)
def test_what_is_no_time_is_refused_and_shown(written):
    with pytest.raises(QueryError, match=r"time|NaT") as caught:
        Interval.parse(written)
    assert isinstance(caught.value, GeodataError) and isinstance(caught.value, ValueError)
    if isinstance(written, str) and written:
        assert written in str(caught.value)
        assert "2020-05-03" in str(caught.value)


@pytest.mark.parametrize("written", [(), ("2020",), ("2020", "2021", "2022")])
def test_a_pair_is_two(written):
    with pytest.raises(QueryError, match="pair"):
        Interval.parse(written)


@pytest.mark.parametrize("written", [("2021", "2020"), ("2020-06", "2020-05"), (10, 5), ("2020-05-04", "2020-05-03")])
def test_a_pair_in_the_wrong_order_is_refused(written):
    with pytest.raises(QueryError, match="ends before it starts"):
        Interval.parse(written)


def test_an_interval_in_the_wrong_order_is_refused():
    with pytest.raises(QueryError, match=r"ends before it starts.*1970-01-02.*1970-01-01"):
        Interval(86400, 0)


@pytest.mark.parametrize("ends", [(math.nan, 1), (0, math.nan), (math.nan, math.nan)])
def test_nan_is_no_time(ends):
    with pytest.raises(QueryError, match="NaN"):
        Interval(*ends)
    with pytest.raises(QueryError, match="NaN"):
        Interval.parse(ends)


def test_unknown_is_all_of_time():
    assert Interval() == ALWAYS == Interval(-math.inf, math.inf)


# ---------------------------------------------------------------------- overlap


def moments(interval):
    """The half seconds of an interval that starts and ends on whole seconds."""
    if interval.start == interval.end:
        return {2 * interval.start}
    return set(range(2 * interval.start, 2 * interval.end))


spans = st.tuples(st.integers(0, 8), st.integers(0, 5)).map(lambda p: Interval(p[0], p[0] + p[1]))


@given(spans, spans)
def test_overlap_is_having_a_moment_in_common(a, b):
    assert a.overlaps(b) is bool(moments(a) & moments(b))
    assert b.overlaps(a) is a.overlaps(b)


@pytest.mark.parametrize(
    ("a", "b", "meets"),
    [
        ((0, 5), (5, 9), False),
        ((0, 5), (4.999, 9), True),
        ((5, 5), (5, 9), True),
        ((5, 5), (0, 5), False),
        ((5, 5), (5, 5), True),
        ((5, 5), (-math.inf, math.inf), True),
        ((5, 9), (-math.inf, math.inf), True),
        ((5, 9), (-math.inf, 5), False),
        ((5, 9), (9, math.inf), False),
    ],
)
def test_touching_is_not_overlapping_and_points_count(a, b, meets):
    assert Interval(*a).overlaps(Interval(*b)) is meets
    assert Interval(*b).overlaps(Interval(*a)) is meets


# ---------------------------------------------------------------------- as a value


def test_intervals_are_values():
    a = Interval.parse("2020")
    assert pickle.loads(pickle.dumps(a)) == a
    assert len({a, Interval.parse("2020"), ALWAYS}) == 2
    with pytest.raises(FrozenInstanceError):
        a.start = 0


def test_repr_reads_as_dates():
    assert repr(Interval.parse("2020-05")) == "Interval('2020-05-01', '2020-06-01')"
    assert repr(Interval.parse("2020-05-03T10:20:30")) == "Interval('2020-05-03T10:20:30', '2020-05-03T10:20:30')"
    assert ".." in repr(ALWAYS)


def test_repr_of_times_beyond_the_calendar_does_not_fail():
    assert "Interval" in repr(Interval(-1e15, 1e15))
