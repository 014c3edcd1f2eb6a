"""Batches into what a model is called with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from geodata.bands import Bands
from geodata.errors import BandsError, DtypeError, TransformError
from geodata.transforms.base import Needs, check_image
from geodata.transforms.image import valid_of
from geodata.transforms.layout import is_batch
from geodata.zoo.extras import extra_input
from geodata.zoo.fields import ImageInput
from geodata.zoo.frame import Frame
from geodata.zoo.route import Route
from geodata.zoo.spec import InputSpec, ModelInput
from geodata.zoo.targets import target_of

__all__ = ["BoundInput", "Ready"]


@dataclass(frozen=True)
class Ready:
    """One image on its way to the model.

    Attributes
    ----------
    pixels : (B, C, H, W) or (B, T, C, H, W) float32
    valid : (B, [T,] H, W) bool, or None if all is observed
    """

    pixels: Tensor
    valid: Tensor | None
    frame: Frame
    route: Route
    batched: bool


class BoundInput(nn.Module):
    """An `InputSpec` for data of known bands: ``bound(batch)`` gives `ModelInput`.

    Bands are found by name, common name or wavelength, in whatever order the batch has them, and only the steps that
    are missing are done: stored numbers get scale and offset, reflectance is taken as it is, numbers that are normalised
    already are refused. Integers are cast to float32; the batch is not changed. Scaling and normalisation are one
    multiply-add for each band where the steps allow it; where nothing is to be done, the pixels are those of the batch,
    not a copy.

    Pixels that are not ``valid`` have no influence on others when the image is resized, and become the mean of the
    band's z-score, which is 0 after it; without a z-score they become 0. So does a sample of which nothing is observed.
    A NaN in a valid pixel stays: `check` reports it. An image that has the model's size already is neither resized nor
    cropped. One sample without a batch axis becomes a batch of one.

    Parameters
    ----------
    spec : InputSpec
    bands : Bands, {key: Bands}, or a sample or batch; for a model of one image the key says which image it is given

    Raises
    ------
    BandsError
        If bands are missing or of another unit, with a table of wanted, found and what to do.

    Examples
    --------
    >>> import torch
    >>> from geodata.bands import Bands
    >>> spec = InputSpec.from_dict({"images": [{
    ...     "key": "image", "bands": ["red", "nir"], "unit": "reflectance",
    ...     "steps": [{"do": "zscore", "mean": [0.1, 0.3], "std": [0.1, 0.1]}],
    ... }]})
    >>> bands = Bands(["nir", "red"], state="reflectance")
    >>> batch = {"image": torch.tensor([[[[0.5]], [[0.2]]]]), "bands": bands}
    >>> spec.bind(bands)(batch).args[0].flatten()
    tensor([1., 2.])
    """

    if TYPE_CHECKING:  # nn.Module types its call as Any

        def __call__(self, batch: Mapping[str, Any]) -> ModelInput:
            """Return what the model is called with; see `forward`."""

    def __init__(self, spec: InputSpec, bands: Bands | Mapping[str, Any]) -> None:
        super().__init__()
        given = _by_key(spec, bands)
        if len(spec.images) == len(given) == 1:
            spec = _of_image(spec, *given)
        if set(given) != {image.key for image in spec.images}:
            raise BandsError(
                f"this input is made of {', '.join(image.key for image in spec.images)}; give {{key: Bands}} for just these, or a "
                f"sample of the dataset, got {', '.join(map(str, given)) or type(bands).__name__}"
            )
        for key, value in given.items():
            if not isinstance(value, Bands):
                hint = "; a dataset without bands needs band_names=" if value is None else ""
                raise BandsError(f"{key!r} must have Bands, got {type(value).__name__}{hint}")
        self.spec = spec
        self._routes = {image.key: Route.of(image, given[image.key], spec.name) for image in spec.images}

    def forward(self, batch: Mapping[str, Any]) -> ModelInput:
        """Return what the model is called with.

        Parameters
        ----------
        batch : with the images of the spec and their ``bands``; a sample is taken as a batch of one

        Raises
        ------
        BandsError
            If the batch has other bands or another unit than the model needs.
        TransformError
            If an image is of another size, or something that an extra input needs is not there.
        """
        if not isinstance(batch, Mapping):
            raise TransformError(f"a model input is made of a sample or batch dict, got {type(batch).__name__}")
        ready = {image.key: self._image(image, batch) for image in self.spec.images}
        named: dict[str, Any] = {key: _laid_out(item) for key, item in ready.items()}
        first = next(iter(ready))
        for name, extra in self.spec.extras.items():
            key = extra.options.get("image", first)
            named[name] = extra_input(extra, batch, key, ready[key])
        args = tuple(_filled(part, named) for part in self.spec.args)
        kwargs = {name: _filled(part, named) for name, part in self.spec.kwargs.items()}
        target, suffix = self.spec.target, first.removeprefix("image")
        if suffix and f"{target.key}{suffix}" in batch:  # the image's own, before one that several images share
            target = replace(target, key=f"{target.key}{suffix}")
        return ModelInput(args, kwargs, target_of(target, batch, ready[first]))

    def check(self, batch: Mapping[str, Any]) -> list[str]:
        """Return in words what looks wrong with a batch; see `InputSpec.check`."""
        return self.spec.check(batch)

    def extra_repr(self) -> str:
        """Name the input."""
        return ", ".join(part for part in (self.spec.name, *self._routes) if part)

    def _image(self, image: ImageInput, batch: Mapping[str, Any]) -> Ready:
        who = f"the input of {self.spec.name or 'the model'}"
        x, bands = check_image(batch, image.key, Needs(), who=who)
        if x.dtype.is_complex:
            raise DtypeError(
                f"{image.key!r} is complex; give the model amplitudes, or real and imaginary parts as bands"
            )
        route = self._routes[image.key]
        if bands is not route.bands and bands != route.bands:
            route = Route.of(image, bands, self.spec.name)
        if route.bytes and str(x.dtype) != "torch.uint8":
            raise BandsError(
                f"{image.key!r} has no unit for {', '.join(route.bytes)} and is {str(x.dtype).removeprefix('torch.')}; only "
                "uint8 is taken as brightness of 0 to 255. Read with dtype=None, or give the bands unit 'display' and a scale"
            )
        frame = Frame.of(image, (x.shape[-2], x.shape[-1]))
        valid = valid_of(batch, image.key)
        batched = x.ndim == 5 or (x.ndim == 4 and _is_batch(batch))
        if not batched:
            x, valid = x.unsqueeze(0), None if valid is None else valid.unsqueeze(0)
        x, own = route.select(x)
        if not frame.still:
            x, valid = frame.pixels(x, valid)
        return Ready(route.run(x, valid, own=own), valid, frame, route, batched)


def _by_key(spec: InputSpec, bands: Any) -> dict[str, Any]:
    """Bands of each image, from what `InputSpec.bind` takes."""
    keys = [image.key for image in spec.images]
    if not isinstance(bands, Mapping):
        return {keys[0]: bands} if len(keys) == 1 else {}
    if not any(str(name).startswith("bands") for name in bands):
        return dict(bands)
    names = {key: "bands" + key.removeprefix("image") for key in keys}
    absent = [name for name in names.values() if name not in bands]
    if absent:
        raise BandsError(f"this input is made of {', '.join(keys)}, and the batch has no {', '.join(absent)}")
    return {key: bands[name] for key, name in names.items()}


def _of_image(spec: InputSpec, key: str) -> InputSpec:
    """The same input, made of another image of the batch."""
    (image,) = spec.images
    if key == image.key:
        return spec

    def named(part: Any) -> Any:
        if isinstance(part, Mapping):
            return {name: named(item) for name, item in part.items()}
        if isinstance(part, (list, tuple)):
            return [named(item) for item in part]
        return key if part == image.key else part

    extras = {
        name: replace(extra, options={**extra.options, "image": key}) if "image" in extra.options else extra
        for name, extra in spec.extras.items()
    }
    images = (replace(image, key=key),)
    return replace(spec, images=images, extras=extras, args=tuple(named(spec.args)), kwargs=named(spec.kwargs))


def _is_batch(batch: Mapping[str, Any]) -> bool:
    return is_batch(batch) if "key" in batch or "draw" in batch else True


def _laid_out(item: Ready) -> Any:
    layout, x = item.route.image.layout, item.pixels
    as_list = layout.startswith("list")
    letters = layout.replace("list", "b", 1).split()
    if "t" in letters and x.ndim == 4:
        x = x.unsqueeze(1)
    if "t" not in letters and x.ndim == 5:
        if x.shape[1] != 1:
            raise TransformError(
                f"{item.route.image.key!r} has {x.shape[1]} dates and the model takes one: choose a date"
            )
        x = x.squeeze(1)
    have = "btchw" if x.ndim == 5 else "bchw"
    x = x.permute([have.index(letter) for letter in letters]).contiguous()
    return list(x.unbind()) if as_list else x


def _filled(part: Any, named: Mapping[str, Any]) -> Any:
    if isinstance(part, str):
        return named[part]
    if isinstance(part, Mapping):
        return {name: _filled(item, named) for name, item in part.items()}
    return [_filled(item, named) for item in part]
