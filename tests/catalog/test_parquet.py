"""Catalogs on disk: bit for bit, open to others, and safe to open."""

from __future__ import annotations

import json
import math
import os
import shutil
import stat
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from affine import Affine
from brute import held_points, lonlat, outline
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from makers import catalog_of, north_up, rotated, write_tif
from pyproj import CRS

from geodata.bands import Band, Bands
from geodata.catalog import Catalog
from geodata.errors import CatalogError, GeodataError, ReadError, StaleCatalogError
from geodata.readers.base import Asset

UTM = "EPSG:32633"
LOCAL = "+proj=tmerc +lat_0=3 +lon_0=7.123 +k=0.9999 +x_0=100 +y_0=7 +ellps=GRS80 +units=m +no_defs"
ASSETS = (
    Asset(
        "{path}",
        Bands([Band("x", "red", 665.1, 31.2, 10, "reflectance", 0.0001, -0.1), "b"], "reflectance"),
        (2, 1),
        1,
        "float32",
        math.nan,
        "nan",
    ),
    Asset("{path_swir}", Bands(["swir"]), (1,), 2, "uint16", 0.0, "nodata"),
    Asset("{path_qa}", Bands(["qa"]), (1,), 6, "uint8", None, "all"),
)


def some_catalog(folder, n=3, assets=ASSETS, **changes):
    paths = {name: [f"{name}/{i}.tif" for i in range(n)] for name in ("path", "path_swir", "path_qa")}
    return Catalog.from_columns(
        **{
            "key": [f"k{i}" for i in range(n)],
            "affine": [tuple(north_up(500000.1 + 1000 * i, 5600000.7, 10.1))[:6] for i in range(n)],
            "shape": [(100 + i, 50) for i in range(n)],
            "crs": [(UTM, "EPSG:4326", LOCAL)[i % 3] if i % 3 != 1 else "EPSG:32634" for i in range(n)],
            "time": [(-math.inf, 5.0), (1.25, math.inf), (1588464000.123456, 1588464000.123456)][:n]
            + [(0, 1)] * (n - 3),
            "columns": paths | {"cloud": [1.5 + i for i in range(n)]},
            "assets": assets,
            "root": str(folder),
        }
        | changes
    )


def hexed(array):
    return [float(v).hex() for v in np.ravel(array)]


def same(a, b):
    assert a.key.tolist() == b.key.tolist()
    assert hexed(a.affine) == hexed(b.affine)
    assert hexed(a.time) == hexed(b.time)
    assert a.shape.tolist() == b.shape.tolist() and a.shape.dtype == b.shape.dtype
    assert a.origin.tolist() == b.origin.tolist() and a.origin.dtype == b.origin.dtype
    assert a.crs.tolist() == b.crs.tolist()
    assert (a.root, a.lattice) == (b.root, b.lattice)
    assert [x.to_dict() for x in a.assets] == [x.to_dict() for x in b.assets]
    assert [x.bands for x in a.assets] == [x.bands for x in b.assets]
    assert a.table.schema.remove_metadata().equals(b.table.schema.remove_metadata())
    for name in a.table.column_names:
        assert repr(a.table[name].to_pylist()) == repr(b.table[name].to_pylist()), name


# ---------------------------------------------------------------------- there and back

numbers = st.floats(-1e8, 1e8, allow_nan=False).filter(lambda v: v != 0)
times = st.sampled_from([-math.inf, math.inf]) | st.integers(-(10**14), 10**14).map(lambda us: us / 1e6)


