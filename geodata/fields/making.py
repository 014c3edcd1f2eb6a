"""Making fields from the assets of a catalog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from geodata.assembly import Assembly
from geodata.bands import Bands
from geodata.catalog import Catalog
from geodata.errors import DtypeError
from geodata.parts import Part, by_resolution
from geodata.readers.base import Asset, stored_nodata

__all__ = ["DEFAULT_DTYPE", "assemblies", "target_dtype"]

DEFAULT_DTYPE = object()
"""Stands for float32, refused for stored dtypes that it cannot hold exactly."""


def assemblies(
    catalog: Catalog,
    bands: Bands,
    parts: Sequence[Part],
    resampling: str,
    dtype: np.dtype[Any],
    *,
    native: bool = False,
    keep: bool = False,
) -> Mapping[str, Assembly]:
    """Return the recipe of an image by key suffix: one at ``""``, or one per resolution.

    Parameters
    ----------
    keep : bool
        Unobserved pixels keep the stored nodata value, as far as there is one; else they are 0.
    """
    held = [stored_nodata(p.asset.nodata, dtype) for p in parts] if keep else []
    fill = next((value for value in held if value is not None), 0)
    groups = by_resolution(catalog, bands, parts) if native else {"": (bands, tuple(parts), 1)}
    return {s: Assembly(b, p, ratio, resampling, dtype, fill) for s, (b, p, ratio) in groups.items()}


def target_dtype(asked: Any, assets: Sequence[Asset], *, categorical: bool = False) -> np.dtype[Any]:
    """Return the numpy dtype to read into.

    Raises
    ------
    DtypeError
        If bands are stored in several dtypes and None asks for them as stored, or the dtype cannot hold them.
    """
    stored = sorted({a.dtype for a in assets})
    if categorical:
        if asked not in (DEFAULT_DTYPE, None, torch.int64):
            raise DtypeError(f"dtype={asked} does not apply to a mask, which is int64; leave it out")
        return np.dtype(stored[0])
    if asked is None:
        if len(stored) > 1:
            raise DtypeError(
                f"bands are stored as {', '.join(stored)}; dtype=None needs one stored dtype, choose dtype= or bands="
            )
        return np.dtype(stored[0])
    chosen = torch.float32 if asked is DEFAULT_DTYPE else asked
    if not isinstance(chosen, torch.dtype):
        raise DtypeError(f"dtype={chosen!r} must be a torch dtype, or None for as stored")
    try:
        target: np.dtype[Any] = torch.empty(0, dtype=chosen).numpy().dtype
    except TypeError:
        raise DtypeError(f"dtype={chosen} cannot be read into; read float32 and cast the batch") from None
    unfit = [d for d in stored if not np.can_cast(d, target, "safe")]
    if asked is DEFAULT_DTYPE and unfit:
        raise DtypeError(
            f"stored {unfit[0]} does not fit float32 exactly; say dtype=torch.float64, dtype=torch.float32 or dtype=None"
        )
    return target
