"""Splits as files: GeoParquet, tables of two columns, and one list per part."""

from __future__ import annotations

import csv
import json
import os
import re
import secrets
from collections.abc import Iterable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from geodata.catalog import Catalog, parquet
from geodata.catalog.arrow import number_array, text_array, values_of
from geodata.errors import CatalogError, SplitError
from geodata.splits.split import DROPPED, Split

__all__ = ["lists_of", "load", "once", "save", "table_of"]

NAME = "geodata:split"
"""Key of the file's metadata."""

VERSION = 1


def save(split: Split, path: str | Path) -> Path:
    """Write a split; see `Split.save`."""
    target = Path(path)
    if target.suffix == ".parquet":
        return _save_parquet(split, target)
    _need_folder(target)
    names = _names(split)
    if target.suffix == ".csv":
        _write(target, ("key", "part"), zip(split.key.tolist(), names, strict=True))
        return target
    if target.suffix == ".txt" and "{}" in target.name:
        _check_file_names(split)
        for part in split:
            _write(target.with_name(target.name.replace("{}", part)), None, ([key] for key in split[part].tolist()))
        return target
    raise SplitError(
        f"cannot write a split to {path}; give split.parquet, split.csv, or lists/{{}}.txt (a file per part)"
    )


def _check_file_names(split: Split) -> None:
    """Refuse names of parts that would be another folder, or one file for two."""
    odd = [name for name in split.parts if "/" in name or "\\" in name]
    same = len({name.casefold() for name in split}) < len(split)
    if odd or same:
        what = f"{odd[0]!r} holds a slash" if odd else f"some of {', '.join(split.parts)} differ in capitals only"
        raise SplitError(f"parts cannot be names of files: {what}; write split.csv or split.parquet")


def _names(split: Split) -> list[str]:
    names = [*split.parts, DROPPED]
    return [names[code] for code in split.code.tolist()]


def _need_folder(path: Path) -> None:
    if not path.parent.is_dir():
        raise SplitError(f"cannot write {path.name}: the folder {path.parent} does not exist")


def _write(path: Path, heading: tuple[str, ...] | None, rows: Iterable[Any]) -> None:
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with beside.open("w", encoding="utf-8", newline="") as file:
            if heading is None:
                file.writelines(f"{row[0]}\n" for row in rows)
            else:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(heading)
                writer.writerows(rows)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _save_parquet(split: Split, path: Path) -> Path:
    bare = _bare(split.catalog)
    columns: dict[str, Any] = {
        **{name: bare.table[name] for name in bare.table.column_names},
        "part": pa.DictionaryArray.from_arrays(
            number_array(np.where(split.code < 0, len(split.parts), split.code).astype(np.int32)),
            text_array([*split.parts, DROPPED]),
        ),
    }
    if split.block is not None:
        columns["block"] = number_array(split.block)
    if split.near is not None:
        columns["near"] = _lists(split.near, len(split.code))
    catalog = replace(bare, table=pa.table(columns))
    about = {
        "version": VERSION,
        "parts": split.parts,
        "counts": split.counts,
        "digest": split.digest,
        "recipe": dict(split.recipe),
        "dataset": split.catalog.dataset,
        "geodata": version("geodata"),
    }
    return parquet.write(catalog, path, **{NAME: json.dumps(about)})


def _lists(pairs: NDArray[np.int64], n: int) -> pa.Array:
    """Return N lists of the second numbers, by the first."""
    ordered = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    offsets = np.searchsorted(ordered[:, 0], np.arange(n + 1)).astype(np.int32)
    return pa.ListArray.from_arrays(number_array(offsets), number_array(ordered[:, 1].astype(np.int32)))


