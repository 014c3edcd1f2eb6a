"""Catalogs as GeoParquet 1.1, which geopandas and QGIS open.

Columns: ``key``, ``geometry`` (WKB, OGC:CRS84), ``bbox``, ``crs``, ``height``, ``width``, ``row_off``, ``col_off``,
``affine`` (six doubles), ``start`` and ``end`` (timestamps, null where unknown), then the catalog's own columns. What is
the same for all rows stands in the file's metadata under ``geodata``.
"""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from geodata.catalog import columns
from geodata.catalog.arrow import byte_array, known_in, number_array, text_array, values_of
from geodata.catalog.footprint import Footprints
from geodata.catalog.outlines import outlines
from geodata.catalog.paths import UNSAFE, check_root, fields, resolve
from geodata.crs import CRS84, as_crs, crs_text
from geodata.errors import CatalogError, GeodataError, ReadError, StaleCatalogError
from geodata.readers.base import Asset

if TYPE_CHECKING:
    from geodata.catalog.catalog import Catalog

__all__ = ["check_files", "read", "write"]

VERSION = 1

ROWS = 16384
"""Rows that are written at a time."""

OWN = ("geometry", "bbox", "crs", "height", "width", "row_off", "col_off", "affine", "start", "end")


def write(catalog: Catalog, path: Path, **more: str) -> Path:
    """Write a catalog, and further metadata of the file; one of that name is replaced only when the new one is complete."""
    n = len(catalog)
    # Drawn and written a group at a time: of a million items only the outlines themselves stand in memory together.
    groups = [np.arange(start, min(start + ROWS, n)) for start in range(0, max(n, 1), ROWS)]
    wkb, drawn, names = [], [], set()
    for rows in groups:
        outline, box, kinds = outlines(catalog if len(groups) == 1 else catalog.take(rows))
        wkb.append(byte_array(outline, pa.binary()))
        drawn.append(box)
        names.update(kinds)
    geo = _geo(drawn, [kind for kind in ("Polygon", "MultiPolygon") if kind in names])
    metadata = {"geo": json.dumps(geo), "geodata": json.dumps(_about(catalog, path, n)), **more}
    tables = (
        _group(catalog if len(groups) == 1 else catalog.take(rows), *outline)
        for rows, *outline in zip(groups, wkb, drawn, strict=True)
    )
    _replace(path, (table.replace_schema_metadata(metadata) for table in tables))
    return path


def _group(catalog: Catalog, wkb: pa.Array, boxes: NDArray[np.float64]) -> pa.Table:
    """Return rows as they are written."""
    fp = catalog.footprints
    own = {
        "geometry": wkb,
        "bbox": pa.StructArray.from_arrays(
            [number_array(boxes[:, i]) for i in range(4)], ["xmin", "ymin", "xmax", "ymax"]
        ),
        "crs": pa.DictionaryArray.from_arrays(number_array(fp.code), text_array([crs_text(c) for c in fp.crs])),
        "height": number_array(fp.shape[:, 0]),
        "width": number_array(fp.shape[:, 1]),
        "row_off": number_array(catalog.origin[:, 0]),
        "col_off": number_array(catalog.origin[:, 1]),
        "affine": pa.FixedSizeListArray.from_arrays(number_array(fp.affine.ravel()), 6),
        "start": _timestamps(catalog.time[:, 0]),
        "end": _timestamps(catalog.time[:, 1]),
    }
    rest = {name: catalog.table[name] for name in catalog.table.column_names if name != "key"}
    return pa.table({"key": catalog.table["key"], **own, **rest})


def _about(catalog: Catalog, path: Path, n: int) -> dict[str, Any]:
    root = catalog.root
    if "://" not in root and not root.startswith("/vsi"):
        relative = os.path.relpath(os.path.realpath(root or "."), os.path.realpath(path.parent))
        root = relative if relative.split(os.sep)[0] != ".." else os.path.abspath(root or ".")
    assets = [a.to_dict() for a in catalog.assets]
    about = {"version": VERSION, "root": root, "lattice": catalog.lattice, "rows": n, "assets": assets}
    rest = {"skipped": list(catalog.skipped), "dropped": list(catalog.dropped), "dataset": list(catalog.dataset)}
    return about | {name: items for name, items in rest.items() if any(items)}


