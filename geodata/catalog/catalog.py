"""The catalog: one row per item, in columns; footprints, times and where the files are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import fields as fields_of
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geodata.catalog import parquet, tiles
from geodata.catalog import search as searching
from geodata.catalog.arrow import number_array, values_of
from geodata.catalog.columns import check, matching, parse, row_numbers
from geodata.catalog.concat import concat
from geodata.catalog.footprint import Footprints, boxes84
from geodata.catalog.paths import fields, filled, resolve
from geodata.catalog.scan import scan
from geodata.catalog.tree import Tree
from geodata.crs import CRS, crs_text
from geodata.errors import CatalogError
from geodata.grid import Grid
from geodata.interval import Interval
from geodata.query import Window
from geodata.readers.base import Asset

__all__ = ["Catalog"]


@dataclass(frozen=True, eq=False)
class Catalog:
    """N items: where, when, and in which files.

    Catalogs are values: every method returns a new one. Make them with `scan`, `load` or `from_columns`.

    Parameters
    ----------
    footprints : Footprints
        affine (N, 6) float64, shape (N, 2) int64 and CRS of each item's reference grid.
    origin : (N, 2) int64, row and column of an item's first pixel in the lattice of its files
        Zero, except for tiles.
    time : (N, 2) float64, seconds since 1970 UTC, half-open; -inf and inf where unknown
    table : pyarrow.Table
        ``key`` (unique text) and every further column: paths, attributes, sizes and times of files.
    assets : files of every item
    root : folder or URL below which all paths lie
    lattice : bool
        False for items that have a footprint but no pixels (vector layers).
    skipped, dropped : files that a scan could not read, and items that lacked a band, with ``on_error="skip"``
    dataset : name and version of the published dataset that it is of, or empty texts
    """

    footprints: Footprints
    origin: NDArray[np.int64]
    time: NDArray[np.float64]
    table: pa.Table
    assets: tuple[Asset, ...] = ()
    root: str = ""
    lattice: bool = True
    skipped: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    dataset: tuple[str, str] = ("", "")

    def __post_init__(self) -> None:
        check(self)

    @classmethod
    def from_columns(
        cls,
        *,
        key: Sequence[str],
        affine: Any,
        shape: Any,
        crs: Any,
        time: Any = None,
        columns: Mapping[str, Any] | None = None,
        assets: Sequence[Asset] = (),
        root: str = "",
        lattice: bool = True,
    ) -> Catalog:
        """Make a catalog from plain columns.

        Parameters
        ----------
        key : N unique texts, or an Arrow array of them
        affine : (N, 6) a, b, c, d, e, f
        shape : (N, 2) height, width, pixels
        crs : one CRS, N of them, or (N,) integers, EPSG codes
        time : (N, 2) seconds since 1970 UTC, or None
        columns : further columns by name, N values each
        assets, root, lattice : as in `Catalog`

        Raises
        ------
        CatalogError
            If keys repeat, lengths differ, numbers are not finite, or a column has a name that is taken.
        """
        return cls(
            **parse(key, affine, shape, crs, time, columns or {}),
            assets=tuple(assets),
            root=root,
            lattice=lattice,
        )

    @classmethod
    def scan(cls, paths: Any, **options: Any) -> Catalog:
        """Read the headers of raster files and make a catalog of them; see `geodata.catalog.scan.scan`."""
        found = scan(paths, **options)
        skipped, dropped = tuple(found.pop("skipped")), tuple(found.pop("dropped"))
        return replace(cls.from_columns(**found), skipped=skipped, dropped=dropped)

    @classmethod
    def load(cls, path: str | Path) -> Catalog:
        """Open a catalog that `save` wrote; see `geodata.catalog.parquet`.

        Raises
        ------
        CatalogError
            If the file is no catalog, or a path in it leads out of the catalog's root.
        """
        return cls(**parquet.read(Path(path)))

    def save(self, path: str | Path) -> Path:
        """Write a GeoParquet 1.1 file that geopandas, QGIS and `load` open; written beside and then moved into place."""
        return parquet.write(self, Path(path))

    def __len__(self) -> int:
        return len(self.footprints)

    @cached_property
    def key(self) -> NDArray[np.object_]:
        """(N,) unique text per item."""
        return self.column("key")

    def column(self, name: str) -> NDArray[Any]:
        """Return a column as a numpy array, text as objects.

        Raises
        ------
        CatalogError
            If there is no such column.
        """
        if name not in self.table.column_names:
            raise CatalogError(f"no column {name!r}; there are: {', '.join(self.table.column_names)}")
        return values_of(self.table[name])

    def kept(self, name: Any, make: Callable[[], Any]) -> Any:
        """Return what a function gives, which is called once for this catalog and name in each process."""
        known = self.__dict__.setdefault("_kept", {})
        return known[name] if name in known else known.setdefault(name, make())

    @property
    def columns(self) -> dict[str, NDArray[Any]]:
        """Every column but the key, by name."""
        return {name: self.column(name) for name in self.table.column_names if name != "key"}

    @property
    def affine(self) -> NDArray[np.float64]:
        """(N, 6) a, b, c, d, e, f of each item's grid."""
        return self.footprints.affine

    @property
    def shape(self) -> NDArray[np.int64]:
        """(N, 2) height and width of each item's grid, pixels."""
        return self.footprints.shape

    @property
    def crs(self) -> NDArray[np.object_]:
        """(N,) CRS of each item as text, ``""`` for none."""
        return np.array([crs_text(c) for c in self.footprints.crs], dtype=object)[self.footprints.code]

    @cached_property
    def crs_in_use(self) -> list[CRS | None]:
        """The distinct CRSs, most frequent first."""
        count = np.bincount(self.footprints.code, minlength=len(self.footprints.crs))
        return [self.footprints.crs[c] for c in np.argsort(-count, kind="stable") if count[c]]

    @cached_property
    def _no_crs(self) -> NDArray[np.bool_]:
        return np.array([c is None for c in self.footprints.crs], dtype=bool)[self.footprints.code]

    @property
    def has_crs(self) -> bool:
        """Whether items lie somewhere on earth."""
        return len(self) > 0 and not bool(self._no_crs[0])

    @cached_property
    def box84(self) -> NDArray[np.float64]:
        """(N, 4) west, south, east, north in OGC:CRS84; west > east crosses the antimeridian. With a small margin."""
        return boxes84(self.footprints)

    @cached_property
    def tree(self) -> Tree:
        """The R-tree over the boxes and times, built on first use in each process."""
        return Tree(self.box84, self.time)

    def grid(self, row: int, window: Window | None = None) -> Grid:
        """Return the grid of an item, or of a window on its lattice."""
        fp = self.footprints
        a, b, c, d, e, f = fp.affine[row].tolist()
        crs = fp.crs[fp.code[row]]
        r, q, height, width = (0, 0, *fp.shape[row].tolist()) if window is None else window
        return Grid.known((int(height), int(width)), (a, b, a * q + b * r + c, d, e, d * q + e * r + f), crs)

    def interval(self, row: int) -> Interval:
        """Return the time of an item."""
        start, end = self.time[row].tolist()
        return Interval(start, end)

    def href(self, asset: Asset, row: int) -> str | None:
        """Return the path or URL of an item's file, None if the item lacks it."""
        path = filled(asset.href, self.values(row, fields(asset.href)))
        return None if path is None else resolve(self.root, path)

    def values(self, row: int, names: Iterable[str]) -> dict[str, Any]:
        """Return what columns hold in a row, None for null; ``key`` of a tile is that of the item it was cut from."""
        cut = "tile_of" in self.table.column_names
        return {name: self.table["tile_of" if cut and name == "key" else name][row].as_py() for name in names}

    def take(self, rows: Any) -> Catalog:
        """Return some rows in the order given (integers, or a boolean mask)."""
        rows = row_numbers(rows, len(self))
        taken = replace(
            self,
            footprints=self.footprints.take(rows),
            origin=self.origin[rows],
            time=self.time[rows],
            table=self.table.take(number_array(rows)),
        )
        if "box84" in self.__dict__:
            taken.__dict__["box84"] = self.box84[rows]
        return taken

    def matching(self, condition: Callable[[Catalog], Any] | None = None, **values: Any) -> NDArray[np.int64]:
        """Return the rows that `where` would keep."""
        return matching(self, condition, values)

    def where(self, condition: Callable[[Catalog], Any] | None = None, **values: Any) -> Catalog:
        """Return the rows whose columns have the given values (or one of a list), or that a function marks.

        ``catalog.where(country="Austria")``, ``catalog.where(lambda c: c.column("cloud") < 10)``
        """
        return self.take(self.matching(condition, **values))

    def rows_of(self, keys: Iterable[str]) -> NDArray[np.int64]:
        """Return the row of each key; CatalogError if one is not in the catalog."""
        position = {k: i for i, k in enumerate(self.key)}
        keys = list(keys)
        missing = [k for k in keys if k not in position]
        if missing:
            raise CatalogError(f"{len(missing)} of {len(keys)} keys are not in this catalog, first {missing[0]!r}")
        return np.array([position[k] for k in keys], dtype=np.int64)

    def tile(self, size: Any, stride: Any = None, *, edge: str = "keep", multiple: int = 1) -> Catalog:
        """Return a catalog whose rows are pixel blocks of these rows.

        Parameters
        ----------
        size, stride : int, (height, width), or ground size such as ``"2560m"``
            Pixels of each row's lattice; the stride is the size unless given.
        edge : {"keep", "drop"}
            What to do with smaller blocks at the right and lower edge.
        multiple : int
            Blocks must start and end on multiples of it (the least common ratio of native resolutions).

        Returns
        -------
        Catalog
            Keys are ``<key>#r<row>c<col>h<height>w<width>``; column ``tile_of`` holds the key of the origin. With the
            default stride and edge the blocks partition the pixels.
        """
        return tiles.tile(self, size, stride, edge=edge, multiple=multiple)[0]

    def coarser(self, ratio: int) -> Catalog:
        """Return the same items on a reference grid with pixels ``ratio`` times as large."""
        return tiles.coarser(self, ratio)

    def search(self, bounds: Any, *, crs: Any = None, time: Any = None) -> NDArray[np.int64]:
        """Return the rows that share area and time with a box, in catalog order.

        Parameters
        ----------
        bounds : (left, bottom, right, top) in ``crs``, or a Grid
            Without extent it is a point: items that hold it.
        crs : anything that names a CRS
            Not needed when ``bounds`` is a Grid; there is no default.
        time : as in `Interval.parse`, None for any

        Raises
        ------
        CRSError
            If there is no CRS on either side.
        """
        return searching.search(self, bounds, crs, Interval.parse(time))

    def pairs(self, other: Catalog) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (i, j): row i of this meets row j of the other in area and time; sorted."""
        return searching.pairs(self, other)

    def join(self, other: Catalog, how: str = "intersects") -> Catalog:
        """Return the rows that meet a row of the other catalog; this one leads.

        Parameters
        ----------
        how : {"intersects", "within"}
            ``within`` keeps rows that the union of the other's rows covers wholly (to 1e-6 of the area).
        """
        return self.take(searching.joined_rows(self, other, how))

    def concat(self, *others: Catalog, reindex: bool = False) -> Catalog:
        """Return the rows of all, in order.

        Parameters
        ----------
        reindex : bool
            Allow different assets; an item then lacks the files that only others have.

        Raises
        ------
        CatalogError
            If assets differ (and not ``reindex``), keys repeat, or rows with and without lattice are mixed.
        """
        return concat([self, *others], reindex=reindex)

    def check_files(self) -> None:
        """Compare every file's size and time of change with what the scan saw.

        Raises
        ------
        StaleCatalogError
            Naming how many files are missing or changed, and the first of each.
        """
        parquet.check_files(self)

    def __getstate__(self) -> dict[str, Any]:
        kept = {f.name for f in fields_of(self)} | {"box84"}
        return {k: v for k, v in self.__dict__.items() if k in kept}

    def __repr__(self) -> str:
        names = [crs_text(c)[:24] or "no CRS" for c in self.crs_in_use]
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        bands = sum(len(a.bands) for a in self.assets)
        return f"Catalog({len(self)} items, {shown or 'empty'}, {bands} bands in {len(self.assets)} files each)"
