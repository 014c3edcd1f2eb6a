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


S2, L8 = Bands.of_sensor("sentinel-2"), Bands.of_sensor("landsat-8")


def matched(there, wanted, **more):
    """Names instead of positions."""
    return [None if i is None else there[i].name for i in there.match(wanted, **more)]


def test_match_finds_landsat_among_sentinel_and_not_by_the_number():
    assert matched(S2, L8) == ["B01", "B02", "B03", "B04", "B8A", "B11", "B12", None, "B10"]
    assert matched(L8, S2) == ["B1", "B2", "B3", "B4", None, None, None, None, "B5", None, "B9", "B6", "B7"]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (["B1", "B8a", "b12"], ["B01", "B8A", "B12"]),
        (["red", "green", "blue"], ["B04", "B03", "B02"]),
        (["B4", "nir08", "B99"], ["B04", "B8A", None]),
    ],
)
def test_match_by_plain_names(asked, found):
    assert matched(S2, Bands(asked)) == found
    assert matched(Bands(asked), S2.select([n for n in found if n])) == [
        a for a, f in zip(asked, found, strict=True) if f
    ]


@given(some_bands, st.randoms(use_true_random=False))
def test_match_finds_bands_in_themselves_whatever_their_order(bands, random):
    order = list(range(len(bands)))
    random.shuffle(order)
    shuffled = Bands((bands[i] for i in order), "dB")
    assert shuffled.match(bands) == [order.index(i) for i in range(len(bands))]


def test_match_by_wavelength_takes_the_nearest_within_the_tolerance():
    narrow = Bands(Band(f"n{i}", wavelength=400.0 + 7 * i, fwhm=9) for i in range(300))
    for wanted, i in zip(S2, narrow.match(S2), strict=True):
        assert i == int(np.abs(narrow.wavelengths - wanted.wavelength).argmin())
    some = Bands([Band("x", wavelength=660), Band("y", wavelength=860)])
    assert some.match(Bands([Band("a", wavelength=679), Band("b", wavelength=881)])) == [0, None]
    assert some.match(Bands([Band("a", wavelength=679), Band("b", wavelength=881)]), tolerance=21) == [0, 1]
    assert some.match(Bands([Band("a", wavelength=679)]), tolerance=5) == [None]
    wide = Bands([Band("x", wavelength=600, fwhm=100)])
    assert wide.match(Bands([Band("a", wavelength=640, fwhm=90)])) == [0]
    assert wide.match(Bands([Band("a", wavelength=640, fwhm=30)])) == [None], "half the smaller width is 15 nm"


def test_match_refuses_a_name_at_another_wavelength_and_says_so():
    assert S2[:8].match(L8.select(["B5"])) == [None]
    with pytest.raises(BandsError) as caught:
        S2[:8].match(L8.select(["B4", "B5", "pan"]), strict=True)
    lines = str(caught.value).splitlines()
    assert lines[0] == "2 of 3 bands are missing:"
    assert (
        "B5 (nir08, 865 nm)" in lines[1] and "B05 (rededge071, 704.1 nm) is 160.9 nm away, more than 10 nm" in lines[1]
    )
    assert "B4 (red, 655 nm)" in lines[3] and "<- B04 (red, 664.6 nm)" in lines[3]
    assert "not asked for: B01 (coastal, 442.7 nm)" in lines[4]
    with pytest.raises(BandsError, match="300 of 300") as caught:
        Bands(["x"]).match(Bands(str(i) for i in range(300)), strict=True)
    assert len(str(caught.value)) < 3000


def test_match_takes_no_panchromatic_band_for_a_narrow_one():
    etm = Bands.of_sensor("landsat-7")
    assert matched(etm, S2.select(["B05"])) == [None], "both are centred near 705 nm, 14 and 380 nm wide"
    narrow = Bands([Band("x", wavelength=590.0, fwhm=6.5)])
    assert matched(narrow, L8.select(["pan"])) == matched(L8, narrow) == [None]
    assert matched(etm, L8.select(["pan"])) == [None] and matched(L8, Bands.of_sensor("landsat-9").select(["pan"])) == [
        "B8"
    ]


