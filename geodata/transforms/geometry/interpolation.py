"""Numbers between pixels, taken from valid pixels alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from geodata.transforms.geometry.maps import Map
from geodata.transforms.layout import Size, all_true

__all__ = ["LEAST", "gather", "pick", "resize", "warp"]

LEAST = 0.5 - 5e-5
"""A number is valid if valid pixels have at least half of its weight. What is just half must be found so however weights are
rounded: an image and its ``valid`` are sampled apart, in dtypes of their own."""


def warp(x: Tensor, valid: Tensor | None, backs: Sequence[Map], size: Size, mode: str, fill: float = 0.0) -> Tensor:
    """Interpolate n images, each under its own map.

    Parameters
    ----------
    x : (n, ..., C, H, W) floating; or (n, ..., H, W) bool, what is valid
    valid : (n, ..., H, W) bool, or None if all is
    backs : column, row positions in the result -> in the image, one of each n
    size : height, width of the result
    mode : "bilinear" or "bicubic"
    fill : where valid pixels inside the image have less than half of the weight

    References
    ----------
    .. [1] H. Knutsson, C.-F. Westin, "Normalized and differential convolution", CVPR 1993, equation 6.
    """
    work = torch.float64 if x.dtype == torch.float64 else torch.float32
    at = _positions(backs, size, (x.shape[-2], x.shape[-1]), work, x.device)
    cover = _cover(at, (x.shape[-2], x.shape[-1]))
    lead = math.prod(x.shape[1 : -2 if x.dtype == torch.bool else -3])
    if lead != 1:
        at, cover = (t.repeat_interleave(lead, dim=0) for t in (at, cover))

    def sample(flat: Tensor) -> Tensor:
        return functional.grid_sample(flat, at, mode=mode, padding_mode="border", align_corners=False)

    return _observed(x, valid, sample, size, fill, cover[:, None])


def resize(x: Tensor, valid: Tensor | None, size: Size, mode: str, *, antialias: bool, fill: float = 0.0) -> Tensor:
    """Bring (..., C, H, W), or bool (..., H, W) that says what is valid, to another size; see `warp`."""

    def sample(flat: Tensor) -> Tensor:
        if mode == "area":
            return functional.interpolate(flat, size=size, mode="area")
        return functional.interpolate(flat, size=size, mode=mode, align_corners=False, antialias=antialias)

    return _observed(x, valid, sample, size, fill, None)


def gather(x: Tensor, backs: Sequence[Map], size: Size, fill: float) -> Tensor:
    """Take for every pixel of the result the pixel of (n, ..., H, W) in which its centre lies; any dtype."""
    height, width = x.shape[-2:]
    at = _positions(backs, size, (height, width), torch.float32, x.device)
    inside = (at.abs() <= 1).all(dim=-1)
    col = ((at[..., 0] + 1) * (width / 2)).floor().clamp(0, width - 1).long()
    row = ((at[..., 1] + 1) * (height / 2)).floor().clamp(0, height - 1).long()
    where = (row * width + col).flatten(1)
    flat = x.reshape(len(x), -1, height * width)
    taken = torch.stack([image.index_select(-1, each) for image, each in zip(flat, where, strict=True)])
    out = taken.masked_fill_(~inside.flatten(1)[:, None], fill)
    return out.reshape(*x.shape[:-2], *size)


def pick(x: Tensor, size: Size) -> Tensor:
    """Bring (..., H, W) of any dtype to another size by the pixel in which each new centre lies."""
    for dim, new in ((-2, size[0]), (-1, size[1])):
        old = x.shape[dim]
        x = x.index_select(dim, ((2 * torch.arange(new, device=x.device) + 1) * old) // (2 * new))
    return x


def _positions(backs: Sequence[Map], size: Size, old: Size, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(n, H, W, 2) positions of pixel centres as `grid_sample` counts them: -1 and 1 are the outer edges."""
    height, width = old
    numbers = [(2 / width * m.a, 2 / width * m.b, 2 / width * m.c - 1) for m in backs]
    numbers += [(2 / height * m.d, 2 / height * m.e, 2 / height * m.f - 1) for m in backs]
    each = torch.tensor(numbers, dtype=dtype).to(device).reshape(2, len(backs), 3, 1, 1)
    col = torch.arange(size[1], dtype=dtype, device=device) + 0.5
    row = (torch.arange(size[0], dtype=dtype, device=device) + 0.5)[:, None]
    at = torch.empty((len(backs), *size, 2), dtype=dtype, device=device)
    for axis in (0, 1):
        torch.add(each[axis, :, 0] * col, each[axis, :, 1] * row + each[axis, :, 2], out=at[..., axis])
    return at


def _cover(at: Tensor, old: Size) -> Tensor:
    """(n, H, W) share of the bilinear weight that pixels inside the image have."""
    half = torch.tensor([old[1] / 2, old[0] / 2], dtype=at.dtype).to(at.device)
    across, down = ((1 - at.abs()) * half + 0.5).clamp_(0, 1).unbind(-1)
    return across * down


def _observed(
    x: Tensor,
    valid: Tensor | None,
    sample: Callable[[Tensor], Tensor],
    size: Size,
    fill: float,
    cover: Tensor | None,
) -> Tensor:
    """Sample by weights in which invalid pixels and the outside count nothing.

    ``sample`` repeats the border outwards: the ratio of two sums is then the same as without what is outside, and
    ``cover`` says how much of the weight was.
    """
    work = torch.float64 if x.dtype == torch.float64 else torch.float32
    if x.dtype == torch.bool:
        share = torch.ones((), device=x.device) if all_true(x) else sample(x.reshape(-1, 1, *x.shape[-2:]).to(work))
        kept = (share if cover is None else share * cover) >= LEAST
        return kept.expand(math.prod(x.shape[:-2]), 1, *size).reshape(*x.shape[:-2], *size)
    flat = x.reshape(-1, *x.shape[-3:]).to(work)
    if valid is None or all_true(valid):
        # A copy is read in order; from there the cache serves the reads in the order of the map, twice as fast.
        out = sample(flat.clone() if cover is not None and flat.device.type == "cpu" else flat)
        if cover is not None and not all_true(cover >= LEAST):
            out = _where(cover >= LEAST, out, fill)
    else:
        seen = valid.reshape(-1, 1, *valid.shape[-2:])
        both = sample(torch.cat([_where(seen, flat, 0.0), seen.to(work)], dim=1))
        share = both[:, -1:]
        whole = (share if cover is None else share * cover) >= LEAST
        out = _where(whole, both[:, :-1], fill, weight=share.clamp(min=LEAST))
    return out.to(x.dtype).reshape(*x.shape[:-2], *size)


def _where(kept: Tensor, x: Tensor, fill: float, *, weight: Tensor | None = None) -> Tensor:
    """Return (N, C, H, W), divided by a weight, where (N, 1, H, W) is true, else the fill."""
    if x.device.type == "cpu":
        # With a mask that is repeated over the bands a product takes a tenth of the time; but 0 * NaN is NaN.
        share = kept.to(x.dtype)
        out = x * (share if weight is None else share / weight)
        if not math.isnan(out.detach().sum().item()):
            return out + (1 - share) * fill if fill else out
    # The same product: a NaN must not change the last digit of the samples beside it.
    return torch.where(kept, x if weight is None else x * (1 / weight), fill)
