"""Tiles: pixels counted by painting them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import catalog_of, north_up, rotated

from geodata.errors import GeodataError, GridError

UTM = "EPSG:32633"


def scene(height, width, transform=None, crs=UTM):
    return catalog_of((transform or north_up(), (height, width), crs))


def painted(catalog, height, width):
    """How often each pixel of the scene lies in a tile; a tile that leaves the scene fails here."""
    count = np.zeros((height, width), dtype=int)
    for (r, c), (h, w) in zip(catalog.origin.tolist(), catalog.shape.tolist(), strict=True):
        assert h >= 1 and w >= 1 and r >= 0 and c >= 0 and r + h <= height and c + w <= width
        count[r : r + h, c : c + w] += 1
    return count


extents = st.integers(1, 60)


@given(extents, extents, st.integers(1, 70), st.integers(1, 70))
@settings(deadline=None)
def test_tiles_partition_the_pixels(height, width, h, w):
    tiles = scene(height, width).tile((h, w))
    assert (painted(tiles, height, width) == 1).all()
    assert len(tiles) == math.ceil(height / h) * math.ceil(width / w)


@given(extents, extents, st.integers(1, 30), st.integers(1, 30))
@settings(deadline=None)
def test_dropping_the_edge_leaves_whole_tiles(height, width, h, w):
    tiles = scene(height, width).tile((h, w), edge="drop")
    count = painted(tiles, height, width)
    whole = np.zeros_like(count)
    whole[: height // h * h, : width // w * w] = 1
    assert np.array_equal(count, whole)
    assert (tiles.shape == (h, w)).all()


@given(extents, extents, st.integers(1, 40), st.integers(1, 40), st.sampled_from(["keep", "drop"]))
@settings(deadline=None)
def test_strides(height, width, size, stride, edge):
    """Tiles start at every multiple of the stride; 'keep' goes on until the last pixel is covered, if it can be."""
    tiles = scene(height, width).tile(size, stride, edge=edge)
    along = {}
    for name, length in (("r", height), ("c", width)):
        along[name] = []
        for at in range(0, length, stride):
            if edge == "drop" and at + size > length:
                break
            along[name].append(at)
            if edge == "keep" and at + size >= length:
                break
    assert tiles.origin.tolist() == [[r, c] for r in along["r"] for c in along["c"]]
    count = painted(tiles, height, width)
    if edge == "keep" and stride <= size:
        assert (count >= 1).all()


@given(extents, extents, st.integers(1, 30), st.integers(1, 30))
@settings(deadline=None)
def test_tiles_of_tiles_partition_the_pixels(height, width, first, second):
    tiles = scene(height, width).tile(first).tile(second)
    assert (painted(tiles, height, width) == 1).all()
    assert len(set(tiles.key)) == len(tiles)


@pytest.mark.parametrize(
    "transform", [north_up(499999.97, 5600000.03, 0.3), rotated(5e5, 5.6e6, 10, 31), north_up(yres=-10)]
)
def test_a_tile_lies_where_its_pixels_lie(transform):
    catalog = scene(100, 80, transform)
    tiles = catalog.tile(32).tile((20, 7))
    whole = catalog.grid(0)
    for row in range(len(tiles)):
        grid = tiles.grid(row)
        assert grid.offset_in(whole) == tuple(tiles.origin[row])
        r, c = tiles.origin[row].tolist()
        wanted = [whole.transform @ p for p in ((c, r), (c + grid.width, r + grid.height))]
        got = [grid.transform @ p for p in ((0, 0), (grid.width, grid.height))]
        assert np.allclose(got, wanted, rtol=0, atol=1e-6 * whole.res[0])


def test_keys_say_which_pixels_and_of_what():
    catalog = catalog_of(
        (north_up(), (50, 70), UTM),
        (north_up(6e5), (32, 32), UTM),
        columns={"country": ["A", "B"]},
        time=[(0, 1), (2, 3)],
    )
    tiles = catalog.tile(32)
    assert tiles.key.tolist() == [
        "k0#r0c0h32w32",
        "k0#r0c32h32w32",
        "k0#r0c64h32w6",
        "k0#r32c0h18w32",
        "k0#r32c32h18w32",
        "k0#r32c64h18w6",
        "k1#r0c0h32w32",
    ]
    assert tiles.column("tile_of").tolist() == ["k0"] * 6 + ["k1"]
    assert tiles.column("country").tolist() == ["A"] * 6 + ["B"]
    assert tiles.time.tolist() == [[0, 1]] * 6 + [[2, 3]]
    assert tiles.take([4]).tile(16).column("tile_of").tolist() == ["k0"] * 4
    assert catalog.key.tolist() == ["k0", "k1"]


def test_every_row_has_its_own_lattice():
    catalog = catalog_of(
        (north_up(res=10), (100, 100), UTM),
        (north_up(6e5, res=20), (50, 50), UTM),
        (north_up(0, 0, 1000), (3, 3), "EPSG:3035"),
    )
    assert np.unique(catalog.tile(40).column("tile_of"), return_counts=True)[1].tolist() == [9, 4, 1]


# ---------------------------------------------------------------------- ground sizes


@pytest.mark.parametrize(
    ("size", "pixels"), [("250m", 25), ("0.25km", 25), (" 250 m ", 25), ("254m", 25), ("256m", 26), ("2560m", 100)]
)
def test_ground_sizes_are_whole_pixels_of_each_row(size, pixels):
    tiles = scene(100, 100).tile(size)
    assert tiles.shape.max(axis=0).tolist() == [pixels, pixels]


def test_a_ground_size_is_the_same_ground_in_every_resolution():
    catalog = catalog_of(
        (north_up(res=10), (512, 512), UTM),
        (north_up(6e5, res=20), (256, 256), UTM),
        (rotated(7e5, 5.6e6, 10, 33), (512, 512), UTM),
        (north_up(1e6, 2e5, 10 / 0.3048006096012192), (512, 512), "EPSG:2263"),
    )
    tiles = catalog.tile("1280m")
    shapes = {of: tiles.where(tile_of=of).shape.max(axis=0).tolist() for of in ("k0", "k1", "k2", "k3")}
    assert shapes == {"k0": [128, 128], "k1": [64, 64], "k2": [128, 128], "k3": [128, 128]}


def test_a_ground_size_of_pixels_that_are_not_square():
    tiles = scene(400, 400, north_up(res=10, yres=20)).tile("1000m")
    assert tiles.shape.max(axis=0).tolist() == [50, 100]


@pytest.mark.parametrize("crs", ["EPSG:4326", None])
def test_a_ground_size_needs_metres(crs):
    with pytest.raises(GridError, match=r"metric CRS, got (EPSG:4326|no CRS).*in pixels"):
        scene(10, 10, north_up(15, 50, 0.01), crs).tile("1000m")


def test_rows_left_out_do_not_forbid_a_ground_size():
    catalog = catalog_of((north_up(), (100, 100), UTM), (north_up(15, 50, 0.1), (9, 9), "EPSG:4326"))
    assert len(catalog.where(key="k0").tile("250m")) == 16


# ---------------------------------------------------------------------- native ratios


def test_512_is_no_size_of_bands_at_10_20_and_60_metres():
    with pytest.raises(GridError, match=r"512.*use 510 or 516"):
        scene(10980, 10980).tile(512, multiple=6)
    with pytest.raises(GridError, match=r"stride 256.*use 252 or 258"):
        scene(10980, 10980).tile(510, 256, multiple=6)
    with pytest.raises(GridError, match="use 6"):
        scene(10980, 10980).tile(4, multiple=6)
    with pytest.raises(GridError, match=r"512|256"):
        scene(10980, 10980).tile((510, 256), multiple=6)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 6), st.integers(1, 5), st.integers(1, 5))
@settings(deadline=None)
def test_tiles_start_and_end_on_multiples(down, across, multiple, h, w):
    tiles = scene(down * multiple, across * multiple).tile((h * multiple, w * multiple), multiple=multiple)
    assert (tiles.origin % multiple == 0).all()
    assert (tiles.shape % multiple == 0).all()


def test_coarser_catalogs():
    catalog = catalog_of((north_up(), (120, 60), UTM)).tile(60)
    coarse = catalog.coarser(6)
    assert coarse.shape.tolist() == [[10, 10]] * 2
    assert coarse.origin.tolist() == [[0, 0], [10, 0]]
    assert [coarse.grid(r) for r in range(2)] == [catalog.grid(r).coarser(6) for r in range(2)]
    assert catalog.coarser(1).shape.tolist() == catalog.shape.tolist()
    with pytest.raises(GeodataError, match=r"k0.*60.*ratio 7"):
        catalog.coarser(7)
    with pytest.raises(GeodataError, match="ratio"):
        catalog_of((north_up(), (120, 60), UTM)).tile(20).coarser(6)
    off = catalog_of((north_up(), (24, 12), UTM)).tile(12, 9).take([1])
    assert (off.origin[0].tolist(), off.shape[0].tolist()) == ([9, 0], [12, 12])
    with pytest.raises(GeodataError, match="ratio 6"):
        off.coarser(6)
    for ratio in (0, -2):
        with pytest.raises(GeodataError, match="ratio"):
            catalog.coarser(ratio)


# ---------------------------------------------------------------------- what cannot be asked


@pytest.mark.parametrize(
    "size",
    [
        0,
        -1,
        (5, 0),
        "0m",
        "3m",
        2.5,
        math.nan,
        True,
        None,
        "10",
        "10 miles",
        "1.2.3m",
        "-5m",
        "nanm",
        "m",
        (1, 2, 3),
        (),
        "",
        [5, "5"],
    ],
)
def test_sizes_that_cannot_be(size):
    with pytest.raises(GridError, match="size"):
        scene(100, 100).tile(size)


@pytest.mark.parametrize("stride", [0, -1, 2.5, "x"])
def test_strides_that_cannot_be(stride):
    with pytest.raises(GridError, match="stride"):
        scene(100, 100).tile(10, stride)


def test_edges_and_multiples_that_cannot_be():
    with pytest.raises(GridError, match="'keep' or 'drop'"):
        scene(10, 10).tile(5, edge="shift")
    for multiple in (0, -6):
        with pytest.raises(GridError, match="multiple"):
            scene(12, 12).tile(6, multiple=multiple)


def test_footprints_without_pixels_are_not_tiled():
    layer = catalog_of((north_up(), (1, 1), UTM), lattice=False)
    with pytest.raises(GridError, match=r"join them to a raster.*res="):
        layer.tile(256)


def test_tiles_of_nothing_are_nothing():
    assert len(scene(10, 10).take([]).tile(5)) == 0
    assert len(scene(10, 10).tile(11, edge="drop")) == 0


def test_many_rows_at_once():
    rng = np.random.default_rng(0)
    shapes = rng.integers(1, 400, (300, 2)).tolist()
    catalog = catalog_of(*[(north_up(5e5 + 1e4 * i), s, UTM) for i, s in enumerate(shapes)])
    tiles = catalog.tile(64, 48)
    for i in (0, 17, 299):
        mine = tiles.where(tile_of=f"k{i}")
        assert (painted(mine, *shapes[i]) >= 1).all()
    wanted = [(max(math.ceil((h - 64) / 48), 0) + 1) * (max(math.ceil((w - 64) / 48), 0) + 1) for h, w in shapes]
    assert len(tiles) == sum(wanted)
