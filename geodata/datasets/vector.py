"""Any vector layer as a dataset: a mask, boxes, or one mask per object."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from geodata.bands import Bands
from geodata.catalog import Catalog
from geodata.catalog.footprint import Footprints, project, rings
from geodata.catalog.overlap import in_time, meet
from geodata.catalog.paths import find_files
from geodata.crs import as_crs, same_crs
from geodata.dataset import Dataset
from geodata.datasets.classes import class_names
from geodata.errors import CatalogError, DtypeError, NoFilesError
from geodata.grid import Grid, check_res
from geodata.readers.base import Asset
from geodata.readers.rasterize import boxes_on, burn, instances_on
from geodata.readers.vector import Features, VectorInfo, describe_layer, features_on, label_codes, open_layer
from geodata.sample import IGNORE
from geodata.spot import Buffers, Slots, Spot

__all__ = ["VectorDataset"]

_FEW = 16  # layers

EXTENSIONS = (".gpkg", ".shp", ".geojson", ".json", ".fgb", ".gml", ".kml")

TASKS = {"mask": ("mask",), "boxes": ("boxes", "box_labels"), "instances": ("instances", "boxes", "box_labels")}


class VectorDataset(Dataset):
    """Polygons (or lines, points) in vector files, drawn on whatever grid they are joined to.

    A layer has a footprint, its bounding box, but no pixels: join it to a raster, ``images & VectorDataset(...)``, or give
    it a resolution. Each layer is read once per process and kept.

    Parameters
    ----------
    paths : folder, glob, file, or list of files
    label : attribute to draw, or None for 1 wherever there is a feature
        Integers are drawn as they are; text is numbered in the order of `classes`. Missing values become
        ``ignore_index``.
    layer : name of the layer in files that hold several
    task : {"mask", "boxes", "instances"}
        ``mask`` (H, W) int64 · ``boxes`` (N, 4) float32 x0 y0 x1 y1 pixels clipped to the window, ``box_labels`` (N,) ·
        also ``instances`` (N, H, W) bool.
    background : int or None
        What a pixel of the footprint without a feature holds in the mask; None means not mapped, ``ignore_index``.
    classes : names by value, or {value: name}, or None
        None numbers the distinct texts in alphabetical order, from 1 if the background is 0.
    res, crs : float or (x, y) in units of ``crs`` per pixel; anything that names a CRS
        Give the layer a lattice of its own, anchored at its upper left corner.
    all_touched : bool
        Take every pixel that a feature touches, not only those whose centre it holds.
    ignore_index : int
    name, transforms : as in `Dataset`

    Raises
    ------
    NoFilesError, ReadError, CRSError
        If no file matches, or one cannot be read, lacks a CRS, or has no such layer or attribute.
    DtypeError, CatalogError
        If labels are neither whole numbers nor text, or are not in ``classes``.
    """

    def __init__(
        self,
        paths: Any,
        *,
        label: str | None = None,
        layer: str | None = None,
        task: str = "mask",
        background: int | None = 0,
        classes: Sequence[str] | Mapping[int, Any] | None = None,
        res: Any = None,
        crs: Any = None,
        all_touched: bool = False,
        ignore_index: int = IGNORE,
        name: str = "",
        transforms: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        if task not in TASKS:
            raise CatalogError(f"task={task!r} must be one of {', '.join(TASKS)}")
        root, files, said = find_files(paths, EXTENSIONS)
        if not files:
            raise NoFilesError(f"no vector file in {said}: looked for {', '.join(EXTENSIONS)}")
        infos = [describe_layer(f if "://" in f else os.path.join(root, f), layer) for f in files]
        super().__init__(_catalog(root, files, infos, res, crs), name=name, transforms=transforms)
        self.label, self.layer, self.task = label, layer, task
        self.background, self.all_touched, self.ignore_index = background, all_touched, ignore_index
        self._codes, self._class_names = _codes(infos, label, background, classes)

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Class names by value."""
        return self._class_names

    @property
    def keys(self) -> tuple[str, ...]:
        """Sample keys."""
        return tuple(f"{k}_{self.name}" if self.name else k for k in TASKS[self.task])

    def union(self, other: Dataset, *, reindex: bool = False) -> Dataset:
        """Return the files of both datasets, these first.

        Raises
        ------
        CatalogError
            If they are drawn differently, or number their classes differently: give both the same ``classes=``.
        """
        if not isinstance(other, VectorDataset) or self.keys != other.keys:
            return super().union(other, reindex=reindex)
        mine, theirs = self._options, other._options
        if mine != theirs:
            raise CatalogError(
                f"the two sides are drawn differently, {mine} and {theirs}; give both the same options and classes="
            )
        new = copy(self)
        new.catalog = self.catalog.concat(other.catalog)
        return new

    @property
    def _options(self) -> dict[str, Any]:
        names = ("label", "layer", "task", "background", "all_touched", "ignore_index", "transforms")
        return {**{name: getattr(self, name) for name in names}, "classes": self._class_names, "codes": self._codes}

    _slots_by_shape = True

    def _slots(self, spot: Spot) -> Slots:
        return {self.keys[0]: (spot.grid.shape, np.int64)} if self.task == "mask" else {}

    def _under(self, spot: Spot) -> NDArray[np.int64]:
        footprints = self.catalog.footprints
        if len(footprints) > _FEW or not all(same_crs(crs, spot.grid.crs) for crs in footprints.crs):
            return super()._under(spot)
        # A few layers in the CRS of the query are sooner compared one by one than found by the tree.
        rows = np.flatnonzero(in_time(self.catalog.time, spot.time))
        if all(self._holds(row, spot.grid) for row in rows.tolist()):
            return rows
        return rows[meet(footprints.take(rows), Footprints.of(spot.grid).take(np.zeros(len(rows), dtype=np.int64)))]

    def _holds(self, row: int, grid: Grid) -> bool:
        """Tell whether a whole grid lies in a layer of the same CRS."""
        footprints = self.catalog.footprints
        same = same_crs(footprints.crs[footprints.code[row]], grid.crs)
        return same and _within(grid, footprints.shape[row].tolist(), footprints.affine[row].tolist())

    def _fill(self, spot: Spot, out: Buffers) -> dict[str, Any]:
        return self._fill_on(spot, out, np.array([spot.row]))

    def _fill_on(self, spot: Spot, out: Buffers, rows: NDArray[np.int64] | None = None) -> dict[str, Any]:
        grid = spot.grid
        found = self._under(spot) if rows is None else rows
        if self.task == "mask":
            self._draw(found, spot, out[self.keys[0]])
            return {}
        parts = [self._objects(row, grid) for row in found.tolist()]
        return (
            {k: torch.from_numpy(np.concatenate([p[i] for p in parts])) for i, k in enumerate(self.keys)}
            if parts
            else self._nothing(grid)
        )

    def _draw(self, rows: NDArray[np.int64], spot: Spot, mask: NDArray[np.int64]) -> None:
        grid, touched = spot.grid, self.all_touched
        unset = self.ignore_index if self.background is None else self.background
        held = None if spot.inside is None else _inside(spot.inside, grid)
        if len(rows) != 1 or held is not None:
            mask[:] = self.ignore_index
        for row in rows.tolist():
            features, values = self._features(row, grid)
            inside = None if self._holds(row, grid) else _inside(self.catalog.grid(row), grid)
            if len(rows) == 1 and held is None:
                burn(features, values, grid, background=unset, all_touched=touched, out=mask)
                if inside is not None:
                    mask[~inside] = self.ignore_index
                return
            drawn = burn(features, values, grid, background=unset, all_touched=touched)
            fresh = (mask == self.ignore_index) | (drawn != unset)
            for part in (held, inside):
                if part is not None:
                    fresh &= part
            np.copyto(mask, drawn, where=fresh)

    def _features(self, row: int, grid: Grid) -> tuple[Features, NDArray[np.int64]]:
        path = self.catalog.href(self.catalog.assets[0], row)
        columns = () if self.label is None else (self.label,)
        layer = open_layer(str(path), self.layer, columns=columns)
        features = features_on(layer, grid)
        if self.label is None:
            return features, np.ones(len(features), dtype=np.int64)
        values = layer.columns[self.label][features.index]
        if self._codes is None and values.dtype == np.int64:
            return features, values
        codes, texts = self._codes, values.tolist()
        numbers = [self.ignore_index if v is None else int(v) if codes is None else codes[v] for v in texts]
        return features, np.array(numbers, dtype=np.int64)

    def _objects(self, row: int, grid: Grid) -> tuple[NDArray[Any], ...]:
        features, values = self._features(row, grid)
        if self.task == "boxes":
            boxes, kept = boxes_on(features, grid)
            return boxes, values[kept]
        masks, drawn = instances_on(features, grid, all_touched=self.all_touched)
        boxes, boxed = boxes_on(features, grid)
        both, i, j = np.intersect1d(drawn, boxed, return_indices=True)
        return masks[i], boxes[j], values[both]

    def _nothing(self, grid: Grid) -> dict[str, Any]:
        empty = {
            "instances": torch.empty((0, *grid.shape), dtype=torch.bool),
            "boxes": torch.empty((0, 4)),
            "box_labels": torch.empty(0, dtype=torch.int64),
        }
        return {full: empty[short] for full, short in zip(self.keys, TASKS[self.task], strict=True)}


