"""Cutting rows into pixel blocks, and putting catalogs together."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from geodata.catalog.footprint import Footprints
from geodata.crs import CRS, crs_text
from geodata.errors import CatalogError, GridError
from geodata.readers.base import Asset

if TYPE_CHECKING:
    from geodata.catalog.catalog import Catalog

__all__ = ["concat", "pixel_sizes", "starts", "tile"]

_GROUND = re.compile(r"^\s*([\d.]+)\s*(m|km)\s*$")


def pixel_sizes(catalog: Catalog, size: Any) -> NDArray[np.int64]:
    """Return (N, 2) height and width in pixels of each row's lattice for a size as people write it.

    Parameters
    ----------
    size : int, (height, width), or text such as ``"2560m"`` or ``"2.5km"``
        Ground sizes are rounded to whole pixels of each row.

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
            raise GridError(f"size {size!r} must be a number of pixels, or a ground size such as '2560m'")
        metres = float(match[1]) * (1000.0 if match[2] == "km" else 1.0)
        unit = np.array([_metres_per_unit(c) for c in catalog.footprints.crs])[catalog.footprints.code]
        m = catalog.affine
        res = np.stack([np.hypot(m[:, 1], m[:, 4]), np.hypot(m[:, 0], m[:, 3])], axis=1) * unit[:, None]
        pixels: NDArray[np.int64] = np.rint(metres / res).astype(np.int64)
    else:
        pair = np.broadcast_to(np.asarray(size), (2,))
        if not np.issubdtype(pair.dtype, np.integer):
            raise GridError(f"size {size!r} must be whole pixels, or a ground size such as '2560m'")
        pixels = np.broadcast_to(pair.astype(np.int64), (len(catalog), 2))
    if (pixels < 1).any():
        raise GridError(f"size {size!r} gives {pixels.min()} pixels; it must be at least 1")
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
        count = np.maximum(-(-(length - size) // stride), 0) + 1
    return count


def tile(
    catalog: Catalog, size: Any, stride: Any = None, *, edge: str = "keep", multiple: int = 1
) -> tuple[Catalog, NDArray[np.int64]]:
    """Cut every row into blocks; return the new catalog and the old row of each new one."""
    if edge not in ("keep", "drop"):
        raise GridError(f"edge={edge!r} must be 'keep' or 'drop'")
    sizes = pixel_sizes(catalog, size)
    steps = sizes if stride is None else pixel_sizes(catalog, stride)
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
    table = pa.table({"key": pa.array(keys, pa.string()), **columns, "tile_of": origin})
    footprints = replace(taken.footprints, affine=m, shape=shape)
    return replace(taken, footprints=footprints, origin=taken.origin + at, table=table)


def concat(catalogs: Sequence[Catalog], *, reindex: bool) -> Catalog:
    """Put catalogs one after the other; see `Catalog.concat`."""
    first = catalogs[0]
    if any(c.lattice != first.lattice for c in catalogs):
        raise CatalogError("items with pixels and items with a footprint only do not share a catalog")
    assets = _shared_assets(catalogs, reindex)
    root = _common_root([c.root for c in catalogs if len(c)] or [first.root])
    systems: dict[str, int] = {}
    for c in catalogs:
        for crs in c.footprints.crs:
            systems.setdefault(crs_text(crs), len(systems))
    code = [
        np.array([systems[crs_text(x)] for x in c.footprints.crs], dtype=np.int32)[c.footprints.code] for c in catalogs
    ]
    by_text = {crs_text(x): x for c in catalogs for x in c.footprints.crs}
    footprints = Footprints(
        np.concatenate([c.affine for c in catalogs]),
        np.concatenate([c.shape for c in catalogs]),
        np.concatenate(code),
        tuple(by_text[text] for text in systems),
    )
    table = pa.concat_tables([_rebased(c, root) for c in catalogs], promote_options="permissive").combine_chunks()
    repeated = table.num_rows - pc.count_distinct(table["key"]).as_py()
    if repeated:
        raise CatalogError(
            f"{repeated} keys stand for more than one item after concat; scan with a common root to keep them apart"
        )
    return replace(
        first,
        footprints=footprints,
        origin=np.concatenate([c.origin for c in catalogs]),
        time=np.concatenate([c.time for c in catalogs]),
        table=table,
        assets=assets,
        root=root,
    )


def _shared_assets(catalogs: Sequence[Catalog], reindex: bool) -> tuple[Asset, ...]:
    found: dict[tuple[str, ...], Asset] = {}
    for catalog in catalogs:
        for asset in catalog.assets:
            known = found.setdefault(asset.bands.names, asset)
            if replace(known, nodata=None, validity="") != replace(asset, nodata=None, validity=""):
                raise CatalogError(f"bands {asset.bands.names} differ between catalogs: {known} and {asset}")
            if (known.nodata, known.validity) != (asset.nodata, asset.validity):
                found[asset.bands.names] = replace(known, nodata=None, validity="mask")
    for catalog in catalogs:
        names = {a.bands.names for a in catalog.assets}
        if names != set(found) and not reindex:
            lacking = sorted(b for bands in set(found) - names for b in bands)
            raise CatalogError(f"bands {lacking} are not in every catalog; reindex=True adds them as never observed")
    return tuple(found.values())


def _common_root(roots: Sequence[str]) -> str:
    if len(set(roots)) == 1:
        return roots[0]
    if any("://" in r for r in roots):
        raise CatalogError(
            f"catalogs below different roots, one of them a URL, cannot be put together: {sorted(set(roots))}"
        )
    return os.path.commonpath(roots)


def _rebased(catalog: Catalog, root: str) -> pa.Table:
    """The table with its path columns relative to another root."""
    table = catalog.table
    prefix = os.path.relpath(catalog.root, root) if catalog.root != root else "."
    if prefix == ".":
        return table
    for name in [n for n in table.column_names if n == "path" or n.startswith("path_")]:
        moved = [None if p is None else p if "://" in p else f"{prefix}/{p}" for p in table[name].to_pylist()]
        table = table.set_column(table.column_names.index(name), name, pa.array(moved, pa.string()))
    return table
