"""Vector layers in memory, and the features of a layer that lie on a grid."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geodata.crs import CRS, crs_text, same_crs
from geodata.errors import CRSError, ReadError
from geodata.grid import Grid
from geodata.readers.damage import sidecars
from geodata.readers.geometry import MARGIN, frame, grown, move
from geodata.readers.ogr import Path, VectorInfo, describe_layer, label_codes, list_layers, read_layer
from geodata.readers.way import Way, mend

__all__ = [
    "Features",
    "VectorInfo",
    "VectorLayer",
    "describe_layer",
    "features_on",
    "label_codes",
    "list_layers",
    "open_layer",
]

CACHE_BYTES = 512 * 2**20
"""Layers in memory may take this much together, bytes; the one opened last is kept whatever it takes."""

_GEOMETRY_BYTES = 400  # what a polygon takes beside its coordinates
_HEAVY = 1000  # vertices
_MULTIPOLYGON = 6


@dataclass(eq=False, repr=False, slots=True)
class VectorLayer:
    """One layer in memory, in the order of the file. Shared by all who open it: its arrays are read-only.

    Parameters
    ----------
    info : VectorInfo
    geometries : (N,) shapely geometries in two dimensions, none of them null or empty
        A multipolygon of one part is that polygon.
    columns : dict, name -> (N,) array
        ``int``: int64, or objects with None where a value is missing. ``float``: float64, NaN where missing.
        ``bool``: bool, or objects with None. ``str``, ``date`` and ``datetime`` (ISO 8601): text as objects, None
        where missing.
    dropped : int
        Features of the file that were left out because they have no geometry.
    """

    info: VectorInfo
    geometries: NDArray[np.object_]
    columns: dict[str, NDArray[Any]]
    dropped: int = 0
    _tree: shapely.STRtree | None = None
    _heavy: NDArray[np.bool_] | None = None
    _mended: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for array in (self.geometries, *self.columns.values()):
            array.flags.writeable = False

    @property
    def crs(self) -> CRS:
        """The CRS of the geometries."""
        return self.info.crs

    @property
    def tree(self) -> shapely.STRtree:
        """A tree over the boxes of `geometries`, built when it is first asked for."""
        if self._tree is None:
            with _lock:
                if self._tree is None:
                    tree = shapely.STRtree(self.geometries)
                    # GEOS builds within the first query, which must not happen in two threads at once.
                    tree.query(shapely.box(0, 0, 1, 1))
                    self._tree = tree
        return self._tree

    @property
    def heavy(self) -> NDArray[np.bool_]:
        """(N,) which polygons have so many vertices that cutting one is faster than drawing all of it."""
        if self._heavy is None:
            many = shapely.get_num_coordinates(self.geometries) > _HEAVY
            self._heavy = many & (shapely.get_dimensions(self.geometries) == 2)
        return self._heavy

    def sound(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
        """Return geometries that can be cut: one that crosses itself is mended by the even-odd rule.

        Parameters
        ----------
        rows : (M,) int64, rows of `geometries`

        Returns
        -------
        geometries : (M,) shapely geometries
        whole : (M,) bool, False for those that were mended
        """
        out = self.geometries[rows]
        new = [row for row in rows.tolist() if row not in self._mended]
        for row, valid in zip(new, shapely.is_valid(self.geometries[new]).tolist(), strict=True):
            self._mended[row] = None if valid else mend(self.geometries[row])
        whole = np.array([self._mended[row] is None for row in rows.tolist()], dtype=np.bool_)
        for place in np.flatnonzero(~whole).tolist():
            out[place] = self._mended[int(rows[place])]
        return out, whole

    @property
    def nbytes(self) -> int:
        """About how much memory the layer takes, bytes."""
        columns = sum(c.nbytes + (64 * c.size if c.dtype == object else 0) for c in self.columns.values())
        return 16 * int(shapely.get_num_coordinates(self.geometries).sum()) + _GEOMETRY_BYTES * len(self) + columns

    def __len__(self) -> int:
        return len(self.geometries)

    def __repr__(self) -> str:
        return f"VectorLayer({self.info.path!r}, {self.info.layer!r}, {len(self)} features)"


@dataclass(frozen=True, eq=False, slots=True)
class Features:
    """The features of a layer that lie on a grid, in the order of the file.

    Parameters
    ----------
    index : (M,) int64, ascending
        Rows of the layer.
    geometries : (M,) shapely geometries in the CRS of the grid
        Far outside of the grid they may be cut off.
    """

    index: NDArray[np.int64]
    geometries: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.index)


def open_layer(path: Path, layer: str | None = None, *, columns: Sequence[str] = ()) -> VectorLayer:
    """Read a whole layer, or return the one in memory if the file has not changed since.

    What is in memory is bounded by `CACHE_BYTES`. A forked child inherits the layers of its parent: they are plain
    memory, no open file. Threads may call this at once; a layer is then read once.

    Parameters
    ----------
    path, layer : as in `describe_layer`
    columns : sequence of str
        Attributes to read along with the geometries.

    Raises
    ------
    NoFilesError, CRSError
        As in `describe_layer`.
    ReadError
        As in `describe_layer`, and if a column does not exist or its type cannot be read, a feature cannot be
        decoded, or no feature has a geometry.
    """
    wanted = (columns,) if isinstance(columns, str) else tuple(dict.fromkeys(columns))
    name = os.fspath(path)
    with _lock:
        key = (name, layer, wanted, _stamp(name))
        found = _cache.get(key)
        if found is None:
            found = _load(describe_layer(path, layer), wanted)
            for old in [k for k in _cache if k[:3] == key[:3]]:
                del _cache[old]
            _cache[key] = found
            _shrink()
        _cache.move_to_end(key)
    return found


def features_on(layer: VectorLayer, grid: Grid) -> Features:
    """Find the features that meet a grid, and bring them to its CRS.

    A feature that comes within `MARGIN` pixels of the grid counts as well, because GDAL may draw a line from there
    into the grid. Edges are straight in the CRS of the layer; where the CRSs differ, vertices are added so that no edge
    on the grid lies beside its true course by more than 0.1 px. Large features are cut off well outside of the grid.
    In one and the same CRS coordinates are taken as they are, also longitudes: a grid from 170 to 190 degrees does not
    find features at -175.

    Parameters
    ----------
    layer : VectorLayer
    grid : Grid

    Raises
    ------
    CRSError
        If the grid has no CRS, or a feature cannot be drawn there: an edge crosses a seam or a pole of the grid's CRS.
    """
    if grid.crs is None:
        raise CRSError(
            f"{layer!r} lies in {crs_text(layer.crs)[:40]} and {grid!r} has no CRS; give the raster its CRS first"
        )
    outline = _outline(grid)
    if same_crs(layer.crs, grid.crs):
        index = np.sort(layer.tree.query(outline, predicate="intersects"))
        return Features(index, _lighter(layer, index, grid))
    way = Way(layer.crs, grid)
    frames = frame(way, grid)
    if frames is None:
        # The surroundings of the grid have no clean image in the layer's CRS: try every feature.
        index = np.arange(len(layer))
        geometries = layer.geometries
    else:
        near, far = frames
        index = np.unique(layer.tree.query(shapely.box(*near.T))[1])
        geometries = _within(layer, index, far)
    moved, kept = move(geometries, way, grid)
    met = shapely.intersects(outline, moved)
    return Features(index[kept[met]], moved[met])


def _outline(grid: Grid) -> shapely.Polygon:
    """Return the outline of a grid with its margin."""
    low, right, bottom = -MARGIN, grid.width + MARGIN, grid.height + MARGIN
    corners = np.array([[low, low], [right, low], [right, bottom], [low, bottom]], dtype=np.float64)
    return shapely.polygons(grid.xy(corners))


def _leaving(geometries: NDArray[np.object_], boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which geometries lie wholly in none of the (K, 4) boxes."""
    bounds = shapely.bounds(geometries)[:, None]
    held = (bounds[..., :2] >= boxes[:, :2]) & (bounds[..., 2:] <= boxes[:, 2:])
    return ~held.all(axis=-1).any(axis=-1)  # type: ignore[no-any-return]