@st.composite
def catalogs(draw):
    n = draw(st.integers(0, 5))
    spans = [sorted((draw(times), draw(times))) for _ in range(n)]
    spans = [(-math.inf, math.inf) if a == b and math.isinf(a) else (a, b) for a, b in spans]
    with_crs = draw(st.booleans())
    systems = st.sampled_from([UTM, "EPSG:32601", LOCAL, "EPSG:3035"]) if with_crs else st.none()
    place = st.floats(2e6, 3e6)
    return Catalog.from_columns(
        key=draw(st.lists(st.text(max_size=5), min_size=n, max_size=n, unique=True)),
        affine=[
            (draw(st.floats(1e-3, 1e3)), 0.0, draw(place), 0.0, -draw(st.floats(1e-3, 1e3)), draw(place))
            for _ in range(n)
        ],
        shape=[(draw(st.integers(1, 99)), draw(st.integers(1, 99))) for _ in range(n)],
        crs=[draw(systems) for _ in range(n)],
        time=np.reshape(spans, (n, 2)),
        columns={
            "cloud": [draw(st.none() | st.floats()) for _ in range(n)],
            "country": pa.array([draw(st.none() | st.text(max_size=3)) for _ in range(n)], pa.string()),
            "ok": pa.array([draw(st.none() | st.booleans()) for _ in range(n)], pa.bool_()),
            "path_swir": pa.array([draw(st.none() | st.just("a/b.tif")) for _ in range(n)], pa.string()),
            "n": np.array([draw(st.integers(-(2**62), 2**62)) for _ in range(n)], dtype=np.int64),
        },
        assets=ASSETS[1:2] if draw(st.booleans()) else (),
        lattice=draw(st.booleans()),
    )


@given(catalogs())
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_save_and_load_keep_every_bit(tmp_path, catalog):
    saved = catalog.save(tmp_path / "c.parquet")
    loaded = Catalog.load(saved)
    assert loaded.root == os.getcwd() or catalog.root == loaded.root
    same(catalog, Catalog(**{**{f: getattr(loaded, f) for f in loaded.__dataclass_fields__}, "root": catalog.root}))


def test_assets_times_and_odd_crss_come_back(tmp_path):
    catalog = some_catalog(tmp_path / "data")
    back = Catalog.load(catalog.save(tmp_path / "c.parquet"))
    same(catalog, back)
    assert math.isnan(back.assets[0].nodata) and back.assets[2].nodata is None
    assert back.assets[0].bands[0] == Band("x", "red", 665.1, 31.2, 10, "reflectance", 0.0001, -0.1)
    assert back.assets[0].bands.state == "reflectance"
    assert back.time[0].tolist() == [-math.inf, 5.0] and back.time[1].tolist() == [1.25, math.inf]
    assert [back.href(a, 1) for a in back.assets] == [
        str(tmp_path / "data" / n / "1.tif") for n in ("path", "path_swir", "path_qa")
    ]


def test_tiles_keep_their_origin(tmp_path):
    tiles = some_catalog(tmp_path).tile(24)
    back = Catalog.load(tiles.save(tmp_path / "c.parquet"))
    same(tiles, back)
    assert back.origin.max() > 0
    assert back.take([3]).search(back.grid(3)).tolist() == [0]


def test_selections_of_a_loaded_catalog_are_saved_again(tmp_path):
    first = Catalog.load(some_catalog(tmp_path, 6).save(tmp_path / "c.parquet"))
    for i, part in enumerate(
        (first.take([4, 0]), first.take([]), first.where(key="k2"), first.take([0]).concat(first.take([5])))
    ):
        same(part, Catalog.load(part.save(tmp_path / f"{i}.parquet")))


def test_saving_over_the_file_one_was_loaded_from(tmp_path):
    path = some_catalog(tmp_path).save(tmp_path / "c.parquet")
    catalog = Catalog.load(path)
    catalog.take([1]).save(path)
    assert Catalog.load(path).key.tolist() == ["k1"]
    assert catalog.key.tolist() == ["k0", "k1", "k2"]


def test_paths_may_be_text(tmp_path):
    assert Catalog.load(str(some_catalog(tmp_path).save(str(tmp_path / "c.parquet")))).key.tolist() == [
        "k0",
        "k1",
        "k2",
    ]


# ---------------------------------------------------------------------- open to others


def geo_of(path):
    file = pq.ParquetFile(path)
    return json.loads(file.schema_arrow.metadata[b"geo"]), file.schema_arrow


