"""One wrong bit anywhere, a file too few or too many: verify finds it, and reading raises."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
import torch
from makers import north_up, write_tif

from geodata import cli
from geodata.datasets import RasterDataset
from geodata.errors import GeodataError, ReadError, StoreError
from geodata.store import convert, open_store, verify

CODECS = ("lz4", "none", "zstd", "blosc-zstd")


def make(folder, codec="lz4"):
    rng = np.random.default_rng(5)
    for i in range(5):
        data = rng.integers(0, 9, (2, 6, 7)).astype(np.uint16)
        mask = rng.random((6, 7)) > 0.2
        write_tif(folder / "tifs" / f"{i}.tif", data, north_up(x=500000 + 200 * i), mask=mask)
    source = RasterDataset(folder / "tifs")
    convert(source, folder / "out.zarr", shard=2, codec=codec)
    return source, folder / "out.zarr"


@pytest.fixture
def store(tmp_path):
    return make(tmp_path)


def files_of(out):
    return sorted(p for p in out.rglob("*") if p.is_file())


def shards_of(out):
    return [
        p for p in files_of(out) if p.relative_to(out).parts[0] in ("image", "image_valid") and p.name != "zarr.json"
    ]


def broken(out):
    """What verify says, as one text; nothing if all is well."""
    try:
        return "; ".join(verify(out).problems)
    except StoreError as error:
        return str(error)


def flipped(path, places, seed):
    """Yield places of a file, each while one of its bits is wrong."""
    rng = np.random.default_rng(seed)
    data = path.read_bytes()
    for place in places:
        wrong = bytearray(data)
        wrong[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(wrong)
        yield place
    path.write_bytes(data)


def values_of(out):
    """All numbers of a store, read anew: what was known of its arrays no longer counts."""
    for meta in out.glob("*/zarr.json"):
        os.utime(meta)
    read = open_store(out)
    return [read[i] for i in range(len(read))]


def test_each_byte_of_what_is_no_shard(store):
    _, out = store
    assert broken(out) == ""
    count = 0
    for path in files_of(out):
        size = path.stat().st_size
        if path not in shards_of(out):
            # All of what is small; of what is not, as many bytes spread over it, its ends among them.
            places = sorted({*np.linspace(0, size - 1, min(size, 100)).astype(int).tolist()})
            for place in flipped(path, places, seed=size):
                assert broken(out), f"byte {place} of {path.relative_to(out)}"
                count += 1
    assert count > 800
    assert broken(out) == ""


@pytest.mark.parametrize("codec", CODECS)
def test_each_byte_of_shards(tmp_path, codec):
    _, out = make(tmp_path, codec)
    right = values_of(out)
    for path in shards_of(out):
        size = path.stat().st_size
        # Every byte of the smallest, with the places of its chunks; of the others some.
        step = 1 if codec == "lz4" and size < 200 else 11
        for place in flipped(path, range(0, size, step), seed=size):
            name = str(path.relative_to(out))
            assert name in broken(out), f"byte {place} of {name}"
            with pytest.raises(ReadError, match="geodata verify"):
                values_of(out)
    for sample, wanted in zip(values_of(out), right, strict=True):
        assert torch.equal(sample["image"], wanted["image"]) and torch.equal(sample["valid"], wanted["valid"])


def test_a_file_that_is_missing_or_short(store):
    source, out = store
    for path in files_of(out):
        data, name = path.read_bytes(), str(path.relative_to(out))
        path.unlink()
        assert broken(out), name
        if path in shards_of(out):
            assert f"{name}: is missing" in broken(out)
            with pytest.raises(ReadError, match="it is not there"):
                values_of(out)
        for wrong in (data[:-1], data + b"\0", b""):
            path.write_bytes(wrong)
            assert broken(out), f"{len(wrong)} of {len(data)} bytes of {name}"
            if path in shards_of(out):
                with pytest.raises(ReadError):
                    values_of(out)
        path.write_bytes(data)
    found = verify(out, against=source)
    assert found.passed and found.compared == 5 and found.files == len(shards_of(out))


def test_files_too_many(store):
    _, out = store
    for name in ("note.txt", "image/c/9/0/0/0", "image/c/0/0/0/0.01.partial", ".geodata/plan.json", "more/zarr.json"):
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"{}")
        assert broken(out) == f"{name}: is no part of the store"
        path.unlink()
    assert broken(out) == ""


def test_another_store_of_the_same_shape_in_one_place(store, tmp_path):
    """A shard that is whole, and is not the one that was written."""
    _, out = store
    first, second = shards_of(out)[:2]
    shutil.copyfile(first, second)
    assert str(second.relative_to(out)) in broken(out)


def test_values_that_are_not_those_of_the_source(store):
    source, out = store
    victim = source.catalog.key[2]
    path = next((out.parent / "tifs").glob("2.tif"))
    import rasterio

    with rasterio.open(path) as file:
        data, mask = file.read(), file.dataset_mask() > 0
    stat = path.stat()
    data[1, 3, 4] += 1
    path.unlink()
    write_tif(path, data, north_up(x=500400), mask=mask)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    found = verify(out, against=RasterDataset(out.parent / "tifs"))
    assert not found.passed and len(found.problems) == 1 and repr(victim) in found.problems[0]
    fewer = RasterDataset([str(path)])
    assert "4 that are" in verify(out, against=fewer).problems[0]


def test_the_command(store, capsys):
    _, out = store
    assert cli.run(["verify", str(out)]) == 0
    assert cli.run(["verify", str(out), "--against", str(out.parent / "tifs")]) == 0
    assert "5 samples equal to the source" in capsys.readouterr().out
    path = shards_of(out)[0]
    data = bytearray(path.read_bytes())
    data[3] ^= 4
    path.write_bytes(data)
    assert cli.run(["verify", str(out)]) == 1
    assert str(path.relative_to(out)) in capsys.readouterr().err
    assert cli.run(["verify", str(out), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["passed"] is False and len(found["problems"]) == 1
    assert cli.run(["verify", str(out.parent / "nothing.zarr")]) == 1
    assert "there is no store at" in capsys.readouterr().err


def test_nothing_to_verify(tmp_path):
    with pytest.raises(StoreError, match="there is no store at"):
        verify(tmp_path / "nothing.zarr")
    (tmp_path / "file.zarr").write_bytes(b"")
    with pytest.raises(GeodataError):
        verify(tmp_path / "file.zarr")
