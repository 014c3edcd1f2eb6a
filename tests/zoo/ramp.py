"""A fixed batch for any input, and the hash of what a model gets of it.

The hash of a band's numbers does not depend on where the band stands in the batch, or on other bands beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from geodata.bands import Band, Bands
from geodata.grid import Grid
from geodata.interval import Interval
from geodata.zoo import InputSpec
from geodata.zoo.fields import ImageInput

RANGES = {
    "reflectance": (0.0, 0.6), "dB": (-30.0, 5.0), "linear": (0.001, 0.6), "radiance": (1.0, 120.0), "K": (220.0, 320.0),
    "display": (0.0, 1.0), "raw": (0.0, 250.0),
}  # fmt: skip
SAMPLES, STEP = 509, 0.05
ANY = Bands.of_sensor("sentinel-2").select(["B04", "B03", "B02", "B08"])
"""Stands for the data where a model takes any bands."""


def bands_of(image: ImageInput) -> Bands:
    """Bands of data that fit an input, with units as datasets have them: numbers are the unit itself."""
    wanted = image.bands or tuple(ANY)
    units = image.units or (image.unit,) * len(wanted)
    return Bands(
        Band(b.name, b.common_name, b.wavelength, b.fwhm, b.gsd, None if unit == "raw" else unit)
        for b, unit in zip(wanted, units, strict=True)
    )


def pixels(unit: str, number: int, shape: Sequence[int]) -> torch.Tensor:
    """A ramp over the range of a unit, another one for each band number."""
    low, high = RANGES[unit]
    count = int(np.prod(shape))
    part = (np.arange(count) * (2 * number + 3) % 997) / 997
    return torch.from_numpy(low + (high - low) * part).to(torch.float32).reshape(*shape)


def ramp(
    spec: InputSpec, *, orders: Mapping[str, Sequence[int]] | None = None, size: int | None = None, batch: int = 2
) -> dict[str, Any]:
    """A batch that fits an input.

    Parameters
    ----------
    orders : {key: positions of the bands in the batch}, default as the model wants them
        Fewer positions leave bands out.
    size : of the images; default what the model takes, or 32 up to its multiple
    """
    out: dict[str, Any] = {"key": [f"sample{i}" for i in range(batch)]}
    for image in spec.images:
        suffix = image.key.removeprefix("image")
        height, width = image.model_size or (-(-32 // image.multiple) * image.multiple,) * 2
        height, width = (size, size) if size else (height, width)
        times = (3,) if "t" in image.layout.split() else ()
        bands = bands_of(image)
        order = list((orders or {}).get(image.key, range(len(bands))))
        planes = [pixels(bands[i].unit or "raw", i, (batch, *times, height, width)) for i in order]
        out[image.key] = torch.stack(planes, dim=-3)
        out[f"bands{suffix}"] = Bands(bands[i] for i in order)
        grid = Grid((height, width), (10.0, 0.0, 500000.0, 0.0, -10.0, 5600000.0), "EPSG:32633")
        out[f"grid{suffix}"] = [grid] * batch
        when = [Interval.parse(f"2020-0{5 + i}-03T10:20") for i in range(3)]
        spans = torch.tensor([[w.start, w.end] for w in when], dtype=torch.float64)
        out[f"time{suffix}"] = spans.expand(batch, 3, 2).clone() if times else [when[0]] * batch
    return out


def digest(value: Any) -> str:
    """Hash nested tensors, numbers and texts by samples of their numbers in steps of 0.05.

    A number that lies on the edge between two steps could fall to either side on another machine, so there are three parts
    with other edges; `agree` asks for one of them. Within one process all three are equal.
    """
    parts = []
    for edge in (0.0, 1 / 3, 2 / 3):
        sha = hashlib.sha256()
        _feed(sha, value, edge)
        parts.append(sha.hexdigest()[:10])
    return "-".join(parts)


def agree(one: str, other: str) -> bool:
    """Whether two digests are of the same numbers, up to rounding of the last bits."""
    return any(a == b for a, b in zip(one.split("-"), other.split("-"), strict=True))


def golden(spec: InputSpec, **how: Any) -> str:
    """Hash of what a model is called with for the ramp."""
    batch = ramp(spec, **how)
    bound = spec.bind({image.key: batch["bands" + image.key.removeprefix("image")] for image in spec.images})
    ready = bound(batch)
    return digest([list(ready.args), ready.kwargs])


def reversed_orders(spec: InputSpec) -> dict[str, list[int]]:
    """Bands of every image the other way round."""
    return {image.key: list(range(len(image.bands)))[::-1] for image in spec.images if image.bands}


def as_stored(batch: Mapping[str, Any], scale: float = 1e-4) -> dict[str, Any]:
    """The same batch with reflectance as whole numbers and a scale, as products store it."""
    out = dict(batch)
    for key in [k for k in batch if k.startswith("image")]:
        name = "bands" + key.removeprefix("image")
        bands = batch[name]
        if all(band.unit == "reflectance" for band in bands):
            out[key] = (batch[key] / scale).round().to(torch.int32)
            out[name] = Bands(replace(band, scale=scale) for band in bands)
    return out


def _feed(sha: Any, value: Any, edge: float) -> None:
    if isinstance(value, Mapping):
        for name in sorted(value):
            sha.update(name.encode())
            _feed(sha, value[name], edge)
    elif isinstance(value, (list, tuple)):
        sha.update(str(len(value)).encode())
        for item in value:
            _feed(sha, item, edge)
    elif isinstance(value, torch.Tensor):
        flat = value.detach().cpu().to(torch.float64).reshape(-1).numpy()
        places = np.arange(len(flat)) if len(flat) <= SAMPLES else np.arange(SAMPLES) * (len(flat) - 1) // (SAMPLES - 1)
        sha.update(str((tuple(value.shape), str(value.dtype))).encode())
        sha.update(np.floor(flat[places] / STEP + edge).astype(np.int64).tobytes())
    else:
        sha.update(repr(value).encode())
