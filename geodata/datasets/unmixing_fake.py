"""Look-alikes of the unmixing scenes: the names, dtypes, axes and orders of the published files, with made-up mixtures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.datasets import unmixing_table as table
from geodata.datasets.fakes import pixels
from geodata.datasets.unmixing_files import Published
from geodata.readers.openfiles import needs

__all__ = ["WRITERS", "save"]


def save(path: Path, values: Mapping[str, Any]) -> None:
    """Write a .mat file of version 5.

    Raises
    ------
    MissingDependencyError
        If scipy is not installed.
    """
    try:
        from scipy.io import savemat
    except ImportError:
        raise needs("scipy") from None
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, dict(values), do_compression=True)


def _mixture(shape: tuple[int, int], channels: int, count: int, seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return spectra (channels, P) within 0 and 1, and shares (P, H, W), which sum to 1."""
    spectra = pixels((1, count, channels), "float64", 0.05, 0.9, seed)[0].T
    shares = pixels((count, *shape), "float64", 0, 1, seed + 1) ** 4
    return spectra, shares / shares.sum(axis=0)


def _matrix(planes: NDArray[Any]) -> NDArray[Any]:
    """Return (N, pixels) with pixels column by column."""
    return planes.transpose(0, 2, 1).reshape(len(planes), -1)


def _names(texts: tuple[str, ...], form: str) -> NDArray[np.object_]:
    cells = np.empty((len(texts), 1), dtype=object)
    cells[:, 0] = [form.format(i, text) for i, text in enumerate(texts, 1)]
    return cells


def _samson(root: Path) -> None:
    shape = (14, 9)
    spectra, shares = _mixture(shape, 156, 3, 1)
    spectra *= np.array([0.45, 0.5, 0.03])
    data = {"V": spectra @ _matrix(shares), "nRow": 14, "nCol": 9, "nBand": 156}
    save(root / "Data_Matlab/samson_1.mat", data)
    truth = {"M": spectra / spectra.max(axis=0), "A": _matrix(shares), "cood": _names(table.SAMSON.names, "{}-{}")}
    save(root / "GroundTruth/end3.mat", truth)


def _zhu(
    path: Path, known: Published, shape: tuple[int, int], count: int, seed: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Write a cube of the channels kept as whole numbers; return spectra of all channels of the sensor, and shares."""
    channels = np.array(table.kept(known))
    spectra, shares = _mixture(shape, known.total, count, seed)
    stored = np.rint(5000 * spectra[channels - 1] @ _matrix(shares)).astype(np.uint16)
    sizes = {"nRow": shape[0], "nCol": shape[1], "nBand": known.total, "maxValue": np.uint16(5000)}
    save(path, {"Y": stored, **sizes, "SlectBands": channels[:, None].astype(np.uint8)})
    return spectra, shares


def _jasper(root: Path) -> None:
    spectra, shares = _zhu(root / "jasperRidge2_R198.mat", table.JASPER, (12, 8), 4, 11)
    kept = np.array(table.kept(table.JASPER)) - 1
    truth = {"M": spectra[kept], "A": _matrix(shares), "cood": _names(table.JASPER.names, "{}-{}")}
    save(root / "GroundTruth/end4.mat", truth)


def _urban(root: Path) -> None:
    for count in (4, 5, 6):
        known = table.urban(count)
        spectra, shares = _zhu(root / "Urban_R162.mat", known, (11, 13), 6, 21)
        kept = np.array(table.kept(known)) - 1
        part = shares[:count] / shares[:count].sum(axis=0)
        truth = {"M": spectra[kept, :count], "A": _matrix(part), "cood": _names(known.names, "{}-{}")}
        save(root / f"groundTruth_Urban_end{count}/end{count}_groundTruth.mat", truth)


def _cuprite(root: Path) -> None:
    known = table.CUPRITE
    spectra, _ = _zhu(root / "CupriteS1_R188.mat", known, (10, 7), 12, 31)
    truth = {
        "M": spectra,
        "waveLength": np.linspace(0.4, 2.5, 224)[None],
        "slctBnds": np.array(table.kept(known), dtype=np.uint8)[None],
        "nEnd": 12,
        "cood": _names(known.names, "#{} {}"),
    }
    save(root / "groundTruth_Cuprite_end12/groundTruth_Cuprite_nEnd12.mat", truth)


def _bundle(root: Path) -> None:
    height, width = 9, 6
    spectra, shares = _mixture((height, width), 40, 3, 41)
    flat = shares.reshape(3, -1)
    sizes = {"H": height, "W": width, "L": 40, "p": 3, "N": height * width}
    save(root / "Sim1.mat", {"Y": spectra @ flat, "E": spectra, "A": flat, **sizes})


WRITERS: dict[str, Callable[[Path], None]] = {
    "samson": _samson,
    "jasper_ridge": _jasper,
    "urban": _urban,
    "cuprite": _cuprite,
    "unmixing_scene": _bundle,
}
"""What writes each dataset."""
