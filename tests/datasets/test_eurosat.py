"""EuroSAT: look-alikes of both trees against rasterio, a real patch, and both splits."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

from geodata.datasets import eurosat_fake
from geodata.datasets.eurosat import EuroSAT
from geodata.datasets.eurosat_table import TREES
from geodata.errors import CatalogError, NoFilesError, ReadError

BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B8A")
CLASSES = (
    "AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial", "Pasture", "PermanentCrop", "Residential",
    "River", "SeaLake",
)  # fmt: skip


@pytest.fixture(scope="module", params=TREES)
def tree(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("eurosat")
    eurosat_fake.write(root, 4, request.param)
    return root


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    EuroSAT.fake(tmp_path)
    return tmp_path


def test_samples_are_the_pixels_of_the_files(tree: Path) -> None:
    ds = EuroSAT(tree, dtype=None)
    assert len(ds) == 4
    for i, path in enumerate(ds.catalog.column("path")):
        sample = ds[i]
        with rasterio.open(tree / path) as file:
            assert np.array_equal(sample["image"].numpy(), file.read())
            assert tuple(sample["grid"].transform) == tuple(file.transform)
            assert sample["grid"].crs.to_epsg() == file.crs.to_epsg()
        assert sample["image"].dtype == torch.uint16
        assert sample["bands"].names == BANDS
        assert CLASSES[sample["label"]] == Path(path).parent.name


def test_b8a_is_the_last_band(tree: Path) -> None:
    whole = EuroSAT(tree)[0]
    assert torch.equal(EuroSAT(tree, bands=["B8A"])[0]["image"][0], whole["image"][12])
    assert torch.equal(EuroSAT(tree, bands=["B09"])[0]["image"][0], whole["image"][8])
    wavelengths = whole["bands"].wavelengths
    assert wavelengths[7] == pytest.approx(832.8)
    assert wavelengths[12] == pytest.approx(864.7)


def test_a_real_patch(realdata: Path, tmp_path: Path) -> None:
    shutil.copytree(realdata / "eurosat/EuroSAT_MS", tmp_path / "EuroSAT_MS")
    ds = EuroSAT(tmp_path, dtype=None)
    with rasterio.open(realdata / "eurosat/EuroSAT_MS/AnnualCrop/AnnualCrop_1.tif") as file:
        expected, transform = file.read(), file.transform
    sample = ds[0]
    assert np.array_equal(sample["image"].numpy(), expected)
    assert tuple(sample["grid"].transform) == tuple(transform)
    assert abs(transform.a) != abs(transform.e)
    assert (sample["label"], sample["key"]) == (0, "AnnualCrop_1")
    with pytest.raises(NoFilesError, match=r"eurosat-train\.txt"):
        EuroSAT(tmp_path, split="train")


@pytest.mark.parametrize(("scheme", "stem"), [("random", "eurosat"), ("spatial", "eurosat-spatial")])
def test_parts_are_those_of_the_lists(tree: Path, scheme: str, stem: str) -> None:
    for part in ("train", "val", "test"):
        listed = (tree / f"{stem}-{part}.txt").read_text().split()
        found = EuroSAT(tree, split=part, split_scheme=scheme).catalog.key
        assert sorted(found) == sorted(line.removesuffix(".jpg") for line in listed)


def test_items_in_no_list_are_in_no_part(copy: Path) -> None:
    (copy / "eurosat-train.txt").write_text("AnnualCrop_1.jpg\n")
    ds = EuroSAT(copy)
    assert ds.catalog.column("split").tolist().count(None) == 1
    assert len(EuroSAT(copy, split="train")) == 1


def test_an_item_in_two_parts(copy: Path) -> None:
    (copy / "eurosat-val.txt").write_text("AnnualCrop_1.jpg\n")
    with pytest.raises(CatalogError, match=r"AnnualCrop_1.*train"):
        EuroSAT(copy)


def test_a_listed_item_that_is_not_there(copy: Path) -> None:
    (copy / "EuroSAT_MS/SeaLake/SeaLake_4.tif").unlink()
    with pytest.raises(NoFilesError, match=r"1 of 4 .*SeaLake_4"):
        EuroSAT(copy)
    assert EuroSAT(copy, on_error="skip").catalog.dropped == ("SeaLake_4",)


def test_an_unknown_folder(copy: Path) -> None:
    (copy / "EuroSAT_MS/SeaLake").rename(copy / "EuroSAT_MS/Sea")
    ds = EuroSAT(copy)
    with pytest.raises(CatalogError, match=r"'Sea'.*AnnualCrop"):
        ds[ds.catalog.key.tolist().index("SeaLake_4")]


def test_a_torn_patch(copy: Path) -> None:
    path = copy / "EuroSAT_MS/SeaLake/SeaLake_4.tif"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ReadError, match="SeaLake_4"):
        EuroSAT(copy)
    assert len(EuroSAT(copy, on_error="skip")) == 3


@pytest.mark.parametrize(
    ("options", "said"), [({"split": "valid"}, "train, val, test"), ({"split_scheme": "blocks"}, "random, spatial")]
)
def test_other_splits(copy: Path, options: dict[str, str], said: str) -> None:
    with pytest.raises(CatalogError, match=said):
        EuroSAT(copy, **options)


def test_another_root(copy: Path) -> None:
    with pytest.raises(NoFilesError, match="does: give that"):
        EuroSAT(copy / "EuroSAT_MS")
