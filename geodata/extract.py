"""Unpack archives: nothing leaves the folder, nothing is left half-written, and no bomb fills the disk."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import shutil
import stat
import sys
import tarfile
import zipfile
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import IO, Any

from geodata.errors import ArchiveError, GeodataError, MissingDependencyError

__all__ = ["UNSAFE", "extract", "show_bytes"]

UNSAFE = re.compile(r"^$|(^|/)\.\.(/|$)|^/|\\|^[A-Za-z]:|\x00")
"""A name that could leave the folder that it is joined to."""

StrPath = str | os.PathLike[str]

_CHUNK, _BLOCK = 1 << 20, 512
_RATIO, _FLOOR = 200, 1 << 30
_BOMB = f"{_RATIO} times its size, as a bomb does; give max_bytes if that is right"
_LONGEST_HEADER = 1 << 24


def extract(
    archive: StrPath | Sequence[StrPath], into: StrPath, *, max_bytes: int | None = None, progress: bool = True
) -> tuple[str, ...]:
    """Unpack a zip or a tar, which may be compressed by gzip, bzip2, xz or Zstandard; known by its content, not its name.

    All is written to ``<into>/.geodata-extracting-<name>/`` first. Only when the whole archive was read are its entries
    renamed into place, a folder at once where none of that name stands yet. An extraction that fails or is interrupted
    leaves the tree as it was; one that is killed leaves that folder, which the next one removes. Files that the tree
    already has are replaced. Do not extract one archive twice into one folder at the same time.

    A link, symbolic or hard, becomes a hard link to the file of the archive that it names; one that names anything else
    is refused, so a tree never holds a link to follow. Modes, owners and times are not taken over. A name that comes
    twice is refused, as nothing says which of the two is meant. Zip names that are not marked as UTF-8 are read as code
    page 437; other undecodable bytes of tar names stay as they are.

    Parameters
    ----------
    archive : path, or the parts of a split archive in order
        Parts are read as one stream, as ``cat`` would join them.
    into : folder, made if it is absent
    max_bytes : largest sum of unpacked bytes, or None
        None is 200 times the size of the archive, at least 1 GiB: what grows more is likely to be a bomb. Bytes are
        counted as they are written. The free space bounds them, too.
    progress : show a bar on a terminal's error stream

    Returns
    -------
    Names of the top-level entries, sorted.

    Raises
    ------
    ArchiveError
        If a member would leave the folder, is a device, sparse, or a link to anything but a file of the archive; if the
        archive is damaged, ends early, is no archive, or unpacks to too much; if a file stands where a folder belongs.
    MissingDependencyError
        If it is compressed by Zstandard and the package ``zstandard`` is not installed.
    """
    parts = [Path(archive)] if isinstance(archive, (str, os.PathLike)) else [Path(part) for part in archive]
    absent = next((part for part in parts if not part.is_file()), None)
    if absent or not parts:
        raise ArchiveError(f"{absent or 'an archive of no parts'} is not there to extract; download it first")
    target = os.path.realpath(into)
    os.makedirs(target, exist_ok=True)
    staging = os.path.join(target, f".geodata-extracting-{parts[0].name[:200]}")
    shutil.rmtree(staging, ignore_errors=True)
    os.mkdir(staging)
    try:
        _unpack(parts, staging, max_bytes, progress)
        # All are listed before the first rename: a clash is found while the tree is still untouched.
        entries = tuple(sorted(os.listdir(staging)))
        for source, goal in list(_moves(staging, target)):
            os.replace(source, goal)
        return entries
    except ArchiveError as error:
        raise ArchiveError(f"{parts[0]}{' and its parts' if parts[1:] else ''}: {error}") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def show_bytes(text: str, total: int | None, shown: bool) -> Iterator[Callable[[int], object]]:
    """Yield a function that takes the bytes done so far; it draws a bar if the error stream is a terminal."""
    if not (shown and sys.stderr.isatty()):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as display:
        task = display.add_task(text, total=total)
        yield lambda done: display.update(task, completed=done)


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    kind: str
    """file, folder, link, or what it is called in a refusal"""
    target: str = ""
    """of a link, from the top of the archive"""
    read: Callable[[int], bytes] = lambda _: b""


class _Budget:
    """How many bytes may be written, and why no more."""

    def __init__(self, size: int, max_bytes: int | None, free: int) -> None:
        allowed = (max_bytes, "which is max_bytes") if max_bytes is not None else (max(_FLOOR, _RATIO * size), _BOMB)
        self.limit, self.why = min(allowed, (free, "all that is free on the disk; make room"))
        self.used = 0

    def add(self, count: int) -> None:
        self.used += count
        self.check(self.used)

    def check(self, total: int) -> None:
        if total > self.limit:
            raise ArchiveError(f"unpacks to more than {self.limit} bytes, {self.why}")


class _Joined(io.RawIOBase):
    """Files one after the other as one that can be sought. Each read opens its file: parts are few and reads are large."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._ends = list(accumulate(path.stat().st_size for path in paths))
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._ends[-1]}[whence]
        if start + offset < 0:
            raise OSError(f"offset {start + offset} lies before the archive")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        index = bisect_right(self._ends, self._position)
        if index == len(self._ends):
            return 0
        with open(self._paths[index], "rb", buffering=0) as file:
            file.seek(self._position - (self._ends[index - 1] if index else 0))
            count = file.readinto(buffer) or 0
        self._position += count
        return count


