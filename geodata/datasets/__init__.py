"""The datasets that people name: any folder of files, and one short declaration per published archive."""

from geodata.datasets.raster import RasterDataset
from geodata.datasets.vector import VectorDataset

__all__ = ["RasterDataset", "VectorDataset"]
