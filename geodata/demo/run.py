"""The main job, end to end: files, catalog, split, training, evaluation, map."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from geodata import transforms as T
from geodata.catalog import Catalog
from geodata.demo.inputs import Inputs, Job, open_inputs
from geodata.demo.metrics import iou, mean_iou
from geodata.demo.nets import PixelModel, TinyUNet
from geodata.demo.report import draw_maps, results_table
from geodata.demo.train import Pixels, Plan, evaluate, gather, train
from geodata.errors import GridError
from geodata.prediction import predict
from geodata.samplers import GridPatchSampler

__all__ = ["checkerboard", "run_demo"]


def run_demo(job: Job, *, console: Console | None = None) -> dict[str, Any]:
    """Train and judge a small segmentation net on the user's files or a look-alike archive, and map the scenes.

    Writes ``catalog.parquet``, ``split.json``, ``metrics.json``, ``map.png`` and a GeoTIFF per scene (``map.tif``, or
    ``map_<item>.tif`` of several) into ``job.out``. They appear together at the end; after an error or Ctrl-C none does.

    Parameters
    ----------
    job : Job
    console : rich Console for progress and results, or None for standard output

    Returns
    -------
    dict
        What ``metrics.json`` holds: mean and per-class intersection over union of the majority class, of a logistic
        regression on single pixels and of the net, all on the held-out blocks; seconds by phase.
    """
    log = Log(console or Console(highlight=False))
    job.out.mkdir(parents=True, exist_ok=True)
    with log.phase("index"):
        inputs = open_inputs(job, log.say)
        log.note(f"{len(inputs.joined)} of {len(inputs.images)} items have labels; {len(inputs.images.bands)} bands")
    with log.phase("split"):
        side = job.block or block_side(inputs.joined.catalog)
        tiles = inputs.joined.tile(side)
        split = checkerboard(tiles.catalog)
        parts = tiles.split(split)
        log.note(f"{len(split['train'])} blocks to train, {len(split['test'])} held out, {side} x {side} pixels each")
    with repeatable(job.seed), staging(job.out) as folder:
        net, plan, tables = fit_and_judge(job, inputs, parts, side, log)
        with log.phase("predict"):
            maps = predict_maps(net, inputs, plan, folder)
            log.note(f"{len(maps)} maps on the exact grids of their scenes")
        metrics = measures(inputs, tables, log.seconds) | {
            "blocks": {k: len(v) for k, v in split.items()},
            "maps": maps,
        }
        with log.phase("write"):
            draw_maps(inputs, maps, folder, split=split, tiles=tiles.catalog, path=folder / "map.png")
            (folder / "split.json").write_text(json.dumps(split, indent=1), encoding="utf-8")
            (folder / "metrics.json").write_text(json.dumps(metrics, indent=1), encoding="utf-8")
            inputs.images.catalog.save(job.out / "catalog.parquet")
    log.console.print(results_table(inputs.classes, tables))
    log.verdict(metrics["mean_iou"])
    log.say(
        f"results in {job.out}: {', '.join([*maps.values(), 'map.png', 'catalog.parquet', 'split.json', 'metrics.json'])}"
    )
    return metrics


def fit_and_judge(
    job: Job, inputs: Inputs, parts: dict[str, Any], side: int, log: Log
) -> tuple[TinyUNet, Plan, dict[str, torch.Tensor]]:
    """Fit the net and the baselines to the training blocks; return confusion matrices of the held-out blocks."""
    bands, classes = inputs.images.bands, len(inputs.classes)
    with log.phase("statistics"):
        pixels = gather(parts["train"], classes)
        stats = {"mean": pixels.mean, "std": pixels.std}
        normalize = T.Normalize({k: dict(zip(bands.names, v.tolist(), strict=True)) for k, v in stats.items()})
        plan = Plan(normalize, pixels.weight, size=min(64, side), steps=job.steps, seed=job.seed)
        log.note(f"{int(pixels.counts.sum()):,} labelled pixels in the training blocks")
    with log.phase("baseline"):
        standard = ((pixels.values - pixels.mean) / pixels.std).float()
        single = PixelModel(len(bands), classes).fit(standard, pixels.labels, pixels.weight)
        log.note("logistic regression on single pixels")
    with log.phase("train"):
        net = TinyUNet(single)
        train(net, parts["train"], plan, show=log.progress("training", job.steps))
        log.note(
            f"{sum(p.numel() for p in net.parameters()):,} weights, {job.steps} steps of {plan.batch_size} patches"
        )
    with log.phase("evaluate"):
        judged = {"net": evaluate(net, parts["test"], plan, size=side)}
        judged = {"pixel": evaluate(single, parts["test"], plan, size=side)} | judged
    return net, plan, {"majority": majority(pixels, judged["net"])} | judged


def majority(pixels: Pixels, like: torch.Tensor) -> torch.Tensor:
    """Return the confusion matrix of always saying the most frequent training class."""
    table = torch.zeros_like(like)
    table[:, int(pixels.counts.argmax())] = like.sum(dim=1)
    return table


def block_side(catalog: Catalog) -> int:
    """Choose the side of a block in pixels: near 128, at least 2 x 2 blocks per item, and 4 x 4 of few items."""
    shortest = int(catalog.shape.min())
    fewest = 2 if len(catalog) >= 4 else 4
    return max(8, math.ceil(shortest / max(round(shortest / 128), fewest)))


def checkerboard(tiles: Catalog) -> dict[str, list[str]]:
    """Hold out every fourth block, so that no two of them share an edge.

    Parameters
    ----------
    tiles : Catalog from ``tile(size)``

    Returns
    -------
    dict of str -> keys
        ``train`` and ``test``; disjoint, and together all blocks.

    Raises
    ------
    GridError
        If there are too few blocks for both.
    """
    _, scene = np.unique(tiles.column("tile_of").astype(str), return_inverse=True)
    side = np.maximum(tiles.shape.max(axis=0), 1)
    row, col = (tiles.origin // side).T
    held_out = (col + 2 * row + scene) % 4 == 0
    if held_out.all() or not held_out.any():
        raise GridError(f"{len(tiles)} blocks are too few to hold some out; choose a smaller --block")
    return {"train": tiles.key[~held_out].tolist(), "test": tiles.key[held_out].tolist()}


def predict_maps(net: TinyUNet, inputs: Inputs, plan: Plan, folder: Path) -> dict[str, str]:
    """Write a map of classes for every item; return item -> file name."""
    catalog = inputs.joined.catalog
    size = int(min(128, catalog.shape.min()))
    sampler = GridPatchSampler(inputs.joined, size=size, stride=max(1, size * 3 // 4))
    out = folder / ("map.tif" if len(catalog) == 1 else "map_{key}.tif")
    paths = predict(
        net, inputs.joined, sampler, out=out, blend="hann", classes=inputs.classes, transform=plan.normalize
    )
    paths = paths if isinstance(paths, list) else [paths]
    return {str(key): path.name for key, path in zip(catalog.key, paths, strict=True)}


def measures(inputs: Inputs, tables: dict[str, torch.Tensor], seconds: dict[str, float]) -> dict[str, Any]:
    """Return mean and per-class intersection over union and accuracy as data that JSON can hold."""

    def plain(value: float) -> float | None:
        return None if math.isnan(value) else round(value, 6)

    names = [name for name, _ in inputs.classes.values()]
    return {
        "mean_iou": {model: plain(mean_iou(t)) for model, t in tables.items()},
        "accuracy": {model: plain(float(t.diag().sum() / t.sum())) for model, t in tables.items()},
        "iou": {model: dict(zip(names, map(plain, iou(t)), strict=True)) for model, t in tables.items()},
        "test_pixels": dict(zip(names, tables["net"].sum(dim=1).tolist(), strict=True)),
        "seconds": {phase: round(s, 2) for phase, s in seconds.items()},
    }


@contextmanager
def repeatable(seed: int) -> Iterator[None]:
    """Fix the random numbers and use one thread; afterwards both are as before.

    The order of sums, and so the last digits, depends on the number of threads. One is also no slower for so small a net
    on a machine that has other work to do.
    """
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


@contextmanager
def staging(out: Path) -> Iterator[Path]:
    """Give a folder whose files are moved to ``out`` together at the end, or dropped after an error."""
    folder = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=out))
    try:
        yield folder
        for path in sorted(folder.iterdir()):
            path.replace(out / path.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Log:
    """Says what happens and how long it takes."""

    console: Console
    seconds: dict[str, float] = field(default_factory=dict)
    _notes: list[str] = field(default_factory=list)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a part of the job, and say so in one line when it is done."""
        start = time.perf_counter()
        self._notes.clear()
        yield
        self.seconds[name] = time.perf_counter() - start
        self.console.print(
            f"{name:<11}{self.seconds[name]:6.1f} s   {'; '.join(self._notes)}", markup=False, soft_wrap=True
        )

    def note(self, text: str) -> None:
        """Add to the line of the running phase."""
        self._notes.append(text)

    def say(self, text: str) -> None:
        """Print a line now."""
        self.console.print(text, markup=False, soft_wrap=True)

    def progress(self, what: str, total: int) -> Callable[[Iterable[Any]], Iterable[Any]]:
        """Return a wrapper that shows a bar, on a terminal only."""
        err = Console(stderr=True)
        return lambda steps: track(
            steps, description=what, total=total, console=err, transient=True, disable=not err.is_terminal
        )

    def verdict(self, scores: dict[str, float | None]) -> None:
        """Say plainly whether the net is better than the baselines."""
        net, best = scores["net"] or 0.0, max(scores["majority"] or 0.0, scores["pixel"] or 0.0)
        better = "beats both baselines" if net > best else "does NOT beat the baselines"
        self.say(f"the net {better} on the held-out blocks: mean IoU {net:.3f} against {best:.3f}")
