"""What stands in a ``zarr.json`` of an array, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from geodata.errors import ReadError
from geodata.readers.shards.codecs import Chain, UnknownCodecError

__all__ = ["parsed", "told"]

_DTYPES = {
    "bool": "?",
    **{f"{kind}{bits}": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
    **{f"float{bits}": f"float{bits}" for bits in (16, 32, 64)},
}
_NAN = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_KNOWN = {
    "zarr_format",
    "node_type",
    "shape",
    "data_type",
    "chunk_grid",
    "chunk_key_encoding",
    "fill_value",
    "codecs",
    "attributes",
    "dimension_names",
    "storage_transformers",
}
_MOST = 2**48
"""Bytes of a shard as numbers; more is a mistake."""


def parsed(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `ArrayMeta` holds.

    Raises
    ------
    UnknownCodecError
        If the array is of a form that is not known here.
    ReadError
        If these are no metadata of an array.
    """
    _check_understood(found)
    shape = _sizes(found.get("shape"), "shape", 0)
    kind = found.get("data_type")
    if not isinstance(kind, str) or kind not in _DTYPES:
        raise UnknownCodecError(f"data type {str(kind)[:80]!r}")
    dtype = np.dtype(_DTYPES[kind])
    name, how = _extension(found.get("chunk_grid"), "chunk_grid")
    if name != "regular":
        raise UnknownCodecError(f"chunk grid {name!r}")
    shard = _sizes(how.get("chunk_shape"), "chunk_shape", 1)
    separator, prefixed = _key_encoding(found.get("chunk_key_encoding"))
    parts = _codecs(found.get("codecs"), dtype, shard)
    if not len(shape) == len(shard) == len(parts["chunk"]):
        raise ReadError(f"its shape {shape}, shards {shard} and chunks {parts['chunk']} differ in their axes")
    if math.prod(shard) * dtype.itemsize > _MOST or math.prod(shape) * dtype.itemsize >= 2**63:
        raise ReadError(f"its shape {shape} or shards {shard} are too large")
    return {
        "shape": shape,
        "dtype": dtype,
        "shard": shard,
        "fill": _fill(found.get("fill_value"), dtype),
        "separator": separator,
        "prefixed": prefixed,
        **_about(found, len(shape)),
        **parts,
    }


def _check_understood(found: Mapping[str, Any]) -> None:
    if found.get("zarr_format") != 3:
        raise UnknownCodecError(f"zarr_format {str(found.get('zarr_format'))[:20]}")
    if found.get("node_type") != "array":
        raise ReadError(f"it is no array but {str(found.get('node_type'))[:40]!r}")
    for name, value in found.items():
        optional = isinstance(value, Mapping) and value.get("must_understand") is False
        if name not in _KNOWN and not optional:
            raise UnknownCodecError(f"{str(name)[:40]!r} in its metadata")
    if found.get("storage_transformers"):
        raise UnknownCodecError(f"storage transformer {str(found['storage_transformers'])[:80]}")


