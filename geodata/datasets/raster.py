"""Any folder of rasters as a dataset."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geodata.bands import Bands
from geodata.catalog import Catalog
from geodata.dataset import Buffers, Dataset, Slots, Spot
from geodata.datasets.classes import class_names
from geodata.errors import BandsError, CatalogError, DtypeError, GridError
from geodata.grid import Grid
from geodata.readers.base import Asset, PixelWindow, Raster
from geodata.readers.raster import read
from geodata.readers.resample import RESAMPLING, enlarge, source_windows, warp
from geodata.sample import IGNORE

__all__ = ["RasterDataset"]

DEFAULT_DTYPE = object()


@dataclass(frozen=True, slots=True)
class Part:
    """What one asset contributes: its bands, at these channels, of the image with this key suffix."""

    asset: Asset
    channels: tuple[int, ...]
    suffix: str
    ratio: int


class RasterDataset(Dataset):
    """Rasters in a folder, by a glob, in a list, or in a saved catalog.

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
    ``RasterDataset("scenes/", bands=["B02", "B03", "B04"], pattern=r"(?P<date>\\d{8})_(?P<band>B\\d\\w)\\.tif$")``
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
        resume: str | os.PathLike[str] | None = None,
        order: Callable[[Catalog, NDArray[np.int64]], NDArray[np.int64]] | None = None,
        ignore_index: int = IGNORE,
        name: str = "",
        transforms: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        known = Bands.of_sensor(sensor) if isinstance(sensor, str) else sensor
        if isinstance(paths, Catalog):
            catalog = paths
        elif isinstance(paths, (str, os.PathLike)) and str(paths).endswith(".parquet"):
            catalog = Catalog.load(paths)
        else:
            catalog = Catalog.scan(
                paths,
                pattern=pattern,
                band_names=band_names,
                bands=known,
                on_error=on_error,
                crs=crs,
                progress=progress,
                resume=resume,
            )
        if not catalog.assets:
            raise CatalogError("this catalog names no raster files; make one with Catalog.scan or `geodata index`")
        self.categorical = categorical
        self.resampling = _checked_resampling(resampling or ("nearest" if categorical else "bilinear"), categorical)
        self.native, self.order, self.ignore_index = native, order, ignore_index
        self._ignored = np.array(sorted(ignore), dtype=np.int64)
        self._class_names = class_names(classes)
        self.classes_given = classes
        selected, parts = _select(catalog.assets, bands, nodata)
        finest = min(p.ratio for p in parts)
        super().__init__(catalog.coarser(finest), name=name, transforms=transforms)
        self._bands = selected
        self._parts = self._named_parts(parts, finest)
        self.step = _step(self._parts) if native else 1
        self._dtype, self._checked_cast = _target_dtype(dtype, [p.asset for p in self._parts], categorical)
        if categorical and len(selected) != 1:
            raise BandsError(f"a mask is one band, the files have {len(selected)}: {selected.names[:8]}; choose it with bands=[...]")
        if categorical and native:
            raise BandsError("native=True is for images; a mask has one resolution")

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
        tail = f"_{self.name}" if self.name else ""
        if self.categorical:
            return (f"mask{tail}",)
        return tuple(f"{word}{s}" for s in self._suffixes for word in ("image", "valid", "bands"))

    @property
    def _suffixes(self) -> list[str]:
        tail = f"_{self.name}" if self.name else ""
        return [tail + s for s in dict.fromkeys(p.suffix for p in self._parts)]

    def _named_parts(self, parts: list[Part], finest: int) -> list[Part]:
        ratios = [p.ratio // finest for p in parts]
        if any(p.ratio % finest for p in parts):
            raise GridError(f"bands with {sorted({p.ratio for p in parts})} reference pixels per pixel share no lattice; ask for the finest too")
        if not self.native:
            return [replace(p, ratio=r) for p, r in zip(parts, ratios, strict=True)]
        res = float(np.hypot(self.catalog.affine[0, 1], self.catalog.affine[0, 4])) if len(self.catalog) else 1.0
        crs = self.catalog.crs_in_use[0] if len(self.catalog) else None
        named = []
        count: dict[str, int] = {}
        for part, ratio in zip(parts, ratios, strict=True):
            suffix = f"_{res * ratio:g}m" if crs is not None and crs.is_projected else f"_x{ratio}"
            first = count.get(suffix, 0)
            count[suffix] = first + len(part.channels)
            named.append(replace(part, ratio=ratio, suffix=suffix, channels=tuple(range(first, count[suffix]))))
        return named

    def _slots(self, spot: Spot) -> Slots:
        height, width = spot.grid.shape
        tail = f"_{self.name}" if self.name else ""
        if self.categorical:
            return {f"mask{tail}": ((height, width), np.int64)}
        slots: Slots = {}
        for suffix in self._suffixes:
            mine = [p for p in self._parts if tail + p.suffix == suffix]
            ratio = mine[0].ratio if self.native else 1
            if height % ratio or width % ratio:
                raise GridError(f"a grid of {height} x {width} pixels is no multiple of {self.step}, the native ratio of the bands")
            shape = (height // ratio, width // ratio)
            slots[f"image{suffix}"] = ((sum(len(p.channels) for p in mine), *shape), self._dtype)
            slots[f"valid{suffix}"] = (shape, np.bool_)
        return slots

    def _rest(self, spot: Spot) -> dict[str, Any]:
        if self.categorical:
            return {}
        rest: dict[str, Any] = {}
        tail = f"_{self.name}" if self.name else ""
        for suffix in self._suffixes:
            mine = [p for p in self._parts if tail + p.suffix == suffix]
            if self.native:
                names = {c: b for p in mine for c, b in zip(p.channels, p.asset.bands, strict=True)}
                rest[f"bands{suffix}"] = Bands(names[c] for c in sorted(names))
                rest[f"grid{suffix}"] = spot.grid.coarser(mine[0].ratio)
            else:
                rest[f"bands{suffix}"] = self._bands
                if suffix:
                    rest[f"grid{suffix}"] = spot.grid
        return rest

    # ------------------------------------------------------------------ reading

    def _fill(self, spot: Spot, out: Buffers) -> dict[str, Any]:
        for image, valid, parts, ratio in self._targets(out):
            self._fill_window(spot, parts, ratio, image, valid)
        self._finish(out, self.catalog.key[spot.row])
        return self._rest(spot)

    def _fill_on(self, spot: Spot, out: Buffers, rows: NDArray[np.int64] | None = None) -> dict[str, Any]:
        found = self.catalog.search(spot.grid, time=spot.time) if rows is None else rows
        found = self._ordered(found, spot.grid)
        for image, valid, parts, ratio in self._targets(out):
            target = spot.grid if ratio == 1 else spot.grid.coarser(ratio)
            valid[:] = False
            image[:] = self._fill_value
            for row in found.tolist():
                if valid.all():
                    break
                self._paint(row, target, parts, ratio, image, valid)
        self._finish(out, self.catalog.key[found[0]] if len(found) else "")
        return self._rest(spot)

    def _targets(self, out: Buffers) -> list[tuple[NDArray[Any], NDArray[np.bool_], list[Part], int]]:
        """Arrays to read into: image, valid, the parts that make it, and its ratio to the reference grid."""
        tail = f"_{self.name}" if self.name else ""
        if self.categorical:
            mask = out[f"mask{tail}"]
            stored = np.empty((1, *mask.shape), dtype=self._parts[0].asset.dtype)
            out["_stored"], out["_valid"] = stored, np.empty(mask.shape, dtype=bool)
            return [(stored, out["_valid"], self._parts, 1)]
        targets = []
        for suffix in self._suffixes:
            mine = [p for p in self._parts if tail + p.suffix == suffix]
            targets.append((out[f"image{suffix}"], out[f"valid{suffix}"], mine, mine[0].ratio if self.native else 1))
        return targets

    def _finish(self, out: Buffers, key: str) -> None:
        """Turn the stored class numbers into a mask."""
        if not self.categorical:
            return
        stored, valid = out.pop("_stored")[0], out.pop("_valid")
        mask = out[f"mask_{self.name}" if self.name else "mask"]
        with np.errstate(invalid="ignore"):
            mask[:] = stored
        if stored.dtype.kind == "f" and not np.array_equal(mask[valid], stored[valid]):
            raise DtypeError(f"item {key!r}: class numbers are not whole, for example {stored[valid][mask[valid] != stored[valid]][0]}")
        if len(self._ignored):
            valid &= ~np.isin(mask, self._ignored)
        mask[~valid] = self.ignore_index
        if self._class_names is not None:
            found = np.unique(mask[valid])
            unknown = [v for v in found.tolist() if not (0 <= v < len(self._class_names) and self._class_names[v])]
            if unknown:
                raise CatalogError(f"item {key!r}: class {unknown[0]} is not in the table of classes; add it, or list it in ignore=")

    @property
    def _fill_value(self) -> Any:
        if np.dtype(self._dtype).kind == "f":
            return 0
        return next((p.asset.nodata for p in self._parts if p.asset.nodata is not None), 0)

    def _fill_window(self, spot: Spot, parts: list[Part], image_ratio: int, image: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        """Read a window of a row; what lies outside the row is unobserved."""
        r, c, h, w = spot.window  # type: ignore[misc]
        rows, cols = self.catalog.shape[spot.row].tolist()
        r0, c0, r1, c1 = max(r, 0), max(c, 0), min(r + h, rows), min(c + w, cols)
        if r1 <= r0 or c1 <= c0:
            valid[:] = False
            image[:] = self._fill_value
            return
        inside = tuple(slice(v // image_ratio, -(-u // image_ratio)) for v, u in ((r0 - r, r1 - r), (c0 - c, c1 - c)))
        if (r0, c0, r1, c1) == (r, c, r + h, c + w):
            valid[:] = True
        else:
            valid[:] = False
            valid[inside] = True
        seen = valid[inside]
        for part in parts:
            self._fill_part(spot.row, part, (r0, c0, r1, c1), image_ratio, image[(slice(None), *inside)], seen)  # type: ignore[arg-type]
        if not valid.all():
            image[:, ~valid] = self._fill_value

    def _fill_part(
        self,
        row: int,
        part: Part,
        block: tuple[int, int, int, int],
        image_ratio: int,
        image: NDArray[Any],
        seen: NDArray[np.bool_],
    ) -> None:
        """Read one asset's pixels for a block (r0, c0, r1, c1) of a row's reference lattice."""
        asset = part.asset
        href = self.catalog.href(asset, row)
        if href is None:
            seen[:] = False
            return
        window, lead = self._file_window(row, block, part.ratio)
        grow = part.ratio // image_ratio
        direct = grow == 1 and np.can_cast(asset.dtype, image.dtype, "safe") and _is_run(part.channels)
        channels = slice(part.channels[0], part.channels[-1] + 1) if _is_run(part.channels) else list(part.channels)
        raster = read(
            href, window, asset.indexes, validity=asset.validity, nodata=asset.nodata, out=image[channels] if direct else None
        )
        if grow > 1:
            shape = image.shape[1:]
            raster = enlarge(raster, grow, lead, (shape[0], shape[1]), self.resampling)
        if not direct:
            image[channels] = self._cast(raster, image.dtype, href)
        seen &= raster.valid

    def _file_window(
        self, row: int, block: tuple[int, int, int, int], ratio: int
    ) -> tuple[PixelWindow, tuple[int, int]]:
        """Pixels of a file that cover a block of a row, and the offset of the block in them, in finer pixels.

        For enlarging by interpolation one more coarse pixel is taken on each side, if the row has it.
        """
        oy, ox = self.catalog.origin[row].tolist()
        rows, cols = self.catalog.shape[row].tolist()
        r0, c0, r1, c1 = block
        reach = ratio if ratio > 1 and not self.native and self.resampling != "nearest" else 0
        top, left = (max(v - reach, 0) + o for v, o in ((r0, oy), (c0, ox)))
        low, right = (min(v + reach, n) + o for v, n, o in ((r1, rows, oy), (c1, cols, ox)))
        t, f = top // ratio, left // ratio
        b, g = -(-low // ratio), -(-right // ratio)
        return (t, f, b - t, g - f), (r0 + oy - t * ratio, c0 + ox - f * ratio)

    def _paint(
        self, row: int, target: Grid, parts: list[Part], ratio: int, image: NDArray[Any], valid: NDArray[np.bool_]
    ) -> None:
        """Put one row's pixels where nothing is yet."""
        reference = self.catalog.grid(row)
        offset = target.offset_in(reference) if ratio == 1 else None
        data = np.empty_like(image)
        if offset is not None:
            seen = np.empty_like(valid)
            window = (*offset, *target.shape)
            self._fill_window(Spot(target, self.catalog.interval(row), row, window), parts, 1, data, seen)
        else:
            seen = np.ones_like(valid)
            for part in parts:
                self._warp_part(row, part, target, data, seen)
        fresh = seen & ~valid
        image[:, fresh] = data[:, fresh]
        valid |= fresh

    def _warp_part(self, row: int, part: Part, target: Grid, data: NDArray[Any], seen: NDArray[np.bool_]) -> None:
        asset, ratio = part.asset, part.ratio
        href = self.catalog.href(asset, row)
        rows, cols = self.catalog.shape[row].tolist()
        (top, left, height, width), lead = self._file_window(row, (0, 0, rows, cols), ratio)
        corner = self.catalog.grid(row, (-lead[0], -lead[1], height * ratio, width * ratio))
        source = corner.coarser(ratio) if ratio > 1 else corner
        observed = np.zeros_like(seen)
        channels = list(part.channels)
        for r, c, h, w in source_windows(source, target, self.resampling) if href is not None else []:
            raster = read(href, (top + r, left + c, h, w), asset.indexes, validity=asset.validity, nodata=asset.nodata)  # type: ignore[arg-type]
            own = asset.nodata if asset.validity == "nodata" else None
            warped = warp(raster, source.window(r, c, h, w), target, self.resampling, own)
            fresh = warped.valid & ~observed
            values = self._cast(warped, data.dtype, str(href))
            for k, channel in enumerate(channels):
                data[channel][fresh] = values[k][fresh]
            observed |= fresh
        seen &= observed

    def _cast(self, raster: Raster, dtype: Any, href: str) -> NDArray[Any]:
        """Cast to the sample's dtype; where the stored dtype does not fit, compare every observed value."""
        if np.can_cast(raster.data.dtype, dtype, "safe"):
            return raster.data
        with np.errstate(invalid="ignore", over="ignore"):
            cast = raster.data.astype(dtype)
        if self._checked_cast:
            before, after = raster.data[:, raster.valid], cast[:, raster.valid]
            lost = before != after.astype(before.dtype)
            if lost.any():
                raise DtypeError(f"{href}: value {before[lost][0]} does not fit {np.dtype(dtype).name}; choose a wider dtype")
        return cast

    def _ordered(self, rows: NDArray[np.int64], grid: Grid) -> NDArray[np.int64]:
        if len(rows) < 2:
            return rows
        if self.order is not None:
            return np.asarray(self.order(self.catalog, rows), dtype=np.int64)
        own = np.array([self.catalog.footprints.crs[c] is not grid.crs for c in self.catalog.footprints.code[rows]])
        return rows[np.lexsort((self.catalog.key[rows].astype(str), -self.catalog.time[rows, 0], own))]

    # ------------------------------------------------------------------ putting together

    def union(self, other: Dataset, *, reindex: bool = False) -> Dataset:
        """Return the rows of both datasets, these first.

        Raises
        ------
        CatalogError, BandsError
            If names, dtypes or bands differ; ``reindex=True`` adds bands that one side lacks as never observed.
        """
        if not isinstance(other, RasterDataset) or self.keys != other.keys or self.name != other.name:
            return super().union(other, reindex=reindex)
        if self._dtype != other._dtype or self.native or other.native:
            raise CatalogError("datasets of different dtype, or with native resolutions, cannot be put together")
        if self._bands.names != other._bands.names and not reindex:
            raise BandsError(f"bands {self._bands.names[:8]} and {other._bands.names[:8]} differ; select the same, or union(reindex=True)")
        new = copy(self)
        mine = replace(self.catalog, assets=tuple(replace(p.asset, ratio=p.ratio) for p in self._parts))
        theirs = replace(other.catalog, assets=tuple(replace(p.asset, ratio=p.ratio) for p in other._parts))
        new.catalog = mine.concat(theirs, reindex=reindex)
        names = [b.name for a in new.catalog.assets for b in a.bands]
        wanted = [n for n in self._bands.names] + [n for n in names if n not in self._bands.names]
        new._bands, parts = _select(new.catalog.assets, wanted, None)
        new._parts = new._named_parts(parts, 1)
        return new


def _select(assets: Sequence[Asset], wanted: Sequence[str | float] | None, nodata: float | None) -> tuple[Bands, list[Part]]:
    """Return the bands in the order wanted, and which asset delivers which channels."""
    if isinstance(wanted, str):
        raise BandsError(f"bands={wanted!r} is one text; give a list of names, for example bands=[{wanted!r}]")
    every = Bands(b for a in assets for b in a.bands)
    chosen = every if wanted is None else every.select(wanted)
    if not len(chosen):
        raise BandsError("bands=[] asks for nothing; leave it out for all bands")
    parts = []
    for asset in assets:
        mine = [(channel, asset.bands.position(b.name)) for channel, b in enumerate(chosen) if b.name in asset.bands.names]
        if not mine:
            continue
        reduced = replace(
            asset,
            bands=Bands(asset.bands[i] for _, i in mine),
            indexes=tuple(asset.indexes[i] for _, i in mine),
        )
        if nodata is not None:
            reduced = replace(reduced, validity="nodata", nodata=float(nodata))
        parts.append(Part(reduced, tuple(channel for channel, _ in mine), "", asset.ratio))
    return chosen, parts


def _target_dtype(asked: Any, assets: Sequence[Asset], categorical: bool) -> tuple[Any, bool]:
    """Return the numpy dtype of the sample, and whether every cast value must be compared."""
    stored = sorted({a.dtype for a in assets})
    if categorical:
        return np.dtype(stored[0]), False
    if asked is None:
        if len(stored) > 1:
            raise DtypeError(f"bands are stored as {', '.join(stored)}; dtype=None needs one stored dtype, choose dtype= or bands=")
        return np.dtype(stored[0]), False
    chosen = torch.float32 if asked is DEFAULT_DTYPE else asked
    if not isinstance(chosen, torch.dtype):
        raise DtypeError(f"dtype={chosen!r} must be a torch dtype, or None for as stored")
    try:
        target = torch.empty(0, dtype=chosen).numpy().dtype
    except TypeError:
        raise DtypeError(f"dtype={chosen} cannot be read into; read float32 and cast the batch") from None
    if asked is DEFAULT_DTYPE:
        unfit = [d for d in stored if not np.can_cast(d, target, "safe")]
        if unfit:
            raise DtypeError(f"stored {unfit[0]} does not fit float32 exactly; say dtype=torch.float64, dtype=torch.float32 or dtype=None")
    return target, target.kind in "iub"


def _checked_resampling(how: str, categorical: bool) -> str:
    if how not in RESAMPLING:
        raise GridError(f"resampling={how!r} must be one of {', '.join(RESAMPLING)}")
    if categorical and how not in ("nearest", "mode"):
        raise GridError(f"resampling={how!r} would mix class numbers; use 'nearest' or 'mode'")
    return how


def _is_run(channels: Sequence[int]) -> bool:
    return channels[-1] - channels[0] == len(channels) - 1 and list(channels) == sorted(channels)


def _step(parts: Sequence[Part]) -> int:
    return int(np.lcm.reduce([p.ratio for p in parts]))
