"""Noise, hiding, and making coarser."""

from __future__ import annotations

from transforms.cases import Case

from geodata import transforms as T
from geodata.bands import Bands

FEW = Bands(["a", "b", "c"], state="reflectance")
MANY = Bands([f"b{i}" for i in range(12)], state="reflectance")
LONG = Bands([f"band number {i}" for i in range(20)], state="reflectance")
FOUR = Bands(["blue", "green", "red", "nir"], state="reflectance")

KEPT = ("image_target", "valid_target", "bands_target", "grid_target")
PAIR = (*KEPT, "mask", "mask_target")
TOKENS = ("hidden", "ids_keep", "ids_restore")

CASES = [
    Case(T.GaussianNoise(0.1), bands=FEW, makes=KEPT),
    Case(T.GaussianNoise([0.1, 0.2], each_band=True, keep=False, seed=2), bands=FEW),
    Case(T.GaussianNoise(choices=[0.1, 0.2], each_band=True), bands=FEW, makes=KEPT),
    Case(T.GaussianNoise(snr=[10, 30], seed=1), bands=FEW, makes=KEPT),
    Case(T.GaussianNoise(snr=20, each_band=True), bands=FEW, makes=KEPT),
    Case(T.PoissonNoise(20), bands=FEW, makes=KEPT),
    Case(T.GainDrift(0.2), bands=FEW, makes=KEPT),
    Case(T.Stripes(2, columns=0.3), bands=FEW, makes=KEPT),
    Case(T.Deadlines(0.7), bands=FEW, makes=KEPT),
    Case(T.Impulses(0.7, amounts=[0.5]), bands=FEW, makes=KEPT),
    Case(T.DeadPixels(0.2), bands=FEW, makes=KEPT),
    Case(T.DeadPixels(0.2, every_band=True), bands=FEW, makes=KEPT),
    Case(T.OutlierBands(2), bands=FEW, makes=KEPT),
    Case(T.Noise("qrnn3d-test", case="blind"), bands=FEW, makes=KEPT),
    *(Case(T.Noise("qrnn3d-test", case=i), bands=MANY, size=(8, 20), makes=KEPT) for i in range(1, 6)),
    *(Case(T.Noise("qrnn3d-train", case=i), bands=MANY, size=(8, 40), makes=KEPT) for i in (2, 3, 4, 5, "train")),
    *(Case(T.Noise("hyde", case=i), bands=MANY, size=(8, 40), makes=KEPT) for i in (1, 5, "train", "blind")),
    Case(T.HideValues(0.5), bands=FEW, makes=("mask_observed", *KEPT)),
    Case(T.HideValues(0.5, unit="pixel", noise=0.1, keep=False), bands=FEW, makes=("mask_observed",)),
    Case(T.HideValues(0.5, unit="column"), bands=FEW, makes=("mask_observed", *KEPT)),
    Case(T.HideTokens("random", 0.75, 4), makes=TOKENS),
    Case(T.HideTokens("tube", 0.5, 3, depth=1, min_valid=0.6, seed=3), makes=(*TOKENS, "token_valid")),
    Case(T.HideTokens("random", 0.5, 6, groups=[["a", "c"], ["b"]]), bands=FEW, makes=TOKENS),
    Case(T.HideTokens("block", 0.6, 2, block=3), makes=TOKENS),
    Case(T.HideTokens("band", 0.5, 4, depth=1), makes=TOKENS),
    Case(T.HideTokens("random", 0.5, 4, groups=[[name] for name in LONG.names]), bands=LONG, makes=TOKENS),
    Case(T.SuperResolutionPair(2, kind="mtf", nyquist=dict.fromkeys(LONG.names, 0.3)), bands=LONG, makes=PAIR),
    Case(
        T.SuperResolutionPair(4),
        boxes=1,
        makes=(*PAIR, *(k for n in ("boxes", "corners", "instances") for k in (n, f"{n}_target"))),
    ),
    Case(T.SuperResolutionPair(3, upsample=True), bands=FOUR, makes=PAIR),
    Case(T.SuperResolutionPair(2, kind="gaussian"), bands=FOUR, makes=PAIR),
    Case(T.SuperResolutionPair(3, kind="uniform", upsample=True), bands=FOUR, makes=PAIR),
    Case(T.SuperResolutionPair(4, kind="average"), bands=FOUR, makes=PAIR),
    Case(T.SuperResolutionPair(2, kind="blur-bicubic"), bands=FOUR, makes=PAIR),
    Case(T.SuperResolutionPair(4, kind="mtf", sensor="QB"), bands=FOUR, makes=PAIR),
    Case(T.WaldPair(4, sensor="QB"), bands=FOUR, size=(48, 48), ratios={"": 4, "_pan": 1}, makes=PAIR),
    Case(
        T.WaldPair(2, nyquist=dict.fromkeys(FOUR.names, 0.25), upsample=True),
        bands=FOUR,
        size=(24, 24),
        ratios={"": 2, "_pan": 1},
        makes=PAIR,
    ),
]
