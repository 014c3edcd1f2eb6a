"""Views inside one window, and views of several ground sizes around one centre."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from makers import catalog_of, north_up, rotated, write_tif
from sampler_laws import check_laws
from scipy.stats import chisquare

import geodata as gd
from geodata.datasets import RasterDataset
from geodata.errors import SamplerError
from geodata.readers import blocks, files
from geodata.samplers import RandomPatchSampler
from geodata.samplers.crops import MultiCropSampler, MultiScaleSampler

UTM = "EPSG:32633"


def rows(*shapes):
    return catalog_of(*((north_up(500000 + 1e5 * i), s, UTM) for i, s in enumerate(shapes)))


def crops(catalog=None, **options):
    options = {"parent": 40, "global_size": 24, "local_size": (8, 10), "n_local": 3, "length": 50} | options
    return MultiCropSampler(rows((100, 90), (64, 64)) if catalog is None else catalog, **options)


# ---------------------------------------------------------------------- crops


def test_views_lie_in_the_parent_that_a_random_window_would_be():
    sampler = crops(seed=3, length=200)
    parents = list(RandomPatchSampler(rows((100, 90), (64, 64)), size=40, length=200, seed=3))
    for n, (views, parent) in enumerate(zip(sampler, parents, strict=True)):
        assert [v.window[2:] for v in views] == [(24, 24)] * 2 + [(8, 10)] * 3
        assert [v.index for v in views] == [5 * n + k for k in range(5)], "each view has a number of its own"
        for view in views:
            r, c, h, w = (a - b for a, b in zip(view.window, (*parent.window[:2], 0, 0), strict=True))
            assert view.row == parent.row and r >= 0 and c >= 0 and r + h <= 40 and c + w <= 40


def test_places_in_the_parent_are_uniform_and_views_independent():
    sampler = crops(rows((12, 12)), parent=12, global_size=9, local_size=8, n_global=1, n_local=2, length=8000)
    views = list(sampler)
    for k, room in ((0, 16), (1, 25), (2, 25)):
        counts = Counter(v[k].window[:2] for v in views)
        assert len(counts) == room and chisquare(list(counts.values())).pvalue > 1e-4
    both = Counter((v[1].window[:2], v[2].window[:2]) for v in views)
    assert chisquare([both[a, b] for a in counts for b in counts]).pvalue > 1e-4


def test_rows_smaller_than_the_parent():
    small = rows((20, 100), (6, 6))
    sampler = crops(small, length=300)
    assert sampler.small_rows == 2
    for views in sampler:
        height, width = small.shape[views[0].row]
        for v in views:
            r, c, h, w = v.window
            assert (r + h <= height) if h <= height else r == 0
            assert (c + w <= width) if w <= width else c == 0
    with pytest.raises(SamplerError, match="2 of 2 rows are smaller"):
        crops(small, small="raise")


def test_windows_of_native_resolutions_start_on_multiples():
    class Coarse:
        catalog = rows((96, 96))
        step = 6

    sampler = crops(Coarse, parent=48, global_size=24, local_size=12, length=200)
    assert {n % 6 for views in sampler for v in views for n in v.window} == {0}
    with pytest.raises(SamplerError, match="no multiple of the native ratio 6"):
        crops(Coarse, parent=48, global_size=20, local_size=12)


def test_a_parent_of_one_tile_is_decoded_once_for_all_its_views(tmp_path, monkeypatch):
    monkeypatch.setattr(files.unsettled, "__defaults__", (0,))  # also a file written just now is remembered
    pixels = np.random.default_rng(0).integers(0, 9, (1, 256, 256), dtype=np.uint16)
    profile = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
    write_tif(tmp_path / "a.tif", pixels, north_up(), **profile)
    ds = RasterDataset(tmp_path, dtype=None).tile(64)  # every row is one tile of the file
    sampler = MultiCropSampler(ds, parent=64, global_size=48, local_size=16, length=30)
    for views in sampler:
        blocks.cached.clear()
        before = blocks.cached.decoded
        samples = ds[views]
        assert blocks.cached.decoded - before == 1
        down, across = ds.catalog.origin[views[0].row]
        for q, sample in zip(views, samples, strict=True):
            r, c, h, w = q.window
            wanted = pixels[:, down + r : down + r + h, across + c : across + c + w]
            np.testing.assert_array_equal(sample["image"].numpy(), wanted)


def test_views_pass_through_the_loader_and_resume(tmp_path):
    write_tif(tmp_path / "a.tif", np.zeros((1, 64, 64), np.uint8), north_up())
    ds = RasterDataset(tmp_path)
    whole = [b[4]["draw"][:, 1].tolist() for b in gd.Loader(ds, sampler=crops(ds, length=12), batch_size=4)]
    assert whole == [[5 * n + 4 for n in range(k, k + 4)] for k in (0, 4, 8)]
    loader = gd.Loader(ds, sampler=crops(ds, length=12), batch_size=4)
    next(iter(loader))
    again = gd.Loader(ds, sampler=crops(ds, length=12), batch_size=4)
    again.load_state_dict(loader.state_dict())
    assert [b[4]["draw"][:, 1].tolist() for b in again] == whole[1:]


@pytest.mark.parametrize("order", ["random", "storage"])
def test_laws_of_crops(order):
    def make(**place):
        sampler = crops(rows((100, 90)), length=37, order=order, **place)
        sampler.set_epoch(3)
        return sampler

    check_laws(make, views=5)


def test_states_of_other_crops_are_refused():
    state = crops().state_dict()
    crops().load_state_dict(state)
    others = [{"parent": 41}, {"global_size": 25}, {"local_size": 8}, {"n_local": 4}, {"n_global": 1}, {"length": 51}]
    for other in others:
        with pytest.raises(SamplerError, match="another sampler"):
            crops(**other).load_state_dict(state)
    with pytest.raises(SamplerError, match="another sampler"):
        RandomPatchSampler(rows((100, 90), (64, 64)), size=40, length=50).load_state_dict(state)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"global_size": 41}, r"view of 41 x 41 pixels does not fit into its parent of 40 x 40"),
        ({"local_size": (8, 41)}, "does not fit"),
        ({"n_global": 0, "n_local": 0}, "at least one view"),
        ({"n_global": -1}, "n_global=-1 must be a whole number of at least 0"),
    ],
)
def test_crops_that_cannot_be(options, said):
    with pytest.raises(SamplerError, match=said):
        crops(**options)


# ---------------------------------------------------------------------- scales


def grid_of(catalog, query):
    return query.grid if query.grid is not None else catalog.grid(query.row, query.window)


@pytest.mark.parametrize("small", ["drop", "pad"])
@pytest.mark.parametrize(
    ("size", "scales"), [(8, (1, 2, 4)), ((6, 10), (4, 1)), (5, (1, 3)), (7, (2, 4)), (4, (3, 1, 2))]
)
def test_views_have_one_centre_and_one_shape(size, scales, small):
    catalog = catalog_of((rotated(5e5, 5.6e6, 10, 30), (90, 80), UTM), (north_up(7e5, res=0.1), (64, 64), UTM)).take(
        [0]
    )
    height, width = np.broadcast_to(size, 2).tolist()
    for views in MultiScaleSampler(catalog, size=size, scales=scales, length=60, small=small):
        grids = [grid_of(catalog, q) for q in views]
        assert {g.shape for g in grids} == {(height, width)}
        for scale, grid in zip(scales, grids, strict=True):
            centre = catalog.grid(0).colrow(grid.xy(np.array([width / 2, height / 2])))
            first = catalog.grid(0).colrow(grids[0].xy(np.array([width / 2, height / 2])))
            assert np.abs(centre - first).max() < 1e-9
            assert grid.res == pytest.approx((10 * scale, 10 * scale), rel=1e-12)
        assert [q.grid is None for q in views] == [s == 1 for s in scales]
        assert len({q.index for q in views}) == 1


def test_by_default_the_largest_window_fits_and_every_such_place_is_equally_likely():
    catalog = rows((20, 18), (15, 40))
    sampler = MultiScaleSampler(catalog, size=4, scales=(1, 4), length=4000)
    assert sampler.small_rows == 1
    starts = Counter(v[0].window[:2] for v in sampler)
    # Windows of 16: starts 0..4 and 0..2, and the small one lies 6 pixels inside.
    assert set(starts) == {(6 + r, 6 + c) for r in range(5) for c in range(3)}
    assert chisquare(list(starts.values())).pvalue > 1e-4
    with pytest.raises(SamplerError, match="1 of 2 rows are smaller"):
        MultiScaleSampler(catalog, size=4, scales=(1, 4), length=4, small="raise")


def test_padding_draws_every_small_window():
    sampler = MultiScaleSampler(rows((6, 7)), size=4, scales=(1, 4), length=2000, small="pad")
    assert {v[0].window[:2] for v in sampler} == {(r, c) for r in range(3) for c in range(4)}


def images(folder, shape=(48, 64), **options):
    pixels = np.random.default_rng(1).normal(size=(2, *shape)).astype(np.float32)
    write_tif(folder / "a.tif", pixels, north_up())
    return pixels, RasterDataset(folder, **options)


def test_averages_are_the_means_of_blocks(tmp_path):
    pixels, ds = images(tmp_path, resampling="average")
    for views in MultiScaleSampler(ds, size=8, scales=(1, 2, 4), length=20):
        samples = ds[views]
        r, c, _, _ = views[0].window
        for scale, sample in zip((1, 2, 4), samples, strict=True):
            up, left = r - 4 * (scale - 1), c - 4 * (scale - 1)
            block = pixels[:, up : up + 8 * scale, left : left + 8 * scale]
            means = block.reshape(2, 8, scale, 8, scale).mean(axis=(2, 4))
            np.testing.assert_allclose(sample["image"].numpy(), means, atol=1e-5)
            assert sample["valid"].all()


def test_nearest_takes_the_pixel_in_the_middle(tmp_path):
    pixels, ds = images(tmp_path, resampling="nearest")
    for views in MultiScaleSampler(ds, size=5, scales=(1, 3), length=20):
        one, three = ds[views]
        r, c, _, _ = views[0].window
        np.testing.assert_array_equal(one["image"].numpy(), pixels[:, r : r + 5, c : c + 5])
        up, left = r - 5, c - 5
        np.testing.assert_array_equal(three["image"].numpy(), pixels[:, up + 1 : up + 15 : 3, left + 1 : left + 15 : 3])


def test_no_pixel_of_a_neighbour_shows(tmp_path):
    value = np.repeat(np.repeat(np.arange(12).reshape(3, 4), 16, axis=0), 16, axis=1)[None].astype(np.float32)
    write_tif(tmp_path / "a.tif", value, north_up())
    tiles = RasterDataset(tmp_path, resampling="average").tile(16)  # tile n holds the value n
    reached = 0
    for views in MultiScaleSampler(tiles, size=4, scales=(1, 2, 4), length=60, small="pad"):
        for sample in tiles[views]:
            assert (sample["image"][0][sample["valid"]] == views[0].row).all()
            reached += int((~sample["valid"]).any())
    assert reached > 60, "larger views reach out of their row"


def test_native_resolutions():
    class Coarse:
        catalog = rows((96, 96))
        step = 6

    views = list(MultiScaleSampler(Coarse, size=12, scales=(1, 2), length=50))
    assert {n % 6 for one, _ in views for n in one.window} == {0}
    with pytest.raises(SamplerError, match="no multiple of the native ratio 6; use a size that is a multiple of 12"):
        MultiScaleSampler(Coarse, size=6, scales=(1, 2), length=5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 5, "scales": (1, 2)}, "cannot have one centre on whole pixels; use an even size"),
        ({"size": (4, 3), "scales": (1, 4)}, "cannot have one centre"),
        ({"scales": ()}, "one or more, and all different"),
        ({"scales": (1, 1)}, "all different"),
        ({"scales": (0, 1)}, "a scale=0 must be a whole number"),
        ({"scales": (1.5,)}, "a scale=1.5 must be"),
        ({"scales": (1, 64)}, "smaller than"),
    ],
)
def test_scales_that_cannot_be(options, said):
    with pytest.raises(SamplerError, match=said):
        MultiScaleSampler(rows((100, 100)), **{"size": 8, "length": 5} | options)


@pytest.mark.parametrize("small", ["drop", "pad"])
def test_laws_of_scales(small):
    def make(**place):
        sampler = MultiScaleSampler(rows((100, 90), (64, 64)), size=8, length=37, seed=2, small=small, **place)
        sampler.set_epoch(3)
        return sampler

    check_laws(make)
    for other in ({"scales": (1, 4)}, {"scales": (1, 4, 2)}, {"size": 4, "scales": (2, 4, 8)}):
        with pytest.raises(SamplerError, match="another sampler"):
            MultiScaleSampler(
                rows((100, 90), (64, 64)), **{"size": 8, "length": 37, "seed": 2} | other
            ).load_state_dict(make().state_dict())


def test_pixels_without_a_place_have_no_scales():
    photos = catalog_of((north_up(), (64, 64), None))
    with pytest.raises(SamplerError, match="rows without a CRS have no ground sample distance"):
        MultiScaleSampler(photos, size=8, scales=(1, 2), length=5)
    assert len(list(MultiScaleSampler(photos, size=8, scales=(1,), length=5))) == 5


def test_crops_of_one_ground_size_in_rows_of_two_resolutions():
    rows = catalog_of((north_up(res=10), (64, 64), "EPSG:32633"), (north_up(res=20), (64, 64), "EPSG:32633"))
    size = {"parent": "640m", "global_size": "320m", "local_size": 4, "n_local": 1}
    with pytest.raises(SamplerError, match="cannot share a batch"):
        MultiCropSampler(rows, length=40, **size)
    sampler = MultiCropSampler(rows, length=40, mixed=True, **size)
    assert sampler.size is None and sampler.views == (None, None, (4, 4))
    seen = {views[0].row: [q.window[2:] for q in views] for views in sampler}
    assert seen == {0: [(32, 32), (32, 32), (4, 4)], 1: [(16, 16), (16, 16), (4, 4)]}
    parents = dict(zip(range(2), (64, 32), strict=True))
    for views in sampler:
        low = np.min([q.window[:2] for q in views], axis=0)
        high = np.max([np.add(q.window[:2], q.window[2:]) for q in views], axis=0)
        assert (low >= 0).all() and (high - low <= parents[views[0].row]).all()
    with pytest.raises(SamplerError, match="view of 20 x 20 pixels does not fit into its parent of 16 x 16"):
        MultiCropSampler(rows, length=40, mixed=True, parent="320m", global_size=20, local_size=4)
