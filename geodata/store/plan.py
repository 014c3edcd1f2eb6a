"""What a store will be, decided before anything is written."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from geodata.catalog import Catalog
from geodata.dataset import Dataset
from geodata.errors import GeodataError, StoreError
from geodata.spec import Content
from geodata.splits import Split
from geodata.store import manifest as manifests
from geodata.store.attributes import as_json, described
from geodata.store.contents import checked_stats, columns_of, contents_of, to_plain
from geodata.store.layout import Layout, lay_out
from geodata.store.order import order_of
from geodata.store.source import arrays_of, fields_to_store
from geodata.store.table import files_columns, rows_mark, stored_catalog

__all__ = ["Plan", "as_parquet", "plan_of"]


@dataclass(frozen=True)
class Plan:
    """What a store will be.

    Parameters
    ----------
    layout : where each row lies, and the arrays
    contents : what a sample holds
    catalog : Catalog of the store, in its order
    split : Split, or None
    settings : all that decides its bytes, as plain data
    """

    layout: Layout
    contents: list[Content]
    catalog: Catalog
    split: Split | None
    settings: dict[str, Any]

    @property
    def digest(self) -> str:
        """SHA-256 of the settings: equal for two plans of the same store."""
        return hashlib.sha256(as_json(self.settings)).hexdigest()


def plan_of(
    dataset: Dataset,
    *,
    split: Split | None,
    order: str,
    layout: str | None,
    codec: str,
    dtype: str | None,
    chunk_bands: int | None,
    shard: int | None,
    pad: bool,
    stats: Mapping[str, Mapping[str, float]] | None = None,
) -> Plan:
    """Decide all of a store before anything is written; parameters and errors as in `convert`."""
    stored = fields_to_store(dataset)
    catalog = dataset.catalog
    contents = contents_of(dataset, stored)
    arrays = [a.cast(dtype) for a in arrays_of(catalog, stored)]
    if not arrays:
        raise StoreError("the dataset has neither images nor masks; there is nothing to store")
    catalog, part = _parts(catalog, split)
    rows = order_of(catalog, order, part)
    laid = lay_out(catalog, arrays, rows, kind=layout, codec=codec, bands=chunk_bands, samples=shard, pad=pad)
    laid = described(laid, contents, checked_stats(stats, contents), rows_mark(laid))
    columns = columns_of(catalog, stored)
    kept = stored_catalog(laid, rows, columns)
    spec = getattr(dataset, "spec", None)
    source = {} if spec is None else {"title": spec.title, "home": spec.home, "licence": spec.licence}
    settings = {
        "version": manifests.VERSION,
        "source": source,
        "dataset": list(catalog.dataset),
        "items": len(catalog),
        "keys": hashlib.sha256("\n".join(map(str, laid.catalog.key)).encode()).hexdigest(),
        "order": order,
        "layout": laid.kind,
        "split": None if split is None else split.digest,
        "contents": to_plain(contents),
        "stats": None if stats is None else {k: dict(v) for k, v in stats.items()},
        "arrays": {each.array.name: each.meta.to_dict() for each in laid.arrays},
        # Order, places, times, labels; size and time of change of the files.
        "files": _digest_of(catalog, files_columns(catalog)),
        "catalog": hashlib.sha256(as_parquet(kept)).hexdigest(),
    }
    return Plan(laid, contents, kept, split, settings)


def _digest_of(catalog: Catalog, columns: list[str]) -> str:
    """Return a digest of some columns: a source whose files changed is another one."""
    held = [catalog.table[name].to_pylist() for name in columns]
    return hashlib.sha256(repr(held).encode()).hexdigest()


def _parts(catalog: Catalog, split: Split | None) -> tuple[Catalog, Any]:
    """Return the catalog with the parts of a split in its column, and the part of each row as a number."""
    if split is not None:
        code = split.codes(catalog)
        names = np.array([*split.parts, None], dtype=object)[code]
        columns = [n for n in catalog.table.column_names if n != "split"]
        table = catalog.table.select(columns).append_column("split", pa.array(names.tolist(), pa.string()))
        return replace(catalog, table=table), np.where(code < 0, len(split.parts), code).astype(np.int64)
    if "split" not in catalog.table.column_names:
        return catalog, np.zeros(len(catalog), np.int64)
    values = [str(v) if v is not None else "\uffff" for v in catalog.table["split"].to_pylist()]
    return catalog, np.unique(values, return_inverse=True)[1].astype(np.int64)


def as_parquet(held: Catalog | Split) -> bytes:
    """Return a catalog or a split as the file that `save` writes, with its own folder as the root."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "catalog.parquet"
        # Its root is the store, wherever that is: a path of this machine would be wrong elsewhere.
        here = replace(held if isinstance(held, Catalog) else held.catalog, root=folder)
        try:
            (here if isinstance(held, Catalog) else replace(held, catalog=here)).save(path)
            return path.read_bytes()
        except GeodataError:
            raise
        except OSError as error:
            raise StoreError(
                f"cannot write the catalog below {folder}: {error}; make room there, or set TMPDIR"
            ) from None
