"""What a picture shows, decided on plain arrays: which bands, how stretched, which colour for which class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.bands import Bands
from geodata.crs import CRS, crs_text
from geodata.errors import BandsError, QueryError
from geodata.grid import Grid

__all__ = ["Classes", "class_table", "composite", "describe_grid", "split_frames", "stretch", "to_numpy", "unit_text"]

Classes = Sequence[str] | Mapping[int, str | tuple[str, str]]
"""Names in order of value, or value -> name, or value -> (name, "#rrggbb")."""

PALETTE = (
    "#4477aa", "#228833", "#ccbb44", "#ee6677", "#66ccee", "#aa3377", "#e08214", "#8c6bb1", "#7fbc41", "#8c510a",
    "#01665e", "#f4a582", "#525252", "#c51b7d", "#fee08b", "#35978f", "#b2182b", "#9ecae1", "#a6761d", "#dd99dd",
)  # fmt: skip
NOT_OBSERVED = "#d9d9d9"
VISIBLE = (("red", 660.0), ("green", 560.0), ("blue", 480.0))
MAX_FRAMES = 8
IGNORE = -100


def composite(bands: Bands | None, channels: int, wanted: Sequence[str | float] | None = None) -> tuple[list[int], str]:
    """Choose which channels to show, and say which they are.

    Parameters
    ----------
    bands : Bands or None
        What the channels are; None when that is not known.
    channels : int, >= 1
    wanted : one or three names, common names or wavelengths (nm), or None for a sensible choice
        A text that is no band's name but a number is a wavelength.

    Returns
    -------
    positions : list of 1 or 3 int
    title : str

    Raises
    ------
    BandsError
        If a band does not exist, or not one or three are wanted.

    Examples
    --------
    >>> composite(Bands.of_sensor("sentinel-2"), 13)
    ([3, 2, 1], 'red B04, green B03, blue B02')
    """
    known = bands if bands is not None and len(bands) == channels else Bands(str(i + 1) for i in range(channels))
    if wanted is not None:
        if len(wanted) not in (1, 3):
            raise BandsError(f"a picture shows 1 or 3 bands, got {len(wanted)}: {list(wanted)}")
        chosen = [_position(known, name) for name in wanted]
        return chosen, _label(known, chosen)
    visible = _visible(known)
    if visible is not None:
        return visible, _label(known, visible)
    chosen = [0, 1, 2] if channels >= 3 else [0]
    note = "" if len(chosen) == 1 else " (assumed: the first three)"
    return chosen, _label(known, chosen) + note


def stretch(
    image: NDArray[Any], valid: NDArray[np.bool_] | None = None, percent: tuple[float, float] = (2, 98)
) -> NDArray[np.float64]:
    """Scale every channel between two of its percentiles, over observed pixels.

    Parameters
    ----------
    image : (C, H, W) number
    valid : (H, W) bool, True = observed; None means all
        NaN and infinite pixels count as not observed.
    percent : (low, high), 0 <= low < high <= 100

    Returns
    -------
    (H, W, C) float64 in [0, 1], NaN where not observed
        A channel with one value only is 0.5.
    """
    low, high = (float(p) for p in percent)
    if not 0 <= low < high <= 100:
        raise QueryError(f"percent {percent} must be (low, high) with 0 <= low < high <= 100")
    out = np.full((*image.shape[1:], image.shape[0]), np.nan)
    for i, channel in enumerate(np.asarray(image, dtype=np.float64)):
        seen = np.asarray(np.isfinite(channel) if valid is None else np.isfinite(channel) & valid)
        if not seen.any():
            continue
        values = channel[seen]
        a, b = np.percentile(values, (low, high))
        if a == b:  # a mostly flat channel: the percentiles meet although the extremes do not
            a, b = values.min(), values.max()
        out[seen, i] = 0.5 if a == b else np.clip((values - a) / (b - a), 0, 1)
    return out


def class_table(classes: Classes | None, values: Sequence[int] = ()) -> dict[int, tuple[str, str]]:
    """Give every class value a name and a colour.

    Parameters
    ----------
    classes : names in order of value, or value -> name, or value -> (name, "#rrggbb"), or None
    values : further values that occur; they are named ``class <value>``

    Returns
    -------
    dict of int -> (name, "#rrggbb"), in order of value
    """
    named = (
        dict(enumerate(classes)) if not isinstance(classes, Mapping) and classes is not None else dict(classes or {})
    )
    table = {}
    for value in sorted(set(named) | {int(v) for v in values}):
        entry = named.get(value, f"class {value}")
        name, colour = (entry, PALETTE[value % len(PALETTE)]) if isinstance(entry, str) else entry
        table[value] = (name, colour)
    return table


def describe_grid(grid: Grid) -> str:
    """Return one line on where a grid lies: CRS, pixel size, extent."""
    xres, yres = grid.res
    if grid.crs is None:
        return f"{grid.width} x {grid.height} pixels, no CRS"
    unit = unit_text(grid.crs)
    size = f"{xres:.6g}{unit}" if abs(xres - yres) <= 1e-6 * xres else f"{xres:.6g} x {yres:.6g}{unit}"
    name = crs_text(grid.crs) if grid.crs.to_authority() else grid.crs.name
    extent = f", {grid.width * xres / 1000:.3g} x {grid.height * yres / 1000:.3g} km" if unit == " m" else ""
    return f"{name}, {size} pixels{extent}"


def unit_text(crs: CRS | None) -> str:
    """Return what to write behind a length in a CRS: `` m``, ``°``, another unit, or `` px`` without a CRS."""
    if crs is None:
        return " px"
    name = crs.axis_info[0].unit_name if crs.axis_info else ""
    return {"metre": " m", "degree": "°"}.get(name, f" {name}")


def to_numpy(values: Any) -> NDArray[Any]:
    """Return a tensor (of any device) or array as a numpy array."""
    return np.asarray(values.detach().cpu().numpy() if hasattr(values, "detach") else values)


def split_frames(sample: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the samples in a batch, or the moments of a time series, at most 8; else the sample alone."""
    lead = next((k for k in sample if is_image(k)), "mask")
    shape: tuple[int, ...] = tuple(np.shape(sample[lead])) if lead in sample else ()
    if isinstance(sample.get("key"), list) or isinstance(sample.get("grid"), list):
        frames = []
        for i in range(min(shape[0], MAX_FRAMES)):
            item = {k: v if isinstance(v, Bands) or not _has_length(v) else v[i] for k, v in sample.items()}
            frames.extend(split_frames(item))
        return frames[:MAX_FRAMES]
    if len(shape) != (4 if is_image(lead) else 3):
        return [dict(sample)]
    # only what surely has a time axis is cut: a mask may be as high as the series is long
    axes = {k: 4 if is_image(k) else 3 for k in sample if is_image(k) or k.startswith(("valid", "mask"))}
    stacked = {k for k, ndim in axes.items() if np.ndim(sample[k]) == ndim}
    return [{k: v[i] if k in stacked else v for k, v in sample.items()} for i in range(min(shape[0], MAX_FRAMES))]


