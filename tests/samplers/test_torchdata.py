"""Every sampler in the loaders of torch and torchdata: ranks and workers share an epoch, and a run goes on where it stopped."""

from __future__ import annotations

import pickle
from collections import Counter
from itertools import chain

import numpy as np
import pytest
import torch
from makers import north_up, write_tif
from torch.utils.data import DataLoader, get_worker_info
from torchdata.stateful_dataloader import StatefulDataLoader

import geodata as gd
from geodata.datasets import RasterDataset
from geodata.mixture import Mixture
from geodata.samplers.balanced import BalancedPatchSampler
from geodata.samplers.base import QuerySampler
from geodata.samplers.batches import GroupedBatchSampler
from geodata.samplers.crops import MultiCropSampler, MultiScaleSampler
from geodata.samplers.grid import GridPatchSampler
from geodata.samplers.hard import HardExampleSampler
from geodata.samplers.items import ItemSampler
from geodata.samplers.mixture import MixedSampler
from geodata.samplers.pixels import StratifiedPixelSampler
from geodata.samplers.random import RandomPatchSampler
from geodata.samplers.series import SeriesPatchSampler
from geodata.samplers.sobol import LowDiscrepancySampler
from geodata.samplers.temporal import TemporalPairSampler

# torchdata 0.11 still reports itself by a call that torch 2.13 is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")

PATTERN = r"_(?P<date>\d{4}-\d{2}-\d{2})\.tif$"
LABELS = np.arange(40 * 40).reshape(40, 40) % 3


@pytest.fixture(scope="module")
def ds(tmp_path_factory):
    """Six images of 40 x 40 pixels: three dates at each of two places, with their classes."""
    folder = tmp_path_factory.mktemp("loaders")
    for place in range(2):
        for day in range(1, 4):
            pixels = np.random.default_rng(10 * place + day).integers(1, 3, (2, 40, 40)).astype(np.uint16)
            write_tif(folder / f"{place}_2020-01-0{day}.tif", pixels, north_up(500000 + 1000 * place))
    return RasterDataset(folder, pattern=PATTERN)


def drawn(kind, **options):
    """A maker of a sampler with 24 draws."""
    return lambda ds, **ranks: kind(ds, length=24, seed=4, **options, **ranks)


# A new sampler gets a line here: about 24 samples, from six images of 40 x 40 pixels.
SAMPLERS = {
    "random": drawn(RandomPatchSampler, size=16),
    "storage": drawn(RandomPatchSampler, size=16, order="storage", buffer=32),
    "grid": lambda ds, **ranks: GridPatchSampler(ds, size=20, **ranks),
    "items": lambda ds, **ranks: ItemSampler(ds.tile(20), shuffle=True, seed=4, **ranks),
    "chunks": lambda ds, **ranks: ItemSampler(ds.tile(20), shuffle=True, chunks=4, buffer=2, seed=4, **ranks),
    "low discrepancy": drawn(LowDiscrepancySampler, size=16),
    "crops": drawn(MultiCropSampler, parent=24, global_size=16, local_size=8, n_local=2),
    "scales": drawn(MultiScaleSampler, size=8, scales=(1, 2)),
    "pairs": drawn(TemporalPairSampler, size=16),
    "series": lambda ds, **ranks: drawn(SeriesPatchSampler, size=16, dates=2)(ds.series(), **ranks),
    "balanced": lambda ds, **ranks: drawn(BalancedPatchSampler, size=16, labels="place")(located(ds), **ranks),
    "hard": drawn(HardExampleSampler, size=16),
    "pixels": lambda ds, **ranks: StratifiedPixelSampler(LABELS, per_class=34, seed=4, **ranks),
    "mixture": lambda ds, **ranks: MixedSampler(
        [RandomPatchSampler(ds, size=16, length=9), ItemSampler(ds)], length=24, **ranks
    ),
    "batches": lambda ds, **ranks: GroupedBatchSampler(
        RandomPatchSampler(ds, size=16, length=46, seed=4, **ranks), 2, by="place", data=located(ds)
    ),
}


