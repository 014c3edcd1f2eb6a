"""Response curves that were measured before launch, as pyrsr collects them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from geodata.bands import Band, Bands
from geodata.errors import BandsError, MissingDependencyError
from geodata.responses.averages import Curve

__all__ = ["SENSORS", "measured_curves"]

SENSORS = {
    "aster": ("Terra", "ASTER"),
    "landsat-4": ("Landsat-4", "TM"),
    "landsat-5": ("Landsat-5", "TM"),
    "landsat-7": ("Landsat-7", "ETM+"),
    "landsat-8": ("Landsat-8", "OLI_TIRS"),
    "landsat-9": ("Landsat-9", "OLI_TIRS"),
    "modis-aqua": ("Aqua", "MODIS"),
    "modis-terra": ("Terra", "MODIS"),
    "rapideye": ("RapidEye", "MSI"),
    "sentinel-2a": ("Sentinel-2A", "MSI"),
    "sentinel-2b": ("Sentinel-2B", "MSI"),
    **{f"spot-{n}-hrv{k}": (f"SPOT-{n}", f"HRV{k}") for n in (1, 2, 3) for k in (1, 2)},
    **{f"spot-4-hrvir{k}": ("SPOT-4", f"HRVIR{k}") for k in (1, 2)},
    **{f"spot-5-hrg{k}": ("SPOT-5", f"HRG{k}") for k in (1, 2)},
}
"""Our name -> satellite and sensor of pyrsr."""


def measured_curves(sensor: str) -> list[tuple[Band, Curve]]:
    """Return every band of a sensor, with centre and width of its curve, and the curve."""
    if sensor not in SENSORS:
        raise BandsError(f"no measured responses of {sensor!r}; there are {', '.join(sorted(SENSORS))}")
    try:
        from pyrsr.rsr import RSR_reader  # type: ignore[import-untyped]
    except ImportError:
        raise MissingDependencyError("measured responses need pyrsr; pip install 'geodata[spectral]'") from None
    satellite, instrument = SENSORS[sensor]
    tables: dict[str, NDArray[np.float64]] = RSR_reader(satellite, instrument)
    family = "sentinel-2" if sensor.startswith("sentinel-2") else sensor.partition("-terra")[0].partition("-aqua")[0]
    known = Bands.of_sensor(family) if family in Bands.sensors() else Bands([])
    found = []
    for number, table in tables.items():
        x, y = table[:, 0] * (1000.0 if table[:, 0].max() < 300 else 1.0), np.maximum(table[:, 1], 0.0)
        name = f"B{int(number):02d}" if sensor.startswith("sentinel-2") and number.isdigit() else f"B{number}"
        above = np.flatnonzero(y >= y.max() / 2)
        band = known[known.position(name)] if name in known else Band(name)
        centre = float(np.trapezoid(x * y, x) / np.trapezoid(y, x))
        found.append((replace(band, wavelength=round(centre, 2), fwhm=float(x[above[-1]] - x[above[0]])), (x, y)))
    return found
