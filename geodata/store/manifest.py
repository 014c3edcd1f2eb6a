"""What is in a store, file by file, with checksums: records while it is made, one table when it is done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from geodata.errors import GeodataError, ReadError, StoreError
from geodata.files import PARTIAL, Files
from geodata.readers.shards.metadata import FILE
from geodata.store.attributes import as_json
from geodata.store.writing import RECORDS, Position

__all__ = [
    "MANIFEST",
    "ROOT",
    "VERSION",
    "About",
    "about",
    "manifest_of",
    "position_of",
    "read_manifest",
    "records",
    "seal_holds",
    "sealed",
]

VERSION = 1
"""Of the layout of stores."""

ROOT = FILE
"""Metadata of the store itself; written when all else is there."""

MANIFEST = "manifest"
"""Array of bytes that holds the table of files as JSON."""


@dataclass(frozen=True)
class About:
    """What the root of a store says.

    Parameters
    ----------
    complete : bool
        Whether all of it is there.
    plan : digest of what was to be written
    geodata : all that stands under ``geodata`` in its attributes
    """

    complete: bool
    plan: str
    geodata: dict[str, Any]


def about(files: Files) -> About | None:
    """Return what a store says of itself, None if there is nothing.

    Raises
    ------
    StoreError
        If there is something else, or a store of another version.
    """
    if files.size(ROOT) is None:
        if all(name.endswith(PARTIAL) for name in files.names()):
            return None
        raise StoreError(f"{files.root} holds other files and is no store; choose another place, or remove them")
    try:
        found = json.loads(bytes(files.read(ROOT)))["attributes"]["geodata"]
        version, complete, plan = found["version"], found["complete"], found["plan"]
    except (KeyError, TypeError, ValueError):
        raise StoreError(f"{files.root} is Zarr, but no store that geodata wrote; read it with XarrayDataset") from None
    if version != VERSION or not isinstance(complete, bool) or not isinstance(plan, str):
        raise StoreError(f"{files.root} is a store of version {version!r}, wanted {VERSION}; convert its source again")
    return About(complete, plan, found)


def sealed(root: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata of a store with their own SHA-256 in them."""
    attributes = root["attributes"]
    seal = {"sha256": hashlib.sha256(as_json(root)).hexdigest()}
    return root | {"attributes": attributes | {"geodata": attributes["geodata"] | seal}}


def seal_holds(data: bytes) -> bool:
    """Whether metadata are byte by byte as they were `sealed`."""
    try:
        root = json.loads(data)
        del root["attributes"]["geodata"]["sha256"]
        return as_json(sealed(root)) == data
    except (KeyError, TypeError, ValueError):
        return False


def position_of(name: str) -> Position:
    """Return the position of a task from the name of its record."""
    k, i, j = (int(part) for part in name.removeprefix(RECORDS).removesuffix(".json").split("."))
    return k, i, j


def records(files: Files) -> Iterator[Position]:
    """Yield the positions of tasks that are done."""
    for name in files.names(RECORDS):
        if name.endswith(".json"):
            yield position_of(name)


def manifest_of(files: Files, names: list[str], fixed: dict[str, str]) -> dict[str, Any]:
    """Return the table of all files of a finished store, in a fixed order, and its digest.

    Parameters
    ----------
    names : of the records
    fixed : SHA-256 by name of what is no shard

    Raises
    ------
    StoreError
        If a file that a record tells of is not there, or not as long.
    """
    shards = []
    for name in names:
        record = json.loads(bytes(files.read(name)))
        for array, file in sorted(record["arrays"].items()):
            path = f"{array}/{file['file']}"
            size = files.size(path)
            if size != file["bytes"]:
                raise StoreError(
                    f"{files.root}/{path} has {size} bytes and was written with {file['bytes']}; remove {name} and "
                    "run the same command again"
                )
        shards.append(record)
    table = {"version": VERSION, "shards": shards, "fixed": fixed}
    return table | {"digest": hashlib.sha256(as_json(table)).hexdigest()}


def read_manifest(files: Files) -> dict[str, Any]:
    """Return the table of files of a finished store.

    Raises
    ------
    StoreError
        If it is not there, or damaged.
    """
    try:
        data = bytes(files.read(f"{MANIFEST}/c/0"))
        table: dict[str, Any] = json.loads(data)
        digest = table.pop("digest")
    except (ReadError, KeyError, TypeError, ValueError, AttributeError) as error:
        reason = error if isinstance(error, GeodataError) else f"it is damaged ({error!r})"
        raise StoreError(f"the manifest of {files.root} cannot be read: {reason}") from None
    if hashlib.sha256(as_json(table)).hexdigest() != digest or as_json(table | {"digest": digest}) != data:
        raise StoreError(f"the manifest of {files.root} is damaged: its own checksum differs; copy the store again")
    return table | {"digest": digest}
