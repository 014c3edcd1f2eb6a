"""Bound inputs: numbers against formulas by hand, and what is refused."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from zoo.ramp import agree, as_stored, digest, golden, ramp, reversed_orders

from geodata.bands import Band, Bands
from geodata.errors import BandsError, DtypeError, TransformError
from geodata.zoo import InputSpec
from geodata.zoo.fields import Step
from geodata.zoo.numbers import joined, passes, values_after

S2 = Bands.of_sensor("sentinel-2")
STORED = Bands(replace(b, scale=1e-4, offset=-0.1, unit="reflectance") for b in S2)
MEAN, STD = [1300.0, 2500.0, 1000.0], [700.0, 1100.0, 500.0]
NAMES = ["B04", "B08", "B02"]


def spec(**image):
    start = {
        "key": "image", "sensor": "sentinel-2", "bands": NAMES, "unit": "reflectance", "factor": 10000,
        "steps": [{"do": "zscore", "mean": MEAN, "std": STD}],
    }  # fmt: skip
    return InputSpec.from_dict({"name": "model", "images": [start | image]})


def stored(seed=0, shape=(2, 13, 24, 20)):
    x = torch.from_numpy(np.random.default_rng(seed).integers(1000, 6000, shape)).to(torch.int32)
    return {"image": x, "bands": STORED, "key": ["a", "b"][: shape[0]]}


def by_hand(x):
    """(B, 13, H, W) stored numbers -> what the model wants, in float64 one step after the other."""
    place = [3, 7, 1]
    reflectance = x.numpy().astype(np.float64)[:, place] * 1e-4 - 0.1
    return (reflectance * 10000 - np.array(MEAN)[:, None, None]) / np.array(STD)[:, None, None]


def test_stored_numbers_become_the_models_as_by_hand():
    batch = stored()
    before = batch["image"].clone()
    out = spec().bind(STORED)(batch)
    np.testing.assert_allclose(out.args[0].numpy(), by_hand(before), atol=2e-6)
    assert out.args[0].dtype == torch.float32 and out.kwargs == {} and out.target is None
    assert torch.equal(batch["image"], before)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int64", "float32", "float64", "float16"])
def test_every_dtype_gives_the_same(dtype):
    batch = stored()
    want = spec().bind(STORED)(batch).args[0]
    batch["image"] = (batch["image"] // 32 * 32).to(getattr(torch, dtype))  # halves are exact in steps of 4 up to 8192
    got = spec().bind(STORED)(batch).args[0]
    assert got.dtype == torch.float32 and not torch.equal(got, want)
    np.testing.assert_allclose(got, by_hand(batch["image"].to(torch.int32)), atol=2e-6)


def test_reflectance_skips_the_scale():
    batch = stored()
    want = spec().bind(STORED)(batch).args[0]
    done = {"image": batch["image"].to(torch.float32) * 1e-4 - 0.1, "bands": S2.with_state("reflectance")}
    np.testing.assert_allclose(spec().bind(done["bands"])(done).args[0], want, atol=1e-5)


def test_bands_are_found_in_any_order_also_another_than_the_bound_one():
    batch = stored()
    bound = spec().bind(STORED)
    want = bound(batch).args[0]
    order = torch.randperm(13, generator=torch.Generator().manual_seed(1)).tolist()
    other = {"image": batch["image"][:, order], "bands": Bands(STORED[i] for i in order)}
    assert torch.equal(bound(other).args[0], want)
    exact = Bands(STORED.select(NAMES))
    assert torch.equal(bound({"image": batch["image"][:, [3, 7, 1]], "bands": exact}).args[0], want)


def test_common_names_and_other_spellings_are_found():
    x = torch.rand(1, 3, 4, 4)
    bands = Bands([Band("b4"), Band("near infrared", "nir"), Band("B2")], state="reflectance")
    out = spec().bind(bands)({"image": x, "bands": bands}).args[0]
    np.testing.assert_allclose(out[0, 1], (x[0, 1] * 10000 - 2500) / 1100, rtol=1e-5, atol=1e-5)


def test_a_table_says_what_is_missing_and_what_to_do():
    bands = Bands(
        [S2[3], replace(S2[1], unit="reflectance", scale=1e-4), Band("B08", wavelength=560.0, unit="reflectance")]
    )
    with pytest.raises(BandsError) as error:
        spec().bind(bands)
    text = str(error.value)
    lines = text.splitlines()
    assert "'image' does not fit model: 1 of 3 bands do" in lines[0] and lines[1].split() == [
        "wanted",
        "found",
        "what",
        "to",
        "do",
    ]
    assert "B04 (red, 664.6 nm)" in text and "stored, no unit" in text and "T.ToReflectance(product=...)" in text
    assert [
        line
        for line in lines
        if line.startswith("  B08 (nir, 832.8 nm)") and " -  " in line and "read this band" in line
    ]
    assert "B02 (blue" not in "".join(lines[2:-1])


@pytest.mark.parametrize(
    ("unit", "bands", "said"),
    [
        ("reflectance", STORED.with_state("normalised"), "normalised already"),
        ("reflectance", Bands(replace(b, unit="dB") for b in STORED), "dB cannot become reflectance"),
        ("reflectance", S2.with_state("dB"), "dB cannot become reflectance"),
        ("dB", Bands(replace(b, unit="linear") for b in STORED), "T.ToDecibel"),
        ("linear", S2.with_state("dB"), "T.FromDecibel"),
        ("dB", S2.with_state("reflectance"), "cannot become dB"),
        ("raw", S2.with_state("reflectance"), "as stored"),
        ("K", STORED, "reflectance cannot become K"),
    ],
)
def test_other_units_are_refused(unit, bands, said):
    with pytest.raises(BandsError, match=said):
        spec(unit=unit).bind(bands)


def test_a_batch_that_was_normalised_after_binding_is_refused():
    bound = spec().bind(STORED)
    batch = stored()
    with pytest.raises(BandsError, match="normalised already"):
        bound({"image": batch["image"].float(), "bands": STORED.with_state("normalised")})
    with pytest.raises(BandsError, match="read this band"):
        bound({"image": batch["image"][:, :5], "bands": STORED[:5]})


def test_numbers_as_stored_are_taken_as_they_are():
    out = spec(unit="raw", factor=1, steps=[]).bind(STORED)(stored()).args[0]
    assert torch.equal(out, stored()["image"][:, [3, 7, 1]].float())


def test_decibels_and_units_of_single_bands():
    s1 = Bands([Band("VH"), Band("VV")], state="dB")
    radar = InputSpec.from_dict(
        {
            "images": [
                {"key": "image", "bands": ["VV", "VH"], "unit": "dB", "steps": [{"do": "range", "low": -30, "high": 0}]}
            ]
        }
    )
    x = torch.tensor([-15.0, -30.0])[None, :, None, None]
    assert radar.bind(s1)({"image": x, "bands": s1}).args[0].flatten().tolist() == pytest.approx([0.0, 0.5], abs=1e-6)
    mixed = InputSpec.from_dict(
        {"images": [{"key": "image", "bands": ["a", {"name": "b", "unit": "K"}], "unit": "reflectance"}]}
    )
    bands = Bands([Band("a", unit="reflectance", scale=0.5), Band("b", unit="K", scale=2.0, offset=100.0)])
    out = mixed.bind(bands)({"image": torch.ones(1, 2, 1, 1), "bands": bands}).args[0]
    assert out.flatten().tolist() == [0.5, 102.0]


# ---------------------------------------------------------------------- pictures

PICTURE = InputSpec.from_timm(
    {"input_size": (3, 8, 8), "crop_pct": 1.0, "mean": (0.5, 0.4, 0.3), "std": (0.1, 0.2, 0.3)}
)
NORM = (torch.tensor([0.5, 0.4, 0.3])[:, None, None], torch.tensor([0.1, 0.2, 0.3])[:, None, None])


def test_bytes_without_a_unit_are_brightness():
    x = torch.arange(192, dtype=torch.uint8).reshape(1, 3, 8, 8)
    bands = Bands(["blue", "green", "red"])
    out = PICTURE.bind(bands)({"image": x, "bands": bands}).args[0]
    torch.testing.assert_close(out, (x.flip(1) / 255 - NORM[0]) / NORM[1])
    for other in (x.to(torch.uint16), x.float()):
        with pytest.raises(BandsError, match="only uint8"):
            PICTURE.bind(bands)({"image": other, "bands": bands})
    scaled = Bands(Band(n, unit="display", scale=1 / 255) for n in bands.names)
    torch.testing.assert_close(PICTURE.bind(scaled)({"image": x.float(), "bands": scaled}).args[0], out)


def test_reflectance_is_brightness_or_stretched_to_it():
    x = torch.rand(1, 13, 8, 8)
    bands = S2.with_state("reflectance")
    rgb = x[:, [3, 2, 1]]
    got = PICTURE.bind(bands)({"image": x, "bands": bands}).args[0]
    torch.testing.assert_close(got, (rgb - NORM[0]) / NORM[1])
    got = PICTURE.stretched(0.1, 0.4).bind(bands)({"image": x, "bands": bands}).args[0]
    torch.testing.assert_close(got, (((rgb - 0.1) / 0.3).clamp(0, 1) - NORM[0]) / NORM[1])
    whole = {
        "image": (x * 10000).round().to(torch.int32),
        "bands": Bands(replace(b, scale=1e-4, unit="reflectance") for b in S2),
    }
    again = PICTURE.stretched(0.1, 0.4).bind(whole["bands"])(whole).args[0]
    torch.testing.assert_close(again, got, atol=5e-3, rtol=0)


# ---------------------------------------------------------------------- steps


def test_joined_steps_equal_single_ones():
    rng = np.random.default_rng(3)
    steps = [
        Step("zscore", {"mean": [1.0, 2.0, 3.0], "std": [0.5, 2.0, 4.0]}),
        Step("range", {"low": -2.0, "high": [1.0, 2.0, 3.0]}),
        Step("scale", {"multiply": 255.0}),
        Step("clip", {"low": 0.0, "high": [200.0, 255.0, 255.0]}),
        Step("floor"),
        Step("scale", {"multiply": 1 / 255, "add": 0.25}),
        Step("zscore", {"mean": 0.4, "std": [0.2, 0.3, 0.4]}),
    ]
    x = rng.normal(0.5, 2, (3, 500))
    want = x.copy()
    for step in steps:  # written out again, without the code under test
        v = {k: np.broadcast_to(np.array(n, float), (3,))[:, None] for k, n in step.values.items()}
        want = {
            "zscore": lambda a, v=v: (a - v["mean"]) / v["std"],
            "range": lambda a, v=v: (a - v["low"]) / (v["high"] - v["low"]),
            "scale": lambda a, v=v: a * v["multiply"] + v["add"],
            "clip": lambda a, v=v: np.minimum(np.maximum(a, v["low"]), v["high"]),
            "floor": lambda a, v=v: np.floor(a),
        }[step.do](want)
    short = joined(passes(steps, 3))
    assert [p.kind for p in short] == ["affine", "clip", "floor", "affine"]
    got = np.stack([values_after(short, x[:, i]) for i in range(500)], axis=1)
    np.testing.assert_allclose(got, want, atol=1e-12)
    one = spec(factor=1, steps=[s.to_dict() for s in steps])
    bands = Bands.of_sensor("sentinel-2").select(NAMES).with_state("reflectance")
    out = one.bind(bands)({"image": torch.from_numpy(x).reshape(1, 3, 500, 1), "bands": bands}).args[0]
    # float32 may fall to the other side of a whole number where it rounds down
    off = np.abs(out[0, :, :, 0].numpy() - want) > 1e-4
    assert off.mean() < 0.003


def test_scale_and_zscore_are_one_pass():
    route = spec().bind(STORED)._routes["image"]
    assert [p.kind for p in route.passes] == ["affine"]


# ---------------------------------------------------------------------- missing, not observed


def test_missing_bands_are_filled_as_the_input_says():
    there = Bands(b for b in STORED if b.name != "B08")
    x = stored()["image"]
    batch = {"image": x[:, [i for i in range(13) if i != 7]], "bands": there}
    want = spec().bind(STORED)(stored()).args[0]
    for missing, value in (("mean", 0.0), ("zero", -MEAN[1] / STD[1])):
        out = spec(missing=missing).bind(there)(batch).args[0]
        assert torch.equal(out[:, [0, 2]], want[:, [0, 2]])
        torch.testing.assert_close(out[:, 1], torch.full_like(out[:, 1], value))
    with pytest.raises(BandsError, match="0 of 3"):
        spec(missing="zero").bind(Bands([replace(S2[0], unit="reflectance")]))


def test_pixels_that_are_not_observed_become_the_mean_and_touch_nothing():
    batch = stored()
    valid = torch.ones(2, 24, 20, dtype=torch.bool)
    valid[0, :, 10:] = False
    valid[1] = False
    clean = spec(size=12, resize="bilinear").bind(STORED)
    want = clean(batch | {"valid": valid}).args[0]
    rubbish = batch["image"].float()
    rubbish[~valid.unsqueeze(1).expand_as(rubbish)] = float("nan")
    got = clean({**batch, "image": rubbish, "valid": valid}).args[0]
    torch.testing.assert_close(got, want)
    assert (
        torch.isfinite(got).all()
        and (got[1] == 0).all()
        and (got[0, :, :, 6:] == 0).all()
        and (got[0, :, :, :5] != 0).all()
    )
    still = spec().bind(STORED)({**batch, "image": rubbish, "valid": valid}).args[0]
    assert (still[0, :, :, 10:] == 0).all() and torch.isfinite(still).all()


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "area"])
def test_beside_what_is_not_observed_pixels_keep_their_numbers_when_resized(mode):
    x = torch.full((1, 3, 12, 12), 0.3)
    valid = torch.ones(1, 12, 12, dtype=torch.bool)
    valid[:, :, :5] = False
    x[:, :, :, :5] = 9.0
    for size in (8, 20):
        out = sized(size=size, resize=mode)(x, valid=valid).args[0]
        assert ((out == 0) | ((out - 0.3).abs() < 1e-5)).all() and (out == 0).any() and (out != 0).any()


def test_a_nan_in_an_observed_pixel_is_still_there():
    batch = stored()
    x = batch["image"].float()
    x[0, 3, 5, 5] = float("nan")
    out = spec().bind(STORED)({**batch, "image": x}).args[0]
    assert torch.isnan(out[0, 0, 5, 5]) and int(torch.isnan(out).sum()) == 1


def test_steps_after_the_zscore_run_on_what_stands_for_the_unknown():
    seco = [
        {"do": "range", "low": [1, 2, 3], "high": [5, 6, 7]},
        {"do": "zscore", "mean": 0.4, "std": 0.2},
        {"do": "scale", "add": 3},
    ]
    valid = torch.zeros(2, 24, 20, dtype=torch.bool)
    out = spec(steps=seco).bind(STORED)({**stored(), "valid": valid}).args[0]
    assert (out == 3).all()


# ---------------------------------------------------------------------- sizes and layouts


def plane(height, width):
    """x + 100 y, which every smooth interpolation keeps inside."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return (x + 100 * y).expand(1, 3, height, width).clone()


