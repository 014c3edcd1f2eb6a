"""Every option of every sampler, given what it does not take: an error of the library, never one of numpy or Python."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from makers import north_up

from geodata.catalog import Catalog
from geodata.counts import PixelCounts
from geodata.errors import GeodataError
from geodata.samplers import (
    BalancedPatchSampler,
    GridPatchSampler,
    GroupedBatchSampler,
    HardExampleSampler,
    ItemSampler,
    LowDiscrepancySampler,
    MixedSampler,
    MultiCropSampler,
    MultiScaleSampler,
    RandomPatchSampler,
    SeriesPatchSampler,
    StratifiedPixelSampler,
    TemporalPairSampler,
)

CATALOG = Catalog.from_columns(
    key=["a", "b", "c", "d"],
    affine=np.tile(tuple(north_up())[:6], (4, 1)),
    shape=np.full((4, 2), 40),
    crs="EPSG:32633",
    time=np.arange(8).reshape(4, 2) * 86400.0,
)
COUNTS = PixelCounts(
    8, CATALOG.key, CATALOG.shape, np.full(100, 64, np.int32), np.full((100, 2), 32, np.int32), ("a", "b")
)
LABELS = np.arange(1600).reshape(40, 40) % 3


class Stack:
    """What a series says of itself."""

    catalog = CATALOG
    groups = (np.arange(3),) * 4


FINE = {
    RandomPatchSampler: {
        "data": CATALOG, "size": 8, "length": 9, "small": "pad", "order": "random", "weights": [1, 2, 0, 4],
        "within": shapely.box(500000, 5599700, 500300, 5600000), "crs": "EPSG:32633", "min_within": 0.5,
        "counts": COUNTS, "min_valid": 0.5, "mixed": False, "seed": 0, "rank": 0,
    },
    GridPatchSampler: {
        "data": CATALOG, "size": 8, "stride": 8, "edge": "shift", "mixed": False, "uneven": "pad", "rank": 0
    },
    ItemSampler: {"data": CATALOG, "shuffle": True, "chunks": 2, "buffer": 4, "seed": 0, "uneven": "pad", "rank": 0},
    LowDiscrepancySampler: {"data": CATALOG, "size": 8, "length": 9, "seed": 0, "small": "pad", "mixed": False},
    MultiCropSampler: {
        "data": CATALOG, "parent": 16, "global_size": 8, "local_size": 4, "length": 9, "n_global": 2, "n_local": 2,
        "small": "pad", "mixed": False,
    },
    MultiScaleSampler: {"data": CATALOG, "size": 8, "length": 9, "scales": (1, 2), "small": "drop", "mixed": False},
    SeriesPatchSampler: {"data": Stack, "size": 8, "length": 9, "dates": 2, "how": "random", "short": "raise"},
    TemporalPairSampler: {
        "data": CATALOG, "size": 8, "length": 9, "by": "location", "gap": (1, 5), "same_season": True, "single": "drop"
    },
    BalancedPatchSampler: {
        "data": CATALOG, "size": 8, "length": 9, "counts": COUNTS, "beta": 1.0, "small": "pad", "mixed": False
    },
    HardExampleSampler: {"data": CATALOG, "size": 8, "length": 9, "alpha": 1.0, "mix": 0.5, "momentum": 0.9},
    StratifiedPixelSampler: {
        "labels": LABELS, "row": 0, "per_class": 9, "train": 0.5, "background": 0, "ignore": (7,), "seed": 0
    },
    MixedSampler: {"samplers": [ItemSampler(CATALOG)], "weights": [1.0], "length": 4, "uneven": "pad"},
    GroupedBatchSampler: {
        "sampler": ItemSampler(CATALOG), "batch_size": 2, "by": "crs", "drop_last": False, "data": CATALOG
    },
}  # fmt: skip
NONE = np.array([])
ODD = (-1, 0, 1.5, float("nan"), float("inf"), "odd", [None], {"a": 1}, NONE, np.full(6, np.nan), object())
# What some options do take.
TAKEN = {
    "seed": (0,), "rank": (0,), "row": (0,), "n_global": (0,), "n_local": (0,), "background": (-1, 0), "beta": (0,),
    "mix": (0,), "alpha": (0, 1.5), "momentum": (0,), "ignore": (NONE,),
}  # fmt: skip


def built(kind, options):
    sampler = kind(**options, **({"world": 2} if "rank" in options else {}))
    return list(sampler.draw(np.arange(min(sampler.total, 3)))), sampler.digest, len(sampler)


@pytest.mark.parametrize("kind", FINE)
def test_what_an_option_does_not_take_is_refused(kind):
    built(kind, FINE[kind])
    for name in FINE[kind]:
        for value in ODD:
            if not any(value is taken for taken in TAKEN.get(name, ())):
                options = FINE[kind] | {name: value}
                with pytest.raises(GeodataError):
                    built(kind, options)


@pytest.mark.parametrize(
    "region",
    [
        {"type": "Polygon"},
        {"type": "FeatureCollection"},
        {"type": "Feature"},
        {"type": "Polygon", "coordinates": "x"},
        {"type": "Polygon", "coordinates": [[[0, 0]]]},
        {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": None}]},
    ],
)
def test_broken_geojson_is_refused(region):
    with pytest.raises(GeodataError, match="within="):
        RandomPatchSampler(CATALOG, size=8, length=9, within=region, crs="EPSG:32633")
