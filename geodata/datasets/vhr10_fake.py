"""A look-alike of NWPU VHR-10."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from geodata.datasets.fakes import pixels, write_image
from geodata.datasets.tables import classes
from geodata.datasets.vhr10_table import FOLDER

__all__ = ["write"]


def write(root: Path, items: int) -> None:
    """Write so many images of different sizes, every fourth a negative one, and the boxes of the others."""
    names = classes("vhr10").names
    images: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    negative = 0
    for i in range(items):
        size = (120 + 7 * (i % 5), 150 - 11 * (i % 7))
        kind, number = "positive", len(images) + 1
        if i % 4 == 3:
            negative += 1
            kind, number = "negative", negative
        file = f"{number:03d}.jpg"
        write_image(root / FOLDER / f"{kind} image set" / file, pixels((3, *size), "uint8", 0, 255, i))
        if kind == "positive":
            images.append({"id": number - 1, "file_name": file, "height": size[0], "width": size[1]})
            objects += [
                {"id": len(objects) + k, **_object(i, k, size), "image_id": number - 1} for k in range(1 + i % 3)
            ]
    categories = [{"supercategory": None, "id": i, "name": name} for i, name in enumerate(names, 1)]
    data = {"info": {}, "licenses": [], "images": images, "annotations": objects, "categories": categories}
    (root / FOLDER / "annotations.json").write_text(json.dumps(data), encoding="utf-8")


def _object(i: int, k: int, size: tuple[int, int]) -> dict[str, Any]:
    draw = np.random.default_rng(100 * i + k)
    width, height = (int(v) for v in draw.integers(8, 40, 2))
    x, y = int(draw.integers(0, size[1] - width)), int(draw.integers(0, size[0] - height))
    outline = [x, y, x + width, y, x + width, y + height, x, y + height]
    return {
        "category_id": 1 + (3 * i + k) % 10,
        "segmentation": [outline],
        "area": float(width * height),
        "bbox": [float(x), float(y), float(width), float(height)],
        "iscrowd": 0,
    }
