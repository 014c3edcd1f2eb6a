"""Moves of pixels, boxes and grids together."""
