"""The upper hull of spectra against scipy, spectral and brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial import ConvexHull
from spectral import remove_continuum

from geodata import transforms as T
from geodata.bands import Band, Bands
from geodata.errors import BandsError, TransformError
from geodata.transforms.spectral import continuum


def named(wavelengths, state="reflectance"):
    return Bands((Band(f"b{i}", wavelength=float(w)) for i, w in enumerate(wavelengths)), state=state)


def removed(spectra, wavelengths, **more):
    """(N, C) spectra as an image of N x 1 pixels, there and back."""
    image = torch.as_tensor(spectra).T[:, :, None]
    out = T.ContinuumRemoval()({"key": "a", "image": image, "bands": named(wavelengths), **more})["image"]
    return out[:, :, 0].T


def by_scipy(spectrum, wavelengths):
    """The hull of the points and of two far below the ends: what remains of it is its upper side."""
    low = [[wavelengths[0], -1e3], [wavelengths[-1], -1e3]]
    points = np.concatenate([np.stack([wavelengths, spectrum], axis=1), low])
    vertices = sorted(v for v in ConvexHull(points).vertices if v < len(spectrum))
    return spectrum / np.interp(wavelengths, wavelengths[vertices], spectrum[vertices])


def by_brute_force(spectrum, wavelengths):
    """At each band the highest of all chords over it."""
    hull = spectrum.copy()
    for j, k in itertools.combinations(range(len(spectrum)), 2):
        inner = slice(j, k + 1)
        chord = np.interp(wavelengths[inner], wavelengths[[j, k]], spectrum[[j, k]])
        hull[inner] = np.maximum(hull[inner], chord)
    return spectrum / hull


def test_against_scipy_and_spectral():
    rng = np.random.default_rng(0)
    wavelengths = np.sort(rng.uniform(400, 2500, 60))
    smooth = 0.4 + 0.2 * np.sin(wavelengths / 250) - 0.15 * np.exp(-(((wavelengths - 1400) / 60) ** 2))
    spectra = np.stack(
        [smooth, rng.uniform(0.1, 0.6, 60), 0.1 + wavelengths / 5000, smooth + 0.02 * rng.normal(size=60)]
    )
    mine = removed(spectra, wavelengths).numpy()
    for k, spectrum in enumerate(spectra):
        if k != 2:  # on a straight line the hull of scipy is made of rounding errors
            np.testing.assert_allclose(mine[k], by_scipy(spectrum, wavelengths), atol=1e-9)
        np.testing.assert_allclose(mine[k], by_brute_force(spectrum, wavelengths), atol=1e-9)
    np.testing.assert_allclose(mine, remove_continuum(spectra, wavelengths), atol=1e-9)


@settings(deadline=None, max_examples=60)
@given(
    hnp.arrays(
        np.float64,
        st.tuples(st.integers(1, 5), st.integers(1, 9)),
        elements=st.sampled_from([0.1, 0.2, 0.3, 0.35, 0.9]),
    )
)
def test_any_spectrum_with_ties_and_straight_runs(spectra):
    wavelengths = 500.0 + 10 * np.arange(spectra.shape[1]) ** 1.5
    mine = removed(spectra, wavelengths).numpy()
    for k, spectrum in enumerate(spectra):
        np.testing.assert_allclose(mine[k], by_brute_force(spectrum, wavelengths), atol=1e-12)


def test_single_precision_is_near_and_in_range():
    rng = np.random.default_rng(1)
    wavelengths = np.linspace(420, 2450, 224)
    spectra = rng.uniform(0.01, 0.6, (50, 224))
    exact = removed(spectra, wavelengths).numpy()
    single = removed(spectra.astype(np.float32), wavelengths)
    assert single.dtype == torch.float32 and single.min() >= 0 and single.max() == 1
    np.testing.assert_allclose(single.numpy(), exact, atol=1e-5)
    half = removed(spectra.astype(np.float16), wavelengths)
    assert half.dtype == torch.float16
    np.testing.assert_allclose(half.numpy(), exact, atol=2e-3)


def test_the_ends_are_on_the_hull_and_a_scale_does_not_matter():
    rng = np.random.default_rng(2)
    wavelengths = np.linspace(420, 2450, 40)
    spectra = rng.uniform(0.1, 0.6, (30, 40))
    out = removed(spectra, wavelengths).numpy()
    assert (out[:, [0, -1]] == 1).all() and (out.max(axis=1) == 1).all()
    np.testing.assert_allclose(removed(spectra * rng.uniform(0.5, 2, (30, 1)), wavelengths).numpy(), out, atol=1e-12)


def test_bands_in_any_order_of_wavelength():
    rng = np.random.default_rng(3)
    wavelengths = rng.permutation(np.linspace(420, 2450, 30))
    spectra = rng.uniform(0.1, 0.6, (5, 30))
    order = np.argsort(wavelengths)
    np.testing.assert_allclose(removed(spectra, wavelengths)[:, order], removed(spectra[:, order], wavelengths[order]))


def test_pixels_in_parts_give_the_same(monkeypatch):
    spectra = np.random.default_rng(4).uniform(0.1, 0.6, (37, 12))
    whole = removed(spectra, np.arange(500, 512))
    monkeypatch.setattr(continuum, "_CHUNK", 5)
    assert torch.equal(removed(spectra, np.arange(500, 512)), whole)


def test_shapes_and_state():
    bands = named([500, 600, 700])
    image = torch.rand(2, 4, 3, 5, 6) + 0.1
    batch = {"key": ["a", "b"], "image": image, "bands": bands}
    out = T.ContinuumRemoval()(batch)
    assert out["image"].shape == image.shape and out["bands"].state == "normalised" and out["image"].is_contiguous()
    for b, t in itertools.product(range(2), range(4)):
        alone = T.ContinuumRemoval()({"key": "a", "image": image[b, t], "bands": bands})["image"]
        assert torch.equal(alone, out["image"][b, t])
    with pytest.raises(TransformError, match="normalised"):
        T.ContinuumRemoval()(out)


def test_nan_invalid_and_dark_pixels():
    wavelengths = np.array([500, 600, 700, 800])
    spectra = np.array(
        [[0.2, 0.1, 0.3, 0.4], [0.2, np.nan, 0.3, 0.4], [0, 0, 0, 0], [-0.1, 0.2, -0.3, 0.1], [np.nan] * 4]
    )
    valid = torch.tensor([[True], [True], [True], [True], [False]])
    out = removed(spectra, wavelengths, valid=valid)
    np.testing.assert_allclose(out[0], [1, 0.1 / (0.2 + 0.2 / 3), 0.3 / (0.2 + 0.4 / 3), 1])
    assert out[1].isnan().all() and not out[[0, 2, 3, 4]].isnan().any()
    assert out[2].tolist() == [1, 1, 1, 1]
    assert out[3].tolist() == [1, 1, 0, 1]
    assert out[4].tolist() == [0, 0, 0, 0]


def test_it_needs_reflectance_and_wavelengths_that_differ():
    image = torch.rand(2, 3, 3)
    for state in ("raw", "dB", "normalised"):
        with pytest.raises(TransformError, match=state):
            T.ContinuumRemoval()({"key": "a", "image": image, "bands": named([500, 600], state)})
    with pytest.raises(BandsError, match="same wavelength"):
        T.ContinuumRemoval()({"key": "a", "image": image, "bands": named([500, 500])})
    with pytest.raises(BandsError, match="wavelength of every band"):
        T.ContinuumRemoval()({"key": "a", "image": image, "bands": Bands("ab", state="reflectance")})


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 3, 1, 1), (3, 0, 4)])
def test_nothing_and_single_pixels(shape):
    batch = {
        "key": ["a"] * shape[0] if len(shape) == 4 else "a",
        "image": torch.rand(shape),
        "bands": named([500, 600, 700]),
    }
    assert T.ContinuumRemoval()(batch)["image"].shape == shape


@pytest.mark.parametrize("value", [float("inf"), -float("inf")])
def test_an_infinite_number_has_no_hull(value):
    out = removed([[0.3, value, 0.1], [0.3, 0.1, 0.2]], [400, 500, 600])
    assert out[0].isnan().all() and out[1].isfinite().all()
