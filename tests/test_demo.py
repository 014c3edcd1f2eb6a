"""The main job: the look-alike archive, the parts, and all of it end to end."""

from __future__ import annotations

import hashlib
import inspect
import json
from pathlib import Path
from typing import Any

import fiona
import numpy as np
import pyproj
import pytest
import rasterio
import rasterio.features
import shapely
import torch
from rich.console import Console
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix, jaccard_score

from geodata.catalog import Catalog
from geodata.datasets import RasterDataset
from geodata.demo import Job, run_demo, write_archive
from geodata.demo import run as job_module
from geodata.demo.archive import CLASSES, draw_scene
from geodata.demo.metrics import confusion, iou, mean_iou
from geodata.demo.nets import PixelModel, TinyUNet
from geodata.demo.run import block_side, checkerboard, staging
from geodata.demo.train import Pixels, targets
from geodata.errors import GeodataError, GridError, NoFilesError, QueryError

# rasterio hides this warning of its own by a filter that other threads undo
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

NAMES = list(CLASSES)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("demo") / "archive", size=256)


# ------------------------------------------------------------------ the look-alike archive


def test_archive_is_the_same_each_time(archive: Path, tmp_path: Path) -> None:
    again = write_archive(tmp_path / "again", size=256)
    files = sorted(p.relative_to(archive) for p in archive.rglob("*") if p.is_file())
    assert [str(f) for f in files] == ["images/T32_20200515.tif", "images/T33_20200517.tif", "labels/landcover.gpkg"]
    for file in files:
        assert (
            hashlib.sha256((archive / file).read_bytes()).digest()
            == hashlib.sha256((again / file).read_bytes()).digest()
        )


def test_archive_is_georeferenced_imagery(archive: Path) -> None:
    zones = set()
    for path in sorted((archive / "images").iterdir()):
        with rasterio.open(path) as file:
            zones.add(file.crs.to_epsg())
            assert (file.count, file.dtypes[0], file.nodata) == (6, "uint16", 0)
            assert file.descriptions == ("B02", "B03", "B04", "B08", "B11", "B12")
            assert float(file.tags(4)["wavelength"]) == 832.8
            observed = file.dataset_mask() > 0
            assert 0.02 < (~observed).mean() < 0.25
            assert not observed[0, 0]
            assert not observed[-1, -1]
            assert (file.read()[:, observed] > 0).all()
    assert zones == {32632, 32633}


def test_labels_burn_back_to_the_drawn_classes(archive: Path) -> None:
    with fiona.open(archive / "labels" / "landcover.gpkg") as layer:
        assert pyproj.CRS(layer.crs_wkt).to_epsg() == 4326
        features = [(shapely.geometry.shape(f["geometry"]), f["properties"]) for f in layer]
    assert all(NAMES[p["code"]] == p["landcover"] for _, p in features)
    for number, path in enumerate(sorted((archive / "images").iterdir())):
        with rasterio.open(path) as file:
            project = pyproj.Transformer.from_crs(4326, file.crs.to_epsg(), always_xy=True)
            outlines = shapely.transform(
                np.array([g for g, _ in features]), lambda xy, to=project.transform: np.stack(to(*xy.T), axis=-1)
            )
            moved = zip(outlines, [p["code"] for _, p in features], strict=True)
            burnt = rasterio.features.rasterize(moved, out_shape=file.shape, transform=file.transform, fill=99)
        np.testing.assert_array_equal(burnt, draw_scene(256, seed=number).classes)


def test_context_classes_are_alike_pixel_by_pixel() -> None:
    scene = draw_scene(640, seed=0)
    observed = (scene.image > 0).all(axis=0)
    image = np.log(scene.image.astype(float), where=observed[None].repeat(6, axis=0), out=np.zeros(scene.image.shape))
    for band in range(6):
        forest, orchard = (
            np.sort(image[band][observed & (scene.classes == NAMES.index(n))]) for n in ("forest", "orchard")
        )
        at = np.linspace(0.05, 0.95, 19)
        gap = np.abs(np.quantile(forest, at) - np.quantile(orchard, at)).max()
        assert gap < 0.25, "the two must not differ by their spectra"


def test_unfinished_archive_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("geodata.demo.archive._write_labels", stop)
    with pytest.raises(KeyboardInterrupt):
        write_archive(tmp_path / "archive", size=64)
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------ parts


