"""Items as records of an LMDB database, laid out as rico-hdl does it."""

from __future__ import annotations

import mmap
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.catalog.paths import fields
from geodata.dataset import Dataset
from geodata.errors import MissingDependencyError, StoreError
from geodata.files import PARTIAL
from geodata.files.local import settle
from geodata.store.export import Exported, discard, exported, progress_bar, writing
from geodata.store.export_tensors import pack_tensors
from geodata.store.source import StoredArray

__all__ = ["export_lmdb"]

LONGEST = 511
"""Bytes of a key of LMDB at most."""

RECORDS = 512
"""Records of a transaction at most, as in rico-hdl."""

BYTES = 64 * 2**20
"""Bytes of a transaction, about: what is held in memory."""

SPARE = 64 * 2**20
"""Bytes of the map beyond what the records take."""

_ABOUT = 160  # bytes of the header for each tensor, at most, beside its name


def export_lmdb(
    dataset: Dataset,
    path: str | Path,
    *,
    key: str | None = None,
    map_size: int | None = None,
    progress: bool = True,
) -> Path:
    """Write an LMDB database whose records are safetensors, as rico-hdl makes them: one tensor (h, w) for each band.

    Values, dtypes and sizes are those of the files: nothing is scaled, resampled, or cut off. An item is held in memory whole;
    cut large ones into tiles first. Names of rico-hdl are used for
    the archives that it knows:

    - reBEN: ``<patch_id>`` with B01 to B12 and B8A, ``<s1_name>`` with VV and VH, ``<patch_id>_reference_map`` with ``Data``
    - EuroSAT: ``<Class>_<N>``; B8A is called B08A
    - HySpecNet-11k: ``<patch>`` with B1 to B224, without the 22 bands that hold nothing
    - SSL4EO-S12: ``<product>_<location>_<scene>`` with B1, B2...

    Of all others an item is one record, called by its key, and tensors are called by their bands; where an image and a mask
    have bands of one name, by key and band, ``mask_1``. Images and masks whose files say apart from the values which pixels
    were observed have a tensor ``<band>_valid`` of bool beside each. Labels, places and times are not in a database:
    `geodata.catalog.Catalog.save` keeps them.

    Parameters
    ----------
    dataset : Dataset
        An open store, a published archive, rasters or cubes.
    path : folder that does not exist yet
        Written beside it, as ``<path>.<digits>.partial``, which is renamed when all is there.
    key : template over the columns of the catalog, or None
        One record for each item, called so: ``"{location}_{scene}"``.
    map_size : bytes that the database may take, or None for what the records need
    progress : bool
        A bar on a terminal's error stream.

    Returns
    -------
    Path
        Of the database.

    Raises
    ------
    MissingDependencyError
        If lmdb is not installed.
    StoreError
        If something is there already; two records have one name, or one of none or more than 511 bytes; the map or the disk is
        full.
    ReadError, StaleCatalogError
        If a file of the dataset cannot be read.
    """
    try:
        import lmdb
    except ImportError:
        raise MissingDependencyError(
            "an export to LMDB needs lmdb; install it with: pip install 'geodata[formats]'"
        ) from None
    target = Path(os.path.abspath(path))
    if os.path.lexists(target):
        raise StoreError(f"{target} is there already; an export writes to a new folder: choose another, or remove it")
    if map_size is not None and map_size < 1:
        raise StoreError(f"map_size={map_size} must be the bytes that the database may take, or None")
    source = exported(dataset)
    records = _records(source, key)
    _check_names(source.catalog, records)
    room = map_size if map_size is not None else _room(source, records)
    partial = target.with_name(f"{target.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        with writing(target, lmdb.Error):
            partial.mkdir(parents=True)
            with (
                progress_bar("items", len(source.catalog), progress) as advance,
                _database(partial, room) as database,
            ):
                _write(database, source, records, advance, room)
            for name in ("data.mdb", "."):
                settle(partial / name)
            os.rename(partial, target)
            settle(target.parent)
    finally:
        discard(partial)
    return target


@dataclass(frozen=True)
class _Record:
    """One record of each item.

    Parameters
    ----------
    names : (N,) text
    tensors : name, array and channel of each
    held : (N,) bool, rows that have any of them
    """

    names: list[str]
    tensors: tuple[tuple[str, StoredArray, int], ...]
    held: NDArray[np.bool_]


def _records(source: Exported, key: str | None) -> list[_Record]:
    """Decide on records and tensors; see `export_lmdb`."""
    archive = source.catalog.dataset[0]
    parts: dict[str, list[tuple[str, StoredArray, int]]] = {}
    for array, channel, name in _tensors(source):
        band = array.bands[channel].name
        template, called = (key, None) if key is not None else _rico(archive, array, band)
        if called is None:
            called = _rico_band(archive, band) if name == band else name
        parts.setdefault("{key}" if template is None else template, []).append((called, array, channel))
    found = []
    for template, tensors in parts.items():
        _check_tensors(source, tensors)
        held = np.any([source.has(array) for _, array, _ in tensors], axis=0)
        found.append(_Record(_expanded(source.catalog, template), tuple(tensors), held))
    return found


def _check_tensors(source: Exported, tensors: list[tuple[str, StoredArray, int]]) -> None:
    """Refuse records that would have two tensors of one name."""
    seen: dict[str, NDArray[np.bool_]] = {}
    for name, array, _ in tensors:
        has = source.has(array)
        for each in [name, f"{name}_valid"] if array.masked else [name]:
            if each in seen and (seen[each] & has).any():
                raise StoreError(
                    f"two tensors of a record would be called {each!r}; export fewer bands or keys at once"
                )
            seen[each] = has | seen.get(each, False)


def _tensors(source: Exported) -> Iterator[tuple[StoredArray, int, str]]:
    """Yield arrays and channels, and the band's name, or key and name where items have two bands of that name."""
    seen: dict[str, NDArray[np.int64]] = {}
    for array in source.arrays:
        for band in array.bands:
            seen[band.name] = seen.get(band.name, np.zeros(len(source.catalog), np.int64)) + source.has(array)
    for array in source.arrays:
        for channel, band in enumerate(array.bands):
            yield array, channel, band.name if seen[band.name].max() < 2 else f"{array.name}_{band.name}"


def _rico(archive: str, array: StoredArray, band: str) -> tuple[str | None, str | None]:
    """Return the template of the record that rico-hdl has a band in, and the name of its tensor; None for the usual ones."""
    if archive == "reben":
        if band == "reference_map":
            return "{patch_id}_reference_map", "Data"
        return ("{s1_name}" if band in ("VV", "VH") else "{patch_id}"), None
    if archive == "ssl4eo_s12":
        product = array.parts[0].asset.href.split("/")[0]
        if product not in ("s1", "s2a", "s2c"):
            raise StoreError(
                f"{array.name} does not say of which product it is, s1, s2a or s2c, which rico-hdl begins names of records "
                "with; give them, key='s2c_{location}_{scene}'"
            )
        return product + "_{location}_{scene}", None
    return None, None


def _rico_band(archive: str, band: str) -> str:
    """Return what rico-hdl calls a band."""
    if archive == "eurosat" and band == "B8A":
        return "B08A"
    return re.sub(r"^B0+(?=\d)", "B", band) if archive in ("hyspecnet11k", "ssl4eo_s12") else band


def _expanded(catalog: Catalog, template: str) -> list[str]:
    """Return the name of each row's record."""
    columns: dict[str, list[Any]] = {}
    for name in fields(template):
        if name != "key" and name not in catalog.table.column_names:
            raise StoreError(
                f"names of records are made from the column {name!r}, which is not there; give others, key=. There are: "
                f"{', '.join(catalog.table.column_names)}"
            )
        columns[name] = (catalog.key if name == "key" else catalog.column(name)).tolist()
        if None in columns[name]:
            row = columns[name].index(None)
            raise StoreError(f"item {catalog.key[row]!r} has no {name!r} to name its record by; give another key=")
    if list(columns) and template == f"{{{next(iter(columns))}}}":
        return [str(value) for value in columns[next(iter(columns))]]
    return [template.format(**{n: column[row] for n, column in columns.items()}) for row in range(len(catalog))]


def _check_names(catalog: Catalog, records: list[_Record]) -> None:
    """Refuse names that a database cannot hold, before any is written."""
    seen: set[str] = set()
    for record in records:
        for row in np.flatnonzero(record.held).tolist():
            name = record.names[row]
            size = len(name.encode())
            if not 1 <= size <= LONGEST:
                raise StoreError(
                    f"item {catalog.key[row]!r} would have a record with a name of {size} bytes; LMDB takes 1 to {LONGEST}: "
                    "give shorter ones, key='{column}'"
                )
            if name in seen:
                raise StoreError(
                    f"two records would be called {name!r}, one of them of item {catalog.key[row]!r}; give names that tell them "
                    "apart, key='{key}'"
                )
            seen.add(name)


def _room(source: Exported, records: list[_Record]) -> int:
    """Return the bytes that a database needs: values begin on pages of their own."""
    page = mmap.PAGESIZE
    total = np.zeros(len(source.catalog), np.int64)
    for record in records:
        size = np.full(len(total), 64 + sum(_ABOUT + 2 * len(name.encode()) for name, *_ in record.tensors))
        for _, array, _ in record.tensors:
            each = np.dtype(array.dtype).itemsize + array.masked
            size += np.where(
                source.has(array), array.sizes(source.catalog).prod(axis=1) * each + array.masked * _ABOUT, 0
            )
        total += np.where(record.held, (-(-size // page) + 2) * page + LONGEST, 0)
    return int(total.sum() * 1.05) + SPARE


@contextmanager
def _database(folder: Path, room: int) -> Iterator[Any]:
    import lmdb

    # Nobody reads it before it is whole, so the disk need not keep up with every transaction.
    database = lmdb.open(str(folder), map_size=room, sync=False, metasync=False)
    try:
        yield database
        database.sync(True)
    finally:
        database.close()


def _write(database: Any, source: Exported, records: list[_Record], advance: Any, room: int) -> None:
    sizes = {array.name: array.sizes(source.catalog) for array in source.arrays}
    batch: list[tuple[bytes, bytes]] = []
    held = 0
    for row in range(len(source.catalog)):
        for name, value in _values(source, records, sizes, row):
            batch.append((name.encode(), value))
            held += len(value)
        if len(batch) >= RECORDS or held >= BYTES:
            _put(database, batch, room)
            batch, held = [], 0
        advance()
    _put(database, batch, room)


def _values(
    source: Exported, records: list[_Record], sizes: dict[str, NDArray[np.int64]], row: int
) -> Iterator[tuple[str, bytes]]:
    """Yield the names and bytes of a row's records."""
    read: dict[str, tuple[NDArray[Any], NDArray[np.bool_] | None]] = {}
    for record in records:
        if not record.held[row]:
            continue
        tensors: dict[str, NDArray[Any]] = {}
        for name, array, channel in record.tensors:
            if array.absent is not None and array.absent[row]:
                continue
            if array.name not in read:
                read[array.name] = _whole(source.catalog, array, row, sizes[array.name][row].tolist())
            data, seen = read[array.name]
            tensors[name] = data[channel]
            if seen is not None:
                tensors[f"{name}_valid"] = seen[channel]
        yield record.names[row], pack_tensors(tensors)


def _whole(
    catalog: Catalog, array: StoredArray, row: int, size: list[int]
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Return (C, h, w) of a row, and which values were observed."""
    height, width = size
    data = np.empty((len(array.bands), height, width), array.dtype)
    seen = np.empty(data.shape, bool) if array.masked else None
    array.read(catalog, row, (0, 0, height, width), data, seen)
    return data, seen


def _put(database: Any, batch: list[tuple[bytes, bytes]], room: int) -> None:
    import lmdb

    try:
        with database.begin(write=True) as transaction:
            for name, value in batch:
                if not transaction.put(name, value, overwrite=False):
                    raise StoreError(f"two records are called {name.decode()!r}; give names that tell them apart, key=")
    except lmdb.MapFullError:
        raise StoreError(
            f"the database is full: it may take {room:,} bytes; give a larger map_size=, or none for what the records need"
        ) from None
    except lmdb.DiskError:
        raise StoreError("the disk is full; free some space and run the same export again") from None
