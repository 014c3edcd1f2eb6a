"""What a VRT refers to, and whether it may."""

from __future__ import annotations

import os
from collections import Counter
from functools import lru_cache
from xml.parsers import expat

import rasterio

from geodata.errors import GeodataError, ReadError
from geodata.readers import guard
from geodata.readers.files import LocalFile
from geodata.readers.tags import read_tags

__all__ = ["admit", "is_vrt", "open_admitted"]

LARGEST = 1 << 28
"""Bytes of a VRT."""

DEEPEST = 8
"""VRTs within VRTs."""

MOST = 1_000_000
"""Files that a VRT is made of, each counted as often as it is read: nesting multiplies them."""

_METADATA = 42112
"""The tag of a TIFF that holds GDAL's own words, in XML."""

_REFERENCES = frozenset(("sourcefilename", "sourcedataset"))

_OPTIONS = frozenset(("num_threads", "overview_level"))

# Mosaics, stacks, raw files, derived bands, warped and pansharpened VRTs. Left out on purpose: pixel functions that are
# code, processed and multidimensional VRTs and transformers that name further files, filters of any size.
_ELEMENTS = frozenset(guard.FORMATS["vrt"])

_CLOSED = frozenset(("metadata", "gdalrasterattributetable", "histograms", "categorynames", "colortable", "gcplist"))
"""Elements whose contents describe and never refer."""


def is_vrt(head: bytes) -> bool:
    """Whether GDAL takes a file with these first bytes for a VRT, whatever stands around the word."""
    return b"<VRTDataset" in head


def admit(path: str, depth: int = 0) -> str | None:
    """Return the driver that a file must be opened with, None if GDAL may choose.

    Parameters
    ----------
    path : str
        Local files are looked into; of URLs and names inside archives nothing is known.

    Raises
    ------
    ReadError
        If it is no file, is described by XML or JSON other than a VRT, or refers to what it may not.
    """
    head = guard.head_of(path)
    if not head:
        return None
    if guard.is_tiff(head):
        _open_sidecars(path, depth)
        return "GTiff"
    if is_vrt(head):
        _files(_state(path), depth)
        return "VRT"
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"<", b"{")):
        raise ReadError(
            f"cannot open {path}: it is XML or JSON that describes a raster elsewhere; convert it (gdal_translate), "
            f"or set {guard.SWITCH}=1 to trust all files"
        )
    _open_sidecars(path, depth)
    return None


def open_admitted(path: str, depth: int = 0) -> rasterio.io.DatasetReader:
    """Open a raster if it, and everything that it refers to, may be opened."""
    if guard.may_reach_out():
        return rasterio.open(path)
    driver = admit(path, depth)
    src = rasterio.open(path, driver=driver)
    try:
        guard.check_opened(src, path, driver)
    except BaseException:
        src.close()
        raise
    return src


State = tuple[str, str, int, int, int]
"""Path, working directory, inode, time of change in ns, bytes: while they stay, so does what was found."""


def _state(path: str) -> State:
    entry = os.stat(path)
    return os.path.abspath(path), os.getcwd(), entry.st_ino, entry.st_mtime_ns, entry.st_size


def _open_sidecars(path: str, depth: int) -> None:
    for beside in guard.sidecars(path):
        if depth >= DEEPEST:
            raise ReadError(f"{path}: masks and overviews of masks and overviews; remove {beside}")
        _files(_state(beside), depth + 1)


@lru_cache(maxsize=4096)
def _files(state: State, depth: int) -> int:
    """Return how many files a raster is made of, after a look at each."""
    path, size = state[0], state[-1]
    if _is_alone(path):
        _open_sidecars(path, depth)
        return 1
    if not is_vrt(guard.head_of(path)):
        open_admitted(path, depth).close()
        return 1
    if depth >= DEEPEST:
        raise ReadError(f"{path}: VRTs stand {depth} deep in each other, or in a circle; make one VRT of the files")
    if size > LARGEST:
        raise ReadError(f"{path} is a VRT of {size} bytes, at most {LARGEST} are read; make one per part of the mosaic")
    total = 0
    for (target, raw), times in _references(path).items():
        there = not raw and os.path.exists(target)  # GDAL says what is missing once it is read
        total += times * (_files(_state(target), depth + 1) if there else 1)
        if total > MOST:
            raise ReadError(f"{path}: it and the VRTs in it read more than {MOST} files; make one VRT of the files")
    with rasterio.open(path, driver="VRT") as src:
        guard.check_opened(src, path, "VRT")
    return total


