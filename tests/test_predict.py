"""predict: a model over scenes on disk, against what numpy and rasterio say the map has to be."""

from __future__ import annotations

import os
import signal
import tracemalloc
from operator import itemgetter

import numpy as np
import pytest
import rasterio
import torch
from torch import nn

from geodata.datasets import RasterDataset
from geodata.errors import (
    DtypeError,
    GridError,
    ModelOutputError,
    NoFilesError,
    NoOverlapError,
    QueryError,
    SamplerError,
    TransformError,
)
from geodata.grid import Grid
from geodata.prediction import predict
from geodata.query import Query
from geodata.samplers import GridPatchSampler, ItemSampler, RandomPatchSampler

UTM = (10.0, 0.0, 500000.123456789, 0.0, -10.0, 5600000.987654321)
BLENDS = pytest.mark.parametrize("blend", ["trim", "hann"])


def write_scene(path, array, *, transform=UTM, crs="EPSG:32633", nodata=None):
    count, height, width = array.shape
    options = {"count": count, "height": height, "width": width, "dtype": array.dtype, "crs": crs, "nodata": nodata}
    with rasterio.open(path, "w", driver="GTiff", transform=rasterio.Affine(*transform), **options) as file:
        file.write(array)
    return path


def moved(col, row, transform=UTM):
    """Transform of the pixel at col, row of a north-up lattice."""
    a, b, c, d, e, f = transform
    return (a, b, c + a * col, d, e, f + e * row)


def pixels(height, width, channels=2, seed=0):
    return np.random.default_rng(seed).integers(1, 1000, (channels, height, width)).astype(np.uint16)


def dataset(folder, **options):
    return RasterDataset(folder, progress=False, **options)


def read(path):
    with rasterio.open(path) as file:
        return file.read(), file.transform, file.crs


@pytest.fixture
def scene(tmp_path):
    """Folder of one scene of 90 x 70 pixels with a corner of nodata, its pixels, and an empty folder for maps."""
    folder, out = tmp_path / "scenes", tmp_path / "maps"
    folder.mkdir()
    out.mkdir()
    image = pixels(90, 70)
    image[:, :20, :30] = 0
    write_scene(folder / "a.tif", image, nodata=0)
    return folder, image, out


