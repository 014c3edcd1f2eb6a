"""All pairs of two sets of boxes that touch: sorted once, not looked up one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["touching"]

Rows = NDArray[np.int64]
Boxes = NDArray[np.float64]

AT_ONCE = 1 << 21
"""Pairs that are looked at together."""

MOST_STRIPS = 1 << 20


def touching(a: Boxes, b: Boxes) -> Iterator[tuple[Rows, Rows]]:
    """Yield (i, j) in parts, each pair once: box i of a and box j of b have a point in common.

    The plane is cut into strips as high as the mean box, so a box lies in two or three of them. Within a strip the boxes
    of one set that start under a box of the other stand side by side once they are sorted.

    Parameters
    ----------
    a, b : (N, 4) and (M, 4) finite left, bottom, right, top; left <= right and bottom <= top
    """
    if not (len(a) and len(b)):
        return
    bottom, top = min(a[:, 1].min(), b[:, 1].min()), max(a[:, 3].max(), b[:, 3].max())
    height = ((a[:, 3] - a[:, 1]).sum() + (b[:, 3] - b[:, 1]).sum()) / (len(a) + len(b))
    height = max(height, (top - bottom) / MOST_STRIPS) or 1.0
    # Which strip a pair is found in: the first that both lie in, and in no other.
    first_a, first_b = _strip(a[:, 1], bottom, height), _strip(b[:, 1], bottom, height)
    in_a, in_b = _spread(first_a, _strip(a[:, 3], bottom, height)), _spread(first_b, _strip(b[:, 3], bottom, height))
    for i, j, strip in _starting_under(a, in_a, b, in_b, "left"):
        keep = (strip == np.maximum(first_a[i], first_b[j])) & (a[i, 1] <= b[j, 3]) & (b[j, 1] <= a[i, 3])
        yield i[keep], j[keep]
    for j, i, strip in _starting_under(b, in_b, a, in_a, "right"):
        keep = (strip == np.maximum(first_a[i], first_b[j])) & (a[i, 1] <= b[j, 3]) & (b[j, 1] <= a[i, 3])
        yield i[keep], j[keep]


def _strip(y: NDArray[np.float64], bottom: float, height: float) -> Rows:
    return np.floor((y - bottom) / height).astype(np.int64)


def _spread(first: Rows, last: Rows) -> tuple[Rows, Rows]:
    """Return the row and the strip for each strip that each row lies in."""
    count = last - first + 1
    rows = np.repeat(np.arange(len(first)), count)
    return rows, first[rows] + np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)


def _starting_under(
    a: Boxes, in_a: tuple[Rows, Rows], b: Boxes, in_b: tuple[Rows, Rows], side: Literal["left", "right"]
) -> Iterator[tuple[Rows, Rows, Rows]]:
    """Yield (i, j, strip): in that strip box j starts between the sides of box i.

    Parameters
    ----------
    side : "left" counts boxes that start where box i does, "right" does not
    """
    (rows_a, strip_a), (rows_b, strip_b) = in_a, in_b
    starts = np.sort(b[:, 0])
    each = len(starts) + 1
    key = strip_b * each + np.searchsorted(starts, b[:, 0])[rows_b]
    order = np.argsort(key)
    key, rows_b = key[order], rows_b[order]
    begin = np.searchsorted(key, strip_a * each + np.searchsorted(starts, a[:, 0], side)[rows_a])
    count = np.searchsorted(key, strip_a * each + np.searchsorted(starts, a[:, 2], "right")[rows_a]) - begin
    ends = np.cumsum(count)
    at = 0
    while at < len(rows_a):
        done = ends[at] - count[at]
        to = max(at + 1, int(np.searchsorted(ends, done + AT_ONCE, "right")))
        k = np.repeat(np.arange(at, to), count[at:to])
        yield rows_a[k], rows_b[begin[k] + np.arange(len(k)) - (ends[k] - count[k] - done)], strip_a[k]
        at = to
