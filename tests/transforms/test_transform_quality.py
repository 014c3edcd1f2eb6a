"""Quality rasters against the published tables of their values, and numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch

from geodata import transforms as T
from geodata.bands import Bands
from geodata.errors import BandsError, DtypeError, TransformError
from geodata.transforms.radiometry.products import product_of

ANY: Any = T

LANDSAT = {
    1: "fill",
    21824: "clear with lows set",
    21826: "dilated cloud over land",
    21888: "water with lows set",
    21890: "dilated cloud over water",
    22080: "mid confidence cloud",
    22280: "high confidence cloud",
    23888: "high confidence cloud shadow",
    23952: "water with cloud shadow",
    24344: "high confidence cloud with shadow",
    30048: "high confidence snow/ice",
    54596: "high confidence cirrus",
    55052: "high confidence cirrus and cloud",
}
"""Values of QA_PIXEL and what they mean, of the table in the Landsat 8-9 Level 2 Science Product Guide."""


def seen(product: str, values: Any, *, dtype: torch.dtype = torch.int64, **more: Any) -> list[bool]:
    """Which pixels are valid under a mask with these values."""
    raster = torch.tensor(np.array([values])).to(dtype)
    b = {"image": torch.ones(2, 1, len(values)), "mask_qa": raster}
    found: list[bool] = T.DecodeQuality(product, "mask_qa", **more)(b)["valid"][0].tolist()
    return found


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint16, torch.int32, torch.float32], ids=str)
def test_landsat(dtype: torch.dtype) -> None:
    good = ("clear", "water with lows", "mid", "high confidence snow")
    assert seen("landsat-c2-pixel", list(LANDSAT), dtype=dtype) == [name.startswith(good) for name in LANDSAT.values()]
    only = seen(
        "landsat-c2-pixel", list(LANDSAT), dtype=dtype, hide=["cloud_confidence_medium", "cloud_confidence_high"]
    )
    cloudy = [
        name for name in LANDSAT.values() if name.startswith("mid") or "confidence cloud" in name or "and cloud" in name
    ]
    cloudy.remove("high confidence cloud shadow")
    assert [name for name, valid in zip(LANDSAT.values(), only, strict=True) if not valid] == cloudy


def test_sentinel_2_classes() -> None:
    values = [*range(-1, 14), -100]
    hidden = (0, 1, 3, 8, 9, 10)
    assert seen("sentinel-2-scl", values) == [v in range(12) and v not in hidden for v in values]
    assert seen("sentinel-2-scl", values, hide=["snow_or_ice"]) == [v in range(11) for v in values], (
        "unknown is no class"
    )
    assert len(T.DecodeQuality.flags("sentinel-2-scl")) == 12


def test_bits_of_other_products() -> None:
    assert seen("hls-fmask", [0, 2, 4, 8, 16, 32, 64, 192, 255, 0b11100000]) == [
        True, False, False, False, True, True, True, True, False, True,
    ]  # fmt: skip
    assert seen("landsat-c2-radsat", [0, 1, 64, 128, 256, 512, 2048]) == [True, False, False, True, False, True, False]
    assert seen("landsat-c2-radsat-tm", [0, 1, 32, 64, 256, 512]) == [True, False, True, False, True, False]
    assert seen("modis-09-state", [0, 1, 2, 3, 4, 8, 0x100, 0x200, 0x300]) == [
        True, False, False, True, False, True, True, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize("product", ["landsat-c2-pixel", "hls-fmask", "modis-09-state", "landsat-c2-radsat"])
def test_every_flag_is_what_its_bits_say(product: str) -> None:
    """All 16-bit numbers against numpy, flag by flag."""
    ((_, flags),) = product_of("quality", product)["layers"].items()
    numbers = np.arange(256 if product == "hls-fmask" else 65536)
    for name, (first, width, value) in flags.items():
        bits = np.unpackbits(numbers.astype("<u2").view(np.uint8).reshape(-1, 2), axis=1, bitorder="little")
        found = bits[:, first : first + width].astype(int) @ (1 << np.arange(width))
        assert seen(product, numbers, hide=[name]) == (found != value).tolist(), name


def layers(**values: Any) -> dict[str, Any]:
    """An image of one pixel row and EnMAP's quality layers of it."""
    names = list(values)
    n = len(next(iter(values.values())))
    stack = torch.tensor([values[name] for name in names], dtype=torch.float32)[:, None]
    return {"image": torch.ones(3, 1, n), "image_quality": stack, "bands_quality": Bands(names)}


