"""Chances that follow losses: the formula, what the weights promise, and losses of several processes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from makers import catalog_of, north_up, write_tif
from sampler_laws import check_laws
from scipy.stats import chisquare

import geodata as gd
from geodata.datasets import RasterDataset
from geodata.errors import SamplerError
from geodata.samplers import GridPatchSampler
from geodata.samplers.hard import HardExampleSampler

UTM = "EPSG:32633"


def rows(n=10, shape=(8, 8)):
    return catalog_of(*((north_up(500000 + 1e4 * i), shape, UTM) for i in range(n)))


def sampler(n=10, **options):
    return HardExampleSampler(rows(n), **{"length": 200} | options)


def draws(queries):
    return torch.tensor([(q.epoch, q.index) for q in queries])


def loss_of(queries, losses):
    return np.array([losses[q.row] for q in queries])


def fed(losses, epochs=1, **options):
    """A sampler that has seen the loss of every unit that it drew."""
    s = sampler(len(losses), **options)
    for epoch in range(epochs):
        s.set_epoch(epoch)
        queries = list(s)
        s.update(draws(queries), loss_of(queries, losses))
    s.set_epoch(epochs)
    return s


def test_without_losses_all_units_are_equally_likely_and_weigh_one():
    queries = list(sampler(length=5000))
    assert chisquare(np.bincount([q.row for q in queries], minlength=10)).pvalue > 1e-4
    assert {q.weight for q in queries} == {1.0} and {q.window for q in queries} == {None}


@pytest.mark.parametrize(("alpha", "mix"), [(1.0, 0.5), (2.0, 0.8), (0.5, 0.0), (0.0, 0.9)])
def test_chances_follow_the_formula(alpha, mix):
    losses = np.random.default_rng(0).gamma(1, size=10).astype(np.float32).astype(float)
    s = fed(losses, alpha=alpha, mix=mix)
    w = losses**alpha
    wanted = (1 - mix) / 10 + mix * w / w.sum()
    np.testing.assert_allclose(s.chances, wanted, rtol=1e-12)
    queries = list(s)
    np.testing.assert_allclose([q.weight for q in queries], 1 / (10 * wanted[[q.row for q in queries]]), rtol=1e-12)
    s = fed(losses, alpha=alpha, mix=mix, length=20000)
    assert chisquare(np.bincount([q.row for q in s], minlength=10), wanted * 20000).pvalue > 1e-4


def test_units_not_drawn_yet_have_the_mean():
    s = sampler(4, mix=1 - 1e-12, alpha=2)
    queries = [q for q in s if q.row < 2]
    s.update(draws(queries), loss_of(queries, [1.0, 3.0]))
    s.set_epoch(1)
    np.testing.assert_allclose(s.chances, np.array([1, 9, 5, 5]) / 20, rtol=1e-9)
    assert np.isnan(s.means).tolist() == [False, False, True, True]


def test_losses_are_averaged_within_an_epoch_and_forgotten_slowly_over_epochs():
    s = sampler(3, momentum=0.75)
    queries = [q for q in s if q.row == 1][:2]
    s.update(draws(queries), [2.0, 4.0])
    s.set_epoch(1)
    assert s.means[1] == 3.0
    query = next(q for q in s if q.row == 1)
    s.update(draws([query]), [7.0])
    assert s.means[1] == 3.0, "the running epoch stays as it is"
    s.set_epoch(2)
    assert s.means[1] == 0.75 * 3 + 0.25 * 7 and np.isnan(s.means[[0, 2]]).all()


def test_the_weighted_mean_over_draws_is_the_plain_mean():
    losses = np.random.default_rng(3).gamma(0.3, size=12)
    s = fed(losses, length=500, mix=0.9, alpha=1.5)
    values = np.random.default_rng(4).normal(5, 3, 12) + 4 * losses  # anything, not only the loss
    plain, weighted = [], []
    for epoch in range(1, 41):
        s.set_epoch(epoch)
        queries = list(s)
        of = values[[q.row for q in queries]]
        weighted.append((of * [q.weight for q in queries]).mean())
        plain.append(of.mean())
    error = np.std(weighted) / np.sqrt(len(weighted))
    assert abs(np.mean(weighted) - values.mean()) < 4 * error < 0.4
    assert abs(np.mean(plain) - values.mean()) > 8 * error, "without weights it is not"
    # And exactly, over all units.
    exact = (s.chances * values / (12 * s.chances)).sum()
    assert exact == pytest.approx(values.mean(), rel=1e-12) and s.chances.sum() == pytest.approx(1, abs=1e-12)


def test_windows_of_a_grid_are_units():
    catalog = rows(2, (20, 20))
    s = HardExampleSampler(catalog, size=8, length=2000)
    windows = [(q.row, q.window) for q in GridPatchSampler(catalog, size=8)]
    assert s.units == len(windows) == 18
    queries = list(s)
    assert {(q.row, q.window) for q in queries} == set(windows)
    hard = windows[7]
    s.update(draws(queries), [float((q.row, q.window) == hard) for q in queries])
    s.set_epoch(1)
    wanted = np.full(18, 0.5 / 18)
    wanted[7] += 0.5
    np.testing.assert_allclose(s.chances, wanted)


def test_losses_that_are_all_zero_or_huge():
    assert (fed(np.zeros(10)).chances == 0.1).all()
    huge = fed(np.full(10, 3e38), alpha=50.0)
    np.testing.assert_allclose(huge.chances, 0.1)


BAD = [
    ([1.0, np.nan], "1 of 2 losses are negative or not finite, first nan"),
    ([-0.5, 1.0], "first -0.5"),
    ([np.inf, 1.0], "first inf"),
    ([1.0], r"shape \(1,\) for draws of shape \(2, 2\)"),
    (1.0, "one loss for each sample"),
]


@pytest.mark.parametrize(("losses", "said"), BAD)
def test_losses_that_cannot_be(losses, said):
    s = sampler()
    with pytest.raises(SamplerError, match=said):
        s.update(draws(list(s)[:2]), losses)
    s.set_epoch(1)
    assert np.isnan(s.means).all()


def test_draws_of_another_epoch_are_refused():
    s = sampler()
    old = draws(list(s)[:3])
    s.set_epoch(1)
    with pytest.raises(SamplerError, match=r"draws of epochs \[0\] at epoch 1"):
        s.update(old, [1.0, 1.0, 1.0])
    for number in (-1, 201):
        with pytest.raises(SamplerError, match=f"draws {number} to {number} are not of this sampler"):
            s.update(torch.tensor([[1, number]]), [1.0])


@pytest.mark.parametrize(
    "options", [{"mix": 1.0}, {"mix": -0.1}, {"alpha": -1}, {"momentum": 1}, {"length": 0}, {"alpha": np.nan}]
)
def test_options_that_cannot_be(options):
    with pytest.raises(SamplerError, match=r"must be a (whole )?number"):
        sampler(**options)


def test_laws():
    losses = np.random.default_rng(5).gamma(1, size=10)
    state = fed(losses, epochs=3, length=37).state_dict()

    def make(**place):
        s = sampler(length=37, **place)
        s.load_state_dict(state)
        return s

    check_laws(make)


def train(s, losses, until, batch=8, start=0):
    """Take batches from the place of a sampler on, feeding losses back; return the places drawn."""
    seen = []
    for epoch in range(start, until):
        s.set_epoch(epoch)
        queries = list(s)
        for at in range(0, len(queries), batch):
            part = queries[at : at + batch]
            seen.append([(q.epoch, q.index, q.row, q.weight) for q in part])
            s.update(draws(part), loss_of(part, losses))
    return seen


def test_it_goes_on_exactly_also_within_an_epoch():
    losses = np.random.default_rng(6).gamma(1, size=10)
    whole = train(sampler(length=40), losses, until=4)
    first = sampler(length=40)
    train(first, losses, until=2)
    first.set_epoch(2)
    queries = list(first)[:16]
    first.update(draws(queries), loss_of(queries, losses))
    state = torch.load(saved(first.state_dict(consumed=16)), weights_only=True)
    again = sampler(length=40)
    again.load_state_dict(state)
    assert train(again, losses, until=4, start=2) == whole[12:]


def saved(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return file


def test_losses_come_from_batches(tmp_path):
    for k in range(4):
        write_tif(tmp_path / f"{k}.tif", np.full((1, 4, 4), k, np.float32), north_up(500000 + 1000 * k))
    ds = RasterDataset(tmp_path)
    s = HardExampleSampler(ds, length=64)
    loader = gd.Loader(ds, sampler=s, batch_size=16)
    for batch in loader:
        assert batch["weight"].tolist() == [1.0] * 16
        loss = batch["image"].mean(dim=(1, 2, 3)).requires_grad_()
        s.update(batch, loss)
    loader.set_epoch(1)
    assert s.means.tolist() == [0, 1, 2, 3]
    batch = next(iter(loader))
    wanted = [1 / (4 * (0.125 + 0.5 * v / 6)) for v in batch["image"][:, 0, 0, 0].tolist()]
    np.testing.assert_allclose(batch["weight"], wanted, rtol=1e-6)


def test_a_state_of_another_plan_is_refused():
    state = sampler().state_dict()
    for other in ({"alpha": 2.0}, {"mix": 0.1}, {"momentum": 0.5}, {"length": 5}, {"size": 4}, {"seed": 1}, {"n": 11}):
        with pytest.raises(SamplerError, match="another sampler"):
            sampler(**other).load_state_dict(state)


PROCESS = """
import sys, json
import numpy as np, torch
import torch.distributed as dist
sys.path.insert(0, {tests!r})
from test_hard import draws, loss_of, sampler
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://{meet}", rank=rank, world_size=2)
losses = np.random.default_rng(6).gamma(1, size=10)
s = sampler(length=40)
assert (s.rank, s.world) == (rank, 2)
for epoch in range(3):
    s.set_epoch(epoch)
    queries = list(s)
    s.update(draws(queries), loss_of(queries, losses))
