"""What every reader takes and gives: assets, headers and rasters."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

from geodata.bands import Bands
from geodata.errors import CatalogError
from geodata.grid import Grid

__all__ = [
    "FORMATS",
    "VALIDITY",
    "Asset",
    "Header",
    "PixelWindow",
    "Raster",
    "gaps",
    "observed",
    "quietly",
    "stored_nodata",
]

VALIDITY = ("all", "nodata", "mask", "alpha", "nan")
"""How a file says which pixels were observed: always; by a value; by a mask band; by an alpha band; by NaN."""

PixelWindow = tuple[int, int, int, int]
"""row, column, height, width in pixels of a file, wholly inside it."""


_quiet = threading.Lock()


@contextmanager
def quietly() -> Iterator[None]:
    """Silence rasterio's warning about rasters without a georeference, which is a fact here and no surprise.

    Python's warning filters are shared by all threads: two that change them at once leak the warning.
    """
    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def _renew() -> None:
    # A thread of the parent may have held the lock when this process was forked.
    global _quiet
    _quiet = threading.Lock()


os.register_at_fork(after_in_child=_renew)


@lru_cache(maxsize=256)
def stored_nodata(nodata: float | None, dtype: Any) -> Any:
    """Return a nodata value as pixels of a dtype hold it, None if they cannot: a header may say -9999.1, or -1 of uint8."""
    kind = np.dtype(dtype)
    if nodata is None or np.isnan(nodata):
        return None
    if kind.kind == "f":
        fits = np.isinf(nodata) or abs(nodata) <= float(np.finfo(kind).max)
        return kind.type(nodata) if fits else None
    info = np.iinfo(kind)
    fits = float(nodata).is_integer() and info.min <= nodata <= info.max
    return kind.type(int(nodata)) if fits else None


def observed(data: NDArray[Any], validity: str, nodata: float | None, dtype: str | None) -> NDArray[np.bool_]:
    """Return (H, W) which pixels of ``data`` (C, H, W) hold a value in every band, as far as the values say so.

    Parameters
    ----------
    validity, nodata, dtype : as in `Asset`; ``dtype`` None is that of the data
    """
    lacking = gaps(data, validity, nodata, dtype)
    return np.ones(data.shape[-2:], dtype=bool) if lacking is None else ~lacking


def gaps(data: NDArray[Any], validity: str, nodata: float | None, dtype: str | None) -> NDArray[np.bool_] | None:
    """Return (..., H, W) which pixels of ``data`` (..., C, H, W) lack a value in some band; None if none does, which is the usual thing.

    Parameters
    ----------
    validity, nodata, dtype : as in `observed`
    """
    missing = stored_nodata(nodata, dtype or data.dtype) if validity in ("nodata", "mask", "alpha") else None
    found: NDArray[np.bool_] | None = None
    # The least number is found several times as soon as equal ones are; NaN is not above anything.
    if missing is not None and data.size and not np.minimum.reduce(data, axis=None) > missing:
        lacking = data == data.dtype.type(missing)
        found = lacking.any(axis=-3) if lacking.any() else None
    if data.dtype.kind == "f" and validity != "all":
        nan = np.isnan(data)
        if nan.any():
            nan = nan.any(axis=-3)
            found = nan if found is None else found | nan
    return found


@dataclass(frozen=True, slots=True)
class Raster:
    """Pixels as stored, and which of them were observed.

    Parameters
    ----------
    data : (C, H, W), the file's dtype; scale and offset are not applied
    valid : (H, W) bool, True = observed in every one of the C bands
    """

    data: NDArray[Any]
    valid: NDArray[np.bool_]


FORMATS = ("raster", "envi", "array", "lmdb", "cube", "store")
"""Which reader opens a file: GDAL's formats and plain TIFFs; ENVI cubes; arrays in .npy, .npz, .mat and HDF5; LMDB with
safetensors; NetCDF and Zarr; arrays of a store, whose first axis is the rows."""

_DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")
_MOST = 65536


@dataclass(frozen=True, slots=True)
class Asset:
    """One file of every item of a catalog: what is the same for all rows.

    Parameters
    ----------
    href : str
        Template over the columns of a row, ``"{path}"``; its result is relative to the catalog's root, or a URL.
    bands : Bands
        The bands that this file delivers.
    indexes : tuple of int, 1-based
        Where each of them is in the file.
    ratio : int >= 1
        Side of its pixels in pixels of the item's reference grid.
    dtype : str
        As stored.
    nodata : float or None
    validity : one of `VALIDITY`
        ``"mask"`` also stands for files that differ among themselves: GDAL is then asked for each.
    format : one of `FORMATS`
    inside : str
        Template over the columns of a row: which array of a file that holds several, ``"Y"``, ``"{patch_id}/B02"``.
    layout : str
        Template over the columns of a row: the axes of such an array, ``"h w c"``; see `geodata.readers.arrays.read`.
    """

    href: str
    bands: Bands
    indexes: tuple[int, ...]
    ratio: int = 1
    dtype: str = "uint16"
    nodata: float | None = None
    validity: str = "all"
    format: str = "raster"
    inside: str = ""
    layout: str = ""

    @property
    def kind(self) -> tuple[Any, ...]:
        """What two assets have in common that differ only in where their files are; NaN is the same nodata as NaN."""
        where = (self.format, self.inside, self.layout)
        return self.bands, self.indexes, self.ratio, self.dtype, repr(self.nodata), self.validity, where

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; `from_dict` takes it back."""
        return {
            "href": self.href,
            "bands": self.bands.to_dict(),
            "indexes": list(self.indexes),
            "ratio": self.ratio,
            "dtype": self.dtype,
            "nodata": None if self.nodata is None else repr(float(self.nodata)),
            "validity": self.validity,
            "format": self.format,
            "inside": self.inside,
            "layout": self.layout,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Asset:
        """Take back what `to_dict` gave.

        Raises
        ------
        CatalogError, KeyError, TypeError, ValueError
            If it is anything else.
        """
        nodata = data["nodata"]
        asset = cls(
            href=data["href"],
            bands=Bands.from_dict(data["bands"]),
            indexes=tuple(data["indexes"]),
            ratio=data["ratio"],
            dtype=data["dtype"],
            nodata=None if nodata is None else float(nodata),
            validity=data["validity"],
            format=data.get("format", "raster"),
            inside=data.get("inside", ""),
            layout=data.get("layout", ""),
        )
        asset._check()
        return asset

    def _check(self) -> None:
        sound = {
            "href": isinstance(self.href, str),
            "indexes": all(type(i) is int and 1 <= i <= _MOST for i in self.indexes)
            and len(self.indexes) == len(self.bands) > 0,
            "ratio": type(self.ratio) is int and 1 <= self.ratio <= _MOST,
            "dtype": self.dtype in _DTYPES,
            "validity": self.validity in VALIDITY,
            "format": self.format in FORMATS,
            "inside": isinstance(self.inside, str),
            "layout": isinstance(self.layout, str),
        }
        wrong = [name for name, good in sound.items() if not good]
        if wrong:
            raise CatalogError(f"{wrong[0]} of an asset is {getattr(self, wrong[0])!r}; make the catalog again")


@dataclass(frozen=True, slots=True)
class Header:
    """What one file says about itself without reading a pixel.

    Parameters
    ----------
    grid : Grid
    bands : Bands
        All bands but alpha; names from the band descriptions, else "1", "2"...
    indexes : tuple of int, 1-based
    dtype, nodata, validity : as in `Asset`
    named : bool
        Whether the band names are the file's own.
    format : one of `FORMATS`, the reader that opens it
    """

    grid: Grid
    bands: Bands
    indexes: tuple[int, ...]
    dtype: str
    nodata: float | None
    validity: str
    named: bool
    format: str = "raster"
