"""Statistics of the bands of a dataset, or of a part of it: fitted in one pass, saved, refused for another split."""

from geodata.statistics.statistics import Statistics

__all__ = ["Statistics"]
