"""The model inputs that come with the package: each loads, names its sources, and gives what it gave before.

After a deliberate change of a preset run ``python tests/zoo/test_presets.py --write``, read the difference of
golden.json and commit it with the change.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import zlib
from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from geodata import zoo
from geodata.bands import Band, Bands
from geodata.errors import BandsError, TransformError
from geodata.grid import Grid
from geodata.zoo.fields import ImageInput
from geodata.zoo.spec import InputSpec

GOLDEN = Path(__file__).with_name("golden.json")
NAMES = zoo.presets()
LEVELS = {
    "reflectance": (0.0, 0.04, 0.17, 0.43, 1.3),
    "dB": (-35.0, -22.0, -14.0, -8.0, 2.0),
    "display": (0.0, 0.1, 0.35, 0.7, 1.0),
    "raw": (0.0, 40.0, 190.0, 6100.0, 31000.0),
    "K": (230.0, 251.0, 280.0, 301.0, 330.0),
}
"""Numbers below, within and above what the recipes cut off."""

TIMES = torch.tensor([[1590000000.0, 1590000000.0], [1600003600.0, 1600003600.0]], dtype=torch.float64)
VERSION = re.compile(r"(\w+ \d+\.\d+\.\d+|[\w-]+/[\w.-]+ @ [0-9a-f]{40}), \S")
"""A package and its version, or a repository and its commit, then a file."""


def side_of(image: ImageInput) -> tuple[int, int]:
    return image.model_size or (image.multiple * -(-16 // image.multiple),) * 2


def data_bands(image: ImageInput, *, order: str = "model") -> Bands:
    """The bands that a dataset may have for an image: stored in the unit, in any order, with one too many."""
    bands = [replace(band, unit=unit) for band, unit in zip(image.bands, image.units, strict=True)]
    if order == "other":
        bands = [Band("unused", wavelength=50000.0), *bands[1::2], *bands[0::2]]
    return Bands(bands)


def ramp(image: ImageInput, bands: Bands, phase: int) -> torch.Tensor:
    """Five levels from left to right, ([T,] C, H, W); what a band holds depends on its name alone."""
    height, width = side_of(image)
    units = {band.name: unit for band, unit in zip(image.bands, image.units, strict=True)}
    planes = []
    for band in bands:
        levels = np.array(LEVELS[units.get(band.name, "raw")])
        levels *= 1 + 0.002 * (zlib.crc32(band.name.encode()) % 97) + 1e-4 * phase
        planes.append(np.broadcast_to(levels[np.arange(width) * 5 // width], (height, width)))
    x = torch.from_numpy(np.stack(planes)).float()
    return torch.stack([x, x * 0.9]) if "t" in image.layout.split() else x


def batch_of(spec: InputSpec, bands: Mapping[str, Bands], phase: int = 0, factor: float = 1.0) -> dict[str, Any]:
    """One sample as a batch, with a place and a time."""
    batch: dict[str, Any] = {}
    for image in spec.images:
        x = (ramp(image, bands[image.key], phase) * factor).unsqueeze(0)
        suffix = image.key.removeprefix("image")
        batch[image.key], batch[f"bands{suffix}"] = x, bands[image.key]
        batch[f"grid{suffix}"] = [Grid(tuple(x.shape[-2:]), (10, 0, 500000, 0, -10, 5600000), "EPSG:32633")]
        batch[f"time{suffix}"] = TIMES[None] if x.ndim == 5 else TIMES[:1]
    return batch


def shown(part: Any, value: Any, spec: InputSpec) -> Any:
    """What a model gets, as plain data: of an image one row at the middle of each level."""
    if isinstance(part, Mapping):
        assert set(part) == set(value)
        return {name: shown(item, value[name], spec) for name, item in part.items()}
    image = next((item for item in spec.images if item.key == part), None)
    if image is None:
        return np.round(value.numpy().astype(float), 4).tolist() if isinstance(value, torch.Tensor) else value
    letters = image.layout.split()
    if letters[0] == "list":
        assert isinstance(value, list)
        value = torch.stack(value)
    assert value.dtype == torch.float32
    width = value.shape[letters.index("w")]
    picked = value.index_select(letters.index("w"), torch.tensor([(2 * k + 1) * width // 10 for k in range(5)]))
    picked = picked.select(letters.index("h"), 0).double().numpy()
    decimals = 3 if len(image.bands) < 20 else 2
    return {"shape": list(value.shape), "layout": image.layout, "values": (np.round(picked, decimals) + 0.0).tolist()}


def text_of(spec: InputSpec, bands: Mapping[str, Bands], phase: int, factor: float = 1.0) -> str:
    ready = spec.bind(bands)(batch_of(spec, bands, phase, factor))
    args = [shown(part, value, spec) for part, value in zip(spec.args, ready.args, strict=True)]
    kwargs = {name: shown(part, ready.kwargs[name], spec) for name, part in spec.kwargs.items()}
    return json.dumps([args, kwargs], sort_keys=True)


def hash_of(spec: InputSpec, phase: int, *, order: str = "model") -> str:
    bands = {image.key: data_bands(image, order=order) for image in spec.images}
    return hashlib.sha256(text_of(spec, bands, phase).encode()).hexdigest()


def write() -> None:
    """Write golden.json: for each preset a ramp whose rounded results the last bits of float32 cannot change."""
    golden = {}
    for name in NAMES:
        spec = InputSpec.preset(name)
        bands = {image.key: data_bands(image) for image in spec.images}
        for phase in range(500):
            here = text_of(spec, bands, phase)
            if all(text_of(spec, bands, phase, 1 + nudge) == here for nudge in (-1e-6, 1e-6)):
                break
        else:
            raise SystemExit(f"{name}: no ramp gives results that do not depend on rounding")
        golden[name] = {"phase": phase, "sha256": hash_of(spec, phase)}
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


def golden() -> dict[str, dict[str, Any]]:
    return json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_golden_results_are_of_the_presets_there_are() -> None:
    assert sorted(golden()) == NAMES
    assert len(NAMES) > 60


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_loads_says_where_its_numbers_are_from_and_goes_through_toml(name: str) -> None:
    spec = InputSpec.preset(name)
    assert spec.name == name
    assert spec.title
    assert all(VERSION.match(part) for part in spec.source.split("; ")), spec.source
    assert InputSpec.from_toml(spec.to_toml()) == spec


@pytest.mark.parametrize("name", NAMES)
def test_results_are_as_before_whatever_the_order_of_the_datas_bands(name: str) -> None:
    spec, known = InputSpec.preset(name), golden()[name]
    update = "if that is meant, run `python tests/zoo/test_presets.py --write` and commit tests/zoo/golden.json"
    assert hash_of(spec, known["phase"]) == known["sha256"], f"{name} gives other numbers than before; {update}"
    assert hash_of(spec, known["phase"], order="other") == known["sha256"]


@pytest.mark.parametrize("name", NAMES)
def test_a_dropped_band_raises(name: str) -> None:
    spec = InputSpec.preset(name)
    whole = {image.key: data_bands(image) for image in spec.images}
    for image in spec.images:
        for band in {image.bands[0], image.bands[len(image.bands) // 2], image.bands[-1]}:
            left = Bands(b for b in whole[image.key] if b.name != band.name)
            with pytest.raises(BandsError, match=re.escape(band.name)):
                spec.bind({**whole, image.key: left})


@pytest.mark.parametrize("name", NAMES)
def test_numbers_that_are_normalised_already_are_refused(name: str) -> None:
    spec = InputSpec.preset(name)
    with pytest.raises(BandsError, match="normalised already"):
        spec.bind({image.key: data_bands(image).with_state("normalised") for image in spec.images})


@pytest.mark.parametrize("name", [name for name in NAMES if InputSpec.preset(name).images[0].resize])
def test_a_larger_image_comes_to_the_size_of_the_model(name: str) -> None:
    spec = InputSpec.preset(name)
    (image,) = spec.images
    bands = data_bands(image)
    height, width = side_of(image)
    x = torch.full((1, len(bands), height + 45, width + 60), LEVELS[image.unit][2])
    got = spec.bind(bands)({"image": x, "bands": bands}).args[0]
    still = spec.bind(bands)({"image": x[..., :height, :width], "bands": bands}).args[0]
    assert got.shape == still.shape == (1, len(bands), height, width)
    torch.testing.assert_close(got, still, rtol=0, atol=1 / 255)


def test_files_are_presets_or_the_missing_ones() -> None:
    folder = resources.files("geodata").joinpath("data").joinpath("models")
    stems = {path.name.removesuffix(".toml") for path in folder.iterdir()}
    assert stems == {*NAMES, "_missing"}


def test_a_missing_model_says_why() -> None:
    assert not set(zoo.missing()) & set(NAMES)
    for name, why in zoo.missing().items():
        assert len(why) > 40
        with pytest.raises(TransformError, match="does not come with the package"):
            InputSpec.preset(name)


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    write()
