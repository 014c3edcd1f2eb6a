"""Few file handles: what is idle gives way, and nothing that could not be opened is passed over in silence.

A process may have 64 files open here, as soft and as hard limit, so everything runs in processes of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("resource", reason="limits of open files are set by the module resource")

HEAD = """
import json, os, resource, sys, warnings
import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import from_origin
from rasterio.windows import Window
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
import geodata as gd
from geodata.datasets import RasterDataset, VectorDataset
from geodata.errors import ReadError
from geodata.readers import gdal, pool
from geodata.readers.vector import open_layer

FOLDER = sys.argv[1]
UTM, LEFT, TOP = "EPSG:32633", 500000.0, 5600000.0


def path(name):
    os.makedirs(os.path.dirname(os.path.join(FOLDER, name)), exist_ok=True)
    return os.path.join(FOLDER, name)


def write(name, pixels, left=LEFT, res=10, **profile):
    pixels = np.asarray(pixels)
    shape = {"height": pixels.shape[0], "width": pixels.shape[1], "count": 1, "dtype": pixels.dtype}
    place = from_origin(left, TOP, res, res)
    with rasterio.open(path(name), "w", driver="GTiff", crs=UTM, transform=place, **shape, **profile) as dst:
        dst.write(pixels, 1)
    return path(name)


def mosaic(name, sources, size):
    "A VRT with one source beside the other."
    text = f"<VRTDataset rasterXSize='{size * len(sources)}' rasterYSize='{size}'><SRS>{UTM}</SRS>"
    text += f"<GeoTransform>{LEFT},10,0,{TOP},0,-10</GeoTransform><VRTRasterBand dataType='UInt16' band='1'>"
    for i, source in enumerate(sources):
        text += f"<SimpleSource><SourceFilename relativeToVRT='1'>{os.path.basename(source)}</SourceFilename>"
        text += f"<SourceBand>1</SourceBand><SrcRect xOff='0' yOff='0' xSize='{size}' ySize='{size}'/>"
        text += f"<DstRect xOff='{size * i}' yOff='0' xSize='{size}' ySize='{size}'/></SimpleSource>"
    with open(path(name), "w") as file:
        file.write(text + "</VRTRasterBand></VRTDataset>")
    return path(name)


def open_files():
    return len(os.listdir("/proc/self/fd")) - 1


class Crowd:
    "Open files until so many more may be opened."

    def __init__(self, left):
        self.left, self.files = left, []

    def __enter__(self):
        try:
            while True:
                self.files.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
        for _ in range(self.left):
            os.close(self.files.pop())

    def __exit__(self, *_):
        for file in self.files:
            os.close(file)

"""

MANY = """
count, rng = int(sys.argv[2]), np.random.default_rng(0)
template = open(write("template/t.tif", np.zeros((8, 8), np.uint32)), "rb").read()
offset = len(template) - 256
with rasterio.open(path("template/t.tif")) as src:
    assert src.profile["blockysize"] == 8 and template[offset:] == bytes(256)
os.makedirs(path("items/x"))
for i in range(count):
    with open(path(f"items/{i:05d}.tif"), "wb") as file:
        file.write(template[:offset] + np.full(64, i, "<u4").tobytes())
os.rmdir(path("items/x"))
ds = RasterDataset(path("items"), dtype=None)
wrong, most = 0, 0
for i in rng.permutation(count).tolist():
    image = ds[i]["image"]
    wrong += not bool((image == int(ds.catalog.key[i])).all())
    if i % 50 == 0:
        most = max(most, open_files())
