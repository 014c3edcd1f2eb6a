"""This library's side: stores made from the look-alikes, their low-level reader and their writer, and its loader."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import stores_lmdb
from stores_data import BANDS, CODECS, CUBE, EARTH, KINDS, REBEN, ROOT, SHAPES, cube_names, patches, path_of, raw

import geodata as gd
from geodata.datasets import ReBEN, SpectralEarth
from geodata.readers.shards import open_array
from geodata.store import convert, open_store

ARRAYS = {"s2_10m": "image_10m", "s2_20m": "image_20m", "s2_60m": "image_60m", "s1": "image_s1", "map": "mask"}
HELD = 1024  # samples in memory that are written


def ensure() -> None:
    """Make the stores that are not there yet. One that was not finished is gone on with."""
    for what, dataset in (("reben", lambda: ReBEN(REBEN)), ("earth", lambda: SpectralEarth(EARTH))):
        for codec in CODECS:
            done = ROOT / f"{what}_{codec}.done"
            if not done.exists():
                convert(dataset(), str(path_of(what, codec)), codec=codec, order="shuffled", workers=1)
                done.touch()


class Shards:
    """The arrays of a store, by its low-level reader. Rows are those of the store, which are shuffled."""

    def __init__(self, codec: str, what: str) -> None:
        path = path_of(what, codec)
        self.shapes, self.kinds = (SHAPES, KINDS) if what == "reben" else ({"hsi": CUBE}, {"hsi": "int16"})
        names = ARRAYS if what == "reben" else {"hsi": "image"}
        self.arrays = {name: open_array(str(path / names[name])) for name in self.shapes}
        order = [patch.s2 for patch in patches()] if what == "reben" else cube_names()
        row_of = {key: row for row, key in enumerate(order)}
        catalog = open_store(str(path)).catalog
        keys = [str(key).removeprefix("enmap/").removesuffix(".tif") for key in catalog.key]
        self.rows = [row_of[key] for key in np.array(keys)[np.argsort(catalog.column("stored_at"))]]

    def __len__(self) -> int:
        return len(self.rows)

    def rows_of(self, samples: Sequence[int]) -> list[int]:
        """The rows of the raw arrays that samples are."""
        return [self.rows[i] for i in samples]

    def read_many(self, samples: Sequence[int], out: stores_lmdb.Arrays) -> None:
        """Fill [n, C, H, W] arrays with samples."""
        for name, array in self.arrays.items():
            block = tuple(slice(0, length) for length in array.shape[1:])
            array.read_many(samples, block, out[name])


def loader(source: str, threads: int) -> Iterator[Any]:
    """Batches by this library's loader: what the LMDB's loaders give, at its own resolution and as stored, and what is always there."""
    how: dict[str, Any] = {"native": True, "dtype": None, "keys": ("image", "image_s1", "mask")}
    if source.startswith("store-"):
        data = open_store(str(path_of("reben", source.removeprefix("store-"))), **how)
    else:
        data = ReBEN(REBEN, lmdb="lmdb" if source == "lmdb" else None, **how)
    batches = iter(gd.Loader(data, batch_sampler=stores_lmdb.Forever(len(data)), threads=threads))
    first = next(batches)
    assert first["image_10m"].shape == (stores_lmdb.BATCH, *SHAPES["s2_10m"])
    return batches


def held() -> dict[str, np.ndarray]:
    """Decoded samples in memory."""
    return {name: np.array(raw(name)[:HELD]) for name in BANDS}


def written(way: str) -> tuple[Iterator[None], Any]:
    """Write what is held again and again; and what clears that away. Either is on disk when it is written."""
    arrays, folder = held(), ROOT / f"written_{way}"

    def clear() -> None:
        shutil.rmtree(folder, ignore_errors=True)

    def write() -> Iterator[None]:
        number = 0
        while True:
            number += 1
            if way == "lmdb":
                stores_lmdb.write_patches(folder / str(number), arrays)
            else:
                write_store(arrays, folder / str(number), way.removeprefix("store-"))
            yield

    clear()
    folder.mkdir()
    return write(), clear


def write_store(arrays: stores_lmdb.Arrays, path: Path, codec: str) -> None:
    """Write decoded arrays, [N, C, H, W] each, as the arrays of a store: shards of 256 samples, a chunk for each."""
    from geodata.files import LocalFiles
    from geodata.readers.shards.metadata import ArrayMeta
    from geodata.readers.shards.packing import pack

    files = LocalFiles(str(path))
    for name, array in arrays.items():
        chunk, shard = (1, *array.shape[1:]), (256, *array.shape[1:])
        meta = ArrayMeta.make(array.shape, array.dtype, fill=0, chunk=chunk, shard=shard, codec=codec)
        for k in range(len(array) // 256):
            chunks = [array[i : i + 1] for i in range(256 * k, 256 * k + 256)]
            files.put(f"{ARRAYS[name]}/{meta.key((k, 0, 0, 0))}", pack(meta, chunks))
