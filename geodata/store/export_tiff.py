"""One GeoTIFF of an export: written, and read back to be sure of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import google_crc32c
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.windows import Window

from geodata.catalog import Catalog
from geodata.errors import StoreError
from geodata.readers.base import quietly, stored_nodata
from geodata.store.export import writing
from geodata.store.source import StoredArray

__all__ = ["COMPRESSION", "Tiff"]

COMPRESSION = ("deflate", "lzw", "zstd", "none")

BLOCK = 256
"""Side of the tiles of large images."""

LARGE = 512
"""Side in pixels from which an image is cut into tiles."""

MOST = 64 * 2**20
"""Bytes that are held at once, about; at least one row of tiles."""

_THEMATIC = (("Value", "0", "5"), ("Class", "2", "2"), ("Red", "0", "6"), ("Green", "0", "7"), ("Blue", "0", "8"))
"""Columns of GDAL's attribute tables: name, type (0 whole number of 32 bits, 2 text), and what they are used for."""


@dataclass(frozen=True)
class Tiff:
    """What one file holds.

    Parameters
    ----------
    array : StoredArray
    size : height and width in its pixels
    transform : a, b, c, d, e, f, or None for a plain TIFF
    crs : as text, ``""`` for none
    classes : value, name and perhaps colour of each, of a mask
    """

    array: StoredArray
    size: Sequence[int]
    transform: tuple[float, ...] | None
    crs: str
    classes: Sequence[dict[str, Any]]

    def write(self, path: Path, catalog: Catalog, row: int, compress: str) -> None:
        """Write the file, and read it back.

        Raises
        ------
        StoreError
            If it cannot be written; if it gives back something else; if its bands mark different pixels as not observed.
        ReadError
            If the source cannot be read.
        """
        checks = []
        with writing(path, RasterioError, CPLE_BaseError):
            with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
                with quietly():
                    file = rasterio.open(path, "w", **self._profile(compress))
                with file:
                    self._describe(file)
                    for window in self._windows():
                        data, seen = self._read(catalog, row, window)
                        where = Window(window[1], window[0], window[3], window[2])
                        file.write(data, window=where)
                        if seen is not None:
                            file.write_mask(seen, window=where)
                        checks.append(_check(data, seen))
            if self.classes:
                self._name_classes(path.with_name(f"{path.name}.aux.xml"))
            self._read_back(path, str(catalog.key[row]), checks)

    def _profile(self, compress: str) -> dict[str, Any]:
        array, (height, width) = self.array, self.size
        kind = np.dtype(array.dtype)
        found: dict[str, Any] = {
            "driver": "GTiff",
            "dtype": array.dtype,
            "count": len(array.bands),
            "height": height,
            "width": width,
            "interleave": "band",
            "bigtiff": "if_safer",
            "nodata": self._nodata,
        }
        if compress != "none":
            found["compress"] = compress
            if not self.classes and (kind.kind == "f" or kind.itemsize <= 4):
                found["predictor"] = 3 if kind.kind == "f" else 2
        if max(height, width) > LARGE:
            found |= {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK}
        if len(array.bands) > 1 and not (array.dtype == "uint8" and len(array.bands) == 3):
            # GDAL takes the fourth of four bands of bytes for an alpha band.
            found |= {"photometric": "minisblack", "alpha": "unspecified"}
        if self.transform is not None:
            found |= {"transform": rasterio.Affine(*self.transform), "crs": self.crs or None}
        return found

    @property
    def _nodata(self) -> float | None:
        """The value for the file's header: what it says must be all that says what was observed."""
        nodata = self.array.nodata
        if self.array.validity == "nodata":
            held = stored_nodata(nodata, self.array.dtype)
            return None if held is None else held.item()
        return nodata if self.array.validity == "nan" and nodata is not None and np.isnan(nodata) else None

    def _describe(self, file: Any) -> None:
        bands = list(self.array.bands)
        file.descriptions = tuple(b.name for b in bands)
        if any((b.scale, b.offset) != (1.0, 0.0) for b in bands):
            file.scales, file.offsets = tuple(b.scale for b in bands), tuple(b.offset for b in bands)
        if any(b.unit for b in bands):
            file.units = tuple(b.unit or "" for b in bands)
        for index, band in enumerate(bands, 1):
            if band.wavelength is not None:
                width = {} if band.fwhm is None else {"fwhm": repr(float(band.fwhm))}
                file.update_tags(index, wavelength=repr(float(band.wavelength)), wavelength_units="nm", **width)
        if self.classes:
            file.update_tags(CLASSES=json.dumps({c["value"]: c["name"] for c in self.classes}, ensure_ascii=False))
            if self.array.dtype == "uint8" and any("colour" in c for c in self.classes):
                known = [c for c in self.classes if "colour" in c and 0 <= c["value"] < 256]
                file.write_colormap(1, {c["value"]: (*_rgb(c), 255) for c in known})

    def _windows(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield row, column, height and width of what is read at once: whole rows of tiles."""
        height, width = self.size
        row = width * len(self.array.bands) * (np.dtype(self.array.dtype).itemsize + self.array.masked)
        rows = max(1, MOST // (row * BLOCK)) * BLOCK
        for top in range(0, height, rows):
            yield top, 0, min(rows, height - top), width

    def _read(
        self, catalog: Catalog, row: int, window: tuple[int, int, int, int]
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        data = np.empty((len(self.array.bands), *window[2:]), self.array.dtype)
        if not self.array.masked:
            self.array.read(catalog, row, window, data, None)
            return data, None
        seen = np.empty(data.shape, bool)
        self.array.read(catalog, row, window, data, seen)
        if (seen != seen[0]).any():
            band = self.array.bands[int(np.flatnonzero((seen != seen[0]).any(axis=(1, 2)))[0])].name
            raise StoreError(
                f"item {catalog.key[row]!r}: bands {self.array.bands[0].name} and {band} mark different pixels as not observed, "
                "and a GeoTIFF has one mask; export such bands one at a time, bands=[...], each to its own folder"
            )
        return data, seen[0]

    def _name_classes(self, sidecar: Path) -> None:
        """Put names of classes where GDAL and QGIS look for them; that file is there already if GDAL had more to say."""
        # GDAL wrote that file a moment ago, so no hostile XML is read here.
        root = ElementTree.parse(sidecar).getroot() if sidecar.exists() else ElementTree.Element("PAMDataset")  # noqa: S314
        band = root.find("PAMRasterBand[@band='1']")
        if band is None:
            band = ElementTree.SubElement(root, "PAMRasterBand", band="1")
        named = {c["value"]: c for c in self.classes}
        if min(named) >= 0 and max(named) < 256:
            names = ElementTree.SubElement(band, "CategoryNames")
            for value in range(max(named) + 1):
                ElementTree.SubElement(names, "Category").text = named[value]["name"] if value in named else ""
        else:
            _attribute_table(band, self.classes)
        ElementTree.ElementTree(root).write(sidecar, encoding="utf-8", xml_declaration=False)

    def _read_back(self, path: Path, key: str, checks: Sequence[int]) -> None:
        """Check what the disk gives back: GDAL closes a file that did not fit without a word.

        Raises
        ------
        StoreError
            If it is not what was written.
        """
        with _opened(path) as file:
            placed = self.transform is None or tuple(file.transform)[:6] == self.transform
            found = []
            for row, column, height, width in self._windows():
                where = Window(column, row, width, height)
                seen = file.read_masks(1, window=where).astype(bool) if self.array.masked else None
                found.append(_check(file.read(window=where), seen))
        if found != list(checks):
            raise StoreError(
                f"cannot write item {key!r} to {path.parent}: the disk gives back other values than were written; is it full?"
            )
        if not placed:
            raise StoreError(f"item {key!r}: a GeoTIFF cannot hold its transform {self.transform}; reproject it first")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with quietly():
        file = rasterio.open(path)
    with file:
        yield file


def _check(data: NDArray[Any], seen: NDArray[np.bool_] | None) -> int:
    """Return a checksum of values and what was observed."""
    check: int = google_crc32c.extend(0, np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8))
    if seen is not None:
        check = google_crc32c.extend(check, np.frombuffer(seen.tobytes(), np.uint8))
    return check


def _rgb(entry: dict[str, Any]) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(entry.get("colour", "#000000")[1:])
    return red, green, blue


def _attribute_table(band: ElementTree.Element, classes: Sequence[dict[str, Any]]) -> None:
    """Add a table of classes, for numbers that a list of names or a colour table would be too long for."""
    coloured = any("colour" in c for c in classes)
    table = ElementTree.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    columns = [list(column) for column in _THEMATIC[: 5 if coloured else 2]]
    if max(abs(c["value"]) for c in classes) >= 2**31:
        columns[0][1] = "1"  # a float of 64 bits
    for index, column in enumerate(columns):
        field = ElementTree.SubElement(table, "FieldDefn", index=str(index))
        for name, text in zip(("Name", "Type", "Usage"), column, strict=True):
            ElementTree.SubElement(field, name).text = text
    for index, entry in enumerate(sorted(classes, key=lambda c: int(c["value"]))):
        row = ElementTree.SubElement(table, "Row", index=str(index))
        for value in (entry["value"], entry["name"], *(_rgb(entry) if coloured else ())):
            ElementTree.SubElement(row, "F").text = str(value)
