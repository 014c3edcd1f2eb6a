"""Commands on stores: convert, verify."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from geodata.cli.app import JsonOption, PatternOption, app, say
from geodata.extract import show_bytes

if TYPE_CHECKING:
    from geodata.dataset import Dataset
    from geodata.splits import Split

__all__ = ["Bands", "Data", "Keys", "Root", "Tile", "convert", "dataset_of", "is_store", "show_store", "verify"]

SHOWN = 20
"""Problems that are listed at most."""

Data = Annotated[
    str,
    typer.Argument(
        help="A published dataset by name, a folder or catalog of rasters, a cube (.nc, .zarr), or a store.",
        show_default=False,
    ),
]
Out = Annotated[
    str, typer.Argument(help="Folder of the store, or a URL such as s3://bucket/name.zarr.", show_default=False)
]
Root = Annotated[
    Path | None, typer.Option("--root", help="Folder with your copy of a published dataset.", show_default=False)
]
Tile = Annotated[int | None, typer.Option(min=1, help="Cut items into tiles of so many pixels first.")]
Bands = Annotated[str | None, typer.Option(help="Only these bands, with commas.")]
Keys = Annotated[str | None, typer.Option(help="Only these parts of a sample, with commas: image,label.")]


@app.command()
def convert(
    data: Data,
    out: Out,
    root: Root = None,
    split: Annotated[
        str | None, typer.Option(help="split.parquet, lists/{}.txt, or a column: parts of the store.")
    ] = None,
    order: Annotated[
        str, typer.Option(help="shuffled, split, spatial or source: of samples in each part.")
    ] = "shuffled",
    layout: Annotated[str | None, typer.Option(help="patches or cube; chosen by the items unless given.")] = None,
    codec: Annotated[str, typer.Option(help="lz4, none, zstd or blosc-zstd.")] = "lz4",
    dtype: Annotated[str | None, typer.Option(help="Store images as this, such as float32.")] = None,
    chunk_bands: Annotated[int | None, typer.Option("--chunk-bands", help="Bands that are packed together.")] = None,
    shard: Annotated[int | None, typer.Option(help="Samples of one file.")] = None,
    pad: Annotated[bool, typer.Option("--pad", help="Allow items of unequal size; each keeps its own.")] = False,
    stats: Annotated[
        Path | None,
        typer.Option(help="What `geodata stats` wrote, or JSON with mean and std by band; kept in the store."),
    ] = None,
    tile: Tile = None,
    bands: Bands = None,
    keys: Keys = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes of this machine.")] = 1,
    scheduler: Annotated[str | None, typer.Option(help="A Dask scheduler instead, tcp://host:8786.")] = None,
    pattern: PatternOption = None,
    as_json: JsonOption = False,
) -> None:
    """Convert a dataset to one Zarr archive; run again after any interruption, it goes on where it was."""
    from geodata.cli.splits import split_of
    from geodata.store import convert as converted

    dataset = dataset_of(data, root, pattern, tile, bands, keys)
    made = None if split is None else split_of(dataset.catalog, split)
    digest = converted(
        dataset, out, split=made, order=order, layout=layout, codec=codec, dtype=dtype, chunk_bands=chunk_bands,
        shard=shard, pad=pad, stats=None if stats is None else _stats(stats, made), workers=workers, scheduler=scheduler, progress=not as_json,
    )  # fmt: skip
    if as_json:
        typer.echo(json.dumps({"out": out, "samples": len(dataset), "digest": digest}))
        return
    say(f"{out}: {len(dataset):,} samples, {', '.join(dataset.keys)}; digest {digest[:12]}")


@app.command()
def verify(
    store: Out,
    against: Annotated[
        str | None, typer.Option(help="Compare all values with this source, named as for convert.")
    ] = None,
    root: Root = None,
    tile: Tile = None,
    bands: Bands = None,
    keys: Keys = None,
    pattern: PatternOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check every bit of a store; the exit code is 1 if anything is missing or differs."""
    from geodata.store import verify as verified

    source = None if against is None else dataset_of(against, root, pattern, tile, bands, keys)
    done = 0
    with show_bytes("verifying", None, not as_json) as shown:

        def advance(size: int) -> None:
            nonlocal done
            done += size
            shown(done)

        found = verified(store, against=source, advance=advance)
    if as_json:
        facts = {k: getattr(found, k) for k in ("digest", "samples", "files", "size", "compared", "problems", "passed")}
        typer.echo(json.dumps(facts))
    else:
        compared = f", {found.compared:,} samples equal to the source" if found.compared and found.passed else ""
        say(
            f"{store}: {found.samples:,} samples, {found.files:,} shards, {found.size / 1e6:,.1f} MB{compared}; "
            f"digest {found.digest[:12]}"
        )
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        for problem in found.problems[:SHOWN]:
            console.print(f"[bold red]Damaged:[/] {escape(problem)}")
        if len(found.problems) > SHOWN:
            console.print(f"and {len(found.problems) - SHOWN} more; --json lists all")
    if not found.passed:
        raise typer.Exit(1)


