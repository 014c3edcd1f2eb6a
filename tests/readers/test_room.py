"""What is done when there are no file handles left; whole processes with few of them are in test_file_limits.py."""

from __future__ import annotations

import errno
import os
import sys
import types

import numpy as np
import pytest
import shapely
from makers import write_tif

from geodata.errors import CRSError, ReadError
from geodata.readers import gdal, ogr, room
from geodata.readers.room import check_room, most_files, with_room


@pytest.fixture
def crowd(monkeypatch):
    """Say in turn whether there is room, then that there is; and collect what is asked to give way."""
    state = types.SimpleNamespace(answers=[], gave_way=0)

    def give_way():
        state.gave_way += 1

    monkeypatch.setattr(room, "_is_room", lambda: state.answers.pop(0) if state.answers else True)
    monkeypatch.setattr(room, "_idle", [give_way])
    monkeypatch.setattr(room, "PAUSES", (0.0, 0.0, 0.0))
    return state


def failing(*errors):
    """Work that fails with one error after the other, then succeeds; and how often it was tried."""
    left, tries = list(errors), []

    def work():
        tries.append(1)
        if left:
            raise left.pop(0)
        return "done"

    return work, tries


FULL = ReadError(f"cannot open a.tif: {os.strerror(errno.EMFILE)}")


def test_work_that_succeeds_is_done_once(crowd):
    work, tries = failing()
    assert with_room(work) == "done" and len(tries) == 1 and crowd.gave_way == 0


def test_what_is_idle_gives_way_before_the_work_if_there_is_no_room(crowd):
    crowd.answers = [False]
    work, tries = failing()
    assert with_room(work) == "done" and len(tries) == 1 and crowd.gave_way == 1


@pytest.mark.parametrize("error", [FULL, OSError(errno.EMFILE, os.strerror(errno.EMFILE))])
def test_work_that_found_no_handle_is_done_again(crowd, error):
    work, tries = failing(error, error)
    assert with_room(work) == "done" and len(tries) == 3 and crowd.gave_way == 2


def test_an_error_that_says_nothing_is_believed_only_where_there_is_room(crowd):
    crowd.answers = [True, False]
    work, tries = failing(ReadError("unable to open database file"))
    assert with_room(work) == "done" and len(tries) == 2 and crowd.gave_way == 1
    work, tries = failing(CRSError("it has no CRS"))
    with pytest.raises(CRSError, match="it has no CRS"):
        with_room(work)
    assert len(tries) == 1


def test_in_the_end_the_error_says_what_to_do(crowd):
    work, tries = failing(*[FULL] * 9)
    with pytest.raises(ReadError, match=r"cannot open a\.tif: .*raise the limit \(ulimit -n\)") as caught:
        with_room(work)
    assert len(tries) == 4 and type(caught.value) is ReadError
    crowd.answers = [True, *[False] * 9]
    with pytest.raises(ReadError, match=r"cannot read b\.tif: too many open files, of \d+ that") as caught:
        with_room(lambda: check_room("b.tif"))
    assert type(caught.value) is ReadError


def test_a_raster_opened_without_room_is_opened_again(crowd, tmp_path, monkeypatch):
    """Its mask may have been passed over."""
    path = str(write_tif(tmp_path / "a.tif", np.full((4, 4), 5, np.uint8)))
    opened = []
    monkeypatch.setattr("geodata.readers.pool.open_admitted", counted(opened, "geodata.readers.vrt", "open_admitted"))
    crowd.answers = [True, False]  # before, and with the file just opened
    assert (gdal.read(path, (0, 0, 4, 4), [1], validity="mask").data == 5).all()
    assert len(opened) == 2
    crowd.answers = [True, False]  # the handle is at hand; no room when the pixels were read
    assert (gdal.read(path, (0, 0, 4, 4), [1], validity="mask").data == 5).all()
    assert len(opened) == 3


def test_a_layer_opened_without_room_is_opened_again(crowd, tmp_path, monkeypatch):
    """The file that names its CRS, or its encoding, may have been passed over."""
    import fiona

    with fiona.open(
        tmp_path / "l.shp",
        "w",
        driver="ESRI Shapefile",
        crs="EPSG:32633",
        schema={"geometry": "Point", "properties": {}},
    ) as layer:
        layer.write({"geometry": shapely.Point(0, 0).__geo_interface__, "properties": {}})
    opened = []
    monkeypatch.setattr("fiona.open", counted(opened, "fiona", "open"))
    crowd.answers = [True, False]
    assert ogr.describe_layer(tmp_path / "l.shp").count == 1
    assert len(opened) == 2


def counted(calls, module, name):
    function = getattr(sys.modules[module], name)

    def call(*args, **options):
        calls.append(args)
        return function(*args, **options)

    return call


def test_how_many_files_there_may_be(monkeypatch):
    resource = pytest.importorskip("resource")
    for soft, expected in ((64, 64), (resource.RLIM_INFINITY, 512)):
        monkeypatch.setattr(resource, "getrlimit", lambda which, soft=soft: (soft, soft))
        assert most_files() == expected
    monkeypatch.setitem(sys.modules, "resource", None)
    assert most_files() == 512


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files by /proc")
def test_looking_for_room_leaves_no_file_open():
    before = sorted(os.listdir("/proc/self/fd"))
    assert room._is_room()
    assert sorted(os.listdir("/proc/self/fd")) == before
