"""Anybody's data cubes, NetCDF or Zarr, as a dataset: one row per date."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from geodata.bands import Band, Bands
from geodata.catalog import Catalog
from geodata.catalog.arrow import number_array, text_array
from geodata.catalog.paths import find_files
from geodata.crs import as_crs
from geodata.datasets.raster import RasterDataset
from geodata.errors import BandsError, CatalogError, GridError, NoFilesError
from geodata.grid import Grid
from geodata.readers.base import Asset
from geodata.readers.cube import Cube, CubeVariable, describe_cube

__all__ = ["XarrayDataset"]

ENDINGS = (".nc", ".nc4", ".zarr")


class XarrayDataset(RasterDataset):
    """Cubes ``[time, band, y, x]`` in NetCDF-4 files or Zarr folders, as xarray writes them; one row per date.

    Windows are read straight from the file, without loading the cube and without dask; ``ds.series()`` makes one item of
    all dates. Axes may be in any order; time and band may be missing. Variables without a band axis are one band each,
    called by their name; those of one with a band axis are called by its coordinate, or ``<variable>_1``, ``<variable>_2``...
    Values are as stored: scale, offset and the fill value are those of the file, and pixels of the fill value are not valid.

    Parameters
    ----------
    paths : file, folder, glob, or list of these
    variables : names of the variables to read, or None for all that have rows and columns
        Variables with and without dates may be mixed: the latter show on every date.
    crs : anything that names a CRS, for cubes that carry none
    options : of `RasterDataset`: ``bands``, ``categorical``, ``classes``, ``dtype``, ``name``, ``transforms``...

    Raises
    ------
    NoFilesError, ReadError
        If there is no cube, or it cannot be opened.
    GridError, CRSError
        If its pixels are not evenly spaced, or variables lie on different grids.
    CatalogError
        If a variable does not exist, has other axes than time, band, rows and columns, or dates cannot be told.

    Examples
    --------
    ``XarrayDataset("cube.zarr", variables=["NDVI"]).series()[0]["image"]`` is (T, 1, H, W).
    """

    def __init__(self, paths: Any, *, variables: Sequence[str] | None = None, crs: Any = None, **options: Any) -> None:
        unused = {"pattern", "band_names", "resume", "on_error", "progress"} & set(options)
        if unused:
            raise CatalogError(f"{sorted(unused)[0]}= is of folders of rasters; a cube says itself what is in it")
        if isinstance(variables, str):
            raise CatalogError(
                f"variables={variables!r} is one text; give a list of names, for example [{variables!r}]"
            )
        files = _cubes(paths)
        root = os.path.commonpath([os.path.dirname(os.path.abspath(f)) for f in files])
        parts = [_catalog(f, root, variables, as_crs(crs)) for f in files]
        super().__init__(parts[0] if len(parts) == 1 else parts[0].concat(*parts[1:]), **options)


def _cubes(paths: Any) -> list[str]:
    """Return the cubes that are named: a Zarr folder is one, whatever is in it."""
    asked = [str(paths)] if isinstance(paths, (str, Path)) else [str(p) for p in paths]
    found = []
    for entry in asked:
        if entry.rstrip("/").endswith(".zarr") and os.path.isdir(entry):
            found.append(entry.rstrip("/"))
        elif os.path.isdir(entry):
            found += sorted(str(p) for p in Path(entry).iterdir() if p.suffix in ENDINGS)
        else:
            root, files, _ = find_files(entry, ENDINGS)
            found += [os.path.join(root, f) for f in files]
    if not found:
        raise NoFilesError(f"no cube in {', '.join(asked)}; wanted a .nc file or a .zarr folder")
    return found


def _catalog(path: str, root: str, wanted: Sequence[str] | None, crs: Any) -> Catalog:
    cube = describe_cube(path)
    known = {v.name: v for v in cube.variables}
    missing = [name for name in wanted or () if name not in known]
    if missing:
        raise CatalogError(f"{path} has no variable {missing[0]!r} with rows and columns; it has {', '.join(known)}")
    chosen = [known[name] for name in (known if wanted is None else wanted)]
    if not chosen:
        raise CatalogError(f"{path} has no variable with rows and columns")
    dated = cube.time is not None and any(cube.time in v.dims for v in chosen)
    times = cube.times if dated else None
    count = 1 if times is None else len(times)
    grid = _grid(path, cube, chosen, crs)
    href = os.path.relpath(os.path.abspath(path), root).replace(os.sep, "/")
    texts = [] if times is None else np.datetime_as_string((times * 1e6).astype("datetime64[us]"), unit="s").tolist()
    return Catalog.from_columns(
        key=[f"{href}@{text}" for text in texts] or [href],
        affine=np.tile(tuple(grid.transform)[:6], (count, 1)),
        shape=np.tile(grid.shape, (count, 1)),
        crs=grid.crs,
        time=None if times is None else np.stack([times, times], axis=1),
        columns={"path": text_array([href] * count), "date": number_array(np.arange(count, dtype=np.int64))},
        assets=[_asset(path, cube, variable) for variable in chosen],
        root=root,
    )


def _grid(path: str, cube: Cube, chosen: Sequence[CubeVariable], crs: Any) -> Grid:
    shapes = {(v.shape[v.dims.index(cube.y or "")], v.shape[v.dims.index(cube.x or "")]) for v in chosen}
    if len(shapes) > 1:
        raise GridError(f"{path}: its variables have {sorted(shapes)} rows and columns; read them as several datasets")
    if cube.grid is None:
        if crs is not None:
            raise GridError(f"{path} has no coordinates along rows and columns, so a CRS says nothing of where it lies")
        return Grid(shapes.pop(), (1, 0, 0, 0, 1, 0), None)
    own = cube.grid.crs
    return cube.grid if own is not None or crs is None else Grid(cube.grid.shape, cube.grid.transform, crs)


def _asset(path: str, cube: Cube, variable: CubeVariable) -> Asset:
    words = {cube.time: "t={date}", cube.band: "c", cube.y: "h", cube.x: "w"}
    layout = [
        words.get(dim) if dim in words else "1" if length == 1 else None
        for dim, length in zip(variable.dims, variable.shape, strict=True)
    ]
    if None in layout:
        odd = variable.dims[layout.index(None)]
        raise CatalogError(
            f"{path}: nothing says what the axis {odd!r} of {variable.name} is; give it dates or names of bands as its coordinate, "
            "or choose others with variables="
        )
    nan = variable.dtype.startswith("float")
    return Asset(
        "{path}",
        Bands(_bands(path, cube, variable)),
        tuple(range(1, 1 + (variable.shape[variable.dims.index(cube.band)] if cube.band in variable.dims else 1))),
        1,
        variable.dtype,
        variable.nodata,
        "nodata" if variable.nodata is not None else "nan" if nan else "all",
        "cube",
        variable.name,
        " ".join(str(word) for word in layout),
    )


def _bands(path: str, cube: Cube, variable: CubeVariable) -> list[Band]:
    more = {"unit": variable.unit, "scale": variable.scale, "offset": variable.offset}
    if cube.band not in variable.dims:
        return [Band(variable.name, **more)]  # type: ignore[arg-type]  # each is of its kind
    count = variable.shape[variable.dims.index(cube.band)]
    names = cube.names or tuple(f"{variable.name}_{i + 1}" for i in range(count))
    if len(set(names)) < count:
        raise BandsError(f"{path}: bands of {variable.name} have the same name: {names[:8]}")
    waves = [None] * count if cube.wavelengths is None else cube.wavelengths.tolist()
    return [Band(n, wavelength=w, **more) for n, w in zip(names, waves, strict=True)]  # type: ignore[arg-type]  # each is of its kind
