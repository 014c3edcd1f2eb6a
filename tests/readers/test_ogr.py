"""Vector files: headers, attributes and geometries; both backends alike; damage is said."""

from __future__ import annotations

import importlib.util
import json
import shutil
import struct
from pathlib import Path

import fiona
import numpy as np
import pyproj
import pytest
import shapely

from geodata.errors import CRSError, NoFilesError, ReadError
from geodata.readers import ogr
from geodata.readers.ogr import KINDS, describe_layer, label_codes, list_layers, read_layer

REAL = [
    "vectors/15_rgi60_glacier_outlines.gpkg",
    "vectors/coutwildrnp.shp",
    "vectors/gre.shp",
    "vectors/grenada.geojson",
    "vectors/naturalearth_lowres.shp",
    "vectors/nybb_16a.zip",
    "vectors/rmnp.geojson",
    "vectors/svn_border.geojson",
    "eolearn_slovenia/LULC.gpkg",
]
HERE = importlib.util.find_spec("pyogrio") is not None
BACKENDS = ["fiona", pytest.param("pyogrio", marks=pytest.mark.skipif(not HERE, reason="pyogrio is not installed"))]


@pytest.fixture(params=BACKENDS)
def backend(request, monkeypatch):
    monkeypatch.setattr(ogr, "_pyogrio_is_here", lambda: request.param == "pyogrio")
    return request.param


def square(x: float, y: float = 0.0, side: float = 1.0) -> dict:
    ring = [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]
    return {"type": "Polygon", "coordinates": [ring]}


def write_json(path: Path, *features: tuple[dict | None, dict]) -> Path:
    rows = [{"type": "Feature", "geometry": g, "properties": p} for g, p in features]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": rows}))
    return path


def write_gpkg(
    path: Path, layer: str, *features: tuple[dict | None, dict], crs="EPSG:32633", geometry="Polygon"
) -> Path:
    kinds = {int: "int", str: "str", float: "float"}
    schema = {"geometry": geometry, "properties": {k: kinds[type(v)] for k, v in features[0][1].items()}}
    with fiona.open(path, "w", driver="GPKG", layer=layer, schema=schema, crs=crs) as dst:
        dst.writerecords([{"type": "Feature", "geometry": g, "properties": p} for g, p in features])
    return path


def copy_shapefile(source: Path, target: Path, leave: tuple[str, ...] = ()) -> Path:
    for suffix in (".shp", ".shx", ".dbf", ".prj"):
        if suffix not in leave:
            shutil.copyfile(source.with_suffix(suffix), target.with_suffix(suffix))
    return target


MIXED = [
    (
        square(0),
        {"i": 1, "big": 2**60 + 1, "f": 1.5, "s": "b", "y": True, "d": "2020-01-02", "t": "2020-01-02T03:04:05Z"},
    ),
    (square(1), {"i": None, "big": None, "f": None, "s": None, "y": None, "d": None, "t": None}),
    (
        None,
        {"i": -3, "big": 2**60 + 3, "f": 0.25, "s": "a", "y": False, "d": "2019-12-31", "t": "2019-01-02T03:04:05Z"},
    ),
]


# ------------------------------------------------------------------------------------------------------------ headers


@pytest.mark.parametrize("name", REAL)
def test_header_says_what_fiona_and_the_coordinates_say(realdata, name):
    path = realdata / name
    info = describe_layer(path)
    with fiona.open(f"/vsizip/{path}" if name.endswith("zip") else path) as source:
        shapes = [shapely.geometry.shape(f.geometry) for f in source]
        assert info.layer == source.name
        assert list(info.fields) == list(source.schema["properties"])
        assert info.crs.to_epsg() == source.crs.to_epsg()
    assert info.count == len(shapes)
    assert info.bounds == pytest.approx(tuple(shapely.total_bounds(shapes)), abs=1e-6)
    assert (info.size, info.mtime) == (path.stat().st_size, path.stat().st_mtime)
    assert list_layers(path) == (info.layer,)


