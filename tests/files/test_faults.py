"""Bad lines, absent rights and absent networks: what is tried again, what is said, and that nothing hangs."""

from __future__ import annotations

import socket

import pytest
from s3 import get, put

from geodata.errors import ReadError, StoreError
from geodata.files import files_at
from geodata.files.objects import ObjectFiles

DATA = bytes(range(256)) * 400


@pytest.mark.parametrize("fault", ["503", "reset", "cut"])
@pytest.mark.parametrize("cache", [0, 1 << 20])
def test_reading_goes_on_after_faults(line, bucket, server, fault, cache):
    put(f"{server}/{bucket}", "x", DATA)
    files = ObjectFiles(f"s3://{bucket}", cache)
    line.faults = {"GET": [fault, fault], "HEAD": ["503"]}
    assert bytes(files.read("x", 1000, 50_000)) == DATA[1000:51_000]
    assert len(line.gets()) == 3
    assert files.size("x") == len(DATA)
    line.faults = {"GET": [fault]}
    assert bytes(files.read("x")) == DATA
    line.faults = {"GET": ["503"]}
    assert list(files.names()) == ["x"]


@pytest.mark.parametrize("fault", ["503", "reset"])
def test_writing_goes_on_after_faults(line, bucket, server, fault):
    files = files_at(f"s3://{bucket}")
    line.faults = {"PUT": [fault, fault], "POST": [fault]}
    files.put("x", [DATA])
    assert get(f"{server}/{bucket}", "x") == DATA
    files.delete("x")
    assert get(f"{server}/{bucket}", "x") is None


@pytest.mark.parametrize("fault", ["503", "reset", "cut"])
def test_in_the_end_it_gives_up(line, bucket, server, fault, monkeypatch):
    monkeypatch.setattr("geodata.files.client.RETRIES", 2)
    put(f"{server}/{bucket}", "x", DATA)
    files = files_at(f"s3://{bucket}")
    line.always = {"GET": fault, "PUT": fault}
    with pytest.raises(ReadError, match=rf"cannot read s3://{bucket}/x: "):
        files.read("x")
    assert len(line.gets()) <= 9
    if fault != "cut":
        with pytest.raises(StoreError, match=rf"cannot write s3://{bucket}/y: "):
            files.put("y", [b"1"])
    line.always = {}
    assert bytes(files.read("x")) == DATA and files.size("y") is None


def test_no_rights(line, bucket):
    files = files_at(f"s3://{bucket}")
    line.always = dict.fromkeys(("GET", "PUT", "HEAD", "POST"), "403")
    asked = [lambda: files.read("x"), lambda: files.size("x"), lambda: list(files.names())]
    for ask in asked:
        with pytest.raises(ReadError, match="access was refused") as caught:
            ask()
        assert "SECRET" not in str(caught.value)
    for ask in (lambda: files.put("x", [b"1"]), lambda: files.delete("x")):
        with pytest.raises(StoreError, match="access was refused"):
            ask()


def test_no_bucket(s3):
    files = files_at("s3://nobody-made-this/r")
    for ask in (lambda: files.read("x"), lambda: list(files.names())):
        with pytest.raises(ReadError, match="no such bucket"):
            ask()
    with pytest.raises(StoreError, match="no such bucket"):
        files.put("x", [b"1"])


@pytest.fixture
def closed():
    """An address on loopback where nobody answers."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_no_server(s3, closed, monkeypatch):
    monkeypatch.setattr("geodata.files.client.RETRIES", 1)
    s3.setenv("AWS_ENDPOINT_URL", closed)
    with pytest.raises(ReadError, match="connection failed; check the network"):
        files_at("s3://b/x").read("a")
    s3.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(ReadError, match="AWS_ALLOW_HTTP=true"):
        files_at("s3://b/x").read("a")


def test_no_credentials(clean, closed, monkeypatch):
    monkeypatch.setattr("geodata.files.client.RETRIES", 1)
    clean.setenv("AWS_METADATA_ENDPOINT", closed)
    with pytest.raises(ReadError, match=r"no credentials were found.* AWS_ACCESS_KEY_ID"):
        files_at("s3://b/x").read("a")
    with pytest.raises(StoreError, match="no credentials were found"):
        files_at("s3://b/x").put("a", [b"1"])
    with pytest.raises(ReadError, match="AZURE_STORAGE_ACCOUNT_NAME"):
        files_at("az://b/x").read("a")


@pytest.mark.parametrize("cache", [0, 1 << 20])
def test_gone_between_size_and_read(bucket, server, cache):
    files = ObjectFiles(f"s3://{bucket}", cache)
    put(f"{server}/{bucket}", "x", DATA)
    size = files.size("x")
    files_at(f"s3://{bucket}").delete("x")
    with pytest.raises(ReadError, match="x is not there"):
        files.read("x", 0, size)
    put(f"{server}/{bucket}", "x", DATA[:100])
    with pytest.raises(ReadError, match=f"ends at byte 100, before byte {size}"):
        files.read("x", 0, size)
