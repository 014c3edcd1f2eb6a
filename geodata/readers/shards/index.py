"""Indexes of shards: where in the file each chunk lies."""

from __future__ import annotations

import numpy as np

from geodata.errors import ReadError
from geodata.files import Files
from geodata.readers.shards.codecs import crc32c
from geodata.readers.shards.metadata import EMPTY, ArrayMeta

__all__ = ["read_index"]


def read_index(meta: ArrayMeta, files: Files, name: str, size: int) -> memoryview:
    """Read the index of a shard.

    Parameters
    ----------
    name, size : of its file, which is there

    Returns
    -------
    memoryview of uint64
        Place and length of one chunk after another; 16 bytes each.

    Raises
    ------
    ReadError
        If it is damaged, or tells of bytes that the file does not have.
    """
    where = f"{files.root}/{name}"
    length = meta.index_bytes
    if size < length:
        raise ReadError(f"{where} has {size} bytes, too few for the index of its chunks: it was cut off{_HELP}")
    found = files.read(name, 0 if meta.index_first else size - length, length)
    raw = np.frombuffer(memoryview(found), np.uint8)
    if meta.index_checked:
        raw, check = raw[:-4], int.from_bytes(raw[-4:].tobytes(), "little")
        if crc32c(raw) != check:
            raise ReadError(f"{where}: the index of its chunks is damaged, or the file was cut off{_HELP}")
    index = raw.view("<u8").astype(np.uint64)
    starts, lengths = index[::2], index[1::2]
    stored = starts != EMPTY
    starts, lengths = starts[stored], lengths[stored]
    if np.any(starts > size) or np.any(lengths > size - starts):
        raise ReadError(f"{where} has {size} bytes, its index tells of more: it was cut off{_HELP}")
    return index.data


_HELP = "; run geodata verify to find out what must be written again"
