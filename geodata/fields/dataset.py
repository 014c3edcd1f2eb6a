"""A dataset whose samples are made of fields."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from geodata.bands import Bands
from geodata.catalog import Catalog
from geodata.crs import same_crs
from geodata.dataset import Dataset
from geodata.errors import GridError, KeyClashError
from geodata.fields.base import Field
from geodata.fields.image import ImageField
from geodata.fields.loose import LooseField
from geodata.fields.mask import MaskField
from geodata.grid import Grid
from geodata.spot import Buffers, Slots, Spot

__all__ = ["FieldDataset"]

Order = Callable[[Catalog, NDArray[np.int64]], NDArray[np.int64]]


class FieldDataset(Dataset):
    """Rows of a catalog, each read as some fields.

    Parameters
    ----------
    catalog : Catalog
    fields : what a sample is made of
    order : callable (catalog, rows) -> rows, or None
        Which item shows on top where several lie under one query. By default items in the query's CRS, then the newest,
        then by key.
    name, transforms : as in `Dataset`
    """

    def __init__(
        self,
        catalog: Catalog,
        fields: Iterable[Field],
        *,
        order: Order | None = None,
        name: str = "",
        transforms: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(catalog, name=name, transforms=transforms)
        self._unnamed = _distinct(fields)
        self.fields = _named(self._unnamed, name)
        self.order = order
        self.step = math.lcm(1, *(f.step for f in self.fields))
        shape = catalog.shape[: self._native_rows]
        if (catalog.origin % self.step).any() or (shape % self.step).any():
            raise GridError(
                f"these tiles do not start and end on multiples of {self.step}, the native ratio of the bands; tile with such a size"
            )

    @property
    def _native_rows(self) -> int:
        """How many rows must have sides that are multiples of the step: all with native resolutions, else none."""
        native = any(len(f.images) > 1 for f in self.fields if isinstance(f, ImageField))
        return len(self.catalog) if native else 0

    @property
    def unnamed(self) -> tuple[Field, ...]:
        """What a sample is made of, without the suffix of the dataset's name."""
        return self._unnamed

    @property
    def bands(self) -> Bands | None:
        """Bands of the first image in order; None without an image."""
        return next((f.bands for f in map(_inner, self.fields) if isinstance(f, ImageField)), None)

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Class names by value, of the first mask that has any."""
        return next((f.classes for f in map(_inner, self.fields) if isinstance(f, MaskField) and f.classes), None)

    @property
    def keys(self) -> tuple[str, ...]:
        """Sample keys."""
        return tuple(key for field in self.fields for key in field.keys)

    def named(self, name: str) -> Self:
        """Return the dataset with ``_<name>`` at the end of all its keys."""
        new = super().named(name)
        new.fields = _named(self._unnamed, name)
        return new

    @property
    def _slots_by_shape(self) -> bool:
        return not any(isinstance(f, LooseField) for f in self.fields)

    def _slots(self, spot: Spot) -> Slots:
        slots: Slots = {}
        for field in self.fields:
            slots |= field.slots(self.catalog, spot)
        return slots

    def _fill(self, spot: Spot, out: Buffers) -> dict[str, Any]:
        rest: dict[str, Any] = {}
        for field in self.fields:
            rest |= field.fill(self.catalog, spot, out)
        return rest

    @property
    def reads_batches(self) -> bool:
        """Whether its pixels are arrays of a store."""
        return any(field.stored for field in self.fields)

    def _fill_many(self, spots: Sequence[Spot], whole: Buffers) -> Sequence[Mapping[str, Any]] | None:
        if not self.reads_batches:
            return None
        rests: list[dict[str, Any]] = [{} for _ in spots]
        for field in self.fields:
            for rest, more in zip(rests, field.fill_many(self.catalog, spots, whole), strict=True):
                rest |= more
        return rests

    def _fill_on(self, spot: Spot, out: Buffers, rows: NDArray[np.int64] | None = None) -> dict[str, Any]:
        found = self.catalog.search(spot.grid, time=spot.time) if rows is None else rows
        found = self._ordered(found, spot.grid)
        rest: dict[str, Any] = {"key": self.catalog.key[found[0]] if len(found) else ""}
        for field in self.fields:
            rest |= field.fill_on(self.catalog, found, spot, out)
        return rest

    def _fill_dates(self, rows: NDArray[np.int64], spot: Spot, out: Buffers) -> dict[str, Any] | None:
        rest: dict[str, Any] = {}
        for field in self.fields:
            found = field.fill_dates(self.catalog, rows, spot, out)
            if found is None:
                return None
            rest |= found
        return rest

    def _ordered(self, rows: NDArray[np.int64], grid: Grid) -> NDArray[np.int64]:
        if len(rows) < 2:
            return rows
        if self.order is not None:
            return np.asarray(self.order(self.catalog, rows), dtype=np.int64)
        footprints = self.catalog.footprints
        foreign = np.array([not same_crs(c, grid.crs) for c in footprints.crs])[footprints.code[rows]]
        return rows[np.lexsort((self.catalog.key[rows].astype(str), -self.catalog.time[rows, 0], foreign))]

    def _with(self, catalog: Catalog, fields: Iterable[Field]) -> Self:
        """Return this dataset over other rows, made of other fields."""
        new = copy(self)
        new.catalog, new._unnamed = catalog, _distinct(fields)
        new.fields = _named(new._unnamed, self.name)
        return new


def _named(fields: Iterable[Field], name: str) -> tuple[Field, ...]:
    return tuple(f.named(f"_{name}") if name else f for f in fields)


def _inner(field: Field) -> Field:
    return field.field if isinstance(field, LooseField) else field


def _distinct(fields: Iterable[Field]) -> tuple[Field, ...]:
    held = tuple(fields)
    keys = [key for field in held for key in field.keys]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise KeyClashError(f"two parts of a sample are called {', '.join(twice)}; give them names of their own")
    return held
