"""Bands of several images: from a sample as datasets give it, by key, and of another image than the spec names."""

from __future__ import annotations

import pytest
import torch

import geodata as gd
from geodata.bands import Bands
from geodata.datasets import ReBEN
from geodata.errors import BandsError, TransformError
from geodata.samplers import ItemSampler
from geodata.zoo import InputSpec

S2 = Bands.of_sensor("sentinel-2").with_state("reflectance")
S1 = Bands(["VV", "VH"], "dB")
RGB = {"input_size": (3, 64, 64), "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    path = tmp_path_factory.mktemp("reben")
    ReBEN.fake(path, 6)  # of four, none is in the train split
    return path


def test_an_archive_binds_by_its_bands_alone(root):
    archive = ReBEN(root, split="train", bands=("B04", "B03", "B02"), dtype=None)
    batch = next(iter(gd.Loader(archive, sampler=ItemSampler(archive), batch_size=2)))
    assert InputSpec.from_timm(RGB).bind(archive.bands)(batch).args[0].shape == (2, 3, 64, 64)


def test_a_sample_says_the_bands_of_all_its_images(root):
    archive = ReBEN(root, split=None)
    sample = archive[0]
    fit = InputSpec.preset("croma").bind(sample)
    radar, optical = fit(sample).args
    assert radar.shape == (1, 2, 120, 120) and optical.shape == (1, 12, 120, 120)
    named = InputSpec.preset("croma").bind({"image": sample["bands"], "image_s1": sample["bands_s1"]})
    assert torch.equal(named(sample).args[1], optical)
    with pytest.raises(BandsError, match="or a sample of the dataset, got Bands"):
        InputSpec.preset("croma").bind(archive.bands)
    with pytest.raises(BandsError, match="made of image_s1, image, and the batch has no bands_s1"):
        InputSpec.preset("croma").bind({"image": sample["image"], "bands": sample["bands"]})


def test_a_model_of_one_image_takes_the_image_of_the_key():
    spec = InputSpec.from_dict({
        "name": "radar", "target": "mask",
        "images": [{"key": "image", "bands": ["VH", "VV"], "unit": "dB"}],
        "extras": {"seen": {"is": "valid", "image": "image"}, "gsd": {"is": "gsd", "value": 10}},
        "call": {"args": [{"pixels": "image"}], "kwargs": {"seen": "seen", "gsd": "gsd"}},
    })  # fmt: skip
    radar, seen = -torch.rand(2, 2, 4, 4), torch.rand(2, 4, 4) > 0.5
    batch = {"image": torch.rand(2, 13, 4, 4), "bands": S2, "image_s1": radar, "bands_s1": S1, "valid_s1": seen}
    fit = spec.bind({"image_s1": S1})
    given = fit(batch)
    assert torch.equal(given.args[0]["pixels"], radar.flip(1).where(seen[:, None], 0.0))
    assert torch.equal(given.kwargs["seen"], seen) and fit.check(batch) == []
    assert spec.images[0].key == "image" and spec.check(batch) != []
    with pytest.raises(BandsError, match="'image' does not fit radar"):
        spec.bind(S2)
    with pytest.raises(TransformError, match="'image' or 'image_<name>'"):
        spec.bind({"radar": S1})


def test_check_takes_what_is_no_batch():
    assert InputSpec.preset("croma").check(None) == ["a model input is made of a sample or batch dict, got NoneType"]
    assert "complex" in InputSpec.preset("croma-sar").check({"image": torch.ones(2, 9, 9) * 1j, "bands": S1})[0]


def spec(**more):
    image = {"key": "image", "bands": ["VV"], "unit": "dB"}
    return InputSpec.from_dict({"images": [{**image, **more.pop("image", {})}], **more})


def test_the_target_is_that_of_the_image_it_is_bound_to():
    bands = Bands(["VV"], "dB")
    masks = [torch.zeros(1, 4, 4, dtype=torch.int64), torch.ones(1, 4, 4, dtype=torch.int64)]
    batch = {"image_s1": torch.zeros(1, 1, 4, 4), "bands_s1": bands, "mask": masks[0]}
    bound = spec(target="mask").bind({"image_s1": bands})
    assert torch.equal(bound(batch).target, masks[0]), "one for several images"
    assert torch.equal(bound(batch | {"mask_s1": masks[1]}).target, masks[1]), "its own"


def test_a_pixel_size_follows_the_resize_without_a_grid_too():
    bands = Bands([gd.Band("VV", gsd=10.0)], "dB")
    wants = spec(
        image={"size": 32, "resize": "bilinear"},
        extras={"gsd": {"is": "gsd"}},
        call={"args": ["image"], "kwargs": {"gsd": "gsd"}},
    )
    given = wants.bind(bands)({"image": torch.zeros(1, 1, 16, 16), "bands": bands})
    assert float(given.kwargs["gsd"]) == 5.0


def test_dates_that_fill_up_a_series_have_no_time():
    bands = Bands(["VV"], "dB")
    wants = spec(
        image={"layout": "b t c h w"},
        extras={"time": {"is": "time", "form": "year-doy"}},
        call={"args": ["image"], "kwargs": {"time": "time"}},
    )
    day = 86_400.0
    batch = {
        "image": torch.zeros(1, 2, 1, 4, 4),
        "bands": bands,
        "key": ["a"],
        "time": torch.tensor([[[0.0, day], [-torch.inf, torch.inf]]], dtype=torch.float64),
    }
    bound = wants.bind(bands)
    assert bound(batch | {"mask_time": torch.tensor([[True, False]])}).kwargs["time"].tolist() == [[[1970, 1], [0, 0]]]
    with pytest.raises(TransformError, match="is not known"):
        bound(batch)


def test_half_of_the_weight_is_enough_as_for_a_resize():
    bands = Bands(["VV"], "dB")
    batch = {
        "image": torch.tensor([[[[4.0, 99.0, 2.0, 2.0]]]]),
        "valid": torch.tensor([[[True, False, True, True]]]),
        "bands": bands,
    }
    bound = spec(image={"size": [1, 2], "resize": "area"}).bind(bands)
    assert bound(batch).args[0].flatten().tolist() == [4.0, 2.0]
