"""A split: which row of a catalog is in which part."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.catalog.arrow import text_array
from geodata.catalog.footprint import rings
from geodata.crs import same_crs
from geodata.errors import SplitError

__all__ = ["DROPPED", "Split", "check_names"]

_TILE = r"#r\d+c\d+h\d+w\d+$"

DROPPED = "dropped"
"""What the dead zone is called: rows that are in no part, so that parts keep a distance."""

SAID = 12
"""Names that a message tells at most."""


@dataclass(frozen=True, eq=False, repr=False)
class Split(Mapping[str, NDArray[np.object_]]):
    """A partition of the rows of a catalog into named parts, and a dead zone called ``"dropped"``.

    Made by the functions of `geodata.splits`. As a mapping it gives the keys of each part: ``split["train"]``.

    Parameters
    ----------
    catalog : Catalog
        Keys, places and times of the rows. Of a split that was loaded, only these.
    code : (N,) int16
        For each row the position of its part in ``parts``, -1 in the dead zone.
    parts : names of the parts, without the dead zone
    recipe : how it was made: method, parameters, seed
    block : (N,) int64 or None
        Numbers that are equal for rows that were assigned together.
    near : (M, 2) int64 or None
        Of a split into folds with a buffer: (row, fold) where the row lies within the buffer of a row of the fold.

    Raises
    ------
    SplitError
        If columns do not fit, a part is empty, names repeat or cannot be written, there are more than 32,767 parts, or a
        key holds a tab or a line break.
    """

    catalog: Catalog
    code: NDArray[np.int16]
    parts: tuple[str, ...]
    recipe: Mapping[str, Any] = field(default_factory=dict)
    block: NDArray[np.int64] | None = None
    near: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if len(self.code) != len(self.catalog):
            raise SplitError(f"{len(self.code)} parts for {len(self.catalog)} rows")
        check_names(self.parts)
        _check_keys(self.catalog)
        if len(self.code) and not (self.code.min() >= -1 and self.code.max() < len(self.parts)):
            raise SplitError(f"a row is in a part that is not there; there are {len(self.parts)}: {_few(self.parts)}")
        object.__setattr__(self, "recipe", json.loads(json.dumps(dict(self.recipe), default=_plain)))
        empty = [name for name, count in self.counts.items() if not count]
        if empty:
            raise SplitError(
                f"no row is left in {_few(list(map(repr, empty)))}: {self._said()}; take smaller blocks, a smaller buffer or "
                "other fractions"
            )

    @property
    def key(self) -> NDArray[np.object_]:
        """(N,) keys of all rows."""
        return self.catalog.key

    @property
    def counts(self) -> dict[str, int]:
        """Rows of each part, and of the dead zone if there is one."""
        found = np.bincount(self.code.astype(np.int64) + 1, minlength=len(self.parts) + 1).tolist()
        dead = {DROPPED: found[0]} if found[0] else {}
        return dict(zip(self.parts, found[1:], strict=True)) | dead

    @property
    def dropped(self) -> NDArray[np.object_]:
        """Keys in the dead zone."""
        return self[DROPPED]

    def __getitem__(self, part: str) -> NDArray[np.object_]:
        keys: NDArray[np.object_] = self.key[self.code == self._position(part)]
        return keys

    def __contains__(self, part: object) -> bool:
        return part in self.counts

    def get(self, part: str, default: Any = None) -> Any:
        """Return the keys of a part, or the default if there is none of that name."""
        if part not in self:
            return default
        return self[part]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Split) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __iter__(self) -> Iterator[str]:
        return iter(self.counts)

    def __len__(self) -> int:
        return len(self.counts)

    def _position(self, part: str) -> int:
        if part == DROPPED:
            return -1
        if part not in self.parts:
            raise SplitError(f"no part {part!r}; there are {_few(self.parts)}")
        return self.parts.index(part)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over lines ``key<tab>part``, sorted by key: equal splits have equal digests on every platform."""
        names = text_array([*self.parts, DROPPED])
        codes = np.where(self.code < 0, len(self.parts), self.code).astype(np.int32)
        key = self.catalog.table["key"].combine_chunks()
        order = pc.sort_indices(key)
        part = names.take(pa.array(codes)).take(order)
        line = pc.binary_join_element_wise(key.take(order), part, "\t")
        return hashlib.sha256("".join(f"{text}\n" for text in line.to_pylist()).encode()).hexdigest()

    def codes(self, catalog: Catalog) -> NDArray[np.int16]:
        """Return the part of each row of a catalog: (len(catalog),) positions in `parts`, -1 in the dead zone.

        Raises
        ------
        SplitError
            If the catalog is of another dataset or version, its keys are not those of the split, or rows lie elsewhere.
        """
        if catalog is self.catalog:
            return self.code
        _same_dataset(self.catalog, catalog)
        mine, theirs = self.catalog.table["key"].combine_chunks(), catalog.table["key"].combine_chunks()
        found = pc.index_in(theirs, value_set=mine)
        unknown = found.null_count
        lacking = len(mine) - (len(theirs) - unknown)
        if unknown or lacking:
            raise SplitError(_other_keys(mine, theirs, unknown, lacking))
        at = np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.int64)
        moved = _moved(self.catalog.take(at), catalog)
        if len(moved):
            raise SplitError(
                f"{len(moved)} of {len(catalog)} rows lie elsewhere than when the split was made, first {catalog.key[moved[0]]!r}; "
                "make the split again from this catalog"
            )
        return self.code[at]

    def rows(self, part: str, catalog: Catalog) -> NDArray[np.int64]:
        """Return the row numbers of a part in a catalog; errors as in `codes`."""
        return np.flatnonzero(self.codes(catalog) == self._position(part))

    def mask(self, part: str, item: str | None = None) -> NDArray[np.bool_]:
        """Return which pixels of an item lie in a part, of a split of its tiles.

        Parameters
        ----------
        part : name of a part, or ``"dropped"``
        item : key of the item that tiles were cut from; None if it is one

        Returns
        -------
        (H, W) bool, as large as the tiles reach

        Raises
        ------
        SplitError
            If these are no tiles, of several items, or of none of that key.
        """
        if "tile_of" not in self.catalog.table.column_names:
            raise SplitError("a split of whole items has no pixels; cut them first: catalog.tile(8)")
        of = self.catalog.column("tile_of")
        if item is None and len(set(of.tolist())) > 1:
            raise SplitError(f"these are tiles of {len(set(of.tolist()))} items; name one, for example {of[0]!r}")
        rows = np.flatnonzero(of == (of[0] if item is None else item))
        if not len(rows):
            raise SplitError(f"no tile is of {item!r}; the first is of {of[0]!r}")
        low, high = self.catalog.origin[rows], self.catalog.origin[rows] + self.catalog.shape[rows]
        out = np.zeros(tuple(high.max(axis=0).tolist()), dtype=bool)
        for k in np.flatnonzero(self.code[rows] == self._position(part)).tolist():
            out[low[k, 0] : high[k, 0], low[k, 1] : high[k, 1]] = True
        return out

    def fold(self, test: str | int, *, val: str | int | None = None) -> Split:
        """Hold out one part: ``test``, and ``train`` of all others.

        Parameters
        ----------
        test : name or position of the part that is held out
        val : name or position of a part to choose models on, or None

        Returns
        -------
        Split
            With a buffer, rows near the parts held out are in its dead zone, taken from the larger side.
        """
        if "train" in self.parts:
            raise SplitError(
                f"this split has a part for training already: {', '.join(self.parts)}; folds are held out of a split by kfold, "
                "leave_one_region_out or knndm"
            )
        held = [self._number(test)] + ([] if val is None else [self._number(val)])
        if len(set(held)) < len(held):
            raise SplitError(f"val {val!r} is the part that is held out; give another")
        code = np.where(self.code < 0, -1, 0).astype(np.int16)
        for position, part in enumerate(reversed(held)):
            code[self.code == part] = position + 1
        if self.near is not None:
            row, fold = self.near.T
            for position, part in enumerate(reversed(held)):
                close = row[fold == part]
                code[close[code[close] < position + 1]] = -1
        names = ("train", "test") if val is None else ("train", "val", "test")
        recipe = {
            "method": "fold",
            "fold": self.parts[held[0]],
            "val": None if val is None else self.parts[held[1]],
            "of": dict(self.recipe),
        }
        return replace(self, code=code, parts=names, recipe=recipe, near=None)

    def _number(self, part: str | int) -> int:
        if isinstance(part, str):
            return self._position(part)
        if not isinstance(part, Integral) or not 0 <= part < len(self.parts):
            raise SplitError(f"no part {part!r}; there are {len(self.parts)}, numbered from 0")
        return int(part)

    def save(self, path: str | Path) -> Path:
        """Write the split; written beside and then moved into place.

        Parameters
        ----------
        path : ``split.parquet`` (GeoParquet with all that `load` needs; opens in geopandas and QGIS), ``split.csv`` (key and
            part), or ``lists/{}.txt`` (one file of keys per part)
        """
        from geodata.splits import files

        return files.save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Split:
        """Open a split that `save` wrote as GeoParquet; see `geodata.splits.predefined` for lists and tables.

        Raises
        ------
        ReadError, CatalogError
            If there is no such file, or it is no Parquet.
        SplitError
            If it is no split, or its parts are not those that its digest was made of.
        """
        from geodata.splits import files

        return files.load(Path(path))

    def _said(self) -> str:
        return _few([f"{name} {count:,}" for name, count in self.counts.items()])

    def __repr__(self) -> str:
        return f"Split({self.recipe.get('method', '?')}: {self._said()})"


