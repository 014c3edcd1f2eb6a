"""What the benchmarks of SpectralEarth have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.datasets import spectral_tasks_table as table
from geodata.datasets.archive import ArchiveDataset, Common
from geodata.datasets.spectral_splits import check_asked, options
from geodata.fields import FieldDataset, MaskField
from geodata.fields.mask import Codes
from geodata.spec import Content

__all__ = ["Listed", "SpectralTask"]


class Listed(Codes):
    """Class numbers of which those that are not listed are of no class, as the benchmarks have it."""

    def apply(self, mask: NDArray[np.int64], seen: NDArray[np.bool_], name: str) -> None:
        """Turn stored numbers into classes in place; what is no class is not seen."""
        seen &= np.isin(mask, self.stored)
        super().apply(mask, seen, name)


class SpectralTask(ArchiveDataset):
    """A benchmark of SpectralEarth with a label raster for each patch.

    ``image`` (C, 128, 128) int16 as stored, ``mask`` (128, 128) of classes 0, 1, 2... in the order of the benchmark's list;
    0 and every code that is not listed are of no class. An image without a label raster is no item. Rows of the same
    ``location`` are the same ground.

    Parameters
    ----------
    root : folder with the folders of images and label rasters
    splits : folder with ``train.txt``, ``val.txt`` and ``test.txt`` of the authors' code, by default ``<root>/splits``
    common : as in `geodata.datasets.archive.Common`; splits are ``train``, ``val`` and ``test``
    """

    def __init__(
        self,
        root: str | Path,
        *,
        splits: str | Path | None = None,
        contents: Sequence[Content] | None = None,
        **common: Unpack[Common],
    ) -> None:
        folder = Path(root) / "splits" if splits is None else Path(splits)
        check_asked(common.get("split"), folder, ".txt", self.spec.title, table.ORIGIN)
        super().__init__(root, contents=contents, options=options(folder, ".txt"), **common)
        fields = [
            replace(f, codes=Listed(f.codes.stored, f.codes.classes)) if isinstance(f, MaskField) and f.codes else f
            for f in self._unnamed
        ]
        FieldDataset.__init__(self, self.catalog, fields, name=self.name, transforms=self.transforms)

    @classmethod
    def index(cls, root: Path, *, on_error: str, progress: bool, **options: Any) -> Catalog:
        """Make the catalog from the headers of images and label rasters."""
        return table.catalog(root, cls.spec, Path(options["splits"]), on_error=on_error, progress=progress)

    @classmethod
    def fake(cls, root: Path, items: int = 4) -> None:
        """Write a look-alike."""
        from geodata.datasets.spectral_earth_fake import write_task

        write_task(root, cls.spec, items)