def test_enmap_layers_are_found_by_name() -> None:
    step = T.DecodeQuality("enmap-l2a", "image_quality")
    b = layers(
        snow=[1, 0, 0, 0, 0], cirrus=[0, 1, 2, 3, 0], classes=[1, 2, 1, 1, 3], cloudshadow=[0] * 5, cloud=[0] * 5
    )
    assert step(b)["valid"].tolist() == [[True, True, False, False, False]]
    assert T.DecodeQuality("enmap-l2a", "image_quality", hide=["snow"])(b)["valid"].tolist() == [[False] + [True] * 4]
    flags = layers(testflags=[0, 1, 2, 3, 0b100, 0b10000000])
    low = T.DecodeQuality("enmap-l2a", "image_quality", hide=["quality_low", "quality_not_produced", "artefact_vnir"])
    assert low(flags)["valid"].tolist() == [[True, True, False, False, True, False]]
    with pytest.raises(
        BandsError, match=r"'image_quality' has no layer 'classes', which background, cloud, .* ask for"
    ):
        step(flags)


def test_enmap_layers_as_published(realdata: Path) -> None:
    """A patch of HySpecNet-11k, all water and nominal."""
    root = realdata / "hyspecnet11k"
    found = {p.stem.rpartition("QUALITY_")[2].lower(): p for p in root.glob("*/*QL_QUALITY_*.TIF")}
    assert len(found) == 7
    stack = np.stack([rasterio.open(path).read(1) for path in found.values()])
    b = {"image": torch.ones(1, 128, 128), "image_quality": torch.from_numpy(stack), "bands_quality": Bands(found)}
    assert T.DecodeQuality("enmap-l2a", "image_quality")(b)["valid"].all()
    assert not T.DecodeQuality("enmap-l2a", "image_quality", hide=["water"])(b)["valid"].any()


def test_valid_is_only_narrowed_and_pixels_are_not_touched() -> None:
    image = torch.rand(2, 3, 4, 4)
    valid = torch.rand(2, 4, 4) > 0.3
    scl = torch.randint(0, 12, (2, 4, 4))
    bad = torch.rand(2, 4, 4) > 0.8
    b = {"image": image, "valid": valid, "image_scl": scl[:, None].to(torch.uint8), "valid_scl": ~bad}
    out = T.DecodeQuality("sentinel-2-scl", "image_scl", hide=["water"])(b)
    assert torch.equal(out["valid"], valid & (scl != 6) & ~bad)
    assert out["image"] is image and b["valid"] is valid and set(out) == set(b)


def test_a_value_that_is_no_number_hides() -> None:
    values = [4.0, torch.nan, 4.5, torch.inf, -torch.inf]
    assert seen("sentinel-2-scl", values, dtype=torch.float32) == [True, False, False, False, False]


