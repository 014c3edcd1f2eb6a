"""One Zarr v3 array, read straight into given memory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geodata.errors import DtypeError, ReadError
from geodata.files import Files
from geodata.readers.shards.index import read_index
from geodata.readers.shards.metadata import EMPTY, FILE, ArrayMeta
from geodata.readers.shards.plain import read_plain
from geodata.readers.shards.scratch import scratch
from geodata.readers.shards.windows import Piece, Span, block_of, pieces_of

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["ShardedArray"]

_PLANS = 64
"""Windows whose pieces are kept."""

_AT_ONCE = 512
"""Chunks that are fetched from another machine before they are unpacked."""

_Job = tuple[tuple[int, ...], int, Any, NDArray[Any], bool]
"""A shard, the place of a chunk in it, the part of the chunk, where it goes, and whether that is all of the chunk."""

_Found = tuple[str, int, int]
"""The name of a file, where in it a chunk begins, and its length."""

_Shard = tuple[str, memoryview]
"""The name of its file, and its index: place and length of one chunk after another."""


class ShardedArray:
    """One array of a store. Cheap to pickle; nothing is opened until it is read, from any thread or process.

    Parameters
    ----------
    files : where the bytes lie
    name : folder of the array below them, "" if it is theirs
    meta : its metadata if they are known, else read at once
    missing : "error" or "fill"
        What a chunk means that is not stored: an error, or the fill value as in the specification of Zarr.
    """

    def __init__(self, files: Files, name: str, meta: ArrayMeta | None = None, *, missing: str = "error") -> None:
        if missing not in ("error", "fill"):
            raise ReadError(f"missing={missing!r} is neither 'error' nor 'fill'")
        self.files = files
        self.name = name
        self.missing = missing
        self._prefix = f"{name}/" if name else ""
        where = f"{files.root}/{name}" if name else files.root
        self.where = where
        self.meta = meta or ArrayMeta.parse(bytes(files.read(self._prefix + FILE)), where)
        self._shards: dict[tuple[int, ...], _Shard] = {}
        self._plans: dict[tuple[Span, ...], tuple[tuple[int, ...], list[Piece]]] = {}
        self._stride = math.prod(self.meta.inner[1:])

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.files, self.name, self.missing)

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return self.meta.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the numbers, in the byte order of this machine."""
        return self.meta.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.meta.shape)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of what is unpacked at once."""
        return self.meta.chunk

    def read(self, block: Sequence[slice | int], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Read a window.

        Parameters
        ----------
        block : one slice of step 1 or position for each axis, inside the array; a position drops its axis
        out : of the window's shape, filled in place; its dtype holds all values of the array's

        Raises
        ------
        ReadError
            If the window is not inside, or a chunk is damaged or not there.
        DtypeError
            If `out` is of another shape, or of a dtype that cannot hold the values.
        """
        if len(block) != self.ndim:
            raise ReadError(f"{self.where} has {self.ndim} axes; wanted {tuple(block)}")
        spans = [self._span(part, axis) for axis, part in enumerate(block)]
        dropped = [isinstance(part, slice) for part in block]
        shape = tuple(b - a for (a, b), kept in zip(spans, dropped, strict=True) if kept)
        if out is None:
            out = self._empty(shape)
        self._check_out(out, shape)
        every: tuple[Any, ...] = (*(slice(None) if kept else None for kept in dropped), ...)
        window = out[every]
        pieces = pieces_of(spans, self.meta.chunk, self.meta.inner)
        self._run(
            (piece.shard, piece.place, piece.inside, window[(*piece.outside, ...)], piece.whole) for piece in pieces
        )
        return out

    def read_many(self, samples: Sequence[int], block: Sequence[slice], out: NDArray[Any]) -> None:
        """Read the same window of many samples, which are the positions of the first axis.

        Parameters
        ----------
        samples : B positions, in any order
        block : one slice of step 1 for each of the other axes, inside the array
        out : (B, sizes of block), filled in place; its dtype holds all values of the array's

        Raises
        ------
        ReadError, DtypeError
            As in `read`.
        """
        numbers = [int(number) for number in samples]
        sizes, pieces = self._plan(block)
        self._check_out(out, (len(numbers), *sizes))
        if not numbers:
            return
        if not 0 <= min(numbers) <= max(numbers) < self.shape[0]:
            raise ReadError(f"{self.where} has {self.shape[0]} samples; wanted {min(numbers)} to {max(numbers)}")
        if self._is_straight(pieces, out):
            self._read_straight(numbers, pieces[0], out)
            return
        size, per, stride = self.meta.chunk[0], self.meta.inner[0], self._stride
        rows = range(len(numbers)) if size == 1 else sorted(range(len(numbers)), key=numbers.__getitem__)
        self._run(
            (
                (numbers[row] // (size * per), *piece.shard),
                numbers[row] // size % per * stride + piece.place,
                (numbers[row] % size, *piece.inside),
                out[_at(row, piece.outside)],
                piece.whole and size == 1,
            )
            for piece in pieces
            for row in rows
        )

    def _is_straight(self, pieces: list[Piece], out: NDArray[Any]) -> bool:
        """Whether a window of a sample is one whole chunk, and the memory for it lies as the chunk does."""
        one = self.meta.chunk[0] == 1 and len(pieces) == 1 and pieces[0].whole
        return one and not self.files.remote and out.dtype == self.dtype and out.flags.c_contiguous

    def _read_straight(self, numbers: list[int], piece: Piece, out: NDArray[Any]) -> None:
        """Read many chunks, each where it shall be. Training spends its time here."""
        per, stride, rest, fixed = self.meta.inner[0], self._stride, piece.shard, piece.place
        targets, room = out.reshape(len(numbers), -1).view(np.uint8), self._room()
        chain, read, (packed, check) = self.meta.chain, self.files.read_into, room
        behind, usual = memoryview(check), self.meta.sharded and chain.checked and not chain.plain
        for row, number in enumerate(numbers):
            first, inside = divmod(number, per)
            shard, place = (first, *rest), inside * stride + fixed
            known = self._shards.get(shard) if usual else None
            if known is not None and (start := known[1][2 * place]) != EMPTY:
                # As `_load` does, without a call: a chunk takes as long as a few. A length that is wrong fails its check.
                part = packed[: known[1][2 * place + 1] - 4]
                try:
                    read(known[0], start, part.data, behind)
                    chain.unpack(part, int.from_bytes(check, "little"), targets[row])
                except ReadError as error:
                    raise self._damaged(shard, place, error) from None
                continue
            found = self._locate(shard, place)
            if found is None:
                out[row] = self.meta.fill
                continue
            try:
                self._load(found, targets[row], room)
            except ReadError as error:
                raise self._damaged(shard, place, error) from None

    def _plan(self, block: Sequence[slice]) -> tuple[tuple[int, ...], list[Piece]]:
        """Return the sizes of a window of a sample, and its pieces."""
        if len(block) != self.ndim - 1:
            raise ReadError(f"{self.where} has {self.ndim - 1} axes for a sample; wanted {tuple(block)}")
        spans = tuple(self._span(part, axis) for axis, part in enumerate(block, 1))
        found = self._plans.get(spans)
        if found is None:
            if len(self._plans) > _PLANS:
                self._plans.clear()
            pieces = pieces_of(spans, self.meta.chunk[1:], self.meta.inner[1:])
            found = self._plans[spans] = tuple(last - first for first, last in spans), pieces
        return found

    def _run(self, jobs: Iterable[_Job]) -> None:
        """Read parts of chunks."""
        if not self.files.remote:
            self._unpack(jobs, None)
            return
        left = iter(jobs)
        while some := list(itertools.islice(left, _AT_ONCE)):
            self._unpack(some, self._fetch(some))

    def _fetch(self, jobs: Sequence[_Job]) -> dict[_Found, Buffer]:
        """Fetch the bytes of chunks, with as few requests as the place of the files can do with."""
        if self.meta.sharded:
            unknown = list({job[0] for job in jobs}.difference(self._shards))
            with ThreadPoolExecutor(max(1, min(16, len(unknown)))) as threads:
                list(threads.map(self._index, unknown))
        found = {place for job in jobs if (place := self._locate(*job[:2])) is not None and place[2] > 0}
        wanted = sorted(found)
        return dict(zip(wanted, self.files.read_many(wanted), strict=True))

    def _unpack(self, jobs: Iterable[_Job], got: Mapping[_Found, Buffer] | None) -> None:
        """Fill in parts of chunks; those of one chunk that stand side by side are unpacked once."""
        held: tuple[tuple[int, ...], int] | None = None
        chunk, room = scratch.take("chunk", self.meta.chain.nbytes), self._room()
        for shard, place, inside, target, whole in jobs:
            straight = whole and target.dtype == self.dtype and target.flags.c_contiguous
            if held != (shard, place) or straight:
                found = self._locate(shard, place)
                if found is None:
                    target[...] = self.meta.fill
                    continue
                held = None
                out = target.reshape(-1).view(np.uint8) if straight else chunk
                try:
                    if got is None:
                        self._load(found, out, room)
                    else:
                        self.meta.chain.decode(got.get(found, b""), out)
                except ReadError as error:
                    raise self._damaged(shard, place, error) from None
            if not straight:
                held = shard, place
                np.copyto(target, chunk.view(self.dtype).reshape(self.meta.chunk)[inside], casting="safe")

    def _room(self) -> tuple[NDArray[np.uint8], bytearray]:
        """Return memory of this thread for the bytes of any chunk, and for their checksum."""
        return scratch.take("packed", self.meta.chain.most), scratch.check

    def _load(self, found: _Found, out: NDArray[np.uint8], room: tuple[NDArray[np.uint8], bytearray]) -> None:
        """Read and unpack a chunk into flat memory of its size."""
        name, start, length = found
        if not self.meta.sharded:
            # Others may write such a file anew at any time: what is read is one file, whole.
            self.meta.chain.decode(self.files.read(name), out)
            return
        (packed, check), chain = room, self.meta.chain
        length -= 4 if chain.checked else 0
        if not 0 <= length <= chain.most:
            raise ReadError(f"{length} bytes are not what {chain.nbytes} can be packed to")
        if chain.plain and length == len(out):
            read_plain(self.files, name, start, out, check if chain.checked else None)
            return
        packed = packed[:length]
        behind = (memoryview(check),) if chain.checked else ()
        self.files.read_into(name, start, packed.data, *behind)
        chain.unpack(packed, int.from_bytes(check, "little") if chain.checked else None, out)

    def _locate(self, shard: tuple[int, ...], place: int) -> _Found | None:
        """Return in which file a chunk lies, where, and its length; None if it is not stored, and that means something."""
        if not self.meta.sharded:
            name = self._prefix + self.meta.key(shard)
            size = self.files.size(name)
            if size is None:
                self._check_absent(shard, place)
                return None
            return name, 0, size
        known = self._shards.get(shard) or self._index(shard)
        if known is not None:
            name, index = known
            start = index[2 * place]
            if start != EMPTY:
                return name, start, index[2 * place + 1]
        self._check_absent(shard, place)
        return None

    def _check_absent(self, shard: tuple[int, ...], place: int) -> None:
        if self.missing == "error":
            raise self._damaged(shard, place, "it is not there")

    def _index(self, shard: tuple[int, ...]) -> _Shard | None:
        """Read the index of a shard, and remember it; None if there is no such file."""
        name = self._prefix + self.meta.key(shard)
        size = self.files.size(name)
        if size is None:
            return None
        found = self._shards[shard] = name, read_index(self.meta, self.files, name, size)
        return found

    def _damaged(self, shard: tuple[int, ...], place: int, why: object) -> ReadError:
        inside = np.unravel_index(place, self.meta.inner)
        first = [
            (outer * count + int(n)) * size
            for outer, n, count, size in zip(shard, inside, self.meta.inner, self.meta.chunk, strict=True)
        ]
        return ReadError(
            f"cannot read the chunk at {first} of {self.where}, in its file {self.meta.key(shard)}: {why}; run geodata "
            "verify to find out what must be written again"
        )

    def _empty(self, shape: tuple[int, ...]) -> NDArray[Any]:
        try:
            return np.empty(shape, self.dtype)
        except (MemoryError, ValueError):
            raise ReadError(f"there is not enough memory for {shape} of {self.where}; read less at once") from None

    def _check_out(self, out: NDArray[Any], shape: tuple[int, ...]) -> None:
        if out.shape != shape or (out.dtype != self.dtype and not np.can_cast(self.dtype, out.dtype, "safe")):
            raise DtypeError(
                f"{self.where}: a window of {self.dtype} {shape} does not fit into {out.dtype} {out.shape}"
            )

    def _span(self, part: slice | int, axis: int) -> Span:
        length = self.shape[axis]
        if isinstance(part, slice):
            first = 0 if part.start is None else int(part.start)
            last = length if part.stop is None else int(part.stop)
            step = part.step
        else:
            first, last, step = int(part), int(part) + 1, None
        if step not in (None, 1) or not 0 <= first <= last <= length:
            raise ReadError(f"{self.where}: {part} of axis {axis}, which has length {length}")
        return first, last

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read by integers and slices, as numpy has them."""
        return self.read(block_of(key, self.shape))


def _again(files: Files, name: str, missing: str) -> ShardedArray:
    return ShardedArray(files, name, missing=missing)


def _at(row: int, parts: tuple[slice, ...]) -> tuple[Any, ...]:
    return (row, *parts, ...)  # with the dots numbers are arrays too
