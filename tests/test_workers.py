"""Worker processes and threads: the same samples for any number of them, and never a pixel of a shared file handle.

Everything runs in processes of their own, because it needs its own start methods, environment and GDAL settings. They take
seconds to start, so many cases share one; each case still fails alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from makers import north_up, write_tif

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Six tiled, compressed files whose pixels say where they lie: value = 5000 * file + 97 * row + column."""
    folder = tmp_path_factory.mktemp("archive")
    row, col = np.mgrid[0:256, 0:256]
    for i in range(6):
        pixels = (5000 * i + 97 * row + col).astype(np.uint16)
        options = {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"}
        write_tif(folder / f"{i}.tif", pixels, north_up(500000 + 3000 * i), **options)
    return folder


HEAD = """
import contextlib, hashlib, json, multiprocessing, os, sys, warnings
import numpy as np
import torch
import geodata as gd
from geodata.datasets import RasterDataset
from geodata.samplers import GridPatchSampler, ItemSampler, RandomPatchSampler
from geodata.readers import pool
from torch.utils.data import DataLoader


def wrong(batch):
    "Pixels that are not what their place says."
    count = 0
    for image, key, query in zip(batch["image"], batch["key"], batch["query"]):
        r, c, h, w = query.window
        row, col = np.mgrid[r : r + h, c : c + w]
        count += int((image[0].numpy() != 5000 * int(key) + 97 * row + col).sum())
    return count


def digest(loader):
    h = hashlib.sha256()
    for batch in loader:
        h.update(batch["image"].numpy().tobytes())
        h.update(repr((batch["key"], batch["query"], batch["draw"].tolist(), batch["grid"], batch["time"])).encode())
    return h.hexdigest()


def where(samples):
    "A batch, and whether it is the buffer that the dataset filled; worked out in the worker."
    batch = gd.collate(samples)
    batch["same"] = batch["image"].data_ptr() == samples[0]["image"].data_ptr()
    return batch


class Counting:
    "Adds the number of open files of the archive to each sample."

    def __init__(self, ds, folder):
        self.ds, self.folder = ds, os.path.realpath(folder)

    def __len__(self):
        return len(self.ds)

    def __getitems__(self, queries):
        samples = self.ds.__getitems__(queries)
        count = 0
        for n in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):  # another thread closed it meanwhile
                count += os.readlink(f"/proc/self/fd/{n}").startswith(self.folder)
        return [{**s, "open": count} for s in samples]


def tried(case, *args):
    try:
        return case(*args)
    except Exception as error:
        return f"{type(error).__name__}: {error}"

"""


FORKED = """
def after_reading_in_the_parent(ds):
    sampler = RandomPatchSampler(ds, size=64, length=600, seed=0)
    for q in list(sampler)[:60]:
        ds[q]
    loader = DataLoader(ds, sampler=sampler, batch_size=10, num_workers=2, collate_fn=gd.collate, multiprocessing_context="fork")
    bad = patches = 0
    for epoch in range(2):
        sampler.set_epoch(epoch)
        for batch in loader:
            bad, patches = bad + wrong(batch), patches + len(batch["key"])
            bad += wrong(gd.collate([ds[batch["query"][0]]]))
    return [bad, patches]


def copies(ds):
    loader = DataLoader(ds, sampler=GridPatchSampler(ds, size=128), batch_size=4, num_workers=2, collate_fn=where)
    return [bool(b["same"]) for b in loader]


def ranks(ds):
    seen = []
    for rank in (0, 1):
        sampler = RandomPatchSampler(ds, size=32, length=21, seed=1, rank=rank, world=2)
        loader = DataLoader(ds, sampler=sampler, batch_size=3, num_workers=2, collate_fn=gd.collate)
        seen.append([q.index for b in loader for q in b["query"]])
    return seen


def open_files(ds):
    pool.handles.clear()
    pool.handles.limit = 3
    counting = Counting(ds, sys.argv[1])
    sampler = RandomPatchSampler(ds, size=32, length=80, seed=0)
    most = []
    for workers in (0, 2):
        loader = DataLoader(counting, sampler=sampler, batch_size=8, num_workers=workers, collate_fn=gd.collate)
        most.append(max(int(n) for b in loader for n in b["open"]))
    most.append(max(int(n) for b in gd.Loader(counting, sampler=sampler, batch_size=8, threads=4) for n in b["open"]))
    return [*most, len(pool.handles)]


def threads(ds):
    pool.handles.limit = 2
    sampler = RandomPatchSampler(ds, size=64, length=400, seed=0)
    return [sum(wrong(b) for b in gd.Loader(ds, sampler=sampler, batch_size=5, threads=6)), len(pool.handles)]


def side_by_side(ds):
    one = RandomPatchSampler(ds, size=64, length=200, seed=0)
    two = RandomPatchSampler(ds, size=64, length=80, seed=1)
    stream = iter(gd.Loader(ds, sampler=one, batch_size=4, threads=3))
    bad = wrong(next(stream))
    for batch in DataLoader(ds, sampler=two, batch_size=4, num_workers=2, collate_fn=gd.collate):
        bad += wrong(batch) + wrong(next(stream))
    return bad + sum(wrong(b) for b in stream)


def joined(ds):
    both = ds & ds.named("b")
    sampler = RandomPatchSampler(both, size=40, length=16, seed=0)
    loader = DataLoader(both, sampler=sampler, batch_size=4, num_workers=2, collate_fn=gd.collate)
    return [bool((b["image"] == b["image_b"]).all() and b["valid_b"].all()) for b in loader]


def broken(ds):
    folder = sys.argv[2]
    with open(sys.argv[1] + "/0.tif", "rb") as src, open(folder + "/0.tif", "wb") as dst:
        dst.write(src.read()[:40000])
    try:
        list(DataLoader(RasterDataset(folder, dtype=None), num_workers=1, collate_fn=gd.collate))
    except Exception as error:
        return [type(error).__name__, folder + "/0.tif" in str(error), "cannot read" in str(error)]


if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    ds = RasterDataset(sys.argv[1], dtype=None)
    cases = [after_reading_in_the_parent, copies, ranks, open_files, threads, side_by_side, joined, broken]
    print(json.dumps({case.__name__: tried(case, ds) for case in cases}))
"""

STARTED = """
if __name__ == "__main__":
    ds = RasterDataset(sys.argv[1], dtype=None)
    sampler = RandomPatchSampler(ds, size=48, length=30, seed=3)
    found = {}
    for method, workers in json.loads(sys.argv[2]):
        options = {"multiprocessing_context": method, "persistent_workers": method != "fork"} if workers else {}
        loader = DataLoader(ds, sampler=sampler, batch_size=4, num_workers=workers, collate_fn=gd.collate, **options)
        marks = []
        for epoch in (0, 1):
            sampler.set_epoch(epoch)
            marks.append(digest(loader))
        found[f"{method} {workers}"] = marks
        del loader
    for threads in (0, 3):
        loader = gd.Loader(ds, sampler=sampler, batch_size=4, threads=threads)
        marks = []
        for epoch in (0, 1):
            loader.set_epoch(epoch)
            marks.append(digest(loader))
        found[f"threads {threads}"] = marks
    print(json.dumps(found))
"""


def run(folder, text, *args, **environment):
    """Run a script in a process of its own and return what it printed last, as JSON."""
    script = folder / "script.py"
    script.write_text(HEAD + text)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), *map(str, args)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def forked(archive, tmp_path_factory):
    # With a cache of 1 MB every block is read from the file again: a shared file position shows at once. Plain TIFFs too go
    # through GDAL here, whose handles are what can be shared.
    broken = tmp_path_factory.mktemp("broken")
    return run(tmp_path_factory.mktemp("forked"), FORKED, archive, broken, GDAL_CACHEMAX="1", GEODATA_TIFF="0")


