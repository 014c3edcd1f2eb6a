"""Chunks that are not packed, read where they shall be."""

from __future__ import annotations

from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from geodata.errors import ReadError
from geodata.files import Files

__all__ = ["read_plain"]

PIECE = 1 << 18
"""Bytes that are read before they are checked."""


def read_plain(files: Files, name: str, start: int, out: NDArray[np.uint8], check: Any) -> None:
    """Read the bytes of a chunk, piece by piece, so that each is still in the processor's cache when it is checked.

    Parameters
    ----------
    check : bytearray of 4 bytes for the crc32c that stands behind the chunk, None if none does

    Raises
    ------
    ReadError
        If the file ends before that, or the bytes are damaged.
    """
    found = 0
    for at in range(0, len(out), PIECE):
        piece = out[at : at + PIECE]
        last = (memoryview(check),) if check is not None and at + PIECE >= len(out) else ()
        files.read_into(name, start + at, piece.data, *last)
        if check is not None:
            found = google_crc32c.extend(found, piece)
    if check is not None and found != int.from_bytes(check, "little"):
        raise ReadError("its bytes are not those of its crc32c, they are damaged")
