"""Inputs beside images: against the formulas of the models' own code, written out again."""

from __future__ import annotations

import datetime as dt
import math

import pytest
import torch
from pyproj import Transformer

from geodata.bands import Band, Bands
from geodata.errors import BandsError, TransformError
from geodata.grid import Grid
from geodata.interval import Interval
from geodata.zoo import InputSpec

BANDS = Bands([Band("red", wavelength=665.0, gsd=10), Band("nir", wavelength=842.0, gsd=10)], state="reflectance")
UTM = Grid((8, 8), (10.0, 0.0, 500000.0, 0.0, -10.0, 5600000.0), "EPSG:32633")
GEO = Grid((8, 8), (0.25, 0.0, -70.0, 0.0, -0.25, -20.0), "EPSG:4326")
WHEN = [Interval.parse("2021-03-01T10:30"), Interval.parse("2020-12-31")]


def of(extra, batch=None, image=None, **more):
    spec = InputSpec.from_dict({
        "images": [{"key": "image", "bands": ["nir", "red"], "unit": "reflectance"} | (image or {})],
        "extras": {"extra": extra},
        "call": {"args": ["image"], "kwargs": {"extra": "extra"}},
    })  # fmt: skip
    start = {"image": torch.rand(2, 2, 8, 8), "bands": BANDS, "grid": [UTM, GEO], "time": WHEN, "key": ["a", "b"]}
    batch = {k: v for k, v in (start | (batch or {})).items() if v is not None}
    return spec.bind(batch["bands"])(batch | more).kwargs["extra"]


def test_wavelengths_follow_the_models_order_in_its_unit():
    torch.testing.assert_close(of({"is": "wavelengths"}), torch.tensor([0.842, 0.665]))
    assert of({"is": "wavelengths", "unit": "nm", "form": "list"}) == [842.0, 665.0]
    assert of({"is": "wavelengths", "values": [3.5, 4.0], "form": "list"}) == [3.5, 4.0]
    own = {"bands": [{"name": "nir", "wavelength": 840.0}, "red"]}
    assert of({"is": "wavelengths", "unit": "nm", "form": "list"}, image=own) == [840.0, 665.0]
    any_bands = of({"is": "wavelengths", "unit": "nm", "form": "list"}, image={"bands": []})
    assert any_bands == [665.0, 842.0]
    with pytest.raises(BandsError, match="nir"):
        of({"is": "wavelengths"}, {"bands": Bands([BANDS[0], Band("nir")], state="reflectance")})
    with pytest.raises(BandsError, match="3 wavelengths are given for 2"):
        of({"is": "wavelengths", "values": [1, 2, 3]})


def test_pixel_size_is_that_after_the_resize():
    utm = {"grid": [UTM, UTM]}
    assert of({"is": "gsd"}, utm).tolist() == 10.0
    assert of({"is": "gsd"}, utm, image={"size": 16, "resize": "bilinear", "crop": 12}).tolist() == 5.0
    assert of({"is": "gsd", "value": 30}).tolist() == 30.0
    assert of({"is": "gsd"}, {"grid": None}).tolist() == 10.0
    with pytest.raises(TransformError, match="one pixel size in metres"):
        of({"is": "gsd"}, {"grid": [UTM, UTM.coarser(2)]})
    with pytest.raises(TransformError, match="none that is known"):
        of({"is": "gsd"}, {"grid": [GEO, GEO]})


def test_places_are_the_middle_of_the_image():
    lon, lat = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True).transform(500040, 5599960)
    want = torch.tensor([[lat, lon], [-21.0, -69.0]])
    torch.testing.assert_close(of({"is": "location"}), want)
    torch.testing.assert_close(of({"is": "location", "form": "lon-lat"}), want.flip(1))
    y, x = (want * math.pi / 180).unbind(-1)
    sincos = torch.stack([y.sin(), y.cos(), x.sin(), x.cos()], -1)
    torch.testing.assert_close(of({"is": "location", "form": "sincos"}), sincos)
    xyz = of({"is": "location", "form": "xyz"})
    torch.testing.assert_close(xyz.norm(dim=-1), torch.ones(2))
    torch.testing.assert_close(xyz[:, 2], y.sin())
    one = of({"is": "location"}, {"image": torch.rand(2, 8, 8), "grid": UTM, "time": WHEN[0], "key": "a"})
    torch.testing.assert_close(one, want[:1])


