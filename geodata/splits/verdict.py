"""What an audit says in one line: why a split leaks, what was looked for and not found, what is worth a look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geodata.splits.report import Audit, Pair

__all__ = ["few", "hints", "length", "reasons", "verdict"]

SAID = 3
"""Parts and classes that a line names; of more, the worst ones and how many there are."""


def length(value: float, unit: str) -> str:
    """Return a distance as people read it."""
    if unit == "m" and value >= 1000:
        return f"{value / 1000:,.2f} km" if value < 100_000 else f"{value / 1000:,.0f} km"
    return f"{value:,.4g} {unit}"


def few(names: Sequence[str], what: str = "more") -> str:
    """Return some names with commas between, and how many more there are."""
    rest = len(names) - SAID
    return ", ".join(names[:SAID]) + (f" and {rest:,} {what}" if rest > 0 else "")


def verdict(audit: Audit) -> str:
    """Return the line."""
    why, worth = reasons(audit), hints(audit)
    held = _held(audit)
    if why:
        said = f"leaks: {'; '.join(why)}"
    else:
        said = f"holds: {'; '.join(held)}" if held else "nothing checked"
    return said + (f"; but {'; '.join(worth)}" if worth else "")


def reasons(audit: Audit) -> list[str]:
    """Return what breaks a threshold."""
    least, most, named = (audit.thresholds[k] for k in ("min_distance", "max_deviation", "ids"))
    with_train = [p for p in audit.pairs if p.part == audit.train]
    out = _overlapping(audit, with_train)
    found: list[tuple[float, str]] = [
        (p.duplicates or 0, f"{_count(p.duplicates or 0, 'duplicate')} in {p.part} and {p.other}") for p in audit.pairs
    ]
    out += _worst(found, "pairs of parts")
    for column in named:
        shared = [
            (s.share if s.values else 0, f"{s.share:.1%} of {p.other} have a {column} that is also in {p.part}")
            for p in with_train
            if (s := p.shared.get(column)) is not None
        ]
        out += _worst(shared, "parts")
    if least is not None:
        out += _too_near(audit, with_train, least)
    if most is not None:
        found = [
            (
                p.deviation if p.deviation and p.deviation > most else 0,
                f"classes of {name} deviate by {p.deviation or 0:.1%} on average, wanted at most {most:.1%}",
            )
            for name, p in audit.parts.items()
        ]
        out += _worst(found, "parts")
    lacks = [(len(p.empty), f"{name} has no {few(p.empty, 'other classes')}") for name, p in audit.parts.items()]
    return out + _worst(lacks, "parts")


def hints(audit: Audit) -> list[str]:
    """Return what breaks no threshold but may well be a leak."""
    with_train = [p for p in audit.pairs if p.part == audit.train]
    out = _overlapping(audit, [p for p in audit.pairs if p.part != audit.train])
    touch = [
        (p.touching or 0, f"{_rows(audit, p.touching or 0, p.other)} touch {p.part}")
        for p in audit.pairs
        if not p.overlaps
    ]
    out += _worst(touch, "pairs of parts")
    named = audit.thresholds["ids"]
    columns = dict.fromkeys(c for p in with_train for c in p.shared if c not in named)
    shared = []
    for column in columns:
        found = [(p.shared[column].share, f"{p.shared[column].share:.1%} of {p.other}") for p in with_train]
        if said := _worst(found, "parts"):
            shared.append(f"{column} ({', '.join(said)})")
    if shared:
        out.append(f"shared with {audit.train}: {', '.join(shared)}; name in ids what must not be shared")
    if audit.pairs[0].overlaps is None:
        out.append("these rows have no place on earth, so nothing is known of overlaps and distances")
    return out


def _overlapping(audit: Audit, pairs: Sequence[Pair]) -> list[str]:
    found = [(p.overlapping or 0, f"{_rows(audit, p.overlapping or 0, p.other)} overlap {p.part}") for p in pairs]
    return _worst(found, "parts" if all(p.part == audit.train for p in pairs) else "pairs of parts")


def _too_near(audit: Audit, pairs: Sequence[Pair], least: float) -> list[str]:
    found, unknown = [], []
    for p in pairs:
        wanted = f"wanted at least {length(least, 'm')}"
        if p.gap is not None and p.gap.quantile[0.0] < least:
            near = p.gap.quantile[0.0]
            found.append((1 + least - near, f"{p.other} comes within {length(near, 'm')} of {p.part}, {wanted}"))
        lost = audit.parts[p.other].rows if p.gap is None else p.gap.alone
        unknown.append((lost, f"{_rows(audit, lost, p.other)} have no known distance to {p.part}, {wanted}"))
    return _worst(found, "parts") + _worst(unknown, "parts")


def _held(audit: Audit) -> list[str]:
    """Return what was looked for and not found."""
    least, most, named = (audit.thresholds[k] for k in ("min_distance", "max_deviation", "ids"))
    with_train = [p for p in audit.pairs if p.part == audit.train]
    out = []
    if audit.pairs[0].overlaps is not None:
        who = "any part" if len(with_train) > SAID else " or ".join(p.other for p in with_train)
        out.append(f"no footprint of {who} overlaps {audit.train}")
        near = [(p.gap.quantile[0.0], p.other) for p in with_train if p.gap is not None]
        if near:
            wanted = "" if least is None else f" (wanted at least {length(least, 'm')})"
            said = [f"{name} {length(gap, audit.unit)}" for gap, name in sorted(near)[:SAID]]
            out.append(f"least distance to {audit.train}: {', '.join(said)}{wanted}")
    out += [f"no {name} in common" for name in named]
    deviations = [p.deviation for p in audit.parts.values() if p.deviation is not None]
    if deviations:
        wanted = "" if most is None else f" (wanted at most {most:.1%})"
        out.append(f"every class in every part, mean deviation of a part at most {max(deviations):.1%}{wanted}")
    return out


def _worst(found: Sequence[tuple[float, str]], what: str) -> list[str]:
    """Return what is said of those that are above 0: all if they are few, else the worst, and of how many it is true."""
    bad = [(size, text) for size, text in found if size > 0]
    if len(bad) <= SAID:
        return [text for _, text in bad]
    return [f"{max(bad, key=lambda one: one[0])[1]}, the worst of {len(bad):,} {what}"]


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" + ("" if n == 1 else "s")


def _rows(audit: Audit, n: int, part: str) -> str:
    whole = audit.parts[part].rows
    return f"{n:,} of {_count(whole, 'row')} of {part} ({n / max(whole, 1):.1%})"