def located(ds):
    """The catalog with a column that tells the two places apart."""
    catalog = ds.catalog
    return type(catalog).from_columns(
        key=catalog.key.tolist(),
        affine=catalog.affine,
        shape=catalog.shape,
        crs="EPSG:32633",
        columns={"place": [key[0] for key in catalog.key]},
    )


def every(kind=QuerySampler):
    for sub in kind.__subclasses__():
        yield sub
        yield from every(sub)


class Echo(torch.utils.data.Dataset):
    """Returns what it is asked for, and which worker was."""

    def __len__(self):
        return 6

    def __getitem__(self, asked):
        worker = get_worker_info()
        return asked, -1 if worker is None else worker.id


def loader_of(sampler, workers=0, kind=DataLoader):
    """A loader that hands out lists of (sample, worker), of one sample or of one batch of the sampler each."""
    how = (
        {"batch_sampler": sampler}
        if isinstance(sampler, GroupedBatchSampler)
        else {"sampler": sampler, "batch_size": 2}
    )
    return kind(Echo(), num_workers=workers, collate_fn=list, **how)


def bare(asked):
    """What is read, whichever rank reads it."""
    views = asked if isinstance(asked, tuple) else (asked,)
    return tuple((q.row, q.window, q.grid, q.dates, q.pixels, q.source, q.epoch, q.index) for q in views)


def own(batches, sequence):
    """Count the samples that are no repetitions, nor draws beyond the epoch."""
    samples = [asked for batch in batches for asked, _ in batch]
    kept = Counter(bare(s) for s in samples if not (s[0] if isinstance(s, tuple) else s).repeat)
    return Counter({s: n for s, n in kept.items() if s in sequence})


def sequence(kind, ds, epoch=2):
    sampler = SAMPLERS[kind](ds, rank=0, world=1)
    sampler.set_epoch(epoch)
    found = Counter(bare(asked) for batch in loader_of(sampler) for asked, _ in batch)
    assert set(found.values()) == {1}, "draws have numbers, so none comes twice"
    return found


def test_the_table_names_every_sampler(ds):
    ours = {kind for kind in every() if kind.__module__.startswith("geodata.") and not kind.__abstractmethods__}
    assert {kind.__name__ for kind in ours} == {type(make(ds)).__name__ for make in SAMPLERS.values()}


@pytest.mark.parametrize("kind", SAMPLERS)
def test_two_ranks_of_two_workers_are_disjoint_and_complete(ds, kind):
    whole = sequence(kind, ds)
    seen = []
    for rank in range(2):
        sampler = SAMPLERS[kind](ds, rank=rank, world=2)
        sampler.set_epoch(2)
        loader = loader_of(sampler, workers=2)
        batches = list(loader)
        assert len(batches) == len(loader)
        assert {worker for batch in batches for _, worker in batch} == {0, 1}, "both workers read"
        seen += batches
    assert own(seen, whole) == whole


@pytest.mark.parametrize("kind", SAMPLERS)
@pytest.mark.parametrize("after", [1, 4])
def test_a_run_of_two_ranks_goes_on_with_another_number(ds, kind, after):
    whole = sequence(kind, ds)
    seen, state = [], None
    for rank in range(2):
        sampler = SAMPLERS[kind](ds, rank=rank, world=2)
        sampler.set_epoch(2)
        loader = loader_of(sampler, kind=StatefulDataLoader)
        stream = iter(loader)
        seen += [next(stream) for _ in range(3)]
        state = pickle.loads(pickle.dumps(loader.state_dict()))
    for rank in range(after):
        sampler = SAMPLERS[kind](ds, rank=rank, world=after)
        loader = loader_of(sampler, kind=StatefulDataLoader)
        loader.load_state_dict(state)
        seen += list(loader)
    assert own(seen, whole) == whole


