"""Windows of items: how large they are, how many there are, and samplers that draw them."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterator
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.catalog.columns import rows_digest
from geodata.catalog.footprint import pixel_metres
from geodata.catalog.tiles import pixel_sizes
from geodata.errors import SamplerError
from geodata.query import Query, Window, queries_of_rows
from geodata.samplers.arguments import flag, one_of
from geodata.samplers.draws import DrawSampler

__all__ = [
    "WindowSampler",
    "catalog_of",
    "rooms_of",
    "sizes_text",
    "step_of",
    "window_sizes",
    "windows_at",
]

_GROUP = "or sample them mixed=True and batch them with GroupedBatchSampler"


class WindowSampler(DrawSampler):
    """Draw one window at a time: base of the samplers that do.

    Parameters
    ----------
    data, size, length, seed, small, mixed, rank, world : as in `RandomPatchSampler`
    """

    def __init__(
        self,
        data: Any,
        *,
        size: Any,
        length: int,
        seed: int,
        small: str,
        mixed: bool,
        rank: int | None,
        world: int | None,
    ) -> None:
        super().__init__(length=length, seed=seed, rank=rank, world=world)
        catalog = catalog_of(data)
        self._step = step_of(data)
        self._sizes, self.size = window_sizes(catalog, size, self._step, mixed=mixed)
        self._rooms, smaller = rooms_of(catalog, self._sizes, self._step, small, self._drawable(catalog))
        self.small_rows = int(smaller.sum())
        self._shape = catalog.shape
        self.data_digest = rows_digest(catalog)

    def _drawable(self, catalog: Catalog) -> NDArray[np.bool_]:
        """Return (N,) which rows may be drawn at all."""
        return np.ones(len(catalog), dtype=bool)

    @property
    def _said(self) -> str:
        """What windows there are, as a part of a plan."""
        return f"{self.data_digest} {sizes_text(self.size, self._sizes)} {self._step} {self.length}"

    @abstractmethod
    def places(self, indexes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (n,) catalog rows and (n, 2) start rows and columns of draws, without making queries."""

    def draw(self, indexes: NDArray[np.int64]) -> Iterator[Any]:
        """Yield the draws with the given numbers."""
        return self._queries(*self.places(indexes), indexes)

    def _queries(self, rows: NDArray[np.int64], at: NDArray[np.int64], indexes: NDArray[np.int64]) -> Iterator[Query]:
        windows = windows_at(at, self.size or self._sizes[rows])
        return queries_of_rows(rows.tolist(), windows, self.epoch, indexes.tolist())


def catalog_of(data: Any) -> Catalog:
    """Return the catalog of a dataset, or the catalog itself."""
    catalog = data if isinstance(data, Catalog) else getattr(data, "catalog", None)
    if not isinstance(catalog, Catalog):
        raise SamplerError(f"a sampler needs a dataset or a catalog, got {type(data).__name__}")
    if not catalog.lattice:
        raise SamplerError(
            "these items have a footprint but no pixels; join them to a raster, or give the dataset res="
        )
    if not len(catalog):
        raise SamplerError("the catalog is empty; there is nothing to sample")
    return catalog


def step_of(data: Any) -> int:
    """Return the native ratio of a dataset, of which windows are multiples; 1 of a catalog."""
    return int(getattr(data, "step", 1))


def window_sizes(
    catalog: Catalog, size: Any, step: int, *, mixed: bool = False
) -> tuple[NDArray[np.int64], tuple[int, int] | None]:
    """Return (N, 2) window sizes in pixels, and the one size they all have; with ``mixed`` it may be None.

    Raises
    ------
    SamplerError
        If a size is no multiple of the native ratio, or (unless ``mixed``) rows could not share a batch.
    """
    sizes = pixel_sizes(catalog, size)
    if not flag("mixed", mixed):
        _check_one_batch(catalog, size, sizes)
    odd = np.flatnonzero((sizes % step).any(axis=1))
    if len(odd):
        height, width = sizes[odd[0]].tolist()
        raise SamplerError(
            f"size {height} x {width} is no multiple of the native ratio {step}; use {height // step * step or step}"
        )
    height, width = sizes[0].tolist()
    return sizes, None if (sizes != sizes[0]).any() else (height, width)


def _check_one_batch(catalog: Catalog, size: Any, sizes: NDArray[np.int64]) -> None:
    """Refuse rows whose windows differ in pixels or on the ground."""
    if (sizes != sizes[0]).any():
        found = sorted({tuple(s) for s in np.unique(sizes, axis=0).tolist()})
        raise SamplerError(
            f"size {size!r} is {found[:4]} pixels in different rows, which cannot share a batch; sample rows of one resolution "
            f"apart, {_GROUP}"
        )
    if catalog.has_crs:
        res = pixel_metres(catalog.footprints)
        if res.max() > 1.25 * res.min():
            raise SamplerError(
                f"rows have pixels of {res.min():.4g} to {res.max():.4g} m: windows of {sizes[0, 0]} x {sizes[0, 1]} pixels would mix "
                f"ground sizes in one batch; sample rows of one resolution apart (dataset.where), {_GROUP}"
            )


def rooms_of(
    catalog: Catalog, sizes: NDArray[np.int64], step: int, small: str, drawable: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return (N, 2) start positions along rows and columns, in steps, and (N,) which rows are smaller than the window.

    Parameters
    ----------
    small : {"pad", "drop", "raise"}
        Rows smaller than the window have one position along a side that is too short; none at all; are refused.
    drawable : (N,) bool
        Other rows have no position, and are not looked at.

    Raises
    ------
    SamplerError
        If no row is left, or ``small`` is unknown.
    """
    one_of("small", small, "pad", "drop", "raise")
    smaller = np.asarray((catalog.shape < sizes).any(axis=1)) & drawable
    rooms = np.maximum((catalog.shape - sizes) // step + 1, 1)
    rooms[~drawable] = 0
    if smaller.any() and small == "raise":
        row = int(np.argmax(smaller))
        raise SamplerError(
            f"{smaller.sum()} of {len(catalog)} rows are smaller than {tuple(sizes[row].tolist())}, first {catalog.key[row]!r}; "
            "small='pad' pads them"
        )
    if small == "drop":
        rooms[smaller] = 0
        if not rooms.any():
            raise SamplerError(
                f"all {smaller.sum()} rows are smaller than {tuple(sizes[0].tolist())}, and small='drop' leaves them out"
            )
    return rooms, smaller


def windows_at(at: NDArray[np.int64], size: tuple[int, int] | NDArray[np.int64]) -> Iterator[Window]:
    """Yield the windows that start at (n, 2) rows and columns: of one size, or of (n, 2) sizes."""
    height, width = (
        (repeat(size[0]), repeat(size[1])) if isinstance(size, tuple) else (size[:, 0].tolist(), size[:, 1].tolist())
    )
    return zip(at[:, 0].tolist(), at[:, 1].tolist(), height, width, strict=False)


def sizes_text(size: tuple[int, int] | None, sizes: NDArray[np.int64]) -> str:
    """Return the sizes of windows as a part of a plan."""
    return str(size) if size is not None else hashlib.sha256(np.ascontiguousarray(sizes).ravel().data).hexdigest()[:16]
