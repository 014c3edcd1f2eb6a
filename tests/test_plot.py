"""Pictures: which bands, how stretched, and everything in its place."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any

import numpy as np
import pyproj
import pytest
import shapely
import torch
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from PIL import Image

from geodata.bands import Band, Bands
from geodata.errors import BandsError, MissingDependencyError, QueryError
from geodata.grid import Grid
from geodata.interval import Interval
from geodata.view.drawing import draw_outlines, draw_spectrum, save_png
from geodata.view.picture import class_table, composite, describe_grid, split_frames, stretch
from geodata.view.plot import new_figure, plot

S2 = Bands.of_sensor("sentinel-2")
GRID = Grid((6, 8), (10, 0, 500000, 0, -10, 5600000), "EPSG:32633")


def sample(bands: Bands = S2, grid: Grid = GRID, **more: Any) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(len(bands), *grid.shape, generator=generator)
    valid = torch.ones(grid.shape, dtype=torch.bool)
    valid[0, 0] = False
    return {"image": image, "valid": valid, "bands": bands, "grid": grid, "key": "a", "time": Interval(), **more}


# ------------------------------------------------------------------ which bands


def test_composite_by_common_name() -> None:
    assert composite(S2, 13) == ([3, 2, 1], "red B04, green B03, blue B02")
    backwards = Bands(reversed(list(S2)))
    assert composite(backwards, 13)[0] == [9, 10, 11]
    assert composite(Bands(["Blue", "Green", "Red", "NIR"]), 4) == ([2, 1, 0], "red Red, green Green, blue Blue")


def test_composite_by_wavelength() -> None:
    many = Bands(Band(f"b{i}", wavelength=400 + 6.5 * i, fwhm=7) for i in range(224))
    chosen, title = composite(many, 224)
    wanted = [int(np.argmin(np.abs(many.wavelengths - nm))) for nm in (660, 560, 480)]
    assert chosen == wanted
    assert "660 nm" in title


def test_composite_without_knowledge_says_so() -> None:
    assert composite(Bands(["x", "y", "z", "w"]), 4)[0] == [0, 1, 2]
    assert "assumed: the first three" in composite(Bands(["x", "y", "z", "w"]), 4)[1]
    assert composite(Bands(["x", "y"]), 2)[0] == [0]
    assert composite(None, 1) == ([0], "grey: band 1")
    # infrared only: nothing of it is red, green or blue
    assert composite(Bands(Band(f"i{i}", wavelength=1500 + 100 * i) for i in range(5)), 5)[0] == [0, 1, 2]


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (["red", "green", "blue"], [3, 2, 1]),
        (["B12", "nir08", "665"], [12, 8, 3]),
        ([1610.0, 833, 665], [11, 7, 3]),
        (["B08"], [7]),
    ],
)
def test_composite_as_asked(wanted: list[str | float], chosen: list[int]) -> None:
    assert composite(S2, 13, wanted)[0] == chosen


def test_a_number_that_is_a_name_is_the_name() -> None:
    numbered = Bands([Band("1", wavelength=900), Band("900", wavelength=450), Band("3")])
    assert composite(numbered, 3, ["900"])[0] == [1]


def test_composite_errors() -> None:
    with pytest.raises(BandsError, match="1 or 3 bands, got 2"):
        composite(S2, 13, ["B02", "B03"])
    with pytest.raises(BandsError, match="no band 'swir9'; there are: B01"):
        composite(S2, 13, ["swir9"])
    with pytest.raises(BandsError, match="no wavelengths"):
        composite(Bands(["a", "b", "c"]), 3, ["660"])


# ------------------------------------------------------------------ stretch


def test_stretch_uses_observed_pixels_only() -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(1000, 50, (2, 40, 50))
    valid = rng.random((40, 50)) > 0.3
    image[:, ~valid] = -32768
    out = stretch(image, valid)
    for i in range(2):
        low, high = np.percentile(image[i][valid], (2, 98))
        np.testing.assert_allclose(out[valid, i], np.clip((image[i][valid] - low) / (high - low), 0, 1))
    assert np.isnan(out[~valid]).all()
    assert np.isfinite(out[valid]).all()


def test_stretch_of_flat_and_nan_bands() -> None:
    flat = np.full((1, 3, 3), 7)
    assert (stretch(flat) == 0.5).all()
    nearly = np.zeros((1, 100, 100))
    nearly[0, 0, 0] = 4
    assert stretch(nearly)[0, 0, 0] == 1
    holes = np.array([[[1.0, np.nan, 3.0]]])
    assert np.isnan(stretch(holes)[0, :, 0]).tolist() == [False, True, False]
    assert np.isnan(stretch(np.full((1, 2, 2), np.nan))).all()


def test_stretch_refuses_percentiles_out_of_order() -> None:
    with pytest.raises(QueryError, match="0 <= low < high <= 100"):
        stretch(np.zeros((1, 2, 2)), percent=(98, 2))


# ------------------------------------------------------------------ figures


def shown(figure: Any, panel: int = 0) -> np.ndarray:
    return np.asarray(figure.axes[panel].images[0].get_array())


def test_plot_shows_the_stretched_composite() -> None:
    one = sample()
    figure = plot(one)
    image = one["image"].numpy()[[3, 2, 1]]
    seen = one["valid"].numpy()
    picture = shown(figure)
    np.testing.assert_allclose(picture[seen, :3], stretch(image, seen)[seen])
    assert picture[0, 0, 3] == 0
    assert (picture[seen, 3] == 1).all()
    assert figure.axes[0].get_title() == "red B04, green B03, blue B02"
    assert "EPSG:32633, 10 m pixels" in figure.axes[0].get_xlabel()


def test_plot_mask_has_class_colours_and_a_legend() -> None:
    mask = torch.zeros(6, 8, dtype=torch.int64)
    mask[2:4] = 2
    mask[5] = -100
    figure = plot(sample(mask=mask), classes={0: "land", 2: ("ice", "#00ffff")})
    picture = shown(figure, 1)
    assert tuple(picture[2, 0]) == to_rgba("#00ffff")
    assert picture[5, 0, 3] == 0
    assert [t.get_text() for t in figure.axes[1].get_legend().get_texts()] == ["land", "ice"]
    assert len(plot(sample(mask=mask), mask=False).axes) == 1


def test_plot_into_given_axes() -> None:
    outer = new_figure(4, 4)
    ax = outer.subplots()
    mask = torch.ones(6, 8, dtype=torch.int64)
    assert plot(sample(mask=mask), ax=ax) is outer
    assert len(ax.images) == 2
    assert shown(outer)[1, 1, 3] == 1
    assert np.asarray(ax.images[1].get_array())[1, 1, 3] == 0.5


def test_plot_several_images_boxes_and_a_mask_alone() -> None:
    boxes = torch.tensor([[1.0, 2.0, 5.0, 4.0]])
    one = sample(boxes=boxes, box_labels=torch.tensor([1]))
    one |= {"image_s1": torch.rand(2, 6, 8), "valid_s1": torch.ones(6, 8, dtype=torch.bool)}
    figure = plot(one)
    assert [ax.get_title() for ax in figure.axes] == ["red B04, green B03, blue B02", "image_s1: grey: band 1"]
    corners = figure.axes[0].patches[0].get_xy()
    assert corners[:4].tolist() == [[0.5, 1.5], [4.5, 1.5], [4.5, 3.5], [0.5, 3.5]]
    assert len(plot({"mask": torch.zeros(3, 3, dtype=torch.int64)}).axes) == 1


def test_batches_and_time_series_become_frames() -> None:
    batch = {
        "image": torch.rand(3, 13, 6, 8),
        "valid": torch.ones(3, 6, 8, dtype=torch.bool),
        "bands": S2,
        "grid": [GRID] * 3,
        "key": list("abc"),
        "boxes": [torch.zeros(i, 4) for i in range(3)],
    }
    frames = split_frames(batch)
    assert [f["key"] for f in frames] == ["a", "b", "c"]
    assert frames[2]["boxes"].shape == (2, 4)
    assert torch.equal(frames[1]["image"], batch["image"][1])
    assert len(plot(batch).axes) == 3
    # as many moments as rows: the mask belongs to all of them and is not cut
    series = sample(mask=torch.zeros(6, 8, dtype=torch.int64))
    series |= {"image": torch.rand(6, 13, 6, 8), "valid": torch.ones(6, 6, 8, dtype=torch.bool)}
    frames = split_frames(series)
    assert len(frames) == 6
    assert frames[0]["mask"].shape == (6, 8)
    assert frames[0]["valid"].shape == (6, 8)
    assert len(split_frames({"image": torch.rand(20, 13, 6, 8), "key": ["a"] * 20})) == 8


def test_nothing_to_draw() -> None:
    with pytest.raises(QueryError, match="nothing to draw in a sample with keys \\['key'\\]"):
        plot({"key": "a"})


def test_figures_do_not_touch_pyplot_or_the_backend() -> None:
    code = (
        "import sys, torch, matplotlib; before = matplotlib.rcParams._get('backend'); "
        "from geodata.view.plot import plot; figure = plot({'image': torch.rand(3, 8, 8)}); png = figure._repr_png_(); "
        "print(png[:4] == b'\\x89PNG', 'matplotlib.pyplot' in sys.modules, matplotlib.rcParams._get('backend') is before)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["True", "False", "True"]


def test_missing_matplotlib_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from geodata.view.plot import _figure_class

    _figure_class.cache_clear()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"geodata\[plot\]"):
        plot(sample())
    _figure_class.cache_clear()


def test_class_table() -> None:
    assert class_table(["a", "b"])[1][0] == "b"
    table = class_table({3: ("ice", "#00ffff")}, [7, 3])
    assert table[3] == ("ice", "#00ffff")
    assert table[7][0] == "class 7"
    assert list(table) == [3, 7]


def test_describe_grid() -> None:
    assert describe_grid(GRID) == "EPSG:32633, 10 m pixels, 0.08 x 0.06 km"
    assert describe_grid(Grid((2, 2), (0.5, 0, 7, 0, -0.25, 51), "EPSG:4326")) == "EPSG:4326, 0.5 x 0.25° pixels"
    assert describe_grid(Grid((2, 3), (1, 0, 0, 0, 1, 0))) == "3 x 2 pixels, no CRS"


# ------------------------------------------------------------------ outlines and spectra


def test_outlines_lie_where_the_pixels_are() -> None:
    grid = Grid((200, 300), (30, 0, 478000, 0, -30, 3108140), "EPSG:32645")
    corners = np.array([[478000 + 30 * c, 3108140 - 30 * r] for r, c in ((50, 80), (50, 180), (120, 180), (120, 80))])
    to_lonlat = pyproj.Transformer.from_crs(32645, 4326, always_xy=True)
    polygon = shapely.Polygon(np.stack(to_lonlat.transform(*corners.T), axis=-1))
    elsewhere = shapely.box(10, 50, 11, 51)
    figure = new_figure(4, 4)
    ax = figure.subplots()
    assert draw_outlines(ax, [polygon, elsewhere], pyproj.CRS(4326), grid) == 1
    (line,) = ax.collections[1].get_segments()
    # axes count from the centre of the first pixel: its upper left corner is at (-0.5, -0.5)
    for c, r in ((80, 50), (180, 50), (180, 120), (80, 120)):
        assert np.abs(line - (c - 0.5, r - 0.5)).max(axis=1).min() < 1e-6
    assert line[:, 0].min() > 79.5 - 0.1
    assert line[:, 1].max() < 119.5 + 0.1


def test_outlines_on_a_rotated_grid_and_with_holes() -> None:
    from affine import Affine

    turned = Grid((50, 60), Affine.translation(5e5, 5.6e6) @ Affine.rotation(30) @ Affine.scale(10, -10), 32633)
    ring = turned.xy(np.array([[10.0, 10], [40, 10], [40, 30], [10, 30]]))
    hole = turned.xy(np.array([[20.0, 15], [30, 15], [30, 20], [20, 20]]))
    ax = new_figure(3, 3).subplots()
    assert (
        draw_outlines(
            ax, [shapely.Polygon(ring, [hole]), shapely.LineString(ring), shapely.Point(ring[0])], turned.crs, turned
        )
        == 2
    )
    outer, inner, _ = ax.collections[1].get_segments()
    np.testing.assert_allclose(outer.min(axis=0), (9.5, 9.5), atol=1e-6)
    np.testing.assert_allclose(inner.max(axis=0), (29.5, 19.5), atol=1e-6)


def test_spectrum_is_the_mean_in_order_of_wavelength_with_gaps() -> None:
    nm = np.concatenate([np.arange(400, 1000, 10.0), np.arange(1400, 1700, 10.0)])
    shuffled = np.random.default_rng(0).permutation(len(nm))
    bands = Bands(Band(f"b{i}", wavelength=float(nm[i])) for i in shuffled)
    values = np.random.default_rng(1).random((500, len(nm)))
    ax = new_figure(4, 3).subplots()
    draw_spectrum(ax, values, bands, label="mean")
    assert [len(line.get_xdata()) for line in ax.lines] == [60, 30]
    x, y = (np.concatenate([getattr(line, f"get_{a}data")() for line in ax.lines]) for a in "xy")
    np.testing.assert_array_equal(x, nm)
    np.testing.assert_allclose(y, values.mean(axis=0)[np.argsort(shuffled)])
    filled = [c for c in ax.collections if isinstance(c, PolyCollection)]
    assert len(filled) == 4
    assert "nm" in ax.get_xlabel()


def test_spectrum_without_wavelengths_counts_bands() -> None:
    ax = new_figure(4, 3).subplots()
    draw_spectrum(ax, np.array([[3.0, 1.0, 2.0]]), Bands(["a", "b", "c"]), label="one pixel")
    assert ax.get_xlabel() == "band, in order"
    assert ax.lines[0].get_xdata().tolist() == [1, 2, 3]
    draw_spectrum(ax, np.array([[3.0, 1.0, 2.0]]), Bands(["1", "2", "9"]))
    assert ax.lines[1].get_xdata().tolist() == [1, 2, 9]
    assert not ax.collections


def test_png_appears_whole_or_not_at_all(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = plot(sample())
    save_png(figure, tmp_path / "a.png")
    assert Image.open(io.BytesIO((tmp_path / "a.png").read_bytes())).size[0] > 100

    def stop(self: Figure, *args: Any, **kwargs: Any) -> None:
        (args[0]).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Figure, "savefig", stop)
    with pytest.raises(KeyboardInterrupt):
        save_png(figure, tmp_path / "b.png")
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_gd_plot_stays_the_function() -> None:
    code = "import torch, geodata as gd; gd.plot({'image': torch.rand(3, 4, 4)}); gd.plot({'image': torch.rand(3, 4, 4)}); from geodata.view.plot import draw_image; print(callable(gd.plot))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert out.stdout.strip() == "True", out.stderr
