"""What is known of the unmixing scenes whose ground truth Feiyun Zhu published."""

from __future__ import annotations

import numpy as np

from geodata.datasets.unmixing_files import Published

__all__ = ["CITATION", "CUPRITE", "JASPER", "SAMSON", "TRAPS", "TREES", "URBAN_NAMES", "kept", "urban"]

CITATION = "Zhu: Hyperspectral Unmixing: Ground Truth Labeling, Datasets, Benchmark Performances and Survey, 2017, arXiv:1708.05125"

TRAPS = (
    "Pixels of the matrices stand column by column: V[:, 1] is the pixel below V[:, 0]. A wrong order only transposes a square scene.",
    "Channels are numbered from 1 in the files; code that indexes with SlectBands from 0 is off by one.",
    "nBand is the number of channels of the sensor, also in a file that holds fewer.",
)


def _channels(*ranges: tuple[int, int]) -> tuple[int, ...]:
    return tuple(c for first, last in ranges for c in range(first, last + 1))


SAMSON = Published(
    ("samson_1.mat",),
    ("end3.mat", "Samson_end3.mat", "Samson_end.mat"),
    156,
    (),
    ("rock", "Tree", "water"),
    tuple(np.linspace(401, 889, 156).round(2).tolist()),
)
"""The authors give the ends, 401 and 889 nm, and 156 channels; even steps of 3.1 nm between them are our reading."""

JASPER = Published(
    ("jasperRidge2_R198.mat", "jasperRidge2_F224_2.mat", "jasperRidge2_F224*.mat"),
    ("end4.mat", "Jasper*end4.mat"),
    224,
    _channels((1, 3), (108, 112), (154, 166), (220, 224)),
    ("tree", "water", "dirt", "road"),
)

CUPRITE = Published(
    ("CupriteS1_R188.mat", "CupriteS1_F224.mat"),
    ("groundTruth_Cuprite_nEnd12.mat", "Cuprite*groundTruth*.mat"),
    224,
    _channels((1, 2), (104, 113), (148, 167), (221, 224)),
    (
        "Alunite", "Andradite", "Buddingtonite", "Dumortierite", "Kaolinite_1", "Kaolinite_2", "Muscovite", "Montmorillonite",
        "Nontronite", "Pyrope", "Sphene", "Chalcedony",
    ),
    abundance=False,
)  # fmt: skip

URBAN_NAMES = {
    4: ("Asphalt", "Grass", "Tree", "Roof"),
    5: ("Asphalt", "Grass", "Tree", "Roof", "Dirt"),
    6: ("Asphalt", "Grass", "Tree", "Roof", "Metal", "Dirt"),
}


def urban(count: int) -> Published:
    """Return what is known of Urban with 4, 5 or 6 endmembers."""
    return Published(
        ("Urban_R162.mat", "Urban_F210.mat"),
        (f"end{count}_groundTruth.mat", f"*urban*end{count}*.mat"),
        210,
        _channels((1, 4), (76, 76), (87, 87), (101, 111), (136, 153), (198, 210)),
        URBAN_NAMES[count],
    )


def kept(known: Published) -> tuple[int, ...]:
    """Return the 1-based channels of the sensor that the authors kept."""
    return tuple(c for c in range(1, known.total + 1) if c not in known.removed)


TREES = {
    "scene": "<root>/\n  <any>.mat        cube called V, Y, Y_clean or img\n  <any>.mat        endmembers called M, E or GT and "
    "abundances called A, A_true or S_GT; or all in one file",
    "samson": "<root>/\n  Data_Matlab/samson_1.mat\n  GroundTruth/end3.mat\nor both in one folder",
    "jasper": "<root>/\n  jasperRidge2_R198.mat, or jasperRidge2_F224_2.mat\n  GroundTruth/end4.mat\nor both in one folder",
    "urban": "<root>/\n  Urban_R162.mat, or Urban_F210.mat\n  groundTruth_Urban_end4/end4_groundTruth.mat, the same with 5 and 6\n"
    "or all in one folder",
    "cuprite": "<root>/\n  CupriteS1_R188.mat, or CupriteS1_F224.mat\n  groundTruth_Cuprite_end12/groundTruth_Cuprite_nEnd12.mat\n"
    "or both in one folder",
}
