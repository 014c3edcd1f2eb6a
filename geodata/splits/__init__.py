"""Benchmark splits that do not leak: each a pure function of a catalog, parameters and a seed."""

from geodata.splits.audit import audit
from geodata.splits.folds import kfold, predefined
from geodata.splits.knndm import knndm
from geodata.splits.ordered import REBEN_RINGS, ring, space_time, time
from geodata.splits.report import Audit
from geodata.splits.spatial import blocks, cells, checkerboard, hash, leave_one_region_out, random
from geodata.splits.split import DROPPED, Split

__all__ = [
    "DROPPED",
    "REBEN_RINGS",
    "Audit",
    "Split",
    "audit",
    "blocks",
    "cells",
    "checkerboard",
    "hash",
    "kfold",
    "knndm",
    "leave_one_region_out",
    "predefined",
    "random",
    "ring",
    "space_time",
    "time",
]
