"""What a store says of itself, so that other tools understand it: attributes, axes, small arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.grid import Grid
from geodata.parts import resolution_name
from geodata.spec import Content, Mask
from geodata.store.layout import Laid, Layout
from geodata.store.source import StoredArray

__all__ = ["MAPPING", "array_attributes", "as_json", "described", "group", "plain_array", "small_arrays"]

MAPPING = "spatial_ref"
"""The variable that holds the CRS of a cube."""


def as_json(data: Any) -> bytes:
    """Return JSON as it is written: the same for the same content."""
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False).encode()


Stats = Mapping[str, Mapping[str, float]]


def described(layout: Layout, contents: Sequence[Content], stats: Stats, mark: str) -> Layout:
    """Return the layout with names of axes and attributes on its arrays."""
    by_key = {c.key: c for c in contents}
    laid = [_described(layout, each, by_key[each.array.key], stats) for each in layout.arrays]
    marked = [replace(each, meta=replace(each.meta, attrs={**each.meta.attrs, "rows": mark})) for each in laid]
    return replace(layout, arrays=tuple(marked))


def _described(layout: Layout, laid: Laid, content: Content, stats: Stats) -> Laid:
    array = laid.array
    dims = dims_of(layout, array)
    attrs = array_attributes(array, content) | _georeference(layout, array)
    names = array.bands.names
    if stats and all(name in values for values in stats.values() for name in names):
        attrs["statistics"] = {kind: [float(values[name]) for name in names] for kind, values in stats.items()}
    valid = laid.valid
    if valid is not None:
        valid = replace(valid, dims=dims, attrs={"long_name": f"1 where {array.name} was observed"})
    return replace(laid, meta=replace(laid.meta, dims=dims, attrs=attrs), valid=valid)


def dims_of(layout: Layout, array: StoredArray) -> tuple[str, ...]:
    """Return the names of an array's axes; xarray refuses one name of several lengths."""
    tail = "" if len(layout.arrays) == 1 else f"_{array.name}"
    if layout.kind != "cube":
        return ("sample", f"band{tail}", f"y{tail}", f"x{tail}")
    # Arrays of one resolution of a cube share their rows and columns.
    place = f"_{array.name}" if array.size is not None else ""
    if not place and array.ratio > 1:
        place = resolution_name(layout.catalog, array.ratio)
    return ("time", f"band{tail}", f"y{place}", f"x{place}")


def array_attributes(array: StoredArray, content: Content) -> dict[str, Any]:
    """Return what is known of the bands and classes of an array."""
    bands = list(array.bands)
    found: dict[str, Any] = {
        "key": array.key,
        "bands": [b.name for b in bands],
        "state": array.bands.state,
        "validity": array.validity,
        "long_name": content.about or array.key,
    }
    lists = (
        ("common_name", [b.common_name for b in bands]),
        ("wavelength_nm", [b.wavelength for b in bands]),
        ("fwhm_nm", [b.fwhm for b in bands]),
        ("gsd", [b.gsd for b in bands]),
        ("units", [b.unit for b in bands]),
    )
    found |= {name: values for name, values in lists if any(value is not None for value in values)}
    if any((b.scale, b.offset) != (1.0, 0.0) for b in bands):
        found |= {"scale": [b.scale for b in bands], "offset": [b.offset for b in bands]}
    if array.nodata is not None:
        found["nodata"] = array.nodata if np.isfinite(array.nodata) else repr(array.nodata)
    if isinstance(content, Mask):
        found["classes"] = _class_list(content)
    return found


def _class_list(content: Mask) -> list[dict[str, Any]]:
    """Return classes with the number that stands for each in the array."""
    classes = content.classes
    codes = {i: i for i in range(len(classes.names))} if classes.codes is None else classes.codes
    colours = classes.colours or ("",) * len(classes.names)
    return [
        {"value": int(value), "class": int(number), "name": classes.names[number]}
        | ({"colour": colours[number]} if colours[number] else {})
        for value, number in codes.items()
        if 0 <= number < len(classes.names)
    ]


# ---------------------------------------------------------------------- where a cube lies


