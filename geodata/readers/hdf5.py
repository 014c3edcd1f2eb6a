"""Arrays in HDF5 and NetCDF-4, read by windows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from geodata.errors import ReadError
from geodata.readers.guard import check_inside, check_regular, head_of, may_reach_out
from geodata.readers.npy import text_list
from geodata.readers.openfiles import Arrays, missing, needs, telling

__all__ = ["HDF5File", "is_hdf5", "open_hdf5"]

SIGNATURE = b"\x89HDF\r\n\x1a\n"

CHUNKS = 8 << 20
"""Bytes of decompressed chunks that HDF5 keeps for each array: windows beside each other share them."""


def is_hdf5(href: str) -> bool:
    """Whether a file is HDF5, with or without the block that Matlab puts in front."""
    head = head_of(href)
    return SIGNATURE in (head[:8], head[512:520])


def open_hdf5(href: str) -> HDF5File:
    """Open an HDF5 or NetCDF-4 file.

    Raises
    ------
    ReadError
        If it is none.
    MissingDependencyError
        If h5py is not installed.
    """
    try:
        import h5py
    except ImportError:
        raise needs("h5py") from None
    check_regular(href)
    with telling(f"cannot open {href}"):
        if head_of(href, 3) == b"CDF":
            raise ReadError(f"cannot open {href}: it is classic NetCDF; write it as NetCDF-4 (nccopy -k nc4)")
        # Without locks: files in folders that cannot be written to, and files that somebody appends to meanwhile.
        return HDF5File(href, h5py.File(href, "r", locking=False, rdcc_nbytes=CHUNKS))


class HDF5File:
    """An open HDF5 file: its datasets by their paths in it.

    A dataset may lie in another file. Such a file is opened only in the same folder or below, as in
    `geodata.readers.guard`.
    """

    layout = ""

    def __init__(self, href: str, file: Any) -> None:
        self._href = href
        self._file = file
        self._found: dict[str, Any] = {}

    def datasets(self) -> dict[str, Any]:
        """Return all datasets that lie in this file, by path."""
        import h5py

        found: dict[str, Any] = {}

        def visit(name: str, thing: Any) -> None:
            if isinstance(thing, h5py.Dataset):
                found[name] = thing

        with telling(f"cannot read {self._href}"):
            self._file.visititems(visit)
        return found

    def arrays(self) -> Arrays:
        """Return shape and dtype of every dataset that lies in this file."""
        return {name: (tuple(data.shape or ()), str(data.dtype)) for name, data in self.datasets().items()}

    def array(self, inside: str) -> Any:
        """Return a dataset as h5py gives it.

        Raises
        ------
        ReadError
            If there is no such dataset, or it lies in a file that may not be opened.
        """
        found = self._found.get(inside)
        if found is None:
            with telling(f"cannot open {inside} of {self._href}"):
                found = self._found[inside] = self._open(inside)
        return found

    def _open(self, inside: str) -> Any:
        import h5py

        place = self._file
        for name in inside.strip("/").split("/"):
            link = place.get(name, getlink=True) if isinstance(place, h5py.Group) and name else None
            if link is None or name in (".", ".."):
                raise missing(self._href, inside, self.arrays())
            if isinstance(link, h5py.SoftLink):
                raise ReadError(f"{self._href}: {name!r} is a link to {link.path!r}; give that path")
            if isinstance(link, h5py.ExternalLink):
                self._admit([link.filename])
            place = place[name]
        if not isinstance(place, h5py.Dataset) or place.shape is None:
            raise missing(self._href, inside, self.arrays())
        self._admit(_elsewhere(place))
        return place

    def check_links(self) -> None:
        """Refuse a file of which any part lies in a file that may not be opened.

        Raises
        ------
        ReadError
            See `geodata.readers.guard`.
        """
        import h5py

        away: list[str] = []  # HDF5 lets no error through while it visits

        def visit(_name: str, link: Any) -> None:
            if isinstance(link, h5py.ExternalLink):
                away.append(link.filename)

        with telling(f"cannot read {self._href}"):
            self._file.visititems_links(visit)
        self._admit(away)
        for data in self.datasets().values():
            self._admit(_elsewhere(data))

    def _admit(self, files: Any) -> None:
        if not may_reach_out():
            for name in files:
                check_inside(name, self._href)

    def texts(self, inside: str) -> list[str]:
        """Return a dataset of texts as a list."""
        import h5py

        data = self.array(inside)
        with telling(f"cannot read {inside} of {self._href}"):
            if h5py.check_string_dtype(data.dtype) is not None and data.dtype.kind == "O":
                return [str(text).strip() for text in np.atleast_1d(data.asstr()[()]).ravel()]
            return text_list(np.asarray(data[()]), self._href)

    def close(self) -> None:
        """Close it and all that was read of it."""
        self._found.clear()
        self._file.close()


def _elsewhere(data: Any) -> Iterator[str]:
    """Yield the files, other than its own, in which the numbers of a dataset lie."""
    for name, _, _ in data.external or ():
        yield name
    if data.is_virtual:
        for source in data.virtual_sources():
            if source.file_name != ".":
                yield source.file_name