AROUND = [
    pytest.param((north_up(399960, 5700000, 10), (10980, 10980), UTM), id="sentinel-2"),
    pytest.param((rotated(399960, 5700000, 30, 33), (7000, 6000), UTM), id="turned"),
    pytest.param((north_up(199960, 7900000, 60), (4000, 9000), UTM), id="wide and far north"),
    pytest.param((north_up(820000, 1000000, 300), (100, 100), "EPSG:32660"), id="over 180"),
    pytest.param((north_up(3e6, 1e6, 2000), (400, 500), "EPSG:3832"), id="large over 180"),
    pytest.param((north_up(170, 10, 1), (20, 20), "EPSG:4326"), id="170..190"),
    pytest.param((north_up(190, 10, 1), (20, 10), "EPSG:4326"), id="190..200"),
    pytest.param((north_up(179, 10, 0.1), (10, 10), "EPSG:4326"), id="up to 180"),
    pytest.param((north_up(-180, 10, 0.1), (10, 10), "EPSG:4326"), id="from -180"),
    pytest.param((north_up(0, 90, 1), (180, 360), "EPSG:4326"), id="globe from 0"),
    pytest.param((north_up(-180, 90, 1), (180, 360), "EPSG:4326"), id="globe"),
    pytest.param((north_up(0, 60, 1), (120, 350), "EPSG:4326"), id="0..350"),
    pytest.param((north_up(-3e6, 3e6, 1e4), (600, 600), "EPSG:3031"), id="south pole"),
    pytest.param((north_up(-5e5, 2e6, 1e4), (260, 250), "EPSG:3413"), id="off the north pole"),
    pytest.param((north_up(-1e6, 0, 1e4), (100, 100), "EPSG:3031"), id="corner on the pole"),
    pytest.param((north_up(-20037508.34, 10000, 40075.01668), (3, 1000), "EPSG:3857"), id="strip around"),
    pytest.param((north_up(4e6, 3.5e6, 5e3), (300, 300), "EPSG:3035"), id="laea"),
    pytest.param((north_up(5e5, 5.6e6, 10, yres=-10), (200, 300), UTM), id="south-up"),
]


@pytest.mark.parametrize("item", AROUND)
def test_geometries_are_the_footprints(tmp_path, item):
    """Places inside the raster lie in the polygon and others do not; it is valid and stays on the map."""
    geopandas = pytest.importorskip("geopandas")
    frame = geopandas.read_parquet(catalog_of(item).save(tmp_path / "c.parquet"))
    shape = frame.geometry.iloc[0]
    assert shape.is_valid and shape.geom_type in ("Polygon", "MultiPolygon")
    west, south, east, north = shape.bounds
    assert -180 <= west < east <= 180 and -90 <= south < north <= 90
    ring = np.unwrap(lonlat(item, outline(item)), period=360, axis=0)
    (west, south), (east, north) = ring.min(axis=0), ring.max(axis=0)
    if "3031" in item[2] or "3413" in item[2]:
        west, east = -180.0, 180.0
        south, north = (-90.0, north) if "3031" in item[2] else (south, 90.0)
    elif east - west < 1e-6:
        west, east = -180.0, 180.0
    rng = np.random.default_rng(0)
    lon = rng.uniform(west - 0.1 * (east - west), east + 0.1 * (east - west), 6000)
    lat = rng.uniform(max(south - 0.1 * (north - south), -90), min(north + 0.1 * (north - south), 90), 6000)
    lon = (lon + 180) % 360 - 180
    held = held_points(item, lon, lat)
    drawn = shapely.contains_xy(shape, lon, lat)
    assert held.sum() > 1000
    assert (held != drawn).mean() < 0.004
    assert drawn.sum() == pytest.approx(held.sum(), rel=0.01)


