"""Statistics against numpy over all pixels in float64."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import north_up, write_tif

from geodata import splits
from geodata import transforms as T
from geodata.bands import Bands
from geodata.datasets import RasterDataset
from geodata.errors import BandsError, DtypeError, GeodataError, ReadError, SplitError, StoreError, TransformError
from geodata.statistics import Statistics, fitting
from geodata.statistics.tally import Tally
from geodata.store import convert, open_store

PERCENTILES = (0, 1, 2, 25, 50, 75, 98, 99.9, 100)
NAMES = ("red", "nir", "swir")


def scene(root: Path, dtype: Any, n: int = 9, seed: int = 0) -> list[Any]:
    """Write images of three bands, a third of whose pixels is not observed; return their pixels, NaN there."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n):
        shape = (3, 30 + 5 * (i % 3), 40)
        x = rng.gamma(2, 50, shape).clip(1, 250) if np.dtype(dtype).kind in "iu" else rng.normal(-3, 40, shape)
        x = x.astype(dtype)
        hidden = rng.random(shape[1:]) < 0.3
        x[:, hidden] = 0
        write_tif(root / f"{i}.tif", x, north_up(5e5 + 1000 * i), nodata=0, descriptions=NAMES)
        found.append(np.where(hidden, np.nan, x.astype(np.float64)))
    return found


def by_numpy(images: list[Any]) -> dict[str, Any]:
    flat = np.concatenate([x.reshape(3, -1) for x in images], axis=1)
    flat = flat[:, ~np.isnan(flat[0])]
    return {
        "count": [flat.shape[1]] * 3,
        "mean": flat.mean(axis=1),
        "std": flat.std(axis=1),
        "min": flat.min(axis=1),
        "max": flat.max(axis=1),
        "percentiles": np.percentile(flat, PERCENTILES, axis=1),
    }


def halves(catalog: Any, first: int = 0) -> splits.Split:
    """Every other item to train."""
    return splits.predefined(catalog, {"train": catalog.key[first::2], "test": catalog.key[1 - first :: 2]})


def check(entry: Any, images: list[Any], *, exact: bool) -> None:
    expected = by_numpy(images)
    assert list(entry["mean"]) == list(NAMES)
    for part in ("count", "mean", "std", "min", "max"):
        np.testing.assert_allclose(list(entry[part].values()), expected[part], rtol=1e-12, err_msg=part)
    for p, row in zip(PERCENTILES, expected["percentiles"], strict=True):
        found = list(entry["percentiles"][f"{p:g}"].values())
        np.testing.assert_allclose(found, row, rtol=1e-12 if exact else 2**-10, atol=2**-30 if not exact else 0)


STORED = ["uint8", "uint16", "int16", "int32", "float32", "float64"]


@pytest.mark.parametrize(
    ("stored", "read"),
    # a dataset refuses to read the other two as float32
    [
        *((dtype, "stored") for dtype in STORED),
        *((dtype, "float32") for dtype in ("uint8", "uint16", "int16", "float32")),
    ],
)
def test_equal_numpy(tmp_path: Path, stored: str, read: str) -> None:
    images = scene(tmp_path, stored)
    ds = RasterDataset(tmp_path, dtype=None if read == "stored" else torch.float32)
    stats = Statistics.fit(ds, percentiles=PERCENTILES)
    assert list(stats) == ["image"] and stats["image"]["state"] == "raw" and stats.about["items"] == 9
    check(stats["image"], images, exact=read == "stored" and stored in ("uint8", "uint16", "int16"))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-(2.0**100), 2.0**100) | st.floats(-1, 1) | st.just(0.0), min_size=1, max_size=80),
    st.sampled_from([0, 2, 37.5, 50, 98, 100]),
)
def test_the_bound_of_percentiles_holds(numbers: list[float], p: float) -> None:
    """Each of the two neighbours is known up to 2**-10 of itself."""
    tally = Tally(Bands(["a"]), np.dtype("float64"))
    tally.add(np.array([[numbers]]), np.ones((1, len(numbers)), bool), "k")
    found = tally.summary([p])["percentiles"][f"{p:g}"]["a"]
    below, above = (np.percentile(numbers, p, method=how) for how in ("lower", "higher"))
    exact = np.percentile(np.array(numbers), p)
    assert abs(found - exact) <= 2**-10 * max(abs(below), abs(above)) + 2**-30 + 1e-12 * abs(exact)