def test_a_tolerance_that_is_no_number_finds_nothing():
    with pytest.raises(BandsError, match="no band within nan nm of 5000"):
        S2.nearest(5000.0, tolerance=float("nan"))


def test_match_without_wavelengths_trusts_common_names_over_names():
    there = Bands([Band("B5", "rededge"), Band("B6", "nir")])
    assert there.match(Bands([Band("B5", "nir")])) == [1]
    assert there[:1].match(Bands([Band("B5", "nir")])) == [None]
    assert there.match(Bands([Band("B5")])) == [0]


def test_match_does_not_guess():
    twice = Bands([Band("a", "rededge"), Band("b", "rededge")])
    with pytest.raises(BandsError, match=r"rededge could be a \(rededge\), b \(rededge\)"):
        twice.match(Bands(["rededge"]))
    assert Bands([Band("a", "rededge", 705), Band("b", "rededge", 740)]).match(Bands([Band("c", "rededge", 738)])) == [
        1
    ]
    with pytest.raises(BandsError, match="b1 could be B1, B01"):
        Bands(["B1", "B01"]).match(Bands(["b1"]))
    assert Bands(["B1", "B01"]).match(Bands(["B01", "B1"])) == [1, 0]
    with pytest.raises(BandsError, match="answers to both 'x' and 'y'"):
        S2.match(Bands([Band("x", wavelength=660), Band("y", wavelength=668)]))
    # One that is taken by its name is not taken again by wavelength.
    assert S2.match(Bands([Band("x", wavelength=660), Band("B04")])) == [None, 3]
    for tolerance in (-1, math.nan, "5"):
        with pytest.raises(BandsError, match="tolerance"):
            S2.match(L8, tolerance=tolerance)


@pytest.mark.parametrize(
    ("sensor", "names", "common"),
    [
        ("landsat-5", 6, {"B4": "nir", "B7": "swir22"}),
        ("landsat-7", 7, {"B3": "red", "B8": "pan"}),
        ("landsat-9", 9, {"B5": "nir08", "B9": "cirrus"}),
        ("modis", 7, {"B1": "red", "B3": "blue", "B2": "nir08"}),
        ("planetscope-superdove", 8, {"B3": "green05", "B7": "rededge071"}),
        ("sentinel-3-olci", 21, {"Oa08": "red", "Oa17": "nir08"}),
        ("worldview-3", 8, {"B4": "yellow", "B7": "nir"}),
    ],
)
def test_other_sensors(sensor, names, common):
    bands = Bands.of_sensor(sensor)
    assert len(bands) == names and all(b.wavelength and b.fwhm and b.gsd for b in bands)
    for name, wanted in common.items():
        assert bands[bands.position(name)].common_name == wanted and bands.position(wanted) == bands.position(name)
    assert len({b.common_name for b in bands if b.common_name}) == sum(b.common_name is not None for b in bands)


def test_sensors_agree_with_the_catalogue_of_indices():
    import spyndex

    ours = {
        "landsat5": "landsat-5",
        "landsat7": "landsat-7",
        "landsat9": "landsat-9",
        "modis": "modis",
        "planetscope": "planetscope-superdove",
    }
    for entry in spyndex.bands.values():
        for theirs, sensor in ours.items():
            found = getattr(entry, theirs, None)
            bands = Bands.of_sensor(sensor)
            if found is None or found.band not in bands or found.wavelength > 3000:
                continue
            mine = bands[bands.position(found.band)]
            assert (mine.wavelength, mine.fwhm) == pytest.approx((found.wavelength, found.bandwidth), abs=0.6), (
                sensor,
                mine,
            )


def test_a_name_that_moved_on_gives_way_to_the_wavelength() -> None:
    """EnMAP's bands are numbered by wavelength in one product and by spectrometer in another."""
    wanted = Bands(
        [Band(f"B{i:03d}", wavelength=w, fwhm=9.0) for i, w in ((80, 902.3), (81, 903.6), (82, 911.7), (84, 919.8))]
    )
    there = Bands(
        [Band(f"B{i:03d}", wavelength=w, fwhm=9.0) for i, w in ((79, 902.3), (80, 903.6), (81, 911.7), (82, 919.8))]
    )
    assert there.match(wanted) == [0, 1, 2, 3]
