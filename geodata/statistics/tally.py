"""What is kept of the pixels of one image while they stream by: moments, and a histogram of each band."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.bands import Bands
from geodata.errors import DtypeError, TransformError

__all__ = ["Tally"]

DIGITS = 9
"""Binary digits of a number that the histogram of floats tells apart: 512 bins from one power of two to the next."""

LEAST = -30
"""Power of two below which numbers count as 0 in that histogram."""

LARGEST = 1e140
"""What numbers must stay below, for the sum of their squares to be one."""

VALUES = 1 << 18
"""Numbers that are worked on at a time, so that they stay in the cache."""


class Tally:
    """Counts, moments and histograms of the bands of one image.

    Whole numbers of 8 and 16 bits are counted one by one, so that all that is said of them is exact. Of floats, means and
    squares are kept in float64 and merged by the formula of Chan et al. [1]_; a histogram of fixed bins, 512 for each power
    of two, gives percentiles with a relative error of at most 2**-10, or an absolute one of 2**-30 near 0. Neither depends on
    how pixels come in batches.

    Parameters
    ----------
    bands : of the image
    dtype : of its numbers

    References
    ----------
    .. [1] T. Chan, G. Golub, R. LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances",
       COMPSTAT 1982.
    """

    def __init__(self, bands: Bands, dtype: np.dtype[Any]) -> None:
        if dtype.kind not in "iuf":
            raise DtypeError(f"statistics are of real numbers, not of {dtype}")
        self.bands, self.dtype = bands, dtype
        self.exact = dtype.kind in "iu" and dtype.itemsize <= 2
        self.histograms = [_Histogram() for _ in bands]
        self.count = 0
        self.mean, self.squares = np.zeros(len(bands)), np.zeros(len(bands))
        self.low, self.high = np.full(len(bands), np.inf), np.full(len(bands), -np.inf)

    def add(self, image: NDArray[Any], valid: NDArray[np.bool_], key: str) -> None:
        """Take in an image (C, H, W) of which some pixels (H, W) are valid.

        Raises
        ------
        TransformError
            If a valid pixel is no finite number.
        DtypeError
            If the dtype is another one than before.
        """
        if image.dtype != self.dtype:
            raise DtypeError(
                f"{key!r} is {image.dtype}, items before it are {self.dtype}; read all as one: give the dataset dtype="
            )
        flat = image.reshape(len(self.bands), -1)
        if not valid.all():
            flat = flat[:, valid.ravel()]
        if not flat.shape[1]:
            return
        # Exact counts have their moments in them. Others take as many bands at a time as fit the cache.
        step = max(VALUES // flat.shape[1], 1)
        for at in range(0, len(flat), step):
            part = slice(at, at + step)
            keys = flat[part] if self.exact else self._moments(flat[part], part, key)
            for histogram, row in zip(self.histograms[part], keys, strict=True):
                histogram.add(row)
        self.count += flat.shape[1]

    def _moments(self, numbers: NDArray[Any], part: slice, key: str) -> NDArray[np.int64]:
        """Merge the moments of some bands (c, P); return the bins that their numbers fall into."""
        x = numbers.astype(np.float64)
        n, mean = x.shape[1], x.mean(axis=1)
        low, high = x.min(axis=1), x.max(axis=1)
        if not (np.isfinite(mean).all() and max(-low.min(), high.max()) < LARGEST):
            raise TransformError(_not_finite(x, self.bands[part].names, key))
        keys = _bins(x)
        self.low[part] = np.minimum(self.low[part], low)
        self.high[part] = np.maximum(self.high[part], high)
        x -= mean[:, None]
        apart, total = mean - self.mean[part], self.count + n
        self.squares[part] += np.einsum("ij,ij->i", x, x) + apart**2 * (self.count * n / total)
        self.mean[part] += apart * (n / total)
        return keys

    def summary(self, percentiles: Sequence[float]) -> dict[str, Any]:
        """Return {"mean": {band: float}, ...} of all that was taken in; there must be something."""
        each = [self._of_band(i, percentiles) for i in range(len(self.bands))]
        names = self.bands.names
        found: dict[str, Any] = {
            part: dict(zip(names, (row[part] for row in each), strict=True))
            for part in ("count", "mean", "std", "min", "max")
        }
        found["percentiles"] = {
            f"{p:.15g}": dict(zip(names, (row["percentiles"][j] for row in each), strict=True))
            for j, p in enumerate(percentiles)
        }
        return {"state": self.bands.state, **found}

    def _of_band(self, i: int, percentiles: Sequence[float]) -> dict[str, Any]:
        bins, counts = self.histograms[i].filled()
        if self.exact:
            values = bins.astype(np.float64)
            mean = int(bins @ counts) / self.count
            squares = float(((values - mean) ** 2) @ counts)
            low, high = float(values[0]), float(values[-1])
        else:
            mean, squares = float(self.mean[i]), float(self.squares[i])
            low, high = float(self.low[i]), float(self.high[i])
            values = np.clip(_middles(bins), low, high)
        return {
            "count": self.count,
            "mean": mean,
            "std": float(np.sqrt(squares / self.count)),
            "min": low,
            "max": high,
            "percentiles": _percentiles(values, counts, percentiles),
        }


class _Histogram:
    """Counts of whole numbers, over the range in which there are any."""

    __slots__ = ("counts", "first")

    def __init__(self) -> None:
        self.first = 0
        self.counts: NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    def add(self, numbers: NDArray[Any]) -> None:
        """Count numbers (P,), P > 0."""
        low = int(numbers.min())
        found = np.bincount(numbers.astype(np.int64) - low)
        if not len(self.counts):
            self.first, self.counts = low, found
            return
        first, end = min(self.first, low), max(self.first + len(self.counts), low + len(found))
        if end - first > len(self.counts):
            wider = np.zeros(end - first, dtype=np.int64)
            wider[self.first - first :][: len(self.counts)] = self.counts
            self.first, self.counts = first, wider
        self.counts[low - self.first :][: len(found)] += found

    def filled(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the numbers that there are, and how many of each."""
        at = np.flatnonzero(self.counts)
        return at + self.first, self.counts[at]


