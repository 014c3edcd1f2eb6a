"""Plain data as TOML text; `tomllib` only reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["dumps"]


def dumps(data: Mapping[str, Any]) -> str:
    """Return TOML of texts, numbers, booleans, lists and tables; tables in the second level stand in one line."""
    plain = [f"{_key(k)} = {_value(v)}" for k, v in data.items() if not _is_table(v)]
    blocks = ["\n".join(plain)] if plain else []
    for name, value in data.items():
        if isinstance(value, Mapping):
            blocks.append(f"[{_key(name)}]\n{_lines(value)}")
        elif _is_table(value):
            blocks += [f"[[{_key(name)}]]\n{_lines(row)}" for row in value]
    return "\n\n".join(blocks) + "\n"


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and bool(value) and isinstance(value[0], Mapping))


def _lines(table: Mapping[str, Any]) -> str:
    return "\n".join(f"{_key(k)} = {_value(v)}" for k, v in table.items())


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else _text(name)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]"
    # JSON writes texts, whole and decimal numbers, true and false as TOML does, but 1e-05 needs no point in either.
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(value: str) -> str:
    # JSON may write a character as two halves, and leaves DEL as it is; TOML takes neither.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
