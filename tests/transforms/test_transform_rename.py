"""Other names for keys: all or nothing, and never two values under one."""

from __future__ import annotations

from typing import Any

import kornia.augmentation as K
import pytest
import torch

from geodata import transforms as T
from geodata.errors import KeyClashError, TransformError


def test_suffixes_follow_and_other_families_do_not() -> None:
    batch = {"mask": 1, "mask_s1": 2, "mask_time": 3, "mask_time_s1": 4, "boxes": 5, "box_labels": 6, "masked": 7}
    assert T.Rename({"mask": "y"})(batch) == {
        "y": 1, "y_s1": 2, "mask_time": 3, "mask_time_s1": 4, "boxes": 5, "box_labels": 6, "masked": 7,
    }  # fmt: skip


def test_two_names_may_change_places() -> None:
    assert T.Rename({"image": "mask", "mask": "image"})({"image": 1, "mask": 2}) == {"mask": 1, "image": 2}


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("torchgeo", {"image", "bbox_xyxy", "label", "mask", "valid"}),
        ("kornia", {"image", "bbox_xyxy", "box_labels", "mask_instances", "mask_valid"}),
        ("torchvision", {"image", "boxes", "labels", "masks", "valid"}),
    ],
)
def test_styles_there_and_back(style: str, expected: set[str]) -> None:
    batch = {"image": 1, "boxes": 2, "box_labels": 3, "instances": 4, "valid": 5}
    there = T.Rename(style=style)(batch)
    assert set(there) == expected
    assert T.Rename(style=style, back=True)(there) == batch


def test_a_label_of_the_image_is_not_one_of_boxes() -> None:
    whole = {"image": 1, "label": 2, "mask": 3}
    assert T.Rename(style="torchgeo")(whole) == whole
    assert T.Rename(style="torchgeo", back=True)(whole) == whole
    assert T.Rename(style="kornia", back=True)({"mask_valid": 1}) == {"valid": 1}


def test_kornia_moves_what_was_renamed() -> None:
    image = torch.arange(12.0).reshape(1, 1, 3, 4)
    batch = {"image": image, "valid": image[:, 0] > 5, "boxes": torch.tensor([[[0.0, 0.0, 1.0, 2.0]]]), "key": ["a"]}
    flip = K.AugmentationSequential(K.RandomHorizontalFlip(p=1.0), data_keys=None)
    out = T.Rename(style="kornia", back=True)(flip(T.Rename(style="kornia")(batch)))
    assert torch.equal(out["image"], image.flip(-1))
    assert torch.equal(out["valid"].reshape(1, 3, 4).bool(), (image[:, 0] > 5).flip(-1))
    assert set(out) == set(batch) and not torch.equal(out["boxes"], batch["boxes"])


@pytest.mark.parametrize(
    ("arguments", "batch"),
    [
        ({"mapping": {"image": "mask"}}, {"image": 1, "mask": 2}),
        ({"mapping": {"image": "mask"}}, {"mask_s1": 1, "image_s1": 2}),
        ({"style": "torchgeo"}, {"label": 1, "boxes": 2, "box_labels": 3}),
        ({"style": "torchgeo"}, {"mask": 1, "boxes": 2, "instances": 3}),
    ],
)
def test_no_value_is_lost(arguments: dict[str, Any], batch: dict[str, int]) -> None:
    with pytest.raises(KeyClashError, match="two values the name"):
        T.Rename(**arguments)(batch)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either a mapping"),
        ({"mapping": {"a": "b"}, "style": "kornia"}, "either a mapping"),
        ({"style": "keras"}, "style 'keras'"),
        ({"mapping": {}}, "mapping must be"),
        ({"mapping": {"a": 1}}, "names in text"),
        ({"mapping": {"a": ""}}, "names in text"),
        ({"mapping": ["a"]}, "mapping must be"),
        ({"mapping": {"a": "c", "b": "c"}}, "one name"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TransformError, match=message):
        T.Rename(**arguments)


def test_a_key_that_is_not_there() -> None:
    with pytest.raises(TransformError, match="found no 'imgae' among"):
        T.Rename({"imgae": "x"})({"image": 1})
