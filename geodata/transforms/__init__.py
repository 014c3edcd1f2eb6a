"""Transforms: modules that take a sample or a batch dict and return a new one."""

from __future__ import annotations

from geodata.transforms.base import Transform
from geodata.transforms.compose import Compose
from geodata.transforms.geometry import RandomFlip, RandomRotate90
from geodata.transforms.image import ImageTransform
from geodata.transforms.scale import Normalize, ToFloat

__all__ = ["Compose", "ImageTransform", "Normalize", "RandomFlip", "RandomRotate90", "ToFloat", "Transform"]
