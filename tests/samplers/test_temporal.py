"""Pairs of dates of one place: which there are by brute force, and how often each is drawn."""

from __future__ import annotations

import os
import time
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from makers import catalog_of, north_up, write_tif
from sampler_laws import check_laws
from scipy.stats import chisquare

import geodata as gd
from geodata.datasets import RasterDataset
from geodata.errors import SamplerError
from geodata.samplers.temporal import DAY, YEAR, TemporalPairSampler

UTM = "EPSG:32633"


def archive(places, shape=(40, 50), **columns):
    """A catalog with a row for each (place, day); a row's time is the day around its middle."""
    at = [(north_up(500000 + 1e4 * p), shape, UTM) for p, _ in places]
    time_of = [((d - 0.5) * DAY, (d + 0.5) * DAY) for _, d in places]
    return catalog_of(*at, time=time_of, **columns)


def random_archive(seed, places=8, most=14):
    rng = np.random.default_rng(seed)
    rows = [(p, int(d)) for p in range(places) for d in rng.integers(0, 1500, rng.integers(1, most))]
    return [rows[i] for i in rng.permutation(len(rows))]


def admissible(rows, least=0.0, most=np.inf, same_season=None, usable=None):
    """Place -> unordered pairs of rows, by looking at all of them."""
    found = {}
    for i, j in combinations(range(len(rows)), 2):
        (p, a), (q, b) = rows[i], rows[j]
        days = abs(a - b)
        year = YEAR / DAY
        season = min(days % year, year - days % year) <= 45
        ok = p == q and days > 0 and least <= days <= most and same_season in (None, season)
        if ok and (usable is None or (usable[i] and usable[j])):
            found.setdefault(p, set()).add(frozenset((i, j)))
    return found


OPTIONS = [
    ({}, {}),
    ({"gap": (30, 400)}, {"least": 30, "most": 400}),
    ({"gap": ("30d", None)}, {"least": 30}),
    ({"gap": (None, "1y")}, {"most": 365.2425}),
    ({"gap": ("2w", "1000h")}, {"least": 14, "most": 1000 / 24}),
    ({"same_season": True}, {"same_season": True}),
    ({"same_season": False}, {"same_season": False}),
    ({"same_season": True, "gap": (200, 1200)}, {"same_season": True, "least": 200, "most": 1200}),
    ({"same_season": False, "gap": (0, 300)}, {"same_season": False, "most": 300}),
]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("options", "rule"), OPTIONS)
def test_exactly_the_admissible_pairs_are_drawn(options, rule, seed):
    rows = random_archive(seed)
    wanted = admissible(rows, **rule)
    sampler = TemporalPairSampler(archive(rows), length=4000, seed=seed, **options)
    assert sampler.pairs == sum(map(len, wanted.values()))
    assert sampler.drawn_places == len(wanted) and sampler.single_places == len({p for p, _ in rows}) - len(wanted)
    drawn = {frozenset((a.row, b.row)) for a, b in sampler}
    assert drawn == {pair for pairs in wanted.values() for pair in pairs}


def test_places_are_equally_likely_and_so_are_pairs_of_a_place_and_orders():
    rows = random_archive(7)
    wanted = admissible(rows, least=20)
    sampler = TemporalPairSampler(archive(rows), length=40000, gap=(20, None), seed=1)
    drawn = Counter((a.row, b.row) for a, b in sampler)
    share = {
        order: 1 / len(wanted) / len(pairs) / 2
        for pairs in wanted.values()
        for pair in pairs
        for order in (tuple(sorted(pair)), tuple(sorted(pair))[::-1])
    }
    assert set(drawn) <= set(share)
    counts = [drawn[k] for k in share]
    assert chisquare(counts, np.array(list(share.values())) * 40000).pvalue > 1e-4


LONELY = [(0, 0), (0, 100), (1, 50), (2, 10), (2, 10)]


