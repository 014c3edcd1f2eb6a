"""What moves refuse, and rules for keys that only some batches have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from geodata import transforms as T
from geodata.errors import TransformError
from geodata.transforms.draws import Draws

Make = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("shape", [(2, 1, 16, 16), (2, 8, 8)])
@pytest.mark.parametrize("move", [T.RandomAffine(degrees=20), T.Resize(8)])
def test_a_valid_of_another_shape_is_not_left_out(shape: tuple[int, ...], move: T.Transform) -> None:
    b = {"image": torch.rand(2, 4, 16, 16), "valid": torch.ones(shape, dtype=torch.bool)}
    b |= {"draw": torch.tensor([[0, 0], [0, 1]]), "key": ["a", "b"]}
    with pytest.raises(TransformError, match=r"'valid' is bool .*; beside this 'image' it must be bool \(2, 16, 16\)"):
        move(b)


def test_boxes_of_a_named_image_with_resolutions_count_its_own_pixels() -> None:
    sample = {
        "key": "a",
        "draw": torch.tensor([0, 0]),
        "image_s2_10m": torch.zeros(1, 12, 12),
        "image_s2_20m": torch.zeros(1, 6, 6),
        "image_pl": torch.zeros(1, 48, 48),
        "boxes_s2": torch.tensor([[0.0, 0.0, 6.0, 12.0]]),
    }
    out = T.RandomFlip(p=1, axes=["horizontal"])(sample)
    assert out["boxes_s2"].tolist() == [[6.0, 0.0, 12.0, 12.0]]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
def test_a_pad_before_a_warp_is_as_one_after_the_other(batch: Make, interpolation: str) -> None:
    b = batch([(0, i) for i in range(8)], size=(20, 20))
    steps = [T.Pad(28), T.RandomAffine(degrees=30, translate=0.1, interpolation=interpolation)]
    joined, alone = T.Compose(steps)(b), b
    for i, step in enumerate(steps):
        alone = step(alone, Draws().step(0, i))
    torch.testing.assert_close(joined["image"], alone["image"], rtol=1e-4, atol=1e-3)
    assert torch.equal(joined["valid"], alone["valid"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": torch.rand(2, 1, 0, 4)}, r"'image' has shape \(2, 1, 0, 4\): no pixels to move"),
        ({"boxes": None}, "'boxes' is NoneType; in a batch it must be a list of tensors"),
    ],
)
def test_batches_that_cannot_be_moved(change: dict[str, Any], message: str) -> None:
    b = {"image": torch.rand(2, 1, 4, 4), "draw": torch.tensor([[0, 0], [0, 1]]), "key": ["a", "b"]}
    with pytest.raises(TransformError, match=message):
        T.RandomFlip(p=1)(b | change)


def test_a_fill_that_the_dtype_cannot_hold() -> None:
    sample = {"key": "a", "image": torch.rand(1, 4, 4, dtype=torch.float16)}
    with pytest.raises(TransformError, match="which is no float16"):
        T.Pad(8, fill=1e6)(sample)
