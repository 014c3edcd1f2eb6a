"""Statistics by image and band: what they are, of what they are, and their file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from geodata.bands import STATES
from geodata.catalog.columns import rows_digest
from geodata.dataset import Dataset
from geodata.errors import BandsError, ReadError, SplitError, TransformError
from geodata.files import files_at
from geodata.splits import Split
from geodata.statistics.fitting import summaries

__all__ = ["Statistics"]

_FORMAT = "geodata statistics 1"

_PARTS = ("mean", "std", "min", "max")


class Statistics(Mapping[str, Mapping[str, Any]]):
    """Mean, standard deviation, range and percentiles of the bands of each image of a dataset; make it with `fit`.

    As a mapping it gives, for the key of each image, ``{"mean": {band: float}, "std": ..., "min": ..., "max": ...,
    "percentiles": {"2": {band: float}, ...}, "count": {band: int}, "state": "raw"}``. ``std`` is that of all pixels
    (population: divided by their number). Transforms take it as it is: ``T.Normalize(stats)``, ``T.MinMax(stats)``.

    Parameters
    ----------
    images : such mappings, by the key of the image
    about : of what they are: ``dataset`` (name, version), ``rows`` (digest of the rows of the whole dataset), ``items``
        (number that was read), ``split`` (its digest) with ``part`` and ``recipe``, None if they are of all rows

    Raises
    ------
    ReadError
        If these are no statistics.

    Examples
    --------
    ``stats = Statistics.fit(ds, split=split); train = ds.split(split)["train"].transformed(T.Normalize(stats))``
    """

    def __init__(self, images: Mapping[str, Mapping[str, Any]], about: Mapping[str, Any]) -> None:
        self._images = {str(key): _checked(key, entry) for key, entry in images.items()}
        names = ("dataset", "items", "part", "recipe", "rows", "split")
        if not self._images or sorted(about) != list(names):
            raise ReadError(f"statistics say of what they are: {', '.join(names)}; got {', '.join(sorted(about))}")
        self.about = json.loads(json.dumps(dict(about)))

    @classmethod
    def fit(
        cls,
        dataset: Dataset,
        *,
        split: Split | None = None,
        part: str = "train",
        keys: Iterable[str] | None = None,
        percentiles: Iterable[float] = (1, 2, 5, 25, 50, 75, 95, 98, 99),
        threads: int = 2,
        progress: bool = False,
    ) -> Statistics:
        """Take statistics in one pass over a dataset, of its valid pixels only.

        All pixels of a row count alike; where tiles or scenes overlap, a place counts as often as it is there. If the dataset
        has transforms, they are run first. 8 and 16-bit integers, as ``dtype=None`` reads them, give exact percentiles; of
        floats the values beside them have a relative error of at most 2**-10 (0.1 %), or an absolute one of 2**-30 near 0.

        Parameters
        ----------
        dataset : Dataset
            All of it, also if there is a split.
        split : Split or None
            Of this dataset; only items of ``part`` are read. None takes all rows.
        part : name of a part of ``split``
        keys : of one or more images, such as ``["image", "image_s1"]``; None takes all
        percentiles : 0 to 100
        threads : that read ahead
        progress : bool
            Show a bar on a terminal's error stream.

        Raises
        ------
        SplitError
            If the split is of another dataset, or has no such part.
        TransformError
            If a valid pixel is no finite number (it names the item), none is valid, or an image is normalised already.
        BandsError, DtypeError
            If items differ in bands or dtype.
        """
        wanted, named = _percentiles(percentiles), None if keys is None else list(keys)
        if isinstance(keys, str) or named == []:
            raise TransformError(f"keys {keys!r} must be a list of one or more images, such as ['image']")
        chosen = dataset if split is None else _part(dataset, split, part)
        found = summaries(chosen, keys=named, percentiles=wanted, threads=threads, progress=progress)
        about = {
            "dataset": list(dataset.catalog.dataset),
            "rows": rows_digest(dataset.catalog),
            "items": len(chosen),
            "split": None if split is None else split.digest,
            "part": None if split is None else part,
            "recipe": None if split is None else dict(split.recipe),
        }
        return cls(found, about)

    @property
    def split(self) -> str | None:
        """Digest of the split whose part these are of; None if they are of all rows."""
        found: str | None = self.about["split"]
        return found

    def by_band(self) -> dict[str, dict[str, float]]:
        """Return {"mean": {band: float}, "std": {band: float}} of the bands of all images, as a store keeps them.

        Raises
        ------
        BandsError
            If two images have a band of one name.
        """
        names = [name for entry in self._images.values() for name in entry["mean"]]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise BandsError(
                f"{', '.join(twice)} is a band of several images ({', '.join(self)}); take those of one key"
            )
        return {p: {k: v for entry in self._images.values() for k, v in entry[p].items()} for p in ("mean", "std")}

    def save(self, path: str | Path) -> Path:
        """Write a ``.json`` file that `load` opens; written beside and then moved into place.

        Raises
        ------
        StoreError
            If it cannot be written.
        """
        path = Path(path)
        text = json.dumps({"format": _FORMAT, **self.about, "images": self._images}, indent=1, allow_nan=False)
        files_at(str(path.parent)).put(path.name, [f"{text}\n".encode()])
        return path

    @classmethod
    def load(cls, path: str | Path, *, split: Split | None, force: bool = False) -> Statistics:
        """Open what `save` wrote, for use with a split.

        Parameters
        ----------
        path : of the file
        split : Split or None
            The one that training uses: statistics of another one may have seen its test part. If it has a part "train", they
            must be of that. None asks for statistics of a whole dataset.
        force : bool
            Open them nevertheless.

        Raises
        ------
        ReadError
            If there is no such file, or it holds something else.
        SplitError
            If they are of another split, or of a part beside "train".
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ReadError(f"cannot read statistics from {path}: {error}") from None
        if not isinstance(data, dict) or data.pop("format", None) != _FORMAT:
            raise ReadError(f"{path} is no file of {_FORMAT!r}; write it with stats.save or `geodata stats`")
        images = data.pop("images", None)
        try:
            found = cls(images, data)
        except (AttributeError, KeyError, TypeError, ValueError, ReadError) as error:
            raise ReadError(f"{path} holds no statistics: {error}; take them again") from None
        if not force:
            _check_split(found, split, path)
        return found

    def __getitem__(self, key: str) -> Mapping[str, Any]:
        return self._images[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._images)

    def __len__(self) -> int:
        return len(self._images)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Statistics) and (self._images, self.about) == (other._images, other.about)

    def __hash__(self) -> int:
        return hash((tuple(self._images), self.split))

    def __repr__(self) -> str:
        images = ", ".join(f"{key} {len(entry['mean'])} bands" for key, entry in self._images.items())
        of = f"{self.about['part']} of split {self.split[:12]}" if self.split else "all rows"
        return f"Statistics({images}; {of}, {self.about['items']:,} items)"


