"""Commands on splits: split, audit."""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from geodata.cli.app import JsonOption, PatternOption, app, say
from geodata.errors import SplitError, SplitWarning

if TYPE_CHECKING:
    from geodata.catalog import Catalog
    from geodata.splits import Audit, Split

__all__ = ["audit", "split", "split_of"]

METHODS = ("blocks", "cells", "random", "hash", "checkerboard", "regions", "ring", "time", "space_time", "predefined")

OPTIONS = (
    "size", "cell", "fractions", "stratify", "buffer", "group", "overlap", "regions", "source", "gap", "seed",
)  # fmt: skip
"""Of the splitters, as the command line has them."""

Data = Annotated[
    str,
    typer.Argument(help="A saved catalog, a folder of rasters, or a published dataset by name.", show_default=False),
]
Root = Annotated[
    Path | None, typer.Option("--root", help="Folder with your copy of a published dataset.", show_default=False)
]
Tile = Annotated[int | None, typer.Option(min=1, help="Cut scenes into blocks of so many pixels first.")]
Show = Annotated[Path | None, typer.Option("--show", help="Draw a map of the parts and their distances (PNG).")]


@app.command()
def split(
    data: Data,
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", help="split.parquet, split.csv, or lists/{}.txt (a file per part).", show_default=False
        ),
    ],
    method: Annotated[str, typer.Option("--method", help=", ".join(METHODS))] = "blocks",
    size: Annotated[str | None, typer.Option(help="Side of a block, such as 50km.")] = None,
    cell: Annotated[str | None, typer.Option(help="h3:4, mgrs...")] = None,
    fractions: Annotated[str | None, typer.Option(help="Shares, such as train=.7,val=.15,test=.15")] = None,
    stratify: Annotated[str | None, typer.Option(help="Column of classes to share out alike.")] = None,
    buffer: Annotated[str | None, typer.Option(help="Width of the dead zone, such as 5km.")] = None,
    group: Annotated[str | None, typer.Option(help="Column whose values stay in one part.")] = None,
    overlap: Annotated[str | None, typer.Option(help="Rows that overlap: together, drop or allow.")] = None,
    regions: Annotated[str | None, typer.Option(help="Column of regions.")] = None,
    source: Annotated[str | None, typer.Option(help="Column, CSV or lists/{}.txt of a split that is there.")] = None,
    gap: Annotated[str | None, typer.Option(help="Least time between parts, such as 30d.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides what comes where.")] = None,
    folds: Annotated[int | None, typer.Option(min=2, help="Make so many folds by the method.")] = None,
    fold: Annotated[str | None, typer.Option(help="Of folds or regions: hold out this one, as test.")] = None,
    tile: Tile = None,
    pattern: PatternOption = None,
    root: Root = None,
    show: Show = None,
    as_json: JsonOption = False,
) -> None:
    """Split a catalog into parts that do not leak into each other."""
    catalog = _catalog(data, root, pattern, tile)
    given: dict[str, Any] = {
        "size": size, "cell": cell, "fractions": _shares(fractions), "stratify": stratify, "buffer": buffer, "group": group,
        "overlap": overlap, "regions": regions, "source": source, "gap": gap, "seed": seed,
    }  # fmt: skip
    with _told_in_lines():
        found = _made(catalog, method, folds, {k: v for k, v in given.items() if v is not None})
    if fold is not None:
        # A region may be called 12.
        found = found.fold(int(fold) if fold.isdecimal() and fold not in found.parts else fold)
    found.save(out)
    if show is not None:
        _audited(catalog, found, labels=stratify).save(show)
    if as_json:
        facts = {"out": str(out), "counts": found.counts, "digest": found.digest, "recipe": dict(found.recipe)}
        typer.echo(json.dumps(facts, default=str))
        return
    parts = ", ".join(f"{name} {count:,} ({count / len(catalog):.1%})" for name, count in found.counts.items())
    say(f"{out}: {parts}; digest {found.digest[:12]}")


