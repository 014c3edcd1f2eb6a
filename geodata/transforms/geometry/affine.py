"""Random turns, shifts, scales and shears, the same on the ground for every resolution."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from geodata.errors import TransformError
from geodata.transforms.base import Transform, check_probability, check_seed, check_share
from geodata.transforms.draws import Draws
from geodata.transforms.geometry.cropping import check_fill
from geodata.transforms.geometry.maps import Map
from geodata.transforms.geometry.motion import MOVED, Change, Frame, Sampling, Step
from geodata.transforms.geometry.move import Move
from geodata.transforms.geometry.sizes import check_mode, check_range

__all__ = ["RandomAffine"]


class RandomAffine(Transform):
    """Turn, shift, scale and shear samples at random, all keys and resolutions of a sample alike.

    The map is drawn in shares of the image and carried out about its middle in pixels of the finest raster, so images
    of 10, 20 and 60 m move by the same ground distance, and a turn does not shear an image that is not square.
    Joined with mirrors, turns and crops in a `Compose`, pixels are interpolated once, straight to the result.

    Images and abundances are interpolated from valid pixels alone: invalid ones and the outside have no weight, and a
    pixel of the result is valid if valid ones have at least half of it; otherwise it is ``fill`` [1]_. Outside,
    ``valid`` is False (and is added where it is missing), masks are -100, abundances 0.
    A NaN in a valid pixel reaches the pixels whose interpolation takes part of it, and no others. Masks and instances
    take the nearest pixel. Half floats are calculated in float32. Objects are cut and dropped as by `RandomCrop`.

    Parameters
    ----------
    degrees : float, or (low, high)
        Turn counter-clockwise; one number stands for both directions.
    translate : float in [0, 1], or (across, down)
        Largest shift, as a share of width and height.
    scale : (low, high) > 0, or None
        Above 1 things get larger.
    shear : float below 90, or (low, high)
        Degrees by which columns lean.
    p : float in [0, 1]
        Probability that a sample is moved at all.
    interpolation : {"bilinear", "nearest", "bicubic"}
        "nearest" works on integers too.
    fill : float
    min_visible : float in [0, 1], as for `RandomCrop`
    seed : int in [0, 2**63)

    Raises
    ------
    TransformError
        If an argument is out of range; on integers unless "nearest"; on a batch without ``draw`` [epoch, index].

    References
    ----------
    .. [1] H. Knutsson, C.-F. Westin, "Normalized and differential convolution", CVPR 1993.

    Examples
    --------
    >>> import torch
    >>> sample = {"key": "a", "draw": torch.tensor([0, 0]), "image": torch.rand(4, 32, 32)}
    >>> out = RandomAffine(degrees=45, translate=0.1, scale=(0.8, 1.25))(sample)
    >>> out["image"].shape, out["valid"].dtype
    (torch.Size([4, 32, 32]), torch.bool)
    """

    reads = ("draw", "key", *MOVED)
    writes = MOVED

    def __init__(
        self,
        degrees: float | Iterable[float] = 0.0,
        translate: float | Iterable[float] = 0.0,
        scale: Iterable[float] | None = None,
        shear: float | Iterable[float] = 0.0,
        *,
        p: float = 1.0,
        interpolation: str = "bilinear",
        fill: float = 0.0,
        min_visible: float = 0.25,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.degrees = _either_way("degrees", degrees)
        across, down = (translate, translate) if isinstance(translate, Real) else _pair(translate)
        self.translate = check_share("translate", across), check_share("translate", down)
        self.scale = (1.0, 1.0) if scale is None else check_range("scale", scale, above=0.0)
        self.shear = _either_way("shear", shear)
        if max(map(abs, self.shear)) >= 90:
            raise TransformError(f"shear {shear!r} must stay below 90 degrees")
        self.p = check_probability(p)
        self.interpolation = check_mode(interpolation, ("bilinear", "nearest", "bicubic"))
        self.fill = check_fill(fill)
        self.min_visible = check_share("min_visible", min_visible)
        self.seed = check_seed(seed)

    def plan(self, batch: Mapping[str, Any], draws: Draws) -> Move:
        """Decide for each sample on turn, shift, scale and shear."""
        u = self.uniform(batch, draws, 6)
        across, down = self.translate
        ranges = (self.degrees, (-across, across), (-down, down), self.scale, self.shear)
        values = [low + u[:, j + 1] * (high - low) for j, (low, high) in enumerate(ranges)]
        still = u[:, 0] >= self.p
        drawn = np.stack(values, axis=1)
        drawn[still] = (0.0, 0.0, 0.0, 1.0, 0.0)
        step = _Affine(
            who=type(self).__name__,
            drawn=drawn,
            sampling=Sampling(self.interpolation),
            fill=self.fill,
            min_visible=self.min_visible,
        )
        return Move((step,))

    def config(self) -> dict[str, Any]:
        """Return all arguments."""
        return {
            "degrees": list(self.degrees),
            "translate": list(self.translate),
            "scale": list(self.scale),
            "shear": list(self.shear),
            "p": self.p,
            "interpolation": self.interpolation,
            "fill": self.fill,
            "min_visible": self.min_visible,
            "seed": self.seed,
        }

    @property
    def effect(self) -> str:
        """Moves."""
        return f"moved, {self.interpolation}, shapes stay"


@dataclass(frozen=True, kw_only=True)
class _Affine(Step):
    """``drawn`` is (B, 5): degrees, shares of width and height, scale, degrees of shear."""

    def change(self, i: int, frame: Frame) -> Change:
        degrees, across, down, scale, shear = self.drawn[i].tolist() or (0.0, 0.0, 0.0, 1.0, 0.0)
        if not scale:  # the sample that stands for none
            scale = 1.0
        height, width = frame.size
        turn, lean = math.radians(degrees), math.tan(math.radians(shear))
        cos, sin = math.cos(turn), math.sin(turn)
        # Rows count downwards, so this turns counter-clockwise as one sees it.
        there = Map(cos, sin, 0.0, -sin, cos, 0.0) @ Map(scale, scale * lean, 0.0, 0.0, scale, 0.0)
        middle = Map.translation(width / 2, height / 2)
        moved = Map.translation(width * (0.5 + across), height * (0.5 + down))
        return Change(middle @ ~there @ ~moved, frame.size)


def _either_way(what: str, value: Any) -> tuple[float, float]:
    if isinstance(value, Real):
        return check_range(what, (0.0 - abs(float(value)), abs(float(value))))
    return check_range(what, value)


def _pair(value: Any) -> tuple[Any, Any]:
    items = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else []
    if len(items) != 2:
        raise TransformError(f"translate {value!r} must be one share of the image, or (across, down)")
    return items[0], items[1]
