"""Kornia's operations through the adapter, against kornia itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import kornia.augmentation
import numpy as np
import pytest
import torch

from geodata import transforms as T
from geodata.bands import Bands
from geodata.errors import TransformError
from geodata.transforms.geometry import from_kornia as kornia_adapter

Make = Callable[..., dict[str, Any]]
ANY: Any = T

GOOD: dict[str, dict[str, Any]] = {
    "RandomBoxBlur": {"kernel_size": [5, 5], "p": 1.0},
    "RandomGaussianBlur": {"kernel_size": [5, 5], "sigma": [0.5, 2.0], "p": 1.0},
    "RandomMotionBlur": {"kernel_size": 5, "angle": 35.0, "direction": 0.5, "p": 1.0},
    "RandomBrightness": {"brightness": [0.5, 1.5], "clip_output": False, "p": 1.0},
    "RandomContrast": {"contrast": [0.5, 1.5], "clip_output": False, "p": 1.0},
    "RandomChannelDropout": {"p": 1.0},
    "RandomErasing": {"p": 1.0},
    "RandomGaussianNoise": {"std": 0.5, "p": 1.0},
}


def made(channels: int = 13, n: int = 4, **more: Any) -> dict[str, Any]:
    image = torch.from_numpy(np.random.default_rng(1).normal(0.0, 5.0, (n, channels, 16, 20))).float()
    bands = Bands([f"B{i}" for i in range(channels)], state="normalised")
    return {
        "key": [f"k{i}" for i in range(n)],
        "draw": torch.tensor([[0, i] for i in range(n)]),
        "image": image,
        "bands": bands,
        **more,
    }


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("channels", [1, 3, 13, 202])
def test_any_number_of_channels_and_no_clamp(name: str, channels: int) -> None:
    b = made(channels, 2)
    out = T.FromKornia(name, GOOD[name])(b)["image"]
    assert out.shape == b["image"].shape and out.dtype == torch.float32
    assert not torch.equal(out, b["image"]), "nothing was done"
    if name not in ("RandomChannelDropout",) or channels > 1:
        assert out.min() < -0.5 and out.max() > 1.5


def test_every_allowed_operation_is_tried() -> None:
    allowed = {*kornia_adapter._BLURS, *kornia_adapter._SCALES, *kornia_adapter._PLAIN}
    assert allowed == set(GOOD)


@pytest.mark.parametrize("name", [n for n in GOOD if "Blur" not in n] + ["RandomGaussianBlur", "RandomBoxBlur"])
def test_equals_kornia_under_the_same_seed(name: str) -> None:
    b = made()
    move = T.FromKornia(name, GOOD[name], seed=4)
    out = move(b)["image"]
    arguments = {k: tuple(v) if isinstance(v, list) else v for k, v in GOOD[name].items()}
    operation = getattr(kornia.augmentation, name)(**arguments)
    from geodata.transforms.draws import Draws

    for i, generator in enumerate(move.generators(b, Draws(), torch.device("cpu"))):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(generator.initial_seed())
            expected = operation(b["image"][i : i + 1])[0]
        assert torch.allclose(out[i], expected, atol=1e-4)


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first = T.FromKornia("RandomGaussianNoise", {"p": 1.0})(made())["image"]
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(T.FromKornia("RandomGaussianNoise", {"p": 1.0})(made())["image"], first)
    other = T.FromKornia("RandomGaussianNoise", {"p": 1.0}, seed=1)(made())["image"]
    assert not torch.equal(other, first)
    assert not torch.equal(first[0] - made()["image"][0], first[1] - made()["image"][1]), "samples draw alike"


@pytest.mark.parametrize("name", GOOD)
def test_threads_do_not_disturb_each_other(name: str) -> None:
    """As in a loader, whose threads transform samples while a model trains and draws from the global generator."""
    b, move = made(2, 1), T.FromKornia(name, {**GOOD[name], "p": 0.5})
    samples = [{**b, "draw": torch.tensor([[0, i]])} for i in range(48)]
    expected = [move(s)["image"] for s in samples]
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda s: move(s)["image"], samples))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


def test_dates_of_a_series_are_treated_alike() -> None:
    b = made()
    b["image"] = b["image"][:, None].expand(-1, 3, -1, -1, -1)
    for name, params in GOOD.items():
        out = T.FromKornia(name, params)(b)["image"]
        assert torch.allclose(out[:, 0], out[:, 1]) and torch.allclose(out[:, 0], out[:, 2]), name


@pytest.mark.parametrize("rubbish", [0.0, 1e9, float("nan")])
def test_a_blur_takes_valid_pixels_alone(rubbish: float) -> None:
    b = made(2, 1)
    valid = torch.rand(1, 16, 20, generator=torch.Generator().manual_seed(0)) > 0.4
    clean = b["image"].clone()
    b["image"] = torch.where(valid[:, None], clean, rubbish)
    out = T.FromKornia("RandomBoxBlur", {"kernel_size": [3, 3], "border_type": "constant", "p": 1.0})(
        {**b, "valid": valid}
    )["image"]
    for r in range(16):
        for c in range(20):
            if not valid[0, r, c]:
                same = out[0, :, r, c], b["image"][0, :, r, c]
                assert torch.equal(*(torch.nan_to_num(x) for x in same))
                continue
            block = (slice(max(0, r - 1), r + 2), slice(max(0, c - 1), c + 2))
            expected = clean[0][:, block[0], block[1]][:, valid[0][block]].mean(dim=1)
            assert torch.allclose(out[0, :, r, c], expected, atol=1e-4)


def test_invalid_pixels_stay_as_they_are() -> None:
    b = made()
    valid = torch.rand(4, 16, 20, generator=torch.Generator().manual_seed(0)) > 0.4
    for name, params in GOOD.items():
        out = T.FromKornia(name, params)({**b, "valid": valid})["image"]
        there = ~valid[:, None].expand_as(out)
        assert torch.equal(out[there], b["image"][there]), name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("RandomAffine", r"without its masks, boxes and grid; take T.RandomAffine"),
        ("RandomHorizontalFlip", r"take T.RandomFlip\(axes=\['horizontal'\]\)"),
        ("RandomElasticTransform", "in a way that no grid can follow"),
        ("RandomGamma", r"clamps to \[0, 1\]"),
        ("RandomPlasmaShadow", r"clamps to \[0, 1\]"),
        ("RandomChannelShuffle", "numbers of others while their names stay"),
        ("RandomMedianBlur", "is none that was checked"),
        ("os.system", "is none that was checked"),
        (None, "is none that was checked"),
    ],
)
def test_what_is_refused_and_why(name: Any, message: str) -> None:
    with pytest.raises(TransformError, match=message):
        T.FromKornia(name)


def test_clamping_operations_do_clamp() -> None:
    """What is refused as clamping is so: else it should not be."""
    x = torch.full((1, 3, 16, 16), 5.0)
    for name in kornia_adapter._CLAMPS:
        needed = {"RandomPosterize": {"bits": 3}}.get(name, {})
        out = getattr(kornia.augmentation, name)(**needed, p=1.0)(x)
        assert out.max() <= 1.0 + 1e-6, name


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: T.FromKornia("RandomBrightness"), "RandomBrightness clamps .* add 'clip_output': False"),
        (lambda: T.FromKornia("RandomContrast", {"clip_output": True}), "add 'clip_output': False"),
        (lambda: T.FromKornia("RandomGaussianNoise", {"sigma": 1}), "does not take {'sigma': 1}"),
        (lambda: T.FromKornia("RandomGaussianNoise", {"same_on_batch": True}), "same_on_batch is decided here"),
        (lambda: T.FromKornia("RandomGaussianNoise", {"std": torch.ones(1)}), "plain JSON data"),
        (lambda: ANY.FromKornia("RandomGaussianNoise", [1]), "must be a mapping name -> value, got list"),
    ],
)
def test_bad_arguments(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(TransformError, match=message):
        make()


def test_units_are_guarded() -> None:
    b = made()
    move = T.FromKornia("RandomBrightness", GOOD["RandomBrightness"])
    for state in ("raw", "dB"):
        with pytest.raises(TransformError, match=f"is {state}; FromKornia takes reflectance or normalised"):
            move({**b, "bands": b["bands"].with_state(state)})
    with pytest.raises(TransformError, match=r"call T.ToFloat"):
        move({**b, "image": b["image"].to(torch.int16)})


def test_kornia_is_imported_only_when_asked_for() -> None:
    code = "import sys, geodata.transforms; sys.exit('kornia' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_image_smaller_than_the_kernel() -> None:
    b = made()
    with pytest.raises(TransformError, match=r"'image' is 2 x 20 pixels, too small for the kernel \[5, 5\]"):
        T.FromKornia("RandomBoxBlur", GOOD["RandomBoxBlur"])({**b, "image": b["image"][:, :, :2]})
