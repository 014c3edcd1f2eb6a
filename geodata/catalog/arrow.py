"""Arrow arrays from plain values and back.

Past ``pyarrow.array`` and ``to_numpy``: where pandas is installed they import it, which takes a quarter of a second and
60 MB in every process that reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["byte_array", "known_in", "number_array", "text_array", "values_of"]

MOST = 2**31 - 1
"""Bytes that one array holds."""


def number_array(values: NDArray[Any], known: NDArray[np.bool_] | None = None) -> pa.Array:
    """Return an array over the memory of (N,) numbers; null where not ``known``."""
    values = np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [_bits(known), pa.py_buffer(values)])


def text_array(values: Sequence[str | None]) -> pa.Array:
    """Return an array of N texts, or nulls.

    Raises
    ------
    ValueError
        If a text holds what UTF-8 cannot say, such as bytes of a file name in another encoding.
    """
    return byte_array([None if v is None else v.encode() for v in values], pa.string())


def byte_array(values: Sequence[bytes | None], kind: pa.DataType) -> pa.Array:
    """Return an array of N byte strings, or nulls; ``kind`` is ``pa.binary()`` or ``pa.string()``."""
    known = np.array([v is not None for v in values], dtype=bool)
    held = [v or b"" for v in values]
    ends = np.cumsum(np.fromiter(map(len, held), dtype=np.int64, count=len(held)))
    if len(ends) and ends[-1] > MOST:
        return pa.array(values, pa.binary()).cast(kind)
    offsets = np.zeros(len(held) + 1, dtype=np.int32)
    offsets[1:] = ends
    return pa.Array.from_buffers(kind, len(held), [_bits(known), pa.py_buffer(offsets), pa.py_buffer(b"".join(held))])


def _bits(known: NDArray[np.bool_] | None) -> pa.Buffer | None:
    return None if known is None or known.all() else pa.py_buffer(np.packbits(known, bitorder="little"))


def values_of(column: pa.ChunkedArray | pa.Array, null: float | None = None) -> NDArray[Any]:
    """Return (N,) numpy values in memory of their own.

    Text comes as objects, None where null; all else as ``to_numpy`` gives it.

    Parameters
    ----------
    null : number or None
        What stands for null in a column of numbers.
    """
    if pa.types.is_dictionary(column.type):
        return _chosen(column)
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.StringArray):
        return _texts(array)
    kind = array.type
    start, stop = array.offset, array.offset + len(array)
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if number and (null is not None or not array.null_count):
        values = _memory(array.buffers()[1], kind.to_pandas_dtype(), stop)[start:].copy()
        if array.null_count:
            values[~known_in(array)] = null
        return values
    if not array.null_count and pa.types.is_boolean(kind):
        return _unpacked(array.buffers()[1], start, stop)
    others: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return others


def _chosen(column: pa.ChunkedArray | pa.DictionaryArray) -> NDArray[Any]:
    """Return the values that indices into a dictionary stand for: equal ones are one object."""
    if isinstance(column, pa.ChunkedArray):
        chunks = column.unify_dictionaries().chunks
        return np.concatenate([_chosen(chunk) for chunk in chunks]) if chunks else np.empty(0, dtype=object)
    known = len(column.dictionary)
    values = np.full(known + 1, None, dtype=object)
    values[:known] = values_of(column.dictionary)
    chosen: NDArray[np.object_] = values[values_of(column.indices, null=known)]
    return chosen


def known_in(column: pa.ChunkedArray | pa.Array) -> NDArray[np.bool_]:
    """Return (N,) whether there is a value, not null."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if array.null_count in (0, len(array)):
        return np.full(len(array), not array.null_count)
    return _unpacked(array.buffers()[0], array.offset, array.offset + len(array))


def _texts(array: pa.StringArray) -> NDArray[np.object_]:
    _, offsets, held = array.buffers()
    ends = _memory(offsets, np.int32, array.offset + len(array) + 1 if len(array) else 0)[array.offset :].tolist()
    whole = b"" if held is None else held.to_pybytes()
    out = np.empty(len(array), dtype=object)
    if whole.isascii():
        said = whole.decode("ascii")
        out[:] = [said[a:b] for a, b in pairwise(ends)]
    else:
        out[:] = [whole[a:b].decode() for a, b in pairwise(ends)]
    if array.null_count:
        out[~known_in(array)] = None
    return out


def _memory(buffer: Any, dtype: Any, count: int) -> NDArray[Any]:
    return np.frombuffer(buffer if count else b"", dtype=dtype, count=count)


def _unpacked(bits: pa.Buffer | None, start: int, stop: int) -> NDArray[np.bool_]:
    found = np.unpackbits(_memory(bits, np.uint8, -(-stop // 8)), count=stop, bitorder="little")
    return found[start:].astype(bool)
