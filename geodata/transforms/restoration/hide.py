"""Hiding values of an image, for completion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from geodata.errors import TransformError
from geodata.transforms.base import check_image
from geodata.transforms.draws import Draws
from geodata.transforms.image import valid_of
from geodata.transforms.layout import is_batch
from geodata.transforms.restoration.noise_base import NoiseTransform, share, span
from geodata.transforms.restoration.target import kept_target

__all__ = ["HideValues"]

_UNITS = {"voxel": (1, 1, 1), "pixel": (0, 1, 1), "band": (1, 0, 0), "column": (1, 0, 1)}
"""Over which of (C, H, W) the draws run."""


class HideValues(NoiseTransform):
    """Set values to 0 and say which are left, for tensor completion and inpainting.

    Every unit is hidden with the same chance, independently of the others. What is left is written as
    ``mask<suffix>_observed``, bool (..., C, H, W), False too where the image is not ``valid``; changes of geometry move it
    like any mask. ``valid`` stays as it is, and the whole image is kept as for the kinds of noise.

    Parameters
    ----------
    rate : chance of a unit to be hidden, 0 to 1
    unit : "voxel" (one value), "pixel" (in all bands), "band", or "column" (of one band)
    noise : sigma >= 0 of normal noise on what is left, in units of the image
    key : "image" or "image_<name>"
    keep : bool
        Write the whole image as ``<key>_target``, with its valid, bands and grid; one that is there already stays.
    seed : int in [0, 2**63)

    Raises
    ------
    TransformError
        If an argument is out of range; on an image of raw numbers or decibels.

    Examples
    --------
    >>> from geodata.bands import Bands
    >>> bands = Bands(["a", "b"], state="reflectance")
    >>> sample = {"key": "x", "draw": torch.tensor([0, 0]), "image": torch.ones(2, 50, 50), "bands": bands}
    >>> out = HideValues(0.9)(sample)
    >>> round(float(out["mask_observed"].float().mean()), 1)
    0.1
    """

    def __init__(
        self,
        rate: float,
        *,
        unit: str = "voxel",
        noise: float = 0.0,
        key: str = "image",
        keep: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(key=key, keep=keep, seed=seed)
        self.rate, self.noise = share("rate", rate), span("noise", noise, 0.0)[1]
        if not isinstance(unit, str) or unit not in _UNITS:
            raise TransformError(f"unit {unit!r} must be one of {', '.join(_UNITS)}")
        self.unit = unit
        self.writes = (*self.writes, f"mask{self.suffix}_observed")

    def run(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
        """Hide values and say which are left."""
        image, _ = check_image(batch, self.key, self.needs, who=type(self).__name__)
        whole = image if is_batch(batch) else image[None]
        shape = [n if drawn else 1 for n, drawn in zip(whole.shape[-3:], _UNITS[self.unit], strict=True)]
        out, left = torch.empty_like(whole), torch.empty(whole.shape, dtype=torch.bool, device=image.device)
        for i, g in enumerate(self.generators(batch, draws, image.device)):
            u = torch.rand((*whole.shape[1:-3], *shape), generator=g, device=image.device)
            left[i] = u >= self.rate
            # The dtype of the draws does not depend on that of the image, so neither does what is hidden.
            noise = torch.randn(whole.shape[1:], generator=g, device=image.device) * self.noise if self.noise else 0.0
            out[i] = whole[i] + noise
        out.masked_fill_(~left, 0.0)
        out, left = (out, left) if is_batch(batch) else (out[0], left[0])
        valid = valid_of(batch, self.key)
        if valid is not None:
            out, left = torch.where(valid.unsqueeze(-3), out, image), left & valid.unsqueeze(-3)
        kept = kept_target(batch, self.suffix) if self.keep else {}
        return {**batch, self.key: out, f"mask{self.suffix}_observed": left, **kept}

    def settings(self) -> dict[str, Any]:
        """Return rate, unit and noise."""
        return {"rate": self.rate, "unit": self.unit, "noise": self.noise}

    @property
    def effect(self) -> str:
        """Says how much is hidden."""
        return f"{self.rate:.0%} of the {self.unit}s of {self.key} hidden, mask{self.suffix}_observed"
