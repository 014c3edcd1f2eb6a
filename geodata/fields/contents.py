"""From what a declaration says a sample holds to the fields that read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from geodata.bands import Bands
from geodata.catalog import Catalog
from geodata.errors import BandsError, CatalogError
from geodata.fields import ArrayField, BoxesField, Field, ImageField, LabelField, LooseField, MaskField
from geodata.fields.making import assemblies, target_dtype
from geodata.fields.mask import Codes
from geodata.parts import Part, parts_of, rebased
from geodata.readers.base import Asset
from geodata.spec import Array, Boxes, Content, Image, Label, Mask

__all__ = ["Reading", "assets_read", "chosen_of", "fields_of"]


@dataclass(frozen=True)
class Reading:
    """How images are read: options of `geodata.datasets.archive.Common`."""

    dtype: Any
    native: bool
    resampling: str | None
    ignore: int


def chosen_of(contents: Sequence[Content], keys: Sequence[str] | None, bands: Any) -> list[Content]:
    """Return the contents that are asked for by key; what a choice of bands leaves out goes too.

    Raises
    ------
    CatalogError
        If there is no such key.
    """
    if isinstance(keys, str):
        raise CatalogError(f"keys={keys!r} is one text; give a list of names, for example keys=[{keys!r}]")
    known = [c.key for c in contents]
    wrong = [k for k in keys or () if k not in known]
    if wrong:
        raise CatalogError(f"no key {wrong[0]!r}; a sample of this dataset can hold {', '.join(known)}")
    if keys is not None:
        return [c for c in contents if c.key in keys]
    if bands is None:
        return list(contents)
    return [c for c in contents if not (isinstance(c, Mask) and c.chosen and c.band not in bands)]


def fields_of(
    catalog: Catalog, contents: Sequence[Content], bands: Sequence[str | float] | None, how: Reading
) -> tuple[Catalog, list[Field]]:
    """Return the fields of a sample, and the catalog on the finest grid that they need."""
    chosen = [c for c in contents if isinstance(c, (Image, Mask))]
    wanted = _by_content(catalog, chosen, bands)
    selected: dict[str, tuple[Bands, tuple[Part, ...]]] = {}
    for content in chosen:
        names = wanted.get(content.key) if isinstance(content, Image) else [content.band]
        if names:
            selected[content.key] = parts_of(catalog.assets, names)
    ratios = [p.asset.ratio for c in chosen if c.key in selected and c.size is None for p in selected[c.key][1]]
    finest = min(ratios, default=1)
    catalog = catalog.coarser(finest)
    fields = []
    for each in contents:
        if not isinstance(each, (Image, Mask)):
            fields.append(_other(each))
        elif each.key in selected:
            found, parts = selected[each.key]
            fields.append(_raster(catalog, each, found, rebased(parts, finest if each.size is None else 1), how))
    if not fields:
        raise CatalogError("nothing is left to read; choose more keys or bands")
    return catalog, fields


def assets_read(fields: Sequence[Field]) -> list[Asset]:
    """Return the files of an item that fields read."""
    found = []
    for field in fields:
        inner = field.field if isinstance(field, LooseField) else field
        if isinstance(inner, ImageField):
            found += [part.asset for image in inner.images.values() for part in image.parts]
        elif isinstance(inner, MaskField):
            found += [part.asset for part in inner.image.parts]
    return found


def _by_content(catalog: Catalog, chosen: Sequence[Image | Mask], bands: Any) -> dict[str, list[str]]:
    """Return the names of the bands asked for, by the key of the image that they are in."""
    there = {band.name: band for asset in catalog.assets for band in asset.bands}
    of = {c.key: Bands([there[n] for n in c.bands.names if n in there]) for c in chosen if isinstance(c, Image)}
    if bands is None:
        return {key: list(held.names) for key, held in of.items()}
    if isinstance(bands, str):
        raise BandsError(f"bands={bands!r} is one text; give a list of names, for example bands=[{bands!r}]")
    if not list(bands):
        raise BandsError("bands=[] asks for nothing; leave it out for all bands")
    masks = {c.band for c in chosen if isinstance(c, Mask)}
    found: dict[str, list[str]] = {}
    for band in bands:
        if isinstance(band, str) and band in masks:
            continue
        key, name = _find(of, band)
        found.setdefault(key, []).append(name)
    return found


def _find(of: dict[str, Bands], band: str | float) -> tuple[str, str]:
    for key, held in of.items():
        try:
            return key, held.select([band]).names[0]
        except BandsError:
            continue
    shown = "; ".join(
        f"{key}: {', '.join(held.names[:20])}{'...' if len(held) > 20 else ''}" for key, held in of.items()
    )
    raise BandsError(f"no band {band!r}; there are {shown or 'no images among the keys chosen'}")


def _raster(catalog: Catalog, content: Image | Mask, bands: Bands, parts: tuple[Part, ...], how: Reading) -> Field:
    assets = [p.asset for p in parts]
    field: Field
    if isinstance(content, Image):
        dtype = np.dtype(content.dtype) if content.dtype else target_dtype(how.dtype, assets)
        resampling = how.resampling or content.resampling
        native = how.native and content.size is None
        images = assemblies(catalog, bands, parts, resampling, dtype, native=native, keep=how.dtype is None)
        # What is no image_<name> is called by its key alone: abundance, valid_abundance, bands_abundance.
        named = content.key.startswith("image")
        tail = content.key.removeprefix("image") if named else f"_{content.key}"
        field = ImageField("image" if named else "", tail, bands, images)
    else:
        dtype = target_dtype(None, assets, categorical=True)
        image = assemblies(catalog, bands, parts, content.resampling, dtype)[""]
        names, codes, others = content.classes.names, content.classes.codes, content.classes.unlisted
        listed = {i: i for i in range(len(names))} if codes is None else codes
        table = Codes.of(listed, others=others) if listed or others != "keep" else None
        field = MaskField("mask", content.key.removeprefix("mask"), image, table, names or None, how.ignore)
    return field if content.size is None else LooseField(field.keys[0], "", field, content.size)


def _other(content: Content) -> Field:
    if isinstance(content, Label):
        names = None if content.classes is None else content.classes.names
        return LabelField("label", content.key.removeprefix("label"), content.columns, names)
    if isinstance(content, Boxes) and content.read is not None:
        return BoxesField(
            "boxes", content.key.removeprefix("boxes"), content.read, content.classes.names, content.oriented
        )
    if isinstance(content, Array) and content.load is not None:
        return ArrayField(content.key, "", content.load)
    raise CatalogError(f"{content!r} does not say how it is read")
