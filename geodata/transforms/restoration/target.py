"""The untouched original beside a degraded image: one name for it in the whole library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geodata.errors import TransformError
from geodata.transforms.layout import GEOMETRIC, family

__all__ = ["TARGET", "kept_target", "moved_to_target", "target_keys"]

TARGET = "_target"
"""Ending of the keys that hold the original: ``image`` -> ``image_target``, ``valid_s2`` -> ``valid_s2_target``."""

_KEPT = ("image", "valid", "bands", "grid")
_MOVED = (*(name.removesuffix("*") for name in GEOMETRIC), "bands")


def target_keys(suffix: str, *, moved: bool) -> tuple[str, ...]:
    """Return the keys that keeping, or moving, the original of one suffix may write."""
    names = _MOVED if moved else _KEPT
    written = [f"{name}{suffix}{TARGET}" for name in names]
    return tuple([*(f"{name}{suffix}" for name in names), *written] if moved else written)


def kept_target(batch: Mapping[str, Any], suffix: str) -> dict[str, Any]:
    """Return the image of one suffix, its valid, bands and grid under target keys; nothing is copied.

    An original that is kept already stays: after several degradations the target is what was before the first.
    """
    if f"image{suffix}{TARGET}" in batch:
        return {}
    return {f"{name}{suffix}{TARGET}": batch[name + suffix] for name in _KEPT if name + suffix in batch}


def moved_to_target(batch: Mapping[str, Any], suffix: str) -> dict[str, Any]:
    """Return the batch with all that counts pixels of one suffix (masks and boxes too) under target keys.

    Raises
    ------
    TransformError
        If there is both a mask or the like of the suffix and one of its target.
    """
    own = [key for key in batch if (family(key) or ("", None))[1] == suffix or key == f"bands{suffix}"]
    out = {key: value for key, value in batch.items() if key not in own} | kept_target(batch, suffix)
    for key in own:
        name = key.removesuffix(suffix) if suffix else key
        if name in _KEPT:
            continue
        if key + TARGET in batch:
            raise TransformError(f"both {key!r} and {key + TARGET!r} are here; which one the target has is not clear")
        out[key + TARGET] = batch[key]
    return out
