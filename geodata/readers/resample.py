"""From one lattice to another: integer enlargement, and one exact warp."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS as RasterioCRS
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.warp import reproject

from geodata.crs import CRS, crs_text, transformer
from geodata.errors import CRSError, GridError
from geodata.grid import Grid
from geodata.readers.base import PixelWindow, Raster

__all__ = ["RESAMPLING", "enlarge", "source_windows", "warp"]

RESAMPLING = ("nearest", "bilinear", "cubic", "cubic_spline", "lanczos", "average", "mode")

_REACH = {"nearest": 1, "bilinear": 1, "cubic": 2, "cubic_spline": 2, "lanczos": 3, "average": 1, "mode": 1}


def enlarge(raster: Raster, ratio: int, offset: tuple[int, int], shape: tuple[int, int], how: str) -> Raster:
    """Bring coarse pixels onto a lattice that is finer by a whole number.

    Parameters
    ----------
    raster : (C, h, w) coarse pixels
    ratio : int >= 2, fine pixels per coarse pixel side
    offset : (row, column) of the first wanted fine pixel, counted from the first coarse pixel's corner
    shape : (height, width) of the wanted block, fine pixels; must lie within the coarse block
    how : {"nearest", "bilinear"}
        Bilinear weighs the up to four observed coarse neighbours; a pixel is valid if the coarse pixel that it lies in is.
    """
    rows = (np.arange(shape[0]) + offset[0]) // ratio
    cols = (np.arange(shape[1]) + offset[1]) // ratio
    valid = raster.valid[np.ix_(rows, cols)]
    if how == "nearest":
        return Raster(raster.data[:, rows[:, None], cols[None, :]], valid)
    if how != "bilinear":
        raise GridError(f"bands of a coarser grid can be enlarged by nearest or bilinear, not {how!r}")
    work = np.float64 if raster.data.dtype.itemsize > 4 or raster.data.dtype.kind in "iu" else np.float32
    data = raster.data.astype(work)
    whole = bool(raster.valid.all())
    if not whole:
        data = np.where(raster.valid, data, 0)
    down = _taps(shape[0], offset[0], ratio, data.shape[1])
    across = _taps(shape[1], offset[1], ratio, data.shape[2])
    data = _blend(data, down, across)
    if not whole:
        weight = _blend(raster.valid.astype(work)[None], down, across)
        data = data / np.where(weight > 0, weight, 1)
    if raster.data.dtype.kind in "iu":
        data = np.rint(data)
    return Raster(data.astype(raster.data.dtype), valid)


def _taps(n: int, offset: int, ratio: int, size: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    centre = (np.arange(n) + offset + 0.5) / ratio - 0.5
    low = np.floor(centre).astype(np.intp)
    return np.clip(low, 0, size - 1), np.clip(low + 1, 0, size - 1), centre - low


def _blend(data: NDArray[Any], down: tuple[Any, Any, Any], across: tuple[Any, Any, Any]) -> NDArray[Any]:
    r0, r1, fr = down
    c0, c1, fc = across
    fr, fc = fr.astype(data.dtype)[:, None], fc.astype(data.dtype)
    rows: NDArray[Any] = data[:, r0] * (1 - fr) + data[:, r1] * fr
    out: NDArray[Any] = rows[:, :, c0] * (1 - fc) + rows[:, :, c1] * fc
    return out


def source_windows(source: Grid, target: Grid, how: str) -> list[PixelWindow]:
    """Return the pixels of ``source`` that can matter for ``target``: windows (row, column, height, width) inside it.

    Usually one; none where the two do not meet; two where the target lies over the seam of a geographic source.

    Raises
    ------
    CRSError
        If either grid has no CRS.
    """
    if source.crs is None or target.crs is None:
        raise CRSError("pixels without a CRS cannot be brought onto another grid; read them by item or pixel window")
    steps = np.linspace(0, 1, 21)
    unit = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    xy = target.xy(unit * (target.width, target.height))
    x, y = transformer(target.crs, source.crs).transform(xy[:, 0], xy[:, 1])
    finite = np.isfinite(x) & np.isfinite(y)
    if not finite.any():
        return []
    if not finite.all():
        return [(0, 0, source.height, source.width)]
    pixels = source.colrow(np.stack([x, y], axis=-1))
    if source.crs.is_geographic and not target.crs.is_geographic:
        pixels = np.concatenate([pixels, _poles(source, target)])
    parts = [pixels]
    if source.crs.is_geographic:
        order = np.argsort(pixels[:, 0])
        gaps = np.diff(pixels[order, 0])
        half = 180 / source.res[0]
        if len(gaps) and gaps.max() > half:
            cut = int(np.argmax(gaps)) + 1
            parts = [pixels[order[:cut]], pixels[order[cut:]]]
    windows = (_window_around(part, source, target, how) for part in parts)
    return [w for w in windows if w is not None]


def _poles(source: Grid, target: Grid) -> NDArray[np.float64]:
    """Pixel positions of the edge of the map at each pole that lies inside the target."""
    found = [np.empty((0, 2))]
    back = transformer(source.crs, target.crs)  # type: ignore[arg-type]
    for latitude in (-90.0, 90.0):
        place = np.array([[v] for v in back.transform(0.0, latitude)]).T
        if np.isfinite(place).all():
            (col, row) = target.colrow(place)[0]
            if 0 <= col <= target.width and 0 <= row <= target.height:
                left, _, right, _ = source.bounds
                found.append(source.colrow(np.array([[left, latitude], [right, latitude], [(left + right) / 2, latitude]])))
    return np.concatenate(found)


def _window_around(pixels: NDArray[np.float64], source: Grid, target: Grid, how: str) -> PixelWindow | None:
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    span = high - low
    scale = np.maximum(span / (target.width, target.height), 1.0)
    # One step between the probes may bulge beyond them; a thousandth of the span is more than any projection bends.
    margin = np.ceil(_REACH[how] * scale + 0.001 * span) + 1
    c0, r0 = np.clip(np.floor(low - margin), 0, (source.width, source.height)).astype(int).tolist()
    c1, r1 = np.clip(np.ceil(high + margin), 0, (source.width, source.height)).astype(int).tolist()
    return None if c1 <= c0 or r1 <= r0 else (r0, c0, r1 - r0, c1 - c0)


def warp(raster: Raster, source: Grid, target: Grid, how: str, nodata: float | None = None) -> Raster:
    """Resample a raster onto another grid, once.

    Parameters
    ----------
    raster : (C, h, w) on ``source``
    source, target : Grid, both with a CRS
    how : one of `RESAMPLING`
    nodata : float or None
        Where given, each band leaves out its own pixels of this value; else all bands leave out invalid pixels.

    Returns
    -------
    Raster
        The dtype is kept. Invalid pixels never contribute to a value. Coordinates are those of GDAL's approximating
        transformer, wrong by at most 0.125 px.
    """
    if how not in RESAMPLING:
        raise GridError(f"resampling {how!r} must be one of {', '.join(RESAMPLING)}")
    if source.crs is None or target.crs is None:
        raise CRSError("pixels without a CRS cannot be brought onto another grid; read them by item or pixel window")
    dtype = raster.data.dtype
    exact = np.float32 if dtype.itemsize < 4 or dtype == np.float32 else np.float64
    data = raster.data.astype(exact)
    if nodata is not None:
        data[raster.data == dtype.type(nodata)] = np.nan
    else:
        data[:, ~raster.valid] = np.nan
    out = np.full((data.shape[0], *target.shape), np.nan, dtype=exact)
    try:
        with rasterio.Env(GDAL_NUM_THREADS="1"):
            reproject(
                data,
                out,
                src_transform=source.transform,
                src_crs=_rasterio_crs(source.crs),
                src_nodata=np.nan,
                dst_transform=target.transform,
                dst_crs=_rasterio_crs(target.crs),
                dst_nodata=np.nan,
                resampling=Resampling[how],
            )
    except RasterioError as error:
        raise CRSError(
            f"no way to warp from {crs_text(source.crs)[:40]} to {crs_text(target.crs)[:40]}: {error}"
        ) from None
    missing = np.isnan(out)
    valid = ~missing.any(axis=0)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        out = np.clip(np.rint(np.where(missing, 0, out)), info.min, info.max)
    return Raster(out.astype(dtype), valid)


@lru_cache(maxsize=256)
def _from_srs(text: str) -> RasterioCRS:
    return RasterioCRS.from_user_input(text)


def _rasterio_crs(crs: CRS) -> RasterioCRS:
    return _from_srs(crs_text(crs))
