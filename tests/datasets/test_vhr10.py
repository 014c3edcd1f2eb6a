"""NWPU VHR-10: a look-alike against its own COCO file, the real COCO file, and bad ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from rasterio.errors import NotGeoreferencedWarning

import geodata as gd
from geodata.datasets.tables import classes
from geodata.datasets.vhr10 import VHR10
from geodata.datasets.vhr10_table import FOLDER, _read
from geodata.errors import CatalogError, NoFilesError, ReadError

LABELS = f"{FOLDER}/annotations.json"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    VHR10.fake(tmp_path)
    return tmp_path


def change(root: Path, how: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads((root / LABELS).read_text())
    how(data)
    (root / LABELS).write_text(json.dumps(data))


def test_classes_are_those_of_the_real_file(realdata: Path) -> None:
    data = json.loads((realdata / "nwpu_vhr10/annotations.json").read_text())
    assert [c["name"] for c in sorted(data["categories"], key=lambda c: c["id"])] == list(classes("vhr10").names)
    counts = [sum(a["category_id"] == i for a in data["annotations"]) for i in range(1, 11)]
    assert counts == list(classes("vhr10").counts)
    assert sum(counts) == 3921


def test_boxes_of_the_real_file(realdata: Path) -> None:
    found = _read(realdata / "nwpu_vhr10/annotations.json")
    assert len(found) == 650
    assert sum(len(names) for _, names in found.values()) == 3921
    numbers, names = found["001.jpg"]
    assert (numbers[0], names[0]) == ([563.0, 485.0, 629.0, 571.0], "airplane")


def test_positive_samples(tree: Path) -> None:
    ds = VHR10(tree, split="positive", dtype=None)
    data = json.loads((tree / LABELS).read_text())
    assert len(ds) == 3
    for i, image in enumerate(data["images"]):
        sample = ds[i]
        with pytest.warns(NotGeoreferencedWarning), rasterio.open(tree / ds.catalog.column("path")[i]) as file:
            assert np.array_equal(sample["image"].numpy(), file.read())
        assert Path(ds.catalog.column("path")[i]).name == image["file_name"]
        own = [a for a in data["annotations"] if a["image_id"] == image["id"]]
        assert len(own) == 1 + i % 3
        expected = [[x, y, x + w, y + h] for x, y, w, h in (a["bbox"] for a in own)]
        assert sample["boxes"].tolist() == expected
        assert (sample["box_labels"] + 1).tolist() == [a["category_id"] for a in own]


def test_negative_samples_have_no_boxes(tree: Path) -> None:
    ds = VHR10(tree, split="negative")
    assert len(ds) == 1
    assert ds[0]["boxes"].shape == (0, 4)
    assert ds[0]["box_labels"].shape == (0,)
    assert ds[0]["boxes"].dtype == torch.float32


def test_images_of_different_sizes_make_a_padded_batch(tree: Path) -> None:
    ds = VHR10(tree, split="positive")
    batch = gd.collate([ds[0], ds[1]], pad=0)
    assert batch["image"].shape == (2, 3, 127, 150)
    assert [len(b) for b in batch["boxes"]] == [1, 2]


def test_the_file_of_boxes_may_stand_beside_the_folder(tree: Path) -> None:
    expected = VHR10(tree, split="positive")[0]["boxes"]
    (tree / LABELS).rename(tree / "annotations.json")
    assert torch.equal(VHR10(tree, split="positive")[0]["boxes"], expected)


def test_without_the_file_of_boxes(tree: Path) -> None:
    (tree / LABELS).unlink()
    with pytest.raises(NoFilesError, match=r"annotations\.json"):
        VHR10(tree)
    assert VHR10(tree, keys=["image"])[0]["image"].ndim == 3


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (lambda d: d["annotations"][0].update(bbox=[5, 5, 0, 9]), r"image 001\.jpg: the box .* no area"),
        (lambda d: d["annotations"][0].update(bbox=[5, 5, 900, 9]), r"image 001\.jpg: the box .* outside .*150 x 120"),
        (lambda d: d["annotations"][0].update(bbox=[float("nan"), 5, 9, 9]), "no area"),
        (lambda d: d["annotations"][0].update(bbox=[5, 5, 9]), "no file of boxes"),
        (lambda d: d["annotations"][0].update(image_id=77), "77"),
        (lambda d: d["annotations"][0].update(category_id=11), "11"),
        (lambda d: d.pop("images"), "images"),
    ],
)
def test_a_bad_file_of_boxes(tree: Path, how: Callable[[dict[str, Any]], object], said: str) -> None:
    change(tree, how)
    with pytest.raises(CatalogError, match=said):
        VHR10(tree)


def test_a_torn_file_of_boxes(tree: Path) -> None:
    (tree / LABELS).write_text('{"images": [')
    with pytest.raises(CatalogError, match=r"annotations\.json"):
        VHR10(tree)


def test_another_class(tree: Path) -> None:
    change(tree, lambda d: d["categories"][0].update(name="boat"))
    ds = VHR10(tree, split="positive")
    with pytest.raises(ReadError, match=r"'boat'.*airplane"):
        ds[0]


def test_an_image_that_is_not_there(tree: Path) -> None:
    (tree / FOLDER / "positive image set/002.jpg").unlink()
    with pytest.raises(NoFilesError, match=r"1 of 3 .*002\.jpg"):
        VHR10(tree)
    assert VHR10(tree, on_error="skip").catalog.dropped == ("positive image set/002.jpg",)


def test_an_image_that_is_not_listed(tree: Path) -> None:
    change(
        tree, lambda d: (d["images"].pop(), d.update(annotations=[a for a in d["annotations"] if a["image_id"] < 2]))
    )
    ds = VHR10(tree, split="positive")
    with pytest.raises(CatalogError, match=r"003\.jpg.*keys="):
        ds[2]


def test_another_split(tree: Path) -> None:
    with pytest.raises(CatalogError, match="positive, negative"):
        VHR10(tree, split="train")