class Scores(nn.Module):
    """A model with a known answer per pixel: three scores of the first two channels."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.norm = nn.BatchNorm2d(2)
        self.drop = nn.Dropout(0.5)
        self.seen = []

    def forward(self, image):
        self.seen.append((self.training, self.drop.training, torch.is_grad_enabled(), tuple(image.shape)))
        first, second = image.unbind(1)
        return torch.stack([first, second, (first + second) * 0.6], 1) * self.scale


def scores_of(image):
    first, second = image.astype(np.float32)
    return np.stack([first, second, (first + second) * np.float32(0.6)])


# --- one map ----------------------------------------------------------------------------------------------------------


@BLENDS
@pytest.mark.parametrize("edge", ["shift", "pad"])
@pytest.mark.parametrize("stride", [32, 20, 31])
def test_identity_gives_the_image_back(scene, blend, edge, stride):
    folder, image, out = scene
    ds = dataset(folder)
    sampler = GridPatchSampler(ds, size=32, stride=stride, edge=edge)
    path = predict(nn.Identity(), ds, sampler, out=out / "map.tif", blend=blend, batch_size=5)
    assert path == out / "map.tif"
    got, transform, crs = read(path)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, np.where((image == 0).all(0), np.nan, image))
    assert tuple(transform)[:6] == UTM
    assert crs == rasterio.crs.CRS.from_epsg(32633)
    assert os.listdir(out) == ["map.tif"]


@BLENDS
def test_class_map_of_a_pixelwise_model_does_not_depend_on_patches(scene, blend):
    folder, image, out = scene
    ds = dataset(folder)
    sampler = GridPatchSampler(ds, size=(40, 24), stride=(30, 20))
    classes = {0: "water", 1: ("forest", "#006400"), 2: "town"}
    path = predict(Scores(), ds, sampler, out=out / "map.tif", blend=blend, classes=classes)
    with rasterio.open(path) as file:
        expected = np.where((image == 0).all(0), 255, scores_of(image).argmax(0))
        np.testing.assert_array_equal(file.read(1), expected)
        assert (file.dtypes, file.nodata, file.descriptions) == (("uint8",), 255, ("class",))
        assert file.colormap(1)[1] == (0, 100, 0, 255)
    assert sorted(os.listdir(out)) == ["map.tif", "map.tif.aux.xml"]


@BLENDS
@pytest.mark.parametrize("tile", [32, 50])
def test_tiles_of_a_scene_come_together(scene, blend, tile):
    folder, image, out = scene
    ds = dataset(folder).tile(tile)
    for sampler in (
        GridPatchSampler(ds, size=24, stride=16, edge="pad"),
        ItemSampler(ds),
        ItemSampler(ds, shuffle=True),
    ):
        got, transform, _ = read(predict(nn.Identity(), ds, sampler, out=out / "map.tif", blend=blend))
        np.testing.assert_array_equal(got, np.where((image == 0).all(0), np.nan, image))
        assert tuple(transform)[:6] == UTM


def test_scenes_side_by_side_make_one_map(tmp_path):
    folder = tmp_path / "scenes"
    folder.mkdir()
    whole = pixels(60, 100, seed=1)
    # The first scene in order of keys lies lower right, so the map's corner is that of another one.
    write_scene(folder / "a.tif", whole[:, 25:, 40:], transform=moved(40, 25))
    write_scene(folder / "b.tif", whole[:, :30, :50])
    ds = dataset(folder)
    got, transform, _ = read(predict(nn.Identity(), ds, GridPatchSampler(ds, size=16), out=tmp_path / "map.tif"))
    expected = whole.astype(np.float32)
    expected[:, :25, 50:] = np.nan
    expected[:, 30:, :40] = np.nan
    np.testing.assert_array_equal(got, expected)
    assert tuple(transform)[:6] == UTM


def test_a_part_of_the_lattice_reads_only_what_meets_it(scene):
    folder, image, out = scene
    ds = dataset(folder)
    part = ds.catalog.grid(0).window(40, 35, 20, 50)
    model = Scores()
    path = predict(model, ds, GridPatchSampler(ds, size=10), out=out / "map.tif", grid=part, batch_size=1)
    assert len(model.seen) == 2 * 4
    got, transform, _ = read(path)
    expected = np.full((3, 20, 50), np.nan, np.float32)
    expected[:, :, :35] = scores_of(image)[:, 40:60, 35:]
    np.testing.assert_array_equal(got, expected)
    assert transform == part.transform
    with pytest.raises(NoOverlapError, match="none of 63 patches"):
        predict(model, ds, GridPatchSampler(ds, size=10), out=out / "no.tif", grid=part.window(500, 0, 9, 9))


def test_random_patches_fill_what_they_cover(scene):
    folder, image, out = scene
    ds = dataset(folder)
    sampler = RandomPatchSampler(ds, size=16, length=12, seed=3)
    covered = np.zeros((90, 70), bool)
    for query in sampler:
        row, col, h, w = query.window
        covered[row : row + h, col : col + w] = True
    got, _, _ = read(predict(nn.Identity(), ds, sampler, out=out / "map.tif"))
    np.testing.assert_array_equal(got, np.where(covered & (image != 0).all(0), image, np.nan))
    assert 0 < covered.mean() < 1


def test_queries_by_grid_and_integers_work_as_well(scene):
    folder, image, out = scene
    ds = dataset(folder)
    grid = ds.catalog.grid(0)
    blocks = [Query(grid=grid.window(r, c, 30, 35)) for r in (0, 30, 60) for c in (0, 35)]
    expected = np.where((image == 0).all(0), np.nan, image)
    np.testing.assert_array_equal(read(predict(nn.Identity(), ds, blocks, out=out / "map.tif"))[0], expected)
    np.testing.assert_array_equal(read(predict(nn.Identity(), ds, [0], out=out / "map.tif"))[0], expected)


def test_repeats_are_not_even_read(scene):
    folder, _, out = scene
    ds = dataset(folder)
    model = Scores()
    whole = Query(row=0)
    predict(model, ds, [whole, Query(row=0, repeat=True)], out=out / "map.tif", batch_size=1)
    assert len(model.seen) == 1


# --- a map per item ---------------------------------------------------------------------------------------------------


def test_one_map_per_item_on_its_own_lattice(tmp_path):
    folder, out = tmp_path / "scenes", tmp_path / "maps"
    (folder / "x").mkdir(parents=True)
    out.mkdir()
    scenes = {
        "x/y": (pixels(40, 30, seed=1), UTM, "EPSG:32633"),
        "x_y": (pixels(25, 45, seed=2), (20.0, 0.0, 3e5, 0.0, -20.0, 4e6), "EPSG:32634"),
        "z é": (pixels(30, 30, seed=3), UTM, "EPSG:32633"),
    }
    for key, (image, transform, crs) in scenes.items():
        write_scene(folder / f"{key}.tif", image, transform=transform, crs=crs)
    ds = dataset(folder)
    assert set(ds.catalog.key) == set(scenes)
    for sampler in ([*range(3)], [q for key in range(3) for q in blocks(ds, key, 16)]):
        paths = predict(nn.Identity(), ds, sampler, out=out / "{key}_map.tif", batch_size=4)
        assert [p.parent for p in paths] == [out] * 3
        assert len({p.name.lower() for p in paths}) == 3
        assert sorted(os.listdir(out)) == sorted(p.name for p in paths)
        for path, key in zip(paths, ds.catalog.key, strict=True):
            image, transform, crs = scenes[key]
            got = read(path)
            np.testing.assert_array_equal(got[0], image)
            assert tuple(got[1])[:6] == transform
            assert got[2] == rasterio.crs.CRS.from_string(crs)
    assert paths[list(ds.catalog.key).index("z é")].name == "z_é_map.tif"


def blocks(ds, row, size):
    height, width = ds.catalog.shape[row].tolist()
    return [Query(row=row, window=(r, c, size, size)) for r in range(0, height, size) for c in range(0, width, size)]


def test_maps_may_be_filled_in_turns(tmp_path):
    write_scene(tmp_path / "a.tif", pixels(32, 32, seed=1))
    write_scene(tmp_path / "b.tif", pixels(32, 32, seed=2))
    (tmp_path / "maps").mkdir()
    ds = dataset(tmp_path / "*.tif")
    turns = [q for pair in zip(blocks(ds, 0, 16), blocks(ds, 1, 16), strict=True) for q in pair]
    paths = predict(nn.Identity(), ds, turns, out=f"{tmp_path}/maps/{{key}}.tif", batch_size=3)
    for path, seed in zip(paths, (1, 2), strict=True):
        np.testing.assert_array_equal(read(path)[0], pixels(32, 32, seed=seed))


def test_a_key_cannot_leave_the_folder(scene):
    _, image, out = scene
    folder = out.parent / "odd"
    folder.mkdir()
    write_scene(folder / "s.tif", image)
    ds = dataset(folder)

    class Renamed:
        catalog = type("Catalog", (), {"key": ["../../etc/" + "é" * 200], "grid": ds.catalog.grid})()
        __getitems__ = staticmethod(ds.__getitems__)

    (path,) = predict(nn.Identity(), Renamed(), [0], out=out / "{key}.tif")
    assert path.parent == out
    assert path.name.startswith("_.._etc_é")
    assert path.exists()


# --- the model --------------------------------------------------------------------------------------------------------


def test_model_runs_in_evaluation_mode_and_comes_back_as_it_was(scene):
    folder, _, out = scene
    ds = dataset(folder)
    model = Scores().train()
    model.norm.eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    predict(model, ds, GridPatchSampler(ds, size=32), out=out / "map.tif", batch_size=4)
    assert model.seen == [(False, False, False, (4, 2, 32, 32))] * 2 + [(False, False, False, (1, 2, 32, 32))]
    assert (model.training, model.drop.training, model.norm.training) == (True, True, False)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.is_grad_enabled()
    model(torch.rand(1, 2, 8, 8)).sum().backward()


def test_transform_inputs_and_postprocess(scene):
    folder, image, out = scene
    ds = dataset(folder).named("s2")

    class Halve(nn.Module):
        def forward(self, batch):
            assert not self.training
            valid = batch["valid_s2"] & (batch["image_s2"][:, 0] > 500)
            return batch | {"image_s2": batch["image_s2"] / 2, "valid_s2": valid}

    path = predict(
        lambda x: {"out": x["image"] * 10},
        ds,
        GridPatchSampler(ds, size=32),
        out=out / "map.tif",
        transform=Halve(),
        inputs=lambda batch: {"image": batch["image_s2"]},
        postprocess=itemgetter("out"),
        names=["red", "nir"],
    )
    got, _, _ = read(path)
    np.testing.assert_array_equal(got, np.where(image[0] > 500, image * np.float32(5), np.nan))
    with rasterio.open(path) as file:
        assert file.descriptions == ("red", "nir")


def test_whole_items_of_unequal_size_share_no_batch(tmp_path):
    for number, (height, width) in enumerate([(20, 30), (20, 30), (15, 30)]):
        write_scene(tmp_path / f"{number}.tif", pixels(height, width, seed=number), transform=moved(0, 40 * number))
    ds = dataset(tmp_path / "*.tif")
    model = Scores()
    (tmp_path / "maps").mkdir()
    predict(model, ds, ItemSampler(ds), out=tmp_path / "maps" / "{key}.tif")
    assert [shape for *_, shape in model.seen] == [(2, 2, 20, 30), (1, 2, 15, 30)]


def test_threads_and_batch_size_change_nothing(scene):
    folder, _, out = scene
    ds = dataset(folder)
    maps = [
        read(
            predict(Scores(), ds, GridPatchSampler(ds, size=20, stride=13), out=out / "m.tif", blend="hann", **options)
        )[0]
        for options in ({"threads": 0}, {"threads": 3, "batch_size": 7}, {"batch_size": 1})
    ]
    np.testing.assert_array_equal(maps[0], maps[1])
    np.testing.assert_array_equal(maps[0], maps[2])


class Long:
    """A made-up item of many rows that exists only while it is read."""

    def __init__(self, height, width):
        grid = Grid((height, width), UTM, "EPSG:32633")
        self.catalog = type("Catalog", (), {"key": ["long"], "grid": staticmethod(lambda row: grid)})()

    def __getitems__(self, queries):
        return [self.one(query) for query in queries]

    def one(self, query):
        row, _, h, w = query.window
        image = torch.arange(row, row + h, dtype=torch.float32)[None, :, None].expand(1, h, w)
        return {"image": image, "grid": self.catalog.grid(0).window(*query.window), "query": query}


def test_memory_stays_at_a_few_rows(tmp_path):
    ds = Long(20_000, 500)
    tops = [*range(0, 20_000 - 128, 96), 20_000 - 128]
    queries = [Query(row=0, window=(top, left, 128, 250)) for top in tops for left in (0, 250)]
    predict(nn.Identity(), ds, queries[:1], out=tmp_path / "first.tif", blend="hann")  # imports would count, too
    tracemalloc.start()
    predict(nn.Identity(), ds, queries, out=tmp_path / "map.tif", blend="hann", batch_size=4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    whole = 20_000 * 500 * 4
    assert peak < whole / 6
    got, _, _ = read(tmp_path / "map.tif")
    np.testing.assert_array_equal(got[0], np.broadcast_to(np.arange(20_000)[:, None], (20_000, 500)))


# --- interrupted ------------------------------------------------------------------------------------------------------


class Fails(nn.Module):
    def __init__(self, act, after=3):
        super().__init__()
        self.act, self.left = act, after

    def forward(self, image):
        self.left -= 1
        if self.left == 0:
            self.act()
        return image


def crash():
    raise RuntimeError("out of memory")


def ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(("act", "error"), [(crash, RuntimeError), (ctrl_c, KeyboardInterrupt)])
@pytest.mark.parametrize("old", [False, True])
def test_interrupted_predictions_leave_nothing_behind(tmp_path, act, error, old):
    (tmp_path / "maps").mkdir()
    target = tmp_path / "maps" / "map.tif"
    write_scene(tmp_path / "a.tif", pixels(1024, 32))
    if old:
        target.write_bytes(b"the old map")
    ds = dataset(tmp_path / "a.tif")
    model = Fails(act, after=20).train()
    during = []
    watch = lambda y: (during.append(os.listdir(target.parent)), y)[1]  # noqa: E731
    # The traceback is held, so that nothing is removed only because it was garbage.
    with pytest.raises(error) as held:
        predict(model, ds, GridPatchSampler(ds, size=32), out=target, batch_size=1, postprocess=watch)
    assert held.tb is not None
    assert any(name.startswith(".map.tif.") for name in during[-1])
    assert [p.name for p in target.parent.iterdir()] == ["map.tif"] * old
    assert not old or target.read_bytes() == b"the old map"
    assert model.training


def test_finished_maps_of_an_interrupted_run_stay(tmp_path):
    (tmp_path / "maps").mkdir()
    for name in "ab":
        write_scene(tmp_path / f"{name}.tif", pixels(64, 64))
    ds = dataset(tmp_path / "*.tif")
    with pytest.raises(KeyboardInterrupt):
        predict(
            Fails(ctrl_c, after=6), ds, GridPatchSampler(ds, size=32), out=tmp_path / "maps/{key}.tif", batch_size=1
        )
    assert os.listdir(tmp_path / "maps") == ["a.tif"]
    np.testing.assert_array_equal(read(tmp_path / "maps" / "a.tif")[0], pixels(64, 64))


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "options", "error", "text"),
    [
        (
            nn.AvgPool2d(2),
            {},
            ModelOutputError,
            r"\(9, 2, 16, 16\).*9 patches of 32 x 32.*2 times coarser.*interpolate",
        ),
        (nn.AvgPool2d(3, 1), {}, ModelOutputError, r"\(9, 2, 30, 30\).*9 patches of 32 x 32"),
        (nn.Flatten(), {}, ModelOutputError, r"shape \(9, 2048\)"),
        (lambda x: (x, x), {}, ModelOutputError, "returned tuple"),
        (lambda x: x[:5], {}, ModelOutputError, r"\(5, 2, 32, 32\) for 9 patches"),
        (lambda x: x * torch.nan, {}, ModelOutputError, "NaN at every observed pixel"),
        (nn.Identity(), {"classes": ["a"]}, ModelOutputError, "2 channels, classes name 1"),
        (lambda x: x[:, :1], {"classes": ["a", "b"]}, ModelOutputError, "binary"),
        (nn.Identity(), {"classes": {0: "a", 99999: "b"}}, DtypeError, "99999"),
        (nn.Identity(), {"names": ["a"]}, ModelOutputError, "each of the 2 channels"),
        (nn.Identity(), {"blend": "mean"}, QueryError, "'trim', 'hann'"),
        (nn.Identity(), {"inputs": itemgetter("image_s1")}, TransformError, "'image_s1'.*holds bands.*image"),
        (nn.Identity(), {"transform": lambda b: {"image": b["image"]}}, TransformError, "grids of its patches"),
    ],
)
def test_models_that_cannot_make_a_map(scene, model, options, error, text):
    folder, _, out = scene
    ds = dataset(folder)
    with pytest.raises(error, match=text):
        predict(model, ds, GridPatchSampler(ds, size=32), out=out / "map.tif", **options)
    assert not os.listdir(out)


def test_channels_must_not_change(scene):
    folder, _, out = scene
    ds = dataset(folder)
    channels = iter([2, 1])
    with pytest.raises(ModelOutputError, match="1 channels; this map has 2"):
        predict(lambda x: x[:, : next(channels)], ds, GridPatchSampler(ds, size=32), out=out / "m.tif", batch_size=4)
    assert not os.listdir(out)


def never(image):
    raise AssertionError("the model must not run")


@pytest.mark.parametrize(
    ("out", "error", "text"),
    [
        ("none/map.tif", NoFilesError, r"none.*does not exist; create it"),
        ("none/{key}.tif", NoFilesError, r"none.*does not exist; create it"),
        ("map.png", QueryError, r"ends in \.tif"),
        ("", QueryError, r"ends in \.tif"),
    ],
)
def test_places_that_cannot_hold_a_map_are_refused_before_the_model_runs(scene, out, error, text):
    folder, _, maps = scene
    ds = dataset(folder)
    with pytest.raises(error, match=text):
        predict(never, ds, GridPatchSampler(ds, size=32), out=maps / out)
    assert not os.listdir(maps)


def test_items_on_several_lattices_need_a_map_each(tmp_path):
    write_scene(tmp_path / "a.tif", pixels(32, 32))
    write_scene(tmp_path / "b.tif", pixels(32, 32), transform=moved(0.5, 40))
    write_scene(tmp_path / "c.tif", pixels(32, 32), crs="EPSG:32634")
    ds = dataset(tmp_path / "*.tif")
    with pytest.raises(GridError, match=r"2 of 3 items.*'a'.*first 'b'.*\{key\}\.tif"):
        predict(never, ds, [0, 1, 2], out=tmp_path / "map.tif")
    with pytest.raises(GridError, match=r"1 of 1 items are not on one lattice with grid="):
        predict(never, ds, [2], out=tmp_path / "map.tif", grid=ds.catalog.grid(0))
    with pytest.raises(QueryError, match="leave grid= out"):
        predict(never, ds, [2], out=tmp_path / "{key}.tif", grid=ds.catalog.grid(0))
    predict(nn.Identity(), ds, [0], out=tmp_path / "map.tif")


def test_two_dates_of_one_place_are_not_mixed(tmp_path):
    write_scene(tmp_path / "may.tif", pixels(32, 32, seed=1))
    write_scene(tmp_path / "june.tif", pixels(32, 32, seed=2))
    ds = dataset(tmp_path / "*.tif")
    with pytest.raises(GridError, match=r"'june' and 'may' cover exactly the same pixels.*ds.where"):
        predict(never, ds, GridPatchSampler(ds, size=16), out=tmp_path / "map.tif")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_images_without_a_place_share_no_map_but_their_tiles_do(tmp_path):
    images = {name: pixels(20 + 10 * k, 30, seed=k) for k, name in enumerate("ab")}
    for name, image in images.items():
        write_scene(tmp_path / f"{name}.tif", image, transform=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0), crs=None)
    (tmp_path / "maps").mkdir()
    ds = dataset(tmp_path / "*.tif")
    with pytest.raises(GridError, match="no CRS"):
        predict(never, ds, [0, 1], out=tmp_path / "maps" / "map.tif")
    paths = predict(nn.Identity(), ds, [0, 1], out=tmp_path / "maps" / "{key}.tif")
    for path, image in zip(paths, images.values(), strict=True):
        np.testing.assert_array_equal(read(path)[0], image)
    tiles = ds.take([1]).tile(16)
    got = read(predict(nn.Identity(), tiles, ItemSampler(tiles), out=tmp_path / "maps" / "map.tif"))[0]
    np.testing.assert_array_equal(got, images["b"])


def test_samplers_that_cannot_fill_a_map(scene):
    folder, _, out = scene
    ds = dataset(folder)
    with pytest.raises(SamplerError, match="yields no query"):
        predict(never, ds, [], out=out / "map.tif")
    with pytest.raises(SamplerError, match="rank=0, world=1"):
        predict(never, ds, GridPatchSampler(ds, size=16, rank=0, world=2), out=out / "map.tif")


def test_answers_to_other_queries_are_refused(scene):
    folder, _, out = scene
    ds = dataset(folder)

    class Skips:
        catalog = ds.catalog

        @staticmethod
        def __getitems__(queries):
            return ds.__getitems__(queries[1:])

    sampler = GridPatchSampler(ds, size=32)
    with pytest.raises(SamplerError, match="answered 3 queries"):
        predict(never, Skips(), sampler, out=out / "map.tif", batch_size=4)


# --- real imagery -----------------------------------------------------------------------------------------------------


@BLENDS
@pytest.mark.parametrize("edge", ["shift", "pad"])
def test_everest_comes_back_bit_for_bit(tmp_path, realdata, blend, edge):
    source = realdata / "rasters" / "everest_landsat7_RGB_utm45n.tif"
    ds = dataset(source)
    sampler = GridPatchSampler(ds, size=128, stride=96, edge=edge)
    got = read(predict(nn.Identity(), ds, sampler, out=tmp_path / "map.tif", blend=blend))
    expected = read(source)
    np.testing.assert_array_equal(got[0], expected[0])
    assert tuple(got[1]) == tuple(expected[1])
    assert got[2] == expected[2]


def test_a_convolution_over_everest_equals_the_whole_scene_inside(tmp_path, realdata):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 5, padding=2), nn.ReLU(), nn.Conv2d(4, 3, 5, padding=2))
    ds = dataset(realdata / "rasters" / "everest_landsat7_RGB_utm45n.tif")
    with torch.inference_mode():
        expected = model(ds[0]["image"][None])[0].numpy()
    # Cut by half of an overlap of 16, no pixel is nearer than 8 to a patch's edge, and the net sees 4 far.
    sampler = GridPatchSampler(ds, size=144, stride=128)
    got, _, _ = read(predict(model, ds, sampler, out=tmp_path / "map.tif", blend="trim"))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-3)
    classes, _, _ = read(predict(model, ds, sampler, out=tmp_path / "classes.tif", classes=["a", "b", "c"]))
    assert (classes[0] == expected.argmax(0)).mean() > 0.9999
