"""Confusion matrix, intersection over union."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["confusion", "iou", "mean_iou"]


def confusion(truth: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """Count pixels by true class (row) and predicted class (column).

    Parameters
    ----------
    truth : (...) int64, class in [0, classes); anything else, such as -100, is not counted
    predicted : (...) int64, class in [0, classes), same shape
    classes : int

    Returns
    -------
    (classes, classes) int64

    Examples
    --------
    >>> confusion(torch.tensor([0, 1, 1, -100]), torch.tensor([0, 1, 0, 1]), 2).tolist()
    [[1, 0], [1, 1]]
    """
    known = (truth >= 0) & (truth < classes)
    pairs = truth[known] * classes + predicted[known]
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def iou(table: Tensor) -> list[float]:
    """Intersection over union of each class, NaN for a class that occurs in truth or prediction nowhere.

    Parameters
    ----------
    table : (K, K) int, from `confusion`

    References
    ----------
    .. [1] Everingham et al. (2015), The Pascal Visual Object Classes Challenge: A Retrospective, section 4.4:
       true positives / (true positives + false positives + false negatives).

    Examples
    --------
    >>> iou(torch.tensor([[1, 0], [1, 1]]))
    [0.5, 0.5]
    """
    hit = table.diag().double()
    union = table.sum(dim=0) + table.sum(dim=1) - hit
    return [h / u if u else math.nan for h, u in zip(hit.tolist(), union.tolist(), strict=True)]


def mean_iou(table: Tensor) -> float:
    """Mean of `iou` over the classes that occur in the truth.

    A class that is only predicted does not enter the mean; its pixels lower the classes they were taken from.
    """
    each = [v for v, occurs in zip(iou(table), table.sum(dim=1).tolist(), strict=True) if occurs]
    return sum(each) / len(each) if each else math.nan
