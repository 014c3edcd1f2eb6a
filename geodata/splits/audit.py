"""Checking a split: whether parts know of each other what they should not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.catalog.arrow import values_of
from geodata.catalog.footprint import Footprints
from geodata.catalog.overlaps import overlaps
from geodata.errors import SplitError
from geodata.splits.distance import centre_gaps, gaps, metres
from geodata.splits.labels import Labels, labels_of
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


def audit(
    catalog: Catalog,
    split: Split,
    *,
    train: str = "train",
    test: str | Sequence[str] | None = None,
    labels: str | NDArray[Any] | None = None,
    ids: Sequence[str] | None = None,
    min_distance: str | float | None = None,
    max_deviation: float | None = None,
    similarity: bool = True,
    seed: int = 0,
) -> Audit:
    """Say what the parts of a split have in common, and whether that breaks a threshold.

    A split leaks if footprints of train and another part overlap; if the same footprint of the same time is in two
    parts; if parts share a value of a column that ``ids`` names; if a row lies nearer to train than ``min_distance``; if
    the mean deviation of classes in a part exceeds ``max_deviation``; or if a part lacks a class that others have. All
    else that is found is reported as a hint.

    Parameters
    ----------
    catalog : Catalog
        The rows that were split. Without CRS and without tiles there are no places: overlaps and distances are None.
    split : Split
    train, test : names of parts; ``test=None`` takes all others
    labels : name of a column (one class or a list of them per row), or (N, K) array with the amount of each class
    ids : columns of which no value may be in train and in another part
        None compares those of `IDS` that there are, and only reports what is shared.
    min_distance : metres from edge to edge, or text such as ``"5km"``
    max_deviation : mean over classes of ``|share in the part / share in all parts - 1|``
    similarity : whether to measure how alike labels are by distance
    seed : of the pairs of rows that this draws

    Raises
    ------
    SplitError
        If there is no such part, labels or ids are of the wrong kind, ``min_distance`` is no length or asked of rows
        without CRS, or the split is of other rows.
    CatalogError
        If there is no such column.
    MissingDependencyError
        If scipy is not installed.
    """
    names = _parts(split, train, test)
    given = split.codes(catalog)
    position = np.full(len(split.parts) + 1, -1)  # the last is for -1
    position[[split.parts.index(name) for name in names]] = np.arange(len(names))
    code = position[given.astype(np.int64)]
    least = None if min_distance is None else metres(min_distance)
    if least is not None and not catalog.has_crs:
        raise SplitError(f"min_distance={min_distance!r} needs rows with a CRS: between these there are no metres")
    carried = None if labels is None else labels_of(catalog, labels)
    outlines = Outlines.of(catalog) if catalog.has_crs or "tile_of" in catalog.table.column_names else None
    pairs = tuple(_pair(catalog, names, code, a, b, ids, outlines) for a, b in combinations(range(len(names)), 2))
    if outlines is not None:
        pairs = _with_overlaps(catalog, code, pairs, outlines)
    curve = None
    if similarity and carried is not None and outlines is not None and outlines.earth:
        curve = decay(carried, outlines.centre, np.flatnonzero(code >= 0), seed)
    return Audit(
        parts=_described(catalog, names, code, carried),
        pairs=tuple(p.pair for p in pairs),
        decay=curve,
        thresholds={"overlap": SHARE, "min_distance": least, "max_deviation": max_deviation, "ids": list(ids or ())},
        split={
            "digest": split.digest,
            "recipe": dict(split.recipe),
            "rows": len(catalog),
            "dropped": int((code < 0).sum()),
        },
        unit="m" if catalog.has_crs else "px",
        **_map(outlines, given, split, names),
    )


def _parts(split: Split, train: str, test: str | Sequence[str] | None) -> list[str]:
    others = (
        [test] if isinstance(test, str) else list(test if test is not None else (p for p in split.parts if p != train))
    )
    for name in (train, *others):
        if name not in split.parts:
            folds = "; of folds take split.fold(...) first" if name == train else ""
            raise SplitError(f"no part {name!r}; there are {', '.join(split.parts)}{folds}")
    if train in others or len(set(others)) < len(others) or not others:
        raise SplitError(f"train={train!r} and test={others!r} must be two or more parts that differ")
    return [train, *others]


@dataclass(frozen=True, eq=False)
class _Met:
    """A pair of parts, and the rows that touch one of the other part."""

    pair: Pair
    codes: tuple[int, int]
    rows: NDArray[np.int64]


def _pair(
    catalog: Catalog,
    names: list[str],
    code: NDArray[np.int64],
    a: int,
    b: int,
    ids: Sequence[str] | None,
    outlines: Outlines | None,
) -> _Met:
    first, second = np.flatnonzero(code == a), np.flatnonzero(code == b)
    times = [_known_times(catalog.time[rows]) for rows in (first, second)]
    pair = Pair(
        part=names[a],
        other=names[b],
        shared={name: _shared(catalog, name, first, second) for name in _ids(catalog, ids)},
        inside=_inside(*times),
        days=_days(*times),
    )
    if outlines is None:
        return _Met(pair, (a, b), np.empty(0, dtype=np.int64))
    mine, theirs = outlines.take(first), outlines.take(second)
    # What no two parts but train and another keep apart is of interest only where they touch.
    gap, _ = gaps(theirs, mine, math.inf if a == 0 else 0.0)
    met = second[gap == 0]
    if 2 * len(met) < len(second):  # else nearly all rows touch, and looking for them takes longer than it saves
        first = first[gaps(mine, outlines.take(met), 0.0)[0] == 0]
    pair = replace(pair, touching=len(met))
    if a == 0:
        pair = replace(pair, gap=_distances(gap), centre=_distances(centre_gaps(theirs, mine)))
    return _Met(pair, (a, b), np.concatenate([first, met]))


def _with_overlaps(
    catalog: Catalog, code: NDArray[np.int64], pairs: tuple[_Met, ...], outlines: Outlines
) -> tuple[_Met, ...]:
    """Count overlaps; only rows that touch another part can have one, and mostly these are few."""
    rows = np.unique(np.concatenate([p.rows for p in pairs]))
    i, j, _ = overlaps(catalog.take(rows), SHARE)
    i, j = rows[i], rows[j]
    same = _same_place(outlines.footprints, i, j)
    twice = same & (catalog.time[i] == catalog.time[j]).all(axis=1)
    low, high = np.minimum(code[i], code[j]), np.maximum(code[i], code[j])
    out = []
    for met in pairs:
        mine = (low == met.codes[0]) & (high == met.codes[1])
        counts = [int(flags.sum()) for flags in (mine, mine & same, mine & twice)]
        out.append(replace(met, pair=replace(met.pair, overlaps=counts[0], repeats=counts[1], duplicates=counts[2])))
    return tuple(out)


def _same_place(fp: Footprints, i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which pairs are the same pixels: one CRS, one shape, one transform to a thousandth of a pixel."""
    a, b = fp.affine[i], fp.affine[j]
    size = np.abs(a[:, [0, 1, 3, 4]]).max(axis=1, initial=0)[:, None]
    corners = [np.abs(a[:, k] - b[:, k]) for k in range(6)]
    steps = np.stack([corners[k] * fp.shape[i].max(axis=1, initial=1) for k in (0, 1, 3, 4)], axis=1)
    alike = (fp.code[i] == fp.code[j]) & (fp.shape[i] == fp.shape[j]).all(axis=1)
    same: NDArray[np.bool_] = alike & (np.column_stack([steps, corners[2], corners[5]]) <= 1e-3 * size).all(axis=1)
    return same


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
        return [name for name in IDS if name in catalog.table.column_names]
    return list(ids)


