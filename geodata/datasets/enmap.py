"""Plain products of EnMAP, level 2A."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from geodata.catalog import Catalog
from geodata.datasets import enmap_products as products
from geodata.datasets.archive import ArchiveDataset, Common
from geodata.datasets.enmap_table import QUALITY_IMAGE
from geodata.spec import DatasetSpec, Image

__all__ = ["EnMAP"]


class EnMAP(ArchiveDataset):
    """EnMAP level 2A scenes: surface reflectance times 10,000 in 224 bands of 30 m, about 30 km a side.

    ``image`` (202, H, W); 91 bands of the first spectrometer, then those of the second, which overlap from 902 to 993 nm: the
    wavelengths go back at band 92. Left out are 127-141 and 161-167, in the absorption of water vapour: all or some of them
    hold no value. With ``quality=True`` also ``image_quality`` (7, H, W) as in `HySpecNet11k`. Wavelengths are from the
    ``METADATA.XML`` beside each scene, nominal where there is none.

    Parameters
    ----------
    root : folder with extracted products, at any depth
    all_bands : bool
        Offer all 224 bands. A pixel is valid where every band that is read holds a value: name with ``bands=`` those that do.
    quality : bool
        Read the quality layers too.
    common : as in `geodata.datasets.archive.Common`; it has no split of its own
    """

    spec = DatasetSpec(
        name="enmap",
        title="EnMAP L2A",
        about="Scenes of the hyperspectral satellite EnMAP, atmospherically corrected, as the mission delivers them.",
        contents=(Image("image", "**/ENMAP*L2A*-SPECTRAL_IMAGE*.TIF", "", "reflectance x 10,000", products.offered(False)),),
        tree="**/<product>-SPECTRAL_IMAGE.TIF    # or ..._COG.TIF\n**/<product>-METADATA.XML\n"
        "**/<product>-QL_QUALITY_{CIRRUS,CLASSES,CLOUD,CLOUDSHADOW,HAZE,SNOW,TESTFLAGS}.TIF\n"
        "with <product> = ENMAP01-____L2A-DT<datatake>_<start>_<tile>_<version>_<processed>Z",
        home="https://www.enmap.org",
        licence="License agreement on the use of EnMAP data",
        citation="EnMAP data, DLR",
        traps=(
            "Bands are not by wavelength: band 92 lies at 902 nm, band 91 at 993 nm. HySpecNet-11k and SpectralEarth are sorted.",
            "Which bands hold no value depends on the version of the processor.",
            "Wavelengths drift by tenths of a nanometre from scene to scene; those of the first scene stand for all.",
        ),
    )  # fmt: skip

    def __init__(
        self, root: str | Path, *, all_bands: bool = False, quality: bool = False, **common: Unpack[Common]
    ) -> None:
        image = replace(self.spec.contents[0], bands=products.offered(all_bands))  # type: ignore[call-arg]  # it is an Image
        contents = (image, QUALITY_IMAGE) if quality else (image,)
        super().__init__(root, contents=contents, options={"all_bands": all_bands}, **common)

    @classmethod
    def index(cls, root: Path, *, on_error: str, progress: bool, **options: Any) -> Catalog:
        """Make the catalog from the headers and metadata of all scenes."""
        return products.catalog(root, all_bands=options["all_bands"], on_error=on_error, progress=progress)

    @classmethod
    def fake(cls, root: Path, items: int = 4) -> None:
        """Write a look-alike."""
        from geodata.datasets.enmap_products_fake import write

        write(root, items)
