"""Spectral indices: the same numbers as spyndex, from the right bands, and never a silent wrong one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import spyndex
import torch

from geodata import transforms as T
from geodata.bands import Band, Bands
from geodata.errors import BandsError, MissingDependencyError, TransformError
from geodata.transforms.spectral import symbols
from geodata.transforms.spectral.formulas import Formula

S2 = Bands(Bands.of_sensor("sentinel-2"), state="reflectance")
L8 = Bands(Bands.of_sensor("landsat-8"), state="reflectance")

ALL = {
    "A": ("coastal", 443.0), "B": ("blue", 490.0), "G": ("green", 560.0), "G1": ("green05", 531.0), "Y": ("yellow", 605.0),
    "R": ("red", 665.0), "RE1": ("rededge071", 704.0), "RE2": ("rededge075", 740.0), "RE3": ("rededge078", 783.0),
    "N": ("nir", 833.0), "N2": ("nir08", 865.0), "WV": ("nir09", 945.0), "S1": ("swir16", 1610.0), "S2": ("swir22", 2200.0),
    "T": ("lwir", 11450.0), "T1": ("lwir11", 10895.0), "T2": ("lwir12", 12005.0),
}  # fmt: skip
RADAR = ("VV", "VH", "HH", "HV")


def numbers(seed: int = 0, n: int = 400) -> dict[str, Any]:
    """Random values of all symbols of the catalogue."""
    rng = np.random.default_rng(seed)
    values = {name: rng.uniform(0.01, 0.7, n) for name in (*ALL, *RADAR)}
    return values | {name: rng.uniform(280.0, 320.0, n) for name in ("T", "T1", "T2")}


def of_spyndex(name: str, values: dict[str, Any]) -> np.ndarray[Any, Any]:
    constants = {k: spyndex.constants[k].default for k in spyndex.constants if spyndex.constants[k].default is not None}
    waves = {f"lambda{k}": w for k, (_, w) in ALL.items()}
    params = {**constants, "PAR": 3.0, **waves, **values}
    kernels = {}
    for needed in spyndex.indices[name].bands:
        if needed.startswith("k") and len(needed) == 3:
            pair = {"a": params[needed[1]], "b": params[needed[2]], "sigma": constants["sigma"]}
            kernels[needed] = spyndex.computeKernel("RBF", pair)
    with np.errstate(all="ignore"):
        return np.broadcast_to(spyndex.computeIndex(name, {**params, **kernels}), values["N"].shape)


def test_the_same_numbers_as_spyndex() -> None:
    values = numbers()
    optical = Bands(
        [
            Band(f"b{i}", common, wave, unit="K" if k[0] == "T" else None)
            for i, (k, (common, wave)) in enumerate(ALL.items())
        ],
        state="reflectance",
    )
    images = {
        "reflectance": (optical, torch.from_numpy(np.stack([values[k] for k in ALL]))[:, None]),
        "raw": (Bands(RADAR), torch.from_numpy(np.stack([values[k] for k in RADAR]))[:, None]),
    }
    differ = {}
    for name, row in spyndex.indices.items():
        bands, image = images["raw" if set(row.bands) & set(RADAR) else "reflectance"]
        constants = {k: 3.0 for k in ("PAR",) if k in row.bands}
        # SAVI has the L of its paper here, 0.5; the catalogue has one L for all.
        constants |= {"L": 1.0} if name == "SAVI" else {}
        out = T.SpectralIndex(name, constants=constants)({"image": image, "bands": bands})
        expected = of_spyndex(name, values)
        defined = np.isfinite(expected)
        got = out["image_index"][0, 0].numpy()
        if not np.array_equal(out["valid_index"][0].numpy(), defined) or not np.allclose(
            got, np.where(defined, expected, 0.0), rtol=1e-9, atol=1e-12
        ):
            differ[name] = float(np.nanmax(np.abs(got - expected)))
    assert len(spyndex.indices) - len(differ) >= 270
    assert differ == {}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("NDVI", lambda b, g, r, n: (n - r) / (n + r)),
        ("EVI", lambda b, g, r, n: 2.5 * (n - r) / (n + 6 * r - 7.5 * b + 1)),
        ("SAVI", lambda b, g, r, n: 1.5 * (n - r) / (n + r + 0.5)),
        ("MSAVI", lambda b, g, r, n: (2 * n + 1 - np.sqrt((2 * n + 1) ** 2 - 8 * (n - r))) / 2),
        ("NDWI", lambda b, g, r, n: (g - n) / (g + n)),
        ("kNDVI", lambda b, g, r, n: np.tanh(((n - r) / (2 * 0.5)) ** 2)),
    ],
)
@pytest.mark.parametrize("order", [["blue", "green", "red", "nir"], ["nir", "B03", "red", "blue"]])
def test_by_hand_whatever_the_order(name: str, expected: Any, order: list[str]) -> None:
    bands = S2.select(order)
    x = np.random.default_rng(1).uniform(0.02, 0.6, (2, 4, 5, 6))
    at = [bands.position(k) for k in ("blue", "green", "red", "nir")]
    out = T.SpectralIndex(name)({"image": torch.from_numpy(x), "bands": bands})
    assert np.allclose(out["image_index"][:, 0].numpy(), expected(*(x[:, i] for i in at)), rtol=1e-9)
    assert out["bands_index"].names == (name,) and out["bands_index"].state == "raw"


def test_the_everyday_ones_need_no_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symbols, "_catalogue", lambda: None)
    everyday = T.available_indices(S2)
    assert len(everyday) >= 20 and {"NDVI", "EVI", "NBR2", "BSI", "NDREI"} <= set(everyday)
    T.SpectralIndex(everyday)({"image": torch.rand(13, 2, 2), "bands": S2})
    with pytest.raises(MissingDependencyError, match=r"geodata\[indices\]"):
        T.SpectralIndex("TCARI")


def test_the_catalogue_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symbols.util, "find_spec", lambda name: None)
    assert symbols._catalogue.__wrapped__() is None


@pytest.mark.parametrize(
    ("bands", "symbol", "name"),
    [
        (S2, "N", "B08"),
        (S2, "N2", "B8A"),
        (S2, "RE2", "B06"),
        (S2, "WV", "B09"),
        (L8, "N", "B5"),
        (L8, "G", "B3"),
        (Bands(["green", "red"]), "R", "red"),
        (Bands(["R", "G", "B"]), "B", "B"),
        # Old STAC files call all three of them "rededge".
        (Bands([Band("a", "rededge", 704), Band("b", "rededge", 740), Band("c", "rededge", 783)]), "RE3", "c"),
        # Many narrow bands: the one nearest to Sentinel-2's.
        (Bands([Band(f"{w}", wavelength=w, fwhm=8) for w in range(400, 1000, 7)]), "R", "666"),
        # A panchromatic band has its centre in the green, but is twice as wide.
        (Bands([Band("pan", wavelength=590, fwhm=180), Band("g", wavelength=598, fwhm=30)]), "G", "g"),
        (Bands([Band("a", "red", 640), Band("b", "red", 660)]), "R", "b"),
    ],
)
def test_which_band_a_symbol_is(bands: Bands, symbol: str, name: str) -> None:
    assert bands[symbols.channel_of(symbol, bands)].name == name


@pytest.mark.parametrize(
    ("bands", "symbol", "message"),
    [
        (L8.select(["B8"]), "G", "no band for G"),
        (Bands([Band("B8", "pan", 590)]), "G", "no band for G"),
        (L8, "RE1", "695 to 715 nm"),
        (Bands([Band("a", "red"), Band("b", "red")]), "R", "without wavelengths"),
        (Bands([Band("t", "lwir", unit="degC")]), "T", "kelvin"),
        (Bands([Band("VV", unit="dB")]), "VV", "linear backscatter"),
        (Bands([Band("VV", scale=0.01)]), "VV", "digital numbers"),
        (S2, "VV", "no band is called so"),
    ],
)
def test_no_band_for_a_symbol(bands: Bands, symbol: str, message: str) -> None:
    with pytest.raises(BandsError, match=message):
        symbols.channel_of(symbol, bands)


def test_wavelengths_are_those_of_the_bands() -> None:
    x = torch.tensor([0.05, 0.2, 0.1], dtype=torch.float64).reshape(3, 1, 1)
    moved = Bands([Band("r", "red", 660.0), Band("n", "nir", 850.0), Band("s", "swir16", 1600.0)], state="reflectance")
    expected = 0.2 - (0.05 + (0.1 - 0.05) * (850 - 660) / (1600 - 660))
    assert T.SpectralIndex("FAI")({"image": x, "bands": moved})["image_index"].item() == pytest.approx(expected)
    unknown = Bands([Band("r", "red"), Band("n", "nir"), Band("s", "swir16")], state="reflectance")
    with pytest.raises(BandsError, match="wavelength of band"):
        T.SpectralIndex("FAI")({"image": x, "bands": unknown})
    assert "FAI" in T.available_indices(moved) and "FAI" not in T.available_indices(unknown)


def test_available_are_those_that_can_be_computed() -> None:
    for bands in (S2, L8, S2.select(["red", "nir"])):
        names = T.available_indices(bands)
        out = T.SpectralIndex([n for n in names if not n.startswith("NIRvP")])(
            {"image": torch.rand(len(bands), 3, 3) + 0.1, "bands": bands}
        )
        assert out["bands_index"].names == tuple(n for n in names if n != "NIRvP")
    others = set(spyndex.indices) - set(T.available_indices(L8))
    for name in sorted(others)[:20]:
        if name != "NIRvP":
            with pytest.raises((BandsError, TransformError)):
                T.SpectralIndex(name)({"image": torch.rand(len(L8), 3, 3), "bands": L8})


RN = S2.select(["red", "nir"])


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_not_defined_is_invalid_and_nan_stays(lead: tuple[int, ...]) -> None:
    x = torch.rand(*lead, 2, 2, 3) + 0.1
    x[..., 0, 0, 0] = x[..., 1, 0, 0] = 0.0
    x[..., 0, 1, 1] = float("nan")
    x[..., :, 1, 2] = float("nan")
    valid = torch.ones(*lead, 2, 3, dtype=torch.bool)
    valid[..., 1, 2] = False
    out = T.SpectralIndex(["NDVI", "SR"])({"image": x, "valid": valid, "bands": RN})
    expected = valid.clone()
    expected[..., 0, 0] = False
    assert torch.equal(out["valid_index"], expected)
    assert (out["image_index"][..., 0, 0] == 0).all() and (out["image_index"][..., 1, 2] == 0).all()
    assert torch.isnan(out["image_index"][..., 1, 1]).all()
    assert int(torch.isnan(out["image_index"]).sum()) == 2 * int(np.prod(lead))
    assert torch.equal(valid[..., 0, 0], torch.ones(lead, dtype=torch.bool))
    without = T.SpectralIndex(["NDVI", "SR"])({"image": x, "bands": RN})
    assert not without["valid_index"][..., 0, 0].any() and without["valid_index"][..., 1, 2].all()


def test_all_invalid_and_empty() -> None:
    nothing = {"image": torch.zeros(2, 2, 3, 3), "valid": torch.zeros(2, 3, 3, dtype=torch.bool), "bands": RN}
    out = T.SpectralIndex("NDVI")(nothing)
    assert not out["valid_index"].any() and (out["image_index"] == 0).all()
    assert T.SpectralIndex("NDVI")({"image": torch.zeros(0, 2, 3, 3), "bands": RN})["image_index"].shape == (0, 1, 3, 3)


@pytest.mark.parametrize("size", [(3, 4), (80, 70)])
def test_small_and_large_samples(size: tuple[int, int]) -> None:
    x = torch.rand(2, 3, 2, *size) + 0.1
    valid = torch.rand(2, 3, *size) > 0.2
    out = T.SpectralIndex(["NDVI", "OSAVI"])({"image": x, "valid": valid, "bands": RN})
    r, n = x.unbind(2)
    expected = torch.stack([(n - r) / (n + r), (n - r) / (n + r + 0.16)], dim=2) * valid[:, :, None]
    assert torch.allclose(out["image_index"], expected) and torch.equal(out["valid_index"], valid)


def test_too_large_for_half_is_not_infinite() -> None:
    x = torch.tensor([1e-4, 0.9], dtype=torch.float16).reshape(2, 1, 1)
    out = T.SpectralIndex({"big": "N / R ** 2"})({"image": x, "bands": RN})
    assert (
        out["image_index"].dtype == torch.float16 and out["image_index"].item() == 0 and not out["valid_index"].item()
    )


def test_appended_to_the_image() -> None:
    x = torch.rand(4, 2, 3, 3)
    out = T.SpectralIndex("NDVI", to="image")({"image": x, "bands": RN})
    assert torch.equal(out["image"][:, :2], x)
    assert torch.allclose(out["image"][:, 2], (x[:, 1] - x[:, 0]) / (x[:, 1] + x[:, 0]))
    assert out["bands"].names == ("B04", "B08", "NDVI") and out["bands"].state == "reflectance"


def test_gradients_pass() -> None:
    x = (torch.rand(2, 2, 2, dtype=torch.float64) + 0.1).requires_grad_()
    T.SpectralIndex(["NDVI", "SAVI"])({"image": x, "bands": RN})["image_index"].sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all() and (x.grad != 0).all()


def test_constants_and_formulas_of_ones_own() -> None:
    x = torch.tensor([0.1, 0.4], dtype=torch.float64).reshape(2, 1, 1)

    def value(*args: Any, **kwargs: Any) -> float:
        return float(T.SpectralIndex(*args, **kwargs)({"image": x, "bands": RN})["image_index"])

    assert value("SAVI", constants={"L": 0.25}) == pytest.approx(1.25 * 0.3 / 0.75)
    assert value("kNDVI", constants={"sigma": "(N + R) / 2"}) == pytest.approx(np.tanh(0.6**2))
    assert value({"a": "-B04 + 2 * N ** 2"}) == pytest.approx(0.22)
    assert value({"a": "k * R"}, constants={"k": 3}) == pytest.approx(0.3)


def test_radar_takes_linear_backscatter() -> None:
    db = torch.tensor([-10.0, -20.0]).reshape(2, 1, 1)
    batch = {"image": db, "bands": Bands(["VV", "VH"], "dB")}
    with pytest.raises(TransformError, match=r"is dB; VHVVR need linear backscatter.*FromDecibel"):
        T.SpectralIndex("VHVVR")(batch)
    assert T.SpectralIndex("VHVVR")(T.FromDecibel()(batch))["image_index"].item() == pytest.approx(0.1)


@pytest.mark.parametrize("state", ["raw", "dB", "normalised"])
def test_other_states_are_refused(state: str) -> None:
    with pytest.raises(TransformError, match=rf"is {state}; NDVI need reflectance: call T.ToReflectance"):
        T.SpectralIndex("NDVI")({"image": torch.rand(2, 1, 1), "bands": RN.with_state(state)})


def test_bad_batches() -> None:
    with pytest.raises(TransformError, match="ToFloat"):
        T.SpectralIndex("NDVI")({"image": torch.ones(2, 1, 1, dtype=torch.int16), "bands": RN})
    with pytest.raises(TransformError, match="needs 'bands'"):
        T.SpectralIndex("NDVI")({"image": torch.ones(2, 1, 1)})
    with pytest.raises(TransformError, match="3 bands"):
        T.SpectralIndex("NDVI")({"image": torch.ones(2, 1, 1), "bands": S2[:3]})
    with pytest.raises(BandsError, match="no band for B "):
        T.SpectralIndex("EVI")({"image": torch.ones(2, 1, 1), "bands": RN})
    with pytest.raises(TransformError, match="'image_index' already"):
        T.SpectralIndex("NDVI")({"image": torch.ones(2, 1, 1), "bands": RN, "image_index": 1})
    with pytest.raises(TransformError, match="root of a negative"):
        T.SpectralIndex({"a": "N + (0 - 2) ** 0.5"})({"image": torch.ones(2, 1, 1), "bands": RN})
    with pytest.raises(TransformError, match="division by zero"):
        T.SpectralIndex("SAVI2", constants={"sla": 0.0})({"image": torch.ones(2, 1, 1), "bands": RN})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"names": []}, "one or more names"),
        ({"names": 3}, "one or more names"),
        ({"names": ["NDVI", "NDVI"]}, "each once"),
        ({"names": "NDVVI"}, "near it: .*NDVI"),
        ({"names": "NDVI", "constants": {"L": 1.0}}, "no index here has a constant 'L'"),
        ({"names": "SAVI", "constants": {"L": True}}, "finite number"),
        ({"names": "SAVI", "constants": {"L": float("nan")}}, "finite number"),
        ({"names": "SAVI", "constants": {"L": "L + N"}}, "formula of bands"),
        ({"names": "SAVI", "constants": 3}, "constants must be"),
        ({"names": "NDVI", "key": "mask"}, "key 'mask'"),
        ({"names": "NDVI", "to": "ndvi"}, "key 'ndvi'"),
        ({"names": ["NDVI", "VHVVR"]}, "of reflectance and of radar"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TransformError, match=message):
        T.SpectralIndex(**arguments)


@pytest.mark.parametrize(
    "text",
    ["", "__import__('os')", "N.real", "N[0]", "N if R else G", "N @ R", "N // R", "True", "1j", "'a'", "lambda: 1", "N R", "N;R",
     "[N]", "N < R", "(" * 400 + "N" + ")" * 400, "N+" * 600 + "N", "f(N)", "N := 3", 7],
)  # fmt: skip
def test_a_formula_is_arithmetic_only(text: Any) -> None:
    with pytest.raises(TransformError):
        Formula(text)


def test_formula_writes_where_it_is_told() -> None:
    x, out = torch.rand(3), torch.empty(3)
    for text, expected in [("N", x), ("-N", -x), ("2 - N", 2 - x), ("3", torch.full((3,), 3.0)), ("N * 2 ** 3", x * 8)]:
        Formula(text).compute({"N": x}, out)
        assert torch.equal(out, expected), text
