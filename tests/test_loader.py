"""gd.Loader: the samples and order of a DataLoader, its errors, its end, and going on after a stop."""

from __future__ import annotations

import ctypes
import gc
import os
import random
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from functools import partial

import geopandas
import numpy as np
import pytest
import shapely
import torch
import xarray
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import north_up, write_tif
from torch.utils.data import DataLoader

import geodata as gd
from geodata import buffers
from geodata.buffers import RELEASED, Pool
from geodata.datasets import RasterDataset, VectorDataset, XarrayDataset, registry
from geodata.errors import SamplerError
from geodata.mixture import Mixture
from geodata.samplers import GridPatchSampler, ItemSampler, MixedSampler, RandomPatchSampler


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
    if isinstance(a, tuple):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            same(one, other)
        return
    assert list(a) == list(b)
    for key, value in a.items():
        assert equal(value, b[key]), key


def equal(a, b):
    """Bit by bit."""
    if isinstance(a, torch.Tensor):
        alike = a.shape == b.shape and a.dtype == b.dtype and a.is_contiguous() == b.is_contiguous()
        return alike and a.numpy().tobytes() == b.numpy().tobytes()
    if isinstance(a, list):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


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


# ---------------------------------------------------------------------- every kind of dataset


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Scenes of three places and two dates, another sensor there, scenes of unequal size, fields, a cube, two archives."""
    root = tmp_path_factory.mktemp("kinds")
    rng = np.random.default_rng(1)
    for place in range(3):
        x = 500000 + 400 * place
        for month in (1, 2):
            pixels = rng.integers(0, 9000, (2, 40, 40)).astype(np.uint16)
            write_tif(root / "s2" / f"{place}_20200{month}01.tif", pixels, north_up(x), nodata=0)
        radar = rng.normal(size=(1, 20, 20)).astype(np.float32)
        write_tif(root / "s1" / f"{place}.tif", radar, north_up(x, res=20))
        odd = rng.integers(1, 255, (1, 20 + place, 30 - place)).astype(np.uint8)
        write_tif(root / "odd" / f"{place}.tif", odd, north_up(x))
    boxes = [shapely.box(500000 + 110 * i, 5599650 + 10 * i, 500060 + 110 * i, 5599950) for i in range(10)]
    fields = geopandas.GeoDataFrame({"crop": ["a", "b"] * 5}, geometry=boxes, crs="EPSG:32633")
    fields.to_file(root / "fields.gpkg")
    values = rng.normal(size=(3, 2, 24, 20)).astype(np.float32)
    place = {"x": 500005 + 10 * np.arange(20), "y": 5599995 - 10 * np.arange(24)}
    dates = np.array(["2020-01-05", "2020-02-01", "2020-02-17"], dtype="datetime64[ns]")
    cube = xarray.Dataset({"s": (("time", "band", "y", "x"), values)}, {**place, "time": dates, "band": [1, 2]})
    cube.s.attrs["grid_mapping"] = "spatial_ref"
    cube = cube.assign_coords(spatial_ref=0)
    cube.spatial_ref.attrs["crs_wkt"] = gd.crs.as_crs(32633).to_wkt()
    cube.to_netcdf(root / "cube.nc", engine="h5netcdf")
    for name in ("reben", "vhr10"):
        (root / name).mkdir()
        registry.get(name).fake(root / name, 7)
    return root


PLACED = r"(?P<place>\d)_(?P<date>\d{8})\.tif$"


def scenes(root, **options):
    return RasterDataset(root / "s2", pattern=PLACED, **options)


def mixture(root):
    return Mixture({"a": scenes(root), "b": scenes(root).take([1, 3])})


def two_views(ds):
    queries = list(RandomPatchSampler(ds, size=8, length=30, seed=2))
    return list(zip(queries[::2], queries[1::2], strict=True))


def patches(ds):
    return RandomPatchSampler(ds, size=12, length=11, seed=3)


def mixed(ds):
    return MixedSampler({name: patches(d) for name, d in zip(ds.names, ds.datasets, strict=True)}, seed=1)


def anywhere(ds):
    """Queries by place: boxes that lie over several items, and that no item fills."""
    return [gd.Query(grid=gd.Grid((10, 14), (15, 0, 500000 + 77 * i, 0, -15, 5599990), 32633)) for i in range(9)]


KINDS = {
    "raster": (scenes, patches),
    "mosaic": (scenes, anywhere),
    "views": (scenes, two_views),
    "transformed": (lambda r: scenes(r, transforms=lambda s: s | {"image": s["image"].float() / 7}), patches),
    "tiles": (lambda r: scenes(r).tile(16, edge="drop"), lambda d: None),
    "two sensors": (lambda r: scenes(r) & RasterDataset(r / "s1", name="s1"), patches),
    "fields": (lambda r: scenes(r) & VectorDataset(r / "fields.gpkg", label="crop"), patches),
    "boxes": (lambda r: scenes(r) & VectorDataset(r / "fields.gpkg", label="crop", task="boxes"), patches),
    "series": (lambda r: scenes(r).series("place"), patches),
    "mixture": (mixture, mixed),
    "mixture of items": (mixture, lambda d: None),
    "cube": (lambda r: XarrayDataset(r / "cube.nc"), patches),
    "series of a cube": (lambda r: XarrayDataset(r / "cube.nc").series(), patches),
    "archive": (lambda r: registry.get("reben")(r / "reben", split=None, native=True), lambda d: None),
    "archive of unequal items": (lambda r: registry.get("vhr10")(r / "vhr10"), lambda d: None),
    "unequal": (lambda r: RasterDataset(r / "odd"), lambda d: [2, 0, 1, 1, 2]),
}
UNEQUAL = partial(gd.collate, pad=3)


@pytest.mark.parametrize("threads", [0, 1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_dataset_gives_the_same_batches(folder, kind, threads):
    """Loaders write over what they read before; a copy of each batch is taken while it is held, and all are compared."""
    make, sample = KINDS[kind]
    ds = make(folder)
    collate = UNEQUAL if "unequal" in kind else gd.collate
    wanted = list(DataLoader(ds, sampler=sample(ds), batch_size=4, collate_fn=collate))
    count = 0
    for epoch in range(2):
        loader = gd.Loader(ds, sampler=sample(ds), batch_size=4, threads=threads, collate_fn=collate, debug=bool(epoch))
        for got, want in zip(loader, wanted, strict=True):
            same(got, want)
            count += 1
    assert count == 2 * len(wanted) >= 4
    held = list(gd.Loader(ds, sampler=sample(ds), batch_size=4, threads=threads, collate_fn=collate, debug=True))
    for got, want in zip(held, wanted, strict=True):
        same(got, want)


# ---------------------------------------------------------------------- memory


@pytest.fixture
def pools(monkeypatch):
    """The pools that loaders make, weakly."""
    made = []

    def make(*args, **options):
        pool = Pool(*args, **options)
        made.append(weakref.ref(pool))
        return pool

    monkeypatch.setattr("geodata.loader.Pool", make)
    return made


def addresses(batch):
    return {v.untyped_storage().data_ptr() for v in batch.values() if isinstance(v, torch.Tensor)}


def long(ds, length=400):
    return RandomPatchSampler(ds, size=16, length=length, seed=0)


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_memory_of_batches_that_are_dropped_is_used_again(ds, threads, pools):
    seen, most = [], 0
    for batch in gd.Loader(ds, sampler=long(ds), batch_size=2, threads=threads):
        seen.append(addresses(batch))
        (pool,) = pools
        most = max(most, pool().lent + pool().free)
    assert len(seen) == 200
    # Image, valid and draw, 2 x 2 x 16 x 16 x 4 + 2 x 16 x 16 + 64 bytes, of the batches read ahead, in hand, and on the way.
    ring = threads * 2 + 3
    assert len(set.union(*seen)) <= 3 * ring
    assert most <= ring * 1.125 * (4096 + 512 + 64)
    del batch
    gc.collect()
    assert pools[0]() is None, "the pool ends with the loop"


def test_the_memory_in_use_does_not_grow(folder, pools):
    ds = Mixture([RasterDataset(folder / "odd"), scenes(folder).take([0, 1])])
    order = [random.Random(0).randrange(len(ds)) for _ in range(800)]
    pad = partial(gd.collate, pad={"image": 0})
    loader = gd.Loader(
        ds, sampler=order, batch_size=4, collate_fn=lambda s: pad([{"image": x["image"].float()} for x in s])
    )
    sizes = [pools[0]().lent + pools[0]().free for _ in loader]
    assert len(sizes) == 200 and max(sizes[50:]) <= 2 * max(sizes[:50])


PARTS = [lambda v: v, lambda v: v[-1, 1], lambda v: v.numpy()[0], lambda v: v.unbind()[0][:, 3]]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), threads=st.sampled_from([0, 1, 3]), batch_size=st.integers(1, 4))
def test_what_is_held_never_changes(ds, seed, threads, batch_size):
    """Whole batches, parts and arrays of some, held for random times, are what they were; the rest is used again."""
    rng, held = random.Random(seed), []
    loader = gd.Loader(ds, sampler=long(ds, 60), batch_size=batch_size, threads=threads, debug=True)
    for batch in loader:
        image = batch["image"]
        part = rng.choice(PARTS)(image)
        held.append((part, np.asarray(part).copy()))
        del batch, image, part
        while len(held) > 3:
            held.pop(rng.randrange(len(held)))
        for value, copy in held:
            assert np.array_equal(np.asarray(value), copy)
        starts = [torch.as_tensor(value).untyped_storage().data_ptr() for value, _ in held]
        assert len(set(starts)) == len(starts)


@pytest.mark.parametrize("threads", [0, 2])
def test_a_use_after_the_end_shows_with_debug(ds, threads):
    """What holds no reference, as a bare address, sees the pattern as soon as the caller lets go: the loader holds nothing."""
    stream = iter(gd.Loader(ds, sampler=long(ds, 2), batch_size=2, threads=threads, debug=True))
    batch = next(stream)
    address, size = batch["image"].data_ptr(), batch["image"].nbytes
    copy = batch["image"].clone()
    bare = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
    assert bare.tobytes() == copy.numpy().tobytes()
    del batch
    assert (bare == RELEASED).all()
    stream.close()


@pytest.mark.parametrize("threads", [0, 2])
def test_a_batch_that_is_kept_for_ever_outlives_its_loader(ds, threads):
    kept = next(iter(gd.Loader(ds, sampler=long(ds), batch_size=2, threads=threads, debug=True)))
    gc.collect()
    same(kept, next(iter(DataLoader(ds, sampler=long(ds), batch_size=2, collate_fn=gd.collate))))


def test_an_error_in_the_middle_of_a_read_gives_its_memory_back(ds, pools, monkeypatch):
    fill = type(ds)._fill
    count = iter(range(10**6))

    def failing(self, spot, out):
        if next(count) == 13:
            raise OSError("a broken file")
        return fill(self, spot, out)

    monkeypatch.setattr(type(ds), "_fill", failing)
    stream = iter(gd.Loader(ds, sampler=long(ds), batch_size=4, threads=0))
    for _ in range(3):
        next(stream)
    pool = pools[0]()
    with pytest.raises(OSError, match="a broken file"):
        next(stream)
    gc.collect()
    assert pool.lent == 0


def test_what_a_collate_of_ones_own_stacks_is_used_again(ds, pools):
    def own(samples):
        return gd.collate([{"x": s["image"][:1].flip(-1)} for s in samples])

    seen = [b["x"].data_ptr() for b in gd.Loader(ds, sampler=long(ds), batch_size=2, threads=0, collate_fn=own)]
    assert len(set(seen)) <= 3


def test_outside_of_a_loader_all_is_fresh(ds):
    batches = [gd.collate(ds.__getitems__(list(long(ds, 4)))) for _ in range(3)]
    assert len({b["image"].data_ptr() for b in batches}) == 3
    assert buffers.current() is None


def test_pinned_memory_where_there_is_a_gpu(ds, monkeypatch):
    """Torch makes it: its tensors go into the batch, because it knows only by them which copies are under way."""
    made, empty = [], torch.empty

    def fake(*args, pin_memory=False, **options):
        out = empty(*args, **options)
        if pin_memory:
            made.append(out.untyped_storage()._cdata)
        return out

    with pytest.raises(SamplerError, match="pin_memory=True needs a GPU, and torch finds none"):
        gd.Loader(ds, pin_memory=True)
    monkeypatch.setattr(torch, "empty", fake)
    plain = list(gd.Loader(ds, sampler=long(ds, 6), batch_size=2))
    assert not made
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    list(gd.Loader(ds, sampler=long(ds, 6), batch_size=2))
    assert not made, "a GPU that this process does not use is left to others"
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    list(gd.Loader(ds, sampler=long(ds, 6), batch_size=2, pin_memory=False))
    assert not made
    for options in ({}, {"pin_memory": True}, {"pin_memory": None}):
        made.clear()
        batches = list(gd.Loader(ds, sampler=long(ds, 6), batch_size=2, **options))
        assert {b[k].untyped_storage()._cdata for b in batches for k in ("image", "valid", "draw")} == set(made)
        assert len(made) == 9
        for a, b in zip(batches, plain, strict=True):
            same(a, b)


# ---------------------------------------------------------------------- several at once, threads, forks


@pytest.mark.parametrize("threads", [0, 2])
def test_two_loops_over_one_loader_at_once(ds, threads):
    loader = gd.Loader(ds, sampler=long(ds, 20), batch_size=2, threads=threads, debug=True)
    wanted = list(DataLoader(ds, sampler=long(ds, 20), batch_size=2, collate_fn=gd.collate))
    one, two = iter(loader), iter(loader)
    for i, want in enumerate(wanted):
        same(next(one), want)
        if i >= 3:
            same(next(two), wanted[i - 3])
            assert loader.state_dict()["consumed"] == 2 * (i - 2), "the state is of the loop begun last"
    one.close()
    two.close()


def test_reading_threads_start_no_threads_of_torch(folder):
    """A thread that does arithmetic with torch gets a team of its own, as many as there are cores, which never ends."""
    count = """
        import os, sys, torch, geodata as gd
        from geodata.datasets import RasterDataset
        torch.set_num_threads(4)
        ds = RasterDataset(sys.argv[1])
        samples = [{"x": torch.arange(200000.0).reshape(2, -1)[:, ::2]} for _ in range(4)]
        odd = [{"x": torch.arange(200000.0 + 9 * i)} for i in range(4)]
        def both(read):
            return gd.collate(samples), gd.collate(odd, pad=0), gd.collate(read)
        def threads():
            return len(os.listdir("/proc/self/task"))
        before = threads()
        for batch in gd.Loader(ds, sampler=[0, 1, 2] * 9, threads=3, collate_fn=both):
            most = threads()
        print(most - before)
    """
    assert int(ran(count, folder / "s2")) <= 3


def ran(code, *args):
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code), *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork(folder):
    """A loader made before a fork works after it; a loop begun before it says so in the child, and goes on in the parent."""
    forked = """
        import os, sys, geodata as gd
        from geodata.datasets import RasterDataset
        from geodata.samplers import RandomPatchSampler
        ds = RasterDataset(sys.argv[1])
        loader = gd.Loader(ds, sampler=RandomPatchSampler(ds, size=8, length=40, seed=0), batch_size=2)
        stream = iter(loader)
        first = next(stream)
        child = os.fork()
        if not child:
            said = ""
            try:
                next(stream)
            except gd.errors.SamplerError as error:
                said = str(error)
            fine = "began before a fork" in said and len(list(loader)) == 20
            first["image"].zero_()
            os._exit(0 if fine else 7)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), len(list(stream)), bool(first["image"].any()))
    """
    assert ran(forked, folder / "s2").split() == ["0", "19", "True"]


def test_an_interrupt_ends_the_threads(ds):
    def stopped():
        for _ in gd.Loader(ds, sampler=long(ds), batch_size=2, threads=3):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    gc.collect()
    assert no_threads_left()
