"""Chunks packed to a shard: one file of Zarr v3 that holds many of them and their places."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geodata.errors import StoreError
from geodata.readers.shards.codecs import crc32c
from geodata.readers.shards.metadata import EMPTY, ArrayMeta

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["pack"]


def pack(meta: ArrayMeta, chunks: Sequence[NDArray[Any] | None]) -> list[Buffer]:
    """Return the parts of the file of one shard.

    Parameters
    ----------
    meta : of the array
    chunks : inner chunks in C order of their places in the shard, each of the shape and dtype of `meta`; None is a chunk
        that is not stored

    Returns
    -------
    list of buffers
        To be written one after another; none if no chunk is stored, then the shard has no file.

    Raises
    ------
    StoreError
        If there are more or fewer chunks than a shard has, or one is of another shape or dtype.
    """
    if len(chunks) != meta.per_shard:
        raise StoreError(f"{len(chunks)} chunks for a shard of {meta.per_shard}")
    if all(chunk is None for chunk in chunks):
        return []
    if not meta.sharded:
        return [meta.chain.encode(chunk) for chunk in chunks if chunk is not None]
    index = np.full((len(chunks), 2), EMPTY, "<u8")
    at = meta.index_bytes if meta.index_first else 0
    parts: list[Buffer] = []
    for place, chunk in enumerate(chunks):
        if chunk is not None:
            part = meta.chain.encode(chunk)
            length = memoryview(part).nbytes
            index[place] = at, length
            at += length
            parts.append(part)
    flat = index.reshape(-1).view(np.uint8)
    table = [flat, struct.pack("<I", crc32c(flat))] if meta.index_checked else [flat]
    return [*table, *parts] if meta.index_first else [*parts, *table]