def _catalog(root: str, files: list[str], infos: list[VectorInfo], res: Any, crs: Any) -> Catalog:
    grids = [_lattice(info, res, crs) for info in infos]
    stems = [os.path.splitext(f)[0].replace(os.sep, "/") for f in files]
    return Catalog.from_columns(
        key=stems if len(set(stems)) == len(stems) else files,
        affine=[tuple(g.transform)[:6] for g in grids],
        shape=[g.shape for g in grids],
        crs=[g.crs for g in grids],
        columns={
            "path": pa.array([f.replace(os.sep, "/") for f in files], pa.string()),
            "layer": pa.array([i.layer for i in infos], pa.string()),
            "size": pa.array([i.size for i in infos], pa.int64()),
            "mtime": pa.array(
                [0 if "://" in f else os.stat(os.path.join(root, f)).st_mtime_ns for f in files], pa.int64()
            ),
        },
        assets=[Asset("{path}", Bands([]), ())],
        root=root,
        lattice=res is not None,
    )


def _lattice(info: VectorInfo, res: Any, crs: Any) -> Grid:
    """The bounding box of a layer as one pixel, or the lattice that a resolution gives it."""
    left, bottom, right, top = info.bounds
    # A single point, or a line along an axis, still lies somewhere.
    pad = 1e-9 * max(abs(left), abs(bottom), abs(right), abs(top), 1.0)
    right, top = max(right, left + pad), max(top, bottom + pad)
    box = Grid.of_box((left, bottom, right, top), info.crs)
    target = as_crs(crs)
    if target is not None and not same_crs(target, info.crs):
        corners = project(rings(Footprints.of(box), 16), info.crs, target)[0]
        box = Grid.of_box((*corners.min(axis=0), *corners.max(axis=0)), target)
    return box if res is None else Grid.from_bounds(box.bounds, box.crs, check_res(res))


