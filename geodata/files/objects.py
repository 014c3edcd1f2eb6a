"""Files as objects of S3, Google Cloud Storage or Azure."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from geodata.errors import ReadError, StoreError
from geodata.files.client import KINDS, Connection, alone, reason
from geodata.files.whole import Whole

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["ObjectFiles"]

T = TypeVar("T")

GAP = 1 << 20
"""Bytes between two ranges of one object that are rather read than left out at the price of a request."""

SINGLE = 64 << 20
"""Larger objects are uploaded in several requests."""

AT_ONCE = 8
"""Objects that one call reads from at the same time."""

_PART = 16 << 20
_PARTS = 9_000  # S3 takes 10,000


class _AbsentError(ReadError):
    """There is no such object."""


class _Opened:
    """What one process has of a place: the connection, objects in memory, and what was asked for."""

    def __init__(self, root: str, cache: int) -> None:
        self.connection = Connection(root)
        self.process = self.connection.process
        self.lib, self.store = self.connection.lib, self.connection.store
        self.whole = Whole(cache) if cache else None
        self.requests = {"gets": 0, "bytes": 0}
        self.lock = threading.Lock()

    def count(self, gets: int, size: int) -> None:
        with self.lock:
            self.requests["gets"] += gets
            self.requests["bytes"] += size


class ObjectFiles:
    """Objects below a prefix. Credentials and endpoint are those of the environment, of an AWS profile, or of a role.

    Requests are tried again, for up to a minute, after lost connections, timeouts and 5xx answers. Each process, also one
    made by fork, opens its own connections.

    Parameters
    ----------
    root : URL ``s3://bucket/prefix``, ``gs://bucket/prefix`` or ``az://container/prefix``
    cache : bytes of memory, per process, for whole objects
        With it the first read in an object fetches all of it by one request, and later reads are slices of it: right if
        most of an object is read before the next one. Objects that are larger, and all if it is 0, are read by ranges.

    Raises
    ------
    ReadError
        If the URL is of no kind that is known, or names no bucket.

    Examples
    --------
    >>> ObjectFiles("s3://bucket/reben.zarr/").root
    's3://bucket/reben.zarr'
    """

    remote = True

    def __init__(self, root: str, cache: int = 0) -> None:
        scheme, _, rest = root.partition("://")
        bucket, _, prefix = rest.partition("/")
        if scheme not in KINDS or not bucket:
            known = ", ".join(f"{kind}://bucket/prefix" for kind in KINDS)
            raise ReadError(f"{root!r} is no URL of an object store; known are {known}")
        if cache < 0:
            raise ReadError(f"cache is {cache} bytes; give 0 or more")
        if prefix.rstrip("/"):
            _check(prefix.rstrip("/"), ReadError)
        self.root = root.rstrip("/")
        self.cache = cache
        self._opened: _Opened | None = None

    def __reduce__(self) -> tuple[type[ObjectFiles], tuple[str, int]]:
        return ObjectFiles, (self.root, self.cache)

    @property
    def requests(self) -> dict[str, int]:
        """What this process fetched until now: "gets" counts requests, "bytes" what they returned."""
        opened = self._open()
        with opened.lock:
            return dict(opened.requests)

    def size(self, name: str) -> int | None:
        """Return the bytes of an object, None if there is none; errors as `read`."""
        _check(name, ReadError)
        lib, store = self._open().lib, self._open().store
        try:
            return int(self._do(name, lambda: lib.head(store, name))["size"])
        except _AbsentError:
            return None

    def read(self, name: str, start: int = 0, length: int | None = None) -> Buffer:
        """Return bytes of an object; see `Files.read`."""
        if length is not None:
            return self.read_many([(name, start, length)])[0]
        whole = self._whole(name)
        if whole is None:
            whole = self._fetch(name)
        return self._slice(name, whole, start, len(whole) - start)

    def read_into(self, name: str, start: int, *outs: memoryview) -> None:
        """Fill views of bytes; see `Files.read_into`."""
        got, at = memoryview(self.read(name, start, sum(map(len, outs)))), 0
        for out in outs:
            out[:] = got[at : at + len(out)]
            at += len(out)

    def read_many(self, requests: Sequence[tuple[str, int, int]]) -> list[Buffer]:
        """Return parts of objects; see `Files.read_many`."""
        places: dict[str, list[int]] = {}
        for at, (name, _, _) in enumerate(requests):
            places.setdefault(name, []).append(at)

        def of_one(name: str) -> list[Buffer]:
            wanted = [requests[at][1:] for at in places[name]]
            whole = self._whole(name)
            if whole is None:
                return self._ranges(name, wanted)
            return [self._slice(name, whole, start, length) for start, length in wanted]

        out: list[Buffer] = [b""] * len(requests)
        for name, parts in zip(places, _at_once(of_one, list(places)), strict=True):
            for at, part in zip(places[name], parts, strict=True):
                out[at] = part
        return out

    def names(self, prefix: str = "") -> Iterator[str]:
        """Yield names of objects; see `Files.names`. Errors as `read`."""
        folder = prefix.rpartition("/")[0]
        if folder:
            _check(folder, ReadError)
        lib, store = self._open().lib, self._open().store
        pages = self._do(folder, lambda: lib.list(store, folder or None, chunk_size=1000))
        while page := self._do(folder, lambda: next(pages, None)):
            yield from (entry["path"] for entry in page if entry["path"].startswith(prefix))

    def put(self, name: str, parts: Sequence[Buffer]) -> None:
        """Write an object; see `Files.put`. A large one is uploaded in pieces, and appears when all are there."""
        _check(name, StoreError)
        opened = self._open()
        views = [view for view in (memoryview(part).cast("B") for part in parts) if len(view)]
        size = sum(map(len, views))
        several = size > SINGLE
        pieces = {"chunk_size": max(_PART, -(-size // _PARTS))} if several else {}
        # No more pieces in flight than fit in the memory of a few shards.
        how = {"use_multipart": several, "max_concurrency": 4, **pieces}
        self._do(name, lambda: opened.lib.put(opened.store, name, views, **how), StoreError)
        if opened.whole is not None:
            opened.whole.forget(name)

    def delete(self, name: str) -> None:
        """Remove an object, if it is there; raises `StoreError`."""
        _check(name, StoreError)
        opened = self._open()

        def remove() -> None:
            with suppress(FileNotFoundError):
                opened.lib.delete(opened.store, name)

        self._do(name, remove, StoreError)
        if opened.whole is not None:
            opened.whole.forget(name)

    def _open(self) -> _Opened:
        opened = self._opened
        if opened is None or opened.process != os.getpid():
            with alone():
                opened = self._opened
                if opened is None or opened.process != os.getpid():
                    opened = self._opened = _Opened(self.root, self.cache)
        return opened

    def _whole(self, name: str) -> memoryview | None:
        """Return an object from memory, fetched if need be; None if objects are not kept or this one is too large."""
        whole = self._open().whole
        return whole.get(name, lambda fits: self._fetch(name, fits)) if whole is not None else None

    def _fetch(self, name: str, fits: Callable[[int], bool] | None = None) -> Any:
        """Return all bytes of an object by one request, None if its size does not fit."""
        opened = self._open()

        def get() -> memoryview | None:
            answer = opened.lib.get(opened.store, name)
            return memoryview(answer.bytes()) if fits is None or fits(answer.meta["size"]) else None

        _check(name, ReadError)
        got = self._do(name, get)
        opened.count(1, len(got) if got is not None else 0)
        return got

    def _ranges(self, name: str, wanted: Sequence[tuple[int, int]]) -> list[Buffer]:
        """Return ranges of one object, near ones by one request."""
        _check(name, ReadError)
        if any(start < 0 or length < 0 for start, length in wanted):
            raise ReadError(f"{self.root}/{name}: start and length must be 0 or more, got {wanted[:3]}")
        opened = self._open()
        if any(not length for _, length in wanted):
            self._holds(name, max(start for start, length in wanted if not length))
        spans = _spans([(start, start + length) for start, length in wanted if length])
        starts, ends = [start for start, _ in spans], [end for _, end in spans]
        got: list[memoryview] = []
        if spans:
            answers = self._do(
                name, lambda: opened.lib.get_ranges(opened.store, name, starts=starts, ends=ends, coalesce=0)
            )
            got = [memoryview(answer) for answer in answers]
        opened.count(len(spans), sum(map(len, got)))
        return [self._part(name, spans, got, start, length) for start, length in wanted]

    def _part(
        self, name: str, spans: list[tuple[int, int]], got: list[memoryview], start: int, length: int
    ) -> memoryview:
        if not length:
            return memoryview(b"")
        at = max(at for at, (begin, _) in enumerate(spans) if begin <= start)
        return self._slice(name, got[at], start - spans[at][0], length, spans[at][0])

    def _slice(self, name: str, held: memoryview, start: int, length: int, offset: int = 0) -> memoryview:
        if start < 0 or length < 0 or start + length > len(held):
            end = offset + start + max(length, 0)
            raise ReadError(
                f"{self.root}/{name} ends at byte {offset + len(held)}, before byte {end}: "
                "it was cut off or replaced, or is not the file that was meant"
            )
        return held[start : start + length]

    def _holds(self, name: str, byte: int) -> None:
        size = self.size(name)
        if size is None:
            raise _AbsentError(f"{self.root}/{name} is not there")
        if size < byte:
            raise ReadError(f"{self.root}/{name} has {size} bytes, and byte {byte} was asked for")

    def _do(self, name: str, work: Callable[[], T], kind: type[ReadError | StoreError] = ReadError) -> T:
        """Call the library, and raise its errors as our own."""
        place = f"{self.root}/{name}".rstrip("/")
        try:
            return work()
        except FileNotFoundError as error:
            said = str(error)
            if kind is ReadError and "NoSuchBucket" not in said and "ContainerNotFound" not in said:
                raise _AbsentError(f"{place} is not there") from None
            raise kind(f"{place}: {reason(error)}") from None
        except (self._open().lib.exceptions.BaseError, ValueError, OSError) as error:
            if "416 Range Not Satisfiable" in str(error):
                raise ReadError(
                    f"{place} ends before the bytes that were asked for: it was cut off or replaced"
                ) from None
            verb = "read" if kind is ReadError else "write"
            raise kind(f"cannot {verb} {place}: {reason(error)}") from None


def _check(name: str, kind: type[ReadError | StoreError]) -> None:
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise kind(f"{name!r} is no name below a root; name an object by parts between single /, none of them . or ..")


def _spans(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the ranges, sorted and merged where little lies between them."""
    spans: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if spans and start - spans[-1][1] <= GAP:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        else:
            spans.append((start, end))
    return spans


def _at_once(work: Callable[[str], T], names: list[str]) -> list[T]:
    """Return results in order, of a few calls at a time."""
    if len(names) < 2:
        return [work(name) for name in names]
    with ThreadPoolExecutor(min(AT_ONCE, len(names))) as pool:
        return list(pool.map(work, names))