s.sync()
state = s.state_dict(consumed=40)
s.set_epoch(3)
print(json.dumps([s.means.tolist(), state["taken"].tolist(), s.chances.tolist()]))
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_learn_what_one_would(tmp_path):
    here = Path(__file__).resolve().parent
    script = tmp_path / "rank.py"
    script.write_text(textwrap.dedent(PROCESS).format(tests=str(here), meet=tmp_path / "meet"))
    env = {**os.environ, "PYTHONPATH": str(here.parent), "GLOO_SOCKET_IFNAME": "lo"}
    env.pop("PYTHONSAFEPATH", None)
    runs = [
        subprocess.Popen([sys.executable, str(script), str(r)], stdout=subprocess.PIPE, text=True, env=env)
        for r in range(2)
    ]
    told = [json.loads(run.communicate(timeout=60)[0]) for run in runs]
    assert told[0] == told[1]
    losses = np.random.default_rng(6).gamma(1, size=10)
    alone = fed(losses, epochs=3, length=40)
    assert told[0][0] == alone.means.tolist() and told[0][2] == alone.chances.tolist()


def test_ranks_add_up_their_losses(monkeypatch):
    """The same with the collectives of torch played by two samplers in one process."""
    ranks = [sampler(length=40, rank=r, world=2) for r in range(2)]
    losses = np.random.default_rng(6).gamma(1, size=10)
    for s in ranks:
        queries = list(s)
        s.update(draws(queries), loss_of(queries, losses))
    owns = torch.from_numpy(sum(s._own for s in ranks))
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_backend", lambda: "gloo")
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda own: own.copy_(owns))
    monkeypatch.setattr(torch.distributed, "broadcast", lambda shared, src: shared)
    ranks[0].sync()
    again = [sampler(length=40, rank=r, world=2) for r in range(2)]
    for s in again:
        s.load_state_dict(ranks[0].state_dict(consumed=40))
    owns.zero_()
    for s in again:
        s.set_epoch(1)
    monkeypatch.undo()
    alone = fed(losses, length=40)
    for s in again:
        assert s.means.tolist() == alone.means.tolist(), "what one rank saved is not counted once per rank"
        assert s.chances.tolist() == alone.chances.tolist()
