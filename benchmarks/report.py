"""From results to the page docs/benchmarks.md."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from workloads import COUNTINGS, READINGS, ROOT, Counting, Reading

Medians = dict[tuple[str, str], dict[str, Any]]
Line = Reading | Counting
PAGE = ROOT / "docs/benchmarks.md"
PLOT = ROOT / "docs/benchmarks-memory.png"


def medians(runs: Sequence[dict[str, Any]]) -> Medians:
    """The median of every number over the rounds of one measurement."""
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in runs:
        grouped.setdefault((run["side"], run["name"]), []).append(run)
    found = {}
    for key, rounds in grouped.items():
        good = [run for run in rounds if "cpu" in run]
        if not good:
            found[key] = rounds[0]
            continue
        numbers = {k for k, v in good[0].items() if isinstance(v, (int, float))}
        found[key] = {**good[0], **{k: statistics.median(run[k] for run in good) for k in numbers}}
        found[key]["digests"] = sorted({run.get("digest", "") for run in good})
    return found


def ratio(line: Line, found: Medians) -> float | None:
    """How many times less CPU time ours takes than the peer."""
    ours, peer = found.get(("ours", line.name), {}), found.get(("peer", line.group), {})
    return peer["cpu"] / ours["cpu"] if ours.get("cpu") and peer.get("cpu") else None


def verdict(line: Line, found: Medians) -> str:
    """Whether the figure that was wanted is met; empty if none was."""
    at_most = line.at_most if isinstance(line, Counting) else None
    ours = found.get(("ours", line.name), {}).get("cpu")
    if at_most is not None:
        return "" if ours is None else "met" if ours <= at_most else "missed"
    measured = ratio(line, found)
    if line.target is None:
        return ""
    if measured is None:
        return "not measured"
    return "met" if measured >= line.target else "missed"


def pixels(line: Reading, found: Medians) -> str:
    """Whether both sides gave the same pixels, in every round."""
    if line.differ:
        return "not compared"
    ours = set(found.get(("ours", line.name), {}).get("digests", ()))
    peer = set(found.get(("peer", line.group), {}).get("digests", ()))
    if not ours or not peer:
        return ""
    return "equal" if ours == peer and len(ours) == 1 else "differ"


def number(value: float | None, digits: int = 3) -> str:
    """A number with three digits that count."""
    if value is None:
        return ""
    text = f"{value:.{digits}g}"
    return f"{value:,.0f}" if "e" in text or value >= 1000 else text


def reading_row(line: Reading, found: Medians) -> str:
    ours, peer = found.get(("ours", line.name), {}), found.get(("peer", line.group), {})
    limit = found.get(("limit", line.name), {})
    cells = [
        line.title,
        number(peer.get("cpu")),
        number(ours.get("cpu")) or "not measured",
        number(limit.get("cpu")),
        f"**{number(ratio(line, found))}**" if ratio(line, found) else "",
        number(line.target),
        verdict(line, found),
        pixels(line, found),
        " / ".join(number(side.get("rate")) for side in (peer, ours)),
        " / ".join(number(side.get("peak_mb"), 4) for side in (peer, ours)),
    ]
    return "| " + " | ".join(cells) + " |"


def counting_row(line: Counting, found: Medians) -> str:
    ours, peer = found.get(("ours", line.name), {}), found.get(("peer", line.group), {})
    wanted = f"at most {line.at_most} {line.unit}" if line.at_most is not None else number(line.target)
    cells = [
        line.title,
        f"{number(peer['cpu'])} {line.unit}" if "cpu" in peer else "",
        f"{number(ours['cpu'])} {line.unit}" if "cpu" in ours else "not measured",
        f"**{number(ratio(line, found))}**" if ratio(line, found) else "",
        wanted,
        verdict(line, found),
    ]
    return "| " + " | ".join(cells) + " |"


HEAD = """\
# Benchmarks

This page is written by `{command}`, on {date}. Nothing in it is typed by hand.

Both sides answer the same boxes on the same files: the peer, TorchGeo {peer}, draws them once with its own samplers, and this library answers them as
queries by place, or by row where a line says so. Every measurement is a process of its own with one torch thread, files are in the page cache, the sides
take turns, and what stands here is the median of {rounds} rounds. The clock starts when the dataset is open and has given one sample that is not counted.
CPU time is that of the process, user and system; it varies less than wall time on a busy machine. A ratio is the peer's CPU time divided by ours. *Equal* means that a SHA-256 over
all bytes of all batches, images and masks, is the same on both sides. The bare reader is rasterio with open handles, or a memory map where tiles are not compressed: no index,
no validity, no dates.

| machine | {cpu}, {cores} cores, {memory_gib} GiB, {system}; load average up to {load} while it ran |
|---|---|
| this library | {ours_versions} |
| peer | {peer_versions} |
"""

READING_HEAD = """\
## Patches

CPU milliseconds per patch. Patches are 256 x 256 pixels in batches of 32; in D 120 x 120.

| workload | peer | ours | bare reader | ratio | wanted | | pixels | patches/s, peer / ours | peak MB, peer / ours |
|---|---|---|---|---|---|---|---|---|---|
"""

COUNTING_HEAD = """\
## Rows

