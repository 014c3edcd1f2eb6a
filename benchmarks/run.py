"""Measure everything, in rounds, and write docs/benchmarks.md and benchmarks/results.json.

    python benchmarks/run.py --peer .venv-peer/bin/python
    python benchmarks/run.py --peer .venv-peer/bin/python --quick --only A_random C    a look, printed and not written

Every measurement is a process of its own. The sides take turns: peer, ours, bare reader, then the next round.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import data
import numpy as np
import report
from workloads import COUNTINGS, READINGS, ROOT, Counting, Reading

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.json"
LISTED = ("torch", "numpy", "rasterio", "shapely", "imagecodecs", "isal", "rtree", "geopandas", "pandas")
VERSIONS = """
import json, platform, rasterio
from importlib import metadata
found = {"Python": platform.python_version(), "GDAL": rasterio.__gdal_version__}
for name in %r:
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def clean() -> dict[str, str]:
    """The environment without settings that would change what is measured; one thread for what asks OpenMP."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("GDAL_", "GEODATA_", "CPL_")) or k == data_root}
    return {**own, "OMP_NUM_THREADS": "1"}


data_root = "GEODATA_BENCH_DATA"


def call(python: str, *arguments: str) -> dict[str, Any]:
    """Run one measurement; what went wrong if it did."""
    run = subprocess.run([python, *arguments], capture_output=True, text=True, env=clean())
    lines = run.stdout.strip().splitlines()
    if run.returncode or not lines:
        said = run.stderr.strip().splitlines()
        return {"failed": said[-1] if said else f"ended with {run.returncode}"}
    found: dict[str, Any] = json.loads(lines[-1])
    if "sums" in found:
        found["sums"] = [sum(column) for column in zip(*found["sums"], strict=True)]
    return found


def measurements(lines: list[Reading | Counting]) -> list[list[tuple[str, str]]]:
    """Group what is compared, so that it runs close together: side and name."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for line in lines:
        group = groups.setdefault(line.group or line.name, [("peer", line.group)] if line.group else [])
        group.append(("ours", line.name))
        if isinstance(line, Reading) and line.limit:
            group.append(("limit", line.name))
    return list(groups.values())


def run_rounds(
    groups: list[list[tuple[str, str]]],
    pythons: dict[str, str],
    rounds: int,
    quick: bool,
    keep: Callable[[list[dict]], None],
) -> list[dict]:
    """Measure every group ``rounds`` times; ``keep`` gets what there is after each group."""
    samples = {line.name: str(max(32, line.samples // 4)) for line in READINGS} if quick else {}
    runs = []
    for group in groups:
        for turn in range(rounds):
            for side, name in group:
                more = ("--samples", samples[name]) if name in samples else ()
                found = call(pythons[side], str(HERE / f"{side}.py"), name, *more)
                found = {"round": turn, **found, "side": side, "name": name}
                runs.append(found)
                shown = found.get("failed") or found.get("skipped") or f"{found['cpu']:.4g} {found.get('unit', '')}"
                print(f"{turn + 1}/{rounds}  {name:<18} {side:<6} {shown}", flush=True)
        keep(runs)
    return runs


def differences(
    lines: list[Reading | Counting], runs: list[dict], pythons: dict[str, str]
) -> dict[str, dict[str, float]]:
    """How far pixels are apart where they are not equal: of the first 32 patches, the share and the largest difference."""
    found = report.medians(runs)
    apart = {}
    for line in lines:
        if not isinstance(line, Reading) or line.how not in ("boxes", "items") or report.pixels(line, found) == "equal":
            continue
        with tempfile.TemporaryDirectory() as folder:
            kept = {}
            for side, name in (("ours", line.name), ("peer", line.group)):
                path = f"{folder}/{side}.npz"
                call(pythons[side], str(HERE / f"{side}.py"), name, "--samples", "32", "--keep", path)
                kept[side] = np.load(path) if os.path.exists(path) else {}
            if set(kept["ours"]) == set(kept["peer"]):
                gaps = [np.abs(kept["ours"][key] - kept["peer"][key]).ravel() for key in kept["ours"]]
                gap = np.concatenate(gaps)
                apart[line.name] = {
                    "share": float((gap > 0).mean()),
                    "mean": float(gap.mean()),
                    "most": float(gap.max()),
                }
    return apart


def machine() -> dict[str, Any]:
    """What it ran on."""
    said = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in said if line.startswith("model name")), platform.processor())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cpu": cpu, "cores": os.cpu_count(), "memory_gib": round(memory, 1), "system": platform.system()}


def versions(pythons: dict[str, str]) -> dict[str, dict[str, str]]:
    """What each side is made of."""
    names = {"ours": ("geodata", *LISTED), "peer": ("torchgeo", *LISTED)}
    return {side: call(pythons[side], "-c", VERSIONS % (listed,)) for side, listed in names.items()}


def profiles(lines: list[Reading | Counting], runs: list[dict], python: str) -> dict[str, list[str]]:
    """Where the time goes in what missed its figure."""
    missed = [line.name for line in lines if report.verdict(line, report.medians(runs)) == "missed"]
    return {name: call(python, str(HERE / "ours.py"), name, "--profile").get("profile", []) for name in missed}


def main() -> None:
    """Measure, then write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", default=str(ROOT / ".venv-peer/bin/python"), help="Python that has TorchGeo")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of fewer patches; nothing is written")
    parser.add_argument("--only", nargs="+", default=[], help="names of lines; nothing is written")
    parser.add_argument("--report", action="store_true", help="write the page again from results.json")
    options = parser.parse_args()
    if options.report:
        report.write(json.loads(RESULTS.read_text()))
        return
    every: list[Reading | Counting] = [*READINGS, *COUNTINGS]
    lines = [line for line in every if not options.only or line.name in options.only]
    pythons = {"ours": sys.executable, "limit": sys.executable, "peer": options.peer}
    data.ensure()
    if found := call(options.peer, str(HERE / "peer.py"), "draw").get("failed"):
        sys.exit(f"{options.peer} cannot draw the boxes: {found}; `make bench-peer` makes the peer's environment")
    rounds = 1 if options.quick else options.rounds
    whole = not (options.quick or options.only)
    results: dict[str, Any] = {
        "command": f"make bench (python benchmarks/run.py --rounds {rounds})",
        "date": dt.date.today().isoformat(),
        "rounds": rounds,
        "machine": machine(),
        "versions": versions(pythons),
        "data": json.loads((data.DATA / "manifest.json").read_text()),
        "apart": {},
        "profiles": {},
    }

    def keep(runs: list[dict]) -> None:
        results["runs"] = [{k: v for k, v in run.items() if v not in ([], None)} for run in runs]
        results["machine"]["load"] = max(results["machine"].get("load", 0.0), round(os.getloadavg()[0], 1))
        if whole:  # a run of hours that is cut off leaves what it measured: --report writes the page of it
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")

    runs = run_rounds(measurements(lines), pythons, rounds, options.quick, keep)
    if not options.quick:
        results["apart"] = differences(lines, runs, pythons)
        results["profiles"] = profiles(lines, runs, sys.executable)
    if whole:
        results["memory"] = call(sys.executable, str(HERE / "ours.py"), "memory")
        keep(runs)
        report.write(results)
    else:
        print("\n" + report.page(results, lines))


if __name__ == "__main__":
    main()
