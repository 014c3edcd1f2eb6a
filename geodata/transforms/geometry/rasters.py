"""Pixels of a move: copied where they fall onto pixels, interpolated once where they do not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from geodata.errors import TransformError
from geodata.sample import IGNORE
from geodata.transforms.geometry.dihedral import as_signed, code_of, lattice, turned
from geodata.transforms.geometry.interpolation import gather, pick, resize, warp
from geodata.transforms.geometry.maps import Map
from geodata.transforms.geometry.motion import Sampling, Stage, Step
from geodata.transforms.image import valid_of
from geodata.transforms.layout import Layout, Size, all_true, dtype_name, empty, family

__all__ = ["Route", "move_rasters", "route"]

Rect = tuple[int, int, int, int]
"""top, left, bottom, right in pixels."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where the pixels of one raster of one sample come from.

    Parameters
    ----------
    back : column, row positions after the move, before a resize -> positions in the raster as it was
    size : after the move, before a resize
    domain : part of the raster that may be read: what is outside was cut away by an earlier step
    lattice : every pixel falls onto a pixel
    final : size after all
    """

    back: Map
    size: Size
    domain: Rect
    lattice: bool
    final: Size


@dataclass(frozen=True, slots=True)
class Rule:
    """How one family of rasters is filled in: with numbers between pixels, and with what from outside."""

    sampling: Sampling | None
    fill: float


def route(way: Sequence[Stage], steps: Sequence[Step], size: Size) -> Route:
    """Follow a raster of that size through the steps of one sample."""
    back, now, domain, exact = Map.identity(), size, (0, 0, *size), True
    for stage, step in zip(way, steps, strict=True):
        if step.sampling is not None and step.sampling.resize:
            break
        back, now = back @ stage.back(size), stage.sizes[size][1]
        whole = lattice(back, now) if exact else None
        exact = whole is not None
        if whole is not None:
            back, domain = whole, _meet(domain, _rect(whole, now))
    return Route(back, now, domain, exact, way[-1].sizes[size][1])


def move_rasters(out: dict[str, Any], layout: Layout, steps: Sequence[Step], ways: Sequence[list[Stage]]) -> None:
    """Replace every raster in ``out`` by the moved one."""
    sampling = next((step.sampling for step in steps if step.sampling is not None), None)
    fill = next((step.fill for step in steps if step.fill is not None), None)
    before = dict(out)
    known: dict[tuple[int, Size], Route] = {}
    for key in layout.rasters:
        name, suffix = family(key) or ("", "")
        value = before[key]
        rule = _rule(name, sampling, fill)
        _check(key, value, rule, outside=fill is not None, steps=steps)
        sizes = layout.sizes[key] or (
            [(value.shape[-2], value.shape[-1])] if isinstance(value, Tensor) and ways else []
        )
        for i, size in enumerate(sizes):
            if (i, size) not in known:
                known[i, size] = route(ways[i], steps, size)
        routes = [known[i, size] for i, size in enumerate(sizes)]
        valid = before.get(f"valid{suffix}") if name in ("image", "abundance") else None
        if name == "image" and rule.sampling is not None and isinstance(value, Tensor):
            valid_of(before, key)  # else what it says would be left out
        if routes and not all(_stays(r, size) for r, size in zip(routes, sizes, strict=True)):
            out[key] = _move(value, routes, rule, valid, layout.batched)


def _rule(name: str, sampling: Sampling | None, fill: float | None) -> Rule:
    if name in ("image", "abundance", "valid"):
        return Rule(sampling, (fill or 0.0) if name == "image" else 0)
    nearest = None if sampling is None else Sampling("nearest", resize=sampling.resize)
    return Rule(nearest, IGNORE if name == "mask" and fill is not None else 0)


def _check(key: str, value: Any, rule: Rule, *, outside: bool, steps: Sequence[Step]) -> None:
    items = value if isinstance(value, (list, tuple)) else [value]
    who = ", ".join(dict.fromkeys(step.who for step in steps if step.sampling is not None or step.fill is not None))
    for dtype in {item.dtype for item in items}:
        text = dtype_name(dtype)
        between = rule.sampling is not None and rule.sampling.mode != "nearest"
        if between and not dtype.is_floating_point and not key.startswith("valid"):
            raise TransformError(
                f"{who} cannot interpolate {text} numbers of {key!r}; call T.ToFloat() first, or take "
                "interpolation='nearest'"
            )
        if outside and not dtype.is_complex:
            info = (
                torch.finfo(dtype) if dtype.is_floating_point else None if dtype == torch.bool else torch.iinfo(dtype)
            )
            low, high = (0, 1) if info is None else (info.min, info.max)
            if not ((dtype.is_floating_point or rule.fill == int(rule.fill)) and low <= rule.fill <= high):
                raise TransformError(
                    f"{who} marks pixels outside of {key!r} with {rule.fill:g}, which is no {text}; cast it first: "
                    "masks to int64, images by T.ToFloat(), or choose another fill"
                )


def _move(value: Any, routes: list[Route], rule: Rule, valid: Any, batched: bool) -> Any:
    if batched and isinstance(value, Tensor) and (valid is None or isinstance(valid, Tensor)):
        return _move_stack(value, routes, rule, valid)
    items = list(value) if batched else [value]
    valids = [None] * len(items) if valid is None else list(valid) if batched else [valid]
    moved = [
        _move_stack(item[None], [r], rule, None if v is None else v[None])[0]
        for item, r, v in zip(items, routes, valids, strict=True)
    ]
    if batched:
        return torch.stack(moved) if isinstance(value, Tensor) else moved
    return moved[0]


def _move_stack(x: Tensor, routes: list[Route], rule: Rule, valid: Tensor | None) -> Tensor:
    """Move (B, ..., H, W) to one common size."""
    bits = as_signed(x)
    # A series may have shares or images of another number of dimensions than its valid.
    seen = None if valid is None or valid.shape != x.shape[:-3] + x.shape[-2:] else valid
    out = empty((*x.shape[:-2], *routes[0].final), bits)
    number = rule.fill if x.dtype.is_floating_point else int(rule.fill)
    fill = as_signed(torch.tensor([number], dtype=x.dtype)).item()
    # A number must not depend on its neighbours in the batch, not even in the last digit: what is all valid takes
    # the short way, and stays among its like.
    look = x if x.dtype == torch.bool else seen
    for rows, group in _groups(routes if len(x) else [], look, x.device):
        out[rows] = _moved(bits[rows], group, Rule(rule.sampling, fill), None if seen is None else seen[rows])
    return out if out.dtype == x.dtype else out.view(x.dtype)


def _groups(routes: list[Route], seen: Tensor | None, device: torch.device) -> Iterator[tuple[Any, list[Route]]]:
    """Split samples into such as are moved by one call."""
    if device.type != "cpu":
        yield from _by_kind(routes, device)
        return
    # On a CPU a sample for each thread stays in cache, and the whole costs little more than one copy; picking out
    # groups costs three. An accelerator wants few launches, so there what moves alike is one group.
    kinds = [(*_kind(r), seen is None or all_true(seen[i])) for i, r in enumerate(routes)]
    first, most = 0, torch.get_num_threads()
    for i in range(1, len(routes) + 1):
        if i == len(routes) or i - first == most or kinds[i] != kinds[first]:
            yield slice(first, i), routes[first:i]
            first = i


def _by_kind(routes: list[Route], device: torch.device) -> Iterator[tuple[Any, list[Route]]]:
    kinds: dict[Any, list[int]] = {}
    for i, r in enumerate(routes):
        kinds.setdefault(_kind(r), []).append(i)
    for rows in kinds.values():
        yield torch.tensor(rows, device=device), [routes[i] for i in rows]


def _kind(r: Route) -> tuple[Any, ...]:
    return r.lattice, r.domain, r.size, r.back if r.lattice else None


def _moved(x: Tensor, group: list[Route], rule: Rule, valid: Tensor | None) -> Tensor:
    """Move (n, ..., H, W), of which all are copied alike, or all are interpolated from the same part."""
    r = group[0]
    how = rule.sampling
    if not r.lattice and how is not None:
        top, left, bottom, right = r.domain
        if top >= bottom or left >= right:
            return x.new_full((*x.shape[:-2], *r.size), rule.fill)
        part = x[..., top:bottom, left:right]
        seen = None if valid is None else valid[..., top:bottom, left:right]
        backs = [Map.translation(-left, -top) @ each.back for each in group]
        if how.mode == "nearest":
            return gather(part, backs, r.size, rule.fill)
        return warp(part, seen, backs, r.size, how.mode, rule.fill)
    y = _window(x, r, rule.fill)
    if how is None or not how.resize or r.size == r.final:
        return y
    if how.mode == "nearest":
        return pick(y, r.final)
    seen = None if valid is None else _window(valid, r, 0)
    return resize(y, seen, r.final, how.mode, antialias=how.antialias, fill=rule.fill)


def _window(x: Tensor, r: Route, fill: float) -> Tensor:
    """Copy pixels onto pixels; a view where nothing is turned."""
    code = code_of(r.back)
    top, left, bottom, right = r.domain
    # The map is its own kind of inverse: the part that is read, seen from the image after the move.
    to_top, to_left, to_bottom, to_right = _rect(~r.back, (bottom - top, right - left), at=(top, left))
    part = x[..., top : max(top, bottom), left : max(left, right)]
    if (to_top, to_left, to_bottom, to_right) == (0, 0, *r.size):
        return turned(part, code)
    out = x.new_full((*x.shape[:-2], *r.size), fill)
    if top < bottom and left < right:
        out[..., to_top:to_bottom, to_left:to_right] = turned(part, code)
    return out


def _rect(back: Map, size: Size, *, at: tuple[int, int] = (0, 0)) -> Rect:
    """Where a whole map takes a rectangle."""
    (row, col), (height, width) = at, size
    x0, y0 = back.a * col + back.b * row + back.c, back.d * col + back.e * row + back.f
    x1, y1 = x0 + back.a * width + back.b * height, y0 + back.d * width + back.e * height
    return round(min(y0, y1)), round(min(x0, x1)), round(max(y0, y1)), round(max(x0, x1))


def _meet(a: Rect, b: Rect) -> Rect:
    return max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])


def _stays(r: Route, size: Size) -> bool:
    return r.lattice and r.back == Map.identity() and r.domain == (0, 0, *size) and r.size == r.final == size
