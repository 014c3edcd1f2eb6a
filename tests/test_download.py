"""Downloads from a server on loopback that the test starts, and that misbehaves when it is told to."""

from __future__ import annotations

import hashlib
import io
import json
import random
import re
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import geodata.download
from geodata.download import Source, download, fetch
from geodata.errors import ArchiveError, ChecksumError, DownloadError

DATA = random.Random(0).randbytes(300_000)  # names of tests hold its checksum, in every process the same


class Server(ThreadingHTTPServer):
    """Serves `files`; `tricks` are used up one a request; `asked` and `sent` say what happened."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {"x.bin": DATA}
        self.etag: str | None = '"one"'
        self.ranges = True
        self.type = "application/octet-stream"
        self.tricks: list[str] = []
        self.asked: list[tuple[str, str | None]] = []
        self.sent = 0

    def url(self, name: str = "x.bin") -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        server, span = self.server, self.headers.get("Range")
        server.asked.append((self.path, span))
        trick = server.tricks.pop(0) if server.tricks else ""
        self.close_connection = True
        data = server.files.get(self.path[1:])
        if data is None or trick.isdecimal():
            self.send_error(int(trick or 404))
            return
        start, stop, total = 0, len(data), len(data)
        if span and server.ranges and self.headers.get("If-Range") in (None, server.etag):
            start = int(re.fullmatch(r"bytes=(\d+)-", span)[1])
            stop = start + (total - start) // 2 if trick == "piece" else total
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{total}")
        if server.etag:
            self.send_header("ETag", server.etag)
        self.send_header("Content-Type", server.type)
        if trick != "no length":
            self.send_header("Content-Length", str(stop - start + (1000 if trick == "too long" else 0)))
        self.end_headers()
        body = data[start : start + (total - start) // 2] if trick == "drop" else data[start:stop]
        server.sent += len(body)
        self.wfile.write(body)

    def log_message(self, *args) -> None:
        pass


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(geodata.download, "_PAUSE", 0.0)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def sha(data: bytes = DATA) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def record(root: Path, name: str) -> dict:
    return json.loads((root / ".geodata" / name).read_text())


def visible(root: Path) -> list[str]:
    return sorted(p.name for p in root.iterdir() if p.name != ".geodata")


def test_a_file_comes_once(server, tmp_path):
    source = Source("sub/x.bin", (server.url(),), sha())
    assert fetch(source, tmp_path) == tmp_path / "sub" / "x.bin"
    download([source], tmp_path)
    assert fetch(source, tmp_path).read_bytes() == DATA
    assert len(server.asked) == 1
    assert visible(tmp_path / "sub") == ["x.bin"]


def test_the_record_says_if_the_content_was_verified(server, tmp_path):
    fetch(Source("x.bin", (server.url(),)), tmp_path)
    known = record(tmp_path, "x.bin.file.json")
    assert (known["verified"], known["checksum"], known["url"]) == (False, sha(), server.url())
    fetch(Source("x.bin", (server.url(),), "md5:" + hashlib.md5(DATA).hexdigest()), tmp_path)
    assert record(tmp_path, "x.bin.file.json")["verified"] is True


@pytest.mark.parametrize("checksum", [None, sha()])
def test_a_lost_connection_goes_on_at_the_right_byte(server, tmp_path, checksum):
    server.tricks = ["drop", "drop"]
    fetch(Source("x.bin", (server.url(),), checksum), tmp_path)
    assert (tmp_path / "x.bin").read_bytes() == DATA
    assert [span for _, span in server.asked] == [None, "bytes=150000-", "bytes=225000-"]
    assert server.sent == len(DATA)


def test_a_later_call_goes_on(server, tmp_path):
    source = Source("x.bin", (server.url(),), sha())
    server.tricks = ["drop"]
    with pytest.raises(DownloadError, match=r"gave up after 0 retries\. 150000 bytes are kept in .*x\.bin\.part"):
        fetch(source, tmp_path, retries=0)
    assert visible(tmp_path) == ["x.bin.part"]
    fetch(source, tmp_path)
    assert server.sent == len(DATA) and (tmp_path / "x.bin").read_bytes() == DATA


def test_a_server_without_ranges_starts_anew(server, tmp_path):
    server.ranges, server.tricks = False, ["drop"]
    fetch(Source("x.bin", (server.url(),)), tmp_path)
    assert (tmp_path / "x.bin").read_bytes() == DATA
    assert server.sent == 150_000 + len(DATA)


def test_a_file_that_changed_starts_anew(server, tmp_path):
    server.tricks = ["drop"]
    with pytest.raises(DownloadError):
        fetch(Source("x.bin", (server.url(),)), tmp_path, retries=0)
    server.files["x.bin"] = DATA[::-1]
    server.etag = '"two"'
    fetch(Source("x.bin", (server.url(),)), tmp_path)
    assert (tmp_path / "x.bin").read_bytes() == DATA[::-1]
    assert len(server.asked) == 2  # If-Range: the server itself decides to send all


def test_an_answer_in_pieces_is_put_together(server, tmp_path):
    server.tricks = ["drop", "piece", "piece"]
    fetch(Source("x.bin", (server.url(),)), tmp_path)
    assert (tmp_path / "x.bin").read_bytes() == DATA
    assert server.sent == len(DATA)


def test_without_version_and_checksum_nothing_is_joined(server, tmp_path):
    server.etag, server.tricks = None, ["drop"]
    fetch(Source("x.bin", (server.url(),)), tmp_path)
    assert [span for _, span in server.asked] == [None, None]


def test_a_file_of_another_length_is_not_joined(server, tmp_path):
    server.etag, server.tricks = None, ["drop"]
    source = Source("x.bin", (server.url(),), sha(DATA + b"more"))
    with pytest.raises(DownloadError):
        fetch(source, tmp_path, retries=0)
    server.files["x.bin"] = DATA + b"more"
    fetch(source, tmp_path)
    assert [span for _, span in server.asked] == [None, "bytes=150000-", None]


def test_a_busy_server_is_asked_again(server, tmp_path):
    server.tricks = ["503", "503"]
    fetch(Source("x.bin", (server.url(),), sha()), tmp_path)
    assert len(server.asked) == 3


def test_retries_end(server, tmp_path):
    server.tricks = ["503"] * 9
    with pytest.raises(DownloadError, match=r"answers 503 .*gave up after 2 retries"):
        fetch(Source("x.bin", (server.url(),), sha()), tmp_path, retries=2)
    assert len(server.asked) == 3
    server.ranges, server.tricks, server.asked = False, ["drop"] * 9, []
    with pytest.raises(DownloadError, match="gave up"):
        fetch(Source("x.bin", (server.url(),), sha()), tmp_path, retries=2)
    assert len(server.asked) == 3


def test_a_length_that_is_never_reached_is_an_error(server, tmp_path):
    server.ranges, server.tricks = False, ["too long"] * 9
    with pytest.raises(DownloadError, match="gave up after 1 retries"):
        fetch(Source("x.bin", (server.url(),)), tmp_path, retries=1)
    assert not (tmp_path / "x.bin").exists()


def test_an_absent_file_is_not_asked_for_again(server, tmp_path):
    with pytest.raises(DownloadError, match=r"none\.bin answers 404 .*bring y\.bin"):
        fetch(Source("y.bin", (server.url("none.bin"),)), tmp_path)
    assert len(server.asked) == 1


def test_a_page_or_an_unknown_end_is_not_the_file(server, tmp_path):
    server.tricks = ["no length"]
    with pytest.raises(DownloadError, match="does not say how long"):
        fetch(Source("x.bin", (server.url(),)), tmp_path)
    server.tricks = ["no length"]
    fetch(Source("x.bin", (server.url(),), sha()), tmp_path)
    server.type = "text/html; charset=utf-8"
    with pytest.raises(DownloadError, match=r"web page instead of y\.bin"):
        fetch(Source("y.bin", (server.url(),)), tmp_path)


def test_wrong_content_is_kept_aside(server, tmp_path):
    wanted = sha(b"other")
    with pytest.raises(ChecksumError) as caught:
        fetch(Source("x.bin", (server.url(),), wanted), tmp_path)
    for essential in (sha(), wanted, "x.bin.bad", "try again"):
        assert essential in str(caught.value)
    assert visible(tmp_path) == ["x.bin.bad"] and (tmp_path / "x.bin.bad").read_bytes() == DATA
    assert len(server.asked) == 1


def test_the_next_mirror_is_asked(server, tmp_path):
    server.files["wrong.bin"] = b"wrong"
    urls = (server.url("none.bin"), server.url("wrong.bin"), server.url())
    assert fetch(Source("x.bin", urls, sha()), tmp_path).read_bytes() == DATA
    assert [path for path, _ in server.asked] == ["/none.bin", "/wrong.bin", "/x.bin"]
    with pytest.raises(ChecksumError, match=r"none of 2 mirrors gave it\. .*404.*; .*wanted"):
        fetch(Source("y.bin", urls[:2], sha()), tmp_path)


def test_another_mirror_goes_on_only_with_a_checksum(server, tmp_path):
    server.files["second.bin"] = DATA
    for checksum, spans in ((sha(), [None, "bytes=150000-"]), (None, [None, None])):
        server.asked, server.tricks = [], ["drop"]
        source = Source(f"{checksum}.bin".replace(":", ""), (server.url(), server.url("second.bin")), checksum)
        assert fetch(source, tmp_path, retries=0).read_bytes() == DATA
        assert [span for _, span in server.asked] == spans


def test_a_full_disk_is_seen_before_the_start(server, tmp_path, monkeypatch):
    usage = geodata.download.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(geodata.download.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DownloadError, match="needs 300000 more bytes, and 1000 are free"):
        fetch(Source("x.bin", (server.url(),)), tmp_path)
    assert not (tmp_path / "x.bin").exists()


def test_what_must_be_brought_is_named(tmp_path):
    with pytest.raises(DownloadError, match=r"x\.bin is absent, .*bring it"):
        download([Source("x.bin")], tmp_path)
    (tmp_path / "x.bin").write_bytes(DATA)
    download([Source("x.bin", checksum=sha())], tmp_path)
    with pytest.raises(ChecksumError, match=f"has {sha()}, wanted {sha(b'')}; replace it"):
        download([Source("x.bin", checksum=sha(b""))], tmp_path)
    assert visible(tmp_path) == ["x.bin"]  # what somebody brought is not moved


def test_a_file_that_was_changed_is_checked_again(server, tmp_path):
    source = Source("x.bin", (server.url(),), sha())
    fetch(source, tmp_path)
    (tmp_path / "x.bin").write_bytes(b"changed")
    with pytest.raises(ChecksumError):
        download([source], tmp_path)


def test_an_interrupt_leaves_only_the_part(server, tmp_path, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(geodata.download.os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        fetch(Source("x.bin", (server.url(),), sha()), tmp_path)
    assert visible(tmp_path) == ["x.bin.part"]
    monkeypatch.undo()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    fetch(Source("x.bin", (server.url(),), sha()), tmp_path)
    assert len(server.asked) == 1  # all bytes were there


def archive() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name in ("images/one.bin", "labels.csv"):
            info = tarfile.TarInfo(name)
            info.size = 5
            tar.addfile(info, io.BytesIO(b"12345"))
    return out.getvalue()


def test_archives_are_extracted_once_and_may_be_deleted(server, tmp_path):
    server.files["a.tar.gz"] = archive()
    source = Source("a.tar.gz", (server.url("a.tar.gz"),), sha(server.files["a.tar.gz"]), into="data")
    download([source], tmp_path)
    assert (tmp_path / "data" / "images" / "one.bin").read_bytes() == b"12345"
    (tmp_path / "a.tar.gz").unlink()
    before = sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*"))
    download([source], tmp_path)
    assert sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*")) == before
    assert len(server.asked) == 1
    (tmp_path / "data" / "labels.csv").unlink()
    download([source], tmp_path)
    assert (tmp_path / "data" / "labels.csv").exists() and len(server.asked) == 2


def test_an_archive_in_parts(server, tmp_path):
    data = archive()
    cut = len(data) // 2
    server.files |= {"a.tar.gzaa": data[:cut], "a.tar.gzab": data[cut:]}
    parts = tuple(Source(n, (server.url(n),), sha(server.files[n])) for n in ("a.tar.gzaa", "a.tar.gzab"))
    source = Source("a.tar.gz", into="", parts=parts)
    download([source], tmp_path)
    download([source], tmp_path)
    assert visible(tmp_path) == ["a.tar.gzaa", "a.tar.gzab", "images", "labels.csv"]
    assert len(server.asked) == 2
    with pytest.raises(DownloadError, match="published in 2 parts; fetch each"):
        fetch(source, tmp_path)


def test_a_bad_archive_leaves_the_tree_without_its_files(server, tmp_path):
    server.files["a.tar.gz"] = archive()[:-20]
    with pytest.raises(ArchiveError, match=r"a\.tar\.gz: damaged or cut short"):
        download([Source("a.tar.gz", (server.url("a.tar.gz"),), into="")], tmp_path)
    assert visible(tmp_path) == ["a.tar.gz"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"file": "../x"}, "outside the root"),
        ({"file": "/x"}, "outside the root"),
        ({"file": "x", "into": "a/../../b"}, "outside the root"),
        ({"file": "x", "urls": ("file:///etc/passwd",)}, "no http or https address"),
        ({"file": "x", "checksum": "sha1:" + 40 * "0"}, "'md5:' and 32"),
        ({"file": "x", "checksum": "md5:"}, "'md5:' and 32"),
        ({"file": "x", "checksum": "md5:123"}, "'md5:' and 32"),
        ({"file": "x", "parts": (Source("y"),)}, "has parts"),
        ({"file": "x", "into": "", "urls": ("http://a/b",), "parts": (Source("y"),)}, "has parts"),
    ],
)
def test_a_source_that_cannot_be_is_refused(given, said):
    with pytest.raises(DownloadError, match=re.escape(said)):
        Source(**given)
