"""Files that are broken on purpose: how to break them, and how to watch what reading them does."""

from __future__ import annotations

import hashlib
import json
import os
import random
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["ODD", "Workers", "broken_bytes", "broken_json", "broken_tiff", "cases", "snapshot", "verdicts", "write_all"]

ODD = (0, 1, 2, 3, 7, 8, 255, 256, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**64 - 1)
"""Numbers at the edge of what fields hold."""


class Workers:
    """A process that reads files in children with little memory and time; see `fuzz_worker`."""

    def __init__(self) -> None:
        worker = Path(__file__).with_name("fuzz_worker.py")
        # What GDAL hands out of memory that it never wrote is then at least the same each time.
        given = {k: v for k, v in os.environ.items() if k != "GEODATA_VRT_OUTSIDE"} | {
            "MALLOC_PERTURB_": "7",
            "ARROW_DEFAULT_MEMORY_POOL": "system",  # the others reserve more than a child may take
        }
        self._process = subprocess.Popen(
            [sys.executable, str(worker)], stdin=-1, stdout=-1, stderr=-3, text=True, env=given
        )

    def run(self, what: str, folder: Path, paths: list[Path]) -> list[str]:
        """Return what became of each file: "", the name of an error, or "!" and what is wrong."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps([what, str(folder), [str(p) for p in paths]]), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


def snapshot(folder: Path) -> dict[str, str]:
    """Every file below a folder and a digest of what it holds."""
    files = (p for p in sorted(folder.rglob("*")) if p.is_file())
    return {p.relative_to(folder).as_posix(): hashlib.blake2b(p.read_bytes(), digest_size=8).hexdigest() for p in files}


def verdicts(workers: Workers, what: str, folder: Path, paths: list[Path]) -> Counter[str]:
    """Read all files; fail on the first that is answered wrongly, ends the process, or leaves something behind."""
    before = snapshot(folder)
    said = workers.run(what, folder, paths)
    wrong = {p.name: text for p, text in zip(paths, said, strict=True) if text.startswith("!")}
    assert not wrong, wrong
    assert snapshot(folder) == before, "reading changed files"
    return Counter(said)


def write_all(folder: Path, cases: Iterator[bytes], suffix: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i, data in enumerate(cases):
        paths.append(folder / f"{i:05}{suffix}")
        paths[-1].write_bytes(data)
    return paths


def broken_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flip, overwrite, cut out, repeat or cut short."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        if not out:
            break
        # Headers say what follows: most of the damage is done there.
        at = rng.randrange(min(len(out), 512)) if rng.random() < 0.5 else rng.randrange(len(out))
        how = rng.randrange(7)
        if how == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif how == 1:
            out[at] = rng.randrange(256)
        elif how == 2:
            out[at : at + 4] = struct.pack(rng.choice("<>") + "I", rng.choice(ODD) % 2**32)
        elif how == 3:
            del out[at : at + rng.choice((1, 2, 4, 64))]
        elif how == 4:
            out[at:at] = out[at : at + rng.choice((1, 4, 64))]
        elif how == 5:
            out[at : at + 16] = rng.randbytes(16)
        elif rng.random() < 0.3:
            del out[at:]
    return bytes(out)


def broken_json(data: bytes, rng: random.Random) -> bytes:
    """Put odd values anywhere in a JSON text, or break bytes."""
    if rng.random() < 0.3:
        return broken_bytes(data, rng)
    text = json.loads(data)
    odd: list[Any] = [
        *ODD, -1, 1e308, float("nan"), float("inf"), None, True, "", "x" * 10_000, [], {}, [[]], "EPSG:32633", {"type": "Point"},
        "/etc/passwd", "http://127.0.0.1:9/", {"type": "FeatureCollection", "features": []}, "\0", "\ud800",
    ]  # fmt: skip
    for _ in range(rng.choice((1, 1, 2))):
        node, place = text, None
        while isinstance(node, (dict, list)) and node and (place is None or rng.random() < 0.9):
            holder, place = node, rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
            node = holder[place]
        how = rng.randrange(3)
        if place is None:
            text = rng.choice(odd)
            break
        if how == 0:
            holder[place] = rng.choice(odd)
        elif how == 1:
            del holder[place]
        else:
            holder[place] = [node] * rng.choice((1, 3, 50))
    out = json.dumps(text)
    return (out if rng.random() < 0.95 else "[" * 100_000 + out).encode(errors="surrogatepass")


def entries(data: bytes) -> tuple[str, bool, list[tuple[int, int]]]:
    """Byte order, whether BigTIFF, and (place, directory) of each entry of every directory of a sound TIFF."""
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    at = struct.unpack_from(order + "Q", data, 8)[0] if big else struct.unpack_from(order + "I", data, 4)[0]
    found, number = [], 0
    while at:
        n = struct.unpack_from(order + ("Q" if big else "H"), data, at)[0]
        start, each = at + (8 if big else 2), 20 if big else 12
        found += [(start + i * each, number) for i in range(n)]
        at = struct.unpack_from(order + ("Q" if big else "I"), data, start + n * each)[0]
        number += 1
    return order, big, found


def broken_tiff(data: bytes, rng: random.Random) -> bytes:
    """Change tags, types, counts and values of a TIFF, also those that stand elsewhere in the file."""
    if rng.random() < 0.3:
        return broken_bytes(data, rng)
    order, big, found = entries(data)
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        at, _ = rng.choice(found)
        wide, code = (8, "Q") if big else (4, "I")
        place = at + 4 + wide
        how = rng.randrange(6)
        if how == 0:
            struct.pack_into(order + "H", out, at, rng.choice((254, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317,
                                                              322, 323, 324, 325, 338, 339, 347, 33550, 33922, 34264, 34735,
                                                              42112, 42113, rng.randrange(65536))))  # fmt: skip
        elif how == 1:
            struct.pack_into(
                order + "H", out, at + 2, rng.choice((1, 2, 3, 4, 5, 7, 11, 12, 13, 16, 17, rng.randrange(65536)))
            )
        elif how == 2:
            struct.pack_into(order + code, out, at + 4, rng.choice(ODD) % 2 ** (8 * wide))
        elif how == 3:
            short = struct.unpack_from(order + "H", out, at + 2)[0] == 3
            struct.pack_into(
                order + ("H" if short else code), out, place, rng.choice(ODD) % 2 ** (16 if short else 8 * wide)
            )
        elif how == 4:
            there = struct.unpack_from(order + code, out, place)[0]
            if there + 8 <= len(out):
                struct.pack_into(order + "I", out, there, rng.choice((*ODD, rng.randrange(len(out)))) % 2**32)
        else:
            struct.pack_into(order + code, out, place, rng.randrange(len(out) + 64))
    return bytes(out)


def cases(seeds: list[bytes], break_it: Callable[[bytes, random.Random], bytes], n: int, seed: int) -> Iterator[bytes]:
    """N broken files of the seeds in turn; the same for the same number."""
    for i in range(n):
        rng = random.Random(f"{seed}:{i}")
        yield break_it(seeds[i % len(seeds)], rng)
