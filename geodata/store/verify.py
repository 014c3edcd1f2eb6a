"""Is a store whole: every file there, every bit as it was written, and the same numbers as in its source."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from geodata.catalog import Catalog
from geodata.dataset import Dataset
from geodata.errors import ReadError, StoreError
from geodata.files import Files, files_at
from geodata.readers.shards import open_array
from geodata.store import manifest as manifests
from geodata.store.attributes import as_json
from geodata.store.contents import columns_of
from geodata.store.opened import catalog_of
from geodata.store.source import StoredArray, arrays_of, fields_to_store
from geodata.store.table import PLACE, ROW, SHARD, files_columns

__all__ = ["Verdict", "verify"]

PIECE = 1 << 24
"""Bytes that are read at a time."""


@dataclass(frozen=True)
class Verdict:
    """What was found.

    Parameters
    ----------
    digest : of the store, as its manifest says
    samples : rows of its catalog
    files, size : shards and their bytes
    compared : samples that were compared with the source
    problems : one line each, none if the store is whole
    """

    digest: str
    samples: int
    files: int
    size: int
    compared: int
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether there are no problems."""
        return not self.problems


def verify(
    path: str | Path, *, against: Dataset | None = None, advance: Callable[[int], object] | None = None
) -> Verdict:
    """Read all of a store and compare it with what was written, and with its source if that is given.

    Parameters
    ----------
    path : folder or URL of the store
    against : Dataset, as it was given to `convert`
    advance : called with the bytes of each file that was read

    Raises
    ------
    StoreError
        If there is no finished store.
    """
    files = files_at(str(path))
    about = manifests.about(files)
    if about is None or not about.complete:
        state = "there is no store at" if about is None else "nothing to verify yet, the conversion is not finished:"
        raise StoreError(f"{state} {files.root}")
    table = manifests.read_manifest(files)
    problems = list(_fixed(files, table))
    whole = not problems
    size, count = 0, 0
    for record in table["shards"]:
        for array, file in sorted(record["arrays"].items()):
            problems += _shard(files, array, file)
            size, count = size + file["bytes"], count + 1
            if advance is not None:
                advance(file["bytes"])
    problems += _strays(files, table)
    compared, samples = 0, 0
    if whole:
        catalog = catalog_of(files)
        samples = len(catalog)
        problems += _counts(files, catalog, about.geodata)
        if against is not None:
            compared, more = _against(files, catalog, against)
            problems += more
    return Verdict(table["digest"], samples, count, size, compared, tuple(problems))


def _fixed(files: Files, table: dict[str, Any]) -> Iterator[str]:
    """Check what is no shard: catalog, small arrays, metadata."""
    for name, digest in table["fixed"].items():
        try:
            found = hashlib.sha256(bytes(files.read(name))).hexdigest()
        except ReadError as error:
            yield f"{name}: {error}"
            continue
        if found != digest:
            yield f"{name}: its bytes are not those that were written; copy the store again"
    data = bytes(files.read(manifests.ROOT))
    if not manifests.seal_holds(data):
        yield f"{manifests.ROOT}: its bytes are not those that were written; copy the store again"
        return
    for name, meta in _members(data).items():
        try:
            own = bytes(files.read(f"{name}/{manifests.ROOT}"))
        except ReadError as error:
            yield f"{name}/{manifests.ROOT}: {error}; it stands in {manifests.ROOT} of the store too"
            continue
        if own != as_json(meta):
            yield f"{name}/{manifests.ROOT}: differs from what {manifests.ROOT} of the store says"


def _members(data: bytes) -> dict[str, Any]:
    """Return the metadata of the arrays of a store, by name."""
    found: dict[str, Any] = json.loads(data)["consolidated_metadata"]["metadata"]
    return found


def _shard(files: Files, array: str, file: dict[str, Any]) -> Iterator[str]:
    name = f"{array}/{file['file']}"
    size = files.size(name)
    if size is None:
        yield f"{name}: is missing; copy it from elsewhere, or remove the store and convert again"
        return
    if size != file["bytes"]:
        yield f"{name}: has {size} bytes, {file['bytes']} were written"
        return
    check = 0
    try:
        for start in range(0, size, PIECE):
            piece = np.frombuffer(memoryview(files.read(name, start, min(PIECE, size - start))), np.uint8)
            check = google_crc32c.extend(check, piece)
    except ReadError as error:
        yield f"{name}: {error}"
        return
    if f"{check:08x}" != file["crc32c"]:
        yield f"{name}: its bytes are not those that were written (CRC-32C {check:08x}, wanted {file['crc32c']})"


