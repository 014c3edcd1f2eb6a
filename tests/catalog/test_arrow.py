"""Arrow arrays and numpy values without pyarrow's own way, which brings in pandas: against that way."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers import write_tif

from geodata.catalog import arrow
from geodata.catalog.arrow import byte_array, known_in, number_array, text_array, values_of

words = st.lists(st.none() | st.text(max_size=5), max_size=12)


@given(words)
def test_text_is_that_of_pyarrow(values):
    assert text_array(values).equals(pa.array(values, pa.string()))
    assert text_array(values).null_count == sum(v is None for v in values)


@given(st.lists(st.none() | st.binary(max_size=5), max_size=12))
def test_bytes_are_those_of_pyarrow(values):
    assert byte_array(values, pa.binary()).equals(pa.array(values, pa.binary()))


def test_more_bytes_than_one_array_holds(monkeypatch):
    """Offsets of 32 bits would run over; pyarrow then makes several arrays."""
    asked = []
    monkeypatch.setattr(arrow, "MOST", 4)
    monkeypatch.setattr(
        arrow.pa, "array", lambda *args: asked.append(args) or pa.chunked_array([[b"abc", None, b"de"]])
    )
    assert text_array(["ab", None, "cd"]).to_pylist() == ["ab", None, "cd"] and not asked
    assert text_array(["abc", None, "de"]).to_pylist() == ["abc", None, "de"] and len(asked) == 1


def test_text_that_utf8_cannot_say():
    with pytest.raises(UnicodeEncodeError):
        text_array(["a\udcff"])


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.float64, np.float32])
def test_numbers_are_those_of_pyarrow(dtype):
    whole = np.arange(20, dtype=dtype)
    for values in (whole, whole[::3], whole[:0]):
        assert number_array(values).equals(pa.array(values))
    known = whole % 3 != 0
    assert number_array(whole, known).to_pylist() == pa.array(whole, mask=~known).to_pylist()


COLUMNS = {
    "whole": [3, 1, 2, 9],
    "broken": [0.5, float("nan"), -1.0, 2.0],
    "text": ["a", "", "ccc", "d"],
    "other scripts": ["ä", "b", "日本", ""],
    "text and nulls": ["a", None, "", "ä"],
    "nulls": [None, None, None, None],
    "flags": [True, False, False, True],
    "flags and nulls": [True, None, False, True],
    "numbers and nulls": [1, None, 3, None],
}


@pytest.mark.parametrize("cut", ["whole", "slice", "chunks", "empty"])
@pytest.mark.parametrize("name", COLUMNS)
def test_values_are_those_of_pyarrow(name, cut):
    column = pa.chunked_array([pa.array(COLUMNS[name] * 5)])
    if cut == "slice":
        column = column.slice(3, 11)
    elif cut == "chunks":
        column = pa.chunked_array([*column.slice(1, 4).chunks, *column.slice(9, 10).chunks])
    elif cut == "empty":
        column = column.slice(0, 0)
    mine, theirs = values_of(column), column.to_numpy()
    assert mine.dtype == theirs.dtype
    assert mine.tolist() == theirs.tolist() or np.array_equal(mine, theirs, equal_nan=True)
    assert [type(v) for v in mine.tolist()] == [type(v) for v in theirs.tolist()]
    assert known_in(column).tolist() == column.is_valid().to_pylist()


@pytest.mark.parametrize("name", COLUMNS)
def test_slices_of_arrays_start_where_they_do(name):
    whole = pa.array(COLUMNS[name] * 5)
    part = whole.slice(3, 11)
    assert part.offset == 3
    mine, theirs = values_of(part), part.to_numpy(zero_copy_only=False)
    assert np.array_equal(mine, theirs, equal_nan=theirs.dtype.kind == "f")
    assert known_in(part).tolist() == part.is_valid().to_pylist()


def test_a_number_stands_for_null():
    column = pa.chunked_array([pa.array([9, 1, None, 3])]).slice(1)
    assert values_of(column, null=-7).tolist() == [1, -7, 3]
    assert values_of(column, null=-7).dtype == np.int64


def test_values_may_be_written_to():
    for held in (pa.array([1, 2, 3]), pa.chunked_array([pa.array([1, 2, 3])])):
        values_of(held)[0] = 9
        assert held.to_pylist() == [1, 2, 3]


LOOK = """
import sys
from pathlib import Path

asked = []
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "pandas":
            asked.append(name)
sys.meta_path.insert(0, Watch())
from geodata.datasets import RasterDataset
folder = Path(sys.argv[1])
scanned = RasterDataset(folder)
scanned.catalog.save(folder / "catalog.parquet")
opened = RasterDataset(folder / "catalog.parquet")
opened[0]
opened.take([0]).tile(4)[0]
(opened & scanned.named("b"))[0]
opened.read(opened[0]["grid"])
print(asked)
"""


def test_scanning_saving_opening_and_reading_do_without_pandas(tmp_path):
    """Where it is installed, importing it takes a quarter of a second and 60 MB in every process."""
    write_tif(tmp_path / "a.tif")
    done = subprocess.run([sys.executable, "-c", LOOK, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
