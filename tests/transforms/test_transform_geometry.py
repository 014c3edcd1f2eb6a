"""Flips and quarter turns against numpy, and every key of a sample against its image."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from geodata import transforms as T
from geodata.errors import TransformError
from geodata.grid import Grid
from geodata.transforms.geometry import dihedral, rasters
from geodata.transforms.geometry.dihedral import Turn
from geodata.transforms.geometry.move import Move
from geodata.transforms.layout import Layout

Make = Callable[..., dict[str, Any]]
Array = NDArray[Any]

DTYPES = [
    *(torch.uint8, torch.int8, torch.bool, torch.uint16, torch.int16, torch.uint32, torch.int32, torch.uint64),
    *(torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64),
]
ANY: Any = T
"""The same names without their types, to call them wrongly."""


def one_way(k: int, mirror: bool) -> Callable[[Array], Array]:
    return lambda a: np.rot90(a[..., ::-1] if mirror else a, k, axes=(-2, -1))


EIGHT = {f"{k} turns{', mirrored' * mirror}": one_way(k, mirror) for k in range(4) for mirror in (False, True)}
"""All ways to lay a square onto itself, by numpy."""


def found(before: Any, after: Any) -> str:
    """Name of the one way that leads from an image to another; pixels are all different."""
    names = [name for name, way in EIGHT.items() if np.array_equal(way(before.numpy()), after.numpy())]
    assert len(names) == 1, f"the image is moved in {len(names)} ways at once"
    return names[0]


def both(**kwargs: Any) -> T.Compose:
    return T.Compose([T.RandomFlip(), T.RandomRotate90()], **kwargs)


def turn(code: int) -> Move:
    return Move((Turn(who="x", drawn=np.array([code]), quarter=True),))


def assert_same(a: Any, b: Any, where: str = "") -> None:
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_same(a[key], b[key], f"{where}[{key!r}]")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}[{i}]")
    elif isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype and torch.equal(a, b), where
    elif isinstance(a, Grid):
        assert a.shape == b.shape and a.crs == b.crs, where
        # Positions in metres of an UTM zone carry about nine digits before the last bits of float64.
        assert np.allclose(a.corners, b.corners, rtol=0, atol=1e-6), where
    else:
        assert a == b, where


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(5, 7), (2, 5, 7), (1, 2, 5, 7)])
def test_single_sample_equals_numpy(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    numbers = torch.randperm(int(np.prod(shape))).reshape(shape)
    key = "mask" if len(shape) == 2 else "image"
    sample = {"key": "a", "draw": torch.tensor([0, 0]), key: numbers.to(dtype)}
    cases: dict[T.Transform, torch.Tensor] = {
        T.RandomRotate90(p=1, turns=[k]): torch.from_numpy(np.rot90(numbers, k, (-2, -1)).copy()) for k in (1, 2, 3)
    }
    cases[T.RandomFlip(p=1, axes="horizontal")] = torch.from_numpy(numbers.numpy()[..., ::-1].copy())
    cases[T.RandomFlip(p=1, axes="vertical")] = torch.from_numpy(numbers.numpy()[..., ::-1, :].copy())
    for transform, expected in cases.items():
        got = transform(sample)[key]
        assert got.dtype == dtype and got.is_contiguous()
        assert got.shape == expected.shape
        assert got.tolist() == expected.to(dtype).tolist(), transform


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.bool, torch.float32], ids=str)
@pytest.mark.parametrize("times", [None, 3])
def test_batch_equals_its_samples(batch: Make, sample: Make, dtype: torch.dtype, times: int | None) -> None:
    draws = [(e, i) for e in range(2) for i in range(20)]
    options: dict[str, Any] = {"dtype": dtype, "times": times, "boxes": 2, "ratios": {"": 1, "_20m": 2}}
    out = both()(batch(draws, **options))
    assert out["image"].shape == (40, *((3,) if times else ()), 2, 6, 6)
    for b, (epoch, index) in enumerate(draws):
        alone = both()(sample(epoch, index, **options))
        for key, value in alone.items():
            assert_same(out[key] if key.startswith("bands") else out[key][b], value, key)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 10**9)), min_size=1, max_size=6, unique=True),
    st.integers(1, 3),
    st.integers(1, 4),
    st.sampled_from([torch.uint16, torch.int16, torch.uint8, torch.float32]),
    st.randoms(use_true_random=False),
)
def test_a_sample_moves_alike_in_any_batch(
    batch: Make, draws: list[tuple[int, int]], half: int, channels: int, dtype: torch.dtype, random: Any
) -> None:
    options = {"size": (2 * half, 2 * half), "channels": channels, "dtype": dtype, "boxes": 1}
    whole = both()(batch(draws, **options))
    order = random.sample(range(len(draws)), random.randint(1, len(draws)))
    part = both()(batch([draws[i] for i in order], **options))
    for key in ("image", "valid", "mask", "grid", "boxes", "corners", "instances"):
        assert_same(list(part[key]), [whole[key][i] for i in order], key)


def test_all_keys_and_resolutions_move_alike(batch: Make) -> None:
    before = batch([(3, i) for i in range(64)], ratios={"": 1, "_10m": 1, "_20m": 2, "_60m": 3}, boxes=3, size=(12, 12))
    out = both()(before)
    seen = set()
    for b in range(64):
        way = found(before["image"][b], out["image"][b])
        seen.add(way)
        for key in before:
            if key.startswith(("image", "valid", "mask", "instances")):
                assert np.array_equal(out[key][b].numpy(), EIGHT[way](before[key][b].numpy())), (key, way)
        for box, instance in zip(out["boxes"][b].int().tolist(), out["instances"][b], strict=True):
            left, top, right, bottom = box
            painted = torch.zeros(12, 12, dtype=torch.bool)
            painted[top:bottom, left:right] = True
            assert torch.equal(painted, instance), "a box no longer surrounds its instance"
        old, new = (c["corners"][b].floor().long() for c in (before, out))
        image_old, image_new = before["image"][b], out["image"][b]
        assert torch.equal(image_old[:, old[..., 1], old[..., 0]], image_new[:, new[..., 1], new[..., 0]])
    assert seen == set(EIGHT), "64 samples should meet all eight ways"


@pytest.mark.parametrize("size", [(6, 6), (4, 10)])
def test_every_pixel_keeps_its_place_on_earth(sample: Make, size: tuple[int, int]) -> None:
    def world(grid: Grid) -> torch.Tensor:
        rows, cols = np.mgrid[: grid.height, : grid.width] + 0.5
        return torch.from_numpy(np.moveaxis(grid.xy(np.stack([cols, rows], axis=-1)), -1, 0).copy())

    moved = 0
    for index in range(32):
        s = sample(1, index, size=size, ratios={"_10m": 1, "_20m": 2})
        s |= {"image_10m": world(s["grid_10m"]), "image_20m": world(s["grid_20m"])}
        out = both()(s)
        for suffix in ("_10m", "_20m"):
            assert out["grid" + suffix].shape == out["image" + suffix].shape[-2:]
            torch.testing.assert_close(world(out["grid" + suffix]), out["image" + suffix], rtol=0, atol=1e-6)
            assert out["grid" + suffix].crs == s["grid" + suffix].crs
        moved += out["grid_10m"] != s["grid_10m"]
    assert moved > 16


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 10**6), st.sampled_from(["flip", 1, 2, 3]))
def test_back_again(sample: Make, half_h: int, half_w: int, index: int, what: Any) -> None:
    s = sample(0, index, size=(2 * half_h, 2 * half_w), dtype=torch.uint16, boxes=2)
    there = T.RandomFlip(p=1) if what == "flip" else T.RandomRotate90(p=1, turns=[what])
    back = there if what == "flip" else T.RandomRotate90(p=1, turns=[4 - what])
    assert_same(back(there(s)), s)
    joined = T.Compose([there, back])(s)
    assert_same(joined, s)


@pytest.mark.parametrize("first", range(8))
@pytest.mark.parametrize("second", range(8))
def test_joined_moves_equal_one_after_the_other(sample: Make, first: int, second: int) -> None:
    s = sample(size=(4, 6), boxes=2)
    a, b = turn(first), turn(second)
    joined = a.then(b)
    assert joined is not None
    assert_same(joined.apply(s), b.apply(a.apply(s)))


def test_the_eight_codes_are_the_eight_ways() -> None:
    image = torch.arange(9).reshape(1, 3, 3)
    sample = {"key": "a", "draw": torch.tensor([0, 0]), "image": image}
    ways = [found(image, turn(code).apply(sample)["image"]) for code in range(8)]
    assert sorted(ways) == sorted(EIGHT)
    for k in range(4):
        assert ways[dihedral.TURNS[k]] == f"{k} turns"


def test_a_move_does_not_join_another_kind() -> None:
    assert turn(0).then(object()) is None


def test_nothing_that_came_in_is_changed(batch: Make, sample: Make) -> None:
    for given_ in (batch([(0, i) for i in range(8)], boxes=2), sample(0, 1, boxes=2)):
        kept = copy.deepcopy(given_)
        versions = {k: v._version for k, v in given_.items() if isinstance(v, torch.Tensor)}
        for transform in (T.RandomFlip(p=1), T.RandomRotate90(p=1), both()):
            out = transform(given_)
            assert out is not given_
            for value in out.values():
                if isinstance(value, torch.Tensor) and not any(value is old for old in given_.values()):
                    value.zero_()
        assert_same(given_, kept)
        for key, version in versions.items():
            assert given_[key]._version == version


def test_other_keys_pass_as_they_are(batch: Make) -> None:
    b = batch([(0, i) for i in range(4)], boxes=1)
    b |= {"mask_time": torch.ones(4, 3, dtype=torch.bool), "wavelengths": torch.ones(2), "note": "x"}
    out = T.RandomRotate90(p=1)(b)
    for key in ("key", "draw", "time", "query", "label", "bands", "box_labels", "mask_time", "wavelengths", "note"):
        assert out[key] is b[key], key
    assert list(out) == list(b)


def test_nothing_drawn_copies_nothing(batch: Make) -> None:
    b = batch([(0, 0), (0, 1)])
    assert T.RandomFlip(p=0)(b)["image"] is b["image"]


def test_boxes_count_pixels_of_their_own_resolution(sample: Make) -> None:
    s = sample(size=(4, 8), ratios={"_10m": 1, "_20m": 2})
    s |= {"boxes": torch.tensor([[0.0, 0, 1, 1]]), "boxes_20m": torch.tensor([[0.0, 0, 1, 1]])}
    out = T.RandomFlip(p=1)(s)
    assert out["boxes"].tolist() == [[7, 3, 8, 4]], "without a suffix: pixels of the finest image"
    assert out["boxes_20m"].tolist() == [[3, 1, 4, 2]]


def test_no_boxes_at_all(batch: Make) -> None:
    b = batch([(0, 0), (0, 1)])
    b |= {
        "boxes": [torch.zeros(0, 4), torch.zeros(0, 4)],
        "corners": [torch.zeros(0, 4, 2)] * 2,
        "instances": [torch.zeros(0, 6, 6, dtype=torch.bool)] * 2,
    }
    out = T.RandomRotate90(p=1)(b)
    assert [tuple(x.shape) for x in out["boxes"] + out["corners"]] == [(0, 4), (0, 4), (0, 4, 2), (0, 4, 2)]
    assert [tuple(x.shape) for x in out["instances"]] == [(0, 6, 6)] * 2


def test_stacked_boxes(batch: Make) -> None:
    b = batch([(0, i) for i in range(6)])
    b["boxes"] = torch.rand(6, 2, 4)
    ragged = both()({**b, "boxes": list(b["boxes"])})["boxes"]
    assert torch.equal(both()(b)["boxes"], torch.stack(ragged))


def test_ragged_images_in_a_list_may_have_any_shape() -> None:
    images = [torch.arange(6.0).reshape(1, 2, 3), torch.arange(4.0).reshape(1, 4, 1)]
    out = T.RandomRotate90(p=1, turns=[1])({"draw": torch.tensor([[0, 0], [0, 1]]), "image": images})
    for old, new in zip(images, out["image"], strict=True):
        assert torch.equal(new, torch.rot90(old, 1, (-2, -1)))


def test_nan_stays_where_it_is(sample: Make) -> None:
    s = sample()
    s["image"][0, 1, 2] = torch.nan
    assert torch.isnan(both()(s)["image"]).sum() == 1


def test_gradients_flow_back_to_their_pixel(batch: Make) -> None:
    b = batch([(0, i) for i in range(8)])
    leaf = b["image"].clone().requires_grad_()
    out = both()({**b, "image": leaf})["image"]
    (out * out.detach()).sum().backward()
    assert leaf.grad is not None and torch.equal(leaf.grad, leaf.detach())


def test_by_groups_as_on_an_accelerator(batch: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    b = batch([(0, i) for i in range(32)], dtype=torch.uint16)
    expected = both()(b)
    monkeypatch.setattr(rasters, "_groups", lambda routes, _, device: rasters._by_kind(routes, device))
    assert_same(both()(b), expected)


def test_tensors_stay_on_their_device(batch: Make) -> None:
    b = batch([(0, i) for i in range(8)], boxes=1)
    for key in ("image", "valid", "mask"):
        b[key] = b[key].to("meta")
    for key in ("boxes", "corners", "instances"):
        b[key] = [item.to("meta") for item in b[key]]
    out = both()(b)
    for key in ("image", "valid", "mask", "boxes", "corners", "instances"):
        assert {item.device.type for item in out[key]} == {"meta"}


def test_a_batch_that_is_not_square_cannot_turn(batch: Make) -> None:
    for index in range(6):
        with pytest.raises(TransformError, match=r"'image' is 4 x 6 pixels; a quarter turn swaps.*square patches"):
            T.RandomRotate90(p=0.01)(batch([(0, index)], size=(4, 6)))
    with pytest.raises(TransformError, match="RandomFlip, RandomRotate90: 'image' is 4 x 6 pixels"):
        both()(batch([(0, 0)], size=(4, 6)))
    out = T.RandomRotate90(p=1, turns=[2])(batch([(0, 0)], size=(4, 6)))
    assert out["image"].shape == (1, 2, 4, 6)


def changed(b: dict[str, Any], **new: Any) -> dict[str, Any]:
    return {k: v for k, v in {**b, **new}.items() if v is not None}


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ({"image": np.zeros((2, 2, 6, 6))}, "'image' is ndarray; transforms work on torch tensors"),
        ({"image": torch.zeros(2, 6, 6)}, r"'image' of one batch needs 4 or more dimensions, got shape \(2, 6, 6\)"),
        ({"image": torch.zeros(3, 2, 6, 6)}, "'image' holds 3 samples and 'draw' 2"),
        ({"instances": [torch.zeros(1, 6, 6)]}, "'instances' holds 1 samples and 'draw' 2"),
        ({"boxes": [torch.zeros(1, 4)]}, "'boxes' holds 1 samples and 'draw' 2"),
        ({"boxes": [torch.zeros(1, 5)] * 2}, r"'boxes' of one sample must be a tensor \(N, 4\), got \(1, 5\)"),
        ({"corners": [torch.zeros(4, 2)] * 2}, r"'corners' of one sample must be a tensor \(N, 4, 2\), got \(4, 2\)"),
        ({"grid": Grid((6, 6), (1, 0, 0, 0, -1, 0))}, "'grid' is Grid; here it must be a list of Grid"),
        ({"grid": [Grid((6, 7), (1, 0, 0, 0, -1, 0))] * 2}, "'image' is 6 x 6 pixels and 'grid' is 6 x 7; the grid"),
        ({"dem": torch.zeros(2, 1, 6, 6)}, r"'dem' has shape \(2, 1, 6, 6\), a raster under a key that is not moved"),
        ({"key": "one"}, r"'key' \(str\) and 'draw' \(shape \(2, 2\)\) disagree"),
        ({"image": None, "valid": None, "mask": None, "grid": None}, "nothing to move: no image, valid, mask"),
    ],
)
def test_bad_batch(batch: Make, new: dict[str, Any], message: str) -> None:
    b = changed(batch([(0, 0), (0, 1)]), **new)
    with pytest.raises(TransformError, match=message):
        T.RandomFlip(p=0)(b)


def test_a_sample_or_a_batch() -> None:
    image = torch.arange(24).reshape(2, 3, 2, 2)
    one = T.RandomFlip(p=1)({"draw": torch.tensor([0, 0]), "image": image})["image"]
    assert torch.equal(one, image.flip(-1, -2)), "without a key, draw tells a time series from a batch"
    with pytest.raises(TransformError, match="cannot tell a sample from a batch: add 'key'"):
        Layout.of({"image": image}, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: T.RandomFlip(p=1.5), "p 1.5 must be a probability, 0 to 1"),
        (lambda: T.RandomFlip(p=float("nan")), "p nan must be a probability"),
        (lambda: ANY.RandomFlip(p="half"), "p 'half' must be a probability"),
        (lambda: T.RandomRotate90(p=-0.1), "p -0.1 must be a probability"),
        (lambda: T.RandomFlip(axes=[]), r"axes \[\] must be one or more of horizontal, vertical, each once"),
        (lambda: T.RandomFlip(axes="diagonal"), "axes 'diagonal' must be one or more of"),
        (lambda: T.RandomFlip(axes=["vertical", "vertical"]), "each once"),
        (lambda: T.RandomRotate90(turns=[0]), r"turns \[0\] must be one or more of 1, 2, 3"),
        (lambda: ANY.RandomRotate90(turns=[[1]]), "turns .* must be"),
        (lambda: T.RandomFlip(seed=-1), "seed -1 must be a whole number"),
        (lambda: ANY.RandomFlip(seed=0.5), "seed 0.5 must be a whole number"),
        (lambda: T.RandomFlip(seed=2**63), "below 2"),
    ],
)
def test_bad_arguments(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(TransformError, match=message):
        make()