def _percentiles(given: Any) -> list[float]:
    """Return percentiles that are asked for, each once."""
    try:
        wanted = sorted({float(p) for p in given}) if not isinstance(given, str) else [math.nan]
    except (TypeError, ValueError):
        wanted = [math.nan]
    if not all(0 <= p <= 100 for p in wanted):
        raise TransformError(f"percentiles {given!r} must be from 0 to 100, in a list")
    return wanted


def _part(dataset: Dataset, split: Split, part: str) -> Dataset:
    if not isinstance(split, Split):
        raise SplitError(
            f"split is {type(split).__name__}; make one of a mapping: splits.predefined(ds.catalog, mapping)"
        )
    parts = dataset.split(split)
    if part not in parts:
        raise SplitError(f"no part {part!r}; there are {', '.join(parts)}")
    return parts[part]


def _checked(key: Any, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the statistics of one image if they are complete."""
    names = {*_PARTS, "count", "percentiles", "state"}
    if set(entry) != names or entry["state"] not in STATES:
        raise ReadError(f"statistics of {key!r} must have {', '.join(sorted(names))}, got {', '.join(sorted(entry))}")
    tables = [*(entry[part] for part in _PARTS), *entry["percentiles"].values()]
    bands = list(entry["mean"])
    if not bands or any(list(table) != bands for table in [*tables, entry["count"]]):
        raise ReadError(f"statistics of {key!r} are not all of the bands {', '.join(bands[:12])}")
    if not all(isinstance(value, (int, float)) for table in tables for value in table.values()):
        raise ReadError(f"statistics of {key!r} are not all numbers")
    return dict(entry)


def _check_split(found: Statistics, split: Split | None, path: str | Path) -> None:
    if split is not None and not isinstance(split, Split):
        raise SplitError(f"split is {type(split).__name__}, wanted a Split, or None for statistics of all rows")
    wanted = None if split is None else split.digest
    part = found.about["part"]
    if found.split == wanted and (split is None or part == "train" or "train" not in split):
        return
    mine = "all rows" if found.split is None else f"{part!r} of the split {found.split[:12]}"
    theirs = "no split was given" if wanted is None else f"the split given is {wanted[:12]}"
    if found.split == wanted:
        theirs = "that split has a part 'train'"
    raise SplitError(
        f"{path} holds statistics of {mine}, and {theirs}; take them of the part that is trained on, or say force=True if "
        "what they know of the rest does no harm"
    )
