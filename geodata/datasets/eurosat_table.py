"""EuroSAT: its two trees, where it is got from, and what goes wrong with it."""

from __future__ import annotations

from dataclasses import replace

from geodata.bands import Bands
from geodata.download import Source

__all__ = ["LISTS", "S2", "SOURCES", "TRAPS", "TREE", "TREES"]

_NAMES = sorted(Bands.of_sensor("sentinel-2").names, key=lambda name: (name == "B8A", name))
S2 = Bands(replace(b, scale=1e-4, unit="reflectance") for b in Bands.of_sensor("sentinel-2").select(_NAMES))
"""The 13 bands in the order of the files: B8A is the last."""

TREES = ("EuroSAT_MS", "ds/images/remote_sensing/otherDatasets/sentinel_2/tif")
"""Folders below the root that hold the folders of the classes; the first is the newer archive."""

TREE = f"""\
EuroSAT_MS/<Class>/<Class>_<N>.tif, or
{TREES[1]}/<Class>/<Class>_<N>.tif
eurosat-{{train,val,test}}.txt                 for split=
eurosat-spatial-{{train,val,test}}.txt         for split= with split_scheme="spatial\""""

TRAPS = (
    "B8A is the last of the 13 bands in the files, not between B08 and B09.",
    "Pixels are 9.97 to 10.01 m wide and high, and not exactly square; each file has a UTM zone of its own.",
    "Values are top-of-atmosphere reflectance (level 1C) times 10,000, not the surface reflectance of newer archives.",
    "Lines of the split lists end in .jpg; they mean the .tif of that name.",
    "The random split puts neighbours into different parts; the spatial split goes by longitude.",
)

LISTS = {"random": "eurosat-{}.txt", "spatial": "eurosat-spatial-{}.txt"}

_HOST = "https://hf.co/datasets/torchgeo/eurosat/resolve/1ce6f1bfb56db63fd91b6ecc466ea67f2509774c/"
_SHA256 = {
    "eurosat-train.txt": "1c1d2e855f95deee605a3d992f914d113fddbecf422ec61648057d029a37d695",
    "eurosat-val.txt": "b385741f31daa9f1250cf1e1fe03adfab394e1172e0693df40141af004f60330",
    "eurosat-test.txt": "cf37948894c12bd953930ff54ee9b7abf0b31478abb8d25fd2c6c721db74c592",
    "eurosat-spatial-train.txt": "2db7d455afb8dcbca898ea19a00f1f90c091734efdbba89e22aaf24056da243f",
    "eurosat-spatial-val.txt": "6c758477604b7057a0fd990d7f6327b63b99a6725aac11a6a9d0174a7fdd8f0b",
    "eurosat-spatial-test.txt": "de22dec83d350cac3b3e4ca8e285cb6733c81ab94bf5bcf9213a567993402452",
}
SOURCES = (
    Source(
        "EuroSAT_MS.zip",
        ("https://zenodo.org/records/7711810/files/EuroSAT_MS.zip",),
        "md5:091174add3c8e680a49244acf185b9f0",
        "",
    ),
    *(Source(file, (_HOST + file,), f"sha256:{digits}") for file, digits in _SHA256.items()),
)
