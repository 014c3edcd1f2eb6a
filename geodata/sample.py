"""What a dataset hands out: plain dicts, and how many of them become one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypedDict, overload

import numpy as np
import torch
from torch import Tensor
from torch.utils.data._utils.collate import default_collate_fn_map

from geodata.bands import Bands
from geodata.errors import BandsError, GridError, QueryError
from geodata.grid import Grid
from geodata.interval import Interval
from geodata.query import Query
from geodata.spot import Buffers, Slots, Spot, room

__all__ = ["IGNORE", "Sample", "asked_back", "collate", "rooms"]

IGNORE = -100
"""In a mask: not observed, outside, or unmapped. Torch's losses leave it out by default."""

RAGGED = ("boxes", "corners", "box_labels", "instances")
"""Keys (before a name's suffix) whose first axis differs from sample to sample."""


class Sample(TypedDict, total=False):
    """Keys of one sample; a batch has the same keys with a leading axis, or a list.

    ``name=`` of a dataset suffixes its keys: ``image_s1``, ``valid_s1``, ``bands_s1``, ``grid_s1``.
    """

    image: Tensor  #: (C, H, W), or (T, C, H, W) for a series
    valid: Tensor  #: (H, W) bool, or (T, H, W): observed in all bands asked for
    mask: Tensor  #: (H, W) int64; -100 where not observed, outside or unmapped
    label: Tensor  #: int64, or multi-hot float
    boxes: Tensor  #: (N, 4) float32, x0 y0 x1 y1 in pixels
    corners: Tensor  #: (N, 4, 2) float32 pixels, oriented boxes
    box_labels: Tensor  #: (N,) int64
    instances: Tensor  #: (N, H, W) bool
    grid: Grid  #: where the pixels are, exact
    time: Interval
    key: str
    bands: Bands
    query: Query
    draw: Tensor  #: (2,) int64: epoch, index
    weight: Tensor  #: () float32, what the loss of this sample counts; if the query says it
    pixels: Tensor  #: (H, W) bool, the pixels that the query chose
    source: int  #: which dataset of a mixture it is of


def asked_back(query: Query, spot: Spot) -> dict[str, Tensor]:
    """Return what a sample repeats of its query: ``weight`` and ``pixels``, if it names them."""
    rest: dict[str, Tensor] = {}
    if query.weight is not None:
        rest["weight"] = torch.tensor(query.weight, dtype=torch.float32)
    if query.pixels is not None:
        chosen = torch.zeros(spot.grid.shape, dtype=torch.bool)
        chosen[tuple(torch.tensor(query.pixels, dtype=torch.int64).reshape(-1, 2).T)] = True
        rest["pixels"] = chosen
    return rest


def rooms(slots: Sequence[Slots]) -> Iterator[tuple[Buffers, dict[str, Tensor]]]:
    """Yield the arrays to fill for each sample, and the tensors over them: of one buffer per key where all agree."""
    if len(slots) > 1 and all(s == slots[0] for s in slots):
        whole = {k: room((len(slots), *shape), dtype) for k, (shape, dtype) in slots[0].items()}
        tensors = {k: torch.from_numpy(v).unbind() for k, v in whole.items()}
        for i in range(len(slots)):
            yield {k: v[i] for k, v in whole.items()}, {k: v[i] for k, v in tensors.items()}
        return
    for each in slots:
        own = {k: room(shape, dtype) for k, (shape, dtype) in each.items()}
        yield own, {k: torch.from_numpy(v) for k, v in own.items()}


