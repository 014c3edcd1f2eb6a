"""Where one sample is read, and the arrays it is read into."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from geodata.grid import Grid
from geodata.interval import Interval
from geodata.query import Window

__all__ = ["Buffers", "Slots", "Spot"]

Slots = dict[str, tuple[tuple[int, ...], Any]]
"""Key -> shape and numpy dtype of what one sample holds."""

Buffers = dict[str, NDArray[Any]]
"""Key -> array to fill in place."""


class Spot:
    """Where one sample is read: a window of a row, or a grid.

    Parameters
    ----------
    grid : Grid of the sample, exact
    row, window : catalog row and window on its lattice, or None for a query by place
    time : Interval that rows must meet
    inside : Grid or None
        Nothing beyond it may reach the sample: the leading row, for datasets that follow it in a join.
    """

    __slots__ = ("grid", "inside", "row", "time", "window")

    def __init__(
        self,
        grid: Grid,
        time: Interval,
        row: int | None = None,
        window: Window | None = None,
        inside: Grid | None = None,
    ) -> None:
        self.grid, self.time, self.row, self.window, self.inside = grid, time, row, window, inside

    @property
    def place(self) -> tuple[float, ...]:
        """What spots are sorted by, so that neighbours in a file follow each other."""
        if self.row is not None and self.window is not None:
            return self.row, self.window[0], self.window[1]
        left, _, _, top = self.grid.bounds
        return -1, -top, left
