"""One process that reads hostile files for all tests of a run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fuzzing import Workers


@pytest.fixture(scope="session")
def workers() -> Iterator[Workers]:
    """Children of it read what may end a process."""
    running = Workers()
    yield running
    running.close()
