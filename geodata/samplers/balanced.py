"""Windows in which rare classes are as frequent as wanted."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.counts import PixelCounts
from geodata.errors import SamplerError
from geodata.samplers.arguments import number
from geodata.samplers.draws import below, place_in, share
from geodata.samplers.windows import WindowSampler, catalog_of

__all__ = ["BalancedPatchSampler"]

_CLASS, _CELL, _PIXEL, _START = 32, 33, 34, 35
"""Streams of random numbers: the class, a cell or row that has it, a pixel of the cell, where the window starts."""


class BalancedPatchSampler(WindowSampler):
    """Draw a class, then a place where it is, then a window around that place.

    Class c is drawn with a chance q_c proportional to n_c ** (1 - beta), where n_c counts its pixels (or the rows that
    carry its label). That is the same as to give each pixel of class c the weight n_c ** -beta.

    With ``counts``, a cell is drawn by its pixels of the class, any pixel of the cell, and one of the windows that contain that
    pixel and lie in the row, all alike. So a window need not hold the class if cells are large; with ``cell=1`` it does. With
    ``labels``, a row that carries the class is drawn, and one of its windows, all alike.

    Parameters
    ----------
    data : Dataset or Catalog
    size : int, (height, width), or ground size such as ``"2560m"``
    length : int >= 1
        Draws per epoch over all ranks.
    counts : PixelCounts of this dataset, with classes
    labels : str
        Instead: a column with one label per row, or a list of them.
    beta : float, [0, 1]
        1 draws all classes equally often, 0 as often as they occur.
    seed : int
        Draw i of epoch e is a pure function of (seed, e, i).
    small : {"pad", "drop", "raise"}
        What to do with rows smaller than the window, as in `RandomPatchSampler`.
    mixed : bool
        Whether rows may differ in resolution, as in `RandomPatchSampler`.
    rank, world : as in `QuerySampler`

    Raises
    ------
    SamplerError
        If not one of ``counts`` and ``labels`` is given, the counts are of other rows or without classes, or no class occurs.

    Examples
    --------
    ``BalancedPatchSampler(ds, size=256, length=10_000, counts=gd.count_pixels(ds), beta=0.5)``
    """

    def __init__(
        self,
        data: Any,
        *,
        size: Any,
        length: int,
        counts: PixelCounts | None = None,
        labels: str | None = None,
        beta: float = 1.0,
        seed: int = 0,
        small: str = "pad",
        mixed: bool = False,
        rank: int | None = None,
        world: int | None = None,
    ) -> None:
        super().__init__(data, size=size, length=length, seed=seed, small=small, mixed=mixed, rank=rank, world=world)
        self.beta = number("beta", beta, 0, 1)
        if (counts is None) == (labels is None) or not isinstance(labels, (str, type(None))):
            raise SamplerError("give counts=count_pixels(dataset), or labels= the name of a column; one of them")
        catalog, self._counts = catalog_of(data), counts
        use = self._rooms.prod(axis=1) > 0
        if counts is not None:
            self.classes, self._places = _of_counts(catalog, counts, use)
        else:
            self.classes, self._places = _of_labels(catalog, str(labels), use)
        self.number = np.array([int(ends[-1]) if len(ends) else 0 for _, ends in self._places], dtype=np.int64)
        if not self.number.any():
            raise SamplerError(
                f"none of {len(self.classes)} classes occurs in {use.sum()} rows; there is nothing to balance"
            )
        wanted = np.where(self.number > 0, np.maximum(self.number, 1) ** (1.0 - self.beta), 0.0)
        self.targets: NDArray[np.float64] = wanted / wanted.sum()

    @property
    def absent(self) -> tuple[Any, ...]:
        """Classes that never occur, and so are never drawn."""
        return tuple(c for c, n in zip(self.classes, self.number.tolist(), strict=True) if not n)

    @cached_property
    def expected(self) -> NDArray[np.float64]:
        """(K,) expected mix of classes: shares of the classified pixels of drawn windows, or of the labels of drawn rows.

        Windows hold other classes than the one they were drawn for, so this lies between how the classes occur and
        `targets`. With counts it takes the classes to be spread evenly within each cell, as they are with ``cell=1``.
        """
        chance = np.zeros(len(self._shape) if self._counts is None else len(self._counts.valid))
        for q, (places, ends), n in zip(self.targets, self._places, self.number.tolist(), strict=True):
            if n:
                chance[places] += q * np.diff(ends, prepend=0) / n
        held = self._held_by_labels(chance) if self._counts is None else self._held_by_cells(self._counts, chance)
        return np.asarray(held / held.sum())

    @cached_property
    def plan(self) -> str:
        """Text that is equal for two samplers exactly when they yield the same samples."""
        h = hashlib.sha256(repr(self.classes).encode())
        for places, ends in self._places:
            h.update(places.data)
            h.update(ends.data)
        small = hashlib.sha256(self._rooms.tobytes()).hexdigest()[:16]
        cell = 0 if self._counts is None else self._counts.cell
        return f"{self._said} {self.beta!r} {small} {cell} {h.hexdigest()[:16]}"

    def classes_of(self, indexes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return (n,) the class that each draw is for, as its position in `classes`."""
        # Against the last class that occurs: what rounding leaves above the sum is its own.
        ends = np.cumsum(self.targets)
        drawn = np.searchsorted(ends, share(self._numbers(indexes, _CLASS)) * ends[-1], side="right")
        return np.asarray(np.minimum(drawn, np.flatnonzero(self.number)[-1]))

    def places(self, indexes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (n,) catalog rows and (n, 2) start rows and columns of draws, without making queries."""
        drawn = self.classes_of(indexes)
        pick, place = self._numbers(indexes, _CELL), np.empty(len(indexes), dtype=np.int64)
        for c in np.unique(drawn).tolist():
            here, (places, upto) = np.flatnonzero(drawn == c), self._places[c]
            place[here] = places[np.searchsorted(upto, below(upto[-1], pick[here]), side="right")]
        if self._counts is None:
            return place, place_in(self._rooms[place], self._numbers(indexes, _START)) * self._step
        rows = np.searchsorted(self._counts.first, place, side="right") - 1
        nth, across, cell = place - self._counts.first[rows], self._counts.grid[rows, 1], self._counts.cell
        corner = np.column_stack([nth // across, nth % across]) * cell
        pixel = corner + place_in(np.minimum(self._shape[rows] - corner, cell), self._numbers(indexes, _PIXEL))
        low, high = _starts_around(pixel, self._sizes[rows], self._rooms[rows], self._step)
        return rows, (low + place_in(high - low + 1, self._numbers(indexes, _START))) * self._step

    def _held_by_labels(self, chance: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([chance[rows].sum() for rows, _ in self._places])

    def _held_by_cells(self, counts: PixelCounts, chance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (K,) expected pixels of each class in a window, for (M,) chances of cells."""
        held = np.zeros(len(self.classes))
        kinds = np.column_stack([self._shape, self._sizes])
        for kind in np.unique(kinds, axis=0):
            rows = np.flatnonzero((kinds == kind).all(axis=1))
            height, width, h, w = kind.tolist()
            down, across = (_covered(n, s, self._step, counts.cell) for n, s in ((height, h), (width, w)))
            cells = counts.first[rows, None] + np.arange(len(down) * len(across))
            # The two axes of a draw are independent once its cell is known.
            reached = down.T @ chance[cells].reshape(-1, len(down), len(across)) @ across
            area = np.outer(_lengths(height, counts.cell), _lengths(width, counts.cell))
            held += np.einsum("rc,rck->k", (reached / area).reshape(len(rows), -1), counts.classes[cells])
        return held


Places = list[tuple[NDArray[np.int64], NDArray[np.int64]]]
"""For each class: the cells or rows that have it, and how often it occurs in all of them up to each."""


def _of_counts(catalog: Catalog, counts: PixelCounts, use: NDArray[np.bool_]) -> tuple[tuple[Any, ...], Places]:
    if not isinstance(counts, PixelCounts):
        raise SamplerError(f"counts= takes what count_pixels(dataset) returns, got {type(counts).__name__}")
    counts.check(catalog)
    if not counts.classes.shape[1]:
        raise SamplerError("these counts have no classes: the dataset that was counted made no mask")
    usable = np.repeat(use, counts.grid.prod(axis=1))
    places = []
    for c in range(counts.classes.shape[1]):
        cells = np.flatnonzero((counts.classes[:, c] > 0) & usable)
        places.append((cells, np.cumsum(counts.classes[cells, c], dtype=np.int64)))
    return counts.names or tuple(range(len(places))), places


def _of_labels(catalog: Catalog, column: str, use: NDArray[np.bool_]) -> tuple[tuple[Any, ...], Places]:
    rows: dict[Any, list[int]] = {}
    for row, value in enumerate(catalog.column(column).tolist()):
        one = value is None or isinstance(value, (str, int, float))
        labels = {value} if one else set(np.asarray(value, dtype=object).tolist())
        for label in labels:
            # What does not equal itself is not a number, and no label.
            if label is not None and label == label:
                rows.setdefault(label, []).append(row)
    try:
        classes = tuple(sorted(rows))
    except TypeError:
        raise SamplerError(f"labels={column!r} holds values that have no common order; use texts or numbers") from None
    of_class = [np.array(rows[c], dtype=np.int64) for c in classes]
    kept = [r[use[r]] for r in of_class]
    return classes, [(r, np.arange(1, len(r) + 1, dtype=np.int64)) for r in kept]


def _starts_around(
    pixel: NDArray[np.int64], size: Any, room: Any, step: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first and last start, in steps, of windows that hold a pixel and lie in the row."""
    last = np.minimum(pixel // step, room - 1)
    # Where a row is no multiple of the step, no window reaches its last pixels: then the nearest one.
    return np.clip(-((size - 1 - pixel) // step), 0, last), last


def _lengths(length: int, cell: int) -> NDArray[np.int64]:
    """Return the sides of the cells along a row or column."""
    return np.diff(np.append(np.arange(0, length, cell), length))


def _covered(length: int, size: int, step: int, cell: int) -> NDArray[np.float64]:
    """Return (k, k): for a pixel drawn from cell i, how many pixels of cell j its window covers on average, in one axis."""
    pixel, room = np.arange(length), max((length - size) // step + 1, 1)
    low, high = _starts_around(pixel, size, room, step)
    sides = _lengths(length, cell)
    chance = 1 / (high - low + 1) / sides[pixel // cell]
    starts = np.zeros((len(sides), room + 1))
    np.add.at(starts, (pixel // cell, low), chance)
    np.add.at(starts, (pixel // cell, high + 1), -chance)
    first = np.arange(room)[:, None] * step
    ends = np.cumsum(sides)
    overlap = np.maximum(np.minimum(first + size, ends) - np.maximum(first, ends - sides), 0)
    return np.asarray(np.cumsum(starts, axis=1)[:, :room] @ overlap)
