"""Noise: statistics against the laws they claim, structure against the definitions of the sources."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from geodata import transforms as T
from geodata.bands import Bands
from geodata.errors import TransformError
from geodata.transforms.restoration import noise_kinds

Dict = dict[str, Any]


def cube(bands: int, height: int, width: int, *, value: float = 0.5, samples: int = 1, **more: Any) -> Dict:
    """A batch of constant images in [0, 1]."""
    return {
        "key": [f"k{i}" for i in range(samples)],
        "draw": torch.tensor([[0, i] for i in range(samples)], dtype=torch.int64).reshape(-1, 2),
        "image": torch.full((samples, bands, height, width), value),
        "bands": Bands([f"b{i}" for i in range(bands)], state="reflectance"),
        **more,
    }


@pytest.fixture
def no_gaussian(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the normal noise out, so that lines and impulses can be counted."""
    monkeypatch.setattr(noise_kinds, "add_gaussian", lambda x, sigma, g: None)


def test_gaussian_is_normal_with_its_sigma() -> None:
    out = T.GaussianNoise(0.2)(cube(4, 64, 64))["image"]
    assert stats.kstest(((out - 0.5) / 0.2).flatten().numpy(), "norm").pvalue > 0.01


@pytest.mark.parametrize("each_band", [False, True])
def test_sigma_is_drawn_between_two(each_band: bool) -> None:
    out = T.GaussianNoise([0.1, 0.3], each_band=each_band)(cube(3, 64, 64, samples=60))["image"]
    sigma = out.std(dim=(-2, -1)).numpy()
    spread = (sigma.max(axis=1) / sigma.min(axis=1)).mean()
    assert spread > 1.2 if each_band else spread < 1.05
    assert stats.kstest((sigma.flatten() - 0.1) / 0.2, "uniform").pvalue > 0.001


def test_snr_counts_valid_pixels_only() -> None:
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.random((1, 3, 80, 80), dtype=np.float32))
    valid = torch.from_numpy(rng.random((1, 80, 80)) > 0.4)
    image.masked_fill_(~valid.unsqueeze(1), 1e4)
    batch = cube(3, 80, 80) | {"image": image, "valid": valid}
    out = T.GaussianNoise(snr=12)(batch)
    seen = valid.unsqueeze(1).expand_as(image)
    noise = (out["image"] - image)[seen]
    assert 10 * math.log10(float(image[seen].pow(2).mean() / noise.pow(2).mean())) == pytest.approx(12, abs=0.2)
    assert torch.equal(out["image"][~seen], image[~seen])


def test_snr_of_each_band() -> None:
    image = torch.tensor([0.1, 0.9])[None, :, None, None].expand(1, 2, 100, 100)
    out = T.GaussianNoise(snr=20, each_band=True)(cube(2, 100, 100) | {"image": image})["image"]
    assert np.allclose(out.std(dim=(-2, -1))[0], [0.01, 0.09], rtol=0.05)


def test_poisson_has_its_ratio_mean_and_variance() -> None:
    ramp = torch.linspace(0.05, 0.95, 10).repeat_interleave(4000).reshape(1, 1, 10, 4000)
    out = T.PoissonNoise(15)(cube(1, 10, 4000) | {"image": ramp})["image"]
    noise = (out - ramp)[0, 0]
    assert 10 * math.log10(float(ramp.pow(2).sum() / noise.pow(2).sum())) == pytest.approx(15, abs=0.1)
    assert np.allclose(out[0, 0].mean(dim=1), ramp[0, 0, :, 0], rtol=0.03)
    # The variance of a count is its mean: noise power is proportional to the value.
    ratio = noise.pow(2).mean(dim=1) / ramp[0, 0, :, 0]
    assert float(ratio.std() / ratio.mean()) < 0.05


def test_poisson_of_an_empty_band_is_empty() -> None:
    assert not T.PoissonNoise(10)(cube(2, 8, 8, value=0.0))["image"].any()


