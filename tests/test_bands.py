"""Bands: names, wavelengths and state, and what is refused."""

from __future__ import annotations

import json
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodata.bands import STATES, Band, Bands
from geodata.errors import BandsError, GeodataError

lengths = st.none() | st.floats(1e-3, 1e6)
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=8)
a_band = st.builds(
    Band,
    name=names,
    common_name=st.none() | st.sampled_from(["red", "nir", "x"]),
    wavelength=lengths,
    fwhm=lengths,
    gsd=lengths,
    unit=st.none() | st.just("reflectance"),
    scale=st.floats(-10, 10),
    offset=st.floats(-1000, 1000),
)
some_bands = st.builds(Bands, st.lists(a_band, max_size=6, unique_by=lambda b: b.name), state=st.sampled_from(STATES))


@given(some_bands)
def test_json_and_pickle_give_everything_back(bands):
    assert Bands.from_dict(json.loads(json.dumps(bands.to_dict()))) == bands
    back = pickle.loads(pickle.dumps(bands))
    assert back == bands and hash(back) == hash(bands) and back.state == bands.state


@pytest.mark.parametrize("name", ["x", "B1", "1", " ", "10.8", "ü"])
def test_no_name_is_lost_in_json(name):
    assert Bands.from_dict(Bands([name]).to_dict()).names == (name,)


@given(some_bands, st.randoms())
def test_select_puts_bands_in_the_order_asked_for(bands, random):
    order = list(bands.names)
    random.shuffle(order)
    chosen = bands.select(order)
    assert chosen.names == tuple(order)
    assert chosen.state == bands.state
    assert list(chosen) == [next(b for b in bands if b.name == n) for n in order]


def test_names_positions_and_slices():
    bands = Bands([Band("B4", "red", 665), Band("B8", "nir", 842), "extra"], state="reflectance")
    assert len(bands) == 3
    assert bands.names == ("B4", "B8", "extra")
    assert (bands.position("B8"), bands.position("nir"), bands.position("extra")) == (1, 1, 2)
    assert bands[0] == Band("B4", "red", 665) and bands[-1] == Band("extra")
    assert bands[1:] == Bands([Band("B8", "nir", 842), "extra"], state="reflectance")
    assert np.array_equal(bands.wavelengths, [665, 842, math.nan], equal_nan=True)
    assert [b.name for b in bands] == ["B4", "B8", "extra"]


def test_in_asks_for_a_name():
    bands = Bands([Band("B4", "red"), "B8"])
    assert "B4" in bands
    assert Band("B8") in bands
    assert "B5" not in bands


def test_a_name_goes_before_a_common_name():
    bands = Bands([Band("a", common_name="red"), Band("red")])
    assert bands.position("red") == 1


def test_unknown_and_ambiguous_names_list_what_there_is():
    bands = Bands([Band("B5", "rededge"), Band("B6", "rededge")])
    with pytest.raises(BandsError, match="no band 'B7'; there are: B5, B6"):
        bands.position("B7")
    with pytest.raises(BandsError, match=r"rededge.*B5.*B6"):
        bands.position("rededge")
    with pytest.raises(BandsError, match="300 bands"):
        Bands(str(i) for i in range(300)).position("x")


@given(st.lists(st.floats(300, 2600), min_size=1, max_size=30, unique=True), st.floats(300, 2600))
def test_nearest_is_the_nearest(centres, wanted):
    bands = Bands(Band(str(i), wavelength=w) for i, w in enumerate(centres))
    best = min(abs(w - wanted) for w in centres)
    found = bands.nearest(wanted, tolerance=1e9)
    assert abs(found.wavelength - wanted) == best


def test_nearest_keeps_its_distance():
    bands = Bands([Band("a", wavelength=500, fwhm=60), Band("b", wavelength=800)])
    assert bands.nearest(530).name == "a"
    with pytest.raises(BandsError, match=r"within 30 nm of 531.*nearest is a at 500"):
        bands.nearest(531)
    assert bands.nearest(850).name == "b"
    with pytest.raises(BandsError, match="within 50 nm"):
        bands.nearest(851)
    assert bands.nearest(700, tolerance=100).name == "b"
    with pytest.raises(BandsError, match="within 5 nm"):
        bands.nearest(506, tolerance=5)
    assert bands.select([500, "b"]).names == ("a", "b")


