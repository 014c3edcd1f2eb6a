"""Spectral indices, computed from named bands."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from geodata.bands import Band, Bands
from geodata.errors import TransformError
from geodata.transforms.base import Needs, Transform, check_image
from geodata.transforms.derived import check_free, derived_keys, put_derived
from geodata.transforms.draws import Draws
from geodata.transforms.image import check_key, valid_of
from geodata.transforms.spectral.formulas import Formula, Value
from geodata.transforms.spectral.symbols import Index, channel_of, constant_of, find_index, is_radar, split_kernel

__all__ = ["SpectralIndex"]

_PIXELS = 1 << 18
"""That are computed at a time."""


class SpectralIndex(Transform):
    """Compute spectral indices by name from reflectance, whatever the order of the bands.

    The everyday indices (NDVI, EVI, EVI2, SAVI, MSAVI, OSAVI, GNDVI, NDREI, CIG, CIRE, ARVI, VARI, NIRv, NDWI, MNDWI, NDMI, AWEInsh,
    AWEIsh, NDSI, NBR, NBR2, NDBI, BSI) need nothing else; all others of the catalogue [1]_ need the extra ``indices``.
    Which band is "red" or "N" is told by common names or else by wavelengths; of many narrow bands the one nearest
    to the centre of Sentinel-2's band is taken. `available_indices` lists what some bands allow. Radar indices take
    linear backscatter in state raw, as `FromDecibel` gives it; thermal bands are in kelvin; kernel indices use the radial kernel with
    length scale ``sigma``.

    A pixel where any of the indices is not defined (division by zero, root of a negative number, too large for the dtype)
    is marked invalid, and 0 there, as invalid pixels are. NaN in an observed pixel of the image stays NaN.

    Parameters
    ----------
    names : name or names of indices, or a mapping name -> formula for indices of your own
        A formula has the catalogue's symbols, such as ``"(N - 2 * R) / RE1"``, or names of bands.
    constants : constant -> number, or formula of bands
        Instead of the catalogue's defaults: ``{"L": 0.5}``, ``{"sigma": "(N + R) / 2"}``. The default L is 1, but 0.5 for SAVI
        as in its paper; the wavelengths ``lambdaN``... are those of the bands.
    key : "image" or "image_<name>"
    to : "image_<name>"
        Where the indices go, with ``bands``, ``valid`` and ``grid`` of that name: ``bands_index`` have the names of the indices, unit
        "index" and state raw. ``to=key`` appends them to the image instead, whose state stays.

    Raises
    ------
    TransformError
        If an index, a constant or a formula is not known; on an image that is not floating reflectance; if ``to`` exists.
    BandsError
        On an image without a band that an index needs.
    MissingDependencyError
        If an index is not one of the everyday ones and the extra is not installed.

    References
    ----------
    .. [1] D. Montero et al., "A standardized catalogue of spectral indices to advance the use of remote sensing in Earth
       system research", Scientific Data 10, 197, 2023.

    Examples
    --------
    >>> bands = Bands(["red", "nir"], state="reflectance")
    >>> out = SpectralIndex("NDVI")({"image": torch.tensor([[[0.1]], [[0.3]]]), "bands": bands})
    >>> out["image_index"], out["bands_index"].names
    (tensor([[[0.5000]]]), ('NDVI',))
    """

    def __init__(
        self,
        names: str | Iterable[str] | Mapping[str, str],
        *,
        constants: Mapping[str, float | str] | None = None,
        key: str = "image",
        to: str = "image_index",
    ) -> None:
        super().__init__()
        self.names: list[str] | dict[str, str] = _names(names)
        self.indices = [_index(self.names, name) for name in self.names]
        self.constants = _constants(constants, self.indices)
        radar = {is_radar(index) for index in self.indices}
        if len(radar) > 1:
            raise TransformError(
                f"{list(self.names)} are indices of reflectance and of radar; take one transform for each"
            )
        self.needs = Needs(floating=True, states=("raw",) if radar == {True} else ("reflectance",))
        self.key, self.target = check_key(key), check_key(to)
        self.reads, self.writes = derived_keys(self.key), derived_keys(self.target)

    def run(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
        """Compute the indices and put them beside or behind the image."""
        self._check_state(batch.get(f"bands{self.key.removeprefix('image')}"))
        image, bands = check_image(batch, self.key, self.needs, who=type(self).__name__)
        if self.target != self.key:
            check_free(batch, self.target, who=type(self).__name__)
        plans = [_Plan(index, bands, self.constants) for index in self.indices]
        valid = valid_of(batch, self.key)
        found, valid = _cleaned(_computed(plans, image), image, valid, plans)
        if valid is None:
            valid = image.new_ones(image.shape[:-3] + image.shape[-2:], dtype=torch.bool)
        new = Bands([Band(index.name, unit="index") for index in self.indices])
        if self.target == self.key:
            found, new = torch.cat([image, found], dim=-3), Bands([*bands, *new], bands.state)
        return put_derived(batch, self.key, self.target, image=found, bands=new, valid=valid)

    def _check_state(self, bands: Any) -> None:
        if isinstance(bands, Bands) and bands.state not in self.needs.states:
            radar = self.needs.states == ("raw",)
            first = (
                "linear backscatter, state raw: call T.FromDecibel()"
                if radar
                else "reflectance: call T.ToReflectance()"
            )
            raise TransformError(f"{self.key!r} is {bands.state}; {', '.join(self.names):.80} need {first} first")

    def config(self) -> dict[str, Any]:
        """Return names, constants and keys."""
        names: Any = dict(self.names) if isinstance(self.names, dict) else list(self.names)
        return {"names": names, "constants": dict(self.constants) or None, "key": self.key, "to": self.target}

    @property
    def effect(self) -> str:
        """Computes."""
        names = ", ".join(list(self.names)[:4]) + (", ..." if len(self.names) > 4 else "")
        return f"{self.key}: {names} -> {self.target}, {len(self.names)} channels" + (
            " more" if self.target == self.key else ""
        )

    def __repr__(self) -> str:
        text = super().__repr__()
        if len(text) <= 190:
            return text
        names = ", ".join(list(self.names)[:4])
        return f"SpectralIndex({len(self.names)} indices: {names:.80}, ..., key={self.key!r}, to={self.target!r})"


class _Plan:
    """One index on some bands: which name is which channel, number or further formula."""

    def __init__(self, index: Index, bands: Bands, constants: Mapping[str, Any]) -> None:
        self.formula = index.formula
        self.names: dict[str, int | float | Formula | tuple[str, str]] = {}
        given = {**index.constants, **constants}
        todo = list(self.formula.names)
        while todo:
            name = todo.pop()
            if name in self.names:
                continue
            kernel, constant = split_kernel(name), constant_of(name, bands, given)
            if constant is None and kernel is not None:
                self.names[name] = kernel
                todo += [*kernel, "sigma"]
            elif isinstance(constant, str):
                self.names[name] = Formula.of(constant)
                todo += Formula.of(constant).names
            else:
                self.names[name] = channel_of(name, bands) if constant is None else float(constant)

    @property
    def channels(self) -> set[int]:
        return {v for v in self.names.values() if isinstance(v, int)}

    def compute(self, image: Tensor, out: Tensor | None) -> Value:
        values: dict[str, Value] = {}
        for name in self.formula.names:
            self._fill(name, image, values)
        return self.formula.compute(values, out)

    def _fill(self, name: str, image: Tensor, values: dict[str, Value]) -> None:
        if name in values:
            return
        what = self.names[name]
        if isinstance(what, tuple):
            for part in (*what, "sigma"):
                self._fill(part, image, values)
            a, b, sigma = values[what[0]], values[what[1]], values["sigma"]
            values[name] = 1.0 if what[0] == what[1] else torch.exp(torch.as_tensor(-((a - b) ** 2) / (2 * sigma**2)))
        elif isinstance(what, Formula):
            for part in what.names:
                self._fill(part, image, values)
            values[name] = what.compute(values)
        elif isinstance(what, int):
            band = image.select(-3, what)
            # Half floats are too coarse for ratios of differences.
            values[name] = band.float() if band.dtype in (torch.float16, torch.bfloat16) else band
        else:
            values[name] = what


def _computed(plans: list[_Plan], image: Tensor) -> Tensor:
    """(..., K, H, W) of the dtype of the image."""
    work = torch.promote_types(image.dtype, torch.float32)
    shape = (*image.shape[:-3], len(plans), *image.shape[-2:])
    if image.requires_grad and torch.is_grad_enabled():
        one = image.new_ones(shape[:-3] + shape[-2:], dtype=work)
        return torch.stack([plan.compute(image, None) * one for plan in plans], dim=-3).to(image.dtype)
    out = torch.empty(shape, dtype=work, device=image.device)
    # A few samples at a time: what lies between the steps of a formula stays in the cache of a CPU.
    few = max(1, _PIXELS // max(1, math.prod(shape[1:-3] + shape[-2:])))
    apart = image.ndim > 3 and image.device.type == "cpu"
    blocks = zip(torch.split(image, few), torch.split(out, few), strict=True) if apart else [(image, out)]
    for part, into in blocks:
        for k, plan in enumerate(plans):
            plan.compute(part, into.select(-3, k))
    return out.to(image.dtype)


def _cleaned(found: Tensor, image: Tensor, valid: Tensor | None, plans: list[_Plan]) -> tuple[Tensor, Tensor | None]:
    """Set what is not observed or not defined to 0, and say where."""
    if valid is not None:
        found.masked_fill_(~valid.unsqueeze(-3), 0.0)
    # A sum is the cheapest look for numbers that are not finite; elsewhere than on a CPU it would wait for the device.
    if found.device.type == "cpu" and bool(found.detach().sum().isfinite()):
        return found, valid
    used = sorted(set().union(*(plan.channels for plan in plans)))
    known = torch.isfinite(image.detach()[..., used, :, :]).all(dim=-3)
    undefined = (~torch.isfinite(found.detach())).any(dim=-3) & known
    found.masked_fill_(undefined.unsqueeze(-3), 0.0)
    return found, ~undefined if valid is None else valid & ~undefined


def _names(names: Any) -> list[str] | dict[str, str]:
    if isinstance(names, Mapping):
        items: list[str] | dict[str, str] = dict(names)
    else:
        items = [names] if isinstance(names, str) or not isinstance(names, Iterable) else list(names)
    if not items or any(not isinstance(n, str) or not n for n in items) or len(set(items)) != len(items):
        raise TransformError(f"names {names!r:.200} must be one or more names of indices, each once: ['NDVI', 'EVI']")
    return items


def _index(names: list[str] | dict[str, str], name: str) -> Index:
    return Index(name, Formula.of(names[name])) if isinstance(names, dict) else find_index(name)


def _constants(constants: Any, indices: list[Index]) -> dict[str, float | str]:
    if not isinstance(constants, (Mapping, type(None))):
        raise TransformError(f"constants must be {{'L': 0.5, ...}}, got {constants!r:.200}")
    given = dict(constants or {})
    formulas = [Formula.of(value) for value in given.values() if isinstance(value, str)]
    used = set().union(*(f.names for f in [*(index.formula for index in indices), *formulas]))
    used |= {part for name in used for part in split_kernel(name) or ()}
    used |= {"sigma"} if any(split_kernel(name) for name in used) else set()
    for name, value in given.items():
        if name not in used:
            raise TransformError(f"no index here has a constant {name!r}; there are: {', '.join(sorted(used))}")
        if isinstance(value, str):
            if name in Formula.of(value).names or any(isinstance(given.get(n), str) for n in Formula.of(value).names):
                raise TransformError(f"constant {name!r} is {value!r}: a formula of bands and numbers only")
        elif isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < float("inf"):
            raise TransformError(f"constant {name!r} must be a finite number or a formula, got {value!r}")
    return given
