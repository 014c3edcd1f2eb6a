"""The command line, ``geodata``: one module for each group of commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from typer.main import get_command

# Importing them is what puts their commands on the app.
from geodata.cli import archives, exports, files, splits, stats, stores  # noqa: F401
from geodata.cli.app import app
from geodata.errors import GeodataError

__all__ = ["app", "main", "run"]

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
        _complain("interrupted; nothing half-written was left, and what goes on does so when the command is run again")
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
