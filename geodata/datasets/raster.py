"""Any folder of rasters as a dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.assembly import Assembly
from geodata.bands import Bands
from geodata.catalog import Catalog
from geodata.dataset import Dataset
from geodata.datasets.classes import class_names
from geodata.errors import BandsError, CatalogError, GridError
from geodata.fields import Field, FieldDataset, ImageField, MaskField
from geodata.fields.making import DEFAULT_DTYPE, assemblies, target_dtype
from geodata.fields.mask import Codes
from geodata.parts import parts_of, rebased
from geodata.sample import IGNORE

__all__ = ["RasterDataset"]


class RasterDataset(FieldDataset):
    r"""Rasters in a folder, by a glob, in a list, or in a saved catalog.

    Parameters
    ----------
    paths : folder, glob, file, list of files, saved catalog (``.parquet``), or Catalog
    bands : names, common names or wavelengths in nm, in the order wanted; None takes all
    pattern : regular expression with named groups, as in `geodata.catalog.scan.scan`
        ``band``, ``item`` and ``date`` make one item of one file per band, also at different resolutions.
    categorical : bool
        One band of class numbers: makes ``mask`` instead of ``image``.
    classes : names by value, or {value: name} or {value: (name, "#rrggbb")}
        With ``categorical``. Values that are not listed raise.
    ignore : values of a categorical raster that become ``ignore_index``
    dtype : torch dtype, or None for as stored
        The default is float32 for images; it refuses stored dtypes that float32 cannot hold exactly. Not for masks.
    resampling : {"nearest", "bilinear", "cubic", "cubic_spline", "lanczos", "average", "mode"}
        Bilinear for images, nearest for masks, unless given. Used for coarser bands and for queries off the lattice.
    native : bool
        One image per resolution (``image_10m``, ``image_20m``...) instead of all bands on the finest grid.
    nodata : float or None
        Overrides what the files say.
    sensor : name known to `Bands.of_sensor`, or Bands
        Wavelengths and common names for bands of these names.
    band_names, crs, on_error, progress, resume : as in `geodata.catalog.scan.scan`
    order : callable (catalog, rows) -> rows, or None
        Which item shows on top where several lie under one query. By default items in the query's CRS, then the newest,
        then by key.
    ignore_index : int
    name, transforms : as in `Dataset`

    Examples
    --------
    ``RasterDataset("scenes/", bands=["B02", "B03", "B04"], pattern=r"(?P<date>\d{8})_(?P<band>B\d\w)\.tif$")``
    """

    def __init__(
        self,
        paths: Any,
        *,
        bands: Sequence[str | float] | None = None,
        pattern: str | None = None,
        categorical: bool = False,
        classes: Sequence[str] | Mapping[int, Any] | None = None,
        ignore: Sequence[int] = (),
        dtype: Any = DEFAULT_DTYPE,
        resampling: str | None = None,
        native: bool = False,
        nodata: float | None = None,
        sensor: str | Bands | None = None,
        band_names: Sequence[str] | None = None,
        crs: Any = None,
        on_error: str = "raise",
        progress: Any = True,
        resume: str | Path | None = None,
        order: Callable[[Catalog, NDArray[np.int64]], NDArray[np.int64]] | None = None,
        ignore_index: int = IGNORE,
        name: str = "",
        transforms: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        known = Bands.of_sensor(sensor) if isinstance(sensor, str) else sensor
        if isinstance(paths, Catalog):
            catalog = paths
        elif isinstance(paths, (str, Path)) and str(paths).endswith(".parquet"):
            catalog = Catalog.load(paths)
        else:
            catalog = Catalog.scan(
                paths,
                pattern=pattern,
                band_names=band_names,
                bands=known,
                on_error=on_error,
                only=_named_bands(bands, known),
                crs=crs,
                progress=progress,
                resume=resume,
            )
        if not catalog.assets:
            raise CatalogError("this catalog names no raster files; make one with Catalog.scan or `geodata index`")
        how = resampling or ("nearest" if categorical else "bilinear")
        if categorical and how not in ("nearest", "mode"):
            raise GridError(f"resampling={how!r} would mix class numbers; use 'nearest' or 'mode'")
        selected, parts = parts_of(catalog.assets, bands, nodata)
        if categorical and (len(selected) != 1 or native):
            raise BandsError(
                f"a mask is one band of one resolution, the files have {len(selected)}: {selected.names[:8]}; choose it with bands=[...]"
            )
        finest = min(p.asset.ratio for p in parts)
        catalog = catalog.coarser(finest)
        stored = target_dtype(dtype, [p.asset for p in parts], categorical=categorical)
        images = assemblies(catalog, selected, rebased(parts, finest), how, stored, native=native, keep=dtype is None)
        if categorical:
            names = class_names(classes)
            field: Field = MaskField("mask", "", images[""], _codes(names, ignore), names, ignore_index)
        else:
            field = ImageField("image", "", selected, images)
        super().__init__(catalog, [field], order=order, name=name, transforms=transforms)

    # ------------------------------------------------------------------ putting together

    def union(self, other: Dataset, *, reindex: bool = False) -> Dataset:
        """Return the rows of both datasets, these first.

        Raises
        ------
        CatalogError, BandsError
            If names, dtypes or bands differ; ``reindex=True`` adds bands that one side lacks as never observed.
        """
        if not isinstance(other, RasterDataset) or self.keys[0] != other.keys[0]:
            return super().union(other, reindex=reindex)
        mine, theirs = self._image, other._image
        if mine.dtype != theirs.dtype or "" not in (*self._images, *other._images):
            raise CatalogError("datasets of different dtype, or with native resolutions, cannot be put together")
        if self._options != other._options:
            raise CatalogError(
                f"the two sides are read differently, {self._options} and {other._options}; give both the same options"
            )
        if mine.bands.names != theirs.bands.names and not reindex:
            raise BandsError(
                f"bands {mine.bands.names[:8]} and {theirs.bands.names[:8]} differ; select the same, or union(reindex=True)"
            )
        catalog = self._own_assets().concat(other._own_assets(), reindex=reindex)
        more = [n for n in theirs.bands.names if n not in mine.bands.names]
        bands, parts = parts_of(catalog.assets, [*mine.bands.names, *more])
        image = replace(mine, bands=bands, parts=parts)
        field = self._unnamed[0]
        if isinstance(field, MaskField):
            return self._with(catalog, [replace(field, image=image)])
        return self._with(catalog, [ImageField("image", "", bands, {"": image})])

    @property
    def _images(self) -> Mapping[str, Assembly]:
        field = self._unnamed[0]
        return {"": field.image} if isinstance(field, MaskField) else field.images  # type: ignore[attr-defined]  # there is no third kind here

    @property
    def _image(self) -> Assembly:
        return next(iter(self._images.values()))

    @property
    def _options(self) -> dict[str, Any]:
        """What decides how rows become samples, beside their bands."""
        options: dict[str, Any] = {
            "resampling": self._image.resampling,
            "order": self.order,
            "transforms": self.transforms,
        }
        field = self._unnamed[0]
        if isinstance(field, MaskField):
            options |= {"classes": field.classes, "ignore": field.codes, "ignore_index": field.ignore}
        return options

    def _own_assets(self) -> Catalog:
        """The catalog with just the assets and bands that this dataset reads."""
        return replace(self.catalog, assets=tuple(p.asset for p in self._image.parts))


def _named_bands(wanted: Sequence[str | float] | None, known: Bands | None) -> list[str] | None:
    """Return the names of the bands asked for, as far as they can be told before a file is opened."""
    if not wanted or isinstance(wanted, str):
        return None
    try:
        return list(known.select(wanted).names) if known is not None else [str(n) for n in wanted]
    except BandsError:
        return None


def _codes(names: Sequence[str] | None, ignore: Sequence[int]) -> Codes | None:
    """Return which values are classes: the named ones, or all, but those to be ignored."""
    named = [] if names is None else [value for value, name in enumerate(names) if name]
    table = {value: value for value in named} | {int(value): -1 for value in ignore}
    return Codes.of(table, others="keep" if names is None else "refuse") if table else None
