"""Vector files through fiona, or through pyogrio where that is installed: headers, geometries and attributes."""

from __future__ import annotations

import importlib.util
import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geodata.crs import CRS, as_crs
from geodata.errors import CRSError, ReadError
from geodata.grid import Bounds
from geodata.readers.damage import deleted, undecoded
from geodata.readers.gate import passing
from geodata.readers.opening import Path, layer_names, locate, opened, readable_in_bulk, telling
from geodata.readers.room import with_room

__all__ = ["KINDS", "Path", "VectorInfo", "describe_layer", "label_codes", "list_layers", "read_layer"]

KINDS = ("int", "float", "bool", "str", "date", "datetime")
"""Types of attributes that can be read."""

_ONE_LAYER = (".shp", ".geojson", ".geojsonl", ".fgb")
_EXACT_FLOAT = 2.0**53


@dataclass(frozen=True, slots=True)
class VectorInfo:
    """What one layer says about itself without reading a geometry.

    Parameters
    ----------
    path : str
        As it was given.
    layer : str
    crs : CRS
    bounds : (left, bottom, right, top), units of ``crs``
        As the file states them.
    count : int, >= 1
        Features, with and without a geometry.
    fields : dict, name -> one of `KINDS`, or another word for a type that cannot be read as a column
    size : int, bytes; 0 when the path is no local file
    mtime : float, seconds since 1970-01-01 UTC; 0 when the path is no local file
    """

    path: str
    layer: str
    crs: CRS
    bounds: Bounds
    count: int
    fields: dict[str, str] = field(hash=False)
    size: int
    mtime: float


def list_layers(path: Path) -> tuple[str, ...]:
    """Return the names of all layers of a file, with and without geometries.

    Raises
    ------
    NoFilesError, ReadError
        If the file does not exist, or cannot be opened as vector data.
    """
    return layer_names(locate(path)[0])


def describe_layer(path: Path, layer: str | None = None) -> VectorInfo:
    """Read the header of a layer.

    Parameters
    ----------
    path : str or path-like
        A file, a zipped shapefile, a URL, or one of GDAL's virtual paths (``/vsi...``).
    layer : str or None
        None: the only layer that has geometries.

    Raises
    ------
    NoFilesError, CRSError
        If the file does not exist; if the layer has no CRS.
    ReadError
        If it cannot be read, is cut short, holds no features, or holds several layers and none was named.
    """
    return with_room(lambda: _describe(path, layer))


def _describe(path: Path, layer: str | None) -> VectorInfo:
    name, size, mtime = locate(path)
    with passing(), opened(name, _choose(name, layer)) as source:
        locate(path, source.name)  # only now it is known which table is read
        try:
            count = len(source)
        except TypeError:  # a text format that does not state it
            count = sum(1 for _ in source)
        if count < 1:
            raise ReadError(f"{name}, layer {source.name!r}: it holds no features; choose another layer or file")
        return VectorInfo(
            path=os.fspath(path),
            layer=source.name,
            crs=_crs(name, source),
            bounds=_bounds(name, source),
            count=count,
            fields={key: _kind(text) for key, text in source.schema["properties"].items()},
            size=size,
            mtime=mtime,
        )


def label_codes(
    path: Path | VectorInfo, layer: str | None = None, *, column: str
) -> tuple[int | float | bool | str | None, ...]:
    """Return the distinct values of one attribute, sorted; None stands last if any value is missing.

    Reads the attribute only, of all features, also of those without a geometry. Integers stay integers.

    Raises
    ------
    ReadError
        If the column does not exist (the fields are listed), or its type cannot be read.
    """
    info = path if isinstance(path, VectorInfo) else describe_layer(path, layer)
    values = read_layer(info, (column,), geometry=False)[1][column]
    present = [v for v in values.tolist() if v is not None and v == v]
    return (*sorted(set(present)), *((None,) if len(present) < len(values) else ()))


def read_layer(
    info: VectorInfo, columns: Sequence[str], *, geometry: bool = True
) -> tuple[NDArray[np.object_], dict[str, NDArray[Any]]]:
    """Read all features of a layer, in the order of the file.

    Parameters
    ----------
    info : VectorInfo
    columns : names of attributes
    geometry : bool
        False reads the attributes alone.

    Returns
    -------
    geometries : (count,) shapely geometries in two dimensions, None where a feature has none; () when not asked for
    columns : dict, name -> (count,) array
        ``int``: int64, or objects with None where a value is missing. ``float``: float64, NaN where missing.
        ``bool``: bool, or objects with None. ``str``, ``date`` and ``datetime`` (ISO 8601): text as objects, None
        where missing.

    Raises
    ------
    ReadError
        If a column does not exist or its type cannot be read, or if not every feature can be decoded.
    """
    for column in columns:
        _check_column(info, column)
    return with_room(lambda: _read(info, columns, geometry))


def _read(
    info: VectorInfo, columns: Sequence[str], geometry: bool
) -> tuple[NDArray[np.object_], dict[str, NDArray[Any]]]:
    name = locate(info.path, info.layer)[0]
    read = _read_pyogrio if _pyogrio_is_here() and readable_in_bulk(name) else _read_fiona
    with passing(), telling(name):
        shapes, lists, count = read(name, info, columns, geometry)
    expected = info.count - len(deleted(name))
    if count != expected:
        raise ReadError(
            f"{name}, layer {info.layer!r}: only {count} of {expected} features could be read; "
            "the file is damaged or cut short, fetch it again"
        )
    geometries = shapely.force_2d(np.array(shapes, dtype=object))
    if geometry:
        _check_geometries(name, info, geometries)
    return geometries, {c: _column(info.fields[c], values) for c, values in zip(columns, lists, strict=True)}


