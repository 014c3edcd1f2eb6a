"""The command line as one object, and what its commands share."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

__all__ = ["JsonOption", "Paths", "PatternOption", "SensorOption", "app", "numbers", "say"]

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


def numbers(option: str, text: str, count: int | None) -> tuple[float, ...]:
    """Return numbers that were given with commas between.

    Raises
    ------
    typer.BadParameter
        If they are none, or not so many.
    """
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or (count is not None and len(found) != count):
        wanted = "numbers" if count is None else f"{count} numbers"
        raise typer.BadParameter(f"{option} {text!r} must be {wanted} with commas between")
    return found


def say(text: str) -> None:
    """Print one line on standard output."""
    Console(highlight=False, soft_wrap=True).print(escape(text))
