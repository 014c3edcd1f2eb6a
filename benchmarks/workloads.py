"""What is measured: one line per row of the tables, with the figure that is wanted."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("GEODATA_BENCH_DATA", ROOT / "bench-data"))
SIZE, BATCH = 256, 32
SMALL_CACHE = {"GDAL_CACHEMAX": "64", "GEODATA_CACHEMAX": "64"}
S2_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
TWICE = "differ on purpose: the peer resamples twice, by nearest and then bilinearly; this library once"
OWN = "other windows: this library's own sampler draws them"


@dataclass(frozen=True)
class Reading:
    """Patches read from an archive.

    Parameters
    ----------
    name, title : what it is called on the command line, and in the table
    archive : folder, or folder and variant, as `data.py` writes it
    boxes : which boxes, drawn once by the peer's own sampler
    samples : how many of them
    target : wanted ratio of CPU time, peer / ours; None if none was set
    how : {"boxes", "items", "random", "grid", "storage", "native"}
        Answer the peer's boxes by place, the items in the peer's order by row, or windows of our own sampler.
    peer : the reading whose time it is compared with, its own name unless given
    limit : {"", "rasterio", "memmap"}
        The bare reader that shows what the machine can do.
    env : environment variables for both sides
    differ : why pixels are not compared with the peer's; empty where they must be equal
    """

    name: str
    title: str
    archive: str
    boxes: str
    samples: int
    target: float | None = None
    how: str = "boxes"
    peer: str = ""
    limit: str = ""
    env: dict[str, str] = field(default_factory=dict)
    differ: str = ""

    @property
    def group(self) -> str:
        """Name of the peer's measurement."""
        return self.peer or self.name


@dataclass(frozen=True)
class Counting:
    """Work on rows, without pixels. ``target`` is a ratio, or with ``at_most`` the largest allowed value of ours."""

    name: str
    title: str
    unit: str
    target: float | None = None
    at_most: float | None = None
    peer: str | None = ""

    @property
    def group(self) -> str:
        """Name of the peer's measurement; empty if there is none."""
        return "" if self.peer is None else self.peer or self.name


A, A_RAW = "A/deflate512", "A/raw512"

READINGS = [
    Reading("A_random", "A random windows, deflate 512", A, "A_random", 256, 2.0, limit="rasterio"),
    Reading(
        "A_random_rasterio", "A random windows, deflate 512, through rasterio", A, "A_random", 256, 1.35, peer="A_random",
        env={"GEODATA_TIFF": "0"},
    ),
    Reading(
        "A_random_own", "A random windows drawn by row, `RandomPatchSampler`", A, "A_random", 256, how="random", peer="A_random",
        differ=OWN,
    ),
    Reading("A_random_64", "A random windows, deflate 512, caches of 64 MB", A, "A_random", 256, env=SMALL_CACHE, limit="rasterio"),
    Reading("A_grid", "A in rows", A, "A_grid", 512, 2.5, limit="rasterio"),
    Reading("A_grid_own", "A in rows, drawn by row, `GridPatchSampler`", A, "A_grid", 512, how="grid", peer="A_grid", differ=OWN),
    Reading(
        "A_storage", 'A random windows drawn by row, `order="storage"`', A, "A_random", 2048, 8.0, how="storage",
        differ=OWN + ", in the order in which they are stored",
    ),
    Reading("A_raw", "A random windows, raw tiles of 512", A_RAW, "A_random", 256, 10.0, limit="memmap"),
    Reading("A_raw_64", "A random windows, raw tiles of 512, caches of 64 MB", A_RAW, "A_random", 256, env=SMALL_CACHE, limit="rasterio"),
    Reading("A_deflate256", "A random windows, deflate 256", "A/deflate256", "A_half", 256, limit="rasterio"),
    Reading("A_zstd512", "A random windows, zstd 512", "A/zstd512", "A_half", 256, limit="rasterio"),
    Reading("A_mask", "A image & raster mask", "A/mask", "A_mask", 256, 2.5, limit="rasterio"),
    Reading("B", "B two UTM zones onto one grid", "B", "B", 256, 1.5, differ=TWICE),
    Reading("B_64", "B two UTM zones, caches of 64 MB", "B", "B", 256, 2.0, env=SMALL_CACHE, differ=TWICE),
    Reading("C", "C 12 files on the 10 m grid", "C", "C", 128, 1.8, limit="rasterio"),
    Reading(
        "C_native", "C 12 files, `native=True`, windows of 258", "C", "C", 128, 3.0, how="native", peer="C",
        differ=OWN + ", each band at its own resolution",
    ),
    Reading("D_four", "D 4-band patches by item", "D/four", "D_four", 512, 50.0, how="items", limit="rasterio"),
    Reading("D_four_place", "D 4-band patches by place", "D/four", "D_four", 512, peer="D_four"),
    Reading("D_twelve", "D 12-file patches by item", "D/twelve", "D_twelve", 256, 50.0, how="items", limit="rasterio"),
    Reading("D_twelve_place", "D 12-file patches by place", "D/twelve", "D_twelve", 256, peer="D_twelve"),
    Reading("E", "E raster & 50,000 polygons", "E", "E", 64, 15.0),
    Reading("E_polygons", "E 50,000 polygons", "E/polygons", "E_polygons", 128, 200.0),
]  # fmt: skip

COUNTINGS = [
    Counting("index", "index of 20,000 files", "s", 30.0),
    Counting("reopen", "reopening the saved catalog of 20,000 files", "s", 1000.0, peer="index"),
    Counting("load", "opening a saved catalog of 500,000 rows", "s", peer=None),
    Counting("tree", "its first search, which makes boxes and tree", "s", peer=None),
    Counting("candidates", "candidates of a search, 500,000 rows", "ms", at_most=0.05, peer=None),
    Counting("search", "full search, 500,000 rows", "ms", at_most=0.3, peer=None),
    Counting("draws_16", "sampler draw, 16 rows", "µs"),
    Counting("draws_20k", "sampler draw, 20,000 rows", "µs", 100.0),
    Counting("draws_2m", "sampler draw, 2,000,000 rows", "µs"),
    Counting("join_half", "join 20,000 x 20,000, half a tile apart", "s"),
    Counting("join_same", "join 20,000 x 20,000, the same places", "s"),
    Counting("import", "import, beyond torch", "s"),
]

BY_NAME: dict[str, Reading | Counting] = {line.name: line for line in [*READINGS, *COUNTINGS]}


def files_of(archive: str) -> list[str]:
    """Return the files of an archive in the order of their names."""
    folders = {"A/mask": ["A/deflate512", "A/mask"], "E": ["A/deflate512", "E"], "E/polygons": ["E"]}.get(
        archive, [archive]
    )
    found = [path for folder in folders for path in sorted((DATA / folder).rglob("*.*")) if path.is_file()]
    return [str(path) for path in found]
