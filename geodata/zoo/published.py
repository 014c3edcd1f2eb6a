"""Shared by the modules that read what model zoos publish, whose objects are told by their fields alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from geodata.bands import Band
from geodata.errors import TransformError

__all__ = ["RGB", "plain", "refuse_others", "refuse_set"]

RGB = (Band("red", "red"), Band("green", "green"), Band("blue", "blue"))
"""Bands of models for photographs."""


def plain(source: Any, who: str) -> dict[str, Any]:
    """Return the fields of a mapping, or of an object with ``to_dict`` or attributes.

    Raises
    ------
    TransformError
        If it has no fields at all.
    """
    if isinstance(source, Mapping):
        return dict(source)
    to_dict = getattr(source, "to_dict", None)
    if callable(to_dict) and not isinstance(source, type):
        return dict(to_dict())
    if isinstance(source, type) or not hasattr(source, "__dict__"):
        raise TransformError(f"{who} is read from a mapping or an object with its fields, got {type(source).__name__}")
    return {k: v for k, v in vars(source).items() if not k.startswith("_")}


def refuse_others(table: Mapping[str, Any], names: Collection[str], who: str) -> None:
    """Raise if a table has fields that are not read, naming them."""
    others = sorted(name for name in table if name not in names)
    if others:
        raise TransformError(
            f"{who} has fields whose meaning is not known here: {', '.join(others)}; take them out if they do not change "
            "the numbers or the size, or write the input by hand: InputSpec.from_dict"
        )


def refuse_set(table: Mapping[str, Any], names: Collection[str], who: str) -> None:
    """Raise if something is switched on that an input cannot do, naming it."""
    on = [f"{name}={table[name]!r}" for name in names if table.get(name)]
    if on:
        raise TransformError(f"{who} asks for {', '.join(on)}, which an input cannot do; write the rest by hand")
