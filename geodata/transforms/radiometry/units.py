"""From stored numbers to physical ones: reflectance, decibels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geodata.bands import Bands
from geodata.errors import BandsError, TransformError
from geodata.transforms.base import Needs
from geodata.transforms.draws import Draws
from geodata.transforms.image import ImageTransform
from geodata.transforms.radiometry.products import product_of
from geodata.transforms.radiometry.scale import finite, per_band, work_dtype, zeroed

__all__ = ["FromDecibel", "ToDecibel", "ToReflectance"]

_THERMAL = 3000.0
"""nm: beyond it, what a sensor sees is emitted and not reflected."""

_BASELINE = re.compile(r"N?(\d\d)\.?(\d\d)")


class ToReflectance(ImageTransform):
    """Turn stored numbers into reflectance: ``number * scale + offset``.

    Without arguments, each band's own ``scale`` and ``offset`` are taken, if its unit is "reflectance". The bands come
    out in state "reflectance" with scale 1 and offset 0. Pixels that are not ``valid`` become 0. Nothing is clipped:
    reflectance below 0 or above 1 is what was measured.

    Parameters
    ----------
    scale : float or None, finite, not 0
    offset : float, with ``scale``
    product : name or None
        One of "enmap-l2a", "hls", "landsat-c2-l2", "sentinel-2-harmonised", "sentinel-2-l1c", "sentinel-2-l2a".
    baseline : text or None, of Sentinel-2
        Processing baseline of all images, such as "05.09" or "N0509": from 04.00 on, 1000 is subtracted first. None reads
        ``batch["baseline"]``: one text for all, or a list with one for each sample, which may differ. It is in the name of
        the product, not in its date: scenes of before 2022 were processed again.
    key : "image" or "image_<name>"

    Raises
    ------
    TransformError
        If arguments contradict each other or the product is not known; on an image that is no float or not raw; if
        nothing says the scale of a band, or the baseline.
    BandsError
        If a band is thermal or in decibels: its numbers are no reflectance. Select the others first.

    References
    ----------
    .. [1] Each entry of ``geodata/data/products.json`` names the document its numbers are from.

    Examples
    --------
    >>> batch = {"image": torch.tensor([[[1450.0]]]), "bands": Bands(["B04"])}
    >>> ToReflectance(product="sentinel-2-l2a", baseline="05.09")(batch)["image"]
    tensor([[[0.0450]]])
    """

    needs = Needs(floating=True, states=("raw",))

    def __init__(
        self,
        scale: float | None = None,
        offset: float = 0.0,
        *,
        product: str | None = None,
        baseline: str | None = None,
        key: str = "image",
    ) -> None:
        super().__init__(key)
        if scale is not None and product is not None:
            raise TransformError("give ToReflectance either scale and offset, or product=, not both")
        if not finite(offset) or not (scale is None or (finite(scale) and float(scale) != 0)):
            raise TransformError(f"scale {scale!r} and offset {offset!r} must be finite numbers, and scale not 0")
        if scale is None and offset:
            raise TransformError(f"offset {offset!r} needs scale: reflectance = number * scale + offset")
        entry = None if product is None else product_of("reflectance", product)
        if baseline is not None and "baselines" not in (entry or {}):
            raise TransformError(f"baseline {baseline!r} belongs to product='sentinel-2-l2a' or 'sentinel-2-l1c'")
        self.scale = None if scale is None else float(scale)
        self.offset, self.product, self.baseline = float(offset), product, baseline
        self._entry = entry
        if baseline is not None:
            self._of_baseline(baseline)
        elif entry is not None and "baselines" in entry:
            self.reads = (*self.reads, "baseline")

    def change(self, image: Tensor, bands: Bands, batch: Mapping[str, Any], draws: Draws) -> tuple[Tensor, Bands]:
        """Scale the image and mark its bands."""
        _check_reflecting(bands, (self._entry or {}).get("not", ()), self.key)
        scale, offset = self._numbers(image, bands, batch)
        out = (image * scale).add_(offset).to(image.dtype)
        done = (replace(band, unit="reflectance", scale=1.0, offset=0.0) for band in bands)
        return zeroed(out, batch, self.key), Bands(done, "reflectance")

    def _numbers(self, image: Tensor, bands: Bands, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Return scale and offset, which broadcast with the image."""
        if self.scale is not None:
            return per_band(image, [self.scale]), per_band(image, [self.offset])
        if self._entry is None:
            unknown = [band.name for band in bands if band.unit != "reflectance"]
            if unknown:
                raise TransformError(
                    f"nothing says how {', '.join(unknown[:12])} of {self.key!r} become reflectance; give product=, or "
                    "scale and offset, or bands with unit='reflectance', scale and offset"
                )
            return _own_scale(image, bands)
        if "baselines" not in self._entry:
            return per_band(image, [self._entry["scale"]]), per_band(image, [self._entry["offset"]])
        pairs = self._of_samples(image, batch) if self.baseline is None else np.array(self._of_baseline(self.baseline))
        numbers = torch.tensor(pairs, dtype=work_dtype(image), device=image.device)
        numbers = numbers.reshape(*pairs.shape[:-1], *[1] * (image.ndim - pairs.ndim + 1), 2)
        return numbers[..., 0], numbers[..., 1]

    def _of_samples(self, image: Tensor, batch: Mapping[str, Any]) -> NDArray[np.float64]:
        """Return (..., 2) scale and offset of every sample, or of every date of every sample."""
        given = batch.get("baseline")
        if given is None:
            raise TransformError(
                f"{self.product} needs the processing baseline, which decides whether 1000 is subtracted: give "
                "baseline='05.09', or put it in the batch, batch['baseline'] = ['05.09', ...], one for each sample"
            )
        names = np.array(given, dtype=object)
        if names.shape != image.shape[:-3][: names.ndim]:
            raise TransformError(
                f"'baseline' is of shape {names.shape}, {self.key!r} of shape {tuple(image.shape)}; there must be one text "
                "for each sample"
            )
        pairs = [self._of_baseline(name) for name in names.ravel().tolist()]
        return np.array(pairs, dtype=np.float64).reshape(*names.shape, 2)

    def _of_baseline(self, name: Any) -> tuple[float, float]:
        """Return scale and offset under a baseline."""
        found = _BASELINE.fullmatch(name) if isinstance(name, str) else None
        if found is None:
            raise TransformError(f"baseline {name!r} must be text such as '05.09' or 'N0509'")
        number = ".".join(found.groups())
        if number == "99.99":
            raise TransformError(
                "baseline 99.99 says that the product was made outside of ESA's ground segment, so it does not tell the "
                "offset: look for BOA_ADD_OFFSET in its metadata, and give T.ToReflectance(1e-4, offset)"
            )
        table = (self._entry or {})["baselines"]
        scale, offset = [row[1:] for row in table if row[0] <= number][-1]
        return scale, offset

    def config(self) -> dict[str, Any]:
        """Return what was given, and the key."""
        names = ("scale", "product", "baseline")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        if self.scale is not None:
            given["offset"] = self.offset
        return {**given, "key": self.key}

    @property
    def effect(self) -> str:
        """Scales."""
        how = self.product or ("scale and offset of each band" if self.scale is None else f"x * {self.scale:g}")
        how += f" + {self.offset:g}" if self.offset else ""
        return f"{self.key}: {how}, raw -> reflectance"


