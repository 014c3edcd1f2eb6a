"""Absorption bands freed of the shape of the whole spectrum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from geodata.bands import Bands
from geodata.errors import BandsError
from geodata.transforms.base import Needs
from geodata.transforms.draws import Draws
from geodata.transforms.image import valid_of
from geodata.transforms.spectral.channels import BandMixing

__all__ = ["ContinuumRemoval"]

_CHUNK = 1 << 16
"""Pixels at a time: 224 bands of them take about 250 MiB of working memory."""


class ContinuumRemoval(BandMixing):
    """Divide every spectrum by its upper convex hull.

    The hull is straight lines over wavelength that touch the spectrum from above and join its two ends. The result is in
    [0, 1]: 1 on the hull, and 1 less the depth of absorption elsewhere; below 0 is cut off, and where the hull itself is
    not above 0 there is no depth, the result is 1. Bands may be in any order of wavelength; state becomes "normalised".
    Pixels that are not ``valid`` become 0; a spectrum with a NaN or an infinite number has no hull and
    becomes NaN as a whole.

    Parameters
    ----------
    key : "image" or "image_<name>"

    Raises
    ------
    TransformError
        On an image that is not floating, no reflectance, or has filled bands.
    BandsError
        On an image with bands of unknown or equal wavelengths.

    Examples
    --------
    >>> from geodata.bands import Band
    >>> bands = Bands([Band(f"{nm}", wavelength=nm) for nm in (500, 600, 700)], state="reflectance")
    >>> image = torch.tensor([0.2, 0.15, 0.4]).reshape(3, 1, 1)
    >>> ContinuumRemoval()({"image": image, "bands": bands})["image"].flatten()
    tensor([1.0000, 0.5000, 1.0000])

    References
    ----------
    .. [1] R. Clark, T. Roush, "Reflectance spectroscopy: quantitative analysis techniques for remote sensing
       applications", Journal of Geophysical Research 89(B7), 1984.
    .. [2] A. Andrew, "Another efficient algorithm for convex hulls in two dimensions", Information Processing Letters
       9(5), 1979: the monotone chain, here for many spectra at once.
    """

    needs = Needs(floating=True, states=("reflectance",), wavelengths=True)

    def __init__(self, *, key: str = "image") -> None:
        super().__init__(key)

    def change(self, image: Tensor, bands: Bands, batch: Mapping[str, Any], draws: Draws) -> tuple[Tensor, Bands]:
        """Divide by the hull."""
        centres = bands.wavelengths
        order = centres.argsort(kind="stable")
        if (centres[order][1:] == centres[order][:-1]).any():
            raise BandsError(f"several bands of {self.key!r} have the same wavelength: {bands!r}; select one of them")
        work = torch.promote_types(image.dtype, torch.float32)
        at = torch.from_numpy(centres[order]).to(work).to(image.device)
        ranks = torch.from_numpy(order).to(image.device)
        spectra = image.movedim(-3, 0).reshape(len(bands), -1)
        out = torch.empty_like(spectra)
        for start in range(0, spectra.shape[1], _CHUNK):
            part = slice(start, start + _CHUNK)
            out[ranks, part] = _removed(spectra[:, part].to(work)[ranks], at).to(image.dtype)
        lead = (len(bands), *image.shape[:-3], *image.shape[-2:])
        result = out.reshape(lead).movedim(0, -3).contiguous()
        valid = valid_of(batch, self.key)
        if valid is not None:
            result = result.masked_fill_(~valid.unsqueeze(-3), 0.0)
        return result, bands.with_state("normalised")

    def config(self) -> dict[str, Any]:
        """Return the key."""
        return {"key": self.key}

    @property
    def effect(self) -> str:
        """Divides."""
        return f"{self.key}: x / upper hull of the spectrum, 0 to 1 -> normalised"


def _removed(y: Tensor, at: Tensor) -> Tensor:
    """Spectra (C, N) over their hulls; ``at`` (C,) rises."""
    before = _chain(y, at)
    hull = torch.empty_like(y)
    hull[-1] = y[-1]
    # Back along the chain: `right` is the vertex at or after each band, `left` the one before.
    right = torch.full_like(before[0], len(y) - 1)
    for i in range(len(y) - 2, -1, -1):
        left = before.gather(0, right[None])[0]
        a, b = at[left], at[right]
        low, high = y.gather(0, left[None])[0], y.gather(0, right[None])[0]
        hull[i] = torch.where(left == i, y[i], low + (high - low) * ((at[i] - a) / (b - a)))
        right = torch.where(left == i, left, right)
    ratio = torch.where(hull > 0, y / hull, 1.0).clamp(0.0, 1.0)
    return torch.where(y.isfinite().all(dim=0), ratio, torch.nan)


def _chain(y: Tensor, at: Tensor) -> Tensor:
    """(C, N) int64: for each band the hull vertex before it, in the hull of the bands up to it."""
    before = torch.zeros(y.shape, dtype=torch.int64, device=y.device)
    for i in range(2, len(y)):
        top = torch.full_like(before[0], i - 1)
        # Those whose last vertex lies under the line to the new point lose it, and are looked at again; a vertex is lost
        # once only, so that all rounds together look at each vertex and pixel at most twice.
        pixels = torch.arange(y.shape[1], device=y.device)
        while len(pixels):
            last = top[pixels]
            prior = before[last, pixels]
            here, there = y[last, pixels], y[prior, pixels]
            rise, run = here - there, at[last] - at[prior]
            lost = (last > 0) & (rise * (at[i] - at[prior]) <= (y[i, pixels] - there) * run)
            pixels = pixels[lost]
            top[pixels] = prior[lost]
        before[i] = top
    return before
