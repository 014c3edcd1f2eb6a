"""Windows of samples: cut out and filled up, on whole pixels of every resolution."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import lcm
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.errors import TransformError
from geodata.transforms.base import Transform, check_seed, check_share
from geodata.transforms.draws import Draws
from geodata.transforms.geometry.maps import Map
from geodata.transforms.geometry.motion import MOVED, Change, Frame, Step, check_multiple
from geodata.transforms.geometry.move import Move
from geodata.transforms.layout import Size, is_batch

__all__ = [
    "CenterCrop",
    "Pad",
    "RandomCrop",
    "check_fill",
    "check_size",
    "nothing_drawn",
    "shown_size",
    "snapped",
]


class RandomCrop(Transform):
    """Cut a window of one size out of every sample, at a random place.

    All keys and resolutions of a sample lose the same ground. The place is drawn among those where pixels of
    all rasters meet, so images of 10, 20 and 60 m stay exactly registered and pixels are copied, in any dtype; joined
    with a mirror, a turn or a `RandomAffine` in a `Compose`, only the window is read.

    Boxes are cut at the edge; an object of which less than ``min_visible`` of the area is left is dropped with its
    rows under ``boxes``, ``corners``, ``box_labels`` and ``instances``. Oriented ``corners`` are never cut.

    Parameters
    ----------
    size : int or (height, width), pixels of the finest raster; coarser ones get their share
    min_visible : float in [0, 1]
    seed : int in [0, 2**63)

    Raises
    ------
    TransformError
        If the size is below 1; on a sample that is smaller, or whose coarser rasters have no such whole number
        of pixels: the message names sizes that fit.

    Examples
    --------
    >>> import torch
    >>> sample = {"key": "a", "draw": torch.tensor([0, 0]), "image": torch.arange(8).reshape(1, 2, 4)}
    >>> RandomCrop(2)(sample)["image"].shape
    torch.Size([1, 2, 2])
    """

    reads = ("draw", "key", *MOVED)
    writes = MOVED

    def __init__(self, size: int | Iterable[int], *, min_visible: float = 0.25, seed: int = 0) -> None:
        super().__init__()
        self.size = check_size(size)
        self.min_visible = check_share("min_visible", min_visible)
        self.seed = check_seed(seed)

    def plan(self, batch: Mapping[str, Any], draws: Draws) -> Move:
        """Decide where each window lies, as a share of what is left beside it."""
        u = self.uniform(batch, draws, 2)
        return Move((_Crop(who=type(self).__name__, drawn=u, size=self.size, min_visible=self.min_visible),))

    def config(self) -> dict[str, Any]:
        """Return size, min_visible and seed."""
        return {"size": list(self.size), "min_visible": self.min_visible, "seed": self.seed}

    @property
    def effect(self) -> str:
        """Size."""
        return f"H, W -> {shown_size(self.size)}"


class CenterCrop(Transform):
    """Cut a window of one size out of the middle of every sample; otherwise as `RandomCrop`.

    Where the middle falls between pixels, or between pixels of a coarser raster, the window lies above and to
    the left of it.

    Parameters
    ----------
    size : int or (height, width), pixels of the finest raster
    min_visible : float in [0, 1]

    Raises
    ------
    TransformError
        As for `RandomCrop`.

    Examples
    --------
    >>> import torch
    >>> CenterCrop((1, 2))({"key": "a", "image": torch.arange(12).reshape(1, 3, 4)})["image"]
    tensor([[[5, 6]]])
    """

    reads = ("key", *MOVED)
    writes = MOVED

    def __init__(self, size: int | Iterable[int], *, min_visible: float = 0.25) -> None:
        super().__init__()
        self.size = check_size(size)
        self.min_visible = check_share("min_visible", min_visible)

    def plan(self, batch: Mapping[str, Any], draws: Draws) -> Move:
        """Take the middle."""
        drawn = nothing_drawn(batch)
        return Move((_Crop(who=type(self).__name__, drawn=drawn, size=self.size, min_visible=self.min_visible),))

    def config(self) -> dict[str, Any]:
        """Return size and min_visible."""
        return {"size": list(self.size), "min_visible": self.min_visible}

    @property
    def effect(self) -> str:
        """Size."""
        return f"H, W -> {shown_size(self.size)}, the middle"


class Pad(Transform):
    """Fill samples up at the bottom and on the right, where `collate` fills up too.

    New pixels are ``fill`` in images, 0 in abundances, False in ``valid`` (which is added where it is missing) and
    ``instances``, and -100 in masks; the grid is extended. A side that is long enough stays.

    Parameters
    ----------
    size : int or (height, width) in pixels of the finest raster, or None
        At least that size.
    multiple : int or (height, width), or None
        Up to the next multiple, as many networks ask for; give one of ``size`` and ``multiple``.
    fill : float

    Raises
    ------
    TransformError
        If not exactly one of the two is given, or a number is out of range; on a sample whose coarser rasters have no
        such whole number of pixels, or of a dtype that cannot hold the fill.

    Examples
    --------
    >>> import torch
    >>> out = Pad(multiple=4)({"key": "a", "image": torch.ones(1, 1, 3)})
    >>> out["image"].shape, out["valid"][0]
    (torch.Size([1, 4, 4]), tensor([ True,  True,  True, False]))
    """

    reads = ("key", *MOVED)
    writes = MOVED

    def __init__(
        self,
        size: int | Iterable[int] | None = None,
        *,
        multiple: int | Iterable[int] | None = None,
        fill: float = 0.0,
    ) -> None:
        super().__init__()
        if (size is None) == (multiple is None):
            raise TransformError(f"Pad takes either size= or multiple=, got size={size!r} and multiple={multiple!r}")
        self.size = None if size is None else check_size(size)
        self.multiple = None if multiple is None else check_size(multiple, "multiple")
        self.fill = check_fill(fill)

    def plan(self, batch: Mapping[str, Any], draws: Draws) -> Move:
        """Say how far to fill up."""
        drawn = nothing_drawn(batch)
        who = type(self).__name__
        return Move((_Fill(who=who, drawn=drawn, size=self.size, multiple=self.multiple, fill=self.fill),))

    def config(self) -> dict[str, Any]:
        """Return size, multiple and fill."""
        size, multiple = (None if v is None else list(v) for v in (self.size, self.multiple))
        return {"size": size, "multiple": multiple, "fill": self.fill}

    @property
    def effect(self) -> str:
        """Size."""
        if self.size is not None:
            return f"H, W -> at least {shown_size(self.size)}"
        return f"H, W -> multiples of {shown_size(self.multiple or (1, 1))}"


@dataclass(frozen=True, kw_only=True)
class _Crop(Step):
    """``drawn`` is (B, 2) in [0, 1), row and column, or (B, 0) for the middle."""

    size: Size

    def change(self, i: int, frame: Frame) -> Change:
        places = self.drawn[i].tolist() or [None, None]
        for n, whole in zip(self.size, frame.size, strict=True):
            if n > whole:
                raise TransformError(
                    f"{self.who}: a window of {n} pixels does not fit into a sample of {shown_size(frame.size)}; "
                    "sample larger patches, or put T.Pad before it"
                )
        size = check_multiple(self.who, self.size, frame)
        top, left = (
            snapped(u, n, whole, each)
            for u, n, whole, each in zip(places, size, frame.size, frame.lattice, strict=True)
        )
        return Change(Map.translation(left, top), size)


@dataclass(frozen=True, kw_only=True)
class _Fill(Step):
    size: Size | None
    multiple: Size | None

    def change(self, i: int, frame: Frame) -> Change:
        if self.size is not None:
            wanted = (max(self.size[0], frame.size[0]), max(self.size[1], frame.size[1]))
            return Change(Map.identity(), check_multiple(self.who, wanted, frame))
        steps = zip(frame.size, self.multiple or (1, 1), frame.lattice, strict=True)
        height, width = (-(-n // lcm(m, each)) * lcm(m, each) for n, m, each in steps)
        return Change(Map.identity(), (height, width))


def snapped(u: float | None, n: int, whole: int, each: int) -> int:
    """Return the first of n pixels out of a whole, on a line that all rasters share; None stands for the middle."""
    places = (whole - n) // each
    return each * (places // 2 if u is None else int(u * (places + 1)))


def nothing_drawn(batch: Mapping[str, Any]) -> NDArray[np.float64]:
    """(B, 0) for steps that leave nothing to chance."""
    key = batch.get("key", batch.get("draw"))
    return np.empty((len(key) if is_batch(batch) else 1, 0))


def check_size(size: Any, what: str = "size") -> Size:
    """Return height and width of at least 1, or raise TransformError."""
    items: list[Any] = [size, size] if not isinstance(size, Iterable) or isinstance(size, str) else list(size)
    try:
        height, width = map(operator.index, items)
    except (TypeError, ValueError):
        height = width = 0
    if height < 1 or width < 1:
        raise TransformError(f"{what} {size!r} must be a whole number of pixels, 1 or more, or (height, width) of such")
    return height, width


def check_fill(fill: Any) -> float:
    """Return a finite number, or raise TransformError."""
    if not isinstance(fill, Real) or not np.isfinite(float(fill)):
        raise TransformError(f"fill {fill!r} must be a finite number; 'valid' says which pixels it stands in")
    return float(fill)


def shown_size(size: Size) -> str:
    """Return text for tables."""
    return f"{size[0]} x {size[1]}"
