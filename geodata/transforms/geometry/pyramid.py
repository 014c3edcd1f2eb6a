"""The same image at several scales."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

from geodata.errors import TransformError
from geodata.transforms.base import Needs, check_image
from geodata.transforms.draws import Draws
from geodata.transforms.geometry.interpolation import resize
from geodata.transforms.image import ImageTransform, valid_of

__all__ = ["Pyramid"]


class Pyramid(ImageTransform):
    """Add an image at half, a quarter, ... of the resolution, beside the image itself.

    Level n holds means of 2^n x 2^n pixels under ``image<_name>_x<2^n>``: of ``image_s2`` come ``image_s2_x2`` and
    ``image_s2_x4``, each with its ``bands``, and with ``valid`` and ``grid`` if the image has them. Means are over
    valid pixels; one is valid if at least half of its pixels are, otherwise 0. Changes of geometry that follow move
    all levels alike. For the pyramid of SatMAE++ [1]_, read patches of 4 times the size and take the levels x1, x2 and x4.

    Parameters
    ----------
    levels : int, 1 or more
    key : "image" or "image_<name>"

    Raises
    ------
    TransformError
        If the image is of integers, or its sides are no multiples of 2^levels.

    References
    ----------
    .. [1] M. Noman et al., "Rethinking transformers pre-training for multi-spectral satellite imagery", CVPR 2024,
       section 3.2; there the levels are bilinear halves, which are the same means.

    Examples
    --------
    >>> import torch
    >>> from geodata.bands import Bands
    >>> out = Pyramid(1)({"image": torch.tensor([[[1.0, 3.0], [5.0, 7.0]]]), "bands": Bands(["B08"])})
    >>> out["image_x2"]
    tensor([[[4.]]])
    """

    needs = Needs(floating=True)

    def __init__(self, levels: int = 2, *, key: str = "image") -> None:
        super().__init__(key)
        try:
            self.levels = operator.index(levels)
        except TypeError:
            self.levels = 0
        if not 1 <= self.levels <= 16:
            raise TransformError(f"levels {levels!r} must be a whole number, 1 to 16")
        self.reads = (*self.reads, f"grid{self.suffix}")
        self.writes = tuple(
            f"{name}{self.suffix}_x{ratio}" for ratio in self._ratios for name in ("image", "valid", "bands", "grid")
        )

    def run(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
        """Add every level."""
        image, bands = check_image(batch, self.key, self.needs, who=type(self).__name__)
        height, width = image.shape[-2:]
        most = self._ratios[-1]
        if height % most or width % most or not height or not width:
            low = [n // most * most for n in (height, width)]
            raise TransformError(
                f"{self.key!r} is {height} x {width} pixels; {self.levels} levels need multiples of {most}: crop it to "
                f"{low[0]} x {low[1]}, or put T.Pad(multiple={most}) before"
            )
        seen = valid_of(batch, self.key)
        valid, grid = batch.get(f"valid{self.suffix}"), batch.get(f"grid{self.suffix}")
        out = dict(batch)
        for ratio in self._ratios:
            size, name = (height // ratio, width // ratio), f"{self.suffix}_x{ratio}"
            out[f"image{name}"] = resize(image, seen, size, "area", antialias=False)
            out[f"bands{name}"] = bands
            if valid is not None:
                out[f"valid{name}"] = resize(valid, None, size, "area", antialias=False).contiguous()
            if grid is not None:
                out[f"grid{name}"] = (
                    [g.coarser(ratio) for g in grid] if isinstance(grid, (list, tuple)) else grid.coarser(ratio)
                )
        return out

    def config(self) -> dict[str, Any]:
        """Return levels and key."""
        return {"levels": self.levels, "key": self.key}

    @property
    def _ratios(self) -> list[int]:
        return [2**n for n in range(1, self.levels + 1)]

    @property
    def effect(self) -> str:
        """New keys."""
        return ", ".join(f"{self.key}_x{ratio}" for ratio in self._ratios)
