"""The tables of an audit, for terminals of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from geodata.splits.verdict import few, length

if TYPE_CHECKING:
    from rich.table import Table

    from geodata.splits.report import Audit, Distances, Pair
    from geodata.splits.similarity import Decay

__all__ = ["tables"]

MANY = 3
"""Pairs of parts that stand beside each other; more stand below each other, with fewer facts."""

SECOND = "rows of the first part, and what of the second they meet"

NAME = 24
"""Longer names are broken over lines."""

Facts = dict[str, list[str | None]]


def tables(audit: Audit) -> Iterator[Table]:
    """Yield tables of the parts, of what they have in common, and of how alike labels are."""
    yield _parts(audit)
    pairs = [p for p in audit.pairs if p.part == audit.train or len(audit.pairs) <= MANY or p.touching]
    if len(pairs) <= MANY:
        yield from _across(pairs, _facts(pairs, audit.unit))
    else:
        yield from _down(pairs, audit)
    if audit.decay is not None and any(v is not None for v in audit.decay.value):
        yield _decay(audit.decay)


def _table(title: str, *columns: str) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD)
    for k, name in enumerate(columns):
        table.add_column(Text(name), justify="right" if k else "left", overflow="fold")
    return table


def _add(table: Table, *values: str | None) -> None:
    from rich.text import Text

    # Names may hold what looks like markup.
    table.add_row(*(Text("-" if v is None else v) for v in values))


def _filled(title: str, first: str, names: Sequence[str], facts: Facts) -> Table:
    """Show facts as columns, those that are known of one name at least."""
    known = {fact: values for fact, values in facts.items() if any(v is not None for v in values)}
    table = _table(title, first, *known)
    for k, name in enumerate(names):
        _add(table, name, *(values[k] for values in known.values()))
    return table


def _parts(audit: Audit) -> Table:
    parts, whole, dropped = list(audit.parts.values()), audit.split["rows"], audit.split["dropped"]
    aside = whole - dropped - sum(p.rows for p in parts)
    others = [(name, rows) for name, rows in (("(dropped)", dropped), ("(not audited)", aside)) if rows]
    lacks = [few(p.empty) if p.empty else None for p in parts]
    facts: Facts = {
        "rows": [f"{n:,}" for n in (*(p.rows for p in parts), *(n for _, n in others))],
        "share": [f"{n / max(whole, 1):.1%}" for n in (*(p.rows for p in parts), *(n for _, n in others))],
        "from": [p.time and p.time[0][:10] for p in parts],
        "to": [p.time and p.time[1][:10] for p in parts],
        "classes off, mean": [None if p.deviation is None else f"{p.deviation:.1%}" for p in parts],
        "most": [None if p.worst is None else f"{p.worst:.1%}" for p in parts],
        "lacks": lacks,
    }
    facts = {name: [*values, *[None] * (len(parts) + len(others) - len(values))] for name, values in facts.items()}
    table = _filled("parts", "part", [*audit.parts, *(name for name, _ in others)], facts)
    for column in table.columns:
        column.no_wrap = str(column.header) in ("rows", "share", "from", "to")
    return table


def _quantiles(found: Sequence[Distances | None], unit: str, *wanted: float) -> Facts:
    said = {0.0: "least", 0.01: "1 % within", 0.05: "5 % within", 0.5: "median", 1.0: "largest"}
    return {said[q]: [None if d is None else length(d.quantile[q], unit) for d in found] for q in wanted}


def _number(values: Sequence[int | None]) -> list[str | None]:
    return [None if v is None else f"{v:,}" for v in values]


def _facts(pairs: Sequence[Pair], unit: str) -> dict[str, Facts]:
    """Return facts by what they are about: a value for each pair."""
    shared: Facts = {}
    for name in dict.fromkeys(c for p in pairs for c in p.shared):
        found = [p.shared.get(name) for p in pairs]
        shared[f"rows of a shared {name}"] = [None if s is None else f"{s.share:.1%}" for s in found]
        shared[f"values of {name} in both"] = _number([None if s is None else s.values for s in found])
    alone = [p.gap.alone or None if p.gap else None for p in pairs]
    edges, centres = ([getattr(p, what) for p in pairs] for what in ("gap", "centre"))
    return {
        "footprints": {
            "rows that overlap": _number([p.overlapping for p in pairs]),
            "rows that touch": _number([p.touching for p in pairs]),
            "pairs that overlap": _number([p.overlaps for p in pairs]),
            "pairs of one footprint": _number([p.repeats for p in pairs]),
            "pairs of duplicates": _number([p.duplicates for p in pairs]),
        },
        "edge to edge, nearest": _quantiles(edges, unit, 0.0, 0.01, 0.05, 0.5, 1.0),
        "centre to centre, nearest": _quantiles(centres, unit, 0.0, 0.01, 0.05, 0.5, 1.0)
        | {"rows with none in reach": _number(alone)},
        "values of columns": shared,
        "time": {
            "rows within the range": [None if p.inside is None else f"{p.inside:.1%}" for p in pairs],
            "least gap, days": [None if p.days is None else f"{p.days:,.4g}" for p in pairs],
        },
    }


def _across(pairs: Sequence[Pair], facts: dict[str, Facts]) -> Iterator[Table]:
    """Show a fact per line and a pair of parts per column."""
    table = _table(SECOND, "", *(f"{p.other}\nvs {p.part}" for p in pairs))
    table.columns[0].no_wrap = True
    for about, lines in facts.items():
        known = {name: values for name, values in lines.items() if any(v is not None for v in values)}
        if known:
            table.add_row(about, style="bold")
        for name, values in known.items():
            _add(table, f"  {name}", *values)
    if table.row_count:
        yield table


def _down(pairs: Sequence[Pair], audit: Audit) -> Iterator[Table]:
    """Show a pair of parts per line, and the facts that decide."""
    gap = _quantiles([p.gap for p in pairs], audit.unit, 0.0, 0.5)
    facts: Facts = {
        "rows that overlap": _number([p.overlapping for p in pairs]),
        "rows that touch": _number([p.touching for p in pairs]),
        "duplicates": _number([p.duplicates for p in pairs]),
        "least gap": gap["least"],
        "median gap": gap["median"],
    }
    names = [f"{p.other} vs {p.part}" for p in pairs]
    if any(v is not None for values in facts.values() for v in values):
        table = _filled(SECOND, "parts", names, facts)
        table.columns[0].no_wrap = max(map(len, names)) <= NAME
        yield table
    tested = [p for p in pairs if p.part == audit.train]
    shared: Facts = {}
    for name in dict.fromkeys(c for p in tested for c in p.shared):
        shared[name] = [f"{p.shared[name].share:.1%}" if name in p.shared else None for p in tested]
    if shared:
        yield _filled(f"rows whose value is in {audit.train} too", "part", [p.other for p in tested], shared)


def _decay(decay: Decay) -> Table:
    settled = "more than pairs at random at every distance here"
    if decay.reach is not None:
        settled = f"as pairs at random from {length(decay.reach, 'm')} on"
    table = _table(f"how alike labels are, by distance:\n{settled}", "centres apart", "pairs", f"alike ({decay.kind})")
    for low, high, n, v in zip(decay.edge, decay.edge[1:], decay.pairs, decay.value, strict=False):
        if v is not None:
            _add(table, f"{low / 1000:g} to {high / 1000:g} km", f"{n:,}", f"{v:.2f}")
    _add(table, "at random", None, f"{decay.random:.2f}")
    return table
