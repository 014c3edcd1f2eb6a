"""The files of HySpecNet-11k, and what goes wrong with them."""

from __future__ import annotations

from pathlib import PurePosixPath

from geodata.download import Source

__all__ = ["SOURCES", "TRAPS", "patch_of"]

_HOST = "https://hf.co/datasets/torchgeo/hyspecnet/resolve/13e110422a6925cbac0f11edff610219b9399227/hyspecnet-11k-"
_FILES = {
    "01": "974aae9197006727b42ec81796049efe", "02": "f80574485f835b8a263b6c64076c0c62", "03": "6bc1de573f97fa4a75b79719b9270cb3",
    "04": "2463dc10653cb8be10d44951307c5e7d", "05": "16c1bd9e684673e741c0849bd015c988", "06": "8eef16b67d71af6eb4bc836d294fe3c4",
    "07": "f61f0e7d6b05c861e69026b09130a5d6", "08": "19d390bc9e61b85e7d765f3077984976", "09": "197ff47befe5b9de88be5e1321c5ce5d",
    "10": "9e674cca126a9d139d6584be148d4bac", "splits": "94fad9e3c979c612c29a045406247d6c",
}  # fmt: skip

SOURCES = tuple(
    Source(f"hyspecnet-11k-{part}.tar.gz", (f"{_HOST}{part}.tar.gz",), f"md5:{digits}", "")
    for part, digits in _FILES.items()
)

TRAPS = (
    "Bands are ordered by wavelength: from band 80 to band 100 the two spectrometers take turns, and wavelengths of a "
    "level 2A product are up to 50 nm off.",
    "Bands 127-141 and 161-167 are all -32768; lists of 126-140 and 160-166 count from 0.",
    "Lines of the splits end in -DATA.npy, files that the archive does not hold.",
    "With the easy split, patches of one tile are in several parts.",
)


def patch_of(line: str) -> str:
    """Return the patch that a line of a split names, ``<tile>/<patch>/<patch>-DATA.npy``."""
    return PurePosixPath(line).name.removesuffix("-DATA.npy")
