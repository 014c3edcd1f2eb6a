"""What SpectralEarth and its benchmarks have in common, and the statistics of its bands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geodata.datasets.enmap_table import valid_bands
from geodata.errors import ReadError

__all__ = ["CITATION", "HOME", "LICENCE", "TRAPS", "numbers_in"]

HOME = "https://geoservice.dlr.de/web/datasets/enmap_spectralearth"
LICENCE = "License agreement on the use of EnMAP data"
CITATION = (
    "Braham, Albrecht, Mairal, Chanussot, Wang, Zhu: SpectralEarth: Training Hyperspectral Foundation Models at Scale, "
    "2024, arXiv:2408.08447"
)
TRAPS = (
    "The 202 bands are ordered by wavelength: from 902 to 993 nm those of the two spectrometers take turns.",
    "Left out are bands 127-141 and 161-167 of the 224. The table enmap_bands_remapped.csv of the authors' code claims "
    "127-141 and 146-152: its wavelengths of bands 131 to 145 of the 202 are seven bands too long.",
    "Bands are called by their number in the 224: the last is B224, not B202.",
)


def numbers_in(path: Path) -> NDArray[np.float32]:
    """Return (202,) float32 of a file of the authors, or refuse it."""
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ReadError(f"cannot read {path}: {error}") from None
    if values.shape != (len(valid_bands()),) or values.dtype.kind != "f":
        raise ReadError(f"{path} holds {values.dtype} {values.shape}; wanted a number for each of 202 bands")
    out: NDArray[np.float32] = values.astype(np.float32)
    return out
