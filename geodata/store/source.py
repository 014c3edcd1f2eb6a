"""What a store is made from: the arrays of a dataset's items, as they are stored."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.bands import Bands
from geodata.catalog import Catalog
from geodata.catalog.paths import fields, filled, resolve
from geodata.dataset import Dataset
from geodata.errors import DtypeError, ReadError, StoreError
from geodata.fields import Field, FieldDataset, ImageField, LooseField, MaskField
from geodata.parts import Part, resolution_name
from geodata.readers.base import Asset, PixelWindow, stored_nodata
from geodata.readers.door import Place, read

__all__ = ["StoredArray", "arrays_of", "fields_to_store"]

GIVEN_BACK = ("all", "nodata", "nan")
"""How validity may be said so that the numbers themselves say it."""


@dataclass(frozen=True)
class StoredArray:
    """One array of a store: the bands of one image or mask that have one resolution, dtype and nodata value.

    Parameters
    ----------
    name : of the array: ``image_10m``
    key : sample key that it is for
    bands : Bands, in channel order
    parts : the files that deliver them
    ratio : side of its pixels in pixels of the items' grid
    dtype : str
        What it is stored as.
    nodata, validity : as in `Asset`
        With ``"mask"`` an array ``<name>_valid`` of the same shape says which values were observed.
    size : columns with its own height and width, if it shares no grid with the item
    absent : (N,) bool, or None
        Rows that lack it.
    """

    name: str
    key: str
    bands: Bands
    parts: tuple[Part, ...]
    ratio: int
    dtype: str
    nodata: float | None
    validity: str
    size: tuple[str, str] | None = None
    absent: NDArray[np.bool_] | None = None

    @property
    def masked(self) -> bool:
        """Whether another array says what was observed."""
        return self.validity not in GIVEN_BACK

    @property
    def fill(self) -> Any:
        """What pixels hold that belong to no row."""
        missing = stored_nodata(self.nodata, self.dtype) if self.validity == "nodata" else None
        return 0 if missing is None else missing.item()

    def cast(self, dtype: str | None) -> StoredArray:
        """Return the array to be stored as another dtype; masks and what is made of whole numbers by name stay as they are.

        Raises
        ------
        StoreError
            If the dtype is not known, or cannot hold the nodata value.
        """
        if dtype is None or not self.key.startswith("image"):
            return self
        try:
            target = np.dtype(dtype)
        except TypeError:
            raise StoreError(f"dtype={dtype!r} is no dtype; give one such as 'float32' or 'uint16'") from None
        if target.kind not in "iuf" or target.itemsize > 8 or target == np.float16:
            raise StoreError(
                f"dtype={dtype!r} is none that images are stored as; give one such as 'float32' or 'uint16'"
            )
        if self.validity == "nan" and target.kind != "f":
            raise StoreError(
                f"{self.name} marks what was not observed by NaN, which {dtype} cannot hold; keep it as {self.dtype}"
            )
        if self.validity == "nodata" and stored_nodata(self.nodata, self.dtype) is not None:
            held = stored_nodata(self.nodata, target)
            if held is None or float(held) != float(stored_nodata(self.nodata, self.dtype)):
                raise StoreError(
                    f"{self.name} has the nodata value {self.nodata}, which {dtype} cannot hold; keep it as {self.dtype}"
                )
        return replace(self, dtype=target.name)

    def sizes(self, catalog: Catalog) -> NDArray[np.int64]:
        """(N, 2) height and width of each row in this array's pixels."""
        if self.size is None:
            return -(-catalog.shape // self.ratio)
        return np.column_stack([catalog.column(name).astype(np.int64) for name in self.size])

    def read(
        self, catalog: Catalog, row: int, window: PixelWindow, out: NDArray[Any], seen: NDArray[np.bool_] | None
    ) -> None:
        """Read a window of a row, in this array's pixels, as stored in its files.

        Parameters
        ----------
        out : (C, h, w), filled
        seen : (C, h, w) bool, filled; None unless `masked`

        Raises
        ------
        ReadError, StaleCatalogError, DtypeError
            As in `geodata.readers.door.read`; values that do not fit the dtype of the array.
        """
        down, across = (0, 0) if self.size is not None else (catalog.origin[row] // self.ratio).tolist()
        r, c, h, w = window
        at = (r + down, c + across, h, w)
        for part in self.parts:
            place = _place(catalog, part.asset, row)
            if seen is None:
                _read(part.asset, place, at, out, part.channels)
                continue
            # Band by band: files may mask each on its own.
            for channel, band, index in zip(part.channels, part.asset.bands, part.asset.indexes, strict=True):
                one = replace(part.asset, bands=Bands([band]), indexes=(index,))
                seen[channel] = _read(one, place, at, out, (channel,))


def _read(
    asset: Asset, place: Place, window: PixelWindow, out: NDArray[Any], channels: tuple[int, ...]
) -> NDArray[np.bool_]:
    first, last = channels[0], channels[-1] + 1
    run = channels == tuple(range(first, last))
    target = out[first:last] if run and out.dtype == np.dtype(asset.dtype) else None
    try:
        raster = read(asset, place, window, target)
    except ReadError as error:
        raise ReadError(f"band {', '.join(asset.bands.names[:3])}: {error}") from error
    if target is None:
        missing = asset.nodata if asset.validity == "nodata" else None
        out[list(channels)] = _fitting(raster.data, out.dtype, place.href, missing)
    return raster.valid


def _fitting(data: NDArray[Any], dtype: np.dtype[Any], href: str, nodata: float | None) -> NDArray[Any]:
    """Return numbers as another dtype.

    Raises
    ------
    DtypeError
        If that changes one, or makes it the nodata value; rounding to fewer digits of a fraction is no change.
    """
    # NumPy calls whole numbers of 64 bits safe in float64, which holds 53 of them.
    long = data.dtype.kind in "iu" and data.dtype.itemsize == 8 and dtype.kind == "f"
    if np.can_cast(data.dtype, dtype, "safe") and not long:
        return data
    with np.errstate(invalid="ignore", over="ignore"):
        cast = data.astype(dtype)
        back = cast.astype(data.dtype)
    fractions = dtype.kind == data.dtype.kind == "f"
    lost = np.isinf(cast) & np.isfinite(data) if fractions else (back != data)
    if not fractions and dtype.kind == "f":
        # What is above all whole numbers of a kind comes back as anything.
        lost |= cast >= float(np.iinfo(data.dtype).max) + 1
    before, after = stored_nodata(nodata, data.dtype), stored_nodata(nodata, dtype)
    if before is not None and after is not None:
        lost |= (cast == after) & (data != before)
    if lost.any():
        raise DtypeError(f"{href}: the value {data[lost][0]} does not fit {dtype.name}; choose a wider dtype")
    return cast


def _place(catalog: Catalog, asset: Asset, row: int) -> Place:
    values = catalog.values(row, _columns(asset))
    texts = [filled(text, values) or "" for text in (asset.href, asset.inside, asset.layout)]
    return Place(resolve(catalog.root, texts[0]), *texts[1:])


def _columns(asset: Asset) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for text in (asset.href, asset.inside, asset.layout) for name in fields(text)))


