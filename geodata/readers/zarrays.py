"""Arrays in Zarr folders, version 2 and 3, read by windows."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np

from geodata.errors import ReadError, ReadWarning
from geodata.files import LocalFiles
from geodata.readers.openfiles import Arrays, missing, telling
from geodata.readers.shards.array import ShardedArray
from geodata.readers.shards.codecs import UnknownCodecError

__all__ = ["ZarrFolder", "open_zarr"]


def open_zarr(href: str) -> ZarrFolder:
    """Open a Zarr folder.

    Raises
    ------
    ReadError
        If it is none, or holds an array that is packed as pickled Python objects.
    """
    import zarr

    if not os.path.isdir(href):
        raise ReadError(f"cannot open {href}: it is no folder")
    with telling(f"cannot open {href}"):
        root: Any = zarr.open(href, mode="r")
        if isinstance(root, zarr.Group):
            # Metadata that are gathered in one file may differ from those of the arrays themselves.
            root = zarr.open_group(href, mode="r", use_consolidated=False)
    return ZarrFolder(href, root)


class ZarrFolder:
    """An open Zarr folder: its arrays by their paths in it, ``""`` if it is one array."""

    layout = ""

    def __init__(self, href: str, root: Any) -> None:
        self._href = href
        self._root = root
        self._found: dict[str, Any] = {}

    def members(self) -> dict[str, Any]:
        """Return all arrays by path.

        Raises
        ------
        ReadError
            If one of them is packed as pickled Python objects, which may run code.
        """
        import zarr

        with telling(f"cannot read {self._href}"):
            if isinstance(self._root, zarr.Array):
                found = {"": self._root}
            else:
                members = self._root.members(max_depth=None)
                found = {
                    name: array
                    for name, array in sorted(members, key=lambda pair: pair[0])
                    if isinstance(array, zarr.Array)
                }
            for name, array in found.items():
                if "pickle" in str(array.metadata.to_dict()).lower():
                    raise ReadError(
                        f"cannot read {name} of {self._href}: it is packed as pickled Python objects, which may run code "
                        "and are not opened; write it with another codec"
                    )
        return found

    def arrays(self) -> Arrays:
        """Return shape and dtype of all arrays."""
        return {name: (tuple(array.shape), str(array.dtype)) for name, array in self.members().items()}

    def array(self, inside: str) -> Any:
        """Return an array, which reads when it is indexed.

        Raises
        ------
        ReadError
            If there is no such array.
        """
        found = self._found.get(inside)
        if found is None:
            members = self.members()
            if inside not in members:
                raise missing(self._href, inside, self.arrays())
            found = self._found[inside] = self._own(inside, members[inside])
        return found

    def _own(self, inside: str, other: Any) -> Any:
        """Return an array as the library's own reader gives it if it can, else as zarr does."""
        if other.metadata.zarr_format != 3:
            return other
        try:
            # Who wrote it may have left out what is empty: that is not known to be damage.
            return ShardedArray(LocalFiles(self._href), inside, missing="fill")
        except UnknownCodecError as error:
            if other.dtype.kind in "biuf":  # texts are names of bands, and few
                warnings.warn(f"{error}; zarr reads it, many times slower", ReadWarning, stacklevel=2)
            return other

    def texts(self, inside: str) -> list[str]:
        """Return an array of texts as a list."""
        data = np.asarray(self.array(inside)[...])
        if data.dtype.kind not in "OTU":
            raise ReadError(f"{self._href}: {inside} is no list of texts: it holds {data.dtype}")
        return [str(text).strip() for text in np.atleast_1d(data).ravel().tolist()]

    def close(self) -> None:
        """Forget what was read of it; files are open only while they are read."""
        self._found.clear()
