"""ENVI cubes: a text header and a file of plain numbers, mapped."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from geodata.bands import Band, Bands
from geodata.crs import CRS, as_crs
from geodata.errors import CRSError, DtypeError, ReadError
from geodata.grid import Grid
from geodata.readers.base import Header, stored_nodata
from geodata.readers.envi_header import (
    EXTENSIONS,
    Fields,
    band_numbers,
    data_file,
    header_file,
    read_fields,
    whole_number,
)
from geodata.readers.guard import check_regular
from geodata.readers.openfiles import Arrays, missing, telling

__all__ = ["EXTENSIONS", "EnviFile", "data_file", "describe", "header_file", "open_envi"]

_DTYPES = {1: "u1", 2: "i2", 3: "i4", 4: "f4", 5: "f8", 12: "u2", 13: "u4", 14: "i8", 15: "u8"}
_ORDERS = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (1, 2, 0)}  # of bands, lines, samples
_NANOMETERS = {
    "nanometers": 1.0,
    "nanometer": 1.0,
    "nanometres": 1.0,
    "nm": 1.0,
    "micrometers": 1000.0,
    "micrometer": 1000.0,
    "micrometres": 1000.0,
    "microns": 1000.0,
    "um": 1000.0,
    "µm": 1000.0,
}
_DATUMS = {"wgs84": (4326, 32600, 32700), "nad83": (4269, 26900, 0), "nad27": (4267, 26700, 0)}


def open_envi(href: str) -> EnviFile:
    """Map the data file of a cube.

    Raises
    ------
    ReadError
        If header or data file is missing, they contradict each other, or the data are compressed.
    DtypeError
        If the numbers are complex.
    """
    data = data_file(href)
    check_regular(data)
    fields, path = read_fields(data)
    with telling(f"cannot open {href}"):
        return EnviFile(href, _mapped(data, fields, path))


def _mapped(data: str, fields: Fields, path: str) -> NDArray[Any]:
    """Return (bands, lines, samples) numbers in the byte order of the file."""
    sizes = [whole_number(fields, key, path, least=1) for key in ("bands", "lines", "samples")]
    code = whole_number(fields, "data type", path)
    if code not in _DTYPES:
        raise DtypeError(f"{path}: data type {code}{' is complex' if code in (6, 9) else ''}; read are {list(_DTYPES)}")
    order = whole_number(fields, "byte order", path, 0 if code == 1 else None)
    interleave = str(fields.get("interleave", "")).lower()
    if order > 1 or interleave not in _ORDERS:
        raise ReadError(
            f"{path}: byte order {order} must be 0 or 1, interleave {interleave!r} one of {', '.join(_ORDERS)}"
        )
    if whole_number(fields, "file compression", path, 0):
        raise ReadError(f"{path}: the data are compressed; unpack them (gunzip) and set 'file compression' to 0")
    if any(str(v).strip("0, {}") for k in ("major", "minor") for v in fields.get(f"{k} frame offsets", ())):
        raise ReadError(f"{path}: frames with offsets between them are not read; write the cube without")
    dtype = np.dtype("<>"[order] + _DTYPES[code])
    offset = whole_number(fields, "header offset", path, 0)
    needed, there = offset + math.prod(sizes) * dtype.itemsize, os.path.getsize(data)
    if there < needed:
        raise ReadError(f"{data} has {there} bytes, its header tells of {needed}: it is cut short, fetch it again")
    axes = _ORDERS[interleave]
    pixels = np.memmap(data, dtype, "r", offset, tuple(sizes[i] for i in axes))
    return pixels.transpose([axes.index(i) for i in range(3)])


class EnviFile:
    """An open cube: one array of (bands, lines, samples)."""

    layout = "c h w"

    def __init__(self, href: str, data: NDArray[Any]) -> None:
        self._href = href
        self._data = data

    def arrays(self) -> Arrays:
        """Return the one array, by the name ``""``."""
        return {"": (self._data.shape, str(self._data.dtype))}

    def array(self, inside: str) -> NDArray[Any]:
        """Return the cube as (bands, lines, samples)."""
        if inside:
            raise missing(self._href, inside, self.arrays())
        return self._data

    def texts(self, inside: str) -> list[str]:
        """Cubes are numbers."""
        raise ReadError(f"{self._href}: an ENVI cube holds no texts")

    def close(self) -> None:
        """Let the map go as soon as nobody looks at it."""
        self._data = np.empty((0, 0, 0))


def describe(href: str) -> Header:
    """Read the header of a cube and look at the size of its data file.

    Wavelengths and their widths are taken over only where the header says their unit. Band scales are one over the
    ``reflectance scale factor``, else the ``data gain values`` and ``data offset values``.

    Raises
    ------
    ReadError, DtypeError
        As in `open_envi`; also if lists of the header have another length than there are bands.
    CRSError
        If the projection of ``map info`` is known only to ENVI.
    """
    data = data_file(href)
    check_regular(data)
    fields, path = read_fields(data)
    with telling(f"cannot open {href}"):
        pixels = _mapped(data, fields, path)
    bands, named = _bands(fields, len(pixels), path)
    dtype = pixels.dtype.newbyteorder("=").name
    nodata = _number(fields, "data ignore value", path)
    validity = "nan" if dtype.startswith("float") else "all"
    if stored_nodata(nodata, dtype) is not None:
        validity = "nodata"
    return Header(
        Grid(pixels.shape[1:], _transform(fields, path), _crs(fields, path)),
        bands,
        tuple(range(1, len(pixels) + 1)),
        dtype,
        nodata,
        validity,
        named,
        "envi",
    )


def _number(fields: Fields, key: str, path: str) -> float | None:
    found = band_numbers(fields, key, 1, path)
    return found[0] if found else None


def _bands(fields: Fields, count: int, path: str) -> tuple[Bands, bool]:
    names = fields.get("band names", [])
    named = isinstance(names, list) and all(names) and len(set(names)) == len(names) == count
    unit = _NANOMETERS.get(str(fields.get("wavelength units", "")).strip().lower())
    centres = band_numbers(fields, "wavelength", count, path) or [0.0] * count
    widths = band_numbers(fields, "fwhm", count, path) or [0.0] * count
    factor = _number(fields, "reflectance scale factor", path)
    scales = band_numbers(fields, "data gain values", count, path) or [1.0] * count
    offsets = band_numbers(fields, "data offset values", count, path) or [0.0] * count
    if factor:
        scales, offsets = [1.0 / factor] * count, [0.0] * count
    rows = [
        Band(
            names[i] if named else str(i + 1),
            wavelength=_nanometers(centres[i], unit),
            fwhm=_nanometers(widths[i], unit),
            unit="reflectance" if factor else None,
            scale=scales[i],
            offset=offsets[i],
        )
        for i in range(count)
    ]
    return Bands(rows), named


def _nanometers(value: float, unit: float | None) -> float | None:
    return value * unit if unit and 0 < value < math.inf else None


def _map_info(fields: Fields, path: str) -> tuple[list[str], list[float], Mapping[str, str]] | None:
    """Return the texts of the map info, its six numbers, and what is given by name."""
    found = fields.get("map info")
    if found is None:
        return None
    plain = [part for part in found if "=" not in part]
    pairs = (part.partition("=") for part in found if "=" in part)
    named = {name.strip().lower(): value.strip() for name, _, value in pairs}
    try:
        numbers = [float(part) for part in plain[1:7]]
        float(named.get("rotation", 0))
    except ValueError:
        numbers = []
    if len(numbers) != 6 or not all(map(math.isfinite, numbers)):
        raise ReadError(f"{path}: map info {found} must begin with a projection and six numbers")
    return plain, numbers, named


def _transform(fields: Fields, path: str) -> Affine:
    """Return the transform; positions of map info are from 1 at the upper left edge."""
    info = _map_info(fields, path)
    if info is None:
        return Affine.identity()
    column, row, x, y, xres, yres = info[1]
    turned = Affine.rotation(float(info[2].get("rotation", 0))) if "rotation" in info[2] else Affine.identity()
    return Affine.translation(x, y) @ turned @ Affine.scale(xres, -yres) @ Affine.translation(1 - column, 1 - row)


def _crs(fields: Fields, path: str) -> CRS | None:
    text = fields.get("coordinate system string")
    info = _map_info(fields, path)
    if isinstance(text, str) and text:
        return as_crs(text)
    if info is None or info[0][0].lower() in ("arbitrary", "pixel", "none", ""):
        return None
    words = [word.lower().replace("-", "").replace(" ", "") for word in info[0]]
    kind, rest = words[0], words[7:]
    datum = next((_DATUMS[word] for word in rest if word in _DATUMS), None)
    unit = info[2].get("units", "").lower()
    if kind == "geographiclat/lon" and datum and unit in ("", "degrees"):
        return as_crs(datum[0])
    if kind == "utm" and datum and unit in ("", "meters", "metres") and len(rest) > 1 and rest[0].isdecimal():
        base = datum[2] if rest[1] == "south" else datum[1]
        if base and 1 <= int(rest[0]) <= 60 and rest[1] in ("north", "south"):
            return as_crs(base + int(rest[0]))
    raise CRSError(f"{path}: map info {info[0]} names no known CRS; write its WKT as 'coordinate system string'")
