"""TorchGeo's side: one measurement per process, one line of JSON. Runs in the peer's own environment (`make bench-peer`).

python benchmarks/peer.py A_random --samples 256
python benchmarks/peer.py draw                     draws the boxes that both sides answer
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator
from itertools import islice
from typing import Any

import peer_rows
from measure import Clock, boxes, main, read, warm
from workloads import BATCH, DATA, READINGS, S2_BANDS, SIZE, Reading, files_of

warnings.filterwarnings("ignore")  # its samplers that also know time are deprecated, and it says so for each use


def dataset(archive: str) -> Any:
    """Open an archive as the peer's documentation does."""
    from torchgeo.datasets import RasterDataset, VectorDataset

    class Image(RasterDataset):
        filename_glob = "*.tif"

    class Mask(Image):
        is_image = False

    class Bands(RasterDataset):
        filename_glob = "S2*_B02.tif"
        filename_regex = r"^S2_T32_(?P<date>\d{8})_(?P<band>B[0-9A]{2})"
        separate_files = True
        all_bands = S2_BANDS

    class Patches(Bands):
        filename_regex = r"^S2A_MSIL2A_(?P<date>\d{8})T\d+_\w+_\d+_\d+_(?P<band>B[0-9A]{2})"

    def polygons() -> Any:
        return VectorDataset(str(DATA / "E/parcels.gpkg"), res=(10.0, 10.0), label_name="label")

    if archive == "A/mask":
        return dataset("A/deflate512") & Mask(str(DATA / "A/mask"))
    if archive == "E":
        return dataset("A/deflate512") & polygons()
    if archive == "E/polygons":
        return polygons()
    kind = {"C": Bands, "D/twelve": Patches}.get(archive, Image)
    return kind(str(DATA / archive))


def drawn(name: str, data: Any) -> Iterator[Any]:
    """Boxes of the peer's own sampler."""
    import torch
    from torchgeo.samplers import GridGeoSampler, PreChippedGeoSampler, RandomGeoSampler

    torch.manual_seed(1)  # it chooses the file with the global generator, and the place with the one it is given
    generator = torch.Generator().manual_seed(1)
    if name == "A_grid":
        return iter(GridGeoSampler(data, SIZE))
    if name.startswith("D"):
        return iter(PreChippedGeoSampler(data, shuffle=True, generator=generator))
    return iter(RandomGeoSampler(data, SIZE, length=4096, generator=generator))


def draw(options: Any) -> dict[str, Any]:
    """Write the boxes of every archive that has none yet."""
    import pandas as pd

    def seconds(time: Any) -> float | None:
        return None if time in (pd.Timestamp.min, pd.Timestamp.max) else time.timestamp()

    (DATA / "boxes").mkdir(parents=True, exist_ok=True)
    for name, archive in {line.boxes: line.archive for line in reversed(READINGS)}.items():
        path = DATA / f"boxes/{name}.json"
        if not path.exists():
            found = [
                [x.start, x.stop, y.start, y.stop, seconds(t.start), seconds(t.stop)]
                for x, y, t in islice(drawn(name, dataset(archive)), 4096)
            ]
            path.write_text(json.dumps(found))
    return {"cpu": 0.0, "samples": 0}


def slices(name: str) -> list[Any]:
    """The boxes as the peer asks for them."""
    import pandas as pd

    def span(first: Any, last: Any) -> slice:
        if first is None:
            return slice(pd.Timestamp.min, pd.Timestamp.max)
        return slice(pd.Timestamp(first, unit="s"), pd.Timestamp(last, unit="s"))

    return [(slice(x0, x1), slice(y0, y1), span(*time)) for x0, x1, y0, y1, *time in boxes(name)]


def reading(line: Reading, options: Any) -> dict[str, Any]:
    """Read the patches of one line of the table."""
    import torch
    from torch.utils.data import DataLoader
    from torchgeo.datasets import stack_samples

    torch.set_num_threads(1)
    warm(files_of(line.archive))
    wanted = slices(line.boxes)
    once = Clock()
    with once:
        data = dataset(line.archive)
        data[wanted[-1]]
    loader = DataLoader(data, batch_size=BATCH, sampler=wanted[: options.samples], collate_fn=stack_samples)
    return {**read(loader, options), "once_s": once.cpu}


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    main("peer", reading, {"draw": draw, **peer_rows.COUNTINGS})
