"""HySpecNet-11k: pixels, quality layers and splits against rasterio and the files themselves."""

import os
import shutil

import numpy as np
import pytest
import rasterio
import torch

from geodata.datasets import get
from geodata.datasets.enmap_table import EMPTY, QUALITY, bands
from geodata.datasets.hyspecnet import HySpecNet11k
from geodata.errors import BandsError, CatalogError, NoFilesError


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    root = tmp_path_factory.mktemp("hyspecnet")
    HySpecNet11k.fake(root, 5)
    return root


@pytest.fixture
def copy(fake, tmp_path):
    shutil.copytree(fake, tmp_path / "copy", ignore=shutil.ignore_patterns(".geodata"))
    return tmp_path / "copy"


@pytest.fixture(scope="module")
def real(realdata, tmp_path_factory):
    """The real patch in the published tree."""
    root = tmp_path_factory.mktemp("real")
    (patch,) = (realdata / "hyspecnet11k").glob("ENMAP*")
    tile = patch.name.rsplit("-Y", 1)[0]
    (root / "patches" / tile).mkdir(parents=True)
    os.symlink(patch, root / "patches" / tile / patch.name)
    return root


def image_of(root, key):
    (path,) = (root / "patches").glob(f"*/{key}/{key}-SPECTRAL_IMAGE.TIF")
    return path


# ---------------------------------------------------------------------- the real patch


def test_bands_left_out_are_the_ones_without_values(real):
    ds = HySpecNet11k(real, dtype=None)
    with rasterio.open(image_of(real, ds.catalog.key[0])) as file:
        stored = file.read()
    assert tuple(np.flatnonzero((stored == -32768).all(axis=(1, 2))) + 1) == EMPTY
    kept = [i for i in range(224) if i + 1 not in EMPTY]
    sample = ds[0]
    assert np.array_equal(sample["image"].numpy(), stored[kept]) and sample["valid"].all()
    assert sample["bands"].names == tuple(f"B{i + 1:03d}" for i in kept)


def test_bands_by_wavelength_take_turns_over_dark_water(real):
    """Where both spectrometers see, one of them reads near 0 over this water and the other well below."""
    found = HySpecNet11k(real)[0]
    means = dict(zip(found["bands"].names, found["image"].mean(dim=(1, 2)).tolist(), strict=True))
    product = {b.wavelength for b in list(bands("product"))[:91]}
    overlap = [b for b in found["bands"] if 900 < b.wavelength < 994]
    first = [means[b.name] for b in overlap if b.wavelength in product]
    second = [means[b.name] for b in overlap if b.wavelength not in product]
    assert len(second) == 10 and min(second) > max(first) + 10


def test_place_and_time_of_the_real_patch(real):
    sample = HySpecNet11k(real, quality=True, dtype=None)[0]
    with rasterio.open(image_of(real, sample["key"])) as file:
        assert sample["grid"].transform == file.transform and sample["grid"].crs.to_epsg() == 32618
    assert str(np.datetime64(int(sample["time"].start), "s")) == "2022-11-03T16:24:38"
    assert sample["image_quality"].dtype == torch.uint8
    assert sample["image_quality"][QUALITY.index("classes")].unique().tolist() == [2]
    assert sample["valid_quality"].all()


# ---------------------------------------------------------------------- the look-alike


def test_look_alike_is_written_as_the_real_patch(fake, real):
    def profile(path):
        with rasterio.open(path) as file:
            return {
                k: file.profile[k] for k in ("dtype", "nodata", "count", "width", "height", "compress", "interleave")
            }

    (here,) = {image_of(fake, key).parent for key in HySpecNet11k(fake).catalog.key[:1]}
    (there,) = real.glob("patches/*/*")
    for path in here.glob("*.TIF"):
        (twin,) = there.glob("*-" + path.name.rsplit("-", 1)[1])
        expected, found = profile(twin), profile(path)
        if path.name.endswith("TESTFLAGS.TIF"):
            expected["compress"] = found["compress"]
        assert found == expected, path.name


