"""What `check` says, and that it says nothing of data that are right: made-up numbers and real files."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from geodata import collate
from geodata.bands import Band, Bands
from geodata.datasets import EuroSAT, ReBEN
from geodata.datasets.ssl4eo_s12 import SSL4EOS12
from geodata.zoo import InputSpec

S2 = Bands.of_sensor("sentinel-2")
STORED = Bands(replace(b, scale=1e-4, unit="reflectance") for b in S2)
LAND = np.array([0.14, 0.12, 0.1, 0.08, 0.1, 0.2, 0.24, 0.25, 0.26, 0.09, 0.002, 0.2, 0.12])
"""Typical reflectance at the top of the atmosphere, B01 to B12."""

MEAN = [1612.9, 1397.6, 1322.3, 1373.1, 1561.0, 2108.4, 2390.7, 2318.7, 2581.0, 837.7, 22.0, 2195.2, 1537.4]
STD = [791.0, 854.3, 878.7, 1144.9, 1127.5, 1164.2, 1276.0, 1249.5, 1345.9, 577.5, 47.5, 1340.0, 1142.9]
SPEC = InputSpec.from_dict({
    "name": "model",
    "images": [{
        "key": "image", "sensor": "sentinel-2", "bands": list(S2.names), "unit": "reflectance", "factor": 10000,
        "steps": [{"do": "zscore", "mean": MEAN, "std": STD}],
    }],
})  # fmt: skip


def land(seed=0):
    """(2, 13, 16, 16) reflectance."""
    noise = np.random.default_rng(seed).lognormal(0, 0.3, (2, 13, 16, 16))
    return torch.from_numpy(LAND[:, None, None] * noise).to(torch.float32)


def batch(x, bands=STORED, **rest):
    return {"image": x, "bands": bands, "key": ["a", "b"], **rest}


def only(sentences, *parts):
    """The sentences all have one of the texts, and each text is in one."""
    assert sentences
    for part in parts:
        assert any(part in s for s in sentences), (part, sentences)
    for sentence in sentences:
        assert any(part in sentence for part in parts), sentence
    return True


def test_right_data_in_any_form_are_left_in_peace():
    x = land()
    assert SPEC.check(batch(x, S2.with_state("reflectance"))) == []
    whole = (x * 10000).round()
    assert SPEC.check(batch(whole.to(torch.int16))) == [] == SPEC.check(batch(whole))
    assert SPEC.bind(STORED).check(batch(whole)) == []
    assert SPEC.check({"image": whole[0], "bands": STORED}) == []


def test_digital_numbers_and_numbers_scaled_twice():
    x = land()
    said = SPEC.check(batch(x * 10000, S2.with_state("reflectance")))
    assert only(said, "looks like digital numbers (median") and said[1].startswith("B02 looks") and "B04" in said[-1]
    assert "the model expects reflectance" in said[0]
    assert only(SPEC.check(batch(x)), "looks scaled twice")


@pytest.mark.parametrize("offset", [0.0, -0.1])
def test_reflectance_under_bands_that_say_raw(offset):
    bands = Bands(replace(b, scale=1e-4, offset=offset, unit="reflectance") for b in S2)
    said = SPEC.check(batch(land(), bands))
    assert only(said, "the bands say 'raw': if it is reflectance already, bands.with_state('reflectance')")
    assert SPEC.check(batch(land(), bands.with_state("reflectance"))) == []
    said = SPEC.check(batch(land() * 10000, bands.with_state("reflectance")))
    assert only(said, "the bands say 'reflectance'")


def test_dark_water_as_stored_is_not_normalised_nor_scaled_twice():
    bands = Bands([replace(b, scale=1e-4, unit="reflectance") for b in S2])
    water = torch.randn(2, 13, 16, 16, generator=torch.Generator().manual_seed(0)) * 2.5
    water[:, 6:] -= 40  # atmospheric correction gives less than nothing
    spec = InputSpec.from_dict({"images": [{"key": "image", "bands": list(S2.names), "unit": "reflectance"}]})
    assert spec.check(batch(water.round().to(torch.int16), bands)) == []


def test_many_bands_with_one_fault_are_said_together():
    said = SPEC.check(batch(land()))
    assert len(said) == 3 and said[-1].endswith("; the same of B04, B05, B06, B07, B08, B8A, ... (10)")


def test_units_that_are_refused_are_said_once_for_all_bands():
    said = SPEC.check(batch(land(), S2))
    assert len(said) == 1 and said[0].startswith("B01, B02, B03") and "T.ToReflectance" in said[0]
    few = SPEC.check(batch(land()[:, :12] * 10000, STORED[:12]))
    assert few == ["B12 of 'image': read this band"]


def test_numbers_that_are_normalised_already():
    x = torch.randn(2, 13, 16, 16, generator=torch.Generator().manual_seed(0))
    assert only(SPEC.check(batch(x, S2.with_state("reflectance"))), "looks normalised already")
    assert only(SPEC.check(batch(x, S2.with_state("normalised"))), "normalised already, and the model")


def test_nan_and_what_is_not_observed():
    x = land()
    x[0, 7, 0, 0] = float("nan")
    right = S2.with_state("reflectance")
    assert only(SPEC.check(batch(x, right)), "of the observed numbers of B08 are NaN")
    valid = torch.ones(2, 16, 16, dtype=torch.bool)
    valid[0, 0, 0] = False
    assert SPEC.check(batch(x, right, valid=valid)) == []
    valid[1] = False
    assert only(SPEC.check(batch(x, right, valid=valid)), "samples 1 of 'image' have no observed pixel")
    assert only(SPEC.check(batch(x, right, valid=valid & False)), "nothing of 'image' is observed")


def test_bands_of_one_value_and_equal_bands():
    right = S2.with_state("reflectance")
    x = land()
    x[:, 4] = 0.1
    assert only(SPEC.check(batch(x, right)), "B05 is 0.1 everywhere")
    x = land()
    x[:, 6] = x[:, 5]
    assert only(SPEC.check(batch(x, right)), "B06 and B07 hold the same numbers")


def test_names_in_another_order_than_the_channels():
    names = [n for n in S2.names if n != "B8A"] + ["B8A"]  # as EuroSAT's files have them
    wrong = Bands(S2.select(names), "reflectance")
    assert only(SPEC.check(batch(land(), wrong)), "nearly as bright as B02 (blue)", "standard deviations")
    right = [S2.names.index(n) for n in names]
    assert SPEC.check(batch(land()[:, right], wrong)) == []


def test_wrong_sizes_and_shapes_are_said_not_raised():
    small = replace(SPEC, images=(replace(SPEC.images[0], size=64),))
    assert only(small.check(batch(land(), S2.with_state("reflectance"))), "without a rule to resize")
    assert only(SPEC.check({"image": land()}), "needs 'bands'")
    assert only(SPEC.check({}), "needs a tensor under 'image'")
    assert only(SPEC.check(batch([land()[0]])), "list of images")
    assert only(SPEC.check(batch(land()[:0])), "holds no numbers")


def test_extras_that_cannot_be_made_are_said():
    timed = InputSpec.from_dict(SPEC.to_dict() | {"extras": {"t": {"is": "time"}}, "call": {"args": ["image", "t"]}})
    assert only(timed.check(batch(land(), S2.with_state("reflectance"))), "the model takes times")


def test_micrometres():
    short = Bands(replace(b, wavelength=b.wavelength / 1000, fwhm=None) for b in S2)
    only(SPEC.check(batch(land(), short.with_state("reflectance"))), "look like micrometres", "read this band")


RADAR = {"images": [{"key": "image", "bands": ["VV", "VH"], "unit": "dB"}]}


def test_decibels_and_linear_power():
    rng = np.random.default_rng(0)
    power = torch.from_numpy(rng.gamma(2, 0.05, (2, 2, 16, 16)))
    db = 10 * torch.log10(power)
    spec = InputSpec.from_dict(RADAR)
    as_db, as_power = Bands(["VV", "VH"], "dB"), Bands([Band("VV", unit="linear"), Band("VH", unit="linear")])
    assert spec.check(batch(db, as_db)) == []
    assert only(spec.check(batch(power, as_db)), "looks linear")
    assert only(spec.check(batch(db * 100, as_db)), "stored multiple")
    linear = InputSpec.from_dict({"images": [RADAR["images"][0] | {"unit": "linear"}]})
    assert linear.check(batch(power, as_power)) == []
    assert only(linear.check(batch(db, as_power)), "looks like dB")


PICTURE = InputSpec.from_timm({"input_size": (3, 16, 16), "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)})


def test_pictures_of_bytes_and_of_reflectance():
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.integers(20, 230, (2, 3, 16, 16)))
    plain = Bands(["red", "green", "blue"])
    shown = Bands(Band(n, unit="display") for n in plain.names)
    assert PICTURE.check(batch(x.to(torch.uint8), plain)) == []
    assert PICTURE.check(batch(x / 255, shown)) == []
    assert only(PICTURE.check(batch(x, shown)), "looks like 0 to 255")
    assert only(PICTURE.check(batch(x / 255 / 255, shown)), "almost black")
    assert only(PICTURE.check(batch(x.float(), plain)), "only uint8")
    right = S2.with_state("reflectance")
    assert only(PICTURE.check(batch(land(), right)), "looks dark as a picture")
    assert PICTURE.stretched(0.0, 0.3).check(batch(land(), right)) == []


def test_clips_that_cut_half():
    cut = replace(SPEC, images=(InputSpec.from_dict({"images": [
        SPEC.images[0].to_dict() | {"steps": [{"do": "clip", "low": 0, "high": 500}]}
    ]}).images[0],))  # fmt: skip
    assert only(cut.check(batch(land(), S2.with_state("reflectance"))), "cut off by the model's clip")


# ---------------------------------------------------------------------- real files


@pytest.fixture(scope="module")
def eurosat(realdata, tmp_path_factory):
    root = tmp_path_factory.mktemp("eurosat")
    shutil.copytree(realdata / "eurosat/EuroSAT_MS", root / "EuroSAT_MS")
    return root


@pytest.fixture(scope="module")
def ssl4eo(realdata, tmp_path_factory):
    root = tmp_path_factory.mktemp("ssl4eo")
    for name in ("s1", "s2a", "s2c"):
        os.symlink(realdata / "ssl4eo_s12" / name, root / name)
    return root


def halved(sample):
    """As if scaled, without saying so."""
    return {**sample, "image": sample["image"] * 1e-4}


def test_real_eurosat_is_right_and_its_faults_are_seen(eurosat):
    sample = EuroSAT(eurosat, split=None, on_error="skip")[0]
    assert SPEC.check(sample) == []
    assert only(SPEC.check({**sample, "bands": sample["bands"].with_state("reflectance")}), "digital numbers")
    assert only(SPEC.check(halved(sample)), "scaled twice")
    turned = Bands(reversed(list(sample["bands"])))
    assert SPEC.check({**sample, "bands": turned}) != []
    assert only(PICTURE.check(sample), "looks dark as a picture")
    assert PICTURE.stretched(0.0, 0.3).check(sample) == []


def test_real_ssl4eo_is_right_and_its_faults_are_seen(ssl4eo):
    toa = SSL4EOS12(ssl4eo, "s2c")
    both = collate([toa[0], toa[1]])
    assert SPEC.check(both) == []
    assert only(SPEC.check({**both, "bands": both["bands"].with_state("reflectance")}), "digital numbers")
    radar = SSL4EOS12(ssl4eo, "s1")[0]
    spec = InputSpec.from_dict(RADAR)
    assert spec.check(radar) == []
    assert only(spec.check({**radar, "image": 10 ** (radar["image"] / 10)}), "looks linear")


def test_real_reben_is_right_and_lacks_cirrus(realdata, tmp_path):
    for path in (realdata / "reben").iterdir():
        os.symlink(path, tmp_path / path.name)
    for path in (realdata / "reben" / "sample").iterdir():
        os.symlink(path, tmp_path / path.name)
    sample = ReBEN(tmp_path, split=None, keys=["image"], on_error="skip")[0]
    assert SPEC.check(sample) == ["B10 of 'image': read this band"]
    filled = replace(SPEC, images=(replace(SPEC.images[0], missing="mean"),))
    assert filled.check(sample) == []
    assert only(filled.check(halved(sample)), "scaled twice")
