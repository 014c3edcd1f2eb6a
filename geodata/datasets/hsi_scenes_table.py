"""What is known of the classified hyperspectral scenes, and how their catalogs are made."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from geodata.bands import Bands
from geodata.catalog import Catalog
from geodata.datasets.roots import named
from geodata.download import Source
from geodata.errors import CatalogError
from geodata.readers import arrays
from geodata.readers.base import Asset
from geodata.spec import DatasetSpec

__all__ = [
    "CITATION",
    "HOME",
    "INDIAN_PINES",
    "PAVIA_CENTRE",
    "PAVIA_UNIVERSITY",
    "SALINAS",
    "TRAPS",
    "Files",
    "catalog",
]

HOME = "https://www.ehu.eus/ccwintco/index.php/Hyperspectral_Remote_Sensing_Scenes"

CITATION = "Hyperspectral Remote Sensing Scenes, Grupo de Inteligencia Computacional, Universidad del País Vasco (EHU)"

TRAPS = (
    "0 in the stored map means undefined, not the first class: here it is -100, and the classes are 0 and up.",
    "Pixels of one field lie side by side: a random split of pixels puts neighbours into training and test.",
    "The corrected cubes lack channels; the place of a channel is not its number in the sensor.",
)


@dataclass(frozen=True)
class Files:
    """Names of the files, of the arrays in them, and of the folders they are downloaded from."""

    cube: str
    cube_key: str
    truth: str
    truth_key: str
    cube_folder: str
    truth_folder: str

    @property
    def sources(self) -> tuple[Source, ...]:
        """What is downloaded; no checksums are published."""
        host = "http://www.ehu.eus/ccwintco/uploads/"
        both = ((self.cube, self.cube_folder), (self.truth, self.truth_folder))
        return tuple(Source(file, (f"{host}{folder}/{file}",), None) for file, folder in both)


INDIAN_PINES = Files(
    "Indian_pines_corrected.mat", "indian_pines_corrected", "Indian_pines_gt.mat", "indian_pines_gt", "6/67", "c/c4"
)
PAVIA_UNIVERSITY = Files("PaviaU.mat", "paviaU", "PaviaU_gt.mat", "paviaU_gt", "e/ee", "5/50")
PAVIA_CENTRE = Files("Pavia.mat", "pavia", "Pavia_gt.mat", "pavia_gt", "e/e3", "5/53")
SALINAS = Files("Salinas_corrected.mat", "salinas_corrected", "Salinas_gt.mat", "salinas_gt", "a/a3", "f/fa")


def catalog(root: Path, files: Files, spec: DatasetSpec) -> Catalog:
    """Make the catalog of one scene from the headers of its files; the map may be missing.

    Raises
    ------
    CatalogError
        If a file lacks its array, the cube has other channels, or cube and map differ in size.
    """
    bands: Bands = spec.contents[0].bands  # type: ignore[attr-defined]  # the first is the image
    asset, (count, *shape) = _asset(root, files.cube, files.cube_key, "h w c", bands)
    if count != len(bands):
        raise CatalogError(
            f"{spec.title}: {asset.href} has {count} channels, wanted {len(bands)}: take the cube that is published as {files.cube}"
        )
    assets = [asset]
    if named(root, files.truth):
        truth, (_, *other) = _asset(root, files.truth, files.truth_key, "h w", Bands(["gt"]))
        if other != shape:
            raise CatalogError(
                f"{spec.title}: the map is of {other} pixels, the cube of {shape}: they are of two scenes"
            )
        assets.append(truth)
    return Catalog.from_columns(
        key=[spec.name], affine=[(1, 0, 0, 0, 1, 0)], shape=[shape], crs=None, assets=assets, root=str(root)
    )


def _asset(root: Path, file: str, key: str, layout: str, bands: Bands) -> tuple[Asset, tuple[int, int, int]]:
    """Describe an array; letters of its name match in both cases, as copies differ."""
    path = named(root, file)[0]
    held = arrays.names_in(str(path), format="array")
    inside = next((name for name in held if name.lower() == key.lower()), None)
    if inside is None or len(held[inside][0]) != len(layout.split()):
        shown = ", ".join(f"{name} {tuple(shape)}" for name, (shape, _) in held.items())
        raise CatalogError(f"{path} holds no array {key!r} with axes {layout!r}; it holds {shown or 'nothing'}")
    extent, dtype = arrays.extent_of(str(path), inside, layout, format="array")
    href = os.path.relpath(path, root).replace(os.sep, "/")
    validity = "nan" if dtype.startswith("float") else "all"
    indexes = tuple(range(1, len(bands) + 1))
    return Asset(href, bands, indexes, 1, dtype, None, validity, "array", inside, layout), extent