def test_places_that_are_not_known_are_refused():
    with pytest.raises(TransformError, match="no Grid under 'grid'"):
        of({"is": "location"}, {"grid": None})
    with pytest.raises(TransformError, match="nowhere on earth"):
        of({"is": "location"}, {"grid": [UTM, Grid((8, 8), (1, 0, 0, 0, 1, 0))]})


def test_times_in_every_form():
    noon = dt.datetime(2020, 12, 31, 12)  # the middle of a day that is given as a day
    doy = [[2021, 60], [2020, 366]]
    assert of({"is": "time"}).tolist() == doy
    assert of({"is": "time", "form": "year-doy0"}).tolist() == [[2021, 59], [2020, 365]]
    assert of({"is": "time", "form": "doy"}).tolist() == [60, 366]
    assert of({"is": "time", "form": "month"}).tolist() == [3, 12]
    assert of({"is": "time", "form": "month0"}).tolist() == [2, 11]
    days = (noon - dt.datetime(1970, 1, 1)).total_seconds() / 86400
    assert of({"is": "time", "form": "days"})[1].item() == pytest.approx(days)
    week, hour = noon.isocalendar()[1] * 2 * math.pi / 52, 12 * 2 * math.pi / 24
    clay = [math.sin(week), math.cos(week), math.sin(hour), math.cos(hour)]
    assert of({"is": "time", "form": "week-hour-sincos"})[1].tolist() == pytest.approx(clay, abs=1e-6)


def test_times_of_series_and_of_one_date_for_a_model_of_series():
    spans = torch.tensor([[w.start, w.end] for w in WHEN], dtype=torch.float64)
    series = {"image": torch.rand(1, 2, 2, 8, 8), "time": spans[None], "grid": [UTM], "key": ["a"]}
    out = of({"is": "time"}, series, image={"layout": "b c t h w"})
    assert out.tolist() == [[[2021, 60], [2020, 366]]]
    assert of({"is": "time"}, image={"layout": "b c t h w"}).shape == (2, 1, 2)
    assert of({"is": "time", "form": "doy"}, series, image={"layout": "b t c h w"}).tolist() == [[60, 366]]
    alone = {**series, "image": torch.rand(2, 2, 8, 8), "time": spans, "grid": UTM, "key": "a"}
    assert of({"is": "time", "form": "month"}, alone, image={"layout": "b t c h w"}).tolist() == [[3, 12]]


def test_times_that_are_not_known_are_refused():
    with pytest.raises(TransformError, match="'time' is NoneType"):
        of({"is": "time"}, {"time": None})
    with pytest.raises(TransformError, match="not known"):
        of({"is": "time"}, {"time": [WHEN[0], Interval()]})


def test_masks():
    valid = torch.rand(2, 8, 8) > 0.5
    assert torch.equal(of({"is": "valid"}, valid=valid), valid)
    assert torch.equal(of({"is": "valid", "form": "float"}), torch.ones(2, 8, 8))
    less = Bands([BANDS[0]], state="reflectance")
    some = {"bands": less, "image": torch.rand(2, 1, 8, 8)}
    assert of({"is": "band-mask"}, some, image={"missing": "zero"}).tolist() == [False, True]
    series = {"image": torch.rand(2, 3, 2, 8, 8)}
    mask = torch.tensor([[True, True, False], [True, False, False]])
    assert torch.equal(of({"is": "mask-time"}, series, image={"layout": "b t c h w"}, mask_time=mask), mask)
    assert of({"is": "mask-time"}, series, image={"layout": "b t c h w"}).all()
    with pytest.raises(TransformError, match="no series"):
        of({"is": "mask-time"})


def test_constants_are_passed_on():
    assert of({"is": "constant", "value": "sentinel-2-l2a"}) == "sentinel-2-l2a"
    assert of({"is": "constant", "value": True}) is True
    assert of({"is": "constant", "value": [1, 2]}).tolist() == [1.0, 2.0]
    assert of({"is": "constant", "value": ["a"]}) == ["a"]