def test_gain_drifts_evenly_from_row_to_row() -> None:
    out = T.GainDrift(0.4)(cube(50, 16, 4))["image"][0] / 0.5
    row = (np.arange(16) + 0.5) / 16 - 0.5
    slope = np.array([np.polyfit(row, band, 1)[0] for band in out[:, :, 0].numpy()])
    assert np.allclose(out[:, :, 0], 1 + slope[:, None] * row, atol=1e-6)
    assert stats.kstest(slope / 0.8 + 0.5, "uniform").pvalue > 0.01


def test_outlier_bands_are_linear() -> None:
    image = torch.rand(1, 6, 20, 20, generator=torch.Generator().manual_seed(0))
    out = T.OutlierBands(2, gain=[1.2, 1.4], offset=0.1)(cube(6, 20, 20) | {"image": image})["image"]
    changed = [i for i in range(6) if not torch.equal(out[0, i], image[0, i])]
    assert len(changed) == 2
    for i in changed:
        gain, offset = np.polyfit(image[0, i].flatten(), out[0, i].flatten(), 1)
        assert 1.2 <= gain <= 1.4 and offset == pytest.approx(0.1, abs=1e-4)


@pytest.mark.parametrize("every_band", [False, True])
def test_dead_pixels(every_band: bool) -> None:
    dead = T.DeadPixels(0.1, every_band=every_band)(cube(4, 100, 100))["image"][0] == 0
    assert float(dead.float().mean()) == pytest.approx(0.1, abs=0.015)
    assert bool((dead == dead[:1]).all()) == every_band


def structure(out: torch.Tensor) -> list[list[Dict]]:
    """What is wrong with each band of a cube of 0.5: brute force over bands and columns."""
    found = []
    for image in out.numpy():
        rows = []
        for band in image:
            same = [bool((band[:, j] == band[0, j]).all()) for j in range(band.shape[1])]
            shifted = [j for j in range(band.shape[1]) if same[j] and band[0, j] not in (0.0, 0.5)]
            dead = [j for j in range(band.shape[1]) if same[j] and band[0, j] == 0]
            hit = float(np.isin(band, (0.0, 1.0)).mean())
            rows.append({"shifted": shifted, "dead": dead, "hit": hit, "band": band, "impulse": not all(same)})
        found.append(rows)
    return found


# (preset, stripes, dead lines) of 64 columns: the ends of randi([ceil, ceil]), and of randint(floor, floor), (ceil, ceil).
BOUNDS = [("qrnn3d-test", (4, 10), (4, 10)), ("qrnn3d-train", (3, 8), (4, 9)), ("hyde", (3, 8), (3, 8))]


@pytest.mark.usefixtures("no_gaussian")
@pytest.mark.parametrize(("preset", "stripes", "dead"), BOUNDS)
def test_number_of_bands_and_columns(preset: str, stripes: tuple[int, int], dead: tuple[int, int]) -> None:
    for case, key, ends in ((2, "shifted", stripes), ("deadline", "dead", dead)):
        out = T.Noise(preset, case=case)(cube(32, 3, 64, samples=30))["image"]
        counts = [[len(row[key]) for row in image if row[key]] for image in structure(out)]
        # int(0.3333333 * 32) is 10 as well, and 10 of 32 bands are a third, rounded down.
        assert {len(image) for image in counts} == {10}
        flat = [n for image in counts for n in image]
        assert (min(flat), max(flat)) == ends
        assert stats.chisquare(np.bincount(flat)[ends[0] :]).pvalue > 0.001


@pytest.mark.usefixtures("no_gaussian")
@pytest.mark.parametrize(
    ("preset", "bands", "spoilt"), [("qrnn3d-train", 30, 10), ("qrnn3d-train", 3, 1), ("hyde", 30, 9), ("hyde", 3, 0)]
)
def test_a_third_of_hyde_is_less(preset: str, bands: int, spoilt: int) -> None:
    for case in ("stripe", "deadline", "impulse"):
        out = T.Noise(preset, case=case)(cube(bands, 8, 64))["image"][0]
        assert int((out != 0.5).flatten(1).any(dim=1).sum()) == spoilt


