"""How far footprints lie from each other on the ground."""

from __future__ import annotations

import math
import re
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.errors import SplitError
from geodata.splits.nearest import Outlines, along_ground, measured, nearest_outline, tree_of

__all__ = ["centre_distance", "centre_gaps", "gaps", "metres", "nearest"]

_LENGTH = re.compile(r"^\s*(\d+(?:\.\d*)?|\.\d+)\s*(m|km)\s*$")


def metres(length: str | float) -> float:
    """Return metres of a length as people write it.

    Parameters
    ----------
    length : number of metres, or text such as ``"5km"`` or ``"500 m"``

    Raises
    ------
    SplitError
        If it is no length, or below 0.
    """
    if isinstance(length, str) and (match := _LENGTH.match(length)):
        return float(match[1]) * (1000.0 if match[2] == "km" else 1.0)
    if isinstance(length, Real) and not isinstance(length, bool) and 0 <= float(length) < math.inf:
        return float(length)
    raise SplitError(
        f"{length!r} is no length; give metres as a number of at least 0, or text such as '5km' or '500 m'"
    )


def nearest(
    catalog: Catalog, rows: Any, others: Any, *, limit: float = math.inf
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return how far the nearest of some other rows lies from each row, from edge to edge.

    Footprints may lie in any mix of CRSs, of any size, over the antimeridian and at poles. Lengths are those of
    geodesics on the WGS84 ellipsoid. Edges are followed by points at most about 14 km apart: where they bend on the
    ground (in longitude and latitude far from the equator) a gap is right to a few metres, else to centimetres; edges of
    thousands of kilometres are followed less closely, to about half a percent.

    Parameters
    ----------
    rows, others : (n,), (m,) int, row numbers of the catalog
        A row that is in both is its own nearest, or a row with the same footprint is.
    limit : metres
        Farther rows are not looked for, which is faster.

    Returns
    -------
    gap : (n,) float64, metres; 0 where footprints share area or touch, infinite where nothing lies within the limit
        Rows without CRS have no place on earth: lengths are then pixels, and tiles of different items (column
        ``tile_of``) are infinitely far apart.
    which : (n,) int64, the row of the catalog that is nearest; -1 where nothing lies within the limit

    Raises
    ------
    MissingDependencyError
        If scipy is not installed.
    """
    rows, others = _numbers(rows), _numbers(others)
    gap, which = gaps(Outlines.of(catalog, rows), Outlines.of(catalog, others), limit)
    return gap, np.where(which < 0, -1, others[which] if len(others) else -1)


def gaps(a: Outlines, b: Outlines, limit: float = math.inf) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return (gap, which) as `nearest` does, of outlines that are made already; which counts in b."""
    (place, some), (_, others) = a.distinct(), b.distinct()
    gap, which = _gaps(a.take(some), b.take(others), limit)
    return gap[place], np.where(which < 0, -1, others[which] if len(others) else -1)[place]


def _gaps(a: Outlines, b: Outlines, limit: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    gap, which = nearest_outline(a, b, limit)
    apart = np.flatnonzero((which >= 0) & (gap > 0))
    gap[apart] = measured(a, b, apart, which[apart])
    lost = gap > limit
    if not a.earth:  # another item
        near = np.flatnonzero(which >= 0)
        lost[near] |= a.centre[near, 2] != b.centre[which[near], 2]
    gap[lost], which[lost] = math.inf, -1
    return gap, which


def centre_distance(catalog: Catalog, rows: Any, others: Any) -> NDArray[np.float64]:
    """Return (n,) metres from the centre of each row to the nearest centre of other rows; infinite if there is none.

    Rows without CRS are measured in pixels, as in `nearest`.

    Raises
    ------
    MissingDependencyError
        If scipy is not installed.
    """
    return centre_gaps(Outlines.of(catalog, _numbers(rows)), Outlines.of(catalog, _numbers(others)))


def centre_gaps(a: Outlines, b: Outlines) -> NDArray[np.float64]:
    """Return (n,) as `centre_distance` does, of outlines that are made already."""
    out = np.full(len(a), math.inf)
    here, there = (np.flatnonzero(~np.isnan(o.centre[:, 0])) for o in (a, b))
    if not len(here) or not len(there):
        return out
    far, found = tree_of(b.centre[there]).query(a.centre[here])
    if a.earth:
        out[here] = along_ground(a.centre[here], b.centre[there[found]])
    else:
        same = a.centre[here, 2] == b.centre[there[found], 2]
        out[here[same]] = far[same]
    return out


def _numbers(rows: Any) -> NDArray[np.int64]:
    return np.asarray(rows, dtype=np.int64).reshape(-1)
