"""Arithmetic written as text, such as ``(N - R) / (N + R)``: read once, safely, then computed on tensors."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

import torch
from torch import Tensor

from geodata.errors import TransformError

__all__ = ["Formula", "Value"]

Value: TypeAlias = "Tensor | float"

_BINARY: dict[type[ast.operator], tuple[Callable[[Any, Any], Any], Callable[..., Tensor]]] = {
    ast.Add: (operator.add, torch.add),
    ast.Sub: (operator.sub, torch.sub),
    ast.Mult: (operator.mul, torch.mul),
    ast.Div: (operator.truediv, torch.div),
    ast.Pow: (operator.pow, torch.pow),
}
"""What a formula may do; the second form takes ``out=``."""

_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}

_LONGEST = 1000
"""Characters. No published index comes near, and a parser given more could run out of stack."""


class Formula:
    """Numbers, names, ``+ - * / **`` and parentheses; anything else in the text is refused, nothing is executed.

    Parameters
    ----------
    text : str

    Attributes
    ----------
    names : frozenset of str, what must be given to compute it

    Raises
    ------
    TransformError
        If the text is no such formula.

    Examples
    --------
    >>> ndvi = Formula.of("(N - R) / (N + R)")
    >>> sorted(ndvi.names)
    ['N', 'R']
    >>> ndvi.compute({"N": torch.tensor([0.5]), "R": torch.tensor([0.25])})
    tensor([0.3333])
    """

    __slots__ = ("_root", "names", "text")

    def __init__(self, text: str) -> None:
        if not isinstance(text, str) or not text.strip() or len(text) > _LONGEST:
            raise TransformError(f"a formula is a text such as '(N - R) / (N + R)', got {text!r:.200}")
        try:
            self._root = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise TransformError(f"{text!r:.200} cannot be read as a formula such as '(N - R) / (N + R)'") from None
        self.text = text
        self.names = frozenset(_names(self._root, text))

    @staticmethod
    @lru_cache(maxsize=1024)
    def of(text: str) -> Formula:
        """Return the formula of a text, read once."""
        return Formula(text)

    def compute(self, values: Mapping[str, Value], out: Tensor | None = None) -> Value:
        """Return the result for given values of the names.

        Parameters
        ----------
        values : name -> floating tensors of one shape, or numbers
        out : where the last step writes; not together with gradients

        Raises
        ------
        TransformError
            If numbers alone make a division by zero, or the root of a negative number.
        """
        try:
            return _compute(self._root, values, out, own=out is not None)
        except ArithmeticError as error:
            raise TransformError(f"the formula {self.text!r:.200} cannot be computed: {error}") from None


def _names(node: ast.AST, text: str) -> list[str]:
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        return _names(node.left, text) + _names(node.right, text)
    if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        return _names(node.operand, text)
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return []
    raise TransformError(
        f"{ast.unparse(node)!r:.80} in the formula {text!r:.200}: it may have numbers, names, + - * / ** and parentheses"
    )


def _compute(node: ast.expr, values: Mapping[str, Value], out: Tensor | None = None, *, own: bool = False) -> Value:
    """Compute one node; with ``own``, what lies between is written over: it stays in the cache of a CPU."""
    if isinstance(node, ast.BinOp):
        plain, into = _BINARY[type(node.op)]
        left, right = _compute(node.left, values, own=own), _compute(node.right, values, own=own)
        if own and isinstance(left, Tensor):
            if out is None and isinstance(node.left, ast.BinOp):
                out = left
            elif out is None and isinstance(node.right, ast.BinOp) and isinstance(right, Tensor):
                out = right
            if out is not None:
                return into(left, right, out=out)
        value = plain(left, right)
        if isinstance(value, complex):
            raise ArithmeticError("root of a negative number")
        return _put(value, out)
    if isinstance(node, ast.UnaryOp):
        return _put(_UNARY[type(node.op)](_compute(node.operand, values)), out)
    if isinstance(node, ast.Name):
        return _put(values[node.id], out)
    return _put(float(node.value), out)  # type: ignore[attr-defined]  # a Constant, by _names


def _put(value: Value, out: Tensor | None) -> Value:
    if out is None:
        return value
    return out.copy_(value) if isinstance(value, Tensor) else out.fill_(value)
