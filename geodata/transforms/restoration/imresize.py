"""Resizing exactly as MATLAB's ``imresize`` does it, in batches and on any device."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geodata.errors import TransformError

__all__ = ["imresize", "resize_matrix", "weighted"]

Floats = NDArray[np.float64]


def imresize(image: Tensor, size: tuple[int, int], *, kernel: str = "bicubic") -> Tensor:
    """Resize as MATLAB's ``imresize(image, size, kernel)``, with its antialiasing where the image gets smaller.

    Two multiplications by small matrices, rows first. PIL and ``torch.nn.functional.interpolate(antialias=True)`` use the
    same kernel but cut it off at the border and rescale, where MATLAB mirrors the image: they agree with this
    away from the border only. OpenCV has no antialiasing and another a (-0.75).

    Parameters
    ----------
    image : (..., H, W) floating; half floats are calculated in float32
    size : height, width, both >= 1
    kernel : "bicubic" (Keys, a = -0.5) or "bilinear"

    Returns
    -------
    (..., height, width), same dtype; a NaN reaches only the pixels that its value would

    Raises
    ------
    TransformError
        If a size is below 1, the image is empty or not floating, or the kernel is not known.

    References
    ----------
    .. [1] R. Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 29 (1981), eq. 15.
    .. [2] MathWorks, documentation of ``imresize``, "Antialiasing".

    Examples
    --------
    >>> steps = [1.0, 1.25, 1.75, 2.0]
    >>> image = torch.tensor([[a + b for b in steps] for a in (0.0, 0.5, 1.5, 2.0)])
    >>> imresize(image, (2, 2), kernel="bilinear")
    tensor([[1.5625, 2.1875],
            [2.8125, 3.4375]])
    """
    if not image.is_floating_point():
        raise TransformError(f"imresize works on floating numbers, got {image.dtype}; call T.ToFloat() first")
    rows, columns = (resize_matrix(n, m, kernel=kernel) for n, m in zip(image.shape[-2:], size, strict=True))
    return weighted(image, rows, columns)


def resize_matrix(source: int, size: int, *, kernel: str = "bicubic", shift: float = 0.0) -> Floats:
    """Return the weights of one axis.

    Parameters
    ----------
    source, size : length before and after, >= 1
    kernel : "bicubic" or "bilinear"
    shift : by how many pixels of the source the result is sampled further on; MATLAB's is 0

    Returns
    -------
    (size, source) float64, rows sum to 1

    Raises
    ------
    TransformError
        If a length is below 1 or the kernel is not known.
    """
    if kernel not in _KERNELS:
        raise TransformError(f"kernel {kernel!r} must be one of {', '.join(_KERNELS)}")
    if source < 1 or size < 1:
        raise TransformError(f"cannot resize {source} pixels to {size}; both must be 1 or more")
    shape, width = _KERNELS[kernel]
    scale = size / source
    # A smaller image needs a wider kernel, or it would alias.
    stretch = min(scale, 1.0)
    centre = (np.arange(size) + 0.5) / scale - 0.5 + shift
    first = np.floor(centre - width / stretch / 2).astype(np.int64)
    taps = first[:, None] + np.arange(math.ceil(width / stretch) + 2)
    weights = shape((centre[:, None] - taps) * stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    # Outside, the image goes on as its mirror: 0 1 2 2 1 0 0 1 2.
    mirrored = np.mod(taps, 2 * source)
    mirrored = np.where(mirrored < source, mirrored, 2 * source - 1 - mirrored)
    out = np.zeros((size, source))
    np.add.at(out, (np.arange(size)[:, None], mirrored), weights)
    return out


def weighted(image: Tensor, rows: Floats, columns: Floats) -> Tensor:
    """Return rows @ image @ columns.T for every (H, W), in the dtype of the image; a NaN does not spread to all."""
    work = image.to(torch.promote_types(image.dtype, torch.float32))
    out = _product(work, rows, columns)
    # A product with a matrix turns 0 * NaN into NaN everywhere; such images are rare, so look before paying for it.
    if not bool(out.isfinite().all()):
        bad = ~work.isfinite()
        touched = _product(bad.to(work.dtype), np.abs(rows), np.abs(columns)) > 1e-9
        out = _product(work.masked_fill(bad, 0.0), rows, columns).masked_fill_(touched, math.nan)
    return out.to(image.dtype)


def _product(image: Tensor, rows: Floats, columns: Floats) -> Tensor:
    left, right = (torch.from_numpy(part).to(image.device, image.dtype) for part in (rows, columns))
    return left @ image @ right.T


def _cubic(x: Floats) -> Floats:
    a = np.abs(x)
    near = 1.5 * a**3 - 2.5 * a**2 + 1
    far = -0.5 * a**3 + 2.5 * a**2 - 4 * a + 2
    return np.where(a <= 1, near, np.where(a <= 2, far, 0.0))


def _triangle(x: Floats) -> Floats:
    return np.maximum(1.0 - np.abs(x), 0.0)


_KERNELS: dict[str, tuple[Callable[[Any], Floats], float]] = {"bicubic": (_cubic, 4.0), "bilinear": (_triangle, 2.0)}
