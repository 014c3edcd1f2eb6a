"""Scenes made for unmixing: the published scheme, and shares of classes in blocks."""

from __future__ import annotations

import numpy as np
import pytest

from geodata import unmixing
from geodata.errors import BandsError, DtypeError, GeodataError, GridError

SPECTRA = np.array([[0.1, 0.2, 0.3, 0.9], [0.8, 0.1, 0.2, 0.1], [0.3, 0.5, 0.1, 0.4]])


def test_scene_is_a_linear_mixture():
    scene = unmixing.synthesize(SPECTRA, size=40, purity=1, window=5, seed=3)
    assert scene.image.shape == (4, 40, 40) and scene.image.dtype == np.float32
    assert scene.abundance.shape == (3, 40, 40) and scene.abundance.dtype == np.float32
    np.testing.assert_allclose(scene.abundance.sum(axis=0), 1, atol=1e-6)
    assert scene.abundance.min() == 0 and scene.abundance.max() == 1  # pure pixels in the middle of blocks of 8
    pixels = scene.abundance.reshape(3, -1).astype(np.float64)
    np.testing.assert_allclose(scene.image.reshape(4, -1), SPECTRA.T @ pixels, atol=1e-6)
    assert scene.valid.all() and scene.classes == (0, 1, 2) and scene.snr is None


def test_window_of_one_gives_the_blocks_themselves():
    scene = unmixing.synthesize(SPECTRA, size=32, purity=1, window=1, seed=0, block=8)
    assert set(np.unique(scene.abundance)) == {0, 1}
    kinds = scene.abundance.argmax(axis=0)
    assert (kinds[7:15, 7:15] == kinds[7, 7]).all()  # a border of one is cut off


def test_blur_is_the_mean_over_the_window():
    # A window of 3 lays blocks out over 26 + 2 * 3 pixels, a window of 1 over 30 + 2 * 1: the same field.
    blurred = unmixing.synthesize(SPECTRA, size=26, purity=1, window=3, seed=5).abundance
    sharp = unmixing.synthesize(SPECTRA, size=30, purity=1, window=1, seed=5).abundance
    for row, col in ((0, 0), (5, 7), (25, 25), (12, 20)):
        around = sharp[:, row + 1 : row + 4, col + 1 : col + 4]
        np.testing.assert_allclose(blurred[:, row, col], around.mean(axis=(1, 2)), atol=1e-6)
    assert len(np.unique(blurred)) > 4


@pytest.mark.parametrize("purity", [1 / 3, 0.5, 0.8])
def test_pixels_above_the_purity_become_equal_mixtures(purity):
    free = unmixing.synthesize(SPECTRA, size=40, purity=1, window=7, seed=1)
    held = unmixing.synthesize(SPECTRA, size=40, purity=purity, window=7, seed=1)
    pure = free.abundance.max(axis=0) > purity
    assert pure.any()
    np.testing.assert_allclose(held.abundance[:, pure], 1 / 3, rtol=1e-6)
    np.testing.assert_array_equal(held.abundance[:, ~pure], free.abundance[:, ~pure])
    assert held.abundance.max() <= purity + 1e-6


@pytest.mark.parametrize("snr", [0, 20, 35.5])
def test_noise_has_the_power_asked_for(snr):
    clean = unmixing.synthesize(SPECTRA, size=96, seed=2)
    noisy = unmixing.synthesize(SPECTRA, size=96, seed=2, snr=snr)
    np.testing.assert_array_equal(noisy.abundance, clean.abundance)
    noise = noisy.image.astype(float) - clean.image
    measured = 10 * np.log10(np.square(clean.image.astype(float)).sum() / np.square(noise).sum())
    assert measured == pytest.approx(snr, abs=0.2)
    assert abs(noise.mean()) < 0.05 * noise.std() + 1e-6