def test_geopandas_reads_crs_columns_and_boxes(tmp_path):
    geopandas = pytest.importorskip("geopandas")
    items = [item.values[0] for item in AROUND]
    catalog = catalog_of(*items, columns={"cloud": list(range(len(items)))}, time=[(0.0, 86400.0)] * len(items))
    path = catalog.save(tmp_path / "c.parquet")
    frame = geopandas.read_parquet(path)
    assert frame.crs == CRS.from_user_input("OGC:CRS84")
    assert frame["key"].tolist() == catalog.key.tolist() and frame["cloud"].tolist() == list(range(len(items)))
    assert str(frame["start"][0]) == "1970-01-01 00:00:00+00:00" and str(frame["end"][0]) == "1970-01-02 00:00:00+00:00"
    for box in (
        (179.2, 9.1, 179.9, 9.9),
        (-179.9, 9.1, -179.2, 9.9),
        (13.6, 50.6, 14.0, 51.0),
        (-150, -89, 150, -86),
        (100, -5, 101, -4),
    ):
        want = set(frame[frame.geometry.intersects(shapely.box(*box))]["key"])
        assert want
        assert want <= set(geopandas.read_parquet(path, bbox=box)["key"])


def test_metadata_is_geoparquet_1_1(tmp_path):
    items = [item.values[0] for item in AROUND]
    path = catalog_of(*items).save(tmp_path / "c.parquet")
    geo, schema = geo_of(path)
    assert geo["version"] == "1.1.0"
    assert geo["primary_column"] in geo["columns"] and set(geo["columns"]) <= set(schema.names)
    column = geo["columns"]["geometry"]
    assert set(column) <= {"encoding", "geometry_types", "crs", "orientation", "edges", "bbox", "epoch", "covering"}
    assert column["encoding"] == "WKB" and column.get("edges", "planar") == "planar"
    assert CRS.from_json_dict(column["crs"]) == CRS.from_user_input("OGC:CRS84")
    assert schema.field("geometry").type in (pa.binary(), pa.large_binary())
    box = schema.field(column["covering"]["bbox"]["xmin"][0])
    assert {side: path[1] for side, path in column["covering"]["bbox"].items()} == {
        s: s for s in ("xmin", "ymin", "xmax", "ymax")
    }
    assert all(box.type.field(side).type in (pa.float64(), pa.float32()) for side in ("xmin", "ymin", "xmax", "ymax"))
    table = pq.read_table(path)
    shapes = shapely.from_wkb(table["geometry"].to_numpy())
    assert set(column["geometry_types"]) == {s.geom_type for s in shapes} == {"Polygon", "MultiPolygon"}
    bounds = shapely.bounds(shapes)
    west, south, east, north = column["bbox"]
    assert bounds[:, 1].min() >= south and bounds[:, 3].max() <= north
    assert (bounds[:, 0].min() >= west and bounds[:, 2].max() <= east) or west > east
    for shape, b in zip(bounds.tolist(), table["bbox"].to_pylist(), strict=True):
        assert b["ymin"] <= shape[1] and b["ymax"] >= shape[3]
        assert (b["xmin"] <= shape[0] and b["xmax"] >= shape[2]) or b["xmin"] > b["xmax"]


def test_geometries_are_written_as_shapely_writes_them(tmp_path):
    grids = [Affine(10, 0, 5e5, 0, -10, 56e5), Affine(8, 6, 5e5, 6, -8, 56e5), Affine(10, 0, 5e5, 0, 10, 56e5)]
    path = catalog_of(*((g, (64, 32), UTM) for g in grids)).save(tmp_path / "c.parquet")
    table = pq.read_table(path)
    shapes = shapely.from_wkb(table["geometry"].to_pylist())
    assert shapely.to_wkb(shapes).tolist() == table["geometry"].to_pylist()
    assert [shape.is_valid for shape in shapes] == [True] * 3 and len(shapely.get_coordinates(shapes)) == 15
    for shape, box in zip(shapes, table["bbox"].to_pylist(), strict=True):
        assert shape.bounds == tuple(box.values())


def test_geometry_types_are_those_present(tmp_path):
    one = geo_of(catalog_of((north_up(), (10, 10), UTM)).save(tmp_path / "a.parquet"))[0]
    assert one["columns"]["geometry"]["geometry_types"] == ["Polygon"]


