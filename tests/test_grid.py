"""Grid: where pixels are, against plain arithmetic with fractions and loops."""

from __future__ import annotations

import math
import pickle
from dataclasses import FrozenInstanceError
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from geodata.crs import as_crs
from geodata.errors import CRSError, GridError
from geodata.grid import Grid

UTM = "EPSG:32633"
NORTH_UP = (10.0, 0.0, 500000.0, 0.0, -10.0, 5600000.0)
LOCAL = "+proj=tmerc +lat_0=3 +lon_0=7.123 +k=0.9999 +x_0=100 +y_0=7 +ellps=GRS80 +units=m +no_defs"

coordinates = st.floats(-2e7, 2e7, allow_nan=False)
sizes = st.tuples(st.integers(1, 3000), st.integers(1, 3000))


@st.composite
def transforms(draw):
    """North-up, south-up and turned transforms with pixels of 1e-5 to 1e4 units."""
    xres, yres = (10.0 ** draw(st.floats(-5, 4)) for _ in range(2))
    turn = math.radians(draw(st.sampled_from([0, 0, 0, 17.3, 90, 181, -45])))
    flip = draw(st.sampled_from([-1, -1, 1]))
    c, s = math.cos(turn), math.sin(turn)
    x, y = draw(coordinates), draw(coordinates)
    return Affine(xres * c, -yres * s * flip, x, xres * s, yres * c * flip, y)


def exact(transform, col, row):
    """Where a pixel position lies, without rounding."""
    a, b, c, d, e, f = (Fraction(v) for v in tuple(transform)[:6])
    col, row = Fraction(col), Fraction(row)
    return a * col + b * row + c, d * col + e * row + f


@given(transforms(), sizes)
def test_bounds_are_the_box_around_the_four_corners(transform, shape):
    grid = Grid(shape, transform, UTM)
    corners = [exact(transform, col, row) for col, row in product((0, shape[1]), (0, shape[0]))]
    wanted = [f(c[k] for c in corners) for f in (min, max) for k in (0, 1)]
    slack = 1e-15 * (abs(transform.c) + abs(transform.f)) + 1e-12 * max(shape) * max(grid.res)
    assert grid.bounds == pytest.approx([float(v) for v in wanted], rel=1e-15, abs=slack)


def test_corners_come_upper_left_first_and_clockwise():
    grid = Grid((3, 2), NORTH_UP, UTM)
    assert grid.corners.tolist() == [[500000, 5600000], [500020, 5600000], [500020, 5599970], [500000, 5599970]]
    south_up = Grid((3, 2), (10, 0, 500000, 0, 10, 5600000), UTM)
    assert south_up.bounds == (500000, 5600000, 500020, 5600030)


def test_boundary_runs_once_around_the_edge_with_equal_steps():
    grid = Grid((3, 5), NORTH_UP, UTM)
    ring = grid.boundary(4)
    assert ring.shape == (16, 2)
    assert ring[::4].tolist() == grid.corners.tolist()
    steps = np.hypot(*(np.roll(ring, -1, axis=0) - ring).T)
    assert np.allclose(steps, [12.5] * 4 + [7.5] * 4 + [12.5] * 4 + [7.5] * 4)


@given(transforms(), st.lists(st.tuples(st.floats(-5000, 5000), st.floats(-5000, 5000)), min_size=1, max_size=8))
def test_colrow_undoes_xy(transform, places):
    grid = Grid((7, 9), transform, UTM)
    pixels = np.array(places)
    # What the largest coordinate can carry, in the smallest pixel.
    slack = 4e-16 * (abs(transform.c) + abs(transform.f) + 2e4 * max(grid.res)) / min(grid.res) + 1e-12
    assert np.abs(grid.colrow(grid.xy(pixels)) - pixels).max() <= slack


@given(transforms(), st.integers(-500, 500), st.integers(-500, 500), sizes)
def test_window_keeps_every_pixel_where_it_was(transform, row, col, shape):
    grid = Grid((40, 30), transform, UTM)
    block = grid.window(row, col, *shape)
    assert block.shape == shape
    for r, q in ((0, 0), shape, (1, 0)):
        wanted = exact(transform, col + q, row + r)
        got = block.xy(np.array([float(q), float(r)]))
        slack = 1e-15 * (abs(transform.c) + abs(transform.f)) + 1e-12 * 4000 * max(grid.res)
        assert got.tolist() == pytest.approx([float(v) for v in wanted], rel=1e-15, abs=slack)


