"""Inputs from what zoos publish: look-alikes with the fields that each package has, in the version that is named."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass, field
from types import SimpleNamespace

import kornia.augmentation as K
import pytest
import torch
from torch import nn

from geodata.bands import Band, Bands
from geodata.errors import TransformError
from geodata.zoo import InputSpec
from geodata.zoo.published import plain

# ---------------------------------------------------------------------- timm 1.0.31, models/_pretrained.py


@dataclass
class PretrainedCfg:
    """Some of its fields with their defaults."""

    url: str | None = None
    hf_hub_id: str | None = "timm/resnet50.a1_in1k"
    architecture: str | None = "resnet50"
    tag: str | None = "a1_in1k"
    input_size: tuple[int, ...] = (3, 224, 224)
    test_input_size: tuple[int, ...] | None = (3, 288, 288)
    fixed_input_size: bool = False
    interpolation: str = "bicubic"
    crop_pct: float = 0.95
    test_crop_pct: float | None = 1.0
    crop_mode: str = "center"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    num_classes: int = 1000
    pool_size: tuple[int, ...] | None = (7, 7)
    first_conv: str | None = "conv1"
    classifier: str | None = "fc"
    license: str | None = None
    _private: dict = field(default_factory=dict)


def test_timm_resizes_the_shorter_side_and_crops():
    image = InputSpec.from_timm(PretrainedCfg()).images[0]
    assert (image.size, image.fit, image.crop, image.resize) == ((235, 235), "short", (224, 224), "bicubic")
    assert [b.name for b in image.bands] == ["red", "green", "blue"] and image.unit == "display" and image.antialias
    assert image.steps[0].values == {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def test_timm_takes_a_model_a_dict_and_what_resolve_data_config_gives():
    whole = InputSpec.from_timm(PretrainedCfg())
    assert InputSpec.from_timm(SimpleNamespace(pretrained_cfg=plain(PretrainedCfg(), ""))) == whole
    assert whole.name == "resnet50.a1_in1k" and "timm/resnet50.a1_in1k" in whole.source
    resolved = {
        "input_size": (3, 224, 224), "interpolation": "bicubic", "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225),
        "crop_pct": 0.95, "crop_mode": "center",
    }  # fmt: skip
    assert InputSpec.from_timm(resolved).images == whole.images
    assert InputSpec.from_timm(resolved, stretch=(0.0, 0.3)).images[0].stretch == (0.0, 0.3)


def test_timm_squash_keeps_no_aspect_ratio():
    image = InputSpec.from_timm({"crop_mode": "squash", "crop_pct": 0.9, "input_size": (3, 192, 256)}).images[0]
    assert (image.size, image.fit, image.crop) == ((213, 284), "stretch", (192, 256))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"crop_mode": "border"}, "border"),
        ({"interpolation": "lanczos"}, "lanczos"),
        ({"input_size": (12, 224, 224)}, "not of red, green and blue"),
        ({"mean": (0.5,)}, "1 means"),
        ({"input_size": (3, 192, 256)}, "not square"),
        ({"patch_mode": 3}, "patch_mode"),
    ],
)
def test_timm_says_what_it_cannot_be_read_as(change, said):
    with pytest.raises(TransformError, match=said):
        InputSpec.from_timm(plain(PretrainedCfg(), "") | change)
    with pytest.raises(TransformError, match="no configuration of timm"):
        InputSpec.from_timm({"url": ""})


# ------------------------------------------------- torchgeo 0.10.1, models/resnet.py; torchvision 0.29, transforms/v2


class InterpolationMode(enum.Enum):
    BILINEAR = "bilinear"


class Normalize(nn.Module):
    def __init__(self, mean, std, inplace=False):
        super().__init__()
        self.mean, self.std, self.inplace = list(mean), list(std), inplace


class Resize(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.size = [size] if isinstance(size, int) else list(size)
        self.interpolation, self.max_size, self.antialias = InterpolationMode.BILINEAR, None, True


class CenterCrop(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.size = (size, size) if isinstance(size, int) else tuple(size)


class RandomErasing(nn.Module):
    pass


S2 = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8a", "B9", "B10", "B11", "B12"]
MEAN = [1612.9, 1397.6, 1322.3, 1373.1, 1561.0, 2108.4, 2390.7, 2318.7, 2581.0, 837.7, 22.0, 2195.2, 1537.4]
STD = [791.0, 854.3, 878.7, 1144.9, 1127.5, 1164.2, 1276.0, 1249.5, 1345.9, 577.5, 47.5, 1340.0, 1142.9]


@dataclass(frozen=True)
class Weights:
    url: str
    transforms: nn.Module
    meta: dict


class ResNet50_Weights(enum.Enum):  # noqa: N801  (its name)
    """As torchvision's WeightsEnum: fields of the value are attributes of the member."""

    SENTINEL2_ALL_MOCO = "moco"
    SENTINEL2_ALL_SOFTCON = "softcon"
    SENTINEL1_GRD_MOCO = "s1"
    LANDSAT_TM_TOA_MOCO = "tm"
    SENTINEL2_RGB_SECO = "seco"
    SENTINEL2_SI_MS_SATLAS = "satlas"
    OTHER = "other"

    def __getattr__(self, name):
        if name in ("url", "transforms", "meta") and not self.__dict__.get("_busy_"):
            return getattr(WEIGHTS[self._value_], name)
        raise AttributeError(name)


