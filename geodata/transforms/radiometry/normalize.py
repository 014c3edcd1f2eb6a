"""Transforms that scale each band by its statistics: z-score, mean and spread, range."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from geodata.bands import STATES, Bands
from geodata.errors import BandsError, TransformError
from geodata.transforms.base import Needs
from geodata.transforms.draws import Draws
from geodata.transforms.image import ImageTransform, valid_of
from geodata.transforms.layout import empty
from geodata.transforms.radiometry.scale import finite, per_band, work_dtype, zeroed
from geodata.transforms.radiometry.stats import Stats, between, check_ranges, check_spread, entry, one_of

__all__ = ["MeanStdRange", "MinMax", "Normalize"]


class _ByStatistics(ImageTransform):
    """What transforms share that look up numbers by the names of bands.

    ``stats`` holds a mapping {band: number} for each name in ``parts``, and "state" if it is known what they are of.
    """

    needs = Needs(floating=True, states=tuple(s for s in STATES if s != "normalised"))
    parts: tuple[str, str] = ("mean", "std")

    def __init__(self, stats: Stats, key: str) -> None:
        super().__init__(key)
        self.stats = entry(stats, self.key, self.parts)

    def run(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
        """Scale the image and mark its bands."""
        name = f"bands{self.suffix}"
        if getattr(batch.get(name), "state", None) == "normalised":
            raise TransformError(f"{self.key!r} is normalised already ({name!r} says so); normalise once only")
        return super().run(batch, draws)

    def of(self, bands: Bands) -> tuple[list[float], list[float]]:
        """Return the numbers of both parts, in the order of the bands."""
        first, second = (self.stats[part] for part in self.parts)
        state = self.stats.get("state")
        if state is not None and state != bands.state:
            raise TransformError(
                f"{self.key!r} is {bands.state}, and the statistics are of {state} numbers; scale the image to {state} "
                f"first, or take statistics of {bands.state} numbers"
            )
        missing = [name for name in bands.names if name not in first]
        if missing:
            raise BandsError(
                f"no statistics for bands {', '.join(missing)} of {self.key!r}; there are statistics for "
                f"{', '.join(list(first)[:20])}. Select these bands, or add the missing statistics"
            )
        return [first[name] for name in bands.names], [second[name] for name in bands.names]

    def config(self) -> dict[str, Any]:
        """Return the statistics and the key."""
        return {"stats": {k: dict(v) if k in self.parts else v for k, v in self.stats.items()}, "key": self.key}

    def __repr__(self) -> str:
        names = list(self.stats.get(self.parts[0], ()))
        if len(names) <= 3:
            return super().__repr__()
        rest = ", ".join(f"{k}={v!r}" for k, v in self.config().items() if k != "stats")
        return f"{type(self).__name__}({len(names)} bands: {', '.join(names[:3])}, ..., {rest})"


class Normalize(_ByStatistics):
    """Subtract the mean and divide by the standard deviation of every band, found by name.

    The order of bands in the statistics means nothing: each channel is looked up by its name in
    ``batch["bands"]``. The bands come out in state "normalised". Pixels that are not ``valid`` become 0, the
    mean; a NaN in a valid pixel stays, because it is an error to be seen. Only one image is touched.

    Parameters
    ----------
    stats : {"mean": {band: float}, "std": {band: float}}, or `geodata.statistics.Statistics`
        In the units of the image; mean finite, std finite and > 0. More bands than the image has are fine. If it has a
        "state", the image must be in it. Of statistics of several images, those of ``key`` are taken.
    mean, std : {band: float}
        The same, given apart instead of ``stats``.
    key : "image" or "image_<name>"

    Raises
    ------
    TransformError
        If statistics are no mappings, disagree, or are out of range; on an image that is not floating, whose
        bands are not known, that is normalised already, or in another state than the statistics.
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

    def __init__(
        self,
        stats: Stats | None = None,
        *,
        mean: Mapping[str, float] | None = None,
        std: Mapping[str, float] | None = None,
        key: str = "image",
    ) -> None:
        super().__init__(one_of(type(self).__name__, stats, mean=mean, std=std), key)
        check_spread(self.stats["mean"], self.stats["std"])

    def change(self, image: Tensor, bands: Bands, batch: Mapping[str, Any], draws: Draws) -> tuple[Tensor, Bands]:
        """Scale the image and mark its bands."""
        mean, std = (per_band(image, numbers) for numbers in self.of(bands))
        if image.requires_grad or image.dtype != mean.dtype:
            scaled = ((image - mean) / std).to(image.dtype)
        else:
            # An image that the step before has made is scaled where it lies; that of a caller stays as it is.
            out = image if self.key in draws.fresh else empty(image.shape, image)
            scaled = torch.sub(image, mean, out=out).div_(std)
        return zeroed(scaled, batch, self.key), bands.with_state("normalised")

    @property
    def effect(self) -> str:
        """Scales."""
        return f"{self.key}: (x - mean) / std by band -> normalised"


