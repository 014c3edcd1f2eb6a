"""Arrays of Zarr v3 by the library's own reader, and what others than that must read."""

from __future__ import annotations

import os
import warnings
import weakref
from contextlib import suppress
from typing import Any

from geodata.errors import ReadError, ReadWarning
from geodata.files import Files, cache_of, files_at
from geodata.files.local import close_unused
from geodata.readers.room import gives_way
from geodata.readers.shards.array import ShardedArray
from geodata.readers.shards.codecs import UnknownCodecError
from geodata.readers.shards.foreign import ForeignArray
from geodata.readers.shards.metadata import FILE, ArrayMeta

__all__ = ["ArrayMeta", "ForeignArray", "ShardedArray", "UnknownCodecError", "open_array"]

_MOST = 1024
"""Arrays that a process remembers."""

_known: dict[tuple[Any, ...], ShardedArray | ForeignArray] = {}
_places: weakref.WeakValueDictionary[tuple[int, str, int], Files] = weakref.WeakValueDictionary()


def open_array(href: str, *, missing: str = "error") -> ShardedArray | ForeignArray:
    """Open an array, or return it as it was opened before in this process; it is opened anew if its metadata changed.

    Parameters
    ----------
    href : path or URL of its folder
    missing : see `ShardedArray`

    Raises
    ------
    ReadError
        If there is none, or no reader knows it.
    """
    href = href.rstrip("/") if len(href) > 1 else href
    key = (os.getpid(), href, missing, _stamp(href))
    found = _known.get(key)
    if found is None:
        found = _open(href, missing)
        _known[key] = found
        while len(_known) > _MOST:
            with suppress(StopIteration, RuntimeError):  # another thread was faster
                _known.pop(next(iter(_known)), None)
    return found


def _open(href: str, missing: str) -> ShardedArray | ForeignArray:
    remote = "://" in href
    try:
        if not remote:
            # With files of its own an array never reads what stood in its place before. How many are open is counted
            # over all.
            return ShardedArray(files_at(href), "", missing=missing)
        store, _, name = href.rpartition("/")
        place = os.getpid(), store, cache_of(store)
        files = _places.get(place)
        if files is None:
            files = _places[place] = files_at(store)
        return ShardedArray(files, name, missing=missing)
    except UnknownCodecError as error:
        if remote:
            raise ReadError(f"{error}; others read it from a folder of this machine only, copy it there") from None
        found = ForeignArray(href, str(error), missing=missing)
        warnings.warn(found.describe(), ReadWarning, stacklevel=3)
        return found


def _stamp(href: str) -> tuple[int, ...]:
    """Return what tells a file of metadata from another that took its place; for a URL, how it is read."""
    if "://" in href:
        return (cache_of(href.rpartition("/")[0]),)
    try:
        stat = os.stat(os.path.join(href, FILE))
    except OSError:
        return ()
    return stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size


gives_way(close_unused)
