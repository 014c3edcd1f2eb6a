"""Archives are unpacked whole or not at all, and only into their folder."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import sys
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest

import geodata.extract
from geodata.errors import ArchiveError, MissingDependencyError
from geodata.extract import extract

FILES = {"a/one.txt": b"one", "a/b/two.bin": bytes(range(256)) * 40, "three.txt": b""}


def as_tar(files: dict[str, bytes], *extra: tarfile.TarInfo) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mode = 0o6755
            tar.addfile(info, io.BytesIO(data))
        for info in extra:
            tar.addfile(info, io.BytesIO(bytes(info.size)))
    return out.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def as_zip(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def as_zstd(data: bytes) -> bytes:
    return pytest.importorskip("zstandard").ZstdCompressor().compress(data)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, also hidden ones."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def put(folder: Path, data: bytes, name: str = "x.archive") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def refused(folder: Path, data: bytes, *essentials: str, **options) -> None:
    """Extraction fails with these words and the archive's name, and leaves nothing at all."""
    archive = put(folder, data)
    with pytest.raises(ArchiveError) as caught:
        extract(archive, folder / "out", progress=False, **options)
    for essential in ("x.archive", *essentials):
        assert essential in str(caught.value)
    assert list((folder / "out").iterdir()) == []
    assert sorted(p.name for p in folder.iterdir()) == ["out", "x.archive"]


PACKERS = {
    "zip": lambda: as_zip(FILES),
    "tar": lambda: as_tar(FILES),
    "gz": lambda: gzip.compress(as_tar(FILES)),
    "bz2": lambda: bz2.compress(as_tar(FILES)),
    "xz": lambda: lzma.compress(as_tar(FILES)),
    "zst": lambda: as_zstd(as_tar(FILES)),
}


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_every_format_gives_the_files(tmp_path, pack):
    assert extract(put(tmp_path, pack()), tmp_path / "out", progress=False) == ("a", "three.txt")
    assert tree(tmp_path / "out") == FILES


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_parts_are_read_as_one_stream(tmp_path, pack):
    data = pack()
    cuts = [0, 7, 7, len(data) // 2, len(data)]
    parts = [put(tmp_path, data[cuts[i] : cuts[i + 1]], f"x.a{i}") for i in range(4)]
    extract(parts, tmp_path / "out", progress=False)
    assert tree(tmp_path / "out") == FILES


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_a_cut_archive_is_refused(tmp_path, pack):
    data = pack()
    refused(tmp_path, data[: len(data) // 2], "cut short")


def test_a_cut_zstandard_names_the_member(tmp_path):
    noise = os.urandom(400_000)  # several blocks of Zstandard
    data = as_zstd(as_tar({"first.txt": b"1", "second.bin": noise}))
    refused(tmp_path, data[: len(data) - 30_000], "damaged or cut short in member 'second.bin'", "download it again")


def test_a_tar_cut_between_members_is_refused(tmp_path):
    # tarfile itself ends without an error here.
    data = as_tar({"one": b"1", "two": b"2"})
    refused(tmp_path, data[:1024], "after member 'one'", "end mark")


def test_a_torn_header_is_no_end(tmp_path):
    data = bytearray(as_tar({"one": b"1", "two": b"2"}))
    data[1030] ^= 0xFF
    refused(tmp_path, bytes(data), "after member 'one'")


def test_a_second_tar_behind_the_first_is_not_dropped(tmp_path):
    refused(tmp_path, as_tar({"one": b"1"}) + as_tar({"two": b"2"}), "more data follows")


def test_a_wrong_crc_in_a_zip_names_the_member(tmp_path):
    data = as_zip({"one.bin": os.urandom(1000)})
    at = data.index(b"one.bin") + 200
    refused(tmp_path, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], "in member 'one.bin'", "CRC")


def test_what_is_no_archive_is_shown(tmp_path):
    refused(tmp_path, b"<!DOCTYPE html>" + b" " * 1000, "no zip and no tar", "<!DOC")
    with pytest.raises(ArchiveError, match=r"absent\.zip is not there"):
        extract(tmp_path / "absent.zip", tmp_path / "out")


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/var/evil", "C:evil", "a\\..\\evil", ".geodata/x.json"])
@pytest.mark.parametrize("pack", [as_zip, as_tar])
def test_names_that_leave_are_refused(tmp_path, name, pack):
    refused(tmp_path, pack({"good": b"1", name: b"2"}), repr(name))


@pytest.mark.parametrize("target", ["../../evil", "/etc/passwd", "..", "absent", "folder"])
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_to_anything_but_a_file_inside_are_refused(tmp_path, kind, target):
    extra = special("folder", tarfile.DIRTYPE), special("a/link", kind, target)
    refused(
        tmp_path,
        as_tar({"good": b"1"}, *extra),
        "a/link",
        "outside" if kind == tarfile.SYMTYPE and len(target) > 8 else "link",
    )


def test_a_file_cannot_be_written_through_a_link(tmp_path):
    outside = tmp_path / "away"
    data = as_tar({}, special("a", tarfile.SYMTYPE, str(outside)), special("a/evil", tarfile.REGTYPE))
    refused(tmp_path, data, "'a'")


def test_links_inside_become_the_file_itself(tmp_path):
    extra = special("a/soft", tarfile.SYMTYPE, "../b/file"), special("hard", tarfile.LNKTYPE, "b/file")
    extract(put(tmp_path, as_tar({"b/file": b"1"}, *extra)), tmp_path / "out", progress=False)
    assert tree(tmp_path / "out") == {"b/file": b"1", "a/soft": b"1", "hard": b"1"}
    assert not any(p.is_symlink() for p in (tmp_path / "out").rglob("*"))


def test_a_link_of_a_zip_is_no_file_with_a_path_in_it(tmp_path):
    link = zipfile.ZipInfo("a/link")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(link, "../../evil")
    refused(tmp_path, out.getvalue(), "'a/link'", "'../evil'")


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"Z"])
def test_devices_and_pipes_are_refused(tmp_path, kind):
    refused(tmp_path, as_tar({"good": b"1"}, special("dev", kind)), "'dev' is a device, a pipe or the like")