@pytest.mark.parametrize("kind", SAMPLERS)
def test_a_run_goes_on_with_the_same_batches_however_far_workers_read_ahead(ds, kind):
    def loader():
        sampler = SAMPLERS[kind](ds, rank=1, world=2)
        sampler.set_epoch(2)
        return loader_of(sampler, 2, StatefulDataLoader)

    stopped = loader()
    stream = iter(stopped)
    first = [next(stream) for _ in range(2)]
    state = pickle.loads(pickle.dumps(stopped.state_dict()))
    rest = list(stream)
    resumed = loader()
    resumed.load_state_dict(state)
    again = list(resumed)
    assert len(first) == 2 and len(rest) > 1
    assert [[bare(asked) for asked, _ in batch] for batch in again] == [
        [bare(asked) for asked, _ in batch] for batch in rest
    ]


# ---------------------------------------------------------------------- reading


def same(a, b):
    assert a.keys() == b.keys()
    for key, value in a.items():
        assert torch.equal(value, b[key]) if isinstance(value, torch.Tensor) else value == b[key], key


def mixed(ds):
    return MixedSampler([RandomPatchSampler(ds, size=16, length=13, seed=1), GridPatchSampler(ds, size=20)])


READ = {
    "sampler": lambda ds: {"sampler": RandomPatchSampler(ds, size=16, length=23, seed=4), "batch_size": 4},
    "batches": lambda ds: {"batch_sampler": GroupedBatchSampler(mixed(ds), 4, by="source")},
}


@pytest.mark.parametrize("how", READ)
@pytest.mark.parametrize("kind", ["stateful", "stateful, 2 workers", "threads"])
@pytest.mark.parametrize("k", [0, 2, 5])
def test_the_rest_of_an_epoch_is_read_alike_after_a_stop(ds, how, kind, k):
    data = Mixture([ds, ds]) if how == "batches" else ds

    def loader():
        if kind == "threads":
            return gd.Loader(data, **READ[how](ds))
        workers = 2 if "workers" in kind else 0
        return StatefulDataLoader(data, num_workers=workers, collate_fn=gd.collate, **READ[how](ds))

    whole = list(DataLoader(data, collate_fn=gd.collate, **READ[how](ds)))
    stopped = loader()
    stream = iter(stopped)
    for batch in whole[:k]:
        same(next(stream), batch)
    state = pickle.loads(pickle.dumps(stopped.state_dict()))
    del stream, stopped
    resumed = loader()
    resumed.load_state_dict(state)
    rest = list(resumed)
    assert len(rest) == len(whole) - k > 0
    for a, b in zip(rest, whole[k:], strict=True):
        same(a, b)


@pytest.mark.slow  # new processes import torch
@pytest.mark.parametrize("kind", [DataLoader, StatefulDataLoader])
def test_workers_that_start_anew_read_the_same(ds, kind):
    data = Mixture([ds, ds])
    plain = list(DataLoader(data, collate_fn=gd.collate, **READ["batches"](ds)))
    options = {"num_workers": 1, "multiprocessing_context": "spawn", "collate_fn": gd.collate}
    for a, b in zip(kind(data, **options, **READ["batches"](ds)), plain, strict=True):
        same(a, b)


@pytest.mark.parametrize("workers", [0, 2])
def test_epoch_after_epoch_and_a_stop_in_the_second(ds, workers):
    def loader():
        sampler = RandomPatchSampler(ds, size=16, length=12, seed=4)
        return StatefulDataLoader(Echo(), sampler=sampler, batch_size=3, num_workers=workers, collate_fn=list)

    def numbers(batch):
        return [(q.epoch, q.index) for q, _ in batch]

    run = loader()
    run.sampler.set_epoch(0)
    assert list(chain(*map(numbers, run))) == [(0, i) for i in range(12)]
    run.sampler.set_epoch(1)
    stream = iter(run)
    assert numbers(next(stream)) == [(1, 0), (1, 1), (1, 2)]
    state = run.state_dict()
    resumed = loader()
    resumed.load_state_dict(state)
    resumed.sampler.set_epoch(1)
    assert list(chain(*map(numbers, resumed))) == [(1, i) for i in range(3, 12)]
    resumed.sampler.set_epoch(2)
    assert list(chain(*map(numbers, resumed))) == [(2, i) for i in range(12)]
