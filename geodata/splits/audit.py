"""Checking a split: whether parts know of each other what they should not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.errors import SplitError
from geodata.splits.distance import centre_gaps, gaps
from geodata.splits.labels import Labels, labels_of
from geodata.splits.making import length_of, refuse_empty
from geodata.splits.meeting import Meeting, numbered
from geodata.splits.nearest import Outlines, to_lonlat
from geodata.splits.report import Audit, Distances, Pair, Part, Shared
from geodata.splits.similarity import decay
from geodata.splits.split import Split

__all__ = ["IDS", "QUANTILES", "audit"]

IDS = (
    "location", "scene", "s1_scene", "product", "tile", "tile_of", "acquisition", "acquisition_id", "scene_id",
    "location_id", "product_id", "date", "orbit", "field", "field_id", "image_id", "sequence",
)  # fmt: skip
"""Columns whose values are compared between parts unless others are named."""

QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 1.0)
SHARE = 0.01
"""Footprints that share no more than this of the smaller are neighbours, as everywhere in `geodata.splits`."""
MAP_POINTS, CURVE_POINTS = 50_000, 200
TRAIN = ("train", "training", "trainval")
REST = "the rest"
"""What folds are compared with: all others."""


def audit(
    catalog: Catalog,
    split: Split,
    *,
    train: str | None = None,
    test: str | Sequence[str] | None = None,
    labels: str | NDArray[Any] | None = None,
    ids: Sequence[str] | None = None,
    min_distance: str | float | None = None,
    max_deviation: float | None = None,
    similarity: bool = True,
    seed: int = 0,
) -> Audit:
    """Say what the parts of a split have in common, and whether that breaks a threshold.

    A split leaks if footprints of train and another part overlap; if two parts hold duplicates; if parts share a value
    of a column that ``ids`` names; if a row lies nearer to train than ``min_distance``; if the mean deviation of classes
    in a part exceeds ``max_deviation``; or if a part lacks a class that others have. All else that is found is reported
    as a hint.

    Duplicates are rows of the same footprint and the same time. Where no time is known, they are rows of the same
    footprint and the same values in all columns of ``ids`` and `IDS` that there are; without such a column nobody knows,
    and only the same footprint is counted.

    Parameters
    ----------
    catalog : Catalog
        The rows that were split. Without CRS and without tiles there are no places: overlaps and distances are None.
    split : Split
    train : name of the part that others are compared with
        None takes the one called train, training or trainval. Where there is none, parts are folds: each is compared
        with the train rows of ``split.fold(name)``.
    test : names of parts; None takes all others
    labels : name of a column (one class or a list of them per row), or (N, K) array with the amount of each class
    ids : columns of which no value may be in train and in another part
        None compares those of `IDS` that there are, and only reports what is shared.
    min_distance : metres from edge to edge, or text such as ``"5km"``; pixels (``"8px"``) for tiles of items without a CRS
    max_deviation : mean over classes of ``|share in the part / share in all parts - 1|``
    similarity : whether to measure how alike labels are by distance
    seed : of the pairs of rows that this draws

    Raises
    ------
    SplitError
        If there is no such part, labels or ids are of the wrong kind, ``min_distance`` is no length or asked of rows
        without CRS, ``max_deviation`` is below 0, or the split is of other rows.
    CatalogError
        If there is no such column.
    MissingDependencyError
        If scipy is not installed.
    """
    refuse_empty(catalog)
    if not hasattr(split, "codes"):
        raise SplitError(f"a Split is audited, got {type(split).__name__}: make one, splits.predefined(catalog, split)")
    train, names = _parts(split, train, test)
    given = split.codes(catalog)
    position = np.full(len(split.parts) + 1, -1)  # the last is for -1
    position[[split.parts.index(name) for name in names]] = np.arange(len(names))
    code = position[given.astype(np.int64)]
    least = None if min_distance is None else length_of(catalog, min_distance, "min_distance")
    if max_deviation is not None and not max_deviation >= 0:
        raise SplitError(f"max_deviation={max_deviation!r} must be at least 0, such as 0.1 for a tenth")
    carried = None if labels is None else labels_of(catalog, labels)
    if carried is None and max_deviation is not None:
        raise SplitError(f"max_deviation={max_deviation!r} needs labels")
    outlines = Outlines.of(catalog) if catalog.has_crs or "tile_of" in catalog.table.column_names else None
    compared = {name: numbered(catalog, name) for name in _ids(catalog, ids)}
    found = (_pair(catalog, *two, compared, outlines) for two in _compared(catalog, split, train, names, code))
    pairs = _with_overlaps(catalog, tuple(found), outlines, list(compared))
    curve = None
    if similarity and carried is not None and outlines is not None and outlines.earth:
        curve = decay(carried, outlines.centre, np.flatnonzero(code >= 0), seed)
    return Audit(
        parts=_described(catalog, names, code, carried),
        pairs=pairs,
        decay=curve,
        thresholds={"overlap": SHARE, "min_distance": least, "max_deviation": max_deviation, "ids": list(ids or ())},
        split={
            "digest": split.digest,
            "recipe": dict(split.recipe),
            "rows": len(catalog),
            "dropped": int((given < 0).sum()),
        },
        unit="m" if catalog.has_crs else "px",
        train=train or REST,
        **_map(outlines, given, split, names),
    )


def _parts(split: Split, train: str | None, test: str | Sequence[str] | None) -> tuple[str | None, list[str]]:
    """Return which part others are compared with, None for folds; and the parts, that one first."""
    if len(split.parts) < 2:
        raise SplitError(f"the split has one part, {split.parts[0]!r}, and nothing to compare it with")
    if train is None:
        train = next((name for name in TRAIN if name in split.parts), None)
    if train is None:
        if test is not None:
            raise SplitError(f"no part is called train; name train= of {', '.join(split.parts)}, to compare test= with")
        return None, list(split.parts)
    others = (
        [test] if isinstance(test, str) else list(test if test is not None else (p for p in split.parts if p != train))
    )
    for name in (train, *others):
        if name not in split.parts:
            raise SplitError(f"no part {name!r}; there are {', '.join(split.parts)}")
    if train in others or len(set(others)) < len(others) or not others:
        raise SplitError(f"train={train!r} and test={others!r} must be two or more parts that differ")
    return train, [train, *others]


def _compared(
    catalog: Catalog, split: Split, train: str | None, names: list[str], code: NDArray[np.int64]
) -> Iterator[tuple[str, str, NDArray[np.int64], NDArray[np.int64], bool]]:
    """Yield two names, the rows of each, and whether the first is what the second is tested against."""
    if train is None:
        for name in names:
            # A buffer of folds drops rows by what is held out.
            held = split.fold(name).codes(catalog)
            yield REST, name, np.flatnonzero(held == 0), np.flatnonzero(held == 1), True
        return
    rows = [np.flatnonzero(code == k) for k in range(len(names))]
    for a, b in combinations(range(len(names)), 2):
        yield names[a], names[b], rows[a], rows[b], a == 0


@dataclass(frozen=True, eq=False)
class _Met:
    """A pair of parts, and rows of each among which are all that touch one of the other."""

    pair: Pair
    first: NDArray[np.int64]
    second: NDArray[np.int64]


def _pair(
    catalog: Catalog,
    part: str,
    other: str,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    tested: bool,
    ids: Mapping[str, tuple[NDArray[np.int64], int]],
    outlines: Outlines | None,
) -> _Met:
    times = [_known_times(catalog.time[rows]) for rows in (first, second)]
    shared = {name: _shared(*column, first, second) for name, column in ids.items()}
    pair = Pair(part, other, shared=shared, inside=_inside(*times), days=_days(*times))
    if outlines is None:
        return _Met(pair, first[:0], second[:0])
    mine, theirs = outlines.take(first), outlines.take(second)
    # What no two parts but train and another keep apart is of interest only where they touch.
    gap, _ = gaps(theirs, mine, math.inf if tested else 0.0)
    met = second[gap == 0]
    if 2 * len(met) < len(second):  # else nearly all rows touch, and looking for them takes longer than it saves
        first = first[gaps(mine, outlines.take(met), 0.0)[0] == 0]
    pair = replace(pair, touching=len(met))
    if tested:
        pair = replace(pair, gap=_distances(gap), centre=_distances(centre_gaps(theirs, mine)))
    return _Met(pair, first, met)


def _with_overlaps(
    catalog: Catalog, pairs: tuple[_Met, ...], outlines: Outlines | None, ids: Sequence[str]
) -> tuple[Pair, ...]:
    """Count overlaps; only rows that touch another part can have one, and mostly these are few."""
    if outlines is None:
        return tuple(met.pair for met in pairs)
    rows = np.unique(np.concatenate([numbers for met in pairs for numbers in (met.first, met.second)]))
    told = dict.fromkeys([*ids, *_ids(catalog, None)])
    meeting = Meeting.of(catalog, rows, outlines.footprints, list(told))
    out = []
    for met in pairs:
        upon, repeats, duplicates, overlapping = meeting.counts(met.first, met.second)
        counted = replace(met.pair, overlaps=upon, repeats=repeats, duplicates=duplicates, overlapping=overlapping)
        out.append(counted)
    return tuple(out)


def _distances(far: NDArray[np.float64]) -> Distances | None:
    near = np.sort(far[np.isfinite(far)])
    if not len(near):
        return None
    share = np.linspace(0, 1, min(CURVE_POINTS, len(near)))
    # A value of the data, never one between two: a gap of 0 stays 0.
    quantile = {q: float(near[math.floor(q * (len(near) - 1))]) for q in QUANTILES}
    at = np.floor(share * (len(near) - 1)).astype(np.int64)
    curve = tuple(near[at].tolist()), tuple(((at + 1) / len(near)).tolist())
    return Distances(quantile, curve, alone=len(far) - len(near))


def _ids(catalog: Catalog, ids: Sequence[str] | None) -> list[str]:
    if isinstance(ids, str):
        raise SplitError(f"ids={ids!r} must be a list of names of columns")
    if ids is None:
        table = catalog.table
        return [n for n in IDS if n in table.column_names and not pa.types.is_nested(table.schema.field(n).type)]
    return list(dict.fromkeys(ids))


def _shared(code: NDArray[np.int64], count: int, first: NDArray[np.int64], second: NDArray[np.int64]) -> Shared:
    there = [np.bincount(code[rows] + 1, minlength=count + 1)[1:] for rows in (first, second)]
    both = (there[0] > 0) & (there[1] > 0)
    return Shared(int(both.sum()), float(there[1][both].sum() / max(len(second), 1)))


def _known_times(times: NDArray[np.float64]) -> NDArray[np.float64]:
    return times[np.isfinite(times).all(axis=1)]


def _inside(mine: NDArray[np.float64], theirs: NDArray[np.float64]) -> float | None:
    if not len(mine) or not len(theirs):
        return None
    return float(((theirs[:, 0] >= mine[:, 0].min()) & (theirs[:, 1] <= mine[:, 1].max())).mean())


def _days(mine: NDArray[np.float64], theirs: NDArray[np.float64]) -> float | None:
    """Return the least gap between an interval of each, 0 where two meet."""
    if not len(mine) or not len(theirs):
        return None
    start, end = np.sort(mine[:, 0]), np.sort(mine[:, 1])
    begun, over = np.searchsorted(start, theirs[:, 1], side="right"), np.searchsorted(end, theirs[:, 0], side="left")
    if (begun > over).any():  # begun before the end of one, and not over before its start
        return 0.0
    before = theirs[:, 0] - np.append(-math.inf, end)[over]
    after = np.append(start, math.inf)[begun] - theirs[:, 1]
    return float(min(before.min(), after.min())) / 86_400.0


def _described(catalog: Catalog, names: list[str], code: NDArray[np.int64], labels: Labels | None) -> dict[str, Part]:
    rows = np.bincount(code[code >= 0], minlength=len(names))
    parts = {}
    for k, name in enumerate(names):
        known = _known_times(catalog.time[code == k])
        time = (_iso(known[:, 0].min()), _iso(known[:, 1].max())) if len(known) else None
        parts[name] = Part(int(rows[k]), time)
    if labels is None:
        return parts
    total = labels.totals(code, len(names))
    size = total.sum(axis=1) if labels.graded else rows.astype(np.float64)
    used = np.flatnonzero(total.sum(axis=0) > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.nan_to_num(total[:, used] / size[:, None])
        deviation = np.abs(share / (total[:, used].sum(axis=0) / size.sum()) - 1)
    classes = [labels.names[k] for k in used.tolist()]
    for k, name in enumerate(names):
        parts[name] = replace(
            parts[name],
            prevalence=dict(zip(classes, share[k].tolist(), strict=True)),
            deviation=float(deviation[k].mean()) if len(used) else None,
            worst=float(deviation[k].max()) if len(used) else None,
            empty=tuple(c for c, s in zip(classes, share[k], strict=True) if s == 0),
        )
    return parts


def _iso(seconds: float) -> str:
    return f"{np.datetime64(math.floor(seconds), 's')}Z"


def _map(outlines: Outlines | None, given: NDArray[np.int16], split: Split, names: list[str]) -> dict[str, Any]:
    """Return places of some rows, evenly among all, for a picture."""
    if outlines is None or not outlines.earth:
        return {}
    rows = np.flatnonzero(~np.isnan(outlines.centre[:, 0]))
    # Parts that were not asked for are not drawn.
    rows = rows[np.isin(given[rows], [-1, *(split.parts.index(name) for name in names)])]
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), MAP_POINTS)).astype(np.int64)]
    position = np.array([*(names.index(p) if p in names else -1 for p in split.parts), -1], dtype=np.int16)
    return {"points": np.column_stack(to_lonlat(outlines.centre[rows])), "code": position[given[rows].astype(np.int64)]}
