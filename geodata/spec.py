"""What is known of one published dataset: a record from which classes, checks and documentation pages are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from geodata.bands import Bands
from geodata.download import Source
from geodata.errors import CatalogError

__all__ = ["Array", "Boxes", "Classes", "Content", "DatasetSpec", "Image", "Label", "Mask"]


@dataclass(frozen=True)
class Classes:
    """Classes in order of their number.

    Parameters
    ----------
    names : K texts
    colours : K of ``"#rrggbb"``, or none
    codes : {stored number: class}, or None if numbers are stored as classes
        A negative class means that pixels of this number are of no class.
    counts : K items or pixels of each class in the published archive, or none
    unlisted : {"refuse", "ignore", "keep"}
        Whether a stored number that `codes` does not list is an error, of no class, or a class as it is.
    """

    names: tuple[str, ...]
    colours: tuple[str, ...] = ()
    codes: Mapping[int, int] | None = None
    counts: tuple[int, ...] = ()
    unlisted: str = "refuse"

    def __post_init__(self) -> None:
        named = [name for name in self.names if name]  # a number between others may stand for nothing
        if len(set(named)) != len(named):
            raise CatalogError(f"{len(named)} class names, {len(set(named))} different ones; wanted one each")
        for what, values in (("colours", self.colours), ("counts", self.counts)):
            if values and len(values) != len(self.names):
                raise CatalogError(f"{len(self.names)} class names, {len(values)} {what}; wanted one each")
        if self.codes is not None and max(self.codes.values(), default=-1) >= len(self.names):
            raise CatalogError(f"a stored number stands for class {max(self.codes.values())} of {len(self.names)}")

    def ordered(self, names: tuple[str, ...]) -> Classes:
        """Return the same classes in another order."""
        if sorted(names) != sorted(self.names):
            raise CatalogError(f"an order of the classes must hold each once: {', '.join(self.names)}")
        old = [self.names.index(name) for name in names]
        new = {number: place for place, number in enumerate(old)}
        return Classes(
            names,
            tuple(self.colours[i] for i in old) if self.colours else (),
            {code: new.get(value, value) for code, value in self._codes.items()},
            tuple(self.counts[i] for i in old) if self.counts else (),
            self.unlisted,
        )

    @property
    def _codes(self) -> Mapping[int, int]:
        return self.codes if self.codes is not None else {i: i for i in range(len(self.names))}


@dataclass(frozen=True)
class Content:
    """One thing that a sample holds.

    Parameters
    ----------
    key : str
        Sample key.
    needs : folder or file below the root that holds it, a glob, or ``""``
    folders : template over the columns of the catalog, or ``""``
        Folders that must all be there; where rows are from a table, it shows an archive that is only half extracted.
    about : one line for the page of the dataset
    """

    key: str
    needs: str = ""
    folders: str = ""
    about: str = ""


@dataclass(frozen=True)
class Image(Content):
    """``image`` or ``image_<name>``.

    Parameters
    ----------
    bands : Bands of it, in the order of the archive
    shape : height and width in pixels of its finest bands as published, or None where they vary
    resampling : how coarser bands come onto the grid of the finer ones
    size : columns that hold its height and width, if it shares no grid with the item
    dtype : what it is always read as, or None for what the user asks for
    """

    bands: Bands = field(default_factory=lambda: Bands([]))
    shape: tuple[int, int] | None = None
    resampling: str = "bilinear"
    size: tuple[str, str] | None = None
    dtype: str | None = None


@dataclass(frozen=True)
class Mask(Content):
    """``mask``: one band of class numbers.

    Parameters
    ----------
    band : name of the band that holds it
    classes : Classes
    size : as in `Image`
    chosen : bool
        Whether it counts as one of the bands: ``bands=`` then leaves it out unless it names it.
    resampling : {"nearest", "mode"}, for queries off its lattice
    """

    band: str = ""
    classes: Classes = field(default_factory=lambda: Classes(()))
    size: tuple[str, str] | None = None
    chosen: bool = False
    resampling: str = "nearest"


@dataclass(frozen=True)
class Label(Content):
    """``label`` of a whole item.

    Parameters
    ----------
    columns : one column of text or lists of text, or columns of numbers
    classes : Classes, or None for numbers
    """

    columns: tuple[str, ...] = ()
    classes: Classes | None = None


@dataclass(frozen=True)
class Boxes(Content):
    """``boxes`` and ``box_labels``, and ``corners`` if oriented.

    Parameters
    ----------
    read : callable (catalog, row) -> corners (N, 4, 2) or boxes (N, 4) float32 in pixels, and N class names
    """

    read: Callable[[Any, int], Any] | None = None
    classes: Classes = field(default_factory=lambda: Classes(()))
    oriented: bool = False


@dataclass(frozen=True)
class Array(Content):
    """An array of a whole item, such as ``endmembers``.

    Parameters
    ----------
    load : callable (catalog, row) -> array
    shape : its axes in words, for the page of the dataset
    """

    load: Callable[[Any, int], Any] | None = None
    shape: str = ""


@dataclass(frozen=True)
class DatasetSpec:
    """One published dataset.

    Parameters
    ----------
    name : what the command line and the registry call it
    title, about : its name in full, and a paragraph
    contents : what a sample holds
    tree : the folders and files that are expected below the root, as people see them
    home : where it is described and where it is got from
    licence, citation : as its authors state them; ``"unknown"`` if they do not
    needs : files and folders that must exist whatever is read, globs
    listed : bool
        Whether its rows are from a table of the archive, so that their files may be missing.
    splits : names of its own parts, as written in the column ``split``
    lists : template of the files that say which item is in which part, ``"{}.txt"``, or ``""``
        Needed only for the parts that are asked for; a change of them makes a new catalog.
    watch : globs of other files that decide which rows there are
    sources : files to download; without addresses they must be brought
    items : number of items when complete, or None if that is not known
    traps : what goes wrong for people who read it by themselves
    version : raised when its catalog is made in another way
    """

    name: str
    title: str
    about: str
    contents: tuple[Content, ...]
    tree: str
    home: str
    licence: str
    citation: str
    needs: tuple[str, ...] = ()
    listed: bool = False
    splits: tuple[str, ...] = ()
    lists: str = ""
    watch: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    items: int | None = None
    traps: tuple[str, ...] = ()
    version: int = 1

    @property
    def downloadable(self) -> bool:
        """Whether every file has an address."""
        return bool(self.sources) and all(source.urls for source in self.sources)
