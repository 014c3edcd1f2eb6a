"""Reads hostile files in children that may not take more than so much memory and time. Started by `fuzzing.Workers`.

One line of JSON in: what to do, and on which files. One line out: what became of each: "" for a right answer, the name of a
geodata error, or a text that begins with "!" and says what is wrong.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import select
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any

import fiona
import numpy as np
import rasterio
import shapely
import tifffile
from rasterio.windows import Window

from geodata.catalog import Catalog
from geodata.datasets import RasterDataset
from geodata.errors import GeodataError
from geodata.readers import gdal, ogr, raster, vector

MEMORY = 1 << 30
SECONDS = 20
FORBIDDEN = 201
"""What every pixel and every attribute outside of the folder holds, and nothing inside."""


def windows(height: int, width: int) -> list[tuple[int, int, int, int]]:
    h, w = min(height, 40), min(width, 40)
    found = [(0, 0, h, w), (height - h, width - w, h, w), (height // 2, width // 3, 1, min(9, width - width // 3))]
    return [*found, (0, 0, height, width)] if height * width <= 1 << 22 else found


def check_raster(path: str) -> str:
    """Describe and read through both ways; compare with rasterio."""
    said = ""
    for reader in (raster, gdal):
        try:
            header = reader.describe(path)
        except GeodataError as error:
            said = type(error).__name__
            continue
        bands = header.indexes[:3] + header.indexes[3:][-1:]
        for window in windows(*header.grid.shape):
            try:
                got = reader.read(
                    path, window, bands, validity=header.validity, nodata=header.nodata, dtype=header.dtype
                )
            except GeodataError as error:
                said = type(error).__name__
                continue
            wrong = differs(path, window, bands, got)
            if wrong:
                return f"!{reader.__name__} {window}: {wrong}"
    return said


def check_vrt(path: str) -> str:
    """As `check_raster`; no pixel may be one of those outside of the folder."""
    said = check_raster(path)
    try:
        header = gdal.describe(path)
        for window in windows(*header.grid.shape):
            pixels = gdal.read(path, window, header.indexes, validity="all").data
            if (pixels == FORBIDDEN).mean() > 0.2:  # a few may come from a scale that was broken
                return f"!{window}: pixels from outside"
    except GeodataError as error:
        return said if said.startswith("!") else type(error).__name__
    return said


def differs(path: str, window: tuple[int, int, int, int], bands: tuple[int, ...], got: Any) -> str:
    row, col, height, width = window
    if got.data.shape != (len(bands), height, width) or got.valid.shape != (height, width):
        return f"shapes {got.data.shape} and {got.valid.shape}"
    try:
        with rasterio.open(path) as src:
            where = Window(col, row, width, height)
            out = np.full(got.data.shape, 0 if src.nodata is None else src.nodata).astype(src.dtypes[0])
            data = src.read(list(bands), window=where, out=out)  # of a broken VRT, GDAL leaves pixels as they were
            valid = src.read_masks(list(bands), window=where).all(axis=0)
    except (rasterio.errors.RasterioError, OSError):
        return ""  # it takes a whole block to see that one is damaged: what is read of it may still be right
    same = data.dtype == got.data.dtype and np.array_equal(data, got.data, equal_nan=data.dtype.kind == "f")
    if not same and sound(path, window, bands, data):
        return "other pixels than rasterio"
    if same and not path.endswith(".vrt") and (got.valid & ~valid).any():  # warped anew, GDAL's mask is of other pixels
        return "observed what rasterio masks"
    return ""


def sound(path: str, window: tuple[int, int, int, int], bands: tuple[int, ...], data: Any) -> bool:
    """Whether tifffile agrees with rasterio. Of a damaged block GDAL hands out memory that was never written to."""
    row, col, height, width = window
    try:
        pixels = tifffile.imread(path, key=0)
    except Exception:  # noqa: BLE001 - it raises whatever its codecs do
        return False
    if pixels.ndim == 3 and pixels.shape[2] < pixels.shape[0]:
        pixels = np.moveaxis(pixels, 2, 0)
    pixels = pixels.reshape(-1, *pixels.shape[-2:])[[b - 1 for b in bands], row : row + height, col : col + width]
    return np.array_equal(pixels, data, equal_nan=data.dtype.kind == "f")


def check_vector(path: str) -> str:
    """Read every layer with two of its columns, by pyogrio and by fiona; compare with fiona used plainly."""
    try:
        for name in ogr.list_layers(path):
            info = ogr.describe_layer(path, name)
            columns = [c for c, kind in info.fields.items() if kind in ("int", "float", "str")][:2]
            wanted = features(path, name, columns)
            for here in (True, False):
                ogr._pyogrio_is_here = lambda here=here: here
                wrong = differ(ogr.read_layer(info, columns), wanted, columns)
                if wrong:
                    return f"!{name}, {'pyogrio' if here else 'fiona'}: {wrong}"
            vector.open_layer(path, name, columns=columns)
    except GeodataError as error:
        return type(error).__name__
    return ""


def features(path: str, name: str, columns: list[str]) -> tuple[Any, list[list[Any]]] | None:
    """Shapes and values by fiona; None if it fails, as it may on a damaged file."""
    from shapely.geometry import shape

    try:
        with fiona.open(path, layer=name, include_fields=columns, allow_unsupported_drivers=True) as source:
            found = list(source)
        shapes = [None if f.geometry is None else shape(f.geometry) for f in found]
        return shapely.force_2d(np.array(shapes, dtype=object)), [[f.properties[c] for f in found] for c in columns]
    except Exception:  # noqa: BLE001 - also a SystemError, where a message of GDAL is no text
        return None


def differ(got: tuple[Any, dict[str, Any]], wanted: tuple[Any, list[list[Any]]] | None, columns: list[str]) -> str:
    if wanted is None:
        return ""
    if (
        len(got[0]) != len(wanted[0])
        or not shapely.equals_identical(got[0], wanted[0])[~shapely.is_missing(got[0])].all()
    ):
        return "other shapes than fiona"
    if (shapely.is_missing(got[0]) != shapely.is_missing(wanted[0])).any():
        return "shapes where fiona has none"
    for column, values in zip(columns, wanted[1], strict=True):
        mine = got[1][column].tolist()
        if [None if v != v else v for v in values] != [None if v != v else v for v in mine]:
            return f"other values of {column} than fiona"
        if FORBIDDEN in mine or str(FORBIDDEN) in mine:
            return "values from outside"
    return ""


def check_catalog(path: str) -> str:
    """Load a catalog and use it; no path may leave its root."""
    try:
        catalog = Catalog.load(path)
        if len(catalog) > 100_000:
            return f"!{len(catalog)} rows"
        for asset in catalog.assets:
            for row in range(min(len(catalog), 20)):
                href = catalog.href(asset, row)
                if href is None or href.startswith(("http://", "https://", "s3://", "gs://", "az://")):
                    continue
                root = os.path.realpath(catalog.root)
                if not catalog.root.startswith("/") or os.path.commonpath([root, os.path.normpath(href)]) != root:
                    return f"!{href} leaves {catalog.root}"
        catalog.search((-180, -90, 180, 90), crs="OGC:CRS84")
        catalog.grid(0), catalog.interval(0), catalog.crs, catalog.key
        if catalog.root.startswith(os.path.dirname(path)) and catalog.shape[0].prod() < 1 << 22:
            sample = RasterDataset(catalog, dtype=None)[0]
            if (sample["image"] == FORBIDDEN).any():
                return "!pixels from outside"
    except GeodataError as error:
        return type(error).__name__
    return ""


CHECKS: dict[str, Callable[[str], str]] = {
    "raster": check_raster,
    "vrt": check_vrt,
    "vector": check_vector,
    "catalog": check_catalog,
}


def child(check: Callable[[str], str], paths: list[str], first: int, out: int) -> None:
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for i in range(first, len(paths)):
        os.write(out, (json.dumps([i, None]) + "\n").encode())
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            said = check(paths[i])
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is no error of geodata
            said = f"!{type(error).__name__}: {error}"[:500]
        os.write(out, (json.dumps([i, said]) + "\n").encode())
    os._exit(0)


def run(check: Callable[[str], str], paths: list[str]) -> list[str]:
    """Return what became of each file; a child that dies is replaced and the next file goes on."""
    said = [""] * len(paths)
    first = 0
    while first < len(paths):
        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(read)
            child(check, paths, first, write)
        os.close(write)
        at, late = first, False
        with os.fdopen(read) as lines:
            while not late:
                late = not select.select([lines], [], [], 3 * SECONDS)[0]
                line = "" if late else lines.readline()
                if not line:
                    break
                at, text = json.loads(line)
                said[at] = "!nothing" if text is None else text
        if late:
            os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        if said[at] == "!nothing":
            said[at] = "!hangs" if late else f"!ends the process, status {status}"
        elif status:
            said[at] = said[at] or f"!ends the process afterwards, status {status}"
        first = at + 1
    return said


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    import pyogrio.raw  # noqa: F401 - here, so that no child has to

    with rasterio.Env(GDAL_CACHEMAX=64), fiona.Env():
        pass
    answers = os.dup(1)
    os.dup2(2, 1)
    for line in sys.stdin:
        what, folder, paths = json.loads(line)
        os.chdir(folder)
        os.write(answers, (json.dumps(run(CHECKS[what], paths)) + "\n").encode())


if __name__ == "__main__":
    main()