def test_reading_in_the_parent_does_not_spoil_forked_workers(forked):
    assert forked["after_reading_in_the_parent"] == [0, 1200], "different pixels, patches"


def test_batches_are_not_copied_in_workers_either(forked):
    assert forked["copies"] == [True] * 6


def test_ranks_with_workers_share_the_single_sequence(forked):
    assert forked["ranks"] == [list(range(0, 22, 2)), list(range(1, 22, 2))]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files by /proc")
def test_no_more_files_are_open_than_the_pool_allows(forked):
    assert not isinstance(forked["open_files"], str), forked["open_files"]
    parent, workers, threads, idle = forked["open_files"]
    assert parent == 3 and idle <= 3
    assert workers <= 3 + 3, "its own three, and the parent's three that it inherited and never touches"
    assert threads <= 3 + 4


def test_threads_read_right_pixels_while_sharing_the_pool(forked):
    bad, idle = forked["threads"]
    assert bad == 0 and idle <= 2


def test_forking_while_threads_read_neither_hangs_nor_spoils_a_pixel(forked):
    assert forked["side_by_side"] == 0


def test_workers_search_by_place_with_a_tree_of_their_own(forked):
    assert forked["joined"] == [True] * 4


def test_an_error_in_a_worker_keeps_its_message(forked):
    assert forked["broken"] == ["ReadError", True, True]


def test_the_same_samples_for_any_workers_start_method_and_time_zone(archive, tmp_path):
    east, west = [("none", 0), ("fork", 2), ("fork", 4), ("forkserver", 2)], [("spawn", 2)]
    found = run(tmp_path, STARTED, archive, json.dumps(east), TZ="UTC")
    there = run(tmp_path, STARTED, archive, json.dumps(west), TZ="America/Los_Angeles")
    found |= {f"west {k}": v for k, v in there.items()}
    assert len(found) == 9
    assert len({tuple(v) for v in found.values()}) == 1, found
    assert len(set(next(iter(found.values())))) == 2, "the two epochs differ"