def grid_of(layout: Layout, ratio: int = 1) -> Grid:
    """Return the grid of a cube's pixels."""
    row = int(np.lexsort((layout.origin[:, 1], layout.origin[:, 0]))[0])
    down, across = layout.origin[row].tolist()
    _, height, width = layout.shape
    grid = layout.catalog.grid(row, (-down, -across, height, width))
    if ratio == 1:
        return grid
    whole = layout.catalog.grid(row, (-down, -across, -(-height // ratio) * ratio, -(-width // ratio) * ratio))
    return whole.coarser(ratio)


def _georeference(layout: Layout, array: StoredArray) -> dict[str, Any]:
    """Return the CRS and transform of a cube in the words of CF and of the Zarr conventions; patches have them by row."""
    if layout.kind != "cube" or array.size is not None:
        return {}
    grid = grid_of(layout, array.ratio)
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    left, bottom, right, top = grid.bounds
    return {
        "grid_mapping": MAPPING,
        "proj:wkt2": grid.crs.to_wkt() if grid.crs is not None else None,
        "proj:code": _code(grid),
        "spatial:dimensions": [dims_of(layout, array)[2], dims_of(layout, array)[3]],
        "spatial:transform": [a, b, c, d, e, f],
        "spatial:shape": [grid.height, grid.width],
        "spatial:bbox": [left, bottom, right, top],
    }


def _code(grid: Grid) -> str | None:
    authority = grid.crs.to_authority() if grid.crs is not None else None
    return None if authority is None else ":".join(authority)


# ---------------------------------------------------------------------- small arrays


def plain_array(
    data: NDArray[Any], dims: Sequence[str], attrs: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], bytes]:
    """Return metadata and the one chunk of an array that is not packed."""
    native = np.asarray(data, order="C")
    little = native.astype(native.dtype.newbyteorder("<"))
    codec: dict[str, Any] = {"name": "bytes"}
    if native.dtype.itemsize > 1:
        codec["configuration"] = {"endian": "little"}
    meta = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(native.shape),
        "data_type": native.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [max(1, n) for n in native.shape]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [codec],
        "attributes": dict(attrs or {}),
        "dimension_names": list(dims),
    }
    return meta, little.tobytes()


def small_arrays(layout: Layout) -> dict[str, tuple[dict[str, Any], bytes]]:
    """Return the arrays that say where and when samples are: in the catalog too, here for other tools."""
    if layout.kind == "cube":
        return _cube_axes(layout)
    catalog = layout.catalog
    found = {}
    if catalog.has_crs:
        corners = np.array([catalog.grid(row).bounds for row in range(len(catalog))])
        found["sample_bounds"] = plain_array(
            corners, ("sample", "side"), {"long_name": "left, bottom, right, top in the CRS of each sample"}
        )
        codes = [0 if crs is None else crs.to_epsg() or 0 for crs in catalog.footprints.crs]
        epsg = np.array(codes, dtype=np.int32)[catalog.footprints.code]
        found["sample_epsg"] = plain_array(
            epsg, ("sample",), {"long_name": "EPSG code of the CRS, 0 where it has none"}
        )
    return found | _parts(catalog)


def _parts(catalog: Catalog) -> dict[str, tuple[dict[str, Any], bytes]]:
    if "split" not in catalog.table.column_names:
        return {}
    values = [None if v is None else str(v) for v in catalog.column("split").tolist()]
    names = sorted({v for v in values if v is not None})
    if len(names) > np.iinfo(np.uint8).max:
        return {}
    code = np.array([0 if v is None else names.index(v) + 1 for v in values], dtype=np.uint8)
    about = {
        "long_name": "part of the split",
        "flag_values": list(range(len(names) + 1)),
        "flag_meanings": ["", *names],
    }
    return {"split": plain_array(code, ("sample",), about)}


def _cube_axes(layout: Layout) -> dict[str, tuple[dict[str, Any], bytes]]:
    found = {}
    for laid in layout.arrays:
        if laid.array.size is not None:
            continue
        _, _, y, x = dims_of(layout, laid.array)
        grid = grid_of(layout, laid.array.ratio)
        a, b, c, d, e, f = tuple(grid.transform)[:6]
        if b == d == 0:
            unit = "degrees" if grid.crs is not None and grid.crs.is_geographic else "m"
            names = (
                ("latitude", "longitude")
                if unit == "degrees"
                else ("projection_y_coordinate", "projection_x_coordinate")
            )
            rows, columns = f + e * (np.arange(grid.height) + 0.5), c + a * (np.arange(grid.width) + 0.5)
            found[y] = plain_array(rows, (y,), {"standard_name": names[0], "units": unit, "axis": "Y"})
            found[x] = plain_array(columns, (x,), {"standard_name": names[1], "units": unit, "axis": "X"})
    if layout.times is not None and np.isfinite(layout.times[:, 0]).all():
        micros = np.rint(layout.times[:, 0] * 1e6).astype(np.int64)
        about = {"standard_name": "time", "units": "microseconds since 1970-01-01", "calendar": "proleptic_gregorian"}
        found["time"] = plain_array(micros, ("time",), about)
    grid = grid_of(layout)
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    mapping = {
        **(grid.crs.to_cf() if grid.crs is not None else {}),
        "GeoTransform": f"{c!r} {a!r} {b!r} {f!r} {d!r} {e!r}",
    }
    found[MAPPING] = plain_array(np.zeros((), np.int64), (), mapping)
    return found


def group(attributes: Mapping[str, Any], members: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the metadata of a store, with those of its arrays gathered in it."""
    gathered = {"kind": "inline", "must_understand": False, "metadata": dict(sorted(members.items()))}
    return {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": dict(attributes),
        "consolidated_metadata": gathered,
    }
