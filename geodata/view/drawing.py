"""What a picture may carry beside an image: outlines from a vector layer, and spectra."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geodata.bands import Bands
from geodata.crs import CRS, transformer
from geodata.errors import CRSError
from geodata.grid import Grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_outlines", "draw_spectrum", "save_png"]

RANGES = ((2, 98, 0.15), (25, 75, 0.3))
GAP = 5.0
"""A step in wavelength this many times the usual one is a gap in the spectrum, not a line."""


def draw_spectrum(ax: Axes, values: NDArray[Any], bands: Bands, *, label: str = "") -> None:
    """Plot many spectra as their mean and two percentile ranges, or one as a line.

    Parameters
    ----------
    values : (N, C) number
    bands : C bands
        The axis is nm where all wavelengths are known, else the number of the band.
    """
    x, axis = _positions(bands)
    order = np.argsort(x, kind="stable")
    x, values = x[order], np.asarray(values, dtype=np.float64)[:, order]
    steps = np.diff(x)
    gaps: Any = np.flatnonzero(steps > GAP * np.median(steps)) + 1 if len(x) >= 20 else []
    mark = "o-" if len(x) < 20 else "-"
    for i, part in enumerate(np.split(np.arange(len(x)), gaps)):
        if len(values) > 1:
            for low, high, alpha in RANGES:
                a, b = np.percentile(values[:, part], (low, high), axis=0)
                name = f"percentiles {low} to {high}" if i == 0 else None
                ax.fill_between(x[part], a, b, color="#4477aa", alpha=alpha, linewidth=0, label=name)
        name = label if i == 0 else None
        ax.plot(x[part], values[:, part].mean(axis=0), mark, color="#223355", linewidth=1.2, markersize=3, label=name)
    ax.set_xlabel(axis)
    _cut_spikes(ax, values)
    units = {b.unit for b in bands}
    ax.set_ylabel(str(units.pop()) if len(units) == 1 and None not in units else "as stored")
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)


def _positions(bands: Bands) -> tuple[NDArray[np.float64], str]:
    """Where each band stands on the axis, and what the axis is."""
    if not np.isnan(bands.wavelengths).any():
        return bands.wavelengths, "wavelength, nm"
    if all(name.isdecimal() for name in bands.names):  # some numbers may be left out
        return np.array([float(name) for name in bands.names]), "band"
    return np.arange(1, len(bands) + 1, dtype=np.float64), "band, in order"


def _cut_spikes(ax: Axes, values: NDArray[np.float64]) -> None:
    """Keep a few noisy bands, as beside water vapour, from flattening all the others; say so on the axis."""
    low, high = np.percentile(values, RANGES[0][:2], axis=0)
    bottom, top = np.percentile(low, 2), np.percentile(high, 98)
    margin = 0.25 * (top - bottom)
    if len(high) >= 20 and margin > 0 and (high.max() > top + margin or low.min() < bottom - margin):
        ax.set_ylim(0 if low.min() >= 0 else bottom - margin, top + margin)
        ax.set_xlabel(f"{ax.get_xlabel()} (spikes are cut)")


def draw_outlines(ax: Axes, shapes: Iterable[Any], crs: CRS, grid: Grid, *, colour: str = "#ffdd00") -> int:
    """Draw outlines of any CRS over a picture of a grid; return how many of them it shows.

    Parameters
    ----------
    shapes : shapely geometries in ``crs``; edges are straight there, and bend in the grid's CRS as they should
    """
    import shapely
    from matplotlib.collections import LineCollection

    if grid.crs is None:
        raise CRSError("outlines cannot be placed on a picture without a CRS")
    project = transformer(crs, grid.crs)
    height, width = grid.shape
    frame = shapely.box(0, 0, width, height)
    shown, lines = 0, []
    for shape in shapes:
        # a straight edge is a curve in another CRS
        outline = shapely.segmentize(shape, shape.length / 200) if shape.length else shape
        rings = [grid.colrow(np.stack(project.transform(r[:, 0], r[:, 1]), axis=-1)) for r in _rings(outline)]
        inside = [r for r in rings if np.isfinite(r).all() and shapely.intersects(shapely.linestrings(r), frame)]
        shown += bool(inside)
        lines += [r - 0.5 for r in inside]
    ax.add_collection(LineCollection(lines, colors="black", linewidths=2.2, alpha=0.6), autolim=False)
    ax.add_collection(LineCollection(lines, colors=colour, linewidths=1.1), autolim=False)
    return shown


def save_png(figure: Figure, out: Path, *, dpi: int = 120) -> None:
    """Write a figure; the file appears only when it is complete."""
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as folder:
        beside = Path(folder) / "figure.png"
        figure.savefig(beside, format="png", dpi=dpi)
        beside.replace(out)


def _rings(shape: Any) -> Iterator[NDArray[np.float64]]:
    import shapely

    for part in shapely.get_parts([shape]):
        if shapely.get_type_id(part) == 3:
            yield from (shapely.get_coordinates(r) for r in shapely.get_rings([part]))
        elif shapely.get_num_coordinates(part) > 1:
            yield shapely.get_coordinates(part)