@pytest.mark.usefixtures("no_gaussian")
def test_stripes_shift_by_a_quarter_at_most() -> None:
    out = T.Noise("qrnn3d-test", case="stripe")(cube(10, 3, 200, samples=20))["image"]
    shifts = np.array([0.5 - row["band"][0, j] for image in structure(out) for row in image for j in row["shifted"]])
    assert stats.kstest(shifts + 0.25, "uniform", args=(0, 0.5)).pvalue > 0.01


@pytest.mark.usefixtures("no_gaussian")
@pytest.mark.parametrize("preset", ["qrnn3d-test", "qrnn3d-train"])
def test_a_mixture_spoils_thirds_that_do_not_meet(preset: str) -> None:
    for image in structure(T.Noise(preset, case=5)(cube(32, 20, 64, samples=10))["image"]):
        kinds = [[bool(row["shifted"]), bool(row["dead"]) and not row["impulse"], row["impulse"]] for row in image]
        assert [sum(kind) for kind in zip(*kinds, strict=True)] == [10, 10, 10]
        assert max(sum(kind) for kind in kinds) == 1


@pytest.mark.usefixtures("no_gaussian")
def test_a_hyde_mixture_may_meet_itself() -> None:
    found = structure(T.Noise("hyde", case=5)(cube(31, 20, 64, samples=10))["image"])
    # int(0.333333 * 31) = int(0.3333333 * 31) = 10 for each kind; 30 different bands in no image is by far the likeliest.
    spoilt = [sum(bool(row["shifted"] or row["dead"] or row["impulse"]) for row in image) for image in found]
    assert max(spoilt) <= 30 and min(spoilt) < 27


@pytest.mark.usefixtures("no_gaussian")
@pytest.mark.parametrize("preset", ["qrnn3d-test", "qrnn3d-train", "hyde"])
def test_impulses_hit_their_share(preset: str) -> None:
    out = T.Noise(preset, case=4)(cube(31, 60, 60, samples=10))["image"]
    rows = [row for image in structure(out) for row in image if row["impulse"]]
    assert len(rows) == 100
    picked = [min((0.1, 0.3, 0.5, 0.7), key=lambda a: abs(a - row["hit"])) for row in rows]
    assert all(abs(row["hit"] - a) < 0.04 for row, a in zip(rows, picked, strict=True))
    assert stats.chisquare(np.unique(picked, return_counts=True)[1]).pvalue > 0.001
    salt = np.mean([(row["band"] == 1).sum() / np.isin(row["band"], (0, 1)).sum() for row in rows])
    assert salt == pytest.approx(0.5, abs=0.01)


@pytest.mark.usefixtures("no_gaussian")
@pytest.mark.parametrize(("preset", "most"), [("qrnn3d-test", 1.0), ("qrnn3d-train", 1.75)])
def test_only_the_test_set_cuts_impulse_bands(preset: str, most: float) -> None:
    out = T.Noise(preset, case=4)(cube(10, 20, 20, value=1.75))["image"][0]
    hit = out[(out == 0).flatten(1).any(dim=1)]
    assert float(hit.max()) == most


def test_noniid_picks_one_of_four() -> None:
    out = T.Noise("qrnn3d-test", case=1)(cube(40, 64, 64, samples=5))["image"]
    sigma = out.std(dim=(-2, -1)).flatten().numpy() * 255
    nearest = np.array([10, 30, 50, 70])[np.abs(sigma[:, None] - [10, 30, 50, 70]).argmin(axis=1)]
    assert np.allclose(sigma, nearest, rtol=0.06)
    assert stats.chisquare(np.unique(nearest, return_counts=True)[1]).pvalue > 0.001


