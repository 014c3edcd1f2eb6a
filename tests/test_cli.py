"""The command line: what it writes, what it says, and how it fails."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import fiona
import numpy as np
import pytest
import rasterio
import rasterio.warp
from PIL import Image

from geodata import cli
from geodata.catalog import Catalog
from geodata.errors import GeodataError
from geodata.view.summary import lonlat_bounds, summarize

TRANSFORM = rasterio.Affine(10, 0, 500000, 0, -10, 5600000)


def make_raster(path: Path, *, bands: int = 3, left: float = 500000, crs: Any = 32633, size: int = 40) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(path.name))
    profile = {"driver": "GTiff", "count": bands, "height": size, "width": size + 8, "dtype": "uint16", "nodata": 0}
    with rasterio.open(path, "w", crs=crs, transform=rasterio.Affine(10, 0, left, 0, -10, 5600000), **profile) as file:
        data = rng.integers(1, 3000, (bands, size, size + 8)).astype("uint16")
        data[:, :5, :5] = 0
        file.write(data)
        for i in range(bands):
            file.update_tags(i + 1, wavelength=450 + 60 * i, wavelength_units="nm")
    return path


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    for i in range(3):
        make_raster(tmp_path / "scenes" / f"S2_2020060{i + 1}.tif", left=500000 + 1000 * i)
    return tmp_path / "scenes"


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: object) -> tuple[int, str, str]:
        code = cli.run([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return run


Call = Callable[..., tuple[int, str, str]]


def assert_failed(result: tuple[int, str, str], *, code: int = 1, match: str = "") -> None:
    got, out, err = result
    assert got == code
    assert out == ""
    assert err.startswith("Error: ")
    assert len(err.splitlines()) == 1
    assert match in err


# ------------------------------------------------------------------ all commands


def test_version_and_help(call: Call) -> None:
    assert call("--version") == (0, f"geodata {metadata.version('geodata')}\n", "")
    code, out, _ = call("--help")
    assert code == 0
    for command in ("index", "info", "preview", "demo"):
        assert command in out


def test_module_and_exit_codes(tmp_path: Path) -> None:
    def start(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "geodata", *arguments], capture_output=True, text=True, check=False
        )

    assert start("--version").stdout.startswith("geodata ")
    failed = start("info", str(tmp_path / "nothing.tif"))
    assert failed.returncode == 1
    assert failed.stderr.startswith("Error: ")
    assert "Traceback" not in failed.stderr
    assert start("info").returncode == 2
    assert "Traceback" in start("--debug", "info", str(tmp_path / "nothing.tif")).stderr


def test_wrong_calls_are_one_line_and_exit_2(call: Call, scenes: Path, tmp_path: Path) -> None:
    assert_failed(call("inspect"), code=2, match="inspect")
    assert_failed(call("index", scenes), code=2, match="--out")
    assert_failed(
        call("preview", scenes, "-o", tmp_path / "a.png", "--at", "3"), code=2, match="--at '3' must be 2 numbers"
    )
    assert_failed(call("preview", scenes, "-o", tmp_path / "a.png", "--bounds", "1,2,3,x"), code=2, match="4 numbers")
    assert_failed(call("demo", "--ignore", "water"), code=2, match="--ignore")


def test_unexpected_errors_show_no_traceback(call: Call, scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("two\nlines [bold]not markup[/]")

    monkeypatch.setattr("geodata.view.summary.summarize", broken)
    assert_failed(
        call("info", scenes), match="RuntimeError: two lines [bold]not markup[/]; geodata --debug shows where"
    )
    with pytest.raises(RuntimeError):
        call("info", scenes, "--debug")
    with pytest.raises(GeodataError):
        call("--debug", "info", scenes / "nothing.tif")


# ------------------------------------------------------------------ index and info


def test_index_writes_a_catalog(call: Call, scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "catalog.parquet"
    code, text, err = call("index", scenes, "-o", out, "--pattern", r"(?P<item>(?P<mission>S2)_(?P<date>\d{8}))")
    assert (code, err) == (0, "")
    for part in ("3 items", "EPSG:32633 (3)", "10 m (3)", "48 x 40 (3)", "450 nm", "uint16", "mission"):
        assert part in text
    catalog = Catalog.load(out)
    assert sorted(catalog.key) == ["S2_20200601", "S2_20200602", "S2_20200603"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["catalog.parquet", "scenes"]


def test_index_json_is_all_there_is_on_stdout(call: Call, scenes: Path, tmp_path: Path) -> None:
    code, out, err = call(
        "index", scenes, "-o", tmp_path / "c.parquet", "--pattern", r"(?P<item>S2_(?P<date>\d{8}))", "--json"
    )
    assert (code, err) == (0, "")
    facts = json.loads(out)
    assert facts["items"] == 3
    assert facts["crs"] == {"EPSG:32633": 3}
    assert facts["time"] == ["2020-06-01T00:00:00Z", "2020-06-04T00:00:00Z"]
    assert [b["wavelength"] for b in facts["bands"]] == [450, 510, 570]
    assert facts["skipped"] == []


def test_index_names_what_it_skips(call: Call, scenes: Path, tmp_path: Path) -> None:
    (scenes / "broken.tif").write_bytes(b"II*\0 not a tiff")
    out = tmp_path / "c.parquet"
    assert_failed(call("index", scenes, "-o", out), match="broken.tif")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["scenes"]
    code, text, _ = call("index", scenes, "-o", out, "--on-error", "skip")
    assert code == 0
    assert "broken.tif" in text
    assert len(Catalog.load(out)) == 3


def test_an_interrupted_index_continues(
    call: Call, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import geodata.catalog.journal as journal

    read, seen = journal.describe, []

    def slow(href: str) -> Any:
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(href)
        return read(href)

    monkeypatch.setattr(journal, "describe", slow)
    out = tmp_path / "c.parquet"
    assert_failed(call("index", scenes, "-o", out), code=130, match="interrupted")
    assert not out.exists()
    monkeypatch.setattr(journal, "describe", lambda href: (seen.append(href), read(href))[1])
    assert call("index", scenes, "-o", out)[0] == 0
    assert len(seen) == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.parquet", "scenes"]


def test_info_agrees_with_rasterio(call: Call, scenes: Path) -> None:
    path = next(scenes.iterdir())
    facts = json.loads(call("info", path, "--json")[1])
    with rasterio.open(path) as file:
        wanted = rasterio.warp.transform_bounds(file.crs, "OGC:CRS84", *file.bounds, densify_pts=64)
    np.testing.assert_allclose(facts["bounds_lonlat"], wanted, atol=1e-7)
    assert facts["resolutions"] == {"10 m": 1}
    assert facts["sizes"] == {"48 x 40": 1}
    assert facts["validity"] == ["nodata"]
    assert facts["nodata"] == ["0.0"]
    assert facts["time"] == [None, None]


def test_info_of_a_catalog_checks_its_files(call: Call, scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "c.parquet"
    call("index", scenes, "-o", out)
    code, text, _ = call("info", out, "--check")
    assert code == 0
    assert "as the catalog saw them" in text
    assert json.loads(call("info", out, "--check", "--json")[1])["stale"] is False
    make_raster(scenes / "S2_20200602.tif", bands=1)
    assert_failed(call("info", out, "--check"), match="1 changed of 3 files")
    assert call("info", out)[0] == 0


def test_info_of_a_vector_file(call: Call, tmp_path: Path) -> None:
    path = write_box(tmp_path / "boxes.gpkg", (500100, 5599700, 500300, 5599900))
    facts = json.loads(call("info", path, "--json")[1])
    assert facts["crs"] == {"EPSG:32633": 1}
    assert facts["resolutions"] == {}
    wanted = rasterio.warp.transform_bounds(32633, "OGC:CRS84", 500100, 5599700, 500300, 5599900, densify_pts=64)
    np.testing.assert_allclose(facts["bounds_lonlat"], wanted, atol=1e-7)


def test_summary_over_the_antimeridian_and_without_a_crs() -> None:
    def catalog(crs: Any, *lefts: float) -> Catalog:
        affine = [(1, 0, left, 0, -1, 10) for left in lefts]
        return Catalog.from_columns(key=[str(v) for v in lefts], affine=affine, shape=[(4, 4)] * len(lefts), crs=crs)

    np.testing.assert_allclose(lonlat_bounds(catalog("EPSG:4326", 5, 170)), [5, 6, 174, 10], atol=1e-9)
    fiji = Catalog.from_columns(
        key=["a", "b"], affine=[(1000, 0, 200000, 0, -1000, 8000000), (1000, 0, 800000, 0, -1000, 8000000)],
        shape=[(10, 100)] * 2, crs=["EPSG:32701", "EPSG:32760"],
    )  # fmt: skip
    west, south, east, north = lonlat_bounds(fiji)
    assert west > 178 > -178 > east > -180
    assert -19 < south < north < -17
    facts = summarize(catalog(None, 0))
    assert facts["crs"] == {"none": 1}
    assert facts["bounds_lonlat"] is None
    assert facts["resolutions"] == {"1 px": 1}


def test_many_resolutions_are_counted() -> None:
    n = 30
    affine = [(1 + i, 0, 5e5, 0, -1 - i, 5e6) for i in range(n)]
    catalog = Catalog.from_columns(key=[str(i) for i in range(n)], affine=affine, shape=[(4, 4)] * n, crs=32633)
    resolutions = summarize(catalog)["resolutions"]
    assert sum(resolutions.values()) == n
    assert resolutions["18 others"] == 18


# ------------------------------------------------------------------ preview


def write_box(path: Path, box: tuple[float, ...], crs: int = 32633) -> Path:
    left, bottom, right, top = box
    ring = [(left, bottom), (right, bottom), (right, top), (left, top), (left, bottom)]
    schema = {"geometry": "Polygon", "properties": {"name": "str"}}
    with fiona.open(path, "w", driver="GPKG", schema=schema, crs=f"EPSG:{crs}") as file:
        file.write({"geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {"name": "a"}})
    return path


def picture(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_preview_draws_a_png(call: Call, scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.png"
    code, text, err = call("preview", scenes, "-o", out, "--item", "1")
    assert (code, err) == (0, "")
    assert "S2_20200602, red 3, green 2, blue 1 (assumed" not in text
    assert "98.7 % of the pixels observed" in text
    assert picture(out).shape[1] > 400
    code, text, _ = call("preview", scenes, "-o", out, "--bands", "510", "--item", "S2_20200603")
    assert "S2_20200603, grey: band 2" in text


def test_preview_of_a_box_with_an_outline(call: Call, scenes: Path, tmp_path: Path) -> None:
    vector = write_box(tmp_path / "box.gpkg", (500100, 5599700, 500300, 5599900))
    box = ",".join(str(v) for v in rasterio.warp.transform_bounds(32633, 4326, 500050, 5599650, 500350, 5599950))
    out = tmp_path / "a.png"
    code, text, _ = call(
        "preview", scenes, "-o", out, "--bands", "510", "--bounds", box, "--crs", "EPSG:4326", "--vector", vector
    )
    assert code == 0
    assert "1 of 1 outlines of box.gpkg" in text
    # on a grey picture only the outline is yellow; it is 200 m of 300 m wide
    pixels = picture(out)
    yellow = (np.abs(pixels - (255, 221, 0)) < 12).all(axis=-1)
    rows, cols = np.nonzero(yellow)
    assert len(rows) > 200
    assert 0.55 < (np.ptp(cols) / pixels.shape[1]) < 0.68
    far = write_box(tmp_path / "far.gpkg", (10, 50, 11, 51), crs=4326)
    assert "0 of 1 outlines" in call("preview", scenes, "-o", out, "--vector", far)[1]


def test_preview_spectrum_leaves_out_empty_bands(call: Call, tmp_path: Path) -> None:
    path = make_raster(tmp_path / "many.tif", bands=30)
    with rasterio.open(path, "r+") as file:
        file.write(np.zeros((40, 48), "uint16"), 7)
    out = tmp_path / "a.png"
    code, text, err = call("preview", path, "-o", out, "--spectrum")
    assert (code, err) == (0, "")
    assert "left out 1 bands without one observed pixel: 7" in text
    assert call("preview", path, "-o", out, "--at", "20,30")[0] == 0
    assert_failed(call("preview", path, "-o", out, "--at", "0,0"), match="row 0, column 0 was not observed")
    assert_failed(call("preview", path, "-o", out, "--at", "99,0"), match="outside the picture of 40 x 48 pixels")


def test_large_items_are_read_coarser(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from geodata.grid import Grid
    from geodata.view.preview import coarser_grid

    grid = Grid((10980, 10980), tuple(TRANSFORM)[:6], 32633)
    small = coarser_grid(grid)
    assert small.shape == (998, 998)
    assert small.res == (110, 110)
    assert coarser_grid(grid.window(0, 0, 1000, 1000)) == grid.window(0, 0, 1000, 1000)
    monkeypatch.setattr("geodata.view.preview.LONGEST", 20)
    monkeypatch.setattr("geodata.view.preview.coarser_grid", lambda grid: coarser_grid(grid, 20))
    code, text, _ = call("preview", make_raster(tmp_path / "a.tif"), "-o", tmp_path / "a.png")
    assert code == 0
    assert "of the pixels observed" in text


def test_preview_errors(call: Call, scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.png"
    assert_failed(call("preview", scenes, "-o", out, "--item", "9"), match="no item '9'; there are 3")
    assert_failed(call("preview", scenes, "-o", out, "--bands", "red,green"), match="1 or 3 bands, got 2")
    assert_failed(call("preview", scenes, "-o", out, "--bands", "swir"), match="no band 'swir'")
    assert_failed(call("preview", scenes, "-o", out, "--bounds", "0,0,1,1"), match="no CRS")
    far = call("preview", scenes, "-o", out, "--bounds", "0,0,1,1", "--crs", "EPSG:4326")
    assert_failed(far, match="km away")
    assert_failed(
        call("preview", scenes, "-o", out, "--item", "0", "--bounds", "0,0,1,1"), match="either --item or --bounds"
    )
    assert_failed(call("preview", scenes, "-o", tmp_path / "no" / "a.png"), match="does not exist")
    assert_failed(call("preview", scenes, "-o", out, "--percent", "98,2"), match="low < high")
    assert_failed(call("preview", tmp_path / "nothing", "-o", out), match="does not exist")
    assert_failed(call("preview", scenes, "-o", out, "--vector", tmp_path / "no.gpkg"), match="no.gpkg")
    assert not out.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["scenes"]


def test_preview_of_one_file_per_band(call: Call, realdata: Path, tmp_path: Path) -> None:
    pattern = r"(?P<item>LC08_.*)_(?P<band>SR_B\d|QA_PIXEL)\.TIF$"
    folder = realdata / "rasters" / "landsat_greenland_utm24n"
    code, text, _ = call(
        "preview", folder, "-o", tmp_path / "a.png", "--pattern", pattern, "--bands", "SR_B4,SR_B3,SR_B2"
    )
    assert code == 0
    assert "LC08_L2SP_005009_20150710_20200908_02_T2, red SR_B4, green SR_B3, blue SR_B2" in text


# ------------------------------------------------------------------ demo


def test_demo_json(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import geodata.demo

    jobs = []

    def fake(job: Any, *, console: Any) -> dict[str, Any]:
        jobs.append(job)
        console.print("for people")
        return {"mean_iou": {"net": 0.5}}

    monkeypatch.setattr(geodata.demo, "run_demo", fake)
    code, out, err = call("demo", "--out", tmp_path, "--data", tmp_path, "--ignore", "0,255", "--steps", "7", "--json")
    assert code == 0
    assert json.loads(out) == {"mean_iou": {"net": 0.5}}
    assert err == "for people\n"
    assert (jobs[0].ignore, jobs[0].steps, jobs[0].data) == ((0, 255), 7, tmp_path)
    call("demo", "--ignore", "none")
    assert (jobs[1].ignore, jobs[1].data) == ((), None)


def test_demo_without_labels(call: Call, scenes: Path, tmp_path: Path) -> None:
    code, _, err = call("demo", "--data", scenes, "--out", tmp_path / "out")
    assert code == 1
    assert "give --labels" in err
    assert not list((tmp_path / "out").iterdir())