def test_items_without_crs_have_no_geometry(tmp_path):
    geopandas = pytest.importorskip("geopandas")
    catalog = catalog_of((north_up(0, 0, 1), (10, 10), None), (north_up(0, 0, 1), (10, 20), None))
    path = catalog.save(tmp_path / "c.parquet")
    assert geopandas.read_parquet(path).geometry.isna().all()
    assert "bbox" not in geo_of(path)[0]["columns"]["geometry"]
    same(
        catalog,
        Catalog.load(path).__class__(
            **{**{f: getattr(Catalog.load(path), f) for f in catalog.__dataclass_fields__}, "root": ""}
        ),
    )
    assert not Catalog.load(path).has_crs


# ---------------------------------------------------------------------- where the files are


def scene(folder):
    for name in ("a/1.tif", "a/2.tif", "b/3.tif"):
        write_tif(folder / name, transform=north_up(500000 + 1000 * int(name[2])))
    return Catalog.scan(folder)


@pytest.mark.parametrize("where", ["c.parquet", "../c.parquet"])
def test_a_catalog_moved_with_its_files_still_finds_them(tmp_path, where):
    (tmp_path / "old").mkdir()
    catalog = scene(tmp_path / "old" / "data")
    catalog.save(tmp_path / "old" / "data" / where)
    shutil.move(tmp_path / "old", tmp_path / "new")
    moved = Catalog.load(tmp_path / "new" / "data" / where)
    moved.check_files()
    assert moved.href(moved.assets[0], 0) == str(tmp_path / "new" / "data" / "a" / "1.tif")


def test_a_catalog_moved_alone_still_finds_its_files(tmp_path):
    catalog = scene(tmp_path / "data")
    (tmp_path / "index").mkdir()
    path = catalog.save(tmp_path / "index" / "c.parquet")
    (tmp_path / "else" / "where").mkdir(parents=True)
    moved = Catalog.load(shutil.move(path, tmp_path / "else" / "where" / "c.parquet"))
    moved.check_files()
    assert moved.root == catalog.root == str(tmp_path / "data")


@pytest.mark.parametrize("scanned", ["disk", "link"])
@pytest.mark.parametrize("saved", ["disk", "link"])
def test_a_folder_reached_by_a_link_is_moved_too(tmp_path, scanned, saved):
    (tmp_path / "disk").mkdir()
    os.symlink(tmp_path / "disk", tmp_path / "link")
    scene(tmp_path / scanned / "data").save(tmp_path / saved / "data" / "c.parquet")
    shutil.move(tmp_path / "disk" / "data", tmp_path / "moved")
    Catalog.load(tmp_path / "moved" / "c.parquet").check_files()


