"""NWPU VHR-10: objects of ten classes in aerial images of very high resolution."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from geodata.catalog import Catalog
from geodata.datasets import vhr10_table as table
from geodata.datasets.archive import ArchiveDataset, Common
from geodata.datasets.lists import RGB, seen
from geodata.datasets.tables import classes
from geodata.download import Source
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
        sources=(
            Source(
                f"{table.FOLDER}.zip",
                (
                    "https://hf.co/datasets/isaaccorley/vhr10/resolve/60ecc4be33609184e2224606858cd00b7daba8df/"
                    "NWPU%20VHR-10%20dataset.zip",
                ),
                "sha256:3e8c0299bad6b5d2b4d4034095c3581f50a02bc0dcb97fca70f6ad739f7cbf53",
                "",
            ),
            Source(
                "annotations.json",
                (
                    "https://hf.co/datasets/isaaccorley/vhr10/resolve/7e7968ad265dadc4494e0ca4a079e0b63dc6f3f8/"
                    "annotations.json",
                ),
                "sha256:dde27d9362d9c6aa358a1cab160c9e075e57405d3fe876de049973c6e6150f0e",
            ),
        ),
        items=800,
        traps=(
            "Positive and negative images have the same file names, 001.jpg and so on.",
            "Ids of the COCO file are the number in the file name less 1; images are found by file name here.",
            "The COCO file has 3,921 objects, the text files of the authors fewer.",
            "Polygons of the COCO file are not read.",
        ),
    )

    def __init__(self, root: str | Path, **common: Unpack[Common]) -> None:
        if common.get("download", False):
            self.download(root, progress=common.get("progress", True))
        labels = table.labels_file(Path(root))
        contents = (IMAGE, replace(BOXES, needs=labels))
        super().__init__(root, contents=contents, options={"labels": seen(Path(root), [labels])}, **common)

    @classmethod
    def index(cls, root: Path, *, on_error: str, progress: bool, **options: Any) -> Catalog:
        """Make the catalog from the headers of the images and the file of boxes."""
        return table.catalog(root, cls.spec, on_error=on_error, progress=progress)

    @classmethod
    def fake(cls, root: Path, items: int = 4) -> None:
        """Write a look-alike; every fourth image is a negative one."""
        from geodata.datasets.vhr10_fake import write

        write(root, items)
