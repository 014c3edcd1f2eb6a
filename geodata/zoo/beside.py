"""What a model input has beside images, as plain data: extra inputs and the target."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from geodata.errors import TransformError

__all__ = ["EXTRAS", "TARGETS", "Extra", "Target", "known", "listed"]

EXTRAS: dict[str, dict[str, tuple[Any, ...]]] = {
    "wavelengths": {"unit": ("um", "nm"), "form": ("tensor", "list"), "values": (), "image": ()},
    "gsd": {"value": (), "image": ()},
    "location": {"form": ("lat-lon", "lon-lat", "sincos", "xyz"), "image": ()},
    "time": {
        "form": ("year-doy", "year-doy0", "doy", "doy0", "month", "month0", "days", "week-hour-sincos"),
        "image": (),
    },
    "valid": {"form": ("bool", "float"), "image": ()},
    "band-mask": {"image": ()},
    "mask-time": {"image": ()},
    "constant": {"value": ()},
}
"""Inputs beside images, with their options and the values these may have; the first is the default, () is any."""

TARGETS = {
    "index": "label",
    "multihot": "label",
    "mask": "mask",
    "torchvision": "boxes",
    "coco": "boxes",
    "yolo": "boxes",
    "yolo-obb": "corners",
    "mmdet": "boxes",
}
"""Forms of a target, and the key of the batch that each is made from."""


def known(table: Any, names: Collection[str], where: str) -> dict[str, Any]:
    """Return a table as a dict, or raise if it is none or has other fields than the named ones.

    Raises
    ------
    TransformError
        Naming the unknown fields and those that exist.
    """
    if not isinstance(table, Mapping):
        raise TransformError(f"{where} must be a table of fields, got {table!r:.100}")
    unknown = sorted(str(name) for name in table if name not in names)
    if unknown:
        raise TransformError(f"{where} has unknown fields {', '.join(unknown)}; there are {', '.join(sorted(names))}")
    return dict(table)


def listed(value: Any, where: str) -> tuple[Any, ...]:
    """Return a list as a tuple, or raise TransformError; a text is no list of its letters."""
    if not isinstance(value, (list, tuple)):
        raise TransformError(f"{where} must be a list, got {value!r:.100}")
    return tuple(value)


@dataclass(frozen=True)
class Extra:
    """An input beside the images.

    Parameters
    ----------
    kind : one of `EXTRAS`
    options : mapping
    """

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in tuple(EXTRAS):
            raise TransformError(f"extra input {self.kind!r} is not known; there are {', '.join(EXTRAS)}")
        allowed = EXTRAS[self.kind]
        options = known(self.options, allowed, f"extra input {self.kind!r}")
        for name, choices in allowed.items():
            if choices and options.get(name, choices[0]) not in choices:
                raise TransformError(f"{self.kind}: {name} {options[name]!r} must be one of {', '.join(choices)}")
        if self.kind == "constant" and "value" not in options:
            raise TransformError("an extra input that is constant needs a value")
        object.__setattr__(self, "options", options)

    def option(self, name: str) -> Any:
        """Value of an option, its default, or None."""
        return self.options.get(name, next(iter(EXTRAS[self.kind][name]), None))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {"is": self.kind, **self.options}


@dataclass(frozen=True)
class Target:
    """What the loss of a model compares with.

    Parameters
    ----------
    form : "" or one of `TARGETS`
    key : key of the batch, if not the usual one of this form
    ignore : int, what stands for -100 in a mask
    classes : int, to make index labels multi-hot
    first : int, number of the first class of boxes; default 1 for torchvision and coco, 0 for yolo and mmdet
    """

    form: str = ""
    key: str = ""
    ignore: int = -100
    classes: int = 0
    first: int = -1

    def __post_init__(self) -> None:
        if self.form and self.form not in tuple(TARGETS):
            raise TransformError(f"target {self.form!r} is not known; there are {', '.join(TARGETS)}")
        if not isinstance(self.key, str):
            raise TransformError(f"target: key {self.key!r} must be a key of the batch")
        for name in ("ignore", "classes", "first"):
            if isinstance(getattr(self, name), bool) or not isinstance(getattr(self, name), int):
                raise TransformError(f"target: {name} {getattr(self, name)!r} must be a whole number")
        if self.form and not self.key:
            object.__setattr__(self, "key", TARGETS[self.form])
        if self.first < 0:
            object.__setattr__(self, "first", 1 if self.form in ("torchvision", "coco") else 0)

    def to_dict(self) -> Any:
        """Return the form alone, or a table where more is set."""
        usual = asdict(Target(self.form))
        rest = {k: v for k, v in asdict(self).items() if v != usual[k]}
        return {"form": self.form, **rest} if rest else self.form

    @classmethod
    def from_dict(cls, data: Any) -> Target:
        """Take back what `to_dict` gave."""
        if isinstance(data, str):
            return cls(data)
        return cls(**known(data, [item.name for item in fields(cls)], "target"))
