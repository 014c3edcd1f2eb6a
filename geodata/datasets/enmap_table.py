"""What the archives of EnMAP have in common: bands in their two orders, quality layers, nodata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from geodata.bands import Band, Bands
from geodata.datasets.tables import table
from geodata.readers.base import Asset
from geodata.spec import Image

__all__ = ["EMPTY", "NODATA", "QUALITY", "QUALITY_IMAGE", "bands", "quality", "valid_bands", "with_nodata"]

NODATA = -32768
"""What pixels and bands without a value hold; reflectance times 10,000 lies far above."""

EMPTY = (*range(127, 142), *range(161, 168))
"""Numbers from 1, by wavelength, of the 22 bands in the absorption of water vapour that hold no value."""

QUALITY = ("cirrus", "classes", "cloud", "cloudshadow", "haze", "snow", "testflags")
"""Quality layers, as in ``<product>-QL_QUALITY_CIRRUS.TIF``."""

QUALITY_IMAGE = Image("image_quality", about="quality layers, 0 is none", bands=Bands(QUALITY), resampling="nearest")

_COMMON = {"B010": "blue", "B028": "green", "B043": "red"}


@lru_cache(maxsize=2)
def bands(order: str) -> Bands:
    """Return the 224 bands ``B001`` to ``B224``, numbered in the order of a file, with nominal wavelengths.

    Between 902 and 993 nm both spectrometers see, and the orders differ from band 80 to band 100.

    Parameters
    ----------
    order : {"wavelength", "product"}
        All by wavelength, as in HySpecNet-11k and SpectralEarth; or 91 bands of the first spectrometer, then 133 of the
        second, as in level 2A products.
    """
    nominal = table("enmap/bands.json")
    rows = nominal["vnir"] + nominal["swir"]
    return numbered(sorted(rows) if order == "wavelength" else rows)


def numbered(rows: Sequence[Sequence[float]]) -> Bands:
    """Return bands ``B001``, ``B002``... from their centres and widths in nm."""
    names = [f"B{i:03d}" for i in range(1, len(rows) + 1)]
    return Bands(
        Band(name, _COMMON.get(name), centre, width, gsd=30, unit="reflectance", scale=1e-4)
        for name, (centre, width) in zip(names, rows, strict=True)
    )


@lru_cache(maxsize=1)
def valid_bands() -> Bands:
    """Return the 202 bands by wavelength that hold values; they keep their names of the 224."""
    return Bands(band for i, band in enumerate(bands("wavelength"), 1) if i not in EMPTY)


def quality(href: str) -> list[Asset]:
    """Return the quality layers of a product as files of a row.

    Parameters
    ----------
    href : template with ``<layer>`` where the name of the layer stands
    """
    return [Asset(href.replace("<layer>", name.upper()), Bands([name]), (1,), 1, "uint8") for name in QUALITY]


def with_nodata(asset: Asset) -> Asset:
    """Return an asset that takes -32768 for no value, where its files do not say so."""
    said = asset.dtype != "int16" or asset.validity != "all"
    return asset if said else replace(asset, nodata=float(NODATA), validity="nodata")
