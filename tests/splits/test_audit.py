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
from geodata.splits.similarity import decay, likeness

pytest.importorskip("scipy")

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
    assert found.reasons == (
        "1 footprints of val overlap one of train",
        "1 duplicates in train and val",
        "2 footprints of test overlap one of train",
    )
    assert found.verdict.startswith("leaks: 1 footprints of val overlap") and found.hints == (
        "2 footprints of test overlap one of val",
    )


def test_only_the_same_pixels_are_the_same_footprint():
    crs = ["EPSG:32633"] * 6
    affine = [(10, 0, 500_000, 0, -10, 5_600_000)] * 6
    affine[2], affine[3] = (10, 0, 500_005, 0, -10, 5_600_000), (10, 0.01, 500_000, 0, -10, 5_600_000)
    affine[4] = (20, 0, 500_000, 0, -20, 5_600_000)
    shape = [(100, 100), (101, 100), (100, 100), (100, 100), (50, 50), (100, 100)]
    catalog = Catalog.from_columns(key=list("abcdef"), affine=affine, shape=shape, crs=crs)
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
    assert found.verdict.startswith(
        "holds: no footprint of val, test overlaps one of train, no duplicates; but val touches"
    )
    assert "tile of 100.0%" in found.hints[1]
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
    with pytest.raises(SplitError, match="there are no metres"):
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
    for wanted in ("val -> train", "edge to edge, least", "leaks: ", "class deviation", "labels alike (jaccard)"):
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
        ({"train": "fold0"}, SplitError, "no part 'fold0'; there are train, val, test; of folds take"),
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
