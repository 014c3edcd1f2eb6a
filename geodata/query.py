"""What to read: a window of one item in plain integers, or a grid anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from numbers import Integral
from typing import Any

from geodata.errors import QueryError
from geodata.grid import Grid
from geodata.interval import ALWAYS, Interval

__all__ = ["Query", "Window", "queries_of_rows", "stamped"]

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
        Instead of ``row``: any grid; the items under it are mosaicked. With ``row``: this item alone, read on the grid.
    time : Interval
        With ``grid``: only items of that time.
    epoch, index : int
        Which draw this is; transforms seed themselves from the pair.
    repeat : bool
        True for a sample that another rank also has (`uneven="pad"`); stitching and metrics drop it.
    weight : float or None
        What the loss of this sample counts; comes back as ``sample["weight"]``.
    dates : positions of dates of a series to read, in this order, or None for all
    pixels : (row, column) pairs within the window, or None
        Comes back as ``sample["pixels"]``, (H, W) bool, True at these.
    source : int
        Which dataset of a mixture.
    data : str
        Fingerprint of the rows that it was drawn from; a dataset of other rows refuses it.
    """

    row: int | None = None
    window: Window | None = None
    grid: Grid | None = None
    time: Interval = ALWAYS
    epoch: int = 0
    index: int = 0
    repeat: bool = False
    weight: float | None = None
    dates: tuple[int, ...] | None = None
    pixels: tuple[tuple[int, int], ...] | None = None
    source: int = 0
    data: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.row is None and self.grid is None:
            raise QueryError("a query names a row or a grid, got neither")
        if self.grid is not None and self.window is not None:
            raise QueryError(f"a query has a window or a grid, got window={self.window} and grid={self.grid}")
        w = self.window
        if w is not None and not (len(w) == 4 and all(isinstance(n, Integral) for n in w) and w[2] >= 1 and w[3] >= 1):
            raise QueryError(f"window {w} must be (row, column, height >= 1, width >= 1) in whole pixels")


_setters = [Query.__dict__[field.name].__set__ for field in fields(Query)]


def queries_of_rows(
    rows: Iterable[int], windows: Iterable[Window | None], epoch: int, indexes: Iterable[int]
) -> Iterator[Query]:
    """Yield queries as samplers draw them by the thousand, without the checks of `Query`.

    Parameters
    ----------
    rows, indexes : int >= 0, one per query
    windows : (row, column, height >= 1, width >= 1) in whole pixels, or None; one per query
    """
    # The fields are filled through their slots: several times as fast as the constructor of a frozen class.
    row_, window_, grid_, time_, epoch_, index_, repeat_, weight_, dates_, pixels_, source_, data_ = _setters
    for row, window, index in zip(rows, windows, indexes, strict=True):
        query = object.__new__(Query)
        row_(query, row)
        window_(query, window)
        grid_(query, None)
        time_(query, ALWAYS)
        epoch_(query, epoch)
        index_(query, index)
        repeat_(query, False)
        weight_(query, None)
        dates_(query, None)
        pixels_(query, None)
        source_(query, 0)
        data_(query, "")
        yield query


def stamped(asked: Any, data: str) -> Any:
    """Write on queries, or tuples and lists of them, which rows they were drawn from; returns what it was given."""
    if isinstance(asked, (tuple, list)):
        for query in asked:
            stamped(query, data)
    elif data:
        _setters[-1](asked, data)
    return asked
