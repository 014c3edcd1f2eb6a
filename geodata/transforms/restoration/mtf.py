"""Filters that blur as the optics and detectors of a sensor do."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.bands import Bands
from geodata.errors import BandsError, TransformError

__all__ = ["check_sensor", "fspecial_gaussian", "mtf_kernel", "nyquist_gains"]

_SIZE = 41


def nyquist_gains(bands: Bands, sensor: str) -> tuple[float, ...]:
    """Return the gain of every band at its Nyquist frequency, found by its name or common name.

    Parameters
    ----------
    sensor : QB, IKONOS, GeoEye1, WV2, WV3 or WV4; "default" is 0.3 for any band

    Raises
    ------
    TransformError
        If the sensor is not known.
    BandsError
        If the sensor has no such band, or two of these bands would be the same one.

    References
    ----------
    .. [1] L. Deng et al., "Machine learning in pansharpening: a benchmark, from shallow to deep networks", IEEE GRSM 10
       (2022); ``liangjiandeng/DLPan-Toolbox``, ``Tools/genMTF.m``.
    """
    table = _table()
    if check_sensor(sensor) == "default":
        return (float(table["default"]),) * len(bands)
    known: dict[str, float] = table["sensors"][sensor]
    found = []
    for band in bands:
        names = [str(name).lower() for name in (band.common_name, band.name) if name]
        mine = next((n for name in names for n in (name, table["also"].get(name)) if n in known), None)
        if mine is None or mine in found:
            raise BandsError(
                f"band {band.name!r} is no band of {sensor}, or the second one of it; {sensor} has {', '.join(known)}. "
                "Name the bands so, or give nyquist={band: gain}"
            )
        found.append(mine)
    return tuple(known[name] for name in found)


def check_sensor(sensor: Any) -> str:
    """Return the name of a sensor, or raise TransformError."""
    names = [*_table()["sensors"], "default"]
    if sensor not in names:
        raise TransformError(f"sensor {sensor!r} must be one of {', '.join(names)}")
    return str(sensor)


@lru_cache(maxsize=512)
def mtf_kernel(gain: float, ratio: int) -> NDArray[np.float64]:
    """Return the 41 x 41 filter whose frequency response is a Gaussian with a given gain at the coarse Nyquist frequency.

    A Gaussian of frequency, sampled at 41 x 41 points and 1 at the centre, is brought to the pixel domain
    by an inverse Fourier transform and multiplied by a circular Kaiser window (beta 0.5). As in the source it
    is not rescaled: its sum is 1 to a few thousandths.

    Parameters
    ----------
    gain : in (0, 1)
    ratio : how much coarser the sensor is than the image, > 1

    References
    ----------
    .. [1] B. Aiazzi et al., "MTF-tailored multiscale fusion of high-resolution MS and Pan imagery", PERS 72 (2006).
    .. [2] G. Vivone et al., "A critical comparison among pansharpening algorithms", IEEE TGRS 53 (2015); ``genMTF.m``:
       alpha = sqrt((40 / ratio / 2)**2 / (-2 ln gain)), ``fwind1(Hd, kaiser(41))``.
    """
    alpha = math.sqrt(((_SIZE - 1) / ratio / 2) ** 2 / (-2 * math.log(gain)))
    response = fspecial_gaussian(_SIZE, alpha)
    response /= response.max()
    kernel = np.real(np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(response))))
    at = np.linspace(-1.0, 1.0, _SIZE)
    radius = np.hypot(*np.meshgrid(at, at))
    window = np.interp(radius, at, np.kaiser(_SIZE, 0.5), right=0.0)
    return np.asarray(kernel * window)


def fspecial_gaussian(size: int, sigma: float) -> NDArray[np.float64]:
    """Return MATLAB's ``fspecial('gaussian', size, sigma)``: (size, size), sum 1; an even size is centred between pixels."""
    at = np.arange(size) - (size - 1) / 2
    kernel = np.exp(-(at[:, None] ** 2 + at**2) / (2 * sigma**2))
    kernel[kernel < np.finfo(np.float64).eps * kernel.max()] = 0.0
    return np.asarray(kernel / kernel.sum())


@lru_cache(maxsize=1)
def _table() -> Mapping[str, Any]:
    text = resources.files("geodata").joinpath("data/mtf.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return table
