"""Items as GeoTIFFs, one for each array, with a catalog that reads them back."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geodata.bands import Bands
from geodata.catalog import Catalog
from geodata.catalog.arrow import number_array, text_array
from geodata.crs import crs_text
from geodata.dataset import Dataset
from geodata.errors import StoreError
from geodata.files import PARTIAL
from geodata.files.local import settle
from geodata.readers.base import Asset
from geodata.store.attributes import array_attributes, as_json
from geodata.store.contents import columns_of
from geodata.store.export import Exported, discard, exported, progress_bar, writing
from geodata.store.export_tiff import COMPRESSION, Tiff
from geodata.store.source import StoredArray
from geodata.store.table import PLACE, ROW

__all__ = ["export_geotiff"]

CATALOG = "catalog.parquet"
OWN = ".geodata"
"""Folder in an export with what says which one it is, and with files that are being written."""

PLAN = "export.json"
SIDECAR = ".aux.xml"

_LONGEST = 120  # characters of a key in a file name; file systems take 255 bytes


def export_geotiff(dataset: Dataset, folder: str | Path, *, compress: str = "deflate", progress: bool = True) -> Path:
    """Write a folder of GeoTIFFs, one for each item and array, and the catalog that reads them back.

    An array is what has one resolution, dtype and nodata value: ``<key>_image_10m.tif``, ``<key>_image_20m.tif``,
    ``<key>_mask.tif``. Characters of keys that names of files should not have become hyphens. Each file has the CRS and
    transform of its item to the last bit, the stored values, names of bands, scale, offset, unit, wavelength and width (nm),
    and the nodata value; what files say apart from the values of what was observed is its internal mask. Masks hold the
    stored class numbers, with names of classes (tag ``CLASSES``, and ``<name>.tif.aux.xml`` for GDAL and QGIS) and a table of
    colours if their dtype is uint8. Items without a place on earth are plain TIFFs.

    ``catalog.parquet`` holds places, times and all columns, those of labels, boxes and arrays too, and one column
    ``path_<array>`` for each array: ``RasterDataset(folder / "catalog.parquet", bands=[...])`` reads images, with
    ``categorical=True`` and the band of the mask masks. An array that shares no grid with its items has the column alone.

    Run again after an interruption, the export goes on: files that are there are whole, and stay.

    Parameters
    ----------
    dataset : Dataset
        An open store, a published archive, rasters or cubes.
    folder : new or empty folder, or one with the beginning of the same export
    compress : {"deflate", "lzw", "zstd", "none"}
        All without loss.
    progress : bool
        A bar on a terminal's error stream.

    Returns
    -------
    Path
        Of the catalog.

    Raises
    ------
    StoreError
        If the folder holds other files or another export; bands of one array mark different pixels as not observed; the disk
        is full, or gives back other values than were written.
    ReadError, StaleCatalogError
        If a file of the dataset cannot be read.
    """
    if compress not in COMPRESSION:
        raise StoreError(f"compress={compress!r} must be one of {', '.join(COMPRESSION)}")
    source = exported(dataset)
    plan = _plan(source, compress)
    target = Path(os.path.abspath(folder))
    with writing(target):
        _begin(target, plan)
        work = target / OWN / f"{secrets.token_hex(4)}{PARTIAL}"
        work.mkdir()
        try:
            with progress_bar("items", len(source.catalog), progress) as advance:
                _write_all(plan, target, work, advance)
            if not (target / CATALOG).exists():
                _catalog(source, plan, target).save(target / CATALOG)
            settle(target)
        finally:
            discard(work)
    return target / CATALOG


# ---------------------------------------------------------------------- what will be there


@dataclass(frozen=True)
class _Plan:
    """All files of an export.

    Parameters
    ----------
    source : what is exported
    slugs : name of each array as it stands in names of files and columns
    files : slug -> (N,) names, None where an item lacks the array
    compress : as in `export_geotiff`
    digest : SHA-256 of all that decides what is written
    """

    source: Exported
    slugs: dict[str, str]
    files: dict[str, list[str | None]]
    compress: str
    digest: str


def _plan(source: Exported, compress: str) -> _Plan:
    catalog = source.catalog
    slugs = _distinct([re.sub(r"[^\w-]+", "-", array.name) for array in source.arrays])
    named = dict(zip([a.name for a in source.arrays], slugs, strict=True))
    stems = _stems(catalog.key.tolist(), slugs)
    files: dict[str, list[str | None]] = {}
    for array in source.arrays:
        slug, has = named[array.name], source.has(array).tolist()
        files[slug] = [f"{stem}_{slug}.tif" if there else None for stem, there in zip(stems, has, strict=True)]
    check = hashlib.sha256()
    for array in source.arrays:
        check.update(as_json([named[array.name], array.dtype, array.ratio, _about(source, array)]))
    check.update(as_json([compress, list(catalog.dataset), catalog.key.tolist(), [str(c) for c in catalog.crs_in_use]]))
    for numbers in (catalog.affine, catalog.shape, catalog.origin, catalog.time):
        check.update(np.ascontiguousarray(numbers).tobytes())
    return _Plan(source, named, files, compress, check.hexdigest())


def _about(source: Exported, array: StoredArray) -> dict[str, Any]:
    return array_attributes(array, source.contents[array.key])


def _distinct(names: list[str]) -> list[str]:
    """Return names of which no two are equal where a file system minds no capitals."""
    count = Counter(name.casefold() for name in names)
    return [n if count[n.casefold()] == 1 else f"{n}-{i}" for i, n in enumerate(names, 1)]


def _stems(keys: list[str], slugs: list[str]) -> list[str]:
    """Return what names of the files of items begin with; a few digits tell apart those that would be the same."""
    plain = [re.sub(r"[^\w.-]+", "-", key).strip(".-") or "item" for key in keys]
    # With arrays "b" and "a_b", the items "x" and "x_a" have a file of one name.
    count = Counter(f"{stem}_{slug}".casefold() for stem in plain for slug in slugs)
    found = []
    for key, stem in zip(keys, plain, strict=True):
        alone = all(count[f"{stem}_{slug}".casefold()] == 1 for slug in slugs)
        if alone and len(stem.encode()) <= _LONGEST:
            found.append(stem)
            continue
        short = stem.encode()[:_LONGEST].decode(errors="ignore")
        found.append(f"{short}-{hashlib.sha256(key.encode()).hexdigest()[:12]}")
    return found


# ---------------------------------------------------------------------- the folder


def _begin(target: Path, plan: _Plan) -> None:
    """Make the folder, or check that it holds nothing but the beginning of this export.

    Raises
    ------
    StoreError
        If it holds anything else.
    """
    target.mkdir(parents=True, exist_ok=True)
    record = target / OWN / PLAN
    begun = record.is_file()
    if begun and json.loads(record.read_bytes()).get("digest") != plan.digest:
        raise StoreError(
            f"{target} holds an export of another dataset, or with other parameters; give the same ones, choose another "
            "folder, or remove it"
        )
    ours = {OWN, CATALOG, *(name for names in plan.files.values() for name in names if name is not None)}
    with os.scandir(target) as entries:
        other = next((e.name for e in entries if not _belongs(e, ours if begun else {OWN})), None)
    if other is not None:
        raise StoreError(f"{target} holds {other!r}, which is no part of this export; choose a new or empty folder")
    (target / OWN).mkdir(exist_ok=True)
    for left in [*(target / OWN).glob(f"*{PARTIAL}"), *target.glob(f".{CATALOG}.*")]:
        discard(left) if left.is_dir() else left.unlink()
    if not begun:
        beside = target / OWN / f"{PLAN}{PARTIAL}"
        beside.write_bytes(as_json({"digest": plan.digest, "items": len(plan.source.catalog)}))
        os.replace(beside, record)


def _belongs(entry: os.DirEntry[str], ours: set[str]) -> bool:
    """Whether a file or folder is one that an export makes."""
    if entry.name == OWN:
        return all(name == PLAN or name.endswith(PARTIAL) for name in os.listdir(entry))
    return entry.name.removesuffix(SIDECAR) in ours or entry.name.startswith(f".{CATALOG}.")


def _write_all(plan: _Plan, target: Path, work: Path, advance: Callable[[], None]) -> None:
    catalog = plan.source.catalog
    arrays = [(a, plan.files[plan.slugs[a.name]], a.sizes(catalog), _about(plan.source, a)) for a in plan.source.arrays]
    for row in range(len(catalog)):
        for array, files, sizes, about in arrays:
            name = files[row]
            if name is None or (target / name).is_file():
                continue
            tiff = Tiff(array, sizes[row].tolist(), *_place(catalog, array, row), about.get("classes", []))
            tiff.write(work / name, catalog, row, plan.compress)
            settle(work / name)
            # What GDAL says beside a file is there before it, so that a file that is there is whole.
            if (work / f"{name}{SIDECAR}").exists():
                os.replace(work / f"{name}{SIDECAR}", target / f"{name}{SIDECAR}")
            os.replace(work / name, target / name)
        advance()


def _place(catalog: Catalog, array: StoredArray, row: int) -> tuple[tuple[float, ...] | None, str]:
    """Return the transform and CRS of an array of a row; None and no text where it lies nowhere."""
    fp = catalog.footprints
    a, b, c, d, e, f = fp.affine[row].tolist()
    crs = crs_text(fp.crs[fp.code[row]])
    if array.size is not None or (not crs and (a, b, c, d, abs(e), f) == (1, 0, 0, 0, 1, 0)):
        return None, ""
    r = array.ratio
    return (a * r, b * r, c, d * r, e * r, f), crs


# ---------------------------------------------------------------------- the catalog


def _catalog(source: Exported, plan: _Plan, target: Path) -> Catalog:
    """Return the rows with the files of the export."""
    catalog = source.catalog
    columns: dict[str, pa.Array] = dict(columns_of(catalog, source.fields))
    for slug, names in plan.files.items():
        stats = [None if name is None else os.stat(target / name) for name in names]
        known = np.array([s is not None for s in stats], dtype=bool)
        columns[f"path_{slug}"] = text_array(names)
        columns[f"size_{slug}"] = number_array(_numbers([0 if s is None else s.st_size for s in stats]), known)
        columns[f"mtime_{slug}"] = number_array(_numbers([0 if s is None else s.st_mtime_ns for s in stats]), known)
    table = catalog.table
    dropped = {*columns, *_places_of(catalog)}
    table = table.select([name for name in table.column_names if name not in dropped])
    for name, column in columns.items():
        table = table.append_column(name, column)
    assets = tuple(_asset(array, plan.slugs[array.name]) for array in source.arrays if array.size is None)
    return replace(
        catalog,
        table=table,
        origin=np.zeros_like(catalog.origin),
        assets=assets,
        root=str(target),
        skipped=(),
        dropped=(),
    )


def _numbers(values: list[int]) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


def _places_of(catalog: Catalog) -> set[str]:
    """Return the columns that say where the files of the source are, and nothing else."""
    found = {PLACE, ROW}
    for asset in catalog.assets:
        whole = re.fullmatch(r"\{([\w-]+)\}", asset.href)
        if whole is None or whole[1] == "key":
            continue
        name = whole[1]
        suffix = name.removeprefix("path")
        found |= {name} | ({f"size{suffix}", f"mtime{suffix}"} if suffix != name else set())
    return found


def _asset(array: StoredArray, slug: str) -> Asset:
    validity, nodata = array.validity, array.nodata
    return Asset(
        f"{{path_{slug}}}",
        Bands(array.bands, array.bands.state),
        tuple(range(1, len(array.bands) + 1)),
        array.ratio,
        array.dtype,
        None if array.masked else nodata,
        validity,
    )
