"""What every place of files can do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Files"]


class Files(Protocol):
    """Files below a root, by relative name with ``/`` between folders. Cheap to make and to pickle; opens nothing until asked.

    Safe to use from many threads, and in processes made by fork or spawn.
    """

    root: str
    remote: bool
    """Whether every read is a request to another machine, so that many are better asked for at once, by `read_many`."""

    def size(self, name: str) -> int | None:
        """Return the bytes of a file, None if there is none."""

    def read(self, name: str, start: int = 0, length: int | None = None) -> Buffer:
        """Return bytes of a file: ``length`` from ``start``, or all from there.

        Raises
        ------
        ReadError
            If there is no such file, it ends before that, or it cannot be read.
        """

    def read_into(self, name: str, start: int, *outs: memoryview) -> None:
        """Fill flat writable views of bytes one after another, from ``start``; errors as `read`."""

    def read_many(self, requests: Sequence[tuple[str, int, int]]) -> list[Buffer]:
        """Return bytes of several files, each asked for by name, start and length; errors as `read`."""

    def names(self, prefix: str = "") -> Iterator[str]:
        """Yield the names of all files whose name starts with a text, in no order."""

    def put(self, name: str, parts: Sequence[Buffer]) -> None:
        """Write a file of these parts, whole or not at all, on disk when it returns; one of that name is replaced.

        Raises
        ------
        StoreError
            If the disk is full, the place cannot be written to, or the network fails after retries.
        """

    def delete(self, name: str) -> None:
        """Remove a file, if it is there."""
