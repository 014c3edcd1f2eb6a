"""TorchGeo's side of the work on rows."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
from measure import count, warm
from workloads import DATA, files_of


def squares(n: int, shift: float = 0.0) -> Any:
    """Dataset with an index of n squares of 1.2 km side by side; no file is opened."""
    import geopandas as gpd
    import pandas as pd
    import shapely
    from torchgeo.datasets import RasterDataset

    class Squares(RasterDataset):
        def __init__(self) -> None:
            side = int(np.ceil(np.sqrt(n)))
            i = np.arange(n)
            x, y = 399960 + i % side * 1200.0 + shift, 5300040 - i // side * 1200.0 - shift
            always = pd.IntervalIndex.from_arrays(
                [pd.Timestamp.min] * n, [pd.Timestamp.max] * n, closed="both", name="datetime"
            )
            geometry = shapely.box(x, y - 1200, x + 1200, y)
            names = {"filepath": [f"p_{k:06d}.tif" for k in range(n)]}
            self.index = gpd.GeoDataFrame(names, index=always, geometry=geometry, crs="EPSG:32632")
            self._res = (10.0, 10.0)
            self.paths, self.transforms = [], None

    return Squares()


def index(options: Any) -> dict[str, Any]:
    """Open a folder of 20,000 files."""
    from torchgeo.datasets import RasterDataset

    warm(files_of("D/four"))
    return count(lambda: len(RasterDataset(str(DATA / "D/four"))), 1, 1, options.profile)


def draws(rows: int, limit: int) -> Any:
    """Draws of the sampler for one box at a time, and of the newer one that draws all places at once."""

    def measure(options: Any) -> dict[str, Any]:
        from torchgeo.samplers import RandomGeoSampler, RandomPatchSampler

        n = options.samples or limit
        data = squares(rows)
        make = count(lambda: RandomGeoSampler(data, 64, length=n), 1, 1, False)
        sampler = make.pop("result")
        found = count(lambda: sum(1 for _ in sampler), n, 1e6, options.profile) | {"once_s": make["cpu"]}
        if rows <= 20_000:
            new = count(lambda: RandomPatchSampler(data, size=64, length=n), 1, 1, False)
            sampler = new.pop("result")
            found["new_cpu"] = count(lambda: sum(1 for _ in sampler), n, 1e6, False)["cpu"]
            found["new_once_s"] = new["cpu"]
        return found

    return measure


def join(shift: float) -> Any:
    def measure(options: Any) -> dict[str, Any]:
        n = options.samples or 20_000
        left, right = squares(n), squares(n, shift)
        found = count(lambda: left & right, 1, 1, options.profile)
        joined = found.pop("result")
        return {**found, "pairs": len(joined)}

    return measure


IMPORT = """
import time
import torch
start = time.process_time()
import torchgeo.datasets, torchgeo.samplers
print(time.process_time() - start)
"""


def imports(options: Any) -> dict[str, Any]:
    run = subprocess.run([sys.executable, "-P", "-c", IMPORT], capture_output=True, text=True, check=True)
    return {"cpu": float(run.stdout), "samples": 1}


COUNTINGS = {
    "index": index,
    "draws_16": draws(16, 10_000),
    "draws_20k": draws(20_000, 10_000),
    "draws_2m": draws(2_000_000, 100),
    "join_half": join(600.0),
    "join_same": join(0.0),
    "import": imports,
}
