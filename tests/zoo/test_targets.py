"""Targets in the forms of the zoos: their own definitions by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geodata.bands import Bands
from geodata.errors import TransformError
from geodata.zoo import InputSpec

BANDS = Bands(["red"], state="reflectance")
BOXES = [torch.tensor([[2.0, 4.0, 6.0, 10.0], [-5.0, -5.0, 3.0, 3.0], [20.0, 0.0, 30.0, 4.0]]), torch.zeros(0, 4)]
LABELS = [torch.tensor([4, 0, 7]), torch.zeros(0, dtype=torch.int64)]
OBJECTS = {"boxes": BOXES, "box_labels": LABELS}


def of(target, settings=None, /, **batch):
    spec = InputSpec.from_dict(
        {"target": target, "images": [{"key": "image", "bands": ["red"], "unit": "reflectance"} | (settings or {})]}
    )
    start = {"image": torch.rand(2, 1, 16, 20), "bands": BANDS}
    return spec.bind(BANDS)(start | batch).target


def test_no_form_or_no_label_gives_none():
    assert of("", label=torch.tensor([1, 2])) is None
    assert of("index") is None


def test_indices():
    out = of("index", label=torch.tensor([1, 2], dtype=torch.int32))
    assert out.tolist() == [1, 2] and out.dtype == torch.int64
    assert of("index", image=torch.rand(1, 4, 4), label=torch.tensor(3)).tolist() == [3]
    for wrong in (torch.rand(2, 5), torch.tensor([0.0, 1.0]), [1, 2]):
        with pytest.raises(TransformError, match="one class index"):
            of("index", label=wrong)


def test_multihot():
    hot = torch.tensor([[1, 0, 1], [0, 0, 0]])
    assert of("multihot", label=hot).dtype == torch.float32 and torch.equal(of("multihot", label=hot), hot.float())
    made = of({"form": "multihot", "classes": 3}, label=torch.tensor([2, 0]))
    assert made.tolist() == [[0, 0, 1], [1, 0, 0]]
    with pytest.raises(TransformError, match=r"target\.classes"):
        of("multihot", label=torch.tensor([2, 0]))
    with pytest.raises(TransformError, match="outside 0 to 2"):
        of({"form": "multihot", "classes": 3}, label=torch.tensor([3, 0]))


def test_masks_move_with_the_image_by_the_nearest_pixel():
    mask = torch.arange(320).reshape(1, 16, 20).repeat(2, 1, 1)
    mask[:, 0] = -100
    assert torch.equal(of("mask", mask=mask), mask)
    other = of({"form": "mask", "ignore": 255}, mask=mask.to(torch.int16))
    assert other.dtype == torch.int64 and (other[:, 0] == 255).all() and torch.equal(other[:, 1:], mask[:, 1:])
    out = of("mask", {"size": [32, 40], "resize": "bilinear", "crop": [24, 24]}, mask=mask)
    big = np.repeat(np.repeat(mask[0].numpy(), 2, axis=0), 2, axis=1)
    assert np.array_equal(out[1], big[4:28, 8:32])
    small = of("mask", {"size": [8, 10], "resize": "bilinear"}, mask=mask)
    assert np.array_equal(small[0], mask[0, 1::2, 1::2])
    with pytest.raises(TransformError, match="beside an image"):
        of("mask", mask=mask[:, :8])
    with pytest.raises(TransformError, match=r"\(B, H, W\)"):
        of("mask", mask=mask.float())


def test_torchvision_counts_classes_from_one_and_drops_what_lies_outside():
    shape = torch.zeros(3, 16, 20, dtype=torch.bool)
    shape[0, 4:10, 2:6] = True
    first, second = of("torchvision", **OBJECTS, instances=[shape, torch.zeros(0, 16, 20, dtype=torch.bool)])
    assert first["boxes"].tolist() == [[2, 4, 6, 10], [0, 0, 3, 3]] and first["labels"].tolist() == [5, 1]
    assert first["masks"].dtype == torch.uint8 and torch.equal(first["masks"], shape[:2].to(torch.uint8))
    assert second["boxes"].shape == (0, 4) and second["labels"].shape == (0,) and second["labels"].dtype == torch.int64


def test_negative_classes_are_of_no_object():
    out = of("mmdet", boxes=BOXES, box_labels=[torch.tensor([-1, 0, 7]), LABELS[1]])
    assert out[0]["labels"].tolist() == [0]


def test_boxes_move_with_the_image():
    out = of("torchvision", {"size": [32, 40], "resize": "bilinear", "crop": [24, 24]}, **OBJECTS)
    # twice as large, then 8 pixels off the left and 4 off the top
    assert out[0]["boxes"].tolist() == [[0, 4, 4, 16]]


def test_coco_gives_width_height_and_area():
    out = of("coco", **OBJECTS)
    assert out[0]["annotations"][0] == {
        "image_id": 0, "bbox": [2.0, 4.0, 4.0, 6.0], "area": 24.0, "category_id": 5, "iscrowd": 0,
    }  # fmt: skip
    assert out[1] == {"image_id": 1, "annotations": []}
    assert of({"form": "coco", "first": 0}, **OBJECTS)[0]["annotations"][0]["category_id"] == 4


def test_yolo_gives_centres_and_sizes_as_parts_of_the_image():
    out = of("yolo", **OBJECTS)
    np.testing.assert_allclose(out[0][0], [4, 4 / 20, 7 / 16, 4 / 20, 6 / 16], rtol=1e-6)
    assert out[1].shape == (0, 5)


def test_yolo_gives_oriented_boxes_by_eight_numbers():
    corners = [torch.tensor([[[5.0, 2.0], [8.0, 5.0], [5.0, 8.0], [2.0, 5.0]]]), torch.zeros(0, 4, 2)]
    out = of("yolo-obb", corners=corners, box_labels=[torch.tensor([3]), LABELS[1]])
    want = np.array([5 / 20, 2 / 16, 8 / 20, 5 / 16, 5 / 20, 8 / 16, 2 / 20, 5 / 16])
    np.testing.assert_allclose(out[0][0], [3, *want], rtol=1e-6)
    assert out[1].shape == (0, 9)


def test_mmdet_counts_classes_from_zero():
    out = of("mmdet", **OBJECTS)
    assert set(out[0]) == {"bboxes", "labels"} and out[0]["labels"].tolist() == [4, 0]


def test_one_sample_is_a_batch_of_one():
    out = of("torchvision", image=torch.rand(1, 16, 20), boxes=BOXES[0], box_labels=LABELS[0])
    assert len(out) == 1 and out[0]["labels"].tolist() == [5, 1]


def test_objects_without_classes_or_of_other_counts_are_refused():
    with pytest.raises(TransformError, match="box_labels"):
        of("coco", boxes=BOXES)
    with pytest.raises(TransformError, match="different numbers of samples"):
        of("coco", boxes=BOXES, box_labels=LABELS[:1])
    with pytest.raises(TransformError, match=r"\(3, 4\) and 2 classes .* must be \(2, 4\)"):
        of("coco", boxes=BOXES, box_labels=[LABELS[0][:2], LABELS[1]])