class MeanStdRange(_ByStatistics):
    """Bring mean - spread std to 0 and mean + spread std to 1, and clip to [0, 1].

    What SeCo, SSL4EO-S12, SatMAE and their followers feed their models with. Bands are found by name and come out in
    state "normalised". Pixels that are not ``valid`` become 0; a NaN in a valid pixel stays.

    Parameters
    ----------
    stats, mean, std, key : as in `Normalize`
    spread : float > 0, standard deviations to each side
    uint8 : bool
        Round as those authors do: 255 times the number without its decimals, over 255. There are 256 values then.

    Raises
    ------
    TransformError, BandsError
        As in `Normalize`, and if ``spread`` is not above 0.

    References
    ----------
    .. [1] O. Manas et al., "Seasonal Contrast", ICCV 2021, ``datasets/bigearthnet_dataset.py``: ``normalize``, which casts
       with ``astype(np.uint8)``.

    Examples
    --------
    >>> from geodata.bands import Bands
    >>> batch = {"image": torch.tensor([[[500.0, 1000.0, 9000.0]]]), "bands": Bands(["B04"])}
    >>> MeanStdRange(mean={"B04": 1000.0}, std={"B04": 500.0})(batch)["image"]
    tensor([[[0.2500, 0.5000, 1.0000]]])
    """

    def __init__(
        self,
        stats: Stats | None = None,
        *,
        mean: Mapping[str, float] | None = None,
        std: Mapping[str, float] | None = None,
        spread: float = 2.0,
        uint8: bool = False,
        key: str = "image",
    ) -> None:
        super().__init__(one_of(type(self).__name__, stats, mean=mean, std=std), key)
        check_spread(self.stats["mean"], self.stats["std"])
        if not finite(spread) or float(spread) < 1e-6:
            raise TransformError(f"spread {spread!r} must be a number of standard deviations, 0.000001 or more")
        self.spread, self.uint8 = float(spread), bool(uint8)

    def change(self, image: Tensor, bands: Bands, batch: Mapping[str, Any], draws: Draws) -> tuple[Tensor, Bands]:
        """Scale the image and mark its bands."""
        # The published 8-bit numbers come of float64, and next to a step float32 would land on the other side.
        exact = self.uint8 and image.device.type != "mps"
        dtype = torch.float64 if exact else work_dtype(image)
        mean, std = self.of(bands)
        low = [m - self.spread * s for m, s in zip(mean, std, strict=True)]
        span = [m + self.spread * s - least for m, s, least in zip(mean, std, low, strict=True)]
        scaled = (image - per_band(image, low, dtype)).div_(per_band(image, span, dtype))
        if self.uint8:
            scaled.mul_(255.0).clamp_(0.0, 255.0).trunc_().div_(255.0)
        else:
            scaled.clamp_(0.0, 1.0)
        return zeroed(scaled.to(image.dtype), batch, self.key), bands.with_state("normalised")

    def config(self) -> dict[str, Any]:
        """Return the statistics, spread, uint8 and the key."""
        return {**super().config(), "spread": self.spread, "uint8": self.uint8}

    @property
    def effect(self) -> str:
        """Scales."""
        steps = " in 255 steps" if self.uint8 else ""
        return f"{self.key}: mean +- {self.spread:g} std -> [0, 1]{steps}, normalised"


