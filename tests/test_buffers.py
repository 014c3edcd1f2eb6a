"""Memory of batches: it comes back when the last holder is gone, never before, and no more is kept than was in use."""

from __future__ import annotations

import copy
import gc
import io
import itertools
import random
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geodata import buffers
from geodata.buffers import RELEASED, Pool
from geodata.errors import GridError
from geodata.spot import room

SHAPE = (4, 3, 8, 8)


def address(array):
    return array.__array_interface__["data"][0]


@pytest.fixture
def pool():
    return Pool()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64, np.float32, np.float64, np.bool_])
def test_arrays_are_as_asked_for_and_over_used_memory(pool, dtype):
    first = pool.array(SHAPE, dtype)
    assert first.shape == SHAPE and first.dtype == dtype and first.flags.c_contiguous and first.flags.writeable
    assert torch.from_numpy(first).data_ptr() == address(first)
    where = address(first)
    second = pool.array(SHAPE, dtype)
    assert not np.shares_memory(first, second)
    del first
    assert address(pool.array(SHAPE, dtype)) == where
    assert pool.array((), dtype).shape == () and pool.array((3, 0), dtype).shape == (3, 0)


HOLDERS = {
    "array": lambda a: a,
    "slice": lambda a: a[1:],
    "element view": lambda a: a[2][1],
    "other dtype": lambda a: a.view(np.uint8),
    "reshaped": lambda a: a.reshape(-1)[5:7],
    "transposed": lambda a: a.T,
    "strides": lambda a: np.lib.stride_tricks.sliding_window_view(a, (2, 2), axis=(2, 3)),
    "memoryview": lambda a: memoryview(a)[1:],
    "list": lambda a: [{"x": a[0]}],
    "tensor": torch.from_numpy,
    "tensor of a slice": lambda a: torch.from_numpy(a[1]),
    "part": lambda a: torch.from_numpy(a).unbind()[3],
    "view of a view": lambda a: torch.from_numpy(a)[1][0][2:],
    "as_strided": lambda a: torch.from_numpy(a).as_strided((2, 2), (1, 1)),
    "detached": lambda a: torch.from_numpy(a).detach()[0],
    "back to numpy": lambda a: torch.from_numpy(a).unbind()[1].numpy()[1:],
    "storage": lambda a: torch.from_numpy(a).untyped_storage(),
    "dlpack": lambda a: np.from_dlpack(torch.from_numpy(a)),
    "graph": lambda a: (torch.from_numpy(a) * torch.ones(1, requires_grad=True)).sum(),
    "shallow copy": lambda a: copy.copy(torch.from_numpy(a)),
}


@pytest.mark.parametrize("kind", HOLDERS)
def test_whoever_can_see_it_keeps_it(pool, kind):
    array = pool.array(SHAPE, np.float32)
    array[:] = 1
    where, size = address(array), pool.lent
    held = HOLDERS[kind](array)
    del array
    assert pool.lent == size and pool.free == 0
    assert address(pool.array(SHAPE, np.float32)) != where
    del held
    gc.collect()
    assert pool.lent == 0 and pool.free > 0


LEAVERS = {
    "copy": lambda a: a.copy(),
    "clone": lambda a: torch.from_numpy(a).clone(),
    "saved": lambda a: torch.save(torch.from_numpy(a), io.BytesIO()),
    "deep copy": lambda a: copy.deepcopy(torch.from_numpy(a)),
    "shared memory": lambda a: torch.from_numpy(a).share_memory_(),
    "nothing": lambda a: None,
}


@pytest.mark.parametrize("kind", LEAVERS)
def test_copies_do_not_keep_it(pool, kind):
    array = pool.array(SHAPE, np.float32)
    array[:] = 7
    held = LEAVERS[kind](array)
    del array
    assert pool.lent == 0 and pool.free > 0
    pool.array(SHAPE, np.float32)[:] = 3
    if isinstance(held, torch.Tensor):
        assert (held == 7).all()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 120))
def test_nothing_that_is_held_changes(seed, steps):
    """Arrays of random sizes, held for random times: each still has its own number at the end, and no two share a byte."""
    rng, pool, held, most = random.Random(seed), Pool(debug=bool(seed % 2)), [], 0
    for number in range(steps):
        if held and rng.random() < 0.5:
            held.pop(rng.randrange(len(held)))
        array = pool.array((rng.choice([1, 2, 3, 50, 51, 700]), 16), np.int64)
        array[:] = number
        tensor = torch.from_numpy(array)
        held.append((number, rng.choice([tensor, tensor[0], tensor.unbind()[-1], array[:1]])))
        del array, tensor
        most = max(most, pool.lent)
        assert pool.lent + pool.free <= most, "never more than was in use at once"
        assert all(bool((value == n).all()) for n, value in held)
    spans = sorted((v.data_ptr(), v.nbytes) for v in (torch.as_tensor(v) for _, v in held))
    assert all(a + n <= b for (a, n), (b, _) in itertools.pairwise(spans))
    held.clear()
    assert pool.lent == 0 and pool.free <= most


