"""Maps on disk: finished rows go to a hidden temporary GeoTIFF, which becomes a Cloud Optimised GeoTIFF in one step."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from xml.etree import ElementTree

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from geodata.crs import crs_text
from geodata.errors import GridError, NoFilesError, QueryError
from geodata.grid import Grid
from geodata.stitch.classes import ClassTable

__all__ = ["ROWS", "MapFile", "check_target"]

ROWS = 128
"""Rows of a map that are written at once, and the height of a tile of the temporary file."""

_SIDECARS = (".aux.xml", ".ovr", ".msk", ".msk.ovr")


def check_target(path: str | os.PathLike[str]) -> Path:
    """Return the path of a map to write, or say what is wrong with it before any work is done.

    Raises
    ------
    NoFilesError
        If the folder does not exist.
    QueryError
        If the name does not end in ``.tif`` or ``.tiff``, or is a folder.
    """
    target = Path(path)
    if target.suffix.lower() not in (".tif", ".tiff") or target.is_dir():
        raise QueryError(f"a map is written as GeoTIFF; {str(path)!r} must be a file name that ends in .tif")
    if not target.parent.is_dir():
        raise NoFilesError(f"folder {str(target.parent)!r} for the map {target.name} does not exist; create it first")
    return target


class MapFile:
    """A map that is being written: rows in any order, each once, then `finish`.

    Everything lies in one hidden folder beside the target, which `finish` and `discard` remove, and the garbage
    collector when both were forgotten. An existing map is replaced at the very end, in one step.

    Parameters
    ----------
    path : path of the map, ``.tif``
    grid : Grid
    count : int >= 1, channels
    dtype : str, numpy dtype of the map
    nodata : float
        Pixels of rows that were never written hold it, too.
    names : (count,) str, band descriptions
    table : ClassTable or None
        Stores colours in the file and names in the file's tags and beside it in ``<path>.aux.xml``: GDAL and QGIS
        read category names of a GeoTIFF from there only.

    Raises
    ------
    NoFilesError, QueryError
        As `check_target`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        grid: Grid,
        *,
        count: int,
        dtype: str,
        nodata: float,
        names: Sequence[str],
        table: ClassTable | None = None,
    ) -> None:
        self.path = check_target(path)
        self._grid = grid
        self._table = table
        self._folder = Path(tempfile.mkdtemp(prefix=f".{self.path.name[:60]}.", dir=self.path.parent))
        self._remove = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        try:
            with _lab_grids_are_fine():
                self._file = self._open(count, dtype, nodata)
            self._file.descriptions = tuple(names)
            if table is not None:
                colours = dict(zip(table.values, table.colours, strict=True))
                self._file.write_colormap(1, colours | {table.nodata: (0, 0, 0, 0)})
                self._file.update_tags(CLASSES=json.dumps(dict(zip(table.values, table.names, strict=True))))
        except BaseException:
            self.discard()
            raise

    def _open(self, count: int, dtype: str, nodata: float) -> Any:
        return rasterio.open(
            self._folder / "rows.tif",
            "w",
            driver="GTiff",
            height=self._grid.height,
            width=self._grid.width,
            count=count,
            dtype=dtype,
            nodata=nodata,
            crs=crs_text(self._grid.crs) or None,
            transform=self._grid.transform,
            tiled=True,
            blockxsize=512,
            blockysize=ROWS,
            compress="deflate",
            zlevel=1,
            interleave="band",
            sparse_ok=True,
            bigtiff="if_safer",
        )

    def write_rows(self, row: int, data: NDArray[Any]) -> Self:
        """Write all columns of some rows.

        Parameters
        ----------
        row : int, first row
        data : (count, R, W)
        """
        self._file.write(data, window=Window(0, row, data.shape[2], data.shape[1]))
        return self

    def finish(self) -> Path:
        """Make the Cloud Optimised GeoTIFF, put it in place and remove everything temporary.

        Raises
        ------
        GridError
            If the file does not give the transform back to the last bit.
        """
        try:
            self._file.close()
            cog = self._folder / "map.tif"
            with _lab_grids_are_fine():
                rasterio.shutil.copy(self._folder / "rows.tif", cog, driver="COG", **self._cog_options())
                self._check(cog)
            sidecar = self._folder / "map.tif.aux.xml"
            if self._table is not None:
                _add_category_names(sidecar, self._table.by_value)
            # Statistics, overviews and masks beside an older map would be taken for those of the new one.
            for suffix in _SIDECARS:
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            cog.replace(self.path)
            if sidecar.exists():
                sidecar.replace(self.path.with_name(self.path.name + ".aux.xml"))
        finally:
            self.discard()
        return self.path

    def discard(self) -> None:
        """Remove everything temporary; the target stays as it is."""
        file = getattr(self, "_file", None)
        if file is not None and not file.closed:
            file.close()
        self._remove()

    def _cog_options(self) -> dict[str, str]:
        # The driver interleaves channels by pixel: smaller blocks keep one block of a many-channel map small.
        pixel = self._file.count * np.dtype(self._file.dtypes[0]).itemsize
        block = 512 if pixel <= 64 else 256 if pixel <= 256 else 128
        return {
            "compress": "deflate",
            "predictor": "no" if self._table is not None else "yes",
            "blocksize": str(block),
            "overviews": "auto",
            "overview_resampling": "nearest" if self._table is not None else "average",
            "bigtiff": "if_safer",
            "num_threads": "all_cpus",
        }

    def _check(self, cog: Path) -> None:
        with rasterio.open(cog) as written:
            kept = tuple(written.transform)[:6]
        if kept != tuple(self._grid.transform)[:6]:
            raise GridError(
                f"the GeoTIFF holds the transform {kept} instead of that of {self._grid}; nothing was written"
            )


def _add_category_names(sidecar: Path, names: Sequence[str]) -> None:
    """Add category names to GDAL's sidecar file; it exists already where GeoTIFF keys cannot express a CRS."""
    # GDAL wrote that file a moment ago, so no hostile XML is read here.
    root = ElementTree.parse(sidecar).getroot() if sidecar.exists() else ElementTree.Element("PAMDataset")  # noqa: S314
    band = root.find("PAMRasterBand[@band='1']")
    if band is None:
        band = ElementTree.SubElement(root, "PAMRasterBand", band="1")
    category_names = ElementTree.SubElement(band, "CategoryNames")
    for name in names:
        ElementTree.SubElement(category_names, "Category").text = name
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(sidecar, encoding="utf-8", xml_declaration=False)


@contextmanager
def _lab_grids_are_fine() -> Iterator[None]:
    """Silence the warning about grids without a place on earth, which are values like others here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield
