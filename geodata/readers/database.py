"""GeoPackages and other SQLite files: what would run when they are read."""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing
from urllib.parse import quote

from geodata.errors import ReadError
from geodata.readers.guard import SWITCH

__all__ = ["check_database", "is_database"]

_MODULES = re.compile(r"rtree(_i32)?|geopoly|fts[345]|virtual(spatialindex|elementary|knn2?)", re.IGNORECASE)
"""Virtual tables that keep what they hold in the same file."""

_VIRTUAL = re.compile(r"\busing\s+[\"'\[`]?(\w+)", re.IGNORECASE)


def is_database(head: bytes) -> bool:
    """Whether a file with these first bytes is an SQLite database."""
    return head.startswith(b"SQLite format 3\0")


def check_database(path: str, layer: str | None = None) -> None:
    """Refuse a database that computes what it should hold: a view may run for ever, fill the memory, or open other files.

    Triggers run on writing only, and nothing is written.

    Parameters
    ----------
    path : SQLite file on this machine
    layer : str or None
        The table that is read; views beside it do no harm.

    Raises
    ------
    ReadError
        If tables of GeoPackage or the layer are views or hold generated columns, if any view recurses, or if a virtual
        table takes its rows from elsewhere. A damaged database is left to GDAL, which says what is wrong.
    """
    immutable = "" if os.path.exists(f"{path}-wal") else "&immutable=1"
    try:
        with closing(sqlite3.connect(f"file:{quote(os.path.abspath(path))}?mode=ro{immutable}", uri=True)) as database:
            found = database.execute("SELECT type, lower(name), coalesce(sql, '') FROM sqlite_master").fetchall()
            generated = database.execute(
                "SELECT lower(m.name) FROM sqlite_master m, pragma_table_xinfo(m.name) c "
                "WHERE m.type = 'table' AND m.sql NOT LIKE 'create virtual%' AND c.hidden IN (2, 3)"
            ).fetchall()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        if isinstance(error, UnicodeDecodeError) or "decode" in str(error).lower():
            # fiona ends the process over a message of GDAL that is no text.
            raise ReadError(f"{path}: its table of contents is no text; the file is damaged, fetch it again") from None
        return
    computed = {name for kind, name, _ in found if kind == "view"} | {name for (name,) in generated}
    bad = {name for name in computed if name.startswith(("gpkg_", "rtree_")) or name == (layer or "").lower()}
    for kind, name, sql in found:
        module = _VIRTUAL.search(sql) if kind == "table" and sql[:14].lower() == "create virtual" else None
        if (kind == "view" and "recursive" in sql.lower()) or (module and not _MODULES.fullmatch(module[1])):
            bad.add(name)
    if bad:
        raise ReadError(
            f"{path}: {min(bad)!r} is no plain table, its rows are computed when it is read; copy the rows into a table "
            f"(ogr2ogr), or set {SWITCH}=1 to trust all files"
        )
