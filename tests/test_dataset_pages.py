"""The pages of docs/datasets/ are what the declarations and look-alikes of the datasets give now.

After a change of a dataset run `make dataset-pages`, read the difference and commit it with the change.
"""

from __future__ import annotations

import difflib
import re
import sys
from pathlib import Path

import pytest

from geodata.bands import Band, Bands
from geodata.datasets import registry
from geodata.errors import CatalogError
from geodata.spec import Classes
from geodata.view.page_tables import bands_text, classes_text, table
from geodata.view.pages import index, page, write_pages

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "datasets"
NAMES = [name for name in registry.list() if registry.get(name).__module__.startswith("geodata.")]
UPDATE = "if the change is meant, run `make dataset-pages` and commit docs/datasets/"


def compare(file: str, found: str) -> None:
    path = FOLDER / file
    written = path.read_text(encoding="utf-8") if path.is_file() else ""
    difference = difflib.unified_diff(written.splitlines(), found.splitlines(), "written", "found", lineterm="", n=0)
    shown = "\n".join(difference)
    assert not shown, f"docs/datasets/{file} is not what its declaration gives; {UPDATE}\n{shown}"


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_as_declared(name: str) -> None:
    compare(f"{name}.md", page(name))


def test_the_table_of_all_is_as_declared() -> None:
    compare("index.md", index())


def test_every_dataset_has_a_page_and_a_row() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.md")) == sorted([*NAMES, "index"]), UPDATE
    rows = re.findall(r"^\| \[(\w+)\]\((\w+)\.md\) \|", (FOLDER / "index.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [(name, name) for name in NAMES], UPDATE


def test_no_page_names_a_path_of_a_machine() -> None:
    for path in FOLDER.glob("*.md"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(?<![\w.:/<-])/(tmp|home|root|work|var|usr|mnt|private)/|[A-Z]:\\", text), path.name


def test_a_page_holds_what_the_declaration_says() -> None:
    text, spec = page("reben"), registry.get("reben").spec
    for said in (spec.title, spec.about, spec.licence, spec.citation, spec.home, spec.tree, *spec.traps, *spec.splits):
        assert said in text, said
    assert "| 2 | Arable land | `#ffffa8` | 188,025 | 211-213 |" in text
    assert "| B8A | nir08 | 864.7 | 21 | 20 | reflectance | 0.0001 |" in text
    assert "| `image` | (12, 120, 120) | float32 | uint16 |" in text
    assert "| `mask` | (120, 120) | int64 | uint16 |" in text
    assert "- `excluded`: bool. Take in the 69,450 patches" in text
    assert "[metadata.parquet](https://zenodo.org/records/10891137/files/metadata.parquet) | md5 |" in text


def test_a_dataset_takes_40_lines() -> None:
    text = (FOLDER.parent / "add-a-dataset.md").read_text(encoding="utf-8")
    block = next(block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "(ArchiveDataset)" in block)
    assert len([line for line in block.splitlines() if line.strip()]) <= 40
    assert all(f"def {name}(" in block for name in ("index", "fake")) and "spec = DatasetSpec(" in block


def test_a_page_of_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(CatalogError, match="did you mean reben"):
        page("rebem")


def test_many_bands_are_cut_and_their_gaps_named() -> None:
    waves = [*range(400, 500, 10), *range(800, 950, 10)]
    said, rows = bands_text(Bands(Band(f"B{i}", wavelength=float(w), gsd=30) for i, w in enumerate(waves)))
    assert said == "25 bands, 400 to 940 nm; none from 490 to 800 nm."
    assert rows.splitlines()[0] == "| band | wavelength (nm) | GSD (m) |"
    assert [row.split(" | ")[0] for row in rows.splitlines()[2:]] == [
        "| B0",
        "| B1",
        "| B2",
        "| ...",
        "| B22",
        "| B23",
        "| B24",
    ]


def test_bands_without_wavelengths_are_named_by_channel() -> None:
    said, names = bands_text(Bands(str(n) for n in range(1, 31) if n not in {4, 5, 6, 9}))
    assert said.endswith("names are numbers of channels, without 4-6, 9.") and "not declared" in said
    assert names == "Called 1, 2, 3 ... 30."
    assert bands_text(Bands(["VV", "VH"])) == ["Called VV, VH."]


def test_wavelengths_out_of_order_are_said() -> None:
    waves = [*range(400, 600, 10), *range(585, 700, 10)]
    said, _ = bands_text(Bands(Band(f"B{i}", wavelength=float(w)) for i, w in enumerate(waves)))
    assert said == "32 bands, 400 to 695 nm; no gaps; wavelengths do not ascend throughout."


def test_classes_show_stored_numbers_where_they_differ() -> None:
    same = classes_text(Classes(("a", "b"), codes={0: 0, 1: 1}))
    assert same == ["| class | name |\n| --- | --- |\n| 0 | a |\n| 1 | b |"]
    other = classes_text(Classes(("a", "b"), ("#000000", "#ffffff"), {10: 0, 11: 0, 12: 0, 20: 1, 0: -1}, (1000, 2)))
    assert other[0].splitlines()[2:] == ["| 0 | a | `#000000` | 1,000 | 10-12 |", "| 1 | b | `#ffffff` | 2 | 20 |"]
    assert other[1:] == ["Stored numbers of no class: 0."]
    many = classes_text(Classes(tuple(f"c{i}" for i in range(70))))
    assert len(many[0].splitlines()) == 42 and many[1] == "And 30 more."


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert table(("a",), [("b|c",)]).splitlines()[2] == "| b\\|c |"


def test_pages_of_datasets_that_are_no_more_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geodata.view.pages._names", lambda: ["samson"])
    written = write_pages(tmp_path)
    assert [path.name for path in written] == ["index.md", "samson.md"]
    (tmp_path / "gone.md").write_text((tmp_path / "samson.md").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "notes.md").write_text("# Notes of a person\n", encoding="utf-8")
    write_pages(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.md", "notes.md", "samson.md"]


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(f"usage: python {Path(__file__).name} --write")
    sys.stdout.write(f"wrote docs/datasets/: {len(write_pages(FOLDER))} pages\n")
