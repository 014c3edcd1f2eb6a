"""What this library packs others read, and what others write it reads: zarr-python and tensorstore."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import tensorstore
import zarr
import zarr.codecs as zc
from hypothesis import given, settings
from hypothesis import strategies as st
from shardtools import numbers, write

from geodata.errors import DtypeError, ReadError
from geodata.files import LocalFiles
from geodata.readers.shards.array import ShardedArray
from geodata.readers.shards.codecs import NAMES, Chain, codecs_of
from geodata.readers.shards.metadata import ArrayMeta

DTYPES = [
    "bool",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
]


def by_tensorstore(folder, driver="zarr3"):
    kvstore = {"driver": "file", "path": f"{folder}/"}
    return tensorstore.open({"driver": driver, "kvstore": kvstore}, read=True).result()


@st.composite
def grids(draw):
    """Shape of an array, its chunks and its shards."""
    ndim = draw(st.integers(1, 4))
    sizes = [draw(st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 3))) for _ in range(ndim)]
    return (
        tuple(n for n, _, _ in sizes),
        tuple(chunk for _, chunk, _ in sizes),
        tuple(chunk * per for _, chunk, per in sizes),
    )


@st.composite
def windows(draw, shape):
    """A window of an array: slices and positions."""
    block = []
    for length in shape:
        first = draw(st.integers(0, length - 1))
        last = draw(st.integers(first, length))
        block.append(first if draw(st.booleans()) else slice(first, last))
    return tuple(block)


@settings(max_examples=60)
@given(grids(), st.sampled_from(DTYPES), st.sampled_from(NAMES), st.booleans(), st.data())
def test_packed_here_read_by_all(tmp_path_factory, grid, dtype, codec, turned, data):
    shape, chunk, shard = grid
    folder = tmp_path_factory.mktemp("packed")
    order = data.draw(st.permutations(range(len(shape)))) if turned else None
    array = numbers(shape, dtype)
    meta = ArrayMeta.make(shape, dtype, chunk=chunk, shard=shard, codec=codec, transpose=order, attrs={"a": [1, "b"]})
    files = write(folder, array, meta)
    assert np.array_equal(zarr.open_array(str(folder), mode="r")[...], array)
    assert np.array_equal(by_tensorstore(folder).read().result(), array)
    here = ShardedArray(files, "")
    assert np.array_equal(here[...], array)
    block = data.draw(windows(shape))
    assert np.array_equal(here.read(block), array[block])
    out = np.full(array[block].shape, 7, np.dtype(dtype))
    assert here.read(block, out) is out and np.array_equal(out, array[block])


@settings(max_examples=60)
@given(grids(), st.sampled_from(DTYPES), st.sampled_from(["none", "blosc", "zstd", "gzip", "transpose"]), st.data())
def test_written_by_zarr_read_here(tmp_path_factory, grid, dtype, codec, data):
    shape, chunk, shard = grid
    folder = tmp_path_factory.mktemp("written")
    array = numbers(shape, dtype)
    sharded, location = data.draw(st.booleans()), data.draw(st.sampled_from(["start", "end"]))
    inner = {
        "none": [zc.BytesCodec()],
        "blosc": [zc.BytesCodec(), zc.BloscCodec(cname="zstd", shuffle="shuffle"), zc.Crc32cCodec()],
        "zstd": [zc.BytesCodec(), zc.ZstdCodec(level=1)],
        "gzip": [zc.BytesCodec(), zc.GzipCodec(level=1)],
        "transpose": [zc.TransposeCodec(order=tuple(range(len(shape)))[::-1]), zc.BytesCodec()],
    }[codec]
    whole = [zc.ShardingCodec(chunk_shape=chunk, codecs=inner, index_location=location)] if sharded else inner
    encoding = data.draw(st.sampled_from([("default", "/"), ("default", "."), ("v2", "/"), ("v2", ".")]))
    made = zarr.create(
        store=str(folder),
        shape=shape,
        dtype=dtype,
        chunk_shape=shard if sharded else chunk,
        codecs=whole,
        fill_value=1,
        chunk_key_encoding=encoding,
        zarr_format=3,
    )
    made[...] = array
    here = ShardedArray(LocalFiles(str(folder)), "", missing="fill")
    assert here.meta.fill == 1 and here.chunks == made.chunks
    assert np.array_equal(here[...], array)
    block = data.draw(windows(shape))
    assert np.array_equal(here.read(block), array[block])


@settings(max_examples=60)
@given(grids(), st.sampled_from(NAMES), st.data())
def test_many_samples_are_numpys(tmp_path_factory, grid, codec, data):
    shape, chunk, shard = grid
    array = numbers(shape, "uint16")
    meta = ArrayMeta.make(shape, "uint16", chunk=chunk, shard=shard, codec=codec)
    here = ShardedArray(write(tmp_path_factory.mktemp("many"), array, meta), "")
    rows = data.draw(st.lists(st.integers(0, shape[0] - 1), max_size=12))
    block = tuple(part if isinstance(part, slice) else slice(part, part + 1) for part in data.draw(windows(shape[1:])))
    wanted = array[np.array(rows, int)][(slice(None), *block)]
    for dtype in ("uint16", "int32", "float32"):
        out = np.full(wanted.shape, 9, dtype)
        here.read_many(rows, block, out)
        assert np.array_equal(out, wanted)
    apart = np.full((*wanted.shape, 2), 9, "uint16")
    here.read_many(rows, block, apart[..., 0])
    assert np.array_equal(apart[..., 0], wanted) and (apart[..., 1] == 9).all()


@pytest.mark.parametrize("codec", NAMES)
def test_the_bytes_of_a_chunk_go_both_ways(codec):
    array = numbers((2, 30, 40), "float32")
    chain = Chain.parse(codecs_of(codec, array.dtype, 3, transpose=(1, 2, 0)), array.dtype, array.shape)
    packed = bytes(chain.encode(array))
    out = np.empty_like(array)
    chain.decode(memoryview(packed), out)
    assert np.array_equal(out, array) and packed == bytes(chain.encode(array))
    assert codec == "none" or len(packed) < array.nbytes / 2


def test_blosc_is_told_the_size_of_a_number(tmp_path):
    """A size of 1 would shuffle the bits of other numbers than there are."""
    array = numbers((1, 40, 40), "uint16")
    packed = bytes(Chain.parse(codecs_of("lz4", array.dtype, 3), array.dtype, array.shape).encode(array))
    assert packed[3] == 2 and packed[2] & 0b101 == 0b100 and packed[2] >> 5 == 1


def test_metadata_stay_as_they_are(tmp_path):
    meta = ArrayMeta.make(
        (5, 4), "float32", chunk=(1, 4), shard=(2, 4), fill=np.nan, dims=["sample", None], attrs={"gsd": 10}
    )
    again = ArrayMeta.parse(json.dumps(meta.to_dict()), "here")
    assert again.to_dict() == meta.to_dict() and np.isnan(again.fill)
    assert (again.shape, again.chunk, again.shard, again.dims) == ((5, 4), (1, 4), (2, 4), ("sample", None))
    assert meta.key((3, 0)) == "c/3/0" and meta.per_shard == 2 and meta.grid == (3, 1)
    (tmp_path / "zarr.json").write_text(json.dumps(meta.to_dict()))
    theirs = zarr.open_array(str(tmp_path), mode="r")
    assert theirs.metadata.dimension_names == ("sample", None) and theirs.attrs["gsd"] == 10
    assert by_tensorstore(tmp_path).shape == (5, 4)


def test_a_window_that_does_not_fit_is_refused(tmp_path):
    array = numbers((4, 6), "uint16")
    here = ShardedArray(write(tmp_path, array, ArrayMeta.make((4, 6), "uint16", chunk=(1, 6), shard=(2, 6))), "")
    for block in [
        (slice(0, 5), slice(0, 6)),
        (4, slice(0, 6)),
        (-1, slice(0, 6)),
        (slice(0, 4, 2), 0),
        (0,),
        (0, 0, 0),
    ]:
        with pytest.raises(ReadError):
            here.read(block)
    for rows in ([4], [-1], [0, 9]):
        with pytest.raises(ReadError, match="4 samples"):
            here.read_many(rows, (slice(0, 6),), np.empty((len(rows), 6), "uint16"))
    for out in (
        np.empty((1, 6), "uint8"),
        np.empty((1, 5), "uint16"),
        np.empty((2, 6), "uint16"),
        np.empty((1, 6), "int16"),
    ):
        with pytest.raises(DtypeError):
            here.read_many([0], (slice(0, 6),), out)
    assert np.array_equal(here[-1, ..., 2:9], array[-1, 2:9]) and here[1:0].shape == (0, 6)
    assert os.path.isdir(tmp_path)


def test_arrays_of_no_axis_and_of_one(tmp_path):
    number = ArrayMeta.make((), "uint16", chunk=(), shard=())
    assert int(ShardedArray(write(tmp_path / "a", np.array(7, "uint16"), number), "")[...]) == 7
    array = np.arange(9, dtype="uint16")
    line = ArrayMeta.make((9,), "uint16", chunk=(2,), shard=(4,))
    here, out = ShardedArray(write(tmp_path / "b", array, line), ""), np.zeros(4, "int32")
    here.read_many([8, 0, 3, 3], (), out)
    assert out.tolist() == [8, 0, 3, 3] and int(here[5]) == 5
