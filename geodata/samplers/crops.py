"""Several views of one place: windows inside a window, and windows of several ground sizes around one centre."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.errors import SamplerError
from geodata.query import Query, queries_of_rows
from geodata.samplers.base import catalog_of, window_sizes, windows_at
from geodata.samplers.draws import WindowSampler

__all__ = ["MultiCropSampler", "MultiScaleSampler"]

_DOWN, _ACROSS = 16, 17
"""Streams of random numbers: where a view starts within its parent."""


class MultiCropSampler(WindowSampler):
    """Draw a random window, and windows at random inside it: tuples of queries, the large ones first.

    The parent is drawn as by `RandomPatchSampler`; every place of a view inside it is equally likely. View v of draw i
    has the number ``i * views + v``, so that random transforms treat the views of one sample differently.

    Parameters
    ----------
    data : Dataset or Catalog
    parent, global_size, local_size : int, (height, width), or ground size such as ``"2560m"``
        Pixels of each row's lattice. Views are at most as large as the parent.
    n_global, n_local : int >= 0, together at least 1
    length : int >= 1
        Draws (tuples) per epoch over all ranks.
    small : {"pad", "drop", "raise"}
        Rows smaller than the parent: the part of it that lies in the row is the parent, and views larger than that are
        padded; left out; refused.
    seed, rank, world : as in `QuerySampler`
    options : for the parents, as in `RandomPatchSampler`: ``order``, ``weights``, ``within``, ``counts``...

    Raises
    ------
    SamplerError
        If nothing can be drawn, a view is larger than its parent, or rows of different resolution would share a batch.
    """

    def __init__(
        self,
        data: Any,
        *,
        parent: Any,
        global_size: Any,
        local_size: Any,
        n_global: int = 2,
        n_local: int = 8,
        length: int,
        seed: int = 0,
        small: str = "pad",
        rank: int | None = None,
        world: int | None = None,
        **options: Any,
    ) -> None:
        if min(n_global, n_local) < 0 or n_global + n_local < 1:
            raise SamplerError(f"{n_global} global and {n_local} local views; there must be at least one view")
        super().__init__(data, size=parent, length=length, seed=seed, small=small, rank=rank, world=world, **options)
        catalog, self._step = catalog_of(data), int(getattr(data, "step", 1))
        self.parent = window_sizes(catalog, parent, self._step)[1]
        wanted = [global_size] * n_global + [local_size] * n_local
        self.views = tuple(window_sizes(catalog, size, self._step)[1] for size in wanted)
        for view in self.views:
            if view[0] > self.parent[0] or view[1] > self.parent[1]:
                raise SamplerError(f"a view of {view} pixels does not fit into its parent of {self.parent}")
        self._shape = catalog.shape

    @cached_property
    def plan(self) -> str:
        """Text that is equal for two samplers exactly when they yield the same samples."""
        return f"{super().plan} {self.views}"

    def draw(self, indexes: NDArray[np.int64]) -> Iterator[Any]:
        """Yield the tuples of queries with the given numbers."""
        rows, at = self.places(indexes)
        inside = np.minimum(self._shape[rows] - at, self.parent)
        views: list[Iterator[Query]] = []
        for v, size in enumerate(self.views):
            numbers = indexes * len(self.views) + v
            room = np.maximum((inside - size) // self._step + 1, 1)
            moved = [self._below(room[:, k], numbers, stream) for k, stream in enumerate((_DOWN, _ACROSS))]
            start = at + np.stack(moved, axis=1) * self._step
            views.append(queries_of_rows(rows.tolist(), windows_at(start, size), self.epoch, numbers.tolist()))
        yield from zip(*views, strict=True)


class MultiScaleSampler(WindowSampler):
    """Draw windows of several ground sizes around one centre, each read at the same number of pixels.

    A view of scale s is a window of ``size * s`` pixels of the row, read on the grid with pixels s times as large, by the
    dataset's resampling. Scale 1 is a plain window. All views of a sample have one draw number, so that transforms treat
    them alike.

    Parameters
    ----------
    data : Dataset or Catalog
    size : int, (height, width), or ground size such as ``"2560m"``
        Pixels of each row's lattice at scale 1, and pixels of every view.
    scales : whole numbers >= 1, all different
    length : int >= 1
        Draws (tuples) per epoch over all ranks.
    small : {"drop", "pad", "raise"}
        Rows smaller than the largest window: left out (`small_rows` of them), or refused. With ``"pad"`` every window of
        the smallest scale is drawn in every row, also at edges, and the larger views reach out (``valid`` False there).
    seed, rank, world : as in `QuerySampler`
    options : for the largest windows (``"pad"``: the smallest), as in `RandomPatchSampler`

    Raises
    ------
    SamplerError
        If windows of two scales cannot have the same centre on whole pixels, or nothing can be drawn.
    """

    def __init__(
        self,
        data: Any,
        *,
        size: Any,
        scales: Sequence[int] = (1, 2, 4),
        length: int,
        seed: int = 0,
        small: str = "drop",
        rank: int | None = None,
        world: int | None = None,
        **options: Any,
    ) -> None:
        scales = tuple(scales)
        if not scales or len(set(scales)) < len(scales) or not all(type(s) is int and s >= 1 for s in scales):
            raise SamplerError(f"scales {scales} must be different whole numbers of at least 1")
        catalog, step = catalog_of(data), int(getattr(data, "step", 1))
        self.view = height, width = window_sizes(catalog, size, step)[1]
        self.scales = scales
        drawn = min(scales) if small == "pad" else max(scales)
        super().__init__(
            data,
            size=(height * drawn, width * drawn),
            length=length,
            seed=seed,
            small=small,
            rank=rank,
            world=world,
            **options,
        )
        self._shifts = {s: (height * (drawn - s) / 2, width * (drawn - s) / 2) for s in scales}
        self._check_centres(drawn, step)
        self._catalog = catalog

    def _check_centres(self, drawn: int, step: int) -> None:
        for scale, shift in self._shifts.items():
            if any(v % 1 for v in shift):
                raise SamplerError(
                    f"windows of {self.view} pixels at scales {drawn} and {scale} cannot have one centre on whole pixels; "
                    "use an even size, or scales that are all odd or all even"
                )
            if scale == 1 and any(v % step for v in shift):
                raise SamplerError(
                    f"the window of scale 1 would start {shift} pixels inside that of scale {drawn}, which is no multiple of "
                    f"the native ratio {step}; use a size that is a multiple of {2 * step}"
                )

    @cached_property
    def plan(self) -> str:
        """Text that is equal for two samplers exactly when they yield the same samples."""
        return f"{super().plan} {self.view} {self.scales}"

    def draw(self, indexes: NDArray[np.int64]) -> Iterator[Any]:
        """Yield the tuples of queries with the given numbers, in the order of `scales`."""
        rows, at = self.places(indexes)
        for row, start, index in zip(rows.tolist(), at.tolist(), indexes.tolist(), strict=True):
            yield tuple(self._query(row, start, scale, index) for scale in self.scales)

    def _query(self, row: int, start: list[int], scale: int, index: int) -> Query:
        down, across = (int(v) for v in self._shifts[scale])
        window = (start[0] + down, start[1] + across, self.view[0] * scale, self.view[1] * scale)
        if scale == 1:
            return Query(row=row, window=window, epoch=self.epoch, index=index)
        return Query(row=row, grid=self._catalog.grid(row, window).coarser(scale), epoch=self.epoch, index=index)
