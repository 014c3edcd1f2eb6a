"""Model inputs from image processors of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geodata.errors import TransformError
from geodata.zoo.fields import ImageInput, Step
from geodata.zoo.published import RGB, plain, refuse_others, refuse_set
from geodata.zoo.spec import InputSpec

__all__ = ["from_hf"]

_READ = (
    "do_resize", "size", "resample", "do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std",
    "do_center_crop", "crop_size",
)  # fmt: skip
_ELSE = (
    "image_processor_type", "feature_extractor_type", "processor_class", "do_convert_rgb", "default_to_square",
    "data_format", "input_data_format", "device", "return_tensors", "disable_grouping", "image_seq_length", "pad_size",
    "_valid_processor_keys", "_processor_class", "auto_map", "model_input_names",
)  # fmt: skip
_CANNOT = ("do_pad", "do_reduce_labels", "crop_pct", "do_color_quantize", "do_flip_channel_order", "rescale_offset")
_RESAMPLE = {0: "nearest", 2: "bilinear", 3: "bicubic"}
"""Numbers of PIL.Image.Resampling; 1, 4 and 5 are Lanczos, box and Hamming."""


def from_hf(processor: Any, *, stretch: tuple[float, float] | None = None) -> InputSpec:
    """Make an input of an image processor.

    Processors take numbers of 0 to 255; the input makes these of brightness. The image is given as ``pixel_values``.

    Parameters
    ----------
    processor : image processor, what its ``to_dict`` gives, or the content of ``preprocessor_config.json``
    stretch : (low, high) reflectance to show as 0 and 1; None takes reflectance as brightness, which is dark

    Raises
    ------
    TransformError
        On fields that are not known, or that pad, reduce labels, or resize to a shortest edge without a crop.

    References
    ----------
    .. [1] transformers 5.23.0, image_processing_backends.py (TorchvisionBackend._preprocess) and processing_utils.py
       (ImagesKwargs). Centre crops of an odd rest start one pixel further there if half of it rounds up.

    Examples
    --------
    >>> spec = from_hf({"do_resize": True, "size": {"height": 224, "width": 224}, "resample": 2, "do_rescale": True,
    ...     "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3})
    >>> spec.kwargs, spec.images[0].size
    ({'pixel_values': 'image'}, (224, 224))
    """
    table = plain(processor, "an image processor")
    who = "this image processor"
    refuse_others(table, (*_READ, *_ELSE, *_CANNOT), who)
    refuse_set(table, _CANNOT, who)
    if not any(name in table for name in ("do_rescale", "do_normalize", "do_resize")):
        raise TransformError(f"this is no image processor: it has {sorted(table)}, none of {', '.join(_READ)}")
    steps: tuple[Step, ...] = ()
    if table.get("do_normalize"):
        mean, std = (_three(table.get(name), name) for name in ("image_mean", "image_std"))
        steps = (Step("zscore", {"mean": mean, "std": std}),)
    factor = 255.0 * (float(table.get("rescale_factor") or 1 / 255) if table.get("do_rescale") else 1.0)
    image = ImageInput("image", "display", RGB, factor=factor, stretch=stretch, steps=steps, **_sizes(table))
    name = str(table.get("image_processor_type") or type(processor).__name__)
    return InputSpec((image,), name=name, source=f"{name} of transformers", kwargs={"pixel_values": "image"})


def _sizes(table: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if table.get("do_center_crop"):
        out["crop"] = _pair(table.get("crop_size"), "crop_size")
    if not table.get("do_resize"):
        return out
    resample = table.get("resample", 2)
    number = int(getattr(resample, "value", resample))
    if number not in _RESAMPLE:
        raise TransformError(f"resample {resample!r} is not known here; there are 0 nearest, 2 bilinear, 3 bicubic")
    out["resize"] = _RESAMPLE[number]
    size = _edges(table.get("size"))
    if set(size) == {"shortest_edge"}:
        if "crop" not in out:
            raise TransformError(
                "size has a shortest_edge and nothing is cropped: images of a batch would differ in size"
            )
        return {**out, "size": size["shortest_edge"], "fit": "short"}
    return {**out, "size": _pair(size, "size")}


def _edges(size: Any) -> dict[str, int]:
    if isinstance(size, int):
        return {"height": size, "width": size}
    table = size if isinstance(size, Mapping) else getattr(size, "__dict__", {})
    return {str(k): int(v) for k, v in table.items() if v is not None}


def _pair(size: Any, name: str) -> tuple[int, int]:
    edges = _edges(size)
    if set(edges) != {"height", "width"}:
        raise TransformError(f"{name} must have height and width, got {size!r}")
    return edges["height"], edges["width"]


def _three(value: Any, name: str) -> tuple[float, ...]:
    numbers = (float(value),) * 3 if isinstance(value, (int, float)) else tuple(map(float, value or ()))
    if len(numbers) != 3:
        raise TransformError(f"{name} must be three numbers, for red, green and blue, got {value!r}")
    return numbers