@app.command()
def audit(
    data: Annotated[
        str,
        typer.Argument(
            help="A saved catalog, a published dataset by name, or a split.parquet alone.", show_default=False
        ),
    ],
    of: Annotated[
        str | None,
        typer.Argument(
            metavar="[SPLIT]",
            help="split.parquet, a CSV file, lists/{}.txt, or a column of the data.",
            show_default=False,
        ),
    ] = None,
    labels: Annotated[str | None, typer.Option(help="Column of classes.")] = None,
    ids: Annotated[str | None, typer.Option(help="Columns that no two parts may share values of, with commas.")] = None,
    train: Annotated[
        str | None,
        typer.Option(help="The part that others are compared with. Without a part called train: each with the rest."),
    ] = None,
    min_distance: Annotated[
        str | None, typer.Option("--min-distance", help="Least distance to train, such as 5km.")
    ] = None,
    max_deviation: Annotated[
        float | None, typer.Option("--max-deviation", help="Most mean deviation of classes.")
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write the report as JSON.")] = None,
    tile: Tile = None,
    pattern: PatternOption = None,
    root: Root = None,
    show: Show = None,
    as_json: JsonOption = False,
) -> None:
    """Say what the parts of a split have in common; the exit code is 1 if it leaks."""
    from geodata.splits import Split

    if of is None:
        found = Split.load(Path(data))
        catalog = found.catalog
        if labels is not None or ids is not None:
            wanted = "--labels" if labels is not None else "--ids"
            raise typer.BadParameter(f"a split file has no columns for {wanted}; give the data too: audit DATA {data}")
    else:
        catalog = _catalog(data, root, pattern, tile)
        found = split_of(catalog, of)
    named = None if ids is None else [name.strip() for name in ids.split(",") if name.strip()]
    report = _audited(
        catalog, found, labels=labels, ids=named, train=train, min_distance=min_distance, max_deviation=max_deviation
    )
    for path in (out, show):
        if path is not None:
            report.save(path)
    if as_json:
        typer.echo(json.dumps(report.to_dict()))
    else:
        Console(highlight=False).print(report)
    if not report.passed:
        raise typer.Exit(1)


@contextmanager
def _told_in_lines() -> Iterator[None]:
    """Tell warnings of splits in one line each on standard error, not with a line of source."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SplitWarning)
        yield
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for one in caught:
        if issubclass(one.category, SplitWarning):
            console.print(f"[bold yellow]Warning:[/] {escape(' '.join(str(one.message).split()))}")
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def _audited(catalog: Catalog, found: Split, **options: Any) -> Audit:
    from geodata import splits

    return splits.audit(catalog, found, **options)


def _catalog(data: str, root: Path | None, pattern: str | None, tile: int | None) -> Catalog:
    catalog = _whole(data, root, pattern)
    return catalog if tile is None else catalog.tile(tile)


def _whole(data: str, root: Path | None, pattern: str | None) -> Catalog:
    from geodata.catalog import Catalog
    from geodata.datasets import registry

    if root is not None or (data in registry.list() and not Path(data).exists()):
        if root is None:
            raise typer.BadParameter(f"{data} is a published dataset: say where your copy is, with --root")
        cls: Any = registry.get(data)
        # Where a table lists the rows, it is enough: a split needs no image.
        light = [content.key for content in cls.spec.contents if not content.needs] if cls.spec.listed else []
        rows: Catalog = cls(root, split=None, keys=light or None).catalog
        return rows
    return Catalog.load(data) if data.endswith(".parquet") else Catalog.scan(data, pattern=pattern)


def split_of(catalog: Catalog, of: str) -> Split:
    """Return a split by what names it on the command line: a file, lists, or a column of the catalog."""
    from geodata.splits import Split, predefined

    return Split.load(Path(of)) if of.endswith(".parquet") else predefined(catalog, of)


def _shares(text: str | None) -> dict[str, float] | None:
    if text is None:
        return None
    try:
        pairs = [part.split("=") for part in text.split(",")]
        return {name.strip(): float(share) for name, share in pairs}
    except ValueError:
        raise typer.BadParameter(f"--fractions {text!r} must be like train=.7,val=.15,test=.15") from None


def _made(catalog: Catalog, method: str, folds: int | None, given: dict[str, Any]) -> Split:
    from geodata import splits

    if method not in METHODS:
        raise typer.BadParameter(f"--method {method!r} must be one of {', '.join(METHODS)}")
    how: Any = splits.leave_one_region_out if method == "regions" else getattr(splits, method)
    options = dict(given)
    if folds is not None:
        options.pop("fractions", None)
    _check_options(how, method, options, ignore=("fractions",) if folds is not None else ())
    if folds is None:
        found: Split = how(catalog, **options)
        return found
    if "fractions" not in _options_of(how):
        raise SplitError(f"folds are made by a method with fractions, not by {method}")
    return splits.kfold(catalog, folds, how, **options)


def _options_of(how: Any) -> dict[str, inspect.Parameter]:
    from geodata.splits import blocks

    known = {
        k: p for k, p in list(inspect.signature(how).parameters.items())[1:] if k in OPTIONS or p.kind is p.VAR_KEYWORD
    }
    if any(p.kind is p.VAR_KEYWORD for p in known.values()):
        shared = inspect.signature(blocks).parameters
        known = {k: p for k, p in known.items() if p.kind is not p.VAR_KEYWORD}
        known |= {k: shared[k] for k in ("stratify", "buffer", "group", "overlap")}
    return known


def _check_options(how: Any, method: str, given: dict[str, Any], ignore: tuple[str, ...]) -> None:
    known = _options_of(how)
    wrong = [name for name in given if name not in known]
    if wrong:
        raise typer.BadParameter(f"--{wrong[0]} is no option of {method}; it has {', '.join('--' + k for k in known)}")
    lacking = [k for k, p in known.items() if p.default is p.empty and k not in given and k not in ignore]
    if lacking:
        raise typer.BadParameter(f"{method} needs {', '.join('--' + k for k in lacking)}")
