"""Texture: the same features as scikit-image gives window by window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from skimage.feature import graycomatrix, graycoprops

from geodata import transforms as T
from geodata.bands import Bands
from geodata.errors import BandsError, TransformError
from geodata.transforms import cooccurrence

FEATURES = ["contrast", "dissimilarity", "homogeneity", "mean", "variance", "correlation", "ASM", "energy", "entropy"]
BANDS = Bands(["a", "b"])


def smooth(shape: tuple[int, ...], seed: int = 0) -> np.ndarray[Any, Any]:
    """Numbers in [0, 1) whose neighbours are alike, so that correlations are not all near 0."""
    x = np.random.default_rng(seed).random(shape)
    return (x + np.roll(x, 1, -1) + np.roll(x, 1, -2) + np.roll(x, -1, -1)) / 4


def of_window(levels: np.ndarray[Any, Any], n: int, distance: int, angles: list[int]) -> list[float]:
    matrix = graycomatrix(levels.astype(np.uint8), [distance], np.deg2rad(angles), n, symmetric=True, normed=True)
    return [float(graycoprops(matrix, name).mean()) for name in FEATURES]


@pytest.mark.parametrize("angles", [[0], [45], [135], [0, 45, 90, 135]])
@pytest.mark.parametrize(("window", "levels", "distance"), [(3, 2, 1), (7, 32, 1), (9, 256, 2), (21, 64, 3)])
def test_the_same_features_as_scikit_image(window: int, levels: int, distance: int, angles: list[int]) -> None:
    x = smooth((2, 25, 27))
    t = T.Texture(FEATURES, low=0.1, high=0.9, window=window, levels=levels, distance=distance, angles=angles)
    out = t({"image": torch.from_numpy(x), "bands": BANDS})
    steps = np.clip(np.floor((x - 0.1) * (levels / 0.8)), 0, levels - 1)
    r = window // 2
    for c, y, z in [(0, r, r), (1, 24 - r, 26 - r), (0, 12, 13), (1, 11, 14)]:
        expected = of_window(steps[c, y - r : y + r + 1, z - r : z + r + 1], levels, distance, angles)
        got = out["image_texture"].reshape(2, len(FEATURES), 25, 27)[c, :, y, z].numpy()
        assert np.allclose(got, expected, rtol=1e-5, atol=1e-6), dict(zip(FEATURES, got - expected, strict=True))
        assert out["valid_texture"][y, z]
    assert out["bands_texture"].names[:2] == ("a_contrast", "a_dissimilarity")


def test_small_differences_of_high_levels() -> None:
    """The variance of 255s and 254s is lost in sums of squares that are rounded."""
    x = 254.0 + (smooth((1, 31, 31)) > 0.5)
    out = T.Texture(FEATURES, low=0, high=256, window=15, levels=256)(
        {"image": torch.from_numpy(x), "bands": BANDS[:1]}
    )
    expected = of_window(x[0, 8:23, 8:23], 256, 1, [0, 45, 90, 135])
    assert np.allclose(out["image_texture"][:, 15, 15].numpy(), expected, rtol=1e-5)


def brute(
    levels: np.ndarray[Any, Any], usable: np.ndarray[Any, Any], y: int, z: int, step: tuple[int, int]
) -> tuple[float, float, int]:
    """Contrast, entropy and number of the pairs in the 5 x 5 window of one pixel, pair by pair."""
    counts: dict[tuple[int, int], float] = {}
    h, w = levels.shape
    for i in range(max(0, y - 2), min(h, y + 3)):
        for j in range(max(0, z - 2), min(w, z + 3)):
            k, m = i + step[0], j + step[1]
            if k <= min(h - 1, y + 2) and max(0, z - 2) <= m <= min(w - 1, z + 2) and usable[i, j] and usable[k, m]:
                for pair in [(levels[i, j], levels[k, m]), (levels[k, m], levels[i, j])]:
                    counts[pair] = counts.get(pair, 0) + 1
    total = sum(counts.values())
    shares = {pair: c / max(total, 1) for pair, c in counts.items()}
    contrast = sum(p * (a - b) ** 2 for (a, b), p in shares.items())
    return contrast, -sum(p * np.log(p) for p in shares.values()), int(total) // 2


@pytest.mark.parametrize(("angle", "step"), [(0, (0, 1)), (45, (1, 1)), (90, (1, 0)), (135, (1, -1))])
def test_only_pairs_that_are_inside_and_valid_count(angle: int, step: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    levels = rng.integers(0, 6, (9, 8))
    usable = rng.random((9, 8)) > 0.35
    usable[:4, :3] = False
    x = np.where(usable, levels + 0.5, 1e9)
    t = T.Texture(["contrast", "entropy"], low=0, high=6, window=5, levels=6, angles=[angle])
    out = t({"image": torch.from_numpy(x)[None], "valid": torch.from_numpy(usable), "bands": BANDS[:1]})
    most = (5 - step[0]) * (5 - abs(step[1]))
    seen = set()
    for y in range(9):
        for z in range(8):
            contrast, entropy, number = brute(levels, usable, y, z, step)
            enough = bool(usable[y, z]) and 4 * number >= most
            seen.add(enough)
            assert bool(out["valid_texture"][y, z]) == enough
            expected = (contrast, entropy) if enough else (0.0, 0.0)
            assert np.allclose(out["image_texture"][:, y, z].numpy(), expected)
    assert seen == {True, False}


@pytest.mark.parametrize("window", [3, 7, 15])
def test_all_of_an_observed_image_is_valid_to_its_corners(window: int) -> None:
    x = torch.rand(1, 20, 20)
    assert T.Texture(low=0, high=1, window=window)({"image": x, "bands": BANDS[:1]})["valid_texture"].all()


def test_nan_stays_where_it_is() -> None:
    x = torch.from_numpy(smooth((2, 12, 12))).float()
    x[0, 5, 6] = float("nan")
    out = T.Texture(FEATURES, low=0, high=1, window=5)({"image": x, "bands": BANDS})
    broken = torch.isnan(out["image_texture"])
    assert broken[: len(FEATURES), 5, 6].all() and int(broken.sum()) == len(FEATURES)
    assert out["valid_texture"].all()


def test_flat_image() -> None:
    out = T.Texture(FEATURES, low=0, high=1)({"image": torch.full((1, 9, 9), 0.5), "bands": BANDS[:1]})
    values = dict(zip(FEATURES, out["image_texture"][:, 4, 4].tolist(), strict=True))
    expected = dict.fromkeys(FEATURES, 0.0) | {"homogeneity": 1, "mean": 16, "correlation": 1, "ASM": 1, "energy": 1}
    assert values == pytest.approx(expected)


def test_in_pieces_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = {"image": torch.rand(3, 2, 7, 6), "bands": BANDS}
    t = T.Texture(FEATURES, low=0, high=1, window=5)
    whole = t(batch)["image_texture"]
    monkeypatch.setattr(cooccurrence, "AT_ONCE", 2000)
    monkeypatch.setattr("geodata.transforms.texture.AT_ONCE", 2000)
    assert torch.allclose(t(batch)["image_texture"], whole, atol=1e-6)


def test_each_band_has_its_range() -> None:
    x = torch.rand(2, 9, 9)
    scaled = torch.stack([x[0], x[1] * 100 - 50])
    low, high = {"a": 0.0, "b": -50.0}, {"a": 1.0, "b": 50.0}
    one = T.Texture(low=0, high=1, levels=8)({"image": x.double(), "bands": BANDS})
    two = T.Texture(low=low, high=high, levels=8)({"image": scaled.double(), "bands": BANDS})
    assert torch.allclose(one["image_texture"], two["image_texture"])
    only = T.Texture(low=low, high=high, levels=8, bands=["b"])({"image": scaled.double(), "bands": BANDS})
    assert torch.equal(only["image_texture"], two["image_texture"][6:])


@pytest.mark.parametrize(("h", "w"), [(1, 1), (1, 6), (6, 1), (2, 2)])
def test_images_smaller_than_the_window(h: int, w: int) -> None:
    out = T.Texture(FEATURES, low=0, high=1, window=7)({"image": torch.rand(2, 2, h, w), "bands": BANDS})
    assert out["image_texture"].shape == (2, 18, h, w) and torch.isfinite(out["image_texture"]).all()
    assert not out["valid_texture"].any()


def test_empty_and_all_invalid() -> None:
    T.Texture(low=0, high=1)({"image": torch.rand(2, 0, 9), "bands": BANDS})
    out = T.Texture(FEATURES, low=0, high=1)({"image": torch.rand(0, 2, 9, 9), "bands": BANDS})
    assert out["image_texture"].shape == (0, 18, 9, 9)
    nothing = torch.zeros(9, 9, dtype=torch.bool)
    out = T.Texture(FEATURES, low=0, high=1)({"image": torch.rand(2, 9, 9), "valid": nothing, "bands": BANDS})
    assert (out["image_texture"] == 0).all() and not out["valid_texture"].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features": "roughness"}, "features 'roughness'"),
        ({"features": []}, "features"),
        ({"window": 4}, "odd"),
        ({"window": 1}, "window 1"),
        ({"levels": 1}, "levels 1"),
        ({"levels": 300}, "levels 300"),
        ({"distance": 7}, "distance 7"),
        ({"angles": [30]}, "angles"),
        ({"low": float("nan")}, "low must be"),
        ({"high": "1"}, "high must be"),
        ({"bands": []}, "bands"),
        ({"to": "image"}, "another key"),
        ({"to": "texture"}, "key 'texture'"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TransformError, match=message):
        T.Texture(**{"low": 0, "high": 1, **arguments})


def test_bad_batches() -> None:
    batch = {"image": torch.rand(2, 9, 9), "bands": BANDS}
    with pytest.raises(BandsError, match="no number for bands b"):
        T.Texture(low={"a": 0.0}, high=1)(batch)
    with pytest.raises(TransformError, match="low must be below high"):
        T.Texture(low=1, high=1)(batch)
    with pytest.raises(BandsError, match="no band 'c'"):
        T.Texture(low=0, high=1, bands=["c"])(batch)
    with pytest.raises(TransformError, match="'image_texture' already"):
        T.Texture(low=0, high=1)(batch | {"image_texture": 1})
    with pytest.raises(TransformError, match="ToFloat"):
        T.Texture(low=0, high=1)(batch | {"image": torch.ones(2, 9, 9, dtype=torch.uint8)})
