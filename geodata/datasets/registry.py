"""The published datasets by name."""

from __future__ import annotations

import builtins
from difflib import get_close_matches
from fnmatch import fnmatch
from typing import TYPE_CHECKING

from geodata.errors import CatalogError

if TYPE_CHECKING:
    from geodata.datasets.archive import ArchiveDataset

__all__ = ["get", "list", "register"]

_KNOWN: dict[str, type[ArchiveDataset]] = {}


def register(name: str, cls: type[ArchiveDataset]) -> None:
    """Make a dataset known under a name.

    Raises
    ------
    CatalogError
        If another one has the name.
    """
    other = _KNOWN.get(name)
    if other is not None and other.__qualname__ != cls.__qualname__:
        raise CatalogError(f"a dataset called {name!r} is known already, {other.__qualname__}; choose another name")
    _KNOWN[name] = cls


def list(pattern: str = "*") -> builtins.list[str]:
    """Return the names of the published datasets that match a pattern such as ``"*earth*"``, sorted."""
    return sorted(name for name in _KNOWN if fnmatch(name, pattern.lower()))


def get(name: str) -> type[ArchiveDataset]:
    """Return the class of a dataset by its name, whatever the case.

    Raises
    ------
    CatalogError
        If there is none; it names the nearest.
    """
    by_class = {cls.__name__.lower(): cls for cls in _KNOWN.values()}
    name = name.replace("-", "_")
    found = _KNOWN.get(name.lower()) or by_class.get(name.lower())
    if found is None:
        near = get_close_matches(name.lower(), sorted({*_KNOWN, *by_class}), 3, 0.6)
        hint = f"did you mean {' or '.join(near)}?" if near else "`geodata list` shows them"
        raise CatalogError(f"no dataset is called {name!r}; {hint}")
    return found
