"""Putting catalogs together, and picking rows out of them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import catalog_of, north_up

from geodata.bands import Band, Bands
from geodata.catalog import Catalog
from geodata.errors import CatalogError, CRSError, GeodataError
from geodata.readers.base import Asset

UTM = "EPSG:32633"
RGB = Asset("{path}", Bands(["r", "g", "b"]), (1, 2, 3))


def part(name, n, root="", crs=UTM, assets=(RGB,), **columns):
    return catalog_of(
        *[(north_up(500000 + 1000 * i), (10 + i, 20), crs) for i in range(n)],
        prefix=name,
        root=root,
        assets=assets,
        time=[(ord(name) + float(i), ord(name) + i + 1.0) for i in range(n)],
        columns={"path": [f"{name}{i}.tif" for i in range(n)], **columns},
    )


def same(a, b):
    """Everything a catalog says, row by row."""
    assert a.key.tolist() == b.key.tolist()
    assert np.array_equal(a.affine, b.affine) and np.array_equal(a.shape, b.shape)
    assert np.array_equal(a.origin, b.origin) and np.array_equal(a.time, b.time)
    assert a.crs.tolist() == b.crs.tolist()
    assert a.assets == b.assets and a.root == b.root and a.lattice == b.lattice
    assert set(a.columns) == set(b.columns)
    for name in a.columns:
        assert a.table[name].to_pylist() == b.table[name].to_pylist(), name


parts = st.tuples(
    st.integers(0, 3),
    st.sampled_from(["/data", "/data/x", "/data/x/y", "/data/z"]),
    st.sampled_from([UTM, "EPSG:4326", "EPSG:32634"]),
    st.booleans(),
)


@given(parts, parts, parts)
@settings(deadline=None)
def test_concat_is_associative(first, second, third):
    a, b, c = (
        part(name, n, root, crs, cloud=list(range(n))) if extra else part(name, n, root, crs)
        for name, (n, root, crs, extra) in zip("abc", (first, second, third), strict=True)
    )
    whole = a.concat(b, c)
    same(a.concat(b).concat(c), whole)
    same(a.concat(b.concat(c)), whole)


@given(parts, parts)
@settings(deadline=None)
def test_concat_keeps_every_row_and_its_file(first, second):
    a, b = (part(name, n, root, crs) for name, (n, root, crs, _) in zip("ab", (first, second), strict=True))
    whole = a.concat(b)
    assert whole.key.tolist() == a.key.tolist() + b.key.tolist()
    files = [c.href(RGB, r) for c in (a, b) for r in range(len(c))]
    assert [whole.href(RGB, r) for r in range(len(whole))] == files
    assert whole.crs.tolist() == a.crs.tolist() + b.crs.tolist()
    assert whole.time.tolist() == a.time.tolist() + b.time.tolist()
    assert [whole.grid(r) for r in range(len(whole))] == [c.grid(r) for c in (a, b) for r in range(len(c))]


def test_concat_of_one_and_of_empty_ones():
    a = part("a", 3, "/data")
    same(a.concat(), a)
    same(a.take([]).concat(a), a)
    same(a.concat(a.take([])), a)
    same(part("b", 0, "/elsewhere").concat(a), a)
    assert len(a.take([]).concat(a.take([]))) == 0


def test_missing_columns_are_empty():
    whole = part("a", 1, cloud=[5]).concat(part("b", 1))
    assert whole.table["cloud"].to_pylist() == [5, None]


def test_tiles_are_put_together_too():
    a, b = part("a", 1).tile(8), part("b", 2)
    whole = a.concat(b)
    assert whole.table["tile_of"].to_pylist() == ["a0"] * len(a) + [None, None]
    assert np.array_equal(whole.origin[: len(a)], a.origin)


@pytest.mark.parametrize(
    "other",
    [
        replace(RGB, validity="nodata", nodata=0.0),
        replace(RGB, dtype="uint8"),
        replace(RGB, ratio=2),
        replace(RGB, indexes=(3, 2, 1)),
        replace(RGB, bands=Bands([Band("r", scale=0.1), "g", "b"])),
    ],
)
def test_files_that_differ_keep_their_own_description(other):
    """Every row has exactly one file for the band, described as it was before."""
    whole = part("a", 2, "/data").concat(part("b", 1, "/data/x", assets=(other,)))
    for row, (file, kind) in enumerate([("/data/a0.tif", RGB), ("/data/a1.tif", RGB), ("/data/x/b0.tif", other)]):
        having = [a for a in whole.assets if "r" in a.bands.names and whole.href(a, row) is not None]
        assert [(whole.href(a, row), replace(a, href="{path}")) for a in having] == [(file, kind)]


def test_nan_is_the_same_nodata_as_nan():
    nan = replace(RGB, validity="nan", nodata=math.nan)
    whole = part("a", 1, assets=(nan,)).concat(part("b", 1, assets=(replace(nan, nodata=float("nan")),)))
    assert len(whole.assets) == 1
    assert whole.assets[0].validity == "nan" and math.isnan(whole.assets[0].nodata)


def test_bands_that_one_side_lacks():
    nir = Asset("{path_nir}", Bands(["nir"]), (1,))
    a = part("a", 1, "/data", assets=(RGB,))
    b = part("b", 1, "/data", assets=(RGB, nir), path_nir=["b0_nir.tif"])
    with pytest.raises(CatalogError, match=r"nir.*reindex=True"):
        a.concat(b)
    whole = a.concat(b, reindex=True)
    back = b.concat(a, reindex=True)
    for catalog, rows in ((whole, (0, 1)), (back, (1, 0))):
        files = {
            band: [
                next((f for a in catalog.assets if band in a.bands.names and (f := catalog.href(a, r))), None)
                for r in rows
            ]
            for band in ("g", "nir")
        }
        assert files == {"g": ["/data/a0.tif", "/data/b0.tif"], "nir": [None, "/data/b0_nir.tif"]}


def test_keys_that_repeat():
    with pytest.raises(CatalogError, match="2 keys"):
        part("a", 2).concat(part("a", 3))
    with pytest.raises(CatalogError, match="keys"):
        part("a", 2).concat(part("b", 2), part("a", 1))


def test_a_crs_and_none_do_not_mix():
    with pytest.raises(CRSError, match=r"'b0' has no CRS but item 'a0' has one"):
        part("a", 1).concat(part("b", 1, crs=None))


def test_pixels_and_footprints_do_not_mix():
    with pytest.raises(CatalogError, match="footprint"):
        part("a", 1).concat(replace(part("b", 1), lattice=False))


@pytest.mark.parametrize(
    ("one", "two"), [("", "/data"), ("/data", ""), ("https://a.org/x", "/data"), ("s3://a/x", "s3://b/y")]
)
def test_roots_without_a_common_folder(one, two):
    with pytest.raises(CatalogError, match="root"):
        part("a", 1, one).concat(part("b", 1, two))


def test_columns_of_two_types_are_named():
    with pytest.raises(CatalogError, match="cloud"):
        part("a", 1, cloud=[5]).concat(part("b", 1, cloud=["five"]))
    assert part("a", 1, cloud=[5]).concat(part("b", 1, cloud=[5.5])).column("cloud").tolist() == [5, 5.5]


# ---------------------------------------------------------------------- making and picking


def columns(n=3, **changes):
    return {
        "key": [f"k{i}" for i in range(n)],
        "affine": [tuple(north_up(500000 + 1000 * i))[:6] for i in range(n)],
        "shape": [(100, 100)] * n,
        "crs": UTM,
    } | changes


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"affine": [tuple(north_up())[:6]] * 2}, id="affine of two rows"),
        pytest.param({"affine": [(10, 0, 0, 0, -10)] * 3}, id="affine of five numbers"),
        pytest.param({"affine": [(math.nan, 0, 0, 0, -10, 0)] * 3}, id="affine nan"),
        pytest.param({"affine": [(math.inf, 0, 0, 0, -10, 0)] * 3}, id="affine inf"),
        pytest.param({"affine": [(0, 0, 5, 0, -10, 0)] * 3}, id="no area"),
        pytest.param({"affine": "nonsense"}, id="affine text"),
        pytest.param({"shape": [(100, 100)] * 4}, id="shape of four rows"),
        pytest.param({"shape": [(0, 100)] * 3}, id="shape 0"),
        pytest.param({"shape": [(-5, 100)] * 3}, id="shape negative"),
        pytest.param({"shape": [(1.5, 100)] * 3}, id="shape broken"),
        pytest.param({"crs": [UTM] * 2}, id="two crs"),
        pytest.param({"crs": [UTM] * 4}, id="four crs"),
        pytest.param({"crs": []}, id="no crs at all"),
        pytest.param({"time": [(0, 1)] * 2}, id="two times"),
        pytest.param({"time": [(5, 1)] * 3}, id="time backwards"),
        pytest.param({"time": [(math.nan, 1)] * 3}, id="time nan"),
        pytest.param({"columns": {"cloud": [1, 2]}}, id="column of two rows"),
        pytest.param({"columns": {"key": ["x"] * 3}}, id="a second key"),
        pytest.param({"columns": {"geometry": [1] * 3}}, id="a column of the file format"),
        pytest.param({"columns": {"crs": [1] * 3}}, id="a column crs"),
        pytest.param({"columns": {"affine": [1] * 3}}, id="a column affine"),
        pytest.param({"assets": [RGB]}, id="asset without its column"),
        pytest.param({"crs": {"proj": "utm", "zone": 33}}, id="crs as a dict"),
        pytest.param({"key": ["a", "b", "a"]}, id="a key twice"),
        pytest.param({"key": ["a", "b", None]}, id="no key"),
        pytest.param({"key": ["a", "b", 5]}, id="a number as key"),
    ],
)
def test_columns_that_contradict_each_other(changes):
    with pytest.raises(GeodataError):
        Catalog.from_columns(**columns(**changes))


def test_a_key_that_repeats_is_named():
    with pytest.raises(CatalogError, match=r"'b'.*pattern"):
        Catalog.from_columns(**columns(key=["a", "b", "b"]))


def test_some_items_with_and_some_without_crs():
    with pytest.raises(CRSError, match=r"'k1' has no CRS but item 'k0' has one.*scan them apart"):
        Catalog.from_columns(**columns(crs=[UTM, None, UTM]))


def test_columns_are_kept_as_they_are():
    extras = {
        "cloud": [1.5, math.nan, 3.0],
        "country": ["A", None, "B"],
        "n": np.arange(3, dtype=np.int16),
        "ok": [True, False, True],
    }
    catalog = Catalog.from_columns(**columns(columns=extras, crs=[UTM, "EPSG:32634", UTM], time=None))
    assert catalog.column("country").tolist() == ["A", None, "B"]
    assert catalog.column("n").dtype == np.int16
    assert np.array_equal(catalog.column("cloud"), extras["cloud"], equal_nan=True)
    assert list(catalog.columns) == ["cloud", "country", "n", "ok"]
    assert catalog.crs.tolist() == [UTM, "EPSG:32634", UTM]
    assert catalog.time.tolist() == [[-math.inf, math.inf]] * 3
    assert [c.to_epsg() for c in catalog.crs_in_use] == [32633, 32634]
    assert catalog.has_crs and not Catalog.from_columns(**columns(crs=None)).has_crs
    with pytest.raises(CatalogError, match=r"no column 'clouds'; there are: key, cloud"):
        catalog.column("clouds")


def test_take_follows_the_order_given():
    catalog = Catalog.from_columns(**columns(columns={"n": [10, 11, 12]}))
    for rows in ([2, 0], np.array([2, 0]), np.array([2, 0], dtype=np.uint8), (2, 0), [-1, 0]):
        taken = catalog.take(rows)
        assert taken.key.tolist() == ["k2", "k0"] and taken.column("n").tolist() == [12, 10]
        assert taken.affine[:, 2].tolist() == [502000, 500000]
    assert catalog.take(np.array([False, True, True])).key.tolist() == ["k1", "k2"]
    assert len(catalog.take([])) == 0
    assert len(catalog.take([0, 0])) == 2


@pytest.mark.parametrize("rows", [[1.7], [True, False], [True, False, True, False], [3], [-4], ["k0"], [[0, 1]], None])
def test_rows_that_there_are_not(rows):
    with pytest.raises((GeodataError, IndexError)):
        Catalog.from_columns(**columns()).take(rows)


def test_a_search_after_take_knows_the_taken_rows():
    catalog = Catalog.from_columns(**columns())
    box = (501400, 5599500, 501500, 5599600)
    assert catalog.search(box, crs=UTM).tolist() == [1]
    assert catalog.take([2, 1, 0]).search(box, crs=UTM).tolist() == [1]
    assert catalog.take([1, 2]).search(box, crs=UTM).tolist() == [0]
    assert catalog.take([2]).search(box, crs=UTM).tolist() == []


def test_where():
    catalog = Catalog.from_columns(**columns(4, columns={"country": ["A", "B", "A", None], "cloud": [5, 50, 70, 5]}))
    assert catalog.where(country="A").key.tolist() == ["k0", "k2"]
    assert catalog.where(country=["A", "B"], cloud=5).key.tolist() == ["k0"]
    assert catalog.where(country=["A", "B"]).key.tolist() == ["k0", "k1", "k2"]
    assert catalog.where(cloud=np.array([70, 50])).key.tolist() == ["k1", "k2"]
    assert catalog.where(country={"B"}).key.tolist() == ["k1"]
    assert catalog.where(country=None).key.tolist() == ["k3"]
    assert catalog.where(lambda c: c.column("cloud") < 60, country="A").key.tolist() == ["k0"]
    assert len(catalog.where(country="C")) == 0
    assert catalog.where().key.tolist() == catalog.key.tolist()
    with pytest.raises(CatalogError, match=r"no column 'land'"):
        catalog.where(land="A")


@pytest.mark.parametrize("answer", [[0, 1], np.array([0, 2, 1, 3]), [True], True, "k0", np.ones((4, 4), dtype=bool)])
def test_a_condition_gives_one_yes_or_no_per_row(answer):
    with pytest.raises(GeodataError):
        Catalog.from_columns(**columns(4)).where(lambda c: answer)


def test_rows_of_keys():
    catalog = Catalog.from_columns(**columns())
    assert catalog.rows_of(["k2", "k0", "k2"]).tolist() == [2, 0, 2]
    assert catalog.rows_of([]).tolist() == []
    assert catalog.rows_of(k for k in ["k1"]).dtype == np.int64
    with pytest.raises(CatalogError, match=r"2 of 3 keys.*first 'x'"):
        catalog.rows_of(["k0", "x", "y"])


def test_files_of_rows():
    catalog = Catalog.from_columns(
        **columns(columns={"path": ["a.tif", None, "https://h.org/c.tif"]}, root="/data/", assets=[RGB])
    )
    assert [catalog.href(RGB, r) for r in range(3)] == ["/data/a.tif", None, "https://h.org/c.tif"]
    for bad in ("../x", "/etc/passwd", "a/../../b", "C:\\x", "a\0b", "file:///etc/passwd", ""):
        escaped = Catalog.from_columns(**columns(1, columns={"path": [bad]}, root="/data"))
        with pytest.raises(CatalogError, match="leads out of"):
            escaped.href(RGB, 0)


def test_catalogs_say_what_was_left_out_even_if_nothing_was():
    catalog = Catalog.from_columns(**columns())
    for c in (catalog, catalog.take([0]), catalog.tile(50)):
        assert tuple(c.skipped) == () and tuple(c.dropped) == ()


def test_repr_is_short_and_says_what_there_is():
    systems = [f"EPSG:{32601 + i}" for i in range(10)]
    text = repr(Catalog.from_columns(**columns(10, crs=systems, assets=[RGB], columns={"path": ["x.tif"] * 10})))
    assert len(text) < 150 and "10 items" in text and "3 bands" in text


def test_tables_with_dictionary_columns():
    """What pandas and arrow call categories come back as their values."""
    words = pa.array(["A", "B", "A"]).dictionary_encode()
    catalog = Catalog.from_columns(**columns(columns={"country": words}))
    assert catalog.column("country").tolist() == ["A", "B", "A"]
    assert catalog.where(country="A").key.tolist() == ["k0", "k2"]


def test_keys_that_repeat_are_found_in_any_order():
    import pyarrow as pa

    from geodata.catalog.columns import _differ

    for chunks, differ in (
        ([["a", "b"], ["c"]], True),
        ([["a", "b"], ["b"]], False),
        ([["a", "a"]], False),
        ([["b", "a"], [], ["c", "é"]], True),
        ([["b", "a"], ["c", "b"]], False),
        ([[]], True),
        ([["x"]], True),
    ):
        assert _differ(pa.chunked_array(chunks, pa.string())) is differ, chunks
