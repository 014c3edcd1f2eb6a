"""Opening vector files: which may be opened, by which drivers, and what goes wrong said in one error."""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from shapely.errors import ShapelyError

from geodata.errors import GeodataError, NoFilesError, ReadError
from geodata.readers import guard
from geodata.readers.damage import check_length
from geodata.readers.database import check_database, is_database
from geodata.readers.room import check_room

__all__ = ["Path", "layer_names", "locate", "opened", "readable_in_bulk", "telling"]

Path = str | os.PathLike[str]

PLAIN = tuple(guard.FORMATS["vector"])

_HEAD = 1 << 16
_MEMBERS = 1000  # files of an archive that are looked at

# What GDAL looks for anywhere near the start of a file, also within one that begins like another format.
_ELSEWHERE = re.compile(rb"<ogr\w*datasource|wfs_capabilities|gdal_streamed_alg|<vrtdataset|<gdal")

_XML = (b"<", b"\x1f\x8b")  # or packed, perhaps


def locate(path: Path, layer: str | None = None) -> tuple[str, int, float]:
    """Return the name that GDAL takes, the size in bytes and the time of the last change (0 if it is no local file).

    Raises
    ------
    NoFilesError
        If the file does not exist.
    ReadError
        If it cannot be read, is cut short, or would take its features from elsewhere: see `geodata.readers.guard`.
    """
    name = os.fspath(path)
    if "://" in name:
        return name, 0, 0.0
    if name.startswith("/vsi"):
        _check_archive(name.removeprefix("/vsizip/"), name)
        return name, 0, 0.0
    try:
        stat = os.stat(name)
        if guard.check_regular(name):
            check_length(name)
            _check(name, guard.head_of(name, _HEAD), layer)
    except FileNotFoundError:
        raise NoFilesError(f"{name} does not exist; check the path of the vector file") from None
    except ReadError:
        raise
    except (OSError, ValueError) as error:
        raise ReadError(f"cannot read {name}: {error}") from None
    if name.lower().endswith(".zip"):
        _check_archive(name, name)
        return "/vsizip/" + name, stat.st_size, stat.st_mtime
    return name, stat.st_size, stat.st_mtime


def _check(name: str, head: bytes, layer: str | None = None) -> None:
    if guard.may_reach_out():
        return
    if _ELSEWHERE.search(head.partition(b"\0")[0].lower()):  # text, for GDAL, ends there
        raise ReadError(
            f"cannot open {name}: GDAL would take its features from other files or from the network; write them into a file "
            f"(ogr2ogr), or set {guard.SWITCH}=1 to trust all files"
        )
    if is_database(head):
        check_database(name, layer)


def _check_archive(inside: str, name: str) -> None:
    """Look at the files of a zip archive on this machine; what it is packed in else is not known."""
    archive = inside
    while archive.strip(os.sep) and not os.path.isfile(archive):
        archive = os.path.dirname(archive)
    if not zipfile.is_zipfile(archive):
        return
    try:
        with zipfile.ZipFile(archive) as packed:
            for member in packed.infolist()[:_MEMBERS]:
                with packed.open(member) as file:
                    head = file.read(_HEAD)
                if not is_database(head):  # what stands in a database can only be seen outside of the archive
                    _check(f"{name}: {member.filename}", head)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError, zlib.error) as error:
        if isinstance(error, GeodataError):
            raise
        raise ReadError(f"cannot read {name}: {error}") from None


@contextmanager
def telling(name: str) -> Iterator[None]:
    """Turn what the libraries raise into a ReadError that names the file and gives GDAL's own reason."""
    from fiona._err import CPLE_BaseError

    try:
        yield
    except GeodataError:
        raise
    except (CPLE_BaseError, ShapelyError, ValueError, RuntimeError, OSError, SystemError, NameError) as error:
        # fiona ends in a SystemError where a message of GDAL is no proper text, and in a NameError where a CRS is none.
        raise ReadError(f"cannot read {name} as vector data: {error.__cause__ or error}") from None
    except MemoryError:
        raise ReadError(f"cannot read {name} as vector data: there is not enough memory for it") from None


@contextmanager
def opened(name: str, layer: str | None, **only: Any) -> Iterator[Any]:
    """Open one layer, the first if none is named; as a fiona collection."""
    import fiona
    from fiona.errors import DriverError

    with telling(name):
        plain: dict[str, Any] = {"layer": layer, "allow_unsupported_drivers": True, **_options(name)}
        if not guard.may_reach_out():
            plain["enabled_drivers"] = PLAIN
        try:
            source = fiona.open(name, **plain, **only)
        except DriverError:
            if not only:
                raise
            source = fiona.open(name, **plain)  # some formats cannot leave fields out
        with source:
            check_room(name)
            yield source


def layer_names(name: str) -> tuple[str, ...]:
    """Return the names of all layers."""
    import fiona

    with telling(name):
        return tuple(fiona.listlayers(name, **_options(name)))


def readable_in_bulk(name: str) -> bool:
    """Whether pyogrio may read a file: it cannot be told which drivers to use, so only what is known to the last byte."""
    return os.path.exists(name) and not _options(name)


def _options(name: str) -> dict[str, str]:
    # Reading GML, GDAL writes a .gfs file beside it.
    head = guard.head_of(name)
    return {"WRITE_GFS": "NO"} if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(_XML) else {}
