"""LMDB with safetensors: against the safetensors package; what is damaged; forks; real records of rico-hdl."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor

import lmdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

from geodata.errors import ReadError
from geodata.readers import arrays, records
from geodata.readers.openfiles import open_files

DTYPES = [
    "bool",
    "uint8",
    "int8",
    "uint16",
    "int16",
    "uint32",
    "int32",
    "uint64",
    "int64",
    "float16",
    "float32",
    "float64",
]
B02 = np.random.default_rng(0).integers(0, 9999, (12, 12)).astype(np.uint16)
B01 = B02[::6, ::6].copy()


def write(folder, entries, subdir=True):
    with lmdb.open(str(folder), map_size=1 << 20, subdir=subdir) as database, database.begin(write=True) as change:
        for key, value in entries.items():
            change.put(key.encode(), value)
    return str(folder)


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "db", {"a": save({"B02": B02, "B01": B01}), "b/c": save({"VV": B02.astype(np.float32)})})


def read(href, inside, window=(1, 2, 3, 4), **options):
    return arrays.read(href, inside, "h w", window, (1,), validity="all", format="lmdb", **options)


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=5).filter(lambda name: name != "__metadata__"),
        st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 4), max_size=3)),
        max_size=4,
    )
)
def test_tensors_are_those_that_safetensors_reads(described):
    rng = np.random.default_rng(len(described))
    data = save(
        {name: np.asarray(rng.random(shape) * 100, dtype) for name, (dtype, shape) in described.items()}, {"k": "v"}
    )
    expected, got = load(data), records.parse_safetensors(memoryview(data))
    assert set(got) == set(expected)
    for name, tensor in expected.items():
        assert got[name].dtype == tensor.dtype and np.array_equal(got[name], tensor)


def test_tensors_are_views():
    data = save({"x": B02})
    assert np.shares_memory(records.parse_safetensors(data)["x"], np.frombuffer(data, np.uint8))


def test_only_the_tensor_that_is_wanted_is_looked_at():
    data = pack({"x": GOOD, "bad": 1}, np.arange(8, dtype=np.uint8).tobytes())
    assert records.parse_safetensors(data, "x")["x"].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert records.parse_safetensors(data, "y") == {}


def pack(header, numbers=b"\0" * 8):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + numbers


GOOD = {"dtype": "U8", "shape": [2, 4], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "0 bytes are too few"),
        (b"\xff" * 20, "a header of 18446744073709551615 bytes in a record of 20"),
        (pack({"x": GOOD})[:-20], "a header of"),
        (pack(b"{'x': 1}"), "the header is no JSON"),
        (pack(b"[" * 100000), "the header is no JSON"),
        (pack(b"\xff\xfe"), "the header is no JSON"),
        (pack([1]), "no table of tensors"),
        (pack({"x": 1}), "tensor 'x' is described by 1"),
        (pack({"x": {"dtype": "U8", "shape": [8]}}), "is described by"),
        (pack({"x": {**GOOD, "shape": [-2, -4]}}), "is described by"),
        (pack({"x": {**GOOD, "shape": [2.0, 4]}}), "is described by"),
        (pack({"x": {**GOOD, "shape": 8}}), "is described by"),
        (pack({"x": {**GOOD, "data_offsets": [0, 8, 9]}}), "is described by"),
        (pack({"x": {**GOOD, "data_offsets": [-8, 0]}}), "is described by"),
        (pack({"x": {**GOOD, "data_offsets": [4, 12]}}), "has bytes 4 to 12 of 8"),
        (pack({"x": {**GOOD, "data_offsets": [0, 7]}}), "has bytes 0 to 7 of 8"),
        (pack({"x": {**GOOD, "dtype": "U16"}}), "U16 of shape"),
        (pack({"x": {**GOOD, "dtype": "BF16"}}), "is of type BF16; read are BOOL"),
        (pack({"x": {**GOOD, "dtype": ["U8"]}}), "is described by"),
    ],
)
def test_damaged_records_are_refused(tmp_path, data, why):
    with pytest.raises(ReadError, match=why):
        records.parse_safetensors(data)
    href = write(tmp_path / "db", {"a": data or b"\0"})
    with pytest.raises(ReadError):
        read(href, "a/x", (0, 0, 1, 1))


def test_windows_of_tensors(folder):
    assert np.array_equal(read(folder, "a/B02", dtype="uint16").data, B02[None, 1:4, 2:6])
    assert np.array_equal(read(folder, "a/B01", (0, 0, 2, 2)).data, B01[None])
    assert np.array_equal(read(folder, "b/c/VV").data, B02[None, 1:4, 2:6].astype(np.float32))
    assert arrays.shape_of(folder, "a/B01", format="lmdb") == ((2, 2), "uint16")
    assert arrays.names_in(folder, format="lmdb") == {
        "a/B01": ((2, 2), "uint16"),
        "a/B02": ((12, 12), "uint16"),
        "b/c/VV": ((12, 12), "float32"),
    }
    assert records.keys_in(folder) == ["a", "b/c"]


def test_what_is_read_outlives_the_database(folder):
    got = arrays.load(folder, "a/B02", format="lmdb")
    assert got.flags.owndata and got.flags.writeable and np.array_equal(got, B02)


def test_a_missing_record_or_tensor_is_named(folder):
    with pytest.raises(ReadError, match="holds no record 'x'; it holds 2 others"):
        read(folder, "x/B02")
    with pytest.raises(ReadError, match=r"record a of .* holds no tensor 'B03'; it holds .*B02 \(12, 12\) uint16"):
        read(folder, "a/B03")
    with pytest.raises(ReadError, match="must be '<record>/<tensor>'"):
        read(folder, "a")
    with pytest.raises(ReadError, match="no list of texts"):
        arrays.load_texts(folder, "a/B02", format="lmdb")


def test_what_is_no_database_is_refused_and_none_is_made(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "data.mdb").write_bytes(b"no database" * 1000)
    for name in ("empty", "bad", "absent"):
        with pytest.raises(ReadError, match="cannot open .*" + name):
            read(str(tmp_path / name), "a/B02")
    assert os.listdir(tmp_path / "empty") == []


def test_a_database_in_one_file_and_in_a_folder_that_cannot_be_written_to(tmp_path, folder):
    single = write(tmp_path / "single.lmdb", {"a": save({"B02": B02})}, subdir=False)
    assert np.array_equal(read(single, "a/B02").data, B02[None, 1:4, 2:6])
    os.remove(os.path.join(folder, "lock.mdb"))
    os.chmod(os.path.join(folder, "data.mdb"), 0o444)
    os.chmod(folder, 0o555)
    assert np.array_equal(read(folder, "a/B02").data, B02[None, 1:4, 2:6])
    assert os.listdir(folder) == ["data.mdb"]


def test_the_same_database_by_two_names(tmp_path, folder):
    os.symlink(folder, tmp_path / "link")
    assert np.array_equal(read(folder, "a/B02").data, read(str(tmp_path / "link"), "a/B02").data)


def test_a_database_written_again_is_read_again(folder):
    read(folder, "a/B02")
    open_files.clear()  # lmdb opens a database once in a process
    write(folder, {"a": save({"B02": B02 + 1})})
    assert np.array_equal(read(folder, "a/B02").data, B02[None, 1:4, 2:6] + 1)


def test_threads_open_a_database_once(folder):
    for _ in range(5):
        open_files.clear()
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: read(folder, "a/B02").data, range(12)))
        assert all(np.array_equal(data, B02[None, 1:4, 2:6]) for data in found)


def test_a_forked_child_opens_the_database_itself(folder):
    before = read(folder, "a/B02").data
    child = os.fork()
    if not child:
        good = np.array_equal(read(folder, "a/B02").data, before) and np.array_equal(read(folder, "a/B02").data, before)
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert np.array_equal(read(folder, "a/B02").data, before)


def test_records_of_rico_hdl(realdata):
    href = str(realdata / "reben" / "rico_lmdb")
    patch = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_75_43"
    with lmdb.open(href, readonly=True, lock=False) as database, database.begin() as view:
        expected = load(view.get(patch.encode()))
    assert len(expected) == 12 and expected["B01"].shape == (20, 20)
    for name, tensor in expected.items():
        assert np.array_equal(read(href, f"{patch}/{name}", (0, 0, *tensor.shape), dtype="uint16").data[0], tensor)
    assert read(href, "S1A_IW_GRDH_1SDV_20170613T165043_33UUP_70_48/VV").data.dtype == np.float32
    assert set(records.keys_in(href)) == {patch, "S1A_IW_GRDH_1SDV_20170613T165043_33UUP_70_48"}


def test_half_floats_are_widened(tmp_path):
    href = write(tmp_path / "db", {"a": save({"x": np.ones((4, 6), np.float16)})})
    assert read(href, "a/x", dtype="float32").data.dtype == np.float32
