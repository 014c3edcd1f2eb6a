"""The text headers of ENVI cubes: where they are and what stands in them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from geodata.errors import ReadError
from geodata.readers.guard import check_regular
from geodata.readers.openfiles import telling

__all__ = [
    "EXTENSIONS",
    "Fields",
    "band_numbers",
    "data_file",
    "header_file",
    "parse_header",
    "read_fields",
    "whole_number",
]

EXTENSIONS = (".img", ".dat", ".raw", ".bsq", ".bil", ".bip", ".cube")
"""Endings of the data file beside a header; it often has none."""

Fields = dict[str, str | list[str]]
"""Fields of a header by their names in small letters."""

_MOST_HEADER = 1 << 24


def data_file(href: str) -> str:
    """Return the data file of a cube.

    Parameters
    ----------
    href : the data file, the header, or their name without ending; spelled small or large

    Raises
    ------
    ReadError
        If there is none, or several that the header may belong to.
    """
    stem, ending = os.path.splitext(href)
    if ending.lower() != ".hdr":
        if os.path.isfile(href) or not os.path.isfile(f"{href}.hdr"):
            return href
        stem = href
    endings = ("", *EXTENSIONS)
    found = _spelled(stem, endings) or _listed(stem, endings)
    if len(found) != 1:
        what = f"several data files: {', '.join(found)}; give the one you mean" if found else "no data file beside it"
        raise ReadError(f"cannot open {href}: {what}")
    return found[0]


def header_file(href: str) -> str:
    """Return the header of a data file: ``scene.img.hdr`` before ``scene.hdr``.

    Raises
    ------
    ReadError
        If there is none.
    """
    stems = href, os.path.splitext(href)[0]
    for find in (_spelled, _listed):
        for stem in stems:
            for found in find(stem, (".hdr",)):
                return found
    raise ReadError(f"cannot open {href}: there is no ENVI header (.hdr) beside it")


def _spelled(stem: str, endings: Sequence[str]) -> list[str]:
    spelled = [stem + spelling for end in endings for spelling in dict.fromkeys((end, end.upper()))]
    found = [path for path in spelled if os.path.isfile(path)]
    # Where file systems do not tell large letters from small ones, both spellings are one file.
    return [path for i, path in enumerate(found) if not any(os.path.samefile(path, other) for other in found[:i])]


def _listed(stem: str, endings: Sequence[str]) -> list[str]:
    """Return files whose ending is spelled in some other way."""
    folder, name = os.path.split(stem)
    try:
        names = os.listdir(folder or ".")
    except OSError:
        return []
    return [os.path.join(folder, n) for n in names if n.startswith(name) and n[len(name) :].lower() in endings]


def parse_header(text: str, href: str) -> Fields:
    """Return the fields of a header by their names in small letters; a value in braces is a list.

    Raises
    ------
    ReadError
        If it is no ENVI header, or a brace is not closed.
    """
    lines = text.lstrip("\ufeff").splitlines()
    if not lines or not lines[0].strip().startswith("ENVI"):
        raise ReadError(f"{href} is no ENVI header: it does not begin with the word ENVI")
    body = iter(line for line in lines[1:] if not line.lstrip().startswith(";"))
    fields: Fields = {}
    for line in body:
        name, equals, value = line.partition("=")
        if not equals:
            continue
        key, value = " ".join(name.lower().split()), value.strip()
        if not value.startswith("{"):
            fields[key] = value
            continue
        while "}" not in value:
            more = next(body, None)
            if more is None:
                raise ReadError(f"{href}: the list of {key!r} does not end; the header is cut short")
            value += "\n" + more
        inner = value[1 : value.rindex("}")]
        # WKT has commas of its own, a description is one text.
        whole = key in ("coordinate system string", "description")
        fields[key] = inner.strip() if whole else [part.strip() for part in inner.split(",")]
    return fields


def read_fields(data: str) -> tuple[Fields, str]:
    """Return the fields of the header of a data file, and where the header is.

    Raises
    ------
    ReadError
        If there is none.
    """
    path = header_file(data)
    check_regular(path)
    with telling(f"cannot read {path}"):
        if os.path.getsize(path) > _MOST_HEADER:
            raise ReadError(f"{path} is no ENVI header: it has {os.path.getsize(path)} bytes")
        with open(path, "rb") as file:
            raw = file.read()
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return parse_header(text, path), path


def whole_number(fields: Fields, key: str, path: str, default: int | None = None, least: int = 0) -> int:
    """Return a field that is a whole number.

    Raises
    ------
    ReadError
        If it is missing without a default, below ``least``, or something else.
    """
    value = fields.get(key, "" if default is None else str(default))
    if not isinstance(value, str) or not re.fullmatch(r"\d{1,18}", value) or int(value) < least:
        raise ReadError(f"{path}: {key!r} is {value or 'missing'!r}, a whole number of at least {least} was wanted")
    return int(value)


def band_numbers(fields: Fields, key: str, count: int, path: str) -> list[float] | None:
    """Return a list of one number for each band, None if there is none.

    Raises
    ------
    ReadError
        If it holds more or fewer, or what is no number.
    """
    values = fields.get(key)
    if values is None:
        return None
    values = [value for value in ([values] if isinstance(values, str) else values) if value]
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        raise ReadError(f"{path}: {key!r} holds what is no number: {values[:5]}") from None
    if len(numbers) != count:
        raise ReadError(f"{path}: {len(numbers)} numbers in {key!r} for {count} bands")
    return numbers