def test_coarser_and_finer_rasters() -> None:
    scl = torch.tensor([[4, 9], [4, 4]])
    fine = T.DecodeQuality("sentinel-2-scl", "mask_scl", key="image_10m")
    out = fine({"image_10m": torch.ones(1, 4, 6), "mask_scl": scl})["valid_10m"]
    assert torch.equal(out, torch.from_numpy(np.kron(scl.numpy() != 9, np.ones((2, 3), bool))))
    b = {"image_60m": torch.ones(1, 1, 2), "mask_scl": torch.tensor([[4, 4, 4, 9], [4, 4, 4, 4]])}
    assert T.DecodeQuality("sentinel-2-scl", "mask_scl", key="image_60m")(b)["valid_60m"].tolist() == [[True, False]]
    with pytest.raises(TransformError, match=r"'mask_scl' is \(2, 4\) pixels and 'image_60m' \(3, 4\); one must be"):
        T.DecodeQuality("sentinel-2-scl", "mask_scl", key="image_60m")({**b, "image_60m": torch.ones(1, 3, 4)})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: T.DecodeQuality("scl", "mask_scl"), "no quality of a product 'scl' is known; there are enmap-l2a"),
        (lambda: T.DecodeQuality("sentinel-2-scl", "scl"), "quality 'scl' must be the key of a raster"),
        (lambda: T.DecodeQuality("sentinel-2-scl", "image"), "quality 'image' must be the key of a raster"),
        (
            lambda: T.DecodeQuality("sentinel-2-scl", "mask", hide=["cloud"]),
            r"hide \['cloud'\] must be some of the flags",
        ),
        (lambda: T.DecodeQuality("sentinel-2-scl", "mask", hide=[]), r"hide \[\] must be some of the flags"),
        (lambda: ANY.DecodeQuality("sentinel-2-scl", "mask", hide="water"), "hide 'water' must be a list"),
        (lambda: T.DecodeQuality("sentinel-2-scl", "mask")({"mask": torch.ones(2, 2)}), "needs a tensor .* 'image'"),
        (
            lambda: T.DecodeQuality("sentinel-2-scl", "mask")({"image": torch.ones(1, 2, 2)}),
            "needs a tensor under 'mask'",
        ),
        (lambda: seen("enmap-l2a", [0]), "enmap-l2a has 7 layers: give an image with a band for each"),
        (
            lambda: seen("landsat-c2-pixel", [1], dtype=torch.float16),
            "float16, which cannot hold 16 bits; read it as stored",
        ),
        (
            lambda: T.DecodeQuality("sentinel-2-scl", "mask")(
                {"image": torch.ones(2, 1, 3, 3), "mask": torch.ones(3, 3)}
            ),
            r"must be of the same samples and dates; .* \(\) and \(2,\)",
        ),
        (
            lambda: T.DecodeQuality("enmap-l2a", "image_q")(
                {"image": torch.ones(1, 3, 3), "image_q": torch.ones(2, 3, 3)}
            ),
            "'image_q' has 2 bands; 'bands_q' must say which is which layer",
        ),
        (lambda: T.FillInvalid("median"), "value 'median' must be a finite number or 'mean'"),
        (lambda: T.FillInvalid(float("nan")), "value nan must be a finite number"),
    ],
)
def test_bad_input(call: Any, message: str) -> None:
    with pytest.raises(TransformError, match=message):
        call()


def test_filled_with_a_number() -> None:
    valid = torch.tensor([[True, False], [False, True]])
    for dtype in (torch.uint16, torch.int16, torch.float32):
        b = {"image": torch.full((2, 2, 2), 7).to(dtype), "valid": valid, "bands": Bands(["a", "b"])}
        out = T.FillInvalid(3)(b)
        assert out["image"].dtype == dtype and out["image"][0].tolist() == [[7, 3], [3, 7]]
        assert out["valid"] is valid and out["bands"] is b["bands"]
    with pytest.raises(DtypeError, match="'image' is uint16, which cannot hold -1"):
        T.FillInvalid(-1)({**b, "image": torch.zeros(2, 2, 2).to(torch.uint16)})
    with pytest.raises(DtypeError, match=r"cannot hold 0.5; call T.ToFloat\(\) first"):
        T.FillInvalid(0.5)({**b, "image": torch.zeros(2, 2, 2).to(torch.uint8)})
    with pytest.raises(DtypeError, match="float16, which cannot hold 1e\\+06"):
        T.FillInvalid(1e6)({**b, "image": torch.zeros(2, 2, 2).half()})
    with pytest.raises(TransformError, match="cannot calculate with uint8"):
        T.FillInvalid("mean")({**b, "image": torch.zeros(2, 2, 2).to(torch.uint8)})


def test_filled_with_the_mean_of_what_is_seen() -> None:
    rng = np.random.default_rng(3)
    x, valid = rng.normal(5, 2, (4, 3, 5, 5)), rng.random((4, 5, 5)) > 0.5
    valid[2] = False
    valid[3, 0, 0], x[3, 1, 0, 0] = True, np.nan
    b = {"image": torch.from_numpy(x), "valid": torch.from_numpy(valid), "bands": Bands(["a", "b", "c"])}
    out = T.FillInvalid("mean")(b)["image"].numpy()
    for i in range(4):
        for c in range(3):
            expected = np.nanmean(x[i, c][valid[i]]) if valid[i].any() else 0.0
            np.testing.assert_allclose(out[i, c][~valid[i]], expected)
            np.testing.assert_array_equal(out[i, c][valid[i]], x[i, c][valid[i]])


def test_complex_numbers_are_not_filled() -> None:
    b = {"image": torch.ones(1, 1, 2, dtype=torch.complex64), "bands": Bands(["VV"])}
    with pytest.raises(DtypeError, match="'image' is complex; fill amplitudes"):
        T.FillInvalid(0)({**b, "valid": torch.tensor([[True, False]])})
