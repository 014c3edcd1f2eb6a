"""Are two samples the same, bit for bit?"""

from __future__ import annotations

import torch


def assert_same(a, b, *, leave=("query",)):
    """Compare two samples or batches: keys, dtypes, shapes, every number (NaN equals NaN), and all that is no tensor."""
    assert set(a) == set(b)
    for key in set(a) - set(leave):
        assert equal(a[key], b[key]), key


def equal(x, y):
    if isinstance(x, torch.Tensor):
        same = (x.dtype, x.shape) == (y.dtype, y.shape)
        return same and x.contiguous().numpy().tobytes() == y.contiguous().numpy().tobytes()
    if isinstance(x, list):
        return len(x) == len(y) and all(map(equal, x, y))
    return x == y


def assert_same_items(a, b, rows=None):
    """Compare two datasets item by item."""
    assert len(a) == len(b)
    for row in range(len(a)) if rows is None else rows:
        assert_same(a[row], b[row])
