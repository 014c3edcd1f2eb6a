"""The one exception tree. Every class is also the builtin a caller would expect to catch."""

from __future__ import annotations

__all__ = [
    "ArchiveError",
    "BandsError",
    "CRSError",
    "CatalogError",
    "ChecksumError",
    "DownloadError",
    "DtypeError",
    "GeodataError",
    "GridError",
    "KeyClashError",
    "MissingDependencyError",
    "ModelOutputError",
    "NoFilesError",
    "NoOverlapError",
    "QueryError",
    "ReadError",
    "ReadWarning",
    "SamplerError",
    "SplitError",
    "SplitWarning",
    "StaleCatalogError",
    "StoreError",
    "TransformError",
]


class GeodataError(Exception):
    """Base of every error that geodata raises on purpose."""


class GridError(GeodataError, ValueError):
    """A grid, window, size or resolution that cannot exist."""


class CRSError(GeodataError, ValueError):
    """A coordinate reference system is missing, unknown, mixed, or cannot be transformed."""


class BandsError(GeodataError, ValueError):
    """Bands that do not exist, or that do not agree between items."""


class QueryError(GeodataError, ValueError):
    """A query that cannot be understood."""


class NoOverlapError(GeodataError, LookupError):
    """A query or join that meets no item."""


class CatalogError(GeodataError, ValueError):
    """Columns, keys or hrefs of a catalog that contradict each other or are not safe to use."""


class ReadWarning(UserWarning):
    """Something is read right, but in a slower way than it could be."""


class StaleCatalogError(CatalogError):
    """The files on disk are no longer the ones that the catalog was made from."""


class NoFilesError(GeodataError, FileNotFoundError):
    """No file matched what was asked for."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class ReadError(GeodataError, OSError):
    """A file could not be opened or decoded."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class DownloadError(GeodataError, OSError):
    """A published file could not be had: no address, no answer, no room, or a source that contradicts itself."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class ChecksumError(DownloadError):
    """A file is not the one that was published."""


class ArchiveError(GeodataError, ValueError):
    """An archive that is damaged, too large, or not safe to extract."""


class DtypeError(GeodataError, TypeError):
    """A cast that would lose values, or a dtype that is not supported."""


class KeyClashError(GeodataError, ValueError):
    """Two parts of a join produce the same sample key."""


class SamplerError(GeodataError, ValueError):
    """A sampler that could never yield what was asked for, or a state of another plan."""


class SplitError(GeodataError, ValueError):
    """A split that cannot be made, or that is of other data than it is asked of."""


class SplitWarning(UserWarning):
    """A split that is made as asked for, although it leaks."""


class StoreError(GeodataError, OSError):
    """An archive that cannot be written, or is damaged, unfinished or of other parameters."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class TransformError(GeodataError, ValueError):
    """A batch that a transform cannot work on."""


class ModelOutputError(GeodataError, ValueError):
    """A model returned something else than the map writer can use."""


class MissingDependencyError(GeodataError, ImportError):
    """An optional package is not installed."""
