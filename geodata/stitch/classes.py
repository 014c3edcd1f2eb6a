"""Classes of a map: which channel of scores is which value, name and colour."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from geodata.errors import DtypeError, ModelOutputError, QueryError

__all__ = ["ClassTable", "Classes"]

Classes = Sequence[Any] | Mapping[int, Any]
"""Names in order of their values, or value -> name; instead of a name also (name, "#rrggbb")."""

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True, slots=True)
class ClassTable:
    """Which class a channel of scores stands for: its value in the map, its name and its colour.

    Parameters
    ----------
    values : (K,) int in [0, 65534], the value written for channel k
    names : (K,) str
    colours : (K,) (red, green, blue, alpha) in [0, 255]

    Examples
    --------
    >>> table = ClassTable.parse(["water", ("forest", "#006400")], channels=2)
    >>> table.values, table.names, table.colours[1], table.dtype, table.nodata
    ((0, 1), ('water', 'forest'), (0, 100, 0, 255), 'uint8', 255)
    """

    values: tuple[int, ...]
    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int, int], ...]

    @classmethod
    def parse(cls, classes: Classes, *, channels: int) -> ClassTable:
        """Match what users write with the channels of a model.

        Parameters
        ----------
        classes : sequence of names, or mapping value -> name; a name may be (name, "#rrggbb")
            A sequence names channels 0, 1, ... A mapping with one entry per channel has to list its values in
            ascending order: channel k is written as the k-th value. A mapping with fewer entries names some of
            the channels, and channel k is written as k.
        channels : int >= 2

        Raises
        ------
        ModelOutputError
            If the channels cannot be matched with the classes.
        DtypeError
            If a value is no whole number in [0, 65534].
        QueryError
            If a name or colour is not one.
        """
        if isinstance(classes, str) or not isinstance(classes, (Sequence, Mapping)):
            raise QueryError(f"classes={classes!r} must be a sequence of names, or a mapping from value to name")
        named = dict(classes) if isinstance(classes, Mapping) else dict(enumerate(classes))
        entries = {_class_value(value): _class_entry(entry) for value, entry in named.items()}
        values = _match(tuple(entries), channels, exact=not isinstance(classes, Mapping))
        filled = [entries.get(v, (f"class {v}", None)) for v in values]
        colours = tuple(_rgba(colour) if colour else _own_colour(k) for k, (_, colour) in enumerate(filled))
        return cls(values, tuple(name for name, _ in filled), colours)

    @property
    def dtype(self) -> str:
        """``uint8`` while every value is below 255, else ``uint16``."""
        return "uint8" if max(self.values) < 255 else "uint16"

    @property
    def nodata(self) -> int:
        """The value of pixels without a class: 255 or 65535."""
        return 255 if self.dtype == "uint8" else 65535

    @property
    def by_value(self) -> list[str]:
        """Names at the index of their value, "" where no class has that value; GDAL's category names."""
        names = [""] * (max(self.values) + 1)
        for value, name in zip(self.values, self.names, strict=True):
            names[value] = name
        return names


def _match(values: tuple[int, ...], channels: int, *, exact: bool) -> tuple[int, ...]:
    """Return the map value of every channel."""
    if channels < 2:
        raise ModelOutputError(
            f"the model returned {channels} channel for a map of classes; the highest of at least 2 scores wins. For a "
            "binary model that returns one logit y give postprocess=lambda y: torch.cat([-y, y], 1)"
        )
    if len(values) == channels:
        if list(values) != sorted(values):
            raise ModelOutputError(
                f"classes list the values {values} out of order, so it is unclear which of the {channels} channels "
                "each one is; list them in ascending order: channel k is written as the k-th value"
            )
        return values
    if exact or not values or max(values) >= channels:
        raise ModelOutputError(
            f"the model returned {channels} channels, classes name {len(values)} values"
            f"{f' up to {max(values)}' if values else ''}; give one class per channel"
        )
    return tuple(range(channels))


def _class_value(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 0 <= value <= 65534:
        raise DtypeError(f"class value {value!r} must be a whole number from 0 to 65534")
    return int(value)


def _class_entry(entry: Any) -> tuple[str, str | None]:
    name, colour = (entry, None) if isinstance(entry, str) else (tuple(entry) if np.iterable(entry) else (entry, 0))
    if not isinstance(name, str) or not (colour is None or (isinstance(colour, str) and _COLOUR.fullmatch(colour))):
        raise QueryError(f'class {entry!r} must be a name, or (name, "#rrggbb")')
    return name, colour


def _rgba(colour: str) -> tuple[int, int, int, int]:
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue, 255


def _own_colour(index: int) -> tuple[int, int, int, int]:
    # Steps of the golden angle keep neighbours in the list far apart in hue, however many classes there are.
    hue = (0.58 + index * 0.6180339887498949) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, (0.75, 0.5, 0.9)[index % 3], (0.85, 0.95, 0.6)[index % 3])
    return round(red * 255), round(green * 255), round(blue * 255), 255
