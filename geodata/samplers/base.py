"""What every sampler shares: epochs, ranks, exact resume."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data.distributed import DistributedSampler

from geodata.errors import SamplerError
from geodata.query import Query, stamped
from geodata.samplers.arguments import one_of, whole

__all__ = ["CHUNK", "QuerySampler"]

CHUNK = 4096
"""Draws made at once; it changes nothing but speed."""


class QuerySampler(DistributedSampler[Query], ABC):
    """Base of the samplers: a fixed plan per epoch, shared out to ranks, resumable.

    Subclasses say how many samples an epoch has (`total`) and which they are (`draw`). Everything is integers and needs
    no I/O. Iterating does not advance the epoch: call `set_epoch`.

    Parameters
    ----------
    seed : int >= 0
    uneven : {"pad", "keep", "drop"}
        When ranks do not divide the samples: repeat some (marked ``query.repeat``), let ranks differ by one, or leave
        the last ones out.
    rank, world : int or None
        None takes them from ``torch.distributed``, else from RANK and WORLD_SIZE, else 0 of 1, whenever they are needed:
        a sampler may be made before the processes are.

    Notes
    -----
    It is a `DistributedSampler` by name only: trainers such as Lightning wrap every other sampler in one, and each rank
    would then see its share of its share.
    """

    def __init__(
        self, *, seed: int = 0, uneven: str = "pad", rank: int | None = None, world: int | None = None
    ) -> None:
        self.seed = whole("seed", seed, 0, 2**64)
        self.uneven = one_of("uneven", uneven, "pad", "keep", "drop")
        if (rank is None) != (world is None):
            raise SamplerError(f"give both rank and world, or neither; got rank={rank}, world={world}")
        self._place = None if rank is None or world is None else _checked(rank, world)
        self.epoch = 0
        self._start = 0
        self._done = 0
        self._given = 0
        self._resumed = False
        self._iteration = 0

    @property
    def rank(self) -> int:  # type: ignore[override]
        """Number of this process."""
        return _place_now()[0] if self._place is None else self._place[0]

    @property
    def world(self) -> int:
        """Number of processes."""
        return _place_now()[1] if self._place is None else self._place[1]

    data_digest: str = ""
    """Fingerprint of the rows that it draws from, written on its queries; empty if it knows none."""

    @property
    @abstractmethod
    def total(self) -> int:
        """Samples of one epoch over all ranks, before padding."""

    @abstractmethod
    def draw(self, indexes: NDArray[np.int64]) -> Iterator[Query]:
        """Yield the samples of this epoch with the given numbers, 0 <= number < `total`."""

    @property
    @abstractmethod
    def plan(self) -> str:
        """Text that is equal for two samplers exactly when they yield the same samples."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; the next iteration starts at its beginning, or where a state of this epoch was loaded.

        An iteration that is under way is over then: to go on with it is an error.
        """
        epoch = whole("epoch", epoch, 0, 2**64)
        if self._resumed and epoch == self.epoch:
            return
        self.epoch = epoch
        self._go_to(0)

    def _go_to(self, done: int, *, resumed: bool = False) -> None:
        """Start the next iteration at a sample of this epoch; iterations under way count no more."""
        self._start = self._done = done
        self._given = 0
        self._resumed = resumed
        self._iteration += 1

    @property
    def position(self) -> int:
        """Number of the sample, over all ranks, at which the next iteration starts."""
        return self._done

    def __len__(self) -> int:
        """Samples that this rank yields in the next iteration."""
        return self._left(self._done, self.rank, self.world)

    def __iter__(self) -> Iterator[Query]:
        epoch, start, rank, world = self.epoch, self._done, self.rank, self.world
        count = self._left(start, rank, world)
        self._go_to(0)
        self._start, turn = start, self._iteration
        for at in range(0, count, CHUNK):
            indexes = start + rank + world * np.arange(at, min(at + CHUNK, count), dtype=np.int64)
            again = np.zeros(len(indexes), dtype=bool)
            if indexes[-1] >= self.total:
                indexes, again = self._extended(indexes)
            for query, repeated in zip(self.draw(indexes), again.tolist(), strict=True):
                if self.epoch != epoch:
                    raise SamplerError(
                        f"epoch {self.epoch} was set while epoch {epoch} was iterated; iterate the sampler anew after set_epoch"
                    )
                if self._iteration == turn:
                    self._given += 1
                yield stamped(_marked(query) if repeated else query, self.data_digest)

    def _left(self, done: int, rank: int, world: int) -> int:
        """Return how many samples a rank has left."""
        left = max(self.total - done, 0)
        if self.uneven == "drop":
            return left // world
        if self.uneven == "keep":
            return (left - rank + world - 1) // world
        return -(-left // world)

    def _extended(self, indexes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the samples that stand for numbers some of which are beyond the last one, and which of them repeat others."""
        return indexes % self.total, indexes >= self.total

    def state_dict(self, consumed: int | None = None) -> dict[str, Any]:
        """Return what a later run needs to go on.

        Parameters
        ----------
        consumed : int or None
            Samples of this epoch that the training loop has finished, over all ranks. None counts what this sampler has
            handed out since the epoch began, times the ranks: too many if a loader fetches ahead, so loaders pass it.
        """
        used = self._start + self._given * self.world if consumed is None else whole("consumed", consumed, 0)
        return {"seed": self.seed, "epoch": self.epoch, "consumed": int(used), "plan": self.digest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a run stopped, also with another number of ranks.

        Raises
        ------
        SamplerError
            If the state is of another plan (data, size, length or seed), or none at all.
        """
        missing = {"seed", "epoch", "consumed", "plan"} - set(state if isinstance(state, Mapping) else ())
        if missing:
            raise SamplerError(
                f"this is no state of a sampler, {sorted(missing)} are missing; give what state_dict returned"
            )
        if state["plan"] != self.digest or state["seed"] != self.seed:
            raise SamplerError(
                "this state is of another sampler: rows, sizes, length or seed differ; make it as it was made then"
            )
        self.epoch = whole("epoch", state["epoch"], 0, 2**64)
        self._go_to(whole("consumed", state["consumed"], 0), resumed=True)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.total:,} samples an epoch, epoch {self.epoch}, seed {self.seed})"

    @property
    def digest(self) -> str:
        """Short fingerprint of the plan."""
        return hashlib.sha256(f"{type(self).__name__} {self.seed} {self.plan}".encode()).hexdigest()[:16]


def _marked(asked: Any) -> Any:
    # Several views of one sample are a tuple of queries, a batch is a list of samples.
    return type(asked)(map(_marked, asked)) if isinstance(asked, (tuple, list)) else replace(asked, repeat=True)


def _place_now() -> tuple[int, int]:
    """Return rank and world as they are now."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    rank, world = os.environ.get("RANK"), os.environ.get("WORLD_SIZE", "1")
    if rank is None and world != "1":
        raise SamplerError(
            f"WORLD_SIZE is {world}, but RANK is not set and torch.distributed not ready: start with torchrun, or give rank and world"
        )
    if not ((rank or "0").isdecimal() and world.isdecimal()):
        raise SamplerError(f"RANK={rank!r} and WORLD_SIZE={world!r} in the environment must be whole numbers")
    return _checked(int(rank or 0), int(world))


def _checked(rank: int, world: int) -> tuple[int, int]:
    world = whole("world", world)
    if whole("rank", rank, 0) >= world:
        raise SamplerError(f"rank {rank} of {world} does not exist; ranks are 0 to {world - 1}")
    return int(rank), world
