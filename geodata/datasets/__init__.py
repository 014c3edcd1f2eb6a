"""The datasets that people name: any folder of files, and one short declaration per published archive."""

from geodata.datasets.raster import RasterDataset

__all__ = ["RasterDataset"]
