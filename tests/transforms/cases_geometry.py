"""Crops, padding, affine maps and other sizes."""

from __future__ import annotations

from transforms.cases import Case

from geodata import transforms as T
from geodata.bands import Bands

REFLECTANCE = Bands(["B0", "B1"], state="reflectance")
FINE = {"": 1, "_10m": 1, "_20m": 2, "_60m": 6}

CASES = [
    Case(T.RandomCrop(6), boxes=2, ratios=FINE),
    Case(T.RandomCrop((5, 8), min_visible=0.5, seed=3), boxes=2),
    Case(T.CenterCrop((6, 12)), boxes=2, ratios=FINE),
    Case(T.Pad(multiple=8), boxes=1),
    Case(T.Pad((12, 18), fill=-1.5), boxes=1, ratios=FINE),
    Case(T.RandomAffine(degrees=180, translate=0.1, scale=(0.7, 1.4), shear=10), boxes=2, ratios=FINE),
    Case(T.RandomAffine(translate=(0.2, 0.0), p=0.5, interpolation="nearest"), boxes=2),
    Case(T.RandomAffine((0, 20), interpolation="bicubic", fill=3.0, seed=8), half=False),
    Case(T.Resize(18, interpolation="area"), boxes=2, ratios=FINE),
    Case(T.Resize((8, 16), same=True), boxes=2, ratios=FINE),
    Case(T.Resize(7, interpolation="nearest"), boxes=1),
    Case(T.RandomResizedCrop(6, interpolation="bicubic"), boxes=2, ratios=FINE, half=False),
    Case(
        T.Compose([T.RandomFlip(), T.RandomAffine(degrees=90, translate=0.2), T.RandomRotate90(), T.RandomCrop(6)]),
        boxes=2,
        ratios=FINE,
    ),
    Case(T.Pyramid(2), makes=tuple(f"{k}_x{n}" for k in ("image", "valid", "bands", "grid") for n in (2, 4))),
    Case(T.FromKornia("RandomGaussianBlur", {"kernel_size": [3, 3], "sigma": [0.5, 2.0], "p": 1.0})),
    Case(T.FromKornia("RandomMotionBlur", {"kernel_size": 5, "angle": 40.0, "direction": 1.0, "p": 1.0}, seed=2)),
    Case(T.FromKornia("RandomGaussianNoise", {"std": 0.1, "p": 0.5})),
    Case(T.FromKornia("RandomErasing", {"p": 1.0})),
    Case(T.FromKornia("RandomChannelDropout", {"p": 1.0})),
    Case(T.FromKornia("RandomContrast", {"contrast": [0.5, 1.5], "clip_output": False}), bands=REFLECTANCE),
    Case(T.Compose([T.Pad(18), T.RandomCrop(12), T.RandomRotate90(), T.RandomResizedCrop(6), T.RandomFlip()]), boxes=3),
]