def fields_to_store(dataset: Dataset) -> tuple[Field, ...]:
    """Return the parts of a dataset's samples, without the suffix of its name.

    Raises
    ------
    StoreError
        If it is no dataset of files, or has transforms.
    """
    if not isinstance(dataset, FieldDataset):
        raise StoreError(
            f"a {type(dataset).__name__} is made of other datasets and cannot be stored as one; convert each of them, and join or "
            "stack the stores: gd.open_store(a) & gd.open_store(b), gd.open_store(a).series()"
        )
    if dataset.transforms is not None:
        raise StoreError(
            "what transforms do is not stored; convert dataset.transformed(None), and give them to the store"
        )
    if dataset.order is not None:
        raise StoreError(
            "the function order= is not stored; convert without it, and give it to the store: open_store(order=)"
        )
    if not len(dataset):
        raise StoreError("the dataset has no items; there is nothing to store")
    return dataset.unnamed


def arrays_of(catalog: Catalog, stored: Sequence[Field]) -> list[StoredArray]:
    """Return the arrays that hold the images and masks of a dataset, in order."""
    found: list[StoredArray] = []
    for field in stored:
        size = field.size if isinstance(field, LooseField) else None
        inner = field.field if isinstance(field, LooseField) else field
        if isinstance(inner, ImageField):
            parts = [p for image in inner.images.values() for p in image.parts]
            found += _grouped(catalog, inner.image_key, inner.bands, parts, size)
        elif isinstance(inner, MaskField):
            found += _grouped(catalog, inner.keys[0], inner.image.bands, inner.image.parts, size)
    names = [a.name for a in found]
    if len(set(names)) < len(names):
        raise StoreError(f"arrays {names} share a name; give the parts of the sample other keys")
    return found


