"""Look at samples: composites stretched over observed pixels, masks with a legend, boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geodata.errors import MissingDependencyError, QueryError
from geodata.grid import Grid
from geodata.view.picture import (
    IGNORE,
    NOT_OBSERVED,
    PALETTE,
    Classes,
    class_table,
    composite,
    describe_grid,
    is_image,
    split_frames,
    stretch,
    to_numpy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_image", "draw_mask", "new_figure", "plot"]


def plot(
    sample: Mapping[str, Any],
    *,
    bands: Sequence[str | float] | None = None,
    percent: tuple[float, float] = (2, 98),
    mask: bool = True,
    ax: Axes | None = None,
    classes: Classes | None = None,
) -> Figure:
    """Draw a sample: every image, and every mask beside it; boxes on the image.

    The figure is drawn without pyplot, so no backend is chosen and no window opens; a notebook shows it when it
    is the last value of a cell.

    Parameters
    ----------
    sample : dict
        One sample, a time series (T, C, H, W), or a batch; of the last two the first 8 frames are drawn.
    bands : one or three band names, common names or wavelengths (nm), or None
        Channels shown as grey, or as red, green and blue. None takes the bands that are red, green and blue by
        common name or wavelength, else the first three, else the first one; the title says which.
    percent : (low, high), percentiles in [0, 100]
        Each channel is stretched between these, over observed pixels only.
    mask : bool
        Whether masks are drawn.
    ax : matplotlib Axes or None
        Draw the first image into these axes, with its mask laid over it.
    classes : names in order of value, or value -> name, or value -> (name, "#rrggbb")

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    QueryError
        If there is nothing to draw in the sample, or ``ax`` is given for several frames.
    BandsError
        If a band does not exist, or not one or three are given.
    MissingDependencyError
        If matplotlib is not installed.
    """
    frames = split_frames(sample)
    images = [k for k in frames[0] if is_image(k)]
    masks = [k for k, v in frames[0].items() if mask and k.startswith("mask") and np.ndim(v) == 2]
    if not images and not masks:
        raise QueryError(f"nothing to draw in a sample with keys {sorted(sample)}; wanted an image or a mask")
    if ax is not None:
        if len(frames) > 1:
            raise QueryError(f"ax= draws one frame, but this sample holds {len(frames)}; leave ax out")
        _draw_into(ax, frames[0], images[:1], masks[:1], bands, percent, classes)
        return ax.get_figure(root=True)  # type: ignore[return-value]
    panels = images + masks
    figure, axes = _panel_figure(frames[0], len(frames), panels)
    for row, frame in enumerate(frames):
        for column, key in enumerate(panels):
            if key in images:
                draw_image(axes[row, column], frame, key, bands=bands, percent=percent)
            else:
                draw_mask(axes[row, column], frame[key], classes=classes)
                axes[row, column].set_title(key)
    return figure


def draw_image(
    ax: Axes,
    frame: Mapping[str, Any],
    key: str = "image",
    *,
    bands: Sequence[str | float] | None = None,
    percent: tuple[float, float] = (2, 98),
) -> None:
    """Draw one image of a sample into axes whose units are its pixels (0 = centre of the first)."""
    suffix = key.removeprefix("image")
    image = to_numpy(frame[key])
    valid = frame.get("valid" + suffix)
    chosen, title = composite(frame.get("bands" + suffix), image.shape[0], bands)
    pixels = stretch(image[chosen], None if valid is None else to_numpy(valid).astype(bool), percent)
    seen = np.isfinite(pixels).all(axis=-1, keepdims=True)
    colours = np.nan_to_num(pixels if len(chosen) == 3 else pixels.repeat(3, axis=-1))
    ax.set_facecolor(NOT_OBSERVED)
    ax.imshow(np.concatenate([colours, seen], axis=-1), interpolation="nearest")
    ax.set_title(title if suffix == "" else f"{key}: {title}", fontsize=10)
    grid = frame.get("grid" + suffix)
    ax.set_xlabel(describe_grid(grid) if isinstance(grid, Grid) else "", fontsize=9)
    ax.tick_params(labelsize=7)
    if key == "image":
        _draw_boxes(ax, frame)


def draw_mask(
    ax: Axes, values: Any, *, classes: Classes | None = None, alpha: float = 1.0, legend: bool = True
) -> None:
    """Draw a class mask with a legend of the classes that occur; -100 stays the colour of not observed."""
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    mask = to_numpy(values)
    present = [int(v) for v in np.unique(mask) if v != IGNORE]
    table = class_table(classes, present)
    picture = np.zeros((*mask.shape, 4))
    for value in present:
        picture[mask == value] = (*to_rgb(table[value][1]), alpha)
    ax.set_facecolor(NOT_OBSERVED)
    ax.imshow(picture, interpolation="nearest")
    ax.tick_params(labelsize=7)
    if legend and present:
        handles = [Patch(color=table[v][1], label=table[v][0]) for v in present[: len(PALETTE)]]
        ax.legend(handles=handles, fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure that belongs to no window; inches.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.
    """
    figure: Figure = _figure_class()(figsize=(width, height), layout="constrained")
    return figure


@lru_cache(maxsize=1)
def _figure_class() -> Any:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependencyError("plots need matplotlib; install it with: pip install 'geodata[plot]'") from None

    class NotebookFigure(Figure):
        """A figure that IPython shows although pyplot never saw it."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            FigureCanvasAgg(self)

        def _repr_png_(self) -> bytes:
            from io import BytesIO

            buffer = BytesIO()
            self.savefig(buffer, format="png")
            return buffer.getvalue()

    return NotebookFigure


def _panel_figure(frame: Mapping[str, Any], rows: int, panels: Sequence[str]) -> tuple[Figure, NDArray[Any]]:
    height, width = np.shape(frame[panels[0]])[-2:]
    each = min(max(4.5 * height / width, 2.0), 9.0)
    figure = new_figure(4.5 * len(panels) + 1.0, each * rows + 0.8)
    return figure, figure.subplots(rows, len(panels), squeeze=False)


def _draw_into(
    ax: Axes,
    frame: Mapping[str, Any],
    images: Sequence[str],
    masks: Sequence[str],
    bands: Sequence[str | float] | None,
    percent: tuple[float, float],
    classes: Classes | None,
) -> None:
    for key in images:
        draw_image(ax, frame, key, bands=bands, percent=percent)
    for key in masks:
        draw_mask(ax, frame[key], classes=classes, alpha=0.5 if images else 1.0)


def _draw_boxes(ax: Axes, frame: Mapping[str, Any]) -> None:
    from matplotlib.patches import Polygon

    shapes = to_numpy(frame["corners"]) if "corners" in frame else _box_corners(frame.get("boxes"))
    labels = to_numpy(frame["box_labels"]) if "box_labels" in frame else np.zeros(len(shapes), dtype=int)
    for shape, label in zip(shapes, labels, strict=True):
        # boxes count from the upper left pixel's edge, axes from its centre
        ax.add_patch(Polygon(shape - 0.5, fill=False, edgecolor=PALETTE[int(label) % len(PALETTE)], linewidth=1.2))


def _box_corners(boxes: Any) -> NDArray[Any]:
    if boxes is None:
        return np.zeros((0, 4, 2))
    return to_numpy(boxes)[:, [[0, 1], [2, 1], [2, 3], [0, 3]]]
