"""Where the bands of two sides meet: `Bands.match`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np

from geodata.errors import BandsError

if TYPE_CHECKING:
    from geodata.bands import Band, Bands

__all__ = ["match"]


def match(there: Bands, wanted: Bands, *, tolerance: float | None, strict: bool) -> list[int | None]:
    """Return for each wanted band its position among those that are there, or None; see `Bands.match`."""
    if tolerance is not None and not (isinstance(tolerance, Real) and 0 <= float(tolerance) < math.inf):
        raise BandsError(f"tolerance {tolerance!r} must be 0 nm or more")
    found: list[int | None] = [None] * len(wanted)
    for rule in _RULES:
        claims: dict[int, int] = {}
        for k, band in enumerate(wanted):
            if found[k] is not None:
                continue
            i = _only(band, there, [i for i, b in enumerate(there) if rule(band, b) and not _gap(band, b, tolerance)])
            if i is not None and rule is not _RULES[-1] and _nearer(band, there[i], there):
                continue
            if i in claims:
                raise BandsError(f"{_label(there[i])} answers to both {wanted[claims[i]].name!r} and {band.name!r}")
            if i is not None and i not in found:
                claims[i] = k
        for i, k in claims.items():
            found[k] = i
    if strict and None in found:
        raise BandsError(_difference(there, wanted, found, tolerance))
    return found


_RULES: tuple[Callable[[Band, Band], bool], ...] = (
    lambda wanted, b: b.name == wanted.name,
    lambda wanted, b: _spelling(b.name) == _spelling(wanted.name),
    lambda wanted, b: bool({wanted.name, wanted.common_name} & {b.name, b.common_name} - {None}),
    lambda a, b: None not in (a.wavelength, b.wavelength) and "pan" not in {a.common_name} ^ {b.common_name},
)
"""How `Bands.match` finds a band, the surest way first; panchromatic bands and others are never near each other."""


def _only(band: Band, among: Bands, hits: list[int]) -> int | None:
    """The nearest in wavelength of several candidates."""
    if len(hits) < 2:
        return hits[0] if hits else None
    away = np.nan_to_num(np.abs(among.wavelengths[hits] - (band.wavelength or math.nan)), nan=math.inf)
    best = [i for i, distance in zip(hits, away, strict=True) if distance == away.min()]
    if len(best) != 1:
        raise BandsError(f"{_label(band)} could be {', '.join(_label(among[i]) for i in hits)}; give names")
    return best[0]


def _nearer(band: Band, named: Band, among: Bands) -> bool:
    """Whether a name has moved on to another wavelength, and another band lies where it was.

    EnMAP numbers its bands by wavelength or by spectrometer: B081 is at 904 or at 912 nm.
    """
    if band.wavelength is None or named.wavelength is None:
        return False
    widths = [b.fwhm for b in (band, named) if b.fwhm is not None]
    distance = abs(band.wavelength - named.wavelength)
    nearest = float(np.nanmin(np.abs(among.wavelengths - band.wavelength)))
    return distance > min(widths, default=20.0) / 10 and nearest < distance


def _gap(a: Band, b: Band, tolerance: float | None) -> str | None:
    """Why two bands cannot be the same, or None."""
    if a.wavelength is None or b.wavelength is None:
        different = a.common_name and b.common_name and a.common_name != b.common_name
        return f"is {b.common_name}, not {a.common_name}" if different else None
    if tolerance is None:
        widths = [band.fwhm for band in (a, b) if band.fwhm is not None]
        tolerance = max(min(widths) / 2, 10.0) if widths else 20.0
    distance = abs(a.wavelength - b.wavelength)
    return f"is {distance:g} nm away, more than {tolerance:g} nm" if distance > tolerance else None


def _spelling(name: str) -> str:
    """The name in lower case and without zeros before a number."""
    return re.sub(r"(?<![0-9.])0+(?=[0-9])", "", name.casefold())


def _label(band: Band) -> str:
    known = [band.common_name, None if band.wavelength is None else f"{band.wavelength:g} nm"]
    detail = ", ".join(text for text in known if text)
    return f"{band.name} ({detail})" if detail else band.name


def _difference(there: Bands, wanted: Bands, found: list[int | None], tolerance: float | None) -> str:
    """Wanted bands beside those that answer to them, and why the rest is not the same."""
    rows: tuple[list[str], list[str]] = ([], [])
    for band, i in zip(wanted, found, strict=True):
        alike = [b for b in there if i is None and _spelling(b.name) == _spelling(band.name)]
        reasons = "; ".join(f"{_label(b)} {_gap(band, b, tolerance) or 'is taken'}" for b in alike)
        text = _label(there[i]) if i is not None else f"missing: {reasons}" if reasons else "missing"
        rows[i is not None].append(f"  {_label(band):32} <- {text}")
    shown = [*rows[0], *rows[1]][:20] + (["  ..."] if len(found) > 20 else [])
    spare = [_label(b) for i, b in enumerate(there) if i not in found]
    rest = f"\nnot asked for: {', '.join(spare[:12])}{', ...' if len(spare) > 12 else ''}" if spare else ""
    return f"{found.count(None)} of {len(wanted)} bands are missing:\n" + "\n".join(shown) + rest
