"""From patches back to one map on the exact grid."""

from geodata.stitch.checks import check_output, check_sizes, companions
from geodata.stitch.classes import Classes
from geodata.stitch.mapfile import check_target
from geodata.stitch.stitcher import Stitcher

__all__ = ["Classes", "Stitcher", "check_output", "check_sizes", "check_target", "companions"]
