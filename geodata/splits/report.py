"""What an audit found: as numbers, as text, as files."""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geodata.errors import SplitError
from geodata.splits.similarity import Decay
from geodata.splits.verdict import hints, reasons, verdict

if TYPE_CHECKING:
    from rich.console import Group

__all__ = ["Audit", "Distances", "Pair", "Part", "Shared"]


@dataclass(frozen=True)
class Distances:
    """How far rows lie from the nearest row of another part, metres; pixels for tiles without CRS.

    Parameters
    ----------
    quantile : share of rows -> distance within which they lie: 0, .01, .05, .25, .5, .75, 1
    ecdf : (distance, share), at most 200 points of each
    alone : rows that have no other within reach, because their part of space holds none; left out of the rest
    """

    quantile: Mapping[float, float]
    ecdf: tuple[tuple[float, ...], tuple[float, ...]]
    alone: int = 0


@dataclass(frozen=True)
class Shared:
    """Values of an id column that are in both parts: how many, and the share of rows of the other part that have one."""

    values: int
    share: float


@dataclass(frozen=True)
class Part:
    """One part.

    Parameters
    ----------
    rows : how many
    time : (start, end) in ISO 8601, UTC, or None where no time is known
    prevalence : class -> share of rows that carry it; for amounts its share of their sum
    deviation : mean over classes of ``|prevalence / prevalence in all parts - 1|``; None without labels
    worst : largest of these
    empty : classes that other parts have and this one lacks
    """

    rows: int
    time: tuple[str, str] | None = None
    prevalence: Mapping[str, float] = field(default_factory=dict)
    deviation: float | None = None
    worst: float | None = None
    empty: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pair:
    """What two parts have to do with each other. Numbers are None where rows have no place, or no time.

    Parameters
    ----------
    part, other : names; distances are those of rows of ``other`` to the nearest of ``part``
        Of folds, ``part`` is ``"the rest"``: what is train when ``other`` is held out.
    overlaps : pairs of footprints, one of each part, that share more than 1 % of the smaller
    repeats : those of them that are the same footprint
    duplicates : those of them that have the same time, or where that is unknown the same ids
    overlapping : rows of ``other`` whose footprint overlaps one of ``part``
    touching : rows of ``other`` whose footprint touches or overlaps one of ``part``
    shared : id column -> what both have
    gap : edge to edge; None where ``part`` is not what others are compared with
    centre : centre to centre; None as above
    inside : share of rows of ``other`` within the range of time of ``part``
    days : least number of days between two rows, 0 where their times meet
    """

    part: str
    other: str
    overlaps: int | None = None
    repeats: int | None = None
    duplicates: int | None = None
    overlapping: int | None = None
    touching: int | None = None
    shared: Mapping[str, Shared] = field(default_factory=dict)
    gap: Distances | None = None
    centre: Distances | None = None
    inside: float | None = None
    days: float | None = None


@dataclass(frozen=True)
class Audit:
    """What `geodata.splits.audit` found.

    Parameters
    ----------
    parts : name -> Part, train first
    pairs : every two parts, those with train first; of folds each with the rest
    decay : likeness of labels by distance, or None without labels or places
    thresholds : what was asked for: overlap (share of the smaller), min_distance (metres), max_deviation, ids
    split : digest and recipe of the split, how many rows the catalog has and how many of them are dropped
    unit : of distances, "m" or "px"
    train : what others are compared with: a part, or ``"the rest"`` of folds
    points, code : (n, 2) longitude and latitude of at most 50,000 rows and the position of their part, -1 for dropped
        ones: what `plot` draws. Not written by `to_dict`.
    """

    parts: Mapping[str, Part]
    pairs: tuple[Pair, ...]
    decay: Decay | None
    thresholds: Mapping[str, Any]
    split: Mapping[str, Any]
    unit: str = "m"
    train: str = "train"
    points: NDArray[np.float64] | None = field(default=None, repr=False, compare=False)
    code: NDArray[np.int16] | None = field(default=None, repr=False, compare=False)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the split leaks; empty if it holds."""
        return tuple(reasons(self))

    @property
    def hints(self) -> tuple[str, ...]:
        """What breaks no threshold but is worth a look."""
        return tuple(hints(self))

    @property
    def passed(self) -> bool:
        """Whether no threshold was broken."""
        return not self.reasons

    @property
    def verdict(self) -> str:
        """One line: ``leaks: ...``, ``holds: ...`` or ``nothing checked``, and what is worth a look."""
        return verdict(self)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the points of the map, as plain JSON types without infinities.

        Keys are ``passed``, ``verdict``, ``reasons``, ``hints``, ``train``, ``unit``, ``parts`` (by name: the fields of
        `Part`), ``pairs`` (a list: the fields of `Pair`; ``shared`` by column: those of `Shared`; ``gap`` and ``centre``:
        those of `Distances`, whose ``quantile`` has keys "0.0", "0.01", "0.05", "0.25", "0.5", "0.75", "1.0"), ``decay``
        (None, or the fields of `Decay`), ``thresholds`` (``overlap``, ``min_distance``, ``max_deviation``, ``ids``) and
        ``split`` (``digest``, ``recipe``, ``rows``, ``dropped``). Lengths are in ``unit``, shares from 0 to 1, times in ISO
        8601 in UTC. All keys are always there; what is not known is None.
        """
        told = ("train", "unit", "parts", "pairs", "decay", "thresholds", "split")
        said = {"passed": self.passed, "verdict": self.verdict, "reasons": self.reasons, "hints": self.hints}
        plain: dict[str, Any] = _plain(said | {k: getattr(self, k) for k in told})
        return plain

    def save(self, path: str | Path) -> Path:
        """Write ``audit.json``, or the map and the curves as ``audit.png``; written beside and then moved into place.

        Raises
        ------
        SplitError
            For another ending, or a folder that does not exist.
        MissingDependencyError
            For a picture, if matplotlib is not installed.
        """
        path = Path(path)
        if path.suffix not in (".json", ".png") or not path.parent.is_dir():
            raise SplitError(f"cannot write an audit to {path}; give a .json or a .png in a folder that exists")
        beside = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
        try:
            if path.suffix == ".png":
                from geodata.splits.drawing import draw

                draw(self, beside)
            else:
                beside.write_text(json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
        return path

    def plot(self, path: str | Path) -> Path:
        """Draw a map of the parts, how far they lie from train, and how labels decay; a PNG. Errors as in `save`."""
        if Path(path).suffix != ".png":
            raise SplitError(f"cannot draw into {path}; give a .png")
        return self.save(path)

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(file=StringIO(), width=120, color_system=None, force_terminal=False)
        console.print(self)
        text: str = console.file.getvalue()  # type: ignore[attr-defined]
        return "\n".join(line.rstrip() for line in text.rstrip().split("\n"))

    def __rich__(self) -> Group:
        from rich.console import Group
        from rich.text import Text

        from geodata.splits.tables import tables

        return Group(*tables(self), Text(self.verdict, style="green" if self.passed else "bold red"))


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
