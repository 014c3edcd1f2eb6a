"""Response curves, and the weights that average one sensor's bands into another's."""

from __future__ import annotations

import json
import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyrsr import RSR
from scipy import integrate
from spectral import BandResampler

from geodata.bands import Band, Bands
from geodata.datasets.enmap_table import bands as enmap
from geodata.datasets.enmap_table import valid_bands
from geodata.errors import BandsError, MissingDependencyError
from geodata.responses import Responses


def grid(first, last, step, fwhm):
    """Bands at equal distances."""
    return Bands(Band(f"{nm:g}", wavelength=float(nm), fwhm=fwhm) for nm in np.arange(first, last + 1, step))


def one(centre, fwhm):
    return Bands([Band("x", wavelength=centre, fwhm=fwhm)])


def test_weights_are_those_of_spectral_where_bands_touch():
    source, target = grid(400, 1000, 10, 10), Bands.of_sensor("sentinel-2").select(["B03", "B04", "B08", "B8A"])
    mine = Responses.gaussian(target).weights(source)
    widths = [[b.fwhm for b in bands] for bands in (source, target)]
    theirs = BandResampler(source.wavelengths, target.wavelengths, *widths).matrix
    # They cut the response off at half a width, we follow it to 1.7 widths: compared where both have weight.
    for row, other, band in zip(mine, theirs, target, strict=True):
        inner = np.abs(source.wavelengths - band.wavelength) <= (band.fwhm - 10) / 2
        assert inner.any(), band
        np.testing.assert_allclose(row[inner] / row[inner].sum(), other[inner] / other[inner].sum(), rtol=2e-4)


def test_weights_by_the_error_function():
    source = grid(400, 800, 10, 10)
    mine = Responses.gaussian(one(600.0, 50.0)).weights(source)[0]
    sigma = 50 / 2.3548200450309493
    edges = (np.arange(395, 806, 10) - 600) / sigma / math.sqrt(2)
    by_hand = np.diff([math.erf(x) for x in edges]) / 2
    np.testing.assert_allclose(mine, by_hand, atol=1e-4)


def test_a_smooth_spectrum_is_averaged_as_its_integral_is():
    def spectrum(nm):
        return 0.3 + 0.2 * np.sin(nm / 90) + 0.05 * np.cos(nm / 25)

    source = valid_bands()
    measured = np.array(
        [
            integrate.quad(lambda x, b=b: spectrum(x) / b.fwhm, b.wavelength - b.fwhm / 2, b.wavelength + b.fwhm / 2)[0]
            for b in source
        ]
    )
    for responses in (Responses.gaussian("sentinel-2"), Responses.measured("sentinel-2a")):
        kept = [i for i, name in enumerate(responses.bands.names) if name != "B10"]
        for k in kept:
            x, y = responses.curves[k]
            fine = np.linspace(x[0], x[-1], 20001)
            weight = np.interp(fine, x, y)
            wanted = np.trapezoid(weight * spectrum(fine), fine) / np.trapezoid(weight, fine)
            part = Responses.from_curves(responses.bands[k : k + 1], [(x, y)])
            assert (part.weights(source) @ measured)[0] == pytest.approx(wanted, abs=2e-3), responses.bands[k].name


@given(
    st.lists(st.floats(400, 1000), min_size=30, max_size=60, unique=True),
    st.floats(20, 30),
    st.randoms(use_true_random=False),
)
def test_weights_are_means_and_do_not_mind_the_order(centres, fwhm, random):
    source = Bands(Band(str(i), wavelength=w, fwhm=fwhm + i % 5) for i, w in enumerate(centres))
    responses = Responses.gaussian(one(700.0, 60.0))
    try:
        weights = responses.weights(source, coverage=0.5)
    except BandsError:
        return
    assert weights.shape == (1, len(source)) and (weights >= 0).all()
    assert weights.sum() == pytest.approx(1.0)
    order = list(range(len(source)))
    random.shuffle(order)
    mixed = responses.weights(Bands(source[i] for i in order), coverage=0.5)
    np.testing.assert_allclose(mixed[0], weights[0][order], atol=1e-12)


def test_overlapping_bands_share_and_unequal_spacing_counts():
    box = Responses.box(one(600.0, 40.0))
    twice = Bands(
        [Band("a", wavelength=590, fwhm=20), Band("b", wavelength=590, fwhm=20), Band("c", wavelength=610, fwhm=20)]
    )
    np.testing.assert_allclose(box.weights(twice)[0], [0.25, 0.25, 0.5])
    uneven = Bands([Band("a", wavelength=585, fwhm=10), Band("b", wavelength=605, fwhm=30)])
    np.testing.assert_allclose(box.weights(uneven)[0], [0.25, 0.75])
    # A hole of 4 nm is less than a width: its neighbours meet in the middle.
    holed = Bands([Band("a", wavelength=588, fwhm=16), Band("b", wavelength=610, fwhm=20)])
    np.testing.assert_allclose(box.weights(holed, coverage=0.99)[0], [(598 - 580) / 40, 22 / 40])


