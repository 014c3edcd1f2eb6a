"""Model inputs from weights of TorchGeo."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from geodata.bands import Band, Bands
from geodata.errors import TransformError
from geodata.zoo.fields import ImageInput, Step
from geodata.zoo.spec import InputSpec

__all__ = ["from_torchgeo"]

_SEQUENCES = ("Sequential", "Compose", "AugmentationSequential", "ImageSequential")
_LETTERS = {"R": "red", "G": "green", "B": "blue", "N": "nir", "NIR": "nir"}


def from_torchgeo(
    weights: Any, *, bands: Sequence[str] | None = None, unit: str | None = None, factor: float | None = None
) -> InputSpec:
    """Make an input of weights of TorchGeo: their bands, and the resize, crop and normalisation of their transforms.

    Parameters
    ----------
    weights : with ``meta`` and ``transforms``, such as ``ResNet18_Weights.SENTINEL2_ALL_MOCO``
    bands : names in the model's order, where ``meta`` has none
    unit, factor : what the transforms begin with
        TorchGeo does not say it. Left out, it is told for Sentinel-2 weights that divide by 10000 or have statistics of
        such numbers (reflectance, 10000) and for Sentinel-1 weights with negative means (dB, 1); for all others it
        must be given, ``"raw"`` for numbers as stored.

    Raises
    ------
    TransformError
        On steps other than Normalize, Resize, CenterCrop and Identity, on a Normalize between geometry that does not
        commute, on weights without bands, and where the unit is not known.

    References
    ----------
    .. [1] torchgeo 0.10.1, models/resnet.py, models/swin.py, models/vit.py: ``nn.Sequential`` of torchvision's transforms;
       earlier versions use kornia's, whose parameters are read too.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from torch import nn
    >>> weights = SimpleNamespace(meta={"bands": ["R", "G", "B"]}, transforms=nn.Identity())
    >>> from_torchgeo(weights, unit="raw").images[0].bands[0]
    Band(name='R', common_name='red', wavelength=None, fwhm=None, gsd=None, unit=None, scale=1.0, offset=0.0)
    """
    meta = getattr(weights, "meta", None)
    if not isinstance(meta, Mapping) or not hasattr(weights, "transforms"):
        raise TransformError(f"weights of TorchGeo have meta and transforms, {type(weights).__name__} does not")
    title = f"{type(weights).__name__}.{getattr(weights, 'name', '')}".rstrip(".")
    names = list(bands if bands is not None else meta.get("bands") or ())
    if not names:
        raise TransformError(f"{title} says nothing of its bands; give them in the model's order: bands=[...]")
    if bands is None and meta.get("in_chans", len(names)) != len(names):
        raise TransformError(f"{title} has {meta['in_chans']} channels and {len(names)} bands: {', '.join(names)}")
    sizes, steps = _read(_flat(weights.transforms), len(names), title)
    sensor = "sentinel-2" if "SENTINEL2" in title and "MI_" not in title else ""
    if unit is None:
        unit, factor = _unit(title, steps)
    image = ImageInput(
        "image",
        unit,
        tuple(_bands(names, sensor)),
        sensor=sensor,
        factor=1.0 if factor is None else factor,
        steps=tuple(steps),
        **sizes,
    )
    return InputSpec((image,), name=title, source=f"{title} of torchgeo")


def _bands(names: Sequence[str], sensor: str) -> Iterable[Band]:
    if not sensor:
        return [Band(name, _LETTERS.get(name.upper())) for name in names]
    table = Bands.of_sensor(sensor)
    named = Bands(Band(name, _LETTERS.get(name.upper())) for name in names)
    found = table.match(named, strict=True)
    return [table[i] for i in found if i is not None]


def _unit(title: str, steps: Sequence[Step]) -> tuple[str, float]:
    first = steps[0].values if steps else {}
    mean = _all(first.get("mean", ()))
    if "SENTINEL2" in title and (max(mean, default=0.0) > 255 or first.get("multiply") == 1e-4):
        return "reflectance", 10000.0
    if "SENTINEL1" in title and mean and max(mean) < 0:
        return "dB", 1.0
    raise TransformError(
        f"TorchGeo does not say what numbers {title} begins with: give unit= and factor=, for example unit='raw' for "
        "numbers as stored, or unit='display', factor=255"
    )


def _flat(step: Any) -> list[Any]:
    """The steps of nested sequences, in order."""
    if type(step).__name__ not in _SEQUENCES:
        return [step]
    inner = getattr(step, "_modules", None) or step.transforms
    children = inner.values() if isinstance(inner, Mapping) else inner
    return [part for child in children for part in _flat(child)]


def _read(parts: Sequence[Any], count: int, title: str) -> tuple[dict[str, Any], list[Step]]:
    sizes: dict[str, Any] = {}
    steps: list[Step] = []
    for part in parts:
        kind = type(part).__name__
        # torchvision keeps parameters as attributes, kornia in a dict of flags
        flags = {**vars(part), **getattr(part, "flags", {})}
        if kind == "Identity":
            continue
        if kind == "Normalize":
            mean, std = (_all(flags[name]) for name in ("mean", "std"))
            if any(len(v) not in (1, count) for v in (mean, std)):
                raise TransformError(f"{title} has {len(mean)} means for {count} bands")
            values = {"mean": mean[0] if len(mean) == 1 else mean, "std": std[0] if len(std) == 1 else std}
            steps.append(
                Step("zscore", values) if set(mean) != {0.0} else Step("scale", {"multiply": _inverse(values["std"])})
            )
        elif kind == "Resize" and "crop" not in sizes and "size" not in sizes:
            sizes |= _resize(flags, title)
        elif kind == "CenterCrop" and "crop" not in sizes:
            sizes["crop"] = _pair(flags["size"])
        else:
            raise TransformError(f"{title} has a step {kind} that an input cannot do here: {part!r:.200}")
    if sizes.get("fit") == "short" and "crop" not in sizes:
        raise TransformError(
            f"{title} resizes the shorter side and crops nothing: images of a batch would differ in size"
        )
    return sizes, steps


def _resize(flags: Mapping[str, Any], title: str) -> dict[str, Any]:
    mode = flags.get("interpolation", flags.get("resample"))
    name = str(
        getattr(mode, "value", mode) if isinstance(getattr(mode, "value", mode), str) else getattr(mode, "name", mode)
    )
    if flags.get("max_size") is not None:
        raise TransformError(f"{title} has a Resize with max_size, which an input cannot do")
    size = flags["size"]
    one = isinstance(size, int) or len(size) == 1
    out = {"resize": name.lower(), "antialias": bool(flags.get("antialias", True)), "size": _pair(size)}
    return {**out, "fit": "short"} if one else out


def _pair(size: Any) -> tuple[int, int]:
    numbers = (size, size) if isinstance(size, int) else tuple(size) * (2 if len(size) == 1 else 1)
    return int(numbers[0]), int(numbers[1])


def _all(value: Any) -> tuple[float, ...]:
    value = value.tolist() if hasattr(value, "tolist") else value
    return tuple(float(v) for v in value) if isinstance(value, (list, tuple)) else (float(value),)


def _inverse(std: Any) -> Any:
    return tuple(1 / v for v in std) if isinstance(std, tuple) else 1 / std
