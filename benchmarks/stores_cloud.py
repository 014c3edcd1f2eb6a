"""Count the requests of training from an object store: by ranges, and shard by shard. A server of S3 is started on loopback.

    python benchmarks/stores_cloud.py

Needs moto[s3] and flask, as the tests do. Rates are those of that server; requests are what counts elsewhere.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import Request, urlopen

import geodata as gd
from geodata.datasets import ReBEN
from geodata.readers.shards import open_array
from geodata.samplers import ItemSampler
from geodata.store import convert

ITEMS, SHARD, BUFFER, BATCH = 128, 16, 4, 32
ARRAYS = ("image_10m", "image_20m", "image_60m", "image_s1", "mask")


def served() -> tuple[subprocess.Popen[bytes], str]:
    """A server that has a bucket, and its address; the environment points to it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], **quiet)
    url = f"http://127.0.0.1:{port}"
    os.environ |= {
        "AWS_ENDPOINT_URL": url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
    }
    os.environ |= {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    sign = "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
    for _ in range(200):
        try:
            urlopen(Request(f"{url}/bench", method="PUT", headers={"Authorization": sign}), timeout=10).close()
            return server, url
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server does not answer; are moto[s3], flask and flask-cors installed?")


def measured(url: str, *, cache: int, shards: bool) -> None:
    """Read an epoch, and print what it asked for."""
    store = gd.open_store(url, native=True, dtype=None, cache=cache)
    files = {id(open_array(f"{url}/{name}").files): open_array(f"{url}/{name}").files for name in ARRAYS}.values()
    before = sum(f.requests["gets"] for f in files), sum(f.requests["bytes"] for f in files)
    how = {"chunks": "shard", "buffer": BUFFER} if shards else {}
    started = time.perf_counter()
    seen = sum(
        len(b["key"]) for b in gd.Loader(store, sampler=ItemSampler(store, shuffle=True, **how), batch_size=BATCH)
    )
    took = time.perf_counter() - started
    gets, size = (sum(f.requests[k] for f in files) - had for k, had in zip(("gets", "bytes"), before, strict=True))
    way = f"whole shards, shuffled within {BUFFER}" if shards else "ranges, random over all"
    print(f"{way}: {gets / seen:.3f} GETs, {size / seen:,.0f} bytes a sample, {seen / took:,.0f} samples/s")


def main() -> None:
    """Convert a look-alike of reBEN to the bucket and read it both ways."""
    server, _ = served()
    try:
        with tempfile.TemporaryDirectory() as folder:
            ReBEN.fake(Path(folder), ITEMS)
            convert(ReBEN(folder, split=None), "s3://bench/reben.zarr", shard=SHARD, progress=False)
        measured("s3://bench/reben.zarr", cache=0, shards=False)
        measured("s3://bench/reben.zarr", cache=1 << 30, shards=True)
    finally:
        server.terminate()


if __name__ == "__main__":
    main()
