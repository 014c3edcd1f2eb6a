"""What all exports share: what is exported, a bar, and errors of the disk in words."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.dataset import Dataset
from geodata.errors import GeodataError, StoreError
from geodata.fields import Field
from geodata.spec import Content
from geodata.store.contents import contents_of
from geodata.store.source import StoredArray, arrays_of, fields_to_store

__all__ = ["Exported", "discard", "exported", "progress_bar", "writing"]


@dataclass(frozen=True)
class Exported:
    """What an export takes from a dataset.

    Parameters
    ----------
    catalog : Catalog
        Its rows, in their order.
    arrays : the images and masks, as they are stored
    contents : what is known of each, by sample key
    fields : parts of a sample
    """

    catalog: Catalog
    arrays: tuple[StoredArray, ...]
    contents: dict[str, Content]
    fields: Sequence[Field]

    def has(self, array: StoredArray) -> NDArray[np.bool_]:
        """Return (N,) which rows have an array."""
        return np.ones(len(self.catalog), bool) if array.absent is None else ~array.absent


def exported(dataset: Dataset) -> Exported:
    """Return what an export takes from a dataset.

    Raises
    ------
    StoreError
        If it is made of other datasets, has transforms, no items, neither images nor masks, or tiles that start between
        coarse pixels.
    """
    stored = fields_to_store(dataset)
    catalog = dataset.catalog
    contents = {c.key: c for c in contents_of(dataset, stored)}
    arrays = arrays_of(catalog, stored)
    if not arrays:
        raise StoreError("the dataset has neither images nor masks; there is nothing to export")
    for array in arrays:
        odd = np.flatnonzero((catalog.origin % array.ratio).any(axis=1))
        if array.size is None and len(odd):
            raise StoreError(
                f"{len(odd)} tiles start between pixels of {array.name}, first {catalog.key[odd[0]]!r}; cut tiles whose "
                f"sides are multiples of {array.ratio}"
            )
    return Exported(catalog, tuple(arrays), contents, stored)


@contextmanager
def writing(place: Path, *also: type[Exception]) -> Iterator[None]:
    """Turn what is raised over files that are written into a StoreError.

    Parameters
    ----------
    also : errors of the library that writes them
    """
    raised: tuple[type[Exception], ...] = (OSError, *also)
    try:
        yield
    except GeodataError:
        raise
    except raised as error:
        raise _told(place, error) from None


def _told(place: Path, error: Exception) -> StoreError:
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
        return StoreError(f"cannot write {place}: the disk is full; free some space and run the same export again")
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreError(f"cannot write {place}: {os.strerror(number)}; choose a place that can be written to")
    return StoreError(f"cannot write {place}: {getattr(error, 'strerror', None) or error}")


def discard(folder: Path) -> None:
    """Remove a folder with all that is in it, if it is there; what the disk does not let go of stays."""
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def progress_bar(what: str, items: int, shown: bool) -> Iterator[Any]:
    """Yield a function to be called after each item; it moves a bar with the time left on a terminal."""
    if not (shown and items and sys.stderr.isatty()):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as display:
        bar = display.add_task("", total=items)
        yield lambda: display.advance(bar)
