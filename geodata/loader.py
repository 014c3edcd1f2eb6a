"""Batches by threads: the samples and order of a `DataLoader`, without its processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

from torch.utils.data import SequentialSampler

from geodata.dataset import Dataset
from geodata.errors import SamplerError
from geodata.sample import collate

__all__ = ["Loader"]


class Loader:
    """Read batches ahead in threads.

    Reading releases Python's lock in GDAL, so threads overlap without the copies and start-up of worker processes. The
    samples and their order are those of ``torch.utils.data.DataLoader`` with the same sampler, for any number of threads.

    Parameters
    ----------
    dataset : Dataset
    sampler : iterable of queries or integers, or None for all items in order
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
        dataset: Dataset,
        *,
        sampler: Iterable[Any] | None = None,
        batch_size: int = 1,
        threads: int = 2,
        prefetch: int = 2,
        drop_last: bool = False,
        collate_fn: Callable[[Sequence[Mapping[str, Any]]], Any] = collate,
    ) -> None:
        if batch_size < 1 or threads < 0 or prefetch < 1:
            raise SamplerError(
                f"batch_size {batch_size} and prefetch {prefetch} must be at least 1, threads {threads} at least 0"
            )
        self.dataset = dataset
        self.sampler: Any = SequentialSampler(dataset) if sampler is None else sampler
        self.batch_size, self.threads, self.prefetch, self.drop_last = batch_size, threads, prefetch, drop_last
        self.collate_fn = collate_fn
        self._finished = 0
        self._before = 0

    def __len__(self) -> int:
        n = len(self.sampler)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        self._before = getattr(self.sampler, "position", 0)
        self._finished = 0
        if self.threads == 0:
            for chunk in self._chunks():
                batch = self._read(chunk)
                self._finished += len(chunk)
                yield batch
            return
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="geodata-loader")
        waiting: deque[tuple[int, Future[Any]]] = deque()
        try:
            chunks = self._chunks()
            for chunk in islice(chunks, self.threads * self.prefetch):
                waiting.append((len(chunk), pool.submit(self._read, chunk)))
            while waiting:
                count, future = waiting.popleft()
                batch = future.result()
                chunk = next(chunks, [])
                if chunk:
                    waiting.append((len(chunk), pool.submit(self._read, chunk)))
                self._finished += count
                yield batch
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _chunks(self) -> Iterator[list[Any]]:
        queries = iter(self.sampler)
        while chunk := list(islice(queries, self.batch_size)):
            if len(chunk) < self.batch_size and self.drop_last:
                return
            yield chunk

    def _read(self, chunk: list[Any]) -> Any:
        return self.collate_fn(self.dataset.__getitems__(chunk))

    @property
    def _stateful(self) -> Any:
        if not hasattr(self.sampler, "state_dict"):
            raise SamplerError(
                f"{type(self.sampler).__name__} keeps no state; use a sampler of geodata.samplers to resume"
            )
        return self.sampler

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the sampler."""
        self._stateful.set_epoch(epoch)
        self._finished = 0

    def state_dict(self) -> dict[str, Any]:
        """Return what a later run needs to go on after the last batch that was handed out, whatever was read ahead.

        Raises
        ------
        SamplerError
            If the sampler keeps no state.
        """
        state: dict[str, Any] = self._stateful.state_dict(
            self._before + self._finished * getattr(self.sampler, "world", 1)
        )
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self._stateful.load_state_dict(state)
        self._before, self._finished = int(state["consumed"]), 0
