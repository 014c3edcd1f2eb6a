"""Windows of series with some of their dates."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
from makers import catalog_of, north_up, write_tif
from sampler_laws import check_laws
from scipy.stats import chisquare

import geodata as gd
from geodata.counts import count_pixels
from geodata.datasets import RasterDataset
from geodata.errors import SamplerError
from geodata.samplers import RandomPatchSampler
from geodata.samplers.series import SeriesPatchSampler

UTM = "EPSG:32633"
PATTERN = r"_(?P<date>\d{4}-\d{2}-\d{2})\.tif$"


def series(*dates, shape=(40, 50)):
    catalog = catalog_of(*((north_up(500000 + 1e4 * i), shape, UTM) for i in range(len(dates))))
    return SimpleNamespace(catalog=catalog, groups=[np.arange(n) for n in dates])


def chosen(data, **options):
    return Counter(q.dates for q in SeriesPatchSampler(data, **{"size": 8, "length": 6000} | options))


@pytest.mark.parametrize(("n", "k"), [(6, 3), (5, 5), (5, 1), (7, 6)])
def test_every_choice_of_dates_is_equally_likely(n, k):
    counts = chosen(series(n), dates=k)
    wanted = list(combinations(range(n), k))
    assert set(counts) == set(wanted)
    assert len(wanted) == 1 or chisquare([counts[w] for w in wanted]).pvalue > 1e-4


def test_every_run_is_equally_likely():
    counts = chosen(series(9), dates=4, how="run")
    wanted = [tuple(range(s, s + 4)) for s in range(6)]
    assert set(counts) == set(wanted) and chisquare(list(counts.values())).pvalue > 1e-4


@pytest.mark.parametrize(
    ("n", "k", "wanted"),
    [
        (9, 3, (0, 4, 8)),
        (5, 5, (0, 1, 2, 3, 4)),
        (7, 1, (3,)),
        (10, 4, (0, 3, 6, 9)),
        (8, 2, (0, 7)),
        (6, 4, (0, 2, 3, 5)),
    ],
)
def test_dates_are_evenly_spread(n, k, wanted):
    assert set(chosen(series(n), dates=k, how="spread", length=20)) == {wanted}


def test_windows_are_those_of_a_random_sampler_whatever_the_dates():
    data = series(3, 5, 9)
    plain = [(q.row, q.window) for q in RandomPatchSampler(data.catalog, size=8, length=200, seed=4)]
    for how in ("random", "run", "spread"):
        drawn = [(q.row, q.window) for q in SeriesPatchSampler(data, size=8, dates=3, how=how, length=200, seed=4)]
        assert drawn == plain
    two = Counter((q.window[0] % 2, q.dates) for q in SeriesPatchSampler(series(4), size=8, dates=2, length=8000))
    share = {p: n / 8000 for p, n in Counter(q for q, _ in two.elements()).items()}
    assert chisquare([two[p, d] for p, d in sorted(two)], [share[p] * 8000 / 6 for p, _ in sorted(two)]).pvalue > 1e-4


def test_items_with_too_few_dates():
    data = series(5, 2, 3)
    with pytest.raises(SamplerError, match="1 of 3 items have fewer than 3 dates, first 'k1' with 2"):
        SeriesPatchSampler(data, size=8, dates=3, length=5)
    sampler = SeriesPatchSampler(data, size=8, dates=3, length=500, short="drop")
    drawn = list(sampler)
    assert sampler.short_rows == 1 and {q.row for q in drawn} == {0, 2}
    assert {max(q.dates) for q in drawn if q.row == 0} == {2, 3, 4}
    assert {q.dates for q in drawn if q.row == 2} == {(0, 1, 2)}
    with pytest.raises(SamplerError, match="3 of 3 items have fewer than 6"):
        SeriesPatchSampler(data, size=8, dates=6, length=5, short="drop")


@pytest.mark.parametrize("how", ["random", "run", "spread"])
def test_laws(how):
    data = series(4, 2, 7, 9)

    def make(**place):
        sampler = SeriesPatchSampler(data, size=8, dates=3, how=how, length=37, short="drop", **place)
        sampler.set_epoch(3)
        return sampler

    check_laws(make)


def test_a_state_of_another_plan_is_refused():
    def sampler(*n, **options):
        return SeriesPatchSampler(series(*(n or (4, 5))), **{"size": 8, "dates": 3, "length": 20} | options)

    state = sampler().state_dict()
    sampler().load_state_dict(state)
    for other in (
        sampler(dates=2),
        sampler(how="run"),
        sampler(5, 5),
        sampler(size=9),
        sampler(short="drop", length=21),
    ):
        with pytest.raises(SamplerError, match="another sampler"):
            other.load_state_dict(state)


@pytest.fixture
def dated(tmp_path):
    for place, corner, days in (("a", 0, 5), ("b", 5000, 3)):
        for day in range(1, days + 1):
            pixels = np.full((1, 16, 16), 100 * corner + day, dtype=np.float32)
            write_tif(tmp_path / f"{place}_2020-01-0{day}.tif", pixels, north_up(500000 + corner))
    return RasterDataset(tmp_path, pattern=PATTERN)


def test_samples_of_a_series_and_of_a_join(dated):
    ds = dated.series()
    for data in (ds, ds & dated.series().named("again"), ds.tile(8)):
        sampler = SeriesPatchSampler(data, size=4, dates=2, length=8)
        for query in sampler:
            sample = data[query]
            assert sample["image"].shape == (2, 1, 4, 4)
            assert [t % 100 - 1 for t in sample["image"][:, 0, 0, 0].tolist()] == list(query.dates)
    batch = next(iter(gd.Loader(ds, sampler=SeriesPatchSampler(ds, size=4, dates=2, length=8), batch_size=8)))
    assert batch["image"].shape == (8, 2, 1, 4, 4) and (batch["image"].diff(dim=1) > 0).all()


def test_what_cannot_be_is_refused(dated):
    with pytest.raises(
        SamplerError, match=r"RasterDataset has one date per item; make a series of it first: ds.series\(\)"
    ):
        SeriesPatchSampler(dated, size=4, dates=2, length=5)
    bad = [({"dates": 0}, "dates=0"), ({"how": "last"}, "how='last'"), ({"short": "all"}, "short='all'")]
    for options, said in bad:
        with pytest.raises(SamplerError, match=said):
            SeriesPatchSampler(series(4), **{"size": 4, "dates": 2, "length": 5} | options)


def test_options_of_rows_are_for_all_items_also_where_some_are_left_out(tmp_path):
    for place, days in enumerate((3, 1, 2)):
        for day in range(1, days + 1):
            write_tif(tmp_path / f"{place}_2020-01-0{day}.tif", transform=north_up(500000 + 1000 * place, res=10))
    series = RasterDataset(tmp_path, pattern=r"_(?P<date>\d{4}-\d{2}-\d{2})\.tif$").series()
    counts = count_pixels(series, cell=1)
    options = {"weights": [1, 5, 0], "counts": counts, "min_valid": 1.0}
    sampler = SeriesPatchSampler(series, size=4, dates=2, length=50, short="drop", **options)
    assert sampler.short_rows == 1 and {q.row for q in sampler} == {0}
    assert sampler.windows == 25
