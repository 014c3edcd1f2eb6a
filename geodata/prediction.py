"""Run a model over a dataset and write what it says as maps."""

from __future__ import annotations

import operator
import os
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from hashlib import sha256
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from geodata.errors import GridError, NoOverlapError, QueryError, SamplerError, TransformError
from geodata.grid import Grid
from geodata.loader import Loader
from geodata.query import Query
from geodata.stitch import Classes, Stitcher, check_output, check_sizes, check_target, companions

__all__ = ["predict"]

_TILE = re.compile(r"#r\d+c\d+h\d+w\d+$")


def predict(
    model: Callable[[Any], Any],
    ds: Any,
    sampler: Iterable[Any],
    *,
    out: str | os.PathLike[str],
    blend: Literal["trim", "hann"] = "trim",
    classes: Classes | None = None,
    names: Sequence[str] | None = None,
    batch_size: int = 16,
    device: torch.device | str | None = None,
    transform: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    inputs: Callable[[dict[str, Any]], Any] = itemgetter("image"),
    postprocess: Callable[[Any], Tensor] | None = None,
    grid: Grid | None = None,
    threads: int = 2,
) -> Path | list[Path]:
    """Predict every patch of a sampler and stitch the answers to a map on the source's own lattice.

    Memory stays at about one patch height times the width of the map where the sampler goes through an item row by
    row, as `GridPatchSampler` does. A map appears when it is finished; an older one of that name is replaced by it
    in one step. On an error or Ctrl-C nothing unfinished is left behind.

    Parameters
    ----------
    model : nn.Module or callable
        Gets ``inputs(batch)`` and returns scores (B, K, H, W) with H, W of the patch. It runs in evaluation mode
        without gradients; every module's own training mode and the model's device are restored afterwards.
    ds : Dataset
    sampler : iterable of Query or int, iterated once
        An int is a whole item. Repeats (``query.repeat``) are left out. Patches may overlap; see ``blend``.
    out : path
        ``"map.tif"``: one map over all items that the sampler visits; they must lie on one lattice, and no two of
        them may cover exactly the same pixels. Where items overlap in part, they are blended as patches are.
        ``"maps/{key}.tif"``: one map per item. Letters that are not safe in a file name become ``_``.
    blend : {"trim", "hann"}
        Each pixel from one patch, or the weighted mean of all, as `Stitcher` has it.
    classes : sequence of names, or mapping value -> name or (name, "#rrggbb"), or None
        Write the class with the highest score (uint8 and nodata 255, or uint16 and 65535) with names and colours.
        None writes all channels as float32 with NaN where nothing is known.
    names : sequence of K str or None
        Band descriptions of a map without classes.
    batch_size : int >= 1
        Neighbours in the sampler's order whose windows differ in size never share a batch.
    device : torch.device, str or None
        None is where the model is.
    transform : callable on the batch dict, or None
        Runs on the device, before the model, and in evaluation mode. Its ``valid`` counts.
    inputs : callable
        What of the batch the model gets.
    postprocess : callable or None
        Turns what the model returns into (B, K, H, W), for example ``lambda out: out["out"].softmax(1)``.
    grid : Grid or None
        Map this part of the lattice only, or more than the items cover. Patches that do not meet it are not read.
    threads : int >= 0
        Threads that read.

    Returns
    -------
    path : Path, or list of Path with ``{key}`` in ``out``, in the order in which the sampler reaches the items

    Raises
    ------
    ModelOutputError
        If the output is no (B, K, H, W) tensor of the patches' size, its channels do not fit ``classes`` or change,
        or all of it is NaN.
    GridError
        If the items do not share a lattice.
    NoFilesError, QueryError
        If the folder of ``out`` does not exist, or ``out`` cannot name a map.
    NoOverlapError
        If no patch meets ``grid``.
    SamplerError
        If the sampler yields nothing, or one rank's share only, or the dataset answers other queries.
    TransformError
        If the batch does not hold what ``inputs`` asks for.
    """
    plan, maps = _plan(ds, sampler, out=os.fspath(out), grid=grid)
    for one in maps:
        one.options = {"blend": blend, "classes": classes, "names": names}
    parts = [part for part in (model, transform, postprocess) if isinstance(part, nn.Module)]
    batches = _batches(ds, plan, batch_size=batch_size, threads=threads)
    with ExitStack() as stack:
        for one in maps:
            stack.callback(one.close)
        stack.enter_context(closing(batches))
        place = stack.enter_context(_evaluating(parts, device))
        for steps, batch in batches:
            _check_order(batch, steps)
            batch = _to(batch, place)
            with torch.inference_mode():
                batch = batch if transform is None else transform(batch)
                output = model(_inputs(batch, inputs))
                output = output if postprocess is None else postprocess(output)
            _stitch(batch, output, steps)
    written = [one.path for one in maps]
    return written if "{key}" in os.fspath(out) else written[0]