def _geo(boxes: Sequence[NDArray[np.float64]], kinds: list[str]) -> dict[str, Any]:
    covering = {"bbox": {side: ["bbox", side] for side in ("xmin", "ymin", "xmax", "ymax")}}
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": kinds,
        "crs": CRS84.to_json_dict(),
        "edges": "planar",
        "covering": covering,
    }
    known = [part[there] for part in boxes if (there := ~np.isnan(part).any(axis=1)).any()]
    if known:
        low, high = (np.array([f(part, axis=0) for part in known]) for f in (np.min, np.max))
        column["bbox"] = [*low[:, :2].min(axis=0).tolist(), *high[:, 2:].max(axis=0).tolist()]
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


def _timestamps(seconds: NDArray[np.float64]) -> pa.Array:
    known = np.isfinite(seconds)
    micros = np.rint(np.where(known, seconds, 0) * 1e6).astype(np.int64)
    return number_array(micros, known).cast(pa.timestamp("us", tz="UTC"))


def _replace(path: Path, groups: Iterator[pa.Table]) -> None:
    if path.is_dir():
        raise CatalogError(
            f"cannot write {path}: it is a folder; give a file name, for example {path / 'catalog.parquet'}"
        )
    if not path.parent.is_dir():
        raise CatalogError(f"cannot write {path.name}: the folder {path.parent} does not exist")
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        first = next(groups)
        # Texts hardly repeat, and packing well is not worth a dictionary that is given up half way.
        repeated = [
            f.name for f in first.schema if f.name not in ("key", "geometry") and not pa.types.is_string(f.type)
        ]
        with pq.ParquetWriter(beside, first.schema, compression="zstd", use_dictionary=repeated) as writer:
            for table in chain([first], groups):
                writer.write_table(table)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def read(path: Path) -> dict[str, Any]:
    """Read what `Catalog` needs from a file that `write` made.

    Raises
    ------
    ReadError
        If there is no file, or it is no Parquet.
    CatalogError
        If it is no catalog, of another version, damaged, or holds paths that leave its root.
    """
    if not path.is_file():
        raise ReadError(f"no catalog at {path}")
    try:
        file = pq.ParquetFile(path, pre_buffer=False)
        _check_size(file.metadata.num_rows, path)
        metadata = file.schema_arrow.metadata or {}
        there = file.schema_arrow.names
        wanted = [n for n in there if n not in ("geometry", "bbox")]
        # A group at a time: decoding all columns of all rows at once takes as much room again.
        parts = [file.read_row_group(i, columns=wanted) for i in range(file.num_row_groups)]
        table = (pa.concat_tables(parts) if parts else file.read(columns=wanted)).replace_schema_metadata(None)
        pa.default_memory_pool().release_unused()
        table.validate(full=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ReadError(f"cannot read the catalog {path}: {error}") from None
    if b"geodata" not in metadata:
        raise CatalogError(
            f"{path} is a Parquet file but no catalog of geodata; make one with Catalog.scan or `geodata index`"
        )
    try:
        about = json.loads(metadata[b"geodata"])
        if about["version"] != VERSION:
            raise CatalogError(
                f"{path} is of version {about['version']}, wanted version {VERSION}; make the catalog again"
            )
        missing = [n for n in ("key", *OWN[1:]) if n not in there]
        if missing or table.num_rows != about["rows"]:
            raise CatalogError(
                f"{path} lacks columns {missing} or rows: {table.num_rows} of {about['rows']}; make the catalog again"
            )
        return _contents(table, about, path)
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
        pa.ArrowException,
    ) as error:
        if isinstance(error, GeodataError):
            raise
        raise CatalogError(f"{path} is damaged ({type(error).__name__}: {error}); make the catalog again") from None


def _check_size(rows: int, path: Path) -> None:
    """Refuse a file that would fill the memory: keys are unique, so rows take bytes, however well they are packed."""
    size = path.stat().st_size
    if rows > 4 * size:
        raise CatalogError(f"{path} says that it has {rows} rows in {size} bytes; make the catalog again")


