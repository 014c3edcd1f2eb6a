"""Catalogs of published archives, made once and kept as GeoParquet beside the data or in the user's cache."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from geodata.catalog import Catalog
from geodata.datasets.roots import named
from geodata.errors import GeodataError
from geodata.spec import DatasetSpec

__all__ = ["catalog_of", "forget", "places"]

_VERSION = 1
_FOLDERS = 4096
"""A folder with more entries is known by its own time of change only."""


def catalog_of(
    spec: DatasetSpec, root: Path, options: Mapping[str, Any], watched: Sequence[str], make: Callable[[], Catalog]
) -> Catalog:
    """Return the catalog of an archive: the one that is kept, if the archive looks as it did then, else a new one.

    What is looked at are sizes and times of change of the files and folders that are needed, of the folders in those, and of
    files to be ``watched``. A change deeper down is not seen: ``geodata check`` looks at every file, and makes the catalog anew.
    """
    which = spec.name + "-" + _digest([sorted((k, repr(v)) for k, v in options.items())])
    name = f"{which}-{_stamp(spec, root, watched)}.parquet"
    for folder in places(root):
        if (folder / name).is_file():
            try:
                return replace(Catalog.load(folder / name), root=str(root.absolute()))
            except GeodataError:
                continue  # torn or of another version: it is made anew
    catalog = replace(make(), root=str(root.absolute()))
    for folder in places(root):
        if _kept(catalog, folder, name, which):
            break
    return catalog


def forget(spec: DatasetSpec, root: Path) -> None:
    """Remove the catalogs that are kept of an archive, so that they are made anew."""
    for folder in places(root):
        for path in folder.glob(f"{spec.name}-*.parquet"):
            with suppress(OSError):
                path.unlink()


def places(root: Path) -> Iterator[Path]:
    """Give the folders where a catalog may be kept: beside the data, and in the user's cache if that cannot be written."""
    yield root / ".geodata"
    from platformdirs import user_cache_path

    yield user_cache_path("geodata") / "catalogs" / _digest(str(root.absolute()))


def _kept(catalog: Catalog, folder: Path, name: str, which: str) -> bool:
    """Save a catalog in a folder, if that can be written, in place of the one of another state of the archive."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        catalog.save(folder / name)
        for old in folder.glob(f"{which}-*.parquet"):
            if old.name != name:
                old.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _digest(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts).encode(errors="surrogateescape")).hexdigest()[:12]


def _stamp(spec: DatasetSpec, root: Path, watched: Sequence[str]) -> str:
    needs = sorted({*spec.needs, *(c.needs for c in spec.contents if c.needs), *watched})
    seen = [entry for need in needs for path in named(root, need) for entry in _looks(root, path)]
    return _digest([_VERSION, spec.version, seen])


def _looks(root: Path, path: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of change of a file, or of a folder and the folders in it."""
    about = path.stat()
    looks = [(os.path.relpath(path, root), about.st_size if path.is_file() else 0, about.st_mtime_ns)]
    if path.is_dir():
        with os.scandir(path) as entries:
            below = [e for _, e in zip(range(_FOLDERS + 1), entries, strict=False)]
        if len(below) <= _FOLDERS:
            looks += sorted((e.name, 0, e.stat().st_mtime_ns) for e in below if e.is_dir())
    return looks
