"""What Dask costs: one conversion by two processes of this machine, and by two Dask workers on it, in turns.

    python benchmarks/stores_cluster.py
    python benchmarks/stores_cluster.py --items 4096 --rounds 5

Both write the same store from a look-alike of reBEN, whose files are in the page cache; the digests are compared. The time of a
run is that of `convert` alone: workers of Dask have started and imported the library before, those of the pool start within it, as
they do for a user. So the time that a pool takes to start is measured too, by a conversion of one shard, and said with it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from geodata.datasets import ReBEN
from geodata.store import convert

WORKERS = 2


def cluster(folder: Path) -> tuple[str, list[subprocess.Popen[bytes]]]:
    """Start a scheduler and workers; return its address and the processes."""
    file, log = folder / "scheduler.json", (folder / "dask.log").open("wb")
    common = ["--host", "127.0.0.1", "--no-dashboard"]
    scheduler = [
        sys.executable,
        "-m",
        "distributed.cli.dask_scheduler",
        *common,
        "--port",
        "0",
        "--scheduler-file",
        file,
    ]
    started = [subprocess.Popen(scheduler, stdout=log, stderr=log)]
    while not (file.exists() and file.read_text().endswith("}")):
        time.sleep(0.05)
    address = json.loads(file.read_text())["address"]
    worker = ["-m", "distributed.cli.dask_worker", address, *common, "--nthreads", "1", "--no-nanny"]
    where = ["--local-directory", folder / "dask", "--preload", "geodata.store"]
    started += [subprocess.Popen([sys.executable, *worker, *where], stdout=log, stderr=log) for _ in range(WORKERS)]
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(WORKERS)
    return address, started


def timed(source: ReBEN, out: Path, shard: int, **how: object) -> tuple[float, str]:
    """Convert to a new place, and remove it."""
    os.sync()
    start = time.perf_counter()
    digest = convert(source, out, shard=shard, codec="lz4", **how)  # type: ignore[arg-type]
    seconds = time.perf_counter() - start
    shutil.rmtree(out)
    return seconds, digest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1024, help="of the look-alike")
    parser.add_argument("--shard", type=int, default=64, help="samples of a shard")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root, out = folder / "reben", folder / "out.zarr"
        root.mkdir()
        ReBEN.fake(root, given.items)
        source = ReBEN(root, split=None, progress=False)
        first = source.where(key=[source.catalog.key[0]])
        address, started = cluster(folder)
        try:
            ways: dict[str, dict[str, object]] = {"pool": {"workers": WORKERS}, "dask": {"scheduler": address}}
            timed(source, out, given.shard)  # into the page cache
            found: dict[str, list[float]] = {way: [] for way in ways}
            digests = set()
            for turn in range(given.rounds):
                for way in sorted(ways, reverse=bool(turn % 2)):
                    seconds, digest = timed(source, out, given.shard, **ways[way])
                    found[way].append(seconds)
                    digests.add(digest)
                    print(f"round {turn + 1}: {way} {seconds:.1f} s", flush=True)
            starts = {
                way: statistics.median(timed(first, out, 1, **how)[0] for _ in range(3)) for way, how in ways.items()
            }
        finally:
            for process in reversed(started):
                process.terminate()
            for process in started:
                process.wait()
    if len(digests) != 1:
        sys.exit(f"the stores differ: {digests}")
    median = {way: statistics.median(seconds) for way, seconds in found.items()}
    for way in ways:
        print(f"{way}: {median[way]:.2f} s ({given.items / median[way]:.0f} items/s), of one item {starts[way]:.2f} s")
    work = {way: median[way] - starts[way] for way in ways}
    print(
        f"dask / pool: {median['dask'] / median['pool']:.3f}; without what one item takes: {work['dask'] / work['pool']:.3f}"
    )


if __name__ == "__main__":
    main()
