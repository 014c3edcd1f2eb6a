"""The R-tree over x, y and time: a cache that is built when first asked and never travels."""

from __future__ import annotations

import os
import threading

import numpy as np
from numpy.typing import NDArray
from rtree.index import Index, Property

from geodata.catalog.footprint import lonlat_parts
from geodata.readers.gate import passing

__all__ = ["Tree"]

DAY = 86400.0
"""Seconds."""

FOREVER = 1e9
"""Days; stands for an open end, because the tree needs finite numbers."""

CAPACITY = 32
"""Entries of a node: a third faster to search than the 100 of libspatialindex, and as fast to build."""


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
        self._plain = bool((self._row == np.arange(len(self._row))).all())
        low, high = parts[:, :2], parts[:, 2:]
        days = _days(time)[self._row]
        self._span: tuple[float, float] | None = None
        if len(days) and (days == days[0]).all():
            # One time for all tells nothing apart: a tree without it finds in half the time.
            self._span = float(days[0, 0]), float(days[0, 1])
        else:
            low, high = np.column_stack([low, days[:, 0]]), np.column_stack([high, days[:, 1]])
        form = Property(dimension=low.shape[1], leaf_capacity=CAPACITY, index_capacity=CAPACITY)
        items = np.arange(len(parts), dtype=np.int64), np.ascontiguousarray(low), np.ascontiguousarray(high)
        self._index = Index(items, properties=form) if len(parts) else None

    def candidates(self, boxes: NDArray[np.float64], time: tuple[float, float]) -> NDArray[np.int64]:
        """Return sorted unique rows whose boxes touch one of the given ones (M, 4) and the time."""
        start, end = (min(max(t / DAY, -FOREVER), FOREVER) for t in time)
        span = self._span
        if self._index is None or (span is not None and not (span[0] <= end and start <= span[1])):
            return np.empty(0, dtype=np.int64)
        found: list[int] = []
        parts = _plain_parts(boxes.tolist())
        with passing(), _lock:
            for west, south, east, north in parts:
                box = (west, south, east, north) if span is not None else (west, south, start, east, north, end)
                found.extend(self._index.intersection(box))
        if self._plain and len(parts) == 1:
            found.sort()
            return np.array(found, dtype=np.int64)
        return np.unique(self._row[np.array(found, dtype=np.int64)])


def _plain_parts(boxes: list[list[float]]) -> list[list[float]]:
    """Split boxes as `lonlat_parts` does; queries are one box, for which numpy takes longer than the tree."""
    parts = []
    for west, south, east, north in boxes:
        if west <= east:
            parts.append([west, south, east, north])
        elif west > east:
            parts += [[west, south, 180.0, north], [-180.0, south, east, north]]
    return parts


def _days(time: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(time / DAY, -FOREVER, FOREVER)
