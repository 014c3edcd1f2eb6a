"""The two copies of DIOR that people have, and their annotations."""

from __future__ import annotations

import csv
import math
import posixpath
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from geodata.catalog import Catalog
from geodata.catalog.arrow import text_array
from geodata.catalog.paths import resolve
from geodata.datasets.lists import RGB, parts_of, pictures, with_size, with_split
from geodata.datasets.roots import check_root
from geodata.datasets.safe_xml import parse_xml
from geodata.datasets.tables import classes
from geodata.download import Source
from geodata.errors import CatalogError, ReadError
from geodata.fields.boxes import Objects
from geodata.spec import Boxes, DatasetSpec, Image

__all__ = [
    "CITATION",
    "IMAGE",
    "OBJECTS",
    "ORDERS",
    "SOURCES",
    "TRAPS",
    "TREE",
    "TURNED_BOXES",
    "UPRIGHT",
    "UPRIGHT_BOXES",
    "WATCH",
    "catalog",
    "class_name",
    "corners",
    "repacked",
    "upright",
]

TREE = """\
JPEGImages-trainval/00001.jpg ... 11725.jpg
JPEGImages-test/11726.jpg ... 23463.jpg
Annotations/Horizontal Bounding Boxes/00001.xml ...
Annotations/Oriented Bounding Boxes/00001.xml ...
ImageSets/Main/{train,val,test}.txt
or the copy packed anew: sample_df.csv (image_path, label_path, split) and what it names"""

TRAPS = (
    "Two orders of the classes are in use: alphabetical, and that of mmrotate with dam after both expressway classes.",
    "Annotations spell Expressway-Service-area and Expressway-toll-station; the copy packed anew has neither capitals nor hyphens.",
    "The copy packed anew holds horizontal boxes only, and none of the test images.",
    "Whether horizontal boxes count pixels from 0 or 1 is not stated; they are given as they are stored.",
    "Of oriented boxes the 8 coordinates count; the angle beside them is 0.",
    "The mmrotate benchmark trains on train and val: split=('train', 'val').",
)

CITATION = (
    "Li, Wan, Cheng, Meng, Han: Object detection in optical remote sensing images: A survey and a new benchmark, 2020, "
    "arXiv:1909.00133"
)

_HOST = "https://hf.co/datasets/torchgeo/dior/resolve/ec7be9567d2e08eb3d3401c15a52ee2145d0ef01/"
SOURCES = (
    Source("Images_trainval.zip", (_HOST + "Images_trainval.zip",), "md5:070e9314120403e5c965d12fe5321cb0", ""),
    Source("Annotations_trainval.zip", (_HOST + "Annotations_trainval.zip",), "md5:90e045de37255c5919bbecf659b72c1a", ""),
    Source("Images_test.zip", (_HOST + "Images_test.zip",), "md5:97f3cbc86de0867624a6a34190c694ae", ""),
    Source("sample_df.csv", (_HOST + "sample_df.csv",)),
)  # fmt: skip

WATCH = ("[!.]*", "ImageSets/Main/*.txt")
"""What decides which rows there are; a folder of images is known by its time of change."""

UPRIGHT, ORIENTED = "Annotations/Horizontal Bounding Boxes", "Annotations/Oriented Bounding Boxes"
_TURN = tuple(f"{axis}_{side}" for side in ("left_top", "right_top", "right_bottom", "left_bottom") for axis in "xy")


def repacked(root: Path) -> bool:
    """Whether the copy below a root is the one with a table, not the published tree."""
    return (root / "sample_df.csv").is_file()


def catalog(root: Path, spec: DatasetSpec, *, on_error: str, progress: bool) -> Catalog:
    """Make the catalog of either copy, with the paths of annotations in columns ``upright`` and ``oriented``."""
    if repacked(root):
        return _of_table(root, spec, on_error=on_error, progress=progress)
    check_root(root, ("JPEGImages-*", *(f"ImageSets/Main/{part}.txt" for part in spec.splits)), spec)
    parts = parts_of(root, "ImageSets/Main/{}.txt", spec)
    found = pictures(root, r"^JPEGImages-\w+/(?P<item>[^/]+)\.jpg$", on_error=on_error, progress=progress)
    found = with_split(found, parts, spec, root, on_error=on_error)
    return _with(found, [f"{UPRIGHT}/{key}.xml" for key in found.key], [f"{ORIENTED}/{key}.xml" for key in found.key])


def _of_table(root: Path, spec: DatasetSpec, *, on_error: str, progress: bool) -> Catalog:
    path = root / "sample_df.csv"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        named = {_below(root, row["image_path"]): row for row in rows}
        labels = {image: _below(root, row["label_path"]) if row["label_path"] else None for image, row in named.items()}
        parts = {posixpath.splitext(posixpath.basename(image))[0]: row["split"] for image, row in named.items()}
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError, csv.Error) as error:
        raise CatalogError(f"{path} must be a table with image_path, label_path and split: {error!r}") from None
    wrong = sorted(set(parts.values()) - set(spec.splits))
    if wrong or len(parts) < len(named):
        what = f"a split {wrong[0]!r}, not {', '.join(spec.splits)}" if wrong else "two images with one name"
        raise CatalogError(f"{path} has {what}")
    found = pictures(root, r"(?:^|/)(?P<item>[^/]+)\.jpg$", on_error=on_error, progress=progress)
    found = found.take(np.flatnonzero([image in named for image in found.column("path")]))
    found = with_split(found, parts, spec, root, on_error=on_error)
    return _with(found, [labels[image] for image in found.column("path")], [None] * len(found))


