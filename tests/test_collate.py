"""Samples become a batch: without a copy where they are views of one buffer, without a guess where they differ."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import north_up, write_tif
from torch.utils.data import DataLoader, default_collate

import geodata as gd
from geodata.buffers import Pool
from geodata.datasets import RasterDataset
from geodata.errors import BandsError, GridError, QueryError
from geodata.samplers import GridPatchSampler, ItemSampler, RandomPatchSampler


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for i in range(4):
        write_tif(
            folder / f"{i}_20200{i + 1}01.tif",
            rng.integers(1, 9000, (3, 40, 50)).astype(np.uint16),
            north_up(500000 + 500 * i),
            nodata=0,
        )
    return RasterDataset(folder, pattern=r"(?P<item>\d)_(?P<date>\d{8})\.tif$")


def patches(ds, n=8, size=16):
    return ds.__getitems__(list(RandomPatchSampler(ds, size=size, length=n, seed=0)))


def test_a_batch_has_a_leading_axis_and_lists(images):
    samples = patches(images)
    batch = gd.collate(samples)
    assert set(batch) == set(samples[0])
    for i, sample in enumerate(samples):
        assert torch.equal(batch["image"][i], sample["image"]) and torch.equal(batch["valid"][i], sample["valid"])
        for key in ("grid", "time", "key", "query"):
            assert batch[key][i] == sample[key]
    assert batch["image"].shape == (8, 3, 16, 16) and batch["draw"].tolist() == [[0, i] for i in range(8)]
    assert isinstance(batch["bands"], gd.Bands) and batch["bands"] == images.bands
    assert all(isinstance(batch[k], list) for k in ("grid", "time", "key", "query"))


def test_samples_that_are_views_of_one_buffer_are_not_copied(images):
    samples = patches(images)
    batch = gd.collate(samples)
    for key in ("image", "valid"):
        assert batch[key].data_ptr() == samples[0][key].data_ptr(), key
        assert batch[key].is_contiguous()
    for some in (samples[2:5], samples[:1]):
        assert gd.collate(some)["image"].data_ptr() == some[0]["image"].data_ptr()
        assert torch.equal(gd.collate(some)["image"], torch.stack([s["image"] for s in some]))


@pytest.mark.parametrize(
    "pick",
    [
        lambda s: s[::-1],
        lambda s: s[::2],
        lambda s: [s[0], s[0]],
        lambda s: [s[1], s[0], s[2]],
        lambda s: [*s[:2], {**s[2], "image": s[2]["image"].clone()}],
        lambda s: [{**v, "image": v["image"].flip(-1)} for v in s[:3]],
        lambda s: [{**v, "image": v["image"].transpose(1, 2)} for v in s[:3]],
        lambda s: [{**v, "image": v["image"][:, 4:12, 4:12]} for v in s[:3]],
        lambda s: [{**v, "image": v["image"][:0]} for v in s[:3]],
        lambda s: [{**v, "image": v["image"].double()} for v in s[:3]],
        lambda s: [{**v, "image": v["image"].view(torch.int32)} for v in s[:3]],
    ],
)
def test_anything_else_is_stacked_right(images, pick):
    samples = pick(patches(images))
    batch = gd.collate(samples)
    assert torch.equal(batch["image"], torch.stack([s["image"] for s in samples]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 7), min_size=1, max_size=8))
def test_any_choice_of_samples_is_their_stack(images, order):
    samples = patches(images)
    some = [samples[i] for i in order]
    batch = gd.collate(some)
    assert torch.equal(batch["image"], torch.stack([s["image"] for s in some]))
    assert torch.equal(batch["valid"], torch.stack([s["valid"] for s in some]))


@pytest.mark.parametrize("cut", [lambda t: t, lambda t: t[0][None], lambda t: t.view(-1)], ids=["own", "view", "flat"])
def test_neighbours_in_memory_that_belong_to_different_owners_are_copied(cut):
    numbers = np.arange(48, dtype=np.float32)
    samples = [{"x": cut(torch.from_numpy(numbers[12 * i : 12 * i + 12]).view(1, 12))} for i in range(4)]
    batch = gd.collate(samples)
    assert torch.equal(batch["x"], torch.stack([s["x"] for s in samples]))
    assert batch["x"].data_ptr() != samples[0]["x"].data_ptr()


@pytest.mark.parametrize("other", [lambda t: t.view(4, 3), lambda t: t.view(3, 4).T, lambda t: t.view(torch.int32)])
def test_neighbours_of_one_buffer_that_differ_in_shape_or_kind_are_no_batch(other):
    whole = torch.arange(24.0)
    samples = [{"x": whole[:12].view(3, 4)}, {"x": other(whole[12:])}]
    with pytest.raises((GridError, QueryError), match="in one batch"):
        gd.collate(samples)


def test_a_batch_of_one_is_not_copied_and_without_autograd_neither(images):
    (one,) = patches(images, 1)
    assert gd.collate([one])["image"].data_ptr() == one["image"].data_ptr()
    with torch.inference_mode():
        samples = patches(images)
        batch = gd.collate(samples)
    assert batch["image"].data_ptr() == samples[0]["image"].data_ptr()
    assert torch.equal(batch["image"], torch.stack([s["image"] for s in samples]))


DTYPES = [torch.bfloat16, torch.complex64, torch.float16, torch.uint8, torch.uint16, torch.bool, torch.int64]
ODD = {
    "graph": lambda t: t.float().requires_grad_(),
    "negative bit": lambda t: torch.view_as_complex(torch.stack([t.float(), t.float()], -1)).conj().imag,
    "reversed axes": lambda t: t.T,
    "steps": lambda t: t[:, ::2],
    "scalar": lambda t: t[0, 0],
    "parameter": lambda t: torch.nn.Parameter(t.float()),
    **{str(d): lambda t, d=d: t.to(d) for d in DTYPES},
}


@pytest.mark.parametrize("kind", ODD)
def test_in_a_loader_tensors_are_stacked_and_padded_as_outside(kind):
    samples = [{"x": ODD[kind](torch.arange(12).reshape(3, 4) + 5 * i)} for i in range(3)]
    outside = gd.collate(samples)["x"]
    with Pool():
        inside = gd.collate(samples)["x"]
    assert (
        inside.dtype == outside.dtype and torch.equal(inside, outside) and inside.requires_grad == outside.requires_grad
    )
    if outside.ndim < 2:
        return
    samples[1] = {"x": samples[1]["x"][:2]}
    for fill in (1, 0.0, True):
        outside = gd.collate(samples, pad=fill)["x"]
        with Pool():
            inside = gd.collate(samples, pad=fill)["x"]
        assert inside.dtype == outside.dtype and torch.equal(inside, outside)


class AtOnce(RasterDataset):
    """Reads whole batches where it is asked to, backwards, and notes which."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.asked, self.single = [], []

    def _fill_many(self, spots, whole):
        self.asked.append([(spot.row, spot.window) for spot in spots])
        rests = {}
        for i in reversed(range(len(spots))):
            rests[i] = super()._fill(spots[i], {k: v[i] for k, v in whole.items()})
        return [rests[i] for i in range(len(spots))]

    def _fill(self, spot, out):
        self.single.append(spot.row)
        return super()._fill(spot, out)


