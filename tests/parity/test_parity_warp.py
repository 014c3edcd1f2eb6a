"""Real files read on other grids, against rasterio's WarpedVRT and against positions computed by pyproj.

Tolerance. Positions are exact in the oracle (GDAL's own default is wrong by up to 0.125 source pixels) and wrong by at most
0.002 here, where it is measured. So on the same grid:

* valid is equal but for one pixel in 10,000, at an edge;
* nearest is equal, but where the exact position lies within 0.125 pixels of the edge of a source pixel (below 1 % of the
  pixels, none in most files);
* interpolated values are equal to half a unit of an integer (the oracle does not round) or 1e-3 of the range in at least
  90 % of the pixels, and to 0.5 % of the range in all.

A target pixel larger than the source's needs a wider kernel. GDAL guesses its width anew for every block, so a pixel's
value would depend on what is read around it; here it is a property of the two grids (XSCALE, YSCALE).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from makers import write_tif
from pyproj import Transformer
from rasterio.enums import ColorInterp, Resampling
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT
from rasterio.warp import calculate_default_transform

import geodata as gd
from geodata.datasets import RasterDataset

TOLERANCE_PX = 0.125

FILES = {
    "AST_L1T_SWIR_utm13n_6band.tif": "EPSG:5070",
    "L7_ETMs_utm25s_6band.tif": "EPSG:4326",
    "RGB.byte.tif": "EPSG:3857",
    "RGBA.uint16.tif": "EPSG:5070",
    "all-nodata_utm28n.tif": "EPSG:4326",
    "au-3577-rotated.tif": "EPSG:4326",
    "au-3577.tif": "EPSG:3857",
    "cog_int16_nodata_utm21n.tif": "EPSG:3995",
    "cog_nodata_nan_utm10n.tif": "EPSG:4326",
    "cog_rgb_mask_epsg26913.tif": "EPSG:3857",
    "cog_scale_offset_int16.tif": "EPSG:4326",
    "cog_utm21n_uint16.tif": "EPSG:4326",
    "cogeo_epsg3857_overviews.tif": "EPSG:4326",
    "dem_3m_epsg26915_uint16.tif": "EPSG:32614",
    "everest_landsat7_RGB_utm45n.tif": "EPSG:4326",
    "float_raster_with_nodata_laea.tif": "EPSG:4326",
    "geomatrix_rotated_utm11n.tif": "EPSG:3857",
    "inverted_lat_southup_4326.tif": "EPSG:3857",
    "landsat_greenland_utm24n/LC08_L2SP_005009_20150710_20200908_02_T2_SR_B4.TIF": "EPSG:3413",
    "mosaic_cog1_utm18n.tif": "EPSG:3857",
    "mosaic_cog2_utm18n.tif": "EPSG:4326",
    "mosaic_cog3_epsg4326.tif": "EPSG:32618",
    "nlcd_lc_epsg5070.tif": "EPSG:4326",
    "olinda_dem_utm25s.tif": "EPSG:31985",
    "s2a_l2a_fishbourne_utm30n.tif": "EPSG:27700",
    "scene_band1_utm29n.tif": "EPSG:4326",
    "shade_epsg3857.tif": "EPSG:5070",
}


def middle(grid: gd.Grid, size: int) -> gd.Grid:
    h, w = min(grid.height, size), min(grid.width, size)
    return grid.window((grid.height - h) // 2, (grid.width - w) // 2, h, w)


def scaled(grid: gd.Grid, factor: float, shift: tuple[float, float] = (0.0, 0.0)) -> gd.Grid:
    """The same place with pixels ``factor`` times as large, moved by parts of a pixel."""
    t = grid.transform
    corner = grid.xy(np.array([shift[1], shift[0]]))
    size = (max(2, int(grid.height / factor)), max(2, int(grid.width / factor)))
    return gd.Grid(size, (t.a * factor, t.b * factor, corner[0], t.d * factor, t.e * factor, corner[1]), grid.crs)


def off_lattice(path: Path, factor: float) -> gd.Grid:
    return scaled(middle(grid_of(path), 128), factor, (0.37, -0.21))


def elsewhere(path: Path, crs: str, factor: float) -> gd.Grid:
    """A grid in another CRS over the middle of a file, its pixels ``factor`` times the file's or finer."""
    own = middle(grid_of(path), 128)
    transform, width, height = calculate_default_transform(own.crs, crs, own.width, own.height, *own.bounds)
    out = gd.Grid((height, width), transform, crs)
    sx, sy = pixels_under(out, own)
    return scaled(out, factor / max(sx, sy))