def test_no_mode_is_taken_over(tmp_path):
    extract(put(tmp_path, as_tar({"tool": b"1"})), tmp_path / "out", progress=False)
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "out" / "tool").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning:zipfile")
def test_a_name_that_comes_twice_is_refused(tmp_path):
    twice = special("one", tarfile.REGTYPE)
    refused(tmp_path, as_tar({"one": b"1"}, twice), "'one' is taken by another member")
    refused(tmp_path, as_tar({"one": b"1", "one/two": b"2"}), "'one/two' is taken")


def test_a_bomb_is_stopped_while_it_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(geodata.extract, "_FLOOR", 100_000)
    refused(tmp_path, gzip.compress(as_tar({"zeros": bytes(3_000_000)})), "200 times its size", "max_bytes")
    refused(tmp_path, as_zip({"zeros": bytes(3_000_000)}), "200 times its size")
    refused(tmp_path, gzip.compress(as_tar({}) + bytes(5_000_000)), "200 times its size")
    big = put(tmp_path, gzip.compress(as_tar({"zeros": bytes(3_000_000)})))
    extract(big, tmp_path / "out", max_bytes=4_000_000, progress=False)
    assert (tmp_path / "out" / "zeros").stat().st_size == 3_000_000


def test_declared_sizes_of_a_zip_are_not_trusted(tmp_path):
    data = as_zip({"zeros": bytes(500_000)})
    size = (500_000).to_bytes(4, "little")
    assert data.count(size) == 2
    refused(tmp_path, data.replace(size, (100).to_bytes(4, "little")), max_bytes=200_000)


def test_the_free_space_is_a_bound(tmp_path, monkeypatch):
    usage = geodata.extract.shutil.disk_usage(tmp_path)._replace(free=5000)
    monkeypatch.setattr(geodata.extract.shutil, "disk_usage", lambda path: usage)
    refused(tmp_path, as_zip({"one": os.urandom(9000)}), "more than 5000 bytes", "make room")


