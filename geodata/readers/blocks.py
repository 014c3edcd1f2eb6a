"""Strips and tiles of plain TIFFs: decoded as far as they are needed, and kept as long as there is room."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
from isal import isal_zlib
from isal.igzip_lib import IsalError
from numpy.typing import NDArray

from geodata.errors import ReadError

__all__ = ["COMPRESSIONS", "NONE", "Block", "BlockCache", "Undecodable", "cached", "inflated", "restored"]

NONE, LZW, DEFLATE, DEFLATE_OLD, ZSTD = 1, 5, 8, 32946, 50000

COMPRESSIONS = (NONE, LZW, DEFLATE, DEFLATE_OLD, ZSTD)
"""TIFF's numbers of the compressions that are understood here."""

ONE_GO = 1 << 17
"""Bytes up to which a decoder without streams is the faster one."""

STREAMED = (DEFLATE, DEFLATE_OLD)
"""Those that can stop at a row and go on later."""

DEFAULT_MEGABYTES = 256


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

    __slots__ = ("_coding", "_lock", "_rest", "_stream", "_swapped", "done", "nbytes", "pixels")

    def __init__(
        self, raw: bytes, shape: tuple[int, int, int], dtype: np.dtype[Any], compression: int, predictor: int
    ) -> None:
        self._lock = threading.Lock()
        self._coding = compression, predictor
        self._swapped = not dtype.isnative
        self.pixels: NDArray[Any] = np.empty(shape, dtype.newbyteorder("="))
        self.nbytes = self.pixels.nbytes + len(raw)
        self.done = 0
        self._rest = raw
        self._stream: Any = None

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
                    self._decode(end)
        return self.pixels

    def _decode(self, end: int) -> None:
        height, width, samples = self.pixels.shape
        compression, predictor = self._coding
        if compression not in STREAMED:
            end = height
        wanted = (end - self.done) * width * samples * self.pixels.dtype.itemsize
        if end - self.done == height and (compression not in STREAMED or wanted <= ONE_GO):
            found = inflated(self._rest, wanted, compression)
        else:
            found = self._more(wanted)
        rows = self.pixels[self.done : end]
        restored(found, rows, predictor, self._swapped)
        if end == height:
            self._stream, self._rest = None, b""
        self.done = end

    def _more(self, wanted: int) -> bytes:
        """Return the next bytes of a stream that can stop."""
        if self._stream is None:
            self._stream = isal_zlib.decompressobj()
        try:
            found: bytes = self._stream.decompress(self._rest, wanted)
        except IsalError as error:  # type: ignore[misc]  # the stub calls the class a value
            raise Undecodable(str(error)) from None
        if len(found) != wanted:
            raise Undecodable(f"{len(found)} of {wanted} bytes")
        self._rest = self._stream.unconsumed_tail
        return found


def inflated(raw: Any, size: int, compression: int) -> bytes | bytearray:
    """Decompress a whole block, ``raw`` bytes or a view of them, to ``size`` bytes.

    Raises
    ------
    Undecodable
        If it is damaged, or of another size.
    """
    if compression == LZW and bytes(raw[:2]) == b"\x00\x01":
        raise Undecodable("LZW of the oldest kind")
    decode = _DECODERS[compression]
    try:
        found: bytes | bytearray = decode(raw, out=size)
    except (RuntimeError, ValueError) as error:
        raise Undecodable(str(error)) from None
    if len(found) != size:
        raise Undecodable(f"{len(found)} of {size} bytes")
    return found


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


class BlockCache:
    """Decoded blocks, the longest unused dropped first.

    Threads share it: a block that one of them decodes is waited for, not decoded twice. A forked child starts empty.

    Parameters
    ----------
    limit : int, bytes
        The block in use is kept beyond it.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.decoded = 0
        """Blocks brought in since the start, for measurements."""
        self._lock = threading.Lock()
        self._blocks: OrderedDict[Any, Block] = OrderedDict()
        self._size = 0

    def block(self, key: Any, make: Callable[[], Block]) -> Block:
        """Return the block of a key, made if it is not there."""
        with self._lock:
            block = self._blocks.get(key)
            if block is not None:
                self._blocks.move_to_end(key)
                return block
        block = make()
        self.decoded += 1
        with self._lock:
            earlier = self._blocks.get(key)
            if earlier is not None:
                return earlier
            self._blocks[key] = block
            self._size += block.nbytes
            while self._size > self.limit and len(self._blocks) > 1:
                _, old = self._blocks.popitem(last=False)
                self._size -= old.nbytes
        return block

    def clear(self) -> None:
        """Forget all blocks."""
        with self._lock:
            self._blocks.clear()
            self._size = 0

    def __len__(self) -> int:
        return len(self._blocks)


def _limit() -> int:
    text = os.environ.get("GEODATA_CACHEMAX", "")
    if not text:
        return DEFAULT_MEGABYTES << 20
    if not text.isdecimal():
        raise ReadError(f"GEODATA_CACHEMAX={text!r} must be a whole number of megabytes, for example 256")
    return int(text) << 20


cached = BlockCache(_limit())
"""The blocks of this process; GEODATA_CACHEMAX in the environment is their limit in megabytes."""


def _renew() -> None:
    # A thread of the parent may have held a lock when this process was forked.
    cached.__init__(cached.limit)  # type: ignore[misc]


os.register_at_fork(after_in_child=_renew)
