"""What sensors do to an image, one function for each kind: drawn for all bands at once, done in place.

Every function takes ``x``, (N, C, H, W) floating, and a generator on its device. Values are changed by sums and products
alone, so that a NaN stays to be seen.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from geodata.errors import TransformError

__all__ = [
    "add_gaussian",
    "choice",
    "choose_bands",
    "impulses",
    "lines",
    "poisson",
    "power",
    "uniform",
]


def uniform(x: Tensor, shape: Sequence[int], low: float, high: float, g: Generator) -> Tensor:
    """Return numbers between low and high, in the dtype and on the device of ``x``."""
    return torch.rand(tuple(shape), generator=g, device=x.device, dtype=x.dtype) * (high - low) + low


def choice(x: Tensor, shape: Sequence[int], values: Sequence[float], g: Generator) -> Tensor:
    """Return values picked with equal chance."""
    index = torch.randint(len(values), tuple(shape), generator=g, device=x.device)
    return torch.tensor(values, device=x.device, dtype=x.dtype)[index]


def choose_bands(x: Tensor, count: int, g: Generator) -> Tensor:
    """Return (N, count) different bands of every image, in random order."""
    order = torch.rand(x.shape[:2], generator=g, device=x.device).argsort(dim=-1)
    return order[:, :count]


def add_gaussian(x: Tensor, sigma: Tensor, g: Generator) -> None:
    """Add normal noise; ``sigma`` broadcasts to (N, C, 1, 1)."""
    # One image after the other: the noise of one still is in cache when it is scaled and added.
    for image, scale in zip(x, sigma.expand(len(x), -1, 1, 1), strict=True):
        noise = torch.randn(image.shape, generator=g, device=x.device, dtype=x.dtype)
        image.add_(noise.mul_(scale))


def lines(x: Tensor, bands: Tensor, low: int, high: int, g: Generator) -> tuple[Tensor, Tensor]:
    """Choose columns of some bands.

    Parameters
    ----------
    bands : (N, K) int64
    low, high : least and largest number of columns in a band, both included

    Returns
    -------
    place, chosen : (N, K, 1) and (N, K, W), to index and to fill ``x[place[..., 0], bands]`` columns
    """
    if not 0 <= low <= high <= x.shape[-1]:
        raise TransformError(
            f"cannot choose {low} to {high} columns of {x.shape[-1]}; the image is too narrow for this noise"
        )
    shape = (*bands.shape, x.shape[-1])
    count = torch.randint(low, high + 1, (*bands.shape, 1), generator=g, device=x.device)
    order = torch.rand(shape, generator=g, device=x.device).argsort(dim=-1)
    first = torch.arange(x.shape[-1], device=x.device) < count
    chosen = torch.zeros(shape, dtype=torch.bool, device=x.device).scatter_(-1, order, first)
    return torch.arange(len(x), device=x.device)[:, None], chosen


def impulses(x: Tensor, bands: Tensor, amount: Tensor, salt: float, g: Generator, *, clip: bool = False) -> None:
    """Set pixels of some bands to 1 (salt) or 0 (pepper).

    Parameters
    ----------
    bands : (N, K) int64
    amount : (N, K) share of pixels that are hit
    salt : share of those that become 1
    clip : cut these bands to [0, 1] first, as MATLAB's ``imnoise`` does
    """
    rows = torch.arange(len(x), device=x.device)[:, None]
    part = x[rows, bands]
    if clip:
        part.clamp_(0.0, 1.0)
    u = torch.rand(part.shape, generator=g, device=x.device)
    hit = amount.to(u.dtype)[..., None, None]
    part.mul_(u >= hit).add_(u < hit * salt)
    x[rows, bands] = part


def power(x: Tensor, valid: Tensor | None, exponent: int) -> Tensor:
    """Return (N, C, 1, 1) sums of x ** exponent over valid pixels that are finite."""
    known = x.isfinite() if valid is None else x.isfinite() & valid.unsqueeze(-3)
    return x.where(known, torch.zeros_like(x)).pow(exponent).sum(dim=(-2, -1), keepdim=True)


def poisson(x: Tensor, valid: Tensor | None, snr: Tensor, g: Generator) -> None:
    """Count photons: Poisson noise of a given signal-to-noise ratio (a ratio of powers) in every band, scaled back."""
    x.clamp_(min=0.0)
    total = power(x, valid, 1)
    # A band that is all zero has no photons: any scale does.
    scale = (snr * total / power(x, valid, 2)).nan_to_num(nan=1.0, posinf=1.0)
    rate = torch.nan_to_num(x).mul_(scale)
    if valid is not None:
        # How many random numbers a count takes depends on its rate, and later pixels would get other ones.
        rate.masked_fill_(~valid.unsqueeze(-3), 0.0)
    lost = x.mul(0.0)
    x.copy_(torch.poisson(rate, generator=g).div_(scale)).add_(lost)
