"""gd.Loader: the samples and order of a DataLoader, its errors, its end, and going on after a stop."""

from __future__ import annotations

import gc
import threading
import time

import numpy as np
import pytest
import torch
from makers import north_up, write_tif
from torch.utils.data import DataLoader

import geodata as gd
from geodata.datasets import RasterDataset
from geodata.errors import SamplerError
from geodata.samplers import GridPatchSampler, ItemSampler, RandomPatchSampler


@pytest.fixture(scope="module")
def ds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loader")
    rng = np.random.default_rng(0)
    for i in range(5):
        write_tif(
            folder / f"{i}.tif",
            rng.integers(1, 9000, (2, 40, 40)).astype(np.uint16),
            north_up(500000 + 500 * i),
            nodata=0,
        )
    return RasterDataset(folder)


SAMPLERS = {
    "random": lambda d: RandomPatchSampler(d, size=16, length=23, seed=4),
    "grid": lambda d: GridPatchSampler(d, size=16),
    "items": lambda d: ItemSampler(d, shuffle=True, seed=1),
    "none": lambda d: None,
    "list": lambda d: [3, 0, 0, 2],
}


def same(a, b):
    assert set(a) == set(b)
    for key, value in a.items():
        assert torch.equal(value, b[key]) if isinstance(value, torch.Tensor) else value == b[key], key


def loader_threads():
    return [t for t in threading.enumerate() if t.name.startswith("geodata-loader")]


def no_threads_left():
    end = time.monotonic() + 5
    while loader_threads() and time.monotonic() < end:
        time.sleep(0.01)
    return not loader_threads()


@pytest.mark.parametrize("kind", SAMPLERS)
@pytest.mark.parametrize("threads", [0, 1, 4])
@pytest.mark.parametrize("drop_last", [False, True])
def test_the_same_batches_as_a_data_loader(ds, kind, threads, drop_last):
    make = SAMPLERS[kind]
    options = {"batch_size": 3, "drop_last": drop_last}
    theirs = list(DataLoader(ds, sampler=make(ds), collate_fn=gd.collate, **options))
    loader = gd.Loader(ds, sampler=make(ds), threads=threads, **options)
    ours = list(loader)
    assert len(loader) == len(ours) == len(theirs) > 0
    for a, b in zip(ours, theirs, strict=True):
        same(a, b)
    assert no_threads_left()


def test_it_can_be_iterated_again_and_by_epochs(ds):
    sampler = RandomPatchSampler(ds, size=16, length=10, seed=0)
    loader = gd.Loader(ds, sampler=sampler, batch_size=4)
    first, again = list(loader), list(loader)
    for a, b in zip(first, again, strict=True):
        same(a, b)
    loader.set_epoch(1)
    other = list(loader)
    assert other[0]["draw"][0].tolist() == [1, 0] and not torch.equal(other[0]["image"], first[0]["image"])


class Failing:
    """A dataset whose sample number ``at`` cannot be read."""

    def __init__(self, ds, at):
        self.ds, self.at = ds, at

    def __len__(self):
        return len(self.ds)

    def __getitems__(self, queries):
        if any(q.index == self.at for q in queries):
            raise OSError(f"sample {self.at} is broken")
        return self.ds.__getitems__(queries)


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_an_error_in_the_middle_is_raised_in_its_place_and_threads_end(ds, threads):
    sampler = RandomPatchSampler(ds, size=16, length=40, seed=0)
    loader = gd.Loader(Failing(ds, 17), sampler=sampler, batch_size=4, threads=threads)
    seen = []
    with pytest.raises(OSError, match="sample 17 is broken"):
        seen.extend(batch["draw"][:, 1].tolist() for batch in loader)
    assert seen == [[4 * i + k for k in range(4)] for i in range(4)], "all batches before it come"
    assert no_threads_left()
    assert loader.state_dict()["consumed"] == 16


def test_an_error_of_the_sampler_is_raised_too(ds):
    def queries():
        yield gd.Query(row=0)
        raise RuntimeError("no more windows")

    class Breaking:
        def __iter__(self):
            return queries()

        def __len__(self):
            return 2

    with pytest.raises(RuntimeError, match="no more windows"):
        list(gd.Loader(ds, sampler=Breaking(), batch_size=1, threads=2))
    assert no_threads_left()


@pytest.mark.parametrize("threads", [1, 4])
def test_breaking_off_leaves_no_thread(ds, threads):
    loader = gd.Loader(ds, sampler=RandomPatchSampler(ds, size=16, length=400, seed=0), batch_size=2, threads=threads)
    for batch in loader:
        assert batch["image"].shape[0] == 2
        break
    gc.collect()
    assert no_threads_left()
    stream = iter(loader)
    next(stream)
    assert loader_threads()
    stream.close()
    assert not loader_threads()


def test_an_iterator_that_is_forgotten_ends_its_threads(ds):
    stream = iter(gd.Loader(ds, sampler=RandomPatchSampler(ds, size=16, length=400, seed=0), batch_size=2))
    next(stream)
    del stream
    gc.collect()
    assert no_threads_left()


