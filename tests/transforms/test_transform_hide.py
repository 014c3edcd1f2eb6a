"""Hidden values and tokens: against the published algorithms by hand, and counted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from geodata import transforms as T
from geodata.bands import Bands
from geodata.errors import BandsError, TransformError
from geodata.transforms.draws import Draws

ANY: Any = T

Dict = dict[str, Any]


def batch(samples: int, *shape: int, **more: Any) -> Dict:
    """Samples of zeros, with bands B0, B1..."""
    return {
        "key": [f"k{i}" for i in range(samples)],
        "draw": torch.tensor([[0, i] for i in range(samples)], dtype=torch.int64).reshape(-1, 2),
        "image": torch.zeros(samples, *shape),
        "bands": Bands([f"B{i}" for i in range(shape[-3])], state="reflectance"),
        **more,
    }


def draws_of(transform: T.HideTokens, b: Dict, n: int) -> np.ndarray:
    return transform.uniform(b, Draws(), n).astype(np.float32)


def mae(noise: np.ndarray, ratio: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masked autoencoders, Algorithm of appendix A.1, for one sample at a time."""
    hidden, keep, restore = [], [], []
    for row in noise:
        shuffle = np.argsort(row, kind="stable")
        back = np.argsort(shuffle)
        kept = int(len(row) * (1 - ratio))
        mask = np.ones(len(row), dtype=bool)
        mask[:kept] = False
        hidden.append(mask[back])
        keep.append(shuffle[:kept])
        restore.append(back)
    return np.stack(hidden), np.stack(keep), np.stack(restore)


