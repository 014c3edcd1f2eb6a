"""Images of an item that share no grid with it: the photograph beside a laboratory cube."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from geodata.catalog import Catalog
from geodata.catalog.footprint import Footprints
from geodata.errors import GridError
from geodata.fields.base import Field
from geodata.grid import Grid
from geodata.spot import Buffers, Slots, Spot

__all__ = ["LooseField"]


@dataclass(frozen=True)
class LooseField(Field):
    """An image or mask of an item on a pixel grid of its own; it is only read whole.

    Parameters
    ----------
    field : the image or mask, whose keys it makes
    size : names of the columns that hold its height and width in pixels
    """

    field: Field = None  # type: ignore[assignment]  # required, but follows a default
    size: tuple[str, str] = ("height", "width")

    @property
    def keys(self) -> tuple[str, ...]:
        """Sample keys, as of the field."""
        return self.field.keys

    def named(self, tail: str) -> Self:
        """Return the field with more at the end of its keys."""
        return replace(self, field=self.field.named(tail))

    def slots(self, catalog: Catalog, spot: Spot) -> Slots:
        """Arrays of the item's own size."""
        return self.field.slots(catalog, self._whole(catalog, spot))

    def fill(self, catalog: Catalog, spot: Spot, out: Buffers) -> Mapping[str, Any]:
        """Read it whole."""
        own = self._whole(catalog, spot)
        alone = replace(catalog.take([spot.row]), footprints=Footprints.of(own.grid), origin=np.zeros((1, 2), np.int64))
        return self.field.fill(alone, own, out)

    def _whole(self, catalog: Catalog, spot: Spot) -> Spot:
        row = spot.row
        whole = row is not None and spot.window == (0, 0, *catalog.shape[row].tolist())
        if row is None or not whole or "tile_of" in catalog.table.column_names:
            raise GridError(
                f"{self.field.keys[0]} is on no common grid with the item, so no window of the item says which part of it to read; "
                f"read whole items, or leave it out with keys="
            )
        height, width = (int(catalog.table[name][row].as_py()) for name in self.size)
        return Spot(Grid((height, width), (1, 0, 0, 0, 1, 0), None), spot.time, 0, (0, 0, height, width))
