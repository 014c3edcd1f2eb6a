"""Scenes made for unmixing: mixed from given spectra, or from a classified scene by looking at it from further away."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geodata.errors import BandsError, DtypeError, GridError

__all__ = ["Problem", "from_classification", "synthesize"]


@dataclass(frozen=True, eq=False)
class Problem:
    """A scene, and what it is mixed of.

    Parameters
    ----------
    image : (C, H, W) float32
    abundance : (P, H, W) float32, not negative, sums to 1 within 1e-6 where valid, 0 elsewhere
    endmembers : (P, C) float32, the spectrum of each
    valid : (H, W) bool, where the abundances are known
    classes : P numbers, what each endmember is called in the labels; 0, 1, 2... for a synthetic scene
    snr : ratio of signal to noise in decibels, or None for no noise of ours
    """

    image: NDArray[np.float32]
    abundance: NDArray[np.float32]
    endmembers: NDArray[np.float32]
    valid: NDArray[np.bool_]
    classes: tuple[int, ...]
    snr: float | None = None


def synthesize(
    endmembers: ArrayLike,
    *,
    size: int = 64,
    purity: float = 0.8,
    window: int = 7,
    snr: float | None = None,
    seed: int = 0,
    block: int = 8,
) -> Problem:
    """Make a scene that is mixed linearly of given spectra.

    Blocks of one endmember each, as many of every endmember, are laid out at random and blurred by a mean filter; a
    border of one window, where the filter meets the edge, is cut off. Pixels purer than allowed become equal mixtures of
    all endmembers. White Gaussian noise of variance ``mean(image ** 2) / 10 ** (snr / 10)`` is added, also where it
    makes values negative. The same arguments give the same scene on every machine, up to rounding.

    Parameters
    ----------
    endmembers : (P, C) real numbers, P >= 2, finite
    size : side of the scene in pixels, after the border is cut off
    purity : 1 / P to 1, the most that a single endmember may have of a pixel; 1 allows pure pixels
    window : odd side of the mean filter, pixels; 1 does not blur
    snr : decibels, or None for no noise
    seed : 0 or above
    block : side of a block, pixels

    Raises
    ------
    BandsError
        If the spectra are no finite (P, C) table with two rows or more.
    GridError
        If a number is outside its range, or there are fewer blocks than endmembers.

    Examples
    --------
    >>> scene = synthesize([[0.1, 0.2, 0.3], [0.4, 0.2, 0.1]], size=32, purity=0.9, snr=30, seed=1)
    >>> scene.image.shape, scene.abundance.shape, bool(scene.abundance.max() <= 0.9)
    ((3, 32, 32), (2, 32, 32), True)

    References
    ----------
    .. [1] The scheme of the synthetic scenes of Miao and Qi, IEEE TGRS 45(3), 2007, as used in surveys of unmixing.
    """
    spectra = _spectra(endmembers)
    count = len(spectra)
    for name, value, least in (("size", size, 1), ("window", window, 1), ("block", block, 1), ("seed", seed, 0)):
        _check_whole(name, value, least)
    if window % 2 == 0:
        raise GridError(f"window={window} must be odd, so that a filter has a middle")
    if not isinstance(purity, Real) or not 1 / count <= purity <= 1:
        raise GridError(f"purity={purity} must be within 1/{count} and 1: {count} endmembers cannot all have less")
    if snr is not None and not (isinstance(snr, Real) and math.isfinite(snr)):
        raise GridError(f"snr={snr} must be a number of decibels, or None for no noise")
    draw = np.random.Generator(np.random.PCG64(seed))
    shares = _blurred(_blocks(draw, count, size + 2 * window, block), window)[:, window:-window, window:-window]
    shares = np.where((shares.max(axis=0) > purity)[None], 1 / count, shares)
    image = np.einsum("pc,phw->chw", spectra, shares)
    if snr is not None:
        image += draw.standard_normal(image.shape) * math.sqrt(np.square(image).mean() / 10 ** (snr / 10))
    return Problem(
        image.astype(np.float32),
        shares.astype(np.float32),
        spectra.astype(np.float32),
        np.ones((size, size), dtype=bool),
        tuple(range(count)),
        None if snr is None else float(snr),
    )


def from_classification(cube: ArrayLike, labels: ArrayLike, *, block: int, ignore: int = -100) -> Problem:
    """Turn a classified scene into an unmixing problem: a coarser look at it, of which the shares of each class are known.

    This definition is our own. A pixel of the scene made is the mean of a block of the cube; its abundances are the shares
    of the classes in the block; an endmember is the mean spectrum of all labelled pixels of a class. A block is valid if
    all its pixels are labelled: in others the abundances are 0, and ``valid`` is False. Rows and columns beyond the last
    whole block are left out. Spectra vary within a class, so ``endmembers`` times ``abundance`` comes near the image, and
    is not the image.

    Parameters
    ----------
    cube : (C, H, W) real numbers, all finite where labelled
    labels : (H, W) whole numbers, a class each
    block : side of a block in pixels, 2 or more
    ignore : label of pixels without a class: -100 in samples, 0 in the files of most scenes

    Returns
    -------
    Problem
        Its ``classes`` are the labels that occur, ascending.

    Raises
    ------
    GridError
        If shapes do not agree, the block is no whole number of 2 or more, or larger than the scene.
    DtypeError
        If labels are not whole numbers, or the cube holds no real, finite ones.
    BandsError
        If there are fewer than two classes.
    """
    pixels, named = _scene(cube, labels)
    _check_whole("block", block, 2)
    height, width = (side // block for side in named.shape)
    if not height or not width:
        raise GridError(f"block={block} is larger than the scene, {named.shape[0]} x {named.shape[1]} pixels")
    classes = np.unique(named[named != ignore])
    if len(classes) < 2:
        raise BandsError(
            f"mixtures need two classes or more; besides ignore={ignore} the labels hold {classes.tolist()}"
        )
    spectra = np.stack([pixels[:, named == number].mean(axis=1, dtype=np.float64) for number in classes])
    if not np.isfinite(spectra).all():
        raise DtypeError("the cube holds NaN or infinity at labelled pixels; set the labels there to ignore=")
    cut = (slice(height * block), slice(width * block))
    shares = np.stack([_means((named == number)[None][:, *cut], block)[0] for number in classes])
    valid = _means((named == ignore)[None][:, *cut], block)[0] == 0
    return Problem(
        _means(pixels[:, *cut], block).astype(np.float32),
        np.where(valid[None], shares, 0).astype(np.float32),
        spectra.astype(np.float32),
        valid,
        tuple(classes.tolist()),
    )


def _spectra(endmembers: ArrayLike) -> NDArray[np.float64]:
    given = np.asarray(endmembers)
    if given.ndim != 2 or len(given) < 2 or given.dtype.kind not in "biuf" or not np.isfinite(given).all():
        raise BandsError(
            f"endmembers of shape {given.shape} and dtype {given.dtype} must be (P, C) finite real numbers with P >= 2: "
            "one row per spectrum"
        )
    return given.astype(np.float64)


def _check_whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise GridError(f"{name}={value!r} must be a whole number, {least} or above")


def _blocks(draw: np.random.Generator, count: int, side: int, block: int) -> NDArray[np.int64]:
    """Return (P, side, side) of ones and zeros: which endmember each block is of."""
    across = math.ceil(side / block)
    if across**2 < count:
        raise GridError(
            f"{across**2} blocks of {block} pixels cannot hold {count} endmembers; raise size or lower block"
        )
    kinds = draw.permutation(np.arange(across**2) % count).reshape(across, across)
    laid = kinds.repeat(block, axis=0).repeat(block, axis=1)[:side, :side]
    return np.asarray(laid[None] == np.arange(count)[:, None, None], dtype=np.int64)


def _blurred(planes: NDArray[np.int64], window: int) -> NDArray[np.float64]:
    """Return the means over a window around each pixel, where half of it lies inside; sums of whole numbers are exact."""
    half = window // 2
    sums = np.pad(planes, ((0, 0), (half, half), (half, half)))
    for axis in (1, 2):
        sums = np.lib.stride_tricks.sliding_window_view(sums, window, axis=axis).sum(axis=-1)
    return sums / window**2


def _scene(cube: ArrayLike, labels: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    pixels, named = np.asarray(cube), np.asarray(labels)
    if pixels.ndim != 3 or named.ndim != 2 or pixels.shape[1:] != named.shape:
        raise GridError(f"cube of {pixels.shape} and labels of {named.shape}; wanted (C, H, W) and (H, W) of one scene")
    if named.dtype.kind not in "iu":
        raise DtypeError(f"labels of dtype {named.dtype} must be whole numbers, one class each")
    if pixels.dtype.kind not in "iuf":
        raise DtypeError(f"a cube of dtype {pixels.dtype} holds no real numbers")
    return pixels, named


def _means(planes: NDArray[Any], block: int) -> NDArray[np.float64]:
    """Return the means of whole blocks of (N, H, W)."""
    count, height, width = planes.shape
    tiles = planes.reshape(count, height // block, block, width // block, block)
    out: NDArray[np.float64] = tiles.mean(axis=(2, 4), dtype=np.float64)
    return out
