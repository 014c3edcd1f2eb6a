"""The clock, the sums that prove equal pixels, and the one line of JSON that a measurement prints."""

from __future__ import annotations

import argparse
import cProfile
import hashlib
import json
import os
import pstats
import resource
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from workloads import BY_NAME, DATA, Counting, Reading


def cpu_seconds() -> float:
    """CPU time of this process and of its finished children, user and system."""
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)


def peak_mb() -> float:
    """Largest resident size so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Clock:
    """Adds up CPU and wall time of the blocks that it is entered for."""

    def __init__(self, profile: bool = False) -> None:
        self.cpu = self.wall = 0.0
        self.profiler = cProfile.Profile() if profile else None

    def __enter__(self) -> Clock:
        self._start = cpu_seconds(), time.perf_counter()
        if self.profiler:
            self.profiler.enable()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.profiler:
            self.profiler.disable()
        self.cpu += cpu_seconds() - self._start[0]
        self.wall += time.perf_counter() - self._start[1]

    def top(self, count: int = 22) -> list[str]:
        """Functions with the largest cumulative time: that, their own time, calls, name."""
        if self.profiler is None:
            return []
        stats = pstats.Stats(self.profiler).stats  # type: ignore[attr-defined]
        rows = sorted(((total, own, calls, place) for place, (_, calls, own, total, _) in stats.items()), reverse=True)
        return [
            f"{total * 1e3:9.1f} ms {own * 1e3:9.1f} ms own {calls:7d} x  {_name(*place)}"
            for total, own, calls, place in rows[:count]
        ]


def _name(path: str, line: int, function: str) -> str:
    if path == "~":
        return function
    parts = path.replace(os.sep, "/").split("/")
    start = next((i for i, part in enumerate(parts) if part in ("geodata", "site-packages")), len(parts) - 1)
    return f"{'/'.join(parts[start:]).removeprefix('site-packages/')}:{line} {function}"


class Tally:
    """Sums of images and masks per batch, and a digest of all their bytes."""

    def __init__(self) -> None:
        self.sums: list[list[float]] = []
        self.digest = hashlib.sha256()
        self.samples = 0
        self.shape: list[list[int]] = []

    def add(self, batch: dict[str, Any]) -> None:
        tensors = [batch[key] for key in sorted(batch) if key.startswith(("image", "mask"))]
        self.sums.append([float(tensor.double().sum()) for tensor in tensors])
        for tensor in tensors:
            self.digest.update(tensor.contiguous().numpy())
        self.samples += len(tensors[0])
        self.shape = [list(tensor.shape[1:]) for tensor in tensors]


def read(batches: Iterable[dict[str, Any]], options: Any) -> dict[str, Any]:
    """Take all batches; only the time of making them counts."""
    clock, tally = Clock(options.profile), Tally()
    iterator = iter(batches)
    while True:
        with clock:
            batch = next(iterator, None)
        if batch is None:
            break
        if options.keep and not tally.samples:
            np.savez(options.keep, **{key: batch[key].numpy() for key in batch if key in ("image", "mask")})
        tally.add(batch)
    return {
        "cpu": clock.cpu / tally.samples * 1e3,
        "unit": "ms",
        "rate": tally.samples / clock.wall,
        "samples": tally.samples,
        "shape": tally.shape,
        "sums": tally.sums,
        "digest": tally.digest.hexdigest(),
        "profile": clock.top(),
    }


def count(work: Callable[[], Any], n: int, scale: float, profile: bool) -> dict[str, Any]:
    """CPU time of something, divided by n and scaled from seconds to the unit of the table."""
    clock = Clock(profile)
    with clock:
        result = work()
    return {"cpu": clock.cpu / n * scale, "samples": n, "result": result, "profile": clock.top()}


def warm(files: Iterable[str]) -> None:
    """Bring files into the page cache: what is compared is work, not the disk's mood."""
    for path in files:
        with open(path, "rb", buffering=0) as file:
            while file.read(1 << 22):
                pass


def boxes(name: str) -> list[list[float]]:
    """Boxes that the peer drew: x0, x1, y0, y1 in metres, first and last time in seconds, None without one."""
    found: list[list[float]] = json.loads((DATA / f"boxes/{name}.json").read_text())
    return found


def main(side: str, reading: Callable[[Reading, Any], dict], countings: dict[str, Callable[[Any], dict]]) -> None:
    """Measure what the command line names and print one line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=list(BY_NAME) + [name for name in countings if name not in BY_NAME])
    parser.add_argument("--samples", type=int, help="patches, or things to count, instead of the usual number")
    parser.add_argument(
        "--profile", action="store_true", help="say where the time goes; the time itself is then larger"
    )
    parser.add_argument("--keep", help="file (.npz) to write the first batch to")
    options = parser.parse_args()
    line = BY_NAME.get(options.name)
    if isinstance(line, Reading):
        os.environ.update(line.env)  # before anything loads GDAL
        options.samples = options.samples or line.samples
        found = reading(line, options)
    elif options.name in countings:
        found = countings[options.name](options)
    else:
        parser.error(f"{options.name} is not measured on this side")
    if isinstance(line, Counting):
        found["unit"] = line.unit
    print(json.dumps({"side": side, "name": options.name, **found, "peak_mb": peak_mb()}))
