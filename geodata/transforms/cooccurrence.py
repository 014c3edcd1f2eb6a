"""Pairs of grey levels in the windows of an image, and what their co-occurrence matrix says, without the matrix."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["AT_ONCE", "Pairs"]

AT_ONCE = 1 << 22
"""Numbers of one temporary tensor."""


class Pairs:
    """The pairs of one direction in the windows of (N, H, W) levels.

    Parameters
    ----------
    levels : (N, H, W) int16, 0 where not usable
    usable : (N, H, W) bool
    window : pixels
    offset : rows (0 or more) and columns from the first pixel of a pair to the second
    work : dtype of the sums
    """

    def __init__(self, levels: Tensor, usable: Tensor, window: int, offset: tuple[int, int], work: torch.dtype) -> None:
        down, right = offset
        self.box = (window - down, window - abs(right))
        self.most = self.box[0] * self.box[1]
        # The frame lets every window begin inside; pixels in it are not usable.
        r = window // 2
        h, w = levels.shape[-2] + 2 * r, levels.shape[-1] + 2 * r
        padded = functional.pad(levels, (r, r, r, r))
        used = functional.pad(usable, (r, r, r, r))
        first = (slice(None), slice(0, h - down), slice(max(0, -right), w - max(0, right)))
        second = (slice(None), slice(down, h), slice(max(0, right), w - max(0, -right)))
        self.both = used[first] & used[second]
        zero = padded.new_zeros(())
        self.a, self.b = (torch.where(self.both, padded[cut], zero).to(work) for cut in (first, second))
        self.count = self._sum(self.both.to(work))
        self.done: dict[str, Tensor] = {}

    def feature(self, name: str) -> Tensor:
        """(N, H, W) one feature; 0 where there are no pairs."""
        if name not in self.done:
            self.done[name] = getattr(self, f"_{name.lower()}")()
        return self.done[name]

    def _contrast(self) -> Tensor:
        return self._mean_of((self.a - self.b) ** 2)

    def _dissimilarity(self) -> Tensor:
        return self._mean_of((self.a - self.b).abs())

    def _homogeneity(self) -> Tensor:
        return self._mean_of(self.both / (1 + (self.a - self.b) ** 2))

    def _mean(self) -> Tensor:
        return self.feature("total") / (2 * self.count).clamp(min=1)

    def _variance(self) -> Tensor:
        squares, total = self._sum(self.a**2 + self.b**2), self.feature("total")
        number = 2 * self.count
        # Whole numbers up to the division: no small difference of large rounded ones.
        return (number * squares - total**2) / (number**2).clamp_(min=1)

    def _correlation(self) -> Tensor:
        products, total = self._sum(self.a * self.b), self.feature("total")
        number = 2 * self.count
        covariance = (2 * number * products - total**2) / (number**2).clamp_(min=1)
        variance = self.feature("variance")
        return torch.where(variance > 0, covariance / variance, (self.count > 0).to(variance.dtype))

    def _asm(self) -> Tensor:
        self._count_equal()
        return self.done["ASM"]

    def _energy(self) -> Tensor:
        return self.feature("ASM").sqrt()

    def _entropy(self) -> Tensor:
        self._count_equal()
        return self.done["entropy"]

    def _total(self) -> Tensor:
        return self._sum(self.a + self.b)

    def _sum(self, values: Tensor) -> Tensor:
        """Sum over the window of every pixel."""
        rows, columns = self.box
        values = functional.avg_pool2d(values, (1, columns), stride=1, divisor_override=1)
        return functional.avg_pool2d(values, (rows, 1), stride=1, divisor_override=1)

    def _mean_of(self, values: Tensor) -> Tensor:
        return self._sum(values) / self.count.clamp(min=1)

    def _count_equal(self) -> None:
        """ASM and entropy: sort the pairs of every window, so that equal ones form runs.

        With n pairs, a run of length c of unequal levels is two cells c / 2n of the symmetric matrix, one of equal levels one
        cell c / n. Sums over runs are taken pair by pair, in steps from r - 1 to r of the run that the pair is the r-th of.
        """
        n, h, w = self.count.shape
        asm, entropy = torch.zeros_like(self.count), torch.zeros_like(self.count)
        for rows in _rows(h, n * w * self.most):
            codes = self._codes(rows)
            rank = _rank_in_run(codes)
            number = self.count[:, rows].clamp(min=1).unsqueeze(1)
            real, cells = codes >= 0, torch.where(codes % 2 == 0, 1.0, 2.0)
            step = torch.where(real, (2 * rank - 1) / (cells * number**2), 0.0)
            asm[:, rows] = step.sum(dim=1)
            up, down = (-torch.special.xlogy(r, r / (cells * number)) for r in (rank, rank - 1))
            entropy[:, rows] = torch.where(real, (up - down) / number, 0.0).sum(dim=1)
        self.done |= {"ASM": asm, "entropy": entropy}

    def _codes(self, rows: slice) -> Tensor:
        """(N, P, h, W) the P pairs of the windows in some rows, sorted; even where both levels are equal, -1 where none."""
        low, high = torch.minimum(self.a, self.b), torch.maximum(self.a, self.b)
        code = ((high * 256 + low) * 2 + (low != high)).to(torch.int32)
        code = torch.where(self.both, code, -1)[:, rows.start : rows.stop + self.box[0] - 1]
        return code.unfold(1, self.box[0], 1).unfold(2, self.box[1], 1).flatten(3).movedim(3, 1).sort(dim=1).values


def _rows(h: int, each: int) -> Iterator[slice]:
    step = max(1, AT_ONCE // max(1, each))
    return (slice(start, min(start + step, h)) for start in range(0, h, step))


def _rank_in_run(codes: Tensor) -> Tensor:
    """How many equal neighbours along dimension 1 there are up to each, counted from 1."""
    place = torch.arange(codes.shape[1], device=codes.device).reshape(-1, 1, 1)
    begins = torch.ones_like(codes, dtype=torch.bool)
    begins[:, 1:] = codes[:, 1:] != codes[:, :-1]
    return place - torch.where(begins, place, 0).cummax(dim=1).values + 1