@pytest.mark.parametrize("dtype", [None, torch.float32])
def test_nothing_depends_on_how_pixels_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype | None
) -> None:
    scene(tmp_path, "uint16")
    ds = RasterDataset(tmp_path, dtype=dtype)
    first = Statistics.fit(ds)["image"]

    def same(other: Any) -> None:
        for part in ("mean", "std", "min", "max", "count", *first["percentiles"]):
            a, b = (e[part] if part in e else e["percentiles"][part] for e in (first, other))
            np.testing.assert_allclose(list(a.values()), list(b.values()), rtol=1e-12)

    same(Statistics.fit(ds, threads=0)["image"])
    same(Statistics.fit(ds, threads=5)["image"])
    same(Statistics.fit(ds.take(np.random.default_rng(0).permutation(9)))["image"])
    same(Statistics.fit(ds.tile(10, edge="keep"))["image"])
    monkeypatch.setattr(fitting, "BATCH", 1)
    same(Statistics.fit(ds)["image"])
    monkeypatch.setattr(fitting, "SIDE", 16)
    same(Statistics.fit(ds)["image"])
    monkeypatch.setattr("geodata.statistics.tally.VALUES", 500)
    same(Statistics.fit(ds)["image"])


def test_a_part_that_is_not_trained_on_never_enters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i, value in enumerate([1, 2, 3, 60000, 50000]):
        write_tif(tmp_path / f"{i}.tif", np.full((1, 8, 8), value, np.uint16), north_up(5e5 + 1000 * i))
    ds = RasterDataset(tmp_path, dtype=None)
    keys = ds.catalog.key
    split = splits.predefined(ds.catalog, {"train": keys[:3], "val": keys[3:4], "test": keys[4:]})
    for hidden in ("3.tif", "4.tif"):
        (tmp_path / hidden).write_bytes(b"")  # to read it is an error
    stats = Statistics.fit(ds, split=split)
    entry = stats["image"]
    assert entry["max"] == {"1": 3.0} and entry["mean"] == {"1": 2.0} and entry["count"] == {"1": 192}
    assert stats.split == split.digest and stats.about["part"] == "train" and stats.about["items"] == 3
    assert stats.about["recipe"] == dict(split.recipe)
    with pytest.raises(ReadError):
        Statistics.fit(ds, split=split, part="test")
    with pytest.raises(ReadError):
        Statistics.fit(ds)


def test_a_split_of_another_dataset(tmp_path: Path) -> None:
    scene(tmp_path / "a", "uint8", n=4)
    scene(tmp_path / "b", "uint8", n=5)
    a, b = RasterDataset(tmp_path / "a"), RasterDataset(tmp_path / "b")
    split = halves(a.catalog)
    with pytest.raises(SplitError, match="not in the split"):
        Statistics.fit(b, split=split)
    with pytest.raises(SplitError, match="no part 'fit'; there are train, test"):
        Statistics.fit(a, split=split, part="fit")
    with pytest.raises(SplitError, match=r"split is dict; make one of a mapping: splits.predefined"):
        Statistics.fit(a, split={"train": a.catalog.key})  # type: ignore[arg-type]


def test_several_images(tmp_path: Path) -> None:
    a = scene(tmp_path / "a", "uint16", n=3)
    b = scene(tmp_path / "b", "float32", n=3, seed=1)
    ds = RasterDataset(tmp_path / "a") & RasterDataset(tmp_path / "b", name="s1")
    stats = Statistics.fit(ds, percentiles=PERCENTILES)
    assert set(stats) == {"image", "image_s1"}
    check(stats["image"], a, exact=False)
    check(stats["image_s1"], b, exact=False)
    only = Statistics.fit(ds, keys=["image_s1"], percentiles=PERCENTILES)
    assert list(only) == ["image_s1"] and only["image_s1"] == stats["image_s1"]
    with pytest.raises(TransformError, match="no image under image_s2; there are image, image_s1"):
        Statistics.fit(ds, keys=["image_s2"])
    with pytest.raises(BandsError, match="nir, red, swir is a band of several images"):
        stats.by_band()


