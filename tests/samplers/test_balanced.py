"""Rare classes as often as wanted, and how often that is."""

from __future__ import annotations

import numpy as np
import pytest
from makers import catalog_of, north_up
from scipy.stats import chisquare

from geodata.counts import PixelCounts
from geodata.errors import SamplerError
from geodata.samplers.balanced import BalancedPatchSampler

UTM = "EPSG:32633"
SHAPES = [(70, 55), (40, 90), (13, 30)]


def rows(shapes=SHAPES, **columns):
    return catalog_of(*((north_up(500000 + 1e4 * i), s, UTM) for i, s in enumerate(shapes)), columns=columns)


def masks(seed=0, shapes=SHAPES):
    """Blocks of four classes, the third rare, the fourth absent; some pixels without any."""
    rng = np.random.default_rng(seed)
    out = []
    for h, w in shapes:
        block = rng.choice([-100, 0, 1, 2], p=[0.1, 0.7, 0.18, 0.02], size=(-(-h // 5), -(-w // 5)))
        out.append(np.kron(block, np.ones((5, 5), int))[:h, :w])
    return out


def counted(catalog, labels, cell, names=()):
    counts = [
        [(m[r : r + cell, c : c + cell] == k).sum() for k in range(4)]
        for m in labels
        for r in range(0, m.shape[0], cell)
        for c in range(0, m.shape[1], cell)
    ]
    counts = np.array(counts, dtype=np.int32)
    return PixelCounts(cell, catalog.key, np.array(catalog.shape), counts.sum(axis=1, dtype=np.int32), counts, names)


def sampler(cell=1, size=16, length=20_000, shapes=SHAPES, **options):
    catalog = rows(shapes)
    return BalancedPatchSampler(
        catalog, size=size, length=length, counts=counted(catalog, masks(shapes=shapes), cell), **options
    )


def mix(rows, at, size, labels):
    """Share of each class among the classified pixels of drawn windows."""
    total = np.zeros(4)
    for row, (r, c) in zip(rows.tolist(), at.tolist(), strict=True):
        window = labels[row][r : r + size[0], c : c + size[1]]
        total += np.bincount(window[window >= 0], minlength=4)
    return total / total.sum()


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_classes_are_drawn_as_wanted(beta):
    s = sampler(beta=beta)
    pixels = sum(np.bincount(m[m >= 0], minlength=4) for m in masks())
    wanted = np.where(pixels > 0, pixels.astype(float) ** (1 - beta), 0)
    np.testing.assert_allclose(s.targets, wanted / wanted.sum())
    # The same as a weight of n ** -beta for every pixel.
    per_pixel = np.array([n**-beta * n if n else 0 for n in pixels.tolist()])
    np.testing.assert_allclose(s.targets, per_pixel / per_pixel.sum())
    drawn = s.classes_of(np.arange(20_000))
    counts = np.bincount(drawn, minlength=4)
    assert counts[3] == 0 and chisquare(counts[:3], s.targets[:3] * 20_000).pvalue > 1e-4


@pytest.mark.parametrize(("cell", "beta"), [(1, 1.0), (1, 0.3), (5, 1.0)])
def test_the_expected_mix_is_that_of_the_draws(cell, beta):
    s = sampler(cell, beta=beta)
    rows, at = s.places(np.arange(20_000))
    found = mix(rows, at, (16, 16), masks())
    assert s.expected.sum() == pytest.approx(1) and np.abs(s.expected - found).max() < 0.006
    natural = sampler(cell, beta=0.0).expected
    assert natural[2] + 0.003 < s.expected[2] < s.targets[2]


def test_the_expected_mix_by_enumeration():
    # Every class, every pixel, every window that holds it: no random number at all.
    shapes = [(9, 11), (5, 4)]
    catalog, labels = rows(shapes), masks(1, shapes)
    labels[1][0, 0] = 3
    s = BalancedPatchSampler(catalog, size=(6, 4), length=9, counts=counted(catalog, labels, 1), beta=0.7)
    total = np.zeros(4)
    n = sum(np.bincount(m[m >= 0], minlength=4) for m in labels)
    for m in labels:
        for (r, c), k in np.ndenumerate(m):
            if k < 0:
                continue
            starts = [
                (y, x)
                for y in range(max(m.shape[0] - 5, 1))
                for x in range(max(m.shape[1] - 3, 1))
                if y <= r < y + 6 and x <= c < x + 4
            ]
            for y, x in starts:
                window = m[y : y + 6, x : x + 4]
                total += s.targets[k] / n[k] / len(starts) * np.bincount(window[window >= 0], minlength=4)
    np.testing.assert_allclose(s.expected, total / total.sum(), rtol=1e-12)


def test_a_window_holds_the_pixel_it_was_drawn_for():
    s = sampler(1, size=(12, 20), length=4000)
    labels = masks()
    (rows, at), drawn = s.places(np.arange(4000)), s.classes_of(np.arange(4000))
    for row, (r, c), k in zip(rows.tolist(), at.tolist(), drawn.tolist(), strict=True):
        height, width = SHAPES[row]
        assert 0 <= r <= max(height - 12, 0) and 0 <= c <= max(width - 20, 0)
        assert (labels[row][r : r + 12, c : c + 20] == k).any()


def test_the_place_in_the_window_is_uniform():
    # One pixel of class 1 in the middle of a large row: its 8 x 8 windows are equally likely.
    catalog = rows([(41, 41)])
    mask = np.zeros((41, 41), int)
    mask[20, 20] = 1
    s = BalancedPatchSampler(catalog, size=8, length=9, counts=counted(catalog, [mask], 1))
    (_, at), drawn = s.places(np.arange(20_000)), s.classes_of(np.arange(20_000))
    near = at[drawn == 1] - 13
    assert (
        abs(len(near) - 10_000) < 400
        and chisquare(np.bincount(near[:, 0] * 8 + near[:, 1], minlength=64)).pvalue > 1e-4
    )


def test_any_pixel_of_a_larger_cell_is_as_likely_and_edges_are_kept():
    catalog = rows([(40, 40)])
    mask = np.zeros((40, 40), int)
    mask[33, 2] = 1
    s = BalancedPatchSampler(catalog, size=1, length=9, counts=counted(catalog, [mask], 16))
    (_, at), drawn = s.places(np.arange(20_000)), s.classes_of(np.arange(20_000))
    here = at[drawn == 1]
    # The last cell down is 8 pixels high: rows 32 to 39, columns 0 to 15.
    assert here.min(axis=0).tolist() == [32, 0] and here.max(axis=0).tolist() == [39, 15]
    assert chisquare(np.bincount((here[:, 0] - 32) * 16 + here[:, 1], minlength=128)).pvalue > 1e-4


def test_starts_keep_to_the_native_lattice():
    class Native:
        catalog, step = rows([(60, 45)]), 3

    labels = masks(2, [(60, 45)])
    s = BalancedPatchSampler(Native, size=12, length=3000, counts=counted(Native.catalog, labels, 1))
    (_, at), drawn = s.places(np.arange(3000)), s.classes_of(np.arange(3000))
    assert not (at % 3).any() and at.min() == 0 and at.max(axis=0).tolist() == [48, 33]
    assert all(
        (labels[0][r : r + 12, c : c + 12] == k).any() for (r, c), k in zip(at.tolist(), drawn.tolist(), strict=True)
    )


def test_classes_that_never_occur_are_named():
    names = ("field", "forest", "water", "snow")
    catalog = rows()
    s = BalancedPatchSampler(catalog, size=16, length=9, counts=counted(catalog, masks(), 8, names))
    assert (
        s.absent == ("snow",) and s.classes == names and s.targets.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])
    )
    assert sampler(8).absent == (3,)


def test_small_rows():
    assert {q.row for q in sampler(8, length=2000)} == {0, 1, 2} and sampler(8).small_rows == 1
    assert {q.row for q in sampler(8, length=2000, small="drop")} == {0, 1}
    with pytest.raises(SamplerError, match="1 of 3 rows are smaller"):
        sampler(8, small="raise")


# ---------------------------------------------------------------------- labels


LABELS = ["a", "b", "a", "a", None, "c", "a"]
LISTS = [["a", "b"], ["a"], ["a"], [], ["c", "a"], ["b"], ["a"]]


def labelled(column, length=20_000, **options):
    catalog = rows([(20, 18)] * 7, label=column)
    return BalancedPatchSampler(catalog, size=16, length=length, labels="label", **options)


@pytest.mark.parametrize("column", [LABELS, LISTS])
@pytest.mark.parametrize("beta", [0.0, 1.0, 0.4])
def test_rows_by_label(column, beta):
    s = labelled(column, beta=beta)
    sets = [set() if v is None else set(v) for v in column]
    n = np.array([sum(c in v for v in sets) for c in "abc"])
    q = n ** (1 - beta) / (n ** (1 - beta)).sum()
    assert s.classes == ("a", "b", "c") and s.absent == ()
    np.testing.assert_allclose(s.targets, q)
    chance = np.array([sum(q[k] / n[k] for k, c in enumerate("abc") if c in v) for v in sets])
    (drawn, at), kind = s.places(np.arange(20_000)), s.classes_of(np.arange(20_000))
    counts = np.bincount(drawn, minlength=7)
    assert (counts[chance == 0] == 0).all()
    assert chisquare(counts[chance > 0], chance[chance > 0] * 20_000).pvalue > 1e-4
    assert all("abc"[k] in sets[row] for row, k in zip(drawn.tolist(), kind.tolist(), strict=True))
    assert chisquare(np.bincount(at[:, 0] * 3 + at[:, 1], minlength=15)).pvalue > 1e-4
    carried = np.array([sum(counts[r] for r, v in enumerate(sets) if c in v) for c in "abc"])
    assert np.abs(s.expected - carried / carried.sum()).max() < 0.02


def test_labels_of_rows_that_are_left_out_are_absent():
    catalog = rows([(20, 20), (20, 20), (9, 9)], label=[3, 5, 7])
    s = BalancedPatchSampler(catalog, size=16, length=40, labels="label", small="drop")
    assert s.absent == (7,) and {q.row for q in s} == {0, 1}


# ---------------------------------------------------------------------- pure, shared out, refused


def test_a_draw_is_a_function_of_seed_epoch_and_number():
    s = sampler(4, length=5000, seed=3)
    s.set_epoch(2)
    whole = list(s)
    alone = sampler(4, length=5000, seed=3)
    alone.set_epoch(2)
    for i in (4999, 0, 4096):
        assert next(alone.draw(np.array([i]))) == whole[i]
    alone.set_epoch(1)
    assert [q.window for q in alone] != [q.window for q in whole]


@pytest.mark.parametrize("kind", [lambda **o: sampler(8, length=41, **o), lambda **o: labelled(LISTS, length=41, **o)])
def test_ranks_and_resume(kind):
    whole = [(q.index, q.row, q.window) for q in kind()]
    first = [list(kind(rank=r, world=2))[:5] for r in range(2)]
    assert len(kind(rank=1, world=2)) == 21
    assert [(q.index, q.row, q.window) for pair in zip(*first, strict=True) for q in pair] == whole[:10]
    for world in (1, 4):
        rest = []
        for rank in range(world):
            again = kind(rank=rank, world=world)
            again.load_state_dict(kind().state_dict(consumed=10))
            assert len(again) == -(-31 // world)
            rest += [(q.index, q.row, q.window) for q in again]
        assert sorted(rest)[:31] == whole[10:]


def test_plans_differ():
    plans = [
        sampler(8),
        sampler(4),
        sampler(8, size=12),
        sampler(8, beta=0.5),
        sampler(8, length=9),
        sampler(8, seed=1),
    ]
    plans += [sampler(8, small="drop"), labelled(LABELS), labelled(LISTS)]
    assert len({s.digest for s in plans}) == len(plans)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "one of them"),
        ({"labels": "label", "counts": counted(rows(), masks(), 8)}, "one of them"),
        ({"labels": "label", "beta": 1.2}, "beta=1.2 must be a number of at least 0 and at most 1"),
        ({"labels": "label", "length": 0}, "length=0 must be a whole number of at least 1"),
        ({"labels": "none"}, "none of 0 classes occurs in 3 rows"),
        ({"counts": counted(rows(SHAPES[:2]), masks()[:2], 8)}, "these counts are of other rows"),
        ({"counts": counted(rows(), [np.full(s, -1) for s in SHAPES], 8)}, "none of 4 classes occurs in 3 rows"),
    ],
)
def test_what_is_refused(options, said):
    catalog = rows(label=[1, 2, 3], none=[None, None, None])
    with pytest.raises(SamplerError, match=said):
        BalancedPatchSampler(catalog, **{"size": 8, "length": 9, **options})


def test_counts_without_classes_are_refused():
    catalog = rows([(8, 8)])
    bare = PixelCounts(8, catalog.key, np.array(catalog.shape), np.ones(1, np.int32), np.zeros((1, 0), np.int32))
    with pytest.raises(SamplerError, match="these counts have no classes"):
        BalancedPatchSampler(catalog, size=8, length=9, counts=bare)
