"""Saved catalogs that are broken on purpose, or made by someone else: an error of geodata, and no path out of the root."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fuzzing import ODD, broken_bytes, broken_json, cases, verdicts, write_all
from makers import north_up, write_tif

from geodata.catalog import Catalog

FORBIDDEN = 201
HREFS = ["../outside.tif", "/etc/passwd", "a/../../outside.tif", "vrt://x", "/vsicurl/http://127.0.0.1:9/x", "<VRTDataset/>", "",
         "file:///x", "C:/x", "a.tif\0", "a\\..\\..\\x", "WMS:http://127.0.0.1:9/?x", "a?://x", "2.tif", "~/x", None, "x" * 7_000]  # fmt: skip
ROOTS = ["/", "..", "../..", "", "http://127.0.0.1:9", "vrt://" + "x", "WMS:http://127.0.0.1:9/?", "<VRTDataset>://", "/vsistdin/",
         "/vsisubfile/0,/etc", "file:///etc", "a\0b", "//", "~", "s3://bucket"]  # fmt: skip


def seed(folder: Path) -> bytes:
    """Three rasters in inside/ and one beside it; a catalog of the three."""
    rng = np.random.default_rng(0)
    for i in range(3):
        place = north_up(500000 + 1000 * i)
        write_tif(folder / "inside" / f"{i}.tif", rng.integers(0, 100, (2, 30, 40)).astype(np.uint8), place, nodata=0)
    write_tif(folder / "outside.tif", np.full((2, 30, 40), FORBIDDEN, np.uint8), north_up())
    return Catalog.scan(folder / "inside").save(folder / "inside" / "catalog.parquet").read_bytes()


def broken_catalog(data: bytes, rng: random.Random) -> bytes:
    """Put odd values in columns or in what the file says about itself, or break bytes."""
    if rng.random() < 0.25:
        return broken_bytes(data, rng)
    table = pq.read_table(io.BytesIO(data))
    said = dict(table.schema.metadata)
    for _ in range(rng.choice((1, 1, 2))):
        how = rng.randrange(5)
        if how == 0:
            said[b"geodata"] = broken_json(json.dumps(about_of(said)).encode(), rng)
        elif how == 1:
            about = about_of(said)
            about["root"] = rng.choice(ROOTS)
            said[b"geodata"] = json.dumps(about).encode()
        elif how == 2:
            place = rng.randrange(table.num_columns)
            table = table.set_column(place, table.column_names[place], odd_column(table.num_rows, rng))
        elif how == 3:
            table = table.set_column(
                table.column_names.index("path"), "path", pa.array(rng.choices(HREFS, k=table.num_rows))
            )
        else:
            odd_assets(said, rng)
    if table.nbytes < 10_000 and rng.random() < 0.05:
        table = many_rows(table, said)
    out = io.BytesIO()
    try:
        pq.write_table(table.replace_schema_metadata(said), out)
    except pa.ArrowException:
        return data[:-9]
    return out.getvalue()


def odd_assets(said: dict[bytes, bytes], rng: random.Random) -> None:
    about = about_of(said)
    odd = (
        *HREFS,
        *ODD,
        -1,
        1.5,
        [0],
        [9],
        [-1],
        [],
        [1, 1],
        "object",
        "complex64",
        "float32",
        "nan",
        "1e999",
        {},
        True,
    )
    for asset in about.get("assets") or []:
        if isinstance(asset, dict):
            asset[rng.choice(("href", "ratio", "dtype", "validity", "nodata", "indexes"))] = rng.choice(odd)
    said[b"geodata"] = json.dumps(about).encode()


def many_rows(table: pa.Table, said: dict[bytes, bytes]) -> pa.Table:
    """Make a small file of many rows."""
    table = pa.concat_tables([table.take([0] * 1000)] * 200).combine_chunks()
    said[b"geodata"] = json.dumps(about_of(said) | {"rows": len(table)}).encode()
    return table


def about_of(said: dict[bytes, bytes]) -> dict[str, Any]:
    try:
        about = json.loads(said[b"geodata"])
    except (ValueError, RecursionError):
        return {}
    return about if isinstance(about, dict) else {}


def odd_column(n: int, rng: random.Random) -> pa.Array:
    return rng.choice(
        (
            pa.nulls(n),
            pa.array([rng.choice((0.0, -1.0, 1e308, float("nan"), float("inf"), 0.5)) for _ in range(n)]),
            pa.array([rng.choice((0, -1, 2**31, 2**62)) for _ in range(n)]),
            pa.array(
                [
                    rng.choice(("", "x", "EPSG:32633", "EPSG:999999", "IAU_2015:30100", "+proj=nope", "\0"))
                    for _ in range(n)
                ]
            ),
            pa.array([b"\xff"] * n),
            pa.array([[1.0] * 6] * n),
            pa.array(
                [[rng.choice((0.0, 1.0, 1e300, float("nan"))) for _ in range(6)] for _ in range(n)],
                pa.list_(pa.float64(), 6),
            ),
            pa.array([{"a": 1}] * n),
            pa.array([rng.choice((-(2**63), 0, 2**63 - 1)) for _ in range(n)], pa.timestamp("us", "UTC")),
            pa.array([True] * n),
        )
    )


@pytest.mark.parametrize("n", [200, pytest.param(5000, marks=pytest.mark.slow)])
def test_broken_catalogs(workers, tmp_path, n):
    whole = seed(tmp_path)
    for start in range(0, n, 500):
        made = cases([whole], broken_catalog, min(n, 500), start)
        said = verdicts(workers, "catalog", tmp_path / "inside", write_all(tmp_path / "inside", made, ".parquet"))
        assert said[""] and said["CatalogError"] and said["ReadError"]
