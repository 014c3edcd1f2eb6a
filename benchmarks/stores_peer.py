"""TorchGeo's side: random samples of the look-alike through torch's loader. Runs in the peer's environment (`make bench-peer`).

python benchmarks/stores_peer.py ROOT WORKERS
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator

import numpy as np
import torch
from stores_turns import BATCH, serve
from torch.utils.data import DataLoader
from torchgeo.datasets import BigEarthNetV2

warnings.filterwarnings("ignore")


class Forever:
    """Lists of 32 random rows without end."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng(1)
        while True:
            order = rng.permutation(self.rows).tolist()
            yield from (order[i : i + BATCH] for i in range(0, self.rows - BATCH + 1, BATCH))


def main() -> None:
    """Read batches when asked."""
    torch.set_num_threads(1)
    root, workers = sys.argv[1], int(sys.argv[2])
    data = BigEarthNetV2(root, split="train", bands="all")
    how = {"persistent_workers": True, "prefetch_factor": 2} if workers else {}
    batches = iter(DataLoader(data, batch_sampler=Forever(len(data)), num_workers=workers, **how))
    first = next(batches)
    assert first["image_s2"].shape == (BATCH, 12, 120, 120) and first["image_s1"].shape == (BATCH, 2, 120, 120)
    serve(batches, [worker.pid for worker in getattr(batches, "_workers", [])], ahead=2 * workers + 1)


if __name__ == "__main__":
    main()
