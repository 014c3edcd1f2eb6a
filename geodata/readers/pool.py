"""Open GDAL handles: bounded, per process, never shared by two threads at once."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import rasterio
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from geodata.errors import ReadError
from geodata.readers.base import quietly

__all__ = ["HandlePool", "handles", "open_raster"]


def open_raster(href: str) -> DatasetReader:
    """Open a raster for reading.

    Raises
    ------
    ReadError
        If the file is missing, empty, truncated in its header, or of no format that GDAL knows.
    """
    try:
        with quietly():
            return rasterio.open(href)
    except (RasterioError, OSError) as error:
        hint = " (the file is empty)" if os.path.isfile(href) and os.path.getsize(href) == 0 else ""
        raise ReadError(f"cannot open {href}{hint}: {error}") from None


Stamp = tuple[str, int, int, int]
"""A file as it was when it was opened: path, inode, time of change in ns, bytes. A file written anew gets a new handle."""


def _stamp(href: str) -> Stamp:
    try:
        stat = os.stat(href)
    except OSError:
        return href, 0, 0, 0  # a URL, or a file that is gone: opening it will say so
    return href, stat.st_ino, stat.st_mtime_ns, stat.st_size


class HandlePool:
    """Idle handles by file and its time of change, oldest closed first.

    A handle is taken out while it is read, so two threads never share one. A forked child starts with an empty pool:
    a handle inherited through fork shares its file position with the parent and would return wrong pixels. The
    inherited handles are kept aside and never touched, because closing them could disturb the parent.

    Parameters
    ----------
    limit : int, >= 1
        Idle handles kept open.
    """

    def __init__(self, limit: int = 128) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._idle: OrderedDict[Stamp, list[DatasetReader]] = OrderedDict()
        self._count = 0
        self._inherited: list[object] = []

    @contextmanager
    def take(self, href: str) -> Iterator[DatasetReader]:
        """Lend a handle; it comes back at the end of the block, or is closed if the block failed."""
        self._leave_parent()
        stamp = _stamp(href)
        with self._lock:
            waiting = self._idle.get(stamp)
            handle = waiting.pop() if waiting else None
            if handle is not None:
                self._count -= 1
                if not waiting:
                    del self._idle[stamp]
        if handle is None:
            handle = open_raster(href)
        try:
            yield handle
        except BaseException:
            handle.close()
            raise
        self._give_back(stamp, handle)

    def _give_back(self, stamp: Stamp, handle: DatasetReader) -> None:
        surplus: list[DatasetReader] = []
        with self._lock:
            self._idle.setdefault(stamp, []).append(handle)
            self._idle.move_to_end(stamp)
            self._count += 1
            while self._count > self.limit:
                oldest, waiting = next(iter(self._idle.items()))
                surplus.append(waiting.pop(0))
                self._count -= 1
                if not waiting:
                    del self._idle[oldest]
        for old in surplus:
            old.close()

    def _leave_parent(self) -> None:
        if self._pid != os.getpid():
            self._lock = threading.Lock()
            self._inherited.append(self._idle)
            self._idle = OrderedDict()
            self._count = 0
            self._pid = os.getpid()

    def clear(self) -> None:
        """Close every idle handle of this process."""
        self._leave_parent()
        with self._lock:
            idle, self._idle, self._count = self._idle, OrderedDict(), 0
        for waiting in idle.values():
            for handle in waiting:
                handle.close()

    def __len__(self) -> int:
        return self._count if self._pid == os.getpid() else 0


handles = HandlePool()
"""The pool of this process."""