def test_a_relative_folder_is_found_from_elsewhere(tmp_path, monkeypatch):
    scene(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    Catalog.scan("data").save("c.parquet")
    (tmp_path / "x").mkdir()
    monkeypatch.chdir(tmp_path / "x")
    Catalog.load("../c.parquet").check_files()


def test_urls_stay_urls(tmp_path):
    catalog = some_catalog("https://h.org/data", root="https://h.org/data")
    back = Catalog.load(catalog.save(tmp_path / "c.parquet"))
    assert back.root == "https://h.org/data"
    assert back.href(back.assets[0], 1) == "https://h.org/data/path/1.tif"


BAD_PATHS = [
    "../x",
    "/etc/passwd",
    "a/../../b",
    "a/..",
    "..",
    "./../x",
    "C:\\x",
    "C:/x",
    "a\\..\\..\\b",
    "\\\\server\\x",
    "a\0b",
    "",
    "/vsizip/x.zip/y",
    "file:///etc/passwd",
    "vrt:///etc/passwd",
]


@pytest.mark.parametrize("bad", BAD_PATHS)
@pytest.mark.parametrize("kind", ["text", "large text", "dictionary", "view"])
def test_paths_that_lead_out_are_refused_when_opened(tmp_path, bad, kind):
    path = some_catalog(tmp_path).save(tmp_path / "c.parquet")
    words = pa.array(["a/0.tif", bad, None])
    words = {
        "text": lambda: words,
        "large text": lambda: words.cast(pa.large_string()),
        "dictionary": lambda: words.dictionary_encode(),
        "view": lambda: words.cast(pa.string_view()),
    }[kind]()
    with pytest.raises(CatalogError, match=r"leads out of"):
        rewrite(path, path_swir=words)
    # Never, by any way of spelling it, does a row reach beyond the root.
    harmless = rewrite(path, path_swir=pa.array(["~/x", "%2e%2e/x", "..a/b"]))
    assert all(harmless.href(ASSETS[1], r).startswith(str(tmp_path) + "/") for r in range(3))


@pytest.mark.parametrize(
    "template",
    [
        "/etc/passwd",
        "../{path}",
        "{path}/../../x",
        "{path.__class__}",
        "{path[0]}",
        "{nope}",
        "{",
        "{path!r}",
        "{path:>99999999}",
        "{}",
        "{0}",
    ],
)
def test_templates_that_lead_out_are_refused(tmp_path, template):
    path = some_catalog(tmp_path, assets=ASSETS[:1]).save(tmp_path / "c.parquet")
    about = json.loads(pq.read_metadata(path).metadata[b"geodata"])
    about["assets"][0]["href"] = template
    with pytest.raises(CatalogError):
        first_file(rewrite(path, about))


def first_file(catalog):
    return catalog.href(catalog.assets[0], 0)


# ---------------------------------------------------------------------- files that are no catalogs


def rewrite(path, about=None, /, drop=(), **columns):
    """Change a saved catalog as another tool, or a bad disk, would; and open it."""
    table = pq.read_table(path)
    metadata = dict(table.schema.metadata)
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, values)
    table = table.drop_columns(list(drop))
    if about is not None:
        metadata[b"geodata"] = about if isinstance(about, bytes) else json.dumps(about).encode()
    other = Path(path).with_name("other.parquet")
    pq.write_table(table.replace_schema_metadata(metadata), other)
    return Catalog.load(other)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ReadError, match="no catalog at"):
        Catalog.load(tmp_path / "c.parquet")
    with pytest.raises(GeodataError):
        Catalog.load(tmp_path)


@pytest.mark.parametrize("keep", [0, 3, 100, 0.5, -5])
def test_a_truncated_file(tmp_path, keep):
    path = some_catalog(tmp_path).save(tmp_path / "c.parquet")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(ReadError, match=r"cannot read the catalog .*c\.parquet"):
        Catalog.load(path)


def test_other_files(tmp_path):
    text = tmp_path / "notes.parquet"
    text.write_text("not a parquet file, but long enough to hold a footer somewhere")
    with pytest.raises(ReadError, match=r"notes\.parquet"):
        Catalog.load(text)
    pq.write_table(pa.table({"key": ["a"]}), tmp_path / "t.parquet")
    with pytest.raises(CatalogError, match=r"no catalog of geodata.*geodata index"):
        Catalog.load(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    "about",
    [
        b"[]",
        b"5",
        b"null",
        b'"x"',
        b"{",
        b"\xff\xfe",
        b"{}",
        b'{"version": 1}',
        b'{"version": "1"}',
        b'{"version": 99, "root": ".", "lattice": true, "rows": 3, "assets": []}',
    ],
)
def test_metadata_that_says_nothing(tmp_path, about):
    path = some_catalog(tmp_path).save(tmp_path / "c.parquet")
    with pytest.raises(GeodataError, match=r"other\.parquet"):
        rewrite(path, about)


@pytest.mark.parametrize(
    "changes",
    [
        {"root": 5},
        {"root": None},
        {"lattice": "no"},
        {"assets": 5},
        {"assets": [{}]},
        {"assets": ["x"]},
        {"assets": None},
    ],
)
def test_metadata_that_says_nonsense(tmp_path, changes):
    path = some_catalog(tmp_path).save(tmp_path / "c.parquet")
    about = json.loads(pq.read_metadata(path).metadata[b"geodata"])
    with pytest.raises(GeodataError, match=r"other\.parquet"):
        rewrite(path, about | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"bands": {}},
        {"bands": {"state": "raw", "bands": [{"nme": "a"}]}},
        {"bands": {"state": "hot", "bands": []}},
        {"indexes": None},
        {"nodata": "many"},
        {"href": 5},
    ],
)
def test_assets_that_say_nonsense(tmp_path, changes):
    path = some_catalog(tmp_path).save(tmp_path / "c.parquet")
    about = json.loads(pq.read_metadata(path).metadata[b"geodata"])
    about["assets"][0] |= changes
    with pytest.raises(GeodataError):
        rewrite(path, about)


