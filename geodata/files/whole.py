"""Whole objects kept in memory, so that a training asks once for a shard and not once for each sample."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future

__all__ = ["Whole"]

Fetch = Callable[[Callable[[int], bool]], memoryview | None]
"""Download an object; it is told how to ask, once the size is known, if that size may be kept. None if not."""


class Whole:
    """Objects, the longest unused dropped first. Threads that want the same one wait for one download.

    Slices that are still in use keep their object in memory after it is dropped here.

    Parameters
    ----------
    limit : bytes that are kept; an object that is larger is never kept
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held = 0
        self._lock = threading.Lock()
        self._objects: OrderedDict[str, memoryview] = OrderedDict()
        self._coming: dict[str, Future[memoryview | None]] = {}
        self._large: set[str] = set()

    def get(self, name: str, fetch: Fetch) -> memoryview | None:
        """Return all bytes of an object, None if it is too large to keep; errors are those of ``fetch``."""
        with self._lock:
            found = self._objects.get(name)
            if found is not None:
                self._objects.move_to_end(name)
                return found
            if name in self._large:
                return None
            coming = self._coming.get(name)
            mine: Future[memoryview | None] = Future()
            if coming is None:
                self._coming[name] = mine
        return coming.result() if coming is not None else self._download(name, fetch, mine)

    def _download(self, name: str, fetch: Fetch, coming: Future[memoryview | None]) -> memoryview | None:
        try:
            got = fetch(self._make_room)
        except BaseException as error:
            with self._lock:
                self._coming.pop(name, None)
            coming.set_exception(error)
            raise
        with self._lock:
            # Somebody may have replaced the object on the way: it is then given to those who asked, and not kept.
            current = self._coming.get(name) is coming
            if current:
                del self._coming[name]
            if got is None:
                self._large.add(name)
            elif current:
                self._objects[name] = got
                self._held += len(got)
                self._drop(0)
        coming.set_result(got)
        return got

    def _make_room(self, size: int) -> bool:
        with self._lock:
            if size <= self.limit:
                self._drop(size)
            return size <= self.limit

    def _drop(self, size: int) -> None:
        while self._objects and self._held + size > self.limit:
            self._held -= len(self._objects.popitem(last=False)[1])

    def forget(self, name: str) -> None:
        """Drop an object that is written or deleted."""
        with self._lock:
            found = self._objects.pop(name, None)
            self._held -= len(found) if found is not None else 0
            self._coming.pop(name, None)
            self._large.discard(name)
