"""What worker processes inherit from a parent that has read: nothing that gives another pixel, an error, or no answer.

Everything runs in processes of its own, with caches of 1 MB, so that blocks are read from the file again and again.
What must hold is asked of the library as it is; that the question can be answered with no is shown by asking the same of it
with its guard taken away.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import fiona
import numpy as np
import pytest
import shapely
from makers import north_up, write_tif
from shapely.geometry import mapping

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Two noisy scenes in deflated tiles, each larger than the cache, and their pixels as plain arrays."""
    folder = tmp_path_factory.mktemp("archive")
    rng = np.random.default_rng(7)
    for i in range(2):
        pixels = rng.integers(0, 4000, (1024, 1024)).astype(np.uint16)
        np.save(folder / f"{i}.npy", pixels)
        options = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate", "zlevel": 1}
        write_tif(folder / f"{i}.tif", pixels, north_up(500000 + 20000 * i), **options)
    return folder


HEAD = """
import json, os, signal, sys, threading, time
import numpy as np
import torch
import geodata as gd
from geodata.datasets import RasterDataset
from geodata.readers import pool
from geodata.samplers import RandomPatchSampler
from torch.utils.data import DataLoader

torch.set_num_threads(1)
FOLDER = sys.argv[1]


class Checking:
    "Counts pixels that are not those written, and errors, of many queries."

    def __init__(self, ds):
        self.ds = ds
        self.expected = {str(i): np.load(f"{FOLDER}/{i}.npy", mmap_mode="r") for i in range(2)}

    def __len__(self):
        return len(self.ds)

    def __getitems__(self, queries):
        found = {"patches": len(queries), "wrong": 0, "errors": 0}
        for query in queries:
            try:
                sample = self.ds[query]
            except Exception:
                found["errors"] += 1
                continue
            r, c, h, w = query.window
            expected = self.expected[sample["key"]][r : r + h, c : c + w]
            found["wrong"] += int((sample["image"][0].numpy() != expected).sum())
        return [found]


def counted(found):
    return {k: sum(one[k] for one in found) for k in ("patches", "wrong", "errors")}


"""

EPOCHS = """
if sys.argv[2] == "removed":
    pool._process = lambda: (0, 0)
ds = RasterDataset(FOLDER, dtype=None)
checking = Checking(ds)
sampler = RandomPatchSampler(ds, size=96, length=400, seed=0)
before = checking.__getitems__(list(sampler)[:40])[0]
assert before == {"patches": 40, "wrong": 0, "errors": 0}
result = {}
for kind in sys.argv[3:]:
    workers, options = (4, {}) if kind == "fresh" else (2, {"persistent_workers": True})
    options |= {"num_workers": workers, "multiprocessing_context": "fork", "collate_fn": lambda samples: samples[0]}
    loader = DataLoader(checking, sampler=sampler, batch_size=10, **options)
    found = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        for batch in loader:
            found.append(batch)
            found.append(checking.__getitems__(list(sampler)[:1])[0] | {"patches": 0})  # the parent reads on
    result[kind] = counted(found)
print(json.dumps(result))
"""

FORKING = """
ds = RasterDataset(FOLDER, dtype=None)
checking = Checking(ds)
queries = list(RandomPatchSampler(ds, size=96, length=300, seed=1))
stop, found = threading.Event(), []


def read(part):
    while not stop.is_set():
        for query in part:
            if stop.is_set():
                return
            found.append(checking.__getitems__([query])[0])


threads = [threading.Thread(target=read, args=(queries[k::3],)) for k in range(3)]
for thread in threads:
    thread.start()
time.sleep(0.3)
hung = bad = 0
for k in range(int(sys.argv[2])):
    child = os.fork()
    if not child:
        signal.alarm(60)
        one = checking.__getitems__([queries[k % 300]])[0]
        os._exit(int(one["wrong"] + one["errors"] > 0))
    status = os.waitpid(child, 0)[1]
    hung += os.WIFSIGNALED(status)
    bad += not os.WIFSIGNALED(status) and os.WEXITSTATUS(status) != 0
stop.set()
for thread in threads:
    thread.join()
print(json.dumps({"hung": hung, "bad": bad} | {k: v for k, v in counted(found).items() if k != "patches"}))
"""