six = pa.list_(pa.float64(), 6)


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param({"affine": pa.array(["a", "b", "c"])}, id="affine text"),
        pytest.param({"affine": pa.array([None, [1, 0, 0, 0, -1, 0], [1, 0, 0, 0, -1, 0]], six)}, id="affine null"),
        pytest.param({"affine": pa.array([[1.0, 0, 0, 0, -1]] * 3)}, id="affine of five"),
        pytest.param({"affine": pa.array([[math.nan, 0, 0, 0, -1, 0]] * 3, six)}, id="affine nan"),
        pytest.param({"affine": pa.array([[0.0] * 6] * 3, six)}, id="affine without area"),
        pytest.param({"height": pa.array([1.5, 2, 3])}, id="half a pixel"),
        pytest.param({"height": pa.array([None, 2, 3])}, id="height null"),
        pytest.param({"width": pa.array([0, 2, 3])}, id="width 0"),
        pytest.param({"row_off": pa.array([None, 2, 3])}, id="origin null"),
        pytest.param({"row_off": pa.array([0.5, 2, 3])}, id="half an offset"),
        pytest.param({"col_off": pa.array([-1, 2, 3])}, id="offset below zero"),
        pytest.param({"key": pa.array(["a", "a", "b"])}, id="a key twice"),
        pytest.param({"key": pa.array(["a", None, "b"])}, id="a key null"),
        pytest.param({"key": pa.array([1, 2, 3])}, id="keys are numbers"),
        pytest.param({"crs": pa.array(["EPSG:999999", UTM, UTM])}, id="unknown crs"),
        pytest.param({"crs": pa.array([None, UTM, UTM])}, id="crs null"),
        pytest.param({"crs": pa.array([5, 6, 7])}, id="crs numbers"),
        pytest.param({"start": pa.array(["x", "y", "z"])}, id="start text"),
        pytest.param(
            {
                "end": pa.array([-5, -6, -7], pa.timestamp("us", "UTC")),
                "start": pa.array([1, 1, 1], pa.timestamp("us", "UTC")),
            },
            id="end before start",
        ),
        pytest.param({"path": pa.array([1, 2, 3])}, id="path numbers"),
        pytest.param({"path": pa.array([b"../x", b"y", b"z"])}, id="path bytes"),
    ],
)
def test_columns_that_are_damaged(tmp_path, columns):
    path = some_catalog(tmp_path).save(tmp_path / "c.parquet")
    with pytest.raises(GeodataError):
        rewrite(path, **columns)


@pytest.mark.parametrize("name", ["key", "affine", "crs", "start", "height", "col_off"])
def test_a_missing_column_is_named(tmp_path, name):
    path = some_catalog(tmp_path).save(tmp_path / "c.parquet")
    with pytest.raises(CatalogError, match=name):
        rewrite(path, drop=[name])


def test_rows_that_are_missing_are_missed(tmp_path):
    path = some_catalog(tmp_path).save(tmp_path / "c.parquet")
    table = pq.read_table(path)
    pq.write_table(table.slice(0, 2), path)
    with pytest.raises(CatalogError, match="2 of 3"):
        Catalog.load(path)


@pytest.mark.parametrize("unit", ["ms", "ns"])
def test_times_in_another_unit_stay_the_same_times(tmp_path, unit):
    """Pandas writes nanoseconds, others milliseconds."""
    catalog = some_catalog(tmp_path, time=[(1.25, 5.0), (-math.inf, 7.5), (0.0, math.inf)])
    path = catalog.save(tmp_path / "c.parquet")
    table = pq.read_table(path)
    changed = rewrite(path, **{n: table[n].cast(pa.timestamp(unit, "UTC")) for n in ("start", "end")})
    assert changed.time.tolist() == catalog.time.tolist()


