"""File handles of the process: whether there are any left, and what gives way when there are not."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from geodata.errors import GeodataError, ReadError

__all__ = ["check_room", "gives_way", "most_files", "with_room"]

SPARE = 8
"""Files that one reader may open at once: a shapefile is five of them, and the folder is listed."""

PAUSES = (0.0, 0.01, 0.05, 0.25)
"""Seconds until the next try: other threads give their files back meanwhile."""

_UNKNOWN = 512
_WORDS = os.strerror(errno.EMFILE)

Found = TypeVar("Found")


class _NoRoomError(ReadError):
    """Not a file is to blame but how many are open; tried again, and never seen outside as such."""


_idle: list[Callable[[], None]] = []


def gives_way(close: Callable[[], None]) -> None:
    """Name a function that closes files which nobody uses now."""
    _idle.append(close)


def most_files() -> int:
    """Return how many files this process may have open."""
    try:
        import resource
    except ImportError:  # not on Windows
        return _UNKNOWN
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _UNKNOWN if soft in (-1, resource.RLIM_INFINITY) else soft


def check_room(href: str) -> None:
    """Refuse what was read while there were no file handles left; call it while the file is still open.

    GDAL passes over a mask or a file of metadata that it cannot open, in silence.

    Raises
    ------
    ReadError
        If less than a few files could be opened now.
    """
    if not _is_room():
        raise _NoRoomError(f"cannot read {href}: {_advice()}")


def _advice() -> str:
    return (
        f"{_WORDS.lower()}, of {most_files()} that this process may have; raise the limit (ulimit -n), close files, or "
        "read with fewer threads"
    )


def with_room(work: Callable[[], Found]) -> Found:
    """Do what opens files. If there are no file handles left, close what is idle and do it again.

    Raises
    ------
    ReadError
        If there are none left then either.
    """
    if not _is_room():
        _make_room()
    for pause in PAUSES:
        try:
            return work()
        except (GeodataError, OSError) as error:
            if not _for_want_of_room(error):
                raise
        _make_room()
        time.sleep(pause)
    try:
        return work()
    except (GeodataError, OSError) as error:
        if not _for_want_of_room(error):
            raise
        said = str(error)
        raise ReadError(said if _advice() in said else f"{said}: {_advice()}") from None


def _for_want_of_room(error: Exception) -> bool:
    # Some formats say no more than that a file cannot be opened.
    return isinstance(error, _NoRoomError) or _WORDS in str(error) or not _is_room()


def _make_room() -> None:
    for close in _idle:
        close()


def _is_room() -> bool:
    taken: list[int] = []
    with suppress(OSError):
        taken.append(os.open(os.devnull, os.O_RDONLY))
        while len(taken) < SPARE:
            taken.append(os.dup(taken[0]))
    for number in taken:
        os.close(number)
    return len(taken) == SPARE
