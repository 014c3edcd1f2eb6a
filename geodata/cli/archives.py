"""Commands on published datasets: list, download, fake, check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from geodata.cli.app import JsonOption, app, say
from geodata.errors import CatalogError

__all__ = ["check", "download", "fake", "list_datasets", "show_dataset"]

HEADINGS = ("name", "title", "items", "sample", "splits", "download")

Name = Annotated[str, typer.Argument(help="A published dataset, as `geodata list` shows it.", show_default=False)]


@app.command("list")
def list_datasets(
    pattern: Annotated[str, typer.Argument(help="Names with * for anything, for example '*earth*'.")] = "*",
    as_json: JsonOption = False,
) -> None:
    """List the published datasets that are read as they were published."""
    from geodata.datasets import registry

    names = registry.list(pattern)
    if not names:
        raise CatalogError(f"no dataset matches {pattern!r}; `geodata list` shows all {len(registry.list())}")
    facts = [_facts(name) for name in names]
    if as_json:
        typer.echo(json.dumps(facts))
        return
    table = Table(*(Column(name, no_wrap=name == "name") for name in HEADINGS), pad_edge=False)
    for fact in facts:
        items = "" if fact["items"] is None else f"{fact['items']:,}"
        got = "yes" if fact["downloadable"] else "bring a copy"
        cells = (fact["name"], fact["title"], items, ", ".join(fact["keys"]), ", ".join(fact["splits"]), got)
        table.add_row(*map(escape, cells))
    Console(highlight=False).print(table)


def show_dataset(name: str, *, as_json: bool) -> None:
    """Show what is known of a published dataset."""
    from geodata.datasets import registry

    facts = _facts(name)
    if as_json:
        typer.echo(json.dumps(facts))
        return
    spec = registry.get(name).spec
    table = Table(title=escape(spec.title), show_header=False, title_justify="left", pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    rows = {
        "about": spec.about,
        "class": f"geodata.datasets.{facts['class']}",
        "sample": "\n".join(f"{c.key}: {c.about}" for c in spec.contents),
        "items": "" if spec.items is None else f"{spec.items:,}",
        "splits": ", ".join(spec.splits),
        "expected tree": spec.tree,
        "traps": "\n".join(spec.traps),
        "home": spec.home,
        "download": "yes" if spec.downloadable else "bring your own copy",
        "licence": spec.licence,
        "citation": spec.citation,
    }
    for label, text in rows.items():
        if text:
            table.add_row(label, escape(text))
    Console(highlight=False).print(table)


def _facts(name: str) -> dict[str, Any]:
    from geodata.datasets import registry

    cls = registry.get(name)
    spec = cls.spec
    return {
        "name": spec.name,
        "class": cls.__name__,
        "title": spec.title,
        "items": spec.items,
        "keys": [c.key for c in spec.contents],
        "splits": list(spec.splits),
        "downloadable": spec.downloadable,
        "licence": spec.licence,
        "citation": spec.citation,
        "home": spec.home,
        "tree": spec.tree,
        "traps": list(spec.traps),
    }


@app.command()
def download(
    name: Name,
    root: Annotated[
        Path | None, typer.Argument(help="Folder to download and extract into; ./NAME if left out.", show_default=False)
    ] = None,
) -> None:
    """Download what is missing of a published dataset, check and extract it; continues where it was stopped."""
    from geodata.datasets import registry

    cls = registry.get(name)
    place = Path(cls.spec.name) if root is None else root
    cls.download(place)
    say(f"{place}: {cls.spec.title} is complete")


@app.command()
def fake(
    name: Name,
    root: Annotated[Path, typer.Argument(help="Folder to write into; it must be empty.", show_default=False)],
    items: Annotated[int, typer.Option("--items", min=1, help="How many items.")] = 4,
) -> None:
    """Write a small look-alike of a published dataset: its layout, names and dtypes with made-up pixels."""
    from geodata.datasets import registry

    cls = registry.get(name)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise CatalogError(f"{root} is not empty; give a new folder, so that no file of yours is written over")
    root.mkdir(parents=True, exist_ok=True)
    cls.fake(root, items)
    say(f"{root}: a look-alike of {cls.spec.title}")


@app.command()
def check(
    name: Name,
    root: Annotated[Path, typer.Argument(help="Folder with your copy.", show_default=False)],
    every: Annotated[bool, typer.Option("--every", help="Read every item, not some hundred of them.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Look at your copy of a published dataset: what was found, what is missing, which file is bad."""
    from geodata.datasets import registry
    from geodata.datasets.checking import check_copy

    report = check_copy(registry.get(name), root, most=None if every else 100)
    if as_json:
        typer.echo(json.dumps(report))
    else:
        _show_report(report)
    if not report["good"]:
        raise typer.Exit(1)


def _show_report(report: dict[str, Any]) -> None:
    table = Table(
        title=escape(f"{report['title']} in {report['root']}"), show_header=False, title_justify="left", pad_edge=False
    )
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    expected = "" if report["expected"] is None else f" of {report['expected']:,}"
    parts = ", ".join(f"{part or 'in no part'} {count:,}" for part, count in report["splits"].items())
    bad = "\n".join(f"{entry['item']}: {entry['error']}" for entry in report["bad"])
    rows = {
        "problem": report["problem"] or "",
        "items": f"{report['items']:,}{expected}",
        "splits": parts,
        "missing": f"{report['missing']:,} items, first {report['first_missing']}" if report["missing"] else "",
        "read": f"{report['read']:,} items, {report['unreadable']:,} of them bad",
        "bad": bad,
        "so": ("good" if report["good"] else "not good") + (", but not complete" if not report["complete"] else ""),
    }
    for label, text in rows.items():
        if text:
            table.add_row(label, escape(text))
    Console(highlight=False).print(table)
