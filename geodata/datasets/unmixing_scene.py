"""An unmixing scene in .mat files: a cube, the spectra of its endmembers, and the share of each in every pixel."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from geodata.bands import Bands
from geodata.catalog import Catalog
from geodata.catalog.paths import resolve
from geodata.datasets import unmixing_table as table
from geodata.datasets.archive import ArchiveDataset, Common
from geodata.datasets.unmixing_files import Look, Published
from geodata.datasets.unmixing_inspect import Held, Scene, check_order, inspect
from geodata.errors import CatalogError
from geodata.readers import arrays
from geodata.readers.base import Asset
from geodata.spec import Array, Content, DatasetSpec, Image

__all__ = ["ABUNDANCE", "ENDMEMBERS", "IMAGE", "WAVELENGTHS", "UnmixingScene"]

IMAGE = Image("image", about="the cube, as stored; Band.scale is 1 / maxValue where the file says it")
# As whole numbers, which an image may be read as, shares would all be 0.
ABUNDANCE = Image(
    "abundance", about="share of each endmember, float32, not negative, sums to 1 within 1e-5", dtype="float32"
)
ENDMEMBERS = Array("endmembers", about="spectra of the endmembers, float32, at the channels of the image", shape="P, C")
WAVELENGTHS = Array("wavelengths", about="centres of the channels in nm, float32, NaN where not known", shape="C")


class UnmixingScene(ArchiveDataset):
    """Any unmixing scene in .mat files, whatever its arrays are called.

    ``image`` (C, H, W), ``abundance`` (P, H, W) float32, which follows windows and tiles like an image, ``endmembers``
    (P, C) float32 and ``wavelengths`` (C,) float32 in nm of the channels read. Channels are called by their number in the
    sensor, from 1. ``bands=`` with names of channels keeps all abundances; leave those out with ``keys=``.

    Parameters
    ----------
    root : folder of the files, which lie in it or up to two folders down
    data : path of the file with the cube, below the root, if several may be meant
    truth : path or paths of files with endmembers and abundances, below the root
    order : {"columns", "rows"} or None
        How pixels stand in a matrix. None goes by what the file calls its sizes: nRow and nCol, column by column; H and W,
        lines and cols, row by row.
    size : rows and columns, if the file does not say them
    kept : bool
        Read the channels that the authors kept; False reads all, from a file that has all. Endmembers are NaN at channels
        that they leave out.
    wavelengths : centres in nm of the channels read, if you know them better
    common : as in `geodata.datasets.archive.Common`; float64 is read as float32 unless ``dtype`` says otherwise

    Attributes
    ----------
    endmember_names : P texts in the order of the file

    Raises
    ------
    NoFilesError, CatalogError, BandsError
        As in `geodata.datasets.unmixing_inspect.inspect`; and CatalogError if a cube that is a matrix fits the abundances
        better in the other order.
    """

    spec = DatasetSpec(
        name="unmixing_scene",
        title="Unmixing scene",
        about="Any of the published unmixing scenes as .mat files: those of Zhu, and what HySUPP, hu_autoencoders and MiSiCNet "
        "made of them.",
        contents=(IMAGE, ABUNDANCE, ENDMEMBERS, WAVELENGTHS),
        tree=table.TREES["scene"],
        home="https://arxiv.org/abs/1708.05125",
        licence="unknown",
        citation=table.CITATION,
        items=1,
        traps=(
            *table.TRAPS[1:],
            "Pixels stand column by column in files of Matlab users, row by row in those of Python users.",
        ),
    )
    published: ClassVar[Published] = Published()

    def __init__(
        self,
        root: str | Path,
        *,
        data: str | None = None,
        truth: str | Sequence[str] | None = None,
        order: str | None = None,
        size: tuple[int, int] | None = None,
        kept: bool = True,
        wavelengths: Sequence[float] | None = None,
        **common: Unpack[Common],
    ) -> None:
        if order not in (None, "columns", "rows"):
            raise CatalogError(f"order={order!r} must be 'columns' or 'rows', or None for what the file's names say")
        if size is not None and (len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size)):
            raise CatalogError(f"size={size!r} must be the number of rows and of columns, for example size=(95, 95)")
        keys = common.get("keys")
        look = Look(
            data,
            (truth,) if isinstance(truth, str) else None if truth is None else tuple(truth),
            order,
            size and (size[0], size[1]),
            kept,
            None if wavelengths is None else tuple(map(float, wavelengths)),
            needs_truth=keys is None or bool({"abundance", "endmembers"} & set(keys)),
        )
        self._open(Path(root), look, common)

    def _open(self, root: Path, look: Look, common: Common) -> None:
        if common.get("download", False):
            self.download(root)
        scene = self._inspect(root, look)
        bands = common.get("bands")
        if scene.abundance is not None and bands and not isinstance(bands, str) and not set(scene.names) & set(bands):
            common = {**common, "bands": [*bands, *scene.names]}
        contents = _contents(scene, bands)
        # What this copy holds takes the place of what any copy may hold.
        self.spec = replace(self.spec, contents=contents, needs=scene.files)  # type: ignore[misc]
        common = {"dtype": torch.float32, **common}
        super().__init__(root, contents=contents, options={"look": look}, **common)
        self.endmember_names = scene.names

    @classmethod
    def _known(cls, look: Look) -> Published:
        return cls.published

    @classmethod
    def _inspect(cls, root: Path, look: Look) -> Scene:
        return inspect(root, cls._known(look), look, cls.spec.title, cls.spec.tree)

    @classmethod
    def index(cls, root: Path, *, on_error: str, progress: bool, **options: Any) -> Catalog:
        """Make the catalog of the one scene."""
        scene = cls._inspect(root, options.get("look", Look()))
        check_order(root, scene)
        assets, columns = [_asset(root, "cube", scene.cube, scene.bands, scene.indexes)], {"cube": [scene.cube.path]}
        if scene.abundance is not None:
            each = tuple(range(1, len(scene.names) + 1))
            assets.append(_asset(root, "shares", scene.abundance, Bands(scene.names), each))
            columns["shares"] = [scene.abundance.path]
        return Catalog.from_columns(
            key=[Path(scene.cube.path).stem],
            affine=[(1, 0, 0, 0, 1, 0)],
            shape=[scene.shape],
            crs=None,
            columns=columns,
            assets=assets,
            root=str(root),
        )

    @classmethod
    def fake(cls, root: Path, items: int = 4) -> None:
        """Write a look-alike."""
        from geodata.datasets.unmixing_fake import WRITERS

        WRITERS[cls.spec.name](root)


def _asset(root: Path, column: str, held: Held, bands: Bands, indexes: tuple[int, ...]) -> Asset:
    dtype = arrays.shape_of(os.path.join(root, held.path), held.name, format="array")[1]
    validity = "nan" if dtype.startswith("float") else "all"
    return Asset(f"{{{column}}}", bands, indexes, 1, dtype, None, validity, "array", held.name, held.layout)


def _contents(scene: Scene, bands: Any) -> tuple[Content, ...]:
    """Return what a sample of this copy holds; whole-item arrays follow the channels asked for."""
    wanted = scene.bands
    if bands is not None and not isinstance(bands, str):
        wanted = scene.bands.select([b for b in bands if b not in scene.names]) or wanted
    contents: list[Content] = [replace(IMAGE, bands=scene.bands, shape=scene.shape)]
    if scene.abundance is not None:
        contents.append(replace(ABUNDANCE, bands=Bands(scene.names), shape=scene.shape))
    if scene.endmembers is not None:
        places = tuple(scene.places[scene.bands.position(name)] for name in wanted.names)
        contents.append(replace(ENDMEMBERS, load=partial(_spectra, held=scene.endmembers, places=places)))
    waves = tuple(wanted.wavelengths.tolist())
    return (*contents, replace(WAVELENGTHS, load=partial(_constant, values=waves)))


def _spectra(catalog: Catalog, row: int, *, held: Held, places: tuple[int, ...]) -> NDArray[np.float32]:  # noqa: ARG001  # one item
    """Return (P, C) spectra at some places, NaN at -1."""
    stored = arrays.load(resolve(catalog.root, held.path), held.name, format="array")
    spectra = (stored.T if held.layout == "c p" else stored).astype(np.float32)
    return np.where(np.array(places) < 0, np.float32(np.nan), spectra[:, list(places)])


def _constant(catalog: Catalog, row: int, *, values: tuple[float, ...]) -> NDArray[np.float32]:  # noqa: ARG001  # the same for all
    return np.array(values, dtype=np.float32)
