"""How an image comes to the size that a model takes: one resize, one centre crop, for pixels, masks and boxes alike."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from geodata.errors import TransformError
from geodata.transforms.geometry.interpolation import LEAST
from geodata.zoo.fields import ImageInput

__all__ = ["Frame"]


@dataclass(frozen=True, slots=True)
class Frame:
    """A resize followed by a centre crop.

    Parameters
    ----------
    source, resized : (height, width)
    top, left : of the crop in the resized image
    shape : (height, width) of the result
    mode : interpolation
    antialias : bool
    """

    source: tuple[int, int]
    resized: tuple[int, int]
    top: int
    left: int
    shape: tuple[int, int]
    mode: str
    antialias: bool

    @classmethod
    def of(cls, image: ImageInput, source: tuple[int, int]) -> Frame:
        """Decide what happens to an image of a size; one that has the model's size is taken as it is.

        Raises
        ------
        TransformError
            If the image has no size that the model takes, and the input says nothing of resizing.
        """
        final = image.model_size
        if 0 in source:
            raise TransformError(f"{image.key!r} is {_text(source)} pixels; there is nothing to give the model")
        resized = source
        if image.size and image.resize and source != final:
            resized = _resized(image, source)
        shape = (image.crop if resized != final else final) or resized
        if (final and shape != final) or shape[0] > resized[0] or shape[1] > resized[1]:
            raise TransformError(
                f"{image.key!r} is {_text(source)} pixels and the model takes {_text(final or shape)}, without a rule to "
                "resize; sample patches of that size, or T.Resize, T.CenterCrop or T.Pad before"
            )
        if shape[0] % image.multiple or shape[1] % image.multiple:
            raise TransformError(
                f"{image.key!r} is {_text(shape)} pixels; height and width must be divisible by {image.multiple}: "
                f"sample patches of {_text((_up(shape[0], image.multiple), _up(shape[1], image.multiple)))}, or "
                f"T.Pad(multiple={image.multiple}) before"
            )
        # Rounding is that of torchvision's CenterCrop.
        top, left = (round((a - b) / 2) for a, b in zip(resized, shape, strict=True))
        return cls(source, resized, top, left, shape, image.resize, image.antialias)

    @property
    def still(self) -> bool:
        """Whether nothing moves."""
        return self.source == self.shape == self.resized

    @property
    def scale(self) -> tuple[float, float]:
        """New pixels per old one, down and across."""
        return self.resized[0] / self.source[0], self.resized[1] / self.source[1]

    def pixels(self, x: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return (..., C, H, W) and (..., H, W) bool in the frame; pixels that are not valid have no influence."""
        if self.resized != self.source:
            if valid is None:
                x = self._interpolated(x)
            else:
                weight = self._interpolated(valid.unsqueeze(-3).to(x.dtype))
                x = self._interpolated(torch.where(valid.unsqueeze(-3), x, 0.0))
                valid = (weight >= LEAST).squeeze(-3)
                x = torch.where(weight >= LEAST, x / weight.clamp_min(LEAST), 0.0)
        return self._cut(x), None if valid is None else self._cut(valid)

    def nearest(self, mask: Tensor) -> Tensor:
        """Return (..., H, W) of any dtype in the frame, by the nearest pixel."""
        if self.still:
            return mask
        rows, cols = (
            ((torch.arange(n, device=mask.device) + start + 0.5) * (old / new)).long().clamp_max(old - 1)
            for n, start, old, new in zip(self.shape, (self.top, self.left), self.source, self.resized, strict=True)
        )
        return mask[..., rows[:, None], cols]

    def points(self, xy: Tensor) -> Tensor:
        """Return (..., 2) x, y pixel positions in the frame; not clipped."""
        down, across = self.scale
        return xy * xy.new_tensor([across, down]) - xy.new_tensor([self.left, self.top])

    def _cut(self, x: Tensor) -> Tensor:
        return x[..., self.top : self.top + self.shape[0], self.left : self.left + self.shape[1]]

    def _interpolated(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, *x.shape[-3:])
        if not flat.numel():
            return x.new_zeros((*x.shape[:-2], *self.resized))
        smooth = self.mode in ("bilinear", "bicubic")
        out = functional.interpolate(
            flat,
            self.resized,
            mode="nearest-exact" if self.mode == "nearest" else self.mode,
            align_corners=False if smooth else None,
            antialias=self.antialias and smooth,
        )
        return out.reshape(*x.shape[:-2], *self.resized)


def _resized(image: ImageInput, source: tuple[int, int]) -> tuple[int, int]:
    if image.size is None or image.fit == "stretch":
        return image.size or source
    short, wanted = min(source), image.size[0]
    # Whole pixels as torchvision's Resize counts them.
    height, width = (wanted if n == short else int(wanted * n / short) for n in source)
    return height, width


def _up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
