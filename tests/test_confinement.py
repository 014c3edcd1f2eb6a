"""A read is confined to its row: nothing of a neighbouring part reaches a sample, whatever the read.

Two ways to see it. Parts painted with one value each must come back as that value and no other. And what lies outside a
part may be replaced by anything without changing one bit of a read of the part.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import north_up, rotated, write_tif
from pyproj import Transformer

import geodata as gd
from geodata.datasets import RasterDataset
from geodata.readers.warp import RESAMPLING

BANDS = r"(?P<item>\w+)_(?P<band>B\w+)\.tif$"
RATIOS = {"B02": 1, "B05": 2, "B01": 6}
UTM = "EPSG:32633"


def place(grid, crs, factor=1.0, pixels=20, aside=(0.31, -0.17)):
    """An upright grid in any CRS about the middle of another, its pixels `factor` times as large."""
    x, y = grid.transform @ (grid.width / 2 + aside[0], grid.height / 2 + aside[1])
    x, y = Transformer.from_crs(grid.crs, crs, always_xy=True).transform(x, y)
    res = factor * grid.res[0] * (1 / 90000 if crs == "EPSG:4326" else 1)
    return gd.Grid((pixels, pixels), (res, 0, x - res * pixels / 2, 0, -res, y + res * pixels / 2), crs)


# ---------------------------------------------------------------------- painted parts


@pytest.fixture(scope="module")
def painted(tmp_path_factory):
    """Bands of 10, 20 and 60 m, 72 x 72 fine pixels in parts of 24, part k painted 1000 (k + 1)."""
    folder = tmp_path_factory.mktemp("painted")
    parts = (1000 * (1 + np.arange(9))).reshape(3, 3)
    for name, ratio in RATIOS.items():
        block = 24 // ratio
        pixels = parts.repeat(block, axis=0).repeat(block, axis=1).astype(np.float32)
        write_tif(folder / f"a_{name}.tif", pixels, north_up(res=10 * ratio))
    return folder


def images(sample):
    return {k: (v, sample["valid" + k[5:]]) for k, v in sample.items() if k.startswith("image")}


def assert_only(sample, values):
    for key, (image, valid) in images(sample).items():
        got = image[..., valid] if image.ndim == 3 else image.transpose(0, 1)[:, valid]
        apart = (got[..., None].double() - torch.tensor(values, dtype=torch.float64)).abs().amin(-1)
        assert apart.numel() == 0 or apart.max() == 0, f"{key}: {torch.unique(got)[:9].tolist()} is not of {values}"


@pytest.mark.parametrize("how", ["nearest", "bilinear"])
@pytest.mark.parametrize("native", [False, True])
def test_windows_of_a_painted_part(painted, how, native):
    tiles = RasterDataset(painted, pattern=BANDS, resampling=how, native=native).tile(24)
    assert len(tiles) == 9
    for row in range(9):
        value = 1000.0 * (row + 1)
        for window in (None, (0, 0, 24, 24), (-6, -12, 36, 42), (18, 18, 12, 12), (6, 12, 12, 6)):
            sample = tiles[gd.Query(row=row, window=window)]
            assert_only(sample, [value])
            _, (r, c, h, w) = None, window or (0, 0, 24, 24)
            inside = (min(r + h, 24) - max(r, 0)) * (min(c + w, 24) - max(c, 0))
            for key, (image, valid) in images(sample).items():
                assert valid.sum() * (h * w) == inside * valid.numel(), key
                assert (image[:, ~valid] == 0).all(), key


@pytest.mark.parametrize("how", RESAMPLING)
@pytest.mark.parametrize("crs", [UTM, "EPSG:3035"])
def test_a_painted_part_read_on_another_grid(painted, how, crs):
    native = how not in ("nearest", "bilinear")
    tiles = RasterDataset(painted, pattern=BANDS, resampling=how, native=native).tile(24)
    for row in (0, 4):
        one = tiles.take([row])
        for factor in (0.7, 1.9):
            sample = one[place(tiles.catalog.grid(row), crs, factor, pixels=66)]
            assert_only(sample, [1000.0 * (row + 1)])
            for _, valid in images(sample).values():
                assert valid.any() and not valid.all()


@pytest.mark.parametrize("how", RESAMPLING)
@pytest.mark.parametrize("crs", [UTM, "EPSG:4326"])
def test_no_pixel_of_a_mosaic_of_parts_is_a_mixture(painted, how, crs):
    native = how not in ("nearest", "bilinear")
    tiles = RasterDataset(painted, pattern=BANDS, resampling=how, native=native).tile(24)
    values = [1000.0 * (k + 1) for k in range(9)]
    for factor, pixels in ((0.6, 42), (1.0, 42), (2.3, 24)):
        sample = tiles[place(tiles.catalog.grid(4), crs, factor, pixels)]
        assert_only(sample, values)
        assert all(valid.all() for _, valid in images(sample).values())


def test_parts_of_a_turned_and_a_south_up_file(tmp_path):
    parts = (1000 * (1 + np.arange(9))).reshape(3, 3).repeat(8, axis=0).repeat(8, axis=1).astype(np.float32)
    for name, transform in (("turned", rotated(5e5, 5.6e6, 10, 25)), ("south", north_up(yres=-10))):
        tiles = RasterDataset(write_tif(tmp_path / f"{name}.tif", parts, transform), resampling="cubic").tile(8)
        for row in range(9):
            assert_only(tiles[row], [1000.0 * (row + 1)])
            assert_only(tiles[gd.Query(row=row, window=(-3, -3, 14, 14))], [1000.0 * (row + 1)])
            sample = tiles.take([row])[place(tiles.catalog.grid(row), UTM, 0.8, pixels=30)]
            assert_only(sample, [1000.0 * (row + 1)])
            assert sample["valid"].float().mean() == pytest.approx(64 / (0.64 * 900), abs=0.06)


def test_masks_of_painted_parts(painted):
    masks = RasterDataset(painted / "a_B02.tif", categorical=True).tile(24)
    for row in (0, 5):
        sample = masks[gd.Query(row=row, window=(-5, -5, 34, 34))]
        assert set(sample["mask"].unique().tolist()) == {-100, 1000 * (row + 1)}
        sample = masks.take([row])[place(masks.catalog.grid(row), "EPSG:4326", pixels=40)]
        assert set(sample["mask"].unique().tolist()) == {-100, 1000 * (row + 1)}


# ---------------------------------------------------------------------- what lies outside does not matter


def two_files(folder, size, window, seed, transform=None):
    """The same bands twice: once whole, once with rubbish wherever no pixel touches the window (of finest pixels)."""
    rng = np.random.default_rng(seed)
    r, c, h, w = window
    for name, ratio in RATIOS.items():
        pixels = rng.normal(size=(size // ratio, size // ratio)).astype(np.float32)
        pixels[rng.random(pixels.shape) < 0.05] = -9999
        rubbish = rng.choice([1e30, -1e30, np.nan, -9999, 5], pixels.shape).astype(np.float32)
        own = np.zeros(pixels.shape, bool)
        own[r // ratio : -(-(r + h) // ratio), c // ratio : -(-(c + w) // ratio)] = True
        for kind, data in (("whole", pixels), ("rubbish", np.where(own, pixels, rubbish))):
            write_tif(folder / kind / f"a_{name}.tif", data, transform or north_up(res=10 * ratio), nodata=-9999)


def the_part(folder, kind, window, **options):
    catalog = gd.Catalog.scan(folder / kind, pattern=BANDS)
    r, c, h, w = window
    tiles = catalog.tile(1, stride=1).take([r * catalog.shape[0, 1] + c])
    fp = replace(tiles.footprints, shape=np.array([[h, w]]))
    return RasterDataset(replace(tiles, footprints=fp), **options)


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(1, 28), st.integers(1, 28)),
    st.sampled_from(["nearest", "bilinear"]),
    st.sampled_from([UTM, "EPSG:4326", "EPSG:3035"]),
    st.floats(0.5, 3),
    st.tuples(st.integers(-8, 20), st.integers(-8, 20), st.integers(1, 30), st.integers(1, 30)),
)
def test_any_part_of_any_offset(tmp_path_factory, window, how, crs, factor, inner):
    folder = tmp_path_factory.mktemp("two")
    two_files(folder, 48, window, seed=sum(window))
    whole, rubbish = (the_part(folder, kind, window, resampling=how) for kind in ("whole", "rubbish"))
    for ask in (0, gd.Query(row=0, window=inner), place(whole.catalog.grid(0), crs, factor, pixels=25)):
        a, b = whole[ask], rubbish[ask]
        assert torch.equal(a["valid"], b["valid"]) and torch.equal(a["image"], b["image"])
        assert torch.isfinite(a["image"]).all() and a["image"].abs().max() < 100


@pytest.mark.parametrize("how", RESAMPLING)
def test_every_resampling_on_the_finest_band(tmp_path, how):
    window = (13, 9, 17, 22)
    two_files(tmp_path, 48, window, seed=1)
    whole, rubbish = (the_part(tmp_path, k, window, resampling=how, bands=["B02"]) for k in ("whole", "rubbish"))
    for crs in (UTM, "EPSG:4326"):
        for factor in (0.8, 2.6):
            ask = place(whole.catalog.grid(0), crs, factor)
            assert torch.equal(whole[ask]["image"], rubbish[ask]["image"])
            assert torch.equal(whole[ask]["valid"], rubbish[ask]["valid"]) and whole[ask]["valid"].any()


def test_series_of_parts(tmp_path):
    window = (12, 12, 12, 24)
    for i, day in enumerate(("20200101", "20200201")):
        two_files(tmp_path / day, 48, window, seed=i)
        for kind in ("whole", "rubbish"):
            for path in (tmp_path / day / kind).glob("*.tif"):
                (tmp_path / kind).mkdir(exist_ok=True)
                path.rename(tmp_path / kind / f"{day}_{path.name}")
    pattern = r"(?P<date>\d{8})_(?P<place>\w)_(?P<band>B\w+)\.tif$"
    tiles = [RasterDataset(tmp_path / k, pattern=pattern).series().tile(12).take([5, 6]) for k in ("whole", "rubbish")]
    for row in (0, 1):
        for ask in (row, gd.Query(row=row, window=(3, -2, 7, 9))):
            a, b = (t[ask] for t in tiles)
            assert a["image"].shape[:2] == (2, 3)
            if row == 0:
                # Tile 5 is columns 12 to 24, half of the part that both files share: all its neighbours to the left are rubbish.
                assert torch.equal(a["valid"], b["valid"])
            assert torch.equal(a["image"][:, :, a["valid"].all(0)], b["image"][:, :, a["valid"].all(0)])


FOLLOWERS = {
    "plain": lambda b: b.named("b"),
    "native": lambda b: b.named("b"),
    "series": lambda b: b.series().named("b"),
    "leader of another": lambda b: b.named("c").join(b.named("b"), on="key"),
}


@pytest.mark.parametrize("nodata", [True, False])
@pytest.mark.parametrize("shift", [0.0, 3.7])
@pytest.mark.parametrize("on", ["key", None])
@pytest.mark.parametrize("kind", FOLLOWERS)
def test_followers_of_a_tiled_join(tmp_path, kind, on, shift, nodata):
    """A follower is read on the part of the leading row: its pixels beyond the part do not matter either."""
    window = (12, 24, 12, 12)
    rng = np.random.default_rng(3)
    for name, ratio in RATIOS.items():
        pixels = rng.normal(size=(48 // ratio, 48 // ratio)).astype(np.float32)
        start = shift + 10 * ratio * np.arange(48 // ratio)
        # Pixels that touch the part, in metres from the corner of the leading row.
        own = np.outer(*((start + 10 * ratio > low) & (start < low + 120) for low in (120, 240)))
        for which, data in (("whole", pixels), ("rubbish", np.where(own, pixels, 1e30).astype(np.float32))):
            place_ = north_up(500000 + shift, 5600000 - shift, 10 * ratio)
            write_tif(tmp_path / which / f"a_{name}.tif", data, place_, nodata=-9999 if nodata else None)
    write_tif(tmp_path / "lead" / "a_B9.tif", np.ones((48, 48), np.uint8))
    lead = RasterDataset(tmp_path / "lead", pattern=BANDS)
    samples = []
    for which in ("whole", "rubbish"):
        follower = FOLLOWERS[kind](RasterDataset(tmp_path / which, pattern=BANDS, native=kind == "native"))
        samples.append(lead.join(follower, on=on).tile(12).take([6])[0])
    a, b = samples
    assert a["grid"] == lead.catalog.grid(0).window(*window)
    for key in (k for k in a if k.startswith(("image_", "valid_"))):
        assert torch.equal(a[key], b[key]), key
    assert any(a[k].any() for k in a if k.startswith("valid_"))
