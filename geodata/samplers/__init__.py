"""What to read next: samplers yield queries in integers, datasets answer them. No I/O here."""

from geodata.samplers.balanced import BalancedPatchSampler
from geodata.samplers.base import QuerySampler
from geodata.samplers.batches import GroupedBatchSampler
from geodata.samplers.crops import MultiCropSampler, MultiScaleSampler
from geodata.samplers.grid import GridPatchSampler
from geodata.samplers.hard import HardExampleSampler
from geodata.samplers.items import ItemSampler
from geodata.samplers.mixture import MixedSampler
from geodata.samplers.pixels import StratifiedPixelSampler, pixel_split
from geodata.samplers.random import RandomPatchSampler
from geodata.samplers.series import SeriesPatchSampler
from geodata.samplers.sobol import LowDiscrepancySampler
from geodata.samplers.temporal import TemporalPairSampler

__all__ = [
    "BalancedPatchSampler",
    "GridPatchSampler",
    "GroupedBatchSampler",
    "HardExampleSampler",
    "ItemSampler",
    "LowDiscrepancySampler",
    "MixedSampler",
    "MultiCropSampler",
    "MultiScaleSampler",
    "QuerySampler",
    "RandomPatchSampler",
    "SeriesPatchSampler",
    "StratifiedPixelSampler",
    "TemporalPairSampler",
    "pixel_split",
]
