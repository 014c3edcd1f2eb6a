"""Finding the files of an unmixing scene, whatever they are called."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geodata.errors import CatalogError, NoFilesError
from geodata.readers import arrays

__all__ = ["CUBES", "Look", "MatFile", "Published", "find_files"]

CUBES = ("V", "Y", "Y_clean", "img")
"""What the array of a cube is called."""

_NO_ARRAYS = ("cell", "struct", "object", "char", "function", "opaque", "sparse")


@dataclass(frozen=True)
class Look:
    """What a user said about a copy: options of `geodata.datasets.unmixing.UnmixingScene`."""

    data: str | None = None
    truth: tuple[str, ...] | None = None
    order: str | None = None
    size: tuple[int, int] | None = None
    kept: bool = True
    wavelengths: tuple[float, ...] | None = None
    count: int = 0
    needs_truth: bool = True


@dataclass(frozen=True)
class Published:
    """What is known of a scene before its files are opened.

    Parameters
    ----------
    data, truth : names of its files, the likeliest first; patterns of fnmatch, whatever the case
    total : channels of the sensor, or 0
    removed : 1-based channels that the authors left out
    names : endmembers in the order of the file
    wavelengths : nm of all channels of the sensor, or none
    abundance : whether there are abundances
    """

    data: tuple[str, ...] = ()
    truth: tuple[str, ...] = ()
    total: int = 0
    removed: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    wavelengths: tuple[float, ...] = ()
    abundance: bool = True


class MatFile:
    """A .mat file: which arrays it holds."""

    def __init__(self, root: Path, path: str) -> None:
        self.path = path
        self.href = os.path.join(root, path)
        self.held = arrays.names_in(self.href, format="array")

    def all(self, names: Iterable[str], axes: tuple[int, ...]) -> list[tuple[str, tuple[int, ...]]]:
        """Return those of some names that are arrays of numbers with so many axes, and their shapes."""
        held = ((name, *self.held.get(name, ((), "cell"))) for name in names)
        return [
            (name, tuple(shape))
            for name, shape, kind in held
            if kind not in _NO_ARRAYS and len(shape) in axes and int(np.prod(shape)) > 1
        ]

    def find(self, names: Iterable[str], axes: tuple[int, ...]) -> tuple[str, tuple[int, ...]] | None:
        """Return the first of them, or None."""
        return next(iter(self.all(names, axes)), None)

    def number(self, name: str) -> float | None:
        """Return a single number above 0, None if there is none of that name."""
        shape, kind = self.held.get(name, ((), "cell"))
        if kind in _NO_ARRAYS or int(np.prod(shape)) != 1:
            return None
        value = float(self.load(name).item())
        if not 0 < value < math.inf:
            raise CatalogError(f"{name} is {value}, and must be above 0: {self}")
        return value

    def load(self, name: str) -> NDArray[np.generic]:
        """Return an array whole."""
        return arrays.load(self.href, name, format="array")

    def __str__(self) -> str:
        shown = ", ".join(f"{name} {tuple(shape)}" for name, (shape, _) in list(self.held.items())[:30])
        return f"{self.href}, which holds {shown or 'nothing'}"


def find_files(root: Path, known: Published, look: Look, title: str, tree: str) -> tuple[MatFile, list[MatFile]]:
    """Return the file with the cube, and those with endmembers and abundances.

    Raises
    ------
    NoFilesError
        If a file is missing; it says what it may be called.
    CatalogError
        If several files may be meant.
    """
    files = _mat_files(root)
    problem = f"{title}: {{}} below {root}. Expected:\n{tree}"
    data = _data_file(root, files, known, look, problem)
    return data, _truth_files(root, files, known, look, data, problem)


def _mat_files(root: Path) -> list[str]:
    """Return .mat files of a folder and of two levels below, relative to it."""
    found = [p for level in ("*", "*/*", "*/*/*") for p in root.glob(level) if p.suffix.lower() == ".mat"]
    below = [p.relative_to(root).as_posix() for p in found if p.is_file()]
    return sorted(path for path in below if not path.startswith("."))


def _data_file(root: Path, files: list[str], known: Published, look: Look, problem: str) -> MatFile:
    if look.data is not None:
        return MatFile(root, _exactly(files, look.data, problem))
    if known.data:
        return MatFile(root, _one(files, known.data, "data", problem))
    if not files:
        raise NoFilesError(problem.format("no .mat file is in it or the folders"))
    opened = [MatFile(root, path) for path in files]
    fitting = [file for file in opened if file.find(CUBES, (2, 3))]
    if len(fitting) != 1:
        shown = "; ".join(map(str, (fitting or opened)[:4]))
        raise CatalogError(f"{len(fitting)} files hold a cube called {', '.join(CUBES)}; say which with data=: {shown}")
    return fitting[0]


def _truth_files(
    root: Path, files: list[str], known: Published, look: Look, data: MatFile, problem: str
) -> list[MatFile]:
    if look.truth is not None:
        return [MatFile(root, _exactly(files, path, problem)) for path in look.truth]
    if not known.truth:
        return [MatFile(root, path) for path in files if path != data.path]
    if not look.needs_truth and not _matching(files, known.truth):
        return []
    return [MatFile(root, _one(files, known.truth, "truth", problem))]


def _exactly(files: list[str], path: str, problem: str) -> str:
    same = [file for file in files if file.lower() == path.replace(os.sep, "/").lower()]
    if not same:
        raise NoFilesError(problem.format(f"no file {path!r} ({', '.join(files[:20]) or 'no .mat file at all'})"))
    return path if path in same else same[0]


def _matching(files: list[str], patterns: Sequence[str]) -> list[str]:
    """Return the files that match the first pattern that any file matches."""
    for pattern in patterns:
        found = [file for file in files if fnmatchcase(os.path.basename(file).lower(), pattern.lower())]
        if found:
            return found
    return []


def _one(files: list[str], patterns: Sequence[str], option: str, problem: str) -> str:
    found = _matching(files, patterns)
    if not found:
        raise NoFilesError(
            problem.format(f"no file called {' or '.join(patterns)} (say {option}= if it has another name)")
        )
    if len(found) > 1:
        raise CatalogError(f"{len(found)} files may be meant, {', '.join(found)}; say which with {option}=")
    return found[0]