def test_unknown_widths_are_taken_from_the_spacing_if_it_is_narrow():
    bare = Bands(Band(str(nm), wavelength=float(nm)) for nm in range(500, 701, 10))
    box = Responses.box(one(600.0, 40.0))
    np.testing.assert_allclose(box.weights(bare), box.weights(grid(500, 700, 10, 10)))
    with pytest.raises(BandsError, match="give their fwhm"):
        box.weights(Bands([Band("red", wavelength=660.0), Band("green", wavelength=560.0)]))
    with pytest.raises(BandsError, match="give their fwhm"):
        box.weights(Bands([Band("red", wavelength=600.0)]))


def test_what_the_source_does_not_see_is_refused():
    sentinel = Responses.gaussian("sentinel-2")
    with pytest.raises(BandsError, match=r"B10 \(1324 to 1423 nm, 0% seen\); wanted is 95%"):
        sentinel.weights(valid_bands())
    with pytest.raises(BandsError, match=r"x \(.* 62% seen"):
        Responses.gaussian(one(800.0, 40.0)).weights(grid(400, 800, 10, 10))
    half = Responses.gaussian(one(800.0, 40.0)).weights(grid(400, 800, 10, 10), coverage=0.5)
    assert half.sum() == pytest.approx(1.0)
    # One of each of the two spectrometers sees 902 to 993 nm; the order of the product must not matter.
    b09 = Responses.measured("sentinel-2a", ["B09"])
    product, sorted_ = enmap("product"), enmap("wavelength")
    assert b09.weights(product) @ product.wavelengths == pytest.approx(b09.weights(sorted_) @ sorted_.wavelengths)


@pytest.mark.parametrize("coverage", [0, -1, 1.1])
def test_coverage_is_a_fraction(coverage):
    with pytest.raises(BandsError, match="coverage"):
        Responses.box(one(600.0, 40.0)).weights(grid(500, 700, 10, 10), coverage=coverage)


def test_sources_need_bands_and_wavelengths():
    box = Responses.box(one(600.0, 40.0))
    with pytest.raises(BandsError, match="no source bands"):
        box.weights(Bands([]))
    with pytest.raises(BandsError, match="wavelength"):
        box.weights(Bands(["a", "b"]))
    with pytest.raises(BandsError, match="need a wavelength and a fwhm"):
        Responses.gaussian(Bands([Band("a", wavelength=600.0)]))


@pytest.mark.parametrize("order", [1, 2, 7])
@pytest.mark.parametrize("finesse", [3.0, 20.0])
def test_airy_has_its_free_spectral_range_width_and_maxima(order, finesse):
    peak = 600.0
    made = Responses.airy(one(peak, 1.0), finesse=finesse, order=order, passband=(200.0, 2000.0))
    x, y = made.curves[0]
    assert y.max() == pytest.approx(1.0, abs=1e-3)
    reflectivity = made.recipe["reflectivity"]
    assert math.pi * math.sqrt(reflectivity) / (1 - reflectivity) == pytest.approx(finesse)
    # Between the peaks T = 1 / (1 + F) = ((1 - R) / (1 + R)) ** 2.
    assert y.min() == pytest.approx(((1 - reflectivity) / (1 + reflectivity)) ** 2, rel=1e-3)
    tops = x[1:-1][(y[1:-1] > y[:-2]) & (y[1:-1] >= y[2:])]
    wanted = [order * peak / k for k in range(order * 5, 0, -1) if 200 < order * peak / k < 2000]
    np.testing.assert_allclose(tops, wanted, rtol=2e-3)
    # The width of the peak: by its two half points on the curve, and by free spectral range / finesse in wavenumber.
    near = (x > order * peak / (order + 0.5)) & (x < order * peak / (order - 0.5))
    above = x[near & (y >= 0.5)]
    assert above[-1] - above[0] == pytest.approx(made.bands[0].fwhm, rel=0.02)
    in_wavenumber = 1 / above[0] - 1 / above[-1]
    assert in_wavenumber == pytest.approx(1 / (order * peak) / finesse, rel=0.06)


def test_airy_blocks_other_orders_by_default():
    x, _ = Responses.airy(one(600.0, 1.0), reflectivity=0.9, order=2).curves[0]
    assert (x[0], x[-1]) == pytest.approx((2 * 600 / 2.5, 2 * 600 / 1.5))
    leaky = Responses.airy(one(900.0, 1.0), reflectivity=0.9, order=2, passband=(400, 1000))
    source = grid(400, 1000, 5, 5)
    weights = leaky.weights(source)[0]
    assert weights[source.position("600")] > 0.5 * weights[source.position("900")], "third order of the same gap"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "either the reflectivity"),
        ({"reflectivity": 0.9, "finesse": 20}, "either the reflectivity"),
        ({"reflectivity": 0.1}, "above 0.172"),
        ({"reflectivity": 1.0}, "below 1"),
        ({"finesse": -1.0}, "finesse"),
        ({"finesse": 20, "order": 0}, "order"),
        ({"finesse": 20, "order": 1.5}, "order"),
        ({"finesse": 20, "passband": (700, 800)}, "not inside"),
    ],
)
def test_airy_refuses_impossible_interferometers(more, message):
    with pytest.raises(BandsError, match=message):
        Responses.airy(one(600.0, 1.0), **more)
    with pytest.raises(BandsError, match="no wavelength"):
        Responses.airy(Bands(["a"]), finesse=20)


