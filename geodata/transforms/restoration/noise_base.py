"""What all kinds of noise share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

import torch
from torch import Generator, Tensor

from geodata.errors import TransformError
from geodata.transforms.base import Needs, check_image, check_seed
from geodata.transforms.draws import Draws
from geodata.transforms.image import ImageTransform, valid_of
from geodata.transforms.layout import is_batch
from geodata.transforms.restoration.target import kept_target, target_keys

__all__ = ["NoiseTransform", "Span", "numbers", "plain", "share", "span"]

Span = float | Iterable[float]
"""One number, or two to draw between."""


class NoiseTransform(ImageTransform):
    """Base of transforms that spoil an image and keep the clean one.

    The noisy image is written under its key, the clean one under ``<key>_target`` with its ``valid``, bands and grid; if
    there is a target already it stays, so after several kinds of noise the target is what was before the first.
    What is ``valid`` stays valid: dead lines and the like are for a restorer to find. Pixels that are not
    valid are left as they are, and a NaN stays a NaN.

    A subclass gives `corrupt` and `settings`. Each sample has its own random generator; the steps of a series
    are drawn independently.

    Parameters
    ----------
    key : "image" or "image_<name>"
    keep : bool
        Write the clean image.
    seed : int in [0, 2**63)
    """

    needs = Needs(floating=True, states=("reflectance", "normalised"))

    def __init__(self, *, key: str = "image", keep: bool = True, seed: int = 0) -> None:
        super().__init__(key)
        self.keep, self.seed = bool(keep), check_seed(seed)
        self.reads = ("draw", "key", *self.reads)
        self.writes = (self.key, *(target_keys(self.suffix, moved=False) if self.keep else ()))

    def corrupt(self, x: Tensor, valid: Tensor | None, g: Generator) -> None:
        """Spoil one sample in place.

        Parameters
        ----------
        x : (N, C, H, W) floating, float32 or more; N is 1 or the number of time steps
        valid : (N, H, W) bool, or None if all is
        g : generator on the device of x
        """
        raise NotImplementedError(f"{type(self).__name__} must define corrupt()")

    def settings(self) -> dict[str, Any]:
        """Return the arguments of the subclass as plain JSON data."""
        raise NotImplementedError(f"{type(self).__name__} must define settings()")

    def config(self) -> dict[str, Any]:
        """Return all arguments."""
        return {**self.settings(), "key": self.key, "keep": self.keep, "seed": self.seed}

    def run(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
        """Spoil every sample and keep the clean image."""
        image, _ = check_image(batch, self.key, self.needs, who=type(self).__name__)
        valid = valid_of(batch, self.key)
        noisy = image.to(
            torch.promote_types(image.dtype, torch.float32), copy=True, memory_format=torch.contiguous_format
        )
        samples = noisy if is_batch(batch) else noisy[None]
        masks = [None] * len(samples) if valid is None else valid if is_batch(batch) else valid[None]
        for x, mask, g in zip(samples, masks, self.generators(batch, draws, image.device), strict=True):
            n, shape = math.prod(x.shape[:-3]), x.shape[-3:]
            self.corrupt(x.view(n, *shape), None if mask is None else mask.reshape(n, *shape[1:]), g)
        noisy = noisy.to(image.dtype)
        if valid is not None:
            noisy = torch.where(valid.unsqueeze(-3), noisy, image)
        return {**batch, self.key: noisy, **(kept_target(batch, self.suffix) if self.keep else {})}

    @property
    def effect(self) -> str:
        """Says what is spoilt and what is kept."""
        return f"{self.key} spoilt" + (f", clean one in {self.key}_target" if self.keep else "")


def numbers(what: str, values: Any, least: float = -1e9, most: float = 1e9) -> tuple[float, ...]:
    """Return one or more numbers of a range, or raise TransformError."""
    items = list(values) if isinstance(values, Iterable) and not isinstance(values, str) else [values]
    good = [isinstance(v, Real) and not isinstance(v, bool) and least <= float(v) <= most for v in items]
    if not items or not all(good):
        raise TransformError(f"{what} {values!r} must be numbers from {least:g} to {most:g}")
    return tuple(float(v) for v in items)


def span(what: str, value: Any, least: float = -1e9, most: float = 1e9) -> tuple[float, float]:
    """Return the two ends of one number or a (low, high) pair, or raise TransformError."""
    ends = numbers(what, value, least, most)
    if len(ends) > 2 or ends[0] > ends[-1]:
        raise TransformError(f"{what} {value!r} must be one number, or two to draw between, the lower first")
    return ends[0], ends[-1]


def share(what: str, value: Any) -> float:
    """Return a number in [0, 1], or raise TransformError."""
    if isinstance(value, Iterable):
        raise TransformError(f"{what} {value!r} must be one number from 0 to 1")
    return numbers(what, value, 0.0, 1.0)[0]


def plain(ends: tuple[float, float] | None) -> float | list[float] | None:
    """Return what `span` was made from, as plain JSON data."""
    if ends is None:
        return None
    return ends[0] if ends[0] == ends[1] else list(ends)