def sized(**image):
    one = spec(steps=[], factor=1, **image)
    bands = S2.select(NAMES).with_state("reflectance")
    return lambda x, **rest: one.bind(bands)({"image": x, "bands": bands, **rest})


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_resize_and_crop_keep_positions(mode):
    out = sized(size=64, resize=mode, crop=48)(plane(32, 32)).args[0]
    y, x = torch.meshgrid(torch.arange(48) + 0.5 + 8, torch.arange(48) + 0.5 + 8, indexing="ij")
    assert out.shape == (1, 3, 48, 48)
    torch.testing.assert_close(out[0, 0], (x + 100 * y) / 2, atol=2e-2, rtol=0)


def test_the_shorter_side_keeps_the_aspect_ratio():
    out = sized(size=40, resize="bilinear", crop=32, fit="short")(plane(20, 30)).args[0]
    # 20 x 30 -> 40 x 60, crop at row 4, column 14
    y, x = torch.meshgrid((torch.arange(32) + 0.5 + 4) / 2, (torch.arange(32) + 0.5 + 14) / 2, indexing="ij")
    torch.testing.assert_close(out[0, 0], x + 100 * y, atol=2e-2, rtol=0)


def test_an_image_of_the_models_size_is_taken_as_it_is():
    x = torch.rand(1, 3, 48, 48)
    assert torch.equal(sized(size=64, resize="bilinear", crop=48)(x).args[0], x)
    assert torch.equal(sized(crop=48)(torch.nn.functional.pad(x, (3, 3, 1, 1))).args[0], x)


