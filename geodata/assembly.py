"""How the files of an item become one image: windows, enlarging, mosaicking, casting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.bands import Band, Bands
from geodata.catalog import Catalog
from geodata.errors import BandsError, DtypeError, GridError
from geodata.grid import Grid
from geodata.query import Window
from geodata.readers.base import Asset, PixelWindow, Raster
from geodata.readers.enlarge import enlarge
from geodata.readers.overviews import averages, read_average
from geodata.readers.raster import read
from geodata.readers.warp import RESAMPLING, warp

__all__ = ["Assembly", "Part", "by_resolution", "parts_of", "rebased"]

Block = tuple[int, int, int, int]
"""First row, first column, end row, end column on an item's reference lattice; the ends are excluded."""


@dataclass(frozen=True, slots=True)
class Part:
    """One asset of an image: its bands go to these channels."""

    asset: Asset
    channels: tuple[int, ...]

    @property
    def run(self) -> bool:
        """Whether the channels are consecutive, so that a file can be read straight into them."""
        return self.channels == tuple(range(self.channels[0], self.channels[0] + len(self.channels)))


@dataclass(frozen=True)
class Assembly:
    """The recipe of one image.

    Parameters
    ----------
    bands : Bands, in channel order
    parts : the assets that deliver them
    ratio : int
        Side of an image pixel in pixels of the items' reference grid; above 1 only for native resolutions.
    resampling : one of `geodata.readers.warp.RESAMPLING`
    dtype : numpy dtype of the image
    fill : what unobserved pixels hold

    Raises
    ------
    GridError
        If coarser bands would have to be enlarged by a method that cannot.
    """

    bands: Bands
    parts: tuple[Part, ...]
    ratio: int
    resampling: str
    dtype: np.dtype[Any]
    fill: float = 0

    def __post_init__(self) -> None:
        if self.resampling not in RESAMPLING:
            raise GridError(f"resampling={self.resampling!r} must be one of {', '.join(RESAMPLING)}")
        coarse = [p.asset for p in self.parts if p.asset.ratio > self.ratio]
        if coarse and self.resampling not in ("nearest", "bilinear"):
            raise GridError(
                f"bands {coarse[0].bands.names[:4]} are coarser than the image and can be enlarged by nearest or bilinear, "
                f"not {self.resampling!r}; or keep resolutions apart with native=True"
            )

    # ------------------------------------------------------------------ a window of one item

    def read_window(
        self,
        catalog: Catalog,
        row: int,
        window: Window,
        image: NDArray[Any],
        valid: NDArray[np.bool_],
        inside: Grid | None = None,
    ) -> None:
        """Fill ``image`` (C, h, w) and ``valid`` (h, w) with a window of one row.

        Outside the row, and outside of ``inside`` (a grid on the row's lattice), nothing is observed.
        """
        r, c, h, w = window
        limits = _limits(catalog, row, inside)
        block = (max(r, limits[0]), max(c, limits[1]), min(r + h, limits[2]), min(c + w, limits[3]))
        if block[2] <= block[0] or block[3] <= block[1]:
            valid[:] = False
            image[:] = self.fill
            return
        within = tuple(
            slice((low - start) // self.ratio, -(-(high - start) // self.ratio))
            for low, high, start in ((block[0], block[2], r), (block[1], block[3], c))
        )
        valid[:] = False
        valid[within] = True
        seen = valid[within]
        present = self._present(catalog, row)
        if present is None:
            seen[:] = False
        for part, href in present or []:
            self._read_part(catalog, row, part, href, block, limits, image[(slice(None), *within)], seen)
        if not valid.all():
            np.copyto(image, self.fill, where=~valid, casting="unsafe")

    def _present(self, catalog: Catalog, row: int) -> list[tuple[Part, str]] | None:
        """Return the files that a row has, or None if together they lack a band."""
        found = [(part, catalog.href(part.asset, row)) for part in self.parts]
        present = [(part, href) for part, href in found if href is not None]
        channels = {c for part, _ in present for c in part.channels}
        return present if len(channels) == len(self.bands) else None

    def _read_part(
        self,
        catalog: Catalog,
        row: int,
        part: Part,
        href: str,
        block: Block,
        limits: Block,
        image: NDArray[Any],
        seen: NDArray[np.bool_],
    ) -> None:
        asset = part.asset
        window, lead = self._file_window(catalog, row, block, limits, asset.ratio)
        grow = asset.ratio // self.ratio
        direct = grow == 1 and part.run and np.can_cast(asset.dtype, image.dtype, "safe")
        channels: Any = slice(part.channels[0], part.channels[-1] + 1) if part.run else list(part.channels)
        out = image[channels] if direct else None
        raster = _read(asset, href, window, out)
        if grow > 1:
            height, width = image.shape[1:]
            raster = enlarge(raster, grow, lead, (height, width), self.resampling)
        if not direct:
            image[channels] = self._cast(raster, href)
        seen &= raster.valid

    def _file_window(
        self, catalog: Catalog, row: int, block: Block, limits: Block, ratio: int
    ) -> tuple[PixelWindow, tuple[int, int]]:
        """Return the pixels of a file that cover a block of a row, and where the block starts in them, in finer pixels.

        For interpolation one more coarse pixel is taken on each side, if it lies within the limits.
        """
        down, across = catalog.origin[row].tolist()
        r0, c0, r1, c1 = block
        reach = ratio if ratio > self.ratio and self.resampling != "nearest" else 0
        top, left = (max(r0 - reach, limits[0]) + down) // ratio, (max(c0 - reach, limits[1]) + across) // ratio
        bottom, right = (
            -(-(min(r1 + reach, limits[2]) + down) // ratio),
            -(-(min(c1 + reach, limits[3]) + across) // ratio),
        )
        return (top, left, bottom - top, right - left), (r0 + down - top * ratio, c0 + across - left * ratio)

    # ------------------------------------------------------------------ any grid

    def read_grid(
        self,
        catalog: Catalog,
        rows: Sequence[int],
        target: Grid,
        image: NDArray[Any],
        valid: NDArray[np.bool_],
        inside: Grid | None = None,
    ) -> None:
        """Fill ``image`` and ``valid`` on any grid from rows in their order: whole pixels come from the first that has them.

        Rows on the same lattice are read as they are, others are warped once. Pixels that do not touch ``inside`` count as
        unobserved.
        """
        first = True
        for row in rows:
            if first:
                self._read_row(catalog, row, target, inside, image, valid)
                first = False
                continue
            if valid.all():
                return
            data, seen = np.empty_like(image), np.empty_like(valid)
            self._read_row(catalog, row, target, inside, data, seen)
            seen &= ~valid
            np.copyto(image, data, where=seen)
            valid |= seen
        if first:
            valid[:] = False
            image[:] = self.fill

    def _read_row(
        self,
        catalog: Catalog,
        row: int,
        target: Grid,
        inside: Grid | None,
        image: NDArray[Any],
        valid: NDArray[np.bool_],
    ) -> None:
        """Fill ``image`` and ``valid`` on any grid from one row."""
        offset = target.offset_in(catalog.grid(row)) if self.ratio == 1 else None
        if offset is not None:
            self.read_window(catalog, row, (*offset, *target.shape), image, valid, inside)
            return
        present = self._present(catalog, row)
        valid[:] = present is not None
        for part, href in present or []:
            self._warp_part(catalog, row, part, href, target, inside, image, valid)
        np.copyto(image, self.fill, where=~valid, casting="unsafe")

    def _warp_part(
        self,
        catalog: Catalog,
        row: int,
        part: Part,
        href: str,
        target: Grid,
        inside: Grid | None,
        image: NDArray[Any],
        seen: NDArray[np.bool_],
    ) -> None:
        asset = part.asset
        limits = _limits(catalog, row, None)
        (top, left, height, width), lead = self._file_window(catalog, row, limits, limits, asset.ratio)
        whole = catalog.grid(row, (-lead[0], -lead[1], height * asset.ratio, width * asset.ratio))
        source = whole.coarser(asset.ratio)

        def fetch(window: PixelWindow, level: int | None) -> Raster:
            r, c, h, w = window
            if level is not None:
                return read_average(href, level, window, asset.indexes, asset.dtype)
            return _read(asset, href, (top + r, left + c, h, w))

        levels = None
        if asset.validity == "all":
            levels = partial(averages, href, source.shape)
        direct = part.run and np.can_cast(asset.dtype, image.dtype, "safe")
        channels: Any = slice(part.channels[0], part.channels[-1] + 1) if part.run else list(part.channels)
        out = image[channels] if direct else np.empty((len(part.channels), *target.shape), dtype=asset.dtype)
        own_nodata = asset.nodata if asset.validity == "nodata" else None
        observed = warp(fetch, source, target, self.resampling, out, nodata=own_nodata, inside=inside, levels=levels)
        if not direct:
            image[channels] = self._cast(Raster(out, observed), href)
        seen &= observed

    def _cast(self, raster: Raster, href: str) -> NDArray[Any]:
        if np.can_cast(raster.data.dtype, self.dtype, "safe"):
            return raster.data
        with np.errstate(invalid="ignore", over="ignore"):
            cast = raster.data.astype(self.dtype)
        before, after = raster.data[:, raster.valid], cast[:, raster.valid]
        if self.dtype.kind == "f":
            lost = np.isinf(after) & np.isfinite(before)
        else:
            lost = before != after.astype(before.dtype)
        if lost.any():
            raise DtypeError(f"{href}: value {before[lost][0]} does not fit {self.dtype.name}; choose a wider dtype")
        return cast


def _limits(catalog: Catalog, row: int, inside: Grid | None) -> Block:
    """Return what of a row may be read, in its own pixels: all of it, or its part within another grid of its lattice."""
    rows, cols = catalog.shape[row].tolist()
    offset = None if inside is None else inside.offset_in(catalog.grid(row))
    if inside is None or offset is None:
        return 0, 0, rows, cols
    r, c = offset
    return max(r, 0), max(c, 0), min(r + inside.height, rows), min(c + inside.width, cols)


def _read(asset: Asset, href: str, window: PixelWindow, out: NDArray[Any] | None = None) -> Raster:
    return read(href, window, asset.indexes, validity=asset.validity, nodata=asset.nodata, dtype=asset.dtype, out=out)


def parts_of(
    assets: Sequence[Asset], wanted: Sequence[str | float] | None, nodata: float | None = None
) -> tuple[Bands, tuple[Part, ...]]:
    """Return the bands in the order wanted, and which asset delivers which channels.

    Raises
    ------
    BandsError
        If a band does not exist or nothing is asked for.
    """
    if isinstance(wanted, str):
        raise BandsError(f"bands={wanted!r} is one text; give a list of names, for example bands=[{wanted!r}]")
    known: dict[str, Band] = {}
    for band in (b for a in assets for b in a.bands):
        known.setdefault(band.name, band)
    every = Bands(known.values())
    chosen = every if wanted is None else every.select(wanted)
    if not len(chosen):
        raise BandsError("bands=[] asks for nothing; leave it out for all bands")
    parts = []
    for asset in assets:
        names = asset.bands.names
        mine = [(channel, names.index(band.name)) for channel, band in enumerate(chosen) if band.name in names]
        if not mine:
            continue
        reduced = replace(
            asset, bands=Bands(asset.bands[i] for _, i in mine), indexes=tuple(asset.indexes[i] for _, i in mine)
        )
        if nodata is not None:
            reduced = replace(reduced, validity="nodata", nodata=float(nodata))
        parts.append(Part(reduced, tuple(channel for channel, _ in mine)))
    return chosen, tuple(parts)


def rebased(parts: Sequence[Part], finest: int) -> tuple[Part, ...]:
    """Parts with ratios to the finest of them."""
    if any(p.asset.ratio % finest for p in parts):
        ratios = sorted({p.asset.ratio for p in parts})
        raise GridError(f"bands of {ratios} reference pixels per pixel share no lattice; ask for a finer band too")
    return tuple(replace(p, asset=replace(p.asset, ratio=p.asset.ratio // finest)) for p in parts)


def by_resolution(
    catalog: Catalog, bands: Bands, parts: Sequence[Part]
) -> dict[str, tuple[Bands, tuple[Part, ...], int]]:
    """Return bands, parts and ratio of one image per resolution, by key suffix."""
    images = {}
    for ratio in sorted({p.asset.ratio for p in parts}):
        mine = [p for p in parts if p.asset.ratio == ratio]
        channels = sorted(c for p in mine for c in p.channels)
        moved = tuple(replace(p, channels=tuple(channels.index(c) for c in p.channels)) for p in mine)
        images[_resolution_name(catalog, ratio)] = Bands(bands[c] for c in channels), moved, ratio
    return images


def _resolution_name(catalog: Catalog, ratio: int) -> str:
    crs = catalog.crs_in_use[0] if len(catalog) else None
    if crs is None or not crs.is_projected:
        return f"_x{ratio}"
    return f"_{np.hypot(catalog.affine[0, 1], catalog.affine[0, 4]) * ratio:g}m"
