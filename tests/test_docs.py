"""Run what the documentation shows: every python block of README.md and docs/*.md, and every example in a docstring.

The blocks of a page run in order, in one fresh namespace and in a folder that holds what the pages speak of (see `shown`).
An HTML comment on the line before a block changes that:

    <!-- not run: reason -->     the block is not run; the reason is part of the page's source
    <!-- needs realdata -->      run only where the real files are; they stand under `realdata/`
    <!-- raises: BandsError -->  the block ends with this error
"""

from __future__ import annotations

import doctest
import importlib
import re
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fiona
import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

import geodata
import geodata.errors

PROJECT = Path(__file__).resolve().parents[1]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]
PACKAGE = Path(geodata.__file__).parent
FENCE = re.compile(r"^( *(?:(?:[-*]|\d+\.) +)?)(`{3,})(.*)$")
COMMENT = re.compile(r"<!--\s*(not run|needs|raises)\b\s*:?\s*(.*?)\s*-->")


@dataclass(frozen=True)
class Block:
    """One python block of a page and what its comment asks for: "", "not run", "needs" or "raises"."""

    line: int
    code: str
    rule: str = ""
    word: str = ""


def blocks(text: str) -> Iterator[Block]:
    """Yield the python blocks of a page."""
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        fence = FENCE.match(lines[at])
        at += 1
        if fence is None:
            continue
        indent, ticks, language = " " * len(fence[1]), fence[2], fence[3].strip().partition(" ")[0]
        start = at
        while at < len(lines) and lines[at].strip() != ticks:
            at += 1
        if at == len(lines):
            raise ValueError(f"the block that opens on line {start} is never closed")
        if language in {"python", "py"}:
            before = next((line for line in reversed(lines[: start - 1]) if line.strip()), "")
            comment = COMMENT.search(before)
            code = "\n".join(line.removeprefix(indent) for line in lines[start:at])
            yield Block(start + 1, code, *((comment[1], comment[2]) if comment else ()))
        at += 1


def run_block(block: Block, page: Path, namespace: dict[str, Any]) -> None:
    """Run one block so that a traceback shows the page and its line."""
    code = compile("\n" * (block.line - 1) + block.code, str(page), "exec")
    expected = pytest.raises(getattr(geodata.errors, block.word)) if block.rule == "raises" else nullcontext()
    with expected:
        exec(code, namespace)


def write_scene(path: Path, *, crs: str, left: float, top: float, seed: int, date: str) -> None:
    """Write four bands of 512 x 512 pixels of 10 m, uint16, with names, a date and a few pixels without data."""
    rng = np.random.default_rng(seed)
    data = rng.integers(200, 4000, (4, 512, 512), dtype=np.uint16)
    data[:, :20, :30] = 0
    transform = from_origin(left, top, 10, 10)
    shape = {"count": 4, "height": 512, "width": 512, "dtype": "uint16"}
    with rasterio.open(path, "w", driver="GTiff", crs=crs, transform=transform, nodata=0, tiled=True, **shape) as scene:
        scene.write(data)
        scene.descriptions = ("B02", "B03", "B04", "B08")
        scene.update_tags(TIFFTAG_DATETIME=f"{date.replace('-', ':')} 10:00:00")


