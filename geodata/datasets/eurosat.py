"""EuroSAT: Sentinel-2 patches with one kind of land use each."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Unpack

from geodata.catalog import Catalog
from geodata.datasets import eurosat_table as table
from geodata.datasets.archive import ArchiveDataset, Common
from geodata.datasets.lists import parts_of, with_split
from geodata.datasets.roots import check_root
from geodata.datasets.tables import classes
from geodata.errors import CatalogError
from geodata.spec import DatasetSpec, Image, Label

__all__ = ["EuroSAT"]


class EuroSAT(ArchiveDataset):
    """EuroSAT: 27,000 patches of 64 x 64 pixels of Sentinel-2 level 1C, with one of 10 kinds of land use each.

    ``image`` (13, 64, 64), stored as uint16, ``label`` () int64. Each patch keeps the georeference of its own file.

    Parameters
    ----------
    root : folder with ``EuroSAT_MS`` or, of the older archive, ``ds``; and with the lists of the split
    split_scheme : {"random", "spatial"}
        Which of two splits that others published ``split`` is of.
    common : as in `geodata.datasets.archive.Common`; splits are ``train``, ``val`` and ``test``

    Raises
    ------
    NoFilesError
        If a split is asked for and its list is not there; ``split=None`` needs none.
    """

    spec = DatasetSpec(
        name="eurosat",
        title="EuroSAT (multispectral)",
        about="Patches of Sentinel-2 images over Europe, of ten kinds of land use and land cover.",
        contents=(
            Image("image", about="Sentinel-2 L1C, digital numbers", bands=table.S2, shape=(64, 64)),
            Label("label", about="the folder it is in", columns=("category",), classes=classes("eurosat")),
        ),
        tree=table.TREE,
        home="https://doi.org/10.5281/zenodo.7711810",
        licence="MIT",
        citation="Helber, Bischke, Dengel, Borth: EuroSAT: A Novel Dataset and Deep Learning Benchmark for Land Use and Land "
        "Cover Classification, 2019, arXiv:1709.00029",
        splits=("train", "val", "test"),
        watch=tuple(f"{tree}/*" for tree in table.TREES),
        sources=table.SOURCES,
        items=27_000,
        traps=table.TRAPS,
    )

    def __init__(self, root: str | Path, *, split_scheme: str = "random", **common: Unpack[Common]) -> None:
        if split_scheme not in table.LISTS:
            raise CatalogError(f"split_scheme={split_scheme!r} must be one of {', '.join(table.LISTS)}")
        super().__init__(root, lists=table.LISTS[split_scheme], **common)

    @classmethod
    def index(cls, root: Path, *, on_error: str, progress: bool, **options: Any) -> Catalog:
        """Make the catalog from the headers of the patches and the lists of the split that are there."""
        tree = next((tree for tree in table.TREES if (root / tree).is_dir()), None)
        if tree is None:
            check_root(root, table.TREES[:1], cls.spec)
        found = Catalog.scan(
            root,
            pattern=rf"^{re.escape(str(tree))}/(?P<category>[^/]+)/(?P<item>[^/]+)\.tif$",
            band_names=table.S2.names,
            bands=table.S2,
            on_error=on_error,
            progress=progress,
        )
        parts = parts_of(root, options["lists"], cls.spec)
        return with_split(found, parts, cls.spec, root, on_error=on_error)

    @classmethod
    def fake(cls, root: Path, items: int = 4) -> None:
        """Write a look-alike of the newer archive, with the lists of both splits."""
        from geodata.datasets.eurosat_fake import write

        write(root, items)
