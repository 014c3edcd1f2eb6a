"""Masks: stored class numbers as classes 0, 1, 2... and where there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.assembly import Assembly
from geodata.batch import is_stored, read_rows
from geodata.catalog import Catalog
from geodata.errors import CatalogError, DtypeError
from geodata.fields.base import Field
from geodata.sample import IGNORE
from geodata.spot import Buffers, Slots, Spot, room

__all__ = ["Codes", "MaskField"]


SMALL = 1 << 16
"""Stored numbers below this are looked up in a table."""

UNLISTED = -(2**62)
"""In such a table: a number that is in no table of classes."""


@dataclass(frozen=True, eq=False)
class Codes:
    """Which class each stored number is.

    Parameters
    ----------
    stored : (K,) int64, ascending
    classes : (K,) int64, the class of each; negative for numbers that mean no class
    others : {"refuse", "keep", "ignore"}
        What numbers are that are not listed: an error, classes as they are, or of no class.
    """

    stored: NDArray[np.int64]
    classes: NDArray[np.int64]
    others: str = "refuse"

    @classmethod
    def of(cls, table: Mapping[int, int], *, others: str = "refuse") -> Codes:
        """Make it from {stored number: class}."""
        stored = np.array(sorted(table), dtype=np.int64)
        return cls(stored, np.array([table[int(s)] for s in stored], dtype=np.int64), others)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Codes):
            return NotImplemented
        return self._plain == other._plain

    @property
    def _plain(self) -> tuple[Any, ...]:
        return self.stored.tolist(), self.classes.tolist(), self.others

    def __repr__(self) -> str:
        return f"Codes({dict(zip(*self._plain[:2], strict=True))}, others={self.others!r})"

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def _table(self) -> NDArray[np.int64]:
        """Where each small number would stand among the stored ones: looked up, not searched."""
        most = int(self.stored[-1])
        return (
            np.searchsorted(self.stored, np.arange(most + 2))
            if self.stored[0] >= 0 and most < SMALL
            else np.empty(0, int)
        )

    def _places(self, mask: NDArray[np.int64]) -> NDArray[np.int64]:
        if len(self._table):
            return self._table.take(mask, mode="clip").clip(max=len(self.stored) - 1)
        return np.searchsorted(self.stored, mask).clip(max=len(self.stored) - 1)

    @cached_property
    def _quick(self) -> dict[int, NDArray[np.int64]]:
        return {}

    def table(self, ignore: int) -> NDArray[np.int64] | None:
        """Return the class of every number from 0, the last for all from there on; `UNLISTED` where that is an error.

        None if the stored numbers are large, or those that are not listed stay as they are.
        """
        if self.others == "keep" or not len(self._table):
            return None
        if ignore not in self._quick:
            other = UNLISTED if self.others == "refuse" else ignore
            table = np.full(int(self.stored[-1]) + 2, other)
            table[self.stored] = np.where(self.classes < 0, ignore, self.classes)
            self._quick[ignore] = table
        return self._quick[ignore]

    def apply(self, mask: NDArray[np.int64], seen: NDArray[np.bool_], name: str) -> None:
        """Turn stored numbers into classes in place; what is no class is not seen."""
        place = self._places(mask)
        known = self.stored[place] == mask
        if self.others == "refuse" and not known[seen].all():
            found = np.unique(mask[seen & ~known])
            raise CatalogError(
                f"{name}: class {', '.join(map(str, found[:5]))} is not in the table of classes; add it, or list it in ignore="
            )
        classes = self.classes[place]
        np.copyto(mask, classes, where=known)
        seen &= np.where(known, classes >= 0, self.others == "keep")


@dataclass(frozen=True)
class MaskField(Field):
    """``mask`` (H, W) int64; ``ignore`` where not observed, outside or of no class.

    Parameters
    ----------
    image : Assembly of one band
    codes : Codes or None
        None keeps the stored numbers as classes.
    classes : names by class, or None
    ignore : int
    """

    image: Assembly = None  # type: ignore[assignment]  # required, but follows a default
    codes: Codes | None = None
    classes: tuple[str, ...] | None = None
    ignore: int = IGNORE

    def slots(self, catalog: Catalog, spot: Spot) -> Slots:
        """The mask."""
        return {self.keys[0]: (spot.grid.shape, np.int64)}

    def fill(self, catalog: Catalog, spot: Spot, out: Buffers) -> Mapping[str, Any]:
        """Read a window, or from the whole row by place."""
        if spot.row is None or spot.window is None:
            return self.fill_on(catalog, np.array([spot.row]), spot, out)
        mask = out[self.keys[0]]
        stored, seen = self._room(mask)
        self.image.read_window(catalog, spot.row, spot.window, stored, seen, spot.inside)
        self._settle(mask, stored[0], seen, catalog.key[spot.row])
        return {}

    def fill_on(self, catalog: Catalog, rows: NDArray[np.int64], spot: Spot, out: Buffers) -> Mapping[str, Any]:
        """Read a mosaic."""
        mask = out[self.keys[0]]
        stored, seen = self._room(mask)
        self.image.read_grid(catalog, rows.tolist(), spot.grid, stored, seen, spot.inside)
        self._settle(mask, stored[0], seen, catalog.key[rows[0]] if len(rows) else "")
        return {}

    @property
    def stored(self) -> bool:
        """Whether it is an array of a store."""
        return is_stored(self.image)

    def fill_many(self, catalog: Catalog, spots: Sequence[Spot], out: Buffers) -> Sequence[Mapping[str, Any]]:
        """Read the same window of many rows of a store at once, others one by one."""
        masks = out[self.keys[0]]
        rows, windows = [s.row for s in spots], [s.window for s in spots]
        stored = room((len(masks), 1, *masks.shape[1:]), self.image.dtype)
        seen = room(masks.shape, np.bool_)
        confined = any(s.inside is not None for s in spots)
        if confined or not read_rows(self.image, catalog, rows, windows, stored, seen):  # type: ignore[arg-type]  # windows of rows
            return super().fill_many(catalog, spots, out)
        complete = bool(seen.all())
        for spot, mask, codes, known in zip(spots, masks, stored, seen, strict=True):
            self._settle(mask, codes[0], known, str(catalog.key[int(spot.row or 0)]), complete=complete)
        return [{} for _ in spots]

    def _room(self, mask: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        return room((1, *mask.shape), self.image.dtype), room(mask.shape, np.bool_)

    def _settle(
        self,
        mask: NDArray[np.int64],
        stored: NDArray[Any],
        seen: NDArray[np.bool_],
        key: str,
        *,
        complete: bool = False,
    ) -> None:
        """Turn stored class numbers into a mask, or say which of them is no class."""
        table = None if self.codes is None or stored.dtype.kind != "u" else self.codes.table(self.ignore)
        if table is not None:
            table.take(stored, out=mask, mode="clip")
            if not complete and not seen.all():
                mask[~seen] = self.ignore
            if mask.min(initial=0) != UNLISTED:
                return
        with np.errstate(invalid="ignore"):
            mask[:] = stored
        broken = seen & (mask != stored)
        if broken.any():
            raise DtypeError(f"item {key!r}: class numbers must be whole, got {stored[broken][0]}")
        if self.codes is not None:
            self.codes.apply(mask, seen, f"item {key!r}")
        mask[~seen] = self.ignore
