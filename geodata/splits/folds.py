"""Folds for cross-validation, and splits that others made."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from geodata.catalog import Catalog
from geodata.errors import SplitError
from geodata.splits import files
from geodata.splits.making import checked_folds, length_of, near_parts, refuse_empty
from geodata.splits.split import DROPPED, Split, check_names

__all__ = ["kfold", "predefined"]


def kfold(catalog: Catalog, folds: int, by: Callable[..., Split], *, buffer: Any = None, **options: Any) -> Split:
    """Share out a catalog to folds of equal size: ``split.fold(0)`` holds out the first.

    Parameters
    ----------
    catalog : Catalog
    folds : int, 2 or more
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
    folds = checked_folds(folds)
    if "fractions" not in inspect.signature(by).parameters:
        raise SplitError(f"by={getattr(by, '__name__', by)!r} takes no fractions; give blocks, cells, random or hash")
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
        Without it, where not all entries of a part are keys, all of them are read as the first word of a line, or without
        their file extension.

    Raises
    ------
    SplitError
        If a row is in no part (``rest="raise"``) or in two, or an entry is no key of the catalog; with the counts.
    """
    refuse_empty(catalog)
    if rest not in ("raise", "drop"):
        raise SplitError(f"rest={rest!r} must be 'raise' or 'drop'")
    named: list[Any]
    if isinstance(source, str) and source in catalog.table.column_names:
        named = catalog.table[source].to_pylist()
        said = source
        if any(isinstance(name, (list, dict, float)) for name in named):
            raise SplitError(
                f"column {source!r} holds {catalog.table[source].type}, wanted one name of a part for each row"
            )
    else:
        found, said = _entries(source)
        named = _matched(catalog, found, key)
    return _of_names(catalog, named, rest, {"method": "predefined", "source": said})


def _entries(source: Any) -> tuple[dict[str, str], str]:
    if isinstance(source, Mapping):
        if any(isinstance(keys, str) for keys in source.values()):
            raise SplitError("the mapping must give a list of keys for each part, not a text")
        return files.once((str(k), str(part), "the mapping") for part, keys in source.items() for k in keys), "given"
    path = Path(source) if isinstance(source, str | Path) else Path()
    if path.suffix == ".csv" and path.is_file():
        return files.table_of(path), path.name
    if "{}" in path.name:
        return files.lists_of(path), path.name
    raise SplitError(
        f"{source!r} is no column, and no CSV file or template of lists such as 'ImageSets/Main/{{}}.txt' that is there; a "
        "mapping of part to keys does too"
    )


READINGS: tuple[Callable[[str], str], ...] = (
    str,
    str.strip,
    lambda line: line.split()[0] if line.split() else line,
    lambda line: line.strip().rpartition(".")[0],
    lambda line: line.split()[0].rpartition(".")[0] if line.split() else line,
)
"""What of an entry may be the key: all, without space around it, the first word, and these without extension."""


def _matched(catalog: Catalog, found: Mapping[str, str], key: Callable[[str], str] | None) -> list[str | None]:
    """Return the part of each row, None in no part."""
    keys = catalog.key.tolist()
    row = {k: i for i, k in enumerate(keys)}
    named: list[str | None] = [None] * len(keys)
    unknown: list[str] = []
    for part in dict.fromkeys(found.values()):
        mine = [entry for entry, of in found.items() if of == part]
        rows = _rows_of(mine, row, READINGS if key is None else (key,))
        unknown += [entry for entry, k in zip(mine, rows, strict=True) if k is None]
        for k in (k for k in rows if k is not None):
            if named[k] not in (None, part):
                raise SplitError(f"{keys[k]!r} is in {named[k]!r} and in {part!r}; a row is in one part")
            named[k] = part
    if unknown:
        raise SplitError(
            f"{len(unknown)} of {len(found)} entries are no keys of the catalog, first {unknown[0]!r}; its keys are like "
            f"{keys[0]!r}: give key=, or the whole archive"
        )
    return named


def _rows_of(entries: list[str], row: Mapping[str, int], readings: Sequence[Callable[[str], str]]) -> list[int | None]:
    """Return the row of each entry by the reading that knows most.

    One serves all, and gives no row to two entries: else "a.v2" passes for "a" where "a.v2" is missing.
    """
    best: list[int | None] = [None] * len(entries)
    for reading in readings:
        rows = [row.get(reading(entry)) for entry in entries]
        known = [k for k in rows if k is not None]
        if len(readings) > 1 and len(set(known)) < len(known):
            continue
        best = rows if rows.count(None) < best.count(None) else best
        if None not in best:
            break
    return best


def _of_names(catalog: Catalog, named: list[Any], rest: str, recipe: dict[str, Any]) -> Split:
    parts = tuple(sorted({str(n) for n in named if n not in (None, DROPPED)}, key=_usual))
    if not parts:
        raise SplitError("no row is in a part")
    check_names(parts)
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
