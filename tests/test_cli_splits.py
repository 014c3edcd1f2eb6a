"""The commands split and audit."""

from __future__ import annotations

import functools
import json
import sys
import warnings

import numpy as np
import pytest
from makers import north_up, write_tif
from patches import loose, patches

from geodata import cli, splits
from geodata.catalog import Catalog
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
    assert run("audit", tmp_path / "a.tif", tmp_path / "s.parquet", "--tile", 16)[0] == 0
    code, _, err = run("audit", tmp_path / "a.tif", tmp_path / "s.parquet")
    assert code == 1 and "cut the scenes into the same tiles first" in err


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


# ---------------------------------------------------------------------- what comes on which stream

FEW = ("--size", "150km", "--overlap", "allow", "--fractions", "train=.7,val=.15,test=.15")


def test_a_warning_is_one_line_and_leaves_the_json_alone(capsys, table, tmp_path):
    given = ["--method", "random", "--overlap", "allow", "--fractions", "train=.5,test=.5", "--json"]
    assert cli.run(["split", str(table), *given, "-o", str(tmp_path / "s.parquet")]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["counts"] == {"train": 200, "test": 200}
    (line,) = said.err.strip().splitlines()
    assert line.startswith("Warning: ") and ".py" not in line and "SplitWarning" not in line


def test_warnings_do_not_stop_a_split(run, table, tmp_path):
    code, out, err = run("split", table, *FEW, "-o", tmp_path / "s.parquet")
    assert code == 0 and "Warning: " in err and "of the rows, wanted" in err and "Warning" not in out


def test_other_warnings_stay_what_they_are(run, table, tmp_path, monkeypatch):
    made = splits.hash

    def odd(*given, **options):
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        return made(*given, **options)

    monkeypatch.setattr(splits, "hash", functools.wraps(made)(odd))
    with pytest.warns(DeprecationWarning, match="old"):
        assert run("split", table, "--method", "hash", "--fractions", "a=.5,b=.5", "-o", tmp_path / "s.csv")[0] == 0


# ---------------------------------------------------------------------- parts that are not called train


def test_folds_are_audited_each_against_the_rest(run, tmp_path):
    catalog = patches(40)
    # The last two lie upon each other, in folds of which none is the first.
    rows = np.append(np.arange(39), 38)
    twins = Catalog.from_columns(
        key=[f"k{i}" for i in range(40)], affine=catalog.affine[rows], shape=catalog.shape[rows], crs=catalog.crs[rows]
    )
    code = np.arange(40) % 2
    code[38:] = [2, 3]
    Split(twins, code.astype(np.int16), ("a", "b", "c", "d")).save(tmp_path / "s.parquet")
    code, out, _ = run("audit", tmp_path / "s.parquet", "--json")
    assert code == 1 and "of c (100.0%) overlap the rest" in json.loads(out)["verdict"]
    assert json.loads(out)["train"] == "the rest"


def test_a_part_that_is_not_there_is_not_replaced(run, table):
    code, out, err = run("audit", table, "country", "--train", "Austira")
    assert code == 1 and not out and "no part 'Austira'; there are Austria, Bavaria, Czechia" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--size", "20km", "--folds", 12),
        ("--method", "regions", "--regions", "country", "--overlap", "allow"),
        ("--method", "hash", "--fractions", "a=.5,b=.5"),
    ],
)
def test_a_map_of_parts_of_any_name(run, table, tmp_path, arguments):
    code, _, err = run("split", table, *arguments, "-o", tmp_path / "s.parquet", "--show", tmp_path / "m.png")
    assert code == 0, err
    assert (tmp_path / "m.png").read_bytes()[:4] == b"\x89PNG"


def test_rows_without_a_place_are_drawn_too(run, tmp_path):
    table = loose().save(tmp_path / "c.parquet")
    given = ("--method", "hash", "--fractions", "train=.5,test=.5", "-o", tmp_path / "s.parquet")
    assert run("split", table, *given, "--show", tmp_path / "m.png")[0] == 0
    assert (tmp_path / "m.png").stat().st_size > 1_000
    code, out, _ = run("audit", tmp_path / "s.parquet")
    assert code == 0 and "nothing checked" in out
    code, _, err = run("audit", tmp_path / "s.parquet", "--min-distance", "5km")
    assert code == 1 and "must be in pixels" in err


def test_one_row_can_be_split_but_not_audited(run, tmp_path):
    table = patches(1).save(tmp_path / "c.parquet")
    given = ("--method", "predefined", "--source", "country", "-o", tmp_path / "s.parquet")
    assert run("split", table, *given)[0] == 0
    code, _, err = run("audit", tmp_path / "s.parquet")
    assert code == 1 and "one part, 'Austria', and nothing to compare" in err


def test_a_region_may_be_called_by_a_number(run, tmp_path):
    catalog = patches(60)
    names = [["12", "7", "3"][k % 3] for k in range(60)]
    zoned = Catalog.from_columns(
        key=list(catalog.key), affine=catalog.affine, shape=catalog.shape, crs=catalog.crs, columns={"zone": names}
    )
    table = zoned.save(tmp_path / "c.parquet")
    given = ("--method", "regions", "--regions", "zone", "--overlap", "allow", "--fold", "12")
    code, _, err = run("split", table, *given, "-o", tmp_path / "s.parquet")
    assert code == 0, err
    assert set(Split.load(tmp_path / "s.parquet")["test"]) == {
        k for k, n in zip(catalog.key, names, strict=True) if n == "12"
    }


# ---------------------------------------------------------------------- what is lacking


def test_a_split_alone_has_no_columns(run, table, tmp_path):
    out = tmp_path / "s.parquet"
    assert run("split", table, *BLOCKS, "-o", out)[0] == 0
    for option in ("--labels", "--ids"):
        code, _, err = run("audit", out, option, "scene")
        assert code == 2 and f"a split file has no columns for {option}; give the data too" in err


def test_columns_that_are_not_there(run, table):
    for option in ("--labels", "--ids"):
        code, out, err = run("audit", table, "country", option, "scnee")
        assert code == 1 and not out and "no column 'scnee'" in err
    code, out, _ = run("audit", table, "country", "--ids", "scene,", "--json")
    assert code == 1 and json.loads(out)["thresholds"]["ids"] == ["scene"]


@pytest.mark.parametrize(
    ("module", "arguments", "extra"),
    [
        ("scipy.spatial", ("audit", "{table}", "country"), "splits"),
        ("scipy.spatial", ("split", "{table}", *BLOCKS, "-o", "{out}"), "splits"),
        (
            "h3.api",
            ("split", "{table}", "--method", "cells", "--cell", "h3:4", "--fractions", "a=.5,b=.5", "-o", "{out}"),
            "splits",
        ),
        ("matplotlib.figure", ("audit", "{table}", "country", "--show", "{out}.png"), "plot"),
    ],
)
def test_what_is_not_installed_is_named(run, table, tmp_path, monkeypatch, module, arguments, extra):
    monkeypatch.setitem(sys.modules, module, None)
    out = tmp_path / "s.parquet"
    code, said, err = run(*(str(a).format(table=table, out=out) for a in arguments))
    assert code == 1 and f"geodata[{extra}]" in err and not said and "Traceback" not in err
    assert list(tmp_path.iterdir()) == []
