"""Noise of hyperspectral sensors that is in some bands, columns or pixels only."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Generator, Tensor

from geodata.errors import TransformError
from geodata.transforms.restoration import noise_kinds as kinds
from geodata.transforms.restoration.noise_base import NoiseTransform, Span, numbers, plain, share, span

__all__ = ["DeadPixels", "Deadlines", "Impulses", "OutlierBands", "Stripes"]


class _SomeBands(NoiseTransform):
    """Noise of some bands only: a share of them, rounded down, or a number."""

    def __init__(self, bands: float, *, key: str, keep: bool, seed: int) -> None:
        super().__init__(key=key, keep=keep, seed=seed)
        whole = isinstance(bands, int) and not isinstance(bands, bool) and bands >= 1
        self.bands: float = bands if whole else share("bands", bands)

    def choose(self, x: Tensor, g: Generator) -> Tensor:
        """Return (N, K) bands."""
        count = self.bands if isinstance(self.bands, int) else math.floor(self.bands * x.shape[1] + 1e-9)
        if count > x.shape[1]:
            raise TransformError(f"{type(self).__name__} is to spoil {count} bands, {self.key!r} has {x.shape[1]}")
        return kinds.choose_bands(x, int(count), g)


class _Columns(_SomeBands):
    """Noise of some columns of some bands."""

    def __init__(
        self,
        bands: float = 1 / 3,
        *,
        columns: Span = (0.05, 0.15),
        key: str = "image",
        keep: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(bands, key=key, keep=keep, seed=seed)
        self.columns = span("columns", columns, 0.0, 1.0)

    def lines(self, x: Tensor, bands: Tensor, g: Generator) -> tuple[Tensor, Tensor]:
        """Choose the columns, see `noise_kinds.lines`."""
        low, high = (math.ceil(share * x.shape[-1]) for share in self.columns)
        return kinds.lines(x, bands, low, high, g)

    def settings(self) -> dict[str, Any]:
        """Return bands and columns."""
        return {"bands": self.bands, "columns": plain(self.columns)}


class Stripes(_Columns):
    """Shift whole columns of some bands up or down, as detectors with another offset do.

    Parameters
    ----------
    bands : share of the bands, 0 to 1, rounded down, or (int >= 1) their number
    columns : share of the width, or two to draw between
        The number of columns is drawn for each band, between both shares rounded up, both included.
    strength : number >= 0, in units of the image
        A column is shifted by a number drawn between -strength and strength.
    key, keep, seed : as for `NoiseTransform`

    Raises
    ------
    TransformError
        If an argument is out of range; on an image of raw numbers or decibels, or of too few bands.

    References
    ----------
    .. [1] ``Vandermode/QRNN3D``, ``matlab/generate_dataset_stripe.m``, which spoils 10 bands; see `Noise`.

    Examples
    --------
    >>> from geodata.bands import Bands
    >>> bands = Bands(["a", "b", "c"], state="reflectance")
    >>> sample = {"key": "x", "draw": torch.tensor([0, 0]), "image": torch.ones(3, 20, 20), "bands": bands}
    >>> (Stripes(2, columns=0.1)(sample)["image"] != 1).sum(dim=(1, 2)).sort().values
    tensor([ 0, 40, 40])
    """

    def __init__(
        self,
        bands: float = 1 / 3,
        *,
        columns: Span = (0.05, 0.15),
        strength: float = 0.25,
        key: str = "image",
        keep: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(bands, columns=columns, key=key, keep=keep, seed=seed)
        self.strength = span("strength", strength, 0.0)[1]

    def corrupt(self, x: Tensor, valid: Tensor | None, g: Generator) -> None:
        """Shift the columns."""
        bands = self.choose(x, g)
        rows, chosen = self.lines(x, bands, g)
        x[rows, bands] -= (kinds.uniform(x, chosen.shape, -self.strength, self.strength, g) * chosen).unsqueeze(-2)

    def settings(self) -> dict[str, Any]:
        """Return bands, columns and strength."""
        return {**super().settings(), "strength": self.strength}


class Deadlines(_Columns):
    """Set whole columns of some bands to 0, as dead detectors do.

    Parameters
    ----------
    bands, columns : as for `Stripes`
    key, keep, seed : as for `NoiseTransform`

    Raises
    ------
    TransformError
        If an argument is out of range; on an image of raw numbers or decibels, or of too few bands.

    References
    ----------
    .. [1] ``Vandermode/QRNN3D``, ``matlab/generate_dataset_deadline.m``, which spoils 10 bands; see `Noise`.

    Examples
    --------
    >>> from geodata.bands import Bands
    >>> bands = Bands(["a", "b", "c"], state="reflectance")
    >>> sample = {"key": "x", "draw": torch.tensor([0, 0]), "image": torch.ones(3, 20, 20), "bands": bands}
    >>> (Deadlines(2, columns=0.1)(sample)["image"] == 0).sum(dim=(1, 2)).sort().values
    tensor([ 0, 40, 40])
    """

    def corrupt(self, x: Tensor, valid: Tensor | None, g: Generator) -> None:
        """Empty the columns."""
        bands = self.choose(x, g)
        rows, chosen = self.lines(x, bands, g)
        x[rows, bands] *= ~chosen.unsqueeze(-2)


class Impulses(_SomeBands):
    """Salt and pepper: set pixels of some bands to 1 or 0.

    Parameters
    ----------
    bands : as for `Stripes`
    amounts : shares of the pixels, 0 to 1; one is picked for each band
    salt : share of the hit pixels that become 1, 0 to 1
    key, keep, seed : as for `NoiseTransform`

    Raises
    ------
    TransformError
        If an argument is out of range; on an image of raw numbers or decibels, or of too few bands.

    References
    ----------
    .. [1] ``Vandermode/QRNN3D``, ``matlab/generate_dataset_impulse.m``, which spoils 10 bands; see `Noise`.

    Examples
    --------
    >>> from geodata.bands import Bands
    >>> bands = Bands(["a", "b", "c"], state="reflectance")
    >>> sample = {"key": "x", "draw": torch.tensor([0, 0]), "image": torch.ones(3, 20, 20), "bands": bands}
    >>> round(float((Impulses(1, amounts=[0.5], salt=0)(sample)["image"] == 0).sum() / 400), 1)
    0.5
    """

    def __init__(
        self,
        bands: float = 1 / 3,
        *,
        amounts: Iterable[float] = (0.1, 0.3, 0.5, 0.7),
        salt: float = 0.5,
        key: str = "image",
        keep: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(bands, key=key, keep=keep, seed=seed)
        self.amounts = numbers("amounts", amounts, 0.0, 1.0)
        self.salt = share("salt", salt)

    def corrupt(self, x: Tensor, valid: Tensor | None, g: Generator) -> None:
        """Set the pixels."""
        bands = self.choose(x, g)
        kinds.impulses(x, bands, kinds.choice(x, bands.shape, self.amounts, g), self.salt, g)

    def settings(self) -> dict[str, Any]:
        """Return bands, amounts and salt."""
        return {"bands": self.bands, "amounts": list(self.amounts), "salt": self.salt}


class DeadPixels(NoiseTransform):
    """Set single pixels to 0: of one band each, or in every band.

    Parameters
    ----------
    rate : chance of a pixel, 0 to 1
    every_band : bool
        The same pixels are dead in every band; otherwise each band has its own.
    key, keep, seed : as for `NoiseTransform`

    Raises
    ------
    TransformError
        If an argument is out of range; on an image of raw numbers or decibels.

    Examples
    --------
    >>> from geodata.bands import Bands
    >>> bands = Bands(["a", "b", "c"], state="reflectance")
    >>> sample = {"key": "x", "draw": torch.tensor([0, 0]), "image": torch.ones(3, 20, 20), "bands": bands}
    >>> round(float((DeadPixels(0.1)(sample)["image"] == 0).float().mean()), 1)
    0.1
    """

    def __init__(
        self, rate: float = 0.01, *, every_band: bool = False, key: str = "image", keep: bool = True, seed: int = 0
    ) -> None:
        super().__init__(key=key, keep=keep, seed=seed)
        self.rate, self.every_band = share("rate", rate), bool(every_band)

    def corrupt(self, x: Tensor, valid: Tensor | None, g: Generator) -> None:
        """Empty the pixels."""
        shape = (len(x), 1, *x.shape[2:]) if self.every_band else x.shape
        x *= torch.rand(shape, generator=g, device=x.device) >= self.rate

    def settings(self) -> dict[str, Any]:
        """Return the rate and every_band."""
        return {"rate": self.rate, "every_band": self.every_band}


class OutlierBands(_SomeBands):
    """Give some bands a wrong calibration: x * gain + offset.

    Parameters
    ----------
    bands : as for `Stripes`
    gain, offset : number, or two to draw between, for each band; offset in units of the image
    key, keep, seed : as for `NoiseTransform`

    Raises
    ------
    TransformError
        If an argument is out of range; on an image of raw numbers or decibels, or of too few bands.

    Examples
    --------
    >>> from geodata.bands import Bands
    >>> bands = Bands(["a", "b", "c"], state="reflectance")
    >>> sample = {"key": "x", "draw": torch.tensor([0, 0]), "image": torch.ones(3, 20, 20), "bands": bands}
    >>> OutlierBands(1, gain=2, offset=0)(sample)["image"].mean(dim=(1, 2)).sort().values
    tensor([1., 1., 2.])
    """

    def __init__(
        self,
        bands: float = 1,
        *,
        gain: Span = (0.5, 1.5),
        offset: Span = (-0.2, 0.2),
        key: str = "image",
        keep: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(bands, key=key, keep=keep, seed=seed)
        self.gain, self.offset = span("gain", gain), span("offset", offset)

    def corrupt(self, x: Tensor, valid: Tensor | None, g: Generator) -> None:
        """Change the bands."""
        bands = self.choose(x, g)
        gain, offset = (kinds.uniform(x, (*bands.shape, 1, 1), *ends, g) for ends in (self.gain, self.offset))
        rows = torch.arange(len(x), device=x.device)[:, None]
        x[rows, bands] = x[rows, bands] * gain + offset

    def settings(self) -> dict[str, Any]:
        """Return bands, gain and offset."""
        return {"bands": self.bands, "gain": plain(self.gain), "offset": plain(self.offset)}
