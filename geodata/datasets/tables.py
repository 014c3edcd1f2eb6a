"""Tables that declarations refer to: classes, and files that are kept as they are."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib import resources
from typing import Any

from geodata.spec import Classes

__all__ = ["classes", "table"]


@lru_cache(maxsize=64)
def classes(name: str) -> Classes:
    """Return the classes of ``geodata/data/classes/<name>.json``, whose ``source`` says where they are from."""
    data = table(f"classes/{name}.json")
    return Classes(
        tuple(data["names"]),
        tuple(data.get("colours", ())),
        dict(data["codes"]) if "codes" in data else None,
        tuple(data.get("counts", ())),
    )


def table(path: str) -> Any:
    """Return a JSON file below ``geodata/data``."""
    return json.loads(resources.files("geodata").joinpath(f"data/{path}").read_text(encoding="utf-8"))