def dataset_of(
    data: str,
    root: Path | None,
    pattern: str | None,
    tile: int | None,
    bands: str | None,
    keys: str | None,
    *,
    dtype: str | None = "float64",
) -> Dataset:
    """Return what is named on the command line as a dataset; float64 holds whatever is stored, None is as stored."""
    found = _whole(data, root, pattern, _names(bands), _names(keys), dtype)
    return found if tile is None else found.tile(tile)


def _whole(data: str, root: Path | None, pattern: str | None, bands: Any, keys: Any, name: str | None) -> Dataset:
    import torch

    from geodata.datasets import RasterDataset, XarrayDataset, registry

    dtype = None if name is None else getattr(torch, name)
    if root is not None or (data in registry.list() and not Path(data).exists()):
        if root is None:
            raise typer.BadParameter(f"{data} is a published dataset: say where your copy is, with --root")
        cls: Any = registry.get(data)
        published: Dataset = cls(root, split=None, bands=bands, keys=keys, dtype=dtype)
        return published
    if keys is not None and not is_store(data):
        raise typer.BadParameter("--keys chooses parts of the samples of a published dataset or a store")
    if is_store(data):
        from geodata.store import open_store

        return open_store(data, bands=bands, keys=keys, dtype=dtype)
    if data.rstrip("/").endswith((".zarr", ".nc", ".nc4")):
        return XarrayDataset(data, bands=bands, dtype=dtype)
    return RasterDataset(data, bands=bands, pattern=pattern, dtype=dtype)


def show_store(path: str, *, as_json: bool) -> None:
    """Say what is in a store."""
    from rich.table import Table

    from geodata.catalog.arrow import values_of
    from geodata.files import files_at
    from geodata.readers.shards import open_array
    from geodata.store import open_store
    from geodata.store.manifest import about

    said, store = about(files_at(path)), open_store(path)
    parts: dict[str, int] = {}
    if "split" in store.catalog.table.column_names:
        for part in values_of(store.catalog.table["split"]).tolist():
            parts[str(part)] = parts.get(str(part), 0) + 1
    arrays = {}
    for asset in store.catalog.assets:
        name = asset.href.strip("{}").removeprefix("has_")
        array = open_array(f"{store.path}/{name}")
        arrays[name] = f"{array.dtype} {list(array.shape)}, chunks {list(array.chunks)}"
    facts: dict[str, Any] = {
        "path": path,
        "samples": len(store),
        "makes": list(store.keys),
        "parts": parts,
        "arrays": arrays,
    }
    facts |= {
        k: said.geodata[k]
        for k in ("layout", "order", "dataset", "title", "licence", "home")
        if said and said.geodata.get(k)
    }
    if as_json:
        typer.echo(json.dumps(facts))
        return
    table = Table(title=escape(path), show_header=False, title_justify="left", pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in facts.items():
        shown = value.items() if isinstance(value, dict) else None
        text = "\n".join(f"{k}: {v}" for k, v in shown) if shown is not None else value
        table.add_row(name, escape(", ".join(text) if isinstance(text, list) else str(text)))
    Console(highlight=False).print(table)


def is_store(data: str) -> bool:
    """Whether a path or URL is that of a store."""
    from geodata.errors import GeodataError
    from geodata.files import files_at
    from geodata.store.manifest import about

    if not data.rstrip("/").endswith(".zarr"):
        return False
    try:
        return about(files_at(data)) is not None
    except GeodataError:
        return False


def _stats(path: Path, split: Split | None) -> Any:
    """Return mean and std by band, of a file that `geodata stats` wrote for this split or of plain JSON."""
    from geodata.statistics import Statistics

    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"--stats {path} cannot be read: {error}") from None
    plain = not isinstance(found, dict) or "format" not in found
    return found if plain else Statistics.load(path, split=split).by_band()


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]
