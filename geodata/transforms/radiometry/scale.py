"""Transforms that change numbers: dtype and scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from geodata.bands import Bands
from geodata.errors import DtypeError, TransformError
from geodata.transforms.base import Needs, Transform
from geodata.transforms.draws import Draws
from geodata.transforms.image import ImageTransform, valid_of
from geodata.transforms.layout import dtype_name, family

__all__ = ["Clip", "ToFloat", "finite", "per_band", "work_dtype", "zeroed"]

_WITHOUT_FLOAT64 = ("mps",)
"""Kinds of devices that cannot hold it."""


class ToFloat(Transform):
    """Cast every image to a floating dtype; numbers stay as they are, nothing is scaled.

    Parameters
    ----------
    dtype : torch.dtype or its name, floating
    lossy : bool
        Also cast from dtypes with values that the new one cannot hold, such as int32 or float64 to float32.

    Raises
    ------
    TransformError
        If the dtype is not floating; on a batch without an image; for float64 on a device that has none.
    DtypeError
        On an image whose dtype has values that would be lost, unless ``lossy``.

    Examples
    --------
    >>> ToFloat()({"image": torch.tensor([[[65535]]], dtype=torch.uint16)})["image"]
    tensor([[[65535.]]])
    """

    reads = writes = ("image*",)
    fresh = True

    def __init__(self, dtype: torch.dtype | str = torch.float32, *, lossy: bool = False) -> None:
        super().__init__()
        found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
        if not isinstance(found, torch.dtype) or not found.is_floating_point:
            raise TransformError(f"dtype {dtype!r} must be a floating one: float16, bfloat16, float32 or float64")
        self.dtype = found
        self.lossy = bool(lossy)

    def run(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
        """Cast the images."""
        keys = [key for key in batch if (family(key) or ("",))[0] == "image"]
        if not keys:
            raise TransformError(f"ToFloat found no image among the keys {sorted(batch)}")
        return {**batch, **{key: self._cast(key, batch[key]) for key in keys}}

    def _cast(self, key: str, image: Any) -> Tensor:
        if not isinstance(image, Tensor):
            raise TransformError(f"{key!r} is {type(image).__name__}; ToFloat works on torch tensors")
        if image.dtype.is_complex or not (self.lossy or _holds(self.dtype, image.dtype)):
            raise DtypeError(
                f"{key!r} is {dtype_name(image.dtype)}, which has values that {dtype_name(self.dtype)} cannot hold; "
                "take T.ToFloat(torch.float64), or T.ToFloat(..., lossy=True) to round them"
            )
        if self.dtype == torch.float64 and image.device.type in _WITHOUT_FLOAT64:
            raise TransformError(
                f"{key!r} is on {image.device}, which has no float64; cast before the batch is moved there, or take "
                "T.ToFloat(torch.float32, lossy=True)"
            )
        return image.to(self.dtype)

    def config(self) -> dict[str, Any]:
        """Return the name of the dtype, and lossy."""
        return {"dtype": dtype_name(self.dtype), "lossy": self.lossy}

    @property
    def effect(self) -> str:
        """Casts."""
        return f"image* -> {dtype_name(self.dtype)}"


class Clip(ImageTransform):
    """Cut numbers off at a lowest and a highest one; the state of the bands stays, and a NaN stays.

    Parameters
    ----------
    low, high : float or None, in the units of the image; at least one
    key : "image" or "image_<name>"

    Raises
    ------
    TransformError
        If both are None, one is no number, or low is above high; on an image that is not floating.

    Examples
    --------
    >>> from geodata.bands import Bands
    >>> Clip(0, 1)({"image": torch.tensor([[[-0.1, 0.4, 1.3]]]), "bands": Bands(["B04"])})["image"]
    tensor([[[0.0000, 0.4000, 1.0000]]])
    """

    needs = Needs(floating=True)

    def __init__(self, low: float | None = None, high: float | None = None, *, key: str = "image") -> None:
        super().__init__(key)
        given = [value for value in (low, high) if value is not None]
        if not given or not all(finite(value) for value in given) or given != sorted(given):
            raise TransformError(
                f"low {low!r} and high {high!r} must be finite numbers, low first; None leaves one open"
            )
        self.low, self.high = (None if value is None else float(value) for value in (low, high))

    def change(self, image: Tensor, bands: Bands, batch: Mapping[str, Any], draws: Draws) -> tuple[Tensor, Bands]:
        """Cut off."""
        most = torch.finfo(image.dtype).max  # what lies beyond the dtype cuts nothing off
        low = None if self.low is None else max(self.low, -most)
        return image.clamp(low, None if self.high is None else min(self.high, most)), bands

    def config(self) -> dict[str, Any]:
        """Return low, high and the key."""
        return {"low": self.low, "high": self.high, "key": self.key}

    @property
    def effect(self) -> str:
        """Cuts off."""
        low, high = ("" if value is None else f"{value:g}" for value in (self.low, self.high))
        return f"{self.key}: clipped to [{low}, {high}]"


def finite(value: Any) -> bool:
    """Whether this is a finite number."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(float(value))


def work_dtype(image: Tensor) -> torch.dtype:
    """Return the dtype to calculate in: half floats are too coarse for a mean of thousands."""
    return torch.promote_types(image.dtype, torch.float32)


def per_band(image: Tensor, numbers: Sequence[float], dtype: torch.dtype | None = None) -> Tensor:
    """Return one number for each band as (C, 1, 1), to calculate with a floating image (..., C, H, W)."""
    return torch.tensor(list(numbers), dtype=dtype or work_dtype(image), device=image.device)[:, None, None]


def zeroed(made: Tensor, batch: Mapping[str, Any], key: str) -> Tensor:
    """Write 0 over the pixels of a tensor, just made of an image, that are not valid in it; return it."""
    valid = valid_of(batch, key)
    return made if valid is None else made.masked_fill_(~valid.unsqueeze(-3), 0.0)


def _holds(target: torch.dtype, source: torch.dtype) -> bool:
    """Whether a floating dtype has every value of another dtype."""
    if source == torch.bool:
        return True
    info = torch.finfo(target)
    if not source.is_floating_point:
        # Whole numbers are exact up to 2 ** (digits of the significand), and 1 / eps is half of that.
        return torch.iinfo(source).max < 2 / info.eps
    other = torch.finfo(source)
    return other.eps >= info.eps and other.max <= info.max and other.smallest_normal >= info.smallest_normal
