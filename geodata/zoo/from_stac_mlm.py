"""Model inputs from STAC items with the machine learning model extension."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from geodata.bands import Band
from geodata.errors import TransformError
from geodata.zoo.fields import ImageInput, Step
from geodata.zoo.published import plain, refuse_others
from geodata.zoo.spec import InputSpec

__all__ = ["from_stac_mlm"]

_INPUT = (
    "name", "bands", "input", "description", "value_scaling", "resize_type", "pre_processing_function",
    "norm_by_channel", "norm_type", "norm_clip", "norm_with_clip_values", "statistics",
)  # fmt: skip
_RESIZE = {
    "interpolation-nearest": "nearest",
    "interpolate-nearest": "nearest",
    "interpolation-linear": "bilinear",
    "interpolate-linear": "bilinear",
    "interpolation-cubic": "bicubic",
    "interpolation-area": "area",
}
_LETTERS = {"batch": "b", "channel": "c", "bands": "c", "band": "c", "time": "t", "height": "h", "width": "w"}
_FAR = 3e38
"""A bound that no float32 number passes."""

_AFFINE = {
    "min-max": ("range", ("minimum", "low"), ("maximum", "high")),
    "z-score": ("zscore", ("mean", "mean"), ("stddev", "std")),
}


def from_stac_mlm(item: Any, *, unit: str = "raw", factor: float = 1.0, keys: Sequence[str] | None = None) -> InputSpec:
    """Make an input of ``mlm:input`` of a STAC item: bands, shape, order of axes, value scaling, resize.

    Parameters
    ----------
    item : STAC item as a dict, or an object with ``to_dict``
    unit, factor : what the value scaling begins with
        The extension does not say it; "raw" takes numbers as the product stores them, and refuses data that are
        scaled already.
    keys : image of the batch for each input; default "image", or "image_<name>" for several

    Raises
    ------
    TransformError
        On a pre-processing function or an expression of a band, which is code; on scalings or resizes that are not known;
        on inputs without bands.

    References
    ----------
    .. [1] STAC machine learning model extension 1.3 to 1.5, README.md (Value Scaling Object, Resize Enum) and schema.json;
       ``norm_type`` and ``statistics`` of 1.0 to 1.2. https://github.com/stac-extensions/mlm

    Examples
    --------
    >>> item = {"properties": {"mlm:name": "net", "mlm:input": [{
    ...     "name": "S2", "bands": ["B04", "B08"], "value_scaling": [{"type": "min-max", "minimum": 0, "maximum": 10000}],
    ...     "input": {"shape": [-1, 2, 64, 64], "dim_order": ["batch", "bands", "height", "width"]},
    ... }]}}
    >>> from_stac_mlm(item)
    InputSpec('net'; image: B04, B08, raw, 64 x 64)
    """
    table = plain(item, "a STAC item")
    properties = table.get("properties", table)
    inputs = properties.get("mlm:input") if isinstance(properties, Mapping) else None
    if not isinstance(inputs, (list, tuple)) or not inputs:
        raise TransformError("the item has no mlm:input; it needs the machine learning model extension of STAC")
    names = [str(row.get("name", i)) for i, row in enumerate(inputs)]
    if keys is None:
        keys = ["image"] if len(names) == 1 else [f"image_{name.lower().replace(' ', '_')}" for name in names]
    if len(keys) != len(inputs):
        raise TransformError(f"{len(keys)} keys for {len(inputs)} inputs: {', '.join(names)}")
    described = {band["name"]: band for band in _described(table, properties) if "name" in band}
    images = tuple(_image(key, row, described, unit, factor) for key, row in zip(keys, inputs, strict=True))
    name = str(properties.get("mlm:name", ""))
    return InputSpec(images, name=name, source=f"STAC item {table.get('id', '')}, mlm:input".replace(" ,", ","))


def _described(table: Mapping[str, Any], properties: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Descriptions of bands anywhere in an item."""
    places = [properties, *(table.get("assets") or {}).values()]
    return [
        band
        for place in places
        for key in ("raster:bands", "eo:bands", "bands")
        for band in place.get(key) or ()
        if isinstance(band, Mapping)
    ]


def _image(key: str, row: Mapping[str, Any], described: Mapping[str, Any], unit: str, factor: float) -> ImageInput:
    where = f"input {row.get('name', key)!r}"
    refuse_others(row, _INPUT, where)
    if row.get("pre_processing_function"):
        raise TransformError(
            f"{where} is made by a function, {row['pre_processing_function']!r:.150}; code of an item is not run: take the "
            "field out if value_scaling says it all, or write the input by hand"
        )
    bands = tuple(_band(band, described, where) for band in row.get("bands") or ())
    if not bands:
        raise TransformError(f"{where} names no bands")
    structure = row.get("input") or {}
    dims, shape = list(structure.get("dim_order") or ()), list(structure.get("shape") or ())
    unknown = [dim for dim in dims if dim not in _LETTERS]
    if unknown or len(dims) != len(shape) or not dims:
        raise TransformError(f"{where} has axes {dims} of shape {shape}; known are {', '.join(sorted(_LETTERS))}")
    sizes = {_LETTERS[dim]: n for dim, n in zip(dims, shape, strict=True)}
    if sizes.get("c", -1) not in (-1, len(bands)):
        raise TransformError(f"{where} has {sizes['c']} channels and {len(bands)} bands")
    return ImageInput(
        key,
        unit,
        bands,
        factor=factor,
        layout=" ".join(_LETTERS[dim] for dim in dims),
        steps=tuple(_steps(row, len(bands), where)),
        **_resize(row, sizes, where),
    )


