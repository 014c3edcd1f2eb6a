"""Measure published archives: a full reBEN sample beside the peer's, the catalog of all its patches, and windows of cubes.

    python benchmarks/archives.py --peer .venv-peer/bin/python
    python benchmarks/archives.py --peer .venv-peer/bin/python --write     also writes docs/benchmarks-archives.md

Samples are read from a look-alike that this library writes, by both sides in turns, one thread, files in the page cache. The
catalog is made from the real tables where they are at hand (GEODATA_REALDATA).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
REAL = Path(os.environ.get("GEODATA_REALDATA", ROOT.parent / "shared" / "realdata")) / "reben"
ITEMS, TIMES, ROUNDS = 48, 5, 3


def per_sample(read: Any, n: int) -> dict[str, float]:
    """CPU and wall time of one sample in ms: the best of some passes over all of them."""
    found = []
    for _ in range(TIMES + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        for i in range(n):
            read(i)
        found.append(((time.process_time() - cpu) / n * 1e3, (time.perf_counter() - wall) / n * 1e3))
    cpu, wall = min(found[1:])
    return {"cpu": cpu, "wall": wall}


def ours(root: str) -> dict[str, float]:
    """All 15 files of a patch."""
    import torch

    from geodata.datasets import ReBEN

    torch.set_num_threads(1)
    ds = ReBEN(root, split="train")
    return per_sample(ds.__getitem__, len(ds)) | {"items": len(ds)}


def peer(root: str) -> dict[str, float]:
    """The same by TorchGeo."""
    import torch
    from torchgeo.datasets import BigEarthNetV2

    torch.set_num_threads(1)
    ds = BigEarthNetV2(root, split="train", bands="all")
    return per_sample(ds.__getitem__, len(ds)) | {"items": len(ds)}


def table(root: str) -> dict[str, float]:
    """The catalog of all patches: made, or opened again."""
    from geodata.datasets.archive import cache
    from geodata.datasets.reben import ReBEN

    base = peak()
    wall, cpu = time.perf_counter(), time.process_time()
    catalog = cache.catalog_of(
        ReBEN.spec, Path(root), {}, (), lambda: ReBEN.index(Path(root), on_error="raise", progress=False, excluded=True)
    )
    found = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "rows": len(catalog)}
    return found | {"peak": peak(), "before": base}


def peak() -> float:
    """Largest memory of this process so far, MB; what `getrusage` says would count the one that started it."""
    said = Path("/proc/self/status").read_text()
    return int(said.split("VmHWM:")[1].split()[0]) / 1024


def cube(path: str) -> dict[str, float]:
    """Windows of 64 pixels over all dates of a cube."""
    import numpy as np
    import torch

    from geodata import Query
    from geodata.datasets import XarrayDataset

    torch.set_num_threads(1)
    ds = XarrayDataset(path).series()
    corners = np.random.default_rng(0).integers(0, 1000 - 64, (30, 2)).tolist()
    return per_sample(lambda i: ds[Query(row=0, window=(*corners[i], 64, 64))], len(corners))


def write_cubes(folder: Path) -> dict[str, Path]:
    """Write one cube of 30 dates in some ways."""
    import numpy as np
    import xarray as xr

    values = np.random.default_rng(0).random((30, 1000, 1000), dtype=np.float32)
    data = xr.Dataset({"value": (("time", "y", "x"), values)})
    data = data.assign_coords(
        time=np.arange("2020-01-01", "2020-01-31", dtype="datetime64[D]").astype("datetime64[ns]"),
        y=5e6 - 10 * np.arange(1000.0), x=5e5 + 10 * np.arange(1000.0),
    )  # fmt: skip
    paths = {"NetCDF": folder / "plain.nc"}
    data.to_netcdf(paths["NetCDF"], engine="h5netcdf")
    for side in (64, 128):
        paths[f"Zarr, chunks of (30, {side}, {side})"] = path = folder / f"chunks{side}.zarr"
        data.to_zarr(path, encoding={"value": {"chunks": (30, side, side)}}, consolidated=False)
    return paths


def call(python: str, what: str, *arguments: str) -> dict[str, Any]:
    """Run one measurement in a process of its own."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run([python, __file__, "--only", what, *arguments], capture_output=True, text=True, env=env)
    if run.returncode:
        raise SystemExit(run.stderr)
    found: dict[str, Any] = json.loads(run.stdout.strip().splitlines()[-1])
    return found


def measure(peer_python: str) -> list[str]:
    """Measure everything and return the lines of the page."""
    from geodata.datasets import ReBEN

    lines = ["| what | this library | TorchGeo | wanted |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "reben").mkdir()
        ReBEN.fake(folder / "reben", ITEMS)
        rounds = [
            (call(sys.executable, "ours", str(folder / "reben")), call(peer_python, "peer", str(folder / "reben")))
            for _ in range(ROUNDS)
        ]
        mine, theirs = (sorted(pair[side]["cpu"] for pair in rounds)[ROUNDS // 2] for side in (0, 1))
        lines.append(
            f"| full reBEN sample, 15 files, CPU | {mine:.2f} ms | {theirs:.1f} ms ({theirs / mine:.1f}x) | <= 3 ms, 7x |"
        )
        for what, path in write_cubes(folder).items():
            wall = call(sys.executable, "cube", str(path))["wall"]
            lines.append(f"| window of 64 px over 30 x 1000 x 1000, {what} | {wall:.1f} ms | | <= 5 ms |")
        if REAL.is_dir():
            for path in REAL.glob("*.parquet"):
                (folder / path.name).symlink_to(path)
            (folder / "reben_all").mkdir()
            for path in REAL.glob("metadata*.parquet"):
                (folder / "reben_all" / path.name).symlink_to(path)
            first, again = (call(sys.executable, "table", str(folder / "reben_all")) for _ in range(2))
            memory = f"{first['peak']:.0f} MB ({first['before']:.0f} of it by importing torch)"
            lines += [
                f"| catalog of {first['rows']:,.0f} patches, first time, kept too | {first['wall']:.1f} s | | < 10 s |",
                f"| the same, opened again | {again['wall']:.2f} s | | < 1 s |",
                f"| largest memory of the process, first time | {memory} | | < 600 MB |",
                f"| the same, opened again | {again['peak']:.0f} MB | | |",
            ]
    return lines


def main() -> None:
    """Measure one thing, or all of them in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="Python of the peer's environment (make bench-peer)")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks-archives.md")
    parser.add_argument("--only", nargs=2, metavar=("WHAT", "PATH"), help="one measurement, as JSON")
    options = parser.parse_args()
    if options.only:
        what, path = options.only
        print(json.dumps({"ours": ours, "peer": peer, "table": table, "cube": cube}[what](path)))
        return
    lines = measure(options.peer)
    print("\n".join(lines))
    if options.write:
        said = [
            "# Benchmarks of published archives",
            "",
            "Written by `make bench-archives`: each number is the median of three processes that took turns (of one, where there is "
            "no peer), one thread, files in the page cache. TorchGeo 0.10.1. A missed figure is shown as it was measured.",
            "",
            *lines,
            "",
        ]
        (ROOT / "docs" / "benchmarks-archives.md").write_text("\n".join(said), encoding="utf-8")


if __name__ == "__main__":
    main()
