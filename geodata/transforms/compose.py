"""Several transforms as one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast
from weakref import WeakKeyDictionary

from torch import nn

from geodata import buffers
from geodata.errors import TransformError
from geodata.transforms.base import Move, Transform, check_seed
from geodata.transforms.draws import Draws

__all__ = ["Compose"]


_POOLS: WeakKeyDictionary[Transform, buffers.Pool] = WeakKeyDictionary()
"""Apart from the modules, so that these can be copied and pickled."""


class Compose(Transform):
    """Apply transforms one after the other.

    Every step draws its own random numbers: they depend on its position here, so two equal steps are
    independent of each other. Neighbouring changes of geometry are joined and copy the pixels once.

    Parameters
    ----------
    steps : iterable of Transform
    seed : int in [0, 2**63)
        Changes the random numbers of all steps together.

    Raises
    ------
    TransformError
        If a step is not a Transform.

    Examples
    --------
    >>> from geodata import transforms as T
    >>> T.Compose([T.ToFloat(), T.RandomFlip(p=0.25)])
    Compose of 2 steps, seed=0
      0  ToFloat(dtype='float32', lossy=False)                          image* -> float32
      1  RandomFlip(p=0.25, axes=['horizontal', 'vertical'], seed=0)    mirrored, shapes stay
    """

    def __init__(self, steps: Iterable[Transform], *, seed: int = 0) -> None:
        super().__init__()
        if not isinstance(steps, Iterable):
            raise TransformError(f"Compose takes a list of transforms, got {type(steps).__name__}")
        items = list(steps)
        for i, step in enumerate(items):
            if not isinstance(step, Transform):
                raise TransformError(f"step {i} of Compose is {type(step).__name__}; derive it from T.Transform")
        self.steps = nn.ModuleList(items)
        self.seed = check_seed(seed)
        self.reads = tuple(dict.fromkeys(key for step in items for key in step.reads))
        self.writes = tuple(dict.fromkeys(key for step in items for key in step.writes))

    def run(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
        """Apply every step in order."""
        with self._memory():
            return self._applied(batch, draws)

    def _memory(self) -> AbstractContextManager[object]:
        """Return a pool that large tensors of the steps come from; the thread's own, where it has one."""
        if buffers.current() is not None:
            return nullcontext()
        return _POOLS.setdefault(self, buffers.Pool())

    def _applied(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
        out = dict(batch)
        pending: Move | None = None
        fresh = draws.fresh
        for i, step in enumerate(self):
            here = draws.step(self.seed, i)
            move = step.plan(out, here)
            joined = move if pending is None or move is None else pending.then(move)
            if pending is not None and joined is None:
                before, out = out, pending.apply(out)
                fresh = _replaced(before, out)
            pending = move if joined is None else joined
            if move is None:
                here.fresh = fresh
                before, out = out, step(out, here)
                fresh = _replaced(before, out) if step.fresh else frozenset()
        return out if pending is None else pending.apply(out)

    def config(self) -> dict[str, Any]:
        """Return the steps as plain data, and the seed."""
        return {"steps": [step.to_dict() for step in self], "seed": self.seed}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Compose:
        """Make every step again."""
        return cls([Transform.from_dict(step) for step in config["steps"]], seed=config.get("seed", 0))

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Transform]:
        return (cast(Transform, step) for step in self.steps)

    def __getitem__(self, position: int) -> Transform:
        return cast(Transform, self.steps[position])

    def __repr__(self) -> str:
        rows = list(self._rows(""))
        width = max((len(number) + len(text) for number, text, _ in rows), default=0)
        lines = [f"  {n}  {text}{' ' * (width - len(n) - len(text))}    {effect}".rstrip() for n, text, effect in rows]
        return "\n".join([f"Compose of {len(self)} steps, seed={self.seed}", *lines])

    def _rows(self, prefix: str) -> Iterator[tuple[str, str, str]]:
        for i, step in enumerate(self):
            number = f"{prefix}{i}"
            if isinstance(step, Compose):
                yield number, f"Compose of {len(step)} steps, seed={step.seed}", ""
                yield from step._rows(f"{number}.")
            else:
                yield number, repr(step), step.effect


def _replaced(before: Mapping[str, Any], after: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(key for key in after if after[key] is not before.get(key))
