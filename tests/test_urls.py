"""Rasters behind URLs, from a server on loopback that the test starts and stops."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from makers import write_tif
from rasterio.transform import from_origin

import geodata as gd
from geodata.datasets import RasterDataset
from geodata.errors import ReadError
from geodata.samplers import RandomPatchSampler

SERVER = """
import re, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        path = Path(sys.argv[1]) / self.path.lstrip("/")
        if not path.is_file():
            return self.send_error(404)
        data = path.read_bytes()
        part = re.fullmatch(r"bytes=(\\d+)-(\\d+)", self.headers.get("Range", ""))
        start, stop = (int(part[1]), min(int(part[2]) + 1, len(data))) if part else (0, len(data))
        self.send_response(206 if part else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(stop - start))
        if part:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data[start:stop])

    do_HEAD = do_GET

    def log_message(self, *args):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.fixture
def served(tmp_path: Path):
    """A folder and its URL. The server answers ranges, as object stores do; it is a process, because GDAL keeps Python's lock."""
    folder = tmp_path / "served"
    folder.mkdir()
    with subprocess.Popen([sys.executable, "-c", SERVER, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield folder, f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()


def test_urls_read_as_files_do(served, tmp_path):
    folder, url = served
    rng = np.random.default_rng(0)
    for name, left in (("a.tif", 500000), ("b.tif", 502560)):
        pixels = rng.integers(1, 4000, (3, 256, 256), dtype=np.uint16)
        write_tif(folder / name, pixels, from_origin(left, 5600000, 10, 10), "EPSG:32633", nodata=0)
    remote = RasterDataset([f"{url}/a.tif", f"{url}/b.tif"])
    local = RasterDataset(folder)
    assert remote.catalog.root == url and list(remote.catalog.key) == list(local.catalog.key) == ["a", "b"]
    for query in RandomPatchSampler(remote, size=32, length=20, seed=1):
        assert torch.equal(remote[query]["image"], local[query]["image"])
    with rasterio.open(folder / "b.tif") as src:
        assert np.array_equal(remote[1]["image"].numpy(), src.read())
    saved = remote.catalog.save(tmp_path / "remote.parquet")
    again = RasterDataset(saved)
    assert torch.equal(again[0]["image"], local[0]["image"])
    gd.Catalog.load(saved).check_files()  # URLs have no size or time to compare


def test_urls_and_files_go_together(served, tmp_path):
    folder, url = served
    write_tif(folder / "a.tif", np.full((1, 8, 8), 1, np.uint8), from_origin(500000, 5600000, 10, 10), "EPSG:32633")
    write_tif(tmp_path / "b.tif", np.full((1, 8, 8), 2, np.uint8), from_origin(500000, 5600000, 10, 10), "EPSG:32633")
    both = RasterDataset([f"{url}/a.tif", tmp_path / "b.tif"], pattern=r"(?P<item>[ab])\.tif$")
    assert {k: int(both[i]["image"].max()) for i, k in enumerate(both.catalog.key)} == {"a": 1, "b": 2}


def test_a_url_that_is_not_there(served):
    _, url = served
    with pytest.raises(ReadError, match=r"1 of 1 files cannot be used, first none\.tif"):
        RasterDataset([f"{url}/none.tif"])
