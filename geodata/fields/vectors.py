"""Arrays that belong to a whole item: endmembers, spectra."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from geodata.catalog import Catalog
from geodata.fields.base import Field
from geodata.spot import Buffers, Spot

__all__ = ["ArrayField"]


@dataclass(frozen=True)
class ArrayField(Field):
    """A small array of a whole item, such as ``endmembers`` (P, C) or ``wavelengths`` (C,).

    Parameters
    ----------
    load : callable (catalog, row) -> array
        A function of a module: it travels to workers.
    """

    load: Callable[[Catalog, int], Any] = None  # type: ignore[assignment]  # required, but follows a default

    def fill(self, catalog: Catalog, spot: Spot, out: Buffers) -> Mapping[str, Any]:
        """Return the array of a row."""
        return {self.keys[0]: torch.as_tensor(self.load(catalog, spot.row))}  # type: ignore[arg-type]  # a row is known here
