"""Sharing out units to parts: by size alone, or so that classes are shared out alike."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.errors import SplitError

__all__ = ["checked", "checked_seed", "share_out", "shuffled"]

Counts = NDArray[np.float64]
Whole = NDArray[np.int64]

STEPS = 2000
"""Moves that the search for a better balance makes at most."""

FEW = 1000
"""Units up to which swaps are tried too: there are half a million pairs."""

MANY = 200_000
"""Units times parts above which a greedy order by chance ends in balance, and no single unit matters."""

AGAIN, KICK = 24, 12
"""How often the search starts again, with about one in so many units put somewhere else."""

PAIRS = 4_000_000
"""Pairs of units that are looked at in each step of all these searches: many units settle well at once."""

WHOLE = 2**26
"""What all of a class counts: the search is in whole numbers, so that no machine rounds otherwise."""


def checked(fractions: Mapping[str, float]) -> dict[str, float]:
    """Return fractions that sum to 1.

    Raises
    ------
    SplitError
        If they are none, not above 0, or sum to something else.
    """
    if not isinstance(fractions, Mapping) or len(fractions) < 2:
        raise SplitError(
            f"fractions {fractions!r} must name at least two parts: {{'train': .7, 'val': .15, 'test': .15}}"
        )
    try:
        found = {str(name): float(value) for name, value in fractions.items()}
    except (TypeError, ValueError):
        raise SplitError(f"fractions {dict(fractions)!r} must be numbers above 0, such as .7") from None
    if not all(value > 0 for value in found.values()):
        raise SplitError(f"fractions {found} must all be above 0")
    if abs(sum(found.values()) - 1) > 1e-6:
        raise SplitError(f"fractions {found} sum to {sum(found.values()):.6g}, wanted 1")
    return found


def checked_seed(seed: Any) -> int:
    """Return a seed, or refuse what is no whole number from 0 to below 2**64."""
    number = int(seed) if isinstance(seed, Integral) else -1
    if not 0 <= number < 2**64:
        raise SplitError(f"seed {seed!r} must be a whole number, 0 or above and below 2**64")
    return number


def shuffled(names: Sequence[str], seed: int) -> NDArray[np.int64]:
    """Return an order of names that depends on them and the seed only: by SHA-256, the same on every platform."""
    start = hashlib.sha256(f"{checked_seed(seed)}\t".encode())
    digests = []
    for name in names:
        h = start.copy()
        h.update(name.encode())
        digests.append(h.digest())
    return np.array(sorted(range(len(names)), key=digests.__getitem__), dtype=np.int64)


def share_out(
    sizes: NDArray[np.int64], names: Sequence[str], fractions: Mapping[str, float], seed: int, classes: Counts | None,
    class_names: Sequence[str] = (),
) -> NDArray[np.int64]:  # fmt: skip
    """Return (U,) the part of each unit.

    Parameters
    ----------
    sizes : (U,) rows of each unit
    names : names of the units, which decide the order at random
    classes : (U, K) how much of each class a unit holds, or None
        The parts then get shares of each class that are as near to their fractions as a greedy search and moves of
        single units find: rarest first, each to the part that least raises the sum over classes of
        ``((has - wanted) / all) ** 2``.

    Raises
    ------
    SplitError
        If there are fewer units than parts, or a class is in fewer units than there are parts.
    """
    if len(sizes) < len(fractions):
        raise SplitError(
            f"{len(sizes)} blocks for {len(fractions)} parts or folds; take smaller blocks, or fewer parts"
        )
    wanted = np.array(list(fractions.values()))
    order = shuffled(names, seed)
    if classes is None:
        return _by_size(sizes, order, wanted)
    weight = np.column_stack([sizes, classes]).astype(np.float64)
    total = weight.sum(axis=0)
    _refuse_rare(classes, class_names, len(wanted))
    # Sums of squares over all classes must fit 64 bits.
    whole = WHOLE >> (max(weight.shape[1].bit_length() - 6, 0) // 2)
    weight = np.rint(weight[:, total > 0] / total[total > 0] * whole).astype(np.int64)
    aims = np.rint(np.outer(wanted, weight.sum(axis=0))).astype(np.int64)
    if len(sizes) * len(wanted) > MANY:
        return _greedy(weight, order, aims)
    part = _greedy(weight, order[np.argsort(-weight.max(axis=1)[order], kind="stable")], aims)
    return _moved(weight, part, aims, order, checked_seed(seed))


def _refuse_rare(classes: Counts, names: Sequence[str], parts: int) -> None:
    units = (classes > 0).sum(axis=0)
    rare = [k for k in np.flatnonzero(units < parts).tolist() if units[k] > 0]
    if rare:
        said = ", ".join(f"{names[k] if k < len(names) else k!r} in {units[k]}" for k in rare[:8])
        raise SplitError(
            f"{len(rare)} classes cannot be in every part: of {parts} blocks that are needed there are for class {said}; take "
            "smaller blocks, or leave such classes out of stratify"
        )


def _by_size(sizes: NDArray[np.int64], order: NDArray[np.int64], wanted: Counts) -> NDArray[np.int64]:
    """Give each unit, in order, to the part that lacks the largest share of what it wants."""
    out = np.empty(len(sizes), dtype=np.int64)
    scale = 1 << 40
    aim = [max(round(share * scale), 1) for share in wanted.tolist()]
    have = [0] * len(aim)
    parts = range(len(aim))
    for unit, size in zip(order.tolist(), sizes[order].tolist(), strict=True):
        # What it would have too much or too little of, were the unit added.
        best = min(parts, key=lambda p: ((2 * have[p] + size) * scale // aim[p], p))
        out[unit] = best
        have[best] += size
    return out


def _greedy(weight: Whole, order: Whole, aims: Whole) -> NDArray[np.int64]:
    out = np.empty(len(weight), dtype=np.int64)
    have = -aims
    for unit in order.tolist():
        w = weight[unit]
        best = int(np.argmin(have @ w))  # its own square is the same in every part
        out[unit] = best
        have[best] += w
    return out


def _moved(weight: Whole, part: Whole, aims: Whole, order: Whole, seed: int) -> NDArray[np.int64]:
    """Improve the balance by moves and swaps; where units are few, again from places a few units away, keeping the best."""
    weight, of = weight[order], part[order]
    best, cost = _settled(weight, of, aims)
    for again in range(1, min(AGAIN, PAIRS // len(of) ** 2) + 1):
        numbers = np.random.Philox(key=np.array([seed, again], dtype=np.uint64)).random_raw(2 * len(of)).reshape(2, -1)
        kicked = np.where(numbers[0] % KICK == 0, numbers[1] % len(aims), best.astype(np.uint64)).astype(np.int64)
        if len(np.unique(kicked)) == len(aims):
            found, found_cost = _settled(weight, kicked, aims)
            best, cost = (found, found_cost) if found_cost < cost else (best, cost)
    out = np.empty_like(part)
    out[order] = best
    return out


def _settled(weight: Whole, of: Whole, aims: Whole) -> tuple[Whole, int]:
    """Move single units, and swap two where there are few, the best first, until none improves the balance; and its cost."""
    of = of.copy()
    have = np.array([weight[of == p].sum(axis=0) for p in range(len(aims))]) - aims
    products = weight @ weight.T if len(of) <= FEW else None
    for _ in range(STEPS):
        reach = weight @ have.T
        gain, unit, target = _best_move(weight, of, reach)
        if products is not None:
            better, one, other = _best_swap(products, of, reach)
            if better < gain:
                have[of[one]] += weight[other] - weight[one]
                have[of[other]] += weight[one] - weight[other]
                of[one], of[other] = of[other], of[one]
                continue
        if gain >= 0:
            break
        have[of[unit]] -= weight[unit]
        have[target] += weight[unit]
        of[unit] = target
    return of, int((have.astype(object) ** 2).sum())


def _best_move(weight: Whole, of: Whole, reach: Whole) -> tuple[int, int, int]:
    """Return what the best move of a unit to another part changes the cost by, the unit and the part."""
    rows = np.arange(len(of))
    change = 2 * (reach - reach[rows, of][:, None] + (weight**2).sum(axis=1)[:, None])
    change[rows, of] = 0
    change[np.bincount(of, minlength=reach.shape[1])[of] == 1] = 0  # no part is emptied
    unit, target = divmod(int(np.argmin(change)), reach.shape[1])
    return int(change[unit, target]), unit, target


def _best_swap(products: Whole, of: Whole, reach: Whole) -> tuple[int, int, int]:
    """Return what the best swap of two units changes the cost by, and the two."""
    rows = np.arange(len(of))
    # along[u, v]: unit u against what the part of v has too much.
    along = reach[:, of]
    mine = reach[rows, of]
    square = np.diag(products)
    half = along - products
    half += (square - mine)[:, None]
    change = half + half.T
    for part in range(reach.shape[1]):
        members = np.flatnonzero(of == part)
        change[members[:, None], members] = 0
    one, other = divmod(int(np.argmin(change)), len(of))
    return 2 * int(change[one, other]), one, other