def test_places_without_a_pair():
    catalog = archive(LONELY)
    skip = TemporalPairSampler(catalog, length=300)
    assert skip.single_places == 2 and {frozenset((a.row, b.row)) for a, b in skip} == {frozenset((0, 1))}
    twice = TemporalPairSampler(catalog, length=3000, size=8, single="duplicate")
    drawn = Counter(frozenset((a.row, b.row)) for a, b in twice)
    assert set(drawn) == {frozenset((0, 1)), frozenset((2,)), frozenset((3,)), frozenset((4,))}
    assert chisquare([drawn[frozenset((0, 1))], drawn[frozenset((2,))]]).pvalue > 1e-4
    assert all(a == b for a, b in twice if a.row == b.row) and all(a.window == b.window for a, b in twice)
    crops = list(TemporalPairSampler(catalog, length=300, size=8, single="crops"))
    assert all(a.window == b.window for a, b in crops if a.row != b.row)
    assert np.mean([a.window != b.window for a, b in crops if a.row == b.row]) > 0.95


def test_windows_are_uniform_on_multiples_of_the_step_and_the_same_in_both():
    catalog = archive([(0, 0), (0, 9), (1, 0), (1, 9)], shape=(12, 10))
    sampler = TemporalPairSampler(catalog, size=(8, 6), length=8000, seed=4)
    pairs = list(sampler)
    assert all(a.window == b.window and a.row // 2 == b.row // 2 and a.row != b.row for a, b in pairs)
    assert all(a.index == b.index for a, b in pairs) and [a.index for a, _ in pairs] == list(range(8000))
    starts = Counter(a.window[:2] for a, _ in pairs)
    assert set(starts) == {(r, c) for r in range(5) for c in range(5)}
    assert chisquare(list(starts.values())).pvalue > 1e-4 and {a.window[2:] for a, _ in pairs} == {(8, 6)}


def test_places_by_a_column():
    rows = [(0, 0), (1, 9), (0, 20), (2, 30)]  # grids differ
    catalog = archive(rows, columns={"site": ["x", "x", "y", "y"]})
    pairs = {frozenset((a.row, b.row)) for a, b in TemporalPairSampler(catalog, length=99, by="site")}
    assert pairs == {frozenset((0, 1)), frozenset((2, 3))}
    with pytest.raises(SamplerError, match="rows with site = 'x' lie on different grids, for example 'k1'"):
        TemporalPairSampler(catalog, length=9, by="site", size=8)
    same = archive([(0, 0), (0, 9), (1, 20), (1, 30)], columns={"site": ["x", "x", "y", "y"]})
    assert TemporalPairSampler(same, length=9, by="site", size=8).drawn_places == 2
    holes = archive([(0, 0), (0, 9)], columns={"site": ["x", None]})
    with pytest.raises(SamplerError, match="'site' is null in 1 rows"):
        TemporalPairSampler(holes, length=9, by="site")


def test_a_place_with_thousands_of_dates_costs_no_square():
    # 5000 dates are 12.5 million pairs: 100 MB as a list of them, several seconds to look at.
    rows = [(0, d) for d in range(5000)] + [(p, d) for p in range(1, 3000) for d in (0, 700)]
    catalog = archive(rows)
    began = time.perf_counter()
    sampler = TemporalPairSampler(catalog, length=4096, gap=(1, None), same_season=True)
    pairs = list(sampler)
    assert time.perf_counter() - began < 2
    assert all(catalog.affine[a.row, 2] == catalog.affine[b.row, 2] for a, b in pairs)


@pytest.mark.parametrize("single", ["drop", "duplicate", "crops"])
def test_laws(single):
    catalog = archive([*random_archive(3), (90, 5), (91, 5)])

    def make(**place):
        sampler = TemporalPairSampler(catalog, size=8, length=37, seed=5, single=single, **place)
        sampler.set_epoch(3)
        return sampler

    check_laws(make)


def test_a_state_of_another_plan_is_refused():
    catalog = archive(random_archive(3))
    state = TemporalPairSampler(catalog, length=20).state_dict()
    TemporalPairSampler(catalog, length=20).load_state_dict(state)
    others = [{"gap": (1, 500)}, {"same_season": True}, {"single": "duplicate"}, {"size": 8}, {"length": 21}]
    others += [{"seed": 1}]
    for other in others:
        with pytest.raises(SamplerError, match="another sampler"):
            TemporalPairSampler(catalog, **{"length": 20} | other).load_state_dict(state)


def test_the_machine_s_time_zone_changes_nothing(monkeypatch):
    catalog = archive(random_archive(2))

    def drawn():
        return list(TemporalPairSampler(catalog, length=200, gap=(20, 300), same_season=False))

    here = drawn()
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    try:
        assert drawn() == here
    finally:
        del os.environ["TZ"]
        time.tzset()


BAD = [
    ({"length": 0}, "length=0"),
    ({"single": "twice"}, "single='twice' must be"),
    ({"single": "crops"}, "needs a size"),
    ({"gap": (10, 5)}, "ends before it starts"),
    ({"gap": 5}, "must be \\(least, most\\)"),
    ({"gap": ("3 months", None)}, "'3 months' is no span of time"),
    ({"gap": (-1, None)}, "-1 is no span"),
    ({"gap": (float("nan"), None)}, "nan is no span"),
    ({"gap": (9000, None)}, "none of 8 places has two dates"),
    ({"same_season": "yes"}, "same_season='yes' must be True or False"),
    ({"by": 3}, "by=3 must be 'location'"),
]


@pytest.mark.parametrize(("options", "said"), BAD)
def test_what_cannot_be_is_refused(options, said):
    with pytest.raises(SamplerError, match=said):
        TemporalPairSampler(archive(random_archive(1)), **{"length": 5} | options)


def test_rows_without_a_time_are_refused_unless_left_out():
    times = [(0, 1), (DAY, DAY), (-np.inf, np.inf)]
    catalog = catalog_of(*[(north_up(), (8, 8), UTM)] * 3, time=times)
    with pytest.raises(SamplerError, match="1 of 3 rows have no time, first 'k2'"):
        TemporalPairSampler(catalog, length=5)
    assert TemporalPairSampler(catalog.where(lambda c: np.isfinite(c.time).all(axis=1)), length=5).pairs == 1


def test_archives_without_any_time_pair_rows_of_a_place():
    catalog = catalog_of(*[(north_up(x), (8, 8), UTM) for x in (0, 0, 0, 5000, 9000, 9000)])
    sampler = TemporalPairSampler(catalog, length=400)
    assert sampler.pairs == 4 and sampler.single_places == 1
    assert {tuple(sorted(q.row for q in pair)) for pair in sampler} == {(0, 1), (0, 2), (1, 2), (4, 5)}
    for asked in ({"gap": ("1d", None)}, {"same_season": True}):
        with pytest.raises(SamplerError, match="6 of 6 rows have no time"):
            TemporalPairSampler(catalog, length=5, **asked)


def test_batches_of_two_dates(tmp_path):
    for place, corner in (("a", 0), ("b", 5000)):
        for day in (1, 2, 3):
            pixels = np.arange(256, dtype=np.float32).reshape(1, 16, 16) + 1000 * day
            write_tif(tmp_path / f"{place}_2020-01-0{day}.tif", pixels, north_up(500000 + corner))
    ds = RasterDataset(tmp_path, pattern=r"_(?P<date>\d{4}-\d{2}-\d{2})\.tif$")
    sampler = TemporalPairSampler(ds, size=8, length=12, gap=(1, 1))
    for first, second in gd.Loader(ds, sampler=sampler, batch_size=4):
        apart = first["image"] - second["image"]
        assert apart.shape == (4, 1, 8, 8) and set(apart.flatten(1).abs().unique().tolist()) == {1000.0}
        assert first["grid"] == second["grid"]


def test_values_that_are_no_numbers_are_no_place():
    catalog = archive([(0, 0), (0, 9)], columns={"site": [1.0, float("nan")]})
    with pytest.raises(SamplerError, match="column 'site' is null in 1 rows"):
        TemporalPairSampler(catalog, length=5, by="site")
