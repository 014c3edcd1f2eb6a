"""geodata: from earth-observation files to training batches, and back to a map."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

from geodata.bands import Band, Bands
from geodata.catalog import Catalog
from geodata.dataset import Dataset
from geodata.errors import GeodataError
from geodata.grid import Grid
from geodata.interval import Interval
from geodata.loader import Loader
from geodata.query import Query
from geodata.sample import collate

if TYPE_CHECKING:
    from geodata.counts import PixelCounts, count_pixels
    from geodata.mixture import Mixture
    from geodata.prediction import predict
    from geodata.splits import Split
    from geodata.statistics import Statistics
    from geodata.stitch import Stitcher
    from geodata.store import open_store
    from geodata.view.dataarray import to_xarray
    from geodata.view.plot import plot

__version__ = _version("geodata")

__all__ = [
    "Band",
    "Bands",
    "Catalog",
    "Dataset",
    "GeodataError",
    "Grid",
    "Interval",
    "Loader",
    "Mixture",
    "PixelCounts",
    "Query",
    "Split",
    "Statistics",
    "Stitcher",
    "collate",
    "count_pixels",
    "open_store",
    "plot",
    "predict",
    "to_xarray",
]

_LATER = {
    "Mixture": "mixture",
    "PixelCounts": "counts",
    "Split": "splits",
    "Statistics": "statistics",
    "Stitcher": "stitch",
    "count_pixels": "counts",
    "open_store": "store",
    "plot": "view.plot",
    "predict": "prediction",
    "to_xarray": "view.dataarray",
}


def __getattr__(name: str) -> Any:
    """Import the parts that most programs do not need when they are first used."""
    if name in _LATER:
        return getattr(import_module(f"geodata.{_LATER[name]}"), name)
    raise AttributeError(f"module 'geodata' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LATER])
