"""What a sample of a store holds, as plain data, and the columns that hold what is no array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geodata.bands import Bands
from geodata.catalog import Catalog
from geodata.dataset import Dataset
from geodata.errors import StoreError
from geodata.fields import ArrayField, BoxesField, Field, ImageField, LabelField, LooseField, MaskField
from geodata.fields.boxes import Objects
from geodata.spec import Array, Boxes, Classes, Content, Image, Label, Mask

__all__ = ["checked_stats", "columns_of", "contents_of", "from_plain", "to_plain"]


def contents_of(dataset: Dataset, stored: Sequence[Field]) -> list[Content]:
    """Return what a dataset's samples hold, as its fields say it, and its declaration if it has one."""
    declared = {c.key: c for c in getattr(getattr(dataset, "spec", dataset), "contents", ())}
    return [_content(field, declared) for field in stored]


def _content(field: Field, declared: Mapping[str, Content], size: tuple[str, str] | None = None) -> Content:
    if isinstance(field, LooseField):
        return _content(field.field, declared, field.size)
    if isinstance(field, ImageField):
        key = field.image_key
        of_file = key.startswith("image")
        image = next(iter(field.images.values()))
        bands = field.bands.with_state(image.bands.state)
        dtype = None if of_file else image.dtype.name
        return Image(key, about=_about(declared, key), bands=bands, resampling=image.resampling, size=size, dtype=dtype)
    key = field.keys[0]
    known = declared.get(key)
    if isinstance(field, MaskField):
        (band,) = field.image.bands.names
        chosen = isinstance(known, Mask) and known.chosen
        about = _about(declared, key)
        return Mask(
            key, about=about, band=band, classes=_classes(field, known), size=size, chosen=chosen,
            resampling=field.image.resampling,
        )  # fmt: skip
    if isinstance(field, LabelField):
        names = None if field.classes is None else Classes(field.classes)
        return Label(key, about=_about(declared, key), columns=field.columns, classes=names)
    if isinstance(field, BoxesField):
        return Boxes(key, about=_about(declared, key), classes=Classes(field.classes), oriented=field.oriented)
    if isinstance(field, ArrayField):
        return Array(key, about=_about(declared, key))
    raise StoreError(f"{key} is of a kind that cannot be stored: {type(field).__name__}; leave it out with keys=")


def _about(declared: Mapping[str, Content], key: str) -> str:
    return declared[key].about if key in declared else ""


def _classes(field: MaskField, known: Content | None) -> Classes:
    names, codes = field.classes or (), field.codes
    if codes is None:
        return Classes(names, unlisted="keep")
    table = dict(zip(codes.stored.tolist(), codes.classes.tolist(), strict=True))
    colours: tuple[str, ...] = ()
    if isinstance(known, Mask) and known.classes.colours and sorted(known.classes.names) == sorted(names):
        colours = known.classes.ordered(names).colours
    return Classes(names, colours, table, unlisted=codes.others)


# ---------------------------------------------------------------------- as plain data


def checked_stats(
    stats: Mapping[str, Mapping[str, float]] | None, contents: Sequence[Content]
) -> Mapping[str, Mapping[str, float]]:
    """Return statistics of bands, none for None.

    Raises
    ------
    StoreError
        If they are not ``{"mean": {band: float}, "std": {band: float}}`` of bands that are stored.
    """
    if stats is None:
        return {}
    known = {name for c in contents if isinstance(c, Image) for name in c.bands.names}
    if set(stats) != {"mean", "std"} or not all(isinstance(v, Mapping) and set(v) <= known for v in stats.values()):
        raise StoreError(
            f"stats must be {{'mean': {{band: number}}, 'std': {{band: number}}}} of the bands {', '.join(sorted(known)[:20])}"
        )
    return stats


def to_plain(contents: Sequence[Content]) -> list[dict[str, Any]]:
    """Return plain data for JSON; `from_plain` takes it back."""
    return [_plain(c) for c in contents]


def _plain(content: Content) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": type(content).__name__.lower(), "key": content.key, "about": content.about}
    if isinstance(content, (Image, Mask)):
        found |= {"resampling": content.resampling, "size": content.size}
    if isinstance(content, Image):
        found |= {"bands": content.bands.to_dict(), "dtype": content.dtype}
    if isinstance(content, Mask):
        found |= {"band": content.band, "chosen": content.chosen}
    if isinstance(content, Label):
        found["columns"] = content.columns
    if isinstance(content, Boxes):
        found["oriented"] = content.oriented
    if isinstance(content, (Mask, Label, Boxes)) and content.classes is not None:
        found["classes"] = _plain_classes(content.classes)
    return found


