"""Masks for masked-image modelling."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from geodata.bands import Bands
from geodata.errors import TransformError
from geodata.transforms.base import Needs, Transform, check_image, check_seed
from geodata.transforms.draws import Draws
from geodata.transforms.image import check_key, valid_of
from geodata.transforms.layout import is_batch
from geodata.transforms.restoration.noise_base import share

__all__ = ["HideTokens"]

_KINDS = ("random", "tube", "block", "band")


class HideTokens(Transform):
    """Choose which tokens of an image a masked autoencoder sees; the image stays as it is.

    Tokens are squares of ``patch`` x ``patch`` pixels in layers: one layer with all bands, or one for each run of ``depth``
    bands, or one for each of the ``groups``; of a series that number for each time step. They are numbered layer by
    layer (time first), then row by row: L = layers * (H / patch) * (W / patch).

    ==============  =========================================  =======================================================
    kind            hidden together                            number
    ==============  =========================================  =======================================================
    random          a token                                    int(n (1 - ratio)) of n stay, as in MAE
    tube            a token and those of all other layers      the same, n = L / layers
    block           ``block`` x ``block`` tokens, all layers   ceil(n ratio) of n squares are hidden, as in SimMIM
    band            a layer                                    int(n (1 - ratio)) of n = layers stay
    ==============  =========================================  =======================================================

    So MAE is ``random``; SimMIM ``block`` with block = mask patch / model patch; SpectralGPT ``random`` with depth=3;
    SatMAE ``random`` with groups, its spatial mask ``tube`` with groups, its temporal ``same_mask`` ``tube`` on a series.

    It writes, with the suffix of the image (without the first dimension for one sample):

    - ``hidden`` (B, L) bool, True = hidden
    - ``ids_keep`` (B, K) int64, the tokens that stay, in random order; K is the same for all samples
    - ``ids_restore`` (B, L) int64: where each token is in the list of first those kept, then those hidden
    - ``token_valid`` (B, L) bool, only with ``min_valid``: at least that share of the token's pixels is valid

    With ``min_valid`` units without a valid token are hidden first. The ratio still counts all tokens, so that samples
    stack: where fewer tokens are valid than stay, some invalid ones stay too, and ``token_valid`` tells them.

    A change of geometry afterwards would leave the tokens behind: let this be the last step.

    Parameters
    ----------
    kind : see the table
    ratio : share of what is hidden, 0 to 1
    patch : int >= 1, pixels
    depth : int >= 1, bands in a layer, in the order of the image; must divide their number
    groups : lists of band names instead, one for each layer
    block : int >= 1, tokens, for "block"
    min_valid : share of a token's pixels, 0 to 1
    key : "image" or "image_<name>"
    seed : int in [0, 2**63)

    Raises
    ------
    TransformError
        If an argument is out of range or does not go with the kind; on an image whose size or number of bands the patch,
        block or depth does not divide.
    BandsError
        If a band of a group is not there.

    References
    ----------
    .. [1] K. He et al., "Masked autoencoders are scalable vision learners", CVPR 2022; ``random_masking``.
    .. [2] Z. Xie et al., "SimMIM: a simple framework for masked image modeling", CVPR 2022; ``MaskGenerator``.
    .. [3] Y. Cong et al., "SatMAE", NeurIPS 2022; ``models_mae_group_channels.py``, ``models_mae_temporal.py``.
    .. [4] D. Hong et al., "SpectralGPT: spectral remote sensing foundation model", IEEE TPAMI 46 (2024).

    Examples
    --------
    >>> sample = {"key": "x", "draw": torch.tensor([0, 0]), "image": torch.zeros(3, 224, 224), "bands": Bands("rgb")}
    >>> out = HideTokens("random", 0.75, 16)(sample)
    >>> int(out["hidden"].sum()), out["ids_keep"].shape, out["ids_restore"].shape
    (147, torch.Size([49]), torch.Size([196]))
    """

    def __init__(
        self,
        kind: str,
        ratio: float,
        patch: int,
        *,
        depth: int | None = None,
        groups: Iterable[Iterable[str]] | None = None,
        block: int | None = None,
        min_valid: float | None = None,
        key: str = "image",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if kind not in _KINDS:
            raise TransformError(f"kind {kind!r} must be one of {', '.join(_KINDS)}")
        self.kind, self.ratio, self.patch = kind, share("ratio", ratio), _whole("patch", patch)
        if depth is not None and groups is not None:
            raise TransformError("HideTokens takes depth= or groups=, not both")
        if (block is not None) != (kind == "block"):
            raise TransformError(f"kind 'block' needs block=, other kinds take none; kind is {kind!r}, block {block!r}")
        self.depth = None if depth is None else _whole("depth", depth)
        self.groups = None if groups is None else _names(groups)
        self.block = None if block is None else _whole("block", block)
        self.min_valid = None if min_valid is None else share("min_valid", min_valid)
        self.key, self.seed = check_key(key), check_seed(seed)
        suffix = self.key.removeprefix("image")
        self.reads = ("draw", "key", self.key, f"valid{suffix}", f"bands{suffix}")
        names = ("hidden", "ids_keep", "ids_restore", *(() if min_valid is None else ("token_valid",)))
        self.writes = tuple(name + suffix for name in names)

    def run(self, batch: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
        """Choose the tokens."""
        image, bands = check_image(batch, self.key, Needs(), who=type(self).__name__)
        batched = is_batch(batch)
        steps = math.prod(image.shape[1 if batched else 0 : -3])
        layout = (steps * self.layers(bands), *self._squares(image))
        if self.kind == "band" and layout[0] < 2:
            raise TransformError("kind 'band' hides whole layers and there is one; give depth= or groups=, or a series")
        units = self._units(layout)
        noise = torch.from_numpy(self.uniform(batch, draws, len(units))).to(torch.float32).to(image.device)
        members = torch.from_numpy(units).to(image.device)
        found = []
        if self.min_valid is not None:
            good = self._token_valid(batch, image, layout, steps)
            # Draws are at most 1, so that 2 more puts every unit without a valid token behind all others.
            noise = noise + 2.0 * (~good[:, members].any(dim=-1))
            found = [good]
        out = [*_choose(noise, members, self._kept(len(units))), *found]
        return {**batch, **dict(zip(self.writes, out if batched else [x[0] for x in out], strict=True))}

    def layers(self, bands: Bands) -> int:
        """Return the number of layers of one time step.

        Raises
        ------
        TransformError
            If ``depth`` does not divide the number of bands.
        BandsError
            If a band of a group is not there.
        """
        if self.groups is not None:
            for name in (name for group in self.groups for name in group):
                bands.position(name)
            return len(self.groups)
        depth = len(bands) if self.depth is None else self.depth
        if not depth or len(bands) % depth:
            raise TransformError(f"{len(bands)} bands of {self.key!r} do not part into runs of depth {depth}")
        return len(bands) // depth

    def _squares(self, image: Tensor) -> tuple[int, int]:
        side = self.patch * (self.block or 1)
        height, width = image.shape[-2:]
        if height % side or width % side or not height * width:
            raise TransformError(
                f"{self.key!r} is {height} x {width} pixels, which do not part into squares of {side}; crop it to a multiple"
            )
        return height // self.patch, width // self.patch

    def _units(self, layout: tuple[int, int, int]) -> np.ndarray[Any, np.dtype[np.int64]]:
        """(n, members) tokens that are hidden together."""
        layers, rows, columns = layout
        tokens = np.arange(layers * rows * columns, dtype=np.int64)
        if self.kind == "random":
            return tokens[:, None]
        if self.kind == "band":
            return tokens.reshape(layers, -1)
        side = self.block or 1
        squares = tokens.reshape(layers, rows // side, side, columns // side, side).transpose(1, 3, 0, 2, 4)
        return squares.reshape(-1, layers * side * side)

    def _kept(self, units: int) -> int:
        if self.kind == "block":
            return units - math.ceil(units * self.ratio)
        return int(units * (1 - self.ratio))

    def _token_valid(self, batch: Mapping[str, Any], image: Tensor, layout: tuple[int, int, int], steps: int) -> Tensor:
        """(B, L) whether enough of each token is valid."""
        valid = valid_of(batch, self.key)
        if valid is None:
            valid = torch.ones((*image.shape[:-3], *image.shape[-2:]), dtype=torch.bool, device=image.device)
        count = len(image) if is_batch(batch) else 1
        valid = valid.reshape(count, steps, *valid.shape[-2:])
        part = functional.avg_pool2d(valid.to(torch.float32), self.patch)
        # The mean of pixels is rounded; one pixel more or less is a step far above that.
        good = part >= (self.min_valid or 0.0) - 0.1 / self.patch**2
        return good.repeat_interleave(layout[0] // steps, dim=1).flatten(1)

    def config(self) -> dict[str, Any]:
        """Return all arguments."""
        return {
            "kind": self.kind,
            "ratio": self.ratio,
            "patch": self.patch,
            "depth": self.depth,
            "groups": None if self.groups is None else [list(group) for group in self.groups],
            "block": self.block,
            "min_valid": self.min_valid,
            "key": self.key,
            "seed": self.seed,
        }

    @property
    def effect(self) -> str:
        """Says how much is hidden."""
        return f"{self.ratio:.0%} of the tokens of {self.key} hidden: {', '.join(self.writes)}"

    def __repr__(self) -> str:
        text = super().__repr__()
        return text if len(text) < 190 else f"{text[:180]}...)"


def _choose(noise: Tensor, members: Tensor, kept: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return hidden, ids_keep and ids_restore: the units with the smallest numbers stay."""
    order = noise.argsort(dim=1, stable=True)
    # Of units with several tokens first all their first tokens, then all their second ones: layer after layer.
    parts = [members[ids].transpose(1, 2).flatten(1) for ids in (order[:, :kept], order[:, kept:])]
    shuffled = torch.cat(parts, dim=1)
    hidden = torch.ones(shuffled.shape, dtype=torch.bool, device=noise.device).scatter_(1, parts[0], False)
    return hidden, parts[0], shuffled.argsort(dim=1)


def _whole(what: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise TransformError(f"{what} {value!r} must be a whole number, 1 or more")
    return value


def _names(groups: Any) -> tuple[tuple[str, ...], ...]:
    lists = list(groups) if isinstance(groups, Iterable) else []
    items = [tuple(group) if isinstance(group, Iterable) and not isinstance(group, str) else () for group in lists]
    names = [name for group in items for name in group]
    if not items or not all(items) or not all(isinstance(name, str) for name in names):
        raise TransformError(f"groups must be lists of band names, [['B02', 'B03'], ['B08']], got {groups!r:.200}")
    if len(set(names)) < len(names):
        raise TransformError(f"a band is in two groups: {', '.join(sorted({n for n in names if names.count(n) > 1}))}")
    return tuple(items)
