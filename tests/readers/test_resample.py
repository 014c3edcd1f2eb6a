"""Enlarging against torch and a plain loop; warping against exact positions, laws of averages, and holes that stay holes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from makers import north_up
from pyproj import Transformer

from geodata.errors import CRSError, DtypeError, GridError
from geodata.grid import Grid
from geodata.readers.base import Raster
from geodata.readers.resample import RESAMPLING, enlarge, pixel_ratio, source_windows, warp

UTM = "EPSG:32633"


def observed(data):
    data = np.asarray(data)
    return Raster(data, np.ones(data.shape[1:], bool))


def brought(raster, source, target, how, **options):
    """The warp as datasets do it: only the pixels that can matter, with the kernel of the two grids."""
    ratio = pixel_ratio(source, target)
    out = np.zeros((len(raster.data), *target.shape), raster.data.dtype)
    valid = np.zeros(target.shape, bool)
    for r, c, h, w in source_windows(source, target, how, ratio):
        part = Raster(raster.data[:, r : r + h, c : c + w], raster.valid[r : r + h, c : c + w])
        done = warp(part, source.window(r, c, h, w), target, how, ratio=ratio, **options)
        fresh = done.valid & ~valid
        out[:, fresh] = done.data[:, fresh]
        valid |= fresh
    return Raster(out, valid)


# ---------------------------------------------------------------------- enlarging


@pytest.mark.parametrize("ratio", [2, 3, 5, 6])
def test_bilinear_enlarging_is_torchs(ratio):
    data = np.random.default_rng(0).normal(size=(2, 7, 9)).astype(np.float32)
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(data)[None].double(), scale_factor=ratio, mode="bilinear", align_corners=False
    )[0]
    got = enlarge(observed(data), ratio, (0, 0), (7 * ratio, 9 * ratio), "bilinear")
    assert got.valid.all() and np.abs(got.data - wanted.numpy()).max() < 1e-6


@pytest.mark.parametrize("how", ["nearest", "bilinear"])
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_enlarging_with_gaps_is_the_plain_loop(how, data):
    ratio = data.draw(st.integers(2, 6))
    h, w = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    pixels = data.draw(arrays(np.float64, (1, h, w), elements=st.floats(-1e3, 1e3, width=32)))
    valid = data.draw(arrays(bool, (h, w)))
    r0, c0 = data.draw(st.integers(0, h * ratio - 1)), data.draw(st.integers(0, w * ratio - 1))
    shape = data.draw(st.integers(1, h * ratio - r0)), data.draw(st.integers(1, w * ratio - c0))
    holes = np.where(valid, pixels, 1e30)
    got = enlarge(Raster(holes, valid), ratio, (r0, c0), shape, how)
    for i in range(shape[0]):
        for j in range(shape[1]):
            y, x = r0 + i, c0 + j
            assert got.valid[i, j] == valid[y // ratio, x // ratio]
            if not got.valid[i, j]:
                continue
            if how == "nearest":
                assert got.data[0, i, j] == pixels[0, y // ratio, x // ratio]
                continue
            # Tent weights of all coarse pixels; beyond the edge the outermost one stands for what is not there.
            wy = np.array([max(0, 1 - abs(np.clip((y + 0.5) / ratio - 0.5, 0, h - 1) - k)) for k in range(h)])
            wx = np.array([max(0, 1 - abs(np.clip((x + 0.5) / ratio - 0.5, 0, w - 1) - k)) for k in range(w)])
            weight = wy[:, None] * wx * valid
            assert got.data[0, i, j] == pytest.approx((weight * pixels[0]).sum() / weight.sum(), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("value", [-12.5, -12.3, 0.1, 1e-30, 7.0])
@pytest.mark.parametrize("gaps", [False, True])
def test_a_constant_stays_that_constant(value, gaps):
    data = np.full((1, 5, 5), value, np.float32)
    valid = np.ones((5, 5), bool)
    valid[2, 2] = not gaps
    got = enlarge(Raster(data, valid), 3, (1, 2), (13, 12), "bilinear")
    close = got.data[0][got.valid]
    assert np.abs(close - np.float32(value)).max() <= (np.spacing(np.float32(abs(value))) if gaps else 0)


def test_integers_are_rounded_not_cut():
    data = np.array([[[0, 1]]], np.uint8)
    got = enlarge(observed(data), 4, (0, 0), (1, 8), "bilinear")
    assert got.data.dtype == np.uint8 and got.data[0, 0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    big = np.array([[[2**31 - 1, 2**31 - 1]]], np.int32)
    assert enlarge(observed(big), 2, (0, 0), (1, 4), "bilinear").data[0, 0].tolist() == [2**31 - 1] * 4


def test_enlarging_by_another_method_is_refused():
    with pytest.raises(GridError, match="nearest or bilinear, not 'cubic'"):
        enlarge(observed(np.zeros((1, 2, 2))), 2, (0, 0), (4, 4), "cubic")


# ---------------------------------------------------------------------- warping


def shifted(grid, factor, dx, dy):
    t = grid.transform
    h, w = int(grid.height / factor), int(grid.width / factor)
    return Grid((h, w), (t.a * factor, 0, t.c + dx * t.a, 0, t.e * factor, t.f + dy * t.e), grid.crs)


SOURCE = Grid((24, 31), north_up(), UTM)


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
def test_unobserved_pixels_never_reach_a_value(how, crs):
    rng = np.random.default_rng(1)
    data = rng.uniform(1, 2, (2, 24, 31)).astype(np.float32)
    valid = rng.random((24, 31)) > 0.3
    data[:, ~valid] = 1e30
    x, y = Transformer.from_crs(UTM, crs, always_xy=True).transform(*SOURCE.xy(np.array([12.0, 12.0])))
    res = 13e-5 if crs == "EPSG:4326" else 13.0
    target = Grid((20, 20), (res, 0, x - 10 * res, 0, -res, y + 10 * res), crs)
    got = brought(Raster(data, valid), SOURCE, target, how)
    assert got.valid.any() and not got.valid.all()
    overshoot = 1.0 if how in ("cubic", "lanczos") else 1e-5
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


def test_bands_leave_out_their_own_nodata():
    data = np.array([[[1, 0, 3]], [[10, 20, 30]]], np.float32).repeat(3, axis=1)
    source = Grid((3, 3), north_up(), UTM)
    target = Grid((1, 1), (10, 0, 500009, 0, -10, 5599990), UTM)
    got = brought(Raster(data, data[0] != 0), source, target, "bilinear", nodata=0)
    if got.valid[0, 0]:
        assert got.data[1, 0, 0] == pytest.approx(0.1 * 10 + 0.9 * 20) and got.data[0, 0, 0] == 1


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_integers_keep_their_ends(dtype):
    kind = np.iinfo(dtype)
    data = np.full((1, 24, 31), kind.max, dtype)
    data[0, 8:16] = kind.min
    target = shifted(SOURCE, 1.0, 0.25, 0.25)
    for how in ("nearest", "lanczos"):
        if np.dtype(dtype).itemsize == 8:
            with pytest.raises(
                DtypeError, match=r"cannot be warped exactly; above 2\*\*53 read them on their own grid"
            ):
                brought(observed(data), SOURCE, target, how)
            continue
        got = brought(observed(data), SOURCE, target, how)
        values = np.unique(got.data[:, got.valid])
        if how == "nearest":
            assert set(values.tolist()) == {kind.min, kind.max}
        assert kind.min in values and kind.max in values, "ringing is cut off at the ends, not wrapped around"


def test_large_integers_below_2_to_the_53_are_exact():
    data = np.random.default_rng(0).integers(0, 2**53, (1, 24, 31))
    target = shifted(SOURCE, 0.5, 0.0, 0.0)
    got = brought(observed(data), SOURCE, target, "nearest")
    assert np.array_equal(got.data[0], data[0].repeat(2, axis=0).repeat(2, axis=1))


def test_average_and_mode_are_what_they_say():
    data = np.random.default_rng(0).integers(0, 9, (1, 24, 30)).astype(np.float32)
    source = Grid((24, 30), north_up(), UTM)
    target = Grid((8, 10), north_up(res=30), UTM)
    blocks = data[0].reshape(8, 3, 10, 3).transpose(0, 2, 1, 3).reshape(8, 10, 9)
    got = brought(observed(data), source, target, "average")
    assert np.abs(got.data[0] - blocks.mean(axis=-1)).max() < 1e-5
    counts = np.stack([(blocks == v).sum(axis=-1) for v in range(9)], axis=-1)
    mode = brought(observed(data), source, target, "mode").data[0].astype(int)
    assert (np.take_along_axis(counts, mode[..., None], -1)[..., 0] == counts.max(axis=-1)).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
def test_the_smallest_rasters_and_targets(size):
    source = Grid(size, north_up(res=10), UTM)
    data = np.arange(1, 1 + size[0] * size[1], dtype=np.uint8).reshape(1, *size)
    for how in RESAMPLING:
        got = brought(observed(data), source, shifted(source, 1.0, 0.01, 0.01), how)
        assert got.valid.all() and np.array_equal(got.data, data), how


def test_a_warp_between_planets_is_refused():
    moon = "+proj=longlat +R=1737400 +no_defs"
    source = Grid((8, 8), (1, 0, 0, 0, -1, 8), moon)
    target = Grid((8, 8), north_up(), UTM)
    with pytest.raises(CRSError, match=r"no way from .* same celestial body"):
        brought(observed(np.ones((1, 8, 8), np.float32)), source, target, "nearest")


# ---------------------------------------------------------------------- which pixels can matter


def carried(source, target, col, row):
    """Column and row of ``target`` at pixel positions of ``source``; far away where there is no way."""
    way = Transformer.from_crs(source.crs, target.crs, always_xy=True)
    x, y = way.transform(*(source.transform @ (col, row)))
    lost = ~(np.isfinite(x) & np.isfinite(y))
    return ~target.transform @ (np.where(lost, 1e12, x), np.where(lost, 1e12, y))


PLACES = st.tuples(st.floats(-179, 179), st.floats(-84, 84))
SYSTEMS = ["EPSG:4326", "EPSG:3857", "EPSG:32633", "EPSG:3035", "EPSG:3413", "EPSG:3031", "EPSG:6933"]


@settings(max_examples=50, deadline=None)
@given(
    PLACES,
    st.sampled_from(SYSTEMS),
    st.sampled_from(SYSTEMS),
    st.floats(1e3, 4e6),
    st.floats(0, 6.28),
    st.floats(-0.4, 0.4),
)
def test_no_pixel_that_matters_is_left_out(place, from_crs, to_crs, size, turn, aside):
    def grid(crs, lon, lat, metres, angle, n):
        x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
        assume(np.isfinite(x) and np.isfinite(y) and abs(x) < 4e7 and abs(y) < 4e7)
        res = metres / n / (111320 if crs == "EPSG:4326" else 1)
        a, b = res * np.cos(angle), res * np.sin(angle)
        return Grid((n, n), (a, b, x - (a + b) * n / 2, b, -a, y - (b - a) * n / 2), crs)

    lon, lat = place
    source = grid(from_crs, lon, lat, size, 0.0, 200)
    target = grid(to_crs, lon + aside * size / 111320, lat, size * 0.7, turn, 90)
    assume(
        from_crs != "EPSG:4326"
        or (
            abs(source.bounds[0]) <= 180
            and abs(source.bounds[2]) <= 180
            and source.bounds[3] <= 90
            and source.bounds[1] >= -90
        )
    )
    mine = np.meshgrid(np.arange(target.width) + 0.5, np.arange(target.height) + 0.5)
    col, row = carried(target, source, *mine)
    inside = (col > 0) & (row > 0) & (col < source.width) & (row < source.height)
    # Only where the way back arrives: projections far from home map many places to one.
    c, r = carried(source, target, np.where(inside, col, 1.0), np.where(inside, row, 1.0))
    inside &= (np.abs(c - mine[0]) < 0.01) & (np.abs(r - mine[1]) < 0.01)
    kept = np.zeros(inside.shape, bool)
    for r0, c0, h, w in source_windows(source, target, "nearest", pixel_ratio(source, target)):
        kept |= (col >= c0) & (row >= r0) & (col <= c0 + w) & (row <= r0 + h)
    assert not (inside & ~kept).any(), f"{(inside & ~kept).sum()} of {inside.sum()}"


def test_far_apart_grids_need_no_pixel():
    target = Grid((8, 8), north_up(x=800000, y=100000), UTM)
    assert source_windows(SOURCE, target, "cubic", (1.0, 1.0)) == []


@pytest.mark.parametrize("factor", [0.3, 1.0, 2.0, 7.5])
def test_the_kernel_widens_with_the_target_and_never_narrows(factor):
    rx, ry = pixel_ratio(SOURCE, shifted(SOURCE, factor, 0.2, 0.2))
    assert (rx, ry) == pytest.approx((max(1, factor), max(1, factor)))


def test_the_kernel_of_a_turned_grid_is_that_of_the_upright_one():
    t = 0.6
    turned = Grid((9, 9), (30 * np.cos(t), 30 * np.sin(t), 500100, 30 * np.sin(t), -30 * np.cos(t), 5599900), UTM)
    assert pixel_ratio(SOURCE, turned) == pytest.approx((3, 3))
