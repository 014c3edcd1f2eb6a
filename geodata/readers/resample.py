"""From one lattice to another: integer enlargement, and one exact warp."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS as RasterioCRS
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.warp import reproject

from geodata.crs import CRS, crs_text, same_crs, transformer
from geodata.errors import CRSError, DtypeError, GridError
from geodata.grid import Grid
from geodata.readers.base import PixelWindow, Raster, stored_nodata

__all__ = ["RESAMPLING", "enlarge", "pixel_ratio", "source_windows", "touching", "warp"]

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
    # From the integer phase, so that a pixel's weights do not depend on where the block starts.
    pixel, phase = np.divmod(np.arange(n) + offset, ratio)
    beside = (2 * phase + 1) / (2 * ratio) - 0.5
    low = np.where(beside < 0, pixel - 1, pixel)
    return np.clip(low, 0, size - 1), np.clip(low + 1, 0, size - 1), np.where(beside < 0, beside + 1, beside)


def _blend(data: NDArray[Any], down: tuple[Any, Any, Any], across: tuple[Any, Any, Any]) -> NDArray[Any]:
    r0, r1, fr = down
    c0, c1, fc = across
    fr, fc = fr.astype(data.dtype)[:, None], fc.astype(data.dtype)
    # Written so that a constant stays exactly that constant.
    rows: NDArray[Any] = data[:, r0] + (data[:, r1] - data[:, r0]) * fr
    out: NDArray[Any] = rows[:, :, c0] + (rows[:, :, c1] - rows[:, :, c0]) * fc
    return out


def source_windows(source: Grid, target: Grid, how: str, ratio: tuple[float, float]) -> list[PixelWindow]:
    """Return the pixels of ``source`` that can matter for ``target``: windows (row, column, height, width) inside it.

    Usually one; none where the two do not meet; two where the target lies over the seam of a geographic source.
    """
    steps = np.linspace(0, 1, 21)
    unit = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    xy = target.xy(unit * (target.width, target.height))
    x, y = transformer(target.crs, source.crs).transform(xy[:, 0], xy[:, 1])  # type: ignore[arg-type]
    finite = np.isfinite(x) & np.isfinite(y)
    if not finite.any():
        return []
    if not finite.all():
        return [(0, 0, source.height, source.width)]
    pixels = source.colrow(np.stack([x, y], axis=-1))
    if source.crs.is_geographic and not target.crs.is_geographic:  # type: ignore[union-attr]
        pixels = np.concatenate([pixels, _poles(source, target)])
    parts = [pixels]
    if source.crs.is_geographic:  # type: ignore[union-attr]
        order = np.argsort(pixels[:, 0])
        gaps = np.diff(pixels[order, 0])
        half = 180 / source.res[0]
        if len(gaps) and gaps.max() > half:
            cut = int(np.argmax(gaps)) + 1
            parts = [pixels[order[:cut]], pixels[order[cut:]]]
    reach = np.ceil(_REACH[how] * np.array(ratio)) + 1
    windows = (_window_around(part, source, reach) for part in parts)
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
                found.append(
                    source.colrow(np.array([[left, latitude], [right, latitude], [(left + right) / 2, latitude]]))
                )
    return np.concatenate(found)


def _window_around(pixels: NDArray[np.float64], source: Grid, reach: NDArray[np.float64]) -> PixelWindow | None:
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    # Between two probes the outline may bulge; a thousandth of the span is more than any projection bends there.
    margin = reach + 0.001 * (high - low)
    c0, r0 = np.clip(np.floor(low - margin), 0, (source.width, source.height)).astype(int).tolist()
    c1, r1 = np.clip(np.ceil(high + margin), 0, (source.width, source.height)).astype(int).tolist()
    return None if c1 <= c0 or r1 <= r0 else (r0, c0, r1 - r0, c1 - c0)


def touching(source: Grid, inside: Grid) -> NDArray[np.bool_]:
    """Return (h, w) which pixels of a grid touch another one, by their four corners and their middle."""
    h, w = source.shape
    half = np.stack(np.meshgrid(np.arange(2 * w + 1) / 2, np.arange(2 * h + 1) / 2), axis=-1)
    xy = source.xy(half)
    if not same_crs(source.crs, inside.crs):
        x, y = transformer(source.crs, inside.crs).transform(xy[..., 0], xy[..., 1])  # type: ignore[arg-type]
        xy = np.stack([x, y], axis=-1)
    with np.errstate(invalid="ignore"):
        col, row = np.moveaxis(inside.colrow(xy), -1, 0)
        lies = (col > 1e-6) & (col < inside.width - 1e-6) & (row > 1e-6) & (row < inside.height - 1e-6)
    out = np.zeros((h, w), dtype=bool)
    for down in range(3):
        for across in range(3):
            out |= lies[down : down + 2 * h : 2, across : across + 2 * w : 2][:h, :w]
    return out


def pixel_ratio(source: Grid, target: Grid) -> tuple[float, float]:
    """Return how many source pixels lie under one target pixel along x and y, at least 1.

    Taken at the middle of the source, so that it is the same for every window of it: a kernel that widened with the
    window would make a pixel's value depend on what else is read.
    """
    back, there = transformer(source.crs, target.crs), transformer(target.crs, source.crs)  # type: ignore[arg-type]
    middle = source.xy(np.array([source.width / 2, source.height / 2]))
    at = target.colrow(np.array(back.transform(*middle)))
    if not np.isfinite(at).all():
        at = np.array([target.width / 2, target.height / 2])
    probes = target.xy(at + np.array([[-0.5, 0], [0.5, 0], [0, -0.5], [0, 0.5]]))
    x, y = there.transform(probes[:, 0], probes[:, 1])
    pixels = source.colrow(np.stack([x, y], axis=-1))
    right, down = pixels[1] - pixels[0], pixels[3] - pixels[2]
    ratio = np.hypot(right, down)
    if not np.isfinite(ratio).all():
        return 1.0, 1.0
    return max(1.0, float(ratio[0])), max(1.0, float(ratio[1]))


def warp(
    raster: Raster,
    source: Grid,
    target: Grid,
    how: str,
    *,
    nodata: float | None = None,
    ratio: tuple[float, float] = (1.0, 1.0),
) -> Raster:
    """Resample a raster onto another grid, once.

    Parameters
    ----------
    raster : (C, h, w) on ``source``
    source, target : Grid, both with a CRS
    how : one of `RESAMPLING`
    nodata : float or None
        Where given, each band leaves out its own pixels of this value; else all bands leave out invalid pixels.
    ratio : from `pixel_ratio`
        How much the kernel widens when the target is coarser.

    Returns
    -------
    Raster
        The dtype is kept. Unobserved pixels never contribute to a value. Coordinates are those of GDAL's approximating
        transformer, wrong by at most 0.125 px.

    Raises
    ------
    CRSError
        If there is no way between the CRSs.
    DtypeError
        If 64-bit integers are too large to pass through floating point exactly.
    """
    dtype = raster.data.dtype
    if dtype.kind in "iu" and dtype.itemsize == 8 and raster.data.size:
        largest = max(abs(int(raster.data.max())), abs(int(raster.data.min())))
        if largest > 2**53:
            raise DtypeError(
                f"64-bit integers up to {largest} cannot be warped exactly; above 2**53 read them on their own grid"
            )
    exact = np.float32 if dtype.itemsize < 4 or dtype == np.float32 else np.float64
    data = raster.data.astype(exact)
    value = stored_nodata(nodata, dtype)
    missing = np.broadcast_to(~raster.valid, data.shape)
    if value is not None:
        missing = raster.data == value
        if dtype.kind == "f":
            missing = missing | np.isnan(raster.data)
        # What is not valid although no band says so was taken out for all of them.
        missing = missing | (~raster.valid & ~missing.any(axis=0))
    data[missing] = np.nan
    out = np.full((len(data), *target.shape), np.nan, dtype=exact)
    # GDAL leaves out a pixel of all bands where one is missing; bands that differ in that go one by one.
    together = len(data) == 1 or bool((missing == missing[0]).all())
    for some in [slice(None)] if together else [slice(i, i + 1) for i in range(len(data))]:
        _reproject(data[some], out[some], source, target, how, ratio)
    lost = np.isnan(out)
    if dtype.kind in "iu":
        out = np.rint(np.where(lost, 0, out))
        if dtype.itemsize < 8:
            info = np.iinfo(dtype)
            out = np.clip(out, info.min, info.max)
    return Raster(out.astype(dtype), ~lost.any(axis=0))


def _reproject(
    data: NDArray[Any], out: NDArray[Any], source: Grid, target: Grid, how: str, ratio: tuple[float, float]
) -> None:
    try:
        reproject(
            data,
            out,
            src_transform=source.transform,
            src_crs=_rasterio_crs(source.crs),  # type: ignore[arg-type]
            src_nodata=np.nan,
            dst_transform=target.transform,
            dst_crs=_rasterio_crs(target.crs),  # type: ignore[arg-type]
            dst_nodata=np.nan,
            resampling=Resampling[how],
            XSCALE=1 / ratio[0],
            YSCALE=1 / ratio[1],
        )
    except RasterioError as error:
        raise CRSError(
            f"no way to warp from {crs_text(source.crs)[:40]} to {crs_text(target.crs)[:40]}: {error}"
        ) from None


@lru_cache(maxsize=256)
def _from_srs(text: str) -> RasterioCRS:
    return RasterioCRS.from_user_input(text)


def _rasterio_crs(crs: CRS) -> RasterioCRS:
    return _from_srs(crs_text(crs))
