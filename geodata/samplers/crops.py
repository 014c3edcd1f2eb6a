"""Several views of one place: windows inside a window, and windows of several ground sizes around one centre."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.errors import SamplerError
from geodata.grid import Grid
from geodata.query import Query, queries_of_rows
from geodata.samplers.arguments import one_of, whole
from geodata.samplers.draws import below
from geodata.samplers.random import RandomPatchSampler
from geodata.samplers.windows import catalog_of, sizes_text, step_of, window_sizes, windows_at

__all__ = ["MultiCropSampler", "MultiScaleSampler"]

_DOWN, _ACROSS = 16, 17
"""Streams of random numbers: where a view starts within its parent."""

_VIEWS = 1000
"""More views of one sample are a slip of the pen."""


class MultiCropSampler(RandomPatchSampler):
    """Draw a random window, and windows at random inside it: tuples of queries, the large ones first.

    The parent is drawn as by `RandomPatchSampler`; every place of a view inside it is equally likely. View v of draw i
    has the number ``i * views + v``, so that random transforms treat the views of one sample differently.

    Parameters
    ----------
    data : Dataset or Catalog
    parent, global_size, local_size : int, (height, width), or ground size such as ``"2560m"``
        Pixels of each row's lattice. Views are at most as large as the parent.
    length : int >= 1
        Draws (tuples) per epoch over all ranks.
    n_global, n_local : int >= 0, together at least 1
    small : {"pad", "drop", "raise"}
        Rows smaller than the parent: the part of it that lies in the row is the parent, and views larger than that are
        padded; left out; refused.
    seed, rank, world : as in `QuerySampler`
    options : for the parents, as in `RandomPatchSampler`: ``order``, ``weights``, ``within``, ``counts``...

    Raises
    ------
    SamplerError
        If nothing can be drawn, a view is larger than its parent, or rows of different resolution would share a batch.

    Examples
    --------
    ``MultiCropSampler(ds, parent=512, global_size=224, local_size=96, length=10_000)``
    """

    def __init__(
        self,
        data: Any,
        *,
        parent: Any,
        global_size: Any,
        local_size: Any,
        length: int,
        n_global: int = 2,
        n_local: int = 8,
        seed: int = 0,
        small: str = "pad",
        rank: int | None = None,
        world: int | None = None,
        **options: Any,
    ) -> None:
        if whole("n_global", n_global, 0, _VIEWS) + whole("n_local", n_local, 0, _VIEWS) < 1:
            raise SamplerError("n_global=0 and n_local=0; there must be at least one view")
        super().__init__(data, size=parent, length=length, seed=seed, small=small, rank=rank, world=world, **options)
        mixed = options.get("mixed", False)
        sized = {
            name: window_sizes(catalog_of(data), size, self._step, mixed=mixed)
            for name, size in (("global", global_size), ("local", local_size))
        }
        named = ["global"] * n_global + ["local"] * n_local
        self._views = [sized[name][0] for name in named]
        self.views = tuple(sized[name][1] for name in named)
        for view in self._views:
            over = np.flatnonzero((view > self._sizes).any(axis=1))
            if len(over):
                inner, outer = view[over[0]].tolist(), self._sizes[over[0]].tolist()
                raise SamplerError(
                    f"a view of {inner[0]} x {inner[1]} pixels does not fit into its parent of {outer[0]} x {outer[1]}; "
                    "use a larger parent="
                )

    @cached_property
    def plan(self) -> str:
        """Text that is equal for two samplers exactly when they yield the same samples."""
        texts = [sizes_text(size, sizes) for size, sizes in zip(self.views, self._views, strict=True)]
        return f"{super().plan} {texts}"

    def draw(self, indexes: NDArray[np.int64]) -> Iterator[Any]:
        """Yield the tuples of queries with the given numbers."""
        rows, at = self.places(indexes)
        inside = np.minimum(self._shape[rows] - at, self._sizes[rows])
        views: list[Iterator[Query]] = []
        for v, sizes in enumerate(self._views):
            numbers = indexes * len(self._views) + v
            room = np.maximum((inside - sizes[rows]) // self._step + 1, 1)
            moved = [below(room[:, k], self._numbers(numbers, stream)) for k, stream in enumerate((_DOWN, _ACROSS))]
            windows = windows_at(at + np.stack(moved, axis=1) * self._step, self.views[v] or sizes[rows])
            views.append(queries_of_rows(rows.tolist(), windows, self.epoch, numbers.tolist()))
        return zip(*views, strict=True)


class MultiScaleSampler(RandomPatchSampler):
    """Draw windows of several ground sizes around one centre, each read at the same number of pixels.

    A view of scale s is a window of ``size * s`` pixels of the row, read on the grid with pixels s times as large, by the
    dataset's resampling. Scale 1 is a plain window. All views of a sample have one draw number, so that transforms treat
    them alike.

    Parameters
    ----------
    data : Dataset or Catalog
    size : int, (height, width), or ground size such as ``"2560m"``
        Pixels of each row's lattice at scale 1, and pixels of every view: the same number in all rows.
    length : int >= 1
        Draws (tuples) per epoch over all ranks.
    scales : whole numbers >= 1, all different
    small : {"drop", "pad", "raise"}
        Rows smaller than the largest window: left out (`small_rows` of them), or refused. With ``"pad"`` every window of
        the smallest scale is drawn in every row, also at edges, and the larger views reach out (``valid`` False there).
    seed, rank, world : as in `QuerySampler`
    options : for the largest windows (``"pad"``: the smallest), as in `RandomPatchSampler`

    Raises
    ------
    SamplerError
        If windows of two scales cannot have the same centre on whole pixels, or nothing can be drawn.

    Examples
    --------
    ``MultiScaleSampler(ds, size=128, length=10_000, scales=(1, 2, 4))``
    """

    def __init__(
        self,
        data: Any,
        *,
        size: Any,
        length: int,
        scales: Sequence[int] = (1, 2, 4),
        seed: int = 0,
        small: str = "drop",
        rank: int | None = None,
        world: int | None = None,
        **options: Any,
    ) -> None:
        one_of("small", small, "pad", "drop", "raise")
        if not isinstance(scales, Sequence) or isinstance(scales, str):
            raise SamplerError(f"scales={scales!r} must be several whole numbers, such as (1, 2, 4)")
        self.scales = scales = tuple(whole("a scale", scale) for scale in scales)
        if not scales or len(set(scales)) < len(scales):
            raise SamplerError(f"scales {scales} must be one or more, and all different")
        catalog, step = catalog_of(data), step_of(data)
        if not catalog.has_crs and scales != (1,):
            raise SamplerError(
                "rows without a CRS have no ground sample distance and cannot be resampled; MultiCropSampler draws windows of "
                "several sizes in pixels"
            )
        view = window_sizes(catalog, size, step, mixed=options.get("mixed", False))[1]
        if view is None:
            raise SamplerError(
                f"size={size!r} is of different pixels in different rows; give pixels: views have one size"
            )
        self.view = height, width = view
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
        fp = self._catalog.footprints
        lattices, codes = fp.affine[rows].tolist(), fp.code[rows].tolist()
        for row, start, index, lattice, code in zip(
            rows.tolist(), at.tolist(), indexes.tolist(), lattices, codes, strict=True
        ):
            yield tuple(self._query(row, start, scale, index, lattice, fp.crs[code]) for scale in self.scales)

    def _query(self, row: int, start: list[int], scale: int, index: int, lattice: list[float], crs: Any) -> Query:
        r, q = (s + int(shift) for s, shift in zip(start, self._shifts[scale], strict=True))
        if scale == 1:
            return Query(row=row, window=(r, q, *self.view), epoch=self.epoch, index=index)
        a, b, c, d, e, f = lattice
        numbers = (a * scale, b * scale, a * q + b * r + c, d * scale, e * scale, d * q + e * r + f)
        return Query(row=row, grid=Grid(self.view, numbers, crs), epoch=self.epoch, index=index)
