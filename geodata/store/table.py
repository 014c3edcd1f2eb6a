"""The catalog of a store: the rows of its source, and where each lies in the arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geodata.bands import Bands
from geodata.catalog import Catalog
from geodata.catalog.arrow import number_array
from geodata.errors import StoreError
from geodata.readers.base import Asset
from geodata.store.layout import Laid, Layout

__all__ = ["PLACE", "ROW", "SHARD", "files_columns", "rows_mark", "stored_catalog"]

PLACE = "stored_at"
"""Column: position of a row on the first axis of the arrays."""

ROW = "source_row"
"""Column: number of a row in the source, and in the dataset that `open_store` gives."""


SHARD = "shard"
"""Column: number of the files that a row is in, for ``ItemSampler(store, shuffle=True, chunks="shard")``."""


def files_columns(catalog: Catalog) -> list[str]:
    """Return the columns that say of which size and age the files of a source are: of no interest to a store."""
    ends = [a.href.removeprefix("{path").removesuffix("}") for a in catalog.assets if a.href.startswith("{path")]
    named = [f"{what}{end}" for end in dict.fromkeys(ends) for what in ("size", "mtime")]
    return [name for name in named if name in catalog.table.column_names]


def rows_mark(layout: Layout) -> str:
    """Return what arrays and catalog of one store have in common, and those of another with the same names have not."""
    digest = hashlib.sha256("\n".join(map(str, layout.catalog.key)).encode())
    for numbers in (layout.layer, layout.origin, layout.catalog.affine):
        digest.update(np.ascontiguousarray(numbers).tobytes())
    return digest.hexdigest()[:16]


def stored_catalog(layout: Layout, order: NDArray[np.int64], columns: Mapping[str, pa.Array]) -> Catalog:
    """Return the rows of a layout as a catalog whose files are the arrays of the store.

    Parameters
    ----------
    order : (N,) source row of each
    columns : further ones, of the source in its order

    Raises
    ------
    StoreError
        If a column of the source has the name of one that a store has of its own.
    """
    own = {name: column.take(pa.array(order)) for name, column in columns.items()}
    own |= {PLACE: number_array(layout.layer), ROW: number_array(order.astype(np.int64))}
    own[SHARD] = number_array(layout.layer // layout.samples)
    own |= {name: column for each in layout.arrays if (column := _presence(each)) is not None for name in [_flag(each)]}
    table = layout.catalog.table
    taken = sorted(own.keys() - columns.keys() & set(table.column_names))
    if taken and any(asset.format != "store" for asset in layout.catalog.assets):
        raise StoreError(f"a column is called {taken[0]!r}, as one that a store has of its own; give it another name")
    left = {*own, *files_columns(layout.catalog)}
    table = table.select([name for name in table.column_names if name not in left])
    for name, column in own.items():
        table = table.append_column(name, column)
    mark = rows_mark(layout)
    assets = tuple(replace(asset_of(each), layout=mark) for each in layout.arrays)
    return replace(layout.catalog, table=table, origin=layout.origin, assets=assets, root="")


def asset_of(laid: Laid) -> Asset:
    """Return an array as a file that the rows of the catalog share."""
    array = laid.array
    href = array.name if array.absent is None else f"{{{_flag(laid)}}}"
    indexes = tuple(range(1, len(array.bands) + 1))
    bands = Bands(array.bands, array.bands.state)
    validity, nodata = array.validity, array.nodata
    return Asset(href, bands, indexes, array.ratio, array.dtype, nodata, validity, "store", f"{{{PLACE}}}")


def _flag(laid: Laid) -> str:
    """Return the column that holds the name of an array, or nothing in rows that lack it."""
    return f"has_{laid.array.name}"


def _presence(laid: Laid) -> Any:
    absent = laid.array.absent
    if absent is None:
        return None
    return pa.array([None if gone else laid.array.name for gone in absent.tolist()], pa.string())
