"""Arrays in files of every format: windows and channels by a layout of the axes.

============  ====================================  =============================  =========
format        files                                 ``inside``                     layout
============  ====================================  =============================  =========
``"array"``   .npy, .npz, .mat, .h5, .hdf5, .he5    name or path of the array      as given
``"lmdb"``    a database of safetensors             ``"<record>/<tensor>"``        as given
``"envi"``    a header and its data file            ``""``                         ``c h w``
``"cube"``    .nc (NetCDF-4), .zarr                 name or path of the variable   as given
============  ====================================  =============================  =========
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.errors import CatalogError, DtypeError, ReadError, StaleCatalogError
from geodata.readers import envi, hdf5, mat, npy, records, zarrays
from geodata.readers.base import PixelWindow, Raster, observed
from geodata.readers.layout import Layout, LazyArray, parse_layout, plain
from geodata.readers.openfiles import ArrayFile, Arrays, open_files, telling

__all__ = ["EXTENSIONS", "extent_of", "load", "load_texts", "names_in", "read", "read_block", "shape_of"]

_OPENERS: dict[str, dict[str, Callable[[str], ArrayFile]]] = {
    "array": {
        ".npy": npy.open_npy,
        ".npz": npy.open_npz,
        ".mat": mat.open_mat,
        ".h5": hdf5.open_hdf5,
        ".hdf5": hdf5.open_hdf5,
        ".he5": hdf5.open_hdf5,
    },
    "lmdb": {"": records.open_records},
    "envi": {"": envi.open_envi},
    "cube": {".nc": hdf5.open_hdf5, ".nc4": hdf5.open_hdf5, ".zarr": zarrays.open_zarr},
}
"""What opens a file, by format and ending; "" is any ending."""

EXTENSIONS = tuple(_OPENERS["array"])
"""Endings of the format "array"."""


def read(
    href: str,
    inside: str,
    layout: str,
    window: PixelWindow,
    indexes: Sequence[int],
    *,
    validity: str,
    nodata: float | None = None,
    dtype: str | None = None,
    out: NDArray[Any] | None = None,
    format: str | None = None,
) -> Raster:
    """Read a window of some channels of an array.

    Parameters
    ----------
    href : path of a file or folder on this machine
    inside : str
        Which array of the file.
    layout : str
        Its axes, see `geodata.readers.layout`; ``""`` where the format fixes them.
    window : (row, column, height, width), inside the array
    indexes : 1-based channels in the order wanted
    validity, nodata, dtype : as in `geodata.readers.base.Asset`
    out : (len(indexes), height, width) or None
        Filled in place, cast to its dtype.
    format : one of `geodata.readers.base.FORMATS`; None is "array" or "cube", by the ending

    Raises
    ------
    ReadError
        If the file cannot be opened or decoded, or holds no such array.
    StaleCatalogError
        If the array is not the one that was described: the window lies outside, channels are missing, the dtype differs.
    CatalogError
        If the layout is none, or not one of this array.
    DtypeError
        If the array holds anything but real numbers.
    """
    with _array(href, inside, format) as (array, fixed):
        axes = parse_layout(layout or fixed)
        kind = _check_unchanged(axes, array, f"{inside} of {href}" if inside else href, window, indexes, dtype)
        block = axes.take(array, window, [i - 1 for i in indexes])
        valid = observed(block, validity, nodata, kind)
        data = np.empty(block.shape, kind) if out is None else out
        with np.errstate(invalid="ignore"):  # NaN has no whole number
            np.copyto(data, block, casting="unsafe")
    return Raster(data, valid)


def _check_unchanged(
    axes: Layout, array: LazyArray, what: str, window: PixelWindow, indexes: Sequence[int], dtype: str | None
) -> str:
    """Return the dtype of the pixels, in the byte order of this machine."""
    kind = _kind(array, what)
    channels, rows, columns = axes.extent(array.shape)
    row, col, height, width = window
    inside = row >= 0 and col >= 0 and row + height <= rows and col + width <= columns and min(height, width) > 0
    if inside and indexes and min(indexes) >= 1 and max(indexes) <= channels and dtype in (None, kind):
        return kind
    raise StaleCatalogError(
        f"{what} is {rows} x {columns} pixels, {channels} bands, {kind}; wanted {height} x {width} pixels at row {row}, "
        f"column {col}, bands {list(indexes)[:8]}, {dtype or 'any dtype'}: the file changed, scan again"
    )


def _kind(array: LazyArray, what: str) -> str:
    found = _read_as(array.dtype)
    if not found:
        raise DtypeError(f"{what} is of dtype {array.dtype}; whole numbers and floats of up to 64 bits are read")
    return found


@lru_cache(maxsize=64)
def _read_as(kind: np.dtype[Any]) -> str:
    """Return the dtype that holds the values of another in the byte order of this machine; "" if none does."""
    if kind.kind not in "biuf" or kind.itemsize > 8:
        return ""
    return {"bool": "uint8", "float16": "float32"}.get(kind.name, kind.name)


def shape_of(href: str, inside: str, *, format: str | None = None) -> tuple[tuple[int, ...], str]:
    """Return the lengths of all axes of an array and the dtype that `read` gives it.

    Raises
    ------
    ReadError, DtypeError
        As in `read`.
    """
    with _array(href, inside, format) as (array, _):
        return tuple(array.shape), _kind(array, f"{inside} of {href}")


def extent_of(href: str, inside: str, layout: str, *, format: str | None = None) -> tuple[tuple[int, int, int], str]:
    """Return (channels, height, width) of an array in a layout, and the dtype that `read` gives it.

    Raises
    ------
    ReadError, DtypeError, CatalogError
        As in `read`.
    """
    with _array(href, inside, format) as (array, fixed):
        return parse_layout(layout or fixed).extent(array.shape), _kind(array, f"{inside} of {href}")


def names_in(href: str, *, format: str | None = None) -> Arrays:
    """Return shape and dtype of all arrays of a file by name; what is no array has the name that its format gives it.

    Raises
    ------
    ReadError
        If the file cannot be opened.
    """
    with _file(href, format) as file:
        return file.arrays()


def load(href: str, inside: str, *, format: str | None = None) -> NDArray[Any]:
    """Read a whole array that is small: endmembers, wavelengths, labels.

    Returns
    -------
    The shape of the array in its file; stored dtype, in the byte order of this machine

    Raises
    ------
    ReadError, DtypeError
        As in `read`.
    """
    return read_block(href, inside, (), format=format)


def read_block(href: str, inside: str, slices: Sequence[int | slice], *, format: str | None = None) -> NDArray[Any]:
    """Read a block of an array along any of its axes: a window over all dates.

    Parameters
    ----------
    href, inside, format : as in `read`
    slices : int or slice of step 1 for each axis, from the first; axes beyond are read whole

    Raises
    ------
    ReadError, DtypeError
        As in `read`.
    StaleCatalogError
        If the block does not lie inside the array.
    """
    with _array(href, inside, format) as (array, _):
        kind = _kind(array, f"{inside} of {href}")
        if len(slices) > len(array.shape) or not all(map(_fits, slices, array.shape)):
            raise StaleCatalogError(f"{inside} of {href} has axes of {tuple(array.shape)}; wanted {list(slices)}")
        return np.array(plain(np.asarray(array[tuple(slices)])), dtype=kind, order="C")


def _fits(part: int | slice, length: int) -> bool:
    if not isinstance(part, slice):
        return 0 <= part < length
    first = 0 if part.start is None else part.start
    last = length if part.stop is None else part.stop
    return (0 <= first < last <= length and part.step in (None, 1)) or part == slice(None)


def load_texts(href: str, inside: str, *, format: str | None = None) -> list[str]:
    """Read a list of names: a cell array of Matlab, the rows of a char array, an array of texts.

    Raises
    ------
    ReadError
        If it is none.
    """
    with _file(href, format) as file:
        return file.texts(inside)


@contextmanager
def _array(href: str, inside: str, format: str | None) -> Iterator[tuple[LazyArray, str]]:
    with _file(href, format) as file, telling(f"cannot read {inside} of {href}" if inside else f"cannot read {href}"):
        yield file.array(inside), file.layout


@contextmanager
def _file(href: str, format: str | None) -> Iterator[ArrayFile]:
    opener = _opener(href, format)
    with open_files.lend(href, _places(href, opener), opener) as file:
        yield file


def _places(href: str, opener: Callable[[str], ArrayFile]) -> tuple[str, ...]:
    """Return the files that say what is in an array."""
    if opener is records.open_records:
        return (records.data_file(href),)
    if opener is envi.open_envi:
        data = envi.data_file(href)
        return data, envi.header_file(data)
    return (href,)


def _opener(href: str, format: str | None) -> Callable[[str], ArrayFile]:
    ending = os.path.splitext(href.rstrip("/"))[1].lower()
    chosen = [format] if format else ["array", "cube"]
    for name in chosen:
        by_ending = _OPENERS.get(name, {})
        found = by_ending.get(ending) or by_ending.get("")
        if found is not None:
            return found
    known = ", ".join(end for name in chosen for end in _OPENERS.get(name, {}))
    if format is not None and not known:
        raise CatalogError(f"{format!r} is no format of arrays; known are {', '.join(_OPENERS)}")
    raise ReadError(f"cannot open {href}: {ending or 'no ending'!r} is none of {known}")
