"""The boxes of NWPU VHR-10, from one COCO file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from geodata.catalog import Catalog
from geodata.datasets.lists import pictures
from geodata.download import Source
from geodata.errors import CatalogError, NoFilesError
from geodata.fields.boxes import Objects
from geodata.spec import DatasetSpec

__all__ = ["FOLDER", "SOURCES", "TRAPS", "TREE", "boxes", "catalog", "labels_file"]

FOLDER = "NWPU VHR-10 dataset"
LABELS = "annotations.json"
TREE = f"""\
{FOLDER}/positive image set/001.jpg ... 650.jpg
{FOLDER}/negative image set/001.jpg ... 150.jpg
{FOLDER}/annotations.json, or annotations.json beside the folder"""

SOURCES = (
    Source(
        f"{FOLDER}.zip",
        (
            "https://hf.co/datasets/isaaccorley/vhr10/resolve/60ecc4be33609184e2224606858cd00b7daba8df/"
            "NWPU%20VHR-10%20dataset.zip",
        ),
        "sha256:3e8c0299bad6b5d2b4d4034095c3581f50a02bc0dcb97fca70f6ad739f7cbf53",
        "",
    ),
    Source(
        "annotations.json",
        ("https://hf.co/datasets/isaaccorley/vhr10/resolve/7e7968ad265dadc4494e0ca4a079e0b63dc6f3f8/annotations.json",),
        "sha256:dde27d9362d9c6aa358a1cab160c9e075e57405d3fe876de049973c6e6150f0e",
    ),
)

TRAPS = (
    "Positive and negative images have the same file names, 001.jpg and so on.",
    "Ids of the COCO file are the number in the file name less 1; images are found by file name here.",
    "The COCO file has 3,921 objects, the text files of the authors fewer.",
    "Polygons of the COCO file are not read.",
)

_PATTERN = rf"^{FOLDER}/(?P<item>(?P<split>positive|negative) image set/(?P<file>[^/]+\.jpg))$"

Found = dict[str, tuple[list[list[float]], list[str]]]


def labels_file(root: Path) -> str:
    """Return where the boxes are below a root: in the folder of the images, where they belong, or beside it."""
    beside = (root / LABELS).is_file() and not (root / FOLDER / LABELS).is_file()
    return LABELS if beside else f"{FOLDER}/{LABELS}"


def catalog(root: Path, spec: DatasetSpec, *, on_error: str, progress: bool) -> Catalog:
    """Make the catalog of all images with their boxes and names in columns; null without the file of boxes.

    Raises
    ------
    CatalogError
        If that file is none of COCO, or has a box without area or outside its image; it names image and box.
    NoFilesError
        If it lists images that are not there (``on_error="raise"``).
    """
    found = pictures(root, _PATTERN, on_error=on_error, progress=progress)
    path = root / labels_file(root)
    held = _read(path) if path.is_file() else None
    positive = [part == "positive" for part in found.column("split")]
    files = found.column("file").tolist()
    there = {file for file, marked in zip(files, positive, strict=True) if marked}
    missing = sorted(set(held or ()) - there)
    if missing and on_error == "raise":
        raise NoFilesError(
            f"{spec.title}: {len(missing)} of {len(held or ())} images in {path} are not below {root}, first {missing[0]}; "
            f"on_error='skip' takes what is there. Expected:\n{spec.tree}"
        )
    rows: list[Any] = [None] * len(found)
    if held is not None:
        rows = [held.get(file) if marked else ([], []) for file, marked in zip(files, positive, strict=True)]
        for file, row, (height, width) in zip(files, rows, found.shape.tolist(), strict=True):
            _check(row, height, width, f"{path}, image {file}")
    numbers = pa.array(
        [None if row is None else [v for box in row[0] for v in box] for row in rows], pa.list_(pa.float64())
    )
    names = pa.array([None if row is None else row[1] for row in rows], pa.list_(pa.string()))
    table = found.table.append_column("boxes", numbers).append_column("box_names", names)
    return replace(found, table=table, dropped=(*found.dropped, *(f"positive image set/{file}" for file in missing)))


def boxes(catalog: Catalog, row: int) -> Objects:
    """Return the boxes (N, 4) of a row and their classes."""
    numbers, names = (catalog.table[column][row].as_py() for column in ("boxes", "box_names"))
    if numbers is None:
        raise CatalogError(
            f"item {catalog.key[row]!r} has no boxes in {LABELS}; leave the boxes out with keys=['image']"
        )
    return np.array(numbers, dtype=np.float32).reshape(-1, 4), names


def _read(path: Path) -> Found:
    """Return the boxes x0, y0, x1, y1 and class names of each image by its file name."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        names = {each["id"]: str(each["name"]) for each in data["categories"]}
        files = {each["id"]: each["file_name"] for each in data["images"]}
        found: Found = {file: ([], []) for file in files.values()}
        for each in data["annotations"]:
            numbers, labels = found[files[each["image_id"]]]
            x, y, width, height = map(float, each["bbox"])
            numbers.append([x, y, x + width, y + height])
            labels.append(names[each["category_id"]])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CatalogError(f"{path} is no file of boxes as COCO has them: {error!r}; get it again") from None
    return found


def _check(row: tuple[list[list[float]], list[str]] | None, height: int, width: int, where: str) -> None:
    for box, name in zip(*(row or ([], [])), strict=True):
        x0, y0, x1, y1 = box
        shown = ", ".join(f"{value:g}" for value in box)
        if not (x1 > x0 and y1 > y0):
            raise CatalogError(f"{where}: the box ({shown}) of a {name} has no area")
        if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
            raise CatalogError(
                f"{where}: the box ({shown}) of a {name} is outside the image of {width} x {height} pixels (width x height)"
            )
