"""Transforms that average bands into other bands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geodata.bands import Band, Bands
from geodata.errors import BandsError, TransformError
from geodata.responses import Responses
from geodata.transforms.base import Needs
from geodata.transforms.draws import Draws
from geodata.transforms.image import valid_of
from geodata.transforms.spectral.channels import BandMixing

__all__ = ["BinBands", "ResampleSpectrum"]


class _Average(BandMixing):
    """New bands as weighted means of the old ones; a subclass says which."""

    needs = Needs(floating=True, states=("raw", "reflectance"))

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self._last: tuple[Bands, NDArray[np.float64], Bands] | None = None

    def change(self, image: Tensor, bands: Bands, batch: Mapping[str, Any], draws: Draws) -> tuple[Tensor, Bands]:
        """Average the bands."""
        if self._last is None or self._last[0] != bands:
            _check_common(bands, self.key, type(self).__name__)
            table, target = self._plan(bands)
            self._last = (bands, table, target)
        _, table, target = self._last
        out = _mixed(image, table)
        valid = valid_of(batch, self.key)
        return out if valid is None else out.masked_fill_(~valid.unsqueeze(-3), 0.0), target

    def _plan(self, bands: Bands) -> tuple[NDArray[np.float64], Bands]:
        """Return the weights (K, C), rows sum to 1, and the new bands."""
        raise NotImplementedError


class ResampleSpectrum(_Average):
    """Average narrow bands under the responses of another sensor.

    Each new band is a mean of the old ones weighted by its response, see `Responses.weights`. Works on reflectance, and on
    raw numbers if all bands have one scale and offset, which the new bands keep. Pixels that are not ``valid`` become 0;
    a NaN stays in the new bands that use it.

    Parameters
    ----------
    target : Responses, Bands with wavelength and fwhm, or the name of a sensor
        Bands and the sensors of `Bands.of_sensor` stand for Gaussian responses. ``Responses.measured`` gives those that
        were measured, ``Responses.airy`` those of a Fabry-Perot interferometer.
    coverage : fraction of each response that the image's bands must see, in (0, 1]
    key : "image" or "image_<name>"

    Raises
    ------
    TransformError
        On an image that is not floating, in decibels or normalised, of several scales, or with filled bands.
    BandsError
        If the target is not known; on an image whose bands have no wavelengths or see too little of a response.

    Examples
    --------
    >>> source = Bands([Band(f"{nm}", wavelength=nm, fwhm=10) for nm in range(500, 601, 10)], state="reflectance")
    >>> image = torch.linspace(0.50, 0.60, 11, dtype=torch.float64).reshape(11, 1, 1)
    >>> green = Bands([Band("green", wavelength=550, fwhm=40)])
    >>> out = ResampleSpectrum(green)({"image": image, "bands": source})
    >>> out["image"].flatten(), out["bands"].names
    (tensor([0.5500], dtype=torch.float64), ('green',))
    """

    needs = Needs(floating=True, states=("raw", "reflectance"), wavelengths=True)

    def __init__(
        self, target: Responses | Bands | str | Mapping[str, Any], *, coverage: float = 0.95, key: str = "image"
    ) -> None:
        super().__init__(key)
        if isinstance(target, (Bands, str)):
            target = Responses.gaussian(target)
        elif isinstance(target, Mapping):
            target = Responses.from_dict(target)
        if not isinstance(target, Responses) or not len(target):
            raise TransformError(f"target must be Responses, Bands or the name of a sensor, got {target!r:.100}")
        if not (isinstance(coverage, Real) and 0 < float(coverage) <= 1):
            raise TransformError(f"coverage {coverage!r} must be above 0 and at most 1")
        self.target: Responses = target
        self.coverage: float = float(coverage)

    def _plan(self, bands: Bands) -> tuple[NDArray[np.float64], Bands]:
        table = self.target.weights(bands, coverage=self.coverage)
        one = bands[0]
        gsd = _common_gsd(bands)
        made = (replace(b, gsd=gsd, unit=one.unit, scale=one.scale, offset=one.offset) for b in self.target.bands)
        return table, Bands(made, bands.state)

    def config(self) -> dict[str, Any]:
        """Return the target, coverage and key."""
        return {"target": self.target.to_dict(), "coverage": self.coverage, "key": self.key}

    @property
    def effect(self) -> str:
        """Averages."""
        return f"{self.key}: {len(self.target)} bands, means under their responses"

    def __repr__(self) -> str:
        text = super().__repr__()
        short = f"ResampleSpectrum({self.target!r} ..., coverage={self.coverage}, key={self.key!r})"
        return text if len(text) <= 190 else short


class BinBands(_Average):
    """Average neighbouring bands, as a detector does that reads several rows as one.

    A new band is the plain mean of its members. Its centre is the mean of theirs and its width reaches from the lower end
    of the first to the upper end of the last. It is called ``B001-B004`` after them; one alone keeps its name.
    What numbers it takes and what happens to invalid pixels is as for `ResampleSpectrum`.

    Parameters
    ----------
    factor : int >= 2
        So many channels become one; the last takes what is left over.
    width : nm
        Instead of ``factor``: bands are taken together whose centres fall into one interval of this width, counted from
        the shortest wavelength. The new bands are ordered by wavelength.
    key : "image" or "image_<name>"

    Examples
    --------
    >>> sample = {"image": torch.arange(4.0).reshape(4, 1, 1), "bands": Bands(["a", "b", "c", "d"])}
    >>> out = BinBands(factor=2)(sample)
    >>> out["image"].flatten(), out["bands"].names
    (tensor([0.5000, 2.5000]), ('a-b', 'c-d'))
    """

    def __init__(self, *, factor: int | None = None, width: float | None = None, key: str = "image") -> None:
        super().__init__(key)
        if (factor is None) == (width is None):
            raise TransformError("give BinBands either factor, channels in a bin, or width, nm")
        if factor is not None and (isinstance(factor, bool) or not isinstance(factor, Integral) or factor < 2):
            raise TransformError(f"factor {factor!r} must be a whole number, 2 or more")
        if width is not None and not (isinstance(width, Real) and 0 < float(width) < float("inf")):
            raise TransformError(f"width {width!r} must be above 0 nm")
        self.factor = None if factor is None else int(factor)
        self.width = None if width is None else float(width)
        if width is not None:
            self.needs = replace(self.needs, wavelengths=True)

    def _plan(self, bands: Bands) -> tuple[NDArray[np.float64], Bands]:
        if self.width is None:
            order = np.arange(len(bands))
            bins = order // (self.factor or 1)
        else:
            centres = bands.wavelengths
            order = np.argsort(centres, kind="stable")
            bins = np.floor((centres[order] - centres.min()) / self.width).astype(np.int64)
        groups = [order[bins == k] for k in np.unique(bins)]
        table = np.zeros((len(groups), len(bands)))
        for row, members in zip(table, groups, strict=True):
            row[members] = 1 / len(members)
        return table, Bands((_joined([bands[int(i)] for i in members]) for members in groups), bands.state)

    def config(self) -> dict[str, Any]:
        """Return the factor or width, and the key."""
        how = {"width": self.width} if self.factor is None else {"factor": self.factor}
        return {**how, "key": self.key}

    @property
    def effect(self) -> str:
        """Averages."""
        how = f"bins of {self.width:g} nm" if self.factor is None else f"{self.factor} become 1"
        return f"{self.key}: bands averaged, {how}"


def _joined(members: list[Band]) -> Band:
    if len(members) == 1:
        return members[0]
    name = f"{members[0].name}-{members[-1].name}"
    first = replace(members[0], name=name, common_name=None, wavelength=None, fwhm=None, gsd=_common_gsd(members))
    centres = [band.wavelength for band in members if band.wavelength is not None]
    if len(centres) < len(members):
        return first
    first = replace(first, wavelength=float(np.mean(centres)))
    widths = [band.fwhm for band in members if band.fwhm is not None]
    if len(widths) < len(members):
        return first
    low = min(c - w / 2 for c, w in zip(centres, widths, strict=True))
    return replace(first, fwhm=max(c + w / 2 for c, w in zip(centres, widths, strict=True)) - low)


def _common_gsd(bands: Iterable[Band]) -> float | None:
    """The ground sample distance of a mean: that of all its bands, or none."""
    found = {band.gsd for band in bands}
    return found.pop() if len(found) == 1 else None


def _check_common(bands: Bands, key: str, who: str) -> None:
    """Means of stored numbers mean something only where all of them are stored alike."""
    kinds = {(band.scale, band.offset, band.unit) for band in bands}
    if bands.state == "raw" and len(kinds) > 1:
        raise TransformError(
            f"the bands of {key!r} are raw and stored with {len(kinds)} different scales, offsets or units; "
            f"{who} averages them: bring them to reflectance first"
        )
    if len({band.unit for band in bands}) > 1:
        raise BandsError(f"the bands of {key!r} have several units, {who} averages them: {bands!r}")


def _mixed(image: Tensor, table: NDArray[np.float64]) -> Tensor:
    """Weighted means of the bands; a band without weight does not count, whatever it holds."""
    work = torch.promote_types(image.dtype, torch.float32)
    out = image.new_empty((*image.shape[:-3], len(table), *image.shape[-2:]))
    for k, row in enumerate(table):
        used = np.flatnonzero(row)
        first, last = int(used[0]), int(used[-1])
        if last - first + 1 == len(used):
            part = image[..., first : last + 1, :, :]
        else:
            part = image[..., torch.from_numpy(used).to(image.device), :, :]
        weights = torch.from_numpy(row[used]).to(work).to(image.device)
        out[..., k, :, :] = torch.matmul(weights, part.to(work).flatten(-2)).reshape(out[..., k, :, :].shape)
    return out