def _within(layer: VectorLayer, index: NDArray[np.int64], boxes: NDArray[np.float64]) -> NDArray[np.object_]:
    """Cut what reaches out of the boxes: far away a projection may fold, tear or end."""
    geometries = layer.geometries[index]
    out = np.flatnonzero(_leaving(geometries, boxes))
    if len(out):
        geometries[out] = shapely.intersection(layer.sound(index[out])[0], shapely.union_all(shapely.box(*boxes.T)))
    return geometries


def _lighter(layer: VectorLayer, index: NDArray[np.int64], grid: Grid) -> NDArray[np.object_]:
    """Cut large valid polygons: the same pixels for less work. Lines are left, a cut moves the pixels they take."""
    geometries = layer.geometries[index]
    heavy = np.flatnonzero(layer.heavy[index])
    if len(heavy):
        box = np.array([grown(grid, max(grid.shape) // 2 + MARGIN).bounds])
        heavy = heavy[_leaving(geometries[heavy], box)]
        sound, whole = layer.sound(index[heavy])
        geometries[heavy[whole]] = shapely.intersection(sound[whole], shapely.box(*box[0]))
    return geometries


def _load(info: VectorInfo, columns: tuple[str, ...]) -> VectorLayer:
    geometries, values = read_layer(info, columns)
    held = ~(shapely.is_missing(geometries) | shapely.is_empty(geometries))
    if not held.any():
        raise ReadError(f"{info.path}, layer {info.layer!r}: none of its {info.count} features has a geometry")
    if held.all():
        return VectorLayer(info, _plain(geometries), values)
    kept = {name: column[held] for name, column in values.items()}
    return VectorLayer(info, _plain(geometries[held]), kept, int((~held).sum()))


def _plain(geometries: NDArray[np.object_]) -> NDArray[np.object_]:
    """Unwrap multipolygons of one part: files that may hold several wrap all, and each then costs twice the work."""
    alone = (shapely.get_type_id(geometries) == _MULTIPOLYGON) & (shapely.get_num_geometries(geometries) == 1)
    out = geometries.copy()
    out[alone] = shapely.get_geometry(geometries[alone], 0)
    return out


_lock = threading.RLock()
_cache: OrderedDict[tuple[Any, ...], VectorLayer] = OrderedDict()


def _unlock_child() -> None:
    # A thread of the parent may hold the lock at the fork; it does not exist in the child to give it back.
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_child)


def _shrink() -> None:
    sizes = {key: layer.nbytes for key, layer in _cache.items()}
    total = sum(sizes.values())
    for key in list(_cache)[:-1]:
        if total <= CACHE_BYTES:
            break
        total -= sizes[key]
        del _cache[key]


def _stamp(name: str) -> tuple[tuple[int, int] | None, ...]:
    """Size and time of a file and of what belongs to it: a new table beside an old shapefile is a new layer."""
    stamps: list[tuple[int, int] | None] = []
    for file in (name, f"{name}-wal", *sidecars(name)):
        try:
            stat = os.stat(file)
        except OSError:
            stamps.append(None)
        else:
            stamps.append((stat.st_size, stat.st_mtime_ns))
    return tuple(stamps)
