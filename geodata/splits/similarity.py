"""How alike labels are, by how far rows lie apart: whether a distance between parts makes them independent."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from geodata.splits.labels import Labels
from geodata.splits.nearest import tree_of

__all__ = ["Decay", "decay", "likeness"]

EDGES = (0.0, 1_500.0, 3_000.0, 5_000.0, 10_000.0, 20_000.0, 50_000.0, 100_000.0, 200_000.0, 400_000.0)
"""Metres between centres."""
SETTLED = 0.05
ANCHORS, PARTNERS, PARTNERS_LEAST, RANDOM, SAMPLE, LEAST = 2_000, 64, 400, 100_000, 5_000, 30
"""Rows that are paired, with how many each, of at least how many; random pairs; rows that tell how dense they lie; and
fewer pairs than the last say nothing."""


@dataclass(frozen=True)
class Decay:
    """Mean likeness of the labels of two rows, by the distance of their centres.

    Parameters
    ----------
    kind : "jaccard" of sets of classes (for one class: whether they are equal), or "cosine" of amounts
    edge : B + 1 metres, the edges of the bins
    distance : B metres, mean of the pairs of a bin; None where there are fewer than 30 pairs
    value : B mean likeness, 0 to 1; None as above
    pairs : B numbers of pairs that were drawn
    random : mean likeness of pairs drawn at random
    reach : metres, or None
        Distance of the first bin that exceeds random pairs by less than 5 % of what the nearest bin does. None if there
        is no such bin: then no distance here makes rows independent.
    """

    kind: str
    edge: tuple[float, ...]
    distance: tuple[float | None, ...]
    value: tuple[float | None, ...]
    pairs: tuple[int, ...]
    random: float
    reach: float | None


def decay(labels: Labels, centre: NDArray[np.float64], rows: NDArray[np.int64], seed: int) -> Decay | None:
    """Return how likeness decays over some rows; None for fewer than two that have a label and a place.

    Parameters
    ----------
    centre : (N, 3) metres from the centre of the earth
    """
    labelled = np.bincount(labels.row, minlength=labels.rows)[rows] > 0
    rows = rows[labelled & ~np.isnan(centre[rows, 0])]
    if len(rows) < 2:
        return None
    # Philox and integers alone: the same pairs on every platform.
    draw = np.random.Generator(np.random.Philox(seed))
    shuffled = draw.permutation(rows)
    anchors, sample = shuffled[:ANCHORS], tree_of(centre[shuffled[:SAMPLE]])
    distance, value, pairs = [], [], []
    for low, high in pairwise(EDGES):
        i, j, far = _pairs(centre, anchors, shuffled, sample, low, high)
        enough = len(i) >= LEAST
        pairs.append(len(i))
        distance.append(float(far.mean()) if enough else None)
        value.append(float(likeness(labels, i, j).mean()) if enough else None)
    one, other = (draw.integers(0, len(rows) - k, RANDOM) for k in (0, 1))
    chance = float(likeness(labels, rows[one], rows[other + (other >= one)]).mean())
    kind = "cosine" if labels.graded else "jaccard"
    reach = _reach(distance, value, chance)
    return Decay(kind, EDGES, tuple(distance), tuple(value), tuple(pairs), chance, reach)


def _reach(distance: list[float | None], value: list[float | None], chance: float) -> float | None:
    known = [(d, v - chance) for d, v in zip(distance, value, strict=True) if d is not None and v is not None]
    if not known or known[0][1] <= 0:
        return known[0][0] if known else None
    return next((d for d, excess in known if excess < SETTLED * known[0][1]), None)


def _pairs(
    centre: NDArray[np.float64],
    anchors: NDArray[np.int64],
    shuffled: NDArray[np.int64],
    sample: object,
    low: float,
    high: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return (i, j, distance) of pairs of an anchor with one of the rows, as many of these as keep the pairs few."""
    around = sample.query_ball_point(centre[anchors[:200]], high, return_length=True).mean()  # type: ignore[attr-defined]
    expected = max(around / min(SAMPLE, len(shuffled)) * len(shuffled), 1.0)
    many = min(len(shuffled), max(int(len(shuffled) * PARTNERS / expected), PARTNERS_LEAST))
    some = shuffled[-many:]  # the last: the first are the anchors and the sample
    few = int(ANCHORS * PARTNERS / max(expected * many / len(shuffled), PARTNERS)) + 1
    anchors = anchors[:few]
    found = tree_of(centre[some]).query_ball_point(centre[anchors], high, return_sorted=True)
    i = np.repeat(anchors, [len(f) for f in found])
    j = some[np.concatenate([*found, []]).astype(np.int64)]
    far = np.linalg.norm(centre[i] - centre[j], axis=1)
    kept = (far >= low) & (far < high) & (i != j)
    return i[kept], j[kept], far[kept]


def likeness(labels: Labels, i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (n,) how alike rows i and j are: intersection over union of classes, or the cosine of amounts."""
    out = np.empty(len(i))
    step = max(1, (1 << 22) // max(len(labels.names), 1))
    for s in range(0, len(i), step):
        a, b = labels.dense(i[s : s + step]), labels.dense(j[s : s + step])
        both = (a * b).sum(axis=1, dtype=np.float64)
        first, second = ((v * v).sum(axis=1, dtype=np.float64) for v in (a, b))
        out[s : s + step] = both / np.sqrt(first * second) if labels.graded else both / (first + second - both)
    return out