def _shared(catalog: Catalog, name: str, first: NDArray[np.int64], second: NDArray[np.int64]) -> Shared:
    code, count = _numbered(catalog, name)
    there = [np.bincount(code[rows] + 1, minlength=count + 1)[1:] for rows in (first, second)]
    both = (there[0] > 0) & (there[1] > 0)
    return Shared(int(both.sum()), float(there[1][both].sum() / max(len(second), 1)))


def _numbered(catalog: Catalog, name: str) -> tuple[NDArray[np.int64], int]:
    """Return (N,) equal numbers for equal values of a column, -1 for null, and how many values there are."""
    if name not in catalog.table.column_names:
        catalog.column(name)  # says which there are
    column = catalog.table[name]
    if pa.types.is_nested(column.type):
        raise SplitError(f"column {name!r} holds {column.type}; ids must be single values")
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    chunks = coded.unify_dictionaries().chunks
    numbers = [values_of(chunk.indices, null=-1).astype(np.int64) for chunk in chunks]
    return np.concatenate([*numbers, np.empty(0, dtype=np.int64)]), len(chunks[0].dictionary) if chunks else 0


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
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), MAP_POINTS)).astype(np.int64)]
    position = np.array([*(names.index(p) if p in names else -1 for p in split.parts), -1], dtype=np.int16)
    return {"points": np.column_stack(to_lonlat(outlines.centre[rows])), "code": position[given[rows].astype(np.int64)]}
