"""What to read next: samplers yield queries in integers, datasets answer them. No I/O here."""

from geodata.samplers.base import QuerySampler
from geodata.samplers.grid import GridPatchSampler, ItemSampler
from geodata.samplers.random import RandomPatchSampler

__all__ = ["GridPatchSampler", "ItemSampler", "QuerySampler", "RandomPatchSampler"]
