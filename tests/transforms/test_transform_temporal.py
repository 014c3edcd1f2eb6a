"""Dates of series: chosen together, filled up, and read as a calendar."""

from __future__ import annotations

import datetime as dt
import math
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch

import geodata as gd
from geodata import transforms as T
from geodata.bands import Bands
from geodata.errors import TransformError
from geodata.interval import Interval


def series(length: int, index: int = 0, dtype: torch.dtype = torch.float32, suffix: str = "") -> dict[str, Any]:
    """A series whose every value is the number of its date."""
    t = torch.arange(length)
    return {
        "key": f"item{index}",
        "draw": torch.tensor([0, index]),
        f"image{suffix}": t[:, None, None, None].expand(length, 2, 3, 4).to(dtype),
        f"valid{suffix}": (t % 2 == 0)[:, None, None].expand(length, 3, 4),
        f"mask{suffix}": t[:, None, None].expand(length, 3, 4),
        f"time{suffix}": torch.stack([t, t + 1], dim=-1).double(),
        f"bands{suffix}": Bands(["a", "b"]),
    }


def dates(out: dict[str, Any], suffix: str = "") -> torch.Tensor:
    """The dates of a result, which all of its keys agree on."""
    found = out[f"image{suffix}"][..., 0, 0, 0]
    assert torch.equal(out[f"valid{suffix}"][..., 0, 0], found % 2 == 0)
    assert torch.equal(out[f"mask{suffix}"][..., 0, 0], found.long())
    assert torch.equal(out[f"time{suffix}"][..., 0], found.double())
    return found.long()


@pytest.mark.parametrize(
    ("how", "n", "expected"),
    [
        ("uniform", 3, [0, 4, 9]),
        ("uniform", 1, [0]),
        ("uniform", 10, list(range(10))),
        ("first", 3, [0, 1, 2]),
        ("last", 3, [7, 8, 9]),
    ],
)
def test_chosen_dates(how: str, n: int, expected: list[int]) -> None:
    assert dates(T.SampleTime(n, how=how)(series(10))).tolist() == expected
    whole = gd.collate([series(10, i) for i in range(3)])
    assert dates(T.SampleTime(n, how=how)(whole)).tolist() == [expected] * 3


def test_evenly_spaced_as_series_of_a_dataset_are() -> None:
    for length in range(1, 40):
        for n in range(1, length + 1):
            expected = np.unique(np.rint(np.linspace(0, length - 1, n)).astype(int)).tolist()
            assert len(expected) == n
            assert dates(T.SampleTime(n)(series(length))).tolist() == expected


def test_random_dates_are_all_equally_likely_and_in_order() -> None:
    count: dict[tuple[int, ...], int] = {}
    t = T.SampleTime(2, how="random", seed=3)
    whole = gd.collate([series(5, i) for i in range(4000)])
    for row in dates(t(whole)).tolist():
        count[tuple(row)] = count.get(tuple(row), 0) + 1
    assert set(count) == set(combinations(range(5), 2))
    # 400 expected each; 5 standard deviations are 95.
    assert max(abs(c - 400) for c in count.values()) < 95


def test_padding_is_not_chosen_and_does_not_change_the_choice() -> None:
    t = T.SampleTime(2, how="random", seed=1)
    whole = gd.collate([series(n, i) for i, n in enumerate([3, 6, 2, 4])], pad=-1)
    out = t(whole)
    for i, n in enumerate([3, 6, 2, 4]):
        assert dates(out)[i].tolist() == dates(t(series(n, i))).tolist()
    assert out["mask_time"].all()
    three = T.SampleTime(3)(whole)
    assert three["mask_time"].tolist() == [[True] * 3, [True] * 3, [True, True, False], [True] * 3]
    assert three["image"][2, :, 0, 0, 0].tolist() == [0, 1, -1]


