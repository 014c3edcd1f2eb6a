"""What files must have in common to be one item, or items of one catalog."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geodata.catalog.footprint import Footprints, rings
from geodata.crs import same_crs
from geodata.errors import BandsError, CatalogError, DtypeError, GridError
from geodata.grid import Grid
from geodata.readers.base import Header

__all__ = ["Found", "Kinds", "agreed", "check_groups", "lattices", "ratios_of"]


class Found(NamedTuple):
    """One file: path below the root, what its name says, and its header.

    Parameters
    ----------
    kind : Header
        Of this file, or of another one from which it differs at most in shape and transform: a scan of a million files
        holds few headers, and gives Python's garbage collector little to walk through.
    lattice : height, width, a, b, c, d, e, f
    size : bytes
    mtime : time of change, ns
    """

    path: str
    key: str
    band: str
    groups: dict[str, str]
    kind: Header
    lattice: tuple[float, ...]
    size: int
    mtime: int

    @property
    def grid(self) -> Grid:
        """The grid of the file."""
        height, width, *transform = self.lattice
        return Grid((int(height), int(width)), transform, self.kind.grid.crs)


class Kinds:
    """Headers that differ in more than shape and transform."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Header] = {}

    def parted(self, header: Header) -> tuple[Header, tuple[float, ...]]:
        """Return the first header of the same kind, and height, width and transform of this one."""
        h, grid = header, header.grid
        t = grid.transform
        key = (id(h.bands), id(grid.crs), h.indexes, h.dtype, h.named, h.validity, h.nodata)
        return self._known.setdefault(key, header), (*grid.shape, t.a, t.b, t.c, t.d, t.e, t.f)


def check_groups(reference: Found, files: Iterable[Found]) -> None:
    """Files of one item must agree in time, or the item is really several."""
    for file in files:
        if file is reference or _when(file) == _when(reference):
            continue
        raise CatalogError(
            f"{file.path} and {reference.path} are one item {file.key!r} but say {_when(file)} and {_when(reference)}; "
            "let the item group tell them apart"
        )


def _when(file: Found) -> dict[str, str]:
    return {k: file.groups[k] for k in ("date", "start", "stop") if k in file.groups}


def agreed(files: Sequence[Found]) -> Header:
    """The header that all files of a slot share; validity "mask" where they differ in it."""
    first = files[0].kind
    kinds: dict[int, Found] = {}
    for file in files:
        kinds.setdefault(id(file.kind), file)
    for file in kinds.values():
        _check_kind(file, files[0])
    says = {(f.kind.validity, repr(f.kind.nodata)) for f in kinds.values()}
    return first if len(says) == 1 else replace(first, validity="mask", nodata=None)


def _check_kind(file: Found, other: Found) -> None:
    h, first = file.kind, other.kind
    if len(h.bands) != len(first.bands):
        raise BandsError(
            f"{file.path} has {len(h.bands)} bands but {other.path} has {len(first.bands)}; scan them apart"
        )
    if h.dtype != first.dtype:
        raise DtypeError(f"{file.path} is {h.dtype} but {other.path} is {first.dtype}; scan them apart")
    _check_bands(file, other)
    if h.named and first.named and h.bands.names != first.bands.names:
        raise BandsError(f"{file.path} has bands {h.bands.names[:8]} but {other.path} has {first.bands.names[:8]}")


def _check_bands(file: Found, first: Found) -> None:
    """Scale, offset and unit say what the numbers mean; one catalog has one meaning. Wavelengths drift by scene."""
    for band, other in zip(file.kind.bands, first.kind.bands, strict=True):
        same = (band.scale, band.offset, band.unit) == (other.scale, other.offset, other.unit)
        near = (band.wavelength is None) == (other.wavelength is None) and abs(
            (band.wavelength or 0) - (other.wavelength or 0)
        ) <= 1.0
        if not same or not near:
            raise BandsError(
                f"{file.path} has {band} but {first.path} has {other}; scan files of different meaning apart"
            )
    if file.kind.indexes != first.kind.indexes:
        raise BandsError(f"{file.path} and {first.path} have their alpha band at different places; scan them apart")


def lattices(files: Sequence[Found]) -> Footprints:
    """Return the grids of files in columns."""
    systems = {id(f.kind.grid.crs): f.kind.grid.crs for f in files}
    place = {name: i for i, name in enumerate(systems)}
    numbers = np.array([f.lattice for f in files], dtype=np.float64).reshape(-1, 8)
    code = np.array([place[id(f.kind.grid.crs)] for f in files], dtype=np.int32)
    return Footprints(numbers[:, 2:].copy(), numbers[:, :2].astype(np.int64), code, tuple(systems.values()))


def ratios_of(
    reference: Sequence[Found], fine: Footprints, files: Sequence[Found], coarse: Footprints
) -> NDArray[np.int64]:
    """Return (N,) how many reference pixels a side of each file's pixel has; the lattices must share their corner.

    Parameters
    ----------
    reference, files : N files each, of the same items
    fine, coarse : their lattices
    """
    ratio = np.maximum(1, np.rint(fine.shape[:, 0] / coarse.shape[:, 0])).astype(np.int64)
    fits = (fine.shape == coarse.shape * ratio[:, None]).all(axis=1)
    same = np.array([[same_crs(a, b) for b in coarse.crs] for a in fine.crs], dtype=bool)
    fits &= same[fine.code, coarse.code]
    a, b, _, d, e, _ = fine.affine.T[:, :, None]
    x, y = np.moveaxis(rings(coarse) - rings(fine), -1, 0)
    det = a * e - b * d
    apart = np.stack([(e * x - b * y) / det, (a * y - d * x) / det])
    fits &= (np.abs(apart) < 0.01).all(axis=(0, 2))
    if not fits.all():
        row = int(np.argmin(fits))
        raise GridError(
            f"{files[row].path} ({files[row].grid}) is not on the lattice of {reference[row].path} "
            f"({reference[row].grid}) nor coarser by a whole number; make two datasets and join them with &"
        )
    return ratio
