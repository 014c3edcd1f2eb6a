"""Measure catalogs and samplers at scale: build, save, reopen, search, length of a sparse sampler. Seconds unless said.

Everything is made here: N items of 1.2 km in seven UTM zones.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from geodata import Bands, Catalog
from geodata.readers import Asset
from geodata.samplers import GridPatchSampler, RandomPatchSampler


def timed(what: str, work: Callable[[], Any]) -> Any:
    """Run something once and print how long it took."""
    start = time.perf_counter()
    result = work()
    print(f"{what:<58} {time.perf_counter() - start:9.4f} s")
    return result


def columns(n: int, spread: float = 0.0) -> dict[str, Any]:
    """Return columns of n items at random places, in one zone if spread (m) is given."""
    rng = np.random.default_rng(0)
    zone = np.full(n, 33) if spread else rng.integers(29, 36, n)
    x = rng.uniform(0, spread, n) if spread else rng.integers(300, 700, n) * 1000.0
    y = rng.uniform(0, spread, n) + 4e6 if spread else rng.integers(4000, 7000, n) * 1000.0
    affine = np.stack([0 * x + 10, 0 * x, np.round(x, -1), 0 * x, 0 * x - 10, np.round(y, -1)], axis=1)
    crs = [f"EPSG:{32600 + z}" for z in zone]
    key = [f"item{i}" for i in range(n)]
    return {
        "key": key,
        "affine": affine,
        "shape": np.full((n, 2), 120),
        "crs": crs,
        "columns": {"path": [f"folder/{k}/{k}.tif" for k in key], "size": np.arange(n), "mtime": np.arange(n)},
        "assets": [Asset("{path}", Bands(["B02", "B03"]), (1, 2))],
    }


def main() -> None:
    """Print one line per measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500_000)
    rows = parser.parse_args().rows
    catalog = timed(f"Catalog.from_columns, {rows:,} rows", lambda: Catalog.from_columns(**columns(rows)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "catalog.parquet"
        timed("save", lambda: catalog.save(path))
        print(f"{'size of the file':<58} {path.stat().st_size / 1e6:9.1f} MB")
        again = timed("load", lambda: Catalog.load(path))
    timed("first search (boxes and R-tree are built)", lambda: again.search(again.grid(0)))
    grids = [again.grid(i) for i in range(1000)]
    start = time.perf_counter()
    hits = sum(len(again.search(grid)) for grid in grids)
    each = (time.perf_counter() - start) / len(grids)
    print(f"{'search':<58} {each * 1e3:9.4f} ms, {hits / len(grids):.2f} rows found")
    sparse = Catalog.from_columns(**columns(2000, spread=3e6))
    print("2,000 sparse items of 1.2 km over 3,000 x 3,000 km:")
    timed("GridPatchSampler and its len", lambda: len(GridPatchSampler(sparse, size=64, stride=32)))
    timed("RandomPatchSampler and its len", lambda: len(RandomPatchSampler(sparse, size=64, length=10_000)))


if __name__ == "__main__":
    main()
