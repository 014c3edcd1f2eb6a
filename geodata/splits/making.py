"""What the splitters share: from labels of rows to a split, with nothing parted that belongs together."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.catalog.footprint import pixel_metres
from geodata.errors import SplitError, SplitWarning
from geodata.splits.distance import gaps, metres
from geodata.splits.fractions import checked, share_out
from geodata.splits.labels import Labels, labels_of
from geodata.splits.nearest import Outlines
from geodata.splits.split import Split
from geodata.splits.together import chains, column_of, linked, overlapping, refuse_long, too_long, without_overlaps

__all__ = [
    "Codes",
    "checked_folds",
    "coded",
    "dead_zone",
    "kept_together",
    "length_of",
    "near_parts",
    "refuse_empty",
    "said",
    "shared_out",
]

MISS = 1 / 3
"""A part that misses its fraction by more than so much of it is worth a warning."""

COLUMNS = 16
"""A recipe names so many columns; more texts than that are values of rows."""

Codes = NDArray[np.int64]


def refuse_empty(catalog: Catalog) -> None:
    """Refuse a catalog without rows, and what is no catalog."""
    if not isinstance(catalog, Catalog):
        hint = ": give dataset.catalog" if isinstance(getattr(catalog, "catalog", None), Catalog) else ""
        raise SplitError(f"rows of a Catalog are split, got {type(catalog).__name__}{hint}")
    if not len(catalog):
        raise SplitError("the catalog is empty; there is nothing to split")


def checked_folds(folds: Any) -> int:
    """Return a number of folds, or refuse what is no whole number of at least 2."""
    if not isinstance(folds, Integral) or int(folds) < 2:
        raise SplitError(f"folds={folds!r} must be a whole number of at least 2")
    return int(folds)


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
    place, i, j = overlapping(catalog, overlap)
    together = []
    if overlap == "together":
        together.append(chains(place, i, j))
        refuse_long(catalog, together[0], min(wanted.values()) * len(catalog))
    if group is not None:
        together.append(coded(column_of(catalog, group))[0])
    unit, units = linked(code, names, *together)
    if len(units) < len(wanted) <= len(names):
        raise SplitError(
            f"{len(wanted)} parts or folds, but what stays together links {len(names)} blocks into {len(units)}: values of "
            f"group={said(group)!r}, or rows that overlap, lie in many blocks; take a finer group, or overlap='drop'"
        )
    sizes = np.bincount(unit, minlength=len(units))
    labels = None if stratify is None else labels_of(catalog, stratify)
    held = None if labels is None else labels.totals(unit, len(units))
    part = share_out(sizes, units, wanted, seed, held, () if labels is None else labels.names)[unit]
    _warn_of_misses(part, wanted, labels)
    part = without_overlaps(part, place, i, j) if overlap == "drop" else part
    if buffer is not None:
        part = dead_zone(catalog, part, length_of(catalog, buffer))
        _warn_of_losses(part, wanted, buffer)
    options = {
        "fractions": wanted,
        "seed": seed,
        "stratify": said(stratify),
        "buffer": buffer,
        "group": said(group),
        "overlap": overlap,
    }
    return Split(catalog, part.astype(np.int16), tuple(wanted), {**recipe, **options}, unit)


def said(value: Any) -> Any:
    """Return what a recipe says of a column, several columns, or values that were given."""
    several = isinstance(value, (list, tuple)) and len(value) <= COLUMNS and all(isinstance(v, str) for v in value)
    return list(value) if several else value if value is None or isinstance(value, str) else "given"


def _warn_of_misses(part: Codes, wanted: Mapping[str, float], labels: Labels | None) -> None:
    """Say which parts are far from what they want, or lack a class: blocks may be too few or too large."""
    size = np.bincount(part, minlength=len(wanted))
    misses = [
        f"{name} has {size[k] / len(part):.1%} of the rows, wanted {share:.1%}"
        for k, (name, share) in enumerate(wanted.items())
        if abs(size[k] - share * len(part)) > max(share * len(part) * MISS, 1)
    ]
    if labels is not None:
        lacks = (labels.totals(part, len(wanted)) == 0) & (np.bincount(labels.code, minlength=len(labels.names)) > 0)
        for k, name in enumerate(wanted):
            lacking = [labels.names[c] for c in np.flatnonzero(lacks[k]).tolist()]
            misses += [f"{name} lacks {len(lacking)} classes, first {lacking[0]!r}"] if lacking else []
    if misses:
        warnings.warn(f"{'; '.join(misses)}; smaller blocks can be shared out better", SplitWarning, stacklevel=4)


def _warn_of_losses(part: Codes, wanted: Mapping[str, float], buffer: Any) -> None:
    """Say if the dead zone has changed the shares of parts: blocks may be too small for it."""
    size = np.bincount(part[part >= 0], minlength=len(wanted))
    kept = int(size.sum())
    losses = [
        f"{name} has {size[k] / kept:.1%} of the rows that are left, wanted {share:.1%}"
        for k, (name, share) in enumerate(wanted.items())
        if size[k] and abs(size[k] - share * kept) > max(share * kept * MISS, 1)
    ]
    if losses and size.all():  # an empty part is refused anyway
        warnings.warn(
            f"the dead zone of {buffer} drops {1 - kept / len(part):.1%} of the rows, and {'; '.join(losses)}; blocks that are "
            "several times as wide as the buffer and the rows lose less",
            SplitWarning,
            stacklevel=4,
        )


def kept_together(catalog: Catalog, part: Codes, names: Sequence[str], overlap: str) -> Codes:
    """Return parts that place or column decide, mended where rows overlap.

    With ``"together"`` rows that overlap go where most of them are, to the first by name if that is a tie.

    Raises
    ------
    SplitError
        With ``"together"``, if a chain of rows that overlap takes more than half of its rows from a part.
    """
    place, i, j = overlapping(catalog, overlap)
    if overlap == "drop":
        return without_overlaps(part, place, i, j)
    chain = chains(place, i, j)
    by_name = np.argsort(np.argsort(np.array(names, dtype=object)))
    held, votes = np.unique(chain * len(names) + by_name[part], return_counts=True)
    of = held // len(names)
    order = np.lexsort((held, -votes, of))
    wins = np.diff(of[order], prepend=-1) > 0
    best = np.empty(len(part), dtype=np.int64)
    best[of[order[wins]]] = np.argsort(by_name)[held[order[wins]] % len(names)]
    leaving = order[~wins]
    sizes = np.bincount(by_name[part], minlength=len(names))[held[leaving] % len(names)]
    for k in np.flatnonzero(2 * votes[leaving] > sizes)[:1].tolist():
        raise too_long(catalog, np.flatnonzero(chain == of[leaving[k]]), float(sizes[k]))
    kept: Codes = best[chain]
    return kept


def length_of(catalog: Catalog, buffer: Any, what: str = "buffer") -> float:
    """Return a distance between rows in metres; in pixels (``"8px"``) for rows without a CRS."""
    pixels = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*px\s*", buffer) if isinstance(buffer, str) else None
    if (pixels is not None) == catalog.has_crs:
        wanted = "metres, such as '5km'" if catalog.has_crs else "pixels, such as '8px': these rows have no CRS"
        raise SplitError(f"{what} {buffer!r} must be in {wanted}")
    found = float(pixels[1]) if pixels else metres(buffer)
    if found <= 0:
        raise SplitError(f"{what} {buffer!r} must be above 0, or None for none")
    pixel = float(pixel_metres(catalog.footprints).min()) if catalog.has_crs else 1.0
    if found < pixel:
        raise SplitError(f"{what} {buffer!r} is {found:g} m, less than a pixel of {pixel:g} m; is it in metres?")
    return found


def dead_zone(catalog: Catalog, part: Codes, distance: float) -> Codes:
    """Drop the rows whose footprints lie nearer than a distance to those of a smaller part.

    So the largest part loses rows, and the smallest none; parts that are left are at least so far apart.
    """
    out = part.copy()
    outlines = Outlines.of(catalog)
    order = np.argsort(-np.bincount(part[part >= 0]), kind="stable").tolist()
    for position, larger in enumerate(order[:-1]):
        smaller = np.flatnonzero(np.isin(out, order[position + 1 :]))
        out[_nearer(outlines, np.flatnonzero(out == larger), smaller, distance)] = -1
    return out


def near_parts(catalog: Catalog, part: Codes, distance: float) -> NDArray[np.int64]:
    """Return (M, 2) pairs (row, part): the row is of another part and lies nearer than a distance to a row of this one."""
    found = [np.empty((0, 2), dtype=np.int64)]
    outlines = Outlines.of(catalog)
    for held in np.unique(part[part >= 0]).tolist():
        others = np.flatnonzero((part != held) & (part >= 0))
        close = _nearer(outlines, others, np.flatnonzero(part == held), distance)
        found.append(np.column_stack([close, np.full(len(close), held)]))
    return np.concatenate(found)


def _nearer(outlines: Outlines, rows: Codes, others: Codes, distance: float) -> Codes:
    """Return those of some rows that lie nearer than a distance to one of the others."""
    if not (len(rows) and len(others)):
        return rows[:0]
    # Most rows are far from the box that holds all others.
    reach = (distance + outlines.radius[others].max() + outlines.radius[rows])[:, None]
    centre, held = outlines.centre[rows], outlines.centre[others]
    near = ((centre >= np.fmin.reduce(held) - reach) & (centre <= np.fmax.reduce(held) + reach)).all(axis=1)
    rows = rows[near]
    gap, _ = gaps(outlines.take(rows), outlines.take(others), distance)
    return rows[gap < distance]
