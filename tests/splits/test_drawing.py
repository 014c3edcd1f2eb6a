"""An audit as a picture."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest

from geodata.catalog import Catalog
from geodata.errors import MissingDependencyError, SplitError
from geodata.splits.audit import audit
from geodata.splits.drawing import COLOURS, DROPPED, _colours, draw
from geodata.splits.split import Split


class Halves:
    """Two parts, and a dead zone between them."""

    parts = ("train", "test")
    recipe = {"method": "halves"}  # noqa: RUF012
    digest = "0" * 64

    def codes(self, catalog):
        x = np.arange(len(catalog)) % 30
        return np.select([x < 12, x > 17], [0, 1], -1).astype(np.int16)


@pytest.fixture
def found():
    x, y = (v.ravel() for v in np.meshgrid(np.arange(30), np.arange(30)))
    n = len(x)
    catalog = Catalog.from_columns(
        key=[f"k{i}" for i in range(n)],
        affine=[(10, 0, 500_000 + 1_000 * a, 0, -10, 5_600_000 + 1_000 * b) for a, b in zip(x, y, strict=True)],
        shape=[(100, 100)] * n,
        crs="EPSG:32633",
        columns={"label": [f"c{k % 4}" for k in range(n)]},
    )
    return audit(catalog, Halves(), labels="label", min_distance="4km")


def pixels(path):
    from matplotlib.image import imread

    return imread(path)


def share_of(picture, colour):
    wanted = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    return (np.abs(picture[..., :3] - wanted) < 0.02).all(axis=2).mean()


def test_the_map_shows_every_part_and_the_dead_zone(found, tmp_path):
    path = found.plot(tmp_path / "audit.png")
    assert [p.name for p in tmp_path.iterdir()] == ["audit.png"]
    picture = pixels(path)
    ink = [share_of(picture, c) for c in (COLOURS[0], COLOURS[1], DROPPED)]
    assert min(ink) > 0.002
    # 12 columns of each part, 6 between them.
    left = picture[:, : picture.shape[1] // 2]
    drawn = [share_of(left, c) for c in (COLOURS[0], COLOURS[1], DROPPED)]
    assert drawn[0] == pytest.approx(drawn[1], rel=0.3) and drawn[2] == pytest.approx(drawn[0] / 2, rel=0.4)
    (x, y) = found.points.T
    assert abs(x.mean() - 15.2) < 0.1 and abs(y.mean() - 50.65) < 0.1
    assert np.bincount(found.code + 1).tolist() == [180, 360, 360]


def test_no_window_is_opened_and_no_backend_chosen(found, tmp_path):
    there = "matplotlib.pyplot" in sys.modules
    found.plot(tmp_path / "audit.png")
    assert ("matplotlib.pyplot" in sys.modules) == there


def test_rows_without_a_place_are_drawn_as_such(tmp_path):
    n = 60
    catalog = Catalog.from_columns(
        key=[f"k{i}" for i in range(n)], affine=[(1, 0, 0, 0, 1, 0)] * n, shape=[(8, 8)] * n, crs=None
    )
    bare = audit(catalog, Halves())
    picture = pixels(bare.plot(tmp_path / "bare.png"))
    bars = [share_of(picture, colour) for colour in COLOURS[:2]]
    assert min(bars) > 0.02 and bars[0] == pytest.approx(bars[1], rel=0.1)
    assert "parts (no place on earth)" in texts(bare) and "no distances" in texts(bare)


def test_a_long_verdict_takes_two_lines(found):
    (title,) = (text for text in texts(found) if text.startswith(("holds", "leaks")))
    assert len(title) > 150 and len(title.splitlines()) == 2


def test_a_picture_needs_a_name_that_ends_in_png(found, tmp_path):
    with pytest.raises(SplitError, match=r"give a \.png"):
        found.plot(tmp_path / "audit.jpg")


def test_without_matplotlib_the_extra_is_named(found, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"geodata\[plot\]"):
        found.plot(tmp_path / "audit.png")
    assert list(tmp_path.iterdir()) == []


class Named(Halves):
    """The same halves by other names."""

    def __init__(self, *parts):
        self.parts = parts


def drawn(catalog, split, path, **options):
    return pixels(audit(catalog, split, **options).plot(path))


def texts(found):
    """All text of the picture of an audit."""
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    seen = []
    kept = Figure.savefig
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda self, *a, **k: (kept(self, *a, **k), seen.append(self)))
        draw(found, io.BytesIO())
    return [t.get_text() for t in seen[0].findobj(Text)]


def squares(n, step=3_000):
    return Catalog.from_columns(
        key=[f"k{i}" for i in range(n)],
        affine=[(10, 0, 500_000 + step * k, 0, -10, 5_600_000) for k in range(n)],
        shape=[(100, 100)] * n,
        crs="EPSG:32633",
    )


def test_names_that_matplotlib_takes_for_more_than_text(tmp_path):
    catalog = squares(60)
    found = audit(catalog, Named("_a$x_$", "b$"), train="b$")
    found.plot(tmp_path / "odd.png")
    said = texts(found)
    assert r" _a\$x_\$" in said and r"b\$" in said


def test_twenty_folds_have_twenty_colours_and_a_legend_that_fits(tmp_path):
    catalog = squares(400)
    split = Split(catalog, (np.arange(400) % 20).astype(np.int16), tuple(f"fold{k}" for k in range(20)))
    found = audit(catalog, split)
    colours = _colours(found)
    assert len(set(colours)) == 20
    picture = pixels(found.plot(tmp_path / "folds.png"))
    assert all(share_of(picture, c) > 0 for c in colours)
    assert "nearest row of the rest" in texts(found)


def test_a_legend_of_very_many_parts_says_how_many_more():
    catalog = squares(60)
    split = Split(catalog, np.arange(60, dtype=np.int16), tuple(f"p{k}" for k in range(60)))
    said = texts(audit(catalog, split))
    assert any(text.endswith("and 36 more") for text in said)


def test_two_rows_are_enough_for_a_picture(tmp_path):
    catalog = squares(2)
    split = Split(catalog, np.array([0, 1], dtype=np.int16), ("train", "test"))
    picture = drawn(catalog, split, tmp_path / "two.png")
    assert min(share_of(picture, c) for c in COLOURS[:2]) > 0
