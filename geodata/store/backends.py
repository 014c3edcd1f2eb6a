"""Who does the tasks of a conversion: this process, several, or a cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from importlib import import_module
from itertools import chain, islice
from multiprocessing.connection import Connection
from typing import Any, Protocol

from geodata.errors import GeodataError, MissingDependencyError, StoreError
from geodata.store.writing import Done, Position, ShardTask

__all__ = ["Backend", "Cluster", "Here", "Pool", "backend_for"]

AHEAD = 2
"""Tasks that are given out at a time, for each worker."""

TRIES = 3
"""How often a task is begun that a dying worker took with it."""


class Backend(Protocol):
    """Does tasks in any order."""

    def run(self, tasks: Iterator[ShardTask]) -> Generator[Done, None, None]:
        """Yield what each task did, as it is done.

        Raises
        ------
        GeodataError
            The first that a task raised; what was done until then stays done.
        """


class Here:
    """The process that asks."""

    def run(self, tasks: Iterator[ShardTask]) -> Generator[Done, None, None]:
        """Do one after the other; see `Backend.run`."""
        for task in tasks:
            yield task.run()


class Pool:
    """Processes on this machine.

    Parameters
    ----------
    workers : int >= 1
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def run(self, tasks: Iterator[ShardTask]) -> Generator[Done, None, None]:
        """Do some at a time; a worker that dies is replaced, and what it was at begun again. See `Backend.run`.

        Raises
        ------
        StoreError
            If workers die time after time at one task.
        """
        again: list[ShardTask] = []
        tried: Counter[Position] = Counter()
        while True:
            lost: list[ShardTask] = []
            yield from self._some(again, tasks, lost)
            if not lost:
                return
            tried.update(task.position for task in lost)
            position, times = tried.most_common(1)[0]
            if times >= TRIES:
                raise StoreError(
                    f"workers died {times} times at shard {position}; is there enough memory for {self.workers}, and does a "
                    "script call convert under if __name__ == '__main__'? Run the same command again, with fewer workers, to go on"
                )
            again = lost

    def _some(
        self, first: list[ShardTask], rest: Iterator[ShardTask], lost: list[ShardTask]
    ) -> Generator[Done, None, None]:
        """Do tasks until all are done, or a worker dies; then `lost` gets those that were taken and are not done."""
        # forkserver: what threads of this process hold locked does not come along.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["__main__", ShardTask.__module__])
        theirs, mine = context.Pipe(duplex=False)
        pool = ProcessPoolExecutor(self.workers, mp_context=context, initializer=_follow, initargs=(theirs,))
        begun_before = iter(first)
        left = chain(begun_before, rest)
        taken: dict[Position, ShardTask] = {}
        given: dict[Future[Done], Position] = {}
        try:
            while True:
                for task in islice(left, AHEAD * self.workers - len(given)):
                    # First into the list: a pool that has just broken takes no more.
                    taken[task.position] = task
                    given[pool.submit(ShardTask.run, task)] = task.position
                if not given:
                    return
                for future in wait(given, return_when=FIRST_COMPLETED).done:
                    yield future.result()
                    del taken[given.pop(future)]
        except BrokenProcessPool:
            lost += [*taken.values(), *begun_before]
        except (KeyboardInterrupt, GeneratorExit):
            mine.close()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            mine.close()
            theirs.close()


def _follow(line: Connection) -> None:
    """Let a worker end at once when the process it works for has closed its end of a line, or died."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_until_closed, args=(line,), daemon=True).start()


def _until_closed(line: Connection) -> None:
    with suppress(EOFError, OSError):
        line.poll(None)
    os._exit(1)


class Cluster:
    """Workers of a Dask scheduler.

    Parameters
    ----------
    address : ``tcp://host:8786``
    """

    def __init__(self, address: str) -> None:
        self.address = address

    def run(self, tasks: Iterator[ShardTask]) -> Generator[Done, None, None]:
        """Do some at a time; Dask begins again what a dying worker was at. See `Backend.run`.

        Raises
        ------
        StoreError
            If there is no scheduler or it goes away, it has no workers, or they run other versions.
        MissingDependencyError
            If distributed is not installed.
        """
        try:
            distributed: Any = import_module("distributed")
        except ImportError:
            raise MissingDependencyError(
                "a cluster needs the package distributed; install it with pip install 'geodata[cluster]'"
            ) from None
        with self._client(distributed) as client:
            room = AHEAD * sum(client.nthreads().values())
            futures = client.map(_run, list(islice(tasks, room)), pure=False, retries=0)
            running = distributed.as_completed(futures, loop=client.loop)
            for future in running:
                yield self._result(future)
                for task in islice(tasks, 1):
                    running.add(client.submit(_run, task, pure=False, retries=0))

    def _client(self, distributed: Any) -> Any:
        try:
            client = distributed.Client(self.address, timeout="10s", set_as_default=False)
        except (OSError, ValueError, MemoryError) as error:  # the last is what an answer of a web server gives
            raise StoreError(
                f"no scheduler answers at {self.address}: {_words(error)}; start one with dask scheduler"
            ) from None
        try:
            if not client.nthreads():
                raise StoreError(
                    f"the scheduler at {self.address} has no workers; start some with dask worker {self.address}"
                )
            _check_versions(client, self.address)
        except BaseException:
            client.close()
            raise
        return client

    def _result(self, future: Any) -> Done:
        distributed: Any = import_module("distributed")
        try:
            done: Done = future.result()
        except distributed.KilledWorker as error:
            raise StoreError(
                f"workers died time after time at one shard: {_words(error)}; have they enough memory?"
            ) from None
        except (distributed.CancelledError, distributed.comm.CommClosedError) as error:
            raise StoreError(
                f"the scheduler at {self.address} went away: {_words(error)}; start one and run the same command again to go on"
            ) from None
        return done


def _run(task: ShardTask) -> Done:
    """Run a task; its error travels without those that caused it, which often cannot be told to another process."""
    try:
        return task.run()
    except GeodataError as error:
        error.__cause__ = error.__context__ = None
        raise


def _check_versions(client: Any, address: str) -> None:
    """Refuse workers with which tasks cannot be exchanged, or that would write another store."""
    mine = _versions()
    try:
        # Errors as values: what a worker raises that cannot be told here comes as one of no class of its own.
        others = client.run(_versions, on_error="return")
    except OSError as error:
        raise StoreError(f"workers of {address} do not answer: {_words(error)}") from None
    for worker, theirs in others.items():
        if isinstance(theirs, BaseException):
            raise StoreError(
                f"worker {worker} of {address} cannot say which versions it has: {_words(theirs)}; install geodata there"
            )
        differing = [
            f"{name} {theirs.get(name)} (here {version})"
            for name, version in mine.items()
            if theirs.get(name) != version
        ]
        if differing:
            raise StoreError(
                f"worker {worker} of {address} has {', '.join(differing)}; install the same versions everywhere"
            )


def _versions() -> dict[str, str | None]:
    """Return the versions of what decides the bytes of a store, and of what carries tasks."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str | None] = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in ("geodata", "numpy", "imagecodecs", "distributed"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _words(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def backend_for(workers: int, scheduler: str | None) -> Backend:
    """Return who does the work.

    Raises
    ------
    StoreError
        If both workers and a scheduler are named, or there is no worker.
    """
    if scheduler is not None:
        if workers != 1:
            raise StoreError("give workers= or scheduler=, not both: a scheduler has workers of its own")
        return Cluster(scheduler)
    if workers < 1:
        raise StoreError(f"workers={workers} must be at least 1")
    return Here() if workers == 1 else Pool(workers)
