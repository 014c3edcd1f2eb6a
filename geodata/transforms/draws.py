"""Random numbers as a function of what they are for: no generator, no state, no order."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geodata.errors import TransformError
from geodata.transforms.layout import is_batch

__all__ = ["Draws"]

_GOLDEN = 0x9E3779B97F4A7C15
_WORD = (1 << 64) - 1


class Draws:
    """Where in a pipeline a transform stands, and the random numbers it finds there.

    The numbers of a sample depend on the transform's class and seed, on the path through the
    enclosing `Compose` objects, and on the sample's own ``draw``; on nothing else. Batch size, order in
    the batch and number of workers do not change them.

    Parameters
    ----------
    path : one (seed of the Compose, position in it) per enclosing Compose, outermost first
    fresh : keys whose tensors the pipeline has just made and nobody else has seen: the step may write to them

    References
    ----------
    .. [1] G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014:
       SplitMix64, here used as a hash of (key, epoch, index, column).
    """

    __slots__ = ("_path", "_seen", "fresh")

    def __init__(self, path: tuple[tuple[int, int], ...] = (), fresh: frozenset[str] = frozenset()) -> None:
        self._path = path
        self.fresh = fresh
        self._seen: list[Any] = [None, None]

    def step(self, seed: int, position: int) -> Draws:
        """Return the draws of one step of a `Compose`."""
        inner = Draws((*self._path, (seed, position)))
        # Shared on purpose: a whole pipeline moves ``draw`` to the CPU once, however many steps use it.
        inner._seen = self._seen
        return inner

    def uniform(self, batch: Mapping[str, Any], n: int, *, name: str, seed: int) -> NDArray[np.float64]:
        """Return numbers in [0, 1) for every sample.

        Parameters
        ----------
        batch : with ``draw``, int64 (B, 2) or (2,) [epoch, index]
        n : numbers per sample
        name, seed : class name and seed of the transform that asks

        Returns
        -------
        (B, n) float64 in [0, 1); B = 1 for one sample

        Raises
        ------
        TransformError
            If ``draw`` is missing or is not of that form.
        """
        return _uniform(_key(name, seed, self._path), self._of(batch, name), n)

    def generators(
        self, batch: Mapping[str, Any], *, name: str, seed: int, device: torch.device
    ) -> list[torch.Generator]:
        """Return one random generator per sample, for as many numbers as an image needs.

        Parameters
        ----------
        batch, name, seed : as in `uniform`
        device : where the numbers are made; those of a CPU and of an accelerator differ

        Returns
        -------
        list of torch.Generator, one per sample; one for one sample

        Raises
        ------
        TransformError
            If ``draw`` is missing or is not of that form.
        """
        # The name of the class is changed: what `uniform` drew must not seed what is drawn here.
        words = _words(_key(f"{name} generator", seed, self._path), self._of(batch, name))
        return [torch.Generator(device).manual_seed(word) for word in (words >> np.uint64(1)).tolist()]

    def _of(self, batch: Mapping[str, Any], name: str) -> NDArray[np.uint64]:
        if "draw" not in batch:
            raise TransformError(
                f"{name} needs 'draw' in the batch, int64 (B, 2) or (2,) holding [epoch, index] of every sample; "
                "datasets of geodata add it. To a batch made by hand add: "
                "batch['draw'] = torch.tensor([[epoch, i] for i in indices])"
            )
        if self._seen[0] is not batch["draw"]:
            self._seen[:] = [batch["draw"], _pairs(batch)]
        pairs: NDArray[np.uint64] = self._seen[1]
        return pairs


def _pairs(batch: Mapping[str, Any]) -> NDArray[np.uint64]:
    """(B, 2) epoch, index of every sample as unsigned words."""
    draw = batch["draw"]
    if not isinstance(draw, torch.Tensor) or draw.is_floating_point() or draw.is_complex():
        kind = draw.dtype if isinstance(draw, torch.Tensor) else type(draw).__name__
        raise TransformError(f"'draw' is {kind}; it must be an int64 tensor, (B, 2) or (2,), of [epoch, index]")
    wanted = "(B, 2)" if is_batch(batch) else "(2,)"
    if draw.ndim != (2 if is_batch(batch) else 1) or draw.shape[-1] != 2:
        raise TransformError(f"'draw' has shape {tuple(draw.shape)}; here it must be {wanted} of [epoch, index]")
    return draw.detach().cpu().to(torch.int64).reshape(-1, 2).numpy().view(np.uint64)


def _key(name: str, seed: int, path: tuple[tuple[int, int], ...]) -> int:
    # The class name keeps a flip and a rotation of equal seed apart when they run outside a Compose.
    text = "/".join([*(f"{s}.{i}" for s, i in path), f"{name}.{seed}"])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _uniform(key: int, pairs: NDArray[np.uint64], n: int) -> NDArray[np.float64]:
    word = _words(key, pairs)[:, None]
    columns = np.array([(j + 1) * _GOLDEN & _WORD for j in range(n)], dtype=np.uint64)
    return (_mix(word + columns) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _words(key: int, pairs: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """(B,) one word for each sample."""
    golden = np.uint64(_GOLDEN)
    return _mix(_mix(np.uint64(key) + pairs[:, 0] * golden) + pairs[:, 1] * golden)


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
