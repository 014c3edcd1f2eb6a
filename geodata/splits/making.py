"""What the splitters share: from labels of rows to a split, with nothing parted that belongs together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.errors import SplitError
from geodata.splits.distance import metres, nearest
from geodata.splits.fractions import checked, share_out
from geodata.splits.labels import labels_of
from geodata.splits.split import Split
from geodata.splits.together import column_of, linked, overlapping

__all__ = ["Codes", "coded", "dead_zone", "kept_together", "length_of", "near_parts", "refuse_empty", "shared_out"]

Codes = NDArray[np.int64]


def refuse_empty(catalog: Catalog) -> None:
    """Refuse a catalog without rows."""
    if not len(catalog):
        raise SplitError("the catalog is empty; there is nothing to split")


def coded(labels: NDArray[Any]) -> tuple[Codes, list[str]]:
    """Return (N,) positions of labels among the distinct ones, and those as text."""
    known, code = np.unique(labels, return_inverse=True)
    return code, [str(label) for label in known.tolist()]


def shared_out(
    catalog: Catalog,
    code: Codes,
    names: Sequence[str],
    recipe: Mapping[str, Any],
    *,
    fractions: Mapping[str, float],
    seed: int = 0,
    stratify: Any = None,
    buffer: Any = None,
    group: Any = None,
    overlap: str = "together",
) -> Split:
    """Share out blocks to parts by fractions.

    Parameters
    ----------
    code : (N,) block of each row, a position in ``names``
    names : names of the blocks; with the seed they decide what comes where
    recipe : what to write down beside the options
    others : as in `geodata.splits.blocks`
    """
    refuse_empty(catalog)
    wanted = checked(fractions)
    clusters, i, j = overlapping(catalog, overlap, wanted)
    together = [clusters]
    if group is not None:
        together.append(coded(column_of(catalog, group))[0])
    unit, units = linked(code, names, *together)
    sizes = np.bincount(unit, minlength=len(units))
    labels = None if stratify is None else labels_of(catalog, stratify)
    held = None if labels is None else labels.totals(unit, len(units))
    part = share_out(sizes, units, wanted, seed, held, () if labels is None else labels.names)[unit]
    part = _without_overlaps(part, i, j) if overlap == "drop" else part
    if buffer is not None:
        part = dead_zone(catalog, part, length_of(catalog, buffer))
    options = {
        "fractions": wanted,
        "seed": seed,
        "stratify": _said(stratify),
        "buffer": buffer,
        "group": _said(group),
        "overlap": overlap,
    }
    return Split(catalog, part.astype(np.int16), tuple(wanted), {**recipe, **options}, unit)


def _said(value: Any) -> Any:
    return value if value is None or isinstance(value, str) else "given"


def kept_together(catalog: Catalog, part: Codes, names: Sequence[str], overlap: str) -> Codes:
    """Return parts that place or column decide, mended where rows overlap.

    With ``"together"`` rows that overlap go where most of them are, to the first by name if that is a tie.
    """
    shares = np.bincount(part, minlength=len(names)) / max(len(part), 1)
    wanted = {name: share for name, share in zip(names, shares.tolist(), strict=True) if share}
    clusters, i, j = overlapping(catalog, overlap, wanted)
    if overlap == "drop":
        return _without_overlaps(part, i, j)
    if not (part[i] != part[j]).any():
        return part
    by_name = np.argsort(np.array(names))[::-1]
    votes = np.zeros((len(catalog), len(names)), dtype=np.int64)
    np.add.at(votes, (clusters, part), 1)
    best = by_name[len(names) - 1 - np.argmax(votes[:, by_name][:, ::-1], axis=1)]
    kept: Codes = best[clusters]
    return kept


def _without_overlaps(part: Codes, i: Codes, j: Codes) -> Codes:
    """Drop of rows that overlap across parts that of the larger part."""
    out = part.copy()
    rank = np.argsort(np.argsort(-np.bincount(part[part >= 0]), kind="stable"))
    crossing = (part[i] != part[j]) & (part[i] >= 0) & (part[j] >= 0)
    i, j = i[crossing], j[crossing]
    out[np.where(rank[part[i]] < rank[part[j]], i, j)] = -1
    return out


def length_of(catalog: Catalog, buffer: Any) -> float:
    """Return a buffer in metres; in pixels (``"8px"``) for rows without a CRS."""
    pixels = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*px\s*", buffer) if isinstance(buffer, str) else None
    if (pixels is not None) == catalog.has_crs:
        wanted = "metres, such as '5km'" if catalog.has_crs else "pixels, such as '8px': these rows have no CRS"
        raise SplitError(f"buffer {buffer!r} must be in {wanted}")
    found = float(pixels[1]) if pixels else metres(buffer)
    if found <= 0:
        raise SplitError(f"buffer {buffer!r} must be above 0, or None for no dead zone")
    return found


def dead_zone(catalog: Catalog, part: Codes, distance: float) -> Codes:
    """Drop the rows whose footprints lie nearer than a distance to those of a smaller part.

    So the largest part loses rows, and the smallest none; parts that are left are at least so far apart.
    """
    out = part.copy()
    order = np.argsort(-np.bincount(part[part >= 0]), kind="stable").tolist()
    for position, larger in enumerate(order[:-1]):
        rows = np.flatnonzero(out == larger)
        smaller = np.flatnonzero(np.isin(out, order[position + 1 :]))
        if len(rows) and len(smaller):
            gap, _ = nearest(catalog, rows, smaller, limit=distance)
            out[rows[gap < distance]] = -1
    return out


def near_parts(catalog: Catalog, part: Codes, distance: float) -> NDArray[np.int64]:
    """Return (M, 2) pairs (row, part): the row is of another part and lies nearer than a distance to a row of this one."""
    found = [np.empty((0, 2), dtype=np.int64)]
    for held in np.unique(part[part >= 0]).tolist():
        others = np.flatnonzero((part != held) & (part >= 0))
        gap, _ = nearest(catalog, others, np.flatnonzero(part == held), limit=distance)
        close = others[gap < distance]
        found.append(np.column_stack([close, np.full(len(close), held)]))
    return np.concatenate(found)
