"""A page of documentation for each published dataset, made from its declaration and from its look-alike."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from geodata.datasets import ArchiveDataset, registry
from geodata.datasets.archive import Common
from geodata.errors import CatalogError, NoFilesError
from geodata.spec import Array, Boxes, Classes, Content, DatasetSpec, Image, Label, Mask
from geodata.view.page_tables import bands_text, classes_text, number, plain, table

__all__ = ["index", "page", "write_pages"]

MADE = "<!-- Made by `make dataset-pages` from the declaration; edit that, not this. -->"


def page(name: str) -> str:
    """Return the page of one dataset as Markdown.

    It writes the look-alike of the dataset into a temporary folder, to show what a sample really holds.

    Parameters
    ----------
    name : as in `geodata.datasets.list`

    Raises
    ------
    CatalogError
        If there is no such dataset; it names the nearest.
    """
    cls = registry.get(name)
    spec = cls.spec
    with TemporaryDirectory() as folder:
        root = Path(folder) / spec.name
        root.mkdir()
        cls.fake(root)
        ds, split = _opened(cls, root)
        sample = ds[0]
        parts = [
            [MADE, f"# {spec.title}", *_said(cls), _facts(cls)],
            ["## Open it", _example(cls, split, sample)],
            ["## A sample", _keys(spec, ds, sample), AROUND],
            ["## Options", *_options(cls)],
            *([f"## Bands of `{c.key}`", *bands_text(c.bands)] for c in spec.contents if isinstance(c, Image)),
            *([f"## Classes of {keys}", *classes_text(classes)] for keys, classes in _tables(spec)),
            ["## Splits", _splits(spec)],
            ["## Get it", *_sources(cls)],
            ["## Expected below the root", f"```text\n{spec.tree}\n```"],
            ["## Traps", "\n".join(f"- {plain(trap)}" for trap in spec.traps)] if spec.traps else [],
            ["## Cite", plain(spec.citation)],
        ]
    return "\n\n".join(text for part in parts for text in part) + "\n"


def index() -> str:
    """Return a table of all published datasets, with links to their pages."""
    rows = []
    for name in _names():
        cls = registry.get(name)
        spec = cls.spec
        splits = ", ".join(spec.splits) or "none"
        held = "; ".join(_short(c) for c in spec.contents)
        rows.append((f"[{name}]({name}.md)", f"`{cls.__name__}`", held, number(spec.items), splits, spec.licence))
    head = ("name", "class", "a sample holds", "items", "splits", "licence")
    return f"{MADE}\n\n# Datasets\n\n{INTRODUCTION}\n\n{table(head, rows)}\n"


def write_pages(folder: Path) -> list[Path]:
    """Write the page of every dataset and the table of all, and remove pages of datasets that are no more.

    Parameters
    ----------
    folder : where they go; it is made if need be

    Returns
    -------
    list of Path
        The files written, sorted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {f"{name}.md": page(name) for name in _names()} | {"index.md": index()}
    for file, text in texts.items():
        beside = folder / f".{file}.new"
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, folder / file)
    for old in folder.glob("*.md"):
        if old.name not in texts and old.read_text(encoding="utf-8").startswith(MADE):
            old.unlink()
    return sorted(folder / file for file in texts)


INTRODUCTION = """\
Published archives that `geodata.datasets` reads as they were published. `datasets.get("eurosat")` is the class of a name. Each
page is made from the declaration of its dataset. One more dataset takes [40 lines](../add-a-dataset.md)."""

AROUND = """\
Each image has its `valid` (H, W) bool and its `bands`, and every sample `grid`, `time`, `key`, `query` and `draw`: see
[dataset](../dataset.md). `dtype=None` reads images as stored; `scale` is never applied, see [bands](../bands.md)."""


def _names() -> list[str]:
    """Return the datasets of this package; those that a user declared have no page here."""
    return [name for name in registry.list() if _is_ours(registry.get(name))]


def _opened(cls: type[ArchiveDataset], root: Path) -> tuple[ArchiveDataset, str | None]:
    """Open a look-alike, with the first of its splits that has items."""
    for split in cls.spec.splits:
        try:
            return cls(root, split=split, progress=False), split
        except (CatalogError, NoFilesError):
            continue  # a look-alike of a few items need not have some in each part
    return cls(root, progress=False), None


# ---------------------------------------------------------------------- sections


def _said(cls: type[ArchiveDataset]) -> list[str]:
    """Return the docstring up to its sections, and what that of a class it is made from adds."""
    first, *rest = _prose(cls)
    shared = [(base, text) for base in _bases(cls)[1:] for text in _prose(base)[1:]]
    return [first, plain(cls.spec.about), *rest, *(f"Every `{base.__name__}`: {text}" for base, text in shared)]


def _bases(cls: type[ArchiveDataset]) -> list[type]:
    """Return a class and what it is made from, up to what all archives share."""
    return [base for base in cls.__mro__ if issubclass(base, ArchiveDataset) and base is not ArchiveDataset]


def _prose(cls: type) -> list[str]:
    text = re.split(r"\n\n[^\n]+\n-{3,}\n", inspect.cleandoc(cls.__doc__ or cls.__name__))[0]
    return [plain(paragraph) for paragraph in text.split("\n\n")]


def _facts(cls: type[ArchiveDataset]) -> str:
    spec = cls.spec
    rows = [
        ("class", f"`{_module(cls)}.{cls.__name__}`"),
        ("name", f"`{spec.name}`"),
        ("items", number(spec.items)),
        ("splits", ", ".join(spec.splits) or "none"),
        ("licence", spec.licence),
        ("home", f"<{spec.home}>"),
    ]
    return table(("what", "as published"), rows)