@given(st.integers(-5000, 5000), st.integers(-5000, 5000), sizes, st.sampled_from([0.0, 33.0, 90.0]))
def test_offset_in_undoes_window(row, col, shape, degrees):
    c, s = 10 * math.cos(math.radians(degrees)), 10 * math.sin(math.radians(degrees))
    grid = Grid((40, 30), (c, s, 500000.123, s, -c, 5600000.987), UTM)
    assert grid.window(row, col, *shape).offset_in(grid) == (row, col)


@pytest.mark.parametrize(
    ("transform", "crs"),
    [
        ((10, 0, 500005, 0, -10, 5600000), UTM),
        ((10, 0, 500000, 0, -10, 5600005), UTM),
        ((20, 0, 500000, 0, -20, 5600000), UTM),
        ((10, 0, 500000, 0, 10, 5599960), UTM),
        ((0, 10, 500000, -10, 0, 5600000), UTM),
        ((10, 1e-3, 500000, 0, -10, 5600000), UTM),
        ((10 * (1 + 1e-6), 0, 500000, 0, -10, 5600000), UTM),
        (NORTH_UP, "EPSG:32634"),
        (NORTH_UP, None),
    ],
)
def test_offset_in_refuses_another_lattice(transform, crs):
    assert Grid((4, 4), transform, crs).offset_in(Grid((8, 8), NORTH_UP, UTM)) is None


@pytest.mark.parametrize("shape", [(1, 1), (4, 4), (10_000, 10_000)])
@pytest.mark.parametrize(
    ("shift", "same"), [(0.0, True), (5e-7, True), (-5e-7, True), (5e-6, False), (-1e-4, False), (1e-3, False)]
)
def test_offset_in_takes_a_millionth_of_a_pixel(shape, shift, same):
    moved = Grid(shape, (10, 0, 500000 + 10 * (3 + shift), 0, -10, 5600000), UTM)
    assert moved.offset_in(Grid((8, 8), NORTH_UP, UTM)) == ((0, 3) if same else None)


def test_offset_in_without_crs_compares_lattices_without_crs():
    assert Grid((2, 2), (1, 0, 3, 0, 1, 4), None).offset_in(Grid((9, 9), (1, 0, 0, 0, 1, 0), None)) == (4, 3)


def test_offset_in_knows_one_crs_under_two_names():
    wkt = as_crs(UTM).to_wkt("WKT1_GDAL")
    assert Grid((2, 2), NORTH_UP, wkt).offset_in(Grid((2, 2), NORTH_UP, 32633)) == (0, 0)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 12))
def test_coarser_pixels_share_the_corners_of_the_fine_ones(height, width, ratio):
    grid = Grid((height * ratio, width * ratio), (10.1, 0.3, 500000.1, 0.2, -9.9, 5600000.7), UTM)
    coarse = grid.coarser(ratio)
    assert coarse.shape == (height, width)
    places = np.array([[0.0, 0.0], [width, height], [1.0, 0.0]])
    assert np.allclose(coarse.xy(places), grid.xy(places * ratio), rtol=1e-15, atol=1e-8)


@pytest.mark.parametrize("ratio", [0, -1, -3, 1.5, 7, 4])
def test_coarser_refuses_what_does_not_divide(ratio):
    for shape in ((6, 8), (8, 6)):
        with pytest.raises(GridError, match="ratio"):
            Grid(shape, NORTH_UP, UTM).coarser(ratio)


# ---------------------------------------------------------------------- from bounds


@given(
    coordinates,
    coordinates,
    st.floats(1e-3, 1e5),
    st.floats(1e-3, 1e5),
    st.floats(1e-2, 1e4),
    st.floats(1e-2, 1e4),
)
def test_from_bounds_covers_the_box_with_as_few_pixels_as_possible(left, bottom, w, h, xres, yres):
    right, top = left + w, bottom + h
    if not (right > left and top > bottom):
        return
    grid = Grid.from_bounds((left, bottom, right, top), UTM, (xres, yres))
    t = grid.transform
    assert (t.a, t.b, t.c, t.d, t.e, t.f) == (xres, 0, left, 0, -yres, top)
    for n, low, high, step in ((grid.width, left, right, xres), (grid.height, bottom, top, yres)):
        need = (Fraction(high) - Fraction(low)) / Fraction(step)
        assert n >= need - Fraction(1, 900_000)
        assert n == 1 or n - 1 < need


@pytest.mark.parametrize("res", [0.1, 0.3, 10.0, 1 / 3, 2.5e-4])
@pytest.mark.parametrize("n", [1, 3, 7, 256, 1000, 10980])
def test_from_bounds_adds_no_pixel_to_a_whole_multiple(res, n):
    left, top = 13.7, 51.3
    grid = Grid.from_bounds((left, top - n * res, left + n * res, top), "EPSG:4326", res)
    assert grid.shape == (n, n)


