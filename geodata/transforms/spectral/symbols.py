"""The catalogue of spectral indices, and which band each of its symbols stands for."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources, util
from pathlib import Path
from typing import Any

from geodata.bands import Band, Bands
from geodata.errors import BandsError, GeodataError, MissingDependencyError, TransformError
from geodata.transforms.spectral.formulas import Formula

__all__ = ["Index", "available_indices", "channel_of", "constant_of", "find_index", "is_radar", "split_kernel"]

_RADAR = ("VV", "VH", "HH", "HV")
_THERMAL = ("T", "T1", "T2")
_OTHER = ("pan", "cirrus")
"""STAC common names of bands that no symbol stands for, wherever their centre is."""

_VAGUE = ("rededge",)
"""A common name that several symbols share: the wavelength tells which."""

_KERNEL = re.compile(r"k([A-Z])([A-Z])")


@dataclass(frozen=True, slots=True)
class Index:
    """One spectral index.

    Parameters
    ----------
    name : short name
    formula : of symbols (bands) and constants
    constants : values that differ from those of the whole catalogue
    """

    name: str
    formula: Formula
    constants: Mapping[str, float] = field(default_factory=dict)


def find_index(name: str) -> Index:
    """Return an index by its short name: one of the everyday ones, or any of the catalogue's.

    Raises
    ------
    MissingDependencyError
        If it is not an everyday one, and the catalogue is not installed.
    TransformError
        If there is no such index.
    """
    row = _own()["indices"].get(name)
    if row is not None:
        return Index(name, Formula.of(row["formula"]), row.get("constants", {}))
    catalogue = _catalogue()
    if catalogue is None:
        everyday = ", ".join(_own()["indices"])
        raise MissingDependencyError(
            f"spectral index {name!r} is not one of {everyday}; for all of the catalogue: pip install 'geodata[indices]'"
        )
    row = catalogue.get(name)
    if row is None:
        near = difflib.get_close_matches(name, list(catalogue), 4, 0.5) or ["NDVI", "EVI", "NDWI"]
        raise TransformError(f"no spectral index {name!r} among {len(catalogue)}; near it: {', '.join(near)}")
    return Index(name, Formula.of(row["formula"]))


def available_indices(bands: Bands) -> list[str]:
    """Return the names of the spectral indices that can be computed from some bands.

    Without the extra ``indices`` these are among the everyday ones. The state of the numbers is not looked at.

    Parameters
    ----------
    bands : Bands, with common names or wavelengths

    Examples
    --------
    >>> names = available_indices(Bands.of_sensor("sentinel-2").select(["red", "nir"]))
    >>> "NDVI" in names, "NDWI" in names
    (True, False)
    """
    names = sorted({*_own()["indices"], *(_catalogue() or {})})
    return [name for name in names if _computable(find_index(name), bands)]


def _computable(index: Index, bands: Bands) -> bool:
    try:
        for name in index.formula.names:
            for part in split_kernel(name) or (name,):
                if constant_of(part, bands, index.constants) is None:
                    channel_of(part, bands)
    except GeodataError:
        return False
    return True


def is_radar(index: Index) -> bool:
    """Whether an index is computed from radar backscatter."""
    return not index.formula.names.isdisjoint(_RADAR)


def split_kernel(name: str) -> tuple[str, str] | None:
    """Return N and R for kNR, the radial kernel between two bands; None for all else."""
    found = _KERNEL.fullmatch(name)
    return None if found is None else (found[1], found[2])


def constant_of(name: str, bands: Bands, given: Mapping[str, Any]) -> Any:
    """Return what a constant is: as given, the centre wavelength of a band, or the catalogue's default; None if it is a band."""
    if name in given:
        return given[name]
    if name.startswith("lambda"):
        band = bands[channel_of(name.removeprefix("lambda"), bands)]
        if band.wavelength is None:
            raise BandsError(f"{name} is the wavelength of band {band.name!r}, which is not known: {bands!r}")
        return float(band.wavelength)
    return _own()["constants"].get(name)


