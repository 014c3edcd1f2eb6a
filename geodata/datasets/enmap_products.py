"""Products of EnMAP on disk: names, band tables in their metadata."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from geodata.bands import Bands
from geodata.catalog import Catalog
from geodata.datasets.enmap_table import EMPTY, bands, numbered, quality, with_nodata
from geodata.datasets.safe_xml import parse_xml
from geodata.errors import BandsError, ReadError

__all__ = ["bands_of", "catalog", "offered"]

TOLERANCE = 1.0
"""nm by which wavelengths of scenes in one catalog may differ; they drift by up to 0.4."""

_PATTERN = (
    r"^(?P<product>(?:.*/)?(?P<item>ENMAP\d\d-_*L2A-DT(?P<datatake>\d+)_(?P<date>\d{8}T\d{6}Z)_(?P<tile>\d+)_[^/]*?))"
    r"-SPECTRAL_IMAGE(?P<cog>(?:_COG)?)\.TIF$"
)


def offered(all_bands: bool) -> Bands:
    """Return the bands of a product, in its order: all 224, or the 202 outside the absorption of water vapour."""
    return Bands(b for i, b in enumerate(bands("product"), 1) if all_bands or i not in EMPTY)


def catalog(root: Path, *, all_bands: bool, on_error: str, progress: bool) -> Catalog:
    """Make the catalog of all products below a root.

    Raises
    ------
    BandsError
        If a product has another number of bands, or its wavelengths differ from those of the first.
    ReadError
        If a ``METADATA.XML`` cannot be read or is not one.
    """
    nominal = bands("product")
    found = Catalog.scan(
        root, pattern=_PATTERN, band_names=nominal.names, bands=nominal, on_error=on_error, progress=progress
    )
    products = [root / path for path in found.column("product")]
    tables = [bands_of(path.with_name(f"{path.name}-METADATA.XML"), nominal) for path in products]
    for path, own in zip(products, tables, strict=True):
        apart = np.abs(own.wavelengths - tables[0].wavelengths)
        if apart.max() > TOLERANCE:
            i = int(apart.argmax())
            raise BandsError(
                f"{path.name}: {own[i].name} is at {own[i].wavelength} nm, in {products[0].name} at {tables[0][i].wavelength} nm; "
                "open such scenes apart, each from a folder of its own"
            )
    kept = tuple(nominal.position(name) for name in offered(all_bands).names)
    cube = replace(
        with_nodata(found.assets[0]), bands=Bands(tables[0][i] for i in kept), indexes=tuple(i + 1 for i in kept)
    )
    return replace(found, assets=(cube, *quality("{product}-QL_QUALITY_<layer>{cog}.TIF")))


def bands_of(path: Path, nominal: Bands) -> Bands:
    """Return the bands that a ``METADATA.XML`` describes, or the nominal ones if the file is not there.

    Raises
    ------
    ReadError
        If it is no XML, unsafe, or does not give centre and width of each band once.
    """
    if not path.is_file():
        return nominal
    rows: dict[int, tuple[float, float]] = {}
    for band in parse_xml(path).iterfind(".//bandCharacterisation/bandID"):
        try:
            number = int(band.attrib["number"])
            rows[number] = (
                float(band.findtext("wavelengthCenterOfBand", "")),
                float(band.findtext("FWHMOfBand", "")),
            )
        except (KeyError, ValueError):
            raise ReadError(f"{path}: a band lacks its number, centre or width; fetch the file again") from None
    if sorted(rows) != list(range(1, len(nominal) + 1)):
        raise ReadError(f"{path} describes {len(rows)} bands; a level 2A product has 1 to {len(nominal)}, each once")
    return numbered([rows[i] for i in sorted(rows)])
