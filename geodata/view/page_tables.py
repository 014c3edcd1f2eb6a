"""What the pages of datasets are written with: tables of bands and classes, numbers and docstrings as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from geodata.bands import Band, Bands
from geodata.spec import Classes

__all__ = ["bands_text", "classes_text", "number", "plain", "ranges", "table"]

MOST_BANDS = 20
"""A table lists so many bands; of more it shows the first and last three."""
MOST_CLASSES = 60
"""A table lists so many classes; of more it shows the first forty."""

BAND_COLUMNS = {
    "common_name": "common name",
    "wavelength": "wavelength (nm)",
    "fwhm": "FWHM (nm)",
    "gsd": "GSD (m)",
    "unit": "unit",
    "scale": "scale",
}
UNSTATED = "wavelengths are not declared; `bands` of a sample has what is known"


def bands_text(bands: Bands) -> list[str]:
    """Return paragraphs that say which bands an image has: those of few as a table, of many the range and the gaps."""
    if not len(bands):
        return ["As many as the files have."]
    many = len(bands) > MOST_BANDS
    ends = [*bands[:3], *bands[-3:]] if many else list(bands)
    columns = [c for c in BAND_COLUMNS if any(getattr(b, c) != getattr(Band("x"), c) for b in ends)]
    said = [_spectrum(bands)] if many else []
    if not columns:
        names = f"{', '.join(b.name for b in ends[:3])} ... {ends[-1].name}" if many else ", ".join(bands.names)
        return [*said, f"Called {names}."]
    rows = [(b.name, *(_cell(b, c) for c in columns)) for b in ends]
    if many:
        rows.insert(3, ("...",) * (len(columns) + 1))
    return [*said, table(("band", *(BAND_COLUMNS[c] for c in columns)), rows)]


def _cell(band: Band, field: str) -> str:
    value = getattr(band, field)
    return "" if value is None else f"{value:.7g}" if isinstance(value, (int, float)) else str(value)


def _spectrum(bands: Bands) -> str:
    """Return in a line how many bands there are, over which range, and where none are."""
    waves = bands.wavelengths[~np.isnan(bands.wavelengths)]
    text = [f"{len(bands)} bands"]
    if len(waves) > 1:
        text[0] += f", {waves.min():.0f} to {waves.max():.0f} nm"
        inside = np.sort(waves)
        wide = 3 * np.median(np.diff(inside))
        gaps = [f"{a:.0f} to {b:.0f}" for a, b in pairwise(inside.tolist()) if b - a > wide]
        text.append(f"none from {' nm and from '.join(gaps)} nm" if gaps else "no gaps")
        text += ["wavelengths do not ascend throughout"] if (np.diff(waves) < 0).any() else []
        text += [f"{len(bands) - len(waves)} have no declared wavelength"] if len(waves) < len(bands) else []
    else:
        text.append(UNSTATED)
    if all(name.isdecimal() for name in bands.names):
        channels = {int(name) for name in bands.names}
        left_out = set(range(1, max(channels))) - channels
        text += [f"names are numbers of channels, without {ranges(left_out)}"] if left_out else []
    return "; ".join(text) + "."


def classes_text(classes: Classes) -> list[str]:
    """Return paragraphs that say which classes there are, with what is known of each, and what is of no class."""
    codes = classes.codes or {}
    stored = [sorted(code for code, value in codes.items() if value == i) for i in range(len(classes.names))]
    columns = {"class": [str(i) for i in range(len(classes.names))], "name": list(classes.names)}
    if classes.colours:
        columns["colour"] = [f"`{colour}`" for colour in classes.colours]
    if classes.counts:
        columns["count"] = [number(count) for count in classes.counts]
    if codes and any(held != [i] for i, held in enumerate(stored)):
        columns["stored as"] = [ranges(held) for held in stored]
    rows = list(zip(*columns.values(), strict=True))
    cut = len(rows) > MOST_CLASSES
    text = [table(list(columns), rows[:40] if cut else rows)]
    text += [f"And {len(rows) - 40} more."] if cut else []
    none = [code for code, value in codes.items() if value < 0]
    text += [f"Stored numbers of no class: {ranges(none)}."] if none else []
    return text + (["A stored number that is not listed is of no class."] if classes.unlisted == "ignore" else [])


def number(count: int | None) -> str:
    """Return a count as people write it."""
    return "not known" if count is None else f"{count:,}"


def ranges(numbers: Iterable[int]) -> str:
    """Return whole numbers in ascending order, stretches of three or more as one.

    Examples
    --------
    >>> ranges([7, 1, 2, 3, 9, 10])
    '1-3, 7, 9, 10'
    """
    runs: list[list[int]] = []
    for n in sorted(numbers):
        if runs and n == runs[-1][-1] + 1:
            runs[-1].append(n)
        else:
            runs.append([n])
    return ", ".join(f"{r[0]}-{r[-1]}" if len(r) > 2 else ", ".join(map(str, r)) for r in runs)


def plain(text: str) -> str:
    """Return the text of a docstring on one line, its code marked as in Markdown."""
    return " ".join(text.replace("``", "`").split())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
