"""A look-alike of HyperView."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geodata.datasets.fakes import pixels

__all__ = ["write"]

HEADER = "sample_index,company,field,cover,sampling,lab_method,date,year,P,K,Mg,pH,P_class,K_class,Mg_class,pH_class,P2O5,K2O,MgO"


def write(root: Path, items: int) -> None:
    """Write so many patches of other sizes, masked along a slanted edge, and both tables."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    (root / "splits").mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(5)
    rows = []
    for i in range(items):
        number, shape = 7 * i + 2, (11 + 3 * (i % 4), 13 + 5 * (i % 3))
        data = pixels((150, *shape), "int16", 150, 1800, 400 + i)
        outside = np.add.outer(np.arange(shape[0]), np.arange(shape[1])) < 4 + i % 3
        mask = np.broadcast_to(outside, data.shape)
        np.savez_compressed(root / "images" / f"{number}.npz", data=data, mask=mask)
        values = ",".join(f"{v:.6f}" for v in draw.normal(size=4))
        rows.append(f"{number},B,{i},0.0,4.0,Mehlich3,2020-08-01T00:00:00,2020,{values},3,3,3,3,,,")
    for part, chosen in (("train", rows[:-1]), ("val", rows[-1:])):
        (root / "splits" / f"{part}.csv").write_text("\n".join([HEADER, *chosen]) + "\n", encoding="utf-8")
