"""Putting catalogs together."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from geodata.catalog.arrow import text_array
from geodata.catalog.footprint import Footprints
from geodata.catalog.paths import fields
from geodata.crs import crs_text
from geodata.errors import CatalogError
from geodata.readers.base import Asset

if TYPE_CHECKING:
    from geodata.catalog.catalog import Catalog

__all__ = ["concat"]


def concat(catalogs: Sequence[Catalog], *, reindex: bool) -> Catalog:
    """Put catalogs one after the other; see `Catalog.concat`."""
    first = catalogs[0]
    if any(c.lattice != first.lattice for c in catalogs):
        raise CatalogError("items with pixels and items with a footprint only do not share a catalog")
    _check_bands(catalogs, reindex)
    root = _common_root([c.root for c in catalogs if len(c)] or [first.root])
    if all([(a.kind, a.href) for a in c.assets] == [(a.kind, a.href) for a in first.assets] for c in catalogs):
        assets, tables = first.assets, [_rebased(c, root) for c in catalogs]
    else:
        assets, tables = _side_by_side(catalogs, root)
    try:
        table = pa.concat_tables(tables, promote_options="permissive").combine_chunks()
    except pa.ArrowException as error:
        raise CatalogError(f"columns of one name hold different kinds of values: {error}") from None
    repeated = table.num_rows - pc.count_distinct(table["key"]).as_py()
    if repeated:
        raise CatalogError(
            f"{repeated} keys stand for more than one item after concat; scan with a common root to keep them apart"
        )
    return replace(
        first,
        footprints=_footprints(catalogs),
        origin=np.concatenate([c.origin for c in catalogs]),
        time=np.concatenate([c.time for c in catalogs]),
        table=table,
        assets=assets,
        root=root,
        dataset=first.dataset if all(c.dataset == first.dataset for c in catalogs) else ("", ""),
    )


def _footprints(catalogs: Sequence[Catalog]) -> Footprints:
    by_text = {crs_text(crs): crs for c in catalogs for crs in c.footprints.crs}
    position = {text: i for i, text in enumerate(by_text)}
    codes = [
        np.array([position[crs_text(crs)] for crs in c.footprints.crs], dtype=np.int32)[c.footprints.code]
        for c in catalogs
    ]
    return Footprints(
        np.concatenate([c.affine for c in catalogs]),
        np.concatenate([c.shape for c in catalogs]),
        np.concatenate(codes),
        tuple(by_text.values()),
    )


def _check_bands(catalogs: Sequence[Catalog], reindex: bool) -> None:
    names = [{b for a in c.assets for b in a.bands.names} for c in catalogs]
    lacking = sorted(set().union(*names) - names[0].intersection(*names))
    if lacking and not reindex:
        raise CatalogError(
            f"bands {', '.join(lacking[:8])} are not in every catalog; reindex=True adds them as never observed"
        )


def _side_by_side(catalogs: Sequence[Catalog], root: str) -> tuple[tuple[Asset, ...], list[pa.Table]]:
    """Give every kind of file a path column of its own; a row is null in those that it does not have."""
    slots: list[Asset] = []
    tables = []
    for catalog in catalogs:
        table = _without_paths(catalog)
        used: set[int] = set()
        for asset in catalog.assets:
            slot = next((i for i, s in enumerate(slots) if s.kind == asset.kind and i not in used), len(slots))
            if slot == len(slots):
                slots.append(asset)
            used.add(slot)
            table = table.append_column(f"path_{slot}", text_array(_paths(catalog, asset, root)))
            suffix = asset.href.removeprefix("{path").removesuffix("}")
            for what in ("size", "mtime"):
                if f"{what}{suffix}" in catalog.table.column_names:
                    table = table.append_column(f"{what}_{slot}", catalog.table[f"{what}{suffix}"])
        tables.append(table)
    return tuple(replace(s, href=f"{{path_{i}}}") for i, s in enumerate(slots)), tables


def _without_paths(catalog: Catalog) -> pa.Table:
    drop = set()
    for asset in catalog.assets:
        suffix = asset.href.removeprefix("{path").removesuffix("}")
        drop |= {f"{what}{suffix}" for what in ("path", "size", "mtime")}
    return catalog.table.select([n for n in catalog.table.column_names if n not in drop])


def _paths(catalog: Catalog, asset: Asset, root: str) -> list[str | None]:
    columns = {name: catalog.table[name].to_pylist() for name in fields(asset.href)}
    rows = [{name: column[i] for name, column in columns.items()} for i in range(len(catalog))]
    paths = [None if None in row.values() else asset.href.format(**row) for row in rows]
    prefix = _prefix(catalog, root)
    return [_moved(p, prefix) for p in paths]


def _common_root(roots: Sequence[str]) -> str:
    if len(set(roots)) == 1:
        return roots[0]
    if any("://" in r or not os.path.isabs(r) for r in roots):
        raise CatalogError(f"catalogs below {sorted(set(roots))} have no folder in common; scan them with one root")
    return os.path.commonpath(roots)


def _prefix(catalog: Catalog, root: str) -> str:
    return "" if catalog.root == root else os.path.relpath(catalog.root, root) + "/"


def _moved(path: str | None, prefix: str) -> str | None:
    return path if path is None or "://" in path else prefix + path


def _rebased(catalog: Catalog, root: str) -> pa.Table:
    """The table with its path columns relative to another root."""
    table = catalog.table
    prefix = _prefix(catalog, root)
    if not prefix:
        return table
    for asset in catalog.assets:
        if asset.href != f"{{{''.join(fields(asset.href))}}}":
            raise CatalogError(f"paths built from columns ({asset.href}) need one root for all catalogs put together")
    for name in {n for a in catalog.assets for n in fields(a.href)}:
        moved = [_moved(p, prefix) for p in table[name].to_pylist()]
        table = table.set_column(table.column_names.index(name), name, text_array(moved))
    return table
