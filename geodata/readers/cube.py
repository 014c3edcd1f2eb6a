"""What data cubes say about themselves: variables, dates, grid and bands of NetCDF-4 files and Zarr folders.

Pixels are read by `geodata.readers.arrays`, straight from the file.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS as AnyCRS
from pyproj.exceptions import CRSError as ProjCRSError

from geodata.crs import CRS, as_crs, crs_text, same_crs
from geodata.errors import CatalogError, CRSError, GridError, ReadError
from geodata.grid import Grid
from geodata.readers.gate import passing
from geodata.readers.hdf5 import open_hdf5
from geodata.readers.openfiles import needs, telling
from geodata.readers.zarrays import open_zarr

if TYPE_CHECKING:
    from xarray import Dataset, Variable

__all__ = ["Cube", "CubeVariable", "describe_cube"]

REGULAR = 1e-3
"""Pixels by which a coordinate may be off a regular lattice."""

_X = ("x", "lon", "longitude", "easting")
_Y = ("y", "lat", "latitude", "northing")
_BAND = ("band", "bands", "wavelength", "wavelengths", "channel", "spectral")
_X_NAMES = ("projection_x_coordinate", "longitude")
_Y_NAMES = ("projection_y_coordinate", "latitude")
_CALENDARS = ("standard", "gregorian", "proleptic_gregorian")
_UNITS = ("", "1", "m", "metre", "metres", "meter", "meters")
_NANOMETERS = {
    "nm": 1.0,
    "nanometer": 1.0,
    "nanometers": 1.0,
    "um": 1e3,
    "µm": 1e3,
    "micrometer": 1e3,
    "micrometers": 1e3,
}


@dataclass(frozen=True, slots=True)
class CubeVariable:
    """One array of pixels of a cube.

    Parameters
    ----------
    name : str, what readers call ``inside``
    dims : names of its axes, in order
    shape : their lengths
    dtype : as stored
    nodata : the stored value of what was not observed, or None
    scale, offset : value = stored * scale + offset
    unit : str or None
    """

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    nodata: float | None
    scale: float
    offset: float
    unit: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Cube:
    """What a cube says about itself.

    Parameters
    ----------
    variables : those that hold pixels, in the order of their names
    time, band, y, x : names of axes, None where there is none
    times : (T,) float64 or None
        Seconds since 1970, UTC.
    names : tuple of str or None
        Of the bands.
    wavelengths : (C,) float64 or None, nm
        Only where the file says the unit.
    grid : Grid or None
        None if there are no coordinates along rows and columns.
    """

    variables: tuple[CubeVariable, ...]
    time: str | None
    band: str | None
    y: str | None
    x: str | None
    times: NDArray[np.float64] | None
    names: tuple[str, ...] | None
    wavelengths: NDArray[np.float64] | None
    grid: Grid | None


def describe_cube(href: str) -> Cube:
    """Read what a cube says about itself, no pixels.

    Parameters
    ----------
    href : a NetCDF-4 file, or a Zarr folder (its name ends in ``.zarr``)

    Raises
    ------
    ReadError
        If it cannot be opened.
    GridError
        If its pixels are not evenly spaced, to 1/1000 of a pixel, or in units other than metres and degrees.
    CRSError
        If variables differ in CRS, or it is unknown.
    CatalogError
        If its dates are of another calendar than everybody's, or not known.
    MissingDependencyError
        If h5netcdf is not installed.
    """
    with passing(), telling(f"cannot read {href}"), _opened(href) as data:
        return _describe(data, href)


def _opened(href: str) -> Dataset:
    import xarray

    plain: dict[str, Any] = {"decode_cf": False, "chunks": None, "cache": False}
    if href.rstrip("/").lower().endswith(".zarr"):
        open_zarr(href).members()  # refuses what would run code
        return xarray.open_dataset(href, engine="zarr", consolidated=False, **plain)
    file = open_hdf5(href)
    try:
        file.check_links()
    finally:
        file.close()
    try:
        import h5netcdf  # noqa: F401
    except ImportError:
        raise needs("h5netcdf") from None
    # As the other readers open it: HDF5 refuses one file in two ways.
    return xarray.open_dataset(href, engine="h5netcdf", driver_kwds={"locking": False}, **plain)


def _describe(data: Dataset, href: str) -> Cube:
    about = _about_others(data)
    names = sorted(str(name) for name in data.variables if _is_pixels(name, data, about))
    pixels = {name: data.variables[name] for name in names}  # folders have no order of their own
    if not pixels:
        raise ReadError(
            f"{href} holds no variable with two axes or more; it holds {', '.join(map(str, data.variables))}"
        )
    dims = list(dict.fromkeys(str(dim) for variable in pixels.values() for dim in variable.dims))
    axes = {dim: data.variables.get(dim) for dim in dims}
    x, y = _axis(axes, _X, _X_NAMES, "X"), _axis(axes, _Y, _Y_NAMES, "Y")
    time = next((dim for dim in dims if _is_time(axes[dim])), None)
    band = next((dim for dim in dims if dim.lower() in _BAND and dim != time), None)
    return Cube(
        tuple(_variable(name, variable) for name, variable in pixels.items()),
        time,
        band,
        y,
        x,
        None if time is None else _times(axes[time], href),
        _texts(data, band),
        _wavelengths(data, band),
        _grid(axes, y, x, _crs(data, pixels, href), href),
    )


def _about_others(data: Dataset) -> set[str]:
    """Return names of variables that only say something about others."""
    found: set[str] = set()
    for variable in data.variables.values():
        for key in ("coordinates", "grid_mapping", "bounds", "ancillary_variables"):
            found.update(word.rstrip(":") for word in str(variable.attrs.get(key, "")).split())
    return found | set(str(data.attrs.get("coordinates", "")).split())


def _is_pixels(name: Hashable, data: Dataset, about: set[str]) -> bool:
    variable = data.variables[name]
    return name not in about and name not in data.dims and variable.ndim >= 2 and variable.dtype.kind in "biuf"


def _axis(
    axes: Mapping[str, Variable | None], names: tuple[str, ...], standard: tuple[str, ...], letter: str
) -> str | None:
    """Return the axis that a coordinate says is along x or y, else the one that is called so."""
    for dim, variable in axes.items():
        attrs = {} if variable is None else variable.attrs
        if attrs.get("standard_name") in standard or attrs.get("axis") == letter:
            return dim
    return next((dim for dim in axes if dim.lower() in names), None)


def _is_time(variable: Variable | None) -> bool:
    if variable is None:
        return False
    return " since " in str(variable.attrs.get("units", "")) or variable.attrs.get("standard_name") == "time"


def _variable(name: str, variable: Variable) -> CubeVariable:
    attrs = variable.attrs
    nodata = next((attrs[name] for name in ("_FillValue", "missing_value", "nodata") if name in attrs), None)
    return CubeVariable(
        name,
        tuple(map(str, variable.dims)),
        tuple(variable.shape),
        variable.dtype.newbyteorder("=").name,
        None if nodata is None else float(np.ravel(nodata)[0]),
        float(attrs.get("scale_factor", 1.0)),
        float(attrs.get("add_offset", 0.0)),
        str(attrs["units"]) if "units" in attrs else None,
    )


# ---------------------------------------------------------------------- coordinates


def _times(variable: Variable | None, href: str) -> NDArray[np.float64] | None:
    import xarray

    if variable is None:
        return None
    units, calendar = str(variable.attrs.get("units", "")), str(variable.attrs.get("calendar", "standard"))
    if calendar.lower() not in _CALENDARS:
        raise CatalogError(
            f"{href}: its dates are of the calendar {calendar!r}, whose days are no days of the real one; convert them "
            f"(xarray: Dataset.convert_calendar('standard'))"
        )
    alone = xarray.Dataset({"time": ("time", variable.values, {"units": units, "calendar": calendar})})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about dates of which the next lines say more
        try:
            found = xarray.decode_cf(alone)["time"].values
        except (ValueError, OverflowError, ImportError) as error:
            raise CatalogError(f"{href}: dates in {units!r} are not understood: {error}") from None
    if found.dtype.kind != "M" or np.isnat(found).any():
        raise CatalogError(f"{href}: some dates in {units!r} are missing, or too far from today")
    seconds: NDArray[np.float64] = found.astype("datetime64[us]").astype(np.int64) / 1e6
    return seconds


def _texts(data: Dataset, band: str | None) -> tuple[str, ...] | None:
    if band is None or band not in data.variables:
        return None
    values = np.asarray(data.variables[band].values)
    if values.dtype.kind == "f":
        return tuple(f"{value:g}" for value in values.tolist())
    decoded = (value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in values.tolist())
    return tuple(str(value) for value in decoded)


def _wavelengths(data: Dataset, band: str | None) -> NDArray[np.float64] | None:
    for name in ("wavelength", "wavelengths", "center_wavelength", "central_wavelength"):
        variable = data.variables.get(name)
        if band is None or variable is None or variable.dims != (band,) or variable.dtype.kind not in "iuf":
            continue
        factor = _NANOMETERS.get(str(variable.attrs.get("units", "")).lower())
        return None if factor is None else np.asarray(variable.values, np.float64) * factor
    return None


def _grid(axes: Mapping[str, Variable | None], y: str | None, x: str | None, crs: CRS | None, href: str) -> Grid | None:
    rows, columns = axes[y] if y else None, axes[x] if x else None
    if rows is None or columns is None:
        return None
    (top, down), (left, right) = _steps(rows, y, href), _steps(columns, x, href)
    return Grid((rows.size, columns.size), Affine(right, 0.0, left, 0.0, down, top), crs)


def _steps(variable: Variable, name: str | None, href: str) -> tuple[float, float]:
    """Return the edge of the first pixel and the distance between pixels, whose centres are given."""
    unit = str(variable.attrs.get("units", "")).lower()
    if unit not in _UNITS and not unit.startswith("degree"):
        raise GridError(f"{href}: {name!r} is in {unit!r}; metres or degrees were wanted")
    centres = np.asarray(variable.values, np.float64)
    if centres.ndim != 1 or centres.size < 2 or not np.isfinite(centres).all():
        raise GridError(f"{href}: {name!r} must hold two finite positions or more, it has the shape {centres.shape}")
    step = float(centres[-1] - centres[0]) / (centres.size - 1)
    off = np.abs(centres - (centres[0] + step * np.arange(centres.size))).max()
    if step == 0 or off > REGULAR * abs(step):
        raise GridError(
            f"{href}: positions along {name!r} are off an even spacing of {step:g} by up to {off:g}; warp it to a grid first"
        )
    return float(centres[0]) - step / 2, step


# ---------------------------------------------------------------------- CRS


def _crs(data: Dataset, pixels: Mapping[str, Variable], href: str) -> CRS | None:
    """Return the CRS of the grid mapping, else of the attributes that STAC gives."""
    named = {word.rstrip(":") for v in pixels.values() for word in str(v.attrs.get("grid_mapping", "")).split()[:1]}
    named = named or {name for name in ("spatial_ref", "crs") if name in data.variables}
    found = [_mapped(data.variables[name].attrs, href) for name in sorted(named) if name in data.variables]
    if not found:
        return _declared(data)
    if any(not same_crs(found[0], other) for other in found):
        raise CRSError(f"{href}: its variables have several CRSs: {', '.join(crs_text(crs)[:40] for crs in found)}")
    return found[0]


def _mapped(attrs: Mapping[Any, Any], href: str) -> CRS | None:
    for key in ("crs_wkt", "spatial_ref"):
        if attrs.get(key):
            return as_crs(str(attrs[key]))
    if not attrs.get("grid_mapping_name"):
        return None
    try:
        return as_crs(AnyCRS.from_cf({str(key): value for key, value in attrs.items()}))
    except (ProjCRSError, KeyError, ValueError) as error:
        raise CRSError(f"{href}: grid mapping {attrs['grid_mapping_name']!r} is not understood: {error}") from None


def _declared(data: Dataset) -> CRS | None:
    for key in ("proj:code", "proj:epsg", "epsg"):
        found = data.attrs.get(key)
        variable = data.variables.get(key)
        if found is None and variable is not None and variable.ndim == 0:
            found = variable.values.item()
        if found is not None:
            text = str(found)
            return as_crs(f"EPSG:{text}" if text.isdecimal() else text)
    return None
