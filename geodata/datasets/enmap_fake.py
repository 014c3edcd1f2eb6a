"""What look-alikes of hyperspectral archives hold: patches of a few materials with spectra of their own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geodata.bands import Bands
from geodata.datasets.enmap_table import EMPTY, NODATA
from geodata.datasets.fakes import blobs

__all__ = ["scene", "with_empty"]


def scene(bands: Bands, size: int, seed: int) -> NDArray[np.int16]:
    """Return (C, size, size) int16 of vegetation, soil, water and roofs, each a spectrum; the same for the same seed."""
    draw = np.random.default_rng(seed)
    known = bands.wavelengths
    nm = np.linspace(420, 2440, len(bands)) if np.isnan(known).any() else known
    rise = 1 / (1 + np.exp((715 - nm) / 12))
    water = np.exp(-(((nm - 1400) / 60) ** 2)) + np.exp(-(((nm - 1900) / 70) ** 2))
    spectra = [
        400 + 3600 * rise * (1 - 0.7 * water) * np.exp(-(nm - 800).clip(0) / 1600),
        600 + 2600 * (nm - 400) / 2040 * (1 - 0.3 * water),
        250 * np.exp(-(nm - 400) / 300) - 20,
        1200 + 900 * np.sin(nm / 700) ** 2,
    ]
    shades = np.rint([s * f for s in spectra for f in draw.uniform(0.8, 1.2, 3)]).astype(np.int16)
    places = blobs((size, size), range(len(shades)), "int64", seed)
    out: NDArray[np.int16] = np.ascontiguousarray(np.moveaxis(shades[places], -1, 0))
    return out


def with_empty(image: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return 224 bands from the 202 that hold values; the others hold nodata."""
    out = np.full((image.shape[0] + len(EMPTY), *image.shape[1:]), NODATA, dtype=np.int16)
    out[[i for i in range(len(out)) if i + 1 not in EMPTY]] = image
    return out
