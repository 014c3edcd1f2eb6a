"""What models take beside images: wavelengths, pixel size, place, time, masks."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from geodata.crs import CRS84, transformer
from geodata.errors import BandsError, TransformError
from geodata.grid import Grid
from geodata.interval import DAY, Interval
from geodata.zoo.beside import Extra

if TYPE_CHECKING:
    from geodata.zoo.bind import Ready

__all__ = ["extra_input"]

_EPOCH = dt.datetime(1970, 1, 1)  # naive is UTC here


def extra_input(extra: Extra, batch: Mapping[str, Any], key: str, ready: Ready) -> Any:
    """Return an input beside the images.

    Parameters
    ----------
    extra : Extra
    batch : the batch as it came
    key : of the image that the input belongs to
    ready : that image

    Raises
    ------
    TransformError
        If the batch lacks what the input is made from.
    BandsError
        If wavelengths are not known.
    """
    return _MAKERS[extra.kind](_Ask(extra, batch, key, ready))


@dataclass(frozen=True)
class _Ask:
    extra: Extra
    batch: Mapping[str, Any]
    key: str
    ready: Ready


def _wavelengths(ask: _Ask) -> Any:
    extra, ready, key = ask.extra, ask.ready, ask.key
    values = extra.options.get("values")
    if values is None:
        known = [row.wanted.wavelength or (row.found and row.found.wavelength) for row in ready.route.rows]
        absent = [row.wanted.name for row, value in zip(ready.route.rows, known, strict=True) if not value]
        if absent:
            raise BandsError(f"the model takes wavelengths, and those of {', '.join(absent)} of {key!r} are not known")
        per = 1000.0 if extra.option("unit") == "um" else 1.0
        values = [float(value or 0.0) / per for value in known]
    if len(values) != len(ready.route.rows):
        raise BandsError(f"{len(values)} wavelengths are given for {len(ready.route.rows)} bands of {key!r}")
    return list(map(float, values)) if extra.option("form") == "list" else _tensor(values, ready)


def _gsd(ask: _Ask) -> Tensor:
    extra, batch, key, ready = ask.extra, ask.batch, ask.key, ask.ready
    value = extra.options.get("value")
    if value is not None:
        return _tensor(value, ready)
    if f"grid{key.removeprefix('image')}" in batch:
        sizes = {
            round(size, 6)
            for grid in _grids(batch, key, len(ready.pixels))
            if (size := _metres(grid, ready)) is not None
        }
    else:
        per = math.sqrt(math.prod(ready.frame.scale))
        known = [row.found.gsd for row in ready.route.rows if row.found is not None and row.found.gsd]
        sizes = {round(size / per, 6) for size in known}
    if len(sizes) != 1:
        raise TransformError(
            f"the model takes one pixel size in metres and {key!r} has {sorted(sizes) or 'none that is known'}; read on a "
            "projected grid of one resolution, or fix gsd.value in the input"
        )
    return _tensor(sizes.pop(), ready)


def _metres(grid: Grid, ready: Ready) -> float | None:
    if grid.crs is None or not grid.crs.is_projected or grid.crs.axis_info[0].unit_name != "metre":
        return None
    return math.sqrt(math.prod(grid.res) / math.prod(ready.frame.scale))


def _location(ask: _Ask) -> Tensor:
    ready = ask.ready
    degrees = np.array([_centre(grid, ask.key) for grid in _grids(ask.batch, ask.key, len(ready.pixels))]).reshape(
        -1, 2
    )
    lat, lon = degrees[:, 0], degrees[:, 1]
    form = ask.extra.option("form")
    if form in ("lat-lon", "lon-lat"):
        return _tensor(degrees if form == "lat-lon" else degrees[:, ::-1].copy(), ready)
    y, x = np.radians(lat), np.radians(lon)
    if form == "sincos":
        return _tensor(np.stack([np.sin(y), np.cos(y), np.sin(x), np.cos(x)], axis=-1), ready)
    return _tensor(np.stack([np.cos(y) * np.cos(x), np.cos(y) * np.sin(x), np.sin(y)], axis=-1), ready)


def _grids(batch: Mapping[str, Any], key: str, count: int) -> list[Grid]:
    name = f"grid{key.removeprefix('image')}"
    value = batch.get(name)
    grids = [value] if isinstance(value, Grid) else value
    if not isinstance(grids, (list, tuple)) or not all(isinstance(grid, Grid) for grid in grids):
        raise TransformError(
            f"the model takes a place and the batch has no Grid under {name!r}; datasets on a map give it"
        )
    if len(grids) != count:
        raise TransformError(f"{name!r} holds {len(grids)} grids for {count} samples")
    return list(grids)


def _centre(grid: Grid, key: str) -> tuple[float, float]:
    """Latitude and longitude of the middle, degrees."""
    if grid.crs is None:
        raise TransformError(f"the model takes a place, and the grid of {key!r} has no CRS: it lies nowhere on earth")
    height, width = grid.shape
    x, y = grid.xy(np.array([width / 2, height / 2]))
    lon, lat = transformer(grid.crs, CRS84).transform(x, y)
    if not (math.isfinite(lon) and math.isfinite(lat)):
        raise TransformError(
            f"the middle of {grid!r} has no longitude and latitude: it is outside the domain of its CRS"
        )
    return float(lat), float(lon)


def _time(ask: _Ask) -> Tensor:
    extra, batch, key, ready = ask.extra, ask.batch, ask.key, ask.ready
    name = f"time{key.removeprefix('image')}"
    value = batch.get(name, batch.get("time"))
    if isinstance(value, Interval):
        value = [value]
    if isinstance(value, Tensor):
        spans = value.reshape(1, *value.shape) if value.ndim == 2 and not ready.batched else value
    elif isinstance(value, (list, tuple)) and all(isinstance(v, Interval) for v in value):
        spans = torch.tensor([[v.start, v.end] for v in value], dtype=torch.float64).reshape(-1, 2)
    else:
        raise TransformError(
            f"the model takes times and {name!r} is {type(value).__name__}; datasets with dates give it"
        )
    dates = ready.pixels.shape[1:-3]
    wanted = [(len(ready.pixels), *dates, 2)]
    if math.prod(dates) == 1:
        wanted.append((len(ready.pixels), 2))
    if tuple(spans.shape) not in wanted:
        raise TransformError(
            f"{name!r} has shape {tuple(spans.shape)} beside {key!r} of {tuple(ready.pixels.shape)}; wanted start and end of "
            "each sample or date"
        )
    flat = spans.reshape(-1, 2).tolist()
    encode = _TIMES[extra.option("form")]
    width = len(encode(_EPOCH))
    # Dates that only fill up a series have no time; they become 0, as `T.TimeOfYear` has it.
    mask = batch.get(f"mask_time{key.removeprefix('image')}")
    there = mask.reshape(-1).tolist() if isinstance(mask, Tensor) and mask.numel() == len(flat) else [True] * len(flat)
    rows = [
        encode(_moment(start, end, name)) if known else [0.0] * width
        for (start, end), known in zip(flat, there, strict=True)
    ]
    out = _tensor(np.array(rows, dtype=np.float64).reshape(*spans.shape[:-1], width), ready)
    if "t" in ready.route.image.layout.split() and out.ndim == 2:
        out = out.unsqueeze(1)
    return out.squeeze(-1) if width == 1 else out


def _moment(start: float, end: float, name: str) -> dt.datetime:
    """The middle of an interval, UTC."""
    if not (math.isfinite(start) and math.isfinite(end)):
        raise TransformError(
            f"the model takes times and one in {name!r} is not known; give items a time, or leave them out"
        )
    return _EPOCH + dt.timedelta(seconds=(start + end) / 2)


def _week_hour(when: dt.datetime) -> list[float]:
    week, hour = when.isocalendar().week * 2 * math.pi / 52, when.hour * 2 * math.pi / 24
    return [math.sin(week), math.cos(week), math.sin(hour), math.cos(hour)]


_TIMES: dict[str, Callable[[dt.datetime], list[float]]] = {
    "year-doy": lambda when: [when.year, when.timetuple().tm_yday],
    "year-doy0": lambda when: [when.year, when.timetuple().tm_yday - 1],
    "doy": lambda when: [when.timetuple().tm_yday],
    "doy0": lambda when: [when.timetuple().tm_yday - 1],
    "month": lambda when: [when.month],
    "month0": lambda when: [when.month - 1],
    "days": lambda when: [(when - _EPOCH).total_seconds() / DAY],
    "week-hour-sincos": _week_hour,
}


def _valid(ask: _Ask) -> Tensor:
    ready = ask.ready
    shape = (*ready.pixels.shape[:-3], *ready.pixels.shape[-2:])
    valid = ready.valid
    if valid is None:
        valid = torch.ones(shape, dtype=torch.bool, device=ready.pixels.device)
    return valid.to(torch.float32) if ask.extra.option("form") == "float" else valid


def _band_mask(ask: _Ask) -> Tensor:
    return torch.tensor(ask.ready.route.present, device=ask.ready.pixels.device)


def _mask_time(ask: _Ask) -> Tensor:
    batch, key, ready = ask.batch, ask.key, ask.ready
    if ready.pixels.ndim != 5 and "t" not in ready.route.image.layout.split():
        raise TransformError(f"the model takes a mask of dates and {key!r} is no series")
    dates = ready.pixels.shape[1] if ready.pixels.ndim == 5 else 1
    mask = batch.get(f"mask_time{key.removeprefix('image')}")
    if isinstance(mask, Tensor):
        mask = mask if ready.batched else mask.reshape(1, -1)
        if tuple(mask.shape) != (len(ready.pixels), dates):
            raise TransformError(
                f"the mask of dates is {tuple(mask.shape)} for {len(ready.pixels)} samples of {dates} dates"
            )
        return mask.to(ready.pixels.device)
    return torch.ones((ready.pixels.shape[0], dates), dtype=torch.bool, device=ready.pixels.device)


def _constant(ask: _Ask) -> Any:
    value = ask.extra.options["value"]
    numbers = isinstance(value, (list, tuple)) and all(isinstance(v, (int, float)) for v in value)
    return _tensor(value, ask.ready) if numbers else value


_MAKERS: dict[str, Callable[[_Ask], Any]] = {
    "wavelengths": _wavelengths,
    "gsd": _gsd,
    "location": _location,
    "time": _time,
    "valid": _valid,
    "band-mask": _band_mask,
    "mask-time": _mask_time,
    "constant": _constant,
}


def _tensor(values: Any, ready: Ready) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32).to(ready.pixels.device)