@pytest.mark.parametrize(
    ("preset", "case", "low", "high"),
    [("qrnn3d-test", "blind", 10, 70), ("hyde", "noniid", 0, 40), ("hyde", "blind", 0, 40)],
)
def test_drawn_levels(preset: str, case: str, low: float, high: float) -> None:
    out = T.Noise(preset, case=case)(cube(1, 64, 64, samples=150))["image"]
    sigma = out.std(dim=(-2, -1)).flatten().numpy() * 255
    level = 20 * np.log10(sigma) if (preset, case) == ("hyde", "blind") else sigma
    assert stats.kstest(level, "uniform", args=(low, high - low)).pvalue > 0.01


@pytest.mark.parametrize("sigma", [30, 50, 70])
def test_fixed_levels(sigma: int) -> None:
    out = T.Noise("qrnn3d-test", case=f"sigma{sigma}")(cube(8, 64, 64))["image"]
    assert float(out.std()) * 255 == pytest.approx(sigma, rel=0.02)


@pytest.mark.usefixtures("no_gaussian")
def test_train_takes_one_kind_of_four() -> None:
    found = structure(T.Noise("qrnn3d-train", case="train")(cube(6, 10, 64, samples=200))["image"])
    kinds = []
    for image in found:
        impulse = any(row["impulse"] for row in image)
        shifted, dead = any(row["shifted"] for row in image), any(row["dead"] and not row["impulse"] for row in image)
        kinds.append((impulse, shifted, dead))
    names, counts = np.unique(kinds, axis=0, return_counts=True)
    assert names.sum(axis=1).max() == 1 and len(names) == 4
    assert stats.chisquare(counts).pvalue > 0.001


def test_what_is_kept_and_what_stays() -> None:
    image = torch.rand(1, 12, 20, 20, generator=torch.Generator().manual_seed(1))
    image[0, :, 3, 4] = math.nan
    valid = torch.ones(1, 20, 20, dtype=torch.bool)
    valid[0, :5, 10:] = False
    batch = cube(12, 20, 20) | {"image": image, "valid": valid}
    pipe = T.Compose(
        [T.Noise("qrnn3d-test", case=5), T.DeadPixels(0.3), T.PoissonNoise(10), T.OutlierBands(3), T.GainDrift()]
    )
    out = pipe(batch)
    assert out["image_target"] is image and out["valid_target"] is valid and out["valid"] is valid
    assert out["bands_target"] == batch["bands"]
    assert torch.equal(out["image"].isnan(), image.isnan()), "a NaN is an error to be seen"
    assert torch.equal(out["image"][..., :5, 10:], image[..., :5, 10:])
    assert not torch.equal(out["image"][..., 5:, :], image[..., 5:, :])


def test_geometry_moves_the_clean_image_with_the_noisy_one() -> None:
    batch = cube(3, 8, 8) | {"image": torch.rand(1, 3, 8, 8)}
    noisy = T.GaussianNoise(0.1)(batch)
    out = T.RandomFlip(p=1)(noisy)
    assert torch.equal(out["image"] - out["image_target"], (noisy["image"] - noisy["image_target"]).flip(-1, -2))


def test_an_empty_batch_and_one_pixel() -> None:
    assert T.GaussianNoise(0.1)(cube(3, 4, 4, samples=0))["image"].shape == (0, 3, 4, 4)
    for noise in (T.GaussianNoise(snr=10), T.PoissonNoise(), T.Stripes(), T.Deadlines(), T.Impulses(), T.GainDrift()):
        assert noise(cube(3, 1, 1))["image"].isfinite().all()
    none = {"valid": torch.zeros(1, 4, 4, dtype=torch.bool)}
    for noise in (T.GaussianNoise(snr=10), T.PoissonNoise()):
        assert torch.equal(noise(cube(3, 4, 4, **none))["image"], torch.full((1, 3, 4, 4), 0.5))


