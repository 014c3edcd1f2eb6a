"""Mirrors, quarter turns and windows: the ways in which pixels fall onto pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geodata.grid import PIXEL_TOLERANCE
from geodata.transforms.geometry.maps import Map
from geodata.transforms.geometry.motion import Change, Frame, Step
from geodata.transforms.layout import Size

__all__ = ["COLUMNS", "ROWS", "SWAP", "TURNS", "Turn", "as_signed", "code_of", "lattice", "turned", "turning"]

COLUMNS, ROWS, SWAP = 1, 2, 4
"""Bits of a code: first rows and columns swap, then the order of rows, then of columns, is reversed."""

TURNS = (0, SWAP | ROWS, ROWS | COLUMNS, SWAP | COLUMNS)
"""Codes of 0 to 3 quarter turns, counter-clockwise as `torch.rot90`."""

_SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}
"""torch cannot flip or index these; the same bits under a signed name it can."""


@dataclass(frozen=True, kw_only=True)
class Turn(Step):
    """One mirror or turn per sample; ``drawn`` is (B,) codes in [0, 8)."""

    whole = True

    def change(self, i: int, frame: Frame) -> Change:
        """Return the map of one code."""
        code = int(self.drawn[i])
        size = frame.size[::-1] if code & SWAP else frame.size
        return Change(turning(code, size), size, swap=bool(code & SWAP))


def turning(code: int, size: Size) -> Map:
    """Return the map from a turned image of that size to the image as it was."""
    height, width = size
    col = (-1.0, float(width)) if code & COLUMNS else (1.0, 0.0)
    row = (-1.0, float(height)) if code & ROWS else (1.0, 0.0)
    if code & SWAP:
        return Map(0.0, row[0], row[1], col[0], 0.0, col[1])
    return Map(col[0], 0.0, col[1], 0.0, row[0], row[1])


def code_of(back: Map) -> int:
    """Return the code of a map that `lattice` gave."""
    if back.a == 0:
        return SWAP | (ROWS if back.b < 0 else 0) | (COLUMNS if back.d < 0 else 0)
    return (COLUMNS if back.a < 0 else 0) | (ROWS if back.e < 0 else 0)


def lattice(back: Map, size: Size) -> Map | None:
    """Return a map with whole numbers if it lays every pixel of an image of that size onto one pixel, else None."""
    a, b, c, d, e, f = (float(round(v)) for v in (back.a, back.b, back.c, back.d, back.e, back.f))
    if (abs(a), abs(b), abs(d), abs(e)) not in ((1, 0, 0, 1), (0, 1, 1, 0)):
        return None
    height, width = size
    across = abs(back.a - a) * width + abs(back.b - b) * height + abs(back.c - c)
    down = abs(back.d - d) * width + abs(back.e - e) * height + abs(back.f - f)
    return Map(a, b, c, d, e, f) if max(across, down) < PIXEL_TOLERANCE else None


def as_signed(x: Tensor) -> Tensor:
    """Return the same bits under a dtype that torch can index and flip."""
    return x.view(_SIGNED[x.dtype]) if x.dtype in _SIGNED else x


def turned(x: Tensor, code: int) -> Tensor:
    """Turn (..., H, W); a view where that is possible."""
    part = x.transpose(-1, -2) if code & SWAP else x
    dims = [dim for dim, bit in ((-1, COLUMNS), (-2, ROWS)) if code & bit]
    return part.flip(dims) if dims else part
