"""What a catalog or a vector layer holds, as plain data for people and machines."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.bands import Band
from geodata.catalog import Catalog
from geodata.crs import CRS84, as_crs, transformer
from geodata.view.picture import unit_text

__all__ = ["lonlat_bounds", "summarize"]

_BOOKKEEPING = re.compile(r"(key|(path|size|mtime)(_.*)?)$")
MOST = 12
"""Distinct values of one kind that a summary names; the rest is counted."""


def summarize(catalog: Catalog) -> dict[str, Any]:
    """Return counts and ranges of a catalog as data that JSON can hold.

    Parameters
    ----------
    catalog : Catalog

    Returns
    -------
    dict
        ``items``; ``crs`` {text: count}; ``bounds_lonlat`` [west, south, east, north] or None (west > east crosses the
        antimeridian); ``bands``, each with its name and, where known, common name, wavelength and FWHM in nm;
        ``dtypes``, ``validity`` and ``nodata`` of the files; ``resolutions`` and ``sizes`` {text: count}, empty without
        pixels; ``time`` [start, end) as ISO text, None where unknown; ``columns`` that a pattern or a user added.
    """
    crs = Counter(text or "none" for text in catalog.crs.tolist())
    assets = catalog.assets
    return {
        "items": len(catalog),
        "crs": dict(crs.most_common()),
        "bounds_lonlat": lonlat_bounds(catalog) if catalog.has_crs else None,
        "bands": [_band(b) for a in assets for b in a.bands],
        "dtypes": sorted({a.dtype for a in assets}),
        "validity": sorted({a.validity for a in assets}),
        "nodata": sorted({repr(a.nodata) for a in assets if a.nodata is not None}),
        "resolutions": _counted(_resolutions(catalog)) if catalog.lattice else {},
        "sizes": _counted([f"{w} x {h}" for h, w in catalog.shape.tolist()]) if catalog.lattice else {},
        "time": [_iso(catalog.time[:, 0], min), _iso(catalog.time[:, 1], max)] if len(catalog) else [None, None],
        "columns": [name for name in catalog.table.column_names if not _BOOKKEEPING.match(name)],
    }


def lonlat_bounds(catalog: Catalog) -> list[float]:
    """Return the smallest [west, south, east, north] in degrees that holds all items; west > east crosses 180.

    Parameters
    ----------
    catalog : Catalog of at least one item, all with a CRS
    """
    boxes = catalog.box84
    crossing = boxes[:, 0] > boxes[:, 2]
    if len(boxes) <= 1000 and not crossing.any():
        return _exact_bounds(catalog)
    south, north = float(boxes[:, 1].min()), float(boxes[:, 3].max())
    if not crossing.any():
        return [float(boxes[:, 0].min()), south, float(boxes[:, 2].max()), north]
    west, east = _arc(boxes[:, 0], boxes[:, 2])
    return [west, south, east, north]


def _exact_bounds(catalog: Catalog) -> list[float]:
    """From the outlines themselves: the catalog's own boxes carry a margin."""
    low, high = np.array([np.inf, np.inf]), np.array([-np.inf, -np.inf])
    for row in range(len(catalog)):
        grid = catalog.grid(row)
        if grid.crs is None:
            continue
        ring = grid.boundary()
        lonlat = np.stack(transformer(grid.crs, CRS84).transform(ring[:, 0], ring[:, 1]), axis=-1)
        box = catalog.box84[row]
        # an outline around a pole, or beyond its projection, is known by its box only
        whole = box[2] - box[0] >= 360 or not np.isfinite(lonlat).all()
        points = box.reshape(2, 2) if whole else lonlat
        low, high = np.minimum(low, points.min(axis=0)), np.maximum(high, points.max(axis=0))
    return [float(v) for v in (*low, *high)]


def _arc(west: NDArray[np.float64], east: NDArray[np.float64]) -> tuple[float, float]:
    """The complement of the widest stretch of longitudes that no box covers."""
    order = np.argsort(west % 360)
    start = (west % 360)[order]
    end = start + (east - west)[order] % 360
    reach = np.maximum.accumulate(end)
    gaps = np.append(start[1:], start[0] + 360) - reach
    widest = int(np.argmax(gaps))
    if gaps[widest] <= 0:
        return -180.0, 180.0
    first, last = start[(widest + 1) % len(start)], reach[widest]
    return float((first + 180) % 360 - 180), float((last + 180) % 360 - 180)


def _band(band: Band) -> dict[str, Any]:
    known = {"common_name": band.common_name, "wavelength": band.wavelength, "fwhm": band.fwhm, "unit": band.unit}
    scaled = {"scale": band.scale, "offset": band.offset} if (band.scale, band.offset) != (1.0, 0.0) else {}
    return {"name": band.name} | {k: v for k, v in known.items() if v is not None} | scaled


def _resolutions(catalog: Catalog) -> list[str]:
    m = catalog.affine
    x, y = np.hypot(m[:, 0], m[:, 3]), np.hypot(m[:, 1], m[:, 4])
    units = {text: unit_text(as_crs(text)) for text in set(catalog.crs.tolist())}
    square = np.abs(x - y) <= 1e-6 * x
    return [
        f"{a:.6g}{units[c]}" if same else f"{a:.6g} x {b:.6g}{units[c]}"
        for a, b, same, c in zip(x.tolist(), y.tolist(), square.tolist(), catalog.crs.tolist(), strict=True)
    ]


def _counted(values: list[str]) -> dict[str, int]:
    counts = Counter(values).most_common()
    rest = sum(n for _, n in counts[MOST:])
    return dict(counts[:MOST]) | ({f"{len(counts) - MOST} others": rest} if rest else {})


def _iso(seconds: NDArray[np.float64], pick: Any) -> str | None:
    known = seconds[np.isfinite(seconds)]
    if not len(known):
        return None
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=float(pick(known)))
    return moment.isoformat().replace("+00:00", "Z")
