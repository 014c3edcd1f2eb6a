"""The spectral axis: which channel is which, at what wavelength, in what unit."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from importlib import resources
from numbers import Real
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from geodata.errors import BandsError
from geodata.matching import match

__all__ = ["STATES", "Band", "Bands"]

STATES = ("raw", "reflectance", "dB", "normalised")
"""What the numbers of an image are: as stored, surface or TOA reflectance, decibels, or statistics-scaled."""


@dataclass(frozen=True, slots=True)
class Band:
    """One channel of an image.

    Parameters
    ----------
    name : str, unique within its `Bands`
    common_name : str or None
        The STAC common name: ``red``, ``nir08``, ``swir16``...
    wavelength, fwhm : float or None, nm
        Centre and full width at half maximum.
    gsd : float or None, m
        Ground sample distance as acquired.
    unit : str or None
        Unit of ``stored * scale + offset``, for example ``reflectance`` or ``dB``.
    scale, offset : float
        Kept as found; readers never apply them.
    """

    name: str
    common_name: str | None = None
    wavelength: float | None = None
    fwhm: float | None = None
    gsd: float | None = None
    unit: str | None = None
    scale: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise BandsError(f"a band needs a name in text, got {self.name!r}")
        for field in ("wavelength", "fwhm", "gsd"):
            value = getattr(self, field)
            if value is not None and not (isinstance(value, Real) and 0 < float(value) < math.inf):
                raise BandsError(f"band {self.name!r}: {field} {value} must be above 0 (nm, nm, m), or None")


class Bands:
    """An immutable, ordered set of bands with unique names, and the state of their numbers.

    Not a ``collections.abc.Sequence``: torch rebuilds those when it moves a batch, and would lose the state.

    Parameters
    ----------
    bands : iterable of Band or str
    state : {"raw", "reflectance", "dB", "normalised"}

    Examples
    --------
    >>> bands = Bands.of_sensor("sentinel-2")
    >>> bands.select(["red", "B08"]).names
    ('B04', 'B08')
    >>> bands.nearest(1600.0).name
    'B11'
    """

    __slots__ = ("_bands", "_index", "_state")

    def __init__(self, bands: Iterable[Band | str], state: str = "raw") -> None:
        items = tuple(b if isinstance(b, Band) else Band(b) for b in bands)
        index = {band.name: i for i, band in enumerate(items)}
        if len(index) != len(items):
            names = [b.name for b in items]
            raise BandsError(f"band names must be unique, got {sorted(n for n in index if names.count(n) > 1)} twice")
        if state not in STATES:
            raise BandsError(f"state {state!r} must be one of {', '.join(STATES)}")
        self._bands = items
        self._index = index
        self._state = state

    @property
    def state(self) -> str:
        """What the numbers are, one of `STATES`."""
        return self._state

    @classmethod
    def of_sensor(cls, sensor: str) -> Bands:
        """Return the bands of a known sensor.

        Parameters
        ----------
        sensor : a name from `Bands.sensors`

        References
        ----------
        .. [1] Each entry of ``geodata/data/sensors.json`` names the document its numbers are from.
        """
        table = _sensors()
        if sensor not in table:
            raise BandsError(f"sensor {sensor!r} is not known; known are {', '.join(sorted(table))}")
        return cls(Band(**row) for row in table[sensor]["bands"])

    @staticmethod
    def sensors() -> list[str]:
        """Return the names that `of_sensor` knows."""
        return sorted(_sensors())

    @property
    def names(self) -> tuple[str, ...]:
        """Names in order."""
        return tuple(b.name for b in self._bands)

    @property
    def wavelengths(self) -> NDArray[np.float64]:
        """(C,) centre wavelengths in nm, NaN where not known."""
        return np.array([math.nan if b.wavelength is None else b.wavelength for b in self._bands])

    def position(self, name: str) -> int:
        """Return the channel of a band, by name or else by common name.

        Raises
        ------
        BandsError
            If no band, or more than one by common name, is called so.
        """
        found = self._index.get(name)
        if found is not None:
            return found
        common = [i for i, b in enumerate(self._bands) if b.common_name == name]
        if len(common) == 1:
            return common[0]
        if common:
            raise BandsError(f"{name!r} is the common name of {[self._bands[i].name for i in common]}; give one name")
        shown = ", ".join(self.names[:20]) + (f", ... ({len(self)} bands)" if len(self) > 20 else "")
        raise BandsError(f"no band {name!r}; there are: {shown}")

    def nearest(self, wavelength: float, tolerance: float | None = None) -> Band:
        """Return the band whose centre is nearest to a wavelength in nm.

        Raises
        ------
        BandsError
            If no band has a wavelength, or the nearest is further away than ``tolerance`` nm
            (default: half its FWHM but at least 10 nm, or 50 nm where that is not known).
        """
        if not (isinstance(wavelength, Real) and 0 < float(wavelength) < math.inf):
            raise BandsError(f"wavelength {wavelength} must be above 0, in nm")
        distance = np.abs(self.wavelengths - wavelength)
        if not len(distance) or np.isnan(distance).all():
            raise BandsError(f"no band near {wavelength} nm: these bands carry no wavelengths")
        i = int(np.nanargmin(distance))
        band = self._bands[i]
        limit = tolerance if tolerance is not None else max(band.fwhm / 2 if band.fwhm else 50.0, 10.0)
        if not distance[i] <= limit:
            raise BandsError(
                f"no band within {limit:g} nm of {wavelength} nm; the nearest is {band.name} at {band.wavelength} nm"
            )
        return band

    def select(self, names: Iterable[str | float]) -> Bands:
        """Return the named bands in the given order; a number is a wavelength in nm."""
        if isinstance(names, str) or not isinstance(names, Iterable):
            raise BandsError(f"{names!r} is no list; give names or wavelengths in a list, for example [{names!r}]")
        names = list(names)
        if any(isinstance(n, bool) or not isinstance(n, (str, int, float, np.integer, np.floating)) for n in names):
            raise BandsError(f"{names} are not all names in text or wavelengths in nm")
        chosen = [self[self.position(n)] if isinstance(n, str) else self.nearest(float(n)) for n in names]
        return Bands(chosen, self.state)

    def match(self, wanted: Bands, *, tolerance: float | None = None, strict: bool = False) -> list[int | None]:
        """Find other bands among these: by name, by a name spelled alike, by common name, then by wavelength.

        ``B01`` is ``B1`` and ``B8A`` is ``b8a``. A name is no match where the wavelengths are too far apart, or where
        the common names differ and no wavelengths tell: ``B5`` of Landsat 8 is ``B8A`` of Sentinel-2 and not ``B05``.
        By wavelength the nearest is taken, panchromatic bands apart. Neither order nor state plays a role.

        Parameters
        ----------
        wanted : what to look for, as from another sensor, or plain names
        tolerance : most that the centres of two equal bands differ, nm
            Default: half the smaller FWHM of the two but at least 10 nm, or 20 nm where neither is known.
        strict : raise if a band is not found

        Returns
        -------
        for each wanted band the position among these, or None; no position twice

        Raises
        ------
        BandsError
            If several bands answer to one, one answers to several, or, when ``strict``, if any is missing; the message
            sets the wanted beside what there is.

        Examples
        --------
        >>> Bands.of_sensor("sentinel-2").match(Bands.of_sensor("landsat-8").select(["B4", "B5", "pan"]))
        [3, 8, None]
        >>> Bands(["VH", "VV"]).match(Bands(["vv", "vh"]))
        [1, 0]
        """
        return match(self, wanted, tolerance=tolerance, strict=strict)

    def with_state(self, state: str) -> Bands:
        """Return the same bands in another state."""
        return Bands(self._bands, state)

    def renamed(self, **names: str) -> Bands:
        """Return the bands with some names changed, ``old=new``."""
        for name in names:
            self.position(name)
        return Bands((replace(b, name=names.get(b.name, b.name)) for b in self._bands), self.state)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; `from_dict` takes it back."""
        defaults = asdict(Band("x"))
        rows = [{k: v for k, v in asdict(b).items() if k == "name" or v != defaults[k]} for b in self._bands]
        return {"state": self.state, "bands": rows}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Bands:
        """Take back what `to_dict` gave."""
        return cls((Band(**row) for row in data["bands"]), data["state"])

    @overload
    def __getitem__(self, i: int) -> Band: ...
    @overload
    def __getitem__(self, i: slice) -> Bands: ...
    def __getitem__(self, i: int | slice) -> Band | Bands:
        return Bands(self._bands[i], self.state) if isinstance(i, slice) else self._bands[i]

    def __len__(self) -> int:
        return len(self._bands)

    def __contains__(self, band: object) -> bool:
        return band in self._index if isinstance(band, str) else band in self._bands

    def __iter__(self) -> Iterator[Band]:
        return iter(self._bands)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Bands):
            return NotImplemented
        return self is other or (self.state == other.state and self._bands == other._bands)

    def __hash__(self) -> int:
        return hash((self._bands, self.state))

    def __reduce__(self) -> tuple[Any, ...]:
        return Bands, (self._bands, self.state)

    def __repr__(self) -> str:
        names = ", ".join(self.names[:6]) + (", ..." if len(self) > 6 else "")
        known = self.wavelengths[~np.isnan(self.wavelengths)]
        span = f", {known.min():.0f}-{known.max():.0f} nm" if len(known) else ""
        return f"Bands({len(self)}: {names}{span}, {self.state})"


@lru_cache(maxsize=1)
def _sensors() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(resources.files("geodata").joinpath("data/sensors.json").read_text("utf-8"))
    return table
