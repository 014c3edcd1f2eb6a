"""Boxes and oriented boxes of a move: moved with the pixels, cut at the edge, dropped when out of sight."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geodata.errors import TransformError
from geodata.transforms.geometry.dihedral import lattice
from geodata.transforms.geometry.motion import Stage, Step
from geodata.transforms.layout import Layout, Size, family

__all__ = ["move_places", "visible"]

_ROWS = ("boxes", "corners", "box_labels", "instances")
"""Families with one row for each object."""

_CORNERS = [[0, 1], [2, 1], [2, 3], [0, 3]]
"""Columns of a box that are the x and y of its corners."""


def move_places(out: dict[str, Any], layout: Layout, steps: Sequence[Step], ways: Sequence[list[Stage]]) -> None:
    """Replace boxes and corners in ``out``, and drop objects that the move takes out of sight.

    An object is dropped when less than ``min_visible`` of the area of its corners, or else of its box, is
    inside the image after a step, and with it its row under ``box_labels`` and ``instances`` of the same suffix. Boxes
    are cut at the edge; corners never are, a cut one would be no box. Mirrors and turns cut and drop nothing.
    """
    suffixes = dict.fromkeys((family(key) or ("", ""))[1] for key in layout.vectors)
    for suffix in suffixes if layout.count else ():
        rows = {name: out[name + suffix] for name in _ROWS if name + suffix in out}
        items = {name: list(value) if layout.batched else [value] for name, value in rows.items()}
        counts = _counts(suffix, items)
        sizes = layout.reference(f"boxes{suffix}")
        vectors: dict[str, Tensor] = {n: torch.cat(items[n]) for n in ("boxes", "corners") if n in items}
        moved, seen = _through(vectors, counts, sizes, steps, ways)
        for name, value in moved.items():
            each = list(torch.split(value, counts))
            stacks = layout.batched and isinstance(rows[name], Tensor) and seen is None
            out[name + suffix] = torch.stack(each) if stacks else each if layout.batched else each[0]
        if seen is not None:
            _drop(out, suffix, rows, layout.batched, list(torch.split(seen, counts)))


def _counts(suffix: str, items: Mapping[str, list[Tensor]]) -> list[int]:
    numbers = {name: [len(item) for item in values] for name, values in items.items()}
    first = next(iter(numbers.values()))
    for name, got in numbers.items():
        if got != first:
            wanted = next(iter(numbers))
            raise TransformError(
                f"'{name}{suffix}' has {got[:8]} rows and '{wanted}{suffix}' {first[:8]}; an object has one row each"
            )
    return first


def _drop(out: dict[str, Any], suffix: str, rows: Mapping[str, Any], batched: bool, seen: list[Tensor]) -> None:
    for name in rows:
        key = name + suffix
        items = out[key] if batched else [out[key]]
        odd = next((item for item in items if not isinstance(item, Tensor)), None)
        if odd is not None:
            raise TransformError(
                f"{key!r} of one sample is {type(odd).__name__}; objects can be dropped from tensors alone: make it one, of "
                "numbers of classes for example"
            )
        kept = [item[keep.to(item.device)] for item, keep in zip(items, seen, strict=True)]
        out[key] = kept if batched else kept[0]


def _through(
    vectors: dict[str, Tensor],
    counts: list[int],
    sizes: list[Size],
    steps: Sequence[Step],
    ways: Sequence[list[Stage]],
) -> tuple[dict[str, Tensor], Tensor | None]:
    """Take the objects of all samples, one after the other, through every step; None if all are kept."""
    dtypes = {name: value.dtype for name, value in vectors.items()}
    _check_whole(dtypes, sizes, ways)
    index = torch.from_numpy(np.repeat(np.arange(len(counts)), counts))
    vectors = {name: value.to(_precise(value.device)) for name, value in vectors.items()}
    seen: Tensor | None = None
    for number, step in enumerate(steps):
        stages = [way[number] for way in ways]
        back = [~stage.back(size) for stage, size in zip(stages, sizes, strict=True)]
        ends = [stage.sizes[size][1] for stage, size in zip(stages, sizes, strict=True)]
        quads = {}
        for name, value in vectors.items():
            there = torch.tensor([m[:6] for m in back], dtype=torch.float64).to(value.dtype)[index].to(value.device)
            quads[name] = _moved(value[:, _CORNERS] if name == "boxes" else value, there)
        vectors = {n: torch.cat([q.amin(1), q.amax(1)], dim=1) if n == "boxes" else q for n, q in quads.items()}
        if step.whole:
            continue
        quad = quads.get("corners", next(iter(quads.values())))
        limit = torch.tensor([(w, h) for h, w in ends], dtype=quad.dtype)[index].to(quad.device)
        if "boxes" in vectors:
            edge = torch.cat([limit, limit], dim=1).to(vectors["boxes"].device)
            vectors["boxes"] = vectors["boxes"].clamp(min=0).minimum(edge)
        # Written so that NaN, which no comparison finds small, stays to be seen.
        keep = ~(visible(quad, limit) < step.min_visible)
        seen = keep if seen is None else seen & keep
    return {name: value.to(dtypes[name]) for name, value in vectors.items()}, seen


def _check_whole(dtypes: Mapping[str, torch.dtype], sizes: list[Size], ways: Sequence[list[Stage]]) -> None:
    odd = [name for name, dtype in dtypes.items() if not dtype.is_floating_point]
    if odd and not all(
        lattice(stage.back(size), stage.sizes[size][1]) for way, size in zip(ways, sizes, strict=True) for stage in way
    ):
        raise TransformError(f"{odd[0]!r} holds whole numbers, which this move would round; make them float32")


def _precise(device: torch.device) -> torch.dtype:
    # Some accelerators have no float64; a box needs no more than float32 there.
    return torch.float64 if device.type in ("cpu", "cuda", "meta") else torch.float32


def _moved(points: Tensor, there: Tensor) -> Tensor:
    """Move (N, P, 2) by one map each, (N, 6)."""
    a, b, c, d, e, f = there[:, :, None].unbind(1)
    col, row = points.unbind(-1)
    return torch.stack([a * col + b * row + c, d * col + e * row + f], dim=-1)


def visible(quads: Tensor, limit: Tensor) -> Tensor:
    """Return the share of the area of polygons that lies inside the image.

    Parameters
    ----------
    quads : (N, P, 2) x, y of corners in order
    limit : (N, 2) width, height

    Returns
    -------
    (N,) in [0, 1]; of a polygon without area, 1 or 0: whether its centre is inside
    """
    area = _area(quads)
    inside = _area(_cut(quads, limit))
    centre = quads.mean(dim=1)
    within = ((centre >= 0) & (centre <= limit)).all(dim=-1).to(quads.dtype)
    # Rounding gives a line, or a figure of eight, an area of its own.
    return torch.where(area < 1e-6, within, inside / area)


def _cut(quads: Tensor, limit: Tensor) -> Tensor:
    """Cut polygons at the four edges of the image.

    Where a side crosses an edge a corner is added, then what is beyond is pressed flat onto the edge: this leaves
    the area of the part inside, without a shape that depends on the numbers.
    """
    for axis, bound, sign in _edges(limit):
        height = (quads[..., axis] - bound[:, None]) * sign
        after, rise = quads.roll(-1, dims=1), height.roll(-1, dims=1) - height
        share = torch.where(height * (height + rise) < 0, -height / rise, torch.zeros_like(height))
        crossing = torch.lerp(quads, after, share[..., None])
        quads = torch.stack([quads, crossing], dim=2).flatten(1, 2)
        pressed = quads[..., axis].clamp(min=0) if sign > 0 else quads[..., axis].minimum(bound[:, None])
        quads = torch.stack([pressed, quads[..., 1]] if axis == 0 else [quads[..., 0], pressed], dim=-1)
    return quads


def _edges(limit: Tensor) -> Iterator[tuple[int, Tensor, int]]:
    for axis in (0, 1):
        yield axis, torch.zeros_like(limit[:, axis]), 1
        yield axis, limit[:, axis], -1


def _area(quads: Tensor) -> Tensor:
    # Relative to one corner, so that far away positions do not cancel digits.
    x, y = (quads - quads[:, :1]).unbind(-1)
    return (x * y.roll(-1, dims=1) - x.roll(-1, dims=1) * y).sum(dim=1).abs() / 2
