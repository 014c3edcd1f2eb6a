"""An audit as a picture: where the parts lie, how far they are from train, and how labels decay."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geodata.errors import MissingDependencyError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from geodata.splits.report import Audit

__all__ = ["draw"]

COLOURS = ("#0072b2", "#e69f00", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#8c6d31", "#222222")
"""Okabe and Ito: told apart by people who are colour-blind."""
DROPPED = "#b8b8b8"
LEGEND = 24
"""Names that a legend has room for."""


def draw(audit: Audit, path: Path) -> None:
    """Write a PNG. A panel without data says so.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependencyError("plots need matplotlib; install it with: pip install 'geodata[plot]'") from None
    figure = Figure(figsize=(13.0, 5.2) if audit.decay else (10.0, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 3 if audit.decay else 2, width_ratios=[1.5, 1, 1][: 3 if audit.decay else 2])
    _map(panels[0], audit)
    _distances(panels[1], audit)
    if audit.decay is not None:
        _decay(panels[2], audit)
    lines = textwrap.wrap(_text(audit.verdict), 170 if audit.decay else 130, max_lines=2, placeholder=" ...")
    figure.suptitle("\n".join(lines), fontsize=9, color="#1b6e2e" if audit.passed else "#b00020")
    figure.savefig(path, format="png", dpi=120)


def _colours(audit: Audit) -> list[str]:
    """Return a colour for each part, no two alike: of a wheel where they are too many to choose by hand."""
    from matplotlib.colors import hsv_to_rgb, to_hex

    n = len(audit.parts)
    if n <= len(COLOURS):
        return list(COLOURS[:n])
    return [to_hex(tuple(hsv_to_rgb((k / n, 0.9, (0.9, 0.55)[k % 2])).tolist())) for k in range(n)]


def _text(name: str) -> str:
    """Return what matplotlib draws as this text: it takes dollars for formulas, and hides what begins with a line."""
    return (" " if name.startswith("_") else "") + name.replace("$", r"\$")


def _legend(ax: Axes, **options: Any) -> None:
    handles, names = ax.get_legend_handles_labels()
    if len(names) > LEGEND:
        names = [*names[: LEGEND - 1], f"{names[LEGEND - 1]} and {len(names) - LEGEND} more"]
    columns = 1 if len(names) <= 8 else 2
    size = 8 if columns == 1 else 6
    ax.legend(handles[:LEGEND], names, fontsize=size, ncols=columns, loc="best", **options).set_zorder(9)


def _map(ax: Axes, audit: Audit) -> None:
    points, code = audit.points, audit.code
    if points is None or code is None or not len(points):
        _sizes(ax, audit)
        return
    size = float(np.clip(3e4 / len(points), 0.6, 30.0))
    for k, (name, colour) in enumerate([("dropped", DROPPED), *zip(audit.parts, _colours(audit), strict=True)]):
        mine = points[code == k - 1]
        if len(mine):
            ax.scatter(mine[:, 0], mine[:, 1], s=size, c=colour, linewidths=0, label=_text(name), rasterized=True)
    middle = float(np.clip(points[:, 1].mean(), -80, 80))
    ax.set_aspect(1 / np.cos(np.radians(middle)), adjustable="datalim")
    ax.set(xlabel="longitude, degrees", ylabel="latitude, degrees", title="parts")
    _legend(ax, markerscale=4 / size**0.5)


def _sizes(ax: Axes, audit: Audit) -> None:
    """Draw bars of rows: all that is known of parts that lie nowhere."""
    names = [_text(name) for name in audit.parts]
    ax.barh(range(len(names)), [part.rows for part in audit.parts.values()], color=_colours(audit))
    if len(names) <= LEGEND:
        ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set(xlabel="rows", title="parts (no place on earth)")


def _distances(ax: Axes, audit: Audit) -> None:
    train = audit.train
    found = [(p, p.gap) for p in audit.pairs if p.part == train and p.gap is not None]
    if not found:
        _nothing(ax, "no distances")
        return
    colours = dict(zip(audit.parts, _colours(audit), strict=True))
    unit, scale = ("km", 1000.0) if audit.unit == "m" else ("pixels", 1.0)
    for pair, gap in found:
        distance, share = (np.array(values) for values in gap.ecdf)
        ax.step(distance / scale, share, where="post", color=colours[pair.other], label=_text(pair.other))
    if audit.thresholds.get("min_distance"):
        ax.axvline(audit.thresholds["min_distance"] / scale, color="black", linestyle=":", label="min_distance")
    ax.set_xscale("symlog", linthresh=1.0)
    ax.set_xlim(left=0)
    ax.set(
        ylim=(0, 1.01), xlabel=f"edge to edge, {unit}", ylabel="share of rows", title=f"nearest row of {_text(train)}"
    )
    _legend(ax)
    ax.grid(alpha=0.3)


def _decay(ax: Axes, audit: Audit) -> None:
    decay = audit.decay
    if decay is None:
        return
    known = [(d / 1000, v) for d, v in zip(decay.distance, decay.value, strict=True) if d is not None and v is not None]
    if not known:
        _nothing(ax, "too few pairs of labels")
        return
    ax.plot(*zip(*known, strict=True), marker="o", color=COLOURS[0], label="pairs at a distance")
    ax.axhline(decay.random, color=DROPPED, linestyle="--", label="random pairs")
    ax.set_xscale("log")
    ax.set(ylim=(0, 1), xlabel="distance of centres, km", ylabel=decay.kind, title="how alike labels are")
    ax.legend(fontsize=8, loc="best")
    ax.grid(alpha=0.3)


def _nothing(ax: Axes, why: str) -> None:
    ax.text(0.5, 0.5, why, ha="center", va="center", transform=ax.transAxes)
    ax.set_axis_off()