def _is_alone(path: str) -> bool:
    """Whether the tags of a TIFF show that it names no overviews elsewhere, so that GDAL need not open it."""
    if os.path.exists(f"{path}.aux.xml"):
        return False
    try:
        file = LocalFile(path)
        try:
            tags = read_tags(file, pixels=False)
        finally:
            file.close()
    except (OSError, ValueError):
        return False
    if tags is None:
        return False
    said = tags.entries.get(_METADATA, (0, 0, b""))[2].lower()
    return b"overview" not in said and b"&" not in said


def _references(path: str) -> Counter[tuple[str, bool]]:
    """Count the files that a VRT names, each with whether its bytes are taken as they are."""
    reader = _Reader(path)
    try:
        with open(path, "rb") as file:
            reader.parser.ParseFile(file)
    except (expat.ExpatError, ValueError, LookupError) as error:
        if isinstance(error, GeodataError):
            raise
        raise ReadError(f"{path} is no proper XML ({error}), so what it refers to is unknown; write it anew") from None
    return reader.found


class _Reader:
    """Takes the references out of a VRT, element by element, and refuses what could hide one."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.found: Counter[tuple[str, bool]] = Counter()
        self._within: list[str] = []
        self._closed = 0  # elements of a closed one that are open
        self._relative: str | None = None
        self._warped = False
        self._text: list[str] = []
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text.append
        self.parser.StartDoctypeDeclHandler = self._doctype

    def _refuse(self, why: str) -> ReadError:
        return ReadError(
            f"{self.path} is a VRT {why}; convert it (gdal_translate), or set {guard.SWITCH}=1 to trust all files"
        )

    def _doctype(self, *_: object) -> None:
        raise self._refuse("with a document type")

    def _start(self, written: str, attributes: dict[str, str]) -> None:
        name = _plain(written)
        given = {_plain(key): value for key, value in attributes.items()}
        if self._closed or (self._within and self._within[-1] in _CLOSED):
            self._closed += 1
            return
        if name not in _ELEMENTS:
            raise self._refuse(f"with the element <{written}>, which may run code or name files in unknown ways")
        if len(given) < len(attributes) or not _REFERENCES.isdisjoint(given):
            raise self._refuse(f"with attributes of <{written}> that say one thing twice, or name a file")
        if name == "ooi" and given.get("key", "").lower() not in _OPTIONS:
            raise self._refuse(f"with the open option {given.get('key')!r}")
        if self._within and self._within[-1] in _REFERENCES:
            raise self._refuse(f"with elements in the file name of <{self._within[-1]}>")
        if name in _REFERENCES:
            self._relative = given.get("relativetovrt", "0")
            if self._relative not in ("0", "1"):
                raise self._refuse(f"that says relativeToVRT={self._relative!r}, neither 0 nor 1")
        kind = given.get("subclass", "").lower()
        self._warped = kind == "vrtwarpeddataset" if name == "vrtdataset" else self._warped
        if (
            self._warped
            and self._within == ["vrtdataset"]
            and name == "vrtrasterband"
            and kind != "vrtwarpedrasterband"
        ):
            raise self._refuse(
                "of which some bands are warped and others are not"
            )  # GDAL would hand out unwritten memory
        self._text.clear()
        self._within.append(name)

    def _end(self, _written: str) -> None:
        if self._closed:
            self._closed -= 1
            return
        name = self._within.pop()
        if name in _REFERENCES:
            target = guard.check_inside("".join(self._text), self.path, self._relative == "1")
            self.found[target, self._within[-1:] == ["vrtrasterband"]] += 1


def _plain(name: str) -> str:
    return name.rpartition(":")[2].lower()
