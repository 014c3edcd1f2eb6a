"""Other numbers of pixels for the same ground, or for a random part of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from geodata.errors import TransformError
from geodata.transforms.base import Transform, check_seed, check_share
from geodata.transforms.draws import Draws
from geodata.transforms.geometry.cropping import check_size, nothing_drawn, shown_size, snapped
from geodata.transforms.geometry.maps import Map
from geodata.transforms.geometry.motion import MOVED, Change, Frame, Sampling, Step, check_multiple
from geodata.transforms.geometry.move import Move
from geodata.transforms.layout import Size

__all__ = ["RandomResizedCrop", "Resize"]

MODES = ("bilinear", "bicubic", "area", "nearest")


class Resize(Transform):
    """Bring samples to one size.

    Images and abundances are interpolated from valid pixels alone: invalid ones have no weight, and the result is
    valid where valid ones have at least half of the weight, otherwise 0 [1]_. A NaN in a valid pixel spreads as far as
    the interpolation reaches. Masks and instances take the pixel in which the new centre lies. Boxes, corners and the
    grid follow. Half floats are calculated in float32.

    Parameters
    ----------
    size : int or (height, width), pixels of the finest raster
    interpolation : {"bilinear", "bicubic", "area", "nearest"}
        "nearest" works on integers too.
    antialias : bool
        For bilinear and bicubic: average over as many pixels as one new pixel covers.
    same : bool
        All rasters get ``size``, as models want that take one tensor; otherwise coarser ones keep their ratio.

    Raises
    ------
    TransformError
        If an argument is unknown; on integers unless "nearest"; on a sample whose coarser rasters would have no whole
        number of pixels.

    References
    ----------
    .. [1] H. Knutsson, C.-F. Westin, "Normalized and differential convolution", CVPR 1993.

    Examples
    --------
    >>> import torch
    >>> valid = torch.tensor([[True, True, False, True]])
    >>> sample = {"key": "a", "image": torch.tensor([[[1.0, 3.0, 99.0, 5.0]]]), "valid": valid}
    >>> Resize((1, 2), interpolation="area")(sample)["image"]
    tensor([[[2., 5.]]])
    """

    reads = ("key", *MOVED)
    writes = MOVED

    def __init__(
        self,
        size: int | Iterable[int],
        *,
        interpolation: str = "bilinear",
        antialias: bool = True,
        same: bool = False,
    ) -> None:
        super().__init__()
        self.size = check_size(size)
        self.interpolation = check_mode(interpolation, MODES)
        self.antialias, self.same = bool(antialias), bool(same)

    def plan(self, batch: Mapping[str, Any], draws: Draws) -> Move:
        """Say which size."""
        return Move((_resizing(self, nothing_drawn(batch)),))

    def config(self) -> dict[str, Any]:
        """Return size, interpolation, antialias and same."""
        return {
            "size": list(self.size),
            "interpolation": self.interpolation,
            "antialias": self.antialias,
            "same": self.same,
        }

    @property
    def effect(self) -> str:
        """Size."""
        return f"H, W -> {shown_size(self.size)}{' of all' if self.same else ''}"


class RandomResizedCrop(Transform):
    """Cut a random window out of every sample and bring it to one size; the classic view of self-supervised learning.

    The window lies on whole pixels of all rasters, so that images of several resolutions show exactly the same ground.
    Of ten windows that are drawn the first that fits is taken, and if none does, the middle. Interpolation, ``valid``
    and NaN are as for `Resize`, objects as for `RandomCrop`.

    Parameters
    ----------
    size : int or (height, width), pixels of the finest raster
    scale : (low, high) in (0, 1], share of the area
    ratio : (low, high) > 0, width / height; drawn evenly in its logarithm
    interpolation, antialias : as for `Resize`
    min_visible : float in [0, 1]
    seed : int in [0, 2**63)

    Raises
    ------
    TransformError
        As for `Resize`, and if a range is empty.

    References
    ----------
    .. [1] C. Szegedy et al., "Going deeper with convolutions", CVPR 2015, section 6.

    Examples
    --------
    >>> import torch
    >>> sample = {"key": "a", "draw": torch.tensor([0, 0]), "image": torch.rand(4, 64, 64)}
    >>> RandomResizedCrop(32)(sample)["image"].shape
    torch.Size([4, 32, 32])
    """

    reads = ("draw", "key", *MOVED)
    writes = MOVED

    def __init__(
        self,
        size: int | Iterable[int],
        *,
        scale: Iterable[float] = (0.2, 1.0),
        ratio: Iterable[float] = (3 / 4, 4 / 3),
        interpolation: str = "bilinear",
        antialias: bool = True,
        min_visible: float = 0.25,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.size = check_size(size)
        self.scale = check_range("scale", scale, above=0.0, most=1.0)
        self.ratio = check_range("ratio", ratio, above=0.0)
        self.interpolation = check_mode(interpolation, MODES)
        self.antialias, self.same = bool(antialias), False
        self.min_visible = check_share("min_visible", min_visible)
        self.seed = check_seed(seed)

    def plan(self, batch: Mapping[str, Any], draws: Draws) -> Move:
        """Decide on ten windows for each sample; which one fits is seen when its size is known."""
        u = self.uniform(batch, draws, 4 * _TRIES)
        crop = _Window(
            who=type(self).__name__, drawn=u, scale=self.scale, ratio=self.ratio, min_visible=self.min_visible
        )
        return Move((crop, _resizing(self, u)))

    def config(self) -> dict[str, Any]:
        """Return all arguments."""
        return {
            "size": list(self.size),
            "scale": list(self.scale),
            "ratio": list(self.ratio),
            "interpolation": self.interpolation,
            "antialias": self.antialias,
            "min_visible": self.min_visible,
            "seed": self.seed,
        }

    @property
    def effect(self) -> str:
        """Size."""
        return f"a part, H, W -> {shown_size(self.size)}"


_TRIES = 10


@dataclass(frozen=True, kw_only=True)
class _Window(Step):
    """``drawn`` is (B, 4 * tries): area, shape, row and column, each in [0, 1)."""

    scale: tuple[float, float]
    ratio: tuple[float, float]

    def change(self, i: int, frame: Frame) -> Change:
        h, w, row, col = self._first_that_fits(i, frame)
        (height, width), (down, across) = frame.size, frame.lattice
        top, left = snapped(row, h, height, down), snapped(col, w, width, across)
        return Change(Map.translation(left, top), (h, w))

    def _first_that_fits(self, i: int, frame: Frame) -> tuple[int, int, float | None, float | None]:
        (height, width), (down, across) = frame.size, frame.lattice
        low, high = map(math.log, self.ratio)
        for area, shape, row, col in self.drawn[i].reshape(-1, 4).tolist():
            pixels = height * width * (self.scale[0] + area * (self.scale[1] - self.scale[0]))
            aspect = math.exp(low + shape * (high - low))
            h = max(1, round(math.sqrt(pixels / aspect) / down)) * down
            w = max(1, round(math.sqrt(pixels * aspect) / across)) * across
            if h <= height and w <= width:
                return h, w, row, col
        h = min(height, max(1, int(width / self.ratio[0] / down)) * down)
        w = min(width, max(1, int(height * self.ratio[1] / across)) * across)
        return h, w, None, None


@dataclass(frozen=True, kw_only=True)
class _Resize(Step):
    size: Size
    same: bool

    def change(self, i: int, frame: Frame) -> Change:
        if not self.same:
            check_multiple(self.who, self.size, frame)
        (height, width), (new_h, new_w) = frame.size, self.size
        return Change(Map.scale(width / new_w, height / new_h), self.size, same=self.same)


def _resizing(transform: Resize | RandomResizedCrop, drawn: Any) -> _Resize:
    smooth = transform.antialias and transform.interpolation in ("bilinear", "bicubic")
    sampling = Sampling(transform.interpolation, resize=True, antialias=smooth)
    who = type(transform).__name__
    return _Resize(who=who, drawn=drawn, size=transform.size, same=transform.same, sampling=sampling)


def check_mode(mode: Any, allowed: tuple[str, ...]) -> str:
    """Return the name of an interpolation, or raise TransformError."""
    if mode not in allowed:
        raise TransformError(f"interpolation {mode!r} must be one of {', '.join(allowed)}")
    return str(mode)


def check_range(what: str, values: Any, *, above: float = -math.inf, most: float = math.inf) -> tuple[float, float]:
    """Return two finite numbers in order, above one bound and not beyond the other, or raise TransformError."""
    try:
        low, high = (float(v) for v in values)
    except (TypeError, ValueError):
        low, high = math.nan, math.nan
    if not (above < low <= high <= most and math.isfinite(high) and math.isfinite(low)):
        bounds = f", above {above:g}" * math.isfinite(above) + f", at most {most:g}" * math.isfinite(most)
        raise TransformError(f"{what} {values!r} must be (low, high), finite and in order{bounds}")
    return low, high
