"""Memory of batches that comes back by itself once nobody holds the batch any more."""

from __future__ import annotations

import math
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["RELEASED", "Pool", "current"]

RELEASED = 0xCB
"""Byte that a pool with ``debug=True`` fills memory with when it comes back."""


class Pool:
    """Arrays over memory that is used again.

    An array's memory comes back when the array, and all views and tensors made of it, are gone: nobody has to hand it
    in, and it is never used again while anybody can still see it. The pool never holds more than was in use at once; what
    is too much is given to the system, first what was used least lately. All of it goes with the pool; arrays outlive it.
    Threads may share a pool.

    ``with pool:`` makes it the `current` pool of the thread.

    Parameters
    ----------
    allocate : callable (shape, dtype) -> array, or None
        Where arrays come from instead, if something else uses their memory again; the pool then holds nothing.
    debug : bool
        Fill memory that came back with `RELEASED`, so that a use of it through a bare address shows.
    """

    def __init__(
        self, allocate: Callable[[Sequence[int], np.dtype[Any]], NDArray[Any]] | None = None, *, debug: bool = False
    ) -> None:
        self.allocate = allocate
        self.debug = debug
        self._lock = threading.Lock()
        self._lent: dict[int, tuple[weakref.ref[Any], NDArray[np.uint8]]] = {}
        # Memory ends in any thread, also in one that is at work on this pool: the note of it must not wait for a lock.
        self._back: deque[weakref.ref[Any]] = deque()
        self._free: dict[int, list[NDArray[np.uint8]]] = {}
        self._lent_bytes = self._free_bytes = self._most = 0

    def array(self, shape: Sequence[int], dtype: Any) -> NDArray[Any]:
        """Return an array that is not filled yet.

        Parameters
        ----------
        shape : ints >= 0
        dtype : numpy dtype without objects

        Raises
        ------
        MemoryError
            If there is not as much memory.
        """
        kind = np.dtype(dtype)
        if self.allocate is not None:
            return self.allocate(shape, kind)
        count = math.prod(shape)
        size = _rounded(count * kind.itemsize)
        if not size:
            return np.empty(shape, kind)
        with self._lock:
            self._take_back()
            memory = self._found(size)
        if memory is None:
            memory = np.empty(size, np.uint8)
        # Over a memoryview, and not over the memory itself: views of an array hold on to what it is made over where that is
        # an array too, and to the array itself where it is not. So this one lives as long as any view of it.
        flat = np.frombuffer(memory.data, kind, count)
        ref = weakref.ref(flat, self._ended(memory))
        with self._lock:
            self._lent[id(ref)] = ref, memory
            self._lent_bytes += size
            self._most = max(self._most, self._lent_bytes)
            self._trim()
        return flat.reshape(shape)

    def _ended(self, memory: NDArray[np.uint8]) -> Callable[[weakref.ref[Any]], None]:
        """Return what is called when an array ends; it does not keep the pool."""
        if not self.debug:
            return self._back.append
        back = self._back

        def ended(ref: weakref.ref[Any]) -> None:
            memory.fill(RELEASED)
            back.append(ref)

        return ended

    def _take_back(self) -> None:
        while self._back:
            lent = self._lent.pop(id(self._back.popleft()), None)
            if lent is None:  # an interrupt came before it was noted down
                continue
            memory = lent[1]
            self._lent_bytes -= memory.nbytes
            self._free_bytes += memory.nbytes
            # Sizes used last stand last.
            same = self._free.pop(memory.nbytes, [])
            same.append(memory)
            self._free[memory.nbytes] = same

    def _found(self, size: int) -> NDArray[np.uint8] | None:
        same = self._free.get(size)
        if not same:
            return None
        self._free_bytes -= size
        memory = same.pop()
        if not same:
            del self._free[size]
        return memory

    def _trim(self) -> None:
        while self._free and self._lent_bytes + self._free_bytes > self._most:
            self._found(next(iter(self._free)))

    @property
    def lent(self) -> int:
        """Bytes of arrays that somebody holds."""
        with self._lock:
            self._take_back()
            return self._lent_bytes

    @property
    def free(self) -> int:
        """Bytes that wait for the next array."""
        with self._lock:
            self._take_back()
            return self._free_bytes

    def __enter__(self) -> Self:
        _here.pools.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _here.pools.pop()


def current() -> Pool | None:
    """Return the pool that this thread is in, None outside of any."""
    return _here.pools[-1] if _here.pools else None


def _rounded(size: int) -> int:
    """Round up by an eighth at most, so that batches of nearly one size share memory."""
    step = 1 << max(size.bit_length() - 4, 6)
    return -(-size // step) * step


class _Here(threading.local):
    def __init__(self) -> None:
        self.pools: list[Pool] = []


_here = _Here()
