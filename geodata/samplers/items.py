"""Whole items, in order or shuffled; also chunk by chunk, so that what is stored together is read together."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from functools import cached_property
from itertools import repeat
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.catalog.columns import rows_digest
from geodata.catalog.paths import fields
from geodata.errors import SamplerError
from geodata.query import Query, queries_of_rows
from geodata.samplers.arguments import flag, whole
from geodata.samplers.base import QuerySampler
from geodata.samplers.draws import uniform64
from geodata.samplers.windows import catalog_of

__all__ = ["ItemSampler"]

_CHUNKS, _ROWS = 1, 2
"""Streams of random numbers: order of chunks, and of the rows of those that are held together."""


class ItemSampler(QuerySampler):
    """Visit one whole item at a time, in catalog order or shuffled anew each epoch.

    Parameters
    ----------
    data : Dataset or Catalog
    shuffle : bool
    chunks : None, "file", a column, or int >= 1
        Rows that are stored together: of the same first file, of equal value, or so many in catalog order. Chunks are
        visited in random order, and the rows of `buffer` chunks are shuffled among each other; every item still comes once
        per epoch. None shuffles all rows.
    buffer : int >= 1
        Chunks that are open at a time. Batches are the more varied the more there are.
    seed : int
        The order of epoch e is a pure function of (seed, e).
    uneven, rank, world : as in `QuerySampler`
        Ranks share the items of each chunk, so every rank opens every chunk.

    Raises
    ------
    SamplerError
        If there are chunks but no shuffling, or no such chunks.

    Examples
    --------
    ``ItemSampler(ds, shuffle=True, chunks="file", buffer=8)``
    """

    def __init__(
        self,
        data: Any,
        *,
        shuffle: bool = False,
        chunks: int | str | None = None,
        buffer: int = 4,
        seed: int = 0,
        uneven: str = "pad",
        rank: int | None = None,
        world: int | None = None,
    ) -> None:
        super().__init__(seed=seed, uneven=uneven, rank=rank, world=world)
        if not flag("shuffle", shuffle) and chunks is not None:
            raise SamplerError(f"chunks={chunks!r} says how to shuffle; give shuffle=True too")
        catalog = catalog_of(data)
        self.shuffle, self.buffer = bool(shuffle), whole("buffer", buffer)
        self._count = len(catalog)
        self._chunk = None if chunks is None else _chunks(catalog, chunks)
        self._shuffled: tuple[tuple[int, int], NDArray[np.int64]] | None = None
        self.data_digest = rows_digest(catalog)

    @property
    def total(self) -> int:
        """Items over all ranks."""
        return self._count

    @cached_property
    def plan(self) -> str:
        """Text that is equal for two samplers exactly when they yield the same samples."""
        if self._chunk is None:
            return f"{self.data_digest} {self.shuffle}"
        held = hashlib.sha256(self._chunk.data).hexdigest()[:16]
        return f"{self.data_digest} {self.shuffle} chunks {held} {self.buffer}"

    @property
    def reads_per_chunk(self) -> float | None:
        """How often this epoch's order opens each chunk, on average, if `buffer` chunks stay open; 1.0. None without chunks."""
        return None if self._chunk is None else _reads(self._chunk[self._order()], self.buffer)

    @property
    def reads_if_shuffled(self) -> float | None:
        """The same if all rows were shuffled, as without ``chunks``; the one used longest ago is closed first."""
        return None if self._chunk is None else _reads(self._chunk[self._any_order()], self.buffer)

    def draw(self, indexes: NDArray[np.int64]) -> Iterator[Query]:
        """Yield the items with the given numbers."""
        rows = self._order()[indexes] if self.shuffle else indexes
        yield from queries_of_rows(rows.tolist(), repeat(None, len(rows)), self.epoch, indexes.tolist())

    def _order(self) -> NDArray[np.int64]:
        of = (self.seed, self.epoch)
        if self._shuffled is None or self._shuffled[0] != of:
            self._shuffled = of, self._any_order() if self._chunk is None else self._chunk_order(self._chunk)
        return self._shuffled[1]

    def _any_order(self) -> NDArray[np.int64]:
        return np.argsort(uniform64(self.seed, self.epoch, np.arange(self._count)), kind="stable")

    def _chunk_order(self, chunk: NDArray[np.int64]) -> NDArray[np.int64]:
        numbers = uniform64(self.seed, self.epoch, np.arange(int(chunk.max()) + 1), _CHUNKS)
        turn = np.argsort(np.argsort(numbers, kind="stable"), kind="stable")
        within = uniform64(self.seed, self.epoch, np.arange(self._count), _ROWS)
        return np.lexsort((within, turn[chunk] // self.buffer))


def _chunks(catalog: Catalog, chunks: int | str) -> NDArray[np.int64]:
    """Return (N,) the number of each row's chunk, in order of first appearance."""
    if not isinstance(chunks, str):
        if not isinstance(chunks, Integral) or isinstance(chunks, bool) or chunks < 1:
            raise SamplerError(f"chunks={chunks!r} must be at least 1 row, a column, or 'file'")
        return np.arange(len(catalog)) // min(int(chunks), len(catalog))
    if chunks == "file":
        if not catalog.assets:
            raise SamplerError("these items have no files; give chunks= a column, or rows per chunk")
        cut = "tile_of" in catalog.table.column_names
        names = ["tile_of" if cut and name == "key" else name for name in fields(catalog.assets[0].href)]
    else:
        names = [chunks]
    known: dict[tuple[Any, ...], int] = {}
    columns = [catalog.column(name).tolist() for name in names] or [[0] * len(catalog)]
    try:
        return np.array([known.setdefault(v, len(known)) for v in zip(*columns, strict=True)], dtype=np.int64)
    except TypeError:
        raise SamplerError(
            f"column {chunks!r} holds lists, not single values; name another, or give rows per chunk"
        ) from None


def _reads(chunks: NDArray[np.int64], buffer: int) -> float:
    """Return how often each chunk is opened, on average, when rows come in this order and `buffer` chunks stay open."""
    held: OrderedDict[int, None] = OrderedDict()
    opened = 0
    for chunk in chunks.tolist():
        if chunk in held:
            held.move_to_end(chunk)
            continue
        opened += 1
        held[chunk] = None
        if len(held) > buffer:
            held.popitem(last=False)
    return opened / len(np.unique(chunks))