_SHIFT = 52 - DIGITS
_ZERO = ((1023 + LEAST) << DIGITS) - 1
"""Bin of all that counts as 0, before it is moved to 0."""


def _bins(x: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return a whole number for each float, in the same order: sign, power of two and leading digits."""
    # The bits of a float64 without their sign, read as an integer, are in the order of the numbers.
    bins = np.abs(x).view(np.int64)
    bins >>= _SHIFT
    bins -= _ZERO
    np.maximum(bins, 0, out=bins)
    return np.negative(bins, out=bins, where=x < 0)


def _middles(bins: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the number in the middle of each bin."""
    edges = ((np.abs(bins) + _ZERO) << _SHIFT).view(np.float64), ((np.abs(bins) + _ZERO + 1) << _SHIFT).view(np.float64)
    return np.asarray(np.where(bins == 0, 0.0, np.sign(bins) * (edges[0] + edges[1]) / 2))


def _percentiles(values: NDArray[np.float64], counts: NDArray[np.int64], wanted: Sequence[float]) -> list[float]:
    """Return percentiles of values that occur so many times, linear between neighbours as in numpy."""
    ends = np.cumsum(counts)
    rank = (ends[-1] - 1) * np.asarray(wanted, dtype=np.float64) / 100
    below = np.floor(rank).astype(np.int64)
    a, b = (values[np.searchsorted(ends, at, side="right")] for at in (below, np.minimum(below + 1, ends[-1] - 1)))
    found: list[float] = (a + (b - a) * (rank - below)).tolist()
    return found


def _not_finite(x: NDArray[np.float64], names: Sequence[str], key: str) -> str:
    wrong = [(name, int(number)) for name, number in zip(names, (~np.isfinite(x)).sum(axis=1), strict=True) if number]
    said = ", ".join(f"{number} in {name}" for name, number in wrong[:4])
    return (
        f"valid pixels of {key!r} are not finite: {said or 'their squares are too large'}; let the dataset know them as not "
        "observed (nodata), or leave the item out"
    )
