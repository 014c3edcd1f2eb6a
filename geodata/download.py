"""Fetch published files: verified, resumed where the server allows it, and whole or not there at all."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geodata.errors import ChecksumError, DownloadError
from geodata.extract import UNSAFE, StrPath, extract, show_bytes

if TYPE_CHECKING:
    from requests import Response

__all__ = ["Source", "download", "fetch"]

_RECORDS = ".geodata"
_CHUNK = 1 << 20
_PAUSE = 1.0
"""Seconds before the first retry; each further one waits twice as long."""
_LONGEST_PAUSE = 60.0
_DIGITS = {"md5": 32, "sha256": 64}
_CHECKSUM = "'md5:' and 32 or 'sha256:' and 64 lower-case hexadecimal digits"


@dataclass(frozen=True, slots=True)
class Source:
    """One published file, or one archive that is published in parts.

    Parameters
    ----------
    file : name below the root, folders parted by "/"
    urls : mirrors, tried in order; empty if the file must be brought
    checksum : "md5:<hex>" or "sha256:<hex>", or None if none is published
        With None nothing shows that the content is right, only that all bytes came that the server promised. The record
        of the download says so (``"verified": false``), and holds the sha256 of what came.
    into : folder below the root that it is extracted to ("" is the root), or None if it is no archive
    parts : the files of a split archive, in order
        Each has urls and a checksum of its own; ``file`` is then a name for the whole, which never exists as a file.

    Raises
    ------
    DownloadError
        If a name could leave the root, a URL is not http(s), the checksum is none, or parts contradict the rest.

    Examples
    --------
    >>> part = Source("x.tar.gzaa", ("https://example.org/x.tar.gzaa",), "md5:" + 32 * "0")
    >>> Source("x.tar.gz", into="", parts=(part,)).parts[0].file
    'x.tar.gzaa'
    """

    file: str
    urls: tuple[str, ...] = ()
    checksum: str | None = None
    into: str | None = None
    parts: tuple[Source, ...] = ()

    def __post_init__(self) -> None:
        for name in (self.file, self.into or "."):
            if UNSAFE.search(name):
                raise DownloadError(f"source {self.file!r}: {name!r} could lie outside the root; name a path below it")
        for url in self.urls:
            if not url.startswith(("https://", "http://")):
                raise DownloadError(f"source {self.file!r}: {url!r} is no http or https address")
        kind, _, digits = (self.checksum or "").partition(":")
        if self.checksum is not None and not re.fullmatch(f"[0-9a-f]{{{_DIGITS.get(kind, 0)}}}", digits or "none"):
            raise DownloadError(f"source {self.file!r}: checksum {self.checksum!r} is not {_CHECKSUM}")
        nested = any(part.parts or part.into is not None for part in self.parts)
        if self.parts and (self.urls or self.checksum or self.into is None or nested):
            raise DownloadError(f"source {self.file!r} has parts: give it `into`, and the parts urls and checksums")


def download(sources: Iterable[Source], root: StrPath, *, progress: bool = True) -> None:
    """Fetch and extract what is not there yet; a second call does nothing, and needs neither network nor write access.

    What is done is recorded below ``<root>/.geodata/``. A file is done while its size and time are as recorded; an
    archive is done while its top-level entries stand, also if the archive itself was deleted since. Processes that ask
    for one root wait for each other (not on Windows, nor on file systems without locks).

    Raises
    ------
    DownloadError, ChecksumError
        As `fetch`.
    ArchiveError, MissingDependencyError
        As `extract`.
    """
    top = Path(root)
    wanted = tuple(sources)
    if all(_is_done(source, top) for source in wanted):
        return
    with _alone(top):
        for source in wanted:
            if _is_done(source, top):
                continue
            paths = [_fetch(part, top, progress, 3, 30.0) for part in source.parts or (source,)]
            if source.into is not None:
                entries = extract(paths, top / source.into, progress=progress)
                files = {str(path.relative_to(top)): _look(path) for path in paths}
                known = {"of": _published(source), "files": files, "entries": entries}
                _save(_record(top, source.file, "extracted"), known)


def fetch(source: Source, root: StrPath, *, progress: bool = True, retries: int = 3, timeout: float = 30.0) -> Path:
    """Return the path of one file, after a download if it is absent. Does not extract it.

    It is written as ``<file>.part`` and renamed when it is whole and its checksum is right. An interrupted download
    goes on from there if the server supports ranges and the file is still the same; else it starts anew. A file with
    another checksum is kept as ``<file>.bad``, and the next mirror is asked.

    Parameters
    ----------
    source : a file, not one in parts
    root : folder, made if it is absent
    progress : show a bar on a terminal's error stream
    retries : how often a lost connection or a busy server is tried again without a new byte, per mirror
    timeout : seconds without a byte until a connection counts as lost

    Raises
    ------
    DownloadError
        If no mirror gives the file, it must be brought and is absent, or the disk has not enough room.
    ChecksumError
        If what is there, or what came, is not what was published.
    """
    with _alone(Path(root)):
        return _fetch(source, Path(root), progress, retries, timeout)


def _fetch(source: Source, root: Path, progress: bool, retries: int, timeout: float) -> Path:
    path = root / source.file
    if source.parts:
        raise DownloadError(f"{source.file} is published in {len(source.parts)} parts; fetch each of them")
    if path.exists():
        if not _is_had(source, root):
            _accept(source, root, path, None)
        return path
    if not source.urls:
        raise DownloadError(f"{path} is absent, and there is no address to fetch it from: bring it, and put it there")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    failures: list[DownloadError] = []
    for url in source.urls:
        try:
            _pull(url, source, part, _record(root, source.file, "part"), progress, retries, timeout)
            _accept(source, root, part, url)
        except DownloadError as error:
            failures.append(error)
        else:
            return path
    if len(failures) == 1:
        raise failures[0]
    kind = ChecksumError if ChecksumError in map(type, failures) else DownloadError
    raise kind(f"{source.file}: none of {len(failures)} mirrors gave it. " + "; ".join(map(str, failures)))


def _accept(source: Source, root: Path, found: Path, url: str | None) -> None:
    """Check what was found or has come, give it its name, and record it."""
    import pooch

    path = root / source.file
    kind = (source.checksum or "sha256:").partition(":")[0]
    measured = f"{kind}:{pooch.file_hash(str(found), alg=kind)}"
    if source.checksum not in (None, measured):
        said = f"has {measured}, wanted {source.checksum}"
        if url is None:
            raise ChecksumError(f"{path} {said}; replace it, or move it away to have it downloaded if it can be")
        bad = path.with_name(path.name + ".bad")
        os.replace(found, bad)
        raise ChecksumError(f"{source.file} from {url} {said}; it is kept as {bad}: look at it, then try again")
    os.replace(found, path)
    known = {"checksum": measured, "verified": source.checksum is not None, "url": url}
    _save(_record(root, source.file), {**_look(path), **known})
    _record(root, source.file, "part").unlink(missing_ok=True)


class _Lost(Exception):  # noqa: N818  # never leaves this module
    """What may go better next time: the reason, and the seconds to wait at least."""


def _pull(url: str, source: Source, part: Path, note: Path, progress: bool, retries: int, timeout: float) -> None:
    """Complete ``<file>.part`` from one address, with retries; the count starts again with each new byte."""
    furthest = _size(part)
    failed = 0
    while True:
        try:
            return _receive(url, source, part, note, progress, timeout)
        except _Lost as error:
            reason, wait = error.args
            size = _size(part)
            failed = 1 if size > furthest else failed + 1
            furthest = max(size, furthest)
            if failed > retries:
                said = f"gave up after {retries} retries. {size} bytes are kept in {part}; call again to go on"
                raise DownloadError(f"{url}: {reason}; {said}") from None
            time.sleep(min(max(wait, _PAUSE * 2 ** (failed - 1)), _LONGEST_PAUSE))


def _receive(url: str, source: Source, part: Path, note: Path, progress: bool, timeout: float) -> None:
    """Make one request, and append what it gives."""
    import requests
    from urllib3.exceptions import HTTPError

    known, have = _load(note), _size(part)
    total = known.get("total")
    if have and have == total:
        return
    same = known.get("url") == url and bool(known.get("validator"))
    headers = {"Accept-Encoding": "identity"}
    # Bytes of another mirror, or of one that names no version, may only be joined if a checksum will show a mistake.
    if have and total and (same or source.checksum):
        headers["Range"] = f"bytes={have}-"
        headers |= {"If-Range": known["validator"]} if same else {}
    try:
        with requests.get(url, headers=headers, stream=True, timeout=timeout) as answer:
            resumed = answer.status_code == 206 and "Range" in headers
            stale = answer.status_code == 416 or (resumed and not _continues(answer, known, have, same))
            if stale and "Range" in headers:
                part.unlink()  # the file has changed; without it no range is asked for
                _receive(url, source, part, note, progress, timeout)
                return
            _check(answer, url, source, resumed)
            if not resumed:
                have, total = 0, _length(answer)
                part.write_bytes(b"")
                _save(note, {"url": url, "validator": _validator(answer), "total": total})
            free = shutil.disk_usage(part.parent).free
            if total and total - have > free:
                raise DownloadError(f"{part} needs {total - have} more bytes, and {free} are free there; make room")
            _append(answer, part, have, total, progress)
    except (requests.ConnectionError, requests.Timeout, HTTPError) as error:
        raise _Lost(f"the connection was lost ({error})", 0.0) from None
    except requests.RequestException as error:
        raise DownloadError(f"{url}: {error}") from None
    if total is not None and _size(part) != total:
        raise _Lost(f"it ended after {_size(part)} of {total} bytes", 0.0)


def _append(answer: Response, part: Path, have: int, total: int | None, progress: bool) -> None:
    with open(part, "ab") as file, show_bytes(f"Downloading {part.stem}", total, progress) as show:
        # The bytes as they were sent: a checksum is of them, and a .gz must not be unpacked on the way.
        for chunk in answer.raw.stream(_CHUNK, decode_content=False):
            file.write(chunk)
            have += len(chunk)
            show(have)
        file.flush()
        os.fsync(file.fileno())


def _check(answer: Response, url: str, source: Source, resumed: bool) -> None:
    """Refuse an answer that is not the file."""
    status = answer.status_code
    if status in (408, 429) or status >= 500:
        wait = answer.headers.get("Retry-After", "")
        raise _Lost(f"the server answers {status} {answer.reason}", float(wait) if wait.isdecimal() else 0.0)
    if status != 200 and not resumed:
        raise DownloadError(f"{url} answers {status} {answer.reason}; if a browser can, bring {source.file} by hand")
    if answer.headers.get("Content-Type", "").startswith("text/html") and not source.file.endswith((".html", ".htm")):
        raise DownloadError(f"{url} answers with a web page instead of {source.file} (a log-in?); bring it by hand")
    bounded = _length(answer) is not None or answer.headers.get("Transfer-Encoding") == "chunked"
    if not bounded and source.checksum is None:
        raise DownloadError(f"{url} does not say how long it is: without a checksum it may be cut; bring it by hand")


def _continues(answer: Response, known: dict[str, Any], have: int, same: bool) -> bool:
    """Tell if a partial answer starts where the part ends, and is of the same file."""
    said = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
    right = said is not None and (int(said[1]), int(said[2])) == (have, known.get("total"))
    return right and not (same and _validator(answer) not in (known["validator"], None))


def _validator(answer: Response) -> str | None:
    """Return what names this version of the file; a weak ETag does not promise equal bytes."""
    tag = answer.headers.get("ETag", "")
    return answer.headers.get("Last-Modified") if not tag or tag.startswith("W/") else tag


def _length(answer: Response) -> int | None:
    said = answer.headers.get("Content-Length", "")
    return int(said) if said.isdecimal() else None


def _is_done(source: Source, root: Path) -> bool:
    if source.into is None:
        return _is_had(source, root)
    known = _load(_record(root, source.file, "extracted"))
    paths = [root / part.file for part in source.parts or (source,)]
    return (
        known.get("of") == _published(source)
        and all((root / source.into / entry).exists() for entry in known["entries"])
        and all(known["files"].get(str(path.relative_to(root))) == _look(path) for path in paths if path.exists())
    )


def _is_had(source: Source, root: Path) -> bool:
    path, known = root / source.file, _load(_record(root, source.file))
    right = known.get("checksum") is not None and source.checksum in (None, known["checksum"])
    return right and path.is_file() and {**known, **_look(path)} == known


def _published(source: Source) -> list[Any]:
    return [source.into, *([part.file, part.checksum] for part in source.parts or (source,))]


def _look(path: Path) -> dict[str, int]:
    seen = path.stat()
    return {"size": seen.st_size, "mtime_ns": seen.st_mtime_ns}


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _record(root: Path, file: str, kind: str = "file") -> Path:
    return root / _RECORDS / f"{file}.{kind}.json"


def _load(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}  # a record that is gone or torn only means that the work is looked at again
    return known if isinstance(known, dict) else {}


def _save(path: Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    beside.write_text(json.dumps(record), encoding="utf-8")
    os.replace(beside, path)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Let one process at a time work below a root: all ranks of a training ask for the same files."""
    folder = root / _RECORDS
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "wb") as file:
        with suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