def test_images_of_several_resolutions_get_the_same_dates() -> None:
    sample = series(8)
    fine, coarse = sample.pop("image"), torch.arange(8.0)[:, None, None, None].expand(8, 1, 1, 2)
    sample |= {"image_10m": fine, "image_20m": coarse, "mask_time_10m": torch.arange(8) < 5}
    out = T.SampleTime(3, how="random")(sample)
    assert torch.equal(out["image_10m"][:, 0, 0, 0], out["image_20m"][:, 0, 0, 0])
    assert torch.equal(out["time"][:, 0], out["image_20m"][:, 0, 0, 0].double())
    assert (out["time"][:, 0] < 5).all()


def test_series_of_two_sensors_have_their_own_dates() -> None:
    both = series(8) | {k: v for k, v in series(5, suffix="_s1").items() if k.endswith("_s1")}
    out = T.SampleTime(3)(both)
    assert dates(out).tolist() == [0, 4, 7] and dates(out, "_s1").tolist() == [0, 2, 4]


def test_what_has_no_dates_stays() -> None:
    sample = series(4) | {"image_dem": torch.rand(1, 3, 4), "mask_label": torch.zeros(3, 4), "label": torch.tensor(1)}
    out = T.SampleTime(2)(sample)
    assert all(out[key] is sample[key] for key in ("image_dem", "mask_label", "label", "bands"))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int16, torch.float16, torch.bool])
def test_any_dtype(dtype: torch.dtype) -> None:
    sample = {"key": "a", "image": torch.tensor([1, 0, 1]).reshape(3, 1, 1, 1).to(dtype)}
    assert T.SampleTime(2)(sample)["image"].dtype == dtype
    out = T.SampleTime(2)({"key": ["a", "b"], "image": torch.stack([sample["image"]] * 2)})
    assert out["image"].dtype == dtype and out["image"].shape[:2] == (2, 2)
    assert T.PadTime(5, fill=1)(sample)["image"].flatten()[3:].to(torch.int64).tolist() == [1, 1]


def test_filled_up_as_collate_does() -> None:
    ragged = [series(n, i) for i, n in enumerate([3, 5, 2])]
    expected = gd.collate(ragged, pad=-1)
    got = gd.collate([T.PadTime(5, fill=-1)(s) for s in ragged])
    for key in ("image", "valid", "mask", "mask_time"):
        assert torch.equal(got[key], expected[key]), key
    real = expected["mask_time"]
    assert torch.equal(got["time"][real], expected["time"][real])
    assert (got["time"][~real] == torch.tensor([-math.inf, math.inf], dtype=torch.float64)).all()
    again = T.PadTime(6)(got)
    assert again["mask_time"].sum(1).tolist() == [3, 5, 2] and again["image"].shape[1] == 6
    assert T.PadTime(5)(got)["mask_time"].sum(1).tolist() == [3, 5, 2]


def test_refused() -> None:
    with pytest.raises(TransformError, match=r"2 dates; fill it up first with T.PadTime\(3\)"):
        T.SampleTime(3)(series(2))
    with pytest.raises(TransformError, match=r"4 dates; choose some first with T.SampleTime\(3\)"):
        T.PadTime(3)(series(4))
    for t in (T.SampleTime(3), T.PadTime(3)):
        with pytest.raises(TransformError, match=r"no image \(T, C, H, W\)"):
            t({"key": "a", "image": torch.rand(2, 3, 4)})
        with pytest.raises(TransformError, match="different numbers of dates"):
            t(series(5) | {"valid": torch.ones(4, 3, 4, dtype=torch.bool)})
        with pytest.raises(TransformError, match="mask_time must be bool"):
            t(series(3) | {"mask_time": torch.ones(3)})
        with pytest.raises(TransformError, match="sample from a batch"):
            t({"image": torch.rand(4, 2, 3, 4)})
    with pytest.raises(TransformError, match="cannot hold the fill"):
        T.PadTime(5, fill=-1)(series(4, dtype=torch.uint8))
    for bad in (0, True, 2.0, None):
        with pytest.raises(TransformError, match="number of dates"):
            T.SampleTime(bad)  # type: ignore[arg-type]
    with pytest.raises(TransformError, match="how 'middle'"):
        T.SampleTime(3, how="middle")
    with pytest.raises(TransformError, match="finite"):
        T.PadTime(3, fill=math.nan)