@pytest.mark.parametrize("state", ["raw", "dB"])
def test_raw_numbers_and_decibels_are_refused(state: str) -> None:
    batch = cube(3, 4, 4)
    batch["bands"] = batch["bands"].with_state(state)
    with pytest.raises(TransformError, match="takes reflectance or normalised"):
        T.GaussianNoise(0.1)(batch)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: T.GaussianNoise(), "one of sigma="),
        (lambda: T.GaussianNoise(0.1, snr=3), "one of sigma="),
        (lambda: T.GaussianNoise(-0.1), "sigma -0.1 must be numbers from 0"),
        (lambda: T.GaussianNoise([0.3, 0.1]), "the lower first"),
        (lambda: T.GaussianNoise([0.1, 0.2, 0.3]), "two to draw between"),
        (lambda: T.GaussianNoise(choices=[]), "choices"),
        (lambda: T.GaussianNoise("much"), "sigma 'much'"),
        (lambda: T.PoissonNoise(math.nan), "snr nan"),
        (lambda: T.Stripes(1.5), "bands 1.5"),
        (lambda: T.Stripes(True), "bands True"),
        (lambda: T.Deadlines(columns=2), "columns 2"),
        (lambda: T.Impulses(amounts=[1.2]), "amounts"),
        (lambda: T.DeadPixels([0.1, 0.2]), "one number"),
        (lambda: T.Noise("qrnn", case=1), "preset 'qrnn' must be one of"),
        (lambda: T.Noise("qrnn3d-test", case=6), "case 6: qrnn3d-test has"),
        (lambda: T.Noise("qrnn3d-test", case="train"), "case 'train'"),
        (lambda: T.Noise("hyde", case="sigma30"), "case 'sigma30': hyde has blind"),
        (lambda: T.Noise("hyde", case=[1]), "case"),
        (lambda: T.Stripes(5)(cube(3, 4, 4)), "spoil 5 bands, 'image' has 3"),
        (lambda: T.Noise("qrnn3d-test", case=2)(cube(9, 4, 40)), "spoils 10 bands, 'image' has 9"),
        (lambda: T.Noise("qrnn3d-train", case=2)(cube(9, 4, 6)), "too narrow"),
    ],
)
def test_bad_arguments(make: Any, message: str) -> None:
    with pytest.raises(TransformError, match=message):
        make()


def test_what_is_under_invalid_pixels_changes_no_count() -> None:
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.random((2, 3, 16, 16), dtype=np.float32))
    valid = torch.from_numpy(rng.random((2, 16, 16)) > 0.3)
    seen = valid.unsqueeze(1).expand_as(image)
    a, b = (
        T.PoissonNoise(20)(cube(3, 16, 16, samples=2, valid=valid) | {"image": image.where(seen, torch.tensor(fill))})
        for fill in (9e9, float("nan"))
    )
    assert torch.equal(a["image"][seen], b["image"][seen])


@pytest.mark.parametrize("transform", [T.GaussianNoise(snr=20), T.PoissonNoise(20)], ids=repr)
def test_an_infinite_pixel_spoils_no_other(transform: Any) -> None:
    b = cube(1, 32, 32)
    b["image"][0, 0, 3, 4] = math.inf
    out = transform(b)["image"][0, 0]
    assert not out[3, 4].isfinite() and int(out.isfinite().sum()) == 32 * 32 - 1
    assert float((out[out.isfinite()] - 0.5).std()) == pytest.approx(0.05, rel=0.15)


def test_images_without_rows() -> None:
    for transform in (T.GaussianNoise(0.1), T.PoissonNoise(), T.Stripes(), T.Noise("qrnn3d-train", case="mixture")):
        assert transform(cube(3, 0, 20))["image"].shape == (1, 3, 0, 20)
        assert transform(cube(3, 4, 20, samples=0))["image"].shape == (0, 3, 4, 20)


def test_names_that_are_no_text() -> None:
    with pytest.raises(TransformError, match=r"preset .* must be one of"):
        T.Noise(["hyde"], case=1)  # type: ignore[arg-type]
    with pytest.raises(TransformError, match=r"unit .* must be one of"):
        T.HideValues(0.5, unit=["band"])  # type: ignore[arg-type]
