"""How overlapping patches become one value per pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["BLENDS", "Flags", "Floats", "Strip", "blend_into", "weights"]

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]


class Strip:
    """Some rows of the map in memory: blended values and the weights that went into them."""

    __slots__ = ("value", "weight")

    def __init__(self, channels: int, height: int, width: int) -> None:
        self.value: Floats = np.zeros((channels, height, width), np.float32)
        self.weight: Floats = np.zeros((height, width), np.float32)

    def trim(self, at: tuple[slice, slice], patch: Floats, weight: Floats) -> None:
        """Keep the value of the patch in which a pixel lies deepest."""
        value, best = self.value[:, *at], self.weight[at]
        better = weight > best
        np.copyto(value, patch, where=better)
        np.copyto(best, weight, where=better)

    def hann(self, at: tuple[slice, slice], patch: Floats, weight: Floats) -> None:
        """Move the running weighted mean towards the patch.

        A mean that is moved stays exactly where all patches agree; sums that are divided in the end do not.
        """
        value, total = self.value[:, *at], self.weight[at]
        total += weight
        share = np.divide(weight, total, out=np.zeros_like(weight), where=weight > 0)
        with np.errstate(invalid="ignore"):
            step = np.where(weight > 0, patch - value, np.float32(0))
            moved = value + step * share
            # A score of -inf (a class ruled out) has no mean to move: there, infinity wins over any number.
            endless = ~np.isfinite(moved) & (weight > 0)
            if endless.any():
                np.copyto(moved, value + patch, where=endless)
        value[...] = moved


def _depth(n: int) -> Floats:
    """Distance to the nearer end of n pixels, in quarters; a pixel midway between two patches goes to the first."""
    i = np.arange(n)
    return np.minimum(4 * i + 2, 4 * (n - i) - 1).astype(np.float32)


def _hann(n: int) -> Floats:
    """Hann window sampled at pixel centres, so that no weight is 0."""
    return (np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2).astype(np.float32)


_PROFILES = {"trim": _depth, "hann": _hann}
_RULES = {"trim": Strip.trim, "hann": Strip.hann}
BLENDS = tuple(_RULES)


def weights(blend: str, height: int, width: int) -> Floats:
    """Return the (height, width) weights of a patch, all above 0.

    They are a product of profiles: the deepest patch is then the deepest along rows and along columns, also in corners.
    """
    profile = _PROFILES[blend]
    return profile(height)[:, None] * profile(width)


def blend_into(strip: Strip, blend: str, at: tuple[slice, slice], patch: Floats, weight: Floats) -> None:
    """Blend a patch (C, h, w) with weights (h, w), 0 where not known, into a place of a strip."""
    _RULES[blend](strip, at, patch, weight)
