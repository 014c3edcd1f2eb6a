"""A conversion that was stopped anywhere, by whatever, ends with the same store when it is run again."""

from __future__ import annotations

import errno
import itertools
import os
import resource
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from crashing import POISON, Gate, alive, finished, running, tree, until
from makers import north_up, write_tif

from geodata.datasets import RasterDataset, ReBEN
from geodata.errors import ReadError, StoreError
from geodata.files import PARTIAL, LocalFiles
from geodata.store import convert, open_store, verify
from geodata.store.manifest import read_manifest

ITEMS = 12


@pytest.fixture(scope="module")
def reben(tmp_path_factory):
    """A source, the store that an undisturbed conversion makes of it, and its digest."""
    root = tmp_path_factory.mktemp("reben")
    ReBEN.fake(root, ITEMS)
    out = tmp_path_factory.mktemp("whole") / "out.zarr"
    return root, out, convert(ReBEN(root, split=None), out, shard=1)


@pytest.fixture
def runs(tmp_path):
    with running(tmp_path) as found:
        yield found


@pytest.fixture
def gate(tmp_path):
    found = Gate(tmp_path / "gate")
    found.shut()
    return found


def assert_resumed(runs, reben, out, *how):
    """The same command goes on, does nothing twice, and leaves the same store."""
    root, whole, digest = reben
    before = finished(out)
    assert runs.convert(root, out, *how).digest() == digest
    after = {name: ((out / name).stat().st_ino, (out / name).stat().st_mtime_ns) for name in before}
    assert after == before
    assert tree(out) == tree(whole)


def partials(out):
    return list(out.rglob(f"*{PARTIAL}"))


# ------------------------------------------------------------------ processes that die


def test_a_worker_killed_in_a_shard_is_replaced(tmp_path, reben, runs, gate):
    root, whole, digest = reben
    out = tmp_path / "out.zarr"
    run = runs.convert(root, out, "--workers", 2, environment=gate.environment(passing=9))
    held = until(lambda: len(gate.held()) == 2 and gate.held(), "two workers in a shard")
    assert partials(out) and len(finished(out)) >= 10
    os.kill(held[0], signal.SIGKILL)
    gate.open()
    assert run.digest() == digest
    assert tree(out) == tree(whole)


def test_all_killed_then_the_same_command(tmp_path, reben, runs, gate):
    root, _, _ = reben
    out = tmp_path / "out.zarr"
    run = runs.convert(root, out, "--workers", 2, environment=gate.environment(passing=9))
    until(lambda: len(gate.held()) == 2, "two workers in a shard")
    run.kill_all()
    assert len(partials(out)) == 2
    assert 0 < len(list((out / ".geodata/shards").iterdir())) < ITEMS
    with pytest.raises(StoreError, match="not finished"):
        open_store(out)
    with pytest.raises(StoreError, match="not finished"):
        verify(out)
    assert_resumed(runs, reben, out, "--workers", 2)


def test_workers_end_with_who_started_them(tmp_path, reben, runs, gate):
    root, _, _ = reben
    out = tmp_path / "out.zarr"
    run = runs.convert(root, out, "--workers", 2, environment=gate.environment(passing=9))
    held = until(lambda: len(gate.held()) == 2 and gate.held(), "two workers in a shard")
    os.kill(run.pid, signal.SIGKILL)
    until(lambda: not any(map(alive, held)), "the end of workers that nobody waits for", 60)
    assert_resumed(runs, reben, out)


@pytest.mark.parametrize("whom", ["driver", "group"])
def test_interrupted_by_the_keyboard(tmp_path, reben, runs, gate, whom):
    root, _, _ = reben
    out = tmp_path / "out.zarr"
    run = runs.convert(root, out, "--workers", 2, environment=gate.environment(passing=9))
    held = until(lambda: len(gate.held()) == 2 and gate.held(), "two workers in a shard")
    (os.kill if whom == "driver" else os.killpg)(run.pid, signal.SIGINT)
    # The gate stays shut: what workers are at is not waited for.
    assert run.ended(60) != 0
    until(lambda: not any(map(alive, held)), "the end of workers", 60)
    assert run.text().count("Traceback") == 1 and "KeyboardInterrupt" in run.text(), run.text()
    assert_resumed(runs, reben, out)


