"""An image that is made from another one and stands beside it in the batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from geodata.bands import Bands
from geodata.errors import TransformError

__all__ = ["check_free", "derived_keys", "put_derived"]

_KEYS = ("image", "valid", "bands", "grid")


def derived_keys(key: str) -> tuple[str, ...]:
    """Return the keys of an image and of what belongs to it: image_s1, valid_s1, bands_s1, grid_s1."""
    return tuple(name + key.removeprefix("image") for name in _KEYS)


def check_free(batch: Mapping[str, Any], key: str, *, who: str) -> None:
    """Raise TransformError if the batch has the key already."""
    if key in batch:
        raise TransformError(f"the batch has {key!r} already; give {who} another name with to=")


def put_derived(
    batch: Mapping[str, Any], source: str, target: str, *, image: Tensor, bands: Bands, valid: Tensor
) -> dict[str, Any]:
    """Return the batch with a further image on the grid of its source."""
    values = dict(zip(derived_keys(target), (image, valid, bands), strict=False))
    grid = batch.get(derived_keys(source)[-1])
    return {**batch, **values, **({} if grid is None else {derived_keys(target)[-1]: grid})}
