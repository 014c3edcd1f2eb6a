"""Whether a folder is the root of an archive, and where the root is if it is not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.catalog.paths import fields
from geodata.errors import NoFilesError
from geodata.readers.base import Asset
from geodata.spec import Content, DatasetSpec

__all__ = ["check_root", "found_below", "named", "present"]

_MOST = 1000
"""Folders that are looked at for a root."""


def check_root(root: Path, needs: Sequence[str], spec: DatasetSpec) -> None:
    """Refuse a root that lacks a folder or file.

    Raises
    ------
    NoFilesError
        Saying which, where a likely root is, and what tree is expected.
    """
    missing = [need for need in needs if not found_below(root, need)]
    if not missing:
        return
    if not root.is_dir():
        problem = f"{root} is no folder"
    else:
        problem = f"{root} does not hold {', '.join(dict.fromkeys(missing))}"
    likely = _likely(root, needs) if root.is_dir() else None
    hint = f"; {likely} does: give that" if likely is not None else ""
    where = "download=True gets it" if spec.downloadable else f"bring your own copy from {spec.home}"
    light = [content.key for content in spec.contents if not content.needs] if spec.listed else []
    without = (
        f"; keys={light} reads the tables alone" if light and all(found_below(root, n) for n in spec.needs) else ""
    )
    raise NoFilesError(f"{spec.title}: {problem}{hint}; {where}{without}. Expected below the root:\n{spec.tree}")


def found_below(root: Path, need: str) -> bool:
    """Whether a file or folder is below a root, by a path or a glob, whatever the case of its letters."""
    return next(iter(named(root, need)), None) is not None


def named(root: Path, pattern: str) -> list[Path]:
    """Return the paths that match a relative glob, sorted; letters match in both cases."""
    exact = root / pattern
    if not any(c in pattern for c in "*?[") and exact.exists():
        return [exact]
    if not root.is_dir() or os.path.isabs(pattern):
        return []
    either = "".join(f"[{c.lower()}{c.upper()}]" if c.isalpha() and c.lower() != c.upper() else c for c in pattern)
    return sorted(root.glob(either))


def _likely(root: Path, needs: Sequence[str]) -> Path | None:
    """Return a folder one level below or above that holds all, or else the first, of what is needed."""
    with os.scandir(root) as entries:
        below = sorted(entry.path for _, entry in zip(range(_MOST), entries, strict=False) if entry.is_dir())
    for wanted in (needs, needs[:1]):
        for folder in [*map(Path, below), root.absolute().parent]:
            if all(found_below(folder, need) for need in wanted):
                return folder
    return None


def present(
    catalog: Catalog, contents: Sequence[Content], assets: Sequence[Asset], spec: DatasetSpec, *, on_error: str
) -> Catalog:
    """Return the rows whose files are there, or refuse an archive of which folders are missing.

    Parameters
    ----------
    on_error : {"raise", "skip"}
        ``"raise"`` looks at the folders of the contents only, which is quick, and refuses if one is missing; ``"skip"``
        looks for every file, leaves out rows that lack one, and names them in ``dropped``.

    Raises
    ------
    NoFilesError
        If folders are missing, or no row is left.
    """
    if on_error == "raise":
        for content in contents:
            if content.folders:
                _check_folders(catalog, content, spec)
        return catalog
    there = np.ones(len(catalog), dtype=bool)
    for content in contents:
        if content.folders:
            folders = _filled(catalog, content.folders)
            held = {folder for folder in set(folders) if os.path.isdir(os.path.join(catalog.root, folder))}
            there &= [folder in held for folder in folders]
    listed: dict[str, frozenset[str]] = {}
    kept = np.flatnonzero(there)
    for asset in assets:
        some = catalog.take(kept)
        if asset.format == "lmdb":
            kept = kept[_recorded(some, asset)]
        else:
            kept = kept[[_is_there(catalog.root, path, listed) for path in _filled(some, asset.href)]]
    there = np.isin(np.arange(len(catalog)), kept)
    if not there.any():
        raise NoFilesError(
            f"{spec.title}: none of {len(catalog)} items in its table has its files below {catalog.root}. Expected:\n{spec.tree}"
        )
    return replace(catalog.take(there), dropped=(*catalog.dropped, *catalog.key[~there].tolist()))


def _check_folders(catalog: Catalog, content: Content, spec: DatasetSpec) -> None:
    wanted = sorted(set(_filled(catalog, content.folders)))
    missing = [path for path in wanted if not os.path.isdir(os.path.join(catalog.root, path))]
    if missing:
        raise NoFilesError(
            f"{spec.title}: {len(missing)} of {len(wanted)} folders of {content.key} are missing below {catalog.root}, first "
            f"{missing[0]}; the archive is only partly extracted: extract it again, or take what is there with on_error='skip'"
        )


def _filled(catalog: Catalog, template: str) -> list[str]:
    names = fields(template)
    if not names:
        return [template] * len(catalog)
    columns: list[NDArray[np.object_]] = [catalog.column(name) for name in names]
    return [template.format(**dict(zip(names, values, strict=True))) for values in zip(*columns, strict=True)]


def _recorded(catalog: Catalog, asset: Asset) -> list[bool]:
    """Whether each row has its record in a database."""
    from geodata.readers.records import keys_in

    known = {path: set(keys_in(os.path.join(catalog.root, path))) for path in set(_filled(catalog, asset.href))}
    pairs = zip(_filled(catalog, asset.href), _filled(catalog, asset.inside), strict=True)
    return [inside.rpartition("/")[0] in known[path] for path, inside in pairs]


def _is_there(root: str, path: str, listed: dict[str, frozenset[str]]) -> bool:
    """Look for a file in the listing of its folder, which serves all files in it."""
    folder, name = os.path.split(path)
    if folder not in listed:
        try:
            listed[folder] = frozenset(os.listdir(os.path.join(root, folder)))
        except OSError:
            listed[folder] = frozenset()
    return name in listed[folder]