def grid_of(path: Path) -> gd.Grid:
    with rasterio.open(path) as src:
        return gd.Grid(src.shape, src.transform, src.crs)


def positions(target: gd.Grid, source: gd.Grid) -> tuple[np.ndarray, np.ndarray]:
    """Column and row of the source at the centre of every target pixel, by pyproj, exact to 1e-6 pixels."""
    col, row = np.meshgrid(np.arange(target.width) + 0.5, np.arange(target.height) + 0.5)
    x, y = target.transform @ (col, row)
    there = Transformer.from_crs(target.crs, source.crs, always_xy=True).transform(x, y)
    return ~source.transform @ there


def pixels_under(target: gd.Grid, source: gd.Grid) -> tuple[float, float]:
    """Source columns and rows that one target pixel spans, in the middle of the source."""
    x, y = source.transform @ (source.width / 2, source.height / 2)
    col, row = ~target.transform @ Transformer.from_crs(source.crs, target.crs, always_xy=True).transform(x, y)
    near = target.transform @ (col + np.array([-0.5, 0.5, 0, 0]), row + np.array([0, 0, -0.5, 0.5]))
    px, py = ~source.transform @ Transformer.from_crs(target.crs, source.crs, always_xy=True).transform(*near)
    return float(np.hypot(px[1] - px[0], px[3] - px[2])), float(np.hypot(py[1] - py[0], py[3] - py[2]))


