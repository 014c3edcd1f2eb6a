"""Write the archives that stores are compared with: the same pixels on every machine, each once.

    python benchmarks/stores_data.py        8,192 patches as reBEN publishes them, 384 as SpectralEarth does: about 13 GB

raw/<array>.npy     what all else is written from and checked against, rows in the order of the catalog
reben/              metadata.parquet and the three folders of GeoTIFFs; lmdb/ beside them
spectral_earth/     enmap/<location>/<scene>.tif; lmdb/ beside them

A landscape is four covers mixed by power-law random fields, plateaus as of parcels, light of slopes, noise of a detector and
speckle, so that it compresses about as images do; `ratios` says how well.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1] / "bench-data" / "stores"
RAW, REBEN, EARTH = ROOT / "raw", ROOT / "reben", ROOT / "spectral_earth"
PATCHES, SCENES, WAVES = 8192, 384, 202
BANDS = {
    "s2_10m": ("B02", "B03", "B04", "B08"),
    "s2_20m": ("B05", "B06", "B07", "B8A", "B11", "B12"),
    "s2_60m": ("B01", "B09"),
    "s1": ("VV", "VH"),
    "map": ("Data",),
}
SIDES = {"s2_10m": 120, "s2_20m": 60, "s2_60m": 20, "s1": 120, "map": 120}
KINDS = {name: "float32" if name == "s1" else "uint16" for name in BANDS}
SHAPES = {name: (len(bands), SIDES[name], SIDES[name]) for name, bands in BANDS.items()}
CUBE = (WAVES, 128, 128)
CODECS = ("none", "lz4")

PRODUCTS = (
    ("S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP", "S1A_IW_GRDH_1SDV_20170613T165043", 32633, 300000, 5400000, "Austria"),
    ("S2B_MSIL2A_20180421T114349_N9999_R123_T29UPU", "S1B_IW_GRDH_1SDV_20180420T182437", 32629, 600000, 5900040, "Ireland"),
)  # fmt: skip
BLOCK = 10  # a landscape is cut into so many patches each way
# Reflectance x 10,000 of forest, soil, water and town, in the order of BANDS.
COVERS = np.array(
    [
        [290, 580, 390, 3050, 880, 2250, 2850, 3250, 1650, 780, 260, 3150],
        [880, 1180, 1620, 2450, 1780, 2050, 2250, 2550, 3150, 2650, 690, 2650],
        [340, 310, 210, 130, 220, 180, 150, 120, 70, 50, 440, 150],
        [1280, 1480, 1630, 2250, 1820, 1970, 2070, 2230, 2350, 2120, 1130, 2280],
    ],
    np.float32,
)
CODES = np.array([311, 211, 512, 112, 312, 231, 243, 324], np.uint16)


@dataclass(frozen=True)
class Patch:
    """One patch of reBEN: its names and where it lies."""

    product: int
    x: int
    y: int

    @property
    def s2(self) -> str:
        return f"{PRODUCTS[self.product][0]}_{self.x:02d}_{self.y:02d}"

    @property
    def s1(self) -> str:
        return f"{PRODUCTS[self.product][1]}_{PRODUCTS[self.product][0][-5:]}_{self.x}_{self.y}"

    @property
    def part(self) -> str:
        low, high = min(self.x, self.y), max(self.x, self.y)
        return "test" if low >= 23 and high <= 68 else "validation" if low >= 13 and high <= 77 else "train"


def landscape_patches(number: int) -> list[Patch]:
    """The patches of a landscape, row by row. Landscapes of the two products take turns; 9 x 9 fill a tile."""
    row, col = divmod(number // 2, 9)
    places = [(y, x) for y in range(BLOCK) for x in range(BLOCK)]
    return [Patch(number % 2, BLOCK * col + x, BLOCK * row + y) for y, x in places]


@cache
def patches() -> list[Patch]:
    """All patches in the order of the catalog, which is that of their names."""
    landscapes = -(-PATCHES // BLOCK**2)
    drawn = [patch for number in range(landscapes) for patch in landscape_patches(number)][:PATCHES]
    return sorted(drawn, key=lambda patch: patch.s2)


def cube_names() -> list[str]:
    """``location/scene`` of the hyperspectral patches, sorted."""
    return [f"{649 + 57 * (2 * i // 3):07d}/{20 + 7 * i:05d}" for i in range(SCENES)]


def path_of(what: str, codec: str) -> Path:
    """The store of an archive, ``reben`` or ``earth``."""
    return ROOT / f"{what}_{codec}.zarr"


def raw(name: str) -> np.ndarray:
    """One array of all samples, [N, C, H, W], on disk."""
    array: np.ndarray = np.load(RAW / f"{name}.npy", mmap_mode="r")
    return array


def fields(rng: np.random.Generator, side: int, slope: float, count: int) -> np.ndarray:
    """(count, side, side) float32 with a power spectrum of ``frequency ** -slope``, mean 0, deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)).astype(np.float32)
    frequency[0, 0] = np.inf
    out = np.empty((count, side, side), np.float32)
    for one in out:
        spectrum = np.fft.rfft2(rng.standard_normal((side, side), dtype=np.float32))
        drawn = np.fft.irfft2(spectrum * frequency ** (-slope / 2), s=(side, side))
        one[:] = (drawn - drawn.mean()) / drawn.std()
    return out


