"""Averaging bands into other bands."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from spectral import BandResampler

from geodata import transforms as T
from geodata.bands import Band, Bands
from geodata.datasets.enmap_table import valid_bands
from geodata.errors import BandsError, TransformError
from geodata.responses import Responses


def grid(first, last, step, fwhm, state="reflectance", **more):
    """Bands at equal distances."""
    rows = (Band(f"{nm:g}", wavelength=float(nm), fwhm=fwhm, **more) for nm in np.arange(first, last + 1, step))
    return Bands(rows, state=state)


NARROW = grid(400, 900, 10, 10)
RED = Bands([Band("red", "red", wavelength=650, fwhm=60), Band("nir", "nir", wavelength=800, fwhm=80)])


def of(bands, *, seed=0, size=(3, 4), dtype=torch.float64, **more):
    image = torch.from_numpy(np.random.default_rng(seed).random((len(bands), *size))).to(dtype)
    return {"key": "a", "image": image, "bands": bands, **more}


def test_it_is_the_product_with_the_weights():
    sample = of(NARROW)
    out = T.ResampleSpectrum(RED)(sample)
    wanted = np.einsum("kc,chw->khw", Responses.gaussian(RED).weights(NARROW), sample["image"].numpy())
    np.testing.assert_allclose(out["image"].numpy(), wanted, rtol=1e-12)
    assert out["bands"].names == ("red", "nir") and out["bands"].state == "reflectance"


def test_near_to_spectral_on_a_smooth_spectrum():
    target = Bands.of_sensor("sentinel-2").select(["B03", "B04", "B05", "B08"])
    source = valid_bands().with_state("reflectance")
    centres = source.wavelengths
    spectrum = 0.25 + 0.1 * np.sin(centres / 70)
    sample = {"key": "a", "image": torch.from_numpy(spectrum)[:, None, None], "bands": source}
    mine = T.ResampleSpectrum(target)(sample)["image"].flatten().numpy()
    theirs = BandResampler(centres, target.wavelengths, [b.fwhm for b in source], [b.fwhm for b in target])(spectrum)
    # They cut each response off at half its width, which is narrower: 0.01 is what that is worth on this spectrum.
    np.testing.assert_allclose(mine, theirs, atol=0.01)
    assert np.abs(mine - 0.25).max() > 0.05


def test_a_flat_spectrum_stays_flat_and_a_straight_one_straight():
    sample = {"key": "a", "bands": NARROW, "image": torch.full((51, 2, 2), 0.37)}
    assert torch.allclose(T.ResampleSpectrum(RED)(sample)["image"], torch.tensor(0.37))
    sample["image"] = torch.linspace(0.400, 0.900, 51)[:, None, None]
    assert T.ResampleSpectrum(RED)(sample)["image"].flatten().tolist() == pytest.approx([0.65, 0.80], abs=2e-4)


def test_bands_in_another_order_give_the_same():
    order = np.random.default_rng(1).permutation(51)
    sample = of(NARROW)
    mixed = {**sample, "image": sample["image"][order], "bands": NARROW.select([NARROW.names[i] for i in order])}
    step = T.ResampleSpectrum(RED)
    assert torch.allclose(step(sample)["image"], step(mixed)["image"])


def test_raw_numbers_of_one_scale_keep_it():
    raw = grid(400, 900, 10, 10, state="raw", scale=1e-4, offset=-0.1, unit="reflectance")
    out = T.ResampleSpectrum(RED)(of(raw))
    assert out["bands"].state == "raw" and {(b.scale, b.offset, b.unit) for b in out["bands"]} == {
        (1e-4, -0.1, "reflectance")
    }
    # A mean of stored numbers is the stored number of the mean, because the weights sum to 1.
    stored = torch.rand(51, 2, 2, dtype=torch.float64) * 1e4
    direct = T.ResampleSpectrum(RED)({"key": "a", "image": stored * 1e-4 - 0.1, "bands": NARROW})["image"]
    assert torch.allclose(
        T.ResampleSpectrum(RED)({"key": "a", "image": stored, "bands": raw})["image"] * 1e-4 - 0.1, direct
    )
    mixed = Bands([*raw[:25], *grid(400, 900, 10, 10, state="raw")[25:]])
    with pytest.raises(TransformError, match="2 different scales"):
        T.ResampleSpectrum(RED)(of(mixed))


def test_nan_stays_in_what_uses_it_and_invalid_becomes_zero():
    sample = of(NARROW)
    sample["image"][NARROW.position("650"), 0, 0] = torch.nan
    sample["image"][:, 1, 1] = torch.inf
    sample["valid"] = torch.ones(3, 4, dtype=torch.bool)
    sample["valid"][1, 1] = False
    out = T.ResampleSpectrum(RED)(sample)["image"]
    bad = torch.zeros(2, 3, 4, dtype=torch.bool)
    bad[0, 0, 0] = True
    assert torch.equal(out.isnan(), bad)
    assert (out[:, 1, 1] == 0).all()


@pytest.mark.parametrize("state", ["dB", "normalised"])
@pytest.mark.parametrize("step", [T.ResampleSpectrum(RED), T.BinBands(factor=2)])
def test_other_states_and_integers_are_refused(step, state):
    with pytest.raises(TransformError, match=state):
        step(of(NARROW.with_state(state)))
    with pytest.raises(TransformError, match="ToFloat"):
        step(of(NARROW, dtype=torch.int16))


def test_what_is_not_covered_or_known_is_refused():
    with pytest.raises(BandsError, match="swir22"):
        T.ResampleSpectrum(Bands([Band("swir22", wavelength=2200, fwhm=180)]))(of(NARROW))
    with pytest.raises(BandsError, match="wavelength of every band"):
        T.ResampleSpectrum(RED)(of(Bands(["a", "b"], state="reflectance")))
    with pytest.raises(BandsError, match="sensor"):
        T.ResampleSpectrum("sentinel2")
    for bad in (None, 5, Bands([])):
        with pytest.raises((TransformError, BandsError)):
            T.ResampleSpectrum(bad)
    with pytest.raises(TransformError, match="coverage"):
        T.ResampleSpectrum(RED, coverage=0)


def test_filled_bands_are_not_mixed_in():
    padded = T.PadBands(NARROW.select(["400", "410", "420"]))(of(NARROW[:2]))
    with pytest.raises(TransformError, match="not observed"):
        T.BinBands(factor=2)(padded)
    whole = T.PadBands(NARROW)(of(NARROW))
    assert "band_mask" not in T.BinBands(factor=2)(whole)


def test_half_floats_are_summed_in_single_precision():
    image = torch.full((51, 1, 1), 0.1, dtype=torch.float16)
    image[::2] = 60000.0
    out = T.BinBands(factor=51)({"key": "a", "image": image, "bands": NARROW})["image"]
    assert out.dtype == torch.float16
    assert float(out) == pytest.approx((26 * 60000 + 25 * 0.1) / 51, rel=1e-3), "the sum alone would be infinite"


def test_bins_by_factor():
    sample = of(NARROW)
    out = T.BinBands(factor=4)(sample)
    bands = out["bands"]
    assert len(bands) == 13 and bands.names[0] == "400-430" and bands.names[-1] == "880-900"
    assert (bands[0].wavelength, bands[0].fwhm, bands[-1].wavelength, bands[-1].fwhm) == (415, 40, 890, 30)
    for k in range(13):
        assert torch.allclose(out["image"][k], sample["image"][4 * k : 4 * k + 4].mean(dim=0))


def test_bins_by_width_follow_the_wavelength_and_skip_holes():
    bands = Bands(
        [Band(n, wavelength=w, fwhm=8) for n, w in [("c", 430), ("a", 400), ("b", 409), ("d", 441), ("e", 700)]]
    )
    sample = of(bands.with_state("reflectance"))
    out = T.BinBands(width=20)(sample)
    assert out["bands"].names == ("a-b", "c", "d", "e")
    assert (out["bands"][0].wavelength, out["bands"][0].fwhm) == (404.5, 17.0)
    assert torch.allclose(out["image"][0], sample["image"][[1, 2]].mean(dim=0))
    assert torch.equal(out["image"][1], sample["image"][0])


def test_bins_without_wavelengths():
    out = T.BinBands(factor=2)(of(Bands("abc")))
    assert [b.name for b in out["bands"]] == ["a-b", "c"] and out["bands"][0].wavelength is None
    with pytest.raises(BandsError, match="wavelength"):
        T.BinBands(width=10)(of(Bands("abc")))


@pytest.mark.parametrize(
    "bad",
    [{}, {"factor": 2, "width": 5}, {"factor": 1}, {"factor": 2.0}, {"factor": True}, {"width": 0}, {"width": "5"}],
)
def test_bins_refuse_impossible_arguments(bad):
    with pytest.raises(TransformError):
        T.BinBands(**bad)


def test_a_mean_has_the_ground_sample_distance_of_all_its_bands_or_none():
    mixed = Bands(
        [Band("a", wavelength=500, fwhm=20, gsd=10), Band("b", wavelength=520, fwhm=20, gsd=60)], "reflectance"
    )
    same = Bands([Band("a", gsd=10), Band("b", gsd=10)], "reflectance")
    assert T.BinBands(factor=2)(of(mixed))["bands"][0].gsd is None
    assert T.BinBands(factor=2)(of(same))["bands"][0].gsd == 10
    target = Bands([Band("x", wavelength=510, fwhm=10)])
    assert T.ResampleSpectrum(target)(of(mixed))["bands"][0].gsd is None