def _grouped(
    catalog: Catalog, key: str, bands: Bands, parts: Sequence[Part], size: tuple[str, str] | None
) -> list[StoredArray]:
    """Put together what can stand in one array."""
    groups: dict[tuple[Any, ...], list[tuple[Asset, NDArray[np.bool_] | None]]] = {}
    for part in parts:
        asset = part.asset
        absent = _absent(catalog, asset)
        pattern = b"" if absent is None else absent.tobytes()
        alike = (asset.ratio, asset.dtype, repr(asset.nodata), asset.validity, asset.bands.state, pattern)
        groups.setdefault(alike, []).append((asset, absent))
    ratios = {ratio for ratio, *_ in groups}
    found: list[StoredArray] = []
    for (ratio, dtype, _, validity, state, _), members in sorted(groups.items(), key=lambda kv: kv[0][0]):
        # By name: what is put together may differ in what is known of a band.
        there = {b.name for a, _ in members for b in a.bands}
        held = Bands([b for b in bands if b.name in there], state)
        name = key if len(ratios) == 1 else key + resolution_name(catalog, ratio)
        taken = [a.name for a in found]
        if name in taken:
            # It is a folder too, and the text of a template.
            name += "_" + re.sub(r"[^\w.-]", "_", held[0].name)
        while name in taken:
            name += "_"
        asset, absent = members[0]
        nodata = asset.nodata
        for band in held:
            if not np.isfinite([band.scale, band.offset, band.wavelength or 0, band.fwhm or 0, band.gsd or 0]).all():
                raise StoreError(
                    f"{band} has numbers that are not finite, which no store can say; mend them in the source"
                )
        if validity == "nodata" and nodata is None:
            raise StoreError(f"{name}: pixels are marked by a nodata value, and there is none; give it, nodata=")
        found.append(
            StoredArray(
                name,
                key,
                held,
                tuple(_part(a, held) for a, _ in members),
                ratio,
                dtype,
                nodata,
                validity if validity in GIVEN_BACK else "mask",
                size,
                absent,
            )
        )
    return found


def _part(asset: Asset, bands: Bands) -> Part:
    """Return which channels of an array an asset delivers."""
    channels = [
        (bands.position(b.name), i, b) for b, i in zip(asset.bands, asset.indexes, strict=True) if b.name in bands
    ]
    channels.sort(key=lambda entry: entry[0])
    own = replace(
        asset, bands=Bands([b for *_, b in channels], asset.bands.state), indexes=tuple(i for _, i, _ in channels)
    )
    return Part(own, tuple(channel for channel, *_ in channels))


def _absent(catalog: Catalog, asset: Asset) -> NDArray[np.bool_] | None:
    """Return (N,) which rows lack a file, None if none does."""
    lacking = np.zeros(len(catalog), dtype=bool)
    for name in _columns(asset):
        column = catalog.table[name]
        if column.null_count:
            lacking |= ~np.asarray(column.is_valid().to_numpy(), dtype=bool)
    return lacking if lacking.any() else None
