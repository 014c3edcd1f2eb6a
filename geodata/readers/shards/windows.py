"""Which chunks a window meets, and what of each."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from geodata.errors import ReadError

__all__ = ["Piece", "Span", "block_of", "pieces_of"]

Span = tuple[int, int]
"""First position along an axis and the one behind the last."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The part of a window that lies in one chunk.

    Parameters
    ----------
    shard : place of its shard in the grid of shards
    place : number of the chunk in its shard, C order
    inside : the part of the chunk
    outside : the part of the window
    whole : whether it is all of the chunk
    """

    shard: tuple[int, ...]
    place: int
    inside: tuple[slice, ...]
    outside: tuple[slice, ...]
    whole: bool


def pieces_of(spans: Sequence[Span], chunk: Sequence[int], inner: Sequence[int]) -> list[Piece]:
    """Return the pieces of a window, in C order of their chunks.

    Parameters
    ----------
    spans : of the window along each axis
    chunk : shape of a chunk
    inner : chunks of a shard along each axis
    """
    axes = [
        [(n, max(first, n * size), min(last, (n + 1) * size)) for n in range(first // size, -(-last // size))]
        for (first, last), size in zip(spans, chunk, strict=True)
    ]
    if any(first >= last for first, last in spans):
        return []
    found = []
    for cut in itertools.product(*axes):
        place = 0
        for (n, _, _), count in zip(cut, inner, strict=True):
            place = place * count + n % count
        found.append(
            Piece(
                tuple(n // count for (n, _, _), count in zip(cut, inner, strict=True)),
                place,
                tuple(slice(a - n * size, b - n * size) for (n, a, b), size in zip(cut, chunk, strict=True)),
                tuple(slice(a - first, b - first) for (_, a, b), (first, _) in zip(cut, spans, strict=True)),
                all(b - a == size for (_, a, b), size in zip(cut, chunk, strict=True)),
            )
        )
    return found


def block_of(key: Any, shape: Sequence[int]) -> list[slice | int]:
    """Return a slice or position for each axis by what numpy takes as a basic index.

    Raises
    ------
    ReadError
        If it is none, or has steps.
    """
    given = list(key) if isinstance(key, tuple) else [key]
    if sum(part is Ellipsis for part in given) > 1 or len(given) - (Ellipsis in given) > len(shape):
        raise ReadError(f"{key} is no index of an array of {len(shape)} axes")
    at = given.index(Ellipsis) if Ellipsis in given else len(given)
    rest = given[at + 1 :]
    given = [*given[:at], *[slice(None)] * (len(shape) - at - len(rest)), *rest]
    block: list[slice | int] = []
    for part, length in zip(given, shape, strict=True):
        if isinstance(part, slice):
            first, last, step = part.indices(length)
            if step != 1:
                raise ReadError(f"an array is read with step 1, not {step}")
            block.append(slice(first, max(first, last)))
        elif hasattr(part, "__index__"):
            position = part.__index__()
            block.append(position + length if position < 0 else position)
        else:
            raise ReadError(f"{part!r} is neither a position nor a slice")
    return block