print(json.dumps({"items": len(ds), "wrong": wrong, "most": most, "idle": len(pool.handles)}))
"""

LAYERS = """
square = {"type": "Polygon", "coordinates": [[[0, 0], [0, 1], [1, 1], [1, 0], [0, 0]]]}
names = []
for i in range(120):
    x, y = LEFT + 80 * i, TOP
    ring = [[x, y], [x + 80, y], [x + 80, y - 80], [x, y - 80], [x, y]]
    feature = {"type": "Feature", "properties": {"crop": i}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    with open(path(f"layers/{i:03d}.geojson"), "w") as file:
        json.dump({"type": "FeatureCollection", "crs": crs, "features": [feature]}, file)
    for band in range(12):
        write(f"scenes/s{i:03d}_B{band:02d}.tif", np.full((8, 8), 100 * i + band, np.uint16), left=x)
images = RasterDataset(path("scenes"), pattern=r"(?P<scene>s\\d+)_(?P<band>B\\d+)", dtype=None)
ds = images & VectorDataset(path("layers"), label="crop")
wrong, most = 0, 0
for i in np.random.default_rng(1).permutation(len(ds)).tolist():
    sample = ds[i]
    k = int(sample["key"][1:4])
    wrong += sample["image"][:, 3, 3].tolist() != [100 * k + band for band in range(12)]
    wrong += not bool((sample["mask"] == k).all())
    most = max(most, open_files())
print(json.dumps({"items": len(ds), "wrong": wrong, "most": most}))
"""

THREADS = """
sources = [write(f"v/{i}.tif", np.full((16, 16), i, np.uint16)) for i in range(40)]
mosaic("v/all.vrt", sources, 16)
ds = RasterDataset(path("v/all.vrt"), dtype=None)
queries = [gd.Query(row=0, window=(0, 16 * (k % 29), 16, 12 * 16)) for k in range(90)]
bad = 0
for batch in gd.Loader(ds, sampler=queries, batch_size=1, threads=6):
    first = batch["query"][0].window[1] // 16
    bad += not bool((batch["image"][0, 0, 8, ::16].numpy() == np.arange(first, first + 12)).all())
print(json.dumps(bad))
"""

CROWDED = """
def everything(name, validity="mask", window=(0, 0, 16, 16)):
    raster = gdal.read(name, window, [1], validity=validity)
    return raster.data[0], raster.valid


def tried(case):
    try:
        return case()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def idle(count):
    "Fill the pool with handles that nobody uses."
    pool.handles.clear()
    for i in range(count):
        with pool.handles.take(others[i]):
            pass


others = [write(f"others/{i}.tif", np.full((16, 16), i, np.uint16)) for i in range(40)]
plain = write("f/plain.tif", np.full((16, 16), 7, np.uint16))
half = np.zeros((16, 16), bool)
half[8:] = True
masked = write("f/masked.tif", np.full((16, 16), 7, np.uint16))
with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(masked, "r+") as dst:
    dst.write_mask(half)
assert os.path.exists(masked + ".msk")
aux = write("f/aux.tif", np.where(half, 7, 9).astype(np.uint16))
with open(aux + ".aux.xml", "w") as file:
    file.write("<PAMDataset><PAMRasterBand band='1'><NoDataValue>9</NoDataValue></PAMRasterBand></PAMDataset>")
vrt = mosaic("others/all.vrt", others, 16)
import fiona
with fiona.open(path("f/l.shp"), "w", driver="ESRI Shapefile", crs=UTM, encoding="UTF-8",
                schema={"geometry": "Point", "properties": {"name": "str"}}) as layer:
    layer.write({"geometry": {"type": "Point", "coordinates": (LEFT, TOP)}, "properties": {"name": "Żółw"}})


def pixels():
    return int(everything(plain)[0].sum())


def mask():
    return bool((everything(masked)[1] == half).all())


def header():
    found = gdal.describe(aux)
    return [found.validity, found.nodata]


def many():
    return everything(vrt, "all", (0, 0, 16, 640))[0][5, ::16].tolist() == list(range(40))


def layer():
    from geodata.readers import vector

    vector._cache.clear()
    return open_layer(path("f/l.shp"), columns=("name",)).columns["name"].tolist()


found = {}
for left in (0, 1, 2, 4, 6, 12):
    for case in (pixels, mask, header, layer, many):
        idle(14)
        before = len(pool.handles)
        with Crowd(left):
            found[f"{case.__name__} {left}"] = [before, tried(case)]
pool.handles.clear()
hopeless = {}
for left in (0, 1, 5):
    for case in (pixels, mask, header, layer):
        with Crowd(left):
            hopeless[f"{case.__name__} {left}"] = tried(case)
print(json.dumps([found, hopeless]))
"""


def run(folder, text, *args, **environment):
    """Run a script in a process of its own and return what it printed last, as JSON."""
    script = folder / "script.py"
    script.write_text(HEAD + text)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(folder), *map(str, args)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_ten_thousand_items_under_a_low_limit(tmp_path):
    found = run(tmp_path, MANY, 10_000)
    assert (found["items"], found["wrong"]) == (10_000, 0)
    assert found["most"] < 48


def test_many_items_through_gdal_under_a_low_limit(tmp_path):
    found = run(tmp_path, MANY, 600, GEODATA_TIFF="0")
    assert (found["items"], found["wrong"], found["idle"]) == (600, 0, 16)
    assert found["most"] < 48


@pytest.mark.slow
def test_ten_thousand_items_through_gdal_under_a_low_limit(tmp_path):
    found = run(tmp_path, MANY, 10_000, GEODATA_TIFF="0")
    assert (found["items"], found["wrong"], found["idle"]) == (10_000, 0, 16)


@pytest.mark.parametrize("plain", [pytest.param("0", marks=pytest.mark.slow), "1"])
def test_items_of_twelve_files_and_a_folder_of_layers(tmp_path, plain):
    found = run(tmp_path, LAYERS, GEODATA_TIFF=plain)
    assert (found["items"], found["wrong"]) == (120, 0)
    assert found["most"] < 56


def test_threads_that_need_more_files_than_there_may_be_wait_for_each_other(tmp_path):
    assert run(tmp_path, THREADS) == 0


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    return run(tmp_path_factory.mktemp("crowded"), CROWDED, GEODATA_TIFF="0")


RIGHT = {"pixels": 7 * 256, "mask": True, "header": ["nodata", 9.0], "layer": ["Żółw"], "many": True}


@pytest.mark.parametrize("left", [0, 1, 2, 4, 6, 12])
@pytest.mark.parametrize("case", ["pixels", "mask", "header", "layer"])
def test_idle_files_give_way(crowded, case, left):
    before, found = crowded[0][f"{case} {left}"]
    assert before == 14
    assert found == RIGHT[case]


@pytest.mark.parametrize("left", [0, 1, 2, 4, 6, 12])
def test_a_mosaic_of_more_files_than_there_may_be_open_is_whole_or_refused(crowded, left):
    found = crowded[0][f"many {left}"][1]
    assert found is True or (left < 12 and found.startswith("ReadError") and "too many open" in found.lower()), found


@pytest.mark.parametrize("left", [0, 1, 5])
@pytest.mark.parametrize("case", ["pixels", "mask", "header", "layer"])
def test_without_files_that_give_way_there_is_an_error_and_never_half_an_answer(crowded, case, left):
    found = crowded[1][f"{case} {left}"]
    assert found == RIGHT[case] or (found.startswith("ReadError") and "too many open files" in found.lower()), found


def test_the_error_says_what_to_do(crowded):
    assert "of 64 that this process may have; raise the limit (ulimit -n)" in crowded[1]["pixels 5"]