class _Forward:
    """What tarfile reads from: it keeps the last block, goes forward only, and reads no header into memory at any size."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._position = 0
        self.last = b""

    def tell(self) -> int:
        return self._position

    def seekable(self) -> bool:
        return True

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {size} bytes")
        self.last = self._stream.read(size)
        self._position += len(self.last)
        return self.last

    def seek(self, position: int) -> None:
        if position < self._position:
            raise tarfile.ReadError("a member of negative size")
        while (left := position - self._position) and self.read(min(left, _CHUNK)):
            pass


def _zstd(raw: IO[bytes]) -> Any:
    try:
        import zstandard
    except ImportError:
        raise MissingDependencyError("this archive needs zstandard; pip install 'geodata[formats]'") from None
    reader: Any = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True, closefd=False)
    return io.BufferedReader(reader, _CHUNK)


_COMPRESSIONS: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": lambda raw: gzip.GzipFile(fileobj=raw),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
    b"\x28\xb5\x2f\xfd": _zstd,
}


def _members(raw: IO[bytes], budget: _Budget) -> Iterator[_Member]:
    head = raw.read(6)
    raw.seek(0)
    if head.startswith((b"PK\3\4", b"PK\5\6")):
        return _zip_members(raw, budget)
    opener = next((value for magic, value in _COMPRESSIONS.items() if head.startswith(magic)), None)
    return _tar_members(opener(raw) if opener else raw, budget, head)


def _zip_members(raw: IO[bytes], budget: _Budget) -> Iterator[_Member]:
    with zipfile.ZipFile(raw) as archive:
        # Declared sizes are no proof, but an honest archive that cannot fit is refused before hours of writing.
        budget.check(sum(info.file_size for info in archive.infolist()))
        for info in archive.infolist():
            with archive.open(info) as file:
                if info.is_dir():
                    yield _Member(info.filename, "folder")
                elif stat.S_ISLNK(info.external_attr >> 16):
                    yield _Member(info.filename, "link", join(dirname(info.filename), file.read(4096).decode()))
                else:
                    yield _Member(info.filename, "file", read=file.read)


def _tar_members(stream: IO[bytes], budget: _Budget, head: bytes) -> Iterator[_Member]:
    forward = _Forward(stream)
    try:
        tar = tarfile.TarFile(fileobj=forward)  # type: ignore[arg-type]
    except tarfile.ReadError as error:
        raise ArchiveError(f"no zip and no tar, or cut short: begins with {head!r} ({error}); look at it") from None
    while info := tar.next():
        tar.members = []  # type: ignore[attr-defined]  # or tarfile remembers each one
        file = tar.extractfile(info) if info.isreg() and not info.issparse() else None
        if file:
            yield _Member(info.name, "file", read=file.read)
        elif info.isdir():
            yield _Member(info.name, "folder")
        elif info.islnk() or info.issym():
            yield _Member(info.name, "link", join("" if info.islnk() else dirname(info.name), info.linkname))
        else:
            yield _Member(info.name, "sparse file" if info.issparse() else "device, a pipe or the like")
    # tarfile ends without a word at a torn or cut header; a whole archive ends with a block of zeros, and zeros follow.
    if forward.last != bytes(_BLOCK):
        raise tarfile.ReadError("ends without an end mark")
    while rest := forward.read(_CHUNK):
        budget.add(len(rest))
        if rest.count(0) != len(rest):
            raise tarfile.ReadError("more data follows the end mark")


def _unpack(parts: Sequence[Path], staging: str, max_bytes: int | None, progress: bool) -> None:
    size = sum(part.stat().st_size for part in parts)
    budget = _Budget(size, max_bytes, shutil.disk_usage(staging).free)
    links: list[_Member] = []
    last = "the first byte"
    with (
        open(parts[0], "rb") if len(parts) == 1 else io.BufferedReader(_Joined(parts), _CHUNK) as raw,
        show_bytes(f"Extracting {parts[0].name}", size, progress) as show,
    ):
        members = _members(raw, budget)
        while True:
            with _reading(f"after {last}"):
                member = next(members, None)
            if member is None:
                break
            last = f"member {member.name!r}"
            budget.add(_BLOCK)  # a file costs room even if it is empty
            if member.kind == "link":
                links.append(member)
            else:
                _make(member, staging, budget)
            show(raw.tell())
    for member in links:
        _make(member, staging, budget)


def _make(member: _Member, staging: str, budget: _Budget) -> None:
    said = f"member {member.name!r}"
    path = _path(member.name, staging, said)
    try:
        os.makedirs(path if member.kind == "folder" else os.path.dirname(path), exist_ok=True)
        if member.kind == "file":
            with open(path, "xb") as file:
                chunk = b"-"
                while chunk:
                    with _reading(f"in {said}"):
                        chunk = member.read(_CHUNK)
                    budget.add(len(chunk))
                    file.write(chunk)
        elif member.kind == "link":
            origin = _path(normpath(member.target), staging, f"the link of {said}")
            if not os.path.isfile(origin):
                raise ArchiveError(f"{said} links to {member.target!r}, which is no file in the archive")
            os.link(origin, path)
        elif member.kind != "folder":
            raise ArchiveError(f"{said} is a {member.kind}; only files, folders and links are extracted")
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise ArchiveError(f"the place of {said} is taken by another member, or by one that differs in case") from None


def _path(name: str, staging: str, said: str) -> str:
    """Return where a name of the archive belongs, the staging folder itself for './'."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if UNSAFE.search(name) or (os.name == "nt" and ":" in name):
        raise ArchiveError(f"{said} names {name!r}, which could lie outside the folder; nothing was extracted")
    if parts and parts[0].lower().startswith(".geodata"):
        raise ArchiveError(f"{said} has a name that is kept for the records of downloads")
    return os.path.join(staging, *parts)


def _moves(source: str, target: str) -> Iterator[tuple[str, str]]:
    """Yield what to rename: an entry as a whole where nothing stands yet, else one by one within the folder."""
    with os.scandir(source) as entries:
        for entry in entries:
            goal = os.path.join(target, entry.name)
            folder = entry.is_dir(follow_symlinks=False)
            if folder and os.path.isdir(goal) and not os.path.islink(goal):
                yield from _moves(entry.path, goal)
            elif os.path.lexists(goal) and (folder or os.path.isdir(goal)):
                held, got = ("a file or a link", "a folder") if folder else ("a folder", "a file")
                raise ArchiveError(f"has {got} where {goal} is {held}; move that away first")
            else:
                yield entry.path, goal


@contextmanager
def _reading(where: str) -> Iterator[None]:
    """Turn what decoders raise about bad data into an ArchiveError."""
    try:
        yield
    except GeodataError:
        raise
    except Exception as error:  # noqa: BLE001  # six decoders, each with errors of its own
        raise ArchiveError(f"damaged or cut short {where} ({error}); remove it and download it again") from None
