"""Arrays that this library's own reader does not know, read by tensorstore or zarr-python."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.errors import DtypeError, ReadError
from geodata.readers.openfiles import telling

__all__ = ["ForeignArray"]

_state = {"forked": False}


def _mark_forked() -> None:
    """Remember it: tensorstore ends a process that was forked from one in which it was used."""
    _state["forked"] = True


os.register_at_fork(after_in_child=_mark_forked)


class ForeignArray:
    """One array, as `ShardedArray`, by another reader, which is slower.

    Parameters
    ----------
    href : path of its folder
    why : what the own reader does not know of it, "" if it was not asked
    missing : "error" or "fill"
        What a file of chunks means that is not there.
    """

    def __init__(self, href: str, why: str = "", *, missing: str = "error") -> None:
        self.where = href
        self.why = why
        self.missing = missing
        self._zarr = _by_zarr(href, why)
        self.shape: tuple[int, ...] = tuple(self._zarr.shape)
        self.dtype: np.dtype[Any] = np.dtype(self._zarr.dtype).newbyteorder("=")
        self.chunks: tuple[int, ...] = tuple(self._zarr.chunks)
        self._fast: tuple[int, Any] = (0, None)

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.where, self.why, self.missing)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def reader(self) -> str:
        """The name of the package that reads it."""
        return "zarr" if self._tensorstore() is None else "tensorstore"

    def describe(self) -> str:
        """Return a sentence that says who reads it and why."""
        return f"{self.where} is read by {self.reader}, slower than by geodata: {self.why or 'it was asked for'}"

    def read(self, block: Sequence[slice | int], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Read a window; see `ShardedArray.read`."""
        if len(block) != self.ndim:
            raise ReadError(f"{self.where} has {self.ndim} axes; wanted {tuple(block)}")
        parts = tuple(map(self._inside, block, self.shape))
        self._check_there(parts)
        with telling(f"cannot read {self.where}"):
            array = self._tensorstore()
            found = np.asarray(self._zarr[parts] if array is None else array[parts].read().result())
        if out is None:
            return np.ascontiguousarray(found, self.dtype)
        if out.shape != found.shape or not np.can_cast(self.dtype, out.dtype, "safe"):
            raise DtypeError(
                f"{self.where}: a window of {self.dtype} {found.shape} does not fit into {out.dtype} {out.shape}"
            )
        out[...] = found
        return out

    def read_many(self, samples: Sequence[int], block: Sequence[slice], out: NDArray[Any]) -> None:
        """Read one window of many samples; see `ShardedArray.read_many`."""
        if len(out) != len(samples):
            raise DtypeError(f"{self.where}: {len(samples)} samples do not fit into {out.shape}")
        for row, sample in enumerate(samples):
            self.read((int(sample), *block), out[row])

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read by integers and slices, as zarr has them."""
        with telling(f"cannot read {self.where}"):
            return np.asarray(self._zarr[key])

    def _inside(self, part: slice | int, length: int) -> slice | int:
        first, last = (part.start or 0, part.stop) if isinstance(part, slice) else (int(part), int(part) + 1)
        last = length if last is None else last
        if (isinstance(part, slice) and part.step not in (None, 1)) or not 0 <= first <= last <= length:
            raise ReadError(f"{self.where}: {part} of an axis of length {length}")
        return slice(first, last) if isinstance(part, slice) else first

    def _check_there(self, parts: Sequence[slice | int]) -> None:
        """Refuse files that are not there: both packages take them for the fill value."""
        if self.missing == "fill":
            return
        files = getattr(self._zarr, "shards", None) or self._zarr.chunks
        spans = [(part.start, part.stop) if isinstance(part, slice) else (part, part + 1) for part in parts]
        ranges = [range(a // size, -(-b // size)) for (a, b), size in zip(spans, files, strict=True)]
        for place in np.ndindex(*map(len, ranges)):
            key = self._zarr.metadata.encode_chunk_key(tuple(r[n] for r, n in zip(ranges, place, strict=True)))
            if not os.path.exists(os.path.join(self.where, key)):
                raise ReadError(
                    f"cannot read {self.where}: its file {key} is not there; run geodata verify to find out what must "
                    "be written again"
                )

    def _tensorstore(self) -> Any:
        """Return the array as tensorstore has it, None if it cannot be used here, or does not know it either."""
        process, found = self._fast
        if process == os.getpid():
            return found
        found = None if _state["forked"] else _by_tensorstore(self.where, self.dtype)
        self._fast = os.getpid(), found
        return found


def _by_zarr(href: str, why: str) -> Any:
    import zarr

    with telling(f"{why or f'cannot read {href}'}, and zarr does not know it either"):
        found = zarr.open_array(href, mode="r")
        if "pickle" in json.dumps(found.metadata.to_dict(), default=str).lower():
            raise ReadError(f"cannot read {href}: it is packed as pickled Python objects, which may run code")
        if found.dtype.kind not in "biuf":
            raise ReadError(f"cannot read {href}: it holds {found.dtype}, no real numbers")
        return found


def _by_tensorstore(href: str, dtype: np.dtype[Any]) -> Any:
    try:
        import tensorstore
    except ImportError:
        return None
    try:
        found = tensorstore.open(
            {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{os.path.abspath(href)}/"}}, read=True
        ).result()
    except (ValueError, OSError, NotImplementedError):
        return None  # a codec that zarr knows alone
    return found if found.dtype.numpy_dtype == dtype else None


def _again(href: str, why: str, missing: str) -> ForeignArray:
    return ForeignArray(href, why, missing=missing)
