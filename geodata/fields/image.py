"""Images: some bands of an item, on one grid or one per resolution."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.assembly import Assembly
from geodata.bands import Bands
from geodata.batch import is_stored, read_dates, read_rows
from geodata.catalog import Catalog
from geodata.errors import GridError
from geodata.fields.base import Field
from geodata.spot import Buffers, Slots, Spot

__all__ = ["ImageField"]


@dataclass(frozen=True)
class ImageField(Field):
    """``image`` (C, H, W), ``valid`` (H, W) bool and ``bands``, each with the field's tail and the resolution's.

    With an empty key the image is called by the tail alone: ``abundance``, ``valid_abundance``, ``bands_abundance``.

    Parameters
    ----------
    bands : Bands in the order asked for, whatever image they are in
    images : Assembly by key suffix: one at ``""``, or ``_10m``, ``_20m``... with native resolutions
    """

    bands: Bands = None  # type: ignore[assignment]  # required, but follows a default
    images: Mapping[str, Assembly] = ()  # type: ignore[assignment]  # required, but follows a default

    @property
    def keys(self) -> tuple[str, ...]:
        """Sample keys."""
        return tuple(key for s in self.images for key in (self._key(s), f"valid{self.tail}{s}", f"bands{self.tail}{s}"))

    @property
    def image_key(self) -> str:
        """The sample key of the image, before the suffix of a resolution."""
        return self._key("")

    def _key(self, suffix: str) -> str:
        """The key of an image: that of the field and its tail; without a key of the field the tail says it all."""
        return f"{self.key}{self.tail}{suffix}".removeprefix("_")

    @property
    def step(self) -> int:
        """Least common multiple of the ratios of its images."""
        return int(np.lcm.reduce([image.ratio for image in self.images.values()]))

    def slots(self, catalog: Catalog, spot: Spot) -> Slots:
        """Arrays of its images."""
        height, width = spot.grid.shape
        if height % self.step or width % self.step:
            raise GridError(
                f"a grid of {height} x {width} pixels is no multiple of {self.step}, the native ratio of the bands"
            )
        slots: Slots = {}
        for suffix, image in self.images.items():
            shape = (height // image.ratio, width // image.ratio)
            slots[self._key(suffix)] = ((len(image.bands), *shape), image.dtype)
            slots[f"valid{self.tail}{suffix}"] = (shape, np.bool_)
        return slots

    def fill(self, catalog: Catalog, spot: Spot, out: Buffers) -> Mapping[str, Any]:
        """Read a window, or from the whole row by place."""
        if spot.row is None or spot.window is None:
            return self.fill_on(catalog, np.array([spot.row]), spot, out)
        for image, data, valid in self._targets(out):
            image.read_window(catalog, spot.row, spot.window, data, valid, spot.inside)
        return self._rest(spot)

    def fill_on(self, catalog: Catalog, rows: NDArray[np.int64], spot: Spot, out: Buffers) -> Mapping[str, Any]:
        """Read a mosaic."""
        for image, data, valid in self._targets(out):
            target = spot.grid if image.ratio == 1 else spot.grid.coarser(image.ratio)
            image.read_grid(catalog, rows.tolist(), target, data, valid, spot.inside)
        return self._rest(spot)

    @property
    def stored(self) -> bool:
        """Whether its images are arrays of a store."""
        return all(is_stored(image) for image in self.images.values())

    def fill_many(self, catalog: Catalog, spots: Sequence[Spot], out: Buffers) -> Sequence[Mapping[str, Any]]:
        """Read the same window of many rows of a store at once, others one by one."""
        rows, windows = [s.row for s in spots], [s.window for s in spots]
        confined = any(s.inside is not None for s in spots)
        for image, data, valid in self._targets(out):
            done = not confined and read_rows(image, catalog, rows, windows, data, valid)  # type: ignore[arg-type]  # windows of rows
            if not done:
                for spot, one, seen in zip(spots, data, valid, strict=True):
                    image.read_window(catalog, spot.row, spot.window, one, seen, spot.inside)  # type: ignore[arg-type]  # as above
        return [self._rest(spot) for spot in spots]

    def fill_dates(
        self, catalog: Catalog, rows: NDArray[np.int64], spot: Spot, out: Buffers
    ) -> Mapping[str, Any] | None:
        """Read a window of rows that are dates of one array at once, if they are and nothing confines them."""
        if spot.inside is not None or spot.window is None:
            return None
        done = all(read_dates(i, catalog, rows.tolist(), spot.window, d, v) for i, d, v in self._targets(out))
        return self._rest(spot) if done else None

    def _targets(self, out: Buffers) -> Iterator[tuple[Assembly, NDArray[Any], NDArray[np.bool_]]]:
        for suffix, image in self.images.items():
            yield image, out[self._key(suffix)], out[f"valid{self.tail}{suffix}"]

    def _rest(self, spot: Spot) -> dict[str, Any]:
        rest: dict[str, Any] = {}
        for suffix, image in self.images.items():
            tail = self.tail + suffix
            rest[f"bands{tail}"] = image.bands
            if tail:
                rest[f"grid{tail}"] = spot.grid if image.ratio == 1 else spot.grid.coarser(image.ratio)
        return rest
