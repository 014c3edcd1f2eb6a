"""``geodata demo``: the main job end to end, and the code to read first.

The whole of training is one function, `geodata.demo.train.train`.
"""

from __future__ import annotations

from geodata.demo.archive import write_archive
from geodata.demo.inputs import Job
from geodata.demo.run import run_demo

__all__ = ["Job", "run_demo", "write_archive"]