def _contents(table: pa.Table, about: dict[str, Any], path: Path) -> dict[str, Any]:
    root, lattice = about["root"], about["lattice"]
    if not isinstance(root, str) or not isinstance(lattice, bool):
        raise CatalogError(f"{path} is damaged: root {root!r}, lattice {lattice!r}; make the catalog again")
    check_root(root, str(path))
    if "://" not in root and not os.path.isabs(root):
        root = os.path.normpath(os.path.join(os.path.realpath(path.parent), root))
    systems = pc.dictionary_encode(table["crs"]).combine_chunks() if table["crs"].null_count == 0 else None
    if systems is None:
        raise CatalogError(f"{path} is damaged: an item's CRS is null; make the catalog again")
    systems = systems if isinstance(systems, pa.DictionaryArray) else pa.concat_arrays(systems.chunks)
    affine = table["affine"].combine_chunks()
    if affine.null_count or affine.type.list_size != 6:
        raise CatalogError(f"{path} is damaged: transforms must be six numbers; make the catalog again")
    n = table.num_rows
    footprints = Footprints(
        values_of(affine.flatten()).astype(np.float64, copy=False).reshape(n, 6),
        columns.whole_shapes(np.column_stack([values_of(table["height"]), values_of(table["width"])]), n),
        values_of(systems.indices).astype(np.int32),
        tuple(as_crs(text) for text in systems.dictionary.to_pylist()),
    )
    time = np.column_stack([_seconds(table["start"], -math.inf), _seconds(table["end"], math.inf)])
    columns.check_rows(table["key"], footprints, time)
    kept = table.select([n for n in table.column_names if n not in OWN])
    given = np.column_stack([values_of(table[n], null=0) for n in ("row_off", "col_off")])
    origin = given.astype(np.int64)
    assets = tuple(Asset.from_dict(a) for a in about["assets"])
    _check_paths(kept, assets, path)
    if table["row_off"].null_count or table["col_off"].null_count or (origin < 0).any() or (origin != given).any():
        raise CatalogError(f"{path} is damaged: offsets of tiles must be whole pixels; make the catalog again")
    return {
        "footprints": footprints,
        "origin": origin,
        "time": time,
        "table": kept,
        "root": root,
        "lattice": lattice,
        "assets": assets,
        "skipped": tuple(map(str, about.get("skipped", ()))),
        "dropped": tuple(map(str, about.get("dropped", ()))),
        "dataset": tuple(map(str, about.get("dataset", ("", "")))),
    }


def _seconds(column: pa.ChunkedArray, unknown: float) -> NDArray[np.float64]:
    micros = column.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    return np.where(known_in(micros), values_of(micros, null=0) / 1e6, unknown)


def _check_paths(table: pa.Table, assets: Sequence[Asset], path: Path) -> None:
    """Refuse templates and paths that could leave the root, before any row is read."""
    for name in {name for asset in assets for name in fields(asset.href)}:
        if name not in table.column_names:
            raise CatalogError(
                f"{path}: a path template names the column {name!r}, which is not there; make the catalog again"
            )
        column = table[name]
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
            raise CatalogError(f"{path}: column {name!r} of paths holds {kind}, wanted text; make the catalog again")
        if f"{{{name}}}" in {a.href for a in assets}:
            text = column.cast(pa.string())
            doubtful = pc.match_substring_regex(text, f"{UNSAFE}|://")
            for value in text.filter(doubtful).to_pylist():
                resolve("", value)  # URLs of known kinds pass


def check_files(catalog: Catalog) -> None:
    """Compare sizes and times of change; see `Catalog.check_files`."""
    missing: list[str] = []
    changed: list[str] = []
    seen: set[str] = set()
    for asset in catalog.assets:
        suffix = asset.href.removeprefix("{path").removesuffix("}")
        if f"size{suffix}" not in catalog.table.column_names:
            continue
        sizes, mtimes = catalog.column(f"size{suffix}"), catalog.column(f"mtime{suffix}")
        for row in range(len(catalog)):
            href = catalog.href(asset, row)
            if href is None or href in seen or "://" in href or href.startswith("/vsi"):
                continue
            seen.add(href)
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
            f"the catalog no longer matches its files: {len(missing)} missing, {len(changed)} changed of {len(seen)} files, "
            f"first {first}; scan again"
        )
