"""From files on disk to the columns of a catalog: headers only, no pixels."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from geodata.bands import Band, Bands
from geodata.catalog.agree import Found, Kinds, agreed, check_groups, lattices, ratios_of
from geodata.catalog.arrow import number_array, text_array
from geodata.catalog.footprint import Footprints
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
    named = _named(files, expression, only)
    with Journal(resume) as journal:
        found, failed = _headers(journal, _with_progress(*named, progress), root, crs)
        if failed and on_error == "raise":
            path, first = failed[0]
            raise type(first)(
                f"{len(failed)} of {len(named[0])} files cannot be used, first {path}: {first}; on_error='skip' leaves them out"
            )
        if not found:
            raise NoFilesError(
                f"no raster in {said}: {len(files)} files seen, {len(named[0])} matched "
                f"{'the pattern ' + repr(expression.pattern) if expression else 'by name'}, 0 opened"
            )
        columns = _columns(found, band_names, bands, on_error)
        journal.done()
    return {**columns, "root": root, "skipped": [p for p, _ in failed]}


def _headers(
    journal: Journal, named: Iterable[tuple[str, Said]], root: str, crs: Any
) -> tuple[list[Found], list[tuple[str, GeodataError]]]:
    """Read the headers of files; also return those that could not be used, and why."""
    prefix = os.path.join(root, "")
    kinds = Kinds()
    found: list[Found] = []
    failed: list[tuple[str, GeodataError]] = []
    for path, said in named:
        try:
            header, size, mtime = journal.header(path if "://" in path else prefix + path)
        except (ReadError, DtypeError, CRSError, GridError) as error:
            failed.append((path, error))
            continue
        if crs is not None and header.grid.crs is None:
            header = replace(header, grid=Grid(header.grid.shape, header.grid.transform, crs))
        found.append(Found(path, *_key_and_band(path, said), said[0], *kinds.parted(header), size, mtime))
    return found, failed


Said = tuple[dict[str, str], tuple[int, int] | None]
"""What a path says: its groups, and where the band part stands."""

NOTHING: Said = ({}, None)


def _named(
    files: list[str], expression: re.Pattern[str] | None, only: Sequence[str] | None
) -> tuple[list[str], list[Said]]:
    """Return the files that match, and are of the bands asked for, and what each of them says."""
    said = [NOTHING] * len(files)
    if expression is not None:
        matched = [(f, m) for f in files if (m := _match(expression, f)) is not None]
        files, said = [f for f, _ in matched], [m for _, m in matched]
    if only is None or not set(only) <= {groups.get("band") for groups, _ in said}:
        return files, said
    keep = [i for i, (groups, _) in enumerate(said) if groups.get("band") in only]
    return [files[i] for i in keep], [said[i] for i in keep]


def _match(expression: re.Pattern[str], path: str) -> Said | None:
    match = expression.search(path.replace(os.sep, "/"))
    if match is None:
        return None
    groups = {k: v for k, v in match.groupdict().items() if v is not None}
    return groups, match.span("band") if "band" in groups else None


def _key_and_band(path: str, said: Said) -> tuple[str, str]:
    names, span = said
    if "item" in names:
        return names["item"], names.get("band", "")
    stem = _stem(path.replace(os.sep, "/"))
    if span is None:
        return stem, ""
    start, end = span
    before, after = stem[:start], stem[end:]
    return (before.rstrip("_-./") + after if not after else (before + after.lstrip("_-./")).lstrip("/")), names["band"]


def _stem(path: str) -> str:
    """Return a path without its ending, as `os.path.splitext` does, at a sixth of the time."""
    stem, _, ending = path.rpartition(".")
    return stem if stem[stem.rfind("/") + 1 :].strip(".") and "/" not in ending else path


def _with_progress(
    files: list[str], said: list[Said], progress: bool | Callable[[Iterable[str]], Iterable[str]]
) -> Iterator[tuple[str, Said]]:
    # Pairs are made as they are needed: a long list of them would occupy Python's garbage collector.
    if callable(progress):
        says = dict(zip(files, said, strict=True))
        for path in progress(files):
            yield path, says[path]
    elif progress and len(files) >= 200 and sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track

        console = Console(stderr=True)
        for i in track(range(len(files)), description="Reading headers", console=console, transient=True):
            yield files[i], said[i]
    else:
        yield from zip(files, said, strict=True)


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
    reference = _reference(items, slots)
    by_slot = {slot: [parts[slot] for parts in items.values()] for slot in slots}
    grids = lattices(by_slot[reference])
    return {
        "assets": _assets(by_slot, reference, grids, band_names, bands),
        "key": list(items),
        "affine": grids.affine,
        "shape": grids.shape,
        "crs": [grids.crs[c] for c in grids.code.tolist()],
        "time": _times(by_slot[reference]),
        "columns": _extras(by_slot, reference),
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


def _reference(items: dict[str, dict[str, Found]], slots: list[str]) -> str:
    """The slot with the finest pixels, on whose grid items lie."""
    first = next(iter(items.values()))
    reference = max(slots, key=lambda s: (first[s].lattice[:2], -slots.index(s)))
    if len({_suffix(s) for s in slots}) < len(slots):
        raise BandsError(f"bands {', '.join(slots)} differ only in punctuation; give them names that differ in letters")
    for parts in items.values():
        check_groups(parts[reference], parts.values())
    return reference


def _assets(
    by_slot: dict[str, list[Found]],
    reference: str,
    grids: Footprints,
    band_names: Sequence[str] | None,
    bands: Bands | None,
) -> list[Asset]:
    assets = []
    known = {b.name: b for b in bands} if bands is not None else {}
    for slot, files in by_slot.items():
        ratios = {1}
        if slot != reference:
            ratios = set(ratios_of(by_slot[reference], grids, files, lattices(files)).tolist())
        if len(ratios) > 1:
            raise GridError(
                f"band {slot!r} has {sorted(ratios)} reference pixels per pixel in different items; scan them apart"
            )
        header = agreed(files)
        names = _names(header, slot, band_names)
        href = f"{{path{_suffix(slot)}}}"
        attached = Bands(_attach(b, n, known) for b, n in zip(header.bands, names, strict=True))
        assets.append(Asset(href, attached, header.indexes, ratios.pop(), header.dtype, header.nodata, header.validity))
    return assets


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


def _times(files: Sequence[Found]) -> list[tuple[float, float]]:
    known: dict[tuple[str | None, ...], tuple[float, float]] = {}
    times = []
    for file in files:
        groups = file.groups
        said = (groups.get("start"), groups.get("stop"), groups.get("date")) if groups else ()
        if said not in known:
            try:
                known[said] = _time_of(groups)
            except QueryError as error:
                raise QueryError(f"{file.path}: {error}") from None
        times.append(known[said])
    return times


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


def _extras(by_slot: dict[str, list[Found]], reference: str) -> dict[str, Any]:
    own = {"item", "band", "date", "start", "stop"}
    out: dict[str, Any] = {}
    for name in sorted({g for file in by_slot[reference] for g in file.groups} - own):
        said = [[f.groups.get(name) for f in files] for files in by_slot.values()]
        if any(values != said[0] for values in said):
            continue  # it tells files apart, not items
        out[name] = text_array(said[0])
    for slot, files in by_slot.items():
        suffix = _suffix(slot)
        out[f"path{suffix}"] = text_array([f.path.replace(os.sep, "/") for f in files])
        out[f"size{suffix}"] = number_array(np.array([f.size for f in files], dtype=np.int64))
        out[f"mtime{suffix}"] = number_array(np.array([f.mtime for f in files], dtype=np.int64))
    return out