def write_landscape(number: int) -> None:
    """Draw a landscape of 12 km and write its patches into the raw arrays."""
    rng, side = np.random.default_rng([101, number]), 120 * BLOCK
    relief = fields(rng, side, 3.0, 4) + 0.35 * fields(rng, side, 1.8, 4)
    parcels = 0.5 * np.floor(2.2 * fields(rng, side, 3.4, 1)[0])
    mix = np.exp(1.4 * relief + np.multiply.outer(np.array([1, -1, 0, 0.3], np.float32), parcels))
    mix /= mix.sum(0)
    light = 1 + 0.08 * fields(rng, side, 2.6, 1)

    def coarse(planes: np.ndarray, factor: int) -> np.ndarray:
        n, size = len(planes), side // factor
        return planes.reshape(n, size, factor, size, factor).mean((2, 4))

    found, first = {}, 0
    for name, factor in (("s2_10m", 1), ("s2_20m", 2), ("s2_60m", 6)):
        spectra = COVERS[:, first : first + len(BANDS[name])]
        first += len(BANDS[name])
        image = np.tensordot(spectra.T, coarse(mix, factor), 1) * coarse(light, factor) + 60
        image += rng.standard_normal(image.shape, dtype=np.float32) * (4 + 0.007 * image)
        found[name] = np.clip(np.rint(image), 1, 16000)
    radar = []
    for offset in (0, -7):
        speckle = 10 * np.log10(rng.gamma(4.4, 1 / 4.4, (side, side)))
        speckle = 0.5 * speckle + 0.25 * np.roll(speckle, 1, 0) + 0.25 * np.roll(speckle, 1, 1)
        radar.append(-9 - 12 * mix[2] + 3 * mix[3] + 0.8 * relief[0] + offset + speckle)
    found["s1"] = np.stack(radar)
    cover = CODES[(np.argmax(mix, 0) + 4 * (relief[0] > 0.6)) % 8]
    found["map"] = cover[::8, ::8].repeat(8, 0).repeat(8, 1)[None]

    row_of = {patch: i for i, patch in enumerate(patches())}
    rows = [row_of.get(patch) for patch in landscape_patches(number)]
    kept = [k for k, row in enumerate(rows) if row is not None]
    for name, image in found.items():
        count, size = len(image), SIDES[name]
        cut = image.reshape(count, BLOCK, size, BLOCK, size).transpose(1, 3, 0, 2, 4).reshape(-1, count, size, size)
        array = np.load(RAW / f"{name}.npy", mmap_mode="r+")
        array[[rows[k] for k in kept]] = cut[kept]


