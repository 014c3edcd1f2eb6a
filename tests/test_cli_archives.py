"""The commands on published datasets."""

import json
from pathlib import Path

import pytest

from geodata import cli
from geodata.datasets import registry
from geodata.download import Source


@pytest.fixture
def run(capsys):
    def call(*arguments):
        code = cli.run([str(a) for a in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_list_shows_every_dataset_and_matches_patterns(run):
    code, out, _ = run("list", "--json")
    names = [fact["name"] for fact in json.loads(out)]
    assert (
        code == 0
        and names == registry.list()
        and {"reben", "spectral_earth", "pcb_vision", "dior", "samson"} <= set(names)
    )
    assert [f["name"] for f in json.loads(run("list", "*earth*", "--json")[1])] == ["spectral_earth"]
    assert "480,038" in run("list")[1]
    code, _, err = run("list", "nothing*")
    assert code == 1 and "no dataset matches" in err


def test_info_of_a_name(run):
    code, out, _ = run("info", "reben")
    assert code == 0 and "CDLA-Permissive-1.0" in out and "validation" in out and "arXiv:2407.03653" in out
    facts = json.loads(run("info", "reben", "--json")[1])
    assert facts["class"] == "ReBEN" and facts["keys"] == ["image", "image_s1", "mask", "label"]


def test_a_file_that_is_called_like_a_dataset_comes_first(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("reben").mkdir()
    code, _, err = run("info", "reben")
    assert code == 1 and "no raster in" in err


def test_fake_and_check(run, tmp_path):
    root = tmp_path / "dior"
    assert run("fake", "dior", root, "--items", 6)[0] == 0
    code, out, _ = run("check", "DIOR", root, "--json")
    report = json.loads(out)
    assert code == 0 and report["good"] and not report["complete"]
    assert report["items"] == 6 and sum(report["splits"].values()) == 6 and report["read"] == 6
    code, _, err = run("fake", "dior", root)
    assert code == 1 and "is not empty" in err


def test_check_names_what_is_missing_and_what_is_bad(run, tmp_path):
    root = tmp_path / "dior"
    run("fake", "dior", root, "--items", 6)
    assert run("check", "dior", root)[0] == 0
    pictures = sorted(root.glob("JPEGImages-*/*.jpg"))
    gone, torn = pictures[0], pictures[-1]
    gone.unlink()
    (root / "Annotations" / "Horizontal Bounding Boxes" / f"{torn.stem}.xml").write_text("<annotation>")
    code, out, _ = run("check", "dior", root, "--json")
    report = json.loads(out)
    assert code == 1 and not report["good"] and "only partly extracted" in report["problem"]
    assert report["missing"] == 1 and report["first_missing"] == gone.stem
    assert report["unreadable"] == 1 and report["bad"][0]["item"] == torn.stem and "xml" in report["bad"][0]["error"]
    assert torn.stem in run("check", "dior", root, "--every")[1]


def test_check_of_a_wrong_folder(run, tmp_path):
    code, out, _ = run("check", "reben", tmp_path, "--json")
    report = json.loads(out)
    assert code == 1 and "does not hold metadata.parquet" in report["problem"] and report["items"] == 0


def test_a_name_that_is_none(run, tmp_path):
    code, _, err = run("fake", "reban", tmp_path / "x")
    assert code == 1 and "did you mean" in err and "reben" in err


def test_download_of_what_must_be_brought(run, tmp_path):
    code, _, err = run("download", "pcb_vision", tmp_path / "x")
    assert code == 1 and "brought" in err and "HSI/pcb" in err and "zenodo" in err


def test_download_gets_what_the_declaration_names(run, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("geodata.download.download", lambda sources, root, progress=True: asked.append((sources, root)))
    code, out, _ = run("download", "reben", tmp_path / "x")
    assert code == 0 and "is complete" in out
    ((sources, root),) = asked
    assert root == tmp_path / "x" and all(isinstance(s, Source) for s in sources) and len(sources) == 5
