"""Quality rasters of products, decoded into which pixels are valid; and what stands where none is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from geodata.bands import Bands
from geodata.errors import BandsError, DtypeError, TransformError
from geodata.transforms.base import Needs, Transform
from geodata.transforms.draws import Draws
from geodata.transforms.image import ImageTransform, check_key, valid_of
from geodata.transforms.layout import dtype_name, family
from geodata.transforms.radiometry.products import product_of
from geodata.transforms.radiometry.scale import finite, work_dtype

__all__ = ["DecodeQuality", "FillInvalid"]

_BYTE = 8
"""Bits of a layer that holds one class for each pixel, and not flags."""


class DecodeQuality(Transform):
    """Mark pixels as not valid where a quality raster says cloud, shadow, fill...; pixels are not touched.

    ``valid`` of the image stays False where it was, and becomes False where the raster has one of the flags in ``hide``,
    where the raster itself is not valid, and where its number means nothing: negative, no whole number, or a class that the
    product does not have. A raster of half or double the pixels' size, or another whole ratio, is brought onto the pixels
    of the image; a large pixel is hidden if any of the small ones under it is.

    ===================== ========================================== ==================================================
    product               raster                                     hidden unless ``hide`` says otherwise
    ===================== ========================================== ==================================================
    enmap-l2a             QL_QUALITY_*, one band for each layer      background, cloud, cloud_shadow, cirrus_medium,
                                                                     cirrus_thick
    hls-fmask             Fmask                                      fill, cloud, adjacent, cloud_shadow
    landsat-c2-pixel      QA_PIXEL                                   fill, dilated_cloud, cirrus, cloud, cloud_shadow
    landsat-c2-radsat     QA_RADSAT of Landsat 8, 9                  all: any band saturated, terrain_occlusion
    landsat-c2-radsat-tm  QA_RADSAT of Landsat 4, 5, 7               saturated_b1 to b5 and b7, dropped
    modis-09-state        state_1km, state_500m of MOD09             cloud, cloud_mixed, cloud_shadow, cirrus_average,
                                                                     cirrus_high
    sentinel-2-scl        SCL                                        no_data, saturated_or_defective, cloud_shadow,
                                                                     cloud_medium_probability, cloud_high_probability,
                                                                     thin_cirrus
    ===================== ========================================== ==================================================

    Parameters
    ----------
    product : name in the table
    quality : key of the raster, "mask_<name>" or "image_<name>"
        Numbers as stored: a mask must not have been mapped to classes of its own. An image has one band, or, of a product
        with several layers, bands with the layers' names.
    hide : names of flags, or None for those in the table
        ``DecodeQuality.flags(product)`` lists them.
    key : "image" or "image_<name>"
        Whose ``valid`` it is.

    Raises
    ------
    TransformError
        If the product or a flag is not known; on a batch without the image or the raster, or where their sizes have no whole
        ratio.
    BandsError
        If a layer is not among the bands of the raster.

    References
    ----------
    .. [1] Each entry of ``geodata/data/products.json`` names the document its bits are from.

    Examples
    --------
    >>> batch = {"image": torch.ones(1, 1, 3), "mask_scl": torch.tensor([[4, 9, 3]])}
    >>> DecodeQuality("sentinel-2-scl", "mask_scl")(batch)["valid"]
    tensor([[ True, False, False]])
    """

    def __init__(self, product: str, quality: str, *, hide: Iterable[str] | None = None, key: str = "image") -> None:
        super().__init__()
        self.key = check_key(key)
        self.product, self.quality = product, quality
        found = family(quality) if isinstance(quality, str) else None
        if found is None or found[0] not in ("image", "mask") or quality == self.key:
            raise TransformError(f"quality {quality!r} must be the key of a raster, 'mask_<name>' or 'image_<name>'")
        self._layers: dict[str, dict[str, list[int]]] = product_of("quality", product)["layers"]
        self.hide = tuple(product_of("quality", product)["hide"] if hide is None else _names(hide))
        unknown = [name for name in self.hide if name not in self.flags(product)]
        if unknown or not self.hide:
            raise TransformError(
                f"hide {list(self.hide)} must be some of the flags of {product}: {', '.join(self.flags(product))}"
            )
        suffix, tail = self.key.removeprefix("image"), quality.removeprefix("image")
        self.reads = (self.key, f"valid{suffix}", quality)
        if found[0] == "image":
            self.reads += (f"valid{tail}", f"bands{tail}")
        self.writes = (f"valid{suffix}",)

    @staticmethod
    def flags(product: str) -> list[str]:
        """Return the names of all flags of a product."""
        return [name for layer in product_of("quality", product)["layers"].values() for name in layer]

    def run(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
        """Decode the raster and narrow down ``valid``."""
        image = batch.get(self.key)
        if not isinstance(image, Tensor) or image.ndim < 3:
            raise TransformError(f"DecodeQuality needs a tensor (..., C, H, W) under {self.key!r}")
        hidden = self._hidden(batch)
        if hidden.shape[:-2] != image.shape[:-3]:
            raise TransformError(
                f"{self.quality!r} and {self.key!r} must be of the same samples and dates; without bands and pixels their "
                f"shapes are {tuple(hidden.shape[:-2])} and {tuple(image.shape[:-3])}"
            )
        seen = ~_onto(hidden, (image.shape[-2], image.shape[-1]), self.quality, self.key)
        valid = valid_of(batch, self.key)
        return {**batch, self.writes[0]: seen if valid is None else seen & valid}

    def _hidden(self, batch: Mapping[str, Any]) -> Tensor:
        """Return where the raster hides the image, (..., H, W) bool."""
        raster = batch.get(self.quality)
        if not isinstance(raster, Tensor) or raster.is_complex():
            raise TransformError(f"DecodeQuality needs a tensor under {self.quality!r}, got {type(raster).__name__}")
        layers = {layer: flags for layer, flags in self._layers.items() if set(flags) & set(self.hide)}
        bits = max(first + width for flags in layers.values() for first, width, _ in flags.values())
        if raster.is_floating_point() and 2**bits > 2 / torch.finfo(raster.dtype).eps:
            raise TransformError(
                f"{self.quality!r} is {raster.dtype}, which cannot hold {bits} bits; read it as stored"
            )
        hidden: Tensor | None = None
        for layer, flags in layers.items():
            wrong = _flagged(self._plane(batch, raster, layer), flags, self.hide)
            hidden = wrong if hidden is None else hidden | wrong
        if self.quality.startswith("image"):
            seen = valid_of(batch, self.quality)
            hidden = hidden if seen is None or hidden is None else hidden | ~seen
        if hidden is None:
            raise TransformError(f"{self.product} has no layer for {', '.join(self.hide)}")
        return hidden

    def _plane(self, batch: Mapping[str, Any], raster: Tensor, layer: str) -> Tensor:
        """Return the numbers of a layer, (..., H, W)."""
        if self.quality.startswith("mask"):
            if len(self._layers) > 1:
                raise TransformError(
                    f"{self.product} has {len(self._layers)} layers: give an image with a band for each"
                )
            return raster
        if raster.ndim < 3:
            raise TransformError(f"{self.quality!r} has shape {tuple(raster.shape)}; an image is (..., C, H, W)")
        if len(self._layers) == 1 and raster.shape[-3] == 1:
            return raster[..., 0, :, :]
        name = "bands" + self.quality.removeprefix("image")
        bands = batch.get(name)
        if not isinstance(bands, Bands) or len(bands) != raster.shape[-3]:
            raise TransformError(
                f"{self.quality!r} has {raster.shape[-3]} bands; {name!r} must say which is which layer"
            )
        if layer not in bands.names:
            raise BandsError(
                f"{self.quality!r} has no layer {layer!r}, which {', '.join(self.hide)} ask for; there are "
                f"{', '.join(bands.names)}. Read it too, or leave its flags out of hide"
            )
        return raster[..., bands.position(layer), :, :]

    def config(self) -> dict[str, Any]:
        """Return product, raster, flags and the key."""
        return {"product": self.product, "quality": self.quality, "hide": list(self.hide), "key": self.key}

    @property
    def effect(self) -> str:
        """Narrows down."""
        flags = ", ".join(self.hide[:4]) + (", ..." if len(self.hide) > 4 else "")
        return f"{self.writes[0]}: not where {self.quality} says {flags}"

    def __repr__(self) -> str:
        own = self.hide == tuple(product_of("quality", self.product)["hide"])
        flags = "" if own else f", hide={list(self.hide)}"
        text = f"DecodeQuality({self.product!r}, {self.quality!r}{flags}, key={self.key!r})"
        return text if len(text) < 190 else text.replace(flags, f", hide=[{len(self.hide)} flags, ...]")


class FillInvalid(ImageTransform):
    """Write something into the pixels that are not valid, for models that take no mask; ``valid`` stays.

    Parameters
    ----------
    value : float or "mean"
        "mean" takes, for each band, the mean of the image's own valid pixels that are finite, of a series that of each
        date; 0 where there is none.
    key : "image" or "image_<name>"

    Raises
    ------
    TransformError
        If the value is neither; for "mean" on an image that is not floating.
    DtypeError
        If the image cannot hold the value.

    Examples
    --------
    >>> batch = {"image": torch.tensor([[[2.0, 4.0, 0.0]]]), "valid": torch.tensor([[True, True, False]])}
    >>> FillInvalid("mean")({**batch, "bands": Bands(["B04"])})["image"]
    tensor([[[2., 4., 3.]]])
    """

    def __init__(self, value: float | str = 0.0, *, key: str = "image") -> None:
        super().__init__(key)
        if value != "mean" and not finite(value):
            raise TransformError(f"value {value!r} must be a finite number or 'mean'")
        self.value = value if isinstance(value, str) else float(value)
        self.writes = (self.key,)
        self.needs = Needs(floating=value == "mean")

    def change(self, image: Tensor, bands: Bands, batch: Mapping[str, Any], draws: Draws) -> tuple[Tensor, Bands]:
        """Fill."""
        fill = None if isinstance(self.value, str) else self._number(image, self.value)
        valid = valid_of(batch, self.key)
        if valid is None:
            return image, bands
        known = valid.unsqueeze(-3)
        return torch.where(known, image, _mean(image, known) if fill is None else fill), bands

    def _number(self, image: Tensor, value: float) -> Tensor:
        if image.is_complex():
            raise DtypeError(f"{self.key!r} is complex; fill amplitudes, or real and imaginary parts as bands")
        if not image.is_floating_point():
            least, most = (
                (0, 1) if image.dtype == torch.bool else (torch.iinfo(image.dtype).min, torch.iinfo(image.dtype).max)
            )
            if not (value.is_integer() and least <= value <= most):
                dtype = dtype_name(image.dtype)
                raise DtypeError(f"{self.key!r} is {dtype}, which cannot hold {value:g}; call T.ToFloat() first")
        elif abs(value) > torch.finfo(image.dtype).max:
            raise DtypeError(f"{self.key!r} is {image.dtype}, which cannot hold {value:g}")
        return torch.tensor(value if image.is_floating_point() else int(value), dtype=image.dtype, device=image.device)

    def config(self) -> dict[str, Any]:
        """Return the value and the key."""
        return {"value": self.value, "key": self.key}

    @property
    def effect(self) -> str:
        """Fills."""
        return f"{self.key}: {self.value if isinstance(self.value, str) else f'{self.value:g}'} where not valid"


def _names(hide: Any) -> tuple[str, ...]:
    if isinstance(hide, str) or not isinstance(hide, Iterable):
        raise TransformError(f"hide {hide!r} must be a list of names of flags")
    return tuple(map(str, hide))


def _flagged(plane: Tensor, flags: Mapping[str, list[int]], hide: tuple[str, ...]) -> Tensor:
    """Return where a layer has one of the flags, or a number that means nothing."""
    # torch neither compares nor shifts the unsigned dtypes that such rasters come in.
    numbers = plane.nan_to_num(nan=-1.0).to(torch.int64) if plane.is_floating_point() else plane.to(torch.int64)
    wrong = numbers < 0
    if plane.is_floating_point():
        wrong |= plane != numbers
    if all(width == _BYTE for _, width, _ in flags.values()):
        wrong |= ~_any_of(numbers, [value for _, _, value in flags.values()])
    for name, (first, width, value) in flags.items():
        if name in hide:
            wrong |= (numbers >> first) & ((1 << width) - 1) == value
    return wrong


def _any_of(numbers: Tensor, values: list[int]) -> Tensor:
    return torch.isin(numbers, torch.tensor(values, device=numbers.device))


def _onto(hidden: Tensor, size: tuple[int, int], quality: str, key: str) -> Tensor:
    """Bring a raster of flags onto pixels of another size, by a whole ratio."""
    for axis, wanted in ((-2, size[0]), (-1, size[1])):
        have = hidden.shape[axis]
        if have == wanted:
            continue
        if have and wanted % have == 0 and wanted:
            hidden = hidden.repeat_interleave(wanted // have, dim=axis)
        elif wanted and have % wanted == 0 and have:
            at = hidden.ndim + axis
            hidden = hidden.reshape(*hidden.shape[:at], wanted, -1, *hidden.shape[at + 1 :]).any(dim=at + 1)
        else:
            raise TransformError(
                f"{quality!r} is {tuple(hidden.shape[-2:])} pixels and {key!r} {size}; one must be a whole multiple of the other"
            )
    return hidden


def _mean(image: Tensor, known: Tensor) -> Tensor:
    """Return the mean of each band over pixels that are known and finite, 0 where there is none; (..., C, 1, 1)."""
    known = known & image.isfinite()
    work = work_dtype(image)
    total = torch.where(known, image, torch.zeros_like(image)).to(work).sum((-2, -1), keepdim=True)
    return (total / known.sum((-2, -1), keepdim=True).clamp(min=1)).to(image.dtype)
