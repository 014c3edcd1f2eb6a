"""What the steps of a move say of one sample: where each pixel comes from, at every resolution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import gcd, lcm
from typing import Any, ClassVar

from numpy.typing import NDArray

from geodata.errors import TransformError
from geodata.transforms.geometry.maps import Map
from geodata.transforms.layout import GEOMETRIC, Size

__all__ = ["MOVED", "Change", "Frame", "Sampling", "Stage", "Step", "check_multiple", "size_after"]

MOVED = (*GEOMETRIC, "box_labels*")
"""What a move writes if it can take objects out of the image."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How numbers between pixels are found.

    Parameters
    ----------
    mode : "nearest", "bilinear", "bicubic" or "area"
    resize : bool
        The whole image is brought to another size; otherwise any affine map.
    antialias : bool, only when ``resize``
    """

    mode: str
    resize: bool = False
    antialias: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    """What a step is told of a sample: height and width of its rasters as the steps before leave them.

    Parameters
    ----------
    size : of the finest raster
    sizes : of all rasters, which cover the same ground
    """

    size: Size
    sizes: frozenset[Size]

    @property
    def lattice(self) -> Size:
        """Rows and columns of the finest raster between lines on which the pixels of all rasters meet."""
        height, width = self.size
        rows = lcm(*(height // gcd(height, h) for h, _ in self.sizes))
        return rows, lcm(*(width // gcd(width, w) for _, w in self.sizes))


@dataclass(frozen=True, slots=True)
class Change:
    """What a step does to one sample.

    Parameters
    ----------
    back : column, row positions in the finest raster afterwards -> those before; 0 = left or upper edge
    size : of the finest raster afterwards
    swap : rows of other rasters become columns
    same : all rasters get ``size``, instead of keeping their ratio to the finest
    """

    back: Map
    size: Size
    swap: bool = False
    same: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """One step on the way of one sample; ``sizes`` leads from the size of a raster at first to (before, after)."""

    change: Change
    before: Size
    sizes: Mapping[Size, tuple[Size, Size]]

    def back(self, size: Size) -> Map:
        """Return the map for the raster that was ``size`` at first.

        Whole numbers are divided last, so that what falls onto pixels does so exactly at every resolution.
        """
        (old_h, old_w), (new_h, new_w) = self.sizes[size]
        (ref_h, ref_w), (out_h, out_w) = self.before, self.change.size
        m = self.change.back  # its fields are quicker to get at than its items
        return Map(
            m.a * (old_w * out_w) / (ref_w * new_w),
            m.b * (old_w * out_h) / (ref_w * new_h),
            m.c * old_w / ref_w,
            m.d * (old_h * out_w) / (ref_h * new_w),
            m.e * (old_h * out_h) / (ref_h * new_h),
            m.f * old_h / ref_h,
        )


@dataclass(frozen=True, kw_only=True)
class Step:
    """One transform's part of a move.

    Parameters
    ----------
    who : name of the transform, for errors
    drawn : (B, ...) what was decided for each sample
    sampling : None if pixels fall onto pixels
    fill : number for image pixels that come from outside; None if there are none
    min_visible : share of the area of an object that must stay inside the image
    quarter : a quarter turn was possible, whatever was drawn: so a batch that cannot be turned is refused
        always, not once in a while
    """

    who: str
    drawn: NDArray[Any]
    sampling: Sampling | None = None
    fill: float | None = None
    min_visible: float = 0.25
    quarter: bool = False

    whole: ClassVar[bool] = False
    """The image is laid onto itself: nothing enters, nothing leaves."""

    def change(self, i: int, frame: Frame) -> Change:
        """Return what happens to sample i."""
        raise NotImplementedError


def check_multiple(who: str, size: Size, frame: Frame) -> Size:
    """Return the size, or raise TransformError if rasters of this frame have no such whole number of pixels."""
    for length, each in zip(size, frame.lattice, strict=True):
        if length % each:
            low = length // each * each
            good = f"{low} or {low + each}" if low else f"{each}"
            kinds = ", ".join(f"{h} x {w}" for h, w in sorted(frame.sizes))
            raise TransformError(
                f"{who}: {size[0]} x {size[1]} pixels do not fit rasters of {kinds} pixels, which meet every {each} "
                f"pixels of the finest; use {good} instead of {length}"
            )
    return size


def size_after(who: str, old: Size, finest: Size, change: Change) -> Size:
    """Return what becomes of a raster of one size where the finest is of another, or raise TransformError."""
    if change.same:
        return change.size
    if change.swap:
        old, finest = old[::-1], finest[::-1]
    parts = [divmod(n * new, ref) for n, new, ref in zip(old, change.size, finest, strict=True)]
    if any(rest for _, rest in parts):
        check_multiple(who, change.size, Frame(finest, frozenset({old, finest})))
    return parts[0][0], parts[1][0]
