"""Integrals of responses over the bands of another sensor."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geodata.bands import Bands
from geodata.errors import BandsError

__all__ = ["Curve", "average", "check_curve"]

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Wavelengths in nm, rising, and the response there; straight lines in between, nothing outside."""

_WIDEST_GUESS = 25.0
"""nm; up to this spacing, bands of unknown width are taken to touch."""


def average(bands: Bands, curves: Sequence[Curve], source: Bands, coverage: float) -> NDArray[np.float64]:
    """Return the weights (K, C) of source bands in each curve; see `Responses.weights`."""
    if not 0 < coverage <= 1:
        raise BandsError(f"coverage {coverage!r} must be above 0 and at most 1")
    if not len(source):
        raise BandsError("there are no source bands to average")
    low, high = _stretches(source)
    edges = np.unique(np.concatenate([low, high]))
    inside = (low[:, None] <= edges[:-1]) & (edges[1:] <= high[:, None])
    shares = inside / np.maximum(inside.sum(axis=0), 1)
    area = np.array([np.diff(_integral(curve, edges)) for curve in curves])
    seen = area @ inside.any(axis=0) / [_integral(curve, curve[0][-1:])[0] for curve in curves]
    if (seen < coverage).any():
        lacking = [
            f"{band.name} ({x[0]:.0f} to {x[-1]:.0f} nm, {part:.0%} seen)"
            for band, (x, _), part in zip(bands, curves, seen, strict=True)
            if part < coverage
        ]
        raise BandsError(
            f"{source!r} does not see enough of {', '.join(lacking)}; wanted is {coverage:.0%}. Leave these out, or "
            "give coverage= if that part of the response does not matter"
        )
    table = area @ shares.T
    weights: NDArray[np.float64] = table / table.sum(axis=1, keepdims=True)
    return weights


def check_curve(name: str, x: ArrayLike, y: ArrayLike) -> Curve:
    """Return a table of wavelengths and responses as arrays, or raise BandsError."""
    at, values = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if at.ndim != 1 or at.shape != values.shape or len(at) < 2:
        raise BandsError(f"the curve of {name!r} must be two lists of equal length, 2 or more")
    if not (np.isfinite(at).all() and at[0] > 0 and (np.diff(at) > 0).all()):
        raise BandsError(f"the wavelengths of {name!r} must be above 0 nm and rise")
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() > 0):
        raise BandsError(f"the response of {name!r} must be 0 or more, and somewhere above 0")
    return at, values


def _integral(curve: Curve, at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area under a curve from its beginning to each of some wavelengths, exact for straight lines."""
    x, y = curve
    total = np.concatenate([[0.0], np.cumsum(np.diff(x) * (y[1:] + y[:-1]) / 2)])
    to = np.clip(at, x[0], x[-1])
    i = np.clip(np.searchsorted(x, to, side="right") - 1, 0, len(x) - 2)
    step, rise = to - x[i], (y[i + 1] - y[i]) / (x[i + 1] - x[i])
    area: NDArray[np.float64] = total[i] + step * (y[i] + rise * step / 2)
    return area


def _stretches(source: Bands) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(C,) lower and upper ends of the wavelengths that each band stands for."""
    centres = source.wavelengths
    if np.isnan(centres).any():
        raise BandsError(f"every source band needs a wavelength, got {source!r}")
    order = np.argsort(centres, kind="stable")
    c = centres[order]
    gaps = np.concatenate([[math.inf], np.diff(c), [math.inf]])
    known = np.array([math.nan if source[int(i)].fwhm is None else source[int(i)].fwhm for i in order], dtype=float)
    width = np.where(np.isnan(known), np.minimum(gaps[:-1], gaps[1:]), known)
    guessed = np.isnan(known) & ~((width > 0) & (width <= _WIDEST_GUESS))
    if guessed.any():
        names = ", ".join(source[int(i)].name for i in order[guessed][:10])
        raise BandsError(
            f"bands {names} know no width, and it cannot be told from their neighbours "
            f"({_WIDEST_GUESS:g} nm apart at most): give their fwhm"
        )
    low, high = c - width / 2, c + width / 2
    hole = low[1:] - high[:-1]
    near = (hole > 0) & (hole < np.minimum(width[1:], width[:-1]))
    middle = (low[1:] + high[:-1]) / 2
    low[1:], high[:-1] = np.where(near, middle, low[1:]), np.where(near, middle, high[:-1])
    back = np.argsort(order, kind="stable")
    return low[back], high[back]