def weights(bands, *steps):
    return Weights("", nn.Sequential(*steps), {"bands": bands, "in_chans": len(bands), "model": "resnet50"})


WEIGHTS = {
    "moco": weights(S2, Resize((256, 256)), CenterCrop(224), Normalize([0], [10000])),
    "softcon": weights(S2, Resize((256, 256)), CenterCrop(224), Normalize(MEAN, STD)),
    "s1": weights(["VV", "VH"], Resize((256, 256)), CenterCrop(224), Normalize([-12.59, -20.26], [5.26, 5.91])),
    "tm": weights([f"B{i}" for i in range(1, 8)], CenterCrop((224, 224)), Normalize([0], [255])),
    "seco": weights(
        ["B4", "B3", "B2"],
        *(Resize((256, 256)), CenterCrop(224), Normalize([3, 2, 0], [85, 101, 129]), Normalize([0], [1 / 255])),
        Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ),
    "satlas": weights(["B04", "B08"], CenterCrop(256), Normalize([0, 0], [255, 8160])),
    "other": weights(["R", "G", "B", "N"], nn.Identity(), RandomErasing()),
}


def test_torchgeo_sentinel_2_by_ten_thousand_and_by_statistics():
    spec = InputSpec.from_torchgeo(ResNet50_Weights.SENTINEL2_ALL_MOCO)
    image = spec.images[0]
    assert [b.name for b in image.bands][7:10] == ["B08", "B8A", "B09"] and image.bands[8].wavelength == 864.7
    assert (image.unit, image.factor, image.size, image.crop, image.resize) == (
        "reflectance", 10000, (256, 256), (224, 224), "bilinear",
    )  # fmt: skip
    x = torch.rand(1, 13, 224, 224)
    bands = Bands.of_sensor("sentinel-2").with_state("reflectance")
    torch.testing.assert_close(spec.bind(bands)({"image": x, "bands": bands}).args[0], x)
    other = InputSpec.from_torchgeo(ResNet50_Weights.SENTINEL2_ALL_SOFTCON)
    got = other.bind(bands)({"image": x, "bands": bands}).args[0]
    want = (x * 10000 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


def test_torchgeo_sentinel_1_is_told_by_its_means():
    image = InputSpec.from_torchgeo(ResNet50_Weights.SENTINEL1_GRD_MOCO).images[0]
    assert (image.unit, image.factor, [b.name for b in image.bands]) == ("dB", 1.0, ["VV", "VH"])


@pytest.mark.parametrize("name", ["LANDSAT_TM_TOA_MOCO", "SENTINEL2_RGB_SECO", "SENTINEL2_SI_MS_SATLAS"])
def test_torchgeo_units_that_are_not_told_must_be_given(name):
    with pytest.raises(TransformError, match="give unit= and factor="):
        InputSpec.from_torchgeo(ResNet50_Weights[name])
    given = InputSpec.from_torchgeo(ResNet50_Weights[name], unit="raw")
    assert given.images[0].unit == "raw" and given.images[0].factor == 1.0


def test_torchgeo_three_normalisations_one_after_the_other():
    spec = InputSpec.from_torchgeo(ResNet50_Weights.SENTINEL2_RGB_SECO, unit="display", factor=255)
    bands = Bands(["red", "green", "blue"])
    x = torch.randint(0, 256, (1, 3, 224, 224), dtype=torch.uint8)
    want = (x - torch.tensor([3, 2, 0])[:, None, None]) / torch.tensor([85, 101, 129])[:, None, None] * 255
    want = (want - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[
        :, None, None
    ]
    got = spec.bind(bands)({"image": x, "bands": bands}).args[0]
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-3)


def test_torchgeo_of_kornia_before_the_change_to_torchvision():
    steps = K.AugmentationSequential(
        K.Normalize(mean=torch.tensor([0.0]), std=torch.tensor([10000.0])), K.Resize((256, 256)), K.CenterCrop(224),
        data_keys=None,
    )  # fmt: skip
    made = SimpleNamespace(name="SENTINEL2_ALL_DINO", meta={"bands": S2}, transforms=steps)
    image = InputSpec.from_torchgeo(made).images[0]
    known = InputSpec.from_torchgeo(ResNet50_Weights.SENTINEL2_ALL_MOCO).images[0]
    assert (image.size, image.crop, image.resize, image.bands) == (known.size, known.crop, known.resize, known.bands)
    # kornia's Resize does not antialias unless told to
    assert image.antialias is False and image.steps == known.steps


def test_torchgeo_says_what_it_cannot_be_read_as():
    with pytest.raises(TransformError, match="RandomErasing"):
        InputSpec.from_torchgeo(ResNet50_Weights.OTHER, unit="raw")
    with pytest.raises(TransformError, match="says nothing of its bands"):
        InputSpec.from_torchgeo(SimpleNamespace(meta={}, transforms=nn.Identity()))
    with pytest.raises(TransformError, match="meta and transforms"):
        InputSpec.from_torchgeo("ResNet50_Weights.SENTINEL2_ALL_MOCO")
    with pytest.raises(TransformError, match="2 means for 3 bands"):
        InputSpec.from_torchgeo(weights(["R", "G", "B"], Normalize([0, 1], [1, 1])), unit="raw")
    with pytest.raises(TransformError, match="shorter side"):
        InputSpec.from_torchgeo(weights(["R", "G", "B"], Resize(224)), unit="raw")
    two = Weights("", nn.Sequential(), {"bands": ["R"], "in_chans": 3})
    with pytest.raises(TransformError, match="3 channels and 1 bands"):
        InputSpec.from_torchgeo(two, unit="raw")


def test_torchgeo_letters_are_colours():
    spec = InputSpec.from_torchgeo(weights(["R", "G", "B", "N"], nn.Identity()), unit="raw")
    assert [b.common_name for b in spec.images[0].bands] == ["red", "green", "blue", "nir"]


# ---------------------------------------------------------------------- transformers 5.23.0, models/{vit,clip}

VIT = {
    "do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
    "image_processor_type": "ViTImageProcessor", "resample": 2, "rescale_factor": 0.00392156862745098,
    "size": {"height": 224, "width": 224}, "data_format": "channels_first", "do_convert_rgb": None,
}  # fmt: skip
CLIP = VIT | {
    "size": {"shortest_edge": 224}, "do_center_crop": True, "crop_size": {"height": 224, "width": 224}, "resample": 3,
    "do_convert_rgb": True, "image_processor_type": "CLIPImageProcessor",
}  # fmt: skip


class CLIPImageProcessor:
    def to_dict(self):
        return CLIP


def test_hf_gives_pixel_values_of_bytes():
    spec = InputSpec.from_hf(json.loads(json.dumps(VIT)))
    x = torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8)
    bands = Bands(["red", "green", "blue"])
    out = spec.bind(bands)({"image": x, "bands": bands})
    assert out.args == () and set(out.kwargs) == {"pixel_values"}
    torch.testing.assert_close(out.kwargs["pixel_values"], (x / 255 - 0.5) / 0.5)
    plain_bytes = InputSpec.from_hf(VIT | {"do_rescale": False, "do_normalize": False})
    assert torch.equal(plain_bytes.bind(bands)({"image": x, "bands": bands}).kwargs["pixel_values"], x.float())