def _plain_classes(classes: Classes) -> dict[str, Any]:
    codes = None if classes.codes is None else [[int(k), int(v)] for k, v in classes.codes.items()]
    return {"names": classes.names, "colours": classes.colours, "codes": codes, "unlisted": classes.unlisted}


def from_plain(data: Sequence[Mapping[str, Any]]) -> list[Content]:
    """Take back what `to_plain` gave.

    Raises
    ------
    StoreError
        If it is anything else.
    """
    try:
        return [_from(dict(entry)) for entry in data]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"what the store says of its samples is damaged: {error!r}") from None


def _from(entry: dict[str, Any]) -> Content:
    kind, key, about = entry["kind"], str(entry["key"]), str(entry["about"])
    given = entry.get("classes")
    classes = None if given is None else _classes_from(given)
    height, width = entry.get("size") or ("", "")
    size = (str(height), str(width)) if height else None
    if kind == "image":
        bands = Bands.from_dict(entry["bands"])
        return Image(key, about=about, bands=bands, resampling=entry["resampling"], size=size, dtype=entry["dtype"])
    if kind == "mask":
        return Mask(
            key, about=about, band=entry["band"], classes=classes or Classes(()), size=size, chosen=entry["chosen"],
            resampling=entry["resampling"],
        )  # fmt: skip
    if kind == "label":
        return Label(key, about=about, columns=tuple(entry["columns"]), classes=classes)
    if kind == "boxes":
        read = partial(_stored_objects, key)
        return Boxes(key, about=about, read=read, classes=classes or Classes(()), oriented=entry["oriented"])
    if kind == "array":
        return Array(key, about=about, load=partial(_stored_array, key))
    raise ValueError(f"a part of the sample is of kind {kind!r}")


def _classes_from(data: Mapping[str, Any]) -> Classes:
    codes = None if data["codes"] is None else {int(k): int(v) for k, v in data["codes"]}
    return Classes(tuple(data["names"]), tuple(data["colours"]), codes, unlisted=data["unlisted"])


# ---------------------------------------------------------------------- list columns


def columns_of(catalog: Catalog, stored: Sequence[Field]) -> dict[str, pa.Array]:
    """Return the columns that hold boxes and arrays of whole items.

    Boxes: ``<key>_points``, lists of float32 x and y in pixels of the item, 4 or 8 for each object; ``<key>_names``, lists
    of text. Arrays: ``<key>``, lists of float64, and ``<key>_shape``.
    """
    found: dict[str, pa.Array] = {}
    for field in stored:
        key = field.keys[0]
        if isinstance(field, BoxesField):
            found |= _object_columns(catalog, key, field)
        elif isinstance(field, ArrayField):
            values = [np.asarray(field.load(catalog, row)) for row in range(len(catalog))]
            _check_exact(key, values)
            found[key] = pa.array([v.astype(np.float64).ravel().tolist() for v in values], pa.list_(pa.float64()))
            found[f"{key}_shape"] = pa.array([list(v.shape) for v in values], pa.list_(pa.int64()))
            found[f"{key}_dtype"] = pa.array([v.dtype.name for v in values], pa.string())
    return found


def _object_columns(catalog: Catalog, key: str, field: BoxesField) -> dict[str, pa.Array]:
    points, names = [], []
    for row in range(len(catalog)):
        found, classes = field.read(catalog, row)
        # A tile is a part of the image that its annotations speak of; in the store it begins at its own first pixel.
        down, across = catalog.origin[row].tolist()
        moved = np.asarray(found, np.float32).reshape(-1, 2) - np.array([across, down], np.float32)
        points.append(moved.ravel().tolist())
        names.append(list(classes))
    return {
        f"{key}_points": pa.array(points, pa.list_(pa.float32())),
        f"{key}_names": pa.array(names, pa.list_(pa.string())),
    }


def _check_exact(key: str, values: Sequence[NDArray[Any]]) -> None:
    for value in values:
        if value.dtype.kind in "iu" and value.size and np.abs(value.astype(np.float64)).max() > 2**53:
            raise StoreError(f"{key} holds whole numbers above 2**53, which a column of float64 cannot; leave it out")


def _stored_objects(key: str, catalog: Catalog, row: int) -> Objects:
    points = np.array(catalog.table[f"{key}_points"][row].as_py(), dtype=np.float32)
    names = catalog.table[f"{key}_names"][row].as_py()
    return points.reshape(len(names), -1, 2) if names else np.empty((0, 4, 2), np.float32), names


def _stored_array(key: str, catalog: Catalog, row: int) -> NDArray[Any]:
    values = catalog.table[key][row].as_py()
    shape, dtype = catalog.table[f"{key}_shape"][row].as_py(), catalog.table[f"{key}_dtype"][row].as_py()
    return np.array(values, dtype=np.float64).reshape(shape).astype(dtype)
