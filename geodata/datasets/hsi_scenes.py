"""Hyperspectral scenes with one labelled map each, on which classifiers of pixels are compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from geodata.bands import Bands
from geodata.catalog import Catalog
from geodata.datasets import hsi_scenes_table as table
from geodata.datasets.archive import ArchiveDataset
from geodata.datasets.tables import classes
from geodata.spec import DatasetSpec, Image, Mask

__all__ = ["IndianPines", "PaviaCentre", "PaviaUniversity", "Salinas"]


class _Scene(ArchiveDataset):
    """A cube and its map in two .mat files, called as the Computational Intelligence Group (EHU) calls them."""

    files: ClassVar[table.Files]

    @classmethod
    def index(cls, root: Path, *, on_error: str, progress: bool, **options: Any) -> Catalog:
        """Make the catalog of the one scene."""
        return table.catalog(root, cls.files, cls.spec)

    @classmethod
    def fake(cls, root: Path, items: int = 4) -> None:
        """Write a look-alike."""
        from geodata.datasets.hsi_scenes_fake import write

        write(root, cls.files, cls.spec)


def _spec(name: str, title: str, about: str, files: table.Files, channels: int, shape: tuple[int, int]) -> DatasetSpec:
    bands = Bands(map(str, range(1, channels + 1)))
    labels = classes(name)
    return DatasetSpec(
        name=name,
        title=title,
        about=about,
        contents=(
            Image("image", files.cube, about="the cube, as stored", bands=bands, shape=shape),
            Mask("mask", files.truth, about="classes; none where undefined", band="gt", classes=labels),
        ),
        tree=f"<root>/\n  {files.cube}\n  {files.truth}",
        home=table.HOME,
        licence="unknown",
        citation=table.CITATION,
        sources=files.sources,
        items=1,
        traps=table.TRAPS,
    )


class IndianPines(_Scene):
    """Indian Pines: 145 x 145 pixels of AVIRIS, 200 channels after correction, 16 classes.

    ``image`` (200, 145, 145), ``mask`` (145, 145) with classes 0 to 15, and ``ignore_index`` where none is defined (stored:
    1 to 16, and 0). Channels are called by their place in the corrected cube; no file says their wavelengths.
    """

    files = table.INDIAN_PINES
    spec = _spec("indian_pines", "Indian Pines", "Farmland seen by AVIRIS, 16 classes.", files, 200, (145, 145))


class PaviaUniversity(_Scene):
    """Pavia University: 610 x 340 pixels of ROSIS, 103 channels, 9 classes.

    ``image`` (103, 610, 340), ``mask`` (610, 340) with classes 0 to 8, and ``ignore_index`` where none is defined (stored:
    1 to 9, and 0).
    """

    files = table.PAVIA_UNIVERSITY
    spec = _spec("pavia_university", "Pavia University", "A campus seen by ROSIS, 9 classes.", files, 103, (610, 340))


class PaviaCentre(_Scene):
    """Pavia Centre: 1096 x 715 pixels of ROSIS, 102 channels, 9 classes, which are not those of Pavia University.

    ``image`` (102, 1096, 715), ``mask`` (1096, 715) with classes 0 to 8, and ``ignore_index`` where none is defined
    (stored: 1 to 9, and 0).
    """

    files = table.PAVIA_CENTRE
    spec = _spec("pavia_centre", "Pavia Centre", "A town seen by ROSIS, 9 classes.", files, 102, (1096, 715))


class Salinas(_Scene):
    """Salinas: 512 x 217 pixels of AVIRIS, 204 channels after correction, 16 classes.

    ``image`` (204, 512, 217), ``mask`` (512, 217) with classes 0 to 15, and ``ignore_index`` where none is defined (stored:
    1 to 16, and 0). Channels as in `IndianPines`.
    """

    files = table.SALINAS
    spec = _spec("salinas", "Salinas", "Vegetables and vineyards seen by AVIRIS, 16 classes.", files, 204, (512, 217))
