"""SSL4EO-S12: what its folders and files are called, and where their pixels lie."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from geodata.bands import Band, Bands
from geodata.catalog import Catalog
from geodata.errors import BandsError, CatalogError, GeodataError, GridError, NoFilesError
from geodata.grid import Grid
from geodata.interval import Interval
from geodata.readers.base import Asset
from geodata.readers.raster import describe

__all__ = ["BANDS", "SIDE", "TRAPS", "TREE", "assets", "catalog", "file_of"]

TREE = """\
s2c/<7-digit id>/<start>_<stop>_T<tile>/{B1,B2,...,B8,B8A,B9,B10,B11,B12}.tif    Sentinel-2 L1C
s2a/<7-digit id>/<start>_<stop>_T<tile>/{B1,B2,...,B8,B8A,B9,B11,B12}.tif        Sentinel-2 L2A
s1/<7-digit id>/S1A_IW_GRDH_..._<start>_<stop>_.../{VV,VH}.tif                   Sentinel-1 GRD"""

TRAPS = (
    "Headers put each band half a pixel of its own up and to the left of one common corner, as the authors' writer did: by them "
    "pixels of 20 m start 0.5 and those of 60 m 2.5 pixels of 10 m before those of 10 m. The pixels of 20 m match those of 10 m "
    "where both start at one corner, which is how they are read here.",
    "Bands of 60 m were cut out by themselves: they can lie a pixel of theirs beside the others.",
    "Coordinates are degrees, but rows and columns run along the UTM zone: places are right to some pixels only.",
    "There is no nodata value, and 0 is a number like any other.",
    "Sentinel-1 lies on another grid than Sentinel-2 of the same place, and was seen on other days.",
    "Ids have gaps, and the dates of a place differ between the products.",
)

SIDE = 264
"""Pixels of 10 m along a side."""

_OPTICAL = Bands(replace(b, scale=1e-4, unit="reflectance") for b in Bands.of_sensor("sentinel-2"))
BANDS = {
    "s2c": _OPTICAL,
    "s2a": Bands(b for b in _OPTICAL if b.name != "B10"),
    "s1": Bands([Band("VV", gsd=10, unit="dB"), Band("VH", gsd=10, unit="dB")], state="dB"),
}

_ID = re.compile(r"\d{7}")
_WHEN = {
    "s2c": re.compile(r"(\d{8}T\d{6})_\d{8}T\d{6}_T\d\d[A-Z]{3}"),
    "s2a": re.compile(r"(\d{8}T\d{6})_\d{8}T\d{6}_T\d\d[A-Z]{3}"),
    "s1": re.compile(r"S1[A-D]_IW_GRDH_1S[A-Z]{2}_(\d{8}T\d{6})_(\d{8}T\d{6})_\w+"),
}


class _Scene(NamedTuple):
    location: str
    scene: str
    time: tuple[float, float]
    grid: Grid


def file_of(band: str) -> str:
    """Return the name of a band's file: B01 is in B1.tif."""
    return re.sub(r"^B0", "B", band) + ".tif"


def assets(product: str) -> list[Asset]:
    """Return the files of a scene."""
    validity = "nan" if product == "s1" else "all"
    found = []
    for band in BANDS[product]:
        ratio = int((band.gsd or 10) / 10)
        href = f"{product}/{{location}}/{{scene}}/{file_of(band.name)}"
        dtype = "float32" if product == "s1" else "uint16"
        found.append(Asset(href, Bands([band], BANDS[product].state), (1,), ratio, dtype, None, validity))
    return found


def catalog(root: Path, *, product: str, on_error: str, progress: bool) -> Catalog:
    """Make the catalog of all scenes of a product: names of all files, and the header of one file of each scene.

    Raises
    ------
    NoFilesError, BandsError, CatalogError, GridError
        If a place has no scene, or a scene lacks a band, has another name, or pixels that coarser ones do not fit on; with
        ``on_error="skip"`` these are left out and named in ``dropped``.
    """
    scenes: list[_Scene] = []
    dropped: list[str] = []
    for key, found in _shown(_scenes(root / product, product), progress):
        if isinstance(found, _Scene):
            scenes.append(found)
        elif on_error == "raise":
            raise found
        else:
            dropped.append(key)
    if not scenes:
        raise NoFilesError(f"{root / product} holds no scene that is whole ({len(dropped)} seen). Expected:\n{TREE}")
    made = Catalog.from_columns(
        key=[f"{s.location}/{s.scene}" for s in scenes],
        affine=np.array([tuple(s.grid.transform)[:6] for s in scenes]),
        shape=np.array([s.grid.shape for s in scenes]),
        crs=[s.grid.crs for s in scenes],
        time=np.array([s.time for s in scenes]),
        columns={"location": [s.location for s in scenes], "scene": [s.scene for s in scenes]},
        assets=assets(product),
    )
    return replace(made, dropped=tuple(dropped))


def _scenes(folder: Path, product: str) -> Iterator[tuple[str, _Scene | GeodataError]]:
    """Give each scene by its key, or what is wrong with it."""
    wanted = {file_of(name) for name in BANDS[product].names}
    for location in sorted(name for name in os.listdir(folder) if _ID.fullmatch(name)):
        scenes = sorted(entry.name for entry in os.scandir(folder / location) if entry.is_dir())
        if not scenes:
            yield location, NoFilesError(f"{folder / location} holds no scene; on_error='skip' leaves such places out")
        for scene in scenes:
            lacking = wanted - set(os.listdir(folder / location / scene))
            key = f"{location}/{scene}"
            try:
                yield key, _scene(folder, location, scene, product, sorted(lacking))
            except GeodataError as error:
                yield key, error


def _scene(folder: Path, location: str, scene: str, product: str, lacking: list[str]) -> _Scene:
    path = folder / location / scene
    if lacking:
        raise BandsError(f"{path} lacks {', '.join(lacking)}; on_error='skip' leaves such scenes out")
    when = _WHEN[product].fullmatch(scene)
    if when is None:
        raise CatalogError(f"{path} is not named as a scene of {product}: {_WHEN[product].pattern}")
    span = Interval.parse((when[1], when[when.lastindex or 1]))
    name = file_of("VV" if product == "s1" else "B02")
    header = describe(str(path / name))
    coarsest = 1 if product == "s1" else 6
    if any(side % coarsest for side in header.grid.shape):
        raise GridError(
            f"{path / name} has {header.grid.shape} pixels, no multiple of {coarsest}: bands of 60 m do not fit on it; "
            "on_error='skip' leaves such scenes out"
        )
    return _Scene(location, scene, (span.start, span.end), header.grid)


def _shown(scenes: Iterable[Any], progress: bool) -> Iterable[Any]:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    if not (progress and console.is_terminal):
        return scenes
    return track(scenes, description="Reading headers", console=console, transient=True)
