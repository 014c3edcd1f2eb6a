"""The windows that meet conditions: drawn uniformly, none left out, without a list of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.counts import PixelCounts
from geodata.crs import crs_text
from geodata.errors import SamplerError
from geodata.samplers.arguments import number
from geodata.samplers.conditions.cells import Boxes, Cells
from geodata.samplers.conditions.region import Region
from geodata.samplers.draws import below, place_in, share, uniform64

__all__ = ["Admissible", "Rule", "row_weights", "rules_of"]

_FIRST_STREAM = 16
"""Attempt k takes two streams of random numbers from here on."""

_ATTEMPTS = 2000
_LEAVES = 1 << 20


@dataclass(frozen=True, eq=False)
class Rule:
    """At least so many marked pixels in a window.

    Parameters
    ----------
    cells : marked pixels of each row
    share : of the pixels of a window, in (0, 1]
    padded : whether pixels of a window beyond its row count as unmarked; else they do not count
    what : of the rule in words, and where the marked pixels come from
    text : its part in a plan
    """

    cells: Cells
    share: float
    padded: bool
    what: str
    text: str


def rules_of(
    catalog: Catalog, within: Any, crs: Any, min_within: float, counts: PixelCounts | None, min_valid: float | None
) -> list[Rule]:
    """Return the rules that the options of a sampler ask for.

    Raises
    ------
    SamplerError
        If options that belong together are not given together, a share is none, or the counts are of other rows.
    """
    rules = []
    if within is not None:
        number("min_within", min_within, 0, 1, low_open=True)
        region = Region(within, crs)
        what = f"min_within={min_within:g} of its pixels within the region"
        rules.append(
            Rule(
                region.cells(catalog),
                min_within,
                False,
                what,
                f"within {region.digest} {_systems(catalog)} {min_within!r}",
            )
        )
    elif crs is not None or min_within != 1:
        raise SamplerError("crs= and min_within= say where within= lies and how much counts; give within= too")
    if (counts is None) != (min_valid is None):
        raise SamplerError("counts= and min_valid= belong together: counts=count_pixels(dataset), min_valid=0.8")
    if counts is not None and min_valid is not None:
        number("min_valid", min_valid, 0, 1, low_open=True)
        if not isinstance(counts, PixelCounts):
            raise SamplerError(f"counts= takes what count_pixels(dataset) returns, got {type(counts).__name__}")
        counts.check(catalog)
        side = np.full(len(counts), counts.cell, dtype=np.int64)
        cells = Cells(counts.shape, side, counts.valid.astype(np.int64))
        what = f"min_valid={min_valid:g} of its pixels valid for certain"
        rules.append(Rule(cells, min_valid, True, what, f"valid {counts.content} {min_valid!r}"))
    return rules


def _systems(catalog: Catalog) -> str:
    """Fingerprint of the CRS of each row: equal numbers in another one lie elsewhere in a region."""
    names, number = np.unique([crs_text(crs) for crs in catalog.footprints.crs], return_inverse=True)
    used, code = np.unique(number[catalog.footprints.code], return_inverse=True)
    text = "\n".join(names[used].tolist()).encode()
    return hashlib.sha256(text + code.astype("<i8").tobytes()).hexdigest()[:16]


def row_weights(catalog: Catalog, weights: Any) -> NDArray[np.float64]:
    """Return (N,) weights from a column's name or numbers.

    Raises
    ------
    SamplerError
        If they are not N finite numbers of 0 or above, or all 0.
    """
    named = f"weights={weights!r}" if isinstance(weights, str) else "weights"
    try:
        values = np.asarray(catalog.column(weights) if isinstance(weights, str) else weights, dtype=np.float64)
    except (TypeError, ValueError):
        raise SamplerError(f"{named} must be numbers, one per row") from None
    if values.shape != (len(catalog),):
        raise SamplerError(f"{named} of shape {values.shape} for {len(catalog)} rows; give one number per row")
    bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if len(bad):
        raise SamplerError(f"{named} must be finite and 0 or above; row {bad[0]} has {values[bad[0]]}")
    if not values.any():
        raise SamplerError(f"{named} are all 0; nothing could be drawn")
    return values


class Admissible:
    """Draws windows that meet all rules, uniformly within a row, rows by windows times weight.

    Start positions are cut into leaves: rectangles in which surely every window meets the rules, and some in which not
    all do. There a draw is tested, and made again if it fails, so it is uniform over what is admissible. Rectangles in which
    surely no window does are left out.

    Parameters
    ----------
    rooms : (N, 2) int, start positions along rows and columns of each item, in steps; 0 for rows that are left out
    sizes : (N, 2) int, height and width of the windows, pixels
    shape : (N, 2) int, height and width of the rows, pixels
    step : int, pixels between start positions
    rules : what windows must meet
    weights : (N,) float or None

    Raises
    ------
    SamplerError
        If no window meets the rules.

    Attributes
    ----------
    plan : text that is equal for two of them, over the same windows, exactly when they draw the same
    """

    def __init__(
        self,
        rooms: NDArray[np.int64],
        sizes: NDArray[np.int64],
        shape: NDArray[np.int64],
        step: int,
        rules: list[Rule],
        weights: NDArray[np.float64] | None,
    ) -> None:
        self._sizes, self._shape, self._step, self._rules = sizes, shape, step, rules
        given = b"" if weights is None else weights.tobytes()
        self.plan = " ".join([hashlib.sha256(given).hexdigest()[:16], *(rule.text for rule in rules)])
        # Sums of the largest numbers there are would not be finite.
        self._weights = None if weights is None else weights / weights.max()
        self._area = np.minimum(sizes, shape).prod(axis=1)
        whole = sizes.prod(axis=1)
        # What is asked for is a whole number of pixels: a share such as 0.7 must not fail by its last bit.
        self._need = [np.ceil(r.share * (whole if r.padded else self._area) - 1e-6).astype(np.int64) for r in rules]
        rows = np.flatnonzero((rooms.prod(axis=1) > 0) & (1 if weights is None else weights > 0))
        if not len(rows):
            raise SamplerError("no row has both a window and a weight above 0")
        sure, unsure = self._leaves(np.column_stack([rows, np.zeros((len(rows), 2), np.int64), rooms[rows]]))
        self._table = np.concatenate([sure, unsure])
        self._sure = len(sure)
        if not len(self._table):
            raise SamplerError(self._nothing(rows))
        self._ends = np.cumsum(self._masses(self._table))

    @property
    def windows(self) -> int:
        """How many windows are drawn from; some of them may fail their test."""
        return int(_starts(self._table).sum())

    def places(self, seed: int, epoch: int, indexes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (n,) catalog rows and (n, 2) start positions in steps of the draws with the given numbers."""
        rows, at = np.empty(len(indexes), dtype=np.int64), np.empty((len(indexes), 2), dtype=np.int64)
        left = np.arange(len(indexes))
        for attempt in range(_ATTEMPTS):
            leaf, rows[left], at[left] = self._attempt(seed, epoch, indexes[left], attempt)
            open_ = left[leaf >= self._sure]
            left = open_[~self._passes(rows[open_], at[open_])]
            if not len(left):
                return rows, at
        raise SamplerError(
            f"{_ATTEMPTS} draws at random met no window with {self._said()}; ask for smaller windows or a lower share"
        )

    def _attempt(
        self, seed: int, epoch: int, indexes: NDArray[np.int64], attempt: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        where, start = (uniform64(seed, epoch, indexes, _FIRST_STREAM + 2 * attempt + k) for k in (0, 1))
        total = self._ends[-1]
        pick = below(total, where) if self._weights is None else share(where) * total
        leaf = np.minimum(np.searchsorted(self._ends, pick, side="right"), len(self._ends) - 1)
        boxes = self._table[leaf, 1:]
        return leaf, self._table[leaf, 0], boxes[:, :2] + place_in(boxes[:, 2:] - boxes[:, :2], start)

    def _leaves(self, todo: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Cut (n, 5) rectangles of starts until at least half of what is left surely meets the rules."""
        limit = max(_LEAVES, len(todo))
        sure = [todo[:0]]
        found = 0.0
        while len(todo):
            states = self._states(todo)
            sure.append(todo[states > 0])
            found += float(self._masses(sure[-1]).sum())
            todo = todo[states < 0]
            if float(self._masses(todo).sum()) <= found or 4 * len(todo) > limit:
                break
            todo = _quartered(todo)
        return np.concatenate(sure), todo

    def _states(self, leaves: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return 1 where all windows of a rectangle meet the rules, 0 where none does, -1 where it is not known."""
        rows, low, last = leaves[:, 0], leaves[:, 1:3] * self._step, (leaves[:, 3:] - 1) * self._step
        ends = np.minimum(last + self._sizes[rows], self._shape[rows])
        shared = np.minimum(low + self._sizes[rows], self._shape[rows])
        hull, core = np.column_stack([low, ends]), np.column_stack([last, np.maximum(shared, last)])
        states = np.ones(len(leaves), dtype=np.int64)
        for rule, need in zip(self._rules, self._need, strict=True):
            most, reach = rule.cells.around(rows, hull)
            least, firm = rule.cells.within(rows, core)
            spare = self._area[rows] - need[rows]
            never = (most < need[rows]) | (firm - least > spare)
            always = (least >= need[rows]) | (reach - most <= spare)
            states = np.where(never | (states == 0), 0, np.where(always, states, -1))
        single = np.flatnonzero((_starts(leaves) == 1) & (states < 0))
        states[single] = self._passes(rows[single], leaves[single, 1:3])
        return states

    def _passes(self, rows: NDArray[np.int64], at: NDArray[np.int64]) -> NDArray[np.bool_]:
        low = at * self._step
        boxes: Boxes = np.column_stack([low, np.minimum(low + self._sizes[rows], self._shape[rows])])
        passes = np.ones(len(rows), dtype=bool)
        for rule, need in zip(self._rules, self._need, strict=True):
            passes &= rule.cells.count(rows, boxes) >= need[rows]
        return passes

    def _masses(self, leaves: NDArray[np.int64]) -> NDArray[Any]:
        starts = _starts(leaves)
        return starts if self._weights is None else starts * self._weights[leaves[:, 0]]

    def _said(self) -> str:
        return " and ".join(rule.what for rule in self._rules)

    def _nothing(self, rows: NDArray[np.int64]) -> str:
        height, width = self._sizes[rows[0]].tolist()
        whole = np.column_stack([np.zeros_like(self._shape[rows]), self._shape[rows]])
        marked = [rule.cells.count(rows, whole) for rule in self._rules]
        held = ", ".join(f"{m.sum()} such pixels in {(m > 0).sum()} rows" for m in marked)
        return (
            f"no window of {height} x {width} pixels in {len(rows)} rows has {self._said()}; there are {held}; "
            "ask for smaller windows or a lower share, and look whether the CRS is that of the region"
        )


def _starts(leaves: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray((leaves[:, 3] - leaves[:, 1]) * (leaves[:, 4] - leaves[:, 2]))


def _quartered(leaves: NDArray[np.int64]) -> NDArray[np.int64]:
    row, top, left, bottom, right = leaves.T
    y, x = (top + bottom + 1) // 2, (left + right + 1) // 2
    parts = ((top, left, y, x), (top, x, y, right), (y, left, bottom, x), (y, x, bottom, right))
    cut = np.concatenate([np.column_stack([row, *part]) for part in parts])
    return cut[_starts(cut) > 0]