def test_confusion_and_iou_equal_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(-1, 4, (3, 20, 30), generator=generator)
    truth[truth == -1] = -100
    predicted = torch.randint(0, 4, (3, 20, 30), generator=generator)
    known = truth >= 0
    table = confusion(truth, predicted, 5)
    a, b = truth[known].numpy(), predicted[known].numpy()
    np.testing.assert_array_equal(table, confusion_matrix(a, b, labels=range(5)))
    np.testing.assert_allclose(iou(table)[:4], jaccard_score(a, b, average=None, labels=range(4)))
    assert np.isnan(iou(table)[4])
    assert mean_iou(table) == pytest.approx(jaccard_score(a, b, average="macro", labels=range(4)))
    assert np.isnan(mean_iou(torch.zeros(2, 2, dtype=torch.int64)))


def test_pixel_model_is_logistic_regression() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (2000,), generator=generator)
    pixels = torch.randn(2000, 4, generator=generator) + torch.nn.functional.one_hot(labels, 4) * 1.5
    model = PixelModel(4, 3).fit(pixels, labels, torch.ones(3))
    # the penalty 1e-4 |w|^2 per pixel is 1 / (2 C) |w|^2 over all of them
    judge = LogisticRegression(C=1 / (2 * 1e-4 * len(labels)), max_iter=1000).fit(pixels, labels)
    with torch.no_grad():
        ours = model(pixels.T[None, :, :, None])[0, :, :, 0].softmax(dim=0).T
    np.testing.assert_allclose(ours, judge.predict_proba(pixels), atol=2e-3)


@pytest.mark.parametrize("shape", [(64, 64), (33, 50), (8, 8), (5, 7)])
def test_net_takes_any_size(shape: tuple[int, int]) -> None:
    net = TinyUNet(PixelModel(5, 3)).eval()
    assert net(torch.rand(2, 5, *shape)).shape == (2, 3, *shape)


def test_net_sees_its_surroundings() -> None:
    net = TinyUNet(PixelModel(1, 2)).eval()
    image = torch.rand(1, 1, 64, 64, requires_grad=True)
    net(image)[0, 0, 32, 32].backward()
    reach = np.flatnonzero(np.abs(image.grad[0, 0].numpy()).sum(axis=0))
    assert 35 <= np.ptp(reach) + 1 <= 64


def test_the_loop_in_the_docs_is_the_loop() -> None:
    import geodata.demo
    import geodata.demo.train

    source = inspect.getsource(geodata.demo.train.train)
    quoted = [line.strip() for line in str(geodata.demo.__doc__).splitlines() if line.startswith("    ")]
    assert len(quoted) > 10
    assert not [line for line in quoted if line != "..." and line not in source]
    assert len(source.splitlines()) < 40


def test_targets_leave_out_what_was_not_observed() -> None:
    mask = torch.tensor([[[0, 1], [2, -100]]])
    valid = torch.tensor([[[True, False], [True, True]]])
    assert targets({"mask": mask, "valid": valid}).tolist() == [[[0, -100], [2, -100]]]


def test_pixel_statistics() -> None:
    values = torch.tensor([[1.0, 5.0], [3.0, 5.0], [8.0, 5.0]])
    pixels = Pixels(values, torch.tensor([0, 1, 1]), torch.tensor([100, 300, 0]))
    np.testing.assert_allclose(pixels.mean, values.numpy().mean(axis=0))
    np.testing.assert_allclose(pixels.std, [values[:, 0].numpy().std(ddof=1), 1.0], rtol=1e-6)
    weight = pixels.weight.numpy()
    assert weight[2] == 0
    assert weight[0] / weight[1] == pytest.approx(3**0.5)
    assert (weight[:2] * (0.25, 0.75)).sum() == pytest.approx(1)


