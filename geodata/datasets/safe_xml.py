"""XML files of an archive: data, not trust."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree

from geodata.errors import ReadError
from geodata.readers.guard import check_regular

__all__ = ["LARGEST", "parse_xml"]

LARGEST = 1 << 24
"""Bytes of the largest file that is read; annotations and metadata are far smaller."""


class _Plain(ElementTree.TreeBuilder):
    """A builder of trees that takes no document type, whatever encoding may have hidden it."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def doctype(self, name: str, pubid: str | None, system: str | None) -> NoReturn:
        """Refuse it."""
        raise _refusal(self._path)


def parse_xml(path: str | Path) -> ElementTree.Element:
    """Return the root element of an XML file.

    Raises
    ------
    ReadError
        If it is no readable file, larger than 16 MB, torn or no XML (with the line), or declares a document type or
        entities: those can grow without end, and name other files.
    """
    name = str(path)
    try:
        check_regular(name)
        size = os.path.getsize(name)
        if size > LARGEST:
            raise ReadError(f"{name} has {size:,} bytes, more than the {LARGEST:,} that XML files may have here")
        data = Path(name).read_bytes()
    except ReadError:
        raise
    except OSError as error:
        raise ReadError(f"cannot open {name}: {error.strerror or error}") from None
    # Two or four bytes to a letter are the same letters with zeros between them.
    plain = data.replace(b"\0", b"")
    if b"<!DOCTYPE" in plain or b"<!ENTITY" in plain:
        raise _refusal(name)
    parser = ElementTree.XMLParser(target=_Plain(name))  # noqa: S314  # neither document type nor entities get here
    try:
        parser.feed(data)
        root: ElementTree.Element = parser.close()
    except ElementTree.ParseError as error:
        raise ReadError(
            f"{name}, line {error.position[0]}: {error}; the file is torn or no XML, fetch it again"
        ) from None
    except (ValueError, LookupError) as error:
        raise ReadError(f"{name}: {error}; write it again as UTF-8") from None
    return root


def _refusal(path: str) -> ReadError:
    return ReadError(
        f"{path} declares a document type or entities, which can name other files or grow without end; remove the "
        "declaration if you trust the file"
    )