def _few(texts: Sequence[str]) -> str:
    return ", ".join(texts[:SAID]) + (f" and {len(texts) - SAID} more" if len(texts) > SAID else "")


def check_names(parts: tuple[str, ...]) -> None:
    """Refuse names of parts that are too many, repeat or are no plain text."""
    if len(parts) > np.iinfo(np.int16).max:
        raise SplitError(f"{len(parts)} parts, first {parts[0]!r}; there may be 32,767: is that a column of parts?")
    if len(set(parts)) != len(parts) or DROPPED in parts:
        raise SplitError(f"parts {_few(parts)} must have names that differ, and none may be {DROPPED!r}")
    odd = [name for name in parts if not name or not name.isprintable() or name != name.strip()]
    if odd:
        raise SplitError(
            f"{odd[0]!r} is no name for a part: it must be text without tabs and line breaks, and not begin or end with a space"
        )


def _check_keys(catalog: Catalog) -> None:
    """Refuse keys that are more than one field of a line, so that no two splits have one digest."""
    torn = pc.match_substring_regex(catalog.table["key"], "[\\t\\n\\r]")
    if pc.any(torn).as_py():
        first = catalog.table["key"].filter(torn)[0].as_py()
        raise SplitError(
            f"the key {first!r} holds a tab or a line break, so it fits no list of keys; give items other keys"
        )


