"""SpectralEarth: hyperspectral patches of EnMAP, many of them at several dates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.datasets.archive import ArchiveDataset
from geodata.datasets.enmap_table import valid_bands, with_nodata
from geodata.datasets.spectral_earth_table import CITATION, HOME, LICENCE, TRAPS, numbers_in
from geodata.spec import DatasetSpec, Image

__all__ = ["SpectralEarth"]


class SpectralEarth(ArchiveDataset):
    """SpectralEarth: patches of 3.84 km from EnMAP, of places all over the world, at one or more dates.

    ``image`` (202, 128, 128) of reflectance times 10,000. Column ``location`` is the place of a patch: rows of the same place
    are the same ground at other dates, ``ds.series(by="location")`` makes one item of them. The archive names scenes, not
    dates, so the time of a row is not known.

    Parameters
    ----------
    root : folder with the folder ``enmap``
    common : as in `geodata.datasets.archive.Common`; it has no split of its own
    """

    spec = DatasetSpec(
        name="spectral_earth",
        title="SpectralEarth",
        about="Hyperspectral patches of EnMAP level 2A for pre-training, with several dates of many places.",
        contents=(Image("image", "enmap", "", "EnMAP L2A, reflectance x 10,000", valid_bands(), (128, 128)),),
        tree="enmap/<location, 7 digits>/<scene, 5 digits>.tif",
        home=HOME,
        licence=LICENCE,
        citation=CITATION,
        traps=TRAPS,
    )

    @classmethod
    def index(cls, root: Path, *, on_error: str, progress: bool, **options: Any) -> Catalog:
        """Make the catalog from the headers of all patches."""
        catalog = Catalog.scan(
            root,
            pattern=r"^enmap/(?P<item>(?P<location>\d+)/(?P<scene>\d+))\.tiff?$",
            band_names=valid_bands().names,
            bands=valid_bands(),
            on_error=on_error,
            progress=progress,
        )
        return replace(catalog, assets=tuple(map(with_nodata, catalog.assets)))

    @classmethod
    def fake(cls, root: Path, items: int = 4) -> None:
        """Write a look-alike."""
        from geodata.datasets.spectral_earth_fake import write_patches

        write_patches(root / "enmap", valid_bands(), items)

    @staticmethod
    def statistics(folder: str | Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and standard deviation of each band, as stored values, from the authors' ``mu.npy`` and ``sigma.npy``.

        Parameters
        ----------
        folder : ``data/statistics`` of the authors' code

        Returns
        -------
        mu, sigma : (202,) float32

        Raises
        ------
        ReadError
            If a file is not there or holds anything but 202 numbers.
        """
        mu, sigma = (numbers_in(Path(folder) / f"{name}.npy") for name in ("mu", "sigma"))
        return mu, sigma