def test_a_format_that_does_not_state_its_count_is_counted(tmp_path):
    rows = [{"type": "Feature", "geometry": square(x), "properties": {"a": x}} for x in range(5)]
    path = tmp_path / "rows.geojsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert describe_layer(path).count == 5


def test_one_layer_with_geometries_is_chosen_among_tables(tmp_path):
    path = write_gpkg(tmp_path / "a.gpkg", "fields", (square(0), {"a": 1}))
    write_gpkg(path, "layer_styles", (None, {"xml": "<x/>"}), geometry="None")
    assert set(list_layers(path)) == {"fields", "layer_styles"}
    assert describe_layer(path).layer == "fields"


def test_several_layers_are_listed_and_none_is_guessed(tmp_path):
    path = write_gpkg(tmp_path / "a.gpkg", "fields", (square(0), {"a": 1}))
    write_gpkg(path, "roads", (square(5), {"a": 1}))
    with pytest.raises(ReadError, match=r"2 layers .*fields, roads.*layer="):
        describe_layer(path)
    assert describe_layer(path, "roads").bounds == (5, 0, 6, 1)
    with pytest.raises(ReadError, match="no layer 'rivers'; its layers are: fields, roads"):
        describe_layer(path, "rivers")


def test_no_crs_is_never_assumed(tmp_path, realdata):
    path = copy_shapefile(realdata / "vectors/coutwildrnp.shp", tmp_path / "a.shp", leave=(".prj",))
    with pytest.raises(CRSError, match=r"a\.shp.*has no CRS.*\.prj"):
        describe_layer(path)


def test_an_undefined_crs_is_no_crs(tmp_path):
    path = write_gpkg(tmp_path / "a.gpkg", "fields", (square(0), {"a": 1}), crs=None)
    with pytest.raises(CRSError, match="CRS"):
        describe_layer(path)


# ----------------------------------------------------------------------------------------------------------- contents


@pytest.mark.skipif(not HERE, reason="pyogrio is not installed")
@pytest.mark.parametrize("name", [*REAL, "mixed"])
def test_both_backends_give_the_same(realdata, tmp_path, monkeypatch, name):
    path = write_json(tmp_path / "mixed.geojson", *MIXED) if name == "mixed" else realdata / name
    info = describe_layer(path)
    columns = [c for c, kind in info.fields.items() if kind in KINDS]
    got = []
    for here in (True, False):
        monkeypatch.setattr(ogr, "_pyogrio_is_here", lambda here=here: here)
        got.append(read_layer(info, columns))
    (shapes, values), (others, more) = got
    assert len(shapes) == len(others) == info.count
    assert shapely.to_wkb(shapes).tolist() == shapely.to_wkb(others).tolist()
    for column in columns:
        assert values[column].dtype == more[column].dtype
        same = [
            a == b or (a != a and b != b) for a, b in zip(values[column].tolist(), more[column].tolist(), strict=True)
        ]
        assert all(same), column


def test_values_keep_their_type_and_gaps_stay_gaps(tmp_path, backend):
    info = describe_layer(write_json(tmp_path / "mixed.geojson", *MIXED))
    assert info.fields == {
        "i": "int",
        "big": "int",
        "f": "float",
        "s": "str",
        "y": "bool",
        "d": "date",
        "t": "datetime",
    }
    shapes, columns = read_layer(info, list(info.fields))
    assert columns["i"].tolist() == [1, None, -3]
    assert columns["big"].tolist() == [2**60 + 1, None, 2**60 + 3]  # float64 would give 2**60 twice
    assert columns["f"].dtype == np.float64
    assert np.isnan(columns["f"][1])
    assert columns["s"].tolist() == ["b", None, "a"]
    assert columns["y"].tolist() == [True, None, False]
    assert columns["d"].tolist() == ["2020-01-02", None, "2019-12-31"]
    assert columns["t"].tolist() == ["2020-01-02T03:04:05+00:00", None, "2019-01-02T03:04:05+00:00"]
    assert [s is None for s in shapes] == [False, False, True]
    whole = describe_layer(write_json(tmp_path / "whole.geojson", MIXED[0], MIXED[2]))
    assert read_layer(whole, ["big"])[1]["big"].dtype == np.int64
    assert read_layer(whole, ["y"])[1]["y"].dtype == np.bool_


