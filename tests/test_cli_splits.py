"""The commands split and audit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from makers import north_up, write_tif
from patches import patches

from geodata import cli, splits
from geodata.splits import Split


@pytest.fixture
def run(capsys):
    def call(*arguments):
        code = cli.run([str(a) for a in arguments])
        said = capsys.readouterr()
        return code, said.out, " ".join(said.err.split())

    return call


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return patches().save(tmp_path_factory.mktemp("cli") / "c.parquet")


BLOCKS = ("--size", "30km", "--fractions", "train=.7,val=.15,test=.15", "--stratify", "labels", "--buffer", "2km")


def test_split_writes_what_the_function_makes(run, table, tmp_path):
    code, out, _ = run("split", table, "--method", "blocks", *BLOCKS, "--seed", 3, "-o", tmp_path / "s.parquet")
    split = Split.load(tmp_path / "s.parquet")
    wanted = splits.blocks(
        patches(),
        size="30km",
        fractions={"train": 0.7, "val": 0.15, "test": 0.15},
        stratify="labels",
        buffer="2km",
        seed=3,
    )
    assert code == 0 and split.digest == wanted.digest and wanted.digest[:12] in out and "dropped" in out


def test_split_says_it_in_json_and_draws(run, table, tmp_path):
    code, out, _ = run("split", table, *BLOCKS, "-o", tmp_path / "s.csv", "--show", tmp_path / "m.png", "--json")
    facts = json.loads(out)
    assert code == 0 and sum(facts["counts"].values()) == 400 and facts["recipe"]["method"] == "blocks"
    assert (tmp_path / "m.png").read_bytes()[:4] == b"\x89PNG"
    assert splits.predefined(patches(), tmp_path / "s.csv").digest == facts["digest"]


def test_folds_and_regions(run, table, tmp_path):
    out = tmp_path / "k.parquet"
    assert run("split", table, "--size", "20km", "--folds", 4, "-o", out)[0] == 0
    assert Split.load(out).parts == ("fold0", "fold1", "fold2", "fold3")
    assert run("split", table, "--size", "20km", "--folds", 4, "--fold", 2, "-o", out)[0] == 0
    assert Split.load(out).parts == ("train", "test")
    given = ("--method", "regions", "--regions", "country", "--overlap", "allow", "--fold", "Austria")
    assert run("split", table, *given, "-o", out)[0] == 0
    assert set(Split.load(out)["test"]) == set(patches().where(country="Austria").key)


def test_scenes_are_cut_first(run, tmp_path):
    write_tif(tmp_path / "a.tif", np.ones((1, 64, 64), np.uint8), north_up())
    given = ("--tile", 16, "--size", "320m", "--fractions", "train=.5,test=.5", "-o", tmp_path / "s.parquet")
    assert run("split", tmp_path / "a.tif", *given)[0] == 0
    assert len(Split.load(tmp_path / "s.parquet").key) == 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "time", "--size", "3km"), "--size is no option of time; it has --fractions, --gap"),
        (("--method", "cells"), "cells needs --cell, --fractions"),
        (("--method", "magic"), "--method 'magic' must be one of blocks, cells"),
        (("--size", "3km", "--fractions", "train"), "--fractions 'train' must be like"),
        (("--method", "ring", "--folds", 3), "folds are made by a method with fractions, not by ring"),
        (("--size", "3km", "--fractions", "train=.7,test=.2"), "sum to 0.9, wanted 1"),
    ],
)
def test_wrong_calls_say_what_is_right(run, table, tmp_path, arguments, message):
    code, _, err = run("split", table, *arguments, "-o", tmp_path / "s.parquet")
    assert code in (1, 2) and message in err and not (tmp_path / "s.parquet").exists()


def test_audit_decides_by_its_exit_code(run, table, tmp_path):
    out = tmp_path / "s.parquet"
    run("split", table, *BLOCKS, "-o", out)
    code, said, _ = run("audit", table, out, "--labels", "labels", "--min-distance", "2km")
    assert code == 0 and "holds" in said
    code, said, _ = run("audit", table, out, "--min-distance", "50km", "--json", "-o", tmp_path / "a.json")
    report = json.loads(said)
    assert (
        code == 1 and report["verdict"].startswith("leaks") and json.loads((tmp_path / "a.json").read_text()) == report
    )
    code, said, _ = run("audit", table, out, "--ids", "scene,country")
    assert code == 1 and "scene" in said
    assert run("audit", out, "--min-distance", "2km")[0] == 0, "a split file alone is enough"


def test_audit_takes_columns_and_lists(run, table, tmp_path):
    code, said, _ = run("audit", table, "country", "--train", "Austria", "--json")
    assert code == 1 and "overlap" in json.loads(said)["verdict"]
    splits.blocks(patches(), size="30km", fractions={"train": 0.5, "test": 0.5}).save(tmp_path / "{}.txt")
    assert run("audit", table, tmp_path / "{}.txt")[0] == 0
    code, _, err = run("audit", table, "nothing")
    assert code == 1 and "is no column" in err


def test_a_published_dataset_needs_a_root(run, tmp_path):
    code, _, err = run("split", "eurosat", "--size", "3km", "--fractions", "a=.5,b=.5", "-o", tmp_path / "s.parquet")
    assert code == 2 and "--root" in err
    assert run("fake", "eurosat", tmp_path / "euro", "--items", 8)[0] == 0
    given = ("--root", tmp_path / "euro", "--method", "hash", "--fractions", "a=.5,b=.5")
    assert run("split", "eurosat", *given, "-o", tmp_path / "s.parquet")[0] == 0
    assert Split.load(tmp_path / "s.parquet").catalog.dataset[0] == "eurosat"


def test_a_table_of_rows_is_enough(run, realdata, tmp_path):
    given = ("--root", realdata / "reben", "--method", "ring", "-o", tmp_path / "s.parquet", "--json")
    code, out, _ = run("split", "reben", *given)
    facts = json.loads(out)
    assert code == 0 and facts["counts"] == {"train": 237_871, "validation": 122_342, "test": 119_825}
    assert facts["digest"] == "4439ddd6094a2ae181bdf9cf5418bca105a2e663c71082588d8b29ff00e42bf7"
