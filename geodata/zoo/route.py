"""Which channel of the data is which of the model's, and what is done to its numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from geodata.bands import Band, Bands
from geodata.errors import BandsError
from geodata.zoo.fields import ImageInput
from geodata.zoo.numbers import Pass, Vector, apply, joined, neutral, passes, values_after
from geodata.zoo.units import Conversion, Refusal, conversion, describe

__all__ = ["Route", "Row", "rows"]


@dataclass(frozen=True, slots=True)
class Row:
    """A band of the model beside what the data have for it; ``advice`` is empty if the two fit."""

    wanted: Band
    unit: str
    found: Band | None
    channel: int
    convert: Conversion
    advice: str


def rows(image: ImageInput, bands: Bands) -> list[Row]:
    """Compare every band that a model wants with the data.

    Raises
    ------
    BandsError
        If it cannot be told which channel a band is.
    """
    wanted = image.bands or tuple(bands)
    units = image.units or (image.unit,) * len(bands)
    found = bands.match(Bands(wanted)) if image.bands else list(range(len(bands)))
    plain = any(not band.common_name and not band.wavelength for band in bands)
    unread = "read this band" + (", or give yours its common_name or wavelength" if plain else "")
    out = []
    for band, unit, channel in zip(wanted, units, found, strict=True):
        if channel is None:
            out.append(Row(band, unit, None, -1, Conversion(), unread if image.missing == "error" else ""))
            continue
        convert = conversion(bands[channel], bands.state, unit)
        refused = isinstance(convert, Refusal)
        advice = convert.advice if isinstance(convert, Refusal) else ""
        out.append(Row(band, unit, bands[channel], channel, Conversion() if refused else convert, advice))  # type: ignore[arg-type]
    return out


@dataclass(frozen=True)
class Route:
    """The way of one image's channels to the model.

    Attributes
    ----------
    channels : the data's channel for each present band, in the model's order
    present : (C,) bool over the model's bands
    passes : over the present bands
    fill : (C,) what a pixel that is not observed becomes
    blank : (C,) what a missing band becomes
    bytes : names of bands whose numbers must be uint8
    """

    image: ImageInput
    bands: Bands
    rows: tuple[Row, ...]
    channels: tuple[int, ...]
    present: tuple[bool, ...]
    passes: tuple[Pass, ...]
    fill: tuple[float, ...]
    blank: tuple[float, ...]
    bytes: tuple[str, ...]
    _on: dict[torch.device, list[tuple[str, Tensor, Tensor]]] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, image: ImageInput, bands: Bands, name: str = "") -> Route:
        """Find the way, or raise BandsError with a table of what does not fit."""
        found = rows(image, bands)
        if any(row.advice for row in found) or all(row.found is None for row in found):
            raise BandsError(_difference(image, bands, found, name))
        present = [i for i, row in enumerate(found) if row.found is not None]
        count = len(found)
        after = passes(image.steps, count)
        first = _conversions(image, found)
        kept = [Pass(p.kind, p.a[present], p.b[present]) for p in joined([*first, *after])]
        fill = neutral(image.steps, count)
        blank = fill if image.missing == "mean" else values_after(after, np.zeros(count))
        return cls(
            image,
            bands,
            tuple(found),
            tuple(found[i].channel for i in present),
            tuple(row.found is not None for row in found),
            tuple(kept),
            tuple(map(float, fill)),
            tuple(map(float, blank)),
            tuple(row.wanted.name for row in found if row.convert.bytes),
        )

    def select(self, x: Tensor) -> tuple[Tensor, bool]:
        """Return the present channels as float32, and whether they are a copy of the data."""
        if self.channels == tuple(range(x.shape[-3])):
            cast = x.to(torch.float32)
            return cast, cast is not x
        if x.dtype in (torch.uint16, torch.uint32, torch.uint64):  # torch has no selection for them
            x = x.to(torch.float32)
        index = torch.tensor(self.channels, device=x.device)
        return x.index_select(-3, index).to(torch.float32), True

    def run(self, x: Tensor, valid: Tensor | None, *, own: bool) -> Tensor:
        """Return (..., C, H, W) numbers of the model, of the selected channels in the data's numbers."""
        out = apply(self._passes_on(x.device), x, own=own)
        if valid is not None:
            fill = out.new_tensor([v for v, there in zip(self.fill, self.present, strict=True) if there])
            out = torch.where(valid.unsqueeze(-3), out, fill[:, None, None])
        if all(self.present):
            return out
        whole = out.new_tensor(self.blank)[:, None, None].expand(*out.shape[:-3], -1, *out.shape[-2:]).clone()
        whole[..., torch.tensor(self.present, device=out.device), :, :] = out
        return whole

    def _passes_on(self, device: torch.device) -> list[tuple[str, Tensor, Tensor]]:
        if device not in self._on:
            self._on[device] = [(p.kind, _on(p.a, device), _on(p.b, device)) for p in self.passes]
        return self._on[device]


def _on(values: Vector, device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device)[:, None, None]


def _conversions(image: ImageInput, found: list[Row]) -> list[Pass]:
    """From stored numbers to unit * factor."""
    count = len(found)
    scale, offset = (np.array([getattr(row.convert, name) for row in found]) for name in ("scale", "offset"))
    out = [Pass("affine", scale, offset)]
    if image.stretch:
        low, high = image.stretch
        shown = np.array([row.convert.brightness for row in found])
        out.append(Pass("affine", np.where(shown, 1 / (high - low), 1.0), np.where(shown, -low / (high - low), 0.0)))
        out.append(Pass("clip", np.zeros(count), np.ones(count)))
    out.append(Pass("affine", np.full(count, float(image.factor)), np.zeros(count)))
    return out


def _difference(image: ImageInput, bands: Bands, found: list[Row], name: str) -> str:
    table = [("wanted", "found", "what to do")]
    for row in found:
        if row.advice or row.found is None:
            there = "-" if row.found is None else f"{_named(row.found)}, {describe(row.found, bands.state)}"
            table.append((f"{_named(row.wanted)}, {row.unit}", there, row.advice or "read this band"))
    wide = [max(len(line[i]) for line in table) for i in range(2)]
    lines = [f"  {a:<{wide[0]}}  {b:<{wide[1]}}  {c}" for a, b, c in table]
    fits = len(found) - len(table) + 1
    head = f"{image.key!r} does not fit {name or 'the model'}: {fits} of {len(found)} bands do; the others:"
    return "\n".join([head, *lines, f"  the data have {bands!r}"])


def _named(band: Band) -> str:
    more = [band.common_name or "", f"{band.wavelength:g} nm" if band.wavelength else ""]
    text = ", ".join(part for part in more if part)
    return f"{band.name} ({text})" if text else band.name
