"""What a model takes, as plain data: `InputSpec`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from geodata.bands import Bands
from geodata.errors import TransformError
from geodata.zoo import toml
from geodata.zoo.beside import Extra, Target, known, listed
from geodata.zoo.fields import ImageInput

if TYPE_CHECKING:
    from geodata.zoo.bind import BoundInput

__all__ = ["InputSpec", "ModelInput", "missing", "presets"]


class ModelInput(NamedTuple):
    """What a model is called with: ``model(*ready.args, **ready.kwargs)``.

    ``target`` is None unless the spec has a form of it and the batch its key.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    target: Any = None


@dataclass(frozen=True, repr=False)
class InputSpec:
    """What a model takes: bands, units, normalisation, size, further inputs. Plain data, no tensors.

    It is read from a preset, a TOML file, or from what a model zoo publishes; `bind` makes a module of it that
    turns batches into `ModelInput`.

    Parameters
    ----------
    images : one `ImageInput` for each image
    name, title, source, notes : str
        ``source`` names file and version that the numbers were read in.
    target : Target, or the name of its form
    extras : {name: Extra}, further inputs
    args, kwargs : what the model is called with
        A text is the key of an image or the name of an extra; a mapping becomes a dict of such. Without either,
        ``args`` are the images in order.

    Raises
    ------
    TransformError
        On fields that are unknown, contradict each other, or name inputs that do not exist.

    Examples
    --------
    >>> spec = InputSpec.from_dict({
    ...     "name": "small",
    ...     "images": [{"key": "image", "sensor": "sentinel-2", "bands": ["B04", "B08"], "unit": "reflectance"}],
    ... })
    >>> spec
    InputSpec('small'; image: B04, B08, reflectance, any size)
    >>> spec.images[0].bands[1].wavelength
    832.8
    >>> InputSpec.from_toml(spec.to_toml()) == spec
    True
    """

    images: tuple[ImageInput, ...]
    name: str = ""
    title: str = ""
    source: str = ""
    notes: str = ""
    target: Target = field(default_factory=Target)
    extras: Mapping[str, Extra] = field(default_factory=dict)
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.target, str):
            object.__setattr__(self, "target", Target(self.target))
        for name in ("name", "title", "source", "notes"):
            if not isinstance(getattr(self, name), str):
                raise TransformError(f"{name} of a model input must be text, got {getattr(self, name)!r:.60}")
        keys = [image.key for image in self.images]
        if not keys or len(set(keys)) != len(keys):
            raise TransformError(f"a model input needs one or more images of different keys, got {keys}")
        if not self.args and not self.kwargs:
            object.__setattr__(self, "args", tuple(keys))
        self._check_names(set(keys))

    def _check_names(self, keys: set[str]) -> None:
        clash = keys & set(self.extras)
        if clash:
            raise TransformError(f"extras and images have the same names: {', '.join(sorted(clash))}")
        used = set(_names([list(self.args), dict(self.kwargs)]))
        unknown = used - keys - set(self.extras)
        unused = (keys | set(self.extras)) - used
        if unknown or unused:
            what = "names what does not exist" if unknown else "leaves out"
            raise TransformError(
                f"the call of {self.name or 'this input'} {what}: {', '.join(sorted(unknown or unused))}; "
                f"images are {', '.join(sorted(keys))}, extras {', '.join(sorted(self.extras)) or 'none'}"
            )
        for name, extra in self.extras.items():
            if extra.options.get("image", next(iter(keys))) not in keys:
                raise TransformError(f"extra input {name!r} is of {extra.options['image']!r}, which is no image here")

    def __repr__(self) -> str:
        images = []
        for image in self.images:
            names = [band.name for band in image.bands]
            listed = ", ".join(names[:4]) + (f", ... ({len(names)})" if len(names) > 4 else "") or "any bands"
            size = "{} x {}".format(*image.model_size) if image.model_size else "any size"
            images.append(f"{image.key}: {listed}, {image.unit}, {size}")
        return f"InputSpec({self.name!r}; {'; '.join(images)})"

    def bind(self, bands: Bands | Mapping[str, Any]) -> BoundInput:
        """Return a module that turns batches of these bands into `ModelInput`.

        Parameters
        ----------
        bands : Bands of the one image, {key: Bands}, or a sample or batch, whose bands are taken
            With unit and state, as datasets have them. A model of one image takes any image: with ``{"image_s1": bands}``
            it is given ``image_s1`` of the batches.

        Raises
        ------
        BandsError
            If bands are missing or of another unit; a table says what was wanted, found, and what to do.
        """
        from geodata.zoo.bind import BoundInput

        return BoundInput(self, bands)

    def check(self, batch: Mapping[str, Any]) -> list[str]:
        """Return in words what looks wrong with a batch for this model; an empty list if nothing does.

        Never raises on a bad batch: what `bind` or the call would refuse is among the sentences. The rules are those of
        `geodata.zoo.check`.
        """
        from geodata.zoo.check import check

        return check(self, batch)

    def stretched(self, low: float, high: float) -> InputSpec:
        """Return the input with reflectance of ``low`` to ``high`` shown as brightness of 0 to 1, and clipped.

        For models of photographs: reflectance as it is makes a dark picture.

        Raises
        ------
        TransformError
            If no image is of unit "display".
        """
        if not any(image.unit == "display" for image in self.images):
            raise TransformError(f"no image of {self.name or 'this input'} has unit 'display': nothing to stretch")
        images = (replace(i, stretch=(low, high)) if i.unit == "display" else i for i in self.images)
        return replace(self, images=tuple(images))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON or TOML, without what is default."""
        out: dict[str, Any] = {k: v for k in ("name", "title", "source", "notes") if (v := getattr(self, k))}
        if self.target.form:
            out["target"] = self.target.to_dict()
        out["images"] = [image.to_dict() for image in self.images]
        if self.extras:
            out["extras"] = {name: extra.to_dict() for name, extra in self.extras.items()}
        if self.kwargs or self.args != tuple(image.key for image in self.images):
            out["call"] = {"args": list(self.args), "kwargs": dict(self.kwargs)}
        return out

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> InputSpec:
        """Take back what `to_dict` gave.

        Raises
        ------
        TransformError
            On unknown fields, naming them.
        """
        names = [item.name for item in fields(cls) if item.name not in ("args", "kwargs")]
        table = known(data, [*names, "call"], "a model input")
        call = known(table.pop("call", {}), ("args", "kwargs"), "call")
        if not isinstance(table.get("images"), (list, tuple)):
            raise TransformError("a model input needs images: a list with at least one")
        extras, kwargs = table.get("extras", {}), call.get("kwargs", {})
        table["images"] = tuple(ImageInput.from_dict(row) for row in table["images"])
        table["target"] = Target.from_dict(table.get("target", ""))
        table["extras"] = {name: _extra(name, row) for name, row in known(extras, extras, "extras").items()}
        return cls(**table, args=listed(call.get("args", ()), "call.args"), kwargs=known(kwargs, kwargs, "call.kwargs"))

    def to_toml(self) -> str:
        """Return the spec as TOML text."""
        return toml.dumps(self.to_dict())

    @classmethod
    def from_toml(cls, text: str | Path) -> InputSpec:
        """Read TOML text, or a file given as a Path."""
        if isinstance(text, Path):
            text = text.read_text(encoding="utf-8")
        try:
            return cls.from_dict(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise TransformError(f"this is no TOML: {error}; a file is given as a Path") from None

    @classmethod
    def preset(cls, name: str) -> InputSpec:
        """Return a model input that comes with the package; `presets` lists the names.

        Raises
        ------
        TransformError
            If there is none of that name; for a model whose numbers no source confirms, the message says so.
        """
        if name in presets():
            return cls.from_toml(_folder().joinpath(f"{name}.toml").read_text(encoding="utf-8"))
        if name in missing():
            raise TransformError(f"{name!r} is known but does not come with the package: {missing()[name]}")
        alike = presets(f"*{name}*")
        raise TransformError(
            f"no model input {name!r}; {'alike' if alike else 'there'} are {', '.join(alike or presets())}"
        )

    @classmethod
    def from_timm(cls, config: Any, **given: Any) -> InputSpec:
        """Make an input of the ``pretrained_cfg`` of a timm model; see `geodata.zoo.from_timm`."""
        from geodata.zoo.from_timm import from_timm

        return from_timm(config, **given)

    @classmethod
    def from_torchgeo(cls, weights: Any, **given: Any) -> InputSpec:
        """Make an input of weights of TorchGeo; see `geodata.zoo.from_torchgeo`."""
        from geodata.zoo.from_torchgeo import from_torchgeo

        return from_torchgeo(weights, **given)

    @classmethod
    def from_hf(cls, processor: Any, **given: Any) -> InputSpec:
        """Make an input of an image processor of transformers; see `geodata.zoo.from_hf`."""
        from geodata.zoo.from_hf import from_hf

        return from_hf(processor, **given)

    @classmethod
    def from_clay(cls, metadata: Mapping[str, Any], platform: str, **given: Any) -> InputSpec:
        """Make an input of Clay's ``configs/metadata.yaml``; see `geodata.zoo.from_clay`."""
        from geodata.zoo.from_clay import from_clay

        return from_clay(metadata, platform, **given)

    @classmethod
    def from_stac_mlm(cls, item: Any, **given: Any) -> InputSpec:
        """Make an input of a STAC item with the model extension; see `geodata.zoo.from_stac_mlm`."""
        from geodata.zoo.from_stac_mlm import from_stac_mlm

        return from_stac_mlm(item, **given)


