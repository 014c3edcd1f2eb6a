"""Reflectance and decibels against formulas by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from geodata import transforms as T
from geodata.bands import Band, Bands
from geodata.errors import BandsError, TransformError
from geodata.transforms.radiometry.products import product_of

ANY: Any = T


def one(*numbers: float, **more: Any) -> dict[str, Any]:
    """A sample of one band B04 with these pixels."""
    return {"image": torch.tensor([[numbers]]), "bands": Bands(["B04"]), **more}


@pytest.mark.parametrize(
    ("transform", "number", "reflectance"),
    [
        (
            T.ToReflectance(product="sentinel-2-l2a", baseline="05.09"),
            1452.0,
            0.0452,
        ),  # as asked and answered in ESA's forum
        (T.ToReflectance(product="sentinel-2-l2a", baseline="04.00"), 1000.0, 0.0),
        (T.ToReflectance(product="sentinel-2-l2a", baseline="03.01"), 1452.0, 0.1452),
        (T.ToReflectance(product="sentinel-2-l1c", baseline="N0400"), 500.0, -0.05),
        (T.ToReflectance(product="sentinel-2-l1c", baseline="N0206"), 500.0, 0.05),
        (T.ToReflectance(product="sentinel-2-harmonised"), 452.0, 0.0452),
        (T.ToReflectance(product="landsat-c2-l2"), 7273.0, 0.0000075),  # the least valid number is that of about 0
        (T.ToReflectance(product="landsat-c2-l2"), 43636.0, 0.99999),
        (T.ToReflectance(product="hls"), 1234.0, 0.1234),
        (T.ToReflectance(product="enmap-l2a"), 3217.0, 0.3217),
        (T.ToReflectance(0.01), 50.0, 0.5),
        (T.ToReflectance(0.01, -0.1), 50.0, 0.4),
    ],
    ids=repr,
)
def test_numbers_of_products(transform: T.ToReflectance, number: float, reflectance: float) -> None:
    out = transform(one(number))
    assert out["image"].item() == pytest.approx(reflectance, abs=1e-7)
    (band,) = out["bands"]
    assert out["bands"].state == "reflectance" and (band.unit, band.scale, band.offset) == ("reflectance", 1.0, 0.0)
    with pytest.raises(TransformError, match="'image' is reflectance; ToReflectance takes raw"):
        transform(out)


def test_each_band_by_its_own_scale() -> None:
    bands = Bands(
        [Band("a", unit="reflectance", scale=1e-4), Band("b", unit="reflectance", scale=2.75e-5, offset=-0.2)]
    )
    x = torch.rand(2, 3, 2, 5, 5, dtype=torch.float64) * 1e4
    out = T.ToReflectance()({"image": x, "bands": bands})
    expected = x.numpy() * np.array([1e-4, 2.75e-5])[:, None, None] + np.array([0.0, -0.2])[:, None, None]
    np.testing.assert_allclose(out["image"].numpy(), expected, rtol=1e-14)
    with pytest.raises(TransformError, match="nothing says how c of 'image' become reflectance; give product="):
        T.ToReflectance()({"image": x, "bands": Bands([bands[0], "c"])})


def test_baselines_differ_within_a_batch() -> None:
    step = T.ToReflectance(product="sentinel-2-l2a")
    x = torch.full((3, 1, 2, 2), 3000.0)
    b = {"image": x, "bands": Bands(["B04"]), "baseline": ["02.14", "N0510", "04.00"]}
    assert "baseline" in step.reads
    torch.testing.assert_close(step(b)["image"][:, 0, 0, 0], torch.tensor([0.3, 0.2, 0.2]))
    series = {**b, "image": x[:, None].repeat(1, 2, 1, 1, 1)}
    torch.testing.assert_close(step(series)["image"][:, 1, 0, 0, 0], torch.tensor([0.3, 0.2, 0.2]))
    dates = {**b, "image": x[:2], "baseline": ["03.00", "05.00"]}
    torch.testing.assert_close(step(dates)["image"][:, 0, 0, 0], torch.tensor([0.3, 0.2]))
    alone = {**b, "image": x[0], "baseline": "05.00"}
    assert step(alone)["image"][0, 0, 0].item() == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "sentinel-2-l2a needs the processing baseline, which decides whether 1000 is subtracted"),
        ("05.09", r"'baseline' is of shape \(\), "),
        (["05.09"], r"'baseline' is of shape \(1,\), 'image' of shape \(2, 1, 1, 1\)"),
        (["05.09", ""], "baseline '' must be text such as '05.09'"),
        (["05.09", 4.0], "baseline 4.0 must be text"),
        (["05.09", "5.9"], "baseline '5.9' must be text"),
        (["05.09", "N9999"], "made outside of ESA's ground segment"),
        (["05.09", None], "baseline None must be text"),
    ],
)
def test_a_baseline_is_never_guessed(given: Any, message: str) -> None:
    b = {"image": torch.zeros(2, 1, 1, 1), "bands": Bands(["B04"]), "baseline": given}
    if given == "05.09":
        b["image"] = torch.zeros(1, 1, 1)
        assert T.ToReflectance(product="sentinel-2-l2a")(b)["image"].item() == pytest.approx(-0.1)
        return
    with pytest.raises(TransformError, match=message):
        T.ToReflectance(product="sentinel-2-l2a")(b)


def test_invalid_pixels_become_zero_and_a_nan_stays() -> None:
    b = one(0.0, 3000.0, torch.nan, torch.nan, valid=torch.tensor([[False, True, True, False]]))
    out = T.ToReflectance(product="sentinel-2-l2a", baseline="05.09")(b)["image"].flatten()
    assert out[0] == 0 and out[1].item() == pytest.approx(0.2) and torch.isnan(out[2]) and out[3] == 0


def test_half_floats_are_scaled_in_float32() -> None:
    x = torch.arange(1, 2000, dtype=torch.float16).reshape(1, 1, -1)
    out = T.ToReflectance(1e-4)({"image": x, "bands": Bands(["a"])})["image"]
    torch.testing.assert_close(out, (x.double() * 1e-4).half(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: T.ToReflectance(1e-4, product="hls"), TransformError, "either scale and offset, or product="),
        (lambda: T.ToReflectance(0), TransformError, "scale 0 and offset 0.0 must be finite numbers, and scale not 0"),
        (lambda: T.ToReflectance(float("nan")), TransformError, "must be finite numbers"),
        (lambda: T.ToReflectance(offset=-0.1), TransformError, "offset -0.1 needs scale"),
        (
            lambda: T.ToReflectance(product="sentinel-2"),
            TransformError,
            "no reflectance of a product 'sentinel-2' .* hls",
        ),
        (lambda: T.ToReflectance(product="hls", baseline="04.00"), TransformError, "baseline '04.00' belongs to"),
        (lambda: T.ToReflectance(product="sentinel-2-l2a", baseline="4"), TransformError, "baseline '4' must be text"),
        (lambda: T.ToReflectance(1e-4)(one(1.0, bands=Bands(["VV"], "dB"))), TransformError, "is dB; .* takes raw"),
        (lambda: T.ToReflectance(1e-4)(one(1.0, bands=Bands(["a"], "normalised"))), TransformError, "is normalised"),
        (lambda: T.ToReflectance(1e-4)(one(1.0, image=torch.ones(1, 1, 1).short())), TransformError, "T.ToFloat"),
        (
            lambda: T.ToReflectance(product="landsat-c2-l2")(one(1.0, bands=Bands(["ST_B10"]))),
            BandsError,
            "ST_B10 of 'image' are thermal, which is no reflectance",
        ),
        (
            lambda: T.ToReflectance(product="hls")(one(1.0, bands=Bands([Band("B10", wavelength=10900)]))),
            BandsError,
            "B10 of 'image' are thermal",
        ),
        (lambda: T.ToDecibel(0), TransformError, "floor 0 must be a finite number above 0"),
        (lambda: ANY.ToDecibel("x"), TransformError, "floor 'x' must be"),
        (lambda: T.ToDecibel()(one(1.0, bands=Bands(["VV"], "dB"))), TransformError, "is dB; ToDecibel takes raw"),
        (lambda: T.ToDecibel()(one(1.0, bands=Bands([Band("VV", unit="dB")]))), TransformError, "VV .* in dB already"),
        (lambda: T.FromDecibel()(one(1.0)), TransformError, "is raw; FromDecibel takes dB"),
    ],
)
def test_bad_input(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("amplitude", [False, True])
def test_decibels_and_back(amplitude: bool) -> None:
    x = np.random.default_rng(0).gamma(1.0, 0.1, (2, 2, 6, 6))
    b = {"image": torch.from_numpy(x), "bands": Bands(["VV", "VH"])}
    out = T.ToDecibel(amplitude=amplitude)(b)
    np.testing.assert_allclose(out["image"].numpy(), (20 if amplitude else 10) * np.log10(x), rtol=1e-12)
    assert out["bands"].state == "dB" and all(band.unit == "dB" for band in out["bands"])
    back = T.FromDecibel(amplitude=amplitude)(out)
    np.testing.assert_allclose(back["image"].numpy(), x, rtol=1e-12)
    assert back["bands"].state == "raw" and back["bands"][0].unit == (None if amplitude else "linear")


def test_zeros_and_negatives_are_the_floor() -> None:
    out = T.ToDecibel(1e-3)(one(0.0, -1.0, 1e-9, 1.0, torch.nan, 5.0, valid=torch.tensor([[True] * 5 + [False]])))
    expected = torch.tensor([-30.0, -30.0, -30.0, 0.0, torch.nan, 0.0])
    torch.testing.assert_close(out["image"].flatten(), expected, equal_nan=True)


def test_stored_backscatter_is_scaled_first() -> None:
    bands = Bands([Band("VV", scale=1e-3, offset=0.1)])
    assert T.ToDecibel()(one(900.0, bands=bands))["image"].item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("kind", ["reflectance", "quality"])
def test_every_product_names_its_source(kind: str) -> None:
    with pytest.raises(TransformError) as told:
        product_of(kind, "")
    names = str(told.value).partition("there are ")[2].split(", ")
    assert len(names) > 5 and names == sorted(names)
    assert all(len(product_of(kind, name)["source"]) > 20 for name in names)


@pytest.mark.parametrize("more", [{"scale": float("nan")}, {"scale": 0.0}, {"offset": float("inf")}, {"scale": "1"}])
def test_a_scale_that_is_none_is_refused(more: Any) -> None:
    for transform, unit in ((T.ToReflectance(), "reflectance"), (T.ToDecibel(), "linear")):
        bands = Bands([Band("a", unit=unit, **more)])
        with pytest.raises(TransformError, match="a state a scale that is 0 or no number"):
            transform({"image": torch.ones(1, 1, 1), "bands": bands})


def test_decibels_are_no_reflectance() -> None:
    bands = Bands([Band("VV", unit="dB"), Band("B04")])
    with pytest.raises(BandsError, match="VV of 'image' are in dB, which is no reflectance"):
        T.ToReflectance(1e-4)({"image": torch.ones(2, 1, 1), "bands": bands})


def test_a_floor_that_float32_does_not_have() -> None:
    with pytest.raises(TransformError, match="floor 1e-60 must be a finite number above 0"):
        T.ToDecibel(1e-60)
    least = float(np.finfo(np.float32).tiny)
    assert T.ToDecibel(least)(one(0.0))["image"].item() == pytest.approx(10 * np.log10(least))


def test_numbers_near_the_ends_of_a_dtype() -> None:
    b = {"image": torch.tensor([[[-7.0, 7.0]]], dtype=torch.float16), "bands": Bands(["B0"])}
    assert torch.equal(T.Clip(-1e6, 5.0)(b)["image"], torch.tensor([[[-7.0, 5.0]]], dtype=torch.float16))
    flat = T.MinMax(per="image")({"image": torch.tensor([[[0.0, 1e-42]]]), "bands": Bands(["B0"])})["image"]
    assert torch.equal(flat, torch.zeros(1, 1, 2))
    with pytest.raises(TransformError, match="std of band 'B0' is 1e-50"):
        T.Normalize(mean={"B0": 0.0}, std={"B0": 1e-50})
