"""SSL4EO-S12: four dates of Sentinel-1 and Sentinel-2 at a quarter of a million places."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from geodata.catalog import Catalog
from geodata.datasets import ssl4eo_s12_table as table
from geodata.datasets.archive import ArchiveDataset, Common
from geodata.errors import CatalogError
from geodata.spec import DatasetSpec, Image

__all__ = ["SSL4EOS12"]


class SSL4EOS12(ArchiveDataset):
    """SSL4EO-S12: 251,079 places near cities, each at four dates, by Sentinel-2 (L1C and L2A) and Sentinel-1.

    ``image`` (C, 264, 264) of one date of a place: 13 bands of L1C, 12 of L2A, or VV and VH in dB. All bands start at the corner
    of those of 10 m, whatever their own headers say (see the traps). Columns ``location`` (the
    7-digit id) and ``scene``. Bands have the sensor's names: B01 is in the file B1.tif.

    All dates of a place are ``SSL4EOS12(root).series()``. L1C and L2A of a date have the same key::

        SSL4EOS12(root, "s2c").join(SSL4EOS12(root, "s2a", name="l2a"), on="key")

    Sentinel-1 saw a place on other days and lies on another grid; the column ``location`` tells what belongs together.

    Parameters
    ----------
    root : folder with the folder of the product
    product : {"s2c", "s2a", "s1"}
    common : as in `geodata.datasets.archive.Common`; there are no splits
    """

    spec = DatasetSpec(
        name="ssl4eo_s12",
        title="SSL4EO-S12",
        about="Images without labels for pre-training: 2.64 km around points near the 10,000 largest cities, in each season.",
        contents=(
            Image("image", "s2c", about="one date of a place", bands=table.BANDS["s2c"], shape=(table.SIDE, table.SIDE)),
        ),
        tree=table.TREE,
        home="https://github.com/zhu-xlab/SSL4EO-S12",
        licence="CC-BY-4.0",
        citation="Wang, Braham, Xiong, Liu, Albrecht, Zhu: SSL4EO-S12: A Large-Scale Multi-Modal, Multi-Temporal Dataset for "
        "Self-Supervised Learning in Earth Observation, 2022, arXiv:2211.07044",
        traps=table.TRAPS,
    )  # fmt: skip

    def __init__(self, root: str | Path, product: str = "s2c", **common: Unpack[Common]) -> None:
        if product not in table.BANDS:
            raise CatalogError(f"product={product!r} must be one of {', '.join(table.BANDS)}")
        (image,) = self.spec.contents
        contents = [replace(image, needs=product, bands=table.BANDS[product])]  # type: ignore[call-arg]  # an Image
        super().__init__(root, contents=contents, options={"product": product}, **common)

    @classmethod
    def index(cls, root: Path, *, on_error: str, progress: bool, **options: Any) -> Catalog:
        """Make the catalog from the names of all files and one header of each scene."""
        return table.catalog(root, on_error=on_error, progress=progress, **options)

    @classmethod
    def fake(cls, root: Path, items: int = 4) -> None:
        """Write a look-alike."""
        from geodata.datasets.ssl4eo_s12_fake import write

        write(root, items)
