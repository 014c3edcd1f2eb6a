"""The benchmarks of SpectralEarth: sensors, label rasters, and which codes are classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from geodata.bands import Bands
from geodata.catalog import Catalog
from geodata.datasets.enmap_table import valid_bands, with_nodata
from geodata.datasets.lists import parts_of, with_split
from geodata.datasets.spectral_earth_table import CITATION, HOME, LICENCE, TRAPS
from geodata.datasets.tables import classes
from geodata.errors import BandsError, GridError, NoFilesError
from geodata.fields.mask import Codes
from geodata.readers.base import Asset
from geodata.readers.door import Place, read
from geodata.spec import Classes, Content, DatasetSpec, Image, Label, Mask

__all__ = ["TASKS", "Task", "catalog", "kept", "present", "spec_of"]


@dataclass(frozen=True)
class Task:
    """One benchmark.

    Parameters
    ----------
    title, about : as in `DatasetSpec`
    sensor, label : folders of images and label rasters
    codes : stored numbers that are classes, in the order of the classes
    names : table of classes that names the codes, or what stands before the code as a name
    items : number of patches in the authors' split files
    """

    title: str
    about: str
    sensor: str
    label: str
    codes: tuple[int, ...]
    names: str
    items: int


TASKS = {
    "enmap_cdl": Task("EnMAP-CDL", "Crops of the United States from the Cropland Data Layer.", "enmap", "cdl",
        (1, 2, 3, 4, 5, 6, 45, 54, 69, 72, 75, 76, 204, 210), "cdl", 1600),
    "enmap_nlcd": Task("EnMAP-NLCD", "Land cover of the United States from the National Land Cover Database.", "enmap", "nlcd",
        (11, 21, 22, 23, 24, 31, 41, 42, 43, 52, 71, 81, 82, 90, 95), "nlcd", 13500),
    "enmap_eurocrops": Task("EnMAP-EuroCrops", "Crops of Europe from EuroCrops, codes of HCAT.", "enmap", "eurocrops",
        (3301090205, 3301010600, 3301090303, 3301010800, 3301090301, 3303060000, 3303030600, 3303050000, 3303030100,
         3301060500, 3301060300, 3303010000, 3301020000, 3301160000, 3301029900), "eurocrops", 1800),
    "enmap_bdforet": Task("EnMAP-BDForet", "Tree species of France from BD Foret V2.", "enmap", "bdforet",
        (1, 2, 3, 4, 5, 7, 9, 10, 11, 12, 14, 16), "BD Foret", 2550),
    "enmap_treemap": Task("EnMAP-TreeMap", "Forest types of the United States from TreeMap.", "enmap", "treemap",
        (184, 185, 221, 924, 105, 503, 520, 706, 801, 201, 264, 266, 281, 301, 901, 406, 923, 142, 161, 602, 607, 608, 267,
         371), "treemap", 10000),
    "enmap_bnetd": Task("EnMAP-BNETD", "Land cover of Ivory Coast from the map of the BNETD.", "enmap", "bnetd",
        (1, 2, 3, 6, 9, 10, 13, 15, 16, 21), "BNETD", 2100),
    "enmap_corine": Task("EnMAP-CORINE", "Multi-label land cover of Europe from CORINE.", "enmap", "corine",
        (), "clc19", 11000),
    "desis_cdl": Task("DESIS-CDL", "Crops of the United States from the Cropland Data Layer, seen by DESIS.", "desis", "cdl",
        (1, 2, 3, 5, 42, 43, 49, 54, 56, 68, 69, 75, 76, 204), "cdl", 1000),
    "eo1_cdl": Task("EO1-CDL", "Crops of the United States from the Cropland Data Layer, seen by Hyperion.", "eo1", "cdl",
        (1, 2, 3, 4, 5, 6, 41, 42, 43, 54, 69, 75, 76, 204), "cdl", 550),
}  # fmt: skip

_COUNTS = {"desis": 235, "eo1": 198}


def kept(task: Task) -> Classes:
    """Return the classes of a benchmark; 0 and all codes that it does not list are of no class."""
    if not task.codes:
        return replace(classes(task.names), unlisted="ignore")
    try:
        known = classes(task.names)
        names = {code: known.names[i] for code, i in (known.codes or {}).items()}
        colours = {code: known.colours[i] for code, i in (known.codes or {}).items()} if known.colours else {}
    except FileNotFoundError:
        names, colours = {code: f"{task.names} {code}" for code in task.codes}, {}
    shown = tuple(colours[code] for code in task.codes) if colours else ()
    return Classes(tuple(names[c] for c in task.codes), shown, {c: i for i, c in enumerate(task.codes)}, (), "ignore")


def spec_of(name: str) -> DatasetSpec:
    """Return the declaration of a benchmark."""
    task = TASKS[name]
    count = _COUNTS.get(task.sensor)
    bands = valid_bands() if count is None else Bands(f"B{i:03d}" for i in range(1, count + 1))
    own = (
        "Which parts a patch is in is not in the archive but in the authors' code, data/splits.",
        "The parts are drawn by chance: patches of one place and of neighbours are in different parts.",
        "Codes that the benchmark does not list are of no class, as 0 is; they are no error.",
    )
    contents: tuple[Content, ...] = (
        Image("image", task.sensor, "", f"{task.sensor}, {len(bands)} bands as stored", bands, (128, 128)),
        Mask("mask", task.label, "", "classes of the benchmark", task.label, kept(task)),
    )
    if name == "enmap_corine":
        contents += (Label("label", about="all classes of the mask", columns=("labels",), classes=kept(task)),)
    return DatasetSpec(
        name=name,
        title=task.title,
        about=f"{task.about} A benchmark of SpectralEarth.",
        contents=contents,
        tree=f"{task.sensor}/<location, 7 digits>/<scene, 5 digits>.tif\n{task.label}/<location>/<scene>.tif\n"
        f"splits/{{train,val,test}}.txt    # data/splits/{name} of github.com/AABNassim/spectral_earth; or elsewhere, with splits=",
        home=HOME,
        licence=LICENCE,
        citation=CITATION,
        splits=("train", "val", "test"),
        lists="splits/{}.txt",
        items=task.items,
        traps=(*own, *TRAPS) if task.sensor == "enmap" else (*own, "Wavelengths are not published with the archive."),
    )


def catalog(root: Path, spec: DatasetSpec, lists: str, *, on_error: str, progress: bool) -> Catalog:
    """Make the catalog of all label rasters and their images.

    Raises
    ------
    NoFilesError
        If a label raster has no image, or a split file names what is not there.
    GridError, BandsError
        If image and labels differ in size or place, or images do not have the bands of the sensor.
    """
    image, mask = (c for c in spec.contents if isinstance(c, (Image, Mask)))
    sensor, label = image.needs, mask.needs
    names = sorted(p.relative_to(root / label).as_posix() for p in (root / label).glob("*/*.tif"))
    there = [name for name in names if (root / sensor / name).is_file()]
    lacking = [name.removesuffix(".tif") for name in sorted(set(names) - set(there))]
    if not names:
        raise NoFilesError(f"{spec.title}: {root / label} holds no <location>/<scene>.tif. Expected:\n{spec.tree}")
    if not there or (lacking and on_error == "raise"):
        raise NoFilesError(
            f"{spec.title}: {len(lacking)} of {len(names)} label rasters have no image, first {sensor}/{lacking[0]}.tif; "
            "extract the rest, or take what is there with on_error='skip'"
        )
    found = Catalog.scan(
        [root / folder / name for name in there for folder in (sensor, label)],
        pattern=rf"^(?P<band>{sensor}|{label})/(?P<item>(?P<location>[^/]+)/(?P<scene>[^/]+))\.tif$",
        on_error=on_error,
        progress=progress,
    )
    bands = {sensor: image.bands, label: Bands([label])}  # type: ignore[union-attr]  # the first is the image
    slots = sorted(bands)
    assets = tuple(_named(a, s, bands[s], s == sensor, spec) for s, a in zip(slots, found.assets, strict=True))
    dropped = (*found.dropped, *lacking)
    parts = parts_of(root, lists, spec, lambda line: line.removesuffix(".tif"))
    parts = {key: part for key, part in parts.items() if key not in dropped}  # dropped once is enough
    found = replace(found, assets=assets, dropped=dropped)
    return with_split(found, parts, spec, root, on_error=on_error)


def _named(asset: Asset, slot: str, bands: Bands, image: bool, spec: DatasetSpec) -> Asset:
    """Return the file of a slot with the bands of the sensor; of label rasters the first band counts."""
    if asset.ratio != 1:
        raise GridError(
            f"{spec.title}: {slot} has pixels {asset.ratio} times as wide as those beside it; image and labels must have "
            "the same size"
        )
    if image and len(asset.bands) != len(bands):
        raise BandsError(f"{spec.title}: images in {slot} have {len(asset.bands)} bands; the sensor has {len(bands)}")
    count = len(bands)
    return replace(with_nodata(asset) if image else asset, bands=bands, indexes=asset.indexes[:count])


def present(catalog: Catalog, label: str, table: Classes) -> pa.Array:
    """Return the names of the classes in each label raster, in the order of the classes."""
    asset = next(a for a in catalog.assets if a.bands.names == (label,))
    codes = Codes.of(table.codes or {})
    out = []
    for row in range(len(catalog)):
        height, width = catalog.shape[row].tolist()
        raster = read(asset, Place(str(catalog.href(asset, row))), (0, 0, height, width))
        stored = np.unique(raster.data[0][raster.valid]).astype(np.int64)
        chosen = codes.classes[np.isin(codes.stored, stored)]
        out.append([table.names[i] for i in sorted(set(chosen[chosen >= 0].tolist()))])
    return pa.array(out, pa.list_(pa.string()))
