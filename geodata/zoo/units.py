"""From the numbers that data hold to the unit that a model wants: band by band, or a reason why not."""

from __future__ import annotations

from dataclasses import dataclass

from geodata.bands import Band

__all__ = ["Conversion", "Refusal", "conversion", "describe"]

_LOG = {"dB", "linear"}


@dataclass(frozen=True, slots=True)
class Conversion:
    """``stored * scale + offset`` has the wanted unit.

    ``brightness`` marks reflectance that stands in for brightness, ``bytes`` that only uint8 numbers may be taken so.
    """

    scale: float = 1.0
    offset: float = 0.0
    brightness: bool = False
    bytes: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a band's numbers cannot be taken, as what to do."""

    advice: str


def conversion(band: Band, state: str, wanted: str) -> Conversion | Refusal:
    """Return how numbers of a band become the wanted unit.

    Parameters
    ----------
    band : as the data have it
    state : of the data's `Bands`
    wanted : one of `geodata.zoo.fields.UNITS`
    """
    if state == "normalised":
        return Refusal("normalised already, and the model's input normalises: leave T.Normalize out")
    if state == "raw":
        return _stored(band, wanted)
    if state == wanted:
        return Conversion()
    if state == "reflectance" and wanted == "display":
        return Conversion(brightness=True)
    return Refusal(_between(state, wanted))


def describe(band: Band, state: str) -> str:
    """What the numbers of a band are, in a few words."""
    if state != "raw":
        return state
    return f"stored, becomes {band.unit}" if band.unit else "stored, no unit"


def _stored(band: Band, wanted: str) -> Conversion | Refusal:
    if wanted == "raw":
        return Conversion()
    if band.unit == wanted:
        return Conversion(band.scale, band.offset)
    if wanted == "display" and band.unit == "reflectance":
        return Conversion(band.scale, band.offset, brightness=True)
    if band.unit is None and wanted == "display":
        return Conversion(1 / 255, 0.0, bytes=True)
    if band.unit is None:
        ready = " or T.ToReflectance(product=...)" if wanted == "reflectance" else ""
        return Refusal(f"give the band a unit, scale and offset{ready}: what its numbers mean is not known")
    return Refusal(_between(band.unit, wanted))


def _between(got: str, wanted: str) -> str:
    if {got, wanted} == _LOG:
        return "convert it: T.ToDecibel()" if wanted == "dB" else "convert it: T.FromDecibel()"
    if wanted == "raw":
        return "the model takes numbers as stored: leave the scaling out"
    return f"{got} cannot become {wanted}; read another product"
