"""How bands weigh the spectrum, and how one sensor's bands are averaged into another's."""

from __future__ import annotations

from geodata.responses.response import Responses

__all__ = ["Responses"]
