"""Rasters: the plain TIFF reader where it knows a file to the last detail, GDAL for everything else."""

from __future__ import annotations

from geodata.readers.gdal import EXTENSIONS, describe, read

__all__ = ["EXTENSIONS", "describe", "read"]
