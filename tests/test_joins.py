"""`&`, `join` and `|`: which rows there are, whose grid counts, what a follower shows, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import north_up, write_tif
from pyproj import Transformer

import geodata as gd
from geodata.datasets import RasterDataset
from geodata.errors import (
    BandsError,
    CatalogError,
    CRSError,
    GridError,
    KeyClashError,
    NoOverlapError,
    QueryError,
)

DATED = r"(?P<item>\w+?)_(?P<date>\d{8})\.tif$"
BANDS = r"(?P<item>\w+)_(?P<band>B\w+)\.tif$"


def noise(*shape, seed=0, dtype="uint16"):
    return np.random.default_rng(seed).integers(1, 5000, shape).astype(dtype)


def tif(path, pixels, col=0, row=0, **options):
    """A raster whose corner lies so many 10 m pixels right of and below `north_up()`."""
    return write_tif(path, pixels, north_up(500000 + 10 * col, 5600000 - 10 * row), **options)


@pytest.fixture
def trio(tmp_path):
    """a: three scenes side by side, of which the middle one has no label; b: labels; c: one large scene over all."""
    a = [noise(2, 8, 8, seed=i) for i in range(3)]
    for i, name in enumerate("zyx"):
        tif(tmp_path / "a" / f"{name}.tif", a[i], col=20 * i, descriptions=["red", "nir"])
    b = {"p": noise(4, 8, seed=5, dtype="uint8") % 7, "q": noise(8, 8, seed=6, dtype="uint8") % 7}
    tif(tmp_path / "b" / "p.tif", b["p"])
    tif(tmp_path / "b" / "q.tif", b["q"], col=40, row=2)
    c = noise(30, 80, seed=7)
    tif(tmp_path / "c" / "c.tif", c, col=-5, row=-3)
    sets = (
        RasterDataset(tmp_path / "a"),
        RasterDataset(tmp_path / "b", categorical=True),
        RasterDataset(tmp_path / "c", name="pan"),
    )
    return sets, a, b, c


# ---------------------------------------------------------------------- by place


def test_the_left_operand_leads(trio):
    (images, labels, pan), a, b, c = trio
    joined = images & labels & pan
    assert list(joined.catalog.key) == ["x", "z"], "rows, order and keys are the left one's; y has no label"
    assert len(joined) == 2 and joined.keys == (
        "image",
        "valid",
        "bands",
        "mask",
        "image_pan",
        "valid_pan",
        "bands_pan",
    )
    assert joined.bands.names == ("red", "nir")
    first, second = joined[0], joined[1]
    assert first["key"] == "x" and first["grid"] == images[0]["grid"]
    assert np.array_equal(first["image"].numpy(), a[2].astype(np.float32)) and np.array_equal(
        second["image"].numpy(), a[0].astype(np.float32)
    )
    wanted = np.full((8, 8), -100)
    wanted[2:] = b["q"][:6]
    assert np.array_equal(first["mask"].numpy(), wanted)
    wanted = np.full((8, 8), -100)
    wanted[:4] = b["p"]
    assert np.array_equal(second["mask"].numpy(), wanted)
    assert np.array_equal(first["image_pan"].numpy()[0], c[3:11, 45:53].astype(np.float32)) and first["valid_pan"].all()
    assert first["grid_pan"] == first["grid"]
    both = labels & images
    assert (
        len(both) == 2
        and list(both.catalog.key) == ["p", "q"]
        and both[1]["valid"].sum() == 48
        and not both[1]["valid"][6:].any()
    )


@settings(max_examples=40, deadline=None)
@given(st.tuples(st.integers(-4, 9), st.integers(-4, 9), st.integers(1, 12), st.integers(1, 12)))
def test_a_window_of_a_join_is_a_crop_of_the_whole(tmp_path_factory, window):
    joined = _joined(tmp_path_factory)
    whole = joined[0]
    part = joined[gd.Query(row=0, window=window)]
    r, c, h, w = window
    grid = joined.catalog.grid(0).window(*window)
    assert part["grid"] == part["grid_b"] == grid
    ends = [(max(v, 0), max(min(v + n, 8), max(v, 0))) for v, n in ((r, h), (c, w))]
    of = tuple(slice(low, high) for low, high in ends)
    at = tuple(slice(low - v, high - v) for (low, high), v in zip(ends, (r, c), strict=True))
    for key in ("image", "image_b", "valid", "valid_b", "mask"):
        assert torch.equal(part[key][(..., *at)], whole[key][(..., *of)]), key
    # Outside the leading row, followers still show what is there; the row itself shows nothing.
    outside = torch.ones(h, w, dtype=bool)
    outside[at] = False
    assert not part["valid"][outside].any()


_CACHE = {}


def _joined(factory):
    if not _CACHE:
        folder = factory.mktemp("joined")
        tif(folder / "a" / "a.tif", noise(8, 8))
        tif(folder / "b" / "b.tif", noise(20, 20, seed=1), col=-3, row=4)
        tif(folder / "m" / "m.tif", noise(20, 20, seed=2, dtype="uint8"), col=3, row=-6)
        _CACHE["joined"] = (
            RasterDataset(folder / "a")
            & RasterDataset(folder / "b", name="b")
            & RasterDataset(folder / "m", categorical=True)
        )
    return _CACHE["joined"]


def test_a_follower_in_another_crs_is_what_a_read_of_the_grid_gives(tmp_path):
    tif(tmp_path / "a" / "a.tif", noise(24, 24))
    x, y = Transformer.from_crs(32633, 4326, always_xy=True).transform(500120, 5599880)
    write_tif(tmp_path / "b" / "b.tif", noise(20, 20, seed=1), north_up(x - 0.001, y + 0.001, 0.0001), "EPSG:4326")
    images, other = RasterDataset(tmp_path / "a"), RasterDataset(tmp_path / "b", name="b")
    sample = (images & other)[gd.Query(row=0, window=(3, 4, 17, 15))]
    alone = other.read(sample["grid"])
    assert torch.equal(sample["image_b"], alone["image_b"]) and torch.equal(sample["valid_b"], alone["valid_b"])
    assert sample["valid_b"].any() and not sample["valid_b"].all() and sample["valid"].all()


def test_where_the_follower_has_nothing_it_is_unobserved(tmp_path):
    tif(tmp_path / "a" / "a.tif", noise(8, 8))
    tif(tmp_path / "b" / "b.tif", noise(8, 8), col=7, row=7)
    tif(tmp_path / "m" / "m.tif", np.full((8, 8), 3, np.uint8), col=7, row=7)
    joined = (
        RasterDataset(tmp_path / "a")
        & RasterDataset(tmp_path / "b", name="b")
        & RasterDataset(tmp_path / "m", categorical=True)
    )
    for window in ((0, 0, 4, 4), None):
        sample = joined[gd.Query(row=0, window=window)]
        n = 0 if window else 1
        assert sample["valid_b"].sum() == n and (sample["image_b"][0][~sample["valid_b"]] == 0).all()
        assert (sample["mask"] == 3).sum() == n and (sample["mask"] == -100).sum() == sample["mask"].numel() - n


def test_touching_is_not_meeting(tmp_path):
    tif(tmp_path / "a" / "a.tif", noise(8, 8))
    for i, (col, row) in enumerate(((8, 0), (-8, 0), (0, 8), (0, -8), (8, 8))):
        tif(tmp_path / "b" / f"{i}.tif", noise(8, 8), col, row)
    with pytest.raises(
        NoOverlapError, match=r"no item meets the other dataset; for the first, 'a': .*nearest is '\d', 0\.\d km"
    ):
        RasterDataset(tmp_path / "a") & RasterDataset(tmp_path / "b", name="b")


def test_followers_of_another_time_do_not_count(tmp_path):
    tif(tmp_path / "a" / "a_20200501.tif", noise(8, 8))
    tif(tmp_path / "b" / "b_20200501.tif", np.full((8, 8), 1, np.uint8))
    tif(tmp_path / "b" / "c_20210501.tif", np.full((8, 8), 2, np.uint8))
    tif(tmp_path / "d" / "d_20220501.tif", np.full((8, 8), 3, np.uint8))
    a, b, d = (RasterDataset(tmp_path / n, pattern=DATED, name=n) for n in "abd")
    assert (a & b)[0]["image_b"].unique().tolist() == [1], "although the other one is newer"
    with pytest.raises(NoOverlapError):
        a & d


@pytest.mark.parametrize("how", ["intersects", "within"])
def test_how_much_must_be_covered(tmp_path, how):
    for i, (name, col) in enumerate((("whole", 0), ("by_two", 20), ("part", 40))):
        tif(tmp_path / "a" / f"{name}.tif", noise(8, 8, seed=i), col)
    for i, (col, width) in enumerate(((0, 8), (20, 5), (24, 9), (41, 20))):
        tif(tmp_path / "b" / f"{i}.tif", noise(8, width), col)
    joined = RasterDataset(tmp_path / "a").join(RasterDataset(tmp_path / "b", name="b"), how=how)
    assert list(joined.catalog.key) == (["by_two", "whole"] if how == "within" else ["by_two", "part", "whole"])
    assert all(s["valid_b"].all() for s in joined) == (how == "within")


def test_joins_that_cover_nothing_wholly(tmp_path):
    tif(tmp_path / "a" / "a.tif", noise(8, 8))
    tif(tmp_path / "b" / "b.tif", noise(8, 8), col=1)
    a, b = RasterDataset(tmp_path / "a"), RasterDataset(tmp_path / "b", name="b")
    with pytest.raises(
        NoOverlapError, match="none of 1 items is wholly covered by the other's 1; how='intersects' asks less"
    ):
        a.join(b, how="within")
    with pytest.raises(CatalogError, match="how='overlaps' must be 'intersects' or 'within'"):
        a.join(b, how="overlaps")


def test_followers_mosaic_newest_first(tmp_path):
    tif(tmp_path / "a" / "a.tif", noise(8, 8))
    tif(tmp_path / "b" / "old_20200101.tif", np.full((8, 8), 1, np.uint8))
    tif(tmp_path / "b" / "new_20210101.tif", np.full((8, 4), 2, np.uint8))
    joined = RasterDataset(tmp_path / "a") & RasterDataset(tmp_path / "b", name="b", pattern=DATED)
    assert joined[0]["image_b"][0, 0].tolist() == [2, 2, 2, 2, 1, 1, 1, 1] and len(joined) == 1


def test_a_join_by_place_needs_places(tmp_path):
    tif(tmp_path / "a" / "a.tif", noise(8, 8))
    write_tif(tmp_path / "b" / "a.tif", noise(8, 8), crs=None)
    a, b = RasterDataset(tmp_path / "a"), RasterDataset(tmp_path / "b", name="b")
    for left, right in ((a, b), (b, a)):
        with pytest.raises(CRSError, match=r"no CRS, so they cannot be searched by place; .*join\(on='key'\)"):
            left & right


def test_a_join_read_by_place(trio):
    (images, labels, pan), *_ = trio
    joined = images & labels & pan
    sample = joined.read((500000, 5599920, 500480, 5600000), crs="EPSG:32633")
    assert (
        sample["image"].shape == (2, 8, 48)
        and sample["mask"].shape == (8, 48)
        and sample["image_pan"].shape == (1, 8, 48)
    )
    for col, row in ((40, 0), (0, 1)):
        part = joined[row]
        for key in ("image", "mask", "image_pan"):
            assert torch.equal(sample[key][..., col : col + 8], part[key]), (key, row)
    assert sample["valid"].sum() == 128, "the middle scene is in no row of the join"


# ---------------------------------------------------------------------- names


def test_equal_keys_clash(trio):
    (images, labels, pan), *_ = trio
    with pytest.raises(
        KeyClashError,
        match=r"both sides make bands, image, valid; give one a name: a & b\.named\('s1'\) makes bands_s1",
    ):
        images & images
    with pytest.raises(KeyClashError, match="both sides make mask"):
        images & labels & labels
    with pytest.raises(KeyClashError, match="image_pan"):
        (images & pan) & pan
    sample = (images & images.named("s1"))[0]
    assert torch.equal(sample["image"], sample["image_s1"]) and sample["bands_s1"] == sample["bands"]


def test_a_join_has_no_name_of_its_own(trio):
    (images, labels, _), *_ = trio
    with pytest.raises(QueryError, match=r"name the parts before joining them: a\.named\('z'\) & b"):
        (images & labels).named("z")


def test_transforms_belong_to_the_join(trio):
    (images, labels, _), *_ = trio
    seen = []

    def count(sample):
        seen.append(sorted(k for k in sample if k in ("image", "mask")))
        return sample

    for left, right in ((images.transformed(count), labels), (images, labels.transformed(count))):
        with pytest.raises(QueryError, match=r"give transforms to the join, a\.join\(b\)\.transformed\(t\)"):
            left & right
    joined = (images & labels).transformed(count)
    assert joined[0]["key"] == "x" and joined.tile(4)[0] and seen == [["image", "mask"]] * 2


# ---------------------------------------------------------------------- by column


def test_rows_paired_by_key(tmp_path):
    radar, optical = [noise(8, 8, seed=i) for i in range(3)], [noise(8, 8, seed=9 + i) for i in range(3)]
    for i in range(3):
        tif(tmp_path / "s1" / f"{i}.tif", radar[i], col=100 * i)
        if i != 1:
            tif(tmp_path / "s2" / f"{i}.tif", optical[i], col=100 * i)
    tif(tmp_path / "s2" / "9.tif", optical[1], col=100)
    s1, s2 = RasterDataset(tmp_path / "s1"), RasterDataset(tmp_path / "s2", name="s2")
    joined = s1.join(s2, on="key")
    assert list(joined.catalog.key) == ["0", "2"], "1 lies under 9, but does not have its key"
    for row, i in enumerate((0, 2)):
        sample = joined[gd.Query(row=row, window=(1, 2, 9, 5))]
        assert np.array_equal(sample["image_s2"].numpy()[0, :7], optical[i][1:, 2:7].astype(np.float32))
        assert np.array_equal(sample["image"].numpy()[0, :7], radar[i][1:, 2:7].astype(np.float32))
        assert not sample["valid_s2"][7:].any() and sample["valid_s2"][:7].all()


def test_rows_paired_by_a_column(tmp_path):
    for i, name in enumerate("abc"):
        write_tif(tmp_path / "l" / f"{name}_site{i}.tif", np.full((4, 4), i, np.uint8), crs=None)
        write_tif(tmp_path / "r" / f"site{i}_{'cba'[i]}.tif", np.full((2, 4, 4), 10 * i, np.uint8), crs=None)
    pattern = r"(?P<site>site\d)"
    left = RasterDataset(tmp_path / "l", pattern=pattern)
    joined = left.join(RasterDataset(tmp_path / "r", pattern=pattern, name="rgb"), on="site")
    assert len(joined) == 3
    for i, sample in enumerate(joined):
        assert (sample["image"] == i).all() and (sample["image_rgb"] == 10 * i).all()
    with pytest.raises(CatalogError, match="no column 'place'; there are:"):
        left.join(left.named("b"), on="place")


def test_pairs_of_laboratory_cubes(tmp_path):
    cube, rgb = noise(5, 12, 10), noise(3, 12, 10, seed=1, dtype="uint8")
    write_tif(tmp_path / "cube" / "p1.tif", cube, crs=None)
    write_tif(tmp_path / "rgb" / "p1.png", rgb, crs=None, driver="PNG")
    joined = RasterDataset(tmp_path / "cube").join(RasterDataset(tmp_path / "rgb", name="rgb"), on="key")
    sample = joined.tile(5)[3]
    assert sample["key"] == "p1#r5c5h5w5" and sample["grid"].crs is None
    assert np.array_equal(sample["image"].numpy(), cube[:, 5:10, 5:10].astype(np.float32))
    assert np.array_equal(sample["image_rgb"].numpy(), rgb[:, 5:10, 5:10].astype(np.float32))


def test_pairs_without_a_crs_must_be_of_one_shape(tmp_path):
    write_tif(tmp_path / "cube" / "p1.tif", noise(5, 12, 10), crs=None)
    write_tif(tmp_path / "rgb" / "p1.tif", noise(3, 24, 20), crs=None)
    cube, rgb = RasterDataset(tmp_path / "cube"), RasterDataset(tmp_path / "rgb", name="rgb")
    with pytest.raises(GridError, match=r"\[12, 10\] pixels and its pair \[24, 20\], and no CRS"):
        cube.join(rgb, on="key")


def test_pairs_on_different_lattices_are_warped(tmp_path):
    tif(tmp_path / "a" / "x.tif", noise(8, 8))
    write_tif(tmp_path / "b" / "x.tif", np.full((8, 8), 5, np.uint8), north_up(499995, 5600005, 11))
    write_tif(tmp_path / "b" / "y.tif", np.full((8, 8), 6, np.uint8), north_up(499995, 5600005, 10))
    sample = RasterDataset(tmp_path / "a").join(RasterDataset(tmp_path / "b", name="b"), on="key")[0]
    assert sample["valid_b"].all() and (sample["image_b"] == 5).all(), "only the paired row is read"


def test_pairs_stay_together_by_place(tmp_path):
    for i in (1, 2):
        tif(tmp_path / "a" / f"{i}.tif", np.full((8, 8), i, np.uint8), col=8 * i)
        tif(tmp_path / "b" / f"{i}.tif", np.full((8, 32), 10 * i, np.uint8))
    joined = RasterDataset(tmp_path / "a").join(RasterDataset(tmp_path / "b", name="b"), on="key")
    with pytest.raises(QueryError, match=r"2 items lie under this query, .* which pair shows where cannot be said"):
        joined.read((500080, 5599920, 500240, 5600000), crs="EPSG:32633")
    sample = joined.read((500160, 5599920, 500240, 5600000), crs="EPSG:32633")
    assert (sample["image"] == 2).all() and (sample["image_b"] == 20).all()


def test_columns_that_cannot_pair(tmp_path):
    for name in ("a1", "a2"):
        tif(tmp_path / "l" / f"{name}.tif", noise(4, 4))
        tif(tmp_path / "r" / f"{name[::-1]}.tif", noise(4, 4))
    left = RasterDataset(tmp_path / "l", pattern=r"(?P<group>a)(?P<n>\d)")
    right = RasterDataset(tmp_path / "r", name="r", pattern=r"(?P<n>\d)(?P<group>a)")
    with pytest.raises(
        CatalogError, match="column 'group' of the second dataset repeats values, so rows cannot be paired by it"
    ):
        left.join(right, on="group")
    with pytest.raises(NoOverlapError, match=r"no value of 'key' is in both: first \['a1'\] and \['1a'\]"):
        left.join(right, on="key")
    assert len(left.join(right, on="n")) == 2
    with pytest.raises((QueryError, CatalogError), match="within"):
        left.join(right, on="n", how="within")


def test_windows_are_multiples_of_a_followers_native_ratio(tmp_path):
    tif(tmp_path / "a" / "x_B1.tif", noise(24, 24))
    tif(tmp_path / "b" / "x_B2.tif", noise(24, 24, seed=1))
    coarse = noise(12, 12, seed=2)
    write_tif(tmp_path / "b" / "x_B5.tif", coarse, north_up(res=20))
    a = RasterDataset(tmp_path / "a", pattern=BANDS)
    b = RasterDataset(tmp_path / "b", pattern=BANDS, name="b", native=True)
    for on in ("key", None):
        joined = a.join(b, on=on)
        assert joined.step == 2
        with pytest.raises(GridError, match="must be multiples of 2, the native ratio"):
            joined[gd.Query(row=0, window=(1, 1, 4, 4))]
        with pytest.raises(GridError, match="use 4 or 6"):
            joined.tile(5)
        sample = joined[gd.Query(row=0, window=(2, 4, 4, 6))]
        assert np.array_equal(sample["image_b_20m"].numpy()[0], coarse[1:3, 2:5].astype(np.float32))


# ---------------------------------------------------------------------- rows of a join


def test_rows_of_a_join_can_be_chosen_cut_and_split(trio):
    (images, labels, pan), *_ = trio
    joined = images & labels & pan
    assert [s["key"] for s in joined.where(lambda c: c.key != "x")] == ["z"]
    assert [s["key"] for s in joined.take([1, 0])] == ["z", "x"]
    parts = joined.split({"train": ["z"], "test": ["x"]})
    assert parts["test"][0]["key"] == "x" and set(parts["test"][0]) == set(joined[0])
    tiles = joined.tile((4, 8))
    assert len(tiles) == 4 and tiles[3]["key"] == "z#r4c0h4w8"
    for row, sample in enumerate(tiles):
        whole, top = joined[row // 2], 4 * (row % 2)
        for key in ("image", "valid", "mask", "image_pan", "valid_pan"):
            assert torch.equal(sample[key], whole[key][..., top : top + 4, :]), key


def test_rows_of_a_join_by_column_keep_their_pairs(tmp_path):
    for i in range(4):
        tif(tmp_path / "a" / f"{i}.tif", np.full((4, 4), i, np.uint8), col=10 * i)
        tif(tmp_path / "b" / f"{i}.tif", np.full((4, 4), 10 * i, np.uint8), col=10 * (3 - i))
    a, b = RasterDataset(tmp_path / "a"), RasterDataset(tmp_path / "b", name="b")
    pairs = a.join(a.named("b"), on="key").take([2, 0]).tile(2).take([5, 1])
    assert [(int(s["image"][0, 0, 0]), int(s["image_b"][0, 0, 0])) for s in pairs] == [(0, 0), (2, 2)]
    assert not (a.join(b, on="key")[0]["valid_b"]).any(), "the pair lies elsewhere: nothing of it is under the row"


# ---------------------------------------------------------------------- unions


def test_the_rows_of_both_left_first(tmp_path):
    for i in range(4):
        tif(tmp_path / ("ab"[i % 2]) / f"{i}.tif", np.full((4, 4), i, np.uint8), col=10 * i)
    both = RasterDataset(tmp_path / "b") | RasterDataset(tmp_path / "a")
    assert [int(s["image"][0, 0, 0]) for s in both] == [1, 3, 0, 2] and [s["key"] for s in both] == ["1", "3", "0", "2"]
    assert both.read((500000, 5599960, 500350, 5600000), crs="EPSG:32633")["image"][0, 0, [0, 10, 20, 30]].tolist() == [
        0,
        1,
        2,
        3,
    ]
    assert len(both.tile(2)) == 16 and (both.tile(2)[15]["image"] == 2).all()


def test_reindex_adds_missing_bands_as_never_observed(tmp_path):
    tif(tmp_path / "a" / "x.tif", np.full((1, 4, 4), 2, np.uint8), descriptions=["B2"])
    tif(tmp_path / "b" / "y.tif", np.full((1, 4, 4), 3, np.uint8), col=10, descriptions=["B3"])
    a, b = RasterDataset(tmp_path / "a"), RasterDataset(tmp_path / "b")
    with pytest.raises(
        BandsError, match=r"bands \('B2',\) and \('B3',\) differ; select the same, or union\(reindex=True\)"
    ):
        a | b
    both = a.union(b, reindex=True)
    assert both.bands.names == ("B2", "B3")
    assert not both[0]["valid"].any() and not both[1]["valid"].any(), "no pixel was observed in all bands asked for"
    assert (both[0]["image"] == 0).all()


def test_reindex_with_bands_in_common(tmp_path):
    tif(tmp_path / "a" / "x.tif", noise(3, 4, 4), descriptions=["B2", "B3", "B4"])
    tif(tmp_path / "b" / "y.tif", noise(2, 4, 4, seed=1), col=10, descriptions=["B3", "B2"])
    a, b = RasterDataset(tmp_path / "a"), RasterDataset(tmp_path / "b")
    both = a.union(b, reindex=True)
    assert (
        both.bands.names == ("B2", "B3", "B4")
        and torch.equal(both[0]["image"], a[0]["image"])
        and both[0]["valid"].all()
    )
    assert not both[1]["valid"].any()
    flipped = RasterDataset(tmp_path / "a", bands=["B2", "B3"]).union(
        RasterDataset(tmp_path / "b", bands=["B2", "B3"]), reindex=True
    )
    assert flipped.bands.names == ("B2", "B3")
    assert torch.equal(flipped[0]["image"], a[0]["image"][:2]) and torch.equal(
        flipped[1]["image"], b[0]["image"].flip(0)
    )


def test_unions_keep_each_sides_nodata(tmp_path):
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4)
    for name in "abc":
        tif(tmp_path / name / f"{name}.tif", pixels, col=10 * ord(name), nodata=9 if name == "c" else None)
    a, b = RasterDataset(tmp_path / "a", nodata=5), RasterDataset(tmp_path / "b")
    for both, wanted in ((a | b, [[[1, 1]], []]), (b | RasterDataset(tmp_path / "c"), [[], [[2, 1]]])):
        assert [(~s["valid"]).nonzero().tolist() for s in both] == wanted


def test_what_cannot_be_put_together(tmp_path):
    for name in "abc":
        tif(tmp_path / name / ("x.tif" if name != "b" else "y.tif"), noise(4, 4))
    a, b, c = (RasterDataset(tmp_path / n) for n in "abc")
    with pytest.raises(CatalogError, match=r"keys? .*stands? for more than one item"):
        a | c
    for other in (
        RasterDataset(tmp_path / "b", dtype=torch.float64),
        RasterDataset(tmp_path / "b", name="n"),
        RasterDataset(tmp_path / "b", categorical=True),
        a & b.named("s"),
    ):
        with pytest.raises(CatalogError):
            a | other
    write_tif(tmp_path / "n" / "z.tif", noise(4, 4), crs=None)
    with pytest.raises(CRSError, match="rows with and without a CRS do not share a catalog"):
        a | RasterDataset(tmp_path / "n")


@pytest.mark.parametrize("options", [{"nodata": 3}, {"resampling": "nearest"}, {"order": lambda c, rows: rows}])
def test_options_of_the_right_side_are_not_lost_in_silence(tmp_path, options):
    """Either the union honours what the right side was told, or it says that it cannot."""
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4)
    tif(tmp_path / "a" / "a.tif", pixels)
    tif(tmp_path / "b" / "b.tif", pixels, col=10)
    b = RasterDataset(tmp_path / "b", **options)
    try:
        both = RasterDataset(tmp_path / "a") | b
    except CatalogError:
        return
    grid = gd.Grid((5, 5), (7.3, 0, 500102.1, 0, -7.3, 5599998.7), "EPSG:32633")
    assert torch.equal(both[1]["valid"], b[0]["valid"]) and torch.equal(both[grid]["image"], b[grid]["image"])


@pytest.mark.parametrize(
    "options", [{"classes": ["b", "a"]}, {"classes": None}, {"ignore": [1]}, {"ignore_index": 255}]
)
def test_masks_with_unequal_tables_are_not_put_together(tmp_path, options):
    tif(tmp_path / "a" / "a.tif", np.eye(4, dtype=np.uint8))
    tif(tmp_path / "b" / "b.tif", np.eye(4, dtype=np.uint8), col=10)
    a = RasterDataset(tmp_path / "a", categorical=True, classes=["a", "b"])
    same = RasterDataset(tmp_path / "b", categorical=True, classes=["a", "b"])
    assert torch.equal((a | same)[1]["mask"], torch.eye(4, dtype=torch.int64))
    with pytest.raises(CatalogError):
        a | RasterDataset(tmp_path / "b", categorical=True, **{"classes": ["a", "b"], **options})


def test_joins_are_put_together_part_by_part(tmp_path):
    for i in (1, 2):
        tif(tmp_path / f"a{i}" / f"a{i}.tif", np.full((4, 4), i, np.uint8), col=10 * i)
        tif(tmp_path / f"m{i}" / f"m{i}.tif", np.full((4, 4), 5 + i, np.uint8), col=10 * i)
    a1, a2 = (RasterDataset(tmp_path / f"a{i}") for i in (1, 2))
    m1, m2 = (RasterDataset(tmp_path / f"m{i}", categorical=True) for i in (1, 2))
    both = (a1 & m1) | (a2 & m2)
    assert [(int(s["image"][0, 0, 0]), int(s["mask"][0, 0])) for s in both] == [(1, 6), (2, 7)]
    with pytest.raises(CatalogError):
        (a1 & m1) | a2


def test_joins_by_column_are_put_together_with_their_pairs(tmp_path):
    sets = {}
    for name, first in (("a1", 0), ("b1", 10), ("a2", 20), ("b2", 30)):
        for i in range(2):
            key = f"{name[1]}{i if name[0] == 'a' else 1 - i}" if name == "b2" else f"{name[1]}{i}"
            write_tif(tmp_path / name / f"{key}.tif", np.full((4, 4), first + int(key[1]), np.uint8), crs=None)
        sets[name] = RasterDataset(tmp_path / name, name=name[0])
    joins = [sets[f"a{i}"].join(sets[f"b{i}"], on="key") for i in (1, 2)]
    both = joins[0] | joins[1]
    assert [(int(s["image_a"][0, 0, 0]), int(s["image_b"][0, 0, 0])) for s in both] == [
        (0, 10),
        (1, 11),
        (20, 30),
        (21, 31),
    ]


def test_joins_by_place_and_by_column_do_not_mix(tmp_path):
    for name in ("a1", "b1", "a2", "b2"):
        tif(tmp_path / name / f"{name[1]}.tif", noise(4, 4))
    sets = {n: RasterDataset(tmp_path / n, name=n[0]) for n in ("a1", "b1", "a2", "b2")}
    with pytest.raises(
        CatalogError, match="one side is joined by place and the other by column; join both the same way"
    ):
        (sets["a1"] & sets["b1"]) | sets["a2"].join(sets["b2"], on="key")


def test_empty_sides(trio):
    (images, labels, _), *_ = trio
    with pytest.raises(NoOverlapError, match="the leading dataset is empty"):
        images.take([]) & labels
    with pytest.raises(NoOverlapError, match="no item meets the other dataset"):
        images & labels.take([])


def test_operands_are_not_changed(trio):
    (images, labels, pan), *_ = trio
    before = [(len(d), list(d.catalog.key), d.keys, d.name) for d in (images, labels, pan)]
    joined = images & labels & pan
    joined.tile(2), joined.take([0]), joined.where(lambda c: c.key == "x"), images.named("n") & labels
    assert before == [(len(d), list(d.catalog.key), d.keys, d.name) for d in (images, labels, pan)]


def test_a_join_says_what_it_is(trio):
    (images, labels, _), *_ = trio
    text = repr(images & labels)
    assert text.count("RasterDataset(") == 2 and " & " in text


def test_transforms_of_a_join_stay_with_it(tmp_path):
    for side in "ab":
        for place in (0, 1):
            tif(tmp_path / side / f"{place}.tif", np.full((8, 8), 1 + place, np.uint8), col=8 * place)
    a, b = (RasterDataset(tmp_path / side, name=side) for side in "ab")
    joined = (a & b).transformed(lambda sample: {**sample, "seen": True})
    one, two = joined.take([0]), joined.take([1])
    assert (one | two)[1]["seen"] and joined.series()[0]["seen"]
    assert joined.read(a.catalog.grid(0), stack="time")["seen"]
    with pytest.raises(CatalogError, match="different transforms"):
        one | (a & b).take([1])
