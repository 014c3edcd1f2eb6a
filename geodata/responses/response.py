"""Bands with their response curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geodata.bands import Band, Bands
from geodata.errors import BandsError
from geodata.responses.averages import Curve, average, check_curve
from geodata.responses.measured import SENSORS, measured_curves

__all__ = ["Responses"]

_SIGMA = 1 / (2 * math.sqrt(2 * math.log(2)))
"""Standard deviation of a Gaussian of FWHM 1, 1 / 2.3548."""


@dataclass(frozen=True, eq=False)
class Responses:
    """Bands with the curve by which each weighs the spectrum.

    Made by `gaussian`, `box`, `airy`, `measured` or `curves`; saved as the arguments of that call.

    Attributes
    ----------
    bands : Bands
    curves : for each band (wavelengths (N,) nm, response (N,) >= 0), both float64
    recipe : plain data, the call that makes these responses again

    Examples
    --------
    >>> source = Bands(Band(f"B{nm}", wavelength=nm, fwhm=10) for nm in range(400, 801, 10))
    >>> red = Responses.gaussian(Bands([Band("red", wavelength=660, fwhm=40)]))
    >>> weights = red.weights(source)
    >>> weights.shape, round(float(weights.sum()), 12), round(float(weights[0] @ source.wavelengths), 6)
    ((1, 41), 1.0, 660.0)
    """

    bands: Bands
    curves: tuple[Curve, ...]
    recipe: Mapping[str, Any]

    @classmethod
    def gaussian(cls, bands: Bands | str) -> Responses:
        """Return Gaussian responses with the centre and FWHM of each band.

        Parameters
        ----------
        bands : with wavelength and fwhm, or a name known to `Bands.of_sensor`

        Raises
        ------
        BandsError
            If a band does not know its wavelength or width.
        """
        bands = _known(bands)
        offsets = np.linspace(-1.7, 1.7, 681)
        values = np.exp(-0.5 * (offsets / _SIGMA) ** 2)
        curves = tuple((centre + offsets * fwhm, values) for centre, fwhm in _centres_and_widths(bands))
        return cls(bands, curves, {"kind": "gaussian", "bands": bands.to_dict()})

    @classmethod
    def box(cls, bands: Bands | str) -> Responses:
        """Return responses that are 1 within half a FWHM of the centre and 0 elsewhere; as `gaussian` otherwise."""
        bands = _known(bands)
        ones = np.ones(2)
        curves = tuple((np.array([c - w / 2, c + w / 2]), ones) for c, w in _centres_and_widths(bands))
        return cls(bands, curves, {"kind": "box", "bands": bands.to_dict()})

    @classmethod
    def airy(
        cls,
        bands: Bands,
        *,
        reflectivity: float | None = None,
        finesse: float | None = None,
        order: int = 1,
        passband: tuple[float, float] | None = None,
    ) -> Responses:
        """Return the transmission of a Fabry-Perot interferometer tuned to each band, normal incidence, no absorption.

        ``T = 1 / (1 + F sin(pi m w0 / w) ** 2)`` with ``F = 4 R / (1 - R) ** 2``, peak ``w0`` and order ``m``: the gap
        between the mirrors is ``m w0 / 2``. Peaks lie at ``m w0 / k`` for every whole ``k``; the one next to ``w0`` is a
        free spectral range away, ``w0 / (m + 1)`` or ``w0 / (m - 1)``. The FWHM of the bands becomes that of the peak.

        Parameters
        ----------
        bands : with wavelength, the peak; a width they state is not used
        reflectivity : of the mirrors, above 0.172 (below, no half maximum exists) and below 1
        finesse : free spectral range / FWHM, ``pi sqrt(R) / (1 - R)``; instead of reflectivity
        order : of interference at the peak, >= 1
        passband : nm, what the filter in front lets through, with all peaks inside; None blocks all other orders,
            halfway in phase

        Raises
        ------
        BandsError
            If a number is out of range, a band has no wavelength, or the peak is outside the passband.

        References
        ----------
        .. [1] M. Born, E. Wolf, "Principles of Optics", 7th edition, section 7.6: equations (13) and (15), Airy's
           formulae; (22), finesse.
        """
        mirrors = _reflectivity(reflectivity, finesse)
        if isinstance(order, bool) or not isinstance(order, int) or order < 1:
            raise BandsError(f"order {order!r} must be a whole number, 1 or more")
        f = 4 * mirrors / (1 - mirrors) ** 2
        half = math.asin(1 / math.sqrt(f)) / math.pi
        made, curves = [], []
        for band in bands:
            if band.wavelength is None:
                raise BandsError(f"band {band.name!r} has no wavelength to tune the interferometer to")
            phase = order * band.wavelength
            fwhm = phase / (order - half) - phase / (order + half)
            low, high = passband or (phase / (order + 0.5), phase / (order - 0.5))
            if not 0 < low < band.wavelength < high < math.inf:
                raise BandsError(f"the peak of {band.name!r}, {band.wavelength:g} nm, is not inside {passband} nm")
            x = np.linspace(low, high, max(1001, math.ceil((high - low) / fwhm * 200)))
            curves.append((x, 1 / (1 + f * np.sin(math.pi * phase / x) ** 2)))
            made.append(replace(band, fwhm=fwhm))
        recipe = {"bands": bands.to_dict(), "reflectivity": mirrors, "order": order}
        recipe |= {"passband": None if passband is None else list(passband)}
        return cls(Bands(made, bands.state), tuple(curves), {"kind": "airy", **recipe})

    @classmethod
    def measured(cls, sensor: str, bands: Iterable[str] | None = None) -> Responses:
        """Return the responses that were measured of a sensor, from the tables of pyrsr.

        Centre and FWHM of the bands are those of the curves: the centroid, and the distance of the outermost points at
        half the maximum.

        Parameters
        ----------
        sensor : one of `Responses.sensors`; Sentinel-2C, EnMAP, PRISMA and DESIS are not there
        bands : names or common names, as ``["B02", "red"]``; None for all that reflect sunlight (below 3000 nm)

        Raises
        ------
        BandsError
            If the sensor or a band is not known.
        MissingDependencyError
            Without pyrsr, extra ``spectral``.
        """
        named = measured_curves(sensor)
        every = Bands(band for band, _ in named)
        if bands is None:
            chosen = [i for i, band in enumerate(every) if (band.wavelength or 0) < 3000]
        else:
            chosen = [every.position(band.name) for band in every.select(bands)]
        picked = Bands(every[i] for i in chosen)
        return cls(
            picked,
            tuple(named[i][1] for i in chosen),
            {"kind": "measured", "sensor": sensor, "bands": list(picked.names)},
        )

    @staticmethod
    def sensors() -> list[str]:
        """Return the names that `measured` knows."""
        return sorted(SENSORS)

    @classmethod
    def from_curves(cls, bands: Bands, curves: Sequence[tuple[ArrayLike, ArrayLike]]) -> Responses:
        """Return responses from tables of your own.

        Parameters
        ----------
        bands : with a name for each curve
        curves : for each band wavelengths (N,) in nm, rising, and response (N,) >= 0; N >= 2

        Raises
        ------
        BandsError
            If a table is not of that form, or there is not one for each band.
        """
        if len(curves) != len(bands):
            raise BandsError(f"{len(bands)} bands and {len(curves)} curves; give one curve for each band")
        checked = tuple(check_curve(band.name, x, y) for band, (x, y) in zip(bands, curves, strict=True))
        rows = [[x.tolist(), y.tolist()] for x, y in checked]
        return cls(bands, checked, {"kind": "curves", "bands": bands.to_dict(), "curves": rows})

    def weights(self, source: Bands, *, coverage: float = 0.95) -> NDArray[np.float64]:
        """Return how much of each source band goes into each of these bands; `W @ spectrum` is the new spectrum.

        A source band stands for the wavelengths within half its FWHM, where bands overlap for equal shares, and
        neighbours that are less than a width apart meet halfway. A width that is not known is the distance to the
        nearest neighbour. Each row is the integral of the response over these stretches, divided by its sum.

        Parameters
        ----------
        source : with wavelengths, in any order
        coverage : fraction of each response that source bands must see, in (0, 1]

        Returns
        -------
        (K, C) float64, >= 0, rows sum to 1

        Raises
        ------
        BandsError
            If a source band has no wavelength, a width is missing where bands are more than 25 nm apart, or the source
            covers less than ``coverage`` of a response. Does not extrapolate.
        """
        return average(self.bands, self.curves, source, coverage)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; `from_dict` takes it back."""
        return dict(self.recipe)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Responses:
        """Take back what `to_dict` gave.

        Raises
        ------
        BandsError
            If the data is of another form.
        """
        makers: dict[str, Callable[..., Responses]] = {
            "gaussian": cls.gaussian,
            "box": cls.box,
            "airy": cls.airy,
            "measured": cls.measured,
            "curves": cls.from_curves,
        }
        rest = dict(data)
        kind = rest.pop("kind", None)
        if kind not in makers:
            raise BandsError(f"kind of response {kind!r} must be one of {', '.join(makers)}")
        try:
            if isinstance(rest.get("bands"), Mapping):
                rest["bands"] = Bands.from_dict(rest["bands"])
            return makers[kind](**rest)
        except (AttributeError, KeyError, TypeError) as error:
            raise BandsError(f"responses of kind {kind!r} cannot be made from {sorted(rest)}: {error}") from None

    def __len__(self) -> int:
        return len(self.bands)

    def __iter__(self) -> Iterator[tuple[Band, Curve]]:
        return zip(self.bands, self.curves, strict=True)

    def __repr__(self) -> str:
        return f"Responses({self.recipe['kind']}, {self.bands!r})"


