"""VRTs in the pool: what cannot be read of one is said every time, also while others are open."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from makers import north_up, write_tif

from geodata.errors import ReadError
from geodata.readers import gdal
from geodata.readers.pool import handles


def mosaic(path, names, size=16):
    """A VRT that shows one source beside the other."""
    text = f"<VRTDataset rasterXSize='{size * len(names)}' rasterYSize='{size}'><SRS>EPSG:32633</SRS>"
    text += "<GeoTransform>500000,10,0,5600000,0,-10</GeoTransform><VRTRasterBand dataType='Byte' band='1'>"
    for i, name in enumerate(names):
        text += f"<SimpleSource><SourceFilename relativeToVRT='1'>{name}</SourceFilename><SourceBand>1</SourceBand>"
        text += f"<SrcRect xOff='0' yOff='0' xSize='{size}' ySize='{size}'/>"
        text += f"<DstRect xOff='{size * i}' yOff='0' xSize='{size}' ySize='{size}'/></SimpleSource>"
    path.write_text(text + "</VRTRasterBand></VRTDataset>")
    return str(path)


@pytest.fixture
def vrts(tmp_path):
    """A whole mosaic, and one that names a file which is not there."""
    for i in range(1, 7):
        write_tif(tmp_path / f"{i}.tif", np.full((16, 16), i, np.uint8), north_up())
    whole = mosaic(tmp_path / "whole.vrt", ["1.tif", "2.tif", "3.tif"])
    yield whole, mosaic(tmp_path / "torn.vrt", ["1.tif", "2.tif", "nowhere.tif", "4.tif", "5.tif"])
    handles.clear()


def alone(request):
    """Run a test in a process of its own and return True; False in that process, which then does the work.

    What GDAL says of a VRT depends on whether any other is open: what other tests left open must not count.
    """
    if os.environ.get("GEODATA_TEST_ALONE"):
        return False
    given = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")} | {"GEODATA_TEST_ALONE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"{__file__}::{request.node.name}"]
    done = subprocess.run(
        command, env=given, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout[-3000:]
    return True


def row(path, width, validity="all"):
    return gdal.read(path, (0, 0, 16, 16 * width), [1], validity=validity).data[0, 5, ::16].tolist()


@pytest.mark.parametrize("validity", ["all", "mask"])
def test_a_missing_file_is_said_every_time(vrts, validity, request):
    """GDAL says it once and gives zeros from then on, as long as any VRT is open."""
    if alone(request):
        return
    whole, torn = vrts
    for _ in range(4):
        assert row(whole, 3) == [1, 2, 3]
        with pytest.raises(ReadError, match=r"nowhere\.tif"):
            row(torn, 5, validity)
        assert row(torn, 2) == [1, 2], "what is there can be read"


def test_a_file_that_comes_back_is_read(vrts, tmp_path):
    whole, torn = vrts
    assert row(whole, 3) == [1, 2, 3]
    with pytest.raises(ReadError):
        row(torn, 5)
    os.replace(tmp_path / "6.tif", tmp_path / "nowhere.tif")
    assert row(torn, 5) == [1, 2, 6, 4, 5]


def test_threads_that_read_other_mosaics_meanwhile(vrts, request):
    if alone(request):
        return
    whole, torn = vrts
    found, stop = [], threading.Event()

    def read_on():
        while not stop.is_set():
            found.append(row(whole, 3))

    readers = [threading.Thread(target=read_on) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(20):
            with pytest.raises(ReadError, match=r"nowhere\.tif"):
                row(torn, 5)
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert found and all(one == [1, 2, 3] for one in found)
