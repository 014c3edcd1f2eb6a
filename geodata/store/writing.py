"""One task of a conversion: a shard of every array, from the files of its items to the store."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from geodata.errors import GeodataError, StoreError
from geodata.files import files_at
from geodata.readers.shards.metadata import ArrayMeta
from geodata.readers.shards.packing import pack
from geodata.store.attributes import as_json
from geodata.store.layout import Laid, Layout

__all__ = ["PLAN", "RECORDS", "Done", "ShardTask", "record_name"]

WORK = ".geodata/"
"""What is there only as long as a conversion is not finished."""

PLAN = f"{WORK}plan.json"
RECORDS = f"{WORK}shards/"

Position = tuple[int, int, int]

_Member = tuple[int, int, int, int, int]
"""A row, where it begins, and its height and width."""


def record_name(position: Position) -> str:
    """Return where the record of a finished task stands."""
    return f"{RECORDS}{'.'.join(map(str, position))}.json"


@dataclass(frozen=True)
class Done:
    """What a task did.

    Parameters
    ----------
    position : of its shards
    items : that it wrote, 0 if that was done before
    """

    position: Position
    items: int


@dataclass(frozen=True)
class ShardTask:
    """The shards at one position, of all arrays. Run twice it does nothing the second time; it travels to other processes.

    Parameters
    ----------
    root : of the store
    plan : digest of what the whole conversion is
    position : of the shards: along the first axis, rows and columns
    layout : with only the rows that are needed
    """

    root: str
    plan: str
    position: Position
    layout: Layout

    def run(self) -> Done:
        """Write the shards, and then the record that they are there.

        Raises
        ------
        StoreError
            If this machine does not see the store, or cannot write to it.
        ReadError, StaleCatalogError, DtypeError
            If a source file cannot be read.
        """
        files = files_at(self.root)
        if files.size(record_name(self.position)) is not None:
            return Done(self.position, 0)
        self._check_sight()
        held: dict[str, Any] = {}
        for laid in self.layout.arrays:
            for name, meta in self._metas(laid):
                parts = pack(meta, list(self._chunks(laid, valid=meta is laid.valid)))
                if not parts:
                    continue
                key = meta.key(self._place(laid, meta))
                check, size = 0, 0
                for part in parts:
                    # As numbers: what may be written to is refused in every other form.
                    flat = np.frombuffer(memoryview(part), np.uint8)
                    check = google_crc32c.extend(check, flat)
                    size += len(flat)
                self._check_sight()
                files.put(f"{name}/{key}", parts)
                held[name] = {"file": key, "bytes": size, "crc32c": f"{check:08x}"}
        items = len(self.layout.catalog)
        record = {"position": list(self.position), "items": items, "arrays": held}
        # Again: whoever asked may be gone, and the store finished or begun anew by another.
        self._check_sight()
        files.put(record_name(self.position), [as_json(record)])
        return Done(self.position, items)

    def _check_sight(self) -> None:
        """Refuse to write where the store is not: a worker may see other folders under the same path."""
        try:
            seen = json.loads(bytes(files_at(self.root).read(PLAN)))["digest"]
        except (GeodataError, ValueError, KeyError, TypeError):
            seen = None
        if seen != self.plan:
            import socket

            raise StoreError(
                f"worker {socket.gethostname()} does not see the store at {self.root}; put it where every worker can write "
                "under the same path, on a shared file system or in an object store"
            )

    @staticmethod
    def _metas(laid: Laid) -> Iterator[tuple[str, ArrayMeta]]:
        yield laid.array.name, laid.meta
        if laid.valid is not None:
            yield f"{laid.array.name}_valid", laid.valid

    def _place(self, laid: Laid, meta: ArrayMeta) -> tuple[int, ...]:
        """Return the position of a shard in the grid of an array's shards."""
        k, i, j = self.position
        return (k, 0, 0, 0) if laid.array.size is not None else (k, 0, i, j)

    def _chunks(self, laid: Laid, *, valid: bool) -> Iterator[NDArray[Any] | None]:
        """Yield the chunks of a shard in their order, None for one that no row has a pixel in."""
        meta = laid.meta
        k, i, j = self.position
        if laid.array.size is not None and (i or j):
            return
        bands, chunk, shard = meta.shape[1], meta.chunk, meta.shard
        groups, rows, columns = shard[1] // chunk[1], shard[2] // chunk[2], shard[3] // chunk[3]
        top, left = (0, 0) if laid.array.size is not None else (i * shard[2], j * shard[3])
        members = self._members(laid)
        for layer in range(k * shard[0], (k + 1) * shard[0]):
            held = members.get(layer, [])
            blocks = [
                self._block(laid, held, (top + r * chunk[2], left + c * chunk[3], chunk[2], chunk[3]), valid=valid)
                for r in range(rows)
                for c in range(columns)
            ]
            for group in range(groups):
                first = group * chunk[1]
                for block in blocks:
                    if block is None or first >= bands:
                        yield None
                    else:
                        yield _filled_up(block[first : first + chunk[1]], chunk[1])

    def _members(self, laid: Laid) -> dict[int, list[_Member]]:
        """Return the rows of each layer that have the array, and where they lie, in its pixels."""
        array, layout = laid.array, self.layout
        origin = layout.origin * 0 if array.size is not None else layout.origin // array.ratio
        places = np.hstack([origin, array.sizes(layout.catalog)]).tolist()
        found: dict[int, list[_Member]] = {}
        for row, (layer, place) in enumerate(zip(layout.layer.tolist(), places, strict=True)):
            if array.absent is None or not array.absent[row]:
                found.setdefault(layer, []).append((row, *place))
        return found

    def _block(
        self, laid: Laid, members: Sequence[_Member], window: tuple[int, int, int, int], *, valid: bool
    ) -> NDArray[Any] | None:
        """Return all bands of one place of a layer: (C, h, w)."""
        array, layout = laid.array, self.layout
        y, x, h, w = window
        shape = (len(array.bands), h, w)
        found: NDArray[Any] | None = None
        for row, down, across, height, width in members:
            r0, c0 = max(y, down), max(x, across)
            r1, c1 = min(y + h, down + height), min(x + w, across + width)
            if r1 <= r0 or c1 <= c0:
                continue
            within = (r0 - down, c0 - across, r1 - r0, c1 - c0)
            whole = (r1 - r0, c1 - c0) == (h, w)
            data = np.empty((shape[0], r1 - r0, c1 - c0), array.dtype)
            seen = np.empty(data.shape, bool) if valid else None
            array.read(layout.catalog, row, within, data, seen)
            got = data if seen is None else seen.view(np.uint8)
            if whole:
                return got
            if found is None:
                found = np.full(shape, 0 if valid else array.fill, got.dtype)
            found[:, r0 - y : r1 - y, c0 - x : c1 - x] = got
        return found


def _filled_up(block: NDArray[Any], bands: int) -> NDArray[Any]:
    """Return a block of so many bands: the last group may have fewer."""
    if len(block) == bands:
        return block[None]
    more = np.zeros((bands - len(block), *block.shape[1:]), block.dtype)
    return np.concatenate([block, more])[None]
