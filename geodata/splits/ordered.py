"""Splits by a rule that others published, and by time."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from numbers import Integral
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.catalog.arrow import known_in, values_of
from geodata.errors import SplitError
from geodata.interval import Interval, length_of_time
from geodata.splits.fractions import checked
from geodata.splits.making import coded, refuse_empty, shared_out
from geodata.splits.places import need_places, squares
from geodata.splits.split import Split

__all__ = ["REBEN_RINGS", "ring", "space_time", "time"]

REBEN_RINGS = {"test": (23, 68), "validation": (13, 77)}
"""Columns and rows, first and last, of reBEN's patches within a tile of 91 x 91; the rest is for training."""


def ring(
    catalog: Catalog,
    *,
    rings: Mapping[str, tuple[int, int]] = REBEN_RINGS,
    rest: str = "train",
    position: Any = None,
) -> Split:
    """Nest the parts within each tile: the middle, frames around it, and the rest outside.

    Frames that are wider than tiles overlap keep what lies twice in the outermost part. The parts touch: there is no dead
    zone. The defaults are the published split of reBEN.

    Parameters
    ----------
    catalog : Catalog
    rings : part -> (first, last) place within a tile, both ends included, along columns and rows; innermost first
    rest : the part outside all rings
    position : None, names of two columns, or (N, 2) int: column and row of each item within its tile
        None takes the two numbers at the end of the keys, as in ``..._26_57``; of catalogs made by `Catalog.tile` the
        place of the block.

    Raises
    ------
    SplitError
        If keys say no place, or rings are not nested.

    References
    ----------
    .. [1] Clasen et al., reBEN, 2024, arXiv:2407.03653. The limits are read off its published table, all of whose 480,038
       rows (and the 69,450 that are left out) they give.
    """
    refuse_empty(catalog)
    limits = [tuple(ends) for ends in rings.values()]
    if not limits or not all(len(e) == 2 and all(isinstance(v, Integral) for v in e) and e[0] <= e[1] for e in limits):
        raise SplitError(f"rings {dict(rings)} must name parts, each with its first and last place: {REBEN_RINGS}")
    if any(not (b[0] <= a[0] <= a[1] <= b[1]) for a, b in pairwise(limits)) or rest in rings:
        raise SplitError(f"rings {dict(rings)} must lie within each other, innermost first, and not be called {rest!r}")
    column, row = _positions(catalog, position).T
    names = (rest, *list(rings)[::-1])
    code = np.zeros(len(catalog), dtype=np.int16)
    for number, part in enumerate(names[1:], start=1):
        low, high = rings[part]
        code[(column >= low) & (column <= high) & (row >= low) & (row <= high)] = number
    recipe = {"method": "ring", "rings": {name: list(ends) for name, ends in rings.items()}, "rest": rest}
    return Split(catalog, code, names, recipe)