def test_what_is_too_much_goes_in_the_order_of_use(pool):
    large = pool.array((1000,), np.int64)
    del large
    small = [pool.array((500,), np.int64) for _ in range(2)]
    assert pool.lent + pool.free <= 8192, "the large one made room"
    del small
    assert pool.free == 8192
    again = pool.array((1000,), np.int64)
    assert (pool.lent, pool.free) == (8192, 0)
    del again


def test_sizes_that_differ_little_share_memory(pool):
    where = address(pool.array((1000,), np.uint8))
    assert address(pool.array((990,), np.uint8)) == where
    large = 10**6
    assert pool.array((large,), np.uint8).nbytes == large and pool.free <= large * 9 / 8 + 2048


def test_memory_that_came_back_shows_in_debug():
    pool = Pool(debug=True)
    array = pool.array((100,), np.uint8)
    array[:] = 1
    where = address(array)
    view = torch.from_numpy(array)[10:]
    del array
    assert (view == 1).all()
    del view
    again = pool.array((100,), np.uint8)
    assert address(again) == where and (again == RELEASED).all()
    plain = Pool()
    plain.array((100,), np.uint8)[:] = 1
    assert (plain.array((100,), np.uint8) == 1).all(), "without debug nothing is written"


def test_arrays_outlive_the_pool():
    pool = Pool(debug=True)
    array = pool.array(SHAPE, np.float32)
    array[:] = 5
    tensor = torch.from_numpy(array)[1:]
    del pool, array
    gc.collect()
    assert (tensor == 5).all()


def test_the_current_pool_is_that_of_the_thread():
    outer, inner, seen = Pool(), Pool(), []
    assert buffers.current() is None
    with outer:
        with inner:
            assert buffers.current() is inner
        assert buffers.current() is outer
        other = threading.Thread(target=lambda: seen.append(buffers.current()))
        other.start()
        other.join()
        array = room((3, 4), np.float32)
        with pytest.raises(RuntimeError, match="in the middle"):
            raise RuntimeError("in the middle")
    assert seen == [None] and buffers.current() is None
    assert outer.lent > 0 and array.shape == (3, 4)
    with pytest.raises(RuntimeError), outer:
        raise RuntimeError
    assert buffers.current() is None


def test_what_does_not_fit_is_said_in_a_pool_too():
    with Pool() as pool, pytest.raises(GridError, match="more than there is"):
        room((2**20, 2**20, 2**10), np.float64)
    assert (pool.lent, pool.free) == (0, 0)
    pool.array((10,), np.uint8)
    assert pool.free == 64


def test_an_interrupt_while_an_array_is_made(pool, monkeypatch):
    """The array is gone and nobody noted it down: its memory goes back to the system, and the pool works on."""

    class Stopping(dict):
        def __setitem__(self, key, value):
            raise KeyboardInterrupt

    kept = pool._lent
    monkeypatch.setattr(pool, "_lent", Stopping())
    with pytest.raises(KeyboardInterrupt):
        pool.array(SHAPE, np.float32)
    monkeypatch.setattr(pool, "_lent", kept)
    gc.collect()
    array = pool.array(SHAPE, np.float32)
    assert (pool.lent, pool.free) == (array.nbytes, 0)


def test_another_allocator():
    asked = []

    def allocate(shape, dtype):
        asked.append((shape, dtype))
        return np.empty(shape, dtype)

    pool = Pool(allocate)
    assert pool.array((2, 3), np.uint16).shape == (2, 3)
    assert asked == [((2, 3), np.dtype(np.uint16))] and pool.lent == pool.free == 0


def test_many_threads_at_once():
    pool, wrong = Pool(debug=True), []
    started = threading.Barrier(6)

    def work(number):
        rng, held = random.Random(number), []
        started.wait()
        for _ in range(400):
            array = pool.array((rng.choice([8, 64, 65, 300]),), np.int64)
            array[:] = number
            held.append(torch.from_numpy(array)[1:])
            del array
            if len(held) > 4:
                wrong.extend(h for h in held if not bool((h == number).all()))
                held.pop(rng.randrange(5))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    assert pool.lent == 0 and pool.free <= 6 * 6 * 3072


def test_what_ends_while_the_pool_is_at_work(pool, monkeypatch):
    """The collector may end arrays in the thread that holds the pool's lock: it must not wait for itself."""
    cycle = [pool.array((100,), np.uint8)]
    cycle.append(cycle)
    del cycle
    take = pool._found

    def collecting(size):
        gc.collect()
        return take(size)

    monkeypatch.setattr(pool, "_found", collecting)
    worker = threading.Thread(target=pool.array, args=((100,), np.uint8), daemon=True)
    worker.start()
    worker.join(10)
    assert not worker.is_alive()