def _band(row: Any, described: Mapping[str, Any], where: str) -> Band:
    table = {"name": row} if isinstance(row, str) else dict(row)
    if table.get("expression"):
        raise TransformError(f"{where} makes band {table['name']!r} by an expression; code of an item is not run")
    more = described.get(table["name"], {})
    # wavelengths stand in micrometres: in eo:bands of STAC 1.0 without a prefix, in bands of 1.1 with it
    wave, width = (more.get(n, more.get(f"eo:{n}")) for n in ("center_wavelength", "full_width_half_max"))
    return Band(
        table["name"],
        more.get("common_name", more.get("eo:common_name")),
        wave * 1000 if wave else None,
        width * 1000 if width else None,
    )


def _resize(row: Mapping[str, Any], sizes: Mapping[str, int], where: str) -> dict[str, Any]:
    kind = row.get("resize_type")
    size = sizes.get("h", -1), sizes.get("w", -1)
    if kind and kind not in _RESIZE and kind != "crop":
        raise TransformError(
            f"{where} has resize_type {kind!r}, which an input cannot do; known are {', '.join(_RESIZE)}"
        )
    if min(size) < 1:
        return {}
    if kind == "crop":
        return {"crop": size}
    return {"size": size, "resize": _RESIZE[kind] if kind else ""}


def _steps(row: Mapping[str, Any], count: int, where: str) -> list[Step]:
    if row.get("norm_clip") or row.get("norm_with_clip_values"):
        raise TransformError(f"{where} has norm_clip, which was never defined well; write the input by hand")
    scaling = row.get("value_scaling")
    if scaling is None and row.get("norm_type"):
        scaling = [{"type": row["norm_type"], **dict(part)} for part in row.get("statistics") or ()]
    if not scaling:
        if row.get("norm_type"):
            raise TransformError(f"{where} has norm_type {row['norm_type']!r} and no statistics")
        return []
    parts = list(scaling) * (count if len(scaling) == 1 else 1)
    if len(parts) != count:
        raise TransformError(f"{where} has {len(parts)} value scalings for {count} bands")
    kinds = [part.get("type") for part in parts]
    if len(set(kinds)) == 1 and kinds[0] in _AFFINE:
        do, *names = _AFFINE[kinds[0]]
        return [Step(do, {ours: tuple(_number(part, theirs, where) for part in parts) for theirs, ours in names})]
    return _mixed(parts, where)


def _mixed(parts: Sequence[Mapping[str, Any]], where: str) -> list[Step]:
    """One multiply-add and one clip that do what each band asks for."""
    rows = [_one(part, where) for part in parts]
    multiply, add, low, high = (tuple(row[i] for row in rows) for i in range(4))
    out = []
    if any(v != 1 for v in multiply) or any(add):
        out.append(Step("scale", {"multiply": multiply, "add": add}))
    if min(high) < _FAR or max(low) > -_FAR:
        out.append(Step("clip", {"low": low, "high": high}))
    return out


def _one(part: Mapping[str, Any], where: str) -> tuple[float, float, float, float]:
    """Multiply, add, low, high of one value scaling."""
    kind = part.get("type")
    if kind == "min-max":
        low, high = (_number(part, name, where) for name in ("minimum", "maximum"))
        return 1 / (high - low), -low / (high - low), -_FAR, _FAR
    if kind == "z-score":
        mean, std = (_number(part, name, where) for name in ("mean", "stddev"))
        return 1 / std, -mean / std, -_FAR, _FAR
    if kind in ("clip", "clip-min", "clip-max"):
        low = _number(part, "minimum", where) if kind != "clip-max" else -_FAR
        return 1.0, 0.0, low, _number(part, "maximum", where) if kind != "clip-min" else _FAR
    if kind == "offset":
        return 1.0, -_number(part, "value", where), -_FAR, _FAR
    if kind == "scale":
        return 1 / _number(part, "value", where), 0.0, -_FAR, _FAR
    if kind is None:
        return 1.0, 0.0, -_FAR, _FAR
    raise TransformError(f"{where} has a value scaling {kind!r}, which an input cannot do; write it by hand")


def _number(part: Mapping[str, Any], name: str, where: str) -> float:
    value = part.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TransformError(f"{where}: a value scaling {part.get('type')!r} needs {name} as a number, got {value!r}")
    return float(value)
