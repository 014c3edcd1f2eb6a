"""Principal components and minimum noise fractions against scikit-learn, spectral and known noise."""

from __future__ import annotations

import json

import numpy as np
import pytest
import spectral
import torch
from sklearn.decomposition import PCA as TheirPCA
from sklearn.decomposition import IncrementalPCA

import geodata as gd
from geodata import transforms as T
from geodata.bands import Band, Bands
from geodata.errors import BandsError, TransformError

BANDS = Bands([Band(f"B{i}", wavelength=400.0 + 20 * i) for i in range(6)], state="reflectance")


def scene(seed, *, size=(20, 30), noise=0.02, bands=BANDS, dtype=torch.float64):
    """Three smooth sources, mixed, and noise that differs from band to band."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]] / 15.0
    sources = np.stack([np.sin(x + seed), np.cos(y * 0.7), np.sin(0.5 * (x + y))])
    mixing = np.random.default_rng(99).normal(size=(len(bands), 3))
    clean = np.einsum("cs,shw->chw", mixing, sources) + 5.0
    noisy = clean + noise * np.arange(1, len(bands) + 1)[:, None, None] * rng.normal(size=clean.shape)
    return {"key": f"s{seed}", "image": torch.from_numpy(noisy).to(dtype), "bands": bands}


def pixels(*samples):
    """(N, C) valid pixels."""
    parts = []
    for s in samples:
        flat = s["image"].numpy().reshape(len(s["bands"]), -1).T
        parts.append(flat[s["valid"].numpy().ravel()] if "valid" in s else flat)
    return np.concatenate(parts)


def masked(sample, seed=5):
    valid = torch.from_numpy(np.random.default_rng(seed).random(sample["image"].shape[-2:]) > 0.3)
    image = torch.where(valid, sample["image"], torch.tensor(torch.nan, dtype=torch.float64))
    return {**sample, "image": image, "valid": valid}


def up_to_sign(rows):
    largest = np.abs(rows).argmax(axis=1)
    return rows * np.sign(rows[np.arange(len(rows)), largest])[:, None]


@pytest.mark.parametrize("whiten", [False, True])
def test_pca_is_that_of_scikit_learn_on_valid_pixels(whiten):
    samples = [masked(scene(i), i) for i in range(4)]
    mine = T.PCA.fit(samples, 4, whiten=whiten)
    theirs = TheirPCA(4, whiten=whiten).fit(pixels(*samples))
    np.testing.assert_allclose(mine.values, theirs.explained_variance_, rtol=1e-9)
    np.testing.assert_allclose(mine.mean, theirs.mean_, rtol=1e-12)
    out = mine(samples[0])["image"].numpy()[:, samples[0]["valid"].numpy()].T
    wanted = theirs.transform(pixels(samples[0]))
    signs = np.sign((out * wanted).sum(axis=0))
    np.testing.assert_allclose(out, wanted * signs, atol=1e-8)
    plain = mine.forward_table * (np.sqrt(mine.values)[:, None] if whiten else 1)
    np.testing.assert_allclose(plain, up_to_sign(theirs.components_), atol=1e-9)


def test_one_pass_is_that_of_incremental_pca_in_any_parts():
    samples = [scene(i) for i in range(5)]
    whole = T.PCA.fit(samples, 6)
    theirs = IncrementalPCA(6)
    for s in samples:
        theirs.partial_fit(pixels(s))
    np.testing.assert_allclose(whole.values, theirs.explained_variance_, rtol=1e-8)
    keys = [s["key"] for s in samples]
    batch = {"key": keys, "image": torch.stack([s["image"] for s in samples]), "bands": BANDS}
    series = {"key": "a", "image": batch["image"], "bands": BANDS}
    for other in (
        [batch],
        [series],
        iter([samples[3], {**batch, "key": keys[:3], "image": batch["image"][:3]}, samples[4]]),
    ):
        np.testing.assert_allclose(T.PCA.fit(other, 6).forward_table, whole.forward_table, atol=1e-9)


def test_large_offsets_lose_no_digits():
    far = [{**s, "image": s["image"] + 1e6} for s in (scene(0), scene(1))]
    np.testing.assert_allclose(T.PCA.fit(far, 6).values, T.PCA.fit([scene(0), scene(1)], 6).values, rtol=1e-6)
    close = scene(0, dtype=torch.float32)
    mine = T.PCA.fit([{**close, "image": close["image"] + 1000}], 6)
    out = mine({**close, "image": close["image"] + 1000})["image"]
    assert torch.allclose(out.mean(dim=(1, 2)), torch.zeros(6), atol=1e-3)


def test_signs_are_fixed():
    table = T.PCA.fit([scene(0)], 6).forward_table
    assert (table[np.arange(6), np.abs(table).argmax(axis=1)] > 0).all()


@pytest.mark.parametrize("kind", [T.PCA, T.MNF])
def test_there_and_back(kind):
    sample = masked(scene(2))
    fitted = kind.fit([sample, scene(3)], 6)
    out = fitted(sample)
    assert out["bands"].names == tuple(f"{'PC' if kind is T.PCA else 'MNF'}{i}" for i in range(1, 7))
    assert out["bands"].state == "normalised"
    back = fitted.inverse()(out)
    wanted = torch.where(sample["valid"], sample["image"], torch.zeros((), dtype=torch.float64))
    assert torch.allclose(back["image"], wanted, atol=1e-9) and back["bands"] == BANDS
    assert (out["image"][:, ~sample["valid"]] == 0).all()
    assert fitted.inverse().inverse().to_dict() == fitted.to_dict()


def test_fewer_components_are_the_nearest_picture():
    sample = scene(0)
    three = T.PCA.fit([sample], 3)
    rebuilt = three.inverse()(three(sample))["image"]
    lost = ((rebuilt - sample["image"]) ** 2).sum() / (20 * 30 - 1)
    assert float(lost) == pytest.approx(T.PCA.fit([sample], 6).values[3:].sum(), rel=1e-9)


def test_mnf_is_that_of_spectral():
    sample = scene(0, size=(40, 50))
    cube = sample["image"].numpy().transpose(1, 2, 0)
    theirs = spectral.mnf(spectral.calc_stats(cube), spectral.noise_from_diffs(cube, direction="right"))
    mine = T.MNF.fit([sample], 6)
    np.testing.assert_allclose(mine.values, theirs.napc.eigenvalues, rtol=1e-8)
    reduced = theirs.reduce(cube, num=4)
    out = T.MNF.fit([sample], 4)(sample)["image"].numpy().transpose(1, 2, 0)
    signs = np.sign((out * reduced).sum(axis=(0, 1)))
    np.testing.assert_allclose(out, reduced * signs, atol=1e-6)
    few = T.MNF.fit([sample], 4)
    np.testing.assert_allclose(
        few.inverse()(few(sample))["image"].numpy().transpose(1, 2, 0), theirs.denoise(cube, num=4), atol=1e-6
    )


def test_mnf_finds_the_noise_and_orders_by_it():
    sample = scene(1, size=(150, 150), noise=0.05)
    mnf = T.MNF.fit([sample], 6)
    noise = mnf.backward_table @ mnf.backward_table.T
    strength = 0.05 * np.arange(1, 7)
    # What the fit took for noise, against what was added; the slow change of the scene adds a little.
    np.testing.assert_allclose(np.sqrt(np.diag(noise)), strength, rtol=0.15)
    out = mnf(sample)["image"].numpy()
    steps = (out[:, :, 1:] - out[:, :, :-1]) / np.sqrt(2)
    np.testing.assert_allclose(np.cov(steps.reshape(6, -1)), np.eye(6), atol=1e-8)
    snr = out.var(axis=(1, 2)) - 1
    assert (np.diff(snr) <= 1e-9).all() and snr[2] > 5 and abs(snr[3]) < 0.15, "three sources, the rest is noise"


def test_mnf_pairs_need_both_pixels_valid():
    sample = masked(scene(0, size=(40, 50)))
    x, valid = sample["image"].numpy(), sample["valid"].numpy()
    pairs = valid[:, 1:] & valid[:, :-1]
    d = (x[:, :, :-1] - x[:, :, 1:])[:, pairs] / np.sqrt(2)
    mnf = T.MNF.fit([sample], 6)
    np.testing.assert_allclose(mnf.backward_table @ mnf.backward_table.T, np.cov(d), rtol=1e-8)


def test_bands_in_another_order_or_spelling_and_no_others():
    sample = scene(0)
    pca = T.PCA.fit([sample], 3)
    order = [5, 0, 3, 1, 2, 4]
    mixed = {
        **sample,
        "image": sample["image"][order],
        "bands": BANDS.select([f"B{i}" for i in order]).renamed(B3="b03"),
    }
    assert torch.allclose(pca(mixed)["image"], pca(sample)["image"])
    with pytest.raises(BandsError, match="has 5 bands"):
        pca({**sample, "image": sample["image"][:5], "bands": BANDS[:5]})
    shifted = Bands([Band(b.name, wavelength=(b.wavelength or 0) + 300) for b in BANDS], state="reflectance")
    with pytest.raises(BandsError, match="nm away"):
        pca({**sample, "bands": shifted})
    with pytest.raises(TransformError, match="raw; this PCA was fitted for reflectance"):
        pca({**sample, "bands": BANDS.with_state("raw")})
    with pytest.raises(BandsError, match="PC1"):
        pca.inverse()({**sample, "image": sample["image"][:3], "bands": BANDS[:3].with_state("normalised")})
    with pytest.raises(TransformError, match="ToFloat"):
        pca({**sample, "image": sample["image"].int()})


def test_a_nan_spoils_its_pixel_only():
    sample = scene(0)
    pca = T.PCA.fit([sample], 3)
    image = sample["image"].clone()
    image[2, 4, 5] = torch.nan
    bad = pca({**sample, "image": image})["image"].isnan()
    assert bad[:, 4, 5].all() and bad.sum() == 3


def test_fits_that_mean_nothing_are_refused():
    sample = scene(0)
    nowhere = {**sample, "valid": torch.zeros(20, 30, dtype=torch.bool)}
    for kind in (T.PCA, T.MNF):
        with pytest.raises(TransformError, match="fewer than two valid pixels"):
            kind.fit([nowhere], 2)
        with pytest.raises(TransformError, match="fewer than two valid pixels"):
            kind.fit([], 2)
        with pytest.raises(TransformError, match="not finite"):
            kind.fit([{**sample, "image": sample["image"].log() * torch.inf}], 2)
        with pytest.raises(BandsError, match="change on the way"):
            kind.fit([sample, {**sample, "bands": BANDS.renamed(B0="x")}], 2)
        with pytest.raises(TransformError, match="samples or batches"):
            kind.fit(sample, 2)
        for n in (0, 7, 2.0, True):
            with pytest.raises(TransformError, match="number of components"):
                kind.fit([sample], n)
    with pytest.raises(TransformError, match="pairs of valid neighbours"):
        T.MNF.fit([{**sample, "image": sample["image"][:, :, :1]}], 2)
    constant = {**sample, "image": torch.cat([sample["image"][:5], torch.ones(1, 20, 30, dtype=torch.float64)])}
    with pytest.raises(TransformError, match="constant, repeated"):
        T.MNF.fit([constant], 2)
    with pytest.raises(TransformError, match="only 5 of 6 components vary"):
        T.PCA.fit([constant], 6, whiten=True)
    assert T.PCA.fit([constant], 6).values[5] == pytest.approx(0, abs=1e-12)


def test_tables_that_do_not_fit_are_refused():
    data = T.PCA.fit([scene(0)], 2).config()
    for name, bad in {
        "mean": [0.0],
        "forward": [[1.0]],
        "values": [],
        "backward": [[float("nan")]],
        "bands": BANDS[:3].to_dict(),
    }.items():
        with pytest.raises(TransformError):
            T.PCA(**{**data, name: bad})


def test_saved_and_read_again_gives_equal_numbers():
    sample = scene(0)
    for fitted in (T.PCA.fit([sample], 3, whiten=True), T.MNF.fit([sample], 3).inverse()):
        again = T.Transform.from_dict(json.loads(json.dumps(fitted.to_dict())))
        given = sample if not fitted.back else T.MNF.fit([sample], 3)(sample)
        assert torch.equal(again(given)["image"], fitted(given)["image"])


def test_a_dataset_and_a_loader_can_be_fitted_on(tmp_path):
    import rasterio

    rng = np.random.default_rng(0)
    for i in range(3):
        profile = {
            "driver": "GTiff",
            "height": 16,
            "width": 16,
            "count": 3,
            "dtype": "float32",
            "crs": "EPSG:32633",
            "transform": rasterio.transform.from_origin(5e5 + i * 160, 5e6, 10, 10),
        }
        with rasterio.open(tmp_path / f"{i}.tif", "w", **profile) as out:
            out.write(rng.random((3, 16, 16), dtype=np.float32))
    ds = gd.datasets.RasterDataset(tmp_path, band_names=["a", "b", "c"])
    whole = T.PCA.fit(ds, 2)
    loaded = T.PCA.fit(gd.Loader(ds, batch_size=2), 2)
    np.testing.assert_allclose(whole.forward_table, loaded.forward_table, atol=1e-10)
    assert T.PCA.fit((ds[i] for i in range(3)), 2).to_dict() == whole.to_dict()
