"""Look at files: one item or a box in any CRS as a picture, outlines on top, a spectrum beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from geodata.bands import Bands
from geodata.datasets import RasterDataset
from geodata.errors import BandsError, NoFilesError, QueryError
from geodata.grid import Grid, check_bounds
from geodata.readers.raster import read as read_raster
from geodata.readers.vector import open_layer
from geodata.view.drawing import draw_outlines, draw_spectrum, save_png
from geodata.view.picture import composite, to_numpy
from geodata.view.plot import draw_image, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from geodata.catalog import Catalog

__all__ = ["VECTOR_SUFFIXES", "Preview", "draw_preview", "empty_bands", "open_catalog", "read_item"]

VECTOR_SUFFIXES = (".gpkg", ".shp", ".geojson", ".json", ".fgb", ".gml", ".kml", ".zip")
LONGEST = 1024
"""Pixels along the longer side of a picture; larger items are read coarser."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What to draw.

    Parameters
    ----------
    bands : one or three names, common names or wavelengths in nm, or None for a sensible choice
    item : number or key of an item, or None for the first
    bounds : (left, bottom, right, top) in units of ``crs``, instead of an item
    crs, res, time : of ``bounds``
    vector : file whose outlines are drawn
    spectrum : bool
    at : (row, column) of one pixel of the picture for the spectrum, or None for all
    percent : (low, high) percentiles that become black and white
    pattern, sensor : for the files, as in `RasterDataset`
    """

    bands: tuple[str, ...] | None = None
    item: str | None = None
    bounds: tuple[float, ...] | None = None
    crs: str | None = None
    res: float | None = None
    time: Any = None
    vector: Path | None = None
    spectrum: bool = False
    at: tuple[int, int] | None = None
    percent: tuple[float, float] = (2, 98)
    pattern: str | None = None
    sensor: str | None = None


def draw_preview(paths: Sequence[str], out: Path, wanted: Preview) -> list[str]:
    """Draw files to a PNG and return what there is to say about it.

    Raises
    ------
    QueryError
        If an item and a box are both asked for, or the item does not exist.
    """
    if wanted.item is not None and wanted.bounds is not None:
        raise QueryError("preview draws either --item or --bounds, got both")
    if not out.parent.is_dir():
        raise NoFilesError(f"cannot write {out.name}: the folder {out.parent} does not exist")
    whole = RasterDataset(_one(paths), pattern=wanted.pattern, sensor=wanted.sensor, dtype=None)
    row = _row(whole.catalog, wanted.item)
    bands = bands_of(whole)
    chosen, title = composite(bands, len(bands), wanted.bands)
    names = [bands.names[i] for i in chosen]
    sample = _read(RasterDataset(whole.catalog, bands=names, dtype=None), wanted, row)
    figure, axes = _axes(sample["grid"], wanted.spectrum)
    draw_image(axes[0], sample, bands=names, percent=wanted.percent)
    axes[0].set_title(f"{short(sample['key'])}\n{title}", fontsize=10)
    notes = [f"{out}: {sample['key']}, {title}; {_observed(sample)}"]
    if wanted.vector is not None:
        notes.append(_overlay(axes[0], wanted.vector, sample["grid"]))
    if wanted.spectrum:
        notes += _spectrum(axes, whole, wanted, row)
    save_png(figure, out)
    return notes


def open_catalog(path: str, *, pattern: str | None = None, sensor: str | None = None) -> Catalog:
    """Return the catalog of a raster or vector file, a folder, or a saved catalog."""
    from geodata.catalog import Catalog

    suffix = Path(path).suffix.lower()
    if suffix == ".parquet":
        return Catalog.load(path)
    if suffix in VECTOR_SUFFIXES:
        from geodata.datasets import VectorDataset

        catalog: Catalog = VectorDataset(path).catalog
        return catalog
    return Catalog.scan(path, pattern=pattern, bands=None if sensor is None else Bands.of_sensor(sensor))


def _one(paths: Sequence[str]) -> Any:
    """A saved catalog is given alone, files and folders together."""
    return paths[0] if len(paths) == 1 else list(paths)


def bands_of(ds: Any) -> Bands:
    """Return the bands of a dataset of images."""
    bands = ds.bands
    if not isinstance(bands, Bands):
        raise BandsError(f"{type(ds).__name__} makes no image, so it has no bands")
    return bands


def empty_bands(ds: Any, items: int = 8) -> list[str]:
    """Return the bands that hold nodata only, in any of the first items.

    A pixel counts as observed where all bands asked for are; hyperspectral products with empty bands (water vapour)
    have no such pixel until those are left out. Nothing is read if some pixel of the first item is observed.
    """
    catalog = ds.catalog
    if bool(ds[0]["valid"].any()):
        return []
    empty = []
    for row in range(min(items, len(catalog))):
        height, width = catalog.shape[row].tolist()
        for asset in catalog.assets:
            href, n = catalog.href(asset, row), asset.ratio
            if href is None or asset.nodata is None:
                continue
            for index, band in zip(asset.indexes, asset.bands, strict=True):
                top, left = (int(v) // n for v in catalog.origin[row])
                window = (top, left, height // n, width // n)
                if not read_raster(href, window, [index], validity="nodata", nodata=asset.nodata).valid.any():
                    empty.append(band.name)
    return [name for name in ds.bands.names if name in empty]


def coarser_grid(grid: Grid, longest: int = LONGEST) -> Grid:
    """Return a grid of the same place with pixels a whole number of times as large, to fit a picture."""
    n = math.ceil(max(grid.shape) / longest)
    if n == 1:
        return grid
    height, width = (max(1, s // n) for s in grid.shape)
    return Grid((height, width), grid.transform @ Affine.scale(n), grid.crs)


def read_item(ds: Any, row: int) -> dict[str, Any]:
    """Read one whole item, coarser if it is larger than a picture."""
    grid = ds.catalog.grid(row)
    small = coarser_grid(grid)
    sample: dict[str, Any] = ds[row] if small is grid or grid.crs is None else ds.take([row]).read(small)
    return sample


def short(key: str, most: int = 60) -> str:
    """Return the end of a long key: what differs between the items of an archive stands there."""
    return key if len(key) <= most else f"...{key[-most:]}"


def _read(ds: Any, wanted: Preview, row: int) -> dict[str, Any]:
    if wanted.bounds is None:
        return read_item(ds, row)
    res = wanted.res
    if res is None:
        left, bottom, right, top = check_bounds(wanted.bounds)
        res = max(right - left, top - bottom) / LONGEST
    sample: dict[str, Any] = ds.read(wanted.bounds, crs=wanted.crs, res=res, time=wanted.time)
    return sample


def _row(catalog: Catalog, item: str | None) -> int:
    if item is None:
        return 0
    if item in catalog.key:
        return int(catalog.rows_of([item])[0])
    if item.isdigit() and int(item) < len(catalog):
        return int(item)
    raise QueryError(
        f"no item {item!r}; there are {len(catalog)}: 0 to {len(catalog) - 1}, or a key such as {catalog.key[0]!r}"
    )


def _axes(grid: Grid, spectrum: bool) -> tuple[Figure, list[Axes]]:
    height = min(max(7.0 * grid.height / grid.width, 2.5), 12.0)
    figure = new_figure(14.0 if spectrum else 7.5, height + 1.0)
    axes: list[Axes] = list(figure.subplots(1, 2 if spectrum else 1, squeeze=False)[0])
    return figure, axes


def _observed(sample: dict[str, Any]) -> str:
    share = float(to_numpy(sample["valid"]).mean())
    return "every pixel observed" if share == 1 else f"{100 * share:.4g} % of the pixels observed"


def _overlay(ax: Axes, path: Path, grid: Grid) -> str:
    layer = open_layer(path)
    shown = draw_outlines(ax, layer.geometries, layer.crs, grid)
    return f"{shown} of {len(layer)} outlines of {path.name} lie in the picture"


def _spectrum(axes: Sequence[Axes], whole: Any, wanted: Preview, row: int) -> list[str]:
    """Draw the spectrum of all bands that were observed."""
    empty = empty_bands(whole.take([row]))
    bands = [name for name in whole.bands.names if name not in empty]
    if not bands:
        raise QueryError(f"item {whole.catalog.key[row]!r} has no observed pixel, so there is no spectrum to plot")
    sample = _read(RasterDataset(whole.catalog, bands=bands, dtype=None), wanted, row)
    image, valid = to_numpy(sample["image"]), to_numpy(sample["valid"]).astype(bool)
    if wanted.at is not None:
        values = image[:, *_inside(wanted.at, valid)][None]
        axes[0].plot(wanted.at[1], wanted.at[0], "o", markersize=9, markerfacecolor="none", markeredgecolor="#ff0000")
        label = f"pixel at row {wanted.at[0]}, column {wanted.at[1]}"
    else:
        values = image[:, valid].T
        label = f"mean of {len(values):,} pixels"
    draw_spectrum(axes[1], values[:: max(1, len(values) // 100_000)], sample["bands"], label=label)
    return [f"left out {len(empty)} bands without one observed pixel: {', '.join(empty)}"] if empty else []


def _inside(at: tuple[int, int], valid: NDArray[np.bool_]) -> tuple[int, int]:
    row, col = at
    if not (0 <= row < valid.shape[0] and 0 <= col < valid.shape[1]):
        raise QueryError(
            f"--at {row},{col} is outside the picture of {valid.shape[0]} x {valid.shape[1]} pixels (row, column)"
        )
    if not valid[row, col]:
        raise QueryError(f"the pixel at row {row}, column {col} was not observed; choose another")
    return row, col
