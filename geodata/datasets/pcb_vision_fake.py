"""A look-alike of PCB-Vision."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.datasets.fakes import blobs, pixels, write_image

__all__ = ["board_numbers", "write", "write_envi"]

FIRST = (1, 18, 2, 4)
"""Boards that are always among the first: of train, val, test, and of no part."""
CODES = {"uint8": 1, "float32": 4}


def board_numbers(items: int) -> list[int]:
    """Return the numbers of the boards that are written."""
    return [*FIRST, *(n for n in range(1, 54) if n not in FIRST)][:items]


def write(root: Path, items: int) -> None:
    """Write so many boards, with the names spelled large and small as published."""
    for i, number in enumerate(board_numbers(items)):
        size = (20 + 3 * i % 7, 26 + 5 * i % 11)
        cube = pixels((224, *size), "float32", -0.02, 1.03, i).astype(np.float32)
        write_envi(root / f"HSI/pcb{number}/pcb{number}", ".hdr", cube, np.linspace(400, 1000, 224))
        write_envi(root / f"HSI/General_masks/{number}", ".HDR", blobs(size, (0, 1, 2, 3), "uint8", i)[None])
        write_envi(root / f"HSI/Monoseg_masks/mono{number}", ".hdr", blobs(size, (0, 1, 2, 3), "uint8", 50 + i)[None])
        write_image(root / f"HSI/PCB_Masks/{number}.jpg", _board(size))
        photo = (54 + i, 71 + 2 * i)
        write_image(root / f"RGB/{number}.jpg", pixels((3, *photo), "uint8", 0, 255, i))
        write_image(root / f"RGB/General/{number}.png", blobs(photo, (0, 1, 2, 3), "uint8", 100 + i), "PNG")
        write_image(root / f"RGB/Monoseg/{number}.png", blobs(photo, (0, 1, 2, 3), "uint8", 150 + i), "PNG")


def write_envi(
    path: Path, ending: str, data: NDArray[Any], wavelengths: Sequence[float] | NDArray[np.float64] = ()
) -> None:
    """Write (C, H, W) as an ENVI cube, interleaved by pixel: a data file without ending and its header."""
    count, lines, samples = data.shape
    fields = {
        "samples": samples,
        "lines": lines,
        "bands": count,
        "header offset": 0,
        "file type": "ENVI Standard",
        "data type": CODES[data.dtype.name],
        "interleave": "bip",
        "byte order": 0,
    }
    if len(wavelengths):
        fields |= {
            "wavelength units": "nm",
            "wavelength": "{" + ", ".join(f"{w:.2f}" for w in wavelengths) + "}",
        }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.transpose(1, 2, 0).astype(data.dtype.newbyteorder("<")).tobytes())
    text = "ENVI\n" + "".join(f"{name} = {value}\n" for name, value in fields.items())
    path.with_name(path.name + ending).write_text(text, encoding="utf-8")


def _board(size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a bright board on a dark ground."""
    mask = np.zeros(size, dtype=np.uint8)
    mask[3:-3, 4:-4] = 255
    return mask
