"""Random subsets of the bands of an image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geodata.bands import Bands
from geodata.errors import BandsError, TransformError
from geodata.transforms.base import check_probability, check_seed
from geodata.transforms.draws import Draws
from geodata.transforms.image import ImageTransform
from geodata.transforms.layout import is_batch
from geodata.transforms.spectral.channels import band_mask_of

__all__ = ["RandomBands"]


class RandomBands(ImageTransform):
    """Keep a random subset of the bands of each sample; the others become 0 and are marked.

    A batch has one set of bands, so none is taken away: ``band_mask``, bool (C,) or (B, C), is True where a band is kept.
    A network for any number of bands uses it to leave tokens out. Bands that ``band_mask`` marks already as not observed
    are never chosen, and at least one band is kept. All times of a series keep the same bands.

    Parameters
    ----------
    keep : int, [least, most], or {epoch: either}
        How many bands: the number is drawn uniformly, then which ones, as in hierarchical channel sampling. A mapping is
        a schedule that gives the number from each epoch on, its first epoch being 0. More than there are means all.
    p : float in [0, 1)
        Instead of ``keep``: probability that a band is dropped, each on its own. If all would be, one stays.
    groups : lists of names or common names
        Bands that stay or go together and count as one; every band that is in none is one by itself.
    seed : int in [0, 2**63)
    key : "image" or "image_<name>"

    Raises
    ------
    TransformError
        If an argument is out of range; on a batch without ``draw`` [epoch, index], or without any observed band.
    BandsError
        On an image that lacks a band of a group.

    Examples
    --------
    >>> sample = {"draw": torch.tensor([0, 3]), "image": torch.ones(4, 1, 1), "bands": Bands(["a", "b", "c", "d"])}
    >>> out = RandomBands(keep=2)(sample)
    >>> out["band_mask"].sum(), bool((out["image"].flatten() == out["band_mask"]).all())
    (tensor(2), True)

    References
    ----------
    .. [1] Y. Bao, S. Sivanandan, T. Karaletsos, "Channel Vision Transformers: An Image Is Worth 1 x 16 x 16 Words",
       ICLR 2024, section 3.2: hierarchical channel sampling is ``keep=[1, C]``.
    """

    def __init__(
        self,
        *,
        keep: int | Iterable[int] | Mapping[int | str, int | Iterable[int]] | None = None,
        p: float | None = None,
        groups: Iterable[Iterable[str]] = (),
        seed: int = 0,
        key: str = "image",
    ) -> None:
        super().__init__(key)
        if (keep is None) == (p is None):
            raise TransformError("give RandomBands either keep, how many bands stay, or p, the chance of each to go")
        self.schedule = None if keep is None else _schedule(keep)
        self.p = None if p is None else check_probability(p)
        if self.p == 1.0:
            raise TransformError("p 1 drops every band; it must be below 1")
        self.groups = [_group(names) for names in groups]
        self.seed = check_seed(seed)
        self.mask = f"band_mask{self.suffix}"
        self.reads = (*self.reads, "key", "draw", self.mask)
        self.writes = (*self.writes, self.mask)

    def run(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
        """Draw the bands of each sample, and put the others to 0."""
        out = super().run(batch, draws)
        image, bands = batch[self.key], batch[f"bands{self.suffix}"]
        kept = torch.from_numpy(self._draw(batch, bands, draws)).to(image.device)
        if not is_batch(batch):
            kept = kept[0]
        rows = kept.reshape(kept.shape[:-1] + (1,) * (image.ndim - kept.ndim - 2) + (kept.shape[-1], 1, 1))
        # Not a product: infinite or NaN times 0 is not 0.
        return {
            **out,
            self.key: torch.where(rows, image, torch.zeros((), dtype=image.dtype, device=image.device)),
            self.mask: kept,
        }

    def change(self, image: Tensor, bands: Bands, batch: Mapping[str, Any], draws: Draws) -> tuple[Tensor, Bands]:
        """Leave the bands as they are."""
        return image, bands

    def _draw(self, batch: Mapping[str, Any], bands: Bands, draws: Draws) -> NDArray[np.bool_]:
        """(B, C) which bands of each sample are kept."""
        unit = self._units(bands)
        n = int(unit.max()) + 1
        u = self.uniform(batch, draws, n + 1)
        observed = band_mask_of(batch, self.key)
        seen = (
            np.ones((len(u), len(bands)), dtype=bool)
            if observed is None
            else observed.reshape(len(u), -1).cpu().numpy()
        )
        there = np.stack([seen[:, unit == k].any(axis=1) for k in range(n)], axis=1)
        if not there.any(axis=1).all():
            raise TransformError(f"a sample of {self.key!r} has no observed band ({self.mask!r} is all False)")
        rank = np.argsort(np.argsort(np.where(there, u[:, :n], 2.0), axis=1, kind="stable"), axis=1)
        if self.p is not None:
            stays = (u[:, :n] >= self.p) & there
            # The last of a ranking is the last to be dropped, so that no other draw changes.
            last = rank == there.sum(axis=1, keepdims=True) - 1
            stays |= last & ~stays.any(axis=1, keepdims=True)
        else:
            stays = (rank < self._counts(batch, u[:, n], there.sum(axis=1))[:, None]) & there
        kept: NDArray[np.bool_] = stays[:, unit] & seen
        return kept

    def _units(self, bands: Bands) -> NDArray[np.int64]:
        """(C,) which unit each band belongs to."""
        unit = np.full(len(bands), -1)
        for k, names in enumerate(self.groups):
            for i in (bands.position(name) for name in names):
                if unit[i] >= 0:
                    raise BandsError(f"band {bands[i].name!r} is named twice in the groups of RandomBands")
                unit[i] = k
        alone = unit < 0
        unit[alone] = len(self.groups) + np.arange(alone.sum())
        return unit

    def _counts(self, batch: Mapping[str, Any], u: NDArray[np.float64], there: NDArray[np.int64]) -> NDArray[np.int64]:
        schedule = self.schedule or {}
        epochs = batch["draw"].reshape(-1, 2)[:, 0].tolist()
        ranges = [schedule[max(first for first in schedule if first <= max(epoch, 0))] for epoch in epochs]
        least, most = (np.minimum([r[side] for r in ranges], there) for side in (0, 1))
        counts: NDArray[np.int64] = least + np.floor(u * (most - least + 1)).astype(np.int64)
        return counts

    def config(self) -> dict[str, Any]:
        """Return keep or p, groups, seed and key."""
        keep = None if self.schedule is None else {str(k): list(v) for k, v in self.schedule.items()}
        if keep is not None and list(keep) == ["0"]:
            how: dict[str, Any] = {"keep": keep["0"]}
        else:
            how = {"p": self.p} if keep is None else {"keep": keep}
        return {**how, "groups": [list(names) for names in self.groups], "seed": self.seed, "key": self.key}

    @property
    def effect(self) -> str:
        """Drops at random."""
        return f"{self.key}: some bands 0; {self.mask}"


def _schedule(keep: Any) -> dict[int, tuple[int, int]]:
    if not isinstance(keep, Mapping):
        return {0: _range(keep)}
    try:
        steps = {int(epoch): _range(value) for epoch, value in keep.items()}
    except ValueError:
        steps = {}
    if not steps or min(steps) != 0:
        raise TransformError(f"keep {keep!r} must give epochs, the first of them 0: {{0: [8, 13], 10: [1, 13]}}")
    return dict(sorted(steps.items()))


def _range(value: Any) -> tuple[int, int]:
    ends = [value, value] if isinstance(value, int) else list(value) if isinstance(value, Iterable) else []
    whole = len(ends) == 2 and all(isinstance(n, int) and not isinstance(n, bool) for n in ends)
    if not whole or not 1 <= ends[0] <= ends[1]:
        raise TransformError(f"keep {value!r} must be a whole number of bands, 1 or more, or [least, most]")
    return ends[0], ends[1]


def _group(names: Any) -> tuple[str, ...]:
    items = () if isinstance(names, str) or not isinstance(names, Iterable) else tuple(names)
    if not items or not all(isinstance(name, str) for name in items):
        raise TransformError(f"a group of RandomBands is a list of names, got {names!r}")
    return items
