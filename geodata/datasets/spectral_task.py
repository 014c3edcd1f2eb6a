"""What the benchmarks of SpectralEarth have in common."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

from geodata.catalog import Catalog
from geodata.datasets import spectral_tasks_table as table
from geodata.datasets.archive import ArchiveDataset, Common
from geodata.spec import Content

__all__ = ["SpectralTask"]


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
        lists = None if splits is None else str(Path(splits).absolute() / "{}.txt")
        super().__init__(root, contents=contents, lists=lists, **common)

    @classmethod
    def index(cls, root: Path, *, on_error: str, progress: bool, **options: Any) -> Catalog:
        """Make the catalog from the headers of images and label rasters."""
        return table.catalog(root, cls.spec, options["lists"], on_error=on_error, progress=progress)

    @classmethod
    def fake(cls, root: Path, items: int = 4) -> None:
        """Write a look-alike."""
        from geodata.datasets.spectral_earth_fake import write_task

        write_task(root, cls.spec, items)
