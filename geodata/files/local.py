"""Files of a folder."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from geodata.errors import ReadError, StoreError

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["PARTIAL", "LocalFiles", "close_unused", "settle"]

PARTIAL = ".partial"
"""End of the name of a file that is being written; one that is left over belongs to nobody."""


def _most() -> int:
    """Return a quarter of the files that this process may have open."""
    try:
        import resource
    except ImportError:  # not on Windows
        return 128
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 16384 if soft in (-1, resource.RLIM_INFINITY) else min(max(soft // 4, 16), 16384)


MOST = _most()
"""Files that a process keeps open for reading, however many folders it reads from; ``ulimit -n`` raises it."""

_PIECES = 512  # parts of one call of writev


class _Open:
    """A file descriptor; closed when the last thread that reads from it has let it go."""

    __slots__ = ("number",)

    def __init__(self, path: str) -> None:
        self.number = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))

    def __del__(self) -> None:
        number = getattr(self, "number", None)
        if number is not None:
            os.close(number)


_opened: dict[tuple[object, str], _Open] = {}
"""Files that are open in this process, by who opened them and their names, the one opened first goes first.

There is no lock that a fork could leave shut: every step on it is one of those that a thread does at once. Two threads
that open one file at the same time open it twice, and one of the two is closed when it was read. It is no OrderedDict: in
that, a file closing where an entry is replaced lets another thread in between, and an entry that nobody can take out stays.
"""


def close_unused() -> None:
    """Close every file that no thread reads from now."""
    _opened.clear()


def _open(path: str) -> _Open:
    """Open a file, if need be in place of those that are kept open."""
    try:
        return _Open(path)
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
    close_unused()
    return _Open(path)


def _unreadable(path: str, error: Exception) -> ReadError:
    if isinstance(error, ReadError):
        return error
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return ReadError(f"{path} is not there")
    return ReadError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}")


class LocalFiles:
    """Files below a folder.

    Parameters
    ----------
    root : path of the folder
    """

    remote = False

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)
        self._mine = object()

    def __reduce__(self) -> tuple[type[LocalFiles], tuple[str]]:
        return LocalFiles, (self.root,)

    def __del__(self) -> None:
        mine = getattr(self, "_mine", None)
        for key in list(_opened or ()):
            if key[0] is mine:
                _opened.pop(key, None)

    def path(self, name: str) -> str:
        """Return where a file is."""
        return os.path.join(self.root, name)

    def size(self, name: str) -> int | None:
        """Return the bytes of a file, None if there is none."""
        try:
            return os.stat(self.path(name)).st_size
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise _unreadable(self.path(name), error) from None

    def read(self, name: str, start: int = 0, length: int | None = None) -> Buffer:
        """Return bytes of a file; see `Files.read`. All of a file is that which has its name now."""
        if length is None:
            return self._read_whole(name, start)
        if start < 0 or length < 0:
            raise ReadError(f"{self.path(name)}: {length} bytes from {start} are not in it")
        out = bytearray(length)
        self.read_into(name, start, memoryview(out))
        return out

    def _read_whole(self, name: str, start: int) -> Buffer:
        try:
            file = _open(self.path(name))
            length = os.fstat(file.number).st_size - start
            if length < 0:
                raise ReadError(f"{self.path(name)} ends before byte {start}")
            out = bytearray(length)
            got = os.preadv(file.number, [out], start) if length else 0
            if got < length:
                self._read_on(name, file, start, (memoryview(out),), got)
            return out
        except (OSError, ValueError) as error:
            raise _unreadable(self.path(name), error) from None

    def read_into(self, name: str, start: int, *outs: memoryview) -> None:
        """Fill views of bytes; see `Files.read_into`."""
        try:
            file = _opened.get((self._mine, name)) or self._keep(name)
            got = os.preadv(file.number, outs, start)
            if got < sum(map(len, outs)):
                self._read_on(name, file, start, outs, got)
        except (OSError, ValueError) as error:
            raise _unreadable(self.path(name), error) from None

    def _read_on(self, name: str, file: _Open, start: int, outs: Sequence[memoryview], got: int) -> None:
        """Read what one call of the system did not give: it gives no more than 2 GiB, and less when it is interrupted."""
        end = start + sum(map(len, outs))
        for out in outs:
            done = min(got, len(out))
            got -= done
            start += done
            while done < len(out):
                more = os.preadv(file.number, [out[done:]], start)
                if not more:
                    raise ReadError(f"{self.path(name)} ends before byte {end}: it was cut off, or is being written")
                done += more
                start += more

    def _keep(self, name: str) -> _Open:
        file = _opened[self._mine, name] = _open(self.path(name))
        while len(_opened) > MOST:
            with suppress(StopIteration, RuntimeError):  # another thread was faster
                _opened.pop(next(iter(_opened)), None)
        return file

    def _forget(self, name: str) -> None:
        _opened.pop((self._mine, name), None)

    def read_many(self, requests: Sequence[tuple[str, int, int]]) -> list[Buffer]:
        """Return bytes of several files; see `Files.read_many`."""
        return [self.read(*request) for request in requests]

    def names(self, prefix: str = "") -> Iterator[str]:
        """Yield names of files; see `Files.names`."""
        start = os.path.dirname(prefix)
        for folder, _, files in os.walk(os.path.join(self.root, start)):
            below = os.path.relpath(folder, self.root).replace(os.sep, "/")
            for file in files:
                name = file if below == "." else f"{below}/{file}"
                if name.startswith(prefix):
                    yield name

    def put(self, name: str, parts: Sequence[Buffer]) -> None:
        """Write a file; see `Files.put`."""
        path = self.path(name)
        beside = f"{path}.{secrets.token_hex(8)}{PARTIAL}"
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            number = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            try:
                _write(number, [memoryview(part).cast("B") for part in parts])
                os.fsync(number)
            finally:
                os.close(number)
            os.replace(beside, path)
            self._forget(name)
            settle(os.path.dirname(path))
        except OSError as error:
            raise _cannot(path, error) from None
        finally:
            if os.path.lexists(beside):
                os.unlink(beside)

    def delete(self, name: str) -> None:
        """Remove a file, if it is there, and the folders below the root that it leaves empty."""
        try:
            self._forget(name)
            os.unlink(self.path(name))
        except FileNotFoundError:
            return
        except OSError as error:
            raise _cannot(self.path(name), error) from None
        folder = os.path.dirname(name)
        with suppress(OSError):  # one that holds something else stays
            while folder:
                os.rmdir(self.path(folder))
                folder = os.path.dirname(folder)


def _write(number: int, views: list[memoryview]) -> None:
    """Write all of many views."""
    for at in range(0, len(views), _PIECES):
        left = [view for view in views[at : at + _PIECES] if len(view)]
        while left:
            done = os.writev(number, left)
            while left and done >= len(left[0]):
                done -= len(left.pop(0))
            if left and done:
                left[0] = left[0][done:]


def settle(path: str | os.PathLike[str]) -> None:
    """Have a file, or the names in a folder, on the disk itself."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _cannot(path: str, error: OSError) -> StoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(f"cannot write {path}: the disk is full; free some space and run the same command again")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreError(f"cannot write {path}: {error.strerror}; choose a place that can be written to")
    return StoreError(f"cannot write {path}: {error.strerror or error}")
