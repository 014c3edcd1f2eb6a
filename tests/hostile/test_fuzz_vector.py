"""GeoPackages, GeoJSON, shapefiles and the like, broken on purpose: an error of geodata, or what fiona reads."""

from __future__ import annotations

import random
import shutil
import sqlite3
from pathlib import Path

import fiona
import pytest
from fuzzing import broken_bytes, broken_json, cases, verdicts, write_all
from shapely.geometry import Point, mapping

ENDS = (".shp", ".shx", ".dbf", ".prj", ".cpg")


def write_layer(path: Path, driver: str) -> bytes:
    """Seven polygons, one with a hole, and values with gaps."""
    fields = {"crop": "str:20", "number": "int", "area": "float"}
    path.parent.mkdir(parents=True, exist_ok=True)
    with fiona.open(
        path, "w", driver=driver, crs="EPSG:32633", schema={"geometry": "Polygon", "properties": fields}
    ) as file:
        for i in range(7):
            shape = Point(500000 + 100 * i, 5600000).buffer(60 + i)
            shape = shape.difference(Point(500000, 5600000).buffer(20))
            values = {"crop": f"crop {i % 3}", "number": i or None, "area": shape.area}
            file.write({"geometry": mapping(shape), "properties": values})
    return path.read_bytes()


STATEMENTS = (
    "UPDATE layer SET geom = zeroblob(100) WHERE fid = 2",
    "UPDATE layer SET geom = substr(geom, 1, 60) WHERE fid = 2",
    "UPDATE layer SET geom = NULL",
    "UPDATE layer SET number = 'text', area = x'00ff' WHERE fid > 3",
    "UPDATE layer SET crop = char(0) || char(55296)",
    "UPDATE layer SET crop = CAST(x'ff00fe' AS TEXT)",
    "UPDATE gpkg_geometry_columns SET srs_id = 77",
    "UPDATE gpkg_geometry_columns SET geometry_type_name = 'POINT'",
    "UPDATE gpkg_geometry_columns SET column_name = 'none'",
    "UPDATE gpkg_contents SET min_x = 'nan', max_x = 9e999",
    "UPDATE gpkg_contents SET min_x = NULL",
    "UPDATE gpkg_contents SET table_name = 'gpkg_contents'",
    "UPDATE gpkg_contents SET data_type = 'attributes'",
    "UPDATE gpkg_ogr_contents SET feature_count = 1000000000000",
    "UPDATE gpkg_ogr_contents SET feature_count = -1",
    "UPDATE gpkg_spatial_ref_sys SET definition = 'GEOGCS[' || hex(zeroblob(10000))",
    "UPDATE gpkg_spatial_ref_sys SET definition = 'undefined', organization = 'x', organization_coordsys_id = 5",
    "DROP TABLE gpkg_geometry_columns",
    "DROP TABLE gpkg_spatial_ref_sys",
    "DROP TABLE gpkg_contents",
    "DROP TABLE rtree_layer_geom",
    "DELETE FROM rtree_layer_geom_node",
    "DELETE FROM layer",
    "DELETE FROM gpkg_geometry_columns",
    "ALTER TABLE layer RENAME COLUMN crop TO number2",
    "ALTER TABLE layer ADD COLUMN big TEXT AS (hex(zeroblob(900000000)))",
    "ALTER TABLE layer ADD COLUMN many INTEGER",
    "ALTER TABLE gpkg_contents RENAME TO other; CREATE VIEW gpkg_contents AS SELECT * FROM other",
    "ALTER TABLE layer RENAME TO under; CREATE VIEW layer AS SELECT a.* FROM under a, under, under, under, under, under, under, under, "
    "under, under, under, under, under, under, under, under, under, under, under, under, under, under, under",
    "ALTER TABLE layer RENAME TO under; CREATE VIEW layer AS WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r) "
    "SELECT x AS fid, geom, crop, number, area FROM r, under",
    "ALTER TABLE gpkg_ogr_contents RENAME TO o; CREATE VIEW gpkg_ogr_contents AS WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 "
    "FROM r) SELECT 'layer' AS table_name, x AS feature_count FROM r",
    "CREATE VIEW beside AS SELECT * FROM layer",
    "CREATE TRIGGER t AFTER INSERT ON layer BEGIN DELETE FROM layer; END",
    "PRAGMA user_version = 99999",
    "PRAGMA application_id = 0",
    "PRAGMA journal_mode = WAL",
)  # fmt: skip


def broken_database(data: bytes, rng: random.Random, scratch: Path) -> bytes:
    """Run odd statements on a GeoPackage, or break bytes."""
    if rng.random() < 0.5:
        return broken_bytes(data, rng)
    file = scratch / "scratch.gpkg"
    file.write_bytes(data)
    database = sqlite3.connect(file)
    for statement in rng.sample(STATEMENTS, rng.choice((1, 1, 2))):
        try:
            for one in statement.split(";"):
                database.execute(one)
        except sqlite3.Error:
            continue
    database.commit()
    database.close()
    out = file.read_bytes()
    file.unlink()
    return out


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("driver", "n"),
    [("GeoJSON", 120), ("FlatGeobuf", 200), ("GPKG", 80)]
    + [pytest.param(driver, 2000, marks=SLOW) for driver in ("GeoJSON", "FlatGeobuf", "GPKG")],
)
def test_broken_layers(workers, tmp_path, driver, n):
    scratch, folder = tmp_path / "scratch", tmp_path / "cases"
    end = {"GeoJSON": ".geojson", "FlatGeobuf": ".fgb", "GPKG": ".gpkg"}[driver]
    whole = write_layer(scratch / f"layer{end}", driver)
    breaks = {
        "GeoJSON": broken_json,
        "FlatGeobuf": broken_bytes,
        "GPKG": lambda data, rng: broken_database(data, rng, scratch),
    }
    for start in range(0, n, 500):
        made = cases([whole], breaks[driver], min(n, 500), start)
        said = verdicts(workers, "vector", folder, write_all(folder, made, end))
        assert said[""] and said["ReadError"]


@pytest.mark.parametrize("n", [200, pytest.param(2000, marks=SLOW)])
def test_broken_shapefiles(workers, tmp_path, n):
    write_layer(tmp_path / "scratch" / "layer.shp", "ESRI Shapefile")
    parts = {end: (tmp_path / "scratch" / f"layer{end}").read_bytes() for end in ENDS}
    for start in range(0, n, 500):
        folder = tmp_path / "cases" / str(start)
        folder.mkdir(parents=True)
        paths = []
        for i in range(min(n, 500)):
            rng = random.Random(f"{start}:{i}")
            paths.append(folder / f"{i:05}.shp")
            broken = rng.choice(ENDS[:3] * 3 + ENDS[3:])
            for end, data in parts.items():
                paths[-1].with_suffix(end).write_bytes(broken_bytes(data, rng) if end == broken else data)
        said = verdicts(workers, "vector", folder, paths)
        assert said[""] and said["ReadError"]
        shutil.rmtree(folder)