def _plain(value: Any) -> Any:
    """Return what JSON can hold of a parameter."""
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else str(value)


def _same_dataset(mine: Catalog, theirs: Catalog) -> None:
    (name, version), (other, of) = mine.dataset, theirs.dataset
    if name and other and name != other:
        raise SplitError(f"this split is of the dataset {name!r}, the catalog of {other!r}")
    if name and name == other and version != of:
        raise SplitError(
            f"this split is of version {version} of {name!r}, the catalog of version {of}; make it again, or get the one for {of}"
        )


def _other_keys(mine: pa.Array, theirs: pa.Array, unknown: int, lacking: int) -> str:
    said = []
    if unknown:
        first = theirs.filter(pc.invert(pc.is_in(theirs, value_set=mine)))[0].as_py()
        said.append(f"{unknown} of {len(theirs)} rows of the catalog are not in the split, first {first!r}")
    if lacking:
        first = mine.filter(pc.invert(pc.is_in(mine, value_set=theirs)))[0].as_py()
        said.append(f"{lacking} of {len(mine)} rows of the split are not in the catalog, first {first!r}")
    cut = [pc.any(pc.match_substring_regex(keys, _TILE)).as_py() for keys in (mine, theirs)]
    advice = (
        "cut the scenes into the same tiles first" if cut == [True, False] else "give the catalog that it was made from"
    )
    return f"{'; '.join(said)}; a split is used whole: {advice}"


def _moved(a: Catalog, b: Catalog) -> NDArray[np.int64]:
    """Return the rows whose footprints differ by more than a thousandth of a pixel."""
    if not (a.has_crs and b.has_crs):
        return np.empty(0, dtype=np.int64)
    apart = np.abs(rings(a.footprints) - rings(b.footprints)).max(axis=(1, 2))
    pixel = np.hypot(a.affine[:, 0], a.affine[:, 3])
    alike = np.array([[same_crs(c, d) for d in b.footprints.crs] for c in a.footprints.crs])
    return np.flatnonzero((apart > 1e-3 * pixel) | ~alike[a.footprints.code, b.footprints.code])
