"""Several samplers in one sequence, in given shares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.errors import SamplerError
from geodata.query import Query, stamped
from geodata.samplers.arguments import MOST, number, whole
from geodata.samplers.base import QuerySampler
from geodata.samplers.batches import GroupedBatchSampler
from geodata.samplers.draws import uniform64
from geodata.samplers.hard import HardExampleSampler

__all__ = ["MixedSampler"]


class MixedSampler(QuerySampler):
    """Draw one sample of one of several samplers, in random turn, each as often as its weight says.

    Parameters
    ----------
    samplers : mapping of name to sampler, or sequence
        ``query.source`` is the position; names are put in alphabetical order, so that they mean the same here and in
        `Mixture`. The mixture moves the epochs of the samplers: do not iterate them beside it.
    weights : as many numbers above 0, a mapping with the same names, or None
        None takes the totals of the samplers: with the default length each sample comes once per epoch.
    length : int >= 1
        Draws per epoch over all ranks; the sum of the totals unless given.
    seed : int
    uneven, rank, world : as in `QuerySampler`

    Notes
    -----
    An epoch holds ``counts[s]`` draws of sampler s, the same number in each: the weights' shares of the length, rounded to
    the largest remainders. Their turns are a random permutation, a pure function of (seed, epoch). Draw n of sampler s
    in epoch e of the mixture is sample k = e * counts[s] + n of all that sampler has: number k % total of its epoch
    k // total. So nothing of a sampler is left out or comes again before all of its epoch has come.

    Raises
    ------
    SamplerError
        If names or numbers of weights differ, or a sampler would get no draw.

    Examples
    --------
    ``MixedSampler({"s1": one, "s2": other}, weights={"s1": 1, "s2": 3})``
    """

    def __init__(
        self,
        samplers: Mapping[str, QuerySampler] | Sequence[QuerySampler],
        *,
        weights: Mapping[str, float] | Sequence[float] | None = None,
        length: int | None = None,
        seed: int = 0,
        uneven: str = "pad",
        rank: int | None = None,
        world: int | None = None,
    ) -> None:
        super().__init__(seed=seed, uneven=uneven, rank=rank, world=world)
        if not isinstance(samplers, (Mapping, Sequence)):
            raise SamplerError(f"a mixture is made of several samplers, got {type(samplers).__name__}")
        named = samplers if isinstance(samplers, Mapping) else {str(i): s for i, s in enumerate(samplers)}
        self.names = tuple(sorted(named)) if isinstance(samplers, Mapping) else tuple(named)
        self.samplers = tuple(named[name] for name in self.names)
        if not self.samplers:
            raise SamplerError("a mixture needs at least one sampler")
        self._totals = [_total(name, s) for name, s in zip(self.names, self.samplers, strict=True)]
        self.length = sum(self._totals) if length is None else whole("length", length, 1, MOST)
        shares = np.asarray(self._totals if weights is None else self._ordered(weights), dtype=np.float64)
        self.counts = self._counts(shares)
        self._turns: tuple[int, NDArray[np.int64], NDArray[np.int64]] | None = None

    def _ordered(self, weights: Mapping[str, float] | Sequence[float]) -> list[float]:
        if isinstance(weights, Mapping):
            if sorted(weights) != sorted(self.names):
                raise SamplerError(f"weights are for {sorted(weights)}, samplers are {list(self.names)}")
            weights = [weights[name] for name in self.names]
        if not isinstance(weights, (Sequence, np.ndarray)) or len(weights) != len(self.names):
            raise SamplerError(f"weights={weights!r} for {len(self.names)} samplers; give one number each, or None")
        return [
            number(f"the weight of {n!r}", w, 0, np.inf, low_open=True)
            for n, w in zip(self.names, weights, strict=True)
        ]

    def _counts(self, shares: NDArray[np.float64]) -> tuple[int, ...]:
        """Return how many draws of an epoch each sampler gets."""
        exact = shares / shares.sum() * self.length
        counts = np.floor(exact + 1e-9).astype(np.int64)
        largest = np.argsort(counts - exact, kind="stable")
        counts[largest[: self.length - counts.sum()]] += 1
        if not counts.all():
            name = self.names[int(np.argmin(counts))]
            raise SamplerError(f"{name!r} gets none of {self.length} draws; give it more weight, or a larger length=")
        return tuple(counts.tolist())

    @property
    def total(self) -> int:
        """Draws per epoch over all ranks."""
        return self.length

    @cached_property
    def plan(self) -> str:
        """Text that is equal for two samplers exactly when they yield the same samples."""
        return f"{[s.digest for s in self.samplers]} {self.counts}"

    def draw(self, indexes: NDArray[np.int64]) -> Iterator[Any]:
        """Yield the draws with the given numbers, with ``source``, and ``epoch`` and ``index`` of the mixture."""
        sources, before = self._turn()
        drawn: list[Any] = [None] * len(indexes)
        which = sources[indexes]
        for source, sampler in enumerate(self.samplers):
            mine = np.flatnonzero(which == source)
            turn, number = np.divmod(self.epoch * self.counts[source] + before[indexes[mine]], self._totals[source])
            for epoch in np.unique(turn).tolist():
                at = mine[turn == epoch]
                sampler.set_epoch(epoch)
                for k, asked in zip(at.tolist(), sampler.draw(number[turn == epoch]), strict=True):
                    drawn[k] = stamped(self._named(asked, source, int(indexes[k])), sampler.data_digest)
        yield from drawn

    def _named(self, asked: Any, source: int, index: int) -> Any:
        if isinstance(asked, Query):
            return replace(asked, source=source, epoch=self.epoch, index=index)
        # Views that transforms are to treat differently keep numbers of their own.
        apart = len({query.index for query in asked}) > 1
        numbers = range(index * len(asked), (index + 1) * len(asked)) if apart else [index] * len(asked)
        return tuple(self._named(query, source, number) for query, number in zip(asked, numbers, strict=True))

    def _turn(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (length,) the sampler of each draw of this epoch, and how many draws of it came before."""
        if self._turns is None or self._turns[0] != self.epoch:
            order = np.argsort(uniform64(self.seed, self.epoch, np.arange(self.length)), kind="stable")
            sources, before = np.empty_like(order), np.empty_like(order)
            for source, drawn in enumerate(np.split(order, np.cumsum(self.counts)[:-1])):
                sources[drawn] = source
                before[np.sort(drawn)] = np.arange(len(drawn))
            self._turns = self.epoch, sources, before
        return self._turns[1:]


def _total(name: str, sampler: Any) -> int:
    if not isinstance(sampler, QuerySampler) or isinstance(sampler, (MixedSampler, GroupedBatchSampler)):
        raise SamplerError(f"{name!r} is a {type(sampler).__name__}; a mixture is made of samplers of one dataset each")
    if isinstance(sampler, HardExampleSampler):
        raise SamplerError(
            f"{name!r} follows losses, which know draws by numbers that a mixture gives anew; use it alone"
        )
    if not sampler.total:
        raise SamplerError(f"{name!r} has no samples")
    return sampler.total