def _known(bands: Bands | str) -> Bands:
    return Bands.of_sensor(bands) if isinstance(bands, str) else bands


def _centres_and_widths(bands: Bands) -> list[tuple[float, float]]:
    lacking = [band.name for band in bands if band.wavelength is None or band.fwhm is None]
    if lacking:
        raise BandsError(f"bands {', '.join(lacking[:20])} need a wavelength and a fwhm for their response")
    return [(float(band.wavelength or 0), float(band.fwhm or 0)) for band in bands]


def _reflectivity(reflectivity: float | None, finesse: float | None) -> float:
    if (reflectivity is None) == (finesse is None):
        raise BandsError("give either the reflectivity of the mirrors or the finesse")
    if finesse is not None:
        if not 0 < finesse < math.inf:
            raise BandsError(f"finesse {finesse!r} must be above 0")
        root = (math.sqrt(math.pi**2 + 4 * finesse**2) - math.pi) / (2 * finesse)
        reflectivity = root**2
    value = float(reflectivity or 0.0)
    # F = 1 at 3 - sqrt(8): with weaker mirrors the transmission never falls to a half.
    if not 3 - math.sqrt(8) < value < 1:
        raise BandsError(f"reflectivity {value:g} must be above 0.172 and below 1: weaker mirrors pass half everywhere")
    return value
