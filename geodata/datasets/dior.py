"""DIOR and DIOR-R: objects in aerial images, in horizontal and oriented boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from geodata.catalog import Catalog
from geodata.datasets import dior_table as table
from geodata.datasets.archive import ArchiveDataset, Common
from geodata.errors import CatalogError
from geodata.spec import DatasetSpec

__all__ = ["DIOR"]


class DIOR(ArchiveDataset):
    """DIOR: 23,463 aerial images of 800 x 800 pixels with 20 classes of objects; DIOR-R with oriented boxes.

    ``image`` (3, 800, 800), ``boxes`` (N, 4) and ``box_labels`` (N,); oriented: also ``corners`` (N, 4, 2), and ``boxes``
    are those around the corners. Annotations are read with the sample, not before. Two copies are read: the published tree,
    and one with a table ``sample_df.csv``, without oriented boxes and without boxes of test images.

    Parameters
    ----------
    root : folder with ``JPEGImages-trainval``... or with ``sample_df.csv``
    oriented : bool
        Read the boxes of DIOR-R.
    order : {"alphabetical", "mmrotate"} or 20 names
        Order of the classes, which the published weights do not agree in. Names count whatever their capitals and hyphens.
    common : as in `geodata.datasets.archive.Common`; splits are ``train``, ``val`` and ``test``

    Raises
    ------
    ReadError, CatalogError
        When a sample is read whose annotation is torn, declares entities, is missing, or has a box outside the image,
        without area or of another class; it names file, object and box.
    """

    spec = DatasetSpec(
        name="dior",
        title="DIOR",
        about="Objects of 20 classes in optical aerial images from Google Earth, all annotated. DIOR-R is the same images "
        "with oriented boxes.",
        contents=(table.IMAGE, table.UPRIGHT_BOXES),
        tree=table.TREE,
        home="https://doi.org/10.1016/j.isprsjprs.2019.11.023",
        licence="unknown",
        citation=table.CITATION,
        splits=("train", "val", "test"),
        watch=table.WATCH,
        sources=table.SOURCES,
        items=23_463,
        traps=table.TRAPS,
    )

    def __init__(
        self,
        root: str | Path,
        *,
        oriented: bool = False,
        order: str | Sequence[str] = "alphabetical",
        **common: Unpack[Common],
    ) -> None:
        names = table.ORDERS.get(order) if isinstance(order, str) else order
        if names is None:
            raise CatalogError(f"order={order!r} must be 'alphabetical', 'mmrotate' or the 20 names in order")
        ordered = table.OBJECTS.ordered(tuple(map(table.class_name, names)))
        if oriented and (common.get("download", False) or table.repacked(Path(root))):
            raise CatalogError(
                "this copy of DIOR holds horizontal boxes only; bring the published tree for oriented=True"
            )
        boxes = replace(table.TURNED_BOXES if oriented else table.UPRIGHT_BOXES, classes=ordered)
        if common.get("download", False) or table.repacked(Path(root)):
            boxes = replace(boxes, needs="")
        super().__init__(root, contents=(table.IMAGE, boxes), **common)

    @classmethod
    def index(cls, root: Path, *, on_error: str, progress: bool, **options: Any) -> Catalog:
        """Make the catalog from the lists and the headers of the images; no annotation is opened."""
        return table.catalog(root, cls.spec, on_error=on_error, progress=progress)

    @classmethod
    def fake(cls, root: Path, items: int = 4) -> None:
        """Write a look-alike of the published tree, with both kinds of boxes."""
        from geodata.datasets.dior_fake import write

        write(root, items)
