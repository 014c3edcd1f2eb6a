"""Checking the columns of a catalog at the border, so that inside they are only ever valid."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from geodata.catalog.arrow import text_array
from geodata.catalog.footprint import Footprints
from geodata.catalog.paths import fields
from geodata.crs import CRS, as_crs, crs_text
from geodata.errors import CatalogError, CRSError

if TYPE_CHECKING:
    from geodata.catalog.catalog import Catalog

__all__ = ["RESERVED", "check", "check_rows", "matching", "parse", "row_numbers", "rows_digest", "whole_shapes"]

RESERVED = (
    "key",
    "tile_of",
    "geometry",
    "bbox",
    "crs",
    "height",
    "width",
    "row_off",
    "col_off",
    "affine",
    "start",
    "end",
)
"""Names of columns that mean something to the catalog or its file."""


def parse(
    key: Sequence[str], affine: Any, shape: Any, crs: Any, time: Any, extras: Mapping[str, Any]
) -> dict[str, Any]:
    """Return footprints, origin, time and table; see `Catalog.from_columns`."""
    n = len(key)
    code, systems = _systems(crs, n)
    footprints = Footprints(_numbers("affine", affine, (n, 6)), whole_shapes(shape, n), code, systems)
    times = np.tile([-math.inf, math.inf], (n, 1)) if time is None else _numbers("time", time, (n, 2))
    table = _table(key, extras)
    check_rows(table["key"], footprints, times)
    return {"footprints": footprints, "origin": np.zeros((n, 2), dtype=np.int64), "time": times, "table": table}


def check_rows(key: pa.ChunkedArray, footprints: Footprints, times: NDArray[np.float64]) -> None:
    """Refuse keys that repeat or are null, transforms without area, and reversed times."""
    if key.null_count or not (pa.types.is_string(key.type) or pa.types.is_large_string(key.type)):
        raise CatalogError("keys must be text, one per item")
    if not _differ(key):
        twice = Counter(key.to_pylist()).most_common(1)[0][0]
        raise CatalogError(
            f"key {twice!r} stands for more than one item; give a pattern whose item group tells them apart"
        )
    m = footprints.affine
    flat = np.flatnonzero(~np.isfinite(m).all(axis=1) | (m[:, 0] * m[:, 4] - m[:, 1] * m[:, 3] == 0))
    if len(flat):
        row = int(flat[0])
        raise CatalogError(
            f"item {key[row].as_py()!r} has the transform {m[row].tolist()}; it must be finite and give pixels an area"
        )
    late = np.flatnonzero(times[:, 0] > times[:, 1])
    if len(late):
        row = int(late[0])
        raise CatalogError(f"item {key[row].as_py()!r} ends before it starts: {times[row].tolist()} seconds")


def _numbers(name: str, values: Any, shape: tuple[int, int]) -> NDArray[np.float64]:
    try:
        array = np.asarray(values, dtype=np.float64).reshape(-1, shape[1]) if shape[0] else np.empty(shape)
    except (TypeError, ValueError) as error:
        raise CatalogError(f"{name} must be {shape[0]} rows of {shape[1]} numbers: {error}") from None
    if array.shape != shape:
        raise CatalogError(f"{name} has {array.shape[0]} rows, wanted {shape[0]} of {shape[1]} numbers, one per key")
    return array


def _differ(key: pa.ChunkedArray) -> bool:
    """Whether no text comes twice. Equal ones are neighbours once sorted, which takes less memory than a table of hashes."""
    if len(key) < 2 or _ascending(key):
        return True
    ordered = key.take(pc.sort_indices(key)).combine_chunks()
    return not pc.any(pc.equal(ordered[1:], ordered[:-1])).as_py()


def _ascending(key: pa.ChunkedArray) -> bool:
    """Whether each text comes after the one before, as where rows are in the order of their keys."""
    chunks = [chunk for chunk in key.chunks if len(chunk)]
    ends = [(chunk[0].as_py(), chunk[-1].as_py()) for chunk in chunks]
    between = all(before[1] < after[0] for before, after in pairwise(ends))
    return between and all(pc.all(pc.less(chunk[:-1], chunk[1:])).as_py() for chunk in chunks)


def whole_shapes(shape: Any, n: int) -> NDArray[np.int64]:
    """Return (n, 2) heights and widths, or refuse what is no whole number of pixels."""
    numbers = _numbers("shape", shape, (n, 2))
    if not (np.isfinite(numbers).all() and (numbers == np.rint(numbers)).all() and (numbers >= 1).all()):
        raise CatalogError("shape must be whole pixels, height and width of at least 1")
    return numbers.astype(np.int64)


def _systems(crs: Any, n: int) -> tuple[NDArray[np.int32], tuple[CRS | None, ...]]:
    if isinstance(crs, np.ndarray) and crs.dtype.kind in "iu" and crs.shape == (n,):
        codes, places = np.unique(crs, return_inverse=True)
        return places.astype(np.int32), tuple(as_crs(int(code)) for code in codes)
    one = isinstance(crs, (str, dict)) or not isinstance(crs, Iterable)
    many = [crs] * n if one else list(crs)
    if one and n:
        as_crs(crs)
    if len(many) != n:
        raise CatalogError(f"{len(many)} CRSs for {n} keys; give one for all, or one per key")
    # Hashing a CRS writes it out as WKT, so objects go by identity: most rows share a few of them.
    names = [value if isinstance(value, str) else id(value) for value in many]
    known: dict[str | int, CRS | None] = {}
    for name, value in zip(names, many, strict=True):
        if name not in known:
            known[name] = as_crs(value)
    position = {text: i for i, text in enumerate(dict.fromkeys(crs_text(c) for c in known.values()))}
    place = {name: position[crs_text(c)] for name, c in known.items()}
    by_text = {crs_text(c): c for c in known.values()}
    code = np.array([place[name] for name in names], dtype=np.int32)
    return code, tuple(by_text[text] for text in position)


def _table(key: Sequence[str], extras: Mapping[str, Any]) -> pa.Table:
    taken = [name for name in extras if name in RESERVED]
    if taken:
        raise CatalogError(f"column {taken[0]!r} has a name with a meaning of its own; call it something else")
    made = isinstance(key, (pa.StringArray, pa.ChunkedArray))
    if not made and any(not isinstance(k, str) for k in key):
        raise CatalogError("keys must be text, one per item")
    try:
        return pa.table({"key": key if made else text_array(key), **dict(extras)})
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise CatalogError(f"columns must have {len(key)} values of one kind each: {error}") from None


def row_numbers(rows: Any, n: int) -> NDArray[np.int64]:
    """Return row numbers from integers, or from a boolean mask of all rows."""
    array = np.asarray(rows)
    if array.dtype == bool:
        if array.shape != (n,):
            raise CatalogError(f"a mask of {array.shape} values for {n} rows; give one boolean per row")
        return np.flatnonzero(array)
    if array.size and array.dtype.kind not in "iu":
        raise CatalogError(f"rows must be whole numbers or booleans, got {array.dtype}")
    if array.ndim != 1:
        raise CatalogError(f"rows must be a list of numbers, got an array of shape {array.shape}")
    out = array.astype(np.int64)
    if len(out) and (out.min() < -n or out.max() >= n):
        raise CatalogError(f"row {int(out.max() if out.max() >= n else out.min())} of {n} rows does not exist")
    return out % n if len(out) else out


def check(catalog: Catalog) -> None:
    """Refuse columns that contradict each other; every catalog passes here."""
    fp, n = catalog.footprints, len(catalog.footprints)
    if catalog.origin.shape != (n, 2) or catalog.time.shape != (n, 2) or catalog.table.num_rows != n:
        raise CatalogError(
            f"columns of unequal length: {n} footprints, {len(catalog.time)} times, {catalog.table.num_rows} keys"
        )
    without = np.array([crs is None for crs in fp.crs], dtype=bool)[fp.code]
    if without.any() and not without.all():
        keys = [catalog.key[np.flatnonzero(without == flag)[0]] for flag in (True, False)]
        raise CRSError(
            f"item {keys[0]!r} has no CRS but item {keys[1]!r} has one; rows with and without a CRS do not share a "
            "catalog: scan them apart, or give the first kind its CRS"
        )
    absent = [c for a in catalog.assets for c in fields(a.href) if c not in catalog.table.column_names]
    if absent:
        raise CatalogError(f"a path template names the column {absent[0]!r}, which is not there")
    if np.isnan(catalog.time).any():
        raise CatalogError("a time is NaN; an unknown time is the interval (-inf, inf)")


def matching(catalog: Catalog, condition: Any, values: Mapping[str, Any]) -> NDArray[np.int64]:
    """Return the rows that have the values and that the condition marks; see `Catalog.where`."""
    keep = np.ones(len(catalog), dtype=bool)
    if condition is not None:
        mask = np.asarray(condition(catalog) if callable(condition) else condition)
        if mask.dtype != bool or mask.shape != keep.shape:
            raise CatalogError(
                f"a condition must give {len(keep)} booleans, got {mask.dtype} of shape {mask.shape}; "
                "take() takes row numbers"
            )
        keep &= mask
    for name, wanted in values.items():
        column = catalog.column(name)
        several = isinstance(wanted, (list, tuple, set, frozenset, np.ndarray))
        keep &= np.isin(column, list(wanted)) if several else np.asarray(column == wanted)
    return np.flatnonzero(keep).astype(np.int64)


def rows_digest(catalog: Catalog) -> str:
    """Fingerprint of which rows there are, in which order and on which lattices; kept with the catalog."""
    known: str | None = catalog.__dict__.get("_rows_digest")
    if known is None:
        h = hashlib.sha256("\n".join(catalog.key.tolist()).encode(errors="surrogatepass"))
        for held in (catalog.shape, catalog.affine):
            h.update(np.ascontiguousarray(held).ravel().data)
        known = catalog.__dict__["_rows_digest"] = h.hexdigest()[:16]
    return known
