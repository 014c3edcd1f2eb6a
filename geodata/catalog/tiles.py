"""Cutting rows into pixel blocks."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geodata.catalog.arrow import text_array
from geodata.crs import CRS, crs_text
from geodata.errors import CatalogError, GridError

if TYPE_CHECKING:
    from geodata.catalog.catalog import Catalog

__all__ = ["coarser", "pixel_sizes", "starts", "tile"]

_GROUND = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(m|km)\s*$")


def pixel_sizes(catalog: Catalog, size: Any, what: str = "size") -> NDArray[np.int64]:
    """Return (N, 2) height and width in pixels of each row's lattice for a size as people write it.

    Parameters
    ----------
    size : int, (height, width), or text such as ``"2560m"`` or ``"2.5km"``
        Ground sizes are rounded to whole pixels of each row.
    what : what a message calls it

    Raises
    ------
    GridError
        If a size is not above 0, or a ground size is asked of rows that are not in a metric CRS.
    """
    if not catalog.lattice:
        raise GridError("these items have a footprint but no pixels; join them to a raster, or give the dataset res=")
    if isinstance(size, str):
        match = _GROUND.match(size)
        if match is None:
            raise GridError(f"{what} {size!r} must be a number of pixels, or a ground size such as '2560m'")
        metres = float(match[1]) * (1000.0 if match[2] == "km" else 1.0)
        code = catalog.footprints.code
        units = {c: _metres_per_unit(catalog.footprints.crs[c]) for c in np.unique(code).tolist()}
        unit = np.array([units[c] for c in code.tolist()])
        m = catalog.affine
        res = np.stack([np.hypot(m[:, 1], m[:, 4]), np.hypot(m[:, 0], m[:, 3])], axis=1) * unit[:, None]
        pixels: NDArray[np.int64] = np.rint(metres / res).astype(np.int64)
    else:
        given = np.asarray(size)
        if given.shape not in ((), (2,)) or given.dtype.kind not in "iu":
            raise GridError(f"{what} {size!r} must be whole pixels, (height, width), or a ground size such as '2560m'")
        pair = np.broadcast_to(given, (2,))
        pixels = np.broadcast_to(pair.astype(np.int64), (len(catalog), 2))
    if (pixels < 1).any():
        raise GridError(f"{what} {size!r} gives {pixels.min()} pixels; it must be at least 1")
    return pixels


def _metres_per_unit(crs: CRS | None) -> float:
    if crs is None or crs.is_geographic:
        raise GridError(
            f"a ground size needs rows in a metric CRS, got {crs_text(crs) or 'no CRS'}; give the size in pixels"
        )
    return float(crs.axis_info[0].unit_conversion_factor)


def starts(
    length: NDArray[np.int64], size: NDArray[np.int64], stride: NDArray[np.int64], edge: str
) -> NDArray[np.int64]:
    """Return how many blocks fit along each of N lengths: at 0, stride, 2 stride...

    ``keep`` counts blocks until every pixel is covered, ``drop`` only whole ones.
    """
    count: NDArray[np.int64]
    if edge == "drop":
        count = np.where(length >= size, (length - size) // stride + 1, 0)
    else:
        count = np.minimum(np.maximum(-(-(length - size) // stride), 0) + 1, -(-length // stride))
    return count


def tile(
    catalog: Catalog, size: Any, stride: Any = None, *, edge: str = "keep", multiple: int = 1
) -> tuple[Catalog, NDArray[np.int64]]:
    """Cut every row into blocks; return the new catalog and the old row of each new one."""
    if multiple < 1:
        raise GridError(f"multiple {multiple} must be at least 1")
    if edge not in ("keep", "drop"):
        raise GridError(f"edge={edge!r} must be 'keep' or 'drop'")
    sizes = pixel_sizes(catalog, size)
    steps = sizes if stride is None else pixel_sizes(catalog, stride, "stride")
    for what, values in (("size", sizes), ("stride", steps)):
        odd = values[(values % multiple != 0).any(axis=1)]
        if len(odd):
            n = int(odd[0][odd[0] % multiple != 0][0])
            low = n // multiple * multiple
            advice = f"{low} or {low + multiple}" if low else str(multiple)
            raise GridError(f"{what} {n} is no multiple of the native ratio {multiple}; use {advice}")
    down, across = (starts(catalog.shape[:, k], sizes[:, k], steps[:, k], edge) for k in (0, 1))
    count = down * across
    parent = np.repeat(np.arange(len(catalog)), count)
    nth = np.arange(len(parent)) - np.repeat(np.cumsum(count) - count, count)
    at = np.stack([nth // across[parent], nth % across[parent]], axis=1) * steps[parent]
    shape = np.minimum(sizes[parent], catalog.shape[parent] - at)
    out = _blocks(catalog, parent, at, shape)
    return out, parent


def _blocks(catalog: Catalog, parent: NDArray[np.int64], at: NDArray[np.int64], shape: NDArray[np.int64]) -> Catalog:
    taken = catalog.take(parent)
    m = taken.affine.copy()
    row, col = at[:, 0], at[:, 1]
    m[:, 2] += m[:, 0] * col + m[:, 1] * row
    m[:, 5] += m[:, 3] * col + m[:, 4] * row
    keys = [
        f"{key}#r{r}c{c}h{h}w{w}"
        for key, (r, c), (h, w) in zip(taken.key.tolist(), at.tolist(), shape.tolist(), strict=True)
    ]
    table = taken.table
    origin = table["tile_of"] if "tile_of" in table.column_names else table["key"]
    columns = {name: table[name] for name in table.column_names if name not in ("key", "tile_of")}
    table = pa.table({"key": text_array(keys), **columns, "tile_of": origin})
    footprints = replace(taken.footprints, affine=m, shape=shape)
    return replace(taken, footprints=footprints, origin=taken.origin + at, table=table)


def coarser(catalog: Catalog, ratio: int) -> Catalog:
    """Return the same items with reference pixels ``ratio`` times as large; see `Catalog.coarser`."""
    if not isinstance(ratio, int) or ratio < 1:
        raise CatalogError(f"ratio {ratio!r} must be a whole number of at least 1")
    if ratio == 1:
        return catalog
    bad = np.flatnonzero((catalog.shape % ratio != 0).any(axis=1) | (catalog.origin % ratio != 0).any(axis=1))
    if len(bad):
        raise CatalogError(
            f"item {catalog.key[bad[0]]!r} of {catalog.shape[bad[0]].tolist()} pixels is no multiple of the ratio {ratio}; "
            "tile with a size that is, or ask for the finer bands too"
        )
    fp = catalog.footprints
    scaled = replace(fp, affine=fp.affine * [ratio, ratio, 1, ratio, ratio, 1], shape=fp.shape // ratio)
    return replace(catalog, footprints=scaled, origin=catalog.origin // ratio)