def _codecs(codecs: Any, dtype: np.dtype[Any], shard: tuple[int, ...]) -> dict[str, Any]:
    if not isinstance(codecs, (list, tuple)) or not codecs:
        raise ReadError(f"its codecs are {str(codecs)[:80]}")
    chunk = shard
    parts: dict[str, Any] = {"sharded": False, "index_first": False, "index_checked": False, "chunk": chunk}
    name, how = _extension(codecs[0], "codecs")
    if name == "sharding_indexed":
        if len(codecs) > 1:
            raise UnknownCodecError(f"codec {str(codecs[1])[:80]} behind 'sharding_indexed'")
        chunk = _sizes(how.get("chunk_shape"), "chunk_shape", 1)
        if len(chunk) != len(shard) or any(outer % size for outer, size in zip(shard, chunk, strict=True)):
            raise ReadError(f"its shards of {shard} are no multiple of its chunks of {chunk}")
        index, place = how.get("index_codecs"), how.get("index_location", "end")
        if not isinstance(index, (list, tuple)) or place not in ("start", "end"):
            raise ReadError(f"its shards have index_codecs {str(index)[:80]} at {str(place)[:20]!r}")
        table = Chain.parse(index, np.dtype(np.uint64), (math.prod(shard), 2))
        if not table.plain:
            raise UnknownCodecError(f"index_codecs {str(index)[:80]}")
        codecs = how.get("codecs")
        if not isinstance(codecs, (list, tuple)) or not codecs:
            raise ReadError(f"the codecs of its chunks are {str(codecs)[:80]}")
        parts = {"sharded": True, "index_first": place == "start", "index_checked": table.checked, "chunk": chunk}
    chain = Chain.parse(codecs, dtype, parts["chunk"])
    kept = tuple(dict(codec) if isinstance(codec, Mapping) else {"name": codec} for codec in codecs)
    return {**parts, "chain": chain, "codecs": kept}


def _sizes(value: Any, name: str, least: int) -> tuple[int, ...]:
    whole = isinstance(value, (list, tuple)) and all(type(n) is int and least <= n < 2**62 for n in value)
    if not whole or len(value) > 32:
        raise ReadError(f"its {name} is {str(value)[:80]}")
    return tuple(value)


def _extension(value: Any, name: str) -> tuple[str, Mapping[str, Any]]:
    if isinstance(value, str):
        return value, {}
    if isinstance(value, Mapping) and isinstance(value.get("name"), str):
        how = value.get("configuration") or {}
        if isinstance(how, Mapping):
            return value["name"], how
    raise ReadError(f"its {name} is {str(value)[:80]}")


def _key_encoding(value: Any) -> tuple[str, bool]:
    name, how = _extension(value, "chunk_key_encoding")
    if name not in ("default", "v2"):
        raise UnknownCodecError(f"chunk key encoding {name!r}")
    separator = how.get("separator", "/" if name == "default" else ".")
    if separator not in ("/", "."):
        raise ReadError(f"its chunk_key_encoding has separator {str(separator)[:20]!r}")
    return separator, name == "default"


def _about(found: Mapping[str, Any], ndim: int) -> dict[str, Any]:
    """Return names of axes and attributes."""
    dims, attrs = found.get("dimension_names"), found.get("attributes")
    listed = dims is None or (isinstance(dims, list | tuple) and len(dims) == ndim)
    if not listed or any(not isinstance(dim, str | None) for dim in dims or ()):
        raise ReadError(f"its dimension_names are {str(dims)[:80]}")
    if attrs is not None and not isinstance(attrs, Mapping):
        raise ReadError(f"its attributes are {str(attrs)[:80]}")
    return {"dims": None if dims is None else tuple(dims), "attrs": dict(attrs or {})}


def _fill(value: Any, dtype: np.dtype[Any]) -> Any:
    """Return a fill value as a number of the array's dtype; texts as the specification has them."""
    try:
        if dtype.kind == "f" and isinstance(value, str):
            if value in _NAN:
                return dtype.type(_NAN[value])
            if value.startswith("0x") and len(value) == 2 + 2 * dtype.itemsize:
                return np.frombuffer(bytes.fromhex(value[2:]), dtype.newbyteorder(">"))[0].astype(dtype)
        if dtype.kind == "b" and isinstance(value, bool):
            return np.bool_(value)
        if dtype.kind in "iu" and type(value) is int:
            return dtype.type(value)
        if dtype.kind == "f" and type(value) in (int, float):
            with np.errstate(over="ignore"):
                return dtype.type(value)
    except (ValueError, OverflowError):
        pass
    raise ReadError(f"its fill_value {str(value)[:40]!r} is none of {dtype}")


def told(fill: Any) -> Any:
    """Return a fill value as it stands in the metadata."""
    value = fill.item()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