def test_no_sample_at_all() -> None:
    empty = {"key": [], "draw": torch.zeros(0, 2, dtype=torch.int64), "image": torch.rand(0, 4, 1, 2, 2)}
    assert T.SampleTime(2, how="random")(empty)["image"].shape == (0, 2, 1, 2, 2)
    assert T.PadTime(5)(empty)["mask_time"].shape == (0, 5)


MOMENTS = [
    "2020-01-01",
    "2020-02-29T12:00",
    "2020-12-31T23:59:59",
    "2021-03-01T06:30",
    "1969-12-31T23:00",
    "2100-07-04",
]


def test_calendar() -> None:
    starts = [dt.datetime.fromisoformat(m).replace(tzinfo=dt.UTC) for m in MOMENTS]
    time = torch.tensor([[s.timestamp(), s.timestamp()] for s in starts], dtype=torch.float64)
    out = T.TimeOfYear()({"key": "a", "time": time})
    for i, s in enumerate(starts):
        day = s.timetuple().tm_yday - 1 + (s.hour * 3600 + s.minute * 60 + s.second) / 86400
        assert out["year"][i].item() == s.year
        assert out["doy"][i].item() == s.timetuple().tm_yday
        angle = 2 * math.pi * day / 365.2425
        assert out["season"][i].tolist() == pytest.approx([math.sin(angle), math.cos(angle)], abs=1e-5)


def test_calendar_of_samples_batches_and_padding() -> None:
    one = Interval.parse("2021-03")
    alone = T.TimeOfYear()({"time": one})
    assert alone["doy"].shape == () and alone["doy"].item() == 31 + 28 + 16
    several = T.TimeOfYear()({"time": [one, Interval.parse("2020-05-01")]})
    assert several["year"].tolist() == [2021, 2020] and several["season"].shape == (2, 2)
    ragged = [{k: v for k, v in series(n, i).items() if k != "mask"} for i, n in enumerate([2, 3])]
    out = T.TimeOfYear()(gd.collate([T.PadTime(4)(s) for s in ragged]))
    assert out["year"].tolist() == [[1970, 1970, 0, 0], [1970, 1970, 1970, 0]] and out["season"].shape == (2, 4, 2)
    assert (out["season"][0, 2:] == 0).all()


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({}, "needs 'time'"),
        ({"time": "2020"}, "got str"),
        ({"time": Interval()}, "not known"),
        ({"time": torch.zeros(3, 2)[:, :1]}, "needs 'time'"),
        ({"time": torch.zeros(3, 2), "mask_time": torch.ones(2, dtype=torch.bool)}, "mask_time"),
    ],
)
def test_calendar_refused(batch: dict[str, Any], message: str) -> None:
    with pytest.raises(TransformError, match=message):
        T.TimeOfYear()(batch)


def test_the_calendar_follows_its_dates() -> None:
    """What `TimeOfYear` wrote is of the dates, and stays with them."""
    calendar, b = T.TimeOfYear(), gd.collate([series(6, i) for i in range(2)])
    b["time"] = b["time"] * 40 * 86400
    for move in (T.SampleTime(3, how="last"), T.PadTime(8)):
        before, after = move(calendar(b)), calendar(move(b))
        for key in calendar.writes:
            assert torch.equal(before[key], after[key]), key


@pytest.mark.parametrize(("key", "dtype"), [("mask", torch.uint8), ("mask", torch.bool), ("image", torch.float16)])
def test_what_cannot_hold_the_padding(key: str, dtype: torch.dtype) -> None:
    b = series(2)
    b[key] = b[key].to(dtype)
    with pytest.raises(TransformError, match=f"'{key}' is {dtype}, which cannot hold the fill .*; cast it first"):
        T.PadTime(3, fill=1e6)(b)
