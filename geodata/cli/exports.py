"""Commands that take data out of a store: export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geodata.cli.app import JsonOption, PatternOption, app, say
from geodata.cli.stores import Bands, Keys, Root, Tile, dataset_of

if TYPE_CHECKING:
    from geodata.dataset import Dataset

__all__ = ["export"]


@app.command()
def export(
    data: Annotated[
        str,
        typer.Argument(
            help="A store, a published dataset by name, a folder or catalog of rasters, or a cube.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Folder that is made.", show_default=False)],
    to: Annotated[str, typer.Option(help="lmdb (safetensors, as rico-hdl packs them) or geotiff.", show_default=False)],
    root: Root = None,
    bands: Bands = None,
    keys: Keys = None,
    split: Annotated[str | None, typer.Option(help="Only these parts, with commas: train,validation.")] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="lmdb: names of records from columns, {location}_{scene}.")
    ] = None,
    compress: Annotated[str, typer.Option(help="geotiff: deflate, lzw, zstd or none.")] = "deflate",
    tile: Tile = None,
    pattern: PatternOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a store or dataset as an LMDB database, or as a folder of GeoTIFFs with their catalog."""
    from geodata.store import export_geotiff, export_lmdb

    if to not in ("lmdb", "geotiff"):
        raise typer.BadParameter(f"--to {to!r} must be lmdb or geotiff")
    if name is not None and to != "lmdb":
        raise typer.BadParameter("--name gives names to records; files are named by the keys of items")
    dataset = dataset_of(data, root, pattern, tile, bands, keys)
    if split is not None:
        dataset = _part(dataset, [part.strip() for part in split.split(",") if part.strip()])
    if to == "lmdb":
        made = export_lmdb(dataset, out, key=name, progress=not as_json)
    else:
        made = export_geotiff(dataset, out, compress=compress, progress=not as_json)
    if as_json:
        typer.echo(json.dumps({"out": str(made), "samples": len(dataset)}))
        return
    say(f"{made}: {len(dataset):,} items")


def _part(dataset: Dataset, parts: list[str]) -> Dataset:
    """Return the items of some parts, as the column ``split`` of the catalog names them."""
    column = "split" in dataset.catalog.table.column_names
    known = sorted(set(dataset.catalog.column("split").tolist()) - {None}) if column else []
    wrong = [part for part in parts if part not in known]
    if wrong or not parts:
        there = f"there are {', '.join(known)}" if known else "there are none"
        raise typer.BadParameter(f"--split: no part is called {wrong[0] if wrong else ''!r}; {there}")
    return dataset.where(split=parts)
