"""Noise of hyperspectral sensors that is in every band: thermal and shot noise, drifting gains."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Generator, Tensor

from geodata.errors import TransformError
from geodata.transforms.restoration import noise_kinds as kinds
from geodata.transforms.restoration.noise_base import NoiseTransform, Span, numbers, plain, span

__all__ = ["GainDrift", "GaussianNoise", "PoissonNoise"]


class GaussianNoise(NoiseTransform):
    """Add normal noise; give one of ``sigma``, ``choices`` and ``snr``.

    Parameters
    ----------
    sigma : number, or two to draw between, in units of the image, >= 0
        Benchmarks count in 255ths: sigma 30 is 30 / 255.
    choices : numbers >= 0 to pick from instead
    snr : dB, or two to draw between
        10 log10 of mean(x**2) / sigma**2 over valid pixels.
    each_band : bool
        Draw a sigma for every band (not identically distributed); otherwise one for the image.
    key, keep, seed : as for `NoiseTransform`

    Raises
    ------
    TransformError
        If an argument is out of range; on an image of raw numbers or decibels.

    References
    ----------
    .. [1] K. Wei, Y. Fu, H. Huang, "3-D quasi-recurrent neural network for hyperspectral image denoising",
       IEEE TNNLS 32 (2021), section IV.

    Examples
    --------
    >>> from geodata.bands import Bands
    >>> bands = Bands(["a", "b"], state="reflectance")
    >>> sample = {"key": "x", "draw": torch.tensor([0, 0]), "image": torch.zeros(2, 64, 64), "bands": bands}
    >>> out = GaussianNoise(0.1)(sample)
    >>> round(float(out["image"].std()), 2), float(out["image_target"].std())
    (0.1, 0.0)
    """

    def __init__(
        self,
        sigma: Span | None = None,
        *,
        choices: Iterable[float] | None = None,
        snr: Span | None = None,
        each_band: bool = False,
        key: str = "image",
        keep: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(key=key, keep=keep, seed=seed)
        if sum(given is not None for given in (sigma, choices, snr)) != 1:
            raise TransformError("GaussianNoise takes one of sigma=, choices= and snr=")
        self.sigma = None if sigma is None else span("sigma", sigma, 0.0)
        self.choices = None if choices is None else numbers("choices", choices, 0.0)
        self.snr = None if snr is None else span("snr", snr)
        self.each_band = bool(each_band)

    def corrupt(self, x: Tensor, valid: Tensor | None, g: Generator) -> None:
        """Draw the sigmas and add the noise."""
        shape = (len(x), x.shape[1] if self.each_band else 1, 1, 1)
        if self.sigma is not None:
            sigma = kinds.uniform(x, shape, *self.sigma, g)
        elif self.choices is not None:
            sigma = kinds.choice(x, shape, self.choices, g)
        else:
            sigma = self._of_snr(x, valid, shape, g)
        kinds.add_gaussian(x, sigma.expand(-1, x.shape[1], 1, 1), g)

    def _of_snr(self, x: Tensor, valid: Tensor | None, shape: tuple[int, ...], g: Generator) -> Tensor:
        ratio = 10.0 ** (kinds.uniform(x, shape, *(self.snr or (0.0, 0.0)), g) / 10.0)
        seen = x.isfinite() if valid is None else x.isfinite() & valid.unsqueeze(-3)
        total, count = kinds.power(x, valid, 2), seen.sum(dim=(-2, -1), keepdim=True)
        if not self.each_band:
            total, count = total.sum(dim=1, keepdim=True), count.sum(dim=1, keepdim=True)
        return (total / count.clamp(min=1)).to(x.dtype).div(ratio).sqrt()

    def settings(self) -> dict[str, Any]:
        """Return sigma, choices, snr and each_band."""
        return {
            "sigma": plain(self.sigma),
            "choices": None if self.choices is None else list(self.choices),
            "snr": plain(self.snr),
            "each_band": self.each_band,
        }


class PoissonNoise(NoiseTransform):
    """Shot noise: every value becomes a count of photons, drawn from a Poisson law and scaled back.

    The scale of a band is such that its signal-to-noise ratio, 10 log10 of sum(x**2) / sum of variances, is ``snr``.
    Negative values become 0.

    Parameters
    ----------
    snr : dB, or two to draw between, for every band
    key, keep, seed : as for `NoiseTransform`

    Raises
    ------
    TransformError
        If an argument is out of range; on an image of raw numbers or decibels.

    References
    ----------
    .. [1] HyDe, ``lowlevel/add_noise.py``, ``add_noise_std(noise_type="poisson")``: 15 dB. It returns the counts; here they
       are divided by the scale again, so that the image keeps its unit.

    Examples
    --------
    >>> from geodata.bands import Bands
    >>> bands = Bands(["a", "b", "c"], state="reflectance")
    >>> sample = {"key": "x", "draw": torch.tensor([0, 0]), "image": torch.ones(3, 20, 20), "bands": bands}
    >>> round(float(PoissonNoise(20)(sample)["image"].std()), 1)
    0.1
    """

    def __init__(self, snr: Span = 15.0, *, key: str = "image", keep: bool = True, seed: int = 0) -> None:
        super().__init__(key=key, keep=keep, seed=seed)
        self.snr = span("snr", snr)

    def corrupt(self, x: Tensor, valid: Tensor | None, g: Generator) -> None:
        """Draw the counts."""
        ratio = 10.0 ** (kinds.uniform(x, (len(x), x.shape[1], 1, 1), *self.snr, g) / 10.0)
        kinds.poisson(x, valid, ratio, g)

    def settings(self) -> dict[str, Any]:
        """Return the SNR."""
        return {"snr": plain(self.snr)}


class GainDrift(NoiseTransform):
    """Multiply every band by a gain that changes evenly from the first row to the last, as a warming detector's does.

    The gain is 1 in the middle of the image and 1 -+ d / 2 at its ends, d drawn for each band.

    Parameters
    ----------
    drift : number >= 0
        d is drawn between -drift and drift.
    key, keep, seed : as for `NoiseTransform`

    Raises
    ------
    TransformError
        If an argument is out of range; on an image of raw numbers or decibels.

    Examples
    --------
    >>> from geodata.bands import Bands
    >>> bands = Bands(["a", "b", "c"], state="reflectance")
    >>> sample = {"key": "x", "draw": torch.tensor([0, 0]), "image": torch.ones(3, 20, 20), "bands": bands}
    >>> GainDrift(0)(sample)["image"].unique()
    tensor([1.])
    """

    def __init__(self, drift: float = 0.1, *, key: str = "image", keep: bool = True, seed: int = 0) -> None:
        super().__init__(key=key, keep=keep, seed=seed)
        self.drift = span("drift", drift, 0.0)[1]

    def corrupt(self, x: Tensor, valid: Tensor | None, g: Generator) -> None:
        """Draw and apply the gains."""
        drift = kinds.uniform(x, (*x.shape[:2], 1, 1), -self.drift, self.drift, g)
        row = (torch.arange(x.shape[-2], device=x.device, dtype=x.dtype) + 0.5) / x.shape[-2] - 0.5
        x *= 1.0 + drift * row[:, None]

    def settings(self) -> dict[str, Any]:
        """Return the drift."""
        return {"drift": self.drift}
