"""What every transform promises, checked on all cases of all families."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from transforms.cases import Case, cases

from geodata import transforms as T

Make = Callable[..., dict[str, Any]]

CASES = cases()
each = pytest.mark.parametrize(
    "case", CASES, ids=[f"{type(case.transform).__name__}-{i}" for i, case in enumerate(CASES)]
)
DRAWS = [(1, i) for i in range(5)]


def same(a: Any, b: Any, *, close: bool = False, where: str = "") -> None:
    """Fail unless two values of a sample are equal; with ``close``, equal but for the order of additions."""
    assert type(a) is type(b), where
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype and a.shape == b.shape, where
        if close and a.is_floating_point():
            tolerance = 1e-2 if a.dtype == torch.float16 else 1e-4
            assert torch.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True), where
        else:
            assert torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)), where
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            same(x, y, close=close, where=f"{where}[{i}]")
    elif isinstance(a, Mapping):
        assert set(a) == set(b), where
        for key in a:
            same(a[key], b[key], close=close, where=f"{where}.{key}")
    else:
        assert a == b, where


def copied(value: Any) -> Any:
    """A copy that shares no tensor."""
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, list):
        return [copied(item) for item in value]
    return {k: copied(v) for k, v in value.items()} if isinstance(value, dict) else value


def test_every_public_transform_has_a_case() -> None:
    public = {name for name in T.__all__ if isinstance(getattr(T, name), type)}
    kinds = {name for name in public if issubclass(getattr(T, name), T.Transform)}
    assert kinds - {"Transform", "ImageTransform"} == {type(case.transform).__name__ for case in CASES}


@each
def test_saved_as_json(case: Case, batch: Make) -> None:
    data = case.transform.to_dict()
    text = json.dumps(data, allow_nan=False)
    assert json.loads(text) == data, "only plain JSON data"
    again = T.Transform.from_dict(json.loads(text))
    assert type(again) is type(case.transform) and again.to_dict() == data
    b = batch(DRAWS, **case.arguments())
    same(again(b), case.transform(b))


@each
def test_pickled(case: Case, batch: Make) -> None:
    again = pickle.loads(pickle.dumps(case.transform))
    b = batch(DRAWS, **case.arguments())
    assert again.to_dict() == case.transform.to_dict()
    same(again(b), case.transform(b))


@each
def test_shown_short_and_pasted_back(case: Case) -> None:
    text = repr(case.transform)
    assert all(len(line) < 200 for line in text.splitlines())
    assert case.transform.effect or isinstance(case.transform, T.Compose)
    if not isinstance(case.transform, T.Compose) and "..." not in text:
        assert eval(text, dict(vars(T))).to_dict() == case.transform.to_dict()


@each
def test_the_batch_is_left_as_it_was(case: Case, batch: Make) -> None:
    before = batch(DRAWS, **case.arguments())
    kept = copied(before)
    case.transform(before)
    same(before, kept)


@each
def test_writes_names_all_that_changes(case: Case, batch: Make) -> None:
    before = batch(DRAWS, **case.arguments())
    after = case.transform(before)
    changed = {key for key in before if key not in after or after[key] is not before[key]} | (set(after) - set(before))
    declared = {key for key in {*before, *after} for name in case.transform.writes if key == name or _under(key, name)}
    assert changed <= declared
    assert set(after) ^ set(before) == set(case.makes)


def _under(key: str, name: str) -> bool:
    return name.endswith("*") and key.startswith(name[:-1])


@each
def test_a_sample_alone_is_as_in_its_batch(case: Case, sample: Make, batch: Make) -> None:
    """Random numbers too: they depend on ``draw`` alone, not on the size of the batch."""
    whole = case.transform(batch(DRAWS, **case.arguments()))
    for i, draw in enumerate(DRAWS):
        alone = case.transform(sample(*draw, **case.arguments()))
        assert set(alone) == set(whole)
        for key, value in alone.items():
            mine = whole[key] if key.startswith("bands") else whole[key][i]
            same(mine, value, close=True, where=key)


@each
def test_series(case: Case, batch: Make) -> None:
    if not case.series:
        return
    out = case.transform(batch(DRAWS, **case.arguments(times=3)))
    images = [key for key in out if key.startswith("image")]
    assert images and all(out[key].shape[:2] == (len(DRAWS), 3) for key in images)


@each
def test_half_floats(case: Case, batch: Make) -> None:
    if not case.half:
        return
    b = batch(DRAWS, **case.arguments(dtype=torch.float16))
    if case.bands is None:
        b = {k: v.clamp(max=2000) if k.startswith("image") else v for k, v in b.items()}
    out = case.transform(b)
    for key in b:
        if key.startswith("image") and key in out:
            assert out[key].dtype == torch.float16, key
            assert torch.isfinite(out[key]).all(), key


@each
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_on_cuda(case: Case, batch: Make) -> None:
    b = batch(DRAWS, **case.arguments())
    moved = {k: _to(v, "cuda") for k, v in b.items()}
    out, there = case.transform(b), case.transform(moved)
    assert set(out) == set(there)
    for key, value in out.items():
        found = there[key]
        if isinstance(value, torch.Tensor):
            assert found.shape == value.shape and found.dtype == value.dtype
            assert key == "draw" or found.device.type == "cuda", key


def _to(value: Any, device: str) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device)
    return [_to(item, device) for item in value] if isinstance(value, list) else value