def test_checkerboard_holds_out_blocks_that_do_not_touch(archive: Path) -> None:
    tiles = RasterDataset(archive / "images").tile(37).catalog
    split = checkerboard(tiles)
    assert set(split) == {"train", "test"}
    assert sorted(split["train"] + split["test"]) == sorted(tiles.key)
    assert 0.2 < len(split["test"]) / len(tiles) < 0.3
    rows = tiles.rows_of(split["test"])
    boxes = [(str(tiles.crs[i]), shapely.box(*tiles.grid(int(i)).bounds)) for i in rows]
    for i, (crs, box) in enumerate(boxes):
        touching = [b for c, b in boxes[:i] if c == crs and shapely.length(shapely.intersection(b, box)) > 0]
        assert not touching
    with pytest.raises(GridError, match="smaller --block"):
        checkerboard(RasterDataset(archive / "images").take([0]).tile(256).catalog)


@pytest.mark.parametrize(
    ("shapes", "side"), [([(640, 640)] * 2, 128), ([(655, 800)], 131), ([(32, 32)] * 5, 16), ([(201, 301)], 51)]
)
def test_block_side(shapes: list[tuple[int, int]], side: int) -> None:
    affine = [(10, 0, 0, 0, -10, 0)] * len(shapes)
    catalog = Catalog.from_columns(
        key=[str(i) for i in range(len(shapes))], affine=affine, shape=shapes, crs="EPSG:32633"
    )
    assert block_side(catalog) == side


def test_staging_moves_all_or_nothing(tmp_path: Path) -> None:
    with staging(tmp_path) as folder:
        (folder / "a").write_text("1")
        (folder / "b").write_text("2")
        assert [p for p in tmp_path.iterdir() if p.is_file()] == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]

    def interrupted() -> None:
        with staging(tmp_path) as folder:
            (folder / "c").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


# ------------------------------------------------------------------ end to end


def small_job(archive: Path, out: Path, **more: Any) -> Job:
    options = {
        "data": archive,
        "labels": archive / "labels" / "landcover.gpkg",
        "label": "landcover",
        "block": 64,
        "steps": 12,
    }
    return Job(**({"out": out} | options | more))


