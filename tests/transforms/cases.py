"""The transforms that every law is checked on, each with the batch that it is for.

One file of cases for each family of transforms, ``cases_<family>.py`` with a list ``CASES``; a public transform without a
case fails the suite.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geodata import transforms as T
from geodata.bands import Bands

Dict = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One transform and what to try it on.

    Parameters
    ----------
    transform : the transform
    bands : of ``image``; None for two unnamed ones, B0 and B1, in state raw
    size : height, width
    boxes : boxes per sample
    ratios : suffix -> how much coarser, for images of several resolutions; {"": 1} if None
    extra : (sample, rng) -> further keys of the sample
    makes : keys that the transform adds, or takes away
    series : it works on (T, C, H, W) too
    half : it works on float16 too
    """

    transform: T.Transform
    bands: Bands | None = None
    size: tuple[int, int] = (12, 12)
    boxes: int = 0
    ratios: dict[str, int] | None = None
    extra: Callable[[Dict, np.random.Generator], Dict] | None = None
    makes: tuple[str, ...] = ()
    series: bool = True
    half: bool = True

    def arguments(self, **more: Any) -> Dict:
        """What the fixtures ``sample`` and ``batch`` take."""
        own = {"bands": self.bands, "size": self.size, "boxes": self.boxes, "ratios": self.ratios, "extra": self.extra}
        return {"dtype": torch.float32, **own, **more}


def cases() -> list[Case]:
    """Return the cases of all families."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("cases_*.py"))
    return [case for name in names for case in importlib.import_module(f"transforms.{name}").CASES]
