"""Flips and quarter turns come as often as asked, and independently of each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from geodata import transforms as T
from geodata.transforms.draws import Draws

WAYS = {
    tuple(
        np.rot90(np.arange(4).reshape(2, 2)[:, ::-1] if mirror else np.arange(4).reshape(2, 2), k).ravel().tolist()
    ): (f"{k} turns{', mirrored' * mirror}")
    for k in range(4)
    for mirror in (False, True)
}
"""The eight ways to lay a 2 x 2 image onto itself, by what becomes of its pixels."""


def both(**kwargs: Any) -> T.Compose:
    return T.Compose([T.RandomFlip(), T.RandomRotate90()], **kwargs)


def ways_of(transform: T.Transform, count: int, epoch: int = 0) -> list[str]:
    image = torch.arange(4).reshape(1, 1, 2, 2).expand(count, 1, 2, 2)
    draw = torch.stack([torch.full((count,), epoch), torch.arange(count)], dim=1)
    out = transform({"draw": draw, "image": image})["image"]
    return [WAYS[tuple(row)] for row in out.reshape(count, 4).tolist()]


def share(ways: list[str], *names: str) -> float:
    return sum(way in names for way in ways) / len(ways)


FLIP_H, FLIP_V = "0 turns, mirrored", "2 turns, mirrored"


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_each_axis_is_flipped_as_often_as_asked(p: float) -> None:
    n = 4000
    ways = ways_of(T.RandomFlip(p=p), n)
    sd = (p * (1 - p) / n) ** 0.5
    assert abs(share(ways, FLIP_H, "2 turns") - p) <= 5 * sd
    assert abs(share(ways, FLIP_V, "2 turns") - p) <= 5 * sd
    assert abs(share(ways, "2 turns") - p * p) <= 5 * (p * p * (1 - p * p) / n) ** 0.5
    one = ways_of(T.RandomFlip(p=p, axes=["vertical"]), n)
    assert set(one) <= {"0 turns", FLIP_V}
    assert [w in (FLIP_V, "2 turns") for w in ways] == [w == FLIP_V for w in one]


@pytest.mark.parametrize(("p", "turns"), [(0.75, (1, 2, 3)), (1.0, (1, 3)), (0.2, (2,)), (0.0, (1, 2, 3))])
def test_turns_come_as_often_as_asked(p: float, turns: tuple[int, ...]) -> None:
    n = 4000
    ways = ways_of(T.RandomRotate90(p=p, turns=turns), n)
    for k in range(4):
        q = 1 - p if k == 0 else p / len(turns) * (k in turns)
        assert abs(share(ways, f"{k} turns") - q) <= 5 * (q * (1 - q) / n) ** 0.5


@pytest.mark.parametrize(
    ("name", "a", "b"),
    [
        ("two in one Compose", 0, 1),
        ("one in a nested Compose", 0, 2),
        ("two in a nested Compose", 2, 3),
    ],
)
def test_equal_steps_are_independent(name: str, a: int, b: int) -> None:
    def flips(keep: int) -> NDArray[np.bool_]:
        p = [0.5 if i == keep else 0.0 for i in range(4)]
        step = [T.RandomFlip(p=q, axes="horizontal") for q in p]
        ways = ways_of(T.Compose([step[0], step[1], T.Compose([step[2], step[3]])]), 8000)
        return np.array([way == FLIP_H for way in ways])

    x, y = flips(a), flips(b)
    for u in (False, True):
        for v in (False, True):
            assert abs(((x == u) & (y == v)).mean() - 0.25) < 5 * (0.1875 / len(x)) ** 0.5, name


@pytest.mark.parametrize("seed", [0, 3])
def test_flip_and_turn_of_equal_seed_are_independent_outside_a_compose(seed: int) -> None:
    n = 8000
    flips = np.array([w == FLIP_H for w in ways_of(T.RandomFlip(axes="horizontal", seed=seed), n)])
    turns = np.array([int(w[0]) for w in ways_of(T.RandomRotate90(seed=seed), n)])
    for k in range(4):
        assert abs((flips & (turns == k)).mean() - 1 / 8) < 5 * (7 / 64 / n) ** 0.5


def test_decisions_do_not_change_between_versions() -> None:
    # Column 0 of the numbers decides about left and right, column 1 about top and bottom; for a turn column 0
    # decides whether, column 1 how far.
    u = {name: Draws().uniform({"draw": DRAWS}, 2, name=name, seed=0) for name in ("RandomFlip", "RandomRotate90")}
    flips = [2 * (v < 0.5) + (h < 0.5) for h, v in u["RandomFlip"]]
    assert ways_of(T.RandomFlip(), 50) == [("0 turns", FLIP_H, FLIP_V, "2 turns")[code] for code in flips]
    turns = [1 + int(which * 3) if turned < 0.75 else 0 for turned, which in u["RandomRotate90"]]
    assert ways_of(T.RandomRotate90(), 50) == [f"{k} turns" for k in turns]


DRAWS = torch.stack([torch.zeros(50, dtype=torch.int64), torch.arange(50)], dim=1)


def test_seed_epoch_and_compose_seed_change_what_is_drawn() -> None:
    base = ways_of(both(), 100)
    assert base == ways_of(both(), 100)
    assert base != ways_of(both(), 100, epoch=1)
    assert base != ways_of(both(seed=1), 100)
    assert ways_of(T.RandomFlip(seed=1), 100) != ways_of(T.RandomFlip(), 100)


def test_flip_and_turn_together_are_uniform_over_the_eight() -> None:
    ways = ways_of(both(), 8000)
    for way in WAYS.values():
        assert abs(share(ways, way) - 1 / 8) < 5 * (7 / 64 / 8000) ** 0.5
