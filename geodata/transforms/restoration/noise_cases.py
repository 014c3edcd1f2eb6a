"""The noise that published benchmarks of hyperspectral denoising use, each exactly as its source makes it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from geodata.errors import TransformError
from geodata.transforms.restoration import noise_kinds as kinds
from geodata.transforms.restoration.noise_base import NoiseTransform

__all__ = ["Noise"]

_NUMBERED = {1: "noniid", 2: "stripe", 3: "deadline", 4: "impulse", 5: "mixture"}
_SIGMAS = (10.0, 30.0, 50.0, 70.0)
_AMOUNTS = (0.1, 0.3, 0.5, 0.7)
_KINDS = ("stripe", "deadline", "impulse")

_Draw = tuple[str, tuple[float, ...]]
"""How a sigma is drawn: "pick" one of some, "between" two, or between two in "decibels"."""


@dataclass(frozen=True)
class _Preset:
    """How one source makes its cases.

    Parameters
    ----------
    levels : case -> how the sigma of the image is drawn, in 255ths
    noniid : how the sigma of a band is drawn, in 255ths
    alone, mixed : kind -> number of bands, or share of them, rounded down, where it is the only kind or one of several
    columns : kind -> how 5 % and 15 % of the width are rounded, and whether the upper end is left out
    order : of the kinds in a mixture
    apart : in a mixture no band is spoilt twice
    clip : an impulse band is cut to [0, 1] first
    """

    levels: dict[str, _Draw]
    noniid: _Draw
    alone: dict[str, float]
    mixed: dict[str, float]
    columns: dict[str, tuple[Callable[[float], int], bool]]
    order: tuple[str, ...] = _KINDS
    apart: bool = True
    clip: bool = False
    train: bool = True

    @property
    def cases(self) -> tuple[str, ...]:
        return (*self.levels, *_NUMBERED.values(), *(("train",) if self.train else ()))


_HYDE = {"impulse": 0.333333, "stripe": 0.3333333, "deadline": 0.3333333}

_PRESETS = {
    "qrnn3d-test": _Preset(
        levels={**{f"sigma{s}": ("pick", (float(s),)) for s in (30, 50, 70)}, "blind": ("between", (10.0, 70.0))},
        noniid=("pick", _SIGMAS),
        alone=dict.fromkeys(_KINDS, 10),
        mixed=dict.fromkeys(_KINDS, 1 / 3),
        columns={"stripe": (math.ceil, False), "deadline": (math.ceil, False)},
        clip=True,
        train=False,
    ),
    # numpy's randint leaves its upper end out.
    "qrnn3d-train": _Preset(
        levels={"sigma50": ("pick", (50.0,)), "blind": ("pick", _SIGMAS)},
        noniid=("pick", _SIGMAS),
        alone=dict.fromkeys(_KINDS, 1 / 3),
        mixed=dict.fromkeys(_KINDS, 1 / 3),
        columns={"stripe": (math.floor, True), "deadline": (math.ceil, True)},
    ),
    "hyde": _Preset(
        levels={"blind": ("decibels", (0.0, 40.0))},
        noniid=("between", (0.0, 40.0)),
        alone=_HYDE,
        mixed=_HYDE,
        columns={"stripe": (math.floor, True), "deadline": (math.floor, True)},
        order=("impulse", "stripe", "deadline"),
        apart=False,
    ),
}


class Noise(NoiseTransform):
    """Noise of a published benchmark, by the name of its source and case. The image must be scaled to [0, 1].

    ==============  ==========================================  ==================================  ==================
    case            qrnn3d-test                                 qrnn3d-train                        hyde
    ==============  ==========================================  ==================================  ==================
    sigma30 ...     30, 50 or 70 / 255 in all bands             sigma50 only                        none
    blind           one sigma of the image, 10 to 70 / 255      one of 10, 30, 50, 70 / 255         0 to 40 dB, / 255
    1 "noniid"      each band one of 10, 30, 50, 70 / 255       the same                            each 0 to 40 / 255
    2 "stripe"      1, and 10 bands: ceil(5 %) to ceil(15 %)    1, and a third: floor to floor,     1, and B // 3 *:
                    of the columns, both included, shifted      upper end left out                  int to int, left out
                    by -0.25 to 0.25
    3 "deadline"    1, and 10 bands: as many columns are 0      1, and a third: ceil to ceil,       as stripe
                                                                upper end left out
    4 "impulse"     1, and 10 bands: cut to [0, 1], then 10,    1, and a third, not cut             1, and B // 3 *
                    30, 50 or 70 % of the pixels 0 or 1
    5 "mixture"     1, and a third of the bands each: stripe,   the same, bounds as above           4, 2, 3 after each
                    deadline, impulse, never two                                                    other, may meet
    train           none                                        1, and none, 4, 2 or 3, 1/4 each    5 in 1/4, else 1
    ==============  ==========================================  ==================================  ==================

    A third is rounded down. (*) HyDe's is int(0.3333333 B), for impulses int(0.333333 B): one less where 3 divides B.

    The definitions are those of the sources; the numbers are not, because neither MATLAB's nor numpy's streams can be
    drawn per sample, and the sources' turns ("blind" and "train" of ``qrnn3d-train``) are draws here. To compare with
    others publish the noisy images. The clean image is kept as for `NoiseTransform`.

    Parameters
    ----------
    preset : "qrnn3d-test", "qrnn3d-train" or "hyde"
    case : name of a case, or 1 to 5
    key, keep, seed : as for `NoiseTransform`

    Raises
    ------
    TransformError
        If the preset or case is not known; on an image of raw numbers or decibels, of fewer than 10 bands
        for ``qrnn3d-test`` cases 2 to 4, or too narrow for the number of columns.

    References
    ----------
    .. [1] K. Wei, Y. Fu, H. Huang, "3-D quasi-recurrent neural network for hyperspectral image denoising",
       IEEE TNNLS 32 (2021); test data: ``Vandermode/QRNN3D``, ``matlab/generate_dataset_*.m``.
    .. [2] Z. Lai, C. Yan, Y. Fu, "Hybrid spectral denoising transformer with guided attention", ICCV 2023;
       training: ``Zeqiang-Lai/HSDT``, ``train/utility/dataset.py`` and ``train/train_complex.py``.
    .. [3] D. Coquelin et al., "HyDe: the first open-source, Python-based, GPU-accelerated hyperspectral denoising
       package", WHISPERS 2022; ``src/hyde/lowlevel/add_noise.py``, ``src/hyde/nn/hsi_denoising_complex.py``.

    Examples
    --------
    >>> from geodata.bands import Bands
    >>> bands = Bands([f"b{i}" for i in range(12)], state="reflectance")
    >>> sample = {"key": "x", "draw": torch.tensor([0, 0]), "image": torch.full((12, 32, 32), 0.5), "bands": bands}
    >>> out = Noise("qrnn3d-test", case=3, seed=7)(sample)
    >>> int((out["image"] == 0).all(dim=1).any(dim=1).sum())  # bands with dead lines
    10
    """

    def __init__(self, preset: str, *, case: int | str, key: str = "image", keep: bool = True, seed: int = 0) -> None:
        super().__init__(key=key, keep=keep, seed=seed)
        if not isinstance(preset, str) or preset not in _PRESETS:
            raise TransformError(f"preset {preset!r} must be one of {', '.join(_PRESETS)}")
        name = _NUMBERED.get(case) if isinstance(case, int) else case
        if name not in _PRESETS[preset].cases:
            raise TransformError(f"case {case!r}: {preset} has {', '.join(_PRESETS[preset].cases)}, or 1 to 5")
        self.preset, self.case = preset, str(name)

    def corrupt(self, x: Tensor, valid: Tensor | None, g: Generator) -> None:
        """Add the normal noise, then spoil bands."""
        preset = _PRESETS[self.preset]
        kinds.add_gaussian(x, self._sigma(preset, x, g), g)
        for kind, bands in self._spoilt(preset, x, g):
            if kind == "impulse":
                amounts = kinds.choice(x, bands.shape, _AMOUNTS, g)
                kinds.impulses(x, bands, amounts, 0.5, g, clip=preset.clip)
                continue
            rows, chosen = kinds.lines(x, bands, *self._columns(preset, kind, x.shape[-1]), g)
            if kind == "stripe":
                x[rows, bands] -= (kinds.uniform(x, chosen.shape, -0.25, 0.25, g) * chosen).unsqueeze(-2)
            else:
                x[rows, bands] *= ~chosen.unsqueeze(-2)

    def _sigma(self, preset: _Preset, x: Tensor, g: Generator) -> Tensor:
        each_band = self.case not in preset.levels
        how, values = preset.noniid if each_band else preset.levels[self.case]
        shape = (len(x), x.shape[1] if each_band else 1, 1, 1)
        if how == "pick":
            sigma = kinds.choice(x, shape, values, g)
        else:
            sigma = kinds.uniform(x, shape, values[0], values[1], g)
        if how == "decibels":
            sigma = 10.0 ** (sigma / 20.0)
        return (sigma / 255.0).expand(-1, x.shape[1], 1, 1)

    def _spoilt(self, preset: _Preset, x: Tensor, g: Generator) -> list[tuple[str, Tensor]]:
        """Kinds in order, each with its (N, K) bands."""
        wanted, total = self._wanted(preset, x, g), x.shape[1]
        sizes = preset.mixed if len(wanted) > 1 else preset.alone
        counts = [int(sizes[kind] if sizes[kind] >= 1 else sizes[kind] * total) for kind in wanted]
        if any(count > total for count in counts):
            raise TransformError(
                f"Noise({self.preset!r}, case={self.case!r}) spoils {max(counts)} bands, {self.key!r} has {total}; "
                "qrnn3d-train spoils a third of any number"
            )
        if preset.apart:
            parts = torch.split(kinds.choose_bands(x, sum(counts), g), counts, dim=1)
            return list(zip(wanted, parts, strict=True)) if wanted else []
        return [(kind, kinds.choose_bands(x, count, g)) for kind, count in zip(wanted, counts, strict=True)]

    def _columns(self, preset: _Preset, kind: str, width: int) -> tuple[int, int]:
        """Least and largest number of columns, both included."""
        rounded, open_end = preset.columns[kind]
        return rounded(0.05 * width), rounded(0.15 * width) - open_end

    def _wanted(self, preset: _Preset, x: Tensor, g: Generator) -> tuple[str, ...]:
        if self.case == "mixture":
            return preset.order
        if self.case != "train":
            return (self.case,) if self.case in preset.order else ()
        turn = int(torch.randint(4, (), generator=g, device=x.device))
        if not preset.apart:
            return preset.order if turn == 0 else ()
        return ((), ("impulse",), ("stripe",), ("deadline",))[turn]

    def settings(self) -> dict[str, Any]:
        """Return preset and case."""
        return {"preset": self.preset, "case": self.case}

    @property
    def effect(self) -> str:
        """Says what is added."""
        return f"{self.preset} noise, case {self.case}; " + super().effect
