"""Files that hold arrays: what a reader of one format offers, and the few that a process keeps open."""

from __future__ import annotations

import os
import struct
import threading
import tokenize
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from geodata.errors import GeodataError, MissingDependencyError, ReadError
from geodata.readers.gate import passing
from geodata.readers.layout import LazyArray
from geodata.readers.room import gives_way, most_files, with_room

__all__ = ["ArrayFile", "Arrays", "OpenFiles", "missing", "needs", "open_files", "telling"]

Arrays = dict[str, tuple[tuple[int, ...], str]]
"""Shape and kind by name: a numpy dtype, or what the format calls that which is no array of numbers."""

MOST = 64
"""Files that a process keeps open; less where it may have few."""


class ArrayFile(Protocol):
    """An open file."""

    layout: str
    """The axes of its arrays where the format fixes them, else ``""``."""

    def arrays(self) -> Arrays:
        """Return what is in it."""

    def array(self, inside: str) -> LazyArray:
        """Return an array, to be used while the file is open."""

    def texts(self, inside: str) -> list[str]:
        """Return a list of texts."""

    def close(self) -> None:
        """Close it."""


File = TypeVar("File", bound=ArrayFile)

_RAISED: tuple[type[Exception], ...] = (
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    tokenize.TokenError,  # of the header of a .npy file
    zlib.error,
)


@contextmanager
def telling(what: str, *also: type[Exception]) -> Iterator[None]:
    """Turn what the libraries raise over a file into a ReadError.

    Parameters
    ----------
    what : "cannot read ...", the beginning of the message
    also : errors of the library's own
    """
    try:
        yield
    except GeodataError:
        raise
    except MemoryError:
        raise ReadError(f"{what}: there is not enough memory; read less at once") from None
    except (*_RAISED, *also) as error:
        raise ReadError(f"{what}: {error or type(error).__name__}") from None


def missing(href: str, inside: str, arrays: Arrays, what: str = "array") -> ReadError:
    """Return the error that says which arrays there are instead."""
    shown = [f"{name} {shape} {kind}" for name, (shape, kind) in list(arrays.items())[:40]]
    more = f" and {len(arrays) - 40} more" if len(arrays) > 40 else ""
    return ReadError(f"{href} holds no {what} {inside!r}; it holds {', '.join(shown) or 'nothing'}{more}")


def needs(package: str, extra: str = "formats") -> MissingDependencyError:
    """Return the error that says what to install."""
    return MissingDependencyError(f"this file needs {package}; install it with: pip install 'geodata[{extra}]'")


Stamp = tuple[int, int, int, int]
"""A file as it was when it was opened: device, inode, time of change in ns, bytes."""

Key = tuple[str, tuple[Stamp, ...]]
"""By what files were opened, and as what."""


class _Entry:
    __slots__ = ("dropped", "file", "users")

    def __init__(self, file: Any) -> None:
        self.file = file
        self.users = 1
        self.dropped = False


class OpenFiles:
    """Open files of this process, the longest unused closed first, none while it is read.

    A forked child starts with none: the file position and the locks of a file that it inherits are those of its parent.
    Those files are kept aside and never touched.
    """

    def __init__(self) -> None:
        self._lock, self._opening = threading.Lock(), threading.Lock()
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._aside: list[Mapping[Key, _Entry]] = []

    @contextmanager
    def lend(self, href: str, places: Sequence[str], opener: Callable[[str], File]) -> Iterator[File]:
        """Lend an open file; the process is not forked meanwhile.

        Parameters
        ----------
        href : path that the opener takes
        places : paths of the files whose change means that it must be opened again, first that of the numbers
        """
        with passing():
            key = opener.__module__, tuple(_stamp(href, place) for place in places)
            entry = self._take(key)
            if entry is None:
                with self._opening:  # some libraries open a file only once
                    entry = self._take(key) or self._keep(key, with_room(lambda: opener(href)))
            try:
                yield entry.file
            finally:
                self._give_back(entry)

    def _take(self, key: Key) -> _Entry | None:
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                entry.users += 1
                self._entries.move_to_end(key)
                return entry
            # The same file as it was before.
            old = [k for k in self._entries if k[0] == key[0] and k[1][0][:2] == key[1][0][:2]]
            idle = [self._drop(k) for k in old]
        _close(idle)
        return None

    def _keep(self, key: Key, file: ArrayFile) -> _Entry:
        idle: list[_Entry | None] = []
        with self._lock:
            entry = self._entries[key] = _Entry(file)
            while len(self._entries) > max(1, min(MOST, most_files() // 8)):
                idle.append(self._drop(next(iter(self._entries))))
        _close(idle)
        return entry

    def _drop(self, key: Key) -> _Entry | None:
        """Forget a file and return it if nobody reads it; else who reads it last closes it."""
        entry = self._entries.pop(key)
        entry.dropped = True
        return None if entry.users else entry

    def _give_back(self, entry: _Entry) -> None:
        with self._lock:
            entry.users -= 1
            last = entry.dropped and not entry.users
        if last:
            _close([entry])

    def clear(self) -> None:
        """Close every file that nobody reads."""
        with passing():
            with self._lock:
                idle = [self._drop(key) for key, entry in list(self._entries.items()) if not entry.users]
            _close(idle)

    def renew(self) -> None:
        """Start afresh in a forked child."""
        self._lock, self._opening = threading.Lock(), threading.Lock()
        self._aside.append(self._entries)
        self._entries = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)


def _stamp(href: str, place: str) -> Stamp:
    try:
        stat = os.stat(place)
    except (OSError, ValueError) as error:
        raise ReadError(f"cannot open {href}: {getattr(error, 'strerror', None) or error}") from None
    return stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size


def _close(entries: list[_Entry | None]) -> None:
    for entry in entries:
        if entry is not None:
            entry.file.close()


open_files = OpenFiles()
"""Those of this process."""

gives_way(open_files.clear)
os.register_at_fork(after_in_child=open_files.renew)