@pytest.mark.parametrize(
    "res", [0, -10, math.nan, math.inf, (10, 0), (10, -10), (10, math.nan), "ten", None, (1, 2, 3), ()]
)
def test_resolution_must_be_above_zero(res):
    with pytest.raises(GridError, match="resolution"):
        Grid.from_bounds((0, 0, 100, 100), UTM, res)


@pytest.mark.parametrize(
    ("bounds", "says"),
    [
        ((0, 0, math.nan, 100), "finite"),
        ((0, -math.inf, 100, 100), "finite"),
        ((0, 0, 0, 100), "left, bottom, right, top"),
        ((0, 100, 100, 0), "left, bottom, right, top"),
        ((100, 0, 0, 100), "antimeridian"),
        ((0, 0, 100), "four numbers"),
        ((0, 0, 100, 100, 100), "four numbers"),
        (("a", 0, 100, 100), "four numbers"),
        (None, "four numbers"),
        (7, "four numbers"),
    ],
)
def test_bounds_must_be_a_finite_box(bounds, says):
    with pytest.raises(GridError, match=says):
        Grid.from_bounds(bounds, UTM, 10)


# ---------------------------------------------------------------------- what cannot exist


@pytest.mark.parametrize(
    "shape",
    [
        (0, 5),
        (5, 0),
        (-1, 5),
        (5, -3),
        (math.nan, 5),
        (math.inf, 5),
        (2.7, 3),
        (5,),
        (5, 5, 5),
        5,
        None,
        "ab",
        ("a", 3),
    ],
)
def test_sizes_are_two_whole_numbers_above_zero(shape):
    with pytest.raises(GridError, match=r"height|shape"):
        Grid(shape, NORTH_UP, UTM)


def test_sizes_may_be_numpy_integers():
    assert Grid(np.array([3, 4], dtype=np.int32), NORTH_UP, UTM).shape == (3, 4)
    assert type(Grid((np.int64(3), 4), NORTH_UP, UTM).shape[0]) is int


@pytest.mark.parametrize(
    "transform",
    [
        (10, 0, math.nan, 0, -10, 0),
        (10, 0, 0, 0, -math.inf, 0),
        (0, 0, 0, 0, -10, 0),
        (10, 0, 0, 0, 0, 0),
        (1, 2, 0, 2, 4, 0),
        (1, 2, 3),
        (10, 0, 0, 0, -10, 0, 7),
        None,
        5,
        "abcdef",
    ],
)
def test_transform_is_six_finite_numbers_with_area(transform):
    with pytest.raises(GridError, match="transform"):
        Grid((2, 2), transform, UTM)


def test_transform_of_nine_numbers_is_an_affine_matrix():
    assert Grid((2, 2), tuple(Affine(*NORTH_UP)), UTM) == Grid((2, 2), NORTH_UP, UTM)


def test_windows_are_whole_pixels():
    grid = Grid((9, 9), NORTH_UP, UTM)
    with pytest.raises(GridError, match=r"0 x 3"):
        grid.window(0, 0, 0, 3)
    with pytest.raises(GridError):
        grid.window(0, 0, 2.7, 3)


def test_unknown_crs_is_named():
    with pytest.raises(CRSError, match="EPSG:999999"):
        Grid((2, 2), NORTH_UP, "EPSG:999999")


def test_grids_do_not_change():
    grid = Grid((2, 2), NORTH_UP, UTM)
    with pytest.raises(FrozenInstanceError):
        grid.shape = (3, 3)
    with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
        grid.extra = 1


# ---------------------------------------------------------------------- as a value


@settings(deadline=None)
@given(transforms(), sizes, st.sampled_from([UTM, None, "EPSG:4326", LOCAL]))
def test_pickling_keeps_every_bit(transform, shape, crs):
    grid = Grid(shape, transform, crs)
    back = pickle.loads(pickle.dumps(grid))
    assert back == grid and hash(back) == hash(grid)
    assert [float(v).hex() for v in back.transform] == [float(v).hex() for v in grid.transform]
    assert back.shape == grid.shape


def test_equal_grids_hash_alike_however_the_crs_is_written():
    same = [Grid((2, 2), NORTH_UP, crs) for crs in (UTM, 32633, as_crs(UTM), as_crs(UTM).to_wkt(), UTM.lower())]
    assert len({*same}) == 1


