"""Archives that are folders of pictures and lists that say which picture is in which part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from geodata.bands import Band, Bands
from geodata.catalog import Catalog
from geodata.catalog.arrow import text_array
from geodata.errors import CatalogError, NoFilesError
from geodata.spec import DatasetSpec

__all__ = ["RGB", "parts_of", "pictures", "with_size", "with_split"]

RGB = Bands(Band(name[0].upper(), name, unit="display", scale=1 / 255) for name in ("red", "green", "blue"))
"""Of 8-bit pictures: stored numbers times the scale are brightness from 0 to 1, whatever dtype they are read as."""


def pictures(root: Path, pattern: str, *, on_error: str, progress: bool) -> Catalog:
    """Return a row for each picture of three bands below a root whose path matches a pattern; see `Catalog.scan`."""
    return Catalog.scan(root, pattern=pattern, band_names=RGB.names, bands=RGB, on_error=on_error, progress=progress)


def parts_of(
    root: Path, lists: str, spec: DatasetSpec, key: Callable[[str], str] = lambda line: PurePosixPath(line).stem
) -> dict[str, str]:
    """Return {item: part} of the text files that are there, one item a line.

    Parameters
    ----------
    lists : template of their paths, as in `DatasetSpec`
    key : from a line to the key of an item; without it the stem of a path or file name

    Raises
    ------
    CatalogError
        If a file cannot be read, or an item is listed in two parts.
    """
    found: dict[str, str] = {}
    for part in spec.splits:
        path = root / lists.format(part)
        if not path.is_file():
            continue
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise CatalogError(f"{path} is no list of items: {error}") from None
        for item in (key(line.strip()) for line in lines if line.strip()):
            if found.setdefault(item, part) != part:
                raise CatalogError(f"{path} lists {item!r} for {part}, but it is in {found[item]} too")
    return found


def with_split(catalog: Catalog, parts: Mapping[str, str], spec: DatasetSpec, root: Path, *, on_error: str) -> Catalog:
    """Return the catalog with a column ``split``, null for items in no part.

    Raises
    ------
    NoFilesError
        If items are listed that are not there (``on_error="raise"``); ``"skip"`` names them in ``dropped``.
    """
    there = set(catalog.key)
    missing = [item for item in parts if item not in there]
    if missing and on_error == "raise":
        raise NoFilesError(
            f"{spec.title}: {len(missing)} of {len(parts)} items in its lists have no file below {root}, first {missing[0]}; "
            f"the archive is only partly extracted: extract the rest, or take what is there with on_error='skip'. "
            f"Expected:\n{spec.tree}"
        )
    split = text_array([parts.get(key) for key in catalog.key.tolist()])
    table = catalog.table.append_column("split", split)
    return replace(catalog, table=table, dropped=(*catalog.dropped, *missing))


def with_size(catalog: Catalog) -> Catalog:
    """Return the catalog with the size of each picture as columns, which tiles of it keep."""
    height, width = np.asarray(catalog.shape).T
    table = catalog.table.append_column("image_height", [height]).append_column("image_width", [width])
    return replace(catalog, table=table)
