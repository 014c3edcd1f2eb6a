"""The examples of the gallery, in small."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

GALLERY = Path(__file__).resolve().parents[1] / "docs" / "gallery"


def script(name):
    spec = importlib.util.spec_from_file_location(name, GALLERY / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_random_split_flatters(tmp_path):
    found = script("geographic_splits").main(tmp_path, patches=500, seeds=1)
    means = {name: np.mean(scores) for name, (scores, *_) in found.items()}
    assert means["random"] > means["40km"] + 0.15
    assert (tmp_path / "geographic_splits.png").stat().st_size > 10_000
    assert (tmp_path / "geographic_splits.txt").read_text().count("km") >= 5


def test_a_wrong_input_costs_accuracy(tmp_path):
    text = script("model_inputs").main(tmp_path, patches=240, epochs=4, shots=24)
    rows = dict(re.findall(r"^ {20}(\S.*?\S) {2,}(0\.\d+)$", text, re.MULTILINE))
    right = float(rows["as the spec says"])
    assert right > 0.5
    for wrong in ("digital numbers / 10000, no z-score", "reflectance, not digital numbers", "offset of +1000 left in"):
        assert float(rows[wrong]) < right - 0.2, wrong
    assert "normalised" in text and "BandsError" in text
    assert (tmp_path / "model_inputs.txt").read_text() == text


@pytest.mark.parametrize("name", ["geographic_splits", "model_inputs"])
def test_the_page_shows_what_the_script_wrote(name):
    page = (GALLERY / f"{name.replace('_', '-')}.md").read_text()
    assert (GALLERY / f"{name}.txt").read_text() in page
