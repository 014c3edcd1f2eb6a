"""Presets beside the recipes of their sources, written down here once more in numpy and torch."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from geodata.bands import Band, Bands
from geodata.grid import Grid
from geodata.zoo.spec import InputSpec, ModelInput

Array = NDArray[np.float64]

S2 = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"]
IMAGENET = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
SSL4EO_S1 = np.array([-12.54847273, -20.19237134]), np.array([5.25697717, 5.91150917])
FMOW = {  # mean and std of fMoW-Sentinel, the 13 bands in the order of its files
    "mean": "1370.19151926 1184.3824625 1120.77120066 1136.26026392 1263.73947144 1645.40315151 1846.87040806 "
    "1762.59530783 1972.62420416 582.72633433 14.77112979 1732.16362238 1247.91870117",
    "std": "633.15169573 650.2842772 712.12507725 965.23119807 948.9819932 1108.06650639 1258.36394548 1233.1492281 "
    "1364.38688993 472.37967789 14.3114637 1310.36996126 1087.6020813",
}


def sentinel2(*, product: str = "L1C") -> Bands:
    """Bands as stored by a dataset: reflectance times 10,000."""
    bands = Bands.of_sensor("sentinel-2")
    return Bands(replace(b, unit="reflectance", scale=1e-4) for b in bands if product == "L1C" or b.name != "B10")


def digital(*shape: int, low: float = 0, high: float = 12000, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32).astype(np.float64)


def given(name: str, x: Array, bands: Bands, **more: Any) -> ModelInput:
    """What a preset makes of (B, C, H, W) data."""
    batch = {"image": torch.from_numpy(x).float(), "bands": bands, **more}
    return InputSpec.preset(name).bind(bands)(batch)


def column(values: Any) -> Array:
    return np.asarray(values, float)[:, None, None]


def two_std_bytes(x: Array, mean: Any, std: Any) -> Array:
    """SentinelNormalize of SatMAE, normalize of SSL4EO-S12 and SoftCon; before the cast to whole numbers."""
    low, high = column(mean) - 2 * column(std), column(mean) + 2 * column(std)
    return np.clip((x - low) / (high - low) * 255.0, 0, 255)


def assert_same_bytes(got: Tensor, exact: Array) -> None:
    """Equal grey levels, save where float32 cannot tell on which side of a whole number the exact one is."""
    clear = np.abs(exact - np.rint(exact)) > 1e-3
    clear |= (exact == 0) | (exact == 255)
    levels = got.numpy().astype(float) * 255
    np.testing.assert_allclose(levels[clear], exact.astype(np.uint8)[clear], atol=1e-4)
    assert clear.mean() > 0.98
    assert np.abs(levels - exact).max() < 1 + 1e-3


def test_seco_takes_the_limits_red_first() -> None:
    x = digital(2, 13, 224, 224, high=8000)
    got = given("seco", x, sentinel2()).args[0]
    low, high = (
        {"B2": 3.0, "B3": 2.0, "B4": 0.0},
        {"B2": 88.0, "B3": 103.0, "B4": 129.0},
    )  # as its QUANTILES are written
    names = ["B4", "B3", "B2"]
    stored = x[:, [3, 2, 1]] / 10000 * 255
    exact = (stored - column([low[n] for n in names])) / column([high[n] - low[n] for n in names]) * 255
    undone = got.double() * torch.from_numpy(column(IMAGENET[1])) + torch.from_numpy(column(IMAGENET[0]))
    assert_same_bytes(undone, np.clip(exact, 0, 255))


@pytest.mark.parametrize(
    ("name", "dropped"), [("satmae", [0, 9, 10]), ("satmae-pp", [0, 9, 10]), ("spectralgpt", [10])]
)
def test_fmow_sentinel_recipes(name: str, dropped: list[int]) -> None:
    mean, std = (np.array(FMOW[k].split(), float) for k in ("mean", "std"))
    kept = [i for i in range(13) if i not in dropped]
    side = 128 if name == "spectralgpt" else 96
    x = digital(1, 13, side, side, high=6000)
    got = given(name, x, sentinel2()).args[0]
    assert got.shape == (1, len(kept), side, side)
    assert_same_bytes(got, two_std_bytes(x, mean, std)[:, kept])


@pytest.mark.parametrize("name", ["ssl4eo-s12-s1", "softcon-s1"])
def test_sentinel_1_in_mean_and_two_standard_deviations(name: str) -> None:
    x = digital(2, 2, 224, 224, low=-45, high=5)
    got = given(name, x, Bands(["VV", "VH"], "dB")).args[0]
    assert_same_bytes(got, two_std_bytes(x, *SSL4EO_S1))


def test_croma_takes_radar_first_and_no_cirrus() -> None:
    s1, s2 = digital(1, 2, 120, 120, low=-40, high=5), digital(1, 12, 120, 120, high=7000)
    l2a = sentinel2(product="L2A")
    bands = {"image_s1": Bands(["VH", "VV"], "dB"), "image": l2a}
    batch = {"image_s1": s1[:, ::-1].copy(), "image": s2, "bands_s1": bands["image_s1"], "bands": l2a}
    batch = {k: torch.from_numpy(v).float() if isinstance(v, np.ndarray) else v for k, v in batch.items()}
    radar, optical = InputSpec.preset("croma").bind(bands)(batch).args
    # S2A_MEAN and S2A_STD of SSL4EO-S12
    mean = [752.40087073, 884.29673756, 1144.16202635, 1297.47289228, 1624.90992062, 2194.6423161]
    mean += [2422.21248945, 2517.76053101, 2581.64687018, 2645.51888987, 2368.51236873, 1805.06846033]
    std = [1108.02887453, 1155.15170768, 1183.6292542, 1368.11351514, 1370.265037, 1355.55390699]
    std += [1416.51487101, 1474.78900051, 1439.3086061, 1582.28010962, 1455.52084939, 1343.48379601]
    assert_same_bytes(radar, two_std_bytes(s1, *SSL4EO_S1))
    assert_same_bytes(optical, two_std_bytes(s2, mean, std))


def test_ssl4eo_s12_resizes_to_256_and_crops_to_224_as_torchgeo_does() -> None:
    x = digital(1, 13, 264, 264)
    whole = functional.interpolate(torch.from_numpy(x), (256, 256), mode="bilinear", antialias=True)[
        ..., 16:240, 16:240
    ]
    scaled = given("ssl4eo-s12-s2-scaled", x, sentinel2()).args[0]
    torch.testing.assert_close(scaled.double(), (whole / 10000).clamp(0, 1), rtol=0, atol=1e-5)
    mean = [1612.9, 1397.6, 1322.3, 1373.1, 1561.0, 2108.4, 2390.7, 2318.7, 2581.0, 837.7, 22.0, 2195.2, 1537.4]
    std = [791.0, 854.3, 878.7, 1144.9, 1127.5, 1164.2, 1276.0, 1249.5, 1345.9, 577.5, 47.5, 1340.0, 1142.9]
    standard = (whole - torch.from_numpy(column(mean))) / torch.from_numpy(column(std))
    torch.testing.assert_close(
        given("ssl4eo-s12-s2-zscore", x, sentinel2()).args[0].double(), standard, rtol=1e-5, atol=1e-3
    )


def test_ssl4eo_l_makes_the_bytes_of_its_files_of_reflectance_and_kelvin() -> None:
    names = [f"B{i}" for i in range(1, 12)]
    units = ["reflectance"] * 9 + ["K"] * 2
    bands = Bands(Band(n, unit=u) for n, u in zip(names, units, strict=True))
    x = np.concatenate([digital(1, 9, 224, 224, low=-0.02, high=0.5), digital(1, 2, 224, 224, low=240, high=325)], 1)
    got = given("ssl4eo-l-oli-tirs-toa", x, bands).args[0]
    low, high = column([0] * 9 + [273.15 - 25] * 2), column([0.4] * 9 + [273.15 + 45] * 2)
    assert_same_bytes(got, np.clip((x - low) / (high - low) * 2**8, 0, 2**8 - 1))


def test_satlas_landsat_and_radar_are_cut_to_0_and_1() -> None:
    x = digital(1, 11, 64, 64, high=30000)
    got = given("satlas-landsat", x, Bands(f"B{i}" for i in range(1, 12))).args[0]
    np.testing.assert_allclose(got.numpy(), np.clip((x - 4000) / 16320, 0, 1), atol=1e-5)
    x = digital(1, 2, 64, 64, high=600)
    got = given("satlas-s1", x, Bands(["VV", "VH"])).args[0]
    np.testing.assert_allclose(got.numpy(), np.clip(x[:, ::-1] / 255, 0, 1), atol=1e-6)


def test_prithvi_takes_bands_before_dates_and_year_and_day_and_latitude_first() -> None:
    x = digital(1, 4, 13, 32, 32)
    days = torch.tensor(
        [[[f, f] for f in (1577880000.0, 1582977600.0, 1590000000.0, 1609416000.0)]], dtype=torch.float64
    )
    grid = Grid((32, 32), (0.01, 0, 10.0, 0, -0.01, 50.0), "OGC:CRS84")
    ready = given("prithvi-eo-2.0-300m-tl", x, sentinel2(), time=days, grid=[grid])
    mean, std = [1087.0, 1342.0, 1433.0, 2734.0, 1958.0, 1363.0], [2248.0, 2179.0, 2178.0, 1850.0, 1242.0, 1049.0]
    chosen = [S2.index(n) for n in ("B02", "B03", "B04", "B8A", "B11", "B12")]
    exact = (x[:, :, chosen] - column(mean)) / column(std)
    np.testing.assert_allclose(ready.args[0].numpy(), exact.transpose(0, 2, 1, 3, 4), atol=1e-4)
    assert ready.kwargs["temporal_coords"].tolist() == [[[2020, 1], [2020, 60], [2020, 141], [2020, 366]]]
    np.testing.assert_allclose(ready.kwargs["location_coords"].numpy(), [[49.84, 10.16]], atol=1e-5)


def test_clay_turns_landsat_reflectance_back_into_digital_numbers() -> None:
    dn = digital(1, 7, 32, 32, low=7273, high=40000)
    bands = Bands(
        replace(b, unit="reflectance", scale=2.75e-5, offset=-0.2)
        for b in Bands.of_sensor("landsat-8").select([f"B{i}" for i in range(1, 8)])
    )
    noon = 1590062400.0  # 2020-05-21 12:00, ISO week 21
    grid = Grid((32, 32), (0.01, 0, -120.0, 0, -0.01, 30.16), "OGC:CRS84")
    (cube,) = given(
        "clay-1.5-landsat-c2l2-sr", dn, bands, time=torch.tensor([[noon, noon]], dtype=torch.float64), grid=[grid]
    ).args
    mean, std = [13705, 13310, 12474, 17801, 14615, 12701], [9578, 9408, 10144, 8277, 5300, 4522]
    exact = (dn[:, [3, 2, 1, 4, 5, 6]] - column(mean)) / column(std)
    np.testing.assert_allclose(cube["pixels"].numpy(), exact, atol=1e-4)
    week, hour = 21 * 2 * math.pi / 52, 12 * 2 * math.pi / 24
    lat, lon = math.radians(30.0), math.radians(-119.84)
    np.testing.assert_allclose(cube["time"], [[f(a) for a in (week, hour) for f in (math.sin, math.cos)]], atol=1e-6)
    np.testing.assert_allclose(cube["latlon"], [[f(a) for a in (lat, lon) for f in (math.sin, math.cos)]], atol=1e-6)
    np.testing.assert_allclose(cube["waves"], [0.65, 0.56, 0.48, 0.86, 1.6, 2.2])
    assert float(cube["gsd"]) == 30


@pytest.mark.parametrize(("name", "wave"), [("dofa-v1-s1", 3.75), ("dofa-v2-s1", 5.405)])
def test_dofa_takes_radar_in_bytes_and_a_stand_in_for_its_wavelength(name: str, wave: float) -> None:
    x = digital(1, 2, 224, 224, high=400)
    image, wavelengths = given(name, x, Bands(["VV", "VH"])).args
    exact = (np.clip(x, 0, 255).astype(np.uint8) - column([166.36275909, 88.45542715])) / column(
        [64.83126309, 43.07350145]
    )
    np.testing.assert_allclose(image.numpy(), exact, atol=1e-4)
    assert wavelengths == [wave, wave]


@pytest.mark.parametrize(
    ("name", "order", "mean", "std"),
    [
        ("mmdet", [0, 1, 2], [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]),
        ("mmdet-caffe", [2, 1, 0], [103.53, 116.28, 123.675], [1.0, 1.0, 1.0]),
    ],
)
def test_mmdetection_behind_its_preprocessor(name: str, order: list[int], mean: list[float], std: list[float]) -> None:
    x = np.random.default_rng(0).integers(0, 256, (2, 3, 64, 96), dtype=np.uint8)
    bands = Bands(["red", "green", "blue"])
    got = InputSpec.preset(name).bind(bands)({"image": torch.from_numpy(x), "bands": bands}).kwargs["inputs"]
    np.testing.assert_allclose(got.numpy(), (x[:, order] - column(mean)) / column(std), atol=1e-4)


def test_torchvision_resizes_the_shorter_side() -> None:
    x = np.random.default_rng(0).integers(0, 256, (1, 3, 300, 500), dtype=np.uint8)
    bands = Bands(["R", "G", "B"]).renamed(R="red", G="green", B="blue")
    got = InputSpec.preset("torchvision-imagenet").bind(bands)({"image": torch.from_numpy(x), "bands": bands}).args[0]
    wide = int(256 * 500 / 300)
    whole = functional.interpolate(torch.from_numpy(x) / 255, (256, wide), mode="bilinear", antialias=True)
    left = round((wide - 224) / 2)
    exact = (whole[..., 16:240, left : left + 224] - torch.from_numpy(column(IMAGENET[0]))) / torch.from_numpy(
        column(IMAGENET[1])
    )
    torch.testing.assert_close(got.double(), exact, rtol=0, atol=1e-4)


def test_display_brightness_is_found_in_sentinel_2_by_common_name() -> None:
    x = digital(1, 13, 224, 224, high=9000)
    got = given("timm-imagenet", x, sentinel2()).args[0]
    exact = (x[:, [3, 2, 1]] / 10000 - column(IMAGENET[0])) / column(IMAGENET[1])
    np.testing.assert_allclose(got.numpy(), exact, atol=1e-5)


def test_terramind_gets_a_dict_of_its_modalities() -> None:
    s1, s2 = digital(1, 2, 224, 224, low=-40, high=0), digital(1, 13, 224, 224)
    bands = {"image_s1": Bands(["VV", "VH"], "dB"), "image": sentinel2()}
    batch = {"image_s1": torch.from_numpy(s1).float(), "image": torch.from_numpy(s2).float()}
    batch |= {"bands_s1": bands["image_s1"], "bands": bands["image"]}
    (inputs,) = InputSpec.preset("terramind-s2l2a-s1grd").bind(bands)(batch).args
    assert sorted(inputs) == ["S1GRD", "S2L2A"]
    np.testing.assert_allclose(
        inputs["S1GRD"].numpy(), (s1 - column([-12.599, -20.293])) / column([5.195, 5.89]), atol=1e-4
    )
    first = (s2[:, 0] - 1390.458) / 2106.761
    np.testing.assert_allclose(inputs["S2L2A"][:, 0].numpy(), first, atol=1e-4)
    assert inputs["S2L2A"].shape == (1, 12, 224, 224)


def test_spectralearth_uses_the_statistics_that_its_authors_publish(realdata: Path) -> None:
    mu, sigma = (np.load(realdata / f"spectral_earth/data/statistics/{n}.npy").astype(float) for n in ("mu", "sigma"))
    spec = InputSpec.preset("spectralearth")
    names = [band.name for band in spec.images[0].bands]
    assert names == [f"B{i:03d}" for i in range(1, 225) if not 127 <= i <= 141 and not 161 <= i <= 167]
    bands = Bands(Band(n, unit="reflectance", scale=1e-4) for n in names)
    x = digital(1, 202, 128, 128, high=9000)
    np.testing.assert_allclose(
        given("spectralearth", x, bands).args[0].numpy(), (x - column(mu)) / column(sigma), atol=1e-4
    )