def test_hf_takes_a_processor_and_crops():
    image = InputSpec.from_hf(CLIPImageProcessor()).images[0]
    assert (image.size, image.fit, image.crop, image.resize) == ((224, 224), "short", (224, 224), "bicubic")
    assert InputSpec.from_hf(CLIP | {"resample": SimpleNamespace(value=2)}).images[0].resize == "bilinear"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"do_pad": True}, "do_pad=True"),
        ({"do_reduce_labels": True}, "do_reduce_labels"),
        ({"crop_pct": 0.875}, "crop_pct"),
        ({"size": {"shortest_edge": 800, "longest_edge": 1333}}, "height and width"),
        ({"size": {"shortest_edge": 800}}, "differ in size"),
        ({"resample": 1}, "resample 1"),
        ({"image_mean": [0.5]}, "three numbers"),
        ({"do_magic": True}, "do_magic"),
    ],
)
def test_hf_says_what_it_cannot_be_read_as(change, said):
    with pytest.raises(TransformError, match=said):
        InputSpec.from_hf(VIT | change)
    with pytest.raises(TransformError, match="no image processor"):
        InputSpec.from_hf({"size": 3})


# ---------------------------------------------------- Clay-foundation/model, configs/metadata.yaml, commit 0fa6dc7

CLAY = {
    "sentinel-2-l2a": {
        "band_order": ["blue", "red", "rededge1", "nir08"],
        "rgb_indices": [2, 1, 0],
        "gsd": 10,
        "bands": {
            "mean": {"blue": 1105.0, "red": 1552.0, "rededge1": 1887.0, "nir08": 2785.0},
            "std": {"blue": 1809.0, "red": 1888.0, "rededge1": 1870.0, "nir08": 1648.0},
            "wavelength": {"blue": 0.493, "red": 0.665, "rededge1": 0.704, "nir08": 0.865},
        },
    },
    "sentinel-1-rtc": {
        "band_order": ["vv", "vh"],
        "gsd": 10,
        "bands": {
            "mean": {"vv": 0.123273, "vh": 0.027337},
            "std": {"vv": 1.492154, "vh": 0.122182},
            "wavelength": {"vv": 3.5, "vh": 4.0},
        },
    },
}


