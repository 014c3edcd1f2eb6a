"""From files on disk to the columns of a catalog: headers only, no pixels."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from geodata.bands import Band, Bands
from geodata.catalog.agree import Found, agreed, check_groups, ratio_of
from geodata.catalog.journal import Journal
from geodata.catalog.paths import find_files
from geodata.errors import (
    BandsError,
    CatalogError,
    CRSError,
    DtypeError,
    GeodataError,
    GridError,
    NoFilesError,
    QueryError,
    ReadError,
)
from geodata.grid import Grid
from geodata.interval import ALWAYS, Interval
from geodata.readers.base import Asset, Header
from geodata.readers.raster import EXTENSIONS

__all__ = ["scan"]


def scan(
    paths: Any,
    *,
    pattern: str | re.Pattern[str] | None = None,
    band_names: Sequence[str] | None = None,
    bands: Bands | None = None,
    on_error: str = "raise",
    only: Sequence[str] | None = None,
    crs: Any = None,
    progress: bool | Callable[[Iterable[str]], Iterable[str]] = True,
    resume: str | Path | None = None,
) -> dict[str, Any]:
    """Read headers of raster files and return the columns for `Catalog.from_columns`.

    Parameters
    ----------
    paths : folder, glob, file, URL, or a sequence of these
    pattern : regular expression with named groups, searched in each path below the root, or None
        Groups ``item``, ``band``, ``date`` (or ``start`` and ``stop``) have a meaning; any other becomes a column. Files
        with the same item are one row, also at different resolutions. Files that do not match are left out.
    band_names : names of the bands of files that have several, in file order
    bands : Bands or None
        Wavelengths and common names, attached by name.
    only : bands to look at, of files with one band each; the others are not opened
    on_error : {"raise", "skip"}
        What to do with files that cannot be read and items that lack a band.
    crs : anything that names a CRS, for files that carry none
    progress : bool, or a callable that wraps an iterable
        A bar on a terminal's error stream for 200 files or more.
    resume : path or None
        A journal of headers already read. An interrupted scan with the same journal continues; it is removed at the end.

    Raises
    ------
    NoFilesError
        If no file was found, matched or opened; with the three counts.
    ReadError, CRSError, DtypeError, GridError
        If files cannot be used, naming the first and counting all (``on_error="raise"``).
    BandsError, DtypeError, GridError
        If items disagree in bands, dtype, or files of one item do not share a lattice.
    """
    if on_error not in ("raise", "skip"):
        raise CatalogError(f"on_error={on_error!r} must be 'raise' or 'skip'")
    root, files, said = find_files(paths, EXTENSIONS)
    try:
        expression = re.compile(pattern) if isinstance(pattern, str) else pattern
    except re.error as error:
        raise CatalogError(f"pattern {pattern!r} is no regular expression: {error}") from None
    taken = sorted({"path", "size", "mtime"} & set(expression.groupindex if expression else ()))
    if taken:
        raise CatalogError(
            f"group {taken[0]!r} of the pattern has the name of a column that a scan makes; call it something else"
        )
    named = [(f, m) for f in files if (m := _match(expression, f)) is not None]
    if only is not None and set(only) <= {m[0].get("band") for _, m in named}:
        named = [(f, m) for f, m in named if m[0].get("band") in only]
    found: list[Found] = []
    failed: list[tuple[str, GeodataError]] = []
    with Journal(resume) as journal:
        for path, groups in _with_progress(named, progress):
            full = path if "://" in path else os.path.join(root, path)
            try:
                header, size, mtime = journal.header(full)
            except (ReadError, DtypeError, CRSError, GridError) as error:
                failed.append((path, error))
                continue
            if crs is not None and header.grid.crs is None:
                header = replace(header, grid=Grid(header.grid.shape, header.grid.transform, crs))
            key, band = _key_and_band(path, groups)
            found.append(Found(path, key, band, groups[0], header, size, mtime))
        if failed and on_error == "raise":
            path, first = failed[0]
            raise type(first)(
                f"{len(failed)} of {len(named)} files cannot be used, first {path}: {first}; on_error='skip' leaves them out"
            )
        if not found:
            raise NoFilesError(
                f"no raster in {said}: {len(files)} files seen, {len(named)} matched "
                f"{'the pattern ' + repr(expression.pattern) if expression else 'by name'}, 0 opened"
            )
        columns = _columns(found, band_names, bands, on_error)
        journal.done()
    return {**columns, "root": root, "skipped": [p for p, _ in failed]}


def _match(expression: re.Pattern[str] | None, path: str) -> tuple[dict[str, str], tuple[int, int] | None] | None:
    """What a path says: its groups, and where the band part stands; None if it does not match."""
    if expression is None:
        return {}, None
    match = expression.search(path.replace(os.sep, "/"))
    if match is None:
        return None
    groups = {k: v for k, v in match.groupdict().items() if v is not None}
    return groups, match.span("band") if "band" in groups else None


def _key_and_band(path: str, groups: tuple[dict[str, str], tuple[int, int] | None]) -> tuple[str, str]:
    names, span = groups
    if "item" in names:
        return names["item"], names.get("band", "")
    stem = os.path.splitext(path)[0].replace(os.sep, "/")
    if span is None:
        return stem, ""
    start, end = span
    before, after = stem[:start], stem[end:]
    return (before.rstrip("_-./") + after if not after else (before + after.lstrip("_-./")).lstrip("/")), names["band"]


def _with_progress(
    named: list[tuple[str, Any]], progress: bool | Callable[[Iterable[str]], Iterable[str]]
) -> Iterator[tuple[str, Any]]:
    if callable(progress):
        groups = dict(named)
        for path in progress([p for p, _ in named]):
            yield path, groups[path]
    elif progress and len(named) >= 200 and sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track

        yield from track(named, description="Reading headers", console=Console(stderr=True), transient=True)
    else:
        yield from named


# ---------------------------------------------------------------------- from files to rows


def _columns(
    found: list[Found], band_names: Sequence[str] | None, bands: Bands | None, on_error: str
) -> dict[str, Any]:
    items: dict[str, dict[str, Found]] = {}
    for file in found:
        parts = items.setdefault(file.key, {})
        if file.band in parts:
            raise CatalogError(
                f"{file.path} and {parts[file.band].path} are the same item {file.key!r}"
                + (f" and band {file.band!r}" if file.band else "")
                + "; give a pattern whose groups tell them apart"
            )
        parts[file.band] = file
    slots = sorted({band for parts in items.values() for band in parts})
    dropped = _incomplete(items, slots, on_error)
    for key in dropped:
        del items[key]
    if not items:
        raise NoFilesError(f"{len(found)} files opened, but no item has all of the bands {slots}")
    assets, reference = _assets(items, slots, band_names, bands)
    grids = [parts[reference].header.grid for parts in items.values()]
    return {
        "key": list(items),
        "affine": [tuple(g.transform)[:6] for g in grids],
        "shape": [g.shape for g in grids],
        "crs": [g.crs for g in grids],
        "time": [_time(parts[reference]) for parts in items.values()],
        "columns": _extras(items, slots, reference),
        "assets": assets,
        "dropped": dropped,
    }


def _incomplete(items: dict[str, dict[str, Found]], slots: list[str], on_error: str) -> list[str]:
    lacking = {key: [s for s in slots if s not in parts] for key, parts in items.items() if len(parts) < len(slots)}
    if lacking and on_error == "raise":
        key, bands = next(iter(lacking.items()))
        raise BandsError(
            f"{len(lacking)} of {len(items)} items lack a file, first {key!r} lacks {', '.join(bands)}; "
            "on_error='skip' leaves such items out"
        )
    return list(lacking)


def _assets(
    items: dict[str, dict[str, Found]], slots: list[str], band_names: Sequence[str] | None, bands: Bands | None
) -> tuple[list[Asset], str]:
    first = next(iter(items.values()))
    reference = max(slots, key=lambda s: (first[s].header.grid.shape, -slots.index(s)))
    if len({_suffix(s) for s in slots}) < len(slots):
        raise BandsError(f"bands {', '.join(slots)} differ only in punctuation; give them names that differ in letters")
    for parts in items.values():
        check_groups(parts[reference], parts.values())
    assets = []
    for slot in slots:
        files = [parts[slot] for parts in items.values()]
        ratios = {ratio_of(parts[reference], parts[slot]) for parts in items.values()}
        if len(ratios) > 1:
            raise GridError(
                f"band {slot!r} has {sorted(ratios)} reference pixels per pixel in different items; scan them apart"
            )
        header = agreed(files)
        names = _names(header, slot, band_names)
        href = f"{{path{_suffix(slot)}}}"
        known = {b.name: b for b in bands} if bands is not None else {}
        attached = Bands(_attach(b, n, known) for b, n in zip(header.bands, names, strict=True))
        assets.append(Asset(href, attached, header.indexes, ratios.pop(), header.dtype, header.nodata, header.validity))
    return assets, reference


def _names(header: Header, slot: str, band_names: Sequence[str] | None) -> Sequence[str]:
    n = len(header.bands)
    if slot:
        return [slot] if n == 1 else [f"{slot}_{name}" for name in header.bands.names]
    if band_names is None:
        return header.bands.names
    if len(band_names) != n:
        raise BandsError(
            f"band_names has {len(band_names)} names, the files have {n} bands: {', '.join(header.bands.names[:20])}"
        )
    return band_names


def _attach(band: Band, name: str, known: dict[str, Band]) -> Band:
    more = known.get(name)
    if more is None:
        return replace(band, name=name)
    scale, offset = (band.scale, band.offset) if (band.scale, band.offset) != (1.0, 0.0) else (more.scale, more.offset)
    return replace(more, scale=scale, offset=offset, unit=band.unit or more.unit)


def _time(file: Found) -> tuple[float, float]:
    try:
        return _time_of(file.groups)
    except QueryError as error:
        raise QueryError(f"{file.path}: {error}") from None


def _time_of(groups: dict[str, str]) -> tuple[float, float]:
    if "start" in groups:
        when = Interval.parse((groups["start"], groups.get("stop", groups["start"])))
    elif "date" in groups:
        when = Interval.parse(groups["date"])
    else:
        when = ALWAYS
    return when.start, when.end


def _suffix(slot: str) -> str:
    """What a slot's columns end in: a name that a template can hold."""
    return "_" + re.sub(r"\W", "-", slot) if slot else ""


def _extras(items: dict[str, dict[str, Found]], slots: list[str], reference: str) -> dict[str, Any]:
    own = {"item", "band", "date", "start", "stop"}
    rows = list(items.values())
    out: dict[str, Any] = {}
    for name in sorted({g for parts in rows for g in parts[reference].groups} - own):
        if any(len({f.groups.get(name) for f in parts.values()}) > 1 for parts in rows):
            continue  # it tells files apart, not items
        out[name] = pa.array([parts[reference].groups.get(name) for parts in rows], pa.string())
    for slot in slots:
        suffix = _suffix(slot)
        out[f"path{suffix}"] = pa.array([parts[slot].path.replace(os.sep, "/") for parts in rows], pa.string())
        out[f"size{suffix}"] = pa.array([parts[slot].size for parts in rows], pa.int64())
        out[f"mtime{suffix}"] = pa.array([parts[slot].mtime for parts in rows], pa.int64())
    return out