def test_nearest_says_whether_wavelengths_or_the_question_are_missing():
    with pytest.raises(BandsError, match="carry no wavelengths"):
        Bands(["a"]).nearest(500)
    for wanted in (math.nan, math.inf, -5.0):
        with pytest.raises(BandsError) as caught:
            Bands([Band("a", wavelength=500)]).nearest(wanted)
        assert "carry no wavelengths" not in str(caught.value)


@pytest.mark.parametrize("asked", ["ab", "a", [True], [None], [["a"]], 5])
def test_select_wants_a_list_of_names_or_wavelengths(asked):
    with pytest.raises(BandsError):
        Bands([Band("a", wavelength=1.0), "b"]).select(asked)


def test_a_band_is_there_once():
    with pytest.raises(BandsError, match=r"unique.*\['a'\]"):
        Bands(["a", "b", "a"])
    with pytest.raises(BandsError, match="unique"):
        Bands(["a", "b"]).select(["a", "a"])


@pytest.mark.parametrize("field", ["wavelength", "fwhm", "gsd"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, "500"])
def test_lengths_are_above_zero(field, value):
    with pytest.raises(BandsError, match=f"'a'.*{field}"):
        Band("a", **{field: value})


@pytest.mark.parametrize("name", ["", None, 5])
def test_a_band_has_a_name(name):
    with pytest.raises(BandsError, match="name"):
        Band(name)


def test_states_are_known():
    with pytest.raises(BandsError, match="raw, reflectance, dB, normalised"):
        Bands(["a"], state="toa")
    assert Bands(["a"]).with_state("dB").state == "dB"
    assert Bands(["a"]).with_state("dB") != Bands(["a"])
    assert Bands(["a"]) != Bands(["b"])
    assert Bands(["a"]) != ["a"]
    assert Bands([Band("a", wavelength=1.0)]) != Bands([Band("a", wavelength=2.0)])


def test_bands_do_not_change():
    bands = Bands(["a"])
    for change in (
        lambda: setattr(bands, "state", "dB"),
        lambda: setattr(bands[0], "name", "b"),
        lambda: bands.__setitem__(0, Band("b")),
    ):
        with pytest.raises((AttributeError, TypeError)):
            change()
    assert bands == Bands(["a"])


def test_renaming():
    bands = Bands([Band("a", "red", 665), "b"], state="dB")
    assert bands.renamed(a="B4") == Bands([Band("B4", "red", 665), "b"], state="dB")
    assert bands.names == ("a", "b")
    with pytest.raises(BandsError, match="zz"):
        bands.renamed(zz="B4")
    with pytest.raises(BandsError, match="unique"):
        bands.renamed(a="b")


def test_sensors_are_well_formed():
    for sensor in Bands.sensors():
        bands = Bands.of_sensor(sensor)
        assert len(bands) >= 1
        known = bands.wavelengths[~np.isnan(bands.wavelengths)]
        assert ((known > 300) & (known < 15000)).all(), sensor
    with pytest.raises(BandsError, match="sentinel-2"):
        Bands.of_sensor("sentinel2")


def test_sentinel_2_by_its_handbook():
    bands = Bands.of_sensor("sentinel-2")
    assert len(bands) == 13
    assert {b.name: b.gsd for b in bands if b.gsd == 10} == {"B02": 10, "B03": 10, "B04": 10, "B08": 10}
    assert bands.select(["blue", "green", "red", "nir"]).names == ("B02", "B03", "B04", "B08")
    for name, centre in {"B02": 492, "B04": 665, "B08": 833, "B11": 1614, "B12": 2202}.items():
        assert bands[bands.position(name)].wavelength == pytest.approx(centre, abs=15)


def test_errors_are_of_the_tree_and_of_the_builtin():
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (the class is what is tested)
        Bands(["a", "a"])
    assert isinstance(caught.value, GeodataError)
