"""Any folder of rasters as a dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geodata.assembly import Assembly, by_resolution, parts_of, rebased
from geodata.bands import Bands
from geodata.catalog import Catalog
from geodata.crs import same_crs
from geodata.dataset import Dataset
from geodata.datasets.classes import class_names
from geodata.errors import BandsError, CatalogError, DtypeError, GridError
from geodata.grid import Grid
from geodata.readers.base import Asset, stored_nodata
from geodata.sample import IGNORE
from geodata.spot import Buffers, Slots, Spot

__all__ = ["RasterDataset"]

DEFAULT_DTYPE = object()


class RasterDataset(Dataset):
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
        self.categorical, self.native, self.order, self.ignore_index = categorical, native, order, ignore_index
        self._ignored = np.array(sorted(ignore), dtype=np.int64)
        self._class_names = class_names(classes)
        selected, parts = parts_of(catalog.assets, bands, nodata)
        if categorical and (len(selected) != 1 or native):
            raise BandsError(
                f"a mask is one band of one resolution, the files have {len(selected)}: {selected.names[:8]}; choose it with bands=[...]"
            )
        finest = min(p.asset.ratio for p in parts)
        super().__init__(catalog.coarser(finest), name=name, transforms=transforms)
        self._dtype = _target_dtype(dtype, [p.asset for p in parts], categorical)
        self._bands = selected
        held = [stored_nodata(p.asset.nodata, self._dtype) for p in parts] if dtype is None else []
        fill = next((value for value in held if value is not None), 0)
        parts = rebased(parts, finest)
        groups = by_resolution(self.catalog, selected, parts) if native else {"": (selected, parts, 1)}
        self._images = {s: Assembly(b, p, ratio, how, self._dtype, fill) for s, (b, p, ratio) in groups.items()}
        self.step = int(np.lcm.reduce([image.ratio for image in self._images.values()]))
        if (self.catalog.origin % self.step).any() or (native and (self.catalog.shape % self.step).any()):
            raise GridError(
                f"these tiles do not start and end on multiples of {self.step}, the native ratio of the bands; tile with such a size"
            )

    # ------------------------------------------------------------------ what it makes

    @property
    def bands(self) -> Bands | None:
        """Bands of the image in order; None for a mask."""
        return None if self.categorical else self._bands

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Class names by value."""
        return self._class_names

    @property
    def keys(self) -> tuple[str, ...]:
        """Sample keys."""
        if self.categorical:
            return (f"mask{self._tail}",)
        return tuple(f"{word}{self._tail}{s}" for s in self._images for word in ("image", "valid", "bands"))

    @property
    def _tail(self) -> str:
        return f"_{self.name}" if self.name else ""

    def _slots(self, spot: Spot) -> Slots:
        height, width = spot.grid.shape
        if self.categorical:
            return {f"mask{self._tail}": ((height, width), np.int64)}
        if height % self.step or width % self.step:
            raise GridError(
                f"a grid of {height} x {width} pixels is no multiple of {self.step}, the native ratio of the bands"
            )
        slots: Slots = {}
        for suffix, image in self._images.items():
            shape = (height // image.ratio, width // image.ratio)
            slots[f"image{self._tail}{suffix}"] = ((len(image.bands), *shape), image.dtype)
            slots[f"valid{self._tail}{suffix}"] = (shape, np.bool_)
        return slots

    # ------------------------------------------------------------------ reading

    def _fill(self, spot: Spot, out: Buffers) -> dict[str, Any]:
        row, window = spot.row, spot.window
        if row is None or window is None:
            raise GridError("a window of a row is needed here")
        for image, data, valid in self._targets(out):
            image.read_window(self.catalog, row, window, data, valid, spot.inside)
        return self._rest(spot, out, self.catalog.key[row])

    def _fill_on(self, spot: Spot, out: Buffers, rows: NDArray[np.int64] | None = None) -> dict[str, Any]:
        found = self.catalog.search(spot.grid, time=spot.time) if rows is None else rows
        found = self._ordered(found, spot.grid)
        for image, data, valid in self._targets(out):
            target = spot.grid if image.ratio == 1 else spot.grid.coarser(image.ratio)
            image.read_grid(self.catalog, found.tolist(), target, data, valid, spot.inside)
        top = self.catalog.key[found[0]] if len(found) else ""
        return {"key": top, **self._rest(spot, out, top)}

    def _targets(self, out: Buffers) -> Iterator[tuple[Assembly, NDArray[Any], NDArray[np.bool_]]]:
        """Images and the arrays to read them into. Stored class numbers wait beside the mask until `_rest`."""
        if self.categorical:
            shape = out[f"mask{self._tail}"].shape
            out["_stored"], out["_seen"] = np.empty((1, *shape), self._dtype), np.empty(shape, np.bool_)
            yield self._images[""], out["_stored"], out["_seen"]
            return
        for suffix, image in self._images.items():
            yield image, out[f"image{self._tail}{suffix}"], out[f"valid{self._tail}{suffix}"]

    def _rest(self, spot: Spot, out: Buffers, key: str) -> dict[str, Any]:
        if self.categorical:
            self._fill_mask(out[f"mask{self._tail}"], out.pop("_stored")[0], out.pop("_seen"), key)
            return {}
        rest: dict[str, Any] = {}
        for suffix, image in self._images.items():
            tail = self._tail + suffix
            rest[f"bands{tail}"] = image.bands
            if tail:
                rest[f"grid{tail}"] = spot.grid if image.ratio == 1 else spot.grid.coarser(image.ratio)
        return rest

    def _fill_mask(self, mask: NDArray[np.int64], stored: NDArray[Any], seen: NDArray[np.bool_], key: str) -> None:
        """Turn stored class numbers into a mask, or say which of them is no class."""
        with np.errstate(invalid="ignore"):
            mask[:] = stored
        broken = seen & (mask != stored)
        if broken.any():
            raise DtypeError(f"item {key!r}: class numbers must be whole, got {stored[broken][0]}")
        if len(self._ignored):
            seen &= ~np.isin(mask, self._ignored)
        mask[~seen] = self.ignore_index
        if self._class_names is None:
            return
        named = [v for v, name in enumerate(self._class_names) if name]
        unknown = seen & ~np.isin(mask, named)
        if unknown.any():
            raise CatalogError(
                f"item {key!r}: class {mask[unknown][0]} is not in the table of classes; add it, or list it in ignore="
            )

    def _ordered(self, rows: NDArray[np.int64], grid: Grid) -> NDArray[np.int64]:
        if len(rows) < 2:
            return rows
        if self.order is not None:
            return np.asarray(self.order(self.catalog, rows), dtype=np.int64)
        foreign = np.array([not same_crs(c, grid.crs) for c in self.catalog.footprints.crs])[
            self.catalog.footprints.code[rows]
        ]
        return rows[np.lexsort((self.catalog.key[rows].astype(str), -self.catalog.time[rows, 0], foreign))]

    # ------------------------------------------------------------------ putting together

    def union(self, other: Dataset, *, reindex: bool = False) -> Dataset:
        """Return the rows of both datasets, these first.

        Raises
        ------
        CatalogError, BandsError
            If names, dtypes or bands differ; ``reindex=True`` adds bands that one side lacks as never observed.
        """
        if not isinstance(other, RasterDataset) or self.categorical != other.categorical or self.name != other.name:
            return super().union(other, reindex=reindex)
        if self._dtype != other._dtype or self.native or other.native:
            raise CatalogError("datasets of different dtype, or with native resolutions, cannot be put together")
        mine, theirs = self._options, other._options
        if mine != theirs:
            raise CatalogError(f"the two sides are read differently, {mine} and {theirs}; give both the same options")
        if self._bands.names != other._bands.names and not reindex:
            raise BandsError(
                f"bands {self._bands.names[:8]} and {other._bands.names[:8]} differ; select the same, or union(reindex=True)"
            )
        new = copy(self)
        new.catalog = self._own_assets().concat(other._own_assets(), reindex=reindex)
        more = [n for n in other._bands.names if n not in self._bands.names]
        new._bands, parts = parts_of(new.catalog.assets, [*self._bands.names, *more])
        new._images = {"": replace(self._images[""], bands=new._bands, parts=parts)}
        return new

    @property
    def _options(self) -> dict[str, Any]:
        """What decides how rows become samples, beside their bands."""
        options: dict[str, Any] = {
            "resampling": self._images[""].resampling,
            "order": self.order,
            "transforms": self.transforms,
        }
        if self.categorical:
            options |= {
                "classes": self._class_names,
                "ignore": self._ignored.tolist(),
                "ignore_index": self.ignore_index,
            }
        return options

    def _own_assets(self) -> Catalog:
        """The catalog with just the assets and bands that this dataset reads."""
        return replace(self.catalog, assets=tuple(p.asset for p in self._images[""].parts))


def _named_bands(wanted: Sequence[str | float] | None, known: Bands | None) -> list[str] | None:
    """Return the names of the bands asked for, as far as they can be told before a file is opened."""
    if not wanted or isinstance(wanted, str):
        return None
    try:
        return list(known.select(wanted).names) if known is not None else [str(n) for n in wanted]
    except BandsError:
        return None


def _target_dtype(asked: Any, assets: Sequence[Asset], categorical: bool) -> np.dtype[Any]:
    """Return the numpy dtype to read into."""
    stored = sorted({a.dtype for a in assets})
    if categorical:
        if asked not in (DEFAULT_DTYPE, None, torch.int64):
            raise DtypeError(f"dtype={asked} does not apply to a mask, which is int64; leave it out")
        return np.dtype(stored[0])
    if asked is None:
        if len(stored) > 1:
            raise DtypeError(
                f"bands are stored as {', '.join(stored)}; dtype=None needs one stored dtype, choose dtype= or bands="
            )
        return np.dtype(stored[0])
    chosen = torch.float32 if asked is DEFAULT_DTYPE else asked
    if not isinstance(chosen, torch.dtype):
        raise DtypeError(f"dtype={chosen!r} must be a torch dtype, or None for as stored")
    try:
        target: np.dtype[Any] = torch.empty(0, dtype=chosen).numpy().dtype
    except TypeError:
        raise DtypeError(f"dtype={chosen} cannot be read into; read float32 and cast the batch") from None
    unfit = [d for d in stored if not np.can_cast(d, target, "safe")]
    if asked is DEFAULT_DTYPE and unfit:
        raise DtypeError(
            f"stored {unfit[0]} does not fit float32 exactly; say dtype=torch.float64, dtype=torch.float32 or dtype=None"
        )
    return target
