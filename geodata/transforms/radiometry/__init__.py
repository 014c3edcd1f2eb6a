"""Numbers: dtype, units, statistics, quality."""
