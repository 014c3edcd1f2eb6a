"""Transforms beside kornia, bare tensor expressions and bare decoding, and write docs/benchmarks-transforms.md.

    python benchmarks/transforms.py [--write] [--rounds 7]

One process, one torch thread unless a line says otherwise, the sides in turns. A figure is the median over the rounds of
the ratio of CPU times; both sides first prove that they compute the same.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import kornia.augmentation as K
import numpy as np
import rasterio
import torch
from rasterio.transform import from_origin

import geodata as gd
from geodata import transforms as T
from geodata.bands import Band, Bands
from geodata.datasets import RasterDataset, ReBEN
from geodata.samplers import RandomPatchSampler
from geodata.store import convert

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks-transforms.md"
S2 = Bands.of_sensor("sentinel-2")


def turns(sides: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Seconds of every side in every round, after one round that does not count."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, work in sides.items():
            start = clock()
            work()
            if number:
                found[name].append(clock() - start)
    return found


def ratio(times: dict[str, list[float]], ours: str, other: str) -> float:
    """How often ours goes into the time of the other."""
    return statistics.median(b / a for a, b in zip(times[ours], times[other], strict=True))


def milliseconds(times: list[float]) -> str:
    return f"{statistics.median(times) * 1e3:.0f} ms"


def batch_of(count: int, bands: Bands, size: int) -> dict[str, object]:
    """Random reflectance, all observed."""
    generator = torch.Generator().manual_seed(0)
    return {
        "image": torch.rand((count, len(bands), size, size), generator=generator),
        "valid": torch.ones((count, size, size), dtype=torch.bool),
        "bands": bands,
        "draw": torch.tensor([[0, i] for i in range(count)]),
        "key": [str(i) for i in range(count)],
    }


def augmentation(rounds: int) -> list[list[str]]:
    """Flip, rotate, crop, normalise on 32 x 13 x 224 x 224."""
    batch = batch_of(32, S2.with_state("reflectance"), 224)
    only = {"image": batch["image"], "bands": batch["bands"], "draw": batch["draw"]}
    mean = {name: 0.1 + i / 100 for i, name in enumerate(S2.names)}
    std = {name: 0.2 + i / 100 for i, name in enumerate(S2.names)}
    scaled = K.Normalize(torch.tensor(list(mean.values())), torch.tensor(list(std.values())))
    flips = [K.RandomHorizontalFlip(p=0.5), K.RandomVerticalFlip(p=0.5)]
    rows = []
    for what, own, theirs in (
        ("quarter turns", T.RandomRotate90(), K.RandomRotation90((0, 3), p=1.0)),
        ("any angle, bilinear", T.RandomAffine(degrees=180), K.RandomRotation(180.0, p=1.0)),
    ):
        ours = T.Compose([T.RandomFlip(), own, T.RandomCrop(192), T.Normalize(mean=mean, std=std)])
        other = K.AugmentationSequential(*flips, theirs, K.RandomCrop((192, 192)), scaled, data_keys=["input"])
        sides = {
            "ours": lambda ours=ours: ours(batch),
            "image alone": lambda ours=ours: ours(only),
            "kornia": lambda other=other: other(batch["image"]),
        }
        times = turns(sides, rounds, time.process_time)
        rows.append(
            [f"flip, rotate ({what}), crop to 192, normalise; 32 x 13 x 224 x 224", milliseconds(times["ours"]),
             f"kornia {metadata.version('kornia')}: {milliseconds(times['kornia'])}",
             f"{ratio(times, 'ours', 'kornia'):.1f} times as fast (image without `valid`: {ratio(times, 'image alone', 'kornia'):.1f})",
             "2 times"]
        )  # fmt: skip
    return rows


def prove_equal() -> None:
    """The same crop, mirror and scale in both libraries give the same numbers."""
    batch = batch_of(4, S2.with_state("reflectance"), 32)
    one = dict.fromkeys(S2.names, 0.25)
    ours = T.Compose(
        [T.RandomFlip(p=1), T.RandomRotate90(p=1, turns=[2]), T.CenterCrop(16), T.Normalize(mean=one, std=one)]
    )
    theirs = K.AugmentationSequential(
        K.RandomHorizontalFlip(p=1), K.RandomVerticalFlip(p=1), K.RandomRotation90((2, 2), p=1.0), K.CenterCrop(16),
        K.Normalize(torch.full((13,), 0.25), torch.full((13,), 0.25)), data_keys=["input"],
    )  # fmt: skip
    a, b = ours(batch)["image"], theirs(batch["image"])
    assert torch.allclose(a, b, atol=1e-4), float((a - b).abs().max())


def indices(rounds: int) -> list[list[str]]:
    """NDVI, EVI, NDWI beside the bare expressions."""
    batch = batch_of(32, S2.select(["B02", "B03", "B04", "B08"]).with_state("reflectance"), 224)
    image = batch["image"]

    def bare() -> torch.Tensor:
        blue, green, red, nir = image.unbind(1)
        ndvi = (nir - red) / (nir + red)
        evi = 2.5 * (nir - red) / (nir + 6.0 * red - 7.5 * blue + 1.0)
        return torch.stack([ndvi, evi, (green - nir) / (green + nir)], dim=1)

    def plain() -> tuple[torch.Tensor, ...]:
        blue, green, red, nir = image.unbind(1)
        return (
            (nir - red) / (nir + red),
            2.5 * (nir - red) / (nir + 6.0 * red - 7.5 * blue + 1.0),
            (green - nir) / (green + nir),
        )

    step = T.SpectralIndex(["NDVI", "EVI", "NDWI"], to="image_index")
    out = step(batch)
    where = out["valid_index"][:, None].expand(-1, 3, -1, -1)
    assert torch.allclose(out["image_index"][where], bare()[where], rtol=1e-4, atol=1e-5)
    times = turns({"ours": lambda: step(batch), "stacked": bare, "plain": plain}, rounds, time.process_time)
    return [
        ["NDVI, EVI, NDWI of 32 x 4 x 224 x 224", milliseconds(times["ours"]),
         f"bare expressions: {milliseconds(times['plain'])}; and stacked: {milliseconds(times['stacked'])}",
         f"{1 / ratio(times, 'ours', 'plain'):.2f} of the expressions, {1 / ratio(times, 'ours', 'stacked'):.2f} with the stack",
         "1.2"]
    ]  # fmt: skip


def noise(rounds: int) -> list[list[str]]:
    """The mixture of QRNN3D on 2 x 202 x 128 x 128."""
    bands = Bands([Band(f"b{i}", wavelength=400.0 + 10 * i) for i in range(202)], state="reflectance")
    batch = batch_of(2, bands, 128)
    rows = []
    for preset in ("qrnn3d-test", "qrnn3d-train"):
        step = T.Noise(preset, case=5)
        for threads in (1, 2):
            torch.set_num_threads(threads)
            wall = turns({"ours": lambda step=step: step(batch)}, rounds, time.perf_counter)["ours"]
            rows.append([f"mixture noise `{preset}`, 2 x 202 x 128 x 128, {threads} torch thread(s), wall time",
                         milliseconds(wall), "", f"{statistics.median(wall):.2f} s", "0.5 s"])  # fmt: skip
    torch.set_num_threads(1)
    return rows


def write_scenes(folder: Path, count: int = 16, size: int = 1024) -> None:
    """Scenes of 12 bands of smooth fields with noise, deflate with predictor, as archives come."""
    rng = np.random.default_rng(0)
    names = [name for name in S2.names if name != "B10"]
    for n in range(count):
        waves = np.cumsum(rng.normal(0, 12, (12, size, size)), axis=2)
        image = np.clip(1500 + waves + rng.normal(0, 30, waves.shape), 1, 20_000).astype("uint16")
        profile = {"count": 12, "height": size, "width": size, "dtype": "uint16", "crs": "EPSG:32633", "tiled": True}
        place = from_origin(300_000 + 20_000 * n, 5_400_000, 10, 10)
        path = folder / f"scene{n}.tif"
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            compress="deflate",
            predictor=2,
            blockxsize=256,
            blockysize=256,
            transform=place,
            **profile,
        ) as file:
            file.write(image)
            file.descriptions = names


def pipelines(rounds: int, folder: Path) -> list[list[str]]:
    """Decode -> transform -> batch beside decode -> batch, on two cores, wall time."""
    write_scenes(folder)
    images = RasterDataset(str(folder / "*.tif"), sensor="sentinel-2")
    tiles = images.tile(128)
    store = folder / "tiles.zarr"
    convert(tiles, store, progress=False)
    archive = folder / "reben"
    ReBEN.fake(archive, items=384)
    mean, std = (dict.fromkeys(images.bands.names, value) for value in (1500.0, 400.0))
    rows = []
    for what, dataset, size, length in (
        (
            "items of a look-alike of reBEN, one GeoTIFF a band",
            ReBEN(archive, split=None, bands=images.bands.names),
            120,
            384,
        ),
        ("patches of 256 from tiled GeoTIFFs, deflate", images, 256, 192),
        ("tiles of 128 from a store, lz4", gd.open_store(store), 128, 512),
    ):
        steps = [T.RandomFlip(), T.RandomRotate90(), T.RandomCrop(size * 7 // 8), T.Normalize(mean=mean, std=std)]
        ready = T.Compose(steps)
        sampler = RandomPatchSampler(dataset, size=size, length=length, seed=0)

        def run(transform: Callable | None, threads: int, dataset=dataset, sampler=sampler) -> None:
            for batch in gd.Loader(dataset, sampler=sampler, batch_size=32, threads=threads):
                if transform is not None:
                    transform(batch)

        for threads in (1, 2):
            sides = {
                "decode": lambda run=run, threads=threads: run(None, threads),
                "pipeline": lambda run=run, ready=ready, threads=threads: run(ready, threads),
            }
            wall = turns(sides, rounds, time.perf_counter)
            rows.append([f"{what}: decode in {threads} thread(s), flip, turn, crop, normalise; wall time",
                         milliseconds(wall["pipeline"]), f"decode alone: {milliseconds(wall['decode'])}",
                         f"{(1 / ratio(wall, 'pipeline', 'decode') - 1) * 100:+.0f} %", "+15 %"])  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    prove_equal()
    rows = [*augmentation(options.rounds), *indices(options.rounds), *noise(options.rounds)]
    with tempfile.TemporaryDirectory() as folder:
        rows += pipelines(options.rounds, Path(folder))
    head = ["what", "ours", "beside", "measured", "wanted"]
    table = "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])
    text = HEAD.format(python=platform.python_version(), torch=torch.__version__, rounds=options.rounds) + table + "\n"
    print(text)
    if options.write:
        PAGE.write_text(text, encoding="utf-8")


HEAD = """# Benchmarks of transforms

`make bench-transforms` writes this page. Python {python}, torch {torch}, one torch thread unless a line says otherwise, a machine with 2 cores; the sides take turns in one
process, a figure is the median of {rounds} rounds: CPU time, where a line does not say wall time. Batches carry `valid`, which is moved too; kornia gets the image alone.

"""

if __name__ == "__main__":
    main()
