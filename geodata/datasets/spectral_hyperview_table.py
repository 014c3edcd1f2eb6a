"""The arrays and tables of HyperView."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from geodata.bands import Bands
from geodata.catalog import Catalog
from geodata.datasets.lists import with_split
from geodata.errors import CatalogError, DtypeError
from geodata.readers.arrays import extent_of
from geodata.readers.base import Asset
from geodata.spec import DatasetSpec

__all__ = ["BANDS", "TARGETS", "catalog"]

TARGETS = ("P", "K", "Mg", "pH")
BANDS = Bands(f"B{i:03d}" for i in range(1, 151))


def catalog(root: Path, spec: DatasetSpec, lists: str, *, on_error: str) -> Catalog:
    """Make the catalog from the sizes of all arrays and the tables of labels.

    Raises
    ------
    CatalogError, NoFilesError
        If there are no arrays, a table is none, or names what is not there.
    DtypeError, ReadError
        If arrays cannot be read, or differ in bands or dtype.
    """
    paths = sorted((p for p in (root / "images").glob("*.npz") if p.stem.isdecimal()), key=lambda p: int(p.stem))
    if not paths:
        raise CatalogError(f"{root / 'images'} holds no <number>.npz")
    sizes = [extent_of(str(path), "data", "c h w", format="array") for path in paths]
    for path, (size, dtype) in zip(paths, sizes, strict=True):
        if size[0] != len(BANDS) or dtype != sizes[0][1]:
            raise DtypeError(
                f"{path} holds {size[0]} bands of {dtype}; wanted {len(BANDS)} of {sizes[0][1]} as in {paths[0].name}"
            )
    labels, parts = _labels(root, lists, spec)
    keys = [path.stem for path in paths]
    found = Catalog.from_columns(
        key=keys,
        affine=np.tile([1.0, 0, 0, 0, 1, 0], (len(keys), 1)),
        shape=np.array([size[1:] for size, _ in sizes]),
        crs=None,
        columns={name: [labels.get(key, {}).get(name) for key in keys] for name in TARGETS},
        assets=_assets(sizes[0][1]),
    )
    return with_split(found, parts, spec, root, on_error=on_error)


def _assets(dtype: str) -> list[Asset]:
    """Return the two arrays of a file; the mask is the same in each band."""
    href, layout = "images/{key}.npz", "c h w"
    cube = Asset(href, BANDS, tuple(range(1, 151)), dtype=dtype, format="array", inside="data", layout=layout)
    return [cube, Asset(href, Bands(["outside"]), (1,), dtype="uint8", format="array", inside="mask", layout=layout)]


def _labels(root: Path, lists: str, spec: DatasetSpec) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Return {key: {target: value}} and {key: part} from the tables that are there."""
    labels: dict[str, dict[str, float]] = {}
    parts: dict[str, str] = {}
    for part in spec.splits:
        path = root / lists.format(part)
        if not path.is_file():
            continue
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                rows = {
                    str(int(row["sample_index"])): {name: float(row[name]) for name in TARGETS}
                    for row in csv.DictReader(file)
                }
        except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
            raise CatalogError(
                f"{path} is no table with the columns sample_index, {', '.join(TARGETS)}: {error!r}"
            ) from None
        twice = sorted(set(rows) & set(labels))
        if twice:
            raise CatalogError(f"{path} lists {twice[0]} for {part}, but {parts[twice[0]]}.csv lists it too")
        labels |= rows
        parts |= dict.fromkeys(rows, part)
    return labels, parts
