"""A look at somebody's copy of a published archive, without training on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from geodata.datasets import cache
from geodata.datasets.archive import ArchiveDataset, rows_in
from geodata.errors import GeodataError

__all__ = ["check_copy"]

SHOWN = 5
"""Bad items that are named."""


def check_copy(cls: type[ArchiveDataset], root: str | Path, *, most: int | None = 100) -> dict[str, Any]:
    """Open a copy anew, count what it holds, and read items of it.

    Parameters
    ----------
    most : items to read, spread over all; None reads every one

    Returns
    -------
    dict
        ``good``; ``complete``, whether as many items were found as were published; ``problem``, why it cannot be opened as it is, or None; ``items`` found and ``expected``; ``splits``, items
        per part; ``missing`` items without all their files, and ``first_missing``; ``read`` and ``unreadable`` items;
        ``bad``, the first of these with what is wrong.
    """
    place = Path(root)
    cache.forget(cls.spec, place)
    report: dict[str, Any] = {
        "name": cls.spec.name, "title": cls.spec.title, "root": str(root), "good": False, "complete": False, "problem": None, "items": 0,
        "expected": cls.spec.items, "splits": {}, "missing": 0, "first_missing": None, "read": 0, "unreadable": 0, "bad": [],
    }  # fmt: skip
    try:
        cls(place)
    except GeodataError as error:
        report["problem"] = str(error)
    try:
        held = cls(place, on_error="skip")
    except GeodataError as error:
        return report | {"problem": report["problem"] or str(error)}
    catalog = held.catalog
    lacking = (*catalog.dropped, *catalog.skipped)
    rows = np.arange(len(held)) if most is None else np.unique(np.linspace(0, len(held) - 1, most).astype(int))
    bad = _unreadable(held, rows.tolist())
    return report | {
        "good": report["problem"] is None and not lacking and not bad,
        "complete": cls.spec.items is None or len(held) >= cls.spec.items,
        "items": len(held),
        "splits": rows_in(catalog),
        "missing": len(lacking),
        "first_missing": lacking[0] if lacking else None,
        "read": len(rows),
        "unreadable": len(bad),
        "bad": bad[:SHOWN],
    }


def _unreadable(held: ArchiveDataset, rows: list[int]) -> list[dict[str, str]]:
    bad = []
    for row in rows:
        try:
            held[row]
        except GeodataError as error:
            bad.append({"item": str(held.catalog.key[row]), "error": str(error)})
    return bad
