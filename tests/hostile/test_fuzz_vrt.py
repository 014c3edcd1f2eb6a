"""VRTs that are broken on purpose, and that try to reach out: never a pixel of a file outside of the folder."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import rasterio
from fuzzing import ODD, broken_bytes, cases, verdicts, write_all
from makers import write_tif
from rasterio.shutil import copy
from rasterio.vrt import WarpedVRT

FORBIDDEN = 201


def seeds(folder: Path) -> list[bytes]:
    """Make inside/ with rasters and outside.tif; return VRTs of the kinds that GDAL writes, with names below inside/."""
    rng = np.random.default_rng(0)
    inside = folder / "inside"
    a = write_tif(inside / "a.tif", rng.integers(0, 100, (2, 40, 60)).astype(np.uint8), nodata=0)
    write_tif(inside / "below" / "b.tif", rng.integers(0, 100, (1, 30, 30)).astype(np.uint8))
    (inside / "raw.bin").write_bytes(bytes(range(100)) * 40)
    write_tif(folder / "outside.tif", np.full((2, 40, 60), FORBIDDEN, np.uint8))
    (folder / "outside.bin").write_bytes(bytes([FORBIDDEN]) * 4000)
    copy(str(a), str(inside / "copy.vrt"), driver="VRT")
    with rasterio.open(a) as src, WarpedVRT(src, crs="EPSG:3857") as warped:
        copy(warped, str(inside / "warped.vrt"), driver="VRT")
    place = "<GeoTransform>500000, 10, 0, 5600000, 0, -10</GeoTransform><SRS>EPSG:32633</SRS>"
    source = "<SourceFilename relativeToVRT='1'>{}</SourceFilename><SourceBand>1</SourceBand>"
    rect = "<SrcRect xOff='0' yOff='0' xSize='30' ySize='30'/><DstRect xOff='{}' yOff='5' xSize='30' ySize='30'/>"
    mosaic = (
        f"<VRTDataset rasterXSize='70' rasterYSize='40'>{place}<VRTRasterBand dataType='Byte' band='1'>"
        f"<NoDataValue>0</NoDataValue><SimpleSource>{source.format('a.tif')}{rect.format(0)}</SimpleSource>"
        f"<ComplexSource>{source.format('below/b.tif')}{rect.format(35)}<ScaleRatio>1</ScaleRatio></ComplexSource>"
        "</VRTRasterBand></VRTDataset>"
    )
    raw = (
        f"<VRTDataset rasterXSize='50' rasterYSize='40'>{place}<VRTRasterBand dataType='Byte' band='1' subClass='VRTRawRasterBand'>"
        "<SourceFilename relativeToVRT='1'>raw.bin</SourceFilename><ImageOffset>0</ImageOffset><PixelOffset>1</PixelOffset>"
        "<LineOffset>50</LineOffset></VRTRasterBand></VRTDataset>"
    )
    derived = mosaic.replace(
        "band='1'>", "band='1' subClass='VRTDerivedRasterBand'><PixelFunctionType>sum</PixelFunctionType>", 1
    )
    nested = mosaic.replace("below/b.tif", "copy.vrt")
    written = [(inside / name).read_bytes() for name in ("copy.vrt", "warped.vrt")]
    return [*written, *(text.encode() for text in (mosaic, raw, derived, nested))]


def reaching(folder: Path) -> list[str]:
    """Names that lead out of inside/, or to a web service."""
    return [
        "../outside.tif",
        "../outside.bin",
        f"{folder}/outside.tif",
        f"{folder}/inside/../outside.tif",
        "below/../../outside.tif",
        " ../outside.tif",
        "link.tif",
        "linked/outside.tif",
        f"/vsisubfile/0,{folder}/outside.tif",
        f"vrt://{folder}/outside.tif",
        f"GTIFF_DIR:1:{folder}/outside.tif",
        f"/vsicurl/http://127.0.0.1:9/{folder}/outside.tif",
        "/vsistdin/",
        "&lt;VRTDataset rasterXSize='9' rasterYSize='9'/&gt;",
        "below",
        "a.tif",
        "self.vrt",
        "",
    ]


def broken_vrt(data: bytes, rng: random.Random, names: list[str]) -> bytes:
    """Put in other names, numbers, elements and attributes, or break bytes."""
    text = data.decode()
    for _ in range(rng.choice((1, 1, 2, 3))):
        how = rng.randrange(6)
        if how == 0:
            return broken_bytes(text.encode(), rng)
        if how == 1:
            whole = text.split("</SourceFilename>")
            at = rng.randrange(len(whole))
            if at < len(whole) - 1:
                whole[at] = whole[at].rpartition(">")[0] + ">" + rng.choice(names)
            text = "</SourceFilename>".join(whole)
        elif how == 2:
            numbers = [i for i, c in enumerate(text) if c.isdigit() and not text[i - 1].isdigit()]
            at = rng.choice(numbers)
            end = at
            while text[end].isdigit():
                end += 1
            text = text[:at] + str(rng.choice((*ODD, -1, "1e30", "nan", 0.5))) + text[end:]
        elif how == 3:
            old, new = rng.choice(
                (
                    ("relativeToVRT='1'", "relativeToVRT='0'"),
                    ('relativeToVRT="1"', "relativetovrt='1' relativeToVRT='0'"),
                    ("SourceFilename", "sourcefilename"),
                    ("<SimpleSource>", f"<SimpleSource SourceFilename='{rng.choice(names)}'>"),
                    ("SimpleSource", "KernelFilteredSource"),
                    ("<SourceBand>1", "<SourceBand>mask,1"),
                    ("<PixelFunctionType>sum", "<PixelFunctionLanguage>Python</PixelFunctionLanguage><PixelFunctionType>os.getcwd"),
                    ("subClass='", "subClass='VRTProcessedDataset' x='"),
                    ("dataType='Byte'", "dataType='CFloat64'"),
                    ("</VRTRasterBand>", f"<Overview><SourceFilename>{rng.choice(names)}</SourceFilename></Overview></VRTRasterBand>"),
                    ("</VRTDataset>", f"<Metadata domain='OVERVIEWS'><MDI key='OVERVIEW_FILE'>{rng.choice(names)}</MDI></Metadata></VRTDataset>"),
                    ("<VRTDataset", f"{rng.choice(('junk', '<!-- -->', '<!DOCTYPE VRTDataset>', ' '))}<VRTDataset"),
                )
            )  # fmt: skip
            text = text.replace(old, new, 1)
        elif how == 4:
            parts = text.split("<")
            at, to = rng.randrange(1, len(parts)), rng.randrange(1, len(parts))
            parts[at], parts[to] = parts[to], parts[at]
            text = "<".join(parts)
        else:
            at = text.find("<VRTRasterBand")
            end = text.find("</VRTRasterBand>") + 16
            if 0 < at < end:
                text = text[:end] + text[at:end] * rng.choice((1, 50)) + text[end:]
    return text.encode()


@pytest.mark.parametrize("n", [200, pytest.param(5000, marks=pytest.mark.slow)])
def test_broken_vrts(workers, tmp_path, n):
    whole = seeds(tmp_path)
    inside = tmp_path / "inside"
    (inside / "link.tif").symlink_to(tmp_path / "outside.tif")
    (inside / "linked").symlink_to(tmp_path, target_is_directory=True)
    names = reaching(tmp_path)
    for start in range(0, n, 1000):
        made = cases(whole, lambda data, rng: broken_vrt(data, rng, names), min(n, 1000), start)
        said = verdicts(workers, "vrt", inside, write_all(inside, made, ".vrt"))
        assert said[""] and said["ReadError"]


def test_the_seeds_are_read(workers, tmp_path):
    whole = seeds(tmp_path)
    assert verdicts(workers, "vrt", tmp_path / "inside", write_all(tmp_path / "inside", iter(whole), ".vrt")) == {"": 6}
