"""Audits of splits, against counts made by hand, by brute force, and published ones."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import pyarrow as pa
import pytest
import shapely

from geodata.catalog import Catalog
from geodata.errors import CatalogError, SplitError
from geodata.splits.audit import audit
from geodata.splits.labels import labels_of
from geodata.splits.nearest import Outlines
from geodata.splits.report import Audit
from geodata.splits.similarity import decay, likeness
from geodata.splits.split import Split

UTM = "EPSG:32633"


@dataclass
class Parts:
    """What an audit needs of a split."""

    code: np.ndarray
    parts: tuple[str, ...] = ("train", "val", "test")
    recipe: dict = field(default_factory=lambda: {"method": "by hand", "seed": np.int64(3)})
    digest: str = "d" * 64

    def codes(self, catalog):
        assert len(catalog) == len(self.code)
        return np.asarray(self.code, dtype=np.int16)


def patches(places, *, size=100, time=None, crs=UTM, **columns):
    """Upright squares of 10 m pixels whose upper left corners lie at x, y metres from a point."""
    return Catalog.from_columns(
        key=[f"k{i}" for i in range(len(places))],
        affine=[(10, 0, 500_000 + x, 0, -10, 5_600_000 + y) for x, y in places],
        shape=[(size, size)] * len(places),
        crs=crs,
        time=time,
        columns=columns,
    )


def table(n, **columns):
    """Rows without a place."""
    return Catalog.from_columns(
        key=[f"k{i}" for i in range(n)], affine=[(1, 0, 0, 0, 1, 0)] * n, shape=[(8, 8)] * n, crs=None, columns=columns
    )


def pair(found, other, part="train"):
    (one,) = [p for p in found.pairs if (p.part, p.other) == (part, other)]
    return one


def test_overlaps_repeats_and_duplicates_are_counted_between_parts_only():
    day = 86_400.0
    places = [(0, 0), (0, 0), (0, 0), (500, 0), (990, 990), (5_000, 0), (5_000, 0)]
    times = [(0, 0), (0, 0), (day, day), (0, 0), (0, 0), (0, 0), (0, 0)]
    found = audit(patches(places, time=times), Parts([0, 1, 2, 2, 2, 1, 1]))
    test, val = pair(found, "test"), pair(found, "val")
    # The fifth shares a hundredth of a hundredth with the first; the last two lie upon each other within a part.
    assert (test.overlaps, test.repeats, test.duplicates) == (2, 1, 0)
    assert (val.overlaps, val.repeats, val.duplicates) == (1, 1, 1)
    assert (test.touching, val.touching) == (3, 1)
    between = pair(found, "test", "val")
    assert (between.overlaps, between.repeats, between.duplicates) == (2, 1, 0)
    assert between.gap is None
    assert not found.passed
    assert (val.overlapping, test.overlapping, between.overlapping) == (1, 2, 2)
    assert found.reasons == (
        "1 of 3 rows of val (33.3%) overlap train",
        "2 of 3 rows of test (66.7%) overlap train",
        "1 duplicate in train and val",
    )
    assert found.verdict.startswith("leaks: 1 of 3 rows of val")
    assert found.hints == ("2 of 3 rows of test (66.7%) overlap val",)


def test_only_the_same_pixels_are_the_same_footprint():
    crs = ["EPSG:32633"] * 6
    affine = [(10, 0, 500_000, 0, -10, 5_600_000)] * 6
    affine[2], affine[3] = (10, 0, 500_005, 0, -10, 5_600_000), (10, 0.01, 500_000, 0, -10, 5_600_000)
    affine[4] = (20, 0, 500_000, 0, -20, 5_600_000)
    shape = [(100, 100), (101, 100), (100, 100), (100, 100), (50, 50), (100, 100)]
    times = [(0, 0)] * 6
    catalog = Catalog.from_columns(key=list("abcdef"), affine=affine, shape=shape, crs=crs, time=times)
    test = pair(audit(catalog, Parts([0, 1, 1, 1, 1, 1], ("train", "test"))), "test")
    assert (test.overlaps, test.repeats, test.duplicates) == (5, 1, 1)


def test_counts_and_distances_of_random_patches_agree_with_brute_force():
    rng = np.random.default_rng(11)
    places = 100 * rng.integers(0, 120, (150, 2))
    code = rng.choice([0, 0, 1, 2, -1], 150)
    found = audit(patches(places.tolist()), Parts(code))
    boxes = shapely.box(places[:, 0], places[:, 1] - 1000, places[:, 0] + 1000, places[:, 1])
    middles = places + np.array([500, -500])
    for one in found.pairs:
        a, b = (np.flatnonzero(code == ("train", "val", "test").index(name)) for name in (one.part, one.other))
        area = shapely.area(shapely.intersection(boxes[a, None], boxes[None, b]))
        assert one.overlaps == (area > 0.01 * 1e6).sum()
        apart = shapely.distance(boxes[a, None], boxes[None, b]).min(axis=0)
        assert one.touching == (apart == 0).sum()
        if one.part == "train":
            centres = np.linalg.norm(middles[a, None] - middles[None, b], axis=2).min(axis=0)
            for got, wanted in ((one.gap, apart), (one.centre, centres)):
                low = np.quantile(wanted, list(got.quantile), method="lower")
                np.testing.assert_allclose(list(got.quantile.values()), low, rtol=1e-3, atol=0.01)
                assert len(got.ecdf[0]) <= 200 and got.ecdf[1][-1] == 1.0
                for distance, share in zip(*got.ecdf, strict=True):
                    assert (wanted < distance * 0.999).mean() <= share <= (wanted <= distance * 1.001 + 0.01).mean()


def test_what_no_threshold_forbids_is_a_hint():
    catalog = patches([(0, 0), (1_000, 0), (9_000, 0)], tile=["a", "a", "b"], scene=["s", None, "t"])
    split = Parts([0, 1, 2])
    found = audit(catalog, split)
    assert found.passed
    assert found.verdict == (
        "holds: no footprint of val or test overlaps train; least distance to train: val 0 m, test 8.00 km; "
        "but 1 of 1 row of val (100.0%) touch train; shared with train: tile (100.0% of val); name in ids what must not "
        "be shared"
    )
    assert pair(found, "val").shared["scene"].values == 0
    named = audit(catalog, split, ids=["tile"])
    assert named.reasons == ("100.0% of val have a tile that is also in train",)
    assert list(pair(named, "val").shared) == ["tile"]
    assert audit(catalog, split, ids=["scene"]).passed
    assert audit(catalog, split, ids=["tile"], test="test").passed


def test_shared_values_are_counted_by_value_and_by_row():
    catalog = table(8, scene=["a", "a", "b", "c", "a", "a", "d", None], location=[1, 2, 3, 4, 5, 6, 7, 1])
    found = audit(catalog, Parts([0, 0, 0, 0, 1, 1, 1, 1], ("train", "test")), ids=("scene", "location"))
    shared = pair(found, "test").shared
    assert (shared["scene"].values, shared["scene"].share) == (1, 0.5)
    assert (shared["location"].values, shared["location"].share) == (1, 0.25)
    assert not found.passed and "location" in found.verdict


def test_a_least_distance_from_edge_to_edge():
    catalog = patches([(0, 0), (6_000, 0), (0, -9_000)])
    split = Parts([0, 1, 2])
    near = pair(audit(catalog, split), "val").gap.quantile[0.0]
    assert near == pytest.approx(5_000, rel=1e-3)
    assert audit(catalog, split, min_distance=near).passed
    found = audit(catalog, split, min_distance="5.1km")
    assert found.reasons == ("val comes within 5.00 km of train, wanted at least 5.10 km",)
    assert audit(catalog, split, min_distance="5.1km", test="test").passed


def test_classes_by_hand():
    lists = [["x", "y"], ["x"], ["x", "x"], [], ["y", "z"], ["x"], None, ["y"]]
    catalog = table(8, labels=pa.array(lists))
    found = audit(catalog, Parts([0, 0, 0, 0, 1, 1, 1, -1], ("train", "test")), labels="labels")
    train, test = found.parts["train"], found.parts["test"]
    assert train.prevalence == {"x": 3 / 4, "y": 1 / 4, "z": 0}
    assert test.prevalence == pytest.approx({"x": 1 / 3, "y": 1 / 3, "z": 1 / 3})
    whole = {"x": 4 / 7, "y": 2 / 7, "z": 1 / 7}  # the dropped row counts nowhere
    for part in (train, test):
        away = [abs(part.prevalence[c] / whole[c] - 1) for c in whole]
        assert (part.deviation, part.worst) == pytest.approx((np.mean(away), max(away)))
    assert train.empty == ("z",) and test.empty == ()
    assert found.reasons == ("train has no z",)


def test_amounts_are_shares_of_their_sum():
    amounts = np.array([[3, 1, 0], [1, 3, 0], [2, 2, 0], [4, 0, 0]])
    found = audit(table(4), Parts([0, 0, 1, 1], ("train", "test")), labels=amounts, max_deviation=0.3)
    assert found.parts["train"].prevalence == {"0": 0.5, "1": 0.5}  # the third class is nowhere, so it lacks nowhere
    assert found.parts["test"].prevalence == {"0": 0.75, "1": 0.25}
    assert found.parts["test"].deviation == pytest.approx((0.75 / 0.625 - 1 + 1 - 0.25 / 0.375) / 2)
    assert found.passed
    assert not audit(table(4), Parts([0, 0, 1, 1], ("train", "test")), labels=amounts, max_deviation=0.2).passed


@pytest.mark.parametrize(
    "column",
    [
        ["b", "a", None, "b"],
        pa.array([7, 3, None, 7]),
        pa.array([True, False, None, True]),
        pa.chunked_array([pa.array(["b", "a"]).dictionary_encode(), pa.array([None, "b"]).dictionary_encode()]),
        pa.chunked_array([pa.array([["b"], ["a", "a"]]), pa.array([[], ["b"]])]),
    ],
)
def test_labels_in_every_form(column):
    labels = labels_of(table(4, classes=column), "classes")
    assert len(labels.names) == 2 and list(labels.names) == sorted(labels.names)
    assert labels.dense(np.array([3, 0, 1, 2, 1])).tolist() == [[0, 1], [0, 1], [1, 0], [0, 0], [1, 0]]
    assert labels.totals(np.array([0, 1, 1, -1]), 2).tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("cloud", "holds double, not labels"),
        (np.zeros((3, 2)), "give the name of a column, or numbers of shape"),
        (np.full((4, 2), -1.0), "below 0 or not finite"),
        (np.full((4, 2), math.nan), "below 0 or not finite"),
        (np.zeros(4), "give the name of a column"),
    ],
)
def test_labels_of_the_wrong_kind(labels, message):
    with pytest.raises(SplitError, match=message):
        audit(table(4, cloud=[0.1, 0.2, 0.3, 0.4]), Parts([0, 0, 1, 1], ("train", "test")), labels=labels)


def test_too_many_classes_are_no_labels():
    n = 5_000
    with pytest.raises(SplitError, match="5000 distinct values"):
        labels_of(table(n, name=[f"n{i}" for i in range(n)]), "name")


def test_times_against_all_pairs():
    rng = np.random.default_rng(2)
    for _ in range(30):
        start = 3_600.0 * rng.integers(0, 4_000, 12)
        times = np.stack([start, start + 3_600.0 * rng.integers(0, 20, 12) * rng.integers(0, 2, 12)], axis=1)
        times[rng.random(12) < 0.2] = (-math.inf, math.inf)
        catalog = patches([(2_000 * i, 0) for i in range(12)], time=times)
        code = np.array([0] * 6 + [1] * 6)
        one = pair(audit(catalog, Parts(code, ("train", "test"))), "test")
        a, b = (times[code == k][np.isfinite(times[code == k, 0])] for k in (0, 1))
        gaps = [max(0.0, q[0] - p[1], p[0] - q[1]) / 86_400 for p, q in product(a, b)]
        inside = [a[:, 0].min() <= q[0] and q[1] <= a[:, 1].max() for q in b]
        assert one.days == pytest.approx(min(gaps)) and one.inside == pytest.approx(np.mean(inside))


def test_times_are_told_in_utc_and_may_be_unknown():
    catalog = patches([(0, 0), (3_000, 0)], time=[(1_497_349_831, 1_497_349_831), (-math.inf, math.inf)])
    found = audit(catalog, Parts([0, 1], ("train", "test")))
    assert found.parts["train"].time == ("2017-06-13T10:30:31Z", "2017-06-13T10:30:31Z")
    assert found.parts["test"].time is None
    assert pair(found, "test").days is None and pair(found, "test").inside is None


def test_rows_without_a_place_have_ids_and_classes_only():
    catalog = table(4, scene=["a", "b", "c", "d"], label=["x", "y", "x", "y"])
    found = audit(catalog, Parts([0, 0, 1, 1], ("train", "test")), labels="label")
    one = pair(found, "test")
    assert one.overlaps is None and one.gap is None and one.centre is None and found.decay is None
    assert found.passed and "no place on earth" in found.verdict
    with pytest.raises(SplitError, match="min_distance '1km' must be in pixels"):
        audit(catalog, Parts([0, 0, 1, 1], ("train", "test")), min_distance="1km")


def test_tiles_without_a_crs_are_apart_by_pixels():
    whole = Catalog.from_columns(key=["a", "b"], affine=[(1, 0, 0, 0, 1, 0)] * 2, shape=[(40, 100)] * 2, crs=None)
    tiles = whole.tile(40, 20)
    left = tiles.origin[:, 1]
    of_a = np.array([k.startswith("a#") for k in tiles.key])
    code = np.where(of_a & (left == 0) & (tiles.origin[:, 0] == 0), 0, -1)
    code[of_a & (left == 20) & (tiles.origin[:, 0] == 0)] = 1
    code[of_a & (left == 60) & (tiles.origin[:, 0] == 0)] = 2
    code[~of_a] = 2
    found = audit(tiles, Parts(code))
    assert found.unit == "px"
    assert (pair(found, "val").overlaps, pair(found, "test").overlaps) == (1, 0)
    assert pair(found, "test").gap.quantile[0.0] == 20.0
    assert pair(found, "test").gap.alone == (~of_a).sum()
    assert "20 px" in str(found)
    json.dumps(found.to_dict(), allow_nan=False)


def test_likeness_of_sets_and_of_amounts():
    lists = [["x", "y"], ["x"], ["y", "x"], ["z"]]
    sets = labels_of(table(4, labels=pa.array(lists)), "labels")
    i, j = np.array([0, 0, 0]), np.array([1, 2, 3])
    np.testing.assert_allclose(likeness(sets, i, j), [0.5, 1.0, 0.0])
    amounts = labels_of(table(4), np.array([[3, 4], [6, 8], [4, 3], [0, 1]]))
    np.testing.assert_allclose(likeness(amounts, i, j), [1.0, 24 / 25, 4 / 5], rtol=1e-6)


def grid_of(n, step):
    x, y = np.meshgrid(np.arange(n) * step, np.arange(n) * step)
    return np.stack([x.ravel(), y.ravel()], axis=1)


def test_likeness_falls_to_chance_where_the_labels_do():
    places = grid_of(40, 1_300)
    rng = np.random.default_rng(0)
    field_ = rng.integers(0, 4, (5, 5))[places[:, 0] // 12_000, places[:, 1] // 12_000]
    catalog = patches(places.tolist(), label=[f"c{k}" for k in field_])
    labels, centre = labels_of(catalog, "label"), Outlines.of(catalog).centre
    found = decay(labels, centre, np.arange(len(places)), 0)
    # All pairs, by the distance of their centres: metres of the plane are those of the ground to one in a thousand.
    far = np.linalg.norm(places[:, None] - places[None], axis=2)
    same = field_[:, None] == field_[None]
    for low, high, value in zip(found.edge[:-1], found.edge[1:], found.value, strict=True):
        mine = (far > low) & (far <= high)
        if mine.any():
            assert value == pytest.approx(same[mine].mean(), abs=0.05)
        else:
            assert value is None
    assert found.random == pytest.approx(same[~np.eye(len(same), dtype=bool)].mean(), abs=0.01)
    assert found == decay(labels, centre, np.arange(len(places)), 0)
    assert found != decay(labels, centre, np.arange(len(places)), 1)


def test_labels_drawn_at_random_have_no_range():
    places = grid_of(50, 1_000)
    labels = np.random.default_rng(1).integers(0, 3, len(places)).astype(str)
    catalog = patches(places.tolist(), label=labels.tolist())
    found = audit(catalog, Parts(np.arange(len(places)) % 3), labels="label", seed=4)
    assert max(abs(v - found.decay.random) for v in found.decay.value if v is not None) < 0.03
    assert audit(catalog, Parts(np.arange(len(places)) % 3), labels="label", similarity=False).decay is None


def test_an_audit_as_text_and_json(tmp_path):
    places = grid_of(12, 1_000)
    catalog = patches(places.tolist(), label=[f"c{k % 3}" for k in range(144)], scene=["s"] * 144)
    found = audit(catalog, Parts(places[:, 0] // 4_000), labels="label", min_distance="2km", ids=["scene"])
    path = found.save(tmp_path / "audit.json")
    assert [p.name for p in tmp_path.iterdir()] == ["audit.json"]
    read = json.loads(path.read_text())
    assert read == found.to_dict()
    assert read["passed"] is False and read["verdict"] == found.verdict
    assert read["pairs"][0]["gap"]["quantile"]["0.0"] == 0.0 and read["split"]["recipe"]["seed"] == 3
    text = str(found)
    for wanted in ("vs train", "edge to edge, nearest", "leaks: ", "classes off", "alike (jaccard)"):
        assert wanted in text
    assert max(map(len, text.splitlines())) <= 120 and "\x1b" not in text


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    found = audit(patches([(0, 0), (2_000, 0)]), Parts([0, 1], ("train", "test")))
    for path in (tmp_path / "audit.txt", tmp_path / "none" / "audit.json"):
        with pytest.raises(SplitError, match="cannot write an audit"):
            found.save(path)
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        found.save(tmp_path / "audit.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"train": "fold0"}, SplitError, "no part 'fold0'; there are train, val, test$"),
        ({"test": "tset"}, SplitError, "no part 'tset'"),
        ({"test": "train"}, SplitError, "must be two or more parts that differ"),
        ({"test": []}, SplitError, "must be two or more parts that differ"),
        ({"labels": "lables"}, CatalogError, "no column 'lables'"),
        ({"ids": ["lables"]}, CatalogError, "no column 'lables'"),
        ({"ids": "tile"}, SplitError, "must be a list"),
        ({"ids": ["labels"]}, SplitError, "ids must be single values"),
        ({"min_distance": "near"}, SplitError, "is no length"),
    ],
)
def test_what_cannot_be_audited(options, error, message):
    catalog = patches([(0, 0), (2_000, 0), (4_000, 0)], labels=pa.array([["a"], ["b"], ["c"]]))
    with pytest.raises(error, match=message):
        audit(catalog, Parts([0, 1, 2]), **options)


# ---------------------------------------------------------------------- duplicates


def duplicates(catalog, **options):
    return pair(audit(catalog, Parts([0, 1], ("train", "test")), **options), "test").duplicates


@pytest.mark.parametrize(
    ("times", "columns", "wanted"),
    [
        ([(5, 5), (5, 5)], {"scene": ["a", "b"]}, 1),
        ([(5, 5), (6, 6)], {"scene": ["a", "a"]}, 0),
        ([(5, 5), (-math.inf, math.inf)], {"scene": ["a", "a"]}, 0),
        (None, {"scene": ["a", "b"]}, 0),
        (None, {"scene": ["a", "a"], "date": [1, 2]}, 0),
        (None, {"scene": ["a", "a"]}, 1),
        (None, {"scene": ["a", "a"], "date": [None, None]}, 1),
        (None, {"scene": [None, "a"]}, 0),
        (None, {"scene": pa.nulls(2)}, 0),
        (None, {"weather": ["sun", "sun"]}, 0),
    ],
)
def test_duplicates_are_only_what_is_known_to_be_the_same(times, columns, wanted):
    catalog = patches([(0, 0), (0, 0)], time=times, **columns)
    assert duplicates(catalog) == wanted
    assert pair(audit(catalog, Parts([0, 1], ("train", "test"))), "test").repeats == 1


def test_ids_that_are_named_tell_rows_of_one_place_apart():
    catalog = patches([(0, 0), (0, 0)], scene=["a", "a"], camera=[1, 2])
    assert duplicates(catalog) == 1 and duplicates(catalog, ids=["camera"]) == 0


def test_a_series_is_counted_without_a_list_of_its_pairs(monkeypatch):
    rng = np.random.default_rng(5)
    places, dates = 6, 40
    where = rng.integers(0, places, 240)
    code = rng.choice([0, 0, 1, 2, -1], 240)
    when = rng.integers(0, dates, 240)
    # Places 0 and 1 overlap by half, 2 and 3 are equal to a ten-thousandth of a pixel, the others lie alone.
    x = np.array([0, 500, 5_000, 5_000.001, 9_000, 12_000])
    catalog = patches([(x[p], 0) for p in where], time=np.stack([when, when], axis=1) * 86_400.0)
    asked = []
    from geodata.catalog import overlaps

    exact = overlaps.overlaps
    monkeypatch.setattr(overlaps, "overlaps", lambda some, *a: asked.append(len(some)) or exact(some, *a))
    found = audit(catalog, Parts(code))
    assert asked == [places], "only distinct footprints are compared"
    upon = {(0, 1), (1, 0), (2, 3), (3, 2), *((p, p) for p in range(places))}
    for one in found.pairs:
        a, b = (np.flatnonzero(code == ("train", "val", "test").index(name)) for name in (one.part, one.other))
        met = [(i, j) for i, j in product(a, b) if (where[i], where[j]) in upon]
        same = [(i, j) for i, j in met if (where[i], where[j]) not in ((0, 1), (1, 0))]
        twice = [(i, j) for i, j in same if when[i] == when[j]]
        assert (one.overlaps, one.repeats, one.duplicates) == (len(met), len(same), len(twice))
        assert one.overlapping == len({j for _, j in met})


# ---------------------------------------------------------------------- folds and parts of other names


def folded(catalog, code, near=None):
    names = tuple(f"fold{k}" for k in range(max(code) + 1))
    return Split(catalog, np.asarray(code, dtype=np.int16), names, {}, near=near)


def test_folds_are_each_compared_with_the_rest():
    catalog = patches([(0, 0), (500, 0), (9_000, 0), (15_000, 0)])
    found = audit(catalog, folded(catalog, [1, 2, 0, 0]))
    # No footprint of the first fold overlaps another; those of the others do.
    assert [(p.part, p.other, p.overlapping) for p in found.pairs] == [
        ("the rest", "fold0", 0),
        ("the rest", "fold1", 1),
        ("the rest", "fold2", 1),
    ]
    assert found.reasons == (
        "1 of 1 row of fold1 (100.0%) overlap the rest",
        "1 of 1 row of fold2 (100.0%) overlap the rest",
    )
    assert found.train == "the rest" and list(found.parts) == ["fold0", "fold1", "fold2"]


def test_the_buffer_of_folds_counts():
    catalog = patches([(0, 0), (1_500, 0), (9_000, 0), (15_000, 0)])
    split = folded(catalog, [0, 1, 1, 0], near=np.array([[0, 1], [1, 0]]))
    found = audit(catalog.take([3, 1, 0, 2]), split, min_distance="4km")
    assert found.passed and [p.gap.quantile[0.0] for p in found.pairs] == pytest.approx([5_000, 5_000], rel=1e-3)
    assert not audit(catalog, folded(catalog, [0, 1, 1, 0]), min_distance="4km").passed


def test_a_part_called_training_is_train():
    catalog = patches([(0, 0), (3_000, 0), (6_000, 0)])
    found = audit(catalog, Parts([1, 0, 2], ("validation", "training", "test")))
    assert found.train == "training" and list(found.parts) == ["training", "validation", "test"]


def test_one_part_has_nothing_to_be_compared_with():
    catalog = patches([(0, 0), (3_000, 0)])
    with pytest.raises(SplitError, match="one part, 'all', and nothing to compare"):
        audit(catalog, Parts([0, 0], ("all",)))
    with pytest.raises(SplitError, match="no part is called train; name train= of a, b"):
        audit(catalog, Parts([0, 1], ("a", "b")), test="a")


# ---------------------------------------------------------------------- what is said


def test_dropped_rows_and_parts_that_are_left_out_are_told_apart():
    catalog = patches([(3_000 * k, 0) for k in range(6)])
    found = audit(catalog, Parts([0, 0, 1, 2, 2, -1]), test="test")
    assert (found.split["rows"], found.split["dropped"]) == (6, 1)
    assert sorted(found.code.tolist()) == [-1, 0, 0, 1, 1], "val is not drawn as dropped"
    lines = {line.split()[0]: line.split()[-2:] for line in str(found).splitlines() if line.strip().endswith("%")}
    assert lines["train"] == ["2", "33.3%"] and lines["(dropped)"] == ["1", "16.7%"]
    assert "(not audited)      1   16.7%" in str(found)


def at_80(found):
    from io import StringIO

    from rich.console import Console

    console = Console(file=StringIO(), width=80, color_system=None)
    console.print(found)
    return console.file.getvalue()


def test_tables_fit_80_columns_and_break_no_date():
    places = grid_of(12, 3_000)
    day = 86_400.0 * 18_000
    catalog = patches(places.tolist(), label=[f"c{k % 3}" for k in range(144)], time=[(day, day)] * 144)
    found = audit(catalog, Parts(places[:, 0] // 12_000), labels="label")
    text = at_80(found)
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("2019-04-14   2019-04-14") == 3
    for heading in ("edge to edge, nearest", "10 to 20 km"):
        assert heading in text


def test_twenty_folds_stand_below_each_other():
    places = grid_of(20, 3_000)
    catalog = patches(places.tolist(), scene=["s"] * 400)
    found = audit(catalog, folded(catalog, places[:, 0] // 3_000))
    text = at_80(found)
    assert len(found.pairs) == 20 and "fold19 vs the rest" in text
    assert max(map(len, text.splitlines())) <= 80 and len(text.splitlines()) < 100
    assert len(found.verdict) < 300 and "the worst of 20 parts" in found.verdict


def test_of_many_parts_only_those_are_shown_that_meet():
    code = np.arange(8)
    places = [(10_000 * k, 0) for k in range(7)] + [(60_500, 0)]
    text = str(audit(patches(places), Parts(code, ("train", *(f"t{k}" for k in range(1, 8))))))
    assert "t7 vs t6" in text and "t5 vs t4" not in text and "t5 vs train" in text


def test_names_that_look_like_markup_are_shown_as_they_are():
    catalog = patches([(0, 0), (3_000, 0)], label=["[bold]a", "b"])
    text = str(audit(catalog, Parts([0, 1], ("train", "[red]test[/]")), labels="label"))
    (line,) = (line for line in text.splitlines() if line.startswith("  [red]test[/]"))
    assert line.endswith("[bold]a")


def test_where_nothing_is_checked_that_is_what_is_said():
    found = audit(table(4), Parts([0, 0, 1, 1], ("train", "test")))
    assert found.verdict.startswith("nothing checked; but these rows have no place on earth")
    assert "vs train" not in str(found), "no table without a line"


def test_rows_with_times_alone():
    day = 86_400.0
    when = [(k * day, k * day) for k in (0, 1, 5, 9)]
    catalog = Catalog.from_columns(
        key=list("abcd"), affine=[(1, 0, 0, 0, 1, 0)] * 4, shape=[(8, 8)] * 4, crs=None, time=when
    )
    found = audit(catalog, Parts([0, 0, 1, 1], ("train", "test")))
    assert pair(found, "test").days == 4 and pair(found, "test").inside == 0
    text = str(found)
    assert "least gap, days" in text and "footprints\n" not in text and "edge to edge" not in text


def test_distances_that_nobody_knows_do_not_pass_for_far_ones():
    catalog = patches([(0, 0), (9_000, 0)])
    lost = Catalog.from_columns(
        key=["a", "b"],
        affine=[(10, 0, 500_000, 0, -10, 5_600_000), (10, 0, 1e12, 0, -10, 1e12)],
        shape=[(100, 100)] * 2,
        crs=UTM,
    )
    split = Parts([0, 1], ("train", "test"))
    assert audit(catalog, split, min_distance="5km").passed
    found = audit(lost, split, min_distance="5km")
    assert found.reasons == ("1 of 1 row of test (100.0%) have no known distance to train, wanted at least 5.00 km",)


def test_columns_of_lists_are_no_ids_unless_named():
    catalog = patches([(0, 0), (3_000, 0)], date=pa.array([["x"], ["y"]]), scene=pa.nulls(2), field=[None, 3])
    shared = pair(audit(catalog, Parts([0, 1], ("train", "test"))), "test").shared
    assert sorted(shared) == ["field", "scene"] and shared["scene"].values == 0
    with pytest.raises(SplitError, match="ids must be single values"):
        audit(catalog, Parts([0, 1], ("train", "test")), ids=["date"])


def test_a_dictionary_that_holds_null():
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0]), pa.array(["a", None]))
    labels = labels_of(table(3, classes=column), "classes")
    assert labels.names == ("a",) and labels.dense(np.arange(3)).tolist() == [[1], [0], [1]]


def test_many_classes_that_lack_are_counted():
    catalog = table(40, label=[f"c{k:02d}" for k in range(39)] + ["c00"])
    found = audit(catalog, Parts([0] * 39 + [1], ("train", "test")), labels="label")
    assert found.reasons == ("test has no c01, c02, c03 and 35 other classes",)
    assert max(map(len, at_80(found).splitlines())) <= 80


def test_two_rows_are_too_few_for_likeness_and_say_so():
    catalog = patches([(0, 0), (3_000, 0)], label=["a", "a"])
    found = audit(catalog, Parts([0, 1], ("train", "test")), labels="label")
    assert set(found.decay.value) == {None} and found.decay.reach is None
    assert "how alike" not in str(found)
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_keys_of_the_json_are_those_of_the_docstring():
    catalog = patches([(0, 0), (3_000, 0)], label=["a", "a"], scene=["s", "t"])
    told = audit(catalog, Parts([0, 1], ("train", "test")), labels="label").to_dict()
    bare = audit(table(2), Parts([0, 1], ("train", "test"))).to_dict()
    assert list(told) == list(bare)
    assert [list(p) for p in told["pairs"]] == [list(p) for p in bare["pairs"]]
    text = Audit.to_dict.__doc__
    for key in (*told, *told["thresholds"], *told["split"]):
        assert f"``{key}``" in text, key
    quantile = list(told["pairs"][0]["gap"]["quantile"])
    assert all(f'"{q}"' in text for q in quantile) and json.loads(json.dumps(told, allow_nan=False)) == told


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_deviation": -0.1}, "must be at least 0"),
        ({"max_deviation": math.nan}, "must be at least 0"),
        ({"max_deviation": 0.1}, "needs labels"),
    ],
)
def test_thresholds_that_cannot_be_met(options, message):
    with pytest.raises(SplitError, match=message):
        audit(patches([(0, 0), (3_000, 0)]), Parts([0, 1], ("train", "test")), **options)


@pytest.mark.slow
def test_the_published_split_of_reben(realdata):
    """The figures of the notes, section 3.4, which were taken on a sphere."""
    from geodata.datasets.reben_table import catalog as reben

    catalog = reben(realdata / "reben", excluded=False)
    parts = ("train", "validation", "test")
    code = np.full(len(catalog), -1, dtype=np.int16)
    for k, name in enumerate(parts):
        code[catalog.column("split") == name] = k
    found = audit(catalog, Parts(code, parts), labels="labels", min_distance="1km")
    test, validation = pair(found, "test"), pair(found, "validation")
    assert (test.overlaps, test.touching, validation.overlaps) == (0, 0, 0)
    centre = test.centre.quantile
    assert [centre[q] / 1000 for q in (0.01, 0.05, 0.5)] == pytest.approx([11.96, 13.2, 20.4], abs=0.06)
    assert test.gap.quantile[0.0] > 10_000
    assert found.parts["test"].deviation == pytest.approx(0.184, abs=0.001)
    assert found.parts["test"].worst == pytest.approx(0.66, abs=0.01)
    # Every patch at the border of the zones has neighbours at 1,200 m.
    assert validation.touching / found.parts["validation"].rows == pytest.approx(0.12, abs=0.005)
    assert found.reasons == ("validation comes within 0 m of train, wanted at least 1.00 km",)
    assert found.decay.value == pytest.approx([0.73, 0.59, 0.54, 0.49, 0.43, 0.37, 0.32, 0.3, 0.25], abs=0.03)
    assert found.decay.random == pytest.approx(0.16, abs=0.005) and found.decay.reach is None


def test_the_shipped_splits_of_spectralearth_share_their_scenes(realdata):
    folder = realdata / "spectral_earth" / "data" / "splits"
    seen = {}
    for task in sorted(p for p in folder.iterdir() if (p / "train.txt").is_file()):
        lines = [(task / f"{part}.txt").read_text().split() for part in ("train", "val", "test")]
        every = [line for part in lines for line in part]
        named = [line.removesuffix(".tif").split("/") for line in every]
        if any(len(n) != 2 for n in named):
            continue
        location, scene = ([n[k] for n in named] for k in (0, 1))
        code = np.repeat(np.arange(3), [len(part) for part in lines])
        catalog = table(len(every), location=location, scene=scene)
        found = audit(catalog, Parts(code), ids=("location", "scene"))
        for one in found.pairs:
            assert one.shared["location"].values == 0, task.name
        shared = pair(found, "test").shared["scene"]
        assert shared.share > 0.97, task.name
        assert not found.passed and "of test have a scene that is also in train" in found.verdict
        seen[task.name] = len({s for s, part in zip(scene, code, strict=True) if part != 1})
    assert len(seen) == 9 and seen["enmap_corine"] == 875  # in train and test; val has two more


def test_what_is_no_split_is_named():
    catalog = table(2)
    with pytest.raises(SplitError, match=r"got dict: .*splits\.predefined\(catalog, split\)"):
        audit(catalog, {"train": ["k0"], "test": ["k1"]})
    with pytest.raises(SplitError, match="rows of a Catalog are split, got Parts"):
        audit(Parts([0, 1], ("train", "test")), catalog)
