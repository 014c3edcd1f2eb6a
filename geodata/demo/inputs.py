"""From what the user named to images, labels and classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geodata.datasets import RasterDataset, VectorDataset
from geodata.demo.archive import CLASSES, IMAGE_PATTERN, write_archive
from geodata.errors import NoFilesError, QueryError
from geodata.view.picture import PALETTE
from geodata.view.preview import VECTOR_SUFFIXES, bands_of, empty_bands

__all__ = ["Inputs", "Job", "open_inputs"]

MOST_CLASSES = 64
SCAN = 1024
"""Side of the blocks, in pixels, in which labels are searched for their values."""


@dataclass(frozen=True, slots=True)
class Job:
    """What `geodata demo` is asked to do.

    Parameters
    ----------
    out : folder for the results
    data : raster file or folder; a folder may hold ``images`` and ``labels``. None writes the look-alike archive.
    labels : vector file, or rasters of classes; None looks for ``labels`` in ``data``
    label : column of the vector file with the class; None tells inside from outside
    ignore : values of label rasters that mean "no label"; None is (0,), and is said
    pattern, sensor : for the image files, as in `RasterDataset`
    steps : int, training steps
    block : int or None, side of a block in pixels
    seed : int
    """

    out: Path
    data: Path | None = None
    labels: Path | None = None
    label: str | None = None
    ignore: tuple[int, ...] | None = None
    pattern: str | None = None
    sensor: str | None = None
    steps: int = 150
    block: int | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Inputs:
    """Images joined with labels.

    Parameters
    ----------
    images, joined : Dataset
    classes : name and colour of each class value, from 0 up without gaps
    ignore : label values that mean "no label"
    """

    images: Any
    joined: Any
    classes: dict[int, tuple[str, str]]
    ignore: tuple[int, ...]


def open_inputs(job: Job, say: Callable[[str], None]) -> Inputs:
    """Open the user's files, or write and open the look-alike archive.

    Raises
    ------
    NoFilesError
        If there are no labels.
    QueryError
        If the labels are no classes.
    """
    if job.data is None:
        return _look_alike(job)
    folder, labels = _find(job)
    images = RasterDataset(folder, pattern=job.pattern, sensor=job.sensor)
    empty = empty_bands(images)
    if empty:
        kept = [name for name in bands_of(images).names if name not in empty]
        say(f"left out {len(empty)} bands without one observed pixel: {', '.join(empty)}")
        images = RasterDataset(images.catalog, bands=kept)
    if labels.suffix.lower() in VECTOR_SUFFIXES:
        truth: Any = VectorDataset(labels, label=job.label)
        ignore: tuple[int, ...] = ()
        if job.label is None:
            inside = {0: ("elsewhere", "#c9b99a"), 1: (labels.stem, "#4477aa")}
            return Inputs(images, images & truth, inside, ignore)
    else:
        ignore = (0,) if job.ignore is None else job.ignore
        truth = RasterDataset(labels, categorical=True, ignore=ignore)
        if job.ignore is None:
            say("label 0 is taken to mean 'no label'; --ignore none trains on it")
    joined = images & truth
    return Inputs(images, joined, _classes(joined, truth.classes, ignore), ignore)


def _look_alike(job: Job) -> Inputs:
    name = "archive" if job.seed == 0 else f"archive-{job.seed}"
    root = write_archive(job.out / name, seed=job.seed)
    images = RasterDataset(root / "images", pattern=IMAGE_PATTERN, sensor="sentinel-2")
    labels = VectorDataset(root / "labels", label="landcover", classes=tuple(CLASSES))
    return Inputs(images, images & labels, dict(enumerate(CLASSES.items())), ())


def _find(job: Job) -> tuple[Path, Path]:
    """Return where the images and the labels are."""
    data = job.data or Path()
    folder = data / "images" if (data / "images").is_dir() else data
    labels = job.labels if job.labels is not None else data / "labels"
    if not labels.exists():
        raise NoFilesError(
            f"no labels: {labels} does not exist; give --labels with a vector file or rasters of classes, "
            "or put them into a folder 'labels' beside 'images'"
        )
    return folder, labels


def _classes(joined: Any, names: tuple[str, ...] | None, ignore: tuple[int, ...]) -> dict[int, tuple[str, str]]:
    """Name and colour of every class value from 0 to the highest one that occurs."""
    highest = len(names) - 1 if names else -1
    if not names:
        blocks = joined.tile(SCAN)
        highest = max(int(blocks[row]["mask"].max()) for row in range(len(blocks)))
    if highest < 1 or highest >= MOST_CLASSES:
        raise QueryError(
            f"the highest label value is {highest}; classes must be whole numbers from 0 to {MOST_CLASSES - 1}, at least two"
        )
    known = dict(enumerate(names or ()))
    used = [v for v in range(highest + 1) if v not in ignore]
    colours = dict(zip(used, PALETTE * (len(used) // len(PALETTE) + 1), strict=False))
    named = {v: known.get(v) or f"class {v}" for v in range(highest + 1)}
    return {v: ("no label" if v in ignore else named[v], colours.get(v, "#ffffff")) for v in range(highest + 1)}