# ---------------------------------------------------------------------- nothing half-written


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    resource = pytest.importorskip("resource")
    path = some_catalog(tmp_path).save(tmp_path / "c.parquet")
    before = path.read_bytes()
    big = catalog_of(*[(north_up(5e5 + i * 0.37, 5.6e6 + i * 1.7), (10, 10), UTM) for i in range(3000)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20000, hard))
    try:
        with pytest.raises((OSError, GeodataError)):
            big.save(path)
        with pytest.raises((OSError, GeodataError)):
            big.save(tmp_path / "new.parquet")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["c.parquet"]


def test_ctrl_c_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = some_catalog(tmp_path).save(tmp_path / "c.parquet")
    before = path.read_bytes()

    def interrupted(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        some_catalog(tmp_path, 5).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["c.parquet"]


def test_where_nothing_can_be_written(tmp_path):
    with pytest.raises(CatalogError, match=r"folder .*nowhere does not exist"):
        some_catalog(tmp_path).save(tmp_path / "nowhere" / "c.parquet")
    (tmp_path / "folder").mkdir()
    with pytest.raises((OSError, GeodataError)):
        some_catalog(tmp_path).save(tmp_path / "folder")
    assert os.listdir(tmp_path) == ["folder"]


def test_others_may_read_what_was_saved(tmp_path):
    old = os.umask(0o022)
    try:
        path = some_catalog(tmp_path).save(tmp_path / "c.parquet")
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


# ---------------------------------------------------------------------- staleness


def test_files_that_changed_or_went_are_counted(tmp_path):
    catalog = scene(tmp_path)
    catalog.check_files()
    write_tif(tmp_path / "a" / "1.tif", np.zeros((9, 9), np.uint8))
    with pytest.raises(StaleCatalogError, match=r"0 missing, 1 changed of 3 files, first .*a/1\.tif; scan again"):
        catalog.check_files()
    (tmp_path / "b" / "3.tif").unlink()
    loaded = Catalog.load(catalog.save(tmp_path / "c.parquet"))
    with pytest.raises(StaleCatalogError, match=r"1 missing, 1 changed of 3 files"):
        loaded.check_files()
    with pytest.raises(StaleCatalogError, match="1 missing, 0 changed of 1 files"):
        loaded.take([2]).check_files()
    loaded.take([1]).check_files()
    Catalog.scan(tmp_path).check_files()


def test_a_file_of_the_same_size_that_was_touched_is_stale(tmp_path):
    catalog = scene(tmp_path)
    os.utime(tmp_path / "a" / "1.tif", ns=(1, 1))
    with pytest.raises(StaleCatalogError, match="1 changed"):
        catalog.check_files()
    with pytest.raises(StaleCatalogError, match="1 changed"):
        catalog.tile(4).check_files()


# ---------------------------------------------------------------------- size


def test_half_a_million_rows_open_again(tmp_path, capsys):
    n = 500_000
    i = np.arange(n)
    affine = np.column_stack(
        [
            np.full(n, 10.0),
            np.zeros(n),
            300000 + 13.0 * (i % 30000),
            np.zeros(n),
            np.full(n, -10.0),
            5e6 + 100.0 * (i // 30000),
        ]
    )
    catalog = Catalog.from_columns(
        key=[f"item/{k}" for k in range(n)],
        affine=affine,
        shape=np.full((n, 2), 256),
        crs=UTM,
        columns={"path": [f"item/{k}.tif" for k in range(n)]},
        assets=[Asset("{path}", Bands(["b"]), (1,))],
    )
    began = time.perf_counter()
    path = catalog.save(tmp_path / "c.parquet")
    saved = time.perf_counter()
    loaded = Catalog.load(path)
    opened = time.perf_counter()
    with capsys.disabled():
        print(
            f" [500,000 rows: saved in {saved - began:.2f} s, opened in {opened - saved:.2f} s, {path.stat().st_size / 1e6:.0f} MB] ",
            end="",
        )
    assert len(loaded) == n
    assert np.array_equal(loaded.affine, affine)
    assert loaded.grid(n - 1) == catalog.grid(n - 1) and loaded.key[n - 1] == f"item/{n - 1}"
