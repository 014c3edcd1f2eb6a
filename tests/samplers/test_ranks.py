"""Ranks share one sequence; a run goes on where it stopped, also with another number of ranks."""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import catalog_of, north_up

from geodata.errors import SamplerError
from geodata.query import Query
from geodata.samplers import GridPatchSampler, ItemSampler, RandomPatchSampler
from geodata.samplers.draws import uniform64

UTM = "EPSG:32633"


def rows(n, shape=(20, 20)):
    return catalog_of(*((north_up(500000 + 1e4 * i), shape, UTM) for i in range(n)))


def items(n, **options):
    return ItemSampler(rows(n), shuffle=True, seed=7, **options)


def patches(n, **options):
    options.pop("uneven", None)
    return RandomPatchSampler(rows(3), size=8, length=n, seed=7, **options)


def grid(n, **options):
    return GridPatchSampler(rows(1, (8, 8 * n)), size=8, **options)


MAKERS = {"items": items, "patches": patches, "grid": grid}


def place(query):
    return query.row, query.window, query.index


@pytest.mark.parametrize("kind", MAKERS)
@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(1, 7))
def test_padded_ranks_are_equally_long_and_together_the_single_sequence(kind, n, world):
    make = MAKERS[kind]
    single = [place(q) for q in make(n)]
    ranks = [list(make(n, rank=r, world=world)) for r in range(world)]
    assert {len(r) for r in ranks} == {-(-n // world)}
    assert all(len(make(n, rank=r, world=world)) == len(ranks[r]) for r in range(world))
    woven = [q for step in zip(*ranks, strict=True) for q in step]
    own = [place(q) for q in woven if not q.repeat]
    assert own[:n] == single
    if kind == "patches":
        assert not any(q.repeat for q in woven) and len({q.index for q in woven}) == len(woven), (
            "the extra ones are new draws"
        )
    else:
        assert len(own) == n and all(place(q) in single for q in woven[n:])


def test_a_repeat_keeps_all_else_and_views_are_marked_together():
    class Views(ItemSampler):
        def draw(self, indexes):
            yield from ((Query(row=int(i), index=int(i), weight=0.5), Query(row=int(i), dates=(1,))) for i in indexes)

    first, again = list(Views(rows(3), rank=1, world=2))
    assert not any(q.repeat for q in first) and all(q.repeat for q in again)
    assert again[0] == Query(row=0, weight=0.5, repeat=True) and again[1] == Query(row=0, dates=(1,), repeat=True)


@pytest.mark.parametrize("kind", ["items", "grid"])
@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(1, 7), st.sampled_from(["keep", "drop"]))
def test_uneven_ranks(kind, n, world, uneven):
    make = MAKERS[kind]
    single = [place(q) for q in make(n)]
    ranks = [list(make(n, rank=r, world=world, uneven=uneven)) for r in range(world)]
    lengths = [len(r) for r in ranks]
    assert lengths == [len(make(n, rank=r, world=world, uneven=uneven)) for r in range(world)]
    together = Counter(place(q) for r in ranks for q in r)
    if uneven == "keep":
        assert together == Counter(single) and max(lengths) - min(lengths) <= 1
    else:
        assert together == Counter(single[: n // world * world]) and set(lengths) == {n // world}
    assert not any(q.repeat for r in ranks for q in r)


@pytest.mark.parametrize("kind", MAKERS)
@settings(max_examples=60, deadline=None)
@given(st.integers(1, 24), st.integers(1, 4), st.integers(1, 5), st.data())
def test_a_run_that_stops_and_goes_on_with_other_ranks_sees_every_sample_once(kind, n, before, after, data):
    make = MAKERS[kind]
    single = [place(q) for q in make(n)]
    steps = data.draw(st.integers(0, n // before))
    first, state = [], None
    for rank in range(before):
        sampler = make(n, rank=rank, world=before)
        sampler.set_epoch(0)
        stream = iter(sampler)
        first += [next(stream) for _ in range(steps)]
        state = sampler.state_dict()
    assert state is not None and state["consumed"] == steps * before
    rest = []
    for rank in range(after):
        sampler = make(n, rank=rank, world=after)
        sampler.load_state_dict(pickle.loads(pickle.dumps(state)))
        assert len(sampler) == -(-(n - steps * before) // after)
        rest += list(sampler)
    seen = Counter(place(q) for q in first + rest if not q.repeat and q.index < n)
    assert seen == Counter(single)


@pytest.mark.parametrize("kind", MAKERS)
def test_after_a_resumed_epoch_the_next_one_is_whole(kind):
    sampler = MAKERS[kind](12)
    sampler.set_epoch(3)
    state = sampler.state_dict(consumed=5)
    again = MAKERS[kind](12)
    again.load_state_dict(state)
    assert again.epoch == 3 and len(again) == 7
    again.set_epoch(3)
    assert len(again) == 7, "the customary set_epoch at the head of a loop does not throw the place away"
    assert [q.index for q in again] == list(range(5, 12)) and {q.epoch for q in again} == {3}
    again.set_epoch(4)
    assert len(again) == 12 and [q.index for q in again] == list(range(12))


@pytest.mark.parametrize("kind", MAKERS)
def test_the_place_is_known_at_every_moment(kind):
    sampler = MAKERS[kind](9)
    assert sampler.state_dict()["consumed"] == 0
    for n, _ in enumerate(sampler, 1):
        assert sampler.state_dict()["consumed"] == n
    resumed = MAKERS[kind](9)
    resumed.load_state_dict(sampler.state_dict(consumed=4))
    assert resumed.state_dict()["consumed"] == 4
    stream = iter(resumed)
    next(stream)
    assert resumed.state_dict()["consumed"] == 5


@pytest.mark.parametrize("kind", MAKERS)
def test_a_state_of_another_plan_is_refused(kind):
    state = MAKERS[kind](9).state_dict()
    others = [MAKERS[k](n) for k in MAKERS for n in (9, 10) if (k, n) != (kind, 9)]
    others.append(RandomPatchSampler(rows(3), size=8, length=9, seed=8))
    others.append(ItemSampler(rows(9), shuffle=False, seed=7))
    others.append(GridPatchSampler(rows(1, (8, 72)), size=8, stride=4))
    for other in others:
        with pytest.raises(SamplerError, match="this state is of another sampler: rows, sizes, length or seed differ"):
            other.load_state_dict(state)


@pytest.mark.parametrize(
    ("rank", "world", "said"),
    [(2, 2, "rank 2 of 2 does not exist"), (-1, 2, "rank=-1"), (0, None, "both rank and world"), (None, 2, "both")],
)
def test_ranks_that_do_not_exist(rank, world, said):
    with pytest.raises(SamplerError, match=said):
        items(4, rank=rank, world=world)


def test_ranks_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert (items(9).rank, items(9).world) == (1, 3) and [q.index for q in items(9)] == [1, 4, 7]
    assert items(9, rank=0, world=1).world == 1


def test_uneven_must_be_known():
    with pytest.raises(SamplerError, match="uneven='repeat' must be 'pad', 'keep' or 'drop'"):
        items(4, uneven="repeat")


def test_ranks_from_torch_distributed(tmp_path):
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    try:
        assert (items(4).rank, items(4).world) == (0, 1)
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("kind", MAKERS)
def test_a_run_that_stopped_after_its_last_sample_stays_there(kind):
    stopped = MAKERS[kind](9)
    assert len(list(stopped)) == 9
    rest = MAKERS[kind](9)
    rest.load_state_dict(stopped.state_dict())
    assert len(rest) == 0 and not list(rest)
    assert rest.state_dict()["consumed"] == 9
    assert len(list(rest)) == 9, "the next iteration is a whole one"


@pytest.mark.parametrize("kind", MAKERS)
def test_an_epoch_that_is_set_within_an_iteration_ends_it(kind):
    sampler = MAKERS[kind](9)
    stream = iter(sampler)
    next(stream)
    sampler.set_epoch(1)
    assert sampler.state_dict()["consumed"] == 0
    with pytest.raises(SamplerError, match="epoch 1 was set while epoch 0 was iterated"):
        next(stream)
    assert sampler.state_dict()["consumed"] == 0 and len(list(sampler)) == 9


def test_of_two_iterations_the_younger_one_counts():
    sampler = patches(9)
    old, young = iter(sampler), iter(sampler)
    drawn = [next(old), next(old), next(young), next(old)]
    assert drawn[0] == drawn[2] and sampler.state_dict()["consumed"] == 1


@pytest.mark.parametrize(
    "state", [None, {}, [], "x", {"seed": 7, "epoch": 0}, {"consumed": None}, {"consumed": -4}, {"epoch": "x"}]
)
def test_what_is_no_state_is_refused(state):
    sampler = patches(9)
    held = sampler.state_dict() | state if isinstance(state, dict) and len(state) == 1 else state
    with pytest.raises(SamplerError, match=r"no state of a sampler|must be a whole number"):
        sampler.load_state_dict(held)


def test_the_length_of_an_endless_epoch_costs_nothing():
    sampler = patches(2**60, rank=1, world=2)
    assert len(sampler) == 2**59
    assert next(iter(sampler)).index == 1


def test_numbers_far_apart_are_those_of_the_sequence():
    some = np.array([5, 900_000, 3, 5000, 899_999, 5])
    for stream in (0, 7):
        np.testing.assert_array_equal(uniform64(1, 2, some, stream), uniform64(1, 2, np.arange(900_001), stream)[some])


@pytest.mark.parametrize("variables", [{"WORLD_SIZE": "two", "RANK": "0"}, {"WORLD_SIZE": "2", "RANK": "first"}])
def test_ranks_in_the_environment_are_numbers(monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SamplerError, match="in the environment must be whole numbers"):
        len(patches(9))
