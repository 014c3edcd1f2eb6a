"""Split and audit two published benchmarks whose tables are real: reBEN, and the tasks of SpectralEarth.

    python benchmarks/splits.py             prints what was measured
    python benchmarks/splits.py --write     also writes docs/benchmarks-splits.md

Needs the tables (GEODATA_REALDATA). One process each, one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
REAL = Path(os.environ.get("GEODATA_REALDATA", ROOT.parent / "shared" / "realdata"))
FRACTIONS = {"train": 0.5, "val": 0.25, "test": 0.25}
TASKS = ("enmap_bdforet", "enmap_bnetd", "enmap_cdl", "enmap_corine", "enmap_eurocrops", "enmap_nlcd", "enmap_treemap", "desis_cdl",
         "eo1_cdl")  # fmt: skip


def reben(*, excluded: bool = False) -> Any:
    """The catalog of reBEN, from its tables."""
    from geodata.datasets import reben_table

    return reben_table.catalog(REAL / "reben", excluded=excluded)


def ring() -> dict[str, Any]:
    """Published assignments of all patches."""
    from geodata import splits

    catalog = reben(excluded=True)
    start = time.perf_counter()
    split = splits.ring(catalog)
    made = time.perf_counter() - start
    digest, both = split.digest, time.perf_counter() - start
    names = np.array(split.parts, dtype=object)[split.code]
    equal = int((names == catalog.column("split")).sum())
    return {"rows": len(catalog), "equal": equal, "seconds": made, "with_digest": both, "digest": digest}


def published() -> dict[str, Any]:
    """The audit of reBEN's own split."""
    from geodata import splits

    catalog = reben()
    start = time.perf_counter()
    report = splits.audit(catalog, splits.predefined(catalog, "split"), labels="labels", similarity=True)
    return facts(report) | {"seconds": time.perf_counter() - start, "peak": peak()}


def cells() -> dict[str, Any]:
    """A split into cells of H3, with a dead zone, and its audit: the whole job."""
    from geodata import splits

    catalog = reben()
    start = time.perf_counter()
    split = splits.cells(catalog, cell="h3:4", fractions=FRACTIONS, stratify="labels", buffer="5km", seed=0)
    made = time.perf_counter() - start
    report = splits.audit(catalog, split, labels="labels")
    found = facts(report) | {"seconds": time.perf_counter() - start, "split": made, "peak": peak()}
    return found | {"dropped": split.counts["dropped"] / len(catalog)}


def random() -> dict[str, Any]:
    """The audit of a random split of as many parts."""
    import warnings

    from geodata import splits
    from geodata.errors import SplitWarning

    catalog = reben()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SplitWarning)
        split = splits.random(catalog, fractions=FRACTIONS, overlap="allow")
    return facts(splits.audit(catalog, split, labels="labels", similarity=False)) | {"peak": peak()}


def tasks() -> dict[str, Any]:
    """The splits that SpectralEarth ships: scenes that test shares with train."""
    from geodata import splits
    from geodata.catalog import Catalog

    found = {}
    for task in TASKS:
        lists = REAL / "spectral_earth" / "data" / "splits" / task
        rows = [
            (line, part) for part in ("train", "val", "test") for line in (lists / f"{part}.txt").read_text().split()
        ]
        keys = [line for line, _ in rows]
        catalog = Catalog.from_columns(
            key=keys,
            affine=np.tile([1.0, 0, 0, 0, 1, 0], (len(keys), 1)),
            shape=np.full((len(keys), 2), 128),
            crs=None,
            columns={"location": [k.split("/")[0] for k in keys], "scene": [k.split("/")[1] for k in keys]},
        )
        report = splits.audit(catalog, splits.predefined(catalog, lists / "{}.txt"), ids=("location", "scene"))
        shared = next(p.shared for p in report.pairs if (p.part, p.other) == ("train", "test"))
        found[task] = {
            "rows": len(keys),
            "scenes": len({k.split("/")[1] for k in keys}),
            "locations_shared": shared["location"].values,
            "share_of_test": shared["scene"].share,
            "passed": report.passed,
        }
    return found


def facts(report: Any) -> dict[str, Any]:
    """What the table shows of an audit."""
    found: dict[str, Any] = {"verdict": report.verdict, "parts": {}}
    for pair in report.pairs:
        name = f"{pair.other}-{pair.part}"
        found["parts"][name] = {
            "overlaps": pair.overlaps,
            "touching": pair.touching,
            "centre": None if pair.centre is None else {str(q): v / 1000 for q, v in pair.centre.quantile.items()},
            "gap": None if pair.gap is None else {str(q): v / 1000 for q, v in pair.gap.quantile.items()},
        }
    found["deviation"] = {name: [part.deviation, part.worst] for name, part in report.parts.items()}
    found["decay"] = None if report.decay is None else report.to_dict()["decay"]
    return found


