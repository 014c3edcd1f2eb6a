"""Reflectance, decibels, ranges, quality."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transforms.cases import Case

from geodata import transforms as T
from geodata.bands import Band, Bands

STATS = {"mean": {"B0": 200.0, "B1": 300.0}, "std": {"B0": 150.0, "B1": 100.0}, "state": "raw"}
RANGE = {
    "image": {
        "min": {"B0": 0.0, "B1": -5.0},
        "max": {"B0": 300.0, "B1": 400.0},
        "percentiles": {"2": {"B0": 10.0, "B1": 12.5}, "98": {"B0": 250.0, "B1": 260.0}},
        "state": "raw",
    }
}
SCALED = Bands([Band("B0", unit="reflectance", scale=1e-4), Band("B1", unit="reflectance", scale=2e-4, offset=-0.1)])
DECIBELS = Bands(["VV", "VH"], "dB")


def scl(sample: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """A raster of classes under the image, for each date of a series."""
    return {"mask_scl": torch.from_numpy(rng.integers(-1, 14, tuple(sample["valid"].shape)))}


def quality(sample: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Three of EnMAP's layers at half the resolution."""
    *lead, h, w = sample["valid"].shape
    layers = rng.integers(0, 4, (*lead, 3, h // 2, w // 2))
    return {
        "image_quality": torch.from_numpy(layers.astype(np.float32)),
        "valid_quality": torch.from_numpy(rng.random((*lead, h // 2, w // 2)) > 0.1),
        "bands_quality": Bands(["cirrus", "cloud", "snow"]),
        "grid_quality": sample["grid"].coarser(2),
    }


def baseline(sample: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """A processing baseline that differs from sample to sample."""
    return {"baseline": ["02.14", "N0400", "05.09"][int(sample["draw"][1]) % 3]}


CASES = [
    Case(T.ToReflectance(1e-3, -0.1)),
    Case(T.ToReflectance(), bands=SCALED),
    Case(T.ToReflectance(product="landsat-c2-l2")),
    Case(T.ToReflectance(product="sentinel-2-l1c", baseline="N0301")),
    Case(T.ToReflectance(product="sentinel-2-l2a"), extra=baseline),
    Case(T.ToDecibel()),
    Case(T.ToDecibel(0.5, amplitude=True)),
    Case(T.FromDecibel(amplitude=True), bands=DECIBELS, size=(4, 4)),
    Case(T.Clip(0.25)),
    Case(T.Clip(-1, 100.5)),
    Case(T.Normalize(STATS)),
    Case(T.MeanStdRange(STATS)),
    Case(T.MeanStdRange(STATS, spread=1.5, uint8=True)),
    Case(T.MinMax(low=0, high=1000)),
    Case(T.MinMax(per="image")),
    Case(T.MinMax(per="band", clip=True)),
    Case(T.MinMax(RANGE)),
    Case(T.MinMax(RANGE, percentiles=(2, 98), clip=True)),
    Case(T.DecodeQuality("sentinel-2-scl", "mask_scl"), extra=scl),
    Case(T.DecodeQuality("enmap-l2a", "image_quality", hide=["cirrus_thick", "cloud"]), extra=quality, half=False),
    Case(T.FillInvalid(-1.5)),
    Case(T.FillInvalid("mean")),
]
