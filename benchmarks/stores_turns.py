"""Readers that take turns: each in a process of its own that stays, one of them at work at a time.

The process that reads calls `serve`; the one that asks holds a `Reader` for each. A turn first takes what is read ahead and some
batches more, then counts samples, wall time and the CPU time of the process, its threads and its workers, and goes on only
when nothing works any more.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

BATCH = 32
TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(workers: Sequence[int]) -> float:
    """CPU time so far of this process and of others."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    total = used.ru_utime + used.ru_stime
    for pid in workers:
        parts = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += (int(parts[11]) + int(parts[12])) / TICK
    return total


def serve(
    batches: Iterator[Any],
    workers: Sequence[int] = (),
    ahead: int = 4,
    samples: int = BATCH,
    after: Callable[[], None] = lambda: None,
) -> None:
    """Read for as many seconds as each line of the input says; answer what that took as a line of JSON.

    Parameters
    ----------
    workers : processes whose CPU time counts too
    ahead : batches that may wait ready-made when a turn begins
    samples : of a batch
    after : called after a turn
    """
    next(batches)
    print("ready", flush=True)
    for line in sys.stdin:
        for _ in range(ahead):
            next(batches)
        count, cpu, start = 0, cpu_seconds(workers), time.perf_counter()
        while time.perf_counter() - start < float(line):
            next(batches)
            count += samples
        wall, cpu = time.perf_counter() - start, cpu_seconds(workers) - cpu
        settle(workers)
        after()
        print(json.dumps({"rate": count / wall, "cpu": cpu / count * 1e3}), flush=True)


def settle(workers: Sequence[int]) -> None:
    """Wait until nothing is read ahead any more."""
    quiet, before = 0, cpu_seconds(workers)
    while quiet < 3:
        time.sleep(0.05)
        now = cpu_seconds(workers)
        quiet, before = (quiet + 1 if now - before < 0.005 else 0), now


class Reader:
    """One process that reads when asked."""

    def __init__(self, command: Sequence[str]) -> None:
        folder, env = Path(__file__).parent, {**os.environ, "OMP_NUM_THREADS": "1"}
        self.command = command
        self.process = subprocess.Popen(command, cwd=folder, env=env, stdin=-1, stdout=-1, text=True)
        self.answer("ready")

    def answer(self, wanted: str) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        while line and not line.startswith(wanted):  # libraries that print
            line = self.process.stdout.readline().strip()
        if not line:
            raise SystemExit(f"{' '.join(self.command)} ended without an answer")
        return line

    def turn(self, seconds: float) -> dict[str, float]:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        found: dict[str, float] = json.loads(self.answer("{"))
        return found

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)


def take_turns(commands: dict[str, tuple[Sequence[str], float]], rounds: int) -> dict[str, dict[str, Any]]:
    """Ask all readers in each round, one after another.

    Parameters
    ----------
    commands : command line and seconds of a turn, by name

    Returns
    -------
    medians of ``rate`` (samples/s) and ``cpu`` (ms per sample) by name, with all rates
    """
    readers: dict[str, Reader] = {}
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    try:
        for name, (command, _) in commands.items():
            readers[name] = Reader(command)
        for number in range(rounds + 1):  # the first warms
            for name, reader in readers.items():
                found = reader.turn(commands[name][1] if number else 0.5)
                if number:
                    turns[name].append(found)
                    print(f"{number} {name:34s} {found['rate']:9.0f} samples/s {found['cpu']:8.3f} ms", flush=True)
    finally:
        for reader in readers.values():
            reader.close()
    return {
        name: {
            "rate": median(one["rate"] for one in found),
            "cpu": median(one["cpu"] for one in found),
            "rates": [round(one["rate"], 1) for one in found],
        }
        for name, found in turns.items()
    }
