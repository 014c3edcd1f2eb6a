"""The command stats, and what convert does with its file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makers import north_up, write_tif

from geodata import cli, splits
from geodata.datasets import RasterDataset, registry
from geodata.splits import Split
from geodata.statistics import Statistics
from geodata.store import open_store


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*arguments: Any) -> tuple[int, str, str]:
        code = cli.run([str(a) for a in arguments])
        said = capsys.readouterr()
        return code, said.out, " ".join(said.err.split())

    return call


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of eight images of two bands."""
    for i in range(8):
        x = np.random.default_rng(i).integers(1, 3000, (2, 16, 16)).astype(np.uint16)
        write_tif(tmp_path / "images" / f"{i}.tif", x, north_up(5e5 + 1000 * i), descriptions=("red", "nir"))
    return tmp_path / "images"


@pytest.fixture
def split(images: Path, tmp_path: Path) -> Path:
    """Its split: six of the images to train."""
    catalog = RasterDataset(images).catalog
    found = splits.predefined(catalog, {"train": catalog.key[:6], "test": catalog.key[6:]})
    return found.save(tmp_path / "s.parquet")


def test_what_the_function_gives(run: Any, images: Path, split: Path, tmp_path: Path) -> None:
    code, out, err = run("stats", images, "--split", split, "-o", tmp_path / "stats.json")
    made = Split.load(split)
    assert (
        code == 0 and not err and made.digest[:12] in out and "part train" in out and "6 items" in out and "nir" in out
    )
    found = Statistics.load(tmp_path / "stats.json", split=made)
    assert found == Statistics.fit(RasterDataset(images, dtype=None), split=made)


def test_all_rows_and_another_part_in_json(run: Any, images: Path, split: Path, tmp_path: Path) -> None:
    code, out, _ = run("stats", images, "-o", tmp_path / "all.json", "--json")
    facts = json.loads(out)
    assert (
        code == 0
        and facts["split"] is None
        and facts["items"] == 8
        and facts["images"]["image"]["count"]["red"] == 2048
    )
    code, out, _ = run("stats", images, "--split", split, "--part", "test", "-o", tmp_path / "t.json", "--json")
    assert json.loads(out)["part"] == "test" and json.loads(out)["items"] == 2
    assert Statistics.load(tmp_path / "all.json", split=None).about["items"] == 8
    code, out, _ = run("stats", images, "--bands", "nir", "--tile", 8, "-o", tmp_path / "n.json", "--json")
    facts = json.loads(out)
    assert list(facts["images"]["image"]["mean"]) == ["nir"] and facts["items"] == 32


def test_many_bands_are_cut_short(run: Any, tmp_path: Path) -> None:
    write_tif(tmp_path / "cube.tif", np.random.default_rng(0).integers(1, 9, (40, 8, 8)).astype(np.uint8))
    code, out, _ = run("stats", tmp_path / "cube.tif", "-o", tmp_path / "c.json")
    assert code == 0 and "... 40 bands" in out
    assert len(json.loads((tmp_path / "c.json").read_text())["images"]["image"]["mean"]) == 40


def test_a_published_dataset_by_name(run: Any, tmp_path: Path) -> None:
    registry.get("reben").fake(tmp_path / "reben", 4)
    out = tmp_path / "r.json"
    code, _, err = run("stats", "reben", "--root", tmp_path / "reben", "--keys", "image,image_s1", "-o", out)
    assert code == 0, err
    found = Statistics.load(out, split=None)
    assert found.about["dataset"][0] == "reben" and {e["state"] for e in found.values()} <= {"raw", "dB"}
    code, _, err = run("stats", "reben", "-o", out)
    assert code == 2 and "say where your copy is, with --root" in err


def test_convert_keeps_them_for_their_split_only(run: Any, images: Path, split: Path, tmp_path: Path) -> None:
    stats = tmp_path / "stats.json"
    assert run("stats", images, "--split", split, "-o", stats)[0] == 0
    code, _, err = run("convert", images, tmp_path / "a.zarr", "--split", split, "--stats", stats)
    assert code == 0, err
    kept = open_store(tmp_path / "a.zarr").stats
    assert kept == Statistics.load(stats, split=Split.load(split)).by_band()
    code, _, err = run("convert", images, tmp_path / "b.zarr", "--stats", stats)
    assert code == 1 and "holds statistics of 'train' of the split" in err and not (tmp_path / "b.zarr").exists()
    plain = tmp_path / "plain.json"
    plain.write_text(json.dumps(kept))
    assert run("convert", images, tmp_path / "c.zarr", "--stats", plain)[0] == 0
    assert open_store(tmp_path / "c.zarr").stats == kept
    plain.write_text("{")
    code, _, err = run("convert", images, tmp_path / "d.zarr", "--stats", plain)
    assert code == 2 and "cannot be read" in err


def test_convert_refuses_those_of_the_test_part(run: Any, images: Path, split: Path, tmp_path: Path) -> None:
    assert run("stats", images, "--split", split, "--part", "test", "-o", tmp_path / "t.json")[0] == 0
    code, _, err = run("convert", images, tmp_path / "a.zarr", "--split", split, "--stats", tmp_path / "t.json")
    assert code == 1 and "holds statistics of 'test'" in err and not (tmp_path / "a.zarr").exists()


def test_a_store_has_statistics_too(run: Any, images: Path, split: Path, tmp_path: Path) -> None:
    assert run("convert", images, tmp_path / "a.zarr", "--split", split)[0] == 0
    assert run("stats", tmp_path / "a.zarr", "--split", split, "-o", tmp_path / "z.json")[0] == 0
    assert run("stats", images, "--split", split, "-o", tmp_path / "i.json")[0] == 0
    made = Split.load(split)
    a, b = (Statistics.load(tmp_path / name, split=made)["image"] for name in ("z.json", "i.json"))
    assert a == b, "exact, in whatever order the store keeps its items"


def test_errors_are_one_line(run: Any, images: Path, split: Path, tmp_path: Path) -> None:
    assert run("stats", images)[0] == 2
    code, _, err = run("stats", images, "--split", split, "--part", "fit", "-o", tmp_path / "x.json")
    assert code == 1 and "no part 'fit'; there are train, test" in err and not (tmp_path / "x.json").exists()
    code, _, err = run("stats", images, "--part", "test", "-o", tmp_path / "x.json")
    assert code == 2 and "--part test is a part of a split; give --split too" in err
    (images / "7.tif").unlink()
    code, _, err = run("stats", images, "--split", split, "-o", tmp_path / "x.json")
    assert code == 1 and "a split is used whole" in err
