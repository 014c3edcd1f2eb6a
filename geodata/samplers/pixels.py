"""Labelled pixels of whole scenes: batches with so many pixels of every class, and the split that comes before."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.errors import SamplerError
from geodata.query import Query
from geodata.samplers.arguments import MOST, one_of, whole
from geodata.samplers.base import QuerySampler
from geodata.samplers.draws import uniform64

__all__ = ["StratifiedPixelSampler", "pixel_split"]

_SCENES, _SHUFFLE, _SPLIT = 1, 2**20, 2**40
"""Streams of random numbers: order of scenes, order of the pixels of each class (one each), which pixels are for training."""


def pixel_split(
    labels: Any,
    *,
    per_class: float = 200,
    seed: int = 0,
    background: int | None = 0,
    ignore: Sequence[int] = (),
    short: str = "raise",
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Choose training pixels of every class at random; all other labelled pixels are for testing.

    Neighbours of training pixels are in the test set, as in the publications that work this way: do not compare the
    scores with those of a split by place.

    Parameters
    ----------
    labels : (H, W) integers
    per_class : int >= 1, or 0 < float < 1
        Exactly so many training pixels of each class, or this fraction of it, rounded, and at least one on each side.
    seed : int
    background, ignore : values that are no class, as in `StratifiedPixelSampler`
    short : {"raise", "keep_one"}
        Classes with too few pixels to leave one for testing: refused; or all but one are for training.

    Returns
    -------
    train, test : (H, W) bool, disjoint; together all labelled pixels

    Raises
    ------
    SamplerError
        If a class has one pixel, or too few and not ``short="keep_one"``.

    References
    ----------
    .. [1] Zheng et al., FPGA: fast patch-free global learning framework, TGRS 2020.
    """
    one_of("short", short, "raise", "keep_one")
    whole("seed", seed, 0, 2**64)
    exact = isinstance(per_class, Integral) and not isinstance(per_class, bool)
    if not (exact and per_class >= 1) and not (isinstance(per_class, float) and 0 < per_class < 1):
        raise SamplerError(
            f"per_class={per_class!r} must be a whole number of at least 1, or a fraction between 0 and 1"
        )
    array = _labels(labels)
    flat = array.ravel()
    train = np.zeros(array.size, dtype=bool)
    classes = _classes([array], background, ignore)
    for value in classes:
        at = np.flatnonzero(flat == value)
        n = int(per_class) if exact else max(min(int(per_class * len(at) + 0.5), len(at) - 1), 1)
        if n >= len(at) and (short == "raise" or len(at) == 1):
            raise SamplerError(
                f"class {value} has {len(at)} pixels, and {n} for training would leave none for testing; ask for fewer, "
                "short='keep_one', or ignore the class"
            )
        train[at[_shuffled(len(at), seed, 0, _SPLIT + value)[: min(n, len(at) - 1)]]] = True
    test = np.isin(flat, classes) & ~train
    return train.reshape(array.shape), test.reshape(array.shape)


