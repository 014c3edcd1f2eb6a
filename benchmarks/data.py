"""Write the archives that are measured: the same pixels on every machine, each set once.

    python benchmarks/data.py            all sets, about 7 GB; a set that is there already is kept
    python benchmarks/data.py A D        only these

A   16 scenes of 4096 x 4096 pixels, 4 bands, uint16, neighbours overlap by 96 pixels: deflate in tiles of 512 and without
    compression; 8 of them also deflate in tiles of 256 and zstd in tiles of 512; and masks, uint8
B   8 scenes of 2560 x 2560 pixels, 4 bands, in two UTM zones
C   20 scenes of 12 files at 10, 20 and 60 m, one date each
D   20,000 patches of 120 x 120 pixels, 4 bands; 2,000 patches of 12 files
E   50,000 polygons over the extent of A
"""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import fiona
import numpy as np
import rasterio
from rasterio.transform import from_origin
from workloads import DATA

WEST, NORTH = 399960.0, 5300040.0  # UTM 32N, whole multiples of 60 m
SIZE, OVERLAP, SIDE = 4096, 96, 4  # pixels of a scene, pixels that neighbours share, scenes per side
RESOLUTION = {
    "B02": 10,
    "B03": 10,
    "B04": 10,
    "B08": 10,
    "B05": 20,
    "B06": 20,
    "B07": 20,
    "B8A": 20,
    "B11": 20,
    "B12": 20,
}
RESOLUTION |= {"B01": 60, "B09": 60}
OCTAVES = ((1024, 900.0), (256, 500.0), (64, 250.0), (16, 140.0), (4, 80.0))  # pixels between nodes, amplitude
NODES = 1024


def field(rows: int, cols: int, top: int, left: int, seed: int) -> np.ndarray:
    """A landscape seen through a window: smooth noise of five scales, the same wherever two windows overlap."""
    total = np.zeros((rows, cols), np.float32)
    for octave, (cell, amplitude) in enumerate(OCTAVES):
        nodes = np.random.default_rng([seed, octave]).standard_normal((NODES, NODES), dtype=np.float32)
        down, across = (np.arange(n) + start for n, start in ((rows, top), (cols, left)))
        i, j = down // cell, across // cell
        v, u = ((p % cell / cell).astype(np.float32) for p in (down, across))
        lines = nodes[i % NODES] * (1 - v)[:, None] + nodes[(i + 1) % NODES] * v[:, None]
        total += amplitude * (lines[:, j % NODES] * (1 - u) + lines[:, (j + 1) % NODES] * u)
    return total


def scene(rows: int, cols: int, top: int, left: int, bands: int, seed: int) -> np.ndarray:
    """(bands, rows, cols) uint16 in [1, 12000]: a landscape, and noise that differs between scenes and compresses badly."""
    ground = field(rows, cols, top, left, seed)
    noise = np.random.default_rng([seed, top, left])
    image = np.empty((bands, rows, cols), np.uint16)
    for band in range(bands):
        grain = noise.standard_normal((rows, cols), dtype=np.float32)
        image[band] = np.clip(1200 + 300 * band + ground * (1 - 0.1 * band) + 25 * grain, 1, 12000)
    return image


