"""This library's side: one measurement per process, one line of JSON.

python benchmarks/ours.py A_random --samples 256 --profile
"""

from __future__ import annotations

import inspect
from typing import Any

import ours_rows
from measure import Clock, boxes, main, read, warm
from workloads import BATCH, DATA, S2_BANDS, SIZE, Reading, files_of


def dataset(archive: str, native: bool = False) -> Any:
    """Open an archive the way a user would."""
    from geodata.datasets import RasterDataset, VectorDataset

    if archive == "A/mask":
        return dataset("A/deflate512") & RasterDataset(DATA / "A/mask", categorical=True, progress=False)
    if archive == "E":
        return dataset("A/deflate512") & VectorDataset(DATA / "E/parcels.gpkg", label="label")
    if archive == "E/polygons":
        return VectorDataset(DATA / "E/parcels.gpkg", label="label", res=10)
    pattern = {
        "C": r"(?P<item>S2_T32_(?P<date>\d{8}))_(?P<band>B\w\w)\.tif$",
        "D/twelve": r"(?P<item>\w+)/\w+_(?P<band>B\w\w)\.tif$",
    }.get(archive)
    bands = S2_BANDS if pattern else None
    return RasterDataset(DATA / archive, pattern=pattern, bands=bands, native=native, progress=False)


def by_place(name: str) -> list[Any]:
    """The peer's boxes as queries by place."""
    from geodata import Grid, Interval, Query

    queries = []
    for x0, x1, y0, y1, first, last in boxes(name):
        when = {} if first is None else {"time": Interval(first, last)}
        queries.append(Query(grid=Grid.from_bounds((x0, y0, x1, y1), "EPSG:32632", 10), **when))
    return queries


def by_row(data: Any, name: str) -> list[Any]:
    """The same items in the same order, by row number."""
    from geodata import Query

    corner = {(x, y): row for row, (x, y) in enumerate(data.catalog.affine[:, [2, 5]].tolist())}
    return [Query(row=corner[x0, y1]) for x0, _, _, y1, *_ in boxes(name)]


def sampler(line: Reading, data: Any, samples: int) -> Any:
    """What is read, in order."""
    from geodata.samplers import GridPatchSampler, RandomPatchSampler

    if line.how == "boxes":
        return by_place(line.boxes)[:samples]
    if line.how == "items":
        return by_row(data, line.boxes)[:samples]
    if line.how == "grid":
        from itertools import islice

        return list(islice(GridPatchSampler(data, size=SIZE), samples))
    size = 258 if line.how == "native" else SIZE
    if line.how != "storage":
        return RandomPatchSampler(data, size=size, length=samples, seed=1)
    if "order" not in inspect.signature(RandomPatchSampler).parameters:
        return None
    return RandomPatchSampler(data, size=size, length=samples, seed=1, order="storage")


def reading(line: Reading, options: Any) -> dict[str, Any]:
    """Read the patches of one line of the table."""
    import torch

    import geodata as gd

    torch.set_num_threads(1)
    warm(files_of(line.archive))
    once = Clock()
    with once:
        data = dataset(line.archive, native=line.how == "native")
        if line.how == "native":
            data[gd.Query(row=0, window=(0, 0, 6, 6))]
        else:
            data[by_place(line.boxes)[-1]]  # what is made when first needed is there before the clock starts
    queries = sampler(line, data, options.samples)
    if queries is None:
        return {"skipped": 'RandomPatchSampler has no order="storage" yet'}
    loader = gd.Loader(data, sampler=queries, batch_size=BATCH, threads=0)
    return {**read(loader, options), "once_s": once.cpu}


if __name__ == "__main__":
    main("ours", reading, ours_rows.COUNTINGS)