class ToDecibel(ImageTransform):
    """Turn linear backscatter into decibels, 10 log10(x).

    Stored numbers are first brought to their unit by each band's own ``scale`` and ``offset``. Numbers below the floor,
    zeros and negatives among them, become that of the floor: -100 dB by default, of amplitudes -200. Pixels that are not ``valid`` become 0;
    a NaN in a valid pixel stays. The bands come out in state "dB".

    Parameters
    ----------
    floor : float > 0
    amplitude : bool
        The numbers are amplitudes, the root of power: 20 log10(x).
    key : "image" or "image_<name>"

    Raises
    ------
    TransformError
        If the floor is not above 0 in float32; on an image that is no float or not raw, or that has a band in dB.

    Examples
    --------
    >>> batch = {"image": torch.tensor([[[0.1, 0.0]]]), "bands": Bands(["VV"])}
    >>> ToDecibel()(batch)["image"]
    tensor([[[ -10., -100.]]])
    """

    needs = Needs(floating=True, states=("raw",))

    def __init__(self, floor: float = 1e-10, *, amplitude: bool = False, key: str = "image") -> None:
        super().__init__(key)
        if not finite(floor) or float(floor) < torch.finfo(torch.float32).tiny:
            raise TransformError(f"floor {floor!r} must be a finite number above 0 (1.2e-38), of linear backscatter")
        self.floor, self.amplitude = float(floor), bool(amplitude)

    def change(self, image: Tensor, bands: Bands, batch: Mapping[str, Any], draws: Draws) -> tuple[Tensor, Bands]:
        """Take the logarithm and mark the bands."""
        already = [band.name for band in bands if band.unit == "dB"]
        if already:
            raise TransformError(f"{', '.join(already)} of {self.key!r} are in dB already, as their unit says")
        linear = image.to(work_dtype(image))
        if any(band.scale != 1 or band.offset != 0 for band in bands):
            scale, offset = _own_scale(image, bands)
            linear = linear * scale + offset
        out = linear.clamp(min=self.floor).log10_().mul_(_factor(self.amplitude)).to(image.dtype)
        done = (replace(band, unit="dB", scale=1.0, offset=0.0) for band in bands)
        return zeroed(out, batch, self.key), Bands(done, "dB")

    def config(self) -> dict[str, Any]:
        """Return the floor, amplitude and the key."""
        return {"floor": self.floor, "amplitude": self.amplitude, "key": self.key}

    @property
    def effect(self) -> str:
        """Takes the logarithm."""
        return f"{self.key}: {_factor(self.amplitude):g} log10(max(x, {self.floor:g})), raw -> dB"


