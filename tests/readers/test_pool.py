"""Handles of GDAL: bounded, one thread each, one process each, and never of a file that has changed."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from makers import write_tif

from geodata.errors import ReadError
from geodata.readers.pool import HandlePool


@pytest.fixture
def files(tmp_path):
    return [str(write_tif(tmp_path / f"{i}.tif", np.full((4, 4), i, np.uint8))) for i in range(6)]


def open_files(folder):
    links = [f"/proc/self/fd/{n}" for n in os.listdir("/proc/self/fd")]
    return sum(1 for link in links if os.path.exists(link) and os.readlink(link).startswith(str(folder)))


def test_a_handle_is_used_again_and_lent_to_one_at_a_time(files):
    pool = HandlePool()
    with pool.take(files[0]) as first, pool.take(files[0]) as second:
        assert first is not second
    assert len(pool) == 2
    with pool.take(files[0]) as third:
        assert third in (first, second) and len(pool) == 1
    pool.clear()
    assert len(pool) == 0 and first.closed and second.closed


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files by /proc")
def test_no_more_files_stay_open_than_the_limit(files, tmp_path):
    pool = HandlePool(limit=3)
    for path in files * 2:
        with pool.take(path) as src:
            src.read()
        assert len(pool) <= 3 and open_files(tmp_path) <= 3
    with pool.take(files[0]), pool.take(files[1]), pool.take(files[2]), pool.take(files[3]):
        assert open_files(tmp_path) <= 7
    assert len(pool) == 3 and open_files(tmp_path) == 3
    pool.clear()
    assert open_files(tmp_path) == 0


def test_the_least_recently_used_goes_first(files):
    pool = HandlePool(limit=2)
    held = {}
    for i in (0, 1, 0, 2):
        with pool.take(files[i]) as held[i]:
            pass
    assert held[1].closed and not held[0].closed and not held[2].closed
    pool.clear()


def test_a_file_with_several_handles_is_as_recent_as_the_last_of_them(files):
    pool = HandlePool(limit=3)
    with pool.take(files[0]), pool.take(files[0]):
        pass
    with pool.take(files[1]) as other:
        pass
    with pool.take(files[0]), pool.take(files[2]):
        pass
    assert other.closed and len(pool) == 3
    pool.clear()


def test_a_handle_that_failed_is_closed_and_not_kept(files):
    pool = HandlePool()
    with pytest.raises(ZeroDivisionError), pool.take(files[0]) as src:
        raise ZeroDivisionError
    assert src.closed and len(pool) == 0
    with pytest.raises(ReadError, match="cannot open"), pool.take("nowhere.tif"):
        pass


def test_a_file_can_be_dropped(files):
    pool = HandlePool()
    with pool.take(files[0]) as one, pool.take(files[0]) as two, pool.take(files[1]) as other:
        pass
    pool.drop(files[0])
    assert one.closed and two.closed and not other.closed and len(pool) == 1
    pool.drop(files[0])
    with pool.take(files[0]) as three:
        assert three not in (one, two)
    pool.clear()
    assert other.closed and three.closed and len(pool) == 0


def test_a_file_written_anew_gets_a_new_handle(files):
    pool = HandlePool()
    with pool.take(files[0]) as src:
        assert (src.read() == 0).all()
    write_tif(files[0], np.full((4, 4), 99, np.uint8))
    os.utime(files[0], ns=(1, 1))
    with pool.take(files[0]) as src:
        assert (src.read() == 99).all()
    for value in (1, 2):
        os.replace(write_tif(files[0] + ".new.tif", np.full((4, 4), value, np.uint8)), files[0])
        with pool.take(files[0]) as src:
            assert (src.read() == value).all()
    pool.clear()


def test_two_threads_never_share_a_handle(files):
    pool = HandlePool(limit=4)
    in_use, clashes, lock = set(), [], threading.Lock()
    start = threading.Barrier(6)

    def work(seed):
        rng = np.random.default_rng(seed)
        start.wait()
        for i in rng.integers(0, 3, 150):
            with pool.take(files[i]) as src:
                with lock:
                    if id(src) in in_use:
                        clashes.append(i)
                    in_use.add(id(src))
                if not (src.read() == i).all():
                    clashes.append(i)
                with lock:
                    in_use.remove(id(src))

    threads = [threading.Thread(target=work, args=(s,)) for s in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not clashes and len(pool) <= 4
    pool.clear()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_starts_empty_and_leaves_the_parents_handles_alone(files, tmp_path):
    script = textwrap.dedent(
        f"""
        import os
        from geodata.readers.pool import HandlePool
        pool = HandlePool()
        real, os.getpid = os.getpid, lambda: {os.getpid()}
        with pool.take({files[1]!r}) as src:
            parent = src
        os.getpid = real
        with pool.take({files[1]!r}) as src:
            other = src
        assert other is not parent
        child = os.fork()
        if child == 0:
            assert len(pool) == 0
            with pool.take({files[1]!r}) as src:
                assert src is not parent and (src.read() == 1).all()
            pool.clear()
            assert len(pool) == 0 and not parent.closed
            os.getpid = lambda: {os.getpid()}  # of an ancestor that is gone: numbers of processes are used again
            with pool.take({files[1]!r}) as src:
                assert src is not parent and (src.read() == 1).all()
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        with pool.take({files[1]!r}) as src:
            assert src is other and (src.read() == 1).all()
        """
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
