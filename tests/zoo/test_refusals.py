"""Malformed specs, and batches whose parts do not go together: refused in words, never by an error of python."""

from __future__ import annotations

import pytest
import torch

from geodata.bands import Bands
from geodata.errors import GeodataError, TransformError
from geodata.grid import Grid
from geodata.interval import Interval
from geodata.zoo import InputSpec

S2 = Bands.of_sensor("sentinel-2").with_state("reflectance")
RGB = Bands(["red", "green", "blue"])
IMAGE = {"key": "image", "unit": "raw"}
UTM = Grid((32, 32), (10.0, 0.0, 500000.0, 0.0, -10.0, 5600000.0), "EPSG:32633")


def of_image(**fields):
    return {"images": [IMAGE | fields]}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (of_image(bands="B02"), "bands must be a list, got 'B02'"),
        (of_image(bands=5), "bands must be a list"),
        (of_image(bands=[{"wavelength": 5}]), "a band needs a name"),
        (of_image(steps=5), "steps must be a list"),
        (of_image(steps=[5]), "a step must be a table"),
        (of_image(bands=["a"], steps=[{"do": ["zscore"]}]), "step .* is not known"),
        (of_image(layout=5), "layout 5 must be one of"),
        (of_image(antialias="no"), "antialias 'no' must be one of True, False"),
        (of_image() | {"extras": 5}, "extras must be a table"),
        (of_image() | {"extras": {"a": {"is": ["gsd"]}}}, "is not known; there are"),
        (of_image() | {"call": {"args": "image"}}, "call.args must be a list"),
        (of_image() | {"call": {"kwargs": 5}}, "call.kwargs must be a table"),
        (of_image() | {"target": {"form": ["mask"]}}, "is not known; there are"),
        (of_image() | {"target": {"form": "mask", "ignore": "x"}}, "ignore 'x' must be a whole number"),
        (of_image() | {"target": {"form": "mask", "key": 5}}, "key 5 must be a key"),
        (of_image() | {"name": 5}, "name of a model input must be text"),
    ],
)
def test_malformed_specs(data, said):
    with pytest.raises(GeodataError, match=said):
        InputSpec.from_dict(data)


def test_a_band_that_its_sensor_lacks_survives_toml():
    bands = ["B02", {"name": "index"}, {"name": "B05", "unit": "K"}]
    spec = InputSpec.from_dict(of_image(sensor="sentinel-2", bands=bands))
    assert spec.to_dict()["images"][0]["bands"] == bands
    assert InputSpec.from_toml(spec.to_toml()) == spec


def test_any_text_survives_toml():
    spec = InputSpec.from_dict(of_image() | {"title": 'a "b" \\ \n \x7f \x00 é \U0001f6f0'})
    assert InputSpec.from_toml(spec.to_toml()) == spec


def test_names_alike_are_told():
    with pytest.raises(TransformError, match=r"no model input 'prithvi'; alike are prithvi-eo-1\.0-100m, [^c]*$"):
        InputSpec.preset("prithvi")


def detection(form="torchvision", **batch):
    spec = InputSpec.from_dict(of_image(bands=["red", "green", "blue"]) | {"target": form})
    start = {
        "image": torch.zeros(2, 3, 8, 8), "bands": RGB, "key": ["a", "b"],
        "boxes": [torch.tensor([[1.0, 1.0, 4.0, 4.0]]), torch.zeros(0)], "box_labels": [torch.tensor([3]), torch.zeros(0, dtype=int)],
    }  # fmt: skip
    return spec, start | batch


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        ({"boxes": [None, None]}, "objects at NoneType and 1 classes"),
        ({"boxes": [torch.zeros(1, 5), torch.zeros(0, 5)]}, r"\(1, 5\) and 1 classes .* must be \(1, 4\)"),
        ({"boxes": [torch.full((1, 4), torch.nan), torch.zeros(0, 4)]}, "must be finite"),
        ({"box_labels": [torch.tensor([3.0]), torch.zeros(0)]}, "whole numbers"),
        ({"image": torch.zeros(3, 3, 8, 8), "key": ["a", "b", "c"]}, "not of the image's 3"),
    ],
)
def test_objects_that_do_not_go_together(batch, said):
    spec, batch = detection(**batch)
    with pytest.raises(TransformError, match=said):
        spec.bind(RGB)(batch)


def test_an_image_without_objects_is_none_of_them():
    spec, batch = detection()
    full, empty = spec.bind(RGB)(batch).target
    assert full["labels"].tolist() == [4] and empty["boxes"].shape == (0, 4) and empty["labels"].dtype == torch.int64


def test_labels_of_another_kind_are_said():
    spec, batch = detection("yolo-obb")
    assert "the target 'yolo-obb' is made of 'corners', and the batch has boxes only" in spec.check(batch)
    del batch["boxes"], batch["box_labels"]
    assert not any("target" in line for line in spec.check(batch))


@pytest.mark.parametrize(
    ("target", "labels", "said"),
    [
        ("index", {"label": torch.tensor([1, 2, 3])}, "'label' is of 3 samples and the image of 2"),
        ("mask", {"mask": torch.zeros(3, 8, 8, dtype=int)}, "'mask' is of 3 samples"),
        ("multihot", {"label": torch.zeros(1, 4)}, "'label' is of 1 samples"),
        ({"form": "multihot", "classes": 3}, {"label": torch.zeros(2, 4)}, "multi-hot"),
    ],
)
def test_labels_of_another_number(target, labels, said):
    spec, batch = detection(target, **labels)
    with pytest.raises(TransformError, match=said):
        spec.bind(RGB)(batch)


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        ({"grid": [UTM]}, "1 grids for 2 samples"),
        ({"time": [Interval.parse("2020-06-01")]}, r"'time' has shape \(1, 2\)"),
        ({"image": torch.rand(2, 3, 13, 32, 32)}, r"'time' has shape \(2, 2\) beside 'image' of \(2, 3, 6, 32, 32\)"),
    ],
)
def test_places_and_times_of_another_number(batch, said):
    spec = InputSpec.preset("prithvi-eo-2.0-300m-tl")
    start = {
        "image": torch.rand(2, 13, 32, 32),
        "bands": S2,
        "grid": [UTM] * 2,
        "time": [Interval.parse("2020-06-01")] * 2,
    }
    assert spec.bind(S2)(start).kwargs["temporal_coords"].tolist() == [[[2020, 153]]] * 2
    with pytest.raises(TransformError, match=said):
        spec.bind(S2)(start | batch)


def test_an_empty_batch_keeps_its_axes():
    spec = InputSpec.preset("prithvi-eo-2.0-300m-tl")
    given = spec.bind(S2)({"image": torch.rand(0, 13, 32, 32), "bands": S2, "grid": [], "time": []})
    assert given.args[0].shape == (0, 6, 1, 32, 32)
    assert given.kwargs["temporal_coords"].shape == (0, 1, 2) and given.kwargs["location_coords"].shape == (0, 2)


def test_the_date_mask_is_of_the_dates():
    spec = InputSpec.from_dict(
        of_image(bands=["red"], layout="b t c h w")
        | {"extras": {"mask": {"is": "mask-time"}}, "call": {"args": ["image", "mask"]}}
    )
    bands = Bands(["red"])
    batch = {"image": torch.rand(2, 3, 1, 4, 4), "bands": bands, "mask_time": torch.ones(2, 2, dtype=torch.bool)}
    with pytest.raises(TransformError, match=r"\(2, 2\) for 2 samples of 3 dates"):
        spec.bind(bands)(batch)
