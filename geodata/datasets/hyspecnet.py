"""HySpecNet-11k: hyperspectral patches of EnMAP with their quality layers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from geodata.catalog import Catalog
from geodata.datasets import hyspecnet_table as table
from geodata.datasets.archive import ArchiveDataset, Common
from geodata.datasets.enmap_table import EMPTY, QUALITY_IMAGE, bands, quality, valid_bands, with_nodata
from geodata.datasets.lists import parts_of, with_split
from geodata.errors import CatalogError
from geodata.spec import DatasetSpec, Image

__all__ = ["HySpecNet11k"]


class HySpecNet11k(ArchiveDataset):
    """HySpecNet-11k: 11,483 patches of 3.84 km from 250 tiles of EnMAP, of 2 to 9 November 2022.

    ``image`` (202, 128, 128) of reflectance times 10,000, by wavelength. The files hold 224 bands; the 22 in the absorption of
    water vapour hold no value in any patch, and are not offered. With ``quality=True`` also ``image_quality`` (7, 128, 128):
    cirrus (1 thin, 2 medium, 3 thick), classes (1 land, 2 water, 3 background), cloud, cloudshadow, haze, snow, testflags.

    Parameters
    ----------
    root : the folder ``hyspecnet-11k``, or the one that it lies in
    difficulty : {"easy", "hard"}
        Which split: "easy" draws patches by chance, "hard" whole tiles.
    quality : bool
        Read the quality layers too.
    common : as in `geodata.datasets.archive.Common`; splits are ``train``, ``val`` and ``test``
    """

    spec = DatasetSpec(
        name="hyspecnet11k",
        title="HySpecNet-11k",
        about="Hyperspectral patches of EnMAP level 2A, made to learn compression, with two splits.",
        contents=(Image("image", "patches", "", "EnMAP L2A, reflectance x 10,000", valid_bands(), (128, 128)),),
        tree="patches/<tile>/<patch>/<patch>-{SPECTRAL_IMAGE,QL_QUALITY_CLOUD,...}.TIF\n"
        "splits/{easy,hard}/{train,val,test}.csv",
        home="https://hyspecnet.rsim.berlin",
        licence="CC0-1.0",
        citation="Fuchs, Demir: HySpecNet-11k: A Large-Scale Hyperspectral Dataset for Benchmarking Learning-Based "
        "Hyperspectral Image Compression Methods, IGARSS 2023, arXiv:2306.00385",
        splits=("train", "val", "test"),
        sources=table.SOURCES,
        items=11_483,
        traps=table.TRAPS,
    )  # fmt: skip

    def __init__(
        self, root: str | Path, *, difficulty: str = "easy", quality: bool = False, **common: Unpack[Common]
    ) -> None:
        if difficulty not in ("easy", "hard"):
            raise CatalogError(f"difficulty={difficulty!r} must be 'easy' or 'hard'")
        if common.pop("download", False):
            self.download(root, progress=common.get("progress", True))
        inner = Path(root) / "hyspecnet-11k"
        contents = (*self.spec.contents, QUALITY_IMAGE) if quality else self.spec.contents
        super().__init__(
            inner if inner.is_dir() else root, contents=contents, lists=f"splits/{difficulty}/{{}}.csv", **common
        )

    @classmethod
    def index(cls, root: Path, *, on_error: str, progress: bool, **options: Any) -> Catalog:
        """Make the catalog from the headers of all patches, and the split from its files."""
        found = Catalog.scan(
            root,
            pattern=r"^patches/(?P<tile>[^/]+)/(?P<item>[^/]+?L2A-DT\d+_(?P<date>\d{8}T\d{6}Z)[^/]*)/(?P=item)-SPECTRAL_IMAGE\.TIF$",
            band_names=bands("wavelength").names,
            bands=bands("wavelength"),
            on_error=on_error,
            progress=progress,
        )
        kept = tuple(i for i in range(1, 225) if i not in EMPTY)
        cube = replace(with_nodata(found.assets[0]), bands=valid_bands(), indexes=kept)
        layers = quality("patches/{tile}/{key}/{key}-QL_QUALITY_<layer>.TIF")
        parts = parts_of(root, options["lists"], cls.spec, table.patch_of)
        return with_split(replace(found, assets=(cube, *layers)), parts, cls.spec, root, on_error=on_error)

    @classmethod
    def fake(cls, root: Path, items: int = 4) -> None:
        """Write a look-alike."""
        from geodata.datasets.hyspecnet_fake import write

        write(root, items)
