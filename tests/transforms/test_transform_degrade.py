"""Coarser images: values against loops after MATLAB and scipy, places against a ramp of coordinates."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional

from geodata import transforms as T
from geodata.bands import Band, Bands
from geodata.errors import BandsError, TransformError
from geodata.grid import Grid
from geodata.transforms.restoration.blur import KINDS
from geodata.transforms.restoration.imresize import imresize
from geodata.transforms.restoration.mtf import fspecial_gaussian, mtf_kernel, nyquist_gains

Dict = dict[str, Any]
FOUR = Bands(["blue", "green", "red", "nir"], state="reflectance")


def matlab_axis(line: np.ndarray, size: int, kernel: str) -> np.ndarray:
    """MATLAB's imresize along one axis, pixel by pixel, after its documentation."""

    def weight(x: float) -> float:
        x = abs(x)
        if kernel == "bilinear":
            return max(0.0, 1 - x)
        if kernel == "nearest":
            return float(x < 0.5)
        if x <= 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0

    scale, out = size / len(line), []
    antialias = min(scale, 1.0) if kernel != "nearest" else 1.0
    for i in range(1, size + 1):
        u = i / scale + 0.5 * (1 - 1 / scale)
        total = value = 0.0
        for j in range(math.floor(u - 3 / antialias), math.ceil(u + 3 / antialias)):
            w = weight((u - j) * antialias)
            if kernel == "nearest" and u - j == -0.5:
                w = 1.0  # MATLAB's box is closed below and open above
            k = (j - 1) % (2 * len(line))
            value += w * line[k if k < len(line) else 2 * len(line) - 1 - k]
            total += w
        out.append(value / total)
    return np.array(out)


def matlab(image: np.ndarray, size: tuple[int, int], kernel: str = "bicubic") -> np.ndarray:
    rows = np.apply_along_axis(matlab_axis, -2, image, size[0], kernel)
    return np.apply_along_axis(matlab_axis, -1, rows, size[1], kernel)


@pytest.mark.parametrize("kernel", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(3, 4), (12, 8), (5, 7), (18, 32), (1, 1), (24, 3)])
def test_imresize_is_that_of_matlab(kernel: str, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random((2, 12, 16))
    got = imresize(torch.from_numpy(image), size, kernel=kernel)
    assert np.allclose(got, matlab(image, size, kernel), atol=1e-12)


def test_imresize_gives_numbers_that_matlab_printed() -> None:
    wide = imresize(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), (4, 4), kernel="bilinear")
    assert torch.equal(wide[0], torch.tensor([1.0, 1.25, 1.75, 2.0]))
    small = imresize(wide, (2, 2), kernel="bilinear")
    assert torch.equal(small, torch.tensor([[1.5625, 2.1875], [2.8125, 3.4375]]))
    assert torch.allclose(
        imresize(torch.tensor([[0.0, 1.0, 2.0]]), (1, 5), kernel="bilinear"), torch.tensor([[0.0, 0.4, 1.0, 1.6, 2.0]])
    )


