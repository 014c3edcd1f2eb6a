"""Lightning leaves our samplers alone, sets their epochs, and each rank sees its own share once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from types import SimpleNamespace

import pytest
import torch
from lightning_fabric.utilities.data import _set_sampler_epoch
from lightning_fabric.utilities.distributed import DistributedSamplerWrapper
from makers import catalog_of, north_up
from pytorch_lightning.trainer.connectors.data_connector import _DataConnector
from pytorch_lightning.trainer.states import RunningStage, TrainerFn
from torch.utils.data import BatchSampler, DataLoader, Sampler
from torch.utils.data.distributed import DistributedSampler
from torchdata.stateful_dataloader import StatefulDataLoader

import geodata as gd
from geodata.errors import SamplerError
from geodata.samplers import QuerySampler, RandomPatchSampler
from geodata.samplers.batches import GroupedBatchSampler

CATALOG = catalog_of(*((north_up(5e5 + 1e4 * i), (20, 20), "EPSG:32633") for i in range(4)))


class Echo(torch.utils.data.Dataset):
    """Returns what it is asked for."""

    def __len__(self):
        return len(CATALOG)

    def __getitem__(self, index):
        return index

    def __getitems__(self, indexes):
        return list(indexes)


def patches(**options):
    return RandomPatchSampler(CATALOG, size=8, length=16, seed=1, **options)


def batches(**options):
    return GroupedBatchSampler(patches(**options), 2, by="size")


def connector(world, use=True):
    """Lightning's own decisions about data loaders, for rank 0 of so many processes."""
    trainer = SimpleNamespace(
        _accelerator_connector=SimpleNamespace(use_distributed_sampler=use, is_distributed=world > 1),
        distributed_sampler_kwargs={"num_replicas": world, "rank": 0},
        overfit_batches=0,
        state=SimpleNamespace(fn=TrainerFn.FITTING),
    )
    return _DataConnector(trainer)


def prepared(loader, world=2, use=True, mode=RunningStage.TRAINING):
    return connector(world, use)._prepare_dataloader(loader, shuffle=True, mode=mode)


class Foreign(Sampler):
    """Any other sampler."""

    def __iter__(self):
        return iter(patches(rank=0, world=2))

    def __len__(self):
        return len(patches(rank=0, world=2))


def test_another_sampler_is_wrapped_and_halved_again():
    loader = prepared(DataLoader(Echo(), sampler=Foreign(), batch_size=2, collate_fn=list))
    assert isinstance(loader.sampler, DistributedSamplerWrapper)
    assert sum(map(len, loader)) == 4, "a quarter of 16 draws: this is what must not happen to ours"


# torchdata 0.11 still reports itself by a call that torch 2.13 is about to drop.
@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")
@pytest.mark.parametrize("loader_class", [DataLoader, StatefulDataLoader])
@pytest.mark.parametrize("mode", [RunningStage.TRAINING, RunningStage.VALIDATING, RunningStage.TESTING])
def test_ours_is_left_alone(loader_class, mode):
    sampler = patches(rank=0, world=2)
    loader = loader_class(Echo(), sampler=sampler, batch_size=2, collate_fn=list)
    assert prepared(loader, mode=mode) is loader and loader.sampler is sampler
    assert [q.index for batch in loader for q in batch] == list(range(0, 16, 2))


def test_a_loader_in_threads_is_left_alone():
    loader = gd.Loader(Echo(), sampler=patches())
    assert prepared(loader) is loader


def test_it_is_a_distributed_sampler_by_name_only():
    assert issubclass(QuerySampler, DistributedSampler)
    sampler = patches(rank=1, world=3)
    assert (sampler.rank, sampler.world) == (1, 3)
    assert not hasattr(sampler, "num_replicas"), (
        "its own way to share out is not set up, so it cannot be used by mistake"
    )


@pytest.mark.parametrize("world", [1, 2])
def test_predictions_keep_the_sampler(world):
    sampler = patches(rank=0, world=world)
    loader = prepared(
        DataLoader(Echo(), sampler=sampler, batch_size=2, collate_fn=list), world, mode=RunningStage.PREDICTING
    )
    assert loader.batch_sampler._batch_sampler.sampler is sampler
    assert [q.index for batch in loader for q in batch] == list(range(0, 16, world))


def test_a_batch_sampler_is_refused_until_lightning_is_told_to_leave_it():
    loader = DataLoader(Echo(), batch_sampler=batches(rank=0, world=2), collate_fn=list)
    with pytest.raises(
        TypeError, match=r"can't inject a \(distributed\) sampler .*Trainer\(use_distributed_sampler=False\)"
    ):
        prepared(loader)
    assert prepared(loader, use=False) is loader
    assert prepared(DataLoader(Echo(), batch_sampler=batches()), world=1) is not None
    assert sum(len(batch) for batch in loader) == 8


