"""The tables of reBEN: what its files are called, and where its patches lie."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from geodata.bands import Band, Bands
from geodata.catalog import Catalog
from geodata.catalog.arrow import values_of
from geodata.datasets.tables import classes
from geodata.download import Source
from geodata.errors import CatalogError, NoFilesError
from geodata.mgrs import SQUARE, corner_of_tile
from geodata.readers.base import Asset
from geodata.spec import Image, Label, Mask

__all__ = ["CONTENTS", "LANDCOVER", "ORDERS", "S1", "S2", "SOURCES", "TRAPS", "TREE", "assets", "catalog"]

TREE = """\
BigEarthNet-S2/<tile product>/<patch_id>/<patch_id>_{B01,B02,...,B8A,...,B12}.tif
BigEarthNet-S1/<S1 scene>/<s1_name>/<s1_name>_{VV,VH}.tif
Reference_Maps/<tile product>/<patch_id>/<patch_id>_reference_map.tif
metadata.parquet
metadata_for_patches_with_snow_cloud_or_shadow.parquet"""

EXCLUDED = "metadata_for_patches_with_snow_cloud_or_shadow.parquet"

_HOST = "https://zenodo.org/records/10891137/files/"
_FILES = (
    ("BigEarthNet-S2.tar.zst", "md5:2245ed2d1a93f6ce637d839bc856396e", ""),
    ("BigEarthNet-S1.tar.zst", "md5:a55eaa2cdf6a917e296bd6601ec1e348", ""),
    ("Reference_Maps.tar.zst", "md5:95d85a222fa983faddcac51a19f28917", ""),
    ("metadata.parquet", "md5:55687065e77b6d0b0f1ff604a6e7b49c", None),
    (EXCLUDED, "md5:fe31856f4986d446c9468b59d6387c91", None),
)
SOURCES = tuple(Source(file, (_HOST + file,), checksum, into) for file, checksum, into in _FILES)

TRAPS = (
    "Bands of 60 m are 20 x 20 pixels, not 30 x 30 as in the readme of a converter.",
    "Sentinel-1 values are decibels in float32: read as integers they lose all but a few steps.",
    "Reference maps hold raw CORINE codes, of which 13 (and 999, no data) belong to none of the 19 classes.",
    "Class names contain commas. Weights trained with ConfigILM's defaults use the alphabetical order of classes.",
    "The second part is called validation, not val. The three parts touch: there is no zone between them.",
    "The name of the first version of a patch, s2v1_name, states another time in 18 % of rows; join by the columns.",
)

S2 = Bands(replace(b, scale=1e-4, unit="reflectance") for b in Bands.of_sensor("sentinel-2") if b.name != "B10")
S1 = Bands([Band("VV", gsd=10, unit="dB"), Band("VH", gsd=10, unit="dB")], state="dB")
LANDCOVER = classes("clc19")
ORDERS = {"official": LANDCOVER.names, "alphabetical": tuple(sorted(LANDCOVER.names))}

CONTENTS = (
    Image("image", "BigEarthNet-S2", "BigEarthNet-S2/{product}", "Sentinel-2 L2A, digital numbers", S2, (120, 120)),
    Image("image_s1", "BigEarthNet-S1", "BigEarthNet-S1/{s1_scene}", "Sentinel-1 GRD, decibels", S1, (120, 120)),
    Mask(
        "mask", "Reference_Maps", "Reference_Maps/{product}", "CORINE Land Cover 2018 as 19 classes",
        "reference_map", LANDCOVER, chosen=True,
    ),
    Label("label", about="all classes of the patch", columns=("labels",), classes=LANDCOVER),
)  # fmt: skip

PATCH = 1200
"""Side of a patch, m."""

_NAME = r"^S2[AB]_MSIL2A_\d{8}T\d{6}_N\d{4}_R\d{3}_T\d\d[A-Z]{3}_\d\d_\d\d$"
_EXAMPLE = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57"
_COLUMNS = (
    "patch_id", "labels", "split", "country", "s1_name", "s2v1_name", "contains_seasonal_snow", "contains_cloud_or_shadow",
)  # fmt: skip


def catalog(root: Path, *, excluded: bool, lmdb: str | None = None) -> Catalog:
    """Make the catalog of all patches from ``metadata.parquet``, and from the excluded ones if asked for.

    Raises
    ------
    NoFilesError
        If the table of the excluded ones is asked for and not there.
    CatalogError
        If a table is no table, lacks a column, or names a patch in another way.
    """
    rows = _read(root / "metadata.parquet")
    if excluded:
        rows = pa.concat_tables([rows, _read(root / EXCLUDED)])
        rows = rows.take(pc.sort_indices(rows["patch_id"]))  # each table is in this order
        pa.default_memory_pool().release_unused()
    patch = rows["patch_id"]
    if not pc.all(pc.match_substring_regex(patch, _NAME)).as_py():
        raise CatalogError(f"{root / 'metadata.parquet'}: a patch_id is not named as in {_EXAMPLE}")
    tile = pc.utf8_slice_codeunits(patch, -11, -6).dictionary_encode()
    x, y = (_numbers(pc.utf8_slice_codeunits(patch, start, stop)) for start, stop in ((-5, -3), (-2, None)))
    affine, epsg = _places(tile, x, y)
    when = _seconds(pc.utf8_slice_codeunits(patch, 11, 26))
    # All but the last three parts of the name: tile, column and row.
    scene = pc.replace_substring_regex(rows["s1_name"], r"_[^_]+_[^_]+_[^_]+$", "")
    return Catalog.from_columns(
        key=patch,
        affine=affine,
        shape=np.full((len(patch), 2), 120),
        crs=epsg,
        time=np.stack([when, when], axis=1),
        columns={
            **{name: rows[name] for name in _COLUMNS},
            "product": pc.utf8_slice_codeunits(patch, 0, -6).dictionary_encode(),
            "tile": tile,
            "s1_scene": scene.dictionary_encode(),
        },
        assets=[_record(asset, lmdb) for asset in assets()] if lmdb else assets(),
    )


def assets() -> list[Asset]:
    """Return the 15 files of a patch."""
    patch, scene = "{product}/{patch_id}/{patch_id}", "{s1_scene}/{s1_name}/{s1_name}"
    optical = [
        Asset(
            f"BigEarthNet-S2/{patch}_{b.name}.tif", Bands([b]), (1,), int((b.gsd or 10) / 10), "uint16", 0.0, "nodata"
        )
        for b in S2
    ]
    radar = [
        Asset(f"BigEarthNet-S1/{scene}_{b.name}.tif", Bands([b], "dB"), (1,), 1, "float32", None, "nan") for b in S1
    ]
    return [
        *optical,
        *radar,
        Asset(f"Reference_Maps/{patch}_reference_map.tif", Bands(["reference_map"]), (1,), 1, "uint16", 0.0, "nodata"),
    ]


def _record(asset: Asset, lmdb: str) -> Asset:
    """Return an asset as rico-hdl packs it: a record for each patch and modality, a tensor for each band."""
    (band,) = asset.bands
    record = "{patch_id}/" if asset.href.startswith("BigEarthNet-S2") else "{s1_name}/"
    inside = "{patch_id}_reference_map/Data" if band.name == "reference_map" else record + band.name
    return replace(asset, href=lmdb, format="lmdb", inside=inside, layout="h w")


def _read(path: Path) -> pa.Table:
    if not path.is_file():
        raise NoFilesError(
            f"{path} is not there; it lists the patches with snow, cloud or shadow: bring it, or excluded=False"
        )
    try:
        there = pq.read_schema(path).names
        missing = [c for c in _COLUMNS if c not in there]
        if missing:
            raise CatalogError(f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(there)}")
        # Not pyarrow.parquet.read_table: it imports half of the file systems there are.
        # Not pyarrow.parquet.read_table: it imports half of the file systems there are. A group at a time takes less room.
        file = pq.ParquetFile(path, read_dictionary=["split", "country", "labels.list.element"])
        groups = range(file.num_row_groups)
        table = pa.concat_tables(file.read_row_group(i, list(_COLUMNS), use_threads=False) for i in groups)
        pa.default_memory_pool().release_unused()
        return table
    except (pa.ArrowException, OSError) as error:
        raise CatalogError(f"{path} is no table of reBEN: {error}") from None


def _places(
    tile: pa.ChunkedArray, x: NDArray[np.int64], y: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the transforms of patches and their UTM zones (EPSG), from their tile and their column and row in it.

    The grid of a tile starts at the upper left corner of its 100 km square, moved out to a multiple of 60 m, and has steps
    of 1,200 m.
    """
    names = values_of(tile)
    squares = {name: corner_of_tile(name) for name in set(names)}
    epsg, east, north = np.array([squares[name] for name in names], dtype=np.int64).reshape(-1, 3).T
    left = east // 60 * 60 + PATCH * x
    top = -(-(north + SQUARE) // 60) * 60 - PATCH * y
    zero = np.zeros(len(x))
    return np.stack([zero + 10, zero, left, zero, zero - 10, top], axis=1), epsg


def _numbers(texts: pa.ChunkedArray) -> NDArray[np.int64]:
    return values_of(pc.cast(texts, pa.int64()))


def _seconds(texts: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return seconds since 1970 UTC of texts such as 20170613T101031."""
    when = pc.strptime(texts, format="%Y%m%dT%H%M%S", unit="s")
    return values_of(pc.cast(when, pa.int64())).astype(np.float64)
