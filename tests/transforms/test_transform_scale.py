"""Casts and normalisation against numpy in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geodata import transforms as T
from geodata.bands import Bands
from geodata.errors import BandsError, DtypeError, TransformError

Make = Callable[..., dict[str, Any]]

ANY: Any = T
"""The same names without their types, to call them wrongly."""

INTEGERS = [torch.bool, torch.uint8, torch.int8, torch.uint16, torch.int16, torch.uint32, torch.int32, torch.uint64]
FLOATS = [torch.float16, torch.float32, torch.float64]


@pytest.mark.parametrize("source", [*INTEGERS, torch.int64, *FLOATS], ids=str)
@pytest.mark.parametrize("target", FLOATS, ids=str)
def test_casts_that_keep_every_value_are_those_of_numpy(source: torch.dtype, target: torch.dtype) -> None:
    def name(dtype: torch.dtype) -> str:
        return str(dtype).removeprefix("torch.")

    # numpy calls 64-bit integers to float64 safe although 2**53 + 1 is lost; here it is refused.
    safe = np.can_cast(name(source), name(target), "safe") and source not in (torch.int64, torch.uint64)
    image = torch.ones(2, 3, 3).to(source)
    if safe:
        out = T.ToFloat(target)({"image": image})["image"]
        assert out.dtype == target and (out == 1).all()
    else:
        with pytest.raises(DtypeError, match=f"'image' is {name(source)}, which has values that {name(target)} cannot"):
            T.ToFloat(target)({"image": image})
    assert T.ToFloat(target, lossy=True)({"image": image})["image"].dtype == target


def test_bfloat16_has_eight_digits() -> None:
    assert T.ToFloat(torch.bfloat16)({"image": torch.tensor([[[255]]], dtype=torch.uint8)})["image"].item() == 255
    for dtype in (torch.int16, torch.float16, torch.float32):
        with pytest.raises(DtypeError):
            T.ToFloat(torch.bfloat16)({"image": torch.zeros(1, 1, 1, dtype=dtype)})
    with pytest.raises(DtypeError):
        T.ToFloat(torch.float16)({"image": torch.zeros(1, 1, 1, dtype=torch.bfloat16)})
    assert T.ToFloat()({"image": torch.zeros(1, 1, 1, dtype=torch.bfloat16)})["image"].dtype == torch.float32


def test_complex_has_no_floating_form() -> None:
    with pytest.raises(DtypeError, match="complex64"):
        T.ToFloat(lossy=True)({"image": torch.zeros(1, 1, 1, dtype=torch.complex64)})


def test_to_float_casts_images_and_nothing_else() -> None:
    numbers = np.array([[[0, 1], [40000, 65535]]], dtype=np.uint16)
    sample = {
        "image": torch.from_numpy(numbers),
        "image_s1": torch.from_numpy(numbers.astype(np.int16)),
        "mask": torch.ones(2, 2, dtype=torch.int64),
        "valid": torch.ones(2, 2, dtype=torch.bool),
        "label": torch.tensor(3),
    }
    kept = copy.deepcopy(sample)
    out = T.ToFloat()(sample)
    assert out["image"].dtype == out["image_s1"].dtype == torch.float32
    assert out["image"].tolist() == numbers.astype(float).tolist(), "numbers are not scaled"
    for key in ("mask", "valid", "label"):
        assert out[key] is sample[key]
    assert all(torch.equal(sample[k].long(), kept[k].long()) and sample[k].dtype == kept[k].dtype for k in kept)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: T.ToFloat(torch.int32), "dtype torch.int32 must be a floating one"),
        (lambda: T.ToFloat("float3"), "dtype 'float3' must be a floating one"),
        (lambda: T.ToFloat("load"), "dtype 'load' must be a floating one"),
        (lambda: T.ToFloat()({"mask": torch.zeros(2, 2)}), r"ToFloat found no image among the keys \['mask'\]"),
        (lambda: T.ToFloat()({"image": np.zeros(3)}), "'image' is ndarray; ToFloat works on torch tensors"),
        (lambda: ANY.ToFloat()([1, 2]), "ToFloat takes a sample or batch dict, got list"),
    ],
)
def test_to_float_bad_input(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(TransformError, match=message):
        call()


STATS = {
    "mean": {"nir": 0.4, "red": 0.1, "blue": 0.05, "other": 9.0},
    "std": {"red": 0.02, "nir": 0.1, "blue": 0.3, "other": 1.0},
}
NAMES = ("blue", "red", "nir")


def by_numpy(image: Any, names: tuple[str, ...] = NAMES) -> Any:
    numbers = image.numpy().astype(np.float64)
    columns = np.moveaxis(numbers, -3, -1)
    mean, std = (np.array([STATS[part][n] for n in names]) for part in ("mean", "std"))
    return np.moveaxis((columns - mean) / std, -1, -3)


@pytest.mark.parametrize("lead", [(), (4,), (4, 2), (0,)])
@pytest.mark.parametrize("names", [NAMES, NAMES[::-1], NAMES[:1]])
def test_normalize_equals_numpy_in_any_order_of_bands(lead: tuple[int, ...], names: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    image = torch.rand(*lead, len(names), 5, 4)
    out = T.Normalize(STATS)({"image": image, "bands": Bands(names)})
    np.testing.assert_allclose(out["image"].numpy(), by_numpy(image, names), rtol=1e-5, atol=1e-5)
    assert out["image"].dtype == torch.float32


@settings(max_examples=30, deadline=None)
@given(st.permutations(NAMES))
def test_permuting_bands_permutes_channels(order: list[str]) -> None:
    image = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(1))
    straight = T.Normalize(STATS)({"image": image, "bands": Bands(NAMES)})["image"]
    channels = [NAMES.index(name) for name in order]
    permuted = T.Normalize(STATS)({"image": image[channels], "bands": Bands(order)})["image"]
    assert torch.equal(permuted, straight[channels])


@pytest.mark.parametrize("lead", [(), (4,), (4, 2)])
def test_invalid_pixels_become_zero_and_a_valid_nan_stays(lead: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    image, valid = torch.rand(*lead, 3, 5, 4), torch.rand(*lead, 5, 4) > 0.5
    valid[..., 0, 0], valid[..., 1, 1] = True, False
    image[..., 2, 0, 0] = torch.nan
    image[..., 2, 1, 1] = torch.nan
    out = T.Normalize(STATS)({"image": image, "valid": valid, "bands": Bands(NAMES)})["image"]
    expected = np.where(valid.numpy()[..., None, :, :], by_numpy(image), 0.0)
    np.testing.assert_allclose(out.numpy(), expected, rtol=1e-5, atol=1e-5)
    assert torch.isnan(out[..., 2, 0, 0]).all() and not torch.isnan(out[..., 1, 1]).any()


def test_a_sample_without_any_valid_pixel_is_all_zero() -> None:
    b = {"image": torch.full((2, 3, 4, 4), torch.nan), "valid": torch.zeros(2, 4, 4, dtype=torch.bool)}
    assert (T.Normalize(STATS)({**b, "bands": Bands(NAMES)})["image"] == 0).all()


def test_normalize_changes_nothing_that_came_in() -> None:
    bands = Bands(NAMES, "reflectance")
    b: dict[str, Any] = {
        "image": torch.rand(2, 3, 4, 4),
        "valid": torch.rand(2, 4, 4) > 0.5,
        "mask": torch.ones(2, 4, 4, dtype=torch.int64),
        "bands": bands,
    }
    kept, before = copy.deepcopy(b), dict(b)
    out = T.Normalize(STATS)(b)
    assert b == before and all(b[key] is before[key] for key in b)
    assert all(torch.equal(b[k], kept[k]) for k in ("image", "valid", "mask"))
    assert bands.state == "reflectance" and out["bands"].state == "normalised" and out["bands"].names == NAMES
    assert out["mask"] is b["mask"] and out["valid"] is b["valid"]


def test_other_images_have_their_own_key() -> None:
    image = torch.rand(1, 2, 2)
    b = {"image": image, "bands": Bands(["red"]), "image_s1": image, "bands_s1": Bands(["VV"], "dB")}
    b["valid_s1"] = torch.tensor([[True, False], [True, True]])
    out = T.Normalize(mean={"VV": -12.0}, std={"VV": 5.0}, key="image_s1")(b)
    assert out["image"] is image and out["bands"].state == "raw" and out["bands_s1"].state == "normalised"
    expected = (image + 12) / 5 * b["valid_s1"]
    torch.testing.assert_close(out["image_s1"], expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_other_floats_are_as_good_as_their_dtype(dtype: torch.dtype) -> None:
    # 3003 is no number of either half float: a mean rounded to it would shift everything.
    image = torch.linspace(2500, 3500, 64).reshape(1, 8, 8).to(dtype)
    out = T.Normalize(mean={"a": 3003.0}, std={"a": 500.0})({"image": image, "bands": Bands(["a"])})["image"]
    expected = ((image.double() - 3003.0) / 500.0).to(dtype)
    assert out.dtype == dtype
    torch.testing.assert_close(out, expected, rtol=torch.finfo(dtype).eps, atol=1e-7)


def test_normalize_stays_on_the_device() -> None:
    b = {"image": torch.empty(2, 3, 4, 4, device="meta"), "valid": torch.empty(2, 4, 4, device="meta").bool()}
    assert T.Normalize(STATS)({**b, "bands": Bands(NAMES)})["image"].device.type == "meta"


GOOD: dict[str, Any] = {"image": torch.zeros(2, 3, 4, 4), "bands": Bands(NAMES)}


@pytest.mark.parametrize(
    ("new", "error", "message"),
    [
        ({"image": torch.zeros(2, 3, 4, 4).to(torch.uint16)}, TransformError, r"uint16 .* call T.ToFloat\(\) first"),
        ({"image": torch.zeros(2, 3, 4, 4).bool()}, TransformError, r"bool .* call T.ToFloat\(\) first"),
        ({"bands": Bands(NAMES, "normalised")}, TransformError, "'image' is normalised already"),
        ({"bands": Bands(["red", "B05", "B06"])}, BandsError, "no statistics for bands B05, B06 of 'image'"),
        ({"bands": Bands(["red"])}, TransformError, r"'image' has shape \(2, 3, 4, 4\) and 'bands' 1 bands"),
        ({"bands": None}, TransformError, "Normalize needs 'bands' to know the channels of 'image'"),
        ({"bands": [Bands(NAMES)] * 2}, TransformError, "one Bands for the whole batch, got list"),
        ({"image": None}, TransformError, "Normalize needs a tensor under 'image'; images here: none"),
        ({"image": None, "image_s1": torch.zeros(1)}, TransformError, "images here: image_s1"),
        ({"valid": torch.ones(4, 4).bool()}, TransformError, r"'valid' is bool \(4, 4\); .* must be bool \(2, 4, 4\)"),
        ({"valid": torch.ones(2, 4, 4)}, TransformError, r"'valid' is float32 \(2, 4, 4\)"),
    ],
)
def test_normalize_bad_batch(new: dict[str, Any], error: type[Exception], message: str) -> None:
    b = {k: v for k, v in {**GOOD, **new}.items() if v is not None}
    with pytest.raises(error, match=message):
        T.Normalize(STATS)(b)


def test_normalising_twice_is_refused() -> None:
    with pytest.raises(TransformError, match="normalise once only"):
        T.Compose([T.Normalize(STATS), T.Normalize(STATS)])(GOOD)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: T.Normalize(), "mean must say which value is of which band"),
        (lambda: T.Normalize(mean={"a": 1}), "std must say which value is of which band"),
        (lambda: ANY.Normalize(mean=[1.0], std=[1.0]), "an order of bands is never assumed"),
        (lambda: ANY.Normalize(mean=["a"], std=["a"]), "an order of bands is never assumed"),
        (lambda: T.Normalize(mean={}, std={}), "mean must say which value is of which band"),
        (lambda: T.Normalize({"mean": {"a": 1}}), "stats must be {'mean'"),
        (lambda: T.Normalize({"mean": {"a": 1}, "std": {"a": 1}}, std={"a": 1}), "either stats, or mean= and std="),
        (lambda: T.Normalize(mean={"a": 1, "b": 1}, std={"b": 1, "c": 1}), "only one of them has a, c"),
        (lambda: T.Normalize(mean={"a": 1}, std={"a": 0}), "std of band 'a' is 0.0; it must be finite and above 0"),
        (lambda: T.Normalize(mean={"a": 1}, std={"a": -1}), "std of band 'a' is -1.0"),
        (lambda: T.Normalize(mean={"a": 1}, std={"a": float("nan")}), "std of band 'a' is nan"),
        (lambda: T.Normalize(mean={"a": 1}, std={"a": float("inf")}), "std of band 'a' is inf"),
        (lambda: T.Normalize(mean={"a": float("nan")}, std={"a": 1}), "mean of band 'a' is nan"),
        (lambda: ANY.Normalize(mean={"a": "x"}, std={"a": 1}), "mean must be one number for each band"),
        (lambda: T.Normalize(STATS, key="mask"), "key 'mask' must be 'image' or 'image_<name>'"),
        (lambda: T.Normalize(STATS, key="images"), "key 'images' must be"),
        (lambda: ANY.Normalize(STATS, key=1), "key 1 must be"),
    ],
)
def test_normalize_bad_arguments(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(TransformError, match=message):
        call()


class OnMps(torch.Tensor):
    """A tensor that says it is on a device without float64."""

    device = torch.device("mps")  # type: ignore[assignment]


def test_float64_on_a_device_that_has_none() -> None:
    image = torch.zeros(1, 2, 2).as_subclass(OnMps)
    with pytest.raises(TransformError, match="'image' is on mps, which has no float64; cast before the batch is moved"):
        T.ToFloat("float64")({"image": image})
    assert T.ToFloat("float32")({"image": image})["image"].dtype == torch.float32


BY_KEY = {
    "image": {
        **STATS,
        "min": STATS["mean"],
        "max": {n: v + 1 for n, v in STATS["mean"].items()},
        "state": "reflectance",
    },
    "image_s1": {"mean": {"VV": -12.0}, "std": {"VV": 5.0}, "state": "dB"},
}


def test_statistics_of_several_images_give_those_of_the_key() -> None:
    image = torch.rand(1, 2, 2)
    b = {"image_s1": image, "bands_s1": Bands(["VV"], "dB")}
    out = T.Normalize(BY_KEY, key="image_s1")(b)["image_s1"]
    torch.testing.assert_close(out, (image + 12) / 5)
    with pytest.raises(
        TransformError, match=r"stats must be .*, or hold such a mapping for 'image_dem'; got image, image_s1"
    ):
        T.Normalize(BY_KEY, key="image_dem")
    with pytest.raises(TransformError, match=r"open it: Statistics.load\(path, split=...\)"):
        T.Normalize({"format": "geodata statistics 1", "images": BY_KEY})


@pytest.mark.parametrize("make", [T.Normalize, T.MeanStdRange, T.MinMax], ids=lambda t: t.__name__)
def test_statistics_of_other_numbers_are_refused(make: Any) -> None:
    bands = Bands(NAMES)
    with pytest.raises(TransformError, match="'image' is raw, and the statistics are of reflectance numbers; scale"):
        make(BY_KEY)({"image": torch.zeros(3, 2, 2), "bands": bands})
    out = make(BY_KEY)({"image": torch.zeros(3, 2, 2), "bands": bands.with_state("reflectance")})
    assert out["bands"].state == "normalised"
    with pytest.raises(BandsError, match="no statistics for bands B11 of 'image'"):
        make(BY_KEY)({"image": torch.zeros(1, 2, 2), "bands": Bands(["B11"], "reflectance")})
    with pytest.raises(TransformError, match="normalised already"):
        make(BY_KEY)({"image": torch.zeros(3, 2, 2), "bands": bands.with_state("normalised")})


def published(x: Any, mean: Any, std: Any) -> Any:
    """Mean and two deviations as the authors of SeCo and SatMAE calculate them, then over 255 as ToTensor does."""
    low, high = mean - 2 * std, mean + 2 * std
    img = np.clip((x - low) / (high - low) * 255.0, 0, 255).astype(np.uint8)
    return img.astype(np.float32) / np.float32(255)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_mean_std_range_rounds_as_published(dtype: torch.dtype) -> None:
    numbers = torch.arange(0, 9000, dtype=dtype).reshape(1, 90, 100).repeat(2, 1, 1)
    mean, std = {"a": 1370.19151926, "b": 2000.0}, {"a": 633.15169573, "b": 510.0}
    b = {"image": numbers, "bands": Bands(["a", "b"])}
    out = T.MeanStdRange(mean=mean, std=std, uint8=True)(b)["image"]
    for i, name in enumerate("ab"):
        expected = published(numbers[i].double().numpy(), np.float64(mean[name]), np.float64(std[name]))
        assert out.dtype == dtype and np.array_equal(out[i].float().numpy(), expected)
    assert len(torch.unique(out[0])) == 256
    smooth = T.MeanStdRange(mean=mean, std=std)(b)["image"]
    assert smooth.min() == 0 and smooth.max() == 1 and ((smooth - out) < 1 / 255 + 1e-6).all() and (smooth >= out).all()


def test_mean_std_range_of_another_spread() -> None:
    x = torch.tensor([[[-1.0, 1.0, 4.0, 7.0, 9.0, torch.nan]]])
    b = {"image": x, "bands": Bands(["a"]), "valid": torch.tensor([[True, True, False, True, True, True]])}
    out = T.MeanStdRange(mean={"a": 4.0}, std={"a": 2.0}, spread=1.5)(b)["image"].flatten()
    assert out[:5].tolist() == [0.0, 0.0, 0.0, 1.0, 1.0] and torch.isnan(out[5])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["image", "band"]), st.booleans())
def test_ranges_of_images_are_those_of_numpy(seed: int, per: str, clip: bool) -> None:
    rng = np.random.default_rng(seed)
    x, valid = rng.normal(100, 30, (3, 2, 4, 5)), rng.random((3, 4, 5)) > 0.4
    x[~np.broadcast_to(valid[:, None], x.shape)] = rng.choice([np.nan, 1e9, -1e9])
    b = {"image": torch.from_numpy(x), "valid": torch.from_numpy(valid), "bands": Bands(["a", "b"])}
    out = T.MinMax(per=per, clip=clip)(b)["image"].numpy()
    for i in range(3):
        rows = [x[i]] if per == "image" else list(x[i][:, None])
        done = [out[i]] if per == "image" else list(out[i][:, None])
        for row, made in zip(rows, done, strict=True):
            seen = row[:, valid[i]]
            if seen.size > 1:
                np.testing.assert_allclose(
                    made[:, valid[i]], (seen - seen.min()) / (seen.max() - seen.min()), atol=1e-12
                )
            assert (made[:, ~valid[i]] == 0).all()


@pytest.mark.parametrize("per", ["image", "band"])
def test_an_image_without_a_range_becomes_zero(per: str) -> None:
    x = torch.stack([torch.full((2, 3, 3), 7.0), torch.rand(2, 3, 3), torch.rand(2, 3, 3)])
    x[1, 0, 0, 0], x[1, 1, 0, 0] = torch.nan, torch.inf
    valid = torch.ones(3, 3, 3, dtype=torch.bool)
    valid[2] = False
    out = T.MinMax(per=per)({"image": x, "valid": valid, "bands": Bands(["a", "b"])})["image"]
    assert (out[0] == 0).all() and (out[2] == 0).all()
    assert torch.isnan(out[1, 0, 0, 0]), "an error stays to be seen"
    rest = out[1].flatten(1)[:, 1:]
    assert torch.isfinite(rest).all() and rest.max() == 1, "and does not spread"
    assert T.MinMax(per=per)({"image": torch.rand(2, 0, 3), "bands": Bands(["a", "b"])})["image"].shape == (2, 0, 3)
    assert T.MinMax(per=per)({"image": torch.rand(0, 2, 3, 3), "bands": Bands(["a", "b"])})["image"].shape[0] == 0


def test_ranges_by_band_and_percentile() -> None:
    x = torch.rand(3, 4, 4) * 2
    b = {"image": x, "bands": Bands(NAMES)}
    stats = {
        "min": dict.fromkeys(NAMES, 0.0),
        "max": {"red": 2.0, "nir": 4.0, "blue": 1.0},
        "percentiles": {
            "2": dict.fromkeys(NAMES, 0.5),
            "98": dict.fromkeys(NAMES, 1.5),
            "99.9": dict.fromkeys(NAMES, 2.0),
        },
    }
    torch.testing.assert_close(T.MinMax(stats)(b)["image"], x / torch.tensor([1.0, 2.0, 4.0])[:, None, None])
    inner = T.MinMax(stats, percentiles=(2, 98), clip=True)
    torch.testing.assert_close(inner(b)["image"], (x - 0.5).clamp(0, 1))
    torch.testing.assert_close(T.MinMax({"image": stats}, percentiles=(2, 99.9))(b)["image"], (x - 0.5) / 1.5)
    torch.testing.assert_close(T.MinMax(low=-1, high=3)(b)["image"], (x + 1) / 4)
    assert "percentiles" not in inner.config()["stats"] and inner.config()["stats"]["min"]["red"] == 0.5


def test_clip() -> None:
    x = torch.tensor([[[-1.0, 0.5, 2.0, torch.nan]]])
    b = {"image": x, "bands": Bands(["a"], "reflectance")}
    out = T.Clip(0, 1)(b)
    assert out["image"].flatten()[:3].tolist() == [0.0, 0.5, 1.0] and torch.isnan(out["image"][0, 0, 3])
    assert out["bands"] == b["bands"] and T.Clip(None, 1)(b)["image"][0, 0, 0] == -1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: T.Clip(), "low None and high None must be finite numbers"),
        (lambda: T.Clip(2, 1), "low first"),
        (lambda: ANY.Clip("0"), "low '0' and high None must be finite"),
        (lambda: T.MinMax(), "give MinMax one of: stats, low= and high=, per="),
        (lambda: T.MinMax(per="image", low=0, high=1), "give MinMax one of"),
        (lambda: T.MinMax(low=0), "low 0 and high None must be finite numbers, low below high"),
        (lambda: T.MinMax(low=1, high=1), "low below high"),
        (lambda: T.MinMax(per="sample"), "per 'sample' must be 'image' or 'band'"),
        (lambda: T.MinMax(low=0, high=1, percentiles=(2, 98)), "are those of stats; give both"),
        (lambda: T.MinMax(BY_KEY, percentiles=(2, 98)), "stats must be {'percentiles'"),
        (
            lambda: T.MinMax({"percentiles": {"1": {"a": 0}}}, percentiles=(1, 99)),
            "no percentile 99 in stats; there are 1",
        ),
        (lambda: ANY.MinMax({"percentiles": {}}, percentiles=3), "percentiles 3 must be two numbers"),
        (lambda: T.MinMax({"min": {"a": 1}, "max": {"a": 1}}), "band 'a' runs from 1.0 to 1.0; a range needs"),
        (lambda: T.MinMax({"min": {"a": 1}, "max": {"a": 2, "b": 3}}), "min and max must be of the same bands; .* b$"),
        (lambda: T.MinMax({"min": {"a": 1}, "max": {"a": float("nan")}}), "band 'a' runs from 1.0 to nan"),
        (lambda: T.MeanStdRange(STATS, spread=0), "spread 0 must be a number of standard deviations, 0.000001 or more"),
        (lambda: T.MeanStdRange(), "mean must say which value is of which band"),
        (lambda: T.MeanStdRange(mean={"a": 1}, std={"a": 0}), "std of band 'a' is 0.0"),
        (lambda: T.Normalize({**STATS, "state": "percent"}), "state 'percent' of the statistics must be one of raw"),
    ],
)
def test_ranges_bad_arguments(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(TransformError, match=message):
        call()