class _Map:
    """One map to be written: where, and which rows of it may still change after each of its patches."""

    def __init__(self, path: Path, grid: Grid) -> None:
        self.path = path
        self.grid = grid
        self.options: dict[str, Any] = {}
        self.tops: list[int] = []
        self._done = 0
        self._floor = np.zeros(0, np.int64)
        self._stitcher: Stitcher | None = None

    def add(self, grids: Sequence[Grid], valid: Tensor | None, output: Tensor) -> None:
        """Stitch patches; write what no later patch reaches, and the map after the last one."""
        if self._stitcher is None:
            self._stitcher = Stitcher(self.grid, channels=output.shape[1], path=self.path, **self.options)
            # The highest row that any later patch starts at, after 1, 2... patches.
            later = np.array([*self.tops[1:], self.grid.height], np.int64)
            self._floor = np.minimum.accumulate(later[::-1])[::-1]
        self._stitcher.place(grids, valid, output)
        self._done += len(grids)
        if self._done < len(self.tops):
            self._stitcher.settle(max(0, int(self._floor[self._done - 1])))
        else:
            self._stitcher.write()
            self.close()

    def close(self) -> None:
        """Drop what is not written."""
        if self._stitcher is not None:
            self._stitcher.close()
            self._stitcher = None


class _Step(NamedTuple):
    """One patch to predict, the map that it goes to, and its size."""

    query: Query
    target: _Map
    shape: tuple[int, int]


def _plan(ds: Any, sampler: Iterable[Any], *, out: str, grid: Grid | None) -> tuple[list[_Step], list[_Map]]:
    """Decide, before anything is read, which patch goes to which map."""
    queries = [q if isinstance(q, Query) else Query(row=operator.index(q)) for q in sampler]
    queries = [q for q in queries if not q.repeat]
    if (world := getattr(sampler, "world", 1)) > 1:
        raise SamplerError(
            f"this sampler yields one of {world} ranks' share, maps would have holes; give it rank=0, world=1"
        )
    if not queries:
        raise SamplerError("the sampler yields no query, so there is nothing to predict; check its dataset and length")
    sources: dict[int | Grid, Grid] = {}
    for query in queries:
        if (source := _source(query)) not in sources:
            sources[source] = source if isinstance(source, Grid) else ds.catalog.grid(source)
    maps = _per_item(ds, sources, out, grid) if "{key}" in out else _one_map(ds, sources, out, grid)
    plan = []
    for query in queries:
        target, (row, col) = maps[_source(query)]
        top, left, height, width = query.window or (0, 0, *sources[_source(query)].shape)
        top, left = top + row, left + col
        if top < target.grid.height and left < target.grid.width and top + height > 0 and left + width > 0:
            target.tops.append(top)
            plan.append(_Step(query, target, (height, width)))
    used = [one for one in dict.fromkeys(one for one, _ in maps.values()) if one.tops]
    if not used:
        raise NoOverlapError(f"none of {len(queries)} patches meets {grid}; check its CRS and bounds")
    return plan, used


def _source(query: Query) -> int | Grid:
    return query.row if query.row is not None else query.grid  # type: ignore[return-value]


_Targets = dict[int | Grid, tuple[_Map, tuple[int, int]]]


def _per_item(ds: Any, sources: dict[int | Grid, Grid], out: str, grid: Grid | None) -> _Targets:
    if grid is not None or any(isinstance(source, Grid) for source in sources):
        raise QueryError(f"out={out!r} writes one map per item: leave grid= out, and sample items by their row")
    keys = {row: str(ds.catalog.key[row]) for row in sources}
    safe = {row: re.sub(r"[^\w.+-]", "_", key).lstrip(".") or "_" for row, key in keys.items()}
    count = Counter(name.lower() for name in safe.values())
    targets: _Targets = {}
    for row, source in sources.items():
        name = safe[row]
        if count[name.lower()] > 1 or len(name.encode()) > 180:
            name = name.encode()[:180].decode(errors="ignore") + "-" + sha256(keys[row].encode()).hexdigest()[:8]
        targets[row] = _Map(check_target(out.replace("{key}", name)), source), (0, 0)
    return targets


def _one_map(ds: Any, sources: dict[int | Grid, Grid], out: str, grid: Grid | None) -> _Targets:
    path = check_target(out)
    origin = grid or next(iter(sources.values()))
    places = {source: one.offset_in(origin) for source, one in sources.items()}
    off = [source for source, place in places.items() if place is None]
    advice = f'use out="{path.with_name("{key}.tif")}" for one map per item'
    if off:
        against = "grid=" if grid is not None else _say(ds, next(iter(sources)), sources)
        raise GridError(
            f"{len(off)} of {len(sources)} items are not on one lattice with {against}: first {_say(ds, off[0], sources)}; "
            f"{advice}"
        )
    found = {source: place for source, place in places.items() if place is not None}
    _check_distinct(ds, found, sources, advice)
    if grid is None:
        origin, found = _union(origin, found, sources)
    target = _Map(path, origin)
    return {source: (target, place) for source, place in found.items()}


