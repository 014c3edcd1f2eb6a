"""Open GDAL handles: bounded, per process, never shared by two threads at once."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import rasterio
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from geodata.errors import ReadError
from geodata.readers.base import quietly
from geodata.readers.gate import alone, passing
from geodata.readers.room import check_room, gives_way, most_files
from geodata.readers.vrt import open_admitted

__all__ = ["HandlePool", "handles", "open_raster"]


def open_raster(href: str) -> DatasetReader:
    """Open a raster for reading.

    Raises
    ------
    ReadError
        If the file is missing, empty, truncated in its header, of no format that GDAL knows, or if it would read files
        outside of its folder; see `geodata.readers.guard`.
    """
    try:
        with passing(), quietly():
            return open_admitted(href)
    except ReadError:
        raise
    except (RasterioError, OSError, ValueError) as error:
        hint = " (the file is empty)" if os.path.isfile(href) and os.path.getsize(href) == 0 else ""
        raise ReadError(f"cannot open {href}{hint}: {error}") from None


_USUAL = 128
_USUAL_SOURCES = 100  # of GDAL


def _few_sources() -> rasterio.Env:
    """Keep the files that VRTs are made of, which stay open as well, within what the process may have."""
    return rasterio.Env.from_defaults(GDAL_MAX_DATASET_POOL_SIZE=max(2, min(_USUAL_SOURCES, most_files() // 4)))


Stamp = tuple[str, int, int, int]
"""A file as it was when it was opened: path, inode, time of change in ns, bytes. A file written anew gets a new handle."""


def _stamp(href: str) -> Stamp:
    try:
        stat = os.stat(href)
    except (OSError, ValueError):
        return href, 0, 0, 0  # a URL, or a file that is gone: opening it will say so
    return href, stat.st_ino, stat.st_mtime_ns, stat.st_size


def _process() -> tuple[int, int]:
    """What no other process has: numbers of processes are used again."""
    return os.getpid(), _forks


_forks = 0


def _count_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


class _Idle:
    """Handles of one process that nobody reads now, the longest unused first."""

    __slots__ = ("by_file", "count", "lock")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.by_file: OrderedDict[Stamp, list[DatasetReader]] = OrderedDict()
        self.count = 0

    def take(self, stamp: Stamp) -> DatasetReader | None:
        with self.lock:
            waiting = self.by_file.get(stamp)
            if not waiting:
                return None
            self.count -= 1
            handle = waiting.pop()
            if not waiting:
                del self.by_file[stamp]
        return handle

    def give_back(self, stamp: Stamp, handle: DatasetReader) -> None:
        with self.lock:
            self.by_file.setdefault(stamp, []).append(handle)
            self.by_file.move_to_end(stamp)
            self.count += 1

    def surplus(self, limit: int) -> list[DatasetReader]:
        """Remove and return handles beyond a limit."""
        out: list[DatasetReader] = []
        with self.lock:
            while self.count > limit:
                oldest, waiting = next(iter(self.by_file.items()))
                out.append(waiting.pop(0))
                self.count -= 1
                if not waiting:
                    del self.by_file[oldest]
        return out

    def of_file(self, href: str) -> list[DatasetReader]:
        """Remove and return the handles of a file."""
        with self.lock:
            found = [self.by_file.pop(stamp) for stamp in list(self.by_file) if stamp[0] == href]
            out = [handle for waiting in found for handle in waiting]
            self.count -= len(out)
        return out


class HandlePool:
    """Idle handles by file and its time of change, oldest closed first.

    A handle is taken out while it is read, so two threads never share one. A forked child starts with an empty pool:
    a handle inherited through fork shares its file position with the parent and would return wrong pixels. The
    inherited handles are kept aside and never touched, because closing them could disturb the parent.

    Parameters
    ----------
    limit : int >= 1, or None
        Idle handles kept open. None keeps 128, or a quarter of the files that the process may have open if that is less.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self._by_process: dict[tuple[int, int], _Idle] = {}

    @property
    def _idle(self) -> _Idle:
        # No lock: one that a thread of the parent held at the fork would never be free again.
        return self._by_process.get(_process()) or self._by_process.setdefault(_process(), _Idle())

    @contextmanager
    def take(self, href: str) -> Iterator[DatasetReader]:
        """Lend a handle; it comes back at the end of the block, or is closed if the block failed.

        The process is not forked meanwhile.

        Raises
        ------
        ReadError
            If the file cannot be opened. If no file handles were left at the end of the block: masks may be missing.
        """
        driver = ""
        try:
            with passing():
                stamp = _stamp(href)
                handle = self._idle.take(stamp) or open_raster(href)
                driver = handle.driver
                try:
                    with _few_sources() if driver == "VRT" else nullcontext():
                        yield handle
                    check_room(href)
                except BaseException:
                    handle.close()
                    raise
                self._idle.give_back(stamp, handle)
                self._close(self._idle.surplus(self._most()))
        except BaseException:
            if driver == "VRT":
                self._forget()
            raise

    def _most(self) -> int:
        return min(_USUAL, most_files() // 4) if self.limit is None else self.limit

    def _forget(self) -> None:
        """Close what is idle while nothing is read.

        GDAL keeps a list of the files that VRTs are made of, and drops it with the last VRT. A file in it that could not be
        opened once counts as empty from then on, without an error, even for another VRT.
        """
        with alone():
            self._close(self._idle.surplus(0))

    def drop(self, href: str) -> None:
        """Close the idle handles of a file: what stands beside it may have changed since they were opened."""
        with passing():
            self._close(self._idle.of_file(href))

    def clear(self) -> None:
        """Close every idle handle of this process."""
        with passing():
            self._close(self._idle.surplus(0))

    @staticmethod
    def _close(handles: list[DatasetReader]) -> None:
        for handle in handles:
            handle.close()

    def __len__(self) -> int:
        return self._idle.count


handles = HandlePool()
"""The pool of this process."""

gives_way(handles.clear)
