"""Hard examples more often: what had a large loss is drawn more, and the loss weighted so that its mean stays true."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geodata.errors import SamplerError
from geodata.query import Query
from geodata.samplers.arguments import number
from geodata.samplers.base import QuerySampler
from geodata.samplers.draws import DrawSampler, share
from geodata.samplers.grid import GridPatchSampler
from geodata.samplers.items import ItemSampler

__all__ = ["HardExampleSampler"]

_UNIT = 16
"""Stream of random numbers."""


class HardExampleSampler(DrawSampler):
    """Draw an item, or a window of a grid, with a chance that follows its loss.

    Units are whole items, or the windows of a regular grid over them. With w = (running mean of the loss) ** alpha, unit
    i of N has the chance ``p = (1 - mix) / N + mix * w / sum(w)``, and its query the weight ``1 / (N * p)``: the mean over
    draws of weight times loss is, in expectation, the plain mean over all units.

    `update` collects losses; `set_epoch` makes them count, so that the draws of an epoch stay a function of the state at
    its start. A unit's losses of one epoch are averaged first: order and ranks do not matter.

    ``for batch in loader: losses = f(batch); (losses * batch["weight"]).mean().backward(); sampler.update(batch, losses)``

    Parameters
    ----------
    data : Dataset or Catalog
    size : None, int, (height, width), or ground size such as ``"2560m"``
        None: whole items. Else the windows of ``GridPatchSampler(data, size=size)``.
    length : int >= 1
        Draws per epoch over all ranks, with replacement.
    alpha : float >= 0
        How strongly chances follow losses; 0 not at all.
    mix : float, 0 <= mix < 1
        The share of draws that follows losses; the rest is even. Weights are at most ``1 / (1 - mix)``.
    momentum : float, 0 <= momentum < 1
        How much of a unit's running mean stays when it was drawn in an epoch. Units not drawn yet have the mean w.
    seed, rank, world : as in `QuerySampler`

    Raises
    ------
    SamplerError
        If an option is out of its range, or no window of the size fits.

    Attributes
    ----------
    means : (N,) float64, running mean of each unit's loss; NaN where not drawn yet

    Notes
    -----
    With several processes `set_epoch` is called in all of them, as it adds up their losses. A state saved within an epoch
    holds the losses of all ranks up to the last `sync`, and those of its own rank.

    Examples
    --------
    ``HardExampleSampler(ds, size=256, length=10_000, mix=0.5)``
    """

    def __init__(
        self,
        data: Any,
        *,
        size: Any = None,
        length: int,
        alpha: float = 1.0,
        mix: float = 0.5,
        momentum: float = 0.9,
        seed: int = 0,
        rank: int | None = None,
        world: int | None = None,
    ) -> None:
        super().__init__(length=length, seed=seed, rank=rank, world=world)
        self.alpha = number("alpha", alpha, 0, np.inf)
        self.mix = number("mix", mix, 0, 1, high_open=True)
        self.momentum = number("momentum", momentum, 0, 1, high_open=True)
        self._units: QuerySampler = (
            ItemSampler(data, rank=0, world=1) if size is None else GridPatchSampler(data, size=size, rank=0, world=1)
        )
        self.data_digest = self._units.data_digest
        self.means = np.full(self.units, np.nan)
        self._own = np.zeros((2, self.units))
        self._shared = np.zeros((2, self.units))
        self._refresh()

    @property
    def units(self) -> int:
        """How many units there are: N."""
        return self._units.total

    @cached_property
    def plan(self) -> str:
        """Text that is equal for two samplers exactly when they yield the same samples from the same state."""
        return f"{self._units.digest} {self.length} {self.alpha} {self.mix} {self.momentum}"

    @property
    def chances(self) -> NDArray[np.float64]:
        """(N,) chance of each unit in a draw of this epoch; they add up to 1."""
        held: NDArray[np.float64] = self._chances.copy()
        return held

    def _refresh(self) -> None:
        """Make chances of the running means."""
        seen = ~np.isnan(self.means)
        weight = np.ones(self.units)
        most = self.means[seen].max(initial=0)
        if most > 0:
            weight[seen] = (self.means[seen] / most) ** self.alpha
            weight[~seen] = weight[seen].mean()
        self._chances = (1 - self.mix) / self.units + self.mix * weight / weight.sum()
        self._ends = np.cumsum(self._chances)

    def draw(self, indexes: NDArray[np.int64]) -> Iterator[Query]:
        """Yield the draws with the given numbers."""
        units = self._drawn(indexes)
        weights = 1 / (self.units * self._chances[units])
        for unit, weight, index in zip(self._units.draw(units), weights.tolist(), indexes.tolist(), strict=True):
            yield Query(row=unit.row, window=unit.window, epoch=self.epoch, index=index, weight=weight)

    def _drawn(self, indexes: NDArray[np.int64]) -> NDArray[np.int64]:
        found = np.searchsorted(self._ends, share(self._numbers(indexes, _UNIT)) * self._ends[-1], side="right")
        units: NDArray[np.int64] = np.minimum(found, self.units - 1)
        return units

    def update(self, draws: Any, losses: Any) -> None:
        """Take the losses of samples of this epoch.

        Parameters
        ----------
        draws : a batch, or its ``draw``: (B, 2) epoch and number
        losses : (B,) numbers >= 0, of each sample and without its weight

        Raises
        ------
        SamplerError
            If a loss is negative or not finite, numbers differ, or draws are of another epoch. Nothing is taken then.
        """
        if isinstance(draws, Mapping) and "draw" not in draws:
            raise SamplerError(f"the batch has no 'draw', only {', '.join(draws)}; give the batch as it was collated")
        of = _array(draws["draw"] if isinstance(draws, Mapping) else draws, torch.int64)
        # Sums of single-precision numbers in double precision are exact, in whatever order ranks add them.
        taken = _array(losses, torch.float32).astype(np.float64)
        if of.ndim != 2 or of.shape[1] != 2 or taken.shape != of.shape[:1]:
            raise SamplerError(
                f"losses of shape {taken.shape} for draws of shape {of.shape}; there must be one loss for each sample "
                "(reduction='none', then the mean over its pixels)"
            )
        bad = np.flatnonzero(~(np.isfinite(taken) & (taken >= 0)))
        if len(bad):
            raise SamplerError(f"{len(bad)} of {len(taken)} losses are negative or not finite, first {taken[bad[0]]}")
        if (of[:, 0] != self.epoch).any():
            raise SamplerError(
                f"draws of epochs {np.unique(of[:, 0]).tolist()} at epoch {self.epoch}; give losses before the next set_epoch"
            )
        if len(of) and not 0 <= of[:, 1].min() <= of[:, 1].max() < self.length + self.world:
            raise SamplerError(
                f"draws {of[:, 1].min()} to {of[:, 1].max()} are not of this sampler, which makes {self.length} an epoch"
            )
        if len(of):
            units = self._drawn(of[:, 1])
            np.add.at(self._own[0], units, taken)
            np.add.at(self._own[1], units, 1)

    def sync(self) -> None:
        """Add up the losses that ranks have taken. All ranks call it together; alone it changes nothing."""
        both = np.stack([self._own, self._shared])
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
            own, shared = torch.from_numpy(both).to(device).unbind()
            torch.distributed.all_reduce(own)
            # Rank 0 has the last word, so that ranks which loaded different states draw alike all the same.
            torch.distributed.broadcast(shared, src=0)
            both = torch.stack([own, shared]).cpu().numpy()
        self._shared = both[0] + both[1]
        self._own = np.zeros_like(self._own)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch and make the losses taken so far count, unless a state of this epoch was just loaded."""
        going_on = self._resumed and epoch == self.epoch
        super().set_epoch(epoch)
        if going_on:
            return
        self.sync()
        total, count = self._shared
        drawn = count > 0
        now = total[drawn] / count[drawn]
        before = self.means[drawn]
        self.means[drawn] = np.where(np.isnan(before), now, self.momentum * before + (1 - self.momentum) * now)
        self._shared = np.zeros_like(self._shared)
        self._refresh()

    def state_dict(self, consumed: int | None = None) -> dict[str, Any]:
        """Return what a later run needs to go on, the losses among it."""
        taken = self._shared + self._own
        return super().state_dict(consumed) | {
            "means": torch.from_numpy(self.means.copy()),
            "taken": torch.from_numpy(taken),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a run stopped, also with another number of ranks; SamplerError if it is of another plan."""
        if not isinstance(state, Mapping) or not {"means", "taken"} <= set(state):
            raise SamplerError("this state holds no losses; give what state_dict of a HardExampleSampler returned")
        super().load_state_dict(state)
        self.means = state["means"].numpy().copy()
        self._shared = state["taken"].numpy().copy()
        self._own = np.zeros_like(self._shared)
        self._refresh()


def _array(values: Any, dtype: torch.dtype) -> NDArray[Any]:
    try:
        return torch.as_tensor(values).detach().to("cpu", dtype).numpy()
    except (TypeError, ValueError, RuntimeError) as error:
        raise SamplerError(
            f"update takes a batch and one loss of each sample, got {type(values).__name__}: {error}"
        ) from None