Read = tuple[Sequence[Any], list[list[Any]], int]


def _pyogrio_is_here() -> bool:
    return importlib.util.find_spec("pyogrio") is not None


def _read_fiona(name: str, info: VectorInfo, columns: Sequence[str], geometry: bool) -> Read:
    from shapely.geometry import shape

    shapes, rows = list[Any](), list[list[Any]]()
    with opened(name, info.layer, include_fields=list(columns), ignore_geometry=not geometry) as source:
        for feature in source:
            values, outline = feature.properties, feature.geometry if geometry else None
            rows.append([values[c] for c in columns])
            shapes.append(None if outline is None else shape(outline))
    return shapes, [[row[k] for row in rows] for k in range(len(columns))], len(rows)


def _read_pyogrio(name: str, info: VectorInfo, columns: Sequence[str], geometry: bool) -> Read:
    from pyogrio.raw import read

    options = {"read_geometry": geometry, "force_2d": True, "return_fids": True, "datetime_as_string": True}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Measured")  # measures along a line are not asked for
        meta, ids, wkb, arrays = read(name, layer=info.layer, columns=list(columns), **options)
    found = dict(zip(meta["fields"], arrays, strict=True))
    lists = [_objects(info.fields[c], found[c]) for c in columns]
    if any(values is None for values in lists):
        lists = list(_read_fiona(name, info, columns, geometry=False)[1])
    return (shapely.from_wkb(wkb) if geometry else ()), [v for v in lists if v is not None], len(ids)


def _objects(kind: str, values: NDArray[Any]) -> list[Any] | None:
    """Undo pyogrio's turning of whole numbers with gaps into floats; None where digits are lost by it."""
    if kind not in ("int", "bool") or values.dtype.kind != "f":
        return list(values.tolist())
    if np.nanmax(np.abs(values), initial=0) >= _EXACT_FLOAT:
        return None
    whole = int if kind == "int" else bool
    return [None if v != v else whole(v) for v in values.tolist()]


def _column(kind: str, values: Sequence[Any]) -> NDArray[Any]:
    gaps = any(v is None for v in values)
    if kind == "float":
        return np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    if kind in ("int", "bool") and not gaps:
        return np.array(values, dtype=np.int64 if kind == "int" else np.bool_)
    if kind == "datetime":
        values = [None if v is None else datetime.fromisoformat(v).isoformat() for v in values]
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def _check_column(info: VectorInfo, column: str) -> None:
    where = f"{info.path}, layer {info.layer!r}"
    if column not in info.fields:
        raise ReadError(f"{where} has no column {column!r}; its columns are: {', '.join(info.fields) or 'none'}")
    kind = info.fields[column]
    if kind not in KINDS:
        raise ReadError(f"{where}: column {column!r} is of type {kind}; only {', '.join(KINDS)} can be read")


def _check_geometries(name: str, info: VectorInfo, geometries: NDArray[np.object_]) -> None:
    where = f"{name}, layer {info.layer!r}"
    nulls = np.flatnonzero(shapely.is_missing(geometries))
    broken = undecoded(name, nulls)
    if len(broken):
        raise ReadError(f"{where}: {len(broken)} shapes cannot be decoded, first {broken[0]}; fetch the file again")
    xy, owner = shapely.get_coordinates(geometries, return_index=True)
    wild = np.unique(owner[~np.isfinite(xy).all(axis=1)])
    if len(wild):
        raise ReadError(f"{where}: {len(wild)} features, first {wild[0]}, have coordinates that are not finite")


def _choose(name: str, layer: str | None) -> str | None:
    if layer is None and name.lower().endswith(_ONE_LAYER):
        return None  # listing them would parse a text file once more
    names = layer_names(name)
    listed = ", ".join(names) or "none"
    if layer is not None:
        if layer not in names:
            raise ReadError(f"{name} has no layer {layer!r}; its layers are: {listed}")
        return layer
    if len(names) > 1:  # tables of styles and the like stand beside the one layer that is meant
        names = tuple(one for one in names if _geometry_type(name, one) != "None")
    if len(names) != 1:
        raise ReadError(f"{name} holds {len(names)} layers with geometries (all layers: {listed}); name one: layer=...")
    return names[0]


def _geometry_type(name: str, layer: str) -> str:
    with opened(name, layer) as source:
        return str(source.schema["geometry"])


def _kind(text: str) -> str:
    word = text.partition(":")[0]
    return {"int16": "int", "int32": "int", "int64": "int", "float32": "float"}.get(word, word)


def _crs(name: str, source: Any) -> CRS:
    crs = as_crs(source.crs_wkt or None)
    if crs is None or crs.name.startswith("Undefined") or not (crs.is_geographic or crs.is_projected):
        got = "no CRS" if crs is None else f"no usable CRS ({crs.name})"
        raise CRSError(
            f"{name}, layer {source.name!r} has {got}, and geodata never assumes one; "
            "write it into the file (for a shapefile: the .prj beside it)"
        )
    return crs


def _bounds(name: str, source: Any) -> Bounds:
    try:
        left, bottom, right, top = (float(v) for v in source.bounds)
    except ValueError:  # fiona's word for "no bounds"
        raise ReadError(f"{name}, layer {source.name!r}: none of its features has a geometry") from None
    if not all(map(math.isfinite, (left, bottom, right, top))):
        raise ReadError(f"{name}, layer {source.name!r}: its bounds are not finite; fetch it again")
    return left, bottom, right, top
