"""Random numbers: what they depend on, and that they look random where neighbours are compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from geodata import transforms as T
from geodata.errors import TransformError
from geodata.transforms import draws as module
from geodata.transforms.draws import Draws

Make = Callable[..., dict[str, Any]]
INT64 = st.integers(-(2**63), 2**63 - 1)


def numbers(pairs: Any, n: int = 1, *, name: str = "RandomFlip", seed: int = 0, path: Any = ()) -> NDArray[np.float64]:
    draw = torch.as_tensor(np.asarray(pairs, dtype=np.int64))
    return Draws(path).uniform({"draw": draw}, n, name=name, seed=seed)


def along_index(count: int, epoch: int = 0) -> NDArray[np.int64]:
    return np.stack([np.full(count, epoch), np.arange(count)], axis=1)


def test_mix_is_splitmix64() -> None:
    # Published outputs of SplitMix64 for the seed 1234567.
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    states = np.array([(1234567 + (i + 1) * 0x9E3779B97F4A7C15) % 2**64 for i in range(4)], dtype=np.uint64)
    assert module._mix(states).tolist() == published


def test_numbers_do_not_change_between_versions() -> None:
    # A run can be repeated only as long as these stay. Worked out with Python's own integers.
    golden = [
        [0.39607647135379687, 0.5272629004371914],
        [0.8650477912024264, 0.6209793348379509],
        [0.12816920081800398, 0.6633307057345927],
    ]
    got = numbers([[0, 0], [3, 41], [-1, 2**62]], 2, seed=5, path=((0, 1), (7, 2)))
    assert got.tolist() == golden


@given(st.lists(st.tuples(INT64, INT64), min_size=1, max_size=20), st.randoms(use_true_random=False), st.data())
def test_a_sample_has_its_numbers_in_any_company(pairs: list[tuple[int, int]], random: Any, data: Any) -> None:
    whole = numbers(pairs, 3)
    assert ((whole >= 0) & (whole < 1)).all()
    order = list(range(len(pairs)))
    random.shuffle(order)
    some = order[: data.draw(st.integers(1, len(order)))]
    assert np.array_equal(numbers([pairs[i] for i in some], 3), whole[some])
    assert np.array_equal(numbers(pairs, 1), whole[:, :1]), "asking for fewer numbers changed them"
    one = Draws().uniform({"draw": torch.tensor(pairs[0])}, 3, name="RandomFlip", seed=0)
    assert np.array_equal(one, whole[:1])


def test_numbers_are_uniform() -> None:
    u = numbers(along_index(100_000), 2)
    for column in u.T:
        counts = np.bincount((column * 64).astype(int), minlength=64)
        chi2 = ((counts - len(u) / 64) ** 2 / (len(u) / 64)).sum()
        assert chi2 < 63 + 5 * (2 * 63) ** 0.5


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(lambda p: numbers(np.add(p, (0, 1))), id="next index"),
        pytest.param(lambda p: numbers(np.add(p, (1, 0))), id="next epoch"),
        pytest.param(lambda p: numbers(p[:, ::-1].copy()), id="epoch and index exchanged"),
        pytest.param(lambda p: numbers(p, 2)[:, 1:], id="next column"),
        pytest.param(lambda p: numbers(p, seed=1), id="next seed"),
        pytest.param(lambda p: numbers(p, name="RandomRotate90"), id="other class"),
        pytest.param(lambda p: numbers(p, path=((0, 0),)), id="inside a Compose"),
        pytest.param(lambda p: numbers(p, path=((1, 0),)), id="Compose of another seed"),
        pytest.param(lambda p: numbers(p, path=((0, 0), (0, 0))), id="inside two"),
    ],
)
def test_neighbours_are_independent(other: Callable[[Any], NDArray[np.float64]]) -> None:
    pairs = along_index(40_000, epoch=7)
    a, b = numbers(pairs)[:, 0], other(pairs)[:, 0]
    assert abs(np.corrcoef(a, b)[0, 1]) < 5 / len(a) ** 0.5
    # Not only uncorrelated: all 8 x 8 combinations are equally frequent.
    cells = np.bincount((a * 8).astype(int) * 8 + (b * 8).astype(int), minlength=64)
    chi2 = ((cells - len(a) / 64) ** 2 / (len(a) / 64)).sum()
    assert chi2 < 63 + 5 * (2 * 63) ** 0.5


def test_positions_in_a_path_are_not_confused() -> None:
    paths = [((0, 1),), ((1, 0),), ((0, 11),), ((0, 1), (0, 1)), ((0, 0), (0, 1)), ((0, 1), (0, 0))]
    assert len({numbers([[0, 0]], path=path)[0, 0] for path in paths}) == len(paths)


def test_a_pipeline_moves_draw_once(batch: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = module._pairs

    def counted(b: dict[str, Any]) -> NDArray[np.uint64]:
        calls.append(1)
        return real(b)

    monkeypatch.setattr(module, "_pairs", counted)
    steps = [T.RandomFlip(), T.ToFloat(), T.Compose([T.RandomFlip(), T.RandomRotate90()]), T.RandomFlip()]
    T.Compose(steps)(batch([(0, 0), (0, 1)]))
    assert len(calls) == 1


def test_a_draw_replaced_on_the_way_is_seen(batch: Make) -> None:
    b = batch([(0, 0), (0, 1)])
    shared = Draws()
    first = shared.step(0, 0).uniform(b, 1, name="x", seed=0)
    again = shared.step(0, 0).uniform({**b, "draw": b["draw"].flip(0)}, 1, name="x", seed=0)
    assert np.array_equal(first[::-1], again)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (None, r"RandomFlip needs 'draw'.*\[epoch, index\].*batch\['draw'\] = "),
        (torch.zeros(2, 2), "'draw' is torch.float32; it must be an int64 tensor"),
        ([[0, 0], [0, 1]], "'draw' is list; it must be an int64 tensor"),
        (torch.zeros(2, 3, dtype=torch.int64), r"'draw' has shape \(2, 3\); here it must be \(B, 2\)"),
    ],
)
def test_bad_draw(batch: Make, draw: Any, message: str) -> None:
    b = batch([(0, 0), (0, 1)])
    b = {k: v for k, v in b.items() if k != "draw"} | ({} if draw is None else {"draw": draw})
    with pytest.raises(TransformError, match=message):
        T.RandomFlip()(b)
