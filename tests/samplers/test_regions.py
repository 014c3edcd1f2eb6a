"""Windows within polygons, and with enough valid pixels: the whole row rasterised and every window looked at is the oracle."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio.features
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import catalog_of, north_up, rotated
from numpy.lib.stride_tricks import sliding_window_view
from pyproj import Transformer
from scipy.stats import chisquare

from geodata.counts import PixelCounts
from geodata.errors import SamplerError
from geodata.samplers.conditions.cells import Cells
from geodata.samplers.conditions.region import Region
from geodata.samplers.random import RandomPatchSampler

UTM = "EPSG:32633"


def star(x, y, radius, points=9, seed=0, hole=0.25):
    """Concave, with a hole, and with no edge on a lattice."""
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, 2 * points, endpoint=False) + 0.123
    far = radius * np.where(np.arange(2 * points) % 2, 1.0, 0.55) * rng.uniform(0.9, 1.0, 2 * points)
    ring = np.column_stack([x + far * np.cos(angle), y + far * np.sin(angle)])
    inner = np.column_stack([x + hole * radius * np.cos(angle), y + hole * radius * np.sin(angle)])
    return shapely.Polygon(ring, [inner] if hole else [])


def inside(polygons, transform, shape):
    """Which pixels of a whole row lie in polygons of its own CRS, by GDAL."""
    return rasterio.features.geometry_mask(polygons, shape, transform, invert=True)


def sums(mask, size):
    """Marked pixels of all windows of a row, (starts down, starts across)."""
    return sliding_window_view(mask.astype(np.int64), size).sum(axis=(2, 3))


def admissible(masks, size, share, step=1):
    """All windows that may be drawn."""
    found = set()
    for row, mask in enumerate(masks):
        good = np.argwhere(sums(mask, size)[::step, ::step] >= share * size[0] * size[1] - 1e-6) * step
        found |= {(row, r, c) for r, c in good.tolist()}
    return found


def drawn(sampler, n):
    rows, at = sampler.places(np.arange(n))
    return np.column_stack([rows, at])


def assert_uniform_over(sampler, wanted, n):
    found, counts = np.unique(drawn(sampler, n), axis=0, return_counts=True)
    assert {tuple(f) for f in found.tolist()} == wanted
    assert chisquare(counts).pvalue > 1e-4


SHAPES = [(90, 70), (60, 100)]
PLACES = [north_up(), north_up(x=500700.0)]
REGION = star(500690.0, 5599480.0, 620.0)


class Native:
    def __init__(self, catalog, step):
        self.catalog, self.step = catalog, step


def two_rows():
    return catalog_of(*((t, s, UTM) for t, s in zip(PLACES, SHAPES, strict=True)))


@pytest.mark.parametrize("share", [1.0, 0.7, 0.05])
def test_concave_polygons_with_holes_over_two_rows(share):
    masks = [inside([REGION], t, s) for t, s in zip(PLACES, SHAPES, strict=True)]
    wanted = admissible(masks, (12, 9), share)
    assert len(wanted) > 150 and {w[0] for w in wanted} == {0, 1}
    s = RandomPatchSampler(two_rows(), size=(12, 9), length=9, within=REGION, crs=UTM, min_within=share, seed=2)
    assert_uniform_over(s, wanted, 30 * len(wanted))
    assert s.windows >= len(wanted)


def test_starts_keep_to_the_native_lattice():
    masks = [inside([REGION], t, s) for t, s in zip(PLACES, SHAPES, strict=True)]
    data = Native(two_rows(), 3)
    s = RandomPatchSampler(data, size=12, length=9, within=REGION, crs=UTM, min_within=0.9)
    assert_uniform_over(s, admissible(masks, (12, 12), 0.9, step=3), 5000)


def test_longitude_and_latitude_over_utm_rows_turned_rows_and_south_up():
    places = [north_up(), rotated(500900.0, 5599300.0, 10.0, 25.0), north_up(x=501000.0, y=5599000.0, yres=-10.0)]
    to_utm = Transformer.from_crs("OGC:CRS84", UTM, always_xy=True).transform
    there = Transformer.from_crs(UTM, "OGC:CRS84", always_xy=True).transform
    lon, lat = there(500900.0, 5599400.0)
    region = shapely.transform(star(0, 0, 1.0, seed=3), lambda xy: xy * (0.012, 0.008) + (lon, lat))
    fine = shapely.transform(shapely.segmentize(region, 1e-5), lambda xy: np.column_stack(to_utm(*xy.T)))
    shape = (80, 80)
    masks = [inside([fine], t, shape) for t in places]
    wanted = admissible(masks, (10, 10), 1.0)
    assert {w[0] for w in wanted} == {0, 1, 2}
    catalog = catalog_of(*((t, shape, UTM) for t in places))
    s = RandomPatchSampler(catalog, size=10, length=9, within=region, crs="EPSG:4326")
    assert_uniform_over(s, wanted, 20 * len(wanted))


def test_edges_are_straight_in_the_crs_of_the_region():
    # A parallel is 300 pixels off its chord in this Lambert grid: the region ends at 50 N all along, not at the chord.
    catalog = catalog_of((north_up(3_000_000.0, 3_400_000.0, 2000.0), (500, 1000), "EPSG:3035"))
    band = shapely.box(-10.0, 50.0, 40.0, 51.0)
    s = RandomPatchSampler(catalog, size=8, length=9, within=band, crs="EPSG:4326")
    at = drawn(s, 4000)[:, 1:]
    x, y = 3_000_000.0 + 2000.0 * (at[:, 1, None] + [0.5, 7.5]), 3_400_000.0 - 2000.0 * (at[:, 0, None] + [0.5, 7.5])
    _, lat = Transformer.from_crs("EPSG:3035", "OGC:CRS84", always_xy=True).transform(x, y)
    assert lat.min() > 50 and lat.max() < 51
    every = admissible(
        [_by_points(band, "EPSG:3035", north_up(3_000_000.0, 3_400_000.0, 2000.0), (500, 1000))], (8, 8), 1.0
    )
    assert {(0, *a) for a in at.tolist()} <= every
    starts = np.bincount(at[:, 1] // 100, minlength=10)
    share = np.bincount(np.array([w[2] for w in every]) // 100, minlength=10) / len(every)
    assert chisquare(starts[share > 0], share[share > 0] * 4000).pvalue > 1e-4


@pytest.mark.parametrize(
    ("place", "shape", "crs", "region", "region_crs"),
    [
        # Over a world map, and over a map of the pole: blocks that no straight line bounds.
        (north_up(-180.0, 90.0, 1.0), (180, 360), "EPSG:4326", star(2e5, 3e5, 4e6, hole=0.2), "EPSG:3995"),
        (north_up(-4e6, 4e6, 4e4), (200, 200), "EPSG:3995", shapely.box(-180.0, 72.0, 180.0, 85.5), "EPSG:4326"),
        (north_up(-4e6, 4e6, 4e4), (200, 200), "EPSG:3995", shapely.box(170.0, 60.0, 200.0, 89.5), "EPSG:4326"),
        # A strip around the globe: its corners and middles lie on one meridian.
        (north_up(-180.0, 64.0, 1.0), (6, 360), "EPSG:4326", star(3.2e6, 0.0, 5e5), "EPSG:3995"),
        (north_up(-180.0, 90.0, 1.0), (180, 360), "EPSG:4326", star(5e5, 5e6, 4e5), "EPSG:32633"),
    ],
)
def test_where_no_block_is_straight(place, shape, crs, region, region_crs):
    mask = _by_points(region, crs, place, shape, region_crs)
    cells = Region(region, region_crs).cells(catalog_of((place, shape, crs)))
    down, across = (np.arange(0, n - 5, 6) for n in shape)
    boxes = np.array([(r, c, r + 6, c + 6) for r in down for c in across])
    truth = [int(mask[r : r + 6, c : c + 6].sum()) for r, c, _, _ in boxes.tolist()]
    assert sum(truth) > 10 and cells.count(np.zeros(len(boxes), np.int64), boxes).tolist() == truth


def _by_points(polygon, crs, transform, shape, there="OGC:CRS84"):
    """Which pixels lie in a polygon of another CRS: every centre, brought there."""
    c, r = np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)
    t = transform
    x, y = t.a * c + t.b * r + t.c, t.d * c + t.e * r + t.f
    u, v = Transformer.from_crs(crs, there, always_xy=True).transform(x, y)
    known = np.isfinite(u)
    u, v = np.where(known, u, 1e30), np.where(known, v, 1e30)
    turns = (-360, 0, 360) if there in ("OGC:CRS84", "EPSG:4326") else (0,)
    return np.logical_or.reduce([shapely.contains_xy(polygon, u + turn, v) for turn in turns])


def test_over_the_antimeridian():
    west, east = north_up(733_000.0, 5_000_000.0, 100.0), north_up(258_000.0, 5_000_000.0, 100.0)
    catalog = catalog_of((west, (60, 120), "EPSG:32660"), (east, (60, 120), "EPSG:32601"))
    low, high = 45.07, 45.115
    beyond, split = (
        shapely.box(179.97, low, 180.07, high),
        shapely.MultiPolygon([shapely.box(179.97, low, 180.0, high), shapely.box(-180.0, low, -179.93, high)]),
    )
    masks = [_by_points(beyond, crs, t, (60, 120)) for crs, t in (("EPSG:32660", west), ("EPSG:32601", east))]
    wanted = admissible(masks, (20, 20), 0.9)
    assert {w[0] for w in wanted} == {0, 1}
    found = []
    for region in (beyond, split, shapely.transform(beyond, lambda xy: xy - (360.0, 0.0))):
        s = RandomPatchSampler(catalog, size=20, length=9, within=region, crs="EPSG:4326", min_within=0.9)
        found.append({tuple(f) for f in drawn(s, 15 * len(wanted)).tolist()})
    assert found[0] == found[2] == wanted and len(found[1] ^ wanted) == 0


def test_rows_in_longitudes_of_0_to_360():
    catalog = catalog_of((north_up(170.0, 10.0, 0.25), (40, 80), "EPSG:4326"))
    s = RandomPatchSampler(catalog, size=6, length=9, within=shapely.box(-176.0, 1.1, -172.0, 8.9), crs="EPSG:4326")
    # Longitudes 184 to 188 are columns 56 to 72; latitude 8.9 lies in row 4, 1.1 in row 35.
    assert_uniform_over(s, {(0, r, c) for r in range(4, 31) for c in range(56, 67)}, 9000)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(33, 700), st.integers(33, 300), st.sampled_from([0.0, 0.35]))
def test_counts_within_any_box_are_those_of_the_rasterised_row(seed, height, width, hole):
    place = north_up()
    region = star(500000.0 + 5 * width, 5600000.0 - 5 * height, 6.0 * max(height, width), seed=seed, hole=hole)
    mask = inside([region], place, (height, width))
    cells = Region(region, UTM).cells(catalog_of((place, (height, width), UTM)))
    rng = np.random.default_rng(seed)
    low, high = np.sort(rng.integers(0, [height + 1, width + 1], (2, 60, 2)), axis=0)
    boxes = np.column_stack([low, high])
    truth = [int(mask[r0:r1, c0:c1].sum()) for r0, c0, r1, c1 in boxes.tolist()]
    rows = np.zeros(60, np.int64)
    assert cells.count(rows, boxes).tolist() == truth
    assert (cells.around(rows, boxes)[0] >= truth).all() and (cells.within(rows, boxes)[0] <= truth).all()


def test_a_strip_hardly_wider_than_the_window():
    strip = shapely.box(0.0, 0.0, 3000.0, 245.0)
    place = north_up(0.0, 2600.0)
    turned = shapely.affinity.rotate(strip, 33, origin=(0, 0))
    mask = inside([turned], place, (300, 300))
    wanted = admissible([mask], (17, 17), 1.0)
    assert 30 < len(wanted) < 2000
    s = RandomPatchSampler(catalog_of((place, (300, 300), UTM)), size=17, length=9, within=turned, crs=UTM)
    assert_uniform_over(s, wanted, 30 * len(wanted))


def test_a_list_is_a_union_and_geojson_is_understood():
    west, east = (
        shapely.box(500003.0, 5599300.0, 500322.0, 5599900.0),
        shapely.box(500322.0, 5599300.0, 500633.0, 5599900.0),
    )
    geojson = shapely.geometry.mapping(shapely.box(500003.0, 5599300.0, 500633.0, 5599900.0))
    forms = [
        [west, east],
        geojson,
        {"type": "Feature", "geometry": geojson},
        {
            "type": "FeatureCollection",
            "features": [{"type": "Feature", "geometry": shapely.geometry.mapping(g)} for g in (west, east)],
        },
    ]
    seen = [drawn(RandomPatchSampler(two_rows(), size=20, length=9, within=f, crs=UTM), 500).tolist() for f in forms]
    assert all(s == seen[0] for s in seen) and max(c for _, _, c in seen[0]) > 30


def test_padding_does_not_count_as_outside():
    catalog = catalog_of((north_up(), (8, 8), UTM), (north_up(x=500400.0), (8, 8), UTM))
    s = RandomPatchSampler(catalog, size=16, length=50, within=shapely.box(499990, 5599900, 500090, 5600010), crs=UTM)
    assert {(q.row, q.window) for q in s} == {(0, (0, 0, 16, 16))}


# ---------------------------------------------------------------------- valid pixels


def counted(catalog, masks, cell):
    valid = [
        mask[r : r + cell, c : c + cell].sum()
        for mask in masks
        for r in range(0, mask.shape[0], cell)
        for c in range(0, mask.shape[1], cell)
    ]
    shape = np.array(catalog.shape)
    valid = np.array(valid, dtype=np.int32)
    return PixelCounts(cell, catalog.key, shape, valid, np.zeros((len(valid), 0), np.int32))


def blobs(seed, density=0.8):
    rng = np.random.default_rng(seed)
    return [
        np.kron(rng.random((-(-h // 7), -(-w // 7))) < density, np.ones((7, 7)))[:h, :w].astype(bool) for h, w in SHAPES
    ]


@pytest.mark.parametrize("share", [0.95, 0.6])
def test_counts_of_single_pixels_are_exact(share):
    masks = blobs(1)
    s = RandomPatchSampler(two_rows(), size=(14, 11), length=9, counts=counted(two_rows(), masks, 1), min_valid=share)
    wanted = admissible(masks, (14, 11), share)
    assert 30 < len(wanted) < 8000
    assert_uniform_over(s, wanted, 25 * len(wanted))


@pytest.mark.parametrize(("cell", "density"), [(8, 0.85), (16, 0.85), (40, 0.97), (90, 0.98)])
def test_larger_cells_admit_what_they_prove(cell, density):
    masks, size, share = blobs(2, density), (24, 21), 0.7
    s = RandomPatchSampler(two_rows(), size=size, length=9, counts=counted(two_rows(), masks, cell), min_valid=share)
    proven = set()
    for row, mask in enumerate(masks):
        for r in range(mask.shape[0] - 23):
            for c in range(mask.shape[1] - 20):
                least = 0
                for y in range(r // cell * cell, r + 24, cell):
                    for x in range(c // cell * cell, c + 21, cell):
                        whole = mask[y : y + cell, x : x + cell]
                        down = min(y + whole.shape[0], r + 24) - max(y, r)
                        across = min(x + whole.shape[1], c + 21) - max(x, c)
                        least += max(0, int(whole.sum()) - (whole.size - down * across))
                if least >= share * 24 * 21:
                    proven.add((row, r, c))
    assert len(proven) > 50
    assert_uniform_over(s, proven, 25 * len(proven))
    assert proven <= admissible(masks, size, share)


def test_padding_is_not_valid():
    catalog = catalog_of((north_up(), (10, 10), UTM), (north_up(x=501000.0), (30, 30), UTM))
    counts = counted(catalog, [np.ones((10, 10), bool), np.ones((30, 30), bool)], 5)

    def rows(share):
        s = RandomPatchSampler(catalog, size=20, length=400, counts=counts, min_valid=share)
        return {q.row for q in s}

    assert rows(0.25) == {0, 1} and rows(0.26) == {1}


def test_valid_and_within_both_hold():
    masks = blobs(3)
    s = RandomPatchSampler(
        two_rows(), size=10, length=9, within=REGION, crs=UTM, counts=counted(two_rows(), masks, 1), min_valid=0.8
    )
    region = [inside([REGION], t, sh) for t, sh in zip(PLACES, SHAPES, strict=True)]
    wanted = admissible(masks, (10, 10), 0.8) & admissible(region, (10, 10), 1.0)
    assert 100 < len(wanted) < len(admissible(masks, (10, 10), 0.8))
    assert_uniform_over(s, wanted, 25 * len(wanted))


def test_sizes_that_differ_between_rows():
    catalog = catalog_of((north_up(), (90, 70), UTM), (north_up(x=500700.0, res=20.0), (60, 50), UTM))
    s = RandomPatchSampler(catalog, size="200m", length=9, within=REGION, crs=UTM, mixed=True)
    wanted = admissible([inside([REGION], north_up(), (90, 70))], (20, 20), 1.0)
    wanted |= {
        (1, r, c) for _, r, c in admissible([inside([REGION], north_up(x=500700.0, res=20.0), (60, 50))], (10, 10), 1.0)
    }
    assert_uniform_over(s, wanted, 30 * len(wanted))


# ---------------------------------------------------------------------- refused, shared out, resumed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"within": REGION}, "within= needs crs="),
        ({"crs": UTM}, "give within= too"),
        ({"min_within": 0.5}, "give within= too"),
        ({"within": REGION, "crs": UTM, "min_within": 0}, "min_within=0 must be a number above 0 and at most 1"),
        ({"within": shapely.Point(0, 0), "crs": UTM}, "takes polygons with an area, got a Point"),
        ({"within": shapely.Polygon(), "crs": UTM}, "takes polygons with an area"),
        ({"within": shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)]), "crs": UTM}, "is not valid: Self-intersection"),
        ({"within": [], "crs": UTM}, "holds no polygon"),
        ({"within": "Austria", "crs": UTM}, "takes shapely polygons or GeoJSON, got str"),
        ({"within": {"type": "LineString"}, "crs": UTM}, "of type 'LineString'"),
        ({"within": REGION, "crs": UTM, "order": "storage"}, "need order='random'"),
        (
            {"within": REGION.buffer(-70.0), "crs": UTM},
            r"no window of 16 x 16 pixels in 2 rows has min_within=1 .* there are 1072 such pixels in 2 rows",
        ),
        ({"within": REGION, "crs": "EPSG:32601"}, "look whether the CRS is that of the region"),
        ({"min_valid": 0.5}, "belong together"),
        ({"counts": counted(two_rows(), blobs(1), 8)}, "belong together"),
        ({"counts": counted(two_rows(), blobs(1), 8), "min_valid": 1.5}, "min_valid=1.5 must be a number above 0"),
        (
            {"counts": counted(two_rows().take([0]), blobs(1)[:1], 8), "min_valid": 0.5},
            "these counts are of other rows",
        ),
    ],
)
def test_what_is_refused(options, said):
    with pytest.raises(SamplerError, match=said):
        RandomPatchSampler(two_rows(), size=16, length=9, **options)


def test_rows_without_a_crs_are_nowhere():
    plain = catalog_of((north_up(0, 0, 1), (64, 64), None))
    with pytest.raises(SamplerError, match="rows without a CRS lie nowhere on earth"):
        RandomPatchSampler(plain, size=16, length=9, within=REGION, crs=UTM)


def make(n, **options):
    return RandomPatchSampler(two_rows(), size=10, length=n, seed=4, within=REGION, crs=UTM, min_within=0.8, **options)


def test_ranks_and_resume():
    whole = [(q.index, q.row, q.window) for q in make(40)]
    first = [q for r in range(2) for q in list(make(40, rank=r, world=2))[:6]]
    assert sorted((q.index, q.row, q.window) for q in first) == whole[:12]
    for world in (1, 4):
        rest = []
        for rank in range(world):
            again = make(40, rank=rank, world=world)
            again.load_state_dict(make(40).state_dict(consumed=12))
            assert len(again) == 28 // world
            rest += [(q.index, q.row, q.window) for q in again]
        assert sorted(rest) == whole[12:]
    assert [next(make(40).draw(np.array([i]))).window for i in (39, 7)] == [whole[39][2], whole[7][2]]


def test_plans_differ():
    counts = counted(two_rows(), blobs(1), 8)
    other = counted(two_rows(), blobs(4), 8)
    options = [
        {},
        {"within": REGION, "crs": UTM},
        {"within": REGION, "crs": UTM, "min_within": 0.9},
        {"within": REGION.buffer(1.0), "crs": UTM},
        {"counts": counts, "min_valid": 0.5},
        {"counts": counts, "min_valid": 0.51},
        {"counts": other, "min_valid": 0.5},
        {"weights": [1, 2]},
        {"weights": [2, 1]},
        {"within": REGION, "crs": UTM, "weights": [2, 1]},
    ]
    digests = [RandomPatchSampler(two_rows(), size=10, length=9, **o).digest for o in options]
    assert len(set(digests)) == len(digests)


def test_parts_of_cells_count_what_they_must():
    cells = Cells(np.array([[4, 4]]), np.array([2]), np.array([4, 1, 0, 3]))
    boxes = np.array([[0, 0, 4, 4], [0, 0, 2, 3], [1, 1, 4, 4], [2, 2, 3, 4], [1, 1, 1, 3]])
    assert cells.count(np.zeros(5, np.int64), boxes).tolist() == [8, 4, 4, 1, 0]


def test_a_region_in_rows_of_another_crs_is_another_plan():
    def sampler(crs):
        catalog = catalog_of(*((north_up(500000 + 400 * i), (40, 40), crs) for i in range(2)))
        return RandomPatchSampler(catalog, size=4, length=9, within=shapely.box(-180, -90, 180, 90), crs="OGC:CRS84")

    with pytest.raises(SamplerError, match="this state is of another sampler"):
        sampler("EPSG:32634").load_state_dict(sampler(UTM).state_dict())
