"""PCB-Vision: circuit boards as hyperspectral cubes and as photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

import numpy as np

from geodata.catalog import Catalog
from geodata.catalog.paths import resolve
from geodata.datasets import pcb_vision_table as table
from geodata.datasets.archive import ArchiveDataset, Common
from geodata.errors import CatalogError
from geodata.readers.envi import open_envi
from geodata.spec import DatasetSpec

__all__ = ["PCBVision"]


class PCBVision(ArchiveDataset):
    """PCB-Vision: 53 printed circuit boards, each as a cube of 224 bands and as a photograph.

    ``image`` (224, H, W), ``mask`` and ``mask_board`` (H, W) on one grid; ``image_rgb`` (3, h, w) and ``mask_rgb`` (h, w)
    on another, so that windows of an item need ``keys=("image", "mask", "mask_board")``. Bands are called 1 to 224, with
    wavelengths as far as the headers state them. Sizes differ between boards; nothing is clipped or resampled.

    Parameters
    ----------
    root : folder with ``HSI`` and ``RGB``
    masks : {"general", "monoseg"}
        Which of the two kinds of masks ``mask`` and ``mask_rgb`` are. Classes are others, IC, capacitor and connector; any
        number above 3 in a file is refused when it is read.
    common : as in `geodata.datasets.archive.Common`; splits are ``train``, ``val`` and ``test`` of the cubes
    """

    spec = DatasetSpec(
        name="pcb_vision",
        title="PCB-Vision",
        about="Printed circuit boards from electronic waste, by a hyperspectral camera (Specim FX10) and by a photo camera, "
        "with masks of their components.",
        contents=table.contents_of("general"),
        tree=table.TREE,
        home="https://doi.org/10.5281/zenodo.10617721",
        licence="unknown",
        citation="Arbash, Fuchs, Rasti, Lorenz, Ghamisi, Gloaguen: PCB-Vision: A Multiscene RGB-Hyperspectral Benchmark "
        "Dataset of Printed Circuit Boards, 2024, arXiv:2401.06528",
        needs=("HSI/pcb*",),
        listed=True,
        splits=("train", "val", "test"),
        items=53,
        traps=table.TRAPS,
    )

    def __init__(self, root: str | Path, *, masks: str = "general", **common: Unpack[Common]) -> None:
        if masks not in table.FOLDERS:
            raise CatalogError(f"masks={masks!r} must be one of {', '.join(table.FOLDERS)}")
        super().__init__(root, contents=table.contents_of(masks), **common)

    @classmethod
    def index(cls, root: Path, *, on_error: str, progress: bool, **options: Any) -> Catalog:
        """Make the catalog from the headers of cubes, masks and photographs."""
        return table.catalog(root, cls.spec, on_error=on_error)

    @classmethod
    def fake(cls, root: Path, items: int = 4) -> None:
        """Write a look-alike."""
        from geodata.datasets.pcb_vision_fake import write

        write(root, items)

    def out_of_range(self, row: int) -> int:
        """Return how many values of a row's cube, over all bands, are below 0 or above 1; they are kept as they are."""
        top, left = self.catalog.origin[row].tolist()
        height, width = self.catalog.shape[row].tolist()
        cube = open_envi(resolve(self.catalog.root, self.catalog.table["path_hsi"][row].as_py())).array("")
        lines = (np.asarray(cube[:, line, left : left + width]) for line in range(top, top + height))
        return sum(int(((line < 0) | (line > 1)).sum()) for line in lines)
