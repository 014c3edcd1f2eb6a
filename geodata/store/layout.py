"""How items become arrays: one sample after the other, or as a cube; chunks and shards."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.errors import StoreError
from geodata.readers.shards.metadata import ArrayMeta
from geodata.store.source import StoredArray

__all__ = ["KINDS", "Laid", "Layout", "lay_out"]

KINDS = ("patches", "cube")
"""Arrays ``[sample, band, y, x]``, or ``[time, band, y, x]`` on one lattice."""

LARGE = 512
"""Side in pixels above which an item is cut into chunks."""

SIDE = 256
"""Side of such a chunk, about, in pixels of the finest array."""

MOST = 128 * 2**20
"""Bytes of a shard before it is packed: what a worker holds."""

SAMPLES = 256
"""Samples of a shard at most."""

_SHOWN = 5


@dataclass(frozen=True)
class Laid:
    """One array and how it lies in the store.

    Parameters
    ----------
    array : what it holds
    meta : its metadata
    valid : metadata of the array that says which values were observed, or None
    """

    array: StoredArray
    meta: ArrayMeta
    valid: ArrayMeta | None


@dataclass(frozen=True)
class Layout:
    """Where each row lies in the arrays.

    Parameters
    ----------
    kind : one of `KINDS`
    catalog : Catalog
        The rows in the order of the store.
    layer : (N,) int64, position of each row on the first axis
    origin : (N, 2) int64, row and column of its first pixel, in pixels of the items' grid
    shape : length of the first axis; height and width in pixels of the items' grid
    times : (layers, 2) float64 seconds, of a cube
    samples : layers of one shard
    blocks : shards along rows and columns
    sides : height and width of a shard, in pixels of the items' grid
    arrays : the arrays
    """

    kind: str
    catalog: Catalog
    layer: NDArray[np.int64]
    origin: NDArray[np.int64]
    shape: tuple[int, int, int]
    times: NDArray[np.float64] | None
    samples: int
    blocks: tuple[int, int]
    sides: tuple[int, int]
    arrays: tuple[Laid, ...]

    def part(self, position: tuple[int, int, int]) -> Layout:
        """Return the layout with only the rows that have pixels in the shards at a position."""
        k, i, j = position
        inside = (self.layer >= k * self.samples) & (self.layer < (k + 1) * self.samples)
        if self.blocks != (1, 1):
            low = np.array([i * self.sides[0], j * self.sides[1]])
            ends = self.origin + self.catalog.shape
            inside &= ((self.origin < low + self.sides) & (ends > low)).all(axis=1)
            # What shares no grid with the item goes with the first block.
            if (i, j) == (0, 0) and any(each.array.size is not None for each in self.arrays):
                inside |= (self.layer >= k * self.samples) & (self.layer < (k + 1) * self.samples)
        rows = np.flatnonzero(inside)
        arrays = tuple(
            each
            if each.array.absent is None
            else replace(each, array=replace(each.array, absent=each.array.absent[rows]))
            for each in self.arrays
        )
        return replace(
            self, arrays=arrays, catalog=self.catalog.take(rows), layer=self.layer[rows], origin=self.origin[rows]
        )

    def tasks(self) -> Iterator[tuple[int, int, int]]:
        """Yield the positions of shards: along the first axis, rows and columns."""
        for k in range(-(-self.shape[0] // self.samples)):
            for i in range(self.blocks[0]):
                for j in range(self.blocks[1]):
                    yield k, i, j


def lay_out(
    catalog: Catalog,
    arrays: Sequence[StoredArray],
    order: NDArray[np.int64],
    *,
    kind: str | None,
    codec: str,
    bands: int | None,
    samples: int | None,
    pad: bool,
) -> Layout:
    """Decide how rows lie in arrays.

    Parameters
    ----------
    order : (N,) rows in the order of the store
    kind : one of `KINDS`, or None: a cube where large items, or several dates of one place, share a lattice
    codec : name of the codec of chunks
    bands : bands of a chunk, None for all
    samples : samples of a shard, None for at most 256 and 128 MiB
    pad : bool
        Let items be of different sizes.

    Raises
    ------
    StoreError
        If items differ in size (and not ``pad``), share no lattice for a cube, or a tile lies between coarse pixels.
    """
    if kind not in (None, *KINDS):
        raise StoreError(f"layout={kind!r} must be one of {', '.join(KINDS)}, or None to choose")
    for name, value in (("bands per chunk", bands), ("samples per shard", samples)):
        if value is not None and value < 1:
            raise StoreError(f"{name} must be at least 1, got {value}")
    step = math.lcm(1, *(a.ratio for a in arrays))
    _check_tiles(catalog, step)
    corners = _corners(catalog, step)
    if kind == "cube" and corners is None:
        raise StoreError(
            "these items do not share one lattice (CRS, pixel size, and offsets in whole pixels of the coarsest band), so "
            "they are no cube; leave out layout= for one sample after the other"
        )
    large = any(a.size is None for a in arrays) and int(catalog.shape.max()) > LARGE
    cube = kind == "cube" or (kind is None and corners is not None and (large or _one_place(catalog)))
    taken = catalog.take(order)
    held = [replace(a, absent=None if a.absent is None else a.absent[order]) for a in arrays]
    if cube and corners is not None:
        layer, times = _layers(taken, corners[order])
        shape = (len(times), *(corners + catalog.shape).max(axis=0).tolist())
        origin = corners[order]
    else:
        if not pad:
            _check_sizes(taken, held)
        layer, times, origin = np.arange(len(taken)), None, np.zeros((len(taken), 2), np.int64)
        shape = (len(taken), *taken.shape.max(axis=0).tolist())
    base = Layout("cube" if cube else "patches", taken, layer, origin, shape, times, 1, (1, 1), (0, 0), ())
    return _chunked(base, held, step, codec, bands, samples, large or cube)


def _chunked(
    layout: Layout, arrays: list[StoredArray], step: int, codec: str, bands: int | None, samples: int | None, cut: bool
) -> Layout:
    """Choose chunks and shards."""
    n, height, width = layout.shape
    side = step * max(1, round(SIDE / step))
    down, across = (min(side, -(-length // step) * step) if cut else length for length in (height, width))
    sizes = {a.name: _shape(layout, a) for a in arrays}
    per_sample = max(math.prod(sizes[a.name][1:]) * np.dtype(a.dtype).itemsize for a in arrays)
    if cut and samples is not None:
        raise StoreError(
            f"samples per shard: these items are cut into chunks, and a file holds chunks of one; leave out shard={samples}"
        )
    if cut:
        several, many = 1, _many(arrays, down, across)
    else:
        several = samples or max(1, min(SAMPLES, 2 ** int(math.log2(max(1, MOST // per_sample)))))
        many = 1
    several = min(several, max(n, 1))
    rows, columns = min(many, -(-height // down)), min(many, -(-width // across))
    sides = (down * rows, across * columns)
    blocks = (-(-height // sides[0]), -(-width // sides[1]))
    laid = []
    for array in arrays:
        loose = array.size is not None or not cut
        shape = sizes[array.name]
        inner = shape[2:] if loose else (down // array.ratio, across // array.ratio)
        outer = inner if loose else (inner[0] * rows, inner[1] * columns)
        count = min(bands or shape[1], shape[1])
        packed = (1, count, *inner)
        file = (several, -(-shape[1] // count) * count, *outer)
        meta = ArrayMeta.make(shape, array.dtype, chunk=packed, shard=file, codec=codec, fill=array.fill)
        valid = ArrayMeta.make(shape, "uint8", chunk=packed, shard=file, codec=codec) if array.masked else None
        laid.append(Laid(array, meta, valid))
    return replace(layout, samples=several, blocks=blocks, sides=sides, arrays=tuple(laid))


def _shape(layout: Layout, array: StoredArray) -> tuple[int, ...]:
    n, height, width = layout.shape
    if array.size is not None:
        size = array.sizes(layout.catalog).max(axis=0).tolist()
    else:
        size = [-(-height // array.ratio), -(-width // array.ratio)]
    return (n, len(array.bands), *size)


def _many(arrays: Sequence[StoredArray], down: int, across: int) -> int:
    """Return how many chunks a shard has along each side."""
    each = [(down // a.ratio) * (across // a.ratio) * len(a.bands) * np.dtype(a.dtype).itemsize for a in arrays]
    most = max(size for size, a in zip(each, arrays, strict=True) if a.size is None)
    return next((k for k in (8, 4, 2) if most * k * k <= MOST), 1)


def _check_tiles(catalog: Catalog, step: int) -> None:
    odd = np.flatnonzero((catalog.origin % step).any(axis=1))
    if len(odd):
        raise StoreError(
            f"{len(odd)} tiles start between pixels of the coarsest band, first {catalog.key[odd[0]]!r}; cut tiles whose sides "
            f"are multiples of {step}"
        )


def _check_sizes(catalog: Catalog, arrays: Sequence[StoredArray]) -> None:
    """Refuse items of different size, with a list of the sizes."""
    for array in arrays:
        sizes = array.sizes(catalog)
        kinds, first, count = np.unique(sizes, axis=0, return_index=True, return_counts=True)
        if len(kinds) < 2:
            continue
        common = np.argsort(-count)
        listed = [
            f"{kinds[i, 0]} x {kinds[i, 1]} ({count[i]} items, first {catalog.key[first[i]]!r})"
            for i in common[:_SHOWN]
        ]
        more = f" and {len(kinds) - _SHOWN} more" if len(kinds) > _SHOWN else ""
        raise StoreError(
            f"{array.key} has {len(kinds)} sizes: {'; '.join(listed)}{more}; pad them (pad=True, --pad: each keeps its own "
            "size), or cut tiles of one size"
        )


def _one_place(catalog: Catalog) -> bool:
    """Whether the rows are dates of one place."""
    if len(catalog) < 2 or not np.isfinite(catalog.time[:, 0]).all():
        return False
    same = (catalog.affine == catalog.affine[0]).all() and (catalog.shape == catalog.shape[0]).all()
    return bool(same) and len(np.unique(catalog.time[:, 0])) == len(catalog)


def _corners(catalog: Catalog, step: int) -> NDArray[np.int64] | None:
    """Return (N, 2) row and column of each item in the lattice that all share, None if they share none."""
    if not len(catalog) or len(catalog.crs_in_use) > 1 or not catalog.has_crs:
        return None
    affine = catalog.affine
    if (affine[:, [0, 1, 3, 4]] != affine[0, [0, 1, 3, 4]]).any():
        return None
    a, b, _, d, e, _ = affine[0]
    east, south = (affine[:, [2, 5]] - affine[0, [2, 5]]).T
    det = a * e - b * d
    exact = np.column_stack([(a * south - d * east) / det, (e * east - b * south) / det])
    whole = np.rint(exact)
    if np.abs(exact - whole).max() > 1e-6 or (whole % step).any():
        return None
    found: NDArray[np.int64] = (whole - whole.min(axis=0)).astype(np.int64)
    return found


def _layers(catalog: Catalog, corners: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the layer of each row of a cube, and the times of layers: rows that overlap are in different ones."""
    order = np.lexsort((np.arange(len(catalog)), catalog.time[:, 1], catalog.time[:, 0]))
    ends = corners + catalog.shape
    layer = np.zeros(len(catalog), dtype=np.int64)
    times: list[Any] = []
    members: list[list[int]] = []
    first = 0
    for row in order.tolist():
        when = catalog.time[row].tolist()
        if not times or times[-1] != when:
            first = len(times)
        for k in range(first, len(times) + 1):
            if k == len(times):
                times.append(when)
                members.append([])
            held = members[k]
            apart = (ends[held] <= corners[row]).any(axis=1) | (ends[row] <= corners[held]).any(axis=1)
            if apart.all():
                break
        members[k].append(row)
        layer[row] = k
    return layer, np.array(times, dtype=np.float64).reshape(-1, 2)