def test_no_more_is_read_ahead_than_said(ds):
    read, lock = [], threading.Lock()

    class Counting:
        def __len__(self):
            return len(ds)

        def __getitems__(self, queries):
            with lock:
                read.extend(q.index for q in queries)
            return ds.__getitems__(queries)

    sampler = RandomPatchSampler(ds, size=16, length=100, seed=0)
    stream = iter(gd.Loader(Counting(), sampler=sampler, batch_size=2, threads=2, prefetch=3))
    for k in range(1, 6):
        next(stream)
        time.sleep(0.05)
        assert max(read) < 2 * (k + 6), "2 threads of 3 batches each, beyond those handed out"
    stream.close()


def test_threads_really_read_at_once(ds):
    met = threading.Barrier(3, timeout=5)

    class Meeting:
        def __len__(self):
            return 3

        def __getitems__(self, queries):
            met.wait()
            return ds.__getitems__(queries)

    assert len(list(gd.Loader(Meeting(), sampler=[0, 1, 2], batch_size=1, threads=3))) == 3


def test_threads_that_search_by_place_at_once_find_the_same(tmp_path):
    """The tree of the follower is first asked for, and so built, by several threads at once."""
    pixels = np.arange(160 * 160, dtype=np.float32).reshape(160, 160)
    write_tif(tmp_path / "a" / "a.tif", pixels)
    write_tif(tmp_path / "b" / "b.tif", pixels)
    lead = RasterDataset(tmp_path / "a")
    sampler = RandomPatchSampler(lead, size=16, length=120, seed=0)
    for _ in range(3):
        joined = lead & RasterDataset(tmp_path / "b", name="b").tile(10)
        joined.links[0].dataset.catalog.__dict__.pop("tree", None)
        for batch in gd.Loader(joined, sampler=sampler, batch_size=4, threads=6):
            assert batch["valid_b"].all() and torch.equal(batch["image"], batch["image_b"])


# ---------------------------------------------------------------------- going on


@pytest.mark.parametrize("threads", [0, 3])
@pytest.mark.parametrize("kind", ["random", "grid", "items"])
@pytest.mark.parametrize("batches", [0, 1, 2])
def test_a_run_goes_on_after_the_batches_that_were_handed_out(ds, kind, threads, batches):
    whole = list(gd.Loader(ds, sampler=SAMPLERS[kind](ds), batch_size=2, threads=0))
    loader = gd.Loader(ds, sampler=SAMPLERS[kind](ds), batch_size=2, threads=threads)
    stream = iter(loader)
    for _ in range(batches):
        next(stream)
    state = loader.state_dict()
    assert state["consumed"] == 2 * batches, "whatever was read ahead"
    stream.close()
    resumed = gd.Loader(ds, sampler=SAMPLERS[kind](ds), batch_size=2, threads=threads)
    resumed.load_state_dict(state)
    assert len(resumed) == len(whole) - batches and resumed.state_dict() == state
    rest = list(resumed)
    assert len(rest) == len(whole) - batches
    for a, b in zip(rest, whole[batches:], strict=True):
        same(a, b)
    assert resumed.state_dict()["consumed"] == sum(len(b["key"]) for b in whole)


def test_going_on_twice(ds):
    def loader():
        return gd.Loader(ds, sampler=RandomPatchSampler(ds, size=16, length=20, seed=0), batch_size=3, threads=2)

    seen, state = [], loader().state_dict()
    for take in (2, 1, 10):
        run = loader()
        run.load_state_dict(state)
        stream = iter(run)
        for _, batch in zip(range(take), stream, strict=False):
            seen += batch["draw"][:, 1].tolist()
            state = run.state_dict()
        stream.close()
    assert seen == list(range(20)) and state["consumed"] == 20


def test_the_state_of_a_second_pass_counts_from_its_beginning(ds):
    loader = gd.Loader(ds, sampler=ItemSampler(ds), batch_size=2)
    list(loader)
    stream = iter(loader)
    next(stream)
    assert loader.state_dict()["consumed"] == 2
    stream.close()
    loader.set_epoch(1)
    assert loader.state_dict() | {"plan": ""} == {"seed": 0, "epoch": 1, "consumed": 0, "plan": ""}


def test_ranks_count_over_all_of_them(ds):
    loader = gd.Loader(ds, sampler=RandomPatchSampler(ds, size=16, length=20, seed=0, rank=1, world=4), batch_size=2)
    stream = iter(loader)
    assert next(stream)["draw"][:, 1].tolist() == [1, 5]
    assert loader.state_dict()["consumed"] == 8
    stream.close()


def test_only_samplers_with_a_state_can_be_resumed(ds):
    loader = gd.Loader(ds, sampler=[0, 1])
    assert len(list(loader)) == 2
    with pytest.raises(SamplerError, match=r"list keeps no state; use a sampler of geodata\.samplers to resume"):
        loader.state_dict()
    for call in (lambda: loader.set_epoch(1), lambda: loader.load_state_dict({"consumed": 1})):
        with pytest.raises(SamplerError, match="list keeps no"):
            call()


@pytest.mark.parametrize(
    "options",
    [{"batch_size": 0}, {"threads": -1}, {"prefetch": 0}, {"batch_size": None}, {"threads": 1.5}, {"prefetch": "2"}],
)
def test_numbers_that_make_no_sense(ds, options):
    with pytest.raises(SamplerError, match="must be a whole number of at least"):
        gd.Loader(ds, **options)


def test_another_collate(ds):
    loader = gd.Loader(ds, batch_size=2, threads=1, collate_fn=lambda samples: [s["key"] for s in samples])
    assert list(loader) == [["0", "1"], ["2", "3"], ["4"]]
