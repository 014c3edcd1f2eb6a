"""What the machine can do for the same boxes: rasterio with open handles, or a memory map of raw tiles. Nothing else.

    python benchmarks/limit.py A_random --samples 256

No index, no validity, no dates, no errors: this is no library, but the floor under one.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import rasterio
import torch
from measure import boxes, main, read, warm
from rasterio.enums import Resampling
from rasterio.windows import Window
from workloads import BATCH, S2_BANDS, Reading, files_of

Box = list[float]
Part = tuple[int, int, int, int, int, int, int]


class Archive:
    """Files on one lattice, by their bounds."""

    def __init__(self, files: list[str]) -> None:
        self.files = files
        self.open = [rasterio.open(path) for path in files]
        self.bounds = np.array([file.bounds for file in self.open])
        self.shape = [file.shape for file in self.open]

    def parts(self, box: Box, side: int) -> Iterator[Part]:
        """File, row, column, height, width, and where that lies in the patch; what the first file has is painted last."""
        x0, x1, y0, y1 = box[:4]
        left, bottom, right, top = self.bounds.T
        for k in np.flatnonzero((left < x1) & (right > x0) & (bottom < y1) & (top > y0))[::-1].tolist():
            r, c = round((top[k] - y1) / 10), round((x0 - left[k]) / 10)
            r0, c0 = max(r, 0), max(c, 0)
            height, width = min(r + side, self.shape[k][0]) - r0, min(c + side, self.shape[k][1]) - c0
            yield k, r0, c0, height, width, r0 - r, c0 - c


def paint(archive: Archive, box: Box, out: np.ndarray) -> None:
    """Read one patch with open handles."""
    for k, r, c, height, width, down, across in archive.parts(box, out.shape[-1]):
        window = Window(c, r, width, height)
        archive.open[k].read(window=window, out=out[:, down : down + height, across : across + width])


class RawTiles:
    """The tiles of an uncompressed file in memory, by row and column of tiles."""

    def __init__(self, path: str) -> None:
        with rasterio.open(path) as file:
            self.side = file.block_shapes[0][0]
            down, across = (-(-n // self.side) for n in file.shape)
            offsets = [
                int(file.get_tag_item(f"BLOCK_OFFSET_{j}_{i}", "TIFF", bidx=1))
                for i in range(down)
                for j in range(across)
            ]
            bands = file.count
        with open(path, "rb") as handle:
            memory = mmap.mmap(handle.fileno(), 0, prot=mmap.PROT_READ)
        shape = (self.side, self.side, bands)
        self.across = across
        self.tiles = [
            np.frombuffer(memory, "<u2", int(np.prod(shape)), offset).reshape(shape).transpose(2, 0, 1)
            for offset in offsets
        ]

    def paint(self, r: int, c: int, out: np.ndarray) -> None:
        """Copy a window out of its tiles."""
        side, (height, width) = self.side, out.shape[1:]
        for i in range(r // side, (r + height - 1) // side + 1):
            for j in range(c // side, (c + width - 1) // side + 1):
                top, end = max(r, i * side), min(r + height, (i + 1) * side)
                left, right = max(c, j * side), min(c + width, (j + 1) * side)
                tile = self.tiles[i * self.across + j]
                part = tile[:, top - i * side : end - i * side, left - j * side : right - j * side]
                out[:, top - r : end - r, left - c : right - c] = part


def scenes(line: Reading) -> Callable[[Box], list[np.ndarray]]:
    """A: one window of each file that a box meets; with masks, of both."""
    files = files_of(line.archive)
    masks = [path for path in files if "mask" in os.path.basename(path)]
    images = Archive([path for path in files if path not in masks])
    classes = Archive(masks)

    def patch(box: Box) -> list[np.ndarray]:
        image, mask = np.empty((4, 256, 256), np.float32), np.empty((1, 256, 256), np.uint8)
        paint(images, box, image)
        if not masks:
            return [image]
        paint(classes, box, mask)
        return [image, mask[0].astype(np.int64)]

    return patch


def memory(line: Reading) -> Callable[[Box], list[np.ndarray]]:
    """A without compression."""
    archive = Archive(files_of(line.archive))
    raw = [RawTiles(path) for path in archive.files]

    def patch(box: Box) -> list[np.ndarray]:
        image = np.empty((4, 256, 256), np.float32)
        for k, r, c, height, width, down, across in archive.parts(box, 256):
            raw[k].paint(r, c, image[:, down : down + height, across : across + width])
        return [image]

    return patch


def twelve(line: Reading) -> Callable[[Box], list[np.ndarray]]:
    """C and D: a window of each of 12 files; coarser ones are enlarged by GDAL."""
    files = files_of(line.archive)
    lead = [path for path in files if path.endswith("_B02.tif")]
    opened: dict[str, Any] = {}
    bounds: dict[tuple[float, float], str] = {}
    scenes = line.archive == "C"
    by_date: dict[str, str] = {}
    for path in lead:
        with rasterio.open(path) as file:
            bounds[file.bounds.left, file.bounds.top] = path
        by_date[os.path.basename(path).split("_")[2]] = path
    corner = {path: place for place, path in bounds.items()}

    def patch(box: Box) -> list[np.ndarray]:
        path = (
            by_date[str(np.datetime64(round(box[4]), "s"))[:10].replace("-", "")] if scenes else bounds[box[0], box[3]]
        )
        left, top = corner[path]
        side = round((box[1] - box[0]) / 10)
        image = np.empty((12, side, side), np.float32)
        for channel, band in enumerate(S2_BANDS):
            name = path.replace("_B02", f"_{band}")
            file = opened.get(name) or rasterio.open(name)
            if scenes:
                opened[name] = file
            res = file.res[0]
            window = Window((box[0] - left) / res, (top - box[3]) / res, side * 10 / res, side * 10 / res)
            raw = np.empty((side, side), np.uint16)  # as the peer: rounded to what is stored
            file.read(1, window=window, out=raw, resampling=Resampling.bilinear)
            image[channel] = raw
            if not scenes:
                file.close()
        return [image]

    return patch


def patches(line: Reading) -> Callable[[Box], list[np.ndarray]]:
    """D: open, read, close."""
    place = {}
    for path in files_of(line.archive):
        with rasterio.open(path) as file:
            place[file.bounds.left, file.bounds.top] = path

    def patch(box: Box) -> list[np.ndarray]:
        with rasterio.open(place[box[0], box[3]]) as file:
            return [file.read(out_dtype="float32")]

    return patch


def reading(line: Reading, options: Any) -> dict[str, Any]:
    """Read the patches of one line of the table."""
    torch.set_num_threads(1)
    warm(files_of(line.archive))
    wanted = boxes(line.boxes)
    kind = {"C": twelve, "D/twelve": twelve, "D/four": patches}.get(line.archive, scenes)
    patch = memory(line) if line.limit == "memmap" else kind(line)
    patch(wanted[-1])

    def batches() -> Iterator[dict[str, Any]]:
        for start in range(0, options.samples, BATCH):
            parts = zip(*[patch(box) for box in wanted[start : min(start + BATCH, options.samples)]], strict=True)
            yield dict(zip(("image", "mask"), (torch.from_numpy(np.stack(part)) for part in parts), strict=False))

    return read(batches(), options)


if __name__ == "__main__":
    main("limit", reading, {})
