"""Strips and tiles of plain TIFFs: decoded as far as they are needed, and kept as long as there is room."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from typing import Any, Generic, Protocol, TypeVar

import imagecodecs
import numpy as np
from isal import isal_zlib
from isal.igzip_lib import IsalError
from numpy.typing import NDArray

from geodata.errors import ReadError

__all__ = ["COMPRESSIONS", "NONE", "Block", "Cache", "Undecodable", "cached", "inflated", "restored"]

NONE, LZW, DEFLATE, DEFLATE_OLD, ZSTD = 1, 5, 8, 32946, 50000

COMPRESSIONS = (NONE, LZW, DEFLATE, DEFLATE_OLD, ZSTD)
"""TIFF's numbers of the compressions that are understood here."""

ONE_GO = 1 << 17
"""Bytes up to which a decoder without streams is the faster one."""

STREAMED = (DEFLATE, DEFLATE_OLD)
"""Those that can stop at a row and go on later."""

LEAST = 1 << 16
"""Bytes of a block from which on stopping early saves anything: a stream delivers so many at once."""

STREAM, OBJECTS = 96 << 10, 1 << 10
"""Bytes of a stream that is not at its end, and of the objects of a block."""

SHARE = 0.05
"""Of the machine's memory: what GDAL takes for its own cache, which these blocks stand in for."""

LEAST_MEGABYTES = 256


class Undecodable(Exception):  # noqa: N818  (never leaves the reader: GDAL is asked instead)
    """The bytes are not what the header promises."""


class Block:
    """One strip or tile, decoded from the top as far as rows were asked for.

    Parameters
    ----------
    raw : bytes, as they stand in the file
    shape : (rows, columns, samples)
    dtype : dtype of the file, in its byte order
    compression, predictor : TIFF's numbers
    """

    # Threads share it: a block that one of them decodes is waited for, not decoded twice.
    __slots__ = (
        "_damaged",
        "_lock",
        "_predictor",
        "_rest",
        "_stream",
        "_swapped",
        "compression",
        "done",
        "nbytes",
        "pixels",
    )

    def __init__(
        self, raw: bytes, shape: tuple[int, int, int], dtype: np.dtype[Any], compression: int, predictor: int
    ) -> None:
        self._lock = threading.Lock()
        self.compression, self._predictor = compression, predictor
        self._swapped = not dtype.isnative
        self.pixels: NDArray[Any] = np.empty(shape, dtype.newbyteorder("="))
        self.nbytes = self.pixels.nbytes + len(raw) + OBJECTS
        self.done = 0
        self._rest = raw
        self._stream: Any = None
        self._damaged = False
        if compression in STREAMED and self.pixels.nbytes > LEAST:
            self._stream = isal_zlib.decompressobj()
            self.nbytes += STREAM

    def rows(self, end: int) -> NDArray[Any]:
        """Return (rows, columns, samples), of which the first ``end`` rows are decoded.

        Raises
        ------
        Undecodable
            If the bytes end before that row, or are damaged.
        """
        if self.done < end:
            with self._lock:
                if self.done < end:
                    if self._damaged:
                        raise Undecodable("damaged above this row")
                    # A stream that failed has moved on; what it gave next would be other rows.
                    self._damaged = True
                    self._decode(end)
                    self._damaged = False
        return self.pixels

    def _decode(self, end: int) -> None:
        height, width, samples = self.pixels.shape
        if self._stream is None:
            end = height
        wanted = (end - self.done) * width * samples * self.pixels.dtype.itemsize
        if self._stream is None or wanted == self.pixels.nbytes <= ONE_GO:
            found = inflated(self._rest, wanted, self.compression)
        else:
            found = self._more(wanted, last=end == height)
        restored(found, self.pixels[self.done : end], self._predictor, self._swapped)
        if end == height:
            self._stream, self._rest = None, b""
        self.done = end

    def _more(self, wanted: int, *, last: bool) -> bytes:
        """Return the next bytes of the stream; with the last ones it must end, and its checksum be right."""
        try:
            found: bytes = self._stream.decompress(self._rest, wanted)
            self._rest = self._stream.unconsumed_tail
            if len(found) != wanted:
                raise Undecodable(f"{len(found)} of {wanted} bytes")
            if last and not self._stream.eof and (self._stream.decompress(self._rest, 1) or not self._stream.eof):
                raise Undecodable(f"more than {self.pixels.nbytes} bytes, or no end")
        except IsalError as error:  # type: ignore[misc]  # the stub calls the class a value
            raise Undecodable(str(error)) from None
        return found


