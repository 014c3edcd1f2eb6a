"""Commands on files: index, info, preview, demo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from geodata.cli.app import JsonOption, Paths, PatternOption, SensorOption, app, numbers, say
from geodata.errors import GeodataError

__all__ = ["demo", "index", "info", "preview"]


@app.command()
def index(
    paths: Paths,
    out: Annotated[Path, typer.Option("--out", "-o", help="The catalog to write (GeoParquet).", show_default=False)],
    pattern: PatternOption = None,
    sensor: SensorOption = None,
    on_error: Annotated[
        str, typer.Option("--on-error", help="What to do with unreadable files: raise or skip.")
    ] = "raise",
    as_json: JsonOption = False,
) -> None:
    """Read the headers of raster files and save them as a catalog.

    A scan that was stopped continues when the same command is given again.
    """
    from geodata.bands import Bands
    from geodata.catalog import Catalog
    from geodata.view.summary import summarize

    journal = out.with_name(f".{out.name}.journal")
    try:
        catalog = Catalog.scan(
            paths,
            pattern=pattern,
            bands=None if sensor is None else Bands.of_sensor(sensor),
            on_error=on_error,
            resume=journal,
        )
    except GeodataError:
        # only an interrupted scan is worth continuing; a failed one starts anew after the mistake is mended
        journal.unlink(missing_ok=True)
        raise
    catalog.save(out)
    left_out = {"skipped": list(getattr(catalog, "skipped", ())), "incomplete": list(getattr(catalog, "dropped", ()))}
    facts = {"out": str(out)} | summarize(catalog) | left_out
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        _show(facts, f"{out}: {len(catalog)} items")


@app.command()
def info(
    path: Annotated[
        str,
        typer.Argument(
            help="A raster or vector file, a folder, a saved catalog, a store, or a published dataset by its name.",
            show_default=False,
        ),
    ],
    pattern: PatternOption = None,
    sensor: SensorOption = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare the files with what the catalog saw of them.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what is in a file, a folder or a catalog, or what is known of a published dataset."""
    from geodata.cli.archives import show_dataset
    from geodata.datasets import registry

    if path.lower() in registry.list() and not Path(path).exists():
        show_dataset(path, as_json=as_json)
        return
    from geodata.cli.stores import is_store, show_store

    if is_store(path):
        show_store(path, as_json=as_json)
        return
    from geodata.view.preview import open_catalog
    from geodata.view.summary import summarize

    catalog = open_catalog(path, pattern=pattern, sensor=sensor)
    if check:
        catalog.check_files()
    facts = {"path": path} | summarize(catalog) | ({"stale": False} if check else {})
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        _show(facts, path)


@app.command()
def preview(
    paths: Paths,
    out: Annotated[Path, typer.Option("--out", "-o", help="The picture to write (PNG).", show_default=False)],
    bands: Annotated[
        str | None, typer.Option(help="One or three bands: names, common names, or wavelengths in nm.")
    ] = None,
    item: Annotated[str | None, typer.Option(help="Which item, by number or key; the first one if left out.")] = None,
    bounds: Annotated[
        str | None, typer.Option(help="left,bottom,right,top in units of --crs, instead of --item.")
    ] = None,
    crs: Annotated[str | None, typer.Option(help="CRS of --bounds, for example EPSG:4326.")] = None,
    res: Annotated[
        float | None, typer.Option(help="Pixel size in units of --crs; as fine as shows if left out.")
    ] = None,
    time: Annotated[str | None, typer.Option(help="With --bounds: a year, month or day, or first,last.")] = None,
    vector: Annotated[Path | None, typer.Option(help="A vector file whose outlines are drawn over it.")] = None,
    spectrum: Annotated[bool, typer.Option("--spectrum", help="Plot the spectrum of all bands beside it.")] = False,
    at: Annotated[str | None, typer.Option(help="row,col of one pixel for --spectrum; all pixels if left out.")] = None,
    percent: Annotated[str, typer.Option(help="Percentiles that become black and white.")] = "2,98",
    pattern: PatternOption = None,
    sensor: SensorOption = None,
) -> None:
    """Draw an item, or a box in any CRS, as a PNG."""
    from geodata.view.preview import Preview, draw_preview

    wanted = Preview(
        bands=None if bands is None else tuple(b.strip() for b in bands.split(",")),
        item=item,
        bounds=None if bounds is None else numbers("--bounds", bounds, 4),
        crs=crs,
        res=res,
        time=None if time is None else tuple(time.split(",")) if "," in time else time,
        vector=vector,
        spectrum=spectrum or at is not None,
        at=None if at is None else (int(numbers("--at", at, 2)[0]), int(numbers("--at", at, 2)[1])),
        percent=(numbers("--percent", percent, 2)[0], numbers("--percent", percent, 2)[1]),
        pattern=pattern,
        sensor=sensor,
    )
    for note in draw_preview(paths, out, wanted):
        say(note)


