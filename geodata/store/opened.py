"""A store as a dataset: the same samples as its source."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.errors import CatalogError, StoreError
from geodata.fields import FieldDataset
from geodata.fields.contents import Reading, chosen_of, fields_of
from geodata.fields.making import DEFAULT_DTYPE
from geodata.files import Files, files_at, keep_whole
from geodata.sample import IGNORE
from geodata.spec import Content
from geodata.store import manifest as manifests
from geodata.store.contents import from_plain
from geodata.store.table import ROW

if TYPE_CHECKING:
    from geodata.splits import Split

__all__ = ["StoreDataset", "catalog_of", "open_store"]


CATALOG = "catalog/c/0"
"""The catalog: a GeoParquet file."""


class StoreDataset(FieldDataset):
    """A store that `geodata convert` wrote; made by `open_store`.

    Samples, keys, grids and times are those of the source it was converted from, in its order; so splits and samplers of the
    one serve the other.
    """

    def __init__(self, path: str, catalog: Catalog, fields: Any, *, cache: int = 0, **common: Any) -> None:
        super().__init__(catalog, fields, **common)
        self.path, self._cache = path, cache
        keep_whole(path, cache)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A process that got it by pickle has memory of its own.
        self.__dict__.update(state)
        keep_whole(self.path, self._cache)

    @cached_property
    def contents(self) -> tuple[Content, ...]:
        """What is known of each part of its samples: texts, classes and their colours."""
        about = manifests.about(files_at(self.path))
        return () if about is None else tuple(from_plain(about.geodata.get("contents", ())))

    @property
    def stats(self) -> dict[str, dict[str, float]] | None:
        """Mean and standard deviation by band, as the store was given them, for ``T.Normalize``; None if it was not."""
        about = manifests.about(files_at(self.path))
        found: dict[str, dict[str, float]] | None = None if about is None else about.geodata.get("stats")
        return found

    @cached_property
    def splitting(self) -> Split:
        """The split that the store was converted with, of all its rows.

        Raises
        ------
        StoreError
            If there was none.
        """
        from geodata.splits import Split

        files = files_at(self.path)
        if files.size("split_table/c/0") is None:
            raise StoreError(
                f"{self.path} was converted without split=; parts of the archive itself are in the column 'split'"
            )
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "split.parquet"
            place.write_bytes(bytes(files.read("split_table/c/0")))
            return Split.load(place)


def open_store(
    path: str | Path,
    *,
    split: str | Sequence[str] | None = None,
    bands: Sequence[str | float] | None = None,
    keys: Sequence[str] | None = None,
    dtype: Any = DEFAULT_DTYPE,
    native: bool = False,
    resampling: str | None = None,
    ignore_index: int = IGNORE,
    order: Callable[[Catalog, NDArray[np.int64]], NDArray[np.int64]] | None = None,
    name: str = "",
    transforms: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    cache: int = 0,
) -> StoreDataset:
    """Open a store as a dataset.

    Parameters
    ----------
    path : folder, or URL such as ``s3://bucket/reben.zarr``
    split : name of a part, several names, or None for all rows
        Of the split that it was converted with, else of the archive's own.
    bands, keys, dtype, native, resampling, ignore_index, name, transforms : as in `geodata.datasets.archive.Common`
    order : callable (catalog, rows) -> rows, or None
        Which item shows on top where several lie under one query, as in `geodata.datasets.RasterDataset`.
    cache : bytes of memory, in each process, for whole shards of an object store
        With it a shard is fetched by one request and kept while there is room: for samplers that read shard by shard. Without,
        each chunk is a request.

    Raises
    ------
    StoreError
        If there is no store, it is not finished, or damaged.
    CatalogError
        If there is no such part or key.
    BandsError
        If there is no such band.

    Examples
    --------
    ``gd.open_store("reben.zarr", split="train", bands=["B04", "B03", "B02"])[0]["image"]`` is (3, 120, 120).
    """
    place = str(path) if "://" in str(path) else os.path.abspath(path)
    files = files_at(place)
    about = manifests.about(files)
    if about is None:
        raise StoreError(f"there is no store at {place}; make one with geodata convert")
    if not about.complete:
        raise StoreError(f"{place} is not finished; run its geodata convert again, it goes on where it was")
    _check_whole(files)
    contents = from_plain(about.geodata.get("contents", ()))
    chosen = chosen_of(contents, keys, bands)
    catalog = _of_split(catalog_of(files), split)
    reading = Reading(dtype, native, resampling, ignore_index)
    catalog, fields = fields_of(catalog, chosen, bands, reading)
    return StoreDataset(place, catalog, fields, cache=cache, order=order, name=name, transforms=transforms)


def _check_whole(files: Files) -> None:
    """Refuse a store whose metadata or catalog are not those that were written; shards are checked as they are read."""
    fixed = manifests.read_manifest(files)["fixed"]
    damaged = [] if manifests.seal_holds(bytes(files.read(manifests.ROOT))) else [manifests.ROOT]
    if hashlib.sha256(bytes(files.read(CATALOG))).hexdigest() != fixed[CATALOG]:
        damaged.append(CATALOG)
    if damaged:
        raise StoreError(
            f"{files.root}/{damaged[0]} is damaged: its bytes are not those that were written; copy it again"
        )


def catalog_of(files: Files) -> Catalog:
    """Return the rows in the order of the source."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "catalog.parquet"
        place.write_bytes(bytes(files.read(CATALOG)))
        catalog = replace(Catalog.load(place), root=files.root)
    return catalog.take(np.argsort(catalog.column(ROW), kind="stable"))


def _of_split(catalog: Catalog, split: Any) -> Catalog:
    if split is None:
        return catalog
    wanted = [split] if not isinstance(split, (list, tuple, set)) else list(split)
    if not wanted:
        raise CatalogError("split=[] names no part; leave it out for all rows")
    values = catalog.table["split"].to_pylist() if "split" in catalog.table.column_names else []
    names = [None if value is None else str(value) for value in values]
    known = sorted({name for name in names if name is not None})
    wrong = [s for s in wanted if str(s) not in known]
    if wrong:
        there = f"it has {', '.join(known)}" if known else "it has none; convert with split="
        raise CatalogError(f"the store has no part {wrong[0]!r}; {there}, and split=None takes all rows")
    parts = {str(s) for s in wanted}
    return catalog.take(np.flatnonzero([name in parts for name in names]))
