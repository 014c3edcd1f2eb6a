"""Resizing and pyramids against torch, means by hand and the grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from geodata import transforms as T
from geodata.bands import Bands
from geodata.errors import TransformError
from geodata.grid import Grid
from geodata.transforms.layout import family

Make = Callable[..., dict[str, Any]]
ANY: Any = T


def one(image: torch.Tensor, **more: Any) -> dict[str, Any]:
    return {"key": "a", "draw": torch.tensor([0, 0]), "image": image, **more}


@pytest.mark.parametrize("size", [(5, 9), (24, 7), (12, 36), (17, 17)])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "area", "nearest"])
@pytest.mark.parametrize("antialias", [True, False])
def test_equals_torch(size: tuple[int, int], mode: str, antialias: bool) -> None:
    image = torch.rand(2, 3, 12, 18, dtype=torch.float64)
    mask = torch.randint(0, 1000, (12, 18))
    out = T.Resize(size, interpolation=mode, antialias=antialias)(one(image, mask=mask))
    smooth = {"align_corners": False, "antialias": antialias} if mode.startswith("bi") else {}
    expected = functional.interpolate(image, size, mode=mode.replace("nearest", "nearest-exact"), **smooth)
    assert torch.allclose(out["image"], expected, atol=1e-12)
    nearest = functional.interpolate(mask[None, None].double(), size, mode="nearest-exact")[0, 0]
    assert torch.equal(out["mask"], nearest.long())


def test_any_dtype_by_nearest() -> None:
    for dtype in (torch.uint16, torch.int16, torch.bool, torch.uint8):
        image = torch.arange(16).reshape(1, 4, 4).to(dtype)
        out = T.Resize(2, interpolation="nearest")(one(image))["image"]
        assert out.dtype == dtype and out.tolist() == image[:, 1::2, 1::2].tolist()
    with pytest.raises(TransformError, match=r"Resize cannot interpolate int16 numbers of 'image'; call T.ToFloat"):
        T.Resize(2)(one(torch.zeros(1, 4, 4, dtype=torch.int16)))


@pytest.mark.parametrize("rubbish", [0.0, 1e9, float("nan")])
def test_means_are_over_valid_pixels(rubbish: float) -> None:
    rng = np.random.default_rng(0)
    image, valid = rng.random((2, 12, 12)), rng.random((12, 12)) > 0.45
    put = torch.from_numpy(np.where(valid, image, rubbish))
    out = T.Resize(4, interpolation="area")(one(put, valid=torch.from_numpy(valid)))
    kinds = set()
    for r in range(4):
        for c in range(4):
            block = (slice(3 * r, 3 * r + 3), slice(3 * c, 3 * c + 3))
            seen = valid[block]
            good = seen.mean() >= 0.5
            kinds.add(good)
            assert bool(out["valid"][r, c]) == good
            expected = [band[block][seen].mean() if good else 0.0 for band in image]
            assert np.allclose(out["image"][:, r, c], expected, atol=1e-9)
    assert len(kinds) == 2


def test_grid_boxes_and_instances_follow(sample: Make) -> None:
    s = sample(size=(12, 12), boxes=2)
    s["corners"] = s["boxes"][:, [[0, 1], [2, 1], [2, 3], [0, 3]]]
    out = T.Resize((24, 6))(s)
    assert np.allclose(out["grid"].corners, s["grid"].corners, atol=1e-6) and out["grid"].shape == (24, 6)
    assert torch.allclose(out["boxes"], s["boxes"] * torch.tensor([0.5, 2, 0.5, 2]))
    assert torch.allclose(out["corners"], s["corners"] * torch.tensor([0.5, 2.0]))
    assert out["instances"].shape == (2, 24, 6) and torch.equal(out["instances"][:, ::2], s["instances"][:, :, 1::2])


def test_ratios_stay_unless_all_get_one_size(batch: Make) -> None:
    b = batch([(0, 0)], size=(24, 24), ratios={"": 1, "_20m": 2, "_60m": 6})
    kept, same = T.Resize(12)(b), T.Resize(10, same=True)(b)
    assert [kept[f"image{s}"].shape[-1] for s in ("", "_20m", "_60m")] == [12, 6, 2]
    assert [same[f"image{s}"].shape[-1] for s in ("", "_20m", "_60m")] == [10, 10, 10]
    for suffix in ("", "_20m", "_60m"):
        for out in (kept, same):
            new, old = out[f"grid{suffix}"][0], b[f"grid{suffix}"][0]
            assert new.shape == out[f"image{suffix}"].shape[-2:]
            assert np.allclose(new.corners, old.corners, atol=1e-6)


def test_resized_crop_is_a_window_of_the_grid(batch: Make) -> None:
    b = batch([(0, i) for i in range(200)], size=(24, 36), ratios={"": 1, "_20m": 2})
    fine = Grid((24, 36), (10, 0, 5e5, 0, -10, 5.6e6), "EPSG:32633")
    b |= {"grid": [fine] * 200, "grid_20m": [fine.coarser(2)] * 200}
    out = T.RandomResizedCrop(12, scale=(0.2, 0.9), ratio=(0.5, 2))(b)
    shares, shapes = [], []
    for i in range(200):
        (left, top), (right, bottom) = (fine.colrow(out["grid"][i].corners)[k] for k in (0, 2))
        rows, cols = (round(top), round(bottom)), (round(left), round(right))
        assert np.allclose([*rows, *cols], [top, bottom, left, right], atol=1e-6)
        assert all(n % 2 == 0 for n in (*rows, *cols)), "on the lattice of the coarser image"
        for suffix, k in (("", 1), ("_20m", 2)):
            part = b[f"image{suffix}"][i : i + 1, :, rows[0] // k : rows[1] // k, cols[0] // k : cols[1] // k]
            valid = b[f"valid{suffix}"][
                i : i + 1, None, rows[0] // k : rows[1] // k, cols[0] // k : cols[1] // k
            ].float()
            size = (12 // k, 12 // k)

            def shrink(x: torch.Tensor, size: tuple[int, int] = size) -> torch.Tensor:
                return functional.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False)

            weight = shrink(valid)
            expected = torch.where(weight >= 0.5, shrink(part * valid) / weight.clamp(min=0.5), 0)
            clear = ((weight - 0.5).abs() > 1e-4)[0, 0]
            assert torch.allclose(out[f"image{suffix}"][i][:, clear], expected[0][:, clear], rtol=1e-4, atol=1e-2)
        shares.append((rows[1] - rows[0]) * (cols[1] - cols[0]) / (24 * 36))
        shapes.append((cols[1] - cols[0]) / (rows[1] - rows[0]))
    assert min(shares) > 0.12 and max(shares) < 1.0 and max(shares) - min(shares) > 0.5
    assert min(shapes) < 0.7 and max(shapes) > 1.5


def test_resized_crop_when_nothing_fits() -> None:
    out = T.RandomResizedCrop(4, scale=(1, 1), ratio=(1, 1))(
        one(torch.rand(1, 4, 40), grid=Grid((4, 40), (1, 0, 0, 0, -1, 0)))
    )
    assert out["grid"].bounds == (18, -4, 22, 0), "a square from the middle"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: T.Resize(4, interpolation="cubic"), "'cubic' must be one of bilinear, bicubic, area, nearest"),
        (lambda: T.RandomResizedCrop(4, scale=(0.0, 1)), "scale .* above 0, at most 1"),
        (lambda: T.RandomResizedCrop(4, scale=(0.5, 1.2)), "at most 1"),
        (lambda: T.RandomResizedCrop(4, ratio=(2, 1)), "ratio .* in order"),
        (lambda: T.Pyramid(0), "levels 0 must be a whole number, 1 to 16"),
        (lambda: ANY.Pyramid("two"), "levels 'two'"),
    ],
)
def test_bad_arguments(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(TransformError, match=message):
        make()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "area"])
def test_valid_and_image_agree_where_just_half_is_valid(dtype: torch.dtype, mode: str) -> None:
    generator = torch.Generator().manual_seed(0)
    for size in [(14, 10), (3, 7), (12, 4), (9, 9), (2, 15)]:
        valid = torch.rand(8, 8, generator=generator) > 0.5
        image = torch.full((2, 8, 8), 100.0, dtype=dtype)
        for move in (T.Resize(size, interpolation=mode), T.Resize(size, interpolation=mode, antialias=False)):
            out = move(one(image, valid=valid))
            assert torch.equal(out["image"][0] != 0, out["valid"])
            assert out["image"][:, out["valid"]].sub(100).abs().max() < 0.2


@pytest.mark.parametrize("move", [T.RandomAffine((30, 30)), T.RandomAffine((30, 30), fill=-3.0), T.Resize(20)])
def test_a_nan_changes_no_digit_of_the_samples_beside_it(move: T.Transform) -> None:
    generator = torch.Generator().manual_seed(0)
    image, valid = torch.rand(2, 3, 33, 33, generator=generator), torch.rand(2, 33, 33, generator=generator) > 0.3
    valid[1, 5, 5] = True
    b = {"key": ["a", "b"], "draw": torch.tensor([[0, 0], [0, 1]]), "valid": valid}
    broken = image.clone()
    broken[1, :, 5, 5] = torch.nan
    assert torch.equal(move({**b, "image": broken})["image"][0], move({**b, "image": image})["image"][0])


def test_pyramid_holds_means(batch: Make) -> None:
    b = batch([(0, i) for i in range(3)], size=(8, 12), ratios={"_s2": 1})
    before = b["image_s2"].clone()
    b["image_s2"][~b["valid_s2"][:, None].expand_as(b["image_s2"])] = torch.nan
    out = T.Pyramid(2, key="image_s2")(b)
    for ratio in (2, 4):
        name = f"_s2_x{ratio}"
        assert family(f"image{name}") == ("image", name)
        valid = b["valid_s2"][:, None].float()
        share = functional.avg_pool2d(valid, ratio)
        mean = functional.avg_pool2d(before * valid, ratio) / share
        assert torch.equal(out[f"valid{name}"], share[:, 0] >= 0.5)
        assert torch.allclose(out[f"image{name}"], torch.where(share >= 0.5, mean, 0), rtol=1e-5)
        assert out[f"bands{name}"] is b["bands_s2"]
        assert [g.shape for g in out[f"grid{name}"]] == [(8 // ratio, 12 // ratio)] * 3
        assert out[f"grid{name}"][0].bounds == b["grid_s2"][0].bounds
    assert torch.equal(out["image_s2"].isnan(), b["image_s2"].isnan())


def test_pyramid_of_all_valid_is_memory_of_its_own() -> None:
    b = one(torch.rand(1, 4, 4), valid=torch.ones(4, 4, dtype=torch.bool), bands=Bands(["a"]))
    valid = T.Pyramid(1)(b)["valid_x2"]
    valid[0, 0] = False
    assert valid.tolist() == [[False, True], [True, True]] and b["valid"].all()


def test_what_follows_moves_all_levels(batch: Make) -> None:
    b = batch([(0, i) for i in range(4)], size=(16, 16))
    b["valid"] = torch.ones_like(b["valid"])
    move = T.Compose([T.RandomFlip(), T.RandomRotate90(), T.RandomCrop(8)], seed=3)
    first = T.Pyramid(2)(move(b))
    shifted = T.Compose([T.RandomFlip(), T.RandomRotate90(), T.RandomCrop(8), T.Pyramid(2)], seed=3)(b)
    assert torch.equal(first["image_x4"], shifted["image_x4"])
    later = T.Compose([T.Pyramid(2), T.CenterCrop(8), T.RandomFlip(p=1)])(b)
    rebuilt = T.Pyramid(2)({k: v for k, v in later.items() if not k.endswith(("_x2", "_x4"))})
    for key in ("image_x2", "image_x4", "valid_x4"):
        assert torch.allclose(later[key].double(), rebuilt[key].double())
    with pytest.raises(TransformError, match=r"RandomCrop: 6 x 6 pixels do not fit .* use 4 or 8 instead of 6"):
        T.RandomCrop(6)(T.Pyramid(2)(b))


def test_pyramid_without_whole_blocks(batch: Make) -> None:
    with pytest.raises(
        TransformError, match=r"'image' is 6 x 10 pixels; 2 levels need multiples of 4: crop it to 4 x 8"
    ):
        T.Pyramid(2)(batch([(0, 0)], size=(6, 10)))
    with pytest.raises(TransformError, match=r"uint16 numbers of 'image'; call T.ToFloat"):
        T.Pyramid(1)(batch([(0, 0)], dtype=torch.uint16))
