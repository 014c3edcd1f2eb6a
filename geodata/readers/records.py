"""Records of tensors in an LMDB database, each record one file of safetensors, as rico-hdl writes them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.errors import ReadError
from geodata.readers.guard import check_regular
from geodata.readers.openfiles import Arrays, missing, needs, open_files, telling

__all__ = ["RecordFile", "data_file", "keys_in", "open_records", "parse_safetensors"]

DATA = "data.mdb"
"""What a database is called in its folder."""

_MOST_HEADER = 100_000_000  # as in the safetensors package
_KINDS = {
    "BOOL": "|b1",
    "U8": "|u1",
    "I8": "|i1",
    "U16": "<u2",
    "I16": "<i2",
    "U32": "<u4",
    "I32": "<i4",
    "U64": "<u8",
    "I64": "<i8",
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
}
_SHOWN = 20

_inherited: dict[int, list[Any]] = {}
"""Databases by the process that opened them: a forked child must close those of its parent before it opens its own."""


def open_records(href: str) -> RecordFile:
    """Open a database: a folder with a ``data.mdb``, or such a file itself. Nothing is written beside it.

    Raises
    ------
    ReadError
        If it is none.
    MissingDependencyError
        If lmdb is not installed.
    """
    try:
        import lmdb
    except ImportError:
        raise needs("lmdb") from None
    check_regular(data_file(href))
    _close_inherited()
    with telling(f"cannot open {href}", lmdb.Error):
        # lock=False: a folder that cannot be written to has no place for locks, and nobody writes meanwhile.
        database = lmdb.open(
            href,
            subdir=os.path.isdir(href),
            readonly=True,
            lock=False,
            readahead=False,
            create=False,
            max_spare_txns=16,
        )
    _inherited.setdefault(os.getpid(), []).append(database)
    return RecordFile(href, database)


def _close_inherited() -> None:
    for process in [process for process in _inherited if process != os.getpid()]:
        for database in _inherited.pop(process):
            database.close()


def data_file(href: str) -> str:
    """Return the file of a database that is given as its folder or itself."""
    return os.path.join(href, DATA) if os.path.isdir(href) else href


def keys_in(href: str) -> list[str]:
    """Return the names of all records of a database, in its order.

    Raises
    ------
    ReadError
        If it cannot be opened.
    """
    with open_files.lend(href, [data_file(href)], open_records) as file:
        return list(file.keys())


class RecordFile:
    """An open database: tensors by ``"<record>/<tensor>"``."""

    layout = ""

    def __init__(self, href: str, database: Any) -> None:
        self._href = href
        self._database = database

    def keys(self) -> Iterator[str]:
        """Yield the names of all records in the order of the database."""
        import lmdb

        with telling(f"cannot read {self._href}", lmdb.Error), self._database.begin() as view:
            for key in view.cursor().iternext(keys=True, values=False):
                yield key.decode("utf-8")

    def arrays(self) -> Arrays:
        """Return all tensors of the first records: they are too many to list."""
        found: Arrays = {}
        for number, key in enumerate(self.keys()):
            if number >= _SHOWN:
                break
            found.update((f"{key}/{name}", (data.shape, str(data.dtype))) for name, data in self._record(key).items())
        return found

    def array(self, inside: str) -> NDArray[Any]:
        """Return a tensor as a view into the database.

        Raises
        ------
        ReadError
            If there is no such record or tensor, or the record is damaged.
        """
        key, slash, name = inside.rpartition("/")
        if not slash:
            raise ReadError(f"{self._href}: {inside!r} must be '<record>/<tensor>'")
        tensors = self._record(key, name)
        if name not in tensors:
            listed = {name: (data.shape, str(data.dtype)) for name, data in self._record(key).items()}
            raise missing(f"record {key} of {self._href}", name, listed, "tensor")
        return tensors[name]

    def _record(self, key: str, only: str | None = None) -> dict[str, NDArray[Any]]:
        import lmdb

        with telling(f"cannot read record {key!r} of {self._href}", lmdb.Error):
            with self._database.begin(buffers=True) as view:
                # The bytes stay mapped for as long as the database is open.
                found = view.get(key.encode("utf-8"))
            if found is None:
                raise ReadError(
                    f"{self._href} holds no record {key!r}; it holds {self._database.stat()['entries']} others"
                )
            return parse_safetensors(found, only)

    def texts(self, inside: str) -> list[str]:
        """Tensors are numbers."""
        raise ReadError(f"{self._href}: {inside} is no list of texts, tensors are numbers")

    def close(self) -> None:
        """Close it."""
        self._database.close()
        _inherited[os.getpid()] = [other for other in _inherited.get(os.getpid(), []) if other is not self._database]


def parse_safetensors(data: Any, only: str | None = None) -> dict[str, NDArray[Any]]:
    """Return the tensors of one file of safetensors as views of its bytes.

    Parameters
    ----------
    data : bytes, memoryview
        Length of the header (8 bytes, lowest first), header (JSON), numbers (lowest byte first, C order).
    only : str or None
        The one tensor that is wanted; the others are not looked at.

    Raises
    ------
    ReadError
        If the header is damaged, or tells of other bytes than there are. Tensors of types that numpy does not have are
        refused too.

    References
    ----------
    .. [1] https://github.com/huggingface/safetensors, section "Format".
    """
    if len(data) < 8:
        raise ReadError(f"damaged safetensors: {len(data)} bytes are too few for a header")
    length = int.from_bytes(data[:8], "little")
    if length > min(_MOST_HEADER, len(data) - 8):
        raise ReadError(f"damaged safetensors: a header of {length} bytes in a record of {len(data)}")
    try:
        header = json.loads(bytes(data[8 : 8 + length]))
    except (ValueError, RecursionError):
        raise ReadError("damaged safetensors: the header is no JSON") from None
    if not isinstance(header, dict):
        raise ReadError("damaged safetensors: the header is no table of tensors")
    numbers = memoryview(data)[8 + length :]
    wanted = header if only is None else [only] if only in header else []
    return {name: _tensor(name, header[name], numbers) for name in wanted if name != "__metadata__"}


def _tensor(name: str, entry: Any, numbers: memoryview) -> NDArray[Any]:
    try:
        kind, shape, (first, last) = entry["dtype"], entry["shape"], entry["data_offsets"]
        sound = all(type(n) is int and n >= 0 for n in (first, last, *shape)) and isinstance(kind, str)
    except (TypeError, KeyError, ValueError):
        sound, kind, shape, first, last = False, "", (), 0, 0
    if not sound:
        raise ReadError(f"damaged safetensors: tensor {name!r} is described by {str(entry)[:80]}")
    if kind not in _KINDS:
        raise ReadError(f"tensor {name!r} is of type {kind}; read are {', '.join(_KINDS)}")
    dtype = np.dtype(_KINDS[kind])
    if last - first != math.prod(shape) * dtype.itemsize or last > len(numbers):
        raise ReadError(
            f"damaged safetensors: tensor {name!r}, {kind} of shape {shape}, has bytes {first} to {last} of {len(numbers)}"
        )
    return np.frombuffer(numbers[first:last], dtype).reshape(shape)