@overload
def collate(
    samples: Sequence[Mapping[str, Any]], *, pad: float | Mapping[str, float] | None = None
) -> dict[str, Any]: ...
@overload
def collate(
    samples: Sequence[tuple[Mapping[str, Any], ...]], *, pad: float | Mapping[str, float] | None = None
) -> tuple[dict[str, Any], ...]: ...
def collate(samples: Any, *, pad: float | Mapping[str, float] | None = None) -> Any:
    """Make one batch of samples.

    Parameters
    ----------
    samples : dicts with equal keys, or tuples of such (several views of each)
    pad : None, a number, or a number per key
        None refuses tensors of unequal shape. A number fills them up to the largest shape, at the end of each axis; with
        a mapping only the keys that it names. ``valid*`` is then filled with False and ``mask*`` with -100. Series of unequal length also get
        ``mask_time`` (B, T), True where there is a date; ``mask_time_<name>`` for a named image.

    Returns
    -------
    dict, or a tuple of one dict per view
        Tensors with a leading batch axis. Samples that are views of one batch buffer are not copied. ``boxes``,
        ``corners``, ``box_labels``, ``instances`` and everything that is no tensor become lists, except ``bands``: one
        `Bands` for the whole batch.

    Raises
    ------
    QueryError
        If keys differ.
    GridError
        If shapes differ and ``pad`` is None.
    BandsError
        If bands differ.
    """
    if not samples:
        raise QueryError("a batch needs at least one sample")
    if isinstance(samples[0], tuple):
        return tuple(collate(view, pad=pad) for view in zip(*samples, strict=True))
    keys = samples[0].keys()
    for sample in samples:
        if sample.keys() != keys:
            raise QueryError(f"samples of one batch have different keys: {sorted(keys)} and {sorted(sample.keys())}")
    batch: dict[str, Any] = {}
    for key in keys:
        values = [s[key] for s in samples]
        if isinstance(values[0], Bands):
            batch[key] = _one_bands(key, values)
        elif not isinstance(values[0], Tensor):
            batch[key] = values if not isinstance(values[0], (int, float, np.number)) else torch.as_tensor(values)
        elif key.startswith(RAGGED):
            batch[key] = values
        else:
            batch[key] = _stack(key, values, pad)
            if key.startswith("image") and values[0].ndim == 4 and len({len(v) for v in values}) > 1:
                steps = torch.arange(batch[key].shape[1])
                batch[f"mask_time{key.removeprefix('image')}"] = steps < torch.tensor([[len(v)] for v in values])
    return batch


def _one_bands(key: str, values: list[Bands]) -> Bands:
    for other in values[1:]:
        if other != values[0]:
            raise BandsError(f"{key} differs within a batch: {values[0]} and {other}; select the same bands everywhere")
    return values[0]


def _stack(key: str, values: list[Tensor], pad: float | Mapping[str, float] | None) -> Tensor:
    first = values[0]
    odd = next((v.dtype for v in values if v.dtype != first.dtype), None)
    if odd is not None:
        raise QueryError(f"{key} is {first.dtype} and {odd} in one batch; read both with the same dtype=")
    if all(v.shape == first.shape for v in values):
        whole = _buffer_of(values)
        return whole if whole is not None else torch.stack(values)
    number = pad.get(key) if isinstance(pad, Mapping) else pad
    fill = IGNORE if key.startswith("mask") else number
    if pad is not None and key.startswith("valid"):
        fill = False
    if fill is None or pad is None:
        shapes = sorted({tuple(v.shape) for v in values})
        raise GridError(f"{key} has shapes {shapes} in one batch; sample windows of one size, or pad: collate(pad=0)")
    shape = [max(sizes) for sizes in zip(*(v.shape for v in values), strict=True)]
    out = torch.full((len(values), *shape), fill, dtype=first.dtype)
    for row, value in zip(out, values, strict=True):
        row[tuple(slice(0, n) for n in value.shape)] = value
    return out


def _buffer_of(values: list[Tensor]) -> Tensor | None:
    """Return the batch buffer that the values are consecutive views of, if they are."""
    first = values[0]
    step = first.numel()
    storage = first.untyped_storage()
    if not first.is_contiguous() or not step or len(values) * step * first.element_size() > storage.nbytes():
        return None
    where = storage.data_ptr()
    for i, value in enumerate(values):
        same = (
            value.untyped_storage().data_ptr() == where and value.storage_offset() == first.storage_offset() + i * step
        )
        if not same or value.dtype != first.dtype or not value.is_contiguous():
            return None
    return first.as_strided((len(values), *first.shape), (step, *first.stride()), first.storage_offset())


def _as_list(batch: Any, *, collate_fn_map: Any = None) -> Any:  # noqa: ARG001  (torch passes it)
    return list(batch)


def _as_one(batch: Any, *, collate_fn_map: Any = None) -> Any:  # noqa: ARG001  (torch passes it)
    return _one_bands("bands", list(batch))


_MAP: dict[type, Callable[..., Any]] = default_collate_fn_map  # type: ignore[assignment]
_MAP.update({Grid: _as_list, Interval: _as_list, Query: _as_list, Bands: _as_one})
