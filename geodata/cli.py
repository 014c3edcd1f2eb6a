"""The command line: ``geodata index | info | preview | demo``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer.main import get_command

from geodata.errors import GeodataError

__all__ = ["app", "main", "run"]

app = typer.Typer(
    name="geodata",
    help="From earth-observation files on disk to training batches, and back to a map.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Paths = Annotated[list[str], typer.Argument(help="Folders, globs, files, or one saved catalog.", show_default=False)]
PatternOption = Annotated[
    str | None,
    typer.Option("--pattern", help="Regular expression with named groups item, band, date; others become columns."),
]
SensorOption = Annotated[str | None, typer.Option(help="Wavelengths of these bands, for example sentinel-2.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Plain JSON on standard output and nothing else.")]


# typer hands on click's errors, but names the base of all wrong calls nowhere
WrongCall: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "UsageError")


def main() -> NoReturn:
    """Run the command line and leave with its exit code."""
    sys.exit(run())


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; errors become one line on standard error.

    Parameters
    ----------
    arguments : what follows ``geodata`` on the command line; None takes it from there

    Returns
    -------
    int
        0, 1 after an error, 2 after a wrong call, 130 after Ctrl-C.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given  # also behind the command, where people add it after a failure
    given = [a for a in given if a != "--debug"]
    try:
        code = get_command(app)(args=given, prog_name="geodata", standalone_mode=False)
    except KeyboardInterrupt:
        code = 130
    except Exception as error:  # a traceback is for --debug; the exit code still says it failed
        if debug:
            raise
        return _failed(error)
    if code == 130:
        _complain("interrupted; no unfinished result was left")
    return code if isinstance(code, int) else 0


def _failed(error: Exception) -> int:
    """Say what went wrong in one line, and return the exit code."""
    if isinstance(error, GeodataError):
        notes = getattr(error, "__notes__", [])
        _complain(f"{error} ({'; '.join(notes)})" if notes else str(error))
        return 1
    if isinstance(error, WrongCall):
        _complain(f"{error.format_message()}; see geodata --help")  # type: ignore[attr-defined]
        return 2
    _complain(f"{type(error).__name__}: {error}; geodata --debug shows where")
    return 1


def _complain(message: str) -> None:
    line = " ".join(message.split())
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"[bold red]Error:[/] [red]{escape(line)}[/]")


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"geodata {version('geodata')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """From earth-observation files on disk to training batches, and back to a map."""


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
        str, typer.Argument(help="A raster or vector file, a folder, or a saved catalog.", show_default=False)
    ],
    pattern: PatternOption = None,
    sensor: SensorOption = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare the files with what the catalog saw of them.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what is in a file, a folder or a catalog."""
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
        bounds=None if bounds is None else _numbers("--bounds", bounds, 4),
        crs=crs,
        res=res,
        time=None if time is None else tuple(time.split(",")) if "," in time else time,
        vector=vector,
        spectrum=spectrum or at is not None,
        at=None if at is None else (int(_numbers("--at", at, 2)[0]), int(_numbers("--at", at, 2)[1])),
        percent=(_numbers("--percent", percent, 2)[0], _numbers("--percent", percent, 2)[1]),
        pattern=pattern,
        sensor=sensor,
    )
    for note in draw_preview(paths, out, wanted):
        _say(note)


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
    return tuple(int(v) for v in _numbers("--ignore", text, None))


def _numbers(option: str, text: str, count: int | None) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or (count is not None and len(numbers) != count):
        wanted = "numbers" if count is None else f"{count} numbers"
        raise typer.BadParameter(f"{option} {text!r} must be {wanted} with commas between")
    return numbers


def _say(text: str) -> None:
    Console(highlight=False, soft_wrap=True).print(escape(text))


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
