"""How many pixels are valid, and how many of each class, in small cells of every item: read once, sampled from for ever."""

from geodata.counts.counting import count_pixels
from geodata.counts.pixels import PixelCounts

__all__ = ["PixelCounts", "count_pixels"]
