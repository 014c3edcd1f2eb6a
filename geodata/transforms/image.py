"""What all transforms share that change the numbers or the bands of one image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from geodata.bands import Bands
from geodata.errors import TransformError
from geodata.transforms.base import Transform, check_image
from geodata.transforms.draws import Draws
from geodata.transforms.layout import all_true, dtype_name, family

__all__ = ["ImageTransform", "check_key", "flags_of", "valid_of"]


class ImageTransform(Transform):
    """Base of transforms that change the numbers or the bands of one image and leave its pixels where they are.

    A subclass sets `needs`, which is checked before it is called, and gives `change` and `config`.

    Parameters
    ----------
    key : "image" or "image_<name>"

    Raises
    ------
    TransformError
        If the key is no image's.

    Examples
    --------
    >>> from geodata.transforms.base import Needs
    >>> class Halve(ImageTransform):
    ...     needs = Needs(floating=True, states=("reflectance",))
    ...
    ...     def config(self):
    ...         return {"key": self.key}
    ...
    ...     def change(self, image, bands, batch, draws):
    ...         return image / 2, bands
    >>> Halve()({"image": torch.ones(1, 1, 1), "bands": Bands(["B02"], state="reflectance")})["image"]
    tensor([[[0.5000]]])
    """

    def __init__(self, key: str = "image") -> None:
        super().__init__()
        self.key = check_key(key)
        self.suffix = self.key.removeprefix("image")
        self.reads = (self.key, f"valid{self.suffix}", f"bands{self.suffix}")
        self.writes = (self.key, f"bands{self.suffix}")

    def run(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
        """Check the image and change it."""
        image, bands = check_image(batch, self.key, self.needs, who=type(self).__name__)
        image, bands = self.change(image, bands, batch, draws)
        return {**batch, self.key: image, f"bands{self.suffix}": bands}

    def change(self, image: Tensor, bands: Bands, batch: Mapping[str, Any], draws: Draws) -> tuple[Tensor, Bands]:
        """Return a new image and its bands.

        Parameters
        ----------
        image : (..., C, H, W), which must not be written to
        bands : of its C channels
        batch, draws : as in `forward`
        """
        raise NotImplementedError(f"{type(self).__name__} must define change()")


def check_key(key: Any) -> str:
    """Return the key of an image, or raise TransformError."""
    found = family(key) if isinstance(key, str) else None
    if found is None or found[0] != "image":
        raise TransformError(f"key {key!r} must be 'image' or 'image_<name>'")
    return str(key)


def valid_of(batch: Mapping[str, Any], key: str) -> Tensor | None:
    """Return what is observed of an image, (..., H, W) bool beside (..., C, H, W), or None if all is.

    Raises
    ------
    TransformError
        If ``valid`` is no bool tensor of that shape.
    """
    image: Tensor = batch[key]
    valid = flags_of(batch, "valid", key, image.shape[:-3] + image.shape[-2:])
    return None if valid is None or all_true(valid) else valid


def flags_of(batch: Mapping[str, Any], what: str, key: str, shape: Sequence[int]) -> Tensor | None:
    """Return bool flags that stand beside an image, such as ``valid_s1`` beside ``image_s1``, or None if there are none.

    Raises
    ------
    TransformError
        If they are no bool tensor of that shape.
    """
    name = what + key.removeprefix("image")
    flags = batch.get(name)
    if flags is None:
        return None
    if not isinstance(flags, Tensor) or flags.dtype != torch.bool or flags.shape != tuple(shape):
        got = f"{dtype_name(flags.dtype)} {tuple(flags.shape)}" if isinstance(flags, Tensor) else type(flags).__name__
        raise TransformError(f"{name!r} is {got}; beside this {key!r} it must be bool {tuple(shape)}")
    return flags