def write(
    path: Path, image: np.ndarray, left: float, top: float, res: float = 10, epsg: int = 32632, **options
) -> None:
    """Write a GeoTIFF, whole or not at all."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, height, width = image.shape
    shape = {"count": bands, "height": height, "width": width, "dtype": image.dtype.name}
    place = {"crs": f"EPSG:{epsg}", "transform": from_origin(left, top, res, res)}
    unfinished = path.with_suffix(".unfinished")
    with rasterio.open(unfinished, "w", driver="GTiff", **shape, **place, **options) as file:
        file.write(image)
    os.replace(unfinished, path)


def tiles(side: int, **compression) -> dict:
    """Options for tiles with all bands of a pixel together."""
    return {"tiled": True, "blockxsize": side, "blockysize": side, "interleave": "pixel", **compression}


DEFLATE = {"compress": "deflate", "predictor": 2}
ZSTD = {"compress": "zstd", "predictor": 2}
VARIANTS = {
    "deflate512": tiles(512, **DEFLATE),
    "raw512": tiles(512),
    "deflate256": tiles(256, **DEFLATE),
    "zstd512": tiles(512, **ZSTD),
}


def write_a(r: int, c: int) -> None:
    top, left = r * (SIZE - OVERLAP), c * (SIZE - OVERLAP)
    corner = WEST + left * 10, NORTH - top * 10
    image = scene(SIZE, SIZE, top, left, 4, seed=7)
    for name, options in VARIANTS.items():
        if r < SIDE // 2 or name in ("deflate512", "raw512"):
            write(DATA / f"A/{name}/scene_{r}_{c}.tif", image, *corner, **options)
    classes = np.digitize(field(SIZE, SIZE, top, left, seed=8), [-900, -300, 0, 300, 900]).astype(np.uint8)
    write(DATA / f"A/mask/mask_{r}_{c}.tif", classes[None], *corner, **tiles(512, compress="deflate"))


def write_b(zone: int, i: int) -> None:
    left = 700020 if zone == 32632 else 270000  # on both sides of 12 degrees east
    image = scene(2560, 2560, 3000 * i, 5000 * (zone - 32632), 4, seed=11)
    write(DATA / f"B/{zone}_{i}.tif", image, left, NORTH - i * 25000, epsg=zone, **tiles(512, **DEFLATE))


def write_c(i: int) -> None:
    r, c = divmod(i, 5)
    for k, (band, res) in enumerate(RESOLUTION.items()):
        side = 2040 * 10 // res
        image = scene(side, side, 2000 * r, 2000 * c + 100 * k, 1, seed=13)
        path = DATA / f"C/S2_T32_202301{i + 1:02d}_{band}.tif"
        write(path, image, WEST + c * 20000, NORTH - r * 20000, res, **tiles(512 if side >= 512 else 256, **DEFLATE))


def write_d(kind: str, start: int, stop: int) -> None:
    source = scene(3000, 3000, 0, 0, 4, seed=17)
    for i in range(start, stop):
        r, c = divmod(i, 142)
        corner = WEST + c * 1200, NORTH - r * 1200
        y, x = i * 7919 % 2800, i * 104729 % 2800
        if kind == "four":
            patch = source[:, y : y + 120, x : x + 120]
            write(DATA / f"D/four/p_{i:05d}.tif", patch, *corner, interleave="pixel", **DEFLATE)
            continue
        name = f"S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_{c:02d}_{r:02d}"
        for k, (band, res) in enumerate(RESOLUTION.items()):
            side = 1200 // res
            patch = source[k % 4, y : y + side, x : x + side][None]
            write(DATA / f"D/twelve/{name}/{name}_{band}.tif", patch, *corner, res, compress="deflate")


def write_e() -> None:
    rng = np.random.default_rng(23)
    across = 224
    pitch = ((SIDE - 1) * (SIZE - OVERLAP) + SIZE) * 10 / across
    path = DATA / "E/parcels.gpkg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    schema = {"geometry": "Polygon", "properties": {"label": "int"}}
    with fiona.open(path, "w", driver="GPKG", crs="EPSG:32632", schema=schema, layer="parcels") as layer:
        for k in range(50_000):
            r, c = divmod(k, across)
            x = WEST + (c + 0.5 + rng.uniform(-0.1, 0.1)) * pitch
            y = NORTH - (r + 0.5 + rng.uniform(-0.1, 0.1)) * pitch
            corners = int(rng.integers(6, 24))
            # Corners in order of their angle, and no gap of half a turn: the outline never crosses itself.
            angle = (np.arange(corners) + rng.uniform(0.1, 0.9, corners)) * (2 * np.pi / corners)
            reach = pitch * rng.uniform(0.3, 0.55, corners)
            ring = np.stack([x + reach * np.cos(angle), y + reach * np.sin(angle)], axis=1)
            geometry = {"type": "Polygon", "coordinates": [[*ring.tolist(), ring[0].tolist()]]}
            layer.write({"geometry": geometry, "properties": {"label": int(rng.integers(1, 11))}})


SETS = {
    "A": (write_a, [(r, c) for r in range(SIDE) for c in range(SIDE)]),
    "B": (write_b, [(zone, i) for zone in (32632, 32633) for i in range(4)]),
    "C": (write_c, [(i,) for i in range(20)]),
    "D": (
        write_d,
        [("four", i, i + 1000) for i in range(0, 20_000, 1000)] + [("twelve", i, i + 250) for i in range(0, 2000, 250)],
    ),
    "E": (write_e, [()]),
}
RECIPE = 1  # a new number here writes everything again


def ensure(names: str | list[str] = "ABCDE", jobs: int = 2) -> None:
    """Write the sets that are not there yet. The manifest tells which are complete."""
    manifest = DATA / "manifest.json"
    done = json.loads(manifest.read_text()) if manifest.exists() else {}
    for name in names:
        if done.get(name, {}).get("recipe") == RECIPE:
            continue
        function, parts = SETS[name]
        print(f"writing set {name} into {DATA}", flush=True)
        with ProcessPoolExecutor(jobs) as pool:
            for future in [pool.submit(function, *part) for part in parts]:
                future.result()
        sizes = [path.stat().st_size for path in (DATA / name).rglob("*.*") if path.is_file()]
        done[name] = {"recipe": RECIPE, "files": len(sizes), "megabytes": round(sum(sizes) / 1e6)}
        manifest.write_text(json.dumps(done, indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=list(SETS))
    ensure(parser.parse_args().sets)