def test_small_images_are_averaged_when_made_smaller():
    x = torch.zeros(1, 3, 64, 64)
    x[..., ::2] = 1.0
    smooth, rough = (sized(size=8, resize="bilinear", antialias=a)(x).args[0] for a in (True, False))
    assert (smooth - 0.5).abs().max() < 0.05 and sized(size=8, resize="area")(x).args[0].std() < 1e-6
    assert rough.shape == smooth.shape


@pytest.mark.parametrize(
    ("image", "shape", "said"),
    [
        ({"size": 24}, (32, 32), "without a rule to resize"),
        ({"crop": 24}, (20, 40), "without a rule to resize"),
        ({"multiple": 32}, (120, 64), "divisible by 32: sample patches of 128 x 64"),
        ({}, (0, 4), "nothing to give the model"),
    ],
)
def test_other_sizes_are_refused(image, shape, said):
    with pytest.raises(TransformError, match=said):
        sized(**image)(torch.zeros(1, 3, *shape))


@pytest.mark.parametrize("layout", ["b c h w", "b h w c", "b c t h w", "b t c h w", "b t h w c", "b h w t c"])
def test_axes_come_in_the_models_order(layout):
    x = torch.rand(2, 4, 3, 5, 6)
    x = x if "t" in layout else x[:, 0]
    out = sized(layout=layout)(x).args[0]
    want = torch.einsum(f"{'btchw' if 't' in layout else 'bchw'}->{layout.replace(' ', '')}", x)
    assert torch.equal(out, want)


