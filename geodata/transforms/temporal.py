"""Transforms of series: which dates, how many, and when in the year."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geodata.errors import TransformError
from geodata.interval import DAY, YEAR, Interval
from geodata.sample import IGNORE
from geodata.transforms.base import Transform, check_seed
from geodata.transforms.draws import Draws
from geodata.transforms.layout import is_batch

__all__ = ["PadTime", "SampleTime", "TimeOfYear"]

_DATED = {
    "image": 4,
    "valid": 3,
    "mask": 3,
    "abundance": 4,
    "time": 2,
    "mask_time": 1,
    "year": 1,
    "doy": 1,
    "season": 2,
}
"""Families of keys that may run along dates, with their number of dimensions in one sample if they do."""

_FILLS: dict[str, float | bool] = {"valid": False, "mask": IGNORE, "mask_time": False}
_HOWS = ("uniform", "random", "first", "last")
_DATES = tuple(f"{name}*" for name in _DATED)


class _OfSeries(Transform):
    """Base of transforms that choose or add dates."""

    reads: tuple[str, ...] = ("key", "draw", *_DATES)
    writes: tuple[str, ...] = _DATES

    def __init__(self, n: int) -> None:
        super().__init__()
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise TransformError(f"n {n!r} must be a number of dates, 1 or more")
        self.n = n

    def series(self, batch: Mapping[str, Any], batched: bool) -> list[list[str]]:
        """Return the keys of each series: those that share the dates of one ``time``."""
        dated = [key for key, value in batch.items() if _is_dated(key, value, batched)]
        if not any(_split(key)[0] == "image" for key in dated):
            shape = "(B, T, C, H, W)" if batched else "(T, C, H, W)"
            raise TransformError(f"{type(self).__name__} found no series: no image {shape} among {sorted(batch)}")
        found: dict[str, list[str]] = {}
        for key in dated:
            suffix = _split(key)[1]
            # Images of several resolutions (image_10m, image_20m) have one time.
            found.setdefault("" if f"time{suffix}" not in dated and "time" in dated else suffix, []).append(key)
        for keys in found.values():
            counts = {key: batch[key].shape[int(batched)] for key in keys}
            if len(set(counts.values())) > 1:
                raise TransformError(f"keys of one series have different numbers of dates: {counts}")
        return list(found.values())


class SampleTime(_OfSeries):
    """Choose dates of series, in order of time: images, ``valid``, masks, ``time`` and ``mask_time`` together.

    Every series of the sample is thinned; series of equal length get the same dates, so images of several resolutions stay together.
    Only real dates (``mask_time`` True) are chosen while there are enough of them, padded ones after them.

    Parameters
    ----------
    n : int, dates to keep
    how : {"uniform", "random", "first", "last"}
        "uniform" is evenly spaced with the first and last date (the first for n = 1), "random" any n, equally likely.
    seed : int in [0, 2**63), for "random"

    Raises
    ------
    TransformError
        If an argument is out of range; on a batch without a series, or with fewer than n dates.

    Examples
    --------
    >>> sample = {"key": "a", "image": torch.arange(5.0).reshape(5, 1, 1, 1)}
    >>> SampleTime(3)(sample)["image"].flatten()
    tensor([0., 2., 4.])
    """

    def __init__(self, n: int, *, how: str = "uniform", seed: int = 0) -> None:
        super().__init__(n)
        if how not in _HOWS:
            raise TransformError(f"how {how!r} must be one of {', '.join(_HOWS)}")
        self.how = how
        self.seed = check_seed(seed)

    def run(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
        """Choose dates."""
        batched = is_batch(batch)
        out = dict(batch)
        for keys in self.series(batch, batched):
            real = _real_dates(batch, keys, batched)
            if real.shape[1] < self.n:
                raise TransformError(
                    f"SampleTime({self.n}) of a series with {real.shape[1]} dates; fill it up first with T.PadTime({self.n})"
                )
            u = self.uniform(batch, draws, real.shape[1]) if self.how == "random" else None
            rows = [self._chosen(row, None if u is None else u[i]) for i, row in enumerate(real)]
            chosen = torch.from_numpy(np.array(rows, dtype=np.int64).reshape(-1, self.n))
            for key in keys:
                out[key] = _taken(batch[key], chosen, batched)
        return out

    def _chosen(self, real: NDArray[np.bool_], u: NDArray[np.float64] | None) -> NDArray[np.int64]:
        """(n,) dates of one sample, ascending; real ones first."""
        dates, padded = np.flatnonzero(real), np.flatnonzero(~real)
        if len(dates) <= self.n:
            return np.concatenate([dates, padded[: self.n - len(dates)]])
        if u is not None:
            # One number for each date, so that padding behind the dates does not change the choice.
            return np.sort(dates[np.argsort(u[: len(dates)], kind="stable")[: self.n]])
        if self.how == "uniform":
            return dates[np.rint(np.linspace(0, len(dates) - 1, self.n)).astype(np.int64)]
        return dates[: self.n] if self.how == "first" else dates[-self.n :]

    def config(self) -> dict[str, Any]:
        """Return n, how and seed."""
        return {"n": self.n, "how": self.how, "seed": self.seed}

    @property
    def effect(self) -> str:
        """Chooses."""
        return f"T -> {self.n} dates, {self.how}"


class PadTime(_OfSeries):
    """Fill series up to a number of dates, at their end, and say in ``mask_time`` which dates are real.

    Padded dates have ``valid`` False, masks -100, and a time from -inf to inf. ``mask_time`` (..., n) bool is True for
    real dates; one for every image with dates, as `geodata.collate` names them.

    Parameters
    ----------
    n : int, dates afterwards
    fill : number, of images

    Raises
    ------
    TransformError
        If an argument is out of range; on a batch without a series, or with more than n dates; if an image or a mask
        cannot hold what is filled in.

    Examples
    --------
    >>> sample = {"key": "a", "image": torch.ones(2, 1, 1, 1)}
    >>> PadTime(3)(sample)["mask_time"]
    tensor([ True,  True, False])
    """

    def __init__(self, n: int, *, fill: float = 0) -> None:
        super().__init__(n)
        if isinstance(fill, bool) or not isinstance(fill, (int, float)) or not math.isfinite(fill):
            raise TransformError(f"fill {fill!r} must be a finite number")
        self.fill = fill

    def run(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
        """Fill up and mark."""
        batched = is_batch(batch)
        out = dict(batch)
        for keys in self.series(batch, batched):
            real = _real_dates(batch, keys, batched)
            missing = self.n - real.shape[1]
            if missing < 0:
                raise TransformError(
                    f"PadTime({self.n}) of a series with {real.shape[1]} dates; choose some first with T.SampleTime({self.n})"
                )
            for key in keys:
                out[key] = self._padded(key, batch[key], missing, int(batched))
            mask = torch.from_numpy(np.pad(real, ((0, 0), (0, missing))))
            for key in keys:
                name, suffix = _split(key)
                if name == "image":
                    out[f"mask_time{suffix}"] = (mask if batched else mask[0]).to(batch[key].device)
        return out

    def _padded(self, key: str, value: Tensor, missing: int, axis: int) -> Tensor:
        if not missing:
            return value
        shape = [*value.shape[:axis], missing, *value.shape[axis + 1 :]]
        name = _split(key)[0]
        fill = self.fill if name == "image" else _FILLS.get(name, 0)
        if not _fits(fill, value.dtype):
            raise TransformError(f"{key!r} is {value.dtype}, which cannot hold the fill {fill}; cast it first")
        more = torch.full(shape, fill, dtype=value.dtype, device=value.device)
        if name == "time":
            more[..., 0], more[..., 1] = -math.inf, math.inf
        return torch.cat([value, more], dim=axis)

    def config(self) -> dict[str, Any]:
        """Return n and fill."""
        return {"n": self.n, "fill": self.fill}

    @property
    def effect(self) -> str:
        """Fills up."""
        return f"T -> {self.n} dates, mask_time says which are real"


class TimeOfYear(Transform):
    """Write year, day of the year and season of every date.

    The moment is the middle of the interval under ``time``, in UTC. Dates that ``mask_time`` says are padding get 0.

    ``year``
        int64, the calendar year
    ``doy``
        int64 in [1, 366], the day of the year
    ``season``
        float32 (..., 2), sine and cosine of the position in the year, 0 at its begin

    Their shape is that of the dates: () for one sample, (B,) for a batch, (T,) and (B, T) for series.

    Parameters
    ----------
    name : the dataset's ``name=``, for ``time_<name>``; "" for ``time``

    Raises
    ------
    TransformError
        On a batch without ``time``, or with a date that is not known.

    Examples
    --------
    >>> out = TimeOfYear()({"time": Interval.parse(("2020-01-01", "2020-01-01"))})
    >>> out["year"], out["doy"], out["season"]
    (tensor(2020), tensor(1), tensor([0.0086, 1.0000]))
    """

    def __init__(self, name: str = "") -> None:
        super().__init__()
        if not isinstance(name, str):
            raise TransformError(f"name {name!r} must be the name of a dataset, or ''")
        self.name = name
        self.suffix = f"_{name}" if name else ""
        self.reads = (f"time{self.suffix}", f"mask_time{self.suffix}")
        self.writes = tuple(f"{key}{self.suffix}" for key in ("year", "doy", "season"))

    def run(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
        """Read the calendar."""
        key = f"time{self.suffix}"
        middle, device = _middles(key, batch.get(key))
        real = batch.get(f"mask_time{self.suffix}")
        known = np.ones(middle.shape, dtype=bool) if real is None else real.detach().cpu().numpy()
        if known.shape != middle.shape:
            raise TransformError(f"{key!r} has dates {middle.shape} and 'mask_time{self.suffix}' {known.shape}")
        if not np.isfinite(middle[known]).all():
            raise TransformError(f"{key!r} holds dates that are not known (without a first or last moment)")
        values = _calendar(np.where(known, middle, 0.0))
        values["season"] = np.where(known[..., None], values["season"], np.float32(0))
        values |= {part: np.where(known, values[part], 0) for part in ("year", "doy")}
        return {**batch, **{f"{part}{self.suffix}": torch.from_numpy(v).to(device) for part, v in values.items()}}

    def config(self) -> dict[str, Any]:
        """Return the name."""
        return {"name": self.name}

    @property
    def effect(self) -> str:
        """Adds."""
        return f"time{self.suffix} -> {', '.join(self.writes)}"


def _split(key: str) -> tuple[str, str]:
    """Family and suffix of a key: mask_time_s1 is ("mask_time", "_s1")."""
    for name in sorted(_DATED, key=len, reverse=True):
        if key == name or key.startswith(f"{name}_"):
            return name, key[len(name) :]
    return "", key


def _is_dated(key: str, value: Any, batched: bool) -> bool:
    name = _split(key)[0]
    return name in _DATED and isinstance(value, Tensor) and value.ndim == _DATED[name] + batched


def _real_dates(batch: Mapping[str, Any], keys: list[str], batched: bool) -> NDArray[np.bool_]:
    """(B, T) which dates of a series are real; B = 1 for one sample."""
    masks = [batch[key] for key in keys if _split(key)[0] == "mask_time"]
    if not masks:
        first = batch[keys[0]]
        return np.ones((first.shape[0] if batched else 1, first.shape[int(batched)]), dtype=bool)
    if any(mask.dtype != torch.bool or not torch.equal(mask, masks[0]) for mask in masks):
        raise TransformError("mask_time must be bool, and the same for all images of one series")
    found: NDArray[np.bool_] = masks[0].detach().cpu().numpy()
    return found if batched else found[None]


def _taken(value: Tensor, chosen: Tensor, batched: bool) -> Tensor:
    chosen = chosen.to(value.device)
    if not batched:
        return value[chosen[0]]
    return value[torch.arange(len(chosen), device=value.device)[:, None], chosen]


def _fits(fill: float, dtype: torch.dtype) -> bool:
    if dtype == torch.bool:
        return fill in (0, 1)
    if dtype.is_floating_point:
        return abs(fill) <= torch.finfo(dtype).max
    info = torch.iinfo(dtype)
    return float(fill).is_integer() and info.min <= fill <= info.max


def _middles(key: str, time: Any) -> tuple[NDArray[np.float64], torch.device]:
    """Middle of every interval in seconds since 1970, not finite where it is not known; and where the result belongs."""
    if isinstance(time, Tensor) and time.is_floating_point() and time.shape[-1:] == (2,):
        pairs, device = time.detach().cpu().double().numpy(), time.device
    elif isinstance(time, Interval):
        pairs, device = np.array([time.start, time.end]), torch.device("cpu")
    elif isinstance(time, (list, tuple)) and time and all(isinstance(t, Interval) for t in time):
        pairs, device = np.array([[t.start, t.end] for t in time]), torch.device("cpu")
    else:
        raise TransformError(
            f"TimeOfYear needs {key!r}: an Interval, a list of them, or seconds (..., T, 2) of a series; got {type(time).__name__}"
        )
    known = np.isfinite(pairs).all(axis=-1)
    return np.where(known, np.where(known[..., None], pairs, 0.0).mean(axis=-1), np.nan), device


def _calendar(seconds: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    moment = np.floor(seconds).astype(np.int64).astype("datetime64[s]")
    year = moment.astype("datetime64[Y]")
    days = (seconds - year.astype("datetime64[s]").astype(np.int64)) / DAY
    angle = 2 * np.pi * days * DAY / YEAR
    season = np.stack([np.sin(angle), np.cos(angle)], axis=-1).astype(np.float32)
    return {"year": year.astype(np.int64) + 1970, "doy": np.floor(days).astype(np.int64) + 1, "season": season}
