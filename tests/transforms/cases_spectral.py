"""Choosing, padding, averaging and projecting bands, and the continuum."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transforms.cases import Case, Dict

from geodata import transforms as T
from geodata.bands import Band, Bands
from geodata.responses import Responses

NARROW = Bands(
    [Band(f"B{i:03d}", wavelength=450.0 + 10 * i, fwhm=12, unit="reflectance") for i in range(40)], state="reflectance"
)
FEW = NARROW[:6]
TWO = Bands([Band("red", wavelength=660, fwhm=40), Band("nir", wavelength=800, fwhm=30)])


def _partly(sample: Dict, rng: np.random.Generator) -> Dict:
    return {"band_mask": torch.tensor([True, False])}


def _whole(sample: Dict, rng: np.random.Generator) -> Dict:
    return {"band_mask": torch.tensor([True, True])}


def _fitted(kind: Any, bands: Bands, n: int, **more: Any) -> Any:
    image = torch.from_numpy(np.random.default_rng(0).random((len(bands), 16, 16)))
    return kind.fit([{"key": "a", "image": image, "bands": bands}], n, **more)


PCA, WHITE, MNF = _fitted(T.PCA, FEW, 3), _fitted(T.PCA, FEW, 6, whiten=True), _fitted(T.MNF, FEW, 6)

CASES = [
    Case(T.SelectBands(["B1"])),
    Case(T.SelectBands([655.0, "B003", "B001"]), bands=NARROW),
    Case(T.SelectBands(["B1", "B0"]), extra=_partly),
    Case(T.DropBands(["B0"])),
    Case(T.DropBands(["B003", 700]), bands=NARROW),
    Case(T.PadBands(["B1", "B7", "B0"]), makes=("band_mask",)),
    Case(T.PadBands("sentinel-2", fill=0.25), bands=NARROW, makes=("band_mask",)),
    Case(T.PadBands(["B1", "x"], fill={"x": 2.0}), extra=_partly),
    Case(T.RandomBands(keep=[1, 40]), bands=NARROW, makes=("band_mask",)),
    Case(
        T.RandomBands(keep={0: 30, 1: [2, 9]}, groups=[["B001", "B002"], ["B009"]]), bands=NARROW, makes=("band_mask",)
    ),
    Case(T.RandomBands(p=0.5, seed=3), extra=_partly),
    Case(T.ResampleSpectrum(TWO), bands=NARROW),
    Case(T.BinBands(factor=2), extra=_whole, makes=("band_mask",)),
    Case(T.ResampleSpectrum(Responses.measured("sentinel-2a", ["red", "B05"])), bands=NARROW),
    Case(T.ResampleSpectrum(Responses.airy(TWO, finesse=10, passband=(500, 810)), coverage=0.9), bands=NARROW),
    Case(T.BinBands(factor=3), bands=NARROW),
    Case(T.BinBands(width=25), bands=NARROW),
    Case(PCA, bands=FEW),
    Case(WHITE, bands=FEW),
    Case(PCA.inverse(), bands=PCA.components),
    Case(MNF, bands=FEW),
    Case(MNF.inverse(), bands=MNF.components),
    Case(T.ContinuumRemoval(), bands=NARROW),
    Case(T.Compose([T.SelectBands(["B000", "B002", "B001"]), T.ContinuumRemoval()]), bands=NARROW),
]
