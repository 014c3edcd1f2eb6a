"""Random windows: every admissible window equally likely, every draw a pure function of three integers."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.counts import PixelCounts
from geodata.errors import SamplerError
from geodata.samplers.arguments import one_of
from geodata.samplers.conditions.admissible import Admissible, row_weights, rules_of
from geodata.samplers.draws import below
from geodata.samplers.storage import StorageOrder
from geodata.samplers.windows import WindowSampler, catalog_of

__all__ = ["RandomPatchSampler"]


class RandomPatchSampler(WindowSampler):
    """Draw a window at random from an item's own lattice.

    Parameters
    ----------
    data : Dataset or Catalog
    size : int, (height, width), or ground size such as ``"2560m"``
        Pixels of each row's lattice.
    length : int >= 1
        Draws per epoch over all ranks; each of w ranks makes ceil(length / w), the extra ones being new draws.
    seed : int
        Draw i of epoch e is a pure function of (seed, e, i), whatever the workers, ranks and platform.
    small : {"pad", "drop", "raise"}
        Rows smaller than the window: one window from the upper left corner, padded with ``valid`` False; left out; refused.
        `small_rows` says how many there are.
    order : {"random", "storage"}
        ``"storage"`` makes `VISIT` draws (32) from each region (512 pixels square, for the starts) that it visits, so that a
        strip or tile is decoded for many windows and not for one. Each draw is still uniform over all windows and an epoch
        covers the items evenly, but draws of one visit are neighbours: batches are less varied.
    buffer : int, a multiple of 32
        With ``order="storage"``: draws that are shuffled among each other, from ``buffer // 32`` regions. So many regions
        are decoded at a time, each with a margin of one window: 8 regions of 768 pixels square by default. Worker
        processes and ranks decode each for themselves.
    weights : str, (N,) numbers >= 0, or None
        A column or one number per row: a row's chance is its number of windows times its weight.
    within, crs : polygons and their CRS, or None
        Only windows in a region: a shapely polygon, a list of them, or GeoJSON, in any CRS. A pixel is inside if its centre
        is, brought to that CRS; so holes and hollows come out right. See `geodata.samplers.region.Region`.
    min_within : float, (0, 1]
        Least share of a window's pixels inside the region; 1 is wholly inside. Padding does not count.
    counts, min_valid : PixelCounts of this dataset, and float, (0, 1], or None
        Only windows with at least this share of valid pixels; padding is not valid. Exact for counts of single pixels
        (``cell=1``). With larger cells a window is drawn only if the counts prove it: cells wholly in it, and of those that
        it cuts what they must hold even if all their invalid pixels lay in it. So some windows just above the share are
        never drawn, and none below it is.
    mixed : bool
        Whether rows may differ in resolution, and so in the size of a window on the ground or in pixels. Then `size` is None
        if sizes in pixels differ; batch such windows with `GroupedBatchSampler`.
    rank, world : as in `QuerySampler`

    Notes
    -----
    A window is a start row and column of one item, so an item's chance is its number of windows. Corners are as likely
    as any other place; pixels near an edge lie in fewer windows. Starts are multiples of the dataset's native ratio.
    With ``weights``, ``within`` or ``counts`` every window that is admissible is still as likely as any other of its row.

    Raises
    ------
    SamplerError
        If nothing can be drawn, no window meets ``within`` or ``min_valid``, one of these is asked for in the order of
        storage, or rows of different resolution would share a batch.

    Examples
    --------
    ``RandomPatchSampler(ds, size=256, length=10_000, within=polygon, crs="EPSG:4326")``
    """

    def __init__(
        self,
        data: Any,
        *,
        size: Any,
        length: int,
        seed: int = 0,
        small: str = "pad",
        order: str = "random",
        buffer: int = 256,
        weights: Any = None,
        within: Any = None,
        crs: Any = None,
        min_within: float = 1.0,
        counts: PixelCounts | None = None,
        min_valid: float | None = None,
        mixed: bool = False,
        rank: int | None = None,
        world: int | None = None,
    ) -> None:
        super().__init__(data, size=size, length=length, seed=seed, small=small, mixed=mixed, rank=rank, world=world)
        one_of("order", order, "random", "storage")
        catalog, rooms = catalog_of(data), self._rooms
        self._ends = np.cumsum(rooms.prod(axis=1))
        self._storage: StorageOrder | None = None
        self._chosen: Admissible | None = None
        rules = rules_of(catalog, within, crs, min_within, counts, min_valid)
        if order == "storage":
            if rules or weights is not None:
                raise SamplerError(
                    "weights=, within= and counts= need order='random'; in storage order all windows are alike"
                )
            self._storage = StorageOrder(
                rooms, step=self._step, length=length, buffer=buffer, seed=seed, name=lambda row: catalog.key[row]
            )
        elif rules or weights is not None:
            chances = None if weights is None else row_weights(catalog, weights)
            self._chosen = Admissible(rooms, self._sizes, catalog.shape, self._step, rules, chances)

    @property
    def windows(self) -> int:
        """How many different windows there are; with ``within`` or ``counts`` at most so many."""
        return int(self._ends[-1]) if self._chosen is None else self._chosen.windows

    @cached_property
    def plan(self) -> str:
        """Text that is equal for two samplers exactly when they yield the same samples."""
        order = self._storage or self._chosen
        return f"{self._said} {self.windows}{'' if order is None else f' {order.plan}'}"

    def places(self, indexes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (n,) catalog rows and (n, 2) start rows and columns of draws, without making queries."""
        if self._storage is not None:
            rows, at = self._storage.places(self.epoch, indexes)
        elif self._chosen is not None:
            rows, at = self._chosen.places(self.seed, self.epoch, indexes)
        else:
            pick = below(self._ends[-1], self._numbers(indexes, 0))
            rows = np.searchsorted(self._ends, pick, side="right")
            within = pick - np.where(rows > 0, self._ends[rows - 1], 0)
            across = self._rooms[rows, 1]
            at = np.stack([within // across, within % across], axis=1)
        return rows, at * self._step