class FromDecibel(ImageTransform):
    """Turn decibels into linear backscatter, 10 ** (x / 10).

    Pixels that are not ``valid`` become 0. The bands come out in state "raw" with the unit
    "linear", amplitudes without a unit.

    Parameters
    ----------
    amplitude : bool
        Give amplitude, the root of power: 10 ** (x / 20).
    key : "image" or "image_<name>"

    Raises
    ------
    TransformError
        On an image that is no float or not in state "dB".

    Examples
    --------
    >>> batch = {"image": torch.tensor([[[-10.0]]]), "bands": Bands(["VV"], "dB")}
    >>> FromDecibel()(batch)["image"]
    tensor([[[0.1000]]])
    """

    needs = Needs(floating=True, states=("dB",))

    def __init__(self, *, amplitude: bool = False, key: str = "image") -> None:
        super().__init__(key)
        self.amplitude = bool(amplitude)

    def change(self, image: Tensor, bands: Bands, batch: Mapping[str, Any], draws: Draws) -> tuple[Tensor, Bands]:
        """Take the power and mark the bands."""
        out = torch.pow(10.0, image.to(work_dtype(image)) / _factor(self.amplitude)).to(image.dtype)
        unit = None if self.amplitude else "linear"
        linear = (replace(band, unit=unit, scale=1.0, offset=0.0) for band in bands)
        return zeroed(out, batch, self.key), Bands(linear, "raw")

    def config(self) -> dict[str, Any]:
        """Return amplitude and the key."""
        return {"amplitude": self.amplitude, "key": self.key}

    @property
    def effect(self) -> str:
        """Takes the power."""
        return f"{self.key}: 10 ** (x / {_factor(self.amplitude):g}), dB -> raw"


def _factor(amplitude: bool) -> float:
    return 20.0 if amplitude else 10.0


def _own_scale(image: Tensor, bands: Bands) -> tuple[Tensor, Tensor]:
    """Return scale and offset that the bands state."""
    wrong = [b.name for b in bands if not (finite(b.scale) and b.scale != 0 and finite(b.offset))]
    if wrong:
        raise TransformError(
            f"{', '.join(wrong[:12])} state a scale that is 0 or no number; give bands with the right one"
        )
    return per_band(image, [b.scale for b in bands]), per_band(image, [b.offset for b in bands])


def _check_reflecting(bands: Bands, others: tuple[str, ...], key: str) -> None:
    hot = [b.name for b in bands if b.name in others or (b.wavelength is not None and b.wavelength > _THERMAL)]
    if hot:
        raise BandsError(
            f"{', '.join(hot)} of {key!r} are thermal, which is no reflectance; select the other bands first"
        )
    radar = [band.name for band in bands if band.unit == "dB"]
    if radar:
        raise BandsError(
            f"{', '.join(radar)} of {key!r} are in dB, which is no reflectance; select the other bands first"
        )
