"""What was installed, what importing it costs, and the habits that every source file keeps."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

import geodata

PACKAGE = Path(geodata.__file__).parent
PROJECT = Path(__file__).resolve().parents[1]
SOURCES = sorted(PACKAGE.rglob("*.py"))

# Each is either optional or slow to import; `import geodata` must not pay for it. xarray is a requirement, but it brings
# pandas along, so it too is imported where it is used.
LAZY = (
    "dask",
    "distributed",
    "geopandas",
    "kornia",
    "lightning",
    "matplotlib",
    "odc",
    "pandas",
    "pyogrio",
    "pytorch_lightning",
    "rioxarray",
    "scipy",
    "sklearn",
    "torchvision",
    "xarray",
)
MAX_FILE_LINES = 350
MAX_FUNCTION_LINES = 50
# "file.py" or "file.py:function" -> why it may be longer. Tables of data belong in geodata/data instead.
LONG: dict[str, str] = {}


def python(code: str, cwd: Path) -> str:
    """Output of a fresh interpreter that sees the installed package and nothing of the test process."""
    run = subprocess.run([sys.executable, "-P", "-c", code], cwd=cwd, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def ids(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def imported_when_loaded(tree: ast.AST) -> Iterator[str]:
    """Top-level names of the packages that run when a module is imported; not those in functions or for types only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").partition(".")[0]
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from (name for other in node.orelse for name in imported_when_loaded(ast.Module([other], [])))
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from imported_when_loaded(node)


