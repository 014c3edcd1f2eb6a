"""Which keys of a sample or batch hold pixels, boxes and grids, and how large they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from geodata import buffers
from geodata.errors import TransformError
from geodata.grid import Grid
from geodata.sample import NUMPY, tensor_over

__all__ = ["GEOMETRIC", "Layout", "Size", "all_true", "dtype_name", "empty", "family", "is_batch"]

Size = tuple[int, int]
"""height, width in pixels."""

_RASTERS = {"image": 3, "valid": 2, "mask": 2, "instances": 3, "abundance": 3, "pixels": 2}
"""Families of keys that hold pixels, with the least number of dimensions in one sample."""

_VECTORS = {"boxes": (4,), "corners": (4, 2)}
"""Families of keys that hold pixel positions, with their last dimensions."""

GEOMETRIC = tuple(f"{name}*" for name in (*_RASTERS, *_VECTORS, "grid"))
"""What a change of geometry reads and writes."""

_NOT_PIXELS = ("mask_time",)
"""Keys that look like one of the families but run along time, not over pixels."""


def family(key: str) -> tuple[str, str] | None:
    """Split a key into its family and suffix, or None if it has nothing to do with pixels.

    Examples
    --------
    >>> family("image_s1"), family("boxes"), family("box_labels")
    (('image', '_s1'), ('boxes', ''), None)
    """
    if any(key == name or key.startswith(f"{name}_") for name in _NOT_PIXELS):
        return None
    name = key.partition("_")[0]
    return (name, key[len(name) :]) if name in _RASTERS or name in _VECTORS or name == "grid" else None


def is_batch(batch: Mapping[str, Any]) -> bool:
    """Whether this is a batch; a single sample otherwise.

    ``key`` is text for a sample and a list of texts for a batch; without ``key``, ``draw`` has one
    dimension for a sample and two for a batch.

    Raises
    ------
    TransformError
        If neither key tells, or the two contradict each other.
    """
    key, draw = batch.get("key"), batch.get("draw")
    by_key = None if key is None else not isinstance(key, str)
    by_draw = draw.ndim == 2 if isinstance(draw, torch.Tensor) else None
    if by_key is None and by_draw is None:
        raise TransformError(
            "cannot tell a sample from a batch: add 'key' (text, or a list of texts for a batch) "
            "or 'draw' (int64 (2,), or (B, 2) for a batch)"
        )
    if by_key is not None and by_draw is not None and by_key != by_draw:
        raise TransformError(
            f"'key' ({type(key).__name__}) and 'draw' (shape {tuple(batch['draw'].shape)}) disagree: "
            "a sample has text and (2,), a batch has a list of texts and (B, 2)"
        )
    return bool(by_draw if by_key is None else by_key)


def dtype_name(dtype: torch.dtype) -> str:
    """Return the name of a dtype as messages and saved data have it: ``float32``."""
    return str(dtype).removeprefix("torch.")


def all_true(x: torch.Tensor) -> bool:
    """Return whether all are true, if that can be told at once."""
    # To look first is cheap on a CPU, by numpy most of all, and spares a pass over the image; elsewhere it would
    # wait for the device.
    return x.device.type == "cpu" and bool(x.numpy().all())


def empty(shape: Sequence[int], like: torch.Tensor) -> torch.Tensor:
    """Return a tensor that is not filled yet, of the dtype and device of another one.

    In a `Compose` its memory is that of a batch before, once nobody holds that any more: fresh pages cost a CPU more than
    what is calculated in them.
    """
    pool = buffers.current()
    if pool is None or like.device.type != "cpu" or like.dtype not in NUMPY:
        return like.new_empty(tuple(shape))
    return tensor_over(pool.array(shape, NUMPY[like.dtype]))


@dataclass(frozen=True, slots=True)
class Layout:
    """The pixel-bearing keys of one dict.

    Attributes
    ----------
    batched : bool
    count : number of samples; 1 when not batched
    rasters, vectors, grids : keys of each kind
    sizes : raster and grid keys -> (height, width) of every sample
    """

    batched: bool
    count: int
    rasters: tuple[str, ...]
    vectors: tuple[str, ...]
    grids: tuple[str, ...]
    sizes: dict[str, list[Size]]

    @classmethod
    def of(cls, batch: Mapping[str, Any], count: int) -> Layout:
        """Read and check the layout of a dict of ``count`` samples.

        Raises
        ------
        TransformError
            If there are no pixels or grids, a value has the wrong type, number of dimensions or
            number of samples, a grid does not have the shape of its image, or a raster stands under
            a key that no geometry would move.
        """
        batched = is_batch(batch)
        kinds = {key: found[0] for key in batch if (found := family(key)) is not None}
        rasters = tuple(key for key, name in kinds.items() if name in _RASTERS)
        vectors = tuple(key for key, name in kinds.items() if name in _VECTORS)
        grids = tuple(key for key, name in kinds.items() if name == "grid")
        if not rasters and not grids:
            raise TransformError(f"nothing to move: no image, valid, mask, instances or grid among {sorted(batch)}")
        sizes = {key: _raster_sizes(key, kinds[key], batch[key], batched, count) for key in rasters}
        sizes |= {key: _grid_sizes(key, batch[key], batched, count) for key in grids}
        layout = cls(batched, count, rasters, vectors, grids, sizes)
        layout._check_grids()
        layout._check_strangers(batch)
        for key in vectors:
            _check_vectors(key, kinds[key], batch[key], batched, count)
        return layout

    def reference(self, key: str) -> list[Size]:
        """Sizes of the image that the positions under a boxes or corners key count pixels of.

        That is the raster or grid of the same suffix; without one, the finest of those whose suffix begins with it, as
        ``image_s2_10m`` does for ``boxes_s2``, or of all.
        """
        _, suffix = family(key) or ("", "")
        for name in (*_RASTERS, "grid"):
            if name + suffix in self.sizes:
                return self.sizes[name + suffix]
        if suffix:
            parts = [sizes for k, sizes in self.sizes.items() if (family(k) or ("", ""))[1].startswith(f"{suffix}_")]
            if parts:
                return [max(per_sample) for per_sample in zip(*parts, strict=True)]
        return [max(per_sample) for per_sample in zip(*self.sizes.values(), strict=True)]

    def _check_grids(self) -> None:
        for key in self.grids:
            suffix = key.removeprefix("grid")
            for name in _RASTERS:
                sizes = self.sizes.get(name + suffix)
                if sizes is not None and sizes != self.sizes[key]:
                    raise TransformError(
                        f"{name + suffix!r} is {_text(sizes)} pixels and {key!r} is {_text(self.sizes[key])}; "
                        "the grid no longer says where the pixels are. Crop or resize both"
                    )

    def _check_strangers(self, batch: Mapping[str, Any]) -> None:
        moved = {size for key in self.rasters for size in self.sizes[key]}
        least = 3 if self.batched else 2
        for key, value in batch.items():
            if family(key) is not None or not isinstance(value, torch.Tensor) or value.ndim < least:
                continue
            if (value.shape[-2], value.shape[-1]) in moved:
                raise TransformError(
                    f"{key!r} has shape {tuple(value.shape)}, a raster under a key that is not moved with the "
                    f"image; call it 'image_{key}' or 'mask_{key}', or take it out before this transform"
                )


def _raster_sizes(key: str, name: str, value: Any, batched: bool, count: int) -> list[Size]:
    if batched and isinstance(value, (list, tuple)):
        _check_count(key, len(value), count)
        return [_raster_sizes(key, name, item, False, 1)[0] for item in value]
    if not isinstance(value, torch.Tensor):
        raise TransformError(f"{key!r} is {type(value).__name__}; transforms work on torch tensors")
    least = _RASTERS[name] + batched
    if value.ndim < least:
        kind = "batch" if batched else "sample"
        raise TransformError(f"{key!r} of one {kind} needs {least} or more dimensions, got shape {tuple(value.shape)}")
    if not value.shape[-1] or not value.shape[-2]:
        raise TransformError(f"{key!r} has shape {tuple(value.shape)}: no pixels to move; leave such samples out")
    if batched:
        _check_count(key, value.shape[0], count)
    return [(value.shape[-2], value.shape[-1])] * count


def _grid_sizes(key: str, value: Any, batched: bool, count: int) -> list[Size]:
    grids = list(value) if batched and isinstance(value, (list, tuple)) else [value]
    if not all(isinstance(grid, Grid) for grid in grids) or (batched and isinstance(value, Grid)):
        wanted = "a list of Grid, one for each sample" if batched else "a Grid"
        raise TransformError(f"{key!r} is {type(value).__name__}; here it must be {wanted}")
    _check_count(key, len(grids), count)
    return [grid.shape for grid in grids]


def _check_vectors(key: str, name: str, value: Any, batched: bool, count: int) -> None:
    if batched and not isinstance(value, (list, tuple, torch.Tensor)):
        raise TransformError(
            f"{key!r} is {type(value).__name__}; in a batch it must be a list of tensors, one for each sample"
        )
    items = value if batched else [value]
    _check_count(key, len(items), count)
    for item in items:
        tail = _VECTORS[name]
        if not isinstance(item, torch.Tensor) or item.shape[-len(tail) :] != tail or item.ndim != len(tail) + 1:
            got = tuple(item.shape) if isinstance(item, torch.Tensor) else type(item).__name__
            raise TransformError(f"{key!r} of one sample must be a tensor (N, {', '.join(map(str, tail))}), got {got}")


def _check_count(key: str, got: int, count: int) -> None:
    if got != count:
        raise TransformError(f"{key!r} holds {got} samples and 'draw' {count}; all keys of a batch must agree")


def _text(sizes: list[Size]) -> str:
    return ", ".join(f"{h} x {w}" for h, w in sorted(set(sizes))[:4])
