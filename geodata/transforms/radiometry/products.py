"""What published products are: numbers to reflectance, and the meaning of quality rasters."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib import resources
from typing import Any

from geodata.errors import TransformError

__all__ = ["product_of"]


def product_of(kind: str, name: Any) -> dict[str, Any]:
    """Return the entry of a product in ``geodata/data/products.json``.

    Parameters
    ----------
    kind : "reflectance" or "quality"
    name : such as "sentinel-2-l2a"

    Raises
    ------
    TransformError
        If there is none of that name.
    """
    known = _table()[kind]
    if not isinstance(name, str) or name not in known:
        raise TransformError(f"no {kind} of a product {name!r} is known; there are {', '.join(sorted(known))}")
    entry: dict[str, Any] = known[name]
    return entry


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    text = resources.files("geodata").joinpath("data/products.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return table
