"""Which axis of an array is which: rows, columns, channels, dates.

A layout is a text of axes in the order of the array, separated by blanks:

=============  ============================================================================================
``c h w``      channels, rows and columns; ``h`` and ``w`` must be there, without ``c`` there is one channel
``t=3``        an axis of which one position is taken, from 0
``1``          an axis of length one
``(w h=95)``   two axes in one, the first varies slowest, one of them with its length
=============  ============================================================================================

``c (w h=95)`` is the bands x pixels matrix of Matlab, which stores pixels column by column.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geodata.errors import CatalogError, StaleCatalogError
from geodata.readers.base import PixelWindow

__all__ = ["Layout", "LazyArray", "parse_layout", "plain"]


class LazyArray(Protocol):
    """What has a shape and a dtype, and is read by indexing with integers and slices."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """As stored."""

    def __getitem__(self, key: Any) -> Any:
        """Read a part."""


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis of an array: names that are left after reading it, and a position or lengths that are known.

    Parameters
    ----------
    names : () for an axis that is fixed, one of c, h, w, or two of them in one
    at : int or None, position of a fixed axis; None is an axis of length one
    sizes : lengths of the names, 0 where the array says it
    """

    names: tuple[str, ...]
    at: int | None = None
    sizes: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True)
class Layout:
    """A layout as `parse_layout` understood it."""

    text: str
    axes: tuple[_Axis, ...]

    def extent(self, shape: Sequence[int]) -> tuple[int, int, int]:
        """Return (channels, height, width) of an array.

        Raises
        ------
        CatalogError
            If the array has other axes than the layout.
        StaleCatalogError
            If a fixed position lies outside.
        """
        if len(shape) != len(self.axes):
            raise CatalogError(
                f"layout {self.text!r} names {len(self.axes)} axes, the array has {len(shape)}: {tuple(shape)}"
            )
        found = {"c": 1}
        for axis, length in zip(self.axes, shape, strict=True):
            found.update(zip(axis.names, self._lengths(axis, length), strict=True))
        return found["c"], found["h"], found["w"]

    def _lengths(self, axis: _Axis, length: int) -> tuple[int, ...]:
        if len(axis.names) == 1:
            return (length,)
        if not axis.names:
            if axis.at is None and length != 1:
                raise CatalogError(f"layout {self.text!r}: an axis of length 1 has length {length}")
            if axis.at is not None and axis.at >= length:
                raise StaleCatalogError(f"layout {self.text!r}: position {axis.at} of an axis of length {length}")
            return ()
        known = max(axis.sizes)
        if not length or length % known:
            raise CatalogError(f"layout {self.text!r}: an axis of length {length} is no multiple of {known}")
        outer, inner = axis.sizes
        return (outer, length // outer) if outer else (length // inner, inner)

    def take(self, array: LazyArray, window: PixelWindow, channels: Sequence[int]) -> NDArray[Any]:
        """Read a window of some channels, which must lie inside.

        Parameters
        ----------
        array : numbers in this layout
        window : (row, column, height, width)
        channels : from 0, in the order wanted

        Returns
        -------
        (C, height, width), often a view; bool as uint8, float16 as float32
        """
        lowest = min(channels)
        if max(channels) - lowest >= len(channels) and self._apart(array):
            runs = [(c, c + 1) for c in channels]
            return np.concatenate([self._box(array, window, run) for run in runs])
        block = self._box(array, window, (lowest, max(channels) + 1))
        order = [c - lowest for c in channels]
        return block if order == list(range(len(block))) else block[order]

    def _apart(self, array: LazyArray) -> bool:
        """Whether channels lie in separate places of a file, so that those between two need not be read."""
        if isinstance(array, np.ndarray):
            return False
        axis = next((i for i, axis in enumerate(self.axes) if axis.names == ("c",)), None)
        chunks = getattr(array, "chunks", None)
        if axis is None:
            return False
        return chunks[axis] == 1 if chunks else not any(a.names for a in self.axes[:axis])

    def _box(self, array: LazyArray, window: PixelWindow, channels: tuple[int, int]) -> NDArray[Any]:
        row, col, height, width = window
        want = {"c": channels, "h": (row, row + height), "w": (col, col + width)}
        key: list[int | slice] = []
        shape: list[int] = []
        inner: list[slice] = []
        for axis, length in zip(self.axes, array.shape, strict=True):
            if not axis.names:
                key.append(axis.at or 0)
                continue
            first, last = want[axis.names[0]]
            behind = 1 if len(axis.names) == 1 else self._lengths(axis, length)[1]
            key.append(slice(first * behind, last * behind))
            shape.append(last - first)
            inner.append(slice(None))
            if len(axis.names) == 2:
                shape.append(behind)
                inner.append(slice(*want[axis.names[1]]))
        block = plain(np.asarray(array[tuple(key)])).reshape(shape)[tuple(inner)]
        names = [name for axis in self.axes for name in axis.names]
        if "c" not in names:
            block, names = block[None], ["c", *names]
        return block.transpose([names.index(name) for name in "chw"])


def plain(data: NDArray[Any]) -> NDArray[Any]:
    """Return truth as uint8 and half floats as float32, which hold the same values; everything else as it is."""
    if data.dtype.kind == "b":
        return data.view(np.uint8)
    return data.astype(np.float32) if data.dtype == np.float16 else data


_TOKEN = re.compile(r"\([^()]*\)|[^\s()]+|[()]")
_SIZED = re.compile(r"([chw])(?:=([1-9]\d{0,9}))?")
_FIXED = re.compile(r"[^\W\d]\w*=(\d{1,9})")


@lru_cache(maxsize=4096)
def parse_layout(text: str) -> Layout:
    """Understand a layout.

    Raises
    ------
    CatalogError
        If it is none.
    """
    axes = tuple(_axis(token, text) for token in _TOKEN.findall(text))
    names = [name for axis in axes for name in axis.names]
    if sum(len(axis.names) == 2 for axis in axes) > 1:
        raise _no_layout(text, "more than one pair in parentheses")
    if len(set(names)) < len(names):
        raise _no_layout(text, f"{max(names, key=names.count)!r} stands twice")
    if not {"h", "w"} <= set(names):
        raise _no_layout(text, "'h' and 'w' must both be there")
    return Layout(text, axes)


def _axis(word: str, text: str) -> _Axis:
    if word == "1":
        return _Axis(())
    if word in ("c", "h", "w"):
        return _Axis((word,))
    if fixed := _FIXED.fullmatch(word):
        return _Axis((), int(fixed[1]))
    pair = [_SIZED.fullmatch(part) for part in word[1:-1].split()] if word.startswith("(") else []
    found = [(part[1], int(part[2] or 0)) for part in pair if part]
    if len(found) == len(pair) == 2 and (found[0][1] > 0) != (found[1][1] > 0):
        return _Axis((found[0][0], found[1][0]), None, (found[0][1], found[1][1]))
    raise _no_layout(text, f"{word!r} is no axis")


def _no_layout(text: str, why: str) -> CatalogError:
    return CatalogError(
        f"layout {text!r}: {why}; wanted the axes of the array in order, each one of c, h, w, 1, a fixed t=3, or two in "
        "one with a length, as in 'c (w h=95)'"
    )
