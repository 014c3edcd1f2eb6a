"""Stores in an object store: written, read and trained from there, against a server on loopback."""

from __future__ import annotations

import pickle

import pytest
import torch
from samples import assert_same, assert_same_items

import geodata as gd
from geodata.datasets import ReBEN
from geodata.errors import GeodataError, ReadError, StoreError
from geodata.files import files_at
from geodata.samplers import ItemSampler
from geodata.store import convert, open_store, verify

ITEMS, SHARD = 24, 4


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("reben")
    ReBEN.fake(root, ITEMS)
    return ReBEN(root, split=None)


@pytest.fixture
def url(bucket, source):
    convert(source, f"s3://{bucket}/reben.zarr", shard=SHARD)
    return f"s3://{bucket}/reben.zarr"


def requests_of(url):
    """What this process asked for of a store until now, by its open arrays."""
    from geodata.readers.shards import open_array

    return open_array(f"{url}/image_10m").files.requests


def test_the_same_store_and_samples_as_on_disk(url, source, tmp_path):
    digest = convert(source, tmp_path / "disk.zarr", shard=SHARD)
    assert convert(source, url, shard=SHARD) == digest
    store = open_store(url)
    assert_same_items(source, store, range(0, ITEMS, 5))
    assert_same(gd.collate(store.__getitems__([4, 9, 1])), gd.collate(source.__getitems__([4, 9, 1])))
    assert verify(url, against=source.take(range(ITEMS))).problems == ()
    disk, there = (set(files_at(str(place)).names()) for place in (tmp_path / "disk.zarr", url))
    assert disk == there


def test_an_interrupted_upload_goes_on(bucket, source, tmp_path):
    from geodata.files.objects import ObjectFiles

    url, put, done = f"s3://{bucket}/again.zarr", ObjectFiles.put, []

    def stops(self, name, parts):
        if len(done) == 12:
            raise StoreError("the line is cut")
        done.append(name)
        put(self, name, parts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ObjectFiles, "put", stops)
        with pytest.raises(StoreError, match="line is cut"):
            convert(source, url, shard=SHARD)
    with pytest.raises(StoreError, match="not finished"):
        open_store(url)
    assert convert(source, url, shard=SHARD) == convert(source, tmp_path / "disk.zarr", shard=SHARD)
    assert not [name for name in files_at(url).names() if name.startswith(".geodata")]


def test_training_asks_for_each_shard_once(url, source):
    store = open_store(url, cache=64 << 20)
    sampler = ItemSampler(store, shuffle=True, chunks="shard", buffer=2, seed=1)
    plain = ItemSampler(source, shuffle=True, seed=1)
    keys = [key for batch in gd.Loader(store, sampler=sampler, batch_size=4, threads=3) for key in batch["key"]]
    assert sorted(keys) == sorted(source.catalog.key.tolist()) and len(plain) == len(keys)
    # Five arrays of six shards, and little else: metadata.
    assert requests_of(url)["gets"] <= 5 * ITEMS // SHARD + 15
    by_ranges = open_store(url)
    list(gd.Loader(by_ranges, sampler=ItemSampler(by_ranges, shuffle=True), batch_size=4, threads=3))
    assert requests_of(url)["gets"] > ITEMS


def test_workers_bring_their_own_connection(url):
    store = open_store(url, bands=["B04"], cache=16 << 20)
    wanted = [batch["image"].clone() for batch in gd.Loader(store, batch_size=8)]
    again = pickle.loads(pickle.dumps(store))
    assert_same(again[3], store[3])
    loader = torch.utils.data.DataLoader(store, batch_size=8, num_workers=2, collate_fn=gd.collate)
    for batch, own in zip(loader, wanted, strict=True):
        assert torch.equal(batch["image"], own)


def test_a_shard_that_is_gone_or_damaged_is_an_error(url):
    files = files_at(url)
    name = next(n for n in files.names("image_s1/c/"))
    whole = bytearray(files.read(name))
    whole[len(whole) // 3] ^= 4
    files.put(name, [bytes(whole)])
    store = open_store(url, bands=["VV"], cache=1 << 20)
    with pytest.raises(ReadError, match="image_s1"):
        store.__getitems__(range(ITEMS))
    assert any(name in problem for problem in verify(url).problems)
    files.delete(name)
    with pytest.raises(ReadError, match="image_s1"):
        open_store(url, bands=["VH"]).__getitems__(range(ITEMS))
    assert any("is missing" in problem for problem in verify(url).problems)


def test_no_bucket_is_said(bucket, source):
    with pytest.raises(GeodataError, match="there is no such bucket"):
        convert(source, "s3://there-is-no-such-bucket-here/x.zarr")
    with pytest.raises(StoreError, match="there is no store"):
        open_store(f"s3://{bucket}/nothing.zarr")
