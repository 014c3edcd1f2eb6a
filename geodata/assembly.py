"""How the files of an item become one image: windows, enlarging, mosaicking, casting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.bands import Bands
from geodata.catalog import Catalog
from geodata.catalog.paths import fields, filled, resolve
from geodata.errors import DtypeError, GridError, ReadError
from geodata.grid import Grid
from geodata.parts import Part
from geodata.query import Window
from geodata.readers.base import Asset, PixelWindow, Raster
from geodata.readers.door import Place, read
from geodata.readers.enlarge import enlarge
from geodata.readers.overviews import averages, read_average
from geodata.readers.warp import RESAMPLING, warp

__all__ = ["Assembly", "place_of"]

Block = tuple[int, int, int, int]
"""First row, first column, end row, end column on an item's reference lattice; the ends are excluded."""


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
        for parts in self._by_ratio(present or []):
            self._read_parts(catalog, row, parts, block, limits, image[(slice(None), *within)], seen)
        if not valid.all():
            np.copyto(image, self.fill, where=~valid, casting="unsafe")

    def _present(self, catalog: Catalog, row: int) -> list[tuple[Part, Place]] | None:
        """Return the files that a row has, or None if together they lack a band."""
        values = catalog.values(row, self.columns)
        found = [(part, place_of(catalog, part.asset, values)) for part in self.parts]
        present = [(part, place) for part, place in found if place is not None]
        channels = {c for part, _ in present for c in part.channels}
        return present if len(channels) == len(self.bands) else None

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns that the paths of its files are made of."""
        texts = (t for p in self.parts for t in (p.asset.href, p.asset.inside, p.asset.layout))
        return tuple(dict.fromkeys(name for text in texts for name in fields(text)))

    def _by_ratio(self, present: Sequence[tuple[Part, Place]]) -> list[list[tuple[Part, Place]]]:
        """Files of coarser pixels, those of one size together, and each file that needs no enlarging alone."""
        groups: dict[Any, list[tuple[Part, Place]]] = {}
        for i, (part, place) in enumerate(present):
            ratio = part.asset.ratio
            groups.setdefault((ratio, part.asset.dtype) if ratio > self.ratio else i, []).append((part, place))
        return list(groups.values())

    def _read_parts(
        self,
        catalog: Catalog,
        row: int,
        parts: Sequence[tuple[Part, Place]],
        block: Block,
        limits: Block,
        image: NDArray[Any],
        seen: NDArray[np.bool_],
    ) -> None:
        ratio = parts[0][0].asset.ratio
        window, lead = self.file_window(catalog, row, block, limits, ratio)
        grow = ratio // self.ratio
        found = []
        for part, place in parts:
            asset = part.asset
            direct = grow == 1 and part.run and np.can_cast(asset.dtype, image.dtype, "safe")
            out = image[_slice(part.channels)] if direct else None
            try:
                raster = read(asset, place, window, out)
            except ReadError as error:
                raise ReadError(
                    f"item {catalog.key[row]!r}, band {', '.join(asset.bands.names[:3])}: {error}"
                ) from error
            if direct:
                seen &= raster.valid
            else:
                found.append((part.channels, raster, place.href))
        if grow > 1 and len(found) > 1 and all(raster.valid.all() for _, raster, _ in found):
            # Bands of one size are enlarged together: it is the number of steps that takes the time.
            channels = tuple(c for own, _, _ in found for c in own)
            whole = Raster(np.concatenate([raster.data for _, raster, _ in found]), found[0][1].valid)
            found = [(channels, whole, found[0][2])]
        for channels, raster, href in found:
            if grow > 1:
                raster = enlarge(raster, grow, lead, (image.shape[1], image.shape[2]), self.resampling)
            image[_slice(channels)] = self._cast(raster, href)
            seen &= raster.valid

    def file_window(
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
        for part, place in present or []:
            self._warp_part(catalog, row, part, place, target, inside, image, valid)
        np.copyto(image, self.fill, where=~valid, casting="unsafe")

    def _warp_part(
        self,
        catalog: Catalog,
        row: int,
        part: Part,
        place: Place,
        target: Grid,
        inside: Grid | None,
        image: NDArray[Any],
        seen: NDArray[np.bool_],
    ) -> None:
        asset = part.asset
        limits = _limits(catalog, row, None)
        (top, left, height, width), lead = self.file_window(catalog, row, limits, limits, asset.ratio)
        whole = catalog.grid(row, (-lead[0], -lead[1], height * asset.ratio, width * asset.ratio))
        source = whole.coarser(asset.ratio)

        def fetch(window: PixelWindow, level: int | None) -> Raster:
            r, c, h, w = window
            if level is not None:
                return read_average(place.href, level, window, asset.indexes, asset.dtype)
            return read(asset, place, (top + r, left + c, h, w))

        levels = None
        if asset.validity == "all" and asset.format == "raster":
            levels = partial(averages, place.href, source.shape)
        direct = part.run and np.can_cast(asset.dtype, image.dtype, "safe")
        out = (
            image[_slice(part.channels)] if direct else np.empty((len(part.channels), *target.shape), dtype=asset.dtype)
        )
        own_nodata = asset.nodata if asset.validity == "nodata" else None
        observed = warp(fetch, source, target, self.resampling, out, nodata=own_nodata, inside=inside, levels=levels)
        if not direct:
            image[_slice(part.channels)] = self._cast(Raster(out, observed), place.href)
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


def _slice(channels: tuple[int, ...]) -> Any:
    """Index consecutive channels without a copy, others one by one."""
    first, last = channels[0], channels[-1]
    return slice(first, last + 1) if channels == tuple(range(first, last + 1)) else list(channels)


def place_of(catalog: Catalog, asset: Asset, values: Mapping[str, Any]) -> Place | None:
    """Return where the file of a row is, by the values of its columns; None if the row lacks it."""
    href = filled(asset.href, values)
    if href is None:
        return None
    if asset.format == "raster":
        return Place(resolve(catalog.root, href))
    inside, layout = filled(asset.inside, values), filled(asset.layout, values)
    return None if inside is None or layout is None else Place(resolve(catalog.root, href), inside, layout)
