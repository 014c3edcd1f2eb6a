"""Records of safetensors in LMDB, as rico-hdl lays them out, and the ways to read them that are compared with.

Key ``<patch_id>``: 12 bands of Sentinel-2 at their own size; ``<s1_name>``: VH and VV; ``<patch_id>_reference_map``: Data.
A hyperspectral patch is one tensor of all its bands, which is faster than a tensor for each.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import torch
from safetensors.numpy import load, save
from stores_data import BANDS, CUBE, EARTH, KINDS, REBEN, SHAPES, cube_names, patches, raw
from torch.utils.data import DataLoader, Dataset

BATCH = 32
OPTICAL = ("s2_10m", "s2_20m", "s2_60m")
Arrays = Mapping[str, np.ndarray]


def write_patches(folder: Path, arrays: Arrays, step: int = 256) -> None:
    """Write samples of the five arrays, [N, C, H, W] each; transactions of so many samples."""
    with opened_anew(folder) as env:
        for first in range(0, len(arrays["map"]), step):
            with env.begin(write=True) as txn:
                for i, patch in enumerate(patches()[first : first + step], first):
                    if i == len(arrays["map"]):
                        break
                    optical = {b: arrays[m][i, k] for m in OPTICAL for k, b in enumerate(BANDS[m])}
                    txn.put(patch.s2.encode(), save(optical))
                    txn.put(patch.s1.encode(), save({b: arrays["s1"][i, k] for k, b in enumerate(BANDS["s1"])}))
                    txn.put(f"{patch.s2}_reference_map".encode(), save({"Data": arrays["map"][i, 0]}))


def write_cubes(folder: Path, arrays: Arrays, step: int = 16) -> None:
    """Write hyperspectral samples of one array."""
    cubes = arrays["hsi"]
    with opened_anew(folder) as env:
        for first in range(0, len(cubes), step):
            with env.begin(write=True) as txn:
                for i in range(first, min(first + step, len(cubes))):
                    txn.put(cube_names()[i].encode(), save({"Data": cubes[i]}))


def write_all() -> None:
    """Write both databases."""
    write_patches(REBEN / "lmdb", {name: np.asarray(raw(name)) for name in BANDS})
    write_cubes(EARTH / "lmdb", {"hsi": np.asarray(raw("hsi"))})


def opened_anew(folder: Path) -> Any:
    """A new database in place of an old one."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    return lmdb.open(str(folder), map_size=1 << 38)


class Database:
    """Opened where it is first read, so that every process of a loader has its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.env = str(folder), None

    def begin(self) -> Any:
        if self.env is None:
            self.env = lmdb.open(self.folder, readonly=True, lock=False, readahead=False, meminit=False)
        return self.env.begin()


class PatchRecords:
    """The five arrays of reBEN."""

    shapes, kinds = SHAPES, KINDS

    def __init__(self) -> None:
        self.database = Database(REBEN / "lmdb")
        self.keys = [(p.s2.encode(), p.s1.encode(), f"{p.s2}_reference_map".encode()) for p in patches()]

    def __len__(self) -> int:
        return len(self.keys)

    def rows_of(self, samples: Sequence[int]) -> list[int]:
        """The rows of the raw arrays that samples are."""
        return list(samples)

    def read_many(self, samples: Sequence[int], out: Arrays) -> None:
        """Fill [n, C, H, W] arrays with samples."""
        with self.database.begin() as txn:
            for row, i in enumerate(samples):
                optical, radar, cover = (load(txn.get(key)) for key in self.keys[i])
                for name in OPTICAL:
                    for k, band in enumerate(BANDS[name]):
                        out[name][row, k] = optical[band]
                for k, band in enumerate(BANDS["s1"]):
                    out["s1"][row, k] = radar[band]
                out["map"][row, 0] = cover["Data"]


class CubeRecords(PatchRecords):
    """The one array of hyperspectral patches."""

    shapes, kinds = {"hsi": CUBE}, {"hsi": "int16"}

    def __init__(self) -> None:
        self.database = Database(EARTH / "lmdb")
        self.keys = [(name.encode(),) for name in cube_names()]

    def read_many(self, samples: Sequence[int], out: Arrays) -> None:
        with self.database.begin() as txn:
            for row, i in enumerate(samples):
                out["hsi"][row] = load(txn.get(self.keys[i][0]))["Data"]


class Items(Dataset[dict[str, torch.Tensor]]):
    """A dataset as users of LMDB write it: one sample, a dict of tensors."""

    def __init__(self) -> None:
        self.records = PatchRecords()

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        with self.records.database.begin() as txn:
            optical, radar, cover = (load(txn.get(key)) for key in self.records.keys[i])
        found = {name: np.stack([optical[band] for band in BANDS[name]]) for name in OPTICAL}
        found |= {"s1": np.stack([radar[band] for band in BANDS["s1"]]), "map": cover["Data"][None]}
        return {name: torch.from_numpy(array) for name, array in found.items()}


class Batches(Items):
    """The same that makes a whole batch at once: without a list of samples and their collation."""

    def __getitems__(self, samples: Sequence[int]) -> dict[str, torch.Tensor]:
        out = empty(self.records, len(samples))
        self.records.read_many(samples, out)
        return {name: torch.from_numpy(array) for name, array in out.items()}


class Forever:
    """Lists of 32 random rows without end: one permutation after another."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng(1)
        while True:
            order = rng.permutation(self.rows).tolist()
            yield from (order[i : i + BATCH] for i in range(0, self.rows - BATCH + 1, BATCH))


def empty(reader: Any, count: int) -> dict[str, np.ndarray]:
    """Memory for a batch."""
    return {name: np.empty((count, *shape), reader.kinds[name]) for name, shape in reader.shapes.items()}


def in_process(reader: Any, recycled: bool) -> Iterator[Any]:
    """Batches of 32 random samples by a reader in this process, into new memory or the same again."""
    check(reader)
    kept = empty(reader, BATCH)
    for samples in Forever(len(reader)):
        out = kept if recycled else empty(reader, BATCH)
        reader.read_many(samples, out)
        yield out


def check(reader: Any) -> None:
    """Compare some samples with the raw arrays."""
    samples = np.random.default_rng(2).integers(0, len(reader), 3).tolist()
    out = empty(reader, len(samples))
    reader.read_many(samples, out)
    for name, array in out.items():
        assert np.array_equal(array, raw(name)[reader.rows_of(samples)]), name


def same(batch: Any) -> Any:
    """The collation of batches that are made whole."""
    return batch


def loader(whole: bool, workers: int) -> tuple[Iterator[Any], list[int]]:
    """Batches through torch's loader, and the processes that read them."""
    data = Batches() if whole else Items()
    options: dict[str, Any] = {"persistent_workers": True, "prefetch_factor": 2} if workers else {}
    if whole:
        options["collate_fn"] = same
    batches = iter(DataLoader(data, batch_sampler=Forever(len(data)), num_workers=workers, **options))
    return batches, [worker.pid for worker in getattr(batches, "_workers", [])]
