"""Folds for cross-validation, and splits that others made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from geodata.catalog import Catalog
from geodata.errors import SplitError
from geodata.splits import files
from geodata.splits.making import length_of, near_parts, refuse_empty
from geodata.splits.split import DROPPED, Split

__all__ = ["kfold", "predefined"]


def kfold(catalog: Catalog, folds: int, by: Callable[..., Split], *, buffer: Any = None, **options: Any) -> Split:
    """Share out a catalog to folds of equal size: ``split.fold(0)`` holds out the first.

    Parameters
    ----------
    catalog : Catalog
    folds : int >= 2
    by : a splitter with fractions: `blocks`, `cells`, `random`, `hash`
    buffer : as in `blocks`
        Kept with the split; rows near the fold that is held out go to the dead zone of ``split.fold``.
    options : of ``by``

    Raises
    ------
    SplitError
        If there are more folds than blocks, and as ``by`` does.

    Examples
    --------
    ``splits.kfold(catalog, 5, splits.blocks, size="20km", stratify="labels", buffer="2km").fold(0)``
    """
    if not isinstance(folds, int) or folds < 2:
        raise SplitError(f"folds={folds!r} must be a whole number of at least 2")
    if "fractions" in options:
        raise SplitError("folds are of equal size; leave fractions= out")
    refuse_empty(catalog)
    split = by(catalog, fractions={f"fold{k}": 1 / folds for k in range(folds)}, **options)
    recipe = {**split.recipe, "method": "kfold", "by": split.recipe.get("method"), "folds": folds, "buffer": buffer}
    near = None if buffer is None else near_parts(catalog, split.code.astype(np.int64), length_of(catalog, buffer))
    return replace(split, recipe=recipe, near=near)


def predefined(catalog: Catalog, source: Any, *, rest: str = "raise", key: Callable[[str], str] | None = None) -> Split:
    """Take a split that somebody else made.

    Parameters
    ----------
    catalog : Catalog
    source : the name of a column (``"split"``); a mapping of part to keys; a CSV file with columns ``key`` and ``part``; or
        text files with a key per line, ``{}`` standing for the part: ``"ImageSets/Main/{}.txt"``
        A column's null is in no part.
    rest : {"raise", "drop"}
        What to do with rows in no part: refuse, or the dead zone.
    key : from what is written there to the key of the catalog
        Without it, what is no key may be one without its file extension, or followed by more on the line.

    Raises
    ------
    SplitError
        If a row is in no part (``rest="raise"``) or in two, or an entry is no key of the catalog; with the counts.
    """
    refuse_empty(catalog)
    if rest not in ("raise", "drop"):
        raise SplitError(f"rest={rest!r} must be 'raise' or 'drop'")
    if isinstance(source, str) and source in catalog.table.column_names:
        named = catalog.column(source).tolist()
        said = source
    else:
        found, said = _entries(source)
        named = _matched(catalog, found, key)
    return _of_names(catalog, named, rest, {"method": "predefined", "source": said})


def _entries(source: Any) -> tuple[dict[str, str], str]:
    if isinstance(source, Mapping):
        return files.once((str(k), str(part), "the mapping") for part, keys in source.items() for k in keys), "given"
    path = Path(source)
    if path.suffix == ".csv" and path.is_file():
        return files.table_of(path), path.name
    if "{}" in path.name:
        return files.lists_of(path), path.name
    raise SplitError(
        f"{source!r} is no column, and no CSV file or template of lists such as 'ImageSets/Main/{{}}.txt' that is there"
    )


def _matched(catalog: Catalog, found: Mapping[str, str], key: Callable[[str], str] | None) -> list[str | None]:
    """Return the part of each row, None in no part."""
    keys = catalog.key.tolist()
    row = {k: i for i, k in enumerate(keys)}
    named: list[str | None] = [None] * len(keys)
    unknown = []
    for entry, part in found.items():
        if key is not None:
            tried = [key(entry)]
        else:
            first = entry.split()[0]
            tried = [entry, first, first.rpartition(".")[0]]
        at = next((row[t] for t in tried if t in row), None)
        if at is None:
            unknown.append(entry)
        elif named[at] is not None and named[at] != part:
            raise SplitError(f"{keys[at]!r} is in {named[at]!r} and in {part!r}; a row is in one part")
        else:
            named[at] = part
    if unknown:
        raise SplitError(
            f"{len(unknown)} of {len(found)} entries are no keys of the catalog, first {unknown[0]!r}; its keys are like "
            f"{keys[0]!r}: give key=, or the whole archive"
        )
    return named


def _of_names(catalog: Catalog, named: list[Any], rest: str, recipe: dict[str, Any]) -> Split:
    parts = tuple(dict.fromkeys(sorted({str(n) for n in named if n not in (None, DROPPED)}, key=_usual)))
    if not parts:
        raise SplitError("no row is in a part")
    lacking = [k for k, name in enumerate(named) if name is None]
    if lacking and rest == "raise":
        raise SplitError(
            f"{len(lacking)} of {len(catalog)} rows are in no part, first {catalog.key[lacking[0]]!r}; leave them out of the "
            "catalog, or take rest='drop'"
        )
    position: dict[Any, int] = {name: i for i, name in enumerate(parts)} | {None: -1, DROPPED: -1}
    code = np.array([position[n if n is None else str(n)] for n in named], dtype=np.int16)
    return Split(catalog, code, parts, recipe)


def _usual(name: str) -> tuple[int, str]:
    """The order in which people name parts: train, then val, then test, then others."""
    order = ("train", "training", "trainval", "val", "valid", "validation", "test")
    return order.index(name) if name in order else len(order), name
