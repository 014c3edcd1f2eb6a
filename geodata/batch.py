"""Many rows of one image at once: a batch from a store, or all dates of a window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.assembly import Assembly, place_of
from geodata.catalog import Catalog
from geodata.catalog.paths import fields, resolve
from geodata.parts import Part
from geodata.query import Window
from geodata.readers.base import Asset, Raster
from geodata.readers.dates import read_dates as read_dates_of
from geodata.readers.enlarge import enlarge
from geodata.spot import room

__all__ = ["is_stored", "read_dates", "read_rows"]


def is_stored(image: Assembly) -> bool:
    """Whether all of an image is in arrays of a store, whose rows are read together."""
    return all(part.asset.format == "store" and part.run for part in image.parts)


def read_rows(
    image: Assembly,
    catalog: Catalog,
    rows: Sequence[int],
    windows: Sequence[Window],
    out: NDArray[Any],
    valid: NDArray[np.bool_],
) -> bool:
    """Fill ``out`` (B, C, h, w) and ``valid`` (B, h, w) with a window of each of many rows of a store.

    Returns
    -------
    bool
        False if they must be read one by one: windows that reach out of their row, files that a row lacks, coarse bands
        in windows that differ. Nothing is to be relied on then.
    """
    at = list(rows)
    if not is_stored(image):
        return False
    places, shapes = np.array(windows), catalog.shape[at]
    if (places[:, :2] < 0).any() or (places[:, :2] + places[:, 2:] > shapes).any():
        return False
    where = np.hstack([places, shapes, catalog.origin[at]])
    alike = bool((where == where[0]).all())
    positions = [_positions(catalog, part.asset, at) for part in image.parts]
    if any(held is None for held in positions):
        return False
    valid[...] = True
    for part, held in zip(image.parts, positions, strict=True):
        if part.asset.ratio == image.ratio:
            cuts = [_cut(place, image.ratio) for place in (where[:1] if alike else where).tolist()]
            done = _read(part, catalog, held or [], cuts, out[:, part.channels[0] : part.channels[-1] + 1], valid)
        else:
            done = alike and _enlarged(image, part, catalog, held or [], (at[0], windows[0]), out)
        if not done:
            return False
    if not valid.all():
        np.copyto(out, image.fill, where=~valid[:, None], casting="unsafe")
    return True


def _cut(place: list[int], ratio: int) -> tuple[int, int, int, int]:
    """Return a window of a row in the pixels of its array."""
    row, column, height, width, _, _, down, across = place
    top, left = (row + down) // ratio, (column + across) // ratio
    return top, left, -(-(row + height + down) // ratio) - top, -(-(column + width + across) // ratio) - left


def _read(
    part: Part,
    catalog: Catalog,
    positions: list[int],
    windows: list[tuple[int, int, int, int]],
    out: NDArray[Any],
    valid: NDArray[np.bool_],
) -> bool:
    # What it takes is not worth its import where no store is read.
    from geodata.readers.stored import read_rows as read_stored

    return read_stored(part.asset, resolve(catalog.root, part.asset.href), positions, windows, out, valid)


def _enlarged(
    image: Assembly, part: Part, catalog: Catalog, positions: list[int], first: tuple[int, Window], out: NDArray[Any]
) -> bool:
    """Read coarse pixels of all rows, and enlarge them together: it is the number of steps that takes the time."""
    row, (r, c, h, w) = first
    asset = part.asset
    low, high = part.channels[0], part.channels[-1] + 1
    height, width = catalog.shape[row].tolist()
    cut, lead = image.file_window(catalog, row, (r, c, r + h, c + w), (0, 0, height, width), asset.ratio)
    count, bands = len(positions), high - low
    coarse = room((count, bands, cut[2], cut[3]), np.dtype(asset.dtype))
    seen = np.ones((count, cut[2], cut[3]), bool)
    if not _read(part, catalog, positions, [cut], coarse, seen) or not seen.all():
        return False
    flat = Raster(coarse.reshape(-1, *cut[2:]), seen[0])
    fine = enlarge(flat, asset.ratio // image.ratio, lead, (out.shape[2], out.shape[3]), image.resampling)
    if not np.can_cast(fine.data.dtype, out.dtype, "safe"):
        return False
    out[:, low:high] = fine.data.reshape(count, bands, *out.shape[2:])
    return True


def _positions(catalog: Catalog, asset: Asset, rows: list[int]) -> list[int] | None:
    """Return where rows lie on the first axis; None if that is not said by one column, or the array is not the same."""
    names = fields(asset.inside)
    if fields(asset.href) or len(names) != 1 or asset.inside != f"{{{names[0]}}}":
        return None
    column = catalog.kept(names[0], lambda: catalog.column(names[0]))
    found: list[int] = column[rows].tolist()
    return found


def read_dates(
    image: Assembly,
    catalog: Catalog,
    rows: Sequence[int],
    window: Window,
    out: NDArray[Any],
    valid: NDArray[np.bool_],
) -> bool:
    """Fill ``out`` (T, C, h, w) and ``valid`` (T, h, w) with one window of rows that are dates of one array.

    Returns False, and fills nothing to rely on, if they are not; then they are read one by one.
    """
    if is_stored(image):
        return read_rows(image, catalog, rows, [window] * len(rows), out, valid)
    r, c, h, w = window
    own = all(p.asset.format != "raster" and p.asset.ratio == image.ratio == 1 and p.run for p in image.parts)
    whole = r >= 0 and c >= 0 and all(r + h <= catalog.shape[i, 0] and c + w <= catalog.shape[i, 1] for i in rows)
    if not own or not whole or (catalog.origin[rows] != catalog.origin[rows[0]]).any():
        return False
    at = (r + int(catalog.origin[rows[0], 0]), c + int(catalog.origin[rows[0], 1]), h, w)
    valid[:] = True
    for part in image.parts:
        places = [place_of(catalog, part.asset, catalog.values(row, image.columns)) for row in rows]
        there = [place for place in places if place is not None]
        fits = np.can_cast(part.asset.dtype, out.dtype, "safe") and len(there) == len(places)
        channels = slice(part.channels[0], part.channels[-1] + 1)
        if not fits or not read_dates_of(part.asset, there, at, out[:, channels], valid):
            return False
    np.copyto(out, image.fill, where=~valid[:, None], casting="unsafe")
    return True
