"""Shared fixtures: where the real files are, and small rasters made at run time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The first example of a test may pay for imports and transformers: no deadline per example. CI draws the same examples
# every time, so that it is red for what changed and not by chance; everywhere else they are new in each run.
settings.register_profile("geodata", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("geodata")


@pytest.fixture(scope="session")
def realdata() -> Path:
    """Folder of real files beside the project; absent on most machines."""
    here = Path(os.environ.get("GEODATA_REALDATA", Path(__file__).resolve().parents[2] / "shared" / "realdata"))
    if not here.is_dir():
        pytest.skip("../shared/realdata is not on this machine")
    return here