def test_one_date_and_series_and_single_samples():
    x = torch.rand(2, 3, 5, 6)
    assert sized(layout="b c t h w")(x).args[0].shape == (2, 3, 1, 5, 6)
    assert sized(layout="b c h w")(x[:, None]).args[0].shape == (2, 3, 5, 6)
    with pytest.raises(TransformError, match="2 dates"):
        sized()(x[None])
    assert sized()(x[0]).args[0].shape == (1, 3, 5, 6)
    assert sized(layout="b t c h w")(x, key="one sample").args[0].shape == (1, 2, 3, 5, 6)
    pictures = sized(layout="list c h w")(x).args[0]
    assert isinstance(pictures, list) and [p.shape for p in pictures] == [(3, 5, 6)] * 2
    assert sized()(x[:0]).args[0].shape == (0, 3, 5, 6)
    assert sized(size=8, resize="bicubic")(x[:0, :, :1, :1]).args[0].shape == (0, 3, 8, 8)
    assert sized(size=8, resize="bicubic")(x[:, :, :1, :1]).args[0].shape == (2, 3, 8, 8)


# ---------------------------------------------------------------------- the module


def test_two_images_and_what_binding_refuses():
    two = InputSpec.from_dict({
        "images": [
            {"key": "image", "bands": ["red"], "unit": "reflectance"},
            {"key": "image_s1", "bands": ["VV", "VH"], "unit": "dB"},
        ],
        "call": {"kwargs": {"x": "image", "both": {"s1": "image_s1"}}},
    })  # fmt: skip
    bands = {"image": Bands(["red"], "reflectance"), "image_s1": Bands(["VH", "VV"], "dB")}
    bound = two.bind(bands)
    batch = {"image": torch.ones(1, 1, 2, 2), "image_s1": torch.rand(1, 2, 2, 2)}
    out = bound({**batch, "bands": bands["image"], "bands_s1": bands["image_s1"]})
    assert torch.equal(out.kwargs["both"]["s1"], batch["image_s1"].flip(1)) and out.args == ()
    for wrong in (bands["image"], {"image": bands["image"]}, None):
        with pytest.raises(BandsError, match=r"give \{key: Bands\}"):
            two.bind(wrong)
    with pytest.raises(BandsError, match="band_names="):
        spec().bind({"image": None})
    with pytest.raises(TransformError, match="image_s1"):
        bound({"image": batch["image"], "bands": bands["image"]})