def test_seed_decides_all():
    one, same, other = (unmixing.synthesize(SPECTRA, snr=20, seed=s) for s in (4, 4, 5))
    np.testing.assert_array_equal(one.image, same.image)
    assert (one.abundance != other.abundance).any()
    # Written down once: another machine and another version of numpy must draw the same blocks.
    kinds = unmixing.synthesize(SPECTRA, size=30, window=1, purity=1, seed=0, block=8).abundance.argmax(axis=0)
    assert kinds[3::8, 3::8].tolist() == [[2, 2, 0, 1], [0, 1, 1, 2], [2, 0, 0, 0], [1, 2, 1, 0]]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"endmembers": SPECTRA[0]}, BandsError),
        ({"endmembers": SPECTRA[:1]}, BandsError),
        ({"endmembers": [[1.0, np.nan], [0, 1]]}, BandsError),
        ({"endmembers": [["a", "b"], ["c", "d"]]}, BandsError),
        ({"size": 0}, GridError),
        ({"size": 32.5}, GridError),
        ({"window": 4}, GridError),
        ({"window": -1}, GridError),
        ({"purity": 0.2}, GridError),
        ({"purity": 1.01}, GridError),
        ({"purity": float("nan")}, GridError),
        ({"snr": float("inf")}, GridError),
        ({"snr": "20"}, GridError),
        ({"seed": -1}, GridError),
        ({"seed": True}, GridError),
        ({"block": 100}, GridError),
    ],
)
def test_knobs_are_checked(wrong, error):
    with pytest.raises(error) as told:
        unmixing.synthesize(**({"endmembers": SPECTRA} | wrong))
    assert isinstance(told.value, GeodataError)


def _scene():
    draw = np.random.default_rng(0)
    labels = draw.integers(1, 4, (13, 17))
    cube = draw.normal(size=(5, 13, 17)) + labels
    return cube, labels


def test_blocks_of_a_classified_scene_by_hand():
    cube, labels = _scene()
    labels[4, 5] = 0
    made = unmixing.from_classification(cube, labels, block=4, ignore=0)
    assert made.image.shape == (5, 3, 4) and made.abundance.shape == (3, 3, 4) and made.classes == (1, 2, 3)
    for r in range(3):
        for c in range(4):
            cut = (slice(4 * r, 4 * r + 4), slice(4 * c, 4 * c + 4))
            np.testing.assert_allclose(made.image[:, r, c], cube[:, *cut].reshape(5, -1).mean(axis=1), rtol=1e-5)
            whole = (labels[cut] != 0).all()
            assert made.valid[r, c] == whole == ((r, c) != (1, 1))
            wanted = [(labels[cut] == k).mean() if whole else 0 for k in (1, 2, 3)]
            np.testing.assert_allclose(made.abundance[:, r, c], wanted, rtol=1e-6)
    spectra = [cube[:, labels == k].mean(axis=1) for k in (1, 2, 3)]
    np.testing.assert_allclose(made.endmembers, spectra, rtol=1e-5)
    np.testing.assert_allclose(made.abundance.sum(axis=0)[made.valid], 1, atol=1e-6)


def test_pure_classes_mix_exactly():
    _, labels = _scene()
    spectra = np.arange(12.0).reshape(3, 4)
    made = unmixing.from_classification(spectra[labels - 1].transpose(2, 0, 1), labels, block=3)
    np.testing.assert_allclose(made.image, np.einsum("pc,phw->chw", made.endmembers, made.abundance), rtol=1e-5)


def test_tensors_of_a_sample_are_taken():
    torch = pytest.importorskip("torch")
    cube, labels = _scene()
    labels[0, 0] = -100
    made = unmixing.from_classification(torch.as_tensor(cube), torch.as_tensor(labels), block=2)
    assert made.classes == (1, 2, 3) and not made.valid[0, 0] and made.valid.sum() == made.valid.size - 1


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda c, n: {"block": 1}, GridError),
        (lambda c, n: {"block": 14}, GridError),
        (lambda c, n: {"block": 2.0}, GridError),
        (lambda c, n: {"labels": n[:-1]}, GridError),
        (lambda c, n: {"labels": n[None]}, GridError),
        (lambda c, n: {"labels": n.astype(float)}, DtypeError),
        (lambda c, n: {"cube": c.astype(complex)}, DtypeError),
        (lambda c, n: {"cube": np.full_like(c, np.nan)}, DtypeError),
        (lambda c, n: {"labels": np.ones_like(n)}, BandsError),
        (lambda c, n: {"labels": np.full_like(n, -100)}, BandsError),
    ],
)
def test_a_scene_that_is_none_is_refused(change, error):
    cube, labels = _scene()
    given = {"cube": cube, "labels": labels, "block": 4} | change(cube, labels)
    with pytest.raises(error):
        unmixing.from_classification(**given)
