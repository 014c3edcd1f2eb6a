"""What a reader of the results sees: a table of scores and a picture of the maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from torch import Tensor

from geodata.catalog import Catalog
from geodata.demo.inputs import Inputs
from geodata.demo.metrics import iou, mean_iou
from geodata.demo.train import targets
from geodata.view.drawing import save_png
from geodata.view.plot import draw_image, draw_mask, new_figure
from geodata.view.preview import read_item, short

__all__ = ["draw_maps", "results_table"]

MODELS = {"majority": "majority class", "pixel": "single pixels", "net": "net"}
MOST_SCENES = 6
IGNORE = -100


def results_table(classes: Mapping[int, tuple[str, str]], tables: Mapping[str, Tensor]) -> Table:
    """Return intersection over union by class and model, over the held-out blocks.

    Parameters
    ----------
    classes : value -> (name, colour)
    tables : model -> (K, K) confusion matrix, rows are the truth
    """
    table = Table(title="held-out blocks: intersection over union", title_justify="left")
    table.add_column("class")
    table.add_column("pixels", justify="right")
    for model in tables:
        table.add_column(MODELS[model], justify="right")
    counts = tables["net"].sum(dim=1).tolist()
    each = {model: iou(t) for model, t in tables.items()}
    for value, (name, _) in classes.items():
        if counts[value] or any(each[m][value] > 0 for m in each):
            table.add_row(name, f"{counts[value]:,}", *(_score(each[model][value]) for model in tables))
    table.add_section()
    table.add_row("mean IoU", "", *(f"[bold]{_score(mean_iou(t))}[/]" for t in tables.values()))
    accuracy = (float(t.diag().sum() / t.sum()) for t in tables.values())
    table.add_row("accuracy", f"{sum(counts):,}", *map(_score, accuracy))
    return table


def draw_maps(
    inputs: Inputs,
    maps: Mapping[str, str],
    folder: Path,
    *,
    split: Mapping[str, Sequence[str]],
    tiles: Catalog,
    path: Path,
) -> None:
    """Draw image, labels and prediction of every scene side by side, held-out blocks outlined.

    Parameters
    ----------
    maps : item -> file name of its map in ``folder``
    tiles : Catalog of the blocks
    path : PNG to write
    """
    scenes = list(maps)[:MOST_SCENES]
    present: set[int] = set()
    shapes = inputs.joined.catalog.shape[: len(scenes)]
    height = float(np.clip(4.6 * (shapes[:, 0] / shapes[:, 1]).max(), 2.5, 8.0))
    figure = new_figure(16.0, height * len(scenes) + 0.6)
    axes = figure.subplots(len(scenes), 3, squeeze=False)
    for row, key in enumerate(scenes):
        sample = read_item(inputs.joined, row)
        truth = targets(sample)
        predicted = _read_map(folder / maps[key], truth.shape)
        present |= set(np.unique(truth).tolist()) | set(np.unique(predicted).tolist())
        draw_image(axes[row, 0], sample)
        axes[row, 0].set_title(f"{short(key)}\n{axes[row, 0].get_title()}", fontsize=9)
        draw_mask(axes[row, 1], truth, classes=inputs.classes, legend=False)
        axes[row, 1].set_title("labels", fontsize=9)
        draw_mask(axes[row, 2], predicted, classes=inputs.classes)
        axes[row, 2].set_title("prediction; held-out blocks outlined", fontsize=9)
        scale = truth.shape[0] / int(inputs.joined.catalog.shape[row, 0])
        for ax in axes[row, 1:]:
            _outline_blocks(ax, tiles.where(tile_of=key), set(split["test"]), scale)
    _legend(axes, [entry for value, entry in inputs.classes.items() if value in present])
    save_png(figure, path)


def _legend(axes: NDArray[Any], classes: Sequence[tuple[str, str]]) -> None:
    """One legend for all scenes instead of one for each."""
    from matplotlib.patches import Patch

    handles = [Patch(color=colour, label=name) for name, colour in classes]
    for ax in axes[:, 2]:
        if ax.get_legend() is not None:
            ax.get_legend().remove()
    axes[0, 2].legend(handles=handles, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0)


def _outline_blocks(ax: Any, tiles: Catalog, held_out: set[str], scale: float) -> None:
    from matplotlib.patches import Rectangle

    for key, (row, col), (height, width) in zip(tiles.key, tiles.origin * scale, tiles.shape * scale, strict=True):
        if key in held_out:
            ax.add_patch(Rectangle((col - 0.5, row - 0.5), width, height, fill=False, edgecolor="black", linewidth=1.2))


def _read_map(path: Path, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Read a map of classes at the size of a picture; -100 where it has no class."""
    import rasterio

    with rasterio.open(path) as file:
        values = file.read(1, out_shape=tuple(shape)).astype(np.int64)
        known = file.read_masks(1, out_shape=tuple(shape)) > 0
    out: NDArray[np.int64] = np.where(known, values, IGNORE)
    return out


def _score(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
