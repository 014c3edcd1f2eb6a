"""From a dataset to a store, once; interrupted anywhere, it goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from geodata.dataset import Dataset
from geodata.errors import StoreError
from geodata.files import PARTIAL, Files, files_at
from geodata.splits import Split
from geodata.store import manifest as manifests
from geodata.store.attributes import as_json, group, plain_array, small_arrays
from geodata.store.backends import Backend, backend_for
from geodata.store.contents import to_plain
from geodata.store.plan import Plan, as_parquet, plan_of
from geodata.store.writing import PLAN, RECORDS, WORK, Position, ShardTask, record_name

__all__ = ["convert"]


def convert(
    dataset: Dataset,
    out: str | Path,
    *,
    split: Split | None = None,
    order: str = "shuffled",
    layout: str | None = None,
    codec: str = "lz4",
    dtype: str | None = None,
    chunk_bands: int | None = None,
    shard: int | None = None,
    pad: bool = False,
    stats: Mapping[str, Mapping[str, float]] | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    progress: bool = True,
) -> str:
    """Write a dataset as a Zarr v3 archive, or go on with one that was interrupted; `geodata.open_store` reads it.

    Each worker holds one shard of one array, as numbers and packed: at most 2 x 128 MiB, unless `shard` asks for more or one
    sample of an image takes more.

    Parameters
    ----------
    dataset : Dataset
        A published archive, rasters, cubes, or tiles or rows of them; no join or series.
    out : folder, or URL such as ``s3://bucket/reben.zarr``
    split : Split or None
        Parts for ``open_store(split=)``; without it those of the archive itself, if it has any.
    order : {"shuffled", "split", "spatial", "source"}
        Of samples in the store, within each part: shuffled, as in the source, or along a curve over the earth; ``"source"``
        ignores parts.
    layout : {"patches", "cube"} or None
        ``[sample, band, y, x]``, or ``[time, band, y, x]`` where all items share a lattice. None takes a cube for large items, or
        dates of one place, that do.
    codec : {"lz4", "none", "zstd", "blosc-zstd"}
        Of chunks; each has a checksum.
    dtype : numpy name or None
        Store images as this; values that do not fit raise.
    chunk_bands : int or None
        Bands that are packed together, None for all: fewer make it quicker to read some of many.
    shard : int or None
        Samples of one file: None for 256, or fewer if they take more than 128 MiB.
    pad : bool
        Allow items of unequal size; each keeps its own.
    stats : {"mean": {band: float}, "std": {band: float}} or None
        Kept with the bands; `StoreDataset.stats` gives them to ``T.Normalize``.
    workers : int >= 1, processes
    scheduler : address of a Dask scheduler, ``tcp://host:8786``, instead of workers
    progress : bool
        A bar on a terminal's error stream.

    Returns
    -------
    str
        Digest of the store: equal for equal contents, however often the conversion was interrupted.

    Raises
    ------
    StoreError
        If the target is something else, or was begun with other parameters; items differ in size; the disk is full; workers
        cannot be had.
    ReadError, DtypeError
        If a source file cannot be read, or values do not fit the dtype.
    """
    plan = plan_of(
        dataset,
        split=split,
        order=order,
        layout=layout,
        codec=codec,
        dtype=dtype,
        chunk_bands=chunk_bands,
        shard=shard,
        pad=pad,
        stats=stats,
    )
    backend = backend_for(workers, scheduler)
    _check_place(str(out))
    files = files_at(str(out))
    there = manifests.about(files)
    if there is not None and there.plan != plan.digest:
        raise StoreError(_other_plan(files, plan, complete=there.complete))
    if there is None or not there.complete:
        _begin(files, plan)
        _work(files, plan, backend, progress=progress)
        _finish(files, plan)
    _tidy(files)
    digest: str = manifests.read_manifest(files)["digest"]
    return digest


def _check_place(out: str) -> None:
    """Refuse a file, and a place inside another store."""
    if "://" in out:
        return
    if os.path.isfile(out):
        raise StoreError(f"{out} is a file; a store is a folder: give another name")
    place = Path(os.path.abspath(out))
    around = next((folder for folder in place.parents if (folder / manifests.ROOT).is_file()), None)
    if around is not None:
        raise StoreError(f"{out} lies inside {around}, which is Zarr itself; choose a place beside it")


# ---------------------------------------------------------------------- the steps


def _begin(files: Files, plan: Plan) -> None:
    """Say what will be here, before it is."""
    for name in [n for n in files.names() if n.endswith(PARTIAL)]:
        files.delete(name)
    about = {"digest": plan.digest, "settings": plan.settings}
    files.put(manifests.ROOT, [as_json(_root(plan, {}, complete=False))])
    files.put(PLAN, [as_json(about)])


def _work(files: Files, plan: Plan, backend: Backend, *, progress: bool) -> None:
    done = set(manifests.records(files))
    todo = [position for position in plan.layout.tasks() if position not in done]
    with _bar(len(todo), progress) as advance, closing(backend.run(tasks_of(files.root, plan, todo))) as running:
        for each in running:
            advance(each.items)


def tasks_of(root: str, plan: Plan, positions: list[Position]) -> Iterator[ShardTask]:
    """Yield tasks, each with only the rows that it needs."""
    digest = plan.digest
    for position in positions:
        yield ShardTask(root, digest, position, plan.layout.part(position))


def _finish(files: Files, plan: Plan) -> None:
    """Write what is known when all shards are there; the root, which says that it is complete, last."""
    names = [record_name(position) for position in plan.layout.tasks()]
    members: dict[str, dict[str, Any]] = {}
    chunks: dict[str, bytes] = {}
    for each in plan.layout.arrays:
        members[each.array.name] = each.meta.to_dict()
        if each.valid is not None:
            members[f"{each.array.name}_valid"] = each.valid.to_dict()
    small = small_arrays(plan.layout) | {
        "catalog": _bytes_array(as_parquet(plan.catalog), "catalog_byte", "GeoParquet")
    }
    if plan.split is not None:
        small["split_table"] = _bytes_array(as_parquet(plan.split), "split_byte", "GeoParquet")
    for name, (meta, data) in small.items():
        members[name], chunks[_chunk_of(name, meta)] = meta, data
    for name, data in chunks.items():
        files.put(name, [data])
    fixed = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(chunks.items())}
    table = manifests.manifest_of(files, names, fixed)
    members[manifests.MANIFEST], data = _bytes_array(as_json(table), "manifest_byte", "JSON")
    files.put(f"{manifests.MANIFEST}/c/0", [data])
    for name, meta in members.items():
        files.put(f"{name}/{manifests.ROOT}", [as_json(meta)])
    files.put(manifests.ROOT, [as_json(manifests.sealed(_root(plan, members, complete=True)))])


def _chunk_of(name: str, meta: dict[str, Any]) -> str:
    return "/".join([name, "c", *("0" for _ in meta["shape"])])


def _tidy(files: Files) -> None:
    """Remove what is only needed until a store is complete."""
    for name in [n for n in files.names(WORK) if n.startswith(RECORDS)]:
        files.delete(name)
    for name in [n for n in files.names() if n.startswith(WORK) or n.endswith(PARTIAL)]:
        files.delete(name)


def _root(plan: Plan, members: dict[str, Any], *, complete: bool) -> dict[str, Any]:
    name, version = plan.catalog.dataset
    about = {
        "version": manifests.VERSION,
        "complete": complete,
        "plan": plan.digest,
        "samples": len(plan.catalog),
        "layout": plan.layout.kind,
        "order": plan.settings["order"],
        "dataset": name,
        "dataset_version": version,
        "split": plan.settings["split"],
        "stats": plan.settings["stats"],
        "contents": to_plain(plan.contents),
    }
    about |= plan.settings["source"]
    attributes: dict[str, Any] = {"Conventions": "CF-1.10"} if plan.layout.kind == "cube" else {}
    return group(attributes | {"geodata": about}, members)


def _bytes_array(data: bytes, dim: str, what: str) -> tuple[dict[str, Any], bytes]:
    """Return an array of bytes that is a whole file: its one chunk is that file."""
    return plain_array(np.frombuffer(data, np.uint8), (dim,), {"long_name": f"a {what} file, byte by byte"})


def _other_plan(files: Files, plan: Plan, *, complete: bool) -> str:
    """Say in what a store differs from what was asked for."""
    differing = ""
    if files.size(PLAN) is not None:
        theirs = json.loads(bytes(files.read(PLAN)))["settings"]
        names = sorted(k for k in plan.settings if theirs.get(k) != plan.settings[k])
        differing = f" (they differ in {', '.join(names)})" if names else ""
    state = "holds a store" if complete else "holds the beginning of a store"
    return (
        f"{files.root} {state} that was made from other parameters or another source{differing}; give the same ones, choose "
        "another place, or remove it"
    )


@contextmanager
def _bar(tasks: int, shown: bool) -> Iterator[Any]:
    """Yield a function that takes the items done; it draws a bar with rate and time left on a terminal."""
    if not (shown and tasks and sys.stderr.isatty()):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    rate = TextColumn("{task.fields[rate]}")
    columns = (TextColumn("shards"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    started, items = time.monotonic(), 0
    with Progress(*columns, console=Console(stderr=True), transient=True) as display:
        bar = display.add_task("", total=tasks, rate="")

        def advance(more: int) -> None:
            nonlocal items
            items += more
            display.update(bar, advance=1, rate=f"{items / (time.monotonic() - started):,.0f} items/s")

        yield advance
