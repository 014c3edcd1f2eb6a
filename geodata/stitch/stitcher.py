"""The one class that turns patches into a map."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from geodata.errors import GridError, ModelOutputError, NoOverlapError, QueryError
from geodata.grid import Grid
from geodata.stitch.blend import BLENDS, Flags, Floats, Strip, blend_into, weights
from geodata.stitch.checks import band_names, cast, check_output, check_sizes, companions, sentinel
from geodata.stitch.classes import Classes, ClassTable
from geodata.stitch.mapfile import ROWS, MapFile, check_target

__all__ = ["Stitcher"]


class Stitcher:
    """Collects what a model returns for patches, and writes it as one map.

    A pixel of the map is known where at least one patch observed it (``valid``) and the model returned numbers for
    it, not NaN; all other pixels hold ``nodata``. What a patch shows outside the grid is left out.

    Parameters
    ----------
    grid : Grid
        Where the map lies. Patches must be on its lattice; the file has its transform to the last bit.
    channels : int >= 1
        Channels of the model's output.
    blend : {"trim", "hann"}
        ``trim``: every pixel comes from exactly one patch, the one in which it lies deepest, so that two
        overlapping patches are both cut along the middle of their overlap, whatever stride and edge policy the
        sampler has, and nothing is cut where a pixel has only one patch. ``hann``: a weighted mean with the
        weights sin^2, highest in the centre of a patch and above 0 up to its edge; at every pixel they are
        divided by their sum.
    dtype : {"float32", "uint8", "uint16", "int16"}
        Of the map. Whole numbers are rounded half to even.
    nodata : float or None
        None is NaN for float32, the highest number for uint8 and uint16, and the lowest for int16.
    names : sequence of str or None
        Band descriptions, one per channel; None is ``channel 0``, ``channel 1``...
    classes : sequence of names, or mapping value -> name or (name, "#rrggbb"), or None
        The map holds the class with the highest score instead of the scores: uint8 with nodata 255, uint16 with
        65535 when a value is above 254. ``hann`` averages the scores as they come (logits or probabilities).
    path : path or None
        Where the map goes. Needed only for `settle`.

    Raises
    ------
    ModelOutputError, DtypeError, QueryError
        If channels, classes, names, dtype, nodata or blend do not fit together.
    NoFilesError
        If the folder of ``path`` does not exist.

    Examples
    --------
    >>> import torch
    >>> grid = Grid((4, 6), (10, 0, 500000, 0, -10, 5600000), "EPSG:32633")
    >>> batch = {"grid": [grid.window(0, 0, 4, 4), grid.window(0, 2, 4, 4)]}
    >>> output = torch.stack([torch.full((1, 4, 4), 1.0), torch.full((1, 4, 4), 2.0)])
    >>> Stitcher(grid, channels=1).add(batch, output).array()[0][0, 0]
    array([1., 1., 1., 2., 2., 2.], dtype=float32)
    """

    def __init__(
        self,
        grid: Grid,
        *,
        channels: int,
        blend: Literal["trim", "hann"] = "trim",
        dtype: str = "float32",
        nodata: float | None = None,
        names: Sequence[str] | None = None,
        classes: Classes | None = None,
        path: str | os.PathLike[str] | None = None,
    ) -> None:
        if channels < 1:
            raise ModelOutputError(f"a map of {channels} channels; there must be at least 1")
        if blend not in BLENDS:
            raise QueryError(f"blend={blend!r} must be one of {', '.join(map(repr, BLENDS))}")
        self.grid = grid
        self.channels = channels
        self.blend = blend
        self._table = None if classes is None else ClassTable.parse(classes, channels=channels)
        if self._table is not None and (dtype != "float32" or nodata is not None or names is not None):
            raise QueryError("with classes= the map has its own dtype, nodata and name; leave dtype, nodata, names out")
        if self._table is None:
            self.dtype, self.nodata = sentinel(dtype, nodata)
            self.names = band_names(names, channels)
        else:
            self.dtype, self.nodata, self.names = self._table.dtype, float(self._table.nodata), ("class",)
        self._path = None if path is None else check_target(path)
        self._strips: dict[int, Strip] = {}
        self._file: MapFile | None = None
        self._settled = 0
        self._closed = False
        self._patches = 0
        self._observed = self._answered = False

    def add(self, batch: Mapping[str, Any], output: Tensor) -> Self:
        """Add the model's output for one batch.

        Parameters
        ----------
        batch : dict with ``grid``, a list of B Grids; ``valid`` (B, H, W) bool, all True when absent; ``query``
            Of a named or multi-resolution image also ``grid_<name>`` and ``valid_<name>``. A sample whose query
            is a repeat (another rank has it, too) is left out.
        output : (B, channels, H, W), any real dtype and device

        Raises
        ------
        ModelOutputError
            If the shape of the output is not that of the patches.
        GridError
            If a patch is not on the map's lattice, or meets rows that are settled.
        TransformError
            If the batch holds no grids.
        """
        check_output(output, channels=self.channels)
        grids, valid = companions(batch, tuple(output.shape[-2:]))
        queries = batch.get("query") or [None] * len(grids)
        keep = [i for i, query in enumerate(queries) if query is None or not query.repeat]
        if len(keep) < len(grids) == len(output):
            grids, output = [grids[i] for i in keep], output[keep]
            valid = None if valid is None else valid[keep]
        return self.place(grids, valid, output)

    def place(self, grids: Sequence[Grid], valid: Tensor | None, output: Tensor) -> Self:
        """Add patches whose grids and validity are known; `add` takes them out of a batch.

        Parameters
        ----------
        grids : (B,) Grid
        valid : (B, H, W) bool or None, True = observed
        output : (B, channels, H, W), any real dtype and device
        """
        self._check_open()
        check_output(output, channels=self.channels)
        check_sizes(output, grids, valid)
        offsets = [self._offset(grid) for grid in grids]
        if self._table is not None and self.blend == "trim":
            # One label is all that a pixel from exactly one patch needs; the scores would take K times the memory.
            best, patches = _numbers(output.amax(1, keepdim=True)), _numbers(output.argmax(1, keepdim=True))
        else:
            best = patches = _numbers(output)
        answered = ~np.isnan(best).any(1)
        observed = np.ones_like(answered) if valid is None else valid.cpu().numpy().astype(np.bool_)
        masks = observed & answered
        self._patches += len(grids)
        self._observed |= bool(observed.any())
        self._answered |= bool(masks.any())
        for (row, col), patch, mask in zip(offsets, patches, masks, strict=True):
            self._blend(row, col, patch, mask)
        return self

    def settle(self, before: int) -> Self:
        """Say that no patch will meet the rows above ``before`` any more: they are written and leave memory.

        Raises
        ------
        QueryError
            If the Stitcher was made without ``path``, or is closed.
        DtypeError
            If a value does not fit the map's dtype; everything temporary is removed then.
        """
        self._check_open()
        if self._path is None:
            raise QueryError("rows are settled on disk beside the map; make the Stitcher with path=")
        self._settled = max(self._settled, min(before, self.grid.height))
        try:
            for index in sorted(i for i in self._strips if min((i + 1) * ROWS, self.grid.height) <= self._settled):
                self._file = self._file or self._open(self._path)
                self._file.write_rows(index * ROWS, self._finished(index)[0])
                del self._strips[index]
        except BaseException:
            self.close()
            raise
        return self

    def array(self) -> tuple[NDArray[Any], Flags]:
        """Return the map as `write` would write it, and where it is known.

        Returns
        -------
        data : (channels, H, W) of the map's dtype, nodata where not known; (1, H, W) with classes
        valid : (H, W) bool

        Raises
        ------
        QueryError
            If rows are settled and no longer in memory.
        """
        self._check_open()
        if self._settled:
            raise QueryError(f"rows above {self._settled} are settled on disk; write the map and read it from there")
        data = np.full((len(self.names), *self.grid.shape), self.nodata, self.dtype)
        valid = np.zeros(self.grid.shape, np.bool_)
        for index in self._strips:
            rows = slice(index * ROWS, (index + 1) * ROWS)
            data[:, rows], valid[rows] = self._finished(index)
        return data, valid

    def write(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Write the map as Cloud Optimised GeoTIFF (deflate, overviews); an existing file is replaced in one step.

        With classes, colours are in the file and names in its tag ``CLASSES`` (JSON) and in ``<path>.aux.xml``,
        from where GDAL and QGIS read them. If anything fails, nothing is left behind.

        Parameters
        ----------
        path : path ending in .tif, or None
            None is the path that the Stitcher was made with.

        Raises
        ------
        NoOverlapError
            If no patch was added.
        ModelOutputError
            If the model returned NaN at every observed pixel.
        NoFilesError, QueryError
            If the folder does not exist, the path is not that of a GeoTIFF, or the Stitcher is closed.
        DtypeError
            If a value does not fit the map's dtype.
        """
        target = path if path is not None else self._path
        if target is None:
            raise QueryError("say where the map goes: write(path), or Stitcher(..., path=)")
        if self._settled and Path(target) != self._path:
            raise QueryError(f"rows are settled beside {str(self._path)!r}; the map cannot go to {str(target)!r}")
        self._check_open()
        self._check_answers()
        file, self._file = self._file or self._open(check_target(target)), None
        try:
            for index in sorted(self._strips):
                file.write_rows(index * ROWS, self._finished(index)[0])
            return file.finish()
        finally:
            file.discard()
            if self._settled:
                self.close()

    def close(self) -> None:
        """Drop all pixels and temporary files; leaving a ``with`` block does the same. A written map stays."""
        self._closed = True
        self._strips.clear()
        if self._file is not None:
            self._file.discard()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _offset(self, grid: Grid) -> tuple[int, int]:
        offset = grid.offset_in(self.grid)
        if offset is None:
            raise GridError(
                f"patch {grid} is not on the lattice of the map {self.grid}; a map takes patches with its own CRS, "
                "resolution and pixel corners: stitch other lattices into maps of their own, or predict on this grid"
            )
        if max(offset[0], 0) < min(self._settled, offset[0] + grid.height, self.grid.height):
            raise GridError(f"patch {grid} meets rows above {self._settled}, which are settled; settle them later")
        return offset

    def _blend(self, row: int, col: int, patch: Floats, mask: Flags) -> None:
        height, width = self.grid.shape
        (h, w), (top, left) = mask.shape, (max(row, 0), max(col, 0))
        bottom, right = min(row + h, height), min(col + w, width)
        if top >= bottom or left >= right:
            return
        weight = weights(self.blend, h, w) * mask
        inside, depth = slice(left - col, right - col), len(self.names) if self._table is None else len(patch)
        for index in range(top // ROWS, (bottom - 1) // ROWS + 1):
            first = index * ROWS
            start, stop = max(top, first), min(bottom, first + ROWS)
            if index not in self._strips:
                self._strips[index] = Strip(depth, min(ROWS, height - first), width)
            cut = slice(start - row, stop - row), inside
            at = slice(start - first, stop - first), slice(left, right)
            blend_into(self._strips[index], self.blend, at, patch[:, *cut], weight[cut])

    def _finished(self, index: int) -> tuple[NDArray[Any], Flags]:
        """Return one strip as it goes into the map, and where it is known."""
        strip = self._strips[index]
        known = (strip.weight > 0) & ~np.isnan(strip.value).any(0)
        if self._table is None:
            data = cast(strip.value, known, self.dtype, self.nodata)
        else:
            best = strip.value[0].astype(np.int64) if self.blend == "trim" else strip.value.argmax(0)
            data = np.array(self._table.values, self.dtype)[best][None]
        data[:, ~known] = self.nodata
        return data, known

    def _open(self, path: Path) -> MapFile:
        return MapFile(
            path,
            self.grid,
            count=len(self.names),
            dtype=self.dtype,
            nodata=self.nodata,
            names=self.names,
            table=self._table,
        )

    def _check_open(self) -> None:
        if self._closed:
            raise QueryError("this Stitcher is closed, its pixels are written or dropped; make a new one")

    def _check_answers(self) -> None:
        if self._patches == 0:
            raise NoOverlapError("no patch was added, so there is no map to write")
        if self._observed and not self._answered:
            raise ModelOutputError(
                "the model returned NaN at every observed pixel; check its weights, and how its input is normalised"
            )


def _numbers(output: Tensor) -> Floats:
    """Take a tensor to numpy: a pass over a few patches is too short for torch to spread it over busy threads."""
    numbers: Floats = output.detach().cpu().float().numpy()
    return numbers
