"""A look-alike of EuroSAT."""

from __future__ import annotations

from pathlib import Path

from affine import Affine

from geodata.datasets.eurosat_table import LISTS, TREES
from geodata.datasets.fakes import pixels, write_raster
from geodata.datasets.tables import classes

__all__ = ["write"]

PLACES = (
    (32635, 624602.23484, 4877286.03364, 10.00570688714736, -9.9940880999993524),
    (32630, 401230.5, 4650880.25, 9.97, -10.01),
)
"""Zone, upper left corner and pixel size: pixels are not exactly square."""  # fmt: skip
PARTS = {"random": ("train", "val", "test", "train"), "spatial": ("val", "train", "train", "test")}


def write(root: Path, items: int, tree: str = TREES[0]) -> None:
    """Write so many patches of alternating classes, and the lists of both splits."""
    lists: dict[str, list[str]] = {
        name.format(part): [] for name in LISTS.values() for part in ("train", "val", "test")
    }
    names = classes("eurosat").names
    for i in range(items):
        name = names[(3 * i) % len(names)]
        item = f"{name}_{i + 1}"
        epsg, left, top, width, height = PLACES[i % 2]
        corner = Affine(width, 0, left + 640 * i, 0, height, top)
        data = pixels((13, 64, 64), "uint16", 12, 6000, i)
        write_raster(root / tree / name / f"{item}.tif", data, corner, epsg, interleave="pixel")
        for scheme, parts in PARTS.items():
            lists[LISTS[scheme].format(parts[i % 4])].append(item)
    for file, held in lists.items():
        (root / file).write_text("".join(f"{item}.jpg\n" for item in held), encoding="utf-8")
