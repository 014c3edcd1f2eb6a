"""What every transform is: a pure module on a sample or batch dict, saved as plain data."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from geodata.bands import STATES, Bands
from geodata.errors import BandsError, TransformError
from geodata.transforms.draws import Draws
from geodata.transforms.layout import dtype_name, family

__all__ = ["Move", "Needs", "Transform", "check_image", "check_probability", "check_seed", "check_share"]

T = TypeVar("T", bound="Transform")

_REGISTRY: dict[str, type[Transform]] = {}


class Move(Protocol):
    """A decided change of geometry that is not carried out yet.

    It holds what was drawn, in coordinates that do not depend on an image size, so that one decision
    serves every key and resolution and neighbours in a `Compose` can be joined into one copy of the pixels.
    """

    def then(self, other: Any) -> Move | None:
        """Return this move followed by another as one move, or None if they do not join."""

    def apply(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return a new dict with all pixels, boxes and grids moved."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a transform asks of an image and its bands.

    Parameters
    ----------
    floating : bool
        Arithmetic is done: integer images are refused.
    states : subset of `geodata.bands.STATES`
        What the numbers may be; the default takes all.
    bands : band names that must exist
    wavelengths : bool
        Every band must know its centre wavelength.
    """

    floating: bool = False
    states: tuple[str, ...] = STATES
    bands: tuple[str, ...] = ()
    wavelengths: bool = False


class Transform(nn.Module):
    """Base of all transforms: ``transform(batch)`` returns a new dict.

    Neither the dict nor its tensors are changed; values that a transform leaves alone are the same
    objects in the result. It takes one sample (image (C, H, W)), a batch (B, C, H, W) and time series
    (T, C, H, W), (B, T, C, H, W), with any number of channels.

    A subclass gives `config` and either `run` (numbers change) or `plan` (pixels move), and calls
    `uniform` for random numbers. Random transforms belong into a `Compose`: outside of one, two of the same
    class and seed draw alike. Every subclass is registered by its class name for `from_dict`;
    a name that starts with an underscore is not.

    Attributes
    ----------
    reads, writes : keys, where ``image*`` stands for ``image`` and every ``image_<name>``
    needs : Needs
    seed : int in [0, 2**63), used by random transforms

    Examples
    --------
    >>> import torch
    >>> class Brighten(Transform):
    ...     reads = writes = ("image",)
    ...
    ...     def config(self):
    ...         return {}
    ...
    ...     def run(self, batch, draws):
    ...         return {**batch, "image": batch["image"] + 1}
    >>> Brighten()({"image": torch.zeros(1, 2, 2)})["image"].sum()
    tensor(4.)
    >>> Transform.from_dict(Brighten().to_dict())
    Brighten()
    """

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    needs: Needs = Needs()
    seed: int = 0
    fresh: bool = False
    """Every tensor that it replaces is a new one that shares no memory and is not kept: the next step may write to it."""

    if TYPE_CHECKING:  # nn.Module types its call as Any

        def __call__(self, batch: Mapping[str, Any], draws: Draws | None = None) -> dict[str, Any]:
            """Return a new sample or batch dict; see `forward`."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__name__.startswith("_"):
            return
        known = _REGISTRY.get(cls.__name__)
        # The same class defined again, as in a notebook cell that runs twice, takes the place of the old one.
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TransformError(
                f"a transform called {cls.__name__!r} exists in {known.__module__}; saved pipelines find "
                "transforms by that name, so give this one another"
            )
        _REGISTRY[cls.__name__] = cls

    def forward(self, batch: Mapping[str, Any], draws: Draws | None = None) -> dict[str, Any]:
        """Return a new sample or batch dict.

        Parameters
        ----------
        batch : a sample or batch dict
        draws : where in a pipeline this step stands; `Compose` passes it, users leave it out

        Raises
        ------
        TransformError
            If the batch is not one this transform can work on; the message says what to add or change.
        """
        if not isinstance(batch, Mapping):
            raise TransformError(f"{type(self).__name__} takes a sample or batch dict, got {type(batch).__name__}")
        return self.run(batch, Draws() if draws is None else draws)

    def run(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
        """Do the work; a subclass that moves pixels gives `plan` instead."""
        move = self.plan(batch, draws)
        if move is None:
            raise NotImplementedError(f"{type(self).__name__} must define run() or plan()")
        return move.apply(batch)

    def plan(self, batch: Mapping[str, Any], draws: Draws) -> Move | None:
        """Decide how pixels move, without looking at pixels or sizes; None for all other transforms.

        Inside a `Compose` the moves before this one may not have been carried out yet.
        """
        return None

    def config(self) -> dict[str, Any]:
        """Return the arguments that make this transform again, as plain JSON data."""
        raise NotImplementedError(f"{type(self).__name__} must define config()")

    @classmethod
    def from_config(cls: type[T], config: Mapping[str, Any]) -> T:
        """Make the transform from what `config` gave."""
        return cls(**config)

    @property
    def effect(self) -> str:
        """What the transform does to keys, shapes and units, in a few words."""
        return ", ".join(self.writes)

    def uniform(self, batch: Mapping[str, Any], draws: Draws, n: int) -> NDArray[np.float64]:
        """Return (B, n) float64 numbers in [0, 1), B = 1 for one sample; a function of seed, place and ``draw``."""
        return draws.uniform(batch, n, name=type(self).__name__, seed=self.seed)

    def generators(self, batch: Mapping[str, Any], draws: Draws, device: torch.device) -> list[torch.Generator]:
        """Return one seeded generator per sample, for draws as large as an image; see `Draws.generators`."""
        return draws.generators(batch, name=type(self).__name__, seed=self.seed, device=device)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; `from_dict` takes it back."""
        return {"transform": type(self).__name__, "params": self.config()}

    @classmethod
    def from_dict(cls: type[T], data: Mapping[str, Any]) -> T:
        """Take back what `to_dict` gave; no code in the data is run.

        Raises
        ------
        TransformError
            If the data has another form, names no known transform, or has parameters it does not take.
        """
        if not isinstance(data, Mapping) or set(data) != {"transform", "params"}:
            raise TransformError(f"a saved transform is {{'transform': name, 'params': {{...}}}}, got {data!r:.200}")
        name, params = data["transform"], data["params"]
        found = _REGISTRY.get(name) if isinstance(name, str) else None
        if found is None:
            raise TransformError(f"no transform {name!r}; there are {', '.join(sorted(_REGISTRY))}")
        if not issubclass(found, cls):
            raise TransformError(f"the data describes a {name}, not a {cls.__name__}; use Transform.from_dict")
        try:
            inspect.signature(found).bind(**params)
        except TypeError as error:
            raise TransformError(f"{name} cannot be made from the parameters {params!r:.200}: {error}") from None
        return found.from_config(params)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.config().items())})"


