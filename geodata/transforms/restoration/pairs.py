"""Pairs of a coarse image and the fine one it was made from: super-resolution and pansharpening."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

from torch import Tensor

from geodata.bands import Bands
from geodata.errors import BandsError, TransformError
from geodata.transforms.base import Needs, check_image
from geodata.transforms.draws import Draws
from geodata.transforms.image import ImageTransform, check_key, valid_of
from geodata.transforms.layout import family
from geodata.transforms.restoration.blur import KINDS, check_factor, coarser_grid, make_coarser, make_finer
from geodata.transforms.restoration.mtf import check_sensor, nyquist_gains
from geodata.transforms.restoration.target import moved_to_target, target_keys

__all__ = ["SuperResolutionPair", "WaldPair"]


class SuperResolutionPair(ImageTransform):
    """Make an image coarser and keep the fine one as the target.

    The coarse image is written under its key, with its own ``valid`` and grid. The fine one goes to ``<key>_target``,
    and all that counts its pixels goes with it: ``valid``, grid, bands, masks, instances, abundances, boxes
    and corners of the same suffix all get the ending ``_target``. A target that is there already stays.

    A coarse pixel is valid if at least half of the weight of its filter lies on valid pixels, which then share the
    rest; invalid ones are 0. The grid says where the coarse pixels are exactly, to the fraction of a pixel by which the
    filters of ``mtf``, ``gaussian`` and ``uniform`` shift them.

    ==============  ================================================================================================
    kind            coarse image
    ==============  ================================================================================================
    bicubic         MATLAB's ``imresize(image, 1 / factor)``, see `geodata.transforms.restoration.imresize.imresize`
    mtf             the sensor's filter (`geodata.transforms.restoration.mtf`), border repeated, then each ``factor``-th pixel
                    from ``factor // 2`` on, as MATLAB's ``imresize(..., "nearest")`` picks them
    gaussian        8 x 8 Gaussian, sigma 3, border wrapped round, then each ``factor``-th pixel from 0 on
    uniform         the same with the mean of ``factor`` x ``factor`` pixels
    blur-bicubic    3 x 3 Gaussian, sigma 1.5, border repeated, then bicubic
    average         mean of each block
    ==============  ================================================================================================

    Parameters
    ----------
    factor : int >= 2, which divides height and width
    kind : see the table
    sensor : QB, IKONOS, GeoEye1, WV2, WV3, WV4 or "default", for "mtf"
        Bands are found by name or common name: blue, green, red, nir...
    nyquist : {band: gain in (0, 1)} instead of a sensor, for "mtf"
    upsample : bool
        Bring the coarse image back to the pixels of the fine one by cubic convolution, registered whatever the shift.
    key : "image" or "image_<name>"

    Raises
    ------
    TransformError
        If an argument is out of range; on an image that is not floating, in decibels, or whose size the factor does not
        divide.
    BandsError
        If a band has no gain.

    References
    ----------
    .. [1] "gaussian", "uniform": ``Zeqiang-Lai/HSDT``, ``train/utility/sr.py``, GaussianBlur(8, 3) and KFoldDownsample.
    .. [2] "mtf": L. Wald, T. Ranchin, M. Mangolini, "Fusion of satellite images of different spatial resolutions", PERS 63
       (1997); ``liangjiandeng/DLPan-Toolbox``, ``Tools/resize_images.m``.

    Examples
    --------
    >>> import torch
    >>> sample = {"key": "x", "image": torch.rand(1, 16, 16), "bands": Bands(["red"])}
    >>> out = SuperResolutionPair(4)(sample)
    >>> out["image"].shape, out["image_target"].shape
    (torch.Size([1, 4, 4]), torch.Size([1, 16, 16]))
    """

    needs = Needs(floating=True, states=("raw", "reflectance", "normalised"))

    def __init__(
        self,
        factor: int,
        *,
        kind: str = "bicubic",
        sensor: str | None = None,
        nyquist: Mapping[str, float] | None = None,
        upsample: bool = False,
        key: str = "image",
    ) -> None:
        super().__init__(key)
        self.factor = check_factor("factor", factor)
        if kind not in KINDS:
            raise TransformError(f"kind {kind!r} must be one of {', '.join(KINDS)}")
        given = (sensor is not None) + (nyquist is not None)
        if given != (kind == "mtf"):
            raise TransformError(f"kind 'mtf' needs one of sensor= and nyquist=, other kinds none; kind is {kind!r}")
        self.kind, self.upsample = kind, bool(upsample)
        self.sensor = None if sensor is None else check_sensor(sensor)
        self.nyquist = None if nyquist is None else _gains(nyquist)
        self.reads = self.writes = target_keys(self.suffix, moved=True)

    def run(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
        """Make the pair."""
        image, bands = check_image(batch, self.key, self.needs, who=type(self).__name__)
        _check_size(image, self.key, self.factor)
        gains = self._gains_of(bands) if self.kind == "mtf" else ()
        coarse, valid, shift = make_coarser(image, valid_of(batch, self.key), self.kind, self.factor, gains)
        if self.upsample:
            coarse, valid = make_finer(coarse, valid, self.factor, shift)
        out = moved_to_target(batch, self.suffix) | {self.key: coarse, f"bands{self.suffix}": bands}
        grid = batch.get(f"grid{self.suffix}")
        if grid is not None:
            out[f"grid{self.suffix}"] = grid if self.upsample else _coarser(grid, self.factor, shift)
        return out | _valid_entry(batch, self.suffix, valid, coarse)

    def _gains_of(self, bands: Bands) -> tuple[float, ...]:
        if self.nyquist is None:
            return nyquist_gains(bands, self.sensor or "default")
        missing = [name for name in bands.names if name not in self.nyquist]
        if missing:
            raise BandsError(f"nyquist has no gain of {', '.join(missing)}; it has {', '.join(self.nyquist)}")
        return tuple(self.nyquist[name] for name in bands.names)

    def config(self) -> dict[str, Any]:
        """Return all arguments."""
        return {
            "factor": self.factor,
            "kind": self.kind,
            "sensor": self.sensor,
            "nyquist": None if self.nyquist is None else dict(self.nyquist),
            "upsample": self.upsample,
            "key": self.key,
        }

    @property
    def effect(self) -> str:
        """Says how much coarser."""
        size = "same size" if self.upsample else f"H and W / {self.factor}"
        return f"{self.key} {self.factor} x coarser ({size}), fine one in {self.key}_target"

    def __repr__(self) -> str:
        text = super().__repr__()
        return text if len(text) < 190 else f"{text[:180]}...)"


class WaldPair(SuperResolutionPair):
    """Make a reduced-resolution pair for pansharpening by Wald's protocol: both images coarser, the original the target.

    Beside an image of (..., C, H, W) there is a sharper one of (..., c, ratio H, ratio W). The image becomes
    ``ratio`` times coarser by the filter of its sensor, as in `SuperResolutionPair`, and is kept as ``<key>_target``; the
    sharper one becomes as large as that target by MATLAB's bicubic and is not kept. A network that turns the new
    pair into the target is the one that sharpens the old pair.

    For an even ratio the pixels picked lie half a pixel of the target down and right of their blocks' centres, as in the
    toolbox that this follows; the grid says so, and ``upsample`` takes it out again.

    Parameters
    ----------
    ratio : int >= 2, between the sizes of both images; divides the height and width of the coarser one
    sensor, nyquist : as for `SuperResolutionPair`
    kind : as for `SuperResolutionPair`; some papers use "blur-bicubic" instead of the sensor's filter
    upsample : as for `SuperResolutionPair`
    sharp : key of the sharper image
    key : "image" or "image_<name>"

    Raises
    ------
    TransformError
        As for `SuperResolutionPair`; if the sharper image is not ``ratio`` times larger, or has masks or boxes.

    References
    ----------
    .. [1] L. Wald, T. Ranchin, M. Mangolini, "Fusion of satellite images of different spatial resolutions: assessing the
       quality of resulting images", PERS 63 (1997).
    .. [2] ``liangjiandeng/DLPan-Toolbox``, ``Tools/resize_images.m``: ``MTF``, ``imresize(..., "nearest")``; the
       panchromatic band by ``imresize``.

    Examples
    --------
    >>> import torch
    >>> pan, bands = torch.rand(1, 64, 64), Bands(["blue", "green", "red", "nir"])
    >>> sample = {"key": "x", "image": torch.rand(4, 16, 16), "bands": bands, "image_pan": pan, "bands_pan": Bands(["pan"])}
    >>> out = WaldPair(4, sensor="QB")(sample)
    >>> [tuple(out[key].shape) for key in ("image", "image_pan", "image_target")]
    [(4, 4, 4), (1, 16, 16), (4, 16, 16)]
    """

    def __init__(
        self,
        ratio: int,
        *,
        sensor: str | None = None,
        nyquist: Mapping[str, float] | None = None,
        kind: str = "mtf",
        upsample: bool = False,
        sharp: str = "image_pan",
        key: str = "image",
    ) -> None:
        factor = check_factor("ratio", ratio)
        super().__init__(factor, kind=kind, sensor=sensor, nyquist=nyquist, upsample=upsample, key=key)
        self.sharp = check_key(sharp)
        if self.sharp in (self.key, f"{self.key}_target"):
            raise TransformError(f"sharp {sharp!r} must be another image than {self.key!r} and its target")
        own = self.sharp.removeprefix("image")
        self.reads = self.writes = (*self.writes, *(f"{name}{own}" for name in ("image", "valid", "bands", "grid")))

    def run(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
        """Make the pair."""
        own, who = self.sharp.removeprefix("image"), type(self).__name__
        image, _ = check_image(batch, self.key, self.needs, who=who)
        sharp, _ = check_image(batch, self.sharp, self.needs, who=who)
        if tuple(sharp.shape[-2:]) != tuple(n * self.factor for n in image.shape[-2:]):
            raise TransformError(
                f"{self.sharp!r} is {_text(sharp)} pixels and {self.key!r} {_text(image)}; with ratio {self.factor} it must "
                f"be {image.shape[-2] * self.factor} x {image.shape[-1] * self.factor}. Crop both on one grid"
            )
        others = [k for k in batch if (family(k) or ("", None))[1] == own and k.partition("_")[0] not in _SAME]
        if others:
            raise TransformError(f"{others} count pixels of {self.sharp!r}, which gets coarser; take them out before")
        out = super().run(batch, draws)
        coarse, valid, shift = make_coarser(sharp, valid_of(batch, self.sharp), "bicubic", self.factor)
        out[self.sharp] = coarse
        if batch.get(f"grid{own}") is not None:
            out[f"grid{own}"] = _coarser(batch[f"grid{own}"], self.factor, shift)
        return out | _valid_entry(batch, own, valid, coarse)

    def config(self) -> dict[str, Any]:
        """Return all arguments."""
        config = super().config()
        return {"ratio": config.pop("factor"), **config, "sharp": self.sharp}

    @property
    def effect(self) -> str:
        """Says what gets coarser."""
        return f"{super().effect}; {self.sharp} {self.factor} x coarser"


_SAME = ("image", "valid", "grid")


def _valid_entry(batch: Mapping[str, Any], suffix: str, valid: Tensor | None, image: Tensor) -> dict[str, Any]:
    """Return the entry of ``valid`` beside a coarse image, if there was one beside the fine one."""
    before = batch.get(f"valid{suffix}")
    if before is None:
        return {}
    shape = (*image.shape[:-3], *image.shape[-2:])
    return {f"valid{suffix}": before.new_ones(shape) if valid is None else valid}


def _coarser(grid: Any, factor: int, shift: float) -> Any:
    if isinstance(grid, Iterable):
        return [coarser_grid(item, factor, shift) for item in grid]
    return coarser_grid(grid, factor, shift)


def _check_size(image: Tensor, key: str, factor: int) -> None:
    if image.shape[-2] % factor or image.shape[-1] % factor or 0 in image.shape[-2:]:
        raise TransformError(f"{key!r} is {_text(image)} pixels, which {factor} does not divide; crop it to a multiple")


def _text(image: Tensor) -> str:
    return f"{image.shape[-2]} x {image.shape[-1]}"


def _gains(values: Any) -> dict[str, float]:
    good = isinstance(values, Mapping) and bool(values)
    if not good or not all(isinstance(k, str) and isinstance(v, Real) and 0 < float(v) < 1 for k, v in values.items()):
        raise TransformError(f"nyquist must be {{band: gain between 0 and 1}}, got {values!r:.200}")
    return {name: float(gain) for name, gain in values.items()}
