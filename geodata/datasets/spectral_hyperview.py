"""HyperView: soil parameters of fields from airborne hyperspectral patches."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

from geodata.catalog import Catalog
from geodata.datasets import spectral_hyperview_table as table
from geodata.datasets.archive import ArchiveDataset, Common
from geodata.spec import Classes, DatasetSpec, Image, Label, Mask

__all__ = ["HyperView"]


class HyperView(ArchiveDataset):
    """HyperView: patches of fields in 150 bands, with phosphorus, potassium, magnesium and pH of the soil.

    ``image`` (150, H, W) of varying size as stored, without a place on earth; ``mask`` (H, W), 0 in the field, ignored where
    pixels are not of it; ``label`` (4,) float32 P, K, Mg, pH as in the authors' tables, which are scaled.

    Parameters
    ----------
    root : folder with the folder ``images``
    splits : folder with ``train.csv`` and ``val.csv`` of the authors' code, by default ``<root>/splits``
        Images that they do not list have no label: leave it out with ``keys=("image", "mask")``.
    common : as in `geodata.datasets.archive.Common`; splits are ``train`` and ``val``
    """

    spec = DatasetSpec(
        name="hyperview",
        title="HyperView",
        about="Soil parameters of fields from hyperspectral patches, as the SpectralEarth benchmarks split them.",
        contents=(
            Image("image", "images", "", "150 bands as stored", table.BANDS),
            Mask("mask", "images", "", "what is field", "outside", Classes(("field",), (), {0: 0, 1: -1})),
            Label("label", about="P, K, Mg and pH, scaled", columns=table.TARGETS),
        ),
        tree="images/<number>.npz    # arrays data and mask\nsplits/{train,val}.csv    # data/splits/hyperview of github.com/AABNassim/spectral_earth; or elsewhere, with splits=",
        home="https://platform.ai4eo.eu/seeing-beyond-the-visible-permanent/data",
        licence="unknown",
        citation="AI4EO HYPERVIEW challenge: Seeing Beyond the Visible, 2022",
        splits=("train", "val"),
        lists="splits/{}.csv",
        items=1732,
        traps=(
            "Files are masked arrays: beside data there is mask, true where a pixel is not of the field. Means over all of data "
            "take in other fields.",
            "P, K, Mg and pH of the tables of SpectralEarth are scaled around 0; no table says how.",
            "Patches have many sizes.",
        ),
    )

    def __init__(self, root: str | Path, *, splits: str | Path | None = None, **common: Unpack[Common]) -> None:
        lists = None if splits is None else str(Path(splits).absolute() / "{}.csv")
        super().__init__(root, lists=lists, **common)

    @classmethod
    def index(cls, root: Path, *, on_error: str, progress: bool, **options: Any) -> Catalog:
        """Make the catalog from the sizes of all arrays and the tables of labels."""
        return table.catalog(root, cls.spec, options["lists"], on_error=on_error)

    @classmethod
    def fake(cls, root: Path, items: int = 4) -> None:
        """Write a look-alike."""
        from geodata.datasets.spectral_hyperview_fake import write

        write(root, items)