def test_a_shard_that_kills_is_given_up(tmp_path, reben, runs):
    root, whole, _ = reben
    out = tmp_path / "out.zarr"
    name = next(n for n in tree(whole) if n.endswith("c/7/0/0/0") and n.startswith("image_s1"))
    run = runs.convert(root, out, "--workers", 2, environment={POISON: name})
    assert run.ended() == 1
    assert "StoreError: workers died 3 times at shard (7, 0, 0)" in run.text()
    assert len(list((out / ".geodata/shards").iterdir())) >= 5
    assert_resumed(runs, reben, out, "--workers", 2)


def test_a_killed_conversion_in_one_process(tmp_path, reben, runs, gate):
    root, _, _ = reben
    out = tmp_path / "out.zarr"
    run = runs.convert(root, out, environment=gate.environment(passing=27))
    until(gate.held, "a shard that is being written")
    run.kill_all()
    assert len(partials(out)) == 1
    assert_resumed(runs, reben, out)


# ------------------------------------------------------------------ every state in between


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes")
    rng = np.random.default_rng(3)
    for i in range(5):
        data = rng.integers(0, 60000, (2, 6, 7)).astype(np.uint16)
        write_tif(root / f"{i}.tif", data, north_up(x=500000 + 200 * i), nodata=0)
    out = tmp_path_factory.mktemp("whole") / "out.zarr"
    source = RasterDataset(root)
    return source, out, convert(source, out, shard=2)


class StopError(Exception):
    pass


