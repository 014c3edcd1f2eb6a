"""Transforms: modules that take a sample or a batch dict and return a new one."""

from __future__ import annotations

from geodata.transforms.base import Needs, Transform
from geodata.transforms.compose import Compose
from geodata.transforms.geometry.affine import RandomAffine
from geodata.transforms.geometry.cropping import CenterCrop, Pad, RandomCrop
from geodata.transforms.geometry.from_kornia import FromKornia
from geodata.transforms.geometry.mirrors import RandomFlip, RandomRotate90
from geodata.transforms.geometry.pyramid import Pyramid
from geodata.transforms.geometry.sizes import RandomResizedCrop, Resize
from geodata.transforms.image import ImageTransform
from geodata.transforms.radiometry.normalize import MeanStdRange, MinMax, Normalize
from geodata.transforms.radiometry.quality import DecodeQuality, FillInvalid
from geodata.transforms.radiometry.scale import Clip, ToFloat
from geodata.transforms.radiometry.units import FromDecibel, ToDecibel, ToReflectance
from geodata.transforms.rename import Rename
from geodata.transforms.restoration.hide import HideValues
from geodata.transforms.restoration.noise import GainDrift, GaussianNoise, PoissonNoise
from geodata.transforms.restoration.noise_bands import Deadlines, DeadPixels, Impulses, OutlierBands, Stripes
from geodata.transforms.restoration.noise_cases import Noise
from geodata.transforms.restoration.pairs import SuperResolutionPair, WaldPair
from geodata.transforms.spectral.channels import DropBands, PadBands, SelectBands
from geodata.transforms.spectral.continuum import ContinuumRemoval
from geodata.transforms.spectral.indices import SpectralIndex
from geodata.transforms.spectral.projection import MNF, PCA
from geodata.transforms.spectral.random_bands import RandomBands
from geodata.transforms.spectral.resampling import BinBands, ResampleSpectrum
from geodata.transforms.spectral.symbols import available_indices
from geodata.transforms.temporal import PadTime, SampleTime, TimeOfYear
from geodata.transforms.texture import Texture
from geodata.transforms.tokens import HideTokens

__all__ = [
    "MNF",
    "PCA",
    "BinBands",
    "CenterCrop",
    "Clip",
    "Compose",
    "ContinuumRemoval",
    "DeadPixels",
    "Deadlines",
    "DecodeQuality",
    "DropBands",
    "FillInvalid",
    "FromDecibel",
    "FromKornia",
    "GainDrift",
    "GaussianNoise",
    "HideTokens",
    "HideValues",
    "ImageTransform",
    "Impulses",
    "MeanStdRange",
    "MinMax",
    "Needs",
    "Noise",
    "Normalize",
    "OutlierBands",
    "Pad",
    "PadBands",
    "PadTime",
    "PoissonNoise",
    "Pyramid",
    "RandomAffine",
    "RandomBands",
    "RandomCrop",
    "RandomFlip",
    "RandomResizedCrop",
    "RandomRotate90",
    "Rename",
    "ResampleSpectrum",
    "Resize",
    "SampleTime",
    "SelectBands",
    "SpectralIndex",
    "Stripes",
    "SuperResolutionPair",
    "Texture",
    "TimeOfYear",
    "ToDecibel",
    "ToFloat",
    "ToReflectance",
    "Transform",
    "WaldPair",
    "available_indices",
]