def write_cubes(first: int, last: int) -> None:
    """Draw hyperspectral patches: six smooth spectra each, mixed, with more noise at the ends of the spectrum."""
    array, wave = np.load(RAW / "hsi.npy", mmap_mode="r+"), np.linspace(0, 1, WAVES)
    signal_to_noise = np.interp(wave, [0, 0.1, 0.5, 0.7, 1], [60, 250, 250, 120, 50])
    for i in range(first, last):
        rng = np.random.default_rng([103, i // 48])  # neighbours share their materials
        walks = np.cumsum(rng.normal(0, 350, (6, 12)), axis=1) + rng.uniform(800, 3000, (6, 1))
        spectra = np.stack([np.interp(wave, np.linspace(0, 1, 12), walk) for walk in walks])
        spectra += 200 * np.sin(wave * rng.uniform(10, 40, (6, 1)))
        spectra = np.clip(spectra, 60, 7000).astype(np.float32)
        rng = np.random.default_rng([107, i])
        mix = np.exp(1.2 * (fields(rng, 128, 3.0, 6) + 0.3 * fields(rng, 128, 1.8, 6)))
        cube = np.tensordot(spectra.T, mix / mix.sum(0), 1) * (1 + 0.07 * fields(rng, 128, 2.6, 1))
        sigma = (cube.mean((1, 2)) / signal_to_noise + 2).astype(np.float32)
        cube += rng.standard_normal(cube.shape, dtype=np.float32) * sigma[:, None, None]
        array[i] = np.clip(np.rint(cube), -100, 15000)


def write_raster(path: Path, data: np.ndarray, left: float, top: float, res: float, epsg: int, **tags: Any) -> None:
    """Write (C, H, W) as a GeoTIFF."""
    import rasterio
    from rasterio.transform import from_origin

    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = data.shape
    shape = {"count": count, "height": height, "width": width, "dtype": data.dtype.name}
    place = {"crs": f"EPSG:{epsg}", "transform": from_origin(left, top, res, res)}
    with rasterio.open(path, "w", driver="GTiff", **shape, **place, **tags) as file:
        file.write(data)


def write_patches(first: int, last: int) -> None:
    """Write the 15 GeoTIFFs of patches, compressed and tagged as the published ones are."""
    arrays = {name: raw(name) for name in BANDS}
    for i in range(first, last):
        patch = patches()[i]
        product, scene, epsg, left, top, _ = PRODUCTS[patch.product]
        corner = left + 1200 * patch.x, top - 1200 * patch.y
        for name, bands in BANDS.items():
            for k, band in enumerate(bands):
                tags: dict[str, Any] = {} if name == "s1" else {"nodata": 0}
                path = REBEN / "BigEarthNet-S2" / product / patch.s2 / f"{patch.s2}_{band}.tif"
                if name == "s1":
                    path = REBEN / "BigEarthNet-S1" / scene / patch.s1 / f"{patch.s1}_{band}.tif"
                if name == "map":
                    path = REBEN / "Reference_Maps" / product / patch.s2 / f"{patch.s2}_reference_map.tif"
                    tags |= {"compress": "deflate", "predictor": 2}
                write_raster(path, arrays[name][i, k : k + 1], *corner, 1200 / SIDES[name], epsg, **tags)


def write_scenes(first: int, last: int) -> None:
    """Write hyperspectral patches as SpectralEarth does."""
    array = raw("hsi")
    for i in range(first, last):
        name = cube_names()[i]
        number = int(name.split("/")[0])
        corner = 399_960 + 3840 * (number % 91), 5_300_040 - 3840 * (number % 53)
        tags = {"compress": "deflate", "zlevel": 1, "interleave": "pixel"}
        write_raster(EARTH / "enmap" / f"{name}.tif", array[i], *corner, 30, 32632, **tags)


def write_table() -> None:
    """Write metadata.parquet with the columns of the published one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from geodata.datasets.tables import classes

    table, maps = classes("clc19"), raw("map")
    known = table.codes or {}
    rows = []
    for i, patch in enumerate(patches()):
        product = PRODUCTS[patch.product]
        rows.append(
            {
                "patch_id": patch.s2,
                "labels": sorted({table.names[known[code]] for code in np.unique(maps[i]).tolist()}),
                "split": patch.part,
                "country": product[5],
                "s1_name": patch.s1,
                "s2v1_name": f"{product[0][:26]}_{patch.x}_{patch.y}",
                "contains_seasonal_snow": False,
                "contains_cloud_or_shadow": False,
            }
        )
    REBEN.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), REBEN / "metadata.parquet", compression="zstd")


def make_raw() -> None:
    """Make room for the raw arrays, for workers to fill."""
    from numpy.lib.format import open_memmap

    RAW.mkdir(parents=True, exist_ok=True)
    for name, shape in SHAPES.items():
        open_memmap(RAW / f"{name}.npy", "w+", KINDS[name], (PATCHES, *shape)).flush()
    open_memmap(RAW / "hsi.npy", "w+", "int16", (SCENES, *CUBE)).flush()


def spans(total: int, step: int) -> list[tuple[int, int]]:
    """(first, last) of pieces of a range."""
    return [(i, min(i + step, total)) for i in range(0, total, step)]


def ratios() -> dict[str, float]:
    """Bytes kept of each array by lz4 with bitshuffle, and by the deflate of GeoTIFFs, over 64 samples (8 cubes)."""
    from numcodecs import Blosc
    from rasterio.io import MemoryFile

    found, sums = {}, np.zeros(3)
    for name in (*BANDS, "hsi"):
        samples = [raw(name)[i] for i in np.linspace(0, len(raw(name)) - 1, 8 if name == "hsi" else 64).astype(int)]
        codec = Blosc("lz4", 5, Blosc.BITSHUFFLE)
        plain, packed, deflated = sum(s.nbytes for s in samples), sum(len(codec.encode(s)) for s in samples), 0
        for sample in samples:
            for part in [sample] if name == "hsi" else [band[None] for band in sample]:
                count, height, width = part.shape
                shape = {"count": count, "height": height, "width": width, "dtype": part.dtype.name}
                with MemoryFile() as held:
                    with held.open(driver="GTiff", compress="deflate", **shape) as file:
                        file.write(part)
                    deflated += len(held.read())
        found |= {f"{name} lz4": packed / plain, f"{name} deflate": deflated / plain}
        sums += 0 if name == "hsi" else (plain, packed, deflated)
    return {
        k: round(float(v), 3)
        for k, v in {**found, "all lz4": sums[1] / sums[0], "all deflate": sums[2] / sums[0]}.items()
    }


def ensure(jobs: int = 2) -> None:
    """Write what is not there yet; the manifest tells what is complete."""
    import stores_lmdb

    steps: dict[str, tuple[Callable[..., None], Sequence[tuple[int, ...]]]] = {
        "arrays": (make_raw, [()]),
        "landscapes": (write_landscape, [(n,) for n in range(-(-PATCHES // BLOCK**2))]),
        "cubes": (write_cubes, spans(SCENES, 16)),
        "table": (write_table, [()]),
        "patches": (write_patches, spans(PATCHES, 128)),
        "scenes": (write_scenes, spans(SCENES, 16)),
        "lmdb": (stores_lmdb.write_all, [()]),
    }
    manifest = ROOT / "manifest.json"
    done = json.loads(manifest.read_text()) if manifest.exists() else []
    if set(steps) <= set(done):
        return
    ROOT.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(ROOT).free / 1e9
    print(f"writing archives of about 16 GB into {ROOT}; {free:.0f} GB are free", flush=True)
    assert free > 20, "too little room"
    for name, (function, parts) in steps.items():
        if name in done:
            continue
        with ProcessPoolExecutor(jobs) as pool:
            for future in [pool.submit(function, *part) for part in parts]:
                future.result()
        done.append(name)
        manifest.write_text(json.dumps(done))
        print(f"{name} written", flush=True)


if __name__ == "__main__":
    ensure()
    print(json.dumps(ratios(), indent=1))
