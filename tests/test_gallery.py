"""The examples of the gallery, in small."""

from __future__ import annotations

import importlib.util
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


@pytest.mark.parametrize("name", ["geographic_splits"])
def test_the_page_shows_what_the_script_wrote(name):
    page = (GALLERY / f"{name.replace('_', '-')}.md").read_text()
    assert (GALLERY / f"{name}.txt").read_text() in page
