"""Batches by threads: the samples and order of a `DataLoader`, without its processes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import SequentialSampler

from geodata.buffers import Pool
from geodata.dataset import Dataset
from geodata.errors import SamplerError
from geodata.mixture import Mixture
from geodata.sample import collate

__all__ = ["Loader"]


class Loader:
    """Read batches ahead in threads, into memory that is used again.

    Reading and decoding release Python's lock, so threads overlap without the copies and start-up of worker processes. The
    samples and their order are those of ``torch.utils.data.DataLoader`` with the same sampler, for any number of threads.
    A batch is valid for as long as anything of it is held; its memory is used again when nothing is. Two loops over one
    loader may run at once; its state is that of the one begun last.

    Parameters
    ----------
    dataset : Dataset or Mixture
    sampler : iterable of queries or integers, or None for all items in order
    batch_sampler : iterable of lists of them
        Instead of ``sampler``, ``batch_size`` and ``drop_last``.
    batch_size : int >= 1
    threads : int >= 0
        0 reads in the calling thread.
    prefetch : int >= 1
        Batches read ahead per thread.
    drop_last : bool
        Leave out a last batch that is not full.
    collate_fn : callable
    pin_memory : bool or None
        Read into pinned memory, from which ``to("cuda", non_blocking=True)`` copies beside the computing. None does if
        this process uses a GPU when the loop begins. What transforms or a ``collate_fn`` of your own make is not pinned.
    debug : bool
        Fill memory with bytes 0xCB before it is used again: whoever reads it through a bare address then sees them. Not
        with pinned memory, where copies may still be under way.

    Raises
    ------
    SamplerError
        If a number makes no sense, batches are asked for twice, or memory cannot be pinned for want of a GPU.

    Examples
    --------
    ``for batch in gd.Loader(ds, sampler=RandomPatchSampler(ds, size=256, length=1000), batch_size=32): ...``
    """

    def __init__(
        self,
        dataset: Dataset | Mixture,
        *,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Sequence[Any]] | None = None,
        batch_size: int = 1,
        threads: int = 2,
        prefetch: int = 2,
        drop_last: bool = False,
        collate_fn: Callable[[Sequence[Mapping[str, Any]]], Any] = collate,
        pin_memory: bool | None = None,
        debug: bool = False,
    ) -> None:
        for name, value, least in (("batch_size", batch_size, 1), ("threads", threads, 0), ("prefetch", prefetch, 1)):
            if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
                raise SamplerError(f"{name}={value!r} must be a whole number of at least {least}")
        if batch_sampler is not None and (sampler is not None or batch_size != 1 or drop_last):
            raise SamplerError("batch_sampler makes the batches: give it without sampler, batch_size and drop_last")
        self.dataset = dataset
        self.batch_sampler: Any = batch_sampler
        self.sampler: Any = SequentialSampler(dataset) if sampler is None else sampler
        self.batch_size, self.threads, self.prefetch, self.drop_last = batch_size, threads, prefetch, drop_last
        if pin_memory and not torch.cuda.is_available():
            raise SamplerError("pin_memory=True needs a GPU, and torch finds none; leave it out, or say False")
        self.collate_fn, self.pin_memory, self.debug = collate_fn, pin_memory, debug
        self._rewind()

    @property
    def _source(self) -> Any:
        """What is iterated, and keeps the state."""
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def __len__(self) -> int:
        if self.batch_sampler is not None:
            return len(self.batch_sampler)
        n = len(self.sampler)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        finished = self._rewind()
        memory = self._memory()
        chunks = self._chunks()
        if self.threads == 0:
            for chunk in chunks:
                yield self._done(self._read(chunk, memory), finished, chunk)
            return
        process = os.getpid()
        threads = ThreadPoolExecutor(self.threads, thread_name_prefix="geodata-loader")
        waiting: deque[tuple[list[Any], Future[Any]]] = deque()

        def ask(count: int) -> None:
            for chunk in islice(chunks, count):
                waiting.append((chunk, threads.submit(self._read, chunk, memory)))

        def first() -> Any:
            chunk, future = waiting.popleft()
            batch = future.result()
            ask(1)
            return self._done(batch, finished, chunk)

        try:
            ask(self.threads * self.prefetch)
            while waiting:
                if os.getpid() != process:
                    raise SamplerError("this loop began before a fork, and its threads stayed behind; begin a new one")
                # No name here may hold the batch: its memory is free as soon as the caller lets go of it.
                yield first()
        finally:
            threads.shutdown(wait=True, cancel_futures=True)

    def _done(self, batch: Any, finished: list[int], chunk: list[Any]) -> Any:
        """Count a batch that is about to be handed out: its samples, or one where whole batches are sampled."""
        finished[0] += len(chunk) if self.batch_sampler is None else 1
        return batch

    def _chunks(self) -> Iterator[list[Any]]:
        if self.batch_sampler is not None:
            yield from map(list, self.batch_sampler)
            return
        queries = iter(self.sampler)
        while chunk := list(islice(queries, self.batch_size)):
            if len(chunk) < self.batch_size and self.drop_last:
                return
            yield chunk

    def _memory(self) -> Pool:
        """Return the pool of one loop. Threads use it at once; it ends with the loop."""
        # Asking for more than what is in use would claim a GPU that the process leaves to others.
        in_use: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        pinned = in_use if self.pin_memory is None else self.pin_memory
        return Pool(_pinned) if pinned else Pool(debug=self.debug)

    def _read(self, chunk: list[Any], memory: Pool) -> Any:
        with memory:
            if self.collate_fn is collate and isinstance(self.dataset, Dataset):
                return self.dataset.batch(chunk)
            return self.collate_fn(self.dataset.__getitems__(chunk))

    @property
    def _stateful(self) -> Any:
        if not hasattr(self._source, "state_dict"):
            raise SamplerError(
                f"{type(self._source).__name__} keeps no state; use a sampler of geodata.samplers to resume"
            )
        return self._source

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the sampler."""
        self._stateful.set_epoch(epoch)
        self._rewind()

    def state_dict(self) -> dict[str, Any]:
        """Return what a later run needs to go on after the last batch that was handed out, whatever was read ahead.

        Raises
        ------
        SamplerError
            If the sampler keeps no state.
        """
        sampler = self._stateful
        if self._epoch != getattr(sampler, "epoch", None):
            # Trainers set the epoch of the sampler, not that of the loader.
            self._rewind()
        state: dict[str, Any] = sampler.state_dict(self._before + self._finished[0] * getattr(sampler, "world", 1))
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self._stateful.load_state_dict(state)
        self._rewind()

    def _rewind(self) -> list[int]:
        """Count from where the next iteration starts, in a list of one number, which only that iteration has."""
        self._before, self._finished = getattr(self._source, "position", 0), [0]
        self._epoch: int | None = getattr(self._source, "epoch", None)
        return self._finished


def _pinned(shape: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an array over pinned memory, which torch itself uses again once copies from it have ended."""
    kind = torch.from_numpy(np.empty(0, dtype)).dtype
    array: NDArray[Any] = torch.empty(tuple(shape), dtype=kind, pin_memory=True).numpy()
    return array
