"""The images of a model input as plain data, and the steps on their numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from numbers import Real
from typing import Any

from geodata.bands import Band, Bands
from geodata.errors import BandsError, TransformError
from geodata.zoo.beside import known, listed

__all__ = ["UNITS", "ImageInput", "Numbers", "Step"]

UNITS = ("reflectance", "dB", "linear", "radiance", "K", "display", "raw")
"""What a model's numbers are before its factor and steps; ``display`` is brightness in [0, 1], ``raw`` is as stored."""

STEPS: dict[str, dict[str, float | None]] = {
    "zscore": {"mean": None, "std": None},
    "range": {"low": None, "high": None},
    "scale": {"multiply": 1.0, "add": 0.0},
    "clip": {"low": None, "high": None},
    "floor": {},
}
"""Operations, with the numbers each takes; None has to be given."""

RESIZES = ("bilinear", "bicubic", "nearest", "area")
LAYOUTS = "b c h w", "b h w c", "b c t h w", "b t c h w", "b t h w c", "b h w t c"

Numbers = float | tuple[float, ...]
"""One number for all bands, or one for each."""


@dataclass(frozen=True)
class Step:
    """One operation on the numbers of an image.

    Parameters
    ----------
    do : {"zscore", "range", "scale", "clip", "floor"}
        (x - mean) / std, (x - low) / (high - low), x * multiply + add, clip to [low, high], round down.
    values : {name: number for all bands, or one for each in the model's order}
    """

    do: str
    values: Mapping[str, Numbers] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.do not in tuple(STEPS):
            raise TransformError(f"step {self.do!r} is not known; there are {', '.join(STEPS)}")
        defaults = STEPS[self.do]
        given = known(self.values, defaults, f"step {self.do!r}")
        values = {name: _numbers(given.get(name, default), f"{self.do}: {name}") for name, default in defaults.items()}
        object.__setattr__(self, "values", values)
        for low, high, least in (("low", "high", None), ("", "std", 0.0)):
            if high in values and any(not a < b for a, b in _pairs(values[low] if low else least or 0.0, values[high])):
                raise TransformError(f"step {self.do!r}: {high} must be above {low or 0}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {"do": self.do, **{k: list(v) if isinstance(v, tuple) else v for k, v in self.values.items()}}


@dataclass(frozen=True)
class ImageInput:
    """One image that a model takes.

    Parameters
    ----------
    key : "image" or "image_<name>"
    unit : one of `UNITS`
    bands : in the model's order; none = any bands, in the order of the data
    sensor : name for `Bands.of_sensor`, if the bands are of one
    factor : float
        The steps begin with numbers in ``unit`` times this: Sentinel-2 "digital numbers" are reflectance * 10000.
    stretch : (low, high) reflectance that becomes 0 and 1, clipped; for unit "display" only
    size : (height, width) that images are resized to, or None
    fit : {"stretch", "short"}
        Resize both sides to ``size``, or the shorter one and keep the aspect ratio.
    resize : {"bilinear", "bicubic", "nearest", "area"}, or "" to refuse images of another size
    antialias : bool
    crop : (height, width) of a centre crop after the resize, or None
    multiple : int, height and width must be divisible by it
    missing : {"error", "zero", "mean"}
        What stands for a band that the data lack: 0 before the steps, or the z-score mean.
    layout : order of the axes, such as "b c h w"; "list c h w" is a list of single images
    steps : in order, after resize and crop
    """

    key: str
    unit: str
    bands: tuple[Band, ...] = ()
    sensor: str = ""
    factor: float = 1.0
    stretch: tuple[float, float] | None = None
    size: tuple[int, int] | None = None
    fit: str = "stretch"
    resize: str = ""
    antialias: bool = True
    crop: tuple[int, int] | None = None
    multiple: int = 1
    missing: str = "error"
    layout: str = "b c h w"
    steps: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        where = f"image {self.key!r}"
        if self.key != "image" and not (isinstance(self.key, str) and self.key.startswith("image_")):
            raise TransformError(f"{where}: the key must be 'image' or 'image_<name>'")
        for name, choices in (
            ("unit", UNITS),
            ("fit", ("stretch", "short")),
            ("resize", ("", *RESIZES)),
            ("missing", ("error", "zero", "mean")),
            ("antialias", (True, False)),
        ):
            if getattr(self, name) not in choices:
                raise TransformError(
                    f"{where}: {name} {getattr(self, name)!r} must be one of {', '.join(map(str, choices))}"
                )
        self._check_geometry(where)
        self._check_numbers(where)

    def _check_geometry(self, where: str) -> None:
        if str(self.layout).replace("list", "b", 1) not in LAYOUTS:
            raise TransformError(
                f"{where}: layout {self.layout!r} must be one of {', '.join(LAYOUTS)}, or begin with list"
            )
        for name in ("size", "crop"):
            object.__setattr__(self, name, _size(getattr(self, name), f"{where}: {name}"))
        if self.fit == "short" and not (self.size and self.crop and self.size[0] == self.size[1]):
            raise TransformError(f"{where}: fit 'short' needs one number as size, and a crop")
        if self.resize and not self.size:
            raise TransformError(f"{where}: resize {self.resize!r} needs a size")
        if self.crop and self.size and (self.crop[0] > self.size[0] or self.crop[1] > self.size[1]):
            raise TransformError(f"{where}: crop {self.crop} is larger than size {self.size}")
        if isinstance(self.multiple, bool) or not isinstance(self.multiple, int) or self.multiple < 1:
            raise TransformError(f"{where}: multiple {self.multiple!r} must be a whole number, 1 or more")
        if self.model_size and any(n % self.multiple for n in self.model_size):
            raise TransformError(f"{where}: its size {self.model_size} is not divisible by {self.multiple}")

    def _check_numbers(self, where: str) -> None:
        if not isinstance(self.factor, Real) or not (math.isfinite(self.factor) and self.factor):
            raise TransformError(f"{where}: factor {self.factor!r} must be a finite number other than 0")
        if self.stretch is not None:
            low, high = _pair(self.stretch, f"{where}: stretch")
            if self.unit != "display" or not low < high:
                raise TransformError(f"{where}: stretch {self.stretch} is (low, high) for unit 'display' only")
            object.__setattr__(self, "stretch", (low, high))
        names = [band.name for band in self.bands]
        if len(set(names)) != len(names):
            raise BandsError(
                f"{where} wants bands twice: {', '.join(sorted({n for n in names if names.count(n) > 1}))}"
            )
        if self.missing == "mean" and not any(step.do == "zscore" for step in self.steps):
            raise TransformError(f"{where}: missing 'mean' needs a zscore step; without one take 'zero' or 'error'")
        for step in self.steps:
            for name, value in step.values.items():
                if isinstance(value, tuple) and len(value) != len(names):
                    raise TransformError(
                        f"{where}: {step.do} has {len(value)} numbers as {name} for {len(names)} bands"
                    )

    @property
    def model_size(self) -> tuple[int, int] | None:
        """(height, width) that the model gets, or None for any."""
        return self.crop or self.size

    @property
    def units(self) -> tuple[str, ...]:
        """Unit of each band; a band's own goes before the image's."""
        return tuple(band.unit or self.unit for band in self.bands)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, without what is default."""
        table = {b.name: b for b in Bands.of_sensor(self.sensor)} if self.sensor else {}
        out: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name == "bands":
                value = [_band_out(band, table) for band in value]
            elif item.name == "steps":
                value = [step.to_dict() for step in value]
            elif item.name in ("size", "crop") and value is not None:
                value = value[0] if value[0] == value[1] else list(value)
            elif isinstance(value, tuple):
                value = list(value)
            if item.name in ("key", "unit") or (value != item.default and value not in ([], None)):
                out[item.name] = value
        return out

    @classmethod
    def from_dict(cls, table: Any) -> ImageInput:
        """Take back what `to_dict` gave."""
        data = known(table, [item.name for item in fields(cls)], "an image")
        for name in ("key", "unit"):
            if name not in data:
                raise TransformError(f"an image needs {name!r}, got {sorted(data)}")
        sensor = data.get("sensor", "")
        own = {b.name: b for b in Bands.of_sensor(sensor)} if sensor else {}
        data["bands"] = tuple(_band_in(row, own, sensor) for row in listed(data.get("bands", ()), "bands"))
        data["steps"] = tuple(_step_in(row) for row in listed(data.get("steps", ()), "steps"))
        return cls(**data)


def _numbers(value: Any, where: str) -> Numbers:
    if isinstance(value, (list, tuple)) and value:
        return tuple(float(_number(v, where)) for v in value)
    return float(_number(value, where))


def _number(value: Any, where: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise TransformError(f"{where} must be a finite number, or one for each band, got {value!r:.100}")
    return value


def _pairs(a: Numbers, b: Numbers) -> list[tuple[float, float]]:
    n = max(len(v) if isinstance(v, tuple) else 1 for v in (a, b))
    one, two = (v if isinstance(v, tuple) else (v,) * n for v in (a, b))
    return list(zip(one, two, strict=False))


def _pair(value: Any, where: str) -> tuple[float, float]:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise TransformError(f"{where} must be two numbers, got {value!r}")
    return float(_number(value[0], where)), float(_number(value[1], where))


def _size(value: Any, where: str) -> tuple[int, int] | None:
    if value is None:
        return None
    pair = (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, (list, tuple)) else ()
    if len(pair) != 2 or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in pair):
        raise TransformError(f"{where} {value!r} must be a number of pixels, or (height, width)")
    return pair[0], pair[1]


def _band_in(row: Any, own: Mapping[str, Band], sensor: str) -> Band:
    if isinstance(row, str):
        if sensor and row not in own:
            raise BandsError(f"{sensor} has no band {row!r}; it has {', '.join(own)}")
        return own.get(row, Band(row))
    data = known(row, [item.name for item in fields(Band)], "a band")
    if "name" not in data:
        raise BandsError(f"a band needs a name, got {row}")
    base = asdict(own[data["name"]]) if data.get("name") in own else {}
    return Band(**{**base, **data})


def _band_out(band: Band, own: Mapping[str, Band]) -> Any:
    base = own.get(band.name, Band(band.name))
    changed = {k: v for k, v in asdict(band).items() if k == "name" or v != getattr(base, k)}
    # A name alone is looked up among the sensor's, so a band that it lacks has to be a table.
    return band.name if len(changed) == 1 and (band.name in own or not own) else changed


def _step_in(row: Any) -> Step:
    data = known(row, row, "a step")
    return Step(data.pop("do", ""), data)