def load(path: Path) -> Split:
    """Open a split; see `Split.load`."""
    if path.suffix in (".csv", ".txt"):
        raise SplitError(
            f"{path.name} is a table or list of keys, not GeoParquet: splits.predefined(catalog, path) reads it"
        )
    catalog = Catalog.load(path)
    metadata = pq.read_schema(path).metadata or {}
    if NAME.encode() not in metadata:
        raise SplitError(
            f"{path} is a catalog, not a split; make one with geodata.splits, or take a column of it: splits.predefined(catalog, 'split')"
        )
    try:
        about = json.loads(metadata[NAME.encode()])
        if about["version"] != VERSION:
            raise SplitError(f"{path} is of version {about['version']}, wanted {VERSION}; make the split again")
        parts = tuple(map(str, about["parts"]))
        split = Split(_bare(catalog), _codes(catalog, parts), parts, about["recipe"], _blocks(catalog), _near(catalog))
        wanted = str(about["digest"])
    except (AttributeError, LookupError, TypeError, ValueError, pa.ArrowException) as error:
        if isinstance(error, (SplitError, CatalogError)):
            raise
        raise SplitError(f"{path} is damaged ({type(error).__name__}: {error}); make the split again") from None
    if split.digest != wanted:
        raise SplitError(
            f"{path} was changed after it was written: its parts have the digest {split.digest[:12]}, wanted {wanted[:12]}; "
            "get it again"
        )
    return split


def _bare(catalog: Catalog) -> Catalog:
    """Return keys, places and times; of tiles also of which item they are."""
    kept = [name for name in catalog.table.column_names if name in ("key", "tile_of")]
    return replace(catalog, table=catalog.table.select(kept), assets=(), root="", skipped=(), dropped=())


def _codes(catalog: Catalog, parts: tuple[str, ...]) -> NDArray[np.int16]:
    position = {name: i for i, name in enumerate(parts)} | {DROPPED: -1}
    return np.array([position[name] for name in catalog.column("part").tolist()], dtype=np.int16).reshape(-1)


def _blocks(catalog: Catalog) -> NDArray[np.int64] | None:
    return catalog.column("block").astype(np.int64) if "block" in catalog.table.column_names else None


def _near(catalog: Catalog) -> NDArray[np.int64] | None:
    if "near" not in catalog.table.column_names:
        return None
    lists = catalog.table["near"].combine_chunks()
    ends: NDArray[np.int64] = values_of(lists.offsets).astype(np.int64)
    row = np.repeat(np.arange(len(catalog)), ends[1:] - ends[:-1])
    return np.column_stack([row, values_of(lists.values).astype(np.int64)])


def table_of(path: Path) -> dict[str, str]:
    """Return {key: part} of a CSV file with columns ``key`` and ``part``, or of its first two columns."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SplitError(f"cannot read the table {path}: {error}") from None
    if not rows or min(map(len, rows)) < 2:
        raise SplitError(f"{path} must have two columns, key and part, in every line")
    key, part = (
        rows[0].index(n) if "key" in rows[0] and "part" in rows[0] else i for i, n in enumerate(("key", "part"))
    )
    body = rows[1:] if "key" in rows[0] and "part" in rows[0] else rows
    short = [row for row in rows if len(row) <= max(key, part)]
    if short:
        raise SplitError(
            f"{path} has a line of {len(short[0])} columns, {short[0]!r}; wanted key and part in every line"
        )
    return once((row[key], row[part].strip(), str(path)) for row in body)


def lists_of(template: Path) -> dict[str, str]:
    """Return {line: part} of text files, one key per line; ``{}`` in the name stands for the part."""
    before, _, after = template.name.partition("{}")
    pattern = re.compile(re.escape(before) + "(.+)" + re.escape(after))
    found = sorted((m[1], p) for p in template.parent.glob(f"{before}*{after}") if (m := pattern.fullmatch(p.name)))
    if not found:
        raise SplitError(f"no file matches {template}; wanted one list per part, such as train{after}")
    lines: list[tuple[str, str, str]] = []
    for part, path in found:
        try:
            with path.open(encoding="utf-8-sig") as file:
                lines += [(line.rstrip("\n"), part, str(path)) for line in file if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise SplitError(f"cannot read the list {path}: {error}") from None
    return once(lines)


def once(lines: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    """Return {key: part} of (key, part, where it stands); a key in two parts is refused."""
    found: dict[str, str] = {}
    for key, part, where in lines:
        if found.setdefault(key, part) != part:
            raise SplitError(
                f"{where} has {key!r} in {part!r}, but it is in {found[key]!r} too; give a mapping of the parts that you want"
            )
    return found
