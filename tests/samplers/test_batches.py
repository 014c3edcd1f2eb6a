"""Batches of one group: formed on the sequence of all ranks, shared out, and gone on with."""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import catalog_of, north_up, write_tif

import geodata as gd
from geodata.datasets import RasterDataset
from geodata.errors import SamplerError
from geodata.query import Query
from geodata.samplers import ItemSampler, QuerySampler, RandomPatchSampler
from geodata.samplers.batches import GroupedBatchSampler

ZONES = ("EPSG:32631", "EPSG:32632", "EPSG:32633")


def rows(n=9):
    """Rows in three zones by turns, of two resolutions, in three countries, one of which has no name."""
    places = [(north_up(500000 + 1e4 * i, res=10 if i % 2 else 20), (20, 20 + 10 * (i % 2))) for i in range(n)]
    return catalog_of(
        *((place, shape, ZONES[i % 3]) for i, (place, shape) in enumerate(places)),
        columns={"country": [(None, "a", "b")[i % 3] for i in range(n)], "cloud": [float("nan"), 1.0, 1.0] * (n // 3)},
    )


CATALOG = rows()


def items(**options):
    return ItemSampler(CATALOG, shuffle=True, seed=3, **options)


def windows(n=40, **options):
    return RandomPatchSampler(CATALOG, size=8, length=n, seed=3, mixed=True, **options)


def expected(sampler, size, group, drop_last=False):
    """Batches as one would form them by hand, query by query."""
    open_ones, full = {}, []
    for number, query in enumerate(sampler.draw(np.arange(sampler.total))):
        batch = open_ones.setdefault(group(query), [])
        batch.append((number, query))
        if len(batch) == size:
            full.append(open_ones.pop(group(query)))
    short = sorted((batch for batch in open_ones.values()), key=lambda batch: batch[-1][0])
    return [[query for _, query in batch] for batch in full + ([] if drop_last else short)]


def crs(query):
    return query.row % 3


def resolution(query):
    return query.row % 2


GROUPS = {
    "crs": crs,
    "resolution": resolution,
    "country": crs,
    "cloud": lambda query: query.row % 3 == 0,
    resolution: resolution,
}


@pytest.mark.parametrize("by", GROUPS, ids=lambda by: by if isinstance(by, str) else "function")
@settings(max_examples=25)
@given(st.integers(1, 60), st.integers(1, 9), st.booleans(), st.integers(0, 3))
def test_batches_are_those_formed_by_hand(by, n, size, drop_last, epoch):
    sampler = windows(n)
    sampler.set_epoch(epoch)
    wanted = expected(sampler, size, GROUPS[by], drop_last)
    batches = GroupedBatchSampler(sampler, size, by=by, drop_last=drop_last, data=CATALOG)
    if not wanted:
        with pytest.raises(SamplerError, match=r"groups has the \d+ samples of a batch, and drop_last leaves"):
            len(batches)
        return
    assert len(batches) == len(wanted) == batches.total
    assert list(batches) == wanted and batches.epoch == epoch
    assert all(len({GROUPS[by](query) for query in batch}) == 1 for batch in batches)


def test_each_query_comes_once_and_short_batches_come_last():
    batches = list(GroupedBatchSampler(windows(50), 4, by="crs", data=CATALOG))
    assert sorted(query.index for batch in batches for query in batch) == list(range(50))
    short = [len(batch) < 4 for batch in batches]
    assert short == sorted(short) and 1 <= sum(short) <= len(ZONES)


@pytest.mark.parametrize("make", [windows, items])
@settings(max_examples=25)
@given(st.integers(1, 4), st.integers(1, 5), st.sampled_from(["pad", "keep", "drop"]))
def test_ranks_take_turns_and_together_are_the_single_sequence(make, size, world, uneven):
    options = {} if make is windows else {"uneven": uneven}
    uneven = options.get("uneven", "pad")
    single = list(GroupedBatchSampler(make(), size, by="crs", data=CATALOG))
    made = [
        GroupedBatchSampler(make(rank=r, world=world, **options), size, by="crs", data=CATALOG) for r in range(world)
    ]
    ranks = [list(batches) for batches in made]
    assert [len(batches) for batches in made] == [len(rank) for rank in ranks]
    own = [[batch for batch in rank if not batch[0].repeat] for rank in ranks]
    kept = len(single) // world * world if uneven == "drop" else len(single)
    assert [own[i % world][i // world] for i in range(kept)] == single[:kept]
    assert sum(map(len, own)) == kept
    if uneven == "pad":
        assert {len(rank) for rank in ranks} == {-(-len(single) // world)}
    again = [batch for rank in ranks for batch in rank if batch[0].repeat]
    assert len(again) == (-len(single) % world if uneven == "pad" else 0)
    for batch in again:
        assert all(query.repeat for query in batch)
        assert [(q.row, q.window, q.index) for q in batch] in [[(q.row, q.window, q.index) for q in b] for b in single]


@settings(max_examples=40)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 5), st.data())
def test_a_run_goes_on_with_other_ranks(size, before, after, data):
    single = list(GroupedBatchSampler(windows(), size, by="crs", data=CATALOG))
    steps = data.draw(st.integers(0, len(single) // before))
    first, state = [], None
    for rank in range(before):
        batches = GroupedBatchSampler(windows(rank=rank, world=before), size, by="crs", data=CATALOG)
        stream = iter(batches)
        first += [next(stream) for _ in range(steps)]
        state = batches.state_dict()
    assert state["consumed"] == steps * before, "batches over all ranks"
    rest = []
    for rank in range(after):
        batches = GroupedBatchSampler(windows(rank=rank, world=after), size, by="crs", data=CATALOG)
        batches.load_state_dict(pickle.loads(pickle.dumps(state)))
        assert batches.position == steps * before
        rest += [batch for batch in batches if not batch[0].repeat]
    assert Counter(map(tuple, first + rest)) == Counter(map(tuple, single))


# ---------------------------------------------------------------------- epochs


@pytest.mark.parametrize("how", ["batches", "sampler"])
def test_the_epoch_is_that_of_the_sampler_whoever_sets_it(how):
    sampler = windows()
    batches = GroupedBatchSampler(sampler, 4, by="crs", data=CATALOG)
    first = list(batches)
    (batches if how == "batches" else sampler).set_epoch(2)
    assert batches.epoch == sampler.epoch == 2
    assert batches.state_dict()["consumed"] == 0 and batches.position == 0
    second = list(batches)
    assert {query.epoch for batch in second for query in batch} == {2} and second != first
    fresh = windows()
    fresh.set_epoch(2)
    assert second == expected(fresh, 4, crs)


@pytest.mark.parametrize("how", ["batches", "sampler"])
def test_a_place_in_an_epoch_is_kept_by_the_customary_set_epoch_and_left_with_the_epoch(how):
    whole = GroupedBatchSampler(windows(), 4, by="crs", data=CATALOG)
    whole.set_epoch(3)
    state = whole.state_dict(consumed=5)
    batches = GroupedBatchSampler(windows(), 4, by="crs", data=CATALOG)
    batches.load_state_dict(state)
    setter = batches if how == "batches" else batches.sampler
    assert batches.epoch == 3
    setter.set_epoch(3)
    assert len(batches) == len(list(whole)) - 5 and batches.state_dict()["consumed"] == 5
    assert list(batches) == list(whole)[5:]
    batches.load_state_dict(state)
    setter.set_epoch(4)
    whole.set_epoch(4)
    assert batches.position == 0 and list(batches) == list(whole)


def test_making_batches_leaves_the_epoch_alone():
    sampler = windows()
    sampler.set_epoch(7)
    assert GroupedBatchSampler(sampler, 4, by="size").epoch == sampler.epoch == 7


def test_the_place_is_known_at_every_moment():
    batches = GroupedBatchSampler(windows(), 4, by="size")
    assert batches.state_dict()["consumed"] == 0
    for n, _ in enumerate(batches, 1):
        assert batches.state_dict()["consumed"] == n
    batches.set_epoch(0)
    assert batches.state_dict()["consumed"] == 0


def test_a_place_of_the_sampler_is_no_place_of_the_batches():
    sampler = windows()
    sampler.load_state_dict(sampler.state_dict(consumed=8))
    batches = GroupedBatchSampler(sampler, 4, by="size")
    with pytest.raises(SamplerError, match="stands at sample 8 of its epoch, but batches count their own place"):
        len(batches)


def test_a_state_of_other_batches_is_refused():
    state = GroupedBatchSampler(windows(), 4, by="crs", data=CATALOG).state_dict()
    for other in (
        GroupedBatchSampler(windows(), 5, by="crs", data=CATALOG),
        GroupedBatchSampler(windows(), 4, by="country", data=CATALOG),
        GroupedBatchSampler(windows(), 4, by="crs", drop_last=True, data=CATALOG),
        GroupedBatchSampler(windows(41), 4, by="crs", data=CATALOG),
        windows(),
    ):
        with pytest.raises(SamplerError, match="this state is of another sampler"):
            other.load_state_dict(state)


class Learning(RandomPatchSampler):
    """Draws that depend on a state, as those of hard examples do."""

    shift = 0

    def draw(self, indexes):
        return super().draw((indexes + self.shift) % self.total)

    def state_dict(self, consumed=None):
        return super().state_dict(consumed) | {"shift": self.shift}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.shift = state["shift"]


def test_the_state_of_the_sampler_goes_along():
    one, other = (Learning(CATALOG, size=8, length=40, seed=3, mixed=True) for _ in range(2))
    one.shift = 7
    batches = GroupedBatchSampler(one, 4, by="crs", data=CATALOG)
    resumed = GroupedBatchSampler(other, 4, by="crs", data=CATALOG)
    assert list(resumed) != list(batches)
    resumed.load_state_dict(batches.state_dict(consumed=2))
    assert other.shift == 7 and list(resumed) == list(batches)[2:]


def test_draws_that_change_within_an_epoch_never_mix_groups():
    sampler = Learning(CATALOG, size=8, length=40, seed=3, mixed=True)
    batches = GroupedBatchSampler(sampler, 4, by="crs", data=CATALOG)
    list(batches)
    sampler.shift = 1
    with pytest.raises(SamplerError, match="changed since the batches of this epoch were formed; call set_epoch of"):
        list(batches)
    batches.set_epoch(0)
    assert list(batches) == expected(sampler, 4, crs)


# ---------------------------------------------------------------------- groups


class Given(QuerySampler):
    """Yields what it is given."""

    def __init__(self, *asked, **options):
        super().__init__(**options)
        self.asked = asked

    @property
    def total(self):
        return len(self.asked)

    @property
    def plan(self):
        return str(self.asked)

    def draw(self, indexes):
        yield from (self.asked[i] for i in indexes)


def groups(batches):
    return [[query.index for query in batch] for batch in batches]


def test_sizes_of_windows_grids_and_whole_items():
    grid = CATALOG.grid(1).coarser(2)
    sampler = Given(
        Query(row=0, window=(0, 0, 8, 8), index=0),
        Query(row=0, window=(0, 0, 20, 20), index=1),
        Query(row=0, index=2),
        Query(row=1, grid=grid, index=3),
        Query(row=5, window=(1, 1, *grid.shape), index=4),
    )
    assert groups(GroupedBatchSampler(sampler, 2, by="size", data=CATALOG)) == [[1, 2], [3, 4], [0]]
    with pytest.raises(SamplerError, match="sizes of whole items are needed; give data="):
        len(GroupedBatchSampler(sampler, 2, by="size"))


def test_views_of_a_sample_count_all():
    def pair(a, b, index):
        return (
            Query(row=0, window=(0, 0, a, a), index=index, source=index % 2),
            Query(row=1, window=(0, 0, b, b), index=index, source=index % 2),
        )

    sampler = Given(pair(4, 8, 0), pair(8, 8, 1), pair(8, 4, 2), pair(4, 8, 3))
    made = list(GroupedBatchSampler(sampler, 2, by="size"))
    assert [[views[0].index for views in batch] for batch in made] == [[0, 3], [1], [2]]
    made = list(GroupedBatchSampler(sampler, 2, by="source"))
    assert [[views[0].index for views in batch] for batch in made] == [[0, 2], [1, 3]]


def test_a_row_read_on_a_grid_counts_as_the_grid():
    coarse = CATALOG.grid(1).coarser(2)  # 10 m become the 20 m of row 0
    elsewhere = gd.Grid((8, 8), coarse.transform, ZONES[0])
    sampler = Given(
        Query(row=0, index=0), Query(row=1, index=1), Query(row=1, grid=coarse, index=2), Query(grid=elsewhere, index=3)
    )
    assert groups(GroupedBatchSampler(sampler, 3, by="resolution", data=CATALOG)) == [[0, 2, 3], [1]]
    assert groups(GroupedBatchSampler(sampler, 2, by="crs", data=CATALOG)) == [[1, 2], [0, 3]]
    with pytest.raises(SamplerError, match="a query by place has no 'country'"):
        len(GroupedBatchSampler(sampler, 2, by="country", data=CATALOG))


def test_degrees_are_no_metres():
    one = catalog_of((north_up(10, 50, res=1.0), (8, 8), "EPSG:4326"), (north_up(res=1.0), (8, 8), ZONES[0]))
    sampler = Given(Query(row=0, index=0), Query(row=1, index=1))
    assert groups(GroupedBatchSampler(sampler, 2, by="resolution", data=one)) == [[0], [1]]


def test_rows_of_several_catalogs_are_told_apart_by_source():
    class Two:
        datasets = (CATALOG, rows(3).take([2, 1, 0]))

    sampler = Given(*(Query(row=0, source=s, index=i) for i, s in enumerate((0, 1, 0, 1))))
    assert groups(GroupedBatchSampler(sampler, 2, by="crs", data=Two())) == [[0, 2], [1, 3]]
    with pytest.raises(SamplerError, match="a query is of source 1, but data has 1; give the mixture"):
        len(GroupedBatchSampler(sampler, 2, by="crs", data=CATALOG))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: GroupedBatchSampler([1, 2], 2, by="size"),
            "made of a sampler of queries from geodata.samplers, got list",
        ),
        (lambda: GroupedBatchSampler(GroupedBatchSampler(windows(), 2, by="size"), 2, by="size"), "got GroupedBatch"),
        (lambda: GroupedBatchSampler(windows(), 0, by="size"), "batch_size=0 must be a whole number"),
        (lambda: GroupedBatchSampler(windows(), 2, by="crs"), "by='crs' needs data="),
        (
            lambda: GroupedBatchSampler(windows(), 2, by="mood", data=CATALOG),
            "'mood' is neither 'crs', .* nor a column: .*country",
        ),
    ],
)
def test_what_cannot_be_grouped(make, said):
    with pytest.raises(SamplerError, match=said):
        make()


def test_a_column_of_lists_is_no_group():
    lists = catalog_of((north_up(), (8, 8), ZONES[0]), columns={"labels": [["a", "b"]]})
    with pytest.raises(SamplerError, match=r"column 'labels' holds .*, not single values"):
        GroupedBatchSampler(ItemSampler(lists), 2, by="labels", data=lists)


def test_it_goes_to_other_processes():
    batches = GroupedBatchSampler(windows(rank=1, world=2), 4, by="crs", data=CATALOG)
    assert list(pickle.loads(pickle.dumps(batches))) == list(batches)


# ---------------------------------------------------------------------- reading


@pytest.fixture(scope="module")
def ds(tmp_path_factory):
    """Two images of 10 m, two of 20 m."""
    folder = tmp_path_factory.mktemp("batches")
    for i in range(4):
        pixels = np.random.default_rng(i).integers(1, 99, (2, 40, 40)).astype(np.uint16)
        write_tif(folder / f"{i}.tif", pixels, north_up(500000 + 1000 * i, res=10 * (1 + i % 2)))
    return RasterDataset(folder)


def make(ds, **options):
    sampler = RandomPatchSampler(ds, size="160m", length=30, seed=1, mixed=True, **options)
    return GroupedBatchSampler(sampler, 4, by="resolution", data=ds)


def same(a, b):
    assert a.keys() == b.keys()
    for key, value in a.items():
        assert torch.equal(value, b[key]) if isinstance(value, torch.Tensor) else value == b[key], key


def test_windows_of_one_ground_size_in_batches_of_one_resolution(ds):
    plain = list(torch.utils.data.DataLoader(ds, batch_sampler=make(ds), collate_fn=gd.collate))
    assert {batch["image"].shape[-1] for batch in plain} == {8, 16}
    loader = gd.Loader(ds, batch_sampler=make(ds))
    ours = list(loader)
    assert len(loader) == len(ours) == len(plain)
    for a, b in zip(ours, plain, strict=True):
        same(a, b)


@pytest.mark.parametrize("threads", [0, 3])
@pytest.mark.parametrize("k", [0, 1, 4])
def test_the_loader_goes_on_after_the_batches_it_handed_out(ds, threads, k):
    whole = list(gd.Loader(ds, batch_sampler=make(ds), threads=0))
    loader = gd.Loader(ds, batch_sampler=make(ds), threads=threads)
    stream = iter(loader)
    for _ in range(k):
        next(stream)
    state = loader.state_dict()
    stream.close()
    assert state["consumed"] == k, "whatever was read ahead"
    resumed = gd.Loader(ds, batch_sampler=make(ds), threads=threads)
    resumed.load_state_dict(state)
    resumed.set_epoch(0)
    assert len(resumed) == len(whole) - k and resumed.state_dict() == state
    for a, b in zip(resumed, whole[k:], strict=True):
        same(a, b)
    resumed.set_epoch(1)
    assert resumed.state_dict()["consumed"] == 0


def test_ranks_of_a_loader_count_over_all_of_them(ds):
    loader = gd.Loader(ds, batch_sampler=make(ds, rank=1, world=3))
    stream = iter(loader)
    next(stream)
    assert loader.state_dict()["consumed"] == 3
    stream.close()
    loader.batch_sampler.sampler.set_epoch(1)
    assert loader.state_dict()["consumed"] == 0 and loader.state_dict()["epoch"] == 1


@pytest.mark.parametrize("options", [{"sampler": [0]}, {"batch_size": 2}, {"drop_last": True}])
def test_a_batch_sampler_makes_the_batches_alone(ds, options):
    with pytest.raises(SamplerError, match="give it without sampler, batch_size and drop_last"):
        gd.Loader(ds, batch_sampler=[[0]], **options)


def test_any_batch_sampler_will_do(ds):
    loader = gd.Loader(ds, batch_sampler=[[3, 1], (2,)])
    assert [batch["key"] for batch in loader] == [["3", "1"], ["2"]]
    with pytest.raises(SamplerError, match="list keeps no state"):
        loader.state_dict()