def run(folder, text, *args, **environment):
    """Run a script in a process of its own and return what it printed last, as JSON."""
    script = folder / "script.py"
    script.write_text(HEAD + text)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), *map(str, args)],
        env=os.environ | {"GDAL_CACHEMAX": "1", "GEODATA_CACHEMAX": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


STARTED = """
import hashlib
from geodata.datasets import VectorDataset


def digest(value, mark):
    "Everything in a sample that has a meaning in another process too."
    if isinstance(value, dict):
        for key in sorted(value):
            mark.update(key.encode())
            digest(value[key], mark)
    elif isinstance(value, torch.Tensor):
        mark.update(repr((value.dtype, tuple(value.shape))).encode() + value.contiguous().numpy().tobytes())
    else:
        mark.update(repr(value).encode())


class Several:
    "Samples of several datasets as digests, worked out where they are read."

    def __init__(self, **sets):
        self.sets = sets

    def __len__(self):
        return 4

    def __getitem__(self, index):
        marks = {}
        for name, (ds, queries) in self.sets.items():
            mark = hashlib.sha256()
            digest(ds[queries[index]], mark)
            marks[name] = mark.hexdigest()
        return marks


if __name__ == "__main__":
    image, fields = RasterDataset(FOLDER, dtype=None), sys.argv[2]
    joined = image & VectorDataset(fields, label="crop") & image.named("again")
    paired = image.join(image.named("same"), on="key").tile(256)
    drawn = VectorDataset(fields, label="crop", res=10, task="instances")
    series = image.series()
    boxes = [drawn.catalog.grid(0).window(40 * i, 40 * i, 100, 100) for i in range(4)]
    several = Several(
        joined=(joined, list(RandomPatchSampler(joined, size=80, length=4, seed=2))),
        paired=(paired, [0, 5, 9, 20]),
        drawn=(drawn, [gd.Query(grid=box) for box in boxes]),
        series=(series, list(RandomPatchSampler(series, size=48, length=4, seed=3))),
    )
    here = [several[i] for i in range(4)]
    assert len({mark for one in here for mark in one.values()}) == 16
    found = {"here": here}
    for method in ("spawn", "forkserver"):
        loader = DataLoader(several, batch_size=None, num_workers=1, multiprocessing_context=method)
        found[method] = list(loader)
    print(json.dumps(found))
"""

MEMORY = """
from geodata.datasets import VectorDataset

kept = []
ds = RasterDataset(FOLDER, dtype=None) & VectorDataset(sys.argv[2], label="crop")
sampler = RandomPatchSampler(ds, size=64, length=500, seed=0)
page, sizes = os.sysconf("SC_PAGE_SIZE"), []
for epoch in range(int(sys.argv[3])):
    sampler.set_epoch(epoch)
    for query in sampler:
        sample = ds[query]
        if sys.argv[4] == "leak":
            kept.append(bytes(2048))  # a quarter of its image
    with open("/proc/self/statm") as file:
        sizes.append(int(file.read().split()[1]) * page)
print(json.dumps(sizes))
"""


@pytest.fixture(scope="module")
def fields(archive, tmp_path_factory):
    """Overlapping squares with text labels over the first scene."""
    path = tmp_path_factory.mktemp("fields") / "fields.gpkg"
    schema = {"geometry": "Polygon", "properties": {"crop": "str"}}
    with fiona.open(path, "w", driver="GPKG", crs="EPSG:32633", schema=schema) as layer:
        for i in range(400):
            x, y = 500000 + 510 * (i % 20), 5600000 - 510 * (i // 20)
            square = shapely.box(x, y - 600, x + 600, y)
            layer.write({"geometry": mapping(square), "properties": {"crop": "abcde"[i % 5]}})
    return path


@pytest.mark.parametrize("plain", ["0", "1"])
def test_1200_patches_after_the_parent_has_read(archive, tmp_path, plain):
    found = run(tmp_path, EPOCHS, archive, "kept", "fresh", "persistent", GEODATA_TIFF=plain)
    assert found == {kind: {"patches": 1200, "wrong": 0, "errors": 0} for kind in ("fresh", "persistent")}


def test_without_the_process_in_the_key_of_the_pool_patches_are_spoiled(archive, tmp_path):
    found = run(tmp_path, EPOCHS, archive, "removed", "fresh", GEODATA_TIFF="0")["fresh"]
    assert found["patches"] == 1200
    assert found["wrong"] + found["errors"] > 0


@pytest.mark.parametrize("plain", ["0", pytest.param("1", marks=pytest.mark.slow)])
def test_children_forked_while_threads_read_find_no_lock_held(archive, tmp_path, plain):
    found = run(tmp_path, FORKING, archive, 40, GEODATA_TIFF=plain)
    assert found == {"hung": 0, "bad": 0, "wrong": 0, "errors": 0}


@pytest.mark.slow
def test_joins_series_and_layers_are_the_same_in_processes_started_anew(archive, fields, tmp_path):
    found = run(tmp_path, STARTED, archive, fields)
    assert found["spawn"] == found["here"]
    assert found["forkserver"] == found["here"]


def growth(sizes):
    """Bytes a sample, over the later two thirds: the straight line through the sizes after every 500 samples."""
    late = sizes[len(sizes) // 3 :]
    return float(np.polyfit(500 * np.arange(len(late)), late, 1)[0])


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads the memory of a process from /proc")
@pytest.mark.parametrize("plain", [pytest.param("0", marks=pytest.mark.slow), "1"])
def test_memory_does_not_grow_with_the_samples_read(archive, fields, tmp_path, plain):
    sizes = run(tmp_path, MEMORY, archive, fields, 9, "none", GEODATA_TIFF=plain, GEODATA_CACHEMAX="4")
    assert abs(growth(sizes)) < 512, sizes


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads the memory of a process from /proc")
def test_memory_that_grows_is_noticed(archive, fields, tmp_path):
    sizes = run(tmp_path, MEMORY, archive, fields, 6, "leak", GEODATA_CACHEMAX="4")
    assert growth(sizes) > 1024, sizes