def presets(pattern: str = "*") -> list[str]:
    """Return the names of the model inputs that come with the package.

    Parameters
    ----------
    pattern : with ``*`` and ``?``
    """
    return [name for name in _stems() if fnmatchcase(name, pattern)]


def missing() -> dict[str, str]:
    """Return the models that are known but do not come with the package, and why."""
    path = _folder().joinpath("_missing.toml")
    return dict(tomllib.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _folder() -> Any:
    return resources.files("geodata").joinpath("data").joinpath("models")


@lru_cache(maxsize=1)
def _stems() -> tuple[str, ...]:
    files = [p.name for p in _folder().iterdir()] if _folder().is_dir() else []
    return tuple(sorted(m[1] for f in files if (m := re.fullmatch(r"([a-z0-9][a-z0-9.-]*)\.toml", f))))


def _names(part: Any) -> list[str]:
    """Every name that a part of the call uses."""
    if isinstance(part, str):
        return [part]
    if isinstance(part, Mapping):
        part = list(part.values())
    if not isinstance(part, (list, tuple)):
        raise TransformError(f"the call is made of names of inputs and tables of such, not of {part!r:.60}")
    return [name for item in part for name in _names(item)]


def _extra(name: str, row: Any) -> Extra:
    if not isinstance(row, Mapping) or "is" not in row:
        raise TransformError(
            f"extra input {name!r} must be a table that says what it is: {{is = 'gsd'}}, got {row!r:.60}"
        )
    return Extra(row["is"], {k: v for k, v in row.items() if k != "is"})