def test_series_of_unequal_length(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(1, 1000, (3, 20, 20)).astype(np.uint16) for _ in range(5)]
    for i, x in enumerate(images):
        place = north_up(5e5 + (1e4 if i > 2 else 0))
        write_tif(tmp_path / f"p_2020010{i + 1}.tif", x, place, descriptions=NAMES)
    ds = RasterDataset(tmp_path, dtype=None, pattern=r".*_(?P<date>\d{8})\.tif").series()
    assert len(ds) == 2
    stats = Statistics.fit(ds, percentiles=PERCENTILES)
    check(stats["image"], [x.astype(float) for x in images], exact=True)


def test_transforms_run_first_and_their_state_is_kept(tmp_path: Path) -> None:
    images = scene(tmp_path, "uint16", n=3)
    ds = RasterDataset(tmp_path).transformed(T.ToReflectance(1e-4))
    stats = Statistics.fit(ds, percentiles=PERCENTILES)
    assert stats["image"]["state"] == "reflectance"
    np.testing.assert_allclose(
        list(stats["image"]["mean"].values()), by_numpy([x * 1e-4 for x in images])["mean"], rtol=1e-6
    )
    with pytest.raises(TransformError, match="'image' is normalised already; take statistics before"):
        Statistics.fit(ds.transformed(T.Compose([T.ToReflectance(1e-4), T.Normalize(stats)])))
    with pytest.raises(TransformError, match="'image' is raw, and the statistics are of reflectance numbers"):
        T.Normalize(stats)(RasterDataset(tmp_path)[0])


