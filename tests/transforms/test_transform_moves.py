"""Neighbouring moves carried out as one, against one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from geodata import transforms as T
from geodata.grid import Grid
from geodata.transforms.draws import Draws
from geodata.transforms.geometry import rasters

Make = Callable[..., dict[str, Any]]


STEPS: list[list[T.Transform]] = [
    [T.RandomFlip(), T.RandomCrop(8), T.RandomRotate90()],
    [T.RandomCrop(8), T.RandomAffine(degrees=60, translate=0.2), T.RandomFlip(), T.RandomCrop(6)],
    [T.RandomCrop(8), T.RandomAffine(degrees=60, interpolation="bicubic"), T.CenterCrop(6)],
    [T.RandomCrop(8), T.Pad(14), T.RandomRotate90(), T.RandomCrop(12)],
    [T.Pad(14), T.RandomFlip(p=1), T.RandomAffine(degrees=30), T.RandomCrop(8)],
    [T.RandomAffine(degrees=30), T.Pad(16), T.RandomCrop(8)],
    [T.RandomAffine(degrees=30), T.RandomAffine(degrees=30)],
    [T.RandomFlip(), T.RandomResizedCrop(6), T.RandomFlip(), T.RandomCrop(4)],
    [T.Pad(16), T.Resize(8), T.RandomAffine(degrees=30)],
    [T.RandomAffine(translate=0.3, interpolation="nearest"), T.RandomCrop(8), T.Pad(12)],
]


@pytest.mark.parametrize("steps", STEPS, ids=lambda steps: "-".join(type(s).__name__ for s in steps))
def test_joined_equals_one_after_the_other(batch: Make, steps: list[T.Transform]) -> None:
    b = batch([(0, i) for i in range(12)], size=(12, 12), boxes=3, ratios={"": 1, "_20m": 2})
    b["image"], b["image_20m"] = b["image"] / 100, b["image_20m"] / 100
    # No object may be cut exactly at its limit, where the last digit decides.
    b["boxes"] = [box + torch.tensor([-0.31, -0.23, 0.17, 0.29]) for box in b["boxes"]]
    b["corners"] = [box[:, [[0, 1], [2, 1], [2, 3], [0, 3]]] + torch.tensor([0.011, 0.017]) for box in b["boxes"]]
    joined = T.Compose(steps, seed=7)(b)
    slow: dict[str, Any] = b
    for i, step in enumerate(steps):
        slow = step(slow, Draws().step(7, i))
    for key in ("image", "image_20m", "valid", "mask", "boxes", "corners", "instances", "box_labels", "grid"):
        for x, y in zip(joined[key], slow[key], strict=True):
            if isinstance(x, Grid):
                assert x.shape == y.shape and np.allclose(x.corners, y.corners, atol=1e-6)
            elif x.dtype.is_floating_point:
                assert x.shape == y.shape and torch.allclose(x, y, atol=2e-4), key
            else:
                # Float32 positions differ in their last digits: a pixel on the border of two may fall to either.
                assert x.shape == y.shape, key
                assert (x != y).sum() <= 0.02 * x.numel(), key


def test_how_many_copies(batch: Make) -> None:
    """What joins, and what must not."""

    def moves(*steps: T.Transform) -> int:
        pending, count = None, 0
        for step in steps:
            move = step.plan(b, Draws())
            joined = None if pending is None else pending.then(move)
            count, pending = (count, joined) if joined is not None else (count + 1, move)
        return count

    b = batch([(0, 0)], size=(12, 12))
    assert moves(T.RandomFlip(), T.RandomCrop(8), T.RandomAffine(30), T.RandomRotate90(), T.CenterCrop(4)) == 1
    assert moves(T.Pad(16), T.RandomFlip(), T.RandomCrop(8), T.RandomAffine(30)) == 1
    assert moves(T.RandomFlip(), T.RandomCrop(8), T.Resize(4)) == 1
    assert moves(T.RandomFlip(), T.RandomResizedCrop(4)) == 1
    assert moves(T.RandomAffine(30), T.RandomAffine(30)) == 2
    assert moves(T.RandomAffine(30), T.Pad(16)) == 2
    assert moves(T.RandomAffine(30, fill=1.0), T.RandomFlip(), T.Pad(16)) == 2
    assert moves(T.Pad(16, fill=1.0), T.RandomAffine(30)) == 2
    assert moves(T.Pad(16), T.Resize(8)) == 2
    assert moves(T.Resize(8), T.RandomFlip()) == 2


def test_by_groups_as_on_an_accelerator(batch: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    for steps in STEPS:
        b = batch([(0, i) for i in range(9)], size=(12, 12), boxes=2, times=2)
        expected = T.Compose(steps)(b)
        with monkeypatch.context() as patch:
            patch.setattr(rasters, "_groups", lambda routes, _, device: rasters._by_kind(routes, device))
            out = T.Compose(steps)(b)
        for key in ("image", "valid", "mask"):
            assert torch.allclose(out[key].double(), expected[key].double(), atol=1e-3), key


def test_no_samples_at_all(batch: Make) -> None:
    b = {k: v[:0] for k, v in batch([(0, 0), (0, 1)], size=(12, 12), boxes=1).items() if k != "bands"}
    out = T.Compose([T.RandomFlip(), T.RandomAffine(30), T.RandomCrop((4, 6)), T.RandomFlip()])(b)
    assert out["image"].shape == (0, 2, 4, 6) and out["mask"].shape == (0, 4, 6) and out["boxes"] == []
    assert T.RandomResizedCrop(4)(b)["image"].shape == (0, 2, 4, 4)


def test_images_of_unequal_size_in_a_list() -> None:
    images = [torch.rand(1, 6, 8), torch.rand(1, 9, 5)]
    b = {"key": ["a", "b"], "draw": torch.tensor([[0, 0], [0, 1]]), "image": images}
    move = T.Compose([T.RandomAffine(degrees=20), T.RandomCrop(4), T.RandomFlip()])
    out = move(b)
    for i, image in enumerate(images):
        alone = move({"key": "a", "draw": torch.tensor([0, i]), "image": image})
        assert torch.allclose(alone["image"], out["image"][i]) and torch.equal(alone["valid"], out["valid"][i])


def test_gradients_flow(batch: Make) -> None:
    b = batch([(0, i) for i in range(4)])
    leaf = b["image"].clone().requires_grad_()
    T.Compose([T.RandomFlip(), T.RandomAffine(30), T.RandomCrop(4)])({**b, "image": leaf})["image"].sum().backward()
    assert leaf.grad is not None and torch.isfinite(leaf.grad).all() and leaf.grad.abs().sum() > 0


def test_threads_change_nothing(batch: Make) -> None:
    """Not even the last digit, whatever is valid in the neighbours of a sample."""
    b = batch([(0, i) for i in range(9)], size=(12, 12))
    b["valid"][::3] = True
    move = T.Compose([T.RandomAffine(degrees=60, translate=0.2), T.RandomFlip()])
    before = torch.get_num_threads()
    try:
        outs = []
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            outs.append(move(b))
    finally:
        torch.set_num_threads(before)
    for out in outs[1:]:
        for key in ("image", "valid", "mask"):
            assert torch.equal(out[key], outs[0][key]), key
