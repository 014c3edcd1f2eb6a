"""Several samplers in one sequence, and several datasets that answer it."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import catalog_of, north_up, write_tif

import geodata as gd
from geodata.datasets import RasterDataset
from geodata.errors import QueryError, SamplerError
from geodata.mixture import Mixture
from geodata.query import Query
from geodata.samplers import GridPatchSampler, ItemSampler, RandomPatchSampler
from geodata.samplers.batches import GroupedBatchSampler
from geodata.samplers.hard import HardExampleSampler
from geodata.samplers.mixture import MixedSampler


def items(n, seed=1):
    return ItemSampler(
        catalog_of(*((north_up(5e5 + 1e4 * i), (20, 20), "EPSG:32633") for i in range(n))), shuffle=True, seed=seed
    )


def patches(n):
    return RandomPatchSampler(catalog_of((north_up(), (60, 60), "EPSG:32633")), size=8, length=n, seed=9)


def epochs_of(sampler):
    """What a sampler has: its epochs one after the other, without end."""
    epoch = 0
    while True:
        sampler.set_epoch(epoch)
        yield from list(sampler)
        epoch += 1


def drawn(mixed, epochs):
    out = []
    for epoch in range(epochs):
        mixed.set_epoch(epoch)
        out += list(mixed)
    return out


def place(query):
    return query.row, query.window


@settings(max_examples=30)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(5, 40), st.floats(0.2, 0.8), st.integers(0, 9))
def test_each_source_gives_its_own_sequence_from_epoch_to_epoch(n, m, length, weight, seed):
    mixed = MixedSampler([items(n), patches(m)], weights=[weight, 1 - weight], length=length, seed=seed)
    seen = drawn(mixed, 3)
    for source, sampler in enumerate((items(n), patches(m))):
        own = [place(query) for query in seen if query.source == source]
        assert len(own) == 3 * mixed.counts[source]
        assert own == [place(query) for query in islice(epochs_of(sampler), len(own))]
    assert [(query.epoch, query.index) for query in seen] == [(e, i) for e in range(3) for i in range(length)]


@settings(max_examples=60)
@given(st.lists(st.floats(0.5, 9), min_size=1, max_size=5), st.integers(40, 90))
def test_shares_are_within_one_draw_of_the_weights(weights, length):
    mixed = MixedSampler([items(3) for _ in weights], weights=weights, length=length)
    count = Counter(query.source for query in mixed)
    assert sum(count.values()) == length
    for source, weight in enumerate(weights):
        assert count[source] == mixed.counts[source]
        assert abs(count[source] - weight / sum(weights) * length) < 1 + 1e-6


def test_without_weights_an_epoch_holds_every_sample_once():
    mixed = MixedSampler({"a": items(7), "b": patches(5)})
    assert len(mixed) == mixed.total == 12 and mixed.counts == (7, 5)
    for epoch in (0, 3):
        mixed.set_epoch(epoch)
        assert sorted(query.row for query in mixed if query.source == 0) == list(range(7))


def test_turns_are_random_and_new_in_each_epoch_and_with_each_seed():
    def turns(seed, epoch):
        mixed = MixedSampler([items(50), patches(50)], seed=seed)
        mixed.set_epoch(epoch)
        return [query.source for query in mixed]

    assert turns(0, 0) == turns(0, 0)
    assert len({tuple(turns(seed, epoch)) for seed in range(2) for epoch in range(2)}) == 4
    first = np.array([turns(seed, 0)[:50] for seed in range(40)])
    assert abs(first.mean() - 0.5) < 0.05, "sources are mixed from the beginning on"


def test_draws_do_not_depend_on_what_was_drawn_before():
    mixed = MixedSampler([items(5), patches(4)], length=30)
    whole = list(mixed)
    scattered = np.array([29, 3, 17, 3])
    assert list(mixed.draw(scattered)) == [whole[i] for i in scattered]


@settings(max_examples=30)
@given(st.integers(1, 4), st.integers(1, 5), st.data())
def test_ranks_share_it_and_a_run_goes_on_with_other_ranks(before, after, data):
    def make(**options):
        return MixedSampler([items(5), patches(8)], weights=[1, 2], length=20, seed=3, **options)

    steps = data.draw(st.integers(0, 20 // before))
    first, state = [], None
    for rank in range(before):
        sampler = make(rank=rank, world=before)
        stream = iter(sampler)
        first += [next(stream) for _ in range(steps)]
        state = sampler.state_dict()
    rest = []
    for rank in range(after):
        sampler = make(rank=rank, world=after)
        sampler.load_state_dict(state)
        rest += list(sampler)
    assert len(rest) == -(-(20 - steps * before) // after) * after
    assert Counter(query for query in first + rest if not query.repeat) == Counter(make())
    assert {query.source for query in rest if query.repeat} <= {0, 1}


def test_a_repeated_draw_keeps_its_source():
    ranks = [list(MixedSampler([items(2), patches(1)], rank=r, world=2)) for r in range(2)]
    (again,) = [query for rank in ranks for query in rank if query.repeat]
    assert (again.source, *place(again)) == (ranks[0][0].source, *place(ranks[0][0]))


def test_names_are_in_alphabetical_order_here_as_in_the_mixture():
    mixed = MixedSampler({"s2": items(3), "s1": patches(9)}, weights={"s2": 3, "s1": 1}, length=8)
    assert mixed.names == ("s1", "s2") and mixed.counts == (2, 6)
    assert {query.source for query in mixed if query.window is None} == {1}
    assert mixed.plan != MixedSampler({"s1": items(3), "s2": patches(9)}, weights=[1, 3], length=8).plan
    assert MixedSampler([items(3), patches(9)]).names == ("0", "1")


def test_more_than_ten_samplers_keep_their_places():
    mixed = MixedSampler([items(n) for n in range(1, 13)])
    assert mixed.counts == tuple(range(1, 13))


def test_plans_tell_mixtures_apart():
    plans = {
        MixedSampler([items(3), patches(9)], **options).digest
        for options in ({}, {"seed": 1}, {"length": 13}, {"weights": [1, 1]}, {"weights": [2, 2]})
    }
    assert len(plans) == 4, "equal shares are equal however they are written"
    assert MixedSampler([items(3), patches(9)]).digest != MixedSampler([items(3), patches(8)], length=12).digest


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: MixedSampler([]), "at least one sampler"),
        (lambda: MixedSampler({"a": [1, 2]}), "'a' is a list; a mixture is made of samplers of one dataset each"),
        (lambda: MixedSampler([MixedSampler([items(1)])]), "'0' is a MixedSampler"),
        (lambda: MixedSampler([GroupedBatchSampler(patches(3), 2, by="size")]), "'0' is a GroupedBatchSampler"),
        (lambda: MixedSampler([items(1), items(2)], weights=[1]), r"weights=\[1\] for 2 samplers"),
        (lambda: MixedSampler({"a": items(1)}, weights={"b": 1}), r"weights are for \['b'\], samplers are \['a'\]"),
        (lambda: MixedSampler([items(1), items(2)], weights=[1, 0]), "weight of '1'=0 must be a number above 0"),
        (lambda: MixedSampler([items(1)], weights=[float("nan")]), "must be a number above 0"),
        (lambda: MixedSampler({"a": items(1), "b": items(9)}, weights=[1, 99], length=10), "'a' gets none of 10 draws"),
        (lambda: MixedSampler([items(1)], length=0), "length=0 must be a whole number of at least 1"),
        (
            lambda: MixedSampler([HardExampleSampler(catalog_of((north_up(), (9, 9), "EPSG:32633")), length=3)]),
            "follows losses",
        ),
    ],
)
def test_mixtures_that_make_no_sense(make, said):
    with pytest.raises(SamplerError, match=said):
        make()


class Views(RandomPatchSampler):
    """Two views of each draw, with numbers of their own or with the same."""

    apart = True

    def draw(self, indexes):
        for query in super().draw(indexes):
            numbers = (2 * query.index, 2 * query.index + 1) if self.apart else (query.index, query.index)
            yield tuple(Query(row=query.row, window=query.window, index=n) for n in numbers)


def test_views_get_numbers_of_the_mixture_apart_or_alike():
    catalog = catalog_of((north_up(), (60, 60), "EPSG:32633"))
    views = Views(catalog, size=8, length=4)
    mixed = MixedSampler([views])
    assert [tuple(q.index for q in sample) for sample in mixed] == [(0, 1), (2, 3), (4, 5), (6, 7)]
    views.apart = False
    mixed.set_epoch(5)
    assert [tuple((q.epoch, q.index) for q in sample) for sample in mixed] == [((5, i), (5, i)) for i in range(4)]


# ---------------------------------------------------------------------- datasets


def write(folder, n, bands, start):
    for i in range(n):
        pixels = np.full((bands, 24, 24), start + i, dtype=np.uint16)
        write_tif(folder / f"{i}.tif", pixels, north_up(500000 + 1000 * i))
    return RasterDataset(folder)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixture")
    return {"one": write(folder / "one", 3, 1, 10), "two": write(folder / "two", 4, 2, 20)}


def test_integers_run_over_all_datasets_in_order(parts):
    mixture = Mixture(parts)
    assert len(mixture) == 7 and mixture.names == ("one", "two")
    found = [(s["source"], int(s["image"].max()), s["draw"].tolist()) for s in (mixture[i] for i in range(7))]
    assert found == [(i // 3 if i < 6 else 1, 10 + i if i < 3 else 17 + i, [0, i]) for i in range(7)]
    assert mixture[-1]["image"].max() == 23 and mixture[torch.tensor(3)]["image"].max() == 20
    for wrong in (7, -8):
        with pytest.raises(IndexError, match=f"item {wrong} of a mixture with 7 items"):
            mixture[wrong]


def test_names_of_datasets_are_in_alphabetical_order_however_they_are_written(parts):
    mixture = Mixture({name: parts[name] for name in ("two", "one")})
    assert mixture.names == ("one", "two") and mixture.datasets == (parts["one"], parts["two"])
    assert Mixture([parts["two"], parts["one"]]).datasets == (parts["two"], parts["one"])


def test_samples_come_in_the_order_asked_and_are_those_of_the_datasets(parts):
    mixture = Mixture(parts)
    sampler = MixedSampler({k: RandomPatchSampler(d, size=8, length=9, seed=2) for k, d in parts.items()})
    queries = list(sampler)
    assert len({q.source for q in queries[:4]}) == 2
    for query, sample in zip(queries, mixture.__getitems__(queries), strict=True):
        own = parts[mixture.names[query.source]][query]
        assert sample["source"] == query.source and sample["query"] == query
        assert torch.equal(sample["image"], own["image"]) and sample["key"] == own["key"]
        assert "source" not in own


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_of_one_source(parts, workers):
    mixture = Mixture(parts)
    sampler = MixedSampler({k: RandomPatchSampler(d, size=8, length=9, seed=2) for k, d in parts.items()})
    batches = GroupedBatchSampler(sampler, 4, by="source")
    loader = torch.utils.data.DataLoader(mixture, batch_sampler=batches, num_workers=workers, collate_fn=gd.collate)
    bands = Counter()
    for batch in loader:
        (source,) = set(batch["source"].tolist())
        assert batch["image"].shape[1] == 1 + source
        assert (batch["image"] >= 10 * (1 + source)).all() and (batch["image"] < 10 * (2 + source)).all()
        bands[source] += len(batch["key"])
    assert bands == {0: 9, 1: 9}


def test_a_batch_of_one_source_is_not_copied(parts):
    samples = Mixture(parts).__getitems__([Query(row=i, source=1) for i in range(3)])
    batch = gd.collate(samples)
    assert batch["image"].untyped_storage().data_ptr() == samples[0]["image"].untyped_storage().data_ptr()
    assert batch["source"].tolist() == [1, 1, 1]


def test_different_keys_in_one_batch_are_refused(parts):
    mixture = Mixture([parts["one"], parts["two"].named("b")])
    with pytest.raises(QueryError, match="samples of one batch have different keys"):
        gd.collate([mixture[0], mixture[3]])


def test_views_are_of_one_source(parts):
    mixture = Mixture(parts)
    a, b = mixture[Query(row=0, source=1), Query(row=1, source=1)]
    assert a["source"] == b["source"] == 1 and (a["image"].max(), b["image"].max()) == (20, 21)
    with pytest.raises(QueryError, match=r"views of one sample are of sources \[0, 1\]"):
        mixture[Query(row=0, source=0), Query(row=1, source=1)]


def test_grids_of_items_by_the_loader(parts):
    mixture = Mixture(parts)
    sampler = MixedSampler([GridPatchSampler(d, size=12) for d in parts.values()])
    loader = gd.Loader(mixture, batch_sampler=GroupedBatchSampler(sampler, 4, by="source"), threads=2)
    assert sum(len(batch["key"]) for batch in loader) == len(sampler) == 7 * 4
    assert len(gd.Loader(mixture, batch_size=1)) == 7


@pytest.mark.parametrize("index", ["a", slice(0, 1), (), (1, 2)])
def test_other_indexes_are_refused(parts, index):
    with pytest.raises(QueryError, match="is no index of a mixture"):
        Mixture(parts)[index]


def test_sources_that_are_not_there(parts):
    with pytest.raises(QueryError, match="source 2 of a mixture of 2 datasets"):
        Mixture(parts)[Query(row=0, source=2)]
    with pytest.raises(QueryError, match="source -1 of"):
        Mixture(parts)[Query(row=0, source=-1)]
    with pytest.raises(QueryError, match="got none"):
        Mixture([])
    with pytest.raises(QueryError, match="got list"):
        Mixture({"a": [1]})


def test_it_says_what_it_is_made_of(parts):
    assert repr(Mixture(parts)).startswith("Mixture(one: RasterDataset(Catalog(3 items")


@pytest.mark.parametrize("datasets", [None, 3, object()])
def test_a_mixture_of_nothing_like_datasets_is_refused(datasets):
    with pytest.raises(QueryError, match="a mixture is made of several datasets"):
        Mixture(datasets)
