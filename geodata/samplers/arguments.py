"""Arguments of samplers: refused where they are given, with what was got and what was wanted."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import numpy as np

from geodata.errors import SamplerError

__all__ = ["MOST", "flag", "number", "one_of", "whole"]

MOST = 2**62
"""Numbers of draws stay below it, so that sums of a few still fit into 64 bits."""


def whole(name: str, value: Any, least: int = 1, below: int | None = None) -> int:
    """Return a whole number of at least `least`, and below `below` if given; else SamplerError."""
    if isinstance(value, Integral) and not isinstance(value, bool):
        given = int(value)
        if least <= given and (below is None or given < below):
            return given
    too_large = below is not None and isinstance(value, Integral) and int(value) >= below
    end = f" and below {below}" if too_large else ""
    raise SamplerError(f"{name}={value!r} must be a whole number of at least {least}{end}")


def number(
    name: str, value: Any, least: float, most: float, *, low_open: bool = False, high_open: bool = False
) -> float:
    """Return a finite number between two ends, which may themselves be left out; else SamplerError."""
    if isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value):
        given = float(value)
        if least <= given <= most and not (low_open and given == least) and not (high_open and given == most):
            return given
    low = f"{'above' if low_open else 'of at least'} {least:g}"
    high = "" if math.isinf(most) else f" and {'below' if high_open else 'at most'} {most:g}"
    raise SamplerError(f"{name}={value!r} must be a number {low}{high}")


def one_of(name: str, value: Any, *choices: str) -> str:
    """Return one of the choices; else SamplerError."""
    if isinstance(value, str) and value in choices:
        return value
    *others, last = map(repr, choices)
    raise SamplerError(f"{name}={value!r} must be {', '.join(others)} or {last}")


def flag(name: str, value: Any) -> bool:
    """Return True or False; else SamplerError."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise SamplerError(f"{name}={value!r} must be True or False")