class StratifiedPixelSampler(QuerySampler):
    """Give a whole scene, with the next few training pixels of every class; the same scene many times.

    Global stochastic stratified sampling: each epoch the pixels of every class are shuffled, and sample k names pixels
    ``k * per_class`` up to ``(k + 1) * per_class`` of each. A class that runs out is left out from there on, its last
    slice may be short, and the epoch ends when the largest class runs out. ``sample["pixels"]`` is True at the pixels.

    Parameters
    ----------
    labels : (H, W) integers, or a dict of row -> (H, W) integers for several scenes
        Scenes are visited in random order, each with its own slices.
    row : int
        Row of the catalog that a single scene is.
    per_class : int >= 1
        Pixels of every class in a sample.
    train : None, int, or float
        As ``per_class`` of `pixel_split`, which then chooses the pixels that are drawn (`train`, `test`); None draws all
        labelled pixels, for example where the labels hold those for training only.
    background : int or None
        The value of pixels without a label; None if all values from 0 are classes.
    ignore : further values that are no class; negative ones never are
    seed, uneven, rank, world : as in `QuerySampler`

    Raises
    ------
    SamplerError
        If labels are no whole numbers (H, W) or hold no class, or ``train`` leaves a class no pixel for testing.

    Attributes
    ----------
    train, test : dict of row -> (H, W) bool
    classes : values in ascending order

    Examples
    --------
    ``StratifiedPixelSampler(labels, per_class=10, train=200)``

    References
    ----------
    .. [1] Zheng et al., FPGA: fast patch-free global learning framework, TGRS 2020.
    """

    def __init__(
        self,
        labels: Any,
        *,
        row: int = 0,
        per_class: int = 10,
        train: float | None = None,
        background: int | None = 0,
        ignore: Sequence[int] = (),
        seed: int = 0,
        uneven: str = "pad",
        rank: int | None = None,
        world: int | None = None,
    ) -> None:
        super().__init__(seed=seed, uneven=uneven, rank=rank, world=world)
        self.per_class = whole("per_class", per_class, 1, MOST)
        given = labels.items() if isinstance(labels, Mapping) else [(row, labels)]
        scenes = {whole("row", r, 0): _labels(array) for r, array in given}
        if not scenes:
            raise SamplerError("labels= holds no scene; give labels (H, W), or a dict of row -> labels")
        self.classes = _classes(list(scenes.values()), background, ignore)
        self.train: dict[int, NDArray[np.bool_]] = {}
        self.test: dict[int, NDArray[np.bool_]] = {}
        for r, array in scenes.items():
            labelled = np.isin(array, self.classes)
            self.train[r], self.test[r] = labelled, np.zeros_like(labelled)
            if train is not None:
                self.train[r], self.test[r] = pixel_split(
                    array, per_class=train, seed=seed, background=background, ignore=ignore
                )
        self._width = {r: array.shape[1] for r, array in scenes.items()}
        self._pixels = {
            r: [np.flatnonzero(self.train[r] & (array == value)) for value in self.classes]
            for r, array in scenes.items()
        }
        count = {r: -(-max(len(p) for p in pixels) // per_class) for r, pixels in self._pixels.items()}
        self._visits = [(r, k) for r, n in count.items() for k in range(n)]
        self._order: tuple[int, list[tuple[int, int]], dict[int, list[NDArray[np.int64]]]] | None = None

    @property
    def total(self) -> int:
        """Samples over all scenes and ranks."""
        return len(self._visits)

    @cached_property
    def plan(self) -> str:
        """Text that is equal for two samplers exactly when they yield the same samples."""
        h = hashlib.sha256()
        for r, pixels in self._pixels.items():
            h.update(repr((r, self._width[r], [len(p) for p in pixels])).encode())
            for held in pixels:
                h.update(held.data)
        return f"{self.per_class} {h.hexdigest()[:16]}"

    def draw(self, indexes: NDArray[np.int64]) -> Iterator[Query]:
        """Yield the samples with the given numbers."""
        visits, shuffled = self._of_epoch()
        for index in indexes.tolist():
            row, k = visits[index]
            part = slice(k * self.per_class, (k + 1) * self.per_class)
            at = np.concatenate([pixels[part] for pixels in shuffled[row]])
            down, across = np.divmod(at, self._width[row])
            chosen = tuple(zip(down.tolist(), across.tolist(), strict=True))
            yield Query(row=row, epoch=self.epoch, index=index, pixels=chosen)

    def _of_epoch(self) -> tuple[list[tuple[int, int]], dict[int, list[NDArray[np.int64]]]]:
        if self._order is None or self._order[0] != self.epoch:
            visits = self._visits
            if len(self._pixels) > 1:
                visits = [visits[i] for i in _shuffled(len(visits), self.seed, self.epoch, _SCENES)]
            shuffled: dict[int, list[NDArray[np.int64]]] = {}
            stream = _SHUFFLE
            for r, held in self._pixels.items():
                shuffled[r] = []
                for pixels in held:
                    shuffled[r].append(pixels[_shuffled(len(pixels), self.seed, self.epoch, stream)])
                    stream += 1
            self._order = self.epoch, visits, shuffled
        return self._order[1], self._order[2]


def _shuffled(n: int, seed: int, epoch: int, stream: int) -> NDArray[np.int64]:
    order: NDArray[np.int64] = np.argsort(uniform64(seed, epoch, np.arange(n), stream), kind="stable")
    return order


def _labels(labels: Any) -> NDArray[np.int64]:
    array = np.asarray(labels)
    if array.ndim != 2 or array.dtype.kind not in "iu" or not array.size:
        raise SamplerError(
            f"labels are {array.dtype} of shape {array.shape}; they must be whole numbers of shape (H, W)"
        )
    return array.astype(np.int64)


def _classes(scenes: Sequence[NDArray[np.int64]], background: int | None, ignore: Sequence[int]) -> tuple[int, ...]:
    if isinstance(ignore, (str, bytes)) or not isinstance(ignore, Iterable):
        raise SamplerError(f"ignore={ignore!r} must be several whole numbers, such as (0, 255)")
    given = [("ignore", value) for value in ignore]
    given += [] if background is None else [("background", background)]
    none = {whole(name, value, -MOST) for name, value in given}
    values = {int(v) for array in scenes for v in np.unique(array)}
    if background == 0 and 0 in values and min(values) < 0:
        raise SamplerError(
            f"labels hold 0 and {min(values)}: if negative values mark pixels without a label, as in masks of geodata, 0 is a class "
            "and background=None; else replace one by the other"
        )
    found = sorted({v for v in values if v >= 0} - none)
    if not found:
        raise SamplerError(f"the labels hold no class: all values are negative or one of {sorted(none)}")
    return tuple(found)
