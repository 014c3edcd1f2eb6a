"""From files to arrays. Each format in a file of its own; readers never import each other."""

from geodata.readers.base import Asset, Header, Raster

__all__ = ["Asset", "Header", "Raster"]