class MinMax(_ByStatistics):
    """Bring a lowest number to 0 and a highest to 1: ``(x - low) / (high - low)``.

    The range is that of statistics by band, two numbers for all bands, or that of each image itself. Bands come out in
    state "normalised". Pixels that are not ``valid`` become 0; a NaN in a valid pixel stays.

    Parameters
    ----------
    stats : {"min": {band: float}, "max": {band: float}}, or `geodata.statistics.Statistics`
        As in `Normalize`.
    low, high : float
        Instead of ``stats``.
    percentiles : (float, float) or None
        Of ``stats``, instead of their min and max; those that it holds: ``stats["percentiles"]["2"]``.
    per : {"image", "band"} or None
        Instead of ``stats``: the range of the valid pixels of each image, or of each of its bands, is taken; of a series, of
        each date. An image of one value, or without a valid pixel, becomes 0.
    clip : bool
        To [0, 1].
    key : "image" or "image_<name>"

    Raises
    ------
    TransformError
        If none or several of stats, low and high, and per are given; if a range is empty or not known; on an image that is
        not floating, normalised already, or in another state than the statistics.
    BandsError
        On an image with bands that the statistics lack.

    Examples
    --------
    >>> from geodata.bands import Bands
    >>> batch = {"image": torch.tensor([[[2.0, 3.0, 6.0]]]), "bands": Bands(["B04"])}
    >>> MinMax(per="image")(batch)["image"]
    tensor([[[0.0000, 0.2500, 1.0000]]])
    """

    parts = ("min", "max")

    def __init__(
        self,
        stats: Stats | None = None,
        *,
        low: float | None = None,
        high: float | None = None,
        percentiles: tuple[float, float] | None = None,
        per: str | None = None,
        clip: bool = False,
        key: str = "image",
    ) -> None:
        if [stats is not None, low is not None or high is not None, per is not None].count(True) != 1:
            raise TransformError("give MinMax one of: stats, low= and high=, per='image' or per='band'")
        if percentiles is not None and stats is None:
            raise TransformError(f"percentiles {percentiles!r} are those of stats; give both")
        if per not in (None, "image", "band"):
            raise TransformError(f"per {per!r} must be 'image' or 'band'")
        if stats is None:
            ImageTransform.__init__(self, key)
            self.stats = {}
        else:
            super().__init__(stats if percentiles is None else between(stats, percentiles, key), key)
            check_ranges(self.stats["min"], self.stats["max"])
        if (low is not None or high is not None) and not (finite(low) and finite(high) and low < high):  # type: ignore[operator]
            raise TransformError(f"low {low!r} and high {high!r} must be finite numbers, low below high")
        self.low, self.high = (None if value is None else float(value) for value in (low, high))
        self.per, self.clip = per, bool(clip)

    def change(self, image: Tensor, bands: Bands, batch: Mapping[str, Any], draws: Draws) -> tuple[Tensor, Bands]:
        """Scale the image and mark its bands."""
        if self.per is not None:
            scaled = self._own(image.to(work_dtype(image)), valid_of(batch, self.key))
        else:
            low, high = self.of(bands) if self.stats else ([self.low or 0.0], [self.high or 0.0])
            span = [top - bottom for bottom, top in zip(low, high, strict=True)]
            scaled = (image - per_band(image, low)).div_(per_band(image, span))
        if self.clip:
            scaled.clamp_(0.0, 1.0)
        return zeroed(scaled.to(image.dtype), batch, self.key), bands.with_state("normalised")

    def _own(self, image: Tensor, valid: Tensor | None) -> Tensor:
        """Scale by the range of each image's own pixels."""
        if not image.numel():
            return image.clone()
        known = image.isfinite() if valid is None else image.isfinite() & valid.unsqueeze(-3)
        over = (-3, -2, -1) if self.per == "image" else (-2, -1)
        low = image.masked_fill(~known, math.inf).amin(over, keepdim=True)
        high = image.masked_fill(~known, -math.inf).amax(over, keepdim=True)
        wide = high - low >= torch.finfo(image.dtype).tiny
        # What has no range becomes 0 by a factor of 0, which leaves a NaN a NaN.
        factor = torch.where(wide, (high - low).reciprocal(), torch.zeros_like(low))
        return (image - torch.where(low.isfinite(), low, torch.zeros_like(low))).mul_(factor)

    def config(self) -> dict[str, Any]:
        """Return where the range is from, clip and the key."""
        given = {name: value for name in ("low", "high", "per") if (value := getattr(self, name)) is not None}
        return {**(super().config() if self.stats else {"key": self.key}), **given, "clip": self.clip}

    @property
    def effect(self) -> str:
        """Scales."""
        what = "min and max of each " + self.per if self.per else "low and high" if not self.stats else "range by band"
        return f"{self.key}: {what} -> [0, 1]{', clipped' if self.clip else ''}, normalised"