def test_clay_is_called_with_one_dict():
    from geodata.grid import Grid
    from geodata.interval import Interval

    spec = InputSpec.from_clay(CLAY, "sentinel-2-l2a")
    bands = Bands.of_sensor("sentinel-2").with_state("reflectance")
    x = torch.rand(1, 13, 16, 16)
    grid = Grid((16, 16), (10, 0, 500000, 0, -10, 5600000), "EPSG:32633")
    out = spec.bind(bands)({"image": x, "bands": bands, "grid": [grid], "time": [Interval.parse("2020-05-03T10:00")]})
    cube = out.args[0]
    assert {k: tuple(v.shape) for k, v in cube.items()} == {
        "pixels": (1, 4, 16, 16), "time": (1, 4), "latlon": (1, 4), "gsd": (), "waves": (4,),
    }  # fmt: skip
    torch.testing.assert_close(cube["waves"], torch.tensor([0.493, 0.665, 0.704, 0.865]))
    torch.testing.assert_close(cube["pixels"][0, 2], (x[0, 4] * 10000 - 1887) / 1870, rtol=1e-4, atol=1e-5)


def test_clay_radar_has_stand_ins_for_wavelengths():
    image = InputSpec.from_clay(CLAY, "sentinel-1-rtc").images[0]
    assert image.unit == "linear" and [b.wavelength for b in image.bands] == [None, None]


