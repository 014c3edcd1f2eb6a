"""Files beside the archives of hyperspectral patches that say which patch is in which part."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from geodata.datasets.lists import seen
from geodata.errors import CatalogError, NoFilesError

__all__ = ["PARTS", "check_asked", "options", "parts_in"]

PARTS = ("train", "val", "test")


def parts_in(folder: Path, ending: str, key: Callable[[str], str]) -> dict[str, str]:
    """Return {key: part} from the files ``train``, ``val`` and ``test`` of a folder, as far as they are there.

    Parameters
    ----------
    ending : of the files, ``".txt"``
    key : from a line to the key of an item

    Raises
    ------
    CatalogError
        If a file is no text, or two parts list the same item.
    """
    found: dict[str, str] = {}
    for part in PARTS:
        path = folder / f"{part}{ending}"
        if not path.is_file():
            continue
        try:
            lines = path.read_text(encoding="utf-8-sig").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise CatalogError(f"{path} is no list of patches: {error}") from None
        for item in (key(line.strip()) for line in lines if line.strip()):
            if found.setdefault(item, part) != part:
                raise CatalogError(f"{path} lists {item!r} for {part}, but {found[item]}{ending} lists it too")
    return found


def options(folder: Path, ending: str) -> dict[str, Any]:
    """Return the folder, and how its files look, as options of an index: a change of them makes a new catalog."""
    return {"splits": str(folder), "seen": seen(folder, [f"{part}{ending}" for part in PARTS])}


def check_asked(split: Any, folder: Path, ending: str, title: str, origin: str) -> None:
    """Refuse a wish for a part whose file is not there.

    Raises
    ------
    NoFilesError
        It says where the files come from.
    """
    wanted = [split] if isinstance(split, str) else list(split or ())
    missing = [part for part in wanted if part in PARTS and not (folder / f"{part}{ending}").is_file()]
    if missing:
        raise NoFilesError(
            f"{title}: {folder} holds no {missing[0]}{ending}; {origin}, or take all rows with split=None"
        )