def inflated(raw: Any, size: int, compression: int) -> bytes | bytearray:
    """Decompress a whole block, ``raw`` bytes or a view of them, to ``size`` bytes.

    Raises
    ------
    Undecodable
        If it is damaged, or of another size.
    """
    if compression == LZW:
        _check_lzw(raw)
    decode = _DECODERS[compression]
    try:
        found: bytes | bytearray = decode(raw, out=size)
    except (RuntimeError, ValueError) as error:
        raise Undecodable(str(error)) from None
    if len(found) != size:
        raise Undecodable(f"{len(found)} of {size} bytes")
    return found


def _check_lzw(raw: Any) -> None:
    if len(raw) > 1 and raw[0] == 0 and raw[1] & 1:
        raise Undecodable("LZW of the oldest kind, whose bits run the other way")
    # The decoder takes a code that is cut off for a whole one. Behind the last, 257, is nothing but zeros: up to a byte, and
    # one more from some writers.
    tail = int.from_bytes(raw[-4:], "big")
    lowest = tail & -tail
    if not (0 < lowest < 1 << 16 and tail // lowest & 0x1FF == 257):
        raise Undecodable("LZW without an end")


_DECODERS = {
    DEFLATE: imagecodecs.deflate_decode,
    DEFLATE_OLD: imagecodecs.deflate_decode,
    ZSTD: imagecodecs.zstd_decode,
    LZW: imagecodecs.lzw_decode,
}


def restored(found: bytes | bytearray, rows: NDArray[Any], predictor: int, swapped: bool) -> None:
    """Turn decompressed bytes into ``rows`` (rows, columns, samples): native byte order, predictor undone."""
    data = np.frombuffer(found, rows.dtype).reshape(rows.shape)
    if swapped:
        data = data.byteswap()
    if predictor == 2:
        imagecodecs.delta_decode(data, axis=1, out=rows)
    else:
        rows[:] = data


class Sized(Protocol):
    """What says how many bytes it takes."""

    @property
    def nbytes(self) -> int:
        """Bytes."""


Thing = TypeVar("Thing", bound=Sized)


class Cache(Generic[Thing]):
    """Things by key, the longest unused dropped first. A forked child starts empty.

    Parameters
    ----------
    limit : int, bytes
        The last thing brought in is kept beyond it.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.decoded = 0
        """Things brought in since the start, for measurements."""
        self._lock = threading.Lock()
        self._things: OrderedDict[Any, Thing] = OrderedDict()
        self._size = 0
        _all.add(self)

    def find(self, key: Any) -> Thing | None:
        """Return the thing of a key, None if it is not there."""
        with self._lock:
            thing = self._things.get(key)
            if thing is not None:
                self._things.move_to_end(key)
        return thing

    def keep(self, key: Any, thing: Thing) -> Thing:
        """Bring a thing in and return it, or the one that another thread brought in before."""
        with self._lock:
            earlier = self._things.get(key)
            if earlier is not None:
                return earlier
            self.decoded += 1
            self._things[key] = thing
            self._size += thing.nbytes
            while self._size > self.limit and len(self._things) > 1:
                _, old = self._things.popitem(last=False)
                self._size -= old.nbytes
        return thing

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._things.clear()
            self._size = 0

    @property
    def nbytes(self) -> int:
        """Bytes of what is there."""
        return self._size

    def __len__(self) -> int:
        return len(self._things)


_all: weakref.WeakSet[Cache[Any]] = weakref.WeakSet()


def _renew() -> None:
    # A thread of the parent may have held a lock when this process was forked, also that of a block.
    for cache in list(_all):
        cache.__init__(cache.limit)  # type: ignore[misc]


os.register_at_fork(after_in_child=_renew)


def _memory() -> int:
    """Return the bytes of the machine's memory, 0 where that cannot be asked."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 0


def _limit() -> int:
    text = os.environ.get("GEODATA_CACHEMAX", "")
    if not text:
        return max(LEAST_MEGABYTES << 20, int(_memory() * SHARE))
    if not text.isdecimal():
        raise ReadError(f"GEODATA_CACHEMAX={text!r} must be a whole number of megabytes, for example 256")
    return int(text) << 20


cached: Cache[Block] = Cache(_limit())
"""The blocks of this process; GEODATA_CACHEMAX in the environment is their limit in megabytes."""