def channel_of(symbol: str, bands: Bands) -> int:
    """Return the channel that a symbol stands for.

    That is the band with the symbol's STAC common name (or a name like it). Without one, it is the band nearest to the
    symbol's centre among those whose wavelength lies in the catalogue's range, that have no other common name and are at
    most one and a half times as wide as the range. Last, it is a band of unknown wavelength that is called as the symbol.

    Raises
    ------
    BandsError
        If there is no such band, or several have the common name and not all of them a wavelength; if a thermal band is
        not in kelvin.
    """
    row = _own()["symbols"].get(symbol)
    found = _by_name(symbol, bands) if row is None else _by_spectrum(symbol, row, bands)
    if symbol in _THERMAL and bands[found].unit not in ("K", "kelvin"):
        raise BandsError(
            f"{symbol} is a temperature in kelvin; band {bands[found].name!r} has unit {bands[found].unit!r}: "
            "convert it and say so with Band(unit='K')"
        )
    return found


def _by_name(symbol: str, bands: Bands) -> int:
    for i, band in enumerate(bands):
        if symbol in _RADAR and symbol in (band.name.upper(), (band.common_name or "").upper()):
            if band.unit == "dB" or (band.scale, band.offset) != (1.0, 0.0):
                raise BandsError(f"{symbol} must be linear backscatter; band {band!r} is in dB or in digital numbers")
            return i
        if band.name == symbol:
            return i
    raise BandsError(f"{symbol!r} is no constant, and no band is called so: {bands!r}")


def _by_spectrum(symbol: str, row: Mapping[str, Any], bands: Bands) -> int:
    low, high, centre = row["low"], row["high"], row["centre"]
    for common in row["common_names"]:
        named = [i for i, band in enumerate(bands) if common in (band.name, band.common_name)]
        if len(named) > 1 and any(bands[i].wavelength is None for i in named):
            shown = ", ".join(repr(bands[i].name) for i in named)
            raise BandsError(f"{symbol} is {common}, but that are {shown}, without wavelengths; select one of them")
        if named:
            return min(named, key=lambda i: _distance(bands[i], centre))
    fits = [i for i, band in enumerate(bands) if _free(band) and _inside(band, low, high)]
    if fits:
        return min(fits, key=lambda i: _distance(bands[i], centre))
    called = [i for i, band in enumerate(bands) if band.name == symbol and _free(band) and band.wavelength is None]
    if called:
        return called[0]
    raise BandsError(f"no band for {symbol} ({row['common_names'][0]}, {low} to {high} nm) among {bands!r}")


def _free(band: Band) -> bool:
    """Whether the common name of a band leaves open which symbol it is."""
    return band.common_name is None or band.common_name in _VAGUE or band.common_name not in _taken()


def _inside(band: Band, low: float, high: float) -> bool:
    narrow = band.fwhm is None or band.fwhm <= 1.5 * (high - low)
    return band.wavelength is not None and low <= band.wavelength <= high and narrow


def _distance(band: Band, centre: float) -> float:
    return math.inf if band.wavelength is None else abs(band.wavelength - centre)


@lru_cache(maxsize=1)
def _taken() -> frozenset[str]:
    return frozenset([*_OTHER, *(name for row in _own()["symbols"].values() for name in row["common_names"])])


@lru_cache(maxsize=1)
def _own() -> dict[str, Any]:
    text = resources.files("geodata").joinpath("data/indices.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return table


@lru_cache(maxsize=1)
def _catalogue() -> dict[str, Any] | None:
    """Return name -> row of the whole catalogue, or None if it is not installed."""
    # The file is read without importing the package, which would bring in an HTTP client.
    found = util.find_spec("spyndex")
    if found is None or not found.submodule_search_locations:
        return None
    path = Path(found.submodule_search_locations[0]) / "data" / "spectral-indices-dict.json"
    if not path.is_file():
        return None
    rows: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["SpectralIndices"]
    return rows
