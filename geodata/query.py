"""What to read: a window of one item in plain integers, or a grid anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from numbers import Integral

from geodata.errors import QueryError
from geodata.grid import Grid
from geodata.interval import ALWAYS, Interval

__all__ = ["Query", "Window", "queries_of_rows"]

Window = tuple[int, int, int, int]
"""row, column, height, width in pixels of an item's own lattice; it may reach outside the item."""


@dataclass(frozen=True, slots=True)
class Query:
    """One thing to read. Samplers yield it, datasets answer it.

    Parameters
    ----------
    row : int or None
        Row of the catalog. A query that names its row needs no spatial index.
    window : (row, column, height, width) or None, pixels of that row's lattice
        None is the whole item.
    grid : Grid or None
        Instead of ``row``: any grid; the items under it are mosaicked.
    time : Interval
        With ``grid``: only items of that time.
    epoch, index : int
        Which draw this is; transforms seed themselves from the pair.
    repeat : bool
        True for a sample that another rank also has (`uneven="pad"`); stitching and metrics drop it.
    """

    row: int | None = None
    window: Window | None = None
    grid: Grid | None = None
    time: Interval = ALWAYS
    epoch: int = 0
    index: int = 0
    repeat: bool = False

    def __post_init__(self) -> None:
        if (self.row is None) == (self.grid is None):
            raise QueryError(f"a query names either a row or a grid, got row={self.row} and grid={self.grid}")
        w = self.window
        if w is not None and not (len(w) == 4 and all(isinstance(n, Integral) for n in w) and w[2] >= 1 and w[3] >= 1):
            raise QueryError(f"window {w} must be (row, column, height >= 1, width >= 1) in whole pixels")


_fields = (Query.__dict__[name].__set__ for name in ("row", "window", "grid", "time", "epoch", "index", "repeat"))
_row, _window, _grid, _time, _epoch, _index, _repeat = _fields


def queries_of_rows(
    rows: Iterable[int], windows: Iterable[Window | None], epoch: int, indexes: Iterable[int]
) -> Iterator[Query]:
    """Yield queries as samplers draw them by the thousand, without the checks of `Query`.

    Parameters
    ----------
    rows, indexes : int >= 0, one per query
    windows : (row, column, height >= 1, width >= 1) in whole pixels, or None; one per query
    """
    # The fields are filled through their slots: eight times as fast as the constructor of a frozen class.
    for row, window, index in zip(rows, windows, indexes, strict=True):
        query = object.__new__(Query)
        _row(query, row)
        _window(query, window)
        _grid(query, None)
        _time(query, ALWAYS)
        _epoch(query, epoch)
        _index(query, index)
        _repeat(query, False)
        yield query
