"""Thousands of damaged headers: the plain reader's pixels and headers are GDAL's, or there is an error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / "fuzz_tiff.py"


def run(folder: Path, seed: int, count: int) -> Counter[str]:
    """Run the cases in a process whose memory and time are limited, and return how they ended."""
    folder.mkdir()
    command = [sys.executable, str(PROGRAM), str(folder), str(seed), "0", str(count)]
    # A handle of GDAL keeps what it read of a file; the pages of other threads would count towards the limit.
    environment = os.environ | {
        "PYTHONPATH": str(PROGRAM.parent),
        "GDAL_CACHEMAX": "64",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    ended = subprocess.run(command, capture_output=True, check=False, env=environment)
    said = ended.stderr.decode(errors="replace")
    where = folder / "case"
    assert ended.returncode == 0, (
        f"{PROGRAM.name} ended with {ended.returncode} in case {where.read_text() if where.exists() else '?'} "
        f"of seed {seed}: ...{said[-3000:]}"
    )
    return Counter(json.loads(ended.stdout.decode().strip().splitlines()[-1]))


def check_shares(ends: Counter[str], count: int) -> None:
    """See that every way to end really occurs: a reader that never answers is never wrong."""
    assert sum(ends[end] for end in ("equal", "bold", "aside", "error")) == count
    assert sum(n for end, n in ends.items() if end.startswith("header")) == count
    shares = {end: n / count for end, n in ends.items()}
    for end in ("equal", "aside", "error", "header told", "header aside", "header error"):
        assert shares.get(end, 0) > 0.15, shares


def test_two_thousand_damaged_headers(tmp_path: Path) -> None:
    check_shares(run(tmp_path / "a", 0, 2000), 2000)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_ten_thousand_damaged_headers(tmp_path: Path, seed: int) -> None:
    check_shares(run(tmp_path / "a", seed, 10_000), 10_000)
