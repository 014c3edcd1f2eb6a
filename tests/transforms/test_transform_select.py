"""Choosing, dropping and padding bands, and random subsets of them."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from geodata import transforms as T
from geodata.bands import Bands
from geodata.errors import BandsError, TransformError

S2 = Bands.of_sensor("sentinel-2")
L8 = Bands.of_sensor("landsat-8")


def of(bands, *, dtype=torch.float32, batch=None, **more):
    """A sample, or a batch, in which every value of a band is its position."""
    image = torch.arange(len(bands)).to(dtype).reshape(-1, 1, 1).expand(-1, 2, 3).contiguous()
    if batch is None:
        return {"key": "a", "draw": torch.tensor([0, 0]), "image": image, "bands": bands, **more}
    draw = torch.stack([torch.zeros(batch, dtype=torch.int64), torch.arange(batch)], dim=1)
    return {"key": ["a"] * batch, "draw": draw, "image": image.expand(batch, -1, -1, -1), "bands": bands, **more}


def values(out):
    return out["image"][..., 0, 0].tolist()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int16, torch.float16, torch.float32])
def test_select_by_name_common_name_and_wavelength_in_the_order_asked_for(dtype):
    out = T.SelectBands(["nir", "B02", 665])(of(S2, dtype=dtype))
    assert out["bands"].names == ("B08", "B02", "B04") and values(out) == [7, 1, 3]
    assert out["image"].dtype == dtype


def test_select_keeps_state_and_copies_no_neighbours():
    sample = of(S2.with_state("reflectance"))
    out = T.SelectBands(["B02", "B03", "B04"])(sample)
    assert out["bands"].state == "reflectance"
    assert out["image"].data_ptr() == sample["image"][1].data_ptr()
    assert T.SelectBands(list(S2.names))(sample)["image"] is sample["image"]


def test_drop_keeps_the_order():
    out = T.DropBands(["B10", "coastal", 945])(of(S2))
    assert out["bands"].names == tuple(n for n in S2.names if n not in ("B01", "B09", "B10"))
    assert values(out) == [1, 2, 3, 4, 5, 6, 7, 8, 11, 12]


def test_the_mask_of_bands_stays_in_register():
    mask = torch.arange(13) % 3 != 0
    assert T.SelectBands(["B03", "B02", "B04"])(of(S2, band_mask=mask))["band_mask"].tolist() == [True, True, False]
    assert (
        T.DropBands(["B02"])(of(S2, batch=2, band_mask=mask.expand(2, -1)))["band_mask"].tolist()
        == [[bool(mask[i]) for i in range(13) if i != 1]] * 2
    )
    with pytest.raises(TransformError, match=r"band_mask.*must be bool \(13,\)"):
        T.SelectBands(["B03"])(of(S2, band_mask=mask[:5]))


@pytest.mark.parametrize("kind", [T.SelectBands, T.DropBands])
def test_select_refuses_what_is_not_there(kind):
    for asked in ("B02", [], [None], [True], {"B02": 1}, 5):
        with pytest.raises(TransformError):
            kind(asked)
    with pytest.raises(BandsError, match="no band 'B13'"):
        kind(["B13"])(of(S2))
    with pytest.raises(BandsError, match="no band within"):
        kind([5000])(of(S2))
    with pytest.raises(TransformError, match="one Bands"):
        kind(["B02"])({"key": "a", "image": torch.zeros(3, 2, 2)})


def test_dropping_all_is_refused():
    with pytest.raises(BandsError, match="leaves none"):
        T.DropBands(list(S2.names))(of(S2))


def test_landsat_on_the_places_of_sentinel():
    out = T.PadBands("sentinel-2", fill=-9.0)(of(L8, batch=2))
    # By hand: Landsat's B5 (865 nm) is B8A, never B05 (704 nm); nothing is like the red edge and the broad B08.
    wanted = [0, 1, 2, 3, -9, -9, -9, -9, 4, -9, 8, 5, 6]
    assert values(out) == [wanted, wanted]
    assert out["bands"].names == S2.names
    assert out["band_mask"].tolist() == [[w >= 0 for w in wanted]] * 2
    b8a = out["bands"][out["bands"].position("B8A")]
    assert (b8a.wavelength, b8a.common_name) == (865, "nir08"), "what was measured, not what was asked for"
    assert out["bands"][4] == S2[4]


def test_pad_by_plain_names_spelled_otherwise():
    out = T.PadBands(["b8a", "B1", "VV"], fill={"VV": 3.0})(of(S2))
    assert values(out) == [8, 0, 3] and out["band_mask"].tolist() == [True, True, False]


def test_padding_twice_remembers_what_was_missing():
    first = T.PadBands(["B02", "x", "B03"])(of(S2))
    again = T.PadBands(["B03", "x", "y", "B02"])(first)
    assert again["band_mask"].tolist() == [True, False, False, True] and values(again) == [2, 0, 0, 1]


def test_one_transform_serves_changing_bands():
    pad = T.PadBands(["B04", "B02"])
    assert values(pad(of(S2))) == [3, 1]
    assert values(pad(of(S2[1:]))) == [2, 0]
    assert values(pad(of(L8))) == [3, 1]


def test_pad_refuses_nothing_in_common_and_fills_that_do_not_fit():
    with pytest.raises(BandsError, match=r"2 of 2 bands are missing(.|\n)*VV"):
        T.PadBands(["VV", "VH"])(of(S2))
    with pytest.raises(BandsError, match=r"B05 .*is 160.9 nm away"):
        T.PadBands(L8.select(["B5"]), tolerance=10)(of(S2[:8]))
    with pytest.raises(BandsError, match="fill says nothing"):
        T.PadBands(["B02", "x", "y"], fill={"x": 0.0})(of(S2))
    with pytest.raises(TransformError, match="cannot hold the fill -1"):
        T.PadBands(["B02", "x"], fill=-1)(of(S2, dtype=torch.uint16))
    with pytest.raises(TransformError, match=r"cannot hold the fill 0\.5"):
        T.PadBands(["B02", "x"], fill=0.5)(of(S2, dtype=torch.int16))
    assert values(T.PadBands(["B02", "x"], fill=65535)(of(S2, dtype=torch.uint16))) == [1, 65535]
    for bad in ({"fill": {"z": 1}}, {"fill": "0"}, {"fill": float("nan")}, {"fill": True}):
        with pytest.raises(TransformError):
            T.PadBands(["B02", "x"], **bad)
    for bad in ([], "sentinel2"):
        with pytest.raises((TransformError, BandsError)):
            T.PadBands(bad)


def test_an_empty_batch_and_an_image_under_a_suffix():
    empty = {"key": [], "draw": torch.zeros(0, 2, dtype=torch.int64), "image": torch.zeros(0, 13, 2, 2), "bands": S2}
    for step in (T.SelectBands(["B02"]), T.PadBands(["B02", "x"]), T.RandomBands(keep=2)):
        assert step(empty)["image"].shape[0] == 0
    sample = {"key": "a", "image_s2": torch.ones(13, 2, 2), "bands_s2": S2}
    assert T.PadBands(["x", "B02"], key="image_s2")(sample)["band_mask_s2"].tolist() == [False, True]


def masks(step, bands, n=4000, **more):
    return step(of(bands, batch=n, **more))["band_mask"].numpy()


def test_hierarchical_sampling_draws_the_number_then_the_bands():
    kept = masks(T.RandomBands(keep=[1, 4]), Bands("abcd"))
    counts = np.bincount(kept.sum(axis=1), minlength=5)
    # Each number 1/4, each band 5/8 of the time; five standard deviations of 4000 draws.
    assert counts[0] == 0 and np.abs(counts[1:] / 4000 - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / 4000)
    assert np.abs(kept.mean(axis=0) - 0.625).max() < 5 * np.sqrt(0.625 * 0.375 / 4000)
    pairs = kept[kept.sum(axis=1) == 2]
    assert {tuple(np.flatnonzero(row)) for row in pairs} == {(i, j) for i in range(4) for j in range(i + 1, 4)}


def test_dropping_each_on_its_own():
    kept = masks(T.RandomBands(p=0.3), Bands(f"b{i}" for i in range(8)))
    assert np.abs(kept.mean(axis=0) - 0.7).max() < 5 * np.sqrt(0.21 / 4000)
    assert np.corrcoef(kept[:, 0], kept[:, 1])[0, 1] < 5 / np.sqrt(4000)
    alone = masks(T.RandomBands(p=0.99), Bands("abcd"))
    assert alone.any(axis=1).all() and (alone.sum(axis=1) == 1).mean() > 0.9
    assert np.abs(alone.mean(axis=0) - 0.25).max() < 0.05


def test_what_goes_is_zero_and_what_stays_is_untouched():
    sample = of(Bands("abcd"))
    sample["image"][2] = torch.nan
    out = T.RandomBands(keep=2)(sample)
    for k in range(4):
        expected = sample["image"][k] if out["band_mask"][k] else torch.zeros(2, 3)
        assert torch.equal(out["image"][k].nan_to_num(9), expected.nan_to_num(9))
    assert out["bands"] is sample["bands"]


def test_groups_stay_or_go_together():
    kept = masks(T.RandomBands(keep=1, groups=[["a", "b"], ["c"]]), Bands("abcde"))
    assert (kept[:, 0] == kept[:, 1]).all()
    assert {tuple(row) for row in kept.astype(int).tolist()} == {
        (1, 1, 0, 0, 0),
        (0, 0, 1, 0, 0),
        (0, 0, 0, 1, 0),
        (0, 0, 0, 0, 1),
    }
    with pytest.raises(BandsError, match="twice"):
        T.RandomBands(keep=1, groups=[["a", "b"], ["b"]])(of(Bands("abc")))
    with pytest.raises(BandsError, match="no band 'z'"):
        T.RandomBands(keep=1, groups=[["z"]])(of(Bands("abc")))


def test_a_schedule_counts_epochs():
    step = T.RandomBands(keep={0: 4, 2: [1, 2], 5: 3})
    for epoch, allowed in {0: {4}, 1: {4}, 2: {1, 2}, 4: {1, 2}, 5: {3}, 99: {3}}.items():
        batch = of(Bands("abcd"), batch=40)
        batch["draw"][:, 0] = epoch
        assert set(step(batch)["band_mask"].sum(dim=1).tolist()) == allowed


def test_bands_that_are_not_observed_are_never_chosen():
    observed = torch.tensor([True, False, True, False])
    kept = masks(T.RandomBands(keep=[1, 4]), Bands("abcd"), band_mask=observed.expand(4000, -1))
    assert not kept[:, ~observed.numpy()].any() and set(kept.sum(axis=1)) == {1, 2}
    with pytest.raises(TransformError, match="no observed band"):
        T.RandomBands(p=0.5)(of(Bands("ab"), band_mask=torch.tensor([False, False])))


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"keep": 1, "p": 0.5},
        {"keep": 0},
        {"keep": [3, 2]},
        {"keep": [1, 2, 3]},
        {"keep": 1.5},
        {"keep": {1: 2}},
        {"keep": {}},
        {"keep": {"x": 1}},
        {"p": 1.0},
        {"p": -0.1},
        {"keep": 1, "groups": ["ab"]},
        {"keep": 1, "groups": [[]]},
        {"keep": 1, "seed": -1},
    ],
)
def test_random_bands_refuses_impossible_arguments(bad):
    with pytest.raises(TransformError):
        T.RandomBands(**bad)


def test_random_bands_keeps_one_choice_for_a_series_and_needs_draw():
    series = of(Bands("abcd"))
    series["image"] = series["image"].add(1).expand(5, -1, -1, -1)
    out = T.RandomBands(keep=2)(series)
    assert torch.equal((out["image"] != 0).all(dim=-1).all(dim=-1), out["band_mask"].expand(5, -1))
    with pytest.raises(TransformError, match="draw"):
        T.RandomBands(keep=2)({"key": "a", "image": torch.ones(4, 1, 1), "bands": Bands("abcd")})


def test_saved_bands_that_are_none() -> None:
    for target in ({"x": 1}, {"state": "raw", "bands": [{"nam": "a"}]}):
        with pytest.raises(BandsError, match=r"are no bands as Bands\.to_dict gives them"):
            T.PadBands(target)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("dtype", "good", "bad"),
    [
        (torch.bool, 1, 7),
        (torch.uint8, 255, 256),
        (torch.uint16, 65535, -1),
        (torch.int64, -5, 0.5),
        (torch.float16, 0.1, 1e6),
        (torch.float32, 1e38, 1e39),
        (torch.complex64, 0.5, 1e39),
    ],
    ids=str,
)
def test_a_fill_that_the_image_holds(dtype, good, bad):
    sample = {"key": "a", "image": torch.ones(1, 1, 1).to(dtype), "bands": Bands(["a"])}
    out = T.PadBands(["a", "b"], fill=good)(sample)["image"]
    assert out.dtype == dtype and torch.equal(out[1, 0, 0], torch.tensor(good).to(dtype))
    with pytest.raises(TransformError, match=re.escape(f"cannot hold the fill {bad}")):
        T.PadBands(["a", "b"], fill=bad)(sample)
