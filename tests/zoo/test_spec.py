"""Input specs as plain data: round trips, and what is refused."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

import pytest

import geodata.zoo
from geodata.errors import BandsError, TransformError
from geodata.zoo import InputSpec, ModelInput, missing, presets
from geodata.zoo.fields import ImageInput, Step

PURE = Path(geodata.zoo.__file__).parent

FULL = """
name = "full"
title = "everything at once"
source = "made up"
target = {form = "mask", ignore = 255}

[[images]]
key = "image"
sensor = "sentinel-2"
bands = ["B04", {name = "B08", unit = "K"}]
unit = "reflectance"
factor = 10000
size = 256
crop = [224, 192]
resize = "bilinear"
antialias = false
multiple = 32
missing = "mean"
layout = "b t h w c"
[[images.steps]]
do = "zscore"
mean = [1, 2]
std = [3, 4]
[[images.steps]]
do = "clip"
low = 0
high = 1e-05
[[images.steps]]
do = "floor"

[[images]]
key = "image_s1"
bands = [{name = "VV", unit = "dB"}, "VH"]
unit = "linear"

[extras]
waves = {is = "wavelengths", unit = "nm", form = "list"}
"size é" = {is = "gsd", value = 10}

[call]
args = [{pixels = "image", w = ["waves", "size é"]}]
kwargs = {radar = "image_s1"}
"""


def small(**image):
    return {"images": [{"key": "image", "bands": ["red", "nir"], "unit": "reflectance", **image}]}


def test_toml_and_json_come_back_equal():
    spec = InputSpec.from_toml(FULL)
    assert InputSpec.from_toml(spec.to_toml()) == spec
    assert InputSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert spec.images[0].bands[1].wavelength == 832.8 and spec.images[0].units == ("reflectance", "K")
    assert spec.images[1].units == ("dB", "linear") and spec.images[0].model_size == (224, 192)


@pytest.mark.parametrize("name", presets())
def test_presets_come_back_equal(name):
    spec = InputSpec.preset(name)
    assert spec.name == name and spec.source
    assert InputSpec.from_toml(spec.to_toml()) == spec
    assert InputSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_a_file_is_read_by_its_path(tmp_path):
    path = tmp_path / "one.toml"
    path.write_text(FULL, encoding="utf-8")
    assert InputSpec.from_toml(path) == InputSpec.from_toml(FULL)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bandz": []}, "bandz"),
        ({"steps": [{"do": "zscore", "mean": 0, "std": 1, "eps": 1}]}, "eps"),
        ({"steps": [{"do": "znorm"}]}, "znorm"),
        ({"steps": [{"do": "zscore", "mean": [0, 0, 0], "std": 1}]}, "3 numbers as mean for 2 bands"),
        ({"steps": [{"do": "zscore", "mean": 0}]}, "std must be a finite number"),
        ({"steps": [{"do": "zscore", "mean": 0, "std": [1, 0]}]}, "std must be above 0"),
        ({"steps": [{"do": "range", "low": 1, "high": 1}]}, "high must be above low"),
        ({"steps": [{"do": "clip", "low": 0, "high": float("nan")}]}, "finite"),
        ({"unit": "digital numbers"}, "unit 'digital numbers' must be one of reflectance"),
        ({"layout": "b c w h"}, "layout"),
        ({"key": "picture"}, "must be 'image'"),
        ({"size": 0}, "number of pixels"),
        ({"size": [1, 2, 3]}, "number of pixels"),
        ({"size": 224, "crop": 256}, "larger than size"),
        ({"size": 224, "fit": "short", "resize": "bilinear"}, "fit 'short'"),
        ({"resize": "bilinear"}, "needs a size"),
        ({"resize": "lanczos", "size": 3}, "lanczos"),
        ({"size": 100, "multiple": 32}, "not divisible by 32"),
        ({"multiple": 0}, "multiple"),
        ({"factor": 0}, "factor"),
        ({"stretch": [0, 0.3]}, "'display' only"),
        ({"missing": "mean"}, "needs a zscore"),
        ({"missing": "drop"}, "drop"),
        ({"bands": [{"name": "red", "wave": 1}]}, "wave"),
    ],
)
def test_a_bad_image_is_refused_with_its_fault(change, said):
    with pytest.raises(TransformError, match=said.replace("(", r"\(")):
        InputSpec.from_dict(small(**change))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"author": "me"}, "author"),
        ({"call": {"arguments": []}}, "arguments"),
        ({"call": {"args": ["image", "time"]}}, "names what does not exist: time"),
        ({"extras": {"gsd": {"is": "gsd"}}}, "leaves out: gsd"),
        ({"extras": {"gsd": {"is": "gsd", "unit": "m"}}, "call": {"args": ["image", "gsd"]}}, "unknown fields unit"),
        ({"extras": {"gsd": {"value": 10}}}, "says what it is"),
        ({"extras": {"a": {"is": "weather"}}, "call": {"args": ["image", "a"]}}, "weather"),
        ({"extras": {"a": {"is": "time", "form": "moon"}}, "call": {"args": ["image", "a"]}}, "moon"),
        ({"extras": {"a": {"is": "constant"}}, "call": {"args": ["image", "a"]}}, "needs a value"),
        ({"extras": {"a": {"is": "gsd", "image": "image_x"}}, "call": {"args": ["image", "a"]}}, "image_x"),
        ({"extras": {"image": {"is": "gsd"}}}, "same names"),
        ({"target": "boxes"}, "target 'boxes' is not known"),
        ({"target": {"form": "mask", "fill": 1}}, "fill"),
        ({"images": []}, "one or more images"),
        ({"images": "image"}, "a list with at least one"),
        ({"call": {"args": [3]}}, "names of inputs"),
    ],
)
def test_a_bad_document_is_refused_with_its_fault(change, said):
    with pytest.raises(TransformError, match=said):
        InputSpec.from_dict(small() | change)


def test_bands_twice_and_bands_a_sensor_lacks_are_refused():
    with pytest.raises(BandsError, match="twice: red"):
        InputSpec.from_dict(small(bands=["red", "red"]))
    with pytest.raises(BandsError, match="sentinel-2 has no band 'B8a'"):
        InputSpec.from_dict(small(sensor="sentinel-2", bands=["B8a"]))


def test_text_that_is_no_toml_says_that_files_are_paths():
    with pytest.raises(TransformError, match="given as a Path"):
        InputSpec.from_toml("model.toml")


def test_names_of_presets_are_no_paths_and_missing_ones_say_why():
    assert presets("*no such*") == [] and presets() == sorted(presets())
    with pytest.raises(TransformError, match="no model input"):
        InputSpec.preset("../sensors")
    for name, why in missing().items():
        assert name not in presets() and why
        with pytest.raises(TransformError, match="does not come with the package"):
            InputSpec.preset(name)


def test_what_is_not_given_is_left_out_and_made_of_parts():
    image = ImageInput("image", "reflectance", steps=(Step("scale", {"multiply": 2}),))
    spec = InputSpec((image,))
    assert spec.args == ("image",) and ModelInput((), {}).target is None
    assert spec.to_dict() == {
        "images": [{"key": "image", "unit": "reflectance", "steps": [{"do": "scale", "multiply": 2.0, "add": 0.0}]}]
    }


def test_only_pictures_can_be_stretched():
    picture = InputSpec.from_dict(small(unit="display")).stretched(0, 0.3)
    assert picture.images[0].stretch == (0.0, 0.3)
    with pytest.raises(TransformError, match="nothing to stretch"):
        InputSpec.from_dict(small()).stretched(0, 0.3)
    with pytest.raises(TransformError, match="stretch"):
        InputSpec.from_dict(small(unit="display")).stretched(0.3, 0.3)


@pytest.mark.parametrize(
    "name", [*(path.stem for path in PURE.glob("from_*.py")), "beside", "fields", "published", "spec", "toml"]
)
def test_specs_are_read_without_torch(name):
    tree = ast.parse((PURE / f"{name}.py").read_text(encoding="utf-8"))
    names = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    ours = {n for n in names if n.startswith("geodata")}
    assert ours <= {
        f"geodata.{n}"
        for n in ("bands", "errors", "zoo", "zoo.beside", "zoo.fields", "zoo.published", "zoo.spec", "zoo.toml")
    }
    others = {n.partition(".")[0] for n in names - ours}
    assert others <= set(sys.stdlib_module_names), "no package of a zoo, and no torch"
