"""Published archives: a class for each, made from its declaration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypedDict, Unpack

import numpy as np

from geodata.catalog import Catalog
from geodata.datasets import cache, registry
from geodata.datasets.roots import check_root, present
from geodata.errors import CatalogError, DownloadError
from geodata.fields import FieldDataset
from geodata.fields.contents import Reading, assets_read, chosen_of, fields_of
from geodata.fields.making import DEFAULT_DTYPE
from geodata.sample import IGNORE
from geodata.spec import Content, DatasetSpec

__all__ = ["ArchiveDataset", "Common"]


class Common(TypedDict, total=False):
    """What every published dataset takes beside its root.

    Parameters
    ----------
    split : name, several names, or None
        Only rows of these parts of the published split; None takes all rows, also those in no part.
    bands : names, common names or wavelengths in nm, in the order wanted; None takes all
        Selects among all images of the sample: an image of which no band is named is left out.
    keys : sample keys, for example ``("image", "label")``, or None for all
    dtype : torch dtype, or None for as stored; of images
        The default is float32; it refuses stored dtypes that float32 cannot hold exactly.
    native : bool
        One image per resolution (``image_10m``, ``image_20m``...) instead of all bands on the finest grid.
    resampling : how coarser bands come onto the grid of the finer ones, and images onto queries off their lattice
    ignore_index : what a mask holds where there is no class
    on_error : {"raise", "skip"}
        ``"skip"`` leaves out items that lack a file, and counts them in ``ds.catalog.dropped`` and ``skipped``.
    download : bool
        Download what is missing, if the archive can be had without an account.
    progress : bool
        A bar on a terminal's error stream for what takes long.
    name, transforms : as in `geodata.dataset.Dataset`

    Raises
    ------
    NoFilesError
        If the root lacks what the archive should hold; it says what, and what the expected tree is.
    CatalogError
        If there is no such split or key; it lists the real ones.
    BandsError
        If there is no such band.
    """

    split: str | Sequence[str] | None
    bands: Sequence[str | float] | None
    keys: Sequence[str] | None
    dtype: Any
    native: bool
    resampling: str | None
    ignore_index: int
    on_error: str
    download: bool
    progress: bool
    name: str
    transforms: Callable[[dict[str, Any]], dict[str, Any]] | None


class ArchiveDataset(FieldDataset):
    """A published archive, read as it was published. Subclasses declare `spec`, `index` and `fake`.

    Parameters
    ----------
    root : folder that holds what `spec` shows as its tree
    contents : what a sample holds, if options changed it; else as in `spec`
    options : what `index` is called with: it decides which rows there are
    lists : template of the files that say which item is in which part, if an option changed it; else as in `spec`
    common : as in `Common`
    """

    spec: ClassVar[DatasetSpec]

    def __init_subclass__(cls, **how: Any) -> None:
        super().__init_subclass__(**how)
        if "spec" in cls.__dict__:
            registry.register(cls.spec.name, cls)

    @classmethod
    def index(cls, root: Path, *, on_error: str, progress: bool, **options: Any) -> Catalog:
        """Make the catalog of all rows from the files below a root that holds what it needs.

        Paths are relative to the root. A column ``split`` says in which part a row is, null in none.
        """
        raise NotImplementedError(f"{cls.__name__} must say how its catalog is made")

    @classmethod
    def fake(cls, root: Path, items: int = 4) -> None:
        """Write a look-alike of the archive: its layout, names, dtypes and tags with made-up pixels, the same each time."""
        raise NotImplementedError(f"{cls.__name__} must say how its look-alike is written")

    def __init__(
        self,
        root: str | Path,
        *,
        contents: Sequence[Content] | None = None,
        options: Mapping[str, Any] | None = None,
        lists: str | None = None,
        **common: Unpack[Common],
    ) -> None:
        place, on_error = Path(root), common.get("on_error", "raise")
        if on_error not in ("raise", "skip"):
            raise CatalogError(f"on_error={on_error!r} must be 'raise' or 'skip'")
        known = tuple(self.spec.contents if contents is None else contents)
        chosen = chosen_of(known, common.get("keys"), common.get("bands"))
        spec, progress, split = self.spec, common.get("progress", True), common.get("split")
        if common.get("download", False):
            self.download(place, progress=progress)
        lists = spec.lists if lists is None else lists
        asked = [lists.format(p) for p in _listed(split) if p in spec.splits and lists]
        check_root(place, (*spec.needs, *(c.needs for c in chosen if c.needs), *asked), spec)
        how = {**(options or {}), **({"lists": lists} if lists else {}), "on_error": on_error}
        catalog = cache.catalog_of(
            spec,
            place,
            how,
            [*spec.watch, *(lists.format(part) for part in spec.splits if lists)],
            lambda: self.index(place, progress=progress, **how),
        )
        catalog = replace(catalog, dataset=(spec.name, str(spec.version)))
        reading = Reading(
            common.get("dtype", DEFAULT_DTYPE),
            common.get("native", False),
            common.get("resampling"),
            common.get("ignore_index", IGNORE),
        )
        catalog = _of_split(catalog, split, spec)
        catalog, fields = fields_of(catalog, chosen, common.get("bands"), reading)
        if spec.listed:
            catalog = present(catalog, chosen, assets_read(fields), spec, on_error=on_error)
        super().__init__(catalog, fields, name=common.get("name", ""), transforms=common.get("transforms"))

    @classmethod
    def download(cls, root: str | Path, *, progress: bool = True) -> None:
        """Download and extract what is missing.

        Raises
        ------
        DownloadError
            If a file cannot be had, or must be brought: it says from where, and what tree is expected.
        """
        from geodata.download import download

        spec = cls.spec
        if not spec.downloadable:
            raise DownloadError(
                f"{spec.title} cannot be downloaded without an account or by a lasting address and must be brought: get it "
                f"from {spec.home} and put below {root}:\n{spec.tree}"
            )
        download(spec.sources, Path(root), progress=progress)


def _listed(split: str | Sequence[str] | None) -> list[str]:
    return [split] if isinstance(split, str) else list(split or ())


def _of_split(catalog: Catalog, split: str | Sequence[str] | None, spec: DatasetSpec) -> Catalog:
    if split is None:
        return catalog
    wanted = _listed(split)
    wrong = [s for s in wanted if s not in spec.splits]
    if wrong:
        there = f"it has {', '.join(spec.splits)}" if spec.splits else "it has no split of its own"
        raise CatalogError(f"{spec.title} has no split {wrong[0]!r}; {there}, and split=None takes all rows")
    found = catalog.where(split=wanted)
    if not len(found):
        raise CatalogError(f"none of the {len(catalog)} items found is in the split {', '.join(wanted)}")
    return found


def rows_in(catalog: Catalog) -> dict[str, int]:
    """Return how many rows each part of the published split has; ``""`` for none."""
    if "split" not in catalog.table.column_names:
        return {"": len(catalog)}
    names, counts = np.unique([s or "" for s in catalog.column("split")], return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))
