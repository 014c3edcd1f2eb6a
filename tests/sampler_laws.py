"""What holds for every sampler: ranks share one sequence, and a run goes on where it stopped with any number of ranks."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from typing import Any

__all__ = ["check_laws"]


def check_laws(make: Callable[..., Any], *, views: int = 1) -> None:
    """Compare ranks and resumed runs with the sequence of one process.

    Parameters
    ----------
    make : callable (rank=, world=) -> sampler, at epoch 3
    views : int
        By how much the numbers of queries of neighbouring draws differ.
    """
    single = list(make(rank=0, world=1))
    n = make(rank=0, world=1).total
    assert len(single) == n == len(make(rank=0, world=1)) and n > 12
    assert single == list(make(rank=0, world=1)), "draws are pure"

    def own(samples: list[Any]) -> Counter[Any]:
        first = [(s, s[0] if isinstance(s, tuple) else s) for s in samples]
        return Counter(s for s, q in first if not q.repeat and q.index // views < n)

    assert [q.index // views for q in map(_first, single)] == list(range(n))
    assert len({q.epoch for q in map(_first, single)}) == 1
    for world in (2, 4):
        ranks = [list(make(rank=r, world=world)) for r in range(world)]
        assert {len(r) for r in ranks} == {len(make(rank=0, world=world))} == {-(-n // world)}
        assert own(list(chain(*ranks))) == Counter(single)
    stopped, state = [], {}
    for rank in range(2):
        sampler = make(rank=rank, world=2)
        stream = iter(sampler)
        stopped += [next(stream) for _ in range(5)]
        state = pickle.loads(pickle.dumps(sampler.state_dict()))
    assert state["consumed"] == 10
    for world in (1, 4):
        rest = []
        for rank in range(world):
            sampler = make(rank=rank, world=world)
            sampler.load_state_dict(state)
            sampler.set_epoch(state["epoch"])
            rest += list(sampler)
        assert own(stopped + rest) == Counter(single)
    other = make(rank=0, world=1)
    other.set_epoch(other.epoch + 1)
    assert [_bare(s) for s in other] != [_bare(s) for s in single], "epochs differ"


def _first(sample: Any) -> Any:
    return sample[0] if isinstance(sample, tuple) else sample


def _bare(sample: Any) -> Any:
    return tuple(map(_bare, sample)) if isinstance(sample, tuple) else replace(sample, epoch=0)
