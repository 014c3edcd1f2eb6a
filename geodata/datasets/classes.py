"""Names of classes as people give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from geodata.errors import CatalogError

__all__ = ["class_names"]


def class_names(classes: Sequence[str] | Mapping[int, Any] | None) -> tuple[str, ...] | None:
    """Return names by value; ``""`` for values that have none.

    Parameters
    ----------
    classes : names in order of value, or {value: name}, or {value: (name, colour)}
    """
    if classes is None:
        return None
    if isinstance(classes, str):
        raise CatalogError(f"classes={classes!r} is one text; give a list of names, or {{value: name}}")
    if not isinstance(classes, Mapping):
        return tuple(classes)
    if any(not isinstance(v, int) or v < 0 for v in classes):
        raise CatalogError("classes are numbered from 0; map such values with a transform, or list them in ignore=")
    names = [""] * (max(classes, default=-1) + 1)
    for value, name in classes.items():
        names[value] = name if isinstance(name, str) else name[0]
    return tuple(names)
