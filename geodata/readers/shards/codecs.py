"""Codecs of Zarr v3 that turn one chunk of an array into bytes and back."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from geodata.errors import ReadError, StoreError
from geodata.readers.shards.scratch import scratch

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["NAMES", "Chain", "UnknownCodecError", "codecs_of", "crc32c"]

_kit: Any = import_module("imagecodecs")

Bytes = NDArray[np.uint8]

_SHUFFLES = ("noshuffle", "shuffle", "bitshuffle")
_BLOSC = {"blosclz", "lz4", "lz4hc", "zlib", "zstd"}
_HEADER = struct.Struct("<4xIII")
_MOST = 2**31 - 1
"""Bytes of a chunk that Blosc can hold."""

_Packed: dict[str, dict[str, Any]] = {
    "lz4": {"cname": "lz4", "clevel": 5, "shuffle": "bitshuffle"},
    "blosc-zstd": {"cname": "zstd", "clevel": 1, "shuffle": "bitshuffle"},
}
NAMES = ("lz4", "none", "zstd", "blosc-zstd")
"""Codecs that `codecs_of` knows by name."""


class UnknownCodecError(ReadError):
    """An array of a form that this reader does not know, although others may."""


def crc32c(data: Bytes) -> int:
    """Return the checksum of bytes that lie in one piece."""
    found: int = google_crc32c.value(data)
    return found


def codecs_of(
    name: str, dtype: np.dtype[Any], ndim: int, *, transpose: Sequence[int] | None = None
) -> list[dict[str, Any]]:
    """Return the metadata of the codecs of a chunk by the name that users type; all end in a checksum.

    Parameters
    ----------
    name : one of `NAMES`
    dtype, ndim : of the array
    transpose : the array's axes in the order in which chunks are stored

    Raises
    ------
    StoreError
        If the name or the order of axes is none.
    """
    dtype = np.dtype(dtype)
    if name not in NAMES:
        also = "; arrays packed by pcodec can be read, not written" if name == "pcodec" else ""
        raise StoreError(f"{name!r} is no codec; known are {', '.join(NAMES)}{also}")
    found: list[dict[str, Any]] = []
    if transpose is not None:
        order = [int(axis) for axis in transpose]
        if sorted(order) != list(range(ndim)):
            raise StoreError(f"{order} is no order of the {ndim} axes of an array")
        found.append({"name": "transpose", "configuration": {"order": order}})
    found.append({"name": "bytes", "configuration": {"endian": "little"}} if dtype.itemsize > 1 else {"name": "bytes"})
    if name == "zstd":
        found.append({"name": "zstd", "configuration": {"level": 3, "checksum": False}})
    elif name in _Packed:
        how = {**_Packed[name], "typesize": dtype.itemsize, "blocksize": 0}
        found.append({"name": "blosc", "configuration": how})
    return [*found, {"name": "crc32c"}]


@dataclass(frozen=True, slots=True)
class Chain:
    """Codecs that turn one chunk into bytes: transpose, bytes, one compressor, checksum; the first and last two may lack.

    Parameters
    ----------
    dtype, shape : of a chunk, native byte order
    order : axes in the order in which they are stored; None as they are
    packing : "" for none, else blosc, zstd, gzip
    how : configuration of the compressor
    checked : whether a crc32c stands behind
    nbytes : of a chunk as numbers
    most : bytes that a chunk is packed to at most, without its checksum
    plain : whether the bytes of a chunk are those of its numbers
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: tuple[int, ...] | None
    packing: str
    how: Mapping[str, Any]
    checked: bool
    nbytes: int = field(init=False)
    most: int = field(init=False)
    plain: bool = field(init=False)

    def __post_init__(self) -> None:
        """Count the bytes of a chunk as numbers, and those that it may be packed to."""
        nbytes = math.prod(self.shape) * self.dtype.itemsize
        object.__setattr__(self, "nbytes", nbytes)
        object.__setattr__(self, "most", nbytes + nbytes // 64 + 4096)
        object.__setattr__(self, "plain", not self.packing and self.order is None)

    @classmethod
    def parse(cls, codecs: Sequence[Mapping[str, Any]], dtype: np.dtype[Any], shape: tuple[int, ...]) -> Chain:
        """Understand the metadata of codecs.

        Raises
        ------
        UnknownCodecError
            If there is another codec among them, another order, or a configuration that is not known.
        """
        left = [_named(codec) for codec in codecs]
        order: tuple[int, ...] | None = None
        packing, checked = "", False
        how: dict[str, Any] = {}
        if left and left[0][0] == "transpose":
            order = _order(left.pop(0)[1], len(shape))
        if not left or left[0][0] != "bytes":
            raise UnknownCodecError(f"codec {left[0][0]!r}" if left else "an array without codecs")
        endian = left.pop(0)[1].get("endian", "little" if dtype.itemsize == 1 else None)
        if endian != "little" and dtype.itemsize > 1:
            raise UnknownCodecError(f"codec 'bytes' with endian {endian!r}")
        if left and left[0][0] in _PACKINGS:
            packing, how = left.pop(0)
            _PACKINGS[packing](how)
        if left and left[0][0] == "crc32c":
            checked = True
            left.pop(0)
        if left:
            raise UnknownCodecError(f"codec {left[0][0]!r}")
        return cls(dtype, shape, order, packing, how, checked)

    def encode(self, chunk: NDArray[Any]) -> Buffer:
        """Turn a chunk into bytes.

        Raises
        ------
        StoreError
            If it has another shape or dtype.
        """
        if chunk.shape != self.shape or chunk.dtype != self.dtype:
            raise StoreError(f"a chunk of {chunk.dtype} {chunk.shape}; wanted {self.dtype} {self.shape}")
        stored = np.ascontiguousarray(chunk if self.order is None else chunk.transpose(self.order)).reshape(-1)
        if self.packing:
            packed = np.frombuffer(_pack(self.packing, self.how, stored), np.uint8)
        else:
            packed = stored.view(np.uint8)
        if not self.checked:
            return packed.data
        return b"".join((packed.data, crc32c(packed).to_bytes(4, "little")))

    def decode(self, data: Buffer, out: NDArray[Any]) -> None:
        """Turn bytes into a chunk, straight into given memory.

        Parameters
        ----------
        data : flat bytes
        out : of the shape and dtype of a chunk, in C order; all of it is written, or an error raised

        Raises
        ------
        ReadError
            If the bytes are damaged.
        """
        raw, check = np.frombuffer(memoryview(data), np.uint8), None
        if self.checked:
            if len(raw) < 4:
                raise ReadError(f"{len(raw)} bytes are too few for a chunk and its crc32c")
            raw, check = raw[:-4], int.from_bytes(raw[-4:].tobytes(), "little")
        self.unpack(raw, check, out.reshape(-1).view(np.uint8))

    def unpack(self, packed: Bytes, check: int | None, out: Bytes) -> None:
        """Turn bytes into the bytes of a chunk.

        Parameters
        ----------
        packed : bytes without their checksum
        check : the checksum, None if there is none
        out : of the size of a chunk; all of it is written, or an error raised

        Raises
        ------
        ReadError
            If the bytes are damaged.
        """
        if check is not None and google_crc32c.value(packed) != check:
            raise ReadError("its bytes are not those of its crc32c, they are damaged")
        if len(out) != self.nbytes:
            raise ReadError(f"a chunk has {self.nbytes} bytes, there is room for {len(out)}")
        if self.order is None:
            _UNPACK[self.packing](packed, out)
            return
        stored = scratch.take("stored", len(out))
        _UNPACK[self.packing](packed, stored)
        turned = stored.view(self.dtype).reshape([self.shape[axis] for axis in self.order])
        back = sorted(range(len(self.order)), key=self.order.__getitem__)
        np.copyto(out.view(self.dtype).reshape(self.shape), turned.transpose(back))


def _named(codec: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(codec, str):
        return codec, {}
    if isinstance(codec, Mapping) and isinstance(codec.get("name"), str):
        how = codec.get("configuration") or {}
        if isinstance(how, Mapping):
            return codec["name"], dict(how)
    raise UnknownCodecError(f"codec {str(codec)[:80]}")


def _order(how: Mapping[str, Any], ndim: int) -> tuple[int, ...] | None:
    order = how.get("order")
    if not isinstance(order, (list, tuple)) or any(type(axis) is not int for axis in order):
        raise UnknownCodecError(f"codec 'transpose' with order {order!r}")
    if sorted(order) != list(range(ndim)):
        raise UnknownCodecError(f"codec 'transpose' with order {order} of {ndim} axes")
    return None if list(order) == sorted(order) else tuple(order)


def _check_blosc(how: dict[str, Any]) -> None:
    how.setdefault("typesize", 1)
    how.setdefault("blocksize", 0)
    whole = all(type(how[name]) is int for name in ("typesize", "blocksize")) and type(how.get("clevel")) is int
    sound = whole and 0 < how["typesize"] <= 255 and 0 <= how["clevel"] <= 9 and 0 <= how["blocksize"] <= _MOST
    if not sound or how.get("cname") not in _BLOSC or how.get("shuffle") not in _SHUFFLES:
        raise UnknownCodecError(f"codec 'blosc' with {str(how)[:200]}")


def _check_level(how: dict[str, Any]) -> None:
    how.setdefault("level", 0)
    if type(how["level"]) is not int or not -131072 <= how["level"] <= 22:
        raise UnknownCodecError(f"a codec with {str(how)[:200]}")


_PACKINGS: dict[str, Callable[[dict[str, Any]], None]] = {
    "blosc": _check_blosc,
    "zstd": _check_level,
    "gzip": _check_level,
}


def _pack(packing: str, how: Mapping[str, Any], numbers: NDArray[Any]) -> bytes:
    found: bytes
    if packing == "blosc":
        if numbers.nbytes > _MOST - 16:
            raise StoreError(f"a chunk of {numbers.nbytes} bytes is too large for Blosc; choose smaller chunks")
        # The size of a number is that of the array. More threads would write the blocks in the order in which they end.
        found = _kit.blosc_encode(
            numbers,
            how["clevel"],
            compressor=how["cname"],
            shuffle=how["shuffle"],
            blocksize=how["blocksize"] or None,
            numthreads=1,
        )
    elif packing == "zstd":
        found = _kit.zstd_encode(numbers, how["level"])
    else:
        found = _kit.gzip_encode(numbers, how["level"])
    return found


def _unpack_none(raw: Bytes, out: Bytes) -> None:
    if len(raw) != len(out):
        raise _length(len(raw), len(out))
    if raw is not out:
        out[:] = raw


def _unpack_blosc(raw: Bytes, out: Bytes) -> None:
    if len(raw) < 16:
        raise ReadError(f"{len(raw)} bytes are too few for Blosc")
    size, _, packed = _HEADER.unpack_from(raw.data)
    # The library trusts the lengths that stand in the bytes.
    if packed != len(raw):
        raise ReadError(f"Blosc tells of {packed} bytes, there are {len(raw)}")
    if size != len(out):
        raise _length(size, len(out))
    try:
        done = _kit.blosc_decode(raw, numthreads=1, out=out)
    except _kit.BloscError as error:
        raise ReadError(f"Blosc cannot unpack it: {error}") from None
    if len(done) != len(out):
        raise _length(len(done), len(out))


def _unpack_zstd(raw: Bytes, out: Bytes) -> None:
    if not len(raw):
        raise _length(0, len(out))
    try:
        done = _kit.zstd_decode(raw, out=out)
    except _kit.ZstdError as error:
        raise ReadError(f"zstd cannot unpack it: {error}") from None
    if len(done) != len(out):
        raise _length(len(done), len(out))


def _unpack_gzip(raw: Bytes, out: Bytes) -> None:
    reader = zlib.decompressobj(31)
    try:
        # One byte more than wanted, so that what is too long is seen and not unpacked.
        done = reader.decompress(raw.tobytes(), len(out) + 1)
    except zlib.error as error:
        raise ReadError(f"gzip cannot unpack it: {error}") from None
    if len(done) != len(out) or not reader.eof:
        raise _length(len(done), len(out))
    out[:] = np.frombuffer(done, np.uint8)


_UNPACK: dict[str, Callable[[Bytes, Bytes], None]] = {
    "": _unpack_none,
    "blosc": _unpack_blosc,
    "zstd": _unpack_zstd,
    "gzip": _unpack_gzip,
}


def _length(got: int, wanted: int) -> ReadError:
    return ReadError(f"it unpacks to {got} bytes, a chunk has {wanted}")