def check_image(batch: Mapping[str, Any], key: str, needs: Needs, *, who: str) -> tuple[Tensor, Bands]:
    """Return an image and its bands once they are what a transform needs.

    Raises
    ------
    TransformError
        If the image or its bands are missing, disagree, or have the wrong dtype or state.
    BandsError
        If a band or its wavelength is missing.
    """
    image = batch.get(key)
    if isinstance(image, (list, tuple)):
        shapes = ", ".join(str(tuple(getattr(item, "shape", ()))) for item in image[:4])
        raise TransformError(
            f"{key!r} is a list of images of shapes {shapes}; {who} takes one tensor, of the same bands and sizes in the "
            "whole batch: select the bands and crop or resize before images are put together"
        )
    if not isinstance(image, Tensor):
        images = [k for k in batch if (family(k) or ("",))[0] == "image"]
        raise TransformError(f"{who} needs a tensor under {key!r}; images here: {', '.join(images) or 'none'}")
    if needs.floating and not image.is_floating_point():
        raise TransformError(
            f"{who} cannot calculate with {dtype_name(image.dtype)} numbers of {key!r}; call T.ToFloat() first"
        )
    name = "bands" + key.removeprefix("image")
    bands = batch.get(name)
    if not isinstance(bands, Bands):
        raise TransformError(
            f"{who} needs {name!r} to know the channels of {key!r}, one Bands for the whole batch, got "
            f"{type(bands).__name__}; add: batch[{name!r}] = Bands(['B02', ...])"
        )
    if image.ndim < 3 or image.shape[-3] != len(bands):
        raise TransformError(f"{key!r} has shape {tuple(image.shape)} and {name!r} {len(bands)} bands: {bands!r}")
    if bands.state not in needs.states:
        raise TransformError(f"{key!r} is {bands.state}; {who} takes {' or '.join(needs.states)}")
    missing = [band for band in needs.bands if band not in bands.names]
    if missing:
        raise BandsError(f"{who} needs bands that {key!r} does not have: {', '.join(missing)}; it has {bands!r}")
    if needs.wavelengths and any(band.wavelength is None for band in bands):
        raise BandsError(f"{who} needs the wavelength of every band of {key!r}; there are {bands!r}")
    return image, bands


def check_probability(p: Any) -> float:
    """Return p as a float in [0, 1], or raise TransformError."""
    return check_share("p", p, kind="probability")


def check_share(what: str, value: Any, *, kind: str = "share") -> float:
    """Return a number in [0, 1] as a float, or raise TransformError that calls it by its argument."""
    number = float(value) if isinstance(value, Real) else -1.0
    if not 0.0 <= number <= 1.0:
        raise TransformError(f"{what} {value!r} must be a {kind}, 0 to 1")
    return number


def check_seed(seed: Any) -> int:
    """Return the seed as an int in [0, 2**63), or raise TransformError."""
    try:
        value = operator.index(seed)
    except TypeError:
        value = -1
    if not 0 <= value < 2**63:
        raise TransformError(f"seed {seed!r} must be a whole number, 0 or more and below 2**63")
    return value
