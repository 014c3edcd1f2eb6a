"""The command stats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from geodata.cli.app import JsonOption, PatternOption, app, say
from geodata.cli.stores import Bands, Data, Keys, Root, Tile, dataset_of

__all__ = ["stats"]

SHOWN = 16
"""Bands of an image that are listed at most."""


@app.command()
def stats(
    data: Data,
    out: Annotated[Path, typer.Option("-o", "--out", help="The statistics to write (JSON).", show_default=False)],
    root: Root = None,
    split: Annotated[
        str | None,
        typer.Option(help="split.parquet, lists/{}.txt, or a column of the data; all rows if left out."),
    ] = None,
    part: Annotated[
        str | None, typer.Option(help="The part of the split that is read, and no other: train if left out.")
    ] = None,
    tile: Tile = None,
    bands: Bands = None,
    keys: Keys = None,
    threads: Annotated[int, typer.Option(min=0, help="Threads that read ahead.")] = 2,
    pattern: PatternOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take mean, deviation, range and percentiles of every band, in one pass over the train part of a split."""
    from geodata.cli.splits import split_of
    from geodata.statistics import Statistics

    if part is not None and split is None:
        raise typer.BadParameter(f"--part {part} is a part of a split; give --split too")
    part = part or "train"
    dataset = dataset_of(data, root, pattern, tile, bands, keys, dtype=None)
    made = None if split is None else split_of(dataset.catalog, split)
    found = Statistics.fit(dataset, split=made, part=part, threads=threads, progress=not as_json)
    found.save(out)
    if as_json:
        typer.echo(json.dumps({"out": str(out), **found.about, "images": dict(found)}))
        return
    for key, entry in found.items():
        table = Table(
            "band", "mean", "std", "min", "max", title=escape(f"{key}, {entry['state']}"), title_justify="left"
        )
        names = list(entry["mean"])
        for name in names[:SHOWN]:
            table.add_row(escape(name), *(f"{entry[of][name]:.6g}" for of in ("mean", "std", "min", "max")))
        if len(names) > SHOWN:
            table.add_row(f"... {len(names)} bands")
        Console(highlight=False).print(table)
    of = "all rows" if made is None else f"part {part} of split {made.digest[:12]}"
    say(f"{out}: {of}, {found.about['items']:,} items")
