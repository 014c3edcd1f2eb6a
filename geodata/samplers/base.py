"""What every sampler shares: epochs, ranks, exact resume."""

from __future__ import annotations

import hashlib
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from itertools import repeat
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data.distributed import DistributedSampler

from geodata.catalog import Catalog
from geodata.catalog.tiles import pixel_sizes
from geodata.errors import SamplerError
from geodata.query import Query, Window

__all__ = [
    "QuerySampler",
    "catalog_digest",
    "catalog_of",
    "rooms_of",
    "sizes_of",
    "sizes_text",
    "uniform64",
    "window_sizes",
    "windows_at",
]

CHUNK = 4096
"""Draws made at once; it changes nothing but speed."""


def catalog_of(data: Any) -> Catalog:
    """Return the catalog of a dataset, or the catalog itself."""
    catalog = data if isinstance(data, Catalog) else getattr(data, "catalog", None)
    if not isinstance(catalog, Catalog):
        raise SamplerError(f"a sampler needs a dataset or a catalog, got {type(data).__name__}")
    if not catalog.lattice:
        raise SamplerError(
            "these items have a footprint but no pixels; join them to a raster, or give the dataset res="
        )
    if not len(catalog):
        raise SamplerError("the catalog is empty; there is nothing to sample")
    return catalog


_GROUP = "or sample them mixed=True and batch them with GroupedBatchSampler"


def sizes_of(
    catalog: Catalog, size: Any, multiple: int, mixed: bool
) -> tuple[NDArray[np.int64], tuple[int, int] | None]:
    """Return (N, 2) window sizes in pixels, and the one size they all have; with ``mixed`` it may be None.

    Raises
    ------
    SamplerError
        If a size is no multiple of the native ratio, or (unless ``mixed``) rows could not share a batch.
    """
    if not mixed:
        return window_sizes(catalog, size, multiple)
    sizes = pixel_sizes(catalog, size)
    odd = np.flatnonzero((sizes % multiple).any(axis=1))
    if len(odd):
        raise _no_multiple(sizes[odd[0]].tolist(), multiple)
    height, width = sizes[0].tolist()
    return sizes, None if (sizes != sizes[0]).any() else (height, width)


def window_sizes(catalog: Catalog, size: Any, multiple: int) -> tuple[NDArray[np.int64], tuple[int, int]]:
    """Return (N, 2) window sizes in pixels, and the one size they all have.

    Raises
    ------
    SamplerError
        If rows of different resolution would share a batch, or the size is no multiple of the native ratio.
    """
    sizes = pixel_sizes(catalog, size)
    height, width = sizes[0].tolist()
    if (sizes != sizes[0]).any():
        found = sorted({tuple(s) for s in np.unique(sizes, axis=0).tolist()})
        raise SamplerError(
            f"size {size!r} is {found[:4]} pixels in different rows, which cannot share a batch; sample rows of one resolution "
            f"apart, {_GROUP}"
        )
    if catalog.has_crs:
        m = catalog.affine
        metres = np.array([111_320.0 if c is not None and c.is_geographic else 1.0 for c in catalog.footprints.crs])
        res = np.hypot(m[:, 1], m[:, 4]) * metres[catalog.footprints.code]
        if res.max() > 1.25 * res.min():
            raise SamplerError(
                f"rows have pixels of {res.min():.4g} to {res.max():.4g} m: windows of {height} x {width} pixels would mix "
                f"ground sizes in one batch; sample rows of one resolution apart (dataset.where), {_GROUP}"
            )
    if height % multiple or width % multiple:
        raise _no_multiple([height, width], multiple)
    return sizes, (height, width)


def _no_multiple(size: list[int], multiple: int) -> SamplerError:
    height, width = size
    return SamplerError(
        f"size {height} x {width} is no multiple of the native ratio {multiple}; use {height // multiple * multiple or multiple}"
    )


