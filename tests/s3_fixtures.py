"""Fixtures: one S3 server for all tests of a process; a bucket of its own for each of them."""

from __future__ import annotations

import os
import secrets
import threading

import pytest
from s3 import Line, call, moto


@pytest.fixture(scope="session")
def server():
    with moto() as url:
        yield url


@pytest.fixture
def clean(monkeypatch, tmp_path):
    """An environment that says nothing of any store."""
    for key in list(os.environ):
        if key.startswith(("AWS_", "GOOGLE_", "AZURE_")):
            monkeypatch.delenv(key)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return monkeypatch


@pytest.fixture
def s3(server, clean):
    """An environment with keys and an endpoint; the value is that."""
    settings = {
        "AWS_ENDPOINT_URL": server,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }
    for key, value in settings.items():
        clean.setenv(key, value)
    return clean


@pytest.fixture
def bucket(server, s3):
    """Name of a new bucket."""
    name = f"b{secrets.token_hex(6)}"
    assert call(f"{server}/{name}", "PUT")[0] == 200
    return name


@pytest.fixture
def line(server, bucket, s3):
    """The only way to the server in this test, which can be made a bad one."""
    with Line(server) as between:
        thread = threading.Thread(target=between.serve_forever, daemon=True)
        thread.start()
        s3.setenv("AWS_ENDPOINT_URL", between.url)
        yield between
        between.shutdown()
        thread.join()
