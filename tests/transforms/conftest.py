"""Small samples and batches whose every pixel is different, so that a wrong move cannot hide."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pytest
import torch

from geodata.bands import Bands
from geodata.grid import Grid
from geodata.interval import Interval
from geodata.query import Query

Dict = dict[str, Any]


def _sample(
    epoch: int = 0,
    index: int = 0,
    *,
    size: tuple[int, int] = (6, 6),
    channels: int = 2,
    dtype: torch.dtype = torch.float32,
    times: int | None = None,
    ratios: Mapping[str, int] | None = None,
    boxes: int = 0,
    bands: Bands | None = None,
    extra: Callable[[Dict, np.random.Generator], Dict] | None = None,
) -> Dict:
    """One sample; ``bands`` names the channels, numbers in [0, 1) if they are reflectance; ``ratios`` maps suffixes such as "_10m" to how much coarser that image is."""
    rng = np.random.default_rng([abs(epoch), abs(index), 7])
    channels = channels if bands is None else len(bands)
    out: Dict = {
        "key": f"item{index}",
        "draw": torch.tensor([epoch, index]),
        "time": Interval.parse("2020"),
        "query": Query(row=0, epoch=epoch, index=index),
        "label": torch.tensor(index % 3),
    }
    for suffix, ratio in (ratios or {"": 1}).items():
        h, w = size[0] // ratio, size[1] // ratio
        lead = (channels,) if times is None else (times, channels)
        numbers = rng.permutation(int(np.prod(lead)) * h * w).reshape(*lead, h, w)
        if bands is not None and bands.state == "reflectance":
            numbers = numbers / numbers.size
        out[f"image{suffix}"] = torch.from_numpy(numbers).to(dtype)
        out[f"valid{suffix}"] = torch.from_numpy(rng.random((*lead[:-1], h, w)) > 0.3)
        transform = (10.0 * ratio, 0.5, 5e5 + index, 0.25, -10.0 * ratio, 5.6e6)
        out[f"grid{suffix}"] = Grid((h, w), transform, "EPSG:32633")
        out[f"bands{suffix}"] = Bands([f"B{i}" for i in range(channels)]) if bands is None else bands
    h, w = size
    if "" in (ratios or {"": 1}):
        out["mask"] = torch.from_numpy(rng.permutation(h * w).reshape(h, w))
    if boxes:
        out |= _boxes(rng, boxes + index % 2, h, w)
    return out if extra is None else out | extra(out, rng)


def _boxes(rng: np.random.Generator, n: int, h: int, w: int) -> Dict:
    left, top = rng.integers(0, w - 1, n), rng.integers(0, h - 1, n)
    right, bottom = rng.integers(left + 1, w + 1), rng.integers(top + 1, h + 1)
    corners = np.stack([rng.integers(0, w, (n, 4)), rng.integers(0, h, (n, 4))], axis=-1) + 0.5
    instances = np.zeros((n, h, w), dtype=bool)
    for i in range(n):
        instances[i, top[i] : bottom[i], left[i] : right[i]] = True
    return {
        "boxes": torch.tensor(np.stack([left, top, right, bottom], axis=-1), dtype=torch.float32),
        "corners": torch.tensor(corners, dtype=torch.float32),
        "box_labels": torch.arange(n),
        "instances": torch.from_numpy(instances),
    }


def _batch(draws: Iterable[tuple[int, int]], **kwargs: Any) -> Dict:
    """Samples side by side in the form of `gd.collate`: tensors stacked, ragged keys as lists, one Bands."""
    samples = [_sample(epoch, index, **kwargs) for epoch, index in draws]
    ragged = ("boxes", "corners", "box_labels", "instances")
    out: Dict = {}
    for key in samples[0]:
        values = [s[key] for s in samples]
        if key.startswith("bands"):
            out[key] = values[0]
        else:
            stacks = isinstance(values[0], torch.Tensor) and key not in ragged
            out[key] = torch.stack(values) if stacks else values
    return out


@pytest.fixture(scope="session")
def sample() -> Callable[..., Dict]:
    """Make one sample."""
    return _sample


@pytest.fixture(scope="session")
def batch() -> Callable[..., Dict]:
    """Make a batch of the samples with these (epoch, index)."""
    return _batch
