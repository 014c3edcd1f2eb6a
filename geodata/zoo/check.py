"""What looks wrong with a batch for a model, in words.

The rules look at up to 100 000 observed pixels of each band, in the unit that the model wants:

- sizes, units and bands that `bind` or the call would refuse, as they would say it;
- numbers that are NaN or infinite; samples without an observed pixel; bands with one value everywhere; two bands that
  hold the same numbers;
- reflectance: a median above 2 is digital numbers, a 99th percentile below 0.0002 was scaled twice (cirrus bands of clear
  skies are at 0.001);
- any unit but dB: a mean near 0, a spread near 1 and a fifth or more of negative numbers were normalised before;
- dB: no negative number is linear power, a median below -100 or above 60 a stored multiple; linear: a third of negative
  numbers is dB;
- display: a 99th percentile above 2 is 0 to 255, one below 0.005 was divided twice, reflectance that is not stretched and
  whose median is below 0.25 looks dark;
- the cirrus band of a top-of-atmosphere product more than half as bright as blue: names and channels do not go together;
- wavelengths of the data below 100 nm: micrometres;
- after the steps: a median further than 6 standard deviations from the mean of the training data, or half of the pixels
  cut off by a clip.

A water scene, snow, cloud or a night scene can break one of these rules and be right: these are hints.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geodata.bands import Bands
from geodata.errors import GeodataError
from geodata.transforms.base import Needs, check_image
from geodata.transforms.image import valid_of
from geodata.zoo.beside import TARGETS
from geodata.zoo.fields import ImageInput
from geodata.zoo.frame import Frame
from geodata.zoo.numbers import passes, values_after
from geodata.zoo.route import Row, rows
from geodata.zoo.spec import InputSpec

__all__ = ["check"]

_PIXELS = 100_000
_LINES = 3
"""Bands that are named one by one with the same fault; the rest is counted."""


def check(spec: InputSpec, batch: Mapping[str, Any]) -> list[str]:
    """Return in words what looks wrong with a batch; empty if nothing does.

    Parameters
    ----------
    spec : InputSpec
    batch : sample or batch dict
    """
    if not isinstance(batch, Mapping):
        return [f"a model input is made of a sample or batch dict, got {type(batch).__name__}"]
    found = [line for image in spec.images for line in _image(image, batch)]
    found += _label(spec, batch)
    if not found:
        try:
            spec.bind(batch)(batch)
        except GeodataError as error:
            found.append(str(error))
    return list(dict.fromkeys(found))


def _label(spec: InputSpec, batch: Mapping[str, Any]) -> list[str]:
    """A batch with labels of another kind only; one without any is for prediction."""
    others = sorted(key for key in set(TARGETS.values()) if key in batch)
    if not spec.target.form or spec.target.key in batch or not others:
        return []
    return [
        f"the target {spec.target.form!r} is made of {spec.target.key!r}, and the batch has {', '.join(others)} only"
    ]


def _image(image: ImageInput, batch: Mapping[str, Any]) -> Iterator[str]:
    try:
        x, bands = check_image(batch, image.key, Needs(), who="the model's input")
        valid = valid_of(batch, image.key)
        compared = rows(image, bands)
    except GeodataError as error:
        yield str(error)
        return
    if x.dtype.is_complex:
        yield f"{image.key!r} is complex; models take amplitudes, or real and imaginary parts as bands"
        return
    yield from _wavelengths(bands)
    for advice in dict.fromkeys(row.advice for row in compared if row.advice):
        yield f"{_list([row.wanted.name for row in compared if row.advice == advice])} of {image.key!r}: {advice}"
    try:
        Frame.of(image, (x.shape[-2], x.shape[-1]))
    except GeodataError as error:
        yield str(error)
    if not x.numel():
        yield f"{image.key!r} holds no numbers: its shape is {tuple(x.shape)}"
        return
    if valid is not None:
        yield from _unseen(image.key, valid)
    seen = [_Seen.of(row, i, x, valid, bands.state) for i, row in enumerate(compared) if row.found is not None]
    seen = [part for part in seen if len(part.stored)]
    alike: dict[str, dict[str, str]] = {}
    for part in seen:
        for line in _band(part, image):
            alike.setdefault(re.sub(r"[-+.0-9e%]+", "", line.replace(part.name, "")), {})[part.name] = line
    for lines in alike.values():
        *others, last = list(lines.values())[:_LINES]
        yield from others
        rest = list(lines)[_LINES:]
        yield f"{last}; the same of {_list(rest)}" if rest else last
    yield from _between(seen)


@dataclass(frozen=True)
class _Seen:
    """Observed numbers of one band: as stored, and in the unit that the model wants."""

    row: Row
    place: int
    stored: NDArray[np.float64]
    numbers: NDArray[np.float64]
    odd: float
    state: str

    @classmethod
    def of(cls, row: Row, place: int, x: Tensor, valid: Tensor | None, state: str) -> _Seen:
        channel = x.select(-3, row.channel)
        flat = channel.reshape(-1) if valid is None else channel[valid]
        step = max(1, -(-flat.numel() // _PIXELS))
        stored = flat[::step].detach().to("cpu", torch.float64).numpy()
        finite = np.isfinite(stored)
        odd = 1 - float(finite.mean()) if len(stored) else 0.0
        stored = stored[finite]
        return cls(row, place, stored, stored * row.convert.scale + row.convert.offset, odd, state)

    @property
    def name(self) -> str:
        return self.row.wanted.name if self.row.found is None else self.row.found.name


def _wavelengths(bands: Bands) -> Iterator[str]:
    short = [band.name for band in bands if band.wavelength is not None and band.wavelength < 100]
    if short:
        yield f"wavelengths of {_list(short)} look like micrometres; Bands keeps nanometres"


def _unseen(key: str, valid: Tensor) -> Iterator[str]:
    empty = (~valid.flatten(1).any(1)).nonzero().flatten().tolist() if valid.ndim > 2 else []
    if not valid.any():
        yield f"nothing of {key!r} is observed: valid is False everywhere"
    elif empty:
        yield f"samples {', '.join(map(str, empty[:8]))} of {key!r} have no observed pixel"


def _band(seen: _Seen, image: ImageInput) -> Iterator[str]:
    if seen.odd:
        yield f"{seen.odd:.2%} of the observed numbers of {seen.name} are NaN or infinite"
    if len(seen.stored) > 1 and seen.stored.min() == seen.stored.max():
        yield f"{seen.name} is {seen.stored[0]:g} everywhere"
        return
    if seen.row.advice:
        return
    said = _normalised(seen) or _scale(seen, image)
    yield from said or _after(seen, image)


def _scale(seen: _Seen, image: ImageInput) -> list[str]:
    """What the size of the numbers says, given the unit."""
    x, unit = seen.numbers, seen.row.unit
    median, high = float(np.median(x)), float(np.percentile(x, 99))
    name, stored = seen.name, f"median {np.median(seen.stored):g}"
    reflectance = unit == "reflectance" or (unit == "display" and seen.row.convert.brightness)
    if reflectance and median > 2:
        state = f" and the bands say {seen.state!r}" if seen.state != "raw" else ""
        return [f"{name} looks like digital numbers ({stored}), the model expects reflectance{state}"]
    already = seen.state == "raw" and 0 < np.median(seen.stored) <= 2
    if reflectance and (0 < high < 2e-4 or (high <= 0 and already)):
        advice = (
            "; the bands say 'raw': if it is reflectance already, bands.with_state('reflectance')" if already else ""
        )
        return [f"{name} looks scaled twice ({stored}): 99 % of it is below {high:.2g} as reflectance{advice}"]
    if unit == "dB" and x.min() >= 0:
        return [f"{name} looks linear ({stored}, none negative), the model expects dB: T.ToDecibel()"]
    if unit == "dB" and not -100 < median < 60:
        return [f"{name} is no plausible backscatter in dB ({stored}): a stored multiple of it?"]
    if unit == "linear" and np.mean(x < 0) > 1 / 3:
        return [f"{name} looks like dB ({stored}), the model expects linear power: T.FromDecibel()"]
    if unit != "display":
        return []
    if high > 2:
        return [f"{name} looks like 0 to 255 ({stored}), the model expects brightness of 0 to 1"]
    if 0 < high < 0.005:
        return [f"{name} is almost black ({stored}): divided by 255 twice?"]
    if seen.row.convert.brightness and image.stretch is None and median < 0.25:
        return [f"{name} looks dark as a picture (median reflectance {median:.2g}): take spec.stretched(low, high)"]
    return []


def _normalised(seen: _Seen) -> list[str]:
    x = seen.stored
    usual = {"dB", "K"} | ({"raw"} if seen.state == "dB" else set())
    # whole numbers of that size are dark reflectance as stored
    if (
        seen.row.unit in usual
        or np.array_equal(x, np.round(x))
        or not (abs(x.mean()) < 1 and 0.3 < x.std() < 3 and np.mean(x < 0) > 0.2)
    ):
        return []
    return [f"{seen.name} looks normalised already (mean {x.mean():.2g}, standard deviation {x.std():.2g})"]


def _after(seen: _Seen, image: ImageInput) -> Iterator[str]:
    """What the model's own statistics say."""
    count = len(image.bands) or 1
    place = seen.place if image.bands else 0
    x = seen.numbers
    if image.stretch and seen.row.convert.brightness:
        x = np.clip((x - image.stretch[0]) / (image.stretch[1] - image.stretch[0]), 0, 1)
    x = x * image.factor
    for step, item in zip(image.steps, passes(image.steps, count), strict=True):
        if item.kind == "clip":
            cut = float(np.mean((x <= item.a[place]) | (x >= item.b[place])))
            if cut > 0.5:
                yield f"{cut:.0%} of {seen.name} is cut off by the model's clip"
        one = type(item)(item.kind, item.a[[place]], item.b[[place]])
        x = values_after([one], x)
        # recipes that subtract a mean alone have no spread to measure by
        spread = step.do == "zscore" and set(np.atleast_1d(step.values["std"])) != {1.0}
        if spread and abs(np.median(x)) > 6:
            yield (
                f"{seen.name} is {np.median(x):.3g} standard deviations from what the model was trained on "
                f"(median {np.median(seen.stored):g} as stored)"
            )


def _between(seen: list[_Seen]) -> Iterator[str]:
    """What bands say of each other."""
    first: dict[bytes, str] = {}
    for part in seen:
        if part.stored.min() < part.stored.max():
            other = first.setdefault(part.stored.tobytes(), part.name)
            if other != part.name:
                yield f"{other} and {part.name} hold the same numbers"
    named = {part.row.wanted.common_name: part for part in seen}
    if "cirrus" in named and "blue" in named and not any(part.row.advice for part in seen):
        cirrus, blue = (float(np.median(named[name].numbers)) for name in ("cirrus", "blue"))
        if cirrus > 0.5 * blue > 0:
            yield (
                f"{named['cirrus'].name} (cirrus) is nearly as bright as {named['blue'].name} (blue), as only high clouds are: are "
                "the channels in the order of the names?"
            )


def _list(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f", ... ({len(names)})" if len(names) > 6 else "")