def test_clay_says_what_it_cannot_be_read_as():
    with pytest.raises(TransformError, match="there are sentinel-2-l2a, sentinel-1-rtc"):
        InputSpec.from_clay(CLAY, "naip")
    with pytest.raises(TransformError, match="clouds"):
        InputSpec.from_clay({"naip": CLAY["sentinel-2-l2a"] | {"clouds": 1}}, "naip")
    broken = json.loads(json.dumps(CLAY["sentinel-2-l2a"]))
    del broken["bands"]["std"]["red"]
    with pytest.raises(TransformError, match="std of red"):
        InputSpec.from_clay({"naip": broken}, "naip")
    other = {"planet": CLAY["sentinel-2-l2a"]}
    with pytest.raises(TransformError, match="give unit= and factor="):
        InputSpec.from_clay(other, "planet")
    assert InputSpec.from_clay(other, "planet", unit="reflectance", factor=1e4).images[0].factor == 1e4


# ------------------------------------------- stac-extensions/mlm v1.3 README and v1.5.0/schema.json, examples/item_*.json


def item(**change):
    one = {
        "name": "RGB",
        "bands": ["B04", {"name": "B08"}],
        "input": {
            "shape": [-1, 2, 64, 64],
            "dim_order": ["batch", "bands", "height", "width"],
            "data_type": "float32",
        },
        "value_scaling": [
            {"type": "z-score", "mean": 1000, "stddev": 500},
            {"type": "z-score", "mean": 2000, "stddev": 800},
        ],
        "resize_type": None,
        "pre_processing_function": None,
    } | change
    return {
        "id": "resnet",
        "type": "Feature",
        "stac_version": "1.0.0",
        "properties": {
            "mlm:name": "ResNet",
            "mlm:input": [{k: v for k, v in one.items() if v != "drop"}],
            "mlm:output": [],
        },
        "assets": {
            "model": {
                "href": "x.pt",
                "eo:bands": [
                    {"name": "B04", "common_name": "red", "center_wavelength": 0.665, "full_width_half_max": 0.03},
                    {"name": "B08", "common_name": "nir", "center_wavelength": 0.842},
                ],
            }
        },
    }


def test_mlm_z_score_of_each_band():
    spec = InputSpec.from_stac_mlm(item())
    image = spec.images[0]
    assert image.bands == (Band("B04", "red", 665.0, 30.0), Band("B08", "nir", 842.0))
    assert image.unit == "raw" and image.layout == "b c h w" and image.model_size == (64, 64) and spec.name == "ResNet"
    assert image.steps[0].values == {"mean": (1000.0, 2000.0), "std": (500.0, 800.0)}
    assert (
        InputSpec.from_stac_mlm(SimpleNamespace(to_dict=item), unit="reflectance", factor=1e4).images[0].factor == 1e4
    )


def test_mlm_each_band_its_own_scaling():
    scaling = [{"type": "min-max", "minimum": 10, "maximum": 30}, {"type": "clip-min", "minimum": 5}]
    spec = InputSpec.from_stac_mlm(item(value_scaling=scaling))
    bands = Bands(["B08", "B04"])
    x = torch.tensor([[3.0, 20.0], [9.0, 40.0]])[:, :, None, None].expand(2, 2, 64, 64)
    got = spec.bind(bands)({"image": x, "bands": bands}).args[0][:, :, 0, 0]
    torch.testing.assert_close(got, torch.tensor([[0.5, 5.0], [1.5, 9.0]]))


@pytest.mark.parametrize(
    ("part", "want"),
    [
        ({"type": "offset", "value": 3}, 5.0),
        ({"type": "scale", "value": 4}, 2.0),
        ({"type": "clip", "minimum": 0, "maximum": 7}, 7.0),
        ({"type": "clip-max", "maximum": 6}, 6.0),
        ({"type": "min-max", "minimum": 0, "maximum": 16}, 0.5),
        ({"type": None}, 8.0),
    ],
)
def test_mlm_one_scaling_is_for_all_bands(part, want):
    spec = InputSpec.from_stac_mlm(item(value_scaling=[part]))
    bands = Bands(["B04", "B08"])
    got = spec.bind(bands)({"image": torch.full((1, 2, 64, 64), 8.0), "bands": bands}).args[0]
    torch.testing.assert_close(got, torch.full_like(got, want))


