"""A file on a local disk, open for one read."""

from __future__ import annotations

import os
import stat
import sys
import time
from threading import local

__all__ = ["LocalFile", "Stamp", "unsettled"]

Stamp = tuple[str, int, int, int, int]
"""Path, inode, times of change of content and of anything in ns, bytes: a file written anew is another file."""

TICK = 20_000_000
"""Nanoseconds in which a file may change twice with the same time of change; 10 ms at most before Linux 6.13."""

KEPT_ROOM = 1 << 24
"""Bytes up to which the room of borrowed bytes is kept for the next read."""

_scratch = local()


def unsettled(found: os.stat_result, tick: int = TICK) -> bool:
    """Whether something may change again and still have these times of change."""
    now = time.time_ns()
    return abs(now - found.st_mtime_ns) < tick or abs(now - found.st_ctime_ns) < tick


# Opening a pipe would wait for somebody to write. On Windows lines would be translated.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class LocalFile:
    """A file and what is known of its first bytes.

    Parameters
    ----------
    href : str
        Path as it is given to ``open``.

    Raises
    ------
    OSError, ValueError
        If there is no such file, the name cannot be one, or it is a folder, pipe or device.
    """

    __slots__ = ("_file", "_head", "found", "size", "stamp")

    def __init__(self, href: str) -> None:
        self._file = os.open(href, _FLAGS)
        self.found = found = os.fstat(self._file)
        if not stat.S_ISREG(found.st_mode):
            os.close(self._file)
            raise OSError(f"{href} is no regular file")
        self.size = found.st_size
        self.stamp: Stamp = href, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size
        self._head = b""

    def bring(self, count: int) -> bytes:
        """Read the first bytes, which are then at hand, and return them."""
        self._head = self._read(0, min(count, self.size))
        return self._head

    def at(self, offset: int, count: int) -> bytes | None:
        """Return bytes, None if the file does not have them all."""
        if offset + count <= len(self._head):
            return self._head[offset : offset + count]
        # Nothing is made room for that is not there: numbers in a header may be anything.
        if offset + count > self.size:
            return None
        found = self._read(offset, count)
        return found if len(found) == count else None

    def borrow(self, offset: int, count: int) -> memoryview | None:
        """Return bytes that the next call in this thread overwrites: no new memory has to be brought in."""
        if sys.platform == "win32" or offset + count <= len(self._head) or count > KEPT_ROOM:
            found = self.at(offset, count)
            return None if found is None else memoryview(found)
        if offset + count > self.size:
            return None
        room = getattr(_scratch, "room", None)
        if room is None or len(room) < count:
            room = _scratch.room = memoryview(bytearray(count))
        part: memoryview = room[:count]
        return part if os.preadv(self._file, [part], offset) == count else None

    def close(self) -> None:
        """Close it."""
        os.close(self._file)

    def _read(self, offset: int, count: int) -> bytes:
        if sys.platform == "win32":
            os.lseek(self._file, offset, os.SEEK_SET)
            return os.read(self._file, count)
        return os.pread(self._file, count, offset)
