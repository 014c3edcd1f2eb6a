"""Boxes around objects, upright or oriented."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.errors import QueryError, ReadError
from geodata.fields.base import Field
from geodata.spot import Buffers, Spot

__all__ = ["BoxesField", "Objects"]

Objects = tuple[NDArray[np.float32], list[str]]
"""Corners (N, 4, 2) or boxes (N, 4) as x, y in pixels of a whole item, and the class name of each."""

LEAST = 0.3
"""Share of an object's box that a window must hold for the object to be in it."""


@dataclass(frozen=True)
class BoxesField(Field):
    """``boxes`` (N, 4) float32 x0 y0 x1 y1 in pixels of the window, and ``box_labels`` (N,) int64; oriented: ``corners`` too.

    In a window or tile boxes are cut to it, and an object of which less than 0.3 of the box's area is left is not in it; corners are
    moved, never cut.

    Parameters
    ----------
    read : callable (catalog, row) -> Objects
        A function of a module: it travels to workers.
    classes : class names in order of class; matched without regard to case
    oriented : bool
        Also ``corners`` (N, 4, 2), in the order of the file.
    """

    read: Callable[[Catalog, int], Objects] = None  # type: ignore[assignment]  # required, but follows a default
    classes: tuple[str, ...] = ()
    oriented: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """Sample keys."""
        names = ("boxes", "corners", "box_labels") if self.oriented else ("boxes", "box_labels")
        return tuple(name + self.tail for name in names)

    def fill(self, catalog: Catalog, spot: Spot, out: Buffers) -> Mapping[str, Any]:
        """Return the objects of a window."""
        if spot.window is None:
            raise QueryError("boxes are read for items and windows of them, not for boxes by place")
        row = int(spot.row)  # type: ignore[arg-type]  # a window is of a row
        points, names = self.read(catalog, row)
        labels = np.array([self._number(n, catalog.key[row]) for n in names], dtype=np.int64)
        # A tile is a part of the image that its annotations speak of.
        r, c, height, width = spot.window
        down, across = catalog.origin[row].tolist()
        points = points.reshape(len(labels), -1, 2) if len(labels) else np.empty((0, 4, 2), np.float32)
        corners = points - np.array([c + across, r + down], dtype=np.float32)
        boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
        cut = boxes.clip(0, np.array([width, height, width, height]))
        kept = _area(cut) >= LEAST * _area(boxes)
        # A whole image has all its objects, however far one reaches over the edge.
        kept |= spot.window == (0, 0, *catalog.shape[row].tolist()) and "tile_of" not in catalog.table.column_names
        values = {"boxes": cut, "corners": corners, "box_labels": labels}
        return {
            key: torch.from_numpy(values[key.removesuffix(self.tail)][kept]).to(
                torch.int64 if key.startswith("box_") else torch.float32
            )
            for key in self.keys
        }

    def _number(self, name: str, key: str) -> int:
        known = [c.lower() for c in self.classes]
        try:
            return known.index(name.lower())
        except ValueError:
            raise ReadError(
                f"item {key!r} has an object of class {name!r}, which is none of {', '.join(self.classes)}"
            ) from None


def _area(boxes: NDArray[Any]) -> NDArray[Any]:
    area: NDArray[Any] = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return area
