"""The datasets that people name: any folder of files, and one short declaration per published archive."""

from geodata.datasets.archive import ArchiveDataset
from geodata.datasets.raster import RasterDataset
from geodata.datasets.reben import BigEarthNetV2, ReBEN
from geodata.datasets.registry import get, list
from geodata.datasets.vector import VectorDataset

__all__ = ["ArchiveDataset", "BigEarthNetV2", "RasterDataset", "ReBEN", "VectorDataset", "get", "list"]
