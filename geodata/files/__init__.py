"""Where the bytes of a store lie: files below a folder, or objects below a prefix, by relative name."""

from __future__ import annotations

from geodata.files.base import Files
from geodata.files.local import PARTIAL, LocalFiles

__all__ = ["PARTIAL", "Files", "LocalFiles", "cache_of", "files_at", "keep_whole"]


_caches: dict[str, int] = {}
"""Bytes of memory for whole objects, by root."""


def keep_whole(root: str, cache: int) -> None:
    """Have `files_at` keep whole objects of a URL in so many bytes of memory, from now on in this process."""
    _caches[root.rstrip("/")] = cache


def cache_of(root: str) -> int:
    """Return the bytes of memory for whole objects of a URL."""
    return _caches.get(root.rstrip("/"), 0)


def files_at(root: str) -> Files:
    """Return the files below a folder or a URL such as ``s3://bucket/name.zarr``.

    Raises
    ------
    MissingDependencyError
        If it is a URL and obstore is not installed.
    ReadError
        If the URL is of no kind that is known.
    """
    if "://" not in root:
        return LocalFiles(root)
    from geodata.files.objects import ObjectFiles

    return ObjectFiles(root, cache=cache_of(root))
