"""Texture: how often grey levels stand beside each other in a window around every pixel."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from geodata.bands import Band, Bands
from geodata.errors import BandsError, TransformError
from geodata.transforms.base import Needs, Transform, check_image
from geodata.transforms.cooccurrence import AT_ONCE, Pairs
from geodata.transforms.derived import check_free, derived_keys, put_derived
from geodata.transforms.draws import Draws
from geodata.transforms.image import check_key, valid_of

__all__ = ["Texture"]

_SUMS = ("contrast", "dissimilarity", "homogeneity", "mean", "variance", "correlation")
_COUNTS = ("ASM", "energy", "entropy")
_ANGLES = (0, 45, 90, 135)


class Texture(Transform):
    """Grey-level co-occurrence features of a window around every pixel, the mean over directions.

    Numbers are cut into ``levels`` steps from ``low`` to ``high``, those outside into the first and last. In the window all pairs of pixels
    at the distance and angle count, in both orders (symmetric), divided by their number (normed), and the
    features are those of ``graycoprops`` of scikit-image [2]_, in units of levels.

    Pairs with a pixel outside the image, not valid, or NaN do not count. A pixel of the result is valid if it is valid itself and in each
    direction at least a quarter of the pairs of a whole window count, so corners of an image are valid for distance 1. Others are 0.
    NaN in an observed pixel stays NaN.

    Parameters
    ----------
    features : some of "contrast", "dissimilarity", "homogeneity", "mean", "variance", "correlation", "ASM", "energy", "entropy"
        The last three need the matrix of every window and take longer. Entropy is in nats.
    low, high : number, or band -> number, in units of the image
        The range that is cut into levels. It is never taken from the image at hand: textures of two images would not compare.
    window : int, odd, pixels
    levels : int in [2, 256]
    distance : int, pixels
    angles : some of 0, 45, 90, 135 degrees
    bands : names or common names of bands; None for all
    key : "image" or "image_<name>"
    to : "image_<name>"
        Where the features go, with ``bands``, ``valid`` and ``grid`` of that name. Channels are called ``<band>_<feature>``, band by band.

    Raises
    ------
    TransformError
        If an argument is out of range; on an image that is not floating; if ``to`` exists.
    BandsError
        On an image without one of the bands, or with a band that ``low`` or ``high`` lack.

    References
    ----------
    .. [1] R. M. Haralick, K. Shanmugam, I. Dinstein, "Textural features for image classification", IEEE Trans. SMC 3(6), 1973.
    .. [2] scikit-image, ``skimage.feature.graycomatrix(symmetric=True, normed=True)``.

    Examples
    --------
    >>> batch = {"image": torch.tensor([[[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]]), "bands": Bands(["pan"])}
    >>> out = Texture("contrast", low=0, high=1, window=3, levels=2, angles=[0])(batch)
    >>> out["image_texture"][0, 1, 1], out["bands_texture"].names
    (tensor(1.), ('pan_contrast',))
    """

    needs = Needs(floating=True)

    def __init__(
        self,
        features: str | Iterable[str] = _SUMS,
        *,
        low: float | Mapping[str, float],
        high: float | Mapping[str, float],
        window: int = 7,
        levels: int = 32,
        distance: int = 1,
        angles: Iterable[int] = _ANGLES,
        bands: Iterable[str] | None = None,
        key: str = "image",
        to: str = "image_texture",
    ) -> None:
        super().__init__()
        self.features = _some_of("features", features, _SUMS + _COUNTS)
        self.window = _whole("window", window, 3, 1025)
        if not window % 2:
            raise TransformError(f"window {window} must be odd, so that it has a pixel in its middle")
        self.levels = _whole("levels", levels, 2, 256)
        self.distance = _whole("distance", distance, 1, window - 1)
        self.angles = _some_of("angles", angles, _ANGLES)
        self.low, self.high = _limits("low", low), _limits("high", high)
        self.bands = None if bands is None else _texts(bands)
        self.key, self.target = check_key(key), check_key(to)
        if self.key == self.target:
            raise TransformError(f"Texture writes to another key than {key!r}, for example to='image_texture'")
        self.reads, self.writes = derived_keys(self.key), derived_keys(self.target)

    def run(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
        """Compute the features beside the image."""
        image, bands = check_image(batch, self.key, self.needs, who=type(self).__name__)
        check_free(batch, self.target, who=type(self).__name__)
        chosen = list(range(len(bands))) if self.bands is None else [bands.position(name) for name in self.bands]
        names = [bands[i].name for i in chosen]
        low, high = _of_bands("low", self.low, names), _of_bands("high", self.high, names)
        if any(a >= b for a, b in zip(low, high, strict=True)):
            raise TransformError(f"low must be below high, got low={self.low!r:.80}, high={self.high!r:.80}")
        part = image if self.bands is None else image[..., chosen, :, :]
        valid = valid_of(batch, self.key)
        levels = _quantised(part, low, high, self.levels)
        found, enough = self._features(part, levels, valid)
        made = Bands([Band(f"{name}_{feature}", unit="texture") for name in names for feature in self.features])
        return put_derived(batch, self.key, self.target, image=found, bands=made, valid=enough)

    def _features(self, image: Tensor, levels: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
        """(..., C * F, H, W) features and (..., H, W) where enough pairs count."""
        lead, (c, h, w) = image.shape[:-3], image.shape[-3:]
        observed = torch.ones_like(image, dtype=torch.bool) if valid is None else valid.unsqueeze(-3).expand_as(image)
        broken = observed & torch.isnan(image)
        usable = (observed & ~broken).reshape(math.prod(lead) * c, h, w)
        found, enough = self._averaged(levels.reshape(usable.shape).masked_fill_(~usable, 0), usable)
        found = found.reshape(*lead, c, len(self.features), h, w).masked_fill(broken.unsqueeze(-3), math.nan)
        enough = (observed & (enough.reshape(observed.shape) | broken)).all(dim=-3)
        found = found.flatten(-4, -3).masked_fill(~enough.unsqueeze(-3), 0.0)
        return found.to(image.dtype), enough

    def _averaged(self, levels: Tensor, usable: Tensor) -> tuple[Tensor, Tensor]:
        """(N, F, H, W) means over the angles of (N, H, W) levels, and (N, H, W) where enough pairs count."""
        # Sums of squares of whole numbers are exact up to the digits of the significand; float64 where float32 has too few.
        exact = 4 * self.window**4 * (self.levels - 1) ** 2 < 2**24
        work = torch.float32 if exact else torch.float64
        n, h, w = levels.shape
        found = torch.zeros((n, len(self.features), h, w), dtype=work, device=levels.device)
        enough = usable.clone()
        at_once = max(1, AT_ONCE // max(1, 9 * h * w))
        for start in range(0, n if h * w else 0, at_once):
            rows = slice(start, start + at_once)
            for angle in self.angles:
                pairs = Pairs(levels[rows], usable[rows], self.window, _offset(angle, self.distance), work)
                enough[rows] &= 4 * pairs.count >= pairs.most
                found[rows] += torch.stack([pairs.feature(name) for name in self.features], dim=1)
        return found / len(self.angles), enough

    def config(self) -> dict[str, Any]:
        """Return all arguments."""
        low, high = (dict(x) if isinstance(x, dict) else x for x in (self.low, self.high))
        first = {
            "features": list(self.features),
            "low": low,
            "high": high,
            "window": self.window,
            "levels": self.levels,
        }
        rest = {
            "distance": self.distance,
            "angles": list(self.angles),
            "bands": self.bands,
            "key": self.key,
            "to": self.target,
        }
        return first | rest

    @property
    def effect(self) -> str:
        """Computes."""
        return f"{self.key}: {len(self.features)} features of each band -> {self.target}"

    def __repr__(self) -> str:
        text = super().__repr__()
        few = ", ".join(self.features[:3])
        return text if len(text) <= 190 else f"Texture({few}, ..., window={self.window}, to={self.target!r})"


def _offset(angle: int, distance: int) -> tuple[int, int]:
    """Rows and columns to the other pixel, rounded as scikit-image does."""
    turn = math.radians(angle)
    return round(math.sin(turn) * distance), round(math.cos(turn) * distance)


def _quantised(image: Tensor, low: list[float], high: list[float], levels: int) -> Tensor:
    work = torch.promote_types(image.dtype, torch.float32)
    least = torch.tensor(low, dtype=work, device=image.device)[:, None, None]
    steps = [levels / (b - a) for a, b in zip(low, high, strict=True)]
    found = (image.to(work) - least) * torch.tensor(steps, dtype=work, device=image.device)[:, None, None]
    return found.nan_to_num_(nan=0.0).floor_().clamp_(0, levels - 1).to(torch.int16)


def _of_bands(what: str, limit: float | dict[str, float], names: list[str]) -> list[float]:
    if isinstance(limit, float):
        return [limit] * len(names)
    missing = [name for name in names if name not in limit]
    if missing:
        raise BandsError(f"{what} of Texture has no number for bands {', '.join(missing[:20])}; it has {limit!r:.200}")
    return [limit[name] for name in names]


def _limits(what: str, limit: Any) -> float | dict[str, float]:
    values = limit if isinstance(limit, Mapping) else {"": limit}
    for value in values.values():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise TransformError(
                f"{what} must be a finite number, or one for each band {{'B02': 0.0, ...}}, got {limit!r:.200}"
            )
    return {str(k): float(v) for k, v in limit.items()} if isinstance(limit, Mapping) else float(limit)


def _whole(what: str, value: Any, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise TransformError(f"{what} {value!r} must be a whole number, {least} to {most}")
    return value


def _texts(bands: Any) -> list[str]:
    items = [bands] if isinstance(bands, str) or not isinstance(bands, Iterable) else list(bands)
    if not items or not all(isinstance(name, str) for name in items) or len(set(items)) != len(items):
        raise TransformError(f"bands {bands!r:.200} must be names of bands, each once")
    return items


def _some_of(what: str, values: Any, allowed: tuple[Any, ...]) -> list[Any]:
    items = [values] if isinstance(values, str) or not isinstance(values, Iterable) else list(values)
    if not items or any(item not in allowed for item in items) or len(set(items)) != len(items):
        raise TransformError(f"{what} {values!r:.200} must be one or more of {', '.join(map(str, allowed))}, each once")
    return items