@pytest.fixture
def at_once(images, tmp_path):
    for i in range(4):
        pixels = images[i]["image"].numpy()
        write_tif(tmp_path / f"{i}.tif", pixels if i < 3 else pixels[:, :30], north_up(500000 + 500 * i), nodata=0)
    return AtOnce(tmp_path), RasterDataset(tmp_path)


def test_windows_of_equal_size_are_read_at_once_in_their_order(at_once):
    ds, plain = at_once
    queries = list(RandomPatchSampler(ds, size=16, length=9, seed=3))
    got, want = ds.__getitems__(queries), plain.__getitems__(queries)
    assert ds.asked == [[(q.row, q.window) for q in queries]] and not ds.single
    for a, b in zip(got, want, strict=True):
        assert list(a) == list(b) and a["query"] == b["query"] and a["key"] == b["key"] and a["grid"] == b["grid"]
        assert all(torch.equal(a[k], b[k]) for k in ("image", "valid", "draw"))
    assert gd.collate(got)["image"].data_ptr() == got[0]["image"].data_ptr()


def test_each_view_is_a_batch_that_is_read_at_once(at_once):
    ds, plain = at_once
    queries = list(RandomPatchSampler(ds, size=16, length=8, seed=3))
    pairs = list(zip(queries[:4], queries[4:], strict=True))
    for got, want in zip(gd.collate(ds.__getitems__(pairs)), gd.collate(plain.__getitems__(pairs)), strict=True):
        assert torch.equal(got["image"], want["image"]) and got["key"] == want["key"]
    assert [[row for row, _ in batch] for batch in ds.asked] == [
        [q.row for q in queries[:4]],
        [q.row for q in queries[4:]],
    ]


