"""The R-tree over x, y and time: a cache that is built when first asked and never travels."""

from __future__ import annotations

import os
import threading

import numpy as np
from numpy.typing import NDArray
from rtree.index import Index, Property

from geodata.catalog.footprint import lonlat_parts

__all__ = ["Tree"]

FOREVER = 1e9
"""Days; stands for an open end, because the tree needs finite numbers."""


_lock = threading.Lock()
"""libspatialindex is not made for threads: two searches at once crash the process."""


def _unlock_child() -> None:
    # A thread of the parent may have held it when the process was forked.
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_unlock_child)


class Tree:
    """Candidates by longitude, latitude and time.

    Parameters
    ----------
    boxes : (N, 4) west, south, east, north in degrees; west > east crosses the antimeridian
    time : (N, 2) seconds, -inf and inf allowed
    """

    def __init__(self, boxes: NDArray[np.float64], time: NDArray[np.float64]) -> None:
        parts, self._row = lonlat_parts(boxes)
        days = _days(time)[self._row]
        low = np.ascontiguousarray(np.column_stack([parts[:, :2], days[:, 0]]))
        high = np.ascontiguousarray(np.column_stack([parts[:, 2:], days[:, 1]]))
        self._plain = bool((self._row == np.arange(len(self._row))).all())
        ids = np.arange(len(parts), dtype=np.int64)
        self._index = Index((ids, low, high), properties=Property(dimension=3, leaf_capacity=64)) if len(ids) else None

    def candidates(self, boxes: NDArray[np.float64], time: tuple[float, float]) -> NDArray[np.int64]:
        """Return sorted unique rows whose boxes touch one of the given ones (M, 4) and the time."""
        if self._index is None:
            return np.empty(0, dtype=np.int64)
        start, end = _days(np.array([time]))[0]
        parts, _ = lonlat_parts(boxes)
        found: list[int] = []
        with _lock:
            for west, south, east, north in parts.tolist():
                found.extend(self._index.intersection((west, south, start, east, north, end)))
        rows = np.fromiter(found, dtype=np.int64, count=len(found))
        if self._plain and len(parts) == 1:
            rows.sort()
            return rows
        return np.unique(self._row[rows])

    def pairs(
        self, boxes: NDArray[np.float64], time: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (i, j): box i touches row j; each pair once, sorted."""
        empty = np.empty(0, dtype=np.int64)
        if self._index is None or not len(boxes):
            return empty, empty
        parts, owner = lonlat_parts(boxes)
        days = _days(time)[owner]
        low = np.ascontiguousarray(np.column_stack([parts[:, :2], days[:, 0]]))
        high = np.ascontiguousarray(np.column_stack([parts[:, 2:], days[:, 1]]))
        with _lock:
            ids, counts = self._index.intersection_v(low, high)  # type: ignore[no-untyped-call]
        i = np.repeat(owner, np.asarray(counts, dtype=np.int64))
        j = self._row[np.asarray(ids, dtype=np.int64)]
        both = np.unique(np.column_stack([i, j]), axis=0)
        return both[:, 0], both[:, 1]


def _days(time: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(time / 86400.0, -FOREVER, FOREVER)
