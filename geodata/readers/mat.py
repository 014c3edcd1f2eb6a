"""Arrays of Matlab: files of version 4 to 7 through scipy, whole variables; version 7.3, which is HDF5, by windows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.errors import ReadError
from geodata.readers.guard import check_regular
from geodata.readers.hdf5 import HDF5File, is_hdf5, open_hdf5
from geodata.readers.npy import text_list, whole
from geodata.readers.openfiles import ArrayFile, Arrays, missing, needs, telling

__all__ = ["open_mat"]

_OWN = ("#refs#", "#subsystem#")


def open_mat(href: str) -> ArrayFile:
    """Open a .mat file of any version; arrays have the axes that Matlab shows.

    Raises
    ------
    ReadError
        If it is none.
    MissingDependencyError
        If scipy, or h5py for version 7.3, is not installed.
    """
    check_regular(href)
    if is_hdf5(href):
        opened = open_hdf5(href)
        return _Mat73File(href, opened)
    try:
        from scipy.io import whosmat
        from scipy.io.matlab import MatReadError
    except ImportError:
        raise needs("scipy") from None
    with telling(f"cannot open {href}", MatReadError):
        listed = whosmat(href, appendmat=False)
    return _Mat5File(href, {name: (tuple(shape), kind) for name, shape, kind in listed})


class _Mat5File:
    """The list of variables of a .mat file; each is read whole when it is asked for."""

    layout = ""

    def __init__(self, href: str, listed: Arrays) -> None:
        self._href = href
        self._listed = listed
        self._token = object()

    def arrays(self) -> Arrays:
        """Return the variables with their classes in Matlab: a double may be stored as smaller whole numbers."""
        return dict(self._listed)

    def array(self, inside: str) -> NDArray[Any]:
        """Read a variable whole, as stored, or take it from memory."""
        if self._listed.get(inside, ((), "cell"))[1] in ("cell", "struct", "object", "char", "function", "opaque"):
            raise missing(self._href, inside, self._listed)
        key = (self._token, inside)
        found = whole.find(key)
        return found if found is not None else whole.keep(key, self._load(inside))

    def _load(self, inside: str) -> NDArray[Any]:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError

        if inside not in self._listed:
            raise missing(self._href, inside, self._listed)
        with telling(f"cannot read {inside} of {self._href}", MatReadError):
            found = loadmat(self._href, appendmat=False, variable_names=[inside])[inside]
        if not isinstance(found, np.ndarray):  # a sparse matrix
            raise ReadError(f"cannot read {inside} of {self._href}: it is a {type(found).__name__}; save it as full")
        return found

    def texts(self, inside: str) -> list[str]:
        """Return a cell array of texts, or the rows of a char array, as a list."""
        data = self._load(inside)
        if data.dtype.kind != "O":
            return text_list(data, self._href)
        cells = [cell for cell in data.ravel(order="F") if getattr(cell, "dtype", data.dtype).kind == "U"]
        if len(cells) < data.size:
            raise ReadError(f"{self._href}: {inside} is no list of texts: some of its cells hold other things")
        return ["".join(cell.ravel()).strip() for cell in cells]

    def close(self) -> None:
        """Nothing stays open."""


class _Reversed:
    """A dataset with its axes in the order of Matlab, which stores the first axis fastest."""

    def __init__(self, data: Any) -> None:
        self._data = data
        self.shape: tuple[int, ...] = data.shape[::-1]
        self.dtype: np.dtype[Any] = data.dtype
        self.chunks = data.chunks[::-1] if data.chunks else None

    def __getitem__(self, key: Any) -> Any:
        key = key if isinstance(key, tuple) else (key,)
        full = (*key, *(slice(None) for _ in range(len(self.shape) - len(key))))
        return np.asarray(self._data[full[::-1]]).T


class _Mat73File:
    """An HDF5 file that Matlab wrote."""

    layout = ""

    def __init__(self, href: str, file: HDF5File) -> None:
        self._href = href
        self._file = file
        self._found: dict[str, _Reversed] = {}

    def arrays(self) -> Arrays:
        """Return the variables; fields of structs are listed as ``struct/field``."""
        found: Arrays = {}
        for name, data in self._file.datasets().items():
            if not name.startswith(_OWN):
                kind = _class(data)
                found[name] = data.shape[::-1], kind if kind in ("cell", "char") else str(data.dtype)
        return found

    def array(self, inside: str) -> _Reversed:
        """Return a variable with its axes in Matlab's order, read by windows."""
        found = self._found.get(inside)
        if found is None:
            data = self._variable(inside)
            if data.dtype.kind == "O" or _class(data) == "char" or "MATLAB_empty" in data.attrs:
                raise missing(self._href, inside, self.arrays())
            found = self._found[inside] = _Reversed(data)
        return found

    def _variable(self, inside: str) -> Any:
        listed = self.arrays()
        if inside not in listed:
            raise missing(self._href, inside, listed)
        return self._file.array(inside)

    def texts(self, inside: str) -> list[str]:
        """Return a cell array of texts, or the rows of a char array, as a list."""
        data = self._variable(inside)
        with telling(f"cannot read {inside} of {self._href}"):
            if data.dtype.kind != "O":
                return self._rows(data, inside)
            # Cells refer to arrays elsewhere in the file; columns come first in Matlab.
            cells = [data.file[reference] for reference in np.asarray(data[()]).ravel()]
            return ["".join(self._rows(cell, inside)) for cell in cells]

    def _rows(self, data: Any, inside: str) -> list[str]:
        if _class(data) != "char":
            raise ReadError(f"{self._href}: {inside} is no list of texts: it holds {data.dtype}")
        if "MATLAB_empty" in data.attrs:
            return [""]
        return ["".join(map(chr, row)).strip() for row in np.asarray(data[()]).T.tolist()]

    def close(self) -> None:
        """Close it."""
        self._found.clear()
        self._file.close()


def _class(data: Any) -> str:
    kind = data.attrs.get("MATLAB_class", b"")
    return kind.decode("ascii", "replace") if isinstance(kind, bytes) else str(kind)
