"""Metadata of one Zarr v3 array: what stands in its ``zarr.json``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from geodata.errors import ReadError, StoreError
from geodata.readers.shards.codecs import Chain, UnknownCodecError, codecs_of
from geodata.readers.shards.parsing import parsed, told

__all__ = ["EMPTY", "FILE", "ArrayMeta"]

FILE = "zarr.json"
"""Name of the metadata of an array or group."""

EMPTY = 2**64 - 1
"""Place and length of a chunk that is not stored, in the index of a shard."""

_INDEX = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]


@dataclass(frozen=True)
class ArrayMeta:
    """One array.

    Parameters
    ----------
    shape, dtype : of the array; dtype in the byte order of this machine
    chunk : shape of what is packed at once
    shard : shape of what is one file; as `chunk` where a chunk is a file
    chain : codecs of a chunk
    codecs : their metadata
    fill : value of chunks that are not stored
    separator : between the numbers of a file's name
    prefixed : whether its name begins with ``c``
    sharded, index_first, index_checked : whether files are shards, and where and how their index stands
    dims : names of the axes
    attrs : attributes
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk: tuple[int, ...]
    shard: tuple[int, ...]
    chain: Chain
    codecs: tuple[Mapping[str, Any], ...]
    fill: Any
    separator: str
    prefixed: bool
    sharded: bool
    index_first: bool
    index_checked: bool
    dims: tuple[str | None, ...] | None
    attrs: Mapping[str, Any]

    @classmethod
    def make(
        cls,
        shape: Sequence[int],
        dtype: Any,
        *,
        chunk: Sequence[int],
        shard: Sequence[int],
        codec: str = "lz4",
        fill: Any = 0,
        dims: Sequence[str | None] | None = None,
        attrs: Mapping[str, Any] | None = None,
        transpose: Sequence[int] | None = None,
    ) -> ArrayMeta:
        """Describe a new array of shards, each a file that holds many chunks.

        Parameters
        ----------
        shape, dtype : of the array
        chunk : shape of what is packed at once
        shard : shape of what is one file, a multiple of `chunk`
        codec : one of `geodata.readers.shards.codecs.NAMES`
        fill : value of chunks that are not stored
        dims : names of the axes
        attrs : attributes, which can be written as JSON
        transpose : axes in the order in which chunks are stored

        Raises
        ------
        StoreError
            If they do not fit together.
        """
        kind = np.dtype(dtype)
        inner = codecs_of(codec, kind, len(shape), transpose=transpose)
        how = {"chunk_shape": list(chunk), "codecs": inner, "index_codecs": _INDEX, "index_location": "end"}
        try:
            json.dumps(attrs)
            made: dict[str, Any] = {
                "zarr_format": 3,
                "node_type": "array",
                "shape": list(shape),
                "data_type": kind.name,
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(shard)}},
                "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
                "fill_value": told(kind.type(fill)),
                "codecs": [{"name": "sharding_indexed", "configuration": how}],
                "attributes": dict(attrs or {}),
            }
            if dims is not None:
                made["dimension_names"] = list(dims)
            return cls.parse(made, "the new array")
        except (ReadError, TypeError, ValueError, OverflowError) as error:
            raise StoreError(f"an array of {kind} {tuple(shape)} cannot be described: {error}") from None

    @classmethod
    def parse(cls, source: Mapping[str, Any] | str | bytes, where: str) -> ArrayMeta:
        """Understand the metadata of an array.

        Parameters
        ----------
        source : what stands in ``zarr.json``, as text or parsed
        where : path or URL of the array, for messages

        Raises
        ------
        UnknownCodecError
            If it is of a form that is not known here: another version, dtype, codec, grid.
        ReadError
            If it is no metadata of an array.
        """
        try:
            found = json.loads(source) if isinstance(source, (str, bytes)) else dict(source)
        except (ValueError, RecursionError):
            raise ReadError(f"cannot read {where}: its {FILE} is no JSON, it is damaged") from None
        if not isinstance(found, dict):
            raise ReadError(f"cannot read {where}: its {FILE} is no table")
        try:
            return cls(**parsed(found))
        except UnknownCodecError as error:
            raise UnknownCodecError(f"cannot read {where}: {error} is not known to this reader") from None
        except ReadError as error:
            raise ReadError(f"cannot read {where}: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """Return what stands in ``zarr.json``."""
        codecs: list[Any] = [dict(codec) for codec in self.codecs]
        if self.sharded:
            how = {
                "chunk_shape": list(self.chunk),
                "codecs": codecs,
                "index_codecs": _INDEX if self.index_checked else _INDEX[:1],
                "index_location": "start" if self.index_first else "end",
            }
            codecs = [{"name": "sharding_indexed", "configuration": how}]
        found: dict[str, Any] = {
            "zarr_format": 3,
            "node_type": "array",
            "shape": list(self.shape),
            "data_type": self.dtype.name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(self.shard)}},
            "chunk_key_encoding": {
                "name": "default" if self.prefixed else "v2",
                "configuration": {"separator": self.separator},
            },
            "fill_value": told(self.fill),
            "codecs": codecs,
            "attributes": dict(self.attrs),
            "storage_transformers": [],
        }
        if self.dims is not None:
            found["dimension_names"] = list(self.dims)
        return found

    def key(self, position: Sequence[int]) -> str:
        """Return the name of the file of a shard by its place in the grid of shards: ``c/3/0/0/0``."""
        parts = [str(number) for number in position]
        if self.prefixed:
            parts.insert(0, "c")
        return self.separator.join(parts) or "0"

    @property
    def grid(self) -> tuple[int, ...]:
        """Shards along each axis of the array."""
        return tuple(-(-n // size) for n, size in zip(self.shape, self.shard, strict=True))

    @property
    def inner(self) -> tuple[int, ...]:
        """Chunks along each axis of a shard."""
        return tuple(size // n for size, n in zip(self.shard, self.chunk, strict=True))

    @property
    def per_shard(self) -> int:
        """Chunks of a shard."""
        return math.prod(self.inner)

    @property
    def index_bytes(self) -> int:
        """Bytes of the index of a shard with its checksum."""
        return 16 * self.per_shard + 4 * self.index_checked