def _example(cls: type[ArchiveDataset], split: str | None, sample: Mapping[str, Any]) -> str:
    """Return code that opens a look-alike; the tests run it."""
    part = "" if split is None else f', split="{split}"'
    key = next(c.key for c in cls.spec.contents if c.key in sample)
    return f"""\
```python
from pathlib import Path

from {_module(cls)} import {cls.__name__}

root = Path("{cls.spec.name}_look_alike")  # with your own copy: its folder, without the next two lines
root.mkdir()
{cls.__name__}.fake(root)  # made-up pixels in the layout of the archive, fewer and often smaller
ds = {cls.__name__}(root{part})
sample = ds[0]
assert tuple(sample["{key}"].shape) == {tuple(sample[key].shape)}
```

`geodata check {cls.spec.name} FOLDER` looks at a copy of yours: what is there, what is missing, which file is bad."""


def _module(cls: type) -> str:
    return "geodata.datasets" if _is_ours(cls) else cls.__module__


def _is_ours(cls: type) -> bool:
    return cls.__module__.startswith("geodata.")


def _keys(spec: DatasetSpec, ds: ArchiveDataset, sample: Mapping[str, Any]) -> str:
    size = next((c.shape for c in spec.contents if isinstance(c, Image) and c.size is None), None)
    rows = []
    for content in (c for c in spec.contents if c.key in sample):
        beside = [key for key in ("box_labels", "corners") if key in sample] if isinstance(content, Boxes) else []
        for key in (content.key, *beside):
            dtype = str(sample[key].dtype).removeprefix("torch.")
            about = content.about if key == content.key else f"of `{content.key}`"
            rows.append((f"`{key}`", _shape(content, size, sample[key]), dtype, _stored(content, ds), about))
    return table(("key", "shape", "dtype", "stored as", "what"), rows)


def _shape(content: Content, size: tuple[int, int] | None, value: Any) -> str:
    """Return the shape as published; letters where it varies."""
    shape = [str(n) for n in value.shape]
    if isinstance(content, Boxes):
        shape[0] = "N"
    elif isinstance(content, (Image, Mask)):
        of = content.shape if isinstance(content, Image) else size if content.size is None else None
        shape[-2:] = ("H", "W") if of is None else map(str, of)
        shape[:-2] = ["C"] if isinstance(content, Image) and not len(content.bands) else shape[:-2]
    elif isinstance(content, Array) and content.shape:
        shape = content.shape.split(", ")
    return f"({', '.join(shape)}{',' if len(shape) == 1 else ''})"


def _stored(content: Content, ds: ArchiveDataset) -> str:
    if not isinstance(content, (Image, Mask)):
        return ""
    names = {content.band} if isinstance(content, Mask) else set(content.bands.names)
    assets = ds.catalog.assets
    return ", ".join(sorted({a.dtype for a in assets if names & set(a.bands.names)}))


def _options(cls: type[ArchiveDataset]) -> list[str]:
    """Return the arguments that the docstrings of a class and of what it is made from describe."""
    found: dict[str, str] = {}
    for base in _bases(cls):
        for names, kind, text in _parameters(base.__doc__ or ""):
            if not kind.startswith("as in"):
                for name in (n for n in names.split(", ") if n not in {"root", "common"}):
                    found.setdefault(name, f"- `{name}`: {plain(kind)}. {plain(text)}".strip())
    shared = f"All datasets take {', '.join(f'`{name}`' for name in Common.__annotations__)}."
    return ["\n".join(found.values()), shared] if found else [shared]


def _parameters(doc: str) -> Iterator[tuple[str, str, str]]:
    """Yield names, kind and description of the parameters of a docstring."""
    section = re.search(r"\nParameters\n-+\n(.*?)(?=\n\n[^\n]+\n-{3,}\n|\Z)", inspect.cleandoc(doc), re.DOTALL)
    entries = re.split(r"\n(?=\S)", section[1]) if section else []
    for entry in entries:
        head, _, text = entry.partition("\n")
        names, _, kind = head.partition(" : ")
        yield names, kind, inspect.cleandoc(text)


def _tables(spec: DatasetSpec) -> list[tuple[str, Classes]]:
    """Return each table of classes once, with the keys that it is of."""
    held = [c for c in spec.contents if isinstance(c, (Mask, Label, Boxes)) and c.classes is not None]
    found: list[Classes] = []
    for content in held:
        if content.classes is not None and content.classes not in found:
            found.append(content.classes)
    return [(" and ".join(f"`{c.key}`" for c in held if c.classes == classes), classes) for classes in found]


def _splits(spec: DatasetSpec) -> str:
    if not spec.splits:
        return "None was published."
    return f"`split=` is one or several of {', '.join(f'`{s}`' for s in spec.splits)}; without it all rows are read."


def _sources(cls: type[ArchiveDataset]) -> list[str]:
    spec = cls.spec
    files = [part for source in spec.sources for part in (source.parts or (source,))]
    how = f"Bring your own copy, from <{spec.home}>."
    if spec.downloadable or (files and all(file.urls for file in files)):
        how = f"`{cls.__name__}.download(root)`, or `download=True` when it is opened."
    rows = [
        (f"[{f.file}]({f.urls[0]})" if f.urls else f.file, (f.checksum or "none published").partition(":")[0])
        for f in files
    ]
    return [how, table(("file", "checksum"), rows)] if rows else [how]


def _short(content: Content) -> str:
    """Return one thing of a sample in a few words, for the table of all datasets."""
    if not isinstance(content, Image):
        return f"`{content.key}`"
    bands = f"{len(content.bands)} x " if len(content.bands) else ""
    size = " x ".join(map(str, content.shape)) if content.shape else "H x W"
    return f"`{content.key}` {bands}{size}, {content.about.partition(';')[0]}"
