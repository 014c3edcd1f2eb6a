"""One archive, three models that want different inputs; frozen features; and what a wrong input costs.

An archive in the layout of EuroSAT is made up: 13 bands of Sentinel-2, six kinds of land use that differ in spectrum and in
texture, under light that changes from patch to patch. `--root FOLDER` takes the real EuroSAT instead.

    python docs/gallery/model_inputs.py [FOLDER] [--root EUROSAT]        # `make gallery`

writes model_inputs.txt into the folder.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import rasterio
import torch
from rasterio.transform import from_origin
from torch import nn

import geodata as gd
from geodata import splits
from geodata import transforms as T
from geodata.bands import Bands
from geodata.datasets import EuroSAT
from geodata.errors import GeodataError
from geodata.samplers import ItemSampler
from geodata.zoo import InputSpec

S2 = Bands.of_sensor("sentinel-2")
# Top-of-atmosphere reflectance at 443, 493, 560, 665, 704, 741, 783, 833, 865, 945, 1374, 1614, 2202 nm.
SPECTRA = {
    "AnnualCrop": (0.13, 0.12, 0.12, 0.13, 0.15, 0.19, 0.21, 0.22, 0.23, 0.08, 0.01, 0.26, 0.19),
    "Forest": (0.11, 0.09, 0.07, 0.05, 0.08, 0.18, 0.22, 0.22, 0.24, 0.08, 0.01, 0.11, 0.05),
    "Pasture": (0.12, 0.10, 0.10, 0.08, 0.13, 0.24, 0.28, 0.29, 0.31, 0.09, 0.01, 0.20, 0.11),
    "PermanentCrop": (0.12, 0.11, 0.11, 0.11, 0.14, 0.20, 0.23, 0.23, 0.25, 0.08, 0.01, 0.24, 0.16),
    "Residential": (0.15, 0.14, 0.13, 0.13, 0.15, 0.18, 0.19, 0.20, 0.21, 0.08, 0.01, 0.21, 0.17),
    "SeaLake": (0.11, 0.08, 0.06, 0.04, 0.03, 0.03, 0.03, 0.03, 0.02, 0.01, 0.01, 0.01, 0.01),
}
TEXTURES = {"PermanentCrop": 0.25, "Residential": 0.25}
CLASSES = 10  # that EuroSAT has
ROWS: list[tuple[str, ...]] = []


def write_archive(root: Path, patches: int, seed: int = 0) -> None:
    """Write patches of 64 x 64 pixels, uint16, in the order of bands that EuroSAT's files have."""
    rng = np.random.default_rng(seed)
    order = [*(i for i, band in enumerate(S2) if band.name != "B8A"), S2.position("B8A")]
    rows, cols = np.mgrid[:64, :64]
    for n in range(patches):
        kind = list(SPECTRA)[n % len(SPECTRA)]
        mix = np.array(SPECTRA[kind])
        # Crops of one kind look like those of another when they are young: half of the spectrum of a neighbour.
        other = np.array(SPECTRA[list(SPECTRA)[rng.integers(len(SPECTRA) - 1)]])
        light = rng.normal(1.0, 0.15)
        weight = rng.uniform(0, 0.35)
        field = 1 + TEXTURES.get(kind, 0.05) * np.sign(np.sin((rows * rng.normal() + cols * rng.normal()) * 0.6))
        image = ((1 - weight) * mix + weight * other)[:, None, None] * light * field
        image = image * rng.normal(1, 0.08, (13, 64, 64)) + rng.normal(0, 0.004, (13, 1, 1))
        folder = root / "EuroSAT_MS" / kind
        folder.mkdir(parents=True, exist_ok=True)
        place = from_origin(300_000 + 700 * (n % 40), 5_400_000 + 700 * (n // 40), 10, 10)
        profile = {"count": 13, "height": 64, "width": 64, "dtype": "uint16", "crs": "EPSG:32633", "transform": place}
        with rasterio.open(folder / f"{kind}_{n // len(SPECTRA) + 1}.tif", "w", driver="GTiff", **profile) as file:
            file.write(np.clip(np.rint(image[order] * 1e4), 1, 30_000).astype("uint16"))


class Residual(nn.Module):
    """Two convolutions around which the input passes."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(inside, outside, 3, stride=2, padding=1), nn.BatchNorm2d(outside), nn.ReLU(),
            nn.Conv2d(outside, outside, 3, padding=1), nn.BatchNorm2d(outside),
        )  # fmt: skip
        self.around = nn.Conv2d(inside, outside, 1, stride=2)

    def forward(self, x):
        return torch.relu(self.path(x) + self.around(x))


class ResNet(nn.Sequential):
    """A small residual network of any number of bands, with mean pooling and one linear layer."""

    def __init__(self, bands: int, classes: int) -> None:
        body = nn.Sequential(Residual(bands, 16), Residual(16, 32), Residual(32, 64))
        super().__init__(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


class WaveNet(nn.Module):
    """A network whose first layer is made from the wavelengths of the bands, so that it takes any of them."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.weights = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 16 * 9))
        self.rest = nn.Sequential(
            nn.BatchNorm2d(16), nn.ReLU(), Residual(16, 32), Residual(32, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(64, classes),
        )  # fmt: skip

    def forward(self, x, wavelengths):
        # Micrometres, 0.4 to 2.5, as eight sines and cosines each.
        waves = torch.as_tensor(wavelengths, dtype=torch.float32).reshape(-1, 1) * torch.arange(1, 9) * 1.5
        kernels = self.weights(torch.cat([waves.sin(), waves.cos()], dim=1))
        kernels = kernels.reshape(-1, 16, 3, 3).transpose(0, 1)
        return self.rest(nn.functional.conv2d(x, kernels, stride=2, padding=1))


def say(*words: str) -> None:
    """Keep a line of the table that is written at the end."""
    ROWS.append(words)


def train(model, fit, dataset, *, epochs, more=()):
    """Train a classifier on what ``fit`` makes of the batches; ``more`` are transforms for this one alone."""
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    augment = T.Compose([T.RandomFlip(), T.RandomRotate90(), *more], seed=0)
    sampler = ItemSampler(dataset, shuffle=True, seed=0)
    model.train()
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        for batch in gd.Loader(dataset, sampler=sampler, batch_size=32):
            batch = augment(batch)
            given = fit(batch)
            loss = nn.functional.cross_entropy(model(*given.args, **given.kwargs), batch["label"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


@torch.no_grad()
def accuracy(model, make, dataset):
    """Return the share of samples that are classified right; ``make(batch)`` gives the model's arguments."""
    right = total = 0
    for batch in gd.Loader(dataset, batch_size=64):
        args, kwargs = make(batch)
        right += int((model(*args, **kwargs).argmax(1) == batch["label"]).sum())
        total += len(batch["label"])
    return right / total


def of(fit):
    """Arguments by an input module."""
    return lambda batch: (fit(batch).args, fit(batch).kwargs)


def three_specs(stats):
    """What three kinds of models want of the same dataset."""
    twelve = [name for name in S2.names if name != "B10"]
    numbers = {what: [stats["image"][what][name] for name in twelve] for what in ("mean", "std")}
    resnet = {"key": "image", "sensor": "sentinel-2", "bands": twelve, "unit": "reflectance", "factor": 10_000}
    waves = {"key": "image", "unit": "reflectance", "steps": [{"do": "range", "low": 0.0, "high": 0.3}]}
    timm = {"input_size": (3, 64, 64), "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    return {
        "ResNet": InputSpec.from_dict(
            {"name": "resnet-12", "images": [{**resnet, "steps": [{"do": "zscore", **numbers}]}]}
        ),
        "timm": InputSpec.from_timm({**timm, "crop_pct": 1.0, "interpolation": "bicubic"}, stretch=(0.0, 0.3)),
        "by wavelength": InputSpec.from_dict(
            {
                "name": "wavenet",
                "images": [waves],
                "extras": {"waves": {"is": "wavelengths", "unit": "um"}},
                "call": {"args": ["image", "waves"]},
            }
        ),
    }


def three_models(train_part, test_part, stats, epochs):
    """Train three models that want different inputs on one dataset; return the first and its input."""
    models = {"ResNet": ResNet(12, CLASSES), "timm": ResNet(3, CLASSES), "by wavelength": WaveNet(CLASSES)}
    wants = {
        "ResNet": "12 bands, DN, z-score",
        "timm": "RGB, display 0 to 1, ImageNet",
        "by wavelength": "any bands, um",
    }
    specs = three_specs(stats)
    say("model", "wants", "accuracy")
    for name, model in models.items():
        fit = specs[name].bind(train_part.bands)
        # The one that takes any bands learns to do with some of them.
        few, times = ([T.RandomBands(keep=[3, 13])], 2) if name == "by wavelength" else ([], 1)
        train(model, fit, train_part, epochs=epochs * times, more=few)
        say(name, wants[name], f"{accuracy(model, of(fit), test_part):.3f}")
    # The third takes other bands without being trained again.
    few = specs["by wavelength"].bind(train_part.bands.select(VISIBLE))
    chosen = lambda batch: of(few)(T.SelectBands(VISIBLE)(batch))  # noqa: E731
    say("by wavelength", "the same weights, four bands", f"{accuracy(models['by wavelength'], chosen, test_part):.3f}")
    return models["ResNet"], specs["ResNet"]


VISIBLE = ["B02", "B03", "B04", "B08"]


def frozen(model):
    """All of a network but its last layer."""
    return nn.Sequential(*list(model)[:-1]).eval().requires_grad_(False)


def probe(model, spec, train_part, test_part, shots):
    """Train one linear layer on frozen features of few samples, and of an untrained network."""
    say("", "", "")
    few = train_part.take(np.random.default_rng(0).permutation(len(train_part))[:shots])
    say("frozen features", f"linear layer on {shots} samples", "accuracy")
    torch.manual_seed(1)
    for what, body in (("trained", frozen(model)), ("untrained", frozen(ResNet(12, CLASSES)))):
        fit = spec.bind(train_part.bands)
        features, labels = [], []
        with torch.no_grad():
            for batch in gd.Loader(few, batch_size=64):
                features.append(body(*fit(batch).args))
                labels.append(batch["label"])
        x, y = torch.cat(features), torch.cat(labels)
        mean, std = x.mean(0), x.std(0) + 1e-6
        head = nn.Linear(x.shape[1], CLASSES)
        optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
        for _ in range(300):
            optimizer.zero_grad()
            nn.functional.cross_entropy(head((x - mean) / std), y).backward()
            optimizer.step()
        whole = lambda image, body=body, head=head, m=mean, s=std: head((body(image) - m) / s)  # noqa: E731
        say(what, "", f"{accuracy(whole, of(fit), test_part):.3f}")


def wrong(model, spec, stats, test_part):
    """Give the trained network inputs that look alike, and ask the spec what it thinks of them."""
    fit = spec.bind(test_part.bands)
    channels = [test_part.bands.position(band.name) for band in spec.images[0].bands]
    mean, std = (torch.tensor(list(spec.images[0].steps[0].values[k]))[:, None, None] for k in ("mean", "std"))

    def named(batch, image):
        """The same numbers as they come to somebody who renames nothing."""
        return {**batch, "image": image[:, :12], "bands": Bands(test_part.bands[:12])}

    ways = {
        "as the spec says": lambda b: fit(b).args[0],
        "reflectance, not digital numbers": lambda b: (b["image"][:, channels] / 1e4 - mean) / std,
        "digital numbers / 10000, no z-score": lambda b: b["image"][:, channels] / 1e4,
        "z-score twice": lambda b: (fit(b).args[0] - mean) / std,
        "bands in the order of the files": lambda b: (b["image"][:, FILES] - mean) / std,
        "red and blue exchanged": lambda b: fit(b).args[0][:, [0, 3, 2, 1, *range(4, 12)]],
        "offset of +1000 left in": lambda b: (b["image"][:, channels] + 1000 - mean) / std,
    }
    say("", "", "")
    say("the same network", "input", "accuracy")
    for what, make in ways.items():
        say("", what, f"{accuracy(model, lambda b, make=make: ((make(b),), {}), test_part):.3f}")
    say("", "", "")
    say("what the spec says", "", "")
    batch = next(iter(gd.Loader(test_part, batch_size=64)))
    scaled = {**batch, "image": batch["image"] / 1e4}
    say("", "digital numbers / 10000, called raw:", "")
    say("", spec.check(scaled)[0], "")
    normalised = T.Normalize(stats)(batch)
    for tried in (lambda: fit(normalised), lambda: spec.bind(test_part.bands.select(VISIBLE))):
        try:
            tried()
        except GeodataError as error:
            lines = str(error).splitlines()
            for line in (f"{type(error).__name__}: {lines[0]}", *lines[1:3]):
                say("", line, "")


FILES = [i for i, name in enumerate(sorted(S2.names, key=lambda n: (n == "B8A", n))) if name != "B10"]


def main(folder=None, *, root=None, patches=900, epochs=5, shots=48):
    """Run the examples and return their lines."""
    ROWS.clear()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as scratch:
        if root is None:
            root = Path(scratch)
            write_archive(root, patches)
        data = EuroSAT(root, split=None)
        split = splits.blocks(data.catalog, size="3km", fractions={"train": 0.5, "test": 0.5}, seed=0)
        parts = data.split(split)
        stats = gd.Statistics.fit(data, split=split, part="train")
        model, spec = three_models(parts["train"], parts["test"], stats, epochs)
        probe(model, spec, parts["train"], parts["test"], shots)
        wrong(model, spec, stats, parts["test"])
    text = "\n".join(f"{a:<20}{b:<42}{c}".rstrip() for a, b, c in ROWS) + "\n"
    if folder is not None:
        (Path(folder) / "model_inputs.txt").write_text(text, encoding="utf-8")
    return text


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default=Path(__file__).parent)
    parser.add_argument("--root", help="the real EuroSAT, instead of one that is made up")
    options = parser.parse_args()
    print(main(options.folder, root=options.root))