def test_what_is_no_batch_of_windows_is_read_one_by_one(at_once):
    ds, plain = at_once
    grid = ds.catalog.grid(0, (3, 4, 16, 16))
    for indexes in (
        [0],
        [0, 3],
        [gd.Query(grid=grid), grid],
        [gd.Query(row=0, grid=grid), gd.Query(row=1, window=(0, 0, 16, 16))],
    ):
        got, want = ds.__getitems__(indexes), plain.__getitems__(indexes)
        assert all(torch.equal(a["image"], b["image"]) for a, b in zip(got, want, strict=True))
    assert ds.asked == []
    ds.__getitems__([0, 1])
    assert ds.asked == [[(0, (0, 0, 40, 50)), (1, (0, 0, 40, 50))]], "whole items are windows too"


def test_batches_do_not_share_memory(images):
    a, b = gd.collate(patches(images)), gd.collate(patches(images))
    a["image"].zero_()
    assert b["image"].abs().sum() > 0


def test_items_of_unequal_shape_are_read_one_by_one(tmp_path):
    for i, size in enumerate(((4, 6), (5, 3))):
        write_tif(tmp_path / f"{i}.tif", np.full(size, i + 1, np.uint8))
    ds = RasterDataset(tmp_path)
    samples = ds.__getitems__([0, 1])
    assert [tuple(s["image"].shape) for s in samples] == [(1, 4, 6), (1, 5, 3)]
    with pytest.raises(
        GridError,
        match=r"image has shapes \[\(1, 4, 6\), \(1, 5, 3\)\] in one batch; sample windows of one size, or pad: collate\(pad=0\)",
    ):
        gd.collate(samples)
    batch = gd.collate(samples, pad=9)
    assert batch["image"].shape == (2, 1, 5, 6)
    assert (batch["image"][0, 0, :4] == 1).all() and (batch["image"][0, 0, 4] == 9).all()
    assert (batch["image"][1, 0, :, :3] == 2).all() and (batch["image"][1, 0, :, 3:] == 9).all()
    assert batch["valid"].sum(dim=(1, 2)).tolist() == [24, 15] and batch["valid"].dtype == torch.bool


@pytest.mark.parametrize("pad", [3, {"image": 3, "extra": 4}, {"image": 3, "extra": 4, "mask": 0, "valid": 1}])
def test_padding_never_makes_observed_pixels_or_classes(pad):
    def sample(h):
        return {
            "image": torch.ones(1, h, 2),
            "valid": torch.ones(h, 2, dtype=torch.bool),
            "mask_lc": torch.ones(h, 2, dtype=torch.int64),
            "extra": torch.ones(h),
        }

    batch = gd.collate([sample(2), sample(3)], pad=pad)
    assert batch["image"][0, 0, 2].tolist() == [3, 3] and not batch["valid"][0, 2].any()
    assert batch["mask_lc"][0, 2].tolist() == [-100, -100] and batch["extra"][0, 2] == (3 if pad == 3 else 4)
    with pytest.raises(GridError, match="extra has shapes"):
        gd.collate([sample(2), sample(3)], pad={"image": 3})


