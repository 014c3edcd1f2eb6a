"""Coordinate reference systems: parse once, hand out the same object for the same system."""

from __future__ import annotations

import threading
from functools import lru_cache
from numbers import Integral
from typing import Any

from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from geodata.errors import CRSError

__all__ = ["CRS", "CRS84", "as_crs", "crs_text", "same_crs", "transformer"]

_interned: dict[str, CRS] = {}


def as_crs(value: Any) -> CRS | None:
    """Turn anything that names a CRS into one shared ``pyproj.CRS``.

    Parameters
    ----------
    value : None, int (EPSG code), str, or an object with ``to_wkt`` (pyproj, rasterio, odc-geo)
        ``None`` and an empty CRS give ``None``: there is no default CRS anywhere in geodata.

    Raises
    ------
    CRSError
        If the text names no known system.
    """
    if value is None or (isinstance(value, CRS) and _interned.get(value.srs) is value):
        return value
    if isinstance(value, Integral) and not isinstance(value, bool):
        value = f"EPSG:{value}"
    if not isinstance(value, str) and not hasattr(value, "to_wkt"):
        raise CRSError(f"{value!r} is not a CRS; give an EPSG code, PROJ text, WKT, or a CRS object")
    text = value if isinstance(value, str) else value.to_wkt()
    if not text.strip():
        return None
    found = _interned.get(text)
    return found if found is not None else _intern(text)


def _intern(text: str) -> CRS:
    try:
        crs = CRS.from_user_input(text)
        authority = crs.to_authority(min_confidence=100)
        if authority is not None:
            crs = CRS.from_authority(*authority)
    except ProjError as error:
        raise CRSError(f"{text[:80]!r} is not a CRS: {error}; give an EPSG code, PROJ text or WKT") from None
    crs = _interned.setdefault(crs.srs, crs)
    _interned[text] = crs
    return crs


def crs_text(crs: CRS | None) -> str:
    """Return the shortest text that gives the CRS back: ``"EPSG:32633"``, or WKT; ``""`` for none."""
    if crs is None:
        return ""
    authority = _authority(crs.srs)
    return authority or crs.to_wkt()


@lru_cache(maxsize=512)
def _authority(srs: str) -> str | None:
    authority = CRS.from_user_input(srs).to_authority(min_confidence=100)
    return ":".join(authority) if authority else None


def same_crs(a: CRS | None, b: CRS | None) -> bool:
    """Whether two CRSs are the same system; a missing CRS equals only a missing CRS."""
    if a is b:
        return True
    if a is None or b is None:
        return False
    return _equal(a.srs, b.srs)


@lru_cache(maxsize=4096)
def _equal(a: str, b: str) -> bool:
    return a == b or bool(CRS.from_user_input(a).equals(CRS.from_user_input(b)))


_local = threading.local()


def transformer(source: CRS, target: CRS) -> Transformer:
    """Return a cached transformer with x = longitude or easting first, one per thread.

    Coordinates outside the domain of a projection come back as infinity, never as an exception.
    """
    cache: dict[tuple[str, str], Transformer] = _local.__dict__.setdefault("cache", {})
    key = (source.srs, target.srs)
    found = cache.get(key)
    if found is None:
        try:
            found = Transformer.from_crs(source, target, always_xy=True)
        except ProjError as error:
            raise CRSError(
                f"no way from {crs_text(source)[:60]} to {crs_text(target)[:60]}: {error}; "
                "both must be systems of the same celestial body"
            ) from None
        cache[key] = found
    return found


CRS84: CRS = as_crs("OGC:CRS84")  # type: ignore[assignment]