def test_batches_that_are_none_are_refused():
    bound = spec().bind(STORED)
    x = stored()["image"]
    with pytest.raises(TransformError, match="list of images"):
        bound({"image": [x[0], x[1][:5]], "bands": STORED})
    with pytest.raises(TransformError, match="needs 'bands'"):
        bound({"image": x})
    with pytest.raises(TransformError, match="13 bands"):
        bound({"image": x[:, :5], "bands": STORED})
    with pytest.raises(DtypeError, match="complex"):
        bound({"image": x.to(torch.complex64), "bands": STORED})
    with pytest.raises(TransformError, match="sample or batch dict"):
        bound(x)
    with pytest.raises(TransformError, match="must be bool"):
        bound({"image": x, "bands": STORED, "valid": torch.ones(2, 13, 24, 20)})


def test_a_bound_input_pickles_and_copies():
    bound = spec(size=16, resize="bilinear").bind(STORED)
    want = bound(stored()).args[0]
    for again in (pickle.loads(pickle.dumps(bound)), copy.deepcopy(bound)):
        assert torch.equal(again(stored()).args[0], want)
    assert "model" in repr(bound) and list(bound.parameters()) == []


def test_a_sample_alone_gives_what_it_gives_in_a_batch():
    bound = spec(size=16, resize="bicubic", crop=12).bind(STORED)
    whole = bound(stored()).args[0]
    alone = bound({"image": stored()["image"][1], "bands": STORED}).args[0]
    torch.testing.assert_close(alone[0], whole[1], atol=1e-6, rtol=1e-6)


