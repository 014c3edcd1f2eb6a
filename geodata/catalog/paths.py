"""Finding files, and joining the paths of rows to their root."""

from __future__ import annotations

import glob as globbing
import os
import re
import stat
import string
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import takewhile
from typing import Any

from geodata.errors import CatalogError, NoFilesError

__all__ = ["check_root", "fields", "filled", "find_files", "resolve"]

URL_SCHEMES = ("http://", "https://", "s3://", "gs://", "az://")

SIDECARS = (".aux.xml", ".ovr", ".msk")
"""What GDAL puts beside a raster; it reads them along with it."""

OWN = ".geodata"
"""What folders are called that hold catalogs, records of downloads and half-extracted archives."""

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
    roots: set[str] = set()
    local: list[str] = []
    remote = [entry for entry in asked if _is_remote(entry)]
    for entry in asked:
        if _is_remote(entry):
            continue
        mode = _mode(entry)
        if mode is not None and stat.S_ISDIR(mode):
            roots.add(os.path.abspath(entry))
            local += _below(entry, extensions)
        elif mode is not None:
            path = os.path.abspath(entry)
            roots.add(os.path.dirname(path))
            local.append(path)
        elif globbing.has_magic(entry):
            fixed = re.split(r"[*?\[]", entry, maxsplit=1)[0]
            roots.add(os.path.abspath(os.path.dirname(fixed) or "."))
            found = globbing.glob(entry, recursive=True)
            local += [os.path.abspath(p) for p in found if os.path.isfile(p) and not p.lower().endswith(SIDECARS)]
        else:
            raise NoFilesError(f"{entry} does not exist; give a folder, a glob, files, or a saved catalog")
    # Paths in archives and URLs are kept to the letter: "//" means something in them.
    virtual = [entry for entry in remote if "://" not in entry or entry.startswith("/vsi")]
    if not roots:
        root = _common_folder(remote)
        return root, sorted({entry[len(root) :].removeprefix("/") if root else entry for entry in remote}), said
    root = "/" if virtual else os.path.commonpath(roots)
    prefix = os.path.join(root, "")
    files = [f[len(prefix) :] if f.startswith(prefix) else os.path.relpath(f, root) for f in local]
    return root, sorted({*files, *(e.removeprefix("/") if e in virtual else e for e in remote)}), said


def _is_remote(entry: str) -> bool:
    return "://" in entry or entry.startswith("/vsi")


def _mode(entry: str) -> int | None:
    """Return the mode of a file or folder, None if there is none."""
    try:
        return os.stat(entry).st_mode
    except (OSError, ValueError):
        return None


def _below(folder: str, extensions: Sequence[str]) -> list[str]:
    """List the files below a folder as absolute paths, also through links to other folders, each folder once."""
    found: list[str] = []
    seen: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        about = os.stat(place)
        if (about.st_dev, about.st_ino) in seen:
            continue
        seen.add((about.st_dev, about.st_ino))
        folders, names = _entries(place, extensions)
        start = os.path.join(os.path.abspath(place), "")
        found += [start + name for name in names]
        waiting += [os.path.join(place, name) for name in reversed(folders)]
    return found


def _entries(place: str, extensions: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the names of the folders, and of the files with one of the extensions, in a folder; none if it is closed."""
    folders: list[str] = []
    names: list[str] = []
    try:
        with os.scandir(place) as entries:
            for entry in entries:
                name = entry.name
                dot = name.rfind(".")
                if _is(entry.is_dir):
                    if not name.startswith(OWN):
                        folders.append(name)
                elif name[dot:].lower() in extensions and name[:dot].strip(".") and _is(entry.is_file):
                    names.append(name)
    except OSError:
        return folders, names
    return folders, names


def _is(kind: Callable[[], bool]) -> bool:
    """Whether an entry is of a kind; a link that leads nowhere is of none."""
    try:
        return kind()
    except OSError:
        return False


def _common_folder(entries: Sequence[str]) -> str:
    """Return the longest whole folder that all URLs, or paths in archives, start with; what follows a "?" is no folder."""
    parts = [entry.split("?")[0].split("/")[:-1] for entry in entries]
    shared = [same[0] for same in takewhile(lambda same: len(set(same)) == 1, zip(*parts, strict=False))]
    whole = 2 if entries and entries[0].startswith("/vsi") else 3  # "", vsizip; or scheme, nothing, host
    return "/".join(shared) if len(shared) >= whole else ""


ARCHIVES = r"/vsi(zip|tar|gzip|7z|rar|curl|s3|gs|az|adls|oss|swift|hdfs|webhdfs)(_streaming)?/"
"""Names of GDAL that hold files in archives and object stores. Others are devices, memory and parts of any file."""


def check_root(root: str, path: str) -> None:
    """Refuse a root that is no folder.

    Parameters
    ----------
    root : str
        As a saved catalog states it: a folder below that of the catalog, an absolute one, or a URL.
    path : str, the catalog, for the message

    Raises
    ------
    CatalogError
        If it leads out of the catalog's folder step by step, or is a URL or a name of GDAL's of an unknown kind.
    """
    if "://" in root or root.startswith("/vsi"):
        known = root.startswith(URL_SCHEMES) or re.match(ARCHIVES, root) is not None
    else:
        known = re.search(r"(^|/)\.\.(/|$)|\\|^[A-Za-z]:|^//", root) is None
    if not known or "\0" in root or not _is_name(root):
        raise CatalogError(
            f"{path} says that its files lie below {root[:200]!a}, which is no folder, archive or URL that it may name; "
            "make the catalog again"
        )


def _is_name(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:  # half of a character
        return False
    return True


def resolve(root: str, href: str) -> str:
    """Join a path of a catalog row to the root.

    Raises
    ------
    CatalogError
        If the path is absolute or leads out of the root.
    """
    if href.startswith(URL_SCHEMES):
        return href
    # Nearly all paths hold none of what makes one doubtful, which is sooner told than by the expression.
    doubtful = not href or href[0] == "/" or ".." in href or "\\" in href or ":" in href or "\0" in href
    if (doubtful and re.search(UNSAFE, href)) or "://" in href.split("?")[0]:
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


def filled(template: str, values: Mapping[str, Any]) -> str | None:
    """Return a template with the values of columns, None if one that it names is null."""
    names = fields(template)
    return None if any(values[name] is None for name in names) else template.format(**values)
