"""Spectral indices, texture, dates and other names."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transforms.cases import Case

from geodata import transforms as T
from geodata.bands import Band, Bands

S2 = Bands(Bands.of_sensor("sentinel-2"), state="reflectance")
RADAR = Bands([Band("VV"), Band("VH")], state="raw")
INDEX = ("image_index", "valid_index", "bands_index", "grid_index")
TEXTURE = ("image_texture", "valid_texture", "bands_texture", "grid_texture")


def dates(out: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """A series of six dates under the name "ts", some of them padding in every second sample."""
    real = 6 - 2 * (int(out["draw"][1]) % 2)
    starts = np.sort(rng.integers(1_500_000_000, 1_600_000_000, 6)).astype(np.float64)
    return {
        "image_ts": torch.from_numpy(rng.random((6, 2, 5, 4))).to(out["image"].dtype),
        "valid_ts": torch.from_numpy(rng.random((6, 5, 4)) > 0.3),
        "mask_ts": torch.from_numpy(rng.integers(0, 5, (6, 5, 4))),
        "time_ts": torch.from_numpy(np.stack([starts, starts + 10.0], axis=-1)),
        "mask_time_ts": torch.arange(6) < real,
        "bands_ts": Bands(["x", "y"]),
    }


CASES = [
    Case(T.SpectralIndex(["NDVI", "EVI", "NDWI"]), bands=S2, makes=INDEX),
    Case(T.SpectralIndex(["NDVI", "kNDVI"], constants={"sigma": "(N + R) / 2"}, to="image"), bands=S2),
    Case(
        T.SpectralIndex({"mine": "(N - 2 * B05) / RE2"}, to="image_mine"),
        bands=S2,
        makes=tuple(k.replace("index", "mine") for k in INDEX),
    ),
    Case(T.SpectralIndex("VHVVR"), bands=RADAR, makes=INDEX),
    Case(T.SpectralIndex(T.available_indices(S2)), bands=S2, makes=INDEX),
    Case(T.Texture(low=0, high=288, window=3, levels=8), makes=TEXTURE),
    Case(
        T.Texture(
            ["entropy", "energy"], low={"B1": 3.0}, high={"B1": 200.5}, bands=["B1"], angles=[45], distance=2, levels=64
        ),
        makes=TEXTURE,
    ),
    Case(T.SampleTime(3), extra=dates, series=False),
    Case(T.SampleTime(3, how="random", seed=5), extra=dates, series=False),
    Case(T.SampleTime(1, how="last"), extra=dates, series=False),
    Case(T.PadTime(9, fill=-1), extra=dates, series=False),
    Case(T.TimeOfYear("ts"), extra=dates, makes=("year_ts", "doy_ts", "season_ts"), series=False),
    Case(T.TimeOfYear(), makes=("year", "doy", "season")),
    Case(T.Rename({"label": "y"}), makes=("label", "y")),
    Case(
        T.Rename(style="kornia"),
        boxes=2,
        makes=("boxes", "bbox_xyxy", "valid", "mask_valid", "instances", "mask_instances"),
    ),
]