def test_pixels_and_quality_are_those_of_rasterio(fake):
    ds = HySpecNet11k(fake, dtype=None, quality=True)
    assert get("hyspecnet11k") is HySpecNet11k and len(ds) == 5
    kept = [i for i in range(1, 225) if i not in EMPTY]
    for i in (0, 4):
        path, sample = image_of(fake, ds.catalog.key[i]), ds[i]
        with rasterio.open(path) as file:
            assert np.array_equal(sample["image"].numpy(), file.read(kept))
        for k, layer in enumerate(QUALITY):
            with rasterio.open(
                path.with_name(path.name.replace("SPECTRAL_IMAGE", f"QL_QUALITY_{layer.upper()}"))
            ) as file:
                assert np.array_equal(sample["image_quality"][k].numpy(), file.read(1)), layer
    assert sample["bands_quality"].names == QUALITY
    assert "image_quality" not in HySpecNet11k(fake)[0]


@pytest.mark.parametrize("difficulty", ["easy", "hard"])
def test_parts_are_those_of_the_files(difficulty, fake):
    seen = []
    for part in ("train", "val", "test"):
        lines = (fake / "splits" / difficulty / f"{part}.csv").read_text().split()
        ds = HySpecNet11k(fake, split=part, difficulty=difficulty)
        assert ds.catalog.key.tolist() == sorted(line.split("/")[1] for line in lines)
        seen += ds.catalog.key.tolist()
    assert len(seen) == len(set(seen)) == 5


def test_splits_differ_by_difficulty(fake):
    easy, hard = (HySpecNet11k(fake, difficulty=name) for name in ("easy", "hard"))
    assert easy.catalog.column("split").tolist() != hard.catalog.column("split").tolist()
    train = set(HySpecNet11k(fake, split="train", difficulty="hard").catalog.column("tile"))
    assert train.isdisjoint(HySpecNet11k(fake, split=["val", "test"], difficulty="hard").catalog.column("tile"))


def test_the_folder_around_is_a_root_too(fake, tmp_path):
    os.symlink(fake, tmp_path / "hyspecnet-11k")
    assert HySpecNet11k(tmp_path).catalog.key.tolist() == HySpecNet11k(fake).catalog.key.tolist()


def test_every_archive_has_an_address_and_a_checksum():
    assert HySpecNet11k.spec.downloadable and len(HySpecNet11k.spec.sources) == 11
    assert all(source.checksum and source.into == "" for source in HySpecNet11k.spec.sources)


# ---------------------------------------------------------------------- refusals


def test_what_is_refused(fake, tmp_path):
    with pytest.raises(NoFilesError, match="does not hold patches"):
        HySpecNet11k(tmp_path)
    with pytest.raises(CatalogError, match="'easy' or 'hard'"):
        HySpecNet11k(fake, difficulty="medium")
    with pytest.raises(CatalogError, match="no split 'validation'"):
        HySpecNet11k(fake, split="validation")
    with pytest.raises(BandsError, match="B127"):
        HySpecNet11k(fake, bands=["B127"])


def test_patches_that_the_split_names_but_nobody_has(copy):
    gone = image_of(copy, HySpecNet11k(copy).catalog.key[0]).parent
    shutil.rmtree(gone)
    shutil.rmtree(copy / ".geodata")
    with pytest.raises(NoFilesError, match=f"1 of 5 .*{gone.name}"):
        HySpecNet11k(copy)
    ds = HySpecNet11k(copy, on_error="skip")
    assert len(ds) == 4 and ds.catalog.dropped == (gone.name,)


def test_an_archive_without_its_splits(copy):
    shutil.rmtree(copy / "splits")
    assert len(HySpecNet11k(copy)) == 5
    with pytest.raises(NoFilesError, match=r"does not hold splits/easy/train.csv"):
        HySpecNet11k(copy, split="train")
