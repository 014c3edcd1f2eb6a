"""Where one sample is read, and the arrays it is read into."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata import buffers
from geodata.errors import GridError
from geodata.grid import Grid
from geodata.interval import Interval
from geodata.query import Window

__all__ = ["Buffers", "Slots", "Spot", "room"]

Slots = dict[str, tuple[tuple[int, ...], Any]]
"""Key -> shape and numpy dtype of what one sample holds."""

Buffers = dict[str, NDArray[Any]]
"""Key -> array to fill in place."""


def room(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Return an array that is not filled yet; in a `gd.Loader` over memory that is used again.

    Raises
    ------
    GridError
        If the machine's memory does not hold it.
    """
    pool = buffers.current()
    try:
        return np.empty(shape, dtype) if pool is None else pool.array(shape, dtype)
    except (MemoryError, ValueError):
        size = math.prod(shape) * np.dtype(dtype).itemsize / 2**30
        raise GridError(
            f"an array of {' x '.join(map(str, shape))} {np.dtype(dtype).name} takes {size:.4g} GiB, more than there is; "
            "read windows (a sampler, ds.tile) or a coarser grid"
        ) from None


class Spot:
    """Where one sample is read: a window of a row, or a grid.

    Parameters
    ----------
    grid : Grid of the sample, exact
    row, window : catalog row and window on its lattice, or None for a query by place
    time : Interval that rows must meet
    inside : Grid or None
        Nothing beyond it may reach the sample: the leading row, for datasets that follow it in a join.
    items : (n,) int or None
        With a query by place: only these rows, whatever else lies there.
    dates : positions of the dates of a series, or None for all
    """

    __slots__ = ("dates", "grid", "inside", "items", "row", "time", "window")

    def __init__(
        self,
        grid: Grid,
        time: Interval,
        row: int | None = None,
        window: Window | None = None,
        inside: Grid | None = None,
        items: NDArray[np.int64] | None = None,
        dates: tuple[int, ...] | None = None,
    ) -> None:
        self.grid, self.time, self.row, self.window, self.inside = grid, time, row, window, inside
        self.items, self.dates = items, dates

    @property
    def place(self) -> tuple[float, ...]:
        """What spots are sorted by, so that neighbours in a file follow each other."""
        if self.row is not None and self.window is not None:
            return self.row, self.window[0], self.window[1]
        left, _, _, top = self.grid.bounds
        return -1 if self.items is None else int(self.items[0]), -top, left