def test_label_codes(tmp_path, backend):
    path = write_json(tmp_path / "mixed.geojson", *MIXED)
    assert label_codes(path, column="i") == (-3, 1, None)
    assert label_codes(describe_layer(path), column="big") == (2**60 + 1, 2**60 + 3, None)
    assert label_codes(path, column="s") == ("a", "b", None)
    assert label_codes(path, column="f") == (0.25, 1.5, None)
    assert all(type(v) is int for v in label_codes(path, column="i")[:-1])
    with pytest.raises(ReadError, match="no column 'crop'; its columns are: i, big, f, s, y, d, t"):
        label_codes(path, column="crop")


def test_label_codes_of_real_fields(realdata, backend):
    path = realdata / "eolearn_slovenia/LULC.gpkg"
    with fiona.open(path) as source:
        expected = sorted({f.properties["LULC_ID"] for f in source})
    assert label_codes(path, column="LULC_ID") == tuple(expected)


def test_a_column_that_holds_no_single_values_is_refused(tmp_path):
    path = write_json(tmp_path / "a.geojson", (square(0), {"tags": ["a", "b"], "more": {"x": 1}}))
    with pytest.raises(ReadError, match=r"column 'tags' is of type List\[str\]; only int, float"):
        label_codes(path, column="tags")


def test_heights_and_measures_are_dropped(tmp_path, backend):
    high = {"type": "Polygon", "coordinates": [[[0, 0, 7], [1, 0, 8], [1, 1, 9], [0, 0, 7]]]}
    shapes, _ = read_layer(describe_layer(write_json(tmp_path / "z.geojson", (high, {}))), ())
    assert shapes[0].wkt == "POLYGON ((0 0, 1 0, 1 1, 0 0))"
    shapes, _ = read_layer(describe_layer(write_measured(tmp_path / "m.shp")), ())
    assert [s.wkt for s in shapes] == ["POINT (1 2)", "POINT (2 4)", "POINT (3 6)"]


def write_measured(path: Path) -> Path:
    """Write three points with a measure (shape type 21), by the shapefile specification."""
    shapes = [struct.pack("<i3d", 21, k, 2 * k, 5) for k in (1, 2, 3)]
    body = b"".join(struct.pack(">2i", i, len(s) // 2) + s for i, s in enumerate(shapes, 1))
    index = b"".join(struct.pack(">2i", 50 + 18 * i, 14) for i in range(3))
    for suffix, content in ((".shp", body), (".shx", index)):
        head = struct.pack(">7i", 9994, 0, 0, 0, 0, 0, (100 + len(content)) // 2)
        path.with_suffix(suffix).write_bytes(head + struct.pack("<2i8d", 1000, 21, 1, 2, 3, 6, 0, 0, 5, 5) + content)
    path.with_suffix(".prj").write_text(pyproj.CRS.from_epsg(32633).to_wkt("WKT1_ESRI"))
    return path


def test_records_marked_as_deleted_are_no_damage(tmp_path, realdata, backend):
    path = copy_shapefile(realdata / "vectors/coutwildrnp.shp", tmp_path / "a.shp")
    table = bytearray(path.with_suffix(".dbf").read_bytes())
    header, length = struct.unpack("<2H", table[8:12])
    table[header + 3 * length] = ord("*")
    path.with_suffix(".dbf").write_bytes(table)
    kept = np.delete(np.arange(67), 3)
    names = read_layer(describe_layer(realdata / "vectors/coutwildrnp.shp"), ["NAME"])[1]["NAME"]
    shapes, columns = read_layer(describe_layer(path), ["NAME"])
    assert len(shapes) == 66
    assert columns["NAME"].tolist() == names[kept].tolist()


# ------------------------------------------------------------------------------------------------------------- damage


def test_a_missing_file(tmp_path):
    with pytest.raises(NoFilesError, match=r"nowhere\.gpkg does not exist"):
        describe_layer(tmp_path / "nowhere.gpkg")
    with pytest.raises(ReadError, match=r"nowhere\.zip"):
        describe_layer("/vsizip/nowhere.zip")


def test_a_file_that_is_no_vector_file(tmp_path):
    (tmp_path / "a.gpkg").write_bytes(b"this is a text, not a database")
    with pytest.raises(ReadError, match=r"a\.gpkg as vector data: .*not recognized"):
        describe_layer(tmp_path / "a.gpkg")


def test_no_features(tmp_path):
    with pytest.raises(ReadError, match=r"a\.geojson.*no features"):
        describe_layer(write_json(tmp_path / "a.geojson"))


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.95, 0.999])
@pytest.mark.parametrize("name", ["vectors/coutwildrnp.shp", REAL[0], "vectors/grenada.geojson"])
def test_a_file_cut_short(tmp_path, realdata, name, share):
    source = realdata / name
    path = tmp_path / f"a{source.suffix}"
    if source.suffix == ".shp":
        copy_shapefile(source, path)
    content = source.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ReadError, match=rf"a{source.suffix}.*" + ("empty" if share == 0 else "")):
        describe_layer(path)


