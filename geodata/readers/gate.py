"""When no thread may be in GDAL: while the process is forked, and while GDAL has to forget what it knows."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Gate", "alone", "passing"]

PATIENCE = 30.0
"""Seconds after which it is closed although a thread is still inside: it may read from a server that does not answer."""


class Gate:
    """Lets threads in, any number at once, until it is closed.

    GDAL keeps its cache of blocks and much else under locks. A child that is forked while another thread holds one of
    them waits for it in its first read, forever.
    """

    def __init__(self) -> None:
        self._open = threading.Condition(threading.Lock())
        self._closed = False
        self._inside = 0
        self._mine = threading.local()

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Stay inside for the length of the block; may be nested."""
        depth = getattr(self._mine, "depth", 0)
        if not depth:
            with self._open:
                while self._closed:
                    self._open.wait()
                self._inside += 1
        self._mine.depth = depth + 1
        try:
            yield
        finally:
            self._mine.depth = depth
            if not depth:
                with self._open:
                    self._inside -= 1
                    if self._closed:
                        self._open.notify_all()

    def close(self) -> None:
        """Let nobody in any more, and wait until all but this thread have left."""
        mine = 1 if getattr(self._mine, "depth", 0) else 0
        with self._open:
            while self._closed:  # by another thread
                self._open.wait()
            self._closed = True
            self._open.wait_for(lambda: self._inside <= mine, PATIENCE)

    def reopen(self) -> None:
        """Let threads in again."""
        with self._open:
            self._closed = False
            self._open.notify_all()

    def renew(self) -> None:
        """Open it in a child, where no thread is but the one that forked."""
        self._open = threading.Condition(threading.Lock())
        self._closed = False
        self._inside = 1 if getattr(self._mine, "depth", 0) else 0


_gate = Gate()
passing = _gate.passing
"""To be stayed in while GDAL works."""


@contextmanager
def alone() -> Iterator[None]:
    """Keep all other threads out of GDAL for the length of the block; not to be used inside of `passing`."""
    _gate.close()
    try:
        yield
    finally:
        _gate.reopen()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_gate.close, after_in_parent=_gate.reopen, after_in_child=_gate.renew)
