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

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

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
    overlaps : pairs of footprints that share more than 1 % of the smaller
    repeats : those of them that are the same footprint
    duplicates : those of them that have the same time, or none
    touching : rows of ``other`` whose footprint touches or meets one of ``part``
    shared : id column -> what both have
    gap : edge to edge
    centre : centre to centre
    inside : share of rows of ``other`` within the range of time of ``part``
    days : least number of days between two rows
    """

    part: str
    other: str
    overlaps: int | None = None
    repeats: int | None = None
    duplicates: int | None = None
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
    pairs : every two parts, those with train first
    decay : likeness of labels by distance, or None without labels or places
    thresholds : what was asked for
    split : recipe and digest of the split
    unit : of distances, "m" or "px"
    points, code : (n, 2) longitude and latitude of at most 50,000 rows and the position of their part, -1 for dropped
        ones: what `plot` draws. Not written by `to_dict`.
    """

    parts: Mapping[str, Part]
    pairs: tuple[Pair, ...]
    decay: Decay | None
    thresholds: Mapping[str, Any]
    split: Mapping[str, Any]
    unit: str = "m"
    points: NDArray[np.float64] | None = field(default=None, repr=False, compare=False)
    code: NDArray[np.int16] | None = field(default=None, repr=False, compare=False)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the split leaks; empty if it holds."""
        return tuple(_reasons(self))

    @property
    def hints(self) -> tuple[str, ...]:
        """What breaks no threshold but is worth a look."""
        return tuple(_hints(self))

    @property
    def passed(self) -> bool:
        """Whether no threshold was broken."""
        return not self.reasons

    @property
    def verdict(self) -> str:
        """One line: ``leaks: ...`` or ``holds: ...``, and what is worth a look."""
        reasons, hints = self.reasons, self.hints
        said = f"leaks: {'; '.join(reasons)}" if reasons else f"holds: {', '.join(_held(self))}"
        return said + (f"; but {'; '.join(hints)}" if hints else "")

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the points of the map, as plain JSON types without infinities."""
        fields = {k: getattr(self, k) for k in ("pairs", "decay", "reasons", "hints", "thresholds", "split", "unit")}
        plain: dict[str, Any] = _plain({"passed": self.passed, "verdict": self.verdict, "parts": self.parts, **fields})
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

        tables = [_parts(self), _pairs(self), *([_decay(self.decay)] if self.decay else [])]
        return Group(*tables, Text(self.verdict, style="green" if self.passed else "bold red"))


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


