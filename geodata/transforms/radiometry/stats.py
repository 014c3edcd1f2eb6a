"""Statistics by band, as transforms are given them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from geodata.bands import STATES
from geodata.errors import TransformError

__all__ = ["Stats", "between", "check_ranges", "check_spread", "entry", "one_of"]

Stats = Mapping[str, Any]
"""{"mean": {band: float}, ...} and perhaps "state", or such a mapping for each key of an image."""


def one_of(who: str, stats: Stats | None, **apart: Any) -> Stats:
    """Return statistics that are given as one or apart."""
    if stats is None:
        return apart
    if any(value is not None for value in apart.values()):
        names = " and ".join(f"{name}=" for name in apart)
        raise TransformError(f"give {who} either stats, or {names}, not both")
    return stats


def _of_key(stats: Any, key: str, parts: tuple[str, ...]) -> Mapping[str, Any]:
    """Return the statistics of one image, out of those of several."""
    form = "{" + ", ".join(f"'{part}': {{band: value}}" for part in parts) + "}"
    if not isinstance(stats, Mapping):
        raise TransformError(f"stats must be {form}, got {stats!r:.200}")
    if set(parts) <= set(stats):
        return stats
    if isinstance(stats.get(key), Mapping) and set(parts) <= set(stats[key]):
        found: Mapping[str, Any] = stats[key]
        return found
    if "format" in stats:
        raise TransformError(
            "these are the bare lines of a file of statistics; open it: Statistics.load(path, split=...)"
        )
    raise TransformError(f"stats must be {form}, or hold such a mapping for {key!r}; got {', '.join(map(str, stats))}")


def entry(stats: Any, key: str, parts: tuple[str, str]) -> dict[str, Any]:
    """Return the numbers of an image by band, and their state if there is one."""
    given = _of_key(stats, key, parts)
    first, second = (_numbers(part, given[part]) for part in parts)
    if set(first) != set(second):
        apart = ", ".join(sorted(set(first) ^ set(second)))
        raise TransformError(f"{parts[0]} and {parts[1]} must be of the same bands; only one of them has {apart}")
    state = given.get("state")
    if state is not None and state not in STATES:
        raise TransformError(f"state {state!r} of the statistics must be one of {', '.join(STATES)}")
    return {parts[0]: first, parts[1]: second} | ({} if state is None else {"state": state})


def between(stats: Any, percentiles: Any, key: str) -> dict[str, Any]:
    """Return two percentiles of statistics as their range."""
    held = _of_key(stats, key, ("percentiles",))
    try:
        low, high = (f"{float(p):.15g}" for p in percentiles)
    except (TypeError, ValueError):
        raise TransformError(f"percentiles {percentiles!r} must be two numbers, such as (2, 98)") from None
    lacking = [p for p in (low, high) if p not in held["percentiles"]]
    if lacking:
        raise TransformError(
            f"no percentile {' and '.join(lacking)} in stats; there are {', '.join(held['percentiles'])}"
        )
    return {"min": held["percentiles"][low], "max": held["percentiles"][high], "state": held.get("state")}


def _numbers(what: str, values: Any) -> dict[str, float]:
    if not isinstance(values, Mapping) or not values or not all(isinstance(name, str) for name in values):
        raise TransformError(
            f"{what} must say which value is of which band, {{'B02': 0.1, ...}}, got {values!r:.200}; "
            "an order of bands is never assumed"
        )
    try:
        return {str(name): float(value) for name, value in values.items()}
    except (TypeError, ValueError):
        raise TransformError(f"{what} must be one number for each band, got {values!r:.200}") from None


TINY = 2.0**-126
"""The least number that is whole in float32; its reciprocal is finite."""


def check_spread(mean: dict[str, float], std: dict[str, float]) -> None:
    """Refuse a mean that is not finite, and a standard deviation that is not above 0."""
    for name in mean:
        if not math.isfinite(mean[name]):
            raise TransformError(f"mean of band {name!r} is {mean[name]}; it must be finite")
        if not (math.isfinite(std[name]) and std[name] >= TINY):
            raise TransformError(
                f"std of band {name!r} is {std[name]}; it must be finite and above 0, {TINY:.2g} or more"
            )


def check_ranges(low: dict[str, float], high: dict[str, float]) -> None:
    """Refuse a range that is empty or not finite."""
    for name in low:
        if not (math.isfinite(low[name]) and math.isfinite(high[name]) and low[name] < high[name]):
            raise TransformError(
                f"band {name!r} runs from {low[name]} to {high[name]}; a range needs finite ends, the lower first: leave a "
                "band of one value out"
            )
