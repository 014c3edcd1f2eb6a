"""Settings of S3 that stand in the files of the AWS command line: obstore itself reads the environment only."""

from __future__ import annotations

import os
from configparser import ConfigParser
from configparser import Error as ConfigError

from geodata.errors import ReadError

__all__ = ["profile"]

_KEYS = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
}
_OTHER = ("credential_process", "login_session", "role_arn", "source_profile", "sso_session", "sso_start_url")
_OWN = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE")


def profile() -> dict[str, str]:
    """Return keys, region and endpoint of the profile that AWS_PROFILE names, or of "default".

    What the environment says goes first, and is left out here. Roles of containers and machines are not here either:
    obstore asks for them when it finds no keys.

    Raises
    ------
    ReadError
        If the profile that is named is not there or is of a kind that is not read, or a file is not as it should be.
    """
    named = os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE")
    name = named or "default"
    files = (
        (_path("AWS_CONFIG_FILE", "config"), name if name == "default" else f"profile {name}"),
        (_path("AWS_SHARED_CREDENTIALS_FILE", "credentials"), name),
    )
    found: dict[str, str] = {}
    there = False
    for path, section in files:
        known = _parsed(path)
        if known.has_section(section):
            there = True
            found |= dict(known.items(section))
    if named and not there:
        raise ReadError(
            f"AWS_PROFILE names {name!r}, which is neither in {files[1][0]} nor in {files[0][0]}; correct or unset it"
        )
    return _settings(name, found)


def _settings(name: str, found: dict[str, str]) -> dict[str, str]:
    environ = os.environ
    settings: dict[str, str] = {}
    if found.get("region") and not (environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")):
        settings["region"] = found["region"]
    endpoints = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    if found.get("endpoint_url") and not any(environ.get(key) for key in endpoints):
        settings["endpoint"] = found["endpoint_url"]
    unsigned = environ.get("AWS_SKIP_SIGNATURE", "").lower() in ("1", "true", "t", "yes", "y", "on")
    if unsigned or any(environ.get(key) for key in _OWN):
        return settings
    keys = {wanted: found[key] for key, wanted in _KEYS.items() if found.get(key)}
    if "access_key_id" in keys and "secret_access_key" in keys:
        return settings | keys
    other = [key for key in _OTHER if found.get(key)]
    if other or keys:
        lacks = f"uses {', '.join(other)}, which is not read here" if other else "has only one half of a key"
        raise ReadError(
            f"AWS profile {name!r} {lacks}. Set the keys yourself, e.g. by "
            f'eval "$(aws configure export-credentials --profile {name} --format env)"'
        )
    return settings


def _path(variable: str, name: str) -> str:
    return os.path.expanduser(os.environ.get(variable) or os.path.join("~", ".aws", name))


def _parsed(path: str) -> ConfigParser:
    # No default section: AWS gives other profiles nothing of [default].
    known = ConfigParser(interpolation=None, default_section="", strict=False)
    try:
        with open(path, encoding="utf-8") as file:
            known.read_file(file)
    except FileNotFoundError:
        return known
    except (OSError, ConfigError, UnicodeDecodeError) as error:
        # The rest of the text repeats lines of the file, which may be keys.
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise ReadError(f"cannot read {path}: {said}; correct it, or unset what names it") from None
    return known