def test_torch_and_matlab_differ_at_the_border_only() -> None:
    image = torch.rand(1, 1, 48, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours = imresize(image, (12, 12))
    other = functional.interpolate(image, (12, 12), mode="bicubic", antialias=True)
    assert torch.allclose(ours[..., 2:-2, 2:-2], other[..., 2:-2, 2:-2], atol=1e-9)
    assert not torch.allclose(ours, other, atol=1e-3)


def test_a_nan_reaches_only_what_it_weighs_in() -> None:
    image = torch.rand(2, 32, 32)
    clean = imresize(image, (8, 8))
    image[0, 16, 16] = math.nan
    out = imresize(image, (8, 8))
    bad = out.isnan()
    assert bad[0, 3:6, 3:6].any() and int(bad.sum()) <= 16 and not bad[1].any()
    assert torch.allclose(out[~bad], clean[~bad], atol=1e-6)


@pytest.mark.parametrize("ratio", [2, 3, 4, 5, 6])
def test_nearest_picks_half_the_ratio(ratio: int) -> None:
    picked = matlab_axis(np.arange(ratio * 4.0), 4, "nearest")
    assert picked.tolist() == [ratio // 2 + ratio * i for i in range(4)]


def fwind1(gain: float, ratio: int) -> np.ndarray:
    """The filter by explicit sums: fspecial, an inverse Fourier sum and Huang's circular window."""
    n, half = 41, 20
    alpha = math.sqrt(((n - 1) * (1 / ratio / 2)) ** 2 / (-2 * math.log(gain)))
    f = np.arange(-half, half + 1)
    response = np.exp(-(f[:, None] ** 2 + f**2) / (2 * alpha**2))
    response[response < np.finfo(float).eps] = 0
    wave = np.cos(2 * np.pi * np.outer(f, f) / n)
    kernel = wave @ response @ wave / n**2
    window = np.zeros((n, n))
    beta, at = 0.5, np.linspace(-1, 1, n)
    line = np.i0(beta * np.sqrt(1 - at**2)) / np.i0(beta)
    for i in range(n):
        for j in range(n):
            r = math.hypot(at[i], at[j])
            if r <= 1:
                k = min(int((r + 1) * half), n - 2)
                t = (r + 1) * half - k
                window[i, j] = line[k] * (1 - t) + line[k + 1] * t
    return kernel * window


@pytest.mark.parametrize(("gain", "ratio"), [(0.34, 4), (0.22, 4), (0.3, 2), (0.3, 6)])
def test_the_filter_is_that_of_its_source(gain: float, ratio: int) -> None:
    kernel = mtf_kernel(gain, ratio)
    assert np.allclose(kernel, fwind1(gain, ratio), atol=1e-12)
    assert kernel.sum() == pytest.approx(1, abs=3e-3)
    # Not quite the gain: the source counts 40 steps of frequency where a filter of 41 has 41, and windows it.
    nyquist = np.cos(np.pi / ratio * np.arange(-20, 21))
    assert (kernel.sum(axis=0) * nyquist).sum() == pytest.approx(gain, abs=0.04)


def test_gains_are_found_by_name() -> None:
    assert nyquist_gains(Bands(["nir", "blue"]), "QB") == (0.22, 0.34)
    assert nyquist_gains(Bands([Band("MS4", common_name="nir"), Band("B")][:1]), "IKONOS") == (0.28,)
    assert nyquist_gains(Bands([Band("N1", common_name="nir08"), Band("N2", common_name="nir09")]), "WV2") == (
        0.35,
        0.27,
    )
    assert nyquist_gains(Bands(["x"]), "default") == (0.3,)
    with pytest.raises(BandsError, match=r"band 'swir' is no band of WV3.*coastal, blue"):
        nyquist_gains(Bands(["blue", "swir"]), "WV3")
    with pytest.raises(BandsError, match="or the second one of it"):
        nyquist_gains(Bands([Band("a", common_name="nir"), Band("b", common_name="nir08")]), "QB")


def sample(image: torch.Tensor, bands: Bands | None = None, **more: Any) -> Dict:
    names = Bands([f"b{i}" for i in range(image.shape[-3])], state="reflectance") if bands is None else bands
    return {"key": "x", "image": image, "bands": names, **more}


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def test_kinds_against_scipy() -> None:
    image = noise(4, 12, 24)
    for factor in (2, 3, 4):
        out = T.SuperResolutionPair(factor, kind="mtf", sensor="QB")(sample(image, FOUR))["image"]
        for band, gain, want in zip(image, (0.34, 0.32, 0.30, 0.22), out, strict=True):
            blurred = ndimage.correlate(band.numpy(), fwind1(gain, factor), mode="nearest")
            assert np.allclose(want, blurred[factor // 2 :: factor, factor // 2 :: factor])
        blurred = ndimage.convolve(image.numpy(), fspecial_gaussian(8, 3)[None], mode="wrap")
        out = T.SuperResolutionPair(factor, kind="gaussian")(sample(image))["image"]
        assert np.allclose(out, blurred[:, ::factor, ::factor])
        blurred = ndimage.convolve(image.numpy(), np.full((1, factor, factor), factor**-2), mode="wrap")
        out = T.SuperResolutionPair(factor, kind="uniform")(sample(image))["image"]
        assert np.allclose(out, blurred[:, ::factor, ::factor])
        out = T.SuperResolutionPair(factor, kind="average")(sample(image))["image"]
        assert np.allclose(out, image.numpy().reshape(4, 12 // factor, factor, 24 // factor, factor).mean(axis=(2, 4)))
        size = (12 // factor, 24 // factor)
        assert np.allclose(T.SuperResolutionPair(factor)(sample(image))["image"], matlab(image.numpy(), size))
        blurred = ndimage.correlate(image.numpy(), fspecial_gaussian(3, 1.5)[None], mode="nearest")
        out = T.SuperResolutionPair(factor, kind="blur-bicubic")(sample(image))["image"]
        assert np.allclose(out, matlab(blurred, size))


@pytest.mark.parametrize("upsample", [False, True])
@pytest.mark.parametrize("factor", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_the_grid_says_where_the_pixels_are(kind: str, factor: int, upsample: bool) -> None:
    """The value of a pixel is where it lies; a symmetric filter leaves a ramp alone, so the coarse value is its place."""
    grid = Grid((factor * 32, factor * 32), (10, 2, 500.0, 1, -10, 900.0), "EPSG:32633")
    col, row = np.meshgrid(np.arange(factor * 32) + 0.5, np.arange(factor * 32) + 0.5)
    place = torch.from_numpy(grid.xy(np.stack([col, row], axis=-1))).permute(2, 0, 1)
    gains = {"nyquist": {"b0": 0.3, "b1": 0.3}} if kind == "mtf" else {}
    out = T.SuperResolutionPair(factor, kind=kind, upsample=upsample, **gains)(sample(place, grid=grid))
    height, width = out["grid"].shape
    assert out["image"].shape[-2:] == (height, width)
    col, row = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    want = out["grid"].xy(np.stack([col, row], axis=-1)).transpose(2, 0, 1)
    edge = slice(14 * factor, -14 * factor) if upsample else slice(12, -12)
    if kind == "mtf":
        # Its sum is 1 to a few thousandths only, which a coordinate of hundreds would show.
        scale = mtf_kernel(0.3, factor).sum()
        want = want * scale
    inner = want[:, edge, edge]
    assert inner.size and np.allclose(out["image"][:, edge, edge], inner, atol=1e-6)


@pytest.mark.parametrize("upsample", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_invalid_pixels_do_not_weigh(kind: str, upsample: bool) -> None:
    valid = torch.rand(64, 64, generator=torch.Generator().manual_seed(0)) > 0.2
    valid[:, 40:] = False
    image = torch.full((2, 64, 64), 0.7).masked_fill(~valid, math.nan)
    image[1].masked_fill_(~valid, 1e6)
    gains = {"sensor": "default"} if kind == "mtf" else {}
    out = T.SuperResolutionPair(4, kind=kind, upsample=upsample, **gains)(sample(image, valid=valid))
    scale = float(mtf_kernel(0.3, 4).sum()) if kind == "mtf" else 1.0
    seen = out["valid"].expand_as(out["image"])
    assert torch.allclose(out["image"][seen] / scale, torch.tensor(0.7), atol=1e-3)
    assert not out["image"][~seen].any() and seen.any() and not seen.all()
    assert out["valid_target"] is valid
    none = T.SuperResolutionPair(4, kind=kind, upsample=upsample, **gains)(sample(image, valid=torch.zeros_like(valid)))
    assert not none["image"].any() and not none["valid"].any()


def test_what_counts_pixels_goes_with_the_target() -> None:
    fine = sample(noise(3, 8, 8), mask=torch.zeros(8, 8), boxes=torch.zeros(0, 4), mask_s2=torch.zeros(5, 5))
    before = dict(fine)
    out = T.SuperResolutionPair(2)(fine)
    assert fine == before
    assert out["mask_target"] is fine["mask"] and out["boxes_target"] is fine["boxes"] and "mask" not in out
    assert out["mask_s2"] is fine["mask_s2"]
    moved = T.RandomFlip(p=1)(out | {"draw": torch.tensor([0, 0])})
    assert torch.equal(moved["image_target"], out["image_target"].flip(-1, -2))


def test_the_target_is_what_was_before_the_first_step() -> None:
    fine = sample(noise(3, 8, 8).float()) | {"draw": torch.tensor([0, 0])}
    out = T.Compose([T.SuperResolutionPair(2), T.GaussianNoise(0.1)])(fine)
    assert out["image_target"] is fine["image"] and out["image"].shape == (3, 4, 4)
    out = T.Compose([T.GaussianNoise(0.1), T.SuperResolutionPair(2)])(fine)
    assert out["image_target"] is fine["image"] and out["image"].shape == (3, 4, 4)
    with pytest.raises(TransformError, match="both 'mask' and 'mask_target'"):
        T.SuperResolutionPair(2)(fine | {"mask": torch.zeros(8, 8), "mask_target": torch.zeros(8, 8)})


def wald(**more: Any) -> Dict:
    grid = Grid((32, 32), (10, 0, 500.0, 0, -10, 900.0), "EPSG:32633")
    pan = Grid((128, 128), (2.5, 0, 500.0, 0, -2.5, 900.0), "EPSG:32633")
    fine = {"image_pan": noise(1, 128, 128), "bands_pan": Bands(["pan"], state="reflectance"), "grid_pan": pan}
    return sample(noise(4, 32, 32), FOUR, grid=grid) | fine | more


def test_wald_makes_both_coarser() -> None:
    batch = wald()
    out = T.WaldPair(4, sensor="QB")(batch)
    assert np.allclose(out["image_pan"], matlab(batch["image_pan"].numpy(), (32, 32)))
    assert out["image_target"] is batch["image"] and out["grid_target"] == batch["grid"]
    assert out["grid_pan"] == batch["grid"], "the sharp image now lies on the target"
    alone = T.SuperResolutionPair(4, kind="mtf", sensor="QB")(sample(batch["image"], FOUR))
    assert torch.equal(out["image"], alone["image"])
    # From pixel 2 of 4 on: half a pixel of 10 m right and down of the centre of the block.
    assert out["grid"] == Grid((8, 8), (40, 0, 505.0, 0, -40, 895.0), "EPSG:32633")
    order = ["nir", "red", "blue", "green"]
    turned = wald(image=batch["image"][[3, 2, 0, 1]], bands=FOUR.select(order))
    assert torch.allclose(T.WaldPair(4, sensor="QB")(turned)["image"], out["image"][[3, 2, 0, 1]])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: T.SuperResolutionPair(1), "factor 1 must be"),
        (lambda: T.SuperResolutionPair(2.0), "factor 2.0 must be"),
        (lambda: T.SuperResolutionPair(2, kind="lanczos"), "kind 'lanczos' must be one of"),
        (lambda: T.SuperResolutionPair(2, kind="mtf"), "needs one of sensor= and nyquist="),
        (lambda: T.SuperResolutionPair(2, sensor="QB"), "needs one of sensor= and nyquist="),
        (lambda: T.SuperResolutionPair(2, kind="mtf", sensor="Landsat"), "sensor 'Landsat' must be one of QB"),
        (lambda: T.SuperResolutionPair(2, kind="mtf", nyquist={"b0": 1.0}), "gain between 0 and 1"),
        (lambda: T.SuperResolutionPair(3)(sample(noise(1, 8, 9))), "8 x 9 pixels, which 3 does not divide"),
        (lambda: T.SuperResolutionPair(2)(sample(noise(1, 0, 2))), "0 x 2 pixels"),
        (lambda: T.SuperResolutionPair(2)(sample(torch.ones(1, 2, 2, dtype=torch.uint8))), "ToFloat"),
        (lambda: T.SuperResolutionPair(2)(sample(noise(1, 2, 2), Bands(["a"], "dB"))), "'image' is dB"),
        (lambda: T.WaldPair(0, sensor="QB"), "ratio 0 must be"),
        (lambda: T.WaldPair(4, sensor="QB", sharp="pan"), "key 'pan'"),
        (lambda: T.WaldPair(4, sensor="QB", sharp="image"), "another image"),
        (lambda: T.WaldPair(2, sensor="QB")(wald()), r"with ratio 2 it must be 64 x 64"),
        (lambda: T.WaldPair(4, sensor="QB")(wald(mask_pan=torch.zeros(128, 128))), "mask_pan.*gets coarser"),
        (lambda: imresize(torch.ones(2, 2, dtype=torch.int32), (1, 1)), "floating"),
        (lambda: imresize(torch.ones(2, 2), (0, 1)), "cannot resize 2 pixels to 0"),
        (lambda: imresize(torch.ones(2, 2), (1, 1), kernel="box"), "kernel 'box'"),
    ],
)
def test_bad_arguments(make: Any, message: str) -> None:
    with pytest.raises(TransformError, match=message):
        make()


def test_a_band_without_a_gain_is_refused() -> None:
    pair = T.SuperResolutionPair(2, kind="mtf", nyquist={"b0": 0.3})
    with pytest.raises(BandsError, match="no gain of b1"):
        pair(sample(noise(2, 4, 4)))


@pytest.mark.parametrize("sensor", ["worldview-2", "worldview-3"])
def test_the_gains_of_our_own_bands(sensor: str) -> None:
    gains = nyquist_gains(Bands.of_sensor(sensor), sensor.replace("worldview-", "WV"))
    assert len(gains) == 8 and gains[7] == {"worldview-2": 0.27, "worldview-3": 0.315}[sensor]
