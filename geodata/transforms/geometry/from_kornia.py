"""Operations of kornia that are safe on any number of channels and any unit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from geodata.bands import STATES, Bands
from geodata.errors import MissingDependencyError, TransformError
from geodata.transforms.base import Needs, check_seed
from geodata.transforms.draws import Draws
from geodata.transforms.image import ImageTransform, valid_of
from geodata.transforms.layout import is_batch

__all__ = ["FromKornia"]

_BLURS = ("RandomBoxBlur", "RandomGaussianBlur", "RandomMotionBlur")
"""Sums of neighbours with weights that do not depend on them."""

_SCALES = ("RandomBrightness", "RandomContrast")
"""These add or multiply numbers of the order of 1, and clamp to [0, 1] unless told not to."""

_PLAIN = ("RandomChannelDropout", "RandomErasing", "RandomGaussianNoise")

_OURS = {
    "CenterCrop": "T.CenterCrop",
    "Normalize": "T.Normalize",
    "PadTo": "T.Pad",
    "RandomAffine": "T.RandomAffine",
    "RandomCrop": "T.RandomCrop",
    "RandomHorizontalFlip": "T.RandomFlip(axes=['horizontal'])",
    "RandomResizedCrop": "T.RandomResizedCrop",
    "RandomRotation": "T.RandomAffine(degrees=...)",
    "RandomRotation90": "T.RandomRotate90",
    "RandomShear": "T.RandomAffine(shear=...)",
    "RandomTranslate": "T.RandomAffine(translate=...)",
    "RandomVerticalFlip": "T.RandomFlip(axes=['vertical'])",
    "Resize": "T.Resize",
}

_CLAMPS = (
    *("ColorJiggle", "ColorJitter", "RandomAutoContrast", "RandomClahe", "RandomEqualize", "RandomGamma"),
    *("RandomGaussianIllumination", "RandomLinearCornerIllumination", "RandomLinearIllumination"),
    *("RandomPlasmaBrightness", "RandomPlasmaContrast", "RandomPlasmaShadow", "RandomPosterize"),
    *("RandomSharpness", "RandomSolarize"),
)

_STRAYS = ("RandomElasticTransform", "RandomFisheye", "RandomJigsaw", "RandomPerspective", "RandomThinPlateSpline")

_DRAWS = (torch.bernoulli, torch.normal, torch.rand, torch.randint, torch.randn, torch.randperm)
"""With what the operations above draw random numbers."""


class FromKornia(ImageTransform):
    """Apply one augmentation of kornia to one image.

    Only those can be had that were checked: they take any number of channels, clamp nothing, leave pixels where
    they are and bands in their order. Each sample is treated alone, with random numbers of its own: torch's global generator
    is neither used nor changed. All dates of a series are treated alike.

    Blurs take valid pixels alone: each has its weight, and the edge darkens nothing. Invalid pixels stay as they are. A
    NaN in a valid pixel spreads as far as the blur reaches. Half floats are calculated in float32.

    Parameters
    ----------
    name : class of `kornia.augmentation`
        RandomBoxBlur, RandomChannelDropout, RandomErasing, RandomGaussianBlur, RandomGaussianNoise, RandomMotionBlur;
        and, on reflectance or normalised numbers, RandomBrightness and RandomContrast with ``clip_output=False``.
    params : its arguments as plain JSON data, with ``p``; None for kornia's defaults
    key : "image" or "image_<name>"
    seed : int in [0, 2**63)

    Raises
    ------
    TransformError
        If the operation is not among these (the message says why, and what to take instead), or does not take the
        parameters; on an image of integers, or in a state that the operation is not for.
    MissingDependencyError
        If kornia is not installed.

    Examples
    --------
    >>> import torch
    >>> from geodata.bands import Bands
    >>> noise = FromKornia("RandomGaussianNoise", {"std": 0.1, "p": 1.0})
    >>> sample = {"key": "a", "draw": torch.tensor([0, 0]), "image": torch.zeros(1, 2, 2), "bands": Bands(["B08"])}
    >>> noise(sample)["image"].shape
    torch.Size([1, 2, 2])
    """

    def __init__(
        self, name: str, params: Mapping[str, Any] | None = None, *, key: str = "image", seed: int = 0
    ) -> None:
        super().__init__(key)
        self.reads = (*self.reads, "draw", "key")
        self.writes = (self.key,)
        self.name = _check_name(name)
        self.params = _check_params(name, {} if params is None else params)
        self.seed = check_seed(seed)
        self.needs = Needs(floating=True, states=("reflectance", "normalised") if name in _SCALES else STATES)
        self._operation()

    def change(self, image: Tensor, bands: Bands, batch: Mapping[str, Any], draws: Draws) -> tuple[Tensor, Bands]:
        """Treat one sample after the other."""
        operation = self._operation()
        many = is_batch(batch)
        images = image if many else image[None]
        valid = valid_of(batch, self.key)
        valids = None if valid is None else valid if many else valid[None]
        out = torch.empty_like(images)
        for i, generator in enumerate(self.generators(batch, draws, torch.device("cpu"))):
            with _Drawing(generator.initial_seed()):
                out[i] = self._one(operation, images[i], None if valids is None else valids[i])
        return out if many else out[0], bands

    def _one(self, operation: Any, image: Tensor, valid: Tensor | None) -> Tensor:
        flat = image.reshape(-1, *image.shape[-3:])
        flat = flat.float() if image.dtype in (torch.float16, torch.bfloat16) else flat
        if self.name not in _BLURS:
            new = operation(flat)
            seen = None if valid is None else valid.reshape(-1, 1, *valid.shape[-2:])
            return (new if seen is None else torch.where(seen, new, flat)).reshape(image.shape).to(image.dtype)
        kernel = self.params.get("kernel_size", 3)
        if max(np.atleast_1d(kernel)) // 2 >= min(flat.shape[-2:]):
            raise TransformError(
                f"{self.key!r} is {flat.shape[-2]} x {flat.shape[-1]} pixels, too small for the kernel {kernel} of {self.name}"
            )
        seen = flat.new_ones((len(flat), 1, *flat.shape[-2:]), dtype=torch.bool)
        if valid is not None:
            seen = valid.reshape(seen.shape)
        both = operation(torch.cat([flat.masked_fill(~seen, 0), seen.to(flat.dtype)], dim=1))
        share = both[:, -1:]
        # A kernel that lies to one side of its pixel may see nothing valid: then nothing is known better.
        kept = seen & (share > 1e-3)
        return torch.where(kept, both[:, :-1] / share.clamp(min=1e-3), flat).reshape(image.shape).to(image.dtype)

    def _operation(self) -> Any:
        arguments = {k: tuple(v) if isinstance(v, list) else v for k, v in self.params.items()}
        try:
            return getattr(_kornia(), self.name)(**arguments, same_on_batch=True)
        except Exception as error:  # kornia checks its arguments by exceptions of many kinds
            if isinstance(error, MissingDependencyError):
                raise
            raise TransformError(f"kornia's {self.name} does not take {self.params!r}: {error}") from None

    def config(self) -> dict[str, Any]:
        """Return name, params, key and seed."""
        return {"name": self.name, "params": self.params, "key": self.key, "seed": self.seed}

    @property
    def effect(self) -> str:
        """Which operation."""
        return f"{self.key}: {self.name}"


def _check_name(name: Any) -> str:
    allowed = sorted((*_BLURS, *_SCALES, *_PLAIN))
    if name in allowed:
        return str(name)
    if name in _OURS:
        why = f"moves or scales one image without its masks, boxes and grid; take {_OURS[name]}"
    elif name in _STRAYS:
        why = "moves pixels in a way that no grid can follow; T.RandomAffine is the nearest that one can"
    elif name in _CLAMPS:
        why = "clamps to [0, 1], which ruins reflectance above 1, decibels and normalised numbers"
    elif name == "RandomChannelShuffle":
        why = "gives bands the numbers of others while their names stay"
    else:
        why = "is none that was checked on any number of channels"
    raise TransformError(f"kornia's {name!r} {why}. FromKornia takes {', '.join(allowed)}")


def _check_params(name: str, params: Any) -> dict[str, Any]:
    try:
        plain = json.loads(json.dumps(params, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise TransformError(f"params of {name} must be plain JSON data: {error}") from None
    if not isinstance(plain, dict):
        raise TransformError(f"params of {name} must be a mapping name -> value, got {type(params).__name__}")
    fixed = sorted({"same_on_batch", "keepdim"} & set(plain))
    if fixed:
        raise TransformError(f"{fixed[0]} is decided here: samples differ, the dates of one do not; leave it out")
    if name in _SCALES and plain.get("clip_output", True) is not False:
        raise TransformError(
            f"kornia's {name} clamps to [0, 1], which ruins reflectance above 1 and normalised numbers; add "
            "'clip_output': False to params"
        )
    return plain


class _Drawing(TorchFunctionMode):
    """Lets what kornia draws come from generators of its own.

    kornia takes no generator. The global one belongs to the whole process: to seed it would give random numbers that depend
    on the other threads of a loader, and change those of a model that trains meanwhile. A mode holds in its thread alone.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed
        self._known: dict[torch.device, torch.Generator] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        more = {} if kwargs is None else kwargs
        if func not in _DRAWS:
            return func(*args, **more)
        device = (
            args[0].device
            if args and isinstance(args[0], Tensor)
            else torch.device(more.get("device") or torch.get_default_device())
        )
        if device not in self._known:
            self._known[device] = torch.Generator(device).manual_seed(self._seed)
        return func(*args, **more, generator=self._known[device])


def _kornia() -> ModuleType:
    try:
        import kornia.augmentation
    except ImportError:
        raise MissingDependencyError("FromKornia needs kornia; pip install 'geodata[kornia]'") from None
    module: ModuleType = kornia.augmentation
    return module
