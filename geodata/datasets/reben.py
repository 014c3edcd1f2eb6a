"""reBEN, the second version of BigEarthNet: Sentinel-2 and Sentinel-1 patches with land cover."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from geodata.catalog import Catalog
from geodata.datasets import reben_table
from geodata.datasets.archive import ArchiveDataset, Common
from geodata.datasets.reben_table import LANDCOVER
from geodata.errors import CatalogError
from geodata.spec import DatasetSpec, Label, Mask

__all__ = ["BigEarthNetV2", "ReBEN"]


class ReBEN(ArchiveDataset):
    """reBEN (BigEarthNet v2.0): 549,488 patches of 1.2 km in ten countries of Europe, 2017-2018.

    ``image`` (12, 120, 120) of Sentinel-2 L2A, ``image_s1`` (2, 120, 120) of Sentinel-1 in dB, ``mask`` (120, 120) of 19
    classes, ``label`` (19,) multi-hot. The mask counts as a band, ``"reference_map"``: with ``bands=`` it is read only if named.

    Parameters
    ----------
    root : folder with ``metadata.parquet`` and the folders of what is read
    order : {"official", "alphabetical"} or 19 names
        Order of the classes of label and mask. Published weights use either.
    excluded : bool
        Take in the 69,450 patches with seasonal snow, cloud or shadow, which the authors leave out.
    lmdb : folder below the root with the images as rico-hdl packs them (``data.mdb``), or None for the published GeoTIFFs
    common : as in `geodata.datasets.archive.Common`; splits are ``train``, ``validation`` and ``test``
    """

    spec = DatasetSpec(
        name="reben",
        title="reBEN (BigEarthNet v2.0)",
        about="Pairs of Sentinel-1 and Sentinel-2 patches with multi-labels and pixel-wise land cover from CORINE 2018, "
        "split by place: the three parts of a tile are nested frames.",
        contents=reben_table.CONTENTS,
        tree=reben_table.TREE,
        home="https://doi.org/10.5281/zenodo.10891137",
        licence="CDLA-Permissive-1.0",
        citation="Clasen, Hackel, Burgert, Sumbul, Demir, Markl: reBEN: Refined BigEarthNet Dataset for Remote Sensing Image "
        "Analysis, 2024, arXiv:2407.03653",
        needs=("metadata.parquet",),
        listed=True,
        splits=("train", "validation", "test"),
        sources=reben_table.SOURCES,
        items=480_038,
        traps=reben_table.TRAPS,
    )

    def __init__(
        self,
        root: str | Path,
        *,
        order: str | tuple[str, ...] = "official",
        excluded: bool = False,
        lmdb: str | None = None,
        **common: Unpack[Common],
    ) -> None:
        names = reben_table.ORDERS.get(order) if isinstance(order, str) else order
        if names is None:
            raise CatalogError(f"order={order!r} must be 'official', 'alphabetical' or the 19 names in order")
        ordered = LANDCOVER.ordered(tuple(names))
        contents = [replace(c, classes=ordered) if isinstance(c, (Label, Mask)) else c for c in self.spec.contents]
        if lmdb is not None:
            contents = [replace(c, needs=lmdb if c.needs else "", folders="") for c in contents]
        super().__init__(root, contents=contents, options={"excluded": excluded, "lmdb": lmdb}, **common)

    @classmethod
    def index(cls, root: Path, *, on_error: str, progress: bool, **options: Any) -> Catalog:
        """Make the catalog from the tables alone; no image is touched."""
        return reben_table.catalog(root, **options)

    @classmethod
    def fake(cls, root: Path, items: int = 4) -> None:
        """Write a look-alike."""
        from geodata.datasets.reben_fake import write

        write(root, items)


BigEarthNetV2 = ReBEN
