"""Arrays of numpy: .npy files, mapped, and .npz archives, whose members are read whole. Pickles are never opened."""

from __future__ import annotations

import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.errors import ReadError
from geodata.readers.blocks import Cache
from geodata.readers.guard import check_regular
from geodata.readers.openfiles import Arrays, missing, telling

__all__ = ["NpyFile", "NpzFile", "open_npy", "open_npz", "text_list", "whole"]

whole: Cache[NDArray[Any]] = Cache(256 << 20)
"""Arrays of this process that can only be read whole, by file and name."""

_PICKLED = "it holds pickled Python objects, which may run code and are not opened; save it as plain numbers"


def open_npy(href: str) -> NpyFile:
    """Map a .npy file.

    Raises
    ------
    ReadError
        If it is none, is cut short, or holds pickled objects.
    """
    check_regular(href)
    with telling(f"cannot open {href}"):
        try:
            return NpyFile(href, np.lib.format.open_memmap(href, mode="r"))
        except ValueError as error:
            if "Python objects" in str(error):
                raise ReadError(f"cannot open {href}: {_PICKLED}") from None
            raise


class NpyFile:
    """An open .npy file: one array, which has no name."""

    layout = ""

    def __init__(self, href: str, data: NDArray[Any]) -> None:
        self._href = href
        self._data = data

    def arrays(self) -> Arrays:
        """Return the one array, by the name ``""``."""
        return {"": (self._data.shape, str(self._data.dtype))}

    def array(self, inside: str) -> NDArray[Any]:
        """Return the array; a .npy file has nothing to choose from.

        Raises
        ------
        ReadError
            If a name is given.
        """
        if inside:
            raise missing(self._href, inside, self.arrays())
        return self._data

    def texts(self, inside: str) -> list[str]:
        """Return an array of texts as a list."""
        return text_list(self.array(inside), self._href)

    def close(self) -> None:
        """Let the map go as soon as nobody looks at it."""
        self._data = np.empty(0)


def open_npz(href: str) -> NpzFile:
    """Open a .npz archive; no member is read yet.

    Raises
    ------
    ReadError
        If it is none.
    """
    check_regular(href)
    with telling(f"cannot open {href}", zipfile.BadZipFile):
        return NpzFile(href, zipfile.ZipFile(href))


class NpzFile:
    """An open .npz archive."""

    layout = ""

    def __init__(self, href: str, archive: zipfile.ZipFile) -> None:
        self._href = href
        self._archive = archive
        self._token = object()
        self._members = {name.removesuffix(".npy"): name for name in archive.namelist() if name.endswith(".npy")}

    def arrays(self) -> Arrays:
        """Read the headers of all members."""
        found: Arrays = {}
        with telling(f"cannot read {self._href}", zipfile.BadZipFile):
            for name, member in self._members.items():
                with self._archive.open(member) as file:
                    found[name] = _header(file)
        return found

    def array(self, inside: str) -> NDArray[Any]:
        """Read a member whole, or take it from memory.

        Raises
        ------
        ReadError
            If there is no such member, it is damaged, or pickled.
        """
        key = (self._token, inside)
        found = whole.find(key)
        if found is not None:
            return found
        if inside not in self._members:
            raise missing(self._href, inside, self.arrays())
        with telling(f"cannot read {inside} of {self._href}", zipfile.BadZipFile):
            try:
                with self._archive.open(self._members[inside]) as file:
                    data = np.lib.format.read_array(file, allow_pickle=False)
            except ValueError as error:
                if "Object arrays" in str(error):
                    raise ReadError(f"cannot read {inside} of {self._href}: {_PICKLED}") from None
                raise
        return whole.keep(key, data)

    def texts(self, inside: str) -> list[str]:
        """Return an array of texts as a list."""
        return text_list(self.array(inside), self._href)

    def close(self) -> None:
        """Close the archive."""
        self._archive.close()


def _header(file: Any) -> tuple[tuple[int, ...], str]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, str(dtype)


def text_list(data: NDArray[Any], href: str) -> list[str]:
    """Return an array of texts as a list; a 2-D array of single letters is one text a row.

    Raises
    ------
    ReadError
        If it holds anything but text.
    """
    if data.dtype.kind not in "US" or not data.dtype.itemsize:
        raise ReadError(f"{href}: an array of {data.dtype} is no list of texts")
    with telling(f"cannot read the texts of {href}"):
        texts = data.astype(str) if data.dtype.kind == "S" else data
    letters = texts.ndim == 2 and texts.dtype.itemsize == 4
    rows = ["".join(row) for row in texts.tolist()] if letters else np.atleast_1d(texts).ravel().tolist()
    return [str(row).strip() for row in rows]