@pytest.fixture(scope="module")
def results(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("out")
    return out, run_demo(small_job(archive, out), console=Console(quiet=True))


def test_demo_writes_its_results(results: tuple[Path, dict[str, Any]]) -> None:
    out, metrics = results
    names = {p.name for p in out.iterdir() if not p.name.endswith(".aux.xml")}
    maps = {"map_T32_20200515.tif", "map_T33_20200517.tif"}
    assert names == maps | {"map.png", "catalog.parquet", "split.json", "metrics.json"}
    assert json.loads((out / "metrics.json").read_text()) == metrics
    split = json.loads((out / "split.json").read_text())
    assert not set(split["train"]) & set(split["test"])
    catalog = Catalog.load(out / "catalog.parquet")
    catalog.check_files()
    assert len(catalog) == 2


def test_demo_maps_lie_on_the_scenes(results: tuple[Path, dict[str, Any]], archive: Path) -> None:
    out, _ = results
    for name in ("T32_20200515", "T33_20200517"):
        with rasterio.open(archive / "images" / f"{name}.tif") as scene, rasterio.open(out / f"map_{name}.tif") as made:
            assert (made.crs, made.transform, made.shape) == (scene.crs, scene.transform, scene.shape)
            np.testing.assert_array_equal(made.dataset_mask() > 0, scene.dataset_mask() > 0)
            known = made.read(1)[made.dataset_mask() > 0]
            assert set(np.unique(known)) <= set(range(7))
            assert len(np.unique(known)) > 2


def test_demo_scores_are_those_of_the_held_out_blocks(results: tuple[Path, dict[str, Any]], archive: Path) -> None:
    """The majority's accuracy follows from the drawn classes and the split file alone."""
    out, metrics = results
    split = json.loads((out / "split.json").read_text())
    counts = {part: np.zeros(6, dtype=int) for part in split}
    for number, name in enumerate(("T32_20200515", "T33_20200517")):
        scene = draw_scene(256, seed=number)
        observed = (scene.image > 0).all(axis=0)
        for part, keys in split.items():
            for key in keys:
                if key.startswith(name):
                    row, col = (int(v) for v in key.split("#r")[1].split("h")[0].split("c"))
                    block = (slice(row, row + 64), slice(col, col + 64))
                    counts[part] += np.bincount(scene.classes[block][observed[block]], minlength=6)
    majority = int(counts["train"].argmax())
    assert metrics["accuracy"]["majority"] == pytest.approx(counts["test"][majority] / counts["test"].sum(), abs=1e-6)
    assert {k: v for k, v in metrics["test_pixels"].items() if v} == {
        n: c for n, c in zip(NAMES, counts["test"].tolist(), strict=True) if c
    }
    assert metrics["mean_iou"]["pixel"] > metrics["mean_iou"]["majority"]


def test_demo_gives_the_same_again(results: tuple[Path, dict[str, Any]], archive: Path, tmp_path: Path) -> None:
    _, metrics = results
    again = run_demo(small_job(archive, tmp_path), console=Console(quiet=True))
    assert {k: v for k, v in again.items() if k != "seconds"} == {k: v for k, v in metrics.items() if k != "seconds"}


def test_ctrl_c_leaves_nothing(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(job_module, "draw_maps", stop)
    with pytest.raises(KeyboardInterrupt):
        run_demo(small_job(archive, tmp_path, steps=1), console=Console(quiet=True))
    assert not list(tmp_path.iterdir())


def test_demo_errors(archive: Path, tmp_path: Path) -> None:
    quiet = Console(quiet=True)
    with pytest.raises(NoFilesError, match="give --labels"):
        run_demo(Job(data=archive / "images", out=tmp_path), console=quiet)
    with pytest.raises(GridError, match="smaller --block"):
        run_demo(small_job(archive, tmp_path, block=256, data=archive / "images" / "T32_20200515.tif"), console=quiet)
    with pytest.raises(GeodataError, match="nothing"):
        run_demo(small_job(archive, tmp_path, label="nothing"), console=quiet)
    assert not list(tmp_path.iterdir())


def test_raster_labels_and_a_single_class(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tiles"
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    with rasterio.open(archive / "images" / "T32_20200515.tif") as file:
        profile, image = file.profile, file.read()
    with rasterio.open(folder / "images" / "a.tif", "w", **profile) as file:
        file.write(image)
    labels = {**profile, "count": 1, "dtype": "float32", "nodata": None}
    with rasterio.open(folder / "labels" / "a.tif", "w", **labels) as file:
        file.write((draw_scene(256, seed=0).classes % 3).astype("float32"), 1)
    metrics = run_demo(Job(data=folder, out=tmp_path / "out", steps=5), console=Console(quiet=True))
    assert metrics["test_pixels"]["no label"] == 0
    assert set(metrics["test_pixels"]) == {"no label", "class 1", "class 2"}
    assert (tmp_path / "out" / "map.tif").is_file()
    with pytest.raises(QueryError, match="at least 2 classes"):
        run_demo(Job(data=folder, out=tmp_path / "out2", steps=5, ignore=(0, 1)), console=Console(quiet=True))


@pytest.mark.slow
def test_the_net_beats_both_baselines_on_the_look_alike(tmp_path: Path) -> None:
    metrics = run_demo(Job(out=tmp_path), console=Console(quiet=True))
    scores = metrics["mean_iou"]
    assert scores["net"] > scores["pixel"] + 0.2
    assert scores["pixel"] > scores["majority"] + 0.2
    # what only its surroundings tell
    assert metrics["iou"]["net"]["orchard"] > 0.7 > 0.4 > metrics["iou"]["pixel"]["orchard"]


@pytest.mark.slow
def test_glaciers_at_everest(realdata: Path, tmp_path: Path) -> None:
    job = Job(
        data=realdata / "rasters" / "everest_landsat7_RGB_utm45n.tif",
        labels=realdata / "vectors" / "15_rgi60_glacier_outlines.gpkg",
        out=tmp_path,
    )
    metrics = run_demo(job, console=Console(quiet=True))
    assert metrics["mean_iou"]["net"] > max(metrics["mean_iou"]["pixel"], metrics["mean_iou"]["majority"])
    with rasterio.open(job.data) as scene, rasterio.open(tmp_path / "map.tif") as made:
        assert (made.crs, made.transform, made.shape) == (scene.crs, scene.transform, scene.shape)


@pytest.mark.slow
def test_land_cover_of_potsdam(realdata: Path, tmp_path: Path) -> None:
    metrics = run_demo(Job(data=realdata / "enmap_potsdam", out=tmp_path), console=Console(quiet=True))
    assert metrics["mean_iou"]["net"] > metrics["mean_iou"]["majority"]
    assert len(metrics["maps"]) == 5
