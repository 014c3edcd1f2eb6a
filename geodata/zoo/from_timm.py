"""Model inputs from the configuration that timm keeps of its weights."""

from __future__ import annotations

import math
from typing import Any

from geodata.errors import TransformError
from geodata.zoo.fields import ImageInput, Step
from geodata.zoo.published import RGB, plain, refuse_others
from geodata.zoo.spec import InputSpec

__all__ = ["from_timm"]

_READ = ("input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std")
_TOLD = ("architecture", "tag", "hf_hub_id")
_ELSE = (
    "url", "file", "state_dict", "hf_hub_filename", "source", "custom_load", "test_input_size", "min_input_size",
    "fixed_input_size", "test_crop_pct", "num_classes", "label_offset", "label_names", "label_descriptions", "pool_size",
    "test_pool_size", "first_conv", "classifier", "license", "description", "origin_url", "paper_name", "paper_ids", "notes",
)  # fmt: skip
"""Fields of `PretrainedCfg` that say nothing of the numbers, or only of other sizes."""


def from_timm(config: Any, *, stretch: tuple[float, float] | None = None) -> InputSpec:
    """Make an input of what timm publishes of weights.

    The recipe is that of timm's evaluation: the shorter side is resized to floor(size / crop_pct), the centre cropped,
    brightness in [0, 1] normalised. ``test_input_size`` and ``test_crop_pct`` are not used, as in timm's default.

    Parameters
    ----------
    config : mapping or object with the fields of ``pretrained_cfg``, what ``resolve_model_data_config`` gave, or a model
    stretch : (low, high) reflectance to show as 0 and 1; None takes reflectance as brightness, which is dark

    Raises
    ------
    TransformError
        On fields that are not known, other inputs than three bands, crop mode "border", or an interpolation other than
        bilinear, bicubic and nearest.

    References
    ----------
    .. [1] timm 1.0.31, data/transforms_factory.py (transforms_imagenet_eval), data/config.py (resolve_data_config),
       models/_pretrained.py (PretrainedCfg).

    Examples
    --------
    >>> spec = from_timm({"input_size": (3, 224, 224), "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "crop_pct": 0.9})
    >>> spec.images[0].size, spec.images[0].crop
    ((248, 248), (224, 224))
    """
    table = plain(getattr(config, "pretrained_cfg", config), "a configuration of timm")
    refuse_others(table, (*_READ, *_TOLD, *_ELSE), "this configuration of timm")
    if not any(name in table for name in _READ):
        raise TransformError(f"this is no configuration of timm: it has {sorted(table)}, none of {', '.join(_READ)}")
    channels, height, width = table.get("input_size") or (3, 224, 224)
    mean = tuple(table.get("mean") or (0.485, 0.456, 0.406))
    std = tuple(table.get("std") or (0.229, 0.224, 0.225))
    if (channels, len(mean), len(std)) != (3, 3, 3):
        raise TransformError(
            f"input_size {table.get('input_size')} with {len(mean)} means is not of red, green and blue, and timm names no "
            "other bands; write such an input by hand: InputSpec.from_dict"
        )
    name = ".".join(str(table[part]) for part in ("architecture", "tag") if table.get(part))
    image = ImageInput(
        "image",
        "display",
        RGB,
        stretch=stretch,
        resize=_interpolation(table.get("interpolation") or "bicubic"),
        steps=(Step("zscore", {"mean": mean, "std": std}),),
        **_sizes(height, width, table.get("crop_pct") or 0.875, table.get("crop_mode") or "center"),
    )
    return InputSpec(
        (image,), name=name, source=f"pretrained_cfg of timm, {table.get('hf_hub_id') or name}".rstrip(", ")
    )


def _sizes(height: int, width: int, crop_pct: float, mode: str) -> dict[str, Any]:
    size = math.floor(height / crop_pct), math.floor(width / crop_pct)
    if mode == "squash":
        return {"size": size, "crop": (height, width)}
    if mode != "center":
        raise TransformError(f"crop mode {mode!r} of timm is not known here; there are center and squash")
    if height != width:
        raise TransformError(f"timm's centre crop to {height} x {width} is not square; write such an input by hand")
    return {"size": size, "crop": (height, width), "fit": "short"}


def _interpolation(name: str) -> str:
    if name == "random":  # timm takes bilinear for it outside training
        return "bilinear"
    if name not in ("bilinear", "bicubic", "nearest"):
        raise TransformError(
            f"interpolation {name!r} of timm is not known here; there are bilinear, bicubic and nearest"
        )
    return name
