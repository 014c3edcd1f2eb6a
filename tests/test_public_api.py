"""Pin the public names and signatures: a change of them is deliberate, never a side effect.

After a deliberate change run `make public-api`, read the difference of tests/public_api.txt and commit it with the change.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
import sys
import types
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

MODULES = (
    "geodata",
    "geodata.datasets",
    "geodata.responses",
    "geodata.samplers",
    "geodata.store",
    "geodata.transforms",
    "geodata.zoo",
    "geodata.errors",
)
PINNED = Path(__file__).with_name("public_api.txt")
# What people import from; names of other modules are public only if one of these has them in `__all__`.
UPDATE = "if that is meant, run `make public-api` and commit tests/public_api.txt"


def signature(value: Any) -> str:
    """Parameters as written, with the addresses and module paths of default values left out."""
    try:
        text = str(inspect.signature(value))
    except (TypeError, ValueError):
        return "(...)"
    return re.sub(r"<(?:function|class|object) '?([\w.]+)[^>]*>", r"<\1>", re.sub(r" at 0x[0-9a-f]+", "", text))


def describe_class(name: str, cls: type, listed: Collection[Any]) -> Iterator[str]:
    """Yield the constructor and the public members that geodata defines, save those of another listed class."""
    bases = ", ".join(base.__name__ for base in cls.__bases__ if base is not object)
    ours = [base for base in cls.__mro__ if base.__module__ == __name__ or base.__module__.startswith("geodata")]
    constructor = signature(cls) if any({"__init__", "__new__"} & set(vars(base)) for base in ours) else "(...)"
    yield f"class {name}{constructor}" + (f" <- {bases}" if bases else "")
    own = [base for base in ours if base is cls or base not in listed]
    members = {key: value for base in reversed(own) for key, value in vars(base).items() if not key.startswith("_")}
    for key, value in sorted(members.items()):
        kind = f"{type(value).__name__} " if isinstance(value, (staticmethod, classmethod)) else ""
        function = getattr(value, "__func__", value)
        shown = signature(function) if isinstance(function, types.FunctionType) else ""
        yield f"    {kind}{key}{shown}"


def describe(name: str, value: Any, listed: Collection[Any] = ()) -> Iterator[str]:
    """Yield the lines that stand for one public name."""
    if inspect.isclass(value):
        yield from describe_class(name, value, listed)
    elif inspect.ismodule(value):
        yield f"module {name}"
    elif callable(value):
        yield f"def {name}{signature(value)}"
    else:
        yield f"{name}: {type(value).__name__}"


def public_api() -> str:
    """Every public name with its signature, a line each, sorted within its module."""
    lines: list[str] = []
    modules = [importlib.import_module(name) for name in MODULES]
    listed = [value for module in modules for name in module.__all__ if inspect.isclass(value := getattr(module, name))]
    for module in modules:
        lines += ["", f"# {module.__name__}"]
        for name in sorted(module.__all__):
            lines += describe(name, getattr(module, name), listed)
    return "\n".join(lines).strip() + "\n"


def test_public_names_and_signatures_are_as_pinned() -> None:
    pinned = PINNED.read_text(encoding="utf-8") if PINNED.is_file() else ""
    difference = difflib.unified_diff(
        pinned.splitlines(), public_api().splitlines(), "pinned", "found", lineterm="", n=0
    )
    shown = "\n".join(difference)
    assert not shown, f"the public names differ from tests/public_api.txt; {UPDATE}\n{shown}"


def test_every_public_name_exists_and_is_listed_once() -> None:
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        names = list(module.__all__)
        assert len(set(names)) == len(names), module_name
        assert [name for name in names if not hasattr(module, name)] == []
        private = [name for name in names if name.startswith("_") and name != "__version__"]
        assert private == []


def test_everything_public_is_documented() -> None:
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        callables = {name: getattr(module, name) for name in module.__all__}
        bare = [name for name, value in callables.items() if callable(value) and not inspect.getdoc(value)]
        assert bare == [], f"without a docstring in {module_name}"


def test_a_changed_signature_is_seen() -> None:
    class Before:
        def read(self, bounds: tuple[float, ...], *, res: float = 10.0) -> None:
            """Read."""

    class After:
        def read(self, bounds: tuple[float, ...], res: float = 10.0) -> None:
            """Read."""

        @classmethod
        def load(cls) -> None:
            """Load."""

    before, after = list(describe("A", Before)), list(describe("A", After))
    assert before[1] == "    read(self, bounds: 'tuple[float, ...]', *, res: 'float' = 10.0) -> 'None'"
    assert after[1:] == [
        "    classmethod load(cls) -> 'None'",
        "    read(self, bounds: 'tuple[float, ...]', res: 'float' = 10.0) -> 'None'",
    ]


def test_addresses_do_not_count() -> None:
    def apply(key: Any = len, default: Any = object) -> None:
        """Apply."""

    assert signature(lambda x=apply: x) == signature(lambda x=apply: x)
    assert "0x" not in signature(lambda x=apply: x)


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(f"usage: python {Path(__file__).name} --write")
    PINNED.write_text(public_api(), encoding="utf-8")
    sys.stdout.write(f"wrote {PINNED.name}: {len(public_api().splitlines())} lines\n")
