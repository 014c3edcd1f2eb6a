"""The splitters, each against what its definition says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import shapely
from patches import loose, patches
from pyproj import Geod

from geodata import splits
from geodata.catalog import Catalog
from geodata.catalog.overlaps import overlaps
from geodata.errors import CatalogError, SplitError, SplitWarning
from geodata.splits.places import lonlat, squares

THIRDS = {"train": 0.6, "val": 0.2, "test": 0.2}
HALVES = {"train": 0.5, "test": 0.5}


@pytest.fixture(scope="module")
def catalog():
    return patches()


def random(catalog, **options):
    with pytest.warns(SplitWarning, match="neighbours"):
        return splits.random(catalog, **{"fractions": THIRDS, **options})


MADE = {
    "random": random,
    "hash": lambda c: splits.hash(c, fractions=THIRDS),
    "blocks": lambda c: splits.blocks(c, size="30km", fractions=THIRDS),
    "blocks-stratified": lambda c: splits.blocks(c, size="30km", fractions=THIRDS, stratify="labels"),
    "blocks-buffered": lambda c: splits.blocks(c, size="40km", fractions=HALVES, buffer="4km", overlap="drop"),
    "random-grouped": lambda c: random(c, group="scene", overlap="allow"),
    "cells-h3": lambda c: splits.cells(c, cell="h3:4", fractions=THIRDS, stratify="kind"),
    "cells-mgrs": lambda c: splits.cells(c, cell="mgrs", fractions=HALVES),
    "checkerboard": lambda c: splits.checkerboard(c, size="30km"),
    "kfold": lambda c: splits.kfold(c, 4, splits.blocks, size="20km", buffer="1km"),
    "regions": lambda c: splits.leave_one_region_out(c, regions="country", overlap="allow"),
    "time": lambda c: splits.time(c, fractions=HALVES, gap="10d"),
    "space-time": lambda c: splits.space_time(c, size="30km", fractions=HALVES),
    "knndm": lambda c: splits.knndm(c, domain=patches(200, seed=5, spread=400_000), folds=3),
}

# Computed once and pinned: a change of any of them breaks every split that people have published.
DIGESTS = {
    "random": "d9db1e7da965ef55",
    "hash": "530c2443fb9557ff",
    "blocks": "480b39346d288b58",
    "blocks-stratified": "57ac34c3f8935eb7",
    "blocks-buffered": "56173e098fa9691d",
    "random-grouped": "cfd53bf24d6e65af",
    "cells-h3": "3792e5ad0f436f5a",
    "cells-mgrs": "f038822eb83ad470",
    "checkerboard": "8d057fd50d0a97be",
    "kfold": "e23f6d2299b33bbf",
    "regions": "c0dee7549caee084",
    "time": "8d270fce0d64669b",
    "space-time": "1acc8f6ceebf6c75",
    "knndm": "7a8537216257c3cf",
}


@pytest.mark.parametrize("name", MADE)
def test_parts_are_disjoint_and_complete(catalog, name):
    split = MADE[name](catalog)
    assert sum(split.counts.values()) == len(catalog)
    assert sorted(k for part in split for k in split[part]) == sorted(catalog.key)


@pytest.mark.parametrize("name", MADE)
def test_the_order_of_rows_changes_nothing(catalog, name):
    shuffled = catalog.take(np.random.default_rng(7).permutation(len(catalog)))
    assert MADE[name](shuffled).digest == MADE[name](catalog).digest


@pytest.mark.parametrize("name", MADE)
def test_digests_are_pinned(catalog, name):
    assert MADE[name](catalog).digest[:16] == DIGESTS[name]


def test_a_seed_makes_another_split(catalog):
    made = {splits.blocks(catalog, size="30km", fractions=THIRDS, seed=seed).digest for seed in range(4)}
    assert len(made) == 4


# ---------------------------------------------------------------------- random and hash


def test_random_shares_are_as_asked():
    split = splits.random(loose(1000), fractions=THIRDS)
    assert split.counts == {"train": 600, "val": 200, "test": 200}


def test_random_without_places_does_not_warn(recwarn):
    splits.random(loose(), fractions=HALVES)
    assert not recwarn.list


def test_hash_is_stable_as_an_archive_grows():
    small, large = loose(300), loose(600)
    before, after = (splits.hash(c, fractions=THIRDS, seed=4) for c in (small, large))
    assert (after.codes(large)[:300] == before.code).all()
    assert abs(after.counts["train"] / 600 - 0.6) < 0.08


def test_hash_keeps_groups():
    catalog = loose(400)
    split = splits.hash(catalog, fractions=HALVES, group="board")
    for board in set(catalog.column("board")):
        assert len(set(split.code[catalog.column("board") == board])) == 1


# ---------------------------------------------------------------------- blocks


def test_blocks_are_squares_of_equal_area():
    size = 500_000.0
    rng = np.random.default_rng(0)
    lat = np.degrees(np.arcsin(rng.uniform(-0.98, 0.98, 200_000)))
    lon = rng.uniform(-180, 180, 200_000)
    affine = np.zeros((len(lat), 6))
    affine[:, 0], affine[:, 4], affine[:, 2], affine[:, 5] = 1e-6, -1e-6, lon, lat
    points = Catalog.from_columns(
        key=[str(k) for k in range(len(lat))], affine=affine, shape=[[1, 1]] * len(lat), crs="EPSG:4326"
    )
    block = squares(points, size)
    _, code, count = np.unique(block, return_inverse=True, return_counts=True)
    # On a sphere of 510 million square kilometres, within latitudes that hold 98 % of it.
    assert abs(len(count) / (0.98 * 510.07e6 / 250_000) - 1) < 0.03
    assert np.percentile(count, 10) > 0.8 * count.mean() and np.percentile(count, 90) < 1.2 * count.mean()
    geod = Geod(ellps="WGS84")
    some = np.flatnonzero(count[code] >= 2)[:4000]
    first = {c: k for k, c in reversed(list(enumerate(code[some])))}
    partner = some[[first[c] for c in code[some]]]
    apart = geod.inv(lon[some], lat[some], lon[partner], lat[partner])[2]
    assert size < apart.max() <= 1.02 * np.hypot(size, size)


def test_blocks_do_not_move_when_data_are_added(catalog):
    more = patches(900, seed=9)
    both = catalog.concat(replace(more, table=more.table.set_column(0, "key", [[f"q{k}" for k in range(900)]])))
    assert (squares(both, "25km")[: len(catalog)] == squares(catalog, "25km")).all()


def test_rows_of_a_block_stay_together(catalog):
    split = splits.blocks(catalog, size="30km", fractions=THIRDS)
    block = squares(catalog, "30km")
    assert all(len(set(split.code[block == b])) == 1 for b in set(block))
    for part, share in THIRDS.items():
        assert abs(split.counts[part] / len(catalog) - share) < 0.06


def test_groups_stay_together(catalog):
    split = splits.random(loose(400), fractions=HALVES, group="board")
    assert all(len(set(split.code[4 * b : 4 * b + 4])) == 1 for b in range(100))
    both = random(catalog, fractions=HALVES, group=["kind", "country"], overlap="allow")
    names = catalog.column("kind") + catalog.column("country")
    assert all(len(set(both.code[names == n])) == 1 for n in set(names))


def deviation(catalog, split, column="labels"):
    names = [set(v) if not isinstance(v, str) else {v} for v in catalog.column(column).tolist()]
    out = []
    for name in sorted(set().union(*names)):
        has = np.array([name in n for n in names])
        out += [abs(has[split.code == p].mean() / has.mean() - 1) for p in range(len(split.parts))]
    return np.mean(out)


def test_stratified_blocks_share_out_classes_alike(catalog):
    plain = np.mean(
        [deviation(catalog, splits.blocks(catalog, size="20km", fractions=THIRDS, seed=s)) for s in range(4)]
    )
    better = [
        deviation(catalog, splits.blocks(catalog, size="20km", fractions=THIRDS, seed=s, stratify="labels"))
        for s in range(4)
    ]
    assert max(better) < plain / 3


def test_stratify_takes_pixels_per_class(catalog):
    pixels = np.random.default_rng(0).integers(0, 10_000, (len(catalog), 4)) * (np.arange(4) + 1)
    split = splits.blocks(catalog, size="20km", fractions=HALVES, stratify=pixels)
    share = pixels[split.code == 0].sum(axis=0) / pixels.sum(axis=0)
    assert np.abs(share - 0.5).max() < 0.02


def test_blocks_of_pixels_for_tiles_of_a_scene():
    scene = Catalog.from_columns(key=["scene"], affine=[[1, 0, 0, 0, 1, 0]], shape=[[610, 340]], crs=None)
    tiles = scene.tile(10)
    split = splits.blocks(tiles, size="50px", fractions=HALVES, buffer="8px")
    block = (tiles.origin + tiles.shape // 2) // 50
    kept = split.code >= 0
    for b in np.unique(block, axis=0):
        assert len(set(split.code[(block == b).all(axis=1) & kept])) <= 1
    low, high = tiles.origin, tiles.origin + tiles.shape
    a, b = np.flatnonzero(split.code == 0), np.flatnonzero(split.code == 1)
    gap = np.maximum(np.maximum(low[a][:, None] - high[b][None], low[b][None] - high[a][:, None]), 0)
    assert np.hypot(gap[..., 0], gap[..., 1]).min() >= 8 and (split.code == -1).any()


# ---------------------------------------------------------------------- overlaps and dead zones


def crowded(n=300):
    """Patches so close that many overlap."""
    return patches(n, spread=60_000, seed=2)


@pytest.mark.parametrize(
    "make",
    [
        lambda c, o: random(c, overlap=o),
        lambda c, o: splits.blocks(c, size="5km", fractions=THIRDS, overlap=o),
        lambda c, o: splits.cells(c, cell="h3:6", fractions=THIRDS, overlap=o),
        lambda c, o: splits.checkerboard(c, size="5km", overlap=o),
        lambda c, o: splits.kfold(c, 3, splits.blocks, size="5km", overlap=o),
        lambda c, o: splits.leave_one_region_out(c, regions="country", overlap=o),
    ],
    ids=["random", "blocks", "cells", "checkerboard", "kfold", "regions"],
)
@pytest.mark.parametrize("how", ["together", "drop"])
def test_rows_that_overlap_are_never_parted(make, how):
    catalog = crowded()
    i, j, _ = overlaps(catalog)
    assert len(i) > 20
    split = make(catalog, how)
    a, b = split.code[i], split.code[j]
    assert ((a == b) | (a < 0) | (b < 0)).all()
    assert (split.code == -1).any() == (how == "drop")
    leaky = make(catalog, "allow").code
    assert (leaky[i] != leaky[j]).any(), "the test must be able to fail"


def test_a_chain_too_long_to_share_out_is_named():
    n = 40
    affine = np.tile([10.0, 0, 500_000, 0, -10, 5_600_000], (n, 1))
    affine[:, 2] += 600 * np.arange(n)
    catalog = Catalog.from_columns(
        key=[f"k{k:02d}" for k in range(n)], affine=affine, shape=[[120, 120]] * n, crs="EPSG:32633"
    )
    with pytest.raises(
        SplitError, match=r"40 of 40 rows overlap each other in a chain, from 'k00' to 'k39'.*tile\(\).*'drop'"
    ):
        splits.blocks(catalog, size="2km", fractions=HALVES)
    split = splits.blocks(catalog, size="2km", fractions=HALVES, overlap="drop")
    assert split.counts["dropped"] > 0


@pytest.mark.parametrize(("size", "buffer"), [("30km", "5km"), ("15km", "1500 m"), ("40km", 8000)])
def test_dead_zones_are_as_wide_as_asked(catalog, size, buffer):
    split = splits.blocks(catalog, size=size, fractions=THIRDS, buffer=buffer)
    wanted = {"5km": 5000, "1500 m": 1500}.get(buffer, buffer)
    geod, corners = Geod(ellps="WGS84"), outlines(catalog)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        gap = brute_gap(geod, corners[split.code == a], corners[split.code == b])
        assert gap >= wanted * 0.999
    assert split.counts["dropped"] < 0.6 * len(catalog)
    kept = splits.blocks(catalog, size=size, fractions=THIRDS)
    assert split.code[split.code >= 0].tolist() == kept.code[split.code >= 0].tolist()


def outlines(catalog):
    from geodata.catalog.footprint import project, rings
    from geodata.crs import as_crs

    ring = rings(catalog.footprints, 4)
    out = np.empty_like(ring)
    for code, crs in enumerate(catalog.footprints.crs):
        rows = catalog.footprints.code == code
        out[rows] = project(ring[rows], crs, as_crs("OGC:CRS84"))
    return out


def brute_gap(geod, a, b):
    """Least distance of points on the outlines, which is at most a little above that of the outlines."""
    a, b = a.reshape(-1, 2), b.reshape(-1, 2)
    centre = np.cos(np.radians(48.9))
    rough = np.hypot((a[:, None, 0] - b[None, :, 0]) * centre, a[:, None, 1] - b[None, :, 1])
    i, j = np.unravel_index(np.argsort(rough, axis=None)[:50], rough.shape)
    return geod.inv(a[i, 0], a[i, 1], b[j, 0], b[j, 1])[2].min()


def test_folds_hold_out_with_a_dead_zone(catalog):
    split = splits.kfold(catalog, 4, splits.blocks, size="30km", buffer="4km")
    geod, corners = Geod(ellps="WGS84"), outlines(catalog)
    for k in range(4):
        fold = split.fold(k)
        assert fold.parts == ("train", "test") and set(fold["test"]) == set(split[f"fold{k}"])
        assert fold.counts["dropped"] > 0
        assert brute_gap(geod, corners[fold.code == 0], corners[fold.code == 1]) >= 3996
    both = split.fold(0, val=1)
    assert both.parts == ("train", "val", "test") and set(both["test"]) == set(split["fold0"])
    assert set(both["val"]) <= set(split["fold1"]) and len(both["val"]) < len(split["fold1"])
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert brute_gap(geod, corners[both.code == a], corners[both.code == b]) >= 3996
    with pytest.raises(SplitError, match="is the part that is held out"):
        split.fold(0, val="fold0")


# ---------------------------------------------------------------------- cells, board, regions, ring


def test_cells_of_a_function_of_ones_own(catalog):
    split = splits.cells(catalog, cell=lambda p: np.floor(p[:, 0] * 4), fractions=HALVES, overlap="allow")
    column = np.floor(lonlat(catalog)[:, 0] * 4)
    assert all(len(set(split.code[column == c])) == 1 for c in set(column))
    with pytest.raises(SplitError, match=r"shape \(2,\), wanted one name for each of 400"):
        splits.cells(catalog, cell=lambda p: [1, 2], fractions=HALVES)


def test_h3_cells_are_those_of_h3(catalog):
    import h3

    split = splits.cells(catalog, cell="h3:5", fractions=HALVES, overlap="allow")
    cell = np.array([h3.latlng_to_cell(lat, lon, 5) for lon, lat in lonlat(catalog)])
    assert all(len(set(split.code[cell == c])) == 1 for c in set(cell)) and len(set(split.block)) == len(set(cell))


def test_a_checkerboard_takes_turns(catalog):
    split = splits.checkerboard(catalog, size="20km", crs="EPSG:3035", overlap="allow", parts=("a", "b"))
    from pyproj import Transformer

    x, y = Transformer.from_crs(4326, 3035, always_xy=True).transform(*lonlat(catalog).T)
    assert (split.code == (np.floor(x / 20_000) + np.floor(y / 20_000)) % 2).all()
    with pytest.raises(SplitError, match="projected one in metres"):
        splits.checkerboard(catalog, size="20km", crs="EPSG:4326")


def test_regions_by_outline(catalog):
    west, east = shapely.box(0, 40, 12, 60), shapely.box(12, 40, 30, 60)
    split = splits.leave_one_region_out(catalog, regions={"west": west, "east": east}, crs="EPSG:4326", overlap="allow")
    assert set(split["west"]) == set(catalog.key[lonlat(catalog)[:, 0] < 12])
    fold = split.fold("east")
    assert set(fold["test"]) == set(split["east"]) and set(fold["train"]) == set(split["west"])
    with pytest.raises(SplitError, match="say in which CRS"):
        splits.leave_one_region_out(catalog, regions={"west": west, "east": east})
    with pytest.raises(SplitError, match=r"of 400 rows lie in no region"):
        splits.leave_one_region_out(catalog, regions={"west": west}, crs="EPSG:4326")
    with pytest.raises(SplitError, match="regions must not overlap"):
        splits.leave_one_region_out(catalog, regions={"a": west, "b": west, "c": east}, crs="EPSG:4326")


def test_ring_nests_parts():
    scene = Catalog.from_columns(
        key=["s", "t"], affine=[[10, 0, 5e5, 0, -10, 5e6]] * 2, shape=[[100, 100]] * 2, crs="EPSG:32633"
    )
    tiles = scene.tile(10)
    split = splits.ring(tiles, rings={"test": (4, 5), "val": (2, 7)})
    place = tiles.origin // 10
    assert (split.code == 2).sum() == 2 * 4 and ((place >= 4) & (place <= 5)).all(axis=1)[split.code == 2].all()
    assert (split.code == 1).sum() == 2 * 32 and split.counts["train"] == 2 * 64
    named = splits.ring(tiles, rings={"test": (4, 5), "val": (2, 7)}, position=place[:, ::-1])
    assert named.digest == split.digest
    with pytest.raises(SplitError, match="must lie within each other"):
        splits.ring(tiles, rings={"test": (4, 9), "val": (2, 7)})
    with pytest.raises(SplitError, match="400 of 400 keys do not end in column and row"):
        splits.ring(replace(patches(), table=patches().table))


def test_ring_is_the_published_split_of_reben(realdata):
    from geodata.datasets import reben_table

    catalog = reben_table.catalog(realdata / "reben", excluded=True)
    split = splits.ring(catalog)
    assert len(catalog) == 549_488
    names = np.array(split.parts, dtype=object)[split.code]
    assert (names == catalog.column("split")).all()
    assert split.digest == "d2041d31ab83d0f34d217f48296d77493e092985dad0a5aab3f3c7d98f71207d"
    assert splits.predefined(catalog, "split").digest == split.digest


# ---------------------------------------------------------------------- time


def test_time_goes_forward(catalog):
    split = splits.time(catalog, fractions={"train": 0.5, "val": 0.25, "test": 0.25})
    ends = [catalog.time[split.code == k] for k in range(3)]
    assert ends[0].max() < ends[1].min() <= ends[1].max() < ends[2].min()


def test_time_with_a_gap(catalog):
    split = splits.time(
        catalog, intervals={"train": ("2019-04-14", "2019-06-20"), "test": ("2019-06-21", "2020")}, gap="40d"
    )
    days = catalog.time[:, 0] / 86400
    train, test = days[split.code == 0], days[split.code == 1]
    assert test.min() - train.max() >= 40 and set(days[split.code == -1]) == {18060}
    free = splits.time(catalog, intervals={"train": ("2019-04-14", "2019-06-20"), "test": ("2019-06-21", "2020")})
    assert "dropped" not in free.counts


def test_time_refuses(catalog):
    with pytest.raises(SplitError, match="60 of 60 rows have no time, first 'photo000'"):
        splits.time(loose(), fractions=HALVES)
    with pytest.raises(SplitError, match="4 different times for 5 parts"):
        splits.time(catalog, fractions=dict.fromkeys("abcde", 0.2))
    with pytest.raises(SplitError, match="'a' and 'b' overlap"):
        splits.time(catalog, intervals={"a": "2019", "b": ("2019-06", "2020")})
    with pytest.raises(SplitError, match="give fractions"):
        splits.time(catalog)
    with pytest.raises(SplitError, match="gap 'x'"):
        splits.time(catalog, fractions=HALVES, gap="x")


def test_space_time_parts_both(catalog):
    split = splits.space_time(catalog, size="30km", fractions=HALVES)
    block = squares(catalog, "30km")
    train, test = split.code == 0, split.code == 1
    assert not set(block[train]) & set(block[test])
    assert catalog.time[train].max() < catalog.time[test].min()
    assert split.counts["dropped"] > 0


# ---------------------------------------------------------------------- distance matching


def test_knndm_makes_folds_as_far_as_the_domain():
    clustered = patches(300, spread=20_000, seed=3)
    wide = patches(300, spread=300_000, seed=4)
    matched = splits.knndm(clustered, domain=wide, folds=4, overlap="allow")
    by_chance = splits.knndm(clustered, domain=clustered, folds=4, overlap="allow")
    assert by_chance.recipe["clusters"] == 0 and matched.recipe["clusters"] > 0
    places = lonlat(clustered)

    def median(split):
        d = np.hypot((places[:, None] - places[None])[..., 0] * 0.66, (places[:, None] - places[None])[..., 1])
        d[split.code[:, None] == split.code[None]] = np.inf
        return np.median(d.min(axis=1))

    assert median(matched) > 2 * median(by_chance)
    assert max(matched.counts.values()) <= 150


def test_knndm_takes_points_and_refuses_nonsense(catalog):
    points = np.column_stack([np.linspace(8, 16, 50), np.linspace(46, 50, 50)])
    assert splits.knndm(catalog, domain=points, folds=3, overlap="allow").recipe["domain"] == 50
    with pytest.raises(SplitError, match=r"shape \(3,\), wanted a Catalog"):
        splits.knndm(catalog, domain=[1, 2, 3])
    with pytest.raises(SplitError, match="makes no sense here"):
        splits.knndm(catalog, domain=points, overlap="drop")
    with pytest.raises(SplitError, match="folds=1"):
        splits.knndm(catalog, domain=points, folds=1)


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ({"train": 0.7, "test": 0.2}, "sum to 0.9, wanted 1"),
        ({"train": 1.5, "test": -0.5}, "must all be above 0"),
        ({"train": 1.0}, "at least two parts"),
    ],
)
def test_fractions_that_are_none(catalog, fractions, message):
    with pytest.raises(SplitError, match=message):
        splits.blocks(catalog, size="30km", fractions=fractions)


def test_more_folds_than_blocks(catalog):
    with pytest.raises(SplitError, match=r"\d blocks for 30 parts or folds; take smaller blocks, or fewer parts"):
        splits.kfold(catalog, 30, splits.blocks, size="2000km", overlap="allow")


def test_a_class_that_cannot_be_everywhere(catalog):
    rare = ["lava" if k == 5 else "moss" if k < 2 else "grass" for k in range(len(catalog))]
    marked = replace(catalog, table=catalog.table.append_column("cover", [rare]))
    with pytest.raises(
        SplitError,
        match=r"cannot be in every part: of 3 blocks that are needed there are for class 'lava' in 1, 'moss' in 2",
    ):
        splits.blocks(marked, size="20km", fractions=THIRDS, stratify="cover")


def test_a_buffer_that_empties_a_part(catalog):
    with pytest.raises(
        SplitError,
        match=r"no row is left in 'train', 'test': train 0, .*dropped \d+; take smaller blocks, a smaller buffer",
    ):
        splits.blocks(catalog, size="30km", fractions=THIRDS, buffer="300km")


def test_rows_without_places():
    catalog = loose()
    for make in (
        lambda: splits.blocks(catalog, size="20km", fractions=HALVES),
        lambda: splits.cells(catalog, cell="h3:4", fractions=HALVES),
        lambda: splits.checkerboard(catalog, size="20km"),
        lambda: splits.space_time(catalog, size="20km", fractions=HALVES),
        lambda: splits.knndm(catalog, domain=patches(), folds=3),
        lambda: splits.leave_one_region_out(catalog, regions={"a": shapely.box(0, 0, 1, 1)}, crs="EPSG:4326"),
    ):
        with pytest.raises(
            SplitError, match="needs rows with a place on earth, and these have no CRS; use random, hash"
        ):
            make()
    assert splits.leave_one_region_out(catalog, regions="kind").parts == tuple(sorted(set(catalog.column("kind"))))
    with pytest.raises(SplitError, match="buffer '5km' must be in pixels"):
        splits.random(catalog, fractions=HALVES, buffer="5km")


def test_columns_that_are_not_there(catalog):
    with pytest.raises(CatalogError, match="no column 'label'; there are"):
        splits.blocks(catalog, size="20km", fractions=HALVES, stratify="label")
    with pytest.raises(SplitError, match="group='sene': no column"):
        splits.blocks(catalog, size="20km", fractions=HALVES, group="sene")
    gaps = replace(catalog, table=catalog.table.append_column("g", [[None] + ["a"] * (len(catalog) - 1)]))
    with pytest.raises(SplitError, match="group is missing in 1 of 400 rows, first 'p00000'"):
        splits.blocks(gaps, size="20km", fractions=HALVES, group="g")


def test_other_nonsense(catalog):
    with pytest.raises(SplitError, match="overlap='no' must be"):
        splits.blocks(catalog, size="20km", fractions=HALVES, overlap="no")
    with pytest.raises(SplitError, match="is in pixels, and these rows lie on earth"):
        splits.blocks(catalog, size="20px", fractions=HALVES)
    with pytest.raises(SplitError, match="'20 miles' is no length"):
        splits.blocks(catalog, size="20 miles", fractions=HALVES)
    with pytest.raises(SplitError, match="cell='h3:16' must be"):
        splits.cells(catalog, cell="h3:16", fractions=HALVES)
    with pytest.raises(SplitError, match="the catalog is empty"):
        splits.blocks(catalog.take([]), size="20km", fractions=HALVES)
    with pytest.raises(SplitError, match="leave fractions= out"):
        splits.kfold(catalog, 3, splits.blocks, size="20km", fractions=HALVES)
    with pytest.raises(SplitError, match="seed -1"):
        splits.blocks(catalog, size="20km", fractions=HALVES, seed=-1)


# ---------------------------------------------------------------------- what newcomers do


def test_a_dataset_in_place_of_its_catalog_is_named(tmp_path, catalog):
    from makers import write_tif

    from geodata.datasets import RasterDataset

    ds = RasterDataset(write_tif(tmp_path / "a.tif"))
    for make in (
        lambda: splits.blocks(ds, size="1km", fractions=HALVES),
        lambda: splits.time(ds, fractions=HALVES),
        lambda: splits.kfold(ds, 2, splits.blocks, size="1km"),
        lambda: splits.predefined(ds, "country"),
    ):
        with pytest.raises(SplitError, match=r"got RasterDataset: give dataset\.catalog"):
            make()


def test_a_dead_zone_that_eats_a_part_is_said(catalog):
    with pytest.warns(SplitWarning, match=r"the dead zone of 15km drops \d+.\d% of the rows, and val has"):
        splits.blocks(catalog, size="30km", fractions=THIRDS, buffer="15km")


def test_a_buffer_in_degrees_is_noticed(catalog):
    with pytest.raises(SplitError, match=r"buffer 0.01 is 0.01 m, less than a pixel of 10 m; is it in metres\?"):
        splits.blocks(catalog, size="30km", fractions=THIRDS, buffer=0.01)


def test_folds_are_held_out_of_folds_only(catalog):
    split = splits.blocks(catalog, size="30km", fractions=THIRDS)
    with pytest.raises(SplitError, match="has a part for training already: train, val, test"):
        split.fold("val")


def test_counted_pixels_are_shared_out_and_audited(tmp_path):
    from makers import north_up, write_tif

    import geodata as gd
    from geodata.datasets import RasterDataset

    rng = np.random.default_rng(0)
    write_tif(tmp_path / "a.tif", rng.integers(0, 3, (256, 256)).astype(np.uint8), north_up())
    tiles = RasterDataset(tmp_path, categorical=True, classes=["a", "b", "c"]).tile(16)
    counts = gd.count_pixels(tiles, cell=16)
    split = splits.blocks(tiles.catalog, size="320m", fractions=HALVES, stratify=counts)
    same = splits.blocks(tiles.catalog, size="320m", fractions=HALVES, stratify=counts.per_row)
    assert split.digest == same.digest
    report = splits.audit(tiles.catalog, split, labels=counts, similarity=False)
    assert set(report.parts["train"].prevalence) == {"a", "b", "c"}