def peak() -> float:
    """Largest memory of this process, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def call(name: str) -> dict[str, Any]:
    """One measurement in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--only", name],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return json.loads(done.stdout)


def distances(name: str, found: dict[str, Any]) -> str:
    """One row of the table of distances and classes: the test part against train."""
    pair, mean, worst = found["parts"]["test-train"], *found["deviation"]["test"]
    centre, gap = pair["centre"], pair["gap"]
    return (
        f"| {name} | {pair['overlaps']:,} | {gap['0.0']:.2f} | {gap['0.01']:.2f} | {centre['0.01']:.2f} / {centre['0.05']:.2f} / "
        f"{centre['0.5']:.2f} | {mean:.1%} / {worst:.1%} |"
    )


def measure() -> list[str]:
    """All of it, as lines of the page."""
    names = ("ring", "published", "cells", "random", "tasks")
    nested, own, mine, chance, earth = (call(name) for name in names)
    decay = own["decay"]
    bins = [f"{low / 1000:g}-{high / 1000:g}" for low, high in zip(decay["edge"], decay["edge"][1:], strict=False)]
    return [
        "## reBEN: its published split, and others",
        "",
        f"`splits.ring` gives {nested['equal']:,} of {nested['rows']:,} published assignments in {nested['seconds']:.2f} s "
        f"({nested['with_digest']:.2f} s with the digest, which is `{nested['digest'][:16]}...`).",
        "",
        "Test rows against train, of 480,038 rows. Distances are in km on the ellipsoid.",
        "",
        "| split | overlaps | least gap | gap, 1 % | centres, 1 % / 5 % / 50 % | classes deviate, mean / most |",
        "|---|---|---|---|---|---|",
        distances("published (ring)", own),
        distances("`cells`, H3 4, stratified, buffer 5 km", mine),
        distances("`random`", chance),
        "",
        f"- Published: {own['verdict']}.",
        f'- `cells(cell="h3:4", stratify="labels", buffer="5km")` leaves out {mine["dropped"]:.1%} of the rows. Its classes '
        f"deviate by {mine['deviation']['train'][0]:.1%} (train), {mine['deviation']['val'][0]:.1%} (val) and "
        f"{mine['deviation']['test'][0]:.1%} (test) in the mean. Split and audit take {mine['seconds']:.1f} s and {mine['peak']:,.0f} MB, the split "
        f"alone {mine['split']:.1f} s; the audit of the published split takes {own['seconds']:.1f} s and {own['peak']:,.0f} MB.",
        "",
        "How alike the labels of two patches are, by distance in km (Jaccard; pairs at random: "
        f"{decay['random']:.2f}). No distance here makes patches independent:",
        "",
        f"| {' | '.join(bins)} |",
        "|" + "---|" * len(bins),
        f"| {' | '.join(f'{v:.2f}' for v in decay['value'])} |",
        "",
        "## SpectralEarth: the splits that it ships",
        "",
        "No location is in two parts. But the number of a file is that of the scene it was cut from, and nearly every test patch comes from a "
        'scene that train has too. `splits.audit(catalog, split, ids=("location", "scene"))`:',
        "",
        "| task | patches | scenes | locations shared | test patches whose scene is in train | verdict |",
        "|---|---|---|---|---|---|",
        *(
            f"| {task} | {f['rows']:,} | {f['scenes']:,} | {f['locations_shared']} | {f['share_of_test']:.1%} | "
            f"{'holds' if f['passed'] else 'leaks'} |"
            for task, f in earth.items()
        ),
    ]


def main() -> None:
    """Measure one thing, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks-splits.md")
    parser.add_argument("--only", help="one measurement, as JSON")
    options = parser.parse_args()
    if options.only:
        print(
            json.dumps({f.__name__: f for f in (ring, published, cells, random, tasks)}[options.only](), default=float)
        )
        return
    lines = measure()
    print("\n".join(lines))
    if options.write:
        said = [
            "# Benchmarks of splits",
            "",
            "Written by `make bench-splits` from the tables that the two archives publish: one process each, one thread.",
            "",
            *lines,
            "",
        ]
        (ROOT / "docs" / "benchmarks-splits.md").write_text("\n".join(said), encoding="utf-8")


if __name__ == "__main__":
    main()
