"""Finding files, and joining the paths of rows to their root."""

from __future__ import annotations

import glob as globbing
import os
import re
import string
from collections.abc import Sequence
from functools import lru_cache
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any

from geodata.errors import CatalogError, NoFilesError

__all__ = ["fields", "find_files", "resolve"]

URL_SCHEMES = ("http://", "https://", "s3://", "gs://", "az://")


def find_files(paths: Any, extensions: Sequence[str]) -> tuple[str, list[str], str]:
    """List files below folders, globs and names.

    Parameters
    ----------
    paths : folder, glob, file, URL, or a sequence of these
        Folders are searched to any depth for the given extensions; other entries are taken as they are.

    Returns
    -------
    root : folder or URL that all of them lie below
    files : sorted paths relative to the root, or URLs
    said : what was asked for, for messages
    """
    asked = [str(paths)] if isinstance(paths, (str, os.PathLike)) else [str(p) for p in paths]
    said = ", ".join(asked[:3]) + (f" and {len(asked) - 3} more" if len(asked) > 3 else "")
    roots: list[str] = []
    files: list[str] = []
    for entry in asked:
        if "://" in entry:
            files.append(entry)
            continue
        if entry.startswith("/vsi"):
            roots.append(os.path.dirname(entry))
            files.append(entry)
            continue
        if os.path.isdir(entry):
            roots.append(os.path.abspath(entry))
            files += [str(p) for p in Path(entry).rglob("*") if p.suffix.lower() in extensions and p.is_file()]
        elif globbing.has_magic(entry) and not os.path.exists(entry):
            fixed = entry[: re.search(r"[*?\[]", entry).start()]  # type: ignore[union-attr]
            roots.append(os.path.abspath(os.path.dirname(fixed) or "."))
            files += [p for p in globbing.glob(entry, recursive=True) if os.path.isfile(p)]
        elif os.path.exists(entry):
            roots.append(os.path.dirname(os.path.abspath(entry)))
            files.append(entry)
        else:
            raise NoFilesError(f"{entry} does not exist; give a folder, a glob, files, or a saved catalog")
    if roots:
        root = os.path.commonpath(roots)
        files = [f if "://" in f else os.path.relpath(os.path.abspath(f), root) for f in files]
    else:
        root = _common_folder(files)
        files = [f[len(root) :].lstrip("/") for f in files]
    return root, sorted(set(files)), said


def _common_folder(urls: Sequence[str]) -> str:
    """Return the longest whole folder that all URLs start with."""
    parts = [u.split("/")[:-1] for u in urls]
    shared = [same[0] for same in takewhile(lambda same: len(set(same)) == 1, zip(*parts, strict=False))]
    return "/".join(shared) if len(shared) >= 3 else ""  # scheme, nothing, host


def resolve(root: str, href: str) -> str:
    """Join a path of a catalog row to the root.

    Raises
    ------
    CatalogError
        If the path is absolute or leads out of the root.
    """
    if href.startswith(URL_SCHEMES):
        return href
    path = PurePosixPath(href)
    if not href or path.is_absolute() or ".." in path.parts or "://" in href or "\\" in href or "\0" in href:
        raise CatalogError(f"path {href!r} leads out of the catalog's root {root!r}; paths of rows must lie below it")
    return f"{root.rstrip('/')}/{href}" if root else href


@lru_cache(maxsize=1024)
def fields(template: str) -> tuple[str, ...]:
    """Return the columns that an asset's template names."""
    return tuple(name for _, name, _, _ in string.Formatter().parse(template) if name)