def _strays(files: Files, table: dict[str, Any]) -> Iterator[str]:
    """Name files that nothing tells of."""
    known = {manifests.ROOT, f"{manifests.MANIFEST}/c/0", *table["fixed"]}
    known |= {f"{array}/{file['file']}" for record in table["shards"] for array, file in record["arrays"].items()}
    data = bytes(files.read(manifests.ROOT))
    if manifests.seal_holds(data):
        known |= {f"{name}/{manifests.ROOT}" for name in _members(data)}
        strays = [name for name in files.names() if name not in known]
    else:
        strays = [name for name in files.names() if name not in known and not name.endswith(f"/{manifests.ROOT}")]
    yield from (f"{name}: is no part of the store" for name in sorted(strays))


def _counts(files: Files, catalog: Catalog, about: dict[str, Any]) -> Iterator[str]:
    if len(catalog) != about["samples"]:
        yield f"the catalog has {len(catalog)} rows, {about['samples']} were written"
    places = catalog.column(PLACE)
    for asset in catalog.assets:
        name = asset.href.strip("{}").removeprefix("has_")
        length = open_array(f"{files.root}/{name}").shape[0]
        if len(places) and not 0 <= places.min() <= places.max() < length:
            yield f"{name} has {length} positions, rows name {places.min()} to {places.max()}"


# ---------------------------------------------------------------------- the source


def _against(files: Files, catalog: Catalog, dataset: Dataset) -> tuple[int, list[str]]:
    """Compare all numbers; return how many samples were, and what differs."""
    source = dataset.catalog
    mine, theirs = set(catalog.key.tolist()), set(source.key.tolist())
    if mine != theirs:
        return 0, [
            f"the source has {len(theirs - mine)} items that are not in the store, and lacks {len(mine - theirs)} that are"
        ]
    arrays = arrays_of(source, fields_to_store(dataset))
    rows = catalog.rows_of(source.key.tolist())
    layers, origin = catalog.column(PLACE)[rows], catalog.origin[rows]
    problems = list(_rows(catalog.take(rows), source, dataset))
    there = set(_members(bytes(files.read(manifests.ROOT))))
    lacking = [a.name for a in arrays if a.name not in there]
    if lacking:
        return len(source), [f"{name}: the source has it, the store does not; name the same bands" for name in lacking]
    for array in arrays:
        problems += _compare(f"{files.root}/{array.name}", array, source, layers, origin)
    return len(source), problems


def _rows(catalog: Catalog, source: Catalog, dataset: Dataset) -> Iterator[str]:
    """Compare what both say of the same rows: places, times, labels, boxes and all other columns."""
    for name, mine, theirs in (
        ("places", catalog.affine, source.affine),
        ("sizes", catalog.shape, source.shape),
        ("CRSs", catalog.crs, source.crs),
        ("times", catalog.time, source.time),
    ):
        if not np.array_equal(mine, theirs):
            yield f"catalog: {name} differ from those of the source"
    made = columns_of(source, fields_to_store(dataset))
    left = {"key", "split", PLACE, ROW, SHARD, *files_columns(source)}  # the split may be another, made for the store
    for name in [n for n in (*source.table.column_names, *made) if n not in left and n in catalog.table.column_names]:
        theirs = made[name].to_pylist() if name in made else source.table[name].to_pylist()
        # As text: NaN is NaN here.
        if repr(catalog.table[name].to_pylist()) != repr(theirs):
            yield f"catalog: the column {name} differs from that of the source"


def _compare(href: str, array: StoredArray, source: Catalog, layers: Any, origin: Any) -> Iterator[str]:
    """Compare one array with the files it was made from, row by row."""
    try:
        stored = open_array(href)
        valid = open_array(f"{href}_valid") if array.masked else None
    except ReadError as error:
        yield f"{array.name}: {error}"
        return
    sizes = array.sizes(source)
    for row in range(len(source)):
        if array.absent is not None and array.absent[row]:
            continue
        height, width = sizes[row].tolist()
        down, across = (0, 0) if array.size is not None else (origin[row] // array.ratio).tolist()
        shape = (len(array.bands), height, width)
        data = np.empty(shape, stored.dtype)
        seen = np.empty(shape, bool) if valid is not None else None
        array.read(source, row, (0, 0, height, width), data, seen)
        block = (int(layers[row]), slice(0, shape[0]), slice(down, down + height), slice(across, across + width))
        try:
            same = np.array_equal(stored.read(block), data, equal_nan=data.dtype.kind == "f")
            if valid is not None and seen is not None:
                same &= np.array_equal(valid.read(block), seen)
        except ReadError as error:
            yield f"{array.name}, item {source.key[row]!r}: {error}"
            continue
        if not same:
            yield f"{array.name}, item {source.key[row]!r}: differs from its source"