def test_normalised_by_them_the_train_part_has_mean_0_and_deviation_1(tmp_path: Path) -> None:
    scene(tmp_path, "uint16")
    ds = RasterDataset(tmp_path)
    stats = Statistics.fit(ds)
    done = [ds.transformed(T.Normalize(stats))[i] for i in range(len(ds))]
    flat = torch.cat([s["image"][:, s["valid"]] for s in done], dim=1).double()
    torch.testing.assert_close(flat.mean(1), torch.zeros(3, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(flat.std(1, correction=0), torch.ones(3, dtype=torch.float64), atol=1e-6, rtol=0)
    inner = T.MinMax(stats, percentiles=(2, 98))(ds[0])["image"][:, ds[0]["valid"]]
    assert ((inner >= 0) & (inner <= 1)).float().mean() > 0.9


# ---------------------------------------------------------------------- what is refused


class Spoil(T.Transform):
    """Put a number into a valid pixel."""

    reads = writes = ("image",)

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def config(self) -> dict[str, Any]:
        return {"value": self.value}

    def run(self, batch: Any, draws: Any) -> dict[str, Any]:
        image = batch["image"].clone()
        if batch["key"].startswith("4"):
            image[1] = torch.where(batch["valid"], self.value, image[1])
        return {**batch, "image": image}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_names_its_item(tmp_path: Path, value: float) -> None:
    scene(tmp_path, "float32")
    with pytest.raises(TransformError, match=r"valid pixels of '4.*' are not finite: \d+ in nir; let the dataset know"):
        Statistics.fit(RasterDataset(tmp_path).transformed(Spoil(value)))


def test_what_has_no_squares_is_refused() -> None:
    tally = Tally(Bands(["a"]), np.dtype("float64"))
    with pytest.raises(TransformError, match="valid pixels of 'k' are not finite: their squares are too large"):
        tally.add(np.array([[[1e200, -1e200]]]), np.ones((1, 2), bool), "k")


def test_percentiles_keep_their_names(tmp_path: Path) -> None:
    scene(tmp_path, "uint16")
    stats = Statistics.fit(RasterDataset(tmp_path), percentiles=[0.1, 99.99999, 100])
    assert list(stats["image"]["percentiles"]) == ["0.1", "99.99999", "100"]
    top = T.MinMax(stats, percentiles=(0.1, 99.99999)).config()["stats"]["max"]
    assert top == stats["image"]["percentiles"]["99.99999"]


def test_half_floats_that_numpy_does_not_have(tmp_path: Path) -> None:
    scene(tmp_path, "uint8")
    ds = RasterDataset(tmp_path)
    assert Statistics.fit(ds.transformed(T.ToFloat("bfloat16", lossy=True)))["image"] == Statistics.fit(ds)["image"]


def test_transforms_of_whole_items_are_not_run_on_blocks(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(1, 255, (1, 1500, 1100)).astype(np.uint8)
    write_tif(tmp_path / "a.tif", x, north_up(5e5))
    ds = RasterDataset(tmp_path)
    assert Statistics.fit(ds.transformed(T.ToFloat()))["image"]["mean"] == pytest.approx({"1": x.mean()})
    with pytest.raises(
        TransformError, match=r"'a' is too large to be read at once, and the transforms make \(16, 16\)"
    ):
        Statistics.fit(ds.transformed(T.CenterCrop(16)))


def test_nothing_valid(tmp_path: Path) -> None:
    write_tif(tmp_path / "a.tif", np.zeros((1, 8, 8), np.uint8), nodata=0)
    with pytest.raises(TransformError, match="no pixel of 'image' is valid in any of 1 items"):
        Statistics.fit(RasterDataset(tmp_path))


def test_other_bad_input(tmp_path: Path) -> None:
    scene(tmp_path, "uint8", n=2)
    ds = RasterDataset(tmp_path)
    with pytest.raises(TransformError, match="statistics need a dataset with rows of pixels, got"):
        Statistics.fit([1, 2])  # type: ignore[arg-type]
    with pytest.raises(TransformError, match=r"percentiles .* must be from 0 to 100"):
        Statistics.fit(ds, percentiles=[101])
    for wrong in ("50", ["x"], 50, [float("nan")]):
        with pytest.raises(TransformError, match=r"percentiles .* must be from 0 to 100, in a list"):
            Statistics.fit(ds, percentiles=wrong)  # type: ignore[arg-type]
    for keys in ("image", []):
        with pytest.raises(TransformError, match=r"keys .* must be a list of one or more images"):
            Statistics.fit(ds, keys=keys)
    with pytest.raises(TransformError, match="statistics need a dataset with rows of pixels"):
        Statistics.fit(ds.take([]))
    tally = Tally(Bands(["a"]), np.dtype("uint8"))
    with pytest.raises(DtypeError, match="'k' is uint16, items before it are uint8"):
        tally.add(np.ones((1, 2, 2), np.uint16), np.ones((2, 2), bool), "k")
    with pytest.raises(DtypeError, match="statistics are of real numbers, not of complex64"):
        Tally(Bands(["a"]), np.dtype("complex64"))


# ---------------------------------------------------------------------- the file


@pytest.fixture
def fitted(tmp_path: Path) -> tuple[Statistics, Any, Any]:
    """Statistics of the train part of a split, the split, and another one."""
    scene(tmp_path / "images", "uint16")
    ds = RasterDataset(tmp_path / "images", dtype=None)
    one, other = (halves(ds.catalog, first) for first in (0, 1))
    return Statistics.fit(ds, split=one), one, other


def test_saved_and_loaded_for_its_split(tmp_path: Path, fitted: Any) -> None:
    stats, split, other = fitted
    path = stats.save(tmp_path / "s.json")
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["s.json"], "nothing else is left"
    again = Statistics.load(path, split=split)
    assert again == stats and dict(again) == dict(stats) and again.about == stats.about
    assert repr(again).startswith("Statistics(image 3 bands; train of split ")
    assert T.Normalize(again).to_dict() == T.Normalize(stats).to_dict()
    with pytest.raises(
        SplitError, match=f"holds statistics of 'train' of the split {split.digest[:12]}, and the split given"
    ):
        Statistics.load(path, split=other)
    with pytest.raises(SplitError, match="and no split was given; take them"):
        Statistics.load(path, split=None)
    assert Statistics.load(path, split=other, force=True) == stats
    with pytest.raises(SplitError, match="split is str, wanted a Split"):
        Statistics.load(path, split="s.parquet")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Statistics.load(path)  # type: ignore[call-arg]


def test_statistics_of_the_part_that_is_tested_are_refused(tmp_path: Path, fitted: Any) -> None:
    _, split, _ = fitted
    ds = RasterDataset(tmp_path / "images", dtype=None)
    held = next(part for part in split if part != "train")
    path = Statistics.fit(ds, split=split, part=held).save(tmp_path / "held.json")
    with pytest.raises(SplitError, match=f"holds statistics of '{held}' of the split .* that split has a part 'train'"):
        Statistics.load(path, split=split)
    assert Statistics.load(path, split=split, force=True).about["part"] == held
    other = splits.predefined(ds.catalog, {"one": split["train"], "two": split[held]})
    path = Statistics.fit(ds, split=other, part="two").save(tmp_path / "two.json")
    assert Statistics.load(path, split=other).about["part"] == "two", "which of them is trained on is not known"


def test_statistics_of_all_rows_are_for_no_split(tmp_path: Path, fitted: Any) -> None:
    _, split, _ = fitted
    path = Statistics.fit(RasterDataset(tmp_path / "images")).save(tmp_path / "all.json")
    assert Statistics.load(path, split=None).split is None
    with pytest.raises(SplitError, match="holds statistics of all rows, and the split given is"):
        Statistics.load(path, split=split)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(format="geodata statistics 9"),
        lambda d: d.pop("format"),
        lambda d: d.pop("split"),
        lambda d: d.update(more=1),
        lambda d: d.pop("images"),
        lambda d: d.update(images={}),
        lambda d: d.update(images=[1]),
        lambda d: d["images"]["image"].update(median={}),
        lambda d: d["images"]["image"].pop("std"),
        lambda d: d["images"]["image"].update(state="percent"),
        lambda d: d["images"]["image"]["std"].pop("red"),
        lambda d: d["images"]["image"]["std"].update(red="1"),
        lambda d: d["images"]["image"].update(percentiles=3),
        lambda d: d["images"].update(image=3),
    ],
)
def test_another_file_is_refused(tmp_path: Path, fitted: Any, change: Any) -> None:
    stats, split, _ = fitted
    path = stats.save(tmp_path / "s.json")
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(ReadError):
        Statistics.load(path, split=split)


def test_files_that_cannot_be_read_or_written(tmp_path: Path, fitted: Any) -> None:
    stats, split, _ = fitted
    with pytest.raises(ReadError, match="cannot read statistics from"):
        Statistics.load(tmp_path / "none.json", split=split)
    for text in ("{", "[]", "\xff"):
        (tmp_path / "x.json").write_text(text, encoding="latin-1")
        with pytest.raises(GeodataError):
            Statistics.load(tmp_path / "x.json", split=split)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        stats.save(tmp_path / "file" / "s.json")


def test_a_store_gives_the_same_and_keeps_them(tmp_path: Path, fitted: Any) -> None:
    _, split, _ = fitted
    ds = RasterDataset(tmp_path / "images", dtype=None)
    stats = Statistics.fit(ds, split=split)
    convert(ds, tmp_path / "s.zarr", split=split, stats=stats.by_band(), pad=True)
    store = open_store(tmp_path / "s.zarr", dtype=None)
    assert T.Normalize(store.stats).config()["stats"]["std"] == stats["image"]["std"]
    same = Statistics.fit(store, split=store.splitting)
    for part in ("mean", "std", "min", "max", "count"):
        assert same["image"][part] == pytest.approx(stats["image"][part], rel=1e-12)
    assert same.split == stats.split


def test_real_files(realdata: Path) -> None:
    """A patch of EuroSAT, against rasterio and numpy."""
    path = realdata / "eurosat" / "EuroSAT_MS" / "AnnualCrop" / "AnnualCrop_1.tif"
    with rasterio.open(path) as file:
        x = file.read().reshape(13, -1).astype(float)
    entry = Statistics.fit(RasterDataset(str(path), dtype=None), percentiles=[2, 98])["image"]
    np.testing.assert_allclose(list(entry["mean"].values()), x.mean(axis=1), rtol=1e-13)
    np.testing.assert_allclose(list(entry["std"].values()), x.std(axis=1), rtol=1e-13)
    for p in (2, 98):
        np.testing.assert_allclose(list(entry["percentiles"][f"{p}"].values()), np.percentile(x, p, axis=1), rtol=1e-13)


def test_an_image_of_other_channels_than_its_bands() -> None:
    batch = {"key": ["a"], "image": torch.arange(16.0).reshape(1, 4, 2, 2), "bands": Bands(["x", "y"])}
    with pytest.raises(BandsError, match=r"'image' of 'a' has shape \(1, 4, 2, 2\) and 2 bands"):
        fitting._take_in({}, "image", batch)
