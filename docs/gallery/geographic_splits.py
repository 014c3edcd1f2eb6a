"""The same model under a random and under geographic splits of one archive: what a random split promises too much.

An archive of small patches is made up, in which both what the ground looks like and what is to be told from it change
slowly with the place. A network is trained on one part and scored on another, for blocks of rising size.

    python docs/gallery/geographic_splits.py [FOLDER]        # `make gallery`

writes geographic_splits.png and geographic_splits.txt into the folder.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import rasterio
import torch
from rasterio.transform import from_origin

import geodata as gd
from geodata import splits
from geodata.datasets import RasterDataset
from geodata.errors import SplitWarning
from geodata.samplers import ItemSampler

SIDE, BANDS, PIXELS = 150_000.0, 6, 8
FRACTIONS = {"train": 0.7, "test": 0.3}
SIZES = ("5km", "10km", "20km", "40km")


def smooth(places, length, rng, waves=300):
    """One Gaussian random field at (N, 2) places, metres: neighbours within ``length`` are alike."""
    waves_ = rng.normal(0, 1 / length, (waves, 2))
    return np.sqrt(2 / waves) * np.cos(places @ waves_.T + rng.uniform(0, 2 * np.pi, waves)).sum(axis=1)


def write_archive(folder, patches, seed=0):
    """Write patches, and return {key: class}: 1 where a smooth field is above 0."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, SIDE, (patches, 2))
    classes = (smooth(places, 12_000, rng) > 0).astype(int)
    # Soil and air differ from place to place and say nothing of the class but where the patch is.
    ground = np.stack([smooth(places, 15_000, rng) for _ in range(BANDS)], axis=1)
    signature = 0.35 * rng.normal(size=BANDS)
    for k, (x, y) in enumerate(places):
        spectrum = 2 + ground[k] + classes[k] * signature
        pixels = spectrum[:, None, None] + 0.3 * rng.normal(size=(BANDS, PIXELS, PIXELS))
        profile = {"count": BANDS, "height": PIXELS, "width": PIXELS, "dtype": "float32", "crs": "EPSG:32633"}
        transform = from_origin(400_000 + x, 5_400_000 + y, 10, 10)
        with rasterio.open(folder / f"p{k:04d}.tif", "w", driver="GTiff", transform=transform, **profile) as file:
            file.write(pixels.astype("float32"))
    return {f"p{k:04d}": int(c) for k, c in enumerate(classes)}


def read(dataset, classes):
    """Return the mean spectrum (N, C) of every item, and its class (N,)."""
    found, labels = [], []
    for batch in gd.Loader(dataset, sampler=ItemSampler(dataset), batch_size=256):
        found.append(batch["image"].mean(dim=(2, 3)))
        labels += [classes[key] for key in batch["key"]]
    return torch.cat(found), torch.tensor(labels)


def score(dataset, split, classes, seed):
    """Train on one part; return the share of the other that is told right."""
    parts = {name: read(part, classes) for name, part in dataset.split(split).items()}
    torch.manual_seed(seed)
    x, y = parts["train"]
    mean, std = x.mean(0), x.std(0)
    model = torch.nn.Sequential(torch.nn.Linear(BANDS, 128), torch.nn.ReLU(), torch.nn.Linear(128, 128), torch.nn.ReLU(),
                                torch.nn.Linear(128, 2))  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(250):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model((x - mean) / std), y).backward()
        optimizer.step()
    x, y = parts["test"]
    return float((model((x - mean) / std).argmax(1) == y).float().mean())


def sweep(dataset, classes, seeds):
    """Return, for each way to split, the scores of all seeds, the median distance to train in km, and the last split."""
    found = {}
    for name in ("random", *SIZES):
        scores, far = [], []
        for seed in range(seeds):
            if name == "random":
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", SplitWarning)
                    split = splits.random(dataset.catalog, fractions=FRACTIONS, seed=seed)
            else:
                split = splits.blocks(dataset.catalog, size=name, fractions=FRACTIONS, seed=seed)
            report = splits.audit(dataset.catalog, split)
            far.append(report.pairs[0].gap.quantile[0.5] / 1000)
            scores.append(score(dataset, split, classes, seed))
        found[name] = scores, float(np.mean(far)), split
    return found


def table(found):
    """Return the figures as text."""
    lines = ["split     accuracy  (least to most)   median distance to train"]
    for name, (scores, far, _) in found.items():
        lines.append(f"{name:<9} {np.mean(scores):7.3f}   ({min(scores):.3f} to {max(scores):.3f})   {far:6.2f} km")
    return "\n".join(lines) + "\n"


def draw(dataset, found, path):
    """Draw the parts of the split of 20 km, and the scores over the size of blocks."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    split = found["20km"][2]
    x, y = dataset.catalog.affine[:, 2] / 1000, dataset.catalog.affine[:, 5] / 1000
    for position, (part, colour) in enumerate(zip(split.parts, ("#4477aa", "#ee6677"), strict=True)):
        rows = split.code == position
        left.scatter(x[rows], y[rows], s=6, color=colour, label=part)
    left.set(title="blocks of 20 km", xlabel="easting, km", ylabel="northing, km", aspect="equal")
    left.legend(loc="upper right")
    means = [np.mean(found[name][0]) for name in SIZES]
    spread = [[m - min(found[n][0]) for m, n in zip(means, SIZES, strict=True)],
              [max(found[n][0]) - m for m, n in zip(means, SIZES, strict=True)]]  # fmt: skip
    right.errorbar([int(name[:-2]) for name in SIZES], means, yerr=spread, marker="o", color="#ee6677", label="blocks")
    right.axhline(np.mean(found["random"][0]), color="#4477aa", linestyle="--", label="random split")
    right.axhline(0.5, color="gray", linestyle=":", label="guessing")
    right.set(title="the same model, scored", xlabel="size of blocks, km", ylabel="accuracy", xscale="log")
    right.set_xticks([5, 10, 20, 40], ["5", "10", "20", "40"])
    right.minorticks_off()
    right.legend()
    figure.savefig(path, dpi=90)


def main(out, patches=1500, seeds=4):
    """Make the archive, sweep, and write the figure and the table."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        classes = write_archive(Path(folder), patches)
        dataset = RasterDataset(folder)
        found = sweep(dataset, classes, seeds)
        (Path(out) / "geographic_splits.txt").write_text(table(found))
        draw(dataset, found, Path(out) / "geographic_splits.png")
    return found


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)
    print(table(main(target)), end="")
