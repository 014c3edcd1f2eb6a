"""What a dataset hands out: plain dicts, and how many of them become one batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data._utils.collate import default_collate_fn_map

from geodata import buffers
from geodata.bands import Bands
from geodata.errors import BandsError, GridError, QueryError
from geodata.grid import Grid
from geodata.interval import Interval
from geodata.query import Query
from geodata.spot import Buffers, Slots, Spot, room

__all__ = ["IGNORE", "NUMPY", "Sample", "asked_back", "collate", "rooms", "tensor_over"]

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


def rooms(slots: Sequence[Slots]) -> tuple[Buffers | None, list[Buffers], list[dict[str, Tensor]]]:
    """Return the arrays to fill for some samples, and the tensors over them.

    Returns
    -------
    whole : key -> (B, ...) array that holds all samples; None if their shapes differ, or there is one
    each : arrays of each sample
    tensors : tensors over the arrays of each sample; where there is a whole, views of one tensor per key
    """
    first = slots[0]
    if len(slots) > 1 and all(s is first or s == first for s in slots):
        whole = {k: room((len(slots), *shape), dtype) for k, (shape, dtype) in first.items()}
        cut = {k: tensor_over(v).unbind() for k, v in whole.items()}
        numbers = range(len(slots))
        return whole, [{k: v[i] for k, v in whole.items()} for i in numbers], [_at(i, cut) for i in numbers]
    each = [{k: room(shape, dtype) for k, (shape, dtype) in own.items()} for own in slots]
    return None, each, [{k: tensor_over(v) for k, v in own.items()} for own in each]


def _at(i: int, cut: Mapping[str, Sequence[Tensor]]) -> dict[str, Tensor]:
    return {k: v[i] for k, v in cut.items()}


def tensor_over(array: NDArray[Any]) -> Tensor:
    """Return a tensor over the memory of what `room` made."""
    # Pinned memory belongs to a tensor: only through that one torch knows of copies to the GPU that are still under way.
    return array.base if isinstance(array.base, Tensor) else torch.from_numpy(array)


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
        if other is not values[0] and other != values[0]:
            raise BandsError(f"{key} differs within a batch: {values[0]} and {other}; select the same bands everywhere")
    return values[0]


def _stack(key: str, values: list[Tensor], pad: float | Mapping[str, float] | None) -> Tensor:
    whole = _buffer_of(values)
    if whole is not None:
        return whole
    first = values[0]
    odd = next((v.dtype for v in values if v.dtype != first.dtype), None)
    if odd is not None:
        raise QueryError(f"{key} is {first.dtype} and {odd} in one batch; read both with the same dtype=")
    if all(v.shape == first.shape for v in values):
        return _copied(values, first.shape, None)
    number = pad.get(key) if isinstance(pad, Mapping) else pad
    fill = IGNORE if key.startswith("mask") else number
    if pad is not None and key.startswith("valid"):
        fill = False
    if fill is None or pad is None:
        shapes = sorted({tuple(v.shape) for v in values})
        raise GridError(f"{key} has shapes {shapes} in one batch; sample windows of one size, or pad: collate(pad=0)")
    return _copied(values, [max(sizes) for sizes in zip(*(v.shape for v in values), strict=True)], fill)


def _copied(values: list[Tensor], shape: Sequence[int], fill: float | None) -> Tensor:
    """Copy values, each of a shape or of a smaller one that is filled up, into one tensor."""
    first = values[0]
    if buffers.current() is None or not all(map(_plain, values)):
        if fill is None:
            return torch.stack(values)
        out = torch.full((len(values), *shape), fill, dtype=first.dtype)
        for i, value in enumerate(values):
            out[_corner(i, value)] = value
        return out
    # In a thread of a Loader. By numpy: torch would start a team of threads of its own for each of them.
    array = room((len(values), *shape), NUMPY[first.dtype])
    if fill is not None:
        array[...] = torch.full((), fill, dtype=first.dtype).numpy()
    for i, value in enumerate(values):
        array[_corner(i, value)] = value.numpy()
    return tensor_over(array)


def _corner(i: int, value: Tensor) -> tuple[int | slice, ...]:
    return i, *(slice(0, n) for n in value.shape)


_KINDS = ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", "?"]
NUMPY = {torch.from_numpy(np.empty(0, kind)).dtype: np.dtype(kind) for kind in _KINDS}
"""Dtypes of torch that numpy has too."""


def _plain(value: Tensor) -> bool:
    """Whether numpy sees the same numbers in a tensor."""
    own = type(value) is Tensor and value.device.type == "cpu" and value.layout is torch.strided
    return own and value.dtype in NUMPY and not value.requires_grad and not value.is_neg()


def _buffer_of(values: list[Tensor]) -> Tensor | None:
    """Return the batch buffer that the values are consecutive views of, if they are."""
    first = values[0]
    shape, dtype, step, at = first.shape, first.dtype, first.nbytes, first.data_ptr()
    # Neighbours in memory may belong to different owners.
    base, where = first._base, first.untyped_storage().data_ptr()
    if not step:
        return None
    for value in values:
        owned = value._base is base if base is not None else value.untyped_storage().data_ptr() == where
        if value.data_ptr() != at or not owned:
            return None
        if value.shape != shape or value.dtype != dtype or not value.is_contiguous():
            return None
        at += step
    return first.as_strided((len(values), *shape), (first.numel(), *first.stride()), first.storage_offset())


def _as_list(batch: Any, *, collate_fn_map: Any = None) -> Any:  # noqa: ARG001  (torch passes it)
    return list(batch)


def _as_one(batch: Any, *, collate_fn_map: Any = None) -> Any:  # noqa: ARG001  (torch passes it)
    return _one_bands("bands", list(batch))


_MAP: dict[type, Callable[..., Any]] = default_collate_fn_map  # type: ignore[assignment]
_MAP.update({Grid: _as_list, Interval: _as_list, Query: _as_list, Bands: _as_one})
