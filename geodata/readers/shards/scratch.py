"""Memory that each thread uses again and again: fresh memory costs more than what is done in it."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from geodata.errors import ReadError

__all__ = ["scratch"]


class _Scratch(threading.local):
    def __init__(self) -> None:
        self._kept: dict[str, NDArray[np.uint8]] = {}
        self.check = bytearray(4)
        """For a crc32c."""

    def take(self, purpose: str, length: int) -> NDArray[np.uint8]:
        """Return bytes with any values, the same ones at each call for one purpose.

        Raises
        ------
        ReadError
            If there is not enough memory.
        """
        kept = self._kept.get(purpose)
        if kept is None or len(kept) < length:
            try:
                kept = self._kept[purpose] = np.empty(length + length // 4, np.uint8)
            except (MemoryError, ValueError):
                raise ReadError(f"there is not enough memory for a chunk of {length} bytes") from None
        return kept[:length]


scratch = _Scratch()
"""That of this thread."""
