"""Plain products of EnMAP: the other order of bands, metadata, and files that are no safe XML."""

import shutil

import numpy as np
import pytest
import rasterio

from geodata.datasets import get
from geodata.datasets.enmap import EnMAP
from geodata.datasets.enmap_products import bands_of
from geodata.datasets.enmap_table import EMPTY, QUALITY, bands
from geodata.errors import BandsError, CatalogError, NoFilesError, ReadError


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    root = tmp_path_factory.mktemp("enmap")
    EnMAP.fake(root, 4)
    return root


@pytest.fixture
def copy(fake, tmp_path):
    shutil.copytree(fake, tmp_path / "copy", ignore=shutil.ignore_patterns(".geodata"))
    return tmp_path / "copy"


def image_of(root, key):
    (path,) = root.glob(f"**/{key}-SPECTRAL_IMAGE*.TIF")
    return path


def test_product_order_is_that_of_a_real_product(realdata):
    for path in (realdata / "enmap_potsdam" / "images").iterdir():
        with rasterio.open(path) as file:
            tags = [(float(file.tags(i)["wavelength"]), float(file.tags(i)["fwhm"])) for i in range(1, 225)]
        assert [(b.wavelength, b.fwhm) for b in bands("product")] == tags


def test_the_two_orders_differ_in_the_overlap_only():
    product, by_wavelength = bands("product").wavelengths, bands("wavelength").wavelengths
    assert (np.diff(by_wavelength) > 0).all() and np.diff(product)[90] < -90
    differ = np.flatnonzero(product != by_wavelength) + 1
    assert (differ.min(), differ.max()) == (80, 100) and 45 < np.abs(product - by_wavelength).max() < 51


def test_pixels_places_and_times(fake):
    ds = EnMAP(fake, dtype=None)
    assert get("enmap") is EnMAP and len(ds) == 4
    kept = [i for i in range(1, 225) if i not in EMPTY]
    for i, key in enumerate(ds.catalog.key):
        path, sample = image_of(fake, key), ds[i]
        with rasterio.open(path) as file:
            stored = file.read(kept)
            assert sample["grid"].transform == file.transform
        valid = (stored != -32768).all(axis=0)
        assert np.array_equal(sample["valid"].numpy(), valid) and valid.any() and not valid.all()
        assert np.array_equal(sample["image"].numpy(), stored)
    assert str(np.datetime64(int(ds[0]["time"].start), "s")) == "2022-11-02T10:00:26"
    assert ds.catalog.column("tile")[0] == "001"


def test_all_bands_can_be_had_by_name(fake):
    ds = EnMAP(fake, all_bands=True, bands=("B127", "B129"))
    with rasterio.open(image_of(fake, ds.catalog.key[0])) as file:
        stored = file.read([127, 129])
    assert np.array_equal(ds[0]["image"].numpy()[:, ds[0]["valid"]], stored[:, (stored != -32768).all(axis=0)])
    assert ds[0]["valid"].any() and not EnMAP(fake, all_bands=True)[0]["valid"].any()
    with pytest.raises(BandsError, match="B127"):
        EnMAP(fake, bands=("B127", "B001"))


def test_quality_layers(fake):
    ds = EnMAP(fake, quality=True, dtype=None)
    for i, key in enumerate(ds.catalog.key):
        path = image_of(fake, key)
        for k, layer in enumerate(QUALITY):
            with rasterio.open(
                path.with_name(path.name.replace("SPECTRAL_IMAGE", f"QL_QUALITY_{layer.upper()}"))
            ) as file:
                assert np.array_equal(ds[i]["image_quality"][k].numpy(), file.read(1))


def metadata(path, change=lambda i, nm: nm):
    rows = "".join(
        f'<bandID number="{i}"><wavelengthCenterOfBand>{change(i, b.wavelength)}</wavelengthCenterOfBand>'
        f"<FWHMOfBand>{b.fwhm}</FWHMOfBand></bandID>"
        for i, b in enumerate(bands("product"), 1)
    )
    path.write_text(f"<level_X><specific><bandCharacterisation>{rows}</bandCharacterisation></specific></level_X>")


def first_metadata(root):
    return min(root.glob("*/*METADATA.XML"))


def test_wavelengths_are_those_of_the_metadata(copy):
    for path in copy.glob("*/*METADATA.XML"):
        metadata(path, lambda i, nm: round(nm + 0.3 + i / 1000, 4))
    found = EnMAP(copy)[0]["bands"]
    assert found[1].wavelength == round(423.874 + 0.302, 4) and found[0].scale == 1e-4
    assert found.names[125:127] == ("B126", "B142")


def test_nominal_wavelengths_without_metadata(copy):
    for path in copy.glob("*/*METADATA.XML"):
        path.unlink()
    assert EnMAP(copy)[0]["bands"] == EnMAP.spec.contents[0].bands
    assert EnMAP(copy, bands=["B091", "B092"])[0]["bands"].wavelengths.tolist() == [993.083, 902.257]


def test_scenes_with_other_wavelengths_are_refused(copy):
    by_wavelength = bands("wavelength").wavelengths
    metadata(first_metadata(copy), lambda i, nm: by_wavelength[i - 1])
    with pytest.raises(BandsError, match=r"B0.*nm.*open such scenes apart"):
        EnMAP(copy)


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><level_X>&b;</level_X>'


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (BOMB, "document type or entities"),
        ("<level_X><specific>", "torn"),
        ("<level_X></level_X>", "describes 0 bands"),
        (
            "<a><bandCharacterisation><bandID number='x'/></bandCharacterisation></a>",
            "lacks its number, centre or width",
        ),
    ],
)
def test_metadata_that_is_none(text, match, copy):
    path = first_metadata(copy)
    path.write_text(text)
    with pytest.raises(ReadError, match=match):
        EnMAP(copy)
    with pytest.raises(ReadError, match=match):
        bands_of(path, bands("product"))


def test_what_is_refused(fake, copy, tmp_path):
    (tmp_path / "other").mkdir()
    with pytest.raises(NoFilesError, match=r"does not hold .*L2A"):
        EnMAP(tmp_path / "other")
    with pytest.raises(CatalogError, match="no split of its own"):
        EnMAP(fake, split="train")
    twice = image_of(copy, EnMAP(copy).catalog.key[0])
    shutil.copy(twice, twice.with_name(twice.name.replace(".TIF", "_COG.TIF")))
    with pytest.raises(CatalogError, match="are the same item"):
        EnMAP(copy)


def test_a_product_folder_is_a_root(fake):
    folder = image_of(fake, EnMAP(fake).catalog.key[2]).parent
    assert EnMAP(folder).catalog.key.tolist() == [folder.name]
