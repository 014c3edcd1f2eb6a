"""Damage is an error that says where, never other numbers and never zeros."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from shardtools import BLOCK, numbers, samples, write

from geodata.errors import ReadError
from geodata.files import LocalFiles
from geodata.readers.shards.array import ShardedArray
from geodata.readers.shards.codecs import NAMES, Chain, UnknownCodecError, codecs_of
from geodata.readers.shards.metadata import ArrayMeta

SHARD = "c/0/0/0/0"


def everything(folder):
    """Read a shard of four samples by both ways."""
    here = ShardedArray(LocalFiles(str(folder)), "")
    out = np.zeros((4, 3, 20, 30), "uint16")
    here.read_many(range(4), BLOCK, out)
    assert np.array_equal(here.read((slice(0, 4), *BLOCK)), out)
    return out


@pytest.mark.parametrize("codec", NAMES)
def test_every_flipped_bit_of_a_shard_is_found(tmp_path, codec):
    _, array = samples(tmp_path, codec, n=4)
    path = tmp_path / SHARD
    sound = path.read_bytes()
    assert np.array_equal(everything(tmp_path), array)
    # Bytes all over the file, and every byte of its index and of the checksums.
    places = {*range(0, len(sound), max(1, len(sound) // 150)), *range(len(sound) - 72, len(sound))}
    for place in sorted(places):
        damaged = bytearray(sound)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(ReadError, match="geodata verify"):
            everything(tmp_path)
    path.write_bytes(sound)
    assert np.array_equal(everything(tmp_path), array)


@pytest.mark.parametrize("codec", NAMES)
def test_a_shard_that_was_cut_off_is_found(tmp_path, codec):
    samples(tmp_path, codec, n=4)
    path = tmp_path / SHARD
    sound = path.read_bytes()
    for length in [*range(0, len(sound), max(1, len(sound) // 40)), len(sound) - 1, len(sound) - 68]:
        path.write_bytes(sound[:length])
        with pytest.raises(ReadError, match="geodata verify"):
            everything(tmp_path)


def test_a_shard_that_is_cut_off_while_it_is_read_is_found(tmp_path):
    files, array = samples(tmp_path, "none", n=4)
    here = ShardedArray(files, "")
    assert np.array_equal(here[0], array[0])
    with open(tmp_path / SHARD, "r+b") as file:
        file.truncate(5000)
    assert np.array_equal(here[0], array[0])
    with pytest.raises(ReadError, match=r"\[3, 0, 0, 0\].*ends before"):
        here.read((3, *BLOCK))


def test_a_missing_shard_is_no_zeros(tmp_path):
    files, array = samples(tmp_path)
    (tmp_path / "c/1/0/0/0").unlink()
    assert (zarr.open_array(str(tmp_path), mode="r")[5] == 0).all()  # what others make of it
    here = ShardedArray(files, "")
    out = np.empty((2, 3, 20, 30), "uint16")
    for read in (lambda: here.read_many([0, 5], BLOCK, out), lambda: here[5], lambda: here[:]):
        with pytest.raises(ReadError, match=r"c/1/0/0/0: it is not there; run geodata verify"):
            read()
    filled = ShardedArray(files, "", missing="fill")
    filled.read_many([0, 5], BLOCK, out)
    assert np.array_equal(out[0], array[0]) and (out[1] == 0).all() and (filled[4:8] == 0).all()


def test_a_missing_chunk_is_no_zeros(tmp_path):
    array = numbers((4, 3, 20, 30), "uint16") + 1
    meta = ArrayMeta.make(array.shape, "uint16", chunk=(1, 3, 20, 30), shard=(4, 3, 20, 30), fill=9)
    files = write(tmp_path, array.astype("uint16"), meta, leave_out={(2, 0, 0, 0)})
    here = ShardedArray(files, "")
    assert np.array_equal(here[1], array[1])
    with pytest.raises(ReadError, match=r"\[2, 0, 0, 0\].*not there"):
        here.read_many([2], BLOCK, np.empty((1, 3, 20, 30), "uint16"))
    filled = ShardedArray(files, "", missing="fill")
    assert (filled[2] == 9).all() and np.array_equal(filled[...], zarr.open_array(str(tmp_path), mode="r")[...])


def test_a_shard_that_appears_later_is_read(tmp_path):
    files, array = samples(tmp_path)
    shutil.move(tmp_path / "c/1", tmp_path / "away")
    here = ShardedArray(files, "", missing="fill")
    assert (here[5] == 0).all()
    shutil.move(tmp_path / "away", tmp_path / "c/1")
    assert np.array_equal(here[5], array[5])


@pytest.mark.parametrize("codec", NAMES)
@settings(max_examples=60)
@given(st.data())
def test_bytes_of_anything_are_refused_or_fill_all(codec, data):
    """Also those whose checksum is right: they may come from anywhere."""
    array = numbers((1, 12, 15), "uint16")
    chain = Chain.parse(codecs_of(codec, array.dtype, 3)[:-1], array.dtype, array.shape)
    packed = bytearray(bytes(chain.encode(array)))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    del packed[data.draw(st.integers(0, len(packed))) :]
    memory = np.full(array.nbytes + 64, 171, np.uint8)
    out = memory[32:-32].view("uint16").reshape(array.shape)
    with suppress(ReadError):
        chain.decode(bytes(packed), out)
    assert (memory[:32] == 171).all() and (memory[-32:] == 171).all()


@pytest.mark.parametrize("codec", NAMES)
def test_chunks_of_other_lengths_are_refused(codec):
    chain = Chain.parse(codecs_of(codec, np.dtype("u2"), 2), np.dtype("u2"), (8, 8))
    for shape in [(8, 7), (8, 9), (1, 1), (80, 80)]:
        other = Chain.parse(codecs_of(codec, np.dtype("u2"), 2), np.dtype("u2"), shape)
        with pytest.raises(ReadError):
            chain.decode(other.encode(numbers(shape, "u2")), np.empty((8, 8), "u2"))


def describe(**changes):
    return {**ArrayMeta.make((4, 6), "uint16", chunk=(1, 6), shard=(2, 6)).to_dict(), **changes}


BYTES = {"name": "bytes", "configuration": {"endian": "little"}}


@pytest.mark.parametrize(
    "changes",
    [
        {"zarr_format": 2},
        {"data_type": "complex64"},
        {"data_type": {"name": "numpy.datetime64", "configuration": {"unit": "s"}}},
        {"codecs": [{"name": "bytes", "configuration": {"endian": "big"}}]},
        {"codecs": [BYTES, {"name": "numcodecs.pcodec", "configuration": {}}]},
        {"codecs": [BYTES, {"name": "crc32c"}, {"name": "zstd", "configuration": {"level": 1}}]},
        {
            "codecs": [
                {"name": "sharding_indexed", "configuration": describe()["codecs"][0]["configuration"]},
                {"name": "crc32c"},
            ]
        },
        {"chunk_grid": {"name": "rectilinear", "configuration": {}}},
        {"storage_transformers": [{"name": "x"}]},
        {"something": {"must_understand": True}},
    ],
)
def test_what_is_not_known_is_named(changes):
    with pytest.raises(UnknownCodecError, match=r"cannot read here: .* is not known"):
        ArrayMeta.parse(describe(**changes), "here")


@pytest.mark.parametrize(
    "changes",
    [
        {"node_type": "group"},
        {"shape": [4]},
        {"shape": [-1, 6]},
        {"shape": [4, 6.0]},
        {"shape": None},
        {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [0, 6]}}},
        {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [3, 5]}}},
        {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2**60, 2**60]}}},
        {"fill_value": "x"},
        {"fill_value": -1},
        {"fill_value": None},
        {"codecs": []},
        {"codecs": 3},
        {"dimension_names": ["a"]},
        {"attributes": [1]},
    ],
)
def test_metadata_that_contradict_themselves_are_refused(changes):
    with pytest.raises(ReadError, match="cannot read here"):
        ArrayMeta.parse(describe(**changes), "here")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**65) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300)
@given(st.data())
def test_metadata_of_anything_are_refused_or_read(data):
    found = json.loads(json.dumps(describe()))
    at = found
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        key = data.draw(st.sampled_from(keys))
        if isinstance(at[key], dict | list) and at[key] and data.draw(st.booleans()):
            at = at[key]
            continue
        at[key] = data.draw(JSON)
        break
    with suppress(ReadError):
        ArrayMeta.parse(json.dumps(found), "here")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '"a"', "null", "\ud800", "[" * 100_000, b"\xff\xfe\x00"])
def test_texts_that_are_no_metadata_are_refused(text):
    with pytest.raises(ReadError, match="cannot read here"):
        ArrayMeta.parse(text, "here")


@settings(max_examples=80)
@given(st.binary(max_size=200), st.booleans(), st.booleans())
def test_shards_of_anything_are_refused(tmp_path_factory, data, checked, first):
    folder = tmp_path_factory.mktemp("any")
    found = describe()
    how = found["codecs"][0]["configuration"]
    how["index_location"] = "start" if first else "end"
    if not checked:
        how["index_codecs"] = [BYTES]
        how["codecs"] = [BYTES]
    (folder / "zarr.json").write_text(json.dumps(found))
    (folder / "c/0").mkdir(parents=True)
    (folder / "c/0/0").write_bytes(data)
    here = ShardedArray(LocalFiles(str(folder)), "")
    try:
        here[0:2]
    except ReadError:
        return
    assert not checked