class Stopping(LocalFiles):
    """Files that stop everything at the n-th thing that is written or removed; torn: with half of it beside."""

    left = 0
    torn = False

    def put(self, name, parts):
        self._step(name, parts)
        super().put(name, parts)

    def delete(self, name):
        self._step(name, [])
        super().delete(name)

    def _step(self, name, parts):
        if Stopping.left == 0:
            if Stopping.torn and parts:
                path = self.path(f"{name}.0123{PARTIAL}")
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "wb") as file:
                    data = b"".join(bytes(part) for part in parts)
                    file.write(data[: len(data) // 2])
            raise StopError
        Stopping.left -= 1


def stopped(monkeypatch, source, out, step, torn=False):
    """Convert up to a step; whether it came so far."""
    with monkeypatch.context() as patch:
        for module in ("convert", "writing"):
            # By name: the package has a function of the name of the first.
            patch.setattr(sys.modules[f"geodata.store.{module}"], "files_at", Stopping)
        patch.setattr(Stopping, "left", step)
        patch.setattr(Stopping, "torn", torn)
        try:
            convert(source, out, shard=2)
        except StopError:
            return True
    return False


@pytest.mark.parametrize("torn", [False, True])
def test_every_prefix_of_what_is_written_leads_to_the_same_store(tmp_path, monkeypatch, scenes, torn):
    source, whole, digest = scenes
    wanted = tree(whole)
    values = open_store(whole)[3]["image"]
    opened = 0
    for step in itertools.count():
        out = tmp_path / f"{step}.zarr"
        if not stopped(monkeypatch, source, out, step, torn):
            break
        try:
            early = open_store(out)
        except StoreError:
            with pytest.raises(StoreError):
                verify(out)
        else:
            # What can be opened is whole.
            assert read_manifest(LocalFiles(str(out)))["digest"] == digest
            assert (early[3]["image"] == values).all()
            opened += 1
        assert convert(source, out, shard=2) == digest
        assert tree(out) == wanted, step
        shutil.rmtree(out)
    # root, plan, 3 shards with records, 4 chunks of what is small, 5 metadata, the root, and 4 removals
    assert step == 2 + 6 + 4 + 5 + 1 + 4
    assert opened == 4


def test_stopped_twice(tmp_path, monkeypatch, scenes):
    source, whole, digest = scenes
    wanted = tree(whole)
    for first, second in itertools.product(range(0, 22, 3), range(0, 18, 4)):
        out = tmp_path / f"{first}-{second}.zarr"
        stopped(monkeypatch, source, out, first, torn=True)
        stopped(monkeypatch, source, out, second, torn=True)
        assert convert(source, out, shard=2) == digest
        assert tree(out) == wanted, (first, second)


# ------------------------------------------------------------------ no room


def limited(monkeypatch, room):
    """Let the disk have so much room: a short write first, and then none."""
    left, writev = [room], os.writev

    def short(number, views):
        if left[0] <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        data = b"".join(bytes(view) for view in views)[: left[0]]
        done = writev(number, [data])
        left[0] -= done
        return done

    monkeypatch.setattr(os, "writev", short)


@pytest.mark.parametrize("room", [0, 100, 5_000, 40_000, 150_000])
def test_a_full_disk_says_so_and_leaves_nothing_half_written(tmp_path, monkeypatch, reben, room):
    root, whole, digest = reben
    source, out = ReBEN(root, split=None), tmp_path / "out.zarr"
    with monkeypatch.context() as patch:
        limited(patch, room)
        with pytest.raises(StoreError, match="the disk is full; free some space and run the same command again"):
            convert(source, out, shard=1)
    assert_only_whole_files(out, whole)
    assert convert(source, out, shard=1) == digest
    assert tree(out) == tree(whole)


def assert_only_whole_files(out, whole):
    """No partial file is left, and what has its final name is as in the whole store."""
    found, wanted = tree(out), tree(whole)
    assert not [name for name in found if name.endswith(PARTIAL)]
    for name, digest in found.items():
        if digest != "folder" and not name.startswith(".geodata/") and name != "zarr.json":
            assert wanted[name] == digest


def test_a_limit_of_the_size_of_files(tmp_path, reben):
    """The catalog fits, a shard does not."""
    root, whole, digest = reben
    source, out = ReBEN(root, split=None), tmp_path / "out.zarr"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
    try:
        with pytest.raises(StoreError, match=r"[Ff]ile too large"):
            convert(source, out, shard=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_only_whole_files(out, whole)
    assert convert(source, out, shard=1) == digest
    assert tree(out) == tree(whole)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 1 MiB that can grow; the tests above need none."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root can mount a disk of its own; a full disk is also tested by short writes")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_disk_that_is_full(small_disk, reben, workers):
    root, whole, digest = reben
    source, out = ReBEN(root, split=None), small_disk / "out.zarr"
    with pytest.raises(StoreError, match="the disk is full; free some space and run the same command again"):
        convert(source, out, shard=1, workers=workers)
    assert_only_whole_files(out, whole)
    subprocess.run(["mount", "-o", "remount,size=32m", small_disk], check=True)
    assert convert(source, out, shard=1, workers=workers) == digest
    assert tree(out) == tree(whole)


# ------------------------------------------------------------------ a source that cannot be read


@pytest.mark.parametrize("workers", [1, 2])
def test_one_damaged_file_of_the_source(tmp_path, reben, workers):
    root, whole, digest = reben
    mine, out = tmp_path / "reben", tmp_path / "out.zarr"
    shutil.copytree(root, mine)
    source = ReBEN(mine, split=None)
    victim = sorted((mine / "BigEarthNet-S2").rglob("*_B8A.tif"))[5]
    data = victim.read_bytes()
    victim.write_bytes(data[: len(data) // 2])
    with pytest.raises(ReadError) as caught:
        convert(source, out, shard=1, workers=workers)
    assert victim.name in str(caught.value) and "B8A" in str(caught.value)
    before = finished(out)
    assert before and not partials(out)
    with pytest.raises(ReadError, match=victim.name):
        convert(source, out, shard=1)
    victim.write_bytes(data)
    assert convert(source, out, shard=1, workers=workers) == digest
    assert {n: ((out / n).stat().st_ino, (out / n).stat().st_mtime_ns) for n in before} == before
    assert tree(out) == tree(whole)