def write_fields(path: Path, *, crs: str, left: float, top: float) -> None:
    """Write 10 x 10 square fields of 480 m over the first scene, with their crop as text."""
    schema = {"geometry": "Polygon", "properties": {"crop": "str", "area": "float"}}
    with fiona.open(path, "w", driver="GPKG", crs=crs, schema=schema, layer="fields") as layer:
        for k in range(100):
            x, y = left + 512 * (k % 10), top - 512 * (k // 10)
            ring = [(x, y), (x + 480, y), (x + 480, y - 480), (x, y - 480), (x, y)]
            crop = ("barley", "maize", "wheat")[(k + k // 10) % 3]
            layer.write(
                {"geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {"crop": crop, "area": 23.04}}
            )


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages speak of: scenes/ (two scenes in two UTM zones) and fields.gpkg."""
    folder = tmp_path_factory.mktemp("shown")
    (folder / "scenes").mkdir()
    write_scene(
        folder / "scenes/a_2020-05-03.tif", crs="EPSG:32632", left=700000, top=5400000, seed=1, date="2020-05-03"
    )
    write_scene(
        folder / "scenes/b_2020-06-12.tif", crs="EPSG:32633", left=300000, top=5400000, seed=2, date="2020-06-12"
    )
    write_fields(folder / "fields.gpkg", crs="EPSG:32632", left=700000, top=5400000)
    return folder


@pytest.fixture
def place(shown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own to write in, with links to what is shown."""
    for path in shown.iterdir():
        (tmp_path / path.name).symlink_to(path, target_is_directory=path.is_dir())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(PROJECT).as_posix())
def test_page(page: Path, place: Path, request: pytest.FixtureRequest) -> None:
    namespace: dict[str, Any] = {"__name__": "__page__"}
    absent = ""
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.rule == "needs" and not absent:
            absent = link_realdata(place, request)
        if block.rule != "not run" and not (block.rule == "needs" and absent):
            run_block(block, page, namespace)
    if absent:
        pytest.skip(f"all but the blocks on real files ran: {absent}")


def link_realdata(place: Path, request: pytest.FixtureRequest) -> str:
    """Put the real files under realdata/; the reason if there are none."""
    try:
        files = request.getfixturevalue("realdata")
    except pytest.skip.Exception as reason:
        return str(reason)
    if not (place / "realdata").exists():
        (place / "realdata").symlink_to(files, target_is_directory=True)
    return ""


def test_every_comment_is_understood() -> None:
    for page in PAGES:
        for block in blocks(page.read_text(encoding="utf-8")):
            place = f"{page.name}:{block.line}"
            assert block.rule != "not run" or len(block.word) > 10, f"{place}: say why it is not run"
            assert block.rule != "needs" or block.word == "realdata", f"{place}: needs what?"
            assert block.rule != "raises" or hasattr(geodata.errors, block.word), f"{place}: no such error"


def modules() -> list[str]:
    names = [path.relative_to(PACKAGE.parent).with_suffix("").parts for path in sorted(PACKAGE.rglob("*.py"))]
    return [".".join(part for part in name if part != "__init__") for name in names if name[-1] != "__main__"]


@pytest.mark.parametrize("name", modules())
def test_docstrings(name: str, place: Path) -> None:
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for test in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name)):
        runner.run(test, out=report.append)
    assert not runner.failures, "\n".join(report)


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


PAGE = """\
text
```python
x = 1
```
<!-- not run: needs a network -->
```python
x = undefined
```
```console
$ x = 3
```
<!-- raises: GridError -->
```python
import geodata.grid
geodata.grid.check_res(-1)
```
<!-- needs realdata -->

- ```python
  x += 1
  ```

   ~~~
   no block
"""


def test_blocks_of_a_page() -> None:
    found = list(blocks(PAGE))
    assert [(block.line, block.rule, block.word) for block in found] == [
        (3, "", ""),
        (7, "not run", "needs a network"),
        (14, "raises", "GridError"),
        (20, "needs", "realdata"),
    ]
    namespace: dict[str, Any] = {}
    run_block(found[0], Path("page.md"), namespace)
    run_block(found[2], Path("page.md"), namespace)
    run_block(found[3], Path("page.md"), namespace)
    assert namespace["x"] == 2


def test_a_wrong_block_is_seen() -> None:
    with pytest.raises(NameError, match="undefined"):
        run_block(list(blocks(PAGE))[1], Path("page.md"), {})
    with pytest.raises(pytest.fail.Exception):
        run_block(Block(1, "x = 1", "raises", "GridError"), Path("page.md"), {})
    with pytest.raises(geodata.errors.GridError):
        run_block(Block(1, "import geodata.grid; geodata.grid.check_res(-1)", "raises", "CRSError"), Path("p.md"), {})
    with pytest.raises(ValueError, match="never closed"):
        list(blocks("```python\nx = 1\n"))