@app.command()
def demo(
    data: Annotated[
        Path | None, typer.Option(help="Your files: a raster, or a folder (images/ and labels/ are found).")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Labels: a vector file, or rasters of classes.")] = None,
    label: Annotated[str | None, typer.Option(help="Column of the vector file that holds the class.")] = None,
    ignore: Annotated[
        str | None, typer.Option(help="Label values that mean 'no label', for example 0; or none.")
    ] = None,
    pattern: PatternOption = None,
    sensor: SensorOption = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the results go.")] = Path("demo-out"),
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = 150,
    block: Annotated[
        int | None, typer.Option(min=8, help="Side of a block in pixels; about a fifth of an item if left out.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another look-alike archive and training.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Index, split, train, evaluate and map: the main job end to end, on a look-alike archive or on your files."""
    from geodata.demo import Job, run_demo

    job = Job(
        data=data, labels=labels, label=label, ignore=_ignored(ignore), pattern=pattern, sensor=sensor, out=out, steps=steps, block=block,
        seed=seed,
    )  # fmt: skip
    metrics = run_demo(job, console=Console(stderr=as_json))
    if as_json:
        typer.echo(json.dumps(metrics))


def _ignored(text: str | None) -> tuple[int, ...] | None:
    if text is None or text.strip().lower() == "none":
        return None if text is None else ()
    return tuple(int(v) for v in numbers("--ignore", text, None))


def _show(facts: dict[str, Any], title: str) -> None:
    """A table of what `summarize` found."""
    table = Table(title=escape(title), show_header=False, title_justify="left", pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    counted = ("crs", "resolutions", "sizes")
    rows = {
        "items": str(facts["items"]),
        **{name: ", ".join(f"{k} ({n})" for k, n in facts[name].items()) for name in counted},
        "lon, lat": _box(facts["bounds_lonlat"]),
        "bands": _bands(facts["bands"]),
        "dtype": ", ".join(facts["dtypes"]),
        "observed": _validity(facts),
        "time": _time(*facts["time"]),
        "columns": ", ".join(facts["columns"]),
        "skipped": ", ".join(facts.get("skipped", [])),
        "incomplete": ", ".join(facts.get("incomplete", [])),
        "files": "as the catalog saw them" if "stale" in facts else "",
    }
    for name, value in rows.items():
        if value:
            table.add_row(name, escape(value))
    Console(highlight=False).print(table)


def _box(box: list[float] | None) -> str:
    return "" if box is None else "{:.5f}, {:.5f} to {:.5f}, {:.5f}".format(*box)


def _bands(bands: list[dict[str, Any]]) -> str:
    def one(band: dict[str, Any]) -> str:
        more = [band.get("common_name", ""), f"{band['wavelength']:g} nm" if "wavelength" in band else ""]
        return str(band["name"]) + (f" ({', '.join(m for m in more if m)})" if any(more) else "")

    if len(bands) <= 16:
        return ", ".join(map(one, bands))
    return f"{len(bands)}: {', '.join(map(one, bands[:3]))}, ... {one(bands[-1])}"


def _validity(facts: dict[str, Any]) -> str:
    means = {"all": "every pixel", "nodata": "not nodata", "mask": "mask band", "alpha": "alpha band", "nan": "not NaN"}
    kinds = ", ".join(means.get(k, k) for k in facts["validity"])
    return kinds + (f" (nodata {', '.join(facts['nodata'])})" if facts["nodata"] else "")


def _time(start: str | None, end: str | None) -> str:
    return "" if start is None and end is None else f"{start or '...'} to {end or '...'} (exclusive)"