def habits_broken(tree: ast.AST) -> Iterator[str]:
    """Name each statement that has no place in a library."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            yield f"line {node.lineno}: assert is gone under python -O; raise an error of geodata.errors"
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"print", "eval", "exec", "pickle.load", "input"}:
            yield f"line {node.lineno}: {ast.unparse(node.func)}(...)"
        elif isinstance(node, ast.ExceptHandler):
            names = "" if node.type is None else ast.unparse(node.type)
            broad = node.type is None or re.search(r"\b(Base)?Exception\b", names)
            if broad and all(isinstance(part, (ast.Pass, ast.Continue)) for part in node.body):
                yield f"line {node.lineno}: an exception is swallowed"


def functions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Name and number of lines of every function, its docstring left out."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
            yield node.name, (node.end_lineno or node.lineno) - body[0].lineno + 1 if body else 0


def test_the_installed_package_is_tested() -> None:
    places = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    assert PACKAGE.resolve().parent in places, f"geodata comes from {PACKAGE}; run the tests by `make test`"


def test_subprocesses_meet_the_installed_package_too(tmp_path: Path) -> None:
    assert python("import geodata; print(geodata.__file__)", tmp_path).strip() == str(geodata.__file__)


def test_metadata() -> None:
    found = metadata.metadata("geodata")
    assert found["License-Expression"] == "MIT"
    assert found["Requires-Python"] == ">=3.11"
    assert geodata.__version__ == found["Version"] == metadata.version("geodata")
    scripts = {entry.name: entry.value for entry in metadata.entry_points(group="console_scripts")}
    assert scripts["geodata"] == "geodata.cli:main"


def test_requirements_are_those_of_setup_cfg() -> None:
    requirements = [text.replace(" ", "") for text in metadata.requires("geodata") or []]
    required = {re.split(r"[<>=!~;\[]", text)[0] for text in requirements if "extra==" not in text}
    assert {"fiona", "numpy", "odc-geo", "pyarrow", "pyproj", "rasterio", "rtree", "shapely", "torch"} <= required
    assert {"xarray", "zarr"} <= required
    assert not [text for text in requirements if text.startswith("torchvision")]
    extras = set(metadata.metadata("geodata").get_all("Provides-Extra") or [])
    assert {"all", "dev", "geo", "plot", "test", "vector"} <= extras


def test_the_command_is_installed(tmp_path: Path) -> None:
    command = Path(sysconfig.get_path("scripts")) / "geodata"
    for call in ([str(command)], [sys.executable, "-P", "-m", "geodata"]):
        run = subprocess.run([*call, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        assert "demo" in run.stdout


def test_data_files_are_installed() -> None:
    installed = {str(path) for path in metadata.files("geodata") or []}
    assert "geodata/py.typed" in installed
    assert "geodata/data/sensors.json" in installed
    for path in sorted((PACKAGE / "data").glob("*.json")):
        assert json.loads(path.read_text(encoding="utf-8")), path.name


def test_nothing_of_the_project_is_left_out_of_the_wheel() -> None:
    source = PROJECT / "geodata"
    kept = [path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    missing = [ids_of for path in kept if not (PACKAGE / (ids_of := path.relative_to(source).as_posix())).is_file()]
    assert not missing, f"in geodata/ but not installed: {missing}; see [options.package_data], or run `make test`"


def test_import_pulls_no_optional_package(tmp_path: Path) -> None:
    code = "import sys, geodata; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = set(python(code, tmp_path).split())
    assert {"geodata", "torch", "numpy"} <= loaded
    assert not loaded & set(LAZY)


def test_the_lazy_packages_are_there_to_be_pulled(tmp_path: Path) -> None:
    # Without this the test above could pass because nothing is installed.
    code = "import sys, matplotlib, sklearn, pandas, geopandas, dask, xarray; print(*sorted(sys.modules))"
    assert {"matplotlib", "sklearn", "pandas", "geopandas", "dask", "xarray"} <= set(python(code, tmp_path).split())


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_no_optional_package_at_module_level(path: Path) -> None:
    pulled = set(imported_when_loaded(ast.parse(path.read_text(encoding="utf-8"))))
    assert not pulled & set(LAZY), "import it in the function that uses it"


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_habits(path: Path) -> None:
    assert not list(habits_broken(ast.parse(path.read_text(encoding="utf-8"))))


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_files_and_functions_stay_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if ids(path) not in LONG:
        assert len(text.splitlines()) <= MAX_FILE_LINES
    long = {name: lines for name, lines in functions(ast.parse(text)) if lines > MAX_FUNCTION_LINES}
    assert not {name: lines for name, lines in long.items() if f"{ids(path)}:{name}" not in LONG}


def test_every_long_one_still_is() -> None:
    for place in LONG:
        name, _, function = place.partition(":")
        text = (PACKAGE / name).read_text(encoding="utf-8")
        lines = [n for f, n in functions(ast.parse(text)) if f == function] if function else [len(text.splitlines())]
        assert max(lines) > (MAX_FUNCTION_LINES if function else MAX_FILE_LINES), f"{place} may leave the list"


def test_checks_see_what_they_forbid() -> None:
    code = """
        import os, matplotlib.pyplot as plt
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            import pandas
        else:
            import kornia
        try:
            from sklearn.cluster import KMeans
        except Exception:
            pass
        class A:
            import dask
            def f(self):
                '''Three lines below, not counting this.'''
                import xarray
                model.eval()
                print(eval("1"))
        assert pickle.load(f)
    """
    tree = ast.parse("if True:\n" + code)
    assert set(imported_when_loaded(tree)) & set(LAZY) == {"matplotlib", "kornia", "sklearn", "dask"}
    broken = sorted(text.partition(": ")[2].split("(")[0].split()[0] for text in habits_broken(tree))
    assert broken == ["an", "assert", "eval", "pickle.load", "print"]
    assert list(functions(tree)) == [("f", 3)]


def test_project_text_names_no_machine() -> None:
    # Written so that this line does not find itself.
    private = re.compile(r"(?<![\w.])/(tm[p]|wor[k]|roo[t]|hom[e]/\w+|User[s]/\w+)/")
    assert private.search("/".join(["see ", "tmp", "x"]))
    listed = ["*.md", "*.cfg", "*.toml", "*.txt", "Makefile", "LICENSE", ".gitignore", ".ci/*", "docs/**/*.md"]
    folders = ["geodata/**/*.py", "geodata/data/*", "tests/**/*.py", "benchmarks/**/*.py"]
    files = {path for pattern in listed + folders for path in PROJECT.glob(pattern) if path.is_file()}
    assert {PROJECT / "README.md", PROJECT / "setup.cfg", Path(__file__).resolve()} <= files
    found = [
        f"{path.relative_to(PROJECT)}:{number}"
        for path in sorted(files)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if private.search(line)
    ]
    assert not found


def test_pyproject_does_not_silence_setup_cfg() -> None:
    import tomllib

    tables = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(tables) == {"build-system", "tool"}


def test_every_requirement_is_pinned() -> None:
    pinned = {
        re.split("==", line)[0].lower().replace("_", "-")
        for line in (PROJECT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    }
    needed = {re.split(r"[<>=!~;\[ ]", text)[0].lower() for text in metadata.requires("geodata") or []}
    assert needed - {"geodata"} <= pinned