def test_a_header_of_any_size_is_not_read_into_memory(tmp_path):
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 33
    refused(tmp_path, info.tobuf(tarfile.GNU_FORMAT), "a header of 8589934592 bytes")


def test_a_negative_size_does_not_go_round(tmp_path):
    info = tarfile.TarInfo("x")
    info.size = -1024
    refused(tmp_path, info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))


def test_frames_of_zstandard_are_read_on(tmp_path):
    data = as_tar(FILES)
    extract(put(tmp_path, as_zstd(data[:700]) + as_zstd(data[700:])), tmp_path / "out", progress=False)
    assert tree(tmp_path / "out") == FILES


def test_a_zip_that_cannot_fit_is_refused_before_it_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(geodata.extract, "_make", lambda *args: pytest.fail("a member was written"))
    refused(tmp_path, as_zip({"one": bytes(5000), "two": bytes(5000)}), "more than 9000 bytes", max_bytes=9000)


def test_little_memory_is_used(tmp_path):
    data = put(tmp_path, gzip.compress(as_tar({"zeros": bytes(30_000_000)}), 1))
    tracemalloc.start()
    try:
        extract(data, tmp_path / "out", progress=False)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_an_interrupt_leaves_the_tree_as_it_was(tmp_path, monkeypatch):
    out = tmp_path / "out"
    extract(put(tmp_path, as_tar({"a/old": b"old"})), out, progress=False)
    calls = iter(range(3))

    def stop(self, count):
        if next(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(geodata.extract._Budget, "add", stop)
    with pytest.raises(KeyboardInterrupt):
        extract(put(tmp_path, as_tar(FILES)), out, progress=False)
    assert tree(out) == {"a/old": b"old"}
    assert [p.name for p in out.iterdir()] == ["a"]


def test_what_a_killed_extraction_left_is_removed(tmp_path):
    left = tmp_path / "out" / ".geodata-extracting-x.archive" / "a"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"h")
    extract(put(tmp_path, as_zip(FILES)), tmp_path / "out", progress=False)
    assert tree(tmp_path / "out") == FILES


def test_folders_are_merged_and_files_replaced(tmp_path):
    out = tmp_path / "out"
    extract(put(tmp_path, as_tar({"a/one": b"1", "a/b/two": b"2"})), out, progress=False)
    extract(put(tmp_path, as_tar({"a/one": b"new", "a/b/three": b"3"})), out, progress=False)
    assert tree(out) == {"a/one": b"new", "a/b/two": b"2", "a/b/three": b"3"}


def test_a_clash_is_found_before_anything_moves(tmp_path):
    out = tmp_path / "out"
    away = tmp_path / "away"
    away.mkdir()
    out.mkdir()
    (out / "z").symlink_to(away)
    archive = put(tmp_path, as_tar({**{f"{i}/one": b"1" for i in range(30)}, "z/two": b"2"}))
    with pytest.raises(ArchiveError, match=r"has a folder where .*z is a file or a link"):
        extract(archive, out, progress=False)
    assert [p.name for p in out.iterdir()] == ["z"] and list(away.iterdir()) == []


def test_zstandard_is_optional(tmp_path, monkeypatch):
    data = as_zstd(as_tar(FILES))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingDependencyError, match=r"geodata\[formats\]"):
        extract(put(tmp_path, data), tmp_path / "out", progress=False)


def test_names_in_other_encodings(tmp_path):
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.GNU_FORMAT, encoding="latin-1") as out:
        out.addfile(tarfile.TarInfo("forêt"), io.BytesIO())
    extract(put(tmp_path, tar.getvalue()), tmp_path / "out", progress=False)
    extract(put(tmp_path, as_zip({"Wälder": b""})), tmp_path / "out", progress=False)
    assert sorted(os.listdir(os.fsencode(tmp_path / "out"))) == ["Wälder".encode(), "forêt".encode("latin-1")]
