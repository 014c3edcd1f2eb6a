"""Enlarging against torch, exact fractions and a plain loop; gaps that stay gaps; constants that stay constant."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geodata.errors import GridError
from geodata.readers.base import Raster
from geodata.readers.enlarge import enlarge


def observed(data):
    data = np.asarray(data)
    return Raster(data, np.ones(data.shape[1:], bool))


def tents(n, ratio, position):
    """Weights of n coarse pixels, whole numbers in units of 1 / (2 ratio); beyond the edge the outermost one counts."""
    twice = min(max(2 * position + 1 - ratio, 0), 2 * ratio * (n - 1))
    return [max(0, 2 * ratio - abs(twice - 2 * ratio * k)) for k in range(n)]


@pytest.mark.parametrize("ratio", [2, 3, 5, 6])
def test_bilinear_enlarging_is_torchs(ratio):
    data = np.random.default_rng(0).normal(size=(2, 7, 9)).astype(np.float32)
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(data)[None].double(), scale_factor=ratio, mode="bilinear", align_corners=False
    )[0]
    got = enlarge(observed(data), ratio, (0, 0), (7 * ratio, 9 * ratio), "bilinear")
    assert got.valid.all() and np.abs(got.data - wanted.numpy()).max() < 1e-6


@pytest.mark.parametrize("how", ["nearest", "bilinear"])
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_enlarging_with_gaps_is_the_plain_loop(how, data):
    ratio = data.draw(st.integers(2, 6))
    h, w = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    pixels = data.draw(arrays(np.float64, (1, h, w), elements=st.floats(-1e3, 1e3, width=32)))
    valid = data.draw(arrays(bool, (h, w)))
    r0, c0 = data.draw(st.integers(0, h * ratio - 1)), data.draw(st.integers(0, w * ratio - 1))
    shape = data.draw(st.integers(1, h * ratio - r0)), data.draw(st.integers(1, w * ratio - c0))
    holes = np.where(valid, pixels, 1e30)
    got = enlarge(Raster(holes, valid), ratio, (r0, c0), shape, how)
    for i in range(shape[0]):
        for j in range(shape[1]):
            y, x = r0 + i, c0 + j
            assert got.valid[i, j] == valid[y // ratio, x // ratio]
            if not got.valid[i, j]:
                continue
            if how == "nearest":
                assert got.data[0, i, j] == pixels[0, y // ratio, x // ratio]
                continue
            weight = np.outer(tents(h, ratio, y), tents(w, ratio, x)) * valid
            assert got.data[0, i, j] == pytest.approx((weight * pixels[0]).sum() / weight.sum(), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32"])
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_integers_are_the_exact_mean_with_halves_to_even(dtype, data):
    kind = np.iinfo(dtype)
    ratio = data.draw(st.sampled_from([2, 3, 4, 6, 7, 8, 12]))
    near = st.integers(kind.max - 5, kind.max) | st.integers(kind.min, kind.min + 5)
    pixels = data.draw(arrays(dtype, (1, 3, 3), elements=near))
    valid = data.draw(st.just(np.ones((3, 3), bool)) | arrays(bool, (3, 3)))
    got = enlarge(Raster(pixels, valid), ratio, (0, 0), (3 * ratio, 3 * ratio), "bilinear")
    for y, x in np.argwhere(got.valid).tolist():
        weight = np.outer(tents(3, ratio, y), tents(3, ratio, x)) * valid
        total = sum(int(a) * int(b) for a, b in zip(weight.flat, pixels.flat, strict=True))
        assert got.data[0, y, x] == round(Fraction(total, int(weight.sum())))


@pytest.mark.parametrize("value", [-12.5, -12.3, 0.1, 1e-30, 7.0])
@pytest.mark.parametrize("gaps", [False, True])
def test_a_constant_stays_that_constant(value, gaps):
    data = np.full((1, 5, 5), value, np.float32)
    valid = np.ones((5, 5), bool)
    valid[2, 2] = not gaps
    got = enlarge(Raster(data, valid), 3, (1, 2), (13, 12), "bilinear")
    close = got.data[0][got.valid]
    assert np.abs(close - np.float32(value)).max() <= (np.spacing(np.float32(abs(value))) if gaps else 0)


@pytest.mark.parametrize("dtype", ["uint16", "float32", "int64"])
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_pixel_does_not_depend_on_the_block(dtype, data):
    ratio = data.draw(st.integers(2, 6))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    pixels = rng.integers(0, 60000, (2, 8, 8)).astype(dtype)
    valid = rng.random((8, 8)) > data.draw(st.sampled_from([0.0, 0.1]))
    whole = enlarge(Raster(pixels, valid), ratio, (0, 0), (8 * ratio, 8 * ratio), "bilinear")
    r, c = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    # One more coarse pixel on each side is all that matters.
    part = Raster(pixels[:, r - 1 : r + 2, c - 1 : c + 2], valid[r - 1 : r + 2, c - 1 : c + 2])
    got = enlarge(part, ratio, (ratio, ratio), (ratio, ratio), "bilinear")
    same = slice(r * ratio, (r + 1) * ratio), slice(c * ratio, (c + 1) * ratio)
    assert np.array_equal(got.valid, whole.valid[same])
    assert np.array_equal(got.data[:, got.valid], whole.data[:, *same][:, got.valid])


def test_integers_keep_their_dtype_and_their_ends():
    got = enlarge(observed(np.array([[[0, 1]]], np.uint8)), 4, (0, 0), (1, 8), "bilinear")
    assert got.data.dtype == np.uint8 and got.data[0, 0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    large = np.array([[[2**53 - 1, 2**53 - 1]]], np.int64)
    assert enlarge(observed(large), 3, (0, 0), (3, 6), "bilinear").data.tolist() == [[[2**53 - 1] * 6] * 3]


def test_enlarging_by_another_method_is_refused():
    with pytest.raises(GridError, match="nearest or bilinear, not 'cubic'"):
        enlarge(observed(np.zeros((1, 2, 2))), 2, (0, 0), (4, 4), "cubic")