def _table(title: str, *columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for k, name in enumerate(columns):
        table.add_column(name, justify="right" if k else "left", overflow="fold")
    return table


def _parts(audit: Audit) -> Table:
    table = _table("parts", "part", "rows", "share", "from", "to", "class deviation mean", "max", "empty classes")
    whole = sum(p.rows for p in audit.parts.values())
    for name, part in audit.parts.items():
        start, end = (t[:10] for t in part.time) if part.time else ("-", "-")
        mean, worst = ("-" if v is None else f"{v:.3f}" for v in (part.deviation, part.worst))
        share = f"{part.rows / whole:.1%}" if whole else "-"
        table.add_row(name, f"{part.rows:,}", share, start, end, mean, worst, ", ".join(part.empty) or "-")
    return table


def _pairs(audit: Audit) -> Table:
    """Show a fact per line and a pair of parts per column: names of columns are long, numbers are short."""
    table = _table("pairs", "", *(f"{p.other} -> {p.part}" for p in audit.pairs))

    def row(name: str, *values: Any) -> None:
        if any(v is not None for v in values):
            table.add_row(name, *("-" if v is None else v if isinstance(v, str) else f"{v:,}" for v in values))

    for name in ("overlaps", "repeats", "duplicates", "touching"):
        row(name if name != "repeats" else "same footprint", *(getattr(p, name) for p in audit.pairs))
    for what, title in (("gap", "edge to edge"), ("centre", "centre to centre")):
        for q, said in ((0, "least"), (0.01, "1 %"), (0.05, "5 %"), (0.5, "median"), (1, "largest")):
            found = [getattr(p, what) for p in audit.pairs]
            row(f"{title}, {said}", *(None if d is None else length(d.quantile[q], audit.unit) for d in found))
    for name in dict.fromkeys(c for p in audit.pairs for c in p.shared):
        shared = [p.shared.get(name) for p in audit.pairs]
        row(f"rows whose {name} is in both", *(s and f"{s.share:.1%} ({s.values:,})" for s in shared))
    row("rows within its time", *(None if p.inside is None else f"{p.inside:.1%}" for p in audit.pairs))
    row("least days between", *(None if p.days is None else f"{p.days:,.4g}" for p in audit.pairs))
    return table


def _decay(decay: Decay) -> Table:
    edges = [f"to {edge / 1000:g} km" for edge in decay.edge[1:]]
    known = [(edge, v) for edge, v in zip(edges, decay.value, strict=True) if v is not None]
    settled = "none" if decay.reach is None else length(decay.reach, "m")
    table = _table(f"labels alike ({decay.kind}); range {settled}", *(edge for edge, _ in known), "random")
    table.add_row(*(f"{v:.2f}" for _, v in known), f"{decay.random:.2f}")
    return table


def length(value: float, unit: str) -> str:
    """Return a distance as people read it."""
    if unit == "m" and value >= 1000:
        return f"{value / 1000:,.2f} km" if value < 100_000 else f"{value / 1000:,.0f} km"
    return f"{value:,.4g} {unit}"


def _held(audit: Audit) -> list[str]:
    """Return what was looked for and not found."""
    train, *others = audit.parts
    least, most, named = (audit.thresholds[k] for k in ("min_distance", "max_deviation", "ids"))
    if audit.pairs[0].overlaps is None:
        out = ["these rows have no place on earth, so nothing is known of overlaps and distances"]
    else:
        out = [f"no footprint of {', '.join(others)} overlaps one of {train}", "no duplicates"]
    out += [f"no {name} in common" for name in named]
    out += [f"at least {length(least, 'm')} apart"] if least is not None else []
    if audit.parts[train].deviation is not None:
        out += ["every class in every part"] + ([f"classes deviate by at most {most:g}"] if most is not None else [])
    return out


def _reasons(audit: Audit) -> list[str]:
    """Return what breaks a threshold."""
    out = []
    least, most, named = (audit.thresholds[k] for k in ("min_distance", "max_deviation", "ids"))
    for p in audit.pairs:
        with_train = p.part == next(iter(audit.parts))
        if p.overlaps and with_train:
            out.append(f"{p.overlaps:,} footprints of {p.other} overlap one of {p.part}")
        if p.duplicates:
            out.append(f"{p.duplicates:,} duplicates in {p.part} and {p.other}")
        if with_train:
            shared = {c: s for c, s in p.shared.items() if c in named and s.values}
            out += [f"{s.share:.1%} of {p.other} have a {c} that is also in {p.part}" for c, s in shared.items()]
            if least is not None and p.gap is not None and p.gap.quantile[0.0] < least:
                near = length(p.gap.quantile[0.0], "m")
                out.append(f"{p.other} comes within {near} of {p.part}, wanted at least {length(least, 'm')}")
    for name, part in audit.parts.items():
        if most is not None and part.deviation is not None and part.deviation > most:
            out.append(f"classes of {name} deviate by {part.deviation:.3f} on average, wanted at most {most:g}")
        if part.empty:
            out.append(f"{name} has no {', '.join(part.empty[:3])}" + (" and others" if len(part.empty) > 3 else ""))
    return out


def _hints(audit: Audit) -> list[str]:
    """Return what breaks no threshold but may well be a leak."""
    out = []
    named = audit.thresholds["ids"]
    for p in audit.pairs:
        with_train = p.part == next(iter(audit.parts))
        if p.overlaps and not with_train:
            out.append(f"{p.overlaps:,} footprints of {p.other} overlap one of {p.part}")
        elif p.touching and not p.overlaps:
            out.append(f"{p.other} touches {p.part} ({p.touching:,} rows)")
        shared = [f"{c} of {s.share:.1%}" for c, s in p.shared.items() if s.values and not (c in named and with_train)]
        if shared and with_train:
            out.append(
                f"{p.other} has from {p.part}: {', '.join(shared)} of its rows (name in ids= what must not be shared)"
            )
    return out
