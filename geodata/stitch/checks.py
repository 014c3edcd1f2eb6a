"""What a map accepts: grids and sizes of patches, dtypes, names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from geodata.errors import DtypeError, ModelOutputError, TransformError
from geodata.grid import Grid
from geodata.stitch.blend import Flags, Floats

__all__ = ["band_names", "cast", "check_output", "check_sizes", "companions", "sentinel"]

_DTYPES = ("float32", "uint8", "uint16", "int16")


def companions(batch: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[list[Grid], Tensor | None]:
    """Take the grids and the validity of patches out of a batch.

    Parameters
    ----------
    batch : dict with ``grid`` or ``grid_<name>``
        The first counts whose patches have the size asked for, ``grid`` before all others.
    shape : (H, W) of the patches

    Returns
    -------
    grids : (B,) Grid
    valid : (B, H, W) bool or None
        ``valid`` of the same name as the grids, else the first of that size: where the leading image is observed. A
        series is observed where one of its dates is.

    Raises
    ------
    TransformError
        If the batch holds no grids.
    """
    names = sorted((key for key in batch if key == "grid" or key.startswith("grid_")), key=lambda key: key != "grid")
    if not names:
        held = ", ".join(sorted(map(str, batch))) or "nothing"
        raise TransformError(f"a map needs the grids of its patches; the batch holds {held}. gd.collate gives 'grid'")
    name = next((key for key in names if batch[key] and batch[key][0].shape == shape), names[0])
    grids = list(batch[name])
    own = "valid" + name.removeprefix("grid")
    others = (key for key in batch if key.startswith("valid_") and tuple(batch[key].shape[-2:]) == grids[0].shape)
    valid = batch.get(own if own in batch else next(others, own))
    return grids, valid.any(1) if valid is not None and valid.ndim == 4 else valid


def check_output(output: Any, *, channels: int | None = None) -> None:
    """Raise ModelOutputError unless an output is one real tensor (B, channels, H, W)."""
    if not isinstance(output, Tensor) or output.ndim != 4 or output.is_complex():
        got = f"shape {tuple(output.shape)}, {output.dtype}" if isinstance(output, Tensor) else type(output).__name__
        raise ModelOutputError(
            f"the model returned {got}; a map needs one real tensor (B, K, H, W). Take it out of what the model returns "
            'with postprocess=, for example postprocess=lambda out: out["out"] or lambda y: y.unsqueeze(1)'
        )
    if channels is not None and output.shape[1] != channels:
        raise ModelOutputError(f"the model returned {output.shape[1]} channels; this map has {channels}")


def check_sizes(output: Tensor, grids: Sequence[Grid], valid: Tensor | None) -> None:
    """Raise ModelOutputError unless an output has one pixel per pixel of its patches."""
    wanted = {(len(grids), *grid.shape) for grid in grids}
    if valid is not None:
        wanted.add((len(valid), *valid.shape[-2:]))
    batch, _, h, w = output.shape
    if wanted == {(batch, h, w)} or not (wanted or batch):
        return
    sizes = ", ".join(f"{count} patches of {height} x {width}" for count, height, width in sorted(wanted))
    text = (
        f"the model returned {tuple(output.shape)} for {sizes or 'no patches'}; a map needs one output pixel per pixel"
    )
    if len(wanted) == 1 and h and w:
        ((count, height, width),) = wanted
        if batch == count and height // h == width // w > 1:
            text += f", this output is {height // h} times coarser"
        text += (
            ". Upsample or crop it in postprocess=, for example "
            f"postprocess=lambda y: torch.nn.functional.interpolate(y, size=({height}, {width}))"
        )
    raise ModelOutputError(text)


def sentinel(dtype: str, nodata: float | None) -> tuple[str, float]:
    """Return the name of a map's dtype and its nodata, or raise DtypeError."""
    name = np.dtype(dtype).name
    if name not in _DTYPES:
        raise DtypeError(f"a map of dtype {name} cannot be written from float32 scores; choose one of {_DTYPES}")
    if name == "float32":
        return name, float("nan") if nodata is None else float(nodata)
    limits = np.iinfo(name)
    value = nodata if nodata is not None else (limits.min if limits.min < 0 else limits.max)
    if not limits.min <= value <= limits.max or value != int(value):
        raise DtypeError(f"nodata {nodata} does not fit {name}, which holds {limits.min} to {limits.max}")
    return name, int(value)


def band_names(names: Sequence[str] | None, channels: int) -> tuple[str, ...]:
    """Return the description of every channel."""
    if names is None:
        return tuple(f"channel {k}" for k in range(channels))
    if isinstance(names, str) or len(names) != channels:
        raise ModelOutputError(f"names={names!r} must name each of the {channels} channels of the model's output")
    return tuple(map(str, names))


def cast(value: Floats, known: Flags, dtype: str, nodata: float) -> NDArray[Any]:
    """Return values in the map's dtype, or raise DtypeError if a known pixel would change or get lost."""
    limits = None if dtype == "float32" else np.iinfo(dtype)
    rounded = value if limits is None else np.rint(value)
    for channel in rounded:
        kept = channel[known]
        if limits and kept.size and not limits.min <= kept.min() <= kept.max() <= limits.max:
            raise DtypeError(
                f"the model returned values from {kept.min()} to {kept.max()}, which do not fit {dtype}; "
                "choose another dtype=, or clip them before"
            )
        if (kept == nodata).any():
            raise DtypeError(f"an observed pixel has the value {nodata}, which would read as nodata; change nodata=")
    with np.errstate(invalid="ignore"):
        return rounded.astype(dtype)
