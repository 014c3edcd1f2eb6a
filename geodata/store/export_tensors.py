"""Tensors as bytes of safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from geodata.errors import StoreError

__all__ = ["pack_tensors"]

# Tensors of wider types come first in a file, as in the safetensors package: its types in its order, narrow to wide.
_KINDS = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "int16": "I16",
    "uint16": "U16",
    "float16": "F16",
    "int32": "I32",
    "uint32": "U32",
    "float32": "F32",
    "float64": "F64",
    "int64": "I64",
    "uint64": "U64",
}
_RANK = {name: rank for rank, name in enumerate(_KINDS)}


def pack_tensors(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """Return tensors as the bytes that ``safetensors.numpy.save`` writes for them.

    Parameters
    ----------
    tensors : arrays of any shape by name
        Of whole numbers of 8 to 64 bits, floats of 16 to 64 bits, or bool.

    Raises
    ------
    StoreError
        If an array is of another dtype, or a name means something to the format.

    References
    ----------
    .. [1] https://github.com/huggingface/safetensors, section "Format".
    """
    for name, data in tensors.items():
        if data.dtype.name not in _KINDS:
            raise StoreError(f"tensor {name!r} is of dtype {data.dtype}; safetensors hold {', '.join(_KINDS)}")
        if name == "__metadata__":
            raise StoreError("a tensor cannot be called __metadata__: safetensors keep that name for texts; rename it")
    ordered = sorted(tensors, key=lambda name: (-_RANK[tensors[name].dtype.name], name.encode()))
    header: dict[str, Any] = {}
    parts: list[bytes] = []
    end = 0
    for name in ordered:
        data = tensors[name]
        part = data.astype(data.dtype.newbyteorder("<"), copy=False).tobytes()
        header[name] = {
            "dtype": _KINDS[data.dtype.name],
            "shape": list(data.shape),
            "data_offsets": [end, end + len(part)],
        }
        end += len(part)
        parts.append(part)
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])
