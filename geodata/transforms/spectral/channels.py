"""Transforms that choose, order and pad the bands of an image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from geodata.bands import Band, Bands
from geodata.errors import BandsError, TransformError
from geodata.transforms.draws import Draws
from geodata.transforms.image import ImageTransform, flags_of
from geodata.transforms.layout import dtype_name, is_batch

__all__ = ["BandMixing", "DropBands", "PadBands", "SelectBands", "band_mask_of", "refuse_padded", "target_bands"]


class _BesideMask(ImageTransform):
    """A transform of bands, beside which ``band_mask`` may say which of them a sample has."""

    def __init__(self, key: str = "image") -> None:
        super().__init__(key)
        self.mask = f"band_mask{self.suffix}"
        self.reads = (*self.reads, "key", self.mask)
        self.writes = (*self.writes, self.mask)


class BandMixing(_BesideMask):
    """Base of transforms that calculate across bands: refuses filled ones, and leaves no ``band_mask`` of the old bands."""

    def run(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
        """Change an image of which all bands are observed."""
        if self.mask in batch and isinstance(batch.get(self.key), Tensor):
            refuse_padded(batch, self.key, who=type(self).__name__)
        out = super().run(batch, draws)
        out.pop(self.mask, None)
        return out


class _Masked(_BesideMask):
    """A transform of bands that keeps ``band_mask``, which bands of a sample are observed, beside the image."""

    def run(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
        """Change the image, and the mask of its bands with it."""
        out = super().run(batch, draws)
        mask = self.change_mask(batch)
        return out if mask is None else {**out, self.mask: mask}

    def change_mask(self, batch: Mapping[str, Any]) -> Tensor | None:
        """Return the new mask, or None for none."""
        mask = band_mask_of(batch, self.key)
        return None if mask is None else mask[..., self._positions(batch[f"bands{self.suffix}"])]

    def change(self, image: Tensor, bands: Bands, batch: Mapping[str, Any], draws: Draws) -> tuple[Tensor, Bands]:
        """Take the chosen bands."""
        positions = self._positions(bands)
        if not positions:
            raise BandsError(f"{type(self).__name__} leaves none of the bands of {self.key!r}: {bands!r}")
        first, last = positions[0], positions[-1]
        if positions == list(range(first, last + 1)):
            # Neighbours are a view: no pixel is copied.
            taken = image if len(positions) == len(bands) else image[..., first : last + 1, :, :]
        else:
            taken = image[..., positions, :, :]
        return taken, Bands((bands[i] for i in positions), bands.state)

    def _positions(self, bands: Bands) -> list[int]:
        raise NotImplementedError

    def __repr__(self) -> str:
        text = super().__repr__()
        return text if len(text) <= 190 else f"{text[:150]}..., key={self.key!r})"


class SelectBands(_Masked):
    """Keep the named bands, in the given order.

    ``band_mask``, if there is one, is kept in register. Any dtype and state. Neighbouring bands are a view of the
    image, others a copy.

    Parameters
    ----------
    bands : list of names, common names, or wavelengths in nm
        A wavelength takes the nearest band, within the limits of `Bands.nearest`.
    key : "image" or "image_<name>"

    Raises
    ------
    TransformError
        If there are none; on a batch without the image or its bands.
    BandsError
        On an image that lacks one of them, or where a common name belongs to several.

    Examples
    --------
    >>> sample = {"image": torch.arange(3.0).reshape(3, 1, 1), "bands": Bands(["B02", "B03", "B04"])}
    >>> out = SelectBands(["B04", "B02"])(sample)
    >>> out["image"].flatten(), out["bands"].names
    (tensor([2., 0.]), ('B04', 'B02'))
    """

    def __init__(self, bands: Iterable[str | float], *, key: str = "image") -> None:
        super().__init__(key)
        self.bands = _asked(bands)

    def _positions(self, bands: Bands) -> list[int]:
        return [bands.position(band.name) for band in bands.select(self.bands)]

    def config(self) -> dict[str, Any]:
        """Return the bands and the key."""
        return {"bands": list(self.bands), "key": self.key}

    @property
    def effect(self) -> str:
        """Selects."""
        return f"{self.key}: {len(self.bands)} bands"


class DropBands(_Masked):
    """Take the named bands away; the others keep their order. As `SelectBands` otherwise.

    Examples
    --------
    >>> sample = {"image": torch.arange(3.0).reshape(3, 1, 1), "bands": Bands(["B02", "B03", "B04"])}
    >>> DropBands(["B03"])(sample)["image"].flatten()
    tensor([0., 2.])
    """

    def __init__(self, bands: Iterable[str | float], *, key: str = "image") -> None:
        super().__init__(key)
        self.bands = _asked(bands)

    def _positions(self, bands: Bands) -> list[int]:
        dropped = {bands.position(band.name) for band in bands.select(self.bands)}
        return [i for i in range(len(bands)) if i not in dropped]

    def config(self) -> dict[str, Any]:
        """Return the bands and the key."""
        return {"bands": list(self.bands), "key": self.key}

    @property
    def effect(self) -> str:
        """Drops."""
        return f"{self.key}: {len(self.bands)} bands fewer"


class PadBands(_Masked):
    """Bring the bands into the order of a target; those that are missing are filled and marked.

    Bands are found by `Bands.match`: by name, spelling, common name or wavelength, never by position, and never by name
    against the wavelength. They take the names of the target and keep their own wavelengths and scale. Bands that the
    target lacks are left out. ``band_mask``, bool (C,) or (B, C), is True where a band is observed. State and dtype stay;
    the fill is in the units of the image, so pad before or after scaling, as the fill was meant.

    Parameters
    ----------
    target : Bands, the name of a sensor known to `Bands.of_sensor`, or a list of names
    fill : number, or {target band: number}
        A mapping must name every band that is missing.
    tolerance : nm, or None for that of `Bands.match`
    key : "image" or "image_<name>"

    Raises
    ------
    TransformError
        If an argument is of no use; on an integer image that cannot hold the fill.
    BandsError
        On an image with none of the bands, with bands that could each be the same, or without a fill for a missing one.

    Examples
    --------
    >>> sample = {"key": "a", "image": torch.ones(2, 1, 1), "bands": Bands(["B4", "b02"])}
    >>> out = PadBands(["B02", "B03", "B04"], fill=-1.0)(sample)
    >>> out["image"].flatten(), out["band_mask"], out["bands"].names
    (tensor([ 1., -1.,  1.]), tensor([ True, False,  True]), ('B02', 'B03', 'B04'))
    """

    def __init__(
        self,
        target: Bands | str | Mapping[str, Any] | Iterable[str | Band],
        *,
        fill: float | Mapping[str, float] = 0.0,
        tolerance: float | None = None,
        key: str = "image",
    ) -> None:
        super().__init__(key)
        self.target = target_bands(target)
        unknown = sorted(set(fill) - set(self.target.names)) if isinstance(fill, Mapping) else []
        if unknown:
            raise TransformError(f"fill is given for bands that the target lacks: {', '.join(unknown)}")
        self.fill = {str(n): _number(v) for n, v in fill.items()} if isinstance(fill, Mapping) else _number(fill)
        self.tolerance = tolerance
        self._found: tuple[Bands, list[int | None]] | None = None

    def change(self, image: Tensor, bands: Bands, batch: Mapping[str, Any], draws: Draws) -> tuple[Tensor, Bands]:
        """Copy every band to its place and fill the rest."""
        found = self._match(bands)
        out = image.new_empty((*image.shape[:-3], len(found), *image.shape[-2:]))
        made = []
        for k, (band, i) in enumerate(zip(self.target, found, strict=True)):
            out[..., k, :, :] = image[..., i, :, :] if i is not None else self._filled(band.name, image)
            there = band if i is None else bands[i]
            made.append(replace(there, name=band.name, common_name=band.common_name or there.common_name))
        return out, Bands(made, bands.state)

    def change_mask(self, batch: Mapping[str, Any]) -> Tensor:
        """Mark the bands that were found, and were observed before."""
        found, image = self._match(batch[f"bands{self.suffix}"]), batch[self.key]
        mask = torch.tensor([i is not None for i in found], device=image.device)
        before = band_mask_of(batch, self.key)
        if before is not None:
            return mask & before[..., [i or 0 for i in found]]
        return mask.expand(image.shape[0], -1).contiguous() if is_batch(batch) else mask

    def _match(self, bands: Bands) -> list[int | None]:
        if self._found is None or self._found[0] != bands:
            found = bands.match(self.target, tolerance=self.tolerance)
            if len(self.target) and not any(i is not None for i in found):
                bands.match(self.target, tolerance=self.tolerance, strict=True)
            self._found = (bands, found)
        return self._found[1]

    def _filled(self, name: str, image: Tensor) -> Tensor:
        if isinstance(self.fill, dict) and name not in self.fill:
            raise BandsError(
                f"{self.key!r} lacks band {name!r} and fill says nothing of it; add fill={{{name!r}: ...}}"
            )
        value = self.fill[name] if isinstance(self.fill, dict) else self.fill
        held = torch.tensor(value, dtype=torch.float64).to(image.dtype)
        rounds = image.is_floating_point() or image.is_complex()
        if not (held.isfinite() if rounds else held.to(torch.float64) == value):
            dtype = dtype_name(image.dtype)
            raise TransformError(f"{self.key!r} is {dtype} and cannot hold the fill {value} of band {name!r}")
        return held.to(image.device)

    def config(self) -> dict[str, Any]:
        """Return the target, fill, tolerance and key."""
        fill = dict(self.fill) if isinstance(self.fill, dict) else self.fill
        return {"target": self.target.to_dict(), "fill": fill, "tolerance": self.tolerance, "key": self.key}

    @property
    def effect(self) -> str:
        """Pads."""
        return f"{self.key}: {len(self.target)} bands, missing ones filled; {self.mask}"

    def __repr__(self) -> str:
        fill = "{...}" if isinstance(self.fill, dict) else self.fill
        names = ", ".join(self.target.names[:3])
        return f"PadBands({len(self.target)} bands: {names}, ..., fill={fill}, key={self.key!r})"


def target_bands(target: Bands | str | Mapping[str, Any] | Iterable[str | Band]) -> Bands:
    """Return bands given as such, as the name of a sensor, as their saved data, or as names."""
    if isinstance(target, Bands):
        found = target
    elif isinstance(target, str):
        found = Bands.of_sensor(target)
    elif isinstance(target, Mapping):
        try:
            found = Bands.from_dict(dict(target))
        except (KeyError, TypeError) as error:
            raise BandsError(f"{target!r:.200} are no bands as Bands.to_dict gives them: {error!r}") from None
    else:
        found = Bands(target)
    if not len(found):
        raise TransformError("the target has no bands")
    return found


def band_mask_of(batch: Mapping[str, Any], key: str) -> Tensor | None:
    """Return which bands of an image are observed, (C,) bool for a sample and (B, C) for a batch, or None if all are.

    Raises
    ------
    TransformError
        If ``band_mask`` is no bool tensor of that shape.
    """
    image: Tensor = batch[key]
    samples = (image.shape[0],) if "band_mask" + key.removeprefix("image") in batch and is_batch(batch) else ()
    return flags_of(batch, "band_mask", key, (*samples, image.shape[-3]))


def refuse_padded(batch: Mapping[str, Any], key: str, *, who: str) -> None:
    """Raise TransformError if bands of an image are filled: arithmetic across bands would mix the fill in."""
    mask = band_mask_of(batch, key)
    if mask is not None and not bool(mask.all()):
        raise TransformError(f"some bands of {key!r} are not observed; {who} mixes bands, so put it before PadBands")


def _asked(bands: Any) -> list[str | float]:
    if isinstance(bands, (str, Mapping)) or not isinstance(bands, Iterable):
        raise TransformError(f"bands {bands!r} must be a list of names or wavelengths in nm, for example ['B04', 842]")
    items = list(bands)
    numbers = [item for item in items if not isinstance(item, str)]
    if not items or any(isinstance(n, bool) or not isinstance(n, Real) for n in numbers):
        raise TransformError(f"bands {items!r} must be one or more names, common names or wavelengths in nm")
    return [item if isinstance(item, str) else float(item) for item in items]


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not abs(float(value)) < float("inf"):
        raise TransformError(f"fill {value!r} must be a finite number, or {{band: number}}")
    return float(value)
