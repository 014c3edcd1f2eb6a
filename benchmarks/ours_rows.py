"""This library's side of the work on rows: scans, searches, draws, joins, imports; and the memory of a worker."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from measure import count, warm
from workloads import BATCH, DATA, files_of


def squares(n: int, shift: float = 0.0) -> Any:
    """Catalog of n squares of 1.2 km side by side, as the peer's side makes them; no file is opened."""
    from geodata import Bands, Catalog
    from geodata.readers import Asset

    side = int(np.ceil(np.sqrt(n)))
    i = np.arange(n)
    x, y = 399960 + i % side * 1200.0 + shift, 5300040 - i // side * 1200.0 - shift
    zero = np.zeros(n)
    return Catalog.from_columns(
        key=[f"p_{k:06d}" for k in range(n)],
        affine=np.stack([zero + 10, zero, x, zero, zero - 10, y], axis=1),
        shape=np.full((n, 2), 120),
        crs=["EPSG:32632"] * n,
        columns={"path": [f"p_{k:06d}.tif" for k in range(n)], "size": np.arange(n), "mtime": np.arange(n)},
        assets=[Asset("{path}", Bands(["1", "2", "3", "4"]), (1, 2, 3, 4))],
    )


def seven_zones(n: int) -> Any:
    """Catalog of n items of 1.2 km at random places in seven UTM zones."""
    from geodata import Bands, Catalog
    from geodata.readers import Asset

    rng = np.random.default_rng(0)
    zone = rng.integers(29, 36, n)
    x, y = rng.integers(300, 700, n) * 1000.0, rng.integers(4000, 7000, n) * 1000.0
    zero = np.zeros(n)
    return Catalog.from_columns(
        key=[f"item{i}" for i in range(n)],
        affine=np.stack([zero + 10, zero, x, zero, zero - 10, y], axis=1),
        shape=np.full((n, 2), 120),
        crs=[f"EPSG:{32600 + z}" for z in zone],
        columns={"path": [f"{i}.tif" for i in range(n)], "size": np.arange(n), "mtime": np.arange(n)},
        assets=[Asset("{path}", Bands(["B02", "B03"]), (1, 2))],
    )


def index(options: Any) -> dict[str, Any]:
    """Open a folder of 20,000 files."""
    from geodata.datasets import RasterDataset

    warm(files_of("D/four"))
    return count(lambda: len(RasterDataset(DATA / "D/four", progress=False)), 1, 1, options.profile)


def reopen(options: Any) -> dict[str, Any]:
    """Open the same folder by its saved catalog."""
    from geodata.datasets import RasterDataset

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "catalog.parquet"
        RasterDataset(DATA / "D/four", progress=False).catalog.save(path)
        RasterDataset(path)  # what is imported when first needed is there before the clock starts
        return count(lambda: len(RasterDataset(path)), 1, 1, options.profile)


def load(options: Any) -> dict[str, Any]:
    """Open a saved catalog of 500,000 rows."""
    from geodata import Catalog

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "catalog.parquet"
        seven_zones(500_000).save(path)
        return count(lambda: len(Catalog.load(path)), 1, 1, options.profile)


def tree(options: Any) -> dict[str, Any]:
    """The first search of 500,000 rows."""
    catalog = seven_zones(500_000)
    return count(lambda: len(catalog.search(catalog.grid(0))), 1, 1, options.profile)


def candidates(options: Any) -> dict[str, Any]:
    """What the tree proposes for boxes of the size of an item."""
    catalog = seven_zones(500_000)
    boxes, tree = catalog.box84[:10_000, None], catalog.tree
    always = (-np.inf, np.inf)

    def work() -> int:
        return sum(len(tree.candidates(box, always)) for box in boxes)

    return count(work, len(boxes), 1e3, options.profile)


def search(options: Any) -> dict[str, Any]:
    """Rows under the grid of an item, exactly."""
    catalog = seven_zones(500_000)
    grids = [catalog.grid(i) for i in range(2000)]
    catalog.search(grids[0])
    return count(lambda: sum(len(catalog.search(grid)) for grid in grids), len(grids), 1e3, options.profile)


def draws(rows: int) -> Any:
    def measure(options: Any) -> dict[str, Any]:
        from geodata.samplers import RandomPatchSampler

        n = options.samples or 100_000
        catalog = squares(rows)
        make = count(lambda: RandomPatchSampler(catalog, size=64, length=n), 1, 1, False)
        sampler = make.pop("result")
        found = count(lambda: sum(1 for _ in sampler), n, 1e6, options.profile)
        return {**found, "once_s": make["cpu"]}

    return measure


def join(shift: float) -> Any:
    def measure(options: Any) -> dict[str, Any]:
        from geodata.datasets import RasterDataset

        n = options.samples or 20_000
        left, right = RasterDataset(squares(n)), RasterDataset(squares(n, shift), name="b")
        found = count(lambda: left & right, 1, 1, options.profile)
        joined = found.pop("result")
        return {**found, "rows": len(joined), "pairs": len(left.catalog.pairs(right.catalog)[0])}

    return measure


IMPORT = """
import time
import torch
start = time.process_time()
{}
print(time.process_time() - start)
"""


def imports(what: str) -> Any:
    """CPU time of an import in a fresh interpreter that has torch already."""

    def measure(options: Any) -> dict[str, Any]:
        run = subprocess.run(
            [sys.executable, "-P", "-c", IMPORT.format(what)], capture_output=True, text=True, check=True
        )
        return {"cpu": float(run.stdout), "samples": 1}

    return measure


def memory(options: Any) -> dict[str, Any]:
    """Resident size of one worker process of a DataLoader while it reads 100,000 samples from 20,000 files."""
    import torch

    import geodata as gd
    from geodata.datasets import RasterDataset
    from geodata.samplers import ItemSampler

    data = RasterDataset(DATA / "D/four", progress=False)
    sampler = ItemSampler(data, shuffle=True)
    loader = torch.utils.data.DataLoader(
        data, sampler=sampler, batch_size=BATCH, num_workers=1, collate_fn=gd.collate, persistent_workers=True
    )
    n, done, sizes, epoch = options.samples or 100_000, 0, [], 0
    page = os.sysconf("SC_PAGE_SIZE")
    while done < n:
        sampler.set_epoch(epoch)
        epoch += 1
        for step, batch in enumerate(loader):
            done += len(batch["image"])
            if step % 25 == 0:
                worker = multiprocessing.active_children()[0].pid
                resident = int(Path(f"/proc/{worker}/statm").read_text().split()[1])
                sizes.append([done, round(resident * page / 2**20, 1)])
            if done >= n:
                break
    return {"cpu": 0.0, "samples": done, "resident_mb": sizes}


COUNTINGS = {
    "index": index,
    "reopen": reopen,
    "load": load,
    "tree": tree,
    "candidates": candidates,
    "search": search,
    "draws_16": draws(16),
    "draws_20k": draws(20_000),
    "draws_2m": draws(2_000_000),
    "join_half": join(600.0),
    "join_same": join(0.0),
    "import": imports("import geodata"),
    "memory": memory,
}
