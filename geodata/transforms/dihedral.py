"""Mirrors and quarter turns: the eight ways a pixel grid falls onto itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from affine import Affine
from numpy.typing import NDArray
from torch import Tensor

from geodata.errors import TransformError
from geodata.grid import Grid
from geodata.transforms.layout import Layout, Size, family

__all__ = ["COLUMNS", "ROWS", "SWAP", "TURNS", "Dihedral"]

COLUMNS, ROWS, SWAP = 1, 2, 4
"""Bits of a code: first rows and columns swap, then the order of rows, then of columns, is reversed."""

TURNS = (0, SWAP | ROWS, ROWS | COLUMNS, SWAP | COLUMNS)
"""Codes of 0 to 3 quarter turns, counter-clockwise as `torch.rot90`."""

_SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}
"""torch cannot flip these; the same bits under a signed name it can."""


@dataclass(frozen=True, slots=True)
class Dihedral:
    """One mirror or turn per sample.

    Parameters
    ----------
    codes : (B,) int64 in [0, 8), sums of COLUMNS, ROWS and SWAP
    who : name of the transform, for errors
    turns : bool
        A quarter turn was possible, whatever was drawn: so a batch that cannot be turned is refused
        always, not once in a while.
    """

    codes: NDArray[np.int64]
    who: str
    turns: bool

    def then(self, other: Any) -> Dihedral | None:
        """Return this followed by another as one."""
        if not isinstance(other, Dihedral):
            return None
        swapped = (self.codes & SWAP) | (self.codes & COLUMNS) << 1 | (self.codes & ROWS) >> 1
        codes = np.where(other.codes & SWAP, swapped, self.codes) ^ other.codes
        return Dihedral(codes, f"{self.who}, {other.who}", self.turns or other.turns)

    def apply(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return a new dict with every raster, box, corner and grid moved alike."""
        layout = Layout.of(batch, len(self.codes))
        if self.turns and layout.batched:
            self._check_square(batch, layout)
        out = dict(batch)
        if not self.codes.any():
            return out
        codes: list[int] = self.codes.tolist()
        for key in layout.rasters:
            out[key] = _move_raster(batch[key], self.codes, layout.batched)
        for key in layout.vectors:
            move = _move_boxes if (family(key) or ("",))[0] == "boxes" else _move_points
            sizes = layout.reference(key)
            items = batch[key] if layout.batched else [batch[key]]
            moved = [move(item, c, size) for item, c, size in zip(items, codes, sizes, strict=True)]
            out[key] = _like(batch[key], moved, layout.batched)
        for key in layout.grids:
            grids = batch[key] if layout.batched else [batch[key]]
            turned = [_move_grid(grid, c) for grid, c in zip(grids, codes, strict=True)]
            out[key] = turned if layout.batched else turned[0]
        return out

    def _check_square(self, batch: Mapping[str, Any], layout: Layout) -> None:
        for key in layout.rasters:
            height, width = layout.sizes[key][0] if layout.sizes[key] else (1, 1)
            if isinstance(batch[key], Tensor) and height != width:
                raise TransformError(
                    f"{self.who}: {key!r} is {height} x {width} pixels; a quarter turn swaps the two, so turned and "
                    "unturned samples cannot stack in one batch. Crop or sample square patches, or allow half turns "
                    "only: T.RandomRotate90(turns=[2])"
                )


def _like(value: Any, items: list[Tensor], batched: bool) -> Any:
    if not batched:
        return items[0]
    return torch.stack(items) if isinstance(value, Tensor) and items else items


def _move_raster(value: Any, codes: NDArray[np.int64], batched: bool) -> Any:
    if batched and isinstance(value, Tensor):
        return _move_stack(value, codes)
    items = value if batched else [value]
    moved = [_move_stack(item[None], codes[i : i + 1])[0] for i, item in enumerate(items)]
    return moved if batched else moved[0]


def _move_stack(x: Tensor, codes: NDArray[np.int64]) -> Tensor:
    """Move (B, ..., H, W); codes that swap are all alike or H equals W."""
    if x.dtype in _SIGNED:
        return _move_stack(x.view(_SIGNED[x.dtype]), codes).view(x.dtype)
    swap = bool((codes & SWAP).any())
    out = x.new_empty((*x.shape[:-2], x.shape[-1], x.shape[-2]) if swap else x.shape)
    for rows, code in _groups(codes, x.device):
        part = x[rows]
        if code & SWAP:
            part = part.transpose(-1, -2)
        dims = [dim for dim, bit in ((-1, COLUMNS), (-2, ROWS)) if code & bit]
        out[rows] = part.flip(dims) if dims else part
    return out


def _groups(codes: NDArray[np.int64], device: torch.device) -> Iterator[tuple[Any, int]]:
    # On a CPU one sample at a time stays in cache, and the whole costs little more than one copy; picking out
    # groups costs three. An accelerator wants few launches, so there each code is one group.
    return enumerate(codes.tolist()) if device.type == "cpu" else _by_code(codes, device)


def _by_code(codes: NDArray[np.int64], device: torch.device) -> Iterator[tuple[Any, int]]:
    for code in np.unique(codes).tolist():
        yield torch.from_numpy(np.flatnonzero(codes == code)).to(device), code


def _move_boxes(boxes: Tensor, code: int, size: Size) -> Tensor:
    """Move (N, 4) left, top, right, bottom in pixels."""
    left, top, right, bottom = boxes.unbind(-1)
    if code & SWAP:
        left, top, right, bottom, size = top, left, bottom, right, size[::-1]
    if code & COLUMNS:
        left, right = size[1] - right, size[1] - left
    if code & ROWS:
        top, bottom = size[0] - bottom, size[0] - top
    return torch.stack([left, top, right, bottom], dim=-1)


def _move_points(points: Tensor, code: int, size: Size) -> Tensor:
    """Move (N, 4, 2) column, row positions; each point stays at its place in the list."""
    col, row = points.unbind(-1)
    if code & SWAP:
        col, row, size = row, col, size[::-1]
    if code & COLUMNS:
        col = size[1] - col
    if code & ROWS:
        row = size[0] - row
    return torch.stack([col, row], dim=-1)


def _move_grid(grid: Grid, code: int) -> Grid:
    """Return the grid on which every moved pixel lies where it lay before."""
    if not code:
        return grid
    height, width = grid.shape[::-1] if code & SWAP else grid.shape
    # From a position in the moved image back to one in the image as it was.
    col = (-1.0, float(width)) if code & COLUMNS else (1.0, 0.0)
    row = (-1.0, float(height)) if code & ROWS else (1.0, 0.0)
    if code & SWAP:
        back = Affine(0.0, row[0], row[1], col[0], 0.0, col[1])
    else:
        back = Affine(col[0], 0.0, col[1], 0.0, row[0], row[1])
    return Grid((height, width), grid.transform @ back, grid.crs)