def test_each_series_has_a_mask_of_its_own():
    def sample(t, t_s1):
        return {"image": torch.ones(t, 1, 2, 2), "image_s1": torch.ones(t_s1, 1, 2, 2)}

    batch = gd.collate([sample(2, 1), sample(1, 3)], pad=0)
    assert batch["mask_time"].tolist() == [[True, True], [True, False]]
    assert batch["mask_time_s1"].tolist() == [[True, False, False], [True, True, True]]


def test_ragged_keys_stay_lists(images):
    samples = [
        {
            "boxes": torch.zeros(n, 4),
            "box_labels_x": torch.zeros(n),
            "corners": torch.zeros(n, 4, 2),
            "instances": torch.zeros(n, 3, 3),
        }
        for n in (2, 0, 5)
    ]
    batch = gd.collate(samples)
    assert all(isinstance(v, list) and [len(t) for t in v] == [2, 0, 5] for v in batch.values())


def test_numbers_become_tensors():
    batch = gd.collate([{"cloud": 0.5, "n": 1, "m": np.float64(2)}, {"cloud": 0.25, "n": 2, "m": np.float64(3)}])
    assert batch["cloud"].tolist() == [0.5, 0.25] and batch["n"].dtype == torch.int64 and batch["m"].tolist() == [2, 3]


def test_what_is_no_batch(images):
    samples = patches(images, 2)
    with pytest.raises(QueryError, match="a batch needs at least one sample"):
        gd.collate([])
    with pytest.raises(QueryError, match="samples of one batch have different keys"):
        gd.collate([samples[0], {k: v for k, v in samples[1].items() if k != "valid"}])
    other = {**samples[1], "bands": samples[1]["bands"].select(["3", "2", "1"])}
    with pytest.raises(BandsError, match=r"bands differs within a batch: .* select the same bands everywhere"):
        gd.collate([samples[0], other])
    state = {**samples[1], "bands": samples[1]["bands"].with_state("dB")}
    with pytest.raises(BandsError, match="bands differs within a batch"):
        gd.collate([samples[0], state])


def test_padding_does_not_cut_values_to_the_first_samples_dtype():
    small, large = torch.full((1, 2), 7, dtype=torch.uint8), torch.full((1, 3), 300, dtype=torch.int16)
    with pytest.raises((GridError, QueryError), match=r"dtype|uint8"):
        assert gd.collate([{"image": small}, {"image": large}], pad=0)["image"].max() == 300


def test_torchs_own_collate_gives_the_same(images):
    samples = patches(images)
    ours, torchs = gd.collate(samples), default_collate(samples)
    assert set(ours) == set(torchs)
    for key, value in ours.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, torchs[key]), key
        else:
            assert value == torchs[key], key


@pytest.mark.parametrize("options", [{"collate_fn": gd.collate}, {}], ids=["gd.collate", "default_collate"])
@pytest.mark.parametrize("sampler", [None, "grid", "random", "items"])
def test_a_plain_data_loader_works(images, options, sampler):
    samplers = {
        "grid": lambda: GridPatchSampler(images, size=20),
        "random": lambda: RandomPatchSampler(images, size=20, length=7, seed=1),
        "items": lambda: ItemSampler(images, shuffle=True),
        None: lambda: None,
    }
    loader = DataLoader(images, batch_size=3, sampler=samplers[sampler](), **options)
    keys = [k for batch in loader for k in batch["key"]]
    order = samplers[sampler]() or range(4)
    assert keys == [images[q]["key"] for q in order]
    assert next(iter(loader))["bands"] == images.bands


def test_the_state_of_bands_survives_pinning():
    from torch.utils.data._utils.pin_memory import pin_memory

    bands = gd.Bands(["a", "b"], state="dB")
    moved = pin_memory({"bands": bands, "time": [gd.Interval(0, 1)], "query": [gd.Query(row=0)]})
    assert moved["bands"] == bands and moved["bands"].state == "dB"
    assert moved["query"] == [gd.Query(row=0)] and moved["time"] == [gd.Interval(0, 1)]
