"""Transforms that move pixels, boxes and grids together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from geodata.errors import TransformError
from geodata.transforms.base import Transform, check_probability, check_seed
from geodata.transforms.draws import Draws
from geodata.transforms.geometry.dihedral import COLUMNS, ROWS, TURNS, Turn
from geodata.transforms.geometry.move import Move
from geodata.transforms.layout import GEOMETRIC

__all__ = ["RandomFlip", "RandomRotate90"]

_AXES = {"horizontal": COLUMNS, "vertical": ROWS}


class RandomFlip(Transform):
    """Mirror samples at random, all keys and resolutions of a sample alike.

    Images, ``valid``, masks, instances, boxes and corners move together, and the grid follows, so that
    every pixel keeps its place on earth. Any dtype. Corners keep their order in the list, so their sense
    of rotation is reversed by a mirror.

    Parameters
    ----------
    p : float in [0, 1]
        Probability for each axis, independently.
    axes : some of "horizontal" (left and right change places) and "vertical" (top and bottom)
    seed : int in [0, 2**63)

    Raises
    ------
    TransformError
        If an argument is out of range; on a batch without ``draw`` [epoch, index].

    Examples
    --------
    >>> import torch
    >>> sample = {"key": "a", "draw": torch.tensor([0, 0]), "image": torch.tensor([[[1, 2, 3]]])}
    >>> RandomFlip(p=1.0, axes=["horizontal"])(sample)["image"]
    tensor([[[3, 2, 1]]])
    """

    reads = ("draw", "key", *GEOMETRIC)
    writes = GEOMETRIC

    def __init__(self, p: float = 0.5, *, axes: Iterable[str] = ("horizontal", "vertical"), seed: int = 0) -> None:
        super().__init__()
        self.p = check_probability(p)
        self.axes: tuple[str, ...] = _some_of("axes", axes, tuple(_AXES))
        self.seed = check_seed(seed)

    def plan(self, batch: Mapping[str, Any], draws: Draws) -> Move:
        """Decide for each sample which axes are reversed."""
        hit = self.uniform(batch, draws, len(_AXES)) < self.p
        # A column per axis of the table, so that leaving one axis out does not change the other.
        bits = np.array([bit if axis in self.axes else 0 for axis, bit in _AXES.items()], dtype=np.int64)
        return Move((Turn(who=type(self).__name__, drawn=(hit * bits).sum(axis=1)),))

    def config(self) -> dict[str, Any]:
        """Return p, axes and seed."""
        return {"p": self.p, "axes": list(self.axes), "seed": self.seed}

    @property
    def effect(self) -> str:
        """Mirrors."""
        return "mirrored, shapes stay"


class RandomRotate90(Transform):
    """Turn samples by quarter turns at random, all keys and resolutions of a sample alike.

    What moves is as for `RandomFlip`. A quarter turn swaps height and width: a single sample may have any
    shape, the samples of a batch must be square unless only half turns are allowed.

    Parameters
    ----------
    p : float in [0, 1]
        Probability that a sample is turned at all. With the default 0.75 the four orientations are
        equally likely.
    turns : some of 1, 2, 3
        Quarter turns counter-clockwise, as `torch.rot90`, to choose from with equal chance.
    seed : int in [0, 2**63)

    Raises
    ------
    TransformError
        If an argument is out of range; on a batch without ``draw`` [epoch, index], or of images that
        are not square.

    Examples
    --------
    >>> import torch
    >>> sample = {"key": "a", "draw": torch.tensor([0, 0]), "image": torch.tensor([[[1, 2, 3]]])}
    >>> RandomRotate90(p=1.0, turns=[1])(sample)["image"]
    tensor([[[3],
             [2],
             [1]]])
    """

    reads = ("draw", "key", *GEOMETRIC)
    writes = GEOMETRIC

    def __init__(self, p: float = 0.75, *, turns: Iterable[int] = (1, 2, 3), seed: int = 0) -> None:
        super().__init__()
        self.p = check_probability(p)
        self.turns: tuple[int, ...] = _some_of("turns", turns, (1, 2, 3))
        self.seed = check_seed(seed)

    def plan(self, batch: Mapping[str, Any], draws: Draws) -> Move:
        """Decide for each sample how far it turns."""
        u = self.uniform(batch, draws, 2)
        codes = np.array([TURNS[k] for k in self.turns], dtype=np.int64)
        chosen = codes[(u[:, 1] * len(codes)).astype(np.int64)]
        quarter = self.p > 0 and self.turns != (2,)
        return Move((Turn(who=type(self).__name__, drawn=np.where(u[:, 0] < self.p, chosen, 0), quarter=quarter),))

    def config(self) -> dict[str, Any]:
        """Return p, turns and seed."""
        return {"p": self.p, "turns": list(self.turns), "seed": self.seed}

    @property
    def effect(self) -> str:
        """Turns."""
        return "turned, shapes stay" if self.turns == (2,) else "turned, H and W may swap"


def _some_of(what: str, values: Any, allowed: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the allowed values that were asked for, in their order, or raise TransformError."""
    items = [values] if isinstance(values, str) or not isinstance(values, Iterable) else list(values)
    if not items or any(item not in allowed for item in items) or any(items.count(item) > 1 for item in items):
        raise TransformError(f"{what} {values!r} must be one or more of {', '.join(map(str, allowed))}, each once")
    return tuple(allowed[allowed.index(item)] for item in items)
