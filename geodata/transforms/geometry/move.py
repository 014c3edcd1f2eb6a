"""The one move that all changes of geometry are, drawn first and carried out once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from affine import Affine
from torch import Tensor

from geodata.errors import TransformError
from geodata.grid import Grid
from geodata.transforms.geometry.maps import Map
from geodata.transforms.geometry.motion import Frame, Stage, Step, size_after
from geodata.transforms.geometry.places import move_places
from geodata.transforms.geometry.rasters import move_rasters
from geodata.transforms.layout import Layout, Size, family

__all__ = ["Move"]


@dataclass(frozen=True, slots=True)
class Move:
    """Decided steps, carried out as one: each pixel is copied or interpolated once.

    Steps that only copy pixels join with each other and with one step that interpolates. A resize is the
    last step of a move; after another interpolation only copies without padding follow.
    """

    steps: tuple[Step, ...]

    @property
    def who(self) -> str:
        """Names of the transforms, for errors."""
        return ", ".join(dict.fromkeys(step.who for step in self.steps))

    def then(self, other: Any) -> Move | None:
        """Return this followed by another as one, or None if they do not join."""
        if not isinstance(other, Move):
            return None
        steps = self.steps
        for step in other.steps:
            if not _joins(steps, step):
                return None
            steps = (*steps, step)
        return Move(steps)

    def apply(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return a new dict with every raster, box, corner and grid moved alike."""
        batch = self._with_valid(batch)
        layout = Layout.of(batch, len(self.steps[0].drawn))
        ways = self._ways(batch, layout)
        out = dict(batch)
        move_rasters(out, layout, self.steps, ways)
        move_places(out, layout, self.steps, ways)
        for key in layout.grids if layout.count else ():
            grids = batch[key] if layout.batched else [batch[key]]
            moved = [_move_grid(grid, way) for grid, way in zip(grids, ways, strict=True)]
            out[key] = moved if layout.batched else moved[0]
        return out

    def _with_valid(self, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        """Add ``valid`` where pixels from outside come in and nothing says which pixels are observed."""
        if all(step.fill is None for step in self.steps):
            return batch
        more = {}
        for key in batch:
            name, suffix = family(key) or ("", "")
            if name == "image" and f"valid{suffix}" not in batch:
                image = batch[key]
                more[f"valid{suffix}"] = (
                    list(map(_all_valid, image)) if isinstance(image, (list, tuple)) else _all_valid(image)
                )
        return {**batch, **more} if more else batch

    def _ways(self, batch: Mapping[str, Any], layout: Layout) -> list[list[Stage]]:
        """Follow every sample through the steps; without samples one stands for all, to know the sizes."""
        if layout.count:
            return [
                self._way(batch, layout, self.steps, i, frozenset(sizes[i] for sizes in layout.sizes.values()))
                for i in range(layout.count)
            ]
        tensors = [batch[key] for key in layout.rasters if isinstance(batch[key], Tensor)]
        steps = tuple(replace(s, drawn=np.zeros((1, *s.drawn.shape[1:]), dtype=s.drawn.dtype)) for s in self.steps)
        sizes = frozenset((x.shape[-2], x.shape[-1]) for x in tensors)
        return [self._way(batch, layout, steps, 0, sizes)] if sizes else []

    def _way(
        self, batch: Mapping[str, Any], layout: Layout, steps: tuple[Step, ...], i: int, sizes: frozenset[Size]
    ) -> list[Stage]:
        now = {size: size for size in sizes}
        finest = max(sizes)
        stages = []
        for step in steps:
            if step.quarter and layout.batched:
                self._check_square(batch, layout, i, now)
            change = step.change(i, Frame(now[finest], frozenset(now.values())))
            after = {size: size_after(step.who, old, now[finest], change) for size, old in now.items()}
            stages.append(Stage(change, now[finest], {size: (now[size], after[size]) for size in now}))
            now = after
        return stages

    def _check_square(self, batch: Mapping[str, Any], layout: Layout, i: int, now: Mapping[Size, Size]) -> None:
        for key in layout.rasters if layout.count else ():
            height, width = now[layout.sizes[key][i]]
            if isinstance(batch[key], Tensor) and height != width:
                raise TransformError(
                    f"{self.who}: {key!r} is {height} x {width} pixels; a quarter turn swaps the two, so turned and "
                    "unturned samples cannot stack in one batch. Crop or sample square patches, or allow half turns "
                    "only: T.RandomRotate90(turns=[2])"
                )


def _joins(steps: tuple[Step, ...], step: Step) -> bool:
    if len({s.fill for s in (*steps, step)} - {None}) > 1:
        return False
    pads = any(s.fill is not None and s.sampling is None for s in steps)
    if any(s.sampling is not None for s in steps):
        last = any(s.sampling is not None and s.sampling.resize for s in steps)
        return not last and step.sampling is None and step.fill is None
    # A bicubic map weighs what a pad has added in another way than what lies outside.
    return not (pads and step.sampling is not None and (step.sampling.resize or step.sampling.mode == "bicubic"))


def _all_valid(image: Any) -> Any:
    if not isinstance(image, Tensor) or image.ndim < 3:
        return None
    return torch.ones((*image.shape[:-3], *image.shape[-2:]), dtype=torch.bool, device=image.device)


def _move_grid(grid: Grid, way: list[Stage]) -> Grid:
    """Return the grid on which every moved pixel lies where it lay before."""
    back = Map.identity()
    for stage in way:
        back = back @ stage.back(grid.shape)
    size = way[-1].sizes[grid.shape][1]
    if size == grid.shape and back == Map.identity():
        return grid
    return Grid(size, grid.transform @ Affine(*back), grid.crs)