def warped(path: Path, target: gd.Grid, how: str, extras: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """Bands but alpha, and which pixels are valid in all of them, as WarpedVRT has them; band by band.

    Together it would fill a band's nodata pixels with values wherever another band has some.
    """
    bands, valid = [], np.ones(target.shape, dtype=bool)
    with rasterio.open(path) as src:
        for i in (i for i, c in enumerate(src.colorinterp, 1) if c != ColorInterp.alpha):
            data, missing = src.read(i), src.read_masks(i) == 0
            missing |= np.isnan(data) if data.dtype.kind == "f" else False
            bands.append(_warped_band(src, np.where(missing, np.nan, data.astype(np.float64)), target, how, extras))
            valid &= ~np.isnan(bands[-1])
    return np.stack(bands), valid


def _warped_band(src: Any, band: np.ndarray, target: gd.Grid, how: str, extras: dict[str, float]) -> np.ndarray:
    profile = {"count": 1, "height": src.height, "width": src.width, "dtype": band.dtype, "nodata": np.nan}
    place = {"transform": target.transform, "width": target.width, "height": target.height}
    with MemoryFile() as file:
        with file.open(driver="GTiff", crs=src.crs, transform=src.transform, **profile) as dst:
            dst.write(band, 1)
        how_and_where = {"crs": target.crs, "resampling": Resampling[how], "tolerance": 1e-6} | place | extras
        with file.open() as dst, WarpedVRT(dst, **how_and_where) as vrt:
            out: np.ndarray = vrt.read(1)
            return out


def compare(path: Path, target: gd.Grid, how: str) -> None:
    sample = RasterDataset(path, dtype=None, resampling=how).read(target)
    ours, valid = sample["image"].numpy().astype(np.float64), sample["valid"].numpy()
    source = grid_of(path)
    sx, sy = pixels_under(target, source)
    theirs, observed = warped(path, target, how, {"XSCALE": min(1.0, 1 / sx), "YSCALE": min(1.0, 1 / sy)})
    apart = valid ^ observed
    assert apart.sum() <= 1e-4 * apart.size, f"{apart.sum()} pixels are valid on one side only"
    valid &= observed
    if not valid.any():
        return
    if sample["image"].dtype != torch.float32:
        kind = np.iinfo(sample["image"].numpy().dtype)
        theirs = np.clip(theirs, kind.min, kind.max)
    difference = np.abs(ours - theirs).max(axis=0)
    span = float(np.ptp(theirs[:, valid]))
    rounding = 0.5 if sample["image"].dtype != torch.float32 else 0.0
    if how == "nearest":
        wrong = valid & (difference > 0)
        col, row = positions(target, source)
        edge = np.minimum(*(np.abs(v - np.rint(v)) for v in (col, row)))
        assert not wrong.any() or edge[wrong].max() <= TOLERANCE_PX
        assert wrong.sum() <= 0.01 * valid.sum()
    else:
        assert (difference[valid] <= rounding + 1e-3 * span).mean() >= 0.9
        assert difference[valid].max() <= rounding + 0.005 * span


@pytest.mark.parametrize(("how", "factor"), [("nearest", 0.9), ("bilinear", 1.3)])
@pytest.mark.parametrize("name", FILES)
def test_off_the_lattice_in_the_same_crs(realdata: Path, name: str, factor: float, how: str) -> None:
    path = realdata / "rasters" / name
    compare(path, off_lattice(path, factor), how)


@pytest.mark.parametrize(("how", "factor"), [("nearest", 0.9), ("bilinear", 0.9), ("bilinear", 2.5)])
@pytest.mark.parametrize("name", FILES)
def test_in_another_crs(realdata: Path, name: str, factor: float, how: str) -> None:
    path = realdata / "rasters" / name
    compare(path, elsewhere(path, FILES[name], factor), how)


@pytest.mark.parametrize(
    ("how", "factor"),
    [("cubic", 0.9), ("cubic", 1.4), ("cubic_spline", 0.9), ("lanczos", 0.9), ("average", 1.4), ("average", 7)],
)
def test_every_other_resampling(realdata: Path, how: str, factor: float) -> None:
    """But ``mode``, for which GDAL counts every pixel that is touched, and wide splines, whose ends it gets wrong."""
    path = realdata / "rasters" / "everest_landsat7_RGB_utm45n.tif"
    compare(path, elsewhere(path, "EPSG:4326", factor), how)


@pytest.mark.parametrize(
    "name", ["nlcd_lc_epsg5070.tif", "au-3577-rotated.tif", "mosaic_cog3_epsg4326.tif", "scene_band1_utm29n.tif"]
)
def test_positions_are_right_to_a_hundredth_of_a_pixel(realdata: Path, tmp_path: Path, name: str) -> None:
    source = grid_of(realdata / "rasters" / name)
    ramp = np.stack(np.meshgrid(np.arange(source.width) + 0.5, np.arange(source.height) + 0.5)).astype(np.float32)
    path = write_tif(tmp_path / "ramp.tif", ramp, source.transform, source.crs.to_wkt() if source.crs else None)
    target = elsewhere(path, FILES[name], 0.9)
    sample = RasterDataset(path).read(target)
    exact = np.stack(positions(target, source))
    inside = ((exact > 1) & (exact < np.array([source.width - 1, source.height - 1])[:, None, None])).all(axis=0)
    assert inside.sum() > 1000 and sample["valid"].numpy()[inside].all()
    assert np.abs(sample["image"].numpy() - exact)[:, inside].max() < 0.01


@pytest.mark.parametrize("how", ["nearest", "bilinear", "cubic", "average", "mode"])
@pytest.mark.parametrize("crs", ["EPSG:3857", "EPSG:3035"])
@pytest.mark.parametrize("window", [(0, 0, 60, 200), (31, 47, 90, 60), (100, 120, 1, 1)])
def test_a_pixel_does_not_depend_on_what_else_is_read(
    realdata: Path, window: tuple[int, int, int, int], crs: str, how: str
) -> None:
    path = realdata / "rasters" / "mosaic_cog1_utm18n.tif"
    ds = RasterDataset(path, dtype=None, resampling=how)
    target = elsewhere(path, crs, 0.9 if how == "cubic" else 2.0)
    r, c, h, w = window
    target = scaled(target, 1 / 3)
    h, w = min(h, target.height - r), min(w, target.width - c)
    whole, part = ds.read(target), ds.read(target.window(r, c, h, w))
    assert torch.equal(part["image"], whole["image"][:, r : r + h, c : c + w])
    assert torch.equal(part["valid"], whole["valid"][r : r + h, c : c + w])
