"""Affine maps against scipy, the grid and loops by hand; joined moves against one after the other."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from geodata import transforms as T
from geodata.errors import TransformError
from geodata.grid import Grid
from geodata.transforms.draws import Draws

Make = Callable[..., dict[str, Any]]
Array = NDArray[np.float64]
ANY: Any = T


def one(image: torch.Tensor, **more: Any) -> dict[str, Any]:
    return {"key": "a", "draw": torch.tensor([0, 0]), "image": image, **more}


def back_by_hand(h: int, w: int, degrees: float, scale: float, shear: float) -> tuple[Array, Array]:
    """Matrix and offset, row before column, from indices of the result to indices of the image."""
    t, lean = math.radians(degrees), math.tan(math.radians(shear))
    # x' = R S H x about the middle, with y counted upwards: counter-clockwise turns are positive.
    upwards = (
        np.array([[math.cos(t), -math.sin(t)], [math.sin(t), math.cos(t)]]) @ np.array([[1, -lean], [0, 1]]) * scale
    )
    flip = np.diag([1.0, -1.0])
    col_row = np.linalg.inv(flip @ upwards @ flip)
    matrix = col_row[::-1, ::-1]
    middle = np.array([(h - 1) / 2, (w - 1) / 2])
    return matrix, middle - matrix @ middle


@pytest.mark.parametrize(("degrees", "scale", "shear"), [(30, 1.0, 0), (-77, 1.3, 0), (0, 0.8, 12), (100, 0.6, -20)])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_equals_scipy(degrees: float, scale: float, shear: float, mode: str) -> None:
    h, w = 21, 34
    rng = np.random.default_rng(0)
    image = rng.random((2, h, w))
    mask = rng.integers(0, 1000, (h, w))
    move = T.RandomAffine((degrees, degrees), scale=(scale, scale), shear=(shear, shear), interpolation=mode)
    out = move(one(torch.from_numpy(image), mask=torch.from_numpy(mask)))
    matrix, offset = back_by_hand(h, w, degrees, scale, shear)
    rows, cols = np.mgrid[:h, :w]
    at = np.einsum("ij,jhw->ihw", matrix, np.stack([rows, cols])) + offset[:, None, None]
    inside = (at >= -0.5).all(0) & (at[0] <= h - 0.5) & (at[1] <= w - 0.5)
    ends = np.array([h, w])[:, None, None] - at
    covered = np.clip(np.minimum(at + 1, ends), 0, 1).prod(0) >= 0.5
    seen = inside if mode == "nearest" else covered
    # Where a position lies between two pixels either is nearest.
    clear = inside & (np.abs(at - np.floor(at) - 0.5) > 1e-6).all(0)
    assert clear.sum() > 100
    assert np.array_equal(out["valid"].numpy(), seen)
    assert 0.2 < inside.mean() < 1 or scale >= 1
    assert (out["image"].numpy()[:, ~seen] == 0).all()
    assert (out["mask"].numpy()[~inside] == -100).all()
    if mode != "bicubic":  # scipy's cubic is a spline, torch's a convolution
        expected = [
            ndimage.affine_transform(c, matrix, offset, order=mode == "bilinear", mode="nearest") for c in image
        ]
        assert np.allclose(out["image"].numpy()[:, clear & seen], np.stack(expected)[:, clear & seen], atol=1e-9)
    nearest = ndimage.affine_transform(mask, matrix, offset, order=0, mode="nearest")
    assert np.array_equal(out["mask"].numpy()[clear], nearest[clear])


def test_bicubic_equals_the_kernel_by_hand() -> None:
    image = np.random.default_rng(1).random((9, 9))
    out = T.RandomAffine((20, 20), interpolation="bicubic")(one(torch.from_numpy(image)[None]))["image"][0].numpy()
    matrix, offset = back_by_hand(9, 9, 20, 1, 0)

    def kernel(d: float, a: float = -0.75) -> float:
        d = abs(d)
        if d <= 1:
            return (a + 2) * d**3 - (a + 3) * d**2 + 1
        return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0

    for r, c in [(4, 4), (3, 5), (2, 3), (6, 6)]:
        y, x = matrix @ (r, c) + offset
        taps = [
            (i, j)
            for i in range(math.floor(y) - 1, math.floor(y) + 3)
            for j in range(math.floor(x) - 1, math.floor(x) + 3)
        ]
        assert out[r, c] == pytest.approx(sum(kernel(y - i) * kernel(x - j) * image[i, j] for i, j in taps), abs=1e-9)


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.uint16, torch.float32])
def test_a_quarter_turn_is_a_copy(k: int, dtype: torch.dtype) -> None:
    image = torch.randperm(50000)[: 3 * 64].reshape(3, 8, 8).to(dtype)
    move = T.RandomAffine((90 * k, 90 * k), interpolation="nearest" if dtype == torch.uint16 else "bilinear")
    out = move(one(image))
    assert out["image"].tolist() == torch.rot90(image.long(), k, (-2, -1)).to(dtype).tolist()
    assert out["valid"].all()


def test_whole_pixels_are_copied_and_the_rest_marked() -> None:
    shifts = set()
    for index in range(40):
        image = torch.arange(1, 101, dtype=torch.float32).reshape(1, 10, 10)
        grid = Grid((10, 10), (10, 0, 0, 0, -10, 0), "EPSG:32633")
        sample = one(image, grid=grid) | {"draw": torch.tensor([0, index])}
        out = T.RandomAffine(translate=(0.0, 0.3), interpolation="nearest")(sample)
        down = out["grid"].transform.f / -10
        nearest = round(down)
        shifts.add(nearest)
        expected = torch.zeros_like(image)
        rows = [r for r in range(10) if 0 <= math.floor(r + 0.5 + down) < 10]
        for r in rows:
            expected[0, r] = image[0, math.floor(r + 0.5 + down)]
        assert torch.equal(out["image"], expected)
        assert torch.equal(out["valid"], expected[0] > 0)
    assert len(shifts) >= 5


def on_one_ground(s: dict[str, Any], ratios: dict[str, int]) -> dict[str, Any]:
    """Grids of all resolutions from one."""
    fine = Grid(s["image_10m"].shape[-2:], (10.0, 0.5, 5e5, 0.25, -10.0, 5.6e6), "EPSG:32633")
    return s | {f"grid{suffix}": fine.coarser(ratio) for suffix, ratio in ratios.items()}


def world(grid: Grid) -> torch.Tensor:
    """Position of every pixel centre, relative to the origin of the tests."""
    rows, cols = np.mgrid[: grid.height, : grid.width] + 0.5
    xy = grid.xy(np.stack([cols, rows], axis=-1)) - (5e5, 5.6e6)
    return torch.from_numpy(np.moveaxis(xy, -1, 0).copy())


CHAINS = {
    "affine": [T.RandomAffine(degrees=180, translate=0.1, scale=(0.8, 1.3), shear=10)],
    "crop": [T.RandomCrop(48)],
    "resize": [T.Resize(48)],
    "resized crop": [T.RandomResizedCrop(48)],
    "all": [
        *(T.RandomFlip(), T.RandomCrop(84), T.RandomAffine(degrees=180, translate=0.1), T.RandomRotate90()),
        *(T.CenterCrop(60), T.Pad(72), T.RandomResizedCrop(48, scale=(0.5, 1.0)), T.RandomFlip()),
    ],
}


@pytest.mark.parametrize("chain", CHAINS)
def test_resolutions_stay_registered(sample: Make, chain: str) -> None:
    """An image that says where on earth each pixel is, says so of the moved grid: to half a pixel of the finest."""
    ratios = {"_10m": 1, "_20m": 2, "_60m": 6}
    seen = 0
    for index in range(20):
        s = on_one_ground(sample(0, index, size=(96, 96), ratios=ratios), ratios)
        for suffix in ratios:
            s[f"image{suffix}"], s[f"valid{suffix}"] = world(s[f"grid{suffix}"]), torch.ones_like(s[f"valid{suffix}"])
        out = T.Compose(CHAINS[chain])(s)
        for suffix in ratios:
            grid, valid = out[f"grid{suffix}"], out[f"valid{suffix}"]
            assert grid.shape == valid.shape
            # The outermost pixel is repeated outwards for half a pixel, and a resize averages less there.
            inner = torch.from_numpy(ndimage.binary_erosion(valid.numpy(), np.ones((5, 5))))
            error = (world(grid) - out[f"image{suffix}"]).norm(dim=0)[inner] / 10
            assert error.numel() == 0 or error.max() < 0.5
            if chain in ("affine", "crop"):
                assert error.numel() == 0 or error.max() < 1e-3
            seen += error.numel()
        ground = [np.sort(out[f"grid{suffix}"].corners, axis=0) for suffix in ratios]
        assert all(np.allclose(ground[0], other, atol=1e-6) for other in ground[1:])
    assert seen > 1000


def test_shift_is_the_same_ground_distance(sample: Make) -> None:
    ratios = {"_10m": 1, "_20m": 2}
    s = on_one_ground(sample(size=(24, 24), ratios=ratios), ratios)
    out = T.RandomAffine(translate=0.3)(s)
    moves = [np.subtract(out[g].xy(np.zeros(2)), s[g].xy(np.zeros(2))) for g in ("grid_10m", "grid_20m")]
    assert np.allclose(moves[0], moves[1], atol=1e-6) and np.abs(moves[0]).max() > 1


def tap_weights(y: float, x: float, h: int, w: int) -> dict[tuple[int, int], float]:
    """Bilinear weights, the border repeated outwards."""
    y, x = min(max(y, 0), h - 1), min(max(x, 0), w - 1)
    r, c = math.floor(y), math.floor(x)
    each = {(r, c): (1 - y + r) * (1 - x + c), (r, c + 1): (1 - y + r) * (x - c)}
    each |= {(r + 1, c): (y - r) * (1 - x + c), (r + 1, c + 1): (y - r) * (x - c)}
    return {k: v for k, v in each.items() if v > 1e-12}


@pytest.mark.parametrize("rubbish", [0.0, 1e9, math.nan, -math.inf])
def test_invalid_pixels_have_no_weight(rubbish: float) -> None:
    rng = np.random.default_rng(3)
    h, w = 12, 15
    image, valid = rng.random((h, w)), rng.random((h, w)) > 0.3
    put = torch.from_numpy(np.where(valid, image, rubbish))[None]
    out = T.RandomAffine((25, 25), scale=(0.9, 0.9), fill=-1.0)(one(put, valid=torch.from_numpy(valid)))
    matrix, offset = back_by_hand(h, w, 25, 0.9, 0)
    kinds = set()
    for r in range(h):
        for c in range(w):
            y, x = matrix @ (r, c) + offset
            inside = -0.5 <= y <= h - 0.5 and -0.5 <= x <= w - 0.5
            taps = tap_weights(y, x, h, w)
            weight = sum(v for k, v in taps.items() if valid[k])
            cover = min(max(min(y + 1, h - y), 0), 1) * min(max(min(x + 1, w - x), 0), 1)
            good = weight * cover >= 0.5
            assert bool(out["valid"][r, c]) == good
            expected = sum(v * image[k] for k, v in taps.items() if valid[k]) / weight if good else -1.0
            assert out["image"][0, r, c].item() == pytest.approx(expected, abs=1e-9)
            kinds.add((inside, good, weight > 0.999))
    assert len(kinds) >= 4


def test_all_valid_equals_no_valid(batch: Make) -> None:
    b = batch([(0, i) for i in range(4)])
    b["valid"] = torch.ones_like(b["valid"])
    move = T.Compose([T.RandomAffine(degrees=60), T.RandomCrop(4)])
    without = move({k: v for k, v in b.items() if k != "valid"})
    with_all = move(b)
    assert torch.equal(without["image"], with_all["image"]) and torch.equal(without["valid"], with_all["valid"])


def test_nothing_valid_gives_nothing(batch: Make) -> None:
    b = batch([(0, i) for i in range(4)])
    b["valid"], b["image"] = torch.zeros_like(b["valid"]), torch.full_like(b["image"], torch.nan)
    for move in (T.RandomAffine(30), T.Resize(4), T.RandomResizedCrop(4)):
        out = move(b)
        assert not out["valid"].any() and (out["image"] == 0).all()


def test_nan_reaches_only_its_taps() -> None:
    image = torch.rand(1, 16, 16, dtype=torch.float64)
    clean = T.RandomAffine((33, 33))(one(image))
    image[0, 7, 9] = torch.nan
    out = T.RandomAffine((33, 33))(one(image))
    matrix, offset = back_by_hand(16, 16, 33, 1, 0)
    touched = torch.zeros(16, 16, dtype=torch.bool)
    for r in range(16):
        for c in range(16):
            touched[r, c] = (7, 9) in tap_weights(*(matrix @ (r, c) + offset), 16, 16)
    assert 1 <= touched.sum() <= 9
    assert torch.equal(torch.isnan(out["image"][0]), touched)
    assert torch.equal(out["image"][0][~touched], clean["image"][0][~touched])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 9))
def test_any_size(sample: Make, index: int, h: int, w: int) -> None:
    s = sample(0, index, size=(max(h, 2), max(w, 2)), boxes=1)
    s = {k: (v[..., :h, :w] if k in ("image", "valid", "mask", "instances") else v) for k, v in s.items()}
    s["grid"] = s["grid"].window(0, 0, h, w)
    out = T.RandomAffine(degrees=180, translate=0.5, scale=(0.3, 3))(s)
    assert out["image"].shape[-2:] == (h, w) and torch.isfinite(out["image"]).all()
    assert (out["image"][:, ~out["valid"]] == 0).all()


def test_draws_fill_their_ranges(batch: Make) -> None:
    b = {"draw": torch.tensor([[0, i] for i in range(2000)])}
    move = T.RandomAffine(degrees=(10, 50), translate=(0.1, 0.2), scale=(0.5, 2), shear=(-5, 0), p=0.75)
    drawn = move.plan(b, Draws()).steps[0].drawn
    moved = drawn[drawn[:, 0] != 0]
    assert abs(len(moved) / 2000 - 0.75) < 0.04
    for column, (low, high) in zip(moved.T, [(10, 50), (-0.1, 0.1), (-0.2, 0.2), (0.5, 2), (-5, 0)], strict=True):
        assert low <= column.min() < low + 0.02 * (high - low) and high - 0.02 * (high - low) < column.max() <= high
    still = drawn[drawn[:, 0] == 0]
    assert np.array_equal(np.unique(still, axis=0), [[0, 0, 0, 1, 0]])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: T.RandomAffine(translate=1.5), "translate 1.5 must be a share, 0 to 1"),
        (lambda: T.RandomAffine(translate=(0.1, 0.2, 0.3)), "must be one share of the image, or"),
        (lambda: ANY.RandomAffine(translate="far"), "must be one share"),
        (lambda: T.RandomAffine(scale=(0, 1)), r"scale \(0, 1\) must be \(low, high\), finite and in order, above 0"),
        (lambda: T.RandomAffine(scale=(2, 1)), "in order"),
        (lambda: ANY.RandomAffine(scale=2), "scale 2 must be"),
        (lambda: T.RandomAffine(degrees=math.inf), "degrees .* finite"),
        (lambda: T.RandomAffine(shear=90), "shear 90 must stay below 90"),
        (lambda: T.RandomAffine(interpolation="area"), "'area' must be one of bilinear, nearest, bicubic"),
        (lambda: T.RandomAffine(fill=math.nan), "fill nan must be a finite number"),
        (lambda: T.RandomAffine(p=2), "p 2 must be a probability"),
        (lambda: T.RandomAffine(min_visible=-1), "min_visible -1 must be a share"),
    ],
)
def test_bad_arguments(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(TransformError, match=message):
        make()


def test_integers_need_nearest(batch: Make) -> None:
    b = batch([(0, 0)], dtype=torch.uint16)
    with pytest.raises(
        TransformError, match=r"RandomAffine cannot interpolate uint16 numbers of 'image'; call T.ToFloat"
    ):
        T.RandomAffine(degrees=10, p=0.0)(b)
    out = T.RandomAffine(degrees=(45, 45), interpolation="nearest", fill=65535)(b)
    assert out["image"].dtype == torch.uint16 and (out["image"].long() == 65535).any()
    with pytest.raises(TransformError, match="outside of 'image' with -1, which is no uint16"):
        T.RandomAffine(degrees=10, interpolation="nearest", fill=-1)(b)
    with pytest.raises(TransformError, match=r"'mask' with -100, which is no uint8.*to int64"):
        T.RandomAffine(degrees=10, interpolation="nearest")({**b, "mask": b["mask"].to(torch.uint8)})
    with pytest.raises(TransformError, match="needs 'draw'"):
        T.RandomAffine()({k: v for k, v in b.items() if k != "draw"})
