"""Making an image coarser: which filter, which pixels are kept, and where they lie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from affine import Affine
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from geodata.errors import TransformError
from geodata.grid import Grid
from geodata.transforms.restoration.imresize import imresize, resize_matrix, weighted
from geodata.transforms.restoration.mtf import fspecial_gaussian, mtf_kernel

__all__ = ["KINDS", "check_factor", "coarser_grid", "make_coarser", "make_finer"]

KINDS = ("mtf", "bicubic", "gaussian", "uniform", "blur-bicubic", "average")

Floats = NDArray[np.float64]


def make_coarser(
    image: Tensor, valid: Tensor | None, kind: str, factor: int, gains: tuple[float, ...] = ()
) -> tuple[Tensor, Tensor | None, float]:
    """Return an image ``factor`` times coarser.

    Parameters
    ----------
    image : (..., C, H, W) floating, H and W multiples of factor
    valid : (..., H, W) bool, or None if all is
    kind : one of `KINDS`
    gains : C gains at the Nyquist frequency, for "mtf"

    Returns
    -------
    image : (..., C, H / factor, W / factor); 0 where not valid
    valid : whether half of the weight was on valid pixels, or None
    shift : by how many pixels of the source the centre of each result pixel lies off the centre of its block
    """
    shape = image.shape
    work = image.to(torch.promote_types(image.dtype, torch.float32)).reshape(-1, *shape[-3:])
    sample, shift = _sampler(kind, factor, gains)
    if valid is None:
        out, seen = sample(work), None
    else:
        mask = valid.reshape(-1, *shape[-2:]).unsqueeze(1)
        # Invalid pixels weigh nothing; the others share their weight. The sum of a filter need not be 1 exactly.
        weight = sample(mask.to(work.dtype).expand(-1, shape[-3], -1, -1))
        share = weight / sample(torch.ones_like(work[:1]))
        seen = (share >= 0.5).all(dim=1)
        out = sample(work.where(mask, torch.zeros_like(work))) / share
        out = out.where(seen.unsqueeze(1), torch.zeros_like(out))
        seen = seen.reshape(*shape[:-3], *seen.shape[-2:])
    return out.reshape(*shape[:-2], *out.shape[-2:]).to(image.dtype), seen, shift


def make_finer(image: Tensor, valid: Tensor | None, factor: int, shift: float) -> tuple[Tensor, Tensor | None]:
    """Return an image of `make_coarser` brought back to the pixels it was made from, by cubic convolution."""
    rows, columns = (resize_matrix(n, n * factor, shift=-shift / factor) for n in (image.shape[-2], image.shape[-1]))
    out = weighted(image, rows, columns)
    if valid is None:
        return out, None
    # A cubic with holes would bend towards what fills them, so a pixel is valid only if all it is made of is.
    seen = weighted((~valid).to(torch.float32), abs(rows), abs(columns)) < 1e-5
    return out.where(seen.unsqueeze(-3), torch.zeros_like(out)), seen


def coarser_grid(grid: Grid, factor: int, shift: float) -> Grid:
    """Return the grid of `make_coarser`: each pixel around the point that it was sampled for."""
    height, width = grid.shape
    back = Affine.translation(shift, shift) @ Affine.scale(factor)
    return Grid((height // factor, width // factor), grid.transform @ back, grid.crs)


def _sampler(kind: str, factor: int, gains: tuple[float, ...]) -> tuple[Callable[[Tensor], Tensor], float]:
    """Return (N, C, H, W) -> (N, C, h, w), and the shift."""
    if kind == "bicubic":
        return (lambda x: imresize(x, _size(x, factor))), 0.0
    if kind == "blur-bicubic":
        blur = fspecial_gaussian(3, 1.5)[None]
        return (lambda x: imresize(_filtered(x, blur, 1, 0, "replicate"), _size(x, factor))), 0.0
    if kind == "average":
        return (lambda x: functional.avg_pool2d(x, factor)), 0.0
    if kind == "mtf":
        kernels, phase, border = np.stack([mtf_kernel(gain, factor) for gain in gains]), factor // 2, "replicate"
    else:
        own = fspecial_gaussian(8, 3.0) if kind == "gaussian" else np.full((factor, factor), factor**-2.0)
        kernels, phase, border = own[None], 0, "wrap"
    # The middle of an even kernel is half a pixel further on than the pixel it stands at.
    middle = phase + 0.5 + (0.5 if kernels.shape[-1] % 2 == 0 else 0.0)
    return (lambda x: _filtered(x, kernels, factor, phase, border)), middle - factor / 2


def _filtered(x: Tensor, kernels: Floats, step: int, phase: int, border: str) -> Tensor:
    """Correlate every band with its kernel (or the only one), at each ``step``-th pixel from ``phase`` on."""
    taps = kernels.shape[-1]
    index = [_border(n, taps, border, x.device) for n in x.shape[-2:]]
    padded = x[..., index[0], :][..., index[1]][..., phase:, phase:]
    weight = torch.from_numpy(np.ascontiguousarray(kernels)).to(x.device, x.dtype)
    # On CUDA a single band would be left to cuDNN, which rounds to ten bits by default; two bands are not.
    bands = max(x.shape[1], 2)
    weight = weight[:, None].expand(bands, 1, taps, taps).contiguous()
    out = functional.conv2d(padded.expand(-1, bands, -1, -1), weight, stride=step, groups=bands)
    return out[:, : x.shape[1]]


def _border(size: int, taps: int, border: str, device: torch.device) -> Tensor:
    """Return the pixels that an axis of padding and all is made of; an even kernel reaches one further on than back."""
    index = torch.arange(-((taps - 1) // 2), size + taps // 2, device=device)
    return index.clamp(0, size - 1) if border == "replicate" else index % size


def _size(x: Tensor, factor: int) -> tuple[int, int]:
    return x.shape[-2] // factor, x.shape[-1] // factor


def check_factor(what: str, value: Any) -> int:
    """Return a whole number of 2 or more, or raise TransformError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 2:
        raise TransformError(f"{what} {value!r} must be a whole number, 2 or more")
    return value
