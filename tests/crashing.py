"""Conversions that are stopped on purpose: a gate that holds workers in the middle of a shard, processes to kill, stores to compare.

Run as a script it converts reBEN, with the gate in every process of its pool; ``dask worker --preload`` takes it too.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

FOLDER, PASSING, POISON = "GEODATA_TEST_GATE", "GEODATA_TEST_PASSING", "GEODATA_TEST_POISON"
LONG = 180.0


class Gate:
    """A folder: while ``shut`` is in it, whoever comes to the gate leaves its process id there and waits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def shut(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "shut").touch()

    def open(self) -> None:
        (self.folder / "shut").unlink()

    def held(self) -> list[int]:
        """Processes that wait and are alive."""
        return [int(p.name) for p in self.folder.iterdir() if p.name.isdigit() and alive(int(p.name))]

    def left(self) -> int:
        """How many of them are done with what they were held at."""
        return len(list(self.folder.glob("*.left")))

    def wait(self) -> None:
        (self.folder / str(os.getpid())).touch()
        while (self.folder / "shut").exists():
            time.sleep(0.01)

    def environment(self, passing: int = 0) -> dict[str, str]:
        """Let each process write so many shards before the gate holds it."""
        return {FOLDER: str(self.folder), PASSING: str(passing)}


def install() -> None:
    """Put a gate between the first half of a shard's bytes and the second, or a poison there, if the environment says so."""
    from geodata.files import LocalFiles, local

    folder, poison = os.environ.get(FOLDER), os.environ.get(POISON)
    if hasattr(LocalFiles, "gated") or not (folder or poison):
        return  # Dask imports what it preloads twice
    gate, passing, passed = Gate(Path(folder or "none")), int(os.environ.get(PASSING, 0)), itertools.count()
    put, write, now = LocalFiles.put, local._write, threading.local()

    def named(self: LocalFiles, name: str, parts: Any) -> None:
        now.name, now.held = name, False
        try:
            put(self, name, parts)
        finally:
            if now.held:
                (gate.folder / f"{os.getpid()}.left").touch()

    def halted(number: int, views: list[memoryview]) -> None:
        middle = len(views) // 2
        write(number, views[:middle])
        if poison and now.name == poison:
            os.kill(os.getpid(), signal.SIGKILL)
        if folder and "/c/" in now.name and next(passed) >= passing and (gate.folder / "shut").exists():
            now.held = True
            gate.wait()
        write(number, views[middle:])

    LocalFiles.put, LocalFiles.gated, local._write = named, True, halted


def alive(pid: int) -> bool:
    import psutil

    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def until(condition: Callable[[], Any], what: str, seconds: float = LONG) -> Any:
    """Wait for a condition and return what it gives."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
        time.sleep(0.02)
    return found


def die_with_parent() -> None:
    """Leave nothing behind where the tests themselves are killed; Linux alone can say so."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Run:
    """A process with a session of its own, and what it says."""

    def __init__(self, arguments: list[str], log: Path, environment: dict[str, str], cwd: Path | None = None) -> None:
        self.log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                arguments, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=cwd,
                env=os.environ | environment, start_new_session=True, preexec_fn=die_with_parent,
            )  # fmt: skip
        self.pid = self.process.pid

    def kill_all(self) -> None:
        """Kill it and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def ended(self, seconds: float = LONG) -> int:
        until(
            lambda: self.process.poll() is not None, f"the end of {self.process.args}; it said {self.text()}", seconds
        )
        return self.process.returncode

    def digest(self) -> str:
        """What a conversion that ended well printed."""
        assert self.ended() == 0, self.text()
        return self.text().split()[-1]


class Runs:
    """Processes of a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.all: list[Run] = []

    def start(self, *arguments: object, environment: dict[str, str] | None = None, cwd: Path | None = None) -> Run:
        log = self.folder / f"{len(self.all)}.log"
        run = Run([sys.executable, *map(str, arguments)], log, environment or {}, cwd)
        self.all.append(run)
        return run

    def convert(self, root: Path, out: Path, *how: object, environment: dict[str, str] | None = None) -> Run:
        return self.start(__file__, root, out, *how, environment=environment)


@contextmanager
def running(folder: Path) -> Iterator[Runs]:
    """Processes, all killed at the end."""
    runs = Runs(folder)
    try:
        yield runs
    finally:
        for run in runs.all:
            run.kill_all()


def tree(folder: Path) -> dict[str, str]:
    """All below a folder: SHA-256 of files by name, and folders."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "folder"
        for p in sorted(folder.rglob("*"))
    }


def finished(out: Path) -> dict[str, tuple[int, int]]:
    """Files of the shards that records tell of: which file it is, and when it was written."""
    import json

    found = {}
    for record in (out / ".geodata" / "shards").glob("*.json"):
        for array, file in json.loads(record.read_text())["arrays"].items():
            stat = (out / array / file["file"]).stat()
            found[f"{array}/{file['file']}"] = (stat.st_ino, stat.st_mtime_ns)
    return found


def busy(dask_worker: Any) -> int:
    """Tasks that a Dask worker is at."""
    return len(dask_worker.state.all_running_tasks)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("out")
    parser.add_argument("--shard", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--scheduler")
    given = parser.parse_args()
    from geodata.datasets import ReBEN
    from geodata.store import convert

    source = ReBEN(given.root, split=None, progress=False)
    print(convert(source, given.out, shard=given.shard, workers=given.workers, scheduler=given.scheduler))


install()

if __name__ == "__main__":
    main()
