"""Which files may be opened, and what they may refer to.

GDAL knows a format by its content, whatever a file is called: a ``scene.tif`` may be a list of other files, a web service
or a database. A file that a scan found is data, not trust. It may hold pixels or features, and refer to files in its
own folder and below. What reaches further is opened only with ``GEODATA_VRT_OUTSIDE=1`` in the environment.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from functools import lru_cache
from importlib import resources
from itertools import islice

from rasterio.io import DatasetReader

from geodata.errors import ReadError

__all__ = [
    "FORMATS",
    "SWITCH",
    "check_inside",
    "check_opened",
    "check_regular",
    "head_of",
    "is_tiff",
    "may_reach_out",
    "sidecars",
]

SWITCH = "GEODATA_VRT_OUTSIDE"
"""Set to 1 in the environment, it says that every file is trusted."""

HEAD = 1024
"""Bytes by which GDAL tells formats apart."""

FORMATS: dict[str, list[str]] = json.loads(
    resources.files("geodata").joinpath("data/formats.json").read_text(encoding="utf-8")
)
"""GDAL's names of formats that hold their pixels or features themselves, or in files named after them: lists of other files,
web services and programs are left out. And the elements of a VRT that do no harm."""

PLAIN = frozenset(FORMATS["raster"])
_TIFF = (b"II*\0", b"II+\0", b"MM\0*", b"MM\0+")
_SIBLINGS = 1000  # entries of a folder from which on GDAL no longer looks at them without regard to case


def may_reach_out() -> bool:
    """Whether every file is trusted."""
    return os.environ.get(SWITCH) == "1"


def check_regular(path: str) -> bool:
    """Return whether a path is a file on this machine; refuse pipes and devices, which may never end."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False  # a URL, a name inside an archive, or nothing: opening it will say so
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ReadError(f"{path} is a pipe, socket or device, not a file; copy what it gives into a file")
    return stat.S_ISREG(mode)


def head_of(path: str, size: int = HEAD) -> bytes:
    """Return the first bytes of a file on this machine; none of what is no regular file."""
    if not check_regular(path):
        return b""
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except OSError:
        return b""
    try:
        return os.read(file, size)
    except OSError:
        return b""
    finally:
        os.close(file)


def is_tiff(head: bytes) -> bool:
    """Whether a file with these first bytes can be nothing but a TIFF."""
    return head[:4] in _TIFF


def sidecars(path: str) -> Iterator[str]:
    """Yield the masks and overviews beside a raster, in any spelling that GDAL finds.

    Raises
    ------
    ReadError
        If one of them is no TIFF: GDAL would take a list of other files as well.
    """
    folder, name = os.path.split(path)
    for end in (".msk", ".ovr"):
        for found in _named(folder or ".", name + end):
            beside = os.path.join(folder, found)
            if not is_tiff(head_of(beside)):
                raise ReadError(
                    f"cannot open {path}: {beside} beside it is no TIFF; remove it, or set {SWITCH}=1 to trust all files"
                )
            yield beside


def _named(folder: str, name: str) -> Iterator[str]:
    try:
        listed = _folder(folder, os.stat(folder).st_mtime_ns)
    except OSError:
        return
    if listed is not None:
        yield from listed.get(name.lower(), ())
        return
    for spelled in (name, name[:-4] + name[-4:].upper()):
        if os.path.isfile(os.path.join(folder, spelled)):
            yield spelled


@lru_cache(maxsize=256)
def _folder(folder: str, _changed: int) -> dict[str, tuple[str, ...]] | None:
    """Return masks and overviews in a folder by their names in small letters; None for a folder of many files."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in islice(entries, _SIBLINGS + 1)]
    if len(names) > _SIBLINGS:
        return None
    found: dict[str, tuple[str, ...]] = {}
    for name in names:
        low = name.lower()
        if low.endswith((".msk", ".ovr")):
            found[low] = (*found.get(low, ()), name)
    return found


_PREFIX = re.compile(r"[\w.+-]{2,}:")  # of a driver, a URL or a subdataset; one letter is a disk


def check_inside(reference: str, path: str, relative: bool = True) -> str:
    """Return the file that a file refers to, if it lies in the same folder or below.

    Parameters
    ----------
    reference : str, as it stands in the file
    path : str
        The file that says so. A link to it counts as the file it leads to, as in GDAL.
    relative : bool
        Whether the reference starts from the folder of ``path``, and not from the working directory.

    Raises
    ------
    ReadError
        If it leads elsewhere, through links too, or is no plain path. The message names the switch.
    """
    folder = os.path.dirname(os.path.realpath(path))
    why = ""
    if "\0" in reference or reference != reference.strip() or not reference:
        why = "which is no clean path"
    elif _PREFIX.match(reference) or reference.startswith(("/vsi", "<", "{", "//", "\\")) or "://" in reference:
        why = "which is no plain path"
    target = os.path.join(folder if relative else os.getcwd(), reference)
    if not why and not os.path.realpath(target).startswith(folder.rstrip(os.sep) + os.sep):
        why = f"outside of its folder {folder}"
    if why:
        raise ReadError(
            f"{path} refers to {reference[:200]!r}, {why}; put the files below one folder, or set {SWITCH}=1 to trust all files"
        )
    return target


def check_opened(src: DatasetReader, path: str, expected: str | None) -> None:
    """Look at what GDAL made of a file, before a pixel is read.

    Raises
    ------
    ReadError
        If it is of a format that holds no pixels itself, or its overviews are another file outside its folder.
    """
    if src.driver != expected and src.driver not in PLAIN:
        raise ReadError(
            f"cannot open {path}: GDAL reads it as {src.driver}, which takes its pixels from other files or from the network; "
            f"convert it (gdal_translate), or set {SWITCH}=1 to trust all files"
        )
    overviews = src.tags(ns="OVERVIEWS").get("OVERVIEW_FILE")
    if overviews:
        base = re.match(r":::BASE:::", overviews, re.IGNORECASE)
        check_inside(overviews[base.end() :] if base else overviews, path, relative=base is not None)
