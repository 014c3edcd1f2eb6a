"""Training and evaluation in plain torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import geodata as gd
from geodata import transforms as T
from geodata.demo.metrics import confusion
from geodata.errors import QueryError
from geodata.samplers import GridPatchSampler, RandomPatchSampler

__all__ = ["Pixels", "Plan", "evaluate", "gather", "targets", "train"]

IGNORE = -100


@dataclass(frozen=True, slots=True)
class Plan:
    """What training and evaluation share.

    Parameters
    ----------
    normalize : T.Normalize
        Statistics of the training pixels.
    weight : (K,) float, weight of each class in the loss; 0 for a class without training pixels
    size : int, side of a training patch in pixels
    steps, batch_size : int
    rate : float, highest learning rate
    seed : int
    """

    normalize: T.Normalize
    weight: Tensor
    size: int = 64
    steps: int = 150
    batch_size: int = 8
    rate: float = 0.01
    seed: int = 0


def train(model: nn.Module, ds: Any, plan: Plan, *, show: Callable[[Iterable[Any]], Iterable[Any]] = iter) -> nn.Module:
    """Fit a model to random patches of a dataset.

    Parameters
    ----------
    model : maps (B, C, H, W) to scores (B, K, H, W)
    ds : Dataset whose samples have ``image``, ``valid`` and ``mask``
    plan : Plan
    show : wraps the batches, for a progress bar
    """
    sampler = RandomPatchSampler(ds, size=plan.size, length=plan.steps * plan.batch_size, seed=plan.seed)
    loader = gd.Loader(ds, sampler=sampler, batch_size=plan.batch_size, threads=2)
    change = T.Compose([plan.normalize, T.RandomFlip(), T.RandomRotate90()], seed=plan.seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=plan.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.rate, total_steps=plan.steps)
    model.train()
    for batch in show(loader):
        batch = change(batch)
        scores = model(batch["image"])
        loss = F.cross_entropy(scores, targets(batch), weight=plan.weight, reduction="sum")
        optimiser.zero_grad()
        (loss / scores[:, 0].numel()).backward()
        optimiser.step()
        schedule.step()
    return model.eval()


def targets(batch: dict[str, Any]) -> Tensor:
    """Return the mask with -100, "no label", wherever the image was not observed."""
    mask: Tensor = batch["mask"]
    return mask.masked_fill(~batch["valid"], IGNORE)


@dataclass(frozen=True, slots=True)
class Pixels:
    """Labelled pixels and what is counted over them.

    Parameters
    ----------
    values : (N, C) float32, in the units of the image
    labels : (N,) int64
    counts : (K,) int64, labelled pixels of each class before thinning
    """

    values: Tensor
    labels: Tensor
    counts: Tensor

    @property
    def mean(self) -> Tensor:
        """(C,) mean of each band."""
        return self.values.double().mean(dim=0)

    @property
    def std(self) -> Tensor:
        """(C,) standard deviation of each band; 1 for a band of one value only."""
        std = self.values.double().std(dim=0)
        return torch.where(std > 0, std, 1.0)

    @property
    def weight(self) -> Tensor:
        """(K,) float32: one over the root of a class's share, 1 on average over its pixels; 0 without pixels."""
        share = self.counts.double() / self.counts.sum()
        weight = torch.where(share > 0, share.clamp_min(1e-12).rsqrt(), 0.0)
        return (weight / (weight * share).sum()).float()


def gather(ds: Any, classes: int, *, most: int = 200_000) -> Pixels:
    """Read all labelled pixels of a dataset, and keep every n-th so that at most about ``most`` are left.

    Raises
    ------
    QueryError
        If there are none, or all are of one class.
    """
    values, labels = [], []
    counts = torch.zeros(classes, dtype=torch.int64)
    total = int(ds.catalog.shape.prod(axis=1).sum())
    thin = max(1, -(-total // most))
    for row in range(len(ds)):
        sample = ds[row]
        mask = targets(sample)
        known = mask >= 0
        counts += torch.bincount(mask[known], minlength=classes)
        values.append(sample["image"][:, known].T[::thin])
        labels.append(mask[known][::thin])
    if int((counts > 0).sum()) < 2:
        found = [i for i, n in enumerate(counts.tolist()) if n]
        raise QueryError(f"training needs pixels of at least 2 classes, the training blocks hold {found or 'none'}")
    return Pixels(torch.cat(values).float(), torch.cat(labels), counts)


def evaluate(model: nn.Module, ds: Any, plan: Plan, *, size: int) -> Tensor:
    """Return the (K, K) confusion matrix over all labelled pixels of a dataset, each counted once.

    Parameters
    ----------
    size : int, side of the windows in pixels; windows reach over the edge, where nothing is counted
    """
    sampler = GridPatchSampler(ds, size=size, edge="pad")
    table = torch.zeros(len(plan.weight), len(plan.weight), dtype=torch.int64)
    with torch.inference_mode():
        for batch in gd.Loader(ds, sampler=sampler, batch_size=plan.batch_size, threads=2):
            batch = plan.normalize(batch)
            table += confusion(targets(batch), model(batch["image"]).argmax(dim=1), len(table))
    return table
