"""The steps of an image input, joined into as few passes over the pixels as they allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geodata.zoo.fields import Step

__all__ = ["Pass", "Vector", "apply", "joined", "neutral", "passes", "values_after"]

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Pass:
    """One pass over the pixels with two numbers for each band.

    ``affine`` is x * a + b, ``clip`` is to [a, b], ``floor`` uses neither.
    """

    kind: str
    a: Vector
    b: Vector


def passes(steps: Sequence[Step], count: int) -> list[Pass]:
    """Return the steps as passes, for ``count`` bands."""
    return [_pass(step, count) for step in steps]


def joined(items: Sequence[Pass]) -> list[Pass]:
    """Return the same passes with neighbouring multiply-adds made one."""
    out: list[Pass] = []
    for item in items:
        last = out[-1] if out else None
        if last is not None and last.kind == item.kind == "affine":
            out[-1] = Pass("affine", last.a * item.a, last.b * item.a + item.b)
        else:
            out.append(item)
    return [item for item in out if item.kind != "affine" or np.any(item.a != 1) or np.any(item.b != 0)]


def values_after(items: Sequence[Pass], x: Vector) -> Vector:
    """Return (C,) numbers after the passes, in float64."""
    for item in items:
        if item.kind == "affine":
            x = x * item.a + item.b
        else:
            x = np.clip(x, item.a, item.b) if item.kind == "clip" else np.floor(x)
    return x


def neutral(steps: Sequence[Step], count: int) -> Vector:
    """Return (C,) what stands for a number that is not known: the last z-score's mean, or 0 without one."""
    last = max((i for i, step in enumerate(steps) if step.do == "zscore"), default=None)
    start = np.zeros(count)
    return start if last is None else values_after(passes(steps[last + 1 :], count), start)


def apply(items: Sequence[tuple[str, Tensor, Tensor]], x: Tensor, *, own: bool) -> Tensor:
    """Run passes over (..., C, H, W); numbers are (C, 1, 1) on its device. ``own`` allows to write to ``x``."""
    for kind, a, b in items:
        inplace = own and not x.requires_grad
        if kind == "affine":
            x = torch.addcmul(b, x, a, out=x) if inplace else torch.addcmul(b, x, a)
        elif kind == "clip":
            x = torch.clamp(x, a, b, out=x) if inplace else torch.clamp(x, a, b)
        else:
            x = x.floor_() if inplace else x.floor()
        own = True
    return x


def _pass(step: Step, count: int) -> Pass:
    given = {name: np.broadcast_to(np.array(value, float), (count,)) for name, value in step.values.items()}
    if step.do == "zscore":
        return _affine(1 / given["std"], -given["mean"] / given["std"])
    if step.do == "range":
        span = given["high"] - given["low"]
        return _affine(1 / span, -given["low"] / span)
    if step.do == "scale":
        return _affine(given["multiply"], given["add"])
    if step.do == "clip":
        return Pass("clip", given["low"], given["high"])
    return Pass("floor", np.zeros(count), np.zeros(count))


def _affine(a: Any, b: Any) -> Pass:
    return Pass("affine", a, b)
