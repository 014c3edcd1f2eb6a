"""Batches by threads: the samples and order of a `DataLoader`, without its processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from numbers import Integral
from typing import Any

from torch.utils.data import SequentialSampler

from geodata.dataset import Dataset
from geodata.errors import SamplerError
from geodata.mixture import Mixture
from geodata.sample import collate

__all__ = ["Loader"]


class Loader:
    """Read batches ahead in threads.

    Reading releases Python's lock in GDAL, so threads overlap without the copies and start-up of worker processes. The
    samples and their order are those of ``torch.utils.data.DataLoader`` with the same sampler, for any number of threads.

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
        self.collate_fn = collate_fn
        self._before = self._finished = 0
        self._epoch: int | None = None

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
        self._rewind()
        if self.threads == 0:
            for chunk in self._chunks():
                batch = self._read(chunk)
                self._finished += self._counted(chunk)
                yield batch
            return
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="geodata-loader")
        waiting: deque[tuple[int, Future[Any]]] = deque()
        try:
            chunks = self._chunks()
            for chunk in islice(chunks, self.threads * self.prefetch):
                waiting.append((self._counted(chunk), pool.submit(self._read, chunk)))
            while waiting:
                count, future = waiting.popleft()
                batch = future.result()
                more = next(chunks, None)
                if more is not None:
                    waiting.append((self._counted(more), pool.submit(self._read, more)))
                self._finished += count
                yield batch
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _counted(self, chunk: list[Any]) -> int:
        """Return what a batch counts in the state: its samples, or one where whole batches are sampled."""
        return len(chunk) if self.batch_sampler is None else 1

    def _chunks(self) -> Iterator[list[Any]]:
        if self.batch_sampler is not None:
            yield from map(list, self.batch_sampler)
            return
        queries = iter(self.sampler)
        while chunk := list(islice(queries, self.batch_size)):
            if len(chunk) < self.batch_size and self.drop_last:
                return
            yield chunk

    def _read(self, chunk: list[Any]) -> Any:
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
        state: dict[str, Any] = sampler.state_dict(self._before + self._finished * getattr(sampler, "world", 1))
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self._stateful.load_state_dict(state)
        self._rewind()

    def _rewind(self) -> None:
        """Count from where the next iteration starts."""
        self._before, self._finished = getattr(self._source, "position", 0), 0
        self._epoch = getattr(self._source, "epoch", None)
