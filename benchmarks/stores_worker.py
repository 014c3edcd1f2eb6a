"""One way of reading, in a process of its own that reads when asked (`stores_turns.serve`).

python benchmarks/stores_worker.py lmdb reben fresh          the batch in this process: fresh | recycled memory
python benchmarks/stores_worker.py store-lz4 earth recycled  ...from a store with that codec, by its low-level reader
python benchmarks/stores_worker.py lmdb items 2              torch's loader, processes: items (collated) | batches (whole)
python benchmarks/stores_worker.py store-none loader 2       this library's loader, threads; or from lmdb, files
python benchmarks/stores_worker.py store-lz4 write 1         the writer, from arrays in memory; or lmdb
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import stores_lmdb
import torch
from stores_turns import serve


def batches(source: str, way: str, how: str) -> tuple[Iterator[Any], list[int], int]:
    """The batches, the processes that read them, and how many may be ready ahead."""
    if way in ("items", "batches"):
        found, workers = stores_lmdb.loader(way == "batches", int(how))
        return found, workers, 2 * int(how) + 2
    if way == "reben" and source == "lmdb":
        return stores_lmdb.in_process(stores_lmdb.PatchRecords(), how == "recycled"), [], 4
    if way == "earth" and source == "lmdb":
        return stores_lmdb.in_process(stores_lmdb.CubeRecords(), how == "recycled"), [], 4
    import stores_ours  # what LMDB is read with needs nothing of this library

    if way == "loader":
        return stores_ours.loader(source, int(how)), [], 2 * int(how) + 2
    reader = stores_ours.Shards(source.removeprefix("store-"), way)
    return stores_lmdb.in_process(reader, how == "recycled"), [], 4


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[2] == "write":
        import stores_ours

        writes, clear = stores_ours.written(sys.argv[1])
        serve(writes, ahead=0, samples=stores_ours.HELD, after=clear)
        sys.exit()
    found, workers, ahead = batches(*sys.argv[1:4])
    serve(found, workers, ahead)
