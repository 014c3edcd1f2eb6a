"""Model inputs from the table that Clay keeps of its sensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geodata.bands import Band
from geodata.errors import TransformError
from geodata.zoo.beside import Extra
from geodata.zoo.fields import ImageInput, Step
from geodata.zoo.published import refuse_others
from geodata.zoo.spec import InputSpec

__all__ = ["from_clay"]

_UNITS = {
    "sentinel-2-l2a": ("reflectance", 10000.0),
    "modis": ("reflectance", 10000.0),
    "landsat-c2l1": ("raw", 1.0),
    "landsat-c2l2-sr": ("raw", 1.0),
    "naip": ("display", 255.0),
    "linz": ("display", 255.0),
}
"""What the statistics of each platform are of, by their size: the table does not say it."""

_COMMON = ("blue", "green", "red", "nir", "nir08", "swir16", "swir22")
_RADAR = ("vv", "vh", "hh", "hv")
_PATCH = 8


def from_clay(
    metadata: Mapping[str, Any], platform: str, *, unit: str | None = None, factor: float | None = None
) -> InputSpec:
    """Make an input of Clay v1 or v1.5 for one platform.

    The model is called with one dict: pixels (B, C, H, W), time (B, 4) sine and cosine of week and hour, latlon (B, 4) sine
    and cosine of latitude and longitude, gsd () in metres, waves (C,) as in the table.

    Parameters
    ----------
    metadata : what ``configs/metadata.yaml`` holds, of all platforms
    platform : one of its keys
    unit, factor : what the statistics are of, for platforms that are not known here

    Raises
    ------
    TransformError
        If the platform is not in the table, its entry lacks bands or has fields that are not known, or its unit must be given.

    References
    ----------
    .. [1] Clay-foundation/model, configs/metadata.yaml, commit 0fa6dc7: means, standard deviations, wavelengths (micrometres,
       but nanometres for modis; for radar stand-ins of 3.5 and 4), pixel size.

    Examples
    --------
    >>> bands = {"mean": {"red": 110.0}, "std": {"red": 47.0}, "wavelength": {"red": 0.65}}
    >>> from_clay({"naip": {"band_order": ["red"], "gsd": 1.0, "bands": bands}}, "naip")
    InputSpec('clay-naip'; image: red, display, any size)
    """
    if platform not in metadata:
        raise TransformError(f"no platform {platform!r} in the metadata; there are {', '.join(map(str, metadata))}")
    entry = metadata[platform]
    who = f"the entry of {platform}"
    if not isinstance(entry, Mapping) or not {"band_order", "gsd", "bands"} <= set(entry):
        raise TransformError(f"{who} must have band_order, gsd and bands, got {entry!r:.100}")
    refuse_others(entry, ("band_order", "rgb_indices", "gsd", "bands"), who)
    tables = entry["bands"]
    refuse_others(tables, ("mean", "std", "wavelength"), f"{who}, bands")
    order = tuple(entry["band_order"])
    absent = [
        f"{part} of {name}" for part in ("mean", "std", "wavelength") for name in order if name not in tables[part]
    ]
    if absent:
        raise TransformError(f"{who} lacks the {', '.join(absent)}")
    mean, std, waves = (tuple(float(tables[part][name]) for name in order) for part in ("mean", "std", "wavelength"))
    if unit is None:
        unit, factor = _unit(platform, mean)
    image = ImageInput(
        "image",
        unit,
        tuple(_band(name, wave) for name, wave in zip(order, waves, strict=True)),
        factor=1.0 if factor is None else factor,
        multiple=_PATCH,
        steps=(Step("zscore", {"mean": mean, "std": std}),),
    )
    extras = {
        "time": Extra("time", {"form": "week-hour-sincos"}),
        "latlon": Extra("location", {"form": "sincos"}),
        "gsd": Extra("gsd", {"value": float(entry["gsd"])}),
        "waves": Extra("wavelengths", {"unit": "um", "values": list(waves)}),
    }
    call = {"pixels": "image", **{name: name for name in extras}}
    source = "Clay-foundation/model, configs/metadata.yaml"
    return InputSpec((image,), name=f"clay-{platform}", source=source, extras=extras, args=(call,))


def _band(name: str, wave: float) -> Band:
    if name in _RADAR:
        return Band(name)
    # modis stands in nanometres, all others in micrometres
    return Band(name, name if name in _COMMON else None, wave if wave > 100 else wave * 1000)


def _unit(platform: str, mean: tuple[float, ...]) -> tuple[str, float]:
    if platform == "sentinel-1-rtc":
        return ("dB" if max(mean) < 0 else "linear"), 1.0
    if platform not in _UNITS:
        raise TransformError(f"what the statistics of {platform!r} are of is not known here; give unit= and factor=")
    return _UNITS[platform]
