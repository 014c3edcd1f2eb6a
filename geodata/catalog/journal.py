"""Headers already read, kept beside a long scan so that it can go on after an interruption."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from geodata.bands import Bands
from geodata.crs import crs_text
from geodata.errors import GeodataError, ReadError
from geodata.grid import Grid
from geodata.readers.base import Header
from geodata.readers.raster import describe

__all__ = ["Journal"]


class Journal:
    """Headers already read, one JSON line each, so that an interrupted scan continues."""

    def __init__(self, path: str | Path | None) -> None:
        self.path = None if path is None else Path(path)
        self._known: dict[str, dict[str, Any]] = {}
        self._file: Any = None

    def __enter__(self) -> Journal:
        if self.path is None:
            return self
        if self.path.is_file():
            for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    entry = json.loads(line)
                    _header_from(entry)
                    self._known[entry["path"]] = entry
                except (ValueError, TypeError, KeyError, GeodataError):
                    continue  # a line that a killed scan left half written: its file is read again
        self._file = self.path.open("a", encoding="utf-8")
        if self.path.stat().st_size:
            self._file.write("\n")  # the last line may be torn
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def done(self) -> None:
        """The scan is complete: the journal is not needed any more."""
        if self.path is not None:
            self._file.close()
            self._file = None
            self.path.unlink(missing_ok=True)

    def header(self, full: str) -> tuple[Header, int, int]:
        """Return the header of a file, its size in bytes and its time of change in ns (0, 0 for URLs)."""
        size = mtime = 0
        if "://" not in full and not full.startswith("/vsi"):
            try:
                stat = os.stat(full)
            except OSError as error:
                raise ReadError(f"cannot open {full}: {error}") from None
            size, mtime = stat.st_size, stat.st_mtime_ns
        entry = self._known.get(full)
        if entry is not None and (entry.get("size"), entry.get("mtime")) == (size, mtime):
            return _header_from(entry), size, mtime
        header = describe(full)
        if self._file is not None:
            self._file.write(json.dumps({"path": full, "size": size, "mtime": mtime, **_header_dict(header)}) + "\n")
            self._file.flush()
        return header, size, mtime


def _header_dict(h: Header) -> dict[str, Any]:
    return {
        "shape": h.grid.shape,
        "transform": [v.hex() for v in tuple(h.grid.transform)[:6]],
        "crs": crs_text(h.grid.crs),
        "bands": h.bands.to_dict(),
        "indexes": h.indexes,
        "dtype": h.dtype,
        "nodata": None if h.nodata is None else repr(h.nodata),
        "validity": h.validity,
        "named": h.named,
    }


def _header_from(d: dict[str, Any]) -> Header:
    grid = Grid(d["shape"], [float.fromhex(v) for v in d["transform"]], d["crs"] or None)
    nodata = None if d["nodata"] is None else float(d["nodata"])
    bands = Bands.from_dict(d["bands"])
    return Header(grid, bands, tuple(d["indexes"]), d["dtype"], nodata, d["validity"], d["named"])