@pytest.mark.parametrize("suffix", [".dbf", ".shx"])
def test_a_table_or_index_cut_short(tmp_path, realdata, backend, suffix):
    path = copy_shapefile(realdata / "vectors/coutwildrnp.shp", tmp_path / "a.shp")
    part = path.with_suffix(suffix)
    part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
    with pytest.raises(ReadError, match=r"a\.shp"):
        read_layer(describe_layer(path), ["NAME"])


def test_a_shapefile_without_its_index(tmp_path, realdata):
    path = copy_shapefile(realdata / "vectors/coutwildrnp.shp", tmp_path / "a.shp", leave=(".shx",))
    with pytest.raises(ReadError, match=r"a\.shx"):
        describe_layer(path)


def test_a_shape_that_cannot_be_decoded_is_no_empty_shape(tmp_path, realdata, backend):
    path = copy_shapefile(realdata / "vectors/coutwildrnp.shp", tmp_path / "a.shp")
    index = np.frombuffer(path.with_suffix(".shx").read_bytes()[100:], dtype=">i4").reshape(-1, 2)
    content = bytearray(path.read_bytes())
    start = 2 * int(index[7, 0]) + 8
    content[start + 36 : start + 44] = struct.pack("<2i", 2**30, 2**30)  # parts and points of shape 7
    path.write_bytes(content)
    with pytest.raises(ReadError, match=r"a\.shp.*1 shapes cannot be decoded, first 7"):
        read_layer(describe_layer(path), ())


def test_broken_pages_of_a_database(tmp_path, realdata, backend):
    content = bytearray((realdata / REAL[0]).read_bytes())
    content[150_000:250_000] = np.random.default_rng(0).bytes(100_000)
    path = tmp_path / "a.gpkg"
    path.write_bytes(content)
    with pytest.raises(ReadError, match=r"a\.gpkg.*(malformed|only \d+ of 86 features)"):
        read_layer(describe_layer(path), ["RGIId"])


def test_coordinates_that_are_not_finite(tmp_path, backend):
    path = tmp_path / "a.shp"
    with fiona.open(path, "w", schema={"geometry": "Point", "properties": {"a": "int"}}, crs="EPSG:32633") as dst:
        for x in (1.0, 2.0):
            dst.write(
                {"type": "Feature", "geometry": {"type": "Point", "coordinates": (x, 5.0)}, "properties": {"a": 1}}
            )
    content = bytearray(path.read_bytes())
    content[-8:] = struct.pack("<d", np.inf)
    path.write_bytes(content)
    with pytest.raises(ReadError, match="1 features, first 1, have coordinates that are not finite"):
        read_layer(describe_layer(path), ())