@pytest.mark.parametrize(
    ("sensor", "there"),
    [
        ("sentinel-2a", ("Sentinel-2A", "MSI")),
        ("sentinel-2b", ("Sentinel-2B", "MSI")),
        ("landsat-8", ("Landsat-8", "OLI_TIRS")),
        ("landsat-7", ("Landsat-7", "ETM+")),
        ("modis-terra", ("Terra", "MODIS")),
    ],
)
def test_measured_are_the_tables_of_pyrsr(sensor, there):
    mine = Responses.measured(sensor)
    theirs = RSR(*there, no_thermal=True)
    assert len(mine) == len(theirs.bands)
    for (band, (x, y)), name in zip(mine, theirs.bands, strict=True):
        assert band.name.lstrip("B").lstrip("0") == name
        assert band.wavelength == pytest.approx(theirs.wvl[theirs.bands.index(name)], abs=0.6)
        on_theirs = np.interp(theirs.rsrs_wvl, x, y, left=0, right=0)
        np.testing.assert_allclose(on_theirs, np.maximum(theirs.rsrs_norm01[name], 0), atol=0.02)


def test_every_measured_sensor_loads_and_agrees_with_our_table():
    for sensor in Responses.sensors():
        responses = Responses.measured(sensor)
        assert len(responses) >= 3 and all((y >= 0).all() and (np.diff(x) > 0).all() for _, (x, y) in responses), sensor
    for name, sensor in {"sentinel-2": "sentinel-2a", "landsat-8": "landsat-8", "modis": "modis-aqua"}.items():
        known, measured = Bands.of_sensor(name), Responses.measured(sensor).bands
        for band in known:
            found = measured[measured.position(band.name)]
            assert found.wavelength == pytest.approx(band.wavelength, abs=max(4, band.wavelength * 0.01)), band
            assert found.common_name == band.common_name


def test_measured_names_what_is_missing(monkeypatch):
    with pytest.raises(BandsError, match=r"no measured responses of 'enmap'; there are .*sentinel-2a"):
        Responses.measured("enmap")
    with pytest.raises(BandsError, match="no band 'B13'"):
        Responses.measured("sentinel-2a", ["B13"])
    assert Responses.measured("landsat-8", ["B10"]).bands[0].wavelength > 10000
    monkeypatch.setitem(sys.modules, "pyrsr", None)
    monkeypatch.setitem(sys.modules, "pyrsr.rsr", None)
    with pytest.raises(MissingDependencyError, match=r"geodata\[spectral\]"):
        Responses.measured("sentinel-2a")


@pytest.mark.parametrize(
    "made",
    [
        Responses.gaussian("landsat-8"),
        Responses.box(one(600.0, 40.0)),
        Responses.airy(one(600.0, 40.0), finesse=20, order=3, passband=(400, 700)),
        Responses.measured("sentinel-2a", ["red", "B8A"]),
        Responses.from_curves(Bands(["a"]), [([500, 510, 520], [0, 1, 0])]),
    ],
    ids=lambda r: r.recipe["kind"],
)
def test_saved_as_json(made):
    data = json.loads(json.dumps(made.to_dict(), allow_nan=False))
    again = Responses.from_dict(data)
    assert again.bands == made.bands and again.to_dict() == made.to_dict()
    for (x, y), (u, v) in zip(made.curves, again.curves, strict=True):
        np.testing.assert_array_equal(x, u)
        np.testing.assert_array_equal(y, v)


@pytest.mark.parametrize("data", [{}, {"kind": "triangle"}, {"kind": "box", "colour": 1}, {"kind": "gaussian"}])
def test_other_data_is_refused(data):
    with pytest.raises(BandsError):
        Responses.from_dict(data)


@pytest.mark.parametrize(
    "curve",
    [
        ([1, 2], [1]),
        ([2, 1], [1, 1]),
        ([1, 1], [1, 1]),
        ([-1, 1], [1, 1]),
        ([1, 2], [0, 0]),
        ([1, 2], [-1, 1]),
        ([1, math.nan], [1, 1]),
        ([1], [1]),
    ],
)
def test_curves_are_tables(curve):
    with pytest.raises(BandsError, match="'a'"):
        Responses.from_curves(Bands(["a"]), [curve])


def test_one_curve_for_each_band():
    with pytest.raises(BandsError, match="2 bands and 1 curves"):
        Responses.from_curves(Bands(["a", "b"]), [([1, 2], [1, 1])])


@pytest.mark.parametrize("bands", [["a"], {"state": "raw"}, {"state": "raw", "bands": [{"nam": "a"}]}])
def test_saved_responses_of_no_bands(bands):
    with pytest.raises(BandsError, match="responses of kind 'gaussian' cannot be made from"):
        Responses.from_dict({"kind": "gaussian", "bands": bands})
