"""NWPU-RESISC45: a look-alike against rasterio, and its lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from rasterio.errors import NotGeoreferencedWarning

from geodata.datasets.fakes import write_image
from geodata.datasets.resisc45 import RESISC45
from geodata.datasets.tables import classes
from geodata.errors import BandsError, CatalogError, NoFilesError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    RESISC45.fake(tmp_path)
    return tmp_path


def test_classes_are_45_in_alphabetical_order() -> None:
    names = classes("resisc45").names
    assert len(names) == 45
    assert list(names) == sorted(names)
    assert sum(classes("resisc45").counts) == RESISC45.spec.items == 31_500


def test_samples_are_the_pixels_of_the_files(tree: Path) -> None:
    ds = RESISC45(tree, dtype=None)
    for i, path in enumerate(ds.catalog.column("path")):
        with pytest.warns(NotGeoreferencedWarning), rasterio.open(tree / path) as file:
            expected = file.read()
        assert np.array_equal(ds[i]["image"].numpy(), expected)
        assert ds[i]["image"].dtype == torch.uint8
        assert ds[i]["key"].startswith(classes("resisc45").names[ds[i]["label"]])
        assert ds[i]["bands"].names == ("R", "G", "B")


def test_parts_are_those_of_the_lists(tree: Path) -> None:
    for part in ("train", "val", "test"):
        listed = (tree / f"resisc45-{part}.txt").read_text().split()
        assert sorted(RESISC45(tree, split=part).catalog.key) == sorted(line.removesuffix(".jpg") for line in listed)


def test_without_lists(tree: Path) -> None:
    for path in tree.glob("resisc45-*.txt"):
        path.unlink()
    assert len(RESISC45(tree)) == 4
    with pytest.raises(NoFilesError, match=r"resisc45-val\.txt"):
        RESISC45(tree, split="val")


def test_a_listed_picture_that_is_not_there(tree: Path) -> None:
    (tree / "NWPU-RESISC45/airplane/airplane_001.jpg").unlink()
    with pytest.raises(NoFilesError, match=r"1 of 4 .*airplane_001"):
        RESISC45(tree)


def test_an_unknown_folder(tree: Path) -> None:
    (tree / "NWPU-RESISC45/airplane").rename(tree / "NWPU-RESISC45/plane")
    ds = RESISC45(tree)
    with pytest.raises(CatalogError, match="'plane'"):
        ds[ds.catalog.key.tolist().index("airplane_001")]


def test_a_grey_picture(tree: Path) -> None:
    write_image(tree / "NWPU-RESISC45/airplane/airplane_001.jpg", np.zeros((256, 256), dtype=np.uint8))
    with pytest.raises(BandsError, match="airplane_001"):
        RESISC45(tree)


def test_another_split(tree: Path) -> None:
    with pytest.raises(CatalogError, match="train, val, test"):
        RESISC45(tree, split="training")


def test_no_archive(tmp_path: Path) -> None:
    with pytest.raises(NoFilesError, match=r"NWPU-RESISC45.*download=True"):
        RESISC45(tmp_path)