@pytest.mark.parametrize(
    ("ratio", "size", "patch"), [(0.75, 224, 16), (0.6, 32, 8), (0.9, 40, 4), (0.0, 8, 4), (1.0, 8, 4)]
)
def test_random_is_mae(ratio: float, size: int, patch: int) -> None:
    transform, b = T.HideTokens("random", ratio, patch), batch(3, 2, size, size)
    out = transform(b)
    want = mae(draws_of(transform, b, (size // patch) ** 2), ratio)
    for key, value in zip(("hidden", "ids_keep", "ids_restore"), want, strict=True):
        assert np.array_equal(out[key], value), key
    assert out["image"] is b["image"]


def test_depth_and_groups_are_spectralgpt_and_satmae() -> None:
    for more, layers in (({"depth": 3}, 4), ({"groups": [["B0", "B1", "B6"], ["B3"], ["B8", "B9"]]}, 3)):
        transform, b = T.HideTokens("random", 0.9, 8, **more), batch(2, 12, 32, 32)
        want = mae(draws_of(transform, b, layers * 16), 0.9)
        assert np.array_equal(transform(b)["ids_keep"], want[1])


def test_tube_on_a_series_is_same_mask_of_satmae() -> None:
    transform, b = T.HideTokens("tube", 0.75, 8), batch(2, 3, 5, 32, 32)
    out, noise = transform(b), draws_of(transform, b, 16)
    for i in range(2):
        shuffle, kept = np.argsort(noise[i], kind="stable"), int(16 * 0.25)
        ids = [shuffle[:kept] + 16 * t for t in range(3)] + [shuffle[kept:] + 16 * t for t in range(3)]
        assert out["ids_keep"][i].tolist() == np.concatenate(ids[:3]).tolist()
        assert out["ids_restore"][i].tolist() == np.argsort(np.concatenate(ids)).tolist()
    layers = out["hidden"].reshape(2, 3, 16)
    assert (layers == layers[:, :1]).all()


@pytest.mark.parametrize("ratio", [0.5, 0.6, 0.75])
def test_block_is_simmim(ratio: float) -> None:
    # 192 pixels, mask patches of 32, model patches of 4, as in the paper.
    out = T.HideTokens("block", ratio, 4, block=8)(batch(4, 2, 192, 192))
    hidden = out["hidden"].reshape(4, 48, 48).numpy()
    coarse = hidden.reshape(4, 6, 8, 6, 8)
    assert np.array_equal(coarse.all(axis=(2, 4)), coarse.any(axis=(2, 4)))
    assert (coarse.all(axis=(2, 4)).sum(axis=(1, 2)) == int(np.ceil(36 * ratio))).all()


def test_band_hides_whole_layers() -> None:
    out = T.HideTokens("band", 0.5, 4, depth=2)(batch(5, 12, 8, 8))
    layers = out["hidden"].reshape(5, 6, 4)
    assert (layers.all(dim=2) == layers.any(dim=2)).all() and (layers[:, :, 0].sum(dim=1) == 3).all()


@pytest.mark.parametrize(
    "transform",
    [
        T.HideTokens("random", 0.3, 2, depth=2),
        T.HideTokens("tube", 0.3, 2, depth=2),
        T.HideTokens("block", 0.3, 2, block=2),
        T.HideTokens("band", 0.3, 2, depth=1),
        T.HideTokens("random", 0.3, 2, min_valid=0.5),
    ],
)
@pytest.mark.parametrize("times", [(), (3,)])
def test_ids_agree_with_hidden(transform: T.HideTokens, times: tuple[int, ...]) -> None:
    valid = torch.rand(3, *times, 8, 8, generator=torch.Generator().manual_seed(0)) > 0.5
    out = transform(batch(3, *times, 4, 8, 8, valid=valid))
    hidden, keep, restore = out["hidden"], out["ids_keep"], out["ids_restore"]
    assert hidden.dtype == torch.bool and keep.dtype == restore.dtype == torch.int64
    for i in range(3):
        assert sorted(keep[i].tolist()) == (~hidden[i]).nonzero().flatten().tolist()
        assert sorted(restore[i].tolist()) == list(range(hidden.shape[1]))
        # Seen tokens followed by mask tokens, put back: each seen one at its place.
        listed = torch.cat([keep[i], torch.full((hidden.shape[1] - keep.shape[1],), -1)])
        assert torch.equal(listed[restore[i]], torch.where(hidden[i], -1, torch.arange(hidden.shape[1])))


def test_every_token_is_as_likely() -> None:
    hidden = T.HideTokens("random", 0.75, 4)(batch(3000, 1, 16, 16))["hidden"].numpy()
    seen = (~hidden).sum(axis=0)
    assert seen.sum() == 3000 * 4
    assert stats.chisquare(seen).pvalue > 0.01
    pairs = np.corrcoef(hidden.T.astype(float))[np.triu_indices(16, 1)]
    # Drawn without replacement: each pair is correlated by -1 / (n - 1).
    assert np.allclose(pairs.mean(), -1 / 15, atol=1e-3) and np.abs(pairs + 1 / 15).max() < 0.08


def test_invalid_tokens_are_hidden_first() -> None:
    valid = torch.zeros(4, 16, 16, dtype=torch.bool)
    valid[0] = True
    valid[1, :8] = True
    valid[1, 8:12, :2] = True  # half of the token
    valid[2, :4, :4] = True
    out = T.HideTokens("random", 0.75, 4, min_valid=0.6)(batch(4, 2, 16, 16, valid=valid))
    assert out["token_valid"].sum(dim=1).tolist() == [16, 8, 1, 0]
    assert out["ids_keep"].shape == (4, 4)
    kept = torch.gather(out["token_valid"], 1, out["ids_keep"])
    assert kept.sum(dim=1).tolist() == [4, 4, 1, 0]
    half = T.HideTokens("random", 0.75, 4, min_valid=0.5)(batch(4, 2, 16, 16, valid=valid))
    assert half["token_valid"].sum(dim=1).tolist() == [16, 9, 1, 0]
    whole = T.HideTokens("random", 0.75, 4, min_valid=0.6)(batch(4, 2, 16, 16))
    assert whole["token_valid"].all()
    assert torch.equal(whole["ids_keep"], T.HideTokens("random", 0.75, 4)(batch(4, 2, 16, 16))["ids_keep"])


def test_valid_of_a_series_counts_for_each_step() -> None:
    valid = torch.zeros(1, 2, 8, 8, dtype=torch.bool)
    valid[0, 1] = True
    out = T.HideTokens("random", 0.5, 4, depth=1, min_valid=1)(batch(1, 2, 3, 8, 8, valid=valid))
    assert out["token_valid"].reshape(2, 3, 4).all(dim=2).all(dim=1).tolist() == [False, True]
    assert out["hidden"].reshape(2, -1).all(dim=1).tolist() == [True, False]
    valid[0, 1, :4] = valid[0, 1, :, :4] = False
    for seed in range(8):
        tube = T.HideTokens("tube", 0.75, 4, min_valid=1, seed=seed)(batch(1, 2, 3, 8, 8, valid=valid))
        assert tube["ids_keep"].tolist() == [[3, 7]], "a tube with one valid token comes before those without"


def test_an_empty_batch() -> None:
    out = T.HideTokens("random", 0.5, 4, min_valid=0.5)(batch(0, 2, 8, 8))
    assert out["hidden"].shape == (0, 4) and out["ids_keep"].shape == (0, 2) and out["token_valid"].shape == (0, 4)
    assert T.HideValues(0.5)(batch(0, 2, 8, 8))["mask_observed"].shape == (0, 2, 8, 8)


@pytest.mark.parametrize(
    ("unit", "axes", "units"),
    [("voxel", (), 50 * 400), ("pixel", (1,), 400), ("band", (2, 3), 50), ("column", (2,), 1000)],
)
def test_values_are_hidden_by_unit(unit: str, axes: tuple[int, ...], units: int) -> None:
    b = batch(4, 50, 20, 20) | {"image": torch.ones(4, 50, 20, 20)}
    out = T.HideValues(0.7, unit=unit)(b)
    left = out["mask_observed"].numpy()
    if axes:
        assert np.array_equal(left.all(axis=axes), left.any(axis=axes))
    assert left.mean() == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / (4 * units)))
    assert torch.equal(out["image"], out["mask_observed"].float())
    assert out["image_target"] is b["image"] and not np.array_equal(left[0], left[1])


def test_what_is_left_is_valid_and_noisy() -> None:
    valid = torch.rand(1, 60, 60, generator=torch.Generator().manual_seed(0)) > 0.5
    b = batch(1, 8, 60, 60, valid=valid) | {"image": torch.ones(1, 8, 60, 60)}
    out = T.HideValues(0.5, noise=0.1)(b)
    left = out["mask_observed"]
    assert not (left & ~valid.unsqueeze(1)).any() and out["valid"] is valid
    assert (out["image"][~valid.unsqueeze(1).expand_as(left)] == 1).all()
    assert stats.kstest((out["image"][left].numpy() - 1) / 0.1, "norm").pvalue > 0.01
    flipped = T.RandomFlip(p=1)(out)
    assert torch.equal(flipped["mask_observed"], left.flip(-1, -2))
    half = T.HideValues(0.5, noise=0.1)(b | {"image": b["image"].half()})
    assert torch.equal(half["mask_observed"], left), "what is hidden does not depend on the dtype"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: T.HideValues(1.5), "rate 1.5"),
        (lambda: T.HideValues(0.5, unit="row"), "unit 'row' must be one of voxel"),
        (lambda: T.HideTokens("mae", 0.5, 4), "kind 'mae' must be one of"),
        (lambda: T.HideTokens("random", -0.1, 4), "ratio -0.1"),
        (lambda: T.HideTokens("random", 0.5, 0), "patch 0"),
        (lambda: T.HideTokens("random", 0.5, 4, depth=True), "depth True"),
        (lambda: T.HideTokens("random", 0.5, 4, depth=1, groups=[["a"]]), "depth= or groups="),
        (lambda: T.HideTokens("random", 0.5, 4, block=2), "'block' needs block="),
        (lambda: T.HideTokens("block", 0.5, 4), "'block' needs block="),
        (lambda: T.HideTokens("random", 0.5, 4, groups=["B02", "B03"]), "lists of band names"),
        (lambda: T.HideTokens("random", 0.5, 4, groups=[["a"], []]), "lists of band names"),
        (lambda: ANY.HideTokens("random", 0.5, 4, groups=[1, 2]), "lists of band names"),
        (lambda: ANY.HideTokens("random", 0.5, 4, groups=3), "lists of band names"),
        (lambda: T.HideTokens("random", 0.5, 4, groups=[["a"], ["b", "a"]]), "in two groups: a"),
        (
            lambda: T.HideTokens("random", 0.5, 4)(batch(1, 2, 8, 9)),
            "8 x 9 pixels, which do not part into squares of 4",
        ),
        (lambda: T.HideTokens("block", 0.5, 4, block=2)(batch(1, 2, 12, 8)), "squares of 8"),
        (lambda: T.HideTokens("random", 0.5, 4)(batch(1, 2, 0, 8)), "0 x 8 pixels"),
        (lambda: T.HideTokens("random", 0.5, 4, depth=2)(batch(1, 3, 8, 8)), "3 bands .* depth 2"),
        (lambda: T.HideTokens("band", 0.5, 4)(batch(1, 3, 8, 8)), "there is one"),
    ],
)
def test_bad_arguments(make: Any, message: str) -> None:
    with pytest.raises(TransformError, match=message):
        make()


def test_a_group_of_a_missing_band_is_refused() -> None:
    with pytest.raises(BandsError, match="no band 'B7'"):
        T.HideTokens("random", 0.5, 4, groups=[["B0", "B7"]])(batch(1, 2, 8, 8))
