"""Boxes that touch, against all pairs tried one by one."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodata.catalog import sweep
from geodata.catalog.sweep import touching

starts = st.integers(0, 12)
sides = st.sampled_from([0, 1, 1, 2, 3, 12])
boxes = st.tuples(starts, starts, sides, sides).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))
many = st.lists(boxes, max_size=10)


def touch(p, q):
    return p[0] <= q[2] and q[0] <= p[2] and p[1] <= q[3] and q[1] <= p[3]


def found(a, b):
    parts = touching(np.array(a, float).reshape(-1, 4), np.array(b, float).reshape(-1, 4))
    return sorted((i, j) for rows, others in parts for i, j in zip(rows.tolist(), others.tolist(), strict=True))


@given(many, many, st.integers(1, 9), st.sampled_from([1, 4, 1 << 20]))
@settings(deadline=None, max_examples=300)
def test_each_pair_that_touches_comes_once(a, b, at_once, strips):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "AT_ONCE", at_once)
        patch.setattr(sweep, "MOST_STRIPS", strips)
        wanted = sorted((i, j) for (i, p), (j, q) in product(enumerate(a), enumerate(b)) if touch(p, q))
        assert found(a, b) == wanted


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("place", [0.0, -3.5e4])
def test_a_box_of_the_world_among_specks(scale, place):
    """The height of the strips is that of the mean box; here no box is near the mean."""
    rng = np.random.default_rng(3)
    low = rng.uniform(0, 1000, (300, 2))
    specks = np.hstack([low, low + 0.01]) * scale + place * scale
    world = np.array([[0.0, 0.0, 1000.0, 1000.0], [500.0, 500.0, 500.0, 500.0]]) * scale + place * scale
    inside = [(0, j) for j in range(300)]
    assert found(world, specks) == inside
    assert found(specks, world) == sorted((j, i) for i, j in inside)
    assert found(specks, specks) == [(i, i) for i in range(300)]


def test_parts_hold_no_more_than_they_should(monkeypatch):
    monkeypatch.setattr(sweep, "AT_ONCE", 50)
    row = np.array([[float(k), 0.0, k + 0.5, 1.0] for k in range(200)])
    sizes = [len(i) for i, _ in touching(row, row)]
    assert sum(sizes) == 200 and len(sizes) > 8 and max(sizes) <= 50
