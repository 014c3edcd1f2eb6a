"""Compare stores with LMDB and with TorchGeo: reading at random, loading for training, writing.

    python benchmarks/stores.py --peer .venv-peer/bin/python
    python benchmarks/stores.py --peer .venv-peer/bin/python --write      also writes docs/benchmarks-stores.md
    python benchmarks/stores.py --only reben loaders --rounds 3
    python benchmarks/stores.py --others                                  only what stores are compared with

Each way of reading has a process of its own; they take turns within a round, one torch thread each, files in the page cache.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import stores_data
from measure import warm
from stores_data import CODECS, EARTH, RAW, REBEN, ROOT, path_of
from stores_turns import take_turns

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks-stores.md"
WORKERS = (0, 1, 2, 4)
PEER_WORKERS = (0, 2, 4)
THREADS = (1, 2, 3)
TREE = ("BigEarthNet-S2", "BigEarthNet-S1", "Reference_Maps")
STORES = tuple(f"store-{codec}" for codec in CODECS)
SECONDS, PEER_SECONDS = 2.0, 8.0
Found = dict[str, dict[str, Any]]

GROUPS = {
    "reben": "Random batches of 32 reBEN samples, in the same process",
    "earth": "Random batches of 32 hyperspectral samples, 202 x 128 x 128 int16, in the same process",
    "loaders": "Random batches of 32 reBEN samples through loaders",
    "write": "Writing 1,024 reBEN samples from memory, one process, on disk when written",
}
# What is compared: a line of the first table, its group, ours, what with (the fastest of those that start so), times wanted.
Line = tuple[str, str, str, str, float | None]
LINES: tuple[Line, ...] = (
    ("uncompressed vs LMDB, new memory", "reben", "store-none fresh", "lmdb fresh", 1.3),
    ("uncompressed vs LMDB, recycled memory", "reben", "store-none recycled", "lmdb recycled", 1.3),
    ("default codec vs LMDB, new memory", "reben", "store-lz4 fresh", "lmdb fresh", 0.65),
    ("default codec vs LMDB, recycled memory", "reben", "store-lz4 recycled", "lmdb recycled", 0.65),
    ("hyperspectral, uncompressed vs LMDB, new memory", "earth", "store-none fresh", "lmdb fresh", 1.3),
    ("hyperspectral, uncompressed vs LMDB, recycled memory", "earth", "store-none recycled", "lmdb recycled", 1.3),
    ("hyperspectral, default codec vs LMDB, recycled memory", "earth", "store-lz4 recycled", "lmdb recycled", 0.65),
    ("training loader, default codec vs LMDB through DataLoader, items one by one", "loaders", "store-lz4 Loader", "lmdb DataLoader, one", 1.5),
    ("training loader, default codec vs LMDB through DataLoader, written to read whole batches", "loaders", "store-lz4 Loader", "lmdb DataLoader, whole", None),
    ("training loader, uncompressed vs LMDB through DataLoader", "loaders", "store-none Loader", "lmdb DataLoader, one", None),
    ("training loader, default codec vs TorchGeo BigEarthNetV2", "loaders", "store-lz4 Loader", "TorchGeo", 50.0),
    ("training loader, default codec vs LMDB through our loader", "loaders", "store-lz4 Loader", "lmdb Loader", None),
    ("write, default codec vs LMDB", "write", "store-lz4", "lmdb", 1.0),
    ("write, uncompressed vs LMDB", "write", "store-none", "lmdb", None),
)  # fmt: skip


def commands(group: str, peer: str | None, sources: Sequence[str]) -> dict[str, tuple[list[str], float]]:
    """The processes of a group by name: command line and seconds of a turn."""
    worker = [sys.executable, "-W", "ignore", "stores_worker.py"]
    if group == "write":
        return {source: ([*worker, source, "write", "1"], SECONDS) for source in sources}
    if group != "loaders":
        memory = ("fresh", "recycled")
        return {f"{s} {how}": ([*worker, s, group, how], SECONDS) for s in sources for how in memory}
    found = {}
    for way, said in (("items", "one by one"), ("batches", "whole batches")):
        for n in WORKERS:
            found[f"lmdb DataLoader, {said}, {n} workers"] = ([*worker, "lmdb", way, str(n)], SECONDS)
    for source in sources:
        for n in THREADS:
            found[f"{source} Loader, {n} threads"] = ([*worker, source, "loader", str(n)], SECONDS)
    for n in PEER_WORKERS if peer else ():
        found[f"TorchGeo, {n} workers"] = ([str(peer), "stores_peer.py", str(REBEN), str(n)], PEER_SECONDS)
    return found


def best(found: Found, start: str) -> str | None:
    """The fastest of those whose name starts so."""
    names = [name for name in found if name.startswith(start)]
    return max(names, key=lambda name: found[name]["rate"], default=None)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all below a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def sizes() -> dict[str, int]:
    """Bytes of each form of the two archives. LMDB counts what it has filled: its file is never longer than that."""
    forms = {f"{w} store-{c}": path_of(w, c) for w in ("reben", "earth") for c in CODECS}
    forms |= {"reben lmdb": REBEN / "lmdb" / "data.mdb", "earth lmdb": EARTH / "lmdb" / "data.mdb"}
    forms |= {"earth files": EARTH / "enmap", "earth raw": RAW / "hsi.npy"}
    found = {name: size_of(path) for name, path in forms.items() if path.exists()}
    found["reben files"] = sum(size_of(REBEN / name) for name in TREE)
    found["reben raw"] = sum(size_of(path) for path in RAW.glob("*.npy")) - found["earth raw"]
    return found


def conditions(rounds: int) -> str:
    """What was measured on and with."""
    said = Path("/proc/cpuinfo").read_text()
    cpu = (
        said.split("model name")[1].split(":")[1].split("\n")[0].strip() if "model name" in said else platform.machine()
    )
    names = ("torch", "numpy", "imagecodecs", "lmdb", "safetensors")
    libraries = ", ".join(f"{name} {version(name)}" for name in names)
    return (
        f"{cpu}, {os.cpu_count()} cores; Python {platform.python_version()}, {libraries}; TorchGeo 0.10.1 with Python 3.12. "
        f"Medians of {rounds} rounds or more in which all ways of a table take turns, a process each, one torch thread, files in the page "
        "cache. CPU time counts worker processes and threads. Some samples of each in-process reader are compared with the source first."
    )


def page(results: dict[str, Found]) -> list[str]:
    """The lines of the page."""
    rounds = min(len(one["rates"]) for found in results.values() for one in found.values())
    lines = ["# Benchmarks of stores", "", "Written by `make bench-stores`. " + conditions(rounds), ""]
    lines += [
        "Samples are 8,192 look-alikes of reBEN (12 bands of Sentinel-2, two of Sentinel-1, the map: 304,000 bytes) and 384 of "
        "SpectralEarth (6.6 MB), made-up landscapes that compress about as images do. LMDB is laid out as rico-hdl does, and read "
        "with `safetensors.numpy.load`. TorchGeo reads the GeoTIFFs, all bands enlarged to 120 x 120. A missed figure is shown as "
        "it was measured.",
        "",
        "| what | this library, samples/s | other, samples/s | times | CPU, ms per sample | wanted |",
        "|---|---|---|---|---|---|",
    ]
    for said, group, ours, other, wanted in LINES:
        found = results.get(group, {})
        names = best(found, ours), best(found, other)
        if None in names:
            continue
        mine, theirs = (found[str(name)] for name in names)
        times = mine["rate"] / theirs["rate"]
        aim = "" if wanted is None else f">= {wanted:g}x, {'met' if times >= wanted else 'missed'}"
        cpu = f"{mine['cpu']:.3f} / {theirs['cpu']:.3f}"
        lines.append(f"| {said} | {mine['rate']:,.0f} | {theirs['rate']:,.0f} | {times:.2f} | {cpu} | {aim} |")
    lines += ["", "## Bytes", "", "| form | reBEN, MB | of raw | hyperspectral, MB | of raw |", "|---|---|---|---|---|"]
    bytes_of = sizes()
    for form in ("raw", "files", "lmdb", *STORES):
        cells = []
        for what in ("reben", "earth"):
            size = bytes_of.get(f"{what} {form}")
            cells += ["", ""] if size is None else [f"{size / 1e6:,.0f}", f"{size / bytes_of[f'{what} raw']:.3f}"]
        lines.append(f"| {form} | {' | '.join(cells)} |")
    for group, title in GROUPS.items():
        if group in results:
            lines += [
                "",
                f"## {title}",
                "",
                "| way | samples/s | lowest to highest | CPU, ms per sample |",
                "|---|---|---|---|",
            ]
            for name, one in results[group].items():
                low, high = min(one["rates"]), max(one["rates"])
                lines.append(f"| {name} | {one['rate']:,.0f} | {low:,.0f} to {high:,.0f} | {one['cpu']:.3f} |")
    return [*lines, ""]


def warm_up(group: str, sources: Sequence[str]) -> None:
    """Bring what a group reads into the page cache, which may be too small for everything."""
    what = "earth" if group == "earth" else "reben"
    folders = [path_of(what, source.removeprefix("store-")) for source in sources if source in STORES]
    folders.append((EARTH if group == "earth" else REBEN) / "lmdb")
    if group == "loaders":
        folders += [REBEN / name for name in TREE]
    if group != "write":
        warm(str(path) for folder in folders for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Measure what is asked for, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="Python of the peer's environment (make bench-peer)")
    parser.add_argument("--only", nargs="+", choices=list(GROUPS), default=list(GROUPS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--others", action="store_true", help="only what stores are compared with")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks-stores.md")
    options = parser.parse_args()
    stores_data.ensure()
    sources: tuple[str, ...] = ("lmdb",)
    if not options.others:
        import stores_ours

        stores_ours.ensure()
        sources = ("lmdb", *STORES)
    peer = options.peer and str(Path(options.peer).absolute())
    kept = ROOT / "results.json"  # of earlier runs too: each group is of one run
    results: dict[str, Found] = json.loads(kept.read_text()) if kept.exists() else {}
    if os.getloadavg()[0] > 0.5:
        print(f"others are at work on this machine (load {os.getloadavg()[0]:.1f}): numbers will be too low")
    for group in options.only:
        warm_up(group, sources)
        results[group] = take_turns(commands(group, peer, sources), options.rounds)
        kept.write_text(json.dumps(results, indent=1))
    print("\n".join(page(results)))
    if options.write:
        PAGE.write_text("\n".join(page(results)), encoding="utf-8")


if __name__ == "__main__":
    main()
