"""Profiles of the AWS command line; the rules are those of its documentation."""

from __future__ import annotations

import pytest
from s3 import call

from geodata.errors import ReadError
from geodata.files import files_at
from geodata.files.profile import profile

CREDENTIALS = """
[default]
aws_access_key_id = D1
aws_secret_access_key = D2

[lab]
aws_access_key_id = L1
aws_secret_access_key = L2/%x=+
aws_session_token = L3

[half]
aws_access_key_id = H1
"""
CONFIG = """
[default]
region = eu-west-1
s3 =
    addressing_style = path

[profile lab]
region = eu-central-1
endpoint_url = https://store.example.org

[profile roles]
role_arn = arn:aws:iam::1:role/x
source_profile = default

[profile single]
sso_session = x

[lab2]
region = nowhere
"""
LAB = {"access_key_id": "L1", "secret_access_key": "L2/%x=+", "session_token": "L3"}


@pytest.fixture
def aws(clean, tmp_path):
    (tmp_path / "credentials").write_text(CREDENTIALS)
    (tmp_path / "config").write_text(CONFIG)
    clean.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    clean.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    return clean


def test_nothing_there(clean):
    assert profile() == {}


def test_default_and_named(aws):
    assert profile() == {"access_key_id": "D1", "secret_access_key": "D2", "region": "eu-west-1"}
    aws.setenv("AWS_PROFILE", "lab")
    assert profile() == {**LAB, "region": "eu-central-1", "endpoint": "https://store.example.org"}


def test_in_the_home_folder(clean, tmp_path):
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(CREDENTIALS)
    clean.setenv("HOME", str(tmp_path))
    clean.delenv("AWS_SHARED_CREDENTIALS_FILE")
    assert profile() == {"access_key_id": "D1", "secret_access_key": "D2"}


def test_the_environment_goes_first(aws):
    aws.setenv("AWS_PROFILE", "lab")
    aws.setenv("AWS_DEFAULT_REGION", "us-west-2")
    aws.setenv("AWS_ENDPOINT_URL_S3", "https://other.example.org")
    assert profile() == LAB
    aws.setenv("AWS_ACCESS_KEY_ID", "E1")
    assert profile() == {}


def test_public_data_needs_no_keys(aws):
    aws.setenv("AWS_SKIP_SIGNATURE", "true")
    assert profile() == {"region": "eu-west-1"}


@pytest.mark.parametrize(
    ("name", "said"),
    [("roles", "uses role_arn, source_profile"), ("single", "uses sso_session"), ("half", "one half of a key")],
)
def test_kinds_that_are_not_read(aws, name, said):
    aws.setenv("AWS_PROFILE", name)
    with pytest.raises(ReadError, match=f"{name}' .*{said}.*export-credentials --profile {name}"):
        profile()


@pytest.mark.parametrize("name", ["gone", "lab2"])
def test_a_profile_that_is_not_there(aws, name):
    aws.setenv("AWS_PROFILE", name)
    with pytest.raises(ReadError, match=f"names '{name}', which is neither in"):
        profile()


@pytest.mark.parametrize("text", ["aws_access_key_id = KEY", "[default]\nKEY without sense", b"\xff\xfe"])
def test_a_file_that_is_none(clean, tmp_path, text):
    path = tmp_path / "bad"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    clean.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    with pytest.raises(ReadError, match=r"cannot read .*bad") as caught:
        files_at("s3://b/x").read("a")
    assert "KEY" not in str(caught.value)


def test_a_profile_opens_a_store(server, bucket, s3, tmp_path):
    for key in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        s3.delenv(key)
    (tmp_path / "c").write_text("[lab]\naws_access_key_id=k\naws_secret_access_key=s\n" + f"endpoint_url={server}\n")
    s3.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "c"))
    s3.setenv("AWS_PROFILE", "lab")
    files_at(f"s3://{bucket}").put("x", [b"1"])
    assert call(f"{server}/{bucket}/x")[1] == b"1"