def test_a_batch_sampler_of_torch_is_thrown_away_as_the_page_on_training_warns():
    loader = prepared(DataLoader(Echo(), batch_sampler=BatchSampler(patches(rank=0, world=2), 2, False)))
    assert type(loader.sampler) is DistributedSampler and loader.sampler.dataset is loader.dataset


@pytest.mark.parametrize(("world", "use"), [(1, True), (2, True), (2, False)])
def test_batches_of_predictions_are_ours(world, use):
    own = batches(rank=0, world=world)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You are using a custom batch sampler `GroupedBatchSampler` for prediction")
        loader = prepared(
            DataLoader(Echo(), batch_sampler=own, collate_fn=list), world, use, mode=RunningStage.PREDICTING
        )
    assert list(loader) == list(batches(rank=0, world=world))


@pytest.mark.parametrize(
    "make",
    [
        lambda: DataLoader(Echo(), sampler=patches(), batch_size=2, collate_fn=list),
        lambda: DataLoader(Echo(), batch_sampler=batches(), collate_fn=list),
        lambda: gd.Loader(Echo(), sampler=patches(), batch_size=2, collate_fn=list),
        lambda: gd.Loader(Echo(), batch_sampler=batches(), collate_fn=list),
    ],
)
def test_the_epoch_is_set(make):
    loader = make()
    for epoch in (2, 5):
        _set_sampler_epoch(loader, epoch)
        assert {q.epoch for batch in loader for q in batch} == {epoch}


# ---------------------------------------------------------------------- ranks


def test_a_sampler_made_before_the_processes_learns_its_rank_from_them(tmp_path, monkeypatch):
    sampler, grouped = patches(), batches()
    assert (sampler.rank, sampler.world, len(sampler)) == (0, 1, 16)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert (sampler.rank, sampler.world, len(sampler)) == (1, 2, 8)
    assert (grouped.rank, grouped.world, len(grouped)) == (1, 2, 4)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    try:
        assert (sampler.rank, sampler.world) == (0, 1), "the group knows better than the environment"
        assert patches(rank=1, world=4).rank == 1, "and who says it, better than both"
    finally:
        torch.distributed.destroy_process_group()


def test_a_size_without_a_rank_is_no_rank_0(monkeypatch):
    sampler = patches()
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(SamplerError, match=r"WORLD_SIZE is 2, but RANK is not set"):
        list(sampler)


SCRIPT = """
import json, os, sys, warnings
import torch
import pytorch_lightning as pl
from torch.utils.data import DataLoader

sys.path.insert(0, sys.argv[2])
from makers import catalog_of, north_up
from geodata.samplers import RandomPatchSampler
from geodata.samplers.batches import GroupedBatchSampler

warnings.simplefilter("ignore")
catalog = catalog_of(*((north_up(5e5 + 1e4 * i), (20, 20), "EPSG:32633") for i in range(4)))


class Echo(torch.utils.data.Dataset):
    def __len__(self):
        return len(catalog)

    def __getitem__(self, query):
        return torch.tensor([float(query.epoch), float(query.index)])


class Model(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        self.seen = []

    def training_step(self, batch, number):
        self.seen += batch.tolist()
        return self.layer(batch).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def fit(use, **options):
    model = Model()
    trainer = pl.Trainer(
        accelerator="cpu", devices=2, strategy="ddp", max_epochs=2, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=use,
    )
    trainer.fit(model, DataLoader(Echo(), **options))
    return trainer.global_rank, model.seen


# Made before there are processes, as in most scripts.
sampler = RandomPatchSampler(catalog, size=8, length=12, seed=1)
rank, first = fit(True, sampler=sampler, batch_size=2)
rank, second = fit(False, batch_sampler=GroupedBatchSampler(sampler, 2, by="size"))
with open(os.path.join(sys.argv[1], f"{rank}.json"), "w") as file:
    json.dump([first, second], file)
"""


@pytest.mark.slow  # Lightning is imported twice, by processes of their own
def test_two_processes_of_lightning_see_every_draw_once(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    tests = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    env = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "NODE_RANK")}
    # Where to meet; without it torch asks the network for this machine's name.
    env |= {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), tests],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    for epoch in (0, 1):
        shares = [[index for e, index in rank[0] if e == epoch] for rank in ranks]
        assert shares == [list(range(0, 12, 2)), list(range(1, 12, 2))]
        shares = [[index for e, index in rank[1] if e == epoch] for rank in ranks]
        assert shares == [[0, 1, 4, 5, 8, 9], [2, 3, 6, 7, 10, 11]]
