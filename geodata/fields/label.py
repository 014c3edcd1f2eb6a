"""Labels: what columns of the catalog say of a whole item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from geodata.catalog import Catalog
from geodata.errors import CatalogError
from geodata.fields.base import Field
from geodata.spot import Buffers, Spot

__all__ = ["LabelField"]


@dataclass(frozen=True)
class LabelField(Field):
    """A class, several classes, or numbers of a whole item; a window keeps those of its item.

    A column of text gives ``label`` int64, one of lists of text (K,) float32 with 1 for each class that is there, columns
    of numbers (K,) float32.

    Parameters
    ----------
    columns : names of one column of text or lists of text, or of columns of numbers
    classes : class names in order of class; None for numbers
    """

    columns: tuple[str, ...] = ()
    classes: tuple[str, ...] | None = None

    def fill(self, catalog: Catalog, spot: Spot, out: Buffers) -> Mapping[str, Any]:
        """Return the label of a row."""
        row = int(spot.row)  # type: ignore[arg-type]  # labels are of rows
        values = [catalog.table[c][row].as_py() for c in self.columns]
        return {self.keys[0]: self._tensor(values, catalog.key[row])}

    def fill_many(self, catalog: Catalog, spots: Sequence[Spot], out: Buffers) -> Sequence[Mapping[str, Any]]:
        """Return the labels of rows, looked up in a table of all that is made once."""
        table = catalog.kept(self, lambda: self._table(catalog))
        rows = [int(s.row) for s in spots]  # type: ignore[arg-type]  # labels are of rows
        if table is None or not table[1][rows].all():
            return super().fill_many(catalog, spots, out)
        held = table[0][rows].astype(np.float32)
        return [{self.keys[0]: label} for label in torch.from_numpy(held).unbind()]

    def _table(self, catalog: Catalog) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
        """Return (N, K) which classes each row has, and (N,) whether all that it names is known; None for other labels."""
        column = catalog.table[self.columns[0]].combine_chunks()
        if isinstance(column, pa.ChunkedArray) or self.classes is None or not pa.types.is_list(column.type):
            return None
        names, of = column.flatten(), pc.list_parent_indices(column).to_numpy(zero_copy_only=False)
        names = names.cast(pa.string()) if pa.types.is_dictionary(names.type) else names
        # Lists that are null may still have values below them, which only one of the two leaves out.
        if not pa.types.is_string(names.type) or len(names) != len(of):
            return None
        number = pc.fill_null(pc.index_in(names, pa.array(self.classes)), -1).to_numpy(zero_copy_only=False)
        found = np.zeros((len(column), len(self.classes)), dtype=bool)
        found[of[number >= 0], number[number >= 0]] = True
        known = column.is_valid().to_numpy(zero_copy_only=False).copy()
        known[of[number < 0]] = False
        return found, known

    def _tensor(self, values: list[Any], key: str) -> Tensor:
        if self.classes is None:
            if None in values:
                raise CatalogError(
                    f"item {key!r} has no value in column {self.columns[values.index(None)]!r}; leave such rows out with where()"
                )
            return torch.tensor(values, dtype=torch.float32)
        value = values[0]
        if value is None:
            raise CatalogError(f"item {key!r} has no label; leave such rows out with where(), or the label with keys=")
        if isinstance(value, str):
            return torch.tensor(self._number(value, key))
        label = torch.zeros(len(self.classes))
        for name in value:
            label[self._number(name, key)] = 1
        return label

    def _number(self, name: str, key: str) -> int:
        try:
            return (self.classes or ()).index(name)
        except ValueError:
            raise CatalogError(
                f"item {key!r} is labelled {name!r}, which is not in the table of classes: {', '.join(self.classes or ())}"
            ) from None
