"""Arrays for the tests of shards, written by this library."""

from __future__ import annotations

import itertools
import json

import numpy as np

from geodata.files import LocalFiles
from geodata.readers.shards.metadata import FILE, ArrayMeta
from geodata.readers.shards.packing import pack

BLOCK = (slice(0, 3), slice(0, 20), slice(0, 30))
"""All of one of the `samples`."""


def read_all(array, queue):
    """Tell the sum of ten samples, in a process of its own."""
    out = np.empty((10, 3, 20, 30), "uint16")
    array.read_many(range(10), BLOCK, out)
    queue.put(int(out.astype("int64").sum()))


def numbers(shape, dtype, seed=0):
    """Numbers of any dtype, small where they are whole: smooth enough to be packed."""
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 2 if np.dtype(dtype).kind == "b" else 100, shape)).astype(dtype)


def write(folder, array, meta, leave_out=()):
    """Write an array as shards; those chunks whose place among all is in `leave_out` are not stored."""
    files = LocalFiles(str(folder))
    files.put(FILE, [json.dumps(meta.to_dict()).encode()])
    padded = np.zeros([n * size for n, size in zip(meta.grid, meta.shard, strict=True)], array.dtype)
    padded[tuple(slice(0, n) for n in array.shape)] = array
    for shard in itertools.product(*map(range, meta.grid)):
        chunks = []
        for inside in itertools.product(*map(range, meta.inner)):
            at = tuple(s * per + i for s, per, i in zip(shard, meta.inner, inside, strict=True))
            cut = tuple(slice(n * size, (n + 1) * size) for n, size in zip(at, meta.chunk, strict=True))
            chunks.append(None if at in leave_out else padded[cut])
        parts = pack(meta, chunks)
        if parts:
            files.put(meta.key(shard), parts)
    return files


def samples(folder, codec="lz4", n=10, dtype="uint16"):
    """Write ``n`` samples of 3 x 20 x 30, four to a shard; return the files and the numbers."""
    array = numbers((n, 3, 20, 30), dtype)
    meta = ArrayMeta.make(array.shape, dtype, chunk=(1, 3, 20, 30), shard=(4, 3, 20, 30), codec=codec)
    return write(folder, array, meta), array
