"""Warping against exact positions, GDAL's kernels and areas in plain loops; gaps that stay gaps; windows that do not matter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from makers import north_up, rotated
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.warp import reproject

from geodata.errors import CRSError, DtypeError
from geodata.grid import Grid
from geodata.readers import warp as module
from geodata.readers.base import Raster
from geodata.readers.warp import RESAMPLING, warp

UTM = "EPSG:32633"


def observed(data):
    data = np.asarray(data)
    return Raster(data, np.ones(data.shape[1:], bool))


def brought(raster, source, target, how, windows=None, **options):
    def read(window, level):
        r, c, h, w = window
        assert level is None and r >= 0 and c >= 0 and r + h <= source.height and c + w <= source.width
        if windows is not None:
            windows.append(window)
        return Raster(raster.data[:, r : r + h, c : c + w], raster.valid[r : r + h, c : c + w])

    out = np.zeros((len(raster.data), *target.shape), raster.data.dtype)
    return Raster(out, warp(read, source, target, how, out, **options))


def shifted(grid, factor, dx, dy):
    t = grid.transform
    h, w = int(grid.height / factor), int(grid.width / factor)
    return Grid((h, w), (t.a * factor, 0, t.c + dx * t.a, 0, t.e * factor, t.f + dy * t.e), grid.crs)


SOURCE = Grid((24, 31), north_up(), UTM)


def about(source, crs, factor=1.3, pixels=20):
    """An upright grid in any CRS about the middle of another."""
    x, y = Transformer.from_crs(source.crs, crs, always_xy=True).transform(
        *(source.transform @ (source.width / 2, source.height / 2))
    )
    res = factor * source.res[0] * (1e-5 if crs == "EPSG:4326" else 1)
    return Grid((pixels, pixels), (res, 0, x - pixels / 2 * res, 0, -res, y + pixels / 2 * res), crs)


# ---------------------------------------------------------------------- constants, gaps and dtypes


@pytest.mark.parametrize("how", RESAMPLING)
@pytest.mark.parametrize(
    "target", [shifted(SOURCE, 0.6, 0.3, 0.7), shifted(SOURCE, 1.7, 0.1, -1.3)], ids=["finer", "coarser"]
)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
def test_a_constant_is_a_constant_on_every_grid(how, target, dtype):
    value = {"uint8": 200, "int16": -1234}.get(dtype, -12.5)
    got = brought(observed(np.full((2, 24, 31), value, dtype)), SOURCE, target, how)
    assert got.data.dtype == dtype and got.valid.any()
    apart = np.abs(got.data[:, got.valid].astype(np.float64) - value).max()
    assert apart <= (1e-12 if dtype == "float64" else 0)


@pytest.mark.parametrize("how", RESAMPLING)
@pytest.mark.parametrize("crs", [UTM, "EPSG:4326", "EPSG:3035"])
@pytest.mark.parametrize("factor", [0.8, 1.3, 3.0])
def test_unobserved_pixels_never_reach_a_value(how, crs, factor):
    rng = np.random.default_rng(1)
    data = rng.uniform(1, 2, (2, 24, 31)).astype(np.float32)
    valid = rng.random((24, 31)) > 0.3
    data[:, ~valid] = 1e30
    got = brought(Raster(data, valid), SOURCE, about(SOURCE, crs, factor), how)
    assert got.valid.any() and not got.valid.all()
    overshoot = 0.3 if how in ("cubic", "lanczos") else 1e-5
    assert got.data[:, got.valid].min() > 1 - overshoot and got.data[:, got.valid].max() < 2 + overshoot


@pytest.mark.parametrize("how", RESAMPLING)
def test_a_gap_in_one_band_costs_what_it_costs_alone(how):
    data = np.full((1, 24, 31), 100, np.uint8)
    data[0, 12, 15] = 0
    target = shifted(SOURCE, 1.0, 0.3, 0.3)
    alone = brought(Raster(data, data[0] != 0), SOURCE, target, how, nodata=0)
    both = np.concatenate([data, np.full_like(data, 50)])
    together = brought(Raster(both, data[0] != 0), SOURCE, target, how, nodata=0)
    assert (~alone.valid).sum() <= 1 and np.array_equal(alone.valid, together.valid)
    assert (together.data[0][together.valid] == 100).all() and (together.data[1][together.valid] == 50).all()


@pytest.mark.parametrize("how", ["bilinear", "cubic_spline", "average"])
def test_bands_leave_out_their_own_nodata(how):
    data = np.array([[[1, 0, 3]], [[10, 20, 30]]], np.float32).repeat(3, axis=1)
    source = Grid((3, 3), north_up(), UTM)
    # The middle of the one pixel lies at column 0.9, row 1.5.
    target = Grid((1, 1), (10, 0, 500004, 0, -10, 5599990), UTM)
    got = brought(Raster(data, data[0] != 0), source, target, how, nodata=0)
    assert got.valid[0, 0]
    near, spline = {"bilinear": [0.6, 0.4, 0], "average": [0.6, 0.4, 0]}.get(how), lambda x: 2 / 3 - x * x + x**3 / 2
    weights = np.array(near or [spline(0.4), spline(0.6), (2 - 1.6) ** 3 / 6])
    assert got.data[1, 0, 0] == pytest.approx(weights @ [10, 20, 30] / weights.sum())
    assert got.data[0, 0, 0] == pytest.approx(weights[[0, 2]] @ [1, 3] / weights[[0, 2]].sum())


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_integers_keep_their_ends(dtype):
    kind = np.iinfo(dtype)
    data = np.full((1, 24, 31), kind.max, dtype)
    data[0, 8:16] = kind.min
    target = shifted(SOURCE, 1.0, 0.25, 0.25)
    for how in RESAMPLING:
        if np.dtype(dtype).itemsize == 8 and how != "nearest":
            with pytest.raises(DtypeError, match=r"cannot be warped exactly; above 2\*\*53 take nearest, or read"):
                brought(observed(data), SOURCE, target, how)
            continue
        got = brought(observed(data), SOURCE, target, how)
        values = np.unique(got.data[:, got.valid])
        if how in ("nearest", "mode"):
            assert set(values.tolist()) == {kind.min, kind.max}
        assert kind.min in values and kind.max in values
        exact = brought(observed(data.astype(np.float64)), SOURCE, target, how).data
        wanted = np.rint(np.clip(exact, kind.min, kind.max))
        assert np.abs(got.data - wanted).max() <= 1, "ringing is cut off at the ends, not wrapped around"


@pytest.mark.parametrize("how", ["bilinear", "cubic", "average"])
def test_integers_are_rounded(how):
    data = np.random.default_rng(2).integers(0, 60000, (1, 24, 31))
    target = shifted(SOURCE, 1.3, 0.21, 0.43)
    exact = brought(observed(data.astype(np.float64)), SOURCE, target, how)
    for dtype in (np.uint16, np.int32):
        got = brought(observed(data.astype(dtype)), SOURCE, target, how)
        assert np.abs(got.data - np.clip(exact.data, 0 if dtype == np.uint16 else -1e9, 65535)).max() < 0.51


@pytest.mark.parametrize("how", RESAMPLING)
def test_invalid_pixels_count_for_no_band_although_they_hold_no_nodata(how):
    data = np.full((2, 24, 31), 7, np.uint16)
    valid = np.ones((24, 31), bool)
    valid[12, 15] = False
    data[:, 12, 15] = 60000
    data[1, 3, 3] = 0
    valid[3, 3] = False
    got = brought(Raster(data, valid), SOURCE, shifted(SOURCE, 1.0, 0.3, 0.3), how, nodata=0)
    assert (got.data[:, got.valid] == 7).all()


def test_large_integers_below_2_to_the_53_are_exact():
    data = np.random.default_rng(0).integers(0, 2**53, (1, 24, 31))
    target = shifted(SOURCE, 0.5, 0.0, 0.0)
    for how in ("nearest", "average", "mode"):
        got = brought(observed(data), SOURCE, target, how)
        assert np.array_equal(got.data[0], data[0].repeat(2, axis=0).repeat(2, axis=1)), how


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
@pytest.mark.parametrize("how", RESAMPLING)
def test_the_smallest_rasters_and_targets(size, how):
    source = Grid(size, north_up(res=10), UTM)
    data = np.arange(1, 1 + size[0] * size[1], dtype=np.uint8).reshape(1, *size)
    got = brought(observed(data), source, shifted(source, 1.0, 0.01, 0.01), how)
    if how != "cubic_spline":  # which smooths even where nothing is moved
        assert np.array_equal(got.data, data)
    assert got.valid.all()


def test_a_warp_between_planets_is_refused():
    moon = "+proj=longlat +R=1737400 +no_defs"
    source = Grid((8, 8), (1, 0, 0, 0, -1, 8), moon)
    target = Grid((8, 8), north_up(), UTM)
    with pytest.raises(CRSError, match=r"no way from .* same celestial body"):
        brought(observed(np.ones((1, 8, 8), np.float32)), source, target, "nearest")


def test_pixels_without_a_crs_are_refused():
    with pytest.raises(CRSError, match="without a CRS"):
        brought(observed(np.ones((1, 8, 8))), Grid((8, 8), north_up(), None), SOURCE, "nearest")


# ---------------------------------------------------------------------- values against others


RATIOS = [(1, 1), (1, 0.4), (2.5, 2.5), (3, 1)]
# GDAL widens splines and lanczos by less than 5 %, too, and gives pixels beyond their reach a weight: not those here. Beside
# gaps it divides cubic and lanczos by sums of weights that may be next to nothing.
AS_GDAL = [
    (how, ratio, gaps)
    for how in ("bilinear", "cubic", "cubic_spline", "lanczos", "average")
    for ratio in RATIOS + ([] if how in ("cubic_spline", "lanczos") else [(1.04, 1.04), (1.2, 1.4), (0.7, 6.3)])
    for gaps in ([False] if how in ("cubic", "lanczos") else [False, True])
]


@pytest.mark.parametrize(("how", "ratio", "gaps"), AS_GDAL)
def test_kernels_are_those_of_gdal(how, ratio, gaps):
    rng = np.random.default_rng(3)
    source = Grid((80, 80), north_up(), UTM)
    data, valid = rng.uniform(size=(1, 80, 80)), np.ones((80, 80), bool)
    if gaps:
        valid = rng.random((80, 80)) > 0.15
    x, y = ratio
    target = Grid((int(50 / y), int(50 / x)), (10 * x, 0, 500131.7, 0, -10 * y, 5599863.1), UTM)
    theirs = np.full((1, *target.shape), np.nan)
    reproject(
        np.where(valid, data, np.nan),
        theirs,
        src_transform=source.transform,
        src_crs=UTM,
        src_nodata=np.nan,
        dst_transform=target.transform,
        dst_crs=UTM,
        dst_nodata=np.nan,
        resampling=Resampling[how],
        XSCALE=min(1, 1 / x),
        YSCALE=min(1, 1 / y),
    )
    got = brought(Raster(data, valid), source, target, how)
    assert np.array_equal(got.valid, ~np.isnan(theirs[0]))
    assert np.abs(got.data - theirs)[:, got.valid].max() < 1e-5


@pytest.mark.parametrize("how", ["cubic", "lanczos"])
def test_kernels_with_negative_weights_become_bilinear_at_gaps(how):
    rng = np.random.default_rng(4)
    data, valid = rng.uniform(size=(1, 24, 31)), np.ones((24, 31), bool)
    valid[10, 14] = False
    for factor in (0.7, 2.3):
        target = shifted(SOURCE, factor, 0.3, 0.3)
        whole, holed, tent = (
            brought(r, SOURCE, target, h)
            for r, h in ((observed(data), how), (Raster(data, valid), how), (Raster(data, valid), "bilinear"))
        )
        row, col = (np.arange(n) * factor + 0.3 + factor / 2 for n in target.shape)
        reach = {"cubic": 2, "lanczos": 3}[how] * max(factor, 1)
        near = np.outer(np.abs(row - 10.5) < reach - 1e-3, np.abs(col - 14.5) < reach - 1e-3) & holed.valid
        far = ~np.outer(np.abs(row - 10.5) < reach + 1e-3, np.abs(col - 14.5) < reach + 1e-3)
        assert np.abs(holed.data - whole.data)[:, far].max() < 1e-12
        assert np.abs(holed.data - tent.data)[:, near].max() < 1e-9 and near.any()


def areas(source, target, row, col):
    """Parts of source pixels under one pixel of an upright target: {(row, column): area}."""
    x0, y0 = ~source.transform @ (target.transform @ (col, row))
    x1, y1 = ~source.transform @ (target.transform @ (col + 1, row + 1))
    found = {}
    for r in range(max(int(np.floor(y0)), 0), min(int(np.ceil(y1)), source.height)):
        for c in range(max(int(np.floor(x0)), 0), min(int(np.ceil(x1)), source.width)):
            found[r, c] = max(0, min(y1, r + 1) - max(y0, r)) * max(0, min(x1, c + 1) - max(x0, c))
    return {at: a for at, a in found.items() if a > 1e-9}


@settings(max_examples=25, deadline=None)
@given(
    st.floats(0.4, 6),
    st.floats(0.4, 6),
    st.floats(-9, 20),
    st.floats(-9, 20),
    st.sampled_from([0.0, 0.2, 0.9]),
    st.integers(0, 99),
)
def test_average_and_mode_weigh_by_area(x, y, dx, dy, holes, seed):
    rng = np.random.default_rng(seed)
    data, valid = rng.integers(0, 4, (1, 24, 31)).astype(np.float64), rng.random((24, 31)) >= holes
    target = Grid((5, 6), (10 * x, 0, 500000 + 10 * dx, 0, -10 * y, 5600000 - 10 * dy), UTM)
    average, mode = (brought(Raster(data, valid), SOURCE, target, how) for how in ("average", "mode"))
    for row, col in np.ndindex(target.shape):
        parts = {at: a for at, a in areas(SOURCE, target, row, col).items() if valid[at]}
        total = sum(parts.values())
        if total < 1e-3 * x * y:
            continue
        assert average.valid[row, col] and mode.valid[row, col]
        mean = sum(a * data[0][at] for at, a in parts.items()) / total
        assert average.data[0, row, col] == pytest.approx(mean, abs=2e-4)
        votes = [sum(a for at, a in parts.items() if data[0][at] == v) for v in range(4)]
        assert votes[int(mode.data[0, row, col])] > max(votes) - 1e-4 * x * y
    meets = np.array([bool(areas(SOURCE, target, r, c)) for r, c in np.ndindex(target.shape)]).reshape(target.shape)
    assert not (average.valid & ~meets).any() and not (mode.valid & ~meets).any()


def test_averages_of_whole_pixels_are_exact_and_ties_go_to_the_smallest():
    data = np.random.default_rng(0).integers(0, 60000, (2, 24, 30)).astype(np.uint16)
    source, target = Grid((24, 30), north_up(), UTM), Grid((8, 10), north_up(res=30), UTM)
    blocks = data.reshape(2, 8, 3, 10, 3).swapaxes(2, 3).reshape(2, 8, 10, 9)
    got = brought(observed(data), source, target, "average")
    assert np.array_equal(got.data, np.rint(blocks.mean(axis=-1)).astype(np.uint16))
    mode = brought(observed(data), source, target, "mode")
    assert np.array_equal(mode.data, blocks.min(axis=-1)), "all values differ in almost any block of 60000"


@pytest.mark.parametrize("degrees", [3, 20, 45, 90, 180])
@pytest.mark.parametrize("ratio", [1.0, 2.5, 8.0])
def test_an_average_of_a_turned_pixel_is_that_of_the_upright_box_of_its_size(degrees, ratio):
    rng = np.random.default_rng(5)
    data = rng.uniform(size=(1, 90, 90))
    source = Grid((90, 90), north_up(), UTM)
    t = np.radians(degrees)
    turned = rotated(
        500450 - 30 * ratio * (np.cos(t) + np.sin(t)),
        5599550 + 30 * ratio * (np.cos(t) - np.sin(t)),
        10 * ratio,
        degrees,
    )
    target = Grid((6, 6), turned, UTM)
    got = brought(observed(data), source, target, "average")
    for row, col in np.ndindex(6, 6):
        x, y = ~source.transform @ (target.transform @ (col + 0.5, row + 0.5))
        r, c = np.arange(90)[:, None], np.arange(90)[None]
        h = ratio / 2
        weight = np.clip(np.minimum(r + 1, y + h) - np.maximum(r, y - h), 0, None) * np.clip(
            np.minimum(c + 1, x + h) - np.maximum(c, x - h), 0, None
        )
        if abs(weight.sum() - ratio**2) < 1e-6:
            assert got.data[0, row, col] == pytest.approx((weight * data[0]).sum() / ratio**2, abs=1e-4)


def test_positions_and_values_are_exact_in_another_crs():
    """A ramp of columns and rows tells where its values were taken."""
    source = Grid((300, 320), (10, 0, 270000, 0, -10, 5300000), UTM)
    ramp = np.stack(np.meshgrid(np.arange(320) + 0.5, np.arange(300) + 0.5))
    target = about(source, "EPSG:32632", 0.9, 200)
    col, row = np.meshgrid(np.arange(200) + 0.5, np.arange(200) + 0.5)
    wanted = ~source.transform @ Transformer.from_crs("EPSG:32632", UTM, always_xy=True).transform(
        *(target.transform @ (col, row))
    )
    for how in ("bilinear", "cubic", "cubic_spline", "lanczos"):
        got = brought(observed(ramp), source, target, how)
        assert got.valid.all() and np.abs(got.data - wanted).max() < (2e-2 if how == "lanczos" else 1e-5)
    near = brought(observed(ramp), source, target, "nearest")
    assert np.array_equal(near.data, np.floor(wanted) + 0.5)


# ---------------------------------------------------------------------- what else is read does not matter


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(RESAMPLING),
    st.sampled_from([UTM, "EPSG:32632", "EPSG:4326", "EPSG:3035"]),
    st.sampled_from([0.7, 1.0, 2.6]),
    st.sampled_from([0.0, 0.1]),
    st.tuples(st.integers(0, 39), st.integers(0, 39), st.integers(1, 40), st.integers(1, 40)),
    st.integers(0, 99),
)
def test_a_pixel_has_the_same_value_in_every_window(how, crs, factor, holes, window, seed):
    rng = np.random.default_rng(seed)
    source = Grid((60, 70), north_up(), UTM)
    raster = Raster(rng.integers(0, 60000, (2, 60, 70)).astype(np.uint16), rng.random((60, 70)) >= holes)
    target = about(source, crs, factor, 40)
    r, c, h, w = window
    h, w = min(h, 40 - r), min(w, 40 - c)
    whole = brought(raster, source, target, how)
    part = brought(raster, source, target.window(r, c, h, w), how)
    same = slice(r, r + h), slice(c, c + w)
    assert np.array_equal(part.valid, whole.valid[same])
    assert np.array_equal(part.data[:, part.valid], whole.data[:, *same][:, part.valid])


@pytest.mark.parametrize("how", RESAMPLING)
@pytest.mark.parametrize("factor", [0.7, 4.0])
def test_a_large_target_is_read_in_pieces_of_bounded_size(monkeypatch, how, factor):
    rng = np.random.default_rng(6)
    source = Grid((200, 240), north_up(), UTM)
    raster = Raster(rng.integers(0, 99, (2, 200, 240)).astype(np.uint8), rng.random((200, 240)) > 0.01)
    target = about(source, "EPSG:32632", factor, 64)
    whole = brought(raster, source, target, how)
    monkeypatch.setattr(module, "_POSITIONS", 1000)
    monkeypatch.setattr(module, "_SAMPLES", 6000)
    windows = []
    pieces = brought(raster, source, target, how, windows)
    assert len(windows) > 3 and max(2 * h * w for _, _, h, w in windows) <= 6000
    assert np.array_equal(pieces.valid, whole.valid) and whole.valid.any()
    assert np.array_equal(pieces.data[:, whole.valid], whole.data[:, whole.valid])


@pytest.mark.parametrize("how", RESAMPLING)
@pytest.mark.parametrize("factor", [0.8, 2.6])
def test_no_pixel_is_read_that_does_not_matter(how, factor):
    """Windows are cut to the pixels with a weight, and one more where the kernel ends on the edge of a pixel."""
    source = Grid((400, 400), north_up(), UTM)
    target = about(source, UTM, factor, 20)
    windows = []
    brought(observed(np.zeros((1, 400, 400), np.uint8)), source, target, how, windows)
    ((_, _, h, w),) = windows
    reach = {"nearest": 0, "bilinear": 1, "cubic": 2, "cubic_spline": 2, "lanczos": 3}.get(how, 0.5)
    around = 2 * max(factor, 1) * reach if how != "nearest" else 0
    if how in ("average", "mode"):
        around = factor + 2 * (np.ceil(factor) + 1)
    assert max(h, w) <= 19 * factor + around + 3


def test_what_does_not_touch_the_inside_does_not_matter():
    rng = np.random.default_rng(7)
    data = rng.uniform(size=(1, 24, 31)).astype(np.float32)
    inside = Grid((6, 7), north_up(500080, 5599930), UTM)
    rubbish = np.full_like(data, 1e30)
    rubbish[:, 7:13, 8:15] = data[:, 7:13, 8:15]
    for how in RESAMPLING:
        target = shifted(SOURCE, 0.9, 0.35, 0.15)
        a, b = (brought(observed(d), SOURCE, target, how, inside=inside) for d in (data, rubbish))
        assert np.array_equal(a.valid, b.valid) and a.valid.any() and not a.valid.all()
        assert np.array_equal(a.data[:, a.valid], b.data[:, a.valid])


# ---------------------------------------------------------------------- seams and poles


@pytest.mark.parametrize("how", RESAMPLING)
def test_a_target_over_the_antimeridian_gets_both_sides_of_a_global_source(how):
    source = Grid((90, 180), (2, 0, -180, 0, -2, 90), "EPSG:4326")
    longitude = (-179 + 2 * np.arange(180.0))[None].repeat(90, axis=0)[None]
    target = Grid((4, 10), (2, 0, 171, 0, -2, 5), "EPSG:4326")
    windows = []
    got = brought(observed(longitude), source, target, how, windows)
    assert len(windows) == 2 and max(w for _, _, _, w in windows) < 30
    assert got.valid.all()
    wanted = (172 + 2 * np.arange(10) + 180) % 360 - 180
    away = np.abs(np.abs(wanted) - 180) > 7  # at the seam itself a kernel ends
    assert np.abs(got.data[0] - wanted)[:, away].max() <= 1.01


@pytest.mark.parametrize("how", ["average", "mode"])
def test_a_pixel_on_the_seam_has_the_value_of_one_side(how):
    source = Grid((90, 180), (2, 0, -180, 0, -2, 90), "EPSG:4326")
    column = np.arange(180.0)[None].repeat(90, axis=0)[None]
    got = brought(observed(column), source, Grid((2, 5), (2, 0, 175, 0, -2, 4), "EPSG:4326"), how)
    assert got.valid.all()
    wanted = {"average": [177.5, 178.5, 0, 0.5, 1.5], "mode": [177, 178, 0, 0, 1]}[how]
    assert got.data[0, 0].tolist() == wanted


def test_a_source_over_the_antimeridian_and_one_up_to_360():
    for left, wanted in ((170, 179.5), (0, 179.5)):
        width = 20 if left else 360
        source = Grid((20, width), (1, 0, left, 0, -1, 10), "EPSG:4326")
        longitude = (left + 0.5 + np.arange(float(width)))[None].repeat(20, axis=0)[None]
        got = brought(observed(longitude), source, Grid((2, 4), (1, 0, 179, 0, -1, 1), "EPSG:4326"), "nearest")
        assert got.valid.all() and got.data[0, 0].tolist() == [wanted, wanted + 1, wanted + 2, wanted + 3]
        got = brought(observed(longitude), source, Grid((2, 4), (1, 0, -181, 0, -1, 1), "EPSG:4326"), "nearest")
        assert got.valid.all() and got.data[0, 0].tolist() == [wanted - 0.0, wanted + 1, wanted + 2, wanted + 3]


@pytest.mark.parametrize("crs", ["EPSG:3413", "EPSG:3031"])
def test_a_target_over_a_pole(crs):
    source = Grid((180, 360), (1, 0, -180, 0, -1, 90), "EPSG:4326")
    latitude = (89.5 - np.arange(180.0))[None, :, None].repeat(360, axis=2)
    target = Grid((60, 60), (20000, 0, -600000, 0, -20000, 600000), crs)
    got = brought(observed(latitude), source, target, "nearest")
    x, y = target.transform @ np.meshgrid(np.arange(60) + 0.5, np.arange(60) + 0.5)
    _, lat = Transformer.from_crs(crs, 4326, always_xy=True).transform(x, y)
    assert got.valid.all() and np.abs(got.data[0] - lat).max() <= 0.51


def test_far_apart_grids_need_no_pixel():
    windows = []
    target = Grid((8, 8), north_up(x=800000, y=100000), UTM)
    for how in RESAMPLING:
        assert not brought(observed(np.ones((1, 24, 31))), SOURCE, target, how, windows).valid.any()
    assert windows == []


def test_a_target_pixel_larger_than_the_source_has_its_average():
    data = np.arange(24.0 * 31).reshape(1, 24, 31)
    target = Grid((3, 3), (5000, 0, 493000, 0, -5000, 5607000), UTM)
    got = brought(observed(data), SOURCE, target, "average")
    assert got.valid.sum() == 1 and got.valid[1, 1] and got.data[0, 1, 1] == pytest.approx(data.mean())


PLACES = st.tuples(st.floats(-179, 179), st.floats(-84, 84))
SYSTEMS = ["EPSG:4326", "EPSG:3857", "EPSG:32633", "EPSG:3035", "EPSG:3413", "EPSG:3031", "EPSG:6933"]


@settings(max_examples=40, deadline=None)
@given(
    PLACES,
    st.sampled_from(SYSTEMS),
    st.sampled_from(SYSTEMS),
    st.floats(1e3, 4e6),
    st.floats(0, 6.28),
    st.floats(-0.4, 0.4),
)
def test_every_pixel_within_the_source_gets_its_value(place, from_crs, to_crs, size, turn, aside):
    def grid(crs, lon, lat, metres, angle, n):
        x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
        assume(np.isfinite(x) and np.isfinite(y) and abs(x) < 4e7 and abs(y) < 4e7)
        res = metres / n / (111320 if crs == "EPSG:4326" else 1)
        a, b = res * np.cos(angle), res * np.sin(angle)
        return Grid((n, n), (a, b, x - (a + b) * n / 2, b, -a, y - (b - a) * n / 2), crs)

    lon, lat = place
    source = grid(from_crs, lon, lat, size, 0.0, 200)
    target = grid(to_crs, lon + aside * size / 111320, lat, size * 0.7, turn, 90)
    ramp = np.arange(200.0 * 200).reshape(1, 200, 200)
    mine = np.meshgrid(np.arange(target.width) + 0.5, np.arange(target.height) + 0.5)
    way = Transformer.from_crs(target.crs, source.crs, always_xy=True)
    x, y = way.transform(*(target.transform @ mine))
    if source.crs.is_geographic:
        x = x - 360 * np.rint((x - lon) / 360)
    lost = ~(np.isfinite(x) & np.isfinite(y))
    col, row = ~source.transform @ (np.where(lost, 1e12, x), np.where(lost, 1e12, y))
    clear = np.minimum(np.abs(col - np.rint(col)), np.abs(row - np.rint(row))) > 0.125
    inside = (col > 0) & (row > 0) & (col < 200) & (row < 200)
    got = brought(observed(ramp), source, target, "nearest")
    assert np.array_equal(got.valid[clear], inside[clear])
    sure = inside & clear
    wanted = np.floor(row[sure]) * 200 + np.floor(col[sure])
    assert np.array_equal(got.data[0][sure], wanted)
