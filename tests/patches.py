"""Catalogs of patches for tests of splits and samplers: no files, only places, times and labels."""

from __future__ import annotations

import numpy as np

from geodata.catalog import Catalog

CLASSES = ("forest", "water", "town", "crops", "rock")


def patches(n=400, *, spread=200_000.0, side=120, res=10.0, epsg=(32632, 32633), seed=0, dates=4, **more):
    """N patches at random about the border of two UTM zones, with labels that follow the place."""
    rng = np.random.default_rng(seed)
    code = rng.integers(0, len(epsg), n)
    # Zones meet at 12 degrees east: x of 720,000 m in 32, of 280,000 m in 33, at 48 degrees north.
    x = np.where(code == 0, 720_000 - spread / 2, 280_000 - spread / 2) + rng.uniform(0, spread, n)
    y = 5_320_000 + rng.uniform(0, spread, n)
    x, y = np.round(x, -1), np.round(y, -1)
    affine = np.zeros((n, 6))
    affine[:, 0], affine[:, 4], affine[:, 2], affine[:, 5] = res, -res, x, y
    day = 86400.0 * (18_000 + 30 * rng.integers(0, dates, n))
    which = (np.floor(y / 40_000) + rng.integers(0, 2, n)).astype(int)
    labels = [sorted({CLASSES[w % 5], CLASSES[(w + k) % 5]}) for w, k in zip(which, rng.integers(0, 3, n), strict=True)]
    return Catalog.from_columns(
        key=[f"p{k:05d}" for k in range(n)],
        affine=affine,
        shape=np.full((n, 2), side),
        crs=[f"EPSG:{epsg[c]}" for c in code],
        time=np.stack([day, day], axis=1),
        columns={
            "labels": labels,
            "country": [["Austria", "Bavaria", "Czechia"][c] for c in rng.integers(0, 3, n)],
            "kind": [CLASSES[w % 5] for w in which],
            "scene": [f"s{k % 17}" for k in range(n)],
        },
        **more,
    )


def loose(n=60):
    """Rows without a CRS, as of photographs."""
    return Catalog.from_columns(
        key=[f"photo{k:03d}" for k in range(n)],
        affine=np.tile([1.0, 0, 0, 0, 1, 0], (n, 1)),
        shape=np.full((n, 2), 100),
        crs=None,
        columns={"board": [f"b{k // 4}" for k in range(n)], "kind": [CLASSES[k % 5] for k in range(n)]},
    )
