"""What every part of a sample can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.errors import QueryError
from geodata.spot import Buffers, Slots, Spot

__all__ = ["Field"]


@dataclass(frozen=True)
class Field(ABC):
    """One part of a sample. A value: it holds no rows, so the same field serves any catalog with its columns.

    Parameters
    ----------
    key : str
        Sample key it makes, ``image``, ``mask``, ``label``...; an image makes ``valid`` and ``bands`` beside it.
    tail : str
        What all its keys end in: ``_s1``.
    """

    key: str
    tail: str = ""

    @property
    def keys(self) -> tuple[str, ...]:
        """Sample keys."""
        return (self.key + self.tail,)

    @property
    def step(self) -> int:
        """Windows must be multiples of it, in pixels of a row's lattice."""
        return 1

    def named(self, tail: str) -> Self:
        """Return the field with more at the end of its keys."""
        return replace(self, tail=self.tail + tail)

    def slots(self, catalog: Catalog, spot: Spot) -> Slots:
        """Arrays of fixed shape that one sample needs."""
        return {}

    @abstractmethod
    def fill(self, catalog: Catalog, spot: Spot, out: Buffers) -> Mapping[str, Any]:
        """Read a window of row ``spot.row`` into ``out``; return what has no slot."""

    def fill_on(self, catalog: Catalog, rows: NDArray[np.int64], spot: Spot, out: Buffers) -> Mapping[str, Any]:
        """Read what lies under ``spot.grid`` from rows, the first on top; return what has no slot.

        Raises
        ------
        QueryError
            If the field belongs to whole items, and there is not just one.
        """
        if len(rows) != 1:
            raise QueryError(
                f"{self.key + self.tail} belongs to one item, and {len(rows)} lie under this query; read items or windows of them, "
                f"or leave it out with keys="
            )
        return self.fill(catalog, Spot(spot.grid, spot.time, int(rows[0]), None, spot.inside), out)

    @property
    def stored(self) -> bool:
        """Whether its pixels are arrays of a store, of which many rows are read at once."""
        return False

    def fill_many(self, catalog: Catalog, spots: Sequence[Spot], out: Buffers) -> Sequence[Mapping[str, Any]]:
        """Read windows of rows into ``out``, which has a leading batch axis; return of each what has no slot."""
        own = [key for key in out if key in self.slots(catalog, spots[0])]
        return [self.fill(catalog, spot, {key: out[key][i] for key in own}) for i, spot in enumerate(spots)]

    def fill_dates(
        self, catalog: Catalog, rows: NDArray[np.int64], spot: Spot, out: Buffers
    ) -> Mapping[str, Any] | None:
        """Read a window of many rows on one grid into ``out`` with a leading time axis.

        None if that is not quicker than one by one: then nothing in ``out`` is to be relied on.
        """
        return None
