"""NWPU VHR-10: objects of ten classes in aerial images of very high resolution."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from geodata.catalog import Catalog
from geodata.datasets import vhr10_table as table
from geodata.datasets.archive import ArchiveDataset, Common
from geodata.datasets.lists import RGB
from geodata.datasets.tables import classes
from geodata.spec import Boxes, DatasetSpec, Image

__all__ = ["VHR10"]

IMAGE = Image("image", f"{table.FOLDER}/* image set", about="red, green, blue; sizes differ", bands=RGB)
BOXES = Boxes(
    "boxes", f"{table.FOLDER}/annotations.json", about="horizontal boxes; none in negative images",
    read=table.boxes, classes=classes("vhr10"),
)  # fmt: skip


class VHR10(ArchiveDataset):
    """NWPU VHR-10: 650 aerial images with 3,921 objects of ten classes, and 150 images without any.

    ``image`` (3, H, W), ``boxes`` (N, 4) and ``box_labels`` (N,); N is 0 in negative images. Sizes differ between images.

    Parameters
    ----------
    root : folder with ``NWPU VHR-10 dataset``; ``annotations.json`` in it or beside it
    common : as in `geodata.datasets.archive.Common`; splits are ``positive`` and ``negative``, which are no parts to train
        and test on

    Raises
    ------
    CatalogError
        If a box has no area, is outside its image or of another class.
    """

    spec = DatasetSpec(
        name="vhr10",
        title="NWPU VHR-10",
        about="Images from Google Earth and of Vaihingen, with boxes by the authors and outlines by others, who published "
        "both as COCO annotations.",
        contents=(IMAGE, BOXES),
        tree=table.TREE,
        home="https://doi.org/10.1016/j.isprsjprs.2014.10.002",
        licence="unknown",
        citation="Cheng, Han, Zhou, Guo: Multi-class geospatial object detection and geographic image classification based on "
        "collection of part detectors, ISPRS Journal of Photogrammetry and Remote Sensing 98, 2014; annotations: Su et al., "
        "IGARSS 2019, doi:10.1109/IGARSS.2019.8898573",
        splits=("positive", "negative"),
        watch=("annotations.json", f"{table.FOLDER}/annotations.json"),
        sources=table.SOURCES,
        items=800,
        traps=table.TRAPS,
    )

    def __init__(self, root: str | Path, **common: Unpack[Common]) -> None:
        download = common.get("download", False)
        labels = "" if download else table.labels_file(Path(root))
        super().__init__(root, contents=(IMAGE, replace(BOXES, needs=labels)), **common)

    @classmethod
    def index(cls, root: Path, *, on_error: str, progress: bool, **options: Any) -> Catalog:
        """Make the catalog from the headers of the images and the file of boxes."""
        return table.catalog(root, cls.spec, on_error=on_error, progress=progress)

    @classmethod
    def fake(cls, root: Path, items: int = 4) -> None:
        """Write a look-alike; every fourth image is a negative one."""
        from geodata.datasets.vhr10_fake import write

        write(root, items)
