"""In which order samples stand in a store."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.errors import StoreError

__all__ = ["ORDERS", "order_of"]

ORDERS = ("shuffled", "split", "spatial", "source")
"""Part by part and shuffled within; part by part as in the source; part by part and along a curve over the earth; as in
the source."""


def order_of(catalog: Catalog, order: str, part: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows in the order in which they are stored.

    Parameters
    ----------
    order : one of `ORDERS`
        The shuffle is by SHA-256 of the keys: the same everywhere, whatever the order of the source.
    part : (N,) int, the part of each row; all 0 without parts

    Raises
    ------
    StoreError
        If there is no such order, or rows are to be ordered by place and have none.
    """
    n = len(catalog)
    if order == "source":
        return np.arange(n)
    if order == "split":
        return np.argsort(part, kind="stable")
    if order == "shuffled":
        digests = b"".join(hashlib.sha256(str(key).encode()).digest()[:8] for key in catalog.key)
        return np.lexsort((np.frombuffer(digests, ">u8"), part))
    if order == "spatial":
        return np.lexsort((_curve(catalog), part))
    raise StoreError(f"order={order!r} must be one of {', '.join(ORDERS)}")


def _curve(catalog: Catalog) -> NDArray[np.uint64]:
    """Return (N,) where each row's centre lies on a Z-order curve over longitude and latitude."""
    if not catalog.has_crs:
        raise StoreError("order='spatial' needs items that lie on the earth; these have no CRS, use order='shuffled'")
    west, south, east, north = catalog.box84.T
    east = np.where(east < west, east + 360, east)
    x = ((west + east) / 2 + 180) % 360 / 360
    y = ((south + north) / 2 + 90) / 180
    return _spread(x) | (_spread(y) << np.uint64(1))


def _spread(share: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Return 32 bits of a number in [0, 1), with a zero between each two."""
    bits = (share.clip(0, 1) * (2**32 - 1)).astype(np.uint64)
    for shift, mask in (
        (16, 0x0000FFFF0000FFFF),
        (8, 0x00FF00FF00FF00FF),
        (4, 0x0F0F0F0F0F0F0F0F),
        (2, 0x3333333333333333),
        (1, 0x5555555555555555),
    ):
        bits = (bits | (bits << np.uint64(shift))) & np.uint64(mask)
    return bits