def test_gradients_reach_the_image():
    x = torch.rand(1, 3, 8, 8, requires_grad=True)
    bands = S2.select(NAMES[::-1]).with_state("reflectance")
    spec(size=4, resize="bilinear").bind(bands)({"image": x, "bands": bands}).args[0].sum().backward()
    assert x.grad is not None and (x.grad != 0).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
def test_the_gpu_gives_the_same():
    bound = spec(size=16, resize="bicubic", crop=12, missing="zero").bind(STORED)
    valid = torch.rand(2, 24, 20) > 0.2
    here = bound({**stored(), "valid": valid}).args[0]
    there = bound({**stored(), "image": stored()["image"].cuda(), "valid": valid.cuda()}).args[0]
    assert there.is_cuda
    torch.testing.assert_close(there.cpu(), here, atol=1e-4, rtol=1e-4)


# ---------------------------------------------------------------------- the golden ramp itself


def test_the_hash_sees_a_change_and_not_the_order():
    one = spec(size=32, resize="bilinear", crop=24)
    assert golden(one) == golden(one, orders=reversed_orders(one))
    other = spec(size=32, resize="bilinear", crop=24, steps=[{"do": "zscore", "mean": MEAN, "std": [*STD[:2], 510.0]}])
    assert not agree(golden(one), golden(other))
    with pytest.raises(BandsError, match="B02"):
        golden(one, orders={"image": [0, 1]})
    batch = ramp(one)
    exact = digest(one.bind(batch["bands"])(batch).args[0])
    rounded = as_stored(batch)
    assert not torch.equal(rounded["image"], batch["image"]) and exact == digest(
        one.bind(batch["bands"])(batch).args[0]
    )
    got = one.bind(rounded["bands"])(rounded).args[0]
    torch.testing.assert_close(got, one.bind(batch["bands"])(batch).args[0], atol=2e-3, rtol=0)
