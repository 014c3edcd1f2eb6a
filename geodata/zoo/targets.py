"""What a loss compares with, in the form that a model's zoo expects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from geodata.errors import TransformError
from geodata.sample import IGNORE
from geodata.zoo.beside import Target

if TYPE_CHECKING:
    from geodata.zoo.bind import Ready
    from geodata.zoo.frame import Frame

__all__ = ["target_of"]


def target_of(target: Target, batch: Mapping[str, Any], ready: Ready) -> Any:
    """Return the target of a batch, moved as the first image was; None without a form or where the batch has none.

    Boxes are clipped to the image; those that lie outside, or whose class is negative (of no class), are left out.

    Returns
    -------
    index : (B,) int64
    multihot : (B, K) float32
    mask : (B, H, W) int64, ``ignore`` where not known
    torchvision : list of {"boxes" (N, 4) float32 x0 y0 x1 y1, "labels" (N,) int64 from 1, "masks" (N, H, W) uint8}
        Masks only where the batch has ``instances``.
    coco : list of {"image_id", "annotations": [{"bbox" [x, y, w, h], "area", "category_id", "iscrowd", "image_id"}]}
        Pixels; ``image_id`` is the place in the batch.
    yolo : list of (N, 5) float32: class from 0, centre x, centre y, width, height, as parts of the image's
    yolo-obb : list of (N, 9) float32: class from 0, four corners x, y, as parts of the image's
    mmdet : list of {"bboxes" (N, 4) float32 x0 y0 x1 y1, "labels" (N,) int64 from 0, "masks"}

    Raises
    ------
    TransformError
        If the batch has another kind of label under the key.
    """
    if not target.form or target.key not in batch:
        return None
    if target.form in _SIMPLE:
        out = _SIMPLE[target.form](batch[target.key], _Ask(target, ready))
        if len(out) != len(ready.pixels):
            raise TransformError(f"{target.key!r} is of {len(out)} samples and the image of {len(ready.pixels)}")
        return out
    return [_FORMS[target.form](found) for found in _objects(target, batch, ready)]


@dataclass(frozen=True)
class _Ask:
    target: Target
    ready: Ready


def _index(label: Any, ask: _Ask) -> Tensor:
    target = ask.target
    if not isinstance(label, Tensor) or label.is_floating_point() or label.ndim > 1:
        raise TransformError(f"the model takes one class index a sample, {target.key!r} is {_shape(label)}")
    return label.reshape(-1).to(torch.int64)


def _multihot(label: Any, ask: _Ask) -> Tensor:
    target, ready = ask.target, ask.ready
    if isinstance(label, Tensor) and not ready.batched:
        label = label.unsqueeze(0)
    if isinstance(label, Tensor) and label.ndim == 2 and label.shape[1] == (target.classes or label.shape[1]):
        return label.to(torch.float32)
    if isinstance(label, Tensor) and label.ndim == 1 and not label.is_floating_point() and target.classes:
        if label.numel() and not 0 <= int(label.min()) <= int(label.max()) < target.classes:
            raise TransformError(f"{target.key!r} has classes outside 0 to {target.classes - 1}")
        return torch.nn.functional.one_hot(label.long(), target.classes).to(torch.float32)
    raise TransformError(
        f"the model takes (B, K) multi-hot labels, {target.key!r} is {_shape(label)}; for class indices say how many "
        "classes there are: target.classes"
    )


def _mask(mask: Any, ask: _Ask) -> Tensor:
    target, ready = ask.target, ask.ready
    wanted = 3 if ready.batched else 2
    if not isinstance(mask, Tensor) or mask.is_floating_point() or mask.ndim < wanted:
        raise TransformError(f"the model takes a mask (B, H, W) of class indices, {target.key!r} is {_shape(mask)}")
    if tuple(mask.shape[-2:]) != ready.frame.source:
        raise TransformError(f"{target.key!r} is {_shape(mask)} beside an image of {ready.frame.source}")
    moved = ready.frame.nearest(mask if ready.batched else mask.unsqueeze(0)).to(torch.int64)
    return moved if target.ignore == IGNORE else torch.where(moved == IGNORE, target.ignore, moved)


_SIMPLE: dict[str, Callable[[Any, _Ask], Tensor]] = {"index": _index, "multihot": _multihot, "mask": _mask}


@dataclass(frozen=True)
class _Objects:
    """Objects of one image: boxes or corners in its pixels, its place in the batch."""

    place: int
    boxes: Tensor
    corners: Tensor | None
    labels: Tensor
    masks: Tensor | None
    size: tuple[int, int]


def _objects(target: Target, batch: Mapping[str, Any], ready: Ready) -> list[_Objects]:
    suffix = target.key.removeprefix("boxes").removeprefix("corners")
    kinds = {name: batch.get(f"{name}{suffix}") for name in ("boxes", "corners", "instances")}
    kinds["labels"] = batch.get(f"box_labels{suffix}")
    if not ready.batched:
        kinds = {name: None if value is None else [value] for name, value in kinds.items()}
    if kinds["labels"] is None:
        raise TransformError(f"{target.key!r} has no 'box_labels{suffix}' beside it; objects need their classes")
    count = len(ready.pixels)
    if any(value is not None and len(value) != count for value in kinds.values()):
        raise TransformError(
            f"{target.key!r} and 'box_labels{suffix}' are of different numbers of samples, or not of the image's {count}"
        )
    return [
        _one({name: None if value is None else value[i] for name, value in kinds.items()}, i, target, ready.frame)
        for i in range(count)
    ]


def _one(kinds: Mapping[str, Any], place: int, target: Target, frame: Frame) -> _Objects:
    labels, corners = kinds["labels"], None
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.ndim != 1:
        raise TransformError(f"the classes of the objects of an image must be (N,) whole numbers, got {_shape(labels)}")
    if target.form == "yolo-obb":
        corners = frame.points(_places(kinds["corners"], len(labels), (4, 2)))
        boxes = torch.cat([corners.amin(-2), corners.amax(-2)], dim=-1)
    else:
        boxes = frame.points(_places(kinds["boxes"], len(labels), (4,)).reshape(-1, 2, 2)).reshape(-1, 4)
    height, width = frame.shape
    limit = boxes.new_tensor([width, height, width, height])
    boxes = torch.minimum(boxes.clamp_min(0), limit)
    kept = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]) & (labels >= 0)
    masks = kinds["instances"]
    return _Objects(
        place,
        boxes[kept],
        None if corners is None else torch.minimum(corners.clamp_min(0), limit[:2])[kept],
        labels[kept].to(torch.int64) + target.first,
        None if masks is None else frame.nearest(masks[kept]).to(torch.uint8),
        frame.shape,
    )


def _places(value: Any, count: int, each: tuple[int, ...]) -> Tensor:
    empty = isinstance(value, Tensor) and not value.numel() and not count
    if not empty and (not isinstance(value, Tensor) or tuple(value.shape) != (count, *each)):
        raise TransformError(
            f"objects at {_shape(value)} and {count} classes in one image; their places must be {(count, *each)}"
        )
    if not torch.isfinite(value).all():
        raise TransformError("places of objects must be finite pixels, and some are not; take these objects out")
    places: Tensor = value.reshape(count, *each).to(torch.float32)
    return places


def _torchvision(found: _Objects) -> dict[str, Tensor]:
    out = {"boxes": found.boxes, "labels": found.labels}
    return out if found.masks is None else {**out, "masks": found.masks}


def _mmdet(found: _Objects) -> dict[str, Tensor]:
    out = {"bboxes": found.boxes, "labels": found.labels}
    return out if found.masks is None else {**out, "masks": found.masks}


def _coco(found: _Objects) -> dict[str, Any]:
    rows = []
    for (x0, y0, x1, y1), label in zip(found.boxes.tolist(), found.labels.tolist(), strict=True):
        w, h = x1 - x0, y1 - y0
        rows.append(
            {"image_id": found.place, "bbox": [x0, y0, w, h], "area": w * h, "category_id": label, "iscrowd": 0}
        )
    return {"image_id": found.place, "annotations": rows}


def _yolo(found: _Objects) -> Tensor:
    height, width = found.size
    x0, y0, x1, y1 = found.boxes.unbind(-1)
    parts = [found.labels.to(torch.float32), (x0 + x1) / 2 / width, (y0 + y1) / 2 / height]
    return torch.stack([*parts, (x1 - x0) / width, (y1 - y0) / height], dim=-1)


def _yolo_obb(found: _Objects) -> Tensor:
    height, width = found.size
    corners = found.corners if found.corners is not None else found.boxes.new_zeros(0, 4, 2)
    parts = corners / corners.new_tensor([width, height])
    return torch.cat([found.labels.to(torch.float32)[:, None], parts.reshape(-1, 8)], dim=-1)


_FORMS: dict[str, Callable[[_Objects], Any]] = {
    "torchvision": _torchvision,
    "coco": _coco,
    "yolo": _yolo,
    "yolo-obb": _yolo_obb,
    "mmdet": _mmdet,
}


def _shape(value: Any) -> str:
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