def _check_distinct(ds: Any, places: dict[Any, tuple[int, int]], sources: dict[Any, Grid], advice: str) -> None:
    """Refuse items that one map cannot tell apart."""
    rows = [source for source in sources if not isinstance(source, Grid)]
    parents = {_TILE.sub("", str(ds.catalog.key[row])) for row in rows if sources[row].crs is None}
    if len(parents) > 1:
        raise GridError(f"{len(rows)} items have no CRS, so one map cannot say where each of them lies; {advice}")
    seen: dict[Any, Any] = {}
    for row in rows:
        other = seen.setdefault((places[row], sources[row].shape), row)
        if other != row:
            raise GridError(
                f"items {ds.catalog.key[other]!r} and {ds.catalog.key[row]!r} cover exactly the same pixels, one map "
                f"cannot hold both; choose items with ds.where() or ds.take(), or {advice}"
            )


def _union(
    origin: Grid, places: dict[Any, tuple[int, int]], sources: dict[Any, Grid]
) -> tuple[Grid, dict[Any, tuple[int, int]]]:
    """Return the grid around all items, and where each lies in it."""
    top, left = (min(place[axis] for place in places.values()) for axis in (0, 1))
    bottom, right = (max(p[axis] + sources[s].shape[axis] for s, p in places.items()) for axis in (0, 1))
    # An item in the upper left corner has the exact transform already; a shifted one could differ in the last bit.
    corner = next((sources[s] for s, p in places.items() if p == (top, left)), origin.window(top, left, 1, 1))
    union = Grid((bottom - top, right - left), corner.transform, corner.crs)
    return union, {source: (row - top, col - left) for source, (row, col) in places.items()}


def _say(ds: Any, source: int | Grid, sources: dict[int | Grid, Grid]) -> str:
    return repr(sources[source]) if isinstance(source, Grid) else f"{ds.catalog.key[source]!r} at {sources[source]}"


def _batches(
    ds: Any, plan: list[_Step], *, batch_size: int, threads: int
) -> Generator[tuple[list[_Step], dict[str, Any]], None, None]:
    """Read the plan in order, in batches of equal windows."""
    for _, same in groupby(plan, key=lambda step: step.shape):
        steps = list(same)
        queries = [step.query for step in steps]
        loader = Loader(ds, sampler=queries, batch_size=batch_size, threads=threads)
        for number, batch in enumerate(loader):
            yield steps[number * batch_size : (number + 1) * batch_size], batch


def _check_order(batch: dict[str, Any], steps: list[_Step]) -> None:
    """Refuse a batch that is not the planned one: its patches would go to the wrong map."""
    wanted = [(step.query.row, step.query.index) for step in steps]
    got = [(query.row, query.index) for query in batch["query"]]
    if got != wanted:
        raise SamplerError(f"the dataset answered {len(got)} queries {got[:3]}... where {wanted[:3]}... were asked for")


def _to(batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
    return {key: _moved(value, device) for key, value in batch.items()}


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    return [_moved(item, device) for item in value] if isinstance(value, list) else value


def _inputs(batch: dict[str, Any], inputs: Callable[[dict[str, Any]], Any]) -> Any:
    try:
        return inputs(batch)
    except KeyError as error:
        raise TransformError(
            f"the model's inputs ask for {error}; the batch holds {', '.join(sorted(batch))}. Choose with inputs=, for "
            'example inputs=lambda batch: batch["image_s1"]'
        ) from error


def _stitch(batch: dict[str, Any], output: Any, steps: list[_Step]) -> None:
    """Give every map its part of a batch."""
    check_output(output)
    grids, valid = companions(batch, steps[0].shape)
    check_sizes(output, grids, valid)
    first = 0
    for target, group in groupby(steps, key=lambda step: step.target):
        part = slice(first, first + len(list(group)))
        target.add(grids[part], None if valid is None else valid[part], output[part])
        first = part.stop


@contextmanager
def _evaluating(modules: Sequence[nn.Module], device: torch.device | str | None) -> Iterator[torch.device]:
    """Put modules into evaluation mode on one device, and afterwards back as they were."""
    homes = [next(chain(module.parameters(), module.buffers()), torch.zeros(0)).device for module in modules]
    modes = [(module, module.training) for top in modules for module in top.modules()]
    place = torch.device(device) if device is not None else next(iter(homes), torch.device("cpu"))
    # A module that is there already may be spread over several devices on purpose.
    guests = [(module, home) for module, home in zip(modules, homes, strict=True) if home != place]
    try:
        for module in modules:
            module.eval()
        for module, _ in guests:
            module.to(place)
        yield place
    finally:
        for module, home in guests:
            module.to(home)
        for module, mode in modes:
            module.training = mode
