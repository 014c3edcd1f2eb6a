"""What files must have in common to be one item, or items of one catalog."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from geodata.crs import same_crs
from geodata.errors import BandsError, CatalogError, DtypeError, GridError
from geodata.readers.base import Header

__all__ = ["Found", "agreed", "check_groups", "ratio_of"]


@dataclass(frozen=True, slots=True)
class Found:
    """One file: path below the root, what its name says, and its header."""

    path: str
    key: str
    band: str
    groups: dict[str, str]
    header: Header
    size: int
    mtime: int


def check_groups(reference: Found, files: Iterable[Found]) -> None:
    """Files of one item must agree in time, or the item is really several."""
    mine = {k: v for k, v in reference.groups.items() if k in ("date", "start", "stop")}
    for file in files:
        theirs = {k: v for k, v in file.groups.items() if k in ("date", "start", "stop")}
        if theirs != mine:
            raise CatalogError(
                f"{file.path} and {reference.path} are one item {file.key!r} but say {theirs} and {mine}; "
                "let the item group tell them apart"
            )


def agreed(files: Sequence[Found]) -> Header:
    """The header that all files of a slot share; validity "mask" where they differ in it."""
    first = files[0].header
    for file in files[1:]:
        h = file.header
        if len(h.bands) != len(first.bands):
            raise BandsError(
                f"{file.path} has {len(h.bands)} bands but {files[0].path} has {len(first.bands)}; scan them apart"
            )
        if h.dtype != first.dtype:
            raise DtypeError(f"{file.path} is {h.dtype} but {files[0].path} is {first.dtype}; scan them apart")
        _check_bands(file, files[0])
        if h.named and first.named and h.bands.names != first.bands.names:
            raise BandsError(
                f"{file.path} has bands {h.bands.names[:8]} but {files[0].path} has {first.bands.names[:8]}"
            )
    kinds = {(f.header.validity, repr(f.header.nodata)) for f in files}
    return first if len(kinds) == 1 else replace(first, validity="mask", nodata=None)


def _check_bands(file: Found, first: Found) -> None:
    """Scale, offset and unit say what the numbers mean; one catalog has one meaning. Wavelengths drift by scene."""
    for band, other in zip(file.header.bands, first.header.bands, strict=True):
        same = (band.scale, band.offset, band.unit) == (other.scale, other.offset, other.unit)
        near = (band.wavelength is None) == (other.wavelength is None) and abs(
            (band.wavelength or 0) - (other.wavelength or 0)
        ) <= 1.0
        if not same or not near:
            raise BandsError(
                f"{file.path} has {band} but {first.path} has {other}; scan files of different meaning apart"
            )
    if file.header.indexes != first.header.indexes:
        raise BandsError(f"{file.path} and {first.path} have their alpha band at different places; scan them apart")


def ratio_of(reference: Found, file: Found) -> int:
    """How many reference pixels a side of this file's pixel has; the lattices must share their corner."""
    fine, coarse = reference.header.grid, file.header.grid
    ratio = max(1, round(fine.height / coarse.height))
    fits = (
        same_crs(fine.crs, coarse.crs)
        and fine.shape == (coarse.height * ratio, coarse.width * ratio)
        and np.abs(fine.colrow(coarse.corners) - fine.colrow(fine.corners)).max() < 0.01
    )
    if not fits:
        raise GridError(
            f"{file.path} ({coarse}) is not on the lattice of {reference.path} ({fine}) nor coarser by a whole number; "
            "make two datasets and join them with &"
        )
    return ratio
