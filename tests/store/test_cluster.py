"""Conversions by Dask: workers and schedulers that die, are not there, or are not as the one that asks."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from dataclasses import replace

import crashing
import distributed
import pytest
from crashing import Gate, Run, finished, running, tree, until

from geodata.datasets import ReBEN
from geodata.errors import MissingDependencyError, ReadError, StoreError
from geodata.files import PARTIAL
from geodata.store import backends, convert

ITEMS = 12


@pytest.fixture(scope="module")
def reben(tmp_path_factory):
    """A source, the store that an undisturbed conversion makes of it, and its digest."""
    root = tmp_path_factory.mktemp("reben")
    ReBEN.fake(root, ITEMS)
    out = tmp_path_factory.mktemp("whole") / "out.zarr"
    return root, out, convert(ReBEN(root, split=None), out, shard=1)


class Cluster:
    """A scheduler on this machine, and workers to be killed."""

    def __init__(self, runs, folder):
        self.runs, self.folder = runs, folder
        file = folder / "scheduler.json"
        self.scheduler = runs.start(
            "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", 0, "--no-dashboard",
            "--no-show", "--scheduler-file", file,
        )  # fmt: skip
        self.address = until(lambda: address_in(file), f"a scheduler; it said {self.scheduler.text()}")

    def start_worker(self, *, threads=1, environment=None, cwd=None) -> Run:
        return self.runs.start(
            "-m", "distributed.cli.dask_worker", self.address, "--host", "127.0.0.1", "--nthreads", threads, "--no-nanny",
            "--no-dashboard", "--preload", crashing.__file__, "--local-directory", self.folder / "dask",
            environment=environment, cwd=cwd,
        )  # fmt: skip

    def workers(self, count, **how) -> list[Run]:
        found = [self.start_worker(**how) for _ in range(count)]
        for worker in found:
            until(lambda w=worker: "Starting established connection" in w.text(), "a worker")
        return found


def address_in(file):
    try:
        return json.loads(file.read_text())["address"]
    except (OSError, ValueError):
        return None


@pytest.fixture
def cluster(tmp_path):
    with running(tmp_path) as runs:
        yield Cluster(runs, tmp_path)


@pytest.fixture
def gate(tmp_path):
    found = Gate(tmp_path / "gate")
    found.shut()
    return found


def stamps(out, names):
    return {name: ((out / name).stat().st_ino, (out / name).stat().st_mtime_ns) for name in names}


def test_a_worker_killed_in_a_shard(tmp_path, cluster, reben, gate):
    root, whole, digest = reben
    out = tmp_path / "out.zarr"
    workers = cluster.workers(2, environment=gate.environment(passing=9))
    run = cluster.runs.convert(root, out, "--scheduler", cluster.address)
    until(lambda: len(gate.held()) == 2, "two workers in a shard")
    assert len(list(out.rglob(f"*{PARTIAL}"))) == 2
    workers[0].kill_all()
    gate.open()
    assert run.digest() == digest
    assert tree(out) == tree(whole)


def test_all_killed_then_the_same_command(tmp_path, cluster, reben, gate):
    root, whole, digest = reben
    out = tmp_path / "out.zarr"
    workers = cluster.workers(2, environment=gate.environment(passing=9))
    run = cluster.runs.convert(root, out, "--scheduler", cluster.address)
    until(lambda: len(gate.held()) == 2, "two workers in a shard")
    for each in (run, *workers):
        each.kill_all()
    before = finished(out)
    assert before and len(list(out.rglob(f"*{PARTIAL}"))) == 2
    gate.open()
    cluster.workers(1, threads=2)
    assert convert(ReBEN(root, split=None), out, shard=1, scheduler=cluster.address) == digest
    assert stamps(out, before) == before
    assert tree(out) == tree(whole)


def test_workers_of_a_driver_that_died_do_no_harm(tmp_path, cluster, reben, gate):
    """They are still at their shards while another conversion goes on, ends and tidies."""
    root, whole, digest = reben
    out = tmp_path / "out.zarr"
    cluster.workers(2, environment=gate.environment(passing=9))
    run = cluster.runs.convert(root, out, "--scheduler", cluster.address)
    until(lambda: len(gate.held()) == 2, "two workers in a shard")
    run.kill_all()
    assert convert(ReBEN(root, split=None), out, shard=1) == digest
    gate.open()
    until(lambda: gate.left() == 2, "workers at the end of what they were held at")
    # Each is done with its task when it answers.
    with distributed.Client(cluster.address, set_as_default=False) as client:
        until(lambda: not any(client.processing().values()), "workers without tasks")
        until(lambda: not any(client.run(crashing.busy).values()), "workers that do nothing")
    assert tree(out) == tree(whole)


def test_the_scheduler_dies(tmp_path, cluster, reben, gate):
    root, whole, digest = reben
    out = tmp_path / "out.zarr"
    cluster.workers(2, environment=gate.environment(passing=9))
    run = cluster.runs.convert(root, out, "--scheduler", cluster.address)
    until(lambda: len(gate.held()) == 2, "two workers in a shard")
    cluster.scheduler.kill_all()
    gate.open()
    assert run.ended() == 1
    assert f"StoreError: the scheduler at {cluster.address} went away" in run.text(), run.text()
    for worker in cluster.runs.all:
        worker.kill_all()
    before = finished(out)
    assert before
    assert convert(ReBEN(root, split=None), out, shard=1) == digest
    assert stamps(out, before) == before
    assert tree(out) == tree(whole)


def test_what_a_cluster_cannot_do(tmp_path, cluster, reben, monkeypatch):
    """In one test, as starting workers takes longer than all of it."""
    root, whole, digest = reben
    source, out = ReBEN(root, split=None), tmp_path / "out.zarr"
    how = {"shard": 1, "scheduler": cluster.address}
    with pytest.raises(StoreError, match=f"scheduler at {cluster.address} has no workers; start some with dask worker"):
        convert(source, out, **how)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    cluster.workers(1, cwd=elsewhere)

    # A worker of another version.
    mine = backends._versions()
    with monkeypatch.context() as patch:
        patch.setattr(backends, "_versions", Versions(mine | {"geodata": "0.0.1", "numpy": None}))
        with pytest.raises(
            StoreError, match=r"has geodata .* \(here 0.0.1\), numpy .* \(here None\); install the same"
        ):
            convert(source, out, **how)

    # A worker that sees another place, or nothing, under the same path.
    other = tmp_path / "other.zarr"
    with monkeypatch.context() as patch:
        tasks = sys.modules["geodata.store.convert"].tasks_of
        patch.setattr(
            sys.modules["geodata.store.convert"],
            "tasks_of",
            lambda root, plan, todo: (replace(t, root=str(other)) for t in tasks(root, plan, todo)),
        )
        with pytest.raises(StoreError, match=f"does not see the store at {other}; put it where every worker can write"):
            convert(source, out, **how)
    assert not other.exists()

    # A file of the source that cannot be read names itself through the cluster too.
    victim = sorted((root / "BigEarthNet-S2").rglob("*_B8A.tif"))[5]
    data = victim.read_bytes()
    try:
        victim.write_bytes(data[: len(data) // 2])
        with pytest.raises(ReadError, match=victim.name):
            convert(source, out, **how)
    finally:
        victim.write_bytes(data)

    # Paths are those of the process that asks, not of the worker's folder; and all that failed above did no harm.
    monkeypatch.chdir(tmp_path)
    assert convert(ReBEN(os.path.relpath(root), split=None), "out.zarr", **how) == digest
    assert tree(out) == tree(whole)
    assert not list(elsewhere.iterdir())


class Versions:
    """What this process says of itself; a worker answers for itself."""

    def __init__(self, here):
        self.here, self.pid = here, os.getpid()

    def __call__(self):
        return self.here

    def __reduce__(self):
        return getattr, (backends, "_versions")


def test_workers_without_geodata(tmp_path, cluster, reben):
    root, _, _ = reben
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "geodata.py").write_text("raise ImportError('no geodata on this worker')\n")
    worker = cluster.runs.start(
        "-m", "distributed.cli.dask_worker", cluster.address, "--host", "127.0.0.1", "--nthreads", 1, "--no-nanny",
        "--no-dashboard", "--local-directory", tmp_path / "dask", environment={"PYTHONPATH": str(bare)},
    )  # fmt: skip
    until(lambda: "Starting established connection" in worker.text(), "a worker")
    with pytest.raises(StoreError, match=r"cannot say .*no geodata on this worker.*; install geodata there"):
        convert(ReBEN(root, split=None), tmp_path / "out.zarr", shard=1, scheduler=cluster.address)


@pytest.fixture
def closed_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_no_scheduler_there(tmp_path, reben, closed_port):
    root, _, _ = reben
    address = f"tcp://127.0.0.1:{closed_port}"
    start = time.monotonic()
    with pytest.raises(StoreError, match=f"no scheduler answers at {address}: .*; start one with dask scheduler"):
        convert(ReBEN(root, split=None), tmp_path / "out.zarr", scheduler=address)
    assert time.monotonic() - start < 60
    assert not (tmp_path / "out.zarr" / ".geodata" / "shards").exists()


@pytest.mark.parametrize("address", ["nowhere", "http://127.0.0.1:80", "tcp://127.0.0.1:notaport", ""])
def test_an_address_that_is_none(tmp_path, reben, address):
    root, _, _ = reben
    with pytest.raises(StoreError, match="no scheduler answers at"):
        convert(ReBEN(root, split=None), tmp_path / "out.zarr", scheduler=address)


def test_something_else_that_answers(tmp_path, reben):
    """A server that is no scheduler."""
    root, _, _ = reben
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        done = threading.Event()

        def answer():
            while not done.is_set():
                try:
                    with server.accept()[0] as line:
                        line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                except TimeoutError:
                    continue

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            with pytest.raises(StoreError, match="no scheduler answers at"):
                convert(
                    ReBEN(root, split=None), tmp_path / "out.zarr",
                    scheduler=f"tcp://127.0.0.1:{server.getsockname()[1]}",
                )  # fmt: skip
        finally:
            done.set()
            thread.join()


def test_distributed_is_optional(tmp_path, reben, monkeypatch):
    root, _, _ = reben
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'geodata\[cluster\]'"):
        convert(ReBEN(root, split=None), tmp_path / "out.zarr", scheduler="tcp://127.0.0.1:1")
