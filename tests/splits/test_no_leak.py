"""No draw crosses parts: parts are painted with one value each, and windows of every kind show only their own."""

from __future__ import annotations

import numpy as np
import pytest
from makers import north_up, write_tif

import geodata as gd
from geodata import samplers, splits
from geodata.catalog.footprint import project
from geodata.crs import as_crs
from geodata.datasets import RasterDataset
from geodata.query import Query

HALVES = {"train": 0.6, "test": 0.4}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Two scenes side by side; a pixel holds the number of its block of 32 pixels."""
    folder = tmp_path_factory.mktemp("scenes")
    block = np.arange(64, dtype=np.float32).reshape(8, 8).repeat(32, axis=0).repeat(32, axis=1)
    write_tif(folder / "a.tif", block[None], north_up(500_000, 5_600_000, res=10))
    write_tif(folder / "b.tif", block[None] + 64, north_up(502_560, 5_600_000, res=10))
    return RasterDataset(folder, resampling="bilinear")


@pytest.fixture(scope="module", params=["blocks", "checkerboard", "random", "kfold"])
def parts(request, scenes):
    tiles = scenes.tile(32)
    make = {
        "blocks": lambda c: splits.blocks(c, size="700m", fractions=HALVES),
        "checkerboard": lambda c: splits.checkerboard(c, size="500m", crs="EPSG:32633"),
        "random": lambda c: splits.random(c, fractions=HALVES),
        "kfold": lambda c: splits.kfold(c, 3, splits.blocks, size="500m").fold(0),
    }
    if request.param == "random":
        with pytest.warns(splits_warning()):
            split = make["random"](tiles.catalog)
    else:
        split = make[request.param](tiles.catalog)
    return tiles, split


def splits_warning():
    from geodata.errors import SplitWarning

    return SplitWarning


def values_of_parts(tiles, split):
    painted = {name: set() for name in split.parts}
    for row, code in enumerate(split.code):
        painted[split.parts[code]] |= set(tiles[row]["image"].unique().tolist())
    assert not set.intersection(*painted.values())
    return painted


def shown(sample):
    """Values of the observed pixels of a sample, or of the views of one."""
    if isinstance(sample, tuple):
        return set().union(*map(shown, sample))
    image, valid = sample["image"], sample["valid"]
    return set(image.movedim(-3, 0)[:, valid].round(decimals=3).unique().tolist())


def kinds(ds, many):
    """A sampler of every kind that reads windows or items."""
    counts = gd.count_pixels(ds, cell=8)
    window = {"size": 16, "seed": 1}
    return (
        samplers.RandomPatchSampler(ds, length=many, **window),
        samplers.RandomPatchSampler(ds, size=48, length=many // 8, seed=2),
        samplers.RandomPatchSampler(ds, length=many // 16, counts=counts, min_valid=0.5, **window),
        samplers.LowDiscrepancySampler(ds, length=many // 16, **window),
        samplers.HardExampleSampler(ds, length=many // 16, **window),
        samplers.MultiCropSampler(ds, parent=48, global_size=40, local_size=12, length=many // 32),
        samplers.MultiScaleSampler(ds, size=8, scales=(1, 2, 8), length=many // 32, small="pad"),
        samplers.GridPatchSampler(ds, size=24, stride=12, edge="pad"),
        samplers.ItemSampler(ds, shuffle=True),
    )


def test_windows_of_every_kind_stay_in_their_part(parts):
    tiles, split = parts
    painted = values_of_parts(tiles, split)
    rng = np.random.default_rng(0)
    many = 8000 if split.recipe["method"] == "blocks" else 800
    for name, ds in tiles.split(split).items():
        seen = set()
        drawn = 0
        for sampler in kinds(ds, many):
            for batch in gd.Loader(ds, sampler=sampler, batch_size=64, threads=0):
                seen |= shown(batch)
                drawn += len((batch[0] if isinstance(batch, tuple) else batch)["key"])
        assert drawn > 1.25 * many
        # Windows that reach far outside, coarser and turned grids, and places, also in another system.
        for _ in range(60):
            row = int(rng.integers(len(ds)))
            r, c = rng.integers(-31, 31, 2).tolist()
            seen |= shown(ds[Query(row=row, window=(r, c, 64, 64))])
            own = ds.catalog.grid(row)
            turned = own.transform @ own.transform.scale(3.7) @ own.transform.rotation(float(rng.uniform(0, 90)))
            seen |= shown(ds[Query(row=row, grid=gd.Grid((20, 20), turned, own.crs))])
            left, bottom, right, top = own.bounds
            seen |= shown(ds.read((left - 33, bottom - 77, right + 121, top + 55), crs=own.crs, res=13))
            x, y = project(np.array([left, top]), own.crs, as_crs("EPSG:4326")).tolist()
            seen |= shown(ds.read((x, y - 0.005, x + 0.007, y), crs="EPSG:4326", res=1.1e-4))
        assert seen == painted[name]


def test_the_test_sees_a_leak(parts):
    """The same windows, read from the scenes and not from a part, do show other parts."""
    tiles, split = parts
    painted = values_of_parts(tiles, split)
    whole = RasterDataset(tiles.catalog.root)
    foreign = 0
    for row in split.rows("test", tiles.catalog):
        left, bottom, right, top = tiles.catalog.grid(int(row)).bounds
        seen = shown(whole.read((left - 33, bottom - 77, right + 121, top + 55), crs="EPSG:32633", res=13))
        foreign += bool(seen - painted["test"])
    assert foreign