def _positions(catalog: Catalog, position: Any) -> NDArray[np.int64]:
    if position is None and "tile_of" in catalog.table.column_names:
        height, width = catalog.shape.max(axis=0).tolist()
        return np.column_stack([catalog.origin[:, 1] // width, catalog.origin[:, 0] // height])
    if position is None:
        found = pc.extract_regex(
            catalog.table["key"], r"(?:^|\D)(?P<column>\d{1,18})_(?P<row>\d{1,18})$"
        ).combine_chunks()
        if found.null_count:
            first = catalog.key[int(np.argmin(known_in(found)))]
            raise SplitError(
                f"{found.null_count} of {len(catalog)} keys do not end in column and row, as in 'T33UUP_26_57', first {first!r}; "
                "give position=(column, row)"
            )
        return np.column_stack([values_of(found.field(n).cast(pa.int64())) for n in ("column", "row")])
    if isinstance(position, (tuple, list)) and len(position) == 2 and all(isinstance(p, str) for p in position):
        position = np.column_stack([catalog.column(name) for name in position])
    array = np.asarray(position)
    if array.shape != (len(catalog), 2) or array.dtype.kind not in "iu":
        raise SplitError(f"position has shape {array.shape} of {array.dtype}, wanted ({len(catalog)}, 2) whole numbers")
    return array.astype(np.int64)


def time(
    catalog: Catalog,
    *,
    fractions: Mapping[str, float] | None = None,
    intervals: Mapping[str, Any] | None = None,
    gap: Any = None,
) -> Split:
    """Put earlier rows into the first part and later ones into the last.

    Rows at one place may lie in several parts: nothing is kept together but equal times. See `space_time`. With
    ``fractions`` a row that starts before a cut and ends after it is in the earlier part; ``gap="0d"`` drops such rows.

    Parameters
    ----------
    fractions : share of each part, from the earliest on; or
    intervals : time of each part as in `Interval.parse`: ``{"train": ("2017", "2018"), "test": "2019"}``
        Rows outside all of them are in the dead zone.
    gap : None, days, or text (``"12h"``, ``"30d"``, ``"2w"``, ``"1y"``): least time between the end of a row and the start of one in the next part
        Rows of the earlier part that come nearer are in the dead zone.

    Raises
    ------
    SplitError
        If a row has no time, intervals overlap, or a part ends up empty.
    """
    refuse_empty(catalog)
    _need_times(catalog)
    if (fractions is None) == (intervals is None):
        raise SplitError("give fractions={'train': .7, ...}, or intervals={'train': ('2017', '2018'), ...}")
    if fractions is not None:
        names, code = tuple(checked(fractions)), _in_turn(catalog, checked(fractions))
    else:
        names, code = _in_intervals(catalog, intervals or {})
    if gap is not None:
        code = _apart(catalog.time, code, seconds(gap))
    recipe = {
        "method": "time",
        "fractions": None if fractions is None else dict(fractions),
        "intervals": None if intervals is None else {k: repr(Interval.parse(v)) for k, v in intervals.items()},
        "gap": gap,
    }
    return Split(catalog, code.astype(np.int16), names, recipe)


def seconds(gap: Any) -> float:
    """Return a length of time in seconds: a number of days, or text as `geodata.interval.length_of_time` reads it."""
    found = length_of_time(gap)
    if found is None:
        raise SplitError(f"gap {gap!r} must be a number of days, or text such as '12h', '30d', '2w' or '1y'")
    return found


def _need_times(catalog: Catalog) -> None:
    lacking = np.flatnonzero(~np.isfinite(catalog.time).all(axis=1))
    if len(lacking):
        raise SplitError(
            f"{len(lacking)} of {len(catalog)} rows have no time, first {catalog.key[lacking[0]]!r}; scan with a date in the "
            "pattern, or split by place"
        )


def _in_turn(catalog: Catalog, wanted: Mapping[str, float]) -> NDArray[np.int64]:
    """Cut rows in order of their start where the shares say; rows that start together stay together."""
    start = catalog.time[:, 0]
    moments, count = np.unique(start, return_counts=True)
    if len(moments) < len(wanted):
        raise SplitError(f"{len(moments)} different times for {len(wanted)} parts; there must be one for each")
    middle = (np.cumsum(count) - count / 2) / len(catalog)
    part = np.searchsorted(np.cumsum(list(wanted.values()))[:-1], middle, side="right")
    code: NDArray[np.int64] = part[np.searchsorted(moments, start)]
    return code


def _in_intervals(catalog: Catalog, intervals: Mapping[str, Any]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    spans = sorted((Interval.parse(value).start, Interval.parse(value).end, name) for name, value in intervals.items())
    if len(spans) < 2:
        raise SplitError(f"intervals {dict(intervals)!r} must name at least two parts")
    for (_, end, name), (start, _, after) in pairwise(spans):
        if end > start:
            raise SplitError(f"the intervals of {name!r} and {after!r} overlap; a moment belongs to one part")
    code = np.full(len(catalog), -1)
    for number, (start, end, _) in enumerate(spans):
        # A row that reaches over an end is in no part: half of it would leak.
        inside = (catalog.time[:, 0] >= start) & ((catalog.time[:, 1] <= end) & (catalog.time[:, 0] < end))
        code[inside] = number
    return tuple(name for _, _, name in spans), code


def _apart(times: NDArray[np.float64], code: NDArray[np.int64], gap: float) -> NDArray[np.int64]:
    out = code.copy()
    for part in range(int(code.max(initial=0)), 0, -1):
        later = times[out == part, 0]
        if len(later):
            out[(out >= 0) & (out < part) & (times[:, 1] > later.min() - gap)] = -1
    return out


def space_time(
    catalog: Catalog,
    *,
    size: Any,
    fractions: Mapping[str, float],
    seed: int = 0,
    gap: Any = None,
    stratify: Any = None,
    group: Any = None,
) -> Split:
    """Hold out places and times at once: a row is in a part only if its block and its time both are.

    Test rows then lie elsewhere and later than all of training. What falls between is in the dead zone: with shares of
    .7, .15 and .15 more than two fifths of the rows.

    Parameters
    ----------
    catalog, size, fractions, seed, stratify, group : as in `blocks`; the first part is the earliest
    gap : as in `time`

    Raises
    ------
    SplitError
        As in `blocks` and `time`.

    References
    ----------
    .. [1] Meyer et al., Improving performance of spatio-temporal machine learning models using forward feature selection and
       target-oriented validation, 2018 (``CreateSpacetimeFolds`` of the R package CAST).
    """
    refuse_empty(catalog)
    need_places(catalog, "a split by place and time")
    code, names = coded(squares(catalog, size))
    place = shared_out(
        catalog, code, names, {}, fractions=fractions, seed=seed, stratify=stratify, group=group, overlap="allow"
    )
    when = time(catalog, fractions=fractions)
    both = np.where(place.code == when.code, place.code, -1).astype(np.int64)
    if gap is not None:
        both = _apart(catalog.time, both, seconds(gap))
    recipe = dict(place.recipe) | {"method": "space_time", "size": size, "gap": gap}
    return Split(catalog, both.astype(np.int16), place.parts, recipe, place.block)
