"""Fitting statistics: one pass over a dataset, in blocks, with the loader's threads."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch

from geodata.bands import Bands
from geodata.dataset import Dataset
from geodata.errors import BandsError, TransformError
from geodata.loader import Loader
from geodata.query import Query
from geodata.statistics.tally import Tally

__all__ = ["summaries"]

BATCH, BLOCK = 1 << 23, 1 << 26
"""Numbers of a batch of small items, and of a block of a large one, at most."""

SIDE = 1024
"""Pixels: the side of a block, or a power of two below that if there are many bands."""


def summaries(
    dataset: Dataset, *, keys: Sequence[str] | None, percentiles: Sequence[float], threads: int, progress: bool
) -> dict[str, dict[str, Any]]:
    """Return what is known of the bands of every image, or of those under ``keys``.

    Raises
    ------
    TransformError
        If there is nothing to take statistics of.
    BandsError
        If items have other bands than the first.
    """
    if not isinstance(dataset, Dataset) or not dataset.catalog.lattice or not len(dataset):
        raise TransformError(f"statistics need a dataset with rows of pixels, got {dataset!r:.200}")
    tallies: dict[str, Tally] = {}
    batches = list(_batches(dataset))
    # Statistics need no GPU: pinned memory would be taken from what does.
    loader = Loader(dataset, batch_sampler=batches, threads=threads, prefetch=1, pin_memory=False)
    for batch in _shown(loader, len(batches), progress):
        _check_blocks(batch)
        for key in _images(batch, keys):
            _take_in(tallies, key, batch)
    for key, tally in tallies.items():
        if not tally.count:
            raise TransformError(
                f"no pixel of {key!r} is valid in any of {len(dataset)} items; there are no statistics"
            )
    return {key: tally.summary(percentiles) for key, tally in tallies.items()}


def _check_blocks(batch: dict[str, Any]) -> None:
    """Refuse transforms that would be run on each block of a large item, and do something else to the whole of it."""
    for query, grid in zip(batch.get("query", ()), batch.get("grid", ()), strict=False):
        if query.window is not None and grid.shape != query.window[2:]:
            raise TransformError(
                f"{batch['key'][0]!r} is too large to be read at once, and the transforms make {grid.shape} pixels of a block "
                f"of {query.window[2:]}; take statistics before: ds.transformed(None), or of smaller items: ds.tile(1024)"
            )


def _images(batch: dict[str, Any], keys: Sequence[str] | None) -> list[str]:
    found = [key for key in batch if key == "image" or key.startswith("image_")]
    lacking = sorted(set(keys or ()) - set(found))
    if lacking or not found:
        raise TransformError(
            f"no image under {', '.join(lacking) or 'any key'}; there are {', '.join(found) or 'none'}"
        )
    return found if keys is None else list(keys)


def _take_in(tallies: dict[str, Tally], key: str, batch: dict[str, Any]) -> None:
    image, bands = batch[key], batch.get("bands" + key.removeprefix("image"))
    if not isinstance(image, torch.Tensor) or not isinstance(bands, Bands):
        raise TransformError(f"statistics need a tensor under {key!r} and one Bands that names its bands")
    if image.ndim < 4 or image.shape[-3] != len(bands):
        raise BandsError(
            f"{key!r} of {batch['key'][0]!r} has shape {tuple(image.shape)} and {len(bands)} bands: {bands!r}"
        )
    if bands.state == "normalised":
        raise TransformError(f"{key!r} is normalised already; take statistics before: ds.transformed(None)")
    if image.dtype == torch.bfloat16:
        image = image.float()
    numbers = image.detach().cpu().numpy()
    tally = tallies.get(key)
    if tally is None:
        tally = tallies[key] = Tally(bands, numbers.dtype)
    if (bands.names, bands.state) != (tally.bands.names, tally.bands.state):
        raise BandsError(f"{key!r} of {batch['key'][0]!r} has {bands!r}; items before it have {tally.bands!r}")
    valid = batch.get("valid" + key.removeprefix("image"))
    shape = (len(numbers), -1, *numbers.shape[-3:])
    dates = numbers.reshape(shape)
    seen = np.ones((*dates.shape[:2], *dates.shape[-2:]), dtype=np.bool_)
    if valid is not None:
        seen = valid.cpu().numpy().reshape(seen.shape)
    for name, image_dates, seen_dates in zip(batch["key"], dates, seen, strict=True):
        for one, known in zip(image_dates, seen_dates, strict=True):
            tally.add(one, known, name)


def _batches(dataset: Dataset) -> Iterator[list[Query]]:
    """Yield queries that cover every item once, those of equal size together."""
    channels = 1 if dataset.bands is None else len(dataset.bands)
    side = SIDE
    while side > 64 and side * side * channels > BLOCK:
        side //= 2
    for (height, width), queries in groupby(_queries(dataset, side), key=lambda found: found[0]):
        # Dates of a series differ in number, and then they are no batch.
        most = 1 if dataset.dated else min(max(BATCH // max(height * width * channels, 1), 1), 64)
        group = [query for _, query in queries]
        yield from (group[at : at + most] for at in range(0, len(group), most))


def _queries(dataset: Dataset, side: int) -> Iterator[tuple[tuple[int, int], Query]]:
    """Yield the size and the query of each item, or of each block of a large one."""
    step = dataset.step
    side = max(side // step, 1) * step
    for row, (height, width) in enumerate(dataset.catalog.shape.tolist()):
        if height <= side and width <= side:
            yield (height, width), Query(row=row, index=row)
            continue
        for r in range(0, height, side):
            for c in range(0, width, side):
                # Whole native pixels: what reaches out of the item is read as not valid.
                h, w = (-(-min(side, most - at) // step) * step for most, at in ((height, r), (width, c)))
                yield (h, w), Query(row=row, window=(r, c, h, w), index=row)


def _shown(loader: Loader, total: int, progress: bool) -> Iterable[Any]:
    if progress and sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track

        return track(loader, "Taking statistics", total=total, console=Console(stderr=True))
    return loader
