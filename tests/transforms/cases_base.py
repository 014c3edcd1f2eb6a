"""Casting, statistics, mirrors and turns."""

from __future__ import annotations

from transforms.cases import Case

from geodata import transforms as T

STATS = {"mean": {"B0": 2.0, "B1": 3.0}, "std": {"B0": 1.5, "B1": 0.1}}
MANY = {part: {f"B{i}": 1.0 + i / 3 for i in range(224)} for part in ("mean", "std")}

CASES = [
    Case(T.ToFloat(), half=False),
    Case(T.ToFloat("float64", lossy=True), half=False),
    Case(T.Normalize(STATS)),
    Case(T.Normalize(MANY, key="image")),
    Case(T.RandomFlip(), boxes=1),
    Case(T.RandomFlip(p=0.1, axes=["vertical"], seed=2**62)),
    Case(T.RandomRotate90(), boxes=1),
    Case(T.RandomRotate90(p=1, turns=[2], seed=3)),
    Case(T.Compose([])),
    Case(
        T.Compose([T.ToFloat(), T.Compose([T.RandomFlip(), T.RandomRotate90()], seed=4), T.Normalize(STATS)], seed=5),
        half=False,
    ),
]
