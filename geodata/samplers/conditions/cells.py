"""How many marked pixels a window holds, from counts per cell of each row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Boxes", "Cells", "at_least"]

Boxes = NDArray[np.int64]
"""(n, 4) first row, first column, end row, end column in pixels of a catalog row, inside it; the ends are excluded."""

Partly = Callable[[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], Boxes], NDArray[np.int64]]
"""f(cells, count, area, boxes) -> marked pixels in a part of each cell; boxes count from the cell's own corner."""


def at_least(
    _: NDArray[np.int64], count: NDArray[np.int64], area: NDArray[np.int64], boxes: Boxes
) -> NDArray[np.int64]:
    """Return what a part of each cell must hold at the least: if all that is not marked lay in it."""
    part = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return np.asarray(np.maximum(count - (area - part), 0))


class Cells:
    """Marked pixels per square cell of each row, summed up so that a rectangle costs the same whatever its size.

    Parameters
    ----------
    shape : (N, 2) int64, height and width of the rows, pixels
    side : (N,) int64, side of the cells of each row, pixels; those at the right and lower edge may be smaller
    count : (M,) int, marked pixels of each cell, line by line, row after row
    partly : what a part of a cell holds; `at_least` if nothing more is known
    """

    def __init__(
        self, shape: NDArray[np.int64], side: NDArray[np.int64], count: NDArray[np.int64], partly: Partly = at_least
    ) -> None:
        self._shape, self._side, self._partly = shape, side, partly
        self._grid = -(-shape // side[:, None])
        sizes = self._grid.prod(axis=1)
        self._first = np.cumsum(sizes) - sizes
        # Sums over everything above and left of a corner, a line and a column longer than the cells.
        wide = (self._grid + 1).prod(axis=1)
        self._corner = np.cumsum(wide) - wide
        fits = shape.prod(axis=1).max(initial=0) < 2**31
        self._sums: NDArray[Any] = np.zeros(int(wide.sum()), dtype=np.int32 if fits else np.int64)
        for down, across in np.unique(self._grid, axis=0).tolist():
            alike = np.flatnonzero((self._grid == (down, across)).all(axis=1))
            cells = count[self._first[alike, None] + np.arange(down * across)].reshape(-1, down, across)
            sums = np.zeros((len(alike), down + 1, across + 1), dtype=self._sums.dtype)
            sums[:, 1:, 1:] = cells.cumsum(axis=1, dtype=self._sums.dtype).cumsum(axis=2, dtype=self._sums.dtype)
            self._sums[self._corner[alike, None] + np.arange((down + 1) * (across + 1))] = sums.reshape(len(alike), -1)

    def around(self, rows: NDArray[np.int64], boxes: Boxes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (n,) marked pixels and area of all cells that each box touches."""
        return self._blocks(rows, self._touched(rows, boxes))

    def within(self, rows: NDArray[np.int64], boxes: Boxes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (n,) marked pixels and area of all cells that lie wholly in each box."""
        return self._blocks(rows, self._whole(rows, boxes))

    def count(self, rows: NDArray[np.int64], boxes: Boxes) -> NDArray[np.int64]:
        """Return (n,) marked pixels of each box: cells wholly in it, and what ``partly`` says of the others."""
        whole, touched = self._whole(rows, boxes), self._touched(rows, boxes)
        total, _ = self._blocks(rows, whole)
        # Cells that are cut lie along the rim: whole lines of them above and below, and what remains left and right.
        upper = np.maximum(whole[:, 0], touched[:, 0])
        lower = np.maximum(whole[:, 2], upper)
        hollow = np.flatnonzero((whole[:, 2:] <= whole[:, :2]).any(axis=1))
        upper[hollow], lower[hollow] = touched[hollow, 2], touched[hollow, 2]
        of, down, across = [], [], []
        for low, high, left, right in (
            (touched[:, 0], upper, touched[:, 1], touched[:, 3]),
            (lower, touched[:, 2], touched[:, 1], touched[:, 3]),
            (upper, lower, touched[:, 1], whole[:, 1]),
            (upper, lower, whole[:, 3], touched[:, 3]),
        ):
            lines, columns = np.maximum(high - low, 0), np.maximum(right - left, 0)
            number = lines * columns
            box = np.repeat(np.arange(len(rows)), number)
            nth = np.arange(len(box)) - np.repeat(np.cumsum(number) - number, number)
            of.append(box)
            down.append(low[box] + nth // columns[box])
            across.append(left[box] + nth % columns[box])
        cut, at = np.concatenate(of), np.column_stack([np.concatenate(down), np.concatenate(across)])
        if len(cut):
            np.add.at(total, cut, self._parts(rows[cut], boxes[cut], at))
        return total

    def _parts(self, rows: NDArray[np.int64], boxes: Boxes, at: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the marked pixels that boxes share with one cell each."""
        low = at * self._side[rows][:, None]
        high = np.minimum(low + self._side[rows][:, None], self._shape[rows])
        parts = np.column_stack([np.maximum(boxes[:, :2], low) - low, np.minimum(boxes[:, 2:], high) - low])
        count, area = self._blocks(rows, np.column_stack([at, at + 1]))
        return self._partly(self._first[rows] + at[:, 0] * self._grid[rows, 1] + at[:, 1], count, area, parts)

    def _touched(self, rows: NDArray[np.int64], boxes: Boxes) -> Boxes:
        side = self._side[rows][:, None]
        empty = np.logical_or(*(boxes[:, 2:] <= boxes[:, :2]).T)
        low, high = boxes[:, :2] // side, -(-boxes[:, 2:] // side)
        return np.column_stack([low, np.where(np.stack([empty, empty], axis=1), low, high)])

    def _whole(self, rows: NDArray[np.int64], boxes: Boxes) -> Boxes:
        side = self._side[rows][:, None]
        low = -(-boxes[:, :2] // side)
        # The last cells may be smaller: they are whole where the box ends with the row.
        high = np.where(boxes[:, 2:] >= self._shape[rows], self._grid[rows], boxes[:, 2:] // side)
        return np.column_stack([low, np.maximum(high, low)])

    def _blocks(self, rows: NDArray[np.int64], cells: Boxes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the marked pixels and the area of rectangles of cells."""
        wide, corner = self._grid[rows, 1] + 1, self._corner[rows]
        top, left, bottom, right = cells.T
        top, left = np.minimum(top, bottom), np.minimum(left, right)
        upper, lower = corner + top * wide, corner + bottom * wide
        count = (
            self._sums[lower + right] - self._sums[lower + left] - self._sums[upper + right] + self._sums[upper + left]
        )
        side, shape = self._side[rows][:, None], self._shape[rows]
        edges = np.minimum(cells[:, 2:] * side, shape) - np.minimum(np.column_stack([top, left]) * side, shape)
        return count.astype(np.int64), edges.prod(axis=1)