def test_mlm_resize_and_axes():
    image = InputSpec.from_stac_mlm(item(resize_type="interpolation-cubic")).images[0]
    assert (image.size, image.resize, image.crop) == ((64, 64), "bicubic", None)
    assert InputSpec.from_stac_mlm(item(resize_type="crop")).images[0].crop == (64, 64)
    any_size = {"shape": [-1, -1, -1, 2], "dim_order": ["batch", "height", "width", "channel"], "data_type": "float32"}
    image = InputSpec.from_stac_mlm(item(input=any_size)).images[0]
    assert image.layout == "b h w c" and image.model_size is None


def test_mlm_before_1_3_has_norm_type_and_statistics():
    old = item(
        value_scaling="drop", norm_type="z-score", norm_by_channel=True,
        statistics=[{"mean": 1000, "stddev": 500}, {"mean": 2000, "stddev": 800}],
    )  # fmt: skip
    assert InputSpec.from_stac_mlm(old).images == InputSpec.from_stac_mlm(item()).images
    with pytest.raises(TransformError, match="no statistics"):
        InputSpec.from_stac_mlm(item(value_scaling="drop", norm_type="z-score"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pre_processing_function": {"format": "python", "expression": "a.b:c"}}, "code of an item is not run"),
        ({"value_scaling": [{"type": "processing", "format": "gdal-calc", "expression": "A"}]}, "'processing'"),
        ({"value_scaling": [{"type": "z-score", "mean": 1}]}, "needs stddev"),
        ({"value_scaling": [{"type": "offset", "value": 1}] * 3}, "3 value scalings for 2"),
        ({"bands": ["B04", {"name": "NDVI", "format": "python", "expression": "x"}]}, "by an expression"),
        ({"bands": []}, "names no bands"),
        ({"resize_type": "pad"}, "pad"),
        ({"resize_type": "interpolation-lanczos4"}, "lanczos4"),
        ({"input": {"shape": [1, 2, 3], "dim_order": ["batch", "token", "class"]}}, "axes"),
        (
            {"input": {"shape": [-1, 3, 64, 64], "dim_order": ["batch", "bands", "height", "width"]}},
            "3 channels and 2 bands",
        ),
        ({"norm_with_clip_values": [1, 2]}, "norm_clip"),
        ({"flavour": 1}, "flavour"),
    ],
)
def test_mlm_says_what_it_cannot_be_read_as(change, said):
    with pytest.raises(TransformError, match=said):
        InputSpec.from_stac_mlm(item(**change))
    with pytest.raises(TransformError, match="no mlm:input"):
        InputSpec.from_stac_mlm({"properties": {}})


def test_mlm_several_inputs_are_several_images():
    two = item()
    two["properties"]["mlm:input"] *= 2
    two["properties"]["mlm:input"][1] = {**two["properties"]["mlm:input"][1], "name": "Other one"}
    assert [i.key for i in InputSpec.from_stac_mlm(two).images] == ["image_rgb", "image_other_one"]
    assert [i.key for i in InputSpec.from_stac_mlm(two, keys=["image", "image_b"]).images] == ["image", "image_b"]
    with pytest.raises(TransformError, match="1 keys for 2 inputs"):
        InputSpec.from_stac_mlm(two, keys=["image"])


def test_things_without_fields_are_refused():
    for thing in (3, "resnet50", PretrainedCfg):
        with pytest.raises(TransformError, match="mapping or an object"):
            InputSpec.from_timm(thing)


def test_pictures_of_published_datasets_fit_as_they_are_read(tmp_path):
    from geodata.datasets import DIOR

    DIOR.fake(tmp_path)
    spec = InputSpec.from_timm(
        {"input_size": (3, 224, 224), "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    )
    given = []
    for dtype in (torch.float32, None):
        sample = DIOR(tmp_path, split=None, dtype=dtype)[0]
        given.append(spec.bind(sample)(sample).args[0])
    assert torch.equal(*given) and given[0].shape == (1, 3, 224, 224) and given[0].abs().max() < 3