def rooms_of(
    catalog: Catalog, sizes: NDArray[np.int64], step: int, small: str
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return (N, 2) start positions along rows and columns, in steps, and (N,) which rows are smaller than the window.

    Parameters
    ----------
    small : {"pad", "drop", "raise"}
        Rows smaller than the window have one position along a side that is too short; none at all; are refused.

    Raises
    ------
    SamplerError
        If no row is left, or ``small`` is unknown.
    """
    if small not in ("pad", "drop", "raise"):
        raise SamplerError(f"small={small!r} must be 'pad', 'drop' or 'raise'")
    smaller = np.asarray((catalog.shape < sizes).any(axis=1))
    rooms = np.maximum((catalog.shape - sizes) // step + 1, 1)
    if smaller.any() and small == "raise":
        row = int(np.argmax(smaller))
        raise SamplerError(
            f"{smaller.sum()} of {len(catalog)} rows are smaller than {tuple(sizes[row].tolist())}, first {catalog.key[row]!r}; "
            "small='pad' pads them"
        )
    if small == "drop":
        rooms[smaller] = 0
        if smaller.all():
            raise SamplerError(
                f"all {len(catalog)} rows are smaller than {tuple(sizes[0].tolist())}, and small='drop' leaves them out"
            )
    return rooms, smaller


def windows_at(at: NDArray[np.int64], size: tuple[int, int] | NDArray[np.int64]) -> Iterator[Window]:
    """Yield the windows that start at (n, 2) rows and columns: of one size, or of (n, 2) sizes."""
    height, width = (
        (repeat(size[0]), repeat(size[1])) if isinstance(size, tuple) else (size[:, 0].tolist(), size[:, 1].tolist())
    )
    return zip(at[:, 0].tolist(), at[:, 1].tolist(), height, width, strict=False)


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
        if uneven not in ("pad", "keep", "drop"):
            raise SamplerError(f"uneven={uneven!r} must be 'pad', 'keep' or 'drop'")
        if not 0 <= seed < 2**64:
            raise SamplerError(f"seed {seed} must be 0 or above and below 2**64")
        self.seed, self.uneven = seed, uneven
        if (rank is None) != (world is None):
            raise SamplerError(f"give both rank and world, or neither; got rank={rank}, world={world}")
        self._place = None if rank is None or world is None else _checked(rank, world)
        self.epoch = 0
        self._start = 0
        self._done = 0
        self._given = 0
        self._resumed = False

    @property
    def rank(self) -> int:  # type: ignore[override]
        """Number of this process."""
        return _place_now()[0] if self._place is None else self._place[0]

    @property
    def world(self) -> int:
        """Number of processes."""
        return _place_now()[1] if self._place is None else self._place[1]

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
        """Choose the epoch; the next iteration starts at its beginning, or where a state of this epoch was loaded."""
        if epoch < 0:
            raise SamplerError(f"epoch {epoch} must be 0 or above")
        if self._resumed and epoch == self.epoch:
            return
        self.epoch = epoch
        self._done = self._given = 0
        self._resumed = False

    @property
    def position(self) -> int:
        """Number of the sample, over all ranks, at which the next iteration starts."""
        return self._done

    def __len__(self) -> int:
        """Samples that this rank yields in the next iteration."""
        return len(self._share()[0])

    def __iter__(self) -> Iterator[Query]:
        indexes, repeats = self._share()
        self._start, self._done, self._given = self._done, 0, 0
        self._resumed = False
        for at in range(0, len(indexes), CHUNK):
            part = indexes[at : at + CHUNK]
            flags = repeats[at : at + CHUNK].tolist()
            for query, again in zip(self.draw(part), flags, strict=True):
                self._given += 1
                yield _marked(query) if again else query

    def _share(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the numbers that this rank has left, and which of them repeat another rank's."""
        left = max(self.total - self._done, 0)
        if self.uneven == "drop":
            count = left // self.world
        elif self.uneven == "keep":
            count = (left - self.rank + self.world - 1) // self.world
        else:
            count = math.ceil(left / self.world)
        indexes = self._done + self.rank + self.world * np.arange(count, dtype=np.int64)
        beyond = indexes >= self.total
        return (self._extend(indexes, beyond), self._repeats(beyond)) if beyond.any() else (indexes, beyond)

    def _extend(self, indexes: NDArray[np.int64], beyond: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.where(beyond, indexes - self.total, indexes) % self.total

    def _repeats(self, beyond: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return beyond

    def state_dict(self, consumed: int | None = None) -> dict[str, Any]:
        """Return what a later run needs to go on.

        Parameters
        ----------
        consumed : int or None
            Samples of this epoch that the training loop has finished, over all ranks. None counts what this sampler has
            handed out since the epoch began, times the ranks: too many if a loader fetches ahead, so loaders pass it.
        """
        start = self._start if self._given else self._done
        used = start + self._given * self.world if consumed is None else consumed
        return {"seed": self.seed, "epoch": self.epoch, "consumed": int(used), "plan": self.digest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a run stopped, also with another number of ranks.

        Raises
        ------
        SamplerError
            If the state is of another plan (data, size, length or seed).
        """
        if state["plan"] != self.digest or state["seed"] != self.seed:
            raise SamplerError(
                "this state is of another sampler: rows, sizes, length or seed differ; make it as it was made then"
            )
        self.epoch = int(state["epoch"])
        self._done, self._given = int(state["consumed"]), 0
        self._resumed = True

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
    rank, world = os.environ.get("RANK"), int(os.environ.get("WORLD_SIZE", 1))
    if rank is None and world > 1:
        raise SamplerError(
            f"WORLD_SIZE is {world}, but RANK is not set and torch.distributed not ready: start with torchrun, or give rank and world"
        )
    return _checked(int(rank or 0), world)


def _checked(rank: int, world: int) -> tuple[int, int]:
    if not 0 <= rank < world:
        raise SamplerError(f"rank {rank} of {world} does not exist")
    return rank, world


def catalog_digest(catalog: Catalog) -> str:
    """Fingerprint of the lattices of a catalog: shapes, places and number of rows."""
    h = hashlib.sha256(np.ascontiguousarray(catalog.shape).ravel().data)
    h.update(np.ascontiguousarray(catalog.affine).ravel().data)
    return h.hexdigest()[:16]


def sizes_text(size: tuple[int, int] | None, sizes: NDArray[np.int64]) -> str:
    """Return the sizes of windows as a part of a plan."""
    return str(size) if size is not None else hashlib.sha256(np.ascontiguousarray(sizes).ravel().data).hexdigest()[:16]


def uniform64(seed: int, epoch: int, indexes: NDArray[np.int64], stream: int = 0) -> NDArray[np.uint64]:
    """Return one uniform 64-bit number per index: block ``index`` of a Philox stream keyed by seed and epoch.

    References
    ----------
    .. [1] Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC'11.
    """
    if not len(indexes):
        return np.empty(0, dtype=np.uint64)
    low, high = int(indexes.min()), int(indexes.max())
    source = np.random.Philox(key=[seed, epoch], counter=[low, stream, 0, 0])
    blocks: NDArray[np.uint64] = source.random_raw(4 * (high - low + 1)).reshape(-1, 4)[:, 0]
    return blocks[indexes - low]