@pytest.mark.parametrize(
    "other",
    [
        Grid((2, 3), NORTH_UP, UTM),
        Grid((2, 2), NORTH_UP, "EPSG:32634"),
        Grid((2, 2), NORTH_UP, None),
        Grid((2, 2), (10, 0, math.nextafter(500000, 1e9), 0, -10, 5600000), UTM),
        "grid",
    ],
)
def test_grids_that_differ_are_not_equal(other):
    assert Grid((2, 2), NORTH_UP, UTM) != other


def test_repr_names_what_matters():
    assert repr(Grid((2, 3), NORTH_UP, UTM)) == "Grid((2, 3), (10, 0, 500000, 0, -10, 5600000), 'EPSG:32633')"
    assert repr(Grid((2, 3), NORTH_UP)).endswith("None)")


def test_geobox_and_back():
    for crs in (UTM, None):
        grid = Grid((20, 30), (10.1, 0, 500000.123, 0, -9.9, 5600000.7), crs)
        assert grid.geobox.shape == (20, 30)
        assert Grid.from_geobox(grid.geobox) == grid


# ---------------------------------------------------------------------- into another CRS


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3035", "EPSG:32632"])
def test_to_crs_covers_the_grid_with_pixels_of_about_the_same_area(crs):
    from pyproj import Transformer

    grid = Grid((300, 200), NORTH_UP, UTM)
    other = grid.to_crs(crs)
    way = Transformer.from_crs(UTM, crs, always_xy=True)
    pixels = other.colrow(np.column_stack(way.transform(*grid.boundary(50).T)))
    assert (pixels >= -1e-6).all()
    assert (pixels <= [other.width + 1e-6, other.height + 1e-6]).all()
    assert 0.5 < other.height * other.width / (300 * 200) < 2
    assert other.transform.b == other.transform.d == 0


def test_to_crs_takes_a_resolution():
    grid = Grid((300, 200), NORTH_UP, UTM)
    assert grid.to_crs("EPSG:32632", 30).res == (30, 30)
    assert grid.to_crs("EPSG:4326", (2e-4, 1e-4)).res == (2e-4, 1e-4)
    for res in (0, -1, math.nan):
        with pytest.raises(GridError, match="resolution"):
            grid.to_crs("EPSG:4326", res)


@pytest.mark.parametrize(
    ("grid", "crs"),
    [
        (Grid((100, 100), (300, 0, 820000, 0, -300, 1000000), "EPSG:32660"), "EPSG:4326"),
        (Grid((100, 100), (300, 0, 820000, 0, -300, 1000000), "EPSG:32660"), "EPSG:3857"),
        (Grid((60, 60), (1e5, 0, -3e6, 0, -1e5, 3e6), "EPSG:3031"), "EPSG:4326"),
        (Grid((60, 60), (1e5, 0, -5e5, 0, -1e5, 5.5e6), "EPSG:3413"), "EPSG:4326"),
    ],
    ids=["over 180", "over 180 in metres", "south pole", "north pole at the side"],
)
def test_to_crs_at_the_seams_covers_the_grid_or_says_no(grid, crs):
    """Bounds of the outline alone are a belt around the earth, or miss the pole inside it."""
    from pyproj import Transformer

    try:
        other = grid.to_crs(crs)
    except CRSError as error:
        assert crs in str(error)  # noqa: PT017  (refusing is as good as covering)
        return
    steps = np.linspace(0, 1, 41)
    inside = grid.xy(np.stack(np.meshgrid(steps * grid.width, steps * grid.height), axis=-1).reshape(-1, 2))
    x, y = Transformer.from_crs(grid.crs, crs, always_xy=True).transform(*inside.T)
    if crs == "EPSG:4326":
        x = other.bounds[0] + (x - other.bounds[0]) % 360
    pixels = other.colrow(np.column_stack([x, y]))
    assert (pixels >= -1e-6).all() and (pixels <= [other.width + 1e-6, other.height + 1e-6]).all()
    # Pixels of about the size that they had, at the latitude where degrees are largest.
    metres = 111_320.0 if crs == "EPSG:4326" else 1.0
    assert 0.2 < other.res[1] * metres / grid.res[1] < 5
    assert other.width * other.height < 50 * grid.width * grid.height


def test_to_crs_needs_a_crs_on_both_sides():
    with pytest.raises(CRSError, match="to_crs needs a CRS"):
        Grid((2, 2), NORTH_UP).to_crs(UTM)
    with pytest.raises(CRSError, match="to_crs needs a CRS"):
        Grid((2, 2), NORTH_UP, UTM).to_crs(None)