def _below(root: Path, path: str) -> str:
    resolve(str(root), path)  # refuses what leads out of the root
    return posixpath.normpath(path)


def _with(found: Catalog, up: Sequence[str | None], turned: Sequence[str | None]) -> Catalog:
    table = found.table.append_column("upright", text_array(up)).append_column("oriented", text_array(turned))
    return with_size(replace(found, table=table))


# ---------------------------------------------------------------------- annotations

_CLASSES = {name.replace("-", ""): name for name in classes("dior").names}


def class_name(name: str) -> str:
    """Return a class as it is called here, whatever its capitals and hyphens; other names as they are."""
    return _CLASSES.get("".join(c for c in name.lower() if c.isalnum()), name)


def upright(catalog: Catalog, row: int) -> Objects:
    """Return the horizontal boxes (N, 4) of a row, xmin, ymin, xmax, ymax as stored, and their classes."""
    return _objects(catalog, row, "upright", "bndbox", ("xmin", "ymin", "xmax", "ymax"))


def corners(catalog: Catalog, row: int) -> Objects:
    """Return the oriented boxes (N, 4, 2) of a row, x, y clockwise from what the annotators call top left, and their classes."""
    points, names = _objects(catalog, row, "oriented", "robndbox", _TURN)
    return points.reshape(len(names), 4, 2), names


def _objects(catalog: Catalog, row: int, column: str, tag: str, numbers: tuple[str, ...]) -> Objects:
    href = catalog.table[column][row].as_py()
    if href is None:
        raise CatalogError(
            f"item {catalog.key[row]!r} has no annotation in this copy; take split='train' or 'val', or leave the boxes out "
            "with keys=['image']"
        )
    path = resolve(catalog.root, href)
    found = parse_xml(path)
    if found.tag != "annotation":
        raise ReadError(f"{path} is no annotation: its root element is {found.tag!r}")
    size = tuple(int(catalog.table[f"image_{side}"][row].as_py()) for side in ("width", "height"))
    rows, names = [], []
    for i, each in enumerate(found.findall("object"), 1):
        name = (each.findtext("name") or "").strip()
        where = f"{path}, object {i} ({name or 'without a name'})"
        rows.append(_numbers(each.find(tag), numbers, where, tag))
        _check(rows[-1], size, where)
        names.append(class_name(name))
        if names[-1] not in _CLASSES.values():
            raise ReadError(f"{where}: no such class; known are {', '.join(_CLASSES.values())}")
    return np.array(rows, dtype=np.float32).reshape(len(names), len(numbers)), names


def _numbers(box: Element | None, numbers: tuple[str, ...], where: str, tag: str) -> list[float]:
    if box is None:
        raise ReadError(f"{where} has no {tag}")
    texts = [box.findtext(number) for number in numbers]
    try:
        values = [float(text or "") for text in texts]
    except ValueError:
        values = [math.nan]
    if not all(map(math.isfinite, values)):
        raise ReadError(f"{where}: {tag} {dict(zip(numbers, texts, strict=True))} must be {len(numbers)} numbers")
    return values


def _check(values: list[float], size: tuple[int, ...], where: str) -> None:
    """Refuse a box without area or outside the image; corners of an oriented one may stick out, its middle not."""
    width, height = size
    xs, ys = values[0::2], values[1::2]
    if len(values) == 4:
        area = (xs[1] - xs[0]) * (ys[1] - ys[0]) if xs[1] > xs[0] and ys[1] > ys[0] else 0.0
        inside = min(*xs, *ys) >= 0 and max(xs) <= width and max(ys) <= height
    else:
        area = abs(sum(xs[i - 1] * ys[i] - xs[i] * ys[i - 1] for i in range(4))) / 2
        inside = 0 <= sum(xs) / 4 <= width and 0 <= sum(ys) / 4 <= height
    shown = ", ".join(f"{v:g}" for v in values)
    if not area:
        raise ReadError(f"{where}: the box ({shown}) has no area; correct the annotation, or leave the item out")
    if not inside:
        raise ReadError(
            f"{where}: the box ({shown}) is outside the image of {width} x {height} pixels (width x height)"
        )


OBJECTS = classes("dior")
ORDERS = {
    "alphabetical": OBJECTS.names,
    "mmrotate": (*OBJECTS.names[:6], *OBJECTS.names[7:9], "dam", *OBJECTS.names[9:]),
}
IMAGE = Image("image", about="red, green, blue", bands=RGB, shape=(800, 800))
UPRIGHT_BOXES = Boxes("boxes", UPRIGHT, about="horizontal boxes", read=upright, classes=OBJECTS)
TURNED_BOXES = Boxes("boxes", ORIENTED, "", "oriented boxes, with their corners", corners, OBJECTS, oriented=True)