CPU time of work that reads no pixels.

| work | peer | ours | ratio | wanted | |
|---|---|---|---|---|---|
"""


def page(results: dict[str, Any], lines: Sequence[Line]) -> str:
    """The page as Markdown."""
    found = medians(results["runs"])
    said = {
        side: ", ".join(f"{k} {v}" for k, v in sorted(listed.items(), key=lambda item: item[0].lower()))
        for side, listed in results["versions"].items()
    }
    head = HEAD.format(
        command=results["command"],
        date=results["date"],
        rounds=results["rounds"],
        peer=results["versions"]["peer"].get("torchgeo", ""),
        ours_versions=said["ours"],
        peer_versions=said["peer"],
        **results["machine"],
    )
    readings = [line for line in lines if isinstance(line, Reading)]
    countings = [line for line in lines if isinstance(line, Counting)]
    parts = [head]
    if readings:
        rows = [reading_row(line, found) for line in readings]
        parts += [READING_HEAD + "\n".join(rows) + "\n", notes(readings, found, results["apart"])]
    if countings:
        parts += [COUNTING_HEAD + "\n".join(counting_row(line, found) for line in countings) + "\n", draws(found)]
    parts += [memory(results.get("memory", {})), missed(lines, found, results["profiles"])]
    return "\n".join(part for part in parts if part)


def notes(lines: Sequence[Reading], found: Medians, apart: dict[str, dict[str, float]]) -> str:
    """Why pixels are not compared, how far they are apart, and what was not measured."""
    reasons: dict[str, list[str]] = {}
    for line in lines:
        if line.differ:
            reasons.setdefault(line.differ, []).append(line.title)
        if line.name in apart:
            gap = {k: number(v) for k, v in {**apart[line.name], "share": 100 * apart[line.name]["share"]}.items()}
            said = f"of the first 32 patches {gap['share']} % of the values differ, by {gap['most']} at most and {gap['mean']} in the mean"
            reasons.setdefault(said, []).append(line.title)
        for side in ("ours", "peer", "limit"):
            run = found.get((side, line.group if side == "peer" else line.name), {})
            said = run.get("skipped") or run.get("failed")
            if said:
                reasons.setdefault(f"not measured ({side}): {said}", []).append(line.title)
    return "".join(f"- {'; '.join(titles)}: {reason}.\n" for reason, titles in reasons.items())


def draws(found: Medians) -> str:
    """The peer has two samplers; both are said."""
    new = {rows: found.get(("peer", f"draws_{rows}"), {}).get("new_cpu") for rows in ("16", "20k")}
    if None in new.values():
        return ""
    return (
        "The peer's draws are those of its sampler that yields places with times, `RandomGeoSampler`. Its newer `RandomPatchSampler` draws all places of an\n"
        f"epoch at once: {number(new['16'])} µs a draw at 16 rows, {number(new['20k'])} µs at 20,000.\n"
    )


def memory(run: dict[str, Any]) -> str:
    """How the resident size of a worker went, with a plot if matplotlib is there."""
    sizes = run.get("resident_mb")
    if not sizes:
        return ""
    at = [size for _, size in sizes]
    half = at[len(at) // 2 :]
    return (
        "## Memory of a worker\n\n"
        f"One worker process of a `DataLoader` read {run['samples']:,} samples of D by item. Its resident size was {at[0]:.0f} MB after the first batch, "
        f"and {min(half):.0f} to {max(half):.0f} MB in the second half.\n\n"
        + (f"![Resident size of a worker over samples]({PLOT.name})\n" if PLOT.exists() else "")
    )


def missed(lines: Sequence[Line], found: Medians, profiles: dict[str, list[str]]) -> str:
    """For each figure that is missed, where the time goes."""
    parts = []
    for line in lines:
        if verdict(line, found) == "missed":
            ours = found["ours", line.name]["cpu"]
            unit = line.unit if isinstance(line, Counting) else "ms"
            text = f"### {line.title}\n\nWanted {number(line.target)}, measured {number(ratio(line, found))}."
            if isinstance(line, Counting) and line.at_most is not None:
                text = f"### {line.title}\n\nWanted at most {line.at_most} {unit}, measured {number(ours)} {unit}."
            table = "\n".join(profiles.get(line.name, []))
            said = (
                f" Cumulative time of this library's side under cProfile, all of it:\n\n```text\n{table}\n```"
                if table
                else ""
            )
            parts.append(f"{text}{said}\n")
    return "## Figures that are missed\n\n" + "\n".join(parts) if parts else ""


def plot(sizes: Sequence[Sequence[float]]) -> None:
    """Draw resident size over samples."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(7, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.plot([n for n, _ in sizes], [size for _, size in sizes], linewidth=1)
    axes.set(xlabel="samples read", ylabel="resident MB", ylim=(0, None))
    figure.savefig(PLOT, dpi=110)


def write(results: dict[str, Any]) -> None:
    """Write the page and its plot."""
    if sizes := results.get("memory", {}).get("resident_mb"):
        plot(sizes)
    PAGE.write_text(page(results, [*READINGS, *COUNTINGS]), encoding="utf-8")
