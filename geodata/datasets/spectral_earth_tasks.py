"""The benchmarks of SpectralEarth: crops, land cover and trees, from three sensors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from geodata.catalog import Catalog
from geodata.datasets import spectral_tasks_table as table
from geodata.datasets.archive import Common
from geodata.datasets.spectral_task import SpectralTask
from geodata.datasets.tables import classes
from geodata.errors import CatalogError
from geodata.spec import Label, Mask

__all__ = ["DESISCDL", "EO1CDL", "EnMAPBDForet", "EnMAPBNETD", "EnMAPCDL", "EnMAPCorine", "EnMAPEuroCrops", "EnMAPNLCD",
           "EnMAPTreeMap", "SpectralTask"]  # fmt: skip


class EnMAPCDL(SpectralTask):
    """14 crops of the United States, ``image`` (202, 128, 128); the rest as in `SpectralTask`."""

    spec = table.spec_of("enmap_cdl")


class EnMAPNLCD(SpectralTask):
    """15 land covers of the United States, ``image`` (202, 128, 128); the rest as in `SpectralTask`."""

    spec = table.spec_of("enmap_nlcd")


class EnMAPEuroCrops(SpectralTask):
    """15 crops of Europe, ``image`` (202, 128, 128), codes beyond 32 bits; the rest as in `SpectralTask`."""

    spec = table.spec_of("enmap_eurocrops")


class EnMAPBDForet(SpectralTask):
    """12 tree species of France, ``image`` (202, 128, 128), classes called by code; the rest as in `SpectralTask`."""

    spec = table.spec_of("enmap_bdforet")


class EnMAPTreeMap(SpectralTask):
    """24 forest types of the United States, ``image`` (202, 128, 128); the rest as in `SpectralTask`."""

    spec = table.spec_of("enmap_treemap")


class EnMAPBNETD(SpectralTask):
    """10 land covers of Ivory Coast, ``image`` (202, 128, 128), classes called by code; the rest as in `SpectralTask`."""

    spec = table.spec_of("enmap_bnetd")


class DESISCDL(SpectralTask):
    """14 crops of the United States seen by DESIS, ``image`` (235, 128, 128); the rest as in `SpectralTask`."""

    spec = table.spec_of("desis_cdl")


class EO1CDL(SpectralTask):
    """14 crops of the United States seen by Hyperion, ``image`` (198, 128, 128); the rest as in `SpectralTask`."""

    spec = table.spec_of("eo1_cdl")


class EnMAPCorine(SpectralTask):
    """Land cover of Europe: ``image`` (202, 128, 128), ``mask`` and ``label`` (19,) or (43,) multi-hot, of what the mask holds.

    Parameters
    ----------
    root, splits, common : as in `SpectralTask`
    nomenclature : {19, 43}
        Classes of BigEarthNet-19, or of CORINE level 3 without glaciers.
    """

    spec = table.spec_of("enmap_corine")

    def __init__(
        self,
        root: str | Path,
        *,
        nomenclature: int = 19,
        splits: str | Path | None = None,
        **common: Unpack[Common],
    ) -> None:
        if nomenclature not in (19, 43):
            raise CatalogError(f"nomenclature={nomenclature!r} must be 19 or 43, the number of classes")
        image, mask, label = self.spec.contents
        if nomenclature == 43 and isinstance(mask, Mask) and isinstance(label, Label):
            all_43 = replace(classes("clc43"), unlisted="ignore")
            mask, label = replace(mask, classes=all_43), replace(label, columns=("labels_43",), classes=all_43)
        super().__init__(root, splits=splits, contents=(image, mask, label), **common)

    @classmethod
    def index(cls, root: Path, *, on_error: str, progress: bool, **options: Any) -> Catalog:
        """Make the catalog from the headers of images, and from the pixels of label rasters."""
        found = super().index(root, on_error=on_error, progress=progress, **options)
        for column, name in (("labels", "clc19"), ("labels_43", "clc43")):
            held = table.present(replace(found, root=str(root.absolute())), "corine", classes(name))
            found = replace(found, table=found.table.append_column(column, held))
        return found