def _has_length(value: Any) -> bool:
    return isinstance(value, Sequence) or bool(np.ndim(value))


def is_image(key: str) -> bool:
    return key == "image" or key.startswith("image_")


def _position(bands: Bands, wanted: str | float) -> int:
    if isinstance(wanted, str):
        named = wanted in bands.names or any(b.common_name == wanted for b in bands)
        if named or not _is_number(wanted):
            return bands.position(wanted)
    return bands.position(bands.nearest(float(wanted)).name)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _visible(bands: Bands) -> list[int] | None:
    """Positions of red, green and blue by common name, else by wavelength; None if that is not known."""
    common = [b.common_name or b.name.lower() for b in bands]
    if all(common.count(name) == 1 for name, _ in VISIBLE):
        return [common.index(name) for name, _ in VISIBLE]
    try:
        found = [bands.position(bands.nearest(nm, tolerance=40).name) for _, nm in VISIBLE]
    except BandsError:
        return None
    return found if len(set(found)) == 3 else None


def _label(bands: Bands, chosen: Sequence[int]) -> str:
    def one(i: int) -> str:
        band = bands[i]
        nm = f" ({band.wavelength:.0f} nm)" if band.wavelength is not None and len(bands) > 20 else ""
        return f"{band.name}{nm}"

    if len(chosen) == 1:
        return f"grey: band {one(chosen[0])}"
    return ", ".join(f"{channel} {one(i)}" for (channel, _), i in zip(VISIBLE, chosen, strict=True))
