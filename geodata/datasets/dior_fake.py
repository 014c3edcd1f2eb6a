"""Look-alikes of DIOR: of the published tree and of the copy packed anew."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geodata.datasets.dior_table import ORIENTED, UPRIGHT
from geodata.datasets.fakes import pixels, write_image
from geodata.datasets.tables import classes

__all__ = ["SIDE", "turned_boxes", "write", "write_repacked"]

SIDE = 800
PARTS = ("train", "test", "val", "train")
SPELLED = {"expressway-service-area": "Expressway-Service-area", "expressway-toll-station": "Expressway-toll-station"}
_SIDES = ("left_top", "right_top", "right_bottom", "left_bottom")


def write(root: Path, items: int) -> None:
    """Write so many images with both kinds of boxes, of all three parts."""
    lists: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for i in range(items):
        part, name = _named(i)
        lists[part].append(name)
        folder = "JPEGImages-test" if part == "test" else "JPEGImages-trainval"
        write_image(root / folder / f"{name}.jpg", _picture(i))
        _write(root / UPRIGHT / f"{name}.xml", name, _upright(i))
        _write(root / ORIENTED / f"{name}.xml", name, _oriented(i))
    for part, names in lists.items():
        path = root / "ImageSets" / "Main" / f"{part}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{name}\n" for name in sorted(names)), encoding="utf-8")


def write_repacked(root: Path, items: int) -> None:
    """Write the copy packed anew: its table, other spelling of classes, no annotations of test images."""
    rows = []
    for i in range(items):
        part, name = _named(i)
        image = f"Images_{'test' if part == 'test' else 'trainval'}/{name}.jpg"
        label = "" if part == "test" else f"Annotations_trainval/{name}.xml"
        write_image(root / image, _picture(i))
        if label:
            _write(root / label, name, _upright(i).replace("-", "").lower())
        rows.append({"image_path": image, "label_path": label, "split": part})
    with (root / "sample_df.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, ["image_path", "label_path", "split"])
        table.writeheader()
        table.writerows(rows)


def turned_boxes(i: int) -> tuple[NDArray[np.int64], list[str]]:
    """Return corners (N, 4, 2) of the objects of an image, whole pixels, clockwise from the top left, and their classes."""
    draw = np.random.default_rng(i)
    names = classes("dior").names
    count = 1 + i % 5
    middle, half = draw.uniform(150, 650, (count, 1, 2)), draw.uniform(8, 70, (count, 1, 2))
    angle = draw.uniform(-0.4, 0.4, count)
    square = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    corners: NDArray[np.int64] = np.rint(middle + (square * half) @ turn).astype(np.int64)
    return corners, [names[(7 + 3 * i + k) % len(names)] for k in range(count)]


def _picture(i: int) -> NDArray[np.uint8]:
    """Return (3, 800, 800) pixels; 16 times the same, which is quicker to draw and to pack."""
    return np.tile(pixels((3, SIDE // 4, SIDE // 4), "uint8", 0, 255, i), (1, 4, 4))


def _named(i: int) -> tuple[str, str]:
    part = PARTS[i % len(PARTS)]
    return part, f"{11726 + i if part == 'test' else 1 + i:05d}"


def _upright(i: int) -> str:
    points, names = turned_boxes(i)
    boxes = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1).tolist()
    return "".join(
        f"<object><name>{SPELLED.get(name, name)}</name><pose>Unspecified</pose><bndbox>"
        + "".join(f"<{tag}>{value}</{tag}>" for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
        + "</bndbox></object>\n"
        for box, name in zip(boxes, names, strict=True)
    )


def _oriented(i: int) -> str:
    points, names = turned_boxes(i)
    return "".join(
        f"<object><type>robndbox</type><name>{SPELLED.get(name, name)}</name><pose>Unspecified</pose><truncated>0</truncated>"
        "<difficult>0</difficult><robndbox>"
        + "".join(f"<x_{s}>{x}</x_{s}><y_{s}>{y}</y_{s}>" for s, (x, y) in zip(_SIDES, corner, strict=True))
        + "</robndbox><angle>0</angle></object>\n"
        for corner, name in zip(points.tolist(), names, strict=True)
    )


def _write(path: Path, name: str, objects: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'<?xml version="1.0" encoding="UTF-8"?>\n<annotation><filename>{name}.jpg</filename>'
        "<source><database>Unknown</database></source>"
        f"<size><width>{SIDE}</width><height>{SIDE}</height><depth>3</depth></size><segmented>0</segmented>\n"
        f"{objects}</annotation>\n",
        encoding="utf-8",
    )
