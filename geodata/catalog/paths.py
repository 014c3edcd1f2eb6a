"""Finding files, and joining the paths of rows to their root."""

from __future__ import annotations

import glob as globbing
import os
import re
import string
from collections.abc import Sequence
from functools import lru_cache
from itertools import takewhile
from typing import Any

from geodata.errors import CatalogError, NoFilesError

__all__ = ["fields", "find_files", "resolve"]

URL_SCHEMES = ("http://", "https://", "s3://", "gs://", "az://")

SIDECARS = (".aux.xml", ".ovr", ".msk")
"""What GDAL puts beside a raster; it reads them along with it."""

UNSAFE = r"^$|(^|/)\.\.(/|$)|^/|\\|^[A-Za-z]:|\x00"
"""A path that could leave the root."""


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
    local: list[str] = []
    remote = [entry for entry in asked if _is_remote(entry)]
    for entry in asked:
        if _is_remote(entry):
            continue
        if os.path.isdir(entry):
            roots.append(os.path.abspath(entry))
            local += _below(entry, extensions)
        elif globbing.has_magic(entry) and not os.path.exists(entry):
            fixed = re.split(r"[*?\[]", entry, maxsplit=1)[0]
            roots.append(os.path.abspath(os.path.dirname(fixed) or "."))
            found = globbing.glob(entry, recursive=True)
            local += [p for p in found if os.path.isfile(p) and not p.lower().endswith(SIDECARS)]
        elif os.path.exists(entry):
            roots.append(os.path.dirname(os.path.abspath(entry)))
            local.append(entry)
        else:
            raise NoFilesError(f"{entry} does not exist; give a folder, a glob, files, or a saved catalog")
    # Paths in archives and URLs are kept to the letter: "//" means something in them.
    virtual = [entry for entry in remote if "://" not in entry or entry.startswith("/vsi")]
    if not roots:
        root = _common_folder(remote)
        return root, sorted({entry[len(root) :].removeprefix("/") if root else entry for entry in remote}), said
    root = "/" if virtual else os.path.commonpath(roots)
    files = [os.path.relpath(os.path.abspath(f), root) for f in local]
    return root, sorted({*files, *(e.removeprefix("/") if e in virtual else e for e in remote)}), said


def _is_remote(entry: str) -> bool:
    return "://" in entry or entry.startswith("/vsi")


def _below(folder: str, extensions: Sequence[str]) -> list[str]:
    """List the files below a folder, also through links to other folders, each folder once."""
    found: list[str] = []
    seen: set[tuple[int, int]] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        stat = os.stat(place)
        if (stat.st_dev, stat.st_ino) in seen:
            folders.clear()
            continue
        seen.add((stat.st_dev, stat.st_ino))
        found += [os.path.join(place, n) for n in names if os.path.splitext(n)[1].lower() in extensions]
    return [f for f in found if os.path.isfile(f)]


def _common_folder(entries: Sequence[str]) -> str:
    """Return the longest whole folder that all URLs, or paths in archives, start with; what follows a "?" is no folder."""
    parts = [entry.split("?")[0].split("/")[:-1] for entry in entries]
    shared = [same[0] for same in takewhile(lambda same: len(set(same)) == 1, zip(*parts, strict=False))]
    whole = 2 if entries and entries[0].startswith("/vsi") else 3  # "", vsizip; or scheme, nothing, host
    return "/".join(shared) if len(shared) >= whole else ""


def resolve(root: str, href: str) -> str:
    """Join a path of a catalog row to the root.

    Raises
    ------
    CatalogError
        If the path is absolute or leads out of the root.
    """
    if href.startswith(URL_SCHEMES):
        return href
    if re.search(UNSAFE, href) or "://" in href.split("?")[0]:
        raise CatalogError(f"path {href!r} leads out of the catalog's root {root!r}; paths of rows must lie below it")
    return f"{root.rstrip('/')}/{href}" if root else href


@lru_cache(maxsize=1024)
def fields(template: str) -> tuple[str, ...]:
    """Return the columns that an asset's template names.

    Raises
    ------
    CatalogError
        If it holds anything but text and ``{column}``.
    """
    try:
        parts = list(string.Formatter().parse(template))
    except (TypeError, ValueError) as error:
        raise CatalogError(f"path template {template!r} cannot be read: {error}") from None
    for _, name, spec, conversion in parts:
        if name is not None and (not re.fullmatch(r"[\w-]+", name) or name.isdigit() or spec or conversion):
            raise CatalogError(f"path template {template!r} may only name columns, as {{column}}")
    return tuple(name for _, name, _, _ in parts if name)
