"""Catalogs as GeoParquet 1.1, which geopandas and QGIS open.

Columns: ``key``, ``geometry`` (WKB, OGC:CRS84), ``bbox``, ``crs``, ``height``, ``width``, ``row_off``, ``col_off``,
``affine`` (six doubles), ``start`` and ``end`` (timestamps, null where unknown), then the catalog's own columns. What is
the same for all rows stands in the file's metadata under ``geodata``.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from geodata.catalog.footprint import Footprints, project, rings, unwrapped
from geodata.crs import CRS84, as_crs, crs_text
from geodata.errors import CatalogError, ReadError, StaleCatalogError
from geodata.readers.base import Asset

if TYPE_CHECKING:
    from geodata.catalog.catalog import Catalog

__all__ = ["check_files", "read", "write"]

VERSION = 1

OWN = ("geometry", "bbox", "crs", "height", "width", "row_off", "col_off", "affine", "start", "end")


def write(catalog: Catalog, path: Path) -> Path:
    """Write a catalog; a file of that name is replaced only when the new one is complete."""
    fp = catalog.footprints
    boxes = catalog.box84
    n = len(catalog)
    own = {
        "geometry": pa.array(shapely.to_wkb(_outlines(catalog)), pa.binary()),
        "bbox": pa.StructArray.from_arrays([pa.array(boxes[:, i]) for i in range(4)], ["xmin", "ymin", "xmax", "ymax"]),
        "crs": pa.DictionaryArray.from_arrays(pa.array(fp.code), pa.array([crs_text(c) for c in fp.crs], pa.string())),
        "height": pa.array(fp.shape[:, 0]),
        "width": pa.array(fp.shape[:, 1]),
        "row_off": pa.array(catalog.origin[:, 0]),
        "col_off": pa.array(catalog.origin[:, 1]),
        "affine": pa.FixedSizeListArray.from_arrays(pa.array(fp.affine.ravel()), 6),
        "start": _timestamps(catalog.time[:, 0]),
        "end": _timestamps(catalog.time[:, 1]),
    }
    clash = set(own) & set(catalog.table.column_names)
    if clash:
        raise CatalogError(f"columns {sorted(clash)} have names that the file format uses; rename them")
    rest = {name: catalog.table[name] for name in catalog.table.column_names if name != "key"}
    table = pa.table({"key": catalog.table["key"], **own, **rest})
    metadata = {"geo": json.dumps(_geo(boxes)), "geodata": json.dumps(_about(catalog, path, n))}
    _replace(path, table.replace_schema_metadata(metadata))
    return path


def _about(catalog: Catalog, path: Path, n: int) -> dict[str, Any]:
    root = catalog.root
    if "://" not in root and not root.startswith("/vsi"):
        relative = os.path.relpath(root or ".", path.resolve().parent)
        root = relative if not relative.startswith("..") else os.path.abspath(root or ".")
    assets = [a.to_dict() for a in catalog.assets]
    return {"version": VERSION, "root": root, "lattice": catalog.lattice, "rows": n, "assets": assets}


def _geo(boxes: NDArray[np.float64]) -> dict[str, Any]:
    covering = {"bbox": {side: ["bbox", side] for side in ("xmin", "ymin", "xmax", "ymax")}}
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": ["MultiPolygon", "Polygon"],
        "crs": CRS84.to_json_dict(),
        "edges": "planar",
        "covering": covering,
    }
    known = boxes[~np.isnan(boxes).any(axis=1)]
    if len(known):
        crossing = bool((known[:, 0] > known[:, 2]).any())
        west, east = (-180.0, 180.0) if crossing else (float(known[:, 0].min()), float(known[:, 2].max()))
        column["bbox"] = [west, float(known[:, 1].min()), east, float(known[:, 3].max())]
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


def _outlines(catalog: Catalog) -> NDArray[np.object_]:
    """Outlines in CRS84, cut at the antimeridian; the box where an outline holds a pole; null without a CRS."""
    fp, boxes = catalog.footprints, catalog.box84
    out = np.full(len(fp), None, dtype=object)
    for code in np.unique(fp.code):
        crs = fp.crs[code]
        if crs is None:
            continue
        rows = np.flatnonzero(fp.code == code)
        extent = np.where(boxes[rows, 0] > boxes[rows, 2], 360, boxes[rows, 2] - boxes[rows, 0])
        small = extent < 1.0
        for part, per_side in ((rows[small], 1), (rows[~small], 16)):
            if not len(part):
                continue
            ring = project(rings(fp.take(part), per_side), crs, CRS84)
            finite = np.isfinite(ring).all(axis=(1, 2))
            polygons = np.full(len(part), None, dtype=object)
            polygons[finite] = shapely.polygons(unwrapped(ring[finite]))
            whole = boxes[part, 2] - boxes[part, 0] >= 360
            polygons[whole | ~finite] = shapely.box(*boxes[part[whole | ~finite]].T)
            out[part] = polygons
    for row in np.flatnonzero((boxes[:, 0] > boxes[:, 2]) & (out != None)):  # noqa: E711  (elementwise)
        out[row] = _cut(out[row])
    return out


def _cut(polygon: shapely.Geometry) -> shapely.Geometry:
    """Cut an unwrapped outline at 180 degrees and bring every piece into [-180, 180]."""
    pieces = []
    for turn in (-720, -360, 0, 360, 720):
        moved = shapely.transform(polygon, lambda xy, turn=turn: xy + np.array([turn, 0.0]))
        piece = shapely.intersection(moved, shapely.box(-180, -90, 180, 90))
        if piece.area > 0:
            pieces.append(piece)
    return shapely.union_all(pieces)


def _timestamps(seconds: NDArray[np.float64]) -> pa.Array:
    known = np.isfinite(seconds)
    micros = np.rint(np.where(known, seconds, 0) * 1e6).astype(np.int64)
    return pa.array(micros, mask=~known).cast(pa.timestamp("us", tz="UTC"))


def _replace(path: Path, table: pa.Table) -> None:
    if not path.parent.is_dir():
        raise CatalogError(f"cannot write {path.name}: the folder {path.parent} does not exist")
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        pq.write_table(table, beside, compression="zstd", row_group_size=65536)
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def read(path: Path) -> dict[str, Any]:
    """Read what `Catalog` needs from a file that `write` made."""
    if not path.is_file():
        raise ReadError(f"no catalog at {path}")
    try:
        file = pq.ParquetFile(path)
        metadata = file.schema_arrow.metadata or {}
        if b"geodata" not in metadata:
            raise CatalogError(
                f"{path} is a Parquet file but no catalog of geodata; make one with Catalog.scan or `geodata index`"
            )
        about = json.loads(metadata[b"geodata"])
        names = [n for n in file.schema_arrow.names if n != "geometry"]
        table = file.read(columns=names).replace_schema_metadata(None)
    except (pa.ArrowException, OSError, json.JSONDecodeError) as error:
        raise ReadError(f"cannot read the catalog {path}: {error}") from None
    missing = [n for n in ("key", *OWN[1:]) if n not in table.column_names]
    if missing or about.get("version") != VERSION:
        raise CatalogError(
            f"{path} lacks columns {missing} or is of version {about.get('version')}, wanted version {VERSION}"
        )
    root = about["root"]
    if "://" not in root and not os.path.isabs(root):
        root = os.path.normpath(path.resolve().parent / root)
    assets = tuple(Asset.from_dict(a) for a in about["assets"])
    _refuse_escapes(table, path)
    return {"root": root, "lattice": about["lattice"], "assets": assets, **_columns(table, path)}


def _columns(table: pa.Table, path: Path) -> dict[str, Any]:
    systems = table["crs"].combine_chunks()
    if isinstance(systems, pa.ChunkedArray):
        systems = pa.concat_arrays(systems.chunks)
    if not pa.types.is_dictionary(systems.type):
        systems = systems.dictionary_encode()
    affine = table["affine"].combine_chunks().flatten().to_numpy().reshape(-1, 6)
    shape, origin = (
        np.column_stack([table[name].to_numpy() for name in pair]).astype(np.int64)
        for pair in (("height", "width"), ("row_off", "col_off"))
    )
    if not np.isfinite(affine).all() or (shape < 1).any():
        raise CatalogError(f"{path} holds transforms that are not finite or shapes below 1; make the catalog again")
    footprints = Footprints(
        affine,
        shape,
        systems.indices.to_numpy(zero_copy_only=False).astype(np.int32),
        tuple(as_crs(text) for text in systems.dictionary.to_pylist()),
    )
    time = np.column_stack([_seconds(table["start"], -math.inf), _seconds(table["end"], math.inf)])
    kept = [n for n in table.column_names if n not in OWN]
    return {"footprints": footprints, "origin": origin, "time": time, "table": table.select(kept)}


def _seconds(column: pa.ChunkedArray, unknown: float) -> NDArray[np.float64]:
    micros = column.cast(pa.int64())
    known = pc.is_valid(micros).to_numpy()
    values = pc.fill_null(micros, 0).to_numpy().astype(np.float64) / 1e6
    return np.where(known, values, unknown)


def _refuse_escapes(table: pa.Table, path: Path) -> None:
    """Refuse paths that are absolute or climb, before any row is read."""
    for name in table.column_names:
        if name != "path" and not name.startswith("path_"):
            continue
        column = table[name]
        unsafe = pc.match_substring_regex(column, r"(^|/)\.\.(/|$)|^/|\\|^[A-Za-z]:|\x00")
        if pc.any(unsafe).as_py():
            bad = column.filter(pc.fill_null(unsafe, False))[0].as_py()
            raise CatalogError(f"{path}: path {bad!r} leads out of the catalog's root; paths of rows must lie below it")


def check_files(catalog: Catalog) -> None:
    """Compare sizes and times of change; see `Catalog.check_files`."""
    missing: list[str] = []
    changed: list[str] = []
    seen = 0
    for asset in catalog.assets:
        suffix = asset.href.removeprefix("{path").removesuffix("}")
        if f"size{suffix}" not in catalog.table.column_names:
            continue
        sizes, mtimes = catalog.column(f"size{suffix}"), catalog.column(f"mtime{suffix}")
        for row in range(len(catalog)):
            href = catalog.href(asset, row)
            if href is None or "://" in href or href.startswith("/vsi"):
                continue
            seen += 1
            try:
                stat = os.stat(href)
            except OSError:
                missing.append(href)
                continue
            if (stat.st_size, stat.st_mtime_ns) != (sizes[row], mtimes[row]):
                changed.append(href)
    if missing or changed:
        first = (missing + changed)[0]
        raise StaleCatalogError(
            f"the catalog no longer matches its files: {len(missing)} missing, {len(changed)} changed of {seen} files, "
            f"first {first}; scan again"
        )
