"""Transforms that change numbers: dtype and scale."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from geodata.bands import STATES, Bands
from geodata.errors import BandsError, DtypeError, TransformError
from geodata.transforms.base import Needs, Transform
from geodata.transforms.draws import Draws
from geodata.transforms.image import ImageTransform, valid_of
from geodata.transforms.layout import family

__all__ = ["Normalize", "ToFloat"]


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
        If the dtype is not floating; on a batch without an image.
    DtypeError
        On an image whose dtype has values that would be lost, unless ``lossy``.

    Examples
    --------
    >>> ToFloat()({"image": torch.tensor([[[65535]]], dtype=torch.uint16)})["image"]
    tensor([[[65535.]]])
    """

    reads = writes = ("image*",)

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
                f"{key!r} is {_name(image.dtype)}, which has values that {_name(self.dtype)} cannot hold; "
                "take T.ToFloat(torch.float64), or T.ToFloat(..., lossy=True) to round them"
            )
        return image.to(self.dtype)

    def config(self) -> dict[str, Any]:
        """Return the name of the dtype, and lossy."""
        return {"dtype": _name(self.dtype), "lossy": self.lossy}

    @property
    def effect(self) -> str:
        """Casts."""
        return f"image* -> {_name(self.dtype)}"


class Normalize(ImageTransform):
    """Subtract the mean and divide by the standard deviation of every band, found by name.

    The order of bands in the statistics means nothing: each channel is looked up by its name in
    ``batch["bands"]``. The bands come out in state "normalised". Pixels that are not ``valid`` become 0, the
    mean; a NaN in a valid pixel stays, because it is an error to be seen. Only one image is touched.

    Parameters
    ----------
    stats : {"mean": {band: float}, "std": {band: float}}
        In the units of the image; mean finite, std finite and > 0. More bands than the image has are fine.
    mean, std : {band: float}
        The same, given apart instead of ``stats``.
    key : "image" or "image_<name>"

    Raises
    ------
    TransformError
        If statistics are no mappings, disagree, or are out of range; on an image that is not floating, whose
        bands are not known, or that is normalised already.
    BandsError
        On an image with bands that the statistics lack.

    Examples
    --------
    >>> from geodata.bands import Bands
    >>> batch = {"image": torch.tensor([[[7.0]], [[30.0]]]), "bands": Bands(["red", "nir"])}
    >>> out = Normalize(mean={"nir": 10.0, "red": 5.0}, std={"nir": 10.0, "red": 1.0})(batch)
    >>> out["image"].flatten(), out["bands"].state
    (tensor([2., 2.]), 'normalised')
    """

    needs = Needs(floating=True, states=tuple(s for s in STATES if s != "normalised"))

    def __init__(
        self,
        stats: Mapping[str, Mapping[str, float]] | None = None,
        *,
        mean: Mapping[str, float] | None = None,
        std: Mapping[str, float] | None = None,
        key: str = "image",
    ) -> None:
        super().__init__(key)
        if stats is not None:
            if mean is not None or std is not None:
                raise TransformError("give Normalize either stats, or mean= and std=, not both")
            if not isinstance(stats, Mapping) or not {"mean", "std"} <= set(stats):
                raise TransformError(f"stats must be {{'mean': {{band: value}}, 'std': {{...}}}}, got {stats!r:.200}")
            mean, std = stats["mean"], stats["std"]
        self.mean, self.std = _numbers("mean", mean), _numbers("std", std)
        _check_stats(self.mean, self.std)

    def run(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
        """Scale the image and mark its bands."""
        name = f"bands{self.suffix}"
        if getattr(batch.get(name), "state", None) == "normalised":
            raise TransformError(f"{self.key!r} is normalised already ({name!r} says so); normalise once only")
        return super().run(batch, draws)

    def change(self, image: Tensor, bands: Bands, batch: Mapping[str, Any], draws: Draws) -> tuple[Tensor, Bands]:
        """Scale the image and mark its bands."""
        missing = [name for name in bands.names if name not in self.mean]
        if missing:
            raise BandsError(
                f"no statistics for bands {', '.join(missing)} of {self.key!r}; there are statistics for "
                f"{', '.join(list(self.mean)[:20])}. Select these bands, or add the missing statistics"
            )
        # Half floats are too coarse for a mean of thousands: with a float32 mean the subtraction is done in float32.
        work = torch.promote_types(image.dtype, torch.float32)
        mean, std = (
            torch.tensor([part[n] for n in bands.names], dtype=work, device=image.device)[:, None, None]
            for part in (self.mean, self.std)
        )
        # The difference is a new tensor: dividing it in place leaves the image of the caller alone.
        scaled = (image - mean).div_(std).to(image.dtype)
        valid = valid_of(batch, self.key)
        if valid is not None:
            scaled.masked_fill_(~valid.unsqueeze(-3), 0.0)
        return scaled, bands.with_state("normalised")

    def config(self) -> dict[str, Any]:
        """Return the statistics and the key."""
        return {"stats": {"mean": dict(self.mean), "std": dict(self.std)}, "key": self.key}

    @property
    def effect(self) -> str:
        """Scales."""
        return f"{self.key}: (x - mean) / std by band -> normalised"

    def __repr__(self) -> str:
        if len(self.mean) <= 3:
            return super().__repr__()
        return f"Normalize({len(self.mean)} bands: {', '.join(list(self.mean)[:3])}, ..., key={self.key!r})"


def _numbers(what: str, values: Any) -> dict[str, float]:
    if not isinstance(values, Mapping) or not values or not all(isinstance(name, str) for name in values):
        raise TransformError(
            f"{what} must say which value is of which band, {{'B02': 0.1, ...}}, got {values!r:.200}; "
            "an order of bands is never assumed"
        )
    try:
        return {str(name): float(value) for name, value in values.items()}
    except (TypeError, ValueError):
        raise TransformError(f"{what} must be one number for each band, got {values!r:.200}") from None


def _check_stats(mean: dict[str, float], std: dict[str, float]) -> None:
    if set(mean) != set(std):
        raise TransformError(
            f"mean and std must be of the same bands; only one of them has {', '.join(sorted(set(mean) ^ set(std)))}"
        )
    for name in mean:
        if not math.isfinite(mean[name]):
            raise TransformError(f"mean of band {name!r} is {mean[name]}; it must be finite")
        if not (math.isfinite(std[name]) and std[name] > 0):
            raise TransformError(f"std of band {name!r} is {std[name]}; it must be finite and above 0")


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


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