def _codes(
    infos: list[VectorInfo],
    label: str | None,
    background: int | None,
    classes: Sequence[str] | Mapping[int, Any] | None,
) -> tuple[dict[Any, int] | None, tuple[str, ...] | None]:
    """Return the number of each text, or None for numbers as they are; and the class names by value."""
    names = class_names(classes)
    if label is None:
        return None, names
    found = {v for info in infos for v in label_codes(info, column=label) if v is not None}
    if all(isinstance(v, (int, np.integer)) for v in found):
        return None, names
    if not all(isinstance(v, str) for v in found):
        raise DtypeError(
            f"labels of column {label!r} must be whole numbers or text, got for example {next(iter(found))!r}"
        )
    if names is None:
        first = () if background != 0 else ("background",)
        names = (*first, *sorted(str(v) for v in found))
    codes = {name: value for value, name in enumerate(names) if name}
    unknown = sorted(str(v) for v in found - set(codes))
    if unknown:
        raise CatalogError(
            f"{len(unknown)} labels of column {label!r} are not in classes, first {unknown[0]!r}; add them"
        )
    return codes, names


def _inside(home: Grid, grid: Grid) -> NDArray[np.bool_] | None:
    """Return (H, W) which pixel centres lie in another grid, None if the whole grid does."""
    source, target = grid.crs, home.crs
    same = source is None or target is None or same_crs(source, target)

    def within(xy: NDArray[np.float64]) -> NDArray[np.bool_]:
        if source is not None and target is not None and not same:
            xy = project(xy, source, target)
        with np.errstate(invalid="ignore"):
            col, row = np.moveaxis(home.colrow(xy), -1, 0)
            inside: NDArray[np.bool_] = (col >= 0) & (col <= home.width) & (row >= 0) & (row <= home.height)
        return inside

    if _within(grid, home.shape, tuple(home.transform)) if same else within(grid.boundary(8)).all():
        return None
    centres = np.stack(np.meshgrid(np.arange(grid.width) + 0.5, np.arange(grid.height) + 0.5), axis=-1)
    return within(grid.xy(centres))


def _within(grid: Grid, shape: Sequence[int], affine: Sequence[float]) -> bool:
    """Tell whether the corners of a grid lie in a rectangle of the same CRS; four points are not worth an array."""
    t, (a, b, c, d, e, f) = grid.transform, tuple(affine)[:6]
    (height, width), det = grid.shape, a * e - b * d
    for col, row in ((0, 0), (width, 0), (width, height), (0, height)):
        x, y = t.a * col + t.b * row + t.c - c, t.d * col + t.e * row + t.f - f
        right, down = (e * x - b * y) / det, (a * y - d * x) / det
        if not (0 <= right <= shape[1] and 0 <= down <= shape[0]):
            return False
    return True
