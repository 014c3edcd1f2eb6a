"""Which items there are, where and when: columns, their R-tree, and their file."""

from geodata.catalog.catalog import Catalog

__all__ = ["Catalog"]
