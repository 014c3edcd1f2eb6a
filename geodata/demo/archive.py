"""Write a small archive that looks like the real thing: two scenes in two UTM zones and a map of land cover.

Everything is drawn from a seed, so the files are the same on every machine. Two pairs of classes cannot be told apart one
pixel at a time, because they are made of the same materials in the same proportions: a forest is trees and gaps in
clumps, an orchard the same trees and gaps in rows; a settlement is roofs between gardens, where gardens are meadow and
roofs are bare like fields. Only what stands beside a pixel tells them apart.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geodata.crs import as_crs, transformer
from geodata.errors import CRSError
from geodata.grid import Grid

__all__ = ["BANDS", "CLASSES", "IMAGE_PATTERN", "Scene", "draw_scene", "write_archive"]

Array = NDArray[np.float64]

BANDS = ("B02", "B03", "B04", "B08", "B11", "B12")
CLASSES = {
    "water": "#4477aa",
    "forest": "#1b6b34",
    "orchard": "#aadd66",
    "meadow": "#ddcc77",
    "field": "#cc8844",
    "settlement": "#cc3355",
}
IMAGE_PATTERN = r"(?P<item>(?P<zone>T\d\d)_(?P<date>\d{8}))\.tif$"

# reflectance x 10,000 in the order of BANDS; round figures in the range of Sentinel-2 surface reflectance
MATERIALS = {
    "water": (500, 450, 300, 180, 90, 60),
    "tree": (260, 450, 300, 3100, 1500, 700),
    "gap": (520, 800, 760, 2300, 2200, 1400),
    "grass": (450, 850, 600, 3500, 2300, 1250),
    "bare": (950, 1300, 1650, 2300, 3000, 2500),
}
SCENES = (("T32", "20200515", 32632, 600000.0, 5400000.0), ("T33", "20200517", 32633, 390000.0, 5330000.0))


@dataclass(frozen=True, slots=True)
class Scene:
    """One drawn scene.

    Parameters
    ----------
    image : (6, H, W) uint16, reflectance x 10,000; 0 = not observed
    classes : (H, W) uint8, position in ``CLASSES``
    """

    image: NDArray[np.uint16]
    classes: NDArray[np.uint8]


def write_archive(root: Path, *, size: int = 640, seed: int = 0) -> Path:
    """Write ``images/*.tif`` and ``labels/landcover.gpkg``; a folder that is already there is left as it is.

    Parameters
    ----------
    root : folder to make; it appears only when all its files are written
    size : int, pixels per side of each scene
    seed : int

    Returns
    -------
    Path
        ``root``.
    """
    if root.is_dir():
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        (partial / "images").mkdir()
        (partial / "labels").mkdir()
        features: list[dict[str, object]] = []
        for number, (zone, date, epsg, left, top) in enumerate(SCENES):
            scene = draw_scene(size, seed=seed * len(SCENES) + number)
            grid = Grid((size, size), (10.0, 0.0, left, 0.0, -10.0, top), epsg)
            _write_image(partial / "images" / f"{zone}_{date}.tif", scene.image, grid)
            features.extend(_features(scene.classes, grid))
        _write_labels(partial / "labels" / "landcover.gpkg", features)
        partial.chmod(0o755)
        partial.replace(root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return root


def draw_scene(size: int, *, seed: int) -> Scene:
    """Draw one scene.

    Parameters
    ----------
    size : int, >= 64, pixels per side
    seed : int
    """
    rng = np.random.default_rng(seed)
    parcel, seeds = _parcels(size, rng)
    classes = _land_cover(size, parcel, seeds, rng)
    image = _materials(classes, parcel, len(seeds), rng)
    # the sun and the haze change slowly over a scene, the sensor adds its own noise to each pixel
    image *= 1 + 0.10 * _smooth(size, size / 3, rng)
    image *= 1 + 0.05 * rng.standard_normal(image.shape)
    stored = np.clip(np.rint(image), 1, 65535).astype(np.uint16)
    stored[:, _outside_swath(size)] = 0
    return Scene(stored, classes)


def _smooth(size: int, scale: float, rng: np.random.Generator) -> Array:
    """(size, size) Gaussian field of mean 0, variance 1 and a correlation length in pixels."""
    wave = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    spectrum = np.fft.rfft2(rng.standard_normal((size, size))) * np.exp(-2 * (np.pi * scale / 2 * wave) ** 2)
    field: Array = np.fft.irfft2(spectrum, s=(size, size))
    field -= field.mean()
    field /= field.std()
    return field


def _parcels(size: int, rng: np.random.Generator, spacing: int = 32) -> tuple[NDArray[np.int64], Array]:
    """Cut the ground into parcels: the number of the nearest of some scattered points, and those points."""
    n = size // spacing + 3
    base = np.stack(np.meshgrid(np.arange(n), np.arange(n), indexing="ij"), axis=-1) - 1.0
    points = (base + rng.uniform(0.1, 0.9, base.shape)) * spacing
    rows, cols = np.indices((size, size))
    best = np.full((size, size), np.inf)
    nearest = np.zeros((size, size), dtype=np.int64)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            i, j = rows // spacing + 1 + down, cols // spacing + 1 + right
            distance = np.abs(points[i, j, 0] - rows) + 0.7 * np.abs(points[i, j, 1] - cols)
            closer = distance < best
            best[closer], nearest[closer] = distance[closer], (i * n + j)[closer]
    return nearest, points.reshape(-1, 2)


def _land_cover(size: int, parcel: NDArray[np.int64], points: Array, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Class of every pixel: parcels in use, then woods, villages, lakes and a river over them."""
    names = list(CLASSES)
    use = rng.choice([names.index(n) for n in ("orchard", "meadow", "field")], size=len(points), p=(0.3, 0.25, 0.45))
    classes = use[parcel]
    wood, village, wet = (_smooth(size, scale, rng) for scale in (60, 50, 110))
    classes[wood > 0.75] = names.index("forest")
    classes[(village > 1.05) & (wood < 0.75)] = names.index("settlement")
    classes[(np.abs(wet) < 0.045) | (wet < -1.9)] = names.index("water")
    return classes.astype(np.uint8)


def _materials(classes: NDArray[np.uint8], parcel: NDArray[np.int64], parcels: int, rng: np.random.Generator) -> Array:
    """(6, H, W) reflectance x 10,000 of what each pixel is made of."""
    size = len(classes)
    names = list(CLASSES)
    spectra = {name: np.array(values, dtype=np.float64)[:, None, None] for name, values in MATERIALS.items()}
    is_a = {name: classes == number for number, name in enumerate(names)}
    image = np.where(is_a["water"], spectra["water"], spectra["grass"])
    trees = np.where(is_a["forest"], _clumps(size, rng), _rows(parcel, parcels, rng))
    wooded = is_a["forest"] | is_a["orchard"]
    image = np.where(wooded, np.where(trees, spectra["tree"], spectra["gap"]), image)
    # a field is anything between bare soil and a full crop, all of it at one stage
    stage = rng.beta(0.9, 1.3, parcels)[parcel]
    image = np.where(is_a["field"], spectra["bare"] * (1 - stage) + spectra["grass"] * stage, image)
    roofs = is_a["settlement"] & (_smooth(size, 2.0, rng) > 0.25)
    image = np.where(roofs, spectra["bare"], image)
    vigour = 1 + 0.08 * rng.standard_normal(parcels)[parcel] + 0.06 * _smooth(size, 12, rng)
    return image * vigour


def _clumps(size: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Half of the pixels, in irregular clumps a few pixels wide."""
    field = _smooth(size, 2.2, rng)
    return field > np.median(field)


def _rows(parcel: NDArray[np.int64], parcels: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Half of the pixels, in straight rows two pixels wide whose direction is the parcel's own."""
    rows, cols = np.indices(parcel.shape)
    angle = rng.choice([0.0, np.pi / 2, np.pi / 4, -np.pi / 4], parcels)[parcel]
    across = rows * np.cos(angle) + cols * np.sin(angle) + rng.uniform(0, 4, parcels)[parcel]
    planted: NDArray[np.bool_] = np.mod(across, 4.0) < 2.0
    return planted


def _outside_swath(size: int) -> NDArray[np.bool_]:
    """Two corners that the sensor did not see, as at the slanted edge of an orbit."""
    rows, cols = np.indices((size, size)) / size
    outside: NDArray[np.bool_] = (cols + 0.25 * rows < 0.12) | (cols + 0.25 * rows > 1.15)
    return outside


def _write_image(path: Path, image: NDArray[np.uint16], grid: Grid) -> None:
    import rasterio

    from geodata.bands import Bands

    known = Bands.of_sensor("sentinel-2").select(BANDS)
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint16", count=len(image), height=grid.height, width=grid.width, nodata=0,
        transform=grid.transform, crs=grid.crs.to_wkt() if grid.crs else None, tiled=True, blockxsize=128,
        blockysize=128, compress="deflate", predictor=2,
    ) as file:  # fmt: skip
        file.write(image)
        for number, band in enumerate(known, start=1):
            file.set_band_description(number, band.name)
            file.update_tags(number, wavelength=band.wavelength, fwhm=band.fwhm, wavelength_units="Nanometers")


def _features(classes: NDArray[np.uint8], grid: Grid) -> list[dict[str, object]]:
    """Polygons of equal class in longitude and latitude."""
    import shapely
    from rasterio.features import shapes

    wgs84 = as_crs("EPSG:4326")
    if wgs84 is None or grid.crs is None:
        raise CRSError("labels need a scene with a CRS")
    to_lonlat = transformer(grid.crs, wgs84)
    found = []
    for outline, value in shapes(classes, transform=grid.transform):
        polygon = shapely.transform(
            shapely.geometry.shape(outline), lambda xy: np.stack(to_lonlat.transform(xy[:, 0], xy[:, 1]), axis=-1)
        )
        properties = {"landcover": list(CLASSES)[int(value)], "code": int(value)}
        found.append({"geometry": shapely.geometry.mapping(polygon), "properties": properties})
    return found


def _write_labels(path: Path, features: list[dict[str, object]]) -> None:
    import fiona

    schema = {"geometry": "Polygon", "properties": {"landcover": "str", "code": "int"}}
    # a fixed date in the file's header keeps the archive the same from run to run
    before = os.environ.get("OGR_CURRENT_DATE")
    os.environ["OGR_CURRENT_DATE"] = "2020-06-01T00:00:00.000Z"
    try:
        with fiona.open(path, "w", driver="GPKG", schema=schema, crs="EPSG:4326", layer="landcover") as file:
            file.writerecords(features)
    finally:
        if before is None:
            del os.environ["OGR_CURRENT_DATE"]
        else:
            os.environ["OGR_CURRENT_DATE"] = before
