"""Look-alikes of the classified hyperspectral scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geodata.datasets.fakes import blobs, pixels
from geodata.datasets.hsi_scenes_table import Files
from geodata.datasets.unmixing_fake import save
from geodata.spec import DatasetSpec, Image, Mask

__all__ = ["write"]


def write(root: Path, files: Files, spec: DatasetSpec) -> None:
    """Write a small cube of all channels and a map with all classes and undefined pixels; neither is square."""
    image = next(c for c in spec.contents if isinstance(c, Image))
    mask = next(c for c in spec.contents if isinstance(c, Mask))
    shape = (24, 17)
    dtype, low = ("int16", -11) if spec.name == "salinas" else ("uint16", 0)
    cube = pixels((len(image.bands), *shape), dtype, low, 8000, len(image.bands))
    stored = sorted(mask.classes.codes or {})
    truth = blobs(shape, stored, "uint8", len(stored))
    save(root / files.cube, {files.cube_key: np.ascontiguousarray(cube.transpose(1, 2, 0))})
    save(root / files.truth, {files.truth_key: truth})
